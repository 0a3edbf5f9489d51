// SPDX-License-Identifier: GPL-2.0

//! Route timers: adds, actions, changes of the timeout. Faults: an action that is early, late, lost,
//! run twice or out of order; an add that is forgotten or counted wrongly.

use crate::{
    harness::{check, Case, Fault, Verdict},
    route_subject::{
        both, hurry, idle, queue, shared, unhurried, wait, Act1, Chosen, First, Log, Peer, Queue,
        Second,
    },
    subject::sleep_ms,
};
use kernel::cpu::CpuId;
use softclock::{new_hard_lock, prelude::*};

pub(crate) const CASES: &[&[Case]] = &[
    &both!(
        "rt_timer-1 an action runs once, one timeout after the add",
        once
    ),
    &both!(
        "rt_timer-2 with a timeout of zero it runs promptly, not inside the add",
        zero
    ),
    &both!("rt_timer-3 actions run in the order of the adds", in_order),
    &both!("rt_timer-4 an add of a pending timer refreshes it", refresh),
    &both!(
        "rt_timer-4 a thousand refreshed timers run in the order of the refreshes",
        refreshed
    ),
    &both!(
        "rt_timer-5 an add to another queue moves the timer (NetBSD)",
        moves
    ),
    &both!(
        "rt_timer-5 one timer for each route and queue (OpenBSD)",
        in_each_queue
    ),
    &both!("rt_timer-6 two actions are two timers", two_actions),
    &both!("rt_timer-6 actions chosen at run time, too", two_chosen),
    &both!("rt_timer-7 two routes are two timers", two_routes),
    &both!("rt_timer-8 no action deletes the route", deletes),
    &both!(
        "rt_timer-10 a shorter timeout at the next wake",
        shorter_at_wake
    ),
    &both!("rt_timer-10 a shorter timeout now", shorter_now),
    &both!("rt_timer-11 a longer timeout", longer),
    &both!(
        "rt_timer-11 a change to the longest timeout there is, and back",
        to_longest
    ),
    &both!(
        "rt_timer-11 the longest timeout and back, both before the next wake",
        longest_and_back
    ),
    &both!(
        "rt_timer-12 a timeout of zero, now and at the next wake",
        to_zero
    ),
    &both!("rt_timer-13 the timeout of an empty queue", empty_changes),
    &both!("rt_timer-31 the earliest expiry of a route", earliest),
    &both!("bad timeouts are refused, and change nothing", bad_timeouts),
    &both!("a timeout without end never comes", never),
    &both!("an old time does not overtake", old_time),
];

fn add<K: QueueKind>(queue: &Queue<K>, peer: &Arc<Timed<Peer<K>>>) -> Added {
    queue.add(peer.timer::<First<K>>())
}

fn once<K: QueueKind>(_task: &Task) -> Verdict {
    let queue = RouteTimerQueue::<K>::with_secs(softclock::owner!(), c"once", 1)?;
    let peer = Peer::<K>::new(Act1::Nothing)?;
    check!(peer.timer::<First<K>>().due().is_none());
    let now = Now::read();
    check!(queue.add_at(peer.timer::<First<K>>(), now) == Added::New);
    check!(wait(|| peer.runs() == 1));
    check!(peer.due_ns.load(Relaxed) == now.instant().as_nanos() + 1_000_000_000);
    check!(peer.early.load(Relaxed) == 0);
    check!(queue.count() == 0 && !peer.timer::<First<K>>().is_pending());
    sleep_ms(1_100);
    check!(peer.runs() == 1);
    Ok(())
}

fn zero<K: QueueKind>(_task: &Task) -> Verdict {
    let queue = queue::<K>(0)?;
    let lock = Arc::pin_init(new_hard_lock!(()), GFP_KERNEL)?;
    for _ in 0..20 {
        let peer = Peer::<K>::new(Act1::Nothing)?;
        let guard = lock.lock();
        let here = CpuId::current().as_u32();
        let _ = add(&queue, &peer);
        // Interrupts are off: on this CPU it can only have run inside the add.
        let inside = peer.runs() > 0 && peer.cpu.load(Relaxed) == here;
        drop(guard);
        check!(!inside);
        check!(wait(|| peer.runs() == 1));
    }
    Ok(())
}

