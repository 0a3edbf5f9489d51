// SPDX-License-Identifier: GPL-2.0

//! ddi_periodic_add(9F) and ddi_periodic_delete(9F).

use crate::{
    harness::{check, in_time, Case, Verdict},
    subject::{sleep_ms, sleep_until},
};
use softclock::{
    new_hard_lock,
    periodic::ddi::{Deleted, Request, Table},
    prelude::*,
};

pub(crate) const CASES: &[&[Case]] = &[&[
    Case {
        name: "periodic-1 level 0, 10 ms: 100 calls in a second, in a thread that may sleep",
        run: level_0,
    },
    Case {
        name: "periodic-2 levels 1 to 10: each is called, where sleeping is not allowed",
        run: levels_1_to_10,
    },
    Case {
        name: "periodic-3 other levels are EINVAL",
        run: bad_levels,
    },
    Case {
        name: "periodic-4 an interval of zero or less is EINVAL",
        run: bad_intervals,
    },
    Case {
        name: "periodic-5 an interval of 1 ms is made 10 ms, and of a native table it is 1 ms",
        run: short_interval,
    },
    Case {
        name: "periodic-16 a second delete finds nothing, nor does one of NULL or of another table",
        run: stale,
    },
    Case {
        name: "periodic-17 two threads that delete one request both return after the call",
        run: two_deleters,
    },
    Case {
        name: "periodic-18 a function that deletes its own request is told, and not called again",
        run: delete_own,
    },
    Case {
        name: "periodic-21 a stale id does not hit the next request in its place",
        run: recycled,
    },
    Case {
        name: "periodic-22 two thousand requests are all called, and all deleted",
        run: two_thousand,
    },
    Case {
        name: "periodic-24 the argument is the same in each call",
        run: argument,
    },
    Case {
        name: "dropping a table ends what is left in it",
        run: dropped_table,
    },
]];

const MS: i64 = 1_000_000;

/// What the functions are called with.
#[pin_data]
struct State {
    calls: Atomic<u64>,
    ended: Atomic<u64>,
    could_sleep: Atomic<u64>,
    entered: Atomic<bool>,
    release: Atomic<bool>,
    /// The request that calls with this.
    #[pin]
    own: HardLock<Option<(Arc<Table>, Request)>>,
    /// What its delete answered, in the function.
    answer: Atomic<i32>,
}

impl State {
    fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                calls: Atomic::new(0),
                ended: Atomic::new(0),
                could_sleep: Atomic::new(0),
                entered: Atomic::new(false),
                release: Atomic::new(false),
                own <- new_hard_lock!(None),
                answer: Atomic::new(1),
            }),
            GFP_KERNEL,
        )
    }

    fn calls(&self) -> u64 {
        self.calls.load(Acquire)
    }
}

fn count(state: &State) {
    if Task::new().is_ok() {
        state.could_sleep.fetch_add(1, Relaxed);
    }
    state.calls.fetch_add(1, Release);
}

fn stay(state: &State) {
    count(state);
    state.entered.store(true, Release);
    sleep_until(5_000, || state.release.load(Acquire));
    state.ended.fetch_add(1, Release);
}

fn delete_itself(state: &State) {
    count(state);
    let own = state.own.lock().clone();
    if let Some((table, id)) = own {
        let answer = table.ddi_periodic_delete(id);
        state
            .answer
            .store(answer.map_or_else(|error| error.to_errno(), |_| 0), Release);
    }
}

fn table() -> Result<Table> {
    Table::new(softclock::owner!(), c"ddi")
}

fn refused<T>(result: Result<T>, error: Error) -> bool {
    result.is_err_and(|got| got == error)
}

fn level_0(_: &Task) -> Verdict {
    let (table, state) = (table()?, State::new()?);
    let start = softclock::now();
    let id = table.ddi_periodic_add(count, state.clone(), 10 * MS, 0)?;
    sleep_ms(1_000);
    check!(table.ddi_periodic_delete(id)? == Deleted::Deleted);
    let (called, span) = (state.calls(), softclock::now() - start);
    let passed = (span.as_nanos() / (10 * MS)) as u64;
    // A point that a busy machine is late for is missed, and not made up for.
    check!(called <= passed + 1);
    check!(in_time(called >= passed / 2));
    check!(state.could_sleep.load(Acquire) == called);
    sleep_ms(30);
    check!(state.calls() == called);
    Ok(())
}

