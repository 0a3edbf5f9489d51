// SPDX-License-Identifier: GPL-2.0

//! Tables of timeouts, as the stress operates on them. Every timeout is called once, or is taken back and
//! not called; the handle of one that is over hits nothing, though the next one has its slot, its function
//! and its argument.

use crate::{journal::Journal, Any, Clock, Random, EACH, KINDS};
use core::cell::Cell;
use kernel::{cpu::nr_cpu_ids, time::delay::fsleep};
use softclock::{
    prelude::*,
    timeout::{Handle, Table, Untimeout},
};

/// The timeouts of a table at most, and its slots: some find it full.
const CELLS: usize = 6;
const SLOTS: usize = 4;

/// What the function with this argument has to keep to, and has done.
struct Seen {
    due_ns: Atomic<i64>,
    began_ns: Atomic<i64>,
    early: Atomic<u64>,
    calls: Atomic<u64>,
}

/// Of all tables: a function is told a number, and nothing else.
static CELLS_OF_ALL: [Seen; EACH * CELLS] = [const {
    Seen {
        due_ns: Atomic::new(0),
        began_ns: Atomic::new(0),
        early: Atomic::new(0),
        calls: Atomic::new(0),
    }
}; EACH * CELLS];

fn called(arg: usize) {
    let Some(cell) = CELLS_OF_ALL.get(arg) else {
        return;
    };
    let now = softclock::now().as_nanos();
    let early = now < cell.due_ns.load(Relaxed);
    cell.early.fetch_add(u64::from(early), Relaxed);
    cell.began_ns.store(now, Relaxed);
    cell.calls.fetch_add(1, Release);
    // Long enough to be met by what others do; where time is simulated, nobody else is there.
    if nr_cpu_ids() > 1 {
        fsleep(kernel::time::Delta::from_micros(200));
    }
}

/// Nobody's function.
fn stranger(arg: usize) {
    called(arg.wrapping_add(1));
}

/// What is known of a cell's timeouts.
#[derive(Clone, Copy)]
struct Issued {
    /// The latest one; it is over unless `open`.
    handle: Handle,
    open: bool,
    /// An untimeout came too late for it: it will be called.
    due_soon: bool,
}

impl Issued {
    const NONE: Self = Self {
        handle: Handle::INITIALIZER,
        open: false,
        due_soon: false,
    };
}

pub(crate) struct Legacy {
    table: Table,
    cells: [Cell<Issued>; CELLS],
    journal: Arc<Journal>,
    tag: u64,
}

impl Legacy {
    pub(crate) fn new(tag: u64, journal: Arc<Journal>) -> Result<Self> {
        // A tick is a step.
        let table = Table::new(softclock::owner!(), c"stressed", SLOTS)?;
        Ok(Self {
            table: table.ticking((1_000_000_000 / Clock::STEP) as u32),
            cells: [const { Cell::new(Issued::NONE) }; CELLS],
            journal,
            tag,
        })
    }

    /// The argument that stands for a cell of this table.
    fn arg(&self, index: usize) -> usize {
        self.tag as usize / KINDS * CELLS + index
    }

