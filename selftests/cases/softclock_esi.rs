// SPDX-License-Identifier: GPL-2.0

//! The conformance cases of liveness that need no network, run inside the kernel by an ordinary client.
//!
//! Results are KTAP lines in the log. Each case names the fault it catches; its number is that of the
//! project's specification, and so are the numbers S1 to S12 of faults that isnsd has.

use self::harness::Case;
use softclock::prelude::*;

#[path = "esi_cases.rs"]
mod esi_cases;
#[path = "esi_crowd_cases.rs"]
mod esi_crowd_cases;
#[path = "esi_end_cases.rs"]
mod esi_end_cases;
#[path = "esi_subject.rs"]
mod esi_subject;
#[path = "harness.rs"]
#[expect(
    unused_macros,
    unused_imports,
    reason = "it has more than these cases need"
)]
mod harness;
#[path = "subject.rs"]
#[expect(dead_code, reason = "it has more than these cases need")]
mod subject;

module! {
    type: Module,
    name: "softclock_esi",
    authors: ["softclock maintainers"],
    description: "softclock selftest: conformance cases of liveness",
    license: "GPL",
    imports_ns: ["SOFTCLOCK"],
    params: {
        only: u8 {
            default: 0,
            description: "Run only this suite, counted from 1",
        },
        unit_s: u32 {
            default: 1,
            description: "Seconds of a unit of time",
        },
        slack_ms: u32 {
            default: 400,
            description: "How late something may be; 1 where time is simulated",
        },
    },
}

const SUITES: &[&[&[Case]]] = &[
    esi_cases::CASES,
    esi_end_cases::CASES,
    esi_crowd_cases::CASES,
];

struct Module;

impl kernel::Module for Module {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let task = Task::new()?;
        esi_subject::set_unit(
            *module_parameters::unit_s.value(),
            *module_parameters::slack_ms.value(),
        );
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
