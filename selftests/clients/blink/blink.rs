// SPDX-License-Identifier: GPL-2.0
//! Blinks: says "on" and "off" in turn, every half a second.
use softclock::prelude::*;

#[pin_data]
struct Blink {
    #[pin]
    tick: Callout<Self, Task>,
    ticks: Atomic<u64>,
}
impl_has_callout! { impl HasCallout<Task> for Blink { self.tick } }

impl OnExpire<Task> for Blink {
    fn expire(this: ArcBorrow<'_, Timed<Self>>, _run: &Expiry<'_, Task>) -> Next {
        let on = this.ticks.fetch_add(1, Relaxed) % 2 == 0;
        pr_info!("{}\n", if on { "on" } else { "off" });
        Next::After(Delta::from_millis(500))
    }
}

struct Module(#[expect(dead_code)] Arc<Timed<Blink>>); // dropping it ends the callout

impl kernel::Module for Module {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let blink = Timed::new(try_pin_init!(Blink {
            tick <- Callout::new(softclock::owner!(), c"tick"),
            ticks: Atomic::new(0),
        }))?;
        blink.callout::<Task>().arm_after(Delta::ZERO);
        Ok(Self(blink))
    }
}

module! {
    type: Module,
    name: "blink",
    authors: ["you"],
    description: "A client of softclock",
    license: "GPL",
    imports_ns: ["SOFTCLOCK"],
}
