// SPDX-License-Identifier: GPL-2.0

//! Routes of the kernel, watched by a driver. What it checks by itself it says in `checks`; what is left
//! watched, and how it ends, is the business of selftests/route_fib.sh, which has added 10.1.1.0/24 and so on.

use core::net::{IpAddr, Ipv4Addr};
use kernel::{new_mutex, sync::Mutex, time::delay::fsleep};
use softclock::{fib::*, prelude::*};

module! {
    type: Module,
    name: "softclock_fibs",
    authors: ["softclock maintainers"],
    description: "softclock selftest: routes of the kernel that a driver watches",
    license: "GPL",
    imports_ns: ["SOFTCLOCK"],
    params: {
        checks: u32 {
            default: 0,
            description: "1: checks what needs nobody else",
        },
        watch: u32 {
            default: 0,
            description: "Watches this many routes from 10.1.16.0/24 on, for an hour",
        },
        end: u32 {
            default: 0,
            description: "What is done at unload: 0 dropped, 1 shut down, 2 nothing",
        },
    },
}

/// Ends that were told: of which route, and how.
#[pin_data]
struct Ends {
    #[pin]
    all: Mutex<KVec<(KernelRoute, RouteEnd, Instant)>>,
    /// What the callback is to use when it is told of such an end.
    #[pin]
    target: Mutex<Option<(Arc<Fib>, RouteEnd)>>,
    deadlocks: Atomic<u64>,
}

impl Ends {
    fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                all <- new_mutex!(KVec::new()),
                target <- new_mutex!(None),
                deadlocks: Atomic::new(0),
            }),
            GFP_KERNEL,
        )
    }

    fn of(&self, number: u8) -> Option<RouteEnd> {
        self.last(number).map(|(end, _)| end)
    }

    /// The same, and when it was told.
    fn last(&self, number: u8) -> Option<(RouteEnd, Instant)> {
        let all = self.all.lock();
        let mut fitting = all
            .iter()
            .filter(|(route, ..)| route.address() == address(number));
        let (_, end, at) = fitting.next_back()?;
        Some((*end, *at))
    }

    fn len(&self) -> usize {
        self.all.lock().len()
    }
}

struct Sink(Arc<Ends>);

impl OnRouteEnd for Sink {
    fn ended(&self, route: &KernelRoute, end: RouteEnd) {
        pr_info!("{} {:?}\n", route, end);
        let _ = self
            .0
            .all
            .lock()
            .push((*route, end, softclock::now()), GFP_KERNEL);
        let target = {
            let mut target = self.0.target.lock();
            let wanted = matches!(&*target, Some((_, on)) if *on == end);
            target.take_if(|_| wanted)
        };
        let (Some((fib, _)), Ok(task)) = (target, Task::new()) else {
            return;
        };
        if end == RouteEnd::NamespaceGone {
            let late = net_of(1).and_then(|net| fib.expire_after(&net, Delta::ZERO, &task));
            if late.err() == Some(ENODEV) && fib.device(c"lo") == Err(ENODEV) {
                pr_info!("a namespace that is gone is refused\n");
            }
        } else if fib.shutdown(&task) == Err(CannotWait::Deadlock) {
            self.0.deadlocks.fetch_add(1, Release);
        }
    }
}

fn address(number: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 1, number, 0))
}

fn net_of(number: u8) -> Result<RouteSpec> {
    RouteSpec::new(address(number), 24)
}

fn fib(ends: &Arc<Ends>) -> Result<Fib> {
    Fib::of_current_namespace(softclock::owner!(), c"fibs", Sink(ends.clone()))
}

fn wait(done: impl Fn() -> bool) -> bool {
    for _ in 0..2_000 {
        if done() {
            return true;
        }
        sleep_ms(10);
    }
    done()
}

fn sleep_ms(ms: i64) {
    fsleep(kernel::time::Delta::from_millis(ms));
}

fn check(holds: bool, what: &'static str) {
    if holds {
        pr_info!("ok {}\n", what);
    } else {
        pr_info!("failed {}\n", what);
    }
}

