/*
 * Unit tests of the hardware-TLB model
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Expected numbers are textbook figures, closed forms, or those of the list
 * simulator below, which shares no code with the model.
 */
#include "qemu/osdep.h"
#include "hw/tlb/hwtlb.h"

#define ALL_CLASSES     ((1u << HWTLB_CLASSES) - 1)
#define PAGE            4096ull

static const uint64_t class_size[HWTLB_CLASSES] = {
    PAGE, 16 * PAGE, 16 * PAGE, 512 * PAGE, 512 * 512 * PAGE,
};

/* A whole level of one array. */
#define ONE_ARRAY(sets, ways, policy) {{ sets, ways, ALL_CLASSES, policy }}

static void no_drop(void *opaque, HWTLBLevelId level, const HWTLBEntry *entry)
{
}

static HWTLB *new_tlb(const HWTLBConfig *config)
{
    g_autofree char *why = NULL;

    if (!hwtlb_config_valid(config, &why)) {
        g_error("%s", why);
    }
    return hwtlb_new(config, no_drop, NULL);
}

/* One access to memory that is mapped by pages of @class. */
static HWTLBEntry *touch(HWTLB *tlb, HWTLBAccess access, uint64_t va,
                         HWTLBClass class)
{
    HWTLBEntry *entry = hwtlb_lookup(tlb, access, va);
    HWTLBLeaf leaf = {
        .frame = va & ~(class_size[class] - 1),
        .class = class,
        .dirty = true,
    };

    return entry ? entry : hwtlb_fill(tlb, access, va, &leaf);
}

static uint64_t sum_of(const HWTLB *tlb, HWTLBCounter first, unsigned n)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < n; i++) {
        sum += hwtlb_counter(tlb, first + i);
    }
    return sum;
}

/* fills = misses that completed; valid = fills - evictions - flushed. */
static void check_conservation(const HWTLB *tlb)
{
    static const HWTLBCounter fills[] = {
        HWTLB_C_L1D_FILL_4K, HWTLB_C_L1I_FILL_4K, HWTLB_C_STLB_FILL_4K,
    };

    for (int l = 0; l < HWTLB_LEVELS; l++) {
        uint64_t filled = sum_of(tlb, fills[l], HWTLB_CLASSES);
        uint64_t lost = sum_of(tlb, fills[l] + HWTLB_CLASSES,
                               1 + HWTLB_CAUSES);

        g_assert_cmpuint(hwtlb_valid_entries(tlb, l), ==, filled - lost);
    }
}

/* Belady's reference string: more frames, more misses, under FIFO. */
static const int belady[] = { 1, 2, 3, 4, 1, 2, 5, 1, 2, 3, 4, 5 };

static void test_fifo(gconstpointer data)
{
    static const unsigned misses[] = { [3] = 9, [4] = 10 };
    unsigned ways = GPOINTER_TO_UINT(data);
    const HWTLBConfig config = { .arrays = {
        ONE_ARRAY(1, ways, HWTLB_FIFO),
        ONE_ARRAY(1, 1, HWTLB_FIFO),
        ONE_ARRAY(1, 1, HWTLB_FIFO),
    }};
    HWTLB *tlb = new_tlb(&config);

    for (int i = 0; i < ARRAY_SIZE(belady); i++) {
        touch(tlb, HWTLB_LOAD, belady[i] * PAGE, HWTLB_4K);
    }
    g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_L1D_LOAD_MISS), ==,
                     misses[ways]);
    g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_L1D_EVICT), ==,
                     misses[ways] - ways);
    check_conservation(tlb);
    hwtlb_free(tlb);
}

