//! A manifest as a tree with positions, so that it can be changed only where it must be.

/// Why a text cannot be changed, and where; lines count from 1.
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
    /// The id of its anchor, or of an alias's target; 0 without.
    pub anchor: usize,
    pub tag: Option<String>,
    /// The start of its anchor or tag, if it has one.
    pub start: usize,
    /// The start of the node itself; in braces or brackets, after the opening one.
    pub inner: usize,
    pub end: usize,
    /// The last line that belongs to it.
    pub last: usize,
    /// For a block: the start of its first key or dash.
    pub column: usize,
    /// For an item in a block: the position of its dash.
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
