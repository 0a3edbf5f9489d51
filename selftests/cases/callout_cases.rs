// SPDX-License-Identifier: GPL-2.0

//! Arming, stopping, draining: what each answers in each state.

use crate::{
    harness::{all, check, Case, Fault, Verdict},
    subject::{
        is_atomic, is_hard, pause_us, settled, sleep_ms, sleep_until, spin_until, while_running,
        Act, Subject, SAW_PENDING, SAW_REARMED, SAW_TASK,
    },
};
use softclock::{prelude::*, Unlocked};

pub(crate) const CASES: &[&[Case]] = &[
    &all!("callout-1 stop of a callout never armed is Idle", stop_idle),
    &all!(
        "callout-2 drain of a callout never armed returns Idle",
        drain_idle
    ),
    &all!("callout-3 a stopped callout does not run", stop_pending),
    &all!("callout-4 stop after the run is Idle", stop_fired),
    &all!(
        "callout-5 stop of a running callback answers Running and does not wait",
        stop_running
    ),
    &all!(
        "callout-6 drain waits for a running callback",
        drain_running
    ),
    &all!(
        "callout-7 stop removes the re-arm of a running callback",
        stop_rearmed
    ),
    &all!(
        "callout-8 drain removes the re-arm of a running callback",
        drain_rearmed
    ),
    &all!(
        "callout-9 drain ends a callback that always re-arms, 10000 times",
        drain_always
    ),
    &all!(
        "callout-12 arming a running callout is New, and both runs happen",
        arm_running
    ),
    &all!(
        "callout-13 re-arming replaces: one run, at the last deadline",
        rearm_pending
    ),
    &[Case {
        name: "callout-13 a re-arm at the moment of the expiry is never early (soft)",
        run: rearm_expiring,
    }],
    &all!("callout-14 arming an idle callout is New", arm_idle),
    &all!(
        "callout-18 pending until the callback begins",
        pending_until_begin
    ),
    &all!(
        "callout-21 pending inside a callback that has re-armed itself",
        pending_rearmed
    ),
    &all!(
        "armed in its callback, which returns another deadline: the next run is told that of the arm",
        told_what_won
    ),
    &all!(
        "callout-23 a delay of 0, -1 or the minimum runs soon",
        tiny_delays
    ),
    &all!(
        "callout-24 a deadline in the past runs at once",
        past_deadline
    ),
    &all!(
        "callout-25 a deadline in the future is never early",
        future_deadline
    ),
    &all!(
        "callout-26 delays of 1 us to 1 s are never early",
        delays_never_early
    ),
    &all!(
        "a callback that always asks for the past lets others run",
        past_for_ever
    ),
    &all!(
        "callout-27 delays to the end of time are accepted and cancelled",
        endless_delays
    ),
    &all!(
        "callbacks execute in the context their type says",
        context_is_true
    ),
];

fn stop_idle<K: Unlocked>(_: &Task) -> Verdict {
    let subject = Subject::<K>::new(Act::Nothing, None)?;
    check!(subject.timer.stop() == Stop::Idle);
    check!(!subject.timer.is_pending());
    sleep_ms(20);
    check!(subject.runs() == 0);
    Ok(())
}

fn drain_idle<K: Unlocked>(task: &Task) -> Verdict {
    let subject = Subject::<K>::new(Act::Nothing, None)?;
    check!(subject.timer.drain(task) == Ok(Drain::Idle));
    Ok(())
}

fn told_what_won<K: Unlocked>(_: &Task) -> Verdict {
    for returned in [Delta::from_micros(10), Delta::from_secs(3_600)] {
        let subject = Subject::<K>::new(Act::ArmForLater, Some(returned))?;
        let due = softclock::now() + Delta::from_millis(2);
        subject.callout::<K>().arm_at(due);
        check!(sleep_until(2_000, || subject.ended.load(Acquire) == 2));
        let armed = due + Delta::from_millis(20);
        check!(subject.last_due_ns.load(Relaxed) == armed.as_nanos());
        check!(subject.early.load(Relaxed) == 0);
        check!(!subject.timer.is_pending());
    }
    Ok(())
}

