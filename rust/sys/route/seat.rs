// SPDX-License-Identifier: GPL-2.0

//! A queue's lock and what it protects; adding, expiring and the end.

use super::{
    batch::{self, Batch, Quiet, Slot},
    delta, grave,
    order::{self, First, Heads, Order},
    raw, Entry, Kin, Owner,
};
use crate::{
    policy::{
        deadline::{Delta, Instant},
        place::Place,
        route::{due, last_due, Added, NotAdded, Slice, Word},
    },
    sys::{
        bindings as b,
        context::{monotonic_ns, Runner, Task},
        firing::Firing,
        target::{Ops, Timed},
        wait, wheel,
    },
};
use core::{
    cell::UnsafeCell,
    marker::PhantomData,
    mem::size_of_val,
    ptr::{self, NonNull},
    sync::atomic::{
        AtomicI64,
        Ordering::{AcqRel, Acquire, Relaxed, Release},
    },
};
use kernel::{bindings, ffi::c_ulong, prelude::*, static_lock_class, sync::Arc, types::Opaque};

/// Entries that are dealt with before interrupts are let in.
const MOST_AT_ONCE: u32 = 64;
/// How long a timer waits whose action still executes for another queue.
const RETRY_NS: i64 = 1_000_000;

/// What a queue has done.
#[derive(Clone, Copy, Default)]
pub(crate) struct Counts {
    /// Timers in it now.
    pub(crate) count: u64,
    /// Adds, but for refreshes.
    pub(crate) added: u64,
    /// Actions begun.
    pub(crate) fired: u64,
    /// Timers removed, or dropped with their route.
    pub(crate) removed: u64,
    /// Timers added to another queue while they were in this one.
    pub(crate) replaced: u64,
    /// Timers that turned out to be refreshed when their first turn came.
    pub(crate) refreshed: u64,
    /// Passes, and those of them that went on later because there was much to do.
    pub(crate) wakes: u64,
    pub(crate) slices: u64,
    /// The most actions in one pass.
    pub(crate) batch_max: u64,
}

struct Inner {
    /// Invariant 6.
    alarm: Option<NonNull<wheel::Entry>>,
    /// The largest stamp that was given to a new entry.
    newest: u64,
    /// A pass is in progress; it looks at everything before it ends.
    walking: bool,
    /// The task that executes the pass, where that is one.
    runner: usize,
    /// Adds are refused, and no action begins ...
    dead: bool,
    /// ... unless all are to.
    flush: bool,
    /// How many passes have ended before they had begun all that are to, because of one whose action
    /// executes still, for another queue.
    held_up: u64,
    order: Order,
    /// Slots that the pass has filled, and not gone through yet.
    taken: usize,
    /// Those that have begun since they were taken are in it still.
    counts: Counts,
}

/// A queue, as far as the machine goes.
#[pin_data]
#[repr(C)]
pub(crate) struct Seat {
    /// First: `Entry::lock` finds it by the address of the seat.
    #[pin]
    lock: Opaque<bindings::raw_spinlock_t>,
    timeout_ns: AtomicI64,
    inner: UnsafeCell<Inner>,
    batch: Batch,
    owner: Arc<Owner>,
    id: u64,
    place: Place,
    #[pin]
    heads: Opaque<Heads>,
}

// SAFETY: Invariant 5; the rest is constant or atomic.
unsafe impl Send for Seat {}
// SAFETY: As above.
unsafe impl Sync for Seat {}

/// A seat that is locked.
pub(super) struct Hold<'a> {
    seat: &'a Seat,
    flags: c_ulong,
    _not_send: PhantomData<*mut ()>,
}

/// What a pass does next.
enum Take {
    /// Begin so many, in the slots of the batch.
    Some(usize),
    /// Let others in.
    Pause,
    /// Wait until then.
    Wait(Instant),
    Empty,
}

