//! Changes to a text, line by line, that leave the rest of it alone.

use super::yaml::{Node, Refused};

/// These lines in place of `from..until`.
#[derive(Debug)]
struct Change {
    from: usize,
    until: usize,
    /// What is deeper comes first, if both stand in the same place: what is indented more, and the item of a list
    /// that is no deeper than its key.
    depth: (usize, bool),
    lines: Vec<String>,
}

/// All changes to one text.
pub(super) struct Edit<'a> {
    lines: &'a [&'a str],
    changes: Vec<Change>,
}

impl<'a> Edit<'a> {
    pub fn new(lines: &'a [&'a str]) -> Self {
        Self {
            lines,
            changes: Vec::new(),
        }
    }

    pub fn apply(mut self) -> Vec<String> {
        self.changes
            .sort_by_key(|change| (change.from, std::cmp::Reverse(change.depth)));
        let mut changed = Vec::new();
        let mut next = 0;
        for change in self.changes {
            let kept = self.lines.get(next..change.from).unwrap_or_default();
            changed.extend(kept.iter().map(ToString::to_string));
            changed.extend(change.lines);
            next = next.max(change.until);
        }
        let kept = self.lines.get(next..).unwrap_or_default();
        changed.extend(kept.iter().map(ToString::to_string));
        changed
    }

    fn insert(&mut self, at: usize, depth: (usize, bool), lines: Vec<String>) {
        self.changes.push(Change {
            from: at,
            until: at,
            depth,
            lines,
        });
    }

    fn remove(&mut self, from: usize, until: usize) {
        self.changes.push(Change {
            from,
            until,
            depth: (0, false),
            lines: Vec::new(),
        });
    }

    /// Adds an entry at the end of a mapping.
    pub fn add_entry(
        &mut self,
        mapping: &Node,
        key: &str,
        value: &[String],
    ) -> Result<(), Refused> {
        mapping.must_be_block()?;
        let lines = indented(mapping.column, entry(key, value));
        self.insert(mapping.end + 1, (mapping.column, false), lines);
        Ok(())
    }

    /// Gives a mapping another mapping under `key`, which is missing or empty.
    pub fn add_mapping(
        &mut self,
        parent: &Node,
        key: &str,
        lines: &[String],
    ) -> Result<(), Refused> {
        match parent.entry(key) {
            Some((name, empty)) => self.fill(name, empty, indented(2, lines.to_vec())),
            None => self.add_entry(parent, key, lines),
        }
    }

    /// Adds to the mapping under `key` of another one, which comes to be if it is missing.
    pub fn add_entry_below(
        &mut self,
        parent: &Node,
        key: &str,
        inner: &str,
        value: &[String],
    ) -> Result<(), Refused> {
        match parent.entry(key) {
            Some((name, mapping)) if mapping.empty() => {
                self.fill(name, mapping, indented(2, entry(inner, value)))
            }
            Some((_, mapping)) => self.add_entry(mapping, inner, value),
            None => self.add_entry(parent, key, &entry(inner, value)),
        }
    }

    /// Adds an item at the end of the list under `key`, which comes to be if it is missing.
    pub fn add_item(&mut self, parent: &Node, key: &str, item: &[String]) -> Result<(), Refused> {
        match parent.entry(key) {
            Some((name, list)) if list.empty() => self.fill(name, list, indented(2, dashed(item))),
            Some((_, list)) => {
                list.must_be_block()?;
                let lines = indented(list.column, dashed(item));
                self.insert(list.end + 1, (list.column, true), lines);
                Ok(())
            }
            None => self.add_entry(parent, key, &dashed(item)),
        }
    }

    /// Adds an item at the beginning of the list under `key`, which comes to be before the entry `before`.
    pub fn add_first_item(
        &mut self,
        parent: &Node,
        key: &str,
        before: &str,
        item: &[String],
    ) -> Result<(), Refused> {
        match (parent.entry(key), parent.entry(before)) {
            (Some((_, list)), _) if !list.empty() => {
                list.must_be_block()?;
                let lines = indented(list.column, dashed(item));
                self.insert(list.line, (list.column, true), lines);
                Ok(())
            }
            (None, Some((next, _))) if self.starts_its_line(next) => {
                // Above the comments that speak of the next entry.
                let mut at = next.line;
                while at > 0 && self.is_comment(at - 1) {
                    at -= 1;
                }
                let lines = indented(parent.column, entry(key, &dashed(item)));
                self.insert(at, (parent.column, false), lines);
                Ok(())
            }
            _ => self.add_item(parent, key, item),
        }
    }

    /// Gives a key whose value is empty a value.
    fn fill(&mut self, key: &Node, value: &Node, lines: Vec<String>) -> Result<(), Refused> {
        let line = self.lines.get(key.line).copied().unwrap_or_default();
        let name = key.text().unwrap_or_default();
        let start: String = line.chars().take(key.column).collect();
        let rest: String = line
            .chars()
            .skip(key.column + name.chars().count())
            .collect();
        let rest = rest.trim_start_matches(['"', '\'']).trim();
        let written = rest.strip_prefix(':').map(str::trim);
        let empty = |it: &str| ["", "[]", "{}", "~", "null"].contains(&it) || it.starts_with('#');
        if !written.is_some_and(empty) || (value.end > key.line && value.flow) {
            return key.refuse(format!(
                "{name} is empty in a way that cannot be filled: remove it first"
            ));
        }
        let mut filled = vec![format!("{start}{name}:")];
        filled.extend(indented(key.column, lines));
        self.changes.push(Change {
            from: key.line,
            until: key.line + 1,
            depth: (key.column, false),
            lines: filled,
        });
        Ok(())
    }

    /// Removes the items that `ours` picks; the list as well, if nothing else is in it.
    pub fn remove_items(
        &mut self,
        parent: &Node,
        key: &str,
        ours: impl Fn(&Node) -> bool,
    ) -> Result<(), Refused> {
        let Some((name, list)) = parent.entry(key) else {
            return Ok(());
        };
        let found: Vec<&Node> = list.items().iter().filter(|item| ours(item)).collect();
        if found.is_empty() {
            return Ok(());
        }
        list.must_be_block()?;
        if found.len() == list.items().len() {
            return self.remove_entry(name, list);
        }
        for item in found {
            let dash = |line: usize| {
                let text = self.lines.get(line).copied().unwrap_or_default();
                text.chars().nth(list.column) == Some('-')
            };
            let from = (list.line..=item.line).rev().find(|line| dash(*line));
            self.remove(from.unwrap_or(item.line), item.end + 1);
        }
        Ok(())
    }

    /// Removes the entries of `parent`'s mapping under `key` that `ours` names; the mapping as well, if nothing else
    /// is in it.
    pub fn remove_entries(
        &mut self,
        parent: &Node,
        key: &str,
        ours: &[(&str, &str)],
    ) -> Result<(), Refused> {
        let Some((name, mapping)) = parent.entry(key) else {
            return Ok(());
        };
        if !ours
            .iter()
            .all(|(key, value)| mapping.word(&[key]) == Some(value))
        {
            return Ok(());
        }
        mapping.must_be_block()?;
        if mapping.entries().len() == ours.len() {
            return self.remove_entry(name, mapping);
        }
        for (key, _) in ours {
            if let Some((key, value)) = mapping.entry(key) {
                self.remove_entry(key, value)?;
            }
        }
        Ok(())
    }

    fn remove_entry(&mut self, key: &Node, value: &Node) -> Result<(), Refused> {
        if !self.starts_its_line(key) {
            return key.refuse(
                "cannot be removed where it stands: put another key of the item before it",
            );
        }
        self.remove(key.line, value.end.max(key.line) + 1);
        Ok(())
    }

    fn starts_its_line(&self, node: &Node) -> bool {
        let line = self.lines.get(node.line).copied().unwrap_or_default();
        line.chars().take(node.column).all(|it| it == ' ')
    }

    fn is_comment(&self, line: usize) -> bool {
        let line = self.lines.get(line).copied().unwrap_or_default();
        line.trim_start().starts_with('#')
    }
}

pub(super) fn indented(by: usize, lines: Vec<String>) -> Vec<String> {
    let indent = " ".repeat(by);
    lines
        .into_iter()
        .map(|line| format!("{indent}{line}"))
        .collect()
}

/// `key:` with its value: on the same line if it is one word, else below.
fn entry(key: &str, value: &[String]) -> Vec<String> {
    match value {
        [word] if !word.starts_with("- ") && !word.contains(": ") => vec![format!("{key}: {word}")],
        lines => {
            let mut all = vec![format!("{key}:")];
            all.extend(indented(2, lines.to_vec()));
            all
        }
    }
}

/// An item of a list.
pub(super) fn dashed(item: &[String]) -> Vec<String> {
    let lines = item.iter().enumerate();
    lines
        .map(|(index, line)| format!("{}{line}", if index == 0 { "- " } else { "  " }))
        .collect()
}
