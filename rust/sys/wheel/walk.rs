// SPDX-License-Identifier: GPL-2.0

//! The walk of a base: moves entries down the levels, calls what is due, in bounded slices.

use super::{
    base::{Base, Hold, NEVER},
    batch::Batch,
    bury,
    machine::{Kernel, Target},
    shared::{shared, this_cpu},
    wish, Entry, Ptr, Worked, DIRECT,
};
use crate::{
    policy::{
        deadline::Instant,
        levels::{granule_at, granule_of, start_of, Bucket},
        life::Next,
        operations::{self as protocol, Machine, Visit},
        place::Place,
        word::Word,
    },
    sys::{
        bindings as b,
        context::{monotonic_ns, Runner},
        firing::{Begin, Firing},
        wait,
    },
};
use core::{
    mem::offset_of,
    ptr,
    sync::atomic::{AtomicPtr, Ordering::*},
};
use kernel::{bindings, types::Opaque};

/// A walk goes on later after this many callbacks ...
const MOST_CALLS: u64 = 8_192;
/// ... or this long: a millisecond, less what an interrupt in its last batch may take.
const LONGEST_NS: i64 = 950_000;
/// Entries moved or dropped before interrupts are let in.
const MOST_MOVES: u32 = 64;
/// Entries taken from a bucket at a time.
const BATCH: usize = 32;
/// Entries of a bucket that are put in order: more are a crowd.
const MOST_SORTED: usize = 64;

/// The timer of a base has expired. Softirq context.
///
/// # Safety
///
/// Called by the kernel only, for the timer of a base.
pub(super) unsafe extern "C" fn on_timer(
    timer: *mut bindings::hrtimer,
) -> bindings::hrtimer_restart {
    // SAFETY: The contract of this function.
    let base = unsafe { Base::of_timer(timer) };
    Walk::new().run(base.lock_irq());
    bindings::hrtimer_restart_HRTIMER_NORESTART
}

/// One walk: how far it may go, and how far it has come.
struct Walk {
    now_ns: i64,
    now: u64,
    end_ns: i64,
    /// The latest look at the clock, and the longest time between two.
    seen_ns: i64,
    step_ns: i64,
    calls: u64,
    /// Entries moved or dropped since interrupts were let in.
    moves: u32,
    spent: bool,
    /// This CPU's: the walk stays on it.
    executing: &'static AtomicPtr<Entry>,
}

impl Walk {
    fn new() -> Self {
        let now_ns = monotonic_ns();
        let here = shared().base(this_cpu());
        here.walker.store(current_task(), Relaxed);
        here.began_ns.store(now_ns, Relaxed);
        Self {
            now_ns,
            now: granule_at(Instant::from_nanos(now_ns)),
            end_ns: now_ns.saturating_add(LONGEST_NS),
            seen_ns: now_ns,
            step_ns: 0,
            calls: 0,
            moves: 0,
            spent: false,
            executing: &here.executing,
        }
    }

    fn run(&mut self, mut hold: Hold) {
        hold.inner.walking = true;
        hold.inner.counts.wakes = hold.inner.counts.wakes.wrapping_add(1);
        let next = loop {
            if self.spent {
                break hold.inner.visited;
            }
            if let Some(bucket) = hold.inner.cascade {
                hold = self.cascade(hold, bucket);
                continue;
            }
            let Some((bucket, granule)) = hold.inner.occupied.next(hold.inner.visited) else {
                break NEVER;
            };
            if granule > self.now {
                break granule;
            }
            hold.inner.visited = granule;
            if bucket.level() > 0 {
                hold.inner.cascade = Some(bucket);
            } else {
                hold = self.expire(hold, bucket, granule);
            }
        };
        let counts = &mut hold.inner.counts;
        counts.batch_max = counts.batch_max.max(self.calls);
        let took = self.seen_ns.saturating_sub(self.now_ns);
        counts.slice_max_ns = counts.slice_max_ns.max(took);
        hold.rest(next, self.spent);
    }

