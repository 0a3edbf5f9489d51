// SPDX-License-Identifier: GPL-2.0

//! What liveness costs, and how punctual it is, measured by an ordinary client.
//!
//! Everything but memory is measured while the module loads, and printed as rows for `scripts/bench`, as
//! those of `softclock_bench`. `softclock_peer` has to be there: it answers, in the same guest.

use softclock::{liveness::*, prelude::*};

#[path = "live_cost.rs"]
mod cost;
#[path = "live_hour.rs"]
mod hour;
mod live;
#[allow(dead_code, reason = "single operations are measured elsewhere")]
mod meter;

use self::live::{portal, terms, Eid, How, Whom};

module! {
    type: Module,
    name: "softclock_bench_live",
    authors: ["softclock maintainers"],
    description: "softclock selftest: what liveness costs",
    license: "GPL",
    imports_ns: ["SOFTCLOCK"],
    params: {
        cost: u32 {
            default: 0,
            description: "1: what a probe costs",
        },
        minutes: u32 {
            default: 0,
            description: "Watches entities for so many minutes",
        },
        entities: u32 {
            default: 100_000,
            description: "So many of them",
        },
        udp: u32 {
            default: 0,
            description: "So many of these over UDP; but for those and the next, by a probe of the module's own",
        },
        tcp: u32 {
            default: 0,
            description: "So many of these over TCP",
        },
        hold: u32 {
            default: 0,
            description: "Makes this many entities that nobody answers for, and keeps them",
        },
        over: u32 {
            default: 0,
            description: "These are asked over UDP (0) or TCP (1)",
        },
    },
}

struct Module {
    _held: Option<Liveness>,
}

impl kernel::Module for Module {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let task = Task::new()?;
        if *module_parameters::cost.value() != 0 {
            cost::run(&task)?;
        }
        let minutes = *module_parameters::minutes.value();
        if minutes > 0 {
            hour::run(&hour::Plan {
                entities: *module_parameters::entities.value() as usize,
                udp: *module_parameters::udp.value() as usize,
                tcp: *module_parameters::tcp.value() as usize,
                minutes,
            })?;
        }
        let hold = *module_parameters::hold.value() as usize;
        Ok(Self {
            _held: if hold > 0 { Some(held(hold)?) } else { None },
        })
    }
}

struct Nobody;

impl OnVerdict for Nobody {
    fn verdict(&self, eid: &str, verdict: &Verdict) {
        pr_err!("{}: {:?}\n", eid, verdict);
    }

    fn expired(&self, _eid: &str, _cause: Cause) -> Deregistered {
        Deregistered::Yes
    }
}

/// Entities that are asked in a day, or when an operator says so, and then do not answer for an hour.
fn held(count: usize) -> Result<Liveness> {
    let settings = Settings::new()
        .patience(Delta::from_secs(3_600))
        .window(16_384);
    let service = Liveness::new(softclock::owner!(), c"held", settings, Nobody)?;
    let how = match *module_parameters::over.value() {
        0 => How::Udp,
        _ => How::Tcp,
    };
    for n in 0..count {
        let portals = [portal(n, how, Whom::Nobody, 86_400)];
        service.register(&terms(&Eid::watched(n), &portals))?;
    }
    Ok(service)
}
