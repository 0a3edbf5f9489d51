// SPDX-License-Identifier: GPL-2.0

//! What an operator writes to `control`: one command a line, a verb of one or two words and `key=value`
//! words behind it, in any order.
//!
//! A line is understood as a whole or refused as a whole, with what was wrong and what is allowed.

#![forbid(unsafe_code)]

mod liveness;

pub(crate) use self::liveness::{At, Change, Liveness, Watch};

use super::{
    deadline::Delta,
    rtnl::{Address, Prefix, Wanted},
};
use core::{
    net::IpAddr,
    str::SplitAsciiWhitespace, //
};

/// The longest line, without its end.
pub(crate) const LINE_MAX: usize = 511;

/// All commands, one a line, as `control` shows them.
pub(crate) const ALLOWED: &[&str] = &[
    "route add dst=PREFIX timeout=TIME [dev=NAME] [metric=N] [table=N] [tos=N] [pid=N]",
    "route forget dst=PREFIX [dev=NAME] [metric=N] [table=N] [tos=N] [pid=N]",
    "register eid=NAME [period=N] [portal=PORTAL [esi=PORT] [interval=N] [scope=N]] [in=SERVICE] [pid=N]",
    "portal add eid=NAME portal=PORTAL [esi=PORT] [interval=N] [scope=N] [in=SERVICE] [pid=N]",
    "portal remove eid=NAME portal=PORTAL [in=SERVICE] [pid=N]",
    "deregister eid=NAME [in=SERVICE] [pid=N]",
    "refresh eid=NAME [in=SERVICE] [pid=N]",
    "probe eid=NAME [in=SERVICE] [pid=N]",
    "probe all [in=SERVICE] [pid=N]",
    "threshold count=N [in=SERVICE] [pid=N]",
    "policy [patience=TIME] [coverage=every|any] [jitter=never|load|always] [removal=at-once|N] [window=N] [in=SERVICE] [pid=N]",
    "where PORTAL is 192.0.2.1:3260/tcp or [2001:db8::1]:860/udp, PORT is 3260/tcp or 860/udp; without esi= it is not asked",
    "where period and interval are seconds, and in= is needed where there are several services in the namespace",
    "where a service over sockets is in the namespace it was made in, and one that asks by other means in the first",
    "where PREFIX is 10.1.2.0/24 or 2001:db8::/32, the length may be left out for one address",
    "where TIME is a number of s, or of what it ends with: ms, s, min, h; at most a year, as patience 1ms to 1h",
    "where count is 1 to 10, and window 1 to 16384",
    "where pid=N means the namespace of that process instead of the one you are in",
];

/// A command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Command<'a> {
    /// Delete that route after a time, whatever was said of it before.
    RouteAdd { route: Named<'a>, timeout: Delta },
    /// Let that route live.
    RouteForget { route: Named<'a> },
    /// Something about liveness, in the service of that name or the only one there is: of the namespace
    /// of a process, if not of this one.
    Liveness {
        service: Option<&'a str>,
        pid: Option<u32>,
        what: Liveness<'a>,
    },
}

/// A route as an operator names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Named<'a> {
    /// Without the device, which has a name only.
    pub(crate) wanted: Wanted,
    pub(crate) dev: Option<&'a str>,
    /// A process in the route's namespace, if not this one.
    pub(crate) pid: Option<u32>,
}

/// Which kind of mistake it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wrong {
    /// It is no command: `EINVAL`.
    Form,
    /// A number is beyond its limits: `ERANGE`.
    Range,
}

/// Why a line was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Refused<'a> {
    pub(crate) wrong: Wrong,
    /// The word it is about; empty if there is none.
    pub(crate) word: &'a str,
    pub(crate) why: &'static str,
}

const fn form<'a>(word: &'a str, why: &'static str) -> Refused<'a> {
    Refused {
        wrong: Wrong::Form,
        word,
        why,
    }
}

const fn range<'a>(word: &'a str, why: &'static str) -> Refused<'a> {
    Refused {
        wrong: Wrong::Range,
        word,
        why,
    }
}

impl<'a> Command<'a> {
    /// Understands `line`; none if there is nothing in it but blanks and a comment.
    pub(crate) fn parse(line: &'a [u8]) -> Result<Option<Self>, Refused<'a>> {
        if line.len() > LINE_MAX {
            return Err(form("", "the line is longer than 511 bytes"));
        }
        let line =
            core::str::from_utf8(line).map_err(|_| form("", "the line is not plain text"))?;
        let mut words = line.split_ascii_whitespace();
        let verb = match words.next() {
            None => return Ok(None),
            Some(word) if word.starts_with('#') => return Ok(None),
            Some(word) => word,
        };
        match verb {
            "route" => route(words).map(Some),
            "register" | "portal" | "deregister" | "refresh" | "probe" | "threshold" | "policy" => {
                liveness::parse(verb, words).map(Some)
            }
            _ => Err(form(verb, "is no command")),
        }
    }
}

fn route(mut words: SplitAsciiWhitespace<'_>) -> Result<Command<'_>, Refused<'_>> {
    match words.next() {
        Some("add") => {
            let mut args = RouteArgs::read(words, true)?;
            let timeout = args.timeout.take();
            Ok(Command::RouteAdd {
                route: args.named()?,
                timeout: timeout.ok_or(form("", "timeout= is missing"))?,
            })
        }
        Some("forget") => Ok(Command::RouteForget {
            route: RouteArgs::read(words, false)?.named()?,
        }),
        Some(word) => Err(form(word, "is nothing that can be done with a route")),
        None => Err(form("route", "needs add or forget behind it")),
    }
}

#[derive(Default)]
struct RouteArgs<'a> {
    dst: Option<Prefix>,
    dev: Option<&'a str>,
    metric: Option<u32>,
    table: Option<u32>,
    tos: Option<u8>,
    pid: Option<u32>,
    timeout: Option<Delta>,
}