    /// Moves some entries of a bucket to lower levels.
    fn cascade(&mut self, mut hold: Hold, bucket: Bucket) -> Hold {
        // Counted over all buckets: many that have few entries hold the lock as long as one that is full.
        while self.moves < MOST_MOVES {
            let Some(entry) = hold.first(bucket) else {
                hold.inner.cascade = None;
                return hold;
            };
            // Granule 0: whatever is armed moves, whatever is not is dropped, and nothing fires.
            visit(&mut hold, entry, 0);
            self.moves = self.moves.saturating_add(1);
        }
        self.pause(hold)
    }

    /// Calls the entries of the bucket that has come.
    fn expire(&mut self, mut hold: Hold, bucket: Bucket, granule: u64) -> Hold {
        let start = start_of(granule);
        let late = self.now_ns.saturating_sub(start.as_nanos());
        let late_max = &mut hold.inner.counts.late_max_ns;
        *late_max = (*late_max).max(late);
        if !hold.is_sorted(bucket, MOST_SORTED) {
            sort(&mut hold, bucket, granule);
        }
        while hold.first(bucket).is_some() && !self.spent {
            hold = self.call_some(hold, bucket, granule, start);
        }
        hold
    }

    /// Takes some entries from a bucket that has come, and calls them with the base unlocked.
    #[inline(always)]
    fn call_some(&mut self, mut hold: Hold, bucket: Bucket, granule: u64, start: Instant) -> Hold {
        let mut batch = Batch::take(&mut hold, bucket, granule, BATCH);
        if batch.len() == 0 {
            batch = drop_some(&mut hold, bucket, granule);
        }
        let taken = batch.len() as u64;
        hold.inner.counts.fired = hold.inner.counts.fired.wrapping_add(taken);
        let base = hold.open();
        self.fire_all(batch, granule, start);
        self.calls = self.calls.wrapping_add(taken);
        self.spent |= self.calls >= MOST_CALLS;
        self.look();
        base.lock_irq()
    }

    /// Lets interrupts and others in.
    fn pause(&mut self, hold: Hold) -> Hold {
        let base = hold.open();
        self.moves = 0;
        self.look();
        base.lock_irq()
    }

    /// Looks at the clock.
    #[inline(always)]
    fn look(&mut self) {
        let now_ns = monotonic_ns();
        let step_ns = now_ns.saturating_sub(self.seen_ns);
        self.seen_ns = now_ns;
        if step_ns > self.step_ns {
            self.leave_time_for(step_ns);
        }
        self.spent |= now_ns >= self.end_ns;
    }

    /// No step is taken that would end too late, where it takes as long as the longest so far.
    #[cold]
    fn leave_time_for(&mut self, step_ns: i64) {
        self.step_ns = step_ns;
        self.end_ns = self
            .now_ns
            .saturating_add(LONGEST_NS)
            .saturating_sub(step_ns);
    }

    /// Runs the entries of a batch.
    #[inline(never)]
    fn fire_all(&self, batch: Batch, granule: u64, start: Instant) {
        for entry in batch {
            if entry.entry().flags.load(Relaxed) & DIRECT != 0 {
                self.fire(entry, granule, start);
            } else {
                self.fire_indirectly(entry, granule, start);
            }
        }
    }

    /// Runs an entry that the walk holds.
    #[inline(always)]
    fn fire(&self, entry: Ptr, granule: u64, start: Instant) {
        let target = entry.target();
        let Some(began) = protocol::begin(&Kernel, entry, granule, None) else {
            end(entry, target, Next::Stop);
            return;
        };
        let this = entry.entry();
        this.kin.fired.fetch_add(1, Relaxed);
        let due = this.deadline().min(start);
        match self.execute(entry, target, &Firing::begun(due)) {
            Next::Stop if protocol::let_go_quickly(&Kernel, entry, began) => put_of(entry, target),
            next => end(entry, target, next),
        }
    }

    /// Calls the callback. It is not said to be executing for longer than it is: as soon as it is let go,
    /// another CPU may run it.
    #[inline(always)]
    fn execute(&self, entry: Ptr, target: Target, firing: &Firing<'_>) -> Next {
        self.executing.store(entry.0.as_ptr(), Relaxed);
        let next = target.run(firing);
        self.executing.store(ptr::null_mut(), Relaxed);
        next
    }

