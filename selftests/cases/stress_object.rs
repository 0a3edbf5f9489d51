// SPDX-License-Identifier: GPL-2.0

//! Callouts without a lock, as the stress operates on them.

use crate::{journal::Journal, Any, Clock, Random, KINDS};
use core::any::TypeId;
use kernel::{cpu::nr_cpu_ids, time::delay::fsleep};
use softclock::{new_hard_lock, prelude::*, Unlocked};

/// What the lock of an object protects: its arms, by the answers.
#[derive(Clone, Copy, Default)]
struct Ledger {
    /// The deadlines of the last two arms that found nothing pending.
    before_ns: i64,
    latest_ns: i64,
    /// Runs to come of these two: of the arm before, if it is two.
    owed: u32,
    /// A stop met a run, and an arm that may be the one which runs, or one that it dropped: until the
    /// next certain answer nobody knows whose deadline a run has to keep.
    unsure: bool,
    new: u64,
    runs: u64,
    cancelled: u64,
    /// At most so many arms were dropped by a stop during a run.
    perhaps: u64,
    /// The end of a run is to be reported.
    unreported: bool,
    /// Nothing may run any more.
    over: bool,
}

impl Ledger {
    /// An arm found nothing pending.
    fn armed(&mut self, due: Instant) {
        self.new += 1;
        self.owed = (self.owed + 1).min(2);
        self.before_ns = self.latest_ns;
        self.latest_ns = due.as_nanos();
    }

    /// A run has begun; says whether that was too early.
    fn has_run(&mut self, began: Instant) -> bool {
        self.runs += 1;
        let due = if self.owed > 1 {
            self.before_ns
        } else {
            self.latest_ns
        };
        self.owed = self.owed.saturating_sub(1);
        !self.unsure && began.as_nanos() < due
    }

    /// A stop met a run; before, an arm was pending.
    fn dropped(&mut self) {
        self.perhaps += 1;
        if self.owed > 1 {
            // The run is that of the arm before, and has not been here yet.
            self.owed = 1;
            self.latest_ns = self.before_ns;
        } else {
            self.unsure = true;
        }
    }

    /// Nothing runs, and nothing is pending.
    fn quiet(&mut self) {
        self.owed = 0;
        self.unsure = false;
    }
}

/// An object under stress.
#[pin_data]
pub(crate) struct Stressed<K: Unlocked> {
    #[pin]
    timer: Callout<Self, K>,
    #[pin]
    ledger: HardLock<Ledger>,
    journal: Arc<Journal>,
    tag: u64,
}

impl_has_callout! { impl {K: Unlocked} HasCallout<K> for Stressed<K> { self.timer } }

impl<K: Unlocked> OnExpire<K> for Stressed<K> {
    fn expire(this: ArcBorrow<'_, Timed<Self>>, run: &Expiry<'_, K::Context>) -> Next {
        let began = run.began();
        let mut ledger = this.ledger.lock();
        let early = ledger.has_run(began);
        let over = ledger.over;
        drop(ledger);
        let at = this.journal.time(began);
        this.journal.write(this.tag, "run", at, |sums| {
            sums.runs += 1;
            sums.early += u64::from(early);
            sums.late += u64::from(over);
        });
        // Long enough to be met by what others do; where time is simulated, nobody else is there.
        if TypeId::of::<K::Context>() == TypeId::of::<Task>() && nr_cpu_ids() > 1 {
            fsleep(kernel::time::Delta::from_micros(200));
        }
        Next::Stop
    }

    fn drained(this: ArcBorrow<'_, Timed<Self>>) {
        this.ledger.lock().unreported = false;
        this.journal
            .write(this.tag, "drained", 0, |sums| sums.drained += 1);
    }
}

/// One under stress, of some kind.
pub(crate) struct Object<K: Unlocked>(Arc<Timed<Stressed<K>>>);

impl<K: Unlocked> Object<K> {
    pub(crate) fn new(tag: u64, journal: Arc<Journal>) -> Result<Self> {
        Ok(Self(Timed::new(try_pin_init!(Stressed {
            timer <- Callout::new(softclock::owner!(), c"stressed"),
            ledger <- new_hard_lock!(Ledger::default()),
            journal,
            tag,
        }))?))
    }

    /// An arm, and what it answers.
    fn arm(&self, due: Instant, how: impl FnOnce(&Arc<Timed<Stressed<K>>>) -> Arm) {
        let mut ledger = self.0.ledger.lock();
        let answer = how(&self.0);
        match answer {
            Arm::New => ledger.armed(due),
            Arm::Replaced => ledger.latest_ns = due.as_nanos(),
            Arm::Refused(_) => {}
        }
        drop(ledger);
        let (name, value) = match answer {
            Arm::New => ("new", self.0.journal.time(due)),
            Arm::Replaced => ("replaced", self.0.journal.time(due)),
            Arm::Refused(Refusal::NoCpu) => ("nocpu", 0),
            Arm::Refused(_) => ("refused", 0),
        };
        self.0.journal.write(self.0.tag, name, value, |sums| {
            sums.new += u64::from(answer == Arm::New);
        });
    }

