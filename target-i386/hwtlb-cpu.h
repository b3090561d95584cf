/*
 * The hardware-TLB model of an x86 vCPU: creation and statistics
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef I386_HWTLB_CPU_H
#define I386_HWTLB_CPU_H

#include "hw/tlb/hwtlb.h"

/* Creates the model that the property "hwtlb" names, if it names one. */
bool x86_hwtlb_realize(X86CPU *cpu, Error **errp);
void x86_hwtlb_unrealize(X86CPU *cpu);

/* HWTLBDropFn: drops from L0 what an L1 entry has given to it. */
void x86_hwtlb_drop(void *opaque, HWTLBLevelId level, const HWTLBEntry *entry);

#endif
