// SPDX-License-Identifier: GPL-2.0

//! Route timers: their ends. Faults: an action that runs after the removal or the destruction, or is
//! forgotten; a wait that does not wait, or for ever; a route or a queue that is used after its end.

use crate::{
    harness::{check, Case, Verdict},
    route_subject::{
        both, hurry, idle, queue, shared, wait, while_acting, Act1, Chosen, First, Log, Peer,
        Second, DROPPED, DROPPED_IN_RUN, DROPPED_IN_TASK, SAW_DEADLOCK, SAW_END,
    },
    subject::{pause_us, sleep_ms},
};
use softclock::prelude::*;

pub(crate) const CASES: &[&[Case]] = &[
    &both!(
        "rt_timer-9 a route that is going is not deleted",
        no_double_delete
    ),
    &both!(
        "rt_timer-14 destroyed without the actions: none runs",
        destroy_removes
    ),
    &both!(
        "rt_timer-15 destroyed with the actions: each once, in order",
        destroy_runs
    ),
    &both!(
        "rt_timer-16 a destruction waits for the action",
        destroy_waits
    ),
    &[Case {
        name: "rt_timer-17 destroyed by its own action: refused (task)",
        run: destroy_own::<Task>,
    }],
    &both!(
        "rt_timer-17 dropped by its own action: the rest does not run",
        drop_own
    ),
    &both!(
        "rt_timer-18 a destroyed queue refuses adds",
        add_to_destroyed
    ),
    &both!(
        "rt_timer-19 remove_all takes timers from all queues",
        remove_all
    ),
    &both!(
        "rt_timer-20 remove_all of a route whose action executes",
        remove_all_running
    ),
    &both!(
        "rt_timer-20 adds are refused while a removal waits",
        add_while_removing
    ),
    &both!("rt_timer-21 remove_all by an action", remove_all_own),
    &[Case {
        name: "rt_timer-21 waiting for oneself is refused (task)",
        run: wait_for_oneself::<Task>,
    }],
    &[Case {
        name: "rt_timer-21 actions that wait for each other (task)",
        run: circle::<Task>,
    }],
    &[Case {
        name: "rt_timer-17 actions that destroy each other's queue, with its actions (task)",
        run: flush_circle::<Task>,
    }],
    &[Case {
        name: "rt_timer-17 destroyed by an action that is to run there, with its actions: refused (task)",
        run: flush_behind_oneself::<Task>,
    }],
    &both!(
        "rt_timer-15 what an action removes is not among those that ran",
        flush_removes
    ),
    &both!("rt_timer-22 an action adds its timer again", readd),
    &both!(
        "rt_timer-23 what an action adds is for another pass",
        add_other
    ),
    &both!("rt_timer-24 the count, from add to end", count),
    &both!(
        "rt_timer-26 a timer that was pending once is added without memory",
        no_memory_needed
    ),
    &both!(
        "rt_timer-30 a dropped route takes its timers along",
        route_dropped
    ),
    &both!(
        "rt_timer-30 a route dropped by its own action",
        dropped_by_action
    ),
    &both!(
        "rt_timer-30 a route dropped with interrupts off",
        dropped_atomically
    ),
    &both!("an action never executes twice at once", not_twice),
    &both!("a queue that is dropped while adds go on", dropped_queue),
];

fn no_double_delete<K: QueueKind>(_task: &Task) -> Verdict {
    let queue = queue::<K>(1)?;
    for round in 0..200 {
        let peer = Peer::<K>::new(Act1::Nothing)?;
        let before = DROPPED.load(Acquire);
        let _ = queue.add(peer.timer::<DeleteRoute<K>>());
        // The last reference goes around the deadline.
        pause_us(900 + round);
        let keep = round % 2 == 0;
        if keep {
            check!(wait(|| peer.deleted.load(Acquire) == 1));
        }
        drop(peer);
        check!(wait(|| DROPPED.load(Acquire) == before + 1));
        check!(queue.count() == 0);
    }
    Ok(())
}

