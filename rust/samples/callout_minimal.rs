// SPDX-License-Identifier: GPL-2.0

//! The least there is: one closure, called once, a tenth of a second after the module was loaded.
//!
//! ```text
//! insmod softclock.ko; insmod callout_minimal.ko; dmesg | tail -n 1
//! ```

use softclock::prelude::*;

module! {
    type: Module,
    name: "callout_minimal",
    authors: ["softclock maintainers"],
    description: "softclock sample: one callout, once",
    license: "GPL",
    imports_ns: ["SOFTCLOCK"],
}

// Dropping the last reference cancels what is pending, and nothing runs after that.
struct Module {
    _once: Arc<Timed<Closure<Soft>>>,
}

impl kernel::Module for Module {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        // `Soft`: in softirq context, where nothing may sleep. `Task` in its place may.
        let once = Closure::<Soft>::new(softclock::owner!(), c"once", |_run| {
            pr_info!("called\n");
            // Not again. `Next::After(...)` would make it a periodic one.
            Next::Stop
        })?;
        once.callout().arm_after(Delta::from_millis(100));
        Ok(Self { _once: once })
    }
}
