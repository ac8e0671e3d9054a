//! Which room may import which: enforces the picture in ARCHITECTURE.md.
//!
//! It scans text rather than parsing Rust: code as rustfmt leaves it, with line comments.

use std::path::{Path, PathBuf};

/// Each room of `src/`, and the other rooms that it may import. From the pure core outwards.
#[rustfmt::skip]
const ROOMS: &[(&str, &[&str])] = &[
    ("time", &[]),
    ("fault", &[]),
    ("health", &["fault"]),
    ("endpoint", &[]),
    ("election", &["fault", "health", "time"]),
    ("clock", &["time"]),
    ("config", &["election", "endpoint"]),
    ("state", &["election", "time"]),
    ("status", &["election", "fault", "health", "time"]),
    ("checkup", &["clock", "status"]),
    ("metrics", &["fault", "status", "time"]),
    ("miner", &["election", "endpoint", "fault", "http_client", "time"]),
    ("store", &["clock", "election", "endpoint", "fault", "health", "time"]),
    ("doctor", &["config", "election", "endpoint", "fault", "health", "store"]),
    ("tasks", &["checkup", "clock", "election", "endpoint", "fault", "health", "metrics", "miner", "notify", "state", "status", "store", "time"]),
    ("proto", &[]),
    ("http_client", &[]),
    ("api", &["checkup", "clock", "election", "fault", "metrics", "miner", "proto", "status", "time"]),
    ("exec", &["api", "clock", "proto", "time"]),
    ("inject", &[]),
    ("logs", &["config"]),
    ("notify", &[]),
    ("shutdown", &[]),
    ("agent", &["api", "checkup", "clock", "config", "election", "endpoint", "metrics", "miner", "notify", "state", "status", "store", "tasks"]),
    ("cli", &["agent", "clock", "config", "doctor", "election", "endpoint", "exec", "http_client", "inject", "logs", "proto", "shutdown", "status", "store", "time"]),
    ("main", &["cli"]),
    ("lib", &[]),
];

/// The rooms without async, clock, socket or randomness, and the crates that are safe there.
const PURE: &[&str] = &["election", "fault", "health", "inject", "lib", "time"];
const HARMLESS: &[&str] = &["saphyr_parser", "serde_json", "thiserror"];

/// The crates that only some rooms may use.
#[rustfmt::skip]
const HOMES: &[(&str, &[&str])] = &[
    ("redis", &["store"]),
    ("hyper", &["api", "http_client"]),
    ("hyper_util", &["api", "exec", "http_client"]),
    ("warp", &["api"]),
    ("tonic", &["api", "cli", "exec", "miner", "proto"]),
    ("tonic_health", &["api", "miner"]),
    ("tonic_reflection", &["api"]),
    ("clap", &["cli", "config"]),
    ("clap_complete", &["cli"]),
    ("clap_mangen", &["cli"]),
    ("saphyr_parser", &["inject"]),
    ("tracing_subscriber", &["logs"]),
];

/// Only `clock.rs` may use these.
const CLOCKS: &[&str] = &["Instant::now", "SystemTime::now", "clock_gettime"];

/// Split a file that is longer than this, by concept.
const LONGEST: usize = 400;

#[test]
fn every_room_imports_only_what_it_may() {
    let crates = dependencies();
    let sources = sources();
    let found = sources
        .iter()
        .flat_map(|(path, text)| breaches(path, text, &crates));
    none(&found.collect::<Vec<_>>());
}

#[test]
fn no_file_is_longer_than_it_should_be() {
    let sources = sources();
    let lengths = sources
        .iter()
        .map(|(path, text)| (path, text.lines().count()));
    let long = lengths.filter(|(_, lines)| *lines > LONGEST);
    let told = long.map(|(path, lines)| {
        let path = path.display();
        format!("src/{path}: {lines} lines, more than {LONGEST}: split it by concept")
    });
    none(&told.collect::<Vec<_>>());
}

/// If a table allowed more than the code uses, it would let the next import in unnoticed.
#[test]
fn nothing_is_allowed_that_is_not_used() {
    none(&slack(&sources(), &dependencies(), &TABLES));
}

/// The tables of what is allowed.
struct Tables {
    rooms: &'static [(&'static str, &'static [&'static str])],
    pure: &'static [&'static str],
    harmless: &'static [&'static str],
    homes: &'static [(&'static str, &'static [&'static str])],
}

