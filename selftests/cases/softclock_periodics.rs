// SPDX-License-Identifier: GPL-2.0

//! Many periodics, as the parameters say, each of which holds every run against the one before; at unload
//! the log says what became of them. With `forget=1` it leaves them behind.

use kernel::time::delay::{fsleep, udelay};
use softclock::{
    periodic::{ContextOf, Mode},
    prelude::*,
};

module! {
    type: Module,
    name: "softclock_periodics",
    authors: ["softclock maintainers"],
    description: "softclock selftest: many periodics",
    license: "GPL",
    imports_ns: ["SOFTCLOCK"],
    params: {
        n: u32 {
            default: 5,
            description: "How many: in a task, soft, hard, coarse soft, coarse in a task, and so on",
        },
        soft: u8 {
            default: 0,
            description: "1: all of them soft",
        },
        period_us: u32 {
            default: 1_000,
            description: "Their period",
        },
        spread: u8 {
            default: 0,
            description: "1: each at a phase of its own",
        },
        busy_us: u32 {
            default: 0,
            description: "How long each run takes; those in a task sleep as long again",
        },
        forget: u8 {
            default: 0,
            description: "1: leaves them behind at unload",
        },
    },
}

static RAN: Atomic<u64> = Atomic::new(0);
static MISSED: Atomic<u64> = Atomic::new(0);
static EARLY: Atomic<u64> = Atomic::new(0);
static ASTRAY: Atomic<u64> = Atomic::new(0);
static OVERLAPS: Atomic<u64> = Atomic::new(0);

/// The run before, of one periodic.
struct Before {
    number: u64,
    due_ns: i64,
    inside: Arc<Atomic<u64>>,
}

impl Before {
    /// A run begins.
    fn enter<C>(&mut self, tick: &Tick<'_, C>) {
        RAN.fetch_add(1, Relaxed);
        MISSED.fetch_add(tick.missed(), Relaxed);
        if self.inside.fetch_add(1, Relaxed) > 0 {
            OVERLAPS.fetch_add(1, Relaxed);
        }
        if softclock::now() < tick.due() || tick.began() < tick.due() {
            EARLY.fetch_add(1, Relaxed);
        }
        let steps = tick.missed() + 1;
        let due_ns = tick.due().as_nanos();
        let follows =
            self.number == 0 || due_ns == self.due_ns + steps as i64 * tick.period().as_nanos();
        if !follows || tick.number() != self.number + steps {
            ASTRAY.fetch_add(1, Relaxed);
        }
        self.number = tick.number();
        self.due_ns = due_ns;
    }

    fn leave(&self) {
        self.inside.fetch_sub(1, Relaxed);
    }
}

/// Whatever its mode is.
trait Any {}

impl<M: Mode> Any for Periodic<M> {}

type All = KVVec<KBox<dyn Any + Send + Sync>>;

fn add<M: Mode>(all: &mut All, name: &'static CStr, act: fn(&Tick<'_, ContextOf<M>>)) -> Result
where
    Periodic<M>: Send + Sync,
{
    let period = Delta::from_micros(i64::from(*module_parameters::period_us.value()));
    let mut rate = Rate::every(period);
    if *module_parameters::spread.value() != 0 {
        rate = rate.spread();
    }
    let mut before = Before {
        number: 0,
        due_ns: 0,
        inside: Arc::new(Atomic::new(0_u64), GFP_KERNEL)?,
    };
    let periodic = Periodic::<M>::new(softclock::owner!(), name, rate, move |tick| {
        before.enter(tick);
        act(tick);
        before.leave();
    })?;
    all.push(KBox::new(periodic, GFP_KERNEL)?, GFP_KERNEL)?;
    Ok(())
}

/// Takes the time it was told to.
fn spend() {
    for _ in 0..*module_parameters::busy_us.value() / 50 {
        udelay(kernel::time::Delta::from_micros(50));
    }
}

/// The same, and sleeps.
fn spend_and_sleep() {
    spend();
    let us = i64::from(*module_parameters::busy_us.value());
    if us > 0 {
        fsleep(kernel::time::Delta::from_micros(us));
    }
}

struct Module(All);

impl kernel::Module for Module {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let mut all = KVVec::new();
        let soft = *module_parameters::soft.value() != 0;
        for number in 0..*module_parameters::n.value() {
            match if soft { 1 } else { number % 5 } {
                0 => add::<Task>(&mut all, c"task", |_| spend_and_sleep())?,
                1 => add::<Soft>(&mut all, c"soft", |_| spend())?,
                2 => add::<Hard>(&mut all, c"hard", |_| spend())?,
                3 => add::<Coarse<Soft>>(&mut all, c"coarse-soft", |_| spend())?,
                _ => add::<Coarse<Task>>(&mut all, c"coarse-task", |_| spend_and_sleep())?,
            }
        }
        Ok(Self(all))
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        let count = |counter: &Atomic<u64>| counter.load(Relaxed);
        if *module_parameters::forget.value() != 0 {
            core::mem::forget(core::mem::take(&mut self.0));
        } else {
            self.0.clear();
        }
        pr_info!(
            "ran {} missed {} early {} astray {} overlaps {}\n",
            count(&RAN),
            count(&MISSED),
            count(&EARLY),
            count(&ASTRAY),
            count(&OVERLAPS),
        );
    }
}
