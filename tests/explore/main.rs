//! Exhaustive search of small worlds: the pure core and the modelled Redis through every interleaving. For a violation it
//! prints the path, as the simulation does, and the command that replays it. `make explore`

mod agent;
#[path = "../simulation/announced.rs"]
mod announced;
#[path = "../simulation/carried_out.rs"]
mod carried_out;
mod checks;
mod faults;
mod futures;
mod key;
#[path = "../simulation/members.rs"]
mod members;
#[allow(dead_code, reason = "the simulation uses more of it")]
#[path = "../simulation/redis.rs"]
mod redis;
#[allow(dead_code, reason = "the simulation uses more of it")]
#[path = "../simulation/safeguard.rs"]
mod safeguard;
mod search;
mod setting;
#[allow(dead_code, reason = "the simulation uses more of it")]
#[path = "../simulation/shown.rs"]
mod shown;
mod state;
mod steps;
mod wire;
mod world;

use std::time::Duration;

use understudy::election::Liveness;

use safeguard::Safeguard;
use search::{Bounds, Found, search};
use setting::{Events, Setting};

/// Two agents, one fault.
const SMALL: Setting = Setting {
    agents: 2,
    faults: 1,
    liveness: Liveness::Campaign,
    extends: false,
    events: Events::None,
    without: None,
};

/// Searches a world, and prints the result.
fn explore(setting: Setting, bounds: Bounds) -> Found {
    let found = search(setting, bounds);
    println!("{setting}: {found}");
    if let Some((what, path)) = &found.violation {
        let (_, story) = search::replay(setting, path);
        println!(
            "{story}{what}\nmake explore {setting} STEPS={}",
            search::shown(path)
        );
    }
    found
}

/// A quarter of an hour is for ever.
const TO_THE_END: Bounds = Bounds {
    megabytes: 4000,
    time: Duration::from_secs(900),
};

#[test]
fn two_agents_and_one_fault_hold() {
    let with_events = Setting {
        events: Events::AtOnce,
        ..SMALL
    };
    let probe = Setting {
        liveness: Liveness::Probe,
        ..SMALL
    };
    let always = Setting {
        liveness: Liveness::Always,
        extends: true,
        ..SMALL
    };
    for setting in [SMALL, with_events, probe, always] {
        let found = explore(setting, TO_THE_END);
        assert!(
            found.closed && found.violation.is_none(),
            "{setting}: {found}"
        );
        // A lease, what is waited after it, and two seconds.
        assert!(
            found.recovery.is_some_and(|ticks| ticks <= 31),
            "{setting}: {found}"
        );
    }
}

/// The state key leaves things out. This checks every way into every state.
fn compare_futures(setting: Setting) {
    match futures::compare(setting) {
        Ok(ways) => println!("{setting}: {ways} ways into known states, all with the same futures"),
        Err(world) => panic!(
            "it has another future than a state with its key:\n{}",
            world.told()
        ),
    }
}

#[test]
fn states_with_one_key_have_the_same_futures() {
    let undisturbed = Setting {
        faults: 0,
        events: Events::AtAnyTime,
        ..SMALL
    };
    for setting in [SMALL, undisturbed] {
        compare_futures(setting);
    }
}

/// The safeguards whose need a single fault shows.
const NEEDED: [Safeguard; 10] = [
    Safeguard::Record,
    Safeguard::OwnClockWait,
    Safeguard::Generation,
    Safeguard::Grants,
    Safeguard::DroppedStream,
    Safeguard::CompareAndSet,
    Safeguard::NotAfter,
    Safeguard::ForeignLock,
    Safeguard::QuietRestart,
    Safeguard::WriterAndNumber,
];

#[test]
fn a_missing_safeguard_is_found() {
    for safeguard in NEEDED {
        let setting = Setting {
            without: Some(safeguard),
            ..SMALL
        };
        let found = search(setting, TO_THE_END);
        println!("{setting}: {found}");
        assert!(found.violation.is_some(), "{setting}: {found}");
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
#[ignore = "make explore AGENTS=2 FAULTS=2 MINUTES=10 MEMORY=4000 LIVENESS=… EVENTS=… WITHOUT=… STEPS=…"]
fn explores() {
    let word = |name: &str| std::env::var(name).unwrap_or_default();
    let without = word("WITHOUT");
    let setting = Setting {
        agents: number("AGENTS").unwrap_or(2) as usize,
        faults: number("FAULTS").unwrap_or(1) as u32,
        liveness: match word("LIVENESS").as_str() {
            "probe" => Liveness::Probe,
            "always" => Liveness::Always,
            _ => Liveness::Campaign,
        },
        extends: number("EXTENDS") == Some(1),
        events: match word("EVENTS").as_str() {
            "at-once" => Events::AtOnce,
            "any-time" => Events::AtAnyTime,
            _ => Events::None,
        },
        without: Safeguard::ALL
            .into_iter()
            .find(|it| format!("{it:?}") == without),
    };
    if let Ok(steps) = std::env::var("STEPS").as_ref().map(|it| it.trim())
        && !steps.is_empty()
    {
        let (violated, story) = search::replay(setting, &search::read(steps));
        println!("{story}{violated:?}");
        return;
    }
    if number("FUTURES") == Some(1) {
        return compare_futures(setting);
    }
    let bounds = Bounds {
        megabytes: number("MEMORY").unwrap_or(4000),
        time: Duration::from_secs(60 * number("MINUTES").unwrap_or(10)),
    };
    explore(setting, bounds);
}
