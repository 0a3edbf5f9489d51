// SPDX-License-Identifier: GPL-2.0

//! One CPU's wheel: buckets, occupancy, and the timer that wakes it.

use super::{shared, walk, Ptr};
use crate::{
    policy::levels::{start_of, Bucket, Occupied, BUCKETS},
    sys::{bindings as b, context::monotonic_ns, lock::raw},
};
use core::{
    cell::UnsafeCell,
    ptr,
    sync::atomic::{AtomicI64, AtomicPtr, Ordering::Relaxed},
};
use kernel::{bindings, ffi::c_ulong, prelude::*, static_lock_class, types::Opaque};

/// No expiry is programmed.
pub(super) const NEVER: u64 = u64::MAX;

const MODE: bindings::hrtimer_mode = bindings::hrtimer_mode_HRTIMER_MODE_ABS_PINNED_SOFT;

/// What a base has done.
#[derive(Clone, Copy, Default)]
pub(crate) struct Counts {
    /// Entries on the wheel, tombstones included.
    pub(crate) linked: u64,
    /// Callbacks begun, or sent to a worker.
    pub(crate) fired: u64,
    /// Entries found that owed nothing.
    pub(crate) tombstones: u64,
    /// Entries moved to another bucket by the walk.
    pub(crate) moved: u64,
    /// Expiries of the base's timer.
    pub(crate) wakes: u64,
    /// Walks that went on later, because there was much to do.
    pub(crate) slices: u64,
    /// The most callbacks in one walk.
    pub(crate) batch_max: u64,
    /// The longest walk, from its first look at the clock to its last, which follows every batch.
    pub(crate) slice_max_ns: i64,
    /// Requests to another CPU to look at its timer.
    pub(crate) kicks: u64,
    /// The longest that a due bucket waited for its walk.
    pub(crate) late_max_ns: i64,
}

/// What the lock protects.
pub(super) struct Inner {
    /// The granule visited last.
    pub(super) visited: u64,
    /// The granule the timer is programmed for.
    pub(super) programmed: u64,
    /// A walk is in progress; it will look at everything that was linked meanwhile.
    pub(super) walking: bool,
    /// The bucket whose entries are being moved down.
    pub(super) cascade: Option<Bucket>,
    pub(super) occupied: Occupied,
    pub(super) counts: Counts,
    kicked: bool,
    heads: [*mut super::Entry; BUCKETS],
}

// SAFETY: Invariant 4.
unsafe impl Send for Inner {}

/// One CPU's wheel.
#[pin_data]
pub(super) struct Base {
    cpu: u32,
    #[pin]
    lock: Opaque<bindings::raw_spinlock_t>,
    inner: UnsafeCell<Inner>,
    #[pin]
    timer: Opaque<bindings::hrtimer>,
    #[pin]
    kick: Opaque<bindings::call_single_data_t>,
    /// The entry whose callback executes on this CPU, directly from a walk.
    pub(super) executing: AtomicPtr<super::Entry>,
    /// The task, or the one it has interrupted, of the latest walk on this CPU.
    pub(super) walker: AtomicPtr<bindings::task_struct>,
    /// When that walk began.
    pub(super) began_ns: AtomicI64,
}

// SAFETY: The kernel serialises operations on the timer and the call; the rest is a lock and an atomic.
unsafe impl Send for Base {}
// SAFETY: As above.
unsafe impl Sync for Base {}

