// SPDX-License-Identifier: GPL-2.0

//! Callouts bound to a reader/writer lock, which their callback has as a reader.

use crate::{
    harness::{check, Case, Fault, Verdict},
    lock_cases::Make,
    subject::{is_atomic, other_cpu, sleep_ms, sleep_until, spin_until},
};
use core::marker::PhantomData;
use kernel::{
    cpu::nr_cpu_ids,
    sync::lock::{Guard, Lock},
};
use softclock::{
    locked::{LocksIn, ReadBackend, SoftRwBackend, TaskRwBackend},
    prelude::*,
    Kind, Unlocked,
};

/// A case for every kind of callout, and the lock it can read under.
macro_rules! flavours {
    ($name:literal, $case:ident) => {
        [
            Case {
                name: concat!($name, " (soft, rwlock)"),
                run: $case::<Reads<Soft, SoftRwBackend>>,
            },
            Case {
                name: concat!($name, " (task, rwsem)"),
                run: $case::<Reads<Task, TaskRwBackend>>,
            },
            Case {
                name: concat!($name, " (precise task, rwsem)"),
                run: $case::<Reads<Precise<Task>, TaskRwBackend>>,
            },
        ]
    };
}

/// The same for those that only try the lock.
macro_rules! trying {
    ($name:literal, $case:ident) => {
        [
            Case {
                name: concat!($name, " (soft, rwlock)"),
                run: $case::<Tries<Soft, SoftRwBackend>>,
            },
            Case {
                name: concat!($name, " (task, rwsem)"),
                run: $case::<Tries<Task, TaskRwBackend>>,
            },
            Case {
                name: concat!($name, " (precise task, rwsem)"),
                run: $case::<Tries<Precise<Task>, TaskRwBackend>>,
            },
        ]
    };
}

pub(crate) const CASES: &[&[Case]] = &[
    &flavours!(
        "SHAREDLOCK the callback runs while somebody else reads",
        beside_a_reader
    ),
    &flavours!(
        "SHAREDLOCK until the callback ends others can read, and nobody can write",
        keeps_writers_out
    ),
    &flavours!(
        "SHAREDLOCK stop of a callback that has given its lock back is Running",
        gives_back
    ),
    &flavours!(
        "callout-10 SHAREDLOCK stop by the writer that the expiry waits for: Cancelled, never entered",
        stop_waiting
    ),
    &flavours!(
        "callout-11 SHAREDLOCK re-arm by the writer that the expiry waits for: Replaced, one run",
        rearm_waiting
    ),
    &trying!(
        "SHAREDLOCK and TRYLOCK: an expiry that met a writer comes again, and runs once",
        run_after_trying
    ),
];

/// A kind of callout and the lock it reads under.
trait Flavour: Send + Sync + 'static {
    type Kind: Unlocked;
    type Backend: Make + ReadBackend + LocksIn<<Self::Kind as Kind>::Context>;
    const TRY: bool;
}

/// The callout is of kind `K`, and its expiry waits for a lock that works as `B`.
struct Reads<K, B>(PhantomData<fn(K, B)>);
/// It tries the lock.
struct Tries<K, B>(PhantomData<fn(K, B)>);

impl<K: Unlocked, B: Make + ReadBackend + LocksIn<K::Context>> Flavour for Reads<K, B> {
    type Kind = K;
    type Backend = B;
    const TRY: bool = false;
}

impl<K: Unlocked, B: Make + ReadBackend + LocksIn<K::Context>> Flavour for Tries<K, B> {
    type Kind = K;
    type Backend = B;
    const TRY: bool = true;
}

type Bound<F> = Locked<<F as Flavour>::Kind, Shared>;

/// What a callback does before it returns.
#[derive(Clone, Copy, PartialEq)]
enum Deed {
    Nothing,
    /// Keeps the lock until released.
    Keeps,
    /// Gives the lock back, and stays until released.
    GivesBack,
}

/// An object with a callout that reads what its lock protects.
#[pin_data]
struct Port<F: Flavour> {
    #[pin]
    timer: Callout<Self, Bound<F>>,
    #[pin]
    lock: Lock<u64, F::Backend>,
    deed: Deed,
    release: Atomic<bool>,
    inside: Atomic<bool>,
    ended: Atomic<u64>,
    /// What the callback has read.
    read: Atomic<u64>,
    asked: Atomic<u64>,
}

