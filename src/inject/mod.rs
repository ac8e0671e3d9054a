//! Puts the agent beside the miner in Kubernetes manifests, and takes it out again. Pure: text in, text out.
//!
//! Only the lines that must change do: comments, order and style of the rest stay as they are.

mod edit;
mod flow;
mod group;
mod input;
mod join;
mod mend;
mod parse;
mod plan;
mod pod;
mod render;
mod sidecar;
#[cfg(test)]
mod tests;
mod text;
mod value;
mod workload;
mod write;
mod yaml;

pub use join::{Part, join};
pub use sidecar::{SIDECAR, fixed, quantity};
pub use workload::{Name, kinds};
pub use yaml::Refused;

use edit::Edits;
use plan::Plan;
use text::Source;
use value::{Resolver, Value};
use workload::Workload;
use yaml::Document;

/// What to work on, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// The workloads; without any, the label decides.
    pub names: Vec<Name>,
    /// The label of the workloads: its key and its value.
    pub label: (String, String),
    /// The miner's container; without it the one called `miner`, or the only one.
    pub container: Option<String>,
    /// Another image than the one of this version.
    pub image: Option<String>,
    /// More environment variables of the agent.
    pub env: Vec<(String, String)>,
    /// Its port for HTTP, if it is another one.
    pub http_port: Option<u16>,
    /// Whether the pod is ready only while Redis takes writes.
    pub readiness_probe: bool,
    /// What the agent asks for and is held to; without it, what the container says, or what the pod's quality of
    /// service needs.
    pub cpu: Option<String>,
    pub memory: Option<String>,
    /// The user that the agent runs as.
    pub run_as_user: Id,
    /// The group of the pod.
    pub fs_group: Id,
    /// An ordinary container, for clusters that know no native sidecars.
    pub classic: bool,
    /// Take it out.
    pub uninject: bool,
}

/// Of a user or a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Id {
    Ours,
    /// The platform gives one.
    None,
    Number(u32),
}

/// A text that was worked on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    pub text: String,
    /// What was selected, as `Kind/name`.
    pub selected: Vec<String>,
}

/// Works on every document of a text: plans the changes as data, writes them into the text, reads what came out, and
/// gives it only if that is the input with exactly these changes. What is selected twice in a row comes to the same.
///
/// # Errors
/// The line where it stands, and what is the matter there. Nothing is half done.
pub fn inject(text: &str, options: &Options) -> Result<Done, Refused> {
    let source = Source::new(text);
    let documents = parse::documents(&source)?;
    let mut edits = Edits::new(&source);
    let mut selected = Vec::new();
    let mut wanted = Vec::new();
    for document in &documents {
        let (value, fault) = Resolver::document(&source, &document.root);
        let workloads = Workload::selected(&value, options);
        if workloads.is_empty() {
            wanted.push(None);
            continue;
        }
        if let Some(fault) = fault {
            return Err(fault);
        }
        let mut plan = Plan::of(value);
        for workload in &workloads {
            pod::work(&source, &mut plan, workload, options)?;
            selected.push(workload.to_string());
        }
        write::write(&source, &mut edits, &document.root, &plan.value)?;
        wanted.push(Some(plan.value));
    }
    if edits.is_empty() {
        return Ok(Done {
            text: text.to_owned(),
            selected,
        });
    }
    let text = edits.apply();
    must_say(&text, &source, &documents, &wanted)?;
    Ok(Done { text, selected })
}

/// Reads what came out: every document must say what was planned, and the others must be as they were.
fn must_say(
    text: &str,
    before: &Source,
    documents: &[Document],
    wanted: &[Option<Value>],
) -> Result<(), Refused> {
    let after = Source::new(text);
    let written = parse::documents(&after).unwrap_or_default();
    let part = |of: &Source, all: &[Document], at: usize| {
        let from = all.get(at).filter(|_| at > 0).map_or(0, |it| it.start);
        let until = all.get(at + 1).map_or(of.text.len(), |it| it.start);
        of.text.get(from..until).map(str::to_owned)
    };
    for (at, (document, wanted)) in documents.iter().zip(wanted).enumerate() {
        let good = written.len() == documents.len()
            && match (wanted, written.get(at)) {
                (Some(wanted), Some(written)) => {
                    let (value, fault) = Resolver::document(&after, &written.root);
                    fault.is_none() && value == *wanted
                }
                _ => part(before, documents, at) == part(&after, &written, at),
            };
        if !good {
            let line = before.line_of(document.root.start) + 1;
            let why = "this document cannot be changed as it is written without changing something else: write out its aliases and merges, and give each key a line of its own";
            let last = at + 1 == documents.len();
            let cut_off = if last {
                join::cut_off(before.text)
            } else {
                None
            };
            return Err(cut_off.unwrap_or_else(|| Refused {
                line,
                why: why.into(),
            }));
        }
    }
    Ok(())
}
