//! Which server answers, and whether this version was tested with it.

use super::info::{field, shortened};

/// Engines that report their own version beside the `redis_version` that they claim compatibility with.
const COMPATIBLE: [&str; 7] = [
    "valkey",
    "dragonfly",
    "keydb",
    "kvrocks",
    "garnet",
    "redict",
    "upstash",
];

/// Major and minor number of the oldest Redis or Valkey that the tests run on.
const OLDEST_TRIED: (u32, u32) = (6, 2);

/// The kind of server that answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineInfo {
    /// `redis`, `valkey`, …, in lower case; empty if the server does not report it.
    pub engine: String,
    /// In the engine's own form: `7.0.15`, `df-v1.27.1`; empty if the server does not report it.
    pub version: String,
}

// === impl EngineInfo ===

impl EngineInfo {
    /// Reads INFO SERVER. Compatible engines also report a `redis_version`; their own version wins.
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

    /// Whether this version was tested with the engine; the table of `docs/redis.md` has what others lack.
    #[must_use]
    pub fn tried(&self) -> bool {
        let mut numbers = self.version.split('.').map(|part| part.parse().ok());
        let version = numbers.next().flatten().zip(numbers.next().flatten());
        matches!(&*self.engine, "redis" | "valkey") && version.is_some_and(|it| it >= OLDEST_TRIED)
    }
}

#[cfg(test)]
mod tests {
    use super::super::info::MAX_CHARS;
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
        // The compiler's version is not an engine's.
        assert_eq!(of("gcc_version:12.2.0\r\n"), " ");
        assert_eq!(of("nonsense"), " ");
        assert_eq!(of(""), " ");
    }

    #[test]
    fn what_a_server_says_is_kept_short_and_printable() {
        let EngineInfo { engine, version } =
            EngineInfo::parse(&format!("redis_version:7\u{1b}[31m{}\n", "9".repeat(9999)));
        assert_eq!(engine, "redis");
        assert_eq!(version.chars().count(), MAX_CHARS + 1);
        assert!(version.starts_with("7\u{fffd}[31m9") && version.ends_with('…'));
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
                    let _ = field(&text, first);
                    let _ = EngineInfo::parse(&text);
                }
            }
        }
    }

    #[test]
    fn old_and_unknown_engines_are_untried() {
        let tried = |text| EngineInfo::parse(text).tried();
        assert!(tried("redis_version:6.2.0\n") && tried("redis_version:10.0\n"));
        assert!(tried("server_name:valkey\nvalkey_version:9.1.2\n"));
        assert!(!tried("redis_version:6.0.16\n") && !tried("redis_version:7\n"));
        assert!(!tried("redis_version:7.0.0\nkvrocks_version:2.8.0\n") && !tried(""));
    }
}
