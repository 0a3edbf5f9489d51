// SPDX-License-Identifier: GPL-2.0

//! What the protocol promises, for one entry. It moves with each exchange of the word, and with
//! nothing else: at that moment it is atomic with the word.

#![forbid(unsafe_code)]

use crate::{
    machine::{describe, Tracked},
    policy::{
        life::Stop,
        word::{Place, Word},
    },
};
use std::{cell::Cell, rc::Rc};

/// What a thread does to an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    #[default]
    Nothing,
    Arm,
    Stop,
    Deactivate,
    Shut,
    Drain,
    Report,
    Retire,
    Visit,
    Begin,
    LetGo,
}

/// One call, and what its exchanges did.
#[derive(Default)]
pub(crate) struct Op {
    pub(crate) kind: Kind,
    /// Of an arm: wanted; of a visit or begin: now; of a letting go: what the callback asks for.
    pub(crate) granule: Option<u64>,
    /// Of an arm: the base asked for; of a begin: the base that is walked.
    pub(crate) on: Option<usize>,
    /// The caller is the entry's own callback.
    pub(crate) own: bool,
    /// What the caller of an arm has prepared for the callback.
    pub(crate) prepared: Option<Rc<Tracked>>,
    /// The object is being buried: there was no reference to take.
    pub(crate) gone: bool,

    /// It armed the entry: `Some(true)` in place of an owed run.
    pub(crate) armed: Option<bool>,
    /// It cancelled a run, and the callback was not executing.
    pub(crate) cancelled: bool,
    /// It met this run.
    pub(crate) met: Option<Rc<Run>>,
    /// It ended a run whose end is to be told by a call.
    pub(crate) reported: bool,
}

impl Op {
    /// What a stop has to answer that did this.
    pub(crate) fn stop(&self) -> Stop {
        match (&self.met, self.cancelled) {
            (Some(_), _) => Stop::Running,
            (None, true) => Stop::Cancelled,
            (None, false) => Stop::Idle,
        }
    }
}

/// What became of a run that was owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Ran,
    Cancelled,
    Replaced,
    /// The object went away.
    Gone,
}

struct Owed {
    granule: u64,
    end: Option<End>,
}

/// One execution of the callback.
pub(crate) struct Run {
    /// Written by the callback.
    pub(crate) cell: Tracked,
    /// What every arm up to the one that is run has prepared for it.
    pub(crate) prepared: Vec<Rc<Tracked>>,
    pub(crate) ended: Cell<bool>,
}

/// The thread that exchanges.
pub(crate) struct At {
    pub(crate) who: usize,
    /// The base it has locked, and what was visited there last.
    pub(crate) locked: Option<usize>,
    pub(crate) visited: u64,
    /// The first granule that no walk has come to.
    pub(crate) ahead: u64,
}

pub(crate) struct Spec {
    pub(crate) word: Word,
    words: Vec<Word>,
    arms: Vec<Owed>,
    /// The arm that is owed.
    owed: Option<usize>,
    run: Option<Rc<Run>>,
    pub(crate) runs: usize,
    /// All that was prepared for the callback, in the order of the arms.
    prepared: Vec<Rc<Tracked>>,
    /// What the run in progress returns does not count.
    no_next: bool,
    draining: bool,
    reported: bool,
    shut: bool,
    active: bool,
    target: Option<usize>,
    holder: Option<usize>,
    /// The list that the node is on.
    pub(crate) node_on: Option<usize>,
    /// References to the object.
    pub(crate) refs: u64,
    pub(crate) freed: bool,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            word: Word::NEW,
            words: vec![Word::NEW],
            arms: Vec::new(),
            owed: None,
            run: None,
            runs: 0,
            prepared: Vec::new(),
            no_next: false,
            draining: false,
            reported: false,
            shut: false,
            active: false,
            target: None,
            holder: None,
            node_on: None,
            refs: 1,
            freed: false,
        }
    }
}

impl Spec {
    pub(crate) fn exchanged(&mut self, op: &mut Op, at: &At, old: Word, new: Word) {
        assert_eq!(self.word, old, "the harness lost an exchange");
        self.word = new;
        self.words.push(new);
        self.structure(op, at, old, new);
        match op.kind {
            Kind::Nothing => panic!("an exchange outside of any call"),
            Kind::Arm => self.armed(op, at, new),
            Kind::Stop => self.stopped(op),
            Kind::Deactivate => self.active = false,
            Kind::Shut => {
                self.cancel(op);
                self.shut = true;
                self.no_next = true;
            }
            Kind::Drain if op.own => self.stopped(op),
            Kind::Drain => {
                self.cancel(op);
                self.draining = self.run.is_some();
            }
            Kind::Report => {
                self.cancel(op);
                self.draining = self.run.is_some();
                self.reported = self.draining;
            }
            Kind::Retire => self.retired(),
            Kind::Visit | Kind::Begin => self.visited(op, new),
            Kind::LetGo => self.let_go(op, at, old, new),
        }
        self.agree(op, at, old, new);
    }