/// Where an entry is that was in a queue a moment ago.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Caught {
    /// On a list.
    Listed,
    /// Nowhere: it was in a slot, and is the caller's.
    Taken,
    /// Not in this queue any more: it has begun.
    Begun,
}

/// An entry whose action is to be called, and what is known of it.
struct Begun<'a> {
    entry: &'a Entry,
    kin: &'a Kin,
    ops: &'a Ops,
    object: *const (),
    due: Instant,
}

/// A pass, beyond what is in its seat.
struct Pass {
    now: i64,
    /// The timeout by which the entries were due that are in slots.
    timeout: Delta,
    /// The task that executes it, where that is one.
    runner: usize,
    /// Actions so far.
    actions: u64,
    /// Entries since the last hold of the lock whose route was going.
    gone: u64,
}

impl Seat {
    /// A queue without entries.
    pub(crate) fn new(
        owner: Arc<Owner>,
        id: u64,
        place: Place,
        timeout: Delta,
    ) -> impl PinInit<Self> {
        let inner = Inner {
            alarm: None,
            newest: 0,
            walking: false,
            runner: 0,
            dead: false,
            flush: false,
            held_up: 0,
            order: Order::NEW,
            taken: 0,
            counts: Counts::default(),
        };
        pin_init!(Self {
            lock <- Opaque::ffi_init(|slot| {
                let class = static_lock_class!();
                // SAFETY: `slot` is valid for writes and will not move; name and class live for ever.
                unsafe {
                    b::softclock_raw_lock_init(slot, c"softclock_route".as_char_ptr(), class.as_ptr());
                }
            }),
            timeout_ns: AtomicI64::new(timeout.as_nanos()),
            inner: UnsafeCell::new(inner),
            batch: Batch::new(),
            owner,
            id,
            place,
            heads <- Heads::init(),
        })
    }

    /// Names the callout that wakes the queue: both are parts of `object`.
    pub(crate) fn tie<T>(&self, object: &Timed<T>, alarm: &wheel::Entry) -> Result {
        let start = ptr::from_ref(object) as usize;
        let size = size_of_val(object);
        let inside = |address: usize| address.wrapping_sub(start) < size;
        if !inside(ptr::from_ref(self) as usize) || !inside(ptr::from_ref(alarm) as usize) {
            return Err(EINVAL);
        }
        // Invariant 6.
        self.lock().inner().alarm = Some(NonNull::from(alarm));
        Ok(())
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn place(&self) -> Place {
        self.place
    }

    pub(crate) fn timeout(&self) -> Delta {
        delta(self.timeout_ns.load(Relaxed))
    }

    #[inline(always)]
    fn lock(&self) -> Hold<'_> {
        // SAFETY: The lock was initialised by the constructor.
        let flags = unsafe { raw::lock_irqsave(self.lock.get()) };
        Hold {
            seat: self,
            flags,
            _not_send: PhantomData,
        }
    }

    /// Counts the time of an entry that is here from `now` on. `None`: it is not here. Any context but
    /// NMI; lock-free.
    #[inline(always)]
    pub(crate) fn refresh(&self, entry: &Entry, now: Instant) -> Option<Added> {
        let now = now.as_nanos() as u64;
        // Acquire, for the seat is that of this link, or of a later one, and then the exchange fails.
        let mut old = entry.word();
        while old.is_linked() && ptr::eq(entry.seat.load(Relaxed), self) {
            match entry.exchange(old, old.refreshed(now)) {
                Ok(()) => return Some(Added::Refreshed),
                Err(now) => old = now,
            }
        }
        None
    }

    /// Puts an entry, which is bound, into the queue. Any context but NMI; never blocks.
    #[inline(never)]
    pub(crate) fn add(&self, entry: &Entry, now: Instant) -> Added {
        if !Arc::ptr_eq(&entry.kin.owner, &self.owner) {
            return Added::Refused(NotAdded::Stranger);
        }
        loop {
            if let Some(answer) = self.try_add(entry, now.as_nanos() as u64) {
                return answer;
            }
            // Another queue is locked by somebody who may wait for this one.
            core::hint::spin_loop();
        }
    }

