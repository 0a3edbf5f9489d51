// SPDX-License-Identifier: GPL-2.0

//! Whoever gives back the last reference takes the object with it: exactly once, and after everybody.

#![forbid(unsafe_code)]

use crate::{
    machine::{
        Call,
        Dispatch::{Direct, Worker},
    },
    stage::{again, nothing, Scenario},
};

/// The callback's reference goes with its first run.
fn puts(call: &mut Call<'_>) -> Option<u64> {
    if call.cpu.runs(call.entry) == 1 {
        call.cpu.put(call.entry);
    }
    None
}

fn puts_and_returns_next(call: &mut Call<'_>) -> Option<u64> {
    let first = call.cpu.runs(call.entry) == 1;
    if first {
        call.cpu.put(call.entry);
    }
    first.then_some(3)
}

pub(super) static ALL: &[Scenario] = &[
    Scenario::new("last reference | walk", &[(Direct, nothing)], |s| {
        s.on(0).arm(0, 1);
        s.thread(0, |c| c.walk(0, 1));
        s.on(1).put(0);
    }),
    Scenario::new("last reference | walk, next", &[(Direct, again)], |s| {
        s.on(0).arm(0, 1);
        s.thread(0, |c| c.walk(0, 3));
        s.on(1).put(0);
    }),
    Scenario::new("last reference | cascade", &[(Direct, nothing)], |s| {
        s.on(0).arm(0, 5);
        s.thread(0, |c| c.walk(0, 4));
        s.on(1).put(0);
    }),
    Scenario::new("stop, last reference | walk", &[(Direct, nothing)], |s| {
        s.on(0).arm(0, 1);
        s.thread(0, |c| c.walk(0, 1));
        let c = s.on(1);
        c.stop(0);
        c.put(0);
    }),
    Scenario::new(
        "drain, last reference | walk, next",
        &[(Direct, again)],
        |s| {
            s.on(0).arm(0, 1);
            s.thread(0, |c| c.walk(0, 3));
            let c = s.on(1);
            c.drain(0);
            c.assert_quiet(0);
            c.put(0);
        },
    )
    .quick(4),
    Scenario::new("two owners let go | walk", &[(Direct, nothing)], |s| {
        let c = s.on(0);
        c.arm(0, 1);
        c.get(0);
        s.thread(0, |c| c.walk(0, 1));
        s.thread(1, |c| c.put(0));
        c.put(0);
    }),
    Scenario::new(
        "callback gives back the last reference | stop",
        &[(Direct, puts)],
        |s| {
            let c = s.on(0);
            c.arm(0, 1);
            c.get(0);
            s.thread(0, |c| c.walk(0, 1));
            let c = s.on(1);
            c.stop(0);
            c.put(0);
        },
    ),
    Scenario::new(
        "callback gives back a reference, returns next | last reference",
        &[(Direct, puts_and_returns_next)],
        |s| {
            let c = s.on(0);
            c.arm(0, 1);
            c.get(0);
            s.thread(0, |c| c.walk(0, 3));
            let c = s.on(1);
            c.put(0);
        },
    ),
    Scenario::new(
        "callback gives back the only reference, returns next",
        &[(Direct, puts_and_returns_next)],
        |s| {
            s.on(0).arm(0, 1);
            s.thread(0, |c| c.walk(0, 3));
        },
    ),
    Scenario::new(
        "callback gives back the last reference | its neighbour drained and freed",
        &[(Direct, puts), (Direct, nothing)],
        |s| {
            let c = s.on(0);
            c.arm(0, 1);
            c.arm(1, 1);
            s.thread(0, |c| c.walk(0, 1));
            let c = s.on(1);
            c.drain(1);
            c.assert_quiet(1);
            c.put(1);
        },
    ),
    Scenario::new(
        "last reference of one | walk of both in a bucket",
        &[(Direct, nothing), (Direct, nothing)],
        |s| {
            let c = s.on(0);
            c.arm(0, 1);
            c.arm(1, 1);
            s.thread(0, |c| c.walk(0, 1));
            s.on(1).put(0);
        },
    ),
    Scenario::new(
        "move, reference | last reference | walk",
        &[(Direct, nothing)],
        |s| {
            let c = s.on(0);
            c.arm(0, 2);
            c.get(0);
            s.thread(0, |c| c.walk(0, 2));
            s.thread(1, |c| {
                c.arm_on(0, 1, Some(1));
                c.put(0);
            });
            c.put(0);
        },
    )
    .quick(3)
    .long(4),
    Scenario::new(
        "sooner, reference | last reference | walk",
        &[(Direct, nothing)],
        |s| {
            let c = s.on(0);
            c.arm(0, 2);
            c.get(0);
            s.thread(0, |c| c.walk(0, 2));
            s.thread(1, |c| {
                c.arm(0, 1);
                c.put(0);
            });
            c.put(0);
        },
    )
    .quick(3)
    .long(4),
    Scenario::new(
        "callback gives back the last reference of one in its batch | stop",
        &[
            (Direct, |call| {
                let (c, other) = (call.cpu, 1 - call.entry);
                if c.runs(other) == 0 {
                    c.put(other);
                }
                None
            }),
            (Direct, nothing),
        ],
        |s| {
            let c = s.on(0);
            c.arm(1, 1);
            c.arm(0, 1);
            s.thread(0, |c| c.walk(0, 1));
            s.on(1).stop(0);
        },
    ),
    Scenario::new(
        "last reference | walk, worker, next",
        &[(Worker, again)],
        |s| {
            s.on(0).arm(0, 1);
            s.thread(0, |c| {
                c.walk(0, 1);
                c.work(1);
            });
            s.on(1).put(0);
        },
    ),
];
