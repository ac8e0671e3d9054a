//! Changes to a text that leave the rest of it unchanged, byte for byte.

use super::text::Source;

/// Replaces a range by this text.
#[derive(Debug)]
struct Edit {
    from: usize,
    until: usize,
    /// Of two changes at the same place the deeper comes first: the one that is indented more, or the list item whose
    /// dash is in the column of its key.
    depth: (usize, bool),
    text: String,
}

/// All changes to one text.
#[derive(Debug)]
pub(super) struct Edits<'a> {
    source: &'a Source<'a>,
    edits: Vec<Edit>,
}

impl<'a> Edits<'a> {
    pub fn new(source: &'a Source<'a>) -> Self {
        Self {
            source,
            edits: Vec::new(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    pub fn replace(&mut self, from: usize, until: usize, text: impl Into<String>) {
        let text = text.into();
        self.edits.push(Edit {
            from,
            until,
            depth: (0, false),
            text,
        });
    }

    /// Before a line, or at the end.
    pub fn insert_lines(&mut self, line: usize, depth: (usize, bool), lines: &[String]) {
        let at = self.source.start(line);
        let ending = self.source.ending();
        let text = lines.iter().flat_map(|it| [it.as_str(), ending]).collect();
        self.edits.push(Edit {
            from: at,
            until: at,
            depth,
            text,
        });
    }

    /// The lines from one to before another.
    pub fn remove_lines(&mut self, from: usize, until: usize) {
        self.replace(self.source.start(from), self.source.start(until), "");
    }

    /// If the last line of a text has no line end, it stays without one.
    pub fn apply(mut self) -> String {
        let ending = self.source.ending();
        let is_open = !self.source.ends_its_last_line();
        self.edits
            .sort_by_key(|edit| (edit.from, edit.until, std::cmp::Reverse(edit.depth)));
        let mut changed = String::new();
        let mut next = 0;
        for edit in self.edits {
            changed.push_str(self.source.slice(next, edit.from));
            let at_the_end = is_open && edit.text.ends_with(ending);
            if at_the_end && edit.from == self.source.text.len() && !changed.ends_with(ending) {
                changed.push_str(ending);
            }
            changed.push_str(&edit.text);
            next = next.max(edit.until);
        }
        changed.push_str(self.source.slice(next, self.source.text.len()));
        if is_open && changed.ends_with(ending) {
            changed.truncate(changed.len() - ending.len());
        }
        changed
    }
}
