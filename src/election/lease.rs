//! The arithmetic of leases, grants, waits and retries.
//!
//! Each link of the chain of time ends before the link above it:
//!
//! ```text
//! sent_at                                                      sent_at + ttl
//!    │── lock in Redis ─────────────────────────────────────────────│ at the earliest: it starts when
//!    │── lease: ttl − margin ───────────────────────────────│         the request arrives
//!    │── grant: miner last heard + miner_timeout ──│
//! ```
//!
//! A standby that waits out a lease waits ttl + margin from when it saw the last sign of life, on its
//! own clock. The two margins together cover clocks that differ by up to 1 % in rate, and 100 ms.
//! (Gray and Cheriton, "Leases", SOSP 1989, section 5, for the rule; the figures are ours.)

use std::time::Duration;

use crate::time::Instant;

/// The longest time to live that is accepted, for our own lock and in the record of another agent.
pub const LONGEST_TTL: Duration = Duration::from_secs(24 * 60 * 60);
/// The shortest.
pub const SHORTEST_TTL: Duration = Duration::from_secs(1);

/// The shortest and the longest pause between two tries to renew or to release.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_millis(1500);
/// The first pause after a failed acquisition: it doubles up to `renew_every`.
const FIRST_CAMPAIGN_RETRY: Duration = Duration::from_secs(1);
/// How often a standby looks if it cannot hear the events channel, or if the store is empty.
pub(super) const LOOK_OFTEN: Duration = Duration::from_millis(500);
/// An empty store that has been up for a TTL and this long has no leader that could come back.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// A combination of durations that keeps the promises, and what follows from it.
#[derive(Debug, Clone, Hash)]
pub struct LeaseRules {
    ttl: Duration,
    renew_every: Duration,
    miner_timeout: Duration,
    redis_timeout: Duration,
    failover: bool,
    /// How much sooner a lease ends than the lock, and how much longer a standby waits, by the TTL.
    margin: fn(Duration) -> Duration,
}

/// Why a combination is refused. The message names the rule and its bounds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnsafeRules {
    #[error("the lease TTL must be between 1s and 24h")]
    Ttl,
    #[error("renewals must come at least 100ms and at most a third of the lease TTL apart ({0:?})")]
    RenewEvery(Duration),
    #[error("the miner's timeout must be at least 100ms and shorter than the lease ({0:?})")]
    MinerTimeout(Duration),
    #[error("the Redis timeout must be between 50ms and 60s")]
    RedisTimeout,
}

impl LeaseRules {
    /// # Errors
    /// The rules that the combination breaks. Of a TTL that is none nothing else can be judged.
    pub fn new(
        ttl: Duration,
        renew_every: Duration,
        miner_timeout: Duration,
        redis_timeout: Duration,
    ) -> Result<Self, Vec<UnsafeRules>> {
        let mut broken = Vec::new();
        if !(Duration::from_millis(50)..=Duration::from_secs(60)).contains(&redis_timeout) {
            broken.push(UnsafeRules::RedisTimeout);
        }
        if (SHORTEST_TTL..=LONGEST_TTL).contains(&ttl) {
            if renew_every < Duration::from_millis(100) || renew_every > ttl / 3 {
                broken.push(UnsafeRules::RenewEvery(ttl / 3));
            }
            let lease = ttl.saturating_sub(margin(ttl));
            if miner_timeout < Duration::from_millis(100) || miner_timeout >= lease {
                broken.push(UnsafeRules::MinerTimeout(lease));
            }
        } else {
            broken.push(UnsafeRules::Ttl);
        }
        if !broken.is_empty() {
            return Err(broken);
        }
        Ok(Self {
            ttl,
            renew_every,
            miner_timeout,
            redis_timeout,
            failover: false,
            margin,
        })
    }

    /// The same where another server may be made the primary while the old one still takes writes: how long
    /// a server has been up tells nothing there of who leads by another.
    #[must_use]
    pub fn with_failover(self) -> Self {
        Self {
            failover: true,
            ..self
        }
    }

