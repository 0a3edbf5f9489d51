// SPDX-License-Identifier: GPL-2.0

//! A callout bound to a lock: a stop under the lock is exact, even at the last moment.

use kernel::sync::lock::Guard;
use softclock::{locked::SoftBackend, new_soft_lock, prelude::*};

module! {
    type: Module,
    name: "callout_lock",
    authors: ["softclock maintainers"],
    description: "softclock sample: a callout bound to a lock",
    license: "GPL",
    imports_ns: ["SOFTCLOCK"],
}

/// A link that is declared dead when no packet has come for 50 ms.
#[pin_data]
struct Link {
    #[pin]
    alive: SoftLock<bool>,
    #[pin]
    silence: Callout<Self, Locked<Soft>>,
}
impl_has_callout! { impl HasCallout<Locked<Soft>> for Link { self.silence } }

impl HasLock<Locked<Soft>> for Link {
    type Data = bool;
    type Backend = SoftBackend;
    fn lock(&self) -> &SoftLock<bool> {
        &self.alive
    }
}

type Held<'a> = Guard<'a, bool, SoftBackend>;
impl OnExpireLocked<Locked<Soft>> for Link {
    // Called with the lock held; no packet can come in between.
    fn expire(_: ArcBorrow<'_, Timed<Self>>, mut alive: Held<'_>, _: &Expiry<'_, Soft>) -> Next {
        *alive = false;
        pr_info!("the link is dead\n");
        Next::Stop
    }
}

struct Module {
    _link: Arc<Timed<Link>>,
}

impl kernel::Module for Module {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let link = Timed::new(try_pin_init!(Link {
            alive <- new_soft_lock!(true),
            silence <- Callout::new(softclock::owner!(), c"silence"),
        }))?;
        // A packet comes: what is pending counts from now, also when it was just about to run.
        link.callout()
            .arm_after(Delta::from_millis(50), &link.alive.lock());
        Ok(Self { _link: link })
    }
}
