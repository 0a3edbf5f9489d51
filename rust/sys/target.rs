// SPDX-License-Identifier: GPL-2.0

//! What keeps an object alive while its timer calls it, and lets it die otherwise.
//!
//! A timer holds a *weak* pointer to the object that contains it: it never keeps the object alive,
//! so dropping the last [`Arc`] is all an owner has to do. A run begins by taking a reference, which
//! fails once the last one is gone. The kernel's `Arc` has no weak pointer; this is one, for
//! objects wrapped in [`Timed`].
//!
//! INVARIANT 1: `Bound::object` is null or the data pointer of an `Arc<Timed<T>>` whose allocation
//! is still there: it is set by [`bound`] from that `Arc`, and cleared by the drop of the [`Anchor`],
//! a field of that very `T`, which runs before the allocation is freed. Both happen under the lock of
//! [`Weak`].
//! INVARIANT 2: the reference count of an `Arc<T>` lies `Arc::<T>::DATA_OFFSET` bytes before its
//! data ([`layout_is_known`] checks that when the module is loaded).
//! INVARIANT 3: a [`Held`] owns one reference.
//! INVARIANT 4: nobody can reach `&mut T` of a shared `Timed<T>`. Not even through
//! `Arc::into_unique_or_drop`, which would believe itself alone: `Timed` is `!Unpin` and gives out
//! shared references only. (It passes through a count of zero: who wants a reference then gets none.)

mod part;
mod weak;

pub use self::part::{Contains, Embeds, Part};
pub(crate) use self::{
    part::{bound, impl_embeds, Asks},
    weak::{impl_has_weak, impl_part_of_anchor, Anchor, HasWeak, Held, Remains, Weak},
};

use super::{bindings as b, context::Task, firing::Firing};
use crate::policy::life::Next;
use core::{
    marker::{PhantomData, PhantomPinned},
    mem::{offset_of, ManuallyDrop},
    ops::Deref,
    sync::atomic::{
        fence,
        AtomicI32,
        Ordering::{Acquire, Relaxed, Release}, //
    },
};
use kernel::{
    bindings,
    prelude::*,
    sync::{Arc, ArcBorrow}, //
};

/// An object that timers call: what a driver puts into an [`Arc`].
///
/// It adds nothing to `T` and dereferences to it. It exists because a timer may take a reference
/// at any moment, so nobody may believe to be the only owner and write to `T` without a lock.
///
/// # Examples
///
/// ```
/// # #[pin_data]
/// # struct Heartbeat {
/// #     #[pin]
/// #     beat: Callout<Self, Soft>,
/// #     beats: Atomic<u64>,
/// # }
/// # impl_has_callout! { impl HasCallout<Soft> for Heartbeat { self.beat } }
/// # impl OnExpire<Soft> for Heartbeat {
/// #     fn expire(_: ArcBorrow<'_, Timed<Self>>, _: &Expiry<'_, Soft>) -> Next { Next::Stop }
/// # }
/// # impl Heartbeat {
/// #     fn init() -> impl PinInit<Self, Error> {
/// #         try_pin_init!(Self {
/// #             beat <- Callout::new(softclock::owner!(), c"beat"),
/// #             beats: Atomic::new(0),
/// #         })
/// #     }
/// # }
/// let hb: Arc<Timed<Heartbeat>> = Timed::new(Heartbeat::init())?;
/// hb.callout::<Soft>().arm_after(Delta::from_millis(100));
/// pr_info!("{} beats\n", hb.beats.load(Relaxed));
/// ```
#[pin_data]
pub struct Timed<T> {
    #[pin]
    value: T,
    #[pin]
    _pin: PhantomPinned,
}

impl<T> Timed<T> {
    /// Allocates and initialises an object. Task context; may block (`GFP_KERNEL`).
    ///
    /// # Errors
    ///
    /// `EWOULDBLOCK` (`EAGAIN`) where it may not block, as far as [`Task::new`] can tell; `ENOMEM`;
    /// what the initialiser returns.
    pub fn new<E>(init: impl PinInit<T, E>) -> Result<Arc<Self>>
    where
        Error: From<E>,
    {
        Task::new()?;
        Arc::pin_init(
            try_pin_init!(Self {
                value <- init,
                _pin: PhantomPinned,
            }? E),
            GFP_KERNEL,
        )
    }
}

