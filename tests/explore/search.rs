//! Breadth-first search: visits every state that the world can reach once, and finds a violation on a shortest path.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::thread;
use std::time::{Duration, Instant};

use super::setting::Setting;
use super::world::World;

/// The limits at which a search stops if it does not close.
#[derive(Clone, Copy)]
pub struct Bounds {
    pub megabytes: u64,
    pub time: Duration,
}

/// How many states to expand at a time, and then forget: the worlds take the memory, not the keys.
const BATCH: usize = 1 << 16;

/// How a state was reached for the first time: from which other, by which of its steps.
#[derive(Clone, Copy)]
struct Node {
    parent: u32,
    step: u16,
    led: bool,
    ticks: bool,
}

#[derive(Default)]
pub struct Found {
    pub states: usize,
    pub edges: u64,
    pub depth: usize,
    pub widest: usize,
    pub seconds: f64,
    /// Every state was looked at.
    pub closed: bool,
    /// The violation, and the steps that lead there.
    pub violation: Option<(String, Vec<u16>)>,
    /// The longest time until somebody leads in a healed world, in ticks; only for a closed search.
    pub recovery: Option<u32>,
}

/// A key is as good as random: it is its own hash.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

type Keyed = BuildHasherDefault<AsItIs>;

/// A state that was reached, and not yet looked up.
struct Reached {
    key: u64,
    node: Node,
    world: World,
}

/// What one thread has found on a level.
#[derive(Default)]
struct Share {
    reached: Vec<Reached>,
    /// The keys of the first steps, in the order of the level.
    healed: Vec<u64>,
    edges: u64,
    violation: Option<(String, u32, u16)>,
}

/// The states of one depth, in the order of their numbers.
#[derive(Default)]
struct Level {
    batches: VecDeque<Vec<(u32, World)>>,
    states: usize,
}

impl Level {
    fn push(&mut self, id: u32, world: World) {
        match self.batches.back_mut() {
            Some(last) if last.len() < BATCH => last.push((id, world)),
            _ => self.batches.push_back(vec![(id, world)]),
        }
        self.states += 1;
    }
}

struct Search {
    seen: HashMap<u64, u32, Keyed>,
    nodes: Vec<Node>,
    healed: Vec<u64>,
}

pub fn search(setting: Setting, bounds: Bounds) -> Found {
    let began = Instant::now();
    let world = World::new(setting);
    let root = Node {
        parent: 0,
        step: 0,
        led: world.is_led(),
        ticks: false,
    };
    let mut search = Search {
        seen: HashMap::default(),
        nodes: vec![root],
        healed: Vec::new(),
    };
    search.seen.insert(world.key(), 0);
    let mut level = Level::default();
    level.push(0, world);
    let mut found = Found::default();
    let over = || peak_megabytes() > bounds.megabytes || began.elapsed() > bounds.time;
    'levels: while level.states > 0 && found.violation.is_none() {
        found.depth += 1;
        found.widest = found.widest.max(level.states);
        let mut next = Level::default();
        while let Some(batch) = level.batches.pop_front() {
            if over() {
                break 'levels;
            }
            search.take_in(search.expand(&batch), &mut next, &mut found);
        }
        level = next;
    }
    found.states = search.nodes.len();
    found.closed = level.states == 0 && found.violation.is_none();
    if found.closed {
        match search.recovery() {
            Ok(ticks) => found.recovery = Some(ticks),
            Err(state) => {
                let what = "I7: nobody leads again, although all is healed".to_owned();
                let node = search.nodes[state as usize];
                found.violation = Some((what, search.path(node.parent, node.step)));
            }
        }
    }
    found.seconds = began.elapsed().as_secs_f64();
    found
}

impl Search {
    /// Numbers the new states, and keeps what was found on the way.
    fn take_in(&mut self, shares: Vec<Share>, next: &mut Level, found: &mut Found) {
        for share in shares {
            found.edges += share.edges;
            self.healed.extend(share.healed);
            if let Some((what, parent, step)) = share.violation {
                found
                    .violation
                    .get_or_insert_with(|| (what, self.path(parent, step)));
            }
            for Reached { key, node, world } in share.reached {
                let id = self.nodes.len() as u32;
                self.seen.entry(key).or_insert_with(|| {
                    self.nodes.push(node);
                    next.push(id, world);
                    id
                });
            }
        }
    }

