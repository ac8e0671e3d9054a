//! What is in deploy/: that it is valid, that its parts agree, and that it names what exists.

mod stage;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use stage::{Agent, Redis, tool, wait_for};

const SOON: Duration = Duration::from_secs(10);

fn path(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(of)
}

fn read(of: &str) -> String {
    fs::read_to_string(path(of)).unwrap_or_else(|error| panic!("{of}: {error}"))
}

/// What a program prints; it must end well.
fn run(program: &Path, words: &[&str], input: &str) -> String {
    let mut child = Command::new(program)
        .args(words)
        .current_dir(path(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut stdin = child.stdin.take().expect("piped");
    let text = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().expect("it ends");
    // Whoever does not read is judged by its exit code.
    let _ = writer.join().expect("no panic while writing");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{} {words:?}\n{said}\n{errors}",
        program.display()
    );
    said
}

fn inject(words: &[&str], manifest: &str) -> String {
    let understudy = PathBuf::from(env!("CARGO_BIN_EXE_understudy"));
    run(&understudy, &[&["inject"], words].concat(), manifest)
}

/// The documents of a text in YAML, by a parser that is not ours.
fn documents(yaml: &str) -> Vec<Value> {
    let tools = tool("kubernetes-validate").expect("the tools");
    let python = tools
        .parent()
        .and_then(Path::parent)
        .expect("their folder")
        .join("python/bin/python3");
    let script = "import json, sys, yaml; print(json.dumps([d for d in yaml.safe_load_all(sys.stdin) if d]))";
    let json = run(&python, &["-c", script], yaml);
    serde_json::from_str(&json).expect("JSON")
}

/// Every resource is what Kubernetes' own schema says; of other kinds it has none.
fn must_be_valid(yaml: &str) {
    let others = ["PodMonitor", "PrometheusRule"];
    let known = documents(yaml)
        .into_iter()
        .filter(|it| !others.contains(&it["kind"].as_str().unwrap_or_default()));
    let known: Vec<String> = known.map(|it| it.to_string()).collect();
    assert!(!known.is_empty(), "nothing to look at");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("all.yaml");
    fs::write(&file, known.join("\n---\n")).expect("a file");
    let validate = tool("kubernetes-validate").expect("the tools");
    run(&validate, &["--strict", &file.display().to_string()], "");
}

fn find<'a>(all: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let is_it = |it: &&Value| it["kind"] == kind && it["metadata"]["name"] == name;
    all.iter()
        .find(is_it)
        .unwrap_or_else(|| panic!("no {kind}/{name}"))
}

fn called<'a>(list: &'a Value, name: &str) -> Option<&'a Value> {
    list.as_array()?.iter().find(|it| it["name"] == name)
}

/// All that the agent needs in a pod, wherever it came from.
#[derive(Debug, PartialEq)]
struct Parts {
    sidecar: Value,
    volume: Value,
    address: Value,
    mount: Value,
    group: Value,
    policy: Value,
    label: Value,
}

impl Parts {
    /// Of a workload whose miner is called `miner`.
    fn of(workload: &Value, classic: bool) -> Self {
        let pod = match workload["kind"].as_str() {
            Some("Pod") => workload,
            _ => &workload["spec"]["template"],
        };
        let spec = &pod["spec"];
        let list = if classic {
            "containers"
        } else {
            "initContainers"
        };
        let mut sidecar = called(&spec[list], "understudy")
            .expect("the agent")
            .clone();
        if classic {
            assert_eq!(sidecar["restartPolicy"], Value::Null);
            // So that the rest can be compared.
            sidecar["restartPolicy"] = "Always".into();
        } else {
            assert_eq!(spec[list][0]["name"], "understudy", "it starts first");
        }
        let miner = called(&spec["containers"], "miner").expect("the miner");
        Self {
            sidecar,
            volume: called(&spec["volumes"], "understudy")
                .expect("its volume")
                .clone(),
            address: called(&miner["env"], "UNDERSTUDY_GRPC_ADDR")
                .expect("its address")
                .clone(),
            mount: called(&miner["volumeMounts"], "understudy")
                .expect("the mount")
                .clone(),
            group: spec["securityContext"]["fsGroup"].clone(),
            policy: spec["securityContext"]["fsGroupChangePolicy"].clone(),
            label: pod["metadata"]["labels"]["understudy"].clone(),
        }
    }
}

