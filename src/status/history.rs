//! The last hour as this agent saw it: who held the lock, and how full Redis was. Two rings of at most 64 KiB together,
//! kept in memory alone: a restart loses them.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::election::{Leadership, Reason, Role, Token};

/// How far back it goes, in seconds.
const KEPT_SECONDS: f64 = 3600.0;
// Powers of two, as rings grow.
const MAX_TRANSITIONS: usize = 256;
const MAX_READINGS: usize = 512;
/// The interval of readings, in seconds, unless Redis' health changes: an hour of them fits.
const READING_EVERY: f64 = 7.5;
/// How much of a holder's id to keep: another program may write anything there.
const LEADER_BYTES: usize = 80;

/// What was seen, oldest first.
#[derive(Debug, Clone, Default)]
pub struct History {
    transitions: VecDeque<Transition>,
    readings: VecDeque<Reading>,
    /// When the present leader was first seen, or that there is none.
    leader_since: Option<f64>,
    /// The greatest token known when the leader last changed; 0: none yet.
    known_token: Token,
}

/// The state from one moment on.
#[derive(Debug, Clone, PartialEq)]
struct Transition {
    /// Seconds since 1970.
    at: f64,
    leader: Option<Box<str>>,
    role: Role,
    reason: Reason,
    token: Option<Token>,
}

/// One reading of Redis' health and memory.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// Seconds since 1970.
    pub at: f64,
    /// Used and maximal, in bytes. `None`: never read.
    pub memory: Option<(u64, u64)>,
    pub reachable: bool,
    pub writable: bool,
    pub oom: bool,
}

