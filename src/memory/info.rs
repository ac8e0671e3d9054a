//! The text of INFO: lines of `name:value`. <https://redis.io/docs/latest/commands/info/>

/// How much of a senseless value is shown.
const SHOWN: usize = 40;

/// INFO lacks a field, or a field makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InfoError {
    #[error("INFO has no field `{0}`: this is no Redis, or it hides the field")]
    Missing(&'static str),
    #[error("INFO says `{field}:{value}`, which is no number of bytes")]
    NoNumber { field: &'static str, value: String },
}

/// What kind of server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineInfo {
    /// `redis`, `valkey`, …, in lower case; empty if it does not say.
    pub engine: String,
    pub version: String,
}

/// The value of a field, by its exact name.
#[must_use]
pub fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.trim_end_matches('\r'))
}

/// A field that holds a number.
pub(super) fn number(text: &str, name: &'static str) -> Result<Option<u64>, InfoError> {
    let Some(value) = field(text, name) else {
        return Ok(None);
    };
    value.parse().map(Some).map_err(|_| InfoError::NoNumber {
        field: name,
        value: value.chars().take(SHOWN).collect(),
    })
}

impl EngineInfo {
    /// Reads INFO SERVER. Compatible engines also tell a `redis_version`: their own comes first.
    #[must_use]
    pub fn parse(server: &str) -> Self {
        let own = ["valkey", "dragonfly", "keydb"]
            .into_iter()
            .find_map(|engine| Some((engine, field(server, &format!("{engine}_version"))?)));
        let redis = || field(server, "redis_version").map(|version| ("redis", version));
        let (engine, version) = own.or_else(redis).unwrap_or_default();
        let engine = field(server, "server_name").unwrap_or(engine);
        let short = |text: &str| text.chars().take(SHOWN).collect::<String>();
        Self {
            engine: short(engine).to_lowercase(),
            version: short(version),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_is_told_by_its_own_version() {
        let of = |text| {
            let EngineInfo { engine, version } = EngineInfo::parse(text);
            format!("{engine} {version}")
        };
        assert_eq!(of("# Server\r\nredis_version:7.0.15\r\n"), "redis 7.0.15");
        let valkey =
            "# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.8\r\n";
        assert_eq!(of(valkey), "valkey 8.1.8");
        assert_eq!(
            of("redis_version:6.2.11\ndragonfly_version:df-v1.27\n"),
            "dragonfly df-v1.27"
        );
        assert_eq!(of("nonsense"), " ");
    }

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "# Memory\r\nused_memory_rss:9\r\nused_memory:5\r\nx:a:b\r\n";
        assert_eq!(field(text, "used_memory"), Some("5"));
        assert_eq!(field(text, "x"), Some("a:b"));
        assert_eq!(field(text, "used"), None);
        assert_eq!(field("", "used"), None);
    }
}
