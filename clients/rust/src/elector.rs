//! Campaigns for one miner.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::campaign::Campaigns;
use crate::dial::dial;
use crate::fake::Fake;
use crate::grant::Grant;
use crate::pulse::Pulse;
use crate::state::{Shared, State};
use crate::view::View;

/// Campaigns for one miner. Dropped without [`Self::close`] it withdraws, and its campaign ends once the last grant is over,
/// for as long as the runtime lives in which it was started. Others may ask a [`Leader`] of it.
pub struct Elector {
    shared: Arc<Shared>,
    leader: Leader,
    changes: watch::Receiver<State>,
    /// That run its campaign, and where they do.
    tasks: Vec<JoinHandle<()>>,
    runtime: Option<Handle>,
}

/// Tells anybody, on any thread, whether the miner leads. Cheap to clone, and to ask.
#[derive(Clone)]
pub struct Leader {
    shared: Arc<Shared>,
}

/// While one exists the miner is no candidate, and what [`Elector::done`] says does not count yet.
pub struct Cleaning {
    shared: Arc<Shared>,
}

/// Why nobody can lead here.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The agent's address is none: this one.
    Address(String),
    /// No tokio runtime runs here, whose tasks campaign.
    NoRuntime,
    /// This is not Linux, whose CLOCK_BOOTTIME ends grants.
    Unsupported,
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(agent) => write!(
                f,
                "the agent's address is malformed: expected 127.0.0.1:50051 or unix:/path, not {agent:?}"
            ),
            Self::NoRuntime => f.write_str(
                "no tokio runtime runs here: call this from a task of one, or after Runtime::enter, and let it run as long as \
                 the elector",
            ),
            Self::Unsupported => f.write_str(
                "no miner leads here, since grants end by Linux' CLOCK_BOOTTIME, which agent and miner share; for \
                 development use Elector::always",
            ),
        }
    }
}

impl std::error::Error for StartError {}

impl Leader {
    /// The miner may act now. It vouches for nothing, and takes no lock.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.shared.now.holds()
    }

    /// [`Self::is_leader`] with the token, for writes that are fenced.
    #[must_use]
    pub fn grant(&self) -> Option<Grant> {
        self.shared.now.get()
    }

    /// Who leads, and why this miner does or does not.
    #[must_use]
    pub fn view(&self) -> View {
        let held = self.grant();
        View {
            leads: held.is_some(),
            token: held.map_or(0, |grant| grant.token),
            ..self.shared.views.borrow().clone()
        }
    }
}

impl Drop for Cleaning {
    fn drop(&mut self) {
        self.shared.modify(|state| {
            state.cleaners -= 1;
            state.finish();
        });
        self.shared.pulsed.notify_one();
    }
}

impl Elector {
    /// Returns at once; an agent that is not there yet is waited for. `agent` is an address
    /// (`127.0.0.1:50051`, which `""` means too) or a socket (`unix:/run/understudy/grpc.sock`); the miner's
    /// name is for the agent's status.
    ///
    /// # Errors
    /// `agent` is neither, this is not Linux, or no tokio runtime runs here.
    pub fn start(agent: &str, miner: &str) -> Result<Self, StartError> {
        Self::with(agent, miner, false)
    }

