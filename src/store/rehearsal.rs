//! Tries out on shadow keys what a takeover would do: the same scripts on the same server, in the same slot.

use std::time::Duration;

use super::{HealthCheck, OomRung, Store};
use crate::clock;
use crate::election::{Answer, Claimant, Command, Outcome, Stamp, Successor, View};
use crate::endpoint::RedisSettings;
use crate::fault::StoreError;
use crate::time::Instant;

/// The TTL of all that a rehearsal writes: longer than any rehearsal takes, so that one which dies leaves nothing behind.
const SHADOW_TTL: Duration = Duration::from_secs(60);

/// Nobody judges what is written on shadow keys.
const STAMP: Stamp = Stamp {
    process: 0,
    attempt: 0,
};

pub struct Rehearsal {
    store: Store,
    holder: String,
    limit: Duration,
    under_oom: bool,
    /// What the shadow keys looked like when there were none, and when that was seen: they will look so again.
    empty: Option<(View, Instant)>,
}

/// What a rehearsal that worked has shown.
#[derive(Debug, Clone)]
pub struct Rehearsed {
    /// The store after it has begun.
    pub view: View,
    /// Which way past out-of-memory was taken.
    pub rung: OomRung,
    /// How long the begin took.
    pub took: Duration,
}

impl Rehearsed {
    /// The policy by which Redis may throw the lock away, if it may.
    #[must_use]
    pub fn evicting(&self) -> Option<&str> {
        let memory = self.view.memory.as_ref().filter(|it| it.evicting())?;
        Some(&memory.policy)
    }
}

impl Rehearsal {
    /// `holder` makes the shadow keys its own. Nothing is dialled yet.
    #[must_use]
    pub fn new(settings: &RedisSettings, holder: &str, under_oom: bool) -> Self {
        let shadow = RedisSettings {
            keys: settings.keys.shadow(holder),
            ..settings.clone()
        };
        let mut store = Store::new(&shadow);
        store.scripts.fleeting(SHADOW_TTL);
        Self {
            store,
            holder: holder.to_owned(),
            limit: settings.timeout,
            under_oom,
            empty: None,
        }
    }

    /// The same, on the connection of the health check.
    #[must_use]
    pub fn sharing(mut self, check: &HealthCheck) -> Self {
        self.store.link.share(&check.link);
        self
    }

    /// Begins a term, releases it, and removes what was written, whichever of them failed. It looks first where it must:
    /// the first time, and where a begin shows that something has changed since.
    ///
    /// # Errors
    /// What a takeover would meet now.
    pub async fn run(&mut self) -> Result<Rehearsed, StoreError> {
        let tried = self.try_out().await;
        let forgotten = self.store.forget(self.limit).await;
        let rehearsed = tried?;
        forgotten?;
        Ok(rehearsed)
    }

    async fn try_out(&mut self) -> Result<Rehearsed, StoreError> {
        let known = self.empty.take();
        let again = known.is_some();
        let known = match known {
            Some(known) => known,
            None => self.look().await?,
        };
        let (rehearsed, known) = match self.begin(&known).await? {
            Ok(rehearsed) => (rehearsed, known),
            // Another generation, a clock that was set, or what a rehearsal left that was cut off.
            Err(_) if again => {
                self.store.forget(self.limit).await?;
                let known = self.look().await?;
                let rehearsed = self.begin(&known).await?.map_err(|it| unexpected(&it))?;
                (rehearsed, known)
            }
            Err(answer) => return Err(unexpected(&answer)),
        };
        self.empty = Some(known);
        Ok(rehearsed)
    }

    async fn look(&mut self) -> Result<(View, Instant), StoreError> {
        let sent_at = clock::boottime();
        Ok((
            self.execute(Command::Look { entry: None }).await?.view,
            sent_at,
        ))
    }

    /// Begins on what was seen, and releases. Inside the result: the refusal of the begin.
    async fn begin(
        &mut self,
        (view, seen_at): &(View, Instant),
    ) -> Result<Result<Rehearsed, Answer>, StoreError> {
        let sent_at = clock::boottime();
        // Each of the two that write has the whole limit.
        let end = sent_at.since(*seen_at) + self.limit * 2;
        let micros = u64::try_from(end.as_micros()).unwrap_or(u64::MAX);
        let not_after = view.store_micros.saturating_add(micros);
        let by = Claimant {
            holder: self.holder.clone(),
            ttl: SHADOW_TTL,
            stamp: STAMP,
        };
        let begin = Command::Begin {
            by: by.clone(),
            judged: view.judged.clone(),
            stale_lock: false,
            above: 0,
            not_after,
            under_oom: self.under_oom,
            // What follows is rehearsed all the same: see `Rehearsed::evicting`.
            allow_eviction: true,
            entry: None,
        };
        let begun = self.execute(begin).await?;
        let took = clock::boottime().since(sent_at);
        let Outcome::Begun(token) = begun.outcome else {
            return Ok(Err(begun));
        };
        let release = Command::Release {
            by,
            token,
            not_after,
            hold_off: Duration::ZERO,
            successor: Successor::Anyone,
        };
        let released = self.execute(release).await?;
        if released.outcome != Outcome::Released {
            return Err(unexpected(&released));
        }
        Ok(Ok(Rehearsed {
            view: begun.view,
            rung: self.store.rung(),
            took,
        }))
    }

    async fn execute(&mut self, command: Command) -> Result<Answer, StoreError> {
        let deadline = clock::boottime() + self.limit;
        self.store.execute(&command, deadline).await
    }
}

/// Nobody else uses these keys.
fn unexpected(answer: &Answer) -> StoreError {
    StoreError::nonsense(format!(
        "a rehearsal on keys of its own ended with {:?}",
        answer.outcome
    ))
}
