// SPDX-License-Identifier: GPL-2.0

//! The callout under test: it does what a case tells it, and records what it saw.

use crate::harness::{Fault, Verdict};
use core::any::TypeId;
use kernel::{
    cpu::{nr_cpu_ids, CpuId},
    processor::cpu_relax,
    time::delay::{fsleep, udelay},
};
use softclock::{new_hard_lock, prelude::*, Kind, Unlocked};

/// How many subjects were made and dropped so far, and how many dropped where sleeping is allowed.
pub(crate) static MADE: Atomic<u64> = Atomic::new(0);
pub(crate) static DROPPED: Atomic<u64> = Atomic::new(0);
pub(crate) static DROPPED_IN_TASK: Atomic<u64> = Atomic::new(0);
/// How many were dropped while their callback was executing.
pub(crate) static DROPPED_IN_RUN: Atomic<u64> = Atomic::new(0);

/// What the callback does first.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Nothing,
    /// Stay until released.
    Hold,
    /// Arm this callout for a millisecond later, then stay until released.
    RearmAndHold,
    /// Stop this callout, then arm it.
    StopAndArm,
    /// Arm this callout for 20 ms after its deadline; the next run does no more.
    ArmForLater,
    /// Stop this callout, then ask for another run by what is returned.
    StopAndReturn,
    /// Wait for this very run.
    DrainMyself,
    /// Have the end of this very run reported, twice.
    DrainMyselfAsync,
    /// Shut this very callout down.
    ShutMyself,
    /// Drop the reference in `me`.
    DropMyself,
    /// Return a deadline that is long past, for a while.
    ReturnPast,
}

#[pin_data(PinnedDrop)]
pub(crate) struct Subject<K: Kind> {
    #[pin]
    pub(crate) timer: Callout<Self, K>,
    pub(crate) act: Act,
    /// The callback asks to run again this many ns later; negative: it does not.
    pub(crate) again_ns: i64,
    pub(crate) runs: Atomic<u64>,
    pub(crate) ended: Atomic<u64>,
    pub(crate) early: Atomic<u64>,
    /// Runs that were told wrong times.
    pub(crate) untrue: Atomic<u64>,
    pub(crate) entered: Atomic<bool>,
    pub(crate) release: Atomic<bool>,
    pub(crate) stuck: Atomic<bool>,
    /// What the callback saw, in bits: `SAW_*`.
    pub(crate) saw: Atomic<u64>,
    pub(crate) last_due_ns: Atomic<i64>,
    /// When and where the last run began.
    pub(crate) last_began_ns: Atomic<i64>,
    pub(crate) last_cpu: Atomic<u32>,
    /// Reported ends of runs, and how many of them came in the middle of a run.
    pub(crate) drained: Atomic<u64>,
    pub(crate) drained_inside: Atomic<u64>,
    #[pin]
    pub(crate) me: HardLock<Option<Arc<Timed<Self>>>>,
}

/// At its start the callback found itself pending.
pub(crate) const SAW_PENDING: u64 = 1;
/// After it had armed itself it found itself pending.
pub(crate) const SAW_REARMED: u64 = 2;
/// Its own stop answered `Running`.
pub(crate) const SAW_RUNNING: u64 = 4;
/// The arm after that was `New`.
pub(crate) const SAW_NEW: u64 = 8;
/// Its own drain or shutdown was refused.
pub(crate) const SAW_DEADLOCK: u64 = 16;
/// It could sleep.
pub(crate) const SAW_TASK: u64 = 32;
/// It was active.
pub(crate) const SAW_ACTIVE: u64 = 64;

impl_has_callout! { impl {K: Kind} HasCallout<K> for Subject<K> { self.timer } }

/// Longest time a callback stays: a bug must not hang the guest.
const HOLD_SOFT_NS: i64 = 100_000_000;
const HOLD_TASK_MS: u64 = 5_000;

impl<K: Unlocked> Subject<K> {
    pub(crate) fn new(act: Act, again: Option<Delta>) -> Result<Arc<Timed<Self>>> {
        let subject = Timed::new(try_pin_init!(Self {
            timer <- Callout::new(softclock::owner!(), c"subject"),
            act,
            again_ns: again.map_or(-1, Delta::as_nanos),
            runs: Atomic::new(0),
            ended: Atomic::new(0),
            early: Atomic::new(0),
            untrue: Atomic::new(0),
            entered: Atomic::new(false),
            release: Atomic::new(false),
            stuck: Atomic::new(false),
            saw: Atomic::new(0),
            last_due_ns: Atomic::new(0),
            last_began_ns: Atomic::new(0),
            last_cpu: Atomic::new(u32::MAX),
            drained: Atomic::new(0),
            drained_inside: Atomic::new(0),
            me <- new_hard_lock!(None),
        }))?;
        MADE.fetch_add(1, Relaxed);
        Ok(subject)
    }

