// SPDX-License-Identifier: GPL-2.0

//! What a periodic's callback is told ends with the run.
// error: E0521.*borrowed data escapes outside of closure
// cure: s/&'static Tick<'static, Soft>/Instant/; s/Some(tick)/Some(tick.due())/

use softclock::prelude::*;

/// Keeps the first tick.
pub fn keep(owner: softclock::Owner) -> Result<Periodic<Soft>> {
    let mut kept: Option<&'static Tick<'static, Soft>> = None;
    Periodic::<Soft>::new(owner, c"keep", Delta::from_millis(1), move |tick| {
        kept = kept.or(Some(tick));
    })
}
