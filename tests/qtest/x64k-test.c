/*
 * 64 KB pages: enumeration, leaf tables, contiguous groups, invalidation and
 * what the hardware-TLB model counts of them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A guest makes the accesses (x64k-guest.h); what is expected is written from
 * the specification, docs/specs/x64k.rst.
 */
#include "qemu/osdep.h"
#include "x64k-guest.h"

#define WITH_BOTH       ",x64k-contig=on,x64k-leaf=on"
#define WITH_MODEL      WITH_BOTH ",hwtlb=skylake"
#define SIGNATURE       0x4b343658u     /* "X64K" */

static void assert_done(GuestLog log)
{
    g_assert_cmphex(log.vector, ==, NO_FAULT);
}

static void assert_page_fault(GuestLog log, uint64_t error_code, uint64_t va)
{
    g_assert_cmphex(log.vector, ==, 14);
    g_assert_cmphex(log.error_code, ==, error_code);
    g_assert_cmphex(log.cr2, ==, va);
}

static void assert_cpuid(Guest *guest, uint32_t leaf, uint32_t eax,
                         uint32_t ebx, uint32_t ecx, uint32_t edx)
{
    GuestLog log = guest_do(guest, OP_CPUID, leaf);

    g_assert_cmphex(log.vector, ==, eax);
    g_assert_cmphex(log.error_code, ==, ebx);
    g_assert_cmphex(log.cr2, ==, ecx);
    g_assert_cmphex(log.value, ==, edx);
}

/* Section 1: each property enumerates its own feature, and only then. */
static void test_cpuid(void)
{
    static const struct {
        const char *properties;
        uint32_t features;
    } cases[] = {
        { ",x64k-contig=on", 1 },
        { ",x64k-leaf=on", 2 },
        { WITH_BOTH, 3 },
    };
    Guest *guest;

    for (int i = 0; i < ARRAY_SIZE(cases); i++) {
        guest = guest_start(cases[i].properties, 0);
        assert_cpuid(guest, 0x40006400, 0x40006401, SIGNATURE, SIGNATURE,
                     SIGNATURE);
        assert_cpuid(guest, 0x40006401, 1, cases[i].features, 4, 0);
        guest_stop(guest);
    }

    /* Off: as any leaf past the hypervisor's last, that is, as the last. */
    guest = guest_start("", 0);
    for (uint32_t leaf = 0x40006400; leaf <= 0x40006401; leaf++) {
        GuestLog stock = guest_do(guest, OP_CPUID, 0x40007777);

        assert_cpuid(guest, leaf, stock.vector, stock.error_code, stock.cr2,
                     stock.value);
    }
    guest_stop(guest);
}

/* Section 2: CR4.P64 is reserved unless a feature is enumerated. */
static void test_cr4(void)
{
    Guest *guest = guest_start("", 0);
    GuestLog log = guest_do(guest, OP_CR4, CR4_PAE | CR4_P64);

    g_assert_cmphex(log.vector, ==, 13);
    g_assert_cmphex(log.error_code, ==, 0);
    guest_stop(guest);

    guest = guest_start(",x64k-leaf=on", 0);
    assert_done(guest_do(guest, OP_CR4, CR4_PAE | CR4_P64));
    assert_done(guest_do(guest, OP_CR4, CR4_PAE));
    guest_stop(guest);
}

/* With CR4.P64 clear, bit 52 means nothing at either level. */
static void test_disabled(void)
{
    Guest *guest = guest_start(WITH_MODEL, 0);
    uint64_t pte = guest_map_group(guest, TEST_VA, TEST_PA, PTE_RW);

    /* The PDE too: were it to lead to a leaf table, this would fault. */
    uint64_t pdpt = qtest_readq(guest->qts, guest->cr3 + 8) & ~0xfffull;
    uint64_t pd = qtest_readq(guest->qts, pdpt) & ~0xfffull;

    qtest_writeq(guest->qts, pd, qtest_readq(guest->qts, pd) | PTE_P64);
    assert_done(guest_do(guest, OP_STORE, TEST_VA + 3 * PAGE));
    g_assert_cmphex(qtest_readq(guest->qts, TEST_PA + 3 * PAGE), ==,
                    TEST_VA + 3 * PAGE);
    g_assert_cmphex(qtest_readq(guest->qts, pte) & (PTE_A | PTE_D), ==, 0);
    g_assert_cmpuint(guest_counter(guest, "l1d-fill-4k"), ==, 1);
    g_assert_cmpuint(guest_counter(guest, "contig-well-formed"), ==, 0);
    guest_stop(guest);
}

