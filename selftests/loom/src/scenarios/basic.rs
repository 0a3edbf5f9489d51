// SPDX-License-Identifier: GPL-2.0

//! Arms and stops against the walk of one base.

#![forbid(unsafe_code)]

use crate::{
    machine::Dispatch::Direct,
    policy::life::{Arm, Stop},
    stage::{deactivates, nothing, rearm, Scenario},
};

pub(super) static ALL: &[Scenario] = &[
    Scenario::new("later | stop | walk", &[(Direct, nothing)], |s| {
        s.on(0).arm(0, 1);
        s.thread(0, |c| c.walk(0, 1));
        s.thread(0, |c| {
            c.stop(0);
        });
        s.on(1).arm(0, 2);
    })
    .quick(3),
    Scenario::new("sooner | stop | walk", &[(Direct, nothing)], |s| {
        s.on(0).arm(0, 5);
        s.thread(0, |c| c.walk(0, 5));
        s.thread(0, |c| {
            c.stop(0);
        });
        s.on(1).arm(0, 2);
    })
    .quick(3),
    Scenario::new("same granule | walk", &[(Direct, nothing)], |s| {
        s.on(0).arm(0, 1);
        s.thread(0, |c| c.walk(0, 2));
        s.on(0).arm(0, 1);
    }),
    Scenario::new("later | walk", &[(Direct, nothing)], |s| {
        s.on(0).arm(0, 1);
        s.thread(0, |c| c.walk(0, 2));
        s.on(1).arm(0, 2);
    }),
    Scenario::new(
        "stop, touch | walk, callback arms",
        &[(Direct, rearm)],
        |s| {
            s.on(0).arm(0, 1);
            s.thread(0, |c| c.walk(0, 1));
            let c = s.on(1);
            match c.stop(0) {
                Stop::Cancelled => c.touch(0),
                Stop::Running => (),
                Stop::Idle => assert!(c.runs(0) > 0, "armed before, and said Idle"),
            }
        },
    ),
    Scenario::new(
        "stop, touch | walk, callback deactivates",
        &[(Direct, deactivates)],
        |s| {
            s.on(0).arm(0, 1);
            s.thread(0, |c| c.walk(0, 1));
            let c = s.on(1);
            if c.stop(0) != Stop::Running {
                c.touch(0);
            }
        },
    ),
    Scenario::new("cascade | stop | later", &[(Direct, nothing)], |s| {
        s.on(0).arm(0, 5);
        s.thread(0, |c| c.walk(0, 4));
        s.thread(0, |c| {
            c.stop(0);
        });
        s.on(1).arm(0, 7);
    }),
    Scenario::new("cascade | stop | sooner", &[(Direct, nothing)], |s| {
        s.on(0).arm(0, 7);
        s.thread(0, |c| c.walk(0, 4));
        s.thread(0, |c| {
            c.stop(0);
        });
        s.on(1).arm(0, 3);
    })
    .quick(3),
    Scenario::new(
        "tombstone walked | first arm on 1 | stop",
        &[(Direct, nothing)],
        |s| {
            let c = s.on(0);
            c.arm(0, 1);
            c.stop(0);
            s.thread(0, |c| c.walk(0, 1));
            s.thread(1, |c| {
                c.arm(0, 3);
            });
            c.stop(0);
        },
    ),
    Scenario::new("stop | stop | later", &[(Direct, nothing)], |s| {
        s.on(0).arm(0, 1);
        for _ in 0..2 {
            s.thread(0, |c| {
                c.stop(0);
            });
        }
        s.on(1).arm(0, 2);
    }),
    Scenario::new("sooner | sooner", &[(Direct, nothing)], |s| {
        s.on(0).arm(0, 5);
        s.thread(1, |c| {
            c.arm(0, 3);
        });
        s.on(1).arm(0, 2);
    }),
    Scenario::new(
        "stop says Cancelled | sooner | sooner",
        &[(Direct, nothing)],
        |s| {
            s.on(0).arm(0, 5);
            s.thread(0, |c| assert_eq!(c.stop(0), Stop::Cancelled));
            s.thread(0, |c| {
                c.arm(0, 3);
            });
            s.on(1).arm(0, 2);
        },
    )
    .quick(3),
    Scenario::new(
        "first arm on 0 | first arm on 1",
        &[(Direct, nothing)],
        |s| {
            s.thread(0, |c| {
                c.arm(0, 1);
            });
            s.on(1).arm(0, 2);
        },
    ),
    Scenario::new(
        "first arm, walk | first arm on 1, walk 1 | stop",
        &[(Direct, nothing)],
        |s| {
            s.thread(0, |c| {
                c.arm(0, 1);
                c.walk(0, 1);
            });
            s.thread(0, |c| {
                c.stop(0);
            });
            let c = s.on(1);
            c.arm(0, 2);
            c.walk(1, 2);
        },
    )
    .quick(2)
    .long(4),
    Scenario::new(
        "walk | arm on 1, walk 1 | stop",
        &[(Direct, nothing)],
        |s| {
            s.on(0).arm(0, 1);
            s.thread(0, |c| c.walk(0, 1));
            s.thread(0, |c| {
                c.stop(0);
            });
            let c = s.on(1);
            c.arm(0, 2);
            c.walk(1, 2);
        },
    )
    .quick(3),
    Scenario::new(
        "walk, callback arms | arm on 1, walk 1 | stop",
        &[(Direct, rearm)],
        |s| {
            s.on(0).arm(0, 1);
            s.thread(0, |c| c.walk(0, 1));
            s.thread(0, |c| {
                c.stop(0);
            });
            let c = s.on(1);
            c.arm(0, 2);
            c.walk(1, 2);
        },
    )
    .quick(3)
    .long(5),
    Scenario::new(
        "two in a bucket: walk | one drained and freed | the other later",
        &[(Direct, nothing), (Direct, nothing)],
        |s| {
            let c = s.on(0);
            c.arm(0, 1);
            c.arm(1, 1);
            s.thread(0, |c| c.walk(0, 1));
            s.thread(1, |c| {
                c.arm(0, 2);
            });
            c.drain(1);
            c.assert_quiet(1);
            c.put(1);
        },
    )
    .quick(3)
    .long(5),
    Scenario::new(
        "callback arms, stops, arms | arm on 1",
        &[(Direct, |call| {
            let (c, entry) = (call.cpu, call.entry);
            if c.runs(entry) == 1 {
                c.arm(entry, 2);
                // Whatever another CPU does.
                assert_eq!(c.stop(entry), Stop::Running);
                c.arm(entry, 2);
            }
            None
        })],
        |s| {
            s.on(0).arm(0, 1);
            s.thread(0, |c| c.walk(0, 1));
            s.on(1).arm(0, 4);
        },
    )
    .quick(3),
    Scenario::new(
        "callback stops, drains another of its batch | that one later",
        &[
            (Direct, |call| {
                call.cpu.stop(1);
                call.cpu.drain(1);
                None
            }),
            (Direct, nothing),
        ],
        |s| {
            let c = s.on(0);
            c.arm(1, 1);
            c.arm(0, 1);
            s.thread(0, |c| c.walk(0, 1));
            s.on(1).arm(1, 2);
        },
    ),
    Scenario::new(
        "walk ends in the middle of a bucket, goes on | stop | later",
        &[(Direct, nothing), (Direct, nothing), (Direct, nothing)],
        |s| {
            let c = s.on(0);
            (0..3).for_each(|entry| {
                c.arm(entry, 1);
            });
            s.thread(0, |c| {
                c.walk_some(0, 1, 1);
                c.walk(0, 1);
            });
            s.thread(1, |c| {
                c.stop(0);
            });
            s.on(1).arm(0, 2);
        },
    )
    .quick(3)
    .long(5),
    Scenario::new(
        "deactivate | walk, callback arms",
        &[(Direct, rearm)],
        |s| {
            s.on(0).arm(0, 1);
            s.thread(0, |c| c.walk(0, 1));
            s.on(1).deactivate(0);
        },
    ),
    Scenario::new("deactivate | stop | later", &[(Direct, nothing)], |s| {
        s.on(0).arm(0, 1);
        s.thread(0, |c| c.deactivate(0));
        s.thread(0, |c| {
            c.stop(0);
        });
        assert!(!matches!(s.on(1).arm(0, 2), Arm::Refused(_)));
    }),
    Scenario::new(
        "walk twice | stop, arm on 1, walk 1 | drain, arm",
        &[(Direct, nothing)],
        |s| {
            s.on(0).arm(0, 1);
            s.thread(0, |c| {
                c.walk(0, 1);
                c.walk(0, 4);
            });
            s.thread(1, |c| {
                c.stop(0);
                c.arm(0, 2);
                c.walk(1, 2);
            });
            let c = s.on(0);
            c.drain(0);
            c.arm(0, 3);
        },
    )
    .quick(2)
    .long(3),
    Scenario::new(
        "walk, callback arms | walk 1 | stop | sooner on 1",
        &[(Direct, rearm)],
        |s| {
            s.on(0).arm(0, 3);
            s.thread(0, |c| c.walk(0, 3));
            s.thread(1, |c| c.walk(1, 2));
            s.thread(0, |c| {
                c.stop(0);
            });
            s.on(1).arm_on(0, 2, Some(1));
        },
    )
    .quick(2)
    .long(3),
];
