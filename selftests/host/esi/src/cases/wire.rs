// SPDX-License-Identifier: GPL-2.0

//! What is sent, byte for byte, and what is taken for an answer.

use super::corpus::expected;
use crate::policy::pdu::{
    address::{Eid, Ip, Peer, Port, Portal, Unusable},
    header::Sender,
    inquiry::{xid_of, Inquiry, Request, Response},
    status::Status,
    Fault, MAX_REQUEST, MAX_RESPONSE,
};

fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

fn about(name: &[u8], portal: Portal) -> Inquiry<'_> {
    Inquiry {
        stamp: 0x0102_0304_0506_0708,
        eid: Eid::new(name).unwrap(),
        portal,
    }
}

fn request(xid: u16, about: Inquiry<'_>) -> Vec<u8> {
    let mut room = [0xaa; MAX_REQUEST];
    let n = Request { xid, about }.encode(&mut room).unwrap();
    room[..n].to_vec()
}

fn answer(xid: u16, about: Inquiry<'_>) -> Vec<u8> {
    let mut room = [0xaa; MAX_RESPONSE];
    let response = Response {
        xid,
        result: Ok(about),
    };
    let n = response.encode(Sender::Client, &mut room).unwrap();
    room[..n].to_vec()
}

fn verdict(bytes: &[u8], from: Peer) -> Result<(), Fault> {
    Response::parse(bytes).and_then(|response| expected().is_met_by(&response, from))
}

