// SPDX-License-Identifier: GPL-2.0

//! The wheel: the order within a granule, and entries that move across all levels.

use crate::{
    harness::{check, Case, Fault, Verdict},
    subject::{sleep_ms, sleep_until},
};
use kernel::cpu::{nr_cpu_ids, CpuId};
use softclock::{new_hard_lock, prelude::*, Unlocked};

pub(crate) const CASES: &[&[Case]] = &[&[
    Case {
        name: "callbacks of one granule run in the order of their deadlines, however they were armed",
        run: by_deadline,
    },
    Case {
        name: "callbacks of one granule run in the order of their deadlines, from far and near",
        run: by_deadline_mixed,
    },
    Case {
        name: "callbacks of one deadline run in the order they were armed, among others too",
        run: equal_deadlines,
    },
    Case {
        name: "callbacks of one granule run in the order of their deadlines, after re-arms too",
        run: by_deadline_rearmed,
    },
    Case {
        name: "armed sooner and later across all levels from all CPUs: none lost, early or twice (soft)",
        run: all_levels::<Soft>,
    },
    Case {
        name: "armed sooner and later across all levels from all CPUs: none lost, early or twice (task)",
        run: all_levels::<Task>,
    },
    Case {
        name: "armed sooner and later at all distances from all CPUs: none lost, early or twice (precise)",
        run: all_levels::<Precise<Soft>>,
    },
    Case {
        name: "armed sooner and later at all distances from all CPUs: none lost, early or twice (hard)",
        run: all_levels::<Hard>,
    },
]];

/// Nanoseconds of a granule.
const GRANULE: i64 = 1 << 16;

/// Random numbers from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }

    /// The numbers below `count`, shuffled.
    fn shuffled(&mut self, count: usize) -> Result<KVec<usize>> {
        let mut all = KVec::with_capacity(count, GFP_KERNEL)?;
        for n in 0..count {
            all.push(n, GFP_KERNEL)?;
        }
        for n in (1..count).rev() {
            all.swap(n, self.below(n + 1));
        }
        Ok(all)
    }
}

/// Draws a number when it runs.
#[pin_data]
struct Drawer {
    #[pin]
    timer: Callout<Self, Soft>,
    next: Arc<Atomic<u64>>,
    /// What it drew, from 1 on.
    drew: Atomic<u64>,
    runs: Atomic<u64>,
}

impl_has_callout! { impl HasCallout<Soft> for Drawer { self.timer } }

impl OnExpire<Soft> for Drawer {
    fn expire(this: ArcBorrow<'_, Timed<Self>>, _run: &Expiry<'_, Soft>) -> Next {
        this.drew
            .store(this.next.fetch_add(1, Relaxed) + 1, Relaxed);
        this.runs.fetch_add(1, Release);
        Next::Stop
    }
}

type Drawers = KVec<Arc<Timed<Drawer>>>;

fn drawers(count: usize) -> Result<Drawers> {
    let next = Arc::new(Atomic::new(0), GFP_KERNEL)?;
    let mut drawers = KVec::new();
    for _ in 0..count {
        let next = next.clone();
        let drawer = Timed::new(try_pin_init!(Drawer {
            timer <- Callout::new(softclock::owner!(), c"drawer"),
            next,
            drew: Atomic::new(0),
            runs: Atomic::new(0),
        }))?;
        drawers.push(drawer, GFP_KERNEL)?;
    }
    Ok(drawers)
}

/// Whether, once all have run, each was called once, and in the order of the list.
fn in_order(drawers: &Drawers) -> Verdict {
    check!(sleep_until(30_000, || drawers
        .iter()
        .all(|one| one.runs.load(Acquire) > 0)));
    check!(drawers.iter().all(|one| one.runs.load(Acquire) == 1));
    let drew = |one: &Arc<Timed<Drawer>>| one.drew.load(Relaxed);
    check!(drawers
        .windows(2)
        .all(|pair| drew(&pair[0]) < drew(&pair[1])));
    Ok(())
}

/// The start of a granule about `ns` from now. Deadlines up to `GRANULE` after it are in the next one.
fn granule_in(ns: i64) -> Instant {
    Instant::from_nanos((softclock::now().as_nanos() + ns) / GRANULE * GRANULE)
}

/// Deadline number `n` of up to 64 in the granule after `start`.
fn deadline(start: Instant, n: usize) -> Instant {
    start + Delta::from_nanos(n as i64 * 1_000 + 1)
}

/// Distances that lead through no, one and more cascades.
const DISTANCES: [i64; 4] = [1_000_000, 3_000_000, 40_000_000, 600_000_000];
const CROWDS: [usize; 5] = [2, 3, 17, 63, 64];

