// SPDX-License-Identifier: GPL-2.0

//! Timers as parts of the objects that they call.
//!
//! The invariants are those of `target`.

use super::Timed;
use crate::sys::wheel::{Entry, Worked};
use kernel::sync::{Arc, ArcBorrow};

/// What of a timer lies in the client's object, and learns which one that is.
///
/// # Safety
///
/// Its drop ends the use of what `bind` was told.
#[doc(hidden)]
pub unsafe trait Part {
    /// Whether `bind` was called.
    fn is_bound(&self) -> bool;

    /// Says which object this is part of. Any context. May be called twice, with the same object.
    ///
    /// # Safety
    ///
    /// `object` is the data pointer of an `Arc<Timed<T>>`; `self` lies in that `T`, where the `Ops` it
    /// was made with say, and stays there until it is dropped.
    unsafe fn bind(&self, object: *const ());
}

// SAFETY: The entry's drop takes it off its wheel and its roster.
unsafe impl Part for Entry {
    #[inline(always)]
    fn is_bound(&self) -> bool {
        Entry::is_bound(self)
    }

    unsafe fn bind(&self, object: *const ()) {
        // SAFETY: The contract of this function.
        unsafe { Entry::bind(self, object) }
    }
}

// SAFETY: As for `Entry`.
unsafe impl Part for Worked {
    #[inline(always)]
    fn is_bound(&self) -> bool {
        self.entry().is_bound()
    }

    unsafe fn bind(&self, object: *const ()) {
        // SAFETY: The contract of this function; the entry is at the beginning.
        unsafe { self.entry().bind(object) }
    }
}

/// Shows that [`bound`] asks for a part, and so that the part knows its object when it is used: whoever
/// else had one could arm a callout that lies in no [`Timed`], or pass over its lock.
#[doc(hidden)]
pub struct Asks(());

/// A type with a [`Part`] in it. Use [`impl_embeds!`] to implement it.
///
/// # Safety
///
/// `part` returns the field of `self` at `OFFSET`, and `Self` is `!Unpin`, so that it stays in the
/// object it was made in until it is dropped. It was made with the [`Ops`] of `Object` and `Self`.
#[doc(hidden)]
pub unsafe trait Embeds {
    /// What this is part of.
    type Object;
    /// What is in it.
    type Part: Part;
    /// Where.
    const OFFSET: usize;
    /// The part.
    fn part(&self, asks: Asks) -> &Self::Part;
}

/// Implements [`Embeds`] for a type and one of its fields.
macro_rules! impl_embeds {
    (impl {$($generics:tt)*} Embeds<$part:ty> for $ty:ty, part of $object:ty { self.$field:ident }) => {
        // SAFETY: It is a field. The rest is stated beside the use.
        unsafe impl<$($generics)*> $crate::sys::target::Embeds for $ty {
            type Object = $object;
            type Part = $part;
            const OFFSET: usize = ::core::mem::offset_of!(Self, $field);

            #[inline(always)]
            fn part(&self, _asks: $crate::sys::target::Asks) -> &$part {
                &self.$field
            }
        }
    };
}
pub(crate) use impl_embeds;

/// An object that has an `F` as a field. Implemented by [`impl_has_callout!`].
///
/// # Safety
///
/// `field` returns the field of `self` at `OFFSET`.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no `{F}` that softclock knows of",
    note = "add: impl_has_callout! {{ impl HasCallout<Soft> for {Self} {{ self.field }} }}"
)]
pub unsafe trait Contains<F> {
    /// Where the field is.
    const OFFSET: usize;
    /// The field.
    fn field(&self) -> &F;
}

/// Tells softclock which fields of a type are its callouts: all of them in one call.
///
/// # Examples
///
/// ```
/// #[pin_data]
/// struct Heartbeat {
///     #[pin]
///     beat: Callout<Self, Soft>,
///     #[pin]
///     report: Callout<Self, Task>,
/// }
///
/// impl_has_callout! {
///     impl HasCallout<Soft> for Heartbeat { self.beat }
///     impl HasCallout<Task> for Heartbeat { self.report }
/// }
/// ```
#[macro_export]
macro_rules! impl_has_callout {
    ($(
        impl $({$($generics:tt)*})? HasCallout<$kind:ty> for $object:ty { self.$field:ident }
    )+) => {
        $crate::impl_has_callouts! {
            $([$({$($generics)*})?] $kind, $object, $field;)+
        }
    $(
        // Generics only: what follows them could not be parsed here.
        $(const _: () = {
            fn generics<$($generics)*>() {}
        };)?

        // SAFETY: It is a field of the object, and has the type that names the object.
        unsafe impl $(<$($generics)*>)? $crate::Contains<$crate::Callout<$object, $kind>>
            for $object
        {
            // A field of the object itself, not of something it dereferences to ...
            const OFFSET: usize = ::core::mem::offset_of!($object, $field);

            #[inline(always)]
            fn field(&self) -> &$crate::Callout<$object, $kind> {
                // ... and the callout itself, not something that dereferences to it.
                let field: *const $crate::Callout<$object, $kind> = &raw const self.$field;
                // SAFETY: `field` is part of `self`.
                unsafe { &*field }
            }
        }
    )+};
}

/// The `F` of an object, which knows its object: from here on it can be armed.
#[inline(always)]
pub(crate) fn bound<'a, T, F>(this: ArcBorrow<'a, Timed<T>>) -> &'a F
where
    T: Contains<F>,
    F: Embeds<Object = T> + 'a,
{
    let object = core::ptr::from_ref::<Timed<T>>(&this);
    // SAFETY: The data of an `ArcBorrow<'a, _>` is valid for shared reads throughout `'a`.
    let field: &'a F = unsafe { &(*object).value }.field();
    let part = field.part(Asks(()));
    if !part.is_bound() {
        // The pointer of the `Arc`, not of a reference into it: it reaches the count, and the object
        // is dropped through it.
        let object = Arc::as_ptr(&Arc::from(this)).cast();
        // SAFETY: Invariant 1: the part is in the object (`Contains`, `Embeds`).
        unsafe { part.bind(object) };
    }
    field
}
