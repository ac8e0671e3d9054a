//! `understudy inject`, `completions` and `man`, as a person or a build types them.

use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};

const POD: &str =
    "apiVersion: v1\nkind: Pod\nmetadata:\n  name: miner\nspec:\n  containers:\n  - name: miner\n";

fn understudy(words: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_understudy"))
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut stdin = child.stdin.take().expect("piped");
    // A program that refuses its flags does not read its input.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn complained(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn standard_input_goes_to_standard_output() {
    let output = understudy(&["inject", "--name", "miner"], POD);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(printed(&output).contains("initContainers:"));
    assert!(complained(&output).contains("standard input: Pod/miner has an agent"));
    let back = understudy(
        &["inject", "--name", "miner", "--uninject"],
        &printed(&output),
    );
    assert!(!printed(&back).contains("initContainers:"));
}

#[test]
fn files_and_folders_become_one_stream_of_documents() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::create_dir(at("more")).expect("a folder");
    fs::write(at("first.yaml"), POD).expect("a file");
    fs::write(
        at("more/b.yml"),
        POD.replace("name: miner\nspec", "name: other\nspec"),
    )
    .expect("a file");
    fs::write(at("more/a.yaml"), "kind: Service\n").expect("a file");
    fs::write(at("more/notes.txt"), "{{ not YAML").expect("a file");
    let words = [
        "inject",
        "-f",
        &at("first.yaml"),
        "-f",
        &at("more"),
        "--name",
        "miner",
        "--name",
        "other",
    ];
    let output = understudy(&words, "");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = printed(&output);
    assert_eq!(text.matches("\n---\n").count(), 2, "{text}");
    assert_eq!(text.matches("startupProbe:").count(), 2);
    let said = complained(&output);
    assert!(
        said.contains("first.yaml: Pod/miner") && said.contains("b.yml: Pod/other"),
        "{said}"
    );
}

#[test]
fn what_is_printed_is_the_input_to_the_byte_but_for_the_agent() {
    let words = ["inject", "--name", "pod/miner"];
    let config = "---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\ndata:\n  f: ";
    for text in [
        "|+\n    t\n\n\n",
        "|\n    t",
        "|\n    t\n\n\n",
        ">-\n    t\r\n",
    ] {
        let tail = format!("{config}{text}");
        let output = understudy(&words, &format!("{POD}{tail}"));
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(printed(&output).ends_with(&tail), "{:?}", printed(&output));
        let again = understudy(&words, &printed(&output));
        assert_eq!(again.stdout, output.stdout);
    }
    // Between two files it would change its meaning.
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::write(at("a.yaml"), format!("{config}|\n    t")).expect("a file");
    fs::write(at("b.yaml"), POD).expect("a file");
    let output = understudy(&["inject", "-f", &at(""), "--name", "miner"], "");
    let said = complained(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("a.yaml: line 8: ") && said.contains("line end"),
        "{said}"
    );
    assert!(output.stdout.is_empty());
}

#[test]
fn flags_change_the_agent() {
    let words = "inject --name miner --cpu 50m --memory 32Mi --run-as-user none --fs-group none --http-port 9100";
    let words: Vec<&str> = words.split(' ').collect();
    let text = printed(&understudy(&words, POD));
    for part in [
        "requests:\n          cpu: 50m\n          memory: 32Mi\n        limits:\n          memory: 32Mi\n          cpu: 50m\n",
        "containerPort: 9100",
        "value: \"[::]:9100\"\n",
    ] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    for none in ["runAsUser", "runAsGroup", "fsGroup"] {
        assert!(!text.contains(none), "{none}: {text}");
    }
}

#[test]
fn what_cannot_be_done_is_refused_with_file_and_line_and_nothing_is_printed() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("pod.yaml").display().to_string();
    fs::write(
        &file,
        "apiVersion: v1\nkind: Pod\nmetadata: {name: miner}\nspec: {containers: []}\n",
    )
    .expect("a file");
    let output = understudy(&["inject", "-f", &file, "--name", "miner"], "");
    assert_eq!(output.status.code(), Some(1));
    let said = complained(&output);
    assert!(said.contains(&format!("{file}: line 4: ")), "{said}");
    assert!(output.stdout.is_empty());
    for (words, code, why) in [
        (
            &["inject"][..],
            1,
            "no Deployment, StatefulSet, DaemonSet, ReplicaSet, Pod, Job or CronJob with the label understudy/agent=enabled",
        ),
        (&["inject", "--name", "x"], 1, "called x"),
        (
            &["inject", "--name", "miner", "--name", "typo"],
            1,
            "called typo",
        ),
        (
            &["inject", "--env", "UNDERSTUDY_GRPC_SOCKET=/tmp/sock"],
            64,
            "sets it itself",
        ),
        (&["inject", "-f", "/nowhere.yaml"], 2, "/nowhere.yaml"),
        (&["inject", "--selector", "x"], 64, "KEY=VALUE"),
        (
            &["inject", "--env", "UNDERSTUDY_REDIS_PASSWORD=hunter2"],
            64,
            "Secret",
        ),
        (
            &["inject", "--env", "PATH=/"],
            64,
            "expected the environment twin",
        ),
        (
            &["inject", "--env", "UNDERSTUDY_LEASE_TLL=20s"],
            64,
            "such as UNDERSTUDY_LEASE_TTL",
        ),
        (&["inject", "--name", "pod/other"], 1, "called Pod/other"),
        (
            &["inject", "--name", "service/miner"],
            64,
            "expected NAME or KIND/NAME",
        ),
        (
            &["inject", "--http-port", "0"],
            64,
            "expected a port from 1 to 65535",
        ),
        (&["inject", "--http-port", "http"], 64, "expected a port"),
        (
            &["inject", "--cpu", "100Mi"],
            64,
            "expected a quantity such as 100m",
        ),
        (&["inject", "--cpu", "0"], 64, "expected a quantity"),
        (
            &["inject", "--memory", "64m"],
            64,
            "expected a quantity such as 64Mi",
        ),
        (
            &["inject", "--run-as-user", "0"],
            64,
            "expected none or a number from 1 to 2147483647",
        ),
        (
            &["inject", "--fs-group", "wheel"],
            64,
            "expected none or a number from 0",
        ),
    ] {
        let output = understudy(words, POD);
        let said = complained(&output);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
        assert!(said.contains(why) && !said.contains("hunter2"), "{said}");
        assert!(output.stdout.is_empty(), "{words:?}");
    }
}

#[test]
fn completions_and_pages_name_every_command() {
    let commands = [
        "run", "status", "leader", "doctor", "resign", "probe", "inject",
    ];
    for shell in ["bash", "zsh", "fish"] {
        let script = printed(&understudy(&["completions", shell], ""));
        assert!(
            commands.iter().all(|command| script.contains(command)),
            "{shell}"
        );
    }
    let whole = printed(&understudy(&["man"], ""));
    for command in commands {
        assert!(
            whole.contains(&format!("understudy\\-{command}(1)")),
            "{command}"
        );
        let page = printed(&understudy(&["man", command], ""));
        assert!(
            page.contains(&format!(".TH understudy-{command} 1")),
            "{command}"
        );
    }
    assert_eq!(understudy(&["man", "nothing"], "").status.code(), Some(64));
}