const TABLES: Tables = Tables {
    rooms: ROOMS,
    pure: PURE,
    harmless: HARMLESS,
    homes: HOMES,
};

/// Whatever the tables allow and the sources do not use, one line each.
fn slack(sources: &[(PathBuf, String)], crates: &[String], tables: &Tables) -> Vec<String> {
    let all: Vec<_> = sources
        .iter()
        .map(|(path, text)| (room(path), path, without_comments(text)))
        .collect();
    let imports = |of: &str, other: &str| {
        let mut files = all.iter().filter(|(room, _, _)| room == of);
        files.any(|(_, path, code)| {
            imported_rooms(path, code)
                .iter()
                .any(|(_, it)| *it == other)
        })
    };
    let uses = |of: &str, name: &str| {
        let mut files = all.iter().filter(|(room, _, _)| room == of);
        files.any(|(_, _, code)| !mentions(code, name).is_empty())
    };
    let mut found = Vec::new();
    for (room, may) in tables.rooms {
        if !all.iter().any(|(it, _, _)| it == room) {
            found.push(format!("there is no room {room}"));
        }
        for other in may.iter().filter(|other| !imports(room, other)) {
            found.push(format!("{room} may import {other}, and does not"));
        }
        let impure = |name: &String| uses(room, name) && !tables.harmless.contains(&&**name);
        let is_pure = may.iter().all(|it| tables.pure.contains(it)) && !crates.iter().any(impure);
        if is_pure && !tables.pure.contains(room) {
            found.push(format!("{room} is pure: say so, so that it stays"));
        }
    }
    for room in tables.pure {
        if !tables.rooms.iter().any(|(it, _)| it == room) {
            found.push(format!("there is no pure room {room}"));
        }
    }
    for name in tables.harmless {
        if !tables.pure.iter().any(|room| uses(room, name)) {
            found.push(format!("no pure room uses {name}"));
        }
    }
    for (name, homes) in tables.homes {
        for room in homes.iter().filter(|room| !uses(room, name)) {
            found.push(format!(
                "{name} is at home in {room}, which does not use it"
            ));
        }
    }
    found
}

/// Whatever a file does against the tables, one line each. `path` is below `src/`.
fn breaches(path: &Path, text: &str, crates: &[String]) -> Vec<String> {
    let room = room(path);
    let Some((_, may)) = ROOMS.iter().find(|(name, _)| *name == room) else {
        let path = path.display();
        return vec![format!(
            "src/{path}: {room} is not in tests/architecture.rs: say there what it may import"
        )];
    };
    let code = without_comments(text);
    let mut found = Vec::new();
    let mut tell = |at: usize, what: String| {
        let line = code[..at].matches('\n').count() + 1;
        found.push((line, format!("src/{}:{line}: {what}", path.display())));
    };
    for (at, other) in imported_rooms(path, &code) {
        if other == "*" || other == "self" {
            tell(at, "imports the whole crate: name the room".into());
        } else if ROOMS.iter().any(|(name, _)| *name == other)
            && other != room
            && !may.contains(&other)
        {
            tell(
                at,
                format!("{room} imports {other}; it may import {}", list(may)),
            );
        }
    }
    for name in crates {
        let homes = HOMES
            .iter()
            .find(|(it, _)| it == name)
            .map(|(_, homes)| *homes);
        let pure = PURE.contains(&&*room) && !HARMLESS.contains(&&**name);
        if !pure && homes.is_none_or(|it| it.contains(&&*room)) {
            continue;
        }
        for at in mentions(&code, name) {
            let whose = homes.map_or("the rooms that are not pure".into(), list);
            tell(
                at,
                format!("{room} uses the crate {name}, which is for {whose}"),
            );
        }
    }
    for clock in CLOCKS.iter().filter(|_| room != "clock") {
        for (at, _) in code.match_indices(clock) {
            tell(at, format!("{clock}: clocks are read in src/clock.rs only"));
        }
    }
    found.sort();
    found.into_iter().map(|(_, told)| told).collect()
}

/// The names at the crate's root that a file uses, and where.
fn imported_rooms<'a>(path: &Path, code: &'a str) -> Vec<(usize, &'a str)> {
    let mut found = Vec::new();
    for root in ["crate", "understudy"] {
        for at in mentions(code, root) {
            let rest = code[at + root.len()..].trim_start_matches("::");
            found.extend(names(rest).into_iter().map(|it| (at, it)));
        }
    }
    for (at, _) in code.match_indices("super::") {
        let rest = code[at..].trim_start_matches("super::");
        let steps = (code.len() - at - rest.len()) / "super::".len();
        if steps >= depth(path) + usize::from(is_inside_a_module(&code[..at])) {
            found.extend(names(rest).into_iter().map(|it| (at, it)));
        }
    }
    found
}

