//! `understudy status`

use std::time::Duration;

use anyhow::anyhow;
use serde_json::{Value, json};
use tonic::transport::Channel;

use super::local::{LocalArgs, refusal};
use super::{Exit, fail, say};
use crate::proto::election_service_client::ElectionServiceClient;
use crate::proto::redis_health_service_client::RedisHealthServiceClient;
use crate::proto::{
    GetLeadershipRequest, GetRedisHealthRequest, Leadership, ObserveRequest, RedisHealth, Role,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    local: LocalArgs,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
    /// Print again at every change, until interrupted
    #[arg(long)]
    watch: bool,
}

pub(super) async fn run(args: Args) -> Exit {
    match ask(&args).await {
        Ok(()) => Exit::Yes,
        Err(error) => fail(Exit::CouldNotAsk, format_args!("{error:#}")),
    }
}

async fn ask(args: &Args) -> anyhow::Result<()> {
    let channel = args.local.connect().await?;
    let asked = |status: tonic::Status| anyhow!(refusal(&status));
    let mut elections = ElectionServiceClient::new(channel.clone());
    if !args.watch {
        let answer = elections
            .get_leadership(GetLeadershipRequest::default())
            .await
            .map_err(asked)?;
        show(
            args,
            answer.into_inner().leadership,
            &redis(&channel).await.map_err(asked)?,
        );
        return Ok(());
    }
    let mut changes = elections
        .observe(ObserveRequest {})
        .await
        .map_err(asked)?
        .into_inner();
    while let Some(change) = changes.message().await.map_err(asked)? {
        show(
            args,
            change.leadership,
            &redis(&channel).await.map_err(asked)?,
        );
    }
    Err(anyhow!("the agent has ended the stream"))
}

async fn redis(channel: &Channel) -> Result<RedisHealth, tonic::Status> {
    let mut client = RedisHealthServiceClient::new(channel.clone());
    let answer = client.get_redis_health(GetRedisHealthRequest {}).await?;
    Ok(answer.into_inner().health.unwrap_or_default())
}

fn show(args: &Args, leadership: Option<Leadership>, redis: &RedisHealth) {
    let leadership = leadership.unwrap_or_default();
    if args.json {
        say(as_json(&leadership, redis));
    } else {
        say(as_text(&leadership, redis));
        if args.watch {
            say("");
        }
    }
}

fn as_json(leadership: &Leadership, redis: &RedisHealth) -> Value {
    json!({
        "role": word(leadership.role().as_str_name(), "ROLE_"),
        "reason": word(leadership.reason().as_str_name(), "REASON_"),
        "instance_id": leadership.instance_id,
        "leader_id": leadership.leader_id,
        "fencing_token": leadership.fencing_token,
        "valid_for_seconds": valid_for(leadership).as_secs_f64(),
        "version": leadership.version,
        "redis": {
            "reachable": redis.reachable,
            "writable": redis.writable,
            "oom": redis.oom,
            "used_memory_bytes": redis.used_memory_bytes,
            "max_memory_bytes": redis.max_memory_bytes,
            "usage_ratio": redis.usage_ratio,
            "maxmemory_policy": redis.maxmemory_policy,
            "engine": redis.engine,
            "version": redis.version,
        },
    })
}

fn as_text(leadership: &Leadership, redis: &RedisHealth) -> String {
    let role = word(leadership.role().as_str_name(), "ROLE_");
    let reason = word(leadership.reason().as_str_name(), "REASON_");
    let leader = match leadership.leader_id.as_str() {
        "" => "nobody",
        leader => leader,
    };
    let mut lines = vec![
        format!("role      {role} ({reason})"),
        format!("instance  {}", leadership.instance_id),
        format!("leader    {leader}"),
    ];
    if leadership.role() == Role::Leader {
        lines.push(format!("token     {}", leadership.fencing_token));
        let left = valid_for(leadership).as_secs_f64();
        lines.push(format!("grant     {left:.1} s left"));
    }
    lines.push(format!("redis     {}", redis_line(redis)));
    lines.join("\n")
}

#[allow(clippy::cast_precision_loss, reason = "shown with one digit")]
fn redis_line(redis: &RedisHealth) -> String {
    let state = match (redis.reachable, redis.writable, redis.oom) {
        (false, _, _) => "does not answer",
        (true, _, true) => "refuses writes: out of memory",
        (true, false, false) => "refuses writes",
        (true, true, false) => "takes writes",
    };
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let used = mib(redis.used_memory_bytes);
    let memory = match redis.max_memory_bytes {
        0 => format!("{used:.1} MiB used, no limit"),
        max => format!(
            "{used:.1} of {:.1} MiB used, {}",
            mib(max),
            redis.maxmemory_policy
        ),
    };
    format!("{state}; {} {}, {memory}", redis.engine, redis.version)
}

fn valid_for(leadership: &Leadership) -> Duration {
    leadership
        .valid_for
        .and_then(|left| Duration::try_from(left).ok())
        .unwrap_or_default()
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
