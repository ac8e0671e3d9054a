//! Any manifest, in the styles that people and programs write.

use proptest::prelude::*;
use proptest::sample::select;

use super::super::value::Data;
use super::*;

/// A text, and whether taking the agent out must give it back to the byte: where an alias was written out, or nothing
/// was filled, it gives the same data.
#[derive(Debug, Clone)]
struct Manifest {
    text: String,
    comes_back: bool,
    /// Where the miner stands among the containers.
    miner: usize,
}

/// The lines of a value below a key, and whether they come back.
type Part = (&'static str, bool);

/// Indented by this.
fn lines(by: usize, text: &str) -> String {
    let indent = " ".repeat(by);
    let line = |line: &str| {
        if line.is_empty() {
            "\n".to_owned()
        } else {
            format!("{indent}{line}\n")
        }
    };
    text.split_terminator('\n').map(line).collect()
}

const LABELS: &[Part] = &[
    ("", true),
    ("labels: {}", true),
    ("labels:", false),
    ("labels: ~ # none", false),
    ("labels: {app: x}", true),
    ("labels: { \"app\": 'x', }  # two", true),
    ("labels: *own", false),
    ("labels: !!map\n  app: x", true),
    ("labels: &l # [x]\n  # first\n  app: x\n  # last", true),
    ("labels:\n  <<: *own\n  tier: &t a", true),
    ("labels: {<<: *own, tier: a}", true),
    ("\"labels\":\n    ? app\n    : x", true),
];
const CONTEXTS: &[Part] = &[
    ("", true),
    ("securityContext: {}", true),
    ("securityContext: { }", true),
    ("securityContext: null", false),
    ("securityContext: &s\n  runAsUser: 1\n\n  # end", true),
    ("securityContext: {runAsUser: 1\n}", true),
    ("securityContext:\n  fsGroup: 7", true),
    ("securityContext:\n  fsGroupChangePolicy: Always", true),
    (
        "securityContext:\n  sysctls:\n  - name: a\n    value: |+\n      x\n\n",
        true,
    ),
];
const VOLUMES: &[Part] = &[
    ("", true),
    ("volumes: []", true),
    ("volumes: [ ] # none", true),
    ("volumes:\n- name: d", true),
    ("volumes: &v\n  - {name: d}", true),
    ("volumes: [\n  {name: d}, # d\n]", true),
    ("volumes:\n  -\n    name: d\n  - # e\n    name: e", true),
];
/// Of the first container, which others may repeat.
const BASES: &[Part] = &[
    ("name: base", true),
    ("env: &env\n- name: A\n  value: |-\n    a\nname: base", true),
    (
        "name: base\nenv: &env [{name: A}]\nvolumeMounts: &m\n  - {name: d, mountPath: /d}",
        true,
    ),
    ("env: &env []\nname: base", true),
    ("env: &env []\nvolumeMounts:\nname: base", true),
];
const MINERS: &[Part] = &[
    ("name: miner", true),
    ("name:\tminer\t# me", true),
    ("<<: *base\nname: miner", true),
    ("<<: [*base]\nname: miner\nenv:\n- name: B", true),
    ("name: miner\nenv: *env", false),
    ("env: []\nname: miner", true),
    ("name: miner\nenv:", false),
    (
        "name: miner\nenv: # B\n\n  # B\n  - name: B\n    value: >\n      b\n\n      c\n\n",
        true,
    ),
    (
        "name: miner\nargs: [\n\"a\",\n]\nvolumeMounts: [{name: d, mountPath: /d}]",
        true,
    ),
    (
        "name: miner\nargs:\n- |+\n  a\n\n\n- |\n  - name: b\n  # no comment\n",
        true,
    ),
    ("env:\n- &b\n  name: B\n- *b\nname: miner", true),
    ("{name: miner, env: [{name: B}], resources: {}}", true),
    ("{<<: *base, name: miner}", true),
    ("name: miner\nx: \"a\n\n  b\\\n c\"\ny: 'it''s'", true),
];
const AFTER: &[&str] = &[
    "",
    "# the end\n",
    "\n\n",
    "...\n# the end\n",
    "---\napiVersion: v1\nkind: ConfigMap\nx: |+\n  t\n\n\n",
    "---\napiVersion: v1\nkind: ConfigMap\nx: |\n  t",
    "---\nkind: X\nspec: {template: {spec: {}}}\na: 1\na: 2\n--- # none\n---\nx: >-\n\n",
    "---\n- &own a\n- *own\n",
];

fn manifest() -> impl Strategy<Value = Manifest> {
    let parts = (
        select(LABELS),
        select(CONTEXTS),
        select(VOLUMES),
        select(BASES),
        select(MINERS),
        select(AFTER),
    );
    let styles = (0..3usize, any::<[bool; 7]>());
    (parts, styles).prop_map(|(parts, styles)| {
        let (labels, context, volumes, base, miner, after) = parts;
        let (deep, [document, init, last, other, crlf, cut, first]) = styles;
        let some = |on: bool, text: &str| if on { text.to_owned() } else { String::new() };
        let dash = ["-   ", "  - ", "    - "][deep];
        let item = |head: &str, text: &str| {
            let body = lines(dash.len(), text);
            format!("{}{head}{}", dash, &body[if head.is_empty() { dash.len() } else { 0 }..])
        };
        let mut spec = format!("{}\n", context.0);
        spec += &some(init, &format!("initContainers:\n{}", item("", "name: i\nimage: i:1")));
        spec += "# the containers\ncontainers:\n";
        spec += &item("&base\n", base.0);
        spec += &item("", miner.0);
        spec += &some(other, &item("", "name: other\nenv: *env\nvolumeMounts: [{name: d, mountPath: /d}]"));
        spec += &some(!volumes.0.is_empty(), &format!("{}\n", volumes.0));
        spec += &some(last, "restartPolicy: Always\n");
        let mut text = some(document, "# one\n---\n");
        text += "apiVersion: apps/v1\nkind: StatefulSet\nmetadata:\n  name: miner\n  labels: &own {app: x}\nspec:\n  template:\n    metadata:\n";
        text += &lines(6, &format!("annotations: {{}}\n{}", labels.0));
        text += "    spec:\n";
        text += &lines(6, &spec);
        text += after;
        if cut && !after.is_empty() && !after.ends_with("\n\n") {
            text = text.trim_end_matches('\n').to_owned();
        }
        let is_name = text.contains("- name: base") || text.contains("\n          name: base") || text.contains("name: base\n");
        let first = first && is_name;
        if first {
            text = text.replace("name: miner", "name: second").replace("name: base", "name: miner");
            text = text.replacen("name: second", "name: miner", 1).replace("name:\tminer", "name: second");
        }
        if crlf {
            text = text.replace('\n', "\r\n");
        }
        // What repeats the miner is written out.
        let comes_back = labels.1 && context.1 && volumes.1 && !first && miner.1;
        Manifest { text, comes_back, miner: usize::from(!first) }
    })
}

/// Without what is ours, and without what holds nothing.
fn bare(value: &Value) -> Value {
    let ours = |it: &Value| {
        let name = it.word(&["name"]);
        name == Some("understudy") || name == Some("UNDERSTUDY_GRPC_ADDR")
    };
    let mut bared = value.clone();
    match &mut bared.data {
        Data::Scalar { .. } => {}
        Data::Sequence(items) => *items = items.iter().filter(|it| !ours(it)).map(bare).collect(),
        Data::Mapping(entries) => {
            let own = value.word(&["fsGroup"]) == Some("65532");
            let kept = entries
                .iter()
                .map(|(key, value)| (key.clone(), bare(value)));
            let kept = kept.filter(|(key, value)| {
                let key = key.text().unwrap_or_default();
                let policy = key == "fsGroupChangePolicy" && value.text() == Some("OnRootMismatch");
                !value.is_empty()
                    && key != "understudy/agent"
                    && !(own && (key == "fsGroup" || policy))
            });
            *entries = kept.collect();
        }
    }
    bared
}

/// The first document that makes pods; and the bytes of the others.
fn only(text: &str) -> (Value, String) {
    let source = Source::new(text);
    let documents = parse::documents(&source).unwrap();
    let first = &documents[0];
    let (value, fault) = Resolver::document(&source, &first.root);
    assert_eq!(fault, None, "{text}");
    let rest = documents.get(1).map_or(text.len(), |it| it.start);
    (value, text[rest..].to_owned())
}

proptest! {
    #[test]
    fn what_was_asked_for_comes_out_once_and_goes_again(manifest in manifest()) {
        let Manifest { text, comes_back, miner } = manifest;
        let done = inject(&text, &options());
        if text.contains("*env") && !text.contains("&env") {
            prop_assert!(done.is_err());
            return Ok(());
        }
        let with = done.map_err(|it| TestCaseError::fail(format!("{it}\n{text}")))?.text;
        let ((before, others), (after, rest)) = (only(&text), only(&with));
        prop_assert_eq!(others, rest, "the other documents");
        prop_assert_eq!(bare(&after), bare(&before), "{}", &with);
        let spec = after.at_keys(&["spec", "template", "spec"]).unwrap();
        has_all_of(spec, miner);
        for other in spec.get("containers").unwrap().items().iter().filter(|it| it.word(&["name"]) != Some("miner")) {
            let all = [names(other, "env"), names(other, "volumeMounts")].concat();
            prop_assert!(!all.iter().any(|it| it.to_lowercase().starts_with("understudy")), "it leaks: {}", &with);
        }
        prop_assert_eq!(&injected(&with), &with, "twice is once");
        let back = uninjected(&with);
        if comes_back {
            prop_assert_eq!(&back, &text);
        } else {
            prop_assert_eq!(bare(&only(&back).0), bare(&before));
        }
        prop_assert_eq!(&uninjected(&back), &back);
        if text.contains("\r\n") {
            prop_assert_eq!(with.matches('\n').count(), with.matches("\r\n").count());
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "(apiVersion: v1\nkind: Pod\nmetadata:\n  name: miner\nspec:\n)?(  containers:\n  - name: a\n|    env: |  <<: \\*a\n|\\[\\]\n|\\[|\\]|\\{\\}\n|\\*a|&a |\\||>\n|\\|\\+\n|\t|#x\n|é|---\n| |\"|'|\r|\u{feff}|\u{2028}|,|\\? |: |  a: b\n){0,30}") {
        if let Ok(done) = inject(&text, &options()) {
            // What came out can be worked on again, and comes to the same.
            let again = inject(&done.text, &options());
            prop_assert_eq!(again.map(|it| it.text), Ok(done.text));
        }
    }
}