    #[inline(always)]
    fn try_add(&self, entry: &Entry, now: u64) -> Option<Added> {
        let mut hold = self.lock();
        if hold.inner().dead {
            return Some(Added::Refused(NotAdded::Destroyed));
        }
        let here = ptr::from_ref(self).cast_mut();
        while let Err(there) = entry
            .seat
            .compare_exchange(ptr::null_mut(), here, AcqRel, Acquire)
        {
            if there == here {
                if self
                    .refresh(entry, Instant::from_nanos(now as i64))
                    .is_some()
                {
                    return Some(Added::Refreshed);
                }
                // It begins just now, on another CPU, which does not wait for this one.
                core::hint::spin_loop();
                continue;
            }
            if let Some(answer) = hold.take_from(entry, there, now)? {
                return Some(answer);
            }
        }
        // Invariant 2: the entry is ours.
        Some(hold.link(entry, now))
    }

    /// How many entries there are, and what the queue has done.
    pub(crate) fn counts(&self) -> Counts {
        let mut hold = self.lock();
        let begun = self.batch.begun();
        let inner = hold.inner();
        Counts {
            count: inner.counts.count.wrapping_sub(begun),
            fired: inner.counts.fired.wrapping_add(begun),
            refreshed: inner.order.moved,
            ..inner.counts
        }
    }

    /// What a reader sees: counts, the state in one word, and when the queue wakes.
    pub(crate) fn snapshot(&self) -> (Counts, &'static str, Option<Instant>) {
        let counts = self.counts();
        let mut hold = self.lock();
        let inner = hold.inner();
        let state = match (inner.dead, inner.walking) {
            (true, _) => "shut",
            (false, true) => "running",
            (false, false) if inner.counts.count > 0 => "armed",
            _ => "idle",
        };
        // SAFETY: Invariant 6.
        let alarm = inner.alarm.map(|alarm| unsafe { alarm.as_ref() }.seen());
        let wake = alarm.filter(|alarm| alarm.word.is_armed());
        (counts, state, wake.map(|alarm| alarm.due))
    }

    /// The queue has another timeout; `now`: the alarm follows at once. Any context but NMI.
    #[inline(never)]
    pub(crate) fn change(&self, timeout: Delta, now: bool) -> bool {
        let mut hold = self.lock();
        if hold.inner().dead {
            return false;
        }
        self.timeout_ns.store(timeout.as_nanos(), Relaxed);
        // What has not begun may not be due any more.
        hold.recall();
        if now && !hold.inner().walking && hold.inner().counts.count > 0 {
            let due = hold.next_due();
            hold.arm(due);
        }
        true
    }

    /// Whether it was destroyed.
    pub(crate) fn is_dead(&self) -> bool {
        self.lock().inner().dead
    }

    /// The caller is an action of this queue.
    pub(crate) fn is_own(&self) -> bool {
        let mut hold = self.lock();
        let inner = hold.inner();
        inner.walking && inner.runner != 0 && Runner::of_task(inner.runner).is_here()
    }

    /// From here on adds are refused, and no action begins; `flush`: the actions of all begin now. Says
    /// how many have begun before. Any context but NMI.
    #[inline(never)]
    pub(crate) fn kill(&self, flush: bool) -> u64 {
        let mut hold = self.lock();
        let inner = hold.inner();
        let (first, flushed) = (!inner.dead, inner.flush);
        inner.dead = true;
        inner.flush = flush && (first || flushed);
        let fired = inner.counts.fired.wrapping_add(self.batch.begun());
        if !inner.flush {
            hold.recall();
        }
        let inner = hold.inner();
        let ends_flush = flushed && !inner.flush;
        if inner.flush && !inner.walking {
            hold.arm(Instant::BOOT);
        }
        drop(hold);
        if ends_flush {
            // Whoever waits for the actions waits for nothing.
            wait::wake_soon();
        }
        fired
    }

