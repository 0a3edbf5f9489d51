// SPDX-License-Identifier: GPL-2.0

//! Liveness: what is removed, when, by whom, and in the middle of what.

use crate::{
    esi_subject::{
        alive, asked, dead, expired, first, millis, pending, rest, span, units, watched, Manner,
        Name, Seen, Stage,
    },
    harness::{check, in_time, Case, Fault, Verdict},
    subject::{sleep_ms, sleep_until},
};
use kernel::{new_mutex, sync::Mutex};
use softclock::{
    liveness::{
        EntityTerms, Liveness, Portal, PortalTerms, Removal, Removed, Settings, State, Triggered,
        Verdict as Told,
    },
    prelude::*,
};

pub(crate) const CASES: &[&[Case]] = &[&[
    // Fault: a probe of what is not there any more.
    Case {
        name: "esi-21 removed while it waits: gone at once",
        run: remove_waiting,
    },
    // Fault: the removal waits for the probe, or a verdict of what was removed is told (S2).
    Case {
        name: "esi-21 S2 removed while it is asked: no further attempt, no verdict",
        run: remove_probing,
    },
    Case {
        name: "esi-21 a portal removed while it is asked: no verdict on it, and the others go on",
        run: remove_portal,
    },
    // Fault: the expiry is lost with any portal (S7).
    Case {
        name: "esi-22 S7 without a portal that is not monitored, the expiry stays",
        run: keep_expiry,
    },
    // Fault: the event in flight survives its entity, and asks for ever (S8).
    Case {
        name: "esi-23 S8 registered again and removed while it is asked: nothing is left",
        run: twins,
    },
    Case {
        name: "esi-23 removed and registered again while it is asked: there is one",
        run: back,
    },
    // Fault: a portal that was removed dies all the same.
    Case {
        name: "esi-18 the last monitored portal removed: it is registered, not pending",
        run: last_removed,
    },
    // Fault: the silence of a portal that was removed before that was told counts for the entity.
    Case {
        name: "esi-18 and so when its probe has ended, and that was not told",
        run: removed_untold,
    },
    Case {
        name: "esi-4 a portal added with a shorter interval counts",
        run: add_portal,
    },
    // Fault: a wait for a callback that is the caller.
    Case {
        name: "esi-39 removing and waiting waits for what is being told",
        run: wait_told,
    },
    // Fault: who waits is woken when the worker rests, not when what he waits for is over.
    Case {
        name: "esi-39 and not for what is told of others after that",
        run: wait_others,
    },
    Case {
        name: "esi-39 in a callback it does not wait, and a shutdown neither",
        run: wait_own,
    },
    // Fault: a lock held over the callback.
    Case {
        name: "esi-39 a callback may remove, register and trigger",
        run: call_back,
    },
    Case {
        name: "esi-39 a callback may drop its service",
        run: drop_own,
    },
    // Fault: late callbacks, or a wait for attempts.
    Case {
        name: "esi-39 shut down with a thousand probes in flight: at once, and nothing is told",
        run: shutdown,
    },
    Case {
        name: "esi-39 dropped with probes in flight: the driver is dropped, nothing is told",
        run: dropped,
    },
    // Fault: it goes on until the one before it has ended.
    Case {
        name: "esi-39 dropped behind one whose driver blocks: nothing more is asked or told",
        run: dropped_behind,
    },
    // Fault: the driver is used after it is gone.
    Case {
        name: "esi-39 tokens that outlive their service are stale",
        run: orphans,
    },
    // Fault: bad input half taken.
    Case {
        name: "input: names of 0 and 256 bytes, with blanks, controls and beyond ASCII",
        run: names,
    },
    Case {
        name: "input: ports 0 and beyond, addresses of nobody and of many",
        run: ports,
    },
    Case {
        name: "input: a portal twice, and 65 of them",
        run: too_many,
    },
    Case {
        name: "input: what is not there",
        run: strangers,
    },
    Case {
        name: "input: a name that is registered already is registered again",
        run: duplicates,
    },
    Case {
        name: "input: a service with a bad name",
        run: bad_service,
    },
    // Fault: an operator's choice ignored, or applied to what is in flight.
    Case {
        name: "settings: limits, and a threshold changed on the way",
        run: settings,
    },
]];

