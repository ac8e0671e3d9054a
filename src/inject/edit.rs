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
    /// The dash before what is removed: it goes to the next key of the item.
    dash: String,
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
        let mut dash = String::new();
        for change in self.changes {
            let kept = self.lines.get(next..change.from).unwrap_or_default();
            keep(kept, &mut dash, &mut changed);
            changed.extend(change.lines);
            if !change.dash.is_empty() {
                dash = change.dash;
            }
            next = next.max(change.until);
        }
        let kept = self.lines.get(next..).unwrap_or_default();
        keep(kept, &mut dash, &mut changed);
        changed
    }

    fn insert(&mut self, at: usize, depth: (usize, bool), lines: Vec<String>) {
        self.changes.push(Change {
            from: at,
            until: at,
            depth,
            lines,
            dash: String::new(),
        });
    }

    fn remove(&mut self, from: usize, until: usize, dash: String) {
        self.changes.push(Change {
            from,
            until,
            depth: (0, false),
            lines: Vec::new(),
            dash,
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
            dash: String::new(),
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
            self.remove(from.unwrap_or(item.line), item.end + 1, String::new());
        }
        Ok(())
    }

    /// Removes those of `ours` that stand in the mapping along `path`; and every mapping on the way in which nothing
    /// else is.
    pub fn remove_entries(
        &mut self,
        root: &Node,
        path: &[&str],
        ours: &[(&str, &str)],
    ) -> Result<(), Refused> {
        let mut way: Vec<&(Node, Node)> = Vec::new();
        for key in path {
            let at = way.last().map_or(root, |(_, value)| value);
            let Some(entry) = at.entry(key) else {
                return Ok(());
            };
            way.push(entry);
        }
        let mapping = way.last().map_or(root, |(_, value)| value);
        let mut found: Vec<&(Node, Node)> = ours
            .iter()
            .filter_map(|(key, value)| Some((mapping.entry(key)?, *value)))
            .filter_map(|(entry, value)| (entry.1.text() == Some(value)).then_some(entry))
            .collect();
        if found.is_empty() {
            return Ok(());
        }
        mapping.must_be_block()?;
        while let Some(outer) = way.pop()
            && found.len() == outer.1.entries().len()
        {
            found = vec![outer];
        }
        for (key, value) in found {
            self.remove_entry(key, value)?;
        }
        Ok(())
    }

    /// Where it is the first one of a list's item, another one must follow.
    fn remove_entry(&mut self, key: &Node, value: &Node) -> Result<(), Refused> {
        let line = self.lines.get(key.line).copied().unwrap_or_default();
        let before: String = line.chars().take(key.column).collect();
        if !before.chars().all(|it| it == ' ' || it == '-') {
            return key.refuse("cannot be removed where it stands: give it a line of its own");
        }
        let dash = if self.starts_its_line(key) {
            String::new()
        } else {
            before
        };
        self.remove(key.line, value.end.max(key.line) + 1, dash);
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

/// Lines that stay; the first key among them gets the dash that has lost its own.
fn keep(lines: &[&str], dash: &mut String, kept: &mut Vec<String>) {
    for line in lines {
        let text = line.trim_start();
        if dash.is_empty() || text.is_empty() || text.starts_with('#') {
            kept.push((*line).to_owned());
        } else {
            let key: String = line.chars().skip(dash.len()).collect();
            kept.push(std::mem::take(dash) + &key);
        }
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