impl_has_callout! { impl {F: Flavour} HasCallout<Bound<F>> for Port<F> { self.timer } }

type PortOf<F> = Arc<Timed<Port<F>>>;
type Writer<'a, F> = Guard<'a, u64, <F as Flavour>::Backend>;

impl<F: Flavour> HasLock<Bound<F>> for Port<F> {
    type Data = u64;
    type Backend = F::Backend;
    const TRY: bool = F::TRY;

    fn lock(&self) -> &Lock<u64, F::Backend> {
        self.asked.fetch_add(1, Release);
        &self.lock
    }
}

impl<F: Flavour> OnExpireShared<Bound<F>> for Port<F> {
    fn expire(
        this: ArcBorrow<'_, Timed<Self>>,
        guard: ReadGuard<'_, u64, F::Backend>,
        _run: &Expiry<'_, <F::Kind as Kind>::Context>,
    ) -> Next {
        this.act(guard);
        Next::Stop
    }
}

impl<F: Flavour> Port<F> {
    fn new(deed: Deed) -> Result<PortOf<F>> {
        Timed::new(try_pin_init!(Self {
            timer <- Callout::new(softclock::owner!(), c"reader"),
            lock <- F::Backend::make(),
            deed,
            release: Atomic::new(false),
            inside: Atomic::new(false),
            ended: Atomic::new(0),
            read: Atomic::new(0),
            asked: Atomic::new(0),
        }))
    }

    fn act(&self, guard: ReadGuard<'_, u64, F::Backend>) {
        self.read.store(*guard, Relaxed);
        let kept = if self.deed == Deed::GivesBack {
            drop(guard);
            None
        } else {
            Some(guard)
        };
        self.inside.store(true, Release);
        if self.deed != Deed::Nothing {
            let released = || self.release.load(Acquire);
            let _ = wait_for::<F>(100_000_000, released);
        }
        drop(kept);
        self.ended.fetch_add(1, Release);
    }
}

/// Waits as the kind of callout may.
fn wait_for<F: Flavour>(limit_ns: i64, done: impl Fn() -> bool) -> bool {
    if is_atomic::<F::Kind>() {
        spin_until(limit_ns, done)
    } else {
        sleep_until(5_000, done)
    }
}

/// Where the callout is to expire while this thread has the lock: elsewhere, where it cannot sleep.
fn somewhere_else<F: Flavour>() -> Result<Option<u32>, Fault> {
    if !is_atomic::<F::Kind>() {
        return Ok(None);
    }
    if nr_cpu_ids() < 2 {
        return Err(Fault::Skip("needs two CPUs"));
    }
    other_cpu()
        .map(Some)
        .ok_or(Fault::Skip("needs two CPUs online"))
}

fn soon(after: Delta, cpu: Option<u32>) -> Plan {
    let plan = Plan::after(after);
    match cpu {
        Some(cpu) => plan.on(cpu),
        None => plan,
    }
}

/// Makes a port and arms it for `after` on another CPU, until `then` has an answer. The lock is taken
/// meanwhile by nobody, and `None` means that this thread and the callback did not get a CPU each.
fn some_of<F: Flavour>(
    deed: Deed,
    after: Delta,
    then: impl Fn(&PortOf<F>) -> Result<Option<()>, Fault>,
) -> Verdict {
    for _ in 0..100 {
        let cpu = somewhere_else::<F>()?;
        let port = Port::<F>::new(deed)?;
        let guard = port.lock.lock();
        check!(port.callout::<Bound<F>>().arm(soon(after, cpu), &guard) == Arm::New);
        drop(guard);
        let answer = then(&port);
        port.release.store(true, Release);
        if let Some(()) = answer? {
            return Ok(());
        }
    }
    Err(Fault::Skip(
        "its callback and this thread never got a CPU each",
    ))
}

