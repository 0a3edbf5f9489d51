// SPDX-License-Identifier: GPL-2.0

//! Exact to a microsecond or two: a strobe in the timer interrupt itself, without drift.
//!
//! Its timer is among the hard ones of `/proc/timer_list`; how late it was is in debugfs.

use softclock::prelude::*;

module! {
    type: Module,
    name: "callout_precise",
    authors: ["softclock maintainers"],
    description: "softclock sample: a callout in the timer interrupt",
    license: "GPL",
    imports_ns: ["SOFTCLOCK"],
}

#[pin_data]
struct Strobe {
    // `Precise<Soft>` has the same timer, and its callback in softirq context.
    #[pin]
    flash: Callout<Self, Hard>,
    flashes: Atomic<u64>,
}

impl_has_callout! { impl HasCallout<Hard> for Strobe { self.flash } }

impl OnExpire<Hard> for Strobe {
    // With interrupts off: a few hundred instructions, no lock but a `HardLock`, no allocation.
    fn expire(this: ArcBorrow<'_, Timed<Self>>, run: &Expiry<'_, Hard>) -> Next {
        this.flashes.fetch_add(1, Relaxed);
        // From the last deadline, not from now: then lateness does not add up.
        Next::At(run.due() + Delta::from_millis(10))
    }
}

struct Module {
    strobe: Arc<Timed<Strobe>>,
}

impl kernel::Module for Module {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let strobe = Timed::new(try_pin_init!(Strobe {
            flash <- Callout::new(softclock::owner!(), c"flash"),
            flashes: Atomic::new(0),
        }))?;
        strobe.callout::<Hard>().arm_after(Delta::from_millis(10));
        Ok(Self { strobe })
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        pr_info!("{} flashes\n", self.strobe.flashes.load(Relaxed));
    }
}