const MANY: usize = 1_000;

fn many<K: QueueKind>(log: &Arc<Log>) -> Result<KVVec<Arc<Timed<Peer<K>>>>> {
    let mut peers = KVVec::with_capacity(MANY, GFP_KERNEL)?;
    for id in 0..MANY {
        let peer = Peer::<K>::numbered(id as u64, Some(log.clone()), Act1::Nothing)?;
        peers.push(peer, GFP_KERNEL)?;
    }
    Ok(peers)
}

fn in_order<K: QueueKind>(_task: &Task) -> Verdict {
    let queue = idle::<K>()?;
    let log = Log::new(MANY + 1)?;
    let peers = many::<K>(&log)?;
    for peer in peers.iter() {
        check!(add(&queue, peer) == Added::New);
    }
    check!(queue.count() == MANY as u64);
    hurry(&queue, 50)?;
    check!(wait(|| log.len() == MANY));
    check!(log.is_in_order());
    check!(peers.iter().all(|peer| peer.early.load(Relaxed) == 0));
    Ok(())
}

fn refresh<K: QueueKind>(_task: &Task) -> Verdict {
    unhurried(|| {
        let queue = queue::<K>(200)?;
        let peer = Peer::<K>::new(Act1::Nothing)?;
        let first = Now::read();
        let new = queue.add_at(peer.timer::<First<K>>(), first);
        sleep_ms(50);
        let later = Now::read();
        let again = queue.add_at(peer.timer::<First<K>>(), later);
        let (count, due) = (queue.count(), peer.timer::<First<K>>().due());
        if softclock::now() >= first.instant() + Delta::from_millis(200) {
            return Err(Fault::Retry);
        }
        check!(new == Added::New && again == Added::Refreshed);
        check!(count == 1);
        check!(due == Some(later.instant() + Delta::from_millis(200)));
        check!(wait(|| peer.runs() == 1));
        check!(due == Some(Instant::from_nanos(peer.due_ns.load(Relaxed))));
        check!(peer.early.load(Relaxed) == 0);
        sleep_ms(250);
        check!(peer.runs() == 1 && queue.count() == 0);
        Ok(())
    })
}

/// Added in one order, refreshed in another, while others that are never refreshed come in between.
fn refreshed<K: QueueKind>(_task: &Task) -> Verdict {
    let queue = idle::<K>()?;
    let log = Log::new(MANY + 1)?;
    let peers = many::<K>(&log)?;
    let early = Log::new(MANY)?;
    let bystander = Peer::<K>::numbered(0, Some(early.clone()), Act1::Nothing)?;
    let step = 617;
    for index in 0..MANY {
        let peer = &peers[index * step % MANY];
        check!(add(&queue, peer) == Added::New);
    }
    check!(add(&queue, &bystander) == Added::New);
    sleep_ms(30);
    for (index, peer) in peers.iter().enumerate() {
        check!(add(&queue, peer) == Added::Refreshed);
        if index % 10 == 0 {
            // Their stamps lie in several orders of magnitude.
            kernel::time::delay::udelay(kernel::time::Delta::from_micros(index as i64 / 20));
        }
    }
    check!(queue.count() == MANY as u64 + 1);
    hurry(&queue, 50)?;
    check!(wait(|| log.len() == MANY));
    check!(early.len() == 1);
    check!(log.is_in_due_order());
    check!(peers.iter().all(|peer| peer.early.load(Relaxed) == 0));
    check!(queue.count() == 0);
    Ok(())
}

