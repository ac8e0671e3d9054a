//! Reads Redis' INFO.

use stage::Redis;

/// A field of INFO as a number.
#[must_use]
pub fn number(redis: &Redis, section: &str, name: &str) -> f64 {
    let info = redis.tell(&["INFO", section]);
    let found = info
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    found.and_then(|it| it.parse().ok()).unwrap_or(f64::NAN)
}

/// How often one command ran, and its total microseconds, since CONFIG RESETSTAT.
#[must_use]
pub fn calls(redis: &Redis, command: &str) -> (f64, f64) {
    let info = redis.tell(&["INFO", "commandstats"]);
    let name = format!("cmdstat_{command}:");
    let line = info.lines().find_map(|line| line.strip_prefix(&name));
    let part = |name: &str| {
        let mut parts = line?.split(',');
        parts.find_map(|it| it.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
    };
    (part("calls").unwrap_or(0.0), part("usec").unwrap_or(0.0))
}
