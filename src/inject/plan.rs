//! The changes to a document, as data, planned before a line is touched.

use super::value::{Data, Step, Value};

/// Changes in the order in which they apply, as in a JSON patch.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub path: Vec<Step>,
    pub what: What,
}

#[derive(Debug, Clone)]
pub(super) enum What {
    /// Adds the entry or replaces its value. A new one comes before the key that is named, or else last.
    Put(Value, Option<&'static str>),
    /// A new item of a list.
    Insert(Value),
    Remove,
}

/// A document, and the changes applied to it so far.
#[derive(Debug)]
pub(super) struct Plan {
    pub value: Value,
    pub changes: Vec<Change>,
}

impl Plan {
    pub fn of(value: Value) -> Self {
        Self {
            value,
            changes: Vec::new(),
        }
    }

    pub fn at(&self, path: &[Step]) -> Option<&Value> {
        self.value.at(path)
    }

    pub fn put(&mut self, path: &[Step], value: Value) {
        self.change(path, What::Put(value, None));
    }

    pub fn put_before(&mut self, path: &[Step], value: Value, next: &'static str) {
        self.change(path, What::Put(value, Some(next)));
    }

    pub fn insert(&mut self, path: &[Step], value: Value) {
        self.change(path, What::Insert(value));
    }

    /// Removes the value, and its parent if that is now empty. Empty braces in a block stay: they were in the input,
    /// because `inject` adds only blocks to a block.
    pub fn remove(&mut self, path: &[Step]) {
        let mut path = path;
        while let Some((_, parent)) = path.split_last()
            && let Some((key, outer)) = parent.split_last()
            && let (Some(holds), Some(outer)) = (self.at(parent), self.at(outer))
            && holds.entries().len() + holds.items().len() == 1
            && (!holds.flow || outer.flow)
        {
            let is_it = |name: &Value| name.text().is_some_and(|it| *key == Step::from(it));
            let mut inherited = outer.inherits_empty.iter();
            if let Some((_, empty)) = inherited.find(|(name, _)| is_it(name)) {
                let empty = empty.clone();
                return self.put(parent, empty);
            }
            path = parent;
        }
        self.change(path, What::Remove);
    }

    fn change(&mut self, path: &[Step], what: What) {
        let change = Change {
            path: path.to_vec(),
            what,
        };
        change.apply(&mut self.value);
        self.changes.push(change);
    }
}

impl Change {
    /// Does nothing if the way leads nowhere.
    pub fn apply(&self, root: &mut Value) {
        let Some((last, parent)) = self.path.split_last() else {
            return;
        };
        let Some(parent) = root.at_mut(parent) else {
            return;
        };
        match (last, &mut parent.data, &self.what) {
            (Step::Key(key), Data::Mapping(entries), what) => {
                let is_it = |(name, _): &(Value, Value)| name.text() == Some(key);
                let found = entries.iter().position(is_it);
                match (what, found) {
                    (What::Remove, Some(at)) => drop(entries.remove(at)),
                    (What::Put(value, _), Some(at)) => {
                        if let Some((_, old)) = entries.get_mut(at) {
                            *old = value.clone();
                        }
                    }
                    (What::Put(value, before), None) => {
                        let next =
                            |(name, _): &(Value, Value)| before.is_some() && name.text() == *before;
                        let at = entries.iter().position(next).unwrap_or(entries.len());
                        entries.insert(at, (Value::string(key), value.clone()));
                    }
                    (What::Remove | What::Insert(_), _) => {}
                }
            }
            (Step::Item(at), Data::Sequence(items), What::Insert(value)) => {
                items.insert((*at).min(items.len()), value.clone());
            }
            (Step::Item(at), Data::Sequence(items), What::Remove) if *at < items.len() => {
                items.remove(*at);
            }
            _ => {}
        }
    }
}
