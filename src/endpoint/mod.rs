//! Where Redis and the miner are, and how to log in: URLs, keys, secrets and TLS files, parsed from text. Malformed text is
//! never shown as it is, because it may hold a secret.

mod miner_probe;
mod redact;
mod redis;
mod redis_url;
mod secret;

pub use miner_probe::{MinerProbe, ProbeHow};
pub use redact::{redacted, redacted_path, redacted_value};
pub use redis::{Keys, RedisAddress, RedisEndpoint, RedisPlace, RedisSettings, TlsFiles};
pub use secret::{Login, Password, Secret};