    fn cell(&self, index: usize) -> &'static Seen {
        let cell = CELLS_OF_ALL.get(self.arg(index));
        cell.unwrap_or(&CELLS_OF_ALL[0])
    }

    fn issued(&self, index: usize) -> &Cell<Issued> {
        self.cells.get(index).unwrap_or(&self.cells[0])
    }

    fn write(&self, what: &str, value: i64) {
        self.journal.write(self.tag, what, value, |_| {});
    }

    fn wrong(&self, what: &str, index: usize) {
        pr_info!("wrong: table {} timeout {}: {}\n", self.tag, index, what);
        self.journal
            .write(self.tag, "wrong", index as i64, |sums| sums.wrong += 1);
    }

    /// Books the calls since the last look. Of what is not open there must be none.
    fn look(&self, index: usize) {
        let (cell, issued) = (self.cell(index), self.issued(index));
        let calls = cell.calls.load(Acquire);
        if calls == 0 {
            return;
        }
        let early = cell.early.load(Relaxed);
        let at = Instant::from_nanos(cell.began_ns.load(Relaxed));
        let late = calls - u64::from(issued.get().open).min(calls);
        cell.calls.store(0, Relaxed);
        cell.early.store(0, Relaxed);
        issued.set(Issued {
            open: false,
            due_soon: false,
            ..issued.get()
        });
        self.journal
            .write(self.tag, "called", self.journal.time(at), |sums| {
                sums.runs += calls;
                sums.early += early;
                sums.late += late;
            });
    }

    /// Slots that are not taken by timeouts which have not been called.
    fn slots_left(&self) -> usize {
        let waits = |index: &usize| {
            self.issued(*index).get().open && self.cell(*index).calls.load(Acquire) == 0
        };
        SLOTS.saturating_sub((0..CELLS).filter(waits).count())
    }

    fn timeout(&self, index: usize, ticks: i64, clock: &Clock) {
        (0..CELLS).for_each(|index| self.look(index));
        let old = self.issued(index).get();
        if old.open {
            return;
        }
        let least = Delta::from_nanos(ticks.max(1).saturating_mul(Clock::STEP));
        let due = softclock::now() + least;
        self.cell(index).due_ns.store(due.as_nanos(), Relaxed);
        let made = self.table.timeout(called, self.arg(index), ticks);
        // Those that are not called by now had a slot each.
        let left = self.slots_left();
        match made {
            Ok(handle) => {
                if left == 0 || handle == old.handle {
                    self.wrong("a slot that was not free", index);
                }
                self.issued(index).set(Issued {
                    handle,
                    open: true,
                    due_soon: false,
                });
                let due = clock.after(least).0;
                self.journal
                    .write(self.tag, "timeout", self.journal.time(due), |sums| {
                        sums.new += 1;
                    });
            }
            // A slot is in use as long as its function executes, which it does not where time is simulated.
            Err(error) => {
                if error != ENOSPC || (left > 0 && clock.simulated) {
                    self.wrong("refused", index);
                }
                self.write("full", index as i64);
            }
        }
    }

    /// Takes a timeout back. One that is over must not be found, nor anything in its place.
    fn untimeout(&self, index: usize) {
        let issued = self.issued(index).get();
        let none = issued.handle == Handle::INITIALIZER;
        let answer = self.table.untimeout(called, self.arg(index), issued.handle);
        let (what, right) = match answer {
            Untimeout::Cancelled => ("taken-back", issued.open && !issued.due_soon),
            Untimeout::Stale => ("stale", !none),
            Untimeout::Mismatch => ("mismatch", none),
        };
        self.journal.write(self.tag, what, index as i64, |sums| {
            sums.cancelled += u64::from(answer == Untimeout::Cancelled);
        });
        if !right {
            self.wrong(what, index);
        }
        let cancelled = answer == Untimeout::Cancelled;
        self.issued(index).set(Issued {
            open: issued.open && !cancelled,
            due_soon: issued.open && answer == Untimeout::Stale,
            ..issued
        });
        if cancelled {
            // A call is late from here on.
            self.look(index);
        }
    }

    /// Ends a timeout, has another one in its cell, and comes with the handle of the first.
    fn untimeout_stale(&self, index: usize, ticks: i64, clock: &Clock) {
        self.untimeout(index);
        let old = self.issued(index).get().handle;
        self.timeout(index, ticks, clock);
        let answer = self.table.untimeout(called, self.arg(index), old);
        let again = self.issued(index).get().handle != old;
        if again && old != Handle::INITIALIZER && answer != Untimeout::Stale {
            self.wrong("a stale handle was taken", index);
        }
        if answer == Untimeout::Cancelled {
            self.wrong("a stale handle hit a stranger", index);
        }
        self.write("stale-handle", index as i64);
    }

    /// Not with another function or argument, nor by another's handle.
    fn mismatch(&self, index: usize) {
        let (handle, arg) = (self.issued(index).get().handle, self.arg(index));
        let answers = [
            self.table.untimeout(stranger, arg, handle),
            self.table.untimeout(called, arg.wrapping_add(1), handle),
            self.table.untimeout(called, arg, Handle::INITIALIZER),
        ];
        if answers.contains(&Untimeout::Cancelled) {
            self.wrong("taken back by another's name", index);
        }
        self.write("another", index as i64);
    }

    /// Nothing is open any more.
    fn is_quiet(&self) -> bool {
        (0..CELLS).all(|index| {
            self.look(index);
            !self.issued(index).get().open
        })
    }
}

/// Where nothing is left to chance, well inside a granule: what the call reads is a little later than the
/// clock of the operations.
fn ticks(random: &mut Random, clock: &Clock) -> i64 {
    let ticks = (random.delay().as_nanos() / Clock::STEP).max(1);
    if !clock.simulated {
        return ticks;
    }
    let due = clock.now.as_nanos() / Clock::STEP + ticks;
    ticks + (5 - due % 4) % 4
}

impl Any for Legacy {
    fn operate(&self, operation: u32, random: &mut Random, clock: &mut Clock, _task: &Task) {
        let index = random.below(CELLS as u32) as usize;
        let ticks = ticks(random, clock);
        match operation {
            0..=3 => self.timeout(index, ticks, clock),
            4 | 5 => self.untimeout(index),
            6 => self.untimeout_stale(index, ticks, clock),
            _ => self.mismatch(index),
        }
    }

    fn finish(&self, _task: &Task) {
        for index in 0..CELLS {
            if self.issued(index).get().open {
                self.untimeout(index);
            }
        }
        // What could not be taken back any more is called.
        let mut patience = 10_000;
        while !self.is_quiet() && patience > 0 {
            fsleep(kernel::time::Delta::from_millis(1));
            patience -= 1;
        }
        if !self.is_quiet() {
            self.wrong("neither called nor taken back", CELLS);
        }
        self.write("over", 0);
    }
}
