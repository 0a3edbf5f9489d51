// SPDX-License-Identifier: GPL-2.0

//! How late callbacks are in an idle system.

use crate::{
    herd::{expect, note, wait_fired, Herd, Random},
    meter::Meter,
};
use kernel::time::delay::fsleep;
use softclock::prelude::*;

/// Delays whose lateness is measured, in milliseconds.
const DELAYS: [i64; 8] = [1, 10, 100, 1_000, 10_000, 60_000, 600_000, 86_400_000];
/// Up to here one at a time, above all outstanding at once.
const SINGLE_MS: i64 = 10;
/// How many samples for each.
const SAMPLES: usize = 400;
/// No delay is longer by more than this, and no window is longer.
const SPREAD_MS: i64 = 60_000;

/// All kinds, for delays of up to `seconds`.
pub(crate) fn run(seconds: u32) -> Result {
    let mut herd = Herd::new();
    let mut sharp = KVVec::with_capacity(SAMPLES, GFP_KERNEL)?;
    if seconds > 0 {
        herd.grow(SAMPLES)?;
    }
    while sharp.len() < herd.all.len() {
        sharp.push(Sharp::new()?, GFP_KERNEL)?;
    }
    for ms in DELAYS {
        if ms > i64::from(seconds) * 1_000 {
            break;
        }
        ordinary(&mut herd, ms)?;
        within_windows(&mut herd, ms)?;
        precise(&sharp, &mut herd.random, ms)?;
    }
    Ok(())
}

fn ordinary(herd: &mut Herd, ms: i64) -> Result {
    let Herd { all, random, .. } = herd;
    arm_all(random, ms, |index, due, _| {
        let subject = all.get(index).ok_or(EINVAL)?;
        subject.due_ns.store(due.as_nanos(), Relaxed);
        subject.callout::<Soft>().arm_at(due);
        Ok(())
    })?;
    let mut late = Meter::new(SAMPLES)?;
    for subject in &herd.all {
        late.add(subject.late_ns.load(Relaxed));
    }
    late.report_all("late", ms as usize);
    Ok(())
}

/// Those that may be late by a window, of up to a quarter of their delay: how late they are, and how long
/// after the end of their window that is.
fn within_windows(herd: &mut Herd, ms: i64) -> Result {
    let mut windows = KVVec::with_capacity(SAMPLES, GFP_KERNEL)?;
    let Herd { all, random, .. } = herd;
    arm_all(random, ms, |index, due, random| {
        let window = below_ms(random, spread_of(ms));
        windows.push(window, GFP_KERNEL)?;
        let subject = all.get(index).ok_or(EINVAL)?;
        subject.due_ns.store(due.as_nanos(), Relaxed);
        subject.callout::<Soft>().arm(Plan::at(due).within(window));
        Ok(())
    })?;
    let (mut late, mut over) = (Meter::new(SAMPLES)?, Meter::new(SAMPLES)?);
    for (subject, window) in herd.all.iter().zip(windows.iter()) {
        let by = subject.late_ns.load(Relaxed);
        late.add(by);
        over.add(by - window.as_nanos());
    }
    late.report_all("late_window", ms as usize);
    over.report_all("window_over", ms as usize);
    Ok(())
}

/// Those with a timer of their own.
fn precise(all: &[Arc<Timed<Sharp>>], random: &mut Random, ms: i64) -> Result {
    arm_all(random, ms, |index, due, _| {
        let sharp = all.get(index).ok_or(EINVAL)?;
        sharp.due_ns.store(due.as_nanos(), Relaxed);
        sharp.callout::<Precise<Soft>>().arm_at(due);
        Ok(())
    })?;
    let mut late = Meter::new(SAMPLES)?;
    for sharp in all {
        late.add(sharp.late_ns.load(Relaxed));
    }
    late.report_all("late_precise", ms as usize);
    Ok(())
}

#[pin_data]
struct Sharp {
    #[pin]
    timer: Callout<Self, Precise<Soft>>,
    due_ns: Atomic<i64>,
    late_ns: Atomic<i64>,
}

impl_has_callout! { impl HasCallout<Precise<Soft>> for Sharp { self.timer } }

impl OnExpire<Precise<Soft>> for Sharp {
    fn expire(this: ArcBorrow<'_, Timed<Self>>, _run: &Expiry<'_, Soft>) -> Next {
        let late = softclock::now().as_nanos() - this.due_ns.load(Relaxed);
        this.late_ns.store(late, Relaxed);
        note();
        Next::Stop
    }
}

impl Sharp {
    fn new() -> Result<Arc<Timed<Self>>> {
        Timed::new(try_pin_init!(Self {
            timer <- Callout::new(softclock::owner!(), c"sharp"),
            due_ns: Atomic::new(0),
            late_ns: Atomic::new(0),
        }))
    }
}

/// Arms each sample in turn for `ms` from then, and some more; back when all have run.
fn arm_all(
    random: &mut Random,
    ms: i64,
    mut arm: impl FnMut(usize, Instant, &mut Random) -> Result,
) -> Result {
    let spread = if ms > SINGLE_MS { spread_of(ms) } else { ms };
    expect(SAMPLES, true);
    for index in 0..SAMPLES {
        let first = softclock::now() + Delta::from_millis(ms);
        arm(index, first + below_ms(random, spread), random)?;
        if ms <= SINGLE_MS {
            sleep_ms(2 * ms + 1);
        }
    }
    sleep_ms(ms);
    wait_fired(SAMPLES, 2 * SPREAD_MS / 1_000 + 60)
}

/// A quarter of a delay, in milliseconds, or a millisecond.
fn spread_of(ms: i64) -> i64 {
    (ms / 4).clamp(1, SPREAD_MS)
}

/// A span of up to `ms`.
fn below_ms(random: &mut Random, ms: i64) -> Delta {
    Delta::from_nanos(random.below(ms as u64 * 1_000_000) as i64)
}

/// The kernel crate's sleep takes half an hour at most.
fn sleep_ms(ms: i64) {
    for _ in 0..ms / 1_000_000 {
        fsleep(kernel::time::Delta::from_millis(1_000_000));
    }
    fsleep(kernel::time::Delta::from_millis(ms % 1_000_000));
}
