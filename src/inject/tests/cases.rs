//! Manifests as other people write them: each stands for a kind that once came out wrong.

use super::*;

/// A Deployment whose pod template is this text, indented by four.
pub(super) fn deployment(template: &str) -> String {
    let mut text =
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: miner\nspec:\n  template:\n"
            .to_owned();
    for line in template.lines() {
        text += &format!("    {line}\n");
    }
    text
}

/// What a text comes to, and that it is stable: again changes nothing, and taking it out gives the first text back.
pub(super) fn there_and_back(text: &str) -> String {
    let with = injected(text);
    assert_eq!(injected(&with), with, "twice is once");
    assert_eq!(uninjected(&with), text, "the first text is back");
    with
}

pub(super) fn must_have(text: &str, part: &str) {
    assert!(text.contains(part), "no {part:?} in:\n{text}");
}

#[test]
fn a_container_that_is_a_merge_keeps_what_it_inherits() {
    let text = deployment(
        "spec:
  containers:
    - &base
      name: query
      image: app:1
      env:
        - name: CHAIN_ID
          value: main
      volumeMounts:
        - {name: keys, mountPath: /keys}
    - <<: *base
      name: miner",
    );
    let with = there_and_back(&text);
    let miner = with.split("      name: miner\n").nth(1).unwrap_or_default();
    must_have(
        miner,
        "env:
            - name: CHAIN_ID
              value: main
            - name: UNDERSTUDY_GRPC_ADDR",
    );
    must_have(
        miner,
        "volumeMounts:
            - {name: keys, mountPath: /keys}
            - name: understudy",
    );
    assert_eq!(with.matches("UNDERSTUDY_GRPC_ADDR").count(), 2, "{with}");
}

#[test]
fn a_pod_that_is_a_merge_keeps_what_it_inherits() {
    let text = "apiVersion: v1
kind: List
items:
  - apiVersion: apps/v1
    kind: Deployment
    metadata: {name: other}
    spec:
      template:
        spec: &pod
          securityContext:
            runAsUser: 1000
          volumes:
            - name: keys
              secret: {secretName: keys}
          containers:
            - name: other
  - apiVersion: apps/v1
    kind: Deployment
    metadata: {name: miner}
    spec:
      template:
        spec:
          <<: *pod
          containers:
            - name: miner
";
    let with = there_and_back(text);
    let miner = with.split("<<: *pod\n").nth(1).unwrap_or_default();
    must_have(
        miner,
        "          securityContext:\n            runAsUser: 1000\n            fsGroup: 65532\n",
    );
    must_have(
        miner,
        "          volumes:\n            - name: keys\n              secret: {secretName: keys}\n            - name: understudy\n",
    );
    // The one that it inherits from is as it was.
    assert!(
        with.starts_with(
            &text[..text
                .find("  - apiVersion: apps/v1\n    kind: Deployment\n    metadata: {name: miner}")
                .unwrap()]
        )
    );
}

#[test]
fn an_anchor_on_a_block_moves_no_line() {
    for (anchored, added) in [
        (
            "metadata: &m\n  annotations:\n    a: b\nspec:\n  containers:\n  - name: miner",
            "metadata: &m\n      annotations:\n        a: b\n      labels:\n        understudy/agent: enabled\n",
        ),
        (
            "metadata:\n  labels: &x\n    app: miner\nspec:\n  containers:\n  - name: miner",
            "labels: &x\n        app: miner\n        understudy/agent: enabled\n",
        ),
        (
            "spec: &s\n  containers:\n  - name: miner",
            "        - name: understudy\n",
        ),
        (
            "spec:\n  securityContext: &s\n    runAsUser: 1\n  containers:\n  - name: miner",
            "securityContext: &s\n        runAsUser: 1\n        fsGroup: 65532\n",
        ),
        (
            "spec:\n  containers: &c\n  - &base\n    name: miner\n    env: &e\n    - name: A",
            "env: &e\n        - name: A\n        - name: UNDERSTUDY_GRPC_ADDR\n",
        ),
    ] {
        must_have(&there_and_back(&deployment(anchored)), added);
    }
}

