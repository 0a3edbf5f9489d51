// SPDX-License-Identifier: GPL-2.0

//! Random operations on callouts of every kind, from a seed, and on tables of timeouts. Every arm must
//! end as a run, a cancellation or a replacement, nothing may be early, and nothing run after a drain or
//! shutdown, nor after a stop under the lock that a callout is bound to.
//!
//! The log tells a hash over all that was answered and that ran: where one CPU and simulated
//! time leave nothing to chance, the same seed gives the same hash. With log=1 it tells everything.

#[path = "stress_bound.rs"]
mod bound;
#[path = "stress_journal.rs"]
mod journal;
#[path = "stress_legacy.rs"]
mod legacy;
#[path = "stress_clock.rs"]
mod stress_clock;
#[path = "stress_object.rs"]
mod stress_object;

use self::{
    bound::{Reader, Trying, Unlocking, Waiting, Writer},
    journal::Journal,
    legacy::Legacy,
    stress_clock::{Clock, Random},
    stress_object::Object,
};
use kernel::{sync::lock::mutex::MutexBackend, time::delay::udelay};
use softclock::{
    locked::{HardBackend, SoftBackend, SoftRwBackend, TaskRwBackend},
    prelude::*,
};

module! {
    type: Module,
    name: "softclock_stress",
    authors: ["softclock maintainers"],
    description: "softclock selftest: random operations from a seed",
    license: "GPL",
    imports_ns: ["SOFTCLOCK"],
    params: {
        seed: u32 {
            default: 1,
            description: "Where the random numbers begin",
        },
        n: u32 {
            default: 10000,
            description: "How many operations",
        },
        log: u8 {
            default: 0,
            description: "Log everything",
        },
    },
}

impl Clock {
    /// A deadline, and whether it may be given as a delay.
    fn after(&self, delay: Delta) -> (Instant, bool) {
        if self.simulated {
            let due = (self.now + delay).as_nanos() / Self::STEP * Self::STEP;
            (Instant::from_nanos(due), false)
        } else {
            (softclock::now() + delay, true)
        }
    }

    /// Keeps the CPU for so many steps. Simulated, to read the clock does not move it under every lock.
    fn stay(&mut self, steps: u32) {
        let time = Delta::from_nanos(i64::from(steps) * Self::STEP);
        self.now = if self.simulated {
            self.now
        } else {
            softclock::now()
        } + time;
        let left = (self.now - softclock::now()).as_nanos().max(0) / 1_000;
        udelay(kernel::time::Delta::from_micros(left + 1));
    }
}

/// Something under stress, of some kind.
trait Any {
    /// Operation number `operation`.
    fn operate(&self, operation: u32, random: &mut Random, clock: &mut Clock, task: &Task);
    /// Shuts it down, and adds up.
    fn finish(&self, task: &Task);
}

/// How many operations there are.
const OPERATIONS: u32 = 8;

/// How many of each kind, and kinds.
const EACH: usize = 3;
const KINDS: usize = 15;

/// Whether the callbacks of a kind have a task.
const fn of_tasks(kind: usize) -> bool {
    matches!(kind, 1 | 3 | 8 | 9 | 13 | 14)
}

/// One of each kind, by number.
fn made(number: usize, journal: &Arc<Journal>) -> Result<KBox<dyn Any>> {
    let tag = number as u64;
    let journal = journal.clone();
    Ok(match number % KINDS {
        0 => KBox::new(Object::<Soft>::new(tag, journal)?, GFP_KERNEL)?,
        1 => KBox::new(Object::<Task>::new(tag, journal)?, GFP_KERNEL)?,
        2 => KBox::new(Object::<Precise<Soft>>::new(tag, journal)?, GFP_KERNEL)?,
        3 => KBox::new(Object::<Precise<Task>>::new(tag, journal)?, GFP_KERNEL)?,
        4 => KBox::new(Object::<Hard>::new(tag, journal)?, GFP_KERNEL)?,
        5 => KBox::new(Object::<Nth<Soft, 3>>::new(tag, journal)?, GFP_KERNEL)?,
        6 => bound::made::<Writer<Soft, HardBackend, Waiting>>(tag, journal)?,
        7 => bound::made::<Writer<Soft, SoftBackend, Trying>>(tag, journal)?,
        8 => bound::made::<Writer<Task, MutexBackend, Unlocking>>(tag, journal)?,
        9 => bound::made::<Writer<Precise<Task>, MutexBackend, Trying>>(tag, journal)?,
        10 => bound::made::<Writer<Hard, HardBackend, Waiting>>(tag, journal)?,
        11 => bound::made::<Reader<Soft, SoftRwBackend, Unlocking>>(tag, journal)?,
        12 => bound::made::<Writer<Precise<Soft>, SoftBackend, Unlocking>>(tag, journal)?,
        13 => bound::made::<Reader<Task, TaskRwBackend, Trying>>(tag, journal)?,
        _ => KBox::new(Legacy::new(tag, journal)?, GFP_KERNEL)?,
    })
}

struct Module;

impl kernel::Module for Module {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let task = Task::new()?;
        let mut random = Random(u64::from(*module_parameters::seed.value()));
        let mut clock = Clock::new()?;
        let journal = Journal::new(*module_parameters::log.value() != 0, clock.now)?;
        let mut objects = KVec::new();
        for number in 0..EACH * KINDS {
            objects.push(made(number, &journal)?, GFP_KERNEL)?;
        }
        for _ in 0..*module_parameters::n.value() {
            let number = random.below(objects.len() as u32) as usize;
            match random.below(OPERATIONS + 1) {
                OPERATIONS => {
                    // The end of this one, and a new one in its place.
                    objects[number].finish(&task);
                    objects[number] = made(number, &journal)?;
                }
                operation => objects[number].operate(operation, &mut random, &mut clock, &task),
            }
            if random.below(3) == 0 {
                clock.rest(1 + random.below(400))?;
            }
        }
        for object in objects.iter() {
            object.finish(&task);
        }
        journal.tell();
        Ok(Self)
    }
}
