// SPDX-License-Identifier: GPL-2.0

//! Plans: windows in which callouts meet, the instant that was promised, the CPU that was asked for.

use crate::{
    harness::{all, check, Case, Fault, Verdict},
    subject::{other_cpu, sleep_ms, sleep_until, spin_until, Act, Subject, SAW_REARMED},
};
use kernel::cpu::{nr_cpu_ids, CpuId};
use softclock::{prelude::*, Unlocked};

pub(crate) const CASES: &[&[Case]] = &[
    &[
        Case {
            name: "callout-28 callouts with a window share a few instants, others do not",
            run: windows_share,
        },
        Case {
            name: "callout-29 of windows and fractions the largest counts, and none leads out of itself",
            run: largest_window,
        },
        Case {
            name: "callout-29 runs with a window are not early, nor before the instant planned (soft)",
            run: within_window::<Soft>,
        },
        Case {
            name: "callout-29 runs with a window are not early, nor before the instant planned (task)",
            run: within_window::<Task>,
        },
        Case {
            name: "callout-30 when() is the granule of the run (soft)",
            run: when_is_true::<Soft>,
        },
        Case {
            name: "callout-30 when() is the granule of the run, by a window (soft)",
            run: when_is_true_within::<Soft>,
        },
        Case {
            name: "callout-30 when() is the granule of the run (task)",
            run: when_is_true::<Task>,
        },
    ],
    &all!(
        "callout-27 plans to and beyond the end of time, and before its beginning, are taken",
        extreme_plans
    ),
    &[
        Case {
            name: "callout-33 armed on another CPU, the callback runs there (soft)",
            run: runs_there,
        },
        Case {
            name: "callout-33 re-armed on another CPU, a pending callout moves (soft)",
            run: moves,
        },
        Case {
            name: "callout-33 re-armed on another CPU when it is due and taken already, it moves (soft)",
            run: due_moves,
        },
        Case {
            name: "callout-33 re-armed on another CPU while running, the next run is there (soft)",
            run: next_run_there,
        },
        Case {
            name: "callout-33 a stop drops the re-arm on another CPU (soft)",
            run: stop_drops_move,
        },
        Case {
            name: "callout-33 of two re-arms on other CPUs while running the last wins (soft)",
            run: last_move_wins,
        },
        Case {
            name: "callout-33 a callout that moves for ever is neither lost nor run twice (soft)",
            run: moves_for_ever,
        },
    ],
    &all!(
        "callout-33 a CPU that does not exist refuses the arm, and nothing is lost",
        no_such_cpu
    ),
];

/// Nanoseconds of a granule.
const GRANULE: i64 = 1 << 16;

/// Random numbers from a fixed seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: i64) -> i64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as i64 % end
    }
}

/// How many different instants a hundred callouts, 100 us apart, get.
fn instants(window: Delta) -> Result<usize> {
    let first = softclock::now() + Delta::from_millis(20);
    let mut whens: KVec<Instant> = KVec::new();
    for n in 0..100 {
        let due = first + Delta::from_micros(n * 100);
        let when = Plan::at(due).within(window).when();
        if !whens.contains(&when) {
            whens.push(when, GFP_KERNEL)?;
        }
    }
    Ok(whens.len())
}

fn windows_share(_: &Task) -> Verdict {
    check!(instants(Delta::ZERO)? == 100);
    check!(instants(Delta::from_millis(10))? <= 4);
    check!(instants(Delta::from_millis(100))? <= 2);
    Ok(())
}

fn largest_window(_: &Task) -> Verdict {
    let mut random = Random(1);
    for _ in 0..1_000 {
        let due = Instant::from_nanos(random.below(1 << 45));
        let after = Delta::from_nanos(random.below(1 << 34));
        let small = random.below(1 << 27);
        let large = Delta::from_nanos(small + random.below(1 << 27));
        let small = Delta::from_nanos(small);
        let plan = Plan::at(due);
        check!(plan.within(small).within(large).when() == plan.within(large).when());
        check!(plan.within(large).within(small).when() == plan.within(large).when());
        check!(plan.within(Delta::from_nanos(-5)).when() == plan.when());
        for shift in 1..=7 {
            let part = Delta::from_nanos(after.as_nanos() >> shift);
            let most = part.max(small);
            let both = [
                plan.within_fraction(after, shift).within(small).when(),
                plan.within(small).within_fraction(after, shift).when(),
            ];
            check!(both == [plan.within(most).when(); 2]);
            check!(both[0] >= due);
            // A window less than a granule leaves no choice.
            check!(both[0] - due <= most.max(Delta::from_nanos(GRANULE - 1)));
        }
        check!(plan.within_fraction(after, u32::MAX).when() == plan.when());
    }
    Ok(())
}

