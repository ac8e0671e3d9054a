//! The agent's container, as the options and the pod want it.

use super::Options;
use super::parse;
use super::plan::Plan;
use super::text::Source;
use super::value::{Resolver, Step, Value};
use super::yaml::Refused;

/// The container, as it stands in the repository.
pub const SIDECAR: &str = include_str!("../../deploy/kubernetes/sidecar.yaml");

pub(super) const HTTP_PORT: &str = "9095";
/// The settings that the container has of its own: later ones win, so others of these names would do nothing.
pub fn fixed() -> impl Iterator<Item = &'static str> {
    let names = SIDECAR
        .lines()
        .filter_map(|line| line.strip_prefix("  - name: "));
    names.filter(|name| name.starts_with("UNDERSTUDY_"))
}

pub(super) fn sidecar(options: &Options) -> Result<Value, Refused> {
    let source = Source::new(SIDECAR);
    let documents = parse::documents(&source)?;
    let roots = documents
        .iter()
        .map(|it| Resolver::document(&source, &it.root).0);
    let mut plan = Plan::of(roots.fold(Value::list(Vec::new()), |_, root| root).fresh());
    let way = |keys: &[&str]| keys.iter().map(|key| Step::from(*key)).collect::<Vec<_>>();
    if let Some(image) = &options.image {
        plan.put(&way(&["image"]), Value::string(image));
    }
    if options.classic {
        plan.remove(&way(&["restartPolicy"]));
    }
    for (at, (name, value)) in options.env.iter().enumerate() {
        let set = [
            ("name", Value::string(name)),
            ("value", Value::string(value)),
        ];
        plan.insert(&["env".into(), Step::Item(at)], Value::mapping(set));
    }
    Ok(plan.value.fresh())
}