/// Tries a case again where arming took so long that the granule had come.
fn patiently(each: impl Fn(usize, i64, &mut Random) -> Verdict) -> Verdict {
    let mut random = Random(7);
    for count in CROWDS {
        for distance in DISTANCES {
            let mut tries = 0;
            loop {
                match each(count, distance << (tries / 4), &mut random) {
                    Err(Fault::Retry) if tries < 20 => tries += 1,
                    other => break other?,
                }
            }
        }
    }
    Ok(())
}

fn in_time(start: Instant) -> Verdict {
    if softclock::now() < start {
        Ok(())
    } else {
        Err(Fault::Retry)
    }
}

fn by_deadline(_: &Task) -> Verdict {
    patiently(|count, distance, random| {
        let (drawers, order) = (drawers(count)?, random.shuffled(count)?);
        let cpu = CpuId::current().as_u32();
        let start = granule_in(distance);
        for n in order.iter() {
            let plan = Plan::at(deadline(start, *n)).on(cpu);
            check!(drawers[*n].callout::<Soft>().arm(plan) == Arm::New);
        }
        in_time(start)?;
        in_order(&drawers)
    })
}

fn by_deadline_mixed(_: &Task) -> Verdict {
    patiently(|count, distance, random| {
        let (drawers, order) = (drawers(count)?, random.shuffled(count)?);
        let cpu = CpuId::current().as_u32();
        let start = granule_in(distance + 20_000_000);
        for n in order.iter().filter(|n| **n % 2 == 0) {
            let plan = Plan::at(deadline(start, *n)).on(cpu);
            check!(drawers[*n].callout::<Soft>().arm(plan) == Arm::New);
        }
        // The others come when those are on another level already, or in the bucket itself.
        let near = 500_000 << random.below(5);
        while softclock::now() + Delta::from_nanos(near + 2_000_000) < start {
            sleep_ms(1);
        }
        for n in order.iter().filter(|n| **n % 2 == 1) {
            let plan = Plan::at(deadline(start, *n)).on(cpu);
            check!(drawers[*n].callout::<Soft>().arm(plan) == Arm::New);
        }
        in_time(start)?;
        in_order(&drawers)
    })
}

fn equal_deadlines(_: &Task) -> Verdict {
    patiently(|count, distance, random| {
        let drawers = drawers(count)?;
        let cpu = CpuId::current().as_u32();
        let start = granule_in(distance);
        // All at one instant; or every other one a little sooner, so that the bucket has to be sorted.
        let late = 1 + random.below(63);
        let sooner = random.below(2) * late;
        for (n, drawer) in drawers.iter().enumerate() {
            let due = deadline(start, late - n % 2 * sooner);
            check!(drawer.callout::<Soft>().arm(Plan::at(due).on(cpu)) == Arm::New);
        }
        in_time(start)?;
        if sooner == 0 {
            return in_order(&drawers);
        }
        let mut sorted = KVec::new();
        for odd in [1, 0] {
            for drawer in drawers.iter().skip(odd).step_by(2) {
                sorted.push(drawer.clone(), GFP_KERNEL)?;
            }
        }
        in_order(&sorted)
    })
}

fn by_deadline_rearmed(_: &Task) -> Verdict {
    // Keeps the wheel turning, so that what is near goes straight to its bucket.
    let ticker = Closure::<Soft>::new(softclock::owner!(), c"ticker", |_run| {
        Next::After(Delta::from_nanos(GRANULE))
    })?;
    patiently(|count, distance, random| {
        // The ticker is in that granule too, and with more than 64 it is a crowd.
        let count = count.min(63);
        let (drawers, order) = (drawers(count)?, random.shuffled(count)?);
        let cpu = CpuId::current().as_u32();
        ticker.callout().arm(Plan::after(Delta::ZERO).on(cpu));
        sleep_ms(1);
        let start = granule_in(distance);
        // First all at the same instant, in any order; then each where it belongs, in the same granule.
        for n in order.iter() {
            let plan = Plan::at(deadline(start, 0)).on(cpu);
            check!(drawers[*n].callout::<Soft>().arm(plan) == Arm::New);
        }
        for n in order.iter() {
            let arm = drawers[*n].callout::<Soft>().arm_at(deadline(start, *n));
            if arm != Arm::Replaced {
                return Err(Fault::Retry);
            }
        }
        in_time(start)?;
        in_order(&drawers)
    })
}

