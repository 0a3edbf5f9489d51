// SPDX-License-Identifier: GPL-2.0

//! A box ends all callouts of its object, so it has to know them.
// error: E0277.*.Object. has no callouts that softclock knows of
// note: add: impl_has_callout!
// cure: s,^// Nothing here.*,impl_has_callout! { impl HasCallout<Soft> for Object { self.timer } },

use softclock::prelude::*;

#[pin_data]
struct Object {
    #[pin]
    timer: Callout<Self, Soft>,
}

// Nothing here.

/// Holds it.
pub struct Holder(TimedBox<Object>);
