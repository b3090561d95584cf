/*
 * Unit tests of the hardware-TLB model
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Expected numbers are textbook figures, closed forms, or those of the oracle
 * (hwtlb-oracle.c), which shares no code with the model.
 */
#include "qemu/osdep.h"
#include "hw/tlb/hwtlb.h"
#include "hwtlb-machine.h"

#define ALL_CLASSES     ((1u << HWTLB_CLASSES) - 1)
#define PAGE            4096ull

static const uint64_t class_size[HWTLB_CLASSES] = {
    PAGE, 2 * PAGE, 4 * PAGE, 8 * PAGE, 16 * PAGE, 16 * PAGE, 16 * PAGE,
    512 * PAGE, 512 * 512 * PAGE,
};

/* A whole level of one array. */
#define ONE_ARRAY(sets_, ways_, policy_) \
    {{ .sets = sets_, .ways = ways_, .classes = ALL_CLASSES, \
       .policy = policy_ }}

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

/*
 * The same string under LRU, in both levels: an L1 of one entry hides no
 * reference from the STLB.
 */
static void test_lru(gconstpointer data)
{
    static const unsigned misses[] = { [3] = 10, [4] = 8 };
    unsigned ways = GPOINTER_TO_UINT(data);
    const HWTLBConfig config = { .arrays = {
        ONE_ARRAY(1, ways, HWTLB_LRU),
        ONE_ARRAY(1, 1, HWTLB_FIFO),
        ONE_ARRAY(1, ways, HWTLB_LRU),
    }};
    HWTLB *tlb = new_tlb(&config);

    for (int i = 0; i < ARRAY_SIZE(belady); i++) {
        touch(tlb, HWTLB_LOAD, belady[i] * PAGE, HWTLB_4K);
    }
    g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_L1D_LOAD_MISS), ==,
                     misses[ways]);
    hwtlb_flush(tlb, false, HWTLB_RESET);
    hwtlb_reset_counters(tlb);
    for (int i = 0; i < ARRAY_SIZE(belady); i++) {
        touch(tlb, HWTLB_FETCH, belady[i] * PAGE, HWTLB_4K);
    }
    g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_STLB_FETCH_MISS), ==,
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
 * Random accesses, flushes and changes of page tables, on the toy machine
 */

/* Mostly near by, so that there are hits to get wrong. */
static uint64_t random_va(GRand *rand)
{
    /* 8 times 2 MB that collide in sets, and the two 1 GB. */
    uint64_t va = (uint64_t)g_rand_int_range(rand, 0, 8) << 21;

    if (g_rand_int_range(rand, 0, 16) == 0) {
        va = (uint64_t)g_rand_int_range(rand, 0, 1024) << 21;
    }
    switch (g_rand_int_range(rand, 0, 4)) {
    case 0:
        return va + g_rand_int_range(rand, 0, 512) * PAGE;
    case 1:
        return va + g_rand_int_range(rand, 0, 40) * PAGE;
    default:
        return (va & 0x400000) + g_rand_int_range(rand, 0, 24) * PAGE;
    }
}

static void random_step(Machine *m, GRand *rand)
{
    uint64_t va = random_va(rand);
    int what = g_rand_int_range(rand, 0, 1000);

    if (what < 10) {
        machine_invalidate(m, va, what < 7 ? HWTLB_INVLPG : HWTLB_FAULT);
    } else if (what < 13) {
        machine_flush(m, true, HWTLB_CR3);
    } else if (what < 14) {
        machine_flush(m, false, HWTLB_CR);
    } else if (what < 24) {
        /* Sometimes a 1 GB page, mostly smaller ones, often mixed. */
        int class = g_rand_int_range(rand, 0, 2 * HWTLB_CLASSES);

        machine_map(m, va, MIN(class, HWTLB_CLASSES),
                    g_rand_int_range(rand, 0, 4) == 0);
    } else if (what < 34) {
        machine_forget(m, va);
    } else if (what < 35) {
        machine_forget_all(m);
    } else {
        /* Also the same again, and what lies beside it. */
        HWTLBAccess access = what < 200 ? HWTLB_FETCH :
                             what < 400 ? HWTLB_STORE : HWTLB_LOAD;

        for (int i = g_rand_int_range(rand, 1, 4); i > 0; i--) {
            machine_access(m, access, va);
            va += g_rand_int_range(rand, 0, 2) * PAGE;
        }
    }
}

typedef struct Shape {
    unsigned sets, ways;
    HWTLBHash hash;
} Shape;

#define XOR HWTLB_XOR

static const Shape shapes[] = {
    { 1, 1, 0 }, { 1, 2, 0 }, { 1, 3, 0 }, { 1, 4, 0 }, { 1, 8, 0 },
    { 1, 17, 0 }, { 1, 64, 0 }, { 1, 65, 0 }, { 2, 1, 0 }, { 2, 4, 0 },
    { 2, 8, XOR }, { 4, 1, XOR }, { 4, 2, 0 }, { 4, 3, 0 }, { 4, 4, XOR },
    { 5, 3, 0 }, { 7, 16, 0 }, { 8, 2, XOR }, { 8, 12, 0 }, { 16, 1, 0 },
    { 16, 4, XOR },
};

