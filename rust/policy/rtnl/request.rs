// SPDX-License-Identifier: GPL-2.0

//! What is asked.

use super::{
    aligned,
    attr::{self, Attrs},
    key::{Address, Family, Hop, RouteKey, Wanted},
    uapi,
};

/// One request, in a buffer of its own.
pub(crate) struct Request {
    buf: [u8; Request::MAX],
    len: usize,
}

/// `struct rtmsg`.
#[derive(Default)]
struct Fixed {
    family: u8,
    dst_len: u8,
    tos: u8,
    table: u32,
    protocol: u8,
    scope: u8,
    kind: u8,
    flags: u32,
}

impl Request {
    /// Longer than the longest: 28 bytes and eight attributes.
    const MAX: usize = 160;

    /// Deletes `key`, and says which route it was that went.
    ///
    /// A metric of 0, no preferred source and no gateway mean any to the kernel, and several hops cannot be
    /// named: who asks must compare what he hears with what he asked for.
    pub(crate) fn delete(key: &RouteKey, seq: u32) -> Self {
        let flags = uapi::NLM_F_REQUEST | uapi::NLM_F_ACK | uapi::NLM_F_ECHO;
        let mut this = Self::begin(uapi::RTM_DELROUTE, flags, seq);
        this.fixed(&Fixed {
            family: key.family().number(),
            dst_len: key.prefix.len(),
            tos: key.tos,
            table: key.table,
            protocol: key.protocol,
            scope: key.scope,
            kind: key.kind,
            flags: 0,
        });
        this.number(uapi::RTA_TABLE, key.table);
        if key.prefix.len() > 0 {
            this.attr(uapi::RTA_DST, key.prefix.address().bytes());
        }
        this.unless_zero(uapi::RTA_PRIORITY, key.priority);
        this.unless_zero(uapi::RTA_PREFSRC, key.prefsrc);
        match key.hop {
            Hop::Object(id) => this.number(uapi::RTA_NH_ID, id),
            Hop::Device { oif, gateway } => {
                this.unless_zero(uapi::RTA_OIF, oif);
                if let Some(gateway) = gateway {
                    this.gateway(key.family(), &gateway);
                }
            }
            Hop::Many(_) => {}
        }
        this.end()
    }

    /// Lists all routes of `family`.
    pub(crate) fn list(family: Family, seq: u32) -> Self {
        let flags = uapi::NLM_F_REQUEST | uapi::NLM_F_DUMP;
        let mut this = Self::begin(uapi::RTM_GETROUTE, flags, seq);
        this.fixed(&Fixed {
            family: family.number(),
            ..Fixed::default()
        });
        this.end()
    }

    /// Asks which route is taken to the first address of a prefix: as a rule the one that is wanted.
    pub(crate) fn look_up(wanted: &Wanted, seq: u32) -> Self {
        let mut this = Self::begin(uapi::RTM_GETROUTE, uapi::NLM_F_REQUEST, seq);
        this.fixed(&Fixed {
            family: wanted.prefix.family().number(),
            dst_len: wanted.prefix.family().bits(),
            tos: wanted.tos,
            flags: uapi::RTM_F_LOOKUP_TABLE | uapi::RTM_F_FIB_MATCH,
            ..Fixed::default()
        });
        this.attr(uapi::RTA_DST, wanted.prefix.address().bytes());
        this.unless_zero(uapi::RTA_OIF, wanted.oif.unwrap_or(0));
        this.end()
    }

    /// Puts a route back: turns `news`, the message that says that it is gone, into the request.
    pub(crate) fn restore(news: &mut [u8], seq: u32) {
        let flags = uapi::NLM_F_REQUEST | uapi::NLM_F_ACK | uapi::NLM_F_CREATE | uapi::NLM_F_APPEND;
        put(news, 4, &uapi::RTM_NEWROUTE.to_ne_bytes());
        put(news, 6, &flags.to_ne_bytes());
        put(news, 8, &seq.to_ne_bytes());
        put(news, 12, &[0; 4]);
        let state = super::u32_at(news, 24).unwrap_or(0);
        put(news, 24, &(state & uapi::RTNH_F_ONLINK).to_ne_bytes());
        let Some(attrs) = news.get_mut(28..) else {
            return;
        };
        let mut known = Attrs::new(attrs).flatten();
        if known.any(|(kind, _)| kind == uapi::RTA_NH_ID) {
            // The news says where the object leads, too; a request may not.
            attr::blank(attrs, &Self::BY_OBJECT);
        }
    }

    /// What a nexthop object decides.
    const BY_OBJECT: [u16; 6] = [
        uapi::RTA_OIF,
        uapi::RTA_GATEWAY,
        uapi::RTA_VIA,
        uapi::RTA_MULTIPATH,
        uapi::RTA_ENCAP_TYPE,
        uapi::RTA_ENCAP,
    ];

    pub(crate) fn bytes(&self) -> &[u8] {
        self.buf.get(..self.len).unwrap_or(&[])
    }

    fn begin(kind: u16, flags: u16, seq: u32) -> Self {
        let mut this = Self {
            buf: [0; Self::MAX],
            len: 16,
        };
        put(&mut this.buf, 4, &kind.to_ne_bytes());
        put(&mut this.buf, 6, &flags.to_ne_bytes());
        put(&mut this.buf, 8, &seq.to_ne_bytes());
        this
    }

    fn fixed(&mut self, fixed: &Fixed) {
        let table = u8::try_from(fixed.table).unwrap_or(uapi::RT_TABLE_COMPAT);
        let head = [
            fixed.family,
            fixed.dst_len,
            0,
            fixed.tos,
            table,
            fixed.protocol,
            fixed.scope,
            fixed.kind,
        ];
        self.push(&head);
        self.push(&fixed.flags.to_ne_bytes());
    }

    fn gateway(&mut self, family: Family, gateway: &Address) {
        if gateway.family() == family {
            self.attr(uapi::RTA_GATEWAY, gateway.bytes());
            return;
        }
        let mut via = [0; 18];
        put(
            &mut via,
            0,
            &u16::from(gateway.family().number()).to_ne_bytes(),
        );
        put(&mut via, 2, gateway.bytes());
        let len = gateway.family().octets().saturating_add(2);
        self.attr(uapi::RTA_VIA, via.get(..len).unwrap_or(&[]));
    }

    fn unless_zero(&mut self, kind: u16, value: u32) {
        if value != 0 {
            self.number(kind, value);
        }
    }

    fn number(&mut self, kind: u16, value: u32) {
        self.attr(kind, &value.to_ne_bytes());
    }

    fn attr(&mut self, kind: u16, payload: &[u8]) {
        let len = u16::try_from(payload.len().saturating_add(4)).unwrap_or(4);
        self.push(&len.to_ne_bytes());
        self.push(&kind.to_ne_bytes());
        self.push(payload);
        self.len = aligned(self.len).min(Self::MAX);
    }

    fn push(&mut self, bytes: &[u8]) {
        put(&mut self.buf, self.len, bytes);
        self.len = self.len.saturating_add(bytes.len()).min(Self::MAX);
    }

    fn end(mut self) -> Self {
        let len = u32::try_from(self.len).unwrap_or(0);
        put(&mut self.buf, 0, &len.to_ne_bytes());
        self
    }
}

/// Writes `bytes` at `at`, where there is room for all of them.
fn put(buf: &mut [u8], at: usize, bytes: &[u8]) {
    let end = at.saturating_add(bytes.len());
    if let Some(slot) = buf.get_mut(at..end) {
        slot.copy_from_slice(bytes);
    }
}