/* Each page of each kind of leaf leads to the right RAM. */
static void test_translate(gconstpointer data)
{
    Guest *guest = guest_start(data, CR4_P64);
    const uint64_t group = TEST_VA, leaf = TEST_VA + PAGE_2M;
    const uint64_t big = TEST_VA + 2 * PAGE_2M;
    uint64_t group_pa = TEST_PA + PAGE_2M + 5 * PAGE_64K;
    uint64_t leaf_pa = TEST_PA + 2 * PAGE_2M + 7 * PAGE_64K;
    uint64_t big_pa = TEST_PA + 4 * PAGE_2M;
    uint64_t pte = guest_map_group(guest, group, group_pa, PTE_RW);
    uint64_t entry = guest_map_64k_leaf(guest, leaf + PAGE_64K, leaf_pa,
                                        PTE_RW);

    guest_map_2m(guest, big, big_pa, PTE_RW);
    for (int k = 0; k < 16; k++) {
        uint64_t offset = k * PAGE + 8 * k;

        assert_done(guest_do(guest, OP_STORE, group + offset));
        g_assert_cmphex(qtest_readq(guest->qts, group_pa + offset), ==,
                        group + offset);
        assert_done(guest_do(guest, OP_STORE, leaf + PAGE_64K + offset));
        g_assert_cmphex(qtest_readq(guest->qts, leaf_pa + offset), ==,
                        leaf + PAGE_64K + offset);
        assert_done(guest_do(guest, OP_STORE, big + offset));
        g_assert_cmphex(qtest_readq(guest->qts, big_pa + offset), ==,
                        big + offset);
        g_assert_cmphex(qtest_readq(guest->qts, pte + 8 * k), ==,
                        (group_pa + k * PAGE) | PTE_P | PTE_RW | PTE_P64 |
                        PTE_A | PTE_D);
    }
    g_assert_cmphex(qtest_readq(guest->qts, entry), ==,
                    leaf_pa | PTE_P | PTE_RW | PTE_A | PTE_D);
    /* The neighbours in the leaf table are not present. */
    assert_page_fault(guest_do(guest, OP_LOAD, leaf), 0, leaf);
    assert_page_fault(guest_do(guest, OP_STORE, leaf + 2 * PAGE_64K), PF_W,
                      leaf + 2 * PAGE_64K);
    guest_stop(guest);
}

/* Section 3: reserved bits fault with RSVD and P, and leave A and D alone. */
static void test_leaf_reserved(gconstpointer data)
{
    static const uint8_t bits[] = { 12, 13, 14, 15, 52 };
    Guest *guest = guest_start(data, CR4_P64);

    for (int i = 0; i < ARRAY_SIZE(bits); i++) {
        uint64_t va = TEST_VA + i * PAGE_64K;
        uint64_t entry = guest_map_64k_leaf(guest, va, TEST_PA,
                                            PTE_RW | 1ull << bits[i]);
        uint64_t before = qtest_readq(guest->qts, entry);

        assert_page_fault(guest_do(guest, OP_LOAD, va), PF_RSVD | PF_P, va);
        assert_page_fault(guest_do(guest, OP_STORE, va + 0x9008),
                          PF_RSVD | PF_P | PF_W, va + 0x9008);
        g_assert_cmphex(qtest_readq(guest->qts, entry), ==, before);
    }
    guest_stop(guest);
}

