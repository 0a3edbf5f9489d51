// SPDX-License-Identifier: GPL-2.0

//! Random operations on callouts of the wheels, from a seed, by one thread and by the callbacks, which
//! operate on themselves and on each other, sleep, and ask for another run. Nothing is judged here: all
//! that is answered and that runs goes into a log, in order, and that of another softclock must be the
//! same. Only for one CPU and simulated time.

#[path = "oracle_actor.rs"]
mod oracle_actor;
#[path = "stress_clock.rs"]
mod stress_clock;

use self::{
    oracle_actor::{Part, Stage, OPERATIONS},
    stress_clock::{Clock, Random},
};
use softclock::prelude::*;

module! {
    type: Module,
    name: "softclock_oracle",
    authors: ["softclock maintainers"],
    description: "softclock selftest: what callouts answer, to be compared",
    license: "GPL",
    imports_ns: ["SOFTCLOCK"],
    params: {
        seed: u32 {
            default: 1,
            description: "Where the random numbers begin",
        },
        n: u32 {
            default: 2000,
            description: "How many operations",
        },
        log: u8 {
            default: 0,
            description: "Log everything",
        },
    },
}

impl Clock {
    /// After something that has slept: the next operation is not in the past.
    fn catch_up(&mut self) {
        let now = softclock::now().as_nanos() / Self::STEP * Self::STEP;
        let now = Instant::from_nanos(now + Self::STEP / 2);
        if self.now < now {
            self.now = now;
        }
    }
}

/// How many callouts.
const PARTS: u64 = 15;

struct Module;

impl kernel::Module for Module {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let task = Task::new()?;
        let mut clock = Clock::new()?;
        if !clock.simulated {
            pr_err!("two logs can only be the same where time is simulated\n");
            return Err(EINVAL);
        }
        let seed = u64::from(*module_parameters::seed.value());
        let stage = Stage::new(*module_parameters::log.value() != 0, clock.now, seed)?;
        let mut parts = KVec::new();
        for tag in 0..PARTS {
            parts.push(Part::new(tag, &stage)?, GFP_KERNEL)?;
        }
        stage.enter(parts);
        let mut random = Random(seed);
        for _ in 0..*module_parameters::n.value() {
            let tag = random.below(PARTS as u32) as usize;
            match random.below(OPERATIONS + 3) {
                OPERATIONS => stage.shut_down(tag, &task),
                operation if operation < OPERATIONS => {
                    stage.operate(tag, operation, &mut random, clock.now, Some(&task));
                }
                // The old one goes as it is: armed, shut down, or in the middle of a run.
                _ => drop(stage.replace(tag, Part::new(tag as u64, &stage)?)),
            }
            clock.catch_up();
            if random.below(3) == 0 {
                clock.rest(1 + random.below(400))?;
            }
        }
        for tag in 0..PARTS as usize {
            stage.shut_down(tag, &task);
        }
        // For what went in the middle of a run.
        clock.catch_up();
        clock.rest(100_000)?;
        stage.end();
        Ok(Self)
    }
}
