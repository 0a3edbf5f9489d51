// SPDX-License-Identifier: GPL-2.0

//! Commands about liveness.

#![forbid(unsafe_code)]

use super::{form, once, range, small, time, Command, Refused, Wrong};
use crate::policy::{
    deadline::Delta,
    esi::{jitter::Jitter, pace::Window, Coverage, Removal, Threshold},
};
use core::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::SplitAsciiWhitespace, //
};

/// What is to be done. Names are checked by whoever knows what is registered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Liveness<'a> {
    Register {
        eid: &'a str,
        period_s: u32,
        portal: Option<Watch>,
    },
    AddPortal {
        eid: &'a str,
        portal: Watch,
    },
    RemovePortal {
        eid: &'a str,
        portal: At,
    },
    Deregister {
        eid: &'a str,
    },
    Refresh {
        eid: &'a str,
    },
    Probe {
        eid: &'a str,
    },
    ProbeAll,
    Change(Change),
}

/// A portal's key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct At {
    pub(crate) ip: IpAddr,
    pub(crate) port: u16,
    pub(crate) udp: bool,
}

/// A portal, and how it wants to be asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Watch {
    pub(crate) at: At,
    /// In wire form; 0: not at all.
    pub(crate) esi: u32,
    pub(crate) interval_s: u32,
    pub(crate) scope: u32,
}

/// What is to be different.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Change {
    pub(crate) threshold: Option<u32>,
    pub(crate) patience: Option<Delta>,
    pub(crate) coverage: Option<Coverage>,
    pub(crate) jitter: Option<Jitter>,
    pub(crate) removal: Option<Removal>,
    pub(crate) window: Option<u32>,
}

/// Understands what follows `verb`.
pub(super) fn parse<'a>(
    verb: &'a str,
    mut words: SplitAsciiWhitespace<'a>,
) -> Result<Command<'a>, Refused<'a>> {
    let (keys, second): (&[&str], _) = match verb {
        "register" => (&["eid", "period", "portal", "esi", "interval", "scope"], ""),
        "deregister" | "refresh" => (&["eid"], ""),
        "threshold" => (&["count"], ""),
        "policy" => (&["patience", "coverage", "jitter", "removal", "window"], ""),
        "portal" => match words.next() {
            Some("add") => (&["eid", "portal", "esi", "interval", "scope"], "add"),
            Some("remove") => (&["eid", "portal"], "remove"),
            Some(word) => return Err(form(word, "is nothing that can be done with a portal")),
            None => return Err(form("portal", "needs add or remove behind it")),
        },
        _ => match words.clone().next() {
            Some("all") => {
                words.next();
                (&[], "all")
            }
            _ => (&["eid"], ""),
        },
    };
    let args = Args::read(words, keys)?;
    let (service, pid) = (args.service, args.pid);
    let what = match (verb, second) {
        ("register", _) => Liveness::Register {
            eid: args.eid()?,
            period_s: args.period.unwrap_or(0),
            portal: args.watch_if_any()?,
        },
        ("portal", "add") => Liveness::AddPortal {
            eid: args.eid()?,
            portal: args.watch()?,
        },
        ("portal", _) => Liveness::RemovePortal {
            eid: args.eid()?,
            portal: args.watch()?.at,
        },
        ("deregister", _) => Liveness::Deregister { eid: args.eid()? },
        ("refresh", _) => Liveness::Refresh { eid: args.eid()? },
        ("probe", "all") => Liveness::ProbeAll,
        ("probe", _) => Liveness::Probe { eid: args.eid()? },
        ("threshold", _) if args.change.threshold.is_none() => {
            return Err(form("", "count= is missing"))
        }
        _ if args.change == Change::default() => {
            return Err(form("", "there is nothing to change"))
        }
        _ => Liveness::Change(args.change),
    };
    Ok(Command::Liveness { service, pid, what })
}

#[derive(Default)]
struct Args<'a> {
    eid: Option<&'a str>,
    service: Option<&'a str>,
    pid: Option<u32>,
    period: Option<u32>,
    portal: Option<At>,
    esi: Option<u32>,
    interval: Option<u32>,
    scope: Option<u32>,
    change: Change,
}

impl<'a> Args<'a> {
    fn read(words: SplitAsciiWhitespace<'a>, keys: &[&str]) -> Result<Self, Refused<'a>> {
        let mut args = Self::default();
        for word in words {
            let (key, value) = word.split_once('=').ok_or(form(word, "is not key=value"))?;
            if !matches!(key, "in" | "pid") && !keys.contains(&key) {
                return Err(form(word, "has a key this command does not know"));
            }
            args.take(word, key, value)?;
        }
        Ok(args)
    }

    fn take(&mut self, word: &'a str, key: &str, value: &'a str) -> Result<(), Refused<'a>> {
        let change = &mut self.change;
        match key {
            "eid" => once(word, &mut self.eid, value),
            "in" => once(word, &mut self.service, value),
            "pid" => once(word, &mut self.pid, small(word, value)?),
            "period" => once(word, &mut self.period, small(word, value)?),
            "portal" => once(word, &mut self.portal, portal(word, value)?),
            "esi" => once(word, &mut self.esi, port(word, value)?),
            "interval" => once(word, &mut self.interval, small(word, value)?),
            "scope" => once(word, &mut self.scope, small(word, value)?),
            "count" => {
                let most = u32::from(Threshold::MAX.get());
                once(word, &mut change.threshold, within(word, value, most)?)
            }
            "patience" => once(word, &mut change.patience, patience(word, value)?),
            "coverage" => once(word, &mut change.coverage, coverage(word, value)?),
            "jitter" => once(word, &mut change.jitter, jitter(word, value)?),
            "removal" => once(word, &mut change.removal, removal(word, value)?),
            _ => {
                let most = u32::from(Window::MAX);
                once(word, &mut change.window, within(word, value, most)?)
            }
        }
    }

