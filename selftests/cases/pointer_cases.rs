// SPDX-License-Identifier: GPL-2.0

//! Objects with one owner: boxes and statics.
//!
//! Faults: a drop that returns in the middle of a run although it could wait, or waits where nobody
//! may; a callout of the object that goes on after its owner; an object that is freed under its own
//! callback, twice, or never; a static that can be filled twice, or not again.

use crate::{
    harness::{all, check, in_time, Case, Fault, Verdict},
    subject::{is_atomic, other_cpu, pause_us, sleep_ms, sleep_until, spin_until},
};
use kernel::cpu::CpuId;
use softclock::{new_hard_lock, prelude::*, Unlocked};

pub(crate) const CASES: &[&[Case]] = &[
    &all!(
        "a box dropped in a task waits for the run, and none follows",
        box_waits
    ),
    &all!(
        "a box dropped in the own callback outlives the run and dies in a task",
        box_own
    ),
    &all!(
        "a box dropped in a softirq waits for nothing, and outlives the run",
        box_atomic
    ),
    &all!(
        "a box that was never armed dies where it is dropped",
        box_unused
    ),
    &all!(
        "all callouts of a box are shut down, and who kept it in a callback keeps it alive",
        box_kept
    ),
    &[
        Case {
            name: "a box whose object cannot be made is none",
            run: box_failing,
        },
        Case {
            name: "a static is found while its guard is there, and can be filled again",
            run: static_comes_and_goes,
        },
        Case {
            name: "a static that is taken is EBUSY, and stays what it was",
            run: static_taken,
        },
        Case {
            name: "a static whose object cannot be made is empty",
            run: static_failing,
        },
        Case {
            name: "who got the object of a static keeps it alive, without callouts",
            run: static_kept,
        },
        Case {
            name: "the guard of a static dropped in a callback of the object",
            run: static_own,
        },
        Case {
            name: "a static is looked up while it comes and goes",
            run: static_raced,
        },
    ],
];

/// What the callback does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    Nothing,
    /// Stay for a while.
    Stay,
    /// Drop the owner in `owner`.
    DropOwner,
    /// Keep a reference, in `kept`.
    Keep,
}

/// Who owns a [`Triple`].
enum Owner<K: Unlocked> {
    Box(#[expect(dead_code, reason = "it is there to be dropped")] TimedBox<Triple<K>>),
    Static(#[expect(dead_code, reason = "as above")] TimedStaticGuard<Triple<K>>),
}

/// What is seen of an object, outside of it.
#[pin_data]
struct Probe<K: Unlocked> {
    begun: Atomic<u64>,
    ended: Atomic<u64>,
    /// Nothing may begin any more.
    over: Atomic<bool>,
    late: Atomic<u64>,
    dropped: Atomic<u64>,
    dropped_in_task: Atomic<u64>,
    dropped_in_run: Atomic<u64>,
    #[pin]
    owner: HardLock<Option<Owner<K>>>,
    #[pin]
    kept: HardLock<Option<Arc<Timed<Triple<K>>>>>,
}

impl<K: Unlocked> Probe<K> {
    fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                begun: Atomic::new(0),
                ended: Atomic::new(0),
                over: Atomic::new(false),
                late: Atomic::new(0),
                dropped: Atomic::new(0),
                dropped_in_task: Atomic::new(0),
                dropped_in_run: Atomic::new(0),
                owner <- new_hard_lock!(None),
                kept <- new_hard_lock!(None),
            }),
            GFP_KERNEL,
        )
    }

    fn is_running(&self) -> bool {
        // In this order: a run that ends in between is none.
        let begun = self.begun.load(Acquire);
        begun != self.ended.load(Acquire)
    }

    /// Whether the object died once, in a task, and not in the middle of a run.
    fn died_well(&self) -> bool {
        sleep_until(2_000, || self.dropped.load(Acquire) == 1)
            && self.dropped_in_task.load(Acquire) == 1
            && self.dropped_in_run.load(Acquire) == 0
    }
}

/// An object with three callouts; the second starts the first, from the CPU it is on.
#[pin_data(PinnedDrop)]
struct Triple<K: Unlocked> {
    #[pin]
    main: Callout<Self, Nth<K, 1>>,
    #[pin]
    starter: Callout<Self, Nth<Soft, 2>>,
    #[pin]
    other: Callout<Self, Nth<Task, 3>>,
    act: Act,
    probe: Arc<Probe<K>>,
}

impl_has_callout! {
    impl {K: Unlocked} HasCallout<Nth<K, 1>> for Triple<K> { self.main }
    impl {K: Unlocked} HasCallout<Nth<Soft, 2>> for Triple<K> { self.starter }
    impl {K: Unlocked} HasCallout<Nth<Task, 3>> for Triple<K> { self.other }
}

