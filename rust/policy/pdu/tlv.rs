// SPDX-License-Identifier: GPL-2.0

//! Attributes: tag, length, value (RFC 4171, 6).

#![forbid(unsafe_code)]

/// Bytes before a value.
pub(crate) const HEAD: usize = 8;

/// The name of a network entity, with a zero after it: 4 to 256 bytes.
pub(crate) const ENTITY: u32 = 1;
/// A time of 8 bytes.
pub(crate) const TIMESTAMP: u32 = 4;
/// A portal's address of 16 bytes.
pub(crate) const PORTAL_IP: u32 = 16;
/// A portal's port of 4 bytes.
pub(crate) const PORTAL_PORT: u32 = 17;

/// Takes the attribute `tag` from the front of `bytes`. Gives its value and what follows; `None` when
/// another one comes first, or it is not all there.
pub(crate) fn take(bytes: &[u8], tag: u32) -> Option<(&[u8], &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    if u32::from_be_bytes(*head) != tag || length % 4 != 0 {
        return None;
    }
    rest.split_at_checked(length)
}

/// As [`take`], for a value that always has `N` bytes.
pub(crate) fn take_exactly<const N: usize>(bytes: &[u8], tag: u32) -> Option<(&[u8; N], &[u8])> {
    let (value, rest) = take(bytes, tag)?;
    Some((value.try_into().ok()?, rest))
}

/// A message under construction.
pub(crate) struct Out<'a> {
    room: &'a mut [u8],
    len: usize,
}

impl<'a> Out<'a> {
    /// Will write to the front of `room`.
    pub(crate) fn new(room: &'a mut [u8]) -> Self {
        Self { room, len: 0 }
    }

    /// Appends bytes. `None`: there is no room for them.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.len.checked_add(bytes.len())?;
        self.room.get_mut(self.len..end)?.copy_from_slice(bytes);
        self.len = end;
        Some(())
    }

    /// Appends an attribute of a value and `zeros` zeros, which together have a multiple of 4 bytes.
    pub(crate) fn put_tlv(&mut self, tag: u32, value: &[u8], zeros: usize) -> Option<()> {
        let length = u32::try_from(value.len().checked_add(zeros)?).ok()?;
        self.put(&tag.to_be_bytes())?;
        self.put(&length.to_be_bytes())?;
        self.put(value)?;
        self.put([0; 4].get(..zeros)?)
    }

    /// How many bytes were written.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }
}
