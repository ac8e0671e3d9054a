//! The scene of a run, drawn from its seed before it begins. Most have few of these twists, some have many.

use std::time::Duration;

use understudy::election::Liveness;

use super::dice::Dice;
use super::limit::Limit;

/// The TTL of most agents, and that of Go miners.
pub const TTL: Duration = Duration::from_secs(3);

pub struct Scene {
    /// The `--lease-ttl` of each agent.
    pub ttls: Vec<Duration>,
    /// The `--miner-liveness` of each agent.
    pub liveness: Vec<Liveness>,
    /// The step of Redis' clock, in microseconds.
    pub clock_grid: u64,
    pub stranger: Option<Stranger>,
    /// Some miners have not been migrated yet.
    pub go_miners: bool,
}

/// Who else publishes on the events channel, and at which interval in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub enum Stranger {
    /// Events of another lock.
    OtherFleet { every: u64 },
    /// Events that seem to be of this lock.
    Forger { every: u64 },
}

impl Stranger {
    fn drawn(dice: &mut Dice) -> Self {
        // As often as a leader renews, and far more often.
        let every = dice.pick(&[nanos(TTL / 3), nanos(TTL / 30)]);
        match dice.chance(50) {
            true => Self::OtherFleet { every },
            false => Self::Forger { every },
        }
    }
}

impl Scene {
    /// The scene has its own dice, so that a new twist does not change the runs without it.
    pub fn drawn(seed: u64, beyond: Option<Limit>) -> Self {
        let mut dice = Dice::new(!seed);
        let agents = if dice.chance(10) { 5 } else { 3 };
        let ttls: &[Duration] = match dice.chance(15) || beyond == Some(Limit::TtlChanged) {
            true => &[Duration::from_secs(2), TTL, Duration::from_secs(5)],
            false => &[TTL],
        };
        let liveness: &[Liveness] = match dice.chance(25) {
            true => &[Liveness::Campaign, Liveness::Probe, Liveness::Always],
            false => &[Liveness::Campaign],
        };
        // Two renewals that fall into one step write the same deadline.
        let clock_grid = match dice.chance(15) {
            true => dice.pick(&[10_000, 1_000_000, 4_000_000]),
            false => 1,
        };
        Self {
            ttls: (0..agents).map(|_| dice.pick(ttls)).collect(),
            liveness: (0..agents).map(|_| dice.pick(liveness)).collect(),
            clock_grid,
            // A lock that a coarse clock ends early is taken at once.
            go_miners: (dice.chance(20) || beyond == Some(Limit::GoMiners)) && clock_grid <= 10_000,
            stranger: Some(Stranger::drawn(&mut dice)).filter(|_| dice.chance(20)),
        }
    }

    pub fn agents(&self) -> usize {
        self.ttls.len()
    }

    pub fn one_ttl(&self) -> bool {
        self.ttls.iter().all(|ttl| *ttl == self.ttls[0])
    }

    fn longest_ttl(&self) -> Duration {
        self.ttls.iter().copied().max().unwrap_or(TTL)
    }

    /// The longest wait of a standby: the longest TTL plus 1 % and 100 ms.
    pub fn wait(&self) -> u64 {
        let ttl = self.longest_ttl();
        nanos(ttl + ttl / 100 + Duration::from_millis(100))
    }

    /// How long a poller may act on a yes of `/leader`: the earliest that another's lease begins after this one's end.
    /// A Go miner does not wait, so in a fleet with Go miners this is a margin less 1 % for the clocks.
    pub fn patience(&self, index: usize) -> u64 {
        match self.go_miners {
            true => nanos(Duration::from_millis(100)),
            false => nanos(self.ttls[index] / 100 + Duration::from_millis(200)),
        }
    }

    /// How far apart two looks may be at an empty store: renew-every and two Redis timeouts.
    pub fn sight(&self) -> u64 {
        nanos(self.longest_ttl() / 3 + 2 * Duration::from_secs(1))
    }
}

pub fn nanos(duration: Duration) -> u64 {
    duration.as_nanos() as u64
}