    /// The rules without their margin, for the test of the tests: the simulation must then find a second
    /// leader. Nothing in the program calls this.
    #[doc(hidden)]
    #[must_use]
    pub fn without_margin(self) -> Self {
        Self {
            margin: |_| Duration::ZERO,
            ..self
        }
    }

    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    #[must_use]
    pub fn renew_every(&self) -> Duration {
        self.renew_every
    }

    #[must_use]
    pub fn miner_timeout(&self) -> Duration {
        self.miner_timeout
    }

    #[must_use]
    pub fn redis_timeout(&self) -> Duration {
        self.redis_timeout
    }

    /// How long a renewal lasts for the leader: shorter than the lock.
    #[must_use]
    pub fn lease(&self) -> Duration {
        self.ttl.saturating_sub((self.margin)(self.ttl))
    }

    /// A renewal that waits for an answer in vain leaves time within the lease for another.
    #[must_use]
    pub fn outlasts_a_hang(&self) -> bool {
        self.renew_every + self.redis_timeout * 2 <= self.lease()
    }

    /// How often a miner should send: often enough to lose two heartbeats and stay a candidate.
    #[must_use]
    pub fn heartbeat_every(&self) -> Duration {
        self.miner_timeout / 3
    }

    /// Until when a lease runs that a request sent at `sent_at` has won.
    pub(super) fn lease_end(&self, sent_at: Instant) -> Instant {
        sent_at + self.lease()
    }

    /// Until when it is worth trying to give the lock of a lease back: its TTL has ended it by then.
    pub(super) fn release_until(&self, lease_until: Instant) -> Instant {
        lease_until + (self.margin)(self.ttl) + self.redis_timeout
    }

    /// How long a store must stay unchanged before its last leader counts as gone.
    pub(super) fn wait_out(&self, longest_ttl: Duration) -> Duration {
        longest_ttl + (self.margin)(longest_ttl)
    }

    /// How long after the last renewal a standby takes over from a holder that did not release.
    #[must_use]
    pub fn takeover_after(&self) -> Duration {
        self.wait_out(self.ttl)
    }

    /// An empty store that has been up for so long has no leader that can come back to it.
    pub(super) fn settled(&self, uptime: Duration, longest_ttl: Duration) -> bool {
        !self.failover && uptime >= longest_ttl + SETTLED_AFTER
    }

    /// How often a standby looks at the store. `relaxed`: it hears of changes, and would see one that it
    /// did not hear of.
    #[must_use]
    pub fn look_every(&self, relaxed: bool) -> Duration {
        if relaxed {
            self.renew_every
        } else {
            LOOK_OFTEN.min(self.renew_every)
        }
    }

    /// How far apart two looks may be that together have watched an empty store: a term may have begun
    /// between them, and its record be lost again. One command that fails fits in, with the longest pause
    /// after it.
    pub(super) fn sight(&self) -> Duration {
        self.renew_every + self.redis_timeout * 2
    }

    /// The pause after the `failures`-th failure in a row to renew or to release: short, since a
    /// lease is running; with jitter, since many agents may have lost the same Redis.
    pub(super) fn retry_after(&self, failures: u32, chance: u64) -> Duration {
        let longest = (self.ttl / 20).clamp(FIRST_RETRY, LONGEST_RETRY);
        let pause = FIRST_RETRY
            .saturating_mul(1 << failures.saturating_sub(1).min(8))
            .min(longest);
        // Between half and the whole of it.
        let permille = u32::try_from(chance % 501).unwrap_or(0);
        pause * (500 + permille) / 1000
    }

    /// The pause after the `failures`-th failure in a row to acquire: 1 s, doubling to `renew_every`.
    pub(super) fn campaign_retry_after(&self, failures: u32) -> Duration {
        FIRST_CAMPAIGN_RETRY
            .saturating_mul(1 << failures.saturating_sub(1).min(16))
            .min(self.renew_every)
    }
}

/// 1 % for clocks that run at different rates, and 100 ms for reading them.
fn margin(ttl: Duration) -> Duration {
    ttl / 100 + Duration::from_millis(100)
}