    /// Whether the actions of all have run that [`kill`](Self::kill) was to run.
    pub(crate) fn is_flushed(&self) -> bool {
        let mut hold = self.lock();
        let inner = hold.inner();
        !inner.flush || (inner.counts.count == 0 && !inner.walking)
    }

    /// How often that was held up so far by an action that executes for another queue.
    pub(crate) fn held_up(&self) -> u64 {
        self.lock().inner().held_up
    }

    /// Who executes the action that holds it up now; `None`: none does, or not a task.
    fn held_up_by(&self) -> Option<Runner> {
        let mut hold = self.lock();
        let inner = hold.inner();
        if !inner.flush || inner.walking {
            return None;
        }
        let First::Entry(first) = inner.order.first(&self.heads) else {
            return None;
        };
        // SAFETY: It is on a list of this seat (invariant 2).
        let entry = unsafe { first.as_ref() };
        let runner = entry.runner.load(Relaxed);
        (entry.word().is_running() && runner != 0).then_some(Runner::of_task(runner))
    }

    /// A reference to the object, if it is not going.
    pub(crate) fn keep(&self) -> Option<KeptSeat> {
        let alarm = self.lock().inner().alarm?;
        // SAFETY: Invariant 6.
        let object = unsafe { alarm.as_ref() }.keep()?;
        Some(KeptSeat {
            object,
            seat: NonNull::from(self),
        })
    }

    /// Removes all entries of a queue that was killed, others being let in now and then; says how many.
    pub(crate) fn clear(&self, _task: &Task) -> u64 {
        let mut all = 0_u64;
        loop {
            let some = self.clear_some();
            all = all.wrapping_add(some);
            if some == 0 {
                return all;
            }
            // SAFETY: This is a task that may sleep, and no lock is held.
            unsafe { b::softclock_cond_resched() };
        }
    }

    fn clear_some(&self) -> u64 {
        let mut hold = self.lock();
        let mut count = 0;
        for _ in 0..MOST_AT_ONCE {
            let Some(entry) = hold.inner().order.any(&self.heads) else {
                break;
            };
            // SAFETY: It is on a list of this seat (invariant 2).
            if hold.remove(unsafe { entry.as_ref() }) {
                count += 1;
            }
        }
        count
    }

    /// The alarm has gone off: runs what is due, in order, for a millisecond at most. In the context of
    /// the queue's actions.
    #[inline(never)]
    pub(crate) fn pass(&self) {
        let mut pass = Pass::new(self.place);
        let began = match self.place {
            // The alarm is a callback of the wheel's walk: what that has done before counts.
            Place::Soft => wheel::began_ns(),
            Place::Hard | Place::Task => pass.now,
        };
        let mut slice = Slice::new(began, pass.now);
        let mut hold = self.lock();
        hold.begin_pass(&pass);
        let next = loop {
            let most = (slice.room() as usize).min(batch::MOST);
            pass.timeout = hold.timeout();
            let ran = match hold.take(pass.now, most) {
                Take::Some(taken) => {
                    drop(hold);
                    self.run_taken(taken, &mut pass);
                    taken as u32
                }
                Take::Pause => {
                    drop(hold);
                    // As many entries were dealt with as one hold of the lock allows.
                    MOST_AT_ONCE
                }
                Take::Wait(due) => break Some(due),
                Take::Empty => break None,
            };
            let goes_on = slice.goes_on(ran, monotonic_ns);
            hold = self.lock();
            hold.settle(&mut pass);
            if !goes_on {
                let slices = &mut hold.inner().counts.slices;
                *slices = slices.wrapping_add(1);
                break Some(pass.again(began));
            }
        };
        let over = hold.end_pass(next, pass.actions);
        drop(hold);
        if over {
            wait::wake();
        }
    }

