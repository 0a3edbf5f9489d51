// SPDX-License-Identifier: GPL-2.0

//! A callback and its owner run at the same time.
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

impl OnExpire<Soft> for Object {
    fn expire(_this: ArcBorrow<'_, Timed<Self>>, _run: &Expiry<'_, Soft>) -> Next {
        Next::Stop
    }
}
