//! What nobody may read in a log, an error or debug output.

use std::fmt;
use std::path::{Path, PathBuf};

/// A text that no log, error or debug output shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// Who one is to a server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Login {
    pub username: Option<String>,
    pub password: Option<Password>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Password {
    Given(Secret),
    /// Read again for every connection, so that a rotated password is used.
    File(PathBuf),
}

// === impl Secret ===

impl Secret {
    /// Without one line end behind it, which editors and `echo` add: a secret is the same whatever way it came.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        let mut text = text.into();
        if text.ends_with('\n') {
            text.pop();
            if text.ends_with('\r') {
                text.pop();
            }
        }
        Self(text)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text itself, for the connection that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

// === impl Password ===

impl Password {
    /// The password as of now. Reads the file, if it stands in one.
    ///
    /// # Errors
    /// What kind of file is needed instead.
    pub fn read(&self) -> Result<Secret, String> {
        match self {
            Self::Given(secret) => Ok(secret.clone()),
            Self::File(path) => read_file(path),
        }
    }
}

fn read_file(path: &Path) -> Result<Secret, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("a file that can be read ({error})"))?;
    let secret = Secret::new(text);
    if secret.is_empty() {
        return Err("a file that is not empty".into());
    }
    Ok(secret)
}
