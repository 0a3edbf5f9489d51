// SPDX-License-Identifier: GPL-2.0

//! What scenarios are made of.

#![forbid(unsafe_code)]

use crate::{
    machine::{Call, Callback, Cpu, Dispatch, Loads, World},
    program::Calls,
};
use loom::thread::JoinHandle;
use std::rc::Rc;

/// How many preemptions loom tries; `None`: all there can be.
pub(crate) type Bound = Option<usize>;

/// Threads that use entries at the same time.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) entries: &'static [(Dispatch, Callback)],
    /// Drains spin, where the lock of the queue that they would wait in would order too much.
    pub(crate) spin: bool,
    pub(crate) quick: Bound,
    pub(crate) long: Bound,
    pub(crate) body: fn(&mut Stage),
}

impl Scenario {
    pub(crate) const fn new(
        name: &'static str,
        entries: &'static [(Dispatch, Callback)],
        body: fn(&mut Stage),
    ) -> Self {
        Self {
            name,
            entries,
            spin: false,
            quick: None,
            long: None,
            body,
        }
    }

    pub(crate) const fn spinning(self) -> Self {
        Self { spin: true, ..self }
    }

    /// Bounds the preemptions of the quick exploration.
    pub(crate) const fn quick(self, preemptions: usize) -> Self {
        Self {
            quick: Some(preemptions),
            ..self
        }
    }

    /// Bounds the preemptions of the long exploration.
    pub(crate) const fn long(self, preemptions: usize) -> Self {
        Self {
            long: Some(preemptions),
            ..self
        }
    }
}

/// A scenario in progress. The body is the first thread, and the owner of every entry.
pub(crate) struct Stage {
    world: Rc<World>,
    threads: Vec<JoinHandle<()>>,
}

impl Stage {
    pub(crate) fn play(scenario: &Scenario, calls: &'static Calls, loads: Loads) {
        let mut stage = Self {
            world: World::new(calls, scenario.spin, loads, scenario.entries),
            threads: Vec::new(),
        };
        (scenario.body)(&mut stage);
        stage.finish();
    }

    /// The calling thread, on CPU `id`.
    pub(crate) fn on(&self, id: usize) -> Cpu {
        Cpu::new(&self.world, id)
    }

    /// Another thread, on CPU `id`.
    pub(crate) fn thread(&mut self, id: usize, body: impl FnOnce(&Cpu) + 'static) {
        let cpu = self.on(id);
        self.threads.push(loom::thread::spawn(move || body(&cpu)));
    }

    pub(crate) fn join(&mut self) {
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }

    /// Lets time run until nothing is left to happen, and buries the objects.
    fn finish(&mut self) {
        self.join();
        let cpu = self.on(0);
        for now in [99, 199] {
            for base in 0..2 {
                cpu.walk(base, now);
            }
            cpu.work(now);
        }
        for (entry, it) in self.world.entries.iter().enumerate() {
            for (arm, end) in cpu.ends(entry).iter().enumerate() {
                assert!(end.is_some(), "arm {arm} of entry {entry} came to nothing");
            }
            if it.spec.borrow().refs > 0 {
                cpu.assert_quiet(entry);
                cpu.put(entry);
            }
            assert!(it.spec.borrow().freed, "entry {entry} is never freed");
        }
    }
}

pub(crate) fn nothing(_: &mut Call<'_>) -> Option<u64> {
    None
}

/// The first run asks for another.
pub(crate) fn again(call: &mut Call<'_>) -> Option<u64> {
    (call.cpu.runs(call.entry) == 1).then_some(3)
}

/// The first run arms its entry.
pub(crate) fn rearm(call: &mut Call<'_>) -> Option<u64> {
    if call.cpu.runs(call.entry) == 1 {
        call.cpu.arm(call.entry, 3);
    }
    None
}

/// As drivers of `callout(9)` do.
pub(crate) fn deactivates(call: &mut Call<'_>) -> Option<u64> {
    call.cpu.deactivate(call.entry);
    None
}
