// SPDX-License-Identifier: GPL-2.0
/*
 * Exports the Rust symbols of softclock to other Rust modules. The list is generated from the
 * object (scripts/gen-exports): which functions rustc leaves as symbols is its decision.
 */
#include <linux/export.h>

#define EXPORT_SYMBOL_RUST_GPL(sym) extern int sym; EXPORT_SYMBOL_NS_GPL(sym, "SOFTCLOCK")

#include "exports_generated.h"
