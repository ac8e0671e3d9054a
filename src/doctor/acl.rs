//! The permissions that a Redis user needs.

use crate::endpoint::{Keys, Login, RedisPlace, RedisSettings};

/// The commands of the scripts, the write probe, the events and the connection itself.
const COMMANDS: [&str; 19] = [
    "+eval",
    "+evalsha",
    "+get",
    "+set",
    "+del",
    "+hset",
    "+hmget",
    "+hdel",
    "+hgetall",
    "+pttl",
    "+pexpire",
    "+persist",
    "+publish",
    "+subscribe",
    "+unsubscribe",
    "+time",
    "+info",
    "+ping",
    "+select",
];

/// The ACL line that allows no more than the agent needs. `>…` is the place of the password.
#[must_use]
pub fn acl_line(settings: &RedisSettings) -> String {
    let Login { username, .. } = &settings.endpoint.login;
    let user = username.as_deref().unwrap_or("understudy");
    let (keys, channel) = patterns(&settings.keys);
    let mut words: Vec<&str> = COMMANDS.to_vec();
    if matches!(settings.endpoint.place, RedisPlace::Cluster { .. }) {
        words.push("+cluster");
    }
    format!(
        "ACL SETUSER {user} on >… {keys} {channel} -@all {}",
        words.join(" ")
    )
}

fn patterns(keys: &Keys) -> (String, String) {
    let (lock, record) = (glob(&keys.lock), glob(&keys.record()));
    let companions = record.strip_suffix("record").unwrap_or(&record);
    (
        format!("~{lock} ~{companions}*"),
        format!("resetchannels &{companions}*"),
    )
}

/// Escapes the characters that are special in a pattern.
fn glob(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        if "*?[]\\".contains(letter) {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RedisArgs;

    #[test]
    fn it_names_the_keys_and_nothing_else() {
        let args = RedisArgs {
            redis_url: Some("redis://miner:hunter2@r".into()),
            lock_key: Some("my*lock".into()),
            ..RedisArgs::default()
        };
        let line = acl_line(&args.check().unwrap());
        let start = "ACL SETUSER miner on >… ~my\\*lock ~{my\\*lock}:* resetchannels &{my\\*lock}:* -@all +eval ";
        assert!(line.starts_with(start), "{line}");
        assert!(!line.contains("hunter2"));
    }
}
