// SPDX-License-Identifier: GPL-2.0

//! A closure outlives the function that makes it.
// error: E0373.*closure may outlive the current function, but it borrows .count.
// cure: s/let count = Atomic::new(0u64)/static count: Atomic<u64> = Atomic::new(0)/

use softclock::prelude::*;

/// Counts in a local variable.
pub fn count(owner: softclock::Owner) -> Result<u64> {
    let count = Atomic::new(0u64);
    let _timer = Closure::<Soft>::new(owner, c"borrowed", |_run| {
        count.fetch_add(1, Relaxed);
        Next::Stop
    })?;
    Ok(count.load(Relaxed))
}
