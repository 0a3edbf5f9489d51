// SPDX-License-Identifier: GPL-2.0

//! What rtnetlink says of routes. Faults: a length that is believed, a message half believed, two
//! routes taken for one, a request the kernel would read otherwise.

use crate::policy::rtnl::{
    uapi, Address, Family, Heard, Hop, Messages, Prefix, Request, RouteKey, Wanted,
};
use std::net::{Ipv4Addr, Ipv6Addr};

/// A stream of numbers that is the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: u64) -> u64 {
        self.roll() % n
    }
}

fn attr(kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend((payload.len() as u16 + 4).to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(payload);
    out.resize(out.len().div_ceil(4) * 4, 0);
    out
}

fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend((body.len() as u32 + 16).to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(flags.to_ne_bytes());
    out.extend(7u32.to_ne_bytes());
    out.extend(9u32.to_ne_bytes());
    out.extend(body);
    out
}

/// `struct rtmsg`: family, lengths of dst and src, tos, table, protocol, scope, type, flags.
fn rtmsg(family: u8, dst_len: u8, flags: u32) -> Vec<u8> {
    let mut out = vec![family, dst_len, 0, 0, 254, 3, 253, 1];
    out.extend(flags.to_ne_bytes());
    out
}

fn hop(oif: u32, flags: u8, gateway: Option<&[u8]>) -> Vec<u8> {
    let attrs = gateway
        .map(|g| attr(uapi::RTA_GATEWAY, g))
        .unwrap_or_default();
    let mut out = Vec::new();
    out.extend((attrs.len() as u16 + 8).to_ne_bytes());
    out.extend([flags, 0]);
    out.extend(oif.to_ne_bytes());
    out.extend(attrs);
    out
}

fn v4(text: &str) -> Address {
    Address::from(text.parse::<Ipv4Addr>().unwrap())
}

fn v6(text: &str) -> Address {
    Address::from(text.parse::<Ipv6Addr>().unwrap())
}

fn key4() -> RouteKey {
    RouteKey {
        table: 254,
        prefix: Prefix::new(v4("10.1.2.0"), 24).unwrap(),
        tos: 0,
        priority: 55,
        hop: Hop::Device {
            oif: 3,
            gateway: None,
        },
        prefsrc: 0,
        kind: 1,
        protocol: 3,
        scope: 253,
    }
}

fn body4() -> Vec<u8> {
    [
        rtmsg(2, 24, 0),
        attr(uapi::RTA_TABLE, &254u32.to_ne_bytes()),
        attr(uapi::RTA_DST, &[10, 1, 2, 0]),
        attr(uapi::RTA_PRIORITY, &55u32.to_ne_bytes()),
        attr(8, &attr(2, &1400u32.to_ne_bytes())),
        attr(uapi::RTA_OIF, &3u32.to_ne_bytes()),
    ]
    .concat()
}

/// What is heard in `bytes`: the routes that are there, those that are gone, and how many messages
/// were no messages.
#[derive(Debug, Default, PartialEq)]
struct Told {
    there: Vec<(RouteKey, bool)>,
    gone: Vec<RouteKey>,
    links: Vec<u32>,
    answers: Vec<i32>,
    other: usize,
    malformed: usize,
}

fn told(bytes: &[u8]) -> Told {
    let mut told = Told::default();
    for heard in Messages::new(bytes) {
        match heard.map(|(heard, _)| heard) {
            Ok(Heard::There { route, replaces }) => {
                told.there
                    .extend(route.keys().map(|key| (key.unwrap(), replaces)));
            }
            Ok(Heard::Gone(route)) => told.gone.extend(route.keys().map(Result::unwrap)),
            Ok(Heard::Link { index }) => told.links.push(index),
            Ok(Heard::Answer(code)) => told.answers.push(code),
            Ok(Heard::AddressGone | Heard::ObjectGone | Heard::Other) => told.other += 1,
            Err(_) => told.malformed += 1,
        }
    }
    told
}

fn one(body: &[u8]) -> RouteKey {
    let told = told(&message(uapi::RTM_DELROUTE, 0, body));
    assert_eq!(told.malformed, 0);
    assert_eq!(told.gone.len(), 1, "{told:?}");
    told.gone[0]
}

#[test]
fn a_route_of_each_shape_is_read() {
    assert_eq!(one(&body4()), key4());
    let default = one(&[rtmsg(2, 0, 0), attr(uapi::RTA_OIF, &3u32.to_ne_bytes())].concat());
    assert_eq!(default.prefix, Prefix::new(v4("0.0.0.0"), 0).unwrap());
    assert_eq!((default.table, default.priority), (254, 0));
    let mut via = vec![10, 0];
    via.extend(v6("fe80::1").bytes());
    let via = one(&[body4(), attr(uapi::RTA_VIA, &via)].concat());
    assert_eq!(
        via.hop,
        Hop::Device {
            oif: 3,
            gateway: Some(v6("fe80::1"))
        }
    );
    let from = one(&[body4(), attr(uapi::RTA_PREFSRC, &[1, 2, 3, 4])].concat());
    assert_eq!(from.prefsrc.to_ne_bytes(), [1, 2, 3, 4]);
    let object = one(&[body4(), attr(uapi::RTA_NH_ID, &9u32.to_ne_bytes())].concat());
    assert_eq!((object.hop, object.kind), (Hop::Object(9), 0));
}

#[test]
fn hops_of_ipv6_are_routes_and_those_of_ipv4_a_digest() {
    let two = |flags: u8, second: u32| {
        let (a, b) = (v6("fe80::1"), v6("fe80::2"));
        let hops = [
            hop(3, flags, Some(a.bytes())),
            hop(second, 0, Some(b.bytes())),
        ]
        .concat();
        [
            rtmsg(10, 48, 0),
            attr(uapi::RTA_DST, v6("2001:db8:3::").bytes()),
            attr(uapi::RTA_MULTIPATH, &hops),
        ]
        .concat()
    };
    let told6 = told(&message(
        uapi::RTM_NEWROUTE,
        uapi::NLM_F_REPLACE,
        &two(0, 4),
    ));
    let hops: Vec<_> = told6.there.iter().map(|(key, _)| key.hop).collect();
    let device = |oif, gateway: &str| Hop::Device {
        oif,
        gateway: Some(v6(gateway)),
    };
    assert_eq!(hops, [device(3, "fe80::1"), device(4, "fe80::2")]);
    assert!(told6.there.iter().all(|(_, replaces)| *replaces));

    let four = |flags: u8, second: u32| {
        let hops = [hop(3, flags, Some(&[1, 1, 1, 1])), hop(second, 0, None)].concat();
        one(&[body4(), attr(uapi::RTA_MULTIPATH, &hops)].concat())
    };
    assert!(matches!(four(0, 4).hop, Hop::Many(_)));
    assert_eq!(
        four(0, 4),
        four(0x11, 4),
        "how a hop fares is not which it is"
    );
    assert_ne!(four(0, 4), four(0, 5));
}

#[test]
fn what_is_no_route_of_ours_is_none() {
    for body in [
        rtmsg(28, 0, 0),
        rtmsg(2, 24, uapi::RTM_F_CLONED),
        [vec![10, 0, 64], vec![0; 9]].concat(),
    ] {
        let told = told(&message(uapi::RTM_DELROUTE, 0, &body));
        assert_eq!((told.gone.len(), told.malformed), (0, 0));
    }
    let news = [
        message(uapi::RTM_DELLINK, 0, &[0, 0, 0, 0, 5, 0, 0, 0]),
        message(uapi::RTM_DELADDR, 0, &[2]),
        message(uapi::RTM_DELNEXTHOP, 0, &[]),
        message(uapi::NLMSG_DONE, 0, &(-28i32).to_ne_bytes()),
        message(uapi::NLMSG_ERROR, 0, &(-3i32).to_ne_bytes()),
    ];
    // The first four end at a multiple of four or are padded to it.
    let padded: Vec<u8> = news
        .iter()
        .flat_map(|m| {
            let mut m = m.clone();
            m.resize(m.len().div_ceil(4) * 4, 0);
            m
        })
        .collect();
    let told = told(&padded);
    assert_eq!(
        (told.links, told.answers, told.other),
        (vec![5], vec![-28, -3], 2)
    );
}

#[test]
fn a_message_cut_anywhere_is_refused_or_says_less_but_never_else() {
    let whole = message(uapi::RTM_DELROUTE, 0, &body4());
    for cut in 0..whole.len() {
        // The header still says the old length: never believed.
        let told = told(&whole[..cut]);
        assert_eq!(told.gone.len(), 0, "cut at {cut}");
        assert_eq!(told.malformed, usize::from(cut > 0), "cut at {cut}");
    }
    let body = body4();
    for cut in 0..body.len() {
        // The header says the new length: sound only where an attribute ends.
        let told = told(&message(uapi::RTM_DELROUTE, 0, &body[..cut]));
        let sound = [12, 20, 28, 36, 48].contains(&cut);
        assert_eq!(told.malformed, usize::from(!sound), "cut at {cut}");
    }
}

#[test]
fn what_answers_another_request_is_left_out() {
    let mut ours = message(uapi::RTM_DELROUTE, 0, &body4());
    ours[8..12].copy_from_slice(&8u32.to_ne_bytes());
    let other = message(uapi::RTM_NEWLINK, 0, &[0; 16]);
    let all = [other.clone(), ours.clone(), other.clone(), vec![1; 9]].concat();
    let mut answers = Messages::answering(8, &all);
    assert!(matches!(answers.next(), Some(Ok((Heard::Gone(_), whole))) if whole == ours));
    assert!(matches!(answers.next(), Some(Err(_))), "what is malformed");
    assert!(answers.next().is_none());
    assert!(Messages::answering(8, &other).next().is_none());
    assert_eq!(Messages::new(&all).filter(|heard| heard.is_ok()).count(), 3);
}

#[test]
fn a_bad_payload_refuses_the_whole_message() {
    let bad = [
        attr(uapi::RTA_DST, &[10, 1, 2]),
        attr(uapi::RTA_DST, v6("::1").bytes()),
        attr(uapi::RTA_TABLE, &[1, 2]),
        attr(uapi::RTA_OIF, &[]),
        attr(uapi::RTA_GATEWAY, &[1]),
        attr(uapi::RTA_NH_ID, &[1]),
        attr(uapi::RTA_VIA, &[10]),
        attr(uapi::RTA_VIA, &[10, 0, 1, 2, 3, 4]),
        attr(uapi::RTA_MULTIPATH, &[7, 0, 0, 0, 1, 0, 0, 0]),
        attr(uapi::RTA_MULTIPATH, &[0, 0, 0, 0, 1, 0, 0, 0]),
        attr(uapi::RTA_MULTIPATH, &[12, 0, 0, 0, 1, 0, 0, 0]),
    ];
    for extra in bad {
        let told = told(&message(
            uapi::RTM_DELROUTE,
            0,
            &[body4(), extra.clone()].concat(),
        ));
        assert_eq!((told.malformed, told.gone.len()), (1, 0), "{extra:?}");
    }
    let told = told(&message(uapi::RTM_DELROUTE, 0, &rtmsg(2, 33, 0)));
    assert_eq!(told.malformed, 1, "33 bits");
}

#[test]
fn noise_is_never_more_than_noise() {
    let mut dice = Dice(0x5eed);
    let seeds = [
        message(uapi::RTM_DELROUTE, 0, &body4()),
        message(
            uapi::RTM_NEWROUTE,
            0,
            &[
                rtmsg(10, 48, 0),
                attr(
                    uapi::RTA_MULTIPATH,
                    &[hop(3, 0, Some(v6("fe80::1").bytes())), hop(4, 0, None)].concat(),
                ),
            ]
            .concat(),
        ),
    ];
    for round in 0..200_000u64 {
        let mut bytes = if round % 3 == 0 {
            (0..dice.below(120)).map(|_| dice.roll() as u8).collect()
        } else {
            seeds[round as usize % 2].clone()
        };
        for _ in 0..dice.below(6) {
            if bytes.is_empty() {
                break;
            }
            let at = dice.below(bytes.len() as u64) as usize;
            bytes[at] = match dice.below(3) {
                0 => 0,
                1 => 0xff,
                _ => dice.roll() as u8,
            };
        }
        if dice.below(4) == 0 {
            bytes.truncate(dice.below(bytes.len() as u64 + 1) as usize);
        }
        // It ends, nothing panics, and every key it yields can be asked for.
        let told = told(&bytes);
        for key in told.gone {
            assert!(Request::delete(&key, 1).bytes().len() <= 160);
            assert!(key.prefix.len() <= key.family().bits());
        }
    }
}

/// The attributes of a request, in order.
fn attrs(request: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut out = Vec::new();
    let mut at = 28;
    while at < request.len() {
        let len = u16::from_ne_bytes([request[at], request[at + 1]]) as usize;
        let kind = u16::from_ne_bytes([request[at + 2], request[at + 3]]);
        out.push((kind, request[at + 4..at + len].to_vec()));
        at += len.div_ceil(4) * 4;
    }
    out
}

#[test]
fn a_deletion_names_all_of_the_route() {
    let request = Request::delete(&key4(), 77);
    let bytes = request.bytes();
    assert_eq!(bytes[..4], (bytes.len() as u32).to_ne_bytes());
    assert_eq!(bytes[4..8], [25, 0, 0xd, 0], "delete: request, ack, echo");
    assert_eq!(bytes[8..12], 77u32.to_ne_bytes());
    assert_eq!(bytes[16..28], [2, 24, 0, 0, 254, 3, 253, 1, 0, 0, 0, 0]);
    assert_eq!(
        attrs(bytes),
        [
            (uapi::RTA_TABLE, 254u32.to_ne_bytes().to_vec()),
            (uapi::RTA_DST, vec![10, 1, 2, 0]),
            (uapi::RTA_PRIORITY, 55u32.to_ne_bytes().to_vec()),
            (uapi::RTA_OIF, 3u32.to_ne_bytes().to_vec()),
        ]
    );
    let far = RouteKey {
        table: 1000,
        ..key4()
    };
    assert_eq!(Request::delete(&far, 1).bytes()[20], 252, "RT_TABLE_COMPAT");
}

/// What the kernel would send of a route that it was asked to delete.
#[test]
fn what_is_asked_is_what_is_heard() {
    let mut dice = Dice(0xdee);
    for _ in 0..20_000 {
        let family = Family::ALL[dice.below(2) as usize];
        let random: Vec<u8> = (0..16).map(|_| dice.roll() as u8).collect();
        let address = |dice: &mut Dice| {
            let bytes: Vec<u8> = (0..family.octets()).map(|_| dice.roll() as u8).collect();
            Address::new(family, &bytes).unwrap()
        };
        let strange = Address::new(Family::V6, &random).unwrap();
        let hop = match dice.below(4) {
            0 => Hop::Object(dice.roll() as u32),
            1 => Hop::Device {
                oif: 5,
                gateway: Some(address(&mut dice)),
            },
            2 if family == Family::V4 => Hop::Device {
                oif: 5,
                gateway: Some(strange),
            },
            _ => Hop::Device {
                oif: dice.roll() as u32,
                gateway: None,
            },
        };
        // Even a prefix of no bits has no address then.
        let len = 1 + dice.below(u64::from(family.bits())) as u8;
        let key = RouteKey {
            table: dice.roll() as u32,
            prefix: Prefix::new(address(&mut dice), len).unwrap(),
            tos: dice.roll() as u8,
            priority: dice.roll() as u32,
            hop,
            prefsrc: if family == Family::V4 {
                dice.roll() as u32
            } else {
                0
            },
            kind: if matches!(hop, Hop::Object(_)) { 0 } else { 1 },
            protocol: dice.roll() as u8,
            scope: dice.roll() as u8,
        };
        let asked = Request::delete(&key, 1);
        assert_eq!(told(asked.bytes()).gone, [key]);
    }
}

#[test]
fn a_route_put_back_is_the_one_that_went() {
    let mut news = message(uapi::RTM_DELROUTE, 0, &body4());
    news[24..28].copy_from_slice(&0x15u32.to_ne_bytes());
    Request::restore(&mut news, 5);
    assert_eq!(told(&news).there, [(key4(), false)]);
    assert_eq!(
        news[4..12],
        [24, 0, 5, 0xc, 5, 0, 0, 0],
        "new: request, ack, create, append"
    );
    assert_eq!(
        news[24..28],
        4u32.to_ne_bytes(),
        "only what may be asked for"
    );
    for len in [10, 27, 28, 30] {
        Request::restore(&mut vec![0; len], 5);
    }
}

#[test]
fn a_route_put_back_leads_where_its_object_says() {
    let object = attr(uapi::RTA_NH_ID, &7u32.to_ne_bytes());
    let led = [
        attr(uapi::RTA_ENCAP_TYPE, &[1, 0]),
        attr(uapi::RTA_ENCAP, &[1; 5]),
        attr(uapi::RTA_MULTIPATH, &hop(3, 0, None)),
    ]
    .concat();
    let body = [body4(), led, object.clone()].concat();
    let mut news = message(uapi::RTM_DELROUTE, 0, &body);
    let heard = told(&news).gone;
    Request::restore(&mut news, 5);
    assert_eq!(told(&news).there.len(), 1);
    assert_eq!(told(&news).there[0].0, heard[0]);
    let kinds: Vec<u16> = attrs(&news).iter().map(|(kind, _)| *kind).collect();
    for kind in [uapi::RTA_OIF, uapi::RTA_MULTIPATH, uapi::RTA_ENCAP] {
        assert!(!kinds.contains(&kind), "{kind}");
    }
    assert!(kinds.contains(&uapi::RTA_DST) && kinds.contains(&uapi::RTA_PRIORITY));
    assert!(attrs(&news).contains(&(uapi::RTA_NH_ID, object[4..].to_vec())));
}

#[test]
fn a_listing_and_a_question_are_requests() {
    let list = Request::list(Family::V6, 3);
    assert_eq!(list.bytes()[4..8], [26, 0, 1, 3]);
    assert_eq!(list.bytes()[16], 10);
    assert_eq!(list.bytes().len(), 28);
    let wanted = Wanted {
        prefix: key4().prefix,
        table: 254,
        tos: 8,
        priority: None,
        oif: Some(3),
    };
    let question = Request::look_up(&wanted, 3);
    assert_eq!(question.bytes()[16..20], [2, 32, 0, 8]);
    assert_eq!(question.bytes()[24..28], 0x3000u32.to_ne_bytes());
    assert_eq!(
        attrs(question.bytes()),
        [
            (uapi::RTA_DST, vec![10, 1, 2, 0]),
            (uapi::RTA_OIF, 3u32.to_ne_bytes().to_vec()),
        ]
    );
}

#[test]
fn a_wanted_route_is_told_from_its_neighbours() {
    let all = Wanted {
        prefix: key4().prefix,
        table: 254,
        tos: 0,
        priority: None,
        oif: None,
    };
    assert!(all.fits(&key4()));
    for other in [
        RouteKey {
            table: 255,
            ..key4()
        },
        RouteKey { tos: 4, ..key4() },
        RouteKey {
            prefix: Prefix::new(v4("10.1.2.0"), 25).unwrap(),
            ..key4()
        },
    ] {
        assert!(!all.fits(&other));
    }
    assert!(!Wanted {
        priority: Some(54),
        ..all
    }
    .fits(&key4()));
    assert!(Wanted {
        oif: Some(3),
        ..all
    }
    .fits(&key4()));
    assert!(!Wanted {
        oif: Some(4),
        ..all
    }
    .fits(&key4()));
    let object = RouteKey {
        hop: Hop::Object(3),
        ..key4()
    };
    assert!(!Wanted {
        oif: Some(3),
        ..all
    }
    .fits(&object));
}

#[test]
fn those_that_compete_stand_together_in_order() {
    let mut keys = Vec::new();
    for priority in [0, 1, 55] {
        for oif in [0, 3, u32::MAX] {
            for kind in [0, 1, 6] {
                keys.push(RouteKey {
                    priority,
                    kind,
                    hop: Hop::Device { oif, gateway: None },
                    ..key4()
                });
            }
            keys.push(RouteKey {
                priority,
                hop: Hop::Object(oif),
                ..key4()
            });
        }
    }
    for a in &keys {
        for b in &keys {
            assert_eq!(a.competes_with(b), a.priority == b.priority);
            if a.competes_with(b) {
                assert!(a.first_of_seat() <= *b);
                assert!(RouteKey::FIRST <= *b);
            } else if b < a {
                assert!(*b < a.first_of_seat());
            }
        }
    }
}

#[test]
fn bits_beyond_a_prefix_are_seen() {
    for len in 0..=32u8 {
        for bit in 0..32u32 {
            let address = Address::from(Ipv4Addr::from(0x8000_0000u32 >> bit));
            let prefix = Prefix::new(address, len).unwrap();
            assert_eq!(prefix.has_host_bits(), bit >= u32::from(len), "{prefix}");
        }
    }
    assert_eq!(Prefix::new(v4("1.2.3.4"), 33), None);
    assert_eq!(Prefix::new(v6("::1"), 129), None);
    assert_eq!(
        Prefix::new(v6("2001:db8::"), 32).unwrap().to_string(),
        "2001:db8::/32"
    );
    assert_eq!(key4().prefix.to_string(), "10.1.2.0/24");
}
