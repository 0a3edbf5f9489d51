// SPDX-License-Identifier: GPL-2.0

//! Periodics: their grid, their first run, what they do when a run comes late or takes long.

use crate::{
    harness::{check, in_time, is_simulated, Case, Fault, Verdict},
    periodic_subject::{beat, is_atomic, modes, ms, plain, slower_and_slower, spend_us, Log},
    subject::{pause_us, sleep_ms, sleep_until},
};
use softclock::{periodic::Mode, prelude::*};

pub(crate) const CASES: &[&[Case]] = &[
    &modes!(
        "periodic-1 in a second of 10 ms there are 100 points, each run for or counted as missed",
        hundred_points
    ),
    &modes!(
        "periodic-2 what has to sleep may, what may not cannot",
        contexts
    ),
    &[
        Case {
            name: "periodic-4 a period of zero or less is EINVAL, below 100 us or too long is ERANGE",
            run: bad_periods,
        },
        Case {
            name: "periodic-5 illumos' rules make 1 ms 10 ms",
            run: strict_short,
        },
        Case {
            name: "periodic-6 illumos' rules round 15 ms up to 20 ms",
            run: strict_rounds,
        },
    ],
    &modes!("periodic-7 1 ms is 1 ms", one_millisecond),
    &modes!("periodic-7 100 us is 100 us", hundred_microseconds),
    &modes!(
        "periodic-8 under load no point is off the grid: no drift",
        no_drift
    ),
    &[
        Case {
            name: "periodic-9 a handler of 2.5 periods runs for each third point, never twice at once",
            run: two_and_a_half::<Task>,
        },
        Case {
            name: "periodic-9 the same in softirq context",
            run: two_and_a_half::<Soft>,
        },
        Case {
            name: "periodic-10 a handler of 0.9 periods misses none",
            run: nine_tenths::<Task>,
        },
        Case {
            name: "periodic-10 the same in softirq context",
            run: nine_tenths::<Soft>,
        },
        Case {
            name: "periodic-11 five periodics that block do not hold up a sixth",
            run: blockers,
        },
    ],
    &modes!(
        "periodic-12 the first run is one full period after it was made",
        first_full
    ),
    &modes!(
        "periodic-12 aligned: the first run is on the next multiple since boot",
        first_aligned
    ),
    &modes!(
        "periodic-12 spread: the first run is within one period",
        first_spread
    ),
    &modes!(
        "periodic-26 a period changed by the callback counts from that run",
        change_inside
    ),
    &modes!(
        "periodic-26 a period changed from outside counts from the next point",
        change_outside
    ),
    &modes!(
        "periodic-26 a change to the longest period counts from the next point, a longer one is ERANGE",
        change_to_longest
    ),
    &[
        Case {
            name: "periodic-26 a change to nonsense, or of what is over, changes nothing",
            run: change_badly,
        },
        Case {
            name: "periodic-28 after 1.2 s of standstill it runs once, in phase, and says what it missed",
            run: standstill::<Task>,
        },
        Case {
            name: "periodic-28 the same where the softirqs stood still",
            run: standstill::<Soft>,
        },
        Case {
            name: "periodic-29 a thousand equal ones that are spread have every phase alike",
            run: spread_phases,
        },
        Case {
            name: "periodic-29 by default the phase is that of when it was made",
            run: default_phases,
        },
    ],
];

/// The last point whose run was due by `now`, if the first one is a period after `start`.
fn points(start: Instant, now: Instant, period: Delta) -> u64 {
    let passed = (now - start).as_nanos().checked_div(period.as_nanos());
    passed.unwrap_or(0) as u64
}

/// Whether the number of points is what the clock says, give or take one that comes right now.
fn keeps_count(log: &Log, start: Instant, period: Delta) -> bool {
    let before = points(start, softclock::now(), period);
    let number = log.number();
    let after = points(start, softclock::now(), period);
    // What is missed shows with the next run: allow for a run in progress and a few late ones.
    number + 3 >= before && number <= after + 1
}

