//! The agent's container, as the options and the pod want it.

use super::parse;
use super::plan::Plan;
use super::text::Source;
use super::value::{Resolver, Step, Value};
use super::yaml::Refused;
use super::{Id, Options};

/// The container, as in deploy/kubernetes.
pub const SIDECAR: &str = include_str!("../../deploy/kubernetes/sidecar.yaml");

const HTTP_PORT: &str = "9095";
/// The one setting that an agent in a pod must have.
const REDIS_URL: &str = "UNDERSTUDY_REDIS_URL";
/// The CPU limit in a Guaranteed pod: high enough not to slow a takeover down.
const GUARANTEED_CPU: &str = "100m";

/// The settings that the container itself sets. The container's win, so the same names elsewhere would have no effect.
pub fn fixed() -> impl Iterator<Item = &'static str> {
    let names = SIDECAR
        .lines()
        .filter_map(|line| line.strip_prefix("  - name: "));
    names.filter(|name| name.starts_with("UNDERSTUDY_"))
}

pub(super) fn http_port(options: &Options) -> String {
    options
        .http_port
        .map_or_else(|| HTTP_PORT.to_owned(), |port| port.to_string())
}

pub(super) fn sidecar(options: &Options, guaranteed: bool) -> Result<Value, Refused> {
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
    if options.env.iter().any(|(name, _)| name == REDIS_URL) {
        // Nothing else needs the ConfigMap then.
        let optional = ["envFrom", "configMapRef", "optional"];
        let [list, source, optional] = optional.map(Step::from);
        plan.put(
            &[list, Step::Item(0), source, optional],
            Value::typed("true"),
        );
    }
    if !options.readiness_probe {
        plan.remove(&way(&["readinessProbe"]));
    }
    if options.http_port.is_some() {
        listen(&mut plan, &http_port(options));
    }
    match &options.run_as_user {
        Id::Ours => {}
        Id::Number(user) => plan.put(
            &way(&["securityContext", "runAsUser"]),
            Value::typed(user.to_string()),
        ),
        Id::None => {
            plan.remove(&way(&["securityContext", "runAsUser"]));
            plan.remove(&way(&["securityContext", "runAsGroup"]));
        }
    }
    for (resource, given) in [("cpu", &options.cpu), ("memory", &options.memory)] {
        let (request, limit) = (
            way(&["resources", "requests", resource]),
            way(&["resources", "limits", resource]),
        );
        let both = match given {
            Some(given) => Some(given.clone()),
            None if guaranteed => {
                let limit = plan.at(&limit).and_then(Value::text);
                Some(limit.unwrap_or(GUARANTEED_CPU).to_owned())
            }
            None => None,
        };
        if let Some(both) = both {
            plan.put(&request, Value::string(&both));
            plan.put(&limit, Value::string(both));
        }
    }
    Ok(plan.value.fresh())
}

/// Moves the agent to another port.
fn listen(plan: &mut Plan, port: &str) {
    let env = plan
        .at(&["env".into()])
        .map(Value::items)
        .unwrap_or_default();
    let found = env
        .iter()
        .position(|it| it.word(&["name"]) == Some("UNDERSTUDY_HTTP_LISTEN"));
    if let Some(at) = found {
        let value = ["env".into(), Step::Item(at), "value".into()];
        let host = plan
            .at(&value)
            .and_then(Value::text)
            .and_then(|it| it.rsplit_once(':'));
        let address = format!("{}:{port}", host.map_or("", |(host, _)| host));
        plan.put(&value, Value::string(address));
    }
    plan.put(
        &["ports".into(), Step::Item(0), "containerPort".into()],
        Value::typed(port),
    );
}

/// Whether requests equal limits: Kubernetes then guarantees them, and evicts other pods first.
pub(super) fn is_guaranteed(container: &Value) -> bool {
    ["cpu", "memory"].into_iter().all(|resource| {
        let of = |list: &str| {
            container
                .word(&["resources", list, resource])
                .and_then(quantity)
        };
        let (limit, request) = (of("limits"), of("requests"));
        let asked = container
            .at_keys(&["resources", "requests", resource])
            .is_some();
        limit.is_some_and(|it| it > 0.0) && (!asked || request == limit)
    })
}

/// The value of a Kubernetes quantity such as `10m`, `64Mi` or `1`; `None` if it is not a quantity.
#[must_use]
pub fn quantity(text: &str) -> Option<f64> {
    let digits = text.trim_start_matches(|it: char| it.is_ascii_digit() || it == '.');
    let (number, unit) = text.split_at(text.len() - digits.len());
    let factor = match unit {
        "" => 1.0,
        "m" => 0.001,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "Ki" => 1024.0,
        "Mi" => 1_048_576.0,
        "Gi" => 1_073_741_824.0,
        "Ti" => 1_099_511_627_776.0,
        _ => return None,
    };
    number.parse::<f64>().ok().map(|number| number * factor)
}
