// SPDX-License-Identifier: GPL-2.0

//! The end of a run: an entry that is let go, onto a wheel or not.

use super::{edit, Defect, File::Protocol};

pub(super) const DEFECTS: &[Defect] = &[
    // An arm during the run is lost.
    Defect {
        name: "let-go-forgets-arm",
        edits: &[edit(
            Protocol,
            "        if old.is_armed() || (next.is_some() && old.takes_next()) {",
            "        if (next.is_some() && old.takes_next()) {",
        )],
        caught_by: &["walk | arm from 1 without a base", "trylock: held | walk"],
    },
    // What the callback returns is lost.
    Defect {
        name: "let-go-forgets-next",
        edits: &[edit(
            Protocol,
            "        if old.is_armed() || (next.is_some() && old.takes_next()) {",
            "        if old.is_armed() {",
        )],
        caught_by: &["next | deactivate"],
    },
    // An arm that comes before the exchange is missed.
    Defect {
        name: "let-go-decides-once",
        edits: &[edit(
            Protocol,
            r"-> Option<Word> {
    let mut old = m.load(entry, Load::Relaxed);
    loop {
        if old.is_armed() || (next",
            r"-> Option<Word> {
    let mut old = m.load(entry, Load::Relaxed);
    let first = old;
    loop {
        if first.is_armed() || (next",
        )],
        caught_by: &["worker: later", "worker: sooner"],
    },
    // A drain waits for ever.
    Defect {
        name: "let-go-wakes-nobody",
        edits: &[edit(
            Protocol,
            r"            match m.exchange(entry, old, old.idle()) {
                Ok(()) => return old.refuses_arms().then_some(old),",
            r"            match m.exchange(entry, old, old.idle()) {
                Ok(()) => return None,",
        )],
        caught_by: &["drain | walk, callback arms"],
    },
    // What the run wrote is not there.
    Defect {
        name: "let-go-relaxed",
        edits: &[edit(
            Protocol,
            r"            match m.exchange(entry, old, old.idle()) {
                Ok(()) => return old.refuses_arms().then_some(old),",
            r"            match { crate::machine::weaken(); m }.exchange(entry, old, old.idle()) {
                Ok(()) => return old.refuses_arms().then_some(old),",
        )],
        caught_by: &["drain, spinning | walk, callback arms"],
    },
    // Does not look again where it is to go.
    Defect {
        name: "put-on-any-base",
        edits: &[edit(
            Protocol,
            r"        if old.base() != base {
            return Err(old);
        }
",
            "",
        )],
        caught_by: &[
            "walk | arm on base 1, arm on base 0",
            "walk, next | arm on base 1: the next run is there",
        ],
    },
    // Does not look again whether a run is owed.
    Defect {
        name: "put-on-stopped",
        edits: &[edit(
            Protocol,
            r"            Some(granule) if old.takes_next() => old.armed(granule),
            _ => return Err(old),",
            r"            Some(granule) if old.takes_next() => old.armed(granule),
            _ => old.armed(base as u64 + 3),",
        )],
        caught_by: &["move | drain", "next | stop, touch"],
    },
    // Linked for a granule that was visited.
    Defect {
        name: "put-on-into-the-past",
        edits: &[edit(
            Protocol,
            r"            .max(m.visited(&locked).wrapping_add(1))
",
            "",
        )],
        caught_by: &["trylock: held | walk"],
    },
    // The node before the word.
    Defect {
        name: "put-on-links-first",
        edits: &[edit(
            Protocol,
            r"        match m.exchange(entry, old, wanted.at(granule).linked()) {
            Ok(()) => {
                m.link(&mut locked, entry, granule);
                return Ok(());",
            r"        m.link(&mut locked, entry, granule);
        match m.exchange(entry, old, wanted.at(granule).linked()) {
            Ok(()) => {
                return Ok(());",
        )],
        caught_by: &["move | later"],
    },
    // A deactivated entry becomes active again.
    Defect {
        name: "put-on-activates",
        edits: &[edit(
            Protocol,
            "            _ if old.is_armed() => old,",
            "            _ if old.is_armed() => old.armed(old.granule()),",
        )],
        caught_by: &["move | deactivate"],
    },
    // What the run wrote is not there for the next.
    Defect {
        name: "put-on-relaxed",
        edits: &[edit(
            Protocol,
            r"        match m.exchange(entry, old, wanted.at(granule).linked()) {
            Ok(()) => {
                m.link(&mut locked, entry, granule);
                return Ok(());",
            r"        match { crate::machine::weaken(); m }.exchange(entry, old, wanted.at(granule).linked()) {
            Ok(()) => {
                m.link(&mut locked, entry, granule);
                return Ok(());",
        )],
        caught_by: &["next | stop, touch"],
    },
    // What the run wrote is not there.
    Defect {
        name: "let-go-quickly-relaxed",
        edits: &[edit(
            Protocol,
            "m.exchange(entry, began, began.idle()).is_ok()",
            "{ crate::machine::weaken(); m }.exchange(entry, began, began.idle()).is_ok()",
        )],
        caught_by: &["drain, spinning | walk, callback arms"],
    },
    // What happened to the entry during the run is forgotten.
    Defect {
        name: "let-go-quickly-any",
        edits: &[edit(
            Protocol,
            "m.exchange(entry, began, began.idle()).is_ok()",
            "{ let now = m.load(entry, Load::Relaxed); m.exchange(entry, now, began.idle()).is_ok() }",
        )],
        caught_by: &["drain | walk, callback arms", "walk | arm from 1 without a base"],
    },
];
