// SPDX-License-Identifier: GPL-2.0

//! SHAREDLOCK: writing what a callback has its lock to read.
// error: E0594.*cannot assign to data in dereference of
// cure: s,\*guard = 1,drop(guard); *this.lock.lock() = 1,

use softclock::{locked::SoftRwBackend, prelude::*};

#[pin_data]
struct Object {
    #[pin]
    timer: Callout<Self, Locked<Soft, Shared>>,
    #[pin]
    lock: SoftRwLock<u64>,
}

impl_has_callout! { impl HasCallout<Locked<Soft, Shared>> for Object { self.timer } }

impl HasLock<Locked<Soft, Shared>> for Object {
    type Data = u64;
    type Backend = SoftRwBackend;

    fn lock(&self) -> &SoftRwLock<u64> {
        &self.lock
    }
}

impl OnExpireShared<Locked<Soft, Shared>> for Object {
    fn expire(
        this: ArcBorrow<'_, Timed<Self>>,
        guard: ReadGuard<'_, u64, SoftRwBackend>,
        _run: &Expiry<'_, Soft>,
    ) -> Next {
        let mut guard = guard;
        *guard = 1;
        let _ = &this;
        Next::Stop
    }
}
