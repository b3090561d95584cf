/*
 * hwtlb: the levels, and what runs each time that L0 misses
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Inline because it is the price of a miss, and for constant classes because
 * most entries are of 4 KB: the caller between L0 and the
 * model (hwtlb-l0.c) looks an address up with hwtlb_probe(), which changes
 * nothing, and with hwtlb_hit() lets the model go on from there.  Everybody
 * else uses hwtlb.h.
 */
#ifndef HW_TLB_HWTLB_INLINE_H
#define HW_TLB_HWTLB_INLINE_H

#include "qemu/atomic.h"
#include "hw/tlb/hwtlb-internal.h"

/* A tag is the first address covered, with these in its low 12 bits. */
#define HWTLB_TAG_VALID     (1u << 4)
#define HWTLB_TAG_CLASS     15u

QEMU_BUILD_BUG_ON(HWTLB_CLASSES > HWTLB_TAG_CLASS + 1);

#define HWTLB_PAGE_BITS     12

typedef struct HWTLBLevel {
    HWTLBLevelId id;
    unsigned present;           /* bit mask of classes with valid entries */
    HWTLBArray *array_of[HWTLB_CLASSES];
    HWTLBEntry *entries_of[HWTLB_CLASSES];      /* of that array's slots */
    /*
     * How many entries begin at each page of the address space, modulo the
     * size of this table; how many of 2 MB and 1 GB, by a hash.  Mostly none,
     * and then the search for one ends here, and a new translation of a larger
     * size has none to replace.
     */
    uint32_t *small;
    uint32_t small_mask;        /* at least 511: 2 MB lie side by side */
    uint32_t large[2][64];
    unsigned valid[HWTLB_CLASSES];

    unsigned n_arrays;
    HWTLBArray arrays[HWTLB_MAX_ARRAYS];
    HWTLBEntry *entries;        /* [slots], array after array */
    uint64_t *pieces;           /* what the entries' l0_pieces point into */
    unsigned slots;
} HWTLBLevel;

struct HWTLB {
    HWTLBLevel levels[HWTLB_LEVELS];
    uint64_t counters[HWTLB_C__MAX];
    uint64_t serial;            /* of the last leaf */
    HWTLBDropFn *drop;
    void *drop_opaque;
    HWTLBPwc pwc;
    HWTLBLines lines;
    HWTLBConfig config;
};

/* Bytes that an entry of each class covers, as a power of two. */
static const uint8_t hwtlb_class_shift[HWTLB_CLASSES] = {
    [HWTLB_4K] = 12,
    [HWTLB_8K] = 13,
    [HWTLB_16K] = 14,
    [HWTLB_32K] = 15,
    [HWTLB_64K] = 16,
    [HWTLB_64K_HINT] = 16,
    [HWTLB_64K_LEAF] = 16,
    [HWTLB_2M] = 21,
    [HWTLB_1G] = 30,
};

/* By which counters a level's own are found. */
static const HWTLBCounter hwtlb_level_fill[HWTLB_LEVELS] = {
    HWTLB_C_L1D_FILL_4K, HWTLB_C_L1I_FILL_4K, HWTLB_C_STLB_FILL_4K,
};
static const HWTLBCounter hwtlb_level_evict[HWTLB_LEVELS] = {
    HWTLB_C_L1D_EVICT, HWTLB_C_L1I_EVICT, HWTLB_C_STLB_EVICT,
};
static const HWTLBCounter hwtlb_l1_miss[] = {
    [HWTLB_LOAD] = HWTLB_C_L1D_LOAD_MISS,
    [HWTLB_STORE] = HWTLB_C_L1D_STORE_MISS,
    [HWTLB_FETCH] = HWTLB_C_L1I_MISS,
};

static QEMU_ALWAYS_INLINE inline
void hwtlb_add(HWTLB *tlb, HWTLBCounter counter, uint64_t n)
{
    /* One writer: no read-modify-write is needed, only no torn store. */
    qatomic_set__nocheck(&tlb->counters[counter], tlb->counters[counter] + n);
}

static QEMU_ALWAYS_INLINE inline
uint64_t hwtlb_first_byte(HWTLBClass class, uint64_t va)
{
    return va >> hwtlb_class_shift[class] << hwtlb_class_shift[class];
}

static QEMU_ALWAYS_INLINE inline
HWTLBLevelId hwtlb_l1_of(HWTLBAccess access)
{
    return access == HWTLB_FETCH ? HWTLB_L1I : HWTLB_L1D;
}

/* Where those of @class that begin at @start are counted. */
static QEMU_ALWAYS_INLINE inline
uint32_t *hwtlb_population(const HWTLBLevel *level, HWTLBClass class,
                           uint64_t start)
{
    if (likely(class < HWTLB_2M)) {
        return &level->small[(start >> HWTLB_PAGE_BITS) & level->small_mask];
    }
    return (uint32_t *)
        &level->large[class - HWTLB_2M][start * 0x9e3779b97f4a7c15ull >> 58];
}

