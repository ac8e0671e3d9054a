//! Everything that is shown of an agent, as of one moment: `/status`, `understudy status`, `/events` and the page all print
//! this. Times are seconds since 1970; lengths are seconds and run on from the moment of the snapshot.

use serde::{Deserialize, Serialize};

use super::{HistoryShown, Status};
use crate::election::{Liveness, Reason, Token};
use crate::time::Instant;

/// `default`: an agent of another version may leave things out.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Snapshot {
    #[serde(flatten)]
    pub leadership: LeadershipShown,
    /// When the snapshot was taken.
    pub at: f64,
    /// Since when this leader leads, or nobody does, as far as this agent has seen.
    pub leader_since: Option<f64>,
    /// Since when this agent has had its role and reason.
    pub reason_since: Option<f64>,
    /// The program's.
    pub version: String,
    pub revision: String,
    pub lock_key: String,
    pub miner_liveness: String,
    pub up_seconds: f64,
    pub stopping: bool,
    pub miner: MinerShown,
    /// Who could take over. A leader knows; elsewhere it is empty.
    pub candidates: Vec<CandidateShown>,
    pub hears_events: bool,
    pub oom_rung: String,
    pub elections: u64,
    pub consecutive_acquire_failures: u32,
    pub last_error: Option<String>,
    pub leaderless_seconds: f64,
    pub ready: bool,
    pub not_ready: Vec<String>,
    /// `None` until it was rehearsed.
    pub takeover: Option<TakeoverShown>,
    pub redis: RedisShown,
    /// The last hour, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<HistoryShown>,
}

/// What `/leader` says.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LeadershipShown {
    pub leader: bool,
    pub role: String,
    pub reason: String,
    /// Why nobody leads, or who does, in words for a person.
    pub explanation: String,
    /// The value of `--instance`.
    pub instance: String,
    pub instance_id: String,
    pub leader_id: Option<String>,
    pub fencing_token: Option<Token>,
    pub leadership_version: u64,
    /// What `since` of `/leader` takes.
    pub leadership_id: String,
    pub lease_remaining_seconds: Option<f64>,
    pub valid_for_seconds: Option<f64>,
    /// The grant belongs to the miner that campaigns: nobody else may act on `valid_for_seconds`.
    pub for_display_only: bool,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MinerShown {
    pub connected: bool,
    pub label: String,
}

/// As `understudy leader --json` names it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CandidateShown {
    pub instance: String,
    pub holder: String,
    pub leads: bool,
    pub ready: bool,
    pub version: String,
    pub started_at_seconds: u64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TakeoverShown {
    pub ready: bool,
    pub reason: Option<String>,
    pub error: Option<String>,
    pub rehearsed_seconds_ago: Option<f64>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RedisShown {
    /// `None` before the first check.
    pub reachable: Option<bool>,
    pub writable: Option<bool>,
    pub oom: bool,
    pub error: Option<String>,
    pub checked_seconds_ago: Option<f64>,
    pub write_refused_ratio: f64,
    #[serde(flatten)]
    pub memory: Option<MemoryShown>,
}

/// Absent until it was read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MemoryShown {
    pub engine: String,
    pub version: String,
    pub used_memory_bytes: u64,
    /// 0: no limit.
    pub max_memory_bytes: u64,
    /// -1 without a limit.
    pub usage_ratio: f64,
    pub maxmemory_policy: String,
}

