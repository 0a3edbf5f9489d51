// SPDX-License-Identifier: GPL-2.0

//! What keeps an object alive while its timer calls it, and lets it die otherwise.
//!
//! A timer holds a *weak* pointer to the object that contains it: it never keeps the object alive,
//! so dropping the last [`Arc`] is all an owner has to do. A run begins by taking a reference, which
//! fails once the last one is gone. The kernel's `Arc` has no weak pointer; this is one, for
//! objects wrapped in [`Timed`].
//!
//! INVARIANT 1: `Bound::object` is null or the data pointer of an `Arc<Timed<T>>` whose allocation
//! is still there: it is set by [`bound`] from that `Arc`, and cleared by the drop of the [`Anchor`],
//! a field of that very `T`, which runs before the allocation is freed. Both happen under the lock of
//! [`Weak`].
//! INVARIANT 2: the reference count of an `Arc<T>` lies `Arc::<T>::DATA_OFFSET` bytes before its
//! data ([`layout_is_known`] checks that when the module is loaded).
//! INVARIANT 3: a [`Held`] owns one reference.
//! INVARIANT 4: nobody can reach `&mut T` of a shared `Timed<T>`. Not even through
//! `Arc::into_unique_or_drop`, which would believe itself alone: `Timed` is `!Unpin` and gives out
//! shared references only.

use super::{bindings as b, context::Task, lock::RawLock};
use core::{
    marker::{PhantomData, PhantomPinned},
    mem::ManuallyDrop,
    ops::Deref,
};
use kernel::{
    bindings,
    prelude::*,
    sync::{
        atomic::{Acquire, Atomic, Release},
        Arc,
        ArcBorrow,
        LockClassKey, //
    },
};

/// An object that timers call: what a driver puts into an [`Arc`].
///
/// It adds nothing to `T` and dereferences to it. It exists because a timer may take a reference
/// at any moment, so nobody may believe to be the only owner and write to `T` without a lock.
///
/// # Examples
///
/// ```ignore
/// let hb: Arc<Timed<Heartbeat>> = Timed::new(Heartbeat::init())?;
/// hb.callout::<Soft>().arm_after(Delta::from_millis(100));
/// pr_info!("{} beats\n", hb.beats.load(Relaxed));
/// ```
#[pin_data]
pub struct Timed<T> {
    #[pin]
    value: T,
    #[pin]
    _pin: PhantomPinned,
}

impl<T> Timed<T> {
    /// Allocates and initialises an object. Task context; may block (`GFP_KERNEL`).
    ///
    /// # Errors
    ///
    /// `EWOULDBLOCK` (`EAGAIN`) where it may not block, as far as [`Task::new`] can tell; `ENOMEM`;
    /// what the initialiser returns.
    pub fn new<E>(init: impl PinInit<T, E>) -> Result<Arc<Self>>
    where
        Error: From<E>,
    {
        Task::new()?;
        Arc::pin_init(
            try_pin_init!(Self {
                value <- init,
                _pin: PhantomPinned,
            }? E),
            GFP_KERNEL,
        )
    }
}

impl<T> Deref for Timed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// What one kind of expiry does to an object. `I` is what the callback is told, `O` what it answers.
pub(crate) trait Run<K, I, O>: Send + Sync + Sized + 'static {
    /// Calls the driver.
    fn run(this: ArcBorrow<'_, Timed<Self>>, input: I) -> O;
}

/// What is known of a `Timed<T>` whose type is forgotten. Instantiated in the client's module.
pub(crate) struct Ops<I, O> {
    /// How far before the object its reference count is (invariant 2). A number, not a function: no
    /// client's code runs while a count is changed, nor after.
    count_offset: usize,
    run: unsafe fn(*const (), I) -> O,
    bury: unsafe fn(*const ()),
}

