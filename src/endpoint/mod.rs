//! Where Redis and the miner are, and how one gets in: URLs, keys, secrets and TLS files, read from text. What was not
//! understood is never shown as it is: it may hold a secret.

mod miner_probe;
mod redact;
mod redis;
mod redis_url;
mod secret;

pub use miner_probe::{MinerProbe, ProbeHow};
pub use redact::{redacted, redacted_path, redacted_value};
pub use redis::{Keys, RedisAddress, RedisEndpoint, RedisPlace, RedisSettings, TlsFiles};
pub use secret::{Login, Password, Secret};
