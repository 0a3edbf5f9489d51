// SPDX-License-Identifier: GPL-2.0

//! A callout calls the type it lies in, and no other.
// error: E0308.*mismatched types
// cure: s/timer: Callout<Object, Soft>/timer: Callout<Other, Soft>/

use softclock::prelude::*;

#[pin_data]
struct Object {
    #[pin]
    timer: Callout<Self, Soft>,
    count: u64,
}

impl OnExpire<Soft> for Object {
    fn expire(_this: ArcBorrow<'_, Timed<Self>>, _run: &Expiry<'_, Soft>) -> Next {
        Next::Stop
    }
}

#[pin_data]
struct Other {
    #[pin]
    timer: Callout<Object, Soft>,
}

impl_has_callout! { impl HasCallout<Soft> for Other { self.timer } }
