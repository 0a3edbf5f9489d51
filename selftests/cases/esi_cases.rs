// SPDX-License-Identifier: GPL-2.0

//! Liveness: who is asked when, and what is told of it.

use crate::{
    esi_subject::{
        alive, asked, dead, expired, first, is_at, is_near, millis, pending, rest, span, suspect,
        units, watched, Manner, Name, Seen, Stage,
    },
    harness::{check, in_time, is_simulated, Case, Fault, Verdict},
    subject::sleep_until,
};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use softclock::{
    liveness::{
        Cause, Coverage, Jitter, Judged, Portal, PortalTerms, Removal, Settings, State, Triggered,
        Verdict as Told,
    },
    prelude::*,
};

pub(crate) const CASES: &[&[Case]] = &[&[
    // Fault: the first probe comes at once, or at a random moment.
    Case {
        name: "esi-1 the first probe comes one interval after the registration",
        run: first_probe,
    },
    // Fault: a server that starts asks everybody at the same moment.
    Case {
        name: "esi-2 a thousand that are loaded are spread over their first interval",
        run: spread,
    },
    // Fault: entities that were in step stay in step.
    Case {
        name: "esi-2 S12 with jitter always, they drift apart, and nobody waits longer",
        run: drift,
    },
    // Fault: 0 is an interval of nothing.
    Case {
        name: "esi-3 a portal that names no interval is asked every 180 s",
        run: default_interval,
    },
    // Fault: the first or last portal's interval counts, or the period does not.
    Case {
        name: "esi-4 the least of the portals' intervals and the registration period counts",
        run: least,
    },
    // Fault: an entity nobody asks stays for ever, or goes at once.
    Case {
        name: "esi-5 an entity without a monitored portal expires after its period",
        run: period,
    },
    // Fault: no period overflows into now.
    Case {
        name: "esi-6 without portals and period it never expires",
        run: never,
    },
    // Fault: the interval runs from the question, so a slow one is asked too often.
    Case {
        name: "esi-8 the next probe comes one interval after the answer",
        run: after_answer,
    },
    // Fault: IPv6 is skipped, and such an entity never expires (S9).
    Case {
        name: "esi-11 S9 entities with IPv6 portals only are asked, and expire",
        run: six,
    },
    // Fault: an old answer counts for a new question (S10).
    Case {
        name: "esi-12 S10 an answer to the probe before is none to this one",
        run: stale,
    },
    // Fault: a live but slow client is dropped, as by open-isns.
    Case {
        name: "esi-13 an answer to the first attempt after the second: alive",
        run: one_behind,
    },
    // Fault: one attempt too many or too few, or beyond two intervals.
    Case {
        name: "esi-15 a silent portal: exactly three attempts within two intervals, then dead",
        run: silent,
    },
    // Fault: a failure at once is asked again at once, or is no attempt.
    Case {
        name: "esi-16 an attempt that fails is an attempt, and the next one comes within a second",
        run: absent,
    },
    // Fault: isnsd's setting read differently.
    Case {
        name: "esi-17 thresholds of 0, 1, 10 and 11 are 3, 1, 10 and 10 attempts",
        run: thresholds,
    },
    // Fault: the whole entity goes with one portal, or its other portals are not asked.
    Case {
        name: "esi-18 one of two portals dies: the entity goes on with the other",
        run: one_dies,
    },
    // Fault: the entity is removed at once, or never.
    Case {
        name: "esi-19 the last one dies: pending, and it expires after two more intervals",
        run: last_dies,
    },
    Case {
        name: "esi-19 the policy at-once: it expires at once",
        run: at_once,
    },
    // Fault: the grace time goes on after a registration.
    Case {
        name: "esi-20 a registration inside that time clears it, and it is asked again",
        run: saved,
    },
    // Fault: silence in between makes a portal dead, or leaves it suspect.
    Case {
        name: "flapping: alive as long as one attempt of three is answered",
        run: at_last,
    },
    // Fault: what a portal was before its entity was registered again counts for what it is.
    Case {
        name: "flapping: alive and dead in turns, and alive again with each registration",
        run: flapping,
    },
    // Fault: a failed deregistration is forgotten, or holds up the others (S4).
    Case {
        name: "esi-24 S4 an expiry that fails is tried again after 180 s, and holds up nobody",
        run: expiry_fails,
    },
    // Fault: what was our own fault kills a portal, or the entity is never asked again.
    Case {
        name:
            "esi-25 a probe that cannot be made is no death, and the next comes an interval later",
        run: not_asked,
    },
    // Fault: answers do not refresh the registration (S12).
    Case {
        name: "esi-26 S12 an answer refreshes the registration",
        run: refreshes,
    },
    // Fault: a dead second path is not noticed (S11).
    Case {
        name: "esi-27 S11 every portal is asked",
        run: every,
    },
    Case {
        name: "esi-27 the policy any-one: until one answers",
        run: any_one,
    },
    // Fault: the sleep for a later event is not interrupted by an earlier one (S3).
    Case {
        name: "esi-30 S3 an entity registered later and due sooner is asked on time",
        run: sooner,
    },
    // Fault: two to the 32 wraps, and so do 248 days (S6).
    Case {
        name: "esi-35 S6 intervals of 248 days and of 2^32-1 s",
        run: long,
    },
    // Fault: a trigger asks twice, or leaves a second event behind.
    Case {
        name: "esi-37 a round on demand, and the next one comes an interval after its answer",
        run: trigger,
    },
    Case {
        name: "esi-38 what is seen of an entity and of a portal",
        run: seen,
    },
]];