fn hundred_points<M: Mode>(task: &Task) -> Verdict {
    let start = softclock::now();
    let (periodic, log) = plain::<M>(ms(10))?;
    sleep_ms(1_000);
    let counted = sleep_until(2_000, || keeps_count(&log, start, ms(10)));
    let passed = points(start, softclock::now(), ms(10));
    // Waits for a run in progress, whose log is not complete.
    check!(periodic.delete(task).is_ok());
    check!(counted);
    check!(passed >= 99);
    check!(log.is_clean());
    check!(log.runs() + log.missed() == log.number());
    // Even a busy machine lets most of them come in time.
    check!(in_time(log.runs() >= passed / 2));
    check!(log.tasks.load(Relaxed) == if is_atomic::<M>() { 0 } else { log.runs() });
    Ok(())
}

fn contexts<M: Mode>(_: &Task) -> Verdict {
    let (periodic, log) = beat::<M, _>(ms(2), |_, log| {
        if Task::new().is_ok() {
            sleep_ms(1);
            log.entered.store(true, Release);
        }
    })?;
    check!(log.has_run(3));
    drop(periodic);
    check!(log.entered.load(Acquire) != is_atomic::<M>());
    check!(log.is_clean());
    Ok(())
}

fn refused<T>(result: Result<T>, error: Error) -> bool {
    result.is_err_and(|got| got == error)
}

/// What is no period, and the error it is.
const BAD: [(i64, Error); 7] = [
    (0, EINVAL),
    (-1, EINVAL),
    (i64::MIN, EINVAL),
    (1, ERANGE),
    (99_999, ERANGE),
    (i64::MAX / 2 + 1, ERANGE),
    (i64::MAX, ERANGE),
];

fn bad_periods(_: &Task) -> Verdict {
    for (ns, error) in BAD {
        let span = Delta::from_nanos(ns);
        check!(refused(plain::<Task>(span), error));
        check!(refused(plain::<Soft>(Rate::every(span).aligned()), error));
        check!(refused(
            plain::<Coarse<Soft>>(Rate::every(span).spread()),
            error
        ));
        // Short ones are made 10 ms there.
        if !(1..100_000).contains(&ns) {
            check!(refused(plain::<Soft>(Rate::illumos(span)), error));
        }
    }
    for ns in [100_000, i64::MAX / 2] {
        let (periodic, _log) = plain::<Soft>(Delta::from_nanos(ns))?;
        check!(periodic.period().as_nanos() == ns);
    }
    Ok(())
}

fn strict_short(_: &Task) -> Verdict {
    let (periodic, log) = plain::<Task>(Rate::illumos(ms(1)))?;
    check!(periodic.period() == ms(10));
    check!(log.has_run(5));
    check!(log.is_clean());

    Ok(())
}

fn strict_rounds(_: &Task) -> Verdict {
    for (asked, got) in [
        (9, 10),
        (10, 10),
        (11, 20),
        (15, 20),
        (20, 20),
        (995, 1_000),
    ] {
        let (periodic, _log) = plain::<Soft>(Rate::illumos(ms(asked)))?;
        check!(periodic.period() == ms(got));
        let due = periodic.due().map_or(-1, Instant::as_nanos);
        check!(due % ms(got).as_nanos() == 0);
    }
    Ok(())
}

fn honoured<M: Mode>(period: Delta) -> Verdict {
    let start = softclock::now();
    let (periodic, log) = plain::<M>(period)?;
    sleep_ms(200);
    let counted = sleep_until(1_000, || {
        let passed = points(start, softclock::now(), period);
        // As many points as the clock says, but for those of a moment.
        log.number() + passed / 20 + 20 >= passed
    });
    check!(periodic.period() == period);
    let often = log.has_run(21);
    drop(periodic);
    check!(counted);
    check!(log.number() <= points(start, softclock::now(), period));
    check!(often);
    check!(log.is_clean());
    Ok(())
}

fn one_millisecond<M: Mode>(_: &Task) -> Verdict {
    honoured::<M>(ms(1))
}

fn hundred_microseconds<M: Mode>(_: &Task) -> Verdict {
    honoured::<M>(Delta::from_micros(100))
}

