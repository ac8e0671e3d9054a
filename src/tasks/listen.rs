//! Listens to the events channel and tells the election that something happened.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::clock;
use crate::election::Announcement;
use crate::fault::StoreFault;
use crate::status::StatusWatch;
use crate::store::{Ended, Events, Heard, Subscription};

/// How long to wait before subscribing again: often if Redis is away, because a leader writes its term again as
/// soon as Redis is back; rarely if Redis refuses.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE_AWAY: Duration = Duration::from_secs(1);
const PAUSE_REFUSED: Duration = Duration::from_secs(10);

/// Agents that lost their connections at the same moment come back within this much time for each channel that Redis has: there is
/// one for each lock. That is several times what Redis needs for the two agents of a lock, and the buffers of a fresh
/// connection live for seconds.
const ROOM_FOR_A_CHANNEL: Duration = Duration::from_millis(3);

/// What this task and the health check tell the election.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// A message was published: an event of this lock, or something else.
    Event(Option<Announcement>),
    /// The subscription is established, or lost.
    Hears(bool),
    /// The memory of Redis was read: whether it may evict keys.
    Memory { evicting: bool },
    /// Redis takes commands that it refused before.
    Back,
}

/// Keeps the subscription to the events channel.
pub struct Listen {
    pub events: Events,
    /// To the election.
    pub signals: mpsc::Sender<Signal>,
    /// Tells how many channels Redis has.
    pub published: StatusWatch,
    /// Ping the subscription after this much silence.
    pub quiet: Duration,
    /// Come back within this time, however many agents Redis has.
    pub back_within: Duration,
    /// Spreads out agents that lost the same Redis at the same moment, in 1/1000.
    pub spread: u32,
}

/// The election listens no more.
struct Over;

impl Listen {
    /// Runs until the election no longer listens.
    pub async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        let mut hears = false;
        loop {
            match self.events.subscribe().await {
                Ok(subscription) => {
                    hears = true;
                    let since = clock::boottime();
                    let Ok(ended) = self.listen(subscription).await else {
                        return;
                    };
                    let lasted = clock::boottime().since(since);
                    if ended == Ended::Gone && lasted > LONGEST_PAUSE_AWAY {
                        tracing::debug!("the events channel is gone: subscribing again");
                        // A connection that is closed after a while says nothing about Redis. The election looks once, when
                        // there is another; where there is none, it is told.
                        pause = FIRST_PAUSE;
                        sleep(self.turn()).await;
                        continue;
                    }
                    pause = match ended {
                        Ended::Flooded => {
                            tracing::warn!(
                                "somebody floods the events channel: looking each 500 ms instead of listening; find out who \
                                publishes there"
                            );
                            PAUSE_REFUSED
                        }
                        // A server that lets us in and drops us is tried ever more rarely.
                        Ended::Gone => (pause * 2).min(PAUSE_REFUSED),
                    };
                }
                Err(error) => {
                    tracing::debug!(%error, "cannot listen to the events channel: looking more often instead");
                    pause = match error.fault {
                        StoreFault::Unreachable
                        | StoreFault::TimedOut
                        | StoreFault::Tls
                        | StoreFault::PasswordFile
                        | StoreFault::TlsFile
                        | StoreFault::Loading
                        | StoreFault::Topology => (pause * 2).min(LONGEST_PAUSE_AWAY),
                        _ => PAUSE_REFUSED,
                    };
                }
            }
            if std::mem::take(&mut hears) && self.signals.send(Signal::Hears(false)).await.is_err()
                || self.signals.is_closed()
            {
                return;
            }
            sleep(pause * (1000 + self.spread) / 2000).await;
        }
    }

    /// Tells of what is heard, until nothing more is.
    async fn listen(&mut self, mut subscription: Subscription) -> Result<Ended, Over> {
        let mut heard = Heard::Anew;
        loop {
            let signal = match heard {
                Heard::Anew => Signal::Hears(true),
                Heard::Event(event) => Signal::Event(event),
            };
            self.signals.send(signal).await.map_err(|_| Over)?;
            match self.events.next(&mut subscription, self.quiet).await {
                Ok(next) => heard = next,
                Err(ended) => return Ok(ended),
            }
        }
    }

    fn turn(&self) -> Duration {
        let status = self.published.borrow();
        let channels = status.redis.memory().map_or(0, |memory| memory.channels);
        turn(channels, self.back_within, self.spread)
    }
}

/// When it is an agent's turn to come back, so that not all do at the same moment: at once where there are few.
fn turn(channels: u64, within: Duration, spread: u32) -> Duration {
    let channels = u32::try_from(channels).unwrap_or(u32::MAX);
    let room = ROOM_FOR_A_CHANNEL.saturating_mul(channels).min(within);
    room * spread / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_come_back_at_once_and_many_one_after_another_in_time() {
        let within = Duration::from_millis(7500);
        let last = |channels| turn(channels, within, 999);
        assert_eq!(turn(10_000, within, 0), Duration::ZERO);
        assert!(last(0).is_zero() && last(5) < Duration::from_millis(15));
        assert!(last(2400) > Duration::from_secs(7), "{:?}", last(2400));
        assert!(last(u64::MAX) < within && last(u64::MAX) > within * 99 / 100);
    }
}
