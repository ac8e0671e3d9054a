//! `understudy run`

use super::{Exit, fail};
use crate::agent::Agent;
use crate::config::{Config, RunArgs, Unknown, unknown_settings};
use crate::{logs, shutdown};

pub(super) async fn run(args: &RunArgs) -> Exit {
    let config = match Config::check(args) {
        Ok(config) => config,
        Err(bad) => return fail(Exit::BadFlags, format_args!("bad settings\n{bad}")),
    };
    let _logs = logs::start(config.log_format, config.log_level);
    for Unknown { name, similar } in unknown_settings() {
        tracing::warn!(
            name,
            similar,
            "this environment variable is not a setting and has no effect"
        );
    }
    let ran = async {
        let stop = shutdown::on_signal()?;
        Agent::bind(config)?.run(stop).await
    };
    match ran.await {
        Ok(()) => Exit::Yes,
        Err(error) => fail(Exit::No, format_args!("{error:#}")),
    }
}
