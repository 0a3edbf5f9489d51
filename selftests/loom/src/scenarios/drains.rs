// SPDX-License-Identifier: GPL-2.0

//! Drain and shutdown, which leave nothing behind.

#![forbid(unsafe_code)]

use crate::{
    machine::{Call, Dispatch::Direct},
    policy::life::{Arm, Refusal, Stop},
    program::Found,
    stage::{deactivates, nothing, rearm, Scenario, Stage},
};

const SHUT: Arm = Arm::Refused(Refusal::Shutdown);

fn drain_against_walk(s: &mut Stage) {
    s.on(0).arm(0, 1);
    s.thread(0, |c| c.walk(0, 3));
    let c = s.on(1);
    c.drain(0);
    c.assert_quiet(0);
}

fn drains_itself(call: &mut Call<'_>) -> Option<u64> {
    call.cpu.arm(call.entry, 2);
    assert_eq!(call.cpu.drain(call.entry), Found::Own);
    None
}

fn shuts_itself(call: &mut Call<'_>) -> Option<u64> {
    assert_eq!(call.cpu.shutdown(call.entry), Found::Own);
    assert_eq!(call.cpu.arm(call.entry, 2), SHUT);
    Some(3)
}

fn reports_itself(call: &mut Call<'_>) -> Option<u64> {
    assert_eq!(call.cpu.report(call.entry), Found::Wait);
    assert_eq!(call.cpu.arm(call.entry, 2), Arm::Refused(Refusal::Draining));
    Some(3)
}

