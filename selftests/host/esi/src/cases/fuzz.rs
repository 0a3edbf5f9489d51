// SPDX-License-Identifier: GPL-2.0

//! Random messages: what nobody thought of. They begin as the samples of the corpus and change by
//! chance. Those that get to a new place (another verdict, another length, another point at which a
//! stream is refused) become samples themselves.
//!
//! It is guided by verdicts, and knows what a message looks like. selftests/fuzz.sh is guided by what the
//! compiler says was executed, and knows nothing; both hold every message against [`super::any`].
//!
//! `ESI_LONG` tries 10^9 of them, `ESI_SEED` begins elsewhere. A message that fails is printed with
//! its seed; it belongs into the corpus then.

use super::{any::check, corpus::samples, oracle, random::Random};
use crate::policy::pdu::Fault;
use std::{collections::HashSet, env, panic, thread};

/// How many, in a short run and in a long one; when mutants are tried there are many runs.
pub(crate) fn scale(short: u32, long: u32) -> u32 {
    match (env::var_os("ESI_LONG"), env::var_os("ESI_SHORT")) {
        (Some(_), _) => long,
        (None, Some(_)) => (short / 25).max(50),
        (None, None) => short,
    }
}

const THREADS: u64 = 2;
/// So many messages are kept to be changed.
const POOL: usize = 4096;

struct Fuzz {
    random: Random,
    /// The samples, and what was found.
    pool: Vec<Vec<u8>>,
    samples: usize,
    places: HashSet<u64>,
}

const WORDS: [u32; 16] = [
    0,
    1,
    4,
    8,
    16,
    17,
    24,
    0x100,
    0x8000,
    0xfffc,
    0xffff,
    0x1_0000,
    0x7fff_fffc,
    0x8000_0000,
    0xffff_fffc,
    u32::MAX,
];

impl Fuzz {
    fn new(seed: u64) -> Self {
        let pool: Vec<_> = samples().into_iter().map(|sample| sample.bytes).collect();
        Self {
            random: Random::new(seed),
            samples: pool.len(),
            pool,
            places: HashSet::new(),
        }
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let random = &mut self.random;
        let len = bytes.len();
        match random.below(11) {
            0 if len > 0 => bytes[random.below(len)] ^= 1 << random.below(8),
            1 if len > 0 => {
                let at = random.below(len);
                bytes[at] = random.next() as u8;
            }
            // A word, or half of one, at its place.
            2 | 3 if len >= 4 => {
                let at = 4 * random.below(len / 4);
                let word = WORDS[random.below(WORDS.len())].to_be_bytes();
                let (from, count) = if random.one_in(2) { (0, 4) } else { (2, 2) };
                bytes[at + from..at + from + count].copy_from_slice(&word[4 - count..]);
            }
            4 => bytes.truncate(random.below(len + 1)),
            5 => bytes.extend((0..=random.below(40)).map(|_| random.next() as u8)),
            // Words out, and in again elsewhere.
            6 if len >= 16 => {
                let at = 4 * random.below(len / 4);
                let count = (4 * (1 + random.below(8))).min(len - at);
                let taken: Vec<u8> = bytes.drain(at..at + count).collect();
                if random.one_in(2) {
                    let to = 4 * random.below(bytes.len() / 4 + 1);
                    bytes.splice(to..to, taken);
                }
            }
            // Words twice.
            7 if (16..=600).contains(&len) => {
                let at = 4 * random.below(len / 4);
                let count = (4 * (1 + random.below(8))).min(len - at);
                let copy = bytes[at..at + count].to_vec();
                bytes.splice(at..at, copy);
            }
            // The end of another one.
            8 => {
                let other = random.below(self.pool.len());
                let other = &self.pool[other];
                let at = random.below(len.min(other.len()) + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[at..]);
            }
            // The length is right again.
            _ if len >= 12 => {
                let length = ((len - 12).min(0xffff) as u16).to_be_bytes();
                bytes[4..6].copy_from_slice(&length);
            }
            _ => {}
        }
    }

    fn message(&mut self) -> Vec<u8> {
        let found = self.random.one_in(2);
        let from = if found { self.pool.len() } else { self.samples };
        let at = self.random.below(from);
        let mut bytes = self.pool[at].clone();
        for _ in 0..=self.random.below(4) {
            self.change(&mut bytes);
        }
        if bytes.len() >= 12 && self.random.one_in(2) {
            let length = ((bytes.len() - 12).min(0xffff) as u16).to_be_bytes();
            bytes[4..6].copy_from_slice(&length);
        }
        bytes
    }

    fn try_one(&mut self) -> Result<(), Fault> {
        let bytes = self.message();
        let (verdict, place) = check(&bytes, 1 + self.random.below(40));
        if self.places.insert(place) && bytes.len() <= 1024 {
            if self.pool.len() < POOL {
                self.pool.push(bytes);
            } else {
                let at = self.samples + self.random.below(POOL - self.samples);
                self.pool[at] = bytes;
            }
        }
        verdict
    }
}

// A panic in the kernel, an answer that is none, or one that is not taken, by any bytes at all.
#[test]
fn esi_36_random_messages_are_read_as_another_reader_reads_them() {
    let seed = env::var("ESI_SEED").map_or(1, |seed| seed.parse().unwrap());
    let count = scale(1_000_000, 1_000_000_000);
    let threads: Vec<_> = (0..THREADS)
        .map(|n| thread::spawn(move || run(seed * THREADS + n, u64::from(count) / THREADS)))
        .collect();
    let answers: u64 = threads
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .sum();
    // The search is no use when chance does not get as far as an answer.
    assert!(answers > u64::from(count) / 1_000, "only {answers} answers");
}

fn run(seed: u64, count: u64) -> u64 {
    let mut fuzz = Fuzz::new(seed);
    let mut answers = 0;
    for n in 0..count {
        let before = fuzz.random.clone();
        let tried = panic::catch_unwind(panic::AssertUnwindSafe(|| fuzz.try_one()));
        match tried {
            Ok(verdict) => answers += u64::from(verdict.is_ok()),
            Err(why) => {
                fuzz.random = before;
                let bytes = fuzz.message();
                eprintln!("message {n} of seed {seed}: {bytes:02x?}");
                panic::resume_unwind(why);
            }
        }
    }
    eprintln!(
        "seed {seed}: {} places, {answers} answers",
        fuzz.places.len()
    );
    answers
}

// The search finds what it is for: a reader that forgets one check is found out.
#[test]
fn the_search_would_find_a_check_that_is_missing() {
    let mut fuzz = Fuzz::new(5);
    let found: HashSet<_> = (0..100_000)
        .map(|_| oracle::place(fuzz.try_one()))
        .collect();
    // All faults but the source, and answers.
    assert_eq!(found.len(), Fault::KINDS, "{found:?}");
}
