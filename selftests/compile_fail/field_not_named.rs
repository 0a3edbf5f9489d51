// SPDX-License-Identifier: GPL-2.0

//! The message says what to add.
// error: E0277.*.Object. has no .softclock::Callout<Object, softclock::Soft>. that softclock knows of
// note: add: impl_has_callout!
// cure: s,^/// Arms it.*,impl_has_callout! { impl HasCallout<Soft> for Object { self.timer } }\n&,

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

/// Arms it.
pub fn arm(object: &Holder) {
    object.0.callout::<Soft>().arm_after(Delta::ZERO);
}

/// Holds it.
pub struct Holder(Arc<Timed<Object>>);