impl Base {
    /// The wheel of `cpu`, empty; `now` is the present granule.
    pub(super) fn new(cpu: u32, now: u64) -> impl PinInit<Self> {
        let inner = Inner {
            visited: now,
            programmed: NEVER,
            walking: false,
            cascade: None,
            occupied: Occupied::NONE,
            counts: Counts::default(),
            kicked: false,
            heads: [ptr::null_mut(); BUCKETS],
        };
        pin_init!(&this in Self {
            cpu,
            lock <- Opaque::ffi_init(|slot| {
                let class = static_lock_class!();
                // SAFETY: `slot` is valid for writes and will not move; name and class live for ever.
                unsafe {
                    b::softclock_raw_lock_init(slot, c"softclock_base".as_char_ptr(), class.as_ptr());
                }
            }),
            inner: UnsafeCell::new(inner),
            timer <- Opaque::ffi_init(|slot| {
                // SAFETY: `slot` is valid for writes and will not move.
                unsafe {
                    bindings::hrtimer_setup(
                        slot,
                        Some(walk::on_timer),
                        bindings::CLOCK_MONOTONIC as i32,
                        MODE,
                    );
                }
            }),
            kick <- Opaque::ffi_init(|slot| {
                // SAFETY: `slot` is valid for writes; the base outlives every call.
                unsafe { b::softclock_init_call(slot, Some(on_kick), this.as_ptr().cast()) }
            }),
            executing: AtomicPtr::new(ptr::null_mut()),
            walker: AtomicPtr::new(ptr::null_mut()),
            began_ns: AtomicI64::new(0),
        })
    }

    /// The lock of this base.
    #[inline(always)]
    fn raw(&self) -> *mut bindings::raw_spinlock_t {
        if cfg!(softclock_locked) {
            // One for all.
            shared::shared().base(0).lock.get()
        } else {
            self.lock.get()
        }
    }

    #[inline(always)]
    pub(super) fn lock(&'static self) -> Hold {
        // SAFETY: The lock was initialised by the constructor.
        let flags = unsafe { raw::lock_irqsave(self.raw()) };
        Hold {
            // SAFETY: The lock is held, and this is the only reference while it is (invariant 4).
            inner: unsafe { &mut *self.inner.get() },
            base: self,
            flags,
        }
    }

    /// As [`lock`](Self::lock), where interrupts are on. To be ended by [`Hold::open`].
    #[inline(always)]
    pub(super) fn lock_irq(&'static self) -> Hold {
        // SAFETY: The lock was initialised by the constructor.
        unsafe { raw::lock_irq(self.raw()) };
        Hold {
            // SAFETY: As for `lock`.
            inner: unsafe { &mut *self.inner.get() },
            base: self,
            flags: 0,
        }
    }

    /// The base whose timer this is.
    ///
    /// # Safety
    ///
    /// `timer` is that of a base.
    pub(super) unsafe fn of_timer(timer: *mut bindings::hrtimer) -> &'static Self {
        let field = Opaque::cast_from(timer);
        // SAFETY: The contract of this function, and invariant 3.
        unsafe { &*kernel::container_of!(field, Base, timer) }
    }

    /// Cancels the timer and waits for its callback. Task context.
    pub(super) fn quiesce(&self) {
        // SAFETY: The timer was set up by the constructor.
        unsafe { bindings::hrtimer_cancel(self.timer.get()) };
    }

    /// Nothing is on the wheel: nothing is to wake it.
    #[cold]
    #[inline(never)]
    fn cancel_timer(&self, inner: &mut Inner) {
        inner.programmed = NEVER;
        // SAFETY: The timer was set up by the constructor. This does not wait for its callback.
        unsafe { bindings::hrtimer_try_to_cancel(self.timer.get()) };
    }

    /// Has the timer expire at the start of `granule`.
    #[cold]
    #[inline(never)]
    fn wake_for(&self, inner: &mut Inner, granule: u64) {
        inner.programmed = granule;
        if shared::this_cpu() == self.cpu as usize || !self.kick(inner) {
            self.start_timer(granule);
        }
    }

    /// Asks the base's CPU to program its timer, which no other can; `false`: it is not there.
    fn kick(&self, inner: &mut Inner) -> bool {
        if inner.kicked {
            return true;
        }
        // SAFETY: The call was initialised by the constructor, and is not in use: `kicked`.
        let sent = unsafe {
            bindings::smp_call_function_single_async(self.cpu as i32, self.kick.get()) == 0
        };
        inner.kicked = sent;
        inner.counts.kicks = inner.counts.kicks.wrapping_add(u64::from(sent));
        sent
    }

    fn start_timer(&self, granule: u64) {
        self.start_timer_at(start_of(granule).as_nanos());
    }

    fn start_timer_at(&self, ns: i64) {
        // SAFETY: The timer was set up by the constructor. A range of 0: never before, and at once.
        unsafe { bindings::hrtimer_start_range_ns(self.timer.get(), ns, 0, MODE) };
    }
}

