// SPDX-License-Identifier: GPL-2.0

//! Callouts bound to a lock whose object goes: in the callback itself, and while the expiry waits for the lock.

use crate::{
    harness::{check, Case, Fault, Verdict},
    lock_cases::{elsewhere, flavours, identity, Bound, Flavour, Make},
    subject::{is_atomic, pause_us, sleep_ms, sleep_until, spin_until},
};
use kernel::{
    cpu::{nr_cpu_ids, CpuId},
    sync::lock::{mutex::MutexBackend, Guard, Lock},
};
use softclock::{
    locked::{HardBackend, SoftBackend, SoftRwBackend, TaskRwBackend},
    new_hard_lock,
    prelude::*,
    Kind,
};

pub(crate) const CASES: &[&[Case]] = &[
    &flavours!(
        "callout-37 RETURNUNLOCKED: a callback gives its lock back, and then the last reference to its object",
        gives_all_back
    ),
    &flavours!(
        "callout-37 RETURNUNLOCKED: the other way round, so that the lock outlives its last reference",
        gives_all_back_under_lock
    ),
    &flavours!(
        "callout-38 dropped under the lock that the expiry waits for: no deadlock, no run, dies in a task",
        drop_waiting
    ),
    &flavours!(
        "callout-38 a box dropped under the lock that the expiry waits for: no deadlock, no run, dies in a task",
        drop_box_waiting
    ),
];

/// What is left of an object, and the lock it is bound to.
#[pin_data]
struct Common<F: Flavour> {
    #[pin]
    lock: Lock<u64, F::Backend>,
    /// Who holds the lock in the test, and how often anybody else has asked for it.
    holder: Atomic<u64>,
    asked: Atomic<u64>,
    runs: Atomic<u64>,
    ended: Atomic<u64>,
    dropped: Atomic<u64>,
    dropped_in_run: Atomic<u64>,
    dropped_in_task: Atomic<u64>,
}

/// An object that goes.
#[pin_data(PinnedDrop)]
struct Mortal<F: Flavour> {
    #[pin]
    timer: Callout<Self, Locked<F::Kind>>,
    common: CommonOf<F>,
    /// The lock is given back first.
    unlocks: bool,
    #[pin]
    me: HardLock<Option<MortalOf<F>>>,
}

type CommonOf<F> = Arc<Common<F>>;
type MortalOf<F> = Arc<Timed<Mortal<F>>>;

impl_has_callout! { impl {F: Flavour} HasCallout<Locked<F::Kind>> for Mortal<F> { self.timer } }

impl<F: Flavour> HasLock<Locked<F::Kind>> for Mortal<F> {
    type Data = u64;
    type Backend = F::Backend;
    const TRY: bool = F::TRY;

    fn lock(&self) -> &Lock<u64, F::Backend> {
        let holder = self.common.holder.load(Acquire);
        if holder != 0 && holder != identity() {
            self.common.asked.fetch_add(1, Release);
        }
        &self.common.lock
    }
}

impl<F: Flavour> OnExpireLocked<Locked<F::Kind>> for Mortal<F> {
    fn expire(
        this: ArcBorrow<'_, Timed<Self>>,
        guard: Guard<'_, u64, F::Backend>,
        _run: &Expiry<'_, <F::Kind as Kind>::Context>,
    ) -> Next {
        this.common.runs.fetch_add(1, Release);
        let me = this.me.lock().take();
        if this.unlocks {
            drop(guard);
            drop(me);
        } else {
            drop(me);
            drop(guard);
        }
        // Whoever takes it for dead now is found out.
        pause_us(100);
        this.common.ended.fetch_add(1, Release);
        Next::After(Delta::ZERO)
    }
}

#[pinned_drop]
impl<F: Flavour> PinnedDrop for Mortal<F> {
    fn drop(self: Pin<&mut Self>) {
        let common = &self.common;
        let inside = common.runs.load(Acquire) != common.ended.load(Acquire);
        common.dropped_in_run.fetch_add(u64::from(inside), Relaxed);
        let task = Task::new().is_ok();
        common.dropped_in_task.fetch_add(u64::from(task), Relaxed);
        common.dropped.fetch_add(1, Release);
    }
}

impl<F: Flavour> Common<F> {
    fn new() -> Result<CommonOf<F>> {
        Arc::pin_init(
            pin_init!(Self {
                lock <- F::Backend::make(),
                holder: Atomic::new(0),
                asked: Atomic::new(0),
                runs: Atomic::new(0),
                ended: Atomic::new(0),
                dropped: Atomic::new(0),
                dropped_in_run: Atomic::new(0),
                dropped_in_task: Atomic::new(0),
            }),
            GFP_KERNEL,
        )
    }

    fn is_asked_for(&self) -> bool {
        self.asked.load(Acquire) > 0
    }

    /// The object dies, once, in a task, and has run so often.
    fn dies_after(&self, runs: u64) -> Verdict {
        // As long as the slowest guest may need: late is not lost.
        check!(sleep_until(20_000, || self.dropped.load(Acquire) > 0));
        sleep_ms(5);
        check!(self.dropped.load(Acquire) == 1);
        check!(self.dropped_in_run.load(Relaxed) == 0);
        check!(self.dropped_in_task.load(Relaxed) == 1);
        check!(self.runs.load(Acquire) == runs);
        check!(self.ended.load(Acquire) == runs);
        Ok(())
    }
}

