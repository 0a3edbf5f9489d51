// SPDX-License-Identifier: GPL-2.0

//! Drains, the waits for them, and the end of an object.

use super::{
    edit, Defect,
    File::{Protocol, Word},
};

pub(super) const DEFECTS: &[Defect] = &[
    // Waits, and arms are not refused.
    Defect {
        name: "drain-without-drain",
        edits: &[edit(
            Word,
            r"        if self.is_running() {
            Self(bits | DRAIN)",
            r"        if self.is_running() && bits == 0 {
            Self(bits | DRAIN)",
        )],
        caught_by: &["drain | walk, callback arms"],
    },
    // Arms are not refused while it waits.
    Defect {
        name: "drain-not-for-arms",
        edits: &[edit(
            Word,
            "self.0 & (SHUT | DRAIN) != 0",
            "self.0 & SHUT != 0",
        )],
        caught_by: &["drain | walk, callback arms"],
    },
    // What the callback returns arms all the same.
    Defect {
        name: "drain-not-for-next",
        edits: &[edit(
            Word,
            "self.0 & (SHUT | DRAIN | NO_NEXT | ARMED) == 0",
            "self.0 & (SHUT | NO_NEXT | ARMED) == 0",
        )],
        caught_by: &["next | drain"],
    },
    // DRAIN without a run, and nobody to end it.
    Defect {
        name: "drain-for-ever",
        edits: &[edit(
            Word,
            r"        let bits = self.0 & !(ARMED | ACTIVE);
        if self.is_running() {
            Self(bits | DRAIN)",
            r"        let bits = self.0 & !(ARMED | ACTIVE);
        if self.is_held() {
            Self(bits | DRAIN)",
        )],
        caught_by: &["worker: drain | next"],
    },
    // DRAIN stays when the run ends.
    Defect {
        name: "drain-never-ends",
        edits: &[edit(
            Word,
            "Self((self.0 & !(PLACE | ARMED | OF_RUN)) | IDLE)",
            "Self((self.0 & !(PLACE | ARMED | NO_NEXT | REPORT)) | IDLE)",
        )],
        caught_by: &["drained, armed again: it runs"],
    },
    // Who was to be told of the end is not, when somebody else drains, too.
    Defect {
        name: "report-for-the-last-only",
        edits: &[edit(
            Word,
            "Self(bits | DRAIN)",
            "Self((bits & !REPORT) | DRAIN)",
        )],
        caught_by: &["report | drain | walk, callback arms"],
    },
    // The run after the one that was told is told, too.
    Defect {
        name: "report-never-ends",
        edits: &[edit(
            Word,
            "Self((self.0 & !(PLACE | ARMED | OF_RUN)) | IDLE)",
            "Self((self.0 & !(PLACE | ARMED | DRAIN | NO_NEXT)) | IDLE)",
        )],
        caught_by: &["report | report, armed again | walk"],
    },
    // What is found idle, or pending, is told when it runs.
    Defect {
        name: "report-without-a-run",
        edits: &[edit(
            Word,
            r"        let word = self.drained();
        if word.is_running() {",
            r"        let word = self.drained();
        if word.is_held() || word.place() as u8 == 0 {",
        )],
        caught_by: &["report | report, armed again | walk"],
    },
    // In the own callback nothing is marked.
    Defect {
        name: "report-not-by-the-own",
        edits: &[edit(
            Word,
            r"        let word = self.drained();
        if word.is_running() {",
            r"        let word = self.drained();
        if word.is_running() && self.is_armed() {",
        )],
        caught_by: &["callback has its end told, returns next | arm on 1"],
    },
    // What is not on a wheel is taken for done.
    Defect {
        name: "drain-idle-if-unlinked",
        edits: &[edit(
            Protocol,
            r"            Place::Running => return Drained::Wait,
",
            r"            Place::Running => return answer,
",
        )],
        caught_by: &["drain | walk, callback arms"],
    },
    // Waits for itself.
    Defect {
        name: "drain-own-waits",
        edits: &[edit(
            Protocol,
            r"            Place::Running if own => return Drained::Own,
",
            "",
        )],
        caught_by: &["callback drains itself | drain"],
    },
    // Its own drain says that the run is over.
    Defect {
        name: "drain-own-ends-run",
        edits: &[edit(
            Protocol,
            "let new = if own { old.stopped(true) } else { mark(old) };",
            "let new = if own { old.stopped(true).idle() } else { mark(old) };",
        )],
        caught_by: &["callback drains itself | drain"],
    },
    // Its own drain refuses arms until the run ends.
    Defect {
        name: "drain-own-refuses",
        edits: &[edit(
            Protocol,
            "let new = if own { old.stopped(true) } else { mark(old) };",
            "let new = mark(old);",
        )],
        caught_by: &["next, after its own drain | drain"],
    },
    // Done, and what the run wrote is not there.
    Defect {
        name: "drain-load-relaxed",
        edits: &[edit(
            Protocol,
            r"    let mut answer = Drained::Idle;
    let mut old = m.load(entry, Load::Acquire);",
            r"    let mut answer = Drained::Idle;
    let mut old = m.load(entry, Load::Relaxed);",
        )],
        caught_by: &["drain | walk, callback deactivates"],
    },
    // Waited, and what the run wrote is not there.
    Defect {
        name: "wait-load-relaxed",
        edits: &[edit(
            Protocol,
            r"    let now = m.load(entry, Load::Acquire);
    now.is_running()",
            r"    let now = m.load(entry, Load::Relaxed);
    now.is_running()",
        )],
        caught_by: &["drain, spinning | walk, callback arms"],
    },
    // Ends before the run does.
    Defect {
        name: "wait-for-any-drain",
        edits: &[edit(
            Protocol,
            "now.is_running() && now.is_draining()",
            "now.is_running() && !now.is_draining()",
        )],
        caught_by: &["drain | walk, callback arms"],
    },
    // The word before the node.
    Defect {
        name: "take-off-unlinks-last",
        edits: &[edit(
            Protocol,
            r"    m.unlink(&mut locked, entry);
    loop {
        match m.exchange(entry, old, old.drained().idle()) {
            Ok(()) => return Some(old),",
            r"    loop {
        match m.exchange(entry, old, old.drained().idle()) {
            Ok(()) => {
                m.unlink(&mut locked, entry);
                return Some(old);
            }",
        )],
        caught_by: &["drain of a tombstone | later"],
    },
    // Does not look again under the lock where the entry is.
    Defect {
        name: "take-off-no-recheck",
        edits: &[edit(
            Protocol,
            r"    if !old.sits_with(seen) {
        return None;",
            r"    if !old.sits_with(seen) && old.place() != Place::Linked {
        return None;",
        )],
        caught_by: &["move | drain"],
    },
    // Takes off what is off.
    Defect {
        name: "take-off-not-locked-idle",
        edits: &[edit(
            Protocol,
            r"    if !old.sits_with(seen) {
        return None;
    }
",
            "",
        )],
        caught_by: &["drain | walk"],
    },
    // Active, and owes nothing.
    Defect {
        name: "take-off-keeps-active",
        edits: &[edit(Protocol, "old.drained().idle()", "old.idle()")],
        caught_by: &["drain of a tombstone | later"],
    },
    // The node is given away unordered.
    Defect {
        name: "take-off-relaxed",
        edits: &[edit(
            Protocol,
            r"    m.unlink(&mut locked, entry);
    loop {
        match m.exchange(entry, old, old.drained().idle()) {
            Ok(()) => return Some(old),",
            r"    m.unlink(&mut locked, entry);
    loop {
        match { crate::machine::weaken(); m }.exchange(entry, old, old.drained().idle()) {
            Ok(()) => return Some(old),",
        )],
        caught_by: &["drain | first arm on 1 | walk"],
    },
    // What it has taken off was cancelled.
    Defect {
        name: "drain-answers-idle",
        edits: &[edit(
            Protocol,
            r"            Place::Linked => match take_off(m, entry, old) {
                Some(was) if was.is_armed() => return Drained::Cancelled,
",
            r"            Place::Linked => match take_off(m, entry, old) {
",
        )],
        caught_by: &["drain | first arm, stop, arm"],
    },
    // What it has taken off was cancelled.
    Defect {
        name: "drain-quickly-answers-idle",
        edits: &[edit(
            Protocol,
            r"    let was = take_off(m, entry, old)?;
    Some(if was.is_armed() {",
            r"    let was = take_off(m, entry, old)?;
    Some(if was.is_armed() && was.is_held() {",
        )],
        caught_by: &["drain of a tombstone | later"],
    },
    // What was faster is not looked at again.
    Defect {
        name: "drain-quickly-done",
        edits: &[edit(
            Protocol,
            "    let was = take_off(m, entry, old)?;",
            r"    let Some(was) = take_off(m, entry, old) else {
        return Some(Drained::Idle);
    };",
        )],
        caught_by: &["drain | walk"],
    },
    // What is not on a wheel is taken for done.
    Defect {
        name: "drain-quickly-not-linked",
        edits: &[edit(
            Protocol,
            r"    if old.place() != Place::Linked {
        return None;
    }
    let was = take_off",
            r"    if old.place() != Place::Linked {
        return Some(Drained::Idle);
    }
    let was = take_off",
        )],
        caught_by: &["drain | walk, callback arms"],
    },
    // Freed while the walk has the node in its hand.
    Defect {
        name: "retire-load-relaxed",
        edits: &[edit(
            Protocol,
            r"        let now = m.load(entry, Load::Acquire);
        if now.place() != Place::Linked {",
            r"        let now = m.load(entry, Load::Relaxed);
        if now.place() != Place::Linked {",
        )],
        caught_by: &["last reference | walk"],
    },
    // Freed while it is linked.
    Defect {
        name: "retire-leaves-it",
        edits: &[edit(
            Protocol,
            r"        let now = m.load(entry, Load::Acquire);
        if now.place() != Place::Linked {",
            r"        let now = m.load(entry, Load::Acquire);
        if now.place() != Place::Linked || now.is_armed() {",
        )],
        caught_by: &["last reference | walk"],
    },
];
