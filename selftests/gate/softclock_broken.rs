// SPDX-License-Identifier: GPL-2.0

//! A driver that makes, for each parameter that is 1, the mistake which a sanitizer is there to find.
//!
//! The controls beside it prove that each mistake fails a run. This is the one place outside
//! `rust/sys/` where `unsafe` may stand: safe code cannot make most of them.

use core::{cell::UnsafeCell, mem::MaybeUninit};
use kernel::{
    bindings,
    new_mutex,
    new_spinlock,
    time::delay::{fsleep, udelay}, //
};
use softclock::{
    prelude::*,
    timeout::{Func, Table}, //
};

module! {
    type: Module,
    name: "softclock_broken",
    authors: ["softclock maintainers"],
    description: "softclock selftest: mistakes for the sanitizers to find",
    license: "GPL",
    imports_ns: ["SOFTCLOCK"],
    params: {
        freed: u8 {
            default: 0,
            description: "Read memory that was freed",
        },
        leak: u8 {
            default: 0,
            description: "Forget memory",
        },
        active: u8 {
            default: 0,
            description: "Free a timer that is queued",
        },
        order: u8 {
            default: 0,
            description: "Take two locks in both orders",
        },
        atomic: u8 {
            default: 0,
            description: "Allocate in a way that may sleep, under a spinlock",
        },
        held: u8 {
            default: 0,
            description: "Delete a periodic with a lock held that its callback takes",
        },
        race: u8 {
            default: 0,
            description: "Count in a callback and elsewhere without a lock",
        },
        stranger: u8 {
            default: 0,
            description: "Have a timeout call a function of the kernel; refused, or this loads",
        },
        left: u8 {
            default: 0,
            description: "Leave a closure and a periodic to somebody else, and say where they are",
        },
        closure: usize {
            default: 0,
            description: "Be that somebody: drop the closure that is there",
        },
        periodic: usize {
            default: 0,
            description: "Drop the periodic that is there",
        },
    },
}

struct Module;

impl kernel::Module for Module {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let faults: [(u8, fn() -> Result); 9] = [
            (*module_parameters::freed.value(), freed),
            (*module_parameters::leak.value(), leak),
            (*module_parameters::active.value(), active),
            (*module_parameters::order.value(), order),
            (*module_parameters::atomic.value(), atomic),
            (*module_parameters::held.value(), held),
            (*module_parameters::race.value(), race),
            (*module_parameters::stranger.value(), stranger),
            (*module_parameters::left.value(), left),
        ];
        for (wanted, fault) in faults {
            if wanted != 0 {
                fault()?;
            }
        }
        drop_left(
            *module_parameters::closure.value(),
            *module_parameters::periodic.value(),
        );
        Ok(Self)
    }
}

/// Part of a callback, which says when it is dropped.
struct Loud;

impl Drop for Loud {
    fn drop(&mut self) {
        pr_info!("a callback is dropped\n");
    }
}

fn left() -> Result {
    let (first, second) = (Loud, Loud);
    let closure = Closure::<Task>::new(softclock::owner!(), c"left", move |_run| {
        let _ = &first;
        Next::Stop
    })?;
    let hour = Delta::from_secs(3_600);
    let periodic = Periodic::<Task>::new(softclock::owner!(), c"left", hour, move |_tick| {
        let _ = &second;
    })?;
    let periodic = KBox::into_raw(KBox::new(periodic, GFP_KERNEL)?);
    let (closure, periodic) = (Arc::into_raw(closure) as usize, periodic as usize);
    pr_info!("left closure={closure} periodic={periodic}\n");
    Ok(())
}

/// Drops what [`left`] has left: as a module does that had it from the one which is gone.
fn drop_left(closure: usize, periodic: usize) {
    let closure = closure as *const Timed<Closure<Task>>;
    let periodic = periodic as *mut Periodic<Task>;
    if !closure.is_null() {
        // SAFETY: `into_raw` returned it, in an earlier life.
        drop(unsafe { Arc::from_raw(closure) });
    }
    if !periodic.is_null() {
        // SAFETY: As above.
        drop(unsafe { KBox::from_raw(periodic) });
    }
}

