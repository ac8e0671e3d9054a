//! What the elector knows, for those who want to read it.

/// What the elector knows at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// The miner may act now.
    pub leads: bool,
    /// Of the term, while it leads.
    pub token: u64,
    /// The agent's: leader, standby, idle; empty when it is not known.
    pub role: String,
    /// Why the miner leads or does not: a word of the agent's, such as `held_by_other`, or one of the elector's own:
    /// `no_agent`, `no_beats`, `cleaning_up`, `grant_ended`, `given_up`, `withdrawn`.
    pub reason: String,
    /// More of that, for a reader: an error, or the pulses that are late.
    pub detail: String,
    /// The holder of the lock as last seen.
    pub leader: String,
    /// This agent's own name there.
    pub instance: String,
    /// The pulses that keep the heartbeats back.
    pub late: Vec<String>,
}

impl View {
    pub(crate) fn log(&self, miner: &str, led: bool) {
        let Self {
            token,
            reason,
            detail,
            leader,
            instance,
            ..
        } = self;
        if self.leads && detail.is_empty() {
            tracing::info!(miner, token, reason, leader, instance, "this miner leads");
            return;
        }
        if self.leads {
            tracing::warn!(
                miner,
                token,
                reason,
                leader,
                "this miner leads, and sends no heartbeat: {detail}"
            );
            return;
        }
        let leads = if leader.is_empty() {
            String::new()
        } else {
            format!("{leader} leads")
        };
        let words = [reason.as_str(), detail, &leads];
        let words: Vec<&str> = words.into_iter().filter(|it| !it.is_empty()).collect();
        let line = words.join(", ");
        let planned = [
            "withdrawn",
            "given_up",
            "cleaning_up",
            "resigned",
            "draining",
        ];
        let alarming = ["no_agent", "no_beats", "eviction_policy", "miner_silent"];
        let alarms = alarming.contains(&reason.as_str()) || reason.starts_with("redis_");
        if alarms || led && !planned.contains(&reason.as_str()) {
            tracing::warn!(miner, reason, leader, instance, "no leadership: {line}");
        } else {
            tracing::info!(miner, reason, leader, instance, "no leadership: {line}");
        }
    }
}