/// How long a callback stays: longer than a drop that does not wait takes, in a slow guest too.
const STAY_MS: i64 = 10;

impl<K: Unlocked> OnExpire<Nth<K, 1>> for Triple<K> {
    fn expire(this: ArcBorrow<'_, Timed<Self>>, _run: &Expiry<'_, K::Context>) -> Next {
        let probe = &this.probe;
        probe.begun.fetch_add(1, Release);
        if probe.over.load(Acquire) {
            probe.late.fetch_add(1, Release);
        }
        match this.act {
            Act::Nothing => {}
            Act::Stay if is_atomic::<K>() => {
                spin_until(STAY_MS * 1_000_000, || false);
            }
            Act::Stay => sleep_ms(STAY_MS),
            Act::DropOwner => {
                let owner = probe.owner.lock().take();
                drop(owner);
            }
            Act::Keep => *probe.kept.lock() = Some(Arc::from(this)),
        }
        probe.ended.fetch_add(1, Release);
        Next::After(Delta::from_micros(100))
    }
}

impl<K: Unlocked> OnExpire<Nth<Soft, 2>> for Triple<K> {
    fn expire(this: ArcBorrow<'_, Timed<Self>>, _run: &Expiry<'_, Soft>) -> Next {
        this.callout::<Nth<K, 1>>()
            .arm_after(Delta::from_micros(100));
        Next::Stop
    }
}

impl<K: Unlocked> OnExpire<Nth<Task, 3>> for Triple<K> {
    fn expire(this: ArcBorrow<'_, Timed<Self>>, _run: &Expiry<'_, Task>) -> Next {
        this.probe.late.fetch_add(1, Release);
        Next::Stop
    }
}

#[pinned_drop]
impl<K: Unlocked> PinnedDrop for Triple<K> {
    fn drop(self: Pin<&mut Self>) {
        let probe = &self.probe;
        if probe.is_running() {
            probe.dropped_in_run.fetch_add(1, Relaxed);
        }
        if Task::new().is_ok() {
            probe.dropped_in_task.fetch_add(1, Relaxed);
        }
        probe.dropped.fetch_add(1, Release);
    }
}

fn triple<K: Unlocked>(act: Act, probe: &Arc<Probe<K>>) -> impl PinInit<Triple<K>, Error> + '_ {
    named(c"triple", act, probe)
}

fn named<'a, K: Unlocked>(
    name: &'static CStr,
    act: Act,
    probe: &'a Arc<Probe<K>>,
) -> impl PinInit<Triple<K>, Error> + 'a {
    try_pin_init!(Triple {
        main <- Callout::new(softclock::owner!(), name),
        starter <- Callout::new(softclock::owner!(), c"starter"),
        other <- Callout::new(softclock::owner!(), c"other"),
        act,
        probe: probe.clone(),
    })
}

/// Calls `then` with a box in the middle of a run of its object, which is elsewhere.
fn while_staying<K: Unlocked>(
    then: impl Fn(TimedBox<Triple<K>>, &Arc<Probe<K>>) -> Verdict,
) -> Verdict {
    let elsewhere = other_cpu();
    if is_atomic::<K>() && elsewhere.is_none() {
        return Err(Fault::Skip("needs two CPUs"));
    }
    let (mut tried, mut met) = (0, 0);
    while met < 20 && tried < 100 {
        tried += 1;
        let probe = Probe::<K>::new()?;
        let object = TimedBox::new(triple(Act::Stay, &probe))?;
        let other = object.callout::<Nth<Task, 3>>();
        check!(other.arm_after(Delta::from_secs(3_600)) == Arm::New);
        let cpu = other_cpu().unwrap_or(CpuId::current().as_u32());
        let starter = object.callout::<Nth<Soft, 2>>();
        check!(starter.arm(Plan::after(Delta::ZERO).on(cpu)) == Arm::New);
        if is_atomic::<K>() {
            spin_until(50_000_000, || probe.is_running());
        } else {
            sleep_until(1_000, || probe.is_running());
        }
        if !probe.is_running() {
            continue;
        }
        met += 1;
        match then(object, &probe) {
            Err(Fault::Retry) => {}
            verdict => return verdict,
        }
    }
    if met == 0 && is_atomic::<K>() {
        return Err(Fault::Skip("this thread never met its callback"));
    }
    // It came each time when the callback was over.
    in_time(false);
    Err(Fault::Retry)
}