pub(super) static ALL: &[Scenario] = &[
    Scenario::new(
        "drain | walk, callback arms",
        &[(Direct, rearm)],
        drain_against_walk,
    )
    .quick(4),
    Scenario::new(
        "drain, spinning | walk, callback arms",
        &[(Direct, rearm)],
        drain_against_walk,
    )
    .spinning()
    .quick(4),
    Scenario::new(
        "drain | drain | walk, callback arms",
        &[(Direct, rearm)],
        |s| {
            s.on(0).arm(0, 1);
            s.thread(0, |c| c.walk(0, 1));
            s.thread(0, |c| {
                c.drain(0);
                c.assert_quiet(0);
            });
            let c = s.on(1);
            c.drain(0);
            s.join();
            c.assert_quiet(0);
        },
    )
    .quick(3)
    .long(5),
    Scenario::new("drain | sooner | walk", &[(Direct, nothing)], |s| {
        s.on(0).arm(0, 5);
        s.thread(0, |c| c.walk(0, 5));
        s.thread(0, |c| {
            c.drain(0);
        });
        s.on(1).arm(0, 2);
    })
    .quick(3)
    .long(5),
    Scenario::new("drain | sooner | sooner on 1", &[(Direct, nothing)], |s| {
        s.on(0).arm(0, 5);
        s.thread(0, |c| {
            c.arm(0, 3);
        });
        s.thread(0, |c| {
            c.drain(0);
        });
        s.on(1).arm_on(0, 2, Some(1));
    })
    .quick(3)
    .long(4),
    Scenario::new("drain | first arm on 1 | walk", &[(Direct, nothing)], |s| {
        s.on(0).arm(0, 1);
        s.thread(0, |c| c.walk(0, 1));
        s.thread(1, |c| {
            c.arm(0, 3);
        });
        s.on(1).drain(0);
    })
    .quick(3)
    .long(5),
    Scenario::new("drain of a tombstone | later", &[(Direct, nothing)], |s| {
        let c = s.on(0);
        c.arm(0, 1);
        c.stop(0);
        s.thread(0, |c| {
            c.drain(0);
        });
        s.on(1).arm(0, 2);
    }),
    Scenario::new("drain | walk", &[(Direct, nothing)], drain_against_walk),
    Scenario::new("drain, first arm on 1 | walk", &[(Direct, nothing)], |s| {
        s.on(0).arm(0, 1);
        s.thread(0, |c| c.walk(0, 1));
        let c = s.on(1);
        c.drain(0);
        c.arm(0, 3);
    }),
    Scenario::new(
        "drain | walk, callback deactivates",
        &[(Direct, deactivates)],
        drain_against_walk,
    )
    .quick(4),
    Scenario::new("drain | first arm, stop, arm", &[(Direct, nothing)], |s| {
        s.thread(0, |c| {
            c.drain(0);
        });
        let c = s.on(1);
        c.arm(0, 2);
        c.stop(0);
        c.arm(0, 3);
    }),
    Scenario::new("drain | stop", &[(Direct, nothing)], |s| {
        let c = s.on(0);
        c.arm(0, 1);
        s.thread(0, |c| {
            c.drain(0);
            c.assert_quiet(0);
        });
        c.stop(0);
    }),
    Scenario::new(
        "shutdown | arm on 1 | walk, callback arms",
        &[(Direct, rearm)],
        |s| {
            s.on(0).arm(0, 1);
            s.thread(0, |c| c.walk(0, 1));
            s.thread(1, |c| {
                c.arm(0, 3);
            });
            let c = s.on(1);
            c.shutdown(0);
            c.assert_quiet(0);
            assert_eq!(c.arm(0, 9), SHUT);
        },
    )
    .quick(3)
    .long(5),
    Scenario::new("shutdown | sooner | later", &[(Direct, nothing)], |s| {
        s.on(0).arm(0, 5);
        s.thread(1, |c| {
            c.arm(0, 2);
        });
        s.thread(0, |c| {
            c.arm(0, 7);
        });
        let c = s.on(0);
        c.shutdown(0);
        c.assert_quiet(0);
    })
    .quick(3)
    .long(5),
    Scenario::new(
        "shutdown | first arm | first arm on 1",
        &[(Direct, nothing)],
        |s| {
            s.thread(0, |c| {
                c.arm(0, 1);
            });
            s.thread(1, |c| {
                c.arm(0, 2);
            });
            let c = s.on(0);
            c.shutdown(0);
            c.assert_quiet(0);
        },
    )
    .quick(3)
    .long(5),
    Scenario::new(
        "shutdown | shutdown | walk, callback arms",
        &[(Direct, rearm)],
        |s| {
            s.on(0).arm(0, 1);
            s.thread(0, |c| c.walk(0, 2));
            s.thread(0, |c| {
                c.shutdown(0);
                c.assert_quiet(0);
            });
            let c = s.on(1);
            c.shutdown(0);
            s.join();
            c.assert_quiet(0);
        },
    )
    .quick(3)
    .long(4),
    Scenario::new(
        "report | drain | walk, callback arms",
        &[(Direct, rearm)],
        |s| {
            s.on(0).arm(0, 1);
            s.thread(0, |c| c.walk(0, 2));
            s.thread(0, |c| {
                c.report(0);
            });
            let c = s.on(1);
            c.drain(0);
        },
    )
    .quick(3)
    .long(4),
    Scenario::new(
        "report | report, armed again | walk",
        &[(Direct, nothing)],
        |s| {
            s.on(0).arm(0, 1);
            s.thread(0, |c| c.walk(0, 2));
            s.thread(0, |c| {
                c.report(0);
            });
            let c = s.on(1);
            c.report(0);
            c.arm(0, 2);
            s.join();
            c.walk(0, 3);
            c.walk(1, 3);
        },
    )
    .quick(3)
    .long(4),
    Scenario::new(
        "callback has its end told, returns next | arm on 1",
        &[(Direct, reports_itself)],
        |s| {
            s.on(0).arm(0, 1);
            s.thread(0, |c| c.walk(0, 1));
            s.on(1).arm(0, 3);
        },
    ),
    Scenario::new(
        "callback drains itself | drain",
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
    Scenario::new(
        "callback shuts itself down, returns next | arm on 1",
        &[(Direct, shuts_itself)],
        |s| {
            s.on(0).arm(0, 1);
            s.thread(0, |c| c.walk(0, 1));
            s.on(1).arm(0, 3);
        },
    ),
    Scenario::new("drained, armed again: it runs", &[(Direct, nothing)], |s| {
        s.on(0).arm(0, 1);
        s.thread(0, |c| c.walk(0, 1));
        let c = s.on(1);
        c.drain(0);
        let before = c.runs(0);
        assert_eq!(c.arm(0, 4), Arm::New);
        assert_eq!(c.stop(0), Stop::Cancelled);
        assert_eq!(c.arm(0, 4), Arm::New);
        s.join();
        assert_eq!(c.runs(0), before);
        c.walk(0, 4);
        c.walk(1, 4);
        assert_eq!(c.runs(0), before + 1);
    })
    .quick(4),
    Scenario::new(
        "walk, callback arms | shutdown | drain | sooner",
        &[(Direct, rearm)],
        |s| {
            s.on(0).arm(0, 3);
            s.thread(0, |c| c.walk(0, 3));
            s.thread(0, |c| {
                c.shutdown(0);
            });
            s.thread(1, |c| {
                c.drain(0);
            });
            s.on(1).arm(0, 2);
        },
    )
    .quick(2)
    .long(3),
];