fn destroy_removes<K: QueueKind>(task: &Task) -> Verdict {
    let queue = queue::<K>(60_000)?;
    let mut peers = KVec::new();
    for _ in 0..200 {
        peers.push(Peer::<K>::new(Act1::Nothing)?, GFP_KERNEL)?;
    }
    for peer in peers.iter() {
        let _ = queue.add(peer.timer::<First<K>>());
        let _ = queue.add(peer.timer::<DeleteRoute<K>>());
    }
    check!(queue.destroy(Pending::Remove, task) == Ok(400));
    check!(queue.count() == 0 && queue.is_destroyed());
    check!(peers.iter().all(|peer| peer.earliest().is_none()));
    // Again: nothing is left to do.
    check!(queue.destroy(Pending::Run, task) == Ok(0));
    check!(peers
        .iter()
        .all(|peer| peer.runs() + peer.deleted.load(Acquire) == 0));
    let before = DROPPED.load(Acquire);
    peers.clear();
    check!(DROPPED.load(Acquire) == before + 200);
    Ok(())
}

fn destroy_runs<K: QueueKind>(task: &Task) -> Verdict {
    let queue = queue::<K>(60_000)?;
    let log = Log::new(2_000)?;
    let mut peers = KVVec::new();
    for id in 0..1_000 {
        let peer = Peer::<K>::numbered(id, Some(log.clone()), Act1::Nothing)?;
        peers.push(peer, GFP_KERNEL)?;
    }
    for peer in peers.iter().rev() {
        let _ = queue.add(peer.timer::<First<K>>());
    }
    // Half of them are refreshed, in the order of their numbers; then the others.
    for peer in peers.iter() {
        check!(queue.add(peer.timer::<First<K>>()) == Added::Refreshed);
    }
    check!(queue.destroy(Pending::Run, task) == Ok(1_000));
    check!(log.len() == 1_000 && log.is_in_due_order());
    check!(peers.iter().all(|peer| peer.runs() == 1));
    check!(queue.count() == 0);
    Ok(())
}

fn destroy_waits<K: QueueKind>(task: &Task) -> Verdict {
    for pending in [Pending::Remove, Pending::Run] {
        while_acting::<K>(|peer, queue| {
            let second = Peer::<K>::new(Act1::Nothing)?;
            let _ = queue.add(second.timer::<First<K>>());
            let during = peer.ended.load(Acquire) == 0;
            queue.destroy(pending, task).map_err(|_| EIO)?;
            check!(peer.ended.load(Acquire) == 1);
            if !during {
                return Err(crate::harness::Fault::Retry);
            }
            check!(second.runs() == u64::from(pending == Pending::Run));
            sleep_ms(5);
            check!(peer.runs() == 1 && second.runs() <= 1);
            Ok(())
        })?;
    }
    Ok(())
}

fn destroy_own<K: QueueKind>(task: &Task) -> Verdict {
    let queue = shared::<K>(20)?;
    let peer = Peer::<K>::new(Act1::Destroy(queue.clone()))?;
    let other = Peer::<K>::new(Act1::Nothing)?;
    let _ = queue.add(peer.timer::<First<K>>());
    let _ = queue.add(other.timer::<First<K>>());
    check!(wait(|| peer.ended.load(Acquire) == 1 && other.runs() == 1));
    check!(peer.saw() & SAW_DEADLOCK != 0);
    // Nothing has changed.
    check!(!queue.is_destroyed());
    check!(queue.add(other.timer::<First<K>>()) == Added::New);
    check!(wait(|| other.runs() == 2));
    check!(queue.destroy(Pending::Remove, task) == Ok(0));
    peer.calm();
    Ok(())
}

fn drop_own<K: QueueKind>(_task: &Task) -> Verdict {
    for _ in 0..20 {
        let queue = KBox::new(queue::<K>(20)?, GFP_KERNEL)?;
        let peer = Peer::<K>::new(Act1::Nothing)?;
        let other = Peer::<K>::new(Act1::Nothing)?;
        // Held, so that no action begins before it knows what to do.
        let mut act = peer.act.lock();
        let _ = queue.add(peer.timer::<First<K>>());
        let _ = queue.add(other.timer::<First<K>>());
        *act = Act1::DropQueue(Some(queue));
        drop(act);
        check!(wait(|| peer.ended.load(Acquire) == 1));
        sleep_ms(2);
        check!(peer.runs() == 1 && other.runs() == 0);
        check!(wait(|| other.earliest().is_none()));
    }
    Ok(())
}

