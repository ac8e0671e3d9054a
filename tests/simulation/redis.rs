//! A modelled Redis: what the scripts do, on plain values. Its wall clock may jump, stand still or be coarse; its
//! data may be lost or go back in time. `tests/processes/conformance.rs` compares it with real ones.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use understudy::election::{
    Answer, Claimant, Command, LARGEST_TOKEN, Outcome, Record, Refusal, Reply, Stamp, Token,
};
use understudy::fault::StoreError;

use super::safeguard::Safeguard;

/// The record's hash, with the fields that the core compares and does not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub record: Record,
    pub deadline: u64,
    pub stamp: Stamp,
}

/// Every field, as one text that equals no other record's. A letter before each number names its field.
impl fmt::Display for Stored {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            record,
            deadline,
            stamp: Stamp { process, attempt },
        } = self;
        let Record {
            holder,
            token,
            ttl,
            released,
            generation,
            successor,
        } = record;
        write!(
            out,
            "{holder} t{token} d{deadline} p{process} n{attempt} {} {released} {generation} {successor}",
            ttl.as_millis()
        )
    }
}

/// The data that a snapshot holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Data {
    /// Holder, and the wall-clock microsecond at which it expires.
    pub lock: Option<(String, u64)>,
    pub stored: Option<Stored>,
    /// A key of another type has the lock's name.
    pub another_type: bool,
}

/// The state of the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Memory {
    Enough,
    /// Out of memory, without eviction.
    Full,
    /// Out of memory, and Redis evicts keys: those with a TTL, or all.
    Evicting {
        all: bool,
    },
}

#[derive(Debug, Clone)]
pub struct Redis {
    pub data: Data,
    /// How far the wall clock is ahead of true time since 1970, in microseconds (may change at any time).
    pub ahead: i64,
    /// The wall clock stands still, and shows this.
    pub stands: Option<u64>,
    /// The wall clock steps by this many microseconds.
    pub grid: u64,
    pub generation: u64,
    /// Wall-clock microsecond of the last start.
    pub started: u64,
    /// It was a replica before.
    pub promoted: bool,
    pub memory: Memory,
    /// The members by holder id, as in the hash. Not part of what is judged.
    pub members: BTreeMap<String, String>,
    /// The error that it returns for every write.
    pub refuses: Option<&'static str>,
    /// The rule that is switched off.
    pub without: Option<Safeguard>,
    /// The greatest token that was ever written, for a store without a record.
    pub greatest: Token,
}

const EPOCH: u64 = 1_700_000_000_000_000;
const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";
const OOM: &str = "OOM command not allowed when used memory > 'maxmemory'.";

impl Redis {
    pub fn new(uptime: Duration) -> Self {
        Self {
            data: Data::default(),
            ahead: 0,
            stands: None,
            grid: 1,
            generation: 1,
            started: EPOCH - uptime.as_micros() as u64,
            promoted: false,
            memory: Memory::Enough,
            members: BTreeMap::new(),
            refuses: None,
            without: None,
            greatest: 0,
        }
    }

    /// The wall clock at true time `now` (nanoseconds).
    pub fn clock(&self, now: u64) -> u64 {
        let runs = (EPOCH + now / 1000).saturating_add_signed(self.ahead);
        self.stands.unwrap_or(runs - runs % self.grid)
    }

    /// Sets the wall clock.
    pub fn set_clock(&mut self, now: u64, shown: u64) {
        self.stands = None;
        self.ahead = shown as i64 - (EPOCH + now / 1000) as i64;
    }

    pub fn restart(&mut self, now: u64, data: Data) {
        self.generation += 1;
        self.started = self.clock(now);
        self.promoted = false;
        self.data = data;
    }

    /// A replica with `data` takes over, on a host whose clock is `ahead`. It has been up for a day.
    pub fn promote(&mut self, now: u64, data: Data, ahead: i64) {
        self.ahead = ahead;
        self.stands = None;
        self.generation += 1;
        self.started = self.clock(now).saturating_sub(86_400_000_000);
        self.promoted = true;
        self.data = data;
    }

    /// It may throw keys away.
    pub fn evicting(&self) -> bool {
        matches!(self.memory, Memory::Evicting { .. })
    }

    /// Throws away what its policy allows.
    pub fn evict(&mut self) {
        if let Memory::Evicting { all } = self.memory {
            self.data.lock = None;
            if all {
                self.data.stored = None;
            }
        }
    }

    pub fn expire(&mut self, now: u64) {
        let clock = self.clock(now);
        self.data.lock.take_if(|(_, expires)| *expires <= clock);
    }