fn box_waits<K: Unlocked>(_: &Task) -> Verdict {
    for _ in 0..5 {
        while_staying::<K>(|object, probe| {
            let met = probe.is_running();
            drop(object);
            let running = probe.is_running();
            probe.over.store(true, Release);
            check!(!running);
            check!(probe.died_well());
            sleep_ms(20);
            check!(probe.late.load(Acquire) == 0);
            if met {
                Ok(())
            } else {
                Err(Fault::Retry)
            }
        })?;
    }
    Ok(())
}

fn box_own<K: Unlocked>(_: &Task) -> Verdict {
    let probe = Probe::<K>::new()?;
    let object = TimedBox::new(triple(Act::DropOwner, &probe))?;
    let mut owner = probe.owner.lock();
    object
        .callout::<Nth<K, 1>>()
        .arm_after(Delta::from_millis(1));
    *owner = Some(Owner::Box(object));
    drop(owner);
    check!(probe.died_well());
    sleep_ms(5);
    // What the callback asked for came too late.
    check!(probe.begun.load(Acquire) == 1);
    Ok(())
}

fn box_atomic<K: Unlocked>(_: &Task) -> Verdict {
    while_staying::<K>(|object, probe| {
        *probe.owner.lock() = Some(Owner::Box(object));
        // Of the run that was going on after the drop: that it was, and that it was the last.
        let after = Arc::new(Atomic::new(0u64), GFP_KERNEL)?;
        let (seen, told) = (probe.clone(), after.clone());
        let dropper = Closure::<Soft>::new(softclock::owner!(), c"dropper", move |_run| {
            let before = seen.begun.load(Acquire);
            let owner = seen.owner.lock().take();
            drop(owner);
            let running = seen.is_running() && seen.begun.load(Acquire) == before;
            seen.over.store(true, Release);
            told.store(1 + u64::from(running), Release);
            Next::Stop
        })?;
        let here = CpuId::current().as_u32();
        dropper.callout().arm(Plan::after(Delta::ZERO).on(here));
        let done = || after.load(Acquire) != 0;
        check!(spin_until(5_000_000, done) || sleep_until(2_000, done));
        check!(sleep_until(2_000, || probe.dropped.load(Acquire) == 1));
        check!(probe.dropped_in_run.load(Acquire) == 0);
        check!(!probe.is_running());
        sleep_ms(20);
        if after.load(Acquire) != 2 {
            // The run was over, or between two, or had not said yet that it begins.
            return Err(Fault::Retry);
        }
        check!(probe.late.load(Acquire) == 0);
        check!(probe.dropped_in_task.load(Acquire) == 1);
        Ok(())
    })
}

fn box_unused<K: Unlocked>(_: &Task) -> Verdict {
    let probe = Probe::<K>::new()?;
    let object = TimedBox::new(triple(Act::Nothing, &probe))?;
    check!(object.main.stop() == Stop::Idle);
    drop(object);
    check!(probe.dropped.load(Acquire) == 1);
    Ok(())
}

fn box_kept<K: Unlocked>(_: &Task) -> Verdict {
    let probe = Probe::<K>::new()?;
    let object = TimedBox::new(triple(Act::Keep, &probe))?;
    object.callout::<Nth<K, 1>>().arm_after(Delta::ZERO);
    check!(sleep_until(2_000, || probe.ended.load(Acquire) > 0));
    let other = object.callout::<Nth<Task, 3>>();
    check!(other.arm_after(Delta::from_secs(3_600)) == Arm::New);
    drop(object);
    probe.over.store(true, Release);
    let kept = probe.kept.lock().take().ok_or(Fault::Retry)?;
    for shut in [
        kept.main.is_shut(),
        kept.starter.is_shut(),
        kept.other.is_shut(),
        !kept.other.is_pending(),
        kept.callout::<Nth<K, 1>>().arm_after(Delta::ZERO) == Arm::Refused(Refusal::Shutdown),
        kept.callout::<Nth<Soft, 2>>().arm_after(Delta::ZERO) == Arm::Refused(Refusal::Shutdown),
    ] {
        check!(shut);
    }
    sleep_ms(5);
    check!(probe.late.load(Acquire) == 0);
    check!(probe.dropped.load(Acquire) == 0);
    drop(kept);
    check!(probe.died_well());
    Ok(())
}

fn box_failing(_: &Task) -> Verdict {
    let probe = Probe::<Soft>::new()?;
    let made = TimedBox::new(named(c"two words", Act::Nothing, &probe));
    check!(made.is_err_and(|error| error == EINVAL));
    check!(probe.dropped.load(Acquire) == 0);
    Ok(())
}

static STATIC: TimedStatic<Triple<Soft>> = TimedStatic::new();

