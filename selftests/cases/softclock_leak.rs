// SPDX-License-Identifier: GPL-2.0

//! A driver that forgets: its exit leaves forty live callouts behind, half of them in a task, and two
//! more in a box and in a static.
//!
//! It must be possible to unload it, and nothing of it may run after that. With `tidy=1` it forgets
//! nothing, and is unloaded in the middle of its callbacks all the same.

use kernel::time::delay::fsleep;
use softclock::prelude::*;

module! {
    type: Module,
    name: "softclock_leak",
    authors: ["softclock maintainers"],
    description: "softclock selftest: leaks live callouts at unload",
    license: "GPL",
    imports_ns: ["SOFTCLOCK"],
    params: {
        tidy: u8 {
            default: 0,
            description: "Drop everything at unload",
        },
    },
}

const EACH: usize = 20;

#[pin_data]
struct Leaked {
    #[pin]
    soft: Callout<Self, Soft>,
    #[pin]
    task: Callout<Self, Task>,
}

impl_has_callout! {
    impl HasCallout<Soft> for Leaked { self.soft }
    impl HasCallout<Task> for Leaked { self.task }
}

impl OnExpire<Soft> for Leaked {
    fn expire(_this: ArcBorrow<'_, Timed<Self>>, _run: &Expiry<'_, Soft>) -> Next {
        Next::After(Delta::from_micros(500))
    }
}

impl OnExpire<Task> for Leaked {
    fn expire(_this: ArcBorrow<'_, Timed<Self>>, _run: &Expiry<'_, Task>) -> Next {
        // Long enough to be in the middle of this when the module leaves.
        fsleep(kernel::time::Delta::from_millis(3));
        Next::After(Delta::from_micros(500))
    }
}

#[pin_data]
struct Single {
    #[pin]
    timer: Callout<Self, Soft>,
}

impl_has_callout! { impl HasCallout<Soft> for Single { self.timer } }

impl OnExpire<Soft> for Single {
    fn expire(_this: ArcBorrow<'_, Timed<Self>>, _run: &Expiry<'_, Soft>) -> Next {
        Next::After(Delta::from_micros(500))
    }
}

impl Single {
    fn init(name: &'static CStr) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            timer <- Callout::new(softclock::owner!(), name),
        })
    }
}

static STATIC: TimedStatic<Single> = TimedStatic::new();

struct Module {
    leaked: KVec<Arc<Timed<Leaked>>>,
    owned: Option<(TimedBox<Single>, TimedStaticGuard<Single>)>,
}

impl kernel::Module for Module {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let mut leaked = KVec::new();
        for _ in 0..EACH {
            let one = Timed::new(try_pin_init!(Leaked {
                soft <- Callout::new(softclock::owner!(), c"leak-soft"),
                task <- Callout::new(softclock::owner!(), c"leak-task"),
            }))?;
            one.callout::<Soft>().arm_after(Delta::from_millis(1));
            one.callout::<Task>().arm_after(Delta::from_millis(1));
            leaked.push(one, GFP_KERNEL)?;
        }
        let owned = (
            TimedBox::new(Single::init(c"leak-box"))?,
            STATIC.set(Single::init(c"leak-static"))?,
        );
        owned.0.callout::<Soft>().arm_after(Delta::from_millis(1));
        owned.1.callout::<Soft>().arm_after(Delta::from_millis(1));
        Ok(Self {
            leaked,
            owned: Some(owned),
        })
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        if *module_parameters::tidy.value() == 0 {
            core::mem::forget(core::mem::take(&mut self.leaked));
            core::mem::forget(self.owned.take());
        }
    }
}