    /// Runs the actions of a batch, with the seat unlocked.
    #[inline(always)]
    fn run_taken(&self, taken: usize, pass: &mut Pass) {
        for slot in self.batch.slots(taken) {
            if let Some(begun) = self.begin(slot, pass) {
                self.run(begun);
            }
        }
    }

    /// Begins the entry in a slot, if it still is to run: it is in the queue no more, and the pass has a
    /// reference to its object.
    #[inline(always)]
    fn begin(&self, slot: &Slot, pass: &mut Pass) -> Option<Begun<'_>> {
        let quiet = Quiet::new();
        let claimed = slot.claim(&quiet)?;
        // SAFETY: Invariant B3. Beyond the slot it is used only where it runs (invariant 4).
        let entry = unsafe { claimed.as_ref() };
        let word = entry.word().unmoved();
        entry.runner.store(pass.runner, Relaxed);
        if entry.exchange(word, word.begun()).is_err() {
            slot.unclaim(claimed);
            drop(quiet);
            self.put_off(slot);
            return None;
        }
        let kin: &Kin = &entry.kin;
        let (ops, object) = (&kin.ops, entry.object_by(&kin.ops));
        // SAFETY: Invariant B3: whoever drops the object waits.
        let got = unsafe { ops.get(object) };
        if !got {
            // The route is going.
            entry.change(Word::ended);
            pass.gone = pass.gone.wrapping_add(1);
        }
        entry.seat.store(ptr::null_mut(), Release);
        self.batch.leave(slot);
        drop(quiet);
        got.then_some(Begun {
            entry,
            kin,
            ops,
            object,
            due: due(word.stamp(), pass.timeout),
        })
    }

    /// Puts an entry in a slot, which was refreshed, back to its place.
    #[cold]
    fn put_off(&self, slot: &Slot) {
        let mut hold = self.lock();
        if let Some(entry) = slot.take_back() {
            // SAFETY: Its slot was emptied just now (invariants 2 and B2).
            let entry = unsafe { entry.as_ref() };
            hold.inner().order.place_moved(&self.heads, entry);
        }
    }

    /// Calls an entry's action, with the seat unlocked.
    #[inline(always)]
    fn run(&self, begun: Begun<'_>) {
        let Begun {
            entry, kin, ops, ..
        } = begun;
        kin.fired.fetch_add(1, Relaxed);
        // SAFETY: Invariant 4.
        unsafe {
            ops.run(
                entry.called_with(ops, begun.object),
                &Firing::begun(begun.due),
            )
        };
        let drained = entry.end();
        // From here on nothing is the client's code.
        grave::put_object(entry, ops, begun.object);
        if drained {
            wait::wake();
        }
    }
}

/// A reference to a seat's object.
pub(crate) struct KeptSeat {
    object: wheel::Kept,
    seat: NonNull<Seat>,
}

// SAFETY: A seat may be shared between threads, and so may the reference to its object.
unsafe impl Send for KeptSeat {}
// SAFETY: As above.
unsafe impl Sync for KeptSeat {}

impl KeptSeat {
    /// The thread that the actions wait for which [`Seat::kill`] was to run: it executes them, or the action
    /// that holds them up.
    pub(crate) fn runner(&self) -> Option<Runner> {
        // SAFETY: Invariant 6: the object that is kept is the seat's.
        let seat = unsafe { self.seat.as_ref() };
        let worker = || self.object.worker().map(Runner::of_task);
        seat.held_up_by().or_else(worker)
    }
}

impl Pass {
    fn new(place: Place) -> Self {
        Self {
            now: monotonic_ns(),
            timeout: Delta::ZERO,
            runner: match place {
                Place::Task => kernel::task::Task::current_raw() as usize,
                _ => 0,
            },
            actions: 0,
            gone: 0,
        }
    }

