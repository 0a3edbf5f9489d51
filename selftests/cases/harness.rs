// SPDX-License-Identifier: GPL-2.0

//! KTAP from inside the kernel.

use softclock::prelude::*;

/// Why a case did not pass.
pub(crate) enum Fault {
    /// An expectation did not hold.
    Broken(&'static str, u32),
    /// The kernel refused something the case needs.
    Error(Error),
    /// The circumstances it needs did not come about this time.
    Retry,
    /// This guest cannot show it.
    Skip(&'static str),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<kernel::alloc::AllocError> for Fault {
    fn from(error: kernel::alloc::AllocError) -> Self {
        Self::Error(error.into())
    }
}

/// Something came later than a case allows for: what failed then is tried again.
static LATE: Atomic<bool> = Atomic::new(false);

/// Simulated time costs nothing: nothing is late there but softclock.
static SIMULATED: Atomic<bool> = Atomic::new(false);

pub(crate) fn simulate(time: bool) {
    SIMULATED.store(time, Relaxed);
}

pub(crate) fn is_simulated() -> bool {
    SIMULATED.load(Relaxed)
}

/// Notes a bound that was not kept: the machine may have been busy.
pub(crate) fn in_time(holds: bool) -> bool {
    if !holds && !is_simulated() {
        LATE.store(true, Relaxed);
    }
    holds
}

pub(crate) type Verdict = core::result::Result<(), Fault>;

/// A case: what it shows, and how.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&Task) -> Verdict,
}

/// Ends the case unless the expectation holds.
macro_rules! check {
    ($holds:expr) => {
        if !$holds {
            return Err($crate::harness::Fault::Broken(stringify!($holds), line!()));
        }
    };
}
pub(crate) use check;

/// The same case for a callback in each context, on the wheel and with a timer of its own.
macro_rules! all {
    ($name:literal, $case:ident) => {
        [
            $crate::harness::Case {
                name: concat!($name, " (soft)"),
                run: $case::<softclock::Soft>,
            },
            $crate::harness::Case {
                name: concat!($name, " (task)"),
                run: $case::<softclock::Task>,
            },
            $crate::harness::Case {
                name: concat!($name, " (precise soft)"),
                run: $case::<softclock::Precise<softclock::Soft>>,
            },
            $crate::harness::Case {
                name: concat!($name, " (precise task)"),
                run: $case::<softclock::Precise<softclock::Task>>,
            },
            $crate::harness::Case {
                name: concat!($name, " (hard)"),
                run: $case::<softclock::Hard>,
            },
        ]
    };
}
pub(crate) use all;

pub(crate) fn run(suites: &[&[&[Case]]], task: &Task) {
    let cases = || suites.iter().copied().flatten().copied().flatten();
    pr_info!("1..{}\n", cases().count());
    for (index, case) in cases().enumerate() {
        report(index + 1, case.name, verdict(case, task));
    }
}

/// What a case says. A machine that was late in it gives it another chance; softclock, if it was that, is
/// late five times.
fn verdict(case: &Case, task: &Task) -> Verdict {
    let mut verdict = Ok(());
    for _ in 0..5 {
        LATE.store(false, Relaxed);
        verdict = (case.run)(task);
        let broken = matches!(verdict, Err(Fault::Broken(..) | Fault::Retry));
        if !(broken && LATE.load(Relaxed)) {
            break;
        }
        pr_info!("# {}: late\n", case.name);
    }
    verdict
}

fn report(number: usize, name: &str, verdict: Verdict) {
    match verdict {
        Ok(()) => pr_info!("ok {} {}\n", number, name),
        Err(Fault::Skip(why)) => pr_info!("ok {} {} # SKIP {}\n", number, name, why),
        Err(Fault::Broken(what, line)) => {
            pr_info!("# line {}: expected {}\n", line, what);
            pr_info!("not ok {} {}\n", number, name);
        }
        Err(Fault::Retry) => pr_info!("not ok {} {}\n", number, name),
        Err(Fault::Error(error)) => {
            pr_info!("# {:?}\n", error);
            pr_info!("not ok {} {}\n", number, name);
        }
    }
}
