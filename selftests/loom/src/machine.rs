// SPDX-License-Identifier: GPL-2.0

//! What the protocol runs on here: words, locks and reference counts that loom schedules, and wheels
//! that are lists.
//!
//! loom tries the orders of *its* objects only. So whatever stands for memory that the protocol
//! protects is a [`Tracked`] cell beside the value, in which an unordered access is an error, and the
//! specification moves with the exchanges of the word.

#![forbid(unsafe_code)]

use crate::{
    policy::word::{Place, Word},
    program::Calls,
    spec::{At, Op, Spec},
};
use loom::{
    cell::UnsafeCell,
    sync::{
        atomic::{
            AtomicU64,
            Ordering::{AcqRel, Acquire, Relaxed},
        },
        Condvar, Mutex, MutexGuard,
    },
};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

/// Memory without a value: loom reports accesses that nothing orders.
pub(crate) struct Tracked(UnsafeCell<()>);

impl Tracked {
    pub(crate) fn new() -> Self {
        Self(UnsafeCell::new(()))
    }

    #[track_caller]
    pub(crate) fn read(&self) {
        self.0.with(|_| ());
    }

    #[track_caller]
    pub(crate) fn write(&self) {
        self.0.with_mut(|_| ());
    }
}

/// What a load of a word sees.
///
/// loom remembers one access to each atomic. The load of a thread that loads and then exchanges hides
/// the load of another thread, and that one is never tried after the exchange. As an exchange of
/// nothing, a load is not lost; but then it never sees an old word, as it may. So both are explored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loads {
    /// The newest word, in every order.
    Newest,
    /// Any word that the memory model allows, not in every order.
    Any,
}

/// How an entry's callback is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dispatch {
    /// In the walk.
    Direct,
    /// Under the client's lock, which is let go after the entry.
    Lock,
    /// Under the client's lock, which is let go before the entry.
    LockFirst,
    /// Under the client's lock if that is free; else the entry is put back.
    TryLock,
    /// By a worker, some time after the walk: see `Cpu::work`.
    Worker,
}

/// A callback in progress.
pub(crate) struct Call<'a> {
    pub(crate) cpu: &'a Cpu,
    pub(crate) entry: usize,
    /// The client's lock, which the callback may let go.
    pub(crate) client: Option<MutexGuard<'a, ()>>,
}

