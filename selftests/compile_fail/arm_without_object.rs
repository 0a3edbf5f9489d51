// SPDX-License-Identifier: GPL-2.0

//! Arming wants what keeps the object alive, not just the field.
// error: E0599.*no method named .arm_after. found for struct .softclock::Callout
// cure: s/this\.timer\.arm_after/this.callout::<Soft>().arm_after/

use softclock::prelude::*;

#[pin_data]
struct Object {
    #[pin]
    timer: Callout<Self, Soft>,
    count: u64,
}

impl_has_callout! { impl HasCallout<Soft> for Object { self.timer } }

impl OnExpire<Soft> for Object {
    fn expire(this: ArcBorrow<'_, Timed<Self>>, _run: &Expiry<'_, Soft>) -> Next {
        this.timer.arm_after(Delta::ZERO);
        Next::Stop
    }
}