fn moves<K: QueueKind>(_task: &Task) -> Verdict {
    let (one, two) = (idle::<K>()?, idle::<K>()?);
    let peer = Peer::<K>::new(Act1::Nothing)?;
    check!(add(&one, &peer) == Added::New);
    let now = Now::read();
    check!(two.add_at(peer.timer::<First<K>>(), now) == Added::Moved);
    check!(one.count() == 0 && two.count() == 1);
    hurry(&one, 0)?;
    hurry(&two, 100)?;
    check!(wait(|| peer.runs() == 1));
    check!(peer.due_ns.load(Relaxed) == now.instant().as_nanos() + 100_000_000);
    check!(peer.early.load(Relaxed) == 0);
    sleep_ms(50);
    check!(peer.runs() == 1);
    check!(one.count() == 0 && two.count() == 0);
    Ok(())
}

fn in_each_queue<K: Chosen>(_task: &Task) -> Verdict {
    let (one, two) = (idle::<K>()?, idle::<K>()?);
    let peer = Peer::<K>::new(Act1::Nothing)?;
    let timers = peer.timers();
    for queue in [&one, &two] {
        let timer = timers.in_queue(queue, K::one(), GFP_KERNEL)?;
        check!(queue.add(timer) == Added::New);
        let same = timers.in_queue(queue, K::one(), GFP_KERNEL)?;
        check!(queue.add(same) == Added::Refreshed);
    }
    check!(one.count() == 1 && two.count() == 1);
    hurry(&one, 10)?;
    hurry(&two, 20)?;
    check!(wait(|| peer.pooled.load(Acquire) == 2));
    sleep_ms(50);
    check!(peer.pooled.load(Acquire) == 2);
    Ok(())
}

fn two_actions<K: QueueKind>(_task: &Task) -> Verdict {
    let queue = idle::<K>()?;
    let peer = Peer::<K>::new(Act1::Nothing)?;
    check!(queue.add(peer.timer::<First<K>>()) == Added::New);
    check!(queue.add(peer.timer::<Second<K>>()) == Added::New);
    check!(queue.count() == 2);
    hurry(&queue, 10)?;
    let both = || peer.runs() == 1 && peer.seconds.load(Acquire) == 1;
    check!(wait(both));
    sleep_ms(50);
    check!(both());
    Ok(())
}

fn two_chosen<K: Chosen>(_task: &Task) -> Verdict {
    let queue = idle::<K>()?;
    let peer = Peer::<K>::new(Act1::Nothing)?;
    let timers = peer.timers();
    check!(queue.add(timers.of(K::one(), GFP_ATOMIC)?) == Added::New);
    check!(queue.add(timers.of(K::two(), GFP_ATOMIC)?) == Added::New);
    check!(queue.add(timers.of(K::one(), GFP_ATOMIC)?) == Added::Refreshed);
    check!(queue.count() == 2);
    hurry(&queue, 10)?;
    check!(wait(|| peer.pooled.load(Acquire) == 2));
    // Another queue: NetBSD moves it.
    queue.change(Delta::from_secs(3_600), Change::Now)?;
    let other = shared::<K>(3_600_000)?;
    check!(queue.add(timers.of(K::one(), GFP_ATOMIC)?) == Added::New);
    check!(other.add(timers.of(K::one(), GFP_ATOMIC)?) == Added::Moved);
    hurry(&queue, 0)?;
    sleep_ms(50);
    check!(peer.pooled.load(Acquire) == 2);
    check!(other.count() == 1);
    drop(peer);
    check!(other.count() == 0);
    Ok(())
}

fn two_routes<K: QueueKind>(_task: &Task) -> Verdict {
    let queue = idle::<K>()?;
    let (a, b) = (
        Peer::<K>::new(Act1::Nothing)?,
        Peer::<K>::new(Act1::Nothing)?,
    );
    check!(add(&queue, &a) == Added::New);
    check!(add(&queue, &b) == Added::New);
    check!(queue.count() == 2);
    hurry(&queue, 10)?;
    check!(wait(|| a.runs() == 1 && b.runs() == 1));
    Ok(())
}

