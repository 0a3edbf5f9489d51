// SPDX-License-Identifier: GPL-2.0

//! Answers that come in pieces.

use super::corpus::samples;
use crate::policy::pdu::{
    reader::{whole, Progress, Reader},
    Fault, MAX_RESPONSE,
};

fn feed(reader: &mut Reader, byte: u8) -> Progress {
    reader.room()[0] = byte;
    reader.took(1)
}

/// How many bytes it takes to refuse these, and why.
fn refused_at(bytes: &[u8]) -> (usize, Fault) {
    let mut reader = Reader::new(1);
    for (at, byte) in bytes.iter().enumerate() {
        if let Progress::Refused(fault) = feed(&mut reader, *byte) {
            assert!(reader.room().is_empty());
            assert_eq!(reader.took(1), Progress::Refused(fault), "for good");
            return (at + 1, fault);
        }
    }
    panic!("not refused: {bytes:x?}");
}

fn good() -> Vec<u8> {
    let sample = samples()
        .into_iter()
        .find(|s| s.name == "answer-client-flag");
    sample.unwrap().bytes
}

// Waiting for the rest of something that shows at once that it is no answer.
#[test]
fn esi_28_garbage_is_refused_at_the_byte_that_shows_it() {
    assert_eq!(refused_at(b"GET / HTTP/1.0"), (2, Fault::Version));
    assert_eq!(refused_at(&[0; 64]), (2, Fault::Version));
    let mut bytes = good();
    bytes[2] = 0;
    assert_eq!(refused_at(&bytes), (4, Fault::Function));
    for length in [0u16, 2, 85, 324, 328, 0xfffc] {
        bytes = good();
        bytes[4..6].copy_from_slice(&length.to_be_bytes());
        assert_eq!(refused_at(&bytes), (6, Fault::Length), "{length}");
    }
    bytes = good();
    bytes[6] = 0x84;
    assert_eq!(refused_at(&bytes), (8, Fault::Fragment));
    bytes = good();
    bytes[9] = 2;
    assert_eq!(refused_at(&bytes), (10, Fault::Xid));
    bytes = good();
    bytes[11] = 1;
    assert_eq!(refused_at(&bytes), (12, Fault::Sequence));
}

// A reader that takes a byte too many, or asks for none while it needs some: a worker that spins.
#[test]
fn esi_28_a_byte_at_a_time_is_as_good_as_all_at_once() {
    let good = good();
    let mut reader = Reader::new(1);
    for (at, byte) in good.iter().enumerate() {
        let left = good.len() - at;
        let missing = if at < 12 { 12 - at } else { left };
        assert_eq!(reader.progress(), Progress::More(missing));
        assert_eq!(reader.room().len(), missing);
        feed(&mut reader, *byte);
    }
    assert_eq!(reader.progress(), Progress::Done);
    assert_eq!(reader.message(), good);
    assert!(reader.room().is_empty());
    assert_eq!(
        reader.took(1),
        Progress::Done,
        "what was not read does not count"
    );
    assert_eq!(reader.message(), good);

    let mut reader = Reader::new(1);
    assert_eq!(reader.took(0), Progress::More(12));
}

// A part of an answer taken for all of it, or what comes after it for a part.
#[test]
fn esi_28_an_answer_is_whole_when_its_last_byte_is_there() {
    let good = good();
    for have in 0..good.len() {
        assert_eq!(whole(&good[..have], 1), Ok(None), "{have} bytes");
    }
    assert_eq!(whole(&good, 1), Ok(Some(good.len())));
    let more = [&good[..], b"more"].concat();
    assert_eq!(whole(&more, 1), Ok(Some(good.len())));
    assert_eq!(whole(&good, 2), Err(Fault::Xid));
    assert_eq!(whole(b"GE", 1), Err(Fault::Version));
}

#[test]
fn esi_36_the_longest_answer_fits_and_no_byte_more_is_asked_for() {
    let mut head = good()[..12].to_vec();
    let most = u16::try_from(MAX_RESPONSE - 12).unwrap();
    head[4..6].copy_from_slice(&most.to_be_bytes());
    let mut reader = Reader::new(1);
    for byte in head {
        feed(&mut reader, byte);
    }
    assert_eq!(reader.progress(), Progress::More(usize::from(most)));
    assert_eq!(reader.took(usize::MAX), Progress::Done);
    assert_eq!(reader.message().len(), MAX_RESPONSE);
}
