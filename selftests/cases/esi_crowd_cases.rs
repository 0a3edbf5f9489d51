// SPDX-License-Identifier: GPL-2.0

//! Liveness: many entities, and everything at once.

use crate::{
    esi_subject::{
        alive, asked, dead, expired, is_at, is_near, millis, rest, span, units, watched, Manner,
        Name, Stage,
    },
    harness::{check, in_time, is_simulated, Case, Fault, Verdict},
    subject::{sleep_ms, sleep_until},
};
use softclock::{
    liveness::{Removed, Settings, Triggered},
    prelude::*,
};

pub(crate) const CASES: &[&[Case]] = &[&[
    // Fault: registrations interrupt the sleep, and the clock stands still (S5).
    Case {
        name: "esi-31 S5 a thousand registrations while others are due delay nobody",
        run: registrations,
    },
    // Fault: a silent portal, or one whose question blocks, holds up registrations and removals (S2).
    Case {
        name: "esi-32 S2 silent portals delay nobody",
        run: black_hole,
    },
    Case {
        name: "esi-32 S2 registering and removing do not wait for a question that blocks",
        run: blocked,
    },
    // Fault: a thread, or at least a probe in flight, for each entity (S1).
    Case {
        name: "esi-33 S1 ten thousand due at once: never more in flight than the window",
        run: window,
    },
    // Fault: rounds leave something behind (S1).
    Case {
        name: "esi-34 S1 a hundred thousand probes (where time is not simulated, twenty)",
        run: many_probes,
    },
    // Fault: an entity lost in the table, or found twice.
    Case {
        name: "table: five thousand come and go in another order",
        run: table,
    },
    // Fault: a timer that expires while its entity waits for the window is forgotten.
    Case {
        name: "window: what falls due while an entity waits for a place is done",
        run: due_in_line,
    },
    // Fault: a round waits for a probe of a portal that went while the round was prepared, and never ends.
    Case {
        name: "window: portals come and go while rounds begin, and each round ends",
        run: prepared,
    },
    // Fault: any two things at the same time.
    Case {
        name: "torture: register, remove, trigger, refresh, change portals, all at once",
        run: torture,
    },
]];

fn registrations(_task: &Task) -> Verdict {
    let stage = Stage::new(Settings::new())?;
    stage.register(1, 1)?;
    let mut due = stage.look(1)?.next.ok_or(Fault::Retry)?;
    let end = softclock::now() + span(3);
    let mut n = 1_000;
    while softclock::now() < end {
        for _ in 0..20 {
            stage.register(n % 1_000 + 2, 60)?;
            n += 1;
        }
        sleep_ms(20);
    }
    for nth in 0..2 {
        let probe = stage.log.nth(nth, asked(1)).ok_or(Fault::Retry)?;
        check!(is_near(probe.at, due));
        let answer = stage.log.nth(nth, alive(1)).ok_or(Fault::Retry)?;
        due = answer.at + span(1);
    }
    check!(in_time(stage.service.counts().late == 0));
    Ok(())
}

fn black_hole(_task: &Task) -> Verdict {
    let stage = Stage::new(Settings::new())?;
    for n in 100..200 {
        stage.log.set(n, Manner::Silent)?;
        stage.register(n, 1)?;
    }
    stage.register(1, 1)?;
    let due = stage.look(1)?.next.ok_or(Fault::Retry)?;
    check!(stage.log.wait(span(4), 1, alive(1)).is_some());
    let one = stage.log.nth(0, alive(1)).ok_or(Fault::Retry)?;
    let two = stage.log.nth(1, asked(1)).ok_or(Fault::Retry)?;
    check!(is_at(one.at, due) && is_near(two.at, one.at + span(1)));
    check!(sleep_until(10_000, || (100..200).all(|n| stage.log.count(dead(n)) == 1)));
    Ok(())
}

fn blocked(_task: &Task) -> Verdict {
    let stage = Stage::new(Settings::new().patience(millis(100)))?;
    stage.log.set(1, Manner::Blocking(span(2)))?;
    stage.register(1, 100)?;
    stage.service.trigger(b"e1")?;
    check!(stage.log.wait(span(1), 0, asked(1)).is_some());
    let begin = softclock::now();
    for n in 2..100 {
        stage.register(n, 1)?;
        check!(stage.deregister(n)? == Removed::Now);
    }
    check!(stage.deregister(1)? == Removed::Soon);
    check!(in_time(softclock::now() - begin < span(1)));
    // It is gone when the driver has come back.
    check!(stage.has(0) || is_simulated());
    Ok(())
}