fn freed() -> Result {
    let memory = KBox::into_raw(KBox::new(1u64, GFP_KERNEL)?);
    // SAFETY: `into_raw` returned it.
    drop(unsafe { KBox::from_raw(memory) });
    // SAFETY: None: this is the mistake.
    pr_info!("read {}\n", unsafe { memory.read_volatile() });
    Ok(())
}

fn leak() -> Result {
    for _ in 0..10 {
        core::mem::forget(KBox::new([1u8; 1000], GFP_KERNEL)?);
    }
    Ok(())
}

extern "C" fn never(_: *mut bindings::hrtimer) -> bindings::hrtimer_restart {
    bindings::hrtimer_restart_HRTIMER_NORESTART
}

fn active() -> Result {
    const MODE: bindings::hrtimer_mode = bindings::hrtimer_mode_HRTIMER_MODE_REL;
    const HOUR_NS: i64 = 3_600_000_000_000;
    let memory = MaybeUninit::<bindings::hrtimer>::zeroed();
    let timer = KBox::into_raw(KBox::new(memory, GFP_KERNEL)?);
    let raw = timer.cast::<bindings::hrtimer>();
    // SAFETY: `raw` is memory for a timer.
    unsafe { bindings::hrtimer_setup(raw, Some(never), bindings::CLOCK_MONOTONIC as i32, MODE) };
    // SAFETY: It was set up just now.
    unsafe { bindings::hrtimer_start_range_ns(raw, HOUR_NS, 0, MODE) };
    // SAFETY: None: it is queued, and this is the mistake.
    drop(unsafe { KBox::from_raw(timer) });
    Ok(())
}

fn order() -> Result {
    let one = KBox::pin_init(new_mutex!(()), GFP_KERNEL)?;
    let two = KBox::pin_init(new_mutex!(()), GFP_KERNEL)?;
    for (outer, inner) in [(&one, &two), (&two, &one)] {
        let outer = outer.lock();
        let inner = inner.lock();
        drop((outer, inner));
    }
    Ok(())
}

fn atomic() -> Result {
    let lock = KBox::pin_init(new_spinlock!(()), GFP_KERNEL)?;
    let guard = lock.lock();
    let memory = KBox::new(1u64, GFP_KERNEL);
    drop(guard);
    drop(memory?);
    Ok(())
}

/// The two do not meet here: lockdep sees that they could.
fn held() -> Result {
    let lock = Arc::pin_init(new_mutex!(0u64), GFP_KERNEL)?;
    let theirs = lock.clone();
    let every = Delta::from_millis(300);
    let periodic = Periodic::<Task>::new(softclock::owner!(), c"held", every, move |_tick| {
        *theirs.lock() += 1;
    })?;
    while periodic.counts().run_max == Delta::ZERO && periodic.counts().fired < 2 {
        fsleep(kernel::time::Delta::from_millis(1));
    }
    let guard = lock.lock();
    let _ = periodic.delete(&Task::new()?);
    drop(guard);
    Ok(())
}

struct Unlocked(UnsafeCell<u64>);

// SAFETY: None: this is the mistake.
unsafe impl Sync for Unlocked {}

static COUNT: Unlocked = Unlocked(UnsafeCell::new(0));

/// For a second or so: only few of all accesses are watched.
fn count() {
    for _ in 0..200_000 {
        // SAFETY: None: this is the mistake.
        unsafe { *COUNT.0.get() += 1 };
        udelay(kernel::time::Delta::from_micros(1));
    }
}

fn race() -> Result {
    let racer = Closure::<Task>::new(softclock::owner!(), c"racer", |_run| {
        count();
        Next::Stop
    })?;
    racer.callout().arm_after(Delta::ZERO);
    // A busy thread keeps its CPU and sends the callback to the other one.
    count();
    Ok(())
}

fn stranger() -> Result {
    let table = Table::new(softclock::owner!(), c"stranger", 1)?;
    let address = bindings::ktime_get as *const ();
    // SAFETY: None, but nobody calls it: the table is dropped before its time comes.
    let func = unsafe { core::mem::transmute::<*const (), Func>(address) };
    table.timeout(func, 0, 100_000).map(|_| ())
}
