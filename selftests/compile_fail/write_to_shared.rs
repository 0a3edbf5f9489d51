// SPDX-License-Identifier: GPL-2.0

//! Nobody writes to an object that a timer may be reading.
// expect: cannot assign to data in an .Arc.|cannot assign to data in dereference of

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