fn beside_a_reader<F: Flavour>(_: &Task) -> Verdict {
    some_of::<F>(Deed::Nothing, Delta::from_millis(2), |port| {
        let reader = port.lock.read();
        if port.ended.load(Acquire) != 0 {
            return Ok(None);
        }
        let ended = wait_for::<F>(50_000_000, || port.ended.load(Acquire) == 1);
        drop(reader);
        // On a loaded machine the other CPU may have stood still.
        if !ended && is_atomic::<F::Kind>() {
            return Ok(None);
        }
        check!(ended);
        Ok(Some(()))
    })
}

fn keeps_writers_out<F: Flavour>(task: &Task) -> Verdict {
    some_of::<F>(Deed::Keeps, Delta::from_micros(200), |port| {
        let inside = wait_for::<F>(50_000_000, || port.inside.load(Acquire));
        let writer = port.lock.try_lock().is_some();
        let reader = port.lock.try_read().is_some();
        let ended = port.ended.load(Acquire) != 0;
        port.release.store(true, Release);
        if !inside || ended {
            return Ok(None);
        }
        check!(!writer);
        check!(reader);
        check!(port.timer.drain(task).is_ok());
        check!(port.lock.try_lock().is_some());
        Ok(Some(()))
    })
}

fn gives_back<F: Flavour>(task: &Task) -> Verdict {
    some_of::<F>(Deed::GivesBack, Delta::from_micros(200), |port| {
        let inside = wait_for::<F>(50_000_000, || port.inside.load(Acquire));
        let mut writer = port.lock.lock();
        *writer += 1;
        let answer = port.callout::<Bound<F>>().stop(&writer);
        let ended = port.ended.load(Acquire) != 0;
        drop(writer);
        port.release.store(true, Release);
        if !inside || ended {
            return Ok(None);
        }
        check!(answer == Stop::Running);
        check!(port.timer.drain(task).is_ok());
        check!(port.ended.load(Acquire) == 1);
        Ok(Some(()))
    })
}

/// Calls `then` as the writer that an expiry waits for; of a port that tries, after three tries.
fn while_waiting<F: Flavour>(then: impl Fn(&PortOf<F>, Writer<'_, F>) -> Verdict) -> Verdict {
    for _ in 0..200 {
        let port = Port::<F>::new(Deed::Nothing)?;
        let guard = port.lock.lock();
        // From here on this thread stays on its CPU, where its callout is of a kind that cannot sleep.
        let plan = soon(Delta::from_micros(500), somewhere_else::<F>()?);
        check!(port.callout::<Bound<F>>().arm(plan, &guard) == Arm::New);
        // Arming looks at the lock as well.
        let before = port.asked.load(Acquire);
        let times = if F::TRY { 3 } else { 1 };
        let asked = || port.asked.load(Acquire) >= before + times;
        if wait_for::<F>(50_000_000, asked) {
            return then(&port, guard);
        }
    }
    Err(Fault::Skip(
        "no expiry ever came while this thread had the lock",
    ))
}

fn stop_waiting<F: Flavour>(_: &Task) -> Verdict {
    while_waiting::<F>(|port, guard| {
        let callout = port.callout::<Bound<F>>();
        check!(port.timer.is_pending());
        check!(callout.stop(&guard) == Stop::Cancelled);
        check!(callout.stop(&guard) == Stop::Idle);
        drop(guard);
        sleep_ms(20);
        check!(port.ended.load(Acquire) == 0);
        Ok(())
    })
}

fn rearm_waiting<F: Flavour>(_: &Task) -> Verdict {
    while_waiting::<F>(|port, mut guard| {
        *guard = 7;
        let due = softclock::now() + Delta::from_millis(50);
        check!(port.callout::<Bound<F>>().arm_at(due, &guard) == Arm::Replaced);
        drop(guard);
        check!(sleep_until(2_000, || port.ended.load(Acquire) == 1));
        check!(softclock::now() >= due);
        sleep_ms(20);
        check!(port.ended.load(Acquire) == 1);
        // What the writer wrote, the reader sees.
        check!(port.read.load(Relaxed) == 7);
        Ok(())
    })
}

fn run_after_trying<F: Flavour>(_: &Task) -> Verdict {
    while_waiting::<F>(|port, guard| {
        check!(port.ended.load(Acquire) == 0);
        drop(guard);
        check!(sleep_until(2_000, || port.ended.load(Acquire) == 1));
        sleep_ms(10);
        check!(port.ended.load(Acquire) == 1);
        Ok(())
    })
}
