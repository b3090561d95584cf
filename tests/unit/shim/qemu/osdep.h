/*
 * What the model takes from QEMU's headers, for building it without QEMU
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef SHIM_QEMU_OSDEP_H
#define SHIM_QEMU_OSDEP_H

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <glib.h>

#define likely(x)                   __builtin_expect(!!(x), 1)
#define unlikely(x)                 __builtin_expect(!!(x), 0)
#define ARRAY_SIZE(a)               G_N_ELEMENTS(a)
#define QEMU_ALWAYS_INLINE          __attribute__((__always_inline__))
#define QEMU_BUILD_BUG_ON(x)        _Static_assert(!(x), #x)
#define MAKE_64BIT_MASK(shift, len) (((~0ull) >> (64 - (len))) << (shift))
#define is_power_of_2(x)            ((x) && !((x) & ((x) - 1)))
/* As in QEMU, 0 has as many zeros as bits. */
#define ctz32(x)                    ((x) ? __builtin_ctz(x) : 32)
#define ctz64(x)                    ((x) ? __builtin_ctzll(x) : 64)
#define clz32(x)                    ((x) ? __builtin_clz(x) : 32)

#define qatomic_read__nocheck(p)    __atomic_load_n(p, __ATOMIC_RELAXED)
#define qatomic_set__nocheck(p, v)  __atomic_store_n(p, v, __ATOMIC_RELAXED)

#endif
