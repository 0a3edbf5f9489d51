// SPDX-License-Identifier: GPL-2.0

//! Everybody reads a static at the same time.
// error: E0277.*.Cell<u64>. cannot be shared between threads safely
// cure: s/count: Cell<u64>/count: Atomic<u64>/

use core::cell::Cell;
use softclock::prelude::*;

#[pin_data]
struct Object {
    #[pin]
    timer: Callout<Self, Soft>,
    count: Cell<u64>,
}

impl_has_callout! { impl HasCallout<Soft> for Object { self.timer } }

static PLACE: TimedStatic<Object> = TimedStatic::new();

/// A use of it.
pub fn found() -> bool {
    let _ = Cell::new(0u64);
    PLACE.get().is_some()
}
