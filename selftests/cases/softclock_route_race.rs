// SPDX-License-Identifier: GPL-2.0

//! Two workers add, remove, and drop routes at random, while their actions run. At the end each add must
//! have come to exactly one end: run, replaced, removed, destroyed, or dropped with its route.

use kernel::{new_mutex, sync::Mutex, time::delay::fsleep};
use softclock::prelude::*;

module! {
    type: Module,
    name: "softclock_route_race",
    authors: ["softclock maintainers"],
    description: "softclock selftest: route timers on two CPUs",
    license: "GPL",
    imports_ns: ["SOFTCLOCK"],
    params: {
        ms: u32 {
            default: 1_000,
            description: "For how long",
        },
        seed: u32 {
            default: 1,
            description: "Of the random operations",
        },
    },
}

const HOSTS: u64 = 48;
const WORKERS: usize = 2;

/// What became of adds.
struct Ends {
    adds: Atomic<u64>,
    runs: Atomic<u64>,
    replaced: Atomic<u64>,
    removed: Atomic<u64>,
}

impl Ends {
    const fn new() -> Self {
        Self {
            adds: Atomic::new(0),
            runs: Atomic::new(0),
            replaced: Atomic::new(0),
            removed: Atomic::new(0),
        }
    }

    fn added(&self, answer: Added) {
        if matches!(answer, Added::Refused(_)) {
            return;
        }
        self.adds.fetch_add(1, Relaxed);
        if answer != Added::New {
            self.replaced.fetch_add(1, Relaxed);
        }
    }

    /// How many adds have not come to an end; wraps where one came to two.
    fn owed(&self) -> u64 {
        let ended =
            self.runs.load(Relaxed) + self.replaced.load(Relaxed) + self.removed.load(Relaxed);
        self.adds.load(Relaxed).wrapping_sub(ended)
    }

    fn take(&self, other: &Ends) {
        self.adds.fetch_add(other.adds.load(Relaxed), Relaxed);
        self.runs.fetch_add(other.runs.load(Relaxed), Relaxed);
        self.replaced
            .fetch_add(other.replaced.load(Relaxed), Relaxed);
        self.removed.fetch_add(other.removed.load(Relaxed), Relaxed);
    }
}

/// Of all routes that were dropped.
static ALL: Ends = Ends::new();
/// Owed when their route was dropped, and when their queue was destroyed.
static DROPPED: Atomic<u64> = Atomic::new(0);
static DESTROYED: Atomic<u64> = Atomic::new(0);
/// Routes of which an add has come to two ends, or more were pending than there are timers.
static WRONG: Atomic<u64> = Atomic::new(0);
static EARLY: Atomic<u64> = Atomic::new(0);
static OVERLAPS: Atomic<u64> = Atomic::new(0);
static DROPPED_IN_RUN: Atomic<u64> = Atomic::new(0);

#[pin_data(PinnedDrop)]
struct Host {
    #[pin]
    soft: RouteTimer<Self, InSoft>,
    #[pin]
    task: RouteTimer<Self, InTask>,
    ends: Ends,
    executing: [Atomic<u64>; 2],
    /// The end has come: what is owed was destroyed with its queue.
    over: Atomic<bool>,
}

impl_has_route_timers! { impl HasRouteTimers for Host { InSoft: self.soft, InTask: self.task } }

struct InSoft;
struct InTask;

impl RouteAction<Host> for InSoft {
    type Kind = Soft;

    fn act(host: ArcBorrow<'_, Timed<Host>>, run: &Expiry<'_, Soft>) {
        host.ran(0, run.began() < run.due(), || ());
    }
}

impl RouteAction<Host> for InTask {
    type Kind = Task;

    fn act(host: ArcBorrow<'_, Timed<Host>>, run: &Expiry<'_, Task>) {
        host.ran(1, run.began() < run.due(), || {
            fsleep(kernel::time::Delta::from_micros(20));
        });
    }
}

impl Host {
    fn new() -> Result<Arc<Timed<Self>>> {
        Timed::new(try_pin_init!(Self {
            soft <- RouteTimer::new(softclock::owner!(), c"soft"),
            task <- RouteTimer::new(softclock::owner!(), c"task"),
            ends: Ends::new(),
            executing: [Atomic::new(0), Atomic::new(0)],
            over: Atomic::new(false),
        }))
    }

    fn ran(&self, which: usize, early: bool, stay: impl FnOnce()) {
        let Some(executing) = self.executing.get(which) else {
            return;
        };
        if executing.fetch_add(1, Acquire) != 0 {
            OVERLAPS.fetch_add(1, Relaxed);
        }
        // A queue that is destroyed may run what it has, when that is not due.
        if early && !self.over.load(Acquire) {
            EARLY.fetch_add(1, Relaxed);
        }
        self.ends.runs.fetch_add(1, Relaxed);
        stay();
        executing.fetch_sub(1, Release);
    }
}

#[pinned_drop]
impl PinnedDrop for Host {
    fn drop(self: Pin<&mut Self>) {
        if self.executing.iter().any(|count| count.load(Acquire) != 0) {
            DROPPED_IN_RUN.fetch_add(1, Relaxed);
        }
        let owed = self.ends.owed();
        if owed > 2 {
            WRONG.fetch_add(1, Relaxed);
            pr_warn!("a route has {} timers pending\n", owed as i64);
        }
        if !self.over.load(Acquire) {
            DROPPED.fetch_add(owed, Relaxed);
        }
        ALL.take(&self.ends);
    }
}

/// What the workers share.
#[pin_data]
struct Field {
    soft: [RouteTimerQueue<Soft>; 3],
    task: [RouteTimerQueue<Task>; 2],
    #[pin]
    hosts: Mutex<KVec<Arc<Timed<Host>>>>,
}