impl<I, O> Ops<I, O> {
    fn count(&self, object: *const ()) -> *mut bindings::refcount_t {
        object
            .wrapping_byte_sub(self.count_offset)
            .cast_mut()
            .cast()
    }
}

struct Operations<T, K, I, O>(PhantomData<(T, K, I, O)>);

impl<T: Run<K, I, O>, K, I, O> Operations<T, K, I, O> {
    const TABLE: Ops<I, O> = Ops {
        count_offset: Arc::<Timed<T>>::DATA_OFFSET,
        run: Self::run,
        bury: Self::bury,
    };

    /// # Safety
    ///
    /// The caller holds a reference to `object`.
    unsafe fn run(object: *const (), input: I) -> O {
        // SAFETY: The pointer came from an `Arc<Timed<T>>`, the caller's reference outlives this
        // call, and a `UniqueArc` to it cannot be written through (invariant 4).
        T::run(unsafe { ArcBorrow::from_raw(object.cast()) }, input)
    }

    /// # Safety
    ///
    /// The last reference to `object` was given up by [`Held::put`].
    unsafe fn bury(object: *const ()) {
        let object = object.cast_mut().cast::<Timed<T>>();
        // SAFETY: The count is zero, so this is the only access there is, and no more can come: weak
        // pointers are not upgraded from zero, and the drops of the anchors clear them.
        unsafe { core::ptr::drop_in_place(object) };
        // SAFETY: Invariant 2. Nobody looks at the count any more.
        unsafe { set_one(Self::TABLE.count(object.cast())) };
        // SAFETY: The value is dropped, so the allocation is that of an `Arc` of the same layout which
        // drops nothing, with the one reference that was just made.
        drop(unsafe { Arc::<ManuallyDrop<Timed<T>>>::from_raw(object.cast()) });
    }
}

/// Makes the count 1. Not inlined into clients, for the C function is not theirs to call.
///
/// # Safety
///
/// `count` is the reference count of an allocation that only the caller knows.
#[inline(never)]
unsafe fn set_one(count: *mut bindings::refcount_t) {
    // SAFETY: The contract of this function.
    unsafe { bindings::refcount_set(count, 1) }
}

struct Bound {
    object: *const (),
}

// SAFETY: The pointer is only used through `Ops`, whose `T` is `Send + Sync` (supertraits of `Run`).
unsafe impl Send for Bound {}

/// The weak pointer to an object, kept outside of it.
#[pin_data]
pub(crate) struct Weak<I: 'static, O: 'static> {
    #[pin]
    bound: RawLock<Bound>,
    ops: &'static Ops<I, O>,
}

impl<I: 'static, O: 'static> Weak<I, O> {
    /// A pointer to nothing yet.
    pub(crate) fn new(
        ops: &'static Ops<I, O>,
        name: &'static CStr,
        key: Pin<&'static LockClassKey>,
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            bound <- RawLock::new(Bound { object: core::ptr::null() }, name, key),
            ops,
        })
    }

    /// Takes a reference to the object, unless it is gone. Any context.
    pub(crate) fn get(&self) -> Option<Held<I, O>> {
        let bound = self.bound.lock();
        let object = bound.object;
        if object.is_null() {
            return None;
        }
        // SAFETY: Invariants 1 and 2: under the lock a non-null object's allocation is there.
        let got = unsafe { b::softclock_refcount_inc_not_zero(self.ops.count(object)) };
        drop(bound);
        // Invariant 3.
        got.then_some(Held {
            object,
            ops: self.ops,
        })
    }

    fn bind(&self, object: *const ()) {
        self.bound.lock().object = object;
    }
}

/// One reference to an object whose type is forgotten. It is put, not dropped.
#[must_use]
pub(crate) struct Held<I: 'static, O: 'static> {
    object: *const (),
    ops: &'static Ops<I, O>,
}

impl<I, O> Held<I, O> {
    /// Calls the driver.
    pub(crate) fn run(&self, input: I) -> O {
        // SAFETY: Invariant 3.
        unsafe { (self.ops.run)(self.object, input) }
    }

