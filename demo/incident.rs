//! Writes `docs/incident.md`: what the tool shows during the incident, before and after. All of it comes from a run of
//! real processes, which takes about four minutes.

use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use stage::{Agent, Miner, Redis, program, without_script_place};

const SOON: Duration = Duration::from_secs(60);
const METRICS: [&str; 4] = [
    "ha_miner_leader_status{instance=\"miner-1\"}",
    "ha_miner_leader_acquisition_failures_total{instance=\"miner-1\",reason=\"redis_oom\"}",
    "ha_miner_leaderless_seconds_total{instance=\"miner-1\"}",
    "ha_miner_redis_memory_usage_ratio",
];

/// One run: its clock, and how many log lines it has shown already.
struct Story {
    began: Instant,
    shown_lines: usize,
}

fn main() {
    println!("# The incident, minute by minute\n");
    println!(
        "Two pods, each a miner with its agent, share a Redis that runs full. Then the leader's pod dies. This page shows what \
         the other pod, miner-1, reports: `understudy status`, whose line `why` is the large line on the web page, its log, and \
         its metrics. All settings are the defaults (`--lease-ttl` is 30 s), except that the agent reads Redis' memory once per \
         second. `make incident` made this page from a real run.\n"
    );
    println!("![The page after the same failure](pictures/page-out-of-memory.png)\n");
    println!("## Before: `--acquire-under-oom=false`\n");
    println!(
        "The standby tries to take the lock as a miner with its built-in election does, and Redis refuses because it is out of \
         memory. In the incident nobody noticed, and there was no leader for two hours. Here the outcome is the same, but visible.\n"
    );
    run(&["--acquire-under-oom=false"], &[35, 60], true);
    println!("## After: the default\n");
    println!("The same steps at the same times.\n");
    run(&[], &[35, 60], false);
}

/// `looks`: when to ask miner-1, in seconds after the pod's death. `relieve`: whether an operator has to free memory.
fn run(flags: &[&str], looks: &[u64], relieve: bool) {
    let redis = Redis::start();
    redis.fill_to(0.7);
    let start = |name: &str| {
        let agent = Agent::start(name, &redis, &[flags, &["--memory-every", "1s"]].concat());
        agent.wait_until_up();
        let miner = Miner::start(name, &agent, &redis);
        (agent, miner)
    };
    let (mut leader, mut leading) = start("miner-0");
    leader.wait_until_leading(SOON);
    let (standby, _miner) = start("miner-1");
    standby.wait_for_reason("held_by_other", SOON);
    sleep(Duration::from_secs(2));
    let mut story = Story {
        began: Instant::now(),
        shown_lines: standby.logged(&[]).len(),
    };
    story.tell("All is well", &standby);
    redis.fill_to(1.02);
    sleep(Duration::from_secs(3));
    story.tell("Heavy traffic has filled Redis", &standby);
    leader.kill();
    leading.kill();
    let died = Instant::now();
    for look in looks {
        sleep((died + Duration::from_secs(*look)).saturating_duration_since(Instant::now()));
        let title = format!("{look} s after the leader's pod was killed");
        story.tell(&title, &standby);
    }
    if relieve {
        redis.fill_to(0.7);
        standby.wait_until_leading(SOON);
        sleep(Duration::from_secs(1));
        story.tell("The operator has done what the line `why` says", &standby);
    }
    println!("And afterwards:\n\n```console\n$ understudy status --history");
    let history = status(&standby, &["--history"]);
    let rows = history.split("\n\n").nth(1).unwrap_or_default();
    println!("…\n{}\n```\n", rows.trim_end());
}

impl Story {
    fn tell(&mut self, title: &str, agent: &Agent) {
        let at = self.began.elapsed().as_secs();
        println!("### {}:{:02} {title}\n", at / 60, at % 60);
        println!(
            "```console\n$ understudy status\n{}\n```\n",
            status(agent, &[]).trim_end()
        );
        let log = agent.logged(&[]);
        let is_loud = |line: &&String| [" WARN ", " ERROR "].iter().any(|it| line.contains(it));
        // A warning of each kind is enough.
        let mut lines: Vec<String> = Vec::new();
        for line in log.iter().skip(self.shown_lines).filter(is_loud) {
            let line = shorten(line);
            // Without the time.
            let kind = |it: &str| it.chars().skip(16).take(40).collect::<String>();
            lines.retain(|it| kind(it) != kind(&line));
            lines.push(line);
        }
        self.shown_lines = log.len();
        if !lines.is_empty() {
            println!(
                "In the log, the last of each kind:\n\n```text\n{}\n```\n",
                lines.join("\n")
            );
        }
        let (_, all) = agent.get("/metrics").expect("the agent answers");
        let is_wanted = |line: &&str| METRICS.iter().any(|it| line.starts_with(it));
        let metrics: Vec<_> = all.lines().filter(is_wanted).collect();
        println!("```text\n{}\n```\n", metrics.join("\n"));
    }
}

fn status(agent: &Agent, flags: &[&str]) -> String {
    let mut command = Command::new(program("UNDERSTUDY_BIN", "understudy"));
    command.args(["status", "--agent", &agent.address()]);
    let output = command.args(flags).output().expect("the command runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A log line without its date and the place in the script.
fn shorten(line: &str) -> String {
    without_script_place(line.split_once('T').map_or(line, |(_, rest)| rest))
}
