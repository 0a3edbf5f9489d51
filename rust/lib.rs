// SPDX-License-Identifier: GPL-2.0

//! softclock: kernel timers that can be stopped, for Rust drivers.
//!
//! [`callout`] runs a function later, at most once, and lets its owner take that back safely from
//! anywhere. See the README for a first driver.
//!
//! # Layers
//!
//! ```text
//!   callout  closure  context  debugfs    what drivers and operators use
//!        \        |         /
//!         inflight  registry  hub          one implementation of "at the same time"
//!            |         |
//!         policy      sys                  rules without a machine | the machine; all `unsafe`
//! ```

use kernel::prelude::*;

pub mod callout;
pub mod closure;
pub mod context;
mod debugfs;
mod hub;
mod inflight;
mod policy;
pub mod prelude;
mod registry;
mod sys;

pub use self::{
    callout::{Callout, CalloutOf, Handle, OnExpire},
    closure::Closure,
    context::{Context, Expiry, Kind, Nth, Soft},
    inflight::now,
    policy::{
        deadline::{Delta, Instant},
        life::{Arm, CannotWait, Drain, Next, Refusal, Stop},
    },
    sys::{
        context::Task,
        module::Owner,
        target::{Contains, Timed}, //
    },
};

use self::{
    debugfs::Tree,
    hub::{Hub, Loaded},
    sys::module::Notifier,
};

/// Identifies the binary interface: clients built against another one are refused at load.
pub const ABI: &str = env!("SOFTCLOCK_ABI");

impl From<CannotWait> for Error {
    fn from(why: CannotWait) -> Self {
        match why {
            CannotWait::Deadlock => Error::from_errno(-(kernel::bindings::EDEADLK as i32)),
            CannotWait::Atomic => EAGAIN,
        }
    }
}

/// The module. Fields are dropped in this order: nobody looks in, nobody is told, nothing is there.
struct Softclock {
    _tree: Tree,
    _notifier: Pin<KBox<Notifier>>,
    _hub: Loaded,
}

impl kernel::Module for Softclock {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        sys::target::layout_is_known()?;
        let loaded = Hub::publish()?;
        let notifier = KBox::pin_init(Notifier::new::<Hub>(), GFP_KERNEL)?;
        let tree = Tree::new(&loaded.hub)?;
        pr_info!("loaded, abi {}\n", ABI);
        Ok(Self {
            _tree: tree,
            _notifier: notifier,
            _hub: loaded,
        })
    }
}

module! {
    type: Softclock,
    name: "softclock",
    authors: ["softclock maintainers"],
    description: "Kernel timers that can be stopped, for Rust drivers",
    license: "GPL",
}
