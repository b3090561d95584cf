/*
 * The hardware-TLB model of an x86 vCPU: creation and statistics
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef I386_HWTLB_CPU_H
#define I386_HWTLB_CPU_H

#include "hw/tlb/hwtlb.h"
#include "qemu/notify.h"

/* Adds the properties that are more than a field of X86CPU. */
void x86_hwtlb_class_init(ObjectClass *oc);

/* Creates the model that the property "hwtlb" names, if it names one. */
bool x86_hwtlb_realize(X86CPU *cpu, Error **errp);
void x86_hwtlb_unrealize(X86CPU *cpu);

/* The model of @cpu, with what connects it to QEMU's software TLB. */
HWTLB *x86_hwtlb_new(X86CPU *cpu, const HWTLBConfig *config);
void x86_hwtlb_free(HWTLB *tlb);

/*
 * Whoever has read counters, to subtract what they were from what they will
 * be, is told when they go another way.  The data of the notifier is an
 * X86HwtlbNews.
 */
typedef enum X86HwtlbEvent {
    X86_HWTLB_NEW,              /* they are 0: the vCPU has not run yet */
    X86_HWTLB_RESET,            /* they are about to be 0 */
    X86_HWTLB_GONE,             /* the vCPU has stopped, and they go with it */
} X86HwtlbEvent;

typedef struct X86HwtlbNews {
    CPUState *cs;
    X86HwtlbEvent event;
} X86HwtlbNews;

void x86_hwtlb_add_notifier(Notifier *notifier);

/*
 * Sets the counters of @cs, which has a model, to 0.  Call it on the vCPU's
 * own thread.
 */
void x86_hwtlb_reset_counters(CPUState *cs);

/* Whoever watches is told of each miss from now on, or no more. */
void x86_hwtlb_watch(HWTLB *tlb, bool watched);

/* HWTLBDropFn: drops from L0 what an L1 entry has given to it. */
void x86_hwtlb_drop(void *opaque, HWTLBLevelId level, const HWTLBEntry *entry);

/* The processor drops its translations of @addr. */
void x86_hwtlb_invalidate(CPUX86State *env, vaddr addr, HWTLBCause cause);

/* It drops all of them, or all that are not global; L0 is the caller's. */
void x86_hwtlb_flush(CPUX86State *env, bool keep_global, HWTLBCause cause);

#endif
