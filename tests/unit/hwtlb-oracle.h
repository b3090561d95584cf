/*
 * A second model of the same TLBs, to compare with: slow and obvious
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Shares the configuration and the numbers of the counters with the model, and
 * no code.  It sees every access, and finds entries by looking at all.
 */
#ifndef HWTLB_ORACLE_H
#define HWTLB_ORACLE_H

#include "hw/tlb/hwtlb.h"

typedef struct Oracle Oracle;

Oracle *oracle_new(const HWTLBConfig *config);
void oracle_free(Oracle *o);

/* One access to @va; @leaf is what a walk for it finds now. */
void oracle_access(Oracle *o, HWTLBAccess access, uint64_t va,
                   const HWTLBLeaf *leaf);

/* Drops what covers @va, or with @all what is not global or @global too. */
void oracle_drop(Oracle *o, bool all, uint64_t va, bool global,
                 HWTLBCause cause);

/* What the counter should be; those of hwtlb_walk() stay 0. */
uint64_t oracle_counter(const Oracle *o, HWTLBCounter counter);

#endif
