//! `understudy exec`: a program that runs only while this instance leads.
//!
//! ```text
//!   agent ⇄ exec ⇄ guardian ─→ program
//! ```
//!
//! Everything is dead before the grant ends, whichever one of the three is killed or stopped: the guardian keeps the
//! deadline, `exec` kills what a hung guardian has not killed, and the program dies with its guardian. The guardian also
//! holds a copy of the campaign's socket, so a separate agent sees the end of `exec` only when the program has ended.

mod alarm;
mod campaign;
mod cgroup;
mod grant;
mod guarded;
mod guardian;
mod processes;
mod rules;
mod signals;
mod waiting;
mod wire;

use std::ffi::OsString;
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::SignalKind;
use tokio::sync::mpsc;

use crate::clock;
use crate::proto::{Leadership, Role};
use crate::time::Instant;
use alarm::Alarm;
use campaign::Campaign;
use grant::{beats, end, ticks};
use guarded::{Guarded, Start};
use rules::{Next, Restarts};
use signals::{ends, next_signal, signals};
use waiting::Waiting;
use wire::{Order, Report};

pub use campaign::Agent;
pub use guardian::{become_command, guard};
pub use processes::runnable;
pub use rules::{SHORTEST_MINER_TIMEOUT, longest_grace};

/// How long a program that keeps ending quickly leaves the lead to others.
const HOLD_OFF: Duration = Duration::from_secs(30);
const RETRY_AFTER: Duration = Duration::from_millis(500);

pub struct Exec {
    pub agent: Agent,
    pub command: Vec<OsString>,
    /// `None`: what the agent's miner-timeout suggests.
    pub grace: Option<Duration>,
    pub restart: bool,
    /// `None`: the agent's.
    pub instance: Option<String>,
}

/// Why `exec` itself failed.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    #[error("--grace={}: expected at most {}, two thirds of the agent's --miner-timeout less 200ms",
        humantime::format_duration(*.grace), humantime::format_duration(*.longest))]
    Grace { grace: Duration, longest: Duration },
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

/// What comes after a term.
enum After {
    Exit(u8),
    Campaign,
    /// A moment later, so that others may begin first.
    CampaignLater,
    HoldOff,
}

struct Running {
    exec: Exec,
    label: String,
    signals: mpsc::UnboundedReceiver<SignalKind>,
    alarm: Alarm,
    restarts: Restarts,
}

/// One run of the program.
struct Run {
    guarded: Guarded,
    until: Instant,
    /// The program was told to stop, or is to be left: heartbeats no longer count.
    stopping: bool,
    leaving: bool,
}

impl Exec {
    /// Campaigns and runs the program until it ends, or a signal ends this process. Returns the program's code.
    ///
    /// # Errors
    /// `exec` itself failed; the program has ended by then.
    pub async fn run(self) -> Result<u8, Failed> {
        processes::become_subreaper().context("cannot adopt processes")?;
        let program = self
            .command
            .first()
            .map(|it| it.to_string_lossy().into_owned());
        let mut running = Running {
            label: format!("exec {}", program.unwrap_or_default()),
            exec: self,
            signals: signals().context("cannot handle signals")?,
            alarm: Alarm::new().context("no timer on CLOCK_BOOTTIME")?,
            restarts: Restarts::default(),
        };
        loop {
            match running.once().await? {
                After::Exit(code) => return Ok(code),
                After::Campaign => {}
                After::CampaignLater => {
                    if running.told_to_go_within(RETRY_AFTER).await {
                        return Ok(0);
                    }
                }
                After::HoldOff => {
                    tracing::warn!(
                        "the program has ended quickly five times: others may lead for 30 s"
                    );
                    if running.told_to_go_within(HOLD_OFF).await {
                        return Ok(0);
                    }
                }
            }
        }
    }
}