fn deletes<K: Chosen>(_task: &Task) -> Verdict {
    let queue = queue::<K>(20)?;
    let (a, b) = (
        Peer::<K>::new(Act1::Nothing)?,
        Peer::<K>::new(Act1::Nothing)?,
    );
    check!(queue.add(a.timer::<DeleteRoute<K>>()) == Added::New);
    check!(queue.add(b.timers().of(K::delete(), GFP_KERNEL)?) == Added::New);
    let deleted = |peer: &Peer<K>| peer.deleted.load(Acquire);
    check!(wait(|| deleted(&a) == 1 && deleted(&b) == 1));
    sleep_ms(40);
    check!(deleted(&a) == 1 && deleted(&b) == 1 && a.runs() == 0);
    Ok(())
}

/// Adds, and after a while changes the timeout; gives the time of the add.
fn changed<K: QueueKind>(
    queue: &Queue<K>,
    peer: &Arc<Timed<Peer<K>>>,
    ms: i64,
    how: Change,
) -> Result<Now> {
    let now = Now::read();
    let _ = queue.add_at(peer.timer::<First<K>>(), now);
    sleep_ms(40);
    queue.change(Delta::from_millis(ms), how)?;
    Ok(now)
}

fn began_after<K: QueueKind>(peer: &Peer<K>, start: Now) -> i64 {
    (peer.began_ns.load(Relaxed) - start.instant().as_nanos()) / 1_000_000
}

fn due_after<K: QueueKind>(peer: &Peer<K>, start: Now) -> i64 {
    (peer.due_ns.load(Relaxed) - start.instant().as_nanos()) / 1_000_000
}

fn shorter_at_wake<K: QueueKind>(_task: &Task) -> Verdict {
    let queue = queue::<K>(500)?;
    let peer = Peer::<K>::new(Act1::Nothing)?;
    let late = Peer::<K>::new(Act1::Nothing)?;
    let start = changed(&queue, &peer, 100, Change::AtNextWake)?;
    // Due by the new timeout long before the wake, and runs at the wake.
    let _ = add(&queue, &late);
    check!(wait(|| peer.runs() == 1 && late.runs() == 1));
    check!(began_after(&peer, start) >= 500 && began_after(&late, start) >= 500);
    // From here on the new one.
    let start = Now::read();
    let _ = queue.add_at(peer.timer::<First<K>>(), start);
    check!(wait(|| peer.runs() == 2));
    check!(due_after(&peer, start) == 100 && peer.early.load(Relaxed) == 0);
    Ok(())
}

fn shorter_now<K: QueueKind>(_task: &Task) -> Verdict {
    let queue = idle::<K>()?;
    let peer = Peer::<K>::new(Act1::Nothing)?;
    let start = changed(&queue, &peer, 150, Change::Now)?;
    check!(queue.timeout() == Delta::from_millis(150));
    check!(wait(|| peer.runs() == 1));
    check!(due_after(&peer, start) == 150 && peer.early.load(Relaxed) == 0);
    Ok(())
}

fn longer<K: QueueKind>(_task: &Task) -> Verdict {
    for how in [Change::AtNextWake, Change::Now] {
        unhurried(|| {
            let queue = queue::<K>(200)?;
            let peer = Peer::<K>::new(Act1::Nothing)?;
            let start = changed(&queue, &peer, 400, how)?;
            if softclock::now() >= start.instant() + Delta::from_millis(200) {
                return Err(Fault::Retry);
            }
            check!(wait(|| peer.runs() == 1));
            check!(due_after(&peer, start) == 400 && peer.early.load(Relaxed) == 0);
            sleep_ms(50);
            check!(peer.runs() == 1);
            Ok(())
        })?;
    }
    Ok(())
}

