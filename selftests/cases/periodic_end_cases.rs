// SPDX-License-Identifier: GPL-2.0

//! Periodics: how they end, whoever ends them, wherever, and how often.

use crate::{
    harness::{check, Case, Fault, Verdict},
    periodic_subject::{beat, is_atomic, modes, ms, plain, Log},
    subject::{pause_us, settled, sleep_ms, sleep_until, spin_until},
};
use kernel::{cpu::nr_cpu_ids, new_mutex, new_spinlock, sync::Mutex};
use pin_init::stack_pin_init;
use softclock::{new_hard_lock, periodic::Mode, prelude::*};

pub(crate) const CASES: &[&[Case]] = &[
    &modes!(
        "periodic-13 delete while it waits for its point: Cancelled, and no run after",
        delete_waiting
    ),
    &modes!(
        "periodic-14 delete while the callback executes waits for its end",
        delete_running
    ),
    &modes!(
        "periodic-14 delete in any phase of a run: nothing runs when it returns",
        delete_any_phase
    ),
    &[
        Case {
            name: "periodic-15 stopped between its point and its turn at a worker: not called",
            run: stop_dispatched::<Task>,
        },
        Case {
            name: "periodic-15 the same on the wheel",
            run: stop_dispatched::<Coarse<Task>>,
        },
    ],
    &modes!(
        "periodic-16 a second delete is Idle, and a stop too",
        delete_twice
    ),
    &modes!(
        "periodic-17 three threads that delete it at once all return after the run",
        three_deleters
    ),
    &[Case {
        name: "periodic-18 delete in the own callback is refused, and that run is the last",
        run: delete_own,
    }],
    &modes!(
        "periodic-18 stop in the own callback: that run is the last",
        stop_own
    ),
    &modes!(
        "periodic-18 a callback may drop its own periodic",
        drop_own
    ),
    &[
        Case {
            name: "periodic-19 a callback and a delete that wait for each other are told",
            run: circle,
        },
        Case {
            name: "periodic-19 a delete that waits long says so in the log",
            run: long_wait,
        },
        Case {
            name: "periodic-23 what may not block is refused a new periodic: in a softirq, under a spinlock",
            run: new_in_atomic,
        },
        Case {
            name: "periodic-23 a delete under a spinlock is refused, and that run is the last",
            run: delete_in_atomic,
        },
    ],
    &modes!(
        "periodic-24 what it has captured is the same each time, and outlives the delete",
        captured
    ),
    &modes!(
        "periodic-25 a callback that returns Stop is not called again",
        stop_returned
    ),
    &modes!(
        "dropping it under a spinlock ends it, without waiting",
        drop_in_atomic
    ),
    &modes!(
        "dropping it during a run: that run ends, and its captures after it",
        drop_running
    ),
];

/// A periodic that others can reach, its callback too.
#[pin_data]
struct Slot<M: Mode> {
    #[pin]
    inner: Mutex<Option<Periodic<M>>>,
}

impl<M: Mode> Slot<M> {
    fn new() -> Result<Arc<Self>> {
        Arc::pin_init(pin_init!(Self { inner <- new_mutex!(None) }), GFP_KERNEL)
    }
}

type Running<M> = (Periodic<M>, Arc<Log>);

/// One whose callback stays until it is released.
fn holding<M: Mode>() -> Result<Running<M>> {
    beat::<M, _>(ms(2), |_, log| log.hold(is_atomic::<M>()))
}

/// One whose callback executes now, on another CPU if it is none that sleeps.
fn executing<M: Mode>() -> core::result::Result<Running<M>, Fault> {
    if !is_atomic::<M>() {
        let (periodic, log) = holding::<M>()?;
        check!(sleep_until(2_000, || log.entered.load(Acquire)));
        return Ok((periodic, log));
    }
    if nr_cpu_ids() < 2 {
        return Err(Fault::Skip("needs two CPUs"));
    }
    for attempt in 0..100 {
        if let Some((periodic, log)) = made_elsewhere::<M>(attempt % 2 == 0)? {
            if spin_until(20_000_000, || log.entered.load(Acquire)) && log.ended() == 0 {
                return Ok((periodic, log));
            }
            log.release.store(true, Release);
        }
    }
    Err(Fault::Skip(
        "its callback and this thread never got a CPU each",
    ))
}

