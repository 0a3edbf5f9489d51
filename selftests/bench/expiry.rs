// SPDX-License-Identifier: GPL-2.0

//! What expiry costs, and what a storm of it does to others.

use crate::{
    herd::{breathe, expect, wait_fired, Herd, FIRED, FIRST_NS, LAST_NS},
    meter::{opaque, report, report_100},
};
use kernel::time::delay::fsleep;
use softclock::prelude::*;

/// How often the only callout expires; the best time counts: a tick may come in between.
const ALONE: usize = 40;
/// How often its time is taken that a loop without it takes.
const TURNS: i64 = 1_000;

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
    if count == 1 {
        return alone(herd);
    }
    let mut best = i64::MAX;
    herd.silence(true);
    for _ in 0..if count > 100_000 { 1 } else { 3 } {
        expect(2, false);
        watch_volley(arm_volley(herd)?)?;
        let span = LAST_NS.load(Acquire) - FIRST_NS.load(Relaxed);
        best = best.min(span * 100 / (count as i64 - 1));
    }
    herd.silence(false);
    report_100("expire", count, best);
    Ok(())
}

/// Waits for the first and the last callback of a volley with the CPU busy: what an idle one takes to wake up
/// between two slices is not what is measured.
fn watch_volley(due: Instant) -> Result {
    while (due - softclock::now()).as_nanos() > 15_000_000 {
        fsleep(kernel::time::Delta::from_millis(10));
    }
    let give_up = due + Delta::from_secs(600);
    while FIRED.load(Acquire) < 2 && softclock::now() < give_up {}
    wait_fired(2, 1)
}

/// What the expiry of the only callout takes from a task that looks at the clock all the time: with the
/// interrupt and the softirq, which many that are due together share.
fn alone(herd: &Herd) -> Result {
    let subject = herd.all.first().ok_or(EINVAL)?;
    let (mut turn_1000, mut best) = (i64::MAX, i64::MAX);
    expect(0, false);
    for _ in 0..ALONE {
        turn_1000 = turn_1000.min(look_until(opaque(1), opaque(TURNS)).0.as_nanos());
    }
    for _ in 0..ALONE {
        // Neither the first nor the last of those expected: its callback does not look at the clock.
        expect(0, false);
        FIRED.store(1, Relaxed);
        let due = softclock::now() + Delta::from_micros(200);
        subject.callout::<Soft>().arm_at(due);
        let (took, turns) = look_until(opaque(2), opaque(TURNS * 100_000));
        wait_fired(2, 1)?;
        best = best.min(took.as_nanos() - turns * turn_1000 / TURNS);
    }
    report("expire", 1, best.max(0));
    Ok(())
}

/// Looks at the clock until so many callbacks have come, or `most` times; for how long, and how often. One
/// function: each of its turns takes as long.
#[inline(never)]
fn look_until(count: u64, most: i64) -> (Delta, i64) {
    let start = softclock::now();
    let mut turns = 0;
    loop {
        turns += 1;
        let over = FIRED.load(Acquire) >= count || turns == most;
        let now = softclock::now();
        if over {
            return (now - start, turns);
        }
    }
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