/* How the classes are dealt to arrays. */
static const unsigned layouts[][HWTLB_MAX_ARRAYS] = {
    { ALL_CLASSES },
    { 1u << HWTLB_4K, ALL_CLASSES & ~(1u << HWTLB_4K) },
    { (1u << HWTLB_64K) - 1, 7u << HWTLB_64K, 1u << HWTLB_2M,
      1u << HWTLB_1G },
};

#define GEOMETRIES (ARRAY_SIZE(shapes) * ARRAY_SIZE(layouts))
QEMU_BUILD_BUG_ON(GEOMETRIES < 60);

static HWTLBConfig geometry(unsigned number, HWTLBPolicy policy)
{
    const unsigned *layout = layouts[number % ARRAY_SIZE(layouts)];
    HWTLBConfig config = { .coalesce = 16, .seed = number };

    for (int l = 0; l < HWTLB_LEVELS; l++) {
        for (int a = 0; a < HWTLB_MAX_ARRAYS && layout[a]; a++) {
            /* Each level and array gets another shape. */
            const Shape *shape =
                &shapes[(number / ARRAY_SIZE(layouts) + 5 * l + 3 * a) %
                        ARRAY_SIZE(shapes)];
            HWTLBArrayConfig *array = &config.arrays[l][a];

            *array = (HWTLBArrayConfig) {
                .sets = shape->sets, .ways = shape->ways,
                .hash = shape->hash, .classes = layout[a], .policy = policy,
            };
            if (policy == HWTLB_TREE_PLRU && !is_power_of_2(shape->ways)) {
                array->ways = 1u << (shape->ways % 7);
            }
        }
    }
    return config;
}

/*
 * Both as the emulator runs, with an L0 in front, and with every access seen,
 * each counter is what the oracle says; it sees every access.  So L0 hides
 * nothing that counts, whatever the policy.
 */
static void test_random(gconstpointer data)
{
    const HWTLBPolicy policy = GPOINTER_TO_INT(data);
    uint64_t evicted = 0, replaced = 0, hidden = 0;

    for (unsigned g = 0; g < GEOMETRIES; g++) {
        HWTLBConfig config = geometry(g, policy);
        uint64_t asked[2];

        for (int every = 0; every < 2; every++) {
            GRand *rand = g_rand_new_with_seed(g);
            Machine *m;

            config.observe_every = every;
            m = machine_new(&config);
            for (int i = 0; i < 1500; i++) {
                random_step(m, rand);
                if (i % 500 == 499) {
                    machine_check(m);
                }
            }
            asked[every] = machine_asked(m);
            evicted += hwtlb_counter(machine_tlb(m), HWTLB_C_L1D_EVICT) &&
                       hwtlb_counter(machine_tlb(m), HWTLB_C_STLB_EVICT);
            replaced += !!hwtlb_counter(machine_tlb(m),
                                        HWTLB_C_STLB_FLUSH_REPLACED);
            machine_free(m);
            g_rand_free(rand);
        }
        hidden += asked[0] < asked[1];
    }
    /* Was there anything to compare? */
    g_assert_cmpuint(hidden, ==, GEOMETRIES);
    g_assert_cmpuint(evicted, >, GEOMETRIES);
    g_assert_cmpuint(replaced, >, GEOMETRIES);
}

/* The same for each preset. */
static void test_random_preset(gconstpointer data)
{
    const HWTLBConfig *config = data;
    GRand *rand = g_rand_new_with_seed(1);
    Machine *m = machine_new(config);

    for (int i = 0; i < 3000; i++) {
        random_step(m, rand);
    }
    machine_check(m);
    machine_free(m);
    g_rand_free(rand);
}

/* Lookups = hits + misses, where all accesses are seen; else nobody knows. */
static void test_observe_every(void)
{
    for (int every = 0; every < 2; every++) {
        HWTLBConfig config = *hwtlb_preset("skylake");
        HWTLB *tlb;

        config.observe_every = every;
        tlb = new_tlb(&config);
        for (int i = 0; i < 100; i++) {
            touch(tlb, i % 2 ? HWTLB_LOAD : HWTLB_STORE, i % 10 * PAGE,
                  HWTLB_4K);
            touch(tlb, HWTLB_FETCH, i % 25 * PAGE, HWTLB_4K);
        }
        g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_L1D_LOOKUP), ==,
                         every * 100);
        g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_L1D_HIT), ==, every * 90);
        g_assert_cmpuint(sum_of(tlb, HWTLB_C_L1D_LOAD_MISS, 2), ==, 10);
        g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_L1I_LOOKUP), ==,
                         every * 100);
        g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_L1I_HIT), ==, every * 75);
        g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_L1I_MISS), ==, 25);
        hwtlb_free(tlb);
    }
}

/*
 * Replacement, one array of one set, by the page that goes
 */

static HWTLB *one_set(unsigned ways, HWTLBPolicy policy)
{
    const HWTLBConfig config = { .arrays = {
        ONE_ARRAY(1, ways, policy),
        ONE_ARRAY(1, 1, HWTLB_FIFO),
        ONE_ARRAY(1, 1, HWTLB_FIFO),
    }};

    return new_tlb(&config);
}

