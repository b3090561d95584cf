/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"
#include "hwtlb-machine.h"
#include "hwtlb-oracle.h"

/* 1 GB aligned, with high bits to get lost. */
#define BASE    0xffff888040000000ull
#define PAGE    4096ull

struct Machine {
    HWTLBConfig config;
    HWTLB *tlb;
    Oracle *oracle;
    /* (page number << 1 | fetch) to 1, or to 2 if stores may use it too. */
    GHashTable *l0;
    GHashTable *dirty;          /* PTEs with D: start | class, as pointers */
    struct {
        HWTLBClass class;       /* HWTLB_CLASSES: by sizes in turn */
        bool global;
    } region[MACHINE_REGIONS];
    uint64_t asked;             /* how often the model was */
};

static gpointer l0_key(uint64_t va, bool fetch)
{
    return GSIZE_TO_POINTER(va / PAGE << 1 | fetch);
}

/* Is this page of L0 one of @opaque's, an entry of 1 GB? */
static gboolean is_piece(gpointer key, gpointer value, gpointer opaque)
{
    const uint64_t va = GPOINTER_TO_SIZE(key) / 2 * PAGE;
    const bool fetch = GPOINTER_TO_SIZE(key) & 1;
    const HWTLBEntry *entry = opaque;
    const uint64_t i = va / PAGE % HWTLB_PIECES;

    return va - entry->va < 1 << 30 && entry->l0_idxmap >> fetch & 1 &&
           entry->l0_pieces[i / 64] >> (i % 64) & 1;
}

static void drop(void *opaque, HWTLBLevelId level, const HWTLBEntry *entry)
{
    uint64_t pages = 1ull << (hwtlb_class_bits(entry->leaf.class) - 12);
    Machine *m = opaque;

    g_assert_cmpint(level, !=, HWTLB_STLB);
    g_assert_cmpuint(entry->l0_idxmap, ==, level == HWTLB_L1I ? 2 : 1);
    if (entry->leaf.class == HWTLB_1G) {
        g_hash_table_foreach_remove(m->l0, is_piece, (gpointer)entry);
        return;
    }
    for (uint64_t i = 0; i < pages; i++) {
        if (entry->leaf.class == HWTLB_4K ||
            (entry->l0_pieces[i / 64] >> (i % 64) & 1)) {
            g_hash_table_remove(m->l0, l0_key(entry->va + i * PAGE,
                                              level == HWTLB_L1I));
        }
    }
}

static HWTLBLeaf walk(Machine *m, HWTLBAccess access, uint64_t va)
{
    unsigned region = (va - BASE) >> 21;
    HWTLBClass class = m->region[region].class;
    uint64_t start;
    gpointer pte;

    if (class == HWTLB_CLASSES) {
        class = (va >> 16) % (HWTLB_64K_LEAF + 1);
        /* Coalesced classes only as far as the machine has them. */
        if (class <= HWTLB_64K && m->config.coalesce < 1u << class) {
            class = HWTLB_4K;
        }
    }
    start = va >> hwtlb_class_bits(class) << hwtlb_class_bits(class);
    pte = GSIZE_TO_POINTER(start | class);
    if (access == HWTLB_STORE) {
        g_hash_table_add(m->dirty, pte);
    }
    return (HWTLBLeaf) {
        .frame = start ^ (uint64_t)class << 40,
        .class = class,
        .global = m->region[region].global,
        .dirty = g_hash_table_contains(m->dirty, pte),
    };
}

static void ask_model(Machine *m, HWTLBAccess access, uint64_t va,
                      const HWTLBLeaf *leaf)
{
    HWTLBLevelId l1 = access == HWTLB_FETCH ? HWTLB_L1I : HWTLB_L1D;
    HWTLBEntry *entry = hwtlb_lookup(m->tlb, access, va);
    HWTLBWalk walked = {
        .kind = entry ? HWTLB_WALK_DIRTY : HWTLB_WALK_COMPLETED,
        .top = 4,
        .last = leaf->class == HWTLB_1G ? 3 : leaf->class == HWTLB_2M ? 2 : 1,
    };

    m->asked++;
    for (int level = 1; level <= 4; level++) {
        walked.entry[level] = (uint64_t)level << 50 |
                              va >> (12 + 9 * (level - 1)) << 3;
    }
    if (!entry) {
        hwtlb_walk(m->tlb, va, &walked);
        entry = hwtlb_fill(m->tlb, access, va, leaf);
    } else if (access == HWTLB_STORE && !entry->leaf.dirty) {
        hwtlb_walk(m->tlb, va, &walked);
        entry = hwtlb_update(m->tlb, access, va, leaf);
    }
    g_assert_cmpuint(va - entry->va, <,
                     1ull << hwtlb_class_bits(entry->leaf.class));
    if (!m->config.observe_every) {
        g_hash_table_insert(m->l0, l0_key(va, l1 == HWTLB_L1I),
                            GUINT_TO_POINTER(1 + entry->leaf.dirty));
        hwtlb_note_l0(entry, va, l1 == HWTLB_L1I);
    }
}

void machine_access(Machine *m, HWTLBAccess access, uint64_t va)
{
    unsigned in_l0;
    HWTLBLeaf leaf;

    va = va % MACHINE_SIZE + BASE;
    leaf = walk(m, access, va);
    in_l0 = GPOINTER_TO_UINT(g_hash_table_lookup(m->l0,
                             l0_key(va, access == HWTLB_FETCH)));
    if (in_l0 < 1 + (access == HWTLB_STORE)) {
        ask_model(m, access, va, &leaf);
    }
    oracle_access(m->oracle, access, va, &leaf);
}

