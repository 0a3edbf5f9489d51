// SPDX-License-Identifier: GPL-2.0

//! Many probes at once: who waits, and for whom.

use crate::{
    harness::{check, Case, Fault, Verdict},
    probe_subject::*,
};
use kernel::time::delay::fsleep;
use softclock::{
    liveness::{ask, drill::Drill, Question, Reply},
    prelude::*,
};

pub(crate) const CASES: &[&[Case]] = &[&[
    Case {
        name: "esi-33 a thousand probes at once, each answered once",
        run: thousand,
    },
    Case {
        name: "esi-33 no more are in flight than the window has places for",
        run: window,
    },
    Case {
        name: "esi-32 black holes and silence delay nobody",
        run: |task| timely(|| holes(task)),
    },
    Case {
        name: "esi-21 what nobody wants any more ends at once, void, and once",
        run: abandoned,
    },
    Case {
        name: "esi-36 an answer that there was no room for is no silence",
        run: deluge,
    },
    Case {
        name: "esi-12 neighbours do not answer for each other",
        run: neighbours,
    },
]];

static MANY: Atomic<u32> = Atomic::new(1_000);

/// How many a thousand are.
pub(crate) fn set_many(many: u32) {
    MANY.store(many.clamp(8, 1_000), Relaxed);
}

fn many() -> u64 {
    MANY.load(Relaxed).into()
}

/// Until so many have ended.
fn all_ended(drill: &Drill, all: u64, limit: Delta) -> Result<[u64; 3], Fault> {
    let end = softclock::now() + limit;
    while softclock::now() < end {
        let ended = drill.ended();
        if ended.iter().sum::<u64>() == all {
            return Ok(ended);
        }
        fsleep(kernel::time::Delta::from_millis(5));
    }
    pr_info!("# ended {:?}\n", drill.ended());
    Err(Fault::Broken("all end", line!()))
}

/// Fault: an end is lost, or told twice; a wake-up is lost.
fn thousand(task: &Task) -> Verdict {
    for port in [GOOD, udp(GOOD)] {
        for family in BOTH {
            let drill = Drill::begin(&patient(family, port), many(), task)?;
            check!(all_ended(&drill, many(), Delta::from_secs(90))? == [many(), 0, 0]);
        }
    }
    fsleep(kernel::time::Delta::from_millis(20));
    check!(count("in_flight", task)? == 0 && count("waiting", task)? == 0);
    Ok(())
}

/// Fault: the window is not kept, or a place in it is lost.
fn window(task: &Task) -> Verdict {
    Drill::set_window(4, task)?;
    let began = softclock::now();
    let drill = Drill::begin(&question(Family::V4, udp(SILENT)), 12, task)?;
    let mut most = 0;
    while drill.ended() != [0, 12, 0] && softclock::now() - began < Delta::from_secs(20) {
        most = most.max(count("in_flight", task)?);
        fsleep(kernel::time::Delta::from_millis(1));
    }
    Drill::set_window(1_024, task)?;
    check!(drill.ended() == [0, 12, 0]);
    check!(most == 4);
    // Three after the other.
    check!(softclock::now() - began >= Delta::from_millis(3_000));
    Ok(())
}

/// Fault: a dead portal holds up others, as its thread does in isnsd.
fn holes(task: &Task) -> Verdict {
    let dead = [HOLE, SILENT, udp(SILENT)];
    let mut drills = KVec::new();
    for port in dead {
        let question = Question {
            patience: Delta::from_millis(2_500),
            ..question(Family::V4, port)
        };
        drills.push(Drill::begin(&question, many() / 4, task)?, GFP_KERNEL)?;
    }
    for family in BOTH {
        for port in [GOOD, udp(GOOD)] {
            let reply = ask(&patient(family, port), task)?;
            let Reply::Alive { round_trip, .. } = reply else {
                return Err(Fault::Broken("alive", line!()));
            };
            check!(round_trip < Delta::from_millis(2_500));
        }
    }
    for drill in &drills {
        check!(all_ended(drill, many() / 4, Delta::from_secs(20))? == [0, many() / 4, 0]);
        check!(drill.told() == [many() / 4, 0]);
    }
    Ok(())
}

/// Fault: it goes on, or its end is lost; the ids and slots it had are.
fn abandoned(task: &Task) -> Verdict {
    for _ in 0..3 {
        for port in [SILENT, udp(SILENT), HOLE] {
            let drill = Drill::begin(&patient(Family::V4, port), 2 * many(), task)?;
            // Some are in flight by then, others wait.
            fsleep(kernel::time::Delta::from_millis(20));
            let wanted = Drill::begin(&patient(Family::V4, udp(GOOD)), 10, task)?;
            drill.abandon();
            check!(all_ended(&drill, 2 * many(), Delta::from_secs(10))? == [0, 0, 2 * many()]);
            check!(all_ended(&wanted, 10, Delta::from_secs(30))? == [10, 0, 0]);
        }
    }
    fsleep(kernel::time::Delta::from_millis(20));
    check!(count("in_flight", task)? == 0 && count("waiting", task)? == 0);
    thousand(task)
}

/// Fault: whoever fills the socket kills portals that answer, and nothing is seen of it. The first stray holds up
/// the prober while the others come.
fn deluge(task: &Task) -> Verdict {
    let dropped = count("dropped", task)?;
    for family in BOTH {
        let question = Question {
            patience: Delta::from_secs(6),
            attempts: 1,
            ..question(family, udp(DELUGE))
        };
        let drill = Drill::holding(&question, 1, 3_000, task)?;
        check!(all_ended(&drill, 1, Delta::from_secs(30))? == [0, 0, 1]);
        check!(drill.told() == [0, 1]);
    }
    check!(count("dropped", task)? > dropped);
    // And what there is room for again counts.
    check!(matches!(
        ask(&patient(Family::V4, udp(GOOD)), task)?,
        Reply::Alive { .. }
    ));
    let drill = Drill::begin(&question(Family::V4, udp(SILENT)), 1, task)?;
    check!(all_ended(&drill, 1, Delta::from_secs(30))? == [0, 1, 0]);
    Ok(())
}

/// Fault: ids in a row, so that a peer that adds one answers for another probe.
fn neighbours(task: &Task) -> Verdict {
    let drill = Drill::begin(&question(Family::V4, udp(OTHER_XID)), many() / 2, task)?;
    check!(all_ended(&drill, many() / 2, Delta::from_secs(30))? == [0, many() / 2, 0]);
    Ok(())
}