fn within_window<K: Unlocked>(_: &Task) -> Verdict {
    let subject = Subject::<K>::new(Act::Nothing, None)?;
    let mut random = Random(2);
    for run in 1..=30 {
        let after = Delta::from_nanos(random.below(10_000_000));
        let plan = Plan::after(after).within(Delta::from_nanos(random.below(20_000_000)));
        check!(subject.callout::<K>().arm(plan) == Arm::New);
        check!(sleep_until(2_000, || subject.ended.load(Acquire) == run));
        check!(subject.last_began_ns.load(Relaxed) >= plan.when().as_nanos());
    }
    check!(subject.early.load(Relaxed) == 0);
    Ok(())
}

fn when_is_true<K: Unlocked>(_: &Task) -> Verdict {
    exactly_when::<K>(0)
}

fn when_is_true_within<K: Unlocked>(_: &Task) -> Verdict {
    exactly_when::<K>(9_000_000)
}

fn exactly_when<K: Unlocked>(window: i64) -> Verdict {
    let subject = Subject::<K>::new(Act::Nothing, None)?;
    let mut random = Random(3);
    let (mut exact, rounds) = (0, 100);
    for run in 1..=rounds {
        let after = Delta::from_nanos(1_000_000 + random.below(5_000_000));
        let plan = Plan::after(after).within(Delta::from_nanos(window));
        let when = plan.when();
        check!(subject.callout::<K>().arm(plan) == Arm::New);
        check!(sleep_until(2_000, || subject.ended.load(Acquire) == run));
        let began = subject.last_began_ns.load(Relaxed);
        check!(began >= when.as_nanos());
        exact += u64::from(began < when.as_nanos() + GRANULE);
    }
    if nr_cpu_ids() < 2 {
        // Nothing is late where time stands still for all that executes.
        check!(exact == rounds);
    } else if exact == 0 {
        return Err(Fault::Skip("this guest is late by a granule every time"));
    }
    Ok(())
}

fn extreme_plans<K: Unlocked>(_: &Task) -> Verdict {
    let subject = Subject::<K>::new(Act::Nothing, None)?;
    let windows = [
        i64::MIN,
        -1,
        0,
        1,
        GRANULE - 1,
        GRANULE,
        1 << 40,
        i64::MAX - 1,
        i64::MAX,
    ];
    for due in [i64::MAX, i64::MAX - 1, i64::MAX - GRANULE, 1 << 60, 1 << 59] {
        for window in windows {
            let plan = Plan::at(Instant::from_nanos(due)).within(Delta::from_nanos(window));
            check!(plan.when() > softclock::now() + Delta::from_secs(1 << 28));
            check!(subject.callout::<K>().arm(plan) == Arm::New);
            check!(subject.timer.is_pending());
            check!(subject.timer.stop() == Stop::Cancelled);
        }
    }
    check!(subject.callout::<K>().arm(Plan::after(Delta::MAX)) == Arm::New);
    check!(subject.callout::<K>().arm_after(Delta::MAX) == Arm::Replaced);
    check!(subject.timer.stop() == Stop::Cancelled);
    for (before, due) in [i64::MIN, -1, 0, 1].into_iter().enumerate() {
        let plan = Plan::at(Instant::from_nanos(due)).within(Delta::from_nanos(i64::MIN));
        check!(subject.callout::<K>().arm(plan) == Arm::New);
        check!(sleep_until(2_000, || subject.ended.load(Acquire) == before as u64 + 1));
    }
    check!(subject.early.load(Relaxed) == 0);
    Ok(())
}

const NEEDS_TWO: Fault = Fault::Skip("needs two CPUs");

