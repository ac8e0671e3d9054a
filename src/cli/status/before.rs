//! An earlier agent, which tells less and in other messages.

use std::time::Duration;

use anyhow::anyhow;
use tonic::transport::Channel;

use super::super::local::refusal;
use crate::proto::election_service_client::ElectionServiceClient;
use crate::proto::redis_health_service_client::RedisHealthServiceClient;
use crate::proto::{
    GetLeadershipRequest, GetRedisHealthRequest, Leadership, RedisHealth, Role, Takeover,
};
use crate::status::{LeadershipShown, MemoryShown, RedisShown, Snapshot, TakeoverShown};

/// `pushed`: the leadership that was pushed, if it was.
pub(super) async fn ask(channel: &Channel, pushed: Option<Leadership>) -> anyhow::Result<Snapshot> {
    let refused = |status: tonic::Status| anyhow!(refusal(&status));
    let mut elections = ElectionServiceClient::new(channel.clone());
    let answer = elections.get_leadership(GetLeadershipRequest::default());
    let answer = answer.await.map_err(refused)?.into_inner();
    let mut redis = RedisHealthServiceClient::new(channel.clone());
    let health = redis.get_redis_health(GetRedisHealthRequest {}).await;
    let health = health.map_err(refused)?.into_inner().health;
    let leadership = pushed.or(answer.leadership).unwrap_or_default();
    let mut leadership = leadership_shown(leadership);
    leadership.lease_remaining_seconds = seconds(answer.lease_remaining);
    Ok(Snapshot {
        leadership,
        takeover: answer.takeover.map(takeover_shown),
        redis: redis_shown(health.unwrap_or_default()),
        ..Snapshot::default()
    })
}

fn leadership_shown(it: Leadership) -> LeadershipShown {
    LeadershipShown {
        leader: it.role() == Role::Leader,
        role: word(it.role().as_str_name(), "ROLE_"),
        reason: word(it.reason().as_str_name(), "REASON_"),
        explanation: it.explanation,
        instance_id: it.instance_id,
        leader_id: some(it.leader_id),
        fencing_token: Some(it.fencing_token).filter(|token| *token != 0),
        leadership_version: it.version,
        valid_for_seconds: seconds(it.valid_for),
        ..LeadershipShown::default()
    }
}

fn takeover_shown(it: Takeover) -> TakeoverShown {
    TakeoverShown {
        ready: it.ready,
        reason: (!it.ready).then(|| word(it.reason().as_str_name(), "REASON_")),
        rehearsed_seconds_ago: seconds(it.age),
        error: some(it.error),
    }
}

fn redis_shown(it: RedisHealth) -> RedisShown {
    let is_read = !it.engine.is_empty();
    RedisShown {
        reachable: Some(it.reachable),
        writable: Some(it.writable),
        oom: it.oom,
        checked_seconds_ago: seconds(it.age),
        memory: is_read.then_some(MemoryShown {
            engine: it.engine,
            version: it.version,
            used_memory_bytes: it.used_memory_bytes,
            max_memory_bytes: it.max_memory_bytes,
            usage_ratio: it.usage_ratio,
            maxmemory_policy: it.maxmemory_policy,
        }),
        ..RedisShown::default()
    }
}

fn some(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// `None`: it was not said.
fn seconds(said: Option<prost_types::Duration>) -> Option<f64> {
    let length: Duration = said?.try_into().ok()?;
    Some(length.as_secs_f64())
}

/// The word that the contract uses for a value of an enum.
fn word(name: &str, prefix: &str) -> String {
    name.trim_start_matches(prefix).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Reason;

    #[test]
    fn the_words_are_the_contracts() {
        assert_eq!(
            word(Reason::WaitingOutLease.as_str_name(), "REASON_"),
            "waiting_out_lease"
        );
        assert_eq!(word(Role::Standby.as_str_name(), "ROLE_"), "standby");
    }
}
