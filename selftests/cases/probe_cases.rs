// SPDX-License-Identifier: GPL-2.0

//! One probe at a time: what is an answer, and what is not.

use crate::{
    harness::{check, Case, Fault, Verdict},
    probe_subject::*,
};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use kernel::time::delay::fsleep;
use softclock::{
    liveness::{ask, Question, Reply},
    prelude::*,
};

pub(crate) const CASES: &[&[Case]] = &[&[
    Case {
        name: "esi-11 esi-29 a portal that answers is alive: UDP and TCP, IPv4 and IPv6",
        run: good,
    },
    Case {
        name: "esi-9 answers with the flag of a server are answers",
        run: server,
    },
    Case {
        name: "esi-10 IPv4 in either form is the same address",
        run: compatible,
    },
    Case {
        name: "esi-28 an answer that comes byte by byte is one",
        run: bytes,
    },
    Case {
        name: "esi-28 a reset is no answer, whenever it comes",
        run: reset,
    },
    Case {
        name: "esi-28 an end in the middle is no answer",
        run: end,
    },
    Case {
        name: "esi-28 esi-15 a connection that does not come about: all attempts, in their time",
        run: |task| timely(|| hole(task)),
    },
    Case {
        name: "esi-15 silence: all attempts, in their time",
        run: |task| timely(|| silent(task)),
    },
    Case {
        name: "esi-16 a closed port is refused at once, and attempts are a second apart at most",
        run: |task| timely(|| closed(task)),
    },
    Case {
        name: "esi-12 S10 another transaction id is no answer",
        run: other_xid,
    },
    Case {
        name: "esi-12 S10 another function is no answer",
        run: other_function,
    },
    Case {
        name: "esi-12 S10 a status is no answer",
        run: status,
    },
    Case {
        name: "esi-12 S10 another entity is no answer",
        run: other_eid,
    },
    Case {
        name: "esi-12 S10 another portal is no answer",
        run: other_portal,
    },
    Case {
        name: "esi-12 S10 from another port or another address it is no answer",
        run: other_source,
    },
    Case {
        name: "esi-13 a late answer to the first attempt counts",
        run: |task| timely(|| late(task)),
    },
    Case {
        name: "esi-14 all attempts are the same bytes",
        run: |task| timely(|| third(task)),
    },
    Case {
        name: "flapping: a portal that answers every other probe is alive and dead in turns",
        run: flapping,
    },
    Case {
        name: "esi-36 garbage is no answer",
        run: garbage,
    },
    Case {
        name: "esi-36 an attribute that ends behind the answer makes it none",
        run: bad_tlv,
    },
    Case {
        name: "esi-36 an answer of version 2 is none",
        run: version_2,
    },
    Case {
        name: "esi-36 an answer cut short is none",
        run: half,
    },
    Case {
        name: "esi-36 an answer with bytes after it is none, in a datagram",
        run: longer,
    },
    Case {
        name: "esi-36 a length that no answer has ends it at once",
        run: huge,
    },
    Case {
        name: "esi-36 a piece of an answer is none",
        run: fragment,
    },
    Case {
        name: "esi-36 an empty datagram is counted, and nothing else",
        run: nothing,
    },
    Case {
        name: "esi-12 the second answer is a stray",
        run: twice,
    },
    Case {
        name: "esi-36 ten thousand strays, and the answer is found",
        run: flood,
    },
    Case {
        name: "a network that cannot be reached: all attempts, and it is said",
        run: unreachable,
    },
    Case {
        name: "a host that is isolated, says the network, is one that cannot be reached",
        run: |task| timely(|| isolated(task)),
    },
    Case {
        name: "questions that cannot be asked are refused",
        run: refused,
    },
]];

/// Fault: one of the four ways is not there.
fn good(task: &Task) -> Verdict {
    let failed = count("failed", task)?;
    all_live(&[GOOD, udp(GOOD)], task)?;
    check!(count("failed", task)? == failed);
    Ok(())
}

/// Fault: open-isns is declared dead, for it says that it is a server.
fn server(task: &Task) -> Verdict {
    all_live(&[SERVER, udp(SERVER)], task)
}

