// SPDX-License-Identifier: GPL-2.0

//! Who may be gone when: shutdown, own callback, dropped objects, several waiters.

use crate::{
    harness::{all, check, Case, Fault, Verdict},
    subject::{
        is_atomic, settled, sleep_ms, sleep_until, while_running, Act, Subject, DROPPED,
        DROPPED_IN_RUN, DROPPED_IN_TASK, MADE, SAW_DEADLOCK, SAW_NEW, SAW_RUNNING,
    },
};
use kernel::new_spinlock;
use pin_init::stack_pin_init;
use softclock::{prelude::*, Unlocked};

pub(crate) const CASES: &[&[Case]] = &[
    &[Case {
        name: "callout-35 drain from the own callback is refused, not a deadlock (task)",
        run: drain_own,
    }],
    &[Case {
        name: "callout-35 shutdown from the own callback shuts down without waiting (task)",
        run: shutdown_own,
    }],
    &all!(
        "callout-36 stop from the own callback is Running; arming after it works",
        stop_own
    ),
    &all!(
        "after a stop in the own callback, what it returns counts",
        stop_own_returns
    ),
    &[Case {
        name: "reasons not to wait are EDEADLK and EWOULDBLOCK",
        run: wait_errors,
    }],
    &[Case {
        name: "there is no proof that one may sleep under a spinlock",
        run: no_task_under_lock,
    }],
    &all!(
        "callout-37 a callback may drop its own object; it dies in a task",
        drop_own
    ),
    &all!("callout-38 dropping an armed object cancels it", drop_armed),
    &all!(
        "callout-38 dropping a re-arming object ends it",
        drop_rearming
    ),
    &all!(
        "callout-38 an object dropped during a run outlives the run",
        drop_running
    ),
    &all!(
        "callout-39 arming after shutdown is Refused",
        arm_after_shutdown
    ),
    &all!(
        "callout-39 arming while another thread drains is Refused",
        arm_while_draining
    ),
    &all!(
        "callout-40 four concurrent drains all return after the run",
        four_drains
    ),
    &all!(
        "an asynchronous drain refuses arms until the run ends, then reports that once",
        drain_async_running
    ),
    &all!(
        "an asynchronous drain that meets no run reports nothing",
        drain_async_quiet
    ),
    &all!(
        "an asynchronous drain in the own callback is reported once, after the run",
        drain_async_own
    ),
    &all!(
        "a stop during a run drops what the callback returns",
        stop_drops_next
    ),
    &all!(
        "a closure and what it captured die with the last reference",
        closure_dies
    ),
    &[Case {
        name: "names that are empty, too long or not one word are EINVAL",
        run: bad_names,
    }],
];

fn drain_own(_: &Task) -> Verdict {
    let subject = Subject::<Task>::new(Act::DrainMyself, None)?;
    subject.callout::<Task>().arm_after(Delta::ZERO);
    check!(sleep_until(2_000, || subject.ended.load(Acquire) == 1));
    check!(subject.saw(SAW_DEADLOCK));
    Ok(())
}

fn shutdown_own(_: &Task) -> Verdict {
    let subject = Subject::<Task>::new(Act::ShutMyself, Some(Delta::ZERO))?;
    subject.callout::<Task>().arm_after(Delta::ZERO);
    check!(sleep_until(2_000, || subject.ended.load(Acquire) == 1));
    check!(subject.saw(SAW_DEADLOCK));
    sleep_ms(20);
    check!(subject.runs() == 1);
    check!(subject.timer.is_shut());
    Ok(())
}

fn stop_own<K: Unlocked>(_: &Task) -> Verdict {
    let subject = Subject::<K>::new(Act::StopAndArm, None)?;
    subject.callout::<K>().arm_after(Delta::ZERO);
    check!(sleep_until(2_000, || subject.ended.load(Acquire) == 2));
    check!(subject.saw(SAW_RUNNING));
    check!(subject.saw(SAW_NEW));
    Ok(())
}

fn stop_own_returns<K: Unlocked>(_: &Task) -> Verdict {
    let subject = Subject::<K>::new(Act::StopAndReturn, Some(Delta::from_millis(1)))?;
    subject.callout::<K>().arm_after(Delta::ZERO);
    check!(sleep_until(2_000, || subject.ended.load(Acquire) >= 3));
    check!(subject.saw(SAW_RUNNING));
    Ok(())
}