void machine_map(Machine *m, uint64_t va, HWTLBClass class, bool global)
{
    unsigned region = va % MACHINE_SIZE >> 21, n = 1;
    HWTLBClass old = m->region[region].class;

    if (class <= HWTLB_64K && m->config.coalesce < 1u << class) {
        class = HWTLB_4K;
    }
    if (class == HWTLB_1G || old == HWTLB_1G) {
        region &= ~511u;
        n = 512;
    }
    for (unsigned i = region; i < region + n; i++) {
        m->region[i].class = class;
        m->region[i].global = global;
    }
}

void machine_invalidate(Machine *m, uint64_t va, HWTLBCause cause)
{
    va = va % MACHINE_SIZE + BASE;
    hwtlb_invalidate(m->tlb, va, cause);
    oracle_drop(m->oracle, false, va, true, cause);
}

void machine_flush(Machine *m, bool keep_global, HWTLBCause cause)
{
    g_hash_table_remove_all(m->l0);
    hwtlb_flush(m->tlb, keep_global, cause);
    oracle_drop(m->oracle, true, 0, !keep_global, cause);
}

void machine_forget(Machine *m, uint64_t va)
{
    va = va % MACHINE_SIZE + BASE;
    g_hash_table_remove(m->l0, l0_key(va, false));
    g_hash_table_remove(m->l0, l0_key(va, true));
}

void machine_forget_all(Machine *m)
{
    g_hash_table_remove_all(m->l0);
}

uint64_t machine_asked(const Machine *m)
{
    return m->asked;
}

const HWTLB *machine_tlb(const Machine *m)
{
    return m->tlb;
}

static uint64_t sum_of(const HWTLB *tlb, int first, int n)
{
    uint64_t sum = 0;

    for (int i = first; i < first + n; i++) {
        sum += hwtlb_counter(tlb, i);
    }
    return sum;
}

/* No two entries of a level cover the same address; count what is there. */
static void check_level(const Machine *m, HWTLBLevelId level)
{
    static const HWTLBCounter fills[] = {
        HWTLB_C_L1D_FILL_4K, HWTLB_C_L1I_FILL_4K, HWTLB_C_STLB_FILL_4K,
    };
    unsigned n = 0, slots = hwtlb_slots(m->tlb, level);
    g_autofree const HWTLBEntry **valid = g_new(const HWTLBEntry *, slots);

    for (unsigned i = 0; i < slots; i++) {
        const HWTLBEntry *e = hwtlb_entry_at(m->tlb, level, i);

        if (!e) {
            continue;
        }
        for (unsigned j = 0; j < n; j++) {
            uint64_t size = 1ull << MAX(hwtlb_class_bits(e->leaf.class),
                                        hwtlb_class_bits(valid[j]->leaf.class));

            g_assert_cmpuint(e->va / size, !=, valid[j]->va / size);
        }
        valid[n++] = e;
    }
    g_assert_cmpuint(n, ==, hwtlb_valid_entries(m->tlb, level));
    g_assert_cmpuint(n, ==, sum_of(m->tlb, fills[level], HWTLB_CLASSES) -
                     sum_of(m->tlb, fills[level] + HWTLB_CLASSES,
                            1 + HWTLB_CAUSES));
}

static bool covered(const Machine *m, HWTLBLevelId level, uint64_t va)
{
    for (unsigned i = 0; i < hwtlb_slots(m->tlb, level); i++) {
        const HWTLBEntry *e = hwtlb_entry_at(m->tlb, level, i);

        if (e && va - e->va < 1ull << hwtlb_class_bits(e->leaf.class)) {
            return true;
        }
    }
    return false;
}

void machine_check(const Machine *m)
{
    GHashTableIter iter;
    gpointer key;

    for (int i = 0; i < HWTLB_C__MAX; i++) {
        /* What walks read is not the oracle's business. */
        if (i < HWTLB_C_WALK_READ_PML5 || i > HWTLB_C_PWC_MISS) {
            if (hwtlb_counter(m->tlb, i) != oracle_counter(m->oracle, i)) {
                g_error("%s is %" PRIu64 ", but %" PRIu64 " by the oracle",
                        hwtlb_counter_names[i], hwtlb_counter(m->tlb, i),
                        oracle_counter(m->oracle, i));
            }
        }
    }
    g_assert_cmpuint(sum_of(m->tlb, HWTLB_C_PWC_HIT_PML4E, 4), ==,
                     sum_of(m->tlb, HWTLB_C_WALK_COMPLETED, 4));
    for (int l = 0; l < HWTLB_LEVELS; l++) {
        check_level(m, l);
    }
    g_hash_table_iter_init(&iter, m->l0);
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        size_t k = GPOINTER_TO_SIZE(key);

        g_assert_true(covered(m, k & 1 ? HWTLB_L1I : HWTLB_L1D,
                              (k >> 1) * PAGE));
    }
}

Machine *machine_new(const HWTLBConfig *config)
{
    g_autofree char *why = NULL;
    Machine *m = g_new0(Machine, 1);

    if (!hwtlb_config_valid(config, &why)) {
        g_error("%s", why);
    }
    m->config = *config;
    m->tlb = hwtlb_new(config, drop, m);
    m->oracle = oracle_new(config);
    m->l0 = g_hash_table_new(NULL, NULL);
    m->dirty = g_hash_table_new(NULL, NULL);
    return m;
}

void machine_free(Machine *m)
{
    hwtlb_free(m->tlb);
    oracle_free(m->oracle);
    g_hash_table_destroy(m->l0);
    g_hash_table_destroy(m->dirty);
    g_free(m);
}
