// SPDX-License-Identifier: GPL-2.0

//! What softclock keeps of a periodic: where on its grid it is, and what debugfs shows.
//!
//! A [`Beat`] is softclock's own memory, without anything of the client's: a reader may hold it longer
//! than the client's module is there. [`Beats`] lists them all; a row goes when its periodic is dropped,
//! from any context, or when its module has left it behind.

use crate::{
    policy::{
        deadline::Instant,
        grid::{self, Period},
        name::Name,
        place::Place,
    },
    slab::{Key, Slab},
    sys::{
        context::Runner,
        lock::RawLock,
        lockdep::Map,
        module::{ModuleId, ModuleName, Owner},
        wheel::ids,
    },
    Hub,
};
use kernel::{
    prelude::*,
    static_lock_class,
    sync::{
        atomic::{Atomic, Relaxed},
        Arc, //
    },
};

/// What is counted, in the order debugfs shows it.
#[derive(Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) fired: u64,
    pub(crate) missed: u64,
    pub(crate) late_max_ns: i64,
    pub(crate) last_run_ns: i64,
    pub(crate) max_run_ns: i64,
}

/// Where a periodic is, at one moment.
#[derive(Clone, Copy)]
pub(crate) struct Now {
    pub(crate) period: Period,
    /// The point it waits for, or the run goes on for.
    pub(crate) due: Instant,
    pub(crate) running: bool,
    /// No run begins any more.
    pub(crate) over: bool,
    pub(crate) counts: Counts,
    began: Instant,
    /// Points missed since the run before.
    skipped: u64,
    /// Who executes the run, on kernels with lockdep.
    runner: Option<Runner>,
}

impl Now {
    /// The state in one word, for people.
    pub(crate) const fn state(&self) -> &'static str {
        match (self.running, self.over) {
            (true, _) => "running",
            (false, true) => "over",
            (false, false) => "armed",
        }
    }

    fn miss(&mut self, points: u64) {
        self.skipped = self.skipped.saturating_add(points);
        self.counts.missed = self.counts.missed.saturating_add(points);
    }
}

/// One run, as its callback is told.
#[derive(Clone, Copy)]
pub(crate) struct Begun {
    pub(crate) due: Instant,
    pub(crate) began: Instant,
    pub(crate) missed: u64,
    pub(crate) number: u64,
}

/// One periodic.
#[pin_data]
pub(crate) struct Beat {
    #[pin]
    now: RawLock<Now>,
    #[pin]
    map: Map,
    module: ModuleId,
    pub(crate) client: ModuleName,
    pub(crate) name: Name,
    pub(crate) place: Place,
    /// Has a timer of its own.
    pub(crate) exact: bool,
    pub(crate) id: u64,
}

/// How to make one.
pub(crate) struct Score {
    pub(crate) owner: Owner,
    /// See [`Map::new`].
    pub(crate) class: usize,
    pub(crate) name: Name,
    pub(crate) place: Place,
    pub(crate) exact: bool,
    pub(crate) period: Period,
    pub(crate) first: Instant,
}

impl Beat {
    /// Task context; may block.
    fn new(score: Score) -> Result<Arc<Self>> {
        let now = Now {
            period: score.period,
            due: score.first,
            running: false,
            over: false,
            counts: Counts::default(),
            began: score.first,
            skipped: 0,
            runner: None,
        };
        // One function may be called in several contexts, which take locks by different rules. The bytes of a
        // function are enough to tell these apart.
        let class = score.class.wrapping_add(match score.place {
            Place::Task => 0,
            Place::Soft => 1,
            Place::Hard => 2,
        });
        Arc::pin_init(
            pin_init!(Self {
                now <- RawLock::new(now, c"softclock_beat", static_lock_class!()),
                map <- Map::new(class),
                module: score.owner.id(),
                client: score.owner.name(),
                name: score.name,
                place: score.place,
                exact: score.exact,
                id: ids::next(),
            }),
            GFP_KERNEL,
        )
    }

    /// Where it is. Any context but NMI, as all that follows.
    #[inline(never)]
    pub(crate) fn now(&self) -> Now {
        *self.now.lock()
    }

    /// A run begins.
    #[inline(never)]
    pub(crate) fn begin(&self, began: Instant) -> Begun {
        self.map.enter();
        let mut now = self.now.lock();
        if cfg!(CONFIG_LOCKDEP) {
            now.runner = Some(Runner::current());
        }
        let step = grid::reached(now.due, now.period, began);
        now.due = step.point;
        now.miss(step.missed);
        now.running = true;
        now.began = began;
        let counts = &mut now.counts;
        counts.fired = counts.fired.saturating_add(1);
        let late = began.since(step.point).as_nanos();
        counts.late_max_ns = counts.late_max_ns.max(late);
        Begun {
            due: step.point,
            began,
            missed: core::mem::take(&mut now.skipped),
            number: now.counts.fired.saturating_add(now.counts.missed),
        }
    }

