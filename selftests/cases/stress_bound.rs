// SPDX-License-Identifier: GPL-2.0

//! Callouts bound to a lock, as the stress operates on them.
//!
//! Everything is booked under that lock, so nothing is left to guess: a run takes the one arm that the book
//! has open, and where a stop under the lock has closed it, none comes.

use crate::{journal::Journal, Any, Clock, Random};
use core::{any::TypeId, marker::PhantomData};
use kernel::{
    cpu::nr_cpu_ids,
    new_mutex,
    sync::lock::{mutex::MutexBackend, Backend, Guard, Lock},
    time::delay::fsleep,
};
use softclock::{
    internal::Calls,
    locked::{HardBackend, LocksIn, ReadBackend, SoftBackend, SoftRwBackend, TaskRwBackend},
    new_hard_lock, new_soft_lock, new_soft_rw_lock, new_task_rw_lock,
    prelude::*,
    Exclusive, Kind, Mode, Unlocked,
};

/// What the lock of a callout protects. Readers write, too: one at a time, for it is one callout's.
pub(crate) struct Book {
    /// An arm that has neither run nor been cancelled, and its deadline.
    open: Atomic<bool>,
    due_ns: Atomic<i64>,
    new: Atomic<u64>,
    runs: Atomic<u64>,
    closed: Atomic<u64>,
    /// The end of a run is to be reported.
    unreported: Atomic<bool>,
}

impl Book {
    const fn new() -> Self {
        Self {
            open: Atomic::new(false),
            due_ns: Atomic::new(0),
            new: Atomic::new(0),
            runs: Atomic::new(0),
            closed: Atomic::new(0),
            unreported: Atomic::new(false),
        }
    }

    fn is_open(&self) -> bool {
        self.open.load(Relaxed)
    }

    /// A run begins; says whether it is early, and whether it ought not to be.
    fn has_run(&self, began: Instant) -> (bool, bool) {
        let stray = !self.is_open();
        let early = began.as_nanos() < self.due_ns.load(Relaxed);
        self.open.store(false, Relaxed);
        self.runs.fetch_add(1, Relaxed);
        (early && !stray, stray)
    }

    fn armed(&self, due: Instant) {
        self.new.fetch_add(u64::from(!self.is_open()), Relaxed);
        self.due_ns.store(due.as_nanos(), Relaxed);
        self.open.store(true, Relaxed);
    }

    /// What was open will not run.
    fn close(&self) -> bool {
        let open = self.is_open();
        self.closed.fetch_add(u64::from(open), Relaxed);
        self.open.store(false, Relaxed);
        open
    }

    /// Each arm has run or was cancelled.
    fn adds_up(&self) -> bool {
        let ended = self.runs.load(Relaxed) + self.closed.load(Relaxed);
        !self.is_open() && self.new.load(Relaxed) == ended
    }
}

/// Makes the lock of a book: each sort has a class of its own.
pub(crate) trait Make: Backend + Sized + 'static {
    fn make() -> impl PinInit<Lock<Book, Self>>;
}

impl Make for SoftBackend {
    fn make() -> impl PinInit<Lock<Book, Self>> {
        new_soft_lock!(Book::new())
    }
}

impl Make for HardBackend {
    fn make() -> impl PinInit<Lock<Book, Self>> {
        new_hard_lock!(Book::new())
    }
}

impl Make for SoftRwBackend {
    fn make() -> impl PinInit<Lock<Book, Self>> {
        new_soft_rw_lock!(Book::new())
    }
}

impl Make for TaskRwBackend {
    fn make() -> impl PinInit<Lock<Book, Self>> {
        new_task_rw_lock!(Book::new())
    }
}

impl Make for MutexBackend {
    fn make() -> impl PinInit<Lock<Book, Self>> {
        new_mutex!(Book::new())
    }
}

/// How an expiry comes by its lock, and when its callback gives it back.
pub(crate) trait Manner: Send + Sync + 'static {
    const TRY: bool = false;
    const UNLOCKS: bool = false;
}

/// It waits for the lock, and has it to the end.
pub(crate) struct Waiting;
/// It tries the lock, again and again.
pub(crate) struct Trying;
/// It waits for the lock, and gives it back before it is over.
pub(crate) struct Unlocking;

impl Manner for Waiting {}
impl Manner for Trying {
    const TRY: bool = true;
}
impl Manner for Unlocking {
    const UNLOCKS: bool = true;
}

/// A kind of callout and its lock.
pub(crate) trait Flavour: Send + Sync + 'static {
    type Kind: Unlocked;
    type Mode: Mode;
    type Backend: Make + LocksIn<<Self::Kind as Kind>::Context>;
    type Manner: Manner;
}

/// The callback has the lock for itself.
pub(crate) struct Writer<K, B, M>(PhantomData<fn(K, B, M)>);
/// The callback has it beside others.
pub(crate) struct Reader<K, B, M>(PhantomData<fn(K, B, M)>);