impl Running {
    /// One campaign, to the end of its term.
    async fn once(&mut self) -> Result<After, Failed> {
        let opened = Campaign::open(&self.exec.agent, &self.label).await;
        let mut campaign = match opened {
            Ok(campaign) => campaign,
            Err(error) => {
                if let Agent::Own(dial) = &self.exec.agent
                    && dial.is_closed()
                {
                    return Err(error.context("the agent has stopped").into());
                }
                tracing::warn!(error = format!("{error:#}"), "cannot campaign");
                return Ok(After::CampaignLater);
            }
        };
        let mut waiting = Waiting::new(clock::boottime());
        let mut beat = ticks(grant::FIRST_BEAT_EVERY);
        loop {
            tokio::select! {
                next = campaign.next() => match next {
                    Ok(leadership) => {
                        let every = beats(&leadership)?;
                        // Refused at once, and not when it is elected.
                        self.grace(every * 6)?;
                        if every != beat.period() {
                            beat = ticks(every);
                        }
                        if leadership.role() == Role::Leader {
                            let after = self.lead(&mut campaign, &leadership).await;
                            campaign.end().await;
                            return after;
                        }
                        waiting.say(&leadership, clock::boottime());
                    }
                    Err(error) => {
                        tracing::warn!(error = format!("{error:#}"), "the campaign has ended");
                        return Ok(After::CampaignLater);
                    }
                },
                go = self.told_to_go() => if go { return Ok(After::Exit(0)) },
                _ = beat.tick() => campaign.beat(),
            }
        }
    }

    /// Runs the program while the term lasts, repeatedly with `--restart`.
    async fn lead(
        &mut self,
        campaign: &mut Campaign,
        leadership: &Leadership,
    ) -> Result<After, Failed> {
        let every = beats(leadership)?;
        // So that the grant is fresh when the program has started.
        campaign.beat();
        let grace = self.grace(every * 6)?;
        let (token, mut until) = (leadership.fencing_token, end(leadership)?);
        let holder = leadership.instance_id.rsplit_once('-');
        let instance = self.exec.instance.clone();
        let instance = instance.unwrap_or_else(|| holder.map_or("", |(name, _)| name).to_owned());
        loop {
            tracing::info!(token, "elected: starting the program");
            let started = clock::boottime();
            let guarded = Guarded::start(&Start {
                command: &self.exec.command,
                grace,
                until,
                token,
                instance: &instance,
                campaign: &campaign.socket,
            });
            let mut run = Run {
                guarded: guarded.context("the program's guardian cannot be started")?,
                until,
                stopping: false,
                leaving: false,
            };
            let ended = self.watch(&mut run, campaign, token, every).await;
            run.guarded.bury(ended.is_some()).await;
            let (stopping, leaving) = (run.stopping, run.leaving);
            match ended {
                Some((code, _)) if leaving => return Ok(After::Exit(code)),
                Some((code, true)) => {
                    tracing::info!(code, "the program was stopped: campaigning again");
                    return Ok(After::CampaignLater);
                }
                None if leaving => return Ok(After::Exit(137)),
                None if stopping => {
                    tracing::warn!("the program had to be killed: campaigning again");
                    return Ok(After::CampaignLater);
                }
                None if !self.exec.restart => {
                    let why = "the program's guardian was killed, and the program with it";
                    return Err(anyhow::anyhow!(why).into());
                }
                Some((code, false)) if !self.exec.restart => {
                    tracing::info!(code, "the program has ended by itself");
                    return Ok(After::Exit(code));
                }
                _ => tracing::info!(code = ended.map(|(code, _)| code), "the program has ended"),
            }
            let pause = match self.restarts.ended_after(clock::boottime().since(started)) {
                Next::HandOver => return Ok(After::HoldOff),
                Next::After(pause) => pause,
            };
            match self.stand(campaign, token, pause, every).await {
                Ok(Some(extended)) => until = extended.max(until),
                Ok(None) => return Ok(After::Campaign),
                Err(()) => return Ok(After::Exit(0)),
            }
        }
    }

