// SPDX-License-Identifier: GPL-2.0

//! What the stress writes down.

use crate::{of_tasks, Clock, EACH, KINDS};
use softclock::{new_hard_lock, prelude::*};

/// All that was answered and that ran.
#[pin_data]
pub(crate) struct Journal {
    #[pin]
    sums: HardLock<Sums>,
    log: bool,
    start: Instant,
}

#[derive(Clone, Copy, Default)]
pub(crate) struct Sums {
    /// Over all lines in order; those of a callout of tasks have a stream of their own. Two workers that
    /// wake at once may begin one before the other or the other way round: nobody promises more.
    streams: [[Stream; KINDS]; EACH],
    lines: u64,
    pub(crate) new: u64,
    pub(crate) runs: u64,
    pub(crate) cancelled: u64,
    /// Re-arms that a stop or drain during the run dropped.
    pub(crate) dropped: u64,
    pub(crate) early: u64,
    /// Stops after which the next run's deadline is not known.
    pub(crate) unsure: u64,
    /// Objects whose arms do not add up.
    pub(crate) wrong: u64,
    /// Runs after the end.
    pub(crate) late: u64,
    /// Reports of the end of a run, and how many were asked for.
    pub(crate) drained: u64,
    pub(crate) asked: u64,
}

/// Lines whose order nothing leaves to chance.
#[derive(Clone, Copy, Default)]
struct Stream {
    hash: u64,
    lines: u64,
}

/// FNV-1a, one step of it.
fn hashed(hash: u64, byte: &u8) -> u64 {
    (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
}

impl Journal {
    pub(crate) fn new(log: bool, start: Instant) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                sums <- new_hard_lock!(Sums::default()),
                log,
                start,
            }),
            GFP_KERNEL,
        )
    }

    /// A time, as it is written down: in steps.
    pub(crate) fn time(&self, at: Instant) -> i64 {
        (at - self.start).as_nanos() / Clock::STEP
    }

    pub(crate) fn write(&self, tag: u64, what: &str, value: i64, count: impl FnOnce(&mut Sums)) {
        let mut sums = self.sums.lock();
        sums.lines += 1;
        // None of those is number 0.
        let (each, kind) = match tag as usize {
            tag if of_tasks(tag % KINDS) => (tag / KINDS, tag % KINDS),
            _ => (0, 0),
        };
        let row = sums.streams.get_mut(each);
        let Some(stream) = row.and_then(|row| row.get_mut(kind)) else {
            return;
        };
        for bytes in [what.as_bytes(), &tag.to_le_bytes(), &value.to_le_bytes()] {
            stream.hash = bytes.iter().fold(stream.hash, hashed);
        }
        stream.lines += 1;
        if self.log {
            let number = each * KINDS + kind;
            pr_info!("{} {} {} {} {}\n", number, stream.lines, tag, what, value);
        }
        count(&mut sums);
    }

    pub(crate) fn tell(&self) {
        let sums = *self.sums.lock();
        let hash = sums
            .streams
            .iter()
            .flatten()
            .flat_map(|stream| stream.hash.to_le_bytes())
            .fold(0, |all, byte| hashed(all, &byte));
        pr_info!(
            "hash {:016x} lines {} new {} runs {} cancelled {} dropped {} unsure {}\n",
            hash,
            sums.lines,
            sums.new,
            sums.runs,
            sums.cancelled,
            sums.dropped,
            sums.unsure
        );
        pr_info!(
            "early {} wrong {} late {} drained {} asked {}\n",
            sums.early,
            sums.wrong,
            sums.late,
            sums.drained,
            sums.asked
        );
    }
}
