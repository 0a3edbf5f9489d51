// SPDX-License-Identifier: GPL-2.0

//! What threads do: the protocol's calls, each with what its answer must agree with, and the loop
//! that expires entries.

#![forbid(unsafe_code)]

use crate::{
    machine::{Call, Cpu, Dispatch, Locked, Tracked},
    policy::{
        life::{Arm, Refusal, Stop},
        word::Word,
    },
    program::{Found, Visited},
    spec::{End, Kind, Op},
};
use loom::sync::MutexGuard;
use std::rc::Rc;

impl Cpu {
    /// Runs one call of the protocol as `op`; gives back what its exchanges did.
    fn call<R>(&self, op: Op, call: impl FnOnce() -> R) -> (R, Op) {
        let outer = self.op.replace(op);
        assert_eq!(outer.kind, Kind::Nothing, "a call in a call");
        let answer = call();
        (answer, self.op.take())
    }

    pub(crate) fn arm(&self, entry: usize, granule: u64) -> Arm {
        self.arm_on(entry, granule, None)
    }

    pub(crate) fn arm_on(&self, entry: usize, granule: u64, on: Option<usize>) -> Arm {
        let prepared = Rc::new(Tracked::new());
        prepared.write();
        let op = Op {
            kind: Kind::Arm,
            granule: Some(granule),
            on,
            prepared: Some(prepared),
            ..Op::default()
        };
        let (answer, op) = self.call(op, || (self.world.calls.arm)(self, entry, granule, on));
        self.trace(
            entry,
            &format!("arm for {granule} on {on:?}: {answer:?}"),
            None,
        );
        let spec = self.entry(entry).spec.borrow();
        match answer {
            Arm::New => assert_eq!(op.armed, Some(false), "said New"),
            Arm::Replaced => assert_eq!(op.armed, Some(true), "said Replaced"),
            Arm::Refused(why) => {
                assert_eq!(op.armed, None, "said Refused");
                let so = match why {
                    Refusal::Shutdown => Word::is_shut,
                    Refusal::Draining => Word::is_draining,
                    Refusal::NoCpu | Refusal::NotTheLock => panic!("not the protocol's to refuse"),
                };
                assert!(spec.was(so), "refused for no reason: {why:?}");
            }
        }
        answer
    }

    pub(crate) fn stop(&self, entry: usize) -> Stop {
        let own = self.inside.get() == Some(entry);
        let op = Op {
            kind: Kind::Stop,
            own,
            ..Op::default()
        };
        let (answer, op) = self.call(op, || (self.world.calls.stop)(self, entry, own));
        self.trace(entry, &format!("stop: {answer:?}"), None);
        assert_eq!(answer, op.stop(), "the answer of stop");
        if answer == Stop::Idle {
            let spec = self.entry(entry).spec.borrow();
            let idle = |word: Word| !word.is_armed() && !word.is_running();
            assert!(spec.was(idle), "idle at no time");
        }
        answer
    }

    pub(crate) fn deactivate(&self, entry: usize) {
        let op = Op {
            kind: Kind::Deactivate,
            ..Op::default()
        };
        self.call(op, || (self.world.calls.deactivate)(self, entry));
    }

    pub(crate) fn shut(&self, entry: usize) -> Stop {
        let op = Op {
            kind: Kind::Shut,
            ..Op::default()
        };
        let (answer, op) = self.call(op, || (self.world.calls.shut)(self, entry));
        assert_eq!(answer, op.stop(), "the answer of shut");
        answer
    }

    /// Drains, and waits where that is to be done.
    pub(crate) fn drain(&self, entry: usize) -> Found {
        let own = self.inside.get() == Some(entry);
        let op = Op {
            kind: Kind::Drain,
            own,
            ..Op::default()
        };
        let (found, op) = self.call(op, || (self.world.calls.drain)(self, entry, own));
        self.trace(entry, &format!("drain: {found:?}"), None);
        match found {
            Found::Cancelled => assert!(op.cancelled, "drain cancelled nothing"),
            Found::Idle => assert!(!op.cancelled, "drain cancelled something"),
            Found::Own => assert!(own, "drain waits for nothing but itself"),
            Found::Wait => {
                assert!(!own, "drain waits for itself");
                self.wait(entry);
                self.trace(entry, "drain: waited", None);
            }
        }
        if let Some(met) = op.met.filter(|_| !own) {
            // Whatever the callback wrote is there to be read.
            met.cell.read();
            assert!(met.ended.get(), "drained, and the run it met goes on");
        }
        found
    }

