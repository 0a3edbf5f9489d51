// SPDX-License-Identifier: GPL-2.0

//! What each operation costs, with the whole herd armed.

use crate::{
    herd::{breathe, expect, Herd, FIRED},
    meter::{opaque, Meter, Overhead},
};
use softclock::prelude::*;

/// What is measured must be what it is called.
fn checked(holds: bool, what: &'static str) -> Result {
    if holds {
        return Ok(());
    }
    pr_err!("unexpected answer: {}\n", what);
    Err(EIO)
}

/// Measures every operation with `herd` outstanding.
pub(crate) fn run(herd: &mut Herd, clock: Overhead, task: &Task) -> Result {
    let rounds = if herd.all.len() == 1 { 1_000 } else { 20_000 };
    expect(0, false);
    fill(herd)?;
    stop(herd, rounds, clock)?;
    arm(herd, rounds, clock, task)?;
    later(herd, rounds, clock)?;
    sooner(herd, rounds, clock)?;
    for subject in &herd.all {
        subject.timer.drain(task)?;
    }
    checked(FIRED.load(Relaxed) == 0, "a callback ran")
}

fn fill(herd: &mut Herd) -> Result {
    for index in 0..herd.all.len() {
        let delay = herd.delay();
        rearm(herd, index, delay)?;
        breathe(index);
    }
    Ok(())
}

/// Arms a victim and takes a note of its deadline, unmeasured.
fn rearm(herd: &mut Herd, index: usize, delay: Delta) -> Result {
    let due = softclock::now() + delay;
    let victim = herd.all.get(index).ok_or(EINVAL)?;
    victim.callout::<Soft>().arm_at(due);
    *herd.due_ns.get_mut(index).ok_or(EINVAL)? = due.as_nanos();
    Ok(())
}

/// Stop of a pending one, of the idle one it then is, and the arm that brings it back.
fn stop(herd: &mut Herd, rounds: usize, clock: Overhead) -> Result {
    let mut pending = Meter::new(rounds)?;
    let mut idle = Meter::new(rounds)?;
    let mut again = Meter::new(rounds)?;
    for round in 0..rounds {
        let index = herd.pick()?;
        let delay = herd.delay();
        let victim = opaque(herd.all.get(index).ok_or(EINVAL)?);
        let first = pending.time(|| victim.timer.stop());
        let second = idle.time(|| victim.timer.stop());
        let armed = again.time(|| victim.callout::<Soft>().arm_after(delay));
        checked(first == Stop::Cancelled, "stop of a pending callout")?;
        checked(second == Stop::Idle, "stop of an idle callout")?;
        checked(armed == Arm::New, "arm of a stopped callout")?;
        breathe(round);
    }
    let n = herd.all.len();
    pending.report("stop", n, clock);
    idle.report("stop_idle", n, clock);
    again.report("arm_stopped", n, clock);
    Ok(())
}

/// Drain of a pending one, and arms of what is idle for good: a drained one is in no queue.
fn arm(herd: &mut Herd, rounds: usize, clock: Overhead, task: &Task) -> Result {
    let mut drain = Meter::new(rounds)?;
    let mut after = Meter::new(rounds)?;
    let mut at = Meter::new(rounds)?;
    for round in 0..rounds {
        let index = herd.pick()?;
        let delay = herd.delay();
        let victim = opaque(herd.all.get(index).ok_or(EINVAL)?);
        let drained = drain.time(|| victim.timer.drain(task));
        let first = after.time(|| victim.callout::<Soft>().arm_after(delay));
        victim.timer.drain(task)?;
        let due = opaque(softclock::now() + delay);
        let second = at.time(|| victim.callout::<Soft>().arm_at(due));
        checked(
            drained == Ok(Drain::Cancelled),
            "drain of a pending callout",
        )?;
        checked(
            first == Arm::New && second == Arm::New,
            "arm of an idle callout",
        )?;
        breathe(round);
    }
    let n = herd.all.len();
    drain.report("drain", n, clock);
    after.report("arm_after", n, clock);
    at.report("arm_at", n, clock);
    Ok(())
}

/// One to a hundred seconds more: far enough that no queue finds it in its place already.
fn step(herd: &mut Herd) -> Delta {
    Delta::from_nanos(1_000_000_000 + herd.random.below(99_000_000_000) as i64)
}

/// Moves a pending one to a later deadline, as a keepalive does for each packet; then back among the
/// others, unmeasured. The two ways take turns, so that each meets its victims as cold as the other.
fn later(herd: &mut Herd, rounds: usize, clock: Overhead) -> Result {
    let mut after = Meter::new(rounds)?;
    let mut at = Meter::new(rounds)?;
    // `stop` and `arm` took no notes of their deadlines.
    fill(herd)?;
    for round in 0..2 * rounds {
        let index = herd.pick()?;
        let due = Instant::from_nanos(*herd.due_ns.get(index).ok_or(EINVAL)?) + step(herd);
        let back = herd.delay();
        let victim = opaque(herd.all.get(index).ok_or(EINVAL)?);
        let (due, delay) = opaque((due, due - softclock::now()));
        let answer = if round % 2 == 0 {
            after.time(|| victim.callout::<Soft>().arm_after(delay))
        } else {
            at.time(|| victim.callout::<Soft>().arm_at(due))
        };
        checked(answer == Arm::Replaced, "re-arm of a pending callout")?;
        rearm(herd, index, back)?;
        breathe(round);
    }
    let n = herd.all.len();
    after.report("later_after", n, clock);
    at.report("later_at", n, clock);
    Ok(())
}

/// Moves a pending one to an earlier deadline, and back, unmeasured.
fn sooner(herd: &mut Herd, rounds: usize, clock: Overhead) -> Result {
    let mut after = Meter::new(rounds)?;
    let mut at = Meter::new(rounds)?;
    for round in 0..2 * rounds {
        let index = herd.pick()?;
        let soon = Delta::from_nanos(50_000_000_000 + herd.random.below(1_000_000_000) as i64);
        let back = herd.delay();
        let victim = opaque(herd.all.get(index).ok_or(EINVAL)?);
        let (due, delay) = opaque((softclock::now() + soon, soon));
        let answer = if round % 2 == 0 {
            after.time(|| victim.callout::<Soft>().arm_after(delay))
        } else {
            at.time(|| victim.callout::<Soft>().arm_at(due))
        };
        checked(answer == Arm::Replaced, "re-arm of a pending callout")?;
        rearm(herd, index, back)?;
        breathe(round);
    }
    let n = herd.all.len();
    after.report("sooner_after", n, clock);
    at.report("sooner_at", n, clock);
    Ok(())
}