    /// Runs an entry which needs a worker, or a lock.
    #[cold]
    #[inline(never)]
    fn fire_indirectly(&self, entry: Ptr, granule: u64, start: Instant) {
        let this = entry.entry();
        this.kin.fired.fetch_add(1, Relaxed);
        if this.kin.place == Place::Task {
            dispatch(entry);
            return;
        }
        let due = this.deadline().min(start);
        let target = entry.target();
        let waiting = Waiting {
            entry,
            target,
            now: Some(granule),
        };
        // Stopped since: not even its lock is touched.
        let next = if this.is_pending() {
            self.execute(entry, target, &Firing::waiting(due, &waiting))
        } else {
            Next::Stop
        };
        end_late(entry, target, next);
    }
}

/// When the walk began that the calling callback is part of; softirq context, direct callbacks only.
pub(crate) fn began_ns() -> i64 {
    shared().base(this_cpu()).began_ns.load(Relaxed)
}

/// Visits entries of a bucket that has come, until there is one to run.
#[cold]
#[inline(never)]
fn drop_some(hold: &mut Hold, bucket: Bucket, granule: u64) -> Batch {
    for _ in 0..MOST_MOVES {
        let Some(entry) = hold.first(bucket) else {
            break;
        };
        if visit(hold, entry, granule) == Visit::Held {
            return Batch::one(entry);
        }
    }
    Batch::EMPTY
}

/// Visits an entry, and counts what became of it.
fn visit(hold: &mut Hold, entry: Ptr, granule: u64) -> Visit {
    let visit = protocol::visit(&Kernel, hold, entry, granule);
    let counts = &mut hold.inner.counts;
    match visit {
        Visit::Held => {}
        Visit::Moved => counts.moved = counts.moved.wrapping_add(1),
        Visit::Dropped => counts.tombstones = counts.tombstones.wrapping_add(1),
    }
    visit
}

/// Orders a bucket by deadline, equals as they came. A crowd stays in the order it came in: how long
/// this holds the lock is bounded.
#[cold]
#[inline(never)]
fn sort(hold: &mut Hold, bucket: Bucket, granule: u64) {
    if hold.is_crowded(bucket, MOST_SORTED) {
        return;
    }
    let mut sorted: [Option<Ptr>; MOST_SORTED] = [None; MOST_SORTED];
    let mut count = 0;
    while let Some(entry) = hold.first(bucket) {
        hold.unlink(entry);
        let due = entry.entry().deadline();
        let after = |at: &Option<Ptr>| at.is_some_and(|at| at.entry().deadline() > due);
        let place = sorted[..count].iter().position(after).unwrap_or(count);
        sorted.copy_within(place..count, place + 1);
        sorted[place] = Some(entry);
        count += 1;
    }
    for entry in sorted.into_iter().flatten() {
        hold.link(entry, granule);
    }
}

/// The end of a run: lets the entry go, and its object.
#[inline(never)]
fn end(entry: Ptr, target: Target, next: Next) {
    let due = wish(next);
    if let Some(due) = due {
        // Where an arm has won already, the deadline is that of the arm.
        if !entry.entry().word().is_armed() {
            entry.entry().due.store(due.as_nanos(), Relaxed);
        }
    }
    match protocol::let_go(&Kernel, entry, due.map(granule_of)) {
        Some(was) => tell(entry, target, was),
        None => put_of(entry, target),
    }
}

/// As [`end`], of a run that needed a worker, or a lock.
fn end_late(entry: Ptr, target: Target, next: Next) {
    // Without an owner nothing more was to come when the callback ended: let go of as it wishes, another CPU could
    // have it running before this reference is given back. What is armed stays so, for whoever is told of the end
    // may become an owner: without one it does not begin.
    let next = if target.is_alone() { Next::Stop } else { next };
    end(entry, target, next);
}

/// As the last part of [`end`], where somebody may wait for it; `was` is what it was until then.
#[cold]
#[inline(never)]
fn tell(entry: Ptr, target: Target, was: Word) {
    if was.is_reported() {
        target.drained();
    }
    put_of(entry, target);
    wait::wake();
}

/// Gives a reference to an entry's object back.
pub(super) fn put(entry: Ptr) {
    put_of(entry, entry.target());
}

