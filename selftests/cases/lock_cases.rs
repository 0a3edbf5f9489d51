// SPDX-License-Identifier: GPL-2.0

//! Callouts bound to a lock: what a stop under it is worth.

use crate::{
    harness::{check, Case, Fault, Verdict},
    subject::{is_atomic, other_cpu, pause_us, sleep_ms, sleep_until, spin_until},
};
use core::marker::PhantomData;
use kernel::{
    cpu::{nr_cpu_ids, CpuId},
    new_mutex,
    sync::lock::{mutex::MutexBackend, Guard, Lock},
};
use softclock::{
    locked::{HardBackend, LocksIn, SoftBackend, SoftRwBackend, TaskRwBackend},
    new_hard_lock, new_soft_lock, new_soft_rw_lock, new_task_rw_lock,
    prelude::*,
    Kind, Unlocked,
};

/// A case for every kind of callout, and every lock it can be bound to.
macro_rules! flavours {
    ($name:literal, $case:ident) => {
        [
            Case {
                name: concat!($name, " (soft, softlock)"),
                run: $case::<Bound<Soft, SoftBackend>>,
            },
            Case {
                name: concat!($name, " (soft, hardlock)"),
                run: $case::<Bound<Soft, HardBackend>>,
            },
            Case {
                name: concat!($name, " (task, mutex)"),
                run: $case::<Bound<Task, MutexBackend>>,
            },
            Case {
                name: concat!($name, " (soft, rwlock)"),
                run: $case::<Bound<Soft, SoftRwBackend>>,
            },
            Case {
                name: concat!($name, " (task, rwsem)"),
                run: $case::<Bound<Task, TaskRwBackend>>,
            },
            Case {
                name: concat!($name, " (precise soft, softlock)"),
                run: $case::<Bound<Precise<Soft>, SoftBackend>>,
            },
            Case {
                name: concat!($name, " (precise task, mutex)"),
                run: $case::<Bound<Precise<Task>, MutexBackend>>,
            },
            Case {
                name: concat!($name, " (hard, hardlock)"),
                run: $case::<Bound<Hard, HardBackend>>,
            },
        ]
    };
}
pub(crate) use flavours;

/// The same for those that only try the lock.
macro_rules! trying {
    ($name:literal, $case:ident) => {
        [
            Case {
                name: concat!($name, " (soft, softlock)"),
                run: $case::<Tried<Soft, SoftBackend>>,
            },
            Case {
                name: concat!($name, " (task, mutex)"),
                run: $case::<Tried<Task, MutexBackend>>,
            },
            Case {
                name: concat!($name, " (soft, rwlock)"),
                run: $case::<Tried<Soft, SoftRwBackend>>,
            },
            Case {
                name: concat!($name, " (task, rwsem)"),
                run: $case::<Tried<Task, TaskRwBackend>>,
            },
            Case {
                name: concat!($name, " (precise soft, softlock)"),
                run: $case::<Tried<Precise<Soft>, SoftBackend>>,
            },
            Case {
                name: concat!($name, " (precise task, mutex)"),
                run: $case::<Tried<Precise<Task>, MutexBackend>>,
            },
            Case {
                name: concat!($name, " (hard, hardlock)"),
                run: $case::<Tried<Hard, HardBackend>>,
            },
        ]
    };
}