fn stage() -> Result<Stage> {
    Stage::new(Settings::new())
}

fn first_probe(_task: &Task) -> Verdict {
    let stage = stage()?;
    let before = softclock::now();
    check!(stage.register(1, 1)?.interval_s == units(1));
    let after = softclock::now();
    let probe = stage.log.wait(span(1), 0, asked(1)).ok_or(Fault::Retry)?;
    check!(probe.at >= before + span(1));
    check!(is_at(probe.at, after + span(1)) || probe.at <= after + span(1));
    check!(
        probe.seen
            == Seen::Asked {
                portal: 1,
                attempt: 1,
                of: 3
            }
    );
    let told = stage.log.wait(span(1), 0, alive(1)).ok_or(Fault::Retry)?;
    check!(is_at(told.at, probe.at));
    Ok(())
}

fn load(stage: &Stage, n: u64, every_s: u32) -> Result {
    let portal = PortalTerms::new(Portal::numbered(n))
        .monitored()
        .every_secs(every_s);
    let name = Name::of(n);
    let terms = softclock::liveness::EntityTerms {
        eid: name.bytes(),
        period_s: 0,
        portals: &[portal],
    };
    stage.service.load(&terms).map(drop)
}

fn spread(_task: &Task) -> Verdict {
    let stage = stage()?;
    let begin = softclock::now();
    for n in 0..1_000 {
        load(&stage, n, 180)?;
    }
    let end = softclock::now();
    let mut parts = [0_u32; 10];
    for n in 0..1_000 {
        let next = stage.look(n)?.next.ok_or(Fault::Retry)?;
        check!(next > begin && next <= end + Delta::from_secs(180));
        let part = (next.since(begin).as_nanos() / 18_000_000_000).clamp(0, 9);
        parts[part as usize] += 1;
    }
    // A hundred in each tenth, give or take six standard deviations.
    check!(parts.iter().all(|count| (43..=157).contains(count)));
    Ok(())
}

fn drift(_task: &Task) -> Verdict {
    let stage = Stage::new(Settings::new().jitter(Jitter::Always))?;
    let begin = softclock::now();
    for n in 0..100 {
        stage.register(n, 8)?;
    }
    let end = softclock::now();
    let mut sooner = 0;
    for n in 0..100 {
        let next = stage.look(n)?.next.ok_or(Fault::Retry)?;
        check!(next >= begin + span(7) && next <= end + span(8));
        sooner += u32::from(next < begin + millis(7_500));
    }
    check!((20..=80).contains(&sooner));
    Ok(())
}

fn default_interval(_task: &Task) -> Verdict {
    let stage = stage()?;
    check!(stage.register(1, 0)?.interval_s == 180);
    check!(stage.look(1)?.interval_s == 180);
    Ok(())
}