static bool holds(const HWTLB *tlb, uint64_t page)
{
    for (unsigned i = 0; i < hwtlb_slots(tlb, HWTLB_L1D); i++) {
        const HWTLBEntry *entry = hwtlb_entry_at(tlb, HWTLB_L1D, i);

        if (entry && entry->va == page * PAGE) {
            return true;
        }
    }
    return false;
}

/* After an access to @page, @goes is gone, and was not before. */
static void expect_gone(HWTLB *tlb, uint64_t page, uint64_t goes)
{
    g_assert_true(holds(tlb, goes));
    touch(tlb, HWTLB_LOAD, page * PAGE, HWTLB_4K);
    g_assert_false(holds(tlb, goes));
}

static void touch_string(HWTLB *tlb, const char *pages)
{
    for (; *pages; pages++) {
        touch(tlb, HWTLB_LOAD, *pages * PAGE, HWTLB_4K);
    }
}

/*
 * Four ways by the rule that Intel printed for the i486's cache ("Pseudo LRU"
 * in its data book): B0 is set by an access to L0 or L1 and cleared by one to
 * L2 or L3; B1 is set by L0, cleared by L1; B2 is set by L2, cleared by L3.
 * Replaced is L0 if B0 and B1 are clear, L1 if B0 alone of them is, L2 if B0
 * is set and B2 clear, else L3.
 */
static void test_plru_i486(void)
{
    HWTLB *tlb = one_set(4, HWTLB_TREE_PLRU);
    GRand *rand = g_rand_new_with_seed(486);
    uint64_t lines[4] = { 1, 2, 3, 4 };
    bool b0 = false, b1 = false, b2 = false;    /* after 1, 2, 3, 4 */
    int hits = 0;

    touch_string(tlb, "\1\2\3\4");
    for (int i = 0; i < 5000; i++) {
        uint64_t page = g_rand_int_range(rand, 1, 8);
        int line = 0;

        while (line < 4 && lines[line] != page) {
            line++;
        }
        if (line < 4) {
            hits++;
            touch(tlb, HWTLB_LOAD, page * PAGE, HWTLB_4K);
        } else {
            line = !b0 ? (!b1 ? 0 : 1) : (!b2 ? 2 : 3);
            expect_gone(tlb, page, lines[line]);
            lines[line] = page;
        }
        b0 = line < 2;
        if (line < 2) {
            b1 = line == 0;
        } else {
            b2 = line == 2;
        }
    }
    g_assert_cmpint(hits, >, 1000);
    g_rand_free(rand);
    hwtlb_free(tlb);
}

/*
 * Filled in order, and with no hits, a tree of 2^n ways gives them up in the
 * order of their numbers with the bits reversed: each victim turns the nodes
 * of its path, the root first.
 */
static void test_plru_order(void)
{
    for (unsigned bits = 0; bits <= 7; bits++) {
        unsigned ways = 1u << bits;
        HWTLB *tlb = one_set(ways, HWTLB_TREE_PLRU);

        for (unsigned way = 0; way < ways; way++) {
            touch(tlb, HWTLB_LOAD, way * PAGE, HWTLB_4K);
        }
        for (unsigned i = 0; i < ways; i++) {
            unsigned way = 0;

            for (unsigned bit = 0; bit < bits; bit++) {
                way |= (i >> bit & 1) << (bits - 1 - bit);
            }
            expect_gone(tlb, 1000 + i, way);
        }
        hwtlb_free(tlb);
    }
}

/* By hand, after the rule in hwtlb.h; brackets are ways whose bit is set. */
static void test_nru(void)
{
    HWTLB *tlb = one_set(4, HWTLB_NRU);

    touch_string(tlb, "abcd");          /*  a   b   c  [d] */
    expect_gone(tlb, 'e', 'a');         /* [e]  b   c  [d] */
    touch_string(tlb, "c");             /* [e]  b  [c] [d] */
    expect_gone(tlb, 'f', 'b');         /*  e  [f]  c   d  */
    touch_string(tlb, "e");             /* [e] [f]  c   d  */
    expect_gone(tlb, 'g', 'c');         /* [e] [f] [g]  d  */
    hwtlb_invalidate(tlb, 'e' * PAGE, HWTLB_INVLPG);
                                        /*  -  [f] [g]  d  */
    touch_string(tlb, "h");             /* [h] [f] [g]  d  */
    g_assert_true(holds(tlb, 'd'));
    expect_gone(tlb, 'i', 'd');         /*  h   f   g  [i] */
    expect_gone(tlb, 'j', 'h');
    hwtlb_free(tlb);
}

/* The oldest fill goes, even if ways were filled out of turn. */
static void test_fifo_after_invlpg(void)
{
    HWTLB *tlb = one_set(4, HWTLB_FIFO);

    touch_string(tlb, "abcd");
    hwtlb_invalidate(tlb, 'b' * PAGE, HWTLB_INVLPG);
    touch_string(tlb, "e");             /* a c d e */
    g_assert_true(holds(tlb, 'a'));
    expect_gone(tlb, 'f', 'a');
    expect_gone(tlb, 'g', 'c');
    expect_gone(tlb, 'h', 'd');
    expect_gone(tlb, 'i', 'e');
    hwtlb_free(tlb);
}

