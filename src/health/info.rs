//! The text of INFO: lines of `name:value`. <https://redis.io/docs/latest/commands/info/>

/// How many characters to keep of a value that may hold anything.
pub(super) const MAX_CHARS: usize = 40;

/// INFO lacks a field, or a field is malformed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InfoError {
    /// A field that every Redis reports is missing.
    #[error("INFO has no field `{0}`: this is no Redis, or it hides the field")]
    Missing(&'static str),
    /// A field that is not a number of bytes; a long value is shortened.
    #[error("INFO says `{field}:{value}`, which is no number of bytes")]
    NoNumber { field: &'static str, value: String },
}

/// The value of a field, by its exact name; the first if there are several. Lines may end in CRLF or LF.
#[must_use]
pub fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.trim_end_matches('\r'))
}

/// A field that holds a number of bytes; `None` if it is missing.
pub(super) fn number(text: &str, name: &'static str) -> Result<Option<u64>, InfoError> {
    let Some(value) = field(text, name) else {
        return Ok(None);
    };
    value.parse().map(Some).map_err(|_| InfoError::NoNumber {
        field: name,
        value: shortened(value),
    })
}

/// A value fit for logs and answers: without control characters, and shortened.
pub(super) fn shortened(value: &str) -> String {
    let visible = |it: char| if it.is_control() { '\u{fffd}' } else { it };
    let mut kept: String = value.chars().take(MAX_CHARS).map(visible).collect();
    if value.chars().nth(MAX_CHARS).is_some() {
        kept.push('…');
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "# Memory\r\nused_memory_rss:9\r\nused_memory:5\r\nx:a:b\r\n";
        assert_eq!(field(text, "used_memory"), Some("5"));
        assert_eq!(field(text, "x"), Some("a:b"));
        assert_eq!(field(text, "used"), None);
        assert_eq!(field("", "used"), None);
        assert_eq!(
            field("used_memory:5\nused_memory:6", "used_memory"),
            Some("5")
        );
        assert_eq!(field("used_memory:\r\n", "used_memory"), Some(""));
        assert_eq!(field("used_memory\n:5", "used_memory"), None);
    }

    #[test]
    fn a_value_is_kept_short() {
        assert_eq!(shortened(&"é".repeat(MAX_CHARS)), "é".repeat(MAX_CHARS));
        assert!(shortened(&"é".repeat(MAX_CHARS + 1)).ends_with('…'));
    }
}