    /// A run has ended; the next point to run for, if there is one.
    #[inline(never)]
    pub(crate) fn end(&self, ended: Instant, again: bool) -> Option<Instant> {
        self.map.leave();
        let mut now = self.now.lock();
        now.runner = None;
        now.running = false;
        now.over |= !again;
        let took = ended.since(now.began).as_nanos();
        now.counts.last_run_ns = took;
        now.counts.max_run_ns = now.counts.max_run_ns.max(took);
        if now.over {
            return None;
        }
        let step = grid::next(now.due, now.period, ended);
        now.due = step.point;
        now.miss(step.missed);
        Some(step.point)
    }

    /// No run begins any more, as far as the grid is concerned. Answers whether that was so before: if not,
    /// it was pending, or its callback was executing.
    #[inline(never)]
    pub(crate) fn stop(&self) -> bool {
        core::mem::replace(&mut self.now.lock().over, true)
    }

    /// The caller may have to wait for a run. Has lockdep report, where it is there, that the caller holds a
    /// lock which the callback takes.
    #[inline(never)]
    pub(crate) fn may_wait(&self) {
        if cfg!(CONFIG_LOCKDEP) && !self.now().runner.is_some_and(Runner::is_here) {
            self.map.wait();
        }
    }

    /// Another period, from the point it waits for or runs for: that one is the answer. `None`: it is
    /// over, and nothing was changed.
    #[inline(never)]
    pub(crate) fn change(&self, period: Period) -> Option<Instant> {
        let mut now = self.now.lock();
        if now.over {
            return None;
        }
        now.period = period;
        Some(now.due)
    }

    /// Says in the log that the module has left it behind.
    fn report_leak(&self) {
        let now = self.now();
        pr_warn!(
            "client {} left periodic {} (id {}, every {} ns, ran {} times) behind\n",
            self.client.as_str(),
            self.name.as_str(),
            self.id,
            now.period.as_delta().as_nanos(),
            now.counts.fired,
        );
    }
}

/// All periodics.
#[pin_data]
pub(crate) struct Beats {
    #[pin]
    table: Slab<Arc<Beat>>,
    /// How many were spread.
    spread: Atomic<u64>,
}

/// A periodic's row; dropping this removes it.
pub(crate) struct Listed {
    beat: Arc<Beat>,
    key: Key,
}

impl Beats {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            table <- Slab::new(),
            spread: Atomic::new(0),
        })
    }

    /// Makes one, and lists it. Task context; may block.
    pub(crate) fn list(&self, score: Score) -> Result<Listed> {
        let beat = Beat::new(score)?;
        let key = self.table.insert(beat.clone())?;
        Ok(Listed { beat, key })
    }

    /// A number for the next periodic that is to have a phase of its own.
    pub(crate) fn next_spread(&self) -> u64 {
        self.spread.fetch_add(1, Relaxed)
    }

    /// How many places there are: all periodics are in them, until others are made.
    pub(crate) fn places(&self) -> u32 {
        self.table.places()
    }

    /// The rows of some places from `from` on, as many as `rows` has room for; where to go on.
    pub(crate) fn rows_from(&self, from: u32, rows: &mut KVec<Arc<Beat>>) -> Option<u32> {
        self.table.each(from, |_, beat| {
            rows.push_within_capacity(beat.clone()).is_ok() && rows.len() < rows.capacity()
        })
    }

    #[inline(never)]
    fn remove(&self, key: Key) {
        // What is removed is dropped after the lock.
        drop(self.table.remove(key));
    }

    /// Names what `module` has left behind, and forgets it: nothing of it runs any more.
    pub(crate) fn leave(&self, module: ModuleId) {
        let mut from = Some(0);
        let mut leaked: u64 = 0;
        while let Some(place) = from {
            let mut found = None;
            from = self.table.each(place, |key, beat| {
                found = (beat.module == module).then_some(key);
                found.is_none()
            });
            let Some(beat) = found.and_then(|key| self.table.remove(key)) else {
                continue;
            };
            beat.stop();
            leaked = leaked.saturating_add(1);
            if leaked <= NAMED {
                beat.report_leak();
            }
        }
    }
}

/// How many forgotten periodics are named in the log, one by one.
const NAMED: u64 = 100;

impl core::ops::Deref for Listed {
    type Target = Beat;

    fn deref(&self) -> &Beat {
        &self.beat
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        // The hub outlives every client.
        if let Ok(hub) = Hub::get() {
            hub.beats().remove(self.key);
        }
    }
}
