// SPDX-License-Identifier: GPL-2.0

//! A driver with many callouts, to list: `n=` of them, armed for an hour from now.

use softclock::prelude::*;

module! {
    type: Module,
    name: "softclock_many",
    authors: ["softclock maintainers"],
    description: "softclock selftest: many callouts",
    license: "GPL",
    imports_ns: ["SOFTCLOCK"],
    params: {
        n: u32 {
            default: 1000,
            description: "How many callouts",
        },
    },
}

#[pin_data]
struct One {
    #[pin]
    callout: Callout<Self, Soft>,
}

impl_has_callout! { impl HasCallout<Soft> for One { self.callout } }

impl OnExpire<Soft> for One {
    fn expire(_this: ArcBorrow<'_, Timed<Self>>, _run: &Expiry<'_, Soft>) -> Next {
        Next::Stop
    }
}

struct Module {
    _all: KVVec<Arc<Timed<One>>>,
}

impl kernel::Module for Module {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let mut all = KVVec::new();
        for _ in 0..*module_parameters::n.value() {
            let one = Timed::new(try_pin_init!(One {
                callout <- Callout::new(softclock::owner!(), c"one"),
            }))?;
            one.callout::<Soft>().arm_after(Delta::from_secs(3600));
            all.push(one, GFP_KERNEL)?;
        }
        Ok(Self { _all: all })
    }
}