/// The positions where a path begins with `name`.
fn mentions(code: &str, name: &str) -> Vec<usize> {
    let begins = |at: usize| {
        let before = code[..at].strip_suffix("::").unwrap_or(&code[..at]);
        !before.ends_with(|it: char| it.is_alphanumeric() || "_:>".contains(it))
    };
    let continues = |at: usize| {
        let after = &code[at + name.len()..];
        after.starts_with("::") || after.starts_with([';', ' ']) && code[..at].ends_with("use ")
    };
    // A module of the file's own may have the name of a crate.
    if code.contains(&format!("mod {name};")) {
        return Vec::new();
    }
    let found = code.match_indices(name).map(|(at, _)| at);
    found.filter(|at| begins(*at) && continues(*at)).collect()
}

/// The first name of a path, or of each path in a group.
fn names(text: &str) -> Vec<&str> {
    let first = |path: &'_ str| {
        let other = |it: char| !(it.is_alphanumeric() || it == '_' || it == '*');
        path.find(other).unwrap_or(path.len())
    };
    let Some(group) = text.strip_prefix('{') else {
        return vec![&text[..first(text)]];
    };
    let (mut found, mut open, mut start) = (Vec::new(), 1, 0);
    for (at, it) in group.char_indices() {
        open += i32::from(it == '{') - i32::from(it == '}');
        if open == 0 || (open == 1 && it == ',') {
            let path = group[start..at].trim_start();
            found.push(&path[..first(path)]);
            start = at + 1;
        }
        if open == 0 {
            break;
        }
    }
    found
}

/// The number of steps up from a file's module to the crate's root.
fn depth(path: &Path) -> usize {
    let steps = path.components().count();
    steps
        - usize::from(
            ["mod.rs", "main.rs", "lib.rs"]
                .iter()
                .any(|it| path.ends_with(it)),
        )
}

/// Whether the code ends inside a `mod name { … }`, one step further from the root.
fn is_inside_a_module(before: &str) -> bool {
    let mut tops = before
        .lines()
        .rev()
        .filter(|it| !it.starts_with([' ', '\t', ')', '#']));
    tops.find(|it| it.ends_with(['{', '}', ';']))
        .is_some_and(|it| it.contains("mod ") && it.ends_with('{'))
}

fn room(path: &Path) -> String {
    let first = path.iter().next().unwrap_or_default().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

fn list(names: &[&str]) -> String {
    if names.is_empty() {
        "no other room".into()
    } else {
        names.join(", ")
    }
}

/// The text with its line comments blanked.
fn without_comments(text: &str) -> String {
    let comment = |line: &str| {
        if line.starts_with("//") {
            Some(0)
        } else {
            line.find(" //")
        }
    };
    let code = |line: &'_ str| comment(line).unwrap_or(line.len());
    text.lines()
        .flat_map(|line| [&line[..code(line)], "\n"])
        .collect()
}

/// Every source file, by its path below `src/`.
fn sources() -> Vec<(PathBuf, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut dirs, mut files) = (vec![src.clone()], Vec::new());
    while let Some(dir) = dirs.pop() {
        for entry in dir.read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                files.push((path.strip_prefix(&src).unwrap().to_owned(), text));
            }
        }
    }
    files.sort();
    files
}

/// The crates that the program depends on, as code spells them, without those that only tests use.
fn dependencies() -> Vec<String> {
    let manifest = include_str!("../Cargo.toml").lines();
    let after = manifest.skip_while(|it| *it != "[dependencies]").skip(1);
    let lines = after.take_while(|it| !it.starts_with('['));
    let names = lines.filter_map(|line| line.split_once([' ', '=', '.']));
    let names: Vec<_> = names.map(|(name, _)| name.replace('-', "_")).collect();
    assert!(
        names.iter().any(|it| it == "redis"),
        "read {names:?} from Cargo.toml"
    );
    names
}