/*
 * The first three outputs of SplitMix64 from state 1234567 are published with
 * the generator; a full set of 4 gives up the ways that their upper bits say.
 */
static void test_random_ways(void)
{
    static const uint64_t published[] = {
        6457827717110365317ull, 3203168211198807973ull,
        9817491932198370423ull,
    };
    HWTLBConfig config = { .seed = 1234567, .arrays = {
        ONE_ARRAY(1, 4, HWTLB_RANDOM),
        ONE_ARRAY(1, 1, HWTLB_FIFO),
        ONE_ARRAY(1, 1, HWTLB_FIFO),
    }};
    HWTLB *tlb = new_tlb(&config);
    uint64_t ways[4] = { 'a', 'b', 'c', 'd' };

    touch_string(tlb, "abcd");
    /* An unused way costs no number. */
    hwtlb_invalidate(tlb, 'c' * PAGE, HWTLB_INVLPG);
    touch_string(tlb, "cabd");
    for (int i = 0; i < ARRAY_SIZE(published); i++) {
        uint64_t *way = &ways[published[i] >> 62];

        expect_gone(tlb, 'p' + i, *way);
        *way = 'p' + i;
    }
    hwtlb_free(tlb);
}

static unsigned drops[HWTLB_LEVELS];

static void count_drop(void *opaque, HWTLBLevelId level,
                       const HWTLBEntry *entry)
{
    drops[level]++;
}

/*
 * L0 holds pieces of the last entry of a set that was touched, and of all if
 * the policy does not look at hits.
 */
static void test_mru_filter(void)
{
    for (int policy = 0; policy < HWTLB_POLICIES; policy++) {
        const HWTLBConfig config = { .arrays = {
            ONE_ARRAY(2, 4, policy),
            ONE_ARRAY(1, 1, HWTLB_FIFO),
            ONE_ARRAY(1, 1, HWTLB_FIFO),
        }};
        bool filtered = policy != HWTLB_FIFO && policy != HWTLB_RANDOM;
        HWTLB *tlb = hwtlb_new(&config, count_drop, NULL);
        HWTLBEntry *entries[3];

        memset(drops, 0, sizeof(drops));
        /* 0 and 2 share a set. */
        for (int page = 0; page < 3; page++) {
            entries[page] = touch(tlb, HWTLB_LOAD, page * PAGE, HWTLB_4K);
            hwtlb_note_l0(entries[page], page * PAGE, 0);
        }
        g_assert_cmpuint(drops[HWTLB_L1D], ==, filtered);
        g_assert_cmpuint(entries[0]->l0_idxmap, ==, !filtered);
        g_assert_cmpuint(entries[1]->l0_idxmap, ==, 1);
        g_assert_cmpuint(entries[2]->l0_idxmap, ==, 1);
        /* Still valid: a hit, which drops the other's pieces. */
        g_assert_true(touch(tlb, HWTLB_LOAD, 0, HWTLB_4K) == entries[0]);
        g_assert_cmpuint(drops[HWTLB_L1D], ==, 2 * filtered);
        g_assert_cmpuint(entries[2]->l0_idxmap, ==, !filtered);
        /* The same again costs it nothing. */
        hwtlb_note_l0(entries[0], 0, 0);
        touch(tlb, HWTLB_LOAD, 0, HWTLB_4K);
        g_assert_cmpuint(drops[HWTLB_L1D], ==, 2 * filtered);
        g_assert_cmpuint(entries[0]->l0_idxmap, ==, 1);
        g_assert_cmpuint(entries[1]->l0_idxmap, ==, 1);
        g_assert_cmpuint(hwtlb_valid_entries(tlb, HWTLB_L1D), ==, 3);
        hwtlb_free(tlb);
    }
}

/* A page that has moved must not stay in L0 at its old place. */
static void test_moved(void)
{
    HWTLB *tlb = hwtlb_new(hwtlb_preset("skylake"), count_drop, NULL);
    HWTLBLeaf leaf = {};
    HWTLBEntry *entry = touch(tlb, HWTLB_LOAD, PAGE, HWTLB_4K);

    memset(drops, 0, sizeof(drops));
    hwtlb_note_l0(entry, PAGE, 3);
    leaf.frame = entry->leaf.frame;
    hwtlb_update(tlb, HWTLB_STORE, PAGE, &leaf);
    g_assert_cmpuint(drops[HWTLB_L1D], ==, 0);
    g_assert_cmpuint(entry->l0_idxmap, ==, 8);
    leaf.frame += PAGE;
    hwtlb_update(tlb, HWTLB_STORE, PAGE, &leaf);
    g_assert_cmpuint(drops[HWTLB_L1D], ==, 1);
    g_assert_cmpuint(entry->l0_idxmap, ==, 0);
    g_assert_cmpuint(entry->leaf.frame, ==, leaf.frame);
    hwtlb_free(tlb);
}

/*
 * Coalescing
 */