fn window(_task: &Task) -> Verdict {
    let stage = Stage::new(
        Settings::new()
            .window(64)
            .threshold(1)
            .patience(Delta::from_millis(50)),
    )?;
    stage.log.hush();
    let count = 10_000;
    for n in 0..count {
        stage.register(n, 1_000)?;
    }
    // A few of them are silent, so that the window is full at times.
    for n in 0..640 {
        stage.log.set(n, Manner::Silent)?;
    }
    check!(stage.service.trigger_all() == count);
    let most = Atomic::new(0_u32);
    let done = sleep_until(100_000, || {
        let now = u32::from(stage.service.counts().in_flight);
        most.store(most.load(Relaxed).max(now), Relaxed);
        stage.service.counts().rounds == count && stage.service.counts().in_flight == 0
    });
    check!(done);
    check!(most.load(Relaxed) <= 64);
    let counts = stage.service.counts();
    check!((counts.alive, counts.dead) == (count - 640, 640));
    check!(stage.log.asked.load(Relaxed) == count);
    Ok(())
}

fn many_probes(_task: &Task) -> Verdict {
    let stage = Stage::new(Settings::new())?;
    stage.log.hush();
    for n in 0..1_000 {
        stage.register(n, 1_000)?;
    }
    let rounds = if is_simulated() { 100 } else { 20 };
    for round in 1..=rounds {
        check!(stage.service.trigger_all() == 1_000);
        check!(sleep_until(20_000, || stage.service.counts().alive == round * 1_000));
        // An answer is counted a little before its round is over.
        check!(sleep_until(5_000, || stage.service.counts().in_flight == 0));
    }
    let counts = stage.service.counts();
    check!((counts.rounds, counts.in_flight, counts.no_memory) == (rounds * 1_000, 0, 0));
    check!(counts.dead + counts.suspect + counts.not_begun == 0);
    Ok(())
}

fn table(_task: &Task) -> Verdict {
    let stage = Stage::new(Settings::new())?;
    let count = 5_000;
    for n in 0..count {
        check!(stage.register(n, 1_000)?.new);
    }
    check!(u64::from(stage.service.entities()?) == count);
    // 7 has no divisor in common with 5000: each once.
    for step in 0..count {
        let n = step * 7 % count;
        if n % 3 != 0 {
            check!(stage.deregister(n)? == Removed::Now);
        }
    }
    for n in 0..count {
        check!(stage.look(n).is_ok() == (n % 3 == 0));
    }
    for n in 0..count {
        check!(stage.register(n, 1_000)?.new == (n % 3 != 0));
    }
    check!(u64::from(stage.service.entities()?) == count);
    Ok(())
}

fn due_in_line(_task: &Task) -> Verdict {
    let stage = Stage::new(Settings::new().window(1).patience(span(1)))?;
    stage.log.set(1, Manner::Silent)?;
    stage.register(1, 100)?;
    stage.register_with(2, units(1), &[watched(2, 100)])?;
    check!(stage.service.trigger(b"e1")? == Triggered::Begins);
    check!(stage.log.wait(span(1), 0, asked(1)).is_some());
    check!(stage.service.trigger(b"e2")? == Triggered::Begins);
    // In line now, it has no portal to be asked at, and its registration expires before there is a place.
    sleep_ms(20);
    stage
        .service
        .remove_portal(b"e2", &softclock::liveness::Portal::numbered(2))?;
    check!(stage.log.wait(span(6), 0, expired(2)).is_some());
    check!(stage.log.count(asked(2)) == 0);
    Ok(())
}