// The timestamp in the byte order of the host (S10), the flag of a client or the old form of an
// address (O2), a name without its zero, another order.
#[test]
fn esi_7_s10_an_inquiry_is_the_bytes_of_the_rfc() {
    let portal = expected().portal;
    assert_eq!(
        request(0xbeef, about(b"client.test.org:probe", portal)),
        hex("0001 000d 0054 4c00 beef 0000
             00000004 00000008 01020304 05060708
             00000001 00000018 636c6965 6e742e74 6573742e 6f72673a 70726f62 65000000
             00000010 00000010 00000000 00000000 0000ffff 7f000001
             00000011 00000004 0000035c")
    );
}

// A name of 4n bytes without a zero, or with none left to fill up.
#[test]
fn esi_7_names_end_with_one_to_four_zeros() {
    for len in 1..=Eid::MAX {
        let name = vec![b'x'; len];
        let bytes = request(1, about(&name, expected().portal));
        let value = usize::try_from(u32::from_be_bytes(bytes[32..36].try_into().unwrap())).unwrap();
        assert_eq!(value, len + 4 - len % 4);
        assert_eq!(&bytes[36..36 + len], &name[..]);
        assert!(bytes[36 + len..36 + value].iter().all(|&b| b == 0));
        assert_eq!(bytes.len(), 12 + 16 + 8 + value + 24 + 12);
        assert_eq!(
            bytes.len() - 12,
            usize::from(u16::from_be_bytes([bytes[4], bytes[5]]))
        );
    }
    assert_eq!(
        request(1, about(&[b'x'; 255], expected().portal)).len(),
        MAX_REQUEST
    );
    assert_eq!(
        answer(1, about(&[b'x'; 255], expected().portal)).len(),
        MAX_RESPONSE
    );
}

#[test]
fn esi_9_both_flags_are_taken() {
    let want = expected();
    for sender in [Sender::Client, Sender::Server] {
        let response = Response {
            xid: want.xid,
            result: Ok(about(want.eid.as_bytes(), want.portal)),
        };
        let mut room = [0; MAX_RESPONSE];
        let n = response.encode(sender, &mut room).unwrap();
        let flags = if sender == Sender::Client { 0x8c } else { 0x4c };
        assert_eq!(room[6..8], [flags, 0]);
        assert_eq!(verdict(&room[..n], want.peer), Ok(()));
    }
}

// An old-form address taken for IPv6 is never probed by isnsd (S9).
#[test]
fn esi_10_s9_both_forms_of_ipv4_are_ipv4() {
    let mut old = [0; 16];
    old[12..].copy_from_slice(&[127, 0, 0, 1]);
    assert_eq!(Ip::from_wire(old), Ip::v4([127, 0, 0, 1]));
    assert_eq!(Ip::from_wire(old).as_v4(), Some([127, 0, 0, 1]));
    let mut new = old;
    new[10..12].copy_from_slice(&[0xff, 0xff]);
    assert_eq!(Ip::from_wire(new), Ip::v4([127, 0, 0, 1]));
    assert_eq!(Ip::v4([127, 0, 0, 1]).bytes(), new);
    // These are IPv6.
    for (at, byte) in [(15, 0), (15, 1), (13, 1), (14, 9)] {
        let mut six = [0; 16];
        six[at] = byte;
        assert_eq!(Ip::from_wire(six).as_v4(), None);
        assert_eq!(Ip::from_wire(six).bytes(), six);
    }
    for at in 0..12 {
        let mut six = old;
        six[at] = 1;
        assert_eq!(Ip::from_wire(six).as_v4(), None, "byte {at}");
    }
}

// S9: isnsd skips IPv6 portals.
#[test]
fn esi_11_s9_an_ipv6_portal_is_asked_like_any_other() {
    let six = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
    let portal = Portal {
        ip: Ip::from_wire(six).check().unwrap(),
        port: Port::tcp(3260).unwrap(),
    };
    let bytes = request(9, about(b"six", portal));
    assert_eq!(bytes[bytes.len() - 28..bytes.len() - 12], six);
    assert_eq!(Request::parse(&bytes).unwrap().about.portal, portal);
}

// S10, O3: any datagram, from anywhere, says "alive".
#[test]
fn esi_12_s10_only_the_answer_is_an_answer() {
    let want = expected();
    let good = answer(1, about(b"client.test.org:probe", want.portal));
    assert_eq!(verdict(&good, want.peer), Ok(()));

    let mut elsewhere = want.peer;
    elsewhere.port = 976;
    assert_eq!(verdict(&good, elsewhere), Err(Fault::Source));
    elsewhere = want.peer;
    elsewhere.ip = Ip::v4([127, 0, 0, 2]);
    assert_eq!(verdict(&good, elsewhere), Err(Fault::Source));

    // Each byte matters, but for the timestamp (24..32) and the reserved flags.
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            let ignored = (24..32).contains(&at) || at == 7 || (at == 6 && bit < 2);
            assert_eq!(
                verdict(&bad, want.peer).is_ok(),
                ignored,
                "bit {bit} of byte {at}"
            );
        }
    }
}

// O2: with a new id, or another timestamp, the answer to the first attempt does not fit the second.
#[test]
fn esi_14_an_inquiry_sent_again_is_the_same_bytes() {
    let again = || request(77, about(b"entity", expected().portal));
    assert_eq!(again(), again());
    assert_eq!(again()[8..10], [0, 77]);
}

#[test]
fn esi_29_bit_16_says_udp() {
    let port = Port::monitored(0x1_03cf).unwrap().unwrap();
    assert!(port.is_udp());
    assert_eq!(port.number(), 975);
    let port = Port::monitored(0x03cf).unwrap().unwrap();
    assert!(!port.is_udp());
    assert_eq!(port.number(), 975);
    assert_eq!(Port::udp(975).unwrap().raw(), 0x1_03cf);
    assert_eq!(Port::tcp(975).unwrap().raw(), 0x03cf);
}

#[test]
fn esi_40_the_wall_clock_is_in_the_timestamp_only() {
    let mut late = about(b"entity", expected().portal);
    let early = request(1, late);
    late.stamp = u64::MAX;
    let late = request(1, late);
    assert_eq!(early[..20], late[..20]);
    assert_eq!(early[28..], late[28..]);
    assert_eq!(late[20..28], [0xff; 8]);
}