    /// Rules 2 to 4: who changes place and base, and when.
    fn structure(&mut self, op: &Op, at: &At, old: Word, new: Word) {
        use Place::{Idle, Linked, Queued, Running};
        let change = || format!("{:?}: {} -> {}", op.kind, describe(old), describe(new));
        let (from, to) = (old.place(), new.place());
        if old.is_held() && (from != to || op.kind == Kind::Begin) {
            assert_eq!(self.holder, Some(at.who), "not the holder, {}", change());
        }
        if from == Linked && to != Linked {
            assert_eq!(at.locked, Some(old.base()), "not locked, {}", change());
        }
        if from != Linked && to == Linked {
            assert_eq!(at.locked, Some(new.base()), "not locked, {}", change());
        }
        // Who takes it may unlink it after that: nobody else touches the node of a held entry.
        if (from == Linked) != (to == Linked) && to != Queued {
            assert!(self.node_on.is_none(), "the node is linked, {}", change());
        }
        if from == Linked && to == Linked {
            assert_eq!(old.base(), new.base(), "linked elsewhere, {}", change());
            let locked = at.locked == Some(old.base());
            assert!(
                locked || new.granule() >= old.granule(),
                "sooner without the lock, {}",
                change()
            );
        }
        match (from, to) {
            (Idle, Queued | Running) | (Linked, Running) | (Running, Queued) => {
                panic!("no such step, {}", change())
            }
            (Linked, Queued) => self.holder = Some(at.who),
            (Queued | Running, Idle | Linked) => self.holder = None,
            _ => (),
        }
    }

    /// Exchanges of an arm: the first that arms is the arm, the others let go what it moves.
    fn armed(&mut self, op: &mut Op, at: &At, new: Word) {
        if op.armed.is_some() || !new.is_armed() {
            return;
        }
        assert!(!self.shut, "armed after it was shut down");
        assert!(!self.draining, "armed while it is drained");
        op.armed = Some(self.owed.is_some());
        if new.place() == Place::Idle {
            panic!("armed and on no wheel");
        }
        let was_idle = self.words[self.words.len() - 2].place() == Place::Idle;
        if was_idle {
            self.target = None;
        }
        self.target = op.on.or(self.target);
        let wanted = op.granule.expect("an arm has a granule");
        self.owe(wanted, at, new);
        self.prepared.extend(op.prepared.take());
        self.no_next = false;
    }

    fn owe(&mut self, wanted: u64, at: &At, new: Word) {
        if let Some(replaced) = self.owed.take() {
            self.arms[replaced].end = Some(End::Replaced);
        }
        if new.place() == Place::Queued {
            // Put off, perhaps, but by no more than it takes.
            let most = wanted.max(at.ahead);
            let right = (wanted..=most).contains(&new.granule());
            assert!(right, "armed for {wanted}: {}", describe(new));
        } else {
            let granule = Self::clamped(wanted, at, new);
            assert_eq!(new.granule(), granule, "armed for {wanted}");
        }
        self.owed = Some(self.arms.len());
        self.arms.push(Owed {
            granule: wanted,
            end: None,
        });
        self.active = true;
    }

    /// Under the lock, never before what the base has yet to visit.
    fn clamped(wanted: u64, at: &At, new: Word) -> u64 {
        if at.locked == Some(new.base()) && new.place() == Place::Linked {
            wanted.max(at.visited + 1)
        } else {
            wanted
        }
    }

    fn cancel(&mut self, op: &mut Op) {
        self.active = false;
        if let Some(owed) = self.owed.take() {
            self.arms[owed].end = Some(End::Cancelled);
            op.cancelled |= self.run.is_none();
        }
        if let Some(run) = &self.run {
            op.met = Some(run.clone());
        }
    }

    fn stopped(&mut self, op: &mut Op) {
        self.cancel(op);
        self.no_next |= !op.own;
    }

