//! Real agents, real miners, real signals, and real Redis servers of every engine.

mod cli;
mod conformance;
mod connections;
mod costs;
mod docs;
mod doctor;
mod engines;
mod exec;
mod exec_hostile;
mod failover;
mod fleet;
mod grpc;
mod harness;
mod liveness;
mod login;
mod members;
mod neighbours;
mod oom;
mod rehearsal;
mod shown;
mod systemd;
mod topologies;
