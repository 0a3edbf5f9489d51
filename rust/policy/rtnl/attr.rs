// SPDX-License-Identifier: GPL-2.0

//! Attributes: length, type, payload, padding to four bytes.

use super::{aligned, u16_at, uapi, Malformed};

/// Two high bits of a type are flags.
const TYPE_MASK: u16 = 0x3fff;
const HEADER: usize = 4;

/// The attributes in some bytes. Ends at the first that does not fit, with an error.
pub(crate) struct Attrs<'a>(&'a [u8]);

impl<'a> Attrs<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
}

/// Has those in `bytes` passed over whose type is one of `kinds`, up to the first that does not fit.
pub(super) fn blank(bytes: &mut [u8], kinds: &[u16]) {
    let mut rest = bytes;
    while let Some(((kind, payload), _)) = split(rest) {
        let len = aligned(payload.len().saturating_add(HEADER));
        if let (true, Some(slot)) = (kinds.contains(&kind), rest.get_mut(2..HEADER)) {
            slot.copy_from_slice(&uapi::RTA_UNSPEC.to_ne_bytes());
        }
        rest = rest.get_mut(len..).unwrap_or(&mut []);
    }
}

/// A type and its payload.
type Attr<'a> = (u16, &'a [u8]);

impl<'a> Iterator for Attrs<'a> {
    type Item = Result<Attr<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let Some((attr, rest)) = split(self.0) else {
            self.0 = &[];
            return Some(Err(Malformed));
        };
        self.0 = rest;
        Some(Ok(attr))
    }
}

fn split(bytes: &[u8]) -> Option<(Attr<'_>, &[u8])> {
    let len = usize::from(u16_at(bytes, 0)?);
    let kind = u16_at(bytes, 2)? & TYPE_MASK;
    let payload = bytes.get(HEADER..len)?;
    // The last one may lack its padding.
    let rest = bytes.get(aligned(len)..).unwrap_or(&[]);
    Some(((kind, payload), rest))
}