/// Fault: the same.
fn compatible(task: &Task) -> Verdict {
    all_live(&[COMPATIBLE, udp(COMPATIBLE)], task)
}

/// Fault: an answer is looked for in one piece.
fn bytes(task: &Task) -> Verdict {
    all_live(&[BYTES], task)
}

/// Fault: a reset taken for an end, or not noticed.
fn reset(task: &Task) -> Verdict {
    timely(|| all_dead(&[RESET, HALF_RESET], "reset", task))
}

/// Fault: what there is of an answer is believed.
fn end(task: &Task) -> Verdict {
    timely(|| all_dead(&[HALF], "eof", task))
}

/// How long it took, in milliseconds, and how many attempts were made.
fn timed(port: u32, reason: &str, task: &Task) -> Result<(i64, u64), crate::harness::Fault> {
    let (before, attempts) = (softclock::now(), count("attempts", task)?);
    all_dead(&[port], reason, task)?;
    let took = (softclock::now() - before).as_nanos() / 1_000_000;
    Ok((took / 2, count("attempts", task)? - attempts))
}

/// Fault: connecting is waited for without an end, as isnsd does.
fn hole(task: &Task) -> Verdict {
    let (took, attempts) = timed(HOLE, "timeout", task)?;
    check!(attempts == 4);
    check!((1_000..4_000).contains(&took));
    Ok(())
}

/// Fault: one attempt too many, or too soon.
fn silent(task: &Task) -> Verdict {
    for port in [SILENT, udp(SILENT)] {
        let (took, attempts) = timed(port, "timeout", task)?;
        check!(attempts == 4);
        check!((1_000..4_000).contains(&took));
    }
    Ok(())
}

/// Fault: a refusal is not heard, as over UDP without its error queue; or attempts follow at once.
fn closed(task: &Task) -> Verdict {
    for port in [CLOSED, udp(CLOSED)] {
        let failed = count("failed", task)?;
        let (took, attempts) = timed(port, "refused", task)?;
        check!(attempts == 4 && count("failed", task)? == failed + 4);
        check!((1_000..4_000).contains(&took));
        // With more patience than a second.
        let patient = Question {
            patience: Delta::from_secs(30),
            ..question(Family::V4, port)
        };
        let before = softclock::now();
        let reply = ask(&patient, task)?;
        check!(matches!(
            reply,
            Reply::Silent {
                attempts: 2,
                why: "refused"
            }
        ));
        check!(softclock::now() - before < Delta::from_secs(10));
    }
    Ok(())
}

/// Strays of one kind, one for each attempt, over both families.
fn strays(port: u32, kind: &str, reason: &str, task: &Task) -> Verdict {
    so_many_strays(4, port, kind, reason, task)
}

/// So many strays of one kind from two attempts over each family.
fn so_many_strays(many: u64, port: u32, kind: &str, reason: &str, task: &Task) -> Verdict {
    timely(|| {
        let before = count(kind, task)?;
        all_dead(&[port], reason, task)?;
        check!(count(kind, task)? == before + many);
        Ok(())
    })
}

/// Fault: any answer counts, as it does for isnsd.
fn other_xid(task: &Task) -> Verdict {
    strays(OTHER_XID, "xid", "xid", task)?;
    strays(udp(OTHER_XID), "xid", "timeout", task)
}

/// Fault: the same.
fn other_function(task: &Task) -> Verdict {
    strays(OTHER_FUNCTION, "function", "function", task)?;
    strays(udp(OTHER_FUNCTION), "function", "timeout", task)
}

/// Fault: the same.
fn status(task: &Task) -> Verdict {
    strays(STATUS, "status", "status", task)?;
    strays(udp(STATUS), "status", "status", task)
}

/// Fault: the same.
fn other_eid(task: &Task) -> Verdict {
    strays(OTHER_EID, "entity", "entity", task)?;
    strays(udp(OTHER_EID), "entity", "entity", task)
}

/// Fault: the same.
fn other_portal(task: &Task) -> Verdict {
    strays(OTHER_PORTAL, "portal", "portal", task)?;
    strays(udp(OTHER_PORTAL), "portal", "portal", task)
}

