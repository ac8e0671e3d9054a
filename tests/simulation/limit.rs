//! The limits that `docs/safety.md` states, let in one by one, to show that exclusion fails there and that the fence
//! and the order of tokens still hold.

/// A fault that the other runs leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// A virtual machine stands still together with its clocks.
    FrozenClocks,
    /// Two clocks that differ by up to 30 % in rate.
    ClockRates,
    /// FLUSHALL at any time, with newly started agents too.
    AnyFlush,
    /// Redis' clock jumps ahead just after an empty start, with a new agent.
    JumpOnEmptyStore,
    /// Agents with different `--lease-ttl`, and data loss.
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
