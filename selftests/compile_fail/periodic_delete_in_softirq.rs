// SPDX-License-Identifier: GPL-2.0

//! A softirq callback of a periodic has no proof that it may wait for another one.
// error: E0599.*no method named .task. found for reference .*Tick<'_, softclock::Soft>
// cure: s/Soft/Task/g

use softclock::prelude::*;

/// Deletes the other one from its callback.
pub fn chain(owner: softclock::Owner, other: Arc<Periodic<Soft>>) -> Result<Periodic<Soft>> {
    let period = Delta::from_millis(1);
    Periodic::<Soft>::new(owner, c"chain", period, move |tick| {
        let _ = other.delete(&tick.task());
    })
}
