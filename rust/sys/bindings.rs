// SPDX-License-Identifier: GPL-2.0

//! Raw bindings of `include/softclock/`, made by bindgen at build time.

// Generated code keeps C's names and has no documentation.
#![allow(
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    dead_code,
    improper_ctypes,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    unused_imports
)]

include!(concat!(
    env!("SOFTCLOCK_OBJ"),
    "/rust/bindings_generated.rs"
));
