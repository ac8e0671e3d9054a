//! Renders a value as text.

use super::value::{Data, Value, is_string};

/// The context of a text decides what must be quoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Block,
    Flow,
    Json,
}

/// The longest line to write in flow style.
pub(super) const MAX_LINE_CHARS: usize = 72;

/// The lines of a value, as a block.
pub(super) fn block(value: &Value) -> Vec<String> {
    match &value.data {
        Data::Mapping(entries) if !entries.is_empty() && !inline(value) => entries
            .iter()
            .flat_map(|(key, value)| entry(key, value))
            .collect(),
        Data::Sequence(items) if !items.is_empty() && !inline(value) => {
            items.iter().flat_map(item).collect()
        }
        _ => vec![flow(value, Style::Block)],
    }
}

/// A key with its value: on one line if it is one word, else below.
pub(super) fn entry(key: &Value, value: &Value) -> Vec<String> {
    let key = flow(key, Style::Block);
    if let Some(word) = word(value) {
        return vec![format!("{key}: {word}")];
    }
    let mut all = vec![format!("{key}:")];
    all.extend(indented(2, block(value)));
    all
}

/// An item of a list.
pub(super) fn item(value: &Value) -> Vec<String> {
    let lines = block(value).into_iter().enumerate();
    lines
        .map(|(index, line)| format!("{}{line}", if index == 0 { "- " } else { "  " }))
        .collect()
}

pub(super) fn indented(by: usize, lines: Vec<String>) -> Vec<String> {
    let indent = " ".repeat(by);
    lines
        .into_iter()
        .map(|line| format!("{indent}{line}"))
        .collect()
}

/// Whether it was written on one line, and still fits.
fn inline(value: &Value) -> bool {
    value.flow && flow(value, Style::Flow).chars().count() <= MAX_LINE_CHARS
}

/// The text after a colon, if a value does not need lines of its own.
pub(super) fn word(value: &Value) -> Option<String> {
    let nested = !matches!(value.data, Data::Scalar { .. }) && !value.is_empty();
    (!nested || inline(value)).then(|| flow(value, Style::Block))
}

/// A value in one line.
pub(super) fn flow(value: &Value, style: Style) -> String {
    let inner = if style == Style::Json {
        style
    } else {
        Style::Flow
    };
    match &value.data {
        Data::Scalar { text, typed: true }
            if is_json(text) || (style != Style::Json && !text.is_empty()) =>
        {
            text.clone()
        }
        Data::Scalar { typed: true, .. } if value.is_null() => "null".to_owned(),
        Data::Scalar { text, .. } => string(text, style),
        Data::Mapping(entries) => {
            let entries = entries
                .iter()
                .map(|(key, value)| format!("{}: {}", flow(key, inner), flow(value, inner)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
        Data::Sequence(items) => {
            let items: Vec<_> = items.iter().map(|item| flow(item, inner)).collect();
            format!("[{}]", items.join(", "))
        }
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(text).is_ok_and(|it| !it.is_string())
}

/// A string without quotes if every parser takes that for a string, otherwise quoted as in JSON, which is valid YAML.
fn string(text: &str, style: Style) -> String {
    let plain = |it: char| it.is_ascii_alphanumeric() || "-_./".contains(it);
    // A colon ends a key only before a blank; inside braces not every parser knows that.
    let colons = style == Style::Block && !text.ends_with(':');
    let is_word = text.chars().all(|it| plain(it) || (it == ':' && colons)) && is_string(text);
    if is_word && style != Style::Json {
        return text.to_owned();
    }
    let quoted = serde_json::Value::from(text).to_string();
    quoted
        .chars()
        .map(|it| match it {
            // Line breaks and marks that some YAML parsers do not accept unescaped.
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' => {
                format!("\\u{:04x}", u32::from(it))
            }
            _ => it.to_string(),
        })
        .collect()
}
