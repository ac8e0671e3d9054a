//! A manifest as a tree that knows its lines: so that it can be changed where it must be, and nowhere else.

use saphyr_parser::{Event, Parser, Span};

/// Deeper than any manifest.
const DEEPEST: usize = 64;

/// Why a text cannot be worked on, and where: lines count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct Refused {
    pub line: usize,
    pub why: String,
}

/// Lines and columns count from 0.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub kind: Kind,
    /// Of a block sequence: its first dash.
    pub line: usize,
    pub column: usize,
    /// The last line that belongs to it.
    pub end: usize,
    /// Written in braces or brackets.
    pub flow: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    Scalar(String),
    Mapping(Vec<(Node, Node)>),
    Sequence(Vec<Node>),
    Alias,
}

/// The documents of a text.
pub(super) fn documents(text: &str, lines: &[&str]) -> Result<Vec<Node>, Refused> {
    let mut open: Vec<(Node, Vec<Node>)> = Vec::new();
    let mut roots = Vec::new();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| Refused {
            line: error.marker().line(),
            why: format!("this is not YAML: {}", error.info()),
        })?;
        let done = match event {
            Event::MappingStart(..) => {
                open.push((
                    Node::at(&span, Kind::Mapping(Vec::new()), lines),
                    Vec::new(),
                ));
                None
            }
            Event::SequenceStart(..) => {
                open.push((
                    Node::at(&span, Kind::Sequence(Vec::new()), lines),
                    Vec::new(),
                ));
                None
            }
            Event::MappingEnd | Event::SequenceEnd => open
                .pop()
                .map(|(node, parts)| node.with(parts, &span, lines)),
            Event::Scalar(value, ..) => {
                Some(Node::at(&span, Kind::Scalar(value.into_owned()), lines))
            }
            Event::Alias(_) => Some(Node::at(&span, Kind::Alias, lines)),
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => None,
        };
        if open.len() > DEEPEST {
            let why = format!("nested more than {DEEPEST} levels deep");
            let line = span.start.line();
            return Err(Refused { line, why });
        }
        if let Some(node) = done {
            match open.last_mut() {
                Some((_, parts)) => parts.push(node),
                None => roots.push(node),
            }
        }
    }
    Ok(roots)
}

/// The dash before an item of a block sequence: on its line, or alone on one above.
fn dash(item: &Node, lines: &[&str]) -> Option<(usize, usize)> {
    let text = |line: usize| lines.get(line).copied().unwrap_or_default();
    let before: Vec<char> = text(item.line).chars().take(item.column).collect();
    if let Some(column) = before.iter().rposition(|it| *it == '-') {
        return Some((item.line, column));
    }
    let alone = |line: &usize| text(*line).trim() == "-";
    let line = (0..item.line).rev().find(alone)?;
    Some((line, text(line).chars().position(|it| it == '-')?))
}

impl Node {
    fn at(span: &Span, kind: Kind, lines: &[&str]) -> Self {
        let (line, column) = (span.start.line().saturating_sub(1), span.start.col());
        let mut end = span.end.line().saturating_sub(1);
        // A text of many lines ends where the next thing begins.
        let text = |line: usize| lines.get(line).copied().unwrap_or_default();
        let nothing =
            |line: usize, until: usize| text(line).chars().take(until).all(char::is_whitespace);
        if end > line && nothing(end, span.end.col()) {
            end -= 1;
        }
        while end > line && nothing(end, usize::MAX) {
            end -= 1;
        }
        Self {
            kind,
            line,
            column,
            end,
            flow: false,
        }
    }

    fn with(mut self, parts: Vec<Node>, end: &Span, lines: &[&str]) -> Self {
        // The end of a block has no width.
        self.flow = end.start.index() < end.end.index();
        if let (Kind::Sequence(_), false, Some(first)) = (&self.kind, self.flow, parts.first()) {
            (self.line, self.column) = dash(first, lines).unwrap_or((self.line, self.column));
        }
        let last = parts.iter().map(|part| part.end).max();
        self.end = if self.flow {
            end.start.line().saturating_sub(1)
        } else {
            last.unwrap_or(self.line)
        };
        match &mut self.kind {
            Kind::Sequence(items) => *items = parts,
            Kind::Mapping(entries) => {
                let mut parts = parts.into_iter();
                while let (Some(key), Some(value)) = (parts.next(), parts.next()) {
                    entries.push((key, value));
                }
            }
            Kind::Scalar(_) | Kind::Alias => {}
        }
        self
    }

    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar(text) => Some(text),
            Kind::Mapping(_) | Kind::Sequence(_) | Kind::Alias => None,
        }
    }

    pub fn entries(&self) -> &[(Node, Node)] {
        match &self.kind {
            Kind::Mapping(entries) => entries,
            Kind::Scalar(_) | Kind::Sequence(_) | Kind::Alias => &[],
        }
    }

    pub fn items(&self) -> &[Node] {
        match &self.kind {
            Kind::Sequence(items) => items,
            Kind::Scalar(_) | Kind::Mapping(_) | Kind::Alias => &[],
        }
    }

    pub fn entry(&self, key: &str) -> Option<&(Node, Node)> {
        self.entries()
            .iter()
            .find(|(name, _)| name.text() == Some(key))
    }

    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|(_, value)| value)
    }

    /// Along a path of keys.
    pub fn at_path(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(self, |node, key| node.get(key))
    }

    /// The text under a path of keys.
    pub fn word(&self, path: &[&str]) -> Option<&str> {
        self.at_path(path)?.text()
    }

    /// Nothing is written there, or an empty list or mapping.
    pub fn empty(&self) -> bool {
        match &self.kind {
            Kind::Scalar(text) => ["", "~", "null"].contains(&text.as_str()),
            Kind::Mapping(entries) => entries.is_empty(),
            Kind::Sequence(items) => items.is_empty(),
            Kind::Alias => false,
        }
    }

    pub fn refuse<T>(&self, why: impl Into<String>) -> Result<T, Refused> {
        Err(Refused {
            line: self.line + 1,
            why: why.into(),
        })
    }

    /// # Errors
    /// It is written in a way that cannot be added to.
    pub fn must_be_block(&self) -> Result<(), Refused> {
        if self.flow {
            return self
                .refuse("written in braces or brackets (or JSON): write it as a block first");
        }
        if matches!(self.kind, Kind::Alias) {
            return self.refuse("an alias: write it out first");
        }
        Ok(())
    }
}
