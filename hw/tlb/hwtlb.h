/*
 * hwtlb: an exact model of one processor's TLBs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Pure C, free of target headers.  A HWTLB belongs to one vCPU and is touched
 * by that vCPU's thread alone; only its counters may be read by others.
 *
 * Words: L0 is QEMU's software TLB, a host-side cache.  The model is exact
 * because every valid L0 entry is covered by a valid entry of the L1 of its
 * kind: each L1 miss is then an L0 miss and so is seen.  The model keeps its
 * half of that bargain by calling HWTLBDropFn whenever L1 drops an entry that
 * has given pieces (4 KB pages) to L0.
 *
 * What is counted, and when: docs/specs/hwtlb.rst.
 */
#ifndef HW_TLB_HWTLB_H
#define HW_TLB_HWTLB_H

#include "hw/tlb/hwtlb-counters.h"

typedef enum HWTLBAccess {
    HWTLB_LOAD,
    HWTLB_STORE,
    HWTLB_FETCH,
} HWTLBAccess;

typedef enum HWTLBLevelId {
    HWTLB_L1D,
    HWTLB_L1I,
    HWTLB_STLB,
    HWTLB_LEVELS
} HWTLBLevelId;

/* What an entry translates; the order is that of the fill counters. */
typedef enum HWTLBClass {
    HWTLB_4K,
    HWTLB_64K_HINT,
    HWTLB_64K_LEAF,
    HWTLB_2M,
    HWTLB_1G,
    HWTLB_CLASSES
} HWTLBClass;

/* Why software lost an entry; the order is that of the flush counters. */
typedef enum HWTLBCause {
    HWTLB_INVLPG,
    HWTLB_CR3,
    HWTLB_CR,
    HWTLB_SVM,
    HWTLB_FAULT,
    HWTLB_REPLACED,
    HWTLB_RESET,
    HWTLB_CAUSES
} HWTLBCause;

typedef enum HWTLBPolicy {
    HWTLB_FIFO,                 /* the oldest fill is replaced */
    HWTLB_LRU,                  /* STLB only: L1 hits are not all seen */
} HWTLBPolicy;

/* One translation, as a walk found it. */
typedef struct HWTLBLeaf {
    uint64_t frame;             /* physical address of its first byte */
    uint64_t rights;            /* the target's own encoding */
    HWTLBClass class;
    bool global;                /* survives a write to CR3 */
    bool dirty;                 /* stores need no walk */
} HWTLBLeaf;

typedef struct HWTLBEntry {
    uint64_t va;                /* first byte covered */
    HWTLBLeaf leaf;
    uint16_t l0_idxmap;         /* L0 tables (mmu_idx) that hold pieces */
    uint64_t *l0_pieces;        /* L1 only: bit n = page n is held by L0 */
} HWTLBEntry;

#define HWTLB_MAX_ARRAYS 4

/* One array of a level.  sets * ways entries; sets == 1: fully associative. */
typedef struct HWTLBArrayConfig {
    unsigned sets;
    unsigned ways;
    unsigned classes;           /* bit mask of HWTLBClass */
    HWTLBPolicy policy;
} HWTLBArrayConfig;

typedef struct HWTLBConfig {
    const char *name;
    const char *about;
    /* Unused arrays have no ways.  No two arrays of a level share a class. */
    HWTLBArrayConfig arrays[HWTLB_LEVELS][HWTLB_MAX_ARRAYS];
} HWTLBConfig;

typedef struct HWTLB HWTLB;

/*
 * L1 drops @entry: drop its pieces from the L0 tables of @entry->l0_idxmap.
 * A 1 GB entry keeps no pieces: drop these tables whole.
 */
typedef void HWTLBDropFn(void *opaque, HWTLBLevelId level,
                         const HWTLBEntry *entry);

/* Bytes that an entry of @class covers, as a power of two. */
unsigned hwtlb_class_bits(HWTLBClass class);

/* The preset called @name, or NULL.  hwtlb_preset_at() is NULL past the end. */
const HWTLBConfig *hwtlb_preset(const char *name);
const HWTLBConfig *hwtlb_preset_at(unsigned i);

/*
 * Is @config one that the model can be exact for?  If not, a message for the
 * user, to be freed by the caller, is left in @why.
 */
bool hwtlb_config_valid(const HWTLBConfig *config, char **why);

/* @config must be valid; it is copied. */
HWTLB *hwtlb_new(const HWTLBConfig *config, HWTLBDropFn *drop, void *opaque);
void hwtlb_free(HWTLB *tlb);

/*
 * Looks @va up in L1, then in the STLB; a hit in the STLB fills L1.  Returns
 * the L1 entry, or NULL if both levels miss.  Whether the entry has the
 * rights for @access is the caller's to find out.
 */
HWTLBEntry *hwtlb_lookup(HWTLB *tlb, HWTLBAccess access, uint64_t va);

/*
 * A walk for @va after hwtlb_lookup() gave NULL found @leaf: fills the STLB
 * and L1, and returns the L1 entry.
 */
HWTLBEntry *hwtlb_fill(HWTLB *tlb, HWTLBAccess access, uint64_t va,
                       const HWTLBLeaf *leaf);

/*
 * A walk for the entry that hwtlb_lookup() gave for @va (it was clean, or
 * lacked rights) found @leaf.  Not a fill, unless the size has changed.
 */
HWTLBEntry *hwtlb_update(HWTLB *tlb, HWTLBAccess access, uint64_t va,
                         const HWTLBLeaf *leaf);

/* Drops what covers @va, global or not, from all levels. */
void hwtlb_invalidate(HWTLB *tlb, uint64_t va, HWTLBCause cause);

/*
 * Drops everything, or everything that is not global.  The caller empties L0,
 * whole: no HWTLBDropFn is called.
 */
void hwtlb_flush(HWTLB *tlb, bool keep_global, HWTLBCause cause);

/* L0 table @mmu_idx now holds the page of @va as a piece of @entry. */
void hwtlb_note_l0(HWTLBEntry *entry, uint64_t va, unsigned mmu_idx);

/* Counters; another thread's read of one is atomic, of several is not. */
void hwtlb_count(HWTLB *tlb, HWTLBCounter counter, uint64_t n);
uint64_t hwtlb_counter(const HWTLB *tlb, HWTLBCounter counter);

/* Valid entries of @level, for tests and conservation checks. */
unsigned hwtlb_valid_entries(const HWTLB *tlb, HWTLBLevelId level);

#endif
