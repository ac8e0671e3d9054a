//! Times of day, for a person.

use std::time::{Duration, UNIX_EPOCH};

/// Unix time of the last second whose year has four digits.
const LAST_OF_YEAR_9999: Duration = Duration::from_secs(253_402_300_799);

/// Seconds since 1970 as a time of day with its zone: `2026-11-26 03:12:07 UTC`.
#[must_use]
pub fn clock_time(unix: f64) -> String {
    let since = Duration::try_from_secs_f64(unix).unwrap_or_default();
    let time = UNIX_EPOCH + since.min(LAST_OF_YEAR_9999);
    let text = humantime::format_rfc3339_seconds(time).to_string();
    text.replace('T', " ").replace('Z', " UTC")
}

/// How long something took or has lasted, in its two largest units: `12.3 s`, `4 m 10 s`, `2 h 5 m`.
#[must_use]
pub fn length(seconds: f64) -> String {
    if seconds < 60.0 {
        return format!("{:.1} s", seconds.max(0.0));
    }
    let whole = Duration::try_from_secs_f64(seconds)
        .unwrap_or_default()
        .as_secs();
    let (large, unit, small, next) = match whole {
        0..3600 => (whole / 60, "m", whole % 60, "s"),
        3600..86_400 => (whole / 3600, "h", whole % 3600 / 60, "m"),
        _ => (whole / 86_400, "d", whole % 86_400 / 3600, "h"),
    };
    format!("{large} {unit} {small} {next}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_with_their_zone_and_lengths_in_two_units() {
        assert_eq!(clock_time(1_000_000_000.9), "2001-09-09 01:46:40 UTC");
        for nonsense in [-1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(clock_time(nonsense), "1970-01-01 00:00:00 UTC");
        }
        assert_eq!(clock_time(1e12), "9999-12-31 23:59:59 UTC");
        let told = [0.26, 59.94, 250.0, 7500.0, 90_000.0].map(length);
        assert_eq!(told, ["0.3 s", "59.9 s", "4 m 10 s", "2 h 5 m", "1 d 1 h"]);
    }
}
