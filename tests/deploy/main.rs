//! The files in deploy/ are valid, agree with each other, and name things that exist.

mod alerts;
mod chart;
mod dist;
mod image;
mod manifests;
mod pods;
mod policy;
mod prometheus;
mod values;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use stage::tool;

fn path(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(of)
}

fn read(of: &str) -> String {
    fs::read_to_string(path(of)).unwrap_or_else(|error| panic!("{of}: {error}"))
}

fn output(program: &Path, words: &[&str], input: &str) -> Output {
    let mut child = Command::new(program)
        .args(words)
        .current_dir(path(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut stdin = child.stdin.take().expect("piped");
    let text = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().expect("it ends");
    // A program that does not read its input is judged by its exit code.
    let _ = writer.join().expect("no panic while writing");
    output
}

/// The output of a program, which must succeed.
fn run(program: &Path, words: &[&str], input: &str) -> String {
    let output = output(program, words, input);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{} {words:?}\n{said}\n{errors}",
        program.display()
    );
    said
}

fn inject(words: &[&str], manifest: &str) -> String {
    let understudy = PathBuf::from(env!("CARGO_BIN_EXE_understudy"));
    run(&understudy, &[&["inject"], words].concat(), manifest)
}

/// The documents of a YAML text, by a parser that is not ours.
fn documents(yaml: &str) -> Vec<Value> {
    let tools = tool("kubernetes-validate").expect("the tools");
    let python = tools
        .parent()
        .and_then(Path::parent)
        .expect("their folder")
        .join("python/bin/python3");
    let script = "import json, sys, yaml; print(json.dumps([d for d in yaml.safe_load_all(sys.stdin) if d]))";
    let json = run(&python, &["-c", script], yaml);
    serde_json::from_str(&json).expect("JSON")
}

/// Every resource matches Kubernetes' own schema, which has none for other kinds.
fn must_be_valid(yaml: &str) {
    let others = ["PodMonitor", "PrometheusRule"];
    let known = documents(yaml)
        .into_iter()
        .filter(|it| !others.contains(&it["kind"].as_str().unwrap_or_default()));
    let known: Vec<String> = known.map(|it| it.to_string()).collect();
    assert!(!known.is_empty(), "nothing to look at");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("all.yaml");
    fs::write(&file, known.join("\n---\n")).expect("a file");
    let validate = tool("kubernetes-validate").expect("the tools");
    run(&validate, &["--strict", &file.display().to_string()], "");
}

fn find<'a>(all: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let is_it = |it: &&Value| it["kind"] == kind && it["metadata"]["name"] == name;
    all.iter()
        .find(is_it)
        .unwrap_or_else(|| panic!("no {kind}/{name}"))
}

fn helm_says(chart: &str, sets: &[&str]) -> Output {
    let sets = sets.iter().flat_map(|set| ["--set", set]);
    // A helm built from source claims to be for an old Kubernetes.
    let words = ["template", "release", chart, "--kube-version", "1.33.0"].into_iter();
    let helm = tool("helm").expect("the tools");
    output(&helm, &words.chain(sets).collect::<Vec<_>>(), "")
}

fn helm(sets: &[&str]) -> String {
    let output = helm_says("deploy/helm/understudy", sets);
    assert!(output.status.success(), "{sets:?} {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The name of the chart's resources when it creates the miner too.
const OF_RELEASE: &str = "release-understudy";
const WITH_MINER: [&str; 4] = [
    "miner.enabled=true",
    "miner.image=miner:1",
    "podMonitor.enabled=true",
    "prometheusRule.enabled=true",
];

#[test]
fn the_compose_file_is_valid() {
    let Some(check) = tool("check-jsonschema") else {
        return;
    };
    run(
        &check,
        &[
            "--builtin-schema",
            "vendor.compose-spec",
            "deploy/compose.yaml",
        ],
        "",
    );
}

#[test]
fn the_unit_is_valid() {
    let Ok(found) = Command::new("systemd-analyze").arg("--version").output() else {
        println!("skipped: systemd-analyze, which is not here");
        return;
    };
    assert!(found.status.success());
    let unit = read("deploy/systemd/understudy.service");
    let start = unit
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="))
        .expect("ExecStart");
    let program = start.split(' ').next().unwrap_or_default();
    let folder = tempfile::tempdir().expect("a folder");
    let copy = folder.path().join("understudy.service");
    fs::write(
        &copy,
        unit.replace(program, env!("CARGO_BIN_EXE_understudy")),
    )
    .expect("a file");
    let output = Command::new("systemd-analyze")
        .arg("verify")
        .arg(&copy)
        .output()
        .expect("it runs");
    let said = [output.stdout, output.stderr]
        .map(|it| String::from_utf8_lossy(&it).into_owned())
        .concat();
    // promtool succeeds even for an unknown key.
    let ours: Vec<_> = said
        .lines()
        .filter(|line| line.contains("understudy"))
        .collect();
    assert!(output.status.success() && ours.is_empty(), "{said}");
    // Its flags exist.
    let words = start.split(' ').skip(1).chain(["--help"]);
    let help = Command::new(env!("CARGO_BIN_EXE_understudy"))
        .args(words)
        .output();
    assert!(help.expect("it runs").status.success());
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}
