// SPDX-License-Identifier: GPL-2.0

//! Callbacks under the client's lock: with it, stop is exact.

#![forbid(unsafe_code)]

use crate::{
    machine::{
        Call,
        Dispatch::{Lock, LockFirst, TryLock},
    },
    policy::life::Stop,
    stage::{nothing, Scenario, Stage},
};

/// What the lock protects is the callback's.
fn guarded(call: &mut Call<'_>) -> Option<u64> {
    assert!(call.client.is_some());
    call.cpu.world.guarded.write();
    None
}

fn guarded_again(call: &mut Call<'_>) -> Option<u64> {
    call.cpu.world.guarded.write();
    (call.cpu.runs(call.entry) == 1).then_some(3)
}

/// Gives the lock back itself, and goes on.
fn returns_unlocked(call: &mut Call<'_>) -> Option<u64> {
    call.cpu.world.guarded.write();
    call.client = None;
    (call.cpu.runs(call.entry) == 1).then_some(3)
}

/// `unless`: what cannot be while the lock is held.
fn stop_under_lock(s: &mut Stage, unless: Option<Stop>) {
    s.on(0).arm(0, 1);
    s.thread(0, |c| c.walk(0, 1));
    let c = s.on(1);
    let lock = c.client();
    let before = c.runs(0);
    let answer = c.stop(0);
    assert_ne!(Some(answer), unless, "exact under the lock");
    if answer == Stop::Cancelled {
        assert_eq!(before, c.runs(0));
        c.touch(0);
        drop(lock);
        s.join();
        assert_eq!(before, c.runs(0), "cancelled under the lock, and it runs");
    }
}

pub(super) static ALL: &[Scenario] = &[
    Scenario::new("lock: stop under it | walk", &[(Lock, guarded)], |s| {
        stop_under_lock(s, Some(Stop::Running));
    }),
    Scenario::new(
        "lock: stop under it | walk, next",
        &[(Lock, guarded_again)],
        |s| {
            stop_under_lock(s, Some(Stop::Running));
        },
    ),
    Scenario::new(
        "lock, given back first: stop under it | walk",
        &[(LockFirst, guarded)],
        |s| {
            stop_under_lock(s, None);
        },
    ),
    Scenario::new(
        "lock: stop under it | walk, returns unlocked",
        &[(Lock, returns_unlocked)],
        |s| {
            stop_under_lock(s, None);
        },
    ),
    Scenario::new("lock: later under it | walk", &[(Lock, guarded)], |s| {
        s.on(0).arm(0, 1);
        s.thread(0, |c| c.walk(0, 1));
        let c = s.on(1);
        let lock = c.client();
        let before = c.runs(0);
        c.arm(0, 3);
        drop(lock);
        s.join();
        // Not for the old deadline, whether the expiry was waiting or not.
        assert_eq!(
            c.runs(0),
            before,
            "re-armed under the lock, and it runs at once"
        );
        c.walk(0, 3);
        c.walk(1, 3);
        assert_eq!(c.runs(0), before + 1);
    }),
    Scenario::new(
        "lock: later, stop under it | walk",
        &[(Lock, guarded)],
        |s| {
            s.on(0).arm(0, 1);
            s.thread(0, |c| c.walk(0, 1));
            let c = s.on(1);
            let lock = c.client();
            c.arm(0, 3);
            assert_eq!(c.stop(0), Stop::Cancelled);
            let before = c.runs(0);
            drop(lock);
            s.join();
            assert_eq!(c.runs(0), before, "stopped under the lock, and it runs");
        },
    ),
    Scenario::new("lock: stop, arm under it | walk", &[(Lock, guarded)], |s| {
        s.on(0).arm(0, 1);
        s.thread(0, |c| c.walk(0, 1));
        let c = s.on(1);
        let lock = c.client();
        c.stop(0);
        c.arm(0, 3);
        let before = c.runs(0);
        drop(lock);
        s.join();
        c.walk(0, 3);
        c.walk(1, 3);
        assert_eq!(c.runs(0), before + 1);
    }),
    Scenario::new(
        "lock: drain without it | walk, next",
        &[(Lock, guarded_again)],
        |s| {
            s.on(0).arm(0, 1);
            s.thread(0, |c| c.walk(0, 1));
            let c = s.on(1);
            c.drain(0);
            c.assert_quiet(0);
        },
    )
    .quick(4),
    Scenario::new("lock: shutdown | held | walk", &[(Lock, guarded)], |s| {
        s.on(0).arm(0, 1);
        s.thread(0, |c| c.walk(0, 1));
        s.thread(0, |c| {
            let _lock = c.client();
            c.deactivate(0);
        });
        let c = s.on(1);
        c.shutdown(0);
        c.assert_quiet(0);
    })
    .quick(3),
    Scenario::new(
        "lock: stop under it | later under it | walk",
        &[(Lock, guarded_again)],
        |s| {
            s.on(0).arm(0, 1);
            s.thread(0, |c| c.walk(0, 1));
            s.thread(0, |c| {
                let _lock = c.client();
                assert_ne!(c.stop(0), Stop::Running);
            });
            let c = s.on(1);
            let _lock = c.client();
            c.arm(0, 3);
        },
    )
    .quick(3)
    .long(5),
    Scenario::new(
        "lock: stop without it | walk, returns unlocked",
        &[(Lock, returns_unlocked)],
        |s| {
            s.on(0).arm(0, 1);
            s.thread(0, |c| c.walk(0, 1));
            let c = s.on(1);
            if c.stop(0) == Stop::Cancelled {
                c.touch(0);
            }
        },
    ),
    Scenario::new(
        "lock: drain | walk, returns unlocked",
        &[(Lock, returns_unlocked)],
        |s| {
            s.on(0).arm(0, 1);
            s.thread(0, |c| c.walk(0, 1));
            let c = s.on(1);
            c.drain(0);
            c.assert_quiet(0);
        },
    )
    .quick(4),
    Scenario::new("trylock: held | walk", &[(TryLock, guarded)], |s| {
        s.on(0).arm(0, 1);
        s.thread(0, |c| c.walk(0, 1));
        let c = s.on(1);
        let lock = c.client();
        c.deactivate(0);
        drop(lock);
        s.join();
        c.walk(0, 2);
        assert_eq!(c.runs(0), 1, "put back, and lost");
    }),
    Scenario::new(
        "trylock: stop under it | walk",
        &[(TryLock, guarded)],
        |s| {
            stop_under_lock(s, Some(Stop::Running));
        },
    ),
    Scenario::new(
        "trylock: later under it | drain | walk",
        &[(TryLock, nothing)],
        |s| {
            s.on(0).arm(0, 1);
            s.thread(0, |c| c.walk(0, 1));
            s.thread(0, |c| {
                let _lock = c.client();
                c.arm(0, 3);
            });
            s.on(1).drain(0);
        },
    )
    .quick(3)
    .long(4),
    Scenario::new(
        "lock: arm on base 1 under it | walk",
        &[(Lock, guarded)],
        |s| {
            s.on(0).arm(0, 1);
            s.thread(0, |c| c.walk(0, 1));
            let c = s.on(1);
            let lock = c.client();
            c.arm_on(0, 3, Some(1));
            drop(lock);
            s.join();
            assert_eq!(c.entry(0).spec.borrow().word.base(), 1);
            let before = c.runs(0);
            c.walk(1, 3);
            assert_eq!(c.runs(0), before + 1);
        },
    ),
];