fn stage() -> Result<Stage> {
    Stage::new(Settings::new())
}

/// A stage whose entity 1 is being asked, by attempts a whole unit apart.
fn probing() -> core::result::Result<Stage, Fault> {
    let stage = Stage::new(Settings::new().patience(span(1)))?;
    stage.log.set(1, Manner::Silent)?;
    stage.register(1, 100)?;
    check(stage.service.trigger(b"e1")? == Triggered::Begins)?;
    check(stage.log.wait(span(1), 0, asked(1)).is_some())?;
    Ok(stage)
}

fn check(holds: bool) -> Verdict {
    check!(holds);
    Ok(())
}

fn remove_waiting(_task: &Task) -> Verdict {
    let stage = stage()?;
    stage.register(1, 1)?;
    check!(stage.deregister(1)? == Removed::Now);
    check!(stage.service.entities()? == 0);
    check!(stage.deregister(1).is_err_and(|e| e == ENOENT));
    rest(span(2));
    check!(stage.log.count(|_| true) == 0);
    Ok(())
}

fn remove_probing(_task: &Task) -> Verdict {
    let stage = probing()?;
    check!(stage.deregister(1)? == Removed::Soon);
    // It ends sooner than its attempt.
    check!(stage.has(0));
    check!(stage.state(1).is_none());
    rest(span(4));
    check!(stage.log.count(|_| true) == 1);
    let counts = stage.service.counts();
    check!((counts.in_flight, counts.dead, counts.suspect) == (0, 0, 0));
    Ok(())
}

fn remove_portal(_task: &Task) -> Verdict {
    let stage = Stage::new(Settings::new().patience(Delta::from_secs(3_600)))?;
    stage.log.set(1, Manner::Silent)?;
    stage.log.set(2, Manner::Slow(millis(200)))?;
    stage.register_with(1, 0, &[watched(1, 2), watched(2, 2)])?;
    check!(stage.log.wait(span(3), 1, first(1)).is_some());
    stage.service.remove_portal(b"e1", &Portal::numbered(1))?;
    check!(stage.log.wait(span(5), 1, alive(1)).is_some());
    check!(stage.log.count(dead(1)) == 0);
    check!(stage.look(1)?.portals == 1);
    Ok(())
}

fn keep_expiry(_task: &Task) -> Verdict {
    let stage = stage()?;
    let portals = [1, 2].map(|n| PortalTerms::new(Portal::numbered(n)));
    stage.register_with(1, units(2), &portals)?;
    let next = stage.look(1)?.next;
    rest(span(1));
    stage.service.remove_portal(b"e1", &Portal::numbered(1))?;
    check!(stage.look(1)?.next == next);
    stage.service.remove_portal(b"e1", &Portal::numbered(2))?;
    check!(stage.look(1)?.next == next);
    let gone = stage.log.wait(span(3), 0, expired(1)).ok_or(Fault::Retry)?;
    check!(next.is_some_and(|next| gone.at >= next));
    check!(stage.has(0));
    Ok(())
}

fn twins(_task: &Task) -> Verdict {
    let stage = probing()?;
    check!(!stage.register(1, 1)?.new);
    check!(stage.deregister(1)? == Removed::Soon);
    check!(stage.has(0));
    rest(span(3));
    check!(stage.log.count(asked(1)) == 1);
    Ok(())
}

fn back(_task: &Task) -> Verdict {
    let stage = probing()?;
    stage.deregister(1)?;
    check!(stage.register(1, 1)?.new);
    check!(stage.service.entities()? == 1);
    stage.log.set(1, Manner::Lively)?;
    check!(stage.log.wait(span(4), 1, alive(1)).is_some());
    // One round in an interval, not two.
    let one = stage.log.nth(0, alive(1)).ok_or(Fault::Retry)?;
    let two = stage.log.nth(1, alive(1)).ok_or(Fault::Retry)?;
    // Both are seen a little later than they happen.
    check!(two.at >= one.at + millis(500));
    check!(stage.log.count(dead(1)) == 0);
    Ok(())
}

