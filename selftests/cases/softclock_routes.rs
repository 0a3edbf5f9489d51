// SPDX-License-Identifier: GPL-2.0

//! Many routes with a timer each, and two queues; what becomes of them at unload is a parameter, and the
//! log says what happened.

use softclock::prelude::*;

module! {
    type: Module,
    name: "softclock_routes",
    authors: ["softclock maintainers"],
    description: "softclock selftest: many route timers",
    license: "GPL",
    imports_ns: ["SOFTCLOCK"],
    params: {
        n: u32 {
            default: 1000,
            description: "How many routes",
        },
        timeout_ms: u32 {
            default: 600_000,
            description: "The timeout of the queue they are in",
        },
        then_ms: u32 {
            default: u32::MAX,
            description: "The timeout it has once all are added; the default is to keep it",
        },
        refresh: u8 {
            default: 0,
            description: "Refresh them this often, the last first",
        },
        moved: u32 {
            default: 0,
            description: "Add so many of them, the first ones, to another queue",
        },
        removed: u32 {
            default: 0,
            description: "Remove the timers of so many, the last ones",
        },
        end: u8 {
            default: 0,
            description: "At unload: 0 drop, 1 remove, 2 run, 3 forget everything, 4 forget the queues, 5 add without memory",
        },
    },
}

static RUNS: Atomic<u64> = Atomic::new(0);
static EARLY: Atomic<u64> = Atomic::new(0);
static BACK: Atomic<u64> = Atomic::new(0);
static LATE_MAX_NS: Atomic<i64> = Atomic::new(0);
static LAST_DUE_NS: Atomic<i64> = Atomic::new(0);

#[pin_data]
struct Host {
    #[pin]
    timer: RouteTimer<Self, Note>,
    #[pin]
    others: RouteTimers<Self>,
}

impl_has_route_timers! { impl HasRouteTimers for Host { Note: self.timer; self.others } }

struct Note;

impl RouteAction<Host> for Note {
    type Kind = Soft;

    fn act(_host: ArcBorrow<'_, Timed<Host>>, run: &Expiry<'_, Soft>) {
        RUNS.fetch_add(1, Relaxed);
        let (due, began) = (run.due().as_nanos(), run.began().as_nanos());
        // Destroyed: run before their time.
        if began < due && *module_parameters::end.value() != 2 {
            EARLY.fetch_add(1, Relaxed);
        }
        if due < LAST_DUE_NS.load(Relaxed) {
            BACK.fetch_add(1, Relaxed);
        }
        LAST_DUE_NS.store(due, Relaxed);
        if began - due > LATE_MAX_NS.load(Relaxed) {
            LATE_MAX_NS.store(began - due, Relaxed);
        }
    }
}

static FIRST: Act<Host> = Act::new(nothing);
static SECOND: Act<Host> = Act::new(nothing);

fn nothing(_host: ArcBorrow<'_, Timed<Host>>, _run: &Expiry<'_, Soft>) {}

struct Module {
    queue: RouteTimerQueue,
    /// Nothing is ever in it, but for `end=5`.
    empty: RouteTimerQueue,
    /// Where those are that were moved.
    _other: Option<RouteTimerQueue>,
    hosts: KVVec<Arc<Timed<Host>>>,
}

impl kernel::Module for Module {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let timeout = Delta::from_millis(i64::from(*module_parameters::timeout_ms.value()));
        let owner = softclock::owner!();
        let queue = RouteTimerQueue::new(owner, c"routes", timeout)?;
        let empty = RouteTimerQueue::with_secs(owner, c"empty", 1)?;
        let mut hosts = KVVec::new();
        for _ in 0..*module_parameters::n.value() {
            let host = Timed::new(try_pin_init!(Host {
                timer <- RouteTimer::new(owner, c"note"),
                others <- RouteTimers::new(owner, c"other"),
            }))?;
            hosts.push(host, GFP_KERNEL)?;
        }
        for host in hosts.iter() {
            let _ = queue.add(host.timer::<Note>());
        }
        for _ in 0..*module_parameters::refresh.value() {
            for host in hosts.iter().rev() {
                let _ = queue.add(host.timer::<Note>());
            }
        }
        let then_ms = *module_parameters::then_ms.value();
        if then_ms != u32::MAX {
            queue.change(Delta::from_millis(i64::from(then_ms)), Change::Now)?;
        }
        let other = move_some(&hosts)?;
        let removed = *module_parameters::removed.value() as usize;
        for host in hosts.iter().rev().take(removed) {
            let _ = host.timer::<Note>().remove();
        }
        Ok(Self {
            queue,
            empty,
            _other: other,
            hosts,
        })
    }
}

/// Adds the timers of some to another queue, if any are to be moved.
fn move_some(hosts: &[Arc<Timed<Host>>]) -> Result<Option<RouteTimerQueue>> {
    let moved = *module_parameters::moved.value() as usize;
    if moved == 0 {
        return Ok(None);
    }
    let other = RouteTimerQueue::with_secs(softclock::owner!(), c"other", 600)?;
    for host in hosts.iter().take(moved) {
        if other.add(host.timer::<Note>()) != Added::Moved {
            return Err(EIO);
        }
    }
    Ok(Some(other))
}

impl Module {
    fn destroy(&self, pending: Pending) {
        let start = softclock::now();
        let ended = Task::new().map(|task| self.queue.destroy(pending, &task));
        let took = (softclock::now() - start).as_nanos();
        match ended {
            Ok(Ok(ended)) => pr_info!("destroyed {} took_ns {}\n", ended, took),
            _ => pr_info!("not destroyed\n"),
        }
    }

    /// Takes three timers of a route; allocations may fail. Whatever does changes nothing.
    fn add_without_memory(&self) -> Result {
        let host = self.hosts.first().ok_or(EINVAL)?;
        let before = self.queue.count();
        match host.timers().of(&FIRST, GFP_ATOMIC) {
            Ok(timer) => pr_info!("first add: {:?}\n", self.queue.add(timer)),
            Err(why) => pr_info!(
                "first add: {:?}, {} more\n",
                why,
                self.queue.count() - before
            ),
        }
        let due = host.timer::<Note>().due();
        match host.timers().in_queue(&self.empty, &SECOND, GFP_ATOMIC) {
            Ok(timer) => pr_info!("second add: {:?}\n", self.empty.add(timer)),
            Err(why) => {
                let same = due.is_some() && due == host.timer::<Note>().due();
                pr_info!("second add: {:?}, the first still armed: {}\n", why, same);
            }
        }
        pr_info!("again: {:?}\n", self.queue.add(host.timer::<Note>()));
        Ok(())
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        match *module_parameters::end.value() {
            1 => self.destroy(Pending::Remove),
            2 => self.destroy(Pending::Run),
            end @ 3..5 => {
                for name in [c"forgotten", c"forgotten-too"] {
                    let queue = RouteTimerQueue::with_secs(softclock::owner!(), name, 600);
                    if let (Ok(queue), Some(host)) = (queue, self.hosts.pop()) {
                        let queue: RouteTimerQueue = queue;
                        let _ = queue.add(host.timer::<Note>());
                        core::mem::forget(queue);
                        if end == 3 {
                            core::mem::forget(host);
                        }
                    }
                }
            }
            5 => {
                let _ = self.add_without_memory();
            }
            _ => {}
        }
        pr_info!(
            "runs {} early {} back {} late_max_ns {}\n",
            RUNS.load(Relaxed),
            EARLY.load(Relaxed),
            BACK.load(Relaxed),
            LATE_MAX_NS.load(Relaxed)
        );
    }
}
