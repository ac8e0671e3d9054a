//! Text that kubectl accepts as YAML and the parser does not.

use saphyr_parser::ScanError;

use super::text::Source;

/// How many characters to read at most, over and over, before reporting an error: a few seconds of work.
pub(super) const MAX_CHARS_READ: usize = 300_000_000;

/// The parser's copy of the text. It may differ in blanks that change no data: the parser refuses some that kubectl accepts.
pub(super) struct Copy {
    /// Each character, with its byte position in the text.
    chars: Vec<(usize, char)>,
    end: usize,
    /// More blanks than any line of a block has before its content.
    pad: usize,
}

impl Copy {
    pub fn of(source: &Source) -> Self {
        let indents = (0..source.count()).map(|line| {
            let line = source.line(line);
            line.len() - line.trim_start_matches([' ', '-', '?', '\t']).len()
        });
        Self {
            chars: source.text.char_indices().collect(),
            end: source.text.len(),
            pad: indents.max().unwrap_or_default().min(1000) + 2,
        }
    }

    pub fn length(&self) -> usize {
        self.chars.len()
    }

    pub fn text(&self) -> String {
        self.chars.iter().map(|(_, char)| *char).collect()
    }

    pub fn origin(&self, index: usize) -> usize {
        self.chars.get(index).map_or(self.end, |(at, _)| *at)
    }

    pub fn char(&self, index: usize) -> Option<char> {
        self.chars.get(index).map(|(_, char)| *char)
    }

    /// Changes blanks so that this error goes away; `false` if the error is real.
    pub fn mend(&mut self, error: &ScanError) -> bool {
        let at = error.marker().index().min(self.chars.len());
        match error.info() {
            // Indentation means nothing in braces, brackets and quotes.
            "invalid indentation" | "invalid indentation in flow construct" => {
                self.shift(self.line_start(at));
                true
            }
            "tabs disallowed within this context (block indentation)" if self.within_flow(at) => {
                self.shift(self.line_start(at));
                true
            }
            "while scanning a plain scalar, found a tab" => {
                let rest = self.chars.iter().skip(at);
                let line = rest.take_while(|(_, it)| !['\n', '\r'].contains(it));
                let next = at + line.count() + 1;
                let flow = self.within_flow(next);
                if flow {
                    self.shift(next);
                }
                flow
            }
            "invalid indentation in quoted scalar" => {
                let Some(length) = quoted(self.chars.iter().skip(at).map(|(_, char)| *char)) else {
                    return false;
                };
                let is_break = |it: Option<char>| matches!(it, Some('\n' | '\r'));
                let within = (at + 1..at + length).rev();
                let starts: Vec<usize> = within
                    .filter(|it| is_break(self.char(it - 1)) && !is_break(self.char(*it)))
                    .collect();
                for start in &starts {
                    self.shift(*start);
                }
                !starts.is_empty()
            }
            _ => false,
        }
    }

    /// Judged by its line and the one before.
    fn within_flow(&self, index: usize) -> bool {
        let is_blank = |(_, it): &&(usize, char)| it.is_whitespace();
        let after = self.chars.iter().skip(index).find(|it| !is_blank(it));
        let before = self
            .chars
            .iter()
            .take(self.line_start(index))
            .rev()
            .find(|it| !is_blank(it));
        matches!(after, Some((_, ']' | '}'))) || matches!(before, Some((_, '[' | '{' | ',')))
    }

    fn line_start(&self, index: usize) -> usize {
        let before = self.chars.iter().take(index);
        let last = before.rev().position(|(_, it)| ['\n', '\r'].contains(it));
        index - last.unwrap_or(index)
    }

    fn shift(&mut self, index: usize) {
        let blanks = vec![(self.origin(index), ' '); self.pad];
        let index = index.min(self.chars.len());
        self.chars.splice(index..index, blanks);
    }
}

/// The length of a quoted text in characters, including its quotes.
pub(super) fn quoted(mut chars: impl Iterator<Item = char>) -> Option<usize> {
    let quote = chars.next()?;
    let mut chars = chars.peekable();
    let mut length = 1;
    while let Some(char) = chars.next() {
        length += 1;
        if char == '\\' && quote == '"' {
            chars.next();
            length += 1;
        } else if char == quote {
            if quote == '"' || chars.next_if_eq(&quote).is_none() {
                return Some(length);
            }
            length += 1;
        }
    }
    None
}