fn no_drift<M: Mode>(task: &Task) -> Verdict {
    // Softirqs are late by up to 400 us, again and again.
    let (_load, busy) = beat::<Soft, _>(Delta::from_micros(1_700), |_, _| pause_us(400))?;
    let start = softclock::now();
    let (periodic, log) = plain::<M>(ms(1))?;
    let many = if is_simulated() { 10_000 } else { 200 };
    check!(sleep_until(60_000, || log.runs() >= many));
    // Waits for a run in progress, whose log is not complete.
    check!(periodic.delete(task).is_ok());
    check!(busy.has_run(1));
    check!(log.is_clean());
    let first = log.first_due_ns.load(Relaxed);
    let span = log.due_ns.load(Relaxed) - first;
    check!(span == (log.number() as i64 - 1) * ms(1).as_nanos());
    check!(first - start.as_nanos() >= ms(1).as_nanos());
    check!(log.missed() + log.runs() == log.number());
    Ok(())
}

fn two_and_a_half<M: Mode>(_: &Task) -> Verdict {
    for period_ms in slower_and_slower(4) {
        let (mut last, mut thirds) = (0, 0);
        let (periodic, log) = beat::<M, _>(ms(period_ms), move |tick, log| {
            spend_us(2_500 * period_ms);
            thirds = if tick.number() == last + 3 && tick.missed() == 2 {
                thirds + 1
            } else {
                0
            };
            last = tick.number();
            log.entered.store(thirds >= 5, Release);
            if thirds >= 5 {
                Then::Stop
            } else {
                Then::Repeat
            }
        })?;
        let exact = sleep_until((125 * period_ms) as u64, || log.entered.load(Acquire));
        drop(periodic);
        // However busy the machine is.
        check!(log.is_clean());
        check!(log.runs() < 3 || log.missed() >= (log.runs() - 2) * 2);
        if exact {
            return Ok(());
        }
    }
    Err(Fault::Broken(
        "1st, 4th, 7th and so on, five times in a row",
        line!(),
    ))
}

fn nine_tenths<M: Mode>(_: &Task) -> Verdict {
    for period_ms in slower_and_slower(10) {
        let mut in_time = 0;
        let (periodic, log) = beat::<M, _>(ms(period_ms), move |tick, log| {
            // As if it had begun at its point, for that is what is asked about.
            spend_us(900 * period_ms - tick.lateness().as_nanos() / 1_000);
            in_time = if tick.missed() == 0 { in_time + 1 } else { 0 };
            log.entered.store(in_time >= 5, Release);
            if in_time >= 5 {
                Then::Stop
            } else {
                Then::Repeat
            }
        })?;
        let exact = sleep_until((50 * period_ms) as u64, || log.entered.load(Acquire));
        drop(periodic);
        check!(log.is_clean());
        if exact {
            return Ok(());
        }
    }
    Err(Fault::Broken(
        "five runs in a row that missed nothing",
        line!(),
    ))
}

fn blockers(_: &Task) -> Verdict {
    let mut all = KVec::new();
    for _ in 0..5 {
        let blocker = beat::<Task, _>(ms(5), |_, log| log.hold(false))?;
        all.push(blocker, GFP_KERNEL)?;
    }
    let entered = || all.iter().all(|(_, log)| log.entered.load(Acquire));
    check!(sleep_until(2_000, entered));
    let start = softclock::now();
    let (periodic, log) = plain::<Task>(ms(10))?;
    sleep_ms(1_000);
    let passed = points(start, softclock::now(), ms(10));
    drop(periodic);
    let blocked = all.iter().all(|(_, log)| log.ended() == 0);
    for (_, log) in &all {
        log.release.store(true, Release);
    }
    check!(blocked);
    check!(log.is_clean());
    // A slow machine is late for some; what waits for the five would not run at all.
    check!(in_time(log.runs() >= passed / 4));
    Ok(())
}

/// Where the first point is, and when it was made.
fn first_point<M: Mode>(rate: Rate) -> Result<(Instant, Instant, Instant)> {
    let before = softclock::now();
    let (periodic, _log) = plain::<M>(rate)?;
    let due = periodic.due().ok_or(EIO)?;
    Ok((before, due, softclock::now()))
}