    /// When a pass that has used up its time goes on: at once. Who had most of the walk that began then comes after
    /// those that had none of it, for the wheel calls what is due in order.
    fn again(&self, began: i64) -> Instant {
        let had_most = self.now.saturating_sub(began) < Slice::LONGEST_NS / 2;
        if had_most {
            Instant::from_nanos(began)
        } else {
            Instant::BOOT
        }
    }
}

impl<'a> Hold<'a> {
    /// A seat whose lock was just taken.
    ///
    /// # Safety
    ///
    /// The caller has locked it, `flags` are what interrupts were like, and it stays while it is locked.
    pub(super) unsafe fn taken(seat: NonNull<Seat>, flags: c_ulong) -> Self {
        Self {
            // SAFETY: The contract of this function.
            seat: unsafe { seat.as_ref() },
            flags,
            _not_send: PhantomData,
        }
    }

    #[inline(always)]
    fn inner(&mut self) -> &mut Inner {
        // SAFETY: The lock is held, and this is the only reference while it is used (invariant 5).
        unsafe { &mut *self.seat.inner.get() }
    }

    pub(super) fn id(&self) -> u64 {
        self.seat.id
    }

    pub(super) fn timeout(&self) -> Delta {
        self.seat.timeout()
    }

    /// Sets the alarm.
    fn arm(&mut self, due: Instant) {
        if let Some(alarm) = self.inner().alarm {
            // SAFETY: Invariant 6.
            let _ = unsafe { alarm.as_ref() }.arm(due);
        }
    }

    /// Nothing is to be woken for.
    fn disarm(&mut self) {
        if let Some(alarm) = self.inner().alarm {
            // SAFETY: Invariant 6.
            let _ = unsafe { alarm.as_ref() }.stop();
        }
    }

    /// Links an entry whose seat this is.
    #[inline(always)]
    fn link(&mut self, entry: &Entry, now: u64) -> Added {
        let Some(new) = self.stamped(entry, now) else {
            entry.seat.store(ptr::null_mut(), Release);
            return Added::Refused(NotAdded::Removing);
        };
        self.list(entry, new);
        Added::New
    }

    /// Gives an entry the word of one that is added here now. `None`: somebody waits for its action to
    /// return, and nothing was changed.
    #[inline(always)]
    fn stamped(&mut self, entry: &Entry, now: u64) -> Option<Word> {
        let now = now.max(self.inner().newest);
        let mut old = Word::from_bits(entry.word.load(Relaxed));
        while !old.is_draining() {
            let new = old.linked(now);
            match entry.exchange(old, new) {
                Ok(()) => return Some(new),
                Err(now) => old = now,
            }
        }
        None
    }

    /// Puts an entry at the end of the list.
    #[inline(always)]
    fn list(&mut self, entry: &Entry, new: Word) {
        let seat = self.seat;
        let inner = self.inner();
        inner.newest = new.stamp();
        inner.order.push(&seat.heads, entry);
        inner.counts.added = inner.counts.added.wrapping_add(1);
        inner.counts.count = inner.counts.count.wrapping_add(1);
        if inner.counts.count == 1 && !inner.walking {
            self.arm(due(new.stamp(), seat.timeout()));
        }
    }

