// SPDX-License-Identifier: GPL-2.0

//! The callback returns when it wants to run next: what counts more than that.

#![forbid(unsafe_code)]

use crate::{
    machine::{Call, Dispatch::Direct},
    policy::life::Stop,
    program::Found,
    stage::{again, Scenario},
};

/// Its own stop comes before what it returns.
fn stops_itself(call: &mut Call<'_>) -> Option<u64> {
    let first = call.cpu.runs(call.entry) == 1;
    if first {
        call.cpu.arm(call.entry, 2);
        assert_eq!(call.cpu.stop(call.entry), Stop::Running);
    }
    first.then_some(3)
}

fn drains_itself(call: &mut Call<'_>) -> Option<u64> {
    let first = call.cpu.runs(call.entry) == 1;
    assert_eq!(call.cpu.drain(call.entry), Found::Own);
    first.then_some(3)
}

fn deactivates_again(call: &mut Call<'_>) -> Option<u64> {
    call.cpu.deactivate(call.entry);
    (call.cpu.runs(call.entry) == 1).then_some(3)
}

pub(super) static ALL: &[Scenario] = &[
    Scenario::new("next | stop, touch", &[(Direct, again)], |s| {
        s.on(0).arm(0, 1);
        s.thread(0, |c| c.walk(0, 1));
        let c = s.on(1);
        let answer = c.stop(0);
        if answer == Stop::Cancelled {
            c.touch(0);
        }
        s.join();
        // A stop that met the run, or the next one, was the end of it.
        let before = c.runs(0);
        c.walk(0, 9);
        assert!(
            answer == Stop::Idle || c.runs(0) == before,
            "{answer:?}, and it runs"
        );
    }),
    Scenario::new("next | stop, stop again", &[(Direct, again)], |s| {
        s.on(0).arm(0, 1);
        s.thread(0, |c| c.walk(0, 1));
        let c = s.on(1);
        c.stop(0);
        if c.stop(0) != Stop::Running {
            c.touch(0);
        }
    }),
    Scenario::new("next | arm on 1", &[(Direct, again)], |s| {
        s.on(0).arm(0, 1);
        s.thread(0, |c| c.walk(0, 1));
        s.on(1).arm(0, 7);
    }),
    Scenario::new("next | drain", &[(Direct, again)], |s| {
        s.on(0).arm(0, 1);
        s.thread(0, |c| c.walk(0, 3));
        let c = s.on(1);
        c.drain(0);
        c.assert_quiet(0);
    })
    .quick(4),
    Scenario::new("next | drain | arm", &[(Direct, again)], |s| {
        s.on(0).arm(0, 1);
        s.thread(0, |c| c.walk(0, 1));
        s.thread(0, |c| {
            c.drain(0);
        });
        s.on(1).arm(0, 4);
    })
    .quick(3)
    .long(4),
    Scenario::new("next | shutdown, spinning", &[(Direct, again)], |s| {
        s.on(0).arm(0, 1);
        s.thread(0, |c| c.walk(0, 3));
        let c = s.on(1);
        c.shutdown(0);
        c.assert_quiet(0);
    })
    .spinning()
    .quick(4),
    Scenario::new("next | deactivate", &[(Direct, again)], |s| {
        s.on(0).arm(0, 1);
        s.thread(0, |c| c.walk(0, 1));
        s.on(1).deactivate(0);
    }),
    Scenario::new("next | stop | arm on 1", &[(Direct, again)], |s| {
        s.on(0).arm(0, 1);
        s.thread(0, |c| c.walk(0, 1));
        s.thread(0, |c| {
            c.stop(0);
        });
        s.on(1).arm(0, 4);
    })
    .quick(3)
    .long(5),
    Scenario::new(
        "next, after its own stop | stop, arm",
        &[(Direct, stops_itself)],
        |s| {
            s.on(0).arm(0, 1);
            s.thread(0, |c| c.walk(0, 1));
            let c = s.on(1);
            c.stop(0);
            c.arm(0, 4);
        },
    )
    .quick(3),
    Scenario::new(
        "next, after it has deactivated | stop",
        &[(Direct, deactivates_again)],
        |s| {
            s.on(0).arm(0, 1);
            s.thread(0, |c| c.walk(0, 1));
            let c = s.on(1);
            let answer = c.stop(0);
            assert_ne!(answer, Stop::Idle, "there is always something to stop");
            s.join();
            let before = c.runs(0);
            c.walk(0, 9);
            assert_eq!(c.runs(0), before, "{answer:?}, and it runs");
        },
    ),
    Scenario::new(
        "next, after its own stop | stop",
        &[(Direct, stops_itself)],
        |s| {
            s.on(0).arm(0, 1);
            s.thread(0, |c| c.walk(0, 1));
            s.on(1).stop(0);
        },
    ),
    Scenario::new(
        "next, after its own drain | drain",
        &[(Direct, drains_itself)],
        |s| {
            s.on(0).arm(0, 1);
            s.thread(0, |c| c.walk(0, 1));
            let c = s.on(1);
            c.drain(0);
            c.assert_quiet(0);
        },
    )
    .quick(4),
];