#[track_caller]
fn none(found: &[String]) {
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

mod the_check {
    use super::*;

    #[track_caller]
    fn broken(path: &str, text: &str, messages: &[&str]) {
        let crates = ["redis", "tokio", "tonic"].map(String::from);
        assert_eq!(breaches(Path::new(path), text, &crates), messages, "{text}");
    }

    #[test]
    fn finds_a_forbidden_room_however_it_is_reached() {
        for text in [
            "use crate::clock;",
            "use crate::{fault::{A, B}, clock::boottime};",
            "use crate::{\n    fault,\n    clock,\n};",
            "fn now() -> u64 { crate::clock::boottime() }",
            "use super::super::clock::boottime;",
            "use super::super::{fault, clock};",
            "mod inner {\n    use super::super::super::clock;\n}",
            "pub use $crate::clock::*;",
        ] {
            let line = if text.starts_with("mod") { 2 } else { 1 };
            let message = format!(
                "src/election/core/mod.rs:{line}: election imports clock; it may import fault, health, time"
            );
            broken("election/core/mod.rs", text, &[&message]);
        }
        for text in [
            "use crate::{self as all};",
            "use crate::*;",
            "use super::*;",
        ] {
            broken(
                "fault.rs",
                text,
                &["src/fault.rs:1: imports the whole crate: name the room"],
            );
        }
    }

    #[test]
    fn says_where_and_what_is_allowed() {
        broken(
            "shutdown.rs",
            "\n\nuse crate::agent::Agent;",
            &["src/shutdown.rs:3: shutdown imports agent; it may import no other room"],
        );
        broken(
            "main.rs",
            "use understudy::agent;",
            &["src/main.rs:1: main imports agent; it may import cli"],
        );
        broken(
            "new/mod.rs",
            "",
            &["src/new/mod.rs: new is not in tests/architecture.rs: say there what it may import"],
        );
    }

    #[test]
    fn leaves_a_room_free_within_itself() {
        for text in [
            "use super::super::lease::LeaseRules;\nuse crate::election::time;",
            "// use crate::store;\nlet a = 1; // crate::store",
            "mod tests {\n    use super::super::super::time;\n}",
            "pub(crate) use core::X;\npub(in crate::election) fn f() { Foo::api::store() }",
            "const V: &str = crate::VERSION;",
        ] {
            broken("election/core/change.rs", text, &[]);
        }
        broken(
            "fault.rs",
            "fn f() {}\n\n#[cfg(test)]\nmod tests {\n    use super::*;\n}",
            &[],
        );
    }

    #[test]
    fn keeps_a_crate_where_it_is_at_home() {
        for text in [
            "use redis::Client;",
            "fn f(_: &::redis::Client) {}",
            "use redis as it;",
        ] {
            broken(
                "tasks/elect.rs",
                text,
                &["src/tasks/elect.rs:1: tasks uses the crate redis, which is for store"],
            );
            broken("store/mod.rs", text, &[]);
        }
        broken(
            "election/mod.rs",
            "#[tokio::test]",
            &[
                "src/election/mod.rs:1: election uses the crate tokio, which is for the rooms that are not pure",
            ],
        );
        // A module of the same name.
        broken("config/mod.rs", "mod redis;\npub use redis::Keys;", &[]);
        broken("config/args.rs", "use super::redis::Other;", &[]);
    }

    #[test]
    fn finds_what_is_allowed_and_not_used() {
        let file = |path: &str, text: &str| (PathBuf::from(path), text.to_owned());
        let sources = [
            file("a.rs", "use crate::b::B; // crate::c"),
            file("b/mod.rs", "use tokio::time;"),
            file("c.rs", "use thiserror::Error;"),
        ];
        let crates = ["redis", "thiserror", "tokio"].map(String::from);
        let tables = Tables {
            rooms: &[("a", &["b", "c"]), ("b", &[]), ("c", &[]), ("d", &["a"])],
            pure: &["e"],
            harmless: &["thiserror"],
            homes: &[("tokio", &["a", "b"])],
        };
        let expected = [
            "a may import c, and does not",
            "c is pure: say so, so that it stays",
            "there is no room d",
            "d may import a, and does not",
            "there is no pure room e",
            "no pure room uses thiserror",
            "tokio is at home in a, which does not use it",
        ];
        assert_eq!(slack(&sources, &crates, &tables), expected);
    }

    #[test]
    fn keeps_clocks_in_one_file() {
        let text = "let now = tokio::time::Instant::now();";
        broken(
            "status.rs",
            text,
            &["src/status.rs:1: Instant::now: clocks are read in src/clock.rs only"],
        );
        broken("clock.rs", text, &[]);
    }
}
