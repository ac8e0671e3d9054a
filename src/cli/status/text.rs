//! The snapshot for a person: on a terminal of any width, with colours where they are wanted.

use std::io::{IsTerminal, stdout};

use crate::status::{MemoryShown, RedisShown, Snapshot, TakeoverShown, clock_time, length};

/// The width of the names before the values.
const NAME_COLUMNS: usize = 10;
/// On a narrower terminal nothing is wrapped: a line would hold one word.
const MIN_COLUMNS: usize = 24;

/// One line: a name, and what stands behind it.
pub(super) struct Line {
    name: &'static str,
    value: String,
    colour: Option<Colour>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colour {
    Green,
    Yellow,
    Red,
}

/// What is printed on.
pub(super) struct Page {
    /// In columns; `None`: lines are as long as they like.
    width: Option<usize>,
    colours: bool,
}

impl Page {
    pub fn of_stdout() -> Self {
        let is_terminal = stdout().is_terminal();
        let size = rustix::termios::tcgetwinsize(stdout()).ok();
        let width = size.map(|it| usize::from(it.ws_col));
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        Self {
            width: width.filter(|it| is_terminal && *it >= MIN_COLUMNS),
            // https://no-color.org
            colours: is_terminal && set("NO_COLOR").is_none() && !is_dumb(),
        }
    }

    /// What is printed can be painted over.
    pub fn can_redraw() -> bool {
        stdout().is_terminal() && !is_dumb()
    }

    pub fn render(&self, lines: &[Line]) -> String {
        let rendered = lines.iter().map(|line| {
            let rows = match self.width {
                Some(width) => wrapped(&line.value, width - NAME_COLUMNS),
                None => vec![line.value.clone()],
            };
            let value = rows.join(&format!("\n{:NAME_COLUMNS$}", ""));
            format!(
                "{:NAME_COLUMNS$}{}",
                line.name,
                self.coloured(&value, line.colour)
            )
        });
        rendered.collect::<Vec<_>>().join("\n")
    }

