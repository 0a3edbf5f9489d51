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
//! - Deadlines are of `CLOCK_MONOTONIC`: setting the wall clock does not touch them, and time spent in suspend
//!   does not count.
//! - After [`Stop::Cancelled`] it does not run. After a drain nothing of it runs, but for a report of that
//!   end which others have asked for ([`OnExpire::drained`]).
//! - A callout never keeps its object alive. Once the last [`Arc`] is gone no run begins, of any
//!   callout in it, also where it was due and waits for a worker or for its lock. (What a CPU has in hand
//!   at that very moment may still run, in the same slice; so may several callouts of one object that
//!   wait at once, for each has a reference meanwhile.) The object is never dropped in the middle of a
//!   run: when a run held the last reference, the object is dropped soon after, in task context. Otherwise
//!   it is dropped where the last [`Arc`] is, which must be a context in which the kernel can free memory;
//!   that never waits.
//! - `Arc::into_unique_or_drop` gives up the last [`Arc`] for a moment, and then has it back: a run that comes due
//!   just then is lost, as if it had been stopped, and the callout is idle. Call it for what is not pending, or
//!   arm again afterwards.
//! - A module can be unloaded at any time. What it forgot is shut down, drained, and named in the log.
//! - Nothing is allocated to arm, stop or run.
//!
//! # How exact, and at what cost
//!
//! A callout of kind [`Soft`](crate::Soft) or [`Task`] is an entry of its CPU's timer wheel, 64 bytes inside
//! the object. It runs in the first granule of 65.5 us that begins at its deadline or later, however far away
//! that is (but for what is more than 18 years after boot: that is due then). Stop, and re-arm to the same
//! or a later granule, are one compare-exchange without a lock, from
//! any CPU; everything is O(1) at a million callouts. Callbacks of one granule run in the order of their
//! deadlines (a crowd of more than 64 may keep the order it was armed in), and in slices of a
//! millisecond, so that a storm of them does not keep the CPU: the clock is looked at after every 32, so callbacks
//! of more than 30 us each can make one longer, by what 32 of them take at most; the longest is `slice_max_ns` of debugfs'
//! `cpus`. [`Precise`](crate::Precise) and [`Hard`](crate::Hard)
//! callouts have a timer of the kernel each, and are exact to a microsecond or two (where a worker calls them: to
//! some).
//!
//! An arm of one on the wheel stays on the CPU where the callout is pending, or else on the CPU that arms;
//! [`Plan::on`] names another one. A [`Precise`](crate::Precise) or [`Hard`](crate::Hard) one is where the
//! kernel puts its timer, and [`Plan::on`] can only keep it on the CPU that arms.
//!
//! # BSD names
//!
//! | callout(9) | here |
//! |---|---|
//! | `callout_init(c, mpsafe)` | [`Callout::new`]; with Giant: [`timeout::giant`](crate::timeout::giant) |
//! | `callout_init_mtx`, `callout_init_rw`, `callout_init_rm` and their flags | [`locked`](crate::locked), which says why a `SpinLock` of the kernel crate is none of these locks |
//! | `callout_reset`, `callout_schedule` | [`Handle::arm_after`], also to re-arm: then it answers `Replaced`; the function is that of the type |
//! | `callout_reset_sbt`, `callout_schedule_sbt` | [`Handle::arm`] and a [`Plan`] |
//! | `sbt`, `C_ABSOLUTE` | [`Plan::after`], [`Plan::at`], [`Handle::arm_at`] |
//! | `precision`, `C_PREL` | [`Plan::within`], [`Plan::within_fraction`] |
//! | `callout_when`, `C_PRECALC` | [`Plan::when`]; a plan is absolute |
//! | `C_HARDCLOCK` | none: there is no tick to align to |
//! | `C_CATCH` | none: it is of `pause_sbt(9)`, and nothing here sleeps |
//! | `C_DIRECT_EXEC` | [`Hard`](crate::Hard) |
//! | `callout_*_on`, `callout_*_curcpu` | [`Plan::on`]; direct execution on this CPU only, for the kernel starts its timers there |
//! | `callout_stop` | [`Callout::stop`] |
//! | `callout_drain` | [`Callout::drain`] |
//! | `callout_async_drain` | [`Callout::drain_async`] |
//! | `callout_pending` | [`Callout::is_pending`] |
//! | `callout_active`, `callout_deactivate` | [`Callout::is_active`], [`Callout::deactivate`] |
//! | none | [`Callout::shutdown`] |
//! | `timeout`, `untimeout` | [`timeout`](crate::timeout) |
//!
//! # Examples
//!
//! ```
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
    context::{Expiry, Kind, Unlocked},
    engine::{Asked, Engine},
    policy::{
        deadline::{Delta, Instant},
        life::{Arm, CannotWait, Drain, Next, Stop},
    },
    sys::{
        context::Task,
        firing::Firing,
        module::Owner,
        target::{bound, impl_embeds, operations, Contains, Run, Timed},
        wheel::When,
    },
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
/// Where an object has several callouts of a kind, [`Nth`](crate::Nth) tells them apart.
#[pin_data]
pub struct Callout<T, K: Kind> {
    #[pin]
    pub(crate) engine: K::Engine,
    kind: PhantomData<fn(T, K)>,
    #[pin]
    _pin: PhantomPinned,
}