fn stop_pending<K: Unlocked>(_: &Task) -> Verdict {
    let subject = Subject::<K>::new(Act::Nothing, None)?;
    check!(subject.callout::<K>().arm_after(Delta::from_secs(1)) == Arm::New);
    sleep_ms(10);
    check!(subject.timer.stop() == Stop::Cancelled);
    check!(!subject.timer.is_pending());
    check!(subject.timer.stop() == Stop::Idle);
    sleep_ms(1_200);
    check!(subject.runs() == 0);
    Ok(())
}

fn stop_fired<K: Unlocked>(_: &Task) -> Verdict {
    let subject = Subject::<K>::new(Act::Nothing, None)?;
    subject.callout::<K>().arm_after(Delta::from_millis(50));
    check!(sleep_until(2_000, || subject.ended.load(Acquire) == 1));
    check!(settled(|| subject.timer.stop()) == Stop::Idle);
    check!(subject.runs() == 1);
    Ok(())
}

fn stop_running<K: Unlocked>(_: &Task) -> Verdict {
    while_running::<K>(Act::Hold, |subject| {
        check!(subject.timer.stop() == Stop::Running);
        // It did not wait: nobody has released the callback yet. In an interrupt that ends by itself.
        if is_atomic::<K>() && subject.ended.load(Acquire) != 0 {
            return Err(Fault::Retry);
        }
        check!(subject.ended.load(Acquire) == 0);
        Ok(())
    })
}

fn drain_running<K: Unlocked>(task: &Task) -> Verdict {
    while_running::<K>(Act::Hold, |subject| {
        subject.release.store(true, Release);
        let answer = subject.timer.drain(task);
        check!(subject.ended.load(Acquire) == 1);
        // It may have ended before the drain looked.
        if answer == Ok(Drain::Idle) && !is_atomic::<K>() {
            return Err(Fault::Retry);
        }
        check!(answer == Ok(Drain::Finished) || (is_atomic::<K>() && answer == Ok(Drain::Idle)));
        Ok(())
    })
}

fn stop_rearmed<K: Unlocked>(_: &Task) -> Verdict {
    while_running::<K>(Act::RearmAndHold, |subject| {
        check!(subject.timer.stop() == Stop::Running);
        subject.release.store(true, Release);
        sleep_ms(50);
        check!(subject.runs() == 1);
        Ok(())
    })
}

fn drain_rearmed<K: Unlocked>(task: &Task) -> Verdict {
    while_running::<K>(Act::RearmAndHold, |subject| {
        subject.release.store(true, Release);
        check!(subject.timer.drain(task).is_ok());
        // The run the drain met, and none after: where the first had ended, the drain took the second.
        let runs = subject.runs();
        sleep_ms(50);
        check!(subject.runs() == runs);
        check!(subject.ended.load(Acquire) == runs);
        Ok(())
    })
}

fn drain_always<K: Unlocked>(task: &Task) -> Verdict {
    // Often enough to be met in every phase, and not so often that nothing else runs on a slow CPU.
    let subject = Subject::<K>::new(Act::Nothing, Some(Delta::from_micros(20)))?;
    let mut phase: u32 = 1;
    for _ in 0..10_000 {
        subject.callout::<K>().arm_after(Delta::ZERO);
        // Any phase of the callback's life, from a generator with a fixed seed.
        phase = phase.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        pause_us(i64::from(phase >> 27));
        check!(subject.timer.drain(task).is_ok());
        let runs = subject.runs();
        check!(!subject.timer.is_pending());
        check!(subject.ended.load(Acquire) == runs);
        pause_us(2);
        check!(subject.runs() == runs);
    }
    Ok(())
}

fn arm_running<K: Unlocked>(_: &Task) -> Verdict {
    while_running::<K>(Act::Hold, |subject| {
        check!(subject.callout::<K>().arm_after(Delta::ZERO) == Arm::New);
        subject.release.store(true, Release);
        check!(sleep_until(2_000, || subject.ended.load(Acquire) == 2));
        sleep_ms(10);
        check!(subject.runs() == 2);
        Ok(())
    })
}

