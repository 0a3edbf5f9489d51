// SPDX-License-Identifier: GPL-2.0

//! A driver that forgets: its exit leaves forty live callouts behind, half of them in a task.
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

struct Module(KVec<Arc<Timed<Leaked>>>);

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
        Ok(Self(leaked))
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        if *module_parameters::tidy.value() == 0 {
            core::mem::forget(core::mem::take(&mut self.0));
        }
    }
}
