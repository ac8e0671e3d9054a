//! Puts the agent beside the miner in Kubernetes manifests, and takes it out again. Pure: text in, text out.
//!
//! Only the necessary lines change; comments, order and style stay.

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
    /// The workloads; if empty, the label decides.
    pub names: Vec<Name>,
    /// The label of the workloads: its key and its value.
    pub label: (String, String),
    /// The miner's container; if `None`, the one called `miner`, or the only one.
    pub container: Option<String>,
    /// An image other than this version's.
    pub image: Option<String>,
    /// More environment variables for the agent.
    pub env: Vec<(String, String)>,
    /// Its HTTP port, if not the default.
    pub http_port: Option<u16>,
    /// Whether the pod is ready only while Redis takes writes.
    pub readiness_probe: bool,
    /// The agent's requests and limits; if `None`, those of the container, or what the pod's quality of service needs.
    pub cpu: Option<String>,
    pub memory: Option<String>,
    /// The user that the agent runs as.
    pub run_as_user: Id,
    /// The group of the pod.
    pub fs_group: Id,
    /// An ordinary container, for clusters that know no native sidecars.
    pub classic: bool,
    /// Take the agent out.
    pub uninject: bool,
}

/// A user id or a group id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Id {
    Ours,
    /// The platform assigns one.
    None,
    Number(u32),
}

/// The result for one text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    pub text: String,
    /// The selected workloads, as `Kind/name`.
    pub selected: Vec<String>,
}

/// Works on every document of a text: plans the changes as data, writes them into the text, parses the result, and
/// returns it only if it is the input with exactly these changes. Injecting again changes nothing.
///
/// # Errors
/// The line, and what is wrong there. No partial result is returned.
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

/// Parses the result: the selected documents must be as planned, and the others unchanged.
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
