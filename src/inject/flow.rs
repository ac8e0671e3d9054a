//! Writes changes inside braces and brackets.

use super::render;
use super::value::{Data, Value};
use super::write::{Step, Writer, align, brings_more, find};
use super::yaml::{Kind, Node, Refused};

impl Writer<'_, '_> {
    pub(super) fn flow_mapping(
        &mut self,
        node: &Node,
        entries: &[(Node, Node)],
        value: &Value,
    ) -> Result<(), Refused> {
        let mut inherited: Vec<(Value, Value)> = Vec::new();
        let mut names: Vec<Value> = Vec::new();
        let mut parts = Vec::new();
        let mut merges: Vec<usize> = Vec::new();
        for (key, old) in entries {
            let (start, end) = (key.start, old.end.max(key.end));
            if key.merges() {
                inherited.extend(self.resolver.merged(old));
                merges.push(parts.len());
                parts.push((start, end, false));
                continue;
            }
            let name = self.resolver.resolve(key);
            let new = find(value.entries(), &name);
            let by_merge = new.is_some() && find(&inherited, &name) == new;
            let stays = new.filter(|new| !by_merge || self.resolver.resolve(old) == **new);
            if let Some(new) = stays {
                self.flow_value(old, new)?;
                names.push(name);
            }
            parts.push((start, end, stays.is_none()));
        }
        if brings_more(&inherited, value) {
            for (_, (_, _, gone)) in parts
                .iter_mut()
                .enumerate()
                .filter(|(at, _)| merges.contains(at))
            {
                *gone = true;
            }
            inherited.clear();
        }
        self.flow_remove(&parts);
        let new = value
            .entries()
            .iter()
            .filter(|(name, new)| !names.contains(name) && find(&inherited, name) != Some(new));
        let new: Vec<_> = new
            .map(|(name, new)| {
                format!(
                    "{}: {}",
                    render::flow(name, self.style),
                    render::flow(new, self.style)
                )
            })
            .collect();
        self.flow_append(node, &parts, &new);
        Ok(())
    }

    pub(super) fn flow_sequence(
        &mut self,
        node: &Node,
        items: &[Node],
        value: &Value,
    ) -> Result<(), Refused> {
        let mut parts = Vec::new();
        let mut last = Vec::new();
        let mut steps = align(items, value).into_iter().peekable();
        while let Some(step) = steps.next() {
            let new = match step {
                Step::Stays(item, new) => {
                    self.flow_value(item, new)?;
                    parts.push((item.start, item.end, false));
                    continue;
                }
                Step::Goes(item) => {
                    parts.push((item.start, item.end, true));
                    continue;
                }
                Step::Comes(new) => render::flow(new, self.style),
            };
            match steps.peek() {
                Some(Step::Goes(item)) => {
                    self.edits.replace(item.start, item.end, new);
                    parts.push((item.start, item.end, false));
                    steps.next();
                }
                Some(Step::Stays(item, _)) => {
                    self.edits
                        .replace(item.start, item.start, format!("{new}, "));
                }
                Some(Step::Comes(_)) | None => last.push(new),
            }
        }
        self.flow_remove(&parts);
        self.flow_append(node, &parts, &last);
        Ok(())
    }

    fn flow_value(&mut self, old: &Node, new: &Value) -> Result<(), Refused> {
        if self.resolver.resolve(old) == *new {
            return Ok(());
        }
        let alike = matches!(
            (&old.kind, &new.data),
            (Kind::Mapping(_), Data::Mapping(_)) | (Kind::Sequence(_), Data::Sequence(_))
        );
        if alike {
            return self.node(old, new);
        }
        if old.end <= old.start
            || old.tag.is_some()
            || (old.anchor > 0 && !matches!(old.kind, Kind::Alias))
        {
            return self.refuse(
                old,
                "this cannot be replaced where it stands: write it in lines of its own",
            );
        }
        self.edits
            .replace(old.start, old.end, render::flow(new, self.style));
        Ok(())
    }

    /// A removed part takes the comma before it along; parts at the beginning take the one after them.
    fn flow_remove(&mut self, parts: &[(usize, usize, bool)]) {
        let kept = parts.iter().position(|(_, _, gone)| !gone);
        let mut before = None;
        for (at, (start, end, gone)) in parts.iter().enumerate() {
            let next = parts.get(at + 1).map(|(start, _, _)| *start);
            match (next, before) {
                _ if !gone => {}
                (Some(next), _) if kept.is_some_and(|kept| at < kept) => {
                    self.edits.replace(*start, next, "");
                }
                (_, Some(before)) => self.edits.replace(before, *end, ""),
                _ => self.edits.replace(*start, *end, ""),
            }
            before = Some(*end);
        }
    }

    fn flow_append(&mut self, node: &Node, parts: &[(usize, usize, bool)], new: &[String]) {
        if new.is_empty() {
            return;
        }
        let text = new.join(", ");
        let emptied = parts.iter().all(|(_, _, gone)| *gone);
        let Some((_, end, _)) = parts.last().filter(|_| !emptied) else {
            self.edits.replace(node.inner, node.inner, text);
            return;
        };
        let after = self.source.slice(*end, node.end);
        let comma = after.trim_start();
        if comma.starts_with(',') {
            let at = end + after.len() - comma.len() + 1;
            self.edits.replace(at, at, format!(" {text},"));
        } else {
            self.edits.replace(*end, *end, format!(", {text}"));
        }
    }
}
