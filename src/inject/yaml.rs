//! A manifest as a tree that knows where it stands: so that it can be changed where it must be, and nowhere else.

/// Why a text cannot be worked on, and where: lines count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct Refused {
    pub line: usize,
    pub why: String,
}

/// Of a stream of them.
#[derive(Debug)]
pub(super) struct Document {
    /// Its first byte, which may be of `---`.
    pub start: usize,
    pub root: Node,
}

/// Positions are bytes of the text, columns are characters, lines count from 0.
#[derive(Debug)]
pub(super) struct Node {
    pub kind: Kind,
    /// By which aliases mean it, or, of an alias, what it means; 0 without.
    pub anchor: usize,
    pub tag: Option<String>,
    /// Of its anchor or tag, if it has any.
    pub start: usize,
    /// Of itself; in braces or brackets, after the opening one.
    pub inner: usize,
    pub end: usize,
    /// The last line that belongs to it.
    pub last: usize,
    /// Of a block: its first key or dash.
    pub column: usize,
    /// Of an item in a block: its dash.
    pub dash: usize,
    /// In braces or brackets.
    pub flow: bool,
}

#[derive(Debug)]
pub(super) enum Kind {
    Scalar { text: String, plain: bool },
    Mapping(Vec<(Node, Node)>),
    Sequence(Vec<Node>),
    Alias,
}

impl Node {
    /// The key of a merge, `<<`.
    pub fn merges(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, plain: true } if text == "<<")
    }
}
