// SPDX-License-Identifier: GPL-2.0

//! Callouts bound to a lock: it is held while the callback runs, and by whoever arms or stops.
//!
//! What the lock buys: a stop is exact. An expiry that has begun and waits for the lock is cancelled by
//! whoever holds it, so after a stop under the lock the callback does not run, even when its deadline
//! had passed. `callout_init_mtx(9)`.
//!
//! | callout(9) | here |
//! |---|---|
//! | `callout_init_mtx(c, m, 0)` | [`Locked<K>`](Locked) and [`HasLock`] |
//! | caller holds `m` for stop, reset, schedule | the guard is an argument |
//! | `CALLOUT_RETURNUNLOCKED` | the callback owns the guard, and may drop it early |
//! | `CALLOUT_TRYLOCK` | [`HasLock::TRY`] |
//! | `callout_init_rw(c, rw, 0)` | [`Locked<K>`](Locked) with a [`SoftRwLock`] or [`TaskRwLock`] |
//! | `callout_init_rm` | the same; Linux has no read-mostly lock of this kind |
//! | `CALLOUT_SHAREDLOCK` | [`Locked<K, Shared>`](Shared) and [`OnExpireShared`]; stops and arms are the writer's |
//!
//! Whoever forgets a guard (`mem::forget`) keeps its lock: an expiry waits for it for ever, and so does the unload of
//! the module.
//!
//! # Examples
//!
//! ```
//! use kernel::sync::lock::Guard;
//! use softclock::{locked::SoftBackend, new_soft_lock, prelude::*};
//!
//! #[derive(Default)]
//! struct State {
//!     up: bool,
//! }
//!
//! #[pin_data]
//! struct Port {
//!     #[pin]
//!     state: SoftLock<State>,
//!     #[pin]
//!     linkup: Callout<Self, Locked<Soft>>,
//! }
//! impl_has_callout! { impl HasCallout<Locked<Soft>> for Port { self.linkup } }
//!
//! impl HasLock<Locked<Soft>> for Port {
//!     type Data = State;
//!     type Backend = SoftBackend;
//!     fn lock(&self) -> &SoftLock<State> { &self.state }
//! }
//!
//! impl OnExpireLocked<Locked<Soft>> for Port {
//!     fn expire(_: ArcBorrow<'_, Timed<Self>>, mut state: Guard<'_, State, SoftBackend>,
//!               _: &Expiry<'_, Soft>) -> Next {
//!         state.up = true;
//!         Next::Stop
//!     }
//! }
//!
//! let port = Timed::new(try_pin_init!(Port {
//!     state <- new_soft_lock!(State::default()),
//!     linkup <- Callout::new(softclock::owner!(), c"linkup"),
//! }))?;
//! let state = port.state.lock();
//! port.callout::<Locked<Soft>>().stop(&state); // no run is under the lock, and none will be
//! ```
//!
//! One that only reads what the lock protects, beside other readers:
//!
//! ```
//! use softclock::{locked::SoftRwBackend, new_soft_rw_lock, prelude::*};
//!
//! #[pin_data]
//! struct Table {
//!     #[pin]
//!     entries: SoftRwLock<u32>,
//!     #[pin]
//!     report: Callout<Self, Locked<Soft, Shared>>,
//! }
//! impl_has_callout! { impl HasCallout<Locked<Soft, Shared>> for Table { self.report } }
//!
//! impl HasLock<Locked<Soft, Shared>> for Table {
//!     type Data = u32;
//!     type Backend = SoftRwBackend;
//!     fn lock(&self) -> &SoftRwLock<u32> { &self.entries }
//! }
//!
//! impl OnExpireShared<Locked<Soft, Shared>> for Table {
//!     fn expire(_: ArcBorrow<'_, Timed<Self>>, entries: ReadGuard<'_, u32, SoftRwBackend>,
//!               _: &Expiry<'_, Soft>) -> Next {
//!         pr_info!("{} entries\n", *entries);
//!         Next::After(Delta::from_secs(10))
//!     }
//! }
//!
//! let table = Timed::new(try_pin_init!(Table {
//!     entries <- new_soft_rw_lock!(0),
//!     report <- Callout::new(softclock::owner!(), c"report"),
//! }))?;
//! let mut entries = table.entries.lock(); // as a writer
//! *entries += 1;
//! table.callout::<Locked<Soft, Shared>>().arm_after(Delta::ZERO, &entries);
//! drop(entries);
//! pr_info!("{}\n", *table.entries.read()); // as one reader of many
//! ```

use crate::{
    callout::{Calls, FiringRef, Handle, Plan},
    context::{Context, Expiry, Hard, Kind, Locked, Mode, Shared, Soft, Unlocked},
    engine::Engine,
    policy::{
        deadline::{Delta, Instant},
        life::{Arm, Next, Refusal, Stop},
    },
    sys::{
        context::Task,
        hard_lock::HardIrq,
        lock::SoftBh,
        rwlock::{SoftRw, TaskRw},
        target::Timed, //
    },
};
use kernel::{
    prelude::*,
    sync::{
        lock::{mutex::MutexBackend, Backend, Guard, Lock},
        ArcBorrow, //
    },
};