fn add_to_destroyed<K: QueueKind>(task: &Task) -> Verdict {
    let (gone, there) = (queue::<K>(20)?, queue::<K>(60_000)?);
    let peer = Peer::<K>::new(Act1::Nothing)?;
    check!(gone.destroy(Pending::Remove, task) == Ok(0));
    check!(gone.add(peer.timer::<First<K>>()) == Added::Refused(NotAdded::Destroyed));
    check!(gone.change(Delta::ZERO, Change::Now) == Err(ENODEV));
    // Where it is pending elsewhere it stays so.
    check!(there.add(peer.timer::<First<K>>()) == Added::New);
    check!(gone.add(peer.timer::<First<K>>()) == Added::Refused(NotAdded::Destroyed));
    check!(there.count() == 1 && gone.count() == 0);
    check!(peer.timer::<First<K>>().remove() == Stop::Cancelled);
    sleep_ms(40);
    check!(peer.runs() == 0);
    Ok(())
}

fn remove_all<K: Chosen>(task: &Task) -> Verdict {
    let queues = [idle::<K>()?, idle::<K>()?, idle::<K>()?];
    let (peer, other) = (
        Peer::<K>::new(Act1::Nothing)?,
        Peer::<K>::new(Act1::Nothing)?,
    );
    for asynchronous in [true, false] {
        for peer in [&peer, &other] {
            let _ = queues[0].add(peer.timer::<First<K>>());
            let _ = queues[1].add(peer.timer::<Second<K>>());
            let _ = queues[2].add(peer.timer::<DeleteRoute<K>>());
            let _ = queues[2].add(peer.timers().of(K::one(), GFP_KERNEL)?);
        }
        if asynchronous {
            let found = peer.remove_all_async();
            check!(found.removed == 4 && found.running == 0);
        } else {
            check!(peer.remove_all(task) == Ok(4));
        }
        check!(queues[0].count() == 1 && queues[1].count() == 1 && queues[2].count() == 2);
        check!(peer.remove_all(task) == Ok(0));
        check!(other.remove_all(task) == Ok(4));
    }
    for queue in &queues {
        hurry(queue, 0)?;
    }
    sleep_ms(50);
    for peer in [&peer, &other] {
        check!(peer.runs() + peer.seconds.load(Acquire) == 0);
        check!(peer.deleted.load(Acquire) + peer.pooled.load(Acquire) == 0);
    }
    Ok(())
}

fn remove_all_running<K: QueueKind>(task: &Task) -> Verdict {
    while_acting::<K>(|peer, queue| {
        queue.change(Delta::from_secs(60), Change::Now)?;
        let _ = queue.add(peer.timer::<Second<K>>());
        let found = peer.remove_all_async();
        let single = peer.timer::<First<K>>().remove();
        let _ = queue.add(peer.timer::<First<K>>());
        if peer.ended.load(Acquire) != 0 {
            return Err(crate::harness::Fault::Retry);
        }
        check!(found.removed == 1 && found.running == 1);
        check!(single == Stop::Running);
        // What was added during the action is removed, and the action waited for.
        check!(peer.remove_all(task) == Ok(1));
        check!(peer.ended.load(Acquire) == 1);
        check!(queue.count() == 0);
        sleep_ms(5);
        check!(peer.runs() == 1 && peer.seconds.load(Acquire) == 0);
        // And now it can be added again.
        queue.change(Delta::ZERO, Change::Now)?;
        check!(queue.add(peer.timer::<First<K>>()) == Added::New);
        check!(wait(|| peer.runs() == 2));
        check!(wait(|| peer.ended.load(Acquire) == 2));
        Ok(())
    })
}

fn add_while_removing<K: QueueKind>(task: &Task) -> Verdict {
    while_acting::<K>(|peer, queue| {
        let (to, whose) = (queue.clone(), peer.clone());
        let refused = Arc::new(Atomic::new(0u64), GFP_KERNEL)?;
        let count = refused.clone();
        queue.change(Delta::from_secs(60), Change::Now)?;
        let adder = Closure::<Task>::new(softclock::owner!(), c"adder", move |_run| {
            while whose.ended.load(Acquire) == 0 {
                match to.add(whose.timer::<First<K>>()) {
                    Added::Refused(NotAdded::Removing) => {
                        count.fetch_add(1, Release);
                    }
                    _ => {
                        let _ = whose.timer::<First<K>>().remove();
                    }
                }
                sleep_ms(1);
            }
            Next::Stop
        })?;
        adder.callout().arm_after(Delta::ZERO);
        let drained = peer.timer::<First<K>>().drain(task);
        check!(drained.is_ok());
        check!(peer.ended.load(Acquire) == 1);
        adder.callout().drain(task).map_err(|_| EIO)?;
        if refused.load(Acquire) == 0 {
            return Err(crate::harness::Fault::Retry);
        }
        Ok(())
    })
}