impl<F: Flavour> Mortal<F> {
    fn init(common: &CommonOf<F>, unlocks: bool) -> impl PinInit<Self, Error> {
        let common = common.clone();
        try_pin_init!(Self {
            timer <- Callout::new(softclock::owner!(), c"mortal"),
            common,
            unlocks,
            me <- new_hard_lock!(None),
        })
    }
}

fn gives_all_back<F: Flavour>(_: &Task) -> Verdict {
    gives_back::<F>(true)
}

fn gives_all_back_under_lock<F: Flavour>(_: &Task) -> Verdict {
    gives_back::<F>(false)
}

fn gives_back<F: Flavour>(unlocks: bool) -> Verdict {
    for _ in 0..10 {
        let common = Common::<F>::new()?;
        let object = Timed::new(Mortal::init(&common, unlocks))?;
        let me = object.clone();
        *object.me.lock() = Some(me);
        // Until this one is gone nothing comes.
        let guard = common.lock.lock();
        let callout = object.callout::<Locked<F::Kind>>();
        check!(callout.arm_after(Delta::from_micros(100), &guard) == Arm::New);
        drop(object);
        drop(guard);
        // What it returns would make it run again.
        common.dies_after(1)?;
    }
    Ok(())
}

/// Whoever owns an object.
enum Owner<F: Flavour> {
    Shared(MortalOf<F>),
    Boxed(TimedBox<Mortal<F>>),
}

impl<F: Flavour> Owner<F> {
    fn new(common: &CommonOf<F>, boxed: bool) -> Result<Self> {
        let init = Mortal::init(common, true);
        Ok(match boxed {
            true => Self::Boxed(TimedBox::new(init)?),
            false => Self::Shared(Timed::new(init)?),
        })
    }

    /// A millisecond later.
    fn arm(&self, guard: &Guard<'_, u64, F::Backend>) -> Arm {
        let after = Delta::from_millis(1);
        match self {
            Self::Shared(object) => object.callout::<Locked<F::Kind>>().arm_after(after, guard),
            Self::Boxed(object) => object.callout::<Locked<F::Kind>>().arm_after(after, guard),
        }
    }
}

/// Where an owner waits to be dropped.
#[pin_data]
struct Slot<F: Flavour> {
    #[pin]
    owner: HardLock<Option<Owner<F>>>,
    common: CommonOf<F>,
    armed: Atomic<u64>,
}

impl<F: Flavour> Slot<F> {
    fn new(boxed: bool) -> Result<Arc<Self>> {
        let common = Common::new()?;
        let owner = Owner::new(&common, boxed)?;
        Arc::pin_init(
            pin_init!(Self {
                owner <- new_hard_lock!(Some(owner)),
                common,
                armed: Atomic::new(0),
            }),
            GFP_KERNEL,
        )
    }

    fn arm(&self) {
        let guard = self.common.lock.lock();
        let owner = self.owner.lock();
        let arm = owner.as_ref().map(|owner| owner.arm(&guard));
        drop(owner);
        drop(guard);
        let new = u64::from(arm == Some(Arm::New));
        self.armed.fetch_add(new, Release);
    }

    /// Arms it from `cpu`, where that matters: there it expires.
    fn arm_from(this: &Arc<Self>, cpu: Option<u32>) -> Result<bool> {
        let armed = || this.armed.load(Acquire) == 1;
        let Some(cpu) = cpu else {
            this.arm();
            return Ok(armed());
        };
        let slot = this.clone();
        let agent = Closure::<Soft>::new(softclock::owner!(), c"agent", move |_run| {
            slot.arm();
            Next::Stop
        })?;
        agent.callout().arm(Plan::after(Delta::ZERO).on(cpu));
        Ok(spin_until(5_000_000, armed) || sleep_until(500, armed))
    }

    fn take(&self) -> Option<Owner<F>> {
        self.owner.lock().take()
    }
}

fn drop_waiting<F: Flavour>(_: &Task) -> Verdict {
    dropped_waiting::<F>(false)
}

fn drop_box_waiting<F: Flavour>(_: &Task) -> Verdict {
    dropped_waiting::<F>(true)
}

/// Drops the owner while the expiry waits for the lock, which this thread has.
fn dropped_waiting<F: Flavour>(boxed: bool) -> Verdict {
    if is_atomic::<F::Kind>() && nr_cpu_ids() < 2 {
        return Err(Fault::Skip("needs two CPUs"));
    }
    let mut met = 0;
    for _ in 0..200 {
        let cpu = elsewhere::<F>();
        let slot = Slot::<F>::new(boxed)?;
        if !Slot::arm_from(&slot, cpu)? {
            continue;
        }
        let common = slot.common.clone();
        let guard = common.lock.lock();
        common.holder.store(identity(), Release);
        if common.runs.load(Acquire) > 0 || cpu == Some(CpuId::current().as_u32()) {
            continue;
        }
        let asked = || common.is_asked_for();
        let waits = match is_atomic::<F::Kind>() {
            true => spin_until(50_000_000, asked),
            false => sleep_until(500, asked),
        };
        let runs = common.runs.load(Acquire);
        drop(slot.take());
        let gone = common.dropped.load(Acquire);
        drop(guard);
        if !waits || runs > 0 {
            continue;
        }
        // The expiry has it until it has had the lock.
        check!(gone == 0);
        common.dies_after(0)?;
        met += 1;
        if met == 5 {
            return Ok(());
        }
    }
    if met > 0 {
        return Ok(());
    }
    Err(Fault::Skip(
        "no expiry ever came while this thread held the lock",
    ))
}