#define FMT_P       1ull
#define FMT_RW      2ull
#define FMT_A       0x20ull
#define FMT_D       0x40ull
#define FMT_FRAME   0x000ffffffffff000ull

static const HWTLBPteFormat format = {
    .present = FMT_P | FMT_A, .same = FMT_RW | FMT_D, .frame = FMT_FRAME,
};

static void make_run(uint64_t *pte, uint64_t frame)
{
    for (int i = 0; i < 16; i++) {
        pte[i] = (frame + i) * PAGE | FMT_P | FMT_A | FMT_RW;
    }
}

static void test_coalesce(void)
{
    uint64_t pte[16];

    for (unsigned limit = 1; limit <= 16; limit *= 2) {
        const HWTLBConfig config = { .coalesce = limit };
        HWTLBClass most = HWTLB_4K + ctz32(limit);

        for (unsigned i = 0; i < 16; i++) {
            make_run(pte, 0x12340);
            g_assert_cmpint(hwtlb_coalesce(&config, &format, pte, 16, i), ==,
                            most);
            /* Only one line was read. */
            g_assert_cmpint(hwtlb_coalesce(&config, &format, pte + (i & 8), 8,
                                           i & 7), ==, MIN(most, HWTLB_32K));
            /* Frames are consecutive, but aligned to four of them only. */
            make_run(pte, 0x12344);
            g_assert_cmpint(hwtlb_coalesce(&config, &format, pte, 16, i), ==,
                            MIN(most, HWTLB_16K));
            make_run(pte, 0x12341);
            g_assert_cmpint(hwtlb_coalesce(&config, &format, pte, 16, i), ==,
                            HWTLB_4K);
        }
    }
}

/* One PTE that differs, in any way, ends every block that it belongs to. */
static void test_coalesce_broken(void)
{
    static const uint64_t flips[] = { FMT_P, FMT_A, FMT_RW, FMT_D, PAGE };
    const HWTLBConfig config = { .coalesce = 16 };

    for (int f = 0; f < ARRAY_SIZE(flips); f++) {
        for (unsigned bad = 0; bad < 16; bad++) {
            for (unsigned i = 0; i < 16; i++) {
                uint64_t pte[16];
                /* The blocks of @i and @bad part at the highest bit that
                   differs in their numbers. */
                int expect = i == bad ? HWTLB_4K : 31 - clz32(i ^ bad);

                make_run(pte, 0x12340);
                pte[bad] ^= flips[f];
                g_assert_cmpint(hwtlb_coalesce(&config, &format, pte, 16, i),
                                ==, expect);
            }
        }
    }
}

/*
 * Walks: what they read, and what paging-structure caches would save
 */

static HWTLB *new_with_pwc(unsigned pml4e, unsigned pdpte, unsigned pde)
{
    HWTLBConfig config = *hwtlb_preset("skylake");

    config.pwc[HWTLB_PWC_PML4E] = (HWTLBArrayConfig) {
        .sets = !!pml4e, .ways = pml4e, .policy = HWTLB_LRU };
    config.pwc[HWTLB_PWC_PDPTE] = (HWTLBArrayConfig) {
        .sets = !!pdpte, .ways = pdpte, .policy = HWTLB_LRU };
    config.pwc[HWTLB_PWC_PDE] = (HWTLBArrayConfig) {
        .sets = !!pde, .ways = pde, .policy = HWTLB_LRU };
    return new_tlb(&config);
}

/* A walk of page tables that lie in order of level and address. */
static void walk(HWTLB *tlb, uint64_t va, int top, int last)
{
    HWTLBWalk w = { .top = top, .last = last };

    for (int level = last; level <= top; level++) {
        w.entry[level] = ((uint64_t)level << 48) +
                         (va >> (12 + 9 * (level - 1)) << 3);
    }
    hwtlb_walk(tlb, va, &w);
}

static void check_pwc(const HWTLB *tlb, unsigned pml4e, unsigned pdpte,
                      unsigned pde, unsigned miss, unsigned saved)
{
    g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_PWC_HIT_PML4E), ==, pml4e);
    g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_PWC_HIT_PDPTE), ==, pdpte);
    g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_PWC_HIT_PDE), ==, pde);
    g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_PWC_MISS), ==, miss);
    g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_WALK_SAVED), ==, saved);
}

#define M2  (512 * PAGE)
#define G1  (512 * M2)
#define G512 (512 * G1)

