// SPDX-License-Identifier: GPL-2.0
//! Says how often it has ticked, twice a second.
use softclock::prelude::*;

struct Blink {
    _tick: Arc<Timed<Closure<Task>>>, // dropping it ends the callout
}

impl kernel::Module for Blink {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let ticks = Atomic::new(0u64);
        let tick = Closure::<Task>::new(softclock::owner!(), c"tick", move |_run| {
            pr_info!("tick {}\n", ticks.fetch_add(1, Relaxed));
            Next::After(Delta::from_millis(500))
        })?;
        tick.callout().arm_after(Delta::ZERO);
        Ok(Self { _tick: tick })
    }
}

module! {
    type: Blink,
    name: "blink",
    authors: ["you"],
    description: "A client of softclock",
    license: "GPL",
    imports_ns: ["SOFTCLOCK"],
}
