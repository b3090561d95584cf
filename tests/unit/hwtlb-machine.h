/*
 * A toy machine around the model: page tables, L0 and the oracle
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Unit tests and the fuzzer drive it.  It does to the model what the emulator
 * does, and after any number of steps machine_check() compares all counters
 * with the oracle's, and L0 with L1.
 */
#ifndef HWTLB_MACHINE_H
#define HWTLB_MACHINE_H

#include "hw/tlb/hwtlb.h"

/* 2 GB of addresses; the kinds of pages can change in each 2 MB or 1 GB. */
#define MACHINE_REGIONS 1024
#define MACHINE_SIZE    (2048ull << 20)

typedef struct Machine Machine;

/* The machine has an L0 unless @config observes every access. */
Machine *machine_new(const HWTLBConfig *config);
void machine_free(Machine *m);

/* @va is an offset into the machine's addresses, in all that follows. */
void machine_access(Machine *m, HWTLBAccess access, uint64_t va);

/*
 * Maps the 2 MB at @va by pages of @class from now on, without telling the
 * TLBs; by sizes up to 64 KB in turn if it is HWTLB_CLASSES; the whole 1 GB if
 * it is HWTLB_1G.
 */
void machine_map(Machine *m, uint64_t va, HWTLBClass class, bool global);

/* INVLPG or a page fault; a flush of all, or of all that is not global. */
void machine_invalidate(Machine *m, uint64_t va, HWTLBCause cause);
void machine_flush(Machine *m, bool keep_global, HWTLBCause cause);

/* L0 loses a page, or all, for reasons of the emulator's own. */
void machine_forget(Machine *m, uint64_t va);
void machine_forget_all(Machine *m);

void machine_check(const Machine *m);

/* Accesses that did not find what they needed in L0. */
uint64_t machine_asked(const Machine *m);
const HWTLB *machine_tlb(const Machine *m);

#endif
