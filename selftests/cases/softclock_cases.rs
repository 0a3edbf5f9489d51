// SPDX-License-Identifier: GPL-2.0

//! The conformance cases of softclock, run inside the kernel by an ordinary client.
//!
//! Results are KTAP lines in the log. Each case names the fault it catches; its number is that of the
//! project's specification.

use softclock::prelude::*;

#[path = "callout_cases.rs"]
mod callout_cases;
#[path = "circle_cases.rs"]
mod circle_cases;
#[path = "harness.rs"]
mod harness;
#[path = "lifetime_cases.rs"]
mod lifetime_cases;
#[path = "subject.rs"]
mod subject;

module! {
    type: Module,
    name: "softclock_cases",
    authors: ["softclock maintainers"],
    description: "softclock selftest: conformance cases",
    license: "GPL",
    imports_ns: ["SOFTCLOCK"],
}

struct Module;

impl kernel::Module for Module {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let task = Task::new()?;
        harness::run(
            &[
                callout_cases::CASES,
                lifetime_cases::CASES,
                circle_cases::CASES,
            ],
            &task,
        );
        Ok(Self)
    }
}
