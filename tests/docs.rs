//! What the documents say exists: tests, metrics, commands, flags.

mod stage;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use stage::{Agent, Redis, wait_for};
use understudy::config::{RedisArgs, RedisSettings};
use understudy::doctor::acl_line;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every Rust file below `folder`: its path, and its text.
fn sources(folder: &Path) -> Vec<(String, String)> {
    let entries = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path());
    let mut found = Vec::new();
    for path in entries {
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|it| it == "rs") {
            found.push((
                path.display().to_string(),
                fs::read_to_string(&path).expect("text"),
            ));
        }
    }
    found
}

/// The texts between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .flat_map(|line| line.split('`').skip(1).step_by(2))
}

#[test]
fn every_test_that_the_documents_name_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = [sources(&root.join("src")), sources(&root.join("tests"))].concat();
    let documents = ["docs/adopt.md", "docs/mission.md", "docs/redis.md"]
        .map(read)
        .join("\n");
    let mut named = 0;
    for name in quoted(&documents) {
        let Some((room, test)) = name.split_once("::") else {
            continue;
        };
        if room.chars().next().is_none_or(char::is_uppercase) {
            continue;
        }
        named += 1;
        let is_it = |(path, text): &(String, String)| {
            path.contains(&format!("/{room}")) && text.contains(&format!("fn {test}("))
        };
        assert!(
            sources.iter().any(is_it),
            "a document names a test that does not exist: {name}"
        );
    }
    assert!(named > 30, "only {named} tests are named");
}

#[test]
fn every_metric_that_the_documents_name_is_exported() {
    let redis = Redis::start();
    let agent = Agent::start("a", &redis, &["--memory-every", "200ms"]);
    agent.wait_until_up();
    wait_for("a reading of memory", Duration::from_secs(10), || {
        agent.metric("ha_miner_redis_max_memory_bytes")
    });
    wait_for("a rehearsal", Duration::from_secs(10), || {
        agent.metric("ha_miner_leader_takeover_ready{instance=\"a\"}")
    });
    let (_, exported) = agent.get("/metrics").expect("the agent answers");
    for document in [
        "README.md",
        "docs/adopt.md",
        "docs/mission.md",
        "docs/redis.md",
    ] {
        let text = read(document);
        let words = text.split(|it: char| !it.is_ascii_alphanumeric() && it != '_');
        let metrics = words.filter(|word| word.starts_with("ha_miner_"));
        // The document's own check greps for the beginning of two names.
        for metric in metrics {
            assert!(
                exported.contains(metric),
                "{document} names {metric}, which is not exported"
            );
        }
    }
}

#[test]
fn every_command_that_the_readme_names_works() {
    let makefile = read("Makefile");
    let readme = read("README.md");
    let typed = readme
        .lines()
        .chain(quoted(&readme))
        .filter_map(|text| text.strip_prefix("make "));
    for target in typed.map(|rest| rest.split(' ').next().unwrap_or_default()) {
        let known = makefile
            .lines()
            .any(|line| line.starts_with(&format!("{target}:")));
        assert!(
            known,
            "README.md names `make {target}`, which the Makefile lacks"
        );
    }
    let help = |command: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_understudy"))
            .args([command, "--help"])
            .output();
        String::from_utf8_lossy(&output.expect("the command runs").stdout).into_owned()
    };
    let all: String = [
        "run", "status", "leader", "doctor", "resign", "probe", "inject",
    ]
    .map(help)
    .concat();
    let coming = readme
        .split("Not in this version yet")
        .nth(1)
        .expect("what is not there yet");
    for flag in readme.split("--").skip(1).map(|rest| {
        rest.split(|it: char| !it.is_ascii_lowercase() && it != '-')
            .next()
    }) {
        let flag = format!("--{}", flag.unwrap_or_default());
        let later = coming.contains(&flag);
        assert!(
            flag.len() < 5
                || ["--release", "--example", "--build", "--set"].contains(&&*flag)
                || all.contains(&flag)
                || later,
            "README.md names {flag}"
        );
    }
}

#[test]
fn the_documents_have_the_acl_line_that_the_doctor_prints() {
    let settings = RedisSettings::check(&RedisArgs::default()).expect("the defaults");
    let line = acl_line(&settings);
    assert!(
        read("docs/redis.md").contains(&format!("\n{line}\n")),
        "{line}"
    );
}
