//! Parses a text into its documents, each a tree.

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};

use super::input::Tabbed;
use super::mend::{Copy, MAX_CHARS_READ, quoted};
use super::text::Source;
use super::yaml::{Document, Kind, Node, Refused};

/// Nested deeper than any manifest.
const MAX_DEPTH: usize = 64;

/// The documents of a text.
///
/// # Errors
/// It is not YAML, or nested too deep.
pub(super) fn documents(source: &Source) -> Result<Vec<Document>, Refused> {
    let mut copy = Copy::of(source);
    let mut read = copy.length();
    loop {
        match copy.parse(source) {
            Err(Fault::Syntax(error)) if read < MAX_CHARS_READ && copy.mend(&error) => {
                read += copy.length();
            }
            parsed => return parsed.map_err(Fault::told),
        }
    }
}

enum Fault {
    Syntax(ScanError),
    Refused(Refused),
}

impl Fault {
    fn told(self) -> Refused {
        match self {
            Self::Syntax(error) => Refused {
                line: error.marker().line(),
                why: format!("this is not YAML: {}", error.info()),
            },
            Self::Refused(refused) => refused,
        }
    }
}

impl Copy {
    fn parse(&self, source: &Source) -> Result<Vec<Document>, Fault> {
        let text = self.text();
        let mut open: Vec<(Node, Vec<Node>)> = Vec::new();
        let mut documents = Vec::new();
        let mut start = 0;
        for event in Parser::new(Tabbed::new(&text)) {
            let (event, span) = event.map_err(Fault::Syntax)?;
            let done = match event {
                Event::MappingStart(anchor, tag) => {
                    let node = self.collection(Kind::Mapping(Vec::new()), &span, &open, source);
                    open.push((node.marked(anchor, tag.as_deref()), Vec::new()));
                    None
                }
                Event::SequenceStart(anchor, tag) => {
                    let node = self.collection(Kind::Sequence(Vec::new()), &span, &open, source);
                    open.push((node.marked(anchor, tag.as_deref()), Vec::new()));
                    None
                }
                Event::MappingEnd | Event::SequenceEnd => open
                    .pop()
                    .map(|(node, parts)| node.with(parts, self.origin(span.start.index()), source)),
                Event::Scalar(text, style, anchor, tag) => {
                    let node = self.scalar(text.into_owned(), style, &span, source);
                    Some(node.marked(anchor, tag.as_deref()))
                }
                Event::Alias(anchor) => {
                    let mut node = self.at(Kind::Alias, &span, source);
                    node.anchor = anchor;
                    Some(node)
                }
                Event::DocumentStart(_) => {
                    start = self.origin(span.start.index());
                    None
                }
                Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => None,
            };
            if open.len() > MAX_DEPTH {
                let why = format!("nested more than {MAX_DEPTH} levels deep");
                let line = source.line_of(self.origin(span.start.index())) + 1;
                return Err(Fault::Refused(Refused { line, why }));
            }
            if let Some(node) = done {
                match open.last_mut() {
                    Some((_, parts)) => parts.push(node),
                    None => documents.push(Document { start, root: node }),
                }
            }
        }
        Ok(documents)
    }

    fn at(&self, kind: Kind, span: &Span, source: &Source) -> Node {
        let (start, end) = (
            self.origin(span.start.index()),
            self.origin(span.end.index()),
        );
        Node {
            kind,
            anchor: 0,
            tag: None,
            start,
            inner: start,
            end,
            last: source.line_of(end.max(start + 1) - 1),
            column: source
                .before(start)
                .trim_start_matches('\u{feff}')
                .chars()
                .count(),
            dash: start,
            flow: false,
        }
    }

    /// The parser reports it together with the first thing in it.
    fn collection(
        &self,
        kind: Kind,
        span: &Span,
        open: &[(Node, Vec<Node>)],
        source: &Source,
    ) -> Node {
        let mut node = self.at(kind, span, source);
        let parent = open.last();
        // After an anchor or a tag.
        node.inner = node.end;
        let bracket = self.bracket(span.start.index(), span.end.index());
        node.flow = bracket.is_some() || parent.is_some_and(|(parent, _)| parent.flow);
        if let Some(at) = bracket {
            node.inner = self.origin(at + 1);
        }
        if node.flow {
            return node;
        }
        node.column = source
            .before(node.inner)
            .trim_start_matches('\u{feff}')
            .chars()
            .count();
        // The parser reports a list in the column of its key at what comes after the dash.
        if let (Kind::Sequence(_), Some((parent, parts))) = (&node.kind, parent)
            && let (Kind::Mapping(_), Some(key)) = (&parent.kind, parts.last())
        {
            let mut lines = key.last + 1..=source.line_of(node.inner);
            if let Some(at) = lines.find_map(|line| dash(source, line, parent.column)) {
                (node.inner, node.column) = (at, parent.column);
            }
        }
        node
    }