/* Rights and NX of a leaf; A without D for a load. */
static void test_leaf_rights(gconstpointer data)
{
    Guest *guest = guest_start(data, CR4_P64);
    uint64_t entry = guest_map_64k_leaf(guest, TEST_VA, TEST_PA, PTE_NX);
    uint64_t va = TEST_VA + 0x4000;

    assert_page_fault(guest_do(guest, OP_STORE, va), PF_P | PF_W, va);
    g_assert_cmphex(qtest_readq(guest->qts, entry) & PTE_D, ==, 0);
    assert_done(guest_do(guest, OP_LOAD, va));
    g_assert_cmphex(qtest_readq(guest->qts, entry) & (PTE_A | PTE_D), ==,
                    PTE_A);
    /* Bit 4 of the error code: an instruction fetch. */
    assert_page_fault(guest_do(guest, OP_CALL, va), PF_P | 16, va);
    guest_stop(guest);
}

/* Section 4: a load sets A in all 16, a store A and D, from any slot. */
static void test_group_collective(gconstpointer data)
{
    Guest *guest = guest_start(data, CR4_P64);

    for (int k = 0; k < 16; k++) {
        uint64_t va = TEST_VA + k * PAGE_64K;
        uint64_t pte = guest_map_group(guest, va, TEST_PA, PTE_RW);

        assert_done(guest_do(guest, OP_LOAD, va + k * PAGE));
        for (int j = 0; j < 16; j++) {
            g_assert_cmphex(qtest_readq(guest->qts, pte + 8 * j) &
                            (PTE_A | PTE_D), ==, PTE_A);
        }
        assert_done(guest_do(guest, OP_STORE, va + (15 - k) * PAGE));
        for (int j = 0; j < 16; j++) {
            g_assert_cmphex(qtest_readq(guest->qts, pte + 8 * j) &
                            (PTE_A | PTE_D), ==, PTE_A | PTE_D);
        }
    }
    guest_stop(guest);
}

/* A store to a group in which only some PTEs are dirty sets D in all. */
static void test_group_partly_dirty(gconstpointer data)
{
    Guest *guest = guest_start(data, CR4_P64);
    uint64_t pte = guest_map_group(guest, TEST_VA, TEST_PA, PTE_RW);

    qtest_writeq(guest->qts, pte + 8 * 3,
                 qtest_readq(guest->qts, pte + 8 * 3) | PTE_D);
    assert_done(guest_do(guest, OP_LOAD, TEST_VA + 3 * PAGE));
    assert_done(guest_do(guest, OP_STORE, TEST_VA + 3 * PAGE));
    for (int j = 0; j < 16; j++) {
        g_assert_cmphex(qtest_readq(guest->qts, pte + 8 * j) & PTE_D, ==,
                        PTE_D);
    }
    guest_stop(guest);
}

/* How a group can be ill formed. */
static const struct {
    const char *reason;
    uint64_t clear, set;        /* done to one PTE */
    bool other_frame;
} ill_formed[] = {
    { "absent", PTE_P },
    { "unmarked", PTE_P64 },
    { "frame", 0, 0, true },
    { "attributes", PTE_RW },
    { "attributes", 0, PTE_US },
    { "attributes", 0, PTE_PWT },
    { "attributes", 0, PTE_PCD },
    { "attributes", 0, PTE_PS },        /* PAT in a 4 KB PTE */
    { "attributes", 0, PTE_G },
    { "attributes", 0, 1ull << 59 },
    { "attributes", 0, 1ull << 62 },
    { "attributes", 0, PTE_NX },
};

static void spoil(Guest *guest, uint64_t pte, int kind)
{
    uint64_t value = qtest_readq(guest->qts, pte);

    value = (value & ~ill_formed[kind].clear) | ill_formed[kind].set;
    if (ill_formed[kind].other_frame) {
        value += 16 * PAGE;
    }
    qtest_writeq(guest->qts, pte, value);
}

/*
 * Each kind in each slot degrades to a 4 KB translation, is counted by its
 * reason, and sets A in the walked PTE alone.
 */