/// What the lock of a [`Rover`] protects.
#[derive(Default)]
struct Log {
    /// The deadlines of the last two arms that found nothing pending.
    before_ns: i64,
    latest_ns: i64,
    /// How many of those there were.
    new: u64,
    runs: u64,
    early: u64,
    /// The last one of those: how early, of how many arms, and whether it was armed again.
    last_early: (i64, u64, bool),
}

/// A callout that is armed at random.
#[pin_data]
struct Rover<K: Unlocked> {
    #[pin]
    timer: Callout<Self, K>,
    #[pin]
    log: HardLock<Log>,
}

impl_has_callout! { impl {K: Unlocked} HasCallout<K> for Rover<K> { self.timer } }

impl<K: Unlocked> OnExpire<K> for Rover<K> {
    fn expire(this: ArcBorrow<'_, Timed<Self>>, _run: &Expiry<'_, K::Context>) -> Next {
        let began = softclock::now().as_nanos();
        let mut log = this.log.lock();
        // Armed again since it began: then this run is that of the arm before.
        let again = this.timer.is_pending();
        let due = if again { log.before_ns } else { log.latest_ns };
        if began < due {
            log.early += 1;
            log.last_early = (due - began, log.new, again);
        }
        log.runs += 1;
        Next::Stop
    }
}

impl<K: Unlocked> Rover<K> {
    fn arm(this: &Arc<Timed<Self>>, random: &mut Random) {
        // As likely a microsecond as years, within all levels and beyond.
        let ns = (1_i64 << random.below(63)) + random.below(1 << 20) as i64;
        let mut log = this.log.lock();
        let due = softclock::now() + Delta::from_nanos(ns);
        let cpu = random.below(4 * nr_cpu_ids() as usize) as u32;
        let arm = if cpu < nr_cpu_ids() {
            this.callout::<K>().arm(Plan::at(due).on(cpu))
        } else {
            this.callout::<K>().arm_at(due)
        };
        match arm {
            Arm::New => {
                log.new += 1;
                log.before_ns = log.latest_ns;
                log.latest_ns = due.as_nanos();
            }
            Arm::Replaced => log.latest_ns = due.as_nanos(),
            // A timer of its own is on the CPU that arms it.
            Arm::Refused(_) => {}
        }
    }
}

fn all_levels<K: Unlocked>(task: &Task) -> Verdict {
    const ROVERS: usize = 40;
    let mut rovers = KVec::new();
    for _ in 0..ROVERS {
        let rover = Timed::new(try_pin_init!(Rover::<K> {
            timer <- Callout::new(softclock::owner!(), c"rover"),
            log <- new_hard_lock!(Log::default()),
        }))?;
        rovers.push(rover, GFP_KERNEL)?;
    }
    let rovers = Arc::new(rovers, GFP_KERNEL)?;
    let mut drivers = KVec::new();
    for cpu in 0..nr_cpu_ids().min(2) {
        let (rovers, seed) = (rovers.clone(), Atomic::new(u64::from(cpu) + 11));
        let driver = Closure::<Soft>::new(softclock::owner!(), c"driver", move |_run| {
            let mut random = Random(seed.load(Relaxed));
            for _ in 0..20 {
                Rover::arm(&rovers[random.below(ROVERS)], &mut random);
            }
            seed.store(random.0, Relaxed);
            Next::After(Delta::from_micros(100))
        })?;
        driver.callout().arm(Plan::after(Delta::ZERO).on(cpu));
        drivers.push(driver, GFP_KERNEL)?;
    }
    sleep_ms(if nr_cpu_ids() < 2 { 10_000 } else { 1_500 });
    // On a machine that does more than this, for longer.
    let enough = || {
        rovers
            .iter()
            .map(|rover| rover.log.lock().runs)
            .sum::<u64>()
            > 100
    };
    check!(sleep_until(20_000, enough));
    for driver in drivers.iter() {
        check!(driver.callout().shutdown(task).is_ok());
    }
    for rover in rovers.iter() {
        let answer = rover.timer.drain(task);
        let log = rover.log.lock();
        let whole = match answer {
            Ok(Drain::Cancelled) => log.new == log.runs + 1,
            Ok(Drain::Idle) => log.new == log.runs,
            // It was executing, and may have been armed again: that is cancelled without a word.
            Ok(Drain::Finished) => log.new == log.runs || log.new == log.runs + 1,
            Err(_) => return Err(Fault::Retry),
        };
        let (early, (by, new, again)) = (log.early, log.last_early);
        drop(log);
        if early > 0 {
            pr_info!("# early: {early}, at last by {by} ns, arm {new}, armed again: {again}\n");
        }
        check!(whole);
        check!(early == 0);
    }
    Ok(())
}