const MANIFEST: &str = "
apiVersion: apps/v1
kind: Deployment
metadata:
  name: miner
  labels: {understudy: enabled}
spec:
  selector:
    matchLabels: {app: miner}
  template:
    metadata:
      labels:
        app: miner
    spec:
      initContainers:
        - name: prepare
          image: busybox
      containers:
        - name: miner
          image: miner:1
";

fn kustomize(component: &str, manifest: &str) -> String {
    // A kustomization may only name folders by relative paths.
    let folder = tempfile::tempdir_in(path("target")).expect("a folder");
    fs::write(folder.path().join("miner.yaml"), manifest).expect("a file");
    let text =
        format!("resources: [miner.yaml]\ncomponents: [../../deploy/kubernetes/{component}]\n");
    fs::write(folder.path().join("kustomization.yaml"), text).expect("a file");
    let kubectl = tool("kubectl").expect("the tools");
    run(
        &kubectl,
        &["kustomize", &folder.path().display().to_string()],
        "",
    )
}

fn helm(sets: &[&str]) -> String {
    let sets = sets.iter().flat_map(|set| ["--set", set]);
    // A helm that was built from source says that it is of an old Kubernetes.
    let version = ["--kube-version", "1.33.0"];
    let words = ["template", "release", "deploy/helm/understudy"].into_iter();
    let words = words.chain(version);
    run(
        &tool("helm").expect("the tools"),
        &words.chain(sets).collect::<Vec<_>>(),
        "",
    )
}

const WITH_MINER: [&str; 4] = [
    "miner.enabled=true",
    "miner.image=miner:1",
    "podMonitor.enabled=true",
    "prometheusRule.enabled=true",
];

fn only_deployment(yaml: &str) -> Value {
    let mut all = documents(yaml);
    all.retain(|it| it["kind"] == "Deployment");
    assert_eq!(all.len(), 1);
    all.remove(0)
}

#[test]
fn component_chart_and_inject_put_the_same_into_a_pod() {
    if tool("kubectl").is_none() {
        return;
    }
    let source = documents(&read("deploy/kubernetes/sidecar.yaml")).remove(0);
    let by_inject = inject(&["--name", "miner"], MANIFEST);
    let expected = Parts::of(&documents(&by_inject)[0], false);
    assert_eq!(expected.sidecar, source);
    assert_eq!(expected.label, "enabled");
    let by_component = kustomize("component", MANIFEST);
    assert_eq!(Parts::of(&documents(&by_component)[0], false), expected);
    let by_chart = helm(&WITH_MINER);
    assert_eq!(Parts::of(&only_deployment(&by_chart), false), expected);
    // The variant for older clusters.
    let by_inject = inject(&["--name", "miner", "--classic"], MANIFEST);
    let by_component = kustomize("component-classic", MANIFEST);
    let by_chart = helm(&[&WITH_MINER[..], &["classic=true"]].concat());
    for classic in [
        &documents(&by_inject)[0],
        &documents(&by_component)[0],
        &only_deployment(&by_chart),
    ] {
        assert_eq!(Parts::of(classic, true), expected);
    }
    let set = MANIFEST
        .replace("kind: Deployment", "kind: StatefulSet")
        .replace(
            "spec:\n  selector",
            "spec:\n  serviceName: miner\n  selector",
        );
    assert_eq!(
        Parts::of(&documents(&kustomize("component", &set))[0], false),
        expected
    );
}

#[test]
fn what_is_not_labelled_is_left_alone_by_the_component() {
    if tool("kubectl").is_none() {
        return;
    }
    let plain = MANIFEST.replace("  labels: {understudy: enabled}\n", "");
    assert_eq!(
        documents(&kustomize("component", &plain)),
        documents(&plain)
    );
}

