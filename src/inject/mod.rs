//! Puts the agent beside the miner in Kubernetes manifests, and takes it out again. Pure: text in, text out.
//!
//! Only the lines that must change do: comments, order and style of the rest stay as they are.

mod edit;
mod pod;
#[cfg(test)]
mod tests;
mod yaml;

pub use pod::fixed;
pub use yaml::Refused;

use edit::Edit;
use yaml::Node;

/// The container, as it stands in the repository.
pub const SIDECAR: &str = include_str!("../../deploy/kubernetes/sidecar.yaml");

/// What to work on, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// The names of the workloads; without any, the label decides.
    pub names: Vec<String>,
    /// The label of the workloads: its key and its value.
    pub label: (String, String),
    /// The miner's container; without it the one called `miner`, or the only one.
    pub container: Option<String>,
    /// Another image than the one of this version.
    pub image: Option<String>,
    /// More environment variables of the agent.
    pub env: Vec<(String, String)>,
    /// An ordinary container, for clusters that know no native sidecars.
    pub classic: bool,
    /// Take it out.
    pub uninject: bool,
}

/// A text that was worked on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    pub text: String,
    /// What was selected, as `Kind/name`.
    pub selected: Vec<String>,
}

/// Works on every document of a text. What is selected twice in a row comes to the same.
///
/// # Errors
/// The line where it stands, and what is the matter there. Nothing is half done.
pub fn inject(text: &str, options: &Options) -> Result<Done, Refused> {
    if options.uninject {
        return each(text, options, pod::take_out);
    }
    each(text, options, |_, workload, options| {
        pod::must_fit(workload, options)
    })?;
    let without = each(text, options, pod::take_out)?;
    each(&without.text, options, pod::put_in)
}

type Work = fn(&mut Edit, &pod::Workload, &Options) -> Result<(), Refused>;

fn each(text: &str, options: &Options, work: Work) -> Result<Done, Refused> {
    let ending = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let lines: Vec<&str> = text.lines().collect();
    let roots = yaml::documents(text, &lines)?;
    let mut edit = Edit::new(&lines);
    let mut selected = Vec::new();
    for root in roots.iter().flat_map(resources) {
        if let Some(workload) = pod::Workload::of(root, options)? {
            work(&mut edit, &workload, options)?;
            selected.push(workload.to_string());
        }
    }
    let mut text = edit.apply().join(ending);
    if !text.is_empty() {
        text.push_str(ending);
    }
    Ok(Done { text, selected })
}

/// A list of resources stands for all of them.
fn resources(root: &Node) -> Vec<&Node> {
    match (root.word(&["kind"]), root.get("items")) {
        (Some(kind), Some(items)) if kind.ends_with("List") => items.items().iter().collect(),
        _ => vec![root],
    }
}