fn least(_task: &Task) -> Verdict {
    let stage = stage()?;
    let portals = [30, 60, 90].map(|s| {
        PortalTerms::new(Portal::numbered(s.into()))
            .monitored()
            .every_secs(s)
    });
    check!(stage.register_with(1, 40, &portals)?.interval_s == 30);
    check!(stage.register_with(1, 20, &portals)?.interval_s == 20);
    // One that is not monitored does not count.
    let other = PortalTerms::new(Portal::numbered(7)).every_secs(5);
    check!(stage.register_with(2, 0, &[portals[1], other])?.interval_s == 60);
    Ok(())
}

fn period(_task: &Task) -> Verdict {
    let stage = stage()?;
    let begin = softclock::now();
    let portal = PortalTerms::new(Portal::numbered(1));
    check!(stage.register_with(1, units(2), &[portal])?.interval_s == units(2));
    let end = softclock::now();
    check!(stage.state(1) == Some(State::Registered));
    let gone = stage.log.wait(span(2), 0, expired(1)).ok_or(Fault::Retry)?;
    check!(
        gone.at >= begin + span(2) && (gone.at <= end + span(2) || is_at(gone.at, end + span(2)))
    );
    check!(gone.seen == Seen::Expired(Cause::Period));
    check!(stage.has(0));
    check!(stage.log.count(asked(1)) == 0);
    Ok(())
}

fn never(_task: &Task) -> Verdict {
    let stage = stage()?;
    let begin = softclock::now();
    check!(stage.register_with(1, 0, &[])?.interval_s == u32::MAX - 1);
    let next = stage.look(1)?.next.ok_or(Fault::Retry)?;
    check!(next >= begin + Delta::from_secs(i64::from(u32::MAX) - 1));
    Ok(())
}

fn after_answer(_task: &Task) -> Verdict {
    let stage = Stage::new(
        Settings::new()
            .patience(Delta::from_secs(3_600))
            .threshold(1),
    )?;
    stage.log.set(1, Manner::Slow(millis(500)))?;
    stage.register(1, 1)?;
    let one = stage.log.wait(span(1), 0, first(1)).ok_or(Fault::Retry)?;
    let answer = stage.log.wait(span(1), 0, alive(1)).ok_or(Fault::Retry)?;
    let two = stage.log.wait(span(2), 1, first(1)).ok_or(Fault::Retry)?;
    check!(answer.at >= one.at + millis(500));
    check!(two.at >= one.at + millis(1_500));
    check!(two.at <= answer.at + span(1) || is_at(two.at, answer.at + span(1)));
    let Seen::Told(Told::Alive { rtt, .. }) = answer.seen else {
        return Err(Fault::Retry);
    };
    check!(rtt >= millis(500) && rtt <= answer.at - one.at);
    Ok(())
}

fn six(_task: &Task) -> Verdict {
    let stage = stage()?;
    // Not a number, so that the driver takes it for portal 0.
    let ip = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
    let compat = IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0x7f00, 2));
    let portal = |ip| {
        PortalTerms::new(Portal::udp(ip, 860))
            .monitored()
            .every_secs(units(1))
    };
    stage.log.set(0, Manner::Silent)?;
    stage.register_with(1, 0, &[portal(ip)])?;
    stage.register_with(2, 0, &[portal(compat)])?;
    let Some(died) = stage.log.wait(span(3), 0, dead(1)) else {
        return Err(Fault::Broken("an IPv6 portal dies", line!()));
    };
    let Seen::Told(Told::Dead { portal, .. }) = died.seen else {
        return Err(Fault::Retry);
    };
    check!(portal == Portal::udp(ip, 860));
    let died = stage.log.wait(span(3), 0, dead(2)).ok_or(Fault::Retry)?;
    let Seen::Told(Told::Dead { portal, .. }) = died.seen else {
        return Err(Fault::Retry);
    };
    // In the old form of IPv4 addresses it is IPv4.
    check!(portal.ip == IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)));
    check!(stage.log.wait(span(3), 0, expired(1)).is_some());
    Ok(())
}

fn stale(_task: &Task) -> Verdict {
    let stage = Stage::new(Settings::new().threshold(1))?;
    stage.log.set(1, Manner::Silent)?;
    stage.register(1, 1)?;
    check!(stage.log.wait(span(3), 0, dead(1)).is_some());
    stage.log.set(1, Manner::Stale)?;
    stage.register(1, 1)?;
    // The token of the first probe is answered during the second one.
    check!(stage.log.wait(span(3), 1, dead(1)).is_some());
    check!(stage.log.count(|one| one.seen == Seen::LateCounted) == 0);
    check!(stage.log.count(alive(1)) == 0);
    Ok(())
}