fn wait_errors(_: &Task) -> Verdict {
    check!(Error::from(CannotWait::Deadlock).to_errno() == -35);
    check!(Error::from(CannotWait::Atomic).to_errno() == -11);
    Ok(())
}

fn no_task_under_lock(_: &Task) -> Verdict {
    stack_pin_init!(let lock = new_spinlock!(()));
    let guard = lock.lock();
    let proof = Task::new().is_ok();
    drop(guard);
    check!(!proof);
    check!(Task::new().is_ok());
    Ok(())
}

/// Waits until one more subject than `before` was dropped, and says whether it died in a task.
fn one_dies(before: (u64, u64)) -> bool {
    sleep_until(2_000, || DROPPED.load(Acquire) == before.0 + 1)
        && DROPPED_IN_TASK.load(Acquire) == before.1 + 1
}

/// The counts of drops, once what earlier cases dropped is gone.
fn dropped() -> (u64, u64) {
    sleep_until(2_000, || DROPPED.load(Acquire) == MADE.load(Relaxed));
    (DROPPED.load(Acquire), DROPPED_IN_TASK.load(Acquire))
}

fn drop_own<K: Unlocked>(_: &Task) -> Verdict {
    let before = dropped();
    let subject = Subject::<K>::new(Act::DropMyself, Some(Delta::ZERO))?;
    subject.callout::<K>().arm_after(Delta::from_millis(5));
    let me = subject.clone();
    *me.me.lock() = Some(subject);
    drop(me);
    check!(one_dies(before));
    Ok(())
}

fn drop_armed<K: Unlocked>(_: &Task) -> Verdict {
    let before = dropped();
    let subject = Subject::<K>::new(Act::Nothing, None)?;
    subject.callout::<K>().arm_after(Delta::from_millis(300));
    drop(subject);
    check!(DROPPED.load(Acquire) == before.0 + 1);
    // A run now would use freed memory; the sanitizer guests would say so.
    sleep_ms(350);
    Ok(())
}

fn drop_rearming<K: Unlocked>(_: &Task) -> Verdict {
    for round in 0..200 {
        let before = dropped();
        let subject = Subject::<K>::new(Act::Nothing, Some(Delta::from_micros(20)))?;
        subject.callout::<K>().arm_after(Delta::ZERO);
        if round % 8 == 0 {
            sleep_ms(1);
        }
        drop(subject);
        check!(one_dies(before));
    }
    Ok(())
}

fn drop_running<K: Unlocked>(_: &Task) -> Verdict {
    let before = dropped();
    // The case's reference goes when this returns, in the middle of the run or just after it.
    while_running::<K>(Act::Hold, |subject| {
        if subject.ended.load(Acquire) != 0 {
            return Err(Fault::Retry);
        }
        Ok(())
    })?;
    let after = dropped();
    check!(after.0 > before.0);
    check!(after.0 - before.0 == after.1 - before.1);
    check!(DROPPED_IN_RUN.load(Relaxed) == 0);
    Ok(())
}

fn arm_after_shutdown<K: Unlocked>(task: &Task) -> Verdict {
    let subject = Subject::<K>::new(Act::Nothing, None)?;
    subject.callout::<K>().arm_after(Delta::from_secs(9));
    check!(subject.timer.shutdown(task) == Ok(Drain::Cancelled));
    check!(subject.timer.is_shut());
    check!(subject.callout::<K>().arm_after(Delta::ZERO) == Arm::Refused(Refusal::Shutdown));
    sleep_ms(20);
    check!(subject.runs() == 0);
    check!(subject.timer.shutdown(task) == Ok(Drain::Idle));
    Ok(())
}

/// Drains a subject from a worker.
#[pin_data]
struct Drainer<K: Unlocked> {
    #[pin]
    timer: Callout<Self, Task>,
    subject: Arc<Timed<Subject<K>>>,
    /// Runs that had ended when the drain returned, plus one; 0: it has not returned.
    returned: Atomic<u64>,
    /// Its drain has met the run.
    met: Atomic<bool>,
}

impl_has_callout! { impl {K: Unlocked} HasCallout<Task> for Drainer<K> { self.timer } }

