#![allow(clippy::unwrap_used, clippy::format_push_string, reason = "a test")]

mod any;
mod cases;
mod flags;
mod kinds;
mod verified;

use super::*;

fn options() -> Options {
    Options {
        names: vec![Name::parse("miner").unwrap()],
        label: ("understudy/agent".into(), "enabled".into()),
        container: None,
        image: None,
        env: Vec::new(),
        http_port: None,
        readiness_probe: true,
        cpu: None,
        memory: None,
        run_as_user: Id::Ours,
        fs_group: Id::Ours,
        classic: false,
        uninject: false,
    }
}

fn injected(text: &str) -> String {
    inject(text, &options()).unwrap().text
}

fn uninjected(text: &str) -> String {
    let back = Options {
        uninject: true,
        ..options()
    };
    inject(text, &back).unwrap().text
}

/// What a text says, document by document.
fn data(text: &str) -> Vec<Value> {
    let source = Source::new(text);
    let documents = parse::documents(&source).unwrap();
    let values = documents
        .iter()
        .map(|it| Resolver::document(&source, &it.root));
    values
        .map(|(value, fault)| (fault.is_none().then_some(value)).unwrap())
        .collect()
}

/// The pod of the only document.
fn pod(text: &str) -> Value {
    let root = data(text).remove(0);
    let path: &[&str] = match root.word(&["kind"]) {
        Some("Pod") => &["spec"],
        Some("CronJob") => &["spec", "jobTemplate", "spec", "template", "spec"],
        _ => &["spec", "template", "spec"],
    };
    root.at_keys(path).unwrap().clone()
}

fn names<'a>(of: &'a Value, list: &str) -> Vec<&'a str> {
    let items = of.get(list).map(Value::items).unwrap_or_default();
    items
        .iter()
        .map(|item| item.word(&["name"]).unwrap())
        .collect()
}

/// All that a pod must have to lead by its agent.
fn has_all(text: &str, miner: usize) {
    has_all_of(&pod(text), miner);
}

fn has_all_of(pod: &Value, miner: usize) {
    let agent = &pod.get("initContainers").unwrap().items()[0];
    assert_eq!(*agent, sidecar::sidecar(&options(), false).unwrap());
    let miner = &pod.get("containers").unwrap().items()[miner];
    assert!(names(miner, "env").contains(&"UNDERSTUDY_GRPC_ADDR"));
    assert!(names(miner, "volumeMounts").contains(&"understudy"));
    assert!(names(pod, "volumes").contains(&"understudy"));
    assert!(pod.word(&["securityContext", "fsGroup"]).is_some());
}

const POD: &str = "apiVersion: v1
kind: Pod
metadata:
  name: miner
spec:
  containers:
    - image: miner:1
      name: miner
";

#[test]
fn a_pod_gets_all_that_it_needs_and_loses_it_again() {
    let with = injected(POD);
    has_all(&with, 0);
    assert_eq!(injected(&with), with, "twice is once");
    assert_eq!(
        uninjected(&with),
        POD.replace(
            "  name: miner\nspec",
            "  name: miner\n  labels:\n    understudy/agent: enabled\nspec"
        )
    );
    assert_eq!(uninjected(POD), POD, "nothing of ours is in it");
}

#[test]
fn what_stands_there_stays_and_only_ours_goes() {
    let text = "\
# Ours.
apiVersion: apps/v1
kind: StatefulSet   # of two
metadata:
    name: miner
spec:
    template:
        metadata:
            labels: {}
        spec:
            securityContext:
                runAsUser: 1000
            # First things first.
            initContainers:
            # Prepares.
            -   name: prepare
                command: [sh, -c, 'true']
            containers:
            -   name: side
                env: []
            -   name: miner   # the one
                env:
                volumeMounts:
                -   name: data
                    mountPath: /data
                args:
                - |
                  a text
                  of two lines

            volumes:
            -   name: data
";
    let with = injected(text);
    has_all(&with, 1);
    let pod = pod(&with);
    assert_eq!(names(&pod, "initContainers"), ["understudy", "prepare"]);
    assert_eq!(names(&pod, "volumes"), ["data", "understudy"]);
    assert_eq!(pod.word(&["securityContext", "runAsUser"]), Some("1000"));
    for comment in [
        "# Ours.",
        "# of two",
        "# First things first.",
        "# Prepares.",
        "# the one",
    ] {
        assert!(with.contains(comment), "{comment}: {with}");
    }
    // A key with nothing behind it is gone; all else is as it was.
    let back = text.replace("                env:\n", "");
    assert_eq!(uninjected(&with), back);
}

#[test]
fn what_is_not_selected_is_left_alone() {
    let other =
        "kind: Service\nmetadata: {name: miner}\n---\nkind: Deployment\nmetadata: {name: redis}\n";
    let done = inject(other, &options()).unwrap();
    assert_eq!((done.text.as_str(), done.selected.len()), (other, 0));
    let labelled = Options {
        names: Vec::new(),
        ..options()
    };
    assert!(inject(POD, &labelled).unwrap().selected.is_empty());
    let pod = POD.replace(
        "  name: miner\nspec",
        "  name: any\n  labels: {understudy/agent: enabled}\nspec",
    );
    assert_eq!(inject(&pod, &labelled).unwrap().selected, ["Pod/any"]);
    let list = format!(
        "apiVersion: v1\nkind: List\nitems:\n- {}",
        POD.trim_end().replace('\n', "\n  ")
    );
    assert_eq!(inject(&list, &options()).unwrap().selected, ["Pod/miner"]);
}

