//! What an API server does with pods: admission by `deploy/kubernetes/policy`, and pod security. Both by its own packages.

use serde_json::json;

use super::pods::{MANIFEST, Parts, kustomize};
use super::*;

/// What the API server says of each pod, with these policies.
fn admitted(policies: &[Value], pods: &[Value]) -> Vec<Value> {
    let admission = tool("admission").expect("the tools");
    let question = json!({"policies": policies, "pods": pods}).to_string();
    let said = run(&admission, &[], &question);
    serde_json::from_str(&said).expect("JSON")
}

/// The policies, as they are applied.
fn policies(folder: &str) -> Vec<Value> {
    let folder = format!("deploy/kubernetes/{folder}");
    let kubectl = tool("kubectl").expect("the tools");
    documents(&run(&kubectl, &["kustomize", &folder], ""))
}

/// A pod with the label and these containers.
fn labelled(containers: &[&str]) -> Value {
    let container = |name: &&str| json!({"name": name, "image": "m:1"});
    let containers: Vec<Value> = containers.iter().map(container).collect();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "miner", "labels": {"understudy/agent": "enabled"}},
        "spec": {"containers": containers},
    })
}

fn annotated(containers: &[&str], annotation: &str, value: &str) -> Value {
    let mut pod = labelled(containers);
    pod["metadata"]["annotations"] = json!({ annotation: value });
    pod
}

/// The pods that a workload makes.
pub(crate) fn pods_of(all: &[Value]) -> Vec<Value> {
    let pod = |it: &Value| match it["kind"].as_str() {
        Some("Pod") => Some(it.clone()),
        _ => it["spec"].get("template").cloned(),
    };
    let made = all.iter().filter_map(pod).map(|mut pod| {
        pod["apiVersion"] = "v1".into();
        pod["kind"] = "Pod".into();
        pod["metadata"]["name"] = "any".into();
        pod
    });
    made.collect()
}

#[test]
fn the_policy_puts_in_what_inject_does() {
    if tool("admission").is_none() {
        return;
    }
    let bare = MANIFEST.replace(
        "labels:\n        app: miner",
        "labels:\n        app: miner\n        understudy/agent: enabled",
    );
    let pods = pods_of(&documents(&bare));
    let by_inject = pods_of(&documents(&inject(&["--name", "miner"], &bare)));
    let found = admitted(
        &policies("policy"),
        &[pods[0].clone(), by_inject[0].clone()],
    );
    let expected = Parts::of(&by_inject[0], false);
    assert_eq!(Parts::of(&found[0]["pod"], false), expected);
    // One that has an agent already is left as it is.
    assert_eq!(list(&found[1]["pod"]["spec"]["initContainers"]).len(), 2);
    assert_eq!(Parts::of(&found[1]["pod"], false), expected);
    // In both versions of the API the same.
    let [new, old] = ["policy", "policy-v1beta1"].map(|folder| {
        let all = policies(folder);
        find(&all, "MutatingAdmissionPolicy", "understudy")["spec"].clone()
    });
    assert_eq!(new, old);
}