impl<'a> RouteArgs<'a> {
    fn read(words: SplitAsciiWhitespace<'a>, timed: bool) -> Result<Self, Refused<'a>> {
        let mut args = Self::default();
        for word in words {
            let (key, value) = word.split_once('=').ok_or(form(word, "is not key=value"))?;
            match key {
                "dst" => once(word, &mut args.dst, prefix(word, value)?)?,
                "dev" => once(word, &mut args.dev, device(word, value)?)?,
                "metric" => once(word, &mut args.metric, small(word, value)?)?,
                "table" => once(word, &mut args.table, small(word, value)?)?,
                "tos" => once(word, &mut args.tos, small(word, value)?)?,
                "pid" => once(word, &mut args.pid, small(word, value)?)?,
                "timeout" if timed => once(word, &mut args.timeout, time(word, value)?)?,
                _ => return Err(form(word, "has a key this command does not know")),
            }
        }
        Ok(args)
    }

    fn named(self) -> Result<Named<'a>, Refused<'a>> {
        Ok(Named {
            wanted: Wanted {
                prefix: self.dst.ok_or(form("", "dst= is missing"))?,
                table: self.table.unwrap_or(super::rtnl::uapi::RT_TABLE_MAIN),
                tos: self.tos.unwrap_or(0),
                priority: self.metric,
                oif: None,
            },
            dev: self.dev,
            pid: self.pid,
        })
    }
}

fn once<'a, T>(word: &'a str, slot: &mut Option<T>, value: T) -> Result<(), Refused<'a>> {
    if slot.is_some() {
        return Err(form(word, "comes twice"));
    }
    *slot = Some(value);
    Ok(())
}

fn prefix<'a>(word: &'a str, value: &'a str) -> Result<Prefix, Refused<'a>> {
    let (address, len) = match value.split_once('/') {
        Some((address, len)) => (address, Some(len)),
        None => (value, None),
    };
    let address = match address.parse() {
        Ok(IpAddr::V4(address)) => Address::from(address),
        Ok(IpAddr::V6(address)) => Address::from(address),
        Err(_) => return Err(form(word, "is no address of IPv4 or IPv6")),
    };
    let len = match len {
        Some(len) => small(word, len)?,
        None => address.family().bits(),
    };
    let prefix = Prefix::new(address, len).ok_or(range(word, "has a length beyond the address"))?;
    if prefix.has_host_bits() {
        return Err(form(word, "has bits set beyond its length"));
    }
    Ok(prefix)
}

/// As the kernel's `dev_valid_name`, of what can be shown: nothing else is a name here.
fn device<'a>(word: &'a str, value: &'a str) -> Result<&'a str, Refused<'a>> {
    let sound = (1..16).contains(&value.len())
        && value != "."
        && value != ".."
        && value.bytes().all(|byte| byte.is_ascii_graphic())
        && !value.contains(['/', ':']);
    if sound {
        Ok(value)
    } else {
        Err(form(word, "is no name of a device"))
    }
}

/// A number that fits into `T`.
fn small<'a, T: TryFrom<u64>>(word: &'a str, value: &str) -> Result<T, Refused<'a>> {
    let wide = digits(word, value)?;
    T::try_from(wide).map_err(|_| range(word, "is too large"))
}

fn digits<'a>(word: &'a str, value: &str) -> Result<u64, Refused<'a>> {
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(form(word, "is no number"));
    }
    // All digits: what cannot be parsed is too long.
    value.parse().map_err(|_| range(word, "is too large"))
}

const YEAR_NS: u64 = 366 * 86_400 * 1_000_000_000;

fn time<'a>(word: &'a str, value: &str) -> Result<Delta, Refused<'a>> {
    let end = value
        .bytes()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(value.len());
    let (count, unit) = value.split_at_checked(end).unwrap_or((value, ""));
    let unit_ns: u64 = match unit {
        "ms" => 1_000_000,
        "" | "s" => 1_000_000_000,
        "min" => 60 * 1_000_000_000,
        "h" => 3_600 * 1_000_000_000,
        _ => return Err(form(word, "has a unit other than ms, s, min, h")),
    };
    let ns = digits(word, count)?.saturating_mul(unit_ns);
    match i64::try_from(ns) {
        Ok(signed) if ns <= YEAR_NS => Ok(Delta::from_nanos(signed)),
        _ => Err(range(word, "is longer than a year")),
    }
}
