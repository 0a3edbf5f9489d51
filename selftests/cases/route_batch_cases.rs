// SPDX-License-Identifier: GPL-2.0

//! Route timers that are due together, of which an early action takes back later ones: a pass takes several
//! at a time, and until its action has begun each is in the queue like any other. Faults: an action that runs
//! though it was taken back, is lost, or comes too soon; a route kept alive, or used when it is gone.

use crate::{
    harness::{check, Case, Fault, Verdict},
    route_subject::{
        both, hurry, idle, shared, unhurried, wait, Act1, First, Log, Peer, Queue, DROPPED,
    },
    subject::sleep_ms,
};
use softclock::prelude::*;

pub(crate) const CASES: &[&[Case]] = &[
    &both!("rt_timer-21 removed by an action due with it", removed),
    &both!(
        "rt_timer-5 moved to another queue by an action due with it",
        moved
    ),
    &both!("rt_timer-4 refreshed by an action due with it", refreshed),
    &both!("rt_timer-30 dropped by an action due with it", dropped),
    &both!(
        "rt_timer-17 its queue dropped by an action due with it",
        queue_dropped
    ),
    &both!(
        "rt_timer-11 a longer timeout set by an action due with it",
        lengthened
    ),
    &both!("rt_timer-24 the count, action by action", counted),
    &[Case {
        name: "rt_timer-15 destroyed with the actions, while one executes: those behind it are what it ends",
        run: destroyed_midway,
    }],
];

/// So many are due together; one of them acts, some before and behind it.
const ALL: usize = 300;
const ACTOR: usize = 250;
/// Those it acts on, behind it.
const VICTIMS: usize = 8;

struct Party<K: QueueKind> {
    queue: Arc<Queue<K>>,
    log: Arc<Log>,
    peers: KVVec<Arc<Timed<Peer<K>>>>,
}

impl<K: QueueKind> Party<K> {
    /// All are added, and none is due.
    fn new() -> Result<Self> {
        let queue = shared::<K>(3_600_000)?;
        let log = Log::new(ALL + VICTIMS)?;
        let mut peers = KVVec::with_capacity(ALL, GFP_KERNEL)?;
        for id in 0..ALL {
            let peer = Peer::<K>::numbered(id as u64, Some(log.clone()), Act1::Nothing)?;
            let _ = queue.add(peer.timer::<First<K>>());
            peers.push(peer, GFP_KERNEL)?;
        }
        Ok(Self { queue, log, peers })
    }

    fn acts(&self, act: Act1<K>) {
        *self.peers[ACTOR].act.lock() = act;
    }

    /// All become due; so many actions run.
    fn run(&self, count: usize) -> Verdict {
        hurry(&self.queue, 0)?;
        check!(wait(|| self.log.len() == count));
        sleep_ms(20);
        check!(self.log.len() == count);
        self.peers[ACTOR].calm();
        Ok(())
    }

    fn victims(&self) -> &[Arc<Timed<Peer<K>>>] {
        &self.peers[ACTOR + 1..=ACTOR + VICTIMS]
    }

    /// Every one but the victims has run once, and these so often.
    fn ran(&self, victims: u64) -> bool {
        let mut peers = self.peers.iter().enumerate();
        peers.all(|(index, peer)| {
            let victim = (ACTOR + 1..=ACTOR + VICTIMS).contains(&index);
            peer.runs() == if victim { victims } else { 1 }
        })
    }
}

fn removed<K: QueueKind>(_task: &Task) -> Verdict {
    let party = Party::<K>::new()?;
    let mut victims = KVec::new();
    for victim in party.victims() {
        victims.push(victim.clone(), GFP_KERNEL)?;
    }
    party.acts(Act1::RemoveAll(victims));
    party.run(ALL - VICTIMS)?;
    check!(party.ran(0));
    check!(party.peers[ACTOR].saw() == VICTIMS as u64 | 1 << 16);
    check!(party.queue.count() == 0);
    // They are as good as new.
    for victim in party.victims() {
        check!(party.queue.add(victim.timer::<First<K>>()) == Added::New);
    }
    check!(wait(|| party.ran(1)));
    Ok(())
}

fn moved<K: QueueKind>(_task: &Task) -> Verdict {
    let party = Party::<K>::new()?;
    let other = shared::<K>(3_600_000)?;
    party.acts(Act1::Add(other.clone(), party.victims()[0].clone()));
    party.run(ALL - 1)?;
    check!(party.victims()[0].runs() == 0);
    check!(party.queue.count() == 0 && other.count() == 1);
    hurry(&other, 0)?;
    check!(wait(|| party.ran(1)));
    check!(other.count() == 0);
    Ok(())
}

