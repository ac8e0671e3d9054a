//! What the modelled Redis shows of itself.

use std::time::Duration;

use understudy::election::{Lock, Record, RecordSeen, Stamp, View};
use understudy::health::MemoryReading;

use super::redis::{Memory, Redis};
use super::safeguard::Safeguard;

/// In place of those that are not judged.
const NO_STAMP: Stamp = Stamp {
    process: 0,
    attempt: 0,
};
/// Shorter than any that an agent has.
const SHORT: Duration = Duration::from_millis(1);

impl Redis {
    /// The record was written in the generation that is shown now.
    pub fn believes_record(&self) -> bool {
        let record = self.data.stored.as_ref().map(|it| &it.record);
        record.is_none_or(|it| it.generation == self.shown_generation())
    }

    pub fn shown_generation(&self) -> String {
        let shown = self.checks(Safeguard::Generation);
        if shown { self.generation } else { 1 }.to_string()
    }

    /// Generation and record as one text.
    pub fn judged(&self) -> String {
        let mut stored = self.data.stored.clone();
        if let Some(stored) = stored
            .as_mut()
            .filter(|_| !self.checks(Safeguard::WriterAndNumber))
        {
            stored.stamp = NO_STAMP;
        }
        let generation = self.shown_generation();
        match stored {
            Some(stored) => format!("{generation} {stored}"),
            None => format!("{generation} -"),
        }
    }

    pub fn view(&self, clock: u64) -> View {
        let (max_bytes, policy) = match self.memory {
            Memory::Enough => (0, "noeviction"),
            Memory::Full => (1, "noeviction"),
            Memory::Evicting { all: false } => (3, "volatile-lru"),
            Memory::Evicting { all: true } => (3, "allkeys-lru"),
        };
        View {
            lock: self.data.lock.as_ref().map(|(holder, expires)| Lock {
                holder: holder.clone(),
                remaining: Some(Duration::from_micros(expires.saturating_sub(clock))),
            }),
            record: self.record_seen(),
            generation: self.shown_generation(),
            judged: self.judged(),
            uptime: Duration::from_micros(clock.saturating_sub(self.started)),
            promoted: self.promoted,
            store_micros: clock,
            memory: Some(MemoryReading {
                used_bytes: 2,
                max_bytes,
                not_counted_bytes: 0,
                policy: policy.into(),
            }),
            members: Vec::new(),
        }
    }

    fn record_seen(&self) -> RecordSeen {
        let record = self.data.stored.as_ref().map(|stored| &stored.record);
        let free = self.data.lock.is_none();
        // Without these rules a lock that is gone, by Redis' own clock, is all that a standby asks for.
        let taken_as_released = free
            && match self.without {
                Some(Safeguard::Record) => true,
                Some(Safeguard::OwnClockWait) => {
                    record.is_some_and(|it| it.generation == self.shown_generation())
                }
                _ => false,
            };
        if taken_as_released {
            return RecordSeen::Known(Record {
                holder: "anyone".into(),
                token: self.greatest,
                ttl: record.map_or(SHORT, |it| it.ttl),
                released: true,
                generation: self.shown_generation(),
                successor: String::new(),
            });
        }
        record.map_or(RecordSeen::Missing, |it| RecordSeen::Known(it.clone()))
    }
}