/// Answers the granule of the next run.
pub(crate) type Callback = fn(&mut Call<'_>) -> Option<u64>;

/// An entry and its object.
pub(crate) struct Entry {
    word: AtomicU64,
    /// References to the object.
    refs: AtomicU64,
    /// The memory of entry and object, which freeing takes away.
    life: Tracked,
    node: Tracked,
    /// What the callback works on.
    pub(crate) data: Tracked,
    pub(crate) dispatch: Dispatch,
    pub(crate) callback: Callback,
    pub(crate) spec: RefCell<Spec>,
}

/// A node on a list.
#[derive(Clone, Copy)]
pub(crate) struct Linked {
    pub(crate) entry: usize,
    /// The first granule of its bucket.
    pub(crate) bucket: u64,
    /// The bucket is one of more granules, to be sorted out when the first comes.
    pub(crate) coarse: bool,
}

/// A base without its lock.
#[derive(Default)]
pub(crate) struct Wheel {
    pub(crate) visited: u64,
    /// The granule for which the base is woken.
    pub(crate) programmed: Option<u64>,
    pub(crate) walking: bool,
    pub(crate) list: Vec<Linked>,
    /// The bucket that is being walked: its entries go one by one, so a drain may still find them.
    pub(crate) due: Vec<Linked>,
    /// It is a coarse one.
    pub(crate) cascade: bool,
}

pub(crate) struct Base {
    lock: Mutex<()>,
    pub(crate) wheel: RefCell<Wheel>,
}

/// What all threads share.
pub(crate) struct World {
    pub(crate) calls: &'static Calls,
    pub(crate) bases: [Base; 2],
    pub(crate) entries: Vec<Entry>,
    /// The associated lock of all entries that have one, and what it protects.
    pub(crate) client: Mutex<()>,
    pub(crate) guarded: Tracked,
    /// Where drains wait, unless they spin.
    pub(crate) waiters: Mutex<()>,
    pub(crate) ended: Condvar,
    pub(crate) spin: bool,
    loads: Loads,
    threads: Cell<usize>,
    /// The last granule that a walk or a worker has come to.
    latest: Cell<u64>,
}

impl World {
    pub(crate) fn new(
        calls: &'static Calls,
        spin: bool,
        loads: Loads,
        entries: &[(Dispatch, Callback)],
    ) -> Rc<Self> {
        let base = || Base {
            lock: Mutex::new(()),
            wheel: RefCell::default(),
        };
        Rc::new(Self {
            calls,
            bases: [base(), base()],
            entries: entries.iter().map(|&(d, c)| Entry::new(d, c)).collect(),
            client: Mutex::new(()),
            guarded: Tracked::new(),
            waiters: Mutex::new(()),
            ended: Condvar::new(),
            spin,
            loads,
            threads: Cell::new(0),
            latest: Cell::new(0),
        })
    }
}

impl Entry {
    fn new(dispatch: Dispatch, callback: Callback) -> Self {
        Self {
            word: AtomicU64::new(Word::NEW.bits()),
            refs: AtomicU64::new(1),
            life: Tracked::new(),
            node: Tracked::new(),
            data: Tracked::new(),
            dispatch,
            callback,
            spec: RefCell::default(),
        }
    }
}

/// A thread that stays on one CPU.
pub(crate) struct Cpu {
    pub(crate) world: Rc<World>,
    pub(crate) id: usize,
    who: usize,
    /// What it is doing.
    pub(crate) op: RefCell<Op>,
    locked: Cell<Option<usize>>,
    /// The entry whose callback it is in.
    pub(crate) inside: Cell<Option<usize>>,
    /// Entries that it holds for a worker, to be called when the worker's turn comes.
    pub(crate) dispatched: RefCell<Vec<usize>>,
}

thread_local! {
    static WEAK: Cell<bool> = const { Cell::new(false) };
    /// What happened in the present execution, if somebody wants to know.
    pub(crate) static TRACE: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// The next exchange orders nothing. For planted defects.
pub(crate) fn weaken() {
    WEAK.set(true);
}

impl Cpu {
    pub(crate) fn new(world: &Rc<World>, id: usize) -> Self {
        world.threads.set(world.threads.get() + 1);
        Self {
            world: world.clone(),
            id,
            who: world.threads.get(),
            op: RefCell::default(),
            locked: Cell::new(None),
            inside: Cell::new(None),
            dispatched: RefCell::default(),
        }
    }

    /// It is `now`, by a clock that nobody sees go back.
    pub(crate) fn comes_to(&self, now: u64) {
        let latest = &self.world.latest;
        latest.set(latest.get().max(now));
    }

    /// The first granule that nobody has come to.
    pub(crate) fn ahead(&self) -> u64 {
        self.world.latest.get() + 1
    }

    pub(crate) fn entry(&self, entry: usize) -> &Entry {
        &self.world.entries[entry]
    }

    pub(crate) fn trace(&self, entry: usize, what: &str, word: Option<Word>) {
        TRACE.with_borrow_mut(|trace| {
            if let Some(lines) = trace {
                let word = word.map_or(String::new(), describe);
                let (who, id) = (self.who, self.id);
                lines.push(format!(
                    "thread {who} (CPU {id}) entry {entry}: {what} {word}"
                ));
            }
        });
    }

    /// An access to the entry's memory.
    #[track_caller]
    pub(crate) fn alive(&self, entry: usize) {
        self.entry(entry).life.read();
        let freed = self.entry(entry).spec.borrow().freed;
        assert!(!freed, "entry {entry} is used after it was freed");
    }

    pub(crate) fn load_word(&self, entry: usize, acquire: bool) -> u64 {
        self.alive(entry);
        let order = if acquire { Acquire } else { Relaxed };
        let word = &self.entry(entry).word;
        let bits = match self.world.loads {
            Loads::Newest => word.fetch_add(0, order),
            Loads::Any => word.load(order),
        };
        self.trace(entry, "loads", Some(Word::from_bits(bits)));
        self.alive(entry);
        bits
    }

    pub(crate) fn exchange_word(&self, entry: usize, old: u64, new: u64) -> Result<(), u64> {
        self.alive(entry);
        let (won, lost) = if WEAK.replace(false) {
            (Relaxed, Relaxed)
        } else {
            (AcqRel, Acquire)
        };
        let word = &self.entry(entry).word;
        // An exchange that has given the entry away is the last access.
        word.compare_exchange(old, new, won, lost)?;
        // Atomic with the exchange: nothing of loom comes in between.
        let (old, new) = (Word::from_bits(old), Word::from_bits(new));
        let mut op = self.op.borrow_mut();
        self.trace(entry, &format!("{:?}", op.kind), Some(new));
        let locked = self.locked.get();
        let at = At {
            who: self.who,
            locked,
            visited: locked.map_or(0, |base| self.world.bases[base].wheel.borrow().visited),
            ahead: self.ahead(),
        };
        self.entry(entry)
            .spec
            .borrow_mut()
            .exchanged(&mut op, &at, old, new);
        Ok(())
    }

    pub(crate) fn lock_base(&self, base: usize) -> Locked<'_> {
        let held = self.locked.get();
        assert!(held.is_none(), "a base is locked in a locked base");
        let guard = self.world.bases[base].lock.lock().unwrap();
        self.locked.set(Some(base));
        Locked {
            cpu: self,
            base,
            _guard: guard,
        }
    }

    pub(crate) fn get_unless_gone(&self, entry: usize) -> bool {
        self.alive(entry);
        let it = self.entry(entry);
        // A guess in place of a load: each access of loom multiplies the interleavings.
        let mut seen = it.spec.borrow().refs;
        let got = loop {
            let more = seen + u64::from(seen > 0);
            match it.refs.compare_exchange(seen, more, Relaxed, Relaxed) {
                Ok(_) => break seen > 0,
                Err(now) => seen = now,
            }
        };
        let mut spec = it.spec.borrow_mut();
        spec.refs += u64::from(got);
        self.op.borrow_mut().gone |= !got;
        got
    }

    /// One more owner.
    pub(crate) fn get(&self, entry: usize) {
        self.alive(entry);
        let it = self.entry(entry);
        it.refs.fetch_add(1, Relaxed);
        it.spec.borrow_mut().refs += 1;
    }

    /// Gives a reference back; says whether it was the last.
    pub(crate) fn put_only(&self, entry: usize) -> bool {
        self.alive(entry);
        let it = self.entry(entry);
        let last = it.refs.fetch_sub(1, AcqRel) == 1;
        self.trace(entry, if last { "last put" } else { "put" }, None);
        let mut spec = it.spec.borrow_mut();
        spec.refs -= 1;
        assert_eq!(last, spec.refs == 0, "the harness lost a reference");
        last
    }

    pub(crate) fn free(&self, entry: usize) {
        self.trace(entry, "freed", None);
        let it = self.entry(entry);
        it.data.write();
        it.node.write();
        it.life.write();
        it.spec.borrow_mut().free();
    }
}

/// A locked base.
pub(crate) struct Locked<'a> {
    cpu: &'a Cpu,
    base: usize,
    _guard: MutexGuard<'a, ()>,
}