static void test_pwc(void)
{
    HWTLB *tlb = new_with_pwc(2, 2, 2);

    walk(tlb, 0, 4, 1);
    check_pwc(tlb, 0, 0, 0, 1, 0);
    walk(tlb, PAGE, 4, 1);              /* PML4E, PDPTE, PDE saved */
    check_pwc(tlb, 0, 0, 1, 1, 3);
    walk(tlb, M2, 4, 1);                /* another PDE */
    check_pwc(tlb, 0, 1, 1, 1, 5);
    walk(tlb, G1, 4, 1);                /* another PDPTE */
    check_pwc(tlb, 1, 1, 1, 1, 6);
    walk(tlb, G512, 4, 1);
    check_pwc(tlb, 1, 1, 1, 2, 6);
    walk(tlb, G1, 4, 1);                /* the last PDE but one is kept */
    check_pwc(tlb, 1, 1, 2, 2, 9);
    walk(tlb, 2 * M2, 4, 1);            /* PDPTE 0 has been evicted */
    check_pwc(tlb, 2, 1, 2, 2, 10);
    /* A 1 GB leaf is not cached, nor is a PDE asked for its address. */
    walk(tlb, 3 * G1, 4, 3);
    check_pwc(tlb, 3, 1, 2, 2, 11);
    walk(tlb, 3 * G1, 4, 3);
    check_pwc(tlb, 4, 1, 2, 2, 12);
    /* Five levels: a PML5E is saved too, though nothing caches it. */
    walk(tlb, PAGE, 5, 4);
    check_pwc(tlb, 4, 1, 2, 3, 12);
    walk(tlb, 2 * M2, 5, 1);
    check_pwc(tlb, 4, 1, 3, 3, 16);
    hwtlb_free(tlb);
}

/* INVLPG, whatever its address, and flushes empty the PWC. */
static void test_pwc_emptied(void)
{
    HWTLB *tlb = new_with_pwc(1, 4, 4);
    unsigned miss = 0, hit = 0;

    for (int how = 0; how < 3; how++) {
        walk(tlb, 0, 4, 1);
        walk(tlb, 0, 4, 1);
        hit++;
        miss++;
        check_pwc(tlb, 0, 0, hit, miss, 3 * hit);
        if (how == 0) {
            hwtlb_invalidate(tlb, G512, HWTLB_INVLPG);
        } else {
            hwtlb_flush(tlb, how == 1, HWTLB_CR3);
        }
    }
    /* A page fault drops what there is for its address only. */
    walk(tlb, 0, 4, 1);
    walk(tlb, G1, 4, 1);
    hwtlb_invalidate(tlb, 5 * PAGE, HWTLB_FAULT);
    walk(tlb, G1, 4, 1);
    g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_PWC_HIT_PDE), ==, hit + 1);
    walk(tlb, 0, 4, 1);
    g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_PWC_MISS), ==, miss + 2);
    hwtlb_free(tlb);
}

/* Entries by level and kinds of walks; 8 PTEs share a line. */
static void test_walk_reads(void)
{
    HWTLB *tlb = new_with_pwc(0, 0, 0);
    HWTLBWalk w = { .top = 4, .last = 1, .group = 16 };

    for (int page = 0; page < 64; page++) {
        walk(tlb, page * PAGE, 4, 1);
    }
    g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_WALK_COMPLETED), ==, 64);
    g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_PWC_MISS), ==, 64);
    g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_WALK_READ_PML5), ==, 0);
    g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_WALK_READ_PML4), ==, 64);
    g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_WALK_READ_PT), ==, 64);
    g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_WALK_LINES), ==, 3 + 64 / 8);

    /* A group of PTEs takes two lines, from whichever side it is read. */
    hwtlb_reset_counters(tlb);
    for (int i = 0; i < HWTLB_C__MAX; i++) {
        g_assert_cmpuint(hwtlb_counter(tlb, i), ==, 0);
    }
    w.entry[4] = 0x1000;
    w.entry[3] = 0x2000;
    w.entry[2] = 0x3000;
    w.entry[1] = 0x4000 + 8 * 40;
    w.kind = HWTLB_WALK_FAULTED;
    hwtlb_walk(tlb, 40 * PAGE, &w);
    w.entry[1] = 0x4000 + 8 * 32;
    w.kind = HWTLB_WALK_DIRTY;
    hwtlb_walk(tlb, 32 * PAGE, &w);
    w = (HWTLBWalk) { .kind = HWTLB_WALK_RIGHTS, .top = 4, .last = 3 };
    w.entry[4] = 0x1000;
    w.entry[3] = 0x2000;
    hwtlb_walk(tlb, 32 * PAGE, &w);
    g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_WALK_FAULTED), ==, 1);
    g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_WALK_DIRTY), ==, 1);
    g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_WALK_RIGHTS), ==, 1);
    g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_WALK_READ_GROUP), ==, 30);
    g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_WALK_READ_PD), ==, 2);
    g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_WALK_LINES), ==, 5);

    /* Neighbours read to coalesce: one line, then two. */
    w = (HWTLBWalk) { .top = 2, .last = 1, .coalesce = 8 };
    w.entry[2] = 0x3000;
    w.entry[1] = 0x5000;
    hwtlb_walk(tlb, 0, &w);
    g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_WALK_LINES), ==, 6);
    w.coalesce = 16;
    hwtlb_walk(tlb, 0, &w);
    g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_WALK_LINES), ==, 7);
    hwtlb_free(tlb);
}

