// SPDX-License-Identifier: GPL-2.0

//! The macro's generics are generics, not a way to write an unsafe impl without the word.
// expect: unmatched angle bracket|expected .* found|cannot find|expected one of

use softclock::prelude::*;

struct Smuggled(*mut u8);

struct Object {
    timer: Callout<Object, Soft>,
}

impl OnExpire<Soft> for Object {
    fn expire(_this: ArcBorrow<'_, Timed<Self>>, _run: &Expiry<'_, Soft>) -> Next {
        Next::Stop
    }
}

impl_has_callout! {
    impl {> Send for Smuggled {} #[cfg(any())] impl<} HasCallout<Soft> for Object { self.timer }
}