    /// Runs one command to its end, as the script does.
    pub fn execute(&mut self, command: &Command, now: u64) -> Reply {
        self.expire(now);
        // A replica does not even show its data.
        if let Some(why) = self.refuses.filter(|why| why.starts_with("READONLY")) {
            return Err(StoreError::new(why));
        }
        if self.data.another_type {
            return Err(StoreError::new(WRONG_TYPE));
        }
        let clock = self.clock(now);
        let outcome = self.run(command, clock).map_err(StoreError::new)?;
        let members = self.keep_members(command, outcome, clock);
        let mut view = self.view(clock);
        view.members = members;
        // A begin that was not refused before reads it.
        let read = matches!(
            outcome,
            Outcome::Begun(_) | Outcome::Refused(Refusal::Evicting)
        );
        view.memory.take_if(|_| !read);
        Ok(Answer { outcome, view })
    }

    pub fn checks(&self, safeguard: Safeguard) -> bool {
        self.without != Some(safeguard)
    }

    fn run(&mut self, command: &Command, clock: u64) -> Result<Outcome, &'static str> {
        let refused = |why| Ok(Outcome::Refused(why));
        let by = match command {
            Command::Look { .. } => return Ok(Outcome::Looked),
            Command::Begin { by, .. } | Command::Renew { by, .. } | Command::Release { by, .. } => {
                by
            }
        };
        let (holder, stamp) = (&*by.holder, &by.stamp);
        let lock = self.data.lock.as_ref().map(|(holder, _)| holder.as_str());
        let foreign = lock.is_some_and(|it| it != holder) && self.checks(Safeguard::ForeignLock);
        let record = self.data.stored.as_ref().map(|stored| &stored.record);
        let too_late = |not_after: u64| self.checks(Safeguard::NotAfter) && clock > not_after;
        match command {
            Command::Look { .. } => Ok(Outcome::Looked),
            Command::Begin {
                judged,
                stale_lock,
                above,
                not_after,
                under_oom,
                allow_eviction,
                ..
            } => {
                if too_late(*not_after) {
                    return refused(Refusal::TooLate);
                }
                if self.checks(Safeguard::CompareAndSet) && *judged != self.judged() {
                    return refused(Refusal::Changed);
                }
                let stale = *stale_lock
                    && record.is_some_and(|it| Some(&*it.holder) == lock && !it.released);
                if foreign && !stale {
                    return refused(Refusal::Held);
                }
                if self.evicting() && !allow_eviction {
                    return refused(Refusal::Evicting);
                }
                let mut token = record.map_or(0, |record| record.token) + 1;
                if self.checks(Safeguard::TokenAboveTime) {
                    token = token.max(clock);
                }
                if self.checks(Safeguard::TokenAboveHighest) {
                    token = token.max(above + 1);
                }
                self.write(by, token, clock, *under_oom)?;
                Ok(Outcome::Begun(token))
            }
            Command::Renew {
                token,
                kept,
                not_after,
                ..
            } => {
                if too_late(*not_after) {
                    return refused(Refusal::TooLate);
                }
                if foreign {
                    return refused(Refusal::Held);
                }
                let as_kept = |kept: &String| lock == Some(holder) && *kept == self.judged();
                if !kept.as_ref().is_none_or(as_kept) {
                    return refused(Refusal::Changed);
                }
                if self.checks(Safeguard::Record)
                    && let Some(it) = record
                {
                    let same = it.token == *token;
                    if it.token > *token || same && (it.holder != holder || it.released) {
                        return refused(Refusal::Superseded);
                    }
                }
                self.write(by, *token, clock, true)?;
                Ok(Outcome::Renewed)
            }
            Command::Release {
                token,
                not_after,
                successor,
                ..
            } => {
                if too_late(*not_after) {
                    return refused(Refusal::TooLate);
                }
                let strict = self.checks(Safeguard::ReleaseCheck);
                let own = |it: &Record| {
                    it.holder == holder && (!strict || it.token == *token && !it.released)
                };
                if !record.is_some_and(own) {
                    return refused(Refusal::Superseded);
                }
                if let Some(why) = self.refuses {
                    return Err(why);
                }
                if !foreign {
                    self.data.lock = None;
                }
                let successor = self.successor(holder, successor, clock);
                if let Some(stored) = &mut self.data.stored {
                    stored.record.released = true;
                    stored.record.successor = successor;
                    stored.stamp = *stamp;
                }
                Ok(Outcome::Released)
            }
        }
    }

    fn write(
        &mut self,
        by: &Claimant,
        token: Token,
        clock: u64,
        under_oom: bool,
    ) -> Result<(), &'static str> {
        if let Some(why) = self.refuses {
            return Err(why);
        }
        if self.memory == Memory::Full && !under_oom {
            return Err(OOM);
        }
        assert!(token <= LARGEST_TOKEN);
        self.greatest = self.greatest.max(token);
        let deadline = clock + by.ttl.as_micros() as u64;
        self.data.lock = Some((by.holder.clone(), deadline));
        let record = Record {
            holder: by.holder.clone(),
            token,
            ttl: by.ttl,
            released: false,
            generation: self.shown_generation(),
            successor: String::new(),
        };
        self.data.stored = Some(Stored {
            record,
            deadline,
            stamp: by.stamp,
        });
        Ok(())
    }
}