/* The same string under LRU.  An L1 of one entry hides no reference. */
static void test_lru(gconstpointer data)
{
    static const unsigned misses[] = { [3] = 10, [4] = 8 };
    unsigned ways = GPOINTER_TO_UINT(data);
    const HWTLBConfig config = { .arrays = {
        ONE_ARRAY(1, 1, HWTLB_FIFO),
        ONE_ARRAY(1, 1, HWTLB_FIFO),
        ONE_ARRAY(1, ways, HWTLB_LRU),
    }};
    HWTLB *tlb = new_tlb(&config);

    for (int i = 0; i < ARRAY_SIZE(belady); i++) {
        touch(tlb, HWTLB_LOAD, belady[i] * PAGE, HWTLB_4K);
    }
    g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_STLB_LOAD_MISS), ==,
                     misses[ways]);
    check_conservation(tlb);
    hwtlb_free(tlb);
}

/* 1,024 pages in order, twice: what each size of entry costs. */
static void test_classes(void)
{
    static const struct {
        HWTLBClass class;
        uint64_t l1_fills, walks;
    } expect[] = {
        /* 64 + 1536 entries: L1 thrashes, the STLB holds all. */
        { HWTLB_4K, 2048, 1024 },
        /* 64 entries in 16 sets of 4: all fit in L1. */
        { HWTLB_64K_HINT, 64, 64 },
        { HWTLB_64K_LEAF, 64, 64 },
        { HWTLB_2M, 2, 2 },
        { HWTLB_1G, 1, 1 },
    };

    for (int e = 0; e < ARRAY_SIZE(expect); e++) {
        HWTLB *tlb = new_tlb(hwtlb_preset("skylake"));
        HWTLBClass class = expect[e].class;

        for (int pass = 0; pass < 2; pass++) {
            for (uint64_t page = 0; page < 1024; page++) {
                touch(tlb, HWTLB_STORE, page * PAGE, class);
            }
        }
        g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_L1D_FILL_4K + class), ==,
                         expect[e].l1_fills);
        g_assert_cmpuint(sum_of(tlb, HWTLB_C_L1D_FILL_4K, HWTLB_CLASSES), ==,
                         expect[e].l1_fills);
        g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_STLB_STORE_MISS), ==,
                         expect[e].walks);
        g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_L1D_LOAD_MISS), ==, 0);
        check_conservation(tlb);
        hwtlb_free(tlb);
    }
}

/* Loads, stores and fetches have counters and, in L1, entries of their own. */
static void test_kinds(void)
{
    HWTLB *tlb = new_tlb(hwtlb_preset("skylake"));

    touch(tlb, HWTLB_LOAD, PAGE, HWTLB_4K);
    touch(tlb, HWTLB_STORE, PAGE, HWTLB_4K);
    touch(tlb, HWTLB_FETCH, PAGE, HWTLB_4K);
    touch(tlb, HWTLB_STORE, 2 * PAGE, HWTLB_4K);
    touch(tlb, HWTLB_FETCH, 3 * PAGE, HWTLB_4K);
    g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_L1D_LOAD_MISS), ==, 1);
    g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_L1D_STORE_MISS), ==, 1);
    g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_L1I_MISS), ==, 2);
    g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_STLB_LOAD_MISS), ==, 1);
    g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_STLB_STORE_MISS), ==, 1);
    g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_STLB_FETCH_MISS), ==, 1);
    g_assert_cmpuint(hwtlb_valid_entries(tlb, HWTLB_L1D), ==, 2);
    g_assert_cmpuint(hwtlb_valid_entries(tlb, HWTLB_L1I), ==, 2);
    g_assert_cmpuint(hwtlb_valid_entries(tlb, HWTLB_STLB), ==, 3);
    hwtlb_free(tlb);
}

