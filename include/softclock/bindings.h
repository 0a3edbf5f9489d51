/* SPDX-License-Identifier: GPL-2.0 */
/* What the local bindgen run reads. Types the kernel's own bindings have are taken from there. */
#include <linux/hrtimer.h>
#include <softclock/helpers.h>
