//! A text and its lines, counted as the YAML parser counts them.

/// A line ends with `\n`, `\r\n` or `\r` only. Unlike in Unicode, U+2028 does not end one.
#[derive(Debug)]
pub(super) struct Source<'a> {
    pub text: &'a str,
    /// Where each line starts, in bytes.
    starts: Vec<usize>,
}

impl<'a> Source<'a> {
    pub fn new(text: &'a str) -> Self {
        let bytes = text.as_bytes();
        let ends = bytes
            .iter()
            .enumerate()
            .filter(|(at, byte)| match byte {
                b'\n' => true,
                b'\r' => bytes.get(at + 1) != Some(&b'\n'),
                _ => false,
            })
            .map(|(at, _)| at + 1);
        let starts = std::iter::once(0).chain(ends);
        Self {
            text,
            starts: starts.filter(|start| *start < text.len()).collect(),
        }
    }

    /// The number of lines.
    pub fn count(&self) -> usize {
        self.starts.len()
    }

    /// The line of a byte, from 0.
    pub fn line_of(&self, at: usize) -> usize {
        self.starts
            .partition_point(|start| *start <= at)
            .saturating_sub(1)
    }

    /// Where a line starts; after the last one, the end of the text.
    pub fn start(&self, line: usize) -> usize {
        self.starts.get(line).copied().unwrap_or(self.text.len())
    }

    /// A line with its end.
    pub fn whole_line(&self, line: usize) -> &'a str {
        self.slice(self.start(line), self.start(line + 1))
    }

    pub fn line(&self, line: usize) -> &'a str {
        self.whole_line(line).trim_end_matches(['\r', '\n'])
    }

    pub fn slice(&self, from: usize, until: usize) -> &'a str {
        self.text.get(from..until).unwrap_or_default()
    }

    pub fn is_blank(&self, line: usize) -> bool {
        self.line(line).trim_matches([' ', '\t']).is_empty()
    }

    pub fn is_comment(&self, line: usize) -> bool {
        self.line(line)
            .trim_start_matches([' ', '\t'])
            .starts_with('#')
    }

    /// The text before a byte on its line.
    pub fn before(&self, at: usize) -> &'a str {
        self.slice(self.start(self.line_of(at)), at)
    }

    /// Whether only spaces come before it on its line.
    pub fn starts_its_line(&self, at: usize) -> bool {
        self.before(at).chars().all(|it| it == ' ')
    }

    /// The line end of this text.
    pub fn ending(&self) -> &'static str {
        let first = self.whole_line(0);
        match first {
            _ if first.ends_with("\r\n") => "\r\n",
            _ if first.ends_with('\r') => "\r",
            _ => "\n",
        }
    }

    pub fn ends_its_last_line(&self) -> bool {
        self.text.is_empty() || self.text.ends_with(['\n', '\r'])
    }
}
