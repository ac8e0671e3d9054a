//! Environment variables that look like settings but are not: a mistyped one would silently do nothing.

use clap::Args;

use super::RunArgs;

/// Variables without a flag: passwords, the agent's address for the commands that ask it, and the parameters of a
/// build.
const WITHOUT_A_FLAG: [&str; 5] = [
    "UNDERSTUDY_REDIS_PASSWORD",
    "UNDERSTUDY_SENTINEL_PASSWORD",
    "UNDERSTUDY_GRPC_ADDR",
    "UNDERSTUDY_REVISION",
    // Set by `exec` for its program.
    "UNDERSTUDY_FENCING_TOKEN",
];

/// The least Jaro-Winkler similarity, from 0 to 1, of a name to suggest.
const MIN_SIMILARITY: f64 = 0.9;

/// A variable that nothing reads.
#[derive(Debug, PartialEq, Eq)]
pub struct Unknown {
    pub name: String,
    /// The setting that was probably meant.
    pub similar: Option<String>,
}

/// The variables in the environment that are named like a setting but are not one.
#[must_use]
pub fn unknown_settings() -> Vec<Unknown> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    unknown(names)
}

/// Checks that the agent reads a setting of this name; if not, returns one with a similar name.
///
/// # Errors
/// The agent reads no such setting.
pub fn must_be_read(name: &str) -> Result<(), Unknown> {
    unknown([name.to_owned()].into_iter())
        .pop()
        .map_or(Ok(()), Err)
}

/// The environment twins of the flags of `run`, and the variables without a flag.
fn known() -> Vec<String> {
    let command = RunArgs::augment_args(clap::Command::new("run"));
    let twins = command.get_arguments().filter_map(clap::Arg::get_env);
    let twins = twins.map(|name| name.to_string_lossy().into_owned());
    twins.chain(WITHOUT_A_FLAG.map(ToOwned::to_owned)).collect()
}

fn unknown(names: impl Iterator<Item = String>) -> Vec<Unknown> {
    let known = known();
    let ours = names.filter(|name| name.starts_with("UNDERSTUDY_") && !of_kubernetes(name));
    let mut found: Vec<_> = ours
        .filter(|name| !known.contains(name) && !name.starts_with("UNDERSTUDY_TEST_"))
        .map(|name| Unknown {
            similar: most_similar(&name, &known),
            name,
        })
        .collect();
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found
}

/// What Kubernetes sets for a Service whose name begins with `understudy`.
/// <https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>
fn of_kubernetes(name: &str) -> bool {
    let parts = ["_SERVICE_PORT", "_PORT_"];
    let ends = ["_SERVICE_HOST", "_PORT"];
    parts.iter().any(|it| name.contains(it)) || ends.iter().any(|it| name.ends_with(it))
}

fn most_similar(name: &str, known: &[String]) -> Option<String> {
    let rated = known.iter().map(|it| (strsim::jaro_winkler(name, it), it));
    let best = rated.max_by(|(one, _), (other, _)| one.total_cmp(other))?;
    (best.0 >= MIN_SIMILARITY).then(|| best.1.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(names: &[&str]) -> Vec<(String, Option<String>)> {
        let all = unknown(names.iter().map(ToString::to_string));
        all.into_iter().map(|it| (it.name, it.similar)).collect()
    }

    #[test]
    fn a_mistyped_setting_is_found_with_the_one_that_was_meant() {
        for (typed, meant) in [
            ("UNDERSTUDY_LEASE_TLL", "UNDERSTUDY_LEASE_TTL"),
            ("UNDERSTUDY_REDIS_PASWORD", "UNDERSTUDY_REDIS_PASSWORD"),
            ("UNDERSTUDY_REDISURL", "UNDERSTUDY_REDIS_URL"),
            ("UNDERSTUDY_LOCKKEY", "UNDERSTUDY_LOCK_KEY"),
        ] {
            assert_eq!(told(&[typed]), [(typed.into(), Some(meant.into()))]);
        }
        let far = told(&["UNDERSTUDY_XYZZY"]);
        assert_eq!(far, [("UNDERSTUDY_XYZZY".into(), None)]);
    }

    #[test]
    fn what_is_read_and_what_others_set_is_not_unknown() {
        let quiet = [
            "UNDERSTUDY_LEASE_TTL",
            "UNDERSTUDY_REDIS_PASSWORD",
            "UNDERSTUDY_GRPC_ADDR",
            "UNDERSTUDY_TEST_ENGINE",
            "UNDERSTUDY_SERVICE_HOST",
            "UNDERSTUDY_SERVICE_PORT",
            "UNDERSTUDY_SERVICE_PORT_HTTP",
            "UNDERSTUDY_PORT",
            "UNDERSTUDY_PORT_9095_TCP_ADDR",
            "UNDERSTUDY_METRICS_SERVICE_HOST",
            "REDIS_URL",
            "understudy_lease_tll",
        ];
        assert_eq!(told(&quiet), []);
        assert!(known().len() > 25, "{:?}", known());
    }
}