fn remove_all_own<K: QueueKind>(_task: &Task) -> Verdict {
    let queue = idle::<K>()?;
    let (peer, other) = (
        Peer::<K>::new(Act1::Nothing)?,
        Peer::<K>::new(Act1::Nothing)?,
    );
    let mut others = KVec::new();
    others.push(other.clone(), GFP_KERNEL)?;
    *peer.act.lock() = Act1::RemoveAll(others);
    let now = Now::read();
    // All due at once: in one pass.
    check!(queue.add_at(peer.timer::<First<K>>(), now) == Added::New);
    check!(queue.add_at(peer.timer::<Second<K>>(), now) == Added::New);
    check!(queue.add_at(other.timer::<First<K>>(), now) == Added::New);
    hurry(&queue, 10)?;
    check!(wait(|| peer.ended.load(Acquire) == 1));
    check!(peer.saw() == 2 | 1 << 16);
    sleep_ms(5);
    check!(peer.runs() == 1 && peer.seconds.load(Acquire) == 0 && other.runs() == 0);
    check!(queue.count() == 0);
    peer.calm();
    Ok(())
}

fn wait_for_oneself<K: QueueKind>(_task: &Task) -> Verdict {
    let queue = idle::<K>()?;
    let peer = Peer::<K>::new(Act1::RemoveAllAndWait)?;
    check!(queue.add(peer.timer::<First<K>>()) == Added::New);
    check!(queue.add(peer.timer::<Second<K>>()) == Added::New);
    hurry(&queue, 10)?;
    check!(wait(|| peer.ended.load(Acquire) == 1));
    check!(peer.saw() & SAW_DEADLOCK != 0);
    sleep_ms(5);
    // The other one was removed all the same.
    check!(peer.seconds.load(Acquire) == 0);
    check!(queue.add(peer.timer::<Second<K>>()) == Added::New);
    check!(wait(|| peer.seconds.load(Acquire) == 1));
    Ok(())
}

fn flush_removes<K: QueueKind>(task: &Task) -> Verdict {
    let queue = queue::<K>(3_600_000)?;
    let last = Peer::<K>::new(Act1::Nothing)?;
    let mut others = KVec::new();
    others.push(last.clone(), GFP_KERNEL)?;
    let first = Peer::<K>::new(Act1::RemoveAll(others))?;
    check!(queue.add(first.timer::<First<K>>()) == Added::New);
    check!(queue.add(last.timer::<First<K>>()) == Added::New);
    check!(queue.destroy(Pending::Run, task) == Ok(1));
    check!(first.runs() == 1 && last.runs() == 0);
    first.calm();
    Ok(())
}

fn flush_circle<K: QueueKind>(_task: &Task) -> Verdict {
    refused_circle::<K>(|queue, peer| Act1::Flush(queue.clone(), peer.clone()))
}

fn flush_behind_oneself<K: QueueKind>(_task: &Task) -> Verdict {
    let (one, two) = (shared::<K>(10)?, shared::<K>(3_600_000)?);
    let peer = Peer::<K>::new(Act1::ReaddAndFlush(two.clone()))?;
    let first = Peer::<K>::new(Act1::Nothing)?;
    check!(two.add(first.timer::<First<K>>()) == Added::New);
    check!(one.add(peer.timer::<First<K>>()) == Added::New);
    check!(wait(|| peer.ended.load(Acquire) == 1));
    check!(peer.saw() == SAW_DEADLOCK);
    // What was in the way of nothing has run, and the rest is removed.
    check!(first.runs() == 1 && peer.runs() == 1);
    check!(two.is_destroyed() && two.count() == 0);
    check!(peer.earliest().is_none());
    peer.calm();
    Ok(())
}

