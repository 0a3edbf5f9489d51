// SPDX-License-Identifier: GPL-2.0

//! A route of the kernel that somebody has learned, 10.1.2.0/24: it is deleted when its time is over.
//!
//! ```text
//! ip route add 10.1.2.0/24 dev eth0
//! insmod softclock.ko; insmod fib_expiry.ko timeout_ms=600000
//! cat /sys/kernel/debug/softclock/route/watched
//! ```

use core::net::{IpAddr, Ipv4Addr};
use softclock::{fib::*, prelude::*};

module! {
    type: Module,
    name: "fib_expiry",
    authors: ["softclock maintainers"],
    description: "softclock sample: a route of the kernel that is deleted after a time",
    license: "GPL",
    imports_ns: ["SOFTCLOCK"],
    params: {
        timeout_ms: u32 {
            default: 600_000,
            description: "After how long, in milliseconds",
        },
    },
}

/// What is made of its end.
struct Log;

impl OnRouteEnd for Log {
    fn ended(&self, route: &KernelRoute, end: RouteEnd) {
        match end {
            RouteEnd::Expired => pr_info!("{}: its time was over\n", route),
            RouteEnd::Gone => pr_info!("{}: somebody else has deleted it\n", route),
            _ => pr_info!("{}: gone with its namespace\n", route),
        }
    }
}

// Dropping it forgets the route: there is nothing to undo at unload.
struct Module {
    _fib: Fib,
}

impl kernel::Module for Module {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let task = Task::new()?;
        let fib = Fib::of_current_namespace(softclock::owner!(), c"learned", Log)?;
        let net = RouteSpec::new(IpAddr::V4(Ipv4Addr::new(10, 1, 2, 0)), 24)?;
        let timeout = Delta::from_millis(i64::from(*module_parameters::timeout_ms.value()));
        // ENOENT: there is no such route.
        let route = fib.expire_after(&net, timeout, &task)?;
        pr_info!("{}: watched\n", route.route());
        Ok(Self { _fib: fib })
    }
}
