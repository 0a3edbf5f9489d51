// SPDX-License-Identifier: GPL-2.0

//! The timer wheel as a machine: entries in clients' objects, one base per CPU.
//!
//! What happens when is `policy::protocol`, where is `policy::levels`; here are memory, lists, locks
//! and the kernel's timer.
//!
//! INVARIANT 1: a [`Ptr`] names an [`Entry`] whose memory is valid as long as the `Ptr` is used: it
//! is made from a reference to the entry, taken from a bucket under the lock of its base (a linked
//! entry's object takes it off, under that lock, before it goes), or goes with a reference to the
//! object ([`Kept`]).
//! INVARIANT 2: an entry lies in the value of an `Arc<Timed<T>>`, at the offset and with the
//! reference count its [`Ops`] name ([`Entry::bind`]); it does not move until it is dropped, which
//! takes it off its wheel and roster. Nobody links an entry that is not bound.
//! INVARIANT 3: a base that a word names exists, until the wheels are taken down. That is when no
//! client is left, so when no entry is linked or held.
//! INVARIANT 4: the fields of a base's `Inner` are used under its lock, and every pointer in a bucket
//! is an entry whose word says that it is linked on that base, or that is being linked or unlinked
//! by whoever has the lock.

mod base;
mod batch;
mod bury;
pub(crate) mod ids;
mod kin;
mod machine;
mod read;
mod shared;
mod walk;

pub(crate) use self::{
    base::Counts,
    kin::{Kin, Owned},
    machine::Ptr,
    read::{Kept, Reader, Seen},
    shared::Wheels,
    walk::began_ns,
};

use self::{machine::Kernel, read::STATES};
use super::roster::Link;
use crate::policy::{
    deadline::{Delta, Instant},
    levels::{granule_within, near_granule_of, start_of, LAST_DUE},
    life::{Arm, Next, Refusal, Stop},
    operations::{self as protocol, Drained, Load, Machine},
    word::{Word, LAST_GRANULE},
};
use core::{
    ptr::{self, NonNull},
    sync::atomic::{
        AtomicI64, AtomicPtr, AtomicU16, AtomicU32, AtomicU64, AtomicU8,
        Ordering::{Acquire, Relaxed, Release},
    },
};
use kernel::{bindings, prelude::*, sync::Arc, types::Opaque};

/// One callout, inside the client's object. One cache line.
#[doc(hidden)]
#[repr(C)]
pub struct Entry {
    /// Neighbours in the bucket while linked. While held: nothing, and who executes the callback.
    next: AtomicPtr<Entry>,
    prev: AtomicPtr<Entry>,
    word: AtomicU64,
    due: AtomicI64,
    kin: Arc<Kin>,
    link: Link,
    id_low: AtomicU32,
    bucket: AtomicU16,
    id_high: AtomicU8,
    flags: AtomicU8,
}

const _: () = assert!(size_of::<Entry>() == 64);

/// In the entry's flags: neither a worker nor a lock comes before its callback.
const DIRECT: u8 = 1;
/// In the entry's flags, from this bit on: the state it was left behind in.
const LEFT_SHIFT: u32 = 4;

/// An entry whose callback executes in a worker.
#[doc(hidden)]
#[repr(C)]
pub struct Worked {
    entry: Entry,
    work: Opaque<bindings::work_struct>,
}

// SAFETY: The kernel serialises all operations on a work item.
unsafe impl Send for Worked {}
// SAFETY: As above.
unsafe impl Sync for Worked {}

impl Worked {
    /// An entry that is idle. It may move until it is bound.
    pub(crate) fn new(kin: Arc<Kin>) -> impl PinInit<Self> {
        let init = move |slot: *mut Self| {
            // SAFETY: `slot` is valid for writes and will not move.
            unsafe {
                (&raw mut (*slot).entry).write(Entry::new(kin));
                walk::init_work(Opaque::cast_into(&raw const (*slot).work));
            }
            Ok(())
        };
        // SAFETY: The closure initialises both fields.
        unsafe { pin_init::pin_init_from_closure(init) }
    }

    pub(crate) fn entry(&self) -> &Entry {
        &self.entry
    }
}

/// When and where to run.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct When {
    pub(crate) due: Instant,
    /// It may run this much later.
    pub(crate) window: Delta,
    /// On this CPU.
    pub(crate) cpu: Option<u32>,
}

