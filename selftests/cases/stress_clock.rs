// SPDX-License-Identifier: GPL-2.0

//! Chance and time, for operations from a seed.

use kernel::{cpu::nr_cpu_ids, sync::Completion};
use softclock::prelude::*;

/// Random numbers from a seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, end: u32) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as u32).checked_rem(end).unwrap_or(0)
    }

    /// As likely a microsecond as a second.
    pub(crate) fn delay(&mut self) -> Delta {
        let base = 1_i64 << self.below(30);
        Delta::from_nanos(base + i64::from(self.below(1 << 16)) - 1_000)
    }

    /// Up to a millisecond: what the place of the granules is good for.
    pub(crate) fn window(&mut self) -> Delta {
        Delta::from_nanos(i64::from(self.below(1 << 6)) * Clock::STEP)
    }
}

/// The time, as far as the operations go. Where nothing is left to chance it is not read but made: all
/// deadlines are multiples of a step, and all operations lie in the middle between two of those: to read
/// the clock costs 256 ns there, and who reads it how often before us is left to chance.
pub(crate) struct Clock {
    pub(crate) now: Instant,
    pub(crate) simulated: bool,
}

impl Clock {
    pub(crate) const STEP: i64 = 1 << 14;

    /// Simulated, it begins where all buckets of the wheel that are used here lie as they lay the last
    /// time, and when the wheel has come that far.
    pub(crate) fn new() -> Result<Self> {
        /// The span of a bucket of a level above those.
        const ROUND: i64 = 1 << 40;
        let mut clock = Self {
            now: softclock::now(),
            simulated: nr_cpu_ids() < 2,
        };
        if clock.simulated {
            let start = (clock.now.as_nanos() / ROUND + 1) * ROUND;
            clock.now = Instant::from_nanos(start + Self::STEP / 2);
            let first = Closure::<Soft>::new(softclock::owner!(), c"first", |_run| Next::Stop)?;
            first.callout().arm_at(clock.now);
            clock.rest(64)?;
        }
        Ok(clock)
    }

    /// Until the present operation.
    fn sleep(&self) -> Result {
        sleep_until(self.now)
    }

    pub(crate) fn rest(&mut self, us: u32) -> Result {
        if self.simulated {
            self.now = self.now + Delta::from_nanos(i64::from(us) * Self::STEP);
        } else {
            self.now = softclock::now() + Delta::from_micros(i64::from(us));
        }
        self.sleep()
    }
}

/// Task context.
pub(crate) fn sleep_until(at: Instant) -> Result {
    let over = Arc::pin_init(Completion::new(), GFP_KERNEL)?;
    let wake = over.clone();
    // Not in the interrupt: there a kernel with PREEMPT_RT may not wake all who wait.
    let timer = Closure::<Precise<Soft>>::new(softclock::owner!(), c"rest", move |_run| {
        wake.complete_all();
        Next::Stop
    })?;
    timer.callout().arm_at(at);
    over.wait_for_completion();
    Ok(())
}