impl Status {
    /// Everything but the history. `at`: `now`, in seconds since 1970.
    #[must_use]
    pub fn snapshot(&self, now: Instant, at: f64) -> Snapshot {
        let (election, identity) = (&self.election, &self.identity);
        let not_ready = self.not_ready(now);
        Snapshot {
            leadership: self.leadership_shown(now),
            at,
            leader_since: self.history.leader_since(),
            reason_since: self.history.reason_since(),
            version: crate::VERSION.into(),
            revision: crate::REVISION.into(),
            lock_key: identity.lock_key.clone(),
            miner_liveness: identity.liveness.name().into(),
            up_seconds: now.since(identity.started).as_secs_f64(),
            stopping: self.stopping,
            miner: MinerShown {
                connected: election.candidate,
                label: election.miner.clone(),
            },
            candidates: self.candidates_shown(),
            hears_events: election.hears,
            oom_rung: election.oom_rung.into(),
            elections: election.elections,
            consecutive_acquire_failures: election.consecutive_failures,
            last_error: election.last_error.as_ref().map(ToString::to_string),
            leaderless_seconds: election.leaderless.total(now).as_secs_f64(),
            ready: not_ready.is_empty(),
            not_ready: not_ready.into_iter().map(|it| it.name().into()).collect(),
            takeover: self.takeover_shown(now),
            redis: self.redis_shown(now),
            history: None,
        }
    }

    /// The snapshot with the last hour.
    #[must_use]
    pub fn snapshot_with_history(&self, now: Instant, at: f64) -> Snapshot {
        let since = self.identity.started_unix;
        Snapshot {
            history: Some(self.history.shown(since)),
            ..self.snapshot(now, at)
        }
    }

    #[must_use]
    pub fn leadership_shown(&self, now: Instant) -> LeadershipShown {
        let leadership = self.leadership(now);
        let left = |until: Option<Instant>| until.map(|until| until.since(now).as_secs_f64());
        LeadershipShown {
            leader: leadership.leads(),
            role: leadership.role.name().into(),
            reason: leadership.reason.name().into(),
            explanation: self.explanation(now).into_owned(),
            instance: self.identity.instance.clone(),
            instance_id: self.identity.holder.clone(),
            leadership_id: self.leadership_id(now),
            lease_remaining_seconds: left(leadership.lease_until),
            valid_for_seconds: left(leadership.valid_until),
            leader_id: leadership.leader.clone(),
            fencing_token: leadership.token,
            leadership_version: leadership.version,
            for_display_only: self.identity.liveness == Liveness::Campaign,
        }
    }

    fn candidates_shown(&self) -> Vec<CandidateShown> {
        let shown = self.election.candidates.iter().map(|listed| {
            let it = listed.member.clone();
            CandidateShown {
                leads: it.holder == self.identity.holder,
                instance: it.instance,
                holder: it.holder,
                ready: it.ready,
                version: it.version,
                started_at_seconds: it.started,
            }
        });
        let mut shown: Vec<_> = shown.collect();
        shown.sort_by(|one, other| one.instance.cmp(&other.instance));
        shown
    }

    fn takeover_shown(&self, now: Instant) -> Option<TakeoverShown> {
        let takeover = self.takeover(now)?;
        let fault = takeover.as_ref().err();
        let rehearsed = self.takeover.as_ref();
        Some(TakeoverShown {
            ready: takeover.is_ok(),
            reason: fault.map(|(reason, _)| Reason::name(*reason).into()),
            error: fault.map(|(_, error)| error.clone()),
            rehearsed_seconds_ago: rehearsed.map(|it| now.since(it.rehearsed_at).as_secs_f64()),
        })
    }

    fn redis_shown(&self, now: Instant) -> RedisShown {
        let redis = &self.redis;
        RedisShown {
            reachable: redis.reachable(),
            writable: redis.writable(),
            oom: redis.oom(),
            error: redis.error().map(ToString::to_string),
            checked_seconds_ago: redis.age(now).map(|age| age.as_secs_f64()),
            write_refused_ratio: redis.refused_ratio(now),
            memory: redis.memory().map(|memory| MemoryShown {
                engine: memory.engine.engine.clone(),
                version: memory.engine.version.clone(),
                used_memory_bytes: memory.reading.used_bytes,
                max_memory_bytes: memory.reading.max_bytes,
                usage_ratio: memory.reading.usage_ratio(),
                maxmemory_policy: memory.reading.policy.clone(),
            }),
        }
    }
}