fn static_comes_and_goes(_: &Task) -> Verdict {
    for _ in 0..3 {
        let probe = Probe::<Soft>::new()?;
        check!(STATIC.get().is_none());
        let guard = STATIC.set(triple(Act::Nothing, &probe))?;
        let found = STATIC.get().ok_or(Fault::Retry)?;
        check!(core::ptr::eq::<Triple<Soft>>(&**found, &*guard));
        found.callout::<Nth<Soft, 1>>().arm_after(Delta::ZERO);
        drop(found);
        check!(sleep_until(2_000, || probe.ended.load(Acquire) > 2));
        check!(guard.callout::<Nth<Soft, 1>>().id() != 0);
        drop(guard);
        probe.over.store(true, Release);
        check!(STATIC.get().is_none());
        check!(probe.died_well());
        sleep_ms(5);
        check!(probe.late.load(Acquire) == 0);
    }
    Ok(())
}

fn static_taken(_: &Task) -> Verdict {
    let (first, second) = (Probe::<Soft>::new()?, Probe::<Soft>::new()?);
    let guard = STATIC.set(triple(Act::Nothing, &first))?;
    check!(STATIC
        .set(triple(Act::Nothing, &second))
        .is_err_and(|error| error == EBUSY));
    check!(second.dropped.load(Acquire) == 0);
    let found = STATIC.get().ok_or(Fault::Retry)?;
    check!(core::ptr::eq::<Triple<Soft>>(&**found, &*guard));
    check!(!guard.main.is_shut());
    Ok(())
}

fn static_failing(_: &Task) -> Verdict {
    let probe = Probe::<Soft>::new()?;
    check!(STATIC
        .set(named(c"", Act::Nothing, &probe))
        .is_err_and(|error| error == EINVAL));
    check!(STATIC.get().is_none());
    check!(STATIC.set(triple(Act::Nothing, &probe)).is_ok());
    check!(probe.died_well());
    Ok(())
}

fn static_kept(_: &Task) -> Verdict {
    let (old, new) = (Probe::<Soft>::new()?, Probe::<Soft>::new()?);
    let guard = STATIC.set(triple(Act::Nothing, &old))?;
    let kept = STATIC.get().ok_or(Fault::Retry)?;
    drop(guard);
    let arm = kept.callout::<Nth<Soft, 1>>().arm_after(Delta::ZERO);
    check!(arm == Arm::Refused(Refusal::Shutdown));
    let guard = STATIC.set(triple(Act::Nothing, &new))?;
    check!(old.dropped.load(Acquire) == 0);
    drop(kept);
    check!(old.died_well());
    check!(!guard.main.is_shut());
    Ok(())
}

fn static_own(_: &Task) -> Verdict {
    let probe = Probe::<Soft>::new()?;
    let guard = STATIC.set(triple(Act::DropOwner, &probe))?;
    let mut owner = probe.owner.lock();
    guard
        .callout::<Nth<Soft, 1>>()
        .arm_after(Delta::from_millis(1));
    *owner = Some(Owner::Static(guard));
    drop(owner);
    check!(probe.died_well());
    check!(STATIC.get().is_none());
    check!(probe.begun.load(Acquire) == 1);
    // It can be filled again at once.
    check!(STATIC.set(triple(Act::Nothing, &probe)).is_ok());
    Ok(())
}

fn static_raced(task: &Task) -> Verdict {
    let found = Arc::new(Atomic::new(0u64), GFP_KERNEL)?;
    let count = found.clone();
    let looker = Closure::<Soft>::new(softclock::owner!(), c"looker", move |_run| {
        if let Some(object) = STATIC.get() {
            object.callout::<Nth<Soft, 1>>().arm_after(Delta::ZERO);
            count.fetch_add(1, Relaxed);
        }
        Next::After(Delta::from_micros(20))
    })?;
    let cpu = other_cpu().unwrap_or(0);
    looker.callout().arm(Plan::after(Delta::ZERO).on(cpu));
    // The other CPU of a busy machine may stand still at first.
    for round in (0..3_000).take_while(|round| *round < 300 || found.load(Relaxed) == 0) {
        let probe = Probe::<Soft>::new()?;
        let guard = STATIC.set(triple(Act::Nothing, &probe))?;
        pause_us(round % 60);
        if round % 16 == 0 {
            sleep_ms(1);
        }
        drop(guard);
        probe.over.store(true, Release);
        check!(sleep_until(2_000, || probe.dropped.load(Acquire) == 1));
        check!(probe.late.load(Acquire) == 0);
        check!(probe.dropped_in_run.load(Acquire) == 0);
    }
    check!(looker.callout().shutdown(task).is_ok());
    check!(found.load(Relaxed) > 0);
    Ok(())
}
