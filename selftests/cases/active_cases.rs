// SPDX-License-Identifier: GPL-2.0

//! What callout(9) keeps in the callout, and here the object does: function, argument, active.

use crate::{
    harness::{all, check, Case, Verdict},
    subject::{is_atomic, pause_us, settled, sleep_ms, sleep_until, Act, Subject, SAW_ACTIVE},
};
use kernel::cpu::nr_cpu_ids;
use softclock::{new_hard_lock, prelude::*, Unlocked};

pub(crate) const CASES: &[&[Case]] = &[
    &all!(
        "callout-15 a run finds the object as it is then, not as it was when armed",
        object_then
    ),
    &all!(
        "callout-16 arming again needs no function: it is that of the type",
        same_again
    ),
    &all!(
        "callout-18 active from the arm on, through the run, until deactivated",
        active_through_run
    ),
    &all!(
        "callout-19 a callout that has run is active until it is deactivated",
        active_after_run
    ),
    &all!(
        "callout-20 stop, drain and shutdown of a callout that has run make it inactive",
        inactive_after_stop
    ),
    &all!(
        "deactivate does not cancel a run that is owed",
        deactivate_pending
    ),
    &all!(
        "callout-22 the manual's recipe: work done equals arms minus cancels",
        recipe
    ),
];

/// A callback that works on what the object says: which function, which argument.
#[pin_data]
struct Job<K: Unlocked> {
    #[pin]
    timer: Callout<Self, K>,
    work: Atomic<u64>,
    arg: Atomic<u64>,
    done: [Atomic<u64>; 2],
    ended: Atomic<u64>,
}

impl_has_callout! { impl {K: Unlocked} HasCallout<K> for Job<K> { self.timer } }

impl<K: Unlocked> OnExpire<K> for Job<K> {
    fn expire(this: ArcBorrow<'_, Timed<Self>>, _run: &Expiry<'_, K::Context>) -> Next {
        let arg = this.arg.load(Acquire);
        this.done[this.work.load(Acquire) as usize % 2].store(arg, Release);
        this.ended.fetch_add(1, Release);
        Next::Stop
    }
}

fn job<K: Unlocked>() -> Result<Arc<Timed<Job<K>>>> {
    Timed::new(try_pin_init!(Job {
        timer <- Callout::new(softclock::owner!(), c"job"),
        work: Atomic::new(0),
        arg: Atomic::new(0),
        done: [Atomic::new(0), Atomic::new(0)],
        ended: Atomic::new(0),
    }))
}

fn object_then<K: Unlocked>(_: &Task) -> Verdict {
    let job = job::<K>()?;
    job.arg.store(1, Release);
    check!(job.callout::<K>().arm_after(Delta::from_secs(9)) == Arm::New);
    job.work.store(1, Release);
    job.arg.store(2, Release);
    check!(job.callout::<K>().arm_after(Delta::from_millis(1)) == Arm::Replaced);
    check!(sleep_until(2_000, || job.ended.load(Acquire) == 1));
    check!(job.done[0].load(Acquire) == 0);
    check!(job.done[1].load(Acquire) == 2);
    Ok(())
}

fn same_again<K: Unlocked>(_: &Task) -> Verdict {
    let job = job::<K>()?;
    for turn in 1..=3 {
        job.arg.store(10 + turn, Release);
        job.callout::<K>().arm_after(Delta::from_micros(100));
        check!(sleep_until(2_000, || job.ended.load(Acquire) == turn));
        check!(job.done[0].load(Acquire) == 10 + turn);
    }
    Ok(())
}

fn active_through_run<K: Unlocked>(_: &Task) -> Verdict {
    let subject = Subject::<K>::new(Act::Nothing, None)?;
    check!(!subject.timer.is_active());
    subject.callout::<K>().arm_after(Delta::from_millis(5));
    check!(subject.timer.is_active());
    check!(sleep_until(2_000, || subject.ended.load(Acquire) == 1));
    check!(subject.saw(SAW_ACTIVE));
    Ok(())
}

fn active_after_run<K: Unlocked>(_: &Task) -> Verdict {
    let subject = Subject::<K>::new(Act::Nothing, None)?;
    subject.callout::<K>().arm_after(Delta::ZERO);
    check!(sleep_until(2_000, || subject.ended.load(Acquire) == 1));
    sleep_ms(5);
    check!(!subject.timer.is_pending());
    check!(subject.timer.is_active());
    subject.timer.deactivate();
    check!(!subject.timer.is_active());
    Ok(())
}

fn inactive_after_stop<K: Unlocked>(task: &Task) -> Verdict {
    let subject = Subject::<K>::new(Act::Nothing, None)?;
    for (turn, end) in [
        (|subject, _| settled(|| subject.timer.stop()) == Stop::Idle)
            as fn(&Subject<K>, &Task) -> bool,
        |subject, task| matches!(subject.timer.drain(task), Ok(Drain::Idle | Drain::Finished)),
        |subject, _| settled(|| subject.timer.drain_async()) == Stop::Idle,
        |subject, task| {
            matches!(
                subject.timer.shutdown(task),
                Ok(Drain::Idle | Drain::Finished)
            )
        },
    ]
    .into_iter()
    .enumerate()
    {
        subject.callout::<K>().arm_after(Delta::ZERO);
        check!(sleep_until(2_000, || subject.ended.load(Acquire) == turn as u64 + 1));
        sleep_ms(5);
        check!(subject.timer.is_active());
        check!(end(&subject, task));
        check!(!subject.timer.is_active());
    }
    // And one that has not run.
    let subject = Subject::<K>::new(Act::Nothing, None)?;
    subject.callout::<K>().arm_after(Delta::from_secs(9));
    check!(subject.timer.stop() == Stop::Cancelled);
    check!(!subject.timer.is_active());
    Ok(())
}

