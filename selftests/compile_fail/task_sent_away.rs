// SPDX-License-Identifier: GPL-2.0

//! The proof stays in the context that it is about.
// error: E0277.*.\*mut \(\). cannot be sent between threads safely
// error: E0277.*.\*mut \(\). cannot be shared between threads safely
// cure: s/let _ = &task;//

use softclock::prelude::*;

/// Captures it in a callback.
pub fn send(owner: softclock::Owner, task: Task) -> Result<Arc<Timed<Closure<Soft>>>> {
    Closure::<Soft>::new(owner, c"sent", move |_run| {
        let _ = &task;
        Next::Stop
    })
}