// A `Callout<T, _>` is pinned, and made by `Callout::new` alone, with the operations of `T`.
impl_embeds! {
    impl {T, K: Kind} Embeds<K::Engine> for Callout<T, K>, part of T { self.engine }
}

/// What a callout does when its deadline has come.
///
/// # Examples
///
/// See the [module's](self).
pub trait OnExpire<K: Kind>: Send + Sync + Sized + 'static {
    /// The callback. Hard interrupt context for [`Hard`](crate::Hard), with interrupts off: a few hundred
    /// instructions. Softirq context for [`Soft`](crate::Soft): it may not sleep, and on PREEMPT_RT
    /// it is a thread of the lowest real-time priority. Task context for [`Task`]: it may sleep.
    ///
    /// `this` is alive throughout, and may be kept: `Arc::from(this)`. What a softirq callback shares
    /// with tasks wants atomics or `try_lock`: whoever holds a `SpinLock` of the kernel crate in a
    /// task can be interrupted by the callback on the same CPU.
    fn expire(this: ArcBorrow<'_, Timed<Self>>, run: &Expiry<'_, K::Context>) -> Next;

    /// The run is over that [`Callout::drain_async`] met. Same context; nothing of the callback
    /// executes, and arming works again; where others have armed it since, the next run may begin
    /// meanwhile. Not before, and once for each such drain that answered [`Stop::Running`]; drains of
    /// one run share one call. `callout_async_drain(9)`.
    fn drained(this: ArcBorrow<'_, Timed<Self>>) {
        let _ = this;
    }
}

/// A kind of callout that a `T` has a callback for.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{T}` has no callback of kind `{Self}`",
    note = "add: impl OnExpire<...> for {T}; OnExpireLocked<...> or OnExpireShared<...> for Locked kinds"
)]
pub trait Calls<T>: Kind {
    /// See [`OnExpireLocked`](crate::OnExpireLocked).
    const LOCKS: bool;

    /// Calls it.
    #[doc(hidden)]
    fn call(this: ArcBorrow<'_, Timed<T>>, firing: FiringRef<'_>) -> Next;

    /// Tells it about the end of a run.
    #[doc(hidden)]
    fn drained(this: ArcBorrow<'_, Timed<T>>);
}

/// One run, as softclock knows it.
#[doc(hidden)]
pub struct FiringRef<'a>(pub(crate) &'a Firing<'a>);

impl<T: OnExpire<K>, K: Unlocked> Calls<T> for K {
    const LOCKS: bool = false;

    #[inline(always)]
    fn call(this: ArcBorrow<'_, Timed<T>>, firing: FiringRef<'_>) -> Next {
        T::expire(this, &Expiry::new(firing.0))
    }

