//! Writes a plan into the text. What is already right stays, byte for byte.
//!
//! The writer walks the tree in the order of the text and changes it until its data is the planned value. When it comes to
//! an alias, the anchor already has its new value; if that would change the alias's data, it expands the alias.

use super::edit::Edits;
use super::render::{self, Style};
use super::text::Source;
use super::value::{Data, Resolver, Value};
use super::yaml::{Kind, Node, Refused};

pub(super) struct Writer<'a, 'e> {
    pub source: &'a Source<'a>,
    pub edits: &'e mut Edits<'a>,
    pub resolver: Resolver<'a>,
    /// How this document writes flow style.
    pub style: Style,
}

/// Changes the text of a document until its data is `value`.
///
/// # Errors
/// A place that cannot be changed.
pub(super) fn write<'a>(
    source: &'a Source<'a>,
    edits: &mut Edits<'a>,
    root: &Node,
    value: &Value,
) -> Result<(), Refused> {
    let style = if root.flow { Style::Json } else { Style::Flow };
    let resolver = Resolver::new(source);
    let mut writer = Writer {
        source,
        edits,
        resolver,
        style,
    };
    writer.node(root, value)
}

impl Writer<'_, '_> {
    pub fn refuse<T>(&self, node: &Node, why: impl Into<String>) -> Result<T, Refused> {
        let line = self.source.line_of(node.start) + 1;
        Err(Refused {
            line,
            why: why.into(),
        })
    }

    pub fn node(&mut self, node: &Node, value: &Value) -> Result<(), Refused> {
        if self.resolver.resolve(node) == *value {
            return Ok(());
        }
        match (&node.kind, &value.data) {
            (Kind::Mapping(entries), Data::Mapping(_)) if node.flow => {
                self.flow_mapping(node, entries, value)?;
            }
            (Kind::Sequence(items), Data::Sequence(_)) if node.flow => {
                self.flow_sequence(node, items, value)?;
            }
            (Kind::Mapping(entries), Data::Mapping(_)) => self.mapping(node, entries, value)?,
            (Kind::Sequence(items), Data::Sequence(_)) => self.sequence(node, items, value)?,
            _ => return self.refuse(node, "this must change as a whole: write it out by hand"),
        }
        self.resolver.means(node, value);
        Ok(())
    }

    fn mapping(
        &mut self,
        node: &Node,
        entries: &[(Node, Node)],
        value: &Value,
    ) -> Result<(), Refused> {
        let mut inherited: Vec<(Value, Value)> = Vec::new();
        let mut stay: Vec<(Value, &Node)> = Vec::new();
        let mut gone: Vec<usize> = Vec::new();
        let mut merges: Vec<usize> = Vec::new();
        for (at, (key, old)) in entries.iter().enumerate() {
            if key.merges() {
                inherited.extend(self.resolver.merged(old));
                merges.push(at);
                continue;
            }
            let name = self.resolver.resolve(key);
            let new = find(value.entries(), &name);
            let by_merge = new.is_some() && find(&inherited, &name) == new;
            match new {
                Some(new) if !by_merge || self.resolver.resolve(old) == *new => {
                    self.entry(node, key, old, new)?;
                    stay.push((name, key));
                }
                _ => gone.push(at),
            }
        }
        if brings_more(&inherited, value) {
            // Expand the merge: some of its entries must not be here.
            gone.append(&mut merges);
            inherited.clear();
        }
        self.remove_entries(entries, &gone)?;
        for (at, (name, new)) in value.entries().iter().enumerate() {
            let there = stay.iter().any(|(it, _)| it == name);
            if there || find(&inherited, name) == Some(new) {
                continue;
            }
            // An inherited entry has no place of its own here.
            let from = name.origin.map_or(at + 1, |_| usize::MAX);
            let next = value
                .entries()
                .iter()
                .skip(from)
                .filter_map(|(name, _)| stay.iter().find(|(it, _)| it == name))
                .map(|(_, key)| *key)
                .next();
            let place = match next {
                Some(next) if self.source.starts_its_line(next.start) => {
                    let values = entries.iter().map(|(_, value)| value);
                    self.above(self.source.line_of(next.start), values)
                }
                _ => node.last + 1,
            };
            let lines = render::indented(node.column, render::entry(name, new));
            self.edits.insert_lines(place, (node.column, false), &lines);
        }
        Ok(())
    }

