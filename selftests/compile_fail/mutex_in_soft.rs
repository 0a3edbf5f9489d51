// SPDX-License-Identifier: GPL-2.0

//! A soft callout bound to a mutex, for which it would have to sleep.
// error: E0277.*MutexBackend: LocksIn<softclock::Soft>. is not satisfied
// cure: s/Soft/Task/g

use kernel::sync::{
    lock::{mutex::MutexBackend, Guard},
    Mutex,
};
use softclock::prelude::*;

#[pin_data]
struct Object {
    #[pin]
    timer: Callout<Self, Locked<Soft>>,
    #[pin]
    lock: Mutex<u64>,
}

impl_has_callout! { impl HasCallout<Locked<Soft>> for Object { self.timer } }

impl HasLock<Locked<Soft>> for Object {
    type Data = u64;
    type Backend = MutexBackend;

    fn lock(&self) -> &Mutex<u64> {
        &self.lock
    }
}

impl OnExpireLocked<Locked<Soft>> for Object {
    fn expire(
        _this: ArcBorrow<'_, Timed<Self>>,
        _guard: Guard<'_, u64, MutexBackend>,
        _run: &Expiry<'_, Soft>,
    ) -> Next {
        Next::Stop
    }
}
