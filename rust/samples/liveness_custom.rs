// SPDX-License-Identifier: GPL-2.0

//! Liveness of something that has no address: two controllers on a bus are asked every second, by a probe of
//! the driver's own, and the one that hangs is reset.
//!
//! The bus is made up: a controller answers 20 ms after it was asked, and number 2 stops doing so after a
//! while.
//!
//! ```text
//! insmod softclock.ko; insmod liveness_custom.ko
//! cat /sys/kernel/debug/softclock/liveness/portals
//! ```

use kernel::{new_mutex, sync::Mutex};
use softclock::{liveness::*, prelude::*};

module! {
    type: Module,
    name: "liveness_custom",
    authors: ["softclock maintainers"],
    description: "softclock sample: liveness by a probe of the driver's own",
    license: "GPL",
    imports_ns: ["SOFTCLOCK"],
}

/// The bus: what was asked on it, and the interrupt in which the answers come.
#[pin_data]
struct Bus {
    #[pin]
    interrupt: Callout<Self, Task>,
    #[pin]
    asked: Mutex<KVec<Asking>>,
    #[pin]
    lost: Mutex<Option<Asking>>,
    answers: Atomic<u64>,
}

impl_has_callout! { impl HasCallout<Task> for Bus { self.interrupt } }

impl Bus {
    fn new() -> Result<Arc<Timed<Self>>> {
        Timed::new(try_pin_init!(Self {
            interrupt <- Callout::new(softclock::owner!(), c"bus"),
            asked <- new_mutex!(KVec::new()),
            lost <- new_mutex!(None),
            answers: Atomic::new(0),
        }))
    }

    /// Controller 2 hangs after its third answer.
    fn hangs(&self, number: Option<u64>) -> bool {
        number == Some(2) && self.answers.fetch_add(1, Relaxed) >= 3
    }
}

impl OnExpire<Task> for Bus {
    fn expire(this: ArcBorrow<'_, Timed<Self>>, _run: &Expiry<'_, Task>) -> Next {
        let asked = core::mem::replace(&mut *this.asked.lock(), KVec::new());
        for asking in asked {
            if this.hangs(asking.portal().number()) {
                // It keeps the question to itself, until the next one.
                *this.lost.lock() = Some(asking);
            } else {
                asking.alive();
            }
        }
        Next::Stop
    }
}

/// How a controller is asked.
struct Ask(Arc<Timed<Bus>>);

impl Probe for Ask {
    fn ask(&self, asking: Asking) {
        // Without memory for it, it is dropped, which means that nothing is known.
        if self.0.asked.lock().push(asking, GFP_KERNEL).is_ok() {
            self.0.callout::<Task>().arm_after(Delta::from_millis(20));
        }
    }
}

/// What is made of it.
struct Controllers;

impl OnVerdict for Controllers {
    fn verdict(&self, eid: &str, verdict: &Verdict) {
        match verdict {
            Verdict::Suspect { attempt, of, .. } => {
                pr_info!("{} is silent: {} of {}\n", eid, attempt, of);
            }
            Verdict::Dead { portal, why } => {
                let number = portal.number().unwrap_or(0);
                pr_warn!("{}: controller {} is dead: {}\n", eid, number, why);
            }
            Verdict::Pending { .. } => pr_info!("{} has no controller left\n", eid),
            _ => {}
        }
    }

    fn expired(&self, eid: &str, cause: Cause) -> Deregistered {
        pr_warn!("{} is taken off the bus: {}\n", eid, cause.as_str());
        Deregistered::Yes
    }
}

// Dropping the service ends it: there is nothing to undo at unload.
struct Module {
    _service: Liveness,
}

impl kernel::Module for Module {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let settings = Settings::new().patience(Delta::from_secs(1));
        let service = Liveness::with_probe(
            softclock::owner!(),
            c"bus",
            settings,
            Controllers,
            Ask(Bus::new()?),
        )?;
        for (eid, number) in [("shelf-a", 1), ("shelf-b", 2)] {
            let controller = PortalTerms::new(Portal::numbered(number))
                .monitored()
                .every_secs(1);
            service.register(&EntityTerms {
                eid: eid.as_bytes(),
                period_s: 0,
                portals: &[controller],
            })?;
        }
        Ok(Self { _service: service })
    }
}
