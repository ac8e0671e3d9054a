//! Any manifest, in the styles that people and programs write.

use proptest::prelude::*;

use super::*;

/// A Deployment in one of the styles that people write, or `kubectl get` with sorted keys. Beside it: what it is
/// without the variable of ours that was in it.
fn manifest() -> impl Strategy<Value = (String, String)> {
    let flags = proptest::collection::vec(any::<bool>(), 10);
    (flags, 0..3usize).prop_map(|(flags, deep)| {
        let [env, mounts, init, volumes, group, labels, comments, tail, document, sorted] = flags[..] else {
            unreachable!()
        };
        let dash = ["- ", "  - ", "    - "][deep];
        let pad = " ".repeat(dash.len());
        let some = |on: bool, text: String| if on { text } else { String::new() };
        let mut text = some(document, "---\n".into());
        text += "kind: Deployment\nmetadata:\n  name: miner\nspec:\n  template:\n    metadata:\n      annotations: {}\n";
        text += &some(labels, "      labels:\n        app: x\n".into());
        text += "    spec:\n";
        text += &some(group, "      securityContext:\n        runAsUser: 1\n".into());
        text += &some(init, format!("      initContainers:\n      {dash}name: i\n"));
        text += &some(comments, "      # a comment\n".into());
        text += "      containers:\n";
        let own = format!("      {pad}- name: A\n      {pad}  value: |\n      {pad}    b\n");
        let ours = format!("      {pad}- name: UNDERSTUDY_GRPC_ADDR\n      {pad}  value: unix:/run/understudy/grpc.sock\n");
        let (first, live) = match (sorted, env) {
            (true, true) => (format!("env:\n{own}      {pad}name: miner\n"), String::new()),
            (true, false) => ("name: miner\n".into(), format!("env:\n{ours}      {pad}")),
            (false, _) => ("name: miner\n".into(), String::new()),
        };
        let mark = "(ours)";
        text += &format!("      {dash}{mark}{first}");
        text += &some(env && !sorted, format!("      {pad}env:\n{own}"));
        text += &some(mounts, format!("      {pad}volumeMounts:\n      {pad}- {{name: d, mountPath: /d}}\n"));
        text += &some(comments, format!("      {pad}# the end\n"));
        text += &some(volumes, format!("      volumes:\n      {dash}name: d\n"));
        text += &some(tail, "      restartPolicy: Always\n\n# the end\n".into());
        (text.replace(mark, &live), text.replace(mark, ""))
    })
}

proptest! {
    #[test]
    fn it_is_put_in_once_and_taken_out_without_a_trace((text, bare) in manifest()) {
        let with = injected(&text);
        has_all(&with, 0);
        prop_assert_eq!(&injected(&with), &with);
        prop_assert_eq!(&uninjected(&with), &bare);
        prop_assert_eq!(uninjected(&text), bare);
    }

    #[test]
    fn no_text_makes_it_panic(text in "(kind: Pod\n|metadata:\n|  name: miner\n|spec:\n|  containers:\n|  - |name: a\n|    env: |\\[\\]\n|\\{\\}\n|\\*a|&a |\\||>\n|\t|#x\n|é|---\n| |\"|'){0,30}") {
        if let Ok(done) = inject(&text, &options()) {
            // What came out can be worked on again.
            prop_assert!(inject(&done.text, &options()).is_ok(), "{}", done.text);
        }
    }
}