    fn eid(&self) -> Result<&'a str, Refused<'a>> {
        self.eid.ok_or(form("", "eid= is missing"))
    }

    fn watch(&self) -> Result<Watch, Refused<'a>> {
        Ok(Watch {
            at: self.portal.ok_or(form("", "portal= is missing"))?,
            esi: self.esi.unwrap_or(0),
            interval_s: self.interval.unwrap_or(0),
            scope: self.scope.unwrap_or(0),
        })
    }

    fn watch_if_any(&self) -> Result<Option<Watch>, Refused<'a>> {
        let none = (self.portal, self.esi, self.interval, self.scope) == (None, None, None, None);
        if none {
            Ok(None)
        } else {
            self.watch().map(Some)
        }
    }
}

/// A number from 1 to `most`.
fn within<'a>(word: &'a str, value: &str, most: u32) -> Result<u32, Refused<'a>> {
    let number: u32 = small(word, value)?;
    if (1..=most).contains(&number) {
        Ok(number)
    } else {
        Err(range(word, "is not within its limits"))
    }
}

const BAD_PROTOCOL: &str = "has no protocol at its end: /tcp or /udp";

fn protocol<'a, 'v>(word: &'a str, value: &'v str) -> Result<(&'v str, bool), Refused<'a>> {
    match value.split_once('/') {
        Some((rest, "tcp")) => Ok((rest, false)),
        Some((rest, "udp")) => Ok((rest, true)),
        _ => Err(form(word, BAD_PROTOCOL)),
    }
}

fn patience<'a>(word: &'a str, value: &str) -> Result<Delta, Refused<'a>> {
    let patience = time(word, value)?;
    if patience < Delta::from_millis(1) || patience > Delta::from_secs(3_600) {
        return Err(range(word, "is not from 1ms to 1h"));
    }
    Ok(patience)
}

fn portal<'a>(word: &'a str, value: &str) -> Result<At, Refused<'a>> {
    let (address, udp) = protocol(word, value)?;
    let at: SocketAddr = address.parse().map_err(|_| no_portal(word, address))?;
    if matches!(at, SocketAddr::V6(v6) if v6.scope_id() != 0) {
        return Err(form(word, "names its interface: say scope="));
    }
    Ok(At {
        ip: at.ip(),
        port: at.port(),
        udp,
    })
}

/// What is wrong with an address and a port: they are, or only the port is too large, as elsewhere.
fn no_portal<'a>(word: &'a str, value: &str) -> Refused<'a> {
    let mistake = form(word, "is no address and port");
    let Some((address, number)) = value.rsplit_once(':') else {
        return mistake;
    };
    let v6 = address
        .strip_prefix('[')
        .and_then(|ip| ip.strip_suffix(']'));
    let is_address = match v6 {
        Some(ip) => ip.parse::<Ipv6Addr>().is_ok(),
        None => address.parse::<Ipv4Addr>().is_ok(),
    };
    match small::<u16>(word, number) {
        Err(why) if is_address && why.wrong == Wrong::Range => why,
        _ => mistake,
    }
}

/// A port in wire form.
fn port<'a>(word: &'a str, value: &str) -> Result<u32, Refused<'a>> {
    let (number, udp) = protocol(word, value)?;
    let number = u32::from(small::<u16>(word, number)?);
    match (number, udp) {
        (0, _) => Err(form(word, "has port 0; it is 1 to 65535")),
        (_, true) => Ok(number | 0x1_0000),
        (_, false) => Ok(number),
    }
}

fn coverage<'a>(word: &'a str, value: &str) -> Result<Coverage, Refused<'a>> {
    [Coverage::Every, Coverage::AnyOne]
        .into_iter()
        .find(|one| one.as_str() == value)
        .ok_or(form(word, "is neither every nor any"))
}

fn jitter<'a>(word: &'a str, value: &str) -> Result<Jitter, Refused<'a>> {
    [Jitter::Never, Jitter::AtLoad, Jitter::Always]
        .into_iter()
        .find(|one| one.as_str() == value)
        .ok_or(form(word, "is neither never, load nor always"))
}

fn removal<'a>(word: &'a str, value: &str) -> Result<Removal, Refused<'a>> {
    match value {
        "at-once" => Ok(Removal::AtOnce),
        _ => small(word, value).map(Removal::After),
    }
}
