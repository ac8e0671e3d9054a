//! A miner's view of its leadership: the file to copy.
//!
//! The agent beside the miner owns the lock in Redis and grants the right to act, each time until a
//! deadline on a clock that both read. An [`Elector`] keeps the last grant, so that [`Elector::is_leader`] is
//! a comparison and no round trip. Its heartbeats are the calls of the miner's own work loop: whatever stops
//! the work stops them too, and the agent lets another miner lead.

use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
// In a project of your own: the code that tonic-prost-build generates from `proto/`.
use understudy::proto::election_service_client::ElectionServiceClient;
use understudy::proto::{CampaignRequest, Leadership, Role};

/// Where the agent listens unless it is told otherwise.
const DEFAULT_AGENT: &str = "127.0.0.1:50051";
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(1);
/// Until the agent has said how often it wants to hear.
const FIRST_HEARTBEAT_EVERY: Duration = Duration::from_millis(300);

/// The right to act as leader, until it ends by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Grant {
    /// Grows from term to term. Send it with every write to a store that can refuse a smaller one than it
    /// has seen.
    pub token: u64,
    /// When it ends, on CLOCK_BOOTTIME in nanoseconds.
    pub until: u64,
}

impl Grant {
    /// The clock is still below its end. Ask before every effect.
    pub fn holds(&self) -> bool {
        boottime_ns() < self.until
    }

    fn left(&self) -> Duration {
        Duration::from_nanos(self.until.saturating_sub(boottime_ns()))
    }
}

/// CLOCK_BOOTTIME in nanoseconds: the clock that miner and agent share.
pub fn boottime_ns() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Campaigns for one miner. Dropped without [`Self::close`] it ends its campaign at once: then nothing may act
/// any more.
pub struct Elector {
    state: Arc<watch::Sender<State>>,
    changes: watch::Receiver<State>,
    beats: Arc<Notify>,
    beaten: Option<Instant>,
    /// Of the term that was announced.
    announced: u64,
    campaigns: JoinHandle<()>,
}

#[derive(Debug, Clone)]
struct State {
    /// The last one that was sent on the present stream.
    last: Grant,
    /// And it stands.
    leading: bool,
    /// The version that ended it, unless it stands.
    ended_by: u64,
    /// Nothing acts any more under this token and smaller ones: the miner's word.
    stopped: u64,
    every: Duration,
    /// The stream is open.
    campaigning: bool,
    /// The miner leaves: no beat counts, and nothing extends its grant.
    closing: bool,
}

impl Elector {
    /// Returns at once; an agent that is not there yet is waited for. `agent` is an address
    /// (`127.0.0.1:50051`, which `""` means too) or a socket (`unix:/run/understudy/grpc.sock`); the miner's
    /// name is for the agent's status.
    ///
    /// # Errors
    /// `agent` is neither.
    pub fn start(agent: &str, miner: &str) -> Result<Self, tonic::transport::Error> {
        let agent = if agent.is_empty() {
            DEFAULT_AGENT
        } else {
            agent
        };
        let url = if agent.starts_with("unix:") {
            agent.into()
        } else {
            format!("http://{agent}")
        };
        let channel = Endpoint::from_shared(url)?.connect_lazy();
        let (state, changes) = watch::channel(State::default());
        let (state, beats) = (Arc::new(state), Arc::new(Notify::new()));
        let campaigns = Campaigns {
            channel,
            miner: miner.to_owned(),
            state: Arc::clone(&state),
            beats: Arc::clone(&beats),
        };
        Ok(Self {
            state,
            changes,
            beats,
            beaten: None,
            announced: 0,
            campaigns: tokio::spawn(campaigns.run()),
        })
    }

    /// The miner may act now. It is a heartbeat too: ask from the loop that does the work.
    pub fn is_leader(&mut self) -> bool {
        self.grant().is_some()
    }

    /// [`Self::is_leader`] with the token, for writes that are fenced.
    pub fn grant(&mut self) -> Option<Grant> {
        self.beat();
        self.state.borrow().held()
    }

    /// Tells the agent that the work loop turns.
    ///
    /// The miner is a candidate only while it beats: call this, or [`Self::is_leader`], from a loop that also
    /// turns while the miner stands by, several times a second. What is more than the agent wants is not sent.
    pub fn beat(&mut self) {
        let (every, campaigning) = {
            let state = self.state.borrow();
            (state.every, state.campaigning)
        };
        let due = |at: Instant| at.elapsed() >= every;
        if !campaigning || self.beaten.is_none_or(due) {
            self.beaten = Some(Instant::now());
            self.beats.notify_one();
        }
    }

    /// Says that nothing of the term with this token acts any more, and nothing will: the next leader need not
    /// wait for the end of its last grant. Optional, and only for when all work of the term has ended. If the
    /// term still stands, it ends.
    pub fn acknowledge(&self, token: u64) {
        let said = self.state.send_if_modified(|state| {
            let news = token > state.stopped;
            state.stopped = state.stopped.max(token);
            news
        });
        if said && self.state.borrow().acknowledged() != 0 {
            self.beats.notify_one();
        }
    }

    /// Waits for the beginning of a term, which brings its grant, and for its end, which brings none. Each end
    /// comes before the next beginning. May be dropped and called again.
    pub async fn changed(&mut self) -> Option<Grant> {
        loop {
            let now = self.changes.borrow_and_update().clone();
            let held = now.held();
            let token = held.map_or(0, |grant| grant.token);
            if token != self.announced {
                let ended = self.announced != 0;
                self.announced = if ended { 0 } else { token };
                return held.filter(|_| !ended);
            }
            tokio::select! {
                Ok(()) = self.changes.changed() => {}
                () = sleep(now.last.left()), if held.is_some() => {}
            }
        }
    }