/// One made by a worker, and so timed by that worker's CPU.
fn made_elsewhere<M: Mode>(busy: bool) -> Result<Option<Running<M>>> {
    let made = Arc::pin_init(new_mutex!(None), GFP_KERNEL)?;
    let ready = Arc::new(Atomic::new(false), GFP_KERNEL)?;
    let (make, done) = (made.clone(), ready.clone());
    let maker = Closure::<Task>::new(softclock::owner!(), c"maker", move |_| {
        *make.lock() = holding::<M>().ok();
        done.store(true, Release);
        Next::Stop
    })?;
    maker.callout().arm_after(Delta::ZERO);
    // A busy thread keeps its CPU and sends the worker to the other one; where that fails, a sleeping one
    // may wake up there.
    if !(busy && spin_until(50_000_000, || ready.load(Acquire))) {
        sleep_until(1_000, || ready.load(Acquire));
    }
    let made = made.lock().take();
    Ok(made)
}

fn delete_waiting<M: Mode>(task: &Task) -> Verdict {
    let (periodic, log) = plain::<M>(ms(50))?;
    check!(periodic.delete(task) == Ok(Drain::Cancelled));
    check!(periodic.due().is_none());
    sleep_ms(120);
    check!(log.runs() == 0);
    let (periodic, log) = plain::<M>(ms(2))?;
    check!(log.has_run(3));
    check!(periodic.delete(task).is_ok());
    let runs = log.runs();
    sleep_ms(20);
    check!(log.runs() == runs);
    check!(log.ended() == runs);
    Ok(())
}

fn delete_running<M: Mode>(task: &Task) -> Verdict {
    let (periodic, log) = executing::<M>()?;
    let release = log.clone();
    let later = Closure::<Hard>::new(softclock::owner!(), c"later", move |_| {
        release.release.store(true, Release);
        Next::Stop
    })?;
    later.callout().arm_after(ms(50));
    let answer = periodic.delete(task);
    let (runs, ended) = (log.runs(), log.ended());
    check!(answer == Ok(Drain::Finished) || (is_atomic::<M>() && answer.is_ok()));
    check!(ended == runs);
    sleep_ms(20);
    check!(log.runs() == runs);
    check!(log.is_clean());
    Ok(())
}

fn delete_any_phase<M: Mode>(task: &Task) -> Verdict {
    let mut phase: u32 = 1;
    for _ in 0..500 {
        let period = Delta::from_micros(100);
        let (periodic, log) = beat::<M, _>(period, |_, _| pause_us(10))?;
        // From a generator with a fixed seed.
        phase = phase.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        pause_us(60 + i64::from(phase >> 25));
        check!(periodic.delete(task).is_ok());
        let runs = log.runs();
        check!(log.ended() == runs);
        pause_us(130);
        check!(log.runs() == runs);
        check!(log.is_clean());
    }
    Ok(())
}

fn stop_dispatched<M: Mode>(task: &Task) -> Verdict {
    for _ in 0..200 {
        let (periodic, log) = plain::<M>(ms(3))?;
        let periodic = Arc::new(periodic, GFP_KERNEL)?;
        let due = periodic.due().ok_or(EIO)?;
        let hit = Arc::new(Atomic::new(0), GFP_KERNEL)?;
        let (it, note, seen) = (periodic.clone(), hit.clone(), log.clone());
        let act = move |_: &Expiry<'_, Soft>| {
            let late = softclock::now() >= due;
            let cancelled = it.stop() == Stop::Cancelled;
            // So late that it has run already, and waited for its next point?
            let first = seen.runs() == 0;
            note.store(if late && cancelled && first { 2 } else { 1 }, Release);
            Next::Stop
        };
        // It comes after the periodic, in the same softirq where that is on the same CPU.
        let owner = softclock::owner!();
        if M::EXACT {
            let stopper = Closure::<Precise<Soft>>::new(owner, c"stopper", act)?;
            stopper.callout().arm_at(due);
            check!(sleep_until(1_000, || hit.load(Acquire) != 0));
        } else {
            let stopper = Closure::<Soft>::new(owner, c"stopper", act)?;
            stopper.callout().arm_at(due);
            check!(sleep_until(1_000, || hit.load(Acquire) != 0));
        }
        if hit.load(Acquire) == 2 {
            sleep_ms(10);
            check!(log.runs() == 0);
            check!(periodic.delete(task) == Ok(Drain::Idle));
            return Ok(());
        }
    }
    Err(Fault::Retry)
}

fn delete_twice<M: Mode>(task: &Task) -> Verdict {
    let (periodic, _log) = plain::<M>(ms(50))?;
    check!(periodic.delete(task) == Ok(Drain::Cancelled));
    check!(periodic.delete(task) == Ok(Drain::Idle));
    check!(periodic.stop() == Stop::Idle);
    check!(periodic.change(ms(10))? == Changed::Over);
    Ok(())
}