/* INVLPG of any of the 16 pages drops the whole 64 KB translation. */
static void test_invlpg(void)
{
    for (uint64_t page = 0; page < 16; page++) {
        HWTLB *tlb = new_tlb(hwtlb_preset("skylake"));
        const uint64_t va = 0x7f0000120000;

        touch(tlb, HWTLB_LOAD, va + 3 * PAGE, HWTLB_64K_HINT);
        touch(tlb, HWTLB_LOAD, va + 16 * PAGE, HWTLB_64K_HINT);
        hwtlb_invalidate(tlb, va + page * PAGE + 123, HWTLB_INVLPG);
        g_assert_null(hwtlb_lookup(tlb, HWTLB_LOAD, va + 3 * PAGE));
        g_assert_nonnull(hwtlb_lookup(tlb, HWTLB_LOAD, va + 16 * PAGE));
        g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_L1D_FLUSH_INVLPG), ==, 1);
        g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_STLB_FLUSH_INVLPG), ==, 1);
        check_conservation(tlb);
        hwtlb_free(tlb);
    }
}

static void test_flush_keeps_global(void)
{
    HWTLB *tlb = new_tlb(hwtlb_preset("skylake"));
    const HWTLBLeaf global = { .frame = PAGE, .global = true };

    touch(tlb, HWTLB_LOAD, 5 * PAGE, HWTLB_4K);
    g_assert_null(hwtlb_lookup(tlb, HWTLB_LOAD, PAGE));
    hwtlb_fill(tlb, HWTLB_LOAD, PAGE, &global);

    hwtlb_flush(tlb, true, HWTLB_CR3);
    g_assert_nonnull(hwtlb_lookup(tlb, HWTLB_LOAD, PAGE));
    g_assert_null(hwtlb_lookup(tlb, HWTLB_LOAD, 5 * PAGE));
    g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_L1D_FLUSH_CR3), ==, 1);

    hwtlb_flush(tlb, false, HWTLB_CR);
    g_assert_null(hwtlb_lookup(tlb, HWTLB_LOAD, PAGE));
    g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_L1D_FLUSH_CR), ==, 1);
    g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_STLB_FLUSH_CR), ==, 1);
    check_conservation(tlb);
    hwtlb_free(tlb);
}

/* A re-walk of a clean entry is no fill; a change of size is. */
static void test_update(void)
{
    HWTLB *tlb = new_tlb(hwtlb_preset("skylake"));
    HWTLBLeaf leaf = { .frame = PAGE };
    HWTLBEntry *entry;

    g_assert_null(hwtlb_lookup(tlb, HWTLB_LOAD, PAGE));
    entry = hwtlb_fill(tlb, HWTLB_LOAD, PAGE, &leaf);
    g_assert_false(entry->leaf.dirty);
    leaf.dirty = true;
    g_assert_true(hwtlb_update(tlb, HWTLB_STORE, PAGE, &leaf) == entry);
    g_assert_true(entry->leaf.dirty);
    g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_L1D_FILL_4K), ==, 1);
    g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_STLB_FILL_4K), ==, 1);

    leaf = (HWTLBLeaf) { .class = HWTLB_64K_HINT, .dirty = true };
    hwtlb_update(tlb, HWTLB_STORE, PAGE, &leaf);
    g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_L1D_FILL_64K_HINT), ==, 1);
    g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_STLB_FILL_64K_HINT), ==, 1);
    g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_L1D_FLUSH_REPLACED), ==, 1);
    g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_STLB_FLUSH_REPLACED), ==, 1);
    check_conservation(tlb);
    hwtlb_free(tlb);
}

/* 4 KB translations give way to the 64 KB one of their group. */
static void test_replaced(void)
{
    HWTLB *tlb = new_tlb(hwtlb_preset("skylake"));

    for (uint64_t page = 0; page < 15; page++) {
        touch(tlb, HWTLB_LOAD, page * PAGE, HWTLB_4K);
    }
    touch(tlb, HWTLB_LOAD, 16 * PAGE, HWTLB_4K);
    touch(tlb, HWTLB_LOAD, 15 * PAGE, HWTLB_64K_HINT);
    g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_L1D_FLUSH_REPLACED), ==, 15);
    g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_STLB_FLUSH_REPLACED), ==, 15);
    g_assert_cmpuint(hwtlb_valid_entries(tlb, HWTLB_L1D), ==, 2);
    check_conservation(tlb);
    hwtlb_free(tlb);
}

