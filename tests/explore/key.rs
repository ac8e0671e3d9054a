//! The key of a state. Everything that derives `Hash` goes through one [`Hasher`], which recognises the kinds of
//! numbers by their size and keeps what can matter of each:
//!
//! - *A moment of the host's clock* (from [`HOST`] on): how far it is from now, rounded up to a tick. Moments are
//!   compared with now, which is a tick; those that are compared with each other, or that others are counted from,
//!   have one and the same rest below the tick. The rest of a pause after a failure is drawn and only compared.
//!   Anything further back than [`REMEMBERED`] is "long ago": every rule waits for less.
//! - *A moment of the store's clock* (from [`STORE`] on; [`super::wire`] puts it there): how far it is from what that
//!   clock shows. If a moment of the host's follows, the difference is taken from that: code that keeps both counts on from
//!   the pair.
//! - *A token* (from [`TOKENS`] on): its rank among all tokens of the state, since tokens are compared, and a new one is
//!   greater than the store's clock. One that the clock has not passed for good is told from the clock as well.
//! - *A deadline in a judged text*: its rank, since texts are only compared. A later write bears the clock's time and a
//!   TTL: a deadline that is as late as that can come again, and is told from the clock as well.
//!
//! Generations, campaigns, failures and holders are few, because each new one costs a fault, so they are kept unchanged. So
//! two states with equal keys differ by a shift of both clocks and by an order-preserving renaming of tokens and past
//! deadlines. No rule reads more than that, so the same steps lead to states with equal keys, and to the same
//! violations.

use std::hash::{Hash, Hasher};

use super::world::{STORE_TTL, TICK};

pub const HOST: u64 = 1 << 60;
pub const STORE: u64 = 1 << 52;
pub const NONCE: u64 = 1 << 44;
const TOKENS: u64 = 1 << 50;
/// Longer than a lease is waited out with a store's clock that was set back by a few ticks.
const REMEMBERED: i64 = 14 * TICK as i64;
/// The parts of a state that make up its key.
pub struct Tape {
    now: u64,
    clock: i64,
    /// How far the store's clock may still be set back, in microseconds.
    back: i64,
    /// What each agent is called here.
    names: Vec<u64>,
    marks: Vec<Mark>,
    /// Moments further back than this, by the store's clock, are equivalent.
    earliest: i64,
    /// Where the unordered parts begin.
    parts: Vec<usize>,
    tokens: Vec<u64>,
    deadlines: Vec<u64>,
    stamps: Vec<u64>,
    /// A moment of the store's clock, until it is known what follows.
    pending: Option<i64>,
}

#[derive(Clone, Copy)]
enum Mark {
    Plain(u64),
    Token(u64),
    Deadline(u64),
    Stamp(u64),
}

impl Tape {
    pub fn new(now: u64, clock: u64, back: u64, names: Vec<u64>) -> Self {
        Self {
            now,
            clock: clock as i64,
            back: back as i64,
            names,
            marks: Vec::with_capacity(600),
            earliest: -(back as i64) - 2 * TICK as i64 / 1000,
            parts: Vec::new(),
            tokens: Vec::new(),
            deadlines: Vec::new(),
            stamps: Vec::new(),
            pending: None,
        }
    }

    /// One element of a set, such as the messages in flight, whose order does not matter.
    pub fn part(&mut self, part: &impl Hash, is_reply: bool) {
        self.settle();
        self.earliest = match is_reply {
            true => -REMEMBERED / 1000,
            false => self.too_late(),
        };
        self.parts.push(self.marks.len());
        part.hash(self);
        self.settle();
    }

    /// A request that may run no later than this is refused, even if the clock is set back as far as it may be.
    fn too_late(&self) -> i64 {
        -self.back - 2 * TICK as i64 / 1000
    }

    fn plain(&mut self, value: u64) {
        self.marks.push(Mark::Plain(value));
    }

    fn settle(&mut self) {
        if let Some(pending) = self.pending.take() {
            // As long ago as a moment of the host's clock.
            self.store_moment(pending, self.earliest);
        }
    }

    fn store_moment(&mut self, ahead: i64, earliest: i64) {
        self.plain(STORE.wrapping_add_signed(ahead.max(earliest)));
    }

    fn number(&mut self, value: u64) {
        match value {
            HOST.. if value != u64::MAX => {
                let from_now = value as i64 - self.now as i64;
                if let Some(pending) = self.pending.take() {
                    // A clock that is further behind than a lease makes every request too late.
                    self.store_moment(pending - from_now / 1000, -REMEMBERED / 1000);
                }
                // "Long ago" is equivalent to "never".
                let tick = TICK as i64;
                let ticks = (from_now + tick - 1).div_euclid(tick);
                self.plain(match ticks * tick {
                    long_ago if long_ago <= -REMEMBERED => 0,
                    _ => HOST.wrapping_add_signed(ticks),
                });
            }
            STORE..HOST => {
                self.settle();
                self.pending = Some((value - STORE) as i64 - self.clock);
            }
            TOKENS..STORE => {
                self.settle();
                self.token(value);
            }
            NONCE..TOKENS => {
                self.settle();
                self.plain(self.process(value));
            }
            _ => {
                self.settle();
                self.plain(value);
            }
        }
    }