static void test_group_degrades(void)
{
    Guest *guest = guest_start(WITH_MODEL, CR4_P64);

    for (int kind = 0; kind < ARRAY_SIZE(ill_formed); kind++) {
        g_autofree char *name = g_strdup_printf("contig-%s",
                                                ill_formed[kind].reason);

        for (int slot = 0; slot < 16; slot++) {
            uint64_t va = TEST_VA + (kind * 16 + slot) * PAGE_64K;
            uint64_t pte = guest_map_group(guest, va, TEST_PA, PTE_RW);
            int walked = (slot + 5) % 16;
            uint64_t before = guest_counter(guest, name);
            uint64_t fills = guest_counter(guest, "l1d-fill-4k");

            spoil(guest, pte + 8 * slot, kind);
            assert_done(guest_do(guest, OP_LOAD, va + walked * PAGE));
            /*
             * The first PTE sets what the others are compared with: spoilt
             * there, the next one is the first to differ, for that reason.
             */
            g_assert_cmpuint(guest_counter(guest, name), ==, before + 1);
            g_assert_cmpuint(guest_counter(guest, "l1d-fill-4k"), ==,
                             fills + 1);
            for (int j = 0; j < 16; j++) {
                g_assert_cmphex(qtest_readq(guest->qts, pte + 8 * j) & PTE_A,
                                ==, j == walked ? PTE_A : 0);
            }
        }
    }
    g_assert_cmpuint(guest_counter(guest, "contig-well-formed"), ==, 0);
    g_assert_cmpuint(guest_counter(guest, "l1d-fill-64k-hint"), ==, 0);
    guest_stop(guest);
}

/* A group whose first frame is not a multiple of 16. */
static void test_group_unaligned(void)
{
    Guest *guest = guest_start(WITH_MODEL, CR4_P64);

    guest_map_group(guest, TEST_VA, TEST_PA + PAGE, PTE_RW);
    assert_done(guest_do(guest, OP_STORE, TEST_VA + 2 * PAGE));
    g_assert_cmphex(qtest_readq(guest->qts, TEST_PA + 3 * PAGE), ==,
                    TEST_VA + 2 * PAGE);
    g_assert_cmpuint(guest_counter(guest, "contig-frame"), ==, 1);
    g_assert_cmpuint(guest_counter(guest, "l1d-fill-4k"), ==, 1);
    guest_stop(guest);
}

/* x64k-contig-check=fault: RSVD, and no A. */
static void test_group_faults(void)
{
    Guest *guest = guest_start(WITH_BOTH ",x64k-contig-check=fault", CR4_P64);

    for (int kind = 0; kind < ARRAY_SIZE(ill_formed); kind++) {
        uint64_t va = TEST_VA + kind * PAGE_64K;
        uint64_t pte = guest_map_group(guest, va, TEST_PA, PTE_RW);

        assert_done(guest_do(guest, OP_LOAD, va));
        spoil(guest, pte + 8 * 9, kind);
        assert_done(guest_do(guest, OP_INVLPG, va));
        assert_page_fault(guest_do(guest, OP_LOAD, va + PAGE),
                          PF_RSVD | PF_P, va + PAGE);
    }
    guest_stop(guest);
}

/* Section 5: INVLPG of any page of a 64 KB translation drops all of it. */
static void test_invlpg(gconstpointer data)
{
    Guest *guest = guest_start(data, CR4_P64);

    for (int form = 0; form < 2; form++) {
        for (int k = 0; k < 16; k++) {
            uint64_t va = TEST_VA + form * PAGE_2M + k * PAGE_64K;
            uint64_t (*map)(Guest *, uint64_t, uint64_t, uint64_t) =
                form ? guest_map_64k_leaf : guest_map_group;

            map(guest, va, TEST_PA, PTE_RW);
            for (int j = 0; j < 16; j++) {
                assert_done(guest_do(guest, OP_STORE, va + j * PAGE));
                qtest_writeq(guest->qts, TEST_PA + PAGE_64K + j * PAGE,
                             0xabcd0000 + j);
            }
            map(guest, va, TEST_PA + PAGE_64K, PTE_RW);
            assert_done(guest_do(guest, OP_INVLPG, va + k * PAGE));
            for (int j = 0; j < 16; j++) {
                GuestLog log = guest_do(guest, OP_LOAD, va + j * PAGE);

                assert_done(log);
                g_assert_cmphex(log.value, ==, 0xabcd0000 + j);
            }
        }
    }
    guest_stop(guest);
}