pub(crate) const CASES: &[&[Case]] = &[
    &flavours!(
        "callout-10 stop under the lock that the expiry waits for: Cancelled, and never entered",
        stop_waiting
    ),
    &flavours!(
        "callout-11 re-arm under the lock that the expiry waits for: Replaced, one run",
        rearm_waiting
    ),
    &flavours!(
        "callout-10 shutdown while the expiry waits for the lock: never entered",
        shut_waiting
    ),
    &trying!(
        "callout-10 TRYLOCK: an expiry does not wait, and after a stop it does not even try",
        stop_trying
    ),
    &[
        Case {
            name: "callout-10 stopped in the walk's hands, it does not touch its lock (soft, softlock)",
            run: stop_taken::<Bound<Soft, SoftBackend>>,
        },
        Case {
            name: "callout-10 stopped in the walk's hands, it does not touch its lock (soft, softlock, try)",
            run: stop_taken::<Tried<Soft, SoftBackend>>,
        },
    ],
    &trying!(
        "callout-11 TRYLOCK: re-arm while the expiry tries: Replaced, one run",
        rearm_waiting
    ),
    &trying!(
        "TRYLOCK: an expiry that found the lock taken comes again, and runs once",
        run_after_trying
    ),
    &flavours!(
        "RETURNUNLOCKED: stop of a callback that has given its lock back is Running",
        stop_unlocked
    ),
    &flavours!(
        "the guard of another lock arms nothing, and does not replace what is armed",
        wrong_guard
    ),
    &[
        Case {
            name: "callout-45 many on all CPUs blocked on one lock: cancelled plus drained is all (soft)",
            run: crowd::<Bound<Soft, SoftBackend>>,
        },
        Case {
            name: "callout-45 many on all CPUs blocked on one lock: cancelled plus drained is all (soft, try)",
            run: crowd::<Tried<Soft, SoftBackend>>,
        },
        Case {
            name: "callout-45 many on all CPUs blocked on one lock: cancelled plus drained is all (task)",
            run: crowd::<Bound<Task, MutexBackend>>,
        },
    ],
];

/// Makes a lock: each sort has a class of its own.
pub(crate) trait Make: kernel::sync::lock::Backend + 'static {
    fn make() -> impl PinInit<Lock<u64, Self>>
    where
        Self: Sized;
}

impl Make for SoftBackend {
    fn make() -> impl PinInit<Lock<u64, Self>> {
        new_soft_lock!(0)
    }
}

impl Make for HardBackend {
    fn make() -> impl PinInit<Lock<u64, Self>> {
        new_hard_lock!(0)
    }
}

impl Make for SoftRwBackend {
    fn make() -> impl PinInit<Lock<u64, Self>> {
        new_soft_rw_lock!(0)
    }
}

impl Make for TaskRwBackend {
    fn make() -> impl PinInit<Lock<u64, Self>> {
        new_task_rw_lock!(0)
    }
}

impl Make for MutexBackend {
    fn make() -> impl PinInit<Lock<u64, Self>> {
        new_mutex!(0)
    }
}

/// A kind of callout, the lock it is bound to, and how the expiry takes that.
pub(crate) trait Flavour: Send + Sync + 'static {
    type Kind: Unlocked;
    type Backend: Make + LocksIn<<Self::Kind as Kind>::Context>;
    const TRY: bool;
}

/// The expiry waits for the lock.
pub(crate) struct Bound<K, B>(PhantomData<fn(K, B)>);
/// The expiry tries the lock.
struct Tried<K, B>(PhantomData<fn(K, B)>);

impl<K: Unlocked, B: Make + LocksIn<K::Context>> Flavour for Bound<K, B> {
    type Kind = K;
    type Backend = B;
    const TRY: bool = false;
}

impl<K: Unlocked, B: Make + LocksIn<K::Context>> Flavour for Tried<K, B> {
    type Kind = K;
    type Backend = B;
    const TRY: bool = true;
}

/// An object with a callout bound to its lock.
#[pin_data]
struct Port<F: Flavour> {
    #[pin]
    timer: Callout<Self, Locked<F::Kind>>,
    /// Counts the runs.
    #[pin]
    lock: Lock<u64, F::Backend>,
    /// The callback gives the lock back early, and stays until released.
    lets_go: bool,
    release: Atomic<bool>,
    stuck: Atomic<bool>,
    gone: Atomic<bool>,
    ended: Atomic<u64>,
    early: Atomic<u64>,
    last_due_ns: Atomic<i64>,
    /// Who holds the lock in the test, and how often anybody else has asked for it.
    holder: Atomic<u64>,
    asked: Atomic<u64>,
}

impl_has_callout! { impl {F: Flavour} HasCallout<Locked<F::Kind>> for Port<F> { self.timer } }

