// SPDX-License-Identifier: GPL-2.0

//! Waiting wants proof that this context may sleep.
// expect: this method takes 1 argument but 0 arguments were supplied

use softclock::prelude::*;

#[pin_data]
struct Object {
    #[pin]
    timer: Callout<Self, Soft>,
    count: u64,
}

/// Drains.
pub fn drain(object: &Object2) {
    let _ = object.0.timer.drain();
}

/// Holds it.
pub struct Object2(Arc<Timed<Object>>);