fn to_zero<K: QueueKind>(_task: &Task) -> Verdict {
    // The next wake is when the first is due by the old timeout; now is before that, in any guest.
    for (how, old, least) in [(Change::AtNextWake, 300, 300), (Change::Now, 3_600_000, 40)] {
        let queue = queue::<K>(old)?;
        let (a, b) = (
            Peer::<K>::new(Act1::Nothing)?,
            Peer::<K>::new(Act1::Nothing)?,
        );
        let before = Now::read();
        let _ = queue.add_at(b.timer::<First<K>>(), before);
        let start = changed(&queue, &a, 0, how)?;
        check!(wait(|| a.runs() == 1 && b.runs() == 1));
        check!(began_after(&a, before) >= least && began_after(&b, before) >= least);
        if how == Change::Now {
            check!(due_after(&a, start) == 0 && due_after(&b, before) == 0);
        }
    }
    Ok(())
}

/// The longest timeout, and others that lead beyond the end of time: they must not wrap around to the past.
const LONGEST: [i64; 3] = [i64::MAX, i64::MAX - 1, i64::MAX / 2 + 1];

type Pair<K> = [Arc<Timed<Peer<K>>>; 2];

/// Two that were added, before the queue's timeout was made so long; and when the first was.
fn made_longest<K: QueueKind>(queue: &Queue<K>, span: i64, how: Change) -> Result<(Pair<K>, Now)> {
    let peers = [
        Peer::<K>::new(Act1::Nothing)?,
        Peer::<K>::new(Act1::Nothing)?,
    ];
    let start = Now::read();
    for peer in &peers {
        let _ = queue.add_at(peer.timer::<First<K>>(), start);
    }
    queue.change(Delta::from_nanos(span), how)?;
    Ok((peers, start))
}

fn to_longest<K: QueueKind>(_task: &Task) -> Verdict {
    for span in LONGEST {
        for how in [Change::AtNextWake, Change::Now] {
            unhurried(|| {
                let queue = queue::<K>(100)?;
                let ([a, b], start) = made_longest(&queue, span, how)?;
                if softclock::now() >= start.instant() + Delta::from_millis(100) {
                    return Err(Fault::Retry);
                }
                check!(queue.timeout().as_nanos() == span);
                check!(a.earliest() == Some(start.instant() + Delta::from_nanos(span)));
                // Past the wake that the old timeout had set.
                sleep_ms(150);
                check!(a.runs() == 0 && b.runs() == 0 && queue.count() == 2);
                check!(add(&queue, &a) == Added::Refreshed);
                hurry(&queue, 10)?;
                check!(wait(|| a.runs() == 1 && b.runs() == 1));
                check!(due_after(&b, start) == 10);
                sleep_ms(30);
                check!(a.runs() == 1 && b.runs() == 1 && queue.count() == 0);
                Ok(())
            })?;
        }
    }
    Ok(())
}

fn longest_and_back<K: QueueKind>(_task: &Task) -> Verdict {
    unhurried(|| {
        let queue = queue::<K>(200)?;
        let ([a, b], start) = made_longest(&queue, i64::MAX, Change::AtNextWake)?;
        queue.change(Delta::from_millis(100), Change::AtNextWake)?;
        if softclock::now() >= start.instant() + Delta::from_millis(200) {
            return Err(Fault::Retry);
        }
        check!(wait(|| a.runs() == 1 && b.runs() == 1));
        check!(began_after(&a, start) >= 200 && due_after(&a, start) == 100);
        check!(due_after(&b, start) == 100 && queue.count() == 0);
        Ok(())
    })
}

fn empty_changes<K: QueueKind>(_task: &Task) -> Verdict {
    for how in [Change::AtNextWake, Change::Now] {
        let queue = idle::<K>()?;
        queue.change(Delta::from_millis(50), how)?;
        let peer = Peer::<K>::new(Act1::Nothing)?;
        let start = Now::read();
        check!(queue.add_at(peer.timer::<First<K>>(), start) == Added::New);
        check!(wait(|| peer.runs() == 1));
        check!(due_after(&peer, start) == 50 && peer.early.load(Relaxed) == 0);
        // Emptied by a removal, too.
        queue.change(Delta::from_secs(3_600), how)?;
        let _ = add(&queue, &peer);
        check!(peer.timer::<First<K>>().remove() == Stop::Cancelled);
        queue.change(Delta::from_millis(50), how)?;
        let _ = add(&queue, &peer);
        check!(wait(|| peer.runs() == 2));
    }
    Ok(())
}

