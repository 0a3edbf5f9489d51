// SPDX-License-Identifier: GPL-2.0

//! Arms that move an entry to another base, or meet one that is held.

use super::{edit, Defect, File::Protocol};

pub(super) const DEFECTS: &[Defect] = &[
    // The word before the node.
    Defect {
        name: "move-unlinks-last",
        edits: &[
            edit(
                Protocol,
                r"    m.unlink(&mut locked, entry);
    loop {
        // Shut down since: the node is in our hand already.",
                r"    loop {
        // Shut down since: the node is in our hand already.",
            ),
            edit(
                Protocol,
                r"            old.armed(granule).with_base(to).queued()
        };
        match m.exchange(entry, old, new) {
            Ok(()) => break,
            Err(now) => old = now,
        }
    }
    drop(locked);
",
                r"            old.armed(granule).with_base(to).queued()
        };
        match m.exchange(entry, old, new) {
            Ok(()) => break,
            Err(now) => old = now,
        }
    }
    m.unlink(&mut locked, entry);
    drop(locked);
",
            ),
        ],
        caught_by: &["move | shutdown"],
    },
    // Does not look again under the lock where the entry is.
    Defect {
        name: "move-no-recheck",
        edits: &[edit(
            Protocol,
            "if old.refuses_arms() || !old.is_on(from) {",
            "if old.refuses_arms() {",
        )],
        caught_by: &["move | walk"],
    },
    // Arms what was shut down while it was taken off.
    Defect {
        name: "move-ignores-shut",
        edits: &[edit(
            Protocol,
            r"        let new = if old.refuses_arms() {
            old.idle()",
            r"        let new = if old.refuses_arms() && !old.is_shut() {
            old.idle()",
        )],
        caught_by: &["move | shutdown"],
    },
    // Nothing is armed on the way.
    Defect {
        name: "move-owes-nothing",
        edits: &[edit(
            Protocol,
            "old.armed(granule).with_base(to).queued()",
            "old.armed(granule).stopped(false).with_base(to).queued()",
        )],
        caught_by: &["move | stop says Cancelled"],
    },
    // Goes back where it was.
    Defect {
        name: "move-keeps-base",
        edits: &[edit(
            Protocol,
            "old.armed(granule).with_base(to).queued()",
            "old.armed(granule).queued()",
        )],
        caught_by: &["move | later"],
    },
    // Linked on a base that is not locked.
    Defect {
        name: "move-not-held",
        edits: &[edit(
            Protocol,
            "old.armed(granule).with_base(to).queued()",
            "old.armed(granule).with_base(to).linked()",
        )],
        caught_by: &["move | walk"],
    },
    // Does not let the entry go.
    Defect {
        name: "move-never-arrives",
        edits: &[edit(
            Protocol,
            r"    let_go(m, entry, None);
    Some(answer(old))",
            "    Some(answer(old))",
        )],
        caught_by: &["move | later"],
    },
    // A target while running or queued.
    Defect {
        name: "held-arm-ignores-target",
        edits: &[edit(
            Protocol,
            "let base = on.unwrap_or(seen.base());",
            "let base = on.map_or(seen.base(), |_| seen.base());",
        )],
        caught_by: &[
            "walk | arm on base 1: the next run is there",
            "lock: arm on base 1 under it | walk",
        ],
    },
    // Due, and on its way to its callback, it begins on the CPU that it was to leave.
    Defect {
        name: "held-arm-begins-here",
        edits: &[edit(
            Protocol,
            "let granule = put_off(m, seen, granule, base);",
            "let _ = put_off(m, seen, granule, base);",
        )],
        caught_by: &["move | walk", "walk | arm on base 1, arm: both for now"],
    },
    // An arm without a target makes it due there again.
    Defect {
        name: "held-arm-undoes-move",
        edits: &[edit(
            Protocol,
            "} else if granule < seen.granule() {",
            "} else if granule < seen.granule() && granule == 0 {",
        )],
        caught_by: &["walk | arm on base 1, arm: both for now"],
    },
    // What the caller prepared is not published.
    Defect {
        name: "held-arm-relaxed",
        edits: &[edit(
            Protocol,
            r"    let new = seen.armed(granule).with_base(base);
    m.exchange(entry, seen, new)",
            r"    let new = seen.armed(granule).with_base(base);
    { crate::machine::weaken(); m }.exchange(entry, seen, new)",
        )],
        caught_by: &["walk | arm from 1 without a base"],
    },
    // Links an entry that somebody holds.
    Defect {
        name: "held-arm-links",
        edits: &[
            edit(
                Protocol,
                r"            Place::Idle => {
                let base",
                r"            Place::Idle | Place::Running => {
                let base",
            ),
            edit(
                Protocol,
                "            Place::Queued | Place::Running => arm_held(",
                "            Place::Queued => arm_held(",
            ),
            edit(
                Protocol,
                "if old.refuses_arms() || old.place() != Place::Idle {",
                "if old.refuses_arms() || old.place() == Place::Linked {",
            ),
        ],
        caught_by: &["walk | arm from 1 without a base"],
    },
    // Whatever it has replaced.
    Defect {
        name: "arm-answers-new",
        edits: &[edit(
            Protocol,
            r"    if old.is_armed() {
        Arm::Replaced",
            r"    if old.is_armed() && old.is_held() {
        Arm::Replaced",
        )],
        caught_by: &["later | walk"],
    },
];
