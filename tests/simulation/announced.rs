//! What the scripts publish, in the modelled Redis.

use understudy::election::{Announcement, Basis, Command, Happened, Outcome};

use super::redis::Redis;
use super::safeguard::Safeguard;

impl Redis {
    /// What a script publishes that has done that.
    pub fn announcement(
        &self,
        holder: &str,
        command: &Command,
        outcome: Outcome,
    ) -> Option<Announcement> {
        let (happened, token) = match (command, outcome) {
            (_, Outcome::Begun(token)) => (Happened::Begun, token),
            (Command::Renew { token, .. }, Outcome::Renewed) => (Happened::Renewed, *token),
            (Command::Release { token, .. }, Outcome::Released) => (Happened::Released, *token),
            _ => return None,
        };
        let given_back = happened == Happened::Released && self.data.lock.is_none();
        Some(Announcement {
            happened,
            holder: holder.to_owned(),
            token,
            basis: self.basis().filter(|_| given_back),
        })
    }

    /// What the next begin is judged on.
    pub fn basis(&self) -> Option<Basis> {
        let mut record = self.data.stored.as_ref()?.record.clone();
        if self.without == Some(Safeguard::ToldRelease) {
            record.released = true;
        }
        Some(Basis {
            judged: self.judged(),
            generation: self.shown_generation(),
            record,
        })
    }
}