impl<K: Unlocked, B: Make + LocksIn<K::Context>, M: Manner> Flavour for Writer<K, B, M> {
    type Kind = K;
    type Mode = Exclusive;
    type Backend = B;
    type Manner = M;
}

impl<K: Unlocked, B: Make + ReadBackend + LocksIn<K::Context>, M: Manner> Flavour
    for Reader<K, B, M>
{
    type Kind = K;
    type Mode = Shared;
    type Backend = B;
    type Manner = M;
}

type Bound<F> = Locked<<F as Flavour>::Kind, <F as Flavour>::Mode>;
type Held<'a, F> = Guard<'a, Book, <F as Flavour>::Backend>;

/// An object under stress.
#[pin_data]
pub(crate) struct Stressed<F: Flavour> {
    #[pin]
    timer: Callout<Self, Bound<F>>,
    #[pin]
    book: Lock<Book, F::Backend>,
    journal: Arc<Journal>,
    tag: u64,
}

impl_has_callout! { impl {F: Flavour} HasCallout<Bound<F>> for Stressed<F> { self.timer } }

impl<F: Flavour> HasLock<Bound<F>> for Stressed<F> {
    type Data = Book;
    type Backend = F::Backend;
    const TRY: bool = F::Manner::TRY;

    fn lock(&self) -> &Lock<Book, F::Backend> {
        &self.book
    }
}

impl<F: Flavour<Mode = Exclusive>> OnExpireLocked<Bound<F>> for Stressed<F> {
    fn expire(
        this: ArcBorrow<'_, Timed<Self>>,
        guard: Guard<'_, Book, F::Backend>,
        run: &Expiry<'_, <F::Kind as Kind>::Context>,
    ) -> Next {
        this.runs(guard, run.began())
    }

    fn drained(this: ArcBorrow<'_, Timed<Self>>) {
        this.reported();
    }
}

impl<F: Flavour<Mode = Shared, Backend: ReadBackend>> OnExpireShared<Bound<F>> for Stressed<F> {
    fn expire(
        this: ArcBorrow<'_, Timed<Self>>,
        guard: ReadGuard<'_, Book, F::Backend>,
        run: &Expiry<'_, <F::Kind as Kind>::Context>,
    ) -> Next {
        this.runs(guard, run.began())
    }

    fn drained(this: ArcBorrow<'_, Timed<Self>>) {
        this.reported();
    }
}

/// The callback may sleep.
fn may_sleep<F: Flavour>() -> bool {
    TypeId::of::<<F::Kind as Kind>::Context>() == TypeId::of::<Task>()
}

impl<F: Flavour> Stressed<F> {
    /// The callback.
    fn runs(&self, guard: impl core::ops::Deref<Target = Book>, began: Instant) -> Next {
        let (early, stray) = guard.has_run(began);
        let kept = (!F::Manner::UNLOCKS).then_some(guard);
        let at = self.journal.time(began);
        self.journal.write(self.tag, "run", at, |sums| {
            sums.runs += 1;
            sums.early += u64::from(early);
            sums.late += u64::from(stray);
        });
        // Long enough to be met by what others do; where time is simulated, nobody else is there.
        if may_sleep::<F>() && nr_cpu_ids() > 1 {
            fsleep(kernel::time::Delta::from_micros(200));
        }
        drop(kept);
        Next::Stop
    }

    fn reported(&self) {
        self.book.lock().unreported.store(false, Relaxed);
        self.journal
            .write(self.tag, "drained", 0, |sums| sums.drained += 1);
    }

    /// Counts something that must not be.
    fn wrong(&self, what: &str) {
        pr_info!("wrong: locked callout {}: {}\n", self.tag, what);
        self.journal
            .write(self.tag, "wrong", 0, |sums| sums.wrong += 1);
    }
}

type Object<F> = Arc<Timed<Stressed<F>>>;

/// An object of a flavour.
pub(crate) fn made<F: Flavour>(tag: u64, journal: Arc<Journal>) -> Result<KBox<dyn Any>>
where
    Bound<F>: Calls<Stressed<F>>,
{
    let object: Object<F> = Timed::new(try_pin_init!(Stressed::<F> {
        timer <- Callout::new(softclock::owner!(), c"bound"),
        book <- F::Backend::make(),
        journal,
        tag,
    }))?;
    Ok(KBox::new(object, GFP_KERNEL)?)
}

