//! The code that `build.rs` generates from `proto/`. Its comments are the API reference.

#![allow(clippy::pedantic, missing_docs, reason = "generated")]

tonic::include_proto!("understudy.v1");

/// The descriptors of everything above, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/understudy.bin"));
