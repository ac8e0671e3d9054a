//! What the elector knows, and what follows from it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use crate::grant::{Grant, Now};
use crate::proto::{Leadership, Role};
use crate::pulse::Inner;
use crate::view::View;

/// Until the agent has said how often it wants to hear.
const FIRST_HEARTBEAT_EVERY: Duration = Duration::from_millis(300);
/// `--miner-timeout` unless it is set: so long may nothing vouch for the work before that is told.
const QUIET_AT_FIRST: Duration = Duration::from_secs(3);

#[derive(Debug, Clone)]
pub(crate) struct State {
    pub view: View,
    /// What the agent said last, and why there is no stream.
    pub role: String,
    pub reason: String,
    pub leader: String,
    pub instance: String,
    pub trouble: String,
    /// The last one that was sent on the present stream.
    pub last: Grant,
    /// And the agent says that it stands.
    pub leading: bool,
    /// The version that ended it, unless it stands.
    pub ended_by: u64,
    /// Nothing acts any more under this token and smaller ones: the miner's word.
    pub stopped: u64,
    /// Nor does the miner lead under this one.
    pub given_up: u64,
    /// The token of the term that was announced, until its end was dealt with.
    pub announced: u64,
    /// Its end was announced, and is being dealt with.
    pub cleaning: bool,
    /// So many say that they still clean up.
    pub cleaners: usize,
    /// `done` was called: the last term is acknowledged when they do not.
    pub finished: bool,
    pub withdrawn: bool,
    pub every: Duration,
    /// The stream is open.
    pub campaigning: bool,
    /// What the agent at its end understands.
    pub revision: u32,
    pub late: Vec<String>,
    pub unvouched: bool,
}

/// What all parts of an elector share.
pub(crate) struct Shared {
    pub agent: String,
    pub miner: String,
    /// Asks for each grant, and does not campaign.
    pub extends: bool,
    pub state: watch::Sender<State>,
    pub views: watch::Sender<View>,
    pub now: Now,
    pub beats: Notify,
    pub pulsed: Notify,
    /// A heartbeat is to be sent.
    pub due: AtomicBool,
    /// When `beat` was last called, and last counted.
    pub beaten: AtomicU64,
    pub sent: AtomicU64,
    pub pulses: Mutex<Vec<Arc<Inner>>>,
    began: Instant,
}

impl State {
    pub fn new() -> Self {
        let view = View {
            reason: "starting".into(),
            ..View::default()
        };
        Self {
            reason: view.reason.clone(),
            view,
            role: String::new(),
            leader: String::new(),
            instance: String::new(),
            trouble: String::new(),
            last: Grant::default(),
            leading: false,
            ended_by: 0,
            stopped: 0,
            given_up: 0,
            announced: 0,
            cleaning: false,
            cleaners: 0,
            finished: false,
            withdrawn: false,
            every: FIRST_HEARTBEAT_EVERY,
            campaigning: false,
            revision: 0,
            late: Vec::new(),
            unvouched: false,
        }
    }

    fn cleans(&self) -> bool {
        self.cleaning || self.cleaners > 0
    }

    /// The agent says that it leads, under a term that the miner has given up.
    fn has_given_up(&self) -> bool {
        self.leading && self.last.token <= self.stopped.max(self.given_up)
    }

    pub fn held(&self) -> Option<Grant> {
        let announced = self.announced == 0 || self.announced == self.last.token;
        let leads = self.leading && !self.withdrawn && !self.cleans() && !self.has_given_up();
        (leads && announced && self.last.holds()).then_some(self.last)
    }

    /// The miner must not be elected: it says so, or has not noticed yet that its term is over.
    pub fn stands_down(&self) -> bool {
        self.says_so() || self.announced != 0 && self.held().is_none()
    }

    /// It lives, and leaves, cleans up, or has given up a term that the agent still holds.
    pub fn says_so(&self) -> bool {
        self.withdrawn || self.cleans() || self.has_given_up()
    }

    pub fn over(&self) -> bool {
        self.last.token <= self.stopped || self.last.until == u64::MAX || !self.last.holds()
    }

    /// The version of which it is true that nothing begun before it still acts; 0: none is known.
    pub fn acknowledged(&self) -> u64 {
        let over = !self.leading && (1..=self.stopped).contains(&self.last.token);
        if over { self.ended_by } else { 0 }
    }

    /// Once nobody cleans up any more, what `done` was called for is acknowledged.
    pub fn finish(&mut self) {
        if self.finished && self.cleaners == 0 {
            (self.finished, self.cleaning, self.announced) = (false, false, 0);
            self.stopped = self.stopped.max(self.given_up);
        }
    }