fn three_deleters<M: Mode>(task: &Task) -> Verdict {
    let (periodic, log) = executing::<M>()?;
    let periodic = Arc::new(periodic, GFP_KERNEL)?;
    let begun = Arc::new(Atomic::new(0_u64), GFP_KERNEL)?;
    let after = Arc::new(Atomic::new(0_u64), GFP_KERNEL)?;
    let mut threads = KVec::new();
    for _ in 0..3 {
        let (it, log, begun, after) = (periodic.clone(), log.clone(), begun.clone(), after.clone());
        let thread = Closure::<Task>::new(softclock::owner!(), c"deleter", move |run| {
            begun.fetch_add(1, Release);
            let answer = it.delete(&run.task());
            let over = answer.is_ok() && log.ended() == log.runs();
            after.fetch_add(if over { 1 } else { 1_000 }, Release);
            Next::Stop
        })?;
        thread.callout().arm_after(Delta::ZERO);
        threads.push(thread, GFP_KERNEL)?;
    }
    let waiting = || begun.load(Acquire) == 3;
    let all = if is_atomic::<M>() {
        // Its CPU is taken, and so is this one: as many as come.
        sleep_until(20, waiting)
    } else {
        sleep_until(2_000, waiting)
    };
    sleep_ms(5);
    let early = after.load(Acquire);
    let was_over = log.ended() > 0;
    log.release.store(true, Release);
    check!(sleep_until(2_000, || after.load(Acquire) % 1_000
        + after.load(Acquire) / 1_000
        == 3));
    check!(all || is_atomic::<M>());
    check!(early == 0 || was_over);
    check!(after.load(Acquire) == 3);
    check!(periodic.delete(task) == Ok(Drain::Idle));
    check!(log.is_clean());
    Ok(())
}

/// Runs a periodic whose callback gets at itself; until that has happened, at most 5 s.
fn with_itself<M: Mode>(
    act: impl Fn(&Arc<Slot<M>>, &Log) -> bool + Send + 'static,
) -> core::result::Result<(Arc<Slot<M>>, Arc<Log>), Fault> {
    let slot = Slot::<M>::new()?;
    let it = slot.clone();
    let (periodic, log) = beat::<M, _>(ms(100), move |_, log| {
        // The second run is the one that acts, when the slot is filled.
        if log.runs() == 2 && act(&it, log) {
            log.release.store(true, Release);
        }
    })?;
    *slot.inner.lock() = Some(periodic);
    check!(sleep_until(5_000, || log.ended() >= 2));
    Ok((slot, log))
}

fn delete_own(task: &Task) -> Verdict {
    let (slot, log) = with_itself::<Task>(|slot, _| {
        let inner = slot.inner.lock();
        let Ok(task) = Task::new() else { return false };
        inner.as_ref().map(|it| it.delete(&task)) == Some(Err(CannotWait::Deadlock))
    })?;
    sleep_ms(20);
    check!(log.release.load(Acquire));
    check!(log.runs() == 2);
    let periodic = slot.inner.lock().take().ok_or(EIO)?;
    check!(periodic.due().is_none());
    check!(periodic.delete(task) == Ok(Drain::Idle));
    Ok(())
}

/// As `Slot`, for callbacks in any context.
#[pin_data]
struct AnySlot<M: Mode> {
    #[pin]
    inner: softclock::HardLock<Option<Arc<Periodic<M>>>>,
}

/// A periodic whose callback gets at itself with `act`, in its second run; until that has ended.
fn with_itself_anywhere<M: Mode>(
    act: impl Fn(&AnySlot<M>) -> bool + Send + 'static,
) -> core::result::Result<(Arc<AnySlot<M>>, Arc<Log>), Fault> {
    let slot = Arc::pin_init(
        pin_init!(AnySlot { inner <- new_hard_lock!(None) }),
        GFP_KERNEL,
    )?;
    let it = slot.clone();
    let (periodic, log) = beat::<M, _>(ms(3), move |_, log| {
        if !log.entered.load(Acquire) && it.inner.lock().is_some() {
            log.entered.store(true, Release);
            log.release.store(act(&it), Release);
        }
    })?;
    let periodic = Arc::new(periodic, GFP_KERNEL)?;
    *slot.inner.lock() = Some(periodic);
    check!(sleep_until(5_000, || log.entered.load(Acquire)
        && log.ended() == log.runs()));
    Ok((slot, log))
}

