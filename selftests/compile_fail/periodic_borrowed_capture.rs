// SPDX-License-Identifier: GPL-2.0

//! A periodic's callback outlives the function that makes it.
// error: E0373.*may outlive the current function, but it borrows .runs.
// cure: s/|_tick| {/move |_tick| {/

use softclock::prelude::*;

/// Counts in a local variable.
pub fn count(owner: softclock::Owner) -> Result<Periodic<Task>> {
    let mut runs = 0u64;
    Periodic::<Task>::new(owner, c"count", Delta::from_millis(1), |_tick| {
        runs += 1;
    })
}
