// SPDX-License-Identifier: GPL-2.0

//! Callouts whose counters in debugfs are known to the last one.

use kernel::time::delay::fsleep;
use softclock::prelude::*;

module! {
    type: Module,
    name: "softclock_counts",
    authors: ["softclock maintainers"],
    description: "softclock selftest: callouts with known counters",
    license: "GPL",
    imports_ns: ["SOFTCLOCK"],
}

/// How often any of them has run.
static RAN: Atomic<u64> = Atomic::new(0);

struct Module {
    _all: [Arc<Timed<Closure<Precise<Task>>>>; 3],
}

/// A closure that runs `times` times.
fn closure(name: &'static CStr, times: u64) -> Result<Arc<Timed<Closure<Precise<Task>>>>> {
    let left = Atomic::new(times);
    Closure::new(softclock::owner!(), name, move |_run| {
        RAN.fetch_add(1, Release);
        if left.fetch_sub(1, Relaxed) > 1 {
            Next::After(Delta::ZERO)
        } else {
            Next::Stop
        }
    })
}

impl kernel::Module for Module {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let task = Task::new()?;
        let thrice = closure(c"thrice", 3)?;
        thrice.callout().arm_after(Delta::ZERO);

        let stopped = closure(c"stopped", 1)?;
        for _ in 0..4 {
            stopped.callout().arm_after(Delta::from_secs(3600));
        }
        stopped.callout().stop();
        stopped.callout().stop();

        let shut = closure(c"shut", 1)?;
        shut.callout().arm_after(Delta::from_secs(3600));
        shut.callout().shutdown(&task)?;
        shut.callout().arm_after(Delta::ZERO);
        shut.callout().arm_after(Delta::ZERO);

        for _ in 0..200 {
            fsleep(kernel::time::Delta::from_millis(100));
            if RAN.load(Acquire) >= 3 {
                break;
            }
        }
        // The last run is not over when it has counted itself.
        fsleep(kernel::time::Delta::from_millis(300));
        Ok(Self {
            _all: [thrice, stopped, shut],
        })
    }
}