#[test]
fn what_an_alias_repeats_elsewhere_does_not_change() {
    let text = deployment(
        "metadata:
  labels: &labels
    app: miner
spec:
  topologySpreadConstraints:
    - labelSelector:
        matchLabels: *labels
  containers:
    - name: miner",
    );
    let with = injected(&text);
    must_have(
        &with,
        "labels: &labels\n        app: miner\n        understudy/agent: enabled\n",
    );
    must_have(
        &with,
        "matchLabels:\n              app: miner\n      initContainers:",
    );
    assert_eq!(injected(&with), with);
}

#[test]
fn an_alias_of_little_is_written_out_on_its_line() {
    let text = deployment(
        "metadata:\n  labels: &l\n  annotations: *l # none\nspec:\n  containers:\n  - name: miner\n    securityContext: &s {runAsUser: 1}\n  securityContext: *s",
    );
    let with = injected(&text);
    must_have(&with, "      annotations: null # none\n");
    must_have(&with, "securityContext: &s {runAsUser: 1}\n");
    must_have(
        &with,
        "      securityContext: {runAsUser: 1, fsGroup: 65532, fsGroupChangePolicy: OnRootMismatch}\n",
    );
    must_have(
        &uninjected(&with),
        "      securityContext: {runAsUser: 1}\n",
    );
}

#[test]
fn a_list_by_alias_is_written_out_where_it_changes() {
    let text = deployment(
        "spec:
  containers:
    - name: query
      env: &env
        - name: A
    - name: miner
      env: *env",
    );
    let with = injected(&text);
    must_have(
        &with,
        "env: &env\n            - name: A\n        - name: miner\n          env:\n            - name: A\n            - name: UNDERSTUDY_GRPC_ADDR\n",
    );
}

#[test]
fn a_bracket_may_close_in_its_keys_column() {
    let text =
        deployment("spec:\n  containers:\n  - name: miner\n    args: [\n      \"--chain\",\n    ]");
    must_have(
        &there_and_back(&text),
        "args: [\n          \"--chain\",\n        ]\n",
    );
    let text = deployment(
        "spec:\n  containers:\n  - name: miner\n    args: [ {a: b\n  c,\nd: \"e\n f\"}, 'g\nh' ]",
    );
    there_and_back(&text);
}

#[test]
fn a_tab_may_indent_what_is_in_brackets() {
    let text = deployment("spec:\n  containers:\n  - name: miner");
    let args = "        args: [\n\t\"--chain\",\n\t{a: b,\n\tc: d\n\t}\n\t]\n";
    must_have(&there_and_back(&format!("{text}{args}")), args);
    let tab = format!("{text}\timage: m:1\n");
    assert!(
        inject(&tab, &options())
            .unwrap_err()
            .why
            .contains("not YAML")
    );
}

#[test]
fn a_tab_may_follow_a_colon() {
    let text = deployment(
        "spec:\n  containers:\n  - name:\tminer\t# a tab\n    image:\t\tm:1\t\n    command:\n    - |\n      \texec:\tminer",
    );
    must_have(&there_and_back(&text), "- |\n          \texec:\tminer\n");
    // As often as anybody likes.
    let annotations = (0..1500).fold(String::new(), |all, at| all + &format!("      a{at}:\tb\n"));
    let text = text.replace(
        "  template:\n",
        &format!("  template:\n    metadata:\n     annotations:\n{annotations}"),
    );
    assert!(inject(&text, &options()).is_ok());
}

#[test]
fn a_pod_with_empty_mappings_is_worked_on_once() {
    let text = deployment(
        "metadata:
  creationTimestamp: null
  labels: {}
spec:
  containers:
  - env: []
    name: miner
    resources: {}
  securityContext: {}
  volumes: [ ]",
    );
    there_and_back(&text);
}