    fn drained(this: ArcBorrow<'_, Timed<T>>) {
        T::drained(this);
    }
}

impl<T: Send + Sync + 'static, K: Calls<T>> Run<K> for T {
    const LOCKS: bool = K::LOCKS;

    #[inline(always)]
    fn run(this: ArcBorrow<'_, Timed<Self>>, firing: &Firing<'_>) -> Next {
        K::call(this, FiringRef(firing))
    }

    fn drained(this: ArcBorrow<'_, Timed<Self>>) {
        K::drained(this);
    }
}

impl<T, K> Callout<T, K>
where
    T: Contains<Self> + Send + Sync + 'static,
    K: Calls<T>,
{
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
        Self::make(owner, name, false)
    }

    /// One whose callback is softclock's own, and calls nothing but functions of the owner's.
    pub(crate) fn ours(owner: Owner, name: &'static CStr) -> impl PinInit<Self, Error> {
        Self::make(owner, name, true)
    }

    fn make(owner: Owner, name: &'static CStr, ours: bool) -> impl PinInit<Self, Error> {
        let asked = Asked {
            owner,
            name,
            ops: operations::<T, K, Self>(),
            place: K::PLACE,
            ours,
        };
        try_pin_init!(Self {
            engine <- K::Engine::make(asked)?,
            kind: PhantomData,
            _pin: PhantomPinned,
        })
    }
}

impl<T, K: Unlocked> Callout<T, K> {
    /// Cancels a pending run. Any context but NMI; never blocks. `callout_stop(9)`.
    pub fn stop(&self) -> Stop {
        self.engine.stop()
    }
}

impl<T, K: Kind> Callout<T, K> {
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
        self.engine.drain(task)
    }

    /// As [`drain`](Self::drain), and every later arm is refused, for ever.
    ///
    /// # Errors
    ///
    /// As for [`drain`](Self::drain); the callout is shut down all the same.
    pub fn shutdown(&self, task: &Task) -> Result<Drain, CannotWait> {
        self.engine.shutdown(task)
    }

    /// Whether a run is owed: it was armed and the callback has not begun. Any context but NMI; never
    /// blocks.
    /// `callout_pending(9)`.
    pub fn is_pending(&self) -> bool {
        self.engine.is_pending()
    }

    /// Cancels a pending run, and answers [`Stop::Running`] where a run goes on: until its end arms are
    /// refused, and then [`OnExpire::drained`] is called. Any context but NMI; never blocks; also in the
    /// own callback. `callout_async_drain(9)`.
    pub fn drain_async(&self) -> Stop {
        self.engine.report_end()
    }

    /// Whether it was armed and neither stopped, drained nor deactivated since; that its callback has
    /// begun, or ended, changes nothing. Any context but NMI; never blocks. `callout_active(9)`, for drivers that
    /// follow the manual's recipe; the answers of [`stop`](Self::stop) make it superfluous.
    pub fn is_active(&self) -> bool {
        self.engine.is_active()
    }

    /// Makes [`is_active`](Self::is_active) false; a run that is owed stays so. Any context but NMI; never
    /// blocks.
    /// `callout_deactivate(9)`.
    pub fn deactivate(&self) {
        self.engine.deactivate();
    }

    /// Whether it was shut down. Any context but NMI; never blocks.
    pub fn is_shut(&self) -> bool {
        self.engine.is_shut()
    }

    /// The number debugfs shows for it; never used twice while softclock is loaded. Any context; never blocks.
    pub fn id(&self) -> u64 {
        self.engine.id()
    }
}

/// A callout and the object that holds it: what arming needs. See [`Arm`] for the answers.
///
/// It dereferences to the [`Callout`].
pub struct Handle<'a, T, K: Kind> {
    pub(crate) callout: &'a Callout<T, K>,
    pub(crate) object: &'a T,
}

