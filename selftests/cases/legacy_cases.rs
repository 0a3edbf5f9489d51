// SPDX-License-Identifier: GPL-2.0

//! timeout(9), untimeout(9) and Giant.

use crate::{
    harness::{check, Case, Verdict},
    subject::{sleep_ms, sleep_until},
};
use kernel::sync::{lock::mutex::MutexBackend, lock::Guard, Mutex};
use softclock::{
    prelude::*,
    timeout::{giant, Giant, Handle, Table, Untimeout},
};

pub(crate) const CASES: &[&[Case]] = &[&[
    Case {
        name: "callout-42 a stale handle does not hit the slot's next timeout, same function and argument",
        run: stale_handle,
    },
    Case {
        name: "callout-43 untimeout with the wrong function, argument or the initialiser does nothing",
        run: mismatch,
    },
    Case {
        name: "callout-43 untimeout with a handle of another table does nothing",
        run: other_table,
    },
    Case {
        name: "callout-44 a full table is ENOSPC, and has room again after a call or an untimeout",
        run: full_table,
    },
    Case {
        name: "callout-44 tables of no slots or too many are EINVAL",
        run: bad_tables,
    },
    Case {
        name: "a timeout calls its function once, with its argument, and not before its ticks",
        run: called_once,
    },
    Case {
        name: "untimeout of a function that executes is Stale, and its slot is not used meanwhile",
        run: executing,
    },
    Case {
        name: "a function has a slot for its successor, also where all are in use",
        run: successors,
    },
    Case {
        name: "timeouts of a table that is dropped are not called",
        run: dropped_table,
    },
    Case {
        name: "Giant: of the functions of two tables and a callout under it, one runs at a time",
        run: giant_excludes,
    },
    Case {
        name: "without Giant they do overlap",
        run: others_overlap,
    },
]];

/// What the functions have seen, by argument.
static CALLS: [Atomic<u64>; 8] = [const { Atomic::new(0) }; 8];
static RELEASE: Atomic<bool> = Atomic::new(false);
static INSIDE: Atomic<u64> = Atomic::new(0);
static OVERLAPS: Atomic<u64> = Atomic::new(0);
static ENTERED: Atomic<u64> = Atomic::new(0);

fn count(arg: usize) {
    CALLS[arg % 8].fetch_add(1, Release);
}

fn count_otherwise(arg: usize) {
    CALLS[arg % 8].fetch_add(1_000, Release);
}

fn stay(arg: usize) {
    CALLS[arg % 8].fetch_add(1, Release);
    sleep_until(2_000, || RELEASE.load(Acquire));
}

/// Sees whether somebody else is inside.
fn enter(_arg: usize) {
    if INSIDE.fetch_add(1, Relaxed) > 0 {
        OVERLAPS.fetch_add(1, Relaxed);
    }
    sleep_ms(5);
    INSIDE.fetch_sub(1, Relaxed);
    ENTERED.fetch_add(1, Release);
}

fn calls(arg: usize) -> u64 {
    CALLS[arg % 8].load(Acquire)
}

fn table(slots: usize) -> Result<Table> {
    let table = Table::new(softclock::owner!(), c"legacy", slots)?;
    for count in &CALLS {
        count.store(0, Release);
    }
    Ok(table.ticking(1_000))
}

/// A timeout, as soon as a function that has counted its call has given its slot back.
fn soon(table: &Table, arg: usize, ticks: i64) -> Result<Handle> {
    let full = |made: &Result<Handle>| made.as_ref().is_err_and(|error| *error == ENOSPC);
    let mut made = table.timeout(count, arg, ticks);
    for _ in 0..2_000 {
        if !full(&made) {
            break;
        }
        sleep_ms(1);
        made = table.timeout(count, arg, ticks);
    }
    made
}

fn stale_handle(_: &Task) -> Verdict {
    let table = table(1)?;
    let first = table.timeout(count, 1, 1)?;
    check!(sleep_until(2_000, || calls(1) == 1));
    let second = soon(&table, 1, 50)?;
    check!(first != second);
    check!(table.untimeout(count, 1, first) == Untimeout::Stale);
    check!(sleep_until(2_000, || calls(1) == 2));
    check!(table.untimeout(count, 1, second) == Untimeout::Stale);
    // The same where the first one was taken back, not called.
    let third = soon(&table, 1, 60_000)?;
    check!(table.untimeout(count, 1, third) == Untimeout::Cancelled);
    check!(table.untimeout(count, 1, third) == Untimeout::Stale);
    let fourth = table.timeout(count, 1, 20)?;
    check!(table.untimeout(count, 1, third) == Untimeout::Stale);
    check!(third != fourth);
    check!(sleep_until(2_000, || calls(1) == 3));
    sleep_ms(5);
    check!(calls(1) == 3);
    Ok(())
}

