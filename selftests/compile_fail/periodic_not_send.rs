// SPDX-License-Identifier: GPL-2.0

//! What a periodic's callback has captured is used by other threads.
// error: E0277.*.\*mut u64. cannot be sent between threads safely
// cure: s/\*mut u64/Arc<Atomic<u64>>/; s/at.is_null()/at.load(Relaxed)/

use softclock::prelude::*;

/// Captures a pointer.
pub fn count(owner: softclock::Owner, at: *mut u64) -> Result<Periodic<Soft>> {
    Periodic::<Soft>::new(owner, c"count", Delta::from_millis(1), move |_tick| {
        let _ = at.is_null();
    })
}
