//! What clusters need otherwise.

use super::*;

const GUARANTEED: &str = "apiVersion: v1
kind: Pod
metadata:
  name: miner
spec:
  initContainers:
    - name: prepare
      resources: {limits: {cpu: 1, memory: 1Gi}}
  containers:
    - name: miner
      resources:
        requests: {cpu: '0.5', memory: 1024Mi}
        limits: {cpu: 500m, memory: 1Gi}
";

fn agent(text: &str, options: &Options) -> Value {
    let with = inject(text, options).unwrap().text;
    assert_eq!(inject(&with, options).unwrap().text, with);
    pod(&with).get("initContainers").unwrap().items()[0].clone()
}

fn resources(agent: &Value) -> [Option<&str>; 4] {
    let word = |list, resource| agent.word(&["resources", list, resource]);
    [
        word("requests", "cpu"),
        word("limits", "cpu"),
        word("requests", "memory"),
        word("limits", "memory"),
    ]
}

#[test]
fn a_guaranteed_pod_stays_guaranteed() {
    let all = |cpu, memory| [Some(cpu), Some(cpu), Some(memory), Some(memory)];
    assert_eq!(
        resources(&agent(GUARANTEED, &options())),
        all("100m", "64Mi")
    );
    let ours = [Some("10m"), None, Some("16Mi"), Some("64Mi")];
    assert_eq!(resources(&agent(POD, &options())), ours);
    for (from, to) in [
        ("cpu: '0.5'", "cpu: 100m"),
        ("cpu: 500m, memory: 1Gi", "memory: 1Gi"),
        (
            "resources: {limits: {cpu: 1, memory: 1Gi}}",
            "resources: {}",
        ),
        ("limits: {cpu: 1, memory", "limits: {cpu: 0, memory"),
    ] {
        assert!(GUARANTEED.contains(from));
        let text = GUARANTEED.replace(from, to);
        assert_eq!(resources(&agent(&text, &options())), ours, "{to}");
    }
    // What is asked for wins, in any pod.
    let more = Options {
        cpu: Some("0.2".into()),
        ..options()
    };
    assert_eq!(resources(&agent(GUARANTEED, &more)), all("0.2", "64Mi"));
    let more = Options {
        memory: Some("32Mi".into()),
        ..options()
    };
    assert_eq!(
        resources(&agent(POD, &more)),
        [Some("10m"), None, Some("32Mi"), Some("32Mi")]
    );
}

#[test]
fn a_quantity_is_what_kubernetes_takes_for_one() {
    for (text, is) in [
        ("1", 1.0),
        ("100m", 0.1),
        ("0.5", 0.5),
        ("64Mi", 67_108_864.0),
        ("1k", 1000.0),
    ] {
        assert_eq!(quantity(text), Some(is), "{text}");
    }
    for text in ["", "m", "1x", "1 Mi", "-1", "1.2.3", "1e", "Mi1"] {
        assert_eq!(quantity(text), None, "{text}");
    }
}

#[test]
fn the_port_can_be_another() {
    let more = Options {
        http_port: Some(9100),
        ..options()
    };
    let agent = agent(POD, &more);
    assert_eq!(
        agent.get("ports").unwrap().items()[0].word(&["containerPort"]),
        Some("9100")
    );
    let listens = agent
        .get("env")
        .unwrap()
        .items()
        .iter()
        .find(|it| it.word(&["name"]) == Some("UNDERSTUDY_HTTP_LISTEN"));
    assert!(
        listens
            .unwrap()
            .word(&["value"])
            .unwrap()
            .ends_with(":9100")
    );
    let taken = POD.replace(
        "      name: miner\n",
        "      name: miner\n      ports: [{containerPort: 9095}]\n",
    );
    assert!(inject(&taken, &more).is_ok());
    let taken = taken.replace("9095", "9100");
    assert!(inject(&taken, &options()).is_ok());
    assert!(
        inject(&taken, &more)
            .unwrap_err()
            .why
            .contains("uses port 9100")
    );
}

#[test]
fn the_platform_may_give_user_and_group() {
    let none = Options {
        run_as_user: Id::None,
        fs_group: Id::None,
        ..options()
    };
    let given = agent(POD, &none);
    let context = given.get("securityContext").unwrap();
    assert_eq!(
        (context.get("runAsUser"), context.get("runAsGroup")),
        (None, None)
    );
    assert_eq!(context.word(&["runAsNonRoot"]), Some("true"));
    let with = inject(POD, &none).unwrap().text;
    assert_eq!(pod(&with).get("securityContext"), None);
    // What an earlier run put there goes.
    assert_eq!(inject(&injected(POD), &none).unwrap().text, with);
    assert_eq!(injected(&with), injected(POD));

    let own = Options {
        run_as_user: Id::Number(1000),
        fs_group: Id::Number(2000),
        ..options()
    };
    assert_eq!(
        agent(POD, &own).word(&["securityContext", "runAsUser"]),
        Some("1000")
    );
    let with = inject(POD, &own).unwrap().text;
    assert_eq!(
        pod(&with).word(&["securityContext", "fsGroup"]),
        Some("2000")
    );
    let uninject = Options {
        uninject: true,
        ..own.clone()
    };
    assert!(!inject(&with, &uninject).unwrap().text.contains("fsGroup"));
    let other = with.replace("fsGroup: 2000", "fsGroup: 3000");
    assert!(
        inject(&other, &own)
            .unwrap_err()
            .why
            .contains("--fs-group asks for 2000")
    );
    assert!(injected(&other).contains("fsGroup: 3000"));
}

/// A ConfigMap that is forgotten is told by the kubelet, and one that is not needed is not asked for.
#[test]
fn the_config_map_must_exist_unless_the_url_is_set_otherwise() {
    let source = |env: &[(&str, &str)]| {
        let pairs = env
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()));
        let options = Options {
            env: pairs.collect(),
            ..options()
        };
        let agent = agent(POD, &options);
        let from = agent.get("envFrom").unwrap().items()[0].clone();
        from.word(&["configMapRef", "optional"]).map(str::to_owned)
    };
    assert_eq!(source(&[]), None);
    assert_eq!(source(&[("UNDERSTUDY_LEASE_TTL", "20s")]), None);
    let set = [("UNDERSTUDY_REDIS_URL", "redis://r")];
    assert_eq!(source(&set).as_deref(), Some("true"));
}

#[test]
fn the_probe_of_readiness_can_be_left_out() {
    assert!(agent(POD, &options()).get("readinessProbe").is_some());
    let without = Options {
        readiness_probe: false,
        ..options()
    };
    let agent = agent(POD, &without);
    assert!(agent.get("readinessProbe").is_none());
    assert!(agent.get("livenessProbe").is_some());
}
