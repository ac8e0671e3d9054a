//! Several texts as one stream of documents.

use super::parse;
use super::text::Source;
use super::value::{Resolver, Value};
use super::yaml::Refused;

/// A text and the name of its file.
#[derive(Debug, Clone)]
pub struct Part {
    pub name: String,
    pub text: String,
}

/// Joins the texts, with each document unchanged.
///
/// # Errors
/// The file whose last document would change its meaning with another one after it.
pub fn join(parts: &[Part]) -> Result<String, (String, Refused)> {
    let mut all = String::new();
    let mut parts = parts.iter().filter(|part| !part.text.is_empty()).peekable();
    while let Some(part) = parts.next() {
        let text = part.text.as_str();
        if all.is_empty() {
            all.push_str(text);
        } else {
            // A byte order mark is valid only at the beginning.
            let text = text.trim_start_matches('\u{feff}');
            all.push_str(separator(text));
            all.push_str(text);
        }
        if parts.peek().is_some() && !text.ends_with(['\n', '\r']) {
            all.push('\n');
            if let Some(refused) = cut_off(text) {
                return Err((part.name.clone(), refused));
            }
        }
    }
    Ok(all)
}

/// The separator before a text that follows another.
fn separator(text: &str) -> &'static str {
    let mut lines = text
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    match lines.next() {
        Some(line) if line.starts_with("---") => "",
        Some(line) if line.starts_with('%') => "...\n",
        _ => "---\n",
    }
}

/// Why nothing can follow a text: one more line end would become part of a value.
pub(super) fn cut_off(text: &str) -> Option<Refused> {
    let differs =
        !text.ends_with(['\n', '\r']) && last_value(text) != last_value(&format!("{text}\n"));
    differs.then(|| Refused {
        line: Source::new(text).count(),
        why: "a text ends here without a line end, and would get one: give the file a line end, or the text |-".into(),
    })
}

fn last_value(text: &str) -> Option<Value> {
    let source = Source::new(text);
    let documents = parse::documents(&source).unwrap_or_default();
    documents
        .last()
        .map(|it| Resolver::document(&source, &it.root).0)
}
