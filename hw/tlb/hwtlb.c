/*
 * hwtlb: an exact model of one processor's TLBs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The levels and what moves between them.  hwtlb-array.c has the tags and the
 * replacement policies, hwtlb-pwc.c what is counted of walks, hwtlb-config.c
 * what a geometry may be.
 */
#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/bitops.h"
#include "qemu/host-utils.h"
#include "hw/tlb/hwtlb-internal.h"

/* A tag is the first address covered, with these in its low 12 bits. */
#define TAG_VALID       (1u << 4)
#define TAG_CLASS_MASK  15u

QEMU_BUILD_BUG_ON(HWTLB_CLASSES > TAG_CLASS_MASK + 1);

#define PAGE_BITS       12
#define BLOCK_BITS      16

typedef struct HWTLBLevel {
    HWTLBLevelId id;
    unsigned n_arrays;
    HWTLBArray arrays[HWTLB_MAX_ARRAYS];
    HWTLBArray *array_of[HWTLB_CLASSES];
    HWTLBEntry *entries_of[HWTLB_CLASSES];      /* of that array's slots */
    HWTLBEntry *entries;        /* [slots], array after array */
    uint64_t *pieces;           /* what the entries' l0_pieces point into */
    unsigned slots;

    unsigned present;           /* bit mask of classes with valid entries */
    unsigned valid[HWTLB_CLASSES];
    /*
     * For each 64 KB of the address space, modulo the size of this table, how
     * many entries smaller than 2 MB there are: mostly none, and then a new
     * translation of a larger size has nothing to replace.
     */
    uint32_t *crowd;
    uint32_t crowd_mask;        /* at least 31: 2 MB lie side by side */
} HWTLBLevel;

struct HWTLB {
    HWTLBLevel levels[HWTLB_LEVELS];
    HWTLBPwc pwc;
    HWTLBLines lines;
    HWTLBConfig config;
    HWTLBDropFn *drop;
    void *drop_opaque;
    uint64_t counters[HWTLB_C__MAX];
};

const char *const hwtlb_counter_names[HWTLB_C__MAX] = {
#define X(id, name, what) [HWTLB_C_##id] = name,
    HWTLB_COUNTERS(X)
#undef X
};

const char *const hwtlb_counter_texts[HWTLB_C__MAX] = {
#define X(id, name, what) [HWTLB_C_##id] = what,
    HWTLB_COUNTERS(X)
#undef X
};