/// Fault: whoever guesses the transaction id answers for others. Two answers to each attempt over IPv4, from
/// the other address also; ::1 has none beside it.
fn other_source(task: &Task) -> Verdict {
    so_many_strays(2 * 2 + 2, udp(OTHER_SOURCE), "source", "timeout", task)
}

/// Fault: an attempt forgets the ones before it, as those of open-isns do.
fn late(task: &Task) -> Verdict {
    for port in [LATE, udp(LATE)] {
        for family in BOTH {
            let question = Question {
                patience: Delta::from_millis(400),
                attempts: 4,
                ..question(family, port)
            };
            let reply = ask(&question, task)?;
            check!(matches!(
                reply,
                Reply::Alive {
                    attempts: 2..=4,
                    ..
                }
            ));
            // Another one may be on its way.
            fsleep(kernel::time::Delta::from_millis(700));
        }
    }
    Ok(())
}

/// Fault: a new transaction id, or time, for each attempt, as open-isns has.
fn third(task: &Task) -> Verdict {
    // Not only the first probe that a port ever sees.
    for port in [THIRD, THIRD, udp(THIRD)] {
        for family in BOTH {
            let question = Question {
                attempts: 4,
                ..question(family, port)
            };
            let reply = ask(&question, task)?;
            check!(matches!(
                reply,
                Reply::Alive {
                    attempts: 3 | 4,
                    ..
                }
            ));
        }
    }
    Ok(())
}

/// Fault: what was found by one probe is taken for what the next one finds: one that was answered keeps a portal
/// alive, or silence keeps it dead.
fn flapping(task: &Task) -> Verdict {
    for port in [FLAP, udp(FLAP)] {
        for family in BOTH {
            timely(|| takes_turns(&question(family, port), task))?;
        }
    }
    Ok(())
}

/// Whoever was the first: a case that was broken off may have left either.
fn takes_turns(question: &Question<'_>, task: &Task) -> Verdict {
    let mut before = None;
    for _ in 0..4 {
        let alive = match ask(question, task)? {
            Reply::Alive { attempts: 1, .. } => true,
            Reply::Silent {
                attempts: 2,
                why: "timeout",
            } => false,
            reply => {
                pr_info!("# {:?}\n", reply);
                return Err(Fault::Broken("another reply", line!()));
            }
        };
        check!(before != Some(alive));
        before = Some(alive);
    }
    Ok(())
}

/// Fault: it is believed, or read to the end.
fn garbage(task: &Task) -> Verdict {
    strays(GARBAGE, "version", "version", task)?;
    strays(udp(GARBAGE), "version", "timeout", task)
}

/// Fault: bytes behind the answer are taken for its own, or what is right before them is believed.
fn bad_tlv(task: &Task) -> Verdict {
    strays(BAD_TLV, "attributes", "attributes", task)?;
    strays(udp(BAD_TLV), "attributes", "attributes", task)
}

/// Fault: the version is not looked at, as open-isns does.
fn version_2(task: &Task) -> Verdict {
    strays(VERSION_2, "version", "version", task)?;
    strays(udp(VERSION_2), "version", "timeout", task)
}

/// Fault: a datagram is taken for what its header says.
fn half(task: &Task) -> Verdict {
    strays(udp(HALF), "short", "short", task)
}

/// Fault: the same. What follows an answer in a stream is not even read.
fn longer(task: &Task) -> Verdict {
    strays(udp(LONGER), "length", "length", task)?;
    all_live(&[LONGER], task)
}

/// Fault: whatever a peer sends is read.
fn huge(task: &Task) -> Verdict {
    strays(HUGE, "length", "length", task)?;
    strays(udp(HUGE), "length", "timeout", task)
}

/// Fault: a first piece is taken for the whole.
fn fragment(task: &Task) -> Verdict {
    strays(FRAGMENT, "fragment", "fragment", task)?;
    strays(udp(FRAGMENT), "fragment", "timeout", task)
}

/// Fault: a datagram of no bytes is taken for an end, or for nothing at all.
fn nothing(task: &Task) -> Verdict {
    let before = count("short", task)?;
    all_live(&[udp(NOTHING)], task)?;
    check!(count("short", task)? == before + 2);
    Ok(())
}

