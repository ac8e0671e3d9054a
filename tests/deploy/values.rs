//! Every value of the chart is in its schema and its README, and does something.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// Each value, something else than its default, and what must be there for it to matter.
const SET: &[(&str, &str, &[&str])] = &[
    ("image.repository", "here/agent", &[]),
    ("image.tag", "v2", &[]),
    (
        "image.digest",
        "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        &[],
    ),
    ("image.pullPolicy", "Always", &[]),
    ("settings.UNDERSTUDY_REDIS_URL", "redis://other:6379", &[]),
    ("settings.UNDERSTUDY_LEASE_TTL", "20s", &[]),
    ("redisPassword", "p", &[]),
    ("existingSecret.name", "redis", &[]),
    (
        "existingSecret.key",
        "password",
        &["existingSecret.name=redis"],
    ),
    ("httpListen", "0.0.0.0:9195", &[]),
    ("classic", "true", &[]),
    ("readinessProbe", "false", &[]),
    ("resources.limits.cpu", "100m", &[]),
    ("miner.enabled", "false", &[]),
    ("miner.kind", "StatefulSet", &[]),
    ("miner.replicas", "3", &[]),
    ("miner.image", "m:2", &[]),
    ("miner.imagePullPolicy", "Always", &[]),
    ("miner.imagePullSecrets[0].name", "registry", &[]),
    ("miner.command[0]", "/bin/miner", &[]),
    ("miner.args[0]", "--verbose", &[]),
    ("miner.env[0].name", "CHAIN", &["miner.env[0].value=main"]),
    ("miner.envFrom[0].secretRef.name", "wallet", &[]),
    ("miner.ports[0].containerPort", "8545", &[]),
    ("miner.startupProbe.tcpSocket.port", "8545", &[]),
    ("miner.readinessProbe.tcpSocket.port", "8545", &[]),
    ("miner.livenessProbe.tcpSocket.port", "8545", &[]),
    ("miner.lifecycle.preStop.sleep.seconds", "5", &[]),
    ("miner.resources.requests.cpu", "100m", &[]),
    ("miner.securityContext.runAsNonRoot", "null", &[]),
    (
        "miner.securityContext.allowPrivilegeEscalation",
        "true",
        &[],
    ),
    ("miner.securityContext.capabilities.drop", "null", &[]),
    (
        "miner.securityContext.seccompProfile.type",
        "Unconfined",
        &[],
    ),
    ("miner.podSecurityContext.fsGroup", "1000", &[]),
    (
        "miner.volumes[0].name",
        "data",
        &["miner.volumes[0].emptyDir.medium=Memory"],
    ),
    (
        "miner.volumeMounts[0].name",
        "data",
        &["miner.volumeMounts[0].mountPath=/data"],
    ),
    (
        "miner.extraContainers[0].name",
        "proxy",
        &["miner.extraContainers[0].image=proxy:1"],
    ),
    (
        "miner.initContainers[0].name",
        "prepare",
        &["miner.initContainers[0].image=tool:1"],
    ),
    ("miner.podAnnotations.team", "mining", &[]),
    ("miner.podLabels.team", "mining", &[]),
    ("miner.serviceAccount.create", "true", &[]),
    ("miner.serviceAccount.name", "wallet", &[]),
    (
        "miner.serviceAccount.annotations.role",
        "wallet",
        &["miner.serviceAccount.create=true"],
    ),
    ("miner.priorityClassName", "high", &[]),
    ("miner.nodeSelector.disk", "fast", &[]),
    ("miner.tolerations[0].operator", "Exists", &[]),
    (
        "miner.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].key",
        "zone",
        &[
            "miner.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].operator=Exists",
        ],
    ),
    (
        "miner.topologySpreadConstraints[0].topologyKey",
        "zone",
        &[
            "miner.topologySpreadConstraints[0].maxSkew=1",
            "miner.topologySpreadConstraints[0].whenUnsatisfiable=DoNotSchedule",
        ],
    ),
    ("miner.terminationGracePeriodSeconds", "60", &[]),
    (
        "miner.updateStrategy.type",
        "OnDelete",
        &["miner.kind=StatefulSet"],
    ),
    ("miner.serviceName", "other", &["miner.kind=StatefulSet"]),
    (
        "miner.volumeClaimTemplates[0].metadata.name",
        "data",
        &[
            "miner.kind=StatefulSet",
            "miner.volumeClaimTemplates[0].spec.accessModes[0]=ReadWriteOnce",
            "miner.volumeClaimTemplates[0].spec.resources.requests.storage=1Gi",
        ],
    ),
    ("networkPolicy.enabled", "false", &[]),
    ("networkPolicy.prometheusNamespace", "observability", &[]),
    ("networkPolicy.otherPorts", "false", &[]),
    ("podDisruptionBudget.enabled", "false", &[]),
    ("podDisruptionBudget.maxUnavailable", "50%", &[]),
    ("podMonitor.enabled", "false", &[]),
    ("podMonitor.interval", "30s", &[]),
    ("podMonitor.labels.release", "prometheus", &[]),
    ("prometheusRule.enabled", "false", &[]),
    ("prometheusRule.labels.release", "prometheus", &[]),
    (
        "prometheusRule.runbooks",
        "https://forge.example/runbooks",
        &[],
    ),
    ("dashboard.enabled", "true", &[]),
    (
        "dashboard.labels.grafana_dashboard",
        "yes",
        &["dashboard.enabled=true"],
    ),
];

