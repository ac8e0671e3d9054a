//! Checks only what the miners recorded.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// One act of a miner as leader.
#[derive(Debug, Clone)]
struct Act {
    /// CLOCK_BOOTTIME, nanoseconds.
    at: u64,
    miner: String,
    /// The token; 0 for a miner without one.
    token: u64,
    until: Option<u64>,
    accepted: String,
}

/// What happened.
#[derive(Debug, Default)]
pub struct Report {
    pub acts: usize,
    pub terms: usize,
    /// Two at once, a token that went back, an act outside its grant, a leader that the fence refused.
    pub violations: Vec<String>,
    /// Acts of a miner while another led: under an earlier token, or under the other's. Without tokens, how often an act
    /// of one miner comes between two of another that belong together.
    pub overlaps: usize,
    /// Seconds between acts that are more than a moment apart.
    pub leaderless: f64,
    pub longest_gap: f64,
    /// When that was.
    pub longest_at: (u64, u64),
    pub seconds: f64,
}

/// Two acts of one miner within this time belong together: it works every 5 ms.
const TOGETHER: u64 = 100_000_000;

/// Reads every log in a folder.
pub fn check(folder: &Path, from: u64, to: u64) -> Report {
    let mut acts = Vec::new();
    for file in folder.read_dir().expect("the folder of logs").flatten() {
        let miner = file.file_name().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(file.path()).expect("a log");
        acts.extend(text.lines().filter_map(|line| Act::parse(&miner, line)));
    }
    acts.sort_by_key(|act| act.at);
    let mut report = Report {
        acts: acts.len(),
        seconds: (to - from) as f64 / 1e9,
        ..Report::default()
    };
    report.tokens(&acts);
    report.overlaps(&acts);
    report.gaps(&acts, from, to);
    report
}

impl Act {
    /// `AT act token=… until=… accepted=…`
    fn parse(miner: &str, line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let at = words.next()?.parse().ok()?;
        if words.next()? != "act" {
            return None;
        }
        let fields: BTreeMap<&str, &str> = words.filter_map(|word| word.split_once('=')).collect();
        Some(Self {
            at,
            miner: miner.to_owned(),
            token: fields.get("token")?.parse().ok()?,
            until: fields.get("until").and_then(|it| it.parse().ok()),
            // The last line of a killed miner may be half written.
            accepted: (*fields.get("accepted")?).to_owned(),
        })
    }
}

impl Report {
    fn tokens(&mut self, acts: &[Act]) {
        let mut highest = 0;
        let mut leader = "";
        for act in acts.iter().filter(|act| act.token > 0) {
            if act.token < highest || (act.token == highest && act.miner != leader) {
                self.overlaps += 1;
                self.violations
                    .push(format!("acted while {leader} led under {highest}: {act:?}"));
            }
            if act.until.is_some_and(|until| act.at >= until) {
                self.violations
                    .push(format!("acted outside its grant: {act:?}"));
            }
            if act.accepted == "no" {
                self.violations
                    .push(format!("the fence refused a leader: {act:?}"));
            }
            if act.token > highest {
                self.terms += 1;
                (highest, leader) = (act.token, &act.miner);
            }
        }
    }

    fn overlaps(&mut self, acts: &[Act]) {
        // The last act of each miner, and what others did since.
        let mut last: BTreeMap<&str, (u64, usize)> = BTreeMap::new();
        // With tokens, use those instead: a fast hand-over there and back is no overlap.
        for act in acts.iter().filter(|act| act.token == 0) {
            if let Some((at, others)) = last.get(act.miner.as_str())
                && act.at - at < TOGETHER
                && *others > 0
            {
                self.overlaps += 1;
            }
            for (miner, (_, others)) in &mut last {
                *others += usize::from(*miner != act.miner);
            }
            last.insert(&act.miner, (act.at, 0));
        }
    }

    fn gaps(&mut self, acts: &[Act], from: u64, to: u64) {
        let within = acts
            .iter()
            .map(|act| act.at)
            .filter(|at| (from..=to).contains(at));
        let mut last = from;
        for at in within.chain([to]) {
            let gap = at.saturating_sub(last);
            if gap as f64 / 1e9 > self.longest_gap {
                self.longest_gap = gap as f64 / 1e9;
                self.longest_at = (last, at);
            }
            if gap > TOGETHER {
                self.leaderless += gap as f64 / 1e9;
            }
            last = at;
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} acts in {} terms over {:.0} s; leaderless {:.1} s, at most {:.1} s at once; two at once: {}; violations: {}",
            self.acts,
            self.terms,
            self.seconds,
            self.leaderless,
            self.longest_gap,
            self.overlaps,
            self.violations.len()
        )
    }
}