#[test]
fn ports_that_cannot_be_probed_are_refused() {
    for port in [Port::tcp, Port::udp] {
        assert_eq!(port(0), Err(Unusable::NoPort));
        assert_eq!(port(1).unwrap().number(), 1);
        assert_eq!(port(65_535).unwrap().number(), 65_535);
        for big in [65_536, 65_537, 0x1_ffff, u32::MAX] {
            assert_eq!(port(big), Err(Unusable::BigPort));
        }
    }
    assert_eq!(Port::monitored(0), Ok(None));
    assert_eq!(Port::monitored(0x1_0000), Err(Unusable::NoPort));
    assert_eq!(Port::monitored(0x1_ffff).unwrap().unwrap().number(), 65_535);
    for reserved in [0x2_0000, 0x2_0001, 0x8000_0000, u32::MAX] {
        assert_eq!(Port::monitored(reserved), Err(Unusable::ReservedBits));
        assert_eq!(Port::from_wire(reserved), Err(Unusable::ReservedBits));
    }
    // On the wire 0 is a portal's usual port.
    assert_eq!(Port::from_wire(0).unwrap().number(), 0);
}

#[test]
fn names_that_cannot_be_used_are_refused() {
    assert_eq!(Eid::new(b""), Err(Unusable::NoName));
    assert_eq!(Eid::new(&[b'a'; 255]).unwrap().as_bytes().len(), 255);
    for len in [256, 257, 4096] {
        assert_eq!(Eid::new(&vec![b'a'; len]), Err(Unusable::LongName));
    }
    for byte in 0..=255u8 {
        let printable = (b'!'..=b'~').contains(&byte);
        assert_eq!(
            Eid::new(&[b'a', byte, b'z']).is_ok(),
            printable,
            "byte {byte}"
        );
        // Wherever it is, in a name of any length.
        for len in 1..=25 {
            for place in 0..len {
                let mut name = vec![b'a'; len];
                name[place] = byte;
                assert_eq!(
                    Eid::new(&name).is_ok(),
                    printable,
                    "byte {byte} at {place} of {len}"
                );
            }
        }
    }
    assert_eq!(Eid::new(b"iqn.x").unwrap().as_str(), "iqn.x");
    // Every refusal says something of its own.
    let all = [
        Unusable::NoName,
        Unusable::LongName,
        Unusable::BadByte,
        Unusable::NoPort,
        Unusable::BigPort,
        Unusable::ReservedBits,
        Unusable::NoHost,
        Unusable::ManyHosts,
    ];
    let said: std::collections::BTreeSet<_> = all.iter().map(|why| why.what()).collect();
    assert_eq!(said.len(), all.len());
}

// An inquiry to a multicast address would be an inquiry to everybody.
#[test]
fn addresses_of_no_host_and_of_many_are_refused() {
    for (v4, want) in [
        ([0, 0, 0, 0], Err(Unusable::NoHost)),
        ([0, 0, 0, 9], Err(Unusable::NoHost)),
        ([1, 0, 0, 0], Ok(())),
        ([127, 0, 0, 1], Ok(())),
        ([223, 255, 255, 255], Ok(())),
        ([224, 0, 0, 1], Err(Unusable::ManyHosts)),
        ([239, 0, 0, 1], Err(Unusable::ManyHosts)),
        ([240, 0, 0, 1], Ok(())),
        ([255, 255, 255, 254], Ok(())),
        ([255, 255, 255, 255], Err(Unusable::ManyHosts)),
    ] {
        assert_eq!(Ip::v4(v4).check().map(drop), want, "{v4:?}");
    }
    let mut six = [0; 16];
    assert_eq!(Ip::from_wire(six).check(), Err(Unusable::NoHost));
    six[15] = 1;
    assert!(Ip::from_wire(six).check().is_ok());
    six[0] = 0xff;
    assert_eq!(Ip::from_wire(six).check(), Err(Unusable::ManyHosts));
    for (bytes, local) in [
        ([0xfe, 0x80], true),
        ([0xfe, 0xbf], true),
        ([0xfe, 0xc0], false),
        ([0xfe, 0x40], false),
        ([0xff, 0x80], false),
    ] {
        six[..2].copy_from_slice(&bytes);
        assert_eq!(Ip::from_wire(six).is_link_local(), local);
    }
}