fn prepared(_task: &Task) -> Verdict {
    let stage = Arc::new(Stage::new(Settings::new().window(4))?, GFP_KERNEL)?;
    stage.log.hush();
    stage.register_with(1, 0, &[watched(1, 100), watched(2, 100)])?;
    let (other, running) = (stage.clone(), Arc::new(Atomic::new(true), GFP_KERNEL)?);
    let on = running.clone();
    let hand = Closure::<Task>::new(softclock::owner!(), c"hand", move |_run| {
        while on.load(Acquire) {
            for _ in 0..200 {
                let _ = other
                    .service
                    .remove_portal(b"e1", &softclock::liveness::Portal::numbered(2));
                let _ = other.service.add_portal(b"e1", &watched(2, 100));
            }
            sleep_ms(1);
        }
        Next::Stop
    })?;
    hand.callout::<Task>().arm_after(Delta::ZERO);
    let end = softclock::now() + span(2);
    while softclock::now() < end {
        for _ in 0..20 {
            stage.service.trigger(b"e1")?;
        }
        sleep_ms(1);
    }
    running.store(false, Release);
    drop(hand);
    check!(sleep_until(10_000, || stage.service.counts().in_flight == 0));
    check!(stage.service.counts().rounds > 0);
    // It has its rounds as before.
    let before = stage.service.counts().rounds;
    check!(stage.service.trigger(b"e1")? == Triggered::Begins);
    check!(sleep_until(10_000, || stage.service.counts().rounds > before));
    Ok(())
}

/// Numbers that look random.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

fn torture(_task: &Task) -> Verdict {
    let stage = Arc::new(
        Stage::new(Settings::new().patience(Delta::from_millis(5)).window(8))?,
        GFP_KERNEL,
    )?;
    stage.log.hush();
    let manners = [
        Manner::Lively,
        Manner::Silent,
        Manner::Absent,
        Manner::Unaskable,
        Manner::Slow(Delta::from_millis(3)),
    ];
    for n in 0..20 {
        stage.log.set(n, manners[n as usize % manners.len()])?;
    }
    let stop = Arc::new(Atomic::new(false), GFP_KERNEL)?;
    let running = Arc::new(Atomic::new(0_u32), GFP_KERNEL)?;
    let mut hands = KVec::new();
    for seed in 1..=4_u64 {
        let (stage, stop, running) = (stage.clone(), stop.clone(), running.clone());
        running.fetch_add(1, Relaxed);
        let hand = Closure::<Task>::new(softclock::owner!(), c"hand", move |run| {
            let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            while !stop.load(Acquire) {
                // Now and then so many that no round comes to its end.
                let times = if dice.roll(16) == 0 { 50 } else { 2 };
                for _ in 0..times {
                    disturb(&stage, &mut dice, &run.task());
                }
                sleep_ms(1);
            }
            running.fetch_add(u32::MAX, Release);
            Next::Stop
        })?;
        hand.callout::<Task>().arm_after(Delta::ZERO);
        hands.push(hand, GFP_KERNEL)?;
    }
    rest(Delta::from_secs(3));
    stop.store(true, Release);
    check!(sleep_until(20_000, || running.load(Acquire) == 0));
    drop(hands);
    for n in 0..20 {
        let _ = stage.deregister(n);
    }
    check!(stage.has(0));
    check!(sleep_until(5_000, || stage.service.counts().in_flight == 0));
    let asked = stage.log.asked.load(Relaxed);
    rest(span(2));
    check!(stage.log.asked.load(Relaxed) == asked);
    let counts = stage.service.counts();
    check!(counts.rounds > 0 && counts.alive > 0 && counts.dead > 0);
    Ok(())
}

fn disturb(stage: &Stage, dice: &mut Dice, task: &Task) {
    let n = dice.roll(20);
    let name = Name::of(n);
    let _ = match dice.roll(10) {
        0 | 1 => stage.register(n, 1).map(drop),
        2 => stage
            .register_with(
                n,
                units(1),
                &[watched(n, 1), watched(n + 1, 1), watched(n + 2, 1)],
            )
            .map(drop),
        3 => stage.deregister(n).map(drop),
        4 => stage.service.deregister_and_wait(name.bytes(), task),
        5 => stage.service.refresh(name.bytes()),
        6 => stage
            .service
            .add_portal(name.bytes(), &watched(n + 3, 1))
            .map(drop),
        7 => stage
            .service
            .remove_portal(name.bytes(), &softclock::liveness::Portal::numbered(n)),
        _ => stage.service.trigger(name.bytes()).map(drop),
    };
}