pub use crate::sys::rwlock::{ReadBackend, ReadGuard, ReadLock};

/// How a [`HardLock`] works: `raw_spin_lock_irqsave`.
pub type HardBackend = HardIrq;

/// A spinlock that callbacks of every kind can take: raw, with interrupts off. Hold it for a few hundred
/// instructions. On PREEMPT_RT nothing under it may take another kind of lock, allocate or wake.
///
/// Guards of several may be dropped in any order: interrupts are off until the last one is. That of a
/// [`SoftLock`] that was taken before is not to be dropped among them, for softirqs would execute then.
pub type HardLock<T> = Lock<T, HardBackend>;

/// How a [`SoftLock`] works: `spin_lock_bh`.
pub type SoftBackend = SoftBh;

/// A spinlock that soft callbacks and tasks share: softirqs are off while it is held, so a callback never
/// waits for the task it has interrupted. (The kernel crate's `SpinLock` leaves them on.)
pub type SoftLock<T> = Lock<T, SoftBackend>;

/// How a [`SoftRwLock`] works: `write_lock_bh`, and `read_lock_bh`.
pub type SoftRwBackend = SoftRw;

/// A [`SoftLock`] that several may [`read`](ReadLock::read) under at once; `lock` is the writer's.
/// `callout_init_rw(9)`.
pub type SoftRwLock<T> = Lock<T, SoftRwBackend>;

/// How a [`TaskRwLock`] works: `down_write`, and `down_read`.
pub type TaskRwBackend = TaskRw;

/// A lock that sleeps, and that several may [`read`](ReadLock::read) under at once; `lock` is the writer's.
pub type TaskRwLock<T> = Lock<T, TaskRwBackend>;

/// Makes a [`SoftLock`]: `state <- new_soft_lock!(State::default())`.
#[macro_export]
macro_rules! new_soft_lock {
    ($inner:expr) => {
        $crate::SoftLock::new(
            $inner,
            ::kernel::optional_name!(),
            ::kernel::static_lock_class!(),
        )
    };
}

/// Makes a [`HardLock`]: `state <- new_hard_lock!(State::default())`.
#[macro_export]
macro_rules! new_hard_lock {
    ($inner:expr) => {
        $crate::HardLock::new(
            $inner,
            ::kernel::optional_name!(),
            ::kernel::static_lock_class!(),
        )
    };
}

/// Makes a [`SoftRwLock`]: `table <- new_soft_rw_lock!(Table::default())`.
#[macro_export]
macro_rules! new_soft_rw_lock {
    ($inner:expr) => {
        $crate::SoftRwLock::new(
            $inner,
            ::kernel::optional_name!(),
            ::kernel::static_lock_class!(),
        )
    };
}

/// Makes a [`TaskRwLock`]: `table <- new_task_rw_lock!(Table::default())`. Task context.
#[macro_export]
macro_rules! new_task_rw_lock {
    ($inner:expr) => {
        $crate::TaskRwLock::new(
            $inner,
            ::kernel::optional_name!(),
            ::kernel::static_lock_class!(),
        )
    };
}

/// Locks that a callback in context `C` may take.
pub trait LocksIn<C: Context>: Backend {}

impl LocksIn<Hard> for HardBackend {}
impl LocksIn<Soft> for HardBackend {}
impl LocksIn<Soft> for SoftBackend {}
impl LocksIn<Soft> for SoftRwBackend {}
impl LocksIn<Task> for MutexBackend {}
impl LocksIn<Task> for TaskRwBackend {}

/// Which lock a callout of kind `K` is bound to. It may protect what it likes, and several callouts may
/// share it.
pub trait HasLock<K: Kind> {
    /// What the lock protects.
    type Data;
    /// How it works: [`SoftBackend`], [`SoftRwBackend`] or [`HardBackend`] for soft callouts, `HardBackend`
    /// for hard ones, the kernel crate's `MutexBackend` or [`TaskRwBackend`] for those in a task.
    type Backend: LocksIn<K::Context>;

    /// The expiry does not wait for the lock: when somebody has it, it comes again a granule later. One that
    /// is stopped under the lock may try it once more, and that is all. `CALLOUT_TRYLOCK`.
    const TRY: bool = false;

    /// The lock: always the same one. Called in any context but NMI; may not block.
    fn lock(&self) -> &Lock<Self::Data, Self::Backend>;
}

