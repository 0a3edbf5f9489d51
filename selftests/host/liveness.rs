// SPDX-License-Identifier: GPL-2.0

//! What an operator writes about liveness. Faults: a line half understood, a mistake with the wrong
//! errno, a limit that is off by one.

use crate::policy::{
    command::{At, Change, Command, Liveness, Watch, Wrong, LINE_MAX},
    deadline::Delta,
    esi::{jitter::Jitter, Coverage, Removal},
};

fn what(line: &str) -> (Option<&str>, Liveness<'_>) {
    match Command::parse(line.as_bytes()) {
        Ok(Some(Command::Liveness {
            service,
            pid: None,
            what,
        })) => (service, what),
        other => panic!("{line}: {other:?}"),
    }
}

fn wrong(line: &str) -> (Wrong, &str) {
    let refused = Command::parse(line.as_bytes()).expect_err(line);
    assert!(!refused.why.is_empty());
    (refused.wrong, refused.word)
}

#[test]
fn each_command() {
    let at = At {
        ip: "192.0.2.1".parse().unwrap(),
        port: 3260,
        udp: false,
    };
    let watch = Watch {
        at,
        esi: 0x1_035c,
        interval_s: 30,
        scope: 0,
    };
    let eid = "e1";
    for (line, want) in [
        (
            "register eid=e1",
            Liveness::Register {
                eid,
                period_s: 0,
                portal: None,
            },
        ),
        (
            "register portal=192.0.2.1:3260/tcp esi=860/udp period=90 interval=30 eid=e1",
            Liveness::Register {
                eid,
                period_s: 90,
                portal: Some(watch),
            },
        ),
        (
            "portal add eid=e1 portal=192.0.2.1:3260/tcp esi=860/udp interval=30",
            Liveness::AddPortal { eid, portal: watch },
        ),
        (
            "portal remove eid=e1 portal=192.0.2.1:3260/tcp",
            Liveness::RemovePortal { eid, portal: at },
        ),
        ("deregister eid=e1", Liveness::Deregister { eid }),
        ("refresh eid=e1", Liveness::Refresh { eid }),
        ("probe eid=e1", Liveness::Probe { eid }),
        ("probe eid=all", Liveness::Probe { eid: "all" }),
        ("probe all", Liveness::ProbeAll),
        (
            "threshold count=10",
            Liveness::Change(Change {
                threshold: Some(10),
                ..Change::default()
            }),
        ),
        (
            "policy patience=500ms coverage=any jitter=always removal=3 window=16384",
            Liveness::Change(Change {
                threshold: None,
                patience: Some(Delta::from_millis(500)),
                coverage: Some(Coverage::AnyOne),
                jitter: Some(Jitter::Always),
                removal: Some(Removal::After(3)),
                window: Some(16_384),
            }),
        ),
        (
            "policy patience=1ms",
            Liveness::Change(Change {
                patience: Some(Delta::from_millis(1)),
                ..Change::default()
            }),
        ),
        (
            "policy patience=1h",
            Liveness::Change(Change {
                patience: Some(Delta::from_secs(3_600)),
                ..Change::default()
            }),
        ),
        (
            "policy removal=at-once",
            Liveness::Change(Change {
                removal: Some(Removal::AtOnce),
                ..Change::default()
            }),
        ),
    ] {
        assert_eq!(what(line), (None, want));
        let with = format!("{line} in=disks");
        assert_eq!(what(&with), (Some("disks"), want));
        let with = format!("{line} pid=17");
        let whose = match Command::parse(with.as_bytes()) {
            Ok(Some(Command::Liveness { pid, what, .. })) => (pid, what),
            other => panic!("{with}: {other:?}"),
        };
        assert_eq!(whose, (Some(17), want));
    }
    let Liveness::AddPortal { portal, .. } =
        what("portal add eid=e portal=[fe80::1]:860/udp esi=1/tcp scope=2").1
    else {
        panic!();
    };
    assert_eq!((portal.at.udp, portal.esi, portal.scope), (true, 1, 2));
    // A name may have a = in it, and be as long as fits.
    assert_eq!(what("refresh eid=a=b").1, Liveness::Refresh { eid: "a=b" });
    let long = format!(
        "refresh eid={}",
        "x".repeat(LINE_MAX - "refresh eid=".len())
    );
    what(&long);
    assert!(Command::parse(format!("{long}x").as_bytes()).is_err());
}

