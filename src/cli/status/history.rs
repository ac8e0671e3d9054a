//! The last hour, for a person.

use super::text::mib;
use crate::status::{HistoryShown, ReadingShown, TransitionShown, clock_time, length};

/// A hand-over takes milliseconds: what is shorter, in seconds, is told in them.
const SHORT: f64 = 0.1;

pub(super) fn render(history: &HistoryShown, now: f64) -> String {
    let mut lines: Vec<_> = history.transitions.iter().map(|it| row(it, now)).collect();
    lines.push(memory(&history.memory, now));
    lines.push(format!(
        "This agent started at {}: it knows of nothing before, since a restart loses its history.",
        clock_time(history.since)
    ));
    lines.join("\n")
}

fn row(it: &TransitionShown, now: f64) -> String {
    let lasted = precise(it.to.unwrap_or(now) - it.from);
    // Perhaps another led: an agent that does not reach Redis sees none.
    let leader = it.leader_id.as_ref();
    let leader = leader.map_or_else(|| "no leader seen".into(), |it| format!("{it} led"));
    let token = it.fencing_token;
    let token = token.map_or_else(String::new, |token| format!(", token {token}"));
    let gap = it.leaderless_seconds;
    let gap = gap.map_or_else(String::new, |gap| {
        format!(", after {} without a leader", precise(gap))
    });
    let so_far = if it.to.is_none() { " so far" } else { "" };
    format!(
        "{} ({} ago)  for {lasted}{so_far}: {leader}{token}{gap}; here {} ({})",
        clock_time(it.from),
        length(now - it.from),
        it.role,
        it.reason,
    )
}

fn precise(seconds: f64) -> String {
    match seconds * 1000.0 {
        ms if seconds >= SHORT || ms <= 0.0 => length(seconds),
        ms => format!("{ms:.1} ms"),
    }
}

fn memory(readings: &[ReadingShown], now: f64) -> String {
    let used = |it: &ReadingShown| it.used_memory_bytes;
    let fullest = readings.iter().max_by_key(|it| used(it));
    let Some((fullest, most)) = fullest.and_then(|it| Some((it, used(it)?))) else {
        return "Redis' memory has not been read yet.".into();
    };
    let ends = readings.iter().skip(1).map(|it| it.at).chain([now]);
    let spans = readings.iter().zip(ends).filter(|(it, _)| it.oom);
    let out: f64 = spans.map(|(it, end)| end - it.at).sum();
    let limit = match fullest.max_memory_bytes {
        None | Some(0) => "no limit".into(),
        Some(max) => format!("a limit of {:.1} MiB", mib(max)),
    };
    format!(
        "Redis used at most {:.1} MiB, under {limit}, at {}; out of memory for {} in all.",
        mib(most),
        clock_time(fullest.at),
        length(out)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_gap_is_told_in_milliseconds() {
        let told = [0.0, 0.000_84, 0.0023, 0.0951, 0.1, 3.2].map(precise);
        assert_eq!(
            told,
            ["0.0 s", "0.8 ms", "2.3 ms", "95.1 ms", "0.1 s", "3.2 s"]
        );
    }

    #[test]
    fn it_tells_clock_times_and_how_long_ago() {
        let history = HistoryShown {
            since: 1_000_000_000.0,
            transitions: vec![
                TransitionShown {
                    from: 1_000_000_000.0,
                    to: Some(1_000_000_003.2),
                    role: "standby".into(),
                    reason: "waiting_out_lease".into(),
                    ..TransitionShown::default()
                },
                TransitionShown {
                    from: 1_000_000_003.2,
                    leader_id: Some("a".into()),
                    role: "leader".into(),
                    reason: "elected".into(),
                    fencing_token: Some(7),
                    leaderless_seconds: Some(3.2),
                    ..TransitionShown::default()
                },
            ],
            memory: vec![
                ReadingShown {
                    at: 1_000_000_001.0,
                    used_memory_bytes: Some(3 << 20),
                    oom: true,
                    ..ReadingShown::default()
                },
                ReadingShown {
                    at: 1_000_000_011.0,
                    used_memory_bytes: Some(1 << 20),
                    ..ReadingShown::default()
                },
            ],
        };
        let told = render(&history, 1_000_000_250.0);
        let expected = "\
2001-09-09 01:46:40 UTC (4 m 10 s ago)  for 3.2 s: no leader seen; here standby (waiting_out_lease)
2001-09-09 01:46:43 UTC (4 m 6 s ago)  for 4 m 6 s so far: a led, token 7, after 3.2 s without a leader; here leader (elected)
Redis used at most 3.0 MiB, under no limit, at 2001-09-09 01:46:41 UTC; out of memory for 10.0 s in all.
This agent started at 2001-09-09 01:46:40 UTC: it knows of nothing before, since a restart loses its history.";
        assert_eq!(told, expected);
    }
}
