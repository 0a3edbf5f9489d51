// SPDX-License-Identifier: GPL-2.0

//! Probes over sockets, of the portals that softclock_peer plays: the cases of SEMANTICS that need a
//! network.

use self::harness::Case;
use softclock::prelude::*;

#[path = "harness.rs"]
#[allow(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "other modules of cases use more of it"
)]
mod harness;
#[path = "probe_cases.rs"]
mod probe_cases;
#[path = "probe_crowd_cases.rs"]
mod probe_crowd_cases;
#[path = "probe_subject.rs"]
mod probe_subject;

module! {
    type: Module,
    name: "softclock_probe",
    authors: ["softclock maintainers"],
    description: "softclock selftest: probes over sockets",
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
        many: u32 {
            default: 1000,
            description: "How many a thousand probes are: fewer in slow kernels",
        },
    },
}

const SUITES: &[&[&[Case]]] = &[probe_cases::CASES, probe_crowd_cases::CASES];

struct Module;

impl kernel::Module for Module {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let task = Task::new()?;
        harness::simulate(*module_parameters::simulated.value() != 0);
        probe_crowd_cases::set_many(*module_parameters::many.value());
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