fn queue<K: QueueKind>(us: i64) -> Result<RouteTimerQueue<K>> {
    RouteTimerQueue::new(softclock::owner!(), c"race", Delta::from_micros(us))
}

impl Field {
    fn new() -> Result<Arc<Self>> {
        let mut hosts = KVec::new();
        for _ in 0..HOSTS {
            hosts.push(Host::new()?, GFP_KERNEL)?;
        }
        Arc::pin_init(
            try_pin_init!(Self {
                soft: [queue(0)?, queue(300)?, queue(2_000)?],
                task: [queue(50)?, queue(1_000)?],
                hosts <- new_mutex!(hosts),
            }),
            GFP_KERNEL,
        )
    }

    fn host(&self, index: u64) -> Option<Arc<Timed<Host>>> {
        self.hosts.lock().get(index as usize).cloned()
    }

    /// One random operation.
    fn step(&self, random: &mut Random, task: &Task) -> Result {
        let index = random.below(HOSTS);
        let host = self.host(index).ok_or(EINVAL)?;
        let removed = |count: u64| {
            host.ends.removed.fetch_add(count, Relaxed);
        };
        match random.below(100) {
            0..40 => {
                let to = self.soft.get(random.below(3) as usize).ok_or(EINVAL)?;
                host.ends.added(to.add(host.timer::<InSoft>()));
            }
            40..65 => {
                let to = self.task.get(random.below(2) as usize).ok_or(EINVAL)?;
                host.ends.added(to.add(host.timer::<InTask>()));
            }
            65..75 => removed(u64::from(
                host.timer::<InSoft>().remove() == Stop::Cancelled,
            )),
            75..85 => removed(u64::from(
                host.timer::<InTask>().remove() == Stop::Cancelled,
            )),
            85..90 => removed(host.remove_all_async().removed as u64),
            90..93 => removed(host.remove_all(task).map_err(|_| EIO)? as u64),
            _ => {
                let mut fresh = Host::new()?;
                if let Some(slot) = self.hosts.lock().get_mut(index as usize) {
                    core::mem::swap(slot, &mut fresh);
                }
            }
        }
        Ok(())
    }

    fn work(&self, seed: u64, end: Instant, task: &Task) {
        let mut random = Random(seed);
        while softclock::now() < end {
            for _ in 0..random.below(32) {
                if let Err(why) = self.step(&mut random, task) {
                    WRONG.fetch_add(1, Relaxed);
                    pr_warn!("an operation failed: {:?}\n", why);
                }
            }
            fsleep(kernel::time::Delta::from_micros(random.below(100) as i64));
        }
    }

    /// Every second queue runs what it has.
    fn destroy(&self, task: &Task) -> Result {
        for host in self.hosts.lock().iter() {
            host.over.store(true, Release);
        }
        for (index, queue) in self.soft.iter().enumerate() {
            destroy(queue, index, task)?;
        }
        for (index, queue) in self.task.iter().enumerate() {
            destroy(queue, index, task)?;
        }
        Ok(())
    }
}

fn destroy<K: QueueKind>(queue: &RouteTimerQueue<K>, index: usize, task: &Task) -> Result {
    let pending = if index % 2 == 0 {
        Pending::Remove
    } else {
        Pending::Run
    };
    let ended = queue.destroy(pending, task).map_err(|_| EIO)?;
    if pending == Pending::Remove {
        DESTROYED.fetch_add(ended, Relaxed);
    }
    if queue.count() > 0 {
        WRONG.fetch_add(1, Relaxed);
        pr_warn!("a destroyed queue has {} timers\n", queue.count());
    }
    Ok(())
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((u128::from(self.0 >> 32) * u128::from(limit)) >> 32) as u64
    }
}

struct Module;

impl kernel::Module for Module {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let task = Task::new()?;
        let field = Field::new()?;
        let end = softclock::now() + Delta::from_millis(i64::from(*module_parameters::ms.value()));
        let mut workers = KVec::new();
        for number in 0..WORKERS {
            let (field, ended) = (field.clone(), Atomic::new(false));
            let seed = u64::from(*module_parameters::seed.value()) * 7 + number as u64;
            let worker = Closure::<Task>::new(softclock::owner!(), c"worker", move |run| {
                if !ended.load(Relaxed) {
                    field.work(seed, end, &run.task());
                    ended.store(true, Relaxed);
                }
                Next::Stop
            })?;
            worker.callout().arm_after(Delta::ZERO);
            workers.push(worker, GFP_KERNEL)?;
        }
        while softclock::now() < end {
            fsleep(kernel::time::Delta::from_millis(10));
        }
        for worker in workers.iter() {
            worker.callout().drain(&task).map_err(|_| EIO)?;
        }
        field.destroy(&task)?;
        field.hosts.lock().clear();
        drop(workers);
        report();
        Ok(Self)
    }
}

fn report() {
    let owed = ALL.owed().wrapping_sub(DROPPED.load(Relaxed));
    let lost = owed.wrapping_sub(DESTROYED.load(Relaxed)) as i64;
    pr_info!(
        "adds {} runs {} replaced {} removed {} dropped {} destroyed {}\n",
        ALL.adds.load(Relaxed),
        ALL.runs.load(Relaxed),
        ALL.replaced.load(Relaxed),
        ALL.removed.load(Relaxed),
        DROPPED.load(Relaxed),
        DESTROYED.load(Relaxed),
    );
    pr_info!(
        "lost {} wrong {} early {} overlaps {} dropped_in_run {}\n",
        lost,
        WRONG.load(Relaxed),
        EARLY.load(Relaxed),
        OVERLAPS.load(Relaxed),
        DROPPED_IN_RUN.load(Relaxed),
    );
}