/// What a callout does when its deadline has come and its lock is held.
pub trait OnExpireLocked<K: Kind>: HasLock<K> + Send + Sync + Sized + 'static {
    /// The callback, in the context of `K`. It owns the guard: it may give the lock back early, and a
    /// stop meanwhile answers [`Stop::Running`].
    fn expire(
        this: ArcBorrow<'_, Timed<Self>>,
        guard: Guard<'_, Self::Data, Self::Backend>,
        run: &Expiry<'_, K::Context>,
    ) -> Next;

    /// See [`OnExpire::drained`](crate::OnExpire::drained). The lock is not held.
    fn drained(this: ArcBorrow<'_, Timed<Self>>) {
        let _ = this;
    }
}

impl<T: OnExpireLocked<Self>, K: Unlocked> Calls<T> for Locked<K> {
    const LOCKS: bool = true;

    fn call(this: ArcBorrow<'_, Timed<T>>, firing: FiringRef<'_>) -> Next {
        let object: &T = &this;
        let lock = <T as HasLock<Self>>::lock(object);
        let guard = if <T as HasLock<Self>>::TRY {
            match lock.try_lock() {
                Some(guard) => guard,
                None => return Next::Stop,
            }
        } else {
            lock.lock()
        };
        if firing.0.begin() {
            T::expire(this, guard, &Expiry::new(firing.0))
        } else {
            Next::Stop
        }
    }

    fn drained(this: ArcBorrow<'_, Timed<T>>) {
        <T as OnExpireLocked<Self>>::drained(this);
    }
}

/// What a callout does when its deadline has come and it has its lock as a reader. Otherwise as
/// [`OnExpireLocked`].
///
/// Other readers go on meanwhile, callbacks included. Arming and stopping take the writer's guard, because
/// only that keeps the callback out. `CALLOUT_SHAREDLOCK`.
pub trait OnExpireShared<K: Kind>:
    HasLock<K, Data: Sync, Backend: ReadBackend> + Send + Sync + Sized + 'static
{
    /// The callback, in the context of `K`. It owns the guard, and may give the lock back early.
    fn expire(
        this: ArcBorrow<'_, Timed<Self>>,
        guard: ReadGuard<'_, Self::Data, Self::Backend>,
        run: &Expiry<'_, K::Context>,
    ) -> Next;

    /// See [`OnExpire::drained`](crate::OnExpire::drained). The lock is not held.
    fn drained(this: ArcBorrow<'_, Timed<Self>>) {
        let _ = this;
    }
}

impl<T: OnExpireShared<Self>, K: Unlocked> Calls<T> for Locked<K, Shared> {
    const LOCKS: bool = true;

    fn call(this: ArcBorrow<'_, Timed<T>>, firing: FiringRef<'_>) -> Next {
        let object: &T = &this;
        let lock = <T as HasLock<Self>>::lock(object);
        let guard = if <T as HasLock<Self>>::TRY {
            match lock.try_read() {
                Some(guard) => guard,
                None => return Next::Stop,
            }
        } else {
            lock.read()
        };
        if firing.0.begin() {
            T::expire(this, guard, &Expiry::new(firing.0))
        } else {
            Next::Stop
        }
    }

    fn drained(this: ArcBorrow<'_, Timed<T>>) {
        <T as OnExpireShared<Self>>::drained(this);
    }
}

impl<T, K, M> Handle<'_, T, Locked<K, M>>
where
    T: HasLock<Locked<K, M>>,
    K: Unlocked,
    M: Mode,
{
    /// As for other kinds, under the lock: an expiry that waits for it is replaced too. The guard of
    /// another lock refuses the arm ([`Refusal::NotTheLock`]). Never blocks.
    pub fn arm_after(&self, after: Delta, guard: &Guard<'_, T::Data, T::Backend>) -> Arm {
        self.arm_at(crate::now() + after, guard)
    }

    /// As for other kinds, under the lock.
    pub fn arm_at(&self, due: Instant, guard: &Guard<'_, T::Data, T::Backend>) -> Arm {
        self.arm(Plan::at(due), guard)
    }

    /// As for other kinds, under the lock.
    pub fn arm(&self, plan: Plan, guard: &Guard<'_, T::Data, T::Backend>) -> Arm {
        if self.is_of(guard) {
            self.callout.engine.arm_when(plan.0)
        } else {
            Arm::Refused(Refusal::NotTheLock)
        }
    }

    /// Cancels a pending run, also one whose expiry waits for the lock: after `Cancelled` or `Idle` the
    /// callback does not run. `Running` is the answer only where the callback has given the lock back:
    /// early, or by returning just now. With the guard of another lock (which is a bug, and logged) it is as
    /// exact as without a lock. Never blocks. `callout_stop(9)`.
    pub fn stop(&self, guard: &Guard<'_, T::Data, T::Backend>) -> Stop {
        if !self.is_of(guard) {
            complain();
        }
        self.callout.engine.stop()
    }

    fn is_of(&self, guard: &Guard<'_, T::Data, T::Backend>) -> bool {
        core::ptr::eq(guard.lock_ref(), self.object.lock())
    }
}

#[inline(never)]
fn complain() {
    pr_err!("a callout was stopped under another lock than its own\n");
}
