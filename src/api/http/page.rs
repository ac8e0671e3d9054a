//! `/`: the page for a browser, the leader's name for other clients.

use std::hash::{BuildHasher, Hasher, RandomState};

use hyper::StatusCode;
use hyper::header::{
    CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use serde_json::json;

use super::{Http, HttpResponse, json_answer, with_type};

const PAGE: &str = include_str!("page.html");
/// The placeholder for this answer's nonce in the page's one script and one style.
const NONCE: &str = "{{nonce}}";

impl Http {
    pub(super) fn front(&self, accept: &str) -> HttpResponse {
        let mut answer = if wants_html(accept) {
            page()
        } else {
            let (status, now, _) = self.look();
            let leadership = status.leadership(now);
            let name = leadership.leader.as_deref().map_or("", instance);
            json_answer(StatusCode::OK, &json!({ "name": name }))
        };
        let headers = answer.headers_mut();
        headers.insert(VARY, HeaderValue::from_static("Accept"));
        answer
    }
}

/// A browser names HTML, and never JSON. A client that names both is a program.
fn wants_html(accept: &str) -> bool {
    let ranges = accept
        .split(',')
        .map(|it| it.split(';').next().unwrap_or_default().trim());
    let names = |wanted| {
        ranges
            .clone()
            .any(|it: &str| it.eq_ignore_ascii_case(wanted))
    };
    names("text/html") && !names("application/json")
}

fn page() -> HttpResponse {
    // Only this page's own script and style run, and they may connect only to this agent.
    let nonce = format!("{:016x}", RandomState::new().build_hasher().finish());
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let html = PAGE.replace(NONCE, &nonce);
    let mut answer = with_type(StatusCode::OK, "text/html; charset=utf-8", html);
    let mut set = |name: HeaderName, value: &'static str| {
        answer
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    };
    set(X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(REFERRER_POLICY, "no-referrer");
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        answer.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    }
    answer
}

/// The value of `--instance` in a holder's id; a Go miner's id unchanged.
fn instance(holder: &str) -> &str {
    match holder.rsplit_once('-') {
        Some((instance, hex)) if hex.len() == 8 && hex.bytes().all(|it| it.is_ascii_hexdigit()) => {
            instance
        }
        _ => holder,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_small_and_brings_everything_itself() {
        assert!(PAGE.len() <= 40 * 1024, "{} bytes", PAGE.len());
        for outside in ["http:", "https:", "//cdn", "@import", " src=", "url("] {
            let found = PAGE.replace("http://www.w3.org/2000/svg", "");
            assert!(!found.contains(outside), "{outside}");
        }
        assert_eq!(PAGE.matches(NONCE).count(), 2);
        for inline in ["style=\"", "onclick=", "onload="] {
            assert!(!PAGE.contains(inline), "the policy forbids {inline}");
        }
    }

    #[test]
    fn the_page_is_for_those_who_name_html_and_not_json() {
        for browser in [
            "text/html",
            "Text/HTML;q=0.9",
            "text/html,application/xhtml+xml,*/*;q=0.8",
        ] {
            assert!(wants_html(browser), "{browser}");
        }
        for program in [
            "",
            "*/*",
            "text/*",
            "application/json, text/html;q=0.1",
            "x-text/html",
        ] {
            assert!(!wants_html(program), "{program}");
        }
    }

    #[test]
    fn a_leader_is_called_by_its_instance() {
        assert_eq!(instance("miner-0-1a2b3c4d"), "miner-0");
        assert_eq!(instance("gohost-12345"), "gohost-12345");
        assert_eq!(instance("a-12345678"), "a");
        assert_eq!(instance("plain"), "plain");
        assert_eq!(instance("é-ééé"), "é-ééé");
    }
}