/// An arm under the lock.
fn arm<F: Flavour>(object: &Object<F>, guard: &Held<'_, F>, due: Instant, plan: Plan) {
    let open = guard.is_open();
    let answer = object.callout::<Bound<F>>().arm(plan, guard);
    let (name, right) = match answer {
        Arm::New => ("new", !open),
        Arm::Replaced => ("replaced", open),
        Arm::Refused(Refusal::NoCpu) => ("nocpu", true),
        Arm::Refused(_) => ("refused", !open),
    };
    let armed = matches!(answer, Arm::New | Arm::Replaced);
    if armed {
        guard.armed(due);
    }
    let value = if armed { object.journal.time(due) } else { 0 };
    object.journal.write(object.tag, name, value, |sums| {
        sums.new += u64::from(answer == Arm::New);
    });
    if !right {
        object.wrong(name);
    }
}

/// A stop under the lock, of one sort or the other: whatever it answers, nothing runs after it.
fn stop<F: Flavour>(object: &Object<F>, guard: &Held<'_, F>, asynchronous: bool) {
    let answer = match asynchronous {
        true => object.timer.drain_async(),
        false => object.callout::<Bound<F>>().stop(guard),
    };
    let open = guard.close();
    let (name, right) = match answer {
        Stop::Cancelled => ("cancelled", open),
        Stop::Running => ("running", true),
        Stop::Idle => ("idle", !open),
    };
    // Nobody has reported it yet: that takes the lock.
    let asked = asynchronous && answer == Stop::Running;
    if asked {
        guard.unreported.store(true, Relaxed);
    }
    object
        .journal
        .write(object.tag, name, i64::from(asynchronous), |sums| {
            sums.cancelled += u64::from(answer == Stop::Cancelled);
            sums.dropped += u64::from(answer == Stop::Running && open);
            sums.asked += u64::from(asked);
        });
    if !right {
        object.wrong(name);
    }
}

/// What a drain or shutdown answered, which knew nothing of the lock.
fn drained<F: Flavour>(object: &Object<F>, answer: core::result::Result<Drain, CannotWait>) {
    let open = object.book.lock().close();
    let (name, right) = match answer {
        Ok(Drain::Cancelled) => ("drain-cancelled", open),
        Ok(Drain::Finished) => ("drain-finished", true),
        Ok(Drain::Idle) => ("drain-idle", !open),
        Err(_) => ("drain-refused", false),
    };
    object.journal.write(object.tag, name, 0, |sums| {
        sums.cancelled += u64::from(answer == Ok(Drain::Cancelled));
        sums.dropped += u64::from(answer == Ok(Drain::Finished) && open);
    });
    if !right {
        object.wrong(name);
    }
}

/// Lets a deadline pass under the lock, and then takes it back, or moves it.
fn meet<F: Flavour>(object: &Object<F>, random: &mut Random, clock: &mut Clock) {
    let due = clock
        .after(Delta::from_micros(i64::from(random.below(64))))
        .0;
    let (steps, moves) = (1 + random.below(8), random.below(2) == 0);
    let later = random.delay();
    let guard = object.book.lock();
    arm(object, &guard, due, Plan::at(due));
    if may_sleep::<F>() {
        // The expiry comes meanwhile, also where there is one CPU.
        let slept = clock.rest(steps * 16);
        if slept.is_err() {
            object.wrong("no memory");
        }
    } else {
        clock.stay(steps);
    }
    if moves {
        let due = clock.after(later).0;
        arm(object, &guard, due, Plan::at(due));
    } else {
        stop(object, &guard, false);
    }
}

impl<F: Flavour> Any for Object<F> {
    fn operate(&self, operation: u32, random: &mut Random, clock: &mut Clock, task: &Task) {
        match operation {
            0..=3 => {
                let due = clock.after(random.delay()).0;
                let mut plan = Plan::at(due);
                // When a timer of the kernel goes off within its window depends on all others there are.
                if operation == 2 && !clock.simulated {
                    plan = plan.within(random.window());
                }
                if operation == 3 {
                    plan = plan.on(random.below(nr_cpu_ids() + 1));
                }
                arm(self, &self.book.lock(), due, plan);
            }
            4 => stop(self, &self.book.lock(), true),
            5 | 6 => meet(self, random, clock),
            _ if random.below(2) == 0 => stop(self, &self.book.lock(), false),
            _ => drained(self, self.timer.drain(task)),
        }
    }

    fn finish(&self, task: &Task) {
        drained(self, self.timer.shutdown(task));
        // A report comes right after the end of its run.
        let mut patience = 10_000;
        while self.book.lock().unreported.load(Relaxed) && patience > 0 {
            fsleep(kernel::time::Delta::from_millis(1));
            patience -= 1;
        }
        let guard = self.book.lock();
        let whole = guard.adds_up() && !guard.unreported.load(Relaxed);
        let plan = Plan::at(Instant::BOOT);
        let refused = self.callout::<Bound<F>>().arm(plan, &guard);
        drop(guard);
        if !whole || refused != Arm::Refused(Refusal::Shutdown) {
            self.wrong("does not add up");
        }
        self.journal.write(self.tag, "over", 0, |_| {});
    }
}