/// The thread and the CPU: an expiry has another one of the two.
pub(crate) fn identity() -> u64 {
    let task = kernel::task::Task::current_raw() as u64;
    task ^ u64::from(CpuId::current().as_u32())
}

impl<F: Flavour> HasLock<Locked<F::Kind>> for Port<F> {
    type Data = u64;
    type Backend = F::Backend;
    const TRY: bool = F::TRY;

    fn lock(&self) -> &Lock<u64, F::Backend> {
        let holder = self.holder.load(Acquire);
        if holder != 0 && holder != identity() {
            self.asked.fetch_add(1, Release);
        }
        &self.lock
    }
}

impl<F: Flavour> OnExpireLocked<Locked<F::Kind>> for Port<F> {
    fn expire(
        this: ArcBorrow<'_, Timed<Self>>,
        mut guard: Guard<'_, u64, F::Backend>,
        run: &Expiry<'_, <F::Kind as Kind>::Context>,
    ) -> Next {
        *guard += 1;
        if softclock::now() < run.due() {
            this.early.fetch_add(1, Relaxed);
        }
        this.last_due_ns.store(run.due().as_nanos(), Relaxed);
        if this.lets_go {
            drop(guard);
            this.gone.store(true, Release);
            let released = || this.release.load(Acquire);
            let held = if is_atomic::<F::Kind>() {
                spin_until(100_000_000, released)
            } else {
                sleep_until(5_000, released)
            };
            this.stuck.store(!held, Release);
        }
        this.ended.fetch_add(1, Release);
        Next::Stop
    }
}

impl<F: Flavour> Port<F> {
    fn new(lets_go: bool) -> Result<Arc<Timed<Self>>> {
        Timed::new(try_pin_init!(Self {
            timer <- Callout::new(softclock::owner!(), c"port"),
            lock <- F::Backend::make(),
            lets_go,
            release: Atomic::new(false),
            stuck: Atomic::new(false),
            gone: Atomic::new(false),
            ended: Atomic::new(0),
            early: Atomic::new(0),
            last_due_ns: Atomic::new(0),
            holder: Atomic::new(0),
            asked: Atomic::new(0),
        }))
    }
}

type PortOf<F> = Arc<Timed<Port<F>>>;

/// Arms a port for `after`, from `cpu` where that matters. The callout expires there.
fn arm_from<F: Flavour>(port: &PortOf<F>, after: Delta, cpu: Option<u32>) -> Result<bool> {
    let Some(cpu) = cpu else {
        let guard = port.lock.lock();
        return Ok(port.callout::<Locked<F::Kind>>().arm_after(after, &guard) == Arm::New);
    };
    let armed = Arc::new(Atomic::new(0u64), GFP_KERNEL)?;
    let (target, tell) = (port.clone(), armed.clone());
    let agent = Closure::<Soft>::new(softclock::owner!(), c"agent", move |_run| {
        let guard = target.lock.lock();
        let arm = target.callout::<Locked<F::Kind>>().arm_after(after, &guard);
        drop(guard);
        tell.store(if arm == Arm::New { 1 } else { 2 }, Release);
        Next::Stop
    })?;
    agent.callout().arm(Plan::after(Delta::ZERO).on(cpu));
    let done = || armed.load(Acquire) != 0;
    Ok((spin_until(5_000_000, done) || sleep_until(500, done)) && armed.load(Acquire) == 1)
}

/// Where the expiry is to happen, so that it can wait for a lock that is held here.
pub(crate) fn elsewhere<F: Flavour>() -> Option<u32> {
    if is_atomic::<F::Kind>() {
        other_cpu()
    } else {
        None
    }
}

