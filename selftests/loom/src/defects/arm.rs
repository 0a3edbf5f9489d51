// SPDX-License-Identifier: GPL-2.0

//! Arms of what is idle or stays on its base.

use super::{
    edit, Defect,
    File::{Protocol, Word},
};

pub(super) const DEFECTS: &[Defect] = &[
    // What the caller prepared is not published.
    Defect {
        name: "arm-fast-relaxed",
        edits: &[edit(
            Protocol,
            r"    while old.can_stay(granule) {
        match m.exchange(entry, old, old.armed(granule)) {",
            r"    while old.can_stay(granule) {
        match { crate::machine::weaken(); m }.exchange(entry, old, old.armed(granule)) {",
        )],
        caught_by: &["same granule | walk", "later | walk"],
    },
    // A word that would not change is not exchanged.
    Defect {
        name: "arm-skips-exchange",
        edits: &[edit(
            Protocol,
            r"    while old.can_stay(granule) {
        match m.exchange(entry, old, old.armed(granule)) {",
            r"    while old.can_stay(granule) {
        if old.armed(granule) == old {
            return Some(answer(old));
        }
        match m.exchange(entry, old, old.armed(granule)) {",
        )],
        caught_by: &["same granule | walk"],
    },
    // The lock-free path with a target.
    Defect {
        name: "arm-fast-ignores-base",
        edits: &[edit(
            Protocol,
            r"        Some(_) => None,
    };
    quick",
            r"        Some(_) => arm_quickly(m, entry, granule),
    };
    quick",
        )],
        caught_by: &["walk | arm on base 1: the next run is there"],
    },
    // Sooner without the lock.
    Defect {
        name: "arm-fast-sooner",
        edits: &[edit(
            Word,
            "(self.0 ^ LINKED) & (PLACE | SHUT | DRAIN) == 0 && granule >= self.granule()",
            "(self.0 ^ LINKED) & (PLACE | SHUT | DRAIN) == 0 && granule > 0",
        )],
        caught_by: &["sooner | stop | walk"],
    },
    // The lock-free path does not look for SHUT.
    Defect {
        name: "arm-fast-ignores-shut",
        edits: &[edit(
            Word,
            "(self.0 ^ LINKED) & (PLACE | SHUT | DRAIN) == 0",
            "(self.0 ^ LINKED) & (PLACE | DRAIN) == 0",
        )],
        caught_by: &["shutdown | sooner | later"],
    },
    // The lock-free path does not look where the node is.
    Defect {
        name: "arm-fast-ignores-place",
        edits: &[edit(
            Word,
            "(self.0 ^ LINKED) & (PLACE | SHUT | DRAIN) == 0 &&",
            "self.0 & (SHUT | DRAIN) == 0 &&",
        )],
        caught_by: &["later | stop | walk"],
    },
    // The node is taken over unordered.
    Defect {
        name: "first-arm-relaxed",
        edits: &[edit(
            Protocol,
            r"        let new = old.armed(granule).with_base(base).linked();
        match m.exchange(entry, old, new) {
            Ok(()) => break,
            Err(now) => old = now,
        }
    }
    m.link(&mut locked, entry, granule);
",
            r"        let new = old.armed(granule).with_base(base).linked();
        match { crate::machine::weaken(); m }.exchange(entry, old, new) {
            Ok(()) => break,
            Err(now) => old = now,
        }
    }
    m.link(&mut locked, entry, granule);
",
        )],
        caught_by: &["tombstone walked | first arm on 1 | stop"],
    },
    // The node before the word.
    Defect {
        name: "first-arm-links-first",
        edits: &[edit(
            Protocol,
            r"        let new = old.armed(granule).with_base(base).linked();
        match m.exchange(entry, old, new) {
            Ok(()) => break,
            Err(now) => old = now,
        }
    }
    m.link(&mut locked, entry, granule);
",
            r"        let new = old.armed(granule).with_base(base).linked();
        m.link(&mut locked, entry, granule);
        match m.exchange(entry, old, new) {
            Ok(()) => break,
            Err(now) => old = now,
        }
    }
",
        )],
        caught_by: &["first arm on 0 | first arm on 1"],
    },
    // Does not look again under the lock whether the entry is idle.
    Defect {
        name: "first-arm-no-recheck",
        edits: &[edit(
            Protocol,
            "if old.refuses_arms() || old.place() != Place::Idle {",
            "if old.refuses_arms() {",
        )],
        caught_by: &["first arm on 0 | first arm on 1"],
    },
    // Does not look again under the lock for SHUT.
    Defect {
        name: "first-arm-ignores-shut",
        edits: &[edit(
            Protocol,
            "if old.refuses_arms() || old.place() != Place::Idle {",
            "if old.place() != Place::Idle {",
        )],
        caught_by: &["shutdown | first arm | first arm on 1"],
    },
    // Linked for a granule that was visited.
    Defect {
        name: "first-arm-into-the-past",
        edits: &[edit(
            Protocol,
            r"    let mut locked = m.lock(base);
    let granule = granule.max(m.visited(&locked).wrapping_add(1));
    let mut old = m.load(entry, Load::Relaxed);
    loop {
        if old.refuses_arms() || old.place() != Place::Idle {",
            r"    let mut locked = m.lock(base);
    let granule = granule.max(u64::from(granule == 0));
    let mut old = m.load(entry, Load::Relaxed);
    loop {
        if old.refuses_arms() || old.place() != Place::Idle {",
        )],
        caught_by: &["same granule | walk"],
    },
    // Does not look again under the lock where the entry is.
    Defect {
        name: "sooner-no-recheck",
        edits: &[edit(
            Protocol,
            r"        if old.refuses_arms() || !old.is_on(base) {
            return None;
        }
        match m",
            r"        if old.refuses_arms() {
            return None;
        }
        match m",
        )],
        caught_by: &["sooner | stop | walk", "drain | sooner | sooner on 1"],
    },
    // Does not look again under the lock for SHUT.
    Defect {
        name: "sooner-ignores-shut",
        edits: &[edit(
            Protocol,
            r"        if old.refuses_arms() || !old.is_on(base) {
            return None;
        }
        match m",
            r"        if !old.is_on(base) {
            return None;
        }
        match m",
        )],
        caught_by: &["shutdown | sooner | later"],
    },
    // Moved to a granule that was visited.
    Defect {
        name: "sooner-into-the-past",
        edits: &[edit(
            Protocol,
            r"    let mut locked = m.lock(base);
    let granule = granule.max(m.visited(&locked).wrapping_add(1));
    let mut old = m.load(entry, Load::Relaxed);
    loop {
        if old.refuses_arms() || !old.is_on(base) {",
            r"    let mut locked = m.lock(base);
    let granule = granule.max(u64::from(granule == 0));
    let mut old = m.load(entry, Load::Relaxed);
    loop {
        if old.refuses_arms() || !old.is_on(base) {",
        )],
        caught_by: &["cascade | stop | sooner"],
    },
    // The bucket is not changed.
    Defect {
        name: "sooner-stays",
        edits: &[edit(
            Protocol,
            "    if granule < old.granule() {",
            "    if granule < old.granule() && granule == 0 {",
        )],
        caught_by: &["sooner | sooner"],
    },
    // A later one is moved as well, on what the load has seen.
    Defect {
        name: "sooner-moves-later",
        edits: &[edit(
            Protocol,
            r"    m.link(&mut locked, entry, granule);
    }
    Some(answer(old))",
            r"    m.link(&mut locked, entry, old.granule());
    }
    Some(answer(old))",
        )],
        caught_by: &["sooner | sooner"],
    },
];