    fn retired(&mut self) {
        assert!(self.refs == 0, "retired while there are references");
        self.active = false;
        if let Some(owed) = self.owed.take() {
            self.arms[owed].end = Some(End::Gone);
        }
    }

    fn visited(&mut self, op: &Op, new: Word) {
        match new.place() {
            Place::Running => {
                if let (Some(target), Some(walked)) = (self.target, op.on) {
                    assert_eq!(walked, target, "runs where it was not to run");
                }
                self.begin(op.granule.expect("a visit has a granule"));
            }
            Place::Queued => (),
            // Off the wheel.
            _ => {
                if let Some(owed) = self.owed.take() {
                    assert!(
                        op.gone && self.refs == 0,
                        "taken off the wheel while a run is owed"
                    );
                    self.arms[owed].end = Some(End::Gone);
                    self.active = new.is_active();
                }
            }
        }
    }

    fn begin(&mut self, now: u64) {
        assert!(self.run.is_none(), "runs twice at once");
        let owed = self.owed.take().expect("runs, and nothing is owed");
        let due = self.arms[owed].granule;
        assert!(due <= now, "runs early: due in {due}, now is {now}");
        self.arms[owed].end = Some(End::Ran);
        self.run = Some(Rc::new(Run {
            cell: Tracked::new(),
            prepared: self.prepared.clone(),
            ended: Cell::new(false),
        }));
        self.runs += 1;
        self.no_next = false;
        self.target = None;
    }

    fn let_go(&mut self, op: &mut Op, at: &At, old: Word, new: Word) {
        let next = op.granule;
        let counts =
            next.filter(|_| self.owed.is_none() && !self.no_next && !self.draining && !self.shut);
        if let Some(run) = self.run.take() {
            run.ended.set(true);
            self.draining = false;
            op.reported = core::mem::take(&mut self.reported);
            self.no_next = false;
        }
        if let Some(wanted) = counts {
            assert_eq!(new.place(), Place::Linked, "the next run is lost");
            self.owe(wanted, at, new);
        } else if self.owed.is_some() {
            assert_eq!(new.place(), Place::Linked, "the run that is owed is lost");
            assert_eq!(new.granule(), Self::clamped(old.granule(), at, new));
        }
    }

    /// After each exchange the word says what is so.
    fn agree(&self, op: &Op, at: &At, old: Word, new: Word) {
        let change = || format!("{:?}: {} -> {}", op.kind, describe(old), describe(new));
        assert_eq!(new.is_armed(), self.owed.is_some(), "owed? {}", change());
        assert_eq!(new.is_running(), self.run.is_some(), "runs? {}", change());
        assert_eq!(new.is_draining(), self.draining, "drained? {}", change());
        assert_eq!(new.is_reported(), self.reported, "told? {}", change());
        assert_eq!(new.is_shut(), self.shut, "shut? {}", change());
        assert_eq!(new.is_active(), self.active, "active? {}", change());
        if let Some(target) = self.target {
            let there = new.place() != Place::Linked || new.base() == target;
            assert!(
                there || self.owed.is_none(),
                "not on base {target}, {}",
                change()
            );
        }
        if matches!(op.kind, Kind::Stop | Kind::Deactivate | Kind::Shut) {
            assert_eq!(old.granule(), new.granule(), "{}", change());
        }
        if self.owed.is_some() && op.kind == Kind::Begin {
            panic!("begun, and still owed: {}", change());
        }
        let _ = at;
    }

    pub(crate) fn free(&mut self) {
        assert!(!self.freed, "freed twice");
        assert!(self.refs == 0, "freed while there are references");
        assert!(self.node_on.is_none(), "freed while it is linked");
        assert!(!self.word.is_held(), "freed while it is held");
        self.freed = true;
    }

    /// Some word so far was so. A load need not see the last one.
    pub(crate) fn was(&self, so: impl Fn(Word) -> bool) -> bool {
        self.words.iter().any(|&word| so(word))
    }

    pub(crate) fn run(&self) -> Rc<Run> {
        self.run.clone().expect("a callback that was not begun")
    }

    /// Nothing is owed, nothing runs.
    pub(crate) fn assert_quiet(&self) {
        assert!(self.run.is_none(), "the callback is executing");
        assert!(self.owed.is_none(), "a run is owed");
        let word = self.word;
        let off = matches!(word.place(), Place::Idle | Place::Queued);
        assert!(off, "still on a wheel: {}", describe(word));
    }

    pub(crate) fn ends(&self) -> Vec<Option<End>> {
        self.arms.iter().map(|arm| arm.end).collect()
    }
}
