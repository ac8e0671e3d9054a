//! Which workloads are meant, and what each kind can have.

use super::*;

fn named(name: &str) -> Options {
    let names = vec![Name::parse(name).unwrap()];
    Options { names, ..options() }
}

fn of_kind(api: &str, kind: &str) -> String {
    let pod = "template:\n      spec:\n        containers:\n        - name: any\n";
    let spec = match kind {
        "Pod" => "  containers:\n  - name: any\n".to_owned(),
        "CronJob" => format!("  jobTemplate:\n   spec:\n    {pod}"),
        _ => format!("  {pod}"),
    };
    format!("apiVersion: {api}\nkind: {kind}\nmetadata:\n  name: miner\nspec:\n{spec}")
}

#[test]
fn every_kind_that_makes_pods_can_have_an_agent() {
    for (api, kind) in [
        ("v1", "Pod"),
        ("apps/v1", "Deployment"),
        ("apps/v1", "StatefulSet"),
        ("apps/v1", "DaemonSet"),
        ("apps/v1", "ReplicaSet"),
        ("batch/v1", "Job"),
        ("batch/v1", "CronJob"),
    ] {
        let text = of_kind(api, kind);
        let with = injected(&text);
        has_all(&with, 0);
        assert_eq!(injected(&with), with);
        if kind != "Pod" {
            assert_eq!(uninjected(&with), text);
        }
        let classic = Options {
            classic: true,
            ..options()
        };
        let done = inject(&text, &classic);
        if kind.ends_with("Job") {
            let refused = done.unwrap_err();
            assert!(
                refused.why.contains("from completing: leave out --classic"),
                "{refused}"
            );
        } else {
            assert_eq!(
                names(&pod(&done.unwrap().text), "containers"),
                ["any", "understudy"]
            );
        }
    }
    // By its kind alone it is another thing.
    for (api, kind) in [
        ("example.com/v1", "Deployment"),
        ("apps/v1", "Pod"),
        ("v1", "Template"),
        ("''", "Pod"),
    ] {
        let text = of_kind(api, kind);
        let done = inject(&text, &options()).unwrap();
        assert_eq!((done.text, done.selected.len()), (text, 0), "{api} {kind}");
    }
    let nameless = of_kind("v1", "Pod").replace("apiVersion: v1\n", "");
    assert!(inject(&nameless, &options()).unwrap().selected.is_empty());
}

#[test]
fn a_name_may_say_the_kind_as_kubectl_does() {
    let text = [
        of_kind("apps/v1", "Deployment"),
        of_kind("apps/v1", "StatefulSet"),
    ]
    .join("---\n");
    for (name, selected) in [
        ("miner", &["Deployment/miner", "StatefulSet/miner"][..]),
        ("Deployment/miner", &["Deployment/miner"]),
        ("deployments/miner", &["Deployment/miner"]),
        ("deploy/miner", &["Deployment/miner"]),
        ("deployment.apps/miner", &["Deployment/miner"]),
        ("STS/miner", &["StatefulSet/miner"]),
        ("ds/miner", &[]),
        ("deploy/other", &[]),
    ] {
        assert_eq!(
            inject(&text, &named(name)).unwrap().selected,
            selected,
            "{name}"
        );
    }
    for bad in [
        "",
        "/miner",
        "service/miner",
        "deploy/",
        "deploy/a/b",
        "deployment.batch/miner",
        "deploymentss/x",
    ] {
        assert!(Name::parse(bad).is_none(), "{bad}");
    }
}

#[test]
fn a_list_stands_for_all_that_is_in_it() {
    let item = |text: String| format!("- {}", text.trim_end().replace('\n', "\n  "));
    let inner = format!(
        "apiVersion: v1\nkind: List\nitems:\n{}",
        item(of_kind("batch/v1", "Job"))
    );
    let text = format!(
        "kind: List\napiVersion: v1\nitems:\n{}\n{}\n- kind: Secret\n",
        item(of_kind("apps/v1", "DaemonSet")),
        item(inner)
    );
    let done = inject(&text, &options()).unwrap();
    assert_eq!(done.selected, ["DaemonSet/miner", "Job/miner"]);
    assert_eq!(uninjected(&done.text), text);
}

#[test]
fn braces_and_json_are_written_as_such() {
    let text = "{\n  \"apiVersion\": \"v1\",\n  \"kind\": \"Pod\",\n  \"metadata\": {\"name\": \"miner\", \"labels\": {}},\n  \"spec\": {\n    \"containers\": [\n      {\n        \"name\": \"any\",\n        \"env\": [{\"name\": \"A\"}]\n      }\n    ]\n  }\n}\n";
    let with = injected(text);
    assert!(
        serde_json::from_str::<serde_json::Value>(&with).is_ok(),
        "{with}"
    );
    assert_eq!(names(&pod(&with), "initContainers"), ["understudy"]);
    assert_eq!(injected(&with), with);
    let text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: miner}\nspec: {template: {spec: {containers: [{name: any, env: [{name: A}]}]}}}\n";
    let with = injected(text);
    has_all(&with, 0);
    assert_eq!(uninjected(&with), text);
    // Before the comments that end its lines.
    let text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: miner}\nspec: {template: {spec: {containers: [{name: any, image: \"a\" # one\n }, # two\n ]}}}\n";
    let with = injected(text);
    assert!(with.contains(" # one\n }, # two\n ]"), "{with}");
    has_all(&with, 0);
    assert_eq!(uninjected(&with), text);
}

#[test]
fn files_are_joined_so_that_each_says_what_it_said() {
    let part = |name: &str, text: &str| Part {
        name: name.into(),
        text: text.into(),
    };
    let joined = |texts: &[&str]| {
        let parts: Vec<_> = texts.iter().map(|text| part("file", text)).collect();
        join(&parts)
    };
    assert_eq!(
        joined(&["a: 1", "b: 2\n", "", "---\nc: 3"]).unwrap(),
        "a: 1\n---\nb: 2\n---\nc: 3"
    );
    assert_eq!(
        joined(&["a: |+\n  b\n\n", "# c\n---\nc: 3\n"]).unwrap(),
        "a: |+\n  b\n\n# c\n---\nc: 3\n"
    );
    assert_eq!(
        joined(&["a: 1\n", "\u{feff}%YAML 1.2\n---\nc: 3\n"]).unwrap(),
        "a: 1\n...\n%YAML 1.2\n---\nc: 3\n"
    );
    assert_eq!(
        joined(&["a: 1\n", "b: |\n  c"]).unwrap(),
        "a: 1\n---\nb: |\n  c"
    );
    let (name, refused) = join(&[part("cut", "a: |\n  b"), part("other", "c: 1\n")]).unwrap_err();
    assert_eq!((name.as_str(), refused.line), ("cut", 2));
    assert!(joined(&["a: |-\n  b", "c: 1\n"]).is_ok());
}
