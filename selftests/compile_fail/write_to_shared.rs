// SPDX-License-Identifier: GPL-2.0

//! Nobody writes to an object that a timer may be reading.
// error: E0594.*cannot assign to data in dereference of .softclock::Timed<Object>.
// cure: s/count: u64/count: Atomic<u64>/; s/object\.0\.count = 1/object.0.count.store(1, Relaxed)/

use softclock::prelude::*;

#[pin_data]
struct Object {
    #[pin]
    timer: Callout<Self, Soft>,
    count: u64,
}

/// Writes.
pub fn write(mut object: Holder) {
    object.0.count = 1;
}

/// Holds it.
pub struct Holder(Arc<Timed<Object>>);
