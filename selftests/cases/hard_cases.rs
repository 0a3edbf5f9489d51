// SPDX-License-Identifier: GPL-2.0

//! Hard callouts execute in the timer interrupt; the same object's others do not.

use crate::{
    harness::{check, Case, Fault, Verdict},
    subject::{pause_us, sleep_ms, sleep_until},
};
use softclock::{new_soft_lock, prelude::*, SoftLock};

pub(crate) const CASES: &[&[Case]] = &[
    &[Case {
        name: "callout-31 a hard callback comes through where softirqs are off, soft ones do not",
        run: through_softlock,
    }],
    &[Case {
        name: "callout-32 what a hard callback arms of kind soft is not in the interrupt",
        run: armed_from_hard,
    }],
    &[Case {
        name: "callout-31 with interrupts off no hard callback runs either",
        run: not_through_hardlock,
    }],
];

/// An object with callouts of three kinds.
#[pin_data]
struct Mixed {
    #[pin]
    hard: Callout<Self, Hard>,
    #[pin]
    soft: Callout<Self, Soft>,
    #[pin]
    precise: Callout<Self, Precise<Soft>>,
    #[pin]
    lock: SoftLock<()>,
    /// The hard callback arms the soft one.
    arms: bool,
    hards: Atomic<u64>,
    softs: Atomic<u64>,
    precises: Atomic<u64>,
}

impl_has_callout! {
    impl HasCallout<Hard> for Mixed { self.hard }
    impl HasCallout<Soft> for Mixed { self.soft }
    impl HasCallout<Precise<Soft>> for Mixed { self.precise }
}

impl OnExpire<Hard> for Mixed {
    fn expire(this: ArcBorrow<'_, Timed<Self>>, _run: &Expiry<'_, Hard>) -> Next {
        if this.arms {
            this.callout::<Soft>().arm_after(Delta::ZERO);
            this.callout::<Precise<Soft>>().arm_after(Delta::ZERO);
        }
        this.hards.fetch_add(1, Release);
        Next::Stop
    }
}

impl OnExpire<Soft> for Mixed {
    fn expire(this: ArcBorrow<'_, Timed<Self>>, _run: &Expiry<'_, Soft>) -> Next {
        this.softs.fetch_add(1, Release);
        Next::Stop
    }
}

impl OnExpire<Precise<Soft>> for Mixed {
    fn expire(this: ArcBorrow<'_, Timed<Self>>, _run: &Expiry<'_, Soft>) -> Next {
        this.precises.fetch_add(1, Release);
        Next::Stop
    }
}

fn mixed(arms: bool) -> Result<Arc<Timed<Mixed>>> {
    Timed::new(try_pin_init!(Mixed {
        hard <- Callout::new(softclock::owner!(), c"hard"),
        soft <- Callout::new(softclock::owner!(), c"soft"),
        precise <- Callout::new(softclock::owner!(), c"precise"),
        lock <- new_soft_lock!(()),
        arms,
        hards: Atomic::new(0),
        softs: Atomic::new(0),
        precises: Atomic::new(0),
    }))
}

impl Mixed {
    fn soft_runs(&self) -> (u64, u64) {
        (self.softs.load(Acquire), self.precises.load(Acquire))
    }
}

/// With softirqs off on this CPU, which this thread then does not leave.
fn under_softlock(arms: bool) -> Verdict {
    if cfg!(CONFIG_PREEMPT_RT) {
        return Err(Fault::Skip(
            "softirqs are threads here, and no lock keeps them off",
        ));
    }
    for _ in 0..50 {
        let mixed = mixed(arms)?;
        let guard = mixed.lock.lock();
        let due = softclock::now() + Delta::from_micros(200);
        mixed.callout::<Hard>().arm_at(due);
        if !arms {
            mixed.callout::<Soft>().arm_at(due);
            mixed.callout::<Precise<Soft>>().arm_at(due);
        }
        let hard_came = || mixed.hards.load(Acquire) == 1;
        for _ in 0..2_000 {
            if hard_came() {
                break;
            }
            pause_us(10);
        }
        let came = hard_came();
        // Time enough for the others, if they could.
        pause_us(1_000);
        let softs = mixed.soft_runs();
        drop(guard);
        if !came {
            continue;
        }
        check!(softs == (0, 0));
        check!(sleep_until(2_000, || mixed.soft_runs() == (1, 1)));
        check!(mixed.hards.load(Acquire) == 1);
        return Ok(());
    }
    // A machine so busy that no interrupt came in 20 ms, fifty times.
    Err(Fault::Retry)
}

fn through_softlock(_: &Task) -> Verdict {
    under_softlock(false)
}

fn armed_from_hard(_: &Task) -> Verdict {
    under_softlock(true)
}

fn not_through_hardlock(_: &Task) -> Verdict {
    let mixed = mixed(false)?;
    pin_init::stack_pin_init!(let lock = softclock::new_hard_lock!(()));
    let guard = lock.lock();
    mixed.callout::<Hard>().arm_after(Delta::from_micros(100));
    pause_us(1_000);
    let hards = mixed.hards.load(Acquire);
    drop(guard);
    check!(hards == 0);
    check!(sleep_until(2_000, || mixed.hards.load(Acquire) == 1));
    sleep_ms(2);
    check!(mixed.hards.load(Acquire) == 1);
    Ok(())
}
