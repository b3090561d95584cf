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
 * Hits in L0 are not seen.  Policies that do not look at hits (fifo, random)
 * do not mind.  For those that do (lru, tree-plru, nru), L0 holds pieces of
 * only the entry of each L1 set that was touched last (the MRU filter): a hit
 * in L0 then touches that entry again, which changes nothing (hwtlb-array.c
 * has the proof for each policy), and every other access is seen.
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

/*
 * What an entry translates; the order is that of the fill counters, and sizes
 * do not decrease.  8K to 64K are coalesced from 4 KB pages without a hint.
 */
typedef enum HWTLBClass {
    HWTLB_4K,
    HWTLB_8K,
    HWTLB_16K,
    HWTLB_32K,
    HWTLB_64K,
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

/*
 * Which entry of a full set gives way.  A way that is not valid is always
 * used first (the lowest, where it matters: random, tree-plru and nru).
 */
typedef enum HWTLBPolicy {
    HWTLB_FIFO,                 /* the oldest fill */
    HWTLB_LRU,                  /* the oldest touch */
    HWTLB_RANDOM,               /* any: see below */
    HWTLB_TREE_PLRU,            /* ways must be a power of two */
    HWTLB_NRU,                  /* the lowest way whose bit is clear */
    HWTLB_POLICIES
} HWTLBPolicy;

/*
 * The generator of HWTLB_RANDOM is SplitMix64, one per array, which steps only
 * when a full set must give up an entry; the way is the upper half of its
 * output, times the ways, divided by 2^32.  It starts at the configuration's
 * seed plus 4 * level + array; the arrays of the PWC follow those of STLB.
 */

/*
 * The set that a page number @vpn belongs to; a page number is the address
 * divided by the entry's own size.
 */
typedef enum HWTLBHash {
    HWTLB_MODULO,               /* @vpn modulo sets */
    /* Sets must be 2^n: bits 0 to n-1 of @vpn, exclusive or bits n to 2n-1 */
    HWTLB_XOR,
    HWTLB_HASHES
} HWTLBHash;

/* For messages and configuration files. */
extern const char *const hwtlb_level_names[HWTLB_LEVELS];
extern const char *const hwtlb_class_names[HWTLB_CLASSES];
extern const char *const hwtlb_policy_names[HWTLB_POLICIES];
extern const char *const hwtlb_hash_names[HWTLB_HASHES];

/* One translation, as a walk found it. */
typedef struct HWTLBLeaf {
    uint64_t frame;             /* physical address of its first byte */
    uint64_t rights;            /* the target's own encoding */
    HWTLBClass class;
    bool global;                /* survives a write to CR3 */
    bool dirty;                 /* stores need no walk */
    uint64_t serial;            /* of the walk; set by the model, from 1 on */
} HWTLBLeaf;

typedef struct HWTLBEntry {
    uint64_t va;                /* first byte covered */
    HWTLBLeaf leaf;
    uint16_t asid;              /* 0: there are no PCIDs yet */
    uint16_t l0_idxmap;         /* L0 tables (mmu_idx) that hold pieces */
    /*
     * L1 only, 8K to 1G: bit n = page n is held by L0; of 1G, any of pages
     * n, n + HWTLB_PIECES and so on.
     */
    uint64_t *l0_pieces;
} HWTLBEntry;

#define HWTLB_PIECES 512

#define HWTLB_MAX_ARRAYS 4

/* One array of a level.  sets * ways entries; sets == 1: fully associative. */
typedef struct HWTLBArrayConfig {
    unsigned sets;
    unsigned ways;
    unsigned classes;           /* bit mask of HWTLBClass; 0 in a PWC */
    HWTLBPolicy policy;
    HWTLBHash hash;
    const char *source;         /* where the figures come from, for people */
} HWTLBArrayConfig;

/* Paging-structure caches, by what they hold. */
typedef enum HWTLBPwcId {
    HWTLB_PWC_PML4E,
    HWTLB_PWC_PDPTE,
    HWTLB_PWC_PDE,
    HWTLB_PWCS
} HWTLBPwcId;

extern const char *const hwtlb_pwc_names[HWTLB_PWCS];

typedef struct HWTLBConfig {
    const char *name;
    const char *about;
    /*
     * Unused arrays have no ways.  Each class belongs to one array of a level,
     * but coalesced classes above what @coalesce allows need none.
     */
    HWTLBArrayConfig arrays[HWTLB_LEVELS][HWTLB_MAX_ARRAYS];
    HWTLBArrayConfig pwc[HWTLB_PWCS];   /* without ways: not cached */
    unsigned coalesce;          /* up to so many 4 KB PTEs: 1 (or 0), 2 to 16 */
    /* The caller sends every access, not only L0's misses: count lookups. */
    bool observe_every;
    uint64_t seed;              /* of the policy random */
} HWTLBConfig;

/* The model of one vCPU never takes more memory than this. */
#define HWTLB_MAX_BYTES (8u << 20)

typedef struct HWTLB HWTLB;

/*
 * L0 must lose pieces of @entry, because L1 drops it or because of the MRU
 * filter: drop its pieces from the L0 tables of @entry->l0_idxmap.  A 4 KB
 * entry is its only piece.
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
 * user, which names level, array and field, is left in @why, to be freed by
 * the caller.
 */
bool hwtlb_config_valid(const HWTLBConfig *config, char **why);

/* @config must be valid; it is copied. */
HWTLB *hwtlb_new(const HWTLBConfig *config, HWTLBDropFn *drop, void *opaque);
void hwtlb_free(HWTLB *tlb);
const HWTLBConfig *hwtlb_config(const HWTLB *tlb);
void *hwtlb_opaque(const HWTLB *tlb);

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

/*
 * Drops what covers @va, global or not, from all levels.  The PWC loses all,
 * or after a page fault (HWTLB_FAULT) what it holds for @va.
 */
void hwtlb_invalidate(HWTLB *tlb, uint64_t va, HWTLBCause cause);

/*
 * Drops everything, or everything that is not global, and empties the PWC.
 * The caller empties L0, whole: no HWTLBDropFn is called.
 */
void hwtlb_flush(HWTLB *tlb, bool keep_global, HWTLBCause cause);

/* L0 table @mmu_idx now holds the page of @va as a piece of @entry. */
void hwtlb_note_l0(HWTLBEntry *entry, uint64_t va, unsigned mmu_idx);

/* Why page tables were read, or what came of it. */
typedef enum HWTLBWalkKind {
    HWTLB_WALK_COMPLETED,       /* a translation, after a miss */
    HWTLB_WALK_FAULTED,         /* a page fault */
    HWTLB_WALK_DIRTY,           /* D was set, for an entry that was hit */
    HWTLB_WALK_RIGHTS,          /* other rights, for an entry that was hit */
} HWTLBWalkKind;

/* What a walk read; levels are 5 (PML5) to 1 (PT, 64 KB leaf table). */
typedef struct HWTLBWalk {
    HWTLBWalkKind kind;
    uint8_t top;                /* level of the first entry read: 5 to 2 */
    uint8_t last;               /* of the last: a leaf, or one that faulted */
    uint8_t group;              /* PTEs read for a group check: 16, or 0 */
    uint8_t coalesce;           /* the same for coalescing: 8, 16, or 0 */
    uint64_t entry[6];          /* physical address of each entry, by level */
} HWTLBWalk;

/* Counts a walk; call it before the hwtlb_fill() or the like that follows. */
void hwtlb_walk(HWTLB *tlb, uint64_t va, const HWTLBWalk *walk);

/* Where a PTE of the target has what coalescing asks for. */
typedef struct HWTLBPteFormat {
    uint64_t present;           /* bits that must be set in all: P and A */
    uint64_t same;              /* bits that must be equal: rights, D, ... */
    uint64_t frame;             /* bits of the frame's physical address */
} HWTLBPteFormat;

/*
 * The class of the entry that hardware makes of 4 KB page @i of @pte, @n PTEs
 * that are aligned in their table, 8 (the line that the walk read) or 16: the
 * largest aligned power of two of them, up to @config->coalesce, whose PTEs
 * have all of @present, equal @same bits and consecutive frames, the first of
 * which is aligned to the whole.  HWTLB_4K if there is none.  The entry's
 * leaf is that of page @i, with the frame rounded down.
 */
HWTLBClass hwtlb_coalesce(const HWTLBConfig *config,
                          const HWTLBPteFormat *format,
                          const uint64_t *pte, unsigned n, unsigned i);

/* Counters; another thread's read of one is atomic, of several is not. */
void hwtlb_count(HWTLB *tlb, HWTLBCounter counter, uint64_t n);
uint64_t hwtlb_counter(const HWTLB *tlb, HWTLBCounter counter);

/* Sets all counters to 0 and forgets which lines walks have read. */
void hwtlb_reset_counters(HWTLB *tlb);

/* Slots of @level, valid or not: their entries' index is below it. */
unsigned hwtlb_slots(const HWTLB *tlb, HWTLBLevelId level);

/* The entry of slot @index, or NULL if it is not valid. */
const HWTLBEntry *hwtlb_entry_at(const HWTLB *tlb, HWTLBLevelId level,
                                 unsigned index);

/* The entry of @level that covers @va, or NULL: not a look-up that counts. */
const HWTLBEntry *hwtlb_find(const HWTLB *tlb, HWTLBLevelId level,
                             uint64_t va);

/* Valid entries of @level, for tests and conservation checks. */
unsigned hwtlb_valid_entries(const HWTLB *tlb, HWTLBLevelId level);

#endif