    /// Adds an entry that is in another queue: with both locked, so that nobody finds it in neither, and an
    /// add that is refused leaves it where it is. `None`: that queue is locked; no answer: it is there no
    /// more.
    #[cold]
    fn take_from(&mut self, entry: &Entry, there: *mut Seat, now: u64) -> Option<Option<Added>> {
        let mut flags = 0;
        // SAFETY: Invariant 3: interrupts are off, as this seat is locked. A lock that is only tried is
        // not waited for.
        let got = unsafe { b::softclock_raw_trylock_irqsave((*there).lock.get(), &mut flags) };
        if !got {
            return None;
        }
        // SAFETY: It was locked just now.
        let mut other = unsafe { Hold::taken(NonNull::new_unchecked(there), flags) };
        if entry.seat.load(Relaxed) != there {
            return Some(None);
        }
        let caught = other.catch(entry);
        if caught == Caught::Begun {
            return Some(None);
        }
        // Nobody waits for one that was taken: no busy one is.
        let Some(new) = self.stamped(entry, now) else {
            return Some(Some(Added::Refused(NotAdded::Removing)));
        };
        other.off(entry, caught);
        let counts = &mut other.inner().counts;
        counts.replaced = counts.replaced.wrapping_add(1);
        // Invariant 2.
        entry
            .seat
            .store(ptr::from_ref(self.seat).cast_mut(), Release);
        self.list(entry, new);
        Some(Some(Added::Moved))
    }

    /// Removes an entry of this seat. `false`: it has begun.
    #[inline(always)]
    pub(super) fn remove(&mut self, entry: &Entry) -> bool {
        let caught = self.catch(entry);
        if caught == Caught::Begun {
            return false;
        }
        entry.change(Word::unlinked);
        self.off(entry, caught);
        let counts = &mut self.inner().counts;
        counts.removed = counts.removed.wrapping_add(1);
        // Invariant 2: last.
        entry.seat.store(ptr::null_mut(), Release);
        true
    }

    /// Finds an entry whose seat was this when it was locked, and takes it out of its slot.
    #[inline(always)]
    fn catch(&mut self, entry: &Entry) -> Caught {
        let taken = self.inner().taken;
        if taken == 0 {
            return Caught::Listed;
        }
        self.catch_among(taken, entry)
    }

    #[cold]
    #[inline(never)]
    fn catch_among(&self, taken: usize, entry: &Entry) -> Caught {
        if self.seat.batch.catch(taken, entry) {
            return Caught::Taken;
        }
        // Acquire: the slot was left after the seat was.
        if ptr::eq(entry.seat.load(Acquire), self.seat) {
            Caught::Listed
        } else {
            Caught::Begun
        }
    }

    /// Takes all back that has not begun.
    fn recall(&mut self) {
        let seat = self.seat;
        let taken = self.inner().taken;
        for slot in seat.batch.slots(taken).iter().rev() {
            if let Some(entry) = slot.take_back() {
                // SAFETY: Its slot was emptied just now (invariants 2 and B2).
                let entry = unsafe { entry.as_ref() };
                self.inner().order.push_front(&seat.heads, entry);
            }
        }
    }

    /// Counts what has become of the batch, which is gone through.
    #[inline(always)]
    fn settle(&mut self, pass: &mut Pass) {
        let begun = self.seat.batch.settle();
        let gone = core::mem::take(&mut pass.gone);
        let inner = self.inner();
        inner.taken = 0;
        let counts = &mut inner.counts;
        let ran = begun.wrapping_sub(gone);
        pass.actions = pass.actions.wrapping_add(ran);
        counts.count = counts.count.wrapping_sub(begun);
        counts.fired = counts.fired.wrapping_add(ran);
        counts.removed = counts.removed.wrapping_add(gone);
    }

    /// Takes an entry out of the queue, whose word is as it is to be.
    #[inline(always)]
    fn off(&mut self, entry: &Entry, caught: Caught) {
        if caught == Caught::Listed {
            order::unlink(entry);
        }
        let inner = self.inner();
        inner.counts.count = inner.counts.count.wrapping_sub(1);
        if inner.counts.count == 0 && !inner.walking && !inner.flush {
            self.disarm();
        }
    }

    /// When the first entry is due, as far as that is known without a pass.
    fn next_due(&mut self) -> Instant {
        let seat = self.seat;
        match self.inner().order.first(&seat.heads) {
            // SAFETY: It is on a list of this seat (invariant 2).
            First::Entry(entry) => due(unsafe { entry.as_ref() }.word().stamp(), seat.timeout()),
            // A pass finds out.
            First::Pause => Instant::BOOT,
            First::Empty => Instant::NEVER,
        }
    }

