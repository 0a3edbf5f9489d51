// SPDX-License-Identifier: GPL-2.0

//! Ties one protocol to the machine. Compiled once for each program: `super` is the program.

#![forbid(unsafe_code)]

use super::{
    protocol::{self, Drained, Load, Machine, Visit},
    word::Word,
};
use crate::{
    machine::{Cpu, Locked},
    program::{Calls, Found, LetGo, Visited},
};

impl Machine for Cpu {
    type Entry = usize;
    type Locked<'a> = Locked<'a>;

    fn load(&self, entry: usize, how: Load) -> Word {
        Word::from_bits(self.load_word(entry, how == Load::Acquire))
    }

    fn exchange(&self, entry: usize, old: Word, new: Word) -> Result<(), Word> {
        self.exchange_word(entry, old.bits(), new.bits())
            .map_err(Word::from_bits)
    }

    fn here(&self) -> usize {
        self.id
    }

    fn ahead(&self) -> u64 {
        Cpu::ahead(self)
    }

    fn lock(&self, base: usize) -> Locked<'_> {
        self.lock_base(base)
    }

    fn visited(&self, base: &Locked<'_>) -> u64 {
        base.visited()
    }

    fn link(&self, base: &mut Locked<'_>, entry: usize, granule: u64) {
        base.link(entry, granule);
    }

    fn unlink(&self, base: &mut Locked<'_>, entry: usize) {
        base.unlink(entry);
    }

    fn get(&self, entry: usize) -> bool {
        self.get_unless_gone(entry)
    }
}

pub(crate) static CALLS: Calls = Calls {
    arm: |cpu, entry, granule, on| protocol::arm(cpu, entry, granule, on),
    stop: |cpu, entry, own| protocol::stop(cpu, entry, || own),
    deactivate: |cpu, entry| protocol::deactivate(cpu, entry),
    shut: |cpu, entry| protocol::shut(cpu, entry),
    drain: |cpu, entry, own| found(protocol::drain(cpu, entry, || own)),
    report: |cpu, entry| found(protocol::report(cpu, entry)),
    is_waited_for: |cpu, entry| protocol::is_waited_for(cpu, entry),
    retire: |cpu, entry| protocol::retire(cpu, entry),
    visit: |cpu, locked, entry, granule| {
        if protocol::take(cpu, entry, granule) {
            locked.unlink(entry);
            return Visited::Held;
        }
        match protocol::visit(cpu, locked, entry, granule) {
            Visit::Held => Visited::Held,
            Visit::Moved => Visited::Moved,
            Visit::Dropped => Visited::Dropped,
        }
    },
    begin: |cpu, entry, now, here| protocol::begin(cpu, entry, now, here).map(Word::bits),
    let_go: |cpu, entry, began, next| match (began, next) {
        (Some(began), None) if protocol::let_go_quickly(cpu, entry, Word::from_bits(began)) => {
            LetGo::default()
        }
        _ => protocol::let_go(cpu, entry, next).map_or(LetGo::default(), |was| LetGo {
            awaited: true,
            reported: was.is_reported(),
        }),
    },
};

fn found(drained: Drained) -> Found {
    match drained {
        Drained::Cancelled => Found::Cancelled,
        Drained::Idle => Found::Idle,
        Drained::Wait => Found::Wait,
        Drained::Own => Found::Own,
    }
}
