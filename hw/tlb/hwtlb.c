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
#include "hw/tlb/hwtlb-inline.h"

/* What is looked at as one when an entry replaces smaller ones. */
#define BLOCK           (1ull << 16)
#define BLOCK_PAGES     16

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

/* First counter of each level's flushes, and others by access. */
static const HWTLBCounter level_flush[HWTLB_LEVELS] = {
    HWTLB_C_L1D_FLUSH_INVLPG, HWTLB_C_L1I_FLUSH_INVLPG,
    HWTLB_C_STLB_FLUSH_INVLPG,
};
static const HWTLBCounter l1_lookup[] = {
    [HWTLB_LOAD] = HWTLB_C_L1D_LOOKUP,
    [HWTLB_STORE] = HWTLB_C_L1D_LOOKUP,
    [HWTLB_FETCH] = HWTLB_C_L1I_LOOKUP,
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
    return hwtlb_class_shift[class];
}

void hwtlb_count(HWTLB *tlb, HWTLBCounter counter, uint64_t n)
{
    hwtlb_add(tlb, counter, n);
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

static uint32_t slot_of(const HWTLBLevel *level, const HWTLBEntry *entry)
{
    return entry - level->entries_of[entry->leaf.class];
}

static void flush_entry(HWTLB *tlb, HWTLBLevel *level, HWTLBEntry *entry,
                        HWTLBCause cause)
{
    hwtlb_array_remove(level->array_of[entry->leaf.class],
                       slot_of(level, entry));
    hwtlb_account(level, entry->leaf.class, entry->va, -1);
    hwtlb_drop_pieces(tlb, level->id, entry, tlb->drop);
    hwtlb_count(tlb, level_flush[level->id] + cause, 1);
}

HWTLBAt hwtlb_find_classes(const HWTLBLevel *level, unsigned classes,
                           uint64_t va)
{
    for (; classes; classes &= classes - 1) {
        const HWTLBAt at = hwtlb_find_class(level, ctz32(classes), va, true);

        if (at.entry) {
            return at;
        }
    }
    return (HWTLBAt) { };
}

HWTLBEntry *hwtlb_hit_other(HWTLB *tlb, HWTLBAccess access, uint64_t va,
                            HWTLBProbe probe, HWTLBDropFn *drop)
{
    const HWTLBEntry *entry = probe.l1.entry ? probe.l1.entry :
                                               probe.stlb.entry;

    return hwtlb_hit_class(tlb, access, va, entry->leaf.class, probe, drop);
}

/* Level @id gets @leaf for @va, of which it has no entry. */
static HWTLBEntry *fill(HWTLB *tlb, HWTLBLevelId id, uint64_t va,
                        const HWTLBLeaf *leaf)
{
    return likely(leaf->class == HWTLB_4K) ?
           hwtlb_fill_level(tlb, id, va, HWTLB_4K, leaf, tlb->drop) :
           hwtlb_fill_level(tlb, id, va, leaf->class, leaf, tlb->drop);
}

static void count_lookup(HWTLB *tlb, HWTLBAccess access, bool hit)
{
    if (tlb->config.observe_every) {
        hwtlb_count(tlb, l1_lookup[access], 1);
        hwtlb_count(tlb, l1_lookup[access] + 1, hit);
    }
}

HWTLBEntry *hwtlb_miss(HWTLB *tlb, HWTLBAccess access)
{
    count_lookup(tlb, access, false);
    hwtlb_count(tlb, hwtlb_l1_miss[access], 1);
    hwtlb_count(tlb, stlb_miss[access], 1);
    return NULL;
}

HWTLBEntry *hwtlb_lookup(HWTLB *tlb, HWTLBAccess access, uint64_t va)
{
    const HWTLBProbe probe = hwtlb_probe(tlb, access, va);

    if (!probe.l1.entry && !probe.stlb.entry) {
        return hwtlb_miss(tlb, access);
    }
    count_lookup(tlb, access, probe.l1.entry != NULL);
    return hwtlb_hit(tlb, access, va, probe, tlb->drop);
}

/* Drops the entries of classes @smaller in the @size bytes at @start. */
static void drop_block(HWTLB *tlb, HWTLBLevel *level, uint64_t start,
                       uint64_t size, unsigned smaller)
{
    for (; smaller; smaller &= smaller - 1) {
        const HWTLBClass class = ctz32(smaller);

        const uint64_t step = 1ull << hwtlb_class_bits(class);

        for (uint64_t at = 0; at < size; at += step) {
            HWTLBEntry *entry =
                hwtlb_find_class(level, class, start + at, false).entry;

            if (entry) {
                flush_entry(tlb, level, entry, HWTLB_REPLACED);
            }
        }
    }
}

/* The same of whole blocks, most of which have none. */
static void drop_blocks(HWTLB *tlb, HWTLBLevel *level, uint64_t start,
                        uint64_t size, unsigned smaller)
{
    const uint32_t *small =
        &level->small[(start >> HWTLB_PAGE_BITS) & level->small_mask];

    for (uint64_t at = 0; at < size; at += BLOCK, small += BLOCK_PAGES) {
        uint32_t any = 0;

        for (int page = 0; page < BLOCK_PAGES; page++) {
            any |= small[page];
        }
        if (any) {
            drop_block(tlb, level, start + at, BLOCK, smaller);
        }
    }
}

/* The same, looking at every entry. */
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
    const uint64_t size = 1ull << hwtlb_class_bits(new_class);
    const uint64_t start = hwtlb_first_byte(new_class, va);
    unsigned below = (1u << new_class) - 1;

    if (size == BLOCK) {
        below = (1u << HWTLB_64K) - 1;
    }
    for (int l = 0; l < HWTLB_LEVELS; l++) {
        HWTLBLevel *level = &tlb->levels[l];
        const unsigned smaller = level->present & below;

        if (!smaller) {
            continue;
        }
        if (new_class == HWTLB_1G) {
            drop_everywhere(tlb, level, start, size, smaller);
        } else if (size >= BLOCK) {
            drop_blocks(tlb, level, start, size, smaller);
        } else {
            drop_block(tlb, level, start, size, smaller);
        }
    }
}