/* The lines' table grows to 2^17 pages, three quarters full, and no more. */
static void test_lines_saturate(void)
{
    HWTLB *tlb = new_with_pwc(0, 0, 0);
    const uint64_t bound = (1 << 17) / 4 * 3;
    HWTLBWalk w = { .top = 2, .last = 2 };

    for (uint64_t i = 0; i < bound + 1000; i++) {
        w.entry[2] = i * PAGE;
        hwtlb_walk(tlb, 0, &w);
    }
    g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_WALK_LINES), ==, bound);
    /* Further lines of pages that it holds are told apart. */
    w.entry[2] = (bound - 1) * PAGE + 64;
    hwtlb_walk(tlb, 0, &w);
    w.entry[2] = (bound - 1) * PAGE + 64 + 56;
    hwtlb_walk(tlb, 0, &w);
    g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_WALK_LINES), ==, bound + 1);
    hwtlb_free(tlb);
}

/* A preset called ideal misses only what it has never seen. */
static void test_ideal(void)
{
    HWTLB *tlb = new_tlb(hwtlb_preset("ideal"));

    for (int pass = 0; pass < 3; pass++) {
        for (uint64_t page = 0; page < 20000; page++) {
            touch(tlb, HWTLB_LOAD, page * 17 * PAGE, HWTLB_4K);
        }
    }
    g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_STLB_LOAD_MISS), ==, 20000);
    g_assert_cmpuint(hwtlb_counter(tlb, HWTLB_C_STLB_EVICT), ==, 0);
    check_conservation(tlb);
    hwtlb_free(tlb);
}

/* Skylake with one thing changed. */
static HWTLBConfig changed(int l, int a, HWTLBArrayConfig array)
{
    HWTLBConfig config = *hwtlb_preset("skylake");

    config.arrays[l][a] = array;
    return config;
}

static void test_bad_geometry(void)
{
    const HWTLBArrayConfig good = hwtlb_preset("skylake")->arrays[0][0];
    const HWTLBArrayConfig small = { .sets = 1, .ways = 4 };
    HWTLBArrayConfig bad;
    HWTLBConfig config;
    char *why = NULL;

#define CHECK(l, a, field_, value, where, word) \
    do { \
        bad = (l) < HWTLB_LEVELS ? good : small; \
        bad.field_ = value; \
        if ((l) < HWTLB_LEVELS) { \
            config = changed(l, a, bad); \
        } else { \
            config = *hwtlb_preset("skylake"); \
            config.pwc[a] = bad; \
        } \
        g_assert_false(hwtlb_config_valid(&config, &why)); \
        if (!strstr(why, where) || !strstr(why, word)) { \
            g_error("%s: no %s or %s", why, where, word); \
        } \
        g_free(why); \
    } while (0)

    CHECK(0, 0, sets, 0, "l1d.arrays[0]", "sets");
    CHECK(1, 0, sets, 65537, "l1i.arrays[0]", "sets");
    CHECK(2, 0, sets, UINT_MAX, "stlb.arrays[0]", "sets");
    CHECK(0, 0, ways, 0, "l1d.arrays[0]", "ways");
    CHECK(0, 0, ways, 65537, "l1d.arrays[0]", "ways");
    CHECK(0, 0, policy, HWTLB_POLICIES, "l1d.arrays[0]", "policy");
    CHECK(0, 0, policy, -1, "l1d.arrays[0]", "policy");
    CHECK(0, 0, hash, HWTLB_HASHES, "l1d.arrays[0]", "hash");
    CHECK(0, 0, classes, 0, "l1d.arrays[0]", "classes");
    CHECK(0, 0, classes, good.classes | 1u << 31, "l1d.arrays[0]", "classes");
    CHECK(0, 0, classes, good.classes | 1u << HWTLB_2M, "l1d.arrays[1]", "2m");
    CHECK(0, 0, classes, good.classes & ~(1u << HWTLB_64K_LEAF), "l1d",
          "64k-leaf");
    CHECK(HWTLB_LEVELS, HWTLB_PWC_PDE, sets, 0, "pwc.pde", "sets");
    CHECK(HWTLB_LEVELS, HWTLB_PWC_PML4E, ways, 0, "pwc.pml4e", "ways");
    CHECK(HWTLB_LEVELS, HWTLB_PWC_PDPTE, classes, 1, "pwc.pdpte", "classes");

    bad = good;
    bad.ways = 3;
    bad.policy = HWTLB_TREE_PLRU;
    config = changed(HWTLB_L1I, 0, bad);
    g_assert_false(hwtlb_config_valid(&config, &why));
    g_assert_nonnull(strstr(why, "l1i.arrays[0].ways is 3"));
    g_assert_nonnull(strstr(why, "tree-plru"));
    g_free(why);

    bad = good;
    bad.sets = 12;
    bad.hash = HWTLB_XOR;
    config = changed(HWTLB_STLB, 1, bad);
    config.arrays[HWTLB_STLB][0] = (HWTLBArrayConfig) {};
    g_assert_false(hwtlb_config_valid(&config, &why));
    g_assert_nonnull(strstr(why, "stlb.arrays[1].sets is 12"));
    g_free(why);

    /* Too much memory, and a product that 32 bits do not hold. */
    bad = good;
    bad.sets = bad.ways = 65536;
    config = changed(HWTLB_L1D, 0, bad);
    g_assert_false(hwtlb_config_valid(&config, &why));
    g_assert_nonnull(strstr(why, "l1d.arrays[0]: sets and ways"));
    g_assert_nonnull(strstr(why, "bytes"));
    g_free(why);
    bad.sets = 256;
    bad.ways = 1024;
    config = changed(HWTLB_STLB, 0, bad);
    config.arrays[HWTLB_STLB][0].classes |= 1u << HWTLB_2M;
    g_assert_false(hwtlb_config_valid(&config, &why));
    g_assert_nonnull(strstr(why, "stlb.arrays[0]: sets and ways"));
    g_free(why);

    for (unsigned n = 0; n < 40; n++) {
        bool valid = n == 0 || n == 1 || n == 2 || n == 4 || n == 8 || n == 16;

        config = *hwtlb_preset("ideal");
        config.coalesce = n;
        g_assert_true(hwtlb_config_valid(&config, &why) == valid);
        g_assert_true(valid || strstr(why, "coalesce"));
        g_free(why);
    }
    /* Who coalesces needs room for it in every level. */
    for (int l = 0; l < HWTLB_LEVELS; l++) {
        config = *hwtlb_preset("ideal");
        config.coalesce = 4;
        config.arrays[l][0].classes &= ~(1u << HWTLB_32K);
        g_assert_true(hwtlb_config_valid(&config, &why));
        config.arrays[l][0].classes &= ~(1u << HWTLB_16K);
        g_assert_false(hwtlb_config_valid(&config, &why));
        g_assert_nonnull(strstr(why, hwtlb_level_names[l]));
        g_assert_nonnull(strstr(why, "16k"));
        g_free(why);
    }
}

