// SPDX-License-Identifier: GPL-2.0

//! Stops and shutdowns, and what an arm leaves of them.

use super::{
    edit, Defect,
    File::{Protocol, Word},
};

pub(super) const DEFECTS: &[Defect] = &[
    // Asks first whether a run was owed.
    Defect {
        name: "stop-ignores-running",
        edits: &[edit(
            Protocol,
            r"    if old.is_running() {
        Stop::Running
    } else if old.is_armed() {
        Stop::Cancelled",
            r"    if old.is_armed() {
        Stop::Cancelled
    } else if old.is_running() {
        Stop::Running",
        )],
        caught_by: &["stop, touch | walk, callback arms"],
    },
    // A run in progress is nothing to a stop.
    Defect {
        name: "stop-quiet-while-running",
        edits: &[edit(
            Word,
            "self.0 & (ARMED | ACTIVE | HELD) == 0",
            "self.0 & (ARMED | ACTIVE) == 0",
        )],
        caught_by: &["next, after it has deactivated | stop"],
    },
    // What the callback returns arms all the same.
    Defect {
        name: "stop-without-no-next",
        edits: &[edit(
            Word,
            r"        if self.is_running() && !own {
            Self(bits | NO_NEXT)",
            r"        if self.is_running() && !own && bits == 0 {
            Self(bits | NO_NEXT)",
        )],
        caught_by: &["next | stop, touch"],
    },
    // Its own stop takes away what the callback returns later.
    Defect {
        name: "stop-own-no-next",
        edits: &[edit(
            Word,
            r"        if self.is_running() && !own {
            Self(bits | NO_NEXT)",
            r"        if self.is_running() {
            Self(bits | NO_NEXT)",
        )],
        caught_by: &["next, after its own stop | stop"],
    },
    // Still active after a stop.
    Defect {
        name: "stop-keeps-active",
        edits: &[edit(
            Word,
            r"        let bits = self.0 & !(ARMED | ACTIVE);
        if self.is_running() && !own {",
            r"        let bits = self.0 & !ARMED;
        if self.is_running() && !own {",
        )],
        caught_by: &["stop | stop | later"],
    },
    // Idle, and what the last run wrote is not there.
    Defect {
        name: "stop-load-relaxed",
        edits: &[edit(
            Protocol,
            r"-> Option<Stop> {
    let old = m.load(entry, Load::Acquire);",
            r"-> Option<Stop> {
    let old = m.load(entry, Load::Relaxed);",
        )],
        caught_by: &["stop, touch | walk, callback deactivates"],
    },
    // Takes one that is held for one that is not: its own.
    Defect {
        name: "stop-quickly-held",
        edits: &[edit(
            Protocol,
            r"    if old.is_held() || m.exchange(entry, old, old.stopped(true)).is_err() {
        return None;",
            r"    if m.exchange(entry, old, old.stopped(true)).is_err() {
        return None;",
        )],
        caught_by: &["stop, touch | walk, callback arms", "next | stop, touch"],
    },
    // What was faster is not looked at again.
    Defect {
        name: "stop-quickly-only",
        edits: &[edit(
            Protocol,
            r"    if old.is_held() || m.exchange(entry, old, old.stopped(true)).is_err() {
        return None;",
            r"    if old.is_held() || m.exchange(entry, old, old.stopped(true)).is_err() {
        return Some(Stop::Idle);",
        )],
        caught_by: &["stop, touch | walk, callback arms"],
    },
    // Cancelled while queued, and what the last run wrote is not there.
    Defect {
        name: "stop-slowly-relaxed",
        edits: &[edit(
            Protocol,
            r"        match m.exchange(entry, old, new) {
            Ok(()) => return met(old),",
            r"        match { crate::machine::weaken(); m }.exchange(entry, old, new) {
            Ok(()) => return met(old),",
        )],
        caught_by: &["worker: stop, touch again"],
    },
    // A run in progress that owes nothing is nothing to a stop.
    Defect {
        name: "stop-slowly-idle",
        edits: &[edit(
            Protocol,
            "if new == old && !old.is_running() {",
            "if new == old {",
        )],
        caught_by: &["next | stop, stop again"],
    },
    // An arm after a stop does not end its effect.
    Defect {
        name: "arm-keeps-no-next",
        edits: &[edit(
            Word,
            "(self.0 & BELOW_GRANULE & !NO_NEXT) | ARMED | ACTIVE",
            "(self.0 & BELOW_GRANULE) | ARMED | ACTIVE",
        )],
        caught_by: &["next, after its own stop | stop, arm"],
    },
    // An arm does not make active.
    Defect {
        name: "arm-not-active",
        edits: &[edit(
            Word,
            "(self.0 & BELOW_GRANULE & !NO_NEXT) | ARMED | ACTIVE",
            "(self.0 & BELOW_GRANULE & !NO_NEXT) | ARMED",
        )],
        caught_by: &["later | walk"],
    },
    // What is owed stays owed.
    Defect {
        name: "shut-keeps-run",
        edits: &[edit(
            Word,
            "Self((self.0 & !(ARMED | ACTIVE)) | SHUT)",
            "Self((self.0 & !ACTIVE) | SHUT)",
        )],
        caught_by: &["shutdown | sooner | later"],
    },
    // The run that a shutdown has met, and that is over when it drains, is told of nobody.
    Defect {
        name: "shut-forgets-run",
        edits: &[edit(
            Protocol,
            r"old.shut()) {
            Ok(()) => return met(old),",
            r"old.shut()) {
            Ok(()) if old.is_running() => return Stop::Idle,
            Ok(()) => return met(old),",
        )],
        caught_by: &["walk, callback arms | shutdown | drain | sooner"],
    },
    // Arms are not refused.
    Defect {
        name: "shut-not-for-arms",
        edits: &[
            edit(Word, "self.0 & (SHUT | DRAIN) != 0", "self.0 & DRAIN != 0"),
            edit(
                Word,
                "(self.0 ^ LINKED) & (PLACE | SHUT | DRAIN) == 0",
                "(self.0 ^ LINKED) & (PLACE | DRAIN) == 0",
            ),
        ],
        caught_by: &["shutdown | first arm | first arm on 1"],
    },
    // What the callback returns arms all the same.
    Defect {
        name: "shut-not-for-next",
        edits: &[edit(
            Word,
            "self.0 & (SHUT | DRAIN | NO_NEXT | ARMED) == 0",
            "self.0 & (DRAIN | NO_NEXT | ARMED) == 0",
        )],
        caught_by: &["callback shuts itself down, returns next | arm on 1"],
    },
    // What the callback returns counts more than an arm.
    Defect {
        name: "next-over-arm",
        edits: &[edit(
            Protocol,
            r"            _ if old.is_armed() => old,
            Some(granule) if old.takes_next() => old.armed(granule),",
            r"            Some(granule) if !old.refuses_arms() => old.armed(granule),
            _ if old.is_armed() => old,",
        )],
        caught_by: &["next | arm on 1"],
    },
];