    /// Leaves. Once the term was acknowledged or its last grant is over the campaign ends and the lock goes to
    /// the next miner; it returns after that. Nothing extends that grant.
    pub async fn close(mut self) {
        self.state.send_modify(|state| state.closing = true);
        loop {
            let now = self.changes.borrow_and_update().clone();
            if now.over() {
                break;
            }
            tokio::select! {
                Ok(()) = self.changes.changed() => {}
                () = sleep(now.last.left()) => {}
            }
        }
        // With the task goes its stream.
    }
}

impl Drop for Elector {
    fn drop(&mut self) {
        self.campaigns.abort();
    }
}

impl Default for State {
    fn default() -> Self {
        Self {
            last: Grant::default(),
            leading: false,
            ended_by: 0,
            stopped: 0,
            every: FIRST_HEARTBEAT_EVERY,
            campaigning: false,
            closing: false,
        }
    }
}

impl State {
    fn held(&self) -> Option<Grant> {
        let held = self.leading && self.last.token > self.stopped && self.last.holds();
        held.then_some(self.last)
    }

    fn over(&self) -> bool {
        self.last.token <= self.stopped || !self.last.holds()
    }

    /// The version of which it is true that nothing begun before it still acts; 0: none is known.
    fn acknowledged(&self) -> u64 {
        let over = !self.leading && (1..=self.stopped).contains(&self.last.token);
        if over { self.ended_by } else { 0 }
    }

    /// What the agent says becomes what is compared with the clock. Returns whether a term has ended.
    fn take(&mut self, now: &Leadership) -> bool {
        let led = self.leading;
        if now.role() == Role::Leader && self.closing {
            // Nobody can act on it any more, and it is not waited for.
        } else if now.role() == Role::Leader {
            let mut until = now.valid_until_boottime_ns;
            if now.fencing_token == self.last.token {
                until = until.max(self.last.until);
            }
            let token = now.fencing_token;
            (self.last, self.leading) = (Grant { token, until }, true);
        } else if self.leading {
            (self.leading, self.ended_by) = (false, now.version);
        }
        let every = now.heartbeat_every.and_then(|it| it.try_into().ok());
        // Zero would make every call a heartbeat.
        let every = every.filter(|every: &Duration| !every.is_zero());
        self.every = every.unwrap_or(self.every);
        led && !self.leading
    }
}

/// The streams to the agent, one after the other.
struct Campaigns {
    channel: Channel,
    miner: String,
    state: Arc<watch::Sender<State>>,
    beats: Arc<Notify>,
}

impl Campaigns {
    /// Only a beat opens a stream.
    async fn run(self) {
        let (mut retry, mut said) = (FIRST_RETRY, String::new());
        loop {
            self.beats.notified().await;
            let Ended { heard, error } = self.campaign().await;
            // No stream, no grant.
            self.state.send_modify(|state| {
                (state.last, state.leading) = (Grant::default(), false);
                state.campaigning = false;
            });
            if heard {
                (retry, said) = (FIRST_RETRY, String::new());
            }
            if let Some(error) = error.filter(|error| *error != said) {
                eprintln!("no campaign, so not a leader: {error}");
                said = error;
            }
            sleep(retry).await;
            retry = (retry * 2).min(LAST_RETRY);
        }
    }

    async fn campaign(&self) -> Ended {
        let mut ended = Ended {
            heard: false,
            error: Some("the agent ended the stream".into()),
        };
        let (requests, outgoing) = mpsc::channel(4);
        self.send(&requests); // the beat that opened it
        let opened = ElectionServiceClient::new(self.channel.clone())
            .campaign(ReceiverStream::new(outgoing))
            .await;
        let mut responses = match opened {
            Ok(responses) => responses.into_inner(),
            Err(status) => {
                // Why, in the agent's own words.
                ended.error = Some(status.message().to_owned());
                return ended;
            }
        };
        self.state.send_modify(|state| state.campaigning = true);
        let mut changes = self.state.subscribe();
        loop {
            tokio::select! {
                response = responses.message() => match response {
                    Ok(Some(response)) => {
                        ended.heard = true;
                        let leadership = response.leadership.unwrap_or_default();
                        let mut lost = false;
                        self.state.send_modify(|state| lost = state.take(&leadership));
                        if lost && self.state.borrow().acknowledged() != 0 {
                            self.send(&requests);
                        }
                    }
                    Ok(None) => return ended,
                    Err(status) => {
                        ended.error = Some(status.message().to_owned());
                        return ended;
                    }
                },
                () = self.beats.notified() => self.send(&requests),
                // The miner has given up a term that stands: with the stream it ends.
                Ok(_) = changes.wait_for(|it| it.leading && it.last.token <= it.stopped) => {
                    ended.error = None;
                    return ended;
                }
            }
        }
    }

    /// After `close` has begun no beat counts; an acknowledgement does.
    fn send(&self, requests: &mpsc::Sender<CampaignRequest>) {
        let (closing, acknowledged_version) = {
            let state = self.state.borrow();
            (state.closing, state.acknowledged())
        };
        if !closing || acknowledged_version != 0 {
            let miner = self.miner.clone();
            // Full: the agent does not read, and will tell by its silence.
            let _ = requests.try_send(CampaignRequest {
                miner,
                acknowledged_version,
                ..CampaignRequest::default()
            });
        }
    }
}

struct Ended {
    /// The agent said something.
    heard: bool,
    /// `None`: the miner ended it.
    error: Option<String>,
}