/* Turning CR4.P64 off drops 64 KB translations, global ones too. */
static void test_cr4_flushes(gconstpointer data)
{
    Guest *guest = guest_start(data, CR4_P64 | CR4_PGE);

    guest_map_64k_leaf(guest, TEST_VA, TEST_PA, PTE_RW | PTE_G);
    assert_done(guest_do(guest, OP_LOAD, TEST_VA + 0x5000));
    assert_done(guest_do(guest, OP_CR4, CR4_PAE | CR4_PGE));
    /* The PDE now leads to a 4 KB table, where nothing is. */
    assert_page_fault(guest_do(guest, OP_LOAD, TEST_VA + 0x5000), 0,
                      TEST_VA + 0x5000);
    guest_stop(guest);
}

/*
 * What N pages cost, by kind of leaf: touched in order twice, by loads.  64
 * pages of 4 KB fit the 64 entries of Skylake's L1 dTLB, 1,024 fit the 1,536
 * of its STLB; 1,024 pages are 64 translations of 64 KB and 2 of 2 MB.
 */
static void test_counts(void)
{
    static const struct {
        const char *class;
        unsigned pages;
        uint64_t l1d, walks, groups, pt_entries;
    } cases[] = {
        { "4k", 64, 64, 64, 0, 64 },
        { "4k", 1024, 2048, 1024, 0, 1024 },
        { "64k-hint", 64, 4, 4, 4, 4 },
        { "64k-hint", 1024, 64, 64, 64, 64 },
        { "64k-leaf", 64, 4, 4, 0, 4 },
        { "64k-leaf", 1024, 64, 64, 0, 64 },
        { "2m", 1024, 2, 2, 0, 0 },
    };

    for (int i = 0; i < ARRAY_SIZE(cases); i++) {
        Guest *guest = guest_start(WITH_MODEL, CR4_P64);
        const char *class = cases[i].class;
        g_autofree char *l1d = g_strdup_printf("l1d-fill-%s", class);
        g_autofree char *stlb = g_strdup_printf("stlb-fill-%s", class);
        g_autofree GuestCommand *script = g_new0(GuestCommand,
                                                 2 * cases[i].pages);
        g_autofree GuestLog *log = g_new0(GuestLog, 2 * cases[i].pages);
        uint64_t walks, pt;

        for (unsigned p = 0; p < cases[i].pages; p++) {
            uint64_t va = TEST_VA + p * PAGE, pa = TEST_PA + p * PAGE;

            if (g_str_equal(class, "4k")) {
                guest_map_4k(guest, va, pa, 0);
            } else if (g_str_equal(class, "64k-hint") && p % 16 == 0) {
                guest_map_group(guest, va, pa, 0);
            } else if (g_str_equal(class, "64k-leaf") && p % 16 == 0) {
                guest_map_64k_leaf(guest, va, pa, 0);
            } else if (g_str_equal(class, "2m") && p % 512 == 0) {
                guest_map_2m(guest, va, pa, 0);
            }
            script[p] = (GuestCommand) { OP_LOAD, 0, va };
            script[cases[i].pages + p] = script[p];
        }
        /* The guest's own 1 GB translations are in place by now. */
        assert_done(guest_do(guest, OP_INVLPG, TEST_VA));
        walks = guest_counter(guest, "walk-completed");
        pt = guest_counter(guest, "walk-read-pt");
        guest_run(guest, script, 2 * cases[i].pages, log);
        for (unsigned p = 0; p < 2 * cases[i].pages; p++) {
            assert_done(log[p]);
        }
        g_test_message("%s, %u pages", class, cases[i].pages);
        g_assert_cmpuint(guest_counter(guest, l1d), ==, cases[i].l1d);
        g_assert_cmpuint(guest_counter(guest, stlb), ==, cases[i].walks);
        g_assert_cmpuint(guest_counter(guest, "walk-completed") - walks, ==,
                         cases[i].walks);
        g_assert_cmpuint(guest_counter(guest, "walk-read-pt") - pt, ==,
                         cases[i].pt_entries);
        g_assert_cmpuint(guest_counter(guest, "contig-well-formed"), ==,
                         cases[i].groups);
        guest_stop(guest);
    }
}

