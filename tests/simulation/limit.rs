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
}

impl Limit {
    pub const ALL: [Self; 4] = [
        Self::FrozenClocks,
        Self::ClockRates,
        Self::AnyFlush,
        Self::JumpOnEmptyStore,
    ];
}
