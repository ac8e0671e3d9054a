//! What the chart's values do, and which it refuses.

use super::*;

#[test]
fn two_releases_fit_into_one_namespace_and_each_keeps_to_its_own_pods() {
    if tool("helm").is_none() {
        return;
    }
    let sets = [
        &WITH_MINER[..],
        &["redisPassword=p", "dashboard.enabled=true"],
    ]
    .concat();
    let all = documents(&helm(&sets));
    for it in &all {
        let name = it["metadata"]["name"].as_str().unwrap_or_default();
        assert!(name.starts_with("release-"), "{name}");
    }
    let pod = &find(&all, "Deployment", "release-miner")["spec"]["template"];
    let sources = &pod["spec"]["initContainers"][0]["envFrom"];
    assert_eq!(sources[0]["configMapRef"]["name"], OF_RELEASE);
    assert_eq!(sources[1]["secretRef"]["name"], OF_RELEASE);
    find(&all, "ConfigMap", OF_RELEASE);
    find(&all, "Secret", OF_RELEASE);
    for (kind, selector) in [
        ("NetworkPolicy", "podSelector"),
        ("PodDisruptionBudget", "selector"),
        ("PodMonitor", "selector"),
    ] {
        let selected = &find(&all, kind, OF_RELEASE)["spec"][selector]["matchLabels"];
        assert_eq!(selected["app.kubernetes.io/instance"], "release", "{kind}");
        let labels = selected.as_object().expect("labels");
        let has = |(key, value): (&String, &Value)| &pod["metadata"]["labels"][key] == value;
        assert!(labels.iter().all(has), "{kind} finds the pods");
    }
}

#[test]
fn the_network_policy_opens_other_ports_only_if_it_may() {
    if tool("helm").is_none() {
        return;
    }
    let ports = |sets: &[&str]| {
        let all = documents(&helm(sets));
        let rules = &find(&all, "NetworkPolicy", "understudy")["spec"]["ingress"];
        let from = |rule: &Value| (rule["from"].is_array(), list(&rule["ports"]).len());
        list(rules).iter().map(from).collect::<Vec<_>>()
    };
    assert_eq!(ports(&[]), [(true, 1), (false, 4)]);
    assert_eq!(ports(&["networkPolicy.otherPorts=false"]), [(true, 1)]);
}
