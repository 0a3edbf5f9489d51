// SPDX-License-Identifier: GPL-2.0

//! What the oracle operates on, and what it writes down.

use crate::{
    stress_clock::{sleep_until, Clock},
    Random,
};
use softclock::{new_hard_lock, prelude::*, Unlocked};

/// The log, and all callouts.
#[pin_data]
pub(crate) struct Stage {
    #[pin]
    sums: HardLock<Sums>,
    #[pin]
    parts: HardLock<KVec<Part>>,
    log: bool,
    start: Instant,
}

/// All that was answered and that ran, in order.
#[derive(Clone, Copy)]
struct Sums {
    hash: u64,
    lines: u64,
    runs: u64,
    /// Answers that met a run.
    met: u64,
    /// Where the callbacks take their random numbers from.
    random: u64,
}

/// One callout.
#[derive(Clone)]
pub(crate) enum Part {
    Soft(Arc<Timed<Actor<Soft>>>),
    Task(Arc<Timed<Actor<Task>>>),
    Third(Arc<Timed<Actor<Nth<Soft, 3>>>>),
}

#[pin_data]
pub(crate) struct Actor<K: Unlocked> {
    #[pin]
    timer: Callout<Self, K>,
    stage: Arc<Stage>,
    tag: u64,
}

impl_has_callout! { impl {K: Unlocked} HasCallout<K> for Actor<K> { self.timer } }

/// How many operations there are; the last waits.
pub(crate) const OPERATIONS: u32 = DRAIN + 1;
const DRAIN: u32 = 8;

impl Stage {
    pub(crate) fn new(log: bool, start: Instant, seed: u64) -> Result<Arc<Self>> {
        let sums = Sums {
            hash: 0,
            lines: 0,
            runs: 0,
            met: 0,
            random: !seed,
        };
        Arc::pin_init(
            pin_init!(Self {
                sums <- new_hard_lock!(sums),
                parts <- new_hard_lock!(KVec::new()),
                log,
                start,
            }),
            GFP_KERNEL,
        )
    }

    /// All callouts come, or go.
    pub(crate) fn enter(&self, parts: KVec<Part>) {
        let old = core::mem::replace(&mut *self.parts.lock(), parts);
        drop(old);
    }

    /// Puts another callout in the place of one, and gives that back.
    pub(crate) fn replace(&self, tag: usize, part: Part) -> Option<Part> {
        let mut parts = self.parts.lock();
        parts.get_mut(tag).map(|old| core::mem::replace(old, part))
    }

    fn part(&self, tag: usize) -> Option<Part> {
        self.parts.lock().get(tag).cloned()
    }

    fn write(&self, tag: u64, what: &str, value: i64) {
        let mut sums = self.sums.lock();
        sums.lines += 1;
        sums.runs += u64::from(what == "run");
        sums.met += u64::from(what == "Running" || what == "Finished");
        for bytes in [what.as_bytes(), &tag.to_le_bytes(), &value.to_le_bytes()] {
            for byte in bytes {
                sums.hash = (sums.hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
            }
        }
        if self.log {
            pr_info!("{} {} {} {}\n", sums.lines, tag, what, value);
        }
    }

    /// A time, as it is written down: in steps.
    fn steps(&self, at: Instant) -> i64 {
        at.as_nanos() / Clock::STEP - self.start.as_nanos() / Clock::STEP
    }

    /// The middle of a step: how often somebody has read the clock before it is read makes no difference.
    fn middle_of(&self, step: i64) -> Instant {
        let start = self.start.as_nanos() / Clock::STEP * Clock::STEP;
        Instant::from_nanos(start + step * Clock::STEP + Clock::STEP / 2)
    }

    /// Random numbers for a callback.
    fn random(&self) -> Random {
        let mut sums = self.sums.lock();
        let mut random = Random(sums.random);
        random.below(1);
        sums.random = random.0;
        Random(!random.0)
    }

    /// One operation on callout `tag`; the last one only where there is a task.
    pub(crate) fn operate(
        &self,
        tag: usize,
        operation: u32,
        random: &mut Random,
        now: Instant,
        task: Option<&Task>,
    ) {
        match self.part(tag) {
            Some(Part::Soft(part)) => part.operate(&part, operation, random, now, task),
            Some(Part::Task(part)) => part.operate(&part, operation, random, now, task),
            Some(Part::Third(part)) => part.operate(&part, operation, random, now, task),
            None => {}
        }
    }

    pub(crate) fn shut_down(&self, tag: usize, task: &Task) {
        let answer = match self.part(tag) {
            Some(Part::Soft(part)) => part.timer.shutdown(task),
            Some(Part::Task(part)) => part.timer.shutdown(task),
            Some(Part::Third(part)) => part.timer.shutdown(task),
            None => return,
        };
        self.write(tag as u64, drained(answer), 1);
    }

    /// Tells what there was, and lets the callouts go.
    pub(crate) fn end(&self) {
        self.enter(KVec::new());
        let sums = *self.sums.lock();
        pr_info!(
            "hash {:016x} lines {} runs {} met {}\n",
            sums.hash,
            sums.lines,
            sums.runs,
            sums.met
        );
    }
}

impl Part {
    pub(crate) fn new(tag: u64, stage: &Arc<Stage>) -> Result<Self> {
        Ok(match tag % 3 {
            0 => Self::Soft(Actor::new(tag, stage)?),
            1 => Self::Task(Actor::new(tag, stage)?),
            _ => Self::Third(Actor::new(tag, stage)?),
        })
    }
}

fn drained(answer: core::result::Result<Drain, CannotWait>) -> &'static str {
    match answer {
        Ok(Drain::Cancelled) => "Cancelled",
        Ok(Drain::Finished) => "Finished",
        Ok(Drain::Idle) => "Idle",
        Err(CannotWait::Deadlock) => "Deadlock",
        Err(CannotWait::Atomic) => "Atomic",
    }
}

