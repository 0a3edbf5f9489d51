// SPDX-License-Identifier: GPL-2.0

//! What the callback of a periodic under test sees, checked while it runs.

use crate::subject::{pause_us, sleep_until};
use core::any::TypeId;
use softclock::{
    periodic::{ContextOf, Mode},
    prelude::*,
};

/// What all runs of one periodic have seen.
pub(crate) struct Log {
    pub(crate) runs: Atomic<u64>,
    pub(crate) ended: Atomic<u64>,
    pub(crate) missed: Atomic<u64>,
    /// Runs that began before their point, or were told wrong times.
    pub(crate) untrue: Atomic<u64>,
    /// Runs whose number or point does not follow from the run before.
    pub(crate) astray: Atomic<u64>,
    /// Runs that began while another one went on.
    pub(crate) overlaps: Atomic<u64>,
    /// Runs that could sleep.
    pub(crate) tasks: Atomic<u64>,
    pub(crate) number: Atomic<u64>,
    pub(crate) first_due_ns: Atomic<i64>,
    pub(crate) due_ns: Atomic<i64>,
    pub(crate) late_max_ns: Atomic<i64>,
    pub(crate) entered: Atomic<bool>,
    pub(crate) release: Atomic<bool>,
    inside: Atomic<u64>,
}

impl Log {
    pub(crate) fn new() -> Result<Arc<Self>> {
        let log = Self {
            runs: Atomic::new(0),
            ended: Atomic::new(0),
            missed: Atomic::new(0),
            untrue: Atomic::new(0),
            astray: Atomic::new(0),
            overlaps: Atomic::new(0),
            tasks: Atomic::new(0),
            number: Atomic::new(0),
            first_due_ns: Atomic::new(0),
            due_ns: Atomic::new(0),
            late_max_ns: Atomic::new(0),
            entered: Atomic::new(false),
            release: Atomic::new(false),
            inside: Atomic::new(0),
        };
        Ok(Arc::new(log, GFP_KERNEL)?)
    }

    pub(crate) fn runs(&self) -> u64 {
        self.runs.load(Acquire)
    }

    pub(crate) fn number(&self) -> u64 {
        self.number.load(Acquire)
    }

    pub(crate) fn ended(&self) -> u64 {
        self.ended.load(Acquire)
    }

    pub(crate) fn missed(&self) -> u64 {
        self.missed.load(Acquire)
    }

    /// Nothing that a run saw was wrong.
    pub(crate) fn is_clean(&self) -> bool {
        let wrong = [&self.untrue, &self.astray, &self.overlaps];
        wrong.iter().all(|count| count.load(Acquire) == 0)
    }

    pub(crate) fn has_run(&self, runs: u64) -> bool {
        sleep_until(5_000, || self.runs() >= runs)
    }

    /// Stays until released, at most as long as a bug may hold up a guest.
    pub(crate) fn hold(&self, atomic: bool) {
        self.entered.store(true, Release);
        if atomic {
            for _ in 0..100 {
                if self.release.load(Acquire) {
                    break;
                }
                pause_us(1_000);
            }
        } else {
            sleep_until(5_000, || self.release.load(Acquire));
        }
    }

    /// A run begins.
    fn enter<C>(&self, tick: &Tick<'_, C>) {
        if self.inside.fetch_add(1, Acquire) > 0 {
            self.overlaps.fetch_add(1, Relaxed);
        }
        let now = softclock::now();
        let late = tick.began() - tick.due();
        if late < Delta::ZERO || late != tick.lateness() || tick.began() > now {
            self.untrue.fetch_add(1, Relaxed);
        }
        let late_max = self.late_max_ns.load(Relaxed).max(late.as_nanos());
        self.late_max_ns.store(late_max, Relaxed);
        self.follow(tick);
        if Task::new().is_ok() {
            self.tasks.fetch_add(1, Relaxed);
        }
        self.missed.fetch_add(tick.missed(), Relaxed);
        self.runs.fetch_add(1, Release);
    }

    /// Holds the run's number and point against those of the run before, by arithmetic of its own.
    fn follow<C>(&self, tick: &Tick<'_, C>) {
        let due = tick.due().as_nanos();
        let steps = tick.missed() + 1;
        let mut follows = tick.number() == self.number.load(Relaxed) + steps;
        if self.runs.load(Relaxed) == 0 {
            let first = due - tick.missed() as i64 * tick.period().as_nanos();
            self.first_due_ns.store(first, Relaxed);
        } else {
            let before = self.due_ns.load(Relaxed);
            follows &= due == before + steps as i64 * tick.period().as_nanos();
        }
        if !follows {
            self.astray.fetch_add(1, Relaxed);
        }
        self.due_ns.store(due, Relaxed);
        self.number.store(tick.number(), Release);
    }

    fn leave(&self) {
        self.inside.fetch_sub(1, Release);
        self.ended.fetch_add(1, Release);
    }
}

/// A periodic that does `act`, and keeps a log.
pub(crate) fn beat<M: Mode, R: Into<Then> + 'static>(
    rate: impl Into<Rate>,
    mut act: impl FnMut(&Tick<'_, ContextOf<M>>, &Log) -> R + Send + 'static,
) -> Result<(Periodic<M>, Arc<Log>)> {
    let log = Log::new()?;
    let note = log.clone();
    let periodic = Periodic::new(softclock::owner!(), c"beat", rate, move |tick| {
        note.enter(tick);
        let then = act(tick, &note).into();
        note.leave();
        then
    })?;
    Ok((periodic, log))
}

/// One that only keeps a log.
pub(crate) fn plain<M: Mode>(rate: impl Into<Rate>) -> Result<(Periodic<M>, Arc<Log>)> {
    beat(rate, |_, _| ())
}

/// Its callback may not sleep.
pub(crate) fn is_atomic<M: Mode>() -> bool {
    TypeId::of::<ContextOf<M>>() != TypeId::of::<Task>()
}

/// Takes so long, whatever the context.
pub(crate) fn spend_us(us: i64) {
    let end = softclock::now() + Delta::from_micros(us);
    while softclock::now() < end {
        pause_us(50);
    }
}

/// Periods in milliseconds, twice each, up to 16 times the first: a machine that is kept from one by others
/// is in time for a longer one.
pub(crate) fn slower_and_slower(first: i64) -> impl Iterator<Item = i64> {
    (0..10).map(move |attempt| first << (attempt / 2))
}

pub(crate) fn ms(ms: i64) -> Delta {
    Delta::from_millis(ms)
}

/// The same case in each mode.
macro_rules! modes {
    ($name:literal, $case:ident) => {
        [
            $crate::harness::Case {
                name: concat!($name, " (task)"),
                run: $case::<softclock::Task>,
            },
            $crate::harness::Case {
                name: concat!($name, " (soft)"),
                run: $case::<softclock::Soft>,
            },
            $crate::harness::Case {
                name: concat!($name, " (hard)"),
                run: $case::<softclock::Hard>,
            },
            $crate::harness::Case {
                name: concat!($name, " (coarse task)"),
                run: $case::<softclock::Coarse<softclock::Task>>,
            },
            $crate::harness::Case {
                name: concat!($name, " (coarse soft)"),
                run: $case::<softclock::Coarse<softclock::Soft>>,
            },
        ]
    };
}
pub(crate) use modes;
