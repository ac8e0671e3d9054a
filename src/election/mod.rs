//! The election: pure. No async, no clock, no socket, no randomness of its own.
//!
//! ```text
//!              ┌───────────┐  ← Look, Begin (on exactly what was judged), Release (a stray lock)
//!   start ───→ │ Following │ ───────────────┐
//!              └───────────┘                │ Begun, and a miner is there
//!                ↑   ↑                      ↓
//!                │   │ lease over      ┌─────────┐
//!                │   │ lock lost       │ Leading │  ← Renew
//!                │   └──────────────── └─────────┘
//!                │ Released, or            │ miner gone, silent or standing down, resigned, stopping,
//!                │ too late for it         ↓ the store may evict the lock
//!                │                     ┌────────┐
//!                └──────────────────── │ Ending │  ← Release, once no miner can still act
//!                                      └────────┘
//!   events →  handle_reply  handle_timeout  handle_campaign  handle_heartbeat  handle_campaign_end
//!             handle_extend  handle_resign  handle_stop  handle_heard  handle_hearing  handle_back
//!             handle_standing_down  handle_acknowledgement
//!   ← what it wants: next_command, poll_timeout;  what it says: leadership, poll_event
//! ```
//!
//! What it keeps, whatever happens (the numbers are those of `docs/safety.md`):
//!
//! - I1 no two miners' grants overlap
//! - I2 tokens strictly increase from term to term
//! - I4 no agent extends or deletes another's lock
//! - I5 past its lease no agent says leader: [`Leadership::at`]
//! - I6 a request that timed out changes nothing after its `not_after`
//! - I8 the reason reported is the fault that happened

mod announcement;
mod command;
mod core;
mod event;
mod leadership;
mod lease;
mod member;
mod miner;
mod settings;
mod view;
mod watch;

#[cfg(test)]
mod tests;

pub use announcement::{Announcement, Basis, Happened};
pub use command::{Answer, Attempt, AttemptId, Claimant, Command, Outcome, Refusal, Reply, Stamp};
pub use core::{Election, NotLeader};
pub use event::Event;
pub use leadership::{Leadership, Reason, Role};
pub use lease::{LONGEST_TTL, LeaseRules, SHORTEST_TTL, UnsafeRules};
pub use member::{Entry, Listed, Member, NoSuccessor, Successor};
pub use miner::{CampaignId, CampaignRefused, EndedBy, Liveness};
pub use settings::{Enrolment, Remembered, Settings};
pub use view::{LARGEST_TOKEN, Lock, Record, RecordFields, RecordSeen, SCHEMA, Token, View};
