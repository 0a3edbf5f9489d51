// SPDX-License-Identifier: GPL-2.0

//! The macro's generics are generics, not a way to write an unsafe impl without the word.
// error: missing parameters for function definition
// error: expected one of .* found .Send.
// error: E0119.*conflicting implementations of trait .Send.
// error: E0200.*the trait .Send. requires an .unsafe impl. declaration
// cure: s/{> Send for .* impl<} //

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
