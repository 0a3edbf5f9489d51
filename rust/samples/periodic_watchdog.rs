// SPDX-License-Identifier: GPL-2.0

//! A watchdog: five times a second it looks whether a device has given a sign of life, and resets it when
//! it has been silent for a second.
//!
//! The device is made up: its interrupt is a periodic in softirq context, and it hangs after a while.
//!
//! ```text
//! insmod softclock.ko; insmod periodic_watchdog.ko
//! cat /sys/kernel/debug/softclock/periodics
//! ```

use softclock::prelude::*;

module! {
    type: Module,
    name: "periodic_watchdog",
    authors: ["softclock maintainers"],
    description: "softclock sample: one periodic in a task, one in softirq context",
    license: "GPL",
    imports_ns: ["SOFTCLOCK"],
}

struct Device {
    signs: Atomic<u64>,
    hung: Atomic<bool>,
}

// Dropping a periodic ends it: there is nothing to undo at unload.
struct Module {
    _watchdog: Periodic<Task>,
    _interrupt: Periodic<Soft>,
}

/// Silent for so many looks: it hangs.
const PATIENCE: u64 = 5;

impl kernel::Module for Module {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let device = Arc::new(
            Device {
                signs: Atomic::new(0),
                hung: Atomic::new(false),
            },
            GFP_KERNEL,
        )?;

        let it = device.clone();
        let every = Delta::from_millis(10);
        let mut hangs = true;
        let interrupt = Periodic::new(softclock::owner!(), c"interrupt", every, move |tick| {
            // The fiftieth point itself may be one that was missed.
            if hangs && tick.number() >= 50 {
                hangs = false;
                it.hung.store(true, Relaxed);
            }
            if !it.hung.load(Relaxed) {
                it.signs.fetch_add(1, Relaxed);
            }
        })?;

        // What it remembers from look to look needs no lock: runs never overlap.
        let (mut seen, mut silent) = (0, 0);
        let every = Delta::from_millis(200);
        let watchdog = Periodic::new(softclock::owner!(), c"watchdog", every, move |tick| {
            let signs = device.signs.load(Relaxed);
            // A look that was missed counts as well.
            silent = if signs == seen {
                silent + 1 + tick.missed()
            } else {
                0
            };
            seen = signs;
            if silent >= PATIENCE {
                pr_warn!("silent after {} signs of life: reset\n", signs);
                device.hung.store(false, Relaxed);
                silent = 0;
            }
        })?;

        Ok(Self {
            _watchdog: watchdog,
            _interrupt: interrupt,
        })
    }
}
