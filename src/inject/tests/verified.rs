//! What is planned is what comes out, or nothing does.

use super::cases::{deployment, there_and_back};
use super::*;

#[test]
fn what_readers_understand_in_different_ways_is_refused() {
    let base = "spec:\n  x: &base\n    name: other\n  containers:\n";
    for (rest, line, why) in [
        ("  - name: miner\n    <<: *base", 12, "put << first"),
        ("  - <<: &l [a]\n    name: miner", 11, "expected an alias"),
        ("  - name: miner\n    env: *nothing", 12, "unknown anchor"),
    ] {
        let refused = inject(&deployment(&format!("{base}{rest}")), &options()).unwrap_err();
        assert!(refused.why.contains(why), "{refused}");
        assert_eq!(refused.line, line, "{refused}");
    }
    // It was an alias of another document.
    let other = format!(
        "a: &x 1\n---\n{}",
        deployment("spec:\n  containers:\n  - name: miner\n    tty: *x")
    );
    assert!(
        inject(&other, &options())
            .unwrap_err()
            .why
            .contains("no anchor in its document")
    );
    // A few lines that stand for a billion values.
    let mut bomb = "a: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb += &format!("b{level}: &a{level} [{aliases}]\n");
    }
    let text = format!(
        "{}{bomb}",
        deployment("spec:\n  containers:\n  - name: miner")
    );
    assert!(
        inject(&text, &options())
            .unwrap_err()
            .why
            .contains("write fewer of them")
    );
    let harmless = format!(
        "{}---\n{bomb}",
        deployment("spec:\n  containers:\n  - name: miner")
    );
    assert!(injected(&harmless).ends_with(&bomb));
}

#[test]
fn what_several_workloads_share_changes_in_one_place() {
    let text = "apiVersion: v1
kind: List
items:
- apiVersion: apps/v1
  kind: Deployment
  metadata: {name: miner}
  spec:
    template: &template
      spec:
        containers:
        - name: any
- apiVersion: apps/v1
  kind: StatefulSet
  metadata: {name: miner}
  spec:
    template: *template
";
    assert!(there_and_back(text).ends_with("    template: *template\n"));
    // Only one of them is meant.
    let names = vec![Name::parse("sts/miner").unwrap()];
    let one = Options { names, ..options() };
    let done = inject(text, &one).unwrap();
    let alone = text.find("    template: *template").unwrap();
    assert!(done.text.starts_with(&text[..alone]), "{}", done.text);
    assert_eq!(done.text.matches("startupProbe").count(), 1);
}

#[test]
fn a_result_that_says_something_else_is_no_result() {
    let text = "a: 1\n---\nb: &x {c: 1}\nd: *x\n# end\n---\ne: 1\n";
    let source = Source::new(text);
    let documents = parse::documents(&source).unwrap();
    let planned = |text: &str| {
        let mut all = data(text);
        vec![None, Some(all.remove(1)), None]
    };
    let says = |after: &str| must_say(after, &source, &documents, &planned(text));
    assert_eq!(says(text), Ok(()));
    assert_eq!(
        says(&text.replace("b: &x {c: 1}\nd: *x", "d: {c: 1}\nb: {'c': 1}")),
        Ok(())
    );
    for (of, with) in [
        ("c: 1", "c: 2"),
        ("c: 1", "c: '1'"),
        ("d: *x", "d: *x\nf: 1"),
        ("d: *x", "d: *x\nd: *x"),
        ("d: *x", "d: *y"),
        ("d: *x", "  d: *x"),
        ("a: 1", "'a': 1"),
        ("e: 1\n", "e: 1"),
        ("e: 1\n", "e: 1\n---\n"),
        ("# end\n---\n", "# end\n"),
    ] {
        assert!(text.contains(of));
        assert!(says(&text.replace(of, with)).is_err(), "{of} {with}");
    }
}

#[test]
fn the_plan_is_data() {
    let text = deployment(
        "metadata:\n  labels: &l {app: x}\nspec:\n  containers:\n  - name: miner\n    env: []",
    );
    let source = Source::new(&text);
    let before = data(&text).remove(0);
    let mut plan = Plan::of(before.clone());
    for workload in Workload::selected(&before, &options()) {
        pod::work(&source, &mut plan, &workload, &options()).unwrap();
    }
    let mut after = before;
    for change in &plan.changes {
        change.apply(&mut after);
    }
    assert_eq!(after, plan.value);
    assert_eq!(after, data(&injected(&text)).remove(0));
}
