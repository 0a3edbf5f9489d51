// SPDX-License-Identifier: GPL-2.0

//! One exploration: one scenario, one program.

#![forbid(unsafe_code)]

use crate::{
    machine::{Loads, TRACE},
    program::Calls,
    stage::{Bound, Scenario, Stage},
};
use std::{
    panic,
    sync::{
        atomic::{AtomicUsize, Ordering::Relaxed},
        Mutex, PoisonError,
    },
    time::{Duration, Instant},
};

static EXECUTIONS: AtomicUsize = AtomicUsize::new(0);
static MESSAGE: Mutex<Option<String>> = Mutex::new(None);

/// What came of it.
pub(crate) struct Outcome {
    pub(crate) failed: Option<String>,
    pub(crate) executions: usize,
    pub(crate) time: Duration,
    /// All interleavings within the bound were tried.
    pub(crate) complete: bool,
}

pub(crate) fn explore(
    scenario: Scenario,
    calls: &'static Calls,
    loads: Loads,
    bound: Bound,
    limit: Duration,
    trace: bool,
) -> Outcome {
    EXECUTIONS.store(0, Relaxed);
    panic::set_hook(Box::new(remember));
    let mut model = loom::model::Builder::new();
    model.preemption_bound = bound;
    model.max_branches = 5000;
    model.max_duration = Some(limit);
    let start = Instant::now();
    let result = panic::catch_unwind(panic::AssertUnwindSafe(|| {
        model.check(move || {
            EXECUTIONS.fetch_add(1, Relaxed);
            TRACE.set(trace.then(Vec::new));
            Stage::play(&scenario, calls, loads);
        });
    }));
    let time = start.elapsed();
    let message = MESSAGE
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    Outcome {
        failed: result.err().map(|_| message.unwrap_or_default()),
        executions: EXECUTIONS.load(Relaxed),
        time,
        complete: time < limit,
    }
}

/// The first panic is the one that says what is wrong; then loom unwinds its other threads.
fn remember(info: &panic::PanicHookInfo<'_>) {
    let payload = info.payload();
    let text = match payload.downcast_ref::<String>() {
        Some(text) => text.as_str(),
        None => payload.downcast_ref::<&str>().copied().unwrap_or(""),
    };
    if text.is_empty() {
        return;
    }
    let place = match info.location().map(|l| (l.file(), l.line())) {
        Some((file, line)) if file.starts_with("src/") => format!(" ({file}:{line})"),
        _ => String::new(),
    };
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut message = MESSAGE.lock().unwrap_or_else(PoisonError::into_inner);
    message.get_or_insert(words.join(" ") + &place);
}