    /// A stop, of one sort or the other.
    fn stop(&self, asynchronous: bool) {
        let mut ledger = self.0.ledger.lock();
        let pending = self.0.timer.is_pending();
        let answer = if asynchronous {
            self.0.timer.drain_async()
        } else {
            self.0.timer.stop()
        };
        match answer {
            Stop::Running if pending => ledger.dropped(),
            Stop::Running => {}
            Stop::Cancelled => {
                ledger.cancelled += 1;
                ledger.quiet();
            }
            Stop::Idle => ledger.quiet(),
        }
        // Nobody has reported it yet: that takes the lock.
        ledger.unreported |= asynchronous && answer == Stop::Running;
        let unsure = ledger.unsure;
        drop(ledger);
        let name = match answer {
            Stop::Cancelled => "cancelled",
            Stop::Running => "running",
            Stop::Idle => "idle",
        };
        self.0
            .journal
            .write(self.0.tag, name, i64::from(asynchronous), |sums| {
                sums.cancelled += u64::from(answer == Stop::Cancelled);
                sums.unsure += u64::from(unsure);
                sums.asked += u64::from(asynchronous && answer == Stop::Running);
            });
    }

    /// What a drain or shutdown answered.
    fn drained(&self, answer: core::result::Result<Drain, CannotWait>, pending: bool) {
        let mut ledger = self.0.ledger.lock();
        match answer {
            Ok(Drain::Cancelled) => ledger.cancelled += 1,
            Ok(Drain::Finished) => ledger.perhaps += u64::from(pending),
            _ => {}
        }
        if answer.is_ok() {
            ledger.quiet();
        }
        drop(ledger);
        let (name, cancelled) = match answer {
            Ok(Drain::Cancelled) => ("drain-cancelled", 1),
            Ok(Drain::Finished) => ("drain-finished", 0),
            Ok(Drain::Idle) => ("drain-idle", 0),
            Err(_) => ("drain-refused", 0),
        };
        self.0
            .journal
            .write(self.0.tag, name, 0, |sums| sums.cancelled += cancelled);
    }
}

impl<K: Unlocked> Any for Object<K> {
    fn operate(&self, operation: u32, random: &mut Random, clock: &mut Clock, task: &Task) {
        let callout = &self.0.timer;
        match operation {
            0 | 1 => {
                let after = random.delay();
                // What the call reads is this or later.
                let (due, as_delay) = clock.after(after);
                self.arm(due, |object| match as_delay {
                    true => object.callout::<K>().arm_after(after),
                    false => object.callout::<K>().arm_at(due),
                });
            }
            2 => {
                let (due, _) = clock.after(random.delay());
                self.arm(due, |object| object.callout::<K>().arm_at(due));
            }
            3 | 4 => {
                let (due, _) = clock.after(random.delay());
                let window = random.window();
                let mut plan = Plan::at(due);
                // When a timer of the kernel goes off within its window depends on all others there are.
                let on_a_wheel = matches!(self.0.tag % KINDS as u64, 0 | 1 | 5);
                if on_a_wheel || !clock.simulated {
                    plan = plan.within(window);
                }
                if operation == 4 {
                    plan = plan.on(random.below(nr_cpu_ids() + 1));
                }
                self.arm(due, |object| object.callout::<K>().arm(plan));
            }
            5 => self.stop(false),
            6 => self.stop(true),
            _ if random.below(2) == 0 => {
                callout.deactivate();
                let active = i64::from(callout.is_active());
                if active != 0 {
                    pr_info!("wrong: callout {} is active\n", self.0.tag);
                }
                self.0.journal.write(self.0.tag, "active", active, |sums| {
                    sums.wrong += u64::from(active != 0);
                });
            }
            _ => {
                let pending = callout.is_pending();
                let answer = callout.drain(task);
                self.drained(answer, pending);
            }
        }
    }

    fn finish(&self, task: &Task) {
        let callout = &self.0.timer;
        let pending = callout.is_pending();
        let answer = callout.shutdown(task);
        self.drained(answer, pending);
        // A report comes right after the end of its run.
        let mut patience = 10_000;
        while self.0.ledger.lock().unreported && patience > 0 {
            fsleep(kernel::time::Delta::from_millis(1));
            patience -= 1;
        }
        let mut ledger = self.0.ledger.lock();
        ledger.over = true;
        let sums = *ledger;
        drop(ledger);
        let refused = self.0.callout::<K>().arm_after(Delta::ZERO);
        // Each arm that replaced nothing has run, or was cancelled, or was dropped in the middle of a
        // run; where the last is not certain, it is an upper limit.
        let ended = sums.runs + sums.cancelled;
        let whole = ended <= sums.new && sums.new <= ended + sums.perhaps;
        let right = whole && !sums.unreported && refused == Arm::Refused(Refusal::Shutdown);
        if !right {
            pr_info!(
                "wrong: callout {}: new {} runs {} cancelled {} perhaps {} unreported {}, {:?}, {:?}\n",
                self.0.tag,
                sums.new,
                sums.runs,
                sums.cancelled,
                sums.perhaps,
                sums.unreported,
                answer,
                refused
            );
        }
        let dropped = sums.new.wrapping_sub(ended);
        self.0
            .journal
            .write(self.0.tag, "over", dropped as i64, |sums| {
                sums.wrong += u64::from(!right);
                sums.dropped = sums.dropped.wrapping_add(dropped);
            });
    }
}