/*
 * A list simulator: per set, an array in order of age.  Knows sets, ways and
 * one policy per level, and 4 KB and 64 KB pages by address.
 */
typedef struct SimLevel {
    unsigned sets, ways;
    bool lru;
    uint64_t keys[64][64];      /* oldest first */
    unsigned used[64];
} SimLevel;

static bool sim_access(SimLevel *level, uint64_t key, uint64_t vpn)
{
    unsigned set = vpn % level->sets;
    uint64_t *keys = level->keys[set];
    unsigned *used = &level->used[set];

    for (unsigned i = 0; i < *used; i++) {
        if (keys[i] == key) {
            if (level->lru) {
                memmove(keys + i, keys + i + 1,
                        (*used - i - 1) * sizeof(*keys));
                keys[*used - 1] = key;
            }
            return true;
        }
    }
    if (*used == level->ways) {
        memmove(keys, keys + 1, (*used - 1) * sizeof(*keys));
        (*used)--;
    }
    keys[(*used)++] = key;
    return false;
}

static void sim_remove(SimLevel *level, uint64_t key, uint64_t vpn)
{
    unsigned set = vpn % level->sets;
    uint64_t *keys = level->keys[set];
    unsigned *used = &level->used[set];

    for (unsigned i = 0; i < *used; i++) {
        if (keys[i] == key) {
            memmove(keys + i, keys + i + 1, (*used - i - 1) * sizeof(*keys));
            (*used)--;
            return;
        }
    }
}

/* Every third 2 MB of the address space is mapped by 64 KB pages. */
static HWTLBClass class_at(uint64_t va)
{
    return va / class_size[HWTLB_2M] % 3 == 2 ? HWTLB_64K_HINT : HWTLB_4K;
}

static void test_against_lists(gconstpointer data)
{
    const HWTLBConfig *config = data;
    uint64_t expect[4] = {}, got[4];
    SimLevel sim[HWTLB_LEVELS] = {};
    HWTLB *tlb = new_tlb(config);
    GRand *rand = g_rand_new_with_seed(config->arrays[0][0].sets * 1000 +
                                       config->arrays[2][0].ways);

    for (int l = 0; l < HWTLB_LEVELS; l++) {
        sim[l].sets = config->arrays[l][0].sets;
        sim[l].ways = config->arrays[l][0].ways;
        sim[l].lru = config->arrays[l][0].policy == HWTLB_LRU;
    }
    for (int i = 0; i < 200000; i++) {
        /* Mostly near the last page, so that there are hits to get wrong. */
        uint64_t page = g_rand_int_range(rand, 0, 10) < 7 ?
                        g_rand_int_range(rand, 0, 40) :
                        g_rand_int_range(rand, 0, 3000);
        uint64_t va = page * PAGE + 0x555500000000;
        HWTLBClass class = class_at(va);
        uint64_t vpn = va / class_size[class];
        uint64_t key = vpn << 1 | (class != HWTLB_4K);
        HWTLBAccess access = g_rand_int_range(rand, 0, 4) == 0 ? HWTLB_FETCH
                                                               : HWTLB_LOAD;
        bool fetch = access == HWTLB_FETCH;

        if (g_rand_int_range(rand, 0, 100) == 0) {
            hwtlb_invalidate(tlb, va, HWTLB_INVLPG);
            for (int l = 0; l < HWTLB_LEVELS; l++) {
                sim_remove(&sim[l], key, vpn);
            }
            continue;
        }
        touch(tlb, access, va, class);
        if (!sim_access(&sim[fetch ? HWTLB_L1I : HWTLB_L1D], key, vpn)) {
            expect[fetch]++;
            if (!sim_access(&sim[HWTLB_STLB], key, vpn)) {
                expect[2 + fetch]++;
            }
        }
    }
    got[0] = hwtlb_counter(tlb, HWTLB_C_L1D_LOAD_MISS);
    got[1] = hwtlb_counter(tlb, HWTLB_C_L1I_MISS);
    got[2] = hwtlb_counter(tlb, HWTLB_C_STLB_LOAD_MISS);
    got[3] = hwtlb_counter(tlb, HWTLB_C_STLB_FETCH_MISS);
    for (int i = 0; i < 4; i++) {
        g_assert_cmpuint(got[i], ==, expect[i]);
        g_assert_cmpuint(got[i], >, 0);
    }
    check_conservation(tlb);
    g_rand_free(rand);
    hwtlb_free(tlb);
}

