// SPDX-License-Identifier: GPL-2.0

//! Two queues of a CPU that both have more to do than a slice allows. Fault: one has the slices to itself, and
//! the other's actions come one a slice.

use crate::{
    harness::{check, Case, Verdict},
    route_subject::{hurry, shared, wait, Act1, First, Log, Peer, Queue},
};
use softclock::prelude::*;

pub(crate) const CASES: &[&[Case]] = &[&[Case {
    name: "rt_timer-27 two busy queues of a CPU take turns",
    run: turns,
}]];

/// Actions in each queue, and what one takes: some six slices.
const ALL: usize = 100;
const BUSY_US: i64 = 50;

type Busy = Arc<Timed<Peer<Soft>>>;

/// A queue with `ALL` timers, none of them due, whose ids begin at `first`.
fn busy(log: &Arc<Log>, first: usize) -> Result<(Arc<Queue<Soft>>, KVec<Busy>)> {
    let queue = shared::<Soft>(3_600_000)?;
    let mut peers = KVec::with_capacity(ALL, GFP_KERNEL)?;
    for id in first..first + ALL {
        let peer = Peer::numbered(id as u64, Some(log.clone()), Act1::Pause(BUSY_US))?;
        let _ = queue.add(peer.timer::<First<Soft>>());
        peers.push(peer, GFP_KERNEL)?;
    }
    Ok((queue, peers))
}

fn turns(_task: &Task) -> Verdict {
    let log = Log::new(2 * ALL)?;
    let (a, _peers_a) = busy(&log, 0)?;
    let (b, _peers_b) = busy(&log, ALL)?;
    // From one callback, so that both are of one CPU, and due at once.
    let refused = Arc::new(Atomic::new(0u64), GFP_KERNEL)?;
    let (queues, said) = ([a, b], refused.clone());
    let starter = Closure::<Soft>::new(softclock::owner!(), c"starter", move |_run| {
        for queue in &queues {
            if hurry(queue, 0).is_err() {
                said.fetch_add(1, Relaxed);
            }
        }
        Next::Stop
    })?;
    starter.callout().arm_after(Delta::ZERO);
    check!(wait(|| log.len() == 2 * ALL) && refused.load(Relaxed) == 0);
    let of_both = log.until_one_is_through(|id| id < ALL as u64);
    // The same share of the time; less where the machine took more of one queue's.
    check!(of_both >= ALL + ALL / 4);
    Ok(())
}
