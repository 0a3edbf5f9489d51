// SPDX-License-Identifier: GPL-2.0

//! Drains a callout while its callback executes. Loaded by a thread of a real-time priority that has only
//! the CPU of that callback, the drain ends only if it leaves the CPU to it.

use kernel::time::delay::{fsleep, udelay};
use softclock::{prelude::*, Unlocked};

module! {
    type: Module,
    name: "softclock_fifo",
    authors: ["softclock maintainers"],
    description: "softclock selftest: a drain by a thread of real-time priority",
    license: "GPL",
    imports_ns: ["SOFTCLOCK"],
    params: {
        kind: u8 {
            default: 0,
            description: "0: soft, 1: task, 2: precise soft, 3: precise task",
        },
        busy_ms: u32 {
            default: 300,
            description: "For so long the callback wants the CPU",
        },
    },
}

#[pin_data]
struct Busy<K: Unlocked> {
    #[pin]
    timer: Callout<Self, K>,
    entered: Atomic<bool>,
    ended: Atomic<bool>,
}

impl_has_callout! { impl {K: Unlocked} HasCallout<K> for Busy<K> { self.timer } }

impl<K: Unlocked> OnExpire<K> for Busy<K> {
    fn expire(this: ArcBorrow<'_, Timed<Self>>, _run: &Expiry<'_, K::Context>) -> Next {
        this.entered.store(true, Release);
        // Not all at once: time passes also for who has lost the CPU.
        for _ in 0..*module_parameters::busy_ms.value() {
            udelay(kernel::time::Delta::from_millis(1));
        }
        this.ended.store(true, Release);
        Next::Stop
    }
}

/// Drains one that executes, and tells.
fn drain<K: Unlocked>(task: &Task) -> Result {
    let busy = Timed::new(try_pin_init!(Busy::<K> {
        timer <- Callout::new(softclock::owner!(), c"busy"),
        entered: Atomic::new(false),
        ended: Atomic::new(false),
    }))?;
    busy.callout::<K>().arm_after(Delta::from_millis(1));
    while !busy.entered.load(Acquire) {
        fsleep(kernel::time::Delta::from_millis(1));
    }
    let before = busy.ended.load(Acquire);
    let answer = busy.timer.drain(task);
    let after = busy.ended.load(Acquire);
    let finished = answer == Ok(Drain::Finished);
    pr_info!(
        "met {} finished {} over {}\n",
        u8::from(!before),
        u8::from(finished),
        u8::from(after)
    );
    Ok(())
}

struct Module;

impl kernel::Module for Module {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let task = Task::new()?;
        match *module_parameters::kind.value() {
            0 => drain::<Soft>(&task)?,
            1 => drain::<Task>(&task)?,
            2 => drain::<Precise<Soft>>(&task)?,
            3 => drain::<Precise<Task>>(&task)?,
            _ => return Err(EINVAL),
        }
        Ok(Self)
    }
}