/* Fetches fill the iTLB, data accesses of the same page do not, nor hide it. */
static void test_fetch_apart(void)
{
    Guest *guest = guest_start(WITH_MODEL, CR4_P64);
    uint64_t misses;

    guest_map_4k(guest, TEST_VA, TEST_PA, PTE_RW);
    qtest_writeb(guest->qts, TEST_PA, 0xc3);            /* ret */
    assert_done(guest_do(guest, OP_LOAD, TEST_VA));
    g_assert_cmpuint(guest_counter(guest, "l1d-fill-4k"), ==, 1);
    g_assert_cmpuint(guest_counter(guest, "l1i-fill-4k"), ==, 0);
    misses = guest_counter(guest, "stlb-fetch-miss");
    assert_done(guest_do(guest, OP_CALL, TEST_VA));
    assert_done(guest_do(guest, OP_CALL, TEST_VA));
    g_assert_cmpuint(guest_counter(guest, "l1d-fill-4k"), ==, 1);
    g_assert_cmpuint(guest_counter(guest, "l1i-fill-4k"), ==, 1);
    /* The iTLB was filled from the STLB. */
    g_assert_cmpuint(guest_counter(guest, "stlb-fill-4k"), ==, 1);
    g_assert_cmpuint(guest_counter(guest, "stlb-fetch-miss"), ==, misses);
    guest_stop(guest);
}

/* Code in more pages than the iTLB holds: each call misses, in either pass. */
static void test_fetch_evicts(void)
{
    Guest *guest = guest_start(WITH_MODEL, CR4_P64);
    GuestCommand script[2 * 256];
    GuestLog log[2 * 256];

    for (int p = 0; p < 256; p++) {
        guest_map_4k(guest, TEST_VA + p * PAGE, TEST_PA + p * PAGE, 0);
        qtest_writeb(guest->qts, TEST_PA + p * PAGE, 0xc3);
        script[p] = script[256 + p] =
            (GuestCommand) { OP_CALL, 0, TEST_VA + p * PAGE };
    }
    guest_run(guest, script, ARRAY_SIZE(script), log);
    g_assert_cmpuint(guest_counter(guest, "l1i-fill-4k"), ==, 512);
    g_assert_cmpuint(guest_counter(guest, "stlb-fill-4k"), ==, 256);
    g_assert_cmpuint(guest_counter(guest, "l1i-evict"), ==, 512 - 128);
    guest_stop(guest);
}

/* A first store to a page that was only read is a dirty assist, not a fill. */
static void test_dirty_assist(void)
{
    Guest *guest = guest_start(WITH_MODEL, CR4_P64);
    uint64_t before;

    guest_map_4k(guest, TEST_VA, TEST_PA, PTE_RW);
    assert_done(guest_do(guest, OP_LOAD, TEST_VA));
    /* The guest's own RAM took one too, when it first wrote its log. */
    before = guest_counter(guest, "walk-dirty");
    assert_done(guest_do(guest, OP_STORE, TEST_VA));
    assert_done(guest_do(guest, OP_STORE, TEST_VA));
    g_assert_cmpuint(guest_counter(guest, "walk-dirty"), ==, before + 1);
    g_assert_cmpuint(guest_counter(guest, "walk-rights"), ==, 0);
    g_assert_cmpuint(guest_counter(guest, "l1d-fill-4k"), ==, 1);
    guest_stop(guest);
}

/* CR3 writes spare global translations, and count what they drop. */
static void test_cr3(void)
{
    Guest *guest = guest_start(WITH_MODEL, CR4_P64 | CR4_PGE);
    uint64_t dropped;

    guest_map_4k(guest, TEST_VA, TEST_PA, PTE_RW | PTE_G);
    guest_map_group(guest, TEST_VA + PAGE_64K, TEST_PA + PAGE_64K, PTE_RW);
    assert_done(guest_do(guest, OP_LOAD, TEST_VA));
    assert_done(guest_do(guest, OP_LOAD, TEST_VA + PAGE_64K));
    dropped = guest_counter(guest, "l1d-flush-cr3");
    assert_done(guest_do(guest, OP_CR3, guest->cr3));
    /* The group, and the guest's own 1 GB of RAM and of ROM (GDT, IDT). */
    g_assert_cmpuint(guest_counter(guest, "l1d-flush-cr3"), ==, dropped + 3);
    assert_done(guest_do(guest, OP_LOAD, TEST_VA));
    assert_done(guest_do(guest, OP_LOAD, TEST_VA + PAGE_64K));
    g_assert_cmpuint(guest_counter(guest, "l1d-fill-4k"), ==, 1);
    g_assert_cmpuint(guest_counter(guest, "l1d-fill-64k-hint"), ==, 2);
    guest_stop(guest);
}

