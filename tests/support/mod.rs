//! Real processes in a test's hands: Redis, agents, miners, and what befalls them. Tests, the demo and the
//! benchmark share it.
//!
//! Every process ends when its value is dropped. All stay in the caller's process group, so that
//! Ctrl-C reaches them too.

#![allow(dead_code, reason = "each program that includes it uses a part")]

pub mod agent;
pub mod miner;
pub mod net;
pub mod process;
pub mod redis;
pub mod resp;
pub mod wait;
