// SPDX-License-Identifier: GPL-2.0

//! Everything that has to hold for any bytes at all that come from a network.

use super::{
    corpus::{expected, judge},
    oracle,
};
use crate::policy::pdu::{
    header::Sender,
    inquiry::{xid_of, Request, Response},
    reader::{whole, Progress, Reader},
    Fault, MAX_REQUEST, MAX_RESPONSE,
};

/// Gives the verdict, and where the bytes led to. A stream is read in pieces of so many.
pub(crate) fn check(bytes: &[u8], piece: usize) -> (Result<(), Fault>, u64) {
    let want = expected();
    let verdict = judge(bytes);
    assert_eq!(verdict.is_ok(), oracle::is_answer(bytes, &want));

    let parsed = Response::parse(bytes);
    if let Ok(response) = &parsed {
        assert_eq!(xid_of(bytes), Ok(response.xid));
        // What was read is what is written, and what that is read as.
        let mut room = [0; MAX_RESPONSE];
        let size = oracle::again(response)
            .encode(Sender::Client, &mut room)
            .unwrap();
        assert_eq!(Response::parse(&room[..size]).as_ref(), Ok(response));
        assert_ne!(verdict, Err(Fault::Source));
    }
    let asked = Request::parse(bytes);
    if let Ok(request) = asked {
        let mut room = [0; MAX_REQUEST];
        let size = request.encode(&mut room).unwrap();
        assert_eq!(Request::parse(&room[..size]), Ok(request));
        assert_eq!(verdict, Err(Fault::Function));
    }
    let stream = check_stream(bytes, verdict, piece);
    let places = [
        oracle::place(verdict),
        stream / 4,
        bytes.len().min(400) / 16,
    ];
    let place = places
        .iter()
        .fold(u64::from(asked.is_ok()), |sum, &n| sum * 256 + n as u64);
    (verdict, place)
}

/// The same bytes through a reader, in pieces; gives how many it took.
fn check_stream(bytes: &[u8], verdict: Result<(), Fault>, piece: usize) -> usize {
    let want = expected();
    let mut reader = Reader::new(want.xid);
    let mut taken = 0;
    loop {
        match reader.progress() {
            Progress::More(missing) => {
                let room = reader.room();
                assert!(missing > 0 && room.len() == missing);
                let n = missing.min(piece).min(bytes.len() - taken);
                if n == 0 {
                    assert_eq!(whole(bytes, want.xid), Ok(None));
                    assert_ne!(verdict, Ok(()), "an answer that a stream is not done with");
                    return taken;
                }
                room[..n].copy_from_slice(&bytes[taken..taken + n]);
                taken += n;
                reader.took(n);
            }
            Progress::Done => {
                // The front of the bytes, whole: as a datagram they have the same verdict.
                assert_eq!(reader.message(), &bytes[..taken]);
                assert_eq!(whole(bytes, want.xid), Ok(Some(taken)));
                assert_eq!(
                    verdict.is_ok(),
                    taken == bytes.len() && judge(reader.message()).is_ok()
                );
                return taken;
            }
            Progress::Refused(_) => {
                assert!(taken <= 12 + piece, "listened to for {taken} bytes");
                assert!(whole(bytes, want.xid).is_err());
                assert_ne!(verdict, Ok(()));
                return taken;
            }
        }
    }
}
