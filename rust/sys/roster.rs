// SPDX-License-Identifier: GPL-2.0

//! The wheel entries of one client, in the order they were first armed: for inspection, and for what
//! a leaving module forgot.
//!
//! The list runs through the entries themselves, which lie in the client's objects, so nothing is
//! allocated for it.
//!
//! INVARIANT 1: every link on the list is part of an object whose drop takes it off, under the lock.
//! So under the lock every link's memory is there.
//! INVARIANT 2: a registered [`Mark`] does not move, and is taken back before it goes.

use super::lock::RawLock;
use core::{
    ptr,
    sync::atomic::{AtomicPtr, AtomicU64, Ordering::Relaxed},
};
use kernel::{prelude::*, static_lock_class};

/// What puts an entry on the list. Part of the entry.
pub(crate) struct Link {
    next: AtomicPtr<Link>,
    prev: AtomicPtr<Link>,
}

impl Link {
    pub(crate) const fn new() -> Self {
        Self {
            next: AtomicPtr::new(ptr::null_mut()),
            prev: AtomicPtr::new(ptr::null_mut()),
        }
    }
}

struct List {
    /// The first and the last link, or null.
    first: *mut Link,
    last: *mut Link,
    marks: *mut Mark,
    /// How often the client has left: what was made before may not do anything any more.
    turn: u64,
    /// The code of turns before this one is gone.
    gone: u64,
}

// SAFETY: The pointers are used under the lock only.
unsafe impl Send for List {}

/// A reader's place in the list, and the last one it comes to: both stay valid while links come and go. What
/// is added later is not read, or a slow reader would never end.
pub(crate) struct Mark {
    at: *mut Link,
    last: *mut Link,
    next: *mut Mark,
}

impl Mark {
    pub(crate) const fn new() -> Self {
        Self {
            at: ptr::null_mut(),
            last: ptr::null_mut(),
            next: ptr::null_mut(),
        }
    }

    /// Where it goes on behind `at`, whose next one is `next`; null: that was the last one.
    fn behind(&self, at: *mut Link, next: *mut Link) -> *mut Link {
        if at == self.last {
            ptr::null_mut()
        } else {
            next
        }
    }
}

/// The list.
#[pin_data]
pub(crate) struct Roster {
    #[pin]
    list: RawLock<List>,
    next_id: AtomicU64,
}

impl Roster {
    pub(crate) fn new() -> impl PinInit<Self> {
        let empty = List {
            first: ptr::null_mut(),
            last: ptr::null_mut(),
            marks: ptr::null_mut(),
            turn: 0,
            gone: 0,
        };
        pin_init!(Self {
            list <- RawLock::new(empty, c"softclock_roster", static_lock_class!()),
            next_id: AtomicU64::new(1),
        })
    }

    /// The turn of what is made now.
    pub(crate) fn turn(&self) -> u64 {
        self.list.lock().turn
    }

    /// The client leaves: what was made until now and comes later is refused, also when the client is there
    /// again; what was added before is there for every reader that begins now.
    pub(crate) fn turn_over(&self) {
        let mut list = self.list.lock();
        list.turn = list.turn.wrapping_add(1);
    }

    /// The code of all turns that are over goes: who comes later leaves it alone.
    pub(crate) fn code_goes(&self) {
        let mut list = self.list.lock();
        list.gone = list.turn;
    }

    /// Whether the code of that turn is gone, or goes.
    pub(crate) fn is_gone(&self, turn: u64) -> bool {
        turn < self.list.lock().gone
    }

    /// Puts a link at the end, unless it is on the list, or is of an earlier `turn`: then it is listed
    /// nowhere, for readers use its operations, which may be gone. `first` is called under the lock, and is
    /// told whether that is so.
    ///
    /// # Safety
    ///
    /// Invariant 1 holds for `link`.
    pub(crate) unsafe fn add(&self, link: &Link, turn: u64, first: impl FnOnce(bool)) {
        let mut list = self.list.lock();
        if !link.prev.load(Relaxed).is_null() {
            return;
        }
        if turn != list.turn {
            return first(true);
        }
        let this = ptr::from_ref(link).cast_mut();
        let last = list.last;
        if last.is_null() {
            list.first = this;
            // A link that is on the list has a `prev`: the first one's is itself.
            link.prev.store(this, Relaxed);
        } else {
            // SAFETY: Invariant 1: `last` is on the list.
            unsafe { (*last).next.store(this, Relaxed) };
            link.prev.store(last, Relaxed);
        }
        link.next.store(ptr::null_mut(), Relaxed);
        list.last = this;
        first(false);
    }

    /// Takes a link off the list; harmless when it is not there.
    pub(crate) fn remove(&self, link: &Link) {
        let mut list = self.list.lock();
        let this = ptr::from_ref(link).cast_mut();
        let prev = link.prev.load(Relaxed);
        if prev.is_null() {
            return;
        }
        let next = link.next.load(Relaxed);
        let before = if prev == this { ptr::null_mut() } else { prev };
        if before.is_null() {
            list.first = next;
        } else {
            // SAFETY: Invariant 1: a neighbour is on the list.
            unsafe { (*before).next.store(next, Relaxed) };
        }
        if next.is_null() {
            list.last = before;
        } else {
            let its_prev = if before.is_null() { next } else { before };
            // SAFETY: As above.
            unsafe { (*next).prev.store(its_prev, Relaxed) };
        }
        link.prev.store(ptr::null_mut(), Relaxed);
        let mut mark = list.marks;
        while !mark.is_null() {
            // SAFETY: Invariant 2; marks are changed under the lock only.
            let here = unsafe { &mut *mark };
            if here.at == this {
                here.at = here.behind(this, next);
            }
            if here.last == this {
                here.last = before;
            }
            mark = here.next;
        }
    }

    /// Registers a mark, at the beginning of the list, for what is on it now.
    ///
    /// # Safety
    ///
    /// Invariant 2 holds for `mark`.
    pub(crate) unsafe fn place(&self, mark: *mut Mark) {
        let mut list = self.list.lock();
        // SAFETY: The contract of this function.
        unsafe {
            (*mark).at = list.first;
            (*mark).last = list.last;
            (*mark).next = list.marks;
        }
        list.marks = mark;
    }

    /// Takes a mark back; harmless when it is not registered.
    ///
    /// # Safety
    ///
    /// `mark` is valid.
    pub(crate) unsafe fn take_back(&self, mark: *mut Mark) {
        let mut list = self.list.lock();
        let mut here = &raw mut list.marks;
        // SAFETY: Invariant 2, for every mark on the list.
        unsafe {
            while !(*here).is_null() {
                if *here == mark {
                    *here = (*mark).next;
                    return;
                }
                here = &raw mut (**here).next;
            }
        }
    }

    /// Calls `f` under the lock for up to `most` links from the mark on, which moves past them; `f`
    /// ends it by `false`.
    ///
    /// # Safety
    ///
    /// `mark` is registered.
    pub(crate) unsafe fn read(
        &self,
        mark: *mut Mark,
        most: usize,
        mut f: impl FnMut(*mut Link) -> bool,
    ) {
        let _list = self.list.lock();
        for _ in 0..most {
            // SAFETY: Invariant 2.
            let at = unsafe { (*mark).at };
            if at.is_null() {
                return;
            }
            // SAFETY: Invariants 1 and 2.
            unsafe { (*mark).at = (*mark).behind(at, (*at).next.load(Relaxed)) };
            if !f(at) {
                return;
            }
        }
    }
}
