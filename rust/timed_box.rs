// SPDX-License-Identifier: GPL-2.0

//! An object with callouts that has one owner.

use crate::{
    callout::{Callout, CalloutOf, Handle},
    context::Kind,
    ending::{end, HasCallouts},
    sys::target::{Contains, Timed},
};
use core::ops::Deref;
use kernel::{prelude::*, sync::Arc};

/// An object with callouts that has one owner: what a driver puts into the structure it gives back to
/// the kernel, where it would put a pinned box. [`Arc<Timed<T>>`](Timed) is for objects with several.
///
/// # What dropping it does
///
/// All callouts of the object are shut down first, so no run begins any more and every later arm is
/// refused, whoever asks. The rest depends on where that is:
///
/// - In a task that may sleep it waits for runs in progress. When it returns, no callback of the object
///   executes. Hold no lock that one of them takes.
/// - In the object's own callback, in a callback that one of the object's waits for, and in atomic
///   context it does not wait. A run in progress keeps the object alive until it ends; then a worker
///   drops it.
///
/// Where no run has it, the object is dropped there and then, so that must be a context in which the
/// kernel can free memory (on PREEMPT_RT no hard interrupt, but for the object's own callback). Otherwise
/// that is left to a worker, which does it soon after: also when a run was about to let go of it, when an
/// expiry was on its way (one that waits for the lock of a [`Locked`](crate::Locked) callout takes that
/// and gives it back), and when a reader of debugfs was looking at it. A call of
/// [`OnExpire::drained`] that was asked for comes before that. A module that is unloaded meanwhile stays
/// until all of this is over.
///
/// A box that is forgotten is never dropped. Its callouts are shut down, and named in the log, when its
/// module is unloaded.
///
/// # How unique it is
///
/// Nobody makes a second owner from outside: `&TimedBox<T>` gives out `&T`. A callback can: it may keep
/// what it is called with, by `Arc::from(this)`. Then dropping the box still ends the callouts, and the
/// object lives on without them until the last such [`Arc`] is gone. It is shared with the callbacks at
/// any time, so there is no `&mut T`: what changes wants atomics, or a lock.
///
/// [`OnExpire::drained`]: crate::OnExpire::drained
///
/// # Examples
///
/// ```
/// #[pin_data]
/// struct Port {
///     #[pin]
///     linkup: Callout<Self, Soft>,
///     #[pin]
///     reset: Callout<Self, Task>,
/// }
///
/// // All callouts of a type in one call.
/// impl_has_callout! {
///     impl HasCallout<Soft> for Port { self.linkup }
///     impl HasCallout<Task> for Port { self.reset }
/// }
/// # impl OnExpire<Soft> for Port {
/// #     fn expire(_: ArcBorrow<'_, Timed<Self>>, _: &Expiry<'_, Soft>) -> Next { Next::Stop }
/// # }
/// # impl OnExpire<Task> for Port {
/// #     fn expire(_: ArcBorrow<'_, Timed<Self>>, _: &Expiry<'_, Task>) -> Next { Next::Stop }
/// # }
///
/// struct Driver {
///     port: TimedBox<Port>,
/// }
///
/// let driver = Driver {
///     port: TimedBox::new(try_pin_init!(Port {
///         linkup <- Callout::new(softclock::owner!(), c"linkup"),
///         reset <- Callout::new(softclock::owner!(), c"reset"),
///     }))?,
/// };
/// driver.port.callout::<Soft>().arm_after(Delta::from_millis(100));
/// // Waits for both callbacks; after that neither runs.
/// drop(driver);
/// ```
pub struct TimedBox<T: HasCallouts> {
    object: Arc<Timed<T>>,
}

impl<T: HasCallouts> TimedBox<T> {
    /// Allocates and initialises an object. Task context; may block (`GFP_KERNEL`).
    ///
    /// # Errors
    ///
    /// As for [`Timed::new`].
    pub fn new<E>(init: impl PinInit<T, E>) -> Result<Self>
    where
        Error: From<E>,
    {
        let object = Timed::new(init)?;
        Ok(Self { object })
    }

    /// Another reference, for who ends the callouts through this.
    pub(crate) fn share(&self) -> Arc<Timed<T>> {
        self.object.clone()
    }
}

impl<T: HasCallouts> Deref for TimedBox<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.object
    }
}

impl<T: HasCallouts> CalloutOf<T> for TimedBox<T> {
    fn callout<K: Kind>(&self) -> Handle<'_, T, K>
    where
        T: Contains<Callout<T, K>>,
    {
        self.object.callout()
    }
}

impl<T: HasCallouts> Drop for TimedBox<T> {
    fn drop(&mut self) {
        end::<T>(self);
    }
}