fn rearm_pending<K: Unlocked>(_: &Task) -> Verdict {
    let subject = Subject::<K>::new(Act::Nothing, None)?;
    let start = softclock::now();
    check!(subject.callout::<K>().arm_at(start + Delta::from_secs(10)) == Arm::New);
    // Sooner and later, by turns; the last one is later.
    let last = start + Delta::from_millis(1_000);
    for ms in [5_000, 20_000, 700, 1_000] {
        let due = start + Delta::from_millis(ms);
        check!(subject.callout::<K>().arm_at(due) == Arm::Replaced);
    }
    check!(sleep_until(5_000, || subject.ended.load(Acquire) == 1));
    check!(subject.last_due_ns.load(Relaxed) == last.as_nanos());
    check!(subject.early.load(Relaxed) == 0);
    sleep_ms(1_000);
    check!(subject.runs() == 1);
    Ok(())
}

/// Arms all its subjects for one instant, from a worker and so on its CPU.
#[pin_data]
struct Volley {
    #[pin]
    timer: Callout<Self, Task>,
    subjects: KVec<Arc<Timed<Subject<Soft>>>>,
    /// The instant, once all are armed.
    due_ns: Atomic<i64>,
}

impl_has_callout! { impl HasCallout<Task> for Volley { self.timer } }

impl OnExpire<Task> for Volley {
    fn expire(this: ArcBorrow<'_, Timed<Self>>, _run: &Expiry<'_, Task>) -> Next {
        let due = softclock::now() + Delta::from_micros(500);
        for subject in this.subjects.iter() {
            subject.callout::<Soft>().arm_at(due);
        }
        this.due_ns.store(due.as_nanos(), Release);
        Next::Stop
    }
}

/// An expiry on its way when its callout is armed again must not count for the later deadline. The
/// worker's CPU takes the volley off its queue one by one, and this one arms the same again, so that
/// they meet at one of them.
fn rearm_expiring(_: &Task) -> Verdict {
    if kernel::cpu::nr_cpu_ids() < 2 {
        return Err(Fault::Skip("needs two CPUs"));
    }
    let mut subjects = KVec::new();
    for _ in 0..200 {
        let subject = Subject::<Soft>::new(Act::Nothing, None)?;
        subjects.push(subject, GFP_KERNEL)?;
    }
    let volley = Timed::new(try_pin_init!(Volley {
        timer <- Callout::new(softclock::owner!(), c"volley"),
        subjects,
        due_ns: Atomic::new(0),
    }))?;
    let armed = || volley.due_ns.load(Acquire) != 0;
    let end = softclock::now() + Delta::from_secs(2);
    while softclock::now() < end {
        volley.due_ns.store(0, Release);
        volley.callout::<Task>().arm_after(Delta::ZERO);
        // A busy thread keeps its CPU and sends the worker to the other one.
        check!(spin_until(20_000_000, armed) || sleep_until(2_000, armed));
        spin_until(5_000_000, || !volley.subjects[0].timer.is_pending());
        for subject in volley.subjects.iter() {
            subject.callout::<Soft>().arm_after(Delta::from_millis(20));
        }
        for subject in volley.subjects.iter() {
            check!(subject.early.load(Relaxed) == 0);
            subject.timer.stop();
        }
    }
    Ok(())
}

fn arm_idle<K: Unlocked>(_: &Task) -> Verdict {
    let subject = Subject::<K>::new(Act::Nothing, None)?;
    check!(subject.callout::<K>().arm_after(Delta::from_secs(9)) == Arm::New);
    check!(subject.timer.stop() == Stop::Cancelled);
    check!(subject.callout::<K>().arm_after(Delta::from_secs(9)) == Arm::New);
    Ok(())
}

fn pending_until_begin<K: Unlocked>(_: &Task) -> Verdict {
    let subject = Subject::<K>::new(Act::Nothing, None)?;
    check!(!subject.timer.is_pending());
    subject.callout::<K>().arm_after(Delta::from_secs(3_600));
    check!(subject.timer.is_pending());
    subject.callout::<K>().arm_after(Delta::from_millis(50));
    check!(sleep_until(2_000, || subject.ended.load(Acquire) == 1));
    check!(!subject.saw(SAW_PENDING));
    Ok(())
}

fn pending_rearmed<K: Unlocked>(_: &Task) -> Verdict {
    let subject = Subject::<K>::new(Act::RearmAndHold, None)?;
    subject.release.store(true, Release);
    subject.callout::<K>().arm_after(Delta::ZERO);
    check!(sleep_until(2_000, || subject.ended.load(Acquire) == 2));
    check!(subject.saw(SAW_REARMED));
    Ok(())
}

