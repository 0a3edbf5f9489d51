// SPDX-License-Identifier: GPL-2.0

//! Arms that name a base, moves between bases, and the base of a CPU that has gone.

#![forbid(unsafe_code)]

use crate::{
    machine::{Cpu, Dispatch::Direct},
    policy::{life::Stop, word::Place},
    stage::{again, nothing, rearm, Scenario},
};

fn assert_on(c: &Cpu, base: usize) {
    let word = c.entry(0).spec.borrow().word;
    assert!(word.is_armed(), "nothing is owed");
    assert_eq!((word.place(), word.base()), (Place::Linked, base));
}

pub(super) static ALL: &[Scenario] = &[
    Scenario::new(
        "walk | arm on base 1: the next run is there",
        &[(Direct, nothing)],
        |s| {
            s.on(0).arm(0, 1);
            s.thread(0, |c| c.walk(0, 1));
            let c = s.on(1);
            c.arm_on(0, 4, Some(1));
            s.join();
            assert_on(&c, 1);
        },
    ),
    Scenario::new(
        "walk, next | arm on base 1: the next run is there",
        &[(Direct, again)],
        |s| {
            s.on(0).arm(0, 1);
            s.thread(0, |c| c.walk(0, 1));
            let c = s.on(1);
            c.arm_on(0, 4, Some(1));
            s.join();
            let word = c.entry(0).spec.borrow().word;
            // Not armed while it ran, it was moved before: then the callback has yet to run.
            assert_eq!((word.place(), word.base()), (Place::Linked, 1));
        },
    ),
    Scenario::new(
        "walk | arm from 1 without a base",
        &[(Direct, nothing)],
        |s| {
            s.on(0).arm(0, 1);
            s.thread(0, |c| c.walk(0, 4));
            s.on(1).arm(0, 4);
        },
    ),
    Scenario::new("walk | arm on base 1, stop", &[(Direct, nothing)], |s| {
        s.on(0).arm(0, 1);
        s.thread(0, |c| c.walk(0, 1));
        let c = s.on(1);
        c.arm_on(0, 4, Some(1));
        let answer = c.stop(0);
        assert_ne!(answer, Stop::Idle);
        if answer == Stop::Cancelled {
            c.touch(0);
        }
        s.join();
        let before = c.runs(0);
        c.walk(0, 9);
        c.walk(1, 9);
        assert_eq!(c.runs(0), before, "stopped, and it runs");
    }),
    Scenario::new(
        "walk | arm on base 1, arm on base 0",
        &[(Direct, nothing)],
        |s| {
            s.on(0).arm(0, 1);
            s.thread(0, |c| c.walk(0, 1));
            let c = s.on(1);
            c.arm_on(0, 4, Some(1));
            c.arm_on(0, 6, Some(0));
            s.join();
            assert_on(&c, 0);
        },
    )
    .quick(3)
    .long(5),
    Scenario::new("walk | arm on base 1, later", &[(Direct, nothing)], |s| {
        s.on(0).arm(0, 1);
        s.thread(0, |c| c.walk(0, 1));
        let c = s.on(1);
        c.arm_on(0, 4, Some(1));
        c.arm(0, 6);
        s.join();
        assert_on(&c, 1);
    })
    .quick(3)
    .long(5),
    Scenario::new(
        "walk | arm on base 1, arm: both for now",
        &[(Direct, nothing)],
        |s| {
            s.on(0).arm(0, 1);
            s.thread(0, |c| c.walk(0, 1));
            let c = s.on(1);
            c.arm_on(0, 1, Some(1));
            c.arm(0, 1);
        },
    )
    .quick(3)
    .long(5),
    Scenario::new("move | stop says Cancelled", &[(Direct, nothing)], |s| {
        s.on(0).arm(0, 5);
        s.thread(0, |c| {
            assert_eq!(c.stop(0), Stop::Cancelled);
        });
        s.on(1).arm_on(0, 3, Some(1));
    }),
    Scenario::new("move | drain", &[(Direct, nothing)], |s| {
        s.on(0).arm(0, 5);
        s.thread(0, |c| {
            c.drain(0);
        });
        s.on(1).arm_on(0, 3, Some(1));
    }),
    Scenario::new("move | shutdown", &[(Direct, nothing)], |s| {
        s.on(0).arm(0, 5);
        s.thread(0, |c| {
            c.shutdown(0);
            c.assert_quiet(0);
        });
        s.on(1).arm_on(0, 3, Some(1));
    }),
    Scenario::new("move | deactivate", &[(Direct, nothing)], |s| {
        s.on(0).arm(0, 5);
        s.thread(0, |c| c.deactivate(0));
        s.on(1).arm_on(0, 3, Some(1));
    }),
    Scenario::new("move | later", &[(Direct, nothing)], |s| {
        s.on(0).arm(0, 5);
        s.thread(0, |c| {
            c.arm(0, 7);
        });
        let c = s.on(1);
        c.arm_on(0, 3, Some(1));
        s.join();
        assert_on(&c, 1);
    }),
    Scenario::new("move | move elsewhere", &[(Direct, nothing)], |s| {
        s.on(1).arm(0, 5);
        s.thread(0, |c| {
            c.arm_on(0, 6, Some(0));
        });
        s.on(1).arm_on(0, 3, Some(1));
    })
    .quick(3)
    .long(5),
    Scenario::new("move | walk", &[(Direct, nothing)], |s| {
        s.on(0).arm(0, 1);
        s.thread(0, |c| c.walk(0, 1));
        s.on(1).arm_on(0, 1, Some(1));
    }),
    Scenario::new("move, walk 1 | stop | walk", &[(Direct, nothing)], |s| {
        s.on(0).arm(0, 5);
        s.thread(0, |c| c.walk(0, 5));
        s.thread(0, |c| {
            c.stop(0);
        });
        let c = s.on(1);
        c.arm_on(0, 2, Some(1));
        c.walk(1, 2);
    })
    .quick(3)
    .long(5),
    Scenario::new("move, walk 1 | drain | walk", &[(Direct, nothing)], |s| {
        s.on(0).arm(0, 5);
        s.thread(0, |c| c.walk(0, 5));
        s.thread(0, |c| {
            c.drain(0);
        });
        let c = s.on(1);
        c.arm_on(0, 2, Some(1));
        c.walk(1, 2);
    })
    .quick(3)
    .long(3),
    Scenario::new("move | walk 1 | later", &[(Direct, nothing)], |s| {
        s.on(0).arm(0, 5);
        s.thread(1, |c| c.walk(1, 3));
        s.thread(0, |c| {
            c.arm(0, 7);
        });
        s.on(1).arm_on(0, 3, Some(1));
    })
    .quick(3)
    .long(5),
    Scenario::new(
        "walk, callback arms | move from 0 to 1, walk 1",
        &[(Direct, rearm)],
        |s| {
            s.on(0).arm(0, 1);
            s.thread(0, |c| c.walk(0, 1));
            let c = s.on(1);
            c.arm_on(0, 2, Some(1));
            c.walk(1, 2);
        },
    )
    .quick(3)
    .long(5),
    Scenario::new(
        "base 0 walked on 1 | stop | later",
        &[(Direct, nothing)],
        |s| {
            s.on(0).arm(0, 1);
            s.thread(1, |c| c.walk(0, 1));
            s.thread(1, |c| {
                c.stop(0);
            });
            s.on(1).arm(0, 2);
        },
    )
    .quick(3),
    Scenario::new(
        "base 0 walked on 1 | sooner | stop",
        &[(Direct, nothing)],
        |s| {
            s.on(0).arm(0, 5);
            s.thread(1, |c| c.walk(0, 5));
            s.thread(1, |c| {
                c.stop(0);
            });
            s.on(1).arm(0, 2);
        },
    )
    .quick(3),
    Scenario::new(
        "base 0 walked on 1, next | drain",
        &[(Direct, again)],
        |s| {
            s.on(0).arm(0, 1);
            s.thread(1, |c| c.walk(0, 3));
            let c = s.on(1);
            c.drain(0);
            c.assert_quiet(0);
        },
    )
    .quick(4),
    Scenario::new(
        "base 0 walked on 1 | later, sooner | drain",
        &[(Direct, nothing)],
        |s| {
            s.on(0).arm(0, 5);
            s.thread(1, |c| c.walk(0, 5));
            s.thread(1, |c| {
                c.arm(0, 7);
                c.arm(0, 3);
            });
            s.on(1).drain(0);
        },
    )
    .quick(2)
    .long(3),
    Scenario::new(
        "base 0 walked on 1 | later, shutdown, freed | sooner neighbour",
        &[(Direct, nothing), (Direct, nothing)],
        |s| {
            let c = s.on(1);
            s.on(0).arm(0, 5);
            s.on(0).arm(1, 5);
            s.thread(1, |c| c.walk(0, 5));
            s.thread(1, |c| {
                c.arm(1, 2);
            });
            c.arm(0, 6);
            c.shutdown(0);
            c.assert_quiet(0);
            c.put(0);
        },
    )
    .quick(2)
    .long(3),
    Scenario::new(
        "base 0 walked on 1 | move to 1, walk 1",
        &[(Direct, again)],
        |s| {
            s.on(0).arm(0, 1);
            s.thread(1, |c| c.walk(0, 1));
            let c = s.on(1);
            c.arm_on(0, 2, Some(1));
            c.walk(1, 2);
        },
    )
    .quick(3)
    .long(5),
];
