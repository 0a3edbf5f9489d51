// SPDX-License-Identifier: GPL-2.0

//! Callouts: run a function once, later, and be able to take that back. `callout(9)`, `timeout(9)`.
//!
//! # Vocabulary
//!
//! A callout is *armed* for a deadline. Until its callback begins it is *pending*; then it is
//! *running*; otherwise it is *idle*. A callback may arm its own callout again. *Stop* cancels what
//! is pending and never waits. *Drain* cancels and waits for a run in progress. *Shut down* is a
//! drain after which every arm is refused.
//!
//! ```text
//!            arm                 deadline                return
//!    idle --------> pending -----------------> running ---------> idle
//!     ^                |                          |
//!     +--- stop -------+                          +--- Next::After, arm ---> pending
//! ```
//!
//! # Guarantees
//!
//! - The callback runs at most once for each arm, never before the deadline, never twice at once.
//! - After [`Stop::Cancelled`] it does not run. After a drain nothing of it runs.
//! - A callout never keeps its object alive. Once the last [`Arc`] is gone no run begins, of any
//!   callout in it, and the object is never dropped in the middle of a run: when a run held the last
//!   reference, the object is dropped soon after, in task context. Otherwise it is dropped where the
//!   last [`Arc`] is, which must be a context in which the kernel can free memory; that never waits.
//! - A module can be unloaded at any time. What it forgot is shut down, drained, and named in the log.
//! - Nothing is allocated to arm, stop or run.
//!
//! # BSD names
//!
//! | callout(9) | here |
//! |---|---|
//! | `callout_init` | [`Callout::new`] |
//! | `callout_reset`, `callout_schedule` | [`Handle::arm_after`] |
//! | `callout_reset_sbt(..., C_ABSOLUTE)` | [`Handle::arm_at`] |
//! | `callout_stop` | [`Callout::stop`] |
//! | `callout_drain` | [`Callout::drain`] |
//! | `callout_pending` | [`Callout::is_pending`] |
//! | none | [`Callout::shutdown`] |
//!
//! # Examples
//!
//! ```ignore
//! use softclock::prelude::*;
//!
//! #[pin_data]
//! struct Heartbeat {
//!     #[pin]
//!     beat: Callout<Self, Soft>,
//!     beats: Atomic<u64>,
//! }
//!
//! impl_has_callout! { impl HasCallout<Soft> for Heartbeat { self.beat } }
//!
//! impl OnExpire<Soft> for Heartbeat {
//!     fn expire(this: ArcBorrow<'_, Timed<Self>>, _run: &Expiry<'_, Soft>) -> Next {
//!         this.beats.fetch_add(1, Relaxed);
//!         Next::After(Delta::from_millis(100))
//!     }
//! }
//!
//! let heart = Timed::new(pin_init!(Heartbeat {
//!     beat <- Callout::new(softclock::owner!(), c"beat"),
//!     beats: Atomic::new(0),
//! }? Error))?;
//! heart.callout::<Soft>().arm_after(Delta::from_millis(100));
//! ```

use crate::{
    context::{Expiry, Kind, Place},
    inflight::{Firing, Node},
    policy::{
        deadline::{Delta, Instant},
        life::{Arm, CannotWait, Drain, Next, Stop},
        name::Name,
    },
    registry::Spec,
    sys::{
        context::Task,
        module::Owner,
        target::{bound, impl_anchored, operations, Anchor, Contains, Ops, Run, Timed},
    },
    Hub,
};
use core::{
    marker::{PhantomData, PhantomPinned},
    ops::Deref,
};
use kernel::{
    prelude::*,
    sync::{Arc, ArcBorrow}, //
};

/// A callout inside a `T`, whose callback executes in the context of the kind `K`.
///
/// `K` is [`Soft`](crate::Soft) or [`Task`], or [`Nth`](crate::Nth) of one of them where an object
/// has several of a kind.
#[pin_data(PinnedDrop)]
pub struct Callout<T, K> {
    anchor: Anchor<Node>,
    kind: PhantomData<fn(T, K)>,
    #[pin]
    _pin: PhantomPinned,
}

// A `Callout<T, _>` is pinned, and made by `Callout::new` alone, with the operations of `T`.
impl_anchored! { impl {T, K} Anchored<Node> for Callout<T, K>, part of T { self.anchor } }

/// What a callout does when its deadline has come.
///
/// # Examples
///
/// See the [module's](self).
pub trait OnExpire<K: Kind>: Send + Sync + Sized + 'static {
    /// The callback. Softirq context for [`Soft`](crate::Soft): it may not sleep, and on PREEMPT_RT
    /// it is a thread of the lowest real-time priority. Task context for [`Task`]: it may sleep.
    ///
    /// `this` is alive throughout, and may be kept: `Arc::from(this)`. What a softirq callback shares
    /// with tasks wants atomics or `try_lock`: whoever holds a `SpinLock` of the kernel crate in a
    /// task can be interrupted by the callback on the same CPU.
    fn expire(this: ArcBorrow<'_, Timed<Self>>, run: &Expiry<'_, K::Context>) -> Next;
}

impl<T: OnExpire<K>, K: Kind> Run<K, Firing, Next> for T {
    fn run(this: ArcBorrow<'_, Timed<Self>>, firing: Firing) -> Next {
        T::expire(this, &Expiry::new(firing))
    }
}