/* L0 as a set of pages: what L1 drops must leave it, and nothing else may. */
static void l0_drop(void *opaque, HWTLBLevelId level, const HWTLBEntry *entry)
{
    GHashTable *l0 = opaque;

    g_assert_cmpint(level, !=, HWTLB_STLB);
    for (unsigned i = 0; i < class_size[entry->leaf.class] / PAGE; i++) {
        if (entry->l0_pieces[i / 64] >> (i % 64) & 1) {
            g_hash_table_remove(l0, GSIZE_TO_POINTER(entry->va + i * PAGE));
        }
    }
}

static void test_l0_inside_l1(void)
{
    const HWTLBConfig config = { .arrays = {
        ONE_ARRAY(2, 3, HWTLB_FIFO),
        ONE_ARRAY(1, 1, HWTLB_FIFO),
        ONE_ARRAY(4, 4, HWTLB_LRU),
    }};
    GHashTable *l0 = g_hash_table_new(NULL, NULL);
    HWTLB *tlb = hwtlb_new(&config, l0_drop, l0);
    GRand *rand = g_rand_new_with_seed(64);
    uint64_t misses, seen = 0;

    for (int i = 0; i < 100000; i++) {
        uint64_t va = g_rand_int_range(rand, 0, 4096) * PAGE;
        HWTLBClass class = va / class_size[HWTLB_2M] % 4 == 3 ? HWTLB_2M
                                                              : class_at(va);

        if (g_rand_int_range(rand, 0, 50) == 0) {
            hwtlb_invalidate(tlb, va, HWTLB_INVLPG);
        } else if (g_rand_int_range(rand, 0, 1000) == 0) {
            g_hash_table_remove_all(l0);
            hwtlb_flush(tlb, false, HWTLB_CR3);
        } else if (!g_hash_table_contains(l0, GSIZE_TO_POINTER(va))) {
            hwtlb_note_l0(touch(tlb, HWTLB_LOAD, va, class), va, 0);
            g_hash_table_add(l0, GSIZE_TO_POINTER(va));
        }
        if (i % 100 == 0) {
            /* Every page in L0 hits L1. */
            GHashTableIter iter;
            gpointer page;

            misses = hwtlb_counter(tlb, HWTLB_C_L1D_LOAD_MISS);
            g_hash_table_iter_init(&iter, l0);
            while (g_hash_table_iter_next(&iter, &page, NULL)) {
                g_assert_nonnull(hwtlb_lookup(tlb, HWTLB_LOAD,
                                              GPOINTER_TO_SIZE(page)));
                seen++;
            }
            g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_L1D_LOAD_MISS), ==,
                             misses);
        }
    }
    g_assert_cmpuint(seen, >, 1000);
    check_conservation(tlb);
    g_rand_free(rand);
    hwtlb_free(tlb);
    g_hash_table_destroy(l0);
}