/* False: @level has nothing that covers @va as @class. */
static QEMU_ALWAYS_INLINE inline
bool hwtlb_may_have(const HWTLBLevel *level, HWTLBClass class, uint64_t va)
{
    return *hwtlb_population(level, class, hwtlb_first_byte(class, va));
}

/* Where an entry is: a slot of the array of its class. */
typedef struct HWTLBAt {
    HWTLBEntry *entry;          /* NULL: nowhere */
    uint32_t slot;
} HWTLBAt;

/*
 * The entry of @level that covers @va as @class.  @mostly, a constant: there
 * mostly is one, so that the guess is asked first, and not the count.
 */
static QEMU_ALWAYS_INLINE inline
HWTLBAt hwtlb_find_class(const HWTLBLevel *level, HWTLBClass class,
                         uint64_t va, bool mostly)
{
    const uint64_t vpn = va >> hwtlb_class_shift[class];
    const uint64_t start = vpn << hwtlb_class_shift[class];
    const uint64_t tag = start | HWTLB_TAG_VALID | class;
    const HWTLBArray *array = level->array_of[class];
    uint32_t slot;

    if (!mostly && !*hwtlb_population(level, class, start)) {
        return (HWTLBAt) { };
    }
    slot = hwtlb_array_guess(array, vpn);
    if (array->tags[slot] != tag) {
        if (mostly && !*hwtlb_population(level, class, start)) {
            return (HWTLBAt) { };
        }
        slot = hwtlb_array_find(array, tag, vpn);
        if (slot == HWTLB_NO_SLOT) {
            return (HWTLBAt) { };
        }
    }
    return (HWTLBAt) { .entry = &level->entries_of[class][slot],
                       .slot = slot };
}

/* The entry of @level that covers @va, of one of @classes. */
HWTLBAt hwtlb_find_classes(const HWTLBLevel *level, unsigned classes,
                           uint64_t va);

/* The entry of @level that covers @va; @mostly as above. */
static QEMU_ALWAYS_INLINE inline
HWTLBAt hwtlb_find_in(const HWTLBLevel *level, uint64_t va, bool mostly)
{
    unsigned others = level->present & ~(1u << HWTLB_4K);

    if (likely(level->present & 1u << HWTLB_4K)) {
        const HWTLBAt at = hwtlb_find_class(level, HWTLB_4K, va, mostly);

        if (at.entry) {
            return at;
        }
    }
    if (!hwtlb_may_have(level, HWTLB_2M, va)) {
        others &= ~(1u << HWTLB_2M);
    }
    if (!hwtlb_may_have(level, HWTLB_1G, va)) {
        others &= ~(1u << HWTLB_1G);
    }
    return others ? hwtlb_find_classes(level, others, va) : (HWTLBAt) { };
}

/* What @level knows of its entries together, for one that comes or goes. */
static inline void hwtlb_account(HWTLBLevel *level, HWTLBClass class,
                                 uint64_t va, int n)
{
    level->valid[class] += n;
    if (n > 0) {
        level->present |= 1u << class;
    } else if (!level->valid[class]) {
        level->present &= ~(1u << class);
    }
    *hwtlb_population(level, class, va) += n;
}

/* L0 loses the pieces of @entry. */
static QEMU_ALWAYS_INLINE inline
void hwtlb_drop_pieces(HWTLB *tlb, HWTLBLevelId id, HWTLBEntry *entry,
                       HWTLBDropFn *drop)
{
    if (entry->l0_idxmap) {
        drop(tlb->drop_opaque, id, entry);
        entry->l0_idxmap = 0;
    }
}

/* What is @at, of @class, is hit or filled; the MRU filter is here. */
static QEMU_ALWAYS_INLINE inline
void hwtlb_touch(HWTLB *tlb, HWTLBLevelId id, HWTLBClass class, HWTLBAt at,
                 HWTLBDropFn *drop)
{
    const HWTLBLevel *level = &tlb->levels[id];
    HWTLBArray *array = level->array_of[class];

    if (array->filtered) {
        uint32_t old = hwtlb_array_touch(array, at.slot);

        if (old != HWTLB_NO_SLOT && id != HWTLB_STLB) {
            hwtlb_drop_pieces(tlb, id, &level->entries_of[class][old], drop);
        }
    }
}

