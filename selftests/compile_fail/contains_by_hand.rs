// SPDX-License-Identifier: GPL-2.0

//! Only the macro may say where the callout is.
// error: E0200.*the trait .Contains<.* requires an .unsafe impl. declaration
// cure: /^impl softclock::Contains/,$c impl_has_callout! { impl HasCallout<Soft> for Object { self.timer } }

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

impl softclock::Contains<Callout<Self, Soft>> for Object {
    fn field(&self) -> &Callout<Self, Soft> {
        &self.timer
    }
}
