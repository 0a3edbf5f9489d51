// SPDX-License-Identifier: GPL-2.0

//! The hash of names that strangers choose: SipHash-1-3 with a secret key, so that nobody can choose
//! many that meet in one place of a table.

#![forbid(unsafe_code)]

/// A secret.
#[derive(Clone, Copy)]
pub(crate) struct Key(pub(crate) u64, pub(crate) u64);

struct State([u64; 4]);

impl State {
    fn round(&mut self) {
        let [a, b, c, d] = self.0;
        let (a, c) = (a.wrapping_add(b), c.wrapping_add(d));
        let (b, d) = (b.rotate_left(13) ^ a, d.rotate_left(16) ^ c);
        let a = a.rotate_left(32);
        let (a, c) = (a.wrapping_add(d), c.wrapping_add(b));
        let (d, b) = (d.rotate_left(21) ^ a, b.rotate_left(17) ^ c);
        self.0 = [a, b, c.rotate_left(32), d];
    }

    fn take(&mut self, word: u64) {
        self.0[3] ^= word;
        self.round();
        self.0[0] ^= word;
    }
}

fn word_of(bytes: &[u8]) -> u64 {
    let step = |word: u64, byte: &u8| (word << 8) | u64::from(*byte);
    bytes.iter().rev().fold(0, step)
}

/// The lower half of the hash of `bytes`.
pub(crate) fn hash(key: Key, bytes: &[u8]) -> u32 {
    let mut state = State([
        key.0 ^ 0x736f_6d65_7073_6575,
        key.1 ^ 0x646f_7261_6e64_6f6d,
        key.0 ^ 0x6c79_6765_6e65_7261,
        key.1 ^ 0x7465_6462_7974_6573,
    ]);
    let words = bytes.chunks_exact(8);
    let rest = word_of(words.remainder());
    for word in words {
        state.take(word_of(word));
    }
    let [.., len] = (bytes.len() as u64).to_be_bytes();
    state.take(rest | (u64::from(len) << 56));
    state.0[2] ^= 0xff;
    for _ in 0..3 {
        state.round();
    }
    let all = state.0.iter().fold(0, |all, word| all ^ word);
    (all & 0xffff_ffff) as u32
}