#[test]
fn options_change_the_container() {
    let more = Options {
        image: Some("mine:2".into()),
        env: vec![("UNDERSTUDY_LOCK_KEY".into(), "a \"b\": c".into())],
        classic: true,
        ..options()
    };
    let text = inject(POD, &more).unwrap().text;
    let pod = pod(&text);
    assert_eq!(names(&pod, "containers"), ["miner", "understudy"]);
    let agent = &pod.get("containers").unwrap().items()[1];
    assert_eq!(agent.word(&["image"]), Some("mine:2"));
    assert_eq!(agent.get("restartPolicy").map(|_| ()), None);
    let set = agent.get("env").unwrap().items()[0].word(&["value"]);
    assert_eq!(set, Some("a \"b\": c"));
    // Another way replaces the first one.
    assert_eq!(injected(&text), injected(POD));
}

/// As `kubectl get -o yaml` sorts the keys: the environment, which is ours alone, comes first.
const LIVE: &str = "apiVersion: apps/v1
kind: Deployment
metadata:
  name: miner
spec:
  selector:
    matchLabels:
      app: miner
  template:
    metadata:
      labels:
        app: miner
        understudy/agent: enabled
    spec:
      containers:
      - env:
        - name: UNDERSTUDY_GRPC_ADDR
          value: unix:/run/understudy/grpc.sock
        # Ours.

        image: miner:1
        name: miner
        volumeMounts:
        - mountPath: /run/understudy
          name: understudy
      initContainers:
      - args:
        - run
        image: understudy:0.1.0
        name: understudy
        restartPolicy: Always
      securityContext:
        fsGroup: 65532
        fsGroupChangePolicy: OnRootMismatch
      volumes:
      - emptyDir:
          medium: Memory
          sizeLimit: 1Mi
        name: understudy
";

#[test]
fn a_live_object_is_worked_on_again() {
    let with = injected(LIVE);
    has_all(&with, 0);
    assert_eq!(injected(&with), with);
    let bare = uninjected(LIVE);
    let container = "      containers:
        # Ours.

      - image: miner:1
        name: miner
";
    assert!(bare.ends_with(container), "{bare}");
    assert_eq!(uninjected(&with), bare);
}

#[test]
fn only_what_is_ours_is_taken_out() {
    // A volume and a label of the same name, and a policy for another group.
    let text = "apiVersion: apps/v1
kind: Deployment
metadata:
  name: miner
spec:
  selector:
    matchLabels:
      understudy/agent: enabled
  template:
    metadata:
      labels:
        understudy/agent: enabled
    spec:
      securityContext:
        fsGroup: 1000
        fsGroupChangePolicy: OnRootMismatch
      containers:
      - name: miner
        volumeMounts:
        - name: understudy
          mountPath: /etc/understudy
      volumes:
      - name: understudy
        configMap:
          name: understudy
";
    assert_eq!(uninjected(text), text);
    let text = "apiVersion: apps/v1
kind: Deployment
metadata:
  name: miner
spec:
  template:
    spec:
      securityContext:
        fsGroupChangePolicy: Always
      containers:
      - name: miner
";
    let with = injected(text);
    assert!(with.contains("        fsGroup: 65532\n"), "{with}");
    assert_eq!(
        uninjected(&with),
        text,
        "its own policy, and no bare metadata"
    );
}

#[test]
fn a_line_endings_style_is_kept() {
    let text = POD.replace('\n', "\r\n");
    let with = injected(&text);
    assert_eq!(with.matches('\n').count(), with.matches("\r\n").count());
    assert_eq!(injected(&with), with);
}

#[test]
fn what_cannot_be_done_is_refused_with_its_line() {
    for (text, line, why) in [
        (
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: miner}\n",
            1,
            "no spec.template",
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: miner}\nspec:\n  containers: []\n",
            5,
            "no containers",
        ),
        ("a: b\nkind: [\n", 3, "not YAML"),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: miner}\nspec:\n  containers:\n  - name: a\n  - name: b\n",
            6,
            "say which with --container",
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: miner}\nspec:\n  containers:\n  - name: a\n    ports:\n    - containerPort: 9095\n",
            8,
            "uses port 9095",
        ),
    ] {
        let refused = inject(text, &options()).unwrap_err();
        assert!(refused.why.contains(why), "{refused}");
        assert_eq!(refused.line, line, "{refused}");
    }
    // There is an agent in the file already: the lines are the file's all the same.
    for (of, with, line, why) in [
        (
            "unix:/run/understudy/grpc.sock",
            "127.0.0.1:50051",
            17,
            "leads elsewhere",
        ),
        (
            "understudy/agent: enabled",
            "understudy/agent: disabled",
            13,
            "must be enabled",
        ),
        ("emptyDir:", "hostPath:", 36, "call this one something else"),
        (
            "mountPath: /run/understudy",
            "mountPath: /run",
            24,
            "call this one something else",
        ),
        (
            "  name: understudy\n      initC",
            "  name: other\n      initC",
            24,
            "mount this one elsewhere",
        ),
        (
            "        name: miner\n        v",
            "        v",
            16,
            "without a name",
        ),
    ] {
        assert!(LIVE.contains(of), "{of}");
        let refused = inject(&LIVE.replace(of, with), &options()).unwrap_err();
        assert!(refused.why.contains(why), "{refused}");
        assert_eq!(refused.line, line, "{refused}");
    }
}