fn one_behind(_task: &Task) -> Verdict {
    let stage = stage()?;
    stage.log.set(1, Manner::OneBehind)?;
    stage.register(1, 1)?;
    check!(stage.log.wait(span(3), 0, alive(1)).is_some());
    check!(stage.log.count(dead(1)) == 0);
    check!(stage.log.count(suspect(1)) == 1);
    let seen = stage.service.look_at_portal(b"e1", &Portal::numbered(1))?;
    check!((seen.retried, seen.attempts, seen.verdict) == (1, 2, Judged::Alive));
    Ok(())
}

fn silent(_task: &Task) -> Verdict {
    let stage = stage()?;
    stage.log.set(1, Manner::Silent)?;
    let begin = softclock::now();
    stage.register(1, 3)?;
    let died = stage.log.wait(span(7), 0, dead(1)).ok_or(Fault::Retry)?;
    check!(stage.log.count(asked(1)) == 3);
    let attempts = [0, 1, 2].map(|nth| stage.log.nth(nth, asked(1)));
    let [Some(one), Some(two), Some(three)] = attempts else {
        return Err(Fault::Retry);
    };
    // Two seconds apart, or what a third of the interval is.
    let apart = Delta::from_secs(2).min(span(1));
    check!(
        one.at >= begin + span(3)
            && is_near(two.at, one.at + apart)
            && is_near(three.at, two.at + apart)
    );
    check!(is_near(died.at, three.at + apart));
    check!(died.at <= begin + span(6) || is_at(died.at, begin + span(6)));
    check!(stage.log.count(suspect(1)) == 2);
    let Seen::Told(Told::Suspect { attempt, of, .. }) =
        stage.log.nth(1, suspect(1)).ok_or(Fault::Retry)?.seen
    else {
        return Err(Fault::Retry);
    };
    check!((attempt, of) == (2, 3));
    Ok(())
}

fn absent(_task: &Task) -> Verdict {
    let stage = stage()?;
    stage.log.set(1, Manner::Absent)?;
    stage.register(1, 6)?;
    let died = stage.log.wait(span(9), 0, dead(1)).ok_or(Fault::Retry)?;
    check!(stage.log.count(asked(1)) == 3);
    let (one, two) = (stage.log.nth(0, asked(1)), stage.log.nth(1, asked(1)));
    let (Some(one), Some(two)) = (one, two) else {
        return Err(Fault::Retry);
    };
    check!(is_near(two.at, one.at + Delta::from_secs(1)));
    check!(is_near(died.at, two.at + Delta::from_secs(2)));
    check!(
        stage
            .log
            .count(|one| matches!(one.seen, Seen::Told(Told::Dead { why: "error", .. })))
            == 1
    );
    Ok(())
}

fn thresholds(_task: &Task) -> Verdict {
    for (setting, attempts) in [(0, 3), (1, 1), (10, 10), (11, 10), (u32::MAX, 10)] {
        let stage = Stage::new(
            Settings::new()
                .threshold(setting)
                .patience(Delta::from_millis(10)),
        )?;
        stage.log.set(1, Manner::Silent)?;
        stage.register(1, 100)?;
        check!(stage.service.trigger(b"e1")? == Triggered::Begins);
        check!(stage.log.wait(span(3), 0, dead(1)).is_some());
        check!(stage.log.count(asked(1)) == attempts);
        check!(stage.log.count(suspect(1)) == attempts - 1);
    }
    Ok(())
}

fn one_dies(_task: &Task) -> Verdict {
    let stage = stage()?;
    stage.log.set(2, Manner::Silent)?;
    stage.register_with(1, 0, &[watched(1, 1), watched(2, 1)])?;
    check!(stage.log.wait(span(3), 0, dead(1)).is_some());
    check!(stage.log.wait(span(3), 2, alive(1)).is_some());
    let seen = stage.look(1)?;
    check!((seen.portals, seen.monitored) == (1, 1));
    check!(stage.log.count(dead(1)) == 1 && stage.log.count(pending(1)) == 0);
    check!(
        stage
            .log
            .count(|one| matches!(one.seen, Seen::Asked { portal: 2, .. }))
            == 3
    );
    Ok(())
}