// A room that is a byte too small is written over, or half an inquiry is sent.
#[test]
fn what_does_not_fit_is_not_written() {
    let about = about(b"client.test.org:probe", expected().portal);
    let request = Request { xid: 1, about };
    let response = Response {
        xid: 1,
        result: Ok(about),
    };
    for room in 0..96 {
        assert_eq!(request.encode(&mut vec![0; room]), None);
        assert_eq!(response.encode(Sender::Client, &mut vec![0; room]), None);
    }
    assert_eq!(request.encode(&mut [0; 96]), Some(96));
    assert_eq!(response.encode(Sender::Client, &mut [0; 99]), None);
    assert_eq!(response.encode(Sender::Client, &mut [0; 100]), Some(100));
}

#[test]
fn a_refusal_is_a_status_and_nothing_else() {
    for status in [
        Status::FORMAT,
        Status::UNAUTHORIZED,
        Status::UNSUPPORTED,
        Status::NO_ESI,
    ] {
        let mut room = [0; 16];
        let response = Response {
            xid: 3,
            result: Err(status),
        };
        assert_eq!(response.encode(Sender::Client, &mut room), Some(16));
        assert_eq!(Response::parse(&room), Ok(response));
        assert_eq!(Fault::Status(status).as_str(), "status");
    }
    assert_eq!([Status::FORMAT.code(), Status::UNAUTHORIZED.code()], [2, 8]);
    assert_eq!(
        [Status::UNSUPPORTED.code(), Status::NO_ESI.code()],
        [15, 21]
    );
    let words: std::collections::BTreeSet<_> = (0..24)
        .map(|code| Status::from_code(code).as_str())
        .collect();
    assert_eq!(words.len(), 24, "4 is reserved, and so a word of its own");
    assert_eq!(
        Status::from_code(4).as_str(),
        Status::from_code(u32::MAX).as_str()
    );
}

// The id is what a datagram's probe is found by, before anything is known that it could be held against.
#[test]
fn the_id_of_a_datagram_is_found_by_its_header() {
    let bytes = answer(0x1234, about(b"entity", expected().portal));
    assert_eq!(xid_of(&bytes), Ok(0x1234));
    assert_eq!(xid_of(&bytes[..12]), Ok(0x1234));
    assert_eq!(xid_of(&bytes[..11]), Err(Fault::Short));
    assert_eq!(xid_of(b"HTTP/1.1"), Err(Fault::Version));
}

// What a client makes of an inquiry: ours, and open-isns's, which has the flag of a client.
#[test]
fn an_inquiry_is_read_by_whoever_answers_it() {
    let sent = about(b"entity", expected().portal);
    let mut bytes = request(5, sent);
    assert_eq!(
        Request::parse(&bytes),
        Ok(Request {
            xid: 5,
            about: sent
        })
    );
    bytes[6] = 0x8c;
    assert_eq!(
        Request::parse(&bytes),
        Ok(Request {
            xid: 5,
            about: sent
        })
    );
    bytes[6] = 0;
    assert_eq!(Request::parse(&bytes), Err(Fault::Fragment));
    assert_eq!(Request::parse(&answer(5, sent)), Err(Fault::Function));
    assert_eq!(
        Request::parse(&hex("0001 000d 0000 4c00 0005 0000")),
        Err(Fault::Attributes)
    );
    // The longest, and a longer one.
    let long = request(5, about(&[b'n'; 255], expected().portal));
    assert!(Request::parse(&long).is_ok());
    let mut longer = long.clone();
    longer.extend([0; 4]);
    let length = u16::try_from(longer.len() - 12).unwrap().to_be_bytes();
    longer[4..6].copy_from_slice(&length);
    assert_eq!(Request::parse(&longer), Err(Fault::Length));
}
