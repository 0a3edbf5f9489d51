// SPDX-License-Identifier: GPL-2.0

//! What an operator writes. Faults: a line half understood, a mistake with the wrong errno, a limit
//! that is off by one.

use crate::policy::{
    command::{Command, Wrong, ALLOWED, LINE_MAX},
    deadline::Delta,
};

fn parse(line: &str) -> Result<Option<Command<'_>>, (Wrong, &str, &'static str)> {
    Command::parse(line.as_bytes()).map_err(|r| (r.wrong, r.word, r.why))
}

fn wrong(line: &str) -> (Wrong, &str) {
    let (wrong, word, why) = parse(line).expect_err(line);
    assert!(!why.is_empty());
    (wrong, word)
}

#[test]
fn a_command_in_any_order_and_with_any_blanks() {
    let plain = parse("route add dst=10.1.2.0/24 timeout=10 dev=lo")
        .unwrap()
        .unwrap();
    assert_eq!(
        parse(" \troute  add timeout=10s\tdev=lo dst=10.1.2.0/24 ").unwrap(),
        Some(plain)
    );
    let Command::RouteAdd { route, timeout } = plain else {
        panic!("{plain:?}");
    };
    assert_eq!(timeout, Delta::from_secs(10));
    assert_eq!((route.dev, route.pid), (Some("lo"), None));
    assert_eq!(
        (route.wanted.table, route.wanted.tos, route.wanted.priority),
        (254, 0, None)
    );
    let full = "route forget dst=2001:db8::1 metric=4294967295 table=1000 tos=8 pid=1";
    let Some(Command::RouteForget { route }) = parse(full).unwrap() else {
        panic!();
    };
    assert_eq!(route.wanted.prefix.to_string(), "2001:db8::1/128");
    assert_eq!(
        (route.wanted.priority, route.wanted.table, route.pid),
        (Some(u32::MAX), 1000, Some(1))
    );
}

#[test]
fn nothing_is_nothing() {
    for line in ["", " ", "\t \t", "# route add", "  #"] {
        assert_eq!(parse(line), Ok(None));
    }
}

