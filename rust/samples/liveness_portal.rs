// SPDX-License-Identifier: GPL-2.0

//! Liveness over the network: a portal of this host is asked by inquiries of iSNS (RFC 4171), and what is
//! known of it is told.
//!
//! ```text
//! insmod softclock.ko; insmod liveness_portal.ko port=7001 every_s=60
//! cat /sys/kernel/debug/softclock/liveness/portals
//! ```

use core::net::{IpAddr, Ipv4Addr};
use softclock::{liveness::*, prelude::*};

module! {
    type: Module,
    name: "liveness_portal",
    authors: ["softclock maintainers"],
    description: "softclock sample: liveness of a portal of this host",
    license: "GPL",
    imports_ns: ["SOFTCLOCK"],
    params: {
        port: u16 {
            default: 3205,
            description: "Where it answers, over UDP",
        },
        every_s: u32 {
            default: 60,
            description: "How often it is asked, in seconds",
        },
    },
}

/// What is made of it.
struct Log;

impl OnVerdict for Log {
    fn verdict(&self, eid: &str, verdict: &Verdict) {
        match verdict {
            Verdict::Alive { rtt, .. } => pr_info!("{} lives, {} ns away\n", eid, rtt.as_nanos()),
            Verdict::Suspect { attempt, of, .. } => {
                pr_info!("{} is silent: {} of {}\n", eid, attempt, of);
            }
            Verdict::Dead { portal, why } => {
                pr_warn!("{}: {} is dead: {}\n", eid, portal, why);
            }
            Verdict::Pending { .. } => pr_info!("{} has no portal left\n", eid),
            _ => {}
        }
    }

    fn expired(&self, eid: &str, cause: Cause) -> Deregistered {
        pr_warn!("{} is gone: {}\n", eid, cause.as_str());
        Deregistered::Yes
    }
}

// Dropping the service ends it: there is nothing to undo at unload.
struct Module {
    _service: Liveness,
}

impl kernel::Module for Module {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let portal = PortalTerms::new(Portal::udp(here, *module_parameters::port.value()))
            .monitored()
            .every_secs(*module_parameters::every_s.value());
        let service = Liveness::new(softclock::owner!(), c"portal", Settings::new(), Log)?;
        service.register(&EntityTerms {
            eid: b"iqn.2026-01.org.example:disk",
            period_s: 0,
            portals: &[portal],
        })?;
        Ok(Self { _service: service })
    }
}
