// SPDX-License-Identifier: GPL-2.0

//! Begins probes, as the parameters say, and leaves them to softclock.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use kernel::time::delay::fsleep;
use softclock::{
    liveness::{ask, drill::Drill, Question},
    prelude::*,
};

module! {
    type: Module,
    name: "softclock_drill",
    authors: ["softclock maintainers"],
    description: "softclock selftest: probes that are left in flight",
    license: "GPL",
    imports_ns: ["SOFTCLOCK"],
    params: {
        n: u32 {
            default: 1_000,
            description: "How many",
        },
        ip: u32 {
            default: 0x7f00_0001,
            description: "The IPv4 address where they are asked, as a number",
        },
        at: u32 {
            default: 7011,
            description: "The port where they are asked, with 0x10000 for UDP",
        },
        window: u32 {
            default: 1_024,
            description: "How many may be in flight at once",
        },
        patience_ms: u32 {
            default: 30_000,
            description: "How long an attempt waits; there are three",
        },
        scope: u32 {
            default: 0,
            description: "Not 0: asks fe80::1 on the interface of this number",
        },
        finish: u8 {
            default: 0,
            description: "1: waits until all have ended, and says how long that took",
        },
        wait: u8 {
            default: 0,
            description: "1: asks once, and waits for the reply",
        },
    },
}

struct Module(Option<Drill>);

impl kernel::Module for Module {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let task = Task::new()?;
        let scope = *module_parameters::scope.value();
        let ip = match scope {
            0 => IpAddr::V4(Ipv4Addr::from(*module_parameters::ip.value())),
            _ => IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1)),
        };
        let question = Question {
            ip,
            scope,
            port: 860,
            at: *module_parameters::at.value(),
            patience: Delta::from_millis((*module_parameters::patience_ms.value()).into()),
            ..Question::about("iqn.2026-01.org.example:disk")
        };
        if *module_parameters::wait.value() != 0 {
            pr_info!("{:?}\n", ask(&question, &task)?);
            return Ok(Self(None));
        }
        Drill::set_window(*module_parameters::window.value(), &task)?;
        let n = *module_parameters::n.value();
        let began = softclock::now();
        let drill = Drill::begin(&question, n.into(), &task)?;
        let finish = *module_parameters::finish.value() != 0;
        while finish && drill.ended().iter().sum::<u64>() < n.into() {
            fsleep(kernel::time::Delta::from_micros(200));
        }
        let took = softclock::now() - began;
        if finish {
            pr_info!(
                "{} probes, {} ns each\n",
                n,
                took.as_nanos() / i64::from(n.max(1))
            );
        }
        Ok(Self(Some(drill)))
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        let Some(drill) = &self.0 else { return };
        let [answered, silent, void] = drill.ended();
        pr_info!("answered {} silent {} void {}\n", answered, silent, void);
    }
}
