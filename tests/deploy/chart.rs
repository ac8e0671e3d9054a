//! What the chart's values do, and which it refuses.

use super::*;

/// The chart's notes, which only an installation prints: rendered as a template.
fn notes(sets: &[&str]) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let chart = folder.path().join("understudy");
    let copied = Command::new("cp")
        .args(["-rL".as_ref(), path("deploy/helm/understudy").as_os_str()])
        .arg(&chart)
        .status();
    assert!(copied.expect("cp runs").success());
    let text = read("deploy/helm/understudy/templates/NOTES.txt");
    let template = format!(
        "{{{{ define \"notes\" }}}}{text}{{{{ end }}}}\nkind: Notes\nmetadata: {{name: notes}}\ntext: {{{{ include \"notes\" . | quote }}}}\n"
    );
    fs::write(chart.join("templates/notes.yaml"), template).expect("a file");
    let output = helm_says(&chart.display().to_string(), sets);
    assert!(output.status.success(), "{output:?}");
    let all = documents(&String::from_utf8_lossy(&output.stdout));
    find(&all, "Notes", "notes")["text"]
        .as_str()
        .expect("a text")
        .to_owned()
}

#[test]
fn the_notes_have_the_command_as_it_is_typed() {
    if tool("helm").is_none() {
        return;
    }
    let of_yours = notes(&[
        "image.repository=here/agent",
        "image.tag=v2",
        "classic=true",
    ]);
    assert!(
        of_yours.contains("inject --name MINER --image here/agent:v2 --classic |"),
        "{of_yours}"
    );
    let native = notes(&[]);
    assert!(
        native.contains(concat!(
            "--image understudy:",
            env!("CARGO_PKG_VERSION"),
            " |"
        )),
        "{native}"
    );
    let own = notes(&["miner.enabled=true", "miner.image=m:1", "miner.replicas=3"]);
    assert!(own.contains("3 × your miner"), "{own}");
}

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

#[test]
fn the_address_is_the_containers_and_the_policys() {
    if tool("helm").is_none() {
        return;
    }
    let sets = [&WITH_MINER[..], &["httpListen=0.0.0.0:9195"]].concat();
    let all = documents(&helm(&sets));
    let pod = &find(&all, "Deployment", "release-miner")["spec"]["template"]["spec"];
    let sidecar = &pod["initContainers"][0];
    assert!(
        list(&sidecar["env"]).contains(
            &serde_json::json!({"name": "UNDERSTUDY_HTTP_LISTEN", "value": "0.0.0.0:9195"})
        )
    );
    assert_eq!(sidecar["ports"][0]["containerPort"], 9195);
    let rules = &find(&all, "NetworkPolicy", OF_RELEASE)["spec"]["ingress"];
    assert_eq!(rules[0]["ports"][0]["port"], 9195);
    assert_eq!(rules[1]["ports"][0]["endPort"], 9194);
    assert_eq!(rules[1]["ports"][1]["port"], 9196);
    for bad in ["httpListen=9095", "httpListen=host:9095", "httpListen="] {
        let said = helm_says("deploy/helm/understudy", &[bad]);
        assert!(!said.status.success(), "{bad}");
    }
}

/// Both inject and the chart refuse settings that the container sets itself, and a miner with another agent address.
#[test]
fn what_would_have_no_effect_is_refused_by_both() {
    if tool("helm").is_none() {
        return;
    }
    let understudy = PathBuf::from(env!("CARGO_BIN_EXE_understudy"));
    let fixed: Vec<&str> = understudy::inject::fixed().collect();
    assert!(fixed.len() >= 5, "{fixed:?}");
    for name in fixed {
        let set = format!("{name}=x");
        let by_inject = output(&understudy, &["inject", "--env", &set], "");
        assert_eq!(by_inject.status.code(), Some(64), "{name}");
        let by_chart = helm_says("deploy/helm/understudy", &[&format!("settings.{set}")]);
        assert!(!by_chart.status.success(), "{name}");
    }
    let own = "miner.env[0].name=UNDERSTUDY_GRPC_ADDR";
    let said = helm_says("deploy/helm/understudy", &[own]);
    assert!(!said.status.success(), "{said:?}");
    helm(&["miner.env[0].name=OTHER"]);
}