    /// Where to insert lines before this one: above its comments, and below everything that comes earlier.
    fn above<'n>(&self, line: usize, parts: impl Iterator<Item = &'n Node>) -> usize {
        let earlier = parts.map(|part| part.last + 1).filter(|it| *it <= line);
        let floor = earlier.max().unwrap_or_default();
        let comments = (floor..line)
            .rev()
            .take_while(|it| self.source.is_comment(*it));
        line - comments.count()
    }

    /// Changes an entry to another value.
    fn entry(&mut self, parent: &Node, key: &Node, old: &Node, new: &Value) -> Result<(), Refused> {
        let now = self.resolver.resolve(old);
        if now == *new {
            return Ok(());
        }
        let alike = match (&old.kind, &new.data) {
            (Kind::Mapping(entries), Data::Mapping(_)) => !entries.is_empty(),
            (Kind::Sequence(items), Data::Sequence(_)) => !items.is_empty(),
            _ => false,
        };
        let in_line = render::flow(new, self.style);
        if alike
            || (old.flow && now.is_empty() && in_line.chars().count() <= render::MAX_LINE_CHARS)
        {
            return self.node(old, new);
        }
        // Remove the value, and insert lines below.
        let line = self.source.line_of(key.end);
        let bare = old.start == old.inner
            || matches!(old.kind, Kind::Alias)
            || (old.flow && old.anchor == 0);
        let on_its_line =
            old.start >= key.end && self.source.line_of(old.start) == line && old.last == line;
        if !bare || !on_its_line || old.tag.is_some() {
            return self.refuse(
                key,
                "its value cannot be replaced where it stands: write it below, in lines of its own",
            );
        }
        if let Some(word) = render::word(new).filter(|it| !it.is_empty() && old.end > old.start) {
            self.edits.replace(old.start, old.end, word);
            self.resolver.means(old, new);
            return Ok(());
        }
        if old.end > old.start {
            let before = self.source.slice(key.end, old.start);
            let blanks = before.len() - before.trim_end_matches([' ', '\t']).len();
            self.edits.replace(old.start - blanks, old.end, "");
        }
        let lines = render::indented(parent.column + 2, render::block(new));
        self.edits
            .insert_lines(line + 1, (parent.column + 1, false), &lines);
        self.resolver.means(old, new);
        Ok(())
    }

    /// If the first entry of an item is removed, the next one gets its dash.
    fn remove_entries(&mut self, entries: &[(Node, Node)], gone: &[usize]) -> Result<(), Refused> {
        let kept = entries
            .iter()
            .enumerate()
            .find(|(at, _)| !gone.contains(at));
        for (at, (key, value)) in entries.iter().enumerate() {
            if !gone.contains(&at) {
                continue;
            }
            let before = self.source.before(key.start);
            if !before.chars().all(|it| it == ' ' || it == '-') || key.start != key.inner {
                return self.refuse(
                    key,
                    "this cannot be taken out where it stands: give it a line of its own",
                );
            }
            if let (0, false) = (at, self.source.starts_its_line(key.start)) {
                let Some((_, (next, _))) = kept else {
                    return self.refuse(key, "nothing else is in this item: take it out by hand");
                };
                let start = self.source.start(self.source.line_of(next.start));
                self.edits.replace(start, next.start, before);
            }
            let from = self.source.line_of(key.start);
            self.edits.remove_lines(from, value.last.max(key.last) + 1);
        }
        Ok(())
    }

    fn sequence(&mut self, node: &Node, items: &[Node], value: &Value) -> Result<(), Refused> {
        let steps = align(items, value);
        for (at, step) in steps.iter().enumerate() {
            let new = match step {
                Step::Stays(item, new) => {
                    self.item(item, new)?;
                    continue;
                }
                Step::Goes(item) => {
                    self.remove_item(item)?;
                    continue;
                }
                Step::Comes(new) => new,
            };
            let later = steps.iter().skip(at).find_map(Step::item);
            let line = match later {
                None => node.last + 1,
                Some(item) if self.source.starts_its_line(item.dash) => {
                    self.above(self.source.line_of(item.dash), items.iter())
                }
                Some(item) => {
                    return self.refuse(
                        item,
                        "nothing can be put before this: give it a line of its own",
                    );
                }
            };
            let lines = render::indented(node.column, render::item(new));
            self.edits.insert_lines(line, (node.column, true), &lines);
        }
        Ok(())
    }

    fn item(&mut self, item: &Node, new: &Value) -> Result<(), Refused> {
        if self.resolver.resolve(item) == *new {
            return Ok(());
        }
        if !matches!(item.kind, Kind::Alias) {
            return self.node(item, new);
        }
        let between = format!("{}{}", self.source.ending(), " ".repeat(item.column));
        self.edits
            .replace(item.start, item.end, render::block(new).join(&between));
        Ok(())
    }

    fn remove_item(&mut self, item: &Node) -> Result<(), Refused> {
        if !self.source.starts_its_line(item.dash) {
            return self.refuse(
                item,
                "this cannot be taken out where it stands: give it a line of its own",
            );
        }
        self.edits
            .remove_lines(self.source.line_of(item.dash), item.last + 1);
        Ok(())
    }
}

/// What to do with a list, item by item.
pub(super) enum Step<'n, 'v> {
    Stays(&'n Node, &'v Value),
    Goes(&'n Node),
    Comes(&'v Value),
}

impl<'n> Step<'n, '_> {
    pub fn item(&self) -> Option<&'n Node> {
        match self {
            Self::Stays(item, _) | Self::Goes(item) => Some(item),
            Self::Comes(_) => None,
        }
    }
}

/// Which items of a list stay, and which are removed or inserted between them.
pub(super) fn align<'n, 'v>(items: &'n [Node], value: &'v Value) -> Vec<Step<'n, 'v>> {
    let mut steps = Vec::new();
    let mut rest = items;
    for new in value.items() {
        let found = rest.iter().position(|it| new.origin == Some(it.start));
        let skipped = found.map_or(rest, |at| rest.get(at..).unwrap_or_default());
        if let (Some(at), Some((item, later))) = (found, skipped.split_first()) {
            steps.extend(rest.iter().take(at).map(Step::Goes));
            steps.push(Step::Stays(item, new));
            rest = later;
        } else {
            steps.push(Step::Comes(new));
        }
    }
    steps.extend(rest.iter().map(Step::Goes));
    steps
}

/// Whether a merge brings a key that the value does not have.
pub(super) fn brings_more(inherited: &[(Value, Value)], value: &Value) -> bool {
    let missing = |(name, _): &(Value, Value)| find(value.entries(), name).is_none();
    inherited.iter().any(missing)
}

pub(super) fn find<'v>(entries: &'v [(Value, Value)], name: &Value) -> Option<&'v Value> {
    let mut entries = entries.iter();
    entries.find_map(|(it, value)| (it == name).then_some(value))
}
