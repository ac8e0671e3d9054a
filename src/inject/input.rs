//! The parser's input, with tabs treated as kubectl treats them.

use saphyr_parser::input::SkipTabs;
use saphyr_parser::{Input, StrInput};

/// A text in which a tab separates like a space: after a colon the parser accepts only spaces.
pub(super) struct Tabbed<'a>(StrInput<'a>);

impl<'a> Tabbed<'a> {
    pub fn new(text: &'a str) -> Self {
        Self(StrInput::new(text))
    }
}

impl Input for Tabbed<'_> {
    fn skip_ws_to_eol(&mut self, tabs: SkipTabs) -> (usize, Result<SkipTabs, &'static str>) {
        let (skipped, found) = self.0.skip_ws_to_eol(tabs);
        let found = found.map(|found| match found {
            SkipTabs::Result(tab, space) => SkipTabs::Result(tab, space || tab),
            other => other,
        });
        (skipped, found)
    }

    fn lookahead(&mut self, count: usize) {
        self.0.lookahead(count);
    }

    fn buflen(&self) -> usize {
        self.0.buflen()
    }

    fn bufmaxlen(&self) -> usize {
        self.0.bufmaxlen()
    }

    fn raw_read_ch(&mut self) -> char {
        self.0.raw_read_ch()
    }

    fn raw_read_non_breakz_ch(&mut self) -> Option<char> {
        self.0.raw_read_non_breakz_ch()
    }

    fn skip(&mut self) {
        self.0.skip();
    }

    fn skip_n(&mut self, count: usize) {
        self.0.skip_n(count);
    }

    fn peek(&self) -> char {
        self.0.peek()
    }

    fn peek_nth(&self, n: usize) -> char {
        self.0.peek_nth(n)
    }

    fn peek_opt(&self) -> Option<char> {
        self.0.peek_opt()
    }
}