impl<K: Unlocked> OnExpire<Task> for Drainer<K> {
    fn expire(this: ArcBorrow<'_, Timed<Self>>, run: &Expiry<'_, Task>) -> Next {
        let met = this.subject.timer.drain(&run.task());
        if met == Ok(Drain::Finished) {
            this.met.store(true, Relaxed);
        }
        let ended = this.subject.ended.load(Acquire);
        this.returned.store(ended + 1, Release);
        Next::Stop
    }
}

fn drainer<K: Unlocked>(subject: &Arc<Timed<Subject<K>>>) -> Result<Arc<Timed<Drainer<K>>>> {
    let drainer = Timed::new(try_pin_init!(Drainer {
        timer <- Callout::new(softclock::owner!(), c"drainer"),
        subject: subject.clone(),
        returned: Atomic::new(0),
        met: Atomic::new(false),
    }))?;
    drainer.callout::<Task>().arm_after(Delta::ZERO);
    Ok(drainer)
}

fn arm_while_draining<K: Unlocked>(_: &Task) -> Verdict {
    while_running::<K>(Act::Hold, |subject| {
        let drainer = drainer(subject)?;
        let refused = || {
            let arm = subject.callout::<K>().arm_after(Delta::from_secs(9));
            arm == Arm::Refused(Refusal::Draining)
        };
        if !sleep_until(1_000, || refused() || subject.stuck.load(Acquire)) || !refused() {
            // The worker that drains was queued behind the callback, on its CPU.
            return Err(Fault::Retry);
        }
        subject.release.store(true, Release);
        check!(sleep_until(2_000, || drainer.returned.load(Acquire) != 0));
        check!(!subject.timer.is_pending());
        check!(subject.callout::<K>().arm_after(Delta::from_secs(9)) == Arm::New);
        Ok(())
    })
}

fn four_drains<K: Unlocked>(_: &Task) -> Verdict {
    while_running::<K>(Act::Hold, |subject| {
        let drainers = [
            drainer(subject)?,
            drainer(subject)?,
            drainer(subject)?,
            drainer(subject)?,
        ];
        sleep_ms(if is_atomic::<K>() { 5 } else { 50 });
        let returned = || {
            drainers
                .iter()
                .filter(|d| d.returned.load(Acquire) != 0)
                .count()
        };
        check!(returned() == 0 || subject.stuck.load(Acquire));
        subject.release.store(true, Release);
        check!(sleep_until(2_000, || returned() == 4));
        check!(drainers.iter().all(|d| d.returned.load(Acquire) == 2));
        if drainers.iter().filter(|d| d.met.load(Relaxed)).count() < 2 {
            // Their workers were queued behind the callback.
            return Err(Fault::Retry);
        }
        Ok(())
    })
}

fn drain_async_running<K: Unlocked>(_: &Task) -> Verdict {
    while_running::<K>(Act::Hold, |subject| {
        let answers = [subject.timer.drain_async(), subject.timer.drain_async()];
        let arm = subject.callout::<K>().arm_after(Delta::from_secs(9));
        let early = subject.drained.load(Acquire);
        if subject.ended.load(Acquire) == 1 {
            // It was not held that long.
            return Err(Fault::Retry);
        }
        check!(answers == [Stop::Running; 2]);
        check!(arm == Arm::Refused(Refusal::Draining));
        check!(early == 0);
        subject.release.store(true, Release);
        check!(sleep_until(2_000, || subject.drained.load(Acquire) == 1));
        check!(subject.ended.load(Acquire) == 1);
        check!(subject.callout::<K>().arm_after(Delta::ZERO) == Arm::New);
        check!(sleep_until(2_000, || subject.ended.load(Acquire) == 2));
        sleep_ms(5);
        check!(subject.drained.load(Acquire) == 1);
        check!(subject.drained_inside.load(Relaxed) == 0);
        Ok(())
    })
}

