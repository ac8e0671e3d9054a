//! `/leader`, at once or at the next change.

use std::time::Duration;

use hyper::StatusCode;
use tokio::time::timeout;

use super::{Http, HttpResponse, code, json_answer, text};
use crate::clock;
use crate::election::Liveness;
use crate::miner::Message;
use crate::status::Status;
use crate::time::Instant;

/// The longest wait: proxies close connections that are silent for longer.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// `/leader?wait=30s&since=…`
#[derive(Debug, PartialEq)]
struct Wait {
    longest: Duration,
    since: Option<String>,
}

impl Http {
    pub(super) async fn leader(&self, query: &str) -> HttpResponse {
        let wait = match Wait::parse(query) {
            Ok(wait) => wait,
            Err(why) => return text(StatusCode::BAD_REQUEST, &why),
        };
        if let Some(wait) = wait {
            self.wait(wait).await;
        }
        let (status, now, _) = self.look();
        let leads = status.leadership(now).leads();
        json_answer(code(leads), &status.leadership_shown(now))
    }

    /// Returns at the awaited change, or when the wait is over.
    async fn wait(&self, wait: Wait) {
        // If too many wait already, answer with the present state.
        let place = self.leader_waits.try_acquire();
        if place.is_ok() {
            let mut published = self.shared.published.clone();
            let longest = {
                let (status, now, _) = self.look();
                // A client that acts on the answer needs the next one while it is valid.
                if status.leadership(now).leads() {
                    wait.longest.min(status.identity.heartbeat_every)
                } else {
                    wait.longest
                }
            };
            let since = wait.since.unwrap_or_else(|| {
                let (status, now, _) = self.look();
                status.leadership_id(now)
            });
            let changed = async {
                // A leader lapses by the clock, and the election publishes that at the same moment.
                let _ = published
                    .wait_for(|status| !names(&since, status, clock::boottime()))
                    .await;
            };
            let stop = &self.shared.stop;
            let _ = timeout(longest, stop.run_until_cancelled(changed)).await;
        }
        if self.shared.published.borrow().identity.liveness != Liveness::Campaign {
            // Without a running agent there is nothing to extend; the status says so.
            let _ = self.desk.ask(|reply| Message::Extend { reply }).await;
        }
    }
}

/// Whether `since` names the present state: a `leadership_id`, or a `leadership_version` of this process.
fn names(since: &str, status: &Status, now: Instant) -> bool {
    let id = status.leadership_id(now);
    let version = id.rsplit('.').next();
    since == id || Some(since) == version
}

impl Wait {
    /// `None` if the request does not ask to wait.
    fn parse(query: &str) -> Result<Option<Self>, String> {
        let (mut longest, mut since) = (None, None);
        for pair in query.split('&').filter(|it| !it.is_empty()) {
            match pair.split_once('=') {
                Some(("wait", length)) => {
                    let length = humantime::parse_duration(length).ok();
                    longest = Some(length.filter(|it| *it <= LONGEST_WAIT).ok_or_else(|| {
                        "wait: expected a duration of at most 60s, such as 30s\n".to_owned()
                    })?);
                }
                Some(("since", id)) => since = Some(id.to_owned()),
                _ => {}
            }
        }
        Ok(longest.map(|longest| Self { longest, since }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_has_an_end_and_bad_ones_are_told() {
        let wait = |seconds, since: Option<&str>| Wait {
            longest: Duration::from_secs(seconds),
            since: since.map(Into::into),
        };
        assert_eq!(
            Wait::parse("wait=30s&since=a.7"),
            Ok(Some(wait(30, Some("a.7"))))
        );
        assert_eq!(
            Wait::parse("since=7&wait=1m&other"),
            Ok(Some(wait(60, Some("7"))))
        );
        assert_eq!(Wait::parse("wait=0s"), Ok(Some(wait(0, None))));
        assert_eq!(Wait::parse("since=7"), Ok(None));
        for bad in ["wait=", "wait=61s", "wait=-1s", "wait=soon", "wait=30"] {
            assert!(
                Wait::parse(bad).is_err_and(|why| why.contains("60s")),
                "{bad}"
            );
        }
    }
}
