// SPDX-License-Identifier: GPL-2.0

//! The walk of a base: visits, and the beginning of a run.

use super::{
    edit, Defect,
    File::{Protocol, Word},
};

pub(super) const DEFECTS: &[Defect] = &[
    // A run that is queued counts as begun.
    Defect {
        name: "queue-begins",
        edits: &[edit(
            Protocol,
            "    if let Err(now) = m.exchange(entry, old, old.queued()) {",
            "    if let Err(now) = m.exchange(entry, old, old.running()) {",
        )],
        caught_by: &["lock: stop under it | walk"],
    },
    // What happened to the entry meanwhile is forgotten.
    Defect {
        name: "queue-forgets-change",
        edits: &[edit(
            Protocol,
            r"    while let Err(now) = m.exchange(entry, old, old.queued()) {
        old = now;",
            r"    let first = old.queued();
    while let Err(now) = m.exchange(entry, old, first) {
        old = now;",
        )],
        caught_by: &["later | stop | walk"],
    },
    // Takes the reference after the exchange.
    Defect {
        name: "take-gets-last",
        edits: &[edit(
            Protocol,
            r"    let taken = old.is_due(granule) && m.get(entry);
    if taken {
        queue(m, entry, old);
    }
    taken",
            r"    let due = old.is_due(granule);
    if due {
        queue(m, entry, old);
    }
    due && m.get(entry)",
        )],
        caught_by: &["last reference | walk"],
    },
    // Runs without a reference.
    Defect {
        name: "take-fires-the-dead",
        edits: &[edit(
            Protocol,
            "old.is_due(granule) && m.get(entry);",
            "old.is_due(granule) && (m.get(entry) || granule > 0);",
        )],
        caught_by: &["last reference | walk"],
    },
    // Takes off what is not due yet.
    Defect {
        name: "visit-drops-later",
        edits: &[edit(
            Protocol,
            r"        if old.is_armed() && old.granule() > granule {
            m.link(locked, entry, old.granule());
            return Visit::Moved;
        }
        if old.is_armed() && m.get(entry) {",
            r"        if old.is_due(granule) && m.get(entry) {",
        )],
        caught_by: &["cascade | stop | later"],
    },
    // The word before the node.
    Defect {
        name: "visit-unlinks-last",
        edits: &[
            edit(
                Protocol,
                r"    m.unlink(locked, entry);
    let mut old = m.load(entry, Load::Relaxed);
    loop {
        if old.is_armed() && old.granule() > granule {",
                r"    let mut old = m.load(entry, Load::Relaxed);
    loop {
        if old.is_armed() && old.granule() > granule {
            m.unlink(locked, entry);",
            ),
            edit(
                Protocol,
                r"            queue(m, entry, old);
            return Visit::Held;",
                r"            queue(m, entry, old);
            m.unlink(locked, entry);
            return Visit::Held;",
            ),
            edit(
                Protocol,
                r"            Ok(()) => return Visit::Dropped,",
                r"            Ok(()) => {
                m.unlink(locked, entry);
                return Visit::Dropped;
            }",
            ),
        ],
        caught_by: &[
            "last reference | walk",
            "tombstone walked | first arm on 1 | stop",
        ],
    },
    // The node is given away unordered.
    Defect {
        name: "visit-relaxed",
        edits: &[edit(
            Protocol,
            r"        match m.exchange(entry, old, old.idle()) {
            Ok(()) => return Visit::Dropped,",
            r"        match { crate::machine::weaken(); m }.exchange(entry, old, old.idle()) {
            Ok(()) => return Visit::Dropped,",
        )],
        caught_by: &["tombstone walked | first arm on 1 | stop"],
    },
    // Looks at the entry after it has let it go.
    Defect {
        name: "visit-touches-after",
        edits: &[edit(
            Protocol,
            r"            Ok(()) => return Visit::Dropped,",
            r"            Ok(()) if m.load(entry, Load::Relaxed).is_running() => return Visit::Held,
            Ok(()) => return Visit::Dropped,",
        )],
        caught_by: &["last reference | walk"],
    },
    // The run that has begun is still owed.
    Defect {
        name: "visit-keeps-owed",
        edits: &[edit(
            Word,
            "Self((self.0 & !(PLACE | ARMED)) | RUNNING)",
            "Self((self.0 & !PLACE) | RUNNING)",
        )],
        caught_by: &["later | walk"],
    },
    // Does not look at the granule: a re-arm while queued runs at once.
    Defect {
        name: "begin-early",
        edits: &[edit(
            Protocol,
            r"    if !old.is_due(now) {
        return None;",
            r"    if !old.is_armed() {
        return None;",
        )],
        caught_by: &["worker: later", "lock: later under it | walk"],
    },
    // Does not look whether the run is still owed.
    Defect {
        name: "begin-stopped",
        edits: &[edit(
            Protocol,
            r"    if !old.is_due(now) {
        return None;",
            r"    if old.granule() > now {
        return None;",
        )],
        caught_by: &["lock: stop under it | walk", "worker: stop, touch"],
    },
    // What the caller prepared is not there.
    Defect {
        name: "begin-relaxed",
        edits: &[edit(
            Protocol,
            r"    match m.exchange(entry, old, new) {
        Ok(()) => Some(new),",
            r"    match { crate::machine::weaken(); m }.exchange(entry, old, new) {
        Ok(()) => Some(new),",
        )],
        caught_by: &["worker: sooner"],
    },
    // The run is not owed any more when it is queued.
    Defect {
        name: "queued-owes-nothing",
        edits: &[edit(
            Word,
            "Self((self.0 & !PLACE) | QUEUED)",
            "Self((self.0 & !(PLACE | ARMED)) | QUEUED)",
        )],
        caught_by: &["worker: stop, touch"],
    },
];
