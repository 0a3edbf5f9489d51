// SPDX-License-Identifier: GPL-2.0

//! A driver with as many entities as wanted: for what operators see, and for unloading it in the middle of
//! everything.

use kernel::{new_mutex, sync::Mutex};
use softclock::{liveness::*, prelude::*};

module! {
    type: Module,
    name: "softclock_entities",
    authors: ["softclock maintainers"],
    description: "softclock selftest: many entities",
    license: "GPL",
    imports_ns: ["SOFTCLOCK"],
    params: {
        n: u32 {
            default: 10,
            description: "Entities",
        },
        interval_s: u32 {
            default: 60,
            description: "Seconds between inquiries",
        },
        patience_ms: u32 {
            default: 2000,
            description: "How long an attempt waits",
        },
        window: u32 {
            default: 1024,
            description: "Entities that are asked at the same time",
        },
        silent: u8 {
            default: 0,
            description: "Nobody answers",
        },
        slow_ms: u32 {
            default: 0,
            description: "How long the driver takes over each question and each verdict",
        },
        trigger: u8 {
            default: 0,
            description: "Have a round of all at once",
        },
        last_ms: u32 {
            default: 0,
            description: "How long it takes to drop the driver",
        },
        forget: u8 {
            default: 0,
            description: "Forget the service at unload",
        },
    },
}

struct Driver;

fn sleep_ms(ms: u32) {
    if ms > 0 {
        kernel::time::delay::fsleep(kernel::time::Delta::from_millis(ms.into()));
    }
}

fn slowly() {
    sleep_ms(*module_parameters::slow_ms.value());
}

impl Drop for Driver {
    fn drop(&mut self) {
        sleep_ms(*module_parameters::last_ms.value());
        pr_info!("the driver is dropped\n");
    }
}

impl OnVerdict for Driver {
    fn verdict(&self, _eid: &str, _verdict: &Verdict) {
        slowly();
    }

    fn expired(&self, _eid: &str, _cause: Cause) -> Deregistered {
        slowly();
        Deregistered::Yes
    }
}

/// What was asked and is not answered.
struct Asker(Arc<Mutex<KVec<Asking>>>);

impl Probe for Asker {
    fn ask(&self, asking: Asking) {
        slowly();
        if *module_parameters::silent.value() == 0 {
            asking.alive();
        } else {
            let _ = self.0.lock().push(asking, GFP_KERNEL);
        }
    }
}

struct Module {
    service: Option<Liveness>,
}

impl kernel::Module for Module {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let settings = Settings::new()
            .patience(Delta::from_millis(
                (*module_parameters::patience_ms.value()).into(),
            ))
            .window(*module_parameters::window.value());
        let asker = Asker(Arc::pin_init(new_mutex!(KVec::new()), GFP_KERNEL)?);
        let service =
            Liveness::with_probe(softclock::owner!(), c"entities", settings, Driver, asker)?;
        for n in 0..*module_parameters::n.value() {
            let mut eid = *b"iqn.2026-11.org.example:0000000";
            let (_, digits) = eid.split_at_mut(24);
            let mut rest = n;
            for digit in digits.iter_mut().rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
            let portal = PortalTerms::new(Portal::numbered(n.into()))
                .monitored()
                .every_secs(*module_parameters::interval_s.value());
            // The last digit but one is never needed: 30 bytes.
            service.load(&EntityTerms {
                eid: &eid[1..],
                period_s: 0,
                portals: &[portal],
            })?;
        }
        if *module_parameters::trigger.value() != 0 {
            service.trigger_all();
        }
        Ok(Self {
            service: Some(service),
        })
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        if *module_parameters::forget.value() != 0 {
            core::mem::forget(self.service.take());
        }
        drop(self.service.take());
        // By now somebody is about to drop the driver.
        sleep_ms(*module_parameters::last_ms.value() / 2);
    }
}
