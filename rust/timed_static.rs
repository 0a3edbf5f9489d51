// SPDX-License-Identifier: GPL-2.0

//! An object with callouts that a static holds, for as long as its module says.

use crate::{
    callout::{Callout, CalloutOf, Handle},
    context::Kind,
    ending::HasCallouts,
    sys::{
        late::Late,
        lock::RawLock,
        target::{Contains, Timed}, //
    },
    timed_box::TimedBox,
};
use core::ops::Deref;
use kernel::{
    prelude::*,
    static_lock_class,
    sync::{
        atomic::{Acquire, Atomic, Release},
        Arc,
        LockClassKey, //
    },
};

/// A static with an object that has callouts, for drivers with one of a kind and entry points that are
/// given nothing.
///
/// Nothing of a static is ever dropped. So it is filled by [`set`](Self::set), when the module is
/// loaded, and emptied by the drop of the guard which that gives: kept in the module's own object, it
/// goes when the module does. Between those [`get`](Self::get) finds the object, from anywhere.
///
/// # What dropping the guard does
///
/// The static is empty first: [`get`](Self::get) finds nothing any more. Then all happens that dropping
/// a [`TimedBox`] does: the callouts are shut down, and where the context allows that, no callback of
/// the object executes when it returns. Who got the object before and still has it keeps it alive,
/// without callouts. After that the static can be filled again.
///
/// A guard that is forgotten leaves the static full, and its object alive for ever. When its module is
/// unloaded all the same, the callouts are shut down and named in the log, as all that is left behind;
/// nothing points to the static itself, which goes with the module.
///
/// # Examples
///
/// ```
/// #[pin_data]
/// struct Clock {
///     #[pin]
///     tick: Callout<Self, Soft>,
///     ticks: Atomic<u64>,
/// }
/// impl_has_callout! { impl HasCallout<Soft> for Clock { self.tick } }
/// # impl OnExpire<Soft> for Clock {
/// #     fn expire(_: ArcBorrow<'_, Timed<Self>>, _: &Expiry<'_, Soft>) -> Next { Next::Stop }
/// # }
///
/// static CLOCK: TimedStatic<Clock> = TimedStatic::new();
///
/// struct Driver {
///     clock: TimedStaticGuard<Clock>, // dropping it ends the callouts
/// }
///
/// // When the module is loaded:
/// let clock = CLOCK.set(try_pin_init!(Clock {
///     tick <- Callout::new(softclock::owner!(), c"tick"),
///     ticks: Atomic::new(0),
/// }))?;
/// clock.callout::<Soft>().arm_after(Delta::from_millis(100));
/// let driver = Driver { clock };
///
/// // Anywhere else:
/// if let Some(clock) = CLOCK.get() {
///     clock.callout::<Soft>().arm_after(Delta::from_millis(50));
///     pr_info!("{} ticks\n", clock.ticks.load(Relaxed));
/// }
/// ```
pub struct TimedStatic<T: HasCallouts> {
    /// From the beginning of a `set` until its guard is gone.
    taken: Atomic<bool>,
    slot: Late<RawLock<Option<Arc<Timed<T>>>>>,
}

impl<T: HasCallouts> TimedStatic<T> {
    /// An empty one, made when the driver is compiled.
    #[expect(clippy::new_without_default, reason = "it is for statics")]
    pub const fn new() -> Self {
        Self {
            taken: Atomic::new(false),
            slot: Late::new(),
        }
    }

    /// The object, while there is one. Any context but NMI; never blocks.
    ///
    /// Let go of it where memory can be freed: when the guard goes meanwhile, it is the last reference.
    pub fn get(&'static self) -> Option<Arc<Timed<T>>> {
        self.slot.get()?.lock().clone()
    }
}

impl<T: HasCallouts + Send + Sync> TimedStatic<T> {
    /// Makes an object, and puts it here until the guard is dropped. Task context; may block
    /// (`GFP_KERNEL`).
    ///
    /// # Errors
    ///
    /// `EBUSY`: the guard of an earlier one is still there. Those of [`Timed::new`].
    pub fn set<E>(&'static self, init: impl PinInit<T, E>) -> Result<TimedStaticGuard<T>>
    where
        Error: From<E>,
    {
        if self.taken.cmpxchg(false, true, Acquire).is_err() {
            complain();
            return Err(EBUSY);
        }
        // From here on dropping it empties the static.
        let place = Place(self);
        let object = TimedBox::new(init)?;
        let (name, class) = lock_class();
        let slot = self.slot.make(RawLock::new(None, name, class));
        let slot = slot.ok_or(EBUSY)?;
        *slot.lock() = Some(object.share());
        Ok(TimedStaticGuard { place, object })
    }
}

/// The lock class of all of them: softclock's own, for a client's is gone with it.
#[inline(never)]
fn lock_class() -> (&'static CStr, Pin<&'static LockClassKey>) {
    (c"softclock_static", static_lock_class!())
}

#[inline(never)]
fn complain() {
    pr_err!("a TimedStatic is set already: the guard of the last time must be dropped before\n");
}

/// A static that is taken, until this is dropped.
struct Place<T: HasCallouts + 'static>(&'static TimedStatic<T>);

impl<T: HasCallouts> Place<T> {
    fn empty(&self) {
        if let Some(slot) = self.0.slot.get() {
            let object = slot.lock().take();
            // After the lock.
            drop(object);
        }
    }
}

impl<T: HasCallouts> Drop for Place<T> {
    fn drop(&mut self) {
        self.0.taken.store(false, Release);
    }
}

/// Keeps an object in a [`TimedStatic`]. See there for what dropping it does.
///
/// It dereferences to the object, and has its callouts.
pub struct TimedStaticGuard<T: HasCallouts + 'static> {
    // Dropped in this order: the static can be filled again when the callouts have ended.
    object: TimedBox<T>,
    place: Place<T>,
}

impl<T: HasCallouts> Deref for TimedStaticGuard<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.object
    }
}

impl<T: HasCallouts> CalloutOf<T> for TimedStaticGuard<T> {
    fn callout<K: Kind>(&self) -> Handle<'_, T, K>
    where
        T: Contains<Callout<T, K>>,
    {
        self.object.callout()
    }
}

impl<T: HasCallouts> Drop for TimedStaticGuard<T> {
    fn drop(&mut self) {
        self.place.empty();
    }
}
