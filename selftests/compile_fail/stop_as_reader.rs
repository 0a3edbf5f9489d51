// SPDX-License-Identifier: GPL-2.0

//! SHAREDLOCK: stopping under the lock as a reader, beside whom the callback may be running.
// error: E0308.*mismatched types
// cure: s/this\.lock\.read()/this.lock.lock()/

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
        drop(guard);
        let guard = this.lock.read();
        this.callout::<Locked<Soft, Shared>>().stop(&guard);
        Next::Stop
    }
}
