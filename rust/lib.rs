// SPDX-License-Identifier: GPL-2.0

//! softclock: kernel timers that can be stopped, for Rust drivers.
//!
//! [`callout`] runs a function later, at most once, and lets its owner take that back safely from
//! anywhere; [`periodic`] runs one at regular times; [`route`] does something to a route some time
//! after it was last used, [`fib`] does so to a route of the kernel; [`liveness`] asks others whether they
//! live. See the README for a first driver.
//!
//! # Layers
//!
//! ```text
//!                                          control  debugfs        what operators use
//!                                               \     |
//!                                  liveness    route_fib <- fib   the network | the kernel's own routes
//!                                     |           |
//!   callout  locked  closure  timeout  periodic  route            what drivers use
//!        \    timed_box  timed_static    /        /
//!     context  engine                  /        /        where callbacks execute
//!        |       |                    /        /
//!      wheel  inflight  registry  beats  slab  hub       on the wheel | with a timer of its own
//!            |         |
//!         policy      sys                  rules without a machine | the machine; all `unsafe`
//! ```

use kernel::prelude::*;

mod beats;
pub mod callout;
pub mod closure;
mod code;
pub mod context;
mod control;
mod debugfs;
mod ending;
mod engine;
pub mod fib;
mod hub;
mod inflight;
pub mod liveness;
pub mod locked;
pub mod periodic;
mod policy;
pub mod prelude;
mod registry;
pub mod route;
mod route_fib;
mod slab;
mod sys;
mod timed_box;
mod timed_static;
pub mod timeout;
mod wheel;

pub use self::{
    callout::{Callout, CalloutOf, Handle, OnExpire, Plan},
    closure::Closure,
    context::{
        Context, Exclusive, Expiry, Hard, Kind, Locked, Mode, Nth, Precise, Shared, Soft, Unlocked,
    },
    inflight::now,
    locked::{
        HardLock, HasLock, OnExpireLocked, OnExpireShared, ReadGuard, ReadLock, SoftLock,
        SoftRwLock, TaskRwLock,
    },
    periodic::{Changed, Coarse, Periodic, Rate, Then, Tick},
    policy::{
        deadline::{Delta, Instant},
        life::{Arm, CannotWait, Drain, Next, Refusal, Stop},
        route::{Added, Change, NotAdded, Pending},
    },
    route::{
        Act, DeleteRoute, HasRouteTimers, Now, QueueKind, Removal, Route, RouteAction, RouteOf,
        RouteTimer, RouteTimerQueue, RouteTimers, TimerRef, Timers, TimersOf,
    },
    sys::{
        context::Task,
        module::Owner,
        target::{Contains, Timed}, //
    },
    timed_box::TimedBox,
    timed_static::{TimedStatic, TimedStaticGuard},
};

#[doc(hidden)]
pub use self::route::EntryRef as RouteEntryRef;

/// What the types of the interface are made of: not for drivers.
#[doc(hidden)]
pub mod internal {
    pub use crate::{
        callout::{Calls, FiringRef},
        ending::{Ending, HasCallouts},
        engine::{Asked, Engine},
        inflight::Precisely,
        sys::{
            target::{Embeds, Part},
            wheel::{Entry, When, Worked}, //
        },
    };
}

use self::{
    debugfs::Tree,
    hub::{Hub, Loaded},
    route_fib::Fibs,
    sys::{
        global::Published,
        module::{Here, Notifier},
    },
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
    _sockets: liveness::sockets::Loaded,
    // Last of those that have callouts of softclock's own: it tells which are left.
    _routes: route_fib::Loaded,
    _hub: Loaded,
    _here: Published<Here>,
}

impl kernel::Module for Softclock {
    fn init(module: &'static ThisModule) -> Result<Self> {
        sys::target::layout_is_known()?;
        let here = Here::publish(module)?;
        let loaded = Hub::publish()?;
        let notifier = KBox::pin_init(Notifier::new::<Hub>(), GFP_KERNEL)?;
        let sockets = liveness::sockets::Sockets::publish()?;
        let routes = Fibs::publish(params::route_room_kib())?;
        let tree = Tree::new(&loaded.hub, &routes.fibs)?;
        pr_info!("loaded, abi {}\n", ABI);
        Ok(Self {
            _tree: tree,
            _notifier: notifier,
            _routes: routes,
            _sockets: sockets,
            _hub: loaded,
            _here: here,
        })
    }
}

module! {
    type: Softclock,
    name: "softclock",
    authors: ["softclock maintainers"],
    description: "Kernel timers that can be stopped, for Rust drivers",
    license: "GPL",
    params: {
        route_room_kib: u32 {
            default: 4096,
            description: "Messages about routes that each network namespace may have unread, in KiB",
        },
    },
}

/// What was said at load.
mod params {
    #[cfg(kver_ge_7_3)]
    pub(crate) fn route_room_kib() -> u32 {
        super::module_parameters::route_room_kib.value()
    }

    #[cfg(not(kver_ge_7_3))]
    pub(crate) fn route_room_kib() -> u32 {
        *super::module_parameters::route_room_kib.value()
    }
}