fn refreshed<K: QueueKind>(_task: &Task) -> Verdict {
    let party = Party::<K>::new()?;
    let victim = &party.victims()[0];
    party.acts(Act1::Add(party.queue.clone(), victim.clone()));
    // The time of the refresh, and not that of the first add.
    let now = softclock::now().as_nanos();
    party.run(ALL)?;
    check!(party.ran(1));
    check!(victim.due_ns.load(Relaxed) > now);
    check!(victim.early.load(Relaxed) == 0);
    check!(party.queue.count() == 0);
    // It came behind all others.
    check!(party.log.last() == Some(victim.id));
    Ok(())
}

fn dropped<K: QueueKind>(_task: &Task) -> Verdict {
    let mut party = Party::<K>::new()?;
    let victim = Peer::<K>::numbered(0, Some(party.log.clone()), Act1::Nothing)?;
    // In its place, so that it is due right behind the actor.
    let there = core::mem::replace(&mut party.peers[ACTOR + 1], victim.clone());
    for peer in party.peers.iter() {
        peer.remove_all_async();
    }
    for peer in party.peers.iter() {
        check!(party.queue.add(peer.timer::<First<K>>()) == Added::New);
    }
    let before = DROPPED.load(Acquire);
    drop(there);
    check!(DROPPED.load(Acquire) == before + 1);
    let last = party.peers.remove(ACTOR + 1).map_err(|_| EINVAL)?;
    drop(victim);
    party.acts(Act1::DropMe(Some(last)));
    hurry(&party.queue, 0)?;
    check!(wait(|| party.log.len() == ALL - 1));
    sleep_ms(20);
    check!(party.log.len() == ALL - 1);
    check!(wait(|| DROPPED.load(Acquire) == before + 2));
    check!(party.queue.count() == 0);
    party.peers[ACTOR].calm();
    Ok(())
}

fn queue_dropped<K: QueueKind>(_task: &Task) -> Verdict {
    let queue = KBox::new(idle::<K>()?, GFP_KERNEL)?;
    let log = Log::new(ALL)?;
    let mut peers = KVVec::with_capacity(ALL, GFP_KERNEL)?;
    for id in 0..ALL {
        let peer = Peer::<K>::numbered(id as u64, Some(log.clone()), Act1::Nothing)?;
        let _ = queue.add(peer.timer::<First<K>>());
        peers.push(peer, GFP_KERNEL)?;
    }
    // Held, so that its action does not begin before it knows what to do.
    let mut act = peers[ACTOR].act.lock();
    hurry(&queue, 0)?;
    *act = Act1::DropQueue(Some(queue));
    drop(act);
    check!(wait(|| peers[ACTOR].ended.load(Acquire) == 1));
    sleep_ms(20);
    check!(log.len() == ACTOR + 1 && log.is_in_order());
    check!(wait(|| peers.iter().all(|peer| peer.earliest().is_none())));
    Ok(())
}

fn lengthened<K: QueueKind>(_task: &Task) -> Verdict {
    let party = Party::<K>::new()?;
    party.acts(Act1::Lengthen(party.queue.clone()));
    party.run(ACTOR + 1)?;
    check!(party.log.is_in_order());
    check!(party.queue.count() == (ALL - ACTOR - 1) as u64);
    // The others are where they were.
    hurry(&party.queue, 0)?;
    check!(wait(|| party.log.len() == ALL));
    check!(party.log.is_in_order() && wait(|| party.ran(1)));
    Ok(())
}

fn destroyed_midway(task: &Task) -> Verdict {
    unhurried(|| {
        let party = Party::<Task>::new()?;
        party.acts(Act1::Stay);
        hurry(&party.queue, 0)?;
        check!(wait(|| party.peers[ACTOR].runs() == 1));
        let behind = (ALL - ACTOR - 1) as u64;
        match party.queue.destroy(Pending::Run, task) {
            // It was over already.
            Ok(ended) if ended < behind => return Err(Fault::Retry),
            ended => check!(ended == Ok(behind)),
        }
        check!(party.ran(1) && party.log.is_in_order());
        party.peers[ACTOR].calm();
        Ok(())
    })
}

fn counted<K: QueueKind>(_task: &Task) -> Verdict {
    let party = Party::<K>::new()?;
    for peer in party.peers.iter() {
        *peer.act.lock() = Act1::Count(party.queue.clone());
    }
    party.run(ALL)?;
    for (index, peer) in party.peers.iter().enumerate() {
        // One more than it counted: the one that executes does not count, those behind it do.
        check!(peer.saw() == (ALL - index) as u64);
        peer.calm();
    }
    Ok(())
}