impl<T: OnExpire<K>, K: Kind> Callout<T, K> {
    /// A callout that is idle. Task context; may block (`GFP_KERNEL`).
    ///
    /// `owner` is [`owner!()`](crate::owner); `name` is what debugfs and the log show, one word of at
    /// most 31 bytes.
    ///
    /// # Errors
    ///
    /// `EINVAL`: a bad name, or the callback is not part of the owner's module (the log says which).
    /// `EWOULDBLOCK` (`EAGAIN`): this context may not block. `ENOMEM`. `ENODEV`: the owner's module is
    /// being unloaded.
    pub fn new(owner: Owner, name: &'static CStr) -> impl PinInit<Self, Error> {
        let ops = operations::<T, K, Firing, Next>();
        try_pin_init!(Self {
            anchor: Anchor::new(make(owner, name, ops, K::PLACE)?),
            kind: PhantomData,
            _pin: PhantomPinned,
        })
    }
}

/// The part of the constructor that is not generic, so that every client depends on softclock.
#[inline(never)]
fn make(
    owner: Owner,
    name: &'static CStr,
    ops: &'static Ops<Firing, Next>,
    place: Place,
) -> Result<Arc<Node>> {
    let checked = Name::new(name.to_bytes()).map_err(|bad| {
        pr_err!("callout name \"{}\" {}\n", name, bad.what());
        EINVAL
    })?;
    if !owner.contains(core::ptr::from_ref(ops) as usize) {
        pr_err!(
            "callout {}: its callback is not compiled into the module that owner!() names; \
             mark the function that makes it #[inline(never)]\n",
            checked.as_str(),
        );
        return Err(EINVAL);
    }
    Task::new()?;
    let hub = Hub::get()?;
    let spec = Spec {
        owner,
        ops,
        place,
        name: checked,
    };
    hub.registry().make(spec)
}

impl<T, K> Callout<T, K> {
    /// Cancels a pending run. Any context but NMI; never blocks. `callout_stop(9)`.
    pub fn stop(&self) -> Stop {
        self.anchor.node().stop()
    }

    /// Cancels a pending run and waits for one in progress. Task context; blocks for the rest of the
    /// callback at most, whatever the callback does to arm itself again. `callout_drain(9)`.
    ///
    /// Hold no lock that the callback takes.
    ///
    /// # Errors
    ///
    /// [`CannotWait`]: inside the callout's own callback, where callbacks would wait for each other in
    /// a circle, and where sleeping has become wrong. What was pending is cancelled all the same.
    pub fn drain(&self, task: &Task) -> Result<Drain, CannotWait> {
        Node::drain(self.anchor.node(), task)
    }

    /// As [`drain`](Self::drain), and every later arm is refused, for ever.
    ///
    /// # Errors
    ///
    /// As for [`drain`](Self::drain); the callout is shut down all the same.
    pub fn shutdown(&self, task: &Task) -> Result<Drain, CannotWait> {
        Node::shutdown(self.anchor.node(), task)
    }

    /// Whether a run is owed: it was armed and the callback has not begun. Any context but NMI.
    /// `callout_pending(9)`.
    pub fn is_pending(&self) -> bool {
        self.anchor.node().is_pending()
    }

    /// Whether it was shut down. Any context but NMI.
    pub fn is_shut(&self) -> bool {
        self.anchor.node().is_shut()
    }

    /// The number debugfs shows for it; never used twice while softclock is loaded.
    pub fn id(&self) -> u64 {
        self.anchor.node().id()
    }
}

#[pinned_drop]
impl<T, K> PinnedDrop for Callout<T, K> {
    fn drop(self: Pin<&mut Self>) {
        Node::detach(self.anchor.node());
    }
}

/// A callout and the object that holds it: what arming needs. See [`Arm`] for the answers.
///
/// It dereferences to the [`Callout`].
pub struct Handle<'a, T, K> {
    callout: &'a Callout<T, K>,
}

impl<T, K> Handle<'_, T, K> {
    /// Arms the callout for `after` from now, replacing a pending run. Zero and negative mean as soon
    /// as possible, but never inside this call. Any context but NMI; never blocks. `callout_reset(9)`.
    pub fn arm_after(&self, after: Delta) -> Arm {
        self.callout.anchor.node().arm_after(after)
    }

    /// Arms the callout for `due`, replacing a pending run. A time in the past means as soon as
    /// possible. Any context but NMI; never blocks. `callout_reset_sbt(9)` with `C_ABSOLUTE`.
    pub fn arm_at(&self, due: Instant) -> Arm {
        self.callout.anchor.node().arm(due)
    }
}

impl<T, K> Deref for Handle<'_, T, K> {
    type Target = Callout<T, K>;

    fn deref(&self) -> &Self::Target {
        self.callout
    }
}

/// Finds the callouts of an object held by an [`Arc`].
pub trait CalloutOf<T> {
    /// The callout of kind `K`. Any context.
    ///
    /// # Examples
    ///
    /// ```ignore
    /// heart.callout::<Soft>().arm_after(Delta::from_millis(100));
    /// heart.callout::<Soft>().stop();
    /// ```
    fn callout<K: Kind>(&self) -> Handle<'_, T, K>
    where
        T: Contains<Callout<T, K>>;
}

impl<T> CalloutOf<T> for Arc<Timed<T>> {
    fn callout<K: Kind>(&self) -> Handle<'_, T, K>
    where
        T: Contains<Callout<T, K>>,
    {
        Handle {
            callout: bound(self.as_arc_borrow()),
        }
    }
}

impl<T> CalloutOf<T> for ArcBorrow<'_, Timed<T>> {
    fn callout<K: Kind>(&self) -> Handle<'_, T, K>
    where
        T: Contains<Callout<T, K>>,
    {
        Handle {
            callout: bound(*self),
        }
    }
}