impl<T, K: Unlocked> Handle<'_, T, K> {
    /// Arms the callout for `after` from now, replacing a pending run. Zero and negative mean as soon
    /// as possible, but never inside this call. Any context but NMI; never blocks. `callout_reset(9)`.
    #[inline]
    pub fn arm_after(&self, after: Delta) -> Arm {
        self.callout.engine.arm_after(after)
    }

    /// Arms the callout for `due`, replacing a pending run. A time in the past means as soon as
    /// possible. Any context but NMI; never blocks. `callout_reset_sbt(9)` with `C_ABSOLUTE`.
    #[inline]
    pub fn arm_at(&self, due: Instant) -> Arm {
        self.callout.engine.arm(due)
    }

    /// Arms the callout as `plan` says, replacing a pending run. Any context but NMI; never blocks.
    /// `callout_reset_sbt_on(9)` with `C_PRECALC`.
    ///
    /// # Examples
    ///
    /// ```
    /// # let port = Closure::<Soft>::new(softclock::owner!(), c"port", |_run| Next::Stop)?;
    /// // Once in the second from now on, with whatever else runs then; on CPU 1.
    /// let plan = Plan::after(Delta::from_secs(1)).within(Delta::from_millis(50)).on(1);
    /// pr_info!("at {} ns\n", plan.when().as_nanos());
    /// port.callout::<Soft>().arm(plan);
    /// ```
    pub fn arm(&self, plan: Plan) -> Arm {
        self.callout.engine.arm_when(plan.0)
    }
}

/// When, how exactly and where a callout is to run. `callout_when(9)`.
///
/// A plan can be made once and used often; it is absolute. Any context; nothing of it blocks.
#[derive(Clone, Copy)]
pub struct Plan(pub(crate) When);

impl Plan {
    /// At `due`; a time in the past means as soon as possible.
    pub const fn at(due: Instant) -> Self {
        Self(When::at(due))
    }

    /// `after` from now. Reads the clock; any context but NMI.
    pub fn after(after: Delta) -> Self {
        Self::at(crate::now() + after)
    }

    /// It may run up to `window` later: at the moment in that span that most other callouts with such a
    /// window share, so that they cost one wake-up together. Of two windows the larger one counts; a
    /// negative one is none. The `precision` of `callout_reset_sbt(9)`.
    #[must_use]
    pub const fn within(self, window: Delta) -> Self {
        let mut when = self.0;
        if window.as_nanos() > when.window.as_nanos() {
            when.window = window;
        }
        Self(when)
    }

    /// As [`within`](Self::within) a fraction of `after`: 1/2^`shift` of it, at most 1/2^63. `C_PREL(9)`.
    #[must_use]
    pub const fn within_fraction(self, after: Delta, shift: u32) -> Self {
        let shift = if shift > 63 { 63 } else { shift };
        self.within(Delta::from_nanos(after.as_nanos() >> shift))
    }

    /// On this CPU: its timer expires there, and a callback in interrupt context executes there. A
    /// CPU that does not exist or is offline refuses the arm ([`Refusal::NoCpu`](crate::Refusal)), and what
    /// was armed stays; one that goes offline later hands the callout to another. `callout_reset_on(9)`.
    ///
    /// A [`Hard`](crate::Hard) or [`Precise`](crate::Precise) callout can be put on the CPU that arms it:
    /// another one is refused in the same way, and so is this one while the callback executes on another
    /// (where it executes in a worker: while it is sent there).
    #[must_use]
    pub const fn on(self, cpu: u32) -> Self {
        let mut when = self.0;
        when.cpu = Some(cpu);
        Self(when)
    }

    /// The instant at which the wheel runs it, if nothing holds it up: never before the deadline, and
    /// at the beginning of a granule of 65.5 us. A [`Precise`](crate::Precise) or [`Hard`](crate::Hard) one
    /// may run from its deadline on. `callout_when(9)`.
    pub const fn when(self) -> Instant {
        self.0.planned()
    }
}

impl<T, K: Kind> Deref for Handle<'_, T, K> {
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
    /// ```
    /// # let heart = Closure::<Soft>::new(softclock::owner!(), c"heart", |_run| Next::Stop)?;
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
        let this = self.as_arc_borrow();
        Handle {
            callout: bound(this),
            object: self,
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
            object: self,
        }
    }
}