    /// The first bracket or brace from here, skipping comments.
    fn bracket(&self, from: usize, until: usize) -> Option<usize> {
        let mut comment = false;
        (from..until).find(|at| {
            let (before, it) = (
                at.checked_sub(1).and_then(|it| self.char(it)),
                self.char(*at),
            );
            comment = match it {
                Some('#') if matches!(before, Some(' ' | '\t')) => true,
                Some('\n' | '\r') => false,
                _ => comment,
            };
            !comment && matches!(it, Some('[' | '{'))
        })
    }

    fn scalar(&self, text: String, style: ScalarStyle, span: &Span, source: &Source) -> Node {
        let plain = style == ScalarStyle::Plain;
        let mut node = self.at(Kind::Scalar { text, plain }, span, source);
        let quote = match style {
            ScalarStyle::SingleQuoted => '\'',
            ScalarStyle::DoubleQuoted => '"',
            ScalarStyle::Plain => return node,
            ScalarStyle::Literal | ScalarStyle::Folded => {
                node.ends_as_block(source);
                return node;
            }
        };
        // The parser includes the blanks and the comment after it.
        let written = source.slice(node.start, source.text.len());
        if let Some(at) = written.find(quote)
            && let Some(length) = quoted(written.chars().skip(written[..at].chars().count()))
        {
            let bytes: usize = written[at..].chars().take(length).map(char::len_utf8).sum();
            node.inner = node.start + at;
            node.end = node.inner + bytes;
            node.last = source.line_of(node.end - 1);
        }
        node
    }
}

/// A dash in this column, with only spaces before it.
pub(super) fn dash(source: &Source, line: usize, column: usize) -> Option<usize> {
    let text = source.line(line);
    let rest = text.get(column..)?.strip_prefix('-')?;
    let only_spaces = text.bytes().take(column).all(|it| it == b' ');
    let is_one = only_spaces && (rest.is_empty() || rest.starts_with([' ', '\t']));
    is_one.then(|| source.start(line) + column)
}

impl Node {
    fn marked(mut self, anchor: usize, tag: Option<&Tag>) -> Self {
        self.anchor = anchor;
        // The default type of a node.
        let core = ["str", "map", "seq"];
        let other =
            tag.filter(|tag| !(tag.is_yaml_core_schema() && core.contains(&tag.suffix.as_str())));
        self.tag = other.map(ToString::to_string);
        if let (Kind::Scalar { plain, .. }, Some(_)) = (&mut self.kind, tag) {
            *plain = false;
        }
        self
    }

    fn with(mut self, parts: Vec<Self>, end: usize, source: &Source) -> Self {
        let last = parts.iter().map(|part| part.last).max();
        if self.flow {
            let closes = source.slice(end, end + 1);
            self.end = end + usize::from(["]", "}"].contains(&closes));
            self.last = source.line_of(self.end - 1);
        } else {
            self.last = last.unwrap_or(self.last);
            self.end = parts.last().map_or(self.end, |part| part.end);
        }
        match &mut self.kind {
            Kind::Sequence(items) => *items = parts,
            Kind::Mapping(entries) => {
                let mut parts = parts.into_iter();
                while let (Some(key), Some(value)) = (parts.next(), parts.next()) {
                    entries.push((key, value));
                }
            }
            Kind::Scalar { .. } | Kind::Alias => {}
        }
        if let (Kind::Sequence(items), false) = (&mut self.kind, self.flow) {
            let mut next = source.line_of(self.inner);
            for item in items {
                let mut lines = (next..=source.line_of(item.start)).rev();
                let found = lines.find_map(|line| {
                    if line == source.line_of(self.inner) {
                        return Some(self.inner);
                    }
                    dash(source, line, self.column)
                });
                item.dash = found.unwrap_or(item.start);
                next = item.last + 1;
            }
        }
        self
    }

    /// A block of text ends with its last line; blank lines after it belong to it only if it keeps them.
    fn ends_as_block(&mut self, source: &Source) {
        let Kind::Scalar { text, .. } = &mut self.kind else {
            return;
        };
        let (line, stop) = (source.line_of(self.start), source.line_of(self.end));
        let cut = self.end >= source.text.len() && !source.ends_its_last_line();
        let stop = if cut || self.end >= source.text.len() {
            source.count()
        } else {
            stop
        };
        let written = (0..stop).rev().find(|it| !source.is_blank(*it));
        // The parser adds a line end to a last line without one.
        if cut && written == stop.checked_sub(1) && text.ends_with('\n') {
            text.pop();
        }
        let tail = text.trim_end_matches(['\n', ' ', '\t']);
        let tail = &text[tail.len()..];
        let ends = tail.matches('\n').count();
        let more = usize::from(!tail.ends_with('\n') && ends > 0);
        let blank = ends + more;
        let of_header = usize::from(tail.len() < text.len());
        self.last = written.unwrap_or(line) + blank.saturating_sub(of_header);
        self.last = self.last.min(stop.saturating_sub(1));
        self.end = source.start(self.last + 1);
    }
}