    /// What the agent says becomes what is compared with the clock.
    pub fn take(&mut self, now: &Leadership, revision: u32) {
        let word = |name: &str, prefix: &str| name.trim_start_matches(prefix).to_lowercase();
        self.role = word(now.role().as_str_name(), "ROLE_");
        self.reason = word(now.reason().as_str_name(), "REASON_");
        (self.leader, self.instance) = (now.leader_id.clone(), now.instance_id.clone());
        (self.trouble, self.revision) = (String::new(), revision);
        if now.role() == Role::Leader && self.withdrawn {
            // Nothing extends the grant that `close` waits for.
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
    }

    /// No stream, no grant.
    pub fn dropped(&mut self, trouble: Option<String>) {
        (self.last, self.leading, self.campaigning) = (Grant::default(), false, false);
        let own = if trouble.is_none() { "given_up" } else { "" };
        (self.role, self.reason) = (String::new(), own.into());
        self.trouble = trouble.unwrap_or_default();
    }

    fn see(&mut self) {
        let held = self.held();
        let late = self.late.join(", ");
        let mut detail = if late.is_empty() {
            late
        } else {
            format!("late: {late}")
        };
        let own = if self.withdrawn {
            Some("withdrawn")
        } else if self.cleans() && self.leading || self.reason == "not_candidate" {
            Some("cleaning_up") // else the agent's reason says more: why it is over
        } else if self.has_given_up() {
            Some("given_up")
        } else if held.is_some() {
            None
        } else if !self.late.is_empty() {
            Some("no_beats")
        } else if self.unvouched {
            detail = "nothing vouches for the work: call beat() from the loop that does it, or make a pulse".into();
            Some("no_beats")
        } else if self.leading {
            Some("grant_ended")
        } else if self.reason.is_empty() {
            detail.clone_from(&self.trouble);
            Some("no_agent")
        } else {
            None
        };
        self.view = View {
            leads: held.is_some(),
            token: held.map_or(0, |grant| grant.token),
            role: self.role.clone(),
            reason: own.map_or_else(|| self.reason.clone(), Into::into),
            detail,
            leader: self.leader.clone(),
            instance: self.instance.clone(),
            late: self.late.clone(),
        };
    }
}

impl Shared {
    pub fn new(agent: &str, miner: &str, extends: bool) -> Arc<Self> {
        let state = State::new();
        Arc::new(Self {
            agent: agent.to_owned(),
            miner: miner.to_owned(),
            extends,
            views: watch::channel(state.view.clone()).0,
            state: watch::channel(state).0,
            now: Now::default(),
            beats: Notify::new(),
            pulsed: Notify::new(),
            due: AtomicBool::new(false),
            beaten: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            pulses: Mutex::new(Vec::new()),
            began: Instant::now(),
        })
    }

    /// Nanoseconds since it was made; never 0.
    pub fn moment(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64 + 1
    }

    /// Changes the state, and derives and tells what follows from it.
    pub fn modify(&self, change: impl FnOnce(&mut State)) {
        let mut told = None;
        self.state.send_modify(|state| {
            let last = state.view.clone();
            change(state);
            state.see();
            let view = &state.view;
            self.now.set(view.leads.then_some(state.last));
            let key = |it: &View| {
                (
                    it.token,
                    it.reason.clone(),
                    it.detail.clone(),
                    it.leader.clone(),
                )
            };
            if key(&last) != key(view) {
                told = Some((view.clone(), last.leads));
            }
        });
        if let Some((view, led)) = told {
            // A subscriber that panics has nowhere to say so: its line is lost, and nothing else.
            let _ = catch_unwind(AssertUnwindSafe(|| view.log(&self.miner, led)));
            self.views.send_replace(view);
        }
        self.beats.notify_one();
    }

    pub fn forget(&self, which: impl Fn(&Arc<Inner>) -> bool) {
        let mut pulses = self.pulses();
        let before = pulses.len();
        pulses.retain(|pulse| !which(pulse));
        let changed = pulses.len() < before;
        drop(pulses);
        if changed {
            self.judge(true);
        }
    }

    pub fn pulses(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Inner>>> {
        self.pulses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a heartbeat for the pulses, if it is time, and tells when something holds them back. Returns whether anything
    /// vouches for the work at all.
    pub fn judge(&self, quiet_is_fine: bool) -> bool {
        let now = self.moment(); // a beat of another thread may be later
        let every = self.state.borrow().every.as_nanos() as u64;
        let beaten = self.beaten.load(Ordering::Relaxed);
        let pulses = self.pulses().clone();
        let mut late = Vec::new();
        for pulse in &pulses {
            let fresh = pulse.fresh(now, every);
            pulse.late.store(!fresh, Ordering::Relaxed);
            if !fresh {
                late.push(pulse.name.clone());
            }
        }
        // Who beats by hand too, goes on doing so.
        if !pulses.is_empty() && beaten != 0 && now.saturating_sub(beaten) > every.saturating_mul(3)
        {
            late.push("the loop that calls beat".into());
        }
        let sources = !pulses.is_empty() || beaten != 0;
        let unvouched = !sources && !quiet_is_fine && !self.extends;
        let (known, stands_down) = {
            let state = self.state.borrow();
            let known = state.late == late && state.unvouched == unvouched;
            (known, state.stands_down())
        };
        let is_late = !late.is_empty();
        if !known {
            self.modify(|state| (state.late, state.unvouched) = (late, unvouched));
        }
        if is_late || stands_down {
            self.beats.notify_one();
        } else if !pulses.is_empty() && self.is_due(now, every / 4 * 3) {
            self.heartbeat(now);
        }
        sources
    }

    /// The last heartbeat is at least so long ago.
    pub fn is_due(&self, now: u64, every: u64) -> bool {
        let sent = self.sent.load(Ordering::Relaxed);
        sent == 0 || now.saturating_sub(sent) >= every
    }

    pub fn heartbeat(&self, now: u64) {
        self.sent.store(now, Ordering::Relaxed);
        self.due.store(true, Ordering::Relaxed);
        self.beats.notify_one();
    }

    /// As often as the agent wants to hear.
    pub async fn tend(self: Arc<Self>) {
        let mut quiet_since = Instant::now();
        loop {
            let every = self.state.borrow().every;
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                () = self.pulsed.notified() => {}
            }
            if self.judge(quiet_since.elapsed() <= QUIET_AT_FIRST) {
                quiet_since = Instant::now();
            }
        }
    }
}
