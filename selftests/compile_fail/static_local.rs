// SPDX-License-Identifier: GPL-2.0

//! What a guard empties has to be there as long as the guard: a static, and no variable.
// error: E0597.*.place. does not live long enough
// cure: s/let place/static PLACE/; s/place\.get/PLACE.get/

use softclock::prelude::*;

#[pin_data]
struct Object {
    #[pin]
    timer: Callout<Self, Soft>,
}

impl_has_callout! { impl HasCallout<Soft> for Object { self.timer } }

/// Looks it up.
pub fn found() -> bool {
    let place: TimedStatic<Object> = TimedStatic::new();
    place.get().is_some()
}
