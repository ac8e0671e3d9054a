//! The rules, one by one, with plain values and a virtual clock. `tests/simulation` tries them all at once.

#![allow(clippy::unchecked_time_subtraction, reason = "constants")]

mod begin;
mod events;
mod failures;
mod hand_over;
mod last_yes;
mod restart;
mod standing_down;
mod term;

use std::time::Duration;

use super::*;
use crate::fault::{RedisFault, StoreError, StoreFault};
use crate::time::Instant;

const TTL: Duration = Duration::from_secs(30);
/// The margin of that TTL: 1 % and 100 ms.
const MARGIN: Duration = Duration::from_millis(400);
const MINER_TIMEOUT: Duration = Duration::from_secs(3);
const REDIS_TIMEOUT: Duration = Duration::from_secs(2);
const MS: Duration = Duration::from_millis(1);

/// Of an agent that tells nothing of itself.
const LOOK: Command = Command::Look { entry: None };

const START: Instant = Instant::from_nanos(1_000_000_000_000);

fn settings(redis_timeout: Duration) -> Settings {
    let rules = LeaseRules::new(TTL, Duration::from_secs(10), MINER_TIMEOUT, redis_timeout);
    Settings {
        holder: "me-1".into(),
        rules: rules.unwrap(),
        liveness: Liveness::Campaign,
        candidate: true,
        under_oom: true,
        allow_eviction: false,
        nonce: 7,
        remembered: Remembered::NOTHING,
        enrolment: None,
    }
}

/// One agent, its clock, and the store as its test says it is.
struct Stage {
    election: Election,
    now: Instant,
    view: View,
}

impl Stage {
    fn new() -> Self {
        Self::with(Liveness::Campaign, true)
    }

    fn with(liveness: Liveness, under_oom: bool) -> Self {
        Self::of(Settings {
            liveness,
            under_oom,
            ..settings(REDIS_TIMEOUT)
        })
    }

    fn of(settings: Settings) -> Self {
        let mut stage = Self {
            election: Election::new(settings),
            now: START,
            view: empty(),
        };
        stage.election.handle_hearing(true, stage.now);
        stage
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.election.handle_timeout(self.now);
    }

    /// Time passes in which the miner keeps beating and the store is looked at whenever that is due.
    fn watch(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now = self.now + Duration::from_millis(100).min(end.since(self.now));
            if let Some(campaign) = self.election.campaign() {
                self.election.handle_heartbeat(campaign, None, self.now);
            }
            if let Some(attempt) = self.election.next_command(self.now) {
                assert_eq!(attempt.command, LOOK);
                self.answer(&attempt, Outcome::Looked);
            }
        }
    }

    /// The command that is due now.
    fn next(&mut self) -> Attempt {
        self.election.next_command(self.now).expect("a command")
    }

    fn nothing(&mut self) {
        assert_eq!(self.election.next_command(self.now), None);
    }

    fn answer(&mut self, attempt: &Attempt, outcome: Outcome) {
        let reply = Ok(Answer {
            outcome,
            view: self.view.clone(),
        });
        self.election.handle_reply(attempt.id, reply, self.now);
    }

    fn fail(&mut self, attempt: &Attempt, error: StoreError) {
        self.election.handle_reply(attempt.id, Err(error), self.now);
    }

    fn look(&mut self) {
        let attempt = self.next();
        assert_eq!(attempt.command, LOOK);
        self.answer(&attempt, Outcome::Looked);
    }

    fn campaign(&mut self) -> CampaignId {
        self.election.handle_campaign(self.now).unwrap()
    }

    /// Begins a term, as soon as that is due.
    fn begin(&mut self, token: Token) -> Attempt {
        let attempt = self.next();
        assert!(
            matches!(attempt.command, Command::Begin { .. }),
            "{attempt:?}"
        );
        self.view = written("me-1", token, false);
        self.answer(&attempt, Outcome::Begun(token));
        attempt
    }

    /// An agent that leads for a miner.
    fn leading() -> (Self, CampaignId) {
        let mut stage = Self::new();
        let campaign = stage.campaign();
        stage.look();
        stage.begin(100);
        assert!(stage.election.leadership().leads());
        (stage, campaign)
    }

    fn says(&self) -> (Role, Reason) {
        let leadership = self.election.leadership().at(self.now);
        (leadership.role, leadership.reason)
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.election.poll_event()).collect()
    }

    fn must_release(&mut self, token: Token) -> Attempt {
        let attempt = self.next();
        let release = matches!(attempt.command, Command::Release { token: it, .. } if it == token);
        assert!(release, "{attempt:?}");
        attempt
    }
}

fn empty() -> View {
    View {
        lock: None,
        record: RecordSeen::Missing,
        generation: "g".into(),
        judged: "g empty".into(),
        uptime: Duration::from_secs(1000),
        promoted: false,
        store_micros: 1_700_000_000_000_000,
        memory: None,
        members: Vec::new(),
    }
}

/// A store in which `holder` has led; it holds the lock unless it released it.
fn written(holder: &str, token: Token, released: bool) -> View {
    let record = Record {
        holder: holder.into(),
        token,
        ttl: TTL,
        released,
        generation: "g".into(),
        successor: String::new(),
    };
    View {
        lock: (!released).then(|| lock(holder)),
        judged: format!("g {record:?}"),
        record: RecordSeen::Known(record),
        ..empty()
    }
}

/// A renewal of which nothing was seen yet is announced.
fn told() -> Announcement {
    announced(Happened::Renewed, "other-1", 50)
}

fn announced(happened: Happened, holder: &str, token: Token) -> Announcement {
    Announcement {
        happened,
        holder: holder.into(),
        token,
        basis: None,
    }
}

/// The release with which this view came about, and what it tells.
fn released(view: &View) -> Announcement {
    let record = view.record.known().expect("a record");
    Announcement {
        happened: Happened::Released,
        holder: record.holder.clone(),
        token: record.token,
        basis: Some(Basis {
            judged: view.judged.clone(),
            generation: view.generation.clone(),
            record: record.clone(),
        }),
    }
}

fn lock(holder: &str) -> Lock {
    Lock {
        holder: holder.into(),
        remaining: Some(TTL),
    }
}

fn error(message: &str) -> StoreError {
    StoreError::new(message)
}
