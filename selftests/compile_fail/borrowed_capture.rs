// SPDX-License-Identifier: GPL-2.0

//! A closure outlives the function that makes it.
// expect: .count. does not live long enough|borrowed value does not live long enough|may outlive the current function

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
