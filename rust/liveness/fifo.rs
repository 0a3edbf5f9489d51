// SPDX-License-Identifier: GPL-2.0

//! Objects in a row, first in, first out, linked through themselves: nothing is allocated, and an
//! object is in it once.

use crate::sys::lock::RawLock;
use kernel::{prelude::*, static_lock_class, sync::Arc};

/// What can stand in a row: it has a place for the one behind it.
pub(super) trait Linked: Sized {
    /// Calls `f` with that place, under the object's own raw lock.
    fn with_next<R>(this: &Arc<Self>, f: impl FnOnce(&mut Option<Arc<Self>>) -> R) -> R;
}

struct Ends<T> {
    first: Option<Arc<T>>,
    last: Option<Arc<T>>,
}

/// The row. The last object's next is itself, so an object has a next while it is in a row.
#[pin_data]
pub(super) struct Fifo<T> {
    #[pin]
    ends: RawLock<Ends<T>>,
}

impl<T: Linked> Fifo<T> {
    pub(super) fn new() -> impl PinInit<Self> {
        let none = Ends {
            first: None,
            last: None,
        };
        pin_init!(Self {
            ends <- RawLock::new(none, c"softclock_fifo", static_lock_class!()),
        })
    }

    /// Puts an object at the end; `false`: it is in a row already, be it this one or another. Any
    /// context but NMI.
    pub(super) fn push(&self, this: Arc<T>) -> bool {
        let mut ends = self.ends.lock();
        let free = T::with_next(&this, |next| {
            let free = next.is_none();
            if free {
                *next = Some(this.clone());
            }
            free
        });
        if !free {
            return false;
        }
        // Neither is the last reference to what it stood for: that object is in the row.
        match ends.last.replace(this.clone()) {
            Some(last) => drop(T::with_next(&last, |next| next.replace(this))),
            None => ends.first = Some(this),
        }
        true
    }

    /// Takes the first object out. Any context but NMI.
    pub(super) fn pop(&self) -> Option<Arc<T>> {
        let mut ends = self.ends.lock();
        let first = ends.first.take()?;
        let next = T::with_next(&first, Option::take);
        if next.as_ref().is_some_and(|next| Arc::ptr_eq(next, &first)) {
            ends.last = None;
        } else {
            ends.first = next;
        }
        Some(first)
    }

    /// Whether nobody is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.ends.lock().first.is_none()
    }
}