/// Each fault is one line of what is said.
fn checks(task: &Task) -> Result {
    let ends = Ends::new()?;
    let one = fib(&ends)?;
    let hour = Delta::from_secs(3_600);

    let start = softclock::now();
    let route = one.expire_after(&net_of(1)?, Delta::from_millis(200), task)?;
    check(one.count() == 1 && route.is_watched(), "a route is watched");
    check(
        wait(|| ends.of(1) == Some(RouteEnd::Expired)),
        "its end is told",
    );
    check(
        softclock::now() - start >= Delta::from_millis(200),
        "it does not end before its time",
    );
    check(
        one.count() == 0 && !route.is_watched() && route.due().is_none(),
        "it is watched no more",
    );
    check(
        !route.refresh() && route.due().is_none(),
        "what has ended is not refreshed",
    );

    let route = one.expire_after(&net_of(2)?, Delta::from_millis(3_000), task)?;
    for _ in 0..8 {
        sleep_ms(500);
        check(route.refresh(), "a refresh is taken");
    }
    check(ends.of(2).is_none(), "a route that is used does not end");
    check(
        wait(|| ends.of(2) == Some(RouteEnd::Expired)),
        "then it does",
    );

    used_late(&one, &ends, task)?;

    one.expire_after(&net_of(3)?, hour, task)?;
    mistakes(&one, &ends, task)?;
    check(one.forget(&net_of(3)?, task).is_ok(), "it is forgotten");
    check(
        one.forget(&net_of(3)?, task) == Err(ENOENT),
        "what is not watched is not forgotten",
    );

    // Dropped while its route's time comes, from its own callback, and twice.
    let heard = ends.len();
    let owned = Arc::new(fib(&ends)?, GFP_KERNEL)?;
    owned.expire_after(&net_of(5)?, hour, task)?;
    *ends.target.lock() = Some((owned.clone(), RouteEnd::Expired));
    match owned.expire_after(&net_of(4)?, Delta::ZERO, task) {
        // Its callback was faster than this, and has shut it down.
        Err(error) if error != ENODEV => return Err(error),
        _ => {}
    }
    check(
        wait(|| ends.deadlocks.load(Acquire) == 1),
        "its own callback cannot wait for itself",
    );
    check(owned.count() == 0, "all is forgotten all the same");
    check(
        owned.expire_after(&net_of(5)?, hour, task).err() == Some(ENODEV),
        "what was shut down watches nothing",
    );
    check(owned.shutdown(task) == Ok(0), "it is shut down again");
    check(ends.len() == heard + 1, "what was forgotten is not told");
    Ok(())
}

/// A route is used when its time has come, and a worker has not deleted it yet.
fn used_late(one: &Fib, ends: &Arc<Ends>, task: &Task) -> Result {
    let timeout = Delta::from_millis(50);
    let route = one.expire_after(&net_of(6)?, timeout, task)?;
    let mut used = softclock::now();
    let until = used + Delta::from_secs(1);
    while route.is_watched() && softclock::now() < until {
        let now = softclock::now();
        if route.due().is_none() && route.refresh() {
            used = now;
        }
    }
    check(
        wait(|| ends.of(6) == Some(RouteEnd::Expired)),
        "nobody uses it any more",
    );
    let told = ends.last(6).ok_or(EIO)?.1;
    check(told - used >= timeout, "it has had its time since");
    Ok(())
}

fn mistakes(one: &Fib, ends: &Arc<Ends>, task: &Task) -> Result {
    let before = (one.count(), ends.len());
    let (net, second) = (net_of(3)?, Delta::from_secs(1));
    let refused = |spec: &RouteSpec| one.expire_after(spec, second, task).err();
    check(refused(&net_of(99)?) == Some(ENOENT), "no such route");
    check(refused(&net.metric(7)) == Some(ENOENT), "no such metric");
    check(refused(&net.table(99)) == Some(ENOENT), "no such table");
    check(
        refused(&net.through(99_999)) == Some(ENOENT),
        "no such device",
    );
    let bad = one.expire_after(&net, Delta::from_nanos(-1), task);
    check(bad.err() == Some(EINVAL), "a negative timeout");
    check(
        RouteSpec::new(address(3), 33) == Err(ERANGE),
        "too long a prefix",
    );
    check(
        RouteSpec::new(address(3), 8) == Err(EINVAL),
        "bits beyond it",
    );
    check(one.device(c"lo").is_ok(), "a device");
    check(one.device(c"nope") == Err(ENOENT), "no device of that name");
    let two = fib(ends)?;
    check(
        two.expire_after(&net, second, task).err() == Some(EEXIST),
        "somebody else's route",
    );
    check(
        two.forget(&net, task) == Err(ENOENT),
        "somebody else's is not forgotten",
    );
    let name = Fib::of_current_namespace(softclock::owner!(), c"a b", Sink(ends.clone()));
    check(name.err() == Some(EINVAL), "a bad name");
    check(
        (one.count(), ends.len()) == before,
        "mistakes change nothing",
    );
    Ok(())
}

struct Module {
    fib: Option<Arc<Fib>>,
    ends: Arc<Ends>,
}

impl kernel::Module for Module {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let task = Task::new()?;
        if *module_parameters::checks.value() != 0 {
            checks(&task)?;
        }
        let ends = Ends::new()?;
        let watch = *module_parameters::watch.value() as u8;
        let mut kept = None;
        if watch > 0 {
            let fib = Arc::new(fib(&ends)?, GFP_KERNEL)?;
            for number in 16..watch.saturating_add(16) {
                fib.expire_after(&net_of(number)?, Delta::from_secs(3_600), &task)?;
            }
            // A cycle: its callback may be asked to use it, once.
            *ends.target.lock() = Some((fib.clone(), RouteEnd::NamespaceGone));
            kept = Some(fib);
        }
        Ok(Self { fib: kept, ends })
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        let end = *module_parameters::end.value();
        if end == 2 {
            core::mem::forget(self.fib.take());
            return;
        }
        let target = self.ends.target.lock().take();
        drop(target);
        if let (1, Some(fib), Ok(task)) = (end, &self.fib, Task::new()) {
            pr_info!("shut down: {:?}\n", fib.shutdown(&task));
        }
    }
}