    /// Drains, and is told of the end of a run that it has met.
    pub(crate) fn report(&self, entry: usize) -> Found {
        let op = Op {
            kind: Kind::Report,
            ..Op::default()
        };
        let (found, op) = self.call(op, || (self.world.calls.report)(self, entry));
        self.trace(entry, &format!("report: {found:?}"), None);
        match found {
            Found::Cancelled => assert!(op.cancelled, "report cancelled nothing"),
            Found::Idle => assert!(!op.cancelled, "report cancelled something"),
            Found::Wait => {
                // Else somebody else has marked the run, and both are told by one call.
                let spec = self.entry(entry).spec.borrow();
                let told = op.met.is_some() || spec.was(Word::is_reported);
                assert!(told, "nobody will tell it");
            }
            Found::Own => panic!("a report waits for nobody"),
        }
        found
    }

    fn wait(&self, entry: usize) {
        let waited_for = || (self.world.calls.is_waited_for)(self, entry);
        if self.world.spin {
            while waited_for() {
                loom::thread::yield_now();
            }
        } else if waited_for() {
            let mut queue = self.world.waiters.lock().unwrap();
            while waited_for() {
                queue = self.world.ended.wait(queue).unwrap();
            }
        }
    }

    pub(crate) fn shutdown(&self, entry: usize) -> Found {
        self.shut(entry);
        self.drain(entry)
    }

    /// Gives a reference back. The last one takes the object with it.
    pub(crate) fn put(&self, entry: usize) {
        if self.put_only(entry) {
            let op = Op {
                kind: Kind::Retire,
                ..Op::default()
            };
            self.call(op, || (self.world.calls.retire)(self, entry));
            self.free(entry);
        }
    }

    /// What a stop or drain promises when nobody arms again: the callback's data is the caller's.
    pub(crate) fn touch(&self, entry: usize) {
        self.alive(entry);
        self.entry(entry).data.write();
    }

    /// After a drain, where nobody arms again.
    pub(crate) fn assert_quiet(&self, entry: usize) {
        self.touch(entry);
        self.entry(entry).spec.borrow().assert_quiet();
    }

    pub(crate) fn runs(&self, entry: usize) -> usize {
        self.entry(entry).spec.borrow().runs
    }

    pub(crate) fn ends(&self, entry: usize) -> Vec<Option<End>> {
        self.entry(entry).spec.borrow().ends()
    }