#[test]
fn every_manifest_is_valid() {
    if tool("kubernetes-validate").is_none() {
        return;
    }
    must_be_valid(&inject(&["--name", "miner"], MANIFEST));
    must_be_valid(&inject(
        &[
            "--name",
            "miner",
            "--classic",
            "--env",
            "UNDERSTUDY_LEASE_TTL=20s",
        ],
        MANIFEST,
    ));
    let pod = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: miner\nspec:\n  containers:\n  - name: any\n    image: miner:1\n";
    must_be_valid(&inject(&["--name", "miner"], pod));
    for component in ["component", "component-classic"] {
        must_be_valid(&kustomize(component, MANIFEST));
    }
    let example = run(
        &tool("kubectl").expect("the tools"),
        &["kustomize", "deploy/kubernetes/example"],
        "",
    );
    must_be_valid(&example);
    let helm_itself = tool("helm").expect("the tools");
    run(
        &helm_itself,
        &["lint", "--strict", "deploy/helm/understudy"],
        "",
    );
    must_be_valid(&helm(&[]));
    let all = helm(&WITH_MINER);
    must_be_valid(&all);
    must_be_valid(&helm(&[&WITH_MINER[..], &["classic=true"]].concat()));
    // The chart and the plain manifests agree on what stands beside the pods.
    let (chart, plain) = (documents(&all), documents(&example));
    for (kind, name) in [
        ("NetworkPolicy", "understudy"),
        ("PodDisruptionBudget", "understudy"),
        ("PodMonitor", "understudy"),
    ] {
        assert_eq!(
            find(&chart, kind, name)["spec"],
            find(&plain, kind, name)["spec"],
            "{kind}"
        );
    }
}

#[test]
fn the_compose_file_is_valid() {
    let Some(check) = tool("check-jsonschema") else {
        return;
    };
    run(
        &check,
        &[
            "--builtin-schema",
            "vendor.compose-spec",
            "deploy/compose.yaml",
        ],
        "",
    );
}

#[test]
fn the_unit_is_valid() {
    let Ok(found) = Command::new("systemd-analyze").arg("--version").output() else {
        println!("skipped: systemd-analyze, which is not here");
        return;
    };
    assert!(found.status.success());
    let unit = read("deploy/systemd/understudy.service");
    let start = unit
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="))
        .expect("ExecStart");
    let program = start.split(' ').next().unwrap_or_default();
    let folder = tempfile::tempdir().expect("a folder");
    let copy = folder.path().join("understudy.service");
    fs::write(
        &copy,
        unit.replace(program, env!("CARGO_BIN_EXE_understudy")),
    )
    .expect("a file");
    let output = Command::new("systemd-analyze")
        .arg("verify")
        .arg(&copy)
        .output()
        .expect("it runs");
    let said = [output.stdout, output.stderr]
        .map(|it| String::from_utf8_lossy(&it).into_owned())
        .concat();
    // It ends well even for a key that it does not know.
    let ours: Vec<_> = said
        .lines()
        .filter(|line| line.contains("understudy"))
        .collect();
    assert!(output.status.success() && ours.is_empty(), "{said}");
    // Its flags exist.
    let words = start.split(' ').skip(1).chain(["--help"]);
    let help = Command::new(env!("CARGO_BIN_EXE_understudy"))
        .args(words)
        .output();
    assert!(help.expect("it runs").status.success());
}

