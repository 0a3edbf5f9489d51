// SPDX-License-Identifier: GPL-2.0

//! callout-11: arming a callout that is bound to a lock, without the lock.
// error: E0061.*takes 2 arguments but 1 argument was supplied
// cure: s/arm_after(Delta::ZERO)/arm_after(Delta::ZERO, \&_guard)/

use kernel::sync::lock::Guard;
use softclock::{locked::SoftBackend, prelude::*};

#[pin_data]
struct Object {
    #[pin]
    timer: Callout<Self, Locked<Soft>>,
    #[pin]
    lock: SoftLock<u64>,
}

impl_has_callout! { impl HasCallout<Locked<Soft>> for Object { self.timer } }

impl HasLock<Locked<Soft>> for Object {
    type Data = u64;
    type Backend = SoftBackend;

    fn lock(&self) -> &SoftLock<u64> {
        &self.lock
    }
}

impl OnExpireLocked<Locked<Soft>> for Object {
    fn expire(
        this: ArcBorrow<'_, Timed<Self>>,
        _guard: Guard<'_, u64, SoftBackend>,
        _run: &Expiry<'_, Soft>,
    ) -> Next {
        this.callout::<Locked<Soft>>().arm_after(Delta::ZERO);
        Next::Stop
    }
}