fn runs_there(_: &Task) -> Verdict {
    let subject = Subject::<Soft>::new(Act::Nothing, None)?;
    for run in 1..=100 {
        let cpu = other_cpu().ok_or(NEEDS_TWO)?;
        let after = Delta::from_micros(run as i64 * 37);
        check!(subject.callout::<Soft>().arm(Plan::after(after).on(cpu)) == Arm::New);
        check!(sleep_until(2_000, || subject.ended.load(Acquire) == run));
        check!(subject.last_cpu.load(Relaxed) == cpu);
    }
    check!(subject.early.load(Relaxed) == 0);
    Ok(())
}

fn moves(_: &Task) -> Verdict {
    let subject = Subject::<Soft>::new(Act::Nothing, None)?;
    for run in 1..=50 {
        let cpu = other_cpu().ok_or(NEEDS_TWO)?;
        let here = CpuId::current().as_u32();
        let soon = Plan::after(Delta::from_millis(2));
        let callout = subject.callout::<Soft>();
        check!(callout.arm(Plan::after(Delta::from_secs(9)).on(here)) == Arm::New);
        check!(callout.arm(soon.on(cpu)) == Arm::Replaced);
        check!(sleep_until(2_000, || subject.ended.load(Acquire) == run));
        check!(subject.last_cpu.load(Relaxed) == cpu);
    }
    sleep_ms(5);
    check!(subject.runs() == 50);
    Ok(())
}

/// The CPU that [`due_moves`] sends its callout to, and how often it was pending then.
static TARGET: Atomic<u32> = Atomic::new(0);
static PENDING: Atomic<u64> = Atomic::new(0);

/// Armed for another CPU by the callback before it in the same granule: taken from the wheel already, and
/// due, it must not run where it is.
fn due_moves(task: &Task) -> Verdict {
    let subject = Subject::<Soft>::new(Act::Nothing, None)?;
    let moved = subject.clone();
    let first = Closure::<Soft>::new(softclock::owner!(), c"first", move |_run| {
        let there = Plan::at(Instant::BOOT).on(TARGET.load(Relaxed));
        let pending = moved.callout::<Soft>().arm(there) == Arm::Replaced;
        PENDING.fetch_add(u64::from(pending), Relaxed);
        Next::Stop
    })?;
    let mut moved = 0;
    for _ in 0..200 {
        let cpu = other_cpu().ok_or(NEEDS_TWO)?;
        TARGET.store(cpu, Relaxed);
        PENDING.store(0, Relaxed);
        let here = CpuId::current().as_u32();
        let soon = Plan::after(Delta::from_millis(2)).on(here);
        first.callout().arm(soon);
        let in_time = subject.callout::<Soft>().arm(soon) == Arm::New;
        check!(sleep_until(2_000, || !first.callout().is_pending()));
        check!(first.callout().drain(task).is_ok());
        check!(sleep_until(2_000, || !subject.timer.is_pending()));
        check!(subject.timer.drain(task).is_ok());
        // Unless this thread was held up in between.
        if in_time && PENDING.load(Relaxed) == 1 {
            moved += 1;
            check!(subject.last_cpu.load(Relaxed) == cpu);
        }
    }
    check!(moved > 0);
    Ok(())
}

/// Calls `then` while a soft callback executes on a CPU, which it is told, and another one.
fn running_on(act: Act, then: impl Fn(&Arc<Timed<Subject<Soft>>>, u32, u32) -> Verdict) -> Verdict {
    for _ in 0..100 {
        let cpu = other_cpu().ok_or(NEEDS_TWO)?;
        let other = CpuId::current().as_u32();
        let subject = Subject::<Soft>::new(act, None)?;
        let plan = Plan::after(Delta::ZERO).on(cpu);
        subject.callout::<Soft>().arm(plan);
        let entered = || subject.entered.load(Acquire);
        let running = spin_until(100_000_000, entered) && subject.ended.load(Acquire) == 0;
        let verdict = if running {
            then(&subject, cpu, other)
        } else {
            Err(Fault::Retry)
        };
        subject.release.store(true, Release);
        if !matches!(verdict, Err(Fault::Retry)) {
            return verdict;
        }
    }
    Err(Fault::Skip(
        "its callback and this thread never got a CPU each",
    ))
}