#[test]
fn the_policy_finds_the_miner_or_says_how_to_name_it() {
    if tool("admission").is_none() {
        return;
    }
    let with_port = {
        let mut pod = labelled(&["any"]);
        pod["spec"]["containers"][0]["ports"] = json!([{"containerPort": 9095}]);
        pod
    };
    let unlabelled = {
        let mut pod = labelled(&["any"]);
        pod["metadata"]["labels"] = json!({"app": "other"});
        pod
    };
    let own_group = {
        let mut pod = labelled(&["any"]);
        pod["spec"]["securityContext"] = json!({"fsGroup": 1000});
        pod
    };
    let pods = [
        labelled(&["only"]),
        labelled(&["proxy", "miner"]),
        annotated(&["proxy", "worker"], "understudy/container", "worker"),
        labelled(&["proxy", "worker"]),
        annotated(&["proxy", "worker"], "understudy/container", "typo"),
        with_port,
        unlabelled,
        own_group,
        annotated(&["only"], "understudy/readiness-probe", "false"),
    ];
    let found = admitted(&policies("policy"), &pods);
    for (at, miner) in [(0, "only"), (1, "miner"), (2, "worker")] {
        let containers = list(&found[at]["pod"]["spec"]["containers"]);
        let with_address = containers.iter().filter(|it| !it["env"].is_null());
        let names: Vec<_> = with_address.map(|it| &it["name"]).collect();
        assert_eq!(names, [miner], "{}", found[at]);
    }
    for (at, why) in [
        (
            3,
            "the pod has the containers proxy, worker, and none is called miner: say which is the miner with the annotation understudy/container",
        ),
        (
            4,
            "names typo, and the pod has only proxy, worker: expected one of these",
        ),
        (5, "uses port 9095 itself, which the agent needs"),
    ] {
        let said = found[at]["rejected"].as_str().unwrap_or_default();
        assert!(said.contains(why), "{}", found[at]);
    }
    assert!(found[6]["pod"]["spec"]["initContainers"].is_null());
    assert_eq!(found[7]["pod"]["spec"]["securityContext"]["fsGroup"], 1000);
    let agent = &found[8]["pod"]["spec"]["initContainers"][0];
    assert!(agent["readinessProbe"].is_null() && agent["livenessProbe"].is_object());
}

/// The image is yours, by the patch that stands at the head of its kustomization.
#[test]
fn the_policys_image_can_be_set() {
    if tool("admission").is_none() {
        return;
    }
    let head = read("deploy/kubernetes/policy/kustomization.yaml");
    let comment = head.lines().filter_map(|line| line.strip_prefix("#   "));
    let typed: Vec<_> = comment.collect();
    let typed = typed.join("\n").replace("path/to/", "../../");
    let folder = tempfile::tempdir_in(path("target")).expect("a folder");
    fs::write(folder.path().join("kustomization.yaml"), typed).expect("a file");
    let kubectl = tool("kubectl").expect("the tools");
    let words = ["kustomize", &folder.path().display().to_string()];
    let policies = documents(&run(&kubectl, &words, ""));
    let found = admitted(&policies, &[labelled(&["only"])]);
    let image = &found[0]["pod"]["spec"]["initContainers"][0]["image"];
    assert_eq!(image, "REGISTRY/understudy:0.1.0", "{}", found[0]);
}

/// In a namespace with pod-security.kubernetes.io/enforce=restricted all that the manual has starts.
#[test]
fn restricted_namespaces_take_all_that_is_documented() {
    if tool("admission").is_none() {
        return;
    }
    let manual = read("deploy/README.md");
    let overrides = manual
        .split("--overrides='")
        .nth(1)
        .expect("the doctor's pod");
    let mut doctor = documents(overrides.split('\'').next().expect("its end")).remove(0);
    doctor["kind"] = "Pod".into();
    let kubectl = tool("kubectl").expect("the tools");
    let example = run(&kubectl, &["kustomize", "deploy/kubernetes/example"], "");
    let all = [
        documents(&example),
        documents(&helm(&WITH_MINER)),
        documents(&helm(&[&WITH_MINER[..], &["classic=true"]].concat())),
        vec![doctor],
    ];
    let pods = pods_of(&all.concat());
    assert!(pods.len() >= 4, "{}", pods.len());
    let mut unsafe_one = pods[0].clone();
    unsafe_one["spec"]["initContainers"][0]["securityContext"] = Value::Null;
    let mut found = admitted(&[], &[&pods[..], &[unsafe_one]].concat());
    let last = found.pop().expect("the unsafe one");
    assert!(last["forbidden"].is_string(), "a check that finds nothing");
    for said in found {
        assert!(
            said["forbidden"].is_null(),
            "{}: {}",
            said["forbidden"],
            said["pod"]
        );
    }
    // The component takes a miner's container as it is: the agent's own is never what is forbidden.
    let by_component = pods_of(&documents(&kustomize("component", MANIFEST)));
    let said = admitted(&[], &by_component);
    let why = said[0]["forbidden"].as_str().unwrap_or_default();
    assert!(!why.contains("understudy"), "{why}");
}