impl When {
    pub(crate) const fn at(due: Instant) -> Self {
        Self {
            due,
            window: Delta::ZERO,
            cpu: None,
        }
    }

    /// Whether it may be timed by this CPU. With preemption off.
    pub(crate) fn is_for_here(&self) -> bool {
        self.cpu
            .is_none_or(|cpu| cpu as usize == shared::this_cpu())
    }

    /// The instant the wheel would run it, on an idle CPU.
    pub(crate) const fn planned(&self) -> Instant {
        start_of(granule_within(self.due, self.window))
    }
}

impl Entry {
    /// An entry that is idle, and belongs to no object yet.
    pub(crate) fn new(kin: Arc<Kin>) -> Self {
        kin.owner.objects.fetch_add(1, Relaxed);
        kin.owner.made.fetch_add(1, Relaxed);
        let flags = if kin.is_direct() { DIRECT } else { 0 };
        Self {
            next: AtomicPtr::new(ptr::null_mut()),
            prev: AtomicPtr::new(ptr::null_mut()),
            word: AtomicU64::new(Word::NEW.bits()),
            due: AtomicI64::new(Instant::NEVER.as_nanos()),
            kin,
            link: Link::new(),
            id_low: AtomicU32::new(0),
            bucket: AtomicU16::new(0),
            id_high: AtomicU8::new(0),
            flags: AtomicU8::new(flags),
        }
    }

    fn ptr(&self) -> Ptr {
        Ptr(NonNull::from(self))
    }

    /// Whether the entry knows its object.
    #[inline(always)]
    pub(crate) fn is_bound(&self) -> bool {
        self.id_low.load(Acquire) != 0
    }

    /// Tells the entry which object it lies in. Any context.
    ///
    /// # Safety
    ///
    /// `object` is the data pointer of the `Arc<Timed<T>>` that invariant 2 speaks of.
    #[inline(never)]
    pub(crate) unsafe fn bind(&self, object: *const ()) {
        let _ = object.expose_provenance();
        let id = ids::next();
        // SAFETY: Invariant 2: the entry's drop takes it off.
        unsafe {
            self.kin
                .owner
                .roster
                .add(&self.link, self.kin.turn, |stale| {
                    if stale && self.is_bound() {
                        return;
                    }
                    if stale {
                        // Whoever ends what its module has left may be past it.
                        protocol::shut(&Kernel, self.ptr());
                    }
                    self.id_high.store((id >> 32) as u8, Relaxed);
                    self.id_low.store(id as u32, Release);
                });
        }
    }

    /// The number debugfs shows; 0 as long as the entry was never armed.
    #[inline(never)]
    pub(crate) fn id(&self) -> u64 {
        let low = self.id_low.load(Acquire);
        (u64::from(self.id_high.load(Relaxed)) << 32) | u64::from(low)
    }

    pub(crate) fn kin(&self) -> &Kin {
        &self.kin
    }

    fn word(&self) -> Word {
        Kernel.load(self.ptr(), Load::Acquire)
    }

    /// Arms it for `due`. Bound entries only; any context but NMI; never blocks. Part of the caller, as far
    /// as no lock is needed.
    #[inline(always)]
    pub(crate) fn arm(&self, due: Instant) -> Arm {
        self.due.store(due.as_nanos(), Relaxed);
        if due.as_nanos() > LAST_DUE {
            return self.arm_slowly(LAST_GRANULE);
        }
        let granule = near_granule_of(due);
        protocol::arm_quickly(&Kernel, self.ptr(), granule)
            .unwrap_or_else(|| self.arm_slowly(granule))
    }

    #[inline(never)]
    fn arm_slowly(&self, granule: u64) -> Arm {
        protocol::arm_slowly(&Kernel, self.ptr(), granule, None)
    }

    /// Arms it for `when`. As [`arm`](Self::arm).
    #[inline(never)]
    pub(crate) fn arm_when(&self, when: When) -> Arm {
        let on = match when.cpu.map(shared::usable_cpu) {
            Some(None) => return Arm::Refused(Refusal::NoCpu),
            Some(some) => some,
            None => None,
        };
        self.due.store(when.due.as_nanos(), Relaxed);
        let granule = granule_within(when.due, when.window);
        protocol::arm(&Kernel, self.ptr(), granule, on)
    }

