// SPDX-License-Identifier: GPL-2.0

//! What each operation on route timers costs, with so many routes pending in one queue.

use crate::{
    herd::{breathe, expect, wait_fired, Random, FIRED, FIRST_NS, LAST_NS},
    meter::{opaque, report, report_100, Meter, Overhead},
};
use kernel::time::delay::fsleep;
use softclock::prelude::*;

/// A route as a driver may have it.
#[pin_data]
struct Path {
    #[pin]
    timer: RouteTimer<Self, Note>,
}

impl_has_route_timers! { impl HasRouteTimers for Path { Note: self.timer } }

struct Note;

impl RouteAction<Path> for Note {
    type Kind = Soft;

    fn act(_path: ArcBorrow<'_, Timed<Path>>, _run: &Expiry<'_, Soft>) {
        crate::herd::note();
    }
}

fn checked(holds: bool, what: &'static str) -> Result {
    if holds {
        return Ok(());
    }
    pr_err!("unexpected answer: {}\n", what);
    Err(EIO)
}

/// All routes, and their queue.
pub(crate) struct Paths {
    all: KVVec<Arc<Timed<Path>>>,
    random: Random,
}

impl Paths {
    pub(crate) fn new() -> Self {
        Self {
            all: KVVec::new(),
            random: Random::new(2),
        }
    }

    /// Measures every operation with `count` of them pending.
    pub(crate) fn run(&mut self, count: usize, clock: Overhead, task: &Task) -> Result {
        self.all
            .reserve(count.saturating_sub(self.all.len()), GFP_KERNEL)?;
        while self.all.len() < count {
            let path = Timed::new(try_pin_init!(Path {
                timer <- RouteTimer::new(softclock::owner!(), c"path"),
            }))?;
            self.all.push(path, GFP_KERNEL)?;
            breathe(self.all.len());
        }
        let rounds = if count == 1 { 1_000 } else { 20_000 };
        let queue = RouteTimerQueue::with_secs(softclock::owner!(), c"paths", 3_600)?;
        expect(0, false);
        for path in self.all.iter() {
            checked(queue.add(path.timer::<Note>()) == Added::New, "first add")?;
        }
        self.refresh(&queue, rounds, clock)?;
        self.add_and_remove(&queue, rounds, clock)?;
        checked(FIRED.load(Relaxed) == 0, "an action ran")?;
        self.expire(&queue)?;
        self.destroy(queue, task)
    }

    fn pick(&mut self) -> Result<Arc<Timed<Path>>> {
        let index = self.random.below(self.all.len() as u64) as usize;
        Ok(self.all.get(opaque(index)).ok_or(EINVAL)?.clone())
    }

    fn refresh(&mut self, queue: &RouteTimerQueue, rounds: usize, clock: Overhead) -> Result {
        let mut meter = Meter::new(rounds)?;
        for round in 0..rounds {
            let path = self.pick()?;
            let now = opaque(Now::read());
            let answer = meter.time(|| queue.add_at(path.timer::<Note>(), now));
            checked(answer == Added::Refreshed, "refresh")?;
            breathe(round);
        }
        meter.report("route_refresh", self.all.len(), clock);
        Ok(())
    }

    fn add_and_remove(
        &mut self,
        queue: &RouteTimerQueue,
        rounds: usize,
        clock: Overhead,
    ) -> Result {
        let (mut add, mut add_now) = (Meter::new(rounds)?, Meter::new(rounds)?);
        let mut remove = Meter::new(rounds)?;
        for round in 0..rounds {
            let path = self.pick()?;
            let found = remove.time(|| path.remove_all_async());
            let now = opaque(Now::read());
            let answer = if round % 2 == 0 {
                add.time(|| queue.add_at(path.timer::<Note>(), now))
            } else {
                add_now.time(|| queue.add(path.timer::<Note>()))
            };
            checked(found.removed == 1 && found.running == 0, "removal")?;
            checked(answer == Added::New, "add")?;
            breathe(round);
        }
        let count = self.all.len();
        add.report("route_add_at", count, clock);
        add_now.report("route_add", count, clock);
        remove.report("route_remove_all", count, clock);
        Ok(())
    }

