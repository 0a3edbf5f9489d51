# SPDX-License-Identifier: GPL-2.0
#
# What a client's Kbuild includes, with SOFTCLOCK set to a built checkout of softclock:
#
#	obj-m += blink.o
#	include $(SOFTCLOCK)/scripts/softclock.mk
#
# It makes `use softclock::prelude::*;` work in every Rust module of the directory.

SOFTCLOCK_OUT ?= $(SOFTCLOCK)/.build/$(KERNELRELEASE)

ifeq ($(wildcard $(SOFTCLOCK_OUT)/rust/libsoftclock.rmeta),)
$(error softclock is not built for kernel $(KERNELRELEASE): run "make KDIR=..." for it in $(or $(SOFTCLOCK),the softclock checkout and pass SOFTCLOCK=DIR))
endif

rustflags-y += --extern softclock=$(SOFTCLOCK_OUT)/rust/libsoftclock.rmeta
KBUILD_EXTRA_SYMBOLS += $(SOFTCLOCK_OUT)/Module.symvers