fn earliest<K: QueueKind>(_task: &Task) -> Verdict {
    let (soon, late) = (queue::<K>(60_000)?, queue::<K>(600_000)?);
    let peer = Peer::<K>::new(Act1::Nothing)?;
    check!(peer.earliest().is_none());
    let now = Now::read();
    check!(late.add_at(peer.timer::<First<K>>(), now) == Added::New);
    check!(peer.earliest() == Some(now.instant() + Delta::from_secs(600)));
    check!(soon.add_at(peer.timer::<Second<K>>(), now) == Added::New);
    check!(peer.earliest() == Some(now.instant() + Delta::from_secs(60)));
    soon.change(Delta::from_secs(1_200), Change::AtNextWake)?;
    check!(peer.earliest() == Some(now.instant() + Delta::from_secs(600)));
    check!(peer.remove_all_async().removed == 2);
    check!(peer.earliest().is_none());
    Ok(())
}

fn bad_timeouts<K: QueueKind>(_task: &Task) -> Verdict {
    let owner = softclock::owner!();
    for bad in [-1, i64::MIN] {
        let queue = RouteTimerQueue::<K>::new(owner, c"bad", Delta::from_nanos(bad));
        check!(queue.err() == Some(EINVAL));
    }
    check!(RouteTimerQueue::<K>::with_secs(owner, c"bad", -600).err() == Some(EINVAL));
    check!(RouteTimerQueue::<K>::with_secs(owner, c"a b", 600).err() == Some(EINVAL));
    check!(RouteTimerQueue::<K>::with_secs(owner, c"", 600).err() == Some(EINVAL));
    let queue = queue::<K>(60_000)?;
    for how in [Change::AtNextWake, Change::Now] {
        check!(queue.change(Delta::from_nanos(-1), how) == Err(EINVAL));
    }
    check!(queue.timeout() == Delta::from_secs(60));
    Ok(())
}

fn never<K: QueueKind>(_task: &Task) -> Verdict {
    let queue = RouteTimerQueue::<K>::with_secs(softclock::owner!(), c"never", i64::MAX)?;
    check!(queue.timeout() == Delta::MAX);
    let peer = Peer::<K>::new(Act1::Nothing)?;
    check!(add(&queue, &peer) == Added::New);
    check!(add(&queue, &peer) == Added::Refreshed);
    check!(peer.earliest() == Some(Instant::NEVER));
    sleep_ms(100);
    check!(peer.runs() == 0 && queue.count() == 1);
    // It is not too late to think better of it.
    queue.change(Delta::ZERO, Change::Now)?;
    check!(wait(|| peer.runs() == 1));
    Ok(())
}

fn old_time<K: QueueKind>(_task: &Task) -> Verdict {
    let queue = idle::<K>()?;
    let log = Log::new(2)?;
    let old = Now::read();
    sleep_ms(30);
    let first = Peer::<K>::numbered(0, Some(log.clone()), Act1::Nothing)?;
    let second = Peer::<K>::numbered(1, Some(log.clone()), Act1::Nothing)?;
    check!(add(&queue, &first) == Added::New);
    check!(queue.add_at(second.timer::<First<K>>(), old) == Added::New);
    // Nor does a refresh go back.
    check!(queue.add_at(first.timer::<First<K>>(), old) == Added::Refreshed);
    hurry(&queue, 50)?;
    check!(wait(|| log.len() == 2));
    check!(log.is_in_order());
    check!(first.early.load(Relaxed) == 0 && second.early.load(Relaxed) == 0);
    Ok(())
}