#[test]
fn each_mistake_has_its_errno_and_its_word() {
    use Wrong::{Form, Range};
    for (line, want) in [
        ("register", (Form, "")),
        ("register e1", (Form, "e1")),
        ("register eid=e1 esi=1/udp", (Form, "")),
        ("register eid=e1 count=3", (Form, "count=3")),
        ("register eid=e1 eid=e2", (Form, "eid=e2")),
        (
            "register eid=e1 period=4294967296",
            (Range, "period=4294967296"),
        ),
        (
            "register eid=e1 portal=192.0.2.1:3260",
            (Form, "portal=192.0.2.1:3260"),
        ),
        (
            "register eid=e1 portal=192.0.2.1/tcp",
            (Form, "portal=192.0.2.1/tcp"),
        ),
        (
            "register eid=e1 portal=192.0.2.1:65536/tcp",
            (Range, "portal=192.0.2.1:65536/tcp"),
        ),
        (
            "register eid=e1 portal=[2001:db8::1]:18446744073709551616/udp",
            (Range, "portal=[2001:db8::1]:18446744073709551616/udp"),
        ),
        (
            "register eid=e1 portal=192.0.2:65536/tcp",
            (Form, "portal=192.0.2:65536/tcp"),
        ),
        (
            "register eid=e1 portal=192.0.2.1:/tcp",
            (Form, "portal=192.0.2.1:/tcp"),
        ),
        (
            "register eid=e1 portal=192.0.2.1:+1/tcp",
            (Form, "portal=192.0.2.1:+1/tcp"),
        ),
        (
            "register eid=e1 portal=2001:db8::1:1/tcp ",
            (Form, "portal=2001:db8::1:1/tcp"),
        ),
        (
            "register eid=e1 portal=1.2.3.4:1/sctp",
            (Form, "portal=1.2.3.4:1/sctp"),
        ),
        ("portal", (Form, "portal")),
        ("portal drop eid=e1", (Form, "drop")),
        ("portal add eid=e1", (Form, "")),
        ("portal remove portal=1.2.3.4:1/tcp", (Form, "")),
        (
            "portal remove eid=e1 portal=1.2.3.4:1/tcp esi=1/udp",
            (Form, "esi=1/udp"),
        ),
        (
            "portal add eid=e1 portal=1.2.3.4:1/tcp esi=0/udp",
            (Form, "esi=0/udp"),
        ),
        (
            "portal add eid=e1 portal=1.2.3.4:1/tcp esi=65536/udp",
            (Range, "esi=65536/udp"),
        ),
        (
            "portal add eid=e1 portal=1.2.3.4:1/tcp esi=860",
            (Form, "esi=860"),
        ),
        (
            "portal add eid=e1 portal=1.2.3.4:1/tcp interval=-1",
            (Form, "interval=-1"),
        ),
        ("deregister", (Form, "")),
        ("deregister eid=e1 pid=me", (Form, "pid=me")),
        ("deregister eid=e1 pid=1 pid=2", (Form, "pid=2")),
        (
            "deregister eid=e1 pid=4294967296",
            (Range, "pid=4294967296"),
        ),
        ("refresh", (Form, "")),
        ("probe", (Form, "")),
        ("probe everybody", (Form, "everybody")),
        ("probe all eid=e1", (Form, "eid=e1")),
        ("threshold", (Form, "")),
        ("threshold count=0", (Range, "count=0")),
        ("threshold count=11", (Range, "count=11")),
        ("threshold count=x", (Form, "count=x")),
        ("policy", (Form, "")),
        ("policy count=3", (Form, "count=3")),
        ("policy coverage=some", (Form, "coverage=some")),
        ("policy jitter=a", (Form, "jitter=a")),
        ("policy removal=never", (Form, "removal=never")),
        ("policy removal=256", (Range, "removal=256")),
        ("policy window=0", (Range, "window=0")),
        ("policy window=16385", (Range, "window=16385")),
        ("policy patience=1d", (Form, "patience=1d")),
        ("policy patience=0", (Range, "patience=0")),
        ("policy patience=3601s", (Range, "patience=3601s")),
        (
            "portal add eid=e portal=[fe80::1%2]:860/udp",
            (Form, "portal=[fe80::1%2]:860/udp"),
        ),
    ] {
        assert_eq!(wrong(line), want, "{line}");
    }
}
