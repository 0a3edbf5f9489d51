// SPDX-License-Identifier: GPL-2.0

//! Nobody arms a callout of a box that is gone.
// error: E0505.*cannot move out of .object. because it is borrowed
// cure: s/drop(object);//

use softclock::prelude::*;

#[pin_data]
struct Object {
    #[pin]
    timer: Callout<Self, Soft>,
}

impl_has_callout! { impl HasCallout<Soft> for Object { self.timer } }

/// Holds it.
pub struct Holder(TimedBox<Object>);

/// Arms it.
pub fn arm(Holder(object): Holder) -> Arm {
    let handle = object.callout::<Soft>();
    drop(object);
    handle.arm_after(Delta::ZERO)
}