    pub(crate) fn runs(&self) -> u64 {
        self.runs.load(Acquire)
    }

    pub(crate) fn saw(&self, what: u64) -> bool {
        self.saw.load(Acquire) & what != 0
    }

    fn see(&self, what: u64, seen: bool) {
        if seen {
            self.saw.store(self.saw.load(Acquire) | what, Release);
        }
    }

    fn hold(&self) {
        self.entered.store(true, Release);
        let held = if is_atomic::<K>() {
            spin_until(HOLD_SOFT_NS, || self.release.load(Acquire))
        } else {
            sleep_until(HOLD_TASK_MS, || self.release.load(Acquire))
        };
        self.stuck.store(!held, Release);
    }
}

#[pinned_drop]
impl<K: Kind> PinnedDrop for Subject<K> {
    fn drop(self: Pin<&mut Self>) {
        if self.runs.load(Acquire) != self.ended.load(Acquire) {
            DROPPED_IN_RUN.fetch_add(1, Relaxed);
        }
        if Task::new().is_ok() {
            DROPPED_IN_TASK.fetch_add(1, Relaxed);
        }
        DROPPED.fetch_add(1, Release);
    }
}

impl<K: Unlocked> OnExpire<K> for Subject<K> {
    fn expire(this: ArcBorrow<'_, Timed<Self>>, run: &Expiry<'_, K::Context>) -> Next {
        if run.began() < run.due() {
            this.early.fetch_add(1, Relaxed);
        }
        let now = softclock::now();
        let truly = run.began() - run.due();
        if run.lateness() != truly || run.began() > now || now - run.began() > Delta::from_secs(1) {
            this.untrue.fetch_add(1, Relaxed);
        }
        this.last_due_ns.store(run.due().as_nanos(), Relaxed);
        this.last_began_ns.store(run.began().as_nanos(), Relaxed);
        this.last_cpu.store(CpuId::current().as_u32(), Relaxed);
        this.see(SAW_PENDING, this.timer.is_pending());
        this.see(SAW_ACTIVE, this.timer.is_active());
        this.see(SAW_TASK, Task::new().is_ok());
        this.runs.fetch_add(1, Release);
        act(this);
        this.ended.fetch_add(1, Release);
        if this.act == Act::ReturnPast && this.runs() < 1_000 {
            Next::At(Instant::BOOT)
        } else if this.again_ns < 0 || (this.act == Act::ArmForLater && this.runs() > 1) {
            Next::Stop
        } else {
            Next::After(Delta::from_nanos(this.again_ns))
        }
    }

    fn drained(this: ArcBorrow<'_, Timed<Self>>) {
        if this.runs() != this.ended.load(Acquire) {
            this.drained_inside.fetch_add(1, Relaxed);
        }
        this.drained.fetch_add(1, Release);
    }
}

fn act<K: Unlocked>(this: ArcBorrow<'_, Timed<Subject<K>>>) {
    match this.act {
        Act::Nothing | Act::ReturnPast => {}
        Act::Hold => this.hold(),
        Act::RearmAndHold => {
            if this.runs() == 1 {
                this.callout::<K>().arm_after(Delta::from_millis(1));
                this.see(SAW_REARMED, this.timer.is_pending());
                this.hold();
            }
        }
        Act::StopAndArm => {
            if this.runs() == 1 {
                this.see(SAW_RUNNING, this.timer.stop() == Stop::Running);
                let arm = this.callout::<K>().arm_after(Delta::from_millis(1));
                this.see(SAW_NEW, arm == Arm::New);
            }
        }
        Act::ArmForLater => {
            if this.runs() == 1 {
                let due = Instant::from_nanos(this.last_due_ns.load(Relaxed));
                this.callout::<K>().arm_at(due + Delta::from_millis(20));
            }
        }
        Act::StopAndReturn => {
            this.see(SAW_RUNNING, this.timer.stop() == Stop::Running);
        }
        Act::DrainMyself => {
            if let Ok(task) = Task::new() {
                let answer = this.timer.drain(&task);
                this.see(SAW_DEADLOCK, answer == Err(CannotWait::Deadlock));
            }
        }
        Act::DrainMyselfAsync => {
            let first = this.timer.drain_async();
            let second = this.timer.drain_async();
            this.see(
                SAW_RUNNING,
                first == Stop::Running && second == Stop::Running,
            );
        }
        Act::ShutMyself => {
            if let Ok(task) = Task::new() {
                this.see(SAW_DEADLOCK, this.timer.shutdown(&task).is_err());
            }
        }
        Act::DropMyself => {
            let me = this.me.lock().take();
            drop(me);
        }
    }
}

