//! The text of INFO: lines of `name:value`. <https://redis.io/docs/latest/commands/info/>

/// How many characters of a value are kept that may say anything.
const LONGEST: usize = 40;

/// Engines that tell a version of their own beside the `redis_version` that they claim to be like.
const COMPATIBLE: [&str; 7] = [
    "valkey",
    "dragonfly",
    "keydb",
    "kvrocks",
    "garnet",
    "redict",
    "upstash",
];

/// INFO lacks a field, or a field makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InfoError {
    /// A field that every Redis tells is not there.
    #[error("INFO has no field `{0}`: this is no Redis, or it hides the field")]
    Missing(&'static str),
    /// A field that holds no number of bytes; a long value is shortened.
    #[error("INFO says `{field}:{value}`, which is no number of bytes")]
    NoNumber { field: &'static str, value: String },
}

/// What kind of server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineInfo {
    /// `redis`, `valkey`, …, in lower case; empty if it does not say.
    pub engine: String,
    /// In the engine's own words: `7.0.15`, `df-v1.27.1`; empty if it does not say.
    pub version: String,
}

/// The value of a field, by its exact name; the first, should there be several. Lines may end in CRLF or LF.
#[must_use]
pub fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.trim_end_matches('\r'))
}

/// A field that holds a number of bytes; `None` if it is not there.
pub(super) fn number(text: &str, name: &'static str) -> Result<Option<u64>, InfoError> {
    let Some(value) = field(text, name) else {
        return Ok(None);
    };
    value.parse().map(Some).map_err(|_| InfoError::NoNumber {
        field: name,
        value: shortened(value),
    })
}

/// A value fit for logs and answers: no control characters, and not longer than it has to be.
pub(super) fn shortened(value: &str) -> String {
    let visible = |it: char| if it.is_control() { '\u{fffd}' } else { it };
    let mut kept: String = value.chars().take(LONGEST).map(visible).collect();
    if value.chars().nth(LONGEST).is_some() {
        kept.push('…');
    }
    kept
}

// === impl EngineInfo ===

impl EngineInfo {
    /// Reads INFO SERVER. Engines that are compatible also tell a `redis_version`: their own comes first.
    #[must_use]
    pub fn parse(server: &str) -> Self {
        let version_of = |engine: &str| field(server, &format!("{engine}_version"));
        let named = field(server, "server_name").map(str::to_lowercase);
        let by_name = named
            .as_deref()
            .and_then(|engine| Some((engine, version_of(engine)?)));
        let own = || {
            COMPATIBLE
                .into_iter()
                .find_map(|it| Some((it, version_of(it)?)))
        };
        let redis = || version_of("redis").map(|version| ("redis", version));
        let (engine, version) = by_name.or_else(own).or_else(redis).unwrap_or_default();
        Self {
            engine: shortened(named.as_deref().unwrap_or(engine)),
            version: shortened(version),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic_or_long(text in ".{0,200}", version in ".{0,200}") {
            let _ = EngineInfo::parse(&text);
            let info = EngineInfo::parse(&format!("redis_version:{version}\r\n"));
            proptest::prop_assert!(info.version.len() <= 4 * 100 && info.engine.len() <= 4 * 100);
        }
    }

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
        assert_eq!(
            of("redis_version:7.0.0\r\nserver_name:Newcomer\r\nnewcomer_version:1.2\r\n"),
            "newcomer 1.2"
        );
        assert_eq!(
            of("version:2.8\nkvrocks_version:2.8\nredis_version:7.0.0\n"),
            "kvrocks 2.8"
        );
        assert_eq!(
            of("server_name:valkey\nredis_version:7.2.4\n"),
            "valkey 7.2.4"
        );
        // The compiler's version is nobody's engine.
        assert_eq!(of("gcc_version:12.2.0\r\n"), " ");
        assert_eq!(of("nonsense"), " ");
        assert_eq!(of(""), " ");
    }

    #[test]
    fn what_a_server_says_is_kept_short_and_printable() {
        let EngineInfo { engine, version } =
            EngineInfo::parse(&format!("redis_version:7\u{1b}[31m{}\n", "9".repeat(9999)));
        assert_eq!(engine, "redis");
        assert_eq!(version.chars().count(), LONGEST + 1);
        assert!(version.starts_with("7\u{fffd}[31m9") && version.ends_with('…'));
        assert_eq!(shortened(&"é".repeat(LONGEST)), "é".repeat(LONGEST));
    }

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "# Memory\r\nused_memory_rss:9\r\nused_memory:5\r\nx:a:b\r\n";
        assert_eq!(field(text, "used_memory"), Some("5"));
        assert_eq!(field(text, "x"), Some("a:b"));
        assert_eq!(field(text, "used"), None);
        assert_eq!(field("", "used"), None);
        assert_eq!(
            field("used_memory:5\nused_memory:6", "used_memory"),
            Some("5")
        );
        assert_eq!(field("used_memory:\r\n", "used_memory"), Some(""));
        assert_eq!(field("used_memory\n:5", "used_memory"), None);
    }

    #[test]
    fn no_text_makes_it_panic() {
        let pieces = [
            "used_memory",
            ":",
            "\r",
            "\n",
            "é",
            "\0",
            "server_name:",
            "x_version:",
            "",
        ];
        for first in pieces {
            for second in pieces {
                for third in pieces {
                    let text = format!("{first}{second}{third}{first}");
                    let _ = (field(&text, first), number(&text, "used_memory"));
                    let _ = EngineInfo::parse(&text);
                }
            }
        }
    }
}
