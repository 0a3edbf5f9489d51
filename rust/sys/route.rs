// SPDX-License-Identifier: GPL-2.0

//! Route timers as a machine: entries in clients' routes, queues that link them.
//!
//! ```text
//!   client:  Arc<Timed<R>> --contains--> Entry <------+        linked: no reference either way
//!                  ^                       |  ^       |
//!                  |    kin: ops, name     |  +-- roster of the client
//!                  +--- taken for a run    v
//!   queue:   Arc<..> --contains--> Seat (lock, order) --alarm--> wheel::Entry in the same object
//! ```
//!
//! What happens when is `policy::route`; here are memory, lists and locks.
//!
//! INVARIANT 1: an entry lies in the value of an `Arc<Timed<R>>` where its [`Ops`] say, or in the box
//! of a pool that lies there, and knows its object from [`Entry::bind`] on. It does not move until it is
//! dropped, which takes it off its seat and its roster, under their locks.
//! INVARIANT 2: `Entry::seat` names the seat on whose lists, or in whose [`Batch`](batch::Batch), the entry
//! is, or null. It changes under the lock of that seat only, or by its pass while that has claimed the
//! entry's slot; and becoming null is the last that a seat does to an entry without a reference to its
//! object: whoever drops an entry that has no seat is alone with it. So under a seat's lock all entries on
//! its lists are there.
//! INVARIANT 3: a seat is freed an RCU grace period after its last entry was unlinked for good
//! ([`Seat::kill`]; the table of queues sees to that). Between reading `Entry::seat` and locking what it
//! names interrupts are off, so it is there.
//! INVARIANT 4: an entry whose word says `RUNNING` is held by one pass: with a reference to its object, or in a
//! slot that the pass has claimed, while it takes that reference.
//! INVARIANT 5: the lists, and all of `Inner`, are used under the seat's lock. A list is circular; its
//! head is part of the seat, which does not move.
//! INVARIANT 6: the alarm of a seat is a wheel entry in the same object as the seat.

mod batch;
mod grave;
mod order;
mod pool;
mod seat;

pub(crate) use self::{
    grave::Graves,
    pool::{Apart, Pool, PoolKin},
    seat::{Counts, KeptSeat, Seat},
};

use super::{
    bindings as b,
    context::Runner,
    lock::raw,
    roster::{Link, Mark, Roster},
    target::{Ops, Part},
    wheel::Owned,
};
use crate::policy::{
    deadline::{Delta, Instant},
    life::CannotWait,
    name::Name,
    place::Place,
    route::{due, Word},
};
use core::{
    mem::offset_of,
    ptr::{self, NonNull},
    sync::atomic::{
        AtomicPtr, AtomicU64, AtomicUsize,
        Ordering::{AcqRel, Acquire, Relaxed},
    },
};
use kernel::{prelude::*, sync::Arc, types::Opaque};

/// What puts an entry on a list of its seat.
#[repr(C)]
struct Links {
    next: AtomicPtr<Links>,
    prev: AtomicPtr<Links>,
}

/// The entries of one client.
#[pin_data]
pub(crate) struct Owner {
    /// What else it owns: its unload waits for what is on its way.
    pub(crate) owned: Arc<Owned>,
    #[pin]
    roster: Roster,
}

impl Owner {
    pub(crate) fn new(owned: Arc<Owned>) -> impl PinInit<Self> {
        pin_init!(Self {
            owned,
            roster <- Roster::new(),
        })
    }
}

/// What all entries of one type of route and one name share.
pub(crate) struct Kin {
    pub(crate) ops: Ops,
    pub(crate) owner: Arc<Owner>,
    pub(crate) name: Name,
    pub(crate) place: Place,
    /// Actions begun.
    pub(crate) fired: AtomicU64,
}

impl Kin {
    /// Task context; may block.
    pub(crate) fn new(
        ops: &'static Ops,
        owner: Arc<Owner>,
        name: Name,
        place: Place,
    ) -> Result<Arc<Self>> {
        let kin = Self {
            ops: *ops,
            owner,
            name,
            place,
            fired: AtomicU64::new(0),
        };
        Ok(Arc::new(kin, GFP_KERNEL)?)
    }
}

/// One timer of a route, inside the client's object. One cache line.
#[doc(hidden)]
#[repr(C)]
pub struct Entry {
    links: Links,
    word: AtomicU64,
    seat: AtomicPtr<Seat>,
    kin: Arc<Kin>,
    /// The task that executes the action, where that is one.
    runner: AtomicUsize,
    link: Link,
}

