//! The streams to the agent, one after the other.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::proto::election_service_client::ElectionServiceClient;
use crate::proto::{CampaignRequest, GetLeadershipRequest};
use crate::state::Shared;

const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(1);
/// An agent that lives answers within 100 ms.
const PATIENCE: Duration = Duration::from_secs(3);
/// The first revision of the agent that understands `standing_down` and `late`: an older one takes both for heartbeats.
const UNDERSTANDS_MORE: u32 = 1;

pub(crate) struct Campaigns {
    pub channel: Channel,
    pub shared: Arc<Shared>,
}

/// Dropped before the stream, also when the runtime ends with a campaign in it: the grant goes first.
struct Ends<'a> {
    shared: &'a Shared,
    /// `None`: the miner ended it.
    error: Option<String>,
}

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        let error = self.error.take();
        self.shared.due.store(false, Ordering::Relaxed);
        self.shared.sent.store(0, Ordering::Relaxed);
        self.shared.modify(|state| state.dropped(error));
    }
}

impl Campaigns {
    /// Only a heartbeat opens a stream.
    pub async fn run(self) {
        let mut retry = FIRST_RETRY;
        loop {
            self.shared.beats.notified().await;
            let may_open = {
                let state = self.shared.state.borrow();
                self.shared.due.load(Ordering::Relaxed)
                    && !state.stands_down()
                    && state.late.is_empty()
            };
            if !may_open {
                continue;
            }
            if self.campaign().await {
                retry = FIRST_RETRY;
            }
            sleep(retry).await;
            retry = (retry * 2).min(LAST_RETRY);
            self.shared.pulsed.notify_one();
        }
    }

    /// Asks for each grant, for `--miner-liveness=probe` and `always`.
    pub async fn ask(self) {
        let mut client = ElectionServiceClient::new(self.channel.clone());
        loop {
            let (extend, every) = {
                let state = self.shared.state.borrow();
                // The agent's own probe vouches for the miner, and what else there is must be fresh.
                (!state.stands_down() && state.late.is_empty(), state.every)
            };
            let asked = client.get_leadership(GetLeadershipRequest { extend });
            let answer = tokio::time::timeout(LAST_RETRY, asked).await;
            match answer.unwrap_or_else(|_| Err(no_answer())) {
                Ok(answer) => {
                    let now = answer.into_inner().leadership.unwrap_or_default();
                    self.shared.modify(|state| state.take(&now, 0));
                }
                Err(why) => {
                    let trouble = self.explain(&why);
                    // What was granted holds until its deadline: no stream says more.
                    self.shared.modify(|state| {
                        (state.role, state.reason, state.trouble) =
                            (String::new(), String::new(), trouble);
                    });
                }
            }
            sleep(every).await;
        }
    }

    /// One campaign, until its stream ends. Tells whether the agent said anything.
    async fn campaign(&self) -> bool {
        let shared = &self.shared;
        let (requests, outgoing) = mpsc::channel(4);
        self.send(&requests); // the heartbeat that opened it
        let mut client = ElectionServiceClient::new(self.channel.clone());
        let opens = client.campaign(ReceiverStream::new(outgoing));
        let opened = tokio::time::timeout(PATIENCE, opens).await;
        let mut responses = match opened.unwrap_or_else(|_| Err(no_answer())) {
            Ok(responses) => responses.into_inner(),
            Err(status) => {
                let error = Some(self.explain(&status));
                drop(Ends { shared, error });
                return false;
            }
        };
        shared.modify(|state| (state.campaigning, state.revision) = (true, 0));
        let mut changes = shared.state.subscribe();
        let mut heard = false;
        let error = Some(format!("{}: the agent ended the stream", shared.agent));
        let mut ends = Ends { shared, error }; // after the stream, and so dropped before it
        loop {
            tokio::select! {
                response = responses.message() => match response {
                    Ok(Some(response)) => {
                        heard = true;
                        let leadership = response.leadership.unwrap_or_default();
                        shared.modify(|state| state.take(&leadership, response.revision));
                    }
                    Ok(None) => return heard,
                    Err(status) => {
                        ends.error = Some(self.explain(&status));
                        return heard;
                    }
                },
                () = shared.beats.notified() => self.send(&requests),
                // The miner has acknowledged a term that stands: with the stream it ends.
                Ok(_) = changes.wait_for(|it| it.leading && it.last.token <= it.stopped) => {
                    ends.error = None;
                    return heard;
                }
            }
        }
    }

    /// An error in the words of somebody who can mend it.
    fn explain(&self, why: &Status) -> String {
        let agent = &self.shared.agent;
        if why.code() != Code::FailedPrecondition {
            format!("{agent}: {}", words(why))
        } else if self.shared.extends {
            format!(
                "{agent} runs with --miner-liveness=campaign: make the elector with Elector::start"
            )
        } else {
            format!(
                "{agent} runs with --miner-liveness=probe or always, where nobody campaigns: make the elector with Elector::extending"
            )
        }
    }

    /// What is to be sent now. A miner that stands down sends no heartbeat, and an acknowledgement all the same.
    fn send(&self, requests: &mpsc::Sender<CampaignRequest>) {
        let mut request = CampaignRequest {
            miner: self.shared.miner.clone(),
            ..CampaignRequest::default()
        };
        let state = self.shared.state.borrow();
        request.acknowledged_version = state.acknowledged();
        let understands = state.revision >= UNDERSTANDS_MORE;
        let mut beats = false;
        if state.stands_down() {
            self.shared.due.store(false, Ordering::Relaxed);
            request.standing_down = understands && state.says_so();
        } else if !state.late.is_empty() {
            if understands {
                request.late = state.late.join(", ");
            }
        } else {
            beats = self.shared.due.swap(false, Ordering::Relaxed);
        }
        drop(state);
        let says =
            request.standing_down || !request.late.is_empty() || request.acknowledged_version != 0;
        if beats || says {
            // Full: the agent does not read, and will tell by its silence.
            let _ = requests.try_send(request);
        }
    }
}

fn no_answer() -> Status {
    Status::deadline_exceeded("the agent does not answer")
}

/// The library's own words say only that there was an error, those behind them which.
fn words(why: &Status) -> String {
    let mut words = why.message().to_owned();
    let mut source = std::error::Error::source(why);
    while let Some(error) = source {
        let more = error.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        source = error.source();
    }
    words
}
