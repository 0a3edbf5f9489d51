// SPDX-License-Identifier: GPL-2.0

//! What softclock costs, measured by an ordinary client.
//!
//! Everything is measured while the module loads, and printed as rows for `scripts/bench`:
//!
//! ```text
//! row FACILITY OP N COUNT DISTURBED MEAN MIN P50 P99 MAX
//! ```
//!
//! `softclock_baseline.c` measures the kernel's own timers in the same way, op for op.

use softclock::prelude::*;

#[path = "cpus.rs"]
mod cpus;
#[path = "expiry.rs"]
mod expiry;
#[path = "herd.rs"]
mod herd;
#[path = "late.rs"]
mod late;
#[path = "meter.rs"]
mod meter;
#[path = "ops.rs"]
mod ops;
#[path = "periodic.rs"]
mod periodic;
#[path = "routes.rs"]
mod routes;

use self::{
    herd::{Herd, PlainHerd},
    meter::overhead,
};

module! {
    type: Module,
    name: "softclock_bench",
    authors: ["softclock maintainers"],
    description: "softclock selftest: what callouts cost",
    license: "GPL",
    imports_ns: ["SOFTCLOCK"],
    params: {
        ops: u32 {
            default: 0,
            description: "Operations and expiry with 1, 1000 and so on to this many callouts",
        },
        late: u32 {
            default: 0,
            description: "Lateness for delays of up to this many seconds",
        },
        shared: u32 {
            default: 0,
            description: "1: two CPUs with the same callouts",
        },
        remote: u32 {
            default: 0,
            description: "1: callouts of the other CPU",
        },
        periodic: u32 {
            default: 0,
            description: "Periodics, up to this many at once",
        },
        hold: u32 {
            default: 0,
            description: "Makes this many objects with a callout, and keeps them",
        },
        plain: u32 {
            default: 0,
            description: "Makes this many objects of the same size without one, and keeps them",
        },
    },
}

/// How many callouts are outstanding in turn.
const SIZES: [usize; 5] = [1, 1_000, 10_000, 100_000, 1_000_000];

struct Module {
    _held: Herd,
    _plain: PlainHerd,
}

impl kernel::Module for Module {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let task = Task::new()?;
        let most = *module_parameters::ops.value() as usize;
        if most > 0 {
            sizes(most, &task)?;
        }
        late::run(*module_parameters::late.value())?;
        if *module_parameters::shared.value() != 0 {
            cpus::shared(&task)?;
        }
        if *module_parameters::remote.value() != 0 {
            cpus::remote(&task)?;
        }
        let many = *module_parameters::periodic.value() as usize;
        if many > 0 {
            periodic::run(many, &task)?;
        }
        let mut held = Herd::new();
        let hold = *module_parameters::hold.value() as usize;
        held.grow(hold)?;
        if hold > 0 {
            herd::report_size();
        }
        Ok(Self {
            _held: held,
            _plain: PlainHerd::new(*module_parameters::plain.value() as usize)?,
        })
    }
}

/// Everything that depends on how many are outstanding. The herd only grows: making a callout is not
/// what is measured, and takes the most time.
fn sizes(most: usize, task: &Task) -> Result {
    let (mut herd, mut paths) = (Herd::new(), routes::Paths::new());
    let clock = overhead()?;
    routes::report_size();
    for n in SIZES.into_iter().filter(|&n| n <= most) {
        herd.grow(n)?;
        ops::run(&mut herd, clock, task)?;
        expiry::per_callback(&herd)?;
        paths.run(n, clock, task)?;
    }
    expiry::never_early(&mut herd)?;
    expiry::storm(&herd)
}
