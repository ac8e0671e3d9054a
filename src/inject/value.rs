//! The data of a document, with its aliases and merges resolved.

use std::collections::BTreeMap;

use super::text::Source;
use super::yaml::{Kind, Node, Refused};

/// More values than any manifest has once its aliases are expanded.
const MAX_VALUES: usize = 200_000;

/// Values are equal if their data is, wherever and however they are written; the order of keys does not matter.
#[derive(Debug, Clone)]
pub(super) struct Value {
    pub data: Data,
    pub tag: Option<String>,
    /// The byte at which it is written, if it comes from a text.
    pub origin: Option<usize>,
    /// Written in braces or brackets.
    pub flow: bool,
    /// Empty values that a merge brings: the mapping has them even without entries of its own.
    pub inherits_empty: Vec<(Value, Value)>,
}

#[derive(Debug, Clone)]
pub(super) enum Data {
    /// `typed`: it may be a number, a boolean or null. Otherwise it is a string.
    Scalar {
        text: String,
        typed: bool,
    },
    Mapping(Vec<(Value, Value)>),
    Sequence(Vec<Value>),
}

/// A step on the way to a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Item(usize),
}

impl From<&str> for Step {
    fn from(key: &str) -> Self {
        Self::Key(key.into())
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        let same = match (&self.data, &other.data) {
            (
                Data::Scalar { text, typed },
                Data::Scalar {
                    text: its,
                    typed: so,
                },
            ) => (text, typed) == (its, so) || (self.is_null() && other.is_null()),
            (Data::Sequence(items), Data::Sequence(others)) => items == others,
            (Data::Mapping(entries), Data::Mapping(others)) => {
                let in_order = entries == others;
                let found = |(key, value): &(Self, Self)| {
                    others.iter().any(|(name, its)| name == key && its == value)
                };
                in_order || (entries.len() == others.len() && entries.iter().all(found))
            }
            _ => false,
        };
        same && self.tag == other.tag
    }
}

impl Value {
    fn new(data: Data) -> Self {
        Self {
            data,
            tag: None,
            origin: None,
            flow: false,
            inherits_empty: Vec::new(),
        }
    }

    pub fn string(text: impl Into<String>) -> Self {
        let text = text.into();
        Self::new(Data::Scalar { text, typed: false })
    }

    /// A number or a boolean.
    pub fn typed(text: impl Into<String>) -> Self {
        Self::new(Data::Scalar {
            text: text.into(),
            typed: true,
        })
    }

    pub fn list(items: Vec<Self>) -> Self {
        Self::new(Data::Sequence(items))
    }

    pub fn mapping(entries: impl IntoIterator<Item = (&'static str, Self)>) -> Self {
        let entries = entries
            .into_iter()
            .map(|(key, value)| (Self::string(key), value));
        Self::new(Data::Mapping(entries.collect()))
    }

    /// A value that is not in any text yet.
    pub fn fresh(mut self) -> Self {
        self.origin = None;
        match &mut self.data {
            Data::Scalar { .. } => {}
            Data::Mapping(entries) => {
                for (_, value) in entries {
                    *value = std::mem::replace(value, Self::list(Vec::new())).fresh();
                }
            }
            Data::Sequence(items) => {
                for item in items {
                    *item = std::mem::replace(item, Self::list(Vec::new())).fresh();
                }
            }
        }
        self
    }

    pub fn text(&self) -> Option<&str> {
        match &self.data {
            Data::Scalar { text, .. } => Some(text),
            Data::Mapping(_) | Data::Sequence(_) => None,
        }
    }

    pub fn entries(&self) -> &[(Self, Self)] {
        match &self.data {
            Data::Mapping(entries) => entries,
            Data::Scalar { .. } | Data::Sequence(_) => &[],
        }
    }

    pub fn items(&self) -> &[Self] {
        match &self.data {
            Data::Sequence(items) => items,
            Data::Scalar { .. } | Data::Mapping(_) => &[],
        }
    }

    pub fn get(&self, key: &str) -> Option<&Self> {
        let mut entries = self.entries().iter();
        entries.find_map(|(name, value)| (name.text() == Some(key)).then_some(value))
    }

    /// Follows a path of keys.
    pub fn at_keys(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |value, key| value.get(key))
    }