fn last_removed(_task: &Task) -> Verdict {
    let stage = stage()?;
    stage.register_with(1, units(50), &[watched(1, 1)])?;
    stage.service.remove_portal(b"e1", &Portal::numbered(1))?;
    let seen = stage.look(1)?;
    check!((seen.state, seen.interval_s, seen.portals) == (State::Registered, units(50), 0));
    rest(span(2));
    check!(stage.log.count(|_| true) == 0);
    Ok(())
}

fn removed_untold(_task: &Task) -> Verdict {
    let settings = Settings::new().threshold(2).patience(millis(100));
    for removal in [Removal::AtOnce, Removal::After(1)] {
        let stage = Arc::new(Stage::new(settings.removal(removal))?, GFP_KERNEL)?;
        let me = stage.clone();
        stage.log.on_told(move |_, eid, verdict| {
            if let Told::Suspect { portal, .. } = verdict {
                // The last attempt comes to nothing meanwhile.
                rest(millis(500));
                let _ = me.service.remove_portal(eid.as_bytes(), portal);
            }
        })?;
        stage.log.set(1, Manner::Silent)?;
        stage.register_with(1, units(50), &[watched(1, 1)])?;
        let told = stage
            .log
            .wait(span(3), 0, |one| matches!(one.seen, Seen::Told(_)));
        rest(span(3));
        stage.log.forget_told();
        check!(told.is_some());
        check!(stage.log.count(asked(1)) == 2);
        check!(stage.log.count(dead(1)) == 0);
        check!(stage.log.count(pending(1)) == 0 && stage.log.count(expired(1)) == 0);
        let seen = stage.look(1)?;
        check!((seen.state, seen.portals) == (State::Registered, 0));
    }
    Ok(())
}

fn add_portal(_task: &Task) -> Verdict {
    let stage = stage()?;
    stage.register(1, 50)?;
    check!(stage.service.add_portal(b"e1", &watched(2, 1))?.interval_s == units(1));
    check!(stage
        .service
        .add_portal(b"e1", &watched(2, 1))
        .is_err_and(|e| e == EEXIST));
    check!(stage
        .service
        .add_portal(b"e2", &watched(2, 1))
        .is_err_and(|e| e == ENOENT));
    check!(stage.log.wait(span(2), 1, alive(1)).is_some());
    let seen = stage.look(1)?;
    check!((seen.portals, seen.monitored) == (2, 2));
    Ok(())
}

fn wait_told(task: &Task) -> Verdict {
    let stage = stage()?;
    let over = Arc::new(Atomic::new(false), GFP_KERNEL)?;
    let told = over.clone();
    stage.log.on_told(move |_, _, _| {
        rest(span(2));
        told.store(true, Release);
    })?;
    stage.register(1, 100)?;
    stage.service.trigger(b"e1")?;
    check!(stage.log.wait(span(1), 0, alive(1)).is_some());
    check!(!over.load(Acquire));
    stage.service.deregister_and_wait(b"e1", task)?;
    check!(over.load(Acquire));
    check!(stage
        .service
        .deregister_and_wait(b"e1", task)
        .is_err_and(|e| e == ENOENT));
    Ok(())
}

fn wait_others(task: &Task) -> Verdict {
    let stage = Stage::new(Settings::new().threshold(1).patience(millis(100)))?;
    stage.log.on_told(|_, _, verdict| match verdict {
        Told::Pending { .. } => rest(millis(500)),
        Told::Alive { .. } => rest(span(4)),
        _ => {}
    })?;
    stage.log.set(1, Manner::Silent)?;
    stage.register(1, 100)?;
    stage.register(2, 100)?;
    stage.service.trigger(b"e1")?;
    check!(stage.log.wait(span(1), 0, pending(1)).is_some());
    stage.service.trigger(b"e2")?;
    let begin = softclock::now();
    stage.service.deregister_and_wait(b"e1", task)?;
    check!(in_time(softclock::now() - begin < span(2)));
    Ok(())
}

