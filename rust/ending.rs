// SPDX-License-Identifier: GPL-2.0

//! The end of an object with one owner: of all its callouts at once, wherever that is.

use crate::{callout::Callout, context::Kind, engine::Engine, sys::context::Task};

/// One of an object's callouts, whatever its kind.
#[doc(hidden)]
pub trait Ending {
    /// Refuses every later arm and cancels a pending run. Any context but NMI; never blocks.
    fn close(&self);

    /// Waits for a run in progress, unless that would be for ever.
    fn wait(&self, task: &Task);
}

impl<T, K: Kind> Ending for Callout<T, K> {
    fn close(&self) {
        self.engine.close();
    }

    fn wait(&self, task: &Task) {
        // Refused in the own callback, and in a circle: the run keeps the object alive.
        let _ = self.engine.drain(task);
    }
}

/// An object all of whose callouts are known. Implemented by [`impl_has_callout!`].
///
/// [`impl_has_callout!`]: crate::impl_has_callout
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no callouts that softclock knows of",
    note = "add: impl_has_callout! {{ impl HasCallout<Soft> for {Self} {{ self.field }} }}"
)]
pub trait HasCallouts {
    /// Calls `visit` with each of them.
    fn each(&self, visit: &mut dyn FnMut(&dyn Ending));
}

/// Ends all callouts of an object; waits for runs in progress where the context allows that.
pub(crate) fn end<T: HasCallouts>(object: &T) {
    // All of them first: one may be armed by the callback of another.
    object.each(&mut |callout| callout.close());
    if let Ok(task) = Task::new() {
        object.each(&mut |callout| callout.wait(&task));
    }
}

/// The second half of [`impl_has_callout!`](crate::impl_has_callout): all callouts of the type it was
/// called for. A second call for one type would be a second `impl`, so none is left out.
#[doc(hidden)]
#[macro_export]
macro_rules! impl_has_callouts {
    (
        [$({$($generics:tt)*})?] $kind:ty, $object:ty, $field:ident;
        $( [$($others:tt)*] $more_kind:ty, $same:ty, $more:ident; )*
    ) => {
        impl $(<$($generics)*>)? $crate::internal::HasCallouts for $object {
            fn each(&self, visit: &mut dyn FnMut(&dyn $crate::internal::Ending)) {
                visit($crate::Contains::<$crate::Callout<$object, $kind>>::field(self));
                $({
                    // One call, one type.
                    let same: &$same = self;
                    visit($crate::Contains::<$crate::Callout<$same, $more_kind>>::field(same));
                })*
            }
        }
    };
}
