// SPDX-License-Identifier: GPL-2.0

//! What a probe over sockets costs, one after the other and a crowd of them: from the moment in which the
//! entity is due until its verdict is told, everything between included, and the peer's side as well.
//!
//! What the sockets take of that is measured by `softclock_peer`, which asks itself the same question by
//! the same calls of the kernel, and nothing else.

use crate::{
    live::{portal, terms, Eid, How, Whom},
    meter::report_100_of,
};
use kernel::time::delay::fsleep;
use softclock::{
    liveness::{drill::Drill, *},
    prelude::*,
};

/// How many are asked, and how often; the best time counts.
const ENTITIES: u64 = 2_000;
const ROUNDS: u64 = 3;

static ANSWERED: Atomic<u64> = Atomic::new(0);
static LAST_NS: Atomic<i64> = Atomic::new(0);

/// Counts answers, and notes when the last one came.
struct Count;

impl OnVerdict for Count {
    fn verdict(&self, eid: &str, verdict: &Verdict) {
        if !matches!(verdict, Verdict::Alive { .. }) {
            pr_err!("{}: {:?}\n", eid, verdict);
        } else if ANSWERED.fetch_add(1, Relaxed) + 1 == ENTITIES {
            LAST_NS.store(softclock::now().as_nanos(), Release);
        }
    }

    fn expired(&self, _eid: &str, _cause: Cause) -> Deregistered {
        Deregistered::Yes
    }
}

/// Measures both ways to ask, alone and in a crowd.
pub(crate) fn run(task: &Task) -> Result {
    for (how, whole, alone) in [
        (How::Udp, "probe_udp", "prober_udp"),
        (How::Tcp, "probe_tcp", "prober_tcp"),
    ] {
        for at_once in [1, 64] {
            service(how, whole, at_once)?;
            prober(how, alone, at_once, task)?;
        }
    }
    Ok(())
}

/// The whole way, with so many in flight at once.
fn service(how: How, op: &str, at_once: u32) -> Result {
    // No attempt is to be made twice.
    let settings = Settings::new()
        .patience(Delta::from_secs(60))
        .window(at_once);
    let service = Liveness::new(softclock::owner!(), c"cost", settings, Count)?;
    for n in 0..ENTITIES as usize {
        let portals = [portal(n, how, Whom::Lively, 86_400)];
        service.register(&terms(&Eid::watched(n), &portals))?;
    }
    let mut best = i64::MAX;
    for _ in 0..ROUNDS {
        ANSWERED.store(0, Relaxed);
        let began = softclock::now().as_nanos();
        let all = service.trigger_all();
        done(op, all, || ANSWERED.load(Relaxed))?;
        best = best.min(LAST_NS.load(Acquire) - began);
        // An answer is told a little before its round is over.
        fsleep(kernel::time::Delta::from_millis(10));
    }
    report_100_of(
        "liveness",
        op,
        at_once as usize,
        best * 100 / ENTITIES as i64,
    );
    Ok(())
}

/// Only what asks: without entities, schedule and verdicts.
fn prober(how: How, op: &str, at_once: u32, task: &Task) -> Result {
    Drill::set_window(at_once, task)?;
    let at = if how == How::Udp {
        Question::UDP | 7001
    } else {
        7001
    };
    let question = Question {
        ip: core::net::IpAddr::V4(core::net::Ipv4Addr::LOCALHOST),
        port: 860,
        at,
        patience: Delta::from_secs(60),
        ..Question::about("iqn.2026-11.org.example:000000")
    };
    let mut best = i64::MAX;
    for _ in 0..ROUNDS {
        let began = softclock::now();
        let drill = Drill::begin(&question, ENTITIES, task)?;
        let all = || drill.ended()[0];
        while all() < ENTITIES {
            fsleep(kernel::time::Delta::from_millis(10));
            if softclock::now() - began > Delta::from_secs(600) {
                return done(op, ENTITIES, all);
            }
        }
        best = best.min((drill.ended_at() - began).as_nanos());
    }
    Drill::set_window(1_024, task)?;
    report_100_of(
        "liveness",
        op,
        at_once as usize,
        best * 100 / ENTITIES as i64,
    );
    Ok(())
}

/// Waits until all have answered.
fn done(op: &str, begun: u64, answered: impl Fn() -> u64) -> Result {
    for _ in 0..60_000 {
        if begun == ENTITIES && answered() == ENTITIES {
            return Ok(());
        }
        fsleep(kernel::time::Delta::from_millis(10));
    }
    pr_err!(
        "{}: {} of {} begun, {} answered\n",
        op,
        begun,
        ENTITIES,
        answered()
    );
    Err(EIO)
}
