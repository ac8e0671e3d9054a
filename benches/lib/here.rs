//! Agents in this process, through the library.

use std::path::Path;

use clap::Parser;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use understudy::agent::Agent;
use understudy::config::{Config, RunArgs};

#[derive(Parser)]
struct Args {
    #[command(flatten)]
    run: RunArgs,
}

pub struct Here {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Here {
    /// An agent that always wants to lead, with its sockets in `folder`.
    ///
    /// # Panics
    /// The flags are wrong, or there are too few files or ports.
    #[must_use]
    pub fn start(name: &str, lock: &str, redis_url: &str, folder: &Path) -> Self {
        let socket = folder.join(name);
        let flags = [
            "understudy",
            "--redis-url",
            redis_url,
            "--instance",
            name,
            "--lock-key",
            lock,
            "--miner-liveness",
            "always",
            "--http-listen",
            "127.0.0.1:0",
            "--grpc-socket",
            &socket.to_string_lossy(),
            "--grpc-listen",
            "off",
        ];
        let args = Args::try_parse_from(flags).unwrap_or_else(|error| panic!("{error}"));
        let config = Config::check(&args.run).unwrap_or_else(|error| panic!("{error}"));
        let stop = CancellationToken::new();
        let agent = Agent::bind(config).unwrap_or_else(|error| panic!("{error:#}"));
        let run = agent.run(stop.clone());
        let task = tokio::spawn(async move {
            if let Err(error) = run.await {
                eprintln!("an agent has ended: {error:#}");
            }
        });
        Self { stop, task }
    }

    /// Stops the agent, which gives its term back.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.task.is_finished()
    }
}
