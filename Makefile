# SPDX-License-Identifier: GPL-2.0
#
# Verbs only: scripts/ does the work. `make help` lists them.
# make LOCKED=1 builds it with rust/policy/locked.rs, which the selftests hold the shipped protocol against.

.PHONY: all demo test test-all bench bench-quick lint doc driver shell kdir setup golden fmt clean prune help

all: export SC_LOCKED := $(LOCKED)
all:		## build softclock.ko for KDIR=..., the running kernel, or a kernel tree that is fetched
	@scripts/build --kdir "$(KDIR)"
demo:		## see it live: boot the stock Debian kernel in a guest, a callout firing, a dead peer found
	@scripts/demo
test:		## prove it: every selftest in six guests (ARGS="--guest amd64 load.sh" for a part)
	@scripts/test $(ARGS)
test-all:	## the same, in two slow guests with KASAN, lockdep, kmemleak and KCSAN, and all that takes long
	@scripts/test --all
bench:		## what callouts cost, beside the kernel's own timers, 1 to 1M of them (ARGS="--twice --gates")
	@scripts/bench $(ARGS)
bench-quick:	## the same with at most 10000, in some minutes
	@scripts/bench --quick $(ARGS)
lint:		## format, clippy, checkpatch, shellcheck, layers, unsafe, SPDX
	@scripts/lint
doc:		## write the documentation of the API as web pages, in .build/doc
	@scripts/doc
driver:		## build the driver in M=DIR for the stock kernel, with our toolchain
	@scripts/build --driver "$(M)"
shell:		## a prompt inside a guest, modules at /, also those of M=DIR (GUEST=amd64 rt icount uml-smp uml-tt ...)
	@scripts/shell "$(or $(GUEST),amd64)" "$(M)"
kdir:		## prepare the kernel tree softclock is tested with, and print where it is
	@scripts/build --print-kdir
setup:		## fetch and build everything the tests need, now (ARGS="kdir:amd64" for a part)
	@scripts/setup $(or $(ARGS),all)
golden:		## accept a changed list of exported symbols
	@SC_GOLDEN=update scripts/build amd64
fmt:		## format the Rust files
	@scripts/lint --fix
clean:		## remove .build/, all that was built from this checkout
	@rm -rf .build
prune:		## remove from the cache what this checkout does not use (all of it: rm -rf ~/.cache/softclock)
	@scripts/setup prune
help:		## this list
	@echo "softclock: make VERB"
	@sed -n 's/^\([a-z-]*\):[[:space:]]*## \(.*\)/  \1#\2/p' Makefile | awk -F'#' '{ printf "%-14s %s\n", $$1, $$2 }'
