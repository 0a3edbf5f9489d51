// SPDX-License-Identifier: GPL-2.0

//! Routes of the kernel for drivers: have one deleted after a time, and hear of it when it goes before.
//!
//! A [`Fib`] stands for the IPv4 and IPv6 routes of one network namespace. A driver names a route in it
//! ([`RouteSpec`]) and a time; from then on that route is *watched*, until it is gone or forgotten. When its
//! time has come softclock deletes it, and nothing but it; when anybody else does, or its device goes down,
//! or its namespace is taken down, that is heard, and what was to happen does not. Either way the driver is
//! told ([`OnRouteEnd`]).
//!
//! ```text
//!                          time has come: softclock deletes it
//!   expire_after ---> watched ------------------------------------> Expired
//!                      |  ^ |  somebody else does, or it goes along  Gone
//!        refresh ------+  +-+------------------------------------> NamespaceGone
//!                         forget, Fib dropped: it lives on, and nothing is told
//! ```
//!
//! # Guarantees
//!
//! - A route is deleted never before its time, and exactly that route, also where others share its prefix.
//! - A route is watched on behalf of one `Fib`, or of an operator (`control` in debugfs), at a time: who comes
//!   second is refused (`EEXIST`), and the first one's time stands.
//! - The end of a watched route is told once, in task context, unless it was forgotten before.
//! - A namespace is not kept alive. When it is taken down the routes in it end, and the `Fib` stays, empty.
//! - Dropping a `Fib` forgets its routes, which live on. After [`Fib::shutdown`], or when the module's exit has
//!   returned, nothing of the driver's executes. What a module leaks is ended, and named in the log.
//!
//! # At what cost
//!
//! To watch a route takes some requests to the kernel, and waits for whoever is changing its configuration.
//! To [refresh](WatchedRoute::refresh) one is what it is in a [`RouteTimerQueue`]: a
//! compare-exchange. Routes with the same timeout share a queue, so give few different ones.
//!
//! # Examples
//!
//! ```
//! use core::net::{IpAddr, Ipv4Addr};
//! use softclock::{fib::*, prelude::*};
//!
//! struct Log;
//!
//! impl OnRouteEnd for Log {
//!     fn ended(&self, route: &KernelRoute, end: RouteEnd) {
//!         pr_info!("{}: {:?}\n", route, end);
//!     }
//! }
//!
//! # let task = Task::new()?;
//! let fib = Fib::of_first_namespace(softclock::owner!(), c"learned", Log)?;
//! let net = RouteSpec::new(IpAddr::V4(Ipv4Addr::new(10, 1, 2, 0)), 24)?.metric(100);
//! let route = fib.expire_after(&net, Delta::from_secs(600), &task)?;
//! route.refresh();                             // for each packet: it has ten minutes again
//! fib.forget(&net, &task)?;                    // it lives on
//! ```

pub use crate::route_fib::{KernelRoute, OnRouteEnd, RouteEnd};

use crate::{
    policy::{
        deadline::{Delta, Instant},
        life::CannotWait,
        name::Name,
        route::{timeout_of, Added},
        rtnl::{uapi, Address, Prefix, Wanted},
        text::Line, //
    },
    route::RouteTimerQueue,
    route_fib::{FibRoute, Fibs, Holder, Timing},
    sys::{
        context::Task,
        module::Owner,
        net::Held,
        target::Timed, //
    },
};
use core::{any::TypeId, net::IpAddr};
use kernel::{prelude::*, sync::Arc};

/// A route as a driver names it who does not know all of it: the first that fits is meant, which is the one
/// the kernel would take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteSpec(Wanted);

impl RouteSpec {
    /// The route to the first `len` bits of `address`, in the main table, through any device, with any
    /// metric. Any context.
    ///
    /// # Errors
    ///
    /// `ERANGE`: an address has fewer bits than that. `EINVAL`: bits are set beyond them. The log says which.
    #[inline(never)]
    pub fn new(address: IpAddr, len: u8) -> Result<Self> {
        let Some(prefix) = Prefix::new(Address::from(address), len) else {
            return Err(bad(address, len, ERANGE, "is longer than the address"));
        };
        if prefix.has_host_bits() {
            return Err(bad(
                address,
                len,
                EINVAL,
                "leaves bits of the address set beyond it",
            ));
        }
        Ok(Self(Wanted {
            prefix,
            table: uapi::RT_TABLE_MAIN,
            tos: 0,
            priority: None,
            oif: None,
        }))
    }