fn mismatch(_: &Task) -> Verdict {
    let table = table(2)?;
    check!(table.untimeout(count, 1, Handle::INITIALIZER) == Untimeout::Mismatch);
    let handle = table.timeout(count, 1, 500)?;
    check!(table.untimeout(count_otherwise, 1, handle) == Untimeout::Mismatch);
    check!(table.untimeout(count, 2, handle) == Untimeout::Mismatch);
    check!(table.untimeout(count, 1, Handle::INITIALIZER) == Untimeout::Mismatch);
    check!(sleep_until(2_000, || calls(1) == 1));
    check!(calls(2) == 0);
    Ok(())
}

fn other_table(_: &Task) -> Verdict {
    let (one, other) = (table(1)?, table(1)?);
    let handle = one.timeout(count, 1, 30)?;
    let same = other.timeout(count, 1, 30)?;
    check!(handle != same);
    check!(other.untimeout(count, 1, handle) == Untimeout::Mismatch);
    check!(one.untimeout(count, 1, same) == Untimeout::Mismatch);
    check!(sleep_until(2_000, || calls(1) == 2));
    // Nor when only one of the two has used its slot more often.
    let later = soon(&one, 1, 60_000)?;
    check!(other.untimeout(count, 1, later) == Untimeout::Mismatch);
    check!(one.untimeout(count, 1, later) == Untimeout::Cancelled);
    Ok(())
}

fn full_table(_: &Task) -> Verdict {
    let table = table(3)?;
    let full = |result: Result<Handle>| result.is_err_and(|error| error == ENOSPC);
    let handles = [
        table.timeout(count, 1, 60_000)?,
        table.timeout(count, 2, 60_000)?,
        table.timeout(count, 3, 500)?,
    ];
    check!(full(table.timeout(count, 4, 1)));
    check!(table.untimeout(count, 2, handles[1]) == Untimeout::Cancelled);
    let again = table.timeout(count, 5, 60_000)?;
    check!(full(table.timeout(count, 4, 1)));
    check!(sleep_until(2_000, || calls(3) == 1));
    soon(&table, 6, 1)?;
    check!(sleep_until(2_000, || calls(6) == 1));
    check!(table.untimeout(count, 5, again) == Untimeout::Cancelled);
    check!(table.untimeout(count, 1, handles[0]) == Untimeout::Cancelled);
    check!(calls(4) == 0);
    Ok(())
}

fn bad_tables(_: &Task) -> Verdict {
    for slots in [0, (1 << 16) + 1, usize::MAX] {
        let made = Table::new(softclock::owner!(), c"legacy", slots);
        check!(made.is_err_and(|error| error == EINVAL));
    }
    Ok(())
}

fn called_once(_: &Task) -> Verdict {
    let table = table(8)?.ticking(100);
    check!(table.hz() == 100);
    for (arg, ticks, least_ms) in [
        (1, i64::MIN, 10),
        (2, -1, 10),
        (3, 0, 10),
        (4, 1, 10),
        (5, 3, 30),
    ] {
        let start = softclock::now();
        table.timeout(count, arg, ticks)?;
        check!(sleep_until(2_000, || calls(arg) == 1));
        check!(softclock::now() - start >= Delta::from_millis(least_ms));
    }
    let handle = table.timeout(count, 6, i64::MAX)?;
    sleep_ms(30);
    check!((1..=5).all(|arg| calls(arg) == 1));
    check!(calls(6) == 0);
    check!(table.untimeout(count, 6, handle) == Untimeout::Cancelled);
    Ok(())
}

fn executing(_: &Task) -> Verdict {
    let table = table(1)?;
    RELEASE.store(false, Release);
    let handle = table.timeout(stay, 1, 1)?;
    check!(sleep_until(1_000, || calls(1) == 1));
    let answer = table.untimeout(stay, 1, handle);
    let meanwhile = table.timeout(count, 2, 1);
    RELEASE.store(true, Release);
    check!(answer == Untimeout::Stale);
    check!(meanwhile.is_err_and(|error| error == ENOSPC));
    check!(sleep_until(2_000, || table.timeout(count, 2, 1).is_ok()));
    check!(sleep_until(2_000, || calls(2) == 1));
    Ok(())
}