    /// The text at the end of a path of keys.
    pub fn word(&self, path: &[&str]) -> Option<&str> {
        self.at_keys(path)?.text()
    }

    pub fn at(&self, path: &[Step]) -> Option<&Self> {
        path.iter().try_fold(self, |value, step| match step {
            Step::Key(key) => value.get(key),
            Step::Item(index) => value.items().get(*index),
        })
    }

    pub fn at_mut(&mut self, path: &[Step]) -> Option<&mut Self> {
        path.iter()
            .try_fold(self, |value, step| match (step, &mut value.data) {
                (Step::Key(key), Data::Mapping(entries)) => {
                    let mut entries = entries.iter_mut();
                    entries.find_map(|(name, value)| (name.text() == Some(key)).then_some(value))
                }
                (Step::Item(index), Data::Sequence(items)) => items.get_mut(*index),
                _ => None,
            })
    }

    /// The value is null.
    pub fn is_null(&self) -> bool {
        let nothing = ["", "~", "null", "Null", "NULL"];
        matches!(&self.data, Data::Scalar { text, typed: true } if nothing.contains(&text.as_str()))
    }

    /// The value is null, or an empty list or mapping.
    pub fn is_empty(&self) -> bool {
        match &self.data {
            Data::Scalar { .. } => self.is_null(),
            Data::Mapping(entries) => entries.is_empty(),
            Data::Sequence(items) => items.is_empty(),
        }
    }
}

/// Whether every YAML parser takes this plain text for a string: not a number, boolean, time or null.
pub(super) fn is_string(text: &str) -> bool {
    const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    let is_letter = |it: Option<char>| it.is_some_and(|it| it.is_ascii_alphabetic());
    let starts = text.starts_with('/') || is_letter(text.chars().next());
    // `10m`, `64Mi`; but `0xff` and `.inf` are numbers.
    let unit = |it: Option<char>| is_letter(it) && it.is_some_and(|it| !it.is_ascii_hexdigit());
    let ends = text.starts_with(|it: char| it.is_ascii_digit()) && unit(text.chars().last());
    let never = text.contains(|it: char| it.is_control() || " ,[]{}".contains(it));
    let known = WORDS.contains(&text.to_ascii_lowercase().as_str());
    ((starts || ends) && !known) || never || text.matches('.').count() > 1
}

/// Reads values from a tree, in the order of the text, so that an alias finds its anchor's value at that point.
pub(super) struct Resolver<'a> {
    source: &'a Source<'a>,
    anchors: BTreeMap<usize, Value>,
    left: usize,
    /// The first thing that parsers read differently, or not at all.
    fault: Option<Refused>,
}

impl<'a> Resolver<'a> {
    pub fn new(source: &'a Source<'a>) -> Self {
        Self {
            source,
            anchors: BTreeMap::new(),
            left: MAX_VALUES,
            fault: None,
        }
    }

    /// The value of a whole document.
    pub fn document(source: &'a Source<'a>, root: &Node) -> (Value, Option<Refused>) {
        let mut resolver = Self::new(source);
        let value = resolver.resolve(root);
        (value, resolver.fault)
    }

    /// From now on the anchor of this node, if it has one, stands for this value.
    pub fn means(&mut self, node: &Node, value: &Value) {
        if node.anchor > 0 && !matches!(node.kind, Kind::Alias) {
            self.anchors.insert(node.anchor, value.clone());
        }
    }

    pub fn resolve(&mut self, node: &Node) -> Value {
        self.left = MAX_VALUES;
        self.value(node)
    }

    /// The entries that a merge brings. If several bring the same key, the first one wins.
    pub fn merged(&mut self, node: &Node) -> Vec<(Value, Value)> {
        self.left = MAX_VALUES;
        self.brought(node)
    }

