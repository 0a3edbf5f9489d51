// SPDX-License-Identifier: GPL-2.0

//! What periodics cost, and how exact they are: how late their runs begin, and what each takes from the
//! code it interrupts.

use crate::meter::{report_100_of, Meter};
use kernel::time::delay::fsleep;
use softclock::{periodic::Mode, prelude::*};

/// Runs whose phase is measured.
const SAMPLES: usize = 2_000;
/// Periods at which it is.
const PERIODS_US: [i64; 2] = [1_000, 10_000];
/// How long the interrupted code is watched.
const WINDOW: Delta = Delta::from_secs(2);
/// How often the many periodics run.
const SECOND: Delta = Delta::from_secs(1);

/// How late runs begin in an idle system.
fn phase<M: Mode>(op: &str) -> Result {
    for period_us in PERIODS_US {
        let mut late = KVVec::with_capacity(SAMPLES, GFP_KERNEL)?;
        for _ in 0..SAMPLES {
            late.push(Atomic::new(0_i64), GFP_KERNEL)?;
        }
        let late = Arc::new(late, GFP_KERNEL)?;
        let count = Arc::new(Atomic::new(0_usize), GFP_KERNEL)?;
        let (note, counted) = (late.clone(), count.clone());
        let period = Delta::from_micros(period_us);
        let beat = Periodic::<M>::new(softclock::owner!(), c"phase", period, move |tick| {
            // By our own clock: it is softclock that is measured.
            let now = softclock::now();
            let number = counted.load(Relaxed);
            if let Some(slot) = note.get(number) {
                slot.store((now - tick.due()).as_nanos(), Relaxed);
                counted.store(number + 1, Release);
            }
        })?;
        let end = softclock::now() + Delta::from_secs(120);
        while count.load(Acquire) < SAMPLES && softclock::now() < end {
            fsleep(kernel::time::Delta::from_millis(50));
        }
        if beat.counts().missed > 0 {
            pr_warn!("{}: {} missed\n", op, beat.counts().missed);
        }
        drop(beat);
        let mut meter = Meter::new(SAMPLES)?;
        for slot in late.iter().take(count.load(Acquire)) {
            meter.add(slot.load(Relaxed));
        }
        meter.report_all_of("periodic", op, period_us as usize);
    }
    Ok(())
}

/// How often a loop runs that only looks at the clock.
fn watch() -> i64 {
    let end = softclock::now() + WINDOW;
    let mut turns = 0;
    while softclock::now() < end {
        turns += 1;
    }
    turns
}

/// What `count` periodics take from that loop: for each run, and in each second.
fn stolen<M: Mode>(op: &str, load: &str, count: usize, rate: Rate) -> Result {
    let alone = watch();
    let fired = Arc::new(Atomic::new(0_i64), GFP_KERNEL)?;
    let mut all = KVVec::with_capacity(count, GFP_KERNEL)?;
    for _ in 0..count {
        let fired = fired.clone();
        let beat = Periodic::<M>::new(softclock::owner!(), c"stolen", rate, move |_| {
            fired.fetch_add(1, Relaxed);
        })?;
        all.push(beat, GFP_KERNEL)?;
        crate::herd::breathe(all.len());
    }
    // Until all have begun.
    fsleep(kernel::time::Delta::from_millis(1_500));
    let before = fired.load(Relaxed);
    let turns = watch();
    let runs = fired.load(Relaxed) - before;
    let window = WINDOW.as_nanos();
    let gone = (alone - turns).saturating_mul(window).checked_div(alone);
    let gone = gone.unwrap_or(0);
    if let Some(each) = gone.saturating_mul(100).checked_div(runs) {
        report_100_of("periodic", op, count, each);
        report_100_of(
            "periodic",
            load,
            count,
            gone * 100 / (window / SECOND.as_nanos()),
        );
    }
    Ok(())
}

/// How long it takes to delete one of many.
fn delete(count: usize, task: &Task) -> Result {
    let mut all = KVVec::with_capacity(count, GFP_KERNEL)?;
    for _ in 0..count {
        let period = Delta::from_secs(1_000);
        let beat = Periodic::<Soft>::new(softclock::owner!(), c"deleted", period, |_| ())?;
        all.push(beat, GFP_KERNEL)?;
        crate::herd::breathe(all.len());
    }
    let mut meter = Meter::new(count)?;
    for beat in &all {
        // Nobody runs, so nobody is waited for.
        let _ = meter.time(|| beat.delete(task));
    }
    meter.report_all_of("periodic", "delete", count);
    Ok(())
}

/// All of it, with up to `many` at once.
pub(crate) fn run(many: usize, task: &Task) -> Result {
    phase::<Soft>("phase_soft")?;
    phase::<Hard>("phase_hard")?;
    phase::<Task>("phase_task")?;
    phase::<Coarse<Soft>>("phase_coarse")?;
    let often = Rate::every(Delta::from_millis(1));
    stolen::<Soft>("fire_soft", "load_soft", 1, often)?;
    stolen::<Hard>("fire_hard", "load_hard", 1, often)?;
    stolen::<Coarse<Soft>>("fire_coarse", "load_coarse", 1, often)?;
    stolen::<Task>("fire_task", "load_task", 1, often)?;
    let seldom = Rate::every(SECOND).spread();
    stolen::<Soft>("fire_soft", "load_soft", many, seldom)?;
    let together = Rate::every(SECOND).aligned();
    stolen::<Coarse<Soft>>("fire_coarse", "load_coarse", many, together)?;
    delete(10, task)?;
    delete(many, task)
}
