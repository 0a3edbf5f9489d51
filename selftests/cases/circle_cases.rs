// SPDX-License-Identifier: GPL-2.0

//! Callbacks on top of each other, and waiting for each other.

use crate::{
    harness::{check, Case, Verdict},
    subject::{pause_us, sleep_ms, sleep_until},
};
use kernel::{new_spinlock, sync::SpinLock};
use softclock::prelude::*;

pub(crate) const CASES: &[&[Case]] = &[
    &[Case {
        name: "two callbacks that drain each other are told, and both end",
        run: mutual_drain,
    }],
    &[Case {
        name: "a stop from a softirq on top of the callback is not the callback's own",
        run: stop_from_above,
    }],
];

/// Drains its partner from its callback.
#[pin_data]
struct Partner {
    #[pin]
    timer: Callout<Self, Task>,
    entered: Atomic<bool>,
    refused: Atomic<bool>,
    ended: Atomic<bool>,
    #[pin]
    other: SpinLock<Option<Arc<Timed<Self>>>>,
}

impl_has_callout! { impl HasCallout<Task> for Partner { self.timer } }

impl OnExpire<Task> for Partner {
    fn expire(this: ArcBorrow<'_, Timed<Self>>, run: &Expiry<'_, Task>) -> Next {
        this.entered.store(true, Release);
        let other = this.other.lock().clone();
        if let Some(other) = other {
            sleep_until(2_000, || other.entered.load(Acquire));
            let answer = other.timer.drain(&run.task());
            let refused = answer == Err(CannotWait::Deadlock);
            this.refused.store(refused, Release);
        }
        this.ended.store(true, Release);
        Next::Stop
    }
}

fn partner() -> Result<Arc<Timed<Partner>>> {
    Timed::new(try_pin_init!(Partner {
        timer <- Callout::new(softclock::owner!(), c"partner"),
        entered: Atomic::new(false),
        refused: Atomic::new(false),
        ended: Atomic::new(false),
        other <- new_spinlock!(None),
    }))
}

fn mutual_drain(_: &Task) -> Verdict {
    // A circle of three, so that it closes through somebody else.
    let ring = [partner()?, partner()?, partner()?];
    for (index, one) in ring.iter().enumerate() {
        *one.other.lock() = ring.get((index + 1) % ring.len()).cloned();
    }
    for one in &ring {
        one.callout::<Task>().arm_after(Delta::ZERO);
    }
    let all_ended = || ring.iter().all(|one| one.ended.load(Acquire));
    let ended = sleep_until(5_000, all_ended);
    for one in &ring {
        *one.other.lock() = None;
    }
    check!(ended);
    check!(ring.iter().any(|one| one.refused.load(Acquire)));
    check!(!ring.iter().all(|one| one.refused.load(Acquire)));
    Ok(())
}

/// Its softirq callback strikes in the middle of its task callback, and stops that callout.
#[pin_data]
struct Struck {
    #[pin]
    task: Callout<Self, Task>,
    #[pin]
    soft: Callout<Self, Soft>,
    runs: Atomic<u64>,
    stopped: Atomic<bool>,
    /// It was stopped in the middle of its first run.
    met: Atomic<bool>,
}

impl_has_callout! {
    impl HasCallout<Task> for Struck { self.task }
    impl HasCallout<Soft> for Struck { self.soft }
}

impl OnExpire<Task> for Struck {
    fn expire(this: ArcBorrow<'_, Timed<Self>>, _run: &Expiry<'_, Task>) -> Next {
        let first = this.runs.fetch_add(1, Release) == 0;
        this.callout::<Soft>().arm_after(Delta::from_micros(100));
        for _ in 0..100 {
            if this.stopped.load(Acquire) {
                this.met.store(first, Release);
                break;
            }
            pause_us(100);
        }
        Next::After(Delta::from_millis(1))
    }
}

impl OnExpire<Soft> for Struck {
    fn expire(this: ArcBorrow<'_, Timed<Self>>, _run: &Expiry<'_, Soft>) -> Next {
        this.task.stop();
        this.stopped.store(true, Release);
        Next::Stop
    }
}

fn stop_from_above(_: &Task) -> Verdict {
    let mut met = 0;
    for _ in 0..200 {
        let struck = Timed::new(try_pin_init!(Struck {
            task <- Callout::new(softclock::owner!(), c"struck"),
            soft <- Callout::new(softclock::owner!(), c"strike"),
            runs: Atomic::new(0),
            stopped: Atomic::new(false),
            met: Atomic::new(false),
        }))?;
        struck.callout::<Task>().arm_after(Delta::ZERO);
        check!(sleep_until(2_000, || struck.stopped.load(Acquire)));
        sleep_ms(5);
        if struck.met.load(Acquire) {
            check!(struck.runs.load(Acquire) == 1);
            met += 1;
        }
        if met == 10 {
            return Ok(());
        }
    }
    Err(crate::harness::Fault::Retry)
}