fn tiny_delays<K: Unlocked>(_: &Task) -> Verdict {
    let subject = Subject::<K>::new(Act::Nothing, None)?;
    for (done, ns) in [(1, 0), (2, -1), (3, i64::MIN)] {
        check!(subject.callout::<K>().arm_after(Delta::from_nanos(ns)) == Arm::New);
        check!(sleep_until(2_000, || subject.ended.load(Acquire) == done));
    }
    Ok(())
}

fn past_deadline<K: Unlocked>(_: &Task) -> Verdict {
    let subject = Subject::<K>::new(Act::Nothing, None)?;
    for (done, due) in [
        (1, Instant::BOOT),
        (2, softclock::now()),
        (3, Instant::from_nanos(-5)),
    ] {
        check!(subject.callout::<K>().arm_at(due) == Arm::New);
        check!(sleep_until(2_000, || subject.ended.load(Acquire) == done));
    }
    Ok(())
}

fn future_deadline<K: Unlocked>(_: &Task) -> Verdict {
    let subject = Subject::<K>::new(Act::Nothing, None)?;
    for done in 1..=20 {
        let due = softclock::now() + Delta::from_micros(done * 137);
        subject.callout::<K>().arm_at(due);
        check!(sleep_until(2_000, || subject.ended.load(Acquire) == done as u64));
        check!(softclock::now() >= due);
        check!(subject.last_due_ns.load(Relaxed) == due.as_nanos());
    }
    check!(subject.early.load(Relaxed) == 0);
    Ok(())
}

fn delays_never_early<K: Unlocked>(_: &Task) -> Verdict {
    let subject = Subject::<K>::new(Act::Nothing, None)?;
    let delays = [
        1, 2, 5, 10, 50, 100, 500, 1_000, 4_000, 20_000, 100_000, 1_000_000,
    ];
    for (before, us) in delays.into_iter().enumerate() {
        let earliest = softclock::now() + Delta::from_micros(us);
        subject.callout::<K>().arm_after(Delta::from_micros(us));
        check!(sleep_until(4_000, || subject.ended.load(Acquire) == before as u64 + 1));
        check!(subject.last_due_ns.load(Relaxed) >= earliest.as_nanos());
    }
    check!(subject.early.load(Relaxed) == 0);
    check!(subject.untrue.load(Relaxed) == 0);
    Ok(())
}

fn past_for_ever<K: Unlocked>(_: &Task) -> Verdict {
    let subject = Subject::<K>::new(Act::ReturnPast, None)?;
    let (soft, hard) = (
        Subject::<Soft>::new(Act::Nothing, None)?,
        Subject::<Hard>::new(Act::Nothing, None)?,
    );
    subject.callout::<K>().arm_after(Delta::ZERO);
    soft.callout::<Soft>().arm_after(Delta::from_micros(1));
    hard.callout::<Hard>().arm_after(Delta::from_micros(1));
    check!(sleep_until(5_000, || subject.ended.load(Acquire) == 1_000));
    check!(hard.runs() == 1);
    // Hard interrupts come before softirqs, however many there are.
    check!(soft.runs() == 1 || is_hard::<K>());
    check!(sleep_until(2_000, || soft.runs() == 1));
    Ok(())
}

fn endless_delays<K: Unlocked>(_: &Task) -> Verdict {
    let subject = Subject::<K>::new(Act::Nothing, None)?;
    let past_31_bits = Delta::from_millis(1 << 32);
    for delay in [
        Delta::from_secs(200),
        past_31_bits,
        Delta::from_secs(i64::MAX),
        Delta::MAX,
    ] {
        check!(subject.callout::<K>().arm_after(delay) == Arm::New);
        sleep_ms(2);
        check!(subject.timer.is_pending());
        check!(subject.timer.stop() == Stop::Cancelled);
    }
    check!(subject.callout::<K>().arm_at(Instant::NEVER) == Arm::New);
    check!(subject.timer.stop() == Stop::Cancelled);
    check!(subject.runs() == 0);
    Ok(())
}

fn context_is_true<K: Unlocked>(_: &Task) -> Verdict {
    let subject = Subject::<K>::new(Act::Nothing, None)?;
    subject.callout::<K>().arm_after(Delta::ZERO);
    check!(sleep_until(2_000, || subject.ended.load(Acquire) == 1));
    check!(subject.saw(SAW_TASK) != is_atomic::<K>());
    Ok(())
}