    /// An agent's process.
    fn process(&self, nonce: u64) -> u64 {
        let Some(nonce) = nonce.checked_sub(NONCE) else {
            return nonce;
        };
        let agent = nonce >> 32;
        NONCE | self.names[agent as usize] << 32 | nonce & 0xffff_ffff
    }

    fn token(&mut self, value: u64) {
        self.tokens.push(value);
        self.marks.push(Mark::Token(value));
        let ahead = value as i64 - self.clock;
        self.plain(if ahead >= -self.back {
            ahead as u64
        } else {
            u64::MAX
        });
    }

    fn deadline(&mut self, value: u64) {
        self.deadlines.push(value);
        self.marks.push(Mark::Deadline(value));
        let ahead = value as i64 - self.clock;
        let again = STORE_TTL as i64 - self.back;
        self.plain(if ahead >= again {
            ahead as u64
        } else {
            u64::MAX
        });
    }

    /// A text unchanged, except for numbers of which only the kind counts; a letter before each names the kind.
    fn text(&mut self, bytes: &[u8]) {
        let mut at = 0;
        let mut word = SEED;
        while at < bytes.len() {
            let digits = bytes[at..].iter().take_while(|it| it.is_ascii_digit());
            let digits = digits.count();
            let (before, from) = bytes.split_at(at);
            at += digits.max(1);
            if digits == 0 {
                word = mixed(word ^ u64::from(from[0]), FACTOR);
                continue;
            }
            let number = decimal(&from[..digits]);
            let plain = if before.ends_with(b" p") {
                self.process(number)
            } else if before.ends_with(b" n") {
                self.stamp(word, number);
                continue;
            } else if before.ends_with(b" d") {
                self.deadline(number);
                continue;
            } else if number >= TOKENS {
                self.token(number);
                continue;
            } else if before == b"a" || before.ends_with(b" a") {
                self.names[number as usize]
            } else {
                number
            };
            word = mixed(word ^ plain, FACTOR);
        }
        self.plain(word);
    }

    /// The number of an attempt, and what tells its process from others.
    fn stamp(&mut self, process: u64, number: u64) {
        let stamp = process & !0xffff_ffff | number;
        self.stamps.push(stamp);
        self.marks.push(Mark::Stamp(stamp));
    }

    /// 64 bits over everything: with 10^8 states, two different ones share a key in one of 4000 searches.
    pub fn key(mut self) -> u64 {
        self.settle();
        for numbers in [&mut self.tokens, &mut self.deadlines, &mut self.stamps] {
            numbers.sort_unstable();
            numbers.dedup();
        }
        let value = |mark: &Mark| match mark {
            Mark::Plain(value) => *value,
            Mark::Token(token) => rank(&self.tokens, *token),
            Mark::Deadline(deadline) => rank(&self.deadlines, *deadline),
            Mark::Stamp(stamp) => {
                let first = rank(&self.stamps, stamp & !0xffff_ffff);
                rank(&self.stamps, *stamp) - first
            }
        };
        let of = |marks: &[Mark]| {
            let values = marks.iter().map(value);
            values.fold(SEED, |sum, value| mixed(sum ^ value, FACTOR))
        };
        let first = self.parts.first().copied().unwrap_or(self.marks.len());
        let ends = self.parts.iter().skip(1).copied().chain([self.marks.len()]);
        let parts = self.parts.iter().zip(ends);
        let parts = parts.fold(0_u64, |sum, (start, end)| {
            sum.wrapping_add(mixed(of(&self.marks[*start..end]), SEED))
        });
        mixed(of(&self.marks[..first]) ^ parts.rotate_left(32), FACTOR)
    }
}

impl Hasher for Tape {
    fn write(&mut self, bytes: &[u8]) {
        self.settle();
        self.text(bytes);
    }

    fn write_u8(&mut self, value: u8) {
        self.number(value.into());
    }

    fn write_u32(&mut self, value: u32) {
        self.number(value.into());
    }

    fn write_u64(&mut self, value: u64) {
        self.number(value);
    }

    /// A length, which variant it is, a function's address.
    fn write_usize(&mut self, value: usize) {
        self.settle();
        self.plain(value as u64);
    }

    fn write_isize(&mut self, value: isize) {
        self.write_usize(value as usize);
    }

    fn finish(&self) -> u64 {
        0
    }
}

fn decimal(digits: &[u8]) -> u64 {
    let digits = digits.iter().map(|digit| u64::from(digit - b'0'));
    digits.fold(0, |sum, digit| sum * 10 + digit)
}

fn rank(sorted: &[u64], value: u64) -> u64 {
    sorted.partition_point(|it| *it < value) as u64
}

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
const FACTOR: u64 = 0xd6e8_feb8_6659_fd93;

/// The two halves of the product, folded: each bit of both counts.
fn mixed(value: u64, factor: u64) -> u64 {
    let product = u128::from(value ^ SEED.rotate_left(17)) * u128::from(factor);
    (product >> 64) as u64 ^ product as u64
}
