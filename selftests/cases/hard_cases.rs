// SPDX-License-Identifier: GPL-2.0

//! Hard callouts execute in the timer interrupt; the same object's others do not. Where those are that have a
//! timer of their own.

use crate::{
    harness::{check, Case, Fault, Verdict},
    subject::{
        other_cpu, pause_us, sleep_ms, sleep_until, spin_until, while_running, Act, Subject,
    },
};
use kernel::cpu::CpuId;
use softclock::{new_soft_lock, prelude::*, SoftLock, Unlocked};

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
    &[Case {
        name: "callout-31 of two hard locks the first is given back first: interrupts stay off, then are on",
        run: crossed_hardlocks,
    }],
    &[
        Case {
            name: "callout-33 armed for here while it executes on another CPU: refused, and nothing lost (hard)",
            run: refused_while_running::<Hard>,
        },
        Case {
            name: "callout-33 armed for here while it executes on another CPU: refused, and nothing lost (precise soft)",
            run: refused_while_running::<Precise<Soft>>,
        },
        Case {
            name: "callout-33 pending on another CPU and armed for here, the callback runs here (hard)",
            run: comes_here::<Hard>,
        },
        Case {
            name: "callout-33 pending on another CPU and armed for here, the callback runs here (precise soft)",
            run: comes_here::<Precise<Soft>>,
        },
        Case {
            name: "callout-33 armed for the idle CPU that it is armed on, the callback runs there (hard)",
            run: stays_on_idle::<Hard>,
        },
        Case {
            name: "callout-33 armed for the idle CPU that it is armed on, the callback runs there (precise soft)",
            run: stays_on_idle::<Precise<Soft>>,
        },
    ],
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

fn crossed_hardlocks(_: &Task) -> Verdict {
    let mixed = mixed(false)?;
    pin_init::stack_pin_init!(let first = softclock::new_hard_lock!(()));
    pin_init::stack_pin_init!(let second = softclock::new_hard_lock!(()));
    let outer = first.lock();
    let inner = second.lock();
    drop(outer);
    mixed.callout::<Hard>().arm_after(Delta::from_micros(100));
    pause_us(1_000);
    let inside = mixed.hards.load(Acquire);
    drop(inner);
    // Awake: whoever sleeps has interrupts on.
    for _ in 0..2_000 {
        if mixed.hards.load(Acquire) == 1 {
            break;
        }
        pause_us(100);
    }
    check!(inside == 0);
    check!(mixed.hards.load(Acquire) == 1);
    Ok(())
}

fn refused_while_running<K: Unlocked>(_: &Task) -> Verdict {
    while_running::<K>(Act::Hold, |subject| {
        let callout = subject.callout::<K>();
        let due = softclock::now() + Delta::from_millis(20);
        let first = callout.arm_at(due);
        let here = CpuId::current().as_u32();
        let second = callout.arm(Plan::after(Delta::from_millis(1)).on(here));
        if subject.ended.load(Acquire) == 1 {
            return Err(Fault::Retry);
        }
        check!(first == Arm::New);
        check!(second == Arm::Refused(Refusal::NoCpu));
        subject.release.store(true, Release);
        check!(sleep_until(2_000, || subject.ended.load(Acquire) == 2));
        check!(subject.last_due_ns.load(Relaxed) == due.as_nanos());
        sleep_ms(5);
        check!(subject.runs() == 2);
        Ok(())
    })
}

/// Has a callout armed by a soft callback on another CPU, which is not this one then.
fn arm_there<K: Unlocked>(subject: &Arc<Timed<Subject<K>>>, after: Delta) -> Result<u32, Fault> {
    let cpu = other_cpu().ok_or(Fault::Skip("needs two CPUs"))?;
    let armed = Arc::new(Atomic::new(0u64), GFP_KERNEL)?;
    let (target, tell) = (subject.clone(), armed.clone());
    let armer = Closure::<Soft>::new(softclock::owner!(), c"armer", move |_run| {
        let arm = target.callout::<K>().arm(Plan::after(after).on(cpu));
        tell.store(if arm == Arm::New { 1 } else { 2 }, Release);
        Next::Stop
    })?;
    armer.callout().arm(Plan::after(Delta::ZERO).on(cpu));
    let done = || armed.load(Acquire) != 0;
    // Busy: the kernel would have timers of an idle CPU expire here.
    check!(spin_until(100_000_000, done) || sleep_until(2_000, done));
    check!(armed.load(Acquire) == 1);
    Ok(cpu)
}

fn comes_here<K: Unlocked>(_: &Task) -> Verdict {
    let subject = Subject::<K>::new(Act::Nothing, None)?;
    let mut run = 0;
    for _ in 0..100 {
        arm_there(&subject, Delta::from_secs(9))?;
        let here = CpuId::current().as_u32();
        let plan = Plan::after(Delta::from_millis(1)).on(here);
        match subject.callout::<K>().arm(plan) {
            Arm::Replaced => {
                run += 1;
                check!(sleep_until(2_000, || subject.ended.load(Acquire) == run));
                check!(subject.last_cpu.load(Relaxed) == here);
            }
            // This thread has moved in between.
            Arm::Refused(Refusal::NoCpu) => check!(subject.timer.stop() == Stop::Cancelled),
            _ => check!(false),
        }
    }
    check!(run > 0);
    Ok(())
}

fn stays_on_idle<K: Unlocked>(_: &Task) -> Verdict {
    let subject = Subject::<K>::new(Act::Nothing, None)?;
    for run in 1..=20 {
        let cpu = arm_there(&subject, Delta::from_millis(20))?;
        let done = || subject.ended.load(Acquire) == run;
        check!(spin_until(100_000_000, done) || sleep_until(2_000, done));
        check!(subject.last_cpu.load(Relaxed) == cpu);
    }
    Ok(())
}
