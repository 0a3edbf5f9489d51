// SPDX-License-Identifier: GPL-2.0

//! callout-31: a hard callout bound to a lock that hard interrupts cannot take.
// error: E0277.*SoftBh: LocksIn<softclock::Hard>. is not satisfied
// cure: s/SoftLock/HardLock/g; s/SoftBackend/HardBackend/g

use kernel::sync::lock::Guard;
use softclock::{locked::SoftBackend, prelude::*};

#[pin_data]
struct Object {
    #[pin]
    timer: Callout<Self, Locked<Hard>>,
    #[pin]
    lock: SoftLock<u64>,
}

impl_has_callout! { impl HasCallout<Locked<Hard>> for Object { self.timer } }

impl HasLock<Locked<Hard>> for Object {
    type Data = u64;
    type Backend = SoftBackend;

    fn lock(&self) -> &SoftLock<u64> {
        &self.lock
    }
}

impl OnExpireLocked<Locked<Hard>> for Object {
    fn expire(
        _this: ArcBorrow<'_, Timed<Self>>,
        _guard: Guard<'_, u64, SoftBackend>,
        _run: &Expiry<'_, Hard>,
    ) -> Next {
        Next::Stop
    }
}