    fn begin_pass(&mut self, pass: &Pass) {
        let inner = self.inner();
        inner.walking = true;
        inner.runner = pass.runner;
        // What is added from here on is due after `now`, whatever the timeout: for another pass.
        inner.newest = inner.newest.max((pass.now as u64).saturating_add(1));
        inner.counts.wakes = inner.counts.wakes.wrapping_add(1);
    }

    /// Ends a pass; says whether somebody may wait for that.
    fn end_pass(&mut self, next: Option<Instant>, actions: u64) -> bool {
        let inner = self.inner();
        inner.walking = false;
        inner.runner = 0;
        inner.counts.batch_max = inner.counts.batch_max.max(actions);
        let (dead, flush) = (inner.dead, inner.flush);
        match next {
            Some(due) if !dead || flush => self.arm(due),
            _ => {}
        }
        flush
    }

    /// Takes the first entries, at most `most`, as far as they are due at `now`.
    #[inline(always)]
    fn take(&mut self, now: i64, most: usize) -> Take {
        let mut taken = 0;
        let stop = self.take_into(now, most, &mut taken);
        self.inner().taken = taken;
        if taken > 0 {
            Take::Some(taken)
        } else {
            stop
        }
    }

    /// Fills slots; says why no more of them.
    #[inline(always)]
    fn take_into(&mut self, now: i64, most: usize, taken: &mut usize) -> Take {
        let seat = self.seat;
        let timeout = seat.timeout();
        let flush = self.inner().flush;
        if self.inner().dead && !flush {
            return Take::Empty;
        }
        let last = if flush {
            Some(u64::MAX)
        } else {
            last_due(now, timeout)
        };
        let slots = seat.batch.slots(most);
        if let Some(last) = last {
            // As a rule these are all there are.
            let order = &mut self.inner().order;
            *taken = order.shift_into(&seat.heads, slots, |word| word.is_ripe(last));
        }
        for _ in 0..MOST_AT_ONCE {
            let Some(slot) = slots.get(*taken) else {
                break;
            };
            let first = match self.inner().order.first(&seat.heads) {
                First::Entry(first) => first,
                First::Pause => break,
                First::Empty => return Take::Empty,
            };
            // SAFETY: It is on a list of this seat (invariant 2).
            let entry = unsafe { first.as_ref() };
            let word = entry.word();
            let due = due(word.stamp(), timeout);
            if due.as_nanos() > now && !flush {
                return Take::Wait(due);
            }
            if word.is_busy() {
                if flush {
                    let held_up = &mut self.inner().held_up;
                    *held_up = held_up.wrapping_add(1);
                    return Take::Wait(Instant::from_nanos(now.saturating_add(RETRY_NS)));
                }
                self.postpone(entry, now);
            } else if !word.is_moved() {
                order::unlink(entry);
                // Invariant B1.
                slot.take(first);
                *taken = taken.wrapping_add(1);
            }
        }
        Take::Pause
    }

    /// Has an entry looked at again that is busy, for another queue.
    #[cold]
    fn postpone(&mut self, entry: &Entry, now: i64) {
        let seat = self.seat;
        let later = now
            .saturating_sub(seat.timeout().as_nanos())
            .saturating_add(RETRY_NS)
            .max(0) as u64;
        let stamp = entry.change(|word| word.postponed(later));
        order::unlink(entry);
        let stamp = stamp.postponed(later).stamp();
        self.inner().order.place(&seat.heads, entry, stamp);
    }
}

impl Drop for Hold<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: The lock is held, and `flags` came from taking it.
        unsafe { raw::unlock_irqrestore(self.seat.lock.get(), self.flags) }
    }
}