    /// Cancels a pending run. Any context but NMI; never blocks. Part of the caller, as far as nobody
    /// holds the entry.
    #[inline(always)]
    pub(crate) fn stop(&self) -> Stop {
        protocol::stop_quickly(&Kernel, self.ptr()).unwrap_or_else(|| self.stop_slowly())
    }

    #[inline(never)]
    fn stop_slowly(&self) -> Stop {
        protocol::stop_slowly(&Kernel, self.ptr(), || self.is_own())
    }

    /// Cancels a pending run and takes the entry off the wheel; says whether a run goes on.
    pub(crate) fn drain(&self) -> Drained {
        protocol::drain(&Kernel, self.ptr(), || self.is_own())
    }

    /// As [`drain`](Self::drain), where the entry is on a wheel; says whether a run was cancelled.
    #[inline(always)]
    pub(crate) fn drain_quickly(&self) -> Option<bool> {
        protocol::drain_quickly(&Kernel, self.ptr()).map(|how| how == Drained::Cancelled)
    }

    /// Refuses every later arm, and stops it.
    pub(crate) fn shut(&self) -> Stop {
        protocol::shut(&Kernel, self.ptr())
    }

    /// The run that a drain found is going on.
    pub(crate) fn is_waited_for(&self) -> bool {
        protocol::is_waited_for(&Kernel, self.ptr())
    }

    #[inline(never)]
    pub(crate) fn is_pending(&self) -> bool {
        self.word().is_armed()
    }

    #[inline(never)]
    pub(crate) fn is_active(&self) -> bool {
        self.word().is_active()
    }

    #[inline(never)]
    pub(crate) fn is_shut(&self) -> bool {
        self.word().is_shut()
    }

    pub(crate) fn is_held(&self) -> bool {
        self.word().is_held()
    }

    #[inline(never)]
    pub(crate) fn deactivate(&self) {
        protocol::deactivate(&Kernel, self.ptr());
    }

    /// Cancels a pending run, and has the end of a run in progress reported by `Ops::drained`.
    #[inline(never)]
    pub(crate) fn report_end(&self) -> Stop {
        match protocol::report(&Kernel, self.ptr()) {
            Drained::Wait | Drained::Own => Stop::Running,
            Drained::Cancelled => Stop::Cancelled,
            Drained::Idle => Stop::Idle,
        }
    }

    /// The caller is this entry's callback.
    #[cold]
    #[inline(never)]
    fn is_own(&self) -> bool {
        walk::is_executing(self.ptr())
    }

    /// Remembers the state it is in, for [`left`](Self::left).
    pub(crate) fn leave(&self) {
        let state = self.seen().state();
        let index = STATES.iter().position(|name| *name == state).unwrap_or(0);
        self.flags.fetch_or((index as u8) << LEFT_SHIFT, Relaxed);
    }

    /// The state it was left in.
    pub(crate) fn left(&self) -> &'static str {
        let index = usize::from(self.flags.load(Relaxed) >> LEFT_SHIFT);
        STATES.get(index).copied().unwrap_or("?")
    }

    /// Takes it off its roster: its client has left it behind.
    pub(crate) fn strike(&self) {
        self.kin.owner.roster.remove(&self.link);
    }

    /// A reference to the object, if it is not going.
    pub(crate) fn keep(&self) -> Option<Kept> {
        let ptr = self.ptr();
        (self.is_bound() && Kernel.get(ptr)).then(|| Kept(ptr))
    }

    fn deadline(&self) -> Instant {
        Instant::of_clock(self.due.load(Relaxed))
    }

    /// What a reader sees, at one moment as far as possible.
    pub(crate) fn seen(&self) -> Seen {
        let word = self.word();
        Seen {
            id: self.id(),
            kin: self.kin.clone(),
            word,
            due: self.deadline(),
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        // The object is going: no reference to it is left, so nobody holds the entry.
        if self.is_bound() {
            protocol::retire(&Kernel, self.ptr());
            self.kin.owner.roster.remove(&self.link);
        }
        self.kin.owner.objects.fetch_sub(1, Relaxed);
    }
}

/// What the callback asked for, as a deadline.
fn wish(next: Next) -> Option<Instant> {
    match next {
        Next::Stop => None,
        Next::After(delta) => Some(Instant::from_nanos(super::context::monotonic_ns()) + delta),
        Next::At(due) => Some(due),
    }
}