    /// Gives the reference back. If it was the last one, the object is dead: nobody can take a
    /// reference any more. Its drop is left to the caller, for this context may be wrong for it.
    pub(crate) fn put(self) -> Option<Remains<I, O>> {
        let count = self.ops.count(self.object);
        // SAFETY: Invariants 2 and 3; `self` is consumed, so the reference is given up once.
        unsafe { bindings::refcount_dec_and_test(count) }.then(|| Remains {
            object: self.object,
            ops: self.ops,
        })
    }
}

/// An object without references that is still to be dropped, which dropping this does.
pub(crate) struct Remains<I: 'static, O: 'static> {
    object: *const (),
    ops: &'static Ops<I, O>,
}

// SAFETY: As for `Bound`.
unsafe impl<I, O> Send for Remains<I, O> {}

impl<I, O> Drop for Remains<I, O> {
    fn drop(&mut self) {
        // SAFETY: Made only by `put`, where the object's count became zero.
        unsafe { (self.ops.bury)(self.object) }
    }
}

/// What owns the weak pointer. Use [`impl_has_weak!`] to implement it.
///
/// # Safety
///
/// `weak` always returns the same one.
pub(crate) unsafe trait HasWeak {
    /// What the callback is told.
    type Input: 'static;
    /// What the callback answers.
    type Output: 'static;
    /// The weak pointer.
    fn weak(&self) -> &Weak<Self::Input, Self::Output>;
}

/// Implements [`HasWeak`] for a type and one of its fields.
macro_rules! impl_has_weak {
    ($ty:ty { self.$field:ident }, $input:ty, $output:ty) => {
        // SAFETY: It is always the same field.
        unsafe impl $crate::sys::target::HasWeak for $ty {
            type Input = $input;
            type Output = $output;

            fn weak(&self) -> &$crate::sys::target::Weak<$input, $output> {
                &self.$field
            }
        }
    };
}
pub(crate) use impl_has_weak;

/// The end of a weak pointer that lies inside the object.
pub(crate) struct Anchor<N: HasWeak> {
    node: Arc<N>,
    bound: Atomic<bool>,
}

impl<N: HasWeak> Anchor<N> {
    /// Ties `node` to whatever object this will be part of.
    pub(crate) fn new(node: Arc<N>) -> Self {
        Self {
            node,
            bound: Atomic::new(false),
        }
    }

    /// What is tied to the object.
    pub(crate) fn node(&self) -> &Arc<N> {
        &self.node
    }
}

impl<N: HasWeak> Drop for Anchor<N> {
    fn drop(&mut self) {
        // Invariant 1: from here on nobody finds the object.
        self.node.weak().bind(core::ptr::null());
    }
}

/// The operations to make a [`Weak`] for `T` and `K` with.
pub(crate) const fn operations<T: Run<K, I, O>, K, I, O>() -> &'static Ops<I, O> {
    &Operations::<T, K, I, O>::TABLE
}

/// A type with an [`Anchor`] in it. Use [`impl_anchored!`] to implement it.
///
/// # Safety
///
/// `anchor` returns a field of `self`, and `Self` is `!Unpin`, so that the anchor stays in the
/// object it was made in until it is dropped. Its node's [`Ops`] are those of `Object`.
pub(crate) unsafe trait Anchored {
    /// What the anchor is part of.
    type Object;
    /// What it ties to the object.
    type Node: HasWeak;
    /// The anchor.
    fn anchor(&self) -> &Anchor<Self::Node>;
}

/// Implements [`Anchored`] for a type and one of its fields.
macro_rules! impl_anchored {
    (impl {$($generics:tt)*} Anchored<$node:ty> for $ty:ty, part of $object:ty { self.$field:ident }) => {
        // SAFETY: It is a field. The rest is stated beside the use.
        unsafe impl<$($generics)*> $crate::sys::target::Anchored for $ty {
            type Object = $object;
            type Node = $node;

            fn anchor(&self) -> &$crate::sys::target::Anchor<$node> {
                &self.$field
            }
        }
    };
}
pub(crate) use impl_anchored;