/* A reset empties the TLBs: what they held does not outlive it. */
static void test_reset(void)
{
    Guest *guest = guest_start(WITH_MODEL, CR4_P64);

    qtest_writeq(guest->qts, TEST_PA, 1);
    qtest_writeq(guest->qts, TEST_PA + PAGE_64K, 2);
    guest_map_group(guest, TEST_VA, TEST_PA, PTE_RW);
    g_assert_cmphex(guest_do(guest, OP_LOAD, TEST_VA).value, ==, 1);
    guest_map_group(guest, TEST_VA, TEST_PA + PAGE_64K, PTE_RW);
    /* No INVLPG yet: the TLB may answer, and does. */
    g_assert_cmphex(guest_do(guest, OP_LOAD, TEST_VA).value, ==, 1);
    g_assert_cmpuint(guest_counter(guest, "l1d-flush-reset"), ==, 0);
    qtest_system_reset(guest->qts);
    g_assert_cmphex(guest_do(guest, OP_LOAD, TEST_VA).value, ==, 2);
    /* The group and the guest's own two 1 GB pages. */
    g_assert_cmpuint(guest_counter(guest, "l1d-flush-reset"), ==, 3);
    guest_stop(guest);
}

/* A fault is a walk that gave nothing: a miss without a fill. */
static void test_fault_counts(void)
{
    Guest *guest = guest_start(WITH_MODEL, CR4_P64);

    assert_page_fault(guest_do(guest, OP_STORE, TEST_VA), PF_W, TEST_VA);
    g_assert_cmpuint(guest_counter(guest, "walk-faulted"), ==, 1);
    g_assert_cmpuint(guest_counter(guest, "l1d-fill-4k"), ==, 0);
    guest_stop(guest);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *path;
        GTestDataFunc fn;
    } with_and_without_model[] = {
        { "translate", test_translate },
        { "leaf/reserved", test_leaf_reserved },
        { "leaf/rights", test_leaf_rights },
        { "group/collective", test_group_collective },
        { "group/partly-dirty", test_group_partly_dirty },
        { "invlpg", test_invlpg },
        { "cr4-flushes", test_cr4_flushes },
    };

    g_test_init(&argc, &argv, NULL);
    qtest_add_func("/x64k/cpuid", test_cpuid);
    qtest_add_func("/x64k/cr4", test_cr4);
    qtest_add_func("/x64k/disabled", test_disabled);
    for (int i = 0; i < ARRAY_SIZE(with_and_without_model); i++) {
        const char *name = with_and_without_model[i].path;
        g_autofree char *with = g_strdup_printf("/x64k/%s/model", name);
        g_autofree char *without = g_strdup_printf("/x64k/%s/no-model", name);

        qtest_add_data_func(without, WITH_BOTH, with_and_without_model[i].fn);
        qtest_add_data_func(with, WITH_MODEL, with_and_without_model[i].fn);
    }
    qtest_add_func("/x64k/group/degrades", test_group_degrades);
    qtest_add_func("/x64k/group/unaligned", test_group_unaligned);
    qtest_add_func("/x64k/group/faults", test_group_faults);
    qtest_add_func("/x64k/counts", test_counts);
    qtest_add_func("/x64k/fetch/apart", test_fetch_apart);
    qtest_add_func("/x64k/fetch/evicts", test_fetch_evicts);
    qtest_add_func("/x64k/dirty-assist", test_dirty_assist);
    qtest_add_func("/x64k/cr3", test_cr3);
    qtest_add_func("/x64k/reset", test_reset);
    qtest_add_func("/x64k/fault-counts", test_fault_counts);
    return g_test_run();
}