static const uint8_t class_bits[HWTLB_CLASSES] = {
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

/* First counter of each level's block, and of its flushes. */
static const HWTLBCounter level_fill[HWTLB_LEVELS] = {
    HWTLB_C_L1D_FILL_4K, HWTLB_C_L1I_FILL_4K, HWTLB_C_STLB_FILL_4K,
};
static const HWTLBCounter level_evict[HWTLB_LEVELS] = {
    HWTLB_C_L1D_EVICT, HWTLB_C_L1I_EVICT, HWTLB_C_STLB_EVICT,
};
static const HWTLBCounter level_flush[HWTLB_LEVELS] = {
    HWTLB_C_L1D_FLUSH_INVLPG, HWTLB_C_L1I_FLUSH_INVLPG,
    HWTLB_C_STLB_FLUSH_INVLPG,
};
static const HWTLBCounter l1_lookup[] = {
    [HWTLB_LOAD] = HWTLB_C_L1D_LOOKUP,
    [HWTLB_STORE] = HWTLB_C_L1D_LOOKUP,
    [HWTLB_FETCH] = HWTLB_C_L1I_LOOKUP,
};
static const HWTLBCounter l1_miss[] = {
    [HWTLB_LOAD] = HWTLB_C_L1D_LOAD_MISS,
    [HWTLB_STORE] = HWTLB_C_L1D_STORE_MISS,
    [HWTLB_FETCH] = HWTLB_C_L1I_MISS,
};
static const HWTLBCounter stlb_miss[] = {
    [HWTLB_LOAD] = HWTLB_C_STLB_LOAD_MISS,
    [HWTLB_STORE] = HWTLB_C_STLB_STORE_MISS,
    [HWTLB_FETCH] = HWTLB_C_STLB_FETCH_MISS,
};

/* The orders that hwtlb-counters.h promises: one level stands for all. */
#define IS_FILL(class) \
    QEMU_BUILD_BUG_ON(HWTLB_C_L1D_FILL_##class - HWTLB_C_L1D_FILL_4K != \
                      HWTLB_##class)
#define IS_FLUSH(cause) \
    QEMU_BUILD_BUG_ON(HWTLB_C_L1D_FLUSH_##cause - \
                      HWTLB_C_L1D_FLUSH_INVLPG != HWTLB_##cause)
IS_FILL(8K);
IS_FILL(16K);
IS_FILL(32K);
IS_FILL(64K);
IS_FILL(64K_HINT);
IS_FILL(64K_LEAF);
IS_FILL(2M);
IS_FILL(1G);
IS_FLUSH(CR3);
IS_FLUSH(CR);
IS_FLUSH(SVM);
IS_FLUSH(FAULT);
IS_FLUSH(REPLACED);
IS_FLUSH(RESET);
QEMU_BUILD_BUG_ON(HWTLB_C_L1D_EVICT - HWTLB_C_L1D_FILL_4K != HWTLB_CLASSES);
QEMU_BUILD_BUG_ON(HWTLB_C_L1D_HIT - HWTLB_C_L1D_LOOKUP != 1);
QEMU_BUILD_BUG_ON(HWTLB_C_L1I_HIT - HWTLB_C_L1I_LOOKUP != 1);
QEMU_BUILD_BUG_ON(HWTLB_C_WALK_RIGHTS - HWTLB_C_WALK_COMPLETED !=
                  HWTLB_WALK_RIGHTS - HWTLB_WALK_COMPLETED);
QEMU_BUILD_BUG_ON(HWTLB_C_WALK_READ_PT - HWTLB_C_WALK_READ_PML5 != 4);

unsigned hwtlb_class_bits(HWTLBClass class)
{
    return class_bits[class];
}

void hwtlb_count(HWTLB *tlb, HWTLBCounter counter, uint64_t n)
{
    /* One writer: no read-modify-write is needed, only no torn store. */
    qatomic_set__nocheck(&tlb->counters[counter], tlb->counters[counter] + n);
}

uint64_t hwtlb_counter(const HWTLB *tlb, HWTLBCounter counter)
{
    return qatomic_read__nocheck(&tlb->counters[counter]);
}

void hwtlb_reset_counters(HWTLB *tlb)
{
    for (int i = 0; i < HWTLB_C__MAX; i++) {
        qatomic_set__nocheck(&tlb->counters[i], 0);
    }
    hwtlb_lines_clear(&tlb->lines);
}

static inline uint64_t first_byte(HWTLBClass class, uint64_t va)
{
    return va >> class_bits[class] << class_bits[class];
}

/* The entry of @level that covers @va as @class, or NULL. */
static inline HWTLBEntry *find_class(const HWTLBLevel *level,
                                     HWTLBClass class, uint64_t va)
{
    uint32_t slot = hwtlb_array_find(level->array_of[class],
                                     first_byte(class, va) | TAG_VALID | class,
                                     va >> class_bits[class]);

    return slot == HWTLB_NO_SLOT ? NULL : &level->entries_of[class][slot];
}

/* The entry of @level that covers @va, or NULL. */
static inline HWTLBEntry *find(const HWTLBLevel *level, uint64_t va)
{
    for (unsigned left = level->present; left; left &= left - 1) {
        HWTLBEntry *entry = find_class(level, ctz32(left), va);

        if (entry) {
            return entry;
        }
    }
    return NULL;
}

static uint32_t slot_of(const HWTLBLevel *level, const HWTLBEntry *entry)
{
    return entry - level->entries_of[entry->leaf.class];
}

/* L0 loses the pieces of @entry. */
static inline void drop_pieces(HWTLB *tlb, const HWTLBLevel *level,
                               HWTLBEntry *entry)
{
    if (entry->l0_idxmap) {
        tlb->drop(tlb->drop_opaque, level->id, entry);
        entry->l0_idxmap = 0;
    }
}

/* @entry is hit or filled; the MRU filter is here. */
static inline void touch(HWTLB *tlb, HWTLBLevel *level, HWTLBEntry *entry)
{
    const HWTLBClass class = entry->leaf.class;
    HWTLBArray *array = level->array_of[class];
    uint32_t old;

    if (array->filtered) {
        old = hwtlb_array_touch(array, slot_of(level, entry));
        if (old != HWTLB_NO_SLOT) {
            drop_pieces(tlb, level, &level->entries_of[class][old]);
        }
    }
}

/* What @level knows of its entries together, for one that comes or goes. */
static inline void account(HWTLBLevel *level, const HWTLBEntry *entry,
                           int n)
{
    const HWTLBClass class = entry->leaf.class;

    level->valid[class] += n;
    if (n > 0) {
        level->present |= 1u << class;
    } else if (!level->valid[class]) {
        level->present &= ~(1u << class);
    }
    if (class < HWTLB_2M) {
        level->crowd[entry->va >> BLOCK_BITS & level->crowd_mask] += n;
    }
}

static void flush_entry(HWTLB *tlb, HWTLBLevel *level, HWTLBEntry *entry,
                        HWTLBCause cause)
{
    hwtlb_array_remove(level->array_of[entry->leaf.class],
                       slot_of(level, entry));
    account(level, entry, -1);
    drop_pieces(tlb, level, entry);
    hwtlb_count(tlb, level_flush[level->id] + cause, 1);
}

static inline HWTLBEntry *fill(HWTLB *tlb, HWTLBLevel *level, uint64_t va,
                               const HWTLBLeaf *leaf)
{
    const HWTLBClass class = leaf->class;
    const uint64_t start = first_byte(class, va);
    HWTLBArray *array = level->array_of[class];
    uint32_t slot = hwtlb_array_victim(array, va >> class_bits[class]);
    HWTLBEntry *entry = &level->entries_of[class][slot];

    if (array->tags[slot]) {
        account(level, entry, -1);
        drop_pieces(tlb, level, entry);
        hwtlb_count(tlb, level_evict[level->id], 1);
        hwtlb_array_replace(array, slot, start | TAG_VALID | class);
    } else {
        hwtlb_array_insert(array, slot, start | TAG_VALID | class);
    }
    entry->va = start;
    entry->leaf = *leaf;
    account(level, entry, 1);
    touch(tlb, level, entry);
    hwtlb_count(tlb, level_fill[level->id] + class, 1);
    return entry;
}

static HWTLBLevel *l1_of(HWTLB *tlb, HWTLBAccess access)
{
    return &tlb->levels[access == HWTLB_FETCH ? HWTLB_L1I : HWTLB_L1D];
}

static HWTLBEntry *tell(HWTLBFound *found, HWTLBResult result,
                        HWTLBEntry *l1, HWTLBEntry *stlb)
{
    if (found) {
        *found = (HWTLBFound) { .result = result, .l1 = l1, .stlb = stlb };
    }
    return l1;
}

/* The rest of hwtlb_lookup(), apart, so that hits in L1 save no registers. */
static G_GNUC_NO_INLINE HWTLBEntry *lookup_stlb(HWTLB *tlb, HWTLBAccess access,
                                                uint64_t va, HWTLBFound *found)
{
    HWTLBLevel *stlb = &tlb->levels[HWTLB_STLB];
    HWTLBEntry *entry = find(stlb, va);

    hwtlb_count(tlb, l1_miss[access], 1);
    if (!entry) {
        hwtlb_count(tlb, stlb_miss[access], 1);
        return tell(found, HWTLB_MISS, NULL, NULL);
    }
    touch(tlb, stlb, entry);
    return tell(found, HWTLB_HIT_STLB,
                fill(tlb, l1_of(tlb, access), va, &entry->leaf), entry);
}

HWTLBEntry *hwtlb_lookup(HWTLB *tlb, HWTLBAccess access, uint64_t va,
                         HWTLBFound *found)
{
    HWTLBLevel *l1 = l1_of(tlb, access);
    HWTLBEntry *entry = find(l1, va);

    if (tlb->config.observe_every) {
        hwtlb_count(tlb, l1_lookup[access], 1);
        hwtlb_count(tlb, l1_lookup[access] + 1, entry != NULL);
    }
    if (!entry) {
        return lookup_stlb(tlb, access, va, found);
    }
    touch(tlb, l1, entry);
    return tell(found, HWTLB_HIT_L1, entry, NULL);
}

/* Drops the entries of classes @smaller in the @size bytes at @start. */
static void drop_block(HWTLB *tlb, HWTLBLevel *level, uint64_t start,
                       uint64_t size, unsigned smaller)
{
    for (; smaller; smaller &= smaller - 1) {
        HWTLBClass class = ctz32(smaller);

        for (uint64_t at = 0; at < size; at += 1ull << class_bits[class]) {
            HWTLBEntry *entry = find_class(level, class, start + at);

            if (entry) {
                flush_entry(tlb, level, entry, HWTLB_REPLACED);
            }
        }
    }
}

/* The same, looking at all that there are. */
static void drop_everywhere(HWTLB *tlb, HWTLBLevel *level, uint64_t start,
                            uint64_t size, unsigned smaller)
{
    HWTLBEntry *entries = level->entries;

    for (unsigned a = 0; a < level->n_arrays; a++) {
        HWTLBArray *array = &level->arrays[a];
        uint32_t slot = 0;

        while ((slot = hwtlb_array_next_valid(array, slot)) !=
               HWTLB_NO_SLOT) {
            HWTLBEntry *entry = &entries[slot];

            if ((smaller >> entry->leaf.class & 1) &&
                entry->va - start < size) {
                flush_entry(tlb, level, entry, HWTLB_REPLACED);
            }
            slot++;
        }
        entries += array->slots;
    }
}

/*
 * A 64 KB translation comes to live beside 4 KB ones of the same group, made
 * while the group was not yet well formed (and a 2 MB one beside those of a
 * table that it replaced).  They go: one address, one translation.
 */
static void drop_smaller(HWTLB *tlb, uint64_t va, HWTLBClass new_class)
{
    const unsigned bits = class_bits[new_class];
    const uint64_t start = first_byte(new_class, va);
    unsigned below = (1u << new_class) - 1;

    if (bits == BLOCK_BITS) {
        below = (1u << HWTLB_64K) - 1;
    }
    for (int l = 0; l < HWTLB_LEVELS; l++) {
        HWTLBLevel *level = &tlb->levels[l];
        const unsigned smaller = level->present & below;

        if (!smaller) {
            continue;
        }
        if (new_class == HWTLB_1G) {
            drop_everywhere(tlb, level, start, 1ull << bits, smaller);
        } else if (new_class == HWTLB_2M) {
            const uint32_t *crowd =
                &level->crowd[start >> BLOCK_BITS & level->crowd_mask];

            for (uint64_t i = 0; i < 1u << (21 - BLOCK_BITS); i++) {
                if (crowd[i]) {
                    drop_block(tlb, level, start + (i << BLOCK_BITS),
                               1ull << BLOCK_BITS, smaller);
                }
            }
        } else if (level->crowd[start >> BLOCK_BITS & level->crowd_mask]) {
            drop_block(tlb, level, start, 1ull << bits, smaller);
        }
    }
}

HWTLBEntry *hwtlb_fill(HWTLB *tlb, HWTLBAccess access, uint64_t va,
                       const HWTLBLeaf *leaf, HWTLBFound *found)
{
    HWTLBEntry *stlb;

    if (leaf->class != HWTLB_4K) {
        drop_smaller(tlb, va, leaf->class);
    }
    stlb = fill(tlb, &tlb->levels[HWTLB_STLB], va, leaf);
    return tell(found, HWTLB_MISS, fill(tlb, l1_of(tlb, access), va, leaf),
                stlb);
}

/* The entry for @va gets @leaf, or goes if it is of another size. */
static HWTLBEntry *update(HWTLB *tlb, HWTLBLevel *level, uint64_t va,
                          const HWTLBLeaf *leaf)
{
    HWTLBEntry *entry = find(level, va);

    if (!entry) {
        return NULL;
    }
    if (entry->leaf.class != leaf->class) {
        flush_entry(tlb, level, entry, HWTLB_REPLACED);
        return NULL;
    }
    /* A piece of the old frame must not outlive it. */
    if (entry->leaf.frame != leaf->frame) {
        drop_pieces(tlb, level, entry);
    }
    entry->leaf = *leaf;
    return entry;
}

HWTLBEntry *hwtlb_update(HWTLB *tlb, HWTLBAccess access, uint64_t va,
                         const HWTLBLeaf *leaf, HWTLBFound *found)
{
    HWTLBEntry *stlb = update(tlb, &tlb->levels[HWTLB_STLB], va, leaf);
    HWTLBEntry *l1 = update(tlb, l1_of(tlb, access), va, leaf);

    if (l1) {
        return tell(found, HWTLB_HIT_L1, l1, stlb);
    }
    if (stlb) {
        return tell(found, HWTLB_HIT_STLB,
                    fill(tlb, l1_of(tlb, access), va, leaf), stlb);
    }
    return hwtlb_fill(tlb, access, va, leaf, found);
}

void hwtlb_invalidate(HWTLB *tlb, uint64_t va, HWTLBCause cause)
{
    for (int l = 0; l < HWTLB_LEVELS; l++) {
        HWTLBEntry *entry;

        while ((entry = find(&tlb->levels[l], va))) {
            flush_entry(tlb, &tlb->levels[l], entry, cause);
        }
    }
    if (cause == HWTLB_FAULT) {
        hwtlb_pwc_drop(&tlb->pwc, va);
    } else {
        hwtlb_pwc_empty(&tlb->pwc);
    }
}

void hwtlb_flush(HWTLB *tlb, bool keep_global, HWTLBCause cause)
{
    for (int l = 0; l < HWTLB_LEVELS; l++) {
        HWTLBLevel *level = &tlb->levels[l];
        HWTLBEntry *entries = level->entries;

        for (unsigned a = 0; a < level->n_arrays; a++) {
            HWTLBArray *array = &level->arrays[a];
            uint32_t slot = 0;

            while ((slot = hwtlb_array_next_valid(array, slot)) !=
                   HWTLB_NO_SLOT) {
                HWTLBEntry *entry = &entries[slot++];

                entry->l0_idxmap = 0;
                if (!keep_global || !entry->leaf.global) {
                    flush_entry(tlb, level, entry, cause);
                }
            }
            entries += array->slots;
        }
    }
    hwtlb_pwc_empty(&tlb->pwc);
}

/* Words of l0_pieces that entries of @class need. */
static unsigned piece_words(HWTLBClass class)
{
    return class == HWTLB_2M ? 8 : 1;
}

void hwtlb_note_l0(HWTLBEntry *entry, uint64_t va, unsigned mmu_idx)
{
    uint64_t page = (va - entry->va) >> PAGE_BITS;

    if (!entry->l0_idxmap) {
        for (unsigned i = 0; i < piece_words(entry->leaf.class); i++) {
            entry->l0_pieces[i] = 0;
        }
    }
    entry->l0_idxmap |= 1u << mmu_idx;
    if (entry->leaf.class != HWTLB_1G) {
        entry->l0_pieces[page / 64] |= 1ull << (page % 64);
    }
}

static void count_line(HWTLB *tlb, uint64_t pa)
{
    if (hwtlb_lines_add(&tlb->lines, pa)) {
        hwtlb_count(tlb, HWTLB_C_WALK_LINES, 1);
    }
}

void hwtlb_walk(HWTLB *tlb, uint64_t va, const HWTLBWalk *walk)
{
    const uint64_t pt = walk->entry[1];
    unsigned hit;

    hwtlb_count(tlb, HWTLB_C_WALK_COMPLETED + walk->kind, 1);
    for (unsigned level = walk->top; level >= walk->last; level--) {
        hwtlb_count(tlb, HWTLB_C_WALK_READ_PML5 + 5 - level, 1);
        count_line(tlb, walk->entry[level]);
    }
    if (walk->group) {
        hwtlb_count(tlb, HWTLB_C_WALK_READ_GROUP, walk->group - 1);
    }
    if (walk->group == 16 || walk->coalesce == 16) {
        /* Two lines, side by side and aligned; one was counted above. */
        count_line(tlb, pt ^ 64);
    }

    hit = hwtlb_pwc_walk(&tlb->pwc, va, walk->top, walk->last);
    if (hit) {
        hwtlb_count(tlb, HWTLB_C_PWC_HIT_PML4E + 4 - hit, 1);
        hwtlb_count(tlb, HWTLB_C_WALK_SAVED, walk->top - hit + 1);
    } else {
        hwtlb_count(tlb, HWTLB_C_PWC_MISS, 1);
    }
}

HWTLBClass hwtlb_coalesce(const HWTLBConfig *config,
                          const HWTLBPteFormat *format,
                          const uint64_t *pte, unsigned n, unsigned i)
{
    for (unsigned size = MIN(config->coalesce, n); size > 1; size /= 2) {
        const unsigned base = i & ~(size - 1);
        const uint64_t frame = pte[base] & format->frame;
        bool uniform = !(frame & (((uint64_t)size << PAGE_BITS) - 1));

        for (unsigned j = 0; uniform && j < size; j++) {
            const uint64_t p = pte[base + j];

            uniform = (p & format->present) == format->present &&
                      !((p ^ pte[i]) & format->same) &&
                      (p & format->frame) ==
                      frame + ((uint64_t)j << PAGE_BITS);
        }
        if (uniform) {
            return HWTLB_4K + ctz32(size);
        }
    }
    return HWTLB_4K;
}

unsigned hwtlb_slots(const HWTLB *tlb, HWTLBLevelId level)
{
    return tlb->levels[level].slots;
}

const HWTLBEntry *hwtlb_entry_at(const HWTLB *tlb, HWTLBLevelId level,
                                 unsigned index)
{
    const HWTLBLevel *l = &tlb->levels[level];
    unsigned slot = index;

    for (unsigned a = 0; a < l->n_arrays; a++) {
        if (slot < l->arrays[a].slots) {
            return l->arrays[a].tags[slot] ? &l->entries[index] : NULL;
        }
        slot -= l->arrays[a].slots;
    }
    return NULL;
}

const HWTLBEntry *hwtlb_find(const HWTLB *tlb, HWTLBLevelId level,
                             uint64_t va)
{
    return find(&tlb->levels[level], va);
}

unsigned hwtlb_valid_entries(const HWTLB *tlb, HWTLBLevelId level)
{
    unsigned n = 0;

    for (int class = 0; class < HWTLB_CLASSES; class++) {
        n += tlb->levels[level].valid[class];
    }
    return n;
}

const HWTLBConfig *hwtlb_config(const HWTLB *tlb)
{
    return &tlb->config;
}

void *hwtlb_opaque(const HWTLB *tlb)
{
    return tlb->drop_opaque;
}

static unsigned array_piece_words(HWTLBLevelId id,
                                  const HWTLBArrayConfig *config)
{
    if (id == HWTLB_STLB) {
        return 0;
    }
    return piece_words(config->classes & 1u << HWTLB_2M ? HWTLB_2M : HWTLB_4K);
}

/* Entries of the table @crowd of a level with @slots. */
static uint32_t crowd_size(uint64_t slots)
{
    uint32_t size = 64;

    while (size < 4 * slots && size < 1 << 14) {
        size *= 2;
    }
    return size;
}

uint64_t hwtlb_config_bytes(const HWTLBConfig *config)
{
    uint64_t bytes = sizeof(HWTLB) + HWTLB_LINES_MAX_BYTES;

    for (int l = 0; l < HWTLB_LEVELS; l++) {
        uint64_t slots = 0;

        for (int a = 0; a < HWTLB_MAX_ARRAYS; a++) {
            const HWTLBArrayConfig *array = &config->arrays[l][a];
            uint64_t n = (uint64_t)array->sets * array->ways;

            if (n) {
                slots += n;
                bytes += hwtlb_array_bytes(array) +
                         n * (sizeof(HWTLBEntry) + sizeof(uint64_t) *
                              array_piece_words(l, array));
            }
        }
        bytes += crowd_size(slots) * sizeof(uint32_t);
    }
    for (int id = 0; id < HWTLB_PWCS; id++) {
        if (config->pwc[id].ways) {
            bytes += hwtlb_array_bytes(&config->pwc[id]);
        }
    }
    return bytes;
}

static void level_init(HWTLBLevel *level, HWTLBLevelId id,
                       const HWTLBArrayConfig *configs, uint64_t seed)
{
    size_t words = 0;
    HWTLBEntry *entry;

    level->id = id;
    for (int a = 0; a < HWTLB_MAX_ARRAYS; a++) {
        if (configs[a].ways) {
            HWTLBArray *array = &level->arrays[level->n_arrays++];

            hwtlb_array_init(array, &configs[a], seed + a);
            level->slots += array->slots;
            words += (size_t)array->slots * array_piece_words(id, &configs[a]);
        }
    }
    level->entries = entry = g_new0(HWTLBEntry, level->slots);
    level->pieces = g_new0(uint64_t, words);
    words = 0;
    for (unsigned a = 0; a < level->n_arrays; a++) {
        HWTLBArray *array = &level->arrays[a];
        unsigned step = array_piece_words(id, &array->config);

        for (int class = 0; class < HWTLB_CLASSES; class++) {
            if (array->config.classes >> class & 1) {
                level->array_of[class] = array;
                level->entries_of[class] = entry;
            }
        }
        for (uint32_t slot = 0; slot < array->slots; slot++, entry++) {
            entry->index = entry - level->entries;
            entry->l0_pieces = step ? &level->pieces[words] : NULL;
            words += step;
        }
    }
    level->crowd_mask = crowd_size(level->slots) - 1;
    level->crowd = g_new0(uint32_t, level->crowd_mask + 1);
}

HWTLB *hwtlb_new(const HWTLBConfig *config, HWTLBDropFn *drop, void *opaque)
{
    HWTLB *tlb = g_new0(HWTLB, 1);

    tlb->config = *config;
    tlb->drop = drop;
    tlb->drop_opaque = opaque;
    for (int l = 0; l < HWTLB_LEVELS; l++) {
        level_init(&tlb->levels[l], l, config->arrays[l],
                   config->seed + HWTLB_MAX_ARRAYS * l);
    }
    hwtlb_pwc_init(&tlb->pwc, config->pwc,
                   config->seed + HWTLB_MAX_ARRAYS * HWTLB_LEVELS);
    return tlb;
}

void hwtlb_free(HWTLB *tlb)
{
    if (!tlb) {
        return;
    }
    for (int l = 0; l < HWTLB_LEVELS; l++) {
        HWTLBLevel *level = &tlb->levels[l];

        for (unsigned a = 0; a < level->n_arrays; a++) {
            hwtlb_array_destroy(&level->arrays[a]);
        }
        g_free(level->entries);
        g_free(level->pieces);
        g_free(level->crowd);
    }
    hwtlb_pwc_destroy(&tlb->pwc);
    hwtlb_lines_clear(&tlb->lines);
    g_free(tlb);
}