fn last_dies(_task: &Task) -> Verdict {
    let stage = Stage::new(Settings::new().threshold(1))?;
    stage.log.set(1, Manner::Silent)?;
    stage.register(1, 1)?;
    let died = stage.log.wait(span(3), 0, dead(1)).ok_or(Fault::Retry)?;
    let pends = stage.log.wait(span(1), 0, pending(1)).ok_or(Fault::Retry)?;
    check!(stage.state(1) == Some(State::Lingering));
    let Seen::Told(Told::Pending { due }) = pends.seen else {
        return Err(Fault::Retry);
    };
    // It died between the two.
    check!(due >= died.at + span(2) && due <= pends.at + span(2));
    let gone = stage.log.wait(span(3), 0, expired(1)).ok_or(Fault::Retry)?;
    check!(is_at(gone.at, due));
    check!(gone.seen == Seen::Expired(Cause::Silence));
    check!(stage.has(0));
    check!(stage.log.count(asked(1)) == 1);
    Ok(())
}

fn at_once(_task: &Task) -> Verdict {
    let stage = Stage::new(Settings::new().threshold(1).removal(Removal::AtOnce))?;
    stage.log.set(1, Manner::Silent)?;
    stage.register(1, 1)?;
    let died = stage.log.wait(span(3), 0, dead(1)).ok_or(Fault::Retry)?;
    let gone = stage.log.wait(span(1), 0, expired(1)).ok_or(Fault::Retry)?;
    check!(is_at(gone.at, died.at));
    check!(stage.log.count(pending(1)) == 0);
    check!(stage.has(0));
    Ok(())
}

fn saved(_task: &Task) -> Verdict {
    let stage = Stage::new(Settings::new().threshold(1))?;
    stage.log.set(1, Manner::Silent)?;
    stage.register(1, 1)?;
    check!(stage.log.wait(span(3), 0, pending(1)).is_some());
    stage.log.set(1, Manner::Lively)?;
    check!(!stage.register(1, 1)?.new);
    check!(stage.state(1) == Some(State::Waiting));
    check!(stage.log.wait(span(4), 2, alive(1)).is_some());
    check!(stage.log.count(expired(1)) == 0);
    check!(stage.look(1)?.portals == 1);
    Ok(())
}

fn at_last(_task: &Task) -> Verdict {
    let stage = Stage::new(Settings::new().patience(millis(100)))?;
    stage.log.set(1, Manner::AtLast)?;
    stage.register(1, 1)?;
    check!(stage.log.wait(span(6), 2, alive(1)).is_some());
    check!(stage.log.count(suspect(1)) >= 6 && stage.log.count(dead(1)) == 0);
    let seen = stage.service.look_at_portal(b"e1", &Portal::numbered(1))?;
    check!((seen.verdict, seen.attempts) == (Judged::Alive, 3) && seen.retried == seen.answered);
    Ok(())
}

fn flapping(_task: &Task) -> Verdict {
    let stage = Stage::new(Settings::new().threshold(1))?;
    stage.log.set(1, Manner::Flapping)?;
    for turn in 0..3 {
        check!(stage.register(1, 1)?.new == (turn == 0));
        check!(stage.log.wait(span(3), turn, alive(1)).is_some());
        check!(stage.log.wait(span(4), turn, pending(1)).is_some());
        check!(stage.log.count(alive(1)) == turn + 1 && stage.log.count(dead(1)) == turn + 1);
    }
    check!(stage.log.count(expired(1)) == 0);
    Ok(())
}

fn expiry_fails(_task: &Task) -> Verdict {
    let stage = stage()?;
    stage.log.refuse_expiry.store(true, Relaxed);
    stage.log.block_expiry_ms.store(units(2) * 1_000, Relaxed);
    stage.register_with(1, units(1), &[])?;
    stage.register(2, 1)?;
    let failed = stage.log.wait(span(2), 0, expired(1)).ok_or(Fault::Retry)?;
    // While the driver is at it, the other one is asked.
    let rounds = stage.log.count(alive(2));
    check!(stage.log.wait(span(2), rounds, alive(2)).is_some());
    check!(in_time(stage.state(1) == Some(State::Expiring)));
    rest(span(2));
    // A driver that sleeps may do so for longer.
    check!(sleep_until(20_000, || stage.state(1) == Some(State::Retrying)));
    let seen = stage.look(1)?;
    let next = seen.next.ok_or(Fault::Retry)?;
    check!(next - softclock::now() <= Delta::from_secs(180));
    // The driver has slept for two units.
    check!(next >= failed.at + span(2) + Delta::from_secs(180));
    // A retry leaves what is registered then alone.
    if is_simulated() {
        stage.log.refuse_expiry.store(false, Relaxed);
        stage.log.block_expiry_ms.store(0, Relaxed);
        let again = stage
            .log
            .wait(Delta::from_secs(190), 1, expired(1))
            .ok_or(Fault::Retry)?;
        check!(is_at(again.at, next));
        check!(stage.has(1));
    }
    check!(stage.service.counts().failed == 1);
    Ok(())
}