fn deactivate_pending<K: Unlocked>(_: &Task) -> Verdict {
    let subject = Subject::<K>::new(Act::Nothing, None)?;
    subject.callout::<K>().arm_after(Delta::from_secs(3_600));
    subject.timer.deactivate();
    check!(!subject.timer.is_active());
    check!(subject.timer.is_pending());
    subject.callout::<K>().arm_after(Delta::from_millis(300));
    subject.timer.deactivate();
    check!(sleep_until(2_000, || subject.ended.load(Acquire) == 1));
    check!(!subject.saw(SAW_ACTIVE));
    Ok(())
}

/// What the lock of the recipe protects.
#[derive(Default)]
struct Ledger {
    /// Armed, and neither worked off nor cancelled since.
    open: bool,
    opened: u64,
    cancelled: u64,
    worked: u64,
    /// Work for nothing.
    wrong: u64,
    /// Stops that found nothing although it was open: an arm was lost.
    lost: u64,
}

/// The manual's recipe: the callback finds out under the lock whether it is still wanted.
#[pin_data]
struct Recipe<K: Unlocked> {
    #[pin]
    timer: Callout<Self, K>,
    #[pin]
    lock: HardLock<Ledger>,
}

impl_has_callout! { impl {K: Unlocked} HasCallout<K> for Recipe<K> { self.timer } }

impl<K: Unlocked> OnExpire<K> for Recipe<K> {
    fn expire(this: ArcBorrow<'_, Timed<Self>>, _run: &Expiry<'_, K::Context>) -> Next {
        // Long enough to be armed and stopped in, before it looks and after.
        pause_us(5);
        this.work();
        pause_us(5);
        Next::Stop
    }
}

impl<K: Unlocked> Recipe<K> {
    fn work(&self) {
        let mut ledger = self.lock.lock();
        if self.timer.is_pending() || !self.timer.is_active() {
            return;
        }
        self.timer.deactivate();
        ledger.wrong += u64::from(!ledger.open);
        ledger.open = false;
        ledger.worked += 1;
    }
}

/// One random arm or stop, from a generator with a fixed seed; gives when to come again.
fn step<K: Unlocked>(recipe: &Arc<Timed<Recipe<K>>>, seed: &Atomic<u64>) -> Delta {
    let random = seed
        .load(Relaxed)
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    seed.store(random, Relaxed);
    let random = (random >> 33) as i64;
    let mut ledger = recipe.lock.lock();
    if random % 8 == 0 {
        let answer = recipe.timer.stop();
        if ledger.open {
            // Pending, or a run that waits for the lock. The next arm would hide one that was lost.
            ledger.lost += u64::from(answer == Stop::Idle);
            ledger.open = false;
            ledger.cancelled += 1;
        }
    } else {
        let after = Delta::from_micros(random / 8 % 300);
        recipe.callout::<K>().arm_after(after);
        if !ledger.open {
            ledger.open = true;
            ledger.opened += 1;
        }
    }
    Delta::from_micros(20 + random / 4096 % 200)
}

fn recipe<K: Unlocked>(task: &Task) -> Verdict {
    let recipe = Timed::new(try_pin_init!(Recipe::<K> {
        timer <- Callout::new(softclock::owner!(), c"recipe"),
        lock <- new_hard_lock!(Ledger::default()),
    }))?;
    let mut agents = KVec::new();
    for cpu in 0..nr_cpu_ids().min(2) {
        let (recipe, seed) = (recipe.clone(), Atomic::new(u64::from(cpu) + 1));
        let agent = Closure::<Soft>::new(softclock::owner!(), c"agent", move |_run| {
            Next::After(step(&recipe, &seed))
        })?;
        agent.callout().arm(Plan::after(Delta::ZERO).on(cpu));
        agents.push(agent, GFP_KERNEL)?;
    }
    // A simulated second costs nothing.
    sleep_ms(if nr_cpu_ids() < 2 { 30_000 } else { 2_000 });
    // But where the machine is busy one is short.
    let least = if is_atomic::<K>() { 100 } else { 10 };
    sleep_until(28_000, || recipe.lock.lock().worked > least);
    for agent in agents.iter() {
        check!(agent.callout().shutdown(task).is_ok());
    }
    // A run that a drain meets before it looks is not active any more, and works no more.
    let settled = || !recipe.timer.is_pending() && !recipe.lock.lock().open;
    check!(sleep_until(2_000, settled));
    check!(recipe.timer.drain(task).is_ok());
    let ledger = recipe.lock.lock();
    let sums = ledger.opened == ledger.worked + ledger.cancelled;
    let (open, wrong, worked) = (ledger.open, ledger.wrong, ledger.worked);
    let lost = ledger.lost;
    drop(ledger);
    check!(worked > least);
    check!(wrong == 0);
    check!(lost == 0);
    check!(!open);
    check!(sums);
    Ok(())
}
