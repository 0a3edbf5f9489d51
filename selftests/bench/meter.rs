// SPDX-License-Identifier: GPL-2.0

//! Measures one operation at a time: the clock before, the operation, the clock after.
//!
//! Each sample is one operation on one random victim, with all that belongs to the choice of the
//! victim done before. The alternative, a loop between two clock reads, needs its own costs taken
//! off, lets the cache misses of neighbours overlap, and has no percentiles. Where time counts
//! instructions both resolve a single one; this way shows all of them.
//!
//! The kernel crate has no way to keep interrupts off, so a tick can land in a sample. That adds
//! thousands, while the operations vary by tens: such samples are counted as disturbed and left out
//! of the mean. What the two clock reads cost by themselves is measured and taken off.
//!
//! The clock of a user-mode kernel goes in steps of 256 ns. Samples begin anywhere in a step, so there
//! the mean says what an operation takes, and the percentiles only roughly.

use core::hint::black_box;
use softclock::prelude::*;

/// Where the compiler may not look.
pub(crate) fn opaque<T>(value: T) -> T {
    black_box(value)
}

/// Samples of one operation, in nanoseconds.
pub(crate) struct Meter {
    samples: KVVec<i64>,
}

/// What a measurement costs by itself.
#[derive(Clone, Copy)]
pub(crate) struct Overhead {
    p50: i64,
    /// The mean, in hundredths.
    mean_100: i64,
}

impl Meter {
    /// For at most `count` samples.
    pub(crate) fn new(count: usize) -> Result<Self> {
        Ok(Self {
            samples: KVVec::with_capacity(count, GFP_KERNEL)?,
        })
    }

    /// Measures `op`.
    #[inline(always)]
    pub(crate) fn time<T>(&mut self, op: impl FnOnce() -> T) -> T {
        let start = softclock::now();
        let answer = op();
        let end = softclock::now();
        self.add((end - start).as_nanos());
        answer
    }

    /// Takes a sample measured otherwise. More than announced are dropped.
    pub(crate) fn add(&mut self, sample: i64) {
        let _ = self.samples.push_within_capacity(sample);
    }

    /// The mean of the samples up to `limit` in hundredths, and how many are above. Sorted only.
    fn mean_100(&self, limit: i64) -> (i64, usize) {
        let (mut sum, mut count) = (0, 0);
        for &sample in self.samples.iter().take_while(|&&s| s <= limit) {
            sum += sample;
            count += 1;
        }
        let mean = if count == 0 { 0 } else { sum * 100 / count };
        (mean, self.samples.len() - count as usize)
    }

    /// Above this a sample was disturbed. Sorted only.
    fn limit(&self) -> i64 {
        2 * self.rank(50) + 1_000
    }

    /// The sample that `percent` are not above. Sorted only.
    fn rank(&self, percent: usize) -> i64 {
        let last = self.samples.len().saturating_sub(1);
        let index = last * percent / 100;
        self.samples.get(index).copied().unwrap_or(0)
    }

    /// Prints the row of `op` with `n` outstanding, as measured by [`time`](Self::time).
    pub(crate) fn report(mut self, op: &str, n: usize, overhead: Overhead) {
        sort(&mut self.samples);
        let limit = self.limit();
        self.print("callout", op, n, overhead, limit);
    }

    /// Prints the row of `op` with `n` outstanding, every sample as it was taken.
    pub(crate) fn report_all(self, op: &str, n: usize) {
        self.report_all_of("callout", op, n);
    }

    /// The same for another facility.
    pub(crate) fn report_all_of(mut self, facility: &str, op: &str, n: usize) {
        sort(&mut self.samples);
        let nothing = Overhead {
            p50: 0,
            mean_100: 0,
        };
        self.print(facility, op, n, nothing, i64::MAX);
    }

    fn print(self, facility: &str, op: &str, n: usize, overhead: Overhead, limit: i64) {
        // No row: a goal that names it is missed then, as it must be.
        if self.samples.is_empty() {
            pr_warn!("{} with {}: nothing was measured\n", op, n);
            return;
        }
        let (mean, disturbed) = self.mean_100(limit);
        let mean = mean - overhead.mean_100;
        pr_info!(
            "row {} {} {} {} {} {}{}.{:02} {} {} {} {}\n",
            facility,
            op,
            n,
            self.samples.len(),
            disturbed,
            if mean < 0 { "-" } else { "" },
            mean.abs() / 100,
            mean.abs() % 100,
            self.rank(0) - overhead.p50,
            self.rank(50) - overhead.p50,
            self.rank(99) - overhead.p50,
            self.rank(100) - overhead.p50,
        );
    }
}

/// A shell sort: that of `core` can panic, and objtool warns of it.
fn sort(values: &mut [i64]) {
    let mut gap = values.len();
    while gap > 1 {
        gap = if gap < 5 { 1 } else { gap * 5 / 11 };
        for start in gap..values.len() {
            let mut at = start;
            while at >= gap && values[at - gap] > values[at] {
                values.swap(at - gap, at);
                at -= gap;
            }
        }
    }
}

/// Prints a row that is a single figure.
pub(crate) fn report(op: &str, n: usize, value: i64) {
    report_100(op, n, value * 100);
}

/// Prints a row that is a single figure, given in hundredths.
pub(crate) fn report_100(op: &str, n: usize, value: i64) {
    report_100_of("callout", op, n, value);
}

/// The same for another facility.
pub(crate) fn report_100_of(facility: &str, op: &str, n: usize, value: i64) {
    let whole = value / 100;
    pr_info!(
        "row {} {} {} 1 0 {}.{:02} {} {} {} {}\n",
        facility,
        op,
        n,
        whole,
        value % 100,
        whole,
        whole,
        whole,
        whole,
    );
}

/// Measures nothing.
pub(crate) fn overhead() -> Result<Overhead> {
    let mut meter = Meter::new(10_000)?;
    for _ in 0..10_000 {
        meter.time(|| ());
    }
    sort(&mut meter.samples);
    Ok(Overhead {
        p50: meter.rank(50),
        mean_100: meter.mean_100(meter.limit()).0,
    })
}