/// Calls `then` with the lock held that an expiry is waiting for (or has tried `F::TRY` times).
/// Where one CPU has to do, and the callback cannot sleep, its deadline has passed.
fn while_waiting<F: Flavour>(
    then: impl Fn(&PortOf<F>, Guard<'_, u64, F::Backend>) -> Verdict,
) -> Verdict {
    let atomic = is_atomic::<F::Kind>();
    let alone = atomic && nr_cpu_ids() < 2;
    if alone && F::TRY {
        return Err(Fault::Skip("needs two CPUs"));
    }
    let mut once = 0;
    for _ in 0..200 {
        let cpu = elsewhere::<F>();
        let port = Port::<F>::new(false)?;
        if !arm_from(&port, Delta::from_millis(2), cpu)? {
            continue;
        }
        let guard = port.lock.lock();
        port.holder.store(identity(), Release);
        let here = CpuId::current().as_u32();
        if *guard > 0 || cpu == Some(here) {
            continue;
        }
        let times = if F::TRY { 3 } else { 1 };
        let asked = || port.asked.load(Acquire) >= times;
        let met = match (alone, atomic) {
            (true, _) => {
                pause_us(4_000);
                true
            }
            (_, true) => spin_until(50_000_000, asked),
            (_, false) => sleep_until(500, asked),
        };
        if met {
            return then(&port, guard);
        }
        // Those that came and stayed, or never came again.
        once += u32::from(port.asked.load(Acquire) > 0);
        check!(once < 20);
    }
    Err(Fault::Skip(
        "no expiry ever came while this thread held the lock",
    ))
}

fn stop_waiting<F: Flavour>(_: &Task) -> Verdict {
    while_waiting::<F>(|port, guard| {
        let callout = port.callout::<Locked<F::Kind>>();
        check!(port.timer.is_pending());
        check!(callout.stop(&guard) == Stop::Cancelled);
        check!(callout.stop(&guard) == Stop::Idle);
        check!(!port.timer.is_pending());
        drop(guard);
        sleep_ms(20);
        check!(*port.lock.lock() == 0);
        check!(port.ended.load(Acquire) == 0);
        Ok(())
    })
}

fn rearm_waiting<F: Flavour>(_: &Task) -> Verdict {
    while_waiting::<F>(|port, guard| {
        let due = softclock::now() + Delta::from_millis(50);
        check!(port.callout::<Locked<F::Kind>>().arm_at(due, &guard) == Arm::Replaced);
        drop(guard);
        check!(sleep_until(2_000, || port.ended.load(Acquire) == 1));
        sleep_ms(20);
        check!(*port.lock.lock() == 1);
        check!(port.early.load(Relaxed) == 0);
        check!(port.last_due_ns.load(Relaxed) == due.as_nanos());
        Ok(())
    })
}

fn shut_waiting<F: Flavour>(task: &Task) -> Verdict {
    while_waiting::<F>(|port, guard| {
        let callout = port.callout::<Locked<F::Kind>>();
        // Waiting for nothing here: the expiry has not begun, so there is nothing to wait for.
        check!(port.timer.drain_async() == Stop::Cancelled);
        check!(callout.arm_after(Delta::from_secs(9), &guard) == Arm::New);
        drop(guard);
        check!(port.timer.shutdown(task) == Ok(Drain::Cancelled));
        let guard = port.lock.lock();
        let refused = Arm::Refused(Refusal::Shutdown);
        check!(callout.arm_after(Delta::ZERO, &guard) == refused);
        check!(*guard == 0);
        Ok(())
    })
}

fn stop_trying<F: Flavour>(_: &Task) -> Verdict {
    while_waiting::<F>(|port, guard| {
        let callout = port.callout::<Locked<F::Kind>>();
        check!(callout.stop(&guard) == Stop::Cancelled);
        // One that had begun to try may go on, however late; twenty more would come in this time.
        let asked = port.asked.load(Acquire);
        pause_us(1_500);
        check!(port.asked.load(Acquire) <= asked + 1);
        drop(guard);
        sleep_ms(10);
        check!(*port.lock.lock() == 0);
        Ok(())
    })
}

/// Cancelled by the callback before it in the same granule: taken from the wheel already.
fn stop_taken<F: Flavour<Kind = Soft>>(task: &Task) -> Verdict {
    let port = Port::<F>::new(false)?;
    let cancelled = Arc::new(Atomic::new(0u64), GFP_KERNEL)?;
    let (target, count) = (port.clone(), cancelled.clone());
    let first = Closure::<Soft>::new(softclock::owner!(), c"first", move |_run| {
        let was = target.timer.drain_async() == Stop::Cancelled;
        count.fetch_add(u64::from(was), Relaxed);
        Next::Stop
    })?;
    for _ in 0..50 {
        let before = (cancelled.load(Relaxed), port.asked.load(Acquire));
        let here = CpuId::current().as_u32();
        let soon = Plan::after(Delta::from_millis(2)).on(here);
        let guard = port.lock.lock();
        first.callout().arm(soon);
        port.callout::<Locked<Soft>>().arm(soon, &guard);
        drop(guard);
        // Nobody: every look at the lock counts.
        port.holder.store(1, Release);
        check!(sleep_until(2_000, || !first.callout().is_pending()));
        check!(first.callout().drain(task).is_ok());
        check!(port.timer.drain(task).is_ok());
        port.holder.store(0, Release);
        // Unless this thread was held up between its arms.
        if cancelled.load(Relaxed) > before.0 {
            check!(port.asked.load(Acquire) == before.1);
        }
    }
    check!(cancelled.load(Relaxed) > 0);
    Ok(())
}

fn run_after_trying<F: Flavour>(_: &Task) -> Verdict {
    while_waiting::<F>(|port, guard| {
        drop(guard);
        check!(sleep_until(2_000, || port.ended.load(Acquire) == 1));
        sleep_ms(10);
        check!(*port.lock.lock() == 1);
        check!(port.early.load(Relaxed) == 0);
        Ok(())
    })
}

fn stop_unlocked<F: Flavour>(task: &Task) -> Verdict {
    if is_atomic::<F::Kind>() && nr_cpu_ids() < 2 {
        return Err(Fault::Skip("needs two CPUs"));
    }
    for _ in 0..100 {
        let port = Port::<F>::new(true)?;
        let armed = arm_from(&port, Delta::from_micros(200), elsewhere::<F>())?;
        let gone = || port.gone.load(Acquire);
        let met = armed && (spin_until(20_000_000, gone) || sleep_until(500, gone));
        let guard = port.lock.lock();
        let answer = port.callout::<Locked<F::Kind>>().stop(&guard);
        let ended = port.ended.load(Acquire);
        drop(guard);
        port.release.store(true, Release);
        // Where the callback ran on top of this thread it is over by now.
        if !met || ended == 1 {
            continue;
        }
        check!(answer == Stop::Running);
        check!(port.timer.drain(task).is_ok());
        check!(port.ended.load(Acquire) == 1);
        check!(*port.lock.lock() == 1);
        return Ok(());
    }
    Err(Fault::Skip(
        "its callback and this thread never got a CPU each",
    ))
}

fn wrong_guard<F: Flavour>(_: &Task) -> Verdict {
    let port = Port::<F>::new(false)?;
    let other = Port::<F>::new(false)?;
    let refused = Arm::Refused(Refusal::NotTheLock);
    let callout = port.callout::<Locked<F::Kind>>();
    let guard = other.lock.lock();
    let arms = [
        callout.arm_after(Delta::ZERO, &guard),
        callout.arm_at(softclock::now(), &guard),
        callout.arm(Plan::at(softclock::now()), &guard),
    ];
    drop(guard);
    check!(arms.iter().all(|arm| *arm == refused));
    check!(!port.timer.is_pending());

    let guard = port.lock.lock();
    check!(callout.arm_after(Delta::from_secs(9), &guard) == Arm::New);
    drop(guard);
    let guard = other.lock.lock();
    let arm = callout.arm_after(Delta::ZERO, &guard);
    drop(guard);
    check!(arm == refused);
    sleep_ms(10);
    check!(port.timer.is_pending());
    check!(*port.lock.lock() == 0);
    // A stop is not refused: it is one without a lock, and logged.
    let guard = other.lock.lock();
    let stop = callout.stop(&guard);
    drop(guard);
    check!(stop == Stop::Cancelled);
    check!(!port.timer.is_pending());
    Ok(())
}

/// What all members of a crowd share.
#[pin_data]
struct Common<F: Flavour> {
    #[pin]
    lock: Lock<u64, F::Backend>,
    drained: Atomic<u64>,
}

/// One of many whose callouts are bound to one lock.
#[pin_data]
struct Member<F: Flavour> {
    #[pin]
    timer: Callout<Self, Locked<F::Kind>>,
    common: Arc<Common<F>>,
    runs: Atomic<u64>,
}

impl_has_callout! { impl {F: Flavour} HasCallout<Locked<F::Kind>> for Member<F> { self.timer } }

impl<F: Flavour> HasLock<Locked<F::Kind>> for Member<F> {
    type Data = u64;
    type Backend = F::Backend;
    const TRY: bool = F::TRY;

    fn lock(&self) -> &Lock<u64, F::Backend> {
        &self.common.lock
    }
}

impl<F: Flavour> OnExpireLocked<Locked<F::Kind>> for Member<F> {
    fn expire(
        this: ArcBorrow<'_, Timed<Self>>,
        mut guard: Guard<'_, u64, F::Backend>,
        _run: &Expiry<'_, <F::Kind as Kind>::Context>,
    ) -> Next {
        *guard += 1;
        let early = *guard % 2 == 0;
        this.runs.fetch_add(1, Relaxed);
        // Every second one gives the lock back early, so that a drain can meet it.
        if early {
            drop(guard);
            pause_us(20);
        }
        Next::Stop
    }

    fn drained(this: ArcBorrow<'_, Timed<Self>>) {
        this.common.drained.fetch_add(1, Release);
    }
}

const MEMBERS: u64 = 48;

fn crowd<F: Flavour>(task: &Task) -> Verdict {
    let common = Arc::pin_init(
        pin_init!(Common::<F> {
            lock <- F::Backend::make(),
            drained: Atomic::new(0),
        }),
        GFP_KERNEL,
    )?;
    let mut members = KVec::new();
    for _ in 0..MEMBERS {
        let shared = common.clone();
        let member = Timed::new(try_pin_init!(Member::<F> {
            timer <- Callout::new(softclock::owner!(), c"member"),
            common: shared,
            runs: Atomic::new(0),
        }))?;
        members.push(member, GFP_KERNEL)?;
    }
    let (mut phase, mut all_cancelled, mut all_run): (u32, u64, u64) = (1, 0, 0);
    for _ in 0..100 {
        let (mut cancelled, mut running, mut idle) = (0, 0, 0);
        let drained = common.drained.load(Acquire);
        let mut guard = common.lock.lock();
        *guard = 0;
        let due = softclock::now() + Delta::from_micros(200);
        for (index, member) in members.iter().enumerate() {
            let plan = Plan::at(due).on(index as u32 % nr_cpu_ids());
            let arm = member.callout::<Locked<F::Kind>>().arm(plan, &guard);
            check!(arm == Arm::New);
        }
        // All are due, and whoever has begun waits for the lock.
        pause_us(400);
        check!(*guard == 0);
        drop(guard);
        // For a while they get it, one after the other, from a generator with a fixed seed.
        phase = phase.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        pause_us(i64::from(phase >> 23));
        let guard = common.lock.lock();
        for member in members.iter() {
            match member.timer.drain_async() {
                Stop::Cancelled => cancelled += 1,
                Stop::Running => running += 1,
                Stop::Idle => idle += 1,
            }
        }
        drop(guard);
        check!(sleep_until(2_000, || common.drained.load(Acquire) == drained + running));
        for member in members.iter() {
            check!(member.timer.drain(task) == Ok(Drain::Idle));
        }
        let runs = *common.lock.lock();
        check!(cancelled + running + idle == MEMBERS);
        check!(runs == running + idle);
        check!(common.drained.load(Acquire) == drained + running);
        all_cancelled += cancelled;
        all_run += runs;
    }
    // Where they can wait for the lock, some were met before they got it, and some after.
    check!(nr_cpu_ids() < 2 || all_cancelled > 0 && all_run > 0);
    Ok(())
}