fn not_asked(_task: &Task) -> Verdict {
    let stage = stage()?;
    stage.log.set(1, Manner::Unaskable)?;
    stage.register(1, 1)?;
    // Three attempts each, for three rounds.
    check!(stage.log.wait(span(9), 6, asked(1)).is_some());
    check!(stage.log.count(dead(1)) == 0 && stage.log.count(alive(1)) == 0);
    stage.log.set(1, Manner::Lively)?;
    check!(stage.log.wait(span(3), 0, alive(1)).is_some());
    check!(stage.look(1)?.portals == 1);
    Ok(())
}

fn refreshes(_task: &Task) -> Verdict {
    let stage = stage()?;
    // Its period is three units, and it is asked every unit.
    stage.register_with(1, units(3), &[watched(1, 1)])?;
    check!(stage.log.wait(span(5), 3, alive(1)).is_some());
    // An answer is told a little before its round is over.
    check!(sleep_until(5_000, || stage.state(1) == Some(State::Waiting)));
    let answered = stage.look(1)?.refreshed;
    stage.service.remove_portal(b"e1", &Portal::numbered(1))?;
    let seen = stage.look(1)?;
    check!(seen.state == State::Registered);
    // From the last answer, not from the registration, which is more than a period ago.
    check!(seen.next == Some(answered + span(3)) || seen.refreshed > answered);
    let gone = stage.log.wait(span(4), 0, expired(1)).ok_or(Fault::Retry)?;
    check!(gone.at >= answered + span(3));
    // And so does whatever else the driver has heard.
    stage.register_with(2, units(2), &[])?;
    rest(span(1));
    stage.service.refresh(b"e2")?;
    let next = stage.look(2)?.next.ok_or(Fault::Retry)?;
    check!(is_at(softclock::now() + span(2), next));
    Ok(())
}

fn every(_task: &Task) -> Verdict {
    let stage = Stage::new(Settings::new().patience(Delta::from_millis(100)))?;
    stage.log.set(3, Manner::Silent)?;
    stage.register_with(1, 0, &[watched(1, 1), watched(2, 1), watched(3, 1)])?;
    let died = stage.log.wait(span(3), 0, dead(1)).ok_or(Fault::Retry)?;
    let Seen::Told(Told::Dead { portal, .. }) = died.seen else {
        return Err(Fault::Retry);
    };
    check!(portal == Portal::numbered(3));
    check!(stage.log.count(alive(1)) == 2);
    Ok(())
}

fn any_one(_task: &Task) -> Verdict {
    let stage = Stage::new(Settings::new().coverage(Coverage::AnyOne))?;
    stage.log.set(1, Manner::Silent)?;
    stage.register_with(1, 0, &[watched(1, 1), watched(2, 1), watched(3, 1)])?;
    check!(stage.log.wait(span(3), 0, alive(1)).is_some());
    // The first died before the second was asked; the third was not.
    check!(stage.log.count(dead(1)) == 1);
    let of_portal = |portal| {
        stage.log.nth(
            0,
            move |one| matches!(one.seen, Seen::Asked { portal: p, .. } if p == portal),
        )
    };
    let died = stage.log.nth(0, dead(1)).ok_or(Fault::Retry)?;
    check!(of_portal(2).is_some_and(|one| one.at >= died.at));
    check!(of_portal(3).is_none());
    Ok(())
}