    fn coloured(&self, text: &str, colour: Option<Colour>) -> String {
        let code = match colour.filter(|_| self.colours) {
            None => return text.to_owned(),
            Some(Colour::Green) => 32,
            Some(Colour::Yellow) => 33,
            Some(Colour::Red) => 31,
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|it| it == "dumb")
}

/// Broken between words; a longer word is broken within.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut rows = vec![String::new()];
    for word in text.split(' ') {
        let letters: Vec<char> = word.chars().collect();
        for piece in letters.chunks(width.max(1)) {
            let piece: String = piece.iter().collect();
            let row = rows.last().map_or(0, |it| it.chars().count());
            let fits = row + 1 + piece.chars().count() <= width;
            match rows.last_mut() {
                Some(row) if row.is_empty() => row.push_str(&piece),
                Some(row) if fits => {
                    row.push(' ');
                    row.push_str(&piece);
                }
                _ => rows.push(piece),
            }
        }
    }
    rows
}

/// Everything, in the order in which it is asked for at night.
pub(super) fn lines(snapshot: &Snapshot) -> Vec<Line> {
    let it = &snapshot.leadership;
    let leader = leader(snapshot);
    let colour = match (&it.leader_id, it.leader) {
        (None, _) => Colour::Red,
        (_, true) => Colour::Green,
        (_, false) => Colour::Yellow,
    };
    let plain = |name, value| Line {
        name,
        value,
        colour: None,
    };
    let mut lines = vec![
        Line {
            colour: Some(colour),
            ..plain("role", format!("{} ({})", it.role, it.reason))
        },
        plain("instance", it.instance_id.clone()),
        plain("leader", format!("{leader}{}", since(snapshot))),
    ];
    if it.leader {
        let token = it.fencing_token.unwrap_or_default();
        lines.push(plain("token", token.to_string()));
        lines.push(plain("lease", left(it.lease_remaining_seconds)));
        // Under `always` and `probe` there is one only while somebody asks for it.
        lines.push(plain("grant", left(it.valid_for_seconds)));
    } else if let Some(takeover) = &snapshot.takeover {
        let colour = (!takeover.ready).then_some(Colour::Red);
        lines.push(Line {
            colour,
            ..plain("takeover", takeover_line(takeover))
        });
    }
    if it.leader {
        lines.push(plain("next", next(snapshot)));
    }
    let is_well = snapshot.redis.writable == Some(true);
    lines.push(Line {
        colour: (!is_well).then_some(Colour::Red),
        ..plain("redis", redis_line(&snapshot.redis))
    });
    if !it.explanation.is_empty() {
        lines.push(plain("why", it.explanation.clone()));
    }
    lines
}

/// One line for each change, for a file or another program: nothing in it changes with the clock alone.
pub(super) fn summary(snapshot: &Snapshot) -> String {
    let it = &snapshot.leadership;
    let leader = leader(snapshot);
    let token = it
        .fencing_token
        .map_or_else(String::new, |token| format!(", token {token}"));
    let takeover = match &snapshot.takeover {
        Some(takeover) if !it.leader && takeover.ready => "; takeover ready".into(),
        Some(takeover) if !it.leader => format!("; takeover {}", takeover_line(takeover)),
        _ => String::new(),
    };
    format!(
        "{} ({}), leader {leader}{token}{takeover}; redis {}",
        it.role,
        it.reason,
        state(&snapshot.redis) + &memory(&snapshot.redis),
    )
}

fn leader(snapshot: &Snapshot) -> &str {
    let unseen = match snapshot.redis.reachable {
        Some(true) => "nobody",
        // Another instance may lead.
        Some(false) | None => "not known",
    };
    snapshot.leadership.leader_id.as_deref().unwrap_or(unseen)
}

/// Who could take over from this leader.
fn next(snapshot: &Snapshot) -> String {
    let others = snapshot.candidates.iter().filter(|it| !it.leads);
    let told = others.map(|it| {
        let state = if it.ready { "ready" } else { "NOT ready" };
        format!("{} ({state})", it.instance)
    });
    match told.collect::<Vec<_>>() {
        none if none.is_empty() => "no other candidate is known".into(),
        some => some.join(", "),
    }
}

fn since(snapshot: &Snapshot) -> String {
    let Some(since) = snapshot.leader_since else {
        return String::new();
    };
    let ago = length(snapshot.at - since);
    format!(", since {} ({ago} ago)", clock_time(since))
}

fn left(seconds: Option<f64>) -> String {
    match seconds.filter(|left| *left > 0.0) {
        Some(left) => format!("{left:.1} s left"),
        None => "none".into(),
    }
}

fn takeover_line(takeover: &TakeoverShown) -> String {
    if takeover.ready {
        let ago = length(takeover.rehearsed_seconds_ago.unwrap_or(0.0));
        return format!("ready, rehearsed {ago} ago");
    }
    let reason = takeover.reason.as_deref().unwrap_or_default();
    let error = takeover.error.as_deref().unwrap_or_default();
    format!("NOT ready ({reason}): {error}")
}

fn redis_line(redis: &RedisShown) -> String {
    let asked = redis.checked_seconds_ago.map_or_else(
        || "not asked yet".into(),
        |ago| format!("asked {} ago", length(ago)),
    );
    let engine = redis.memory.as_ref();
    let engine = engine.map_or_else(String::new, |it| format!("; {} {}", it.engine, it.version));
    // Out of memory says it all.
    let error = redis.error.as_ref().filter(|_| !redis.oom);
    let error = error.map_or_else(String::new, |it| format!(" ({it})"));
    format!("{}{error}; {asked}{engine}{}", state(redis), memory(redis))
}

fn state(redis: &RedisShown) -> String {
    let state = match (redis.reachable, redis.writable, redis.oom) {
        // Or it answers and lets nobody in: the reason above says which.
        (Some(false) | None, _, _) => "cannot be used",
        (_, _, true) => "refuses writes: out of memory",
        (_, Some(true), false) => "takes writes",
        (_, _, false) => "refuses writes",
    };
    state.into()
}

fn memory(redis: &RedisShown) -> String {
    let Some(memory) = &redis.memory else {
        return String::new();
    };
    let MemoryShown {
        used_memory_bytes: used,
        max_memory_bytes: max,
        maxmemory_policy: policy,
        ..
    } = memory;
    match max {
        0 => format!(", {:.1} MiB used, no limit", mib(*used)),
        max => format!(", {:.1} of {:.1} MiB used, {policy}", mib(*used), mib(*max)),
    }
}

#[allow(clippy::cast_precision_loss, reason = "shown with one digit")]
pub(super) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(width: Option<usize>, colours: bool) -> Page {
        Page { width, colours }
    }

    #[test]
    fn a_narrow_terminal_gets_narrow_lines() {
        let mut snapshot = Snapshot::default();
        snapshot.leadership.instance_id = "x".repeat(60);
        snapshot.leadership.explanation = "Nobody has led since then; to do: nothing".into();
        for width in MIN_COLUMNS..90 {
            let text = page(Some(width), false).render(&lines(&snapshot));
            assert!(
                text.lines().all(|it| it.chars().count() <= width),
                "{width}:\n{text}"
            );
            assert_eq!(text.matches('x').count(), 60);
        }
        let wide = page(None, false).render(&lines(&snapshot));
        assert!(wide.contains(&"x".repeat(60)), "{wide}");
    }

    #[test]
    fn a_redis_that_is_away_says_why_and_leaves_the_leader_open() {
        let mut snapshot = Snapshot::default();
        snapshot.redis.reachable = Some(false);
        snapshot.redis.error = Some("no answer within 2s".into());
        let text = page(None, false).render(&lines(&snapshot));
        assert!(text.contains("leader    not known"), "{text}");
        assert!(
            text.contains("cannot be used (no answer within 2s); "),
            "{text}"
        );
        assert!(summary(&snapshot).contains("leader not known;"));
        snapshot.redis.reachable = Some(true);
        let text = page(None, false).render(&lines(&snapshot));
        assert!(text.contains("leader    nobody"), "{text}");
    }

    #[test]
    fn colours_are_where_they_are_wanted() {
        let snapshot = Snapshot::default();
        assert!(
            page(None, true)
                .render(&lines(&snapshot))
                .contains("\x1b[31m")
        );
        assert!(!page(None, false).render(&lines(&snapshot)).contains('\x1b'));
    }
}