/// A base that is locked.
pub(crate) struct Hold {
    pub(super) inner: &'static mut Inner,
    pub(super) base: &'static Base,
    flags: c_ulong,
}

impl Drop for Hold {
    #[inline(always)]
    fn drop(&mut self) {
        let inner = &*self.inner;
        if inner.counts.linked == 0 && inner.programmed != NEVER && !inner.walking {
            self.base.cancel_timer(self.inner);
        }
        // SAFETY: The lock is held, and `flags` is what it was taken with.
        unsafe { raw::unlock_irqrestore(self.base.raw(), self.flags) };
    }
}

impl Hold {
    /// Unlocks what [`Base::lock_irq`] has locked.
    #[inline(always)]
    pub(super) fn open(self) -> &'static Base {
        let base = self.base;
        core::mem::forget(self);
        // SAFETY: The lock was held, with interrupts on before.
        unsafe { raw::unlock_irq(base.raw()) };
        base
    }

    /// The same lock, as that of another base.
    #[cfg(softclock_locked)]
    pub(super) fn turn(self, base: &'static Base) -> Hold {
        if ptr::eq(self.base, base) {
            return self;
        }
        let flags = self.flags;
        if self.inner.counts.linked == 0 && self.inner.programmed != NEVER && !self.inner.walking {
            self.base.cancel_timer(self.inner);
        }
        core::mem::forget(self);
        Hold {
            // SAFETY: As for `Base::lock`: what the one lock protects, and no longer in use above.
            inner: unsafe { &mut *base.inner.get() },
            base,
            flags,
        }
    }

    #[inline(always)]
    pub(super) fn visited(&self) -> u64 {
        self.inner.visited
    }

    /// Puts an entry at the end of its bucket, and sees to it that the base wakes for it.
    #[inline(always)]
    pub(super) fn link(&mut self, ptr: Ptr, granule: u64) {
        self.put_in(ptr, granule);
        if granule < self.inner.programmed && !self.inner.walking {
            self.base.wake_for(self.inner, granule);
        }
    }

    #[inline(always)]
    fn put_in(&mut self, ptr: Ptr, granule: u64) {
        let inner = &mut *self.inner;
        let bucket = Bucket::of(granule, inner.visited);
        let entry = ptr.entry();
        let this = ptr.0.as_ptr();
        let first = inner.heads[bucket.index()];
        if first.is_null() {
            entry.next.store(this, Relaxed);
            entry.prev.store(this, Relaxed);
            inner.heads[bucket.index()] = this;
            inner.occupied.set(bucket);
        } else {
            // SAFETY: Invariant 4.
            let first = unsafe { &*first };
            let last = first.prev.load(Relaxed);
            entry.prev.store(last, Relaxed);
            entry.next.store(ptr::from_ref(first).cast_mut(), Relaxed);
            // SAFETY: Invariant 4.
            let last = unsafe { &*last };
            last.next.store(this, Relaxed);
            first.prev.store(this, Relaxed);
        }
        entry.bucket.store(bucket.index() as u16, Relaxed);
        inner.counts.linked = inner.counts.linked.wrapping_add(1);
    }

    /// Takes an entry out of its bucket.
    #[inline(always)]
    pub(super) fn unlink(&mut self, ptr: Ptr) {
        let inner = &mut *self.inner;
        let entry = ptr.entry();
        let this = ptr.0.as_ptr();
        let bucket = Bucket::from_index(entry.bucket.load(Relaxed));
        let next = entry.next.load(Relaxed);
        inner.counts.linked = inner.counts.linked.wrapping_sub(1);
        if ptr::eq(next, this) {
            inner.heads[bucket.index()] = ptr::null_mut();
            inner.occupied.clear(bucket);
            return;
        }
        let prev = entry.prev.load(Relaxed);
        // SAFETY: Invariant 4: neighbours are entries of the same bucket.
        unsafe {
            (*prev).next.store(next, Relaxed);
            (*next).prev.store(prev, Relaxed);
        }
        if ptr::eq(inner.heads[bucket.index()], this) {
            inner.heads[bucket.index()] = next;
        }
    }

    /// Takes `count` entries, `first` and those behind it, off the front of a bucket; `next` is the one
    /// after them, or `first` where they are all. To each other they stay linked.
    #[inline(always)]
    pub(super) fn cut(&mut self, bucket: Bucket, first: Ptr, next: Ptr, count: u64) {
        let inner = &mut *self.inner;
        inner.counts.linked = inner.counts.linked.wrapping_sub(count);
        if next == first {
            inner.heads[bucket.index()] = ptr::null_mut();
            inner.occupied.clear(bucket);
            return;
        }
        let last = first.entry().prev.load(Relaxed);
        // SAFETY: Invariant 4: the last entry of the bucket.
        unsafe { (*last).next.store(next.0.as_ptr(), Relaxed) };
        next.entry().prev.store(last, Relaxed);
        inner.heads[bucket.index()] = next.0.as_ptr();
    }

    /// The first entry of a bucket.
    #[inline(always)]
    pub(super) fn first(&self, bucket: Bucket) -> Option<Ptr> {
        ptr::NonNull::new(self.inner.heads[bucket.index()]).map(Ptr)
    }

    /// Whether the first `most` entries of a bucket are in the order of their deadlines. Looked at when
    /// they are due: an arm without a lock moves a deadline, and not the entry.
    #[inline(always)]
    pub(super) fn is_sorted(&self, bucket: Bucket, most: usize) -> bool {
        let Some(first) = self.first(bucket) else {
            return true;
        };
        let mut at = first.entry();
        for _ in 0..most {
            let next = at.next.load(Relaxed);
            if ptr::eq(next, first.0.as_ptr()) {
                return true;
            }
            // SAFETY: Invariant 4.
            let next = unsafe { &*next };
            if next.deadline() < at.deadline() {
                return false;
            }
            at = next;
        }
        true
    }

    /// Whether a bucket has more than `most` entries.
    pub(super) fn is_crowded(&self, bucket: Bucket, most: usize) -> bool {
        let first = self.inner.heads[bucket.index()];
        let mut at = first;
        for _ in 0..most {
            // SAFETY: Invariant 4. Not called for an empty bucket.
            at = unsafe { (*at).next.load(Relaxed) };
            if ptr::eq(at, first) {
                return false;
            }
        }
        true
    }

    /// The end of a walk: programs the timer for what comes next. `spent`: there is more to do now,
    /// but others come first.
    pub(super) fn rest(self, next: u64, spent: bool) {
        self.inner.walking = false;
        self.inner.programmed = next;
        if spent {
            self.inner.counts.slices = self.inner.counts.slices.wrapping_add(1);
            // Not in the past: the kernel would call again before it looks at anything else.
            let next = start_of(next).as_nanos();
            self.base
                .start_timer_at(next.max(monotonic_ns() + BREATH_NS));
        } else if next != NEVER {
            // After its CPU was offline the timer is elsewhere: send it home.
            let home = shared::this_cpu() == self.base.cpu as usize;
            if home || !shared::is_online(self.base.cpu) || !self.base.kick(self.inner) {
                self.base.start_timer(next);
            }
        }
        self.open();
    }
}

/// How long others have the CPU between two slices of a long walk.
const BREATH_NS: i64 = 10_000;

/// Another CPU has linked something that comes first here. Hard interrupt.
///
/// # Safety
///
/// Called by the kernel only, with a base as `info`.
unsafe extern "C" fn on_kick(info: *mut kernel::ffi::c_void) {
    // SAFETY: The constructor passed the base; invariant 3.
    let base: &'static Base = unsafe { &*info.cast::<Base>() };
    let hold = base.lock();
    hold.inner.kicked = false;
    let next = hold.inner.programmed;
    if !hold.inner.walking && next != NEVER {
        base.start_timer(next);
    }
}
