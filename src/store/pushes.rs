//! What Redis publishes to a connection that also carries commands (RESP3), kept in a place that does not grow.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::AsyncPushSender;
use redis::{Msg, PushInfo};
use tokio::sync::watch;

use crate::clock;
use crate::election::Announcement;
use crate::time::Instant;

/// Longer than anything that one of us says.
const LONGEST: usize = 16 * 1024;

/// Agents say a hundred bytes every few seconds. More than this in a second is a flood: to read it takes the time in which
/// the agent must renew and answer.
const FLOOD_BYTES: usize = 4_000_000;
const FLOOD_WITHIN: Duration = Duration::from_secs(1);
/// What a message takes besides its text.
const OVERHEAD_BYTES: usize = 100;

/// Why nothing more is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The connection is gone.
    Gone,
    /// Somebody publishes more on the channel than can be listened to.
    Flooded,
}

/// The receiving end.
#[derive(Clone)]
pub(super) struct Pushes {
    waiting: Arc<Mutex<Waiting>>,
    told: watch::Receiver<()>,
}

#[derive(Default)]
struct Waiting {
    /// One message waits at most. The next takes its place if it is an announcement, and is dropped if it is not: what waits
    /// makes the election look after both, and an announcement is never lost to anything but a later one.
    message: Option<String>,
    meter: Meter,
}

/// Tells a flood.
#[derive(Default)]
pub(super) struct Meter {
    since: Option<Instant>,
    bytes: usize,
    flooded: bool,
}

pub(super) fn pushes() -> (impl AsyncPushSender, Pushes) {
    let (tell, told) = watch::channel(());
    let waiting = Arc::<Mutex<Waiting>>::default();
    let kept = Arc::clone(&waiting);
    let sender = move |info: PushInfo| -> Result<(), ()> {
        if let Some(message) = Msg::from_push_info(info) {
            held(&kept).take_in(message.get_payload_bytes());
            tell.send_replace(());
        }
        Ok(())
    };
    (sender, Pushes { waiting, told })
}

impl Pushes {
    /// What was heard before is forgotten.
    pub fn begin(&mut self) {
        *held(&self.waiting) = Waiting::default();
    }

    /// The next message.
    pub async fn next(&mut self) -> Result<String, Ended> {
        loop {
            let open = self.told.changed().await.is_ok();
            let mut waiting = held(&self.waiting);
            if waiting.meter.flooded {
                return Err(Ended::Flooded);
            }
            match waiting.message.take() {
                Some(message) => return Ok(message),
                None if open => {}
                None => return Err(Ended::Gone),
            }
        }
    }
}

/// Held for a moment only, and nothing panics meanwhile.
fn held(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Waiting {
    fn take_in(&mut self, payload: &[u8]) {
        self.meter.count(payload.len(), clock::boottime());
        // What is no text, or too long, was not said by one of us.
        let text = std::str::from_utf8(payload).unwrap_or_default();
        let text = if text.len() <= LONGEST { text } else { "" };
        let announces = Announcement::parse(text, |_| None).is_some();
        if self.message.is_none() || announces {
            self.message = Some(text.to_owned());
        }
    }
}

impl Meter {
    /// Tells whether this was too much.
    pub fn count(&mut self, bytes: usize, now: Instant) -> bool {
        if self.since.is_none_or(|at| now >= at + FLOOD_WITHIN) {
            self.since = Some(now);
            self.bytes = 0;
        }
        self.bytes += bytes + OVERHEAD_BYTES;
        self.flooded |= self.bytes > FLOOD_BYTES;
        self.flooded
    }
}

#[cfg(test)]
mod tests {
    use redis::{PushKind, Value};

    use super::*;

    fn message(text: &str) -> PushInfo {
        let word = |text: &str| Value::BulkString(text.into());
        PushInfo {
            kind: PushKind::Message,
            data: vec![word("channel"), word(text)],
        }
    }

    #[tokio::test]
    async fn one_message_waits_and_no_announcement_is_lost_to_noise() {
        let (sender, mut pushes) = pushes();
        for number in 0..1000 {
            sender.send(message("noise")).unwrap();
            if number == 500 {
                sender.send(message("begun a-1 7")).unwrap();
            }
        }
        assert_eq!(pushes.next().await.as_deref(), Ok("begun a-1 7"));
        sender.send(message(&"x".repeat(LONGEST + 1))).unwrap();
        assert_eq!(pushes.next().await.as_deref(), Ok(""));
        sender.send(message("renewed a-1 7")).unwrap();
        drop(sender);
        assert_eq!(pushes.next().await.as_deref(), Ok("renewed a-1 7"));
        assert_eq!(pushes.next().await, Err(Ended::Gone));
    }

    #[tokio::test]
    async fn what_is_no_message_wakes_nobody() {
        let (sender, mut pushes) = pushes();
        let confirmation = PushInfo {
            kind: PushKind::Subscribe,
            data: vec![],
        };
        sender.send(confirmation).unwrap();
        drop(sender);
        assert_eq!(pushes.next().await, Err(Ended::Gone));
    }

    #[tokio::test]
    async fn a_flood_is_told_until_one_begins_anew() {
        let (sender, mut pushes) = pushes();
        for _ in 0..5 {
            sender.send(message(&"x".repeat(1_000_000))).unwrap();
        }
        assert_eq!(pushes.next().await, Err(Ended::Flooded));
        pushes.begin();
        sender.send(message("begun a-1 7")).unwrap();
        assert_eq!(pushes.next().await.as_deref(), Ok("begun a-1 7"));
    }

    #[test]
    fn as_much_in_a_longer_time_is_no_flood() {
        let mut meter = Meter::default();
        let mut now = Instant::PAST;
        for _ in 0..100 {
            assert!(!meter.count(FLOOD_BYTES / 2, now));
            now = now + FLOOD_WITHIN;
        }
        assert!(!meter.count(FLOOD_BYTES / 2, now));
        assert!(meter.count(FLOOD_BYTES / 2, now), "in one second");
    }
}
