//! A modelled Redis: what the scripts do, on plain values. Its wall clock may jump, its data may be
//! lost or go back in time.

use std::time::Duration;

use understudy::election::{
    Answer, Command, LARGEST_TOKEN, Lock, Outcome, Record, RecordSeen, Refusal, Token, View,
};
use understudy::memory::MemoryReading;

/// The record's hash, with the field that the core compares and does not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub record: Record,
    pub deadline: u64,
}

/// What a snapshot would hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Data {
    /// Holder, and the wall-clock microsecond at which it expires.
    pub lock: Option<(String, u64)>,
    pub stored: Option<Stored>,
}

#[derive(Debug)]
pub struct Redis {
    pub data: Data,
    /// Microseconds that the wall clock is ahead of true time since 1970 (may change at any time).
    pub ahead: i64,
    pub generation: u64,
    /// Wall-clock microsecond of the last start.
    pub started: u64,
    pub out_of_memory: bool,
}

/// Someone who asks: an agent's holder id and TTL.
pub struct Caller<'a> {
    pub holder: &'a str,
    pub ttl: Duration,
}

const EPOCH: u64 = 1_700_000_000_000_000;

impl Redis {
    pub fn new(uptime: Duration) -> Self {
        Self {
            data: Data::default(),
            ahead: 0,
            generation: 1,
            started: EPOCH - uptime.as_micros() as u64,
            out_of_memory: false,
        }
    }

    /// The wall clock at true time `now` (nanoseconds).
    pub fn clock(&self, now: u64) -> u64 {
        (EPOCH + now / 1000).saturating_add_signed(self.ahead)
    }

    pub fn restart(&mut self, now: u64, data: Data) {
        self.generation += 1;
        self.started = self.clock(now);
        self.data = data;
    }

    /// Runs one command to its end, as the script does.
    pub fn execute(&mut self, caller: &Caller<'_>, command: &Command, now: u64) -> Answer {
        let clock = self.clock(now);
        if self
            .data
            .lock
            .as_ref()
            .is_some_and(|(_, expires)| *expires <= clock)
        {
            self.data.lock = None;
        }
        let outcome = self.run(caller, command, clock);
        Answer {
            outcome,
            view: self.view(clock),
        }
    }

    fn run(&mut self, caller: &Caller<'_>, command: &Command, clock: u64) -> Outcome {
        let holder = caller.holder;
        let lock = self.data.lock.as_ref().map(|(holder, _)| holder.as_str());
        let foreign = lock.is_some_and(|it| it != holder);
        let record = self.data.stored.as_ref().map(|stored| &stored.record);
        match command {
            Command::Look => Outcome::Looked,
            Command::Begin {
                judged,
                stale_lock,
                above,
                not_after,
                ..
            } => {
                if clock > *not_after {
                    return Outcome::Refused(Refusal::TooLate);
                }
                if *judged != self.judged() {
                    return Outcome::Refused(Refusal::Changed);
                }
                let stale = *stale_lock
                    && record.is_some_and(|it| Some(&*it.holder) == lock && !it.released);
                if foreign && !stale {
                    return Outcome::Refused(Refusal::Held);
                }
                let recorded = record.map_or(0, |record| record.token);
                let token = clock.max(above + 1).max(recorded + 1);
                self.write(caller, token, clock);
                Outcome::Begun(token)
            }
            Command::Renew { token, not_after } => {
                if clock > *not_after {
                    return Outcome::Refused(Refusal::TooLate);
                }
                if foreign {
                    return Outcome::Refused(Refusal::Held);
                }
                if let Some(it) = record {
                    let same = it.token == *token;
                    if it.token > *token || same && (it.holder != holder || it.released) {
                        return Outcome::Refused(Refusal::Superseded);
                    }
                }
                self.write(caller, *token, clock);
                Outcome::Renewed
            }
            Command::Release {
                token, not_after, ..
            } => {
                if clock > *not_after {
                    return Outcome::Refused(Refusal::TooLate);
                }
                let own = |it: &Record| it.holder == holder && it.token == *token && !it.released;
                if !record.is_some_and(own) {
                    return Outcome::Refused(Refusal::Superseded);
                }
                if !foreign {
                    self.data.lock = None;
                }
                if let Some(stored) = &mut self.data.stored {
                    stored.record.released = true;
                }
                Outcome::Released
            }
        }
    }

    fn write(&mut self, caller: &Caller<'_>, token: Token, clock: u64) {
        assert!(token <= LARGEST_TOKEN);
        let deadline = clock + caller.ttl.as_micros() as u64;
        self.data.lock = Some((caller.holder.to_owned(), deadline));
        let record = Record {
            holder: caller.holder.to_owned(),
            token,
            ttl: caller.ttl,
            released: false,
            generation: self.generation.to_string(),
        };
        self.data.stored = Some(Stored { record, deadline });
    }

    fn judged(&self) -> String {
        format!("{} {:?}", self.generation, self.data.stored)
    }

    fn view(&self, clock: u64) -> View {
        let max_bytes = if self.out_of_memory { 1 } else { 0 };
        View {
            lock: self.data.lock.as_ref().map(|(holder, expires)| Lock {
                holder: holder.clone(),
                remaining: Some(Duration::from_micros(expires.saturating_sub(clock))),
            }),
            record: match &self.data.stored {
                None => RecordSeen::Missing,
                Some(stored) => RecordSeen::Known(stored.record.clone()),
            },
            generation: self.generation.to_string(),
            judged: self.judged(),
            uptime: Duration::from_micros(clock.saturating_sub(self.started)),
            promoted: false,
            store_micros: clock,
            memory: MemoryReading {
                used_bytes: 2,
                max_bytes,
                not_counted_bytes: 0,
                policy: "noeviction".into(),
            },
        }
    }
}
