// SPDX-License-Identifier: GPL-2.0

//! Two CPUs with the same callouts.
//!
//! What the second CPU does is a callback of its wheel, so no scheduler decides where. Rounds in which
//! this thread moved are not counted.

use crate::{
    herd::{Herd, Random, Subject},
    meter::{opaque, overhead, report_100, Meter},
};
use kernel::{cpu::CpuId, processor::cpu_relax};
use softclock::prelude::*;

/// How many callouts the two share.
const SHARED: usize = 2_000;
/// How often each of them stops and arms one, in a round.
const PAIRS: u64 = 5_000;
/// Rounds; the best one counts: others work on this machine.
const ROUNDS: u32 = 20;
/// How many callouts live on the other CPU, in a round.
const REMOTE: usize = 500;
/// Nobody waits longer for the other: a user-mode kernel does not preempt who spins.
const PATIENCE: Delta = Delta::from_millis(200);

type Worker = Arc<Timed<Closure<Soft>>>;

/// Where the two meet.
struct Arena {
    all: KVVec<Arc<Timed<Subject>>>,
    /// The CPU the worker came to plus one.
    arrived: Atomic<u32>,
    go: Atomic<bool>,
    done: Atomic<bool>,
    spent_ns: Atomic<i64>,
}

impl Arena {
    fn new(count: usize) -> Result<Arc<Self>> {
        let mut herd = Herd::new();
        herd.grow(count)?;
        let arena = Self {
            all: herd.all,
            arrived: Atomic::new(0),
            go: Atomic::new(false),
            done: Atomic::new(false),
            spent_ns: Atomic::new(0),
        };
        Ok(Arc::new(arena, GFP_KERNEL)?)
    }

    /// Stops and arms callouts; how long that took.
    fn pairs(&self, seed: u64) -> Delta {
        let mut random = Random::new(seed);
        let start = softclock::now();
        for _ in 0..PAIRS {
            let index = random.below(SHARED as u64) as usize;
            if let Some(victim) = self.all.get(index) {
                victim.timer.stop();
                victim
                    .callout::<Soft>()
                    .arm_after(Delta::from_millis(600_000 + index as i64));
            }
        }
        softclock::now() - start
    }

    /// What the worker does: comes, waits for the signal, does `work`, and says that it is done.
    fn serve(&self, work: impl FnOnce()) {
        self.arrived.store(cpu(), Release);
        if wait_until(|| self.go.load(Acquire)) {
            work();
        }
        self.done.store(true, Release);
    }

    /// One round with the worker, `mine` at the same time: its answer, if the two had a CPU each.
    fn round<T>(&self, worker: &Worker, mine: impl FnOnce() -> T) -> Option<T> {
        self.go.store(false, Relaxed);
        self.arrived.store(0, Relaxed);
        self.done.store(false, Relaxed);
        let other = u32::from(cpu() == 1);
        worker.callout().arm(Plan::after(Delta::ZERO).on(other));
        let came = wait_until(|| self.arrived.load(Acquire) != 0);
        let here = cpu();
        self.go.store(true, Release);
        let answer = mine();
        let done = wait_until(|| self.done.load(Acquire));
        let apart = self.arrived.load(Relaxed) != here && cpu() == here;
        (came && done && apart).then_some(answer)
    }
}

/// This CPU plus one.
fn cpu() -> u32 {
    CpuId::current().as_u32() + 1
}

fn wait_until(done: impl Fn() -> bool) -> bool {
    let end = softclock::now() + PATIENCE;
    while !done() {
        if softclock::now() > end {
            return false;
        }
        cpu_relax();
    }
    true
}

fn drain_all(arena: &Arena, task: &Task) {
    for subject in &arena.all {
        // Nobody runs, so nobody is waited for.
        let _ = subject.timer.drain(task);
    }
}

/// One CPU that stops and arms random callouts of a set, and two that do so with the same set.
pub(crate) fn shared(task: &Task) -> Result {
    let arena = Arena::new(SHARED)?;
    let theirs = arena.clone();
    let worker = Closure::<Soft>::new(softclock::owner!(), c"second", move |_run| {
        theirs.serve(|| theirs.spent_ns.store(theirs.pairs(2).as_nanos(), Relaxed));
        Next::Stop
    })?;
    let mut one = i64::MAX;
    let mut two = i64::MAX;
    for _ in 0..ROUNDS {
        one = one.min(arena.pairs(1).as_nanos());
        if let Some(mine) = arena.round(&worker, || arena.pairs(1)) {
            two = two.min(mine.as_nanos().max(arena.spent_ns.load(Relaxed)));
        }
    }
    drain_all(&arena, task);
    if two == i64::MAX {
        pr_warn!("the two never had a CPU each\n");
        return Ok(());
    }
    let pairs = PAIRS as i64;
    report_100("pair_one_cpu", SHARED, one * 100 / pairs);
    report_100("pair_two_cpus", SHARED, two * 100 / pairs);
    report_100("two_cpus_ratio", SHARED, two * 100 / one);
    Ok(())
}

/// A sooner deadline for callouts that were armed on the other CPU.
pub(crate) fn remote(task: &Task) -> Result {
    let arena = Arena::new(REMOTE)?;
    let theirs = arena.clone();
    let worker = Closure::<Soft>::new(softclock::owner!(), c"second", move |_run| {
        theirs.serve(|| arm_here(&theirs));
        Next::Stop
    })?;
    let clock = overhead()?;
    let mut meter = Meter::new(REMOTE * ROUNDS as usize)?;
    let mut random = Random::new(3);
    for _ in 0..ROUNDS {
        drain_all(&arena, task);
        if arena.round(&worker, || ()).is_some() {
            // Each once, for then it lives here; in an order that is none.
            for number in 0..REMOTE {
                sooner(&arena, number * 271 % REMOTE, &mut meter, &mut random)?;
            }
        }
    }
    drain_all(&arena, task);
    meter.report("sooner_remote", REMOTE, clock);
    Ok(())
}

/// Arms all, from nothing, so that they belong to this CPU.
fn arm_here(arena: &Arena) {
    let mut random = Random::new(4);
    for subject in &arena.all {
        let ms = 60_000 + random.below(1_000_000);
        subject
            .callout::<Soft>()
            .arm_after(Delta::from_millis(ms as i64));
    }
}

fn sooner(arena: &Arena, index: usize, meter: &mut Meter, random: &mut Random) -> Result {
    let due =
        softclock::now() + Delta::from_nanos(50_000_000_000 + random.below(1_000_000_000) as i64);
    let victim = opaque(arena.all.get(index).ok_or(EINVAL)?);
    let due = opaque(due);
    meter.time(|| victim.callout::<Soft>().arm_at(due));
    Ok(())
}