fn wait_own(_task: &Task) -> Verdict {
    let stage = Arc::new(stage()?, GFP_KERNEL)?;
    let answers = Arc::new(Atomic::new(0_u32), GFP_KERNEL)?;
    let (me, seen) = (stage.clone(), answers.clone());
    stage.log.on_told(move |_, eid, _| {
        let Ok(task) = Task::new() else {
            return;
        };
        let waited = me.service.deregister_and_wait(eid.as_bytes(), &task);
        let shut = me.service.shutdown(&task);
        let right = waited.is_err() && shut == Err(CannotWait::Deadlock);
        seen.store(if right { 1 } else { 2 }, Release);
    })?;
    stage.register(1, 100)?;
    stage.service.trigger(b"e1")?;
    check!(sleep_until(5_000, || answers.load(Acquire) != 0));
    check!(answers.load(Acquire) == 1);
    check!(stage.has(0));
    check!(stage.register(1, 1).is_err_and(|e| e == ENODEV));
    // The closure has a reference to what it is in.
    stage.log.forget_told();
    Ok(())
}

fn call_back(_task: &Task) -> Verdict {
    let stage = Arc::new(Stage::new(Settings::new().threshold(1))?, GFP_KERNEL)?;
    let me = stage.clone();
    stage.log.on_told(move |_, eid, verdict| {
        let portals = [PortalTerms::new(Portal::numbered(1))
            .monitored()
            .every_secs(units(1))];
        let again = EntityTerms {
            eid: eid.as_bytes(),
            period_s: 0,
            portals: &portals,
        };
        let _ = match verdict {
            Told::Pending { .. } => me.service.register(&again).map(drop),
            Told::Alive { .. } => {
                let _ = me.service.deregister(eid.as_bytes());
                let _ = me.service.register(&again);
                me.service.trigger(eid.as_bytes()).map(drop)
            }
            _ => Ok(()),
        };
    })?;
    stage.log.set(1, Manner::Silent)?;
    stage.register(1, 1)?;
    check!(stage.log.wait(span(9), 1, pending(1)).is_some());
    check!(stage.log.count(expired(1)) == 0);
    stage.log.set(1, Manner::Lively)?;
    check!(stage.log.wait(span(9), 5, alive(1)).is_some());
    stage.log.forget_told();
    check!(stage.service.entities()? == 1);
    Ok(())
}

fn drop_own(_task: &Task) -> Verdict {
    let stage = stage()?;
    let place: Arc<Mutex<Option<Liveness>>> = Arc::pin_init(new_mutex!(None), GFP_KERNEL)?;
    let there = place.clone();
    stage
        .log
        .on_told(move |_, _, _| drop(there.lock().take()))?;
    stage.register(1, 1)?;
    let Stage {
        service,
        log,
        tidy: _tidy,
    } = stage;
    *place.lock() = Some(service);
    check!(log.wait(span(3), 0, alive(1)).is_some());
    check!(sleep_until(5_000, || log.dropped.load(Acquire) == 1));
    log.forget_told();
    let told = log.count(|_| true);
    rest(span(2));
    check!(log.count(|_| true) == told);
    Ok(())
}

fn shutdown(task: &Task) -> Verdict {
    let stage = Stage::new(Settings::new().patience(span(10)))?;
    for n in 1..=1_000 {
        stage.log.set(n, Manner::Silent)?;
        stage.register(n, 1_000)?;
    }
    check!(stage.service.trigger_all() == 1_000);
    check!(sleep_until(20_000, || stage.log.asked.load(Relaxed) == 1_000));
    check!(stage.service.counts().in_flight == 1_000);
    let begin = softclock::now();
    check!(stage.service.shutdown(task) == Ok(1_000));
    check!(in_time(softclock::now() - begin < span(5)));
    check!(stage.log.dropped.load(Acquire) == 1);
    check!(stage.service.entities()? == 0 && stage.service.counts().in_flight == 0);
    check!(
        stage
            .log
            .count(|one| !matches!(one.seen, Seen::Asked { .. }))
            == 0
    );
    check!(stage.register(1, 1).is_err_and(|e| e == ENODEV));
    check!(stage.service.shutdown(task) == Ok(0));
    Ok(())
}

fn dropped(_task: &Task) -> Verdict {
    let stage = probing()?;
    let log = stage.log.clone();
    drop(stage);
    check!(sleep_until(5_000, || log.dropped.load(Acquire) == 1));
    rest(span(3));
    check!(log.count(|_| true) == 1);
    Ok(())
}