    /// From the first action to the last of all that are due at once, for each; none is refreshed, then
    /// all are, in another order.
    fn expire(&mut self, queue: &RouteTimerQueue) -> Result {
        let count = self.all.len();
        if count < 2 {
            return Ok(());
        }
        for (op, refreshed) in [("route_expire", false), ("route_expire_moved", true)] {
            let mut best = i64::MAX;
            for _ in 0..if count > 100_000 { 1 } else { 3 } {
                queue.change(Delta::from_secs(3_600), Change::Now)?;
                for path in self.all.iter() {
                    path.remove_all_async();
                    let _ = queue.add(path.timer::<Note>());
                }
                for _ in 0..if refreshed { 2 * count } else { 0 } {
                    let _ = queue.add(self.pick()?.timer::<Note>());
                }
                expect(count, false);
                queue.change(Delta::ZERO, Change::Now)?;
                wait_fired(count, 600)?;
                let span = LAST_NS.load(Acquire) - FIRST_NS.load(Relaxed);
                best = best.min(span * 100 / (count as i64 - 1));
            }
            report_100(op, count, best);
        }
        Ok(())
    }

    fn destroy(&mut self, queue: RouteTimerQueue, task: &Task) -> Result {
        let count = self.all.len();
        queue.change(Delta::from_secs(3_600), Change::Now)?;
        for path in self.all.iter() {
            let _ = queue.add(path.timer::<Note>());
        }
        let watch = if count > 1 { Some(Watch::new()?) } else { None };
        let start = softclock::now();
        let ended = queue.destroy(Pending::Remove, task).map_err(|_| EIO)?;
        let took = (softclock::now() - start).as_nanos();
        checked(ended == count as u64, "destruction")?;
        if let Some(watch) = watch {
            report_100("route_destroy", count, took * 100 / count as i64);
            report("route_destroy_held", count, watch.longest()?);
        }
        Ok(())
    }
}

/// Looks at the clock all the time, in softirqs: what keeps those from the CPU shows as a gap.
struct Watch {
    looks: Arc<Looks>,
    callout: Arc<Timed<Closure<Soft>>>,
}

struct Looks {
    last: Atomic<i64>,
    longest: Atomic<i64>,
    count: Atomic<u64>,
}

impl Watch {
    /// Between two looks, when nothing is in the way.
    const APART: Delta = Delta::from_micros(50);

    fn new() -> Result<Self> {
        let looks = Looks {
            last: Atomic::new(softclock::now().as_nanos()),
            longest: Atomic::new(0),
            count: Atomic::new(0),
        };
        let looks = Arc::new(looks, GFP_KERNEL)?;
        let seen = looks.clone();
        let callout = Closure::<Soft>::new(softclock::owner!(), c"watch", move |_run| {
            let now = softclock::now().as_nanos();
            let gap = now - seen.last.load(Relaxed);
            seen.last.store(now, Relaxed);
            seen.longest
                .store(seen.longest.load(Relaxed).max(gap), Relaxed);
            seen.count.fetch_add(1, Relaxed);
            Next::After(Self::APART)
        })?;
        callout.callout::<Soft>().arm_after(Self::APART);
        Ok(Self { looks, callout })
    }

    /// The longest gap.
    fn longest(self) -> Result<i64> {
        // The one that is open may be that.
        let seen = self.looks.count.load(Relaxed);
        while self.looks.count.load(Relaxed) == seen {
            fsleep(kernel::time::Delta::from_millis(1));
        }
        drop(self.callout);
        Ok(self.looks.longest.load(Relaxed))
    }
}

/// What a route grows by.
pub(crate) fn report_size() {
    let size = core::mem::size_of::<RouteTimer<Path, Note>>();
    report("route_size", 1, size as i64);
}