    /// Asks for each grant, in place of campaigning: for `--miner-liveness=probe` and `always`.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn extending(agent: &str, miner: &str) -> Result<Self, StartError> {
        Self::with(agent, miner, true)
    }

    fn with(agent: &str, miner: &str, extends: bool) -> Result<Self, StartError> {
        if !cfg!(target_os = "linux") {
            return Err(StartError::Unsupported);
        }
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(StartError::NoRuntime);
        }
        let (agent, channel) = dial(agent).ok_or_else(|| StartError::Address(agent.to_owned()))?;
        let shared = Shared::new(&agent, miner, extends);
        let campaigns = Campaigns {
            channel,
            shared: Arc::clone(&shared),
        };
        let campaigns = if extends {
            tokio::spawn(campaigns.ask())
        } else {
            tokio::spawn(campaigns.run())
        };
        let tends = tokio::spawn(Arc::clone(&shared).tend());
        Ok(Self::of(shared, vec![campaigns, tends]))
    }

    fn of(shared: Arc<Shared>, tasks: Vec<JoinHandle<()>>) -> Self {
        Self {
            changes: shared.state.subscribe(),
            leader: Leader {
                shared: Arc::clone(&shared),
            },
            shared,
            tasks,
            runtime: Handle::try_current().ok(),
        }
    }

    /// An elector without an agent that leads when a test says so, on every system.
    #[must_use]
    pub fn fake(miner: &str) -> (Self, Fake) {
        let shared = Shared::new("", miner, false);
        let token = AtomicU64::new(0);
        let fake = Fake {
            shared: Arc::clone(&shared),
            token,
        };
        (Self::of(shared, Vec::new()), fake)
    }

    /// An elector without an agent that leads until it withdraws: for a laptop.
    #[must_use]
    pub fn always(miner: &str) -> Self {
        let (elector, fake) = Self::fake(miner);
        fake.elect();
        elector
    }

    /// For those who only ask.
    #[must_use]
    pub fn leader(&self) -> Leader {
        self.leader.clone()
    }

    /// The miner may act now. It vouches for nothing, and takes no lock.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.leader.is_leader()
    }

    /// [`Self::is_leader`] with the token, for writes that are fenced.
    #[must_use]
    pub fn grant(&self) -> Option<Grant> {
        self.leader.grant()
    }

    /// Who leads, and why this miner does or does not.
    #[must_use]
    pub fn view(&self) -> View {
        self.leader.view()
    }

    /// Each change of that, the newest one for a reader that falls behind.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<View> {
        self.shared.views.subscribe()
    }

    /// Tells the agent that the work loop turns.
    ///
    /// The miner is a candidate only while something vouches for it: call this from a loop that also turns while the
    /// miner stands by, several times a second. What is more than the agent wants is not sent, and nothing is while a pulse
    /// is late.
    pub fn beat(&self) {
        let now = self.shared.moment();
        self.shared.beaten.store(now, Ordering::Relaxed);
        let every = self.shared.state.borrow().every.as_nanos() as u64;
        if self.shared.is_due(now, every) {
            self.shared.heartbeat(now);
        }
    }

    /// Makes a standing pulse, which a standby beats too: until its first beat, and whenever the last one is longer ago
    /// than `limit`, the miner is no candidate.
    #[must_use]
    pub fn pulse(&self, name: &str, limit: Duration) -> Pulse {
        self.adds(Pulse::new(&self.shared, name, Some(limit), 0))
    }

    /// Makes a pulse of the term that [`Self::changed`] has announced, which exists until that ends. It is stale until its
    /// first beat, so beat it as soon as the work has begun. A standby has none of these: something else must vouch for it.
    #[must_use]
    pub fn term_pulse(&self, name: &str, limit: Duration) -> Pulse {
        let token = self.shared.state.borrow().announced;
        let pulse = Pulse::new(&self.shared, name, Some(limit), token);
        if token == 0 { pulse } else { self.adds(pulse) }
    }

    /// Runs a check of the miner's own as often as the agent wants to hear, and vouches for the work while it says yes. A
    /// check that hangs says nothing.
    pub fn beat_while<F, Yes>(&mut self, mut check: F) -> Pulse
    where
        F: FnMut() -> Yes + Send + 'static,
        Yes: Future<Output = bool> + Send,
    {
        let pulse = self.adds(Pulse::new(&self.shared, "check", None, 0));
        let (checked, shared) = (pulse.clone(), Arc::clone(&self.shared));
        self.tasks.push(tokio::spawn(async move {
            while !checked.inner.stopped.load(Ordering::Relaxed) {
                if check().await {
                    checked.beat();
                }
                let every = shared.state.borrow().every;
                sleep(every).await;
            }
        }));
        pulse
    }

    fn adds(&self, pulse: Pulse) -> Pulse {
        self.shared.pulses().push(Arc::clone(&pulse.inner));
        pulse
    }

    /// Says that nothing of the term with this token acts any more, and nothing will: the next leader need not
    /// wait for the end of its last grant. Optional, and only for when all work of the term has ended. If the
    /// term still stands, it ends.
    pub fn acknowledge(&self, token: u64) {
        if token > self.shared.state.borrow().stopped {
            self.shared
                .modify(|state| state.stopped = state.stopped.max(token));
        }
    }

    /// Waits for the beginning of a term, which brings its grant, and for its end, which brings none. Each end
    /// comes before the next beginning. May be dropped and called again.
    ///
    /// To call it again after an end says that this has been dealt with: until then the miner is no candidate. What takes
    /// longer holds a [`Self::cleaning`].
    pub async fn changed(&mut self) -> Option<Grant> {
        if self.shared.state.borrow().cleaning {
            self.shared
                .modify(|state| (state.cleaning, state.announced) = (false, 0));
            self.shared.pulsed.notify_one();
        }
        loop {
            let now = self.changes.borrow_and_update().clone();
            let held = now.held();
            if now.announced != 0 && held.is_none_or(|grant| grant.token != now.announced) {
                self.shared.modify(|state| state.cleaning = true);
                self.shared.forget(|pulse| pulse.token != 0);
                return None;
            }
            if let Some(grant) = held.filter(|_| now.announced == 0) {
                let mut begun = false;
                self.shared.modify(|state| {
                    begun = state.held().is_some_and(|it| it.token == grant.token);
                    if begun {
                        state.announced = grant.token;
                    }
                });
                if begun {
                    return Some(grant);
                }
                continue;
            }
            tokio::select! {
                Ok(()) = self.changes.changed() => {}
                () = sleep(now.last.left()), if held.is_some() => {
                    self.shared.modify(|_| {});
                }
            }
        }
    }

    /// Says that the miner still cleans up after a term, until it is dropped.
    #[must_use]
    pub fn cleaning(&self) -> Cleaning {
        self.shared.modify(|state| state.cleaners += 1);
        let shared = Arc::clone(&self.shared);
        Cleaning { shared }
    }

    /// Comes first when the miner is asked to end: from here on it neither leads nor is a candidate. The
    /// stream stays, since the miner's cleanup may still act. [`Self::done`] says when it does not.
    pub fn withdraw(&self) {
        self.shared.modify(|state| state.withdrawn = true);
    }

    /// Says that the caller has ended all that acted as leader: an acknowledgement of the last term, or of the present one,
    /// which ends. It counts once no [`Cleaning`] exists any more.
    pub fn done(&self) {
        self.shared.modify(|state| {
            state.given_up = state.given_up.max(state.last.token).max(state.announced);
            state.finished = true;
            state.finish();
        });
    }

    /// Withdraws. Once the term was acknowledged or its last grant is over the campaign ends and the lock goes to
    /// the next miner; it returns after that, at most `--miner-timeout` later. Dropped earlier, as by a `timeout`, the campaign
    /// still ends when it would have, if the runtime lives.
    pub async fn close(self) {
        self.withdraw();
        outlast_grant(self.changes.clone(), self.shared.extends).await;
        // With the tasks goes the stream.
    }
}

/// Waits until no work that was begun may act: the agent takes the end of the stream for the end of the work.
async fn outlast_grant(mut changes: watch::Receiver<State>, extends: bool) {
    loop {
        let now = changes.borrow_and_update().clone();
        if now.over() || extends {
            return;
        }
        tokio::select! {
            Ok(()) = changes.changed() => {}
            () = sleep(now.last.left()) => {}
        }
    }
}

impl Drop for Elector {
    fn drop(&mut self) {
        // Others may still ask.
        self.withdraw();
        let tasks = std::mem::take(&mut self.tasks);
        let (changes, extends) = (self.changes.clone(), self.shared.extends);
        let over = changes.borrow().over() || extends;
        match &self.runtime {
            Some(runtime) if !over => {
                runtime.spawn(async move {
                    outlast_grant(changes, extends).await;
                    tasks.iter().for_each(JoinHandle::abort);
                });
            }
            _ => tasks.iter().for_each(JoinHandle::abort),
        }
    }
}