impl<T> Deref for Timed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// What one kind of expiry does to an object.
pub(crate) trait Run<K>: Send + Sync + Sized + 'static {
    /// The callback takes a lock first, and asks [`Firing::begin`] when it has it.
    const LOCKS: bool;

    /// Calls the driver.
    fn run(this: ArcBorrow<'_, Timed<Self>>, firing: &Firing<'_>) -> Next;

    /// Tells the driver that the run is over which an asynchronous drain has met.
    fn drained(this: ArcBorrow<'_, Timed<Self>>);
}

/// What is known of a `Timed<T>` whose type is forgotten. Instantiated in the client's module, and copied from
/// there: whoever has an object of a client that has left may still have to take and give back references.
#[derive(Clone, Copy)]
pub(crate) struct Ops {
    /// How far before the object its reference count is (invariant 2). A number, not a function: no
    /// client's code runs while a count is changed, nor after.
    pub(super) count_offset: usize,
    /// How far behind the object's address the timer's part of it is.
    pub(crate) entry_offset: usize,
    /// See [`Run::LOCKS`].
    pub(crate) locks: bool,
    pub(super) run: unsafe fn(*const (), &Firing<'_>) -> Next,
    pub(super) drained: unsafe fn(*const ()),
    pub(super) bury: unsafe fn(*const ()),
}

impl Ops {
    #[inline(always)]
    fn count(&self, object: *const ()) -> *mut bindings::refcount_t {
        object
            .wrapping_byte_sub(self.count_offset)
            .cast_mut()
            .cast()
    }

    /// Takes a reference to an object, unless the last one is gone.
    ///
    /// # Safety
    ///
    /// `object` belongs to these operations, and its memory is there.
    #[inline(always)]
    pub(crate) unsafe fn get(&self, object: *const ()) -> bool {
        // SAFETY: Invariant 2.
        let count = unsafe { AtomicI32::from_ptr(self.count(object).cast()) };
        let old = count.load(Relaxed);
        if old > 0 && old < i32::MAX {
            let new = old.wrapping_add(1);
            if count.compare_exchange(old, new, Relaxed, Relaxed).is_ok() {
                return true;
            }
        }
        // Anything unusual (changed meanwhile, none left, saturated) is for the kernel's own function.
        // SAFETY: Invariant 2.
        unsafe { b::softclock_refcount_inc_not_zero(self.count(object)) }
    }

    /// Gives a reference back; `true`: it was the last one, and the object is the caller's to
    /// [`bury`](Self::bury).
    ///
    /// # Safety
    ///
    /// `object` belongs to these operations, and the caller has a reference, which this consumes.
    #[inline(always)]
    pub(crate) unsafe fn put(&self, object: *const ()) -> bool {
        // SAFETY: Invariant 2.
        let count = unsafe { AtomicI32::from_ptr(self.count(object).cast()) };
        // A reference is there, so the count is not zero; below that it is saturated, and stays there.
        let old = count.fetch_sub(1, Release);
        if old != 1 {
            return false;
        }
        fence(Acquire);
        true
    }

    /// Whether the caller's reference is the only one: no owner is left. The run of another callout, or a
    /// report of this one's end, can still make its borrow one.
    ///
    /// # Safety
    ///
    /// As for [`run`](Self::run).
    pub(crate) unsafe fn is_alone(&self, object: *const ()) -> bool {
        // SAFETY: Invariant 2.
        let count = unsafe { AtomicI32::from_ptr(self.count(object).cast()) };
        count.load(Acquire) == 1
    }

    /// Calls the driver.
    ///
    /// # Safety
    ///
    /// The caller has a reference to `object`, which belongs to these operations.
    #[inline(always)]
    pub(crate) unsafe fn run(&self, object: *const (), firing: &Firing<'_>) -> Next {
        // SAFETY: The contract of this function.
        unsafe { (self.run)(object, firing) }
    }

    /// Reports the end of a run. As [`run`](Self::run).
    ///
    /// # Safety
    ///
    /// As for [`run`](Self::run).
    pub(crate) unsafe fn drained(&self, object: *const ()) {
        // SAFETY: The contract of this function.
        unsafe { (self.drained)(object) }
    }