fn dropped_behind(_task: &Task) -> Verdict {
    let before = stage()?;
    before.log.on_told(|_, _, _| rest(span(6)))?;
    before.register(1, 1)?;
    let stage = Stage::new(Settings::new().patience(millis(100)))?;
    stage.log.set(2, Manner::Silent)?;
    stage.register(1, 1)?;
    stage.register(2, 1)?;
    // This one expires.
    stage.register_with(3, units(3), &[PortalTerms::new(Portal::numbered(3))])?;
    check!(before.log.wait(span(3), 0, alive(1)).is_some());
    let Stage {
        service,
        log: first,
        tidy: _first_tidy,
    } = before;
    drop(service);
    rest(millis(50));
    let Stage {
        service,
        log: second,
        tidy: _second_tidy,
    } = stage;
    drop(service);
    // What executes ends.
    rest(millis(50));
    let told = second.count(|_| true);
    rest(span(4));
    check!(first.dropped.load(Acquire) == 0);
    check!(second.count(|_| true) == told);
    rest(span(3));
    check!(sleep_until(5_000, || first.dropped.load(Acquire) == 1));
    check!(sleep_until(5_000, || second.dropped.load(Acquire) == 1));
    Ok(())
}

fn orphans(task: &Task) -> Verdict {
    let stage = probing()?;
    check!(stage.service.shutdown(task) == Ok(1));
    let token = stage.log.taken(1).ok_or(Fault::Retry)?;
    check!(token.eid() == "e1" && token.portal() == Portal::numbered(1));
    check!(!token.alive());
    check!(stage.log.count(alive(1)) == 0);
    Ok(())
}

fn register_as(stage: &Stage, eid: &[u8]) -> Result {
    let terms = EntityTerms {
        eid,
        period_s: 0,
        portals: &[watched(1, 1)],
    };
    stage.service.register(&terms).map(drop)
}

fn names(_task: &Task) -> Verdict {
    let stage = stage()?;
    check!(register_as(&stage, b"") == Err(EINVAL));
    check!(register_as(&stage, &[b'x'; 256]) == Err(ERANGE));
    check!(register_as(&stage, &KVec::from_elem(b'x', 70_000, GFP_KERNEL)?) == Err(ERANGE));
    for bad in [
        &b"a b"[..],
        b"a\n",
        b"\0",
        b"a\x7f",
        b"\xc3\xa4",
        b"\xff",
        b"tab\t",
    ] {
        check!(register_as(&stage, bad) == Err(EINVAL));
    }
    check!(stage.service.entities()? == 0);
    // All lengths there are; those with memory of their own are found as well.
    let long = [b'x'; 255];
    for len in 1..=255 {
        check!(register_as(&stage, &long[..len]).is_ok());
    }
    check!(stage.service.entities()? == 255);
    for len in (1..=255).rev() {
        check!(stage.service.look(&long[..len]).is_ok());
        check!(stage.service.deregister(&long[..len])? == Removed::Now);
        check!(stage.service.look(&long[..len]).is_err_and(|e| e == ENOENT));
    }
    Ok(())
}

fn ports(_task: &Task) -> Verdict {
    let stage = stage()?;
    let with = |portal: PortalTerms| stage.register_with(1, 0, &[portal]).map(drop);
    let ip = |text: &str| text.parse().map_err(|_| EINVAL);
    let at = |text: &str, port: u32| -> Result {
        with(PortalTerms::new(Portal::tcp(ip(text)?, 3260)).asked_at(port))
    };
    // UDP's port 0; and other bits than that of UDP.
    check!(at("192.0.2.1", 0x1_0000) == Err(EINVAL));
    for port in [0x2_0000, 0x2_0001, 0x8000_0000, u32::MAX] {
        check!(at("192.0.2.1", port) == Err(ERANGE));
    }
    for nobody in [
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "255.255.255.255",
        "ff02::1",
        "::ffff:0.0.0.0",
    ] {
        check!(at(nobody, 860) == Err(EINVAL));
    }
    check!(stage.service.entities()? == 0);
    for port in [0, 1, 65_535, 0x1_0001, 0x1_ffff] {
        check!(at("192.0.2.1", port).is_ok());
    }
    check!(at("2001:db8::1", 860).is_ok());
    Ok(())
}