/// As [`put`], where the object is known.
#[inline(always)]
fn put_of(entry: Ptr, target: Target) {
    if target.put() {
        bury::bury(entry);
    }
}

/// An entry whose callback begins when it has its lock, or its worker.
struct Waiting {
    entry: Ptr,
    target: Target,
    /// The granule it was taken for, and stays on its base; in a worker: `None`.
    now: Option<u64>,
}

impl Begin for Waiting {
    fn begin(&self) -> bool {
        // The last owner has gone meanwhile. What is owed goes with the object, or comes again if it gets another.
        if self.target.is_alone() {
            return false;
        }
        match self.now {
            Some(granule) => protocol::begin(&Kernel, self.entry, granule, None),
            None => {
                let now = granule_at(Instant::from_nanos(monotonic_ns()));
                protocol::begin(&Kernel, self.entry, now, Some(this_cpu()))
            }
        }
        .is_some()
    }
}

/// Sends a held entry to a worker.
fn dispatch(entry: Ptr) {
    entry.entry().kin.owner.comes();
    let worked = entry.0.as_ptr().cast::<Worked>();
    // SAFETY: Entries of this place are part of a `Worked`, whose work is not pending: it is enqueued
    // only by who queues the entry, and the entry is let go only by the work.
    unsafe {
        bindings::queue_work_on(
            bindings::wq_misc_consts_WORK_CPU_UNBOUND as i32,
            shared().calls,
            Opaque::cast_into(&raw const (*worked).work),
        );
    }
}

/// An entry's turn in a worker. Task context.
///
/// # Safety
///
/// Called by the workqueue only, for the work of a [`Worked`] that [`dispatch`] has enqueued.
unsafe extern "C" fn on_work(work: *mut bindings::work_struct) {
    let worked = work.wrapping_byte_sub(offset_of!(Worked, work));
    // SAFETY: The contract of this function; `dispatch` has passed its reference to the object on.
    let entry = Ptr(unsafe { ptr::NonNull::new_unchecked(worked.cast::<Entry>()) });
    let owner = entry.entry().kin.owner.clone();
    entry.entry().prev.store(current_task().cast(), Relaxed);
    let due = entry.entry().deadline();
    let target = entry.target();
    let waiting = Waiting {
        entry,
        target,
        now: None,
    };
    let locks = target.locks();
    let next = if locks && entry.entry().is_pending() {
        target.run(&Firing::waiting(due, &waiting))
    } else if !locks && waiting.begin() {
        target.run(&Firing::begun(due))
    } else {
        // Stopped since: not even its lock is touched.
        Next::Stop
    };
    end_late(entry, target, next);
    owner.came();
}

/// The calling code is the callback of `entry`, which is running.
pub(super) fn is_executing(entry: Ptr) -> bool {
    if Runner::in_hardirq() {
        return false;
    }
    match entry.entry().kin.place {
        Place::Task => {
            let runner = entry.entry().prev.load(Relaxed).cast();
            !Runner::in_softirq() && ptr::eq(runner, current_task())
        }
        _ => {
            let here = shared().base(Kernel.here());
            // With PREEMPT_RT a softirq of another thread may have preempted the walk.
            Runner::in_softirq()
                && ptr::eq(here.executing.load(Relaxed), entry.0.as_ptr())
                && ptr::eq(here.walker.load(Relaxed), current_task())
        }
    }
}

/// What executes this, if it is a task; in an interrupt, the task that it has interrupted.
fn current_task() -> *mut bindings::task_struct {
    kernel::task::Task::current_raw()
}

/// # Safety
///
/// `slot` is valid for writes, and part of a [`Worked`].
pub(super) unsafe fn init_work(slot: *mut bindings::work_struct) {
    // SAFETY: The contract of this function.
    unsafe { b::softclock_init_work(slot, Some(on_work)) }
}

/// # Safety
///
/// `slot` is valid for writes.
pub(super) unsafe fn init_burial(slot: *mut bindings::work_struct) {
    // SAFETY: The contract of this function.
    unsafe { b::softclock_init_work(slot, Some(bury::on_work)) }
}
