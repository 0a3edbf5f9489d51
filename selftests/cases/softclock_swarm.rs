// SPDX-License-Identifier: GPL-2.0

//! Many callouts at once, armed as the parameters say; at unload the log says what became of them.

use kernel::time::delay::udelay;
use softclock::{prelude::*, Unlocked};

module! {
    type: Module,
    name: "softclock_swarm",
    authors: ["softclock maintainers"],
    description: "softclock selftest: a swarm of callouts",
    license: "GPL",
    imports_ns: ["SOFTCLOCK"],
    params: {
        n: u32 {
            default: 1000,
            description: "How many callouts",
        },
        after_ms: u32 {
            default: 300,
            description: "The first deadline, counted from when all are made",
        },
        after_s: u32 {
            default: 0,
            description: "As many seconds later",
        },
        spread_ms: u32 {
            default: 0,
            description: "The other deadlines lie so far behind it, at random",
        },
        window_us: u32 {
            default: 0,
            description: "Each may be that late",
        },
        busy_us: u32 {
            default: 0,
            description: "Each callback takes that long",
        },
        cpu: u32 {
            default: 0xffff_ffff,
            description: "The CPU to arm them on",
        },
        kind: u8 {
            default: 0,
            description: "0: soft, 1: hard, 2: precise soft, 3: precise task",
        },
        stop: u8 {
            default: 0,
            description: "Stop all again",
        },
        tick: u8 {
            default: 0,
            description: "And one that runs every second",
        },
    },
}

#[pin_data]
struct Bee<K: Unlocked> {
    #[pin]
    timer: Callout<Self, K>,
    due_ns: Atomic<i64>,
    owed: Atomic<u64>,
    runs: Atomic<u64>,
    early: Atomic<u64>,
}

impl_has_callout! { impl {K: Unlocked} HasCallout<K> for Bee<K> { self.timer } }

/// The most that a callback came after its window.
static OVER_MAX_NS: Atomic<i64> = Atomic::new(i64::MIN);

fn window() -> Delta {
    Delta::from_micros(i64::from(*module_parameters::window_us.value()))
}

impl<K: Unlocked> OnExpire<K> for Bee<K> {
    fn expire(this: ArcBorrow<'_, Timed<Self>>, _run: &Expiry<'_, K::Context>) -> Next {
        let late = softclock::now().as_nanos() - this.due_ns.load(Acquire);
        if late < 0 {
            this.early.fetch_add(1, Relaxed);
        }
        let over = late - window().as_nanos();
        if over > OVER_MAX_NS.load(Relaxed) {
            OVER_MAX_NS.store(over, Relaxed);
        }
        this.runs.fetch_add(1, Release);
        keep_busy();
        Next::Stop
    }
}

/// Takes as long as the parameter says.
fn keep_busy() {
    let us = *module_parameters::busy_us.value();
    if us > 0 {
        // A loop that looks at the clock would not end where time is simulated.
        udelay(kernel::time::Delta::from_micros(i64::from(us)));
    }
}

/// Runs every second, counted from the deadline before.
#[pin_data]
struct Ticker {
    #[pin]
    timer: Callout<Self, Soft>,
    first_ns: Atomic<i64>,
    runs: Atomic<i64>,
    early: Atomic<i64>,
    /// Runs whose deadline is not as many seconds after the first as there were runs before.
    off: Atomic<i64>,
    late_max_ns: Atomic<i64>,
}

impl_has_callout! { impl HasCallout<Soft> for Ticker { self.timer } }

impl OnExpire<Soft> for Ticker {
    fn expire(this: ArcBorrow<'_, Timed<Self>>, run: &Expiry<'_, Soft>) -> Next {
        let due = run.due();
        let late = (softclock::now() - due).as_nanos();
        let before = this.runs.fetch_add(1, Relaxed);
        let planned = this.first_ns.load(Relaxed) + before * 1_000_000_000;
        if due.as_nanos() != planned {
            this.off.fetch_add(1, Relaxed);
        }
        if late < 0 {
            this.early.fetch_add(1, Relaxed);
        }
        if late > this.late_max_ns.load(Relaxed) {
            this.late_max_ns.store(late, Relaxed);
        }
        Next::At(due + Delta::from_secs(1))
    }
}

impl Ticker {
    fn start() -> Result<Arc<Timed<Self>>> {
        let ticker = Timed::new(try_pin_init!(Self {
            timer <- Callout::new(softclock::owner!(), c"ticker"),
            first_ns: Atomic::new(0),
            runs: Atomic::new(0),
            early: Atomic::new(0),
            off: Atomic::new(0),
            late_max_ns: Atomic::new(0),
        }))?;
        let first = softclock::now() + Delta::from_secs(1);
        ticker.first_ns.store(first.as_nanos(), Relaxed);
        ticker.callout::<Soft>().arm_at(first);
        Ok(ticker)
    }
}

