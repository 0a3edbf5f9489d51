// SPDX-License-Identifier: GPL-2.0

//! A hard callback cannot wait: it is given no proof that it may sleep.
// error: E0599.*no method named .task. found for reference .*Expiry<'_, softclock::Hard>
// cure: s/Hard/Task/g

use softclock::prelude::*;

#[pin_data]
struct Object {
    #[pin]
    timer: Callout<Self, Hard>,
    count: u64,
}

impl_has_callout! { impl HasCallout<Hard> for Object { self.timer } }

impl OnExpire<Hard> for Object {
    fn expire(this: ArcBorrow<'_, Timed<Self>>, run: &Expiry<'_, Hard>) -> Next {
        let _ = this.timer.drain(&run.task());
        Next::Stop
    }
}