fn first_full<M: Mode>(_: &Task) -> Verdict {
    let (before, due, after) = first_point::<M>(Rate::every(ms(500)))?;
    check!(before + ms(500) <= due && due <= after + ms(500));
    // And that is when it runs.
    let start = softclock::now();
    let (periodic, log) = plain::<M>(ms(300))?;
    let due = periodic.due().ok_or(EIO)?;
    check!(log.has_run(1));
    drop(periodic);
    check!(due >= start + ms(300));
    check!(log.first_due_ns.load(Relaxed) == due.as_nanos());
    Ok(())
}

fn first_aligned<M: Mode>(_: &Task) -> Verdict {
    for rate in [Rate::every(ms(500)).aligned(), Rate::illumos(ms(500))] {
        let (before, due, after) = first_point::<M>(rate)?;
        check!(before < due && due <= after + ms(500));
        check!(due.as_nanos() % ms(500).as_nanos() == 0);
    }
    let (_one, a) = plain::<M>(Rate::every(ms(10)).aligned())?;
    sleep_ms(3);
    let (_other, b) = plain::<M>(Rate::every(ms(10)).aligned())?;
    check!(a.has_run(2) && b.has_run(2));
    let phase = |log: &Log| log.first_due_ns.load(Relaxed) % ms(10).as_nanos();
    check!(phase(&a) == 0 && phase(&b) == 0);
    Ok(())
}

fn first_spread<M: Mode>(_: &Task) -> Verdict {
    for _ in 0..20 {
        let (before, due, after) = first_point::<M>(Rate::every(ms(500)).spread())?;
        check!(before < due && due <= after + ms(500));
    }
    Ok(())
}

fn change_inside<M: Mode>(_: &Task) -> Verdict {
    let (periodic, log) = beat::<M, _>(ms(8), |tick, log| {
        // 8 ms, then 4, then 2 and from there on 1.
        let half = Delta::from_nanos((tick.period().as_nanos() / 2).max(1_000_000));
        let right = tick.change(half) == Ok(Changed::From(tick.due())) && tick.period() == half;
        if !right {
            log.untrue.fetch_add(1, Relaxed);
        }
    })?;
    check!(log.has_run(6));
    let period = periodic.period();
    drop(periodic);
    check!(period == ms(1));
    // The log follows the points: from each to the next it is the period that was set last.
    check!(log.is_clean());
    Ok(())
}

fn change_outside<M: Mode>(_: &Task) -> Verdict {
    let (periodic, log) = plain::<M>(ms(300))?;
    let due = periodic.due().ok_or(EIO)?;
    check!(periodic.change(ms(2))? == Changed::From(due));
    check!(periodic.due() == Some(due));
    check!(log.has_run(1));
    check!(log.first_due_ns.load(Relaxed) == due.as_nanos());
    check!(log.has_run(20));
    check!(periodic.change(ms(400))? != Changed::Over);
    sleep_ms(10);
    let (runs, last) = (log.runs(), periodic.due().ok_or(EIO)?);
    // The point it waited for, and no other one.
    sleep_ms(100);
    check!(log.runs() <= runs + 1);
    drop(periodic);
    check!(log.untrue.load(Acquire) + log.overlaps.load(Acquire) == 0);
    // The log cannot know that the point after a change is still one of the old grid.
    check!(log.astray.load(Acquire) <= 1);
    check!((last - due).as_nanos() % ms(2).as_nanos() == 0);
    Ok(())
}

fn change_badly(_: &Task) -> Verdict {
    let (periodic, log) = beat::<Task, _>(ms(5), |tick, log| {
        let refusals = BAD.iter().filter(|(ns, error)| {
            let answer = tick.change(Delta::from_nanos(*ns));
            answer.is_err_and(|got| got == *error)
        });
        log.entered.store(refusals.count() == BAD.len(), Release);
    })?;
    for (ns, error) in BAD {
        check!(refused(periodic.change(Delta::from_nanos(ns)), error));
        check!(periodic.period() == ms(5));
    }
    check!(log.has_run(2));
    check!(log.entered.load(Acquire));
    check!(periodic.period() == ms(5));
    check!(log.is_clean());
    periodic.stop();
    check!(periodic.change(ms(10))? == Changed::Over);
    check!(periodic.period() == ms(5));
    Ok(())
}