/* Both levels, which have nothing for @va, get @leaf. */
static HWTLBEntry *fill_both(HWTLB *tlb, HWTLBAccess access, uint64_t va,
                             const HWTLBLeaf *leaf)
{
    if (leaf->class != HWTLB_4K) {
        drop_smaller(tlb, va, leaf->class);
    }
    fill(tlb, HWTLB_STLB, va, leaf);
    return fill(tlb, hwtlb_l1_of(access), va, leaf);
}

HWTLBEntry *hwtlb_fill(HWTLB *tlb, HWTLBAccess access, uint64_t va,
                       const HWTLBLeaf *leaf)
{
    HWTLBLeaf new = *leaf;

    new.serial = ++tlb->serial;
    return fill_both(tlb, access, va, &new);
}

/* The entry for @va gets @leaf, or goes if it is of another size. */
static HWTLBEntry *update(HWTLB *tlb, HWTLBLevel *level, uint64_t va,
                          const HWTLBLeaf *leaf)
{
    HWTLBEntry *entry = hwtlb_find_in(level, va, true).entry;

    if (!entry) {
        return NULL;
    }
    if (entry->leaf.class != leaf->class) {
        flush_entry(tlb, level, entry, HWTLB_REPLACED);
        return NULL;
    }
    /* A piece of the old frame must not outlive it. */
    if (entry->leaf.frame != leaf->frame) {
        hwtlb_drop_pieces(tlb, level->id, entry, tlb->drop);
    }
    entry->leaf = *leaf;
    return entry;
}

HWTLBEntry *hwtlb_update(HWTLB *tlb, HWTLBAccess access, uint64_t va,
                         const HWTLBLeaf *leaf)
{
    const HWTLBLevelId id = hwtlb_l1_of(access);
    HWTLBEntry *stlb, *l1;
    HWTLBLeaf new = *leaf;

    new.serial = ++tlb->serial;
    stlb = update(tlb, &tlb->levels[HWTLB_STLB], va, &new);
    l1 = update(tlb, &tlb->levels[id], va, &new);
    return l1 ? l1 :
           stlb ? fill(tlb, id, va, &new) :
                  fill_both(tlb, access, va, &new);
}

void hwtlb_invalidate(HWTLB *tlb, uint64_t va, HWTLBCause cause)
{
    for (int l = 0; l < HWTLB_LEVELS; l++) {
        HWTLBEntry *entry;

        while ((entry = hwtlb_find_in(&tlb->levels[l], va, false).entry)) {
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
    return class < HWTLB_2M ? 1 : HWTLB_PIECES / 64;
}

void hwtlb_note_l0(HWTLBEntry *entry, uint64_t va, unsigned mmu_idx)
{
    const uint64_t page = ((va - entry->va) >> HWTLB_PAGE_BITS) % HWTLB_PIECES;

    if (entry->leaf.class != HWTLB_4K) {
        if (!entry->l0_idxmap) {
            for (unsigned i = 0; i < piece_words(entry->leaf.class); i++) {
                entry->l0_pieces[i] = 0;
            }
        }
        entry->l0_pieces[page / 64] |= 1ull << (page % 64);
    }
    entry->l0_idxmap |= 1u << mmu_idx;
}

/* A walk has read @pa at @level, mostly from the line that the last one did. */
static void count_line(HWTLB *tlb, unsigned level, uint64_t pa)
{
    if (hwtlb_lines_is_last(&tlb->lines, level, pa)) {
        return;
    }
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
        count_line(tlb, level, walk->entry[level]);
    }
    if (walk->group) {
        hwtlb_count(tlb, HWTLB_C_WALK_READ_GROUP, walk->group - 1);
    }
    if (walk->group == 16 || walk->coalesce == 16) {
        /* Two lines, side by side and aligned; one was counted above. */
        count_line(tlb, 0, pt ^ 64);
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
        bool uniform = !(frame & (((uint64_t)size << HWTLB_PAGE_BITS) - 1));

        for (unsigned j = 0; uniform && j < size; j++) {
            const uint64_t p = pte[base + j];

            uniform = (p & format->present) == format->present &&
                      !((p ^ pte[i]) & format->same) &&
                      (p & format->frame) ==
                      frame + ((uint64_t)j << HWTLB_PAGE_BITS);
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
    return hwtlb_find_in(&tlb->levels[level], va, true).entry;
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
    return piece_words(config->classes >> HWTLB_2M ? HWTLB_2M : HWTLB_4K);
}

/* Entries of the table @small of a level with @slots. */
static uint32_t small_size(uint64_t slots)
{
    uint32_t size = 1 << (21 - HWTLB_PAGE_BITS);

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
        bytes += small_size(slots) * sizeof(uint32_t);
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
            entry->l0_pieces = step ? &level->pieces[words] : NULL;
            words += step;
        }
    }
    level->small_mask = small_size(level->slots) - 1;
    level->small = g_new0(uint32_t, level->small_mask + 1);
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
        g_free(level->small);
    }
    hwtlb_pwc_destroy(&tlb->pwc);
    hwtlb_lines_clear(&tlb->lines);
    g_free(tlb);
}