fn next_run_there(_: &Task) -> Verdict {
    running_on(Act::Hold, |subject, cpu, other| {
        let plan = Plan::after(Delta::from_millis(1)).on(other);
        let arm = subject.callout::<Soft>().arm(plan);
        if subject.ended.load(Acquire) == 1 {
            return Err(Fault::Retry);
        }
        check!(arm == Arm::New);
        check!(subject.last_cpu.load(Relaxed) == cpu);
        subject.release.store(true, Release);
        check!(sleep_until(2_000, || subject.ended.load(Acquire) == 2));
        check!(subject.last_cpu.load(Relaxed) == other);
        sleep_ms(5);
        check!(subject.runs() == 2);
        Ok(())
    })
}

fn stop_drops_move(_: &Task) -> Verdict {
    running_on(Act::Hold, |subject, _, other| {
        let plan = Plan::after(Delta::from_micros(100)).on(other);
        let arm = subject.callout::<Soft>().arm(plan);
        let stop = subject.timer.stop();
        if subject.ended.load(Acquire) == 1 {
            return Err(Fault::Retry);
        }
        check!(arm == Arm::New);
        check!(stop == Stop::Running);
        subject.release.store(true, Release);
        sleep_ms(20);
        check!(subject.runs() == 1);
        Ok(())
    })
}

fn last_move_wins(_: &Task) -> Verdict {
    running_on(Act::Hold, |subject, cpu, other| {
        let callout = subject.callout::<Soft>();
        let soon = Plan::after(Delta::from_millis(1));
        let arms = [
            callout.arm(soon.on(cpu)),
            callout.arm(soon.on(other)),
            callout.arm(soon.on(cpu)),
            callout.arm(soon.on(other)),
        ];
        if subject.ended.load(Acquire) == 1 {
            return Err(Fault::Retry);
        }
        check!(arms == [Arm::New, Arm::Replaced, Arm::Replaced, Arm::Replaced]);
        subject.release.store(true, Release);
        check!(sleep_until(2_000, || subject.ended.load(Acquire) == 2));
        check!(subject.last_cpu.load(Relaxed) == other);
        sleep_ms(5);
        check!(subject.runs() == 2);
        Ok(())
    })?;
    // Nothing the callback did on its own counted as one of these.
    let subject = Subject::<Soft>::new(Act::Nothing, None)?;
    check!(!subject.saw(SAW_REARMED));
    Ok(())
}

fn moves_for_ever(task: &Task) -> Verdict {
    if nr_cpu_ids() < 2 {
        return Err(NEEDS_TWO);
    }
    let subject = Subject::<Soft>::new(Act::Nothing, None)?;
    let mut random = Random(4);
    let (mut new, end) = (0, softclock::now() + Delta::from_secs(1));
    while softclock::now() < end {
        let after = Delta::from_micros(random.below(40));
        let plan = Plan::after(after).on(random.below(2) as u32);
        new += u64::from(subject.callout::<Soft>().arm(plan) == Arm::New);
    }
    check!(sleep_until(2_000, || !subject.timer.is_pending()));
    check!(subject.timer.drain(task).is_ok());
    check!(subject.runs() == new);
    check!(subject.early.load(Relaxed) == 0);
    Ok(())
}

fn no_such_cpu<K: Unlocked>(_: &Task) -> Verdict {
    let subject = Subject::<K>::new(Act::Nothing, None)?;
    let refused = Arm::Refused(Refusal::NoCpu);
    let now = Plan::at(Instant::BOOT);
    for cpu in [nr_cpu_ids(), nr_cpu_ids() + 1, 8_191, 8_192, u32::MAX] {
        check!(subject.callout::<K>().arm(now.on(cpu)) == refused);
        check!(!subject.timer.is_pending());
        check!(!subject.timer.is_active());
    }
    let due = softclock::now() + Delta::from_millis(30);
    check!(subject.callout::<K>().arm_at(due) == Arm::New);
    check!(subject.callout::<K>().arm(now.on(u32::MAX)) == refused);
    check!(sleep_until(2_000, || subject.ended.load(Acquire) == 1));
    check!(subject.early.load(Relaxed) == 0);
    check!(subject.last_due_ns.load(Relaxed) == due.as_nanos());
    sleep_ms(5);
    check!(subject.runs() == 1);
    Ok(())
}