#[test]
fn a_block_of_text_keeps_its_line_ends() {
    let head = deployment("spec:\n  containers:\n  - name: miner\n    stdin: ");
    let head = head.trim_end_matches(['\n', ' ']);
    let config = "---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\nx: ";
    for header in ["|", "|+", "|-", ">", ">+", ">-", "|2+", "|2-", "| # why"] {
        for ends in [
            "\n",
            "\n\n",
            "\n\n \n",
            "\n            \n",
            "\n          # no comment\n",
        ] {
            let keeps = header.contains('+')
                || !ends
                    .trim_matches('\n')
                    .trim_start_matches("          ")
                    .is_empty()
                    && ends.len() > 8;
            let kept = if keeps { ends } else { "\n" };
            for text in ["\n          t", "\n\n          t\n\n          u"] {
                let block = format!("{head} {header}{text}");
                for tail in ["", config] {
                    let rest = format!("{tail}{header}{}", text.replace("          ", "  "));
                    for end in ["", "\n\n"] {
                        let tail = if tail == config {
                            format!("{rest}{end}")
                        } else {
                            tail.to_owned()
                        };
                        let with = there_and_back(&format!("{block}{ends}{tail}"));
                        assert!(with.ends_with(&tail), "{with:?}");
                        must_have(
                            &with,
                            &format!("        stdin: {header}{text}{kept}        env:"),
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn a_block_of_text_that_the_file_cuts_off_is_not_ended() {
    let text = deployment("spec:\n  containers:\n  - name: miner\n    stdin: |\n      t");
    let refused = inject(text.trim_end(), &options()).unwrap_err();
    assert!(refused.why.contains("line end"), "{refused}");
    assert_eq!(refused.line, 11);
    // One without its last line end anyway.
    there_and_back(text.replace("stdin: |", "stdin: |-").trim_end());
    let other = "---\napiVersion: v1\nkind: ConfigMap\nx: |\n  t";
    assert!(there_and_back(&format!("{text}{other}")).ends_with(other));
}

#[test]
fn no_line_end_at_the_end_of_the_file_stays_so() {
    let text = deployment("spec:\n  containers:\n  - name: miner");
    let with = there_and_back(text.trim_end());
    assert!(!with.ends_with('\n'), "{with}");
}

#[test]
fn a_line_is_what_the_parser_takes_for_one() {
    let text =
        deployment("spec:\n  # one\rother: a\u{2028}b \u{85} c\n  containers:\n  - name: miner");
    let text = text.replace("\rother", "\r      other");
    there_and_back(&text);
    // All of them old Macintosh ones.
    let text = deployment("spec:\n  containers:\n  - name: miner").replace('\n', "\r");
    assert!(!there_and_back(&text).contains('\n'));
}

#[test]
fn a_foreign_kind_passes_whatever_it_looks_like() {
    let sealed = "apiVersion: bitnami.com/v1alpha1
kind: SealedSecret
metadata:
  name: miner
spec:
  template:
    metadata:
      name: miner
    type: Opaque
---
apiVersion: argoproj.io/v1alpha1
kind: CronJob
metadata:
  name: miner
---
";
    let text = format!(
        "{sealed}{}",
        deployment("spec:\n  containers:\n  - name: miner")
    );
    let done = inject(&text, &options()).unwrap();
    assert!(done.text.starts_with(sealed));
    assert_eq!(done.selected, ["Deployment/miner"]);
}

#[test]
fn a_key_that_is_there_twice_is_refused() {
    let text = deployment("spec:\n  containers:\n  - name: other\n  containers:\n  - name: miner");
    let refused = inject(&text, &options()).unwrap_err();
    assert_eq!(refused.line, 10, "{refused}");
    assert!(refused.why.contains("twice"), "{refused}");
}

#[test]
fn a_quoted_key_and_a_tagged_one_are_keys() {
    let text = deployment(
        "\"spec\":\n  'containers':\n  - !!str name: miner\n    ? env\n    :\n    - name: A",
    );
    must_have(
        &there_and_back(&text),
        "        - name: A\n        - name: UNDERSTUDY_GRPC_ADDR\n",
    );
}