fn circle<K: QueueKind>(_task: &Task) -> Verdict {
    refused_circle::<K>(|_queue, peer| Act1::WaitFor(peer.clone()))
}

/// Two actions, each of which waits for the other, or for its queue: as `wait_for` says of both.
fn refused_circle<K: QueueKind>(
    wait_for: impl Fn(&Arc<RouteTimerQueue<K>>, &Arc<Timed<Peer<K>>>) -> Act1<K>,
) -> Verdict {
    let (one, two) = (shared::<K>(10)?, shared::<K>(10)?);
    let (a, b) = (
        Peer::<K>::new(Act1::Nothing)?,
        Peer::<K>::new(Act1::Nothing)?,
    );
    *a.act.lock() = wait_for(&two, &b);
    *b.act.lock() = wait_for(&one, &a);
    check!(one.add(a.timer::<First<K>>()) == Added::New);
    check!(two.add(b.timer::<First<K>>()) == Added::New);
    let ended = |peer: &Peer<K>| peer.ended.load(Acquire) == 1;
    check!(wait(|| ended(&a) && ended(&b)));
    // One was refused, and so the other one's wait came to an end.
    check!((a.saw() | b.saw()) & SAW_DEADLOCK != 0);
    check!((a.saw() | b.saw()) & SAW_END != 0);
    a.calm();
    b.calm();
    Ok(())
}

fn readd<K: QueueKind>(_task: &Task) -> Verdict {
    let queue = shared::<K>(10)?;
    let peer = Peer::<K>::new(Act1::Readd(queue.clone()))?;
    let start = softclock::now().as_nanos();
    check!(queue.add(peer.timer::<First<K>>()) == Added::New);
    check!(wait(|| peer.runs() >= 5));
    check!(softclock::now().as_nanos() - start >= 50_000_000);
    check!(peer.saw() == 1);
    peer.calm();
    check!(wait(|| peer.runs() == peer.ended.load(Acquire)));
    check!(wait(|| queue.count() == 0));
    check!(peer.early.load(Relaxed) == 0);
    Ok(())
}

fn add_other<K: QueueKind>(_task: &Task) -> Verdict {
    let queue = shared::<K>(0)?;
    let mut last = Peer::<K>::new(Act1::Nothing)?;
    let mut peers = KVec::new();
    peers.push(last.clone(), GFP_KERNEL)?;
    for _ in 0..20 {
        last = Peer::<K>::new(Act1::Add(queue.clone(), last))?;
        peers.push(last.clone(), GFP_KERNEL)?;
    }
    check!(queue.add(last.timer::<First<K>>()) == Added::New);
    check!(wait(|| peers[0].ended.load(Acquire) == 1));
    for pair in peers.windows(2) {
        // Each in a later granule than the one that added it.
        let began = |peer: &Peer<K>| peer.began_ns.load(Relaxed) >> 16;
        check!(began(&pair[0]) > began(&pair[1]));
    }
    Ok(())
}

fn count<K: QueueKind>(_task: &Task) -> Verdict {
    let queue = shared::<K>(3_600_000)?;
    let (a, b) = (
        Peer::<K>::new(Act1::Nothing)?,
        Peer::<K>::new(Act1::Nothing)?,
    );
    check!(queue.count() == 0);
    *a.act.lock() = Act1::Count(queue.clone());
    let _ = queue.add(a.timer::<First<K>>());
    check!(queue.count() == 1);
    let _ = queue.add(b.timer::<First<K>>());
    check!(queue.count() == 2);
    let _ = queue.add(b.timer::<First<K>>());
    check!(queue.count() == 2);
    check!(b.timer::<First<K>>().remove() == Stop::Cancelled);
    check!(b.timer::<First<K>>().remove() == Stop::Idle);
    check!(queue.count() == 1);
    hurry(&queue, 10)?;
    check!(wait(|| a.ended.load(Acquire) == 1));
    // The one that executes does not count.
    check!(a.saw() == 1);
    check!(queue.count() == 0);
    a.calm();
    Ok(())
}

