// SPDX-License-Identifier: GPL-2.0

//! Routes of the kernel as `rtnetlink(7)` tells of them: which one is meant, what is asked, what is
//! heard.
//!
//! Lengths come from the messages and are checked against what is there; a message in which one does
//! not fit is [`Malformed`] as a whole, and whoever hears it knows that something was missed.

#![forbid(unsafe_code)]

mod attr;
mod key;
mod message;
mod request;
pub(crate) mod uapi;

pub(crate) use self::{
    key::{Address, Family, Hop, Prefix, RouteKey, Wanted},
    message::{Heard, Messages},
    request::Request, //
};

/// A message that is not what `rtnetlink(7)` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Where the next part of a message begins that is `len` long.
fn aligned(len: usize) -> usize {
    len.saturating_add(3) & !3
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn u8_at(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array_at(bytes, at).map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array_at(bytes, at).map(u32::from_ne_bytes)
}
