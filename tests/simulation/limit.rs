//! What cannot hold, as `docs/safety.md` says: let in one by one, to show that it does not, and that the fence
//! and the order of tokens do.

/// A fault that the other runs leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// A virtual machine stands still together with its clocks.
    FrozenClocks,
    /// Two clocks that differ by up to 30 % in rate.
    ClockRates,
    /// FLUSHALL whenever it comes, with newly started agents too.
    AnyFlush,
    /// Redis' clock jumps ahead when it has just started empty, and an agent is new.
    JumpOnEmptyStore,
    /// Agents of different `--lease-ttl`, and data is lost.
    TtlChanged,
    /// A Go miner takes a lock that Redis lost, or was stopped and acts past its TTL.
    GoMiners,
}

impl Limit {
    pub const ALL: [Self; 6] = [
        Self::FrozenClocks,
        Self::ClockRates,
        Self::AnyFlush,
        Self::JumpOnEmptyStore,
        Self::TtlChanged,
        Self::GoMiners,
    ];
}
