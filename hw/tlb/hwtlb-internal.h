/*
 * hwtlb: what the model's own files share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_TLB_HWTLB_INTERNAL_H
#define HW_TLB_HWTLB_INTERNAL_H

#include "hw/tlb/hwtlb-array.h"
#include "hw/tlb/hwtlb-pwc.h"

/* The most that a model of @config will ever allocate. */
uint64_t hwtlb_config_bytes(const HWTLBConfig *config);

#endif