/// What functions find that have no argument but a number.
#[pin_data]
struct Softc {
    #[pin]
    _timer: Callout<Self, Task>,
    table: Table,
    refused: Atomic<u64>,
}

impl_has_callout! { impl HasCallout<Task> for Softc { self._timer } }

impl OnExpire<Task> for Softc {
    fn expire(_this: ArcBorrow<'_, Timed<Self>>, _run: &Expiry<'_, Task>) -> Next {
        Next::Stop
    }
}

static SOFTC: TimedStatic<Softc> = TimedStatic::new();

/// As the watchdog of every old driver: `timeout(watchdog, arg, hz)` is its last line.
fn watchdog(arg: usize) {
    let Some(softc) = SOFTC.get() else {
        return;
    };
    if calls(arg) < 5 && softc.table.timeout(watchdog, arg, 1).is_err() {
        softc.refused.fetch_add(1, Relaxed);
    }
    count(arg);
}

fn successors(_: &Task) -> Verdict {
    let softc = SOFTC.set(try_pin_init!(Softc {
        _timer <- Callout::new(softclock::owner!(), c"softc"),
        table: table(3)?,
        refused: Atomic::new(0),
    }))?;
    for arg in 0..3 {
        softc.table.timeout(watchdog, arg, 1)?;
    }
    check!(sleep_until(2_000, || (0..3).all(|arg| calls(arg) == 6)));
    check!(softc.refused.load(Relaxed) == 0);
    Ok(())
}

fn dropped_table(_: &Task) -> Verdict {
    let table = table(4)?;
    for arg in 0..4 {
        table.timeout(count, arg, 500)?;
    }
    drop(table);
    sleep_ms(600);
    check!((0..4).all(|arg| calls(arg) == 0));
    Ok(())
}

/// A callout of one's own under Giant.
#[pin_data]
struct Old {
    #[pin]
    timer: Callout<Self, Locked<Task>>,
    giant: Giant,
}

impl_has_callout! { impl HasCallout<Locked<Task>> for Old { self.timer } }

impl HasLock<Locked<Task>> for Old {
    type Data = ();
    type Backend = MutexBackend;

    fn lock(&self) -> &Mutex<()> {
        &self.giant
    }
}

impl OnExpireLocked<Locked<Task>> for Old {
    fn expire(
        _this: ArcBorrow<'_, Timed<Self>>,
        _giant: Guard<'_, (), MutexBackend>,
        _run: &Expiry<'_, Task>,
    ) -> Next {
        enter(0);
        Next::Stop
    }
}

/// Before anything that calls [`enter`] is armed.
fn nobody_inside() {
    INSIDE.store(0, Relaxed);
    OVERLAPS.store(0, Relaxed);
    ENTERED.store(0, Release);
}

/// How often two were inside at once, of eight functions from two tables and `more` others.
fn overlaps(tables: [Table; 2], more: u64) -> core::result::Result<u64, crate::harness::Fault> {
    for arg in 0..4 {
        for table in &tables {
            table.timeout(enter, arg, 1)?;
        }
    }
    check!(sleep_until(5_000, || ENTERED.load(Acquire) == 8 + more));
    Ok(OVERLAPS.load(Relaxed))
}

fn giant_excludes(_: &Task) -> Verdict {
    nobody_inside();
    let old = Timed::new(try_pin_init!(Old {
        timer <- Callout::new(softclock::owner!(), c"old"),
        giant: giant()?,
    }? Error))?;
    let guard = old.giant.lock();
    old.callout::<Locked<Task>>()
        .arm_after(Delta::from_millis(1), &guard);
    drop(guard);
    let tables = [
        Table::with_giant(softclock::owner!(), c"giant-1", 4)?.ticking(1_000),
        Table::with_giant(softclock::owner!(), c"giant-2", 4)?.ticking(1_000),
    ];
    check!(overlaps(tables, 1)? == 0);
    Ok(())
}

fn others_overlap(_: &Task) -> Verdict {
    nobody_inside();
    check!(overlaps([table(4)?, table(4)?], 0)? > 0);
    Ok(())
}
