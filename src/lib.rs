//! Understudy: a sidecar that elects one leader among a miner's replicas.
//!
//! ```text
//!   Redis ─→ store ─→ tasks::elect ⇄ election ─→ Status ─→ api ─→ miner
//! ```
//!
//! | room | what lives there |
//! |---|---|
//! | [`election`] | the rules: who may lead, until when. Pure |
//! | [`time`] | moments as plain numbers. Pure |
//! | [`health`], [`fault`] | how Redis is, and what its errors mean. Pure |
//! | [`endpoint`] | where Redis and the miner are: URLs, keys, secrets |
//! | [`store`] | the only room that speaks to Redis |
//! | [`tasks`] | the loops around them |
//! | [`miner`] | the desk where miners' messages come in |
//! | [`status`] | what the agent knows and publishes, and how it is shown |
//! | [`api`] | gRPC and HTTP |
//! | [`agent`] | puts it together |
//! | [`exec`] | runs a program while this instance leads: the rules of time are pure, the rest is processes |
//! | [`doctor`] | what a survey of Redis means for the operator. Pure |
//! | [`inject`] | puts the agent into a manifest, line by line. Pure |
//! | [`config`], [`cli`] | the settings, the commands |
//! | [`state`] | the file of `--state-dir` |
//! | [`checkup`] | requests for checks of Redis |
//! | [`clock`], [`http_client`], [`logs`], [`metrics`], [`notify`], [`shutdown`], [`proto`] | one small thing each |
//!
//! The library is the program's own: only `proto/` and the command line are stable.

#![warn(clippy::disallowed_methods, clippy::pedantic)]
#![allow(
    clippy::doc_markdown,
    clippy::match_same_arms,
    clippy::ref_option,
    clippy::similar_names,
    reason = "help texts are no markdown; arms stand in the order in which they win; settings are read where they stand; hear, heard, here"
)]
#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]
#![forbid(unsafe_code)]

pub mod agent;
pub mod api;
pub mod checkup;
pub mod cli;
pub mod clock;
pub mod config;
pub mod doctor;
pub mod election;
pub mod endpoint;
pub mod exec;
pub mod fault;
pub mod health;
pub mod http_client;
pub mod inject;
pub mod logs;
pub mod metrics;
pub mod miner;
pub mod notify;
pub mod proto;
pub mod shutdown;
pub mod state;
pub mod status;
pub mod store;
pub mod tasks;
pub mod time;

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The revision it was built from: `UNDERSTUDY_REVISION` at build time, else in a release what git says.
pub const REVISION: &str = env!("UNDERSTUDY_REVISION");