/// The ways to all values that are no mapping with something in it.
fn leaves(value: &Value, way: &str, found: &mut Vec<String>) {
    match value.as_object().filter(|it| !it.is_empty()) {
        Some(entries) => {
            for (key, value) in entries {
                let way = if way.is_empty() {
                    key.clone()
                } else {
                    format!("{way}.{key}")
                };
                leaves(value, &way, found);
            }
        }
        None => found.push(way.to_owned()),
    }
}

#[test]
fn every_value_is_known_and_does_something() {
    if tool("helm").is_none() {
        return;
    }
    let values = documents(&read("deploy/helm/understudy/values.yaml")).remove(0);
    let mut all = Vec::new();
    leaves(&values, "", &mut all);
    let readme = read("deploy/helm/understudy/README.md");
    for leaf in &all {
        let is_it = |(way, ..): &&(&str, &str, &[&str])| {
            way.strip_prefix(leaf.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        assert!(SET.iter().any(|it| is_it(&it)), "{leaf} is not tried");
        let inside = leaf.starts_with("miner.securityContext.")
            || leaf.starts_with("settings.")
            || leaf.starts_with("dashboard.labels.");
        assert!(
            inside || readme.contains(&format!("`{leaf}`")),
            "{leaf} is not in the README"
        );
    }
    let mut renderings: BTreeMap<Vec<&str>, String> = BTreeMap::new();
    let mut resources = BTreeSet::new();
    for (way, value, with) in SET {
        // What belongs to the same item of a list comes with the value, all else was there before.
        let before = with.iter().copied().filter(|it| !it.contains('['));
        let before: Vec<&str> = WITH_MINER.into_iter().chain(before).collect();
        let set = format!("{way}={value}");
        let after = helm(&[&WITH_MINER[..], with, &[&set]].concat());
        let before = renderings
            .entry(before.clone())
            .or_insert_with(|| helm(&before));
        assert_ne!(*before, after, "{way} does nothing");
        resources.extend(after.split("\n---\n").map(str::to_owned));
    }
    let resources: Vec<String> = resources.into_iter().collect();
    must_be_valid(&resources.join("\n---\n"));
    for unknown in [
        "miner.imag=m",
        "podmonitor.enabled=true",
        "settings.UNDERSTUDY_LEASE_TLL=20s",
    ] {
        let said = helm_says("deploy/helm/understudy", &[unknown]);
        assert!(!said.status.success(), "{unknown}");
    }
}

/// As the agent reads them: no more, no less.
#[test]
fn the_schema_knows_every_setting_of_the_agent() {
    let schema: Value =
        serde_json::from_str(&read("deploy/helm/understudy/values.schema.json")).expect("JSON");
    let names = &schema["properties"]["settings"]["propertyNames"]["enum"];
    let mut names: Vec<&str> = list(names).iter().filter_map(Value::as_str).collect();
    names.retain(|it| *it != "RUST_LOG");
    let understudy = PathBuf::from(env!("CARGO_BIN_EXE_understudy"));
    let help = run(&understudy, &["run", "--help"], "");
    let words = help.split(|it: char| !it.is_ascii_uppercase() && it != '_');
    let fixed: Vec<&str> = understudy::inject::fixed().collect();
    let mut twins: Vec<&str> = words
        .filter(|it| it.starts_with("UNDERSTUDY_") && !it.ends_with("_PASSWORD"))
        .filter(|it| !fixed.contains(it))
        .collect();
    twins.sort_unstable();
    twins.dedup();
    assert_eq!(names, twins);
}

#[test]
fn helm_test_runs_the_doctor_with_the_agents_own_settings() {
    if tool("helm").is_none() {
        return;
    }
    let sets = [&WITH_MINER[..], &["existingSecret.name=redis"]].concat();
    let all = documents(&helm(&sets));
    let doctor = find(&all, "Pod", "release-understudy-doctor");
    let pod = &find(&all, "Deployment", "release-miner")["spec"]["template"]["spec"];
    let (doctor, agent) = (&doctor["spec"]["containers"][0], &pod["initContainers"][0]);
    assert_eq!(doctor["args"][0], "doctor");
    for key in ["image", "envFrom", "securityContext"] {
        assert_eq!(doctor[key], agent[key], "{key}");
    }
    assert!(
        list(&agent["env"]).contains(&doctor["env"][0]),
        "the password"
    );
}