    fn expand(&self, level: &[(u32, World)]) -> Vec<Share> {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let each = level.len().div_ceil(threads).max(1);
        thread::scope(|scope| {
            let shares = level
                .chunks(each)
                .map(|part| scope.spawn(|| self.share(part)));
            let shares: Vec<_> = shares.collect();
            let shares = shares.into_iter().map(|it| it.join().expect("no panic"));
            shares.collect()
        })
    }

    fn share(&self, level: &[(u32, World)]) -> Share {
        let mut share = Share::default();
        let mut new: HashSet<u64, Keyed> = HashSet::default();
        for (id, world) in level {
            for (number, step) in world.steps().into_iter().enumerate() {
                let mut next = world.clone();
                next.take(step);
                share.edges += 1;
                let number = number as u16;
                if let Some(what) = next.checks.violation {
                    share.violation = Some((what, *id, number));
                    return share;
                }
                let key = next.key();
                if number == 0 {
                    share.healed.push(key);
                }
                if !self.seen.contains_key(&key) && new.insert(key) {
                    let node = Node {
                        parent: *id,
                        step: number,
                        led: next.is_led(),
                        ticks: next.now > world.now,
                    };
                    share.reached.push(Reached {
                        key,
                        node,
                        world: next,
                    });
                }
            }
        }
        share
    }

    /// The steps from the beginning to a state, and one more.
    fn path(&self, mut state: u32, last: u16) -> Vec<u16> {
        let mut path = vec![last];
        while state != 0 {
            let node = self.nodes[state as usize];
            path.push(node.step);
            state = node.parent;
        }
        path.reverse();
        path
    }

    /// I7: the most ticks until somebody leads, from any state, if nothing more goes wrong; or a state from which nobody
    /// ever leads.
    fn recovery(&self) -> Result<u32, u32> {
        const UNKNOWN: u32 = u32::MAX;
        const UNDER_WAY: u32 = u32::MAX - 1;
        let mut ticks: Vec<u32> = vec![UNKNOWN; self.nodes.len()];
        for start in 0..self.nodes.len() {
            let mut way = Vec::new();
            let mut state = start;
            while ticks[state] == UNKNOWN {
                if self.nodes[state].led {
                    ticks[state] = 0;
                    break;
                }
                ticks[state] = UNDER_WAY;
                way.push(state);
                state = self.seen[&self.healed[state]] as usize;
            }
            if ticks[state] == UNDER_WAY {
                return Err(start as u32);
            }
            let mut sum = ticks[state];
            let mut after = state;
            for state in way.into_iter().rev() {
                sum += u32::from(self.nodes[after].ticks);
                ticks[state] = sum;
                after = state;
            }
        }
        Ok(ticks.into_iter().max().unwrap_or_default())
    }
}

impl fmt::Display for Found {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            states,
            edges,
            depth,
            widest,
            seconds,
            ..
        } = self;
        write!(
            out,
            "{states} states, {edges} steps, {depth} deep, {widest} at once, {seconds:.0} s, {} MB: ",
            peak_megabytes()
        )?;
        match (&self.violation, self.recovery) {
            (Some((what, _)), _) => write!(out, "{what}"),
            (None, Some(ticks)) => write!(out, "closed; a leader again within {ticks} ticks"),
            (None, None) => write!(out, "not closed"),
        }
    }
}

/// The peak memory of this process.
fn peak_megabytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|it| it.trim().strip_suffix(" kB")?.parse().ok());
    peak.unwrap_or(0_u64) / 1024
}

/// A path as text: which of the possible steps is taken, after how many times the first.
pub fn shown(path: &[u16]) -> String {
    let mut text = String::new();
    let mut firsts = 0;
    for step in path {
        match step {
            0 => firsts += 1,
            step => {
                text += &format!("{firsts}.{step},");
                firsts = 0;
            }
        }
    }
    text + &firsts.to_string()
}

/// Parses such a text.
pub fn read(text: &str) -> Vec<u16> {
    let mut path = Vec::new();
    for part in text.split(',') {
        let (firsts, step) = part.split_once('.').unwrap_or((part, ""));
        path.extend(vec![0; firsts.parse().expect("a number")]);
        path.extend(step.parse::<u16>());
    }
    path
}

/// Replays a path, and prints what happens on it.
pub fn replay(setting: Setting, path: &[u16]) -> (Option<String>, String) {
    let mut world = World::new(setting);
    world.story = Some(String::new());
    for number in path {
        let step = world.steps()[usize::from(*number)];
        world.take(step);
    }
    (world.checks.violation, world.story.unwrap_or_default())
}
