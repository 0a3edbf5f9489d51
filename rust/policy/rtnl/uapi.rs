// SPDX-License-Identifier: GPL-2.0

//! Numbers of `linux/netlink.h`, `linux/rtnetlink.h` and `linux/if.h`: fixed for ever.

pub(crate) const AF_INET: u8 = 2;
pub(crate) const AF_INET6: u8 = 10;

pub(crate) const NLMSG_ERROR: u16 = 2;
pub(crate) const NLMSG_DONE: u16 = 3;
pub(crate) const RTM_NEWLINK: u16 = 16;
pub(crate) const RTM_DELLINK: u16 = 17;
pub(crate) const RTM_DELADDR: u16 = 21;
pub(crate) const RTM_NEWROUTE: u16 = 24;
pub(crate) const RTM_DELROUTE: u16 = 25;
pub(crate) const RTM_GETROUTE: u16 = 26;
pub(crate) const RTM_DELNEXTHOP: u16 = 105;

pub(crate) const NLM_F_REQUEST: u16 = 0x1;
pub(crate) const NLM_F_ACK: u16 = 0x4;
pub(crate) const NLM_F_ECHO: u16 = 0x8;
/// Of a request for many, `NLM_F_ROOT | NLM_F_MATCH`.
pub(crate) const NLM_F_DUMP: u16 = 0x300;
/// Of news: it stands where another stood.
pub(crate) const NLM_F_REPLACE: u16 = 0x100;
pub(crate) const NLM_F_CREATE: u16 = 0x400;
pub(crate) const NLM_F_APPEND: u16 = 0x800;

/// None: the kernel passes over it.
pub(crate) const RTA_UNSPEC: u16 = 0;
pub(crate) const RTA_DST: u16 = 1;
pub(crate) const RTA_OIF: u16 = 4;
pub(crate) const RTA_GATEWAY: u16 = 5;
pub(crate) const RTA_PRIORITY: u16 = 6;
pub(crate) const RTA_PREFSRC: u16 = 7;
pub(crate) const RTA_MULTIPATH: u16 = 9;
pub(crate) const RTA_TABLE: u16 = 15;
pub(crate) const RTA_VIA: u16 = 18;
pub(crate) const RTA_ENCAP_TYPE: u16 = 21;
pub(crate) const RTA_ENCAP: u16 = 22;
pub(crate) const RTA_NH_ID: u16 = 30;

pub(crate) const RT_TABLE_COMPAT: u8 = 252;
pub(crate) const RT_TABLE_MAIN: u32 = 254;

/// A cached exception, not a route.
pub(crate) const RTM_F_CLONED: u32 = 0x200;
pub(crate) const RTM_F_LOOKUP_TABLE: u32 = 0x1000;
pub(crate) const RTM_F_FIB_MATCH: u32 = 0x2000;
/// What of a route's flags may be asked for; the others say how it fares.
pub(crate) const RTNH_F_ONLINK: u32 = 4;

/// The groups to be heard: links, addresses of IPv4, routes of both, nexthop objects.
pub(crate) const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x400 | 0x8000_0000;
