//! The rules that prevent a second leader. The test of the tests switches them off one by one.

/// A rule that the simulation can switch off. The program cannot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Safeguard {
    /// A lease ends before the lock does, and a standby waits for longer.
    Margin,
    /// The record beside the lock says whether the last term was given back.
    Record,
    /// A standby waits on its own clock, not on Redis'.
    OwnClockWait,
    /// Nothing written before a restart or a promotion is believed.
    Generation,
    /// The lock is kept until the last grant has run out.
    Grants,
    /// The end of a stream that is not the miner's doing proves nothing.
    DroppedStream,
    /// A release ends one term, not everything that its holder holds.
    ReleaseCheck,
    /// A begin fails unless the store is as it was judged.
    CompareAndSet,
    /// A request that was given up changes nothing.
    NotAfter,
    /// A new token is greater than the time, so that it grows even if data is lost.
    TokenAboveTime,
    /// A new token is greater than any that the caller has seen.
    TokenAboveHighest,
    /// Nobody leads where Redis may evict the lock.
    EvictionGuard,
    /// An agent does not touch another holder's lock.
    ForeignLock,
    /// More than half of those who know the primary must name it.
    Majority,
    /// A restarted agent grants and releases nothing for one miner-timeout.
    QuietRestart,
    /// A record never repeats: it has its writer's nonce and the number of the attempt.
    WriterAndNumber,
    /// An event makes an agent look, and the record decides.
    EventsAreHints,
    /// A release that is announced is believed only of a record that says so.
    ToldRelease,
    /// Where nobody campaigns the last yes is waited out, however the term has ended.
    LastYes,
}

impl Safeguard {
    pub const ALL: [Self; 19] = [
        Self::Margin,
        Self::Record,
        Self::OwnClockWait,
        Self::Generation,
        Self::Grants,
        Self::DroppedStream,
        Self::ReleaseCheck,
        Self::CompareAndSet,
        Self::NotAfter,
        Self::TokenAboveTime,
        Self::TokenAboveHighest,
        Self::EvictionGuard,
        Self::ForeignLock,
        Self::Majority,
        Self::QuietRestart,
        Self::WriterAndNumber,
        Self::EventsAreHints,
        Self::ToldRelease,
        Self::LastYes,
    ];
}
