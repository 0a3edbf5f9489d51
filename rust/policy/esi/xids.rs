// SPDX-License-Identifier: GPL-2.0

//! Transaction ids: which probe an answer belongs to.
//!
//! A table has a place for each of the 65,536 ids and says which slot's probe has it. An id is random,
//! so that nobody can guess it who has not seen the inquiry, and one that just became free is not the
//! next to be taken: a late answer to an ended probe finds nothing. No two in flight are neighbours,
//! so that a client that counts on its own does not answer for another one.

#![forbid(unsafe_code)]

use super::pace::Window;

/// How many ids there are, and so the length of a table.
pub(crate) const IDS: usize = 1 << 16;

/// The slots, as many as there can be probes in flight. The table has their numbers plus 1.
pub(crate) const SLOTS: u16 = Window::MAX;

const FREE: u16 = 0;

/// The ids in flight, in a table of the owner's.
///
/// At most [`SLOTS`] are in flight, and each keeps two more from being taken: there is always one
/// that can be.
#[derive(Clone, Debug)]
pub(crate) struct Xids<T> {
    table: T,
    flying: u16,
}

impl<T: AsRef<[u16]> + AsMut<[u16]>> Xids<T> {
    /// None in flight. `None`: the table does not have [`IDS`] places.
    pub(crate) fn new(mut table: T) -> Option<Self> {
        if table.as_ref().len() != IDS {
            return None;
        }
        table.as_mut().fill(FREE);
        Some(Self { table, flying: 0 })
    }

    /// How many are in flight.
    pub(crate) const fn flying(&self) -> u16 {
        self.flying
    }

    /// Takes an id for the probe in `slot`. `None`: there is no such slot, or too many are in flight.
    ///
    /// Starting at a random id it goes on in random steps of odd size, which lead to every id before
    /// they come back to the first.
    pub(crate) fn take(&mut self, slot: u16, random: u32) -> Option<u16> {
        if slot >= SLOTS || self.flying >= SLOTS {
            return None;
        }
        let [a, b, c, d] = random.to_be_bytes();
        let (first, step) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]) | 1);
        let ids = core::iter::successors(Some(first), |id| Some(id.wrapping_add(step)));
        let id = ids.take(IDS).find(|&id| self.is_apart(id))?;
        self.set(id, slot.saturating_add(1));
        self.flying = self.flying.saturating_add(1);
        Some(id)
    }

    /// The slot whose probe has this id.
    pub(crate) fn slot(&self, id: u16) -> Option<u16> {
        self.get(id).checked_sub(1)
    }

    /// The probe in `slot` has ended. `false`: it did not have this id, and nothing was changed.
    #[must_use]
    pub(crate) fn give_back(&mut self, id: u16, slot: u16) -> bool {
        let had = self.slot(id) == Some(slot);
        if had {
            self.set(id, FREE);
            self.flying = self.flying.saturating_sub(1);
        }
        had
    }

    /// It is free, and so are its neighbours.
    fn is_apart(&self, id: u16) -> bool {
        [id.wrapping_sub(1), id, id.wrapping_add(1)]
            .into_iter()
            .all(|id| self.get(id) == FREE)
    }

    fn get(&self, id: u16) -> u16 {
        let place = self.table.as_ref().get(usize::from(id));
        place.copied().unwrap_or(FREE)
    }

    fn set(&mut self, id: u16, value: u16) {
        if let Some(place) = self.table.as_mut().get_mut(usize::from(id)) {
            *place = value;
        }
    }
}