static void test_bad_geometry(void)
{
    static const struct {
        HWTLBConfig config;
        const char *why;
    } bad[] = {
        { { .arrays = { ONE_ARRAY(0, 4, HWTLB_FIFO) } }, "sets" },
        { { .arrays = { ONE_ARRAY(1, 4, HWTLB_LRU) } }, "fifo" },
        { { .arrays = { {{ 1, 4, 1, HWTLB_FIFO }} } }, "every entry size" },
        { { .arrays = { {{ 1, 4, ALL_CLASSES, HWTLB_FIFO },
                         { 1, 4, 1, HWTLB_FIFO }} } }, "exactly one" },
    };

    for (int i = 0; i < ARRAY_SIZE(bad); i++) {
        g_autofree char *why = NULL;

        g_assert_false(hwtlb_config_valid(&bad[i].config, &why));
        g_assert_nonnull(strstr(why, bad[i].why));
        g_assert_nonnull(strstr(why, "l1d"));
    }
    for (unsigned i = 0; hwtlb_preset_at(i); i++) {
        g_autofree char *why = NULL;

        g_assert_true(hwtlb_config_valid(hwtlb_preset_at(i), &why));
    }
    g_assert_null(hwtlb_preset("no-such"));
}

/* The device's name window and the QMP names have room for each name. */
static void test_names(void)
{
    for (int i = 0; i < HWTLB_C__MAX; i++) {
        g_assert_cmpuint(strlen(hwtlb_counter_names[i]), <, 32);
        for (int j = 0; j < i; j++) {
            g_assert_cmpstr(hwtlb_counter_names[i], !=,
                            hwtlb_counter_names[j]);
        }
    }
}

int main(int argc, char **argv)
{
    static const HWTLBConfig geometries[] = {
        { .name = "direct-mapped", .arrays = {
            ONE_ARRAY(16, 1, HWTLB_FIFO), ONE_ARRAY(8, 1, HWTLB_FIFO),
            ONE_ARRAY(64, 1, HWTLB_FIFO) } },
        { .name = "fully-associative", .arrays = {
            ONE_ARRAY(1, 16, HWTLB_FIFO), ONE_ARRAY(1, 8, HWTLB_FIFO),
            ONE_ARRAY(1, 64, HWTLB_LRU) } },
        { .name = "set-associative", .arrays = {
            ONE_ARRAY(16, 4, HWTLB_FIFO), ONE_ARRAY(16, 8, HWTLB_FIFO),
            ONE_ARRAY(64, 12, HWTLB_LRU) } },
        { .name = "odd-sizes", .arrays = {
            ONE_ARRAY(7, 3, HWTLB_FIFO), ONE_ARRAY(5, 5, HWTLB_FIFO),
            ONE_ARRAY(13, 11, HWTLB_FIFO) } },
    };

    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/hwtlb/fifo/3", GUINT_TO_POINTER(3), test_fifo);
    g_test_add_data_func("/hwtlb/fifo/4", GUINT_TO_POINTER(4), test_fifo);
    g_test_add_data_func("/hwtlb/lru/3", GUINT_TO_POINTER(3), test_lru);
    g_test_add_data_func("/hwtlb/lru/4", GUINT_TO_POINTER(4), test_lru);
    g_test_add_func("/hwtlb/classes", test_classes);
    g_test_add_func("/hwtlb/kinds", test_kinds);
    g_test_add_func("/hwtlb/invlpg", test_invlpg);
    g_test_add_func("/hwtlb/flush-keeps-global", test_flush_keeps_global);
    g_test_add_func("/hwtlb/update", test_update);
    g_test_add_func("/hwtlb/replaced", test_replaced);
    g_test_add_func("/hwtlb/l0-inside-l1", test_l0_inside_l1);
    g_test_add_func("/hwtlb/bad-geometry", test_bad_geometry);
    g_test_add_func("/hwtlb/names", test_names);
    for (int i = 0; i < ARRAY_SIZE(geometries); i++) {
        g_autofree char *path = g_strdup_printf("/hwtlb/against-lists/%s",
                                                geometries[i].name);

        g_test_add_data_func(path, &geometries[i], test_against_lists);
    }
    return g_test_run();
}
