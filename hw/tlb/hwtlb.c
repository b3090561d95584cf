/*
 * hwtlb: an exact model of one processor's TLBs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/bitops.h"
#include "qemu/host-utils.h"
#include "hw/tlb/hwtlb.h"

/* A tag is the first address covered, with these in its low 12 bits. */
#define TAG_VALID       (1u << 3)
#define TAG_CLASS_MASK  7u

#define PAGE_BITS       12
#define PIECE_WORDS     8       /* the 512 pages of a 2 MB entry */

typedef struct HWTLBArray {
    HWTLBArrayConfig config;
    uint64_t *tags;             /* [sets][ways], apart: a lookup reads these */
    uint64_t *stamps;           /* [sets][ways]: when filled, or last used */
    HWTLBEntry *entries;        /* [sets][ways] */
    uint64_t *pieces;           /* what the entries' l0_pieces point into */
    uint64_t clock;
    unsigned valid[HWTLB_CLASSES];
} HWTLBArray;

typedef struct HWTLBLevel {
    HWTLBLevelId id;
    unsigned n_arrays;
    HWTLBArray arrays[HWTLB_MAX_ARRAYS];
    HWTLBArray *array_of[HWTLB_CLASSES];
} HWTLBLevel;

struct HWTLB {
    HWTLBLevel levels[HWTLB_LEVELS];
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

QEMU_BUILD_BUG_ON(HWTLB_C_L1D_EVICT - HWTLB_C_L1D_FILL_4K != HWTLB_CLASSES);
QEMU_BUILD_BUG_ON(HWTLB_C_L1D_FLUSH_RESET - HWTLB_C_L1D_FLUSH_INVLPG
                  != HWTLB_CAUSES - 1);

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

static uint64_t make_tag(HWTLBClass class, uint64_t va)
{
    return (va & ~MAKE_64BIT_MASK(0, class_bits[class])) | TAG_VALID | class;
}

/* Number of the first way of the set that @va belongs to. */
static size_t set_base(const HWTLBArray *array, HWTLBClass class, uint64_t va)
{
    uint64_t vpn = va >> class_bits[class];
    unsigned sets = array->config.sets;
    size_t set = is_power_of_2(sets) ? vpn & (sets - 1) : vpn % sets;

    return set * array->config.ways;
}

/* The slot that holds @va as @class, or -1. */
static ssize_t find_class(const HWTLBArray *array, HWTLBClass class,
                          uint64_t va)
{
    uint64_t tag = make_tag(class, va);
    size_t base = set_base(array, class, va);

    for (unsigned way = 0; way < array->config.ways; way++) {
        if (array->tags[base + way] == tag) {
            return base + way;
        }
    }
    return -1;
}

/* The slot of @level that covers @va, with its array; or -1. */
static ssize_t find(HWTLBLevel *level, uint64_t va, HWTLBArray **array)
{
    for (HWTLBClass class = 0; class < HWTLB_CLASSES; class++) {
        HWTLBArray *a = level->array_of[class];

        if (a && a->valid[class]) {
            ssize_t slot = find_class(a, class, va);

            if (slot >= 0) {
                *array = a;
                return slot;
            }
        }
    }
    return -1;
}

static void drop_slot(HWTLB *tlb, HWTLBLevel *level, HWTLBArray *array,
                      size_t slot)
{
    HWTLBEntry *entry = &array->entries[slot];

    array->tags[slot] = 0;
    array->valid[entry->leaf.class]--;
    if (entry->l0_idxmap) {
        tlb->drop(tlb->drop_opaque, level->id, entry);
    }
}

static void flush_slot(HWTLB *tlb, HWTLBLevel *level, HWTLBArray *array,
                       size_t slot, HWTLBCause cause)
{
    drop_slot(tlb, level, array, slot);
    hwtlb_count(tlb, level_flush[level->id] + cause, 1);
}

static HWTLBEntry *fill(HWTLB *tlb, HWTLBLevel *level, uint64_t va,
                        const HWTLBLeaf *leaf)
{
    HWTLBArray *array = level->array_of[leaf->class];
    size_t base = set_base(array, leaf->class, va);
    size_t slot = base;
    HWTLBEntry *entry;

    for (unsigned way = 0; way < array->config.ways; way++) {
        if (!array->tags[base + way]) {
            slot = base + way;
            break;
        }
        if (array->stamps[base + way] < array->stamps[slot]) {
            slot = base + way;
        }
    }
    if (array->tags[slot]) {
        drop_slot(tlb, level, array, slot);
        hwtlb_count(tlb, level_evict[level->id], 1);
    }

    array->tags[slot] = make_tag(leaf->class, va);
    array->stamps[slot] = ++array->clock;
    array->valid[leaf->class]++;
    entry = &array->entries[slot];
    entry->va = va & ~MAKE_64BIT_MASK(0, class_bits[leaf->class]);
    entry->leaf = *leaf;
    entry->l0_idxmap = 0;
    hwtlb_count(tlb, level_fill[level->id] + leaf->class, 1);
    return entry;
}

static HWTLBLevel *l1_of(HWTLB *tlb, HWTLBAccess access)
{
    return &tlb->levels[access == HWTLB_FETCH ? HWTLB_L1I : HWTLB_L1D];
}

HWTLBEntry *hwtlb_lookup(HWTLB *tlb, HWTLBAccess access, uint64_t va)
{
    HWTLBLevel *l1 = l1_of(tlb, access);
    HWTLBArray *array;
    ssize_t slot = find(l1, va, &array);

    if (slot >= 0) {
        return &array->entries[slot];
    }
    hwtlb_count(tlb, l1_miss[access], 1);

    slot = find(&tlb->levels[HWTLB_STLB], va, &array);
    if (slot >= 0) {
        if (array->config.policy == HWTLB_LRU) {
            array->stamps[slot] = ++array->clock;
        }
        return fill(tlb, l1, va, &array->entries[slot].leaf);
    }
    hwtlb_count(tlb, stlb_miss[access], 1);
    return NULL;
}

/*
 * A 64 KB translation comes to live beside 4 KB ones of the same group, made
 * while the group was not yet well formed (and a 2 MB one beside those of a
 * table that it replaced).  They go: one address, one translation.
 */
static void drop_smaller(HWTLB *tlb, uint64_t va, HWTLBClass new_class)
{
    uint64_t size = 1ull << class_bits[new_class];
    uint64_t start = va & ~(size - 1);

    for (int l = 0; l < HWTLB_LEVELS; l++) {
        HWTLBLevel *level = &tlb->levels[l];

        for (unsigned a = 0; a < level->n_arrays; a++) {
            HWTLBArray *array = &level->arrays[a];
            size_t n = (size_t)array->config.sets * array->config.ways;
            unsigned smaller = 0;

            for (HWTLBClass class = 0; class < HWTLB_CLASSES; class++) {
                if (class_bits[class] < class_bits[new_class]) {
                    smaller += array->valid[class];
                }
            }
            if (!smaller) {
                continue;
            }
            if (new_class == HWTLB_64K_HINT || new_class == HWTLB_64K_LEAF) {
                for (uint64_t page = 0; page < size; page += 1 << PAGE_BITS) {
                    ssize_t slot = find_class(array, HWTLB_4K, start + page);

                    if (slot >= 0) {
                        flush_slot(tlb, level, array, slot, HWTLB_REPLACED);
                    }
                }
                continue;
            }
            for (size_t slot = 0; slot < n; slot++) {
                const HWTLBEntry *entry = &array->entries[slot];

                if (array->tags[slot] && entry->va - start < size &&
                    class_bits[entry->leaf.class] < class_bits[new_class]) {
                    flush_slot(tlb, level, array, slot, HWTLB_REPLACED);
                }
            }
        }
    }
}

HWTLBEntry *hwtlb_fill(HWTLB *tlb, HWTLBAccess access, uint64_t va,
                       const HWTLBLeaf *leaf)
{
    if (leaf->class != HWTLB_4K) {
        drop_smaller(tlb, va, leaf->class);
    }
    fill(tlb, &tlb->levels[HWTLB_STLB], va, leaf);
    return fill(tlb, l1_of(tlb, access), va, leaf);
}

HWTLBEntry *hwtlb_update(HWTLB *tlb, HWTLBAccess access, uint64_t va,
                         const HWTLBLeaf *leaf)
{
    HWTLBLevel *l1 = l1_of(tlb, access);
    HWTLBLevel *stlb = &tlb->levels[HWTLB_STLB];
    HWTLBEntry *in_l1 = NULL;
    bool in_stlb = false;
    HWTLBArray *array;
    ssize_t slot;

    slot = find(stlb, va, &array);
    if (slot >= 0) {
        if (array->entries[slot].leaf.class == leaf->class) {
            array->entries[slot].leaf = *leaf;
            in_stlb = true;
        } else {
            flush_slot(tlb, stlb, array, slot, HWTLB_REPLACED);
        }
    }
    slot = find(l1, va, &array);
    if (slot >= 0) {
        if (array->entries[slot].leaf.class == leaf->class) {
            in_l1 = &array->entries[slot];
            /* A piece of the old frame must not outlive it. */
            if (in_l1->leaf.frame != leaf->frame && in_l1->l0_idxmap) {
                tlb->drop(tlb->drop_opaque, l1->id, in_l1);
                in_l1->l0_idxmap = 0;
            }
            in_l1->leaf = *leaf;
        } else {
            flush_slot(tlb, l1, array, slot, HWTLB_REPLACED);
        }
    }
    if (in_l1) {
        return in_l1;
    }
    if (in_stlb) {
        return fill(tlb, l1, va, leaf);
    }
    return hwtlb_fill(tlb, access, va, leaf);
}

void hwtlb_invalidate(HWTLB *tlb, uint64_t va, HWTLBCause cause)
{
    for (int l = 0; l < HWTLB_LEVELS; l++) {
        HWTLBLevel *level = &tlb->levels[l];
        HWTLBArray *array;
        ssize_t slot;

        while ((slot = find(level, va, &array)) >= 0) {
            flush_slot(tlb, level, array, slot, cause);
        }
    }
}

void hwtlb_flush(HWTLB *tlb, bool keep_global, HWTLBCause cause)
{
    for (int l = 0; l < HWTLB_LEVELS; l++) {
        HWTLBLevel *level = &tlb->levels[l];
        uint64_t dropped = 0;

        for (unsigned a = 0; a < level->n_arrays; a++) {
            HWTLBArray *array = &level->arrays[a];
            size_t n = (size_t)array->config.sets * array->config.ways;

            for (size_t slot = 0; slot < n; slot++) {
                HWTLBEntry *entry = &array->entries[slot];

                if (!array->tags[slot]) {
                    continue;
                }
                entry->l0_idxmap = 0;
                if (!keep_global || !entry->leaf.global) {
                    drop_slot(tlb, level, array, slot);
                    dropped++;
                }
            }
        }
        hwtlb_count(tlb, level_flush[l] + cause, dropped);
    }
}

void hwtlb_note_l0(HWTLBEntry *entry, uint64_t va, unsigned mmu_idx)
{
    uint64_t page = (va - entry->va) >> PAGE_BITS;

    if (!entry->l0_idxmap) {
        memset(entry->l0_pieces, 0, PIECE_WORDS * sizeof(uint64_t));
    }
    entry->l0_idxmap |= 1u << mmu_idx;
    if (entry->leaf.class != HWTLB_1G) {
        entry->l0_pieces[page / 64] |= 1ull << (page % 64);
    }
}

unsigned hwtlb_valid_entries(const HWTLB *tlb, HWTLBLevelId level)
{
    const HWTLBLevel *l = &tlb->levels[level];
    unsigned n = 0;

    for (unsigned a = 0; a < l->n_arrays; a++) {
        for (HWTLBClass class = 0; class < HWTLB_CLASSES; class++) {
            n += l->arrays[a].valid[class];
        }
    }
    return n;
}

bool hwtlb_config_valid(const HWTLBConfig *config, char **why)
{
    static const char *const names[HWTLB_LEVELS] = { "l1d", "l1i", "stlb" };

    for (int l = 0; l < HWTLB_LEVELS; l++) {
        unsigned seen = 0;

        for (int a = 0; a < HWTLB_MAX_ARRAYS; a++) {
            const HWTLBArrayConfig *array = &config->arrays[l][a];

            if (!array->ways) {
                continue;
            }
            if (!array->sets || array->sets > 1 << 16 ||
                array->ways > 1 << 12) {
                *why = g_strdup_printf("%s: array %d: sets must be 1 to 65536 "
                                       "and ways 1 to 4096", names[l], a);
                return false;
            }
            if (!array->classes || array->classes >> HWTLB_CLASSES ||
                (array->classes & seen)) {
                *why = g_strdup_printf("%s: array %d: each entry size belongs "
                                       "to exactly one array", names[l], a);
                return false;
            }
            if (array->policy != HWTLB_FIFO && l != HWTLB_STLB) {
                *why = g_strdup_printf("%s: array %d: only the policy fifo is "
                                       "exact in L1", names[l], a);
                return false;
            }
            seen |= array->classes;
        }
        if (seen != (1u << HWTLB_CLASSES) - 1) {
            *why = g_strdup_printf("%s: every entry size needs an array",
                                   names[l]);
            return false;
        }
    }
    return true;
}

static void level_init(HWTLBLevel *level, HWTLBLevelId id,
                       const HWTLBArrayConfig *configs)
{
    level->id = id;
    for (int a = 0; a < HWTLB_MAX_ARRAYS; a++) {
        HWTLBArray *array = &level->arrays[level->n_arrays];
        size_t n = (size_t)configs[a].sets * configs[a].ways;

        if (!configs[a].ways) {
            continue;
        }
        level->n_arrays++;
        array->config = configs[a];
        array->tags = g_new0(uint64_t, n);
        array->stamps = g_new0(uint64_t, n);
        array->entries = g_new0(HWTLBEntry, n);
        if (id != HWTLB_STLB) {
            array->pieces = g_new0(uint64_t, n * PIECE_WORDS);
            for (size_t slot = 0; slot < n; slot++) {
                array->entries[slot].l0_pieces =
                    array->pieces + slot * PIECE_WORDS;
            }
        }
        for (HWTLBClass class = 0; class < HWTLB_CLASSES; class++) {
            if (array->config.classes & (1u << class)) {
                level->array_of[class] = array;
            }
        }
    }
}

HWTLB *hwtlb_new(const HWTLBConfig *config, HWTLBDropFn *drop, void *opaque)
{
    HWTLB *tlb = g_new0(HWTLB, 1);

    tlb->drop = drop;
    tlb->drop_opaque = opaque;
    for (int l = 0; l < HWTLB_LEVELS; l++) {
        level_init(&tlb->levels[l], l, config->arrays[l]);
    }
    return tlb;
}

void hwtlb_free(HWTLB *tlb)
{
    if (!tlb) {
        return;
    }
    for (int l = 0; l < HWTLB_LEVELS; l++) {
        for (unsigned a = 0; a < tlb->levels[l].n_arrays; a++) {
            HWTLBArray *array = &tlb->levels[l].arrays[a];

            g_free(array->tags);
            g_free(array->stamps);
            g_free(array->entries);
            g_free(array->pieces);
        }
    }
    g_free(tlb);
}