fn stop_own<M: Mode>(task: &Task) -> Verdict {
    let (slot, log) = with_itself_anywhere::<M>(|slot| {
        let it = slot.inner.lock().clone();
        it.map(|it| it.stop()) == Some(Stop::Running)
    })?;
    let runs = log.runs();
    sleep_ms(20);
    check!(log.release.load(Acquire));
    check!(log.runs() == runs);
    let periodic = slot.inner.lock().take().ok_or(EIO)?;
    check!(settled(|| periodic.stop()) == Stop::Idle);
    check!(periodic.due().is_none());
    check!(periodic.delete(task) == Ok(Drain::Idle));
    Ok(())
}

fn drop_own<M: Mode>(_: &Task) -> Verdict {
    // The slot is captured by the callback it holds: a circle, which this breaks from inside.
    let drops = Arc::new(Atomic::new(0_u64), GFP_KERNEL)?;
    let tell = Tell(drops.clone());
    let (slot, log) = with_itself_anywhere::<M>(move |slot| {
        let _captured = &tell;
        let it = slot.inner.lock().take();
        drop(it);
        true
    })?;
    let runs = log.runs();
    sleep_ms(20);
    check!(slot.inner.lock().is_none());
    check!(log.runs() == runs);
    check!(log.ended() == runs);
    check!(sleep_until(2_000, || drops.load(Acquire) == 1));
    Ok(())
}

fn circle(_: &Task) -> Verdict {
    let slot = Slot::<Task>::new()?;
    let told = Arc::new(Atomic::new(0_u64), GFP_KERNEL)?;
    let deleting = Arc::new(Atomic::new(false), GFP_KERNEL)?;
    let (it, note, begins) = (slot.clone(), told.clone(), deleting.clone());
    let deleter = Closure::<Task>::new(softclock::owner!(), c"deleter", move |run| {
        let inner = it.inner.lock();
        begins.store(true, Release);
        if let Some(Err(CannotWait::Deadlock)) = inner.as_ref().map(|it| it.delete(&run.task())) {
            note.fetch_add(1, Release);
        }
        Next::Stop
    })?;
    let (other, note) = (deleter.clone(), told.clone());
    let (periodic, log) = beat::<Task, _>(ms(200), move |tick, _| {
        other.callout().arm_after(Delta::ZERO);
        // Until it runs, and waits for this.
        sleep_until(2_000, || deleting.load(Acquire));
        sleep_ms(50);
        if other.callout().drain(&tick.task()) == Err(CannotWait::Deadlock) {
            note.fetch_add(1, Release);
        }
        Then::Stop
    })?;
    *slot.inner.lock() = Some(periodic);
    check!(sleep_until(5_000, || log.ended() == 1));
    sleep_ms(5);
    let periodic = slot.inner.lock().take();
    drop(periodic);
    // One of the two: then the other one need not wait for ever.
    check!(told.load(Acquire) == 1);
    Ok(())
}

fn long_wait(_: &Task) -> Verdict {
    let slot = Slot::<Task>::new()?;
    let (it, deleted) = (slot.clone(), Arc::new(Atomic::new(false), GFP_KERNEL)?);
    let done = deleted.clone();
    // Waits for the callback, which waits for it: no table of softclock's shows that.
    let deleter = Closure::<Task>::new(softclock::owner!(), c"deleter", move |run| {
        if let Some(it) = it.inner.lock().as_ref() {
            let _ = it.delete(&run.task());
        }
        done.store(true, Release);
        Next::Stop
    })?;
    let (other, seen) = (deleter.clone(), deleted.clone());
    let (periodic, log) = beat::<Task, _>(ms(200), move |_, log| {
        other.callout().arm_after(Delta::ZERO);
        // Long enough for the report.
        let waited = sleep_until(5_600, || seen.load(Acquire));
        log.release.store(!waited, Release);
        Then::Stop
    })?;
    *slot.inner.lock() = Some(periodic);
    let over = sleep_until(20_000, || deleted.load(Acquire));
    // It is captured by what it has captured.
    let periodic = slot.inner.lock().take();
    drop(periodic);
    check!(over);
    check!(log.release.load(Acquire));
    check!(log.ended() == 1);
    Ok(())
}

fn new_in_atomic(_: &Task) -> Verdict {
    let answer = Arc::new(Atomic::new(0_i32), GFP_KERNEL)?;
    let note = answer.clone();
    let maker = Closure::<Soft>::new(softclock::owner!(), c"maker", move |_| {
        let made = Periodic::<Soft>::new(softclock::owner!(), c"beat", ms(1), |_| ());
        note.store(made.err().map_or(1, |error| error.to_errno()), Release);
        Next::Stop
    })?;
    maker.callout().arm_after(Delta::ZERO);
    check!(sleep_until(2_000, || answer.load(Acquire) != 0));
    check!(answer.load(Acquire) == EAGAIN.to_errno());
    stack_pin_init!(let lock = new_spinlock!(()));
    let guard = lock.lock();
    let made = Periodic::<Soft>::new(softclock::owner!(), c"beat", ms(1), |_| ());
    drop(guard);
    check!(made.is_err_and(|error| error == EAGAIN));
    Ok(())
}