/// Fault: an answer ends a probe twice, or another one that has its slot by then.
fn twice(task: &Task) -> Verdict {
    let (before, answered) = (count("xid", task)?, count("answered", task)?);
    all_live(&[udp(TWICE)], task)?;
    for _ in 0..100 {
        fsleep(kernel::time::Delta::from_millis(50));
        if count("xid", task)? >= before + 2 {
            break;
        }
    }
    check!(count("xid", task)? == before + 2);
    check!(count("answered", task)? == answered + 2);
    Ok(())
}

/// Fault: strays keep the worker from everything else, or fill its socket.
fn flood(task: &Task) -> Verdict {
    let before = count("strays", task)?;
    for family in BOTH {
        let question = Question {
            patience: Delta::from_secs(20),
            // The answer itself is lost where the reader stands still for long.
            attempts: 3,
            ..question(family, udp(FLOOD))
        };
        check!(matches!(ask(&question, task)?, Reply::Alive { .. }));
    }
    check!(count("strays", task)? >= before + 10_000);
    Ok(())
}

/// Both attempts were made, and there was no way.
fn is_unreachable(reply: &Reply) -> bool {
    matches!(
        reply,
        Reply::Silent {
            attempts: 2,
            why: "unreachable"
        }
    )
}

/// Fault: no way to a host is taken for a fault of ours, or nothing is said of it.
fn unreachable(task: &Task) -> Verdict {
    let hosts = [
        IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
    ];
    for ip in hosts {
        for port in [GOOD, udp(GOOD)] {
            let question = Question {
                ip,
                ..question(Family::V4, port)
            };
            let reply = ask(&question, task)?;
            check!(is_unreachable(&reply));
        }
    }
    Ok(())
}

/// Fault: what anybody on the way can say is taken for a fault of ours, and the portal never dies.
fn isolated(task: &Task) -> Verdict {
    let reply = ask(&question(Family::V4, udp(ISOLATED)), task)?;
    pr_info!("# {:?}\n", reply);
    check!(is_unreachable(&reply));
    Ok(())
}

/// Fault: a bad question is asked all the same, or is refused with another error.
fn refused(task: &Task) -> Verdict {
    let fine = question(Family::V4, udp(GOOD));
    let long = core::str::from_utf8(&[b'a'; 256]).unwrap_or("");
    let begun = count("begun", task)?;
    for eid in ["", "a b", "a\n", "\u{e9}"] {
        check!(ask(&Question { eid, ..fine }, task) == Err(EINVAL));
    }
    for at in [0, Question::UDP] {
        check!(ask(&Question { at, ..fine }, task) == Err(EINVAL));
    }
    // As for a registration: what is beyond a limit.
    check!(ask(&Question { eid: long, ..fine }, task) == Err(ERANGE));
    for beyond in [Question::UDP << 1, u32::MAX] {
        let (at, port) = (beyond, beyond);
        check!(ask(&Question { at, ..fine }, task) == Err(ERANGE));
        check!(ask(&Question { port, ..fine }, task) == Err(ERANGE));
    }
    let hosts = [
        IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V4(Ipv4Addr::BROADCAST),
        IpAddr::V4(Ipv4Addr::new(224, 0, 0, 1)),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1)),
        // Of a link, but of which?
        IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1)),
    ];
    for ip in hosts {
        check!(ask(&Question { ip, ..fine }, task) == Err(EINVAL));
    }
    check!(ask(&Question { scope: 1, ..fine }, task) == Err(EINVAL));
    for patience in [Delta::ZERO, Delta::from_secs(61), Delta::from_nanos(-1)] {
        check!(ask(&Question { patience, ..fine }, task) == Err(ERANGE));
    }
    for attempts in [0, 11] {
        check!(ask(&Question { attempts, ..fine }, task) == Err(ERANGE));
    }
    check!(count("begun", task)? == begun);
    // The longest name, and the shortest patience, are good enough to be asked.
    let eid = long.get(1..).unwrap_or("");
    check!(matches!(
        ask(&Question { eid, ..fine }, task)?,
        Reply::Alive { .. }
    ));
    Ok(())
}