fn levels_1_to_10(_: &Task) -> Verdict {
    let table = table()?;
    let mut all = KVec::new();
    for level in 1..=10 {
        let state = State::new()?;
        let id = table.ddi_periodic_add(count, state.clone(), 10 * MS, level)?;
        all.push((id, state), GFP_KERNEL)?;
    }
    check!(sleep_until(5_000, || all
        .iter()
        .all(|(_, state)| state.calls() >= 3)));
    for (id, state) in all {
        check!(table.ddi_periodic_delete(id)? == Deleted::Deleted);
        check!(state.could_sleep.load(Acquire) == 0);
    }
    Ok(())
}

fn bad_levels(_: &Task) -> Verdict {
    let (table, state) = (table()?, State::new()?);
    for level in [-1, 11, i32::MIN, i32::MAX] {
        let added = table.ddi_periodic_add(count, state.clone(), 10 * MS, level);
        check!(refused(added, EINVAL));
    }
    sleep_ms(30);
    check!(state.calls() == 0);
    Ok(())
}

fn bad_intervals(_: &Task) -> Verdict {
    let (strict, native, state) = (table()?, table()?.native(), State::new()?);
    let add = |table: &Table, interval| table.ddi_periodic_add(count, state.clone(), interval, 5);
    for interval in [0, -1, i64::MIN] {
        check!(refused(add(&strict, interval), EINVAL));
        check!(refused(add(&native, interval), EINVAL));
    }
    check!(refused(add(&strict, i64::MAX), ERANGE));
    check!(refused(add(&native, i64::MAX), ERANGE));
    check!(refused(add(&native, 99_999), ERANGE));
    sleep_ms(30);
    check!(state.calls() == 0);
    Ok(())
}

fn short_interval(_: &Task) -> Verdict {
    let native = table()?.native();
    // Its name in the log tells that this was said, and how often.
    let strict = Table::new(softclock::owner!(), c"ddi-quick")?;
    let (slow, quick) = (State::new()?, State::new()?);
    let start = softclock::now();
    strict.ddi_periodic_add(count, slow.clone(), MS, 0)?;
    native.ddi_periodic_add(count, quick.clone(), MS, 0)?;
    check!(sleep_until(5_000, || quick.calls() >= 60 && slow.calls() >= 2));
    let passed = (softclock::now() - start).as_nanos() / (10 * MS);
    check!(slow.calls() <= passed as u64 + 1);
    Ok(())
}

fn stale(_: &Task) -> Verdict {
    let (table, other) = (table()?, table()?);
    let (one, two) = (State::new()?, State::new()?);
    let id = table.ddi_periodic_add(count, one.clone(), 10 * MS, 0)?;
    let theirs = other.ddi_periodic_add(count, two.clone(), 10 * MS, 0)?;
    check!(id != theirs);
    check!(table.ddi_periodic_delete(Request::NULL)? == Deleted::Stale);
    check!(table.ddi_periodic_delete(theirs)? == Deleted::Stale);
    check!(other.ddi_periodic_delete(id)? == Deleted::Stale);
    check!(sleep_until(2_000, || one.calls() > 0 && two.calls() > 0));
    check!(table.ddi_periodic_delete(id)? == Deleted::Deleted);
    check!(table.ddi_periodic_delete(id)? == Deleted::Stale);
    check!(other.ddi_periodic_delete(theirs)? == Deleted::Deleted);
    Ok(())
}

fn two_deleters(_: &Task) -> Verdict {
    let (table, state) = (Arc::new(table()?, GFP_KERNEL)?, State::new()?);
    let id = table.ddi_periodic_add(stay, state.clone(), 10 * MS, 0)?;
    check!(sleep_until(2_000, || state.entered.load(Acquire)));
    let begun = Arc::new(Atomic::new(0_u64), GFP_KERNEL)?;
    let after = Arc::new(Atomic::new(0_u64), GFP_KERNEL)?;
    let mut threads = KVec::new();
    for _ in 0..2 {
        let (table, it) = (table.clone(), state.clone());
        let (begun, after) = (begun.clone(), after.clone());
        let thread = Closure::<Task>::new(softclock::owner!(), c"deleter", move |_| {
            begun.fetch_add(1, Release);
            let deleted = table.ddi_periodic_delete(id) == Ok(Deleted::Deleted);
            let over = deleted && it.ended.load(Acquire) == 1;
            after.fetch_add(if over { 1 } else { 1_000 }, Release);
            Next::Stop
        })?;
        thread.callout().arm_after(Delta::ZERO);
        threads.push(thread, GFP_KERNEL)?;
    }
    check!(sleep_until(2_000, || begun.load(Acquire) == 2));
    sleep_ms(300);
    let early = after.load(Acquire);
    state.release.store(true, Release);
    check!(sleep_until(2_000, || after.load(Acquire) == 2));
    check!(early == 0);
    check!(state.calls() == 1);
    check!(table.ddi_periodic_delete(id)? == Deleted::Stale);
    Ok(())
}

