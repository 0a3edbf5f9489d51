// SPDX-License-Identifier: GPL-2.0

//! Another reading of the same rules: which bytes are an answer, as one question after the other.
//! Written without looking at how the shipped code does it, and asked about every random message.

use crate::policy::pdu::{
    address::{Eid, Ip, Port, Portal},
    inquiry::{Expected, Inquiry, Response},
    Fault,
};

fn u16_at(bytes: &[u8], at: usize) -> usize {
    256 * usize::from(bytes[at]) + usize::from(bytes[at + 1])
}

fn u32_at(bytes: &[u8], at: usize) -> usize {
    65_536 * u16_at(bytes, at) + u16_at(bytes, at + 2)
}

/// Whether the portal that was asked about has answered.
pub(crate) fn is_answer(bytes: &[u8], want: &Expected<'_>) -> bool {
    if bytes.len() < 16 || bytes.len() > 332 || bytes.len() % 4 != 0 {
        return false;
    }
    let flags = u16_at(bytes, 6) & 0xfc00;
    let head = (u16_at(bytes, 0), u16_at(bytes, 2), u16_at(bytes, 4));
    let tail = (u16_at(bytes, 8), u16_at(bytes, 10));
    if head != (1, 0x800d, bytes.len() - 12)
        || (flags != 0x8c00 && flags != 0x4c00)
        || tail != (usize::from(want.xid), 0)
        || u32_at(bytes, 12) != 0
    {
        return false;
    }
    // Where each attribute has to be follows from the length of the name.
    if bytes.len() < 16 + 16 + 8 + 24 + 12 {
        return false;
    }
    let name = bytes.len() - (16 + 16 + 8 + 24 + 12);
    if (u32_at(bytes, 16), u32_at(bytes, 20)) != (4, 8)
        || (u32_at(bytes, 32), u32_at(bytes, 36)) != (1, name)
        || (u32_at(bytes, 40 + name), u32_at(bytes, 44 + name)) != (16, 16)
        || (u32_at(bytes, 64 + name), u32_at(bytes, 68 + name)) != (17, 4)
    {
        return false;
    }
    let mut eid = want.eid.as_bytes().to_vec();
    if eid.len() >= name {
        return false;
    }
    eid.resize(name, 0);
    if bytes[40..40 + name] != eid[..] {
        return false;
    }
    let ip = &bytes[48 + name..64 + name];
    let mut old = want.portal.ip.bytes();
    if want.portal.ip.as_v4().is_some() {
        old[10] = 0;
        old[11] = 0;
    }
    let port = u32::try_from(u32_at(bytes, 72 + name)).unwrap();
    (ip == want.portal.ip.bytes() || ip == old) && port == want.portal.port.raw()
}

/// The same answer, written again.
pub(crate) fn again<'a>(response: &Response<'a>) -> Response<'a> {
    let copy = |about: Inquiry<'a>| Inquiry {
        stamp: about.stamp,
        eid: Eid::new(about.eid.as_bytes()).unwrap(),
        portal: Portal {
            ip: Ip::from_wire(about.portal.ip.bytes()),
            port: Port::from_wire(about.portal.port.raw()).unwrap(),
        },
    };
    Response {
        xid: response.xid,
        result: response.result.map(copy),
    }
}

/// Where in the checks a message fails, for telling apart those that lead to different places.
pub(crate) fn place(verdict: Result<(), Fault>) -> usize {
    verdict.map_or_else(Fault::index, |()| Fault::KINDS)
}
