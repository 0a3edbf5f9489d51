// SPDX-License-Identifier: GPL-2.0

//! Answers, good and bad, each in a file of corpus/ that says what becomes of it: all of those that
//! open-isns was seen to give, and what a broken or hostile client may send.

use crate::policy::pdu::{
    address::{Eid, Ip, Peer, Port, Portal},
    inquiry::{Expected, Response},
    reader::{Progress, Reader},
    Fault,
};
use std::{fs, path::Path};

/// One file.
pub(crate) struct Sample {
    pub(crate) name: String,
    /// `answer`, or the fault.
    pub(crate) expect: String,
    pub(crate) bytes: Vec<u8>,
}

/// What the samples are held against.
pub(crate) fn expected() -> Expected<'static> {
    let ip = Ip::v4([127, 0, 0, 1]);
    Expected {
        xid: 1,
        eid: Eid::new(b"client.test.org:probe").unwrap(),
        portal: Portal {
            ip,
            port: Port::tcp(860).unwrap(),
        },
        peer: Peer { ip, port: 975 },
    }
}

pub(crate) fn samples() -> Vec<Sample> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut all: Vec<Sample> = fs::read_dir(dir)
        .unwrap()
        .map(|file| read(&file.unwrap().path()))
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

fn read(path: &Path) -> Sample {
    let text = fs::read_to_string(path).unwrap();
    let mut expect = String::new();
    let mut digits = String::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        match line.strip_prefix("expect ") {
            Some(what) => expect = what.to_string(),
            None => digits.extend(line.split_whitespace()),
        }
    }
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    Sample {
        name: path.file_stem().unwrap().to_str().unwrap().to_string(),
        expect,
        bytes: (0..digits.len()).step_by(2).map(byte).collect(),
    }
}

/// The word for a verdict that the files have.
pub(crate) fn word(verdict: Result<(), Fault>) -> String {
    match verdict {
        Ok(()) => "answer".to_string(),
        Err(Fault::Status(status)) => format!("status {}", status.code()),
        Err(fault) => fault.as_str().to_string(),
    }
}

/// As the socket of all probes over UDP does it.
pub(crate) fn judge(bytes: &[u8]) -> Result<(), Fault> {
    let want = expected();
    Response::parse(bytes).and_then(|response| want.is_met_by(&response, want.peer))
}

/// As a connection does it, with `chunk` bytes at a time.
fn judge_stream(bytes: &[u8], chunk: usize) -> Result<(), Fault> {
    let want = expected();
    let mut reader = Reader::new(want.xid);
    let mut rest = bytes;
    loop {
        match reader.progress() {
            Progress::Done => break,
            Progress::Refused(fault) => return Err(fault),
            // The peer closes.
            Progress::More(_) if rest.is_empty() => return Err(Fault::Short),
            Progress::More(_) => {
                let room = reader.room();
                let n = room.len().min(rest.len()).min(chunk);
                room[..n].copy_from_slice(&rest[..n]);
                rest = &rest[n..];
                reader.took(n);
            }
        }
    }
    Response::parse(reader.message()).and_then(|response| want.is_met_by(&response, want.peer))
}

#[test]
fn esi_36_every_sample_has_its_verdict() {
    let samples = samples();
    assert!(samples.len() >= 60, "only {} samples", samples.len());
    for sample in samples {
        assert_eq!(word(judge(&sample.bytes)), sample.expect, "{}", sample.name);
    }
}

// A reader that judges later than a datagram is judged, or otherwise, or by how the bytes come.
#[test]
fn esi_28_a_stream_has_the_verdict_of_a_datagram() {
    for sample in samples() {
        // What comes after an answer is not read from a stream.
        let long = ["length-smaller", "length-trailing"].contains(&sample.name.as_str());
        for chunk in [1, 2, 3, 7, 12, 13, 4096] {
            let verdict = word(judge_stream(&sample.bytes, chunk));
            match (long, sample.name.as_str()) {
                (true, "length-trailing") => assert_eq!(verdict, "answer"),
                (true, _) => assert_eq!(verdict, "attributes"),
                _ => assert_eq!(verdict, sample.expect, "{} by {chunk}", sample.name),
            }
        }
    }
}

// Every kind of fault has a sample, and a counter of its own.
#[test]
fn every_fault_is_in_the_corpus() {
    let mut seen = [false; Fault::KINDS];
    for sample in samples() {
        if let Err(fault) = judge(&sample.bytes) {
            seen[fault.index()] = true;
        }
    }
    // It takes an address to be from elsewhere.
    seen[Fault::Source.index()] = true;
    assert_eq!(seen, [true; Fault::KINDS]);
}