/* Level @id gets @leaf, which is of @class, for @va, which it has not. */
static QEMU_ALWAYS_INLINE inline
HWTLBEntry *hwtlb_fill_level(HWTLB *tlb, HWTLBLevelId id, uint64_t va,
                             HWTLBClass class, const HWTLBLeaf *leaf,
                             HWTLBDropFn *drop)
{
    const uint64_t vpn = va >> hwtlb_class_shift[class];
    const uint64_t start = vpn << hwtlb_class_shift[class];
    const uint64_t tag = start | HWTLB_TAG_VALID | class;
    HWTLBLevel *level = &tlb->levels[id];
    HWTLBArray *array = level->array_of[class];
    const uint32_t set = hwtlb_array_set(array, vpn);
    const uint32_t slot = hwtlb_array_victim(array, set);
    HWTLBEntry *entry = &level->entries_of[class][slot];

    if (likely(array->tags[slot])) {
        if (likely(entry->leaf.class == class)) {
            *hwtlb_population(level, class, entry->va) -= 1;
            *hwtlb_population(level, class, start) += 1;
        } else {
            hwtlb_account(level, entry->leaf.class, entry->va, -1);
            hwtlb_account(level, class, start, 1);
        }
        hwtlb_drop_pieces(tlb, id, entry, drop);
        hwtlb_add(tlb, hwtlb_level_evict[id], 1);
        hwtlb_array_replace(array, set, slot, tag, vpn);
    } else {
        hwtlb_account(level, class, start, 1);
        hwtlb_array_insert(array, slot, tag, vpn);
    }
    entry->va = start;
    entry->leaf = *leaf;
    hwtlb_touch(tlb, id, class, (HWTLBAt) { entry, slot }, drop);
    hwtlb_add(tlb, hwtlb_level_fill[id] + class, 1);
    return entry;
}

/* Where a translation is; both nowhere: neither level has it. */
typedef struct HWTLBProbe {
    HWTLBAt l1;
    HWTLBAt stlb;               /* looked for only if L1 has none */
} HWTLBProbe;

/* Looks for @va, and changes nothing. */
static QEMU_ALWAYS_INLINE inline
HWTLBProbe hwtlb_probe(HWTLB *tlb, HWTLBAccess access, uint64_t va)
{
    HWTLBProbe probe = {
        .l1 = hwtlb_find_in(&tlb->levels[hwtlb_l1_of(access)], va, false),
    };

    if (!probe.l1.entry) {
        probe.stlb = hwtlb_find_in(&tlb->levels[HWTLB_STLB], va, true);
    }
    return probe;
}

/* hwtlb_hit() for @class. */
static QEMU_ALWAYS_INLINE inline
HWTLBEntry *hwtlb_hit_class(HWTLB *tlb, HWTLBAccess access, uint64_t va,
                            HWTLBClass class, HWTLBProbe probe,
                            HWTLBDropFn *drop)
{
    const HWTLBLevelId l1 = hwtlb_l1_of(access);

    if (probe.l1.entry) {
        hwtlb_touch(tlb, l1, class, probe.l1, drop);
        return probe.l1.entry;
    }
    hwtlb_add(tlb, hwtlb_l1_miss[access], 1);
    hwtlb_touch(tlb, HWTLB_STLB, class, probe.stlb, drop);
    return hwtlb_fill_level(tlb, l1, va, class, &probe.stlb.entry->leaf,
                            drop);
}

/* hwtlb_lookup() if hwtlb_probe() has just found nothing: NULL. */
HWTLBEntry *hwtlb_miss(HWTLB *tlb, HWTLBAccess access);

HWTLBEntry *hwtlb_hit_other(HWTLB *tlb, HWTLBAccess access, uint64_t va,
                            HWTLBProbe probe, HWTLBDropFn *drop);

/*
 * hwtlb_lookup() of @va, for which hwtlb_probe() has just found @probe, not
 * empty.  @drop is called, and not the model's own HWTLBDropFn: at most twice,
 * for entries of the L1 of @access.
 */
static QEMU_ALWAYS_INLINE inline
HWTLBEntry *hwtlb_hit(HWTLB *tlb, HWTLBAccess access, uint64_t va,
                      HWTLBProbe probe, HWTLBDropFn *drop)
{
    const HWTLBEntry *entry = probe.l1.entry ? probe.l1.entry :
                                               probe.stlb.entry;

    return likely(entry->leaf.class == HWTLB_4K) ?
           hwtlb_hit_class(tlb, access, va, HWTLB_4K, probe, drop) :
           hwtlb_hit_other(tlb, access, va, probe, drop);
}

/* hwtlb_note_l0(), inline. */
static QEMU_ALWAYS_INLINE inline
void hwtlb_note(HWTLBEntry *entry, uint64_t va, unsigned mmu_idx)
{
    if (likely(entry->leaf.class == HWTLB_4K)) {
        entry->l0_idxmap |= 1u << mmu_idx;
    } else {
        hwtlb_note_l0(entry, va, mmu_idx);
    }
}

#endif