    fn grace(&self, miner_timeout: Duration) -> Result<Duration, Failed> {
        let longest = longest_grace(miner_timeout);
        match self.exec.grace {
            Some(grace) if grace > longest => Err(Failed::Grace { grace, longest }),
            Some(grace) => Ok(grace),
            None => Ok(rules::default_grace(miner_timeout)),
        }
    }

    /// Returns the code, and whether the guardian told the program to stop; `None` if the guardian was killed.
    async fn watch(
        &mut self,
        run: &mut Run,
        campaign: &mut Campaign,
        token: u64,
        every: Duration,
    ) -> Option<(u8, bool)> {
        let (mut open, mut ask) = (true, ticks(every));
        loop {
            let backstop = rules::backstop(run.until);
            if clock::boottime() >= backstop {
                run.stopping = true;
                run.guarded.kill_guardian();
            }
            tokio::select! {
                report = run.guarded.report() => match report? {
                    Report::Running if !run.stopping => campaign.beat(),
                    Report::Running | Report::Stopped => {}
                    Report::Ended { code, told } => return Some((code, told)),
                },
                next = campaign.next(), if open => match next {
                    Ok(now) if now.role() == Role::Leader && now.fencing_token == token => {
                        if let (false, Ok(until)) = (run.stopping, end(&now)) {
                            run.until = run.until.max(until);
                            run.guarded.order(Order::Until(run.until));
                        }
                    }
                    Ok(now) => {
                        tracing::warn!(reason = now.reason().as_str_name(), "lost: stopping the program");
                        run.stop(SignalKind::terminate());
                    }
                    Err(error) => {
                        tracing::warn!(error = format!("{error:#}"), "the campaign has ended: stopping the program");
                        open = false;
                        run.stop(SignalKind::terminate());
                    }
                },
                signal = next_signal(&mut self.signals) => run.pass_on(signal),
                _ = ask.tick(), if !run.stopping => run.guarded.order(Order::Ask),
                () = self.alarm.rings(backstop), if !run.stopping || clock::boottime() < backstop => {}
            }
        }
    }

    /// Between two runs of one term. `None`: it has ended.
    async fn stand(
        &mut self,
        campaign: &mut Campaign,
        token: u64,
        pause: Duration,
        every: Duration,
    ) -> Result<Option<Instant>, ()> {
        let due = clock::boottime() + pause;
        let (mut until, mut beat) = (Instant::PAST, ticks(every));
        loop {
            let left = due.since(clock::boottime());
            if left.is_zero() {
                return Ok(Some(until));
            }
            tokio::select! {
                next = campaign.next() => match next {
                    Ok(now) if now.role() == Role::Leader && now.fencing_token == token => {
                        until = until.max(end(&now).unwrap_or(Instant::PAST));
                    }
                    _ => return Ok(None),
                },
                go = self.told_to_go() => if go { return Err(()) },
                _ = beat.tick() => campaign.beat(),
                () = tokio::time::sleep(left) => {}
            }
        }
    }

    /// A signal while no program runs: does it end this process?
    async fn told_to_go(&mut self) -> bool {
        let signal = next_signal(&mut self.signals).await;
        if signal == SignalKind::child() {
            processes::reap(|_, _| {});
        }
        ends(signal) || signal == SignalKind::hangup()
    }

    async fn told_to_go_within(&mut self, pause: Duration) -> bool {
        let go = async { while !self.told_to_go().await {} };
        tokio::time::timeout(pause, go).await.is_ok()
    }
}

impl Run {
    fn stop(&mut self, with: SignalKind) {
        self.stopping = true;
        self.guarded.order(Order::Stop(with.as_raw_value()));
    }

    fn pass_on(&mut self, signal: SignalKind) {
        if signal == SignalKind::child() {
            self.guarded.reap();
        } else if !ends(signal) {
            self.guarded.order(Order::Signal(signal.as_raw_value()));
        } else if self.leaving {
            self.guarded.order(Order::Kill);
        } else {
            self.leaving = true;
            self.stop(signal);
        }
    }
}
