// SPDX-License-Identifier: GPL-2.0

//! Callbacks in a worker: between the expiry and the worker's turn a run is owed and can be changed.

#![forbid(unsafe_code)]

use crate::{
    machine::Dispatch::Worker,
    policy::life::Stop,
    stage::{again, nothing, Scenario, Stage},
};

fn expires(s: &mut Stage) {
    s.on(0).arm(0, 1);
    s.thread(0, |c| {
        c.walk(0, 1);
        c.work(2);
    });
}

pub(super) static ALL: &[Scenario] = &[
    Scenario::new("worker: stop, touch", &[(Worker, nothing)], |s| {
        expires(s);
        let c = s.on(1);
        if c.stop(0) == Stop::Cancelled {
            c.touch(0);
        }
    }),
    Scenario::new("worker: stop, touch again", &[(Worker, again)], |s| {
        s.on(0).arm(0, 1);
        s.thread(0, |c| {
            c.walk(0, 1);
            c.work(1);
            c.walk(0, 3);
            c.work(3);
        });
        let c = s.on(1);
        if c.stop(0) == Stop::Cancelled {
            c.touch(0);
        }
    }),
    Scenario::new("worker: sooner", &[(Worker, nothing)], |s| {
        expires(s);
        s.on(1).arm(0, 1);
    }),
    Scenario::new("worker: later", &[(Worker, nothing)], |s| {
        expires(s);
        s.on(1).arm(0, 5);
    }),
    Scenario::new("worker: later, sooner", &[(Worker, nothing)], |s| {
        expires(s);
        let c = s.on(1);
        c.arm(0, 5);
        c.arm(0, 2);
    })
    .quick(3),
    Scenario::new("worker: stop, arm", &[(Worker, nothing)], |s| {
        expires(s);
        let c = s.on(1);
        c.stop(0);
        let before = c.runs(0);
        c.arm(0, 5);
        s.join();
        c.walk(0, 5);
        c.walk(1, 5);
        c.work(5);
        assert_eq!(c.runs(0), before + 1);
    }),
    Scenario::new("worker: drain | next", &[(Worker, again)], |s| {
        expires(s);
        let c = s.on(1);
        c.drain(0);
        c.assert_quiet(0);
    }),
    Scenario::new("worker: shutdown | arm | next", &[(Worker, again)], |s| {
        expires(s);
        s.thread(1, |c| {
            c.arm(0, 4);
        });
        let c = s.on(1);
        c.shutdown(0);
        c.assert_quiet(0);
    })
    .quick(3)
    .long(5),
    Scenario::new("worker: drain, arm | next", &[(Worker, again)], |s| {
        expires(s);
        let c = s.on(1);
        c.drain(0);
        c.arm(0, 4);
    })
    .quick(3),
    Scenario::new("worker: arm on base 1 | stop", &[(Worker, nothing)], |s| {
        expires(s);
        s.thread(0, |c| {
            c.stop(0);
        });
        s.on(1).arm_on(0, 4, Some(1));
    })
    .quick(3)
    .long(5),
    Scenario::new(
        "worker: arm on base 1, later | deactivate",
        &[(Worker, nothing)],
        |s| {
            expires(s);
            s.thread(0, |c| c.deactivate(0));
            let c = s.on(1);
            c.arm_on(0, 4, Some(1));
            c.arm(0, 6);
        },
    )
    .quick(3)
    .long(4),
];
