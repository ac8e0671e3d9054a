//! Describes a text that is not a Redis URL without showing any of it, because any part may be a secret.

use std::path::Path;

/// The schemes that are safe to show. Any other word before `://` may be part of a secret.
const SCHEMES: [&str; 14] = [
    "redis",
    "rediss",
    "redis+unix",
    "unix",
    "redis-sentinel",
    "rediss-sentinel",
    "redis+sentinel",
    "redis-cluster",
    "rediss-cluster",
    "valkey",
    "http",
    "https",
    "grpc",
    "tcp",
];

/// The keys of connection strings of other kinds, in lower case and without spaces.
const KEYS: [&str; 14] = [
    "password",
    "pass",
    "pwd",
    "auth",
    "user",
    "username",
    "ssl",
    "tls",
    "abortconnect",
    "connecttimeout",
    "synctimeout",
    "defaultdatabase",
    "host",
    "port",
];

const SEPARATORS: [char; 5] = [' ', ',', ';', '&', '?'];

/// A malformed URL in a form that is safe to show: its scheme, if known.
#[must_use]
pub fn redacted(url: &str) -> String {
    let scheme = url.trim().split_once("://").map(|(scheme, _)| scheme);
    match scheme.filter(|scheme| SCHEMES.contains(scheme)) {
        Some(scheme) => format!("{scheme}://…"),
        None => "…".into(),
    }
}

/// PATH_MAX of Linux.
const LONGEST_PATH: usize = 4096;

/// The value of any other flag in a form that is safe to show: a Redis URL, or a part of one, may be in the wrong flag.
#[must_use]
pub fn redacted_value(text: &str) -> String {
    if text.contains("://") || text.contains('@') || text.split(SEPARATORS).any(is_setting) {
        return redacted(text);
    }
    text.into()
}

/// An unusable path in a form that is safe to show: a secret may be in its place. Shown only if it begins like a path
/// and has only the characters of one.
#[must_use]
pub fn redacted_path(path: &Path) -> String {
    let text = path.to_string_lossy();
    let begins = ["/", "./", "../"].iter().any(|it| text.starts_with(it));
    let plain = |it: char| it.is_ascii_alphanumeric() || "/._-+ ".contains(it);
    if begins && text.len() <= LONGEST_PATH && text.chars().all(plain) {
        return text.into_owned();
    }
    "…".into()
}

/// What the text looks like, and how to write it as a URL.
pub(super) fn looks_like(text: &str) -> Option<&'static str> {
    let text = text.trim();
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    if text.starts_with(['"', '\'']) {
        return Some("a URL in quotes: write it without them");
    }
    if ["redis-cli", "-h ", "-u ", "-a "]
        .iter()
        .any(|it| text.starts_with(it))
    {
        return Some("the command line of redis-cli: write redis://USER:PASSWORD@HOST:6379/0");
    }
    if rest.split(',').skip(1).any(is_setting) {
        return Some(
            "a StackExchange.Redis connection string, as Azure's portal gives it: write rediss://HOST:6380 where it \
             says ssl=True, else redis://HOST:6379, with the password in --redis-password-file or \
             UNDERSTUDY_REDIS_PASSWORD",
        );
    }
    if rest.split(SEPARATORS).any(is_setting) {
        return Some(
            "a list of settings such as host=… password=…: write redis://HOST:6379/0, with the password in \
             --redis-password-file or UNDERSTUDY_REDIS_PASSWORD",
        );
    }
    if let Some((name, _)) = text.split_once('=')
        && name
            .bytes()
            .all(|it| it.is_ascii_alphanumeric() || it == b'_')
    {
        return Some("an assignment: write only what stands behind the `=`");
    }
    (!text.contains("://")).then_some(
        "a host without a scheme: write redis://HOST:6379, or rediss://HOST:6379 for TLS",
    )
}

/// `password=…`, `Connect Timeout = …`
fn is_setting(part: &str) -> bool {
    part.split_once('=').is_some_and(|(key, _)| {
        let key = key.replace(' ', "").to_ascii_lowercase();
        KEYS.contains(&key.as_str())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_shown_only_if_it_looks_like_one() {
        for path in ["/run/secrets/redis-password", "./password", "../tls/ca.pem"] {
            assert_eq!(redacted_path(Path::new(path)), path);
        }
        let long = format!("/{}", "x".repeat(5000));
        let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQ";
        for secret in [
            "hunter2",
            "redis://:hunter2@h",
            "/run/\nhunter2",
            "/a=hunter2",
            pem,
            &long,
        ] {
            assert_eq!(redacted_path(Path::new(secret)), "…", "{secret}");
        }
    }

    #[test]
    fn only_a_known_scheme_is_shown() {
        assert_eq!(redacted("rediss://u:hunter2@h"), "rediss://…");
        for text in ["hunter2://h", "h:1,password=hunter2", "hunter2", "", "//h"] {
            assert_eq!(redacted(text), "…");
        }
    }

    #[test]
    fn a_value_is_shown_unless_it_may_be_a_url() {
        for text in ["", "30s", "a b", "unix:/path", "[::]:9090", "x=y"] {
            assert_eq!(redacted_value(text), text);
        }
        for text in ["redis://:hunter2@h", "u:hunter2@h", "h,password=hunter2"] {
            assert!(!redacted_value(text).contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn other_forms_are_called_by_their_names() {
        for (text, form) in [
            ("h:6380,password=p,ssl=True", "StackExchange.Redis"),
            ("redis://h:1,Password=p", "StackExchange.Redis"),
            ("h1:1,h2:1,connect timeout=5", "StackExchange.Redis"),
            ("host=h password=p", "a list of settings"),
            ("Host=h;Password=p", "a list of settings"),
            ("redis://h password=p", "a list of settings"),
            ("\"redis://h\"", "quotes"),
            ("REDIS_URL=redis://h", "an assignment"),
            ("redis-cli -h h -a p", "redis-cli"),
            ("-h h -a p", "redis-cli"),
            ("h:6379", "a host without a scheme"),
        ] {
            let found = looks_like(text).unwrap_or_default();
            assert!(found.contains(form), "{text}: {found}");
        }
        for text in ["redis://a,b", "redis://h/x", "http://h"] {
            assert_eq!(looks_like(text), None);
        }
    }
}