/// The history as it is shown. All times are seconds since 1970.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct HistoryShown {
    /// When this agent started. It knows of nothing before.
    pub since: f64,
    pub transitions: Vec<TransitionShown>,
    pub memory: Vec<ReadingShown>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TransitionShown {
    pub from: f64,
    /// `None` if it still lasts.
    pub to: Option<f64>,
    /// `None`: none was seen.
    pub leader_id: Option<String>,
    /// This agent's own role and reason.
    pub role: String,
    pub reason: String,
    pub fencing_token: Option<Token>,
    /// How long there was no leader before this one, if there was none.
    pub leaderless_seconds: Option<f64>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ReadingShown {
    pub at: f64,
    pub used_memory_bytes: Option<u64>,
    pub max_memory_bytes: Option<u64>,
    pub reachable: bool,
    pub writable: bool,
    pub oom: bool,
}

impl History {
    /// Keeps what is new in it, and tells whether anything was. `highest_token`: the greatest that this agent knows of.
    /// `at`: now, in seconds since 1970.
    pub fn note(&mut self, leadership: &Leadership, highest_token: Token, at: f64) -> bool {
        let leader = leadership.leader.as_deref().map(shortened);
        let last = self.transitions.back();
        let same_leader = last.is_some_and(|it| it.leader.as_deref() == leader);
        if !same_leader {
            self.leader_since = Some(at);
        }
        let token = if same_leader {
            last.and_then(|it| it.token).or(leadership.token)
        } else {
            // A new record came with this leader: its own. The first one seen may be older, since a Go miner writes none.
            let is_new = self.known_token > 0 && self.known_token < highest_token;
            let foreign = leader.filter(|_| is_new).map(|_| highest_token);
            leadership.token.or(foreign)
        };
        if !same_leader || leadership.leads() {
            self.known_token = highest_token;
        }
        let (role, reason) = (leadership.role, leadership.reason);
        let token = leadership.token.or(token);
        let is_new = !same_leader
            || last.is_none_or(|it| (it.role, it.reason, it.token) != (role, reason, token));
        if is_new {
            let next = Transition {
                at,
                leader: leader.map(Into::into),
                role,
                reason,
                token,
            };
            push(&mut self.transitions, next, MAX_TRANSITIONS);
            // A state that began long ago may still last.
            while self
                .transitions
                .get(1)
                .is_some_and(|it| it.at < at - KEPT_SECONDS)
            {
                self.transitions.pop_front();
            }
        }
        is_new
    }

    /// Keeps a reading, unless it is like one a moment ago.
    pub fn read(&mut self, reading: Reading) {
        let health = |it: &Reading| (it.reachable, it.writable, it.oom, it.memory.is_some());
        let is_new = self.readings.back().is_none_or(|last| {
            // Either way: the host's clock may be set.
            health(last) != health(&reading) || (reading.at - last.at).abs() >= READING_EVERY
        });
        if is_new {
            push(&mut self.readings, reading, MAX_READINGS);
            let oldest = reading.at - KEPT_SECONDS;
            while self.readings.front().is_some_and(|it| it.at < oldest) {
                self.readings.pop_front();
            }
        }
    }

    #[must_use]
    pub fn leader_since(&self) -> Option<f64> {
        self.leader_since
    }

    /// When the present role and reason began.
    #[must_use]
    pub fn reason_since(&self) -> Option<f64> {
        self.transitions.back().map(|it| it.at)
    }

    /// `since`: when this agent started.
    #[must_use]
    pub fn shown(&self, since: f64) -> HistoryShown {
        let mut leaderless_from = None;
        let ends = self.transitions.iter().skip(1).map(|it| Some(it.at));
        let pairs = self.transitions.iter().zip(ends.chain([None]));
        let transitions = pairs.map(|(it, to)| {
            let leaderless_seconds = if it.leader.is_some() {
                leaderless_from
                    .take()
                    .map(|from| f64::max(it.at - from, 0.0))
            } else {
                leaderless_from.get_or_insert(it.at);
                None
            };
            TransitionShown {
                from: it.at,
                to,
                leader_id: it.leader.as_deref().map(Into::into),
                role: it.role.name().into(),
                reason: it.reason.name().into(),
                fencing_token: it.token,
                leaderless_seconds,
            }
        });
        HistoryShown {
            since,
            transitions: transitions.collect(),
            memory: self.readings.iter().map(ReadingShown::from).collect(),
        }
    }
}

impl From<&Reading> for ReadingShown {
    fn from(it: &Reading) -> Self {
        Self {
            at: it.at,
            used_memory_bytes: it.memory.map(|(used, _)| used),
            max_memory_bytes: it.memory.map(|(_, max)| max),
            reachable: it.reachable,
            writable: it.writable,
            oom: it.oom,
        }
    }
}

/// Makes room for it first, so that the ring never grows beyond `most`.
fn push<T>(ring: &mut VecDeque<T>, next: T, most: usize) {
    if ring.len() >= most {
        ring.pop_front();
    }
    ring.push_back(next);
}

fn shortened(leader: &str) -> &str {
    let mut end = leader.len().min(LEADER_BYTES);
    while !leader.is_char_boundary(end) {
        end -= 1;
    }
    leader.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(leader: Option<&str>, reason: Reason) -> Leadership {
        let mut seen = Leadership::starting();
        (seen.role, seen.reason) = (Role::Standby, reason);
        seen.leader = leader.map(Into::into);
        seen
    }

    #[test]
    fn it_tells_who_led_from_when_to_when_and_how_long_nobody_did() {
        let mut history = History::default();
        history.note(&seen(None, Reason::Starting), 0, 100.0);
        history.note(&seen(Some("a"), Reason::HeldByOther), 7, 101.0);
        history.note(&seen(Some("a"), Reason::HeldByOther), 7, 105.0);
        history.note(&seen(None, Reason::WaitingOutLease), 7, 110.0);
        assert_eq!(history.leader_since(), Some(110.0));
        history.note(&seen(None, Reason::StoreSettling), 7, 112.0);
        assert_eq!(history.leader_since(), Some(110.0));
        assert_eq!(history.reason_since(), Some(112.0));
        history.note(&seen(Some("b"), Reason::HeldByOther), 8, 114.0);
        history.note(&seen(Some("go-1"), Reason::HeldByOther), 8, 120.0);
        let shown = history.shown(100.0);
        let told = shown.transitions.iter().map(|it| {
            (
                it.from,
                it.to,
                it.leader_id.as_deref(),
                it.fencing_token,
                it.leaderless_seconds,
            )
        });
        let expected = [
            (100.0, Some(101.0), None, None, None),
            (101.0, Some(110.0), Some("a"), None, Some(1.0)),
            (110.0, Some(112.0), None, None, None),
            (112.0, Some(114.0), None, None, None),
            (114.0, Some(120.0), Some("b"), Some(8), Some(4.0)),
            (120.0, None, Some("go-1"), None, None),
        ];
        assert_eq!(told.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn it_keeps_an_hour_and_what_has_lasted_longer() {
        let mut history = History::default();
        history.note(&seen(Some("a"), Reason::HeldByOther), 1, 0.0);
        history.note(&seen(None, Reason::WaitingOutLease), 1, 9000.0);
        history.note(&seen(Some("b"), Reason::HeldByOther), 2, 9001.0);
        assert_eq!(history.transitions.len(), 3);
        history.note(&seen(None, Reason::WaitingOutLease), 2, 99_000.0);
        assert_eq!(history.transitions.len(), 2, "{history:?}");
    }

    #[test]
    fn readings_are_thinned_unless_health_turns() {
        let mut history = History::default();
        let mut read = |at: f64, oom: bool| {
            history.read(Reading {
                at,
                memory: Some((1, 2)),
                reachable: true,
                writable: !oom,
                oom,
            });
            history.readings.len()
        };
        assert_eq!(
            [read(0.0, false), read(1.0, false), read(2.0, true)],
            [1, 1, 2]
        );
        assert_eq!([read(9.0, true), read(9.6, true)], [2, 3]);
        assert_eq!(read(3601.0, true), 3, "the first is older than an hour");
        let set_back = [read(2000.0, true), read(2001.0, true), read(2008.0, true)];
        assert_eq!(set_back, [4, 4, 5], "the host's clock was set back");
    }

    #[test]
    fn nobody_leads_for_less_than_no_time() {
        let mut history = History::default();
        history.note(&seen(Some("a"), Reason::HeldByOther), 1, 100.0);
        history.note(&seen(None, Reason::WaitingOutLease), 1, 110.0);
        // The host's clock was set back meanwhile.
        history.note(&seen(Some("b"), Reason::HeldByOther), 2, 50.0);
        let shown = history.shown(0.0);
        assert_eq!(shown.transitions[2].leaderless_seconds, Some(0.0));
    }

    #[test]
    fn it_never_takes_more_than_64_kib() {
        let mut history = History::default();
        let long = "x".repeat(1000);
        for at in 0..10_000_u32 {
            let at = f64::from(at) / 10.0;
            let leader = format!("{at:06.1}{long}");
            history.note(&seen(Some(&leader), Reason::HeldByOther), 1, at);
            history.read(Reading {
                at,
                memory: Some((1, 2)),
                reachable: true,
                writable: true,
                oom: at % 0.2 < 0.1,
            });
        }
        // Sixteen bytes are the allocator's.
        let transition = size_of::<Transition>() + LEADER_BYTES + 16;
        let rings = history.transitions.capacity() * size_of::<Transition>()
            + history.transitions.len() * (transition - size_of::<Transition>())
            + history.readings.capacity() * size_of::<Reading>();
        assert!(
            history.transitions.len() == MAX_TRANSITIONS && history.readings.len() == MAX_READINGS
        );
        assert!(rings <= 64 * 1024, "{rings} bytes");
        assert!(history.transitions.iter().all(|it| {
            it.leader
                .as_ref()
                .is_some_and(|it| it.len() == LEADER_BYTES)
        }));
    }
}