#[test]
fn each_mistake_has_its_errno_and_its_word() {
    use Wrong::{Form, Range};
    for (line, want) in [
        ("nonsense", (Form, "nonsense")),
        ("route", (Form, "route")),
        ("route del dst=1.2.3.4", (Form, "del")),
        ("route add", (Form, "")),
        ("route add dst=1.2.3.4", (Form, "")),
        ("route add timeout=1", (Form, "")),
        (
            "route add dst=1.2.3.4 timeout=1 dst=1.2.3.4",
            (Form, "dst=1.2.3.4"),
        ),
        (
            "route add dst=1.2.3.4 timeout=1 colour=red",
            (Form, "colour=red"),
        ),
        ("route add dst=1.2.3.4 timeout=1 dev", (Form, "dev")),
        ("route forget dst=1.2.3.4 timeout=1", (Form, "timeout=1")),
        ("route add dst=1.2.3 timeout=1", (Form, "dst=1.2.3")),
        ("route add dst=1.2.3.4.5 timeout=1", (Form, "dst=1.2.3.4.5")),
        (
            "route add dst=1.2.3.4/33 timeout=1",
            (Range, "dst=1.2.3.4/33"),
        ),
        ("route add dst=::/129 timeout=1", (Range, "dst=::/129")),
        ("route add dst=::/256 timeout=1", (Range, "dst=::/256")),
        ("route add dst=::/ timeout=1", (Form, "dst=::/")),
        ("route add dst=::/-1 timeout=1", (Form, "dst=::/-1")),
        (
            "route add dst=1.2.3.4/24 timeout=1",
            (Form, "dst=1.2.3.4/24"),
        ),
        ("route add dst=1.2.3.4 timeout=", (Form, "timeout=")),
        ("route add dst=1.2.3.4 timeout=-1", (Form, "timeout=-1")),
        ("route add dst=1.2.3.4 timeout=1d", (Form, "timeout=1d")),
        (
            "route add dst=1.2.3.4 timeout=8785h",
            (Range, "timeout=8785h"),
        ),
        (
            "route add dst=1.2.3.4 timeout=99999999999999999999",
            (Range, "timeout=99999999999999999999"),
        ),
        (
            "route add dst=1.2.3.4 timeout=18446744073709551615",
            (Range, "timeout=18446744073709551615"),
        ),
        (
            "route add dst=1.2.3.4 timeout=1 metric=4294967296",
            (Range, "metric=4294967296"),
        ),
        (
            "route add dst=1.2.3.4 timeout=1 metric=x",
            (Form, "metric=x"),
        ),
        (
            "route add dst=1.2.3.4 timeout=1 tos=256",
            (Range, "tos=256"),
        ),
        ("route add dst=1.2.3.4 timeout=1 dev=", (Form, "dev=")),
        ("route add dst=1.2.3.4 timeout=1 dev=.", (Form, "dev=.")),
        ("route add dst=1.2.3.4 timeout=1 dev=..", (Form, "dev=..")),
        ("route add dst=1.2.3.4 timeout=1 dev=a:b", (Form, "dev=a:b")),
        (
            "route add dst=1.2.3.4 timeout=1 dev=\u{e9}",
            (Form, "dev=\u{e9}"),
        ),
        ("route add dst=1.2.3.4 timeout=1 dev=a/b", (Form, "dev=a/b")),
        (
            "route add dst=1.2.3.4 timeout=1 dev=a\0b",
            (Form, "dev=a\0b"),
        ),
        (
            "route add dst=1.2.3.4 timeout=1 dev=0123456789abcdef",
            (Form, "dev=0123456789abcdef"),
        ),
    ] {
        assert_eq!(wrong(line), want, "{line}");
    }
    assert_eq!(
        Command::parse(b"route add dst=\xff").unwrap_err().wrong,
        Form
    );
}

#[test]
fn times_up_to_a_year() {
    let time = |value: &str| {
        let line = format!("route add dst=1.2.3.4 timeout={value}");
        match parse(&line) {
            Ok(Some(Command::RouteAdd { timeout, .. })) => timeout.as_nanos(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(time("0"), 0);
    assert_eq!(time("250ms"), 250_000_000);
    assert_eq!(time("3"), 3_000_000_000);
    assert_eq!(time("3s"), 3_000_000_000);
    assert_eq!(time("2min"), 120_000_000_000);
    assert_eq!(time("8784h"), 366 * 86_400 * 1_000_000_000);
}

#[test]
fn long_lines_are_refused_and_the_longest_is_not() {
    let pad = |len: usize| {
        let mut line = String::from("route forget dst=1.2.3.4");
        line.extend(std::iter::repeat_n(' ', len - line.len()));
        line
    };
    assert!(parse(&pad(LINE_MAX)).is_ok());
    assert_eq!(wrong(&pad(LINE_MAX + 1)).0, Wrong::Form);
}

/// No line makes it panic, and whatever it refuses names a word of the line.
#[test]
fn noise_is_refused() {
    const PARTS: [&str; 18] = [
        "route",
        "add",
        "forget",
        "dst=",
        "10.0.0.0",
        "/8",
        "dev=lo",
        "timeout=",
        "1",
        "s",
        " ",
        "\t",
        "=",
        "::",
        "metric=",
        "9999999999",
        "\u{e9}",
        "#",
    ];
    let mut dice: u64 = 1;
    for _ in 0..200_000 {
        let mut line = String::new();
        for _ in 0..12 {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            line.push_str(PARTS[(dice % 18) as usize]);
        }
        if let Err((_, word, _)) = parse(&line) {
            assert!(line.contains(word));
        }
    }
}

#[test]
fn what_is_allowed_fits_into_a_line() {
    for line in ALLOWED {
        assert!(line.len() < 128 && !line.contains('\n'));
    }
}