impl Locked<'_> {
    pub(crate) fn wheel(&self) -> std::cell::RefMut<'_, Wheel> {
        self.cpu.world.bases[self.base].wheel.borrow_mut()
    }

    pub(crate) fn visited(&self) -> u64 {
        self.wheel().visited
    }

    /// Beginning and end of a chain of nodes hold each other's address.
    fn touch(&self, entry: Option<usize>) {
        if let Some(entry) = entry {
            self.cpu.alive(entry);
            self.cpu.entry(entry).node.write();
        }
    }

    pub(crate) fn link(&mut self, entry: usize, granule: u64) {
        let mut wheel = self.wheel();
        let was_on = {
            let mut spec = self.cpu.entry(entry).spec.borrow_mut();
            spec.node_on.replace(self.base)
        };
        assert!(was_on.is_none(), "linked, and is on base {was_on:?}");
        // What comes from a coarse bucket may be for its first granule, which is about to be walked.
        let earliest = wheel.visited + u64::from(!wheel.cascade);
        assert!(
            granule >= earliest,
            "linked for {granule}, which base {} has visited",
            self.base
        );
        let coarse = granule - wheel.visited >= 4;
        let bucket = if coarse { granule & !3 } else { granule };
        self.touch(Some(entry));
        self.touch(wheel.list.first().map(|neighbour| neighbour.entry));
        let node = Linked {
            entry,
            bucket,
            coarse,
        };
        wheel.list.insert(0, node);
        if !wheel.walking {
            let first = wheel.programmed.map_or(bucket, |at| at.min(bucket));
            wheel.programmed = Some(first);
        }
    }

    pub(crate) fn unlink(&mut self, entry: usize) {
        let was_on = self.cpu.entry(entry).spec.borrow_mut().node_on.take();
        assert_eq!(was_on, Some(self.base), "unlinked from a base it is not on");
        let mut wheel = self.wheel();
        let Wheel { list, due, .. } = &mut *wheel;
        for list in [list, due] {
            let Some(i) = list.iter().position(|node| node.entry == entry) else {
                continue;
            };
            self.touch(Some(entry));
            self.touch(i.checked_sub(1).map(|before| list[before].entry));
            self.touch(list.get(i + 1).map(|after| after.entry));
            list.remove(i);
        }
    }

    /// The next bucket up to `now` becomes the due one, a coarse one first.
    pub(crate) fn next_bucket(&mut self, now: u64) -> bool {
        let mut wheel = self.wheel();
        let first = wheel
            .list
            .iter()
            .min_by_key(|node| (node.bucket, !node.coarse));
        let Some(&first) = first.filter(|node| node.bucket <= now) else {
            return false;
        };
        wheel.visited = first.bucket;
        wheel.cascade = first.coarse;
        let all = std::mem::take(&mut wheel.list);
        let is_due = |node: &Linked| (node.bucket, node.coarse) == (first.bucket, first.coarse);
        (wheel.due, wheel.list) = all.into_iter().partition(is_due);
        // The head is another one now.
        self.touch(Some(wheel.due[0].entry));
        true
    }

    fn check(&self) {
        let wheel = self.wheel();
        let base = self.base;
        let lists = || wheel.list.iter().chain(&wheel.due);
        for (entry, it) in self.cpu.world.entries.iter().enumerate() {
            let spec = it.spec.borrow();
            let word = spec.word;
            let on: Vec<u64> = lists()
                .filter(|node| node.entry == entry)
                .map(|node| node.bucket)
                .collect();
            let says = word.place() == Place::Linked && word.base() == base;
            assert_eq!(
                on.len(),
                usize::from(says),
                "entry {entry} on the lists of base {base}, its word: {}",
                describe(word)
            );
            assert!(
                on.is_empty() || !spec.freed,
                "entry {entry} freed and linked"
            );
            for bucket in on {
                assert!(
                    bucket <= word.granule(),
                    "entry {entry} is visited in {bucket}, too late: {}",
                    describe(word)
                );
                assert!(
                    wheel.walking || wheel.programmed.is_some_and(|at| at <= bucket),
                    "nobody wakes base {base} for {bucket}: {:?}",
                    wheel.programmed
                );
            }
        }
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.check();
        }
        self.cpu.locked.set(None);
    }
}

/// A word in words.
pub(crate) fn describe(word: Word) -> String {
    let mut text = format!("{:?}", word.place());
    for (is, name) in [
        (word.is_armed(), "armed"),
        (word.is_active(), "active"),
        (word.is_draining(), "drain"),
        (word.is_shut(), "shut"),
    ] {
        if is {
            text += " ";
            text += name;
        }
    }
    format!("{text} base {} granule {}", word.base(), word.granule())
}
