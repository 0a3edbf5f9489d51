// SPDX-License-Identifier: GPL-2.0

//! A softirq callback has no proof that it may sleep.
// error: E0599.*no method named .task. found for reference .*Expiry<'_, softclock::Soft>
// cure: s/Soft/Task/g

use softclock::prelude::*;

#[pin_data]
struct Object {
    #[pin]
    timer: Callout<Self, Soft>,
    count: u64,
}

impl_has_callout! { impl HasCallout<Soft> for Object { self.timer } }

impl OnExpire<Soft> for Object {
    fn expire(this: ArcBorrow<'_, Timed<Self>>, run: &Expiry<'_, Soft>) -> Next {
        let _ = this.timer.drain(&run.task());
        Next::Stop
    }
}