/// The longest period there is: 146 years.
const LONGEST: Delta = Delta::from_nanos(i64::MAX / 2);
const LONGER: Delta = Delta::from_nanos(i64::MAX / 2 + 1);

fn change_to_longest<M: Mode>(_: &Task) -> Verdict {
    let (periodic, log) = plain::<M>(ms(300))?;
    let due = periodic.due().ok_or(EIO)?;
    check!(refused(periodic.change(LONGER), ERANGE));
    check!(periodic.period() == ms(300) && periodic.due() == Some(due));
    check!(periodic.change(LONGEST)? == Changed::From(due));
    check!(refused(periodic.change(LONGER), ERANGE));
    check!(periodic.period() == LONGEST && periodic.due() == Some(due));
    // The point it waited for, and then none in a lifetime.
    check!(log.has_run(1));
    sleep_ms(100);
    check!(log.runs() == 1 && log.is_clean());
    check!(periodic.due() == Some(due + LONGEST));
    drop(periodic);
    // In the callback it counts from that run.
    let (periodic, log) = beat::<M, _>(ms(5), move |tick, log| {
        let taken = tick.change(LONGEST) == Ok(Changed::From(tick.due()));
        if !taken || !refused(tick.change(LONGER), ERANGE) || tick.period() != LONGEST {
            log.untrue.fetch_add(1, Relaxed);
        }
    })?;
    check!(log.has_run(1));
    sleep_ms(50);
    check!(log.runs() == 1 && log.is_clean());
    let due = Instant::from_nanos(log.due_ns.load(Relaxed));
    check!(periodic.due() == Some(due + LONGEST));
    Ok(())
}

fn standstill<M: Mode>(_: &Task) -> Verdict {
    let (periodic, log) = beat::<M, _>(ms(10), |tick, log| {
        if !log.entered.load(Relaxed) {
            log.entered.store(true, Release);
            spend_us(1_200_000);
        } else if tick.missed() >= 100 && tick.missed() <= 400 {
            log.release.store(true, Release);
        }
    })?;
    check!(log.has_run(2));
    let (runs, at) = (log.runs(), softclock::now());
    sleep_ms(50);
    let more = points(at, softclock::now(), ms(10)) + 2;
    check!(log.runs() <= runs + more);
    check!(sleep_until(2_000, || log.release.load(Acquire)));
    drop(periodic);
    check!(log.is_clean());
    Ok(())
}

/// How many of a thousand periodics have their phase in each tenth of the period.
fn tenths(rate: Rate) -> Result<[u64; 10]> {
    let period = ms(10_000).as_nanos();
    let mut count = [0; 10];
    let mut all = KVVec::with_capacity(1_000, GFP_KERNEL)?;
    for _ in 0..1_000 {
        let (periodic, _log) = plain::<Soft>(rate)?;
        let phase = periodic.due().ok_or(EIO)?.as_nanos() % period;
        if let Some(tenth) = count.get_mut((phase * 10 / period) as usize) {
            *tenth += 1;
        }
        all.push(periodic, GFP_KERNEL)?;
    }
    Ok(count)
}

fn spread_phases(_: &Task) -> Verdict {
    let tenths = tenths(Rate::every(ms(10_000)).spread())?;
    check!(tenths.iter().all(|count| (95..=105).contains(count)));
    Ok(())
}

fn default_phases(_: &Task) -> Verdict {
    let begin = softclock::now();
    let tenths = tenths(Rate::every(ms(10_000)))?;
    // Those that pass while they are made, and the two at the ends.
    let passed = (softclock::now() - begin).as_nanos() / ms(1_000).as_nanos();
    check!(in_time(passed < 8));
    check!(tenths.iter().filter(|count| **count > 0).count() as i64 <= passed + 2);
    Ok(())
}
