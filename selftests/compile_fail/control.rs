// SPDX-License-Identifier: GPL-2.0

//! What the others are variations of. It must compile, or they fail for the wrong reason.

use softclock::prelude::*;

#[pin_data]
struct Object {
    #[pin]
    timer: Callout<Self, Soft>,
    count: u64,
}

impl_has_callout! { impl HasCallout<Soft> for Object { self.timer } }

impl OnExpire<Soft> for Object {
    fn expire(_this: ArcBorrow<'_, Timed<Self>>, _run: &Expiry<'_, Soft>) -> Next {
        Next::Stop
    }
}

/// Arms and reads.
pub fn control() -> Result<u64> {
    let object = Timed::new(try_pin_init!(Object {
        timer <- Callout::new(softclock::owner!(), c"control"),
        count: 0,
    }))?;
    object.callout::<Soft>().arm_after(Delta::ZERO);
    object.timer.drain(&Task::new()?)?;
    Ok(object.count)
}

/// Runs again and again.
pub fn periodic(owner: softclock::Owner) -> Result<Periodic<Task>> {
    let mut runs = 0u64;
    Periodic::<Task>::new(owner, c"control", Delta::from_millis(1), move |tick| {
        runs += 1;
        let _ = tick.task();
    })
}

module! {
    type: Module,
    name: "control",
    authors: ["softclock maintainers"],
    description: "It compiles",
    license: "GPL",
}

struct Module;

impl kernel::Module for Module {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        control().map(|_| Self)
    }
}