const _: () = assert!(size_of::<Entry>() == 64);

impl Entry {
    /// An entry that is idle, and belongs to no object yet.
    pub(crate) fn new(kin: Arc<Kin>) -> Self {
        kin.owner.owned.objects.fetch_add(1, Relaxed);
        kin.owner.owned.made.fetch_add(1, Relaxed);
        Self {
            links: Links {
                next: AtomicPtr::new(ptr::null_mut()),
                prev: AtomicPtr::new(ptr::null_mut()),
            },
            word: AtomicU64::new(Word::NEW.bits()),
            seat: AtomicPtr::new(ptr::null_mut()),
            kin,
            runner: AtomicUsize::new(0),
            link: Link::new(),
        }
    }

    #[inline(always)]
    fn word(&self) -> Word {
        Word::from_bits(self.word.load(Acquire))
    }

    #[inline(always)]
    fn exchange(&self, old: Word, new: Word) -> Result<(), Word> {
        match self
            .word
            .compare_exchange(old.bits(), new.bits(), AcqRel, Acquire)
        {
            Ok(_) => Ok(()),
            Err(now) => Err(Word::from_bits(now)),
        }
    }

    /// Changes the word, and says what it was.
    #[inline(always)]
    fn change(&self, f: impl Fn(Word) -> Word) -> Word {
        let mut old = Word::from_bits(self.word.load(Relaxed));
        loop {
            match self.exchange(old, f(old)) {
                Ok(()) => return old,
                Err(now) => old = now,
            }
        }
    }

    /// Its action has returned; says whether somebody waits for that.
    #[inline(always)]
    fn end(&self) -> bool {
        // It runs, so nothing is borrowed from the bits above.
        let old = Word::from_bits(self.word.fetch_sub(Word::END, AcqRel));
        if old.is_draining() {
            // Somebody may have added it meanwhile, to another queue.
            self.change(Word::drained);
        }
        old.is_draining()
    }

    /// The object the entry lies in.
    #[inline(always)]
    fn object(&self) -> *const () {
        self.object_by(&self.kin.ops)
    }

    /// The same, by the operations it has.
    #[inline(always)]
    fn object_by(&self, ops: &Ops) -> *const () {
        let offset = ops.entry_offset;
        if offset == pool::APART {
            // SAFETY: Invariant P3.
            return unsafe { pool::object_of(self) };
        }
        let address = ptr::from_ref(self) as usize;
        // Exposed by `bind`.
        ptr::with_exposed_provenance(address.wrapping_sub(offset))
    }

    /// What the action is called with: the object, or the box of a pool.
    #[inline(always)]
    fn called_with(&self, ops: &Ops, object: *const ()) -> *const () {
        if ops.entry_offset == pool::APART {
            return ptr::from_ref(self).cast();
        }
        object
    }

    /// Locks the seat the entry is on. `None`: it is on none. Any context but NMI.
    fn lock(&self) -> Option<seat::Hold<'_>> {
        let mut flags = 0;
        let name = self.seat.as_ptr().cast();
        // SAFETY: Invariants 2 and 3: `seat` is null, or names a seat, which begins with its lock.
        let lock = unsafe { b::softclock_raw_lock_named(name, &mut flags) };
        let seat = NonNull::new(lock)?.cast::<Seat>();
        // SAFETY: Its lock is taken; entries are on its list, so it stays for now (invariant 3).
        Some(unsafe { seat::Hold::taken(seat, flags) })
    }

    /// Takes the timer out of its queue; says whether it was in one. Any context but NMI.
    #[inline(never)]
    pub(crate) fn remove(&self) -> bool {
        let Some(mut hold) = self.lock() else {
            return false;
        };
        if hold.remove(self) {
            return true;
        }
        // It has begun; it may have been added again.
        drop(hold);
        self.remove_again()
    }

    #[cold]
    #[inline(never)]
    fn remove_again(&self) -> bool {
        while let Some(mut hold) = self.lock() {
            if hold.remove(self) {
                return true;
            }
        }
        false
    }

    /// Whether its action executes. Acquire: what the action did is seen.
    pub(crate) fn is_running(&self) -> bool {
        self.word().is_running()
    }

    /// Whether it is in a queue.
    pub(crate) fn is_pending(&self) -> bool {
        self.word().is_linked()
    }

    /// Refuses adds until the action has returned. `Ok(false)`: nothing executes.
    pub(crate) fn drain(&self) -> Result<bool, CannotWait> {
        let mut old = self.word();
        while old.is_running() {
            if self.is_own() {
                return Err(CannotWait::Deadlock);
            }
            match self.exchange(old, old.draining()) {
                Ok(()) => return Ok(true),
                Err(now) => old = now,
            }
        }
        Ok(false)
    }

    /// The action that a drain has met executes still.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.word().is_draining()
    }

    /// The caller is this entry's action.
    pub(crate) fn is_own(&self) -> bool {
        self.is_running() && Runner::of_task(self.runner.load(Relaxed)).is_here()
    }

    /// When it is due; `None` where it is in no queue.
    pub(crate) fn due(&self) -> Option<Instant> {
        let hold = self.lock()?;
        let word = self.word();
        // It may have begun just now.
        word.is_linked().then(|| due(word.stamp(), hold.timeout()))
    }

    /// A reference to the object, if it is not going.
    pub(crate) fn keep(&self) -> Option<Kept> {
        // SAFETY: The caller's reference to the entry keeps the object's memory (invariant 1).
        unsafe { self.kin.ops.get(self.object()) }.then(|| Kept(NonNull::from(self)))
    }
}