/* Presets are valid, and say where each of their figures comes from. */
static void test_presets(void)
{
    for (unsigned i = 0; hwtlb_preset_at(i); i++) {
        const HWTLBConfig *config = hwtlb_preset_at(i);
        g_autofree char *why = NULL;

        g_assert_true(hwtlb_config_valid(config, &why));
        g_assert_true(hwtlb_preset(config->name) == config);
        g_assert_nonnull(config->about);
        for (int l = 0; l < HWTLB_LEVELS; l++) {
            for (int a = 0; a < HWTLB_MAX_ARRAYS; a++) {
                g_assert_true(!config->arrays[l][a].ways ||
                              config->arrays[l][a].source);
            }
        }
        for (int id = 0; id < HWTLB_PWCS; id++) {
            g_assert_true(!config->pwc[id].ways || config->pwc[id].source);
        }
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
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/hwtlb/fifo/3", GUINT_TO_POINTER(3), test_fifo);
    g_test_add_data_func("/hwtlb/fifo/4", GUINT_TO_POINTER(4), test_fifo);
    g_test_add_func("/hwtlb/fifo/after-invlpg", test_fifo_after_invlpg);
    g_test_add_data_func("/hwtlb/lru/3", GUINT_TO_POINTER(3), test_lru);
    g_test_add_data_func("/hwtlb/lru/4", GUINT_TO_POINTER(4), test_lru);
    g_test_add_func("/hwtlb/tree-plru/i486", test_plru_i486);
    g_test_add_func("/hwtlb/tree-plru/order", test_plru_order);
    g_test_add_func("/hwtlb/nru", test_nru);
    g_test_add_func("/hwtlb/random", test_random_ways);
    g_test_add_func("/hwtlb/mru-filter", test_mru_filter);
    g_test_add_func("/hwtlb/classes", test_classes);
    g_test_add_func("/hwtlb/kinds", test_kinds);
    g_test_add_func("/hwtlb/invlpg", test_invlpg);
    g_test_add_func("/hwtlb/flush-keeps-global", test_flush_keeps_global);
    g_test_add_func("/hwtlb/update", test_update);
    g_test_add_func("/hwtlb/replaced", test_replaced);
    g_test_add_func("/hwtlb/moved", test_moved);
    g_test_add_func("/hwtlb/observe-every", test_observe_every);
    g_test_add_func("/hwtlb/coalesce/sizes", test_coalesce);
    g_test_add_func("/hwtlb/coalesce/broken", test_coalesce_broken);
    g_test_add_func("/hwtlb/pwc/hits", test_pwc);
    g_test_add_func("/hwtlb/pwc/emptied", test_pwc_emptied);
    g_test_add_func("/hwtlb/walk/reads", test_walk_reads);
    g_test_add_func("/hwtlb/walk/lines-saturate", test_lines_saturate);
    g_test_add_func("/hwtlb/ideal", test_ideal);
    g_test_add_func("/hwtlb/bad-geometry", test_bad_geometry);
    g_test_add_func("/hwtlb/presets", test_presets);
    g_test_add_func("/hwtlb/names", test_names);
    for (int policy = 0; policy < HWTLB_POLICIES; policy++) {
        g_autofree char *path = g_strdup_printf("/hwtlb/against-oracle/%s",
                                                hwtlb_policy_names[policy]);

        g_test_add_data_func(path, GINT_TO_POINTER(policy), test_random);
    }
    for (unsigned i = 0; hwtlb_preset_at(i); i++) {
        g_autofree char *path = g_strdup_printf("/hwtlb/against-oracle/%s",
                                                hwtlb_preset_at(i)->name);

        g_test_add_data_func(path, hwtlb_preset_at(i), test_random_preset);
    }
    return g_test_run();
}