    /// In the table of that number; 254 is the main one.
    pub const fn table(mut self, number: u32) -> Self {
        self.0.table = number;
        self
    }

    /// With that metric, and no other.
    pub const fn metric(mut self, metric: u32) -> Self {
        self.0.priority = Some(metric);
        self
    }

    /// For that type of service; without this, for none.
    pub const fn tos(mut self, tos: u8) -> Self {
        self.0.tos = tos;
        self
    }

    /// Through the device of that number ([`Fib::device`]), and no other.
    pub const fn through(mut self, device: u32) -> Self {
        self.0.oif = Some(device);
        self
    }
}

/// The routes of a network namespace, as far as this driver has to do with them.
///
/// See the [module's](self) documentation. Dropping it forgets its routes, without waiting, in any context in
/// which memory can be freed, its own callback included: what executes ends in its own time, and nothing more
/// is told after that.
pub struct Fib {
    holder: Arc<Timed<Holder>>,
}

impl Fib {
    /// Those of the network namespace of the calling task. Task context; may block (`GFP_KERNEL`).
    ///
    /// `owner` is [`owner!()`](crate::owner); `name` is what debugfs and the log show, one word of at most 31
    /// bytes; `driver` is told of the ends of routes.
    ///
    /// # Errors
    ///
    /// `EINVAL`: a bad name, or `driver` is not compiled into the owner's module (the log says which).
    /// `EWOULDBLOCK` (`EAGAIN`): this context may not block. `ENOMEM`. `ENODEV`: the owner's module is being
    /// unloaded.
    pub fn of_current_namespace<D: OnRouteEnd>(
        owner: Owner,
        name: &'static CStr,
        driver: D,
    ) -> Result<Self> {
        // Compiled where the callback is.
        let checked = checked(owner, name, mark::<D> as fn() -> TypeId as usize)?;
        let driver: Arc<dyn OnRouteEnd> = Arc::new(driver, GFP_KERNEL)?;
        Self::make(owner, name, checked, driver, true)
    }

    /// Those of the first network namespace, which is there as long as the kernel runs. The rest is as for
    /// [`of_current_namespace`](Self::of_current_namespace).
    ///
    /// # Errors
    ///
    /// See there.
    pub fn of_first_namespace<D: OnRouteEnd>(
        owner: Owner,
        name: &'static CStr,
        driver: D,
    ) -> Result<Self> {
        // Compiled where the callback is.
        let checked = checked(owner, name, mark::<D> as fn() -> TypeId as usize)?;
        let driver: Arc<dyn OnRouteEnd> = Arc::new(driver, GFP_KERNEL)?;
        Self::make(owner, name, checked, driver, false)
    }

    #[inline(never)]
    fn make(
        owner: Owner,
        label: &'static CStr,
        name: Name,
        driver: Arc<dyn OnRouteEnd>,
        here: bool,
    ) -> Result<Self> {
        let net = if here {
            Held::of_this_task()
        } else {
            Held::first()
        }?;
        let holder = Fibs::get()?.hold(&net, owner, label, name, driver)?;
        Ok(Self { holder })
    }

    /// Has a route deleted when `timeout` is over, whatever this `Fib` has said of it before; zero: at once.
    /// Task context; blocks for as long as the kernel's configuration is being changed. Hold nothing that such
    /// a change waits for.
    ///
    /// # Errors
    ///
    /// `ENOENT`: there is no such route. `EEXIST`: another driver, or an operator, has it watched. `EBUSY`: it
    /// comes and goes all the time. `ENODEV`: the namespace is being taken down, or this was shut down.
    /// `EINVAL`: a negative timeout (the log says so). `ENOMEM`; `EIO`: the kernel did not say which routes
    /// there are. Nothing is changed then.
    #[inline(never)]
    pub fn expire_after(
        &self,
        route: &RouteSpec,
        timeout: Delta,
        task: &Task,
    ) -> Result<WatchedRoute> {
        let timeout = timeout_of(timeout).ok_or_else(|| {
            pr_err!(
                "routes {}: a timeout of {} ns; zero and more are allowed\n",
                self.holder.name(),
                timeout.as_nanos()
            );
            EINVAL
        })?;
        if self.holder.is_closed() {
            return Err(ENODEV);
        }
        let net = self.holder.namespace().hold()?;
        let holder = Some(&self.holder);
        let (route, queue) = Fibs::get()?.expire_after(net, route.0, timeout, holder, task)?;
        Ok(WatchedRoute { route, queue })
    }

