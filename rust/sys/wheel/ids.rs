// SPDX-License-Identifier: GPL-2.0

//! Numbers for everything that debugfs shows.

use core::{
    ops::Range,
    sync::atomic::{AtomicU64, Ordering::Relaxed}, //
};

static NEXT: AtomicU64 = AtomicU64::new(1);

/// A number that was not used before. 40 bits hold it, and the lower 32 are not zero.
#[inline(never)]
pub(crate) fn next() -> u64 {
    loop {
        let id = NEXT.fetch_add(1, Relaxed);
        if id as u32 != 0 {
            return id;
        }
    }
}

/// All numbers that were used so far: that of whatever is listed by now is one of them.
pub(crate) fn used() -> Range<u64> {
    0..NEXT.load(Relaxed)
}
