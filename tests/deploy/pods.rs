//! What the chart, the component and `inject` put into a pod, compared.

use super::*;

fn called<'a>(list: &'a Value, name: &str) -> Option<&'a Value> {
    list.as_array()?.iter().find(|it| it["name"] == name)
}

/// All that the agent needs in a pod, wherever it came from.
#[derive(Debug, PartialEq)]
pub(crate) struct Parts {
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
    pub(crate) fn of(workload: &Value, classic: bool) -> Self {
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
            label: pod["metadata"]["labels"]["understudy/agent"].clone(),
        }
    }
}

pub(crate) const MANIFEST: &str = "
apiVersion: apps/v1
kind: Deployment
metadata:
  name: miner
  labels: {understudy/agent: enabled}
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

pub(crate) fn kustomize(component: &str, manifest: &str) -> String {
    kustomize_with(component, manifest, "")
}

fn kustomize_with(component: &str, manifest: &str, more: &str) -> String {
    // A kustomization may only name folders by relative paths.
    let folder = tempfile::tempdir_in(path("target")).expect("a folder");
    fs::write(folder.path().join("miner.yaml"), manifest).expect("a file");
    let text = format!(
        "resources: [miner.yaml]\ncomponents: [../../deploy/kubernetes/{component}]\n{more}"
    );
    fs::write(folder.path().join("kustomization.yaml"), text).expect("a file");
    let kubectl = tool("kubectl").expect("the tools");
    run(
        &kubectl,
        &["kustomize", &folder.path().display().to_string()],
        "",
    )
}

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
    let of_chart = |sets: &[&str]| only_deployment(&helm(sets).replace(OF_RELEASE, "understudy"));
    assert_eq!(Parts::of(&of_chart(&WITH_MINER), false), expected);
    // The variant for older clusters.
    let by_inject = inject(&["--name", "miner", "--classic"], MANIFEST);
    let by_component = kustomize("component-classic", MANIFEST);
    for classic in [
        &documents(&by_inject)[0],
        &documents(&by_component)[0],
        &of_chart(&[&WITH_MINER[..], &["classic=true"]].concat()),
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

/// By the patch in the manual.
#[test]
fn another_address_can_be_set_beside_the_component() {
    if tool("kubectl").is_none() {
        return;
    }
    let manual = read("deploy/README.md");
    let mut patches = manual
        .split("```yaml\n")
        .filter(|it| it.starts_with("patches:"));
    let patch = patches.next().and_then(|it| it.split("```").next());
    let patched = kustomize_with("component", MANIFEST, patch.expect("a patch"));
    let mut expected = Parts::of(&documents(&kustomize("component", MANIFEST))[0], false);
    let env = expected.sidecar["env"].as_array_mut().expect("a list");
    let mut listen = env
        .iter_mut()
        .filter(|it| it["name"] == "UNDERSTUDY_HTTP_LISTEN");
    listen.next().expect("it is set")["value"] = "0.0.0.0:9195".into();
    expected.sidecar["ports"][0]["containerPort"] = 9195.into();
    let mut found = Parts::of(&documents(&patched)[0], false);
    for parts in [&mut expected, &mut found] {
        let env = parts.sidecar["env"].as_array_mut().expect("a list");
        env.sort_by_key(|it| it["name"].to_string());
    }
    assert_eq!(found, expected);
}

/// For a ResourceQuota, by the other patch in the manual; and the one by which a rollout ends out of memory.
#[test]
fn a_limit_of_the_cpu_and_no_readiness_can_be_patched_in() {
    if tool("kubectl").is_none() {
        return;
    }
    let manual = read("deploy/README.md");
    let mut patches = manual
        .split("```yaml\n")
        .filter(|it| it.starts_with("patches:"));
    let patch = patches.nth(1).and_then(|it| it.split("```").next());
    let without = manual.split("-p '[").nth(1).expect("a patch");
    let without = without.split(']').next().expect("its end");
    let more = format!("{}      - {without}\n", patch.expect("a patch"));
    let patched = kustomize_with("component", MANIFEST, &more);
    let mut expected = Parts::of(&documents(&kustomize("component", MANIFEST))[0], false);
    expected.sidecar["resources"]["limits"]["cpu"] = "100m".into();
    let probes = expected.sidecar.as_object_mut().expect("a mapping");
    assert!(probes.remove("readinessProbe").is_some());
    assert_eq!(Parts::of(&documents(&patched)[0], false), expected);
}

#[test]
fn what_is_not_labelled_is_left_alone_by_the_component() {
    if tool("kubectl").is_none() {
        return;
    }
    let plain = MANIFEST.replace("  labels: {understudy/agent: enabled}\n", "");
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
    let words =
        "--name miner --cpu 100m --memory 64Mi --run-as-user none --fs-group none --http-port 9100";
    let words: Vec<&str> = words.split(' ').collect();
    must_be_valid(&inject(&words, MANIFEST));
    let pod = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: miner\nspec:\n  containers:\n  - name: any\n    image: miner:1\n";
    must_be_valid(&inject(&["--name", "miner"], pod));
    for component in ["component", "component-classic"] {
        must_be_valid(&kustomize(component, MANIFEST));
    }
    for folder in ["policy", "policy-v1beta1"] {
        let folder = format!("deploy/kubernetes/{folder}");
        let kubectl = tool("kubectl").expect("the tools");
        must_be_valid(&run(&kubectl, &["kustomize", &folder], ""));
    }
    let example = run(
        &tool("kubectl").expect("the tools"),
        &["kustomize", "deploy/kubernetes/example"],
        "",
    );
    must_be_valid(&example);
    // Where the operator is missing it would keep `kubectl apply -k` from all the rest.
    assert!(!example.contains("PodMonitor"));
    let helm_itself = tool("helm").expect("the tools");
    run(
        &helm_itself,
        &["lint", "--strict", "deploy/helm/understudy"],
        "",
    );
    let beside = helm(&["podMonitor.enabled=true"]);
    must_be_valid(&beside);
    must_be_valid(&helm(&WITH_MINER));
    must_be_valid(&helm(&[&WITH_MINER[..], &["classic=true"]].concat()));
    // The chart and the plain manifests agree on what stands beside the pods.
    let monitored = documents(&kustomize("podmonitor", MANIFEST));
    let (chart, plain) = (
        documents(&beside),
        [documents(&example), monitored].concat(),
    );
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