fn sooner(_task: &Task) -> Verdict {
    let stage = stage()?;
    stage.register(1, 10)?;
    rest(millis(300));
    // A second: sooner than what is left on the wheel of the cases before, which would wake it, too.
    let soon = Delta::from_secs(1);
    let portal = PortalTerms::new(Portal::numbered(2))
        .monitored()
        .every_secs(1);
    stage.register_with(2, 0, &[portal])?;
    let begin = softclock::now();
    let probe = stage.log.wait(soon, 0, asked(2)).ok_or(Fault::Retry)?;
    check!(is_at(probe.at, begin + soon) || probe.at <= begin + soon);
    check!(stage.log.count(asked(1)) == 0);
    Ok(())
}

fn long(_task: &Task) -> Verdict {
    let stage = stage()?;
    for (n, s) in [
        (1, 21_427_201),
        (2, 1 << 31),
        (3, u32::MAX - 1),
        (4, u32::MAX),
    ] {
        let portal = PortalTerms::new(Portal::numbered(n))
            .monitored()
            .every_secs(s);
        let begin = softclock::now();
        let granted = stage.register_with(n, 0, &[portal])?;
        // No interval is longer than a registration that has no period.
        let s = s.min(u32::MAX - 1);
        check!(granted.interval_s == s);
        let next = stage.look(n)?.next.ok_or(Fault::Retry)?;
        check!(next >= begin + Delta::from_secs(s.into()));
        check!(next <= softclock::now() + Delta::from_secs(s.into()));
    }
    rest(span(1));
    check!(stage.log.count(|_| true) == 0);
    Ok(())
}

fn trigger(_task: &Task) -> Verdict {
    let stage = stage()?;
    stage.register(1, 2)?;
    rest(span(1));
    let begin = softclock::now();
    check!(stage.service.trigger(b"e1")? == Triggered::Begins);
    let told = stage.log.wait(span(1), 0, alive(1)).ok_or(Fault::Retry)?;
    check!(is_at(told.at, begin));
    let two = stage.log.wait(span(3), 1, asked(1)).ok_or(Fault::Retry)?;
    check!(two.at >= begin + span(2));
    check!(two.at <= told.at + span(2) || is_at(two.at, told.at + span(2)));
    check!(stage.log.wait(span(1), 1, alive(1)).is_some());
    // The one that was due by itself was on time.
    check!(in_time(stage.service.counts().on_time == 1));
    // Nothing is left of the old schedule.
    rest(span(1));
    check!(stage.log.count(asked(1)) == 2);
    stage.log.set(1, Manner::Silent)?;
    check!(stage.service.trigger(b"e1")? == Triggered::Begins);
    check!(stage.log.wait(span(1), 2, asked(1)).is_some());
    check!(stage.service.trigger(b"e1")? == Triggered::InFlight);
    stage.register_with(2, 0, &[])?;
    check!(stage.service.trigger(b"e2")? == Triggered::NoPortal);
    Ok(())
}

fn seen(_task: &Task) -> Verdict {
    let stage = Stage::new(Settings::new().patience(Delta::from_secs(3_600)))?;
    stage.log.set(1, Manner::Slow(millis(100)))?;
    stage.register_with(
        1,
        1_000,
        &[watched(1, 1), PortalTerms::new(Portal::numbered(9))],
    )?;
    let seen = stage.look(1)?;
    check!(seen.state == State::Waiting && !seen.leaving);
    check!((seen.interval_s, seen.period_s) == (units(1).min(1_000), 1_000));
    check!((seen.portals, seen.monitored) == (2, 1));
    let new = stage.service.look_at_portal(b"e1", &Portal::numbered(1))?;
    check!((new.verdict, new.probes) == (Judged::Unknown, 0));
    check!(stage.log.wait(span(3), 1, alive(1)).is_some());
    let seen = stage.service.look_at_portal(b"e1", &Portal::numbered(1))?;
    check!((seen.probes, seen.answered, seen.retried, seen.attempts) == (2, 2, 0, 1));
    check!(seen.rtt >= millis(100) && seen.rtt_max >= seen.rtt);
    check!(in_time(seen.rtt < millis(900)));
    // What is known of it survives a registration.
    stage.register_with(1, 1_000, &[watched(1, 1)])?;
    check!(
        stage
            .service
            .look_at_portal(b"e1", &Portal::numbered(1))?
            .answered
            == 2
    );
    let counts = stage.service.counts();
    check!((counts.rounds, counts.alive, counts.registered) == (2, 2, 2));
    check!(in_time(counts.on_time == 2 && counts.late == 0));
    Ok(())
}