// SAFETY: The entry's drop takes it off its seat and its roster.
unsafe impl Part for Entry {
    #[inline(always)]
    fn is_bound(&self) -> bool {
        Word::from_bits(self.word.load(Relaxed)).is_bound()
    }

    #[inline(never)]
    unsafe fn bind(&self, object: *const ()) {
        let _ = object.expose_provenance();
        // SAFETY: Invariant 1: the entry's drop takes it off.
        unsafe {
            // One that comes late is refused by its queue, which is destroyed: this roster is of one turn.
            self.kin.owner.roster.add(&self.link, 0, |_stale| {
                self.change(Word::bound);
            });
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        // No reference to the object is left, so nobody links it, and no pass holds it (invariant 4).
        if self.word().is_bound() {
            self.remove();
            self.kin.owner.roster.remove(&self.link);
        }
        self.kin.owner.owned.objects.fetch_sub(1, Relaxed);
    }
}

/// A reference to an entry's object.
pub(crate) struct Kept(NonNull<Entry>);

// SAFETY: Entries are used from any CPU; all their fields are atomic or constant.
unsafe impl Send for Kept {}
// SAFETY: As above.
unsafe impl Sync for Kept {}

impl Kept {
    pub(crate) fn entry(&self) -> &Entry {
        // SAFETY: The reference keeps the object, and the entry in it.
        unsafe { self.0.as_ref() }
    }

    /// The thread that executes the action, as long as somebody waits for that.
    pub(crate) fn runner(&self) -> Option<Runner> {
        let task = self.entry().runner.load(Relaxed);
        (self.entry().is_waited_for() && task != 0).then_some(Runner::of_task(task))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        grave::put(self.entry());
    }
}

/// What a reader sees of an entry.
pub(crate) struct Seen {
    pub(crate) kin: Arc<Kin>,
    pub(crate) queue: u64,
    pub(crate) due: Instant,
    pub(crate) running: bool,
}

/// A reader of the entries of one client.
pub(crate) struct Reader {
    owner: Arc<Owner>,
    mark: Pin<KBox<Opaque<Mark>>>,
}

// SAFETY: The mark is used under the roster's lock only.
unsafe impl Send for Reader {}

impl Reader {
    /// Begins to read. Task context; may block.
    pub(crate) fn new(owner: Arc<Owner>) -> Result<Self> {
        let mark = KBox::pin(Opaque::new(Mark::new()), GFP_KERNEL)?;
        // SAFETY: The mark is pinned, and taken back by drop.
        unsafe { owner.roster.place(mark.get()) };
        Ok(Self { owner, mark })
    }

    /// Looks at up to `most` entries, and copies those that are in a queue. `false`: there was none.
    pub(crate) fn read(&mut self, most: usize, mut f: impl FnMut(Seen)) -> bool {
        let mut any = false;
        self.each(most, |entry| {
            any = true;
            if let Some(seen) = entry.seen() {
                f(seen);
            }
        });
        any
    }