fn delete_own(_: &Task) -> Verdict {
    for (level, errno) in [(0, EDEADLK), (5, EAGAIN.to_errno())] {
        let (table, state) = (Arc::new(table()?, GFP_KERNEL)?, State::new()?);
        let id = table.ddi_periodic_add(delete_itself, state.clone(), 10 * MS, level)?;
        *state.own.lock() = Some((table.clone(), id));
        check!(sleep_until(2_000, || state.answer.load(Acquire) != 1));
        let calls = state.calls();
        let answer = state.answer.load(Acquire);
        sleep_ms(40);
        // The table would hold the state, and the state the table.
        let own = state.own.lock().take();
        drop(own);
        check!(answer == errno);
        check!(state.calls() == calls);
        check!(table.ddi_periodic_delete(id)? == Deleted::Deleted);
        check!(table.ddi_periodic_delete(id)? == Deleted::Stale);
    }
    Ok(())
}

const EDEADLK: i32 = -35;

fn recycled(_: &Task) -> Verdict {
    let table = table()?;
    let mut stale = KVec::new();
    for _ in 0..200 {
        let (old, new) = (State::new()?, State::new()?);
        let first = table.ddi_periodic_add(count, old, 10 * MS, 0)?;
        check!(table.ddi_periodic_delete(first)? == Deleted::Deleted);
        stale.push(first, GFP_KERNEL)?;
        let second = table.ddi_periodic_add(count, new.clone(), 10 * MS, 0)?;
        for id in &stale {
            check!(*id != second);
            check!(table.ddi_periodic_delete(*id)? == Deleted::Stale);
        }
        if stale.len() % 50 == 0 {
            check!(sleep_until(2_000, || new.calls() > 0));
        }
        check!(table.ddi_periodic_delete(second)? == Deleted::Deleted);
        stale.push(second, GFP_KERNEL)?;
    }
    Ok(())
}

fn two_thousand(_: &Task) -> Verdict {
    let table = table()?;
    let mut all = KVVec::with_capacity(2_000, GFP_KERNEL)?;
    for number in 0..2_000 {
        let state = State::new()?;
        let level = number % 11;
        let id = table.ddi_periodic_add(count, state.clone(), 500 * MS, level)?;
        all.push((id, state), GFP_KERNEL)?;
    }
    let called = |(_, state): &(Request, Arc<State>)| state.calls() >= 2;
    check!(sleep_until(20_000, || all.iter().all(called)));
    // In an order that is none.
    for number in 0..all.len() {
        if let Some((id, _)) = all.get(number * 1_237 % 2_000) {
            check!(table.ddi_periodic_delete(*id)? == Deleted::Deleted);
        }
    }
    for (id, _) in &all {
        check!(table.ddi_periodic_delete(*id)? == Deleted::Stale);
    }
    Ok(())
}

fn argument(_: &Task) -> Verdict {
    let (table, state) = (table()?, State::new()?);
    // It counts what is ours, so it is called with what is ours; and that has the table's reference too.
    let id = table.ddi_periodic_add(count, state.clone(), 10 * MS, 0)?;
    check!(sleep_until(5_000, || state.calls() >= 5));
    check!(table.ddi_periodic_delete(id)? == Deleted::Deleted);
    let calls = state.calls();
    sleep_ms(30);
    check!(state.calls() == calls);
    // Now it has none any more, but for that of a run whose end was waited for.
    sleep_ms(1_000);
    check!(Arc::into_unique_or_drop(state).is_some());
    Ok(())
}

fn dropped_table(_: &Task) -> Verdict {
    let (table, state) = (table()?, State::new()?);
    for level in 0..=10 {
        table.ddi_periodic_add(count, state.clone(), 10 * MS, level)?;
    }
    check!(sleep_until(5_000, || state.calls() >= 11));
    drop(table);
    // A call in progress may have gone on.
    sleep_ms(20);
    let calls = state.calls();
    sleep_ms(50);
    check!(state.calls() == calls);
    Ok(())
}
