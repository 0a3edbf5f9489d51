// SPDX-License-Identifier: GPL-2.0

//! Many questions at once: what selftests and benchmarks drive the probers with. Not for drivers.

use super::{
    ask::{End, Judge, Prober},
    once::Question,
    sockets::{Outlet, Sockets},
};
use crate::{
    policy::{
        deadline::Instant,
        pdu::{address::Eid, Fault},
    },
    sys::context::Task,
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{Acquire, Atomic, Relaxed, Release},
        Arc, //
    },
    time::delay::fsleep,
};

/// Questions that are being asked.
pub struct Drill {
    group: Arc<Group>,
    outlet: Arc<Outlet>,
}

struct Ends {
    answered: Atomic<u64>,
    silent: Atomic<u64>,
    void: Atomic<u64>,
    missed: Atomic<u64>,
    refused: Atomic<u64>,
    last: Atomic<i64>,
    unwanted: Atomic<bool>,
    hold_ms: u32,
}

struct Group {
    eid: KVec<u8>,
    ends: Ends,
}

impl Judge for Group {
    fn eid(&self) -> Eid<'_> {
        Eid::kept(&self.eid)
    }

    fn wants(&self, _tag: u32) -> bool {
        !self.ends.unwanted.load(Relaxed)
    }

    fn missed(&self, _tag: u32, _attempt: u8, _of: u8) {
        self.ends.missed.fetch_add(1, Relaxed);
    }

    fn refused(&self, _tag: u32, _fault: Fault) {
        self.ends.refused.fetch_add(1, Relaxed);
        if self.ends.hold_ms > 0 {
            fsleep(kernel::time::Delta::from_millis(self.ends.hold_ms.into()));
        }
    }

    fn ended(&self, _tag: u32, end: End) {
        let count = match end {
            End::Answered { .. } => &self.ends.answered,
            End::Silent { .. } => &self.ends.silent,
            End::Void { .. } => &self.ends.void,
        };
        self.ends.last.store(crate::now().as_nanos(), Relaxed);
        count.fetch_add(1, Release);
    }
}

impl Drill {
    /// Asks the same question so many times at once. Task context; may block.
    #[inline(never)]
    pub fn begin(question: &Question<'_>, times: u64, task: &Task) -> Result<Self> {
        Self::holding(question, times, 0, task)
    }

    /// The same, and each answer that is none holds up the prober for so long.
    #[inline(never)]
    pub fn holding(question: &Question<'_>, times: u64, hold_ms: u32, task: &Task) -> Result<Self> {
        let checked = question.checked()?;
        let mut eid = KVec::new();
        eid.extend_from_slice(checked.eid.as_bytes(), GFP_KERNEL)?;
        let ends = Ends {
            answered: Atomic::new(0),
            silent: Atomic::new(0),
            void: Atomic::new(0),
            missed: Atomic::new(0),
            refused: Atomic::new(0),
            last: Atomic::new(0),
            unwanted: Atomic::new(false),
            hold_ms,
        };
        let drill = Self {
            group: Arc::new(Group { eid, ends }, GFP_KERNEL)?,
            outlet: Sockets::here(task)?,
        };
        for tag in 0..times {
            drill
                .outlet
                .begin(checked.ask(drill.group.clone(), tag as u32))?;
        }
        drill.outlet.call();
        Ok(drill)
    }

    /// Has all of it end, void.
    #[inline(never)]
    pub fn abandon(&self) {
        self.group.ends.unwanted.store(true, Relaxed);
        self.outlet.sweep();
    }

    /// How many probes have ended, in this order: answered, silent, void.
    #[inline(never)]
    pub fn ended(&self) -> [u64; 3] {
        let ends = &self.group.ends;
        [&ends.answered, &ends.silent, &ends.void].map(|count| count.load(Acquire))
    }

    /// When the last one has ended that has.
    #[inline(never)]
    pub fn ended_at(&self) -> Instant {
        Instant::from_nanos(self.group.ends.last.load(Relaxed))
    }

    /// How many attempts were missed, and answers refused.
    #[inline(never)]
    pub fn told(&self) -> [u64; 2] {
        let ends = &self.group.ends;
        [&ends.missed, &ends.refused].map(|count| count.load(Relaxed))
    }

    /// How many probes may be in flight at once, in the caller's network namespace.
    #[inline(never)]
    pub fn set_window(limit: u32, task: &Task) -> Result {
        Sockets::here(task)?.set_window(limit);
        Ok(())
    }

    /// What the prober of the caller's network namespace has counted, by its name.
    #[inline(never)]
    pub fn count(what: &str, task: &Task) -> Result<u64> {
        let counts = Sockets::here(task)?.counts();
        Ok(match what {
            "begun" => counts.begun,
            "attempts" => counts.attempts,
            "answered" => counts.answered,
            "silent" => counts.silent,
            "void" => counts.void,
            "failed" => counts.failed,
            "in_flight" => counts.in_flight,
            "waiting" => counts.waiting,
            "window" => counts.window,
            "dropped" => counts.dropped,
            "strays" => counts.strays.iter().sum(),
            fault => {
                let index = Fault::WORDS.iter().position(|name| *name == fault);
                *index
                    .and_then(|index| counts.strays.get(index))
                    .ok_or(EINVAL)?
            }
        })
    }
}