fn delete_in_atomic(task: &Task) -> Verdict {
    let (periodic, log) = executing::<Task>()?;
    // Kernels that look for it report this delete, as they must: there it is another test.
    if cfg!(CONFIG_DEBUG_ATOMIC_SLEEP) {
        log.release.store(true, Release);
        return Err(Fault::Skip("this kernel reports the attempt"));
    }
    stack_pin_init!(let lock = new_spinlock!(()));
    let guard = lock.lock();
    let answer = periodic.delete(task);
    drop(guard);
    log.release.store(true, Release);
    check!(answer == Err(CannotWait::Atomic));
    check!(sleep_until(2_000, || log.ended() == 1));
    sleep_ms(20);
    check!(log.runs() == 1);
    Ok(())
}

/// Says when it is dropped.
struct Tell(Arc<Atomic<u64>>);

impl Drop for Tell {
    fn drop(&mut self) {
        self.0.fetch_add(1, Release);
    }
}

fn captured<M: Mode>(task: &Task) -> Verdict {
    let drops = Arc::new(Atomic::new(0_u64), GFP_KERNEL)?;
    let (argument, mut calls) = (KBox::new(77_u64, GFP_KERNEL)?, 0_u64);
    let tell = Tell(drops.clone());
    let (periodic, log) = beat::<M, _>(ms(2), move |_, log| {
        let _argument = &tell;
        calls += 1;
        if *argument != 77 || calls != log.runs() {
            log.untrue.fetch_add(1, Relaxed);
        }
    })?;
    check!(log.has_run(5));
    check!(periodic.delete(task).is_ok());
    check!(drops.load(Acquire) == 0);
    drop(periodic);
    check!(sleep_until(2_000, || drops.load(Acquire) == 1));
    check!(log.is_clean());
    Ok(())
}

fn stop_returned<M: Mode>(task: &Task) -> Verdict {
    let (periodic, log) = beat::<M, _>(ms(2), |_, log| {
        if log.runs() == 3 {
            Then::Stop
        } else {
            Then::Repeat
        }
    })?;
    check!(log.has_run(3));
    sleep_ms(20);
    check!(log.runs() == 3);
    check!(settled(|| periodic.stop()) == Stop::Idle);
    check!(periodic.due().is_none());
    check!(periodic.counts().fired == 3);
    check!(periodic.change(ms(1))? == Changed::Over);
    sleep_ms(5);
    check!(log.runs() == 3);
    check!(periodic.delete(task) == Ok(Drain::Idle));
    Ok(())
}

fn drop_in_atomic<M: Mode>(_: &Task) -> Verdict {
    stack_pin_init!(let lock = new_spinlock!(()));
    for _ in 0..50 {
        let drops = Arc::new(Atomic::new(0_u64), GFP_KERNEL)?;
        let tell = Tell(drops.clone());
        let (periodic, log) = beat::<M, _>(Delta::from_micros(100), move |_, _| {
            let _captured = &tell;
            pause_us(10);
        })?;
        pause_us(250);
        let guard = lock.lock();
        drop(periodic);
        drop(guard);
        check!(sleep_until(2_000, || drops.load(Acquire) == 1));
        let runs = log.runs();
        pause_us(250);
        check!(log.runs() == runs);
        check!(log.ended() == runs);
    }
    Ok(())
}

fn drop_running<M: Mode>(_: &Task) -> Verdict {
    let drops = Arc::new(Atomic::new(0_u64), GFP_KERNEL)?;
    let (periodic, log) = executing::<M>()?;
    // A second one, whose captures tell; the first one says that a callback executes.
    let tell = Tell(drops.clone());
    let (second, other) = beat::<M, _>(ms(2), move |_, log| {
        let _captured = &tell;
        log.entered.store(true, Release);
        pause_us(2_000);
    })?;
    sleep_until(100, || other.entered.load(Acquire));
    drop(second);
    drop(periodic);
    log.release.store(true, Release);
    check!(sleep_until(2_000, || drops.load(Acquire) == 1));
    check!(other.ended() == other.runs());
    check!(sleep_until(2_000, || log.ended() == log.runs()));
    let runs = (log.runs(), other.runs());
    sleep_ms(20);
    check!(runs == (log.runs(), other.runs()));
    Ok(())
}
