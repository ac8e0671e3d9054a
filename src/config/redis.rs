//! Reads the flags about Redis.

use std::time::Duration;

use super::read::{Reader, non_empty, password};
use super::{BadSettings, DEFAULT_REDIS_TIMEOUT, RedisArgs};
use crate::endpoint::{Keys, Login, RedisEndpoint, RedisSettings, redacted};

const DEFAULT_REDIS_URL: &str = "redis://127.0.0.1:6379";
const DEFAULT_LOCK_KEY: &str = "ha:miner:global_leader";

impl RedisArgs {
    /// The settings of a command that asks Redis directly.
    ///
    /// # Errors
    /// Every mistake, each with its flag, the value and what is expected.
    pub fn check(&self) -> Result<RedisSettings, BadSettings> {
        let mut reader = Reader::default();
        let settings = self.read(&mut reader);
        reader.finish(settings)
    }

    pub(super) fn read(&self, reader: &mut Reader) -> Option<RedisSettings> {
        if self.redis_url.as_deref() == Some("") {
            // Most likely a shell variable that was never set, rather than a wish for the default.
            reader.bad(
                "redis-url",
                "",
                "a URL such as redis://host:6379/0; leave the flag out for the default",
            );
        }
        let url = non_empty(&self.redis_url).unwrap_or(DEFAULT_REDIS_URL);
        let endpoint = reader.keep("redis-url", &redacted(url), RedisEndpoint::parse(url));
        let tls = reader.tls(self);
        let key = non_empty(&self.lock_key).unwrap_or(DEFAULT_LOCK_KEY);
        let keys = reader.keep("lock-key", key, Keys::new(key));
        let timeout = reader.at_least(
            "redis-timeout",
            &self.redis_timeout,
            DEFAULT_REDIS_TIMEOUT,
            Duration::from_millis(50),
        );
        let mut endpoint = endpoint?;
        let name = |value| non_empty(value).map(ToOwned::to_owned);
        let redis_password = password(&self.redis_password_file, "UNDERSTUDY_REDIS_PASSWORD");
        endpoint.login = Login {
            username: name(&self.redis_username).or(endpoint.login.username),
            password: redis_password.or(endpoint.login.password),
        };
        endpoint.sentinel_login = Login {
            username: name(&self.sentinel_username),
            password: password(&self.sentinel_password_file, "UNDERSTUDY_SENTINEL_PASSWORD"),
        };
        let keys = keys?.in_database(endpoint.database);
        reader.only_where_used(self, &endpoint);
        endpoint.tls = endpoint.tls.map(|_| tls);
        Some(RedisSettings {
            endpoint,
            timeout: timeout?,
            keys,
        })
    }
}