fn too_many(_task: &Task) -> Verdict {
    let stage = stage()?;
    check!(stage
        .register_with(1, 0, &[watched(1, 1), watched(1, 2)])
        .is_err_and(|e| e == EINVAL));
    let mut portals = KVec::new();
    for n in 0..65 {
        portals.push(watched(n, 1), GFP_KERNEL)?;
    }
    check!(stage
        .register_with(1, 0, &portals)
        .is_err_and(|e| e == ERANGE));
    check!(stage.service.entities()? == 0);
    stage.register_with(1, 0, &portals[..64])?;
    check!(stage
        .service
        .add_portal(b"e1", &watched(64, 1))
        .is_err_and(|e| e == ERANGE));
    // Each of them is asked.
    stage.service.trigger(b"e1")?;
    check!(stage.log.wait(span(2), 63, alive(1)).is_some());
    Ok(())
}

fn strangers(task: &Task) -> Verdict {
    let stage = stage()?;
    stage.register(1, 1)?;
    let missing = |result: Result| result == Err(ENOENT);
    for name in [&b"e2"[..], b"", b"\xff", &[b'x'; 300]] {
        check!(missing(stage.service.deregister(name).map(drop)));
        check!(missing(stage.service.deregister_and_wait(name, task)));
        check!(missing(stage.service.refresh(name)));
        check!(missing(stage.service.trigger(name).map(drop)));
        check!(missing(stage.service.look(name).map(drop)));
        check!(missing(
            stage.service.remove_portal(name, &Portal::numbered(1))
        ));
    }
    check!(missing(
        stage.service.remove_portal(b"e1", &Portal::numbered(2))
    ));
    check!(missing(
        stage
            .service
            .look_at_portal(b"e1", &Portal::numbered(2))
            .map(drop)
    ));
    Ok(())
}

fn duplicates(_task: &Task) -> Verdict {
    let stage = stage()?;
    check!(stage.register(1, 2)?.new);
    rest(span(1));
    check!(!stage.register(1, 2)?.new);
    check!(stage.service.entities()? == 1);
    // The clock begins anew.
    rest(millis(1_500));
    check!(stage.log.count(|_| true) == 0);
    check!(stage.log.wait(span(1), 0, alive(1)).is_some());
    rest(span(1));
    check!(stage.log.count(asked(1)) == 1);
    Ok(())
}

fn bad_service(_task: &Task) -> Verdict {
    for name in [c"", c"two words", c"a-name-of-more-than-thirty-one-bytes"] {
        check!(Stage::named(name, Settings::new()).is_err_and(|e| e == EINVAL));
    }
    check!(Settings::new()
        .limits(0, 10, 10)
        .is_err_and(|e| e == EINVAL));
    check!(Settings::new()
        .limits(11, 10, 10)
        .is_err_and(|e| e == EINVAL));
    Ok(())
}

fn settings(_task: &Task) -> Verdict {
    let stage = Stage::new(Settings::new().limits(20, 86_400, 86_400)?)?;
    for (asked, granted) in [(1, 20), (20, 20), (0, 180), (90_000, 86_400)] {
        let portal = PortalTerms::new(Portal::numbered(1))
            .monitored()
            .every_secs(asked);
        let name = Name::of(1);
        let terms = EntityTerms {
            eid: name.bytes(),
            period_s: 10,
            portals: &[portal],
        };
        let now = stage.service.register(&terms)?;
        check!((now.interval_s, now.period_s) == (granted, 86_400));
    }
    stage.log.set(1, Manner::Silent)?;
    stage.service.set(
        stage
            .service
            .settings()
            .patience(Delta::from_millis(20))
            .threshold(5),
    );
    stage.service.trigger(b"e1")?;
    check!(stage.log.wait(span(2), 0, asked(1)).is_some());
    // A probe that is in flight is not changed.
    stage.service.set(stage.service.settings().threshold(2));
    check!(stage.log.wait(span(2), 0, dead(1)).is_some());
    check!(stage.log.count(asked(1)) == 5);
    stage.register(1, 100)?;
    stage.service.trigger(b"e1")?;
    check!(stage.log.wait(span(2), 1, dead(1)).is_some());
    check!(stage.log.count(asked(1)) == 7);
    sleep_ms(1);
    Ok(())
}
