// SPDX-License-Identifier: GPL-2.0

//! One owner is not alone: a callback may be reading.
// error: E0594.*cannot assign to data in dereference of .softclock::TimedBox<Object>.
// cure: s/count: u64/count: Atomic<u64>/; s/object\.0\.count = 1/object.0.count.store(1, Relaxed)/

use softclock::prelude::*;

#[pin_data]
struct Object {
    #[pin]
    timer: Callout<Self, Soft>,
    count: u64,
}

impl_has_callout! { impl HasCallout<Soft> for Object { self.timer } }

/// Writes.
pub fn write(mut object: Holder) {
    object.0.count = 1;
}

/// Holds it.
pub struct Holder(TimedBox<Object>);