    /// Forgets a watched route, which lives on; nothing is told of it any more. Task context; blocks shortly.
    ///
    /// # Errors
    ///
    /// `ENOENT`: no such route is watched on behalf of this `Fib`.
    #[inline(never)]
    pub fn forget(&self, route: &RouteSpec, _task: &Task) -> Result<KernelRoute> {
        let namespace = self.holder.namespace();
        namespace
            .forget(&route.0, Some(&**self.holder))
            .map(KernelRoute::of)
    }

    /// The number of the device `name` in the namespace. Task context.
    ///
    /// # Errors
    ///
    /// `ENOENT`: there is none of that name now. `ENODEV`: the namespace is being taken down.
    #[inline(never)]
    pub fn device(&self, name: &CStr) -> Result<u32> {
        self.holder.namespace().hold()?.device(name).ok_or(ENOENT)
    }

    /// How many routes are watched on behalf of this. Any context.
    pub fn count(&self) -> u64 {
        self.holder.watching()
    }

    /// Forgets all routes, which live on, and waits until nothing of the driver's executes. Answers how many
    /// there were. Task context; blocks for the rest of a callback at most.
    ///
    /// # Errors
    ///
    /// [`CannotWait`]: the caller is its own callback, or may not sleep. All are forgotten all the same.
    #[inline(never)]
    pub fn shutdown(&self, task: &Task) -> Result<u64, CannotWait> {
        Holder::end(&self.holder, task)
    }
}

impl Drop for Fib {
    fn drop(&mut self) {
        Holder::let_go(&self.holder);
    }
}

/// A route that is, or was, watched. It keeps nothing: dropping it changes nothing.
pub struct WatchedRoute {
    route: Arc<Timed<FibRoute>>,
    queue: Arc<RouteTimerQueue>,
}

impl WatchedRoute {
    /// Which route it is. Any context.
    pub fn route(&self) -> KernelRoute {
        self.route.told()
    }

    /// It was used: its time begins anew, as long as what this was made with. `false`: it is not watched any
    /// more, and nothing was changed. Any context but NMI; never blocks.
    #[inline(never)]
    pub fn refresh(&self) -> bool {
        !matches!(self.route.expire_in(&self.queue), Added::Refused(_))
    }

    /// When it is to be deleted; `None`: it is not watched any more, or is being deleted. Any context but NMI.
    #[inline(never)]
    pub fn due(&self) -> Option<Instant> {
        self.route.due()
    }

    /// Whether it is watched. Any context.
    #[inline(never)]
    pub fn is_watched(&self) -> bool {
        !self.route.is_over()
    }
}

/// A prefix there cannot be.
#[cold]
fn bad(address: IpAddr, len: u8, errno: Error, why: &str) -> Error {
    let mut told = Line::record("route");
    told.shown("to", &address);
    pr_err!("{}: a length of {} {}\n", told.as_str(), len, why);
    errno
}

#[inline(never)]
fn checked(owner: Owner, label: &'static CStr, code: usize) -> Result<Name> {
    Task::new()?;
    let name = Name::new(label.to_bytes()).map_err(|bad| {
        pr_err!("routes name \"{}\" {}\n", label, bad.what());
        EINVAL
    })?;
    if !owner.contains(code) {
        pr_err!(
            "routes {}: its callback is not compiled into the module that owner!() names; \
             mark the function that makes it #[inline(never)]\n",
            name.as_str(),
        );
        return Err(EINVAL);
    }
    Ok(name)
}

/// Something that is compiled into the same module as `D`, and is another thing for each `D`.
fn mark<D: 'static>() -> TypeId {
    TypeId::of::<D>()
}
