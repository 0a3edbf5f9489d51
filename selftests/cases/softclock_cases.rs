// SPDX-License-Identifier: GPL-2.0

//! The conformance cases of softclock, run inside the kernel by an ordinary client.
//!
//! Results are KTAP lines in the log. Each case names the fault it catches; its number is that of the
//! project's specification.

use self::harness::Case;
use softclock::prelude::*;

#[path = "active_cases.rs"]
mod active_cases;
#[path = "callout_cases.rs"]
mod callout_cases;
#[path = "circle_cases.rs"]
mod circle_cases;
#[path = "ddi_cases.rs"]
mod ddi_cases;
#[path = "hard_cases.rs"]
mod hard_cases;
#[path = "harness.rs"]
mod harness;
#[path = "legacy_cases.rs"]
mod legacy_cases;
#[path = "lifetime_cases.rs"]
mod lifetime_cases;
#[path = "lock_cases.rs"]
mod lock_cases;
#[path = "lock_end_cases.rs"]
mod lock_end_cases;
#[path = "periodic_cases.rs"]
mod periodic_cases;
#[path = "periodic_end_cases.rs"]
mod periodic_end_cases;
#[path = "periodic_subject.rs"]
mod periodic_subject;
#[path = "plan_cases.rs"]
mod plan_cases;
#[path = "pointer_cases.rs"]
mod pointer_cases;
#[path = "reborn_cases.rs"]
mod reborn_cases;
#[path = "route_batch_cases.rs"]
mod route_batch_cases;
#[path = "route_cases.rs"]
mod route_cases;
#[path = "route_end_cases.rs"]
mod route_end_cases;
#[path = "route_subject.rs"]
mod route_subject;
#[path = "route_turn_cases.rs"]
mod route_turn_cases;
#[path = "shared_lock_cases.rs"]
mod shared_lock_cases;
#[path = "subject.rs"]
mod subject;
#[path = "wheel_cases.rs"]
mod wheel_cases;

module! {
    type: Module,
    name: "softclock_cases",
    authors: ["softclock maintainers"],
    description: "softclock selftest: conformance cases",
    license: "GPL",
    imports_ns: ["SOFTCLOCK"],
    params: {
        only: u8 {
            default: 0,
            description: "Run only this suite, counted from 1",
        },
        simulated: u8 {
            default: 0,
            description: "Time is simulated: nothing is late but softclock",
        },
    },
}

const SUITES: &[&[&[Case]]] = &[
    callout_cases::CASES,
    lifetime_cases::CASES,
    circle_cases::CASES,
    lock_cases::CASES,
    lock_end_cases::CASES,
    shared_lock_cases::CASES,
    active_cases::CASES,
    plan_cases::CASES,
    hard_cases::CASES,
    legacy_cases::CASES,
    wheel_cases::CASES,
    pointer_cases::CASES,
    reborn_cases::CASES,
    periodic_cases::CASES,
    periodic_end_cases::CASES,
    ddi_cases::CASES,
    route_batch_cases::CASES,
    route_cases::CASES,
    route_end_cases::CASES,
    route_turn_cases::CASES,
];

struct Module;

impl kernel::Module for Module {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let task = Task::new()?;
        harness::simulate(*module_parameters::simulated.value() != 0);
        match *module_parameters::only.value() {
            0 => harness::run(SUITES, &task),
            only => {
                let suites = SUITES.get(usize::from(only) - 1..usize::from(only));
                harness::run(suites.ok_or(EINVAL)?, &task);
            }
        }
        Ok(Self)
    }
}