/// An object that has an `F` as a field. Implemented by [`impl_has_callout!`].
///
/// # Safety
///
/// `field` returns a field of `self`.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no `{F}` that softclock knows of",
    note = "add: impl_has_callout! {{ impl HasCallout<Soft> for {Self} {{ self.field }} }}"
)]
pub unsafe trait Contains<F> {
    /// The field.
    fn field(&self) -> &F;
}

/// Tells softclock which field of a type is its callout.
///
/// # Examples
///
/// ```ignore
/// impl_has_callout! {
///     impl HasCallout<Soft> for Heartbeat { self.beat }
///     impl HasCallout<Task> for Heartbeat { self.report }
/// }
/// ```
#[macro_export]
macro_rules! impl_has_callout {
    ($(
        impl $({$($generics:tt)*})? HasCallout<$kind:ty> for $object:ty { self.$field:ident }
    )*) => {$(
        // Generics only: what follows them could not be parsed here.
        $(const _: () = {
            fn generics<$($generics)*>() {}
        };)?

        // SAFETY: It is a field of the object, and has the type that names the object.
        unsafe impl $(<$($generics)*>)? $crate::Contains<$crate::Callout<$object, $kind>>
            for $object
        {
            fn field(&self) -> &$crate::Callout<$object, $kind> {
                // A field of the object itself, not of something it dereferences to ...
                let _ = ::core::mem::offset_of!($object, $field);
                // ... and the callout itself, not something that dereferences to it.
                let field: *const $crate::Callout<$object, $kind> = &raw const self.$field;
                // SAFETY: `field` is part of `self`.
                unsafe { &*field }
            }
        }
    )*};
}

/// The `F` of an object, its weak pointer set: from here on it can be armed.
pub(crate) fn bound<'a, T, F>(this: ArcBorrow<'a, Timed<T>>) -> &'a F
where
    T: Contains<F>,
    F: Anchored<Object = T> + 'a,
{
    let object = core::ptr::from_ref::<Timed<T>>(&this);
    // SAFETY: The data of an `ArcBorrow<'a, _>` is valid for shared reads throughout `'a`.
    let field: &'a F = unsafe { &(*object).value }.field();
    let anchor = field.anchor();
    if !anchor.bound.load(Acquire) {
        // The pointer of the `Arc`, not of a reference into it: it reaches the count, and the object
        // is dropped through it. Invariant 1: the anchor is part of it (`Contains`, `Anchored`).
        anchor
            .node
            .weak()
            .bind(Arc::as_ptr(&Arc::from(this)).cast());
        anchor.bound.store(true, Release);
    }
    field
}

/// Whether the reference count is where invariant 2 says. Task context; may block.
///
/// # Errors
///
/// `ENOMEM`, or `ENOEXEC` when the kernel crate's `Arc` has changed.
pub(crate) fn layout_is_known() -> Result {
    struct Probe;
    let arc = Arc::new(
        Timed {
            value: Probe,
            _pin: PhantomPinned,
        },
        GFP_KERNEL,
    )?;
    let count = Arc::as_ptr(&arc)
        .wrapping_byte_sub(Arc::<Timed<Probe>>::DATA_OFFSET)
        .cast::<i32>();
    // SAFETY: `DATA_OFFSET` bytes before the data lies inside the allocation.
    let read = || unsafe { core::ptr::read_volatile(count) };
    let one = read();
    let second = arc.clone();
    let two = read();
    drop(second);
    if (one, two, read()) == (1, 2, 1) {
        Ok(())
    } else {
        pr_err!("this kernel's Arc keeps its count elsewhere: rebuild softclock for it\n");
        Err(ENOEXEC)
    }
}