/// The callback may not sleep.
pub(crate) fn is_atomic<K: Kind>() -> bool {
    // Not by a constant of softclock's, which may be wrong.
    TypeId::of::<K::Context>() != TypeId::of::<Task>()
}

/// The callback executes in the timer interrupt.
pub(crate) fn is_hard<K: Kind>() -> bool {
    TypeId::of::<K::Context>() == TypeId::of::<Hard>()
}

/// A CPU other than this one; `None` where there is none.
pub(crate) fn other_cpu() -> Option<u32> {
    let here = CpuId::current().as_u32();
    (0..nr_cpu_ids()).find(|cpu| *cpu != here)
}

pub(crate) fn sleep_ms(ms: i64) {
    fsleep(kernel::time::Delta::from_millis(ms));
}

pub(crate) fn pause_us(us: i64) {
    udelay(kernel::time::Delta::from_micros(us));
}

/// Sleeps until `done`, at most `ms` times a millisecond.
pub(crate) fn sleep_until(ms: u64, done: impl Fn() -> bool) -> bool {
    for _ in 0..ms {
        if done() {
            return true;
        }
        sleep_ms(1);
    }
    done()
}

/// Spins until `done`, at most `ns`.
pub(crate) fn spin_until(ns: i64, done: impl Fn() -> bool) -> bool {
    let end = softclock::now() + Delta::from_nanos(ns);
    while softclock::now() < end {
        if done() {
            return true;
        }
        cpu_relax();
    }
    done()
}

/// Arms a subject from a worker, so that it fires on that worker's CPU.
#[pin_data]
struct Armer<K: Unlocked> {
    #[pin]
    timer: Callout<Self, Task>,
    subject: Arc<Timed<Subject<K>>>,
}

impl_has_callout! { impl {K: Unlocked} HasCallout<Task> for Armer<K> { self.timer } }

impl<K: Unlocked> OnExpire<Task> for Armer<K> {
    fn expire(this: ArcBorrow<'_, Timed<Self>>, _run: &Expiry<'_, Task>) -> Next {
        this.subject
            .callout::<K>()
            .arm_after(Delta::from_micros(100));
        Next::Stop
    }
}

/// Calls `then` while the callback of a new subject is executing; it is released afterwards.
pub(crate) fn while_running<K: Unlocked>(
    act: Act,
    then: impl Fn(&Arc<Timed<Subject<K>>>) -> Verdict,
) -> Verdict {
    if is_atomic::<K>() && nr_cpu_ids() < 2 {
        return Err(Fault::Skip("needs two CPUs"));
    }
    for attempt in 0..100 {
        let subject = Subject::<K>::new(act, None)?;
        let running = if is_atomic::<K>() {
            runs_elsewhere(&subject, attempt % 2 == 0)?
        } else {
            subject.callout::<K>().arm_after(Delta::ZERO);
            sleep_until(2_000, || subject.entered.load(Acquire))
        };
        let verdict = if running {
            then(&subject)
        } else {
            Err(Fault::Retry)
        };
        subject.release.store(true, Release);
        if !matches!(verdict, Err(Fault::Retry)) {
            return verdict;
        }
    }
    if is_atomic::<K>() {
        return Err(Fault::Skip(
            "its callback and this thread never got a CPU each",
        ));
    }
    Err(Fault::Retry)
}

/// Has the callback of a subject that may not sleep execute on another CPU, where it does.
fn runs_elsewhere<K: Unlocked>(subject: &Arc<Timed<Subject<K>>>, busy: bool) -> Result<bool> {
    let target = subject.clone();
    let armer = Timed::new(try_pin_init!(Armer {
        timer <- Callout::new(softclock::owner!(), c"armer"),
        subject: target,
    }))?;
    armer.callout::<Task>().arm_after(Delta::ZERO);
    let entered = || subject.entered.load(Acquire);
    // A busy thread keeps its CPU and sends the worker to the other one; where that fails, a sleeping
    // one may wake up there.
    if busy {
        spin_until(HOLD_SOFT_NS, entered);
    } else {
        sleep_until(20, entered);
    }
    Ok(subject.entered.load(Acquire) && subject.ended.load(Acquire) == 0)
}

/// What a stop answers once a run that has counted itself is over for softclock, too.
pub(crate) fn settled(stop: impl Fn() -> Stop) -> Stop {
    for _ in 0..2_000 {
        match stop() {
            Stop::Running => sleep_ms(1),
            answer => return answer,
        }
    }
    Stop::Running
}
