//! Which world to search, and the settings of its agents.

use std::fmt;
use std::time::Duration;

use understudy::election::{Election, LeaseRules, Liveness, Remembered, Settings};

use super::key::NONCE;
use super::safeguard::Safeguard;
use super::world::TTL;

const RENEW_EVERY: Duration = Duration::from_millis(300);
pub const MINER_TIMEOUT: Duration = Duration::from_millis(300);
const REDIS_TIMEOUT: Duration = Duration::from_millis(200);
/// How long a standby waits: TTL, 1 % and 100 ms.
pub const WAIT: Duration = Duration::from_millis(1110);
/// How far apart two looks may be at an empty store.
pub const SIGHT: Duration = Duration::from_millis(700);
/// How long a yes of `/leader` is good for: 1 % of the TTL and 200 ms.
pub const YES: Duration = Duration::from_millis(210);
/// A server with this uptime, in microseconds, is equivalent to one that has been up for ever.
pub const LONG_UP: i64 = 4_000_000;

/// Whether agents hear the events channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Events {
    None,
    /// Together with the write that they announce, unless a fault delays one.
    AtOnce,
    /// In any order with other messages in flight.
    AtAnyTime,
}

#[derive(Debug, Clone, Copy)]
pub struct Setting {
    pub agents: usize,
    pub faults: u32,
    pub liveness: Liveness,
    /// Whether pollers ask for a grant, and so have a deadline.
    pub extends: bool,
    pub events: Events,
    /// The rule that is switched off.
    pub without: Option<Safeguard>,
}

/// From the variables of `make explore`.
impl fmt::Display for Setting {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let liveness = match self.liveness {
            Liveness::Campaign => "campaign",
            Liveness::Probe => "probe",
            Liveness::Always => "always",
        };
        let events = match self.events {
            Events::None => "none",
            Events::AtOnce => "at-once",
            Events::AtAnyTime => "any-time",
        };
        let Self {
            agents,
            faults,
            extends,
            ..
        } = self;
        write!(
            out,
            "AGENTS={agents} FAULTS={faults} LIVENESS={liveness} EVENTS={events}"
        )?;
        if *extends {
            write!(out, " EXTENDS=1")?;
        }
        match self.without {
            Some(safeguard) => write!(out, " WITHOUT={safeguard:?}"),
            None => Ok(()),
        }
    }
}

/// Distinguishes the processes, as their random numbers would.
pub fn nonce(agent: usize, process: u32) -> u64 {
    NONCE | (agent as u64) << 32 | u64::from(process)
}

pub fn election(setting: &Setting, holder: &str, nonce: u64, remembered: Remembered) -> Election {
    let rules = LeaseRules::new(TTL, RENEW_EVERY, MINER_TIMEOUT, REDIS_TIMEOUT);
    let mut rules = rules.expect("safe rules");
    if setting.without == Some(Safeguard::Margin) {
        rules = rules.without_margin();
    }
    Election::new(Settings {
        holder: holder.into(),
        rules,
        liveness: setting.liveness,
        candidate: true,
        under_oom: true,
        allow_eviction: setting.without == Some(Safeguard::EvictionGuard),
        nonce,
        remembered,
        enrolment: None,
    })
}