fn no_memory_needed<K: Chosen>(_task: &Task) -> Verdict {
    let (one, two) = (queue::<K>(60_000)?, queue::<K>(60_000)?);
    let peer = Peer::<K>::new(Act1::Nothing)?;
    let timers = peer.timers();
    let known = timers.of(K::one(), GFP_KERNEL)?;
    check!(one.add(known) == Added::New);
    for queue in [&one, &two, &one] {
        let same = timers.of(K::one(), GFP_NOWAIT)?;
        check!(same.due() == known.due());
        check!(queue.add(same) != Added::New);
        check!(known.is_pending());
    }
    check!(one.count() == 1 && two.count() == 0);
    Ok(())
}

fn route_dropped<K: Chosen>(_task: &Task) -> Verdict {
    let (one, two) = (queue::<K>(300)?, queue::<K>(600)?);
    let before = DROPPED.load(Acquire);
    for _ in 0..50 {
        let peer = Peer::<K>::new(Act1::Nothing)?;
        let _ = one.add(peer.timer::<First<K>>());
        let _ = two.add(peer.timer::<DeleteRoute<K>>());
        let _ = two.add(peer.timers().of(K::one(), GFP_KERNEL)?);
    }
    // A run that a slow machine began may hold the last reference.
    check!(wait(|| DROPPED.load(Acquire) == before + 50));
    check!(one.count() == 0 && two.count() == 0);
    sleep_ms(650);
    Ok(())
}

fn dropped_by_action<K: QueueKind>(_task: &Task) -> Verdict {
    let queue = queue::<K>(5)?;
    for _ in 0..20 {
        let before = (
            DROPPED.load(Acquire),
            DROPPED_IN_RUN.load(Acquire),
            DROPPED_IN_TASK.load(Acquire),
        );
        let peer = Peer::<K>::new(Act1::Nothing)?;
        let mine = peer.clone();
        *peer.act.lock() = Act1::DropMe(Some(mine));
        check!(queue.add(peer.timer::<First<K>>()) == Added::New);
        check!(queue.add(peer.timer::<Second<K>>()) == Added::New);
        drop(peer);
        check!(wait(|| DROPPED.load(Acquire) == before.0 + 1));
        check!(DROPPED_IN_RUN.load(Acquire) == before.1);
        check!(DROPPED_IN_TASK.load(Acquire) == before.2 + 1);
        check!(queue.count() == 0);
    }
    Ok(())
}

fn dropped_atomically<K: QueueKind>(_task: &Task) -> Verdict {
    let queue = queue::<K>(20)?;
    let lock = Arc::pin_init(softclock::new_hard_lock!(()), GFP_KERNEL)?;
    for round in 0..50 {
        let peer = Peer::<K>::new(Act1::Nothing)?;
        let _ = queue.add(peer.timer::<First<K>>());
        if round % 5 == 0 {
            sleep_ms(19);
        }
        let guard = lock.lock();
        drop(peer);
        drop(guard);
    }
    check!(wait(|| queue.count() == 0));
    Ok(())
}

/// Added by its action to another queue that is due at once: it has to wait for the action.
fn not_twice<K: QueueKind>(task: &Task) -> Verdict {
    let (one, two) = (shared::<K>(5)?, shared::<K>(0)?);
    let peer = Peer::<K>::new(Act1::ReaddAndStay(two.clone()))?;
    check!(one.add(peer.timer::<First<K>>()) == Added::New);
    check!(wait(|| peer.ended.load(Acquire) == 2));
    check!(peer.overlaps.load(Relaxed) == 0);
    check!(two.count() == 0);
    check!(two.destroy(Pending::Remove, task) == Ok(0));
    peer.calm();
    Ok(())
}

fn dropped_queue<K: QueueKind>(_task: &Task) -> Verdict {
    let mut peers = KVec::new();
    for _ in 0..50 {
        peers.push(Peer::<K>::new(Act1::Nothing)?, GFP_KERNEL)?;
    }
    let runs = || peers.iter().map(|peer| peer.runs()).sum::<u64>();
    for round in 0..20 {
        let queue = queue::<K>(1)?;
        for peer in peers.iter() {
            let _ = queue.add(peer.timer::<First<K>>());
        }
        pause_us(950 + 10 * round);
        drop(queue);
        // From here on no action begins; the one that has may be counted later.
        let before = runs();
        sleep_ms(4);
        check!(runs() <= before + 1);
    }
    for peer in peers.iter() {
        check!(wait(|| peer.earliest().is_none()));
    }
    Ok(())
}