fn drain_async_quiet<K: Unlocked>(_: &Task) -> Verdict {
    let subject = Subject::<K>::new(Act::Nothing, None)?;
    check!(subject.timer.drain_async() == Stop::Idle);
    check!(subject.callout::<K>().arm_after(Delta::from_secs(9)) == Arm::New);
    check!(subject.timer.drain_async() == Stop::Cancelled);
    check!(subject.callout::<K>().arm_after(Delta::ZERO) == Arm::New);
    check!(sleep_until(2_000, || subject.ended.load(Acquire) == 1));
    check!(settled(|| subject.timer.stop()) == Stop::Idle);
    check!(subject.timer.drain_async() == Stop::Idle);
    sleep_ms(5);
    check!(subject.runs() == 1);
    check!(subject.drained.load(Acquire) == 0);
    Ok(())
}

fn drain_async_own<K: Unlocked>(_: &Task) -> Verdict {
    // What it returns does not count: it would run again before the next look.
    let subject = Subject::<K>::new(Act::DrainMyselfAsync, Some(Delta::from_millis(1)))?;
    for run in 1..=3 {
        check!(subject.callout::<K>().arm_after(Delta::from_millis(1)) == Arm::New);
        check!(sleep_until(2_000, || subject.drained.load(Acquire) == run));
        check!(subject.saw(SAW_RUNNING));
        sleep_ms(5);
        check!(subject.runs() == run);
        check!(subject.drained.load(Acquire) == run);
        check!(subject.drained_inside.load(Relaxed) == 0);
    }
    Ok(())
}

fn stop_drops_next<K: Unlocked>(_: &Task) -> Verdict {
    // Runs back to back: a stop meets it in every phase, and after it nothing runs. Not with a delay
    // of 0: where time stands still while code executes, that would be the end of it.
    let subject = Subject::<K>::new(Act::Nothing, Some(Delta::from_micros(20)))?;
    for _ in 0..500 {
        subject.callout::<K>().arm_after(Delta::ZERO);
        sleep_until(1, || subject.runs() > 0);
        let answer = subject.timer.stop();
        check!(answer != Stop::Idle);
        // A run that has begun may not have counted itself yet; it is the last one.
        let most = subject.runs() + u64::from(answer == Stop::Running);
        sleep_ms(1);
        check!(subject.runs() <= most);
        check!(!subject.timer.is_pending());
    }
    Ok(())
}

static CAPTURED_DROPS: Atomic<u64> = Atomic::new(0);

struct Captured;

impl Drop for Captured {
    fn drop(&mut self) {
        CAPTURED_DROPS.fetch_add(1, Release);
    }
}

fn closure_dies<K: Unlocked>(_: &Task) -> Verdict {
    let before = CAPTURED_DROPS.load(Acquire);
    let captured = Captured;
    let runs = Arc::new(Atomic::new(0u64), GFP_KERNEL)?;
    let counted = runs.clone();
    let closure = Closure::<K>::new(softclock::owner!(), c"closure", move |_run| {
        let _keep = &captured;
        counted.fetch_add(1, Release);
        Next::After(Delta::from_micros(100))
    })?;
    check!(closure.callout().arm_after(Delta::ZERO) == Arm::New);
    check!(sleep_until(2_000, || runs.load(Acquire) > 5));
    check!(CAPTURED_DROPS.load(Acquire) == before);
    drop(closure);
    check!(sleep_until(2_000, || CAPTURED_DROPS.load(Acquire) == before + 1));
    let ran = runs.load(Acquire);
    sleep_ms(5);
    check!(runs.load(Acquire) == ran);
    Ok(())
}

#[pin_data]
struct Named {
    #[pin]
    timer: Callout<Self, Soft>,
}

impl_has_callout! { impl HasCallout<Soft> for Named { self.timer } }

impl OnExpire<Soft> for Named {
    fn expire(_this: ArcBorrow<'_, Timed<Self>>, _run: &Expiry<'_, Soft>) -> Next {
        Next::Stop
    }
}

fn bad_names(_: &Task) -> Verdict {
    let made = |name| {
        Timed::new(try_pin_init!(Named {
            timer <- Callout::new(softclock::owner!(), name),
        }))
    };
    for name in [
        c"",
        c"two words",
        c"a=b",
        c"line\nbreak",
        c"umlaut-\xc3\xbc",
        c"a-name-of-thirty-two-bytes-is-no",
    ] {
        check!(made(name).is_err_and(|error| error == EINVAL));
    }
    for name in [c"x", c"a-name-of-thirty-one-bytes-fits"] {
        check!(made(name).is_ok());
    }
    Ok(())
}