/// All callouts, of whatever kind.
trait Swarm: Send + Sync {
    /// What has become of them.
    fn tell(&self);
}

struct Bees<K: Unlocked> {
    bees: KVVec<Arc<Timed<Bee<K>>>>,
    refused: u64,
}

impl<K: Unlocked> Bees<K> {
    /// Makes and arms all.
    fn swarm() -> Result<KBox<dyn Swarm>> {
        let mut bees = KVVec::new();
        for _ in 0..*module_parameters::n.value() {
            let bee = Timed::new(try_pin_init!(Bee::<K> {
                timer <- Callout::new(softclock::owner!(), c"bee"),
                due_ns: Atomic::new(0),
                owed: Atomic::new(0),
                runs: Atomic::new(0),
                early: Atomic::new(0),
            }))?;
            bees.push(bee, GFP_KERNEL)?;
        }
        let refused = arm(&bees);
        if *module_parameters::stop.value() != 0 {
            for bee in bees.iter() {
                if bee.timer.stop() == Stop::Cancelled {
                    bee.owed.store(0, Relaxed);
                }
            }
        }
        Ok(KBox::new(Self { bees, refused }, GFP_KERNEL)?)
    }
}

struct Module {
    swarm: KBox<dyn Swarm>,
    ticker: Option<Arc<Timed<Ticker>>>,
}

impl kernel::Module for Module {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let swarm = match *module_parameters::kind.value() {
            0 => Bees::<Soft>::swarm()?,
            1 => Bees::<Hard>::swarm()?,
            2 => Bees::<Precise<Soft>>::swarm()?,
            3 => Bees::<Precise<Task>>::swarm()?,
            _ => return Err(EINVAL),
        };
        let ticker = match *module_parameters::tick.value() {
            0 => None,
            _ => Some(Ticker::start()?),
        };
        Ok(Self { swarm, ticker })
    }
}

/// Arms all; gives how many arms were refused.
fn arm<K: Unlocked>(swarm: &[Arc<Timed<Bee<K>>>]) -> u64 {
    let first = softclock::now()
        + Delta::from_millis(i64::from(*module_parameters::after_ms.value()))
        + Delta::from_secs(i64::from(*module_parameters::after_s.value()));
    let spread = i64::from(*module_parameters::spread_ms.value()) * 1_000_000;
    let window = window();
    let cpu = *module_parameters::cpu.value();
    let (mut refused, mut random) = (0, 1_u64);
    for bee in swarm {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let due = first + Delta::from_nanos((random >> 2) as i64 % (spread + 1));
        bee.due_ns.store(due.as_nanos(), Release);
        bee.owed.store(1, Relaxed);
        let plan = Plan::at(due).within(window);
        let plan = if cpu == u32::MAX { plan } else { plan.on(cpu) };
        if bee.callout::<K>().arm(plan) != Arm::New {
            bee.owed.store(0, Relaxed);
            refused += 1;
        }
    }
    refused
}

impl Drop for Module {
    fn drop(&mut self) {
        if let Some(ticker) = &self.ticker {
            pr_info!(
                "ticks {} early {} off {} late_max_ns {} span_s {}\n",
                ticker.runs.load(Relaxed),
                ticker.early.load(Relaxed),
                ticker.off.load(Relaxed),
                ticker.late_max_ns.load(Relaxed),
                (softclock::now().as_nanos() - ticker.first_ns.load(Relaxed)) / 1_000_000_000
            );
        }
        self.swarm.tell();
    }
}

impl<K: Unlocked> Swarm for Bees<K> {
    fn tell(&self) {
        pr_info!("over_max_ns {}\n", OVER_MAX_NS.load(Relaxed));
        let (mut ran, mut twice, mut early, mut lost) = (0, 0, 0, 0);
        for bee in self.bees.iter() {
            // What runs from here on is not lost, and not counted.
            let (runs, owed) = (bee.runs.load(Acquire), bee.owed.load(Relaxed));
            ran += runs.min(1);
            twice += u64::from(runs > owed);
            lost += u64::from(runs < owed);
            early += bee.early.load(Relaxed);
        }
        let refused = self.refused;
        pr_info!(
            "ran {} twice {} early {} lost {} refused {}\n",
            ran,
            twice,
            early,
            lost,
            refused
        );
    }
}