    pub(crate) fn client(&self) -> MutexGuard<'_, ()> {
        let guard = self.world.client.lock().unwrap();
        self.world.guarded.write();
        guard
    }

    /// The expiry of a base, up to `now`.
    pub(crate) fn walk(&self, base: usize, now: u64) {
        self.walk_some(base, now, usize::MAX);
    }

    /// As [`walk`](Self::walk), and after `most` calls it leaves the rest to the next walk.
    pub(crate) fn walk_some(&self, base: usize, now: u64, most: usize) {
        self.comes_to(now);
        let mut called = 0;
        let mut locked = self.lock_base(base);
        let walking = std::mem::replace(&mut locked.wheel().walking, true);
        assert!(!walking, "the scenario walks a base twice at once");
        let next = loop {
            if called >= most {
                let visited = locked.visited();
                break Some(visited);
            }
            if locked.wheel().due.is_empty() {
                locked.wheel().cascade = false;
                if locked.next_bucket(now) {
                    continue;
                }
                let wheel = locked.wheel();
                break wheel.list.iter().map(|node| node.bucket).min();
            }
            if locked.wheel().cascade {
                // For granule 0 nothing is due: what is armed moves.
                self.visit(&mut locked, 0);
                if locked.wheel().due.is_empty() {
                    continue;
                }
                drop(locked);
            } else {
                let granule = locked.visited();
                let batch = self.gather(&mut locked, granule);
                drop(locked);
                for &entry in &batch {
                    self.expire(entry, base, granule);
                }
                called += batch.len();
            }
            locked = self.lock_base(base);
        };
        let mut wheel = locked.wheel();
        wheel.walking = false;
        wheel.programmed = next;
    }

    /// Takes some entries of the due bucket.
    fn gather(&self, locked: &mut Locked<'_>, granule: u64) -> Vec<usize> {
        const MOST: usize = 2;
        let mut batch = Vec::new();
        while batch.len() < MOST && !locked.wheel().due.is_empty() {
            let (entry, visited) = self.visit(locked, granule);
            if visited == Visited::Held {
                batch.push(entry);
            }
        }
        batch
    }

    /// Visits the first entry of the due bucket.
    fn visit(&self, locked: &mut Locked<'_>, granule: u64) -> (usize, Visited) {
        let entry = locked.wheel().due[0].entry;
        let op = Op {
            kind: Kind::Visit,
            granule: Some(granule),
            ..Op::default()
        };
        let visit = self.world.calls.visit;
        let linked = locked.wheel().list.len();
        let (visited, _) = self.call(op, || visit(self, locked, entry, granule));
        let stays = locked.wheel().list.len() > linked;
        assert_eq!(visited == Visited::Moved, stays, "linked still?");
        (entry, visited)
    }

    /// The entry is held, and so is a reference.
    fn expire(&self, entry: usize, base: usize, granule: u64) {
        let world = &self.world;
        let awaited = match self.entry(entry).dispatch {
            Dispatch::Direct => {
                let (began, next, _) = self.run_if_begun(entry, granule, Ok(base), None);
                self.let_go(entry, began, next)
            }
            Dispatch::Lock => {
                let client = self.client();
                let (_, next, client) = self.run_if_begun(entry, granule, Ok(base), Some(client));
                let awaited = self.let_go(entry, None, next);
                drop(client);
                awaited
            }
            Dispatch::LockFirst => {
                let client = self.client();
                let (_, next, client) = self.run_if_begun(entry, granule, Ok(base), Some(client));
                drop(client);
                self.let_go(entry, None, next)
            }
            Dispatch::TryLock => match world.client.try_lock() {
                Ok(client) => {
                    world.guarded.write();
                    let (_, next, client) =
                        self.run_if_begun(entry, granule, Ok(base), Some(client));
                    let awaited = self.let_go(entry, None, next);
                    drop(client);
                    awaited
                }
                Err(_) => self.let_go(entry, None, None),
            },
            Dispatch::Worker => {
                self.dispatched.borrow_mut().push(entry);
                return;
            }
        };
        self.put(entry);
        self.wake(awaited);
    }

    /// The worker's turn has come, for all that the walks of this thread have given it.
    pub(crate) fn work(&self, now: u64) {
        self.comes_to(now);
        for entry in self.dispatched.take() {
            let (_, next, _) = self.run_if_begun(entry, now, Err(self.id), None);
            let awaited = self.let_go(entry, None, next);
            self.put(entry);
            self.wake(awaited);
        }
    }

    /// `place` is the base that is walked, or the CPU of the worker. Gives what `begin` and the
    /// callback have answered.
    fn run_if_begun<'a>(
        &'a self,
        entry: usize,
        now: u64,
        place: Result<usize, usize>,
        client: Option<MutexGuard<'a, ()>>,
    ) -> (Option<u64>, Option<u64>, Option<MutexGuard<'a, ()>>) {
        let op = Op {
            kind: Kind::Begin,
            granule: Some(now),
            on: place.ok(),
            ..Op::default()
        };
        let begin = self.world.calls.begin;
        let (began, _) = self.call(op, || begin(self, entry, now, place.err()));
        if began.is_some() {
            let (next, client) = self.run(entry, client);
            (began, next, client)
        } else {
            (None, None, client)
        }
    }

    fn run<'a>(
        &'a self,
        entry: usize,
        client: Option<MutexGuard<'a, ()>>,
    ) -> (Option<u64>, Option<MutexGuard<'a, ()>>) {
        self.trace(entry, "callback begins", None);
        self.alive(entry);
        let it = self.entry(entry);
        it.data.write();
        let run = it.spec.borrow().run();
        run.prepared.iter().for_each(|cell| cell.read());
        run.cell.write();
        let before = self.inside.replace(Some(entry));
        let mut call = Call {
            cpu: self,
            entry,
            client,
        };
        let next = (it.callback)(&mut call);
        self.inside.set(before);
        run.cell.write();
        self.alive(entry);
        it.data.write();
        self.trace(entry, &format!("callback returns {next:?}"), None);
        (next, call.client)
    }

    /// Says whether somebody may wait for that.
    fn let_go(&self, entry: usize, began: Option<u64>, next: Option<u64>) -> bool {
        let op = Op {
            kind: Kind::LetGo,
            granule: next,
            ..Op::default()
        };
        let let_go = self.world.calls.let_go;
        let (answer, op) = self.call(op, || let_go(self, entry, began, next));
        assert_eq!(answer.reported, op.reported, "is the end to be told?");
        answer.awaited
    }

    fn wake(&self, awaited: bool) {
        if awaited && !self.world.spin {
            let queue = self.world.waiters.lock().unwrap();
            self.world.ended.notify_all();
            drop(queue);
        }
    }
}