    /// Drops an object without references. May call the driver's drop: task context.
    ///
    /// # Safety
    ///
    /// [`put`](Self::put) has answered `true` for `object`, once for each call.
    pub(crate) unsafe fn bury(&self, object: *const ()) {
        // SAFETY: The contract of this function.
        unsafe { (self.bury)(object) }
    }
}

struct Operations<T, K, F>(PhantomData<(T, K, F)>);

impl<T, K, F> Operations<T, K, F>
where
    T: Run<K> + Contains<F>,
    F: Embeds<Object = T>,
{
    const TABLE: Ops = Ops {
        count_offset: Arc::<Timed<T>>::DATA_OFFSET,
        entry_offset: offset_of!(Timed<T>, value) + T::OFFSET + F::OFFSET,
        locks: T::LOCKS,
        run: Self::run,
        drained: Self::drained,
        bury: bury::<T>,
    };

    /// # Safety
    ///
    /// The caller holds a reference to `object`.
    #[inline(always)]
    unsafe fn run(object: *const (), firing: &Firing<'_>) -> Next {
        // SAFETY: The pointer came from an `Arc<Timed<T>>`, the caller's reference outlives this
        // call, and a `UniqueArc` to it cannot be written through (invariant 4).
        T::run(unsafe { ArcBorrow::from_raw(object.cast()) }, firing)
    }

    /// # Safety
    ///
    /// As for `run`.
    unsafe fn drained(object: *const ()) {
        // SAFETY: As for `run`.
        T::drained(unsafe { ArcBorrow::from_raw(object.cast()) })
    }
}

/// # Safety
///
/// The last reference to `object`, a `Timed<T>`, was given up.
pub(super) unsafe fn bury<T>(object: *const ()) {
    let object = object.cast_mut().cast::<Timed<T>>();
    // SAFETY: The count is zero, so this is the only access there is, and no more can come: weak
    // pointers are not upgraded from zero, and the drops of what is embedded clear them.
    unsafe { core::ptr::drop_in_place(object) };
    let count = object
        .cast::<()>()
        .wrapping_byte_sub(Arc::<Timed<T>>::DATA_OFFSET);
    // SAFETY: Invariant 2. Nobody looks at the count any more.
    unsafe { set_one(count.cast()) };
    // SAFETY: The value is dropped, so the allocation is that of an `Arc` of the same layout which
    // drops nothing, with the one reference that was just made.
    drop(unsafe { Arc::<ManuallyDrop<Timed<T>>>::from_raw(object.cast()) });
}

/// Makes the count 1. Not inlined into clients, for the C function is not theirs to call.
///
/// # Safety
///
/// `count` is the reference count of an allocation that only the caller knows.
#[inline(never)]
unsafe fn set_one(count: *mut bindings::refcount_t) {
    // SAFETY: The contract of this function.
    unsafe { bindings::refcount_set(count, 1) }
}

/// The operations to make a timer with, for callouts `F` of kind `K` in a `T`.
pub(crate) const fn operations<T, K, F>() -> &'static Ops
where
    T: Run<K> + Contains<F>,
    F: Embeds<Object = T>,
{
    &Operations::<T, K, F>::TABLE
}

/// Whether the reference count is where invariant 2 says. Task context; may block.
///
/// # Errors
///
/// `ENOMEM`, or `ENOEXEC` when the kernel crate's `Arc` has changed.
pub(crate) fn layout_is_known() -> Result {
    struct Probe;
    let arc = Arc::new(
        Timed {
            value: Probe,
            _pin: PhantomPinned,
        },
        GFP_KERNEL,
    )?;
    let count = Arc::as_ptr(&arc)
        .wrapping_byte_sub(Arc::<Timed<Probe>>::DATA_OFFSET)
        .cast::<i32>();
    // SAFETY: `DATA_OFFSET` bytes before the data lies inside the allocation.
    let read = || unsafe { core::ptr::read_volatile(count) };
    let one = read();
    let second = arc.clone();
    let two = read();
    drop(second);
    if (one, two, read()) == (1, 2, 1) {
        Ok(())
    } else {
        pr_err!("this kernel's Arc keeps its count elsewhere: rebuild softclock for it\n");
        Err(ENOEXEC)
    }
}