#[test]
fn every_alert_is_tested_and_has_a_runbook() {
    let Some(promtool) = tool("promtool") else {
        return;
    };
    run(
        &promtool,
        &["check", "rules", "deploy/prometheus/rules.yaml"],
        "",
    );
    run(
        &promtool,
        &["test", "rules", "deploy/prometheus/rules_test.yaml"],
        "",
    );
    run(
        &promtool,
        &[
            "check",
            "config",
            "--syntax-only",
            "deploy/prometheus/prometheus.yml",
        ],
        "",
    );
    let rules = documents(&read("deploy/prometheus/rules.yaml")).remove(0);
    let tests = documents(&read("deploy/prometheus/rules_test.yaml")).remove(0);
    let cases: Vec<&Value> = list(&tests["tests"])
        .iter()
        .flat_map(|test| list(&test["alert_rule_test"]))
        .collect();
    let mut alerts = 0;
    for rule in list(&rules["groups"])
        .iter()
        .flat_map(|group| list(&group["rules"]))
    {
        let Some(name) = rule["alert"].as_str() else {
            continue;
        };
        alerts += 1;
        let expects = |fires: bool| {
            let is_it = |case: &&&Value| {
                case["alertname"] == name && list(&case["exp_alerts"]).is_empty() != fires
            };
            cases.iter().any(|case| is_it(&case))
        };
        assert!(
            expects(true) && expects(false),
            "{name} is tested both ways"
        );
        let runbook = read(&format!("docs/runbooks/{name}.md"));
        for part in ["means", "look", "do"] {
            assert!(runbook.to_lowercase().contains(part), "{name}: {part}");
        }
        let link = rule["annotations"]["runbook"].as_str().unwrap_or_default();
        assert!(
            link.ends_with(&format!("docs/runbooks/{name}.md")),
            "{name}: {link}"
        );
    }
    assert!(alerts >= 10, "{alerts}");
    // The mission's own three, as they stand there.
    let spec = [
        "increase(ha_miner_leader_acquisition_failures_total{reason=\"redis_oom\"}[5m]) > 0",
        "ha_miner_redis_memory_usage_ratio > 0.9",
        "max(ha_miner_leader_status) == 0",
    ];
    for expression in spec {
        let mut all = list(&rules["groups"])
            .iter()
            .flat_map(|group| list(&group["rules"]));
        assert!(
            all.any(|rule| rule["expr"].as_str().map(str::trim) == Some(expression)),
            "{expression}"
        );
    }
    let resource = documents(&read("deploy/prometheus/prometheusrule.yaml")).remove(0);
    assert_eq!(
        resource["spec"]["groups"], rules["groups"],
        "one set of rules"
    );
    let chart = documents(&helm(&WITH_MINER));
    assert_eq!(
        find(&chart, "PrometheusRule", "understudy")["spec"]["groups"],
        rules["groups"]
    );
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Every text under a key, however deep.
fn texts(value: &Value, key: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(entries) => {
            for (name, value) in entries {
                match value.as_str() {
                    Some(text) if name == key => found.push(text.into()),
                    _ => texts(value, key, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| texts(item, key, found)),
        _ => {}
    }
}

/// In the dashboard and in the rules.
#[test]
fn every_expression_parses_and_names_metrics_that_exist() {
    let Some(promtool) = tool("promtool") else {
        return;
    };
    let dashboard: Value =
        serde_json::from_str(&read("deploy/grafana/dashboard.json")).expect("JSON");
    let mut expressions = Vec::new();
    texts(&dashboard, "expr", &mut expressions);
    assert!(expressions.len() > 10, "{}", expressions.len());
    for query in [
        "ha_miner_redis_memory_usage_ratio",
        "ha_miner_leader_status",
        "rate(ha_miner_leader_acquisition_failures_total",
    ] {
        assert!(
            expressions.iter().any(|it| it.contains(query)),
            "the combined view has {query}"
        );
    }
    // Whatever the job is called; and time without a leader is what the alerts take for it.
    for expression in &expressions {
        assert!(!expression.contains("job="), "{expression}");
        let own = expression.contains("min by") && expression.contains("leaderless_seconds");
        assert!(!own, "{expression}");
    }
    let rules = documents(&read("deploy/prometheus/rules.yaml")).remove(0);
    let mut recorded = Vec::new();
    texts(&rules, "record", &mut recorded);
    let plain: Vec<String> = expressions
        .iter()
        .map(|it| {
            it.replace("$__rate_interval", "5m")
                .replace("$__range", "1h")
                .replace("$__interval", "1m")
                .replace("$namespace", ".*")
        })
        .collect();
    let as_rules: Vec<Value> = plain
        .iter()
        .enumerate()
        .map(|(index, expr)| serde_json::json!({"record": format!("dashboard:{index}"), "expr": expr}))
        .collect();
    let file = tempfile::NamedTempFile::new().expect("a file");
    let group = serde_json::json!({"groups": [{"name": "dashboard", "rules": as_rules}]});
    fs::write(file.path(), group.to_string()).expect("a file");
    run(
        &promtool,
        &["check", "rules", &file.path().display().to_string()],
        "",
    );
    // An agent that has seen all: its metrics.
    let redis = Redis::start();
    let agent = Agent::start(
        "a",
        &redis,
        &[
            "--memory-every",
            "200ms",
            "--lease-ttl",
            "1s",
            "--miner-liveness",
            "always",
        ],
    );
    agent.wait_until_up();
    agent.wait_until_leading(SOON);
    wait_for("all metrics", SOON, || {
        agent.metric("ha_miner_redis_max_memory_bytes")
    });
    let (_, exported) = agent.get("/metrics").expect("the agent answers");
    texts(&rules, "expr", &mut expressions);
    for expression in &expressions {
        let words =
            expression.split(|it: char| !it.is_ascii_alphanumeric() && it != '_' && it != ':');
        for word in
            words.filter(|word| word.starts_with("ha_miner_") || word.starts_with("process_"))
        {
            let known = exported.contains(word) || recorded.iter().any(|it| it == word);
            assert!(known, "{word} is not exported: {expression}");
        }
    }
}
