// SPDX-License-Identifier: GPL-2.0

//! What expiry costs, how late it is, and what a storm of it does to others.

use crate::{
    herd::{breathe, expect, wait_fired, Herd, FIRED, FIRST_NS, LAST_NS},
    meter::{report, report_100, Meter},
};
use kernel::time::delay::fsleep;
use softclock::prelude::*;

/// Delays whose lateness is measured, in milliseconds.
const DELAYS: [i64; 8] = [1, 10, 100, 1_000, 10_000, 60_000, 600_000, 86_400_000];
/// Up to here one at a time, above all outstanding at once.
const SINGLE_MS: i64 = 10;
/// How many samples for each.
const SAMPLES: usize = 400;

/// Long enough to arm `count` callouts before it is over.
fn time_to_arm(count: usize) -> Delta {
    Delta::from_micros(500_000 + 5 * count as i64)
}

/// Arms the whole herd for one instant, which is returned.
fn arm_volley(herd: &Herd) -> Result<Instant> {
    let due = softclock::now() + time_to_arm(herd.all.len());
    for subject in &herd.all {
        subject.due_ns.store(due.as_nanos(), Relaxed);
        subject.runs.store(0, Relaxed);
        subject.callout::<Soft>().arm_at(due);
    }
    if softclock::now() > due {
        pr_err!("too slow: the volley was due before it was armed\n");
        return Err(EIO);
    }
    Ok(due)
}

/// From the first callback of a volley to the last, for each: with all that lies between them. The
/// callbacks in between only look whether they are to note something.
pub(crate) fn per_callback(herd: &Herd) -> Result {
    let count = herd.all.len();
    let mut best = i64::MAX;
    herd.silence(true);
    for _ in 0..if count > 100_000 { 1 } else { 3 } {
        expect(2, false);
        arm_volley(herd)?;
        wait_fired(2, 600)?;
        let span = LAST_NS.load(Acquire) - FIRST_NS.load(Relaxed);
        best = best.min(span * 100 / (count as i64 - 1));
    }
    herd.silence(false);
    report_100("expire", count, best);
    Ok(())
}

/// How many of the herd did not run exactly once.
fn not_once(herd: &Herd) -> i64 {
    let wrong = herd.all.iter().filter(|s| s.runs.load(Relaxed) != 1);
    wrong.count() as i64
}

fn early(herd: &Herd) -> i64 {
    let early = herd.all.iter().filter(|s| s.late_ns.load(Relaxed) < 0);
    early.count() as i64
}

/// The whole herd at random times of two seconds.
pub(crate) fn never_early(herd: &mut Herd) -> Result {
    let count = herd.all.len();
    expect(count, true);
    for index in 0..count {
        let delay = 1_000_000 + herd.random.below(2_000_000_000) as i64;
        let subject = herd.all.get(index).ok_or(EINVAL)?;
        let due = softclock::now() + Delta::from_nanos(delay);
        subject.due_ns.store(due.as_nanos(), Relaxed);
        subject.runs.store(0, Relaxed);
        subject.callout::<Soft>().arm_at(due);
        breathe(index);
    }
    wait_fired(count, 600)?;
    report("early", count, early(herd));
    report("not_once", count, not_once(herd));
    Ok(())
}

/// The whole herd at one instant, and how long a task that wants the CPU all the time is kept from it:
/// the longest time between two looks at the clock.
pub(crate) fn storm(herd: &Herd) -> Result {
    let count = herd.all.len();
    expect(count, true);
    let due = arm_volley(herd)?;
    let give_up = due + Delta::from_secs(600);
    let mut longest = Delta::ZERO;
    let mut last = softclock::now();
    loop {
        // In this order: what has fired by now shows in the time read after it.
        let over = FIRED.load(Acquire) == count as u64;
        let now = softclock::now();
        longest = longest.max(now - last);
        last = now;
        if over || now > give_up {
            break;
        }
    }
    wait_fired(count, 1)?;
    report("storm_gap", count, longest.as_nanos());
    report(
        "storm_span",
        count,
        LAST_NS.load(Acquire) - FIRST_NS.load(Relaxed),
    );
    report("storm_early", count, early(herd));
    report("storm_not_once", count, not_once(herd));
    Ok(())
}

/// The kernel crate's sleep takes half an hour at most.
fn sleep_ms(ms: i64) {
    for _ in 0..ms / 1_000_000 {
        fsleep(kernel::time::Delta::from_millis(1_000_000));
    }
    fsleep(kernel::time::Delta::from_millis(ms % 1_000_000));
}

/// Notes the deadline, and arms for it.
fn arm(herd: &Herd, index: usize, delay: Delta) -> Result {
    let subject = herd.all.get(index).ok_or(EINVAL)?;
    let due = softclock::now() + delay;
    subject.due_ns.store(due.as_nanos(), Relaxed);
    subject.callout::<Soft>().arm_at(due);
    Ok(())
}

/// How late callbacks are in an idle system, for delays of up to `seconds`.
pub(crate) fn lateness(seconds: u32) -> Result {
    let mut herd = Herd::new();
    herd.grow(if seconds > 0 { SAMPLES } else { 0 })?;
    for ms in DELAYS {
        if ms > i64::from(seconds) * 1_000 {
            break;
        }
        let spread = if ms > SINGLE_MS { ms / 4 } else { ms }.min(60_000);
        expect(SAMPLES, true);
        for index in 0..SAMPLES {
            let extra = herd.random.below(spread as u64 * 1_000_000) as i64;
            arm(&herd, index, Delta::from_nanos(ms * 1_000_000 + extra))?;
            if ms <= SINGLE_MS {
                sleep_ms(2 * ms + 1);
            }
        }
        sleep_ms(ms);
        wait_fired(SAMPLES, 120)?;
        let mut meter = Meter::new(SAMPLES)?;
        for subject in &herd.all {
            meter.add(subject.late_ns.load(Relaxed));
        }
        meter.report_all("late", ms as usize);
    }
    Ok(())
}