fn armed(answer: Arm) -> &'static str {
    match answer {
        Arm::New => "New",
        Arm::Replaced => "Replaced",
        Arm::Refused(Refusal::Shutdown) => "Shutdown",
        Arm::Refused(Refusal::Draining) => "Draining",
        Arm::Refused(_) => "Refused",
    }
}

fn stopped(answer: Stop) -> &'static str {
    match answer {
        Stop::Cancelled => "Cancelled",
        Stop::Running => "Running",
        Stop::Idle => "Idle",
    }
}

/// A deadline, on a step.
fn due(now: Instant, random: &mut Random) -> Instant {
    let due = (now + random.delay()).as_nanos();
    Instant::from_nanos(due / Clock::STEP * Clock::STEP)
}

impl<K: Unlocked> Actor<K> {
    fn new(tag: u64, stage: &Arc<Stage>) -> Result<Arc<Timed<Self>>> {
        let stage = stage.clone();
        Timed::new(try_pin_init!(Self {
            timer <- Callout::new(softclock::owner!(), c"actor"),
            stage,
            tag,
        }))
    }

    fn operate(
        &self,
        this: &Arc<Timed<Self>>,
        operation: u32,
        random: &mut Random,
        now: Instant,
        task: Option<&Task>,
    ) {
        let due = due(now, random);
        let at = self.stage.steps(due);
        let (what, value) = match (operation, task) {
            (0 | 1, _) => (armed(this.callout::<K>().arm_at(due)), at),
            (2, _) => {
                let plan = Plan::at(due).within(random.window());
                (armed(this.callout::<K>().arm(plan)), at)
            }
            (3, _) => {
                let plan = Plan::at(due).on(random.below(2));
                (armed(this.callout::<K>().arm(plan)), at)
            }
            (4, _) => (stopped(self.timer.drain_async()), -1),
            (5, _) => {
                let flags = [
                    self.timer.is_pending(),
                    self.timer.is_active(),
                    self.timer.is_shut(),
                ];
                let flags = flags.iter().fold(0, |all, flag| all * 2 + i64::from(*flag));
                self.timer.deactivate();
                ("is", flags)
            }
            (DRAIN, Some(task)) => (drained(self.timer.drain(task)), -2),
            _ => (stopped(self.timer.stop()), -3),
        };
        self.stage.write(self.tag, what, value);
    }

    /// What a callback does, besides returning: something to itself, or to another one.
    fn act(&self, random: &mut Random, now: Instant, task: Option<&Task>) {
        for _ in 0..random.below(3) {
            let tag = match random.below(2) {
                0 => self.tag as u32,
                _ => random.below(crate::PARTS as u32),
            };
            let operation = random.below(OPERATIONS);
            self.stage
                .operate(tag as usize, operation, random, now, task);
        }
    }
}

impl<K: Unlocked> OnExpire<K> for Actor<K> {
    fn expire(this: ArcBorrow<'_, Timed<Self>>, run: &Expiry<'_, K::Context>) -> Next {
        let stage = &this.stage;
        let step = stage.steps(run.began());
        stage.write(this.tag, "run", step);
        let now = stage.middle_of(step);
        let mut random = stage.random();
        let task = Task::new().ok();
        this.act(&mut random, now, task.as_ref());
        if task.is_some() && random.below(2) == 0 {
            // No two of them wake at once, nor when the operations are.
            let turn = step / PERIOD + 1 + i64::from(random.below(40));
            let step = turn * PERIOD + this.tag as i64;
            let at = stage.middle_of(step);
            if sleep_until(at + Delta::from_nanos(-Clock::STEP / 4)).is_ok() {
                this.act(&mut random, at, task.as_ref());
            }
            stage.write(this.tag, "slept", step);
        }
        let next = due(now, &mut random);
        match random.below(3) {
            0 => Next::At(next),
            _ => Next::Stop,
        }
    }

    fn drained(this: ArcBorrow<'_, Timed<Self>>) {
        this.stage.write(this.tag, "drained", 0);
    }
}

/// So many steps have one for each to wake in.
const PERIOD: i64 = crate::PARTS as i64 + 1;