    fn value(&mut self, node: &Node) -> Value {
        let mut inherits_empty = Vec::new();
        let data = match &node.kind {
            Kind::Scalar { text, plain } => Data::Scalar {
                text: text.clone(),
                typed: *plain && !is_string(text),
            },
            Kind::Sequence(items) => {
                Data::Sequence(items.iter().map(|item| self.value(item)).collect())
            }
            Kind::Mapping(entries) => Data::Mapping(self.mapping(entries, &mut inherits_empty)),
            Kind::Alias => return self.alias(node),
        };
        let value = Value {
            data,
            tag: node.tag.clone(),
            origin: Some(node.start),
            flow: node.flow,
            inherits_empty,
        };
        self.count(1, node);
        self.means(node, &value);
        value
    }

    fn alias(&mut self, node: &Node) -> Value {
        let Some(value) = self.anchors.get(&node.anchor) else {
            self.blame(
                node,
                "this alias has no anchor in its document: write it out",
            );
            return Value::typed("");
        };
        let size = size(value);
        if size > self.left {
            self.blame(
                node,
                format!("its aliases stand for more than {MAX_VALUES} values: write fewer of them"),
            );
            return Value::typed("");
        }
        let value = Value {
            origin: Some(node.start),
            ..value.clone()
        };
        self.count(size, node);
        value
    }

    fn mapping(
        &mut self,
        entries: &[(Node, Node)],
        inherits_empty: &mut Vec<(Value, Value)>,
    ) -> Vec<(Value, Value)> {
        let mut own: Vec<(Value, Value)> = Vec::new();
        let mut merged = 0;
        for (key, value) in entries {
            if key.merges() {
                for (name, value) in self.brought(value) {
                    if value.is_empty() {
                        inherits_empty.push((name.clone(), value.clone()));
                    }
                    if own.iter().any(|(it, _)| *it == name) {
                        let what = name.text().unwrap_or("a key").to_owned();
                        self.blame(key, format!("{what} comes before the merge that sets it too, and readers of YAML differ: put << first"));
                        continue;
                    }
                    own.insert(merged, (name, value));
                    merged += 1;
                }
                continue;
            }
            let (name, value) = (self.value(key), self.value(value));
            match own.iter().position(|(it, _)| *it == name) {
                // The mapping's own entry wins over a merged one.
                Some(at) if at < merged => {
                    own.remove(at);
                    merged -= 1;
                }
                Some(_) => {
                    let what = name.text().unwrap_or("this key").to_owned();
                    self.blame(key, format!("{what} is there twice: take one out"));
                    continue;
                }
                None => {}
            }
            own.push((name, value));
        }
        own
    }

    fn brought(&mut self, node: &Node) -> Vec<(Value, Value)> {
        let value = self.value(node);
        let sources = match &value.data {
            Data::Sequence(items) => items.iter().collect(),
            Data::Mapping(_) | Data::Scalar { .. } => vec![&value],
        };
        let mut all: Vec<(Value, Value)> = Vec::new();
        for source in sources {
            if !matches!(source.data, Data::Mapping(_)) {
                self.blame(
                    node,
                    "<<: expected an alias of a mapping, or a list of them",
                );
            }
            for (name, value) in source.entries() {
                if !all.iter().any(|(it, _)| it == name) {
                    all.push((name.clone(), value.clone()));
                }
            }
        }
        all
    }

    fn count(&mut self, values: usize, node: &Node) {
        match self.left.checked_sub(values) {
            Some(left) => self.left = left,
            None => self.blame(node, format!("more than {MAX_VALUES} values: split it")),
        }
    }

    fn blame(&mut self, node: &Node, why: impl Into<String>) {
        let line = self.source.line_of(node.start) + 1;
        self.fault.get_or_insert(Refused {
            line,
            why: why.into(),
        });
    }
}

fn size(value: &Value) -> usize {
    let below: usize = match &value.data {
        Data::Scalar { .. } => 0,
        Data::Mapping(entries) => entries.iter().map(|(_, value)| 1 + size(value)).sum(),
        Data::Sequence(items) => items.iter().map(size).sum(),
    };
    below + 1
}
