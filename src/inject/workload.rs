//! The workloads of a document, and which of them are selected.

use std::fmt;

use super::Options;
use super::pod::LABEL;
use super::value::{Step, Value};

/// Lists within lists: deeper than anybody nests them.
const MAX_LIST_DEPTH: usize = 8;

/// A kind that makes pods.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    pub name: &'static str,
    api: &'static str,
    /// As kubectl abbreviates it.
    short: &'static str,
    /// Where the pod is in it.
    pod: &'static [&'static str],
    /// It completes when its containers do.
    pub completes: bool,
}

const TEMPLATE: &[&str] = &["spec", "template"];

#[rustfmt::skip]
const KINDS: [Kind; 7] = [
    Kind { name: "Deployment", api: "apps/v1", short: "deploy", pod: TEMPLATE, completes: false },
    Kind { name: "StatefulSet", api: "apps/v1", short: "sts", pod: TEMPLATE, completes: false },
    Kind { name: "DaemonSet", api: "apps/v1", short: "ds", pod: TEMPLATE, completes: false },
    Kind { name: "ReplicaSet", api: "apps/v1", short: "rs", pod: TEMPLATE, completes: false },
    Kind { name: "Pod", api: "v1", short: "po", pod: &[], completes: false },
    Kind { name: "Job", api: "batch/v1", short: "job", pod: TEMPLATE, completes: true },
    Kind { name: "CronJob", api: "batch/v1", short: "cj", pod: &["spec", "jobTemplate", "spec", "template"], completes: true },
];

/// The names of all kinds that can have an agent.
pub fn kinds() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|kind| kind.name)
}

/// A workload by its name, and by its kind if that was given.
#[derive(Debug, Clone)]
pub struct Name {
    kind: Option<&'static Kind>,
    name: String,
}

impl Name {
    /// `NAME` or `KIND/NAME`, the kind as kubectl takes and prints it: `deploy/x`, `Deployment/x`, `deployment.apps/x`.
    /// `None` if it is neither.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let Some((kind, name)) = text.split_once('/') else {
            let name = text.to_owned();
            return (!name.is_empty()).then_some(Self { kind: None, name });
        };
        let kind = kind.to_ascii_lowercase();
        let (word, group) = kind
            .split_once('.')
            .map_or((kind.as_str(), None), |(word, group)| (word, Some(group)));
        let found = KINDS.iter().find(|it| {
            let full = it.name.to_ascii_lowercase();
            let groups = it.api.split_once('/').map_or("", |(group, _)| group);
            let called = word == full || word.strip_suffix('s') == Some(&full) || word == it.short;
            called && group.is_none_or(|it| it == groups)
        })?;
        let is_name = !name.is_empty() && !name.contains('/');
        is_name.then(|| Self {
            kind: Some(found),
            name: name.to_owned(),
        })
    }

    /// Whether it matches this workload, in the form that [`Done`](super::Done) uses: `Kind/name`.
    #[must_use]
    pub fn means(&self, workload: &str) -> bool {
        let (kind, name) = workload.split_once('/').unwrap_or_default();
        self.name == name && self.kind.is_none_or(|it| it.name == kind)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Some(kind) => write!(f, "{}/{}", kind.name, self.name),
            None => write!(f, "{}", self.name),
        }
    }
}

/// A workload that was selected.
#[derive(Debug)]
pub(super) struct Workload {
    pub kind: &'static Kind,
    pub name: String,
    /// Where the workload is in its document, and where the pod or its template is in the workload.
    pub root: Vec<Step>,
    pub pod: Vec<Step>,
}

impl Workload {
    /// The selected workloads of a document.
    pub fn selected(document: &Value, options: &Options) -> Vec<Self> {
        let mut all = resources(document, Vec::new());
        all.retain_mut(|it| it.is_meant(document, options));
        all
    }

    fn is_meant(&self, document: &Value, options: &Options) -> bool {
        if !options.names.is_empty() {
            let whole = self.to_string();
            return options.names.iter().any(|it| it.means(&whole));
        }
        let (key, value) = &options.label;
        let label = document
            .at(&self.root)
            .and_then(|root| root.word(&["metadata", "labels", key]));
        label == Some(value)
    }

    /// The way to something in the pod's spec.
    pub fn spec(&self, path: &[&str]) -> Vec<Step> {
        let mut way = self.in_pod(&["spec"]);
        way.extend(path.iter().map(|key| Step::from(*key)));
        way
    }

    /// The path of the pod's spec, as a reader of the manifest would write it.
    pub fn spec_name(&self) -> String {
        [self.kind.pod, &["spec"]].concat().join(".")
    }

    pub fn in_pod(&self, path: &[&str]) -> Vec<Step> {
        let mut way = self.pod.clone();
        way.extend(path.iter().map(|key| Step::from(*key)));
        way
    }

    /// Whether the workload's selector uses our label too: without the label its pods would no longer be its own.
    pub fn selects_by_label(&self, document: &Value) -> bool {
        let Some(selector) = document
            .at(&self.root)
            .and_then(|it| it.at_keys(&["spec", "selector"]))
        else {
            return false;
        };
        let expressions = selector
            .get("matchExpressions")
            .map(Value::items)
            .unwrap_or_default();
        selector.at_keys(&["matchLabels", LABEL]).is_some()
            || expressions
                .iter()
                .any(|it| it.word(&["key"]) == Some(LABEL))
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.name, self.name)
    }
}

/// The resources that make pods; a List stands for all of its items.
fn resources(document: &Value, root: Vec<Step>) -> Vec<Workload> {
    let Some(resource) = document.at(&root) else {
        return Vec::new();
    };
    let word = |key: &str| resource.word(&[key]).unwrap_or_default();
    let (api, kind) = (word("apiVersion"), word("kind"));
    if kind.ends_with("List") && root.len() < 2 * MAX_LIST_DEPTH {
        let count = resource.get("items").map_or(0, |items| items.items().len());
        let ways = (0..count).map(|at| [&root[..], &["items".into(), Step::Item(at)]].concat());
        return ways.flat_map(|way| resources(document, way)).collect();
    }
    let Some(kind) = KINDS.iter().find(|it| it.name == kind && it.api == api) else {
        return Vec::new();
    };
    let name = resource
        .word(&["metadata", "name"])
        .unwrap_or_default()
        .to_owned();
    let pod = kind.pod.iter().map(|key| Step::from(*key));
    let pod = root.iter().cloned().chain(pod).collect();
    vec![Workload {
        kind,
        name,
        root,
        pod,
    }]
}
