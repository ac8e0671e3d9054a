//! Everything that the documents name exists: tests, metrics, commands, flags.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use stage::{Agent, Redis, wait_for};
use understudy::config::RedisArgs;
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

/// What an operator reads, besides the README.
fn manuals() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/runbooks");
    let pages = fs::read_dir(folder).expect("the runbooks").map(|page| {
        let name = page.expect("a page").file_name();
        format!("docs/runbooks/{}", name.to_string_lossy())
    });
    let more = [
        "deploy/README.md",
        "examples/README.md",
        "docs/adopt.md",
        "docs/adopt-pocket-relay-miner.md",
        "docs/clients.md",
        "docs/redis.md",
    ];
    more.map(String::from).into_iter().chain(pages).collect()
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
    let documents = [
        "docs/adopt.md",
        "docs/adopt-pocket-relay-miner.md",
        "docs/mission.md",
        "docs/redis.md",
    ];
    let documents = documents.map(read).join("\n");
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
    let documents = [
        "README.md",
        "docs/demo.md",
        "docs/mission.md",
        "docs/performance.md",
    ];
    let documents = documents.map(String::from);
    for document in manuals().into_iter().chain(documents) {
        let text = read(&document);
        let words = text.split(|it: char| !it.is_ascii_alphanumeric() && it != '_');
        let metrics = words.filter(|word| word.starts_with("ha_miner_"));
        // `contains`, because the document's own check greps for the beginning of two names.
        for metric in metrics {
            assert!(
                exported.contains(metric),
                "{document} names {metric}, which is not exported"
            );
        }
    }
}

const COMMANDS: [&str; 8] = [
    "run", "exec", "status", "leader", "doctor", "resign", "probe", "inject",
];

fn help(command: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_understudy"))
        .args([command, "--help"])
        .output();
    String::from_utf8_lossy(&output.expect("the command runs").stdout).into_owned()
}

/// The arguments of `understudy` in a line of a shell, or in a text between backticks.
fn typed(line: &str) -> impl Iterator<Item = Vec<&str>> {
    let code = line.split(" # ").next().unwrap_or_default();
    let commands = code.split([';', '|']).flat_map(|it| it.split(" -- "));
    commands.filter_map(|command| {
        let mut words = command.split_whitespace();
        let program = words.next()?;
        (program == "understudy" || program.ends_with("/understudy")).then(|| words.collect())
    })
}

#[test]
fn every_command_that_the_manuals_name_works() {
    let all: String = COMMANDS.map(help).concat();
    let mut commands = 0;
    for document in manuals() {
        let text = read(&document);
        let mut shell = false;
        let mut lines = Vec::new();
        for line in text.lines() {
            if line.starts_with("```") {
                shell = line == "```sh";
            } else if shell {
                lines.push(line);
            }
        }
        let words = lines.into_iter().chain(quoted(&text)).flat_map(typed);
        for words in words.filter(|words| !words.is_empty()) {
            let (command, rest) = (words[0], &words[1..]);
            assert!(
                COMMANDS.contains(&command),
                "{document} names `understudy {}`",
                words.join(" ")
            );
            commands += 1;
            let known = help(command);
            for flag in rest.iter().filter_map(|word| word.strip_prefix("--")) {
                let flag = flag.split('=').next().unwrap_or_default();
                assert!(
                    known.contains(&format!("--{flag}")),
                    "{document} names `understudy {command} --{flag}`"
                );
            }
        }
        for name in quoted(&text).filter(|it| it.starts_with("--")) {
            let flag = name.split([' ', '=']).next().unwrap_or_default();
            let of_redis_cli = flag == "--user";
            assert!(
                of_redis_cli || all.contains(flag),
                "{document} names {flag}"
            );
        }
    }
    assert!(commands > 40, "only {commands} commands are named");
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
    let all: String = COMMANDS.map(help).concat();
    let coming = readme
        .split("Not in this version yet")
        .nth(1)
        .unwrap_or_default();
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
    let settings = RedisArgs::default().check().expect("the defaults");
    let line = acl_line(&settings);
    assert!(
        read("docs/redis.md").contains(&format!("\n{line}\n")),
        "{line}"
    );
}