    fn each(&mut self, most: usize, mut f: impl FnMut(&Entry)) {
        let each = |link: *mut Link| {
            let entry = link.wrapping_byte_sub(offset_of!(Entry, link));
            // SAFETY: Every link on the roster is part of an entry that is there under the lock.
            f(unsafe { &*entry.cast::<Entry>() });
            true
        };
        // SAFETY: The mark is registered.
        unsafe { self.owner.roster.read(self.mark.get(), most, each) };
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // SAFETY: It is valid.
        unsafe { self.owner.roster.take_back(self.mark.get()) };
    }
}

impl Entry {
    fn seen(&self) -> Option<Seen> {
        let hold = self.lock()?;
        let word = self.word();
        // It may have begun just now.
        word.is_linked().then(|| Seen {
            kin: self.kin.clone(),
            queue: hold.id(),
            due: due(word.stamp(), hold.timeout()),
            running: word.is_running(),
        })
    }
}

/// A timeout that is read without a lock.
fn delta(ns: i64) -> Delta {
    Delta::from_nanos(ns)
}

/// Tells softclock which fields of a route are its timers, and for which actions.
///
/// # Examples
///
/// ```
/// # struct ForgetMtu;
/// # impl RouteAction<Peer> for ForgetMtu {
/// #     type Kind = Soft;
/// #     fn act(_: ArcBorrow<'_, Timed<Peer>>, _: &Expiry<'_, Soft>) {}
/// # }
/// # impl Route for Peer { fn delete(_: ArcBorrow<'_, Timed<Self>>) {} }
/// #[pin_data]
/// struct Peer {
///     #[pin]
///     pmtu: RouteTimer<Self, ForgetMtu>,
///     #[pin]
///     arp: RouteTimer<Self, DeleteRoute>,
///     #[pin]
///     others: RouteTimers<Self>,
/// }
///
/// impl_has_route_timers! {
///     impl HasRouteTimers for Peer { ForgetMtu: self.pmtu, DeleteRoute: self.arp; self.others }
/// }
/// ```
///
/// What follows the semicolon is a [`RouteTimers`](crate::RouteTimers).
#[macro_export]
macro_rules! impl_has_route_timers {
    (impl {$($generics:tt)*} HasRouteTimers for $object:ty { $($fields:tt)* }) => {
        // Generics only: what follows them could not be parsed here.
        const _: () = {
            fn generics<$($generics)*>() {}
        };
        $crate::impl_has_route_timers! { @all {$($generics)*} $object { $($fields)* } }
    };
    (impl HasRouteTimers for $object:ty { $($fields:tt)* }) => {
        $crate::impl_has_route_timers! { @all {} $object { $($fields)* } }
    };
    (@all $generics:tt $object:ty { $($action:ty: self.$field:ident),* $(,)? }) => {
        $crate::impl_has_route_timers! {
            @fields $generics $object {
                $([$crate::RouteTimer<$object, $action>] $field)*
            }
        }
    };
    (@all $generics:tt $object:ty { $($action:ty: self.$field:ident),* ; self.$pool:ident }) => {
        $crate::impl_has_route_timers! {
            @fields $generics $object {
                $([$crate::RouteTimer<$object, $action>] $field)*
                [$crate::RouteTimers<$object>] $pool
            }
        }
    };
    (@fields $generics:tt $object:ty { $([$timer:ty] $field:ident)* }) => {
        $($crate::impl_has_route_timers! { @field $generics $object, $timer, $field })*
        $crate::impl_has_route_timers! { @route $generics $object { $($timer,)* } }
    };
    (@field {$($generics:tt)*} $object:ty, $timer:ty, $field:ident) => {
        // SAFETY: It is a field of the object, and has the type that names the object.
        unsafe impl<$($generics)*> $crate::Contains<$timer> for $object {
            // A field of the object itself, not of something it dereferences to ...
            const OFFSET: usize = ::core::mem::offset_of!($object, $field);

            #[inline(always)]
            fn field(&self) -> &$timer {
                // ... and the timer itself, not something that dereferences to it.
                let field: *const $timer = &raw const self.$field;
                // SAFETY: `field` is part of `self`.
                unsafe { &*field }
            }
        }
    };
    (@route {$($generics:tt)*} $object:ty { $($timer:ty,)* }) => {
        impl<$($generics)*> $crate::HasRouteTimers for $object {
            fn each_timer(&self, visit: &mut impl FnMut($crate::RouteEntryRef<'_>)) {
                $(<Self as $crate::Contains<$timer>>::field(self).each(visit);)*
                let _ = visit;
            }
        }
    };
}
