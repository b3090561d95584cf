/*
 * What drops 64 KB translations, with a TLB model and without
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Each case: an access that makes a translation; the page table changes behind
 * the processor's back; the old translation is still used, or the case would
 * prove nothing; something happens; the new page table is used.
 */
#include "qemu/osdep.h"
#include "x64k-guest.h"

#define OLD_PA          (TEST_PA + 1 * PAGE_64K)
#define NEW_PA          (TEST_PA + 2 * PAGE_64K)
#define PROPERTIES      ",x64k-contig=on,x64k-leaf=on"
#define CR4             (CR4_PGE | CR4_P64)

typedef struct Event {
    const char *name;
    GuestCommand commands[2];   /* the second one undoes the first */
} Event;

static const Event events[] = {
    { "cr0-wp", { { OP_CR0, 0, CR0_PE | CR0_ET | CR0_PG },
                  { OP_CR0, 0, CR0_PE | CR0_ET | CR0_PG | CR0_WP } } },
    { "cr4-pge", { { OP_CR4, 0, CR4_PAE | CR4_P64 },
                   { OP_CR4, 0, CR4_PAE | CR4 } } },
    { "cr4-pse", { { OP_CR4, 0, CR4_PAE | CR4 | 1 << 4 },
                   { OP_CR4, 0, CR4_PAE | CR4 } } },
    { "cr4-smep", { { OP_CR4, 0, CR4_PAE | CR4 | CR4_SMEP },
                    { OP_CR4, 0, CR4_PAE | CR4 } } },
    { "cr4-smap", { { OP_CR4, 0, CR4_PAE | CR4 | CR4_SMAP },
                    { OP_CR4, 0, CR4_PAE | CR4 } } },
    { "cr4-pke", { { OP_CR4, 0, CR4_PAE | CR4 | CR4_PKE },
                   { OP_CR4, 0, CR4_PAE | CR4 } } },
    { "cr4-p64", { { OP_CR4, 0, CR4_PAE | CR4_PGE },
                   { OP_CR4, 0, CR4_PAE | CR4 } } },
    { "efer-nxe", { { OP_WRMSR, MSR_EFER, 0x500 },
                    { OP_WRMSR, MSR_EFER, 0xd00 } } },
};

typedef struct Page {
    bool group;
    uint64_t va;
    uint64_t entry;             /* physical address of the (first) entry */
} Page;

static const char *const kinds[] = { "leaf", "group" };

static Page map(Guest *guest, bool group, uint64_t flags)
{
    /* Where the guest's own data do not compete for QEMU's own TLB. */
    Page page = {
        .group = group, .va = TEST_VA + group * PAGE_2M + 4 * PAGE_64K,
    };

    flags |= PTE_RW | PTE_A | PTE_D;
    page.entry = group ? guest_map_group(guest, page.va, OLD_PA, flags)
                       : guest_map_64k_leaf(guest, page.va, OLD_PA, flags);
    return page;
}

static void move(Guest *guest, const Page *page, uint64_t to)
{
    for (unsigned k = 0; k < (page->group ? 16 : 1); k++) {
        uint64_t *entry = guest_word(guest, page->entry + k * 8);

        *entry = (*entry & ~0x000ffffffffff000ull) | (to + k * PAGE);
    }
}

static void assert_reads(Guest *guest, const Page *page, unsigned k,
                         uint64_t pa)
{
    GuestLog log = guest_do(guest, OP_LOAD, page->va + k * PAGE);

    g_assert_cmphex(log.vector, ==, NO_FAULT);
    g_assert_cmphex(log.value, ==, guest_tag(pa + k * PAGE));
}

static Guest *start(bool model)
{
    Guest *guest = guest_start(model ? PROPERTIES ",hwtlb=skylake" :
                               PROPERTIES, CR4);

    guest_tag_frames(guest, OLD_PA, 2 * PAGE_64K, 0);
    return guest;
}

/* The 16 pieces are in the TLB; INVLPG of the @k-th drops every one. */
static void test_invlpg(const void *data)
{
    const bool model = GPOINTER_TO_UINT(data);
    Guest *guest = start(model);

    for (unsigned n = 0; n < 2 * ARRAY_SIZE(kinds); n++) {
        Page page = map(guest, n & 1, n & 2 ? PTE_G : 0);

        for (unsigned k = 0; k < 16; k++) {
            move(guest, &page, OLD_PA);
            guest_do(guest, OP_INVLPG, page.va);
            for (unsigned i = 0; i < 16; i++) {
                assert_reads(guest, &page, i, OLD_PA);
            }
            move(guest, &page, NEW_PA);
            for (unsigned i = 0; i < 16; i++) {
                assert_reads(guest, &page, i, OLD_PA);
            }
            guest_do(guest, OP_INVLPG, page.va + k * PAGE + 0x123);
            for (unsigned i = 0; i < 16; i++) {
                assert_reads(guest, &page, i, NEW_PA);
            }
        }
    }
    guest_stop(guest);
}

/* INVLPG of a neighbour leaves the translation alone, in the model. */
static void test_invlpg_neighbour(void)
{
    Guest *guest = start(true);

    for (unsigned group = 0; group < ARRAY_SIZE(kinds); group++) {
        Page page = map(guest, group, 0);

        assert_reads(guest, &page, 3, OLD_PA);
        move(guest, &page, NEW_PA);
        guest_do(guest, OP_INVLPG, page.va - PAGE);
        guest_do(guest, OP_INVLPG, page.va + PAGE_64K);
        assert_reads(guest, &page, 3, OLD_PA);
        assert_reads(guest, &page, 7, OLD_PA);
    }
    guest_stop(guest);
}

static void test_events(const void *data)
{
    const bool model = GPOINTER_TO_UINT(data);
    Guest *guest = start(model);

    for (unsigned n = 0; n < 2 * ARRAY_SIZE(kinds); n++) {
        Page page = map(guest, n & 1, n & 2 ? PTE_G : 0);

        for (unsigned e = 0; e < ARRAY_SIZE(events); e++) {
            g_test_message("%s, %s%s", events[e].name, kinds[n & 1],
                           n & 2 ? ", global" : "");
            move(guest, &page, OLD_PA);
            guest_do(guest, OP_INVLPG, page.va);
            assert_reads(guest, &page, 5, OLD_PA);
            move(guest, &page, NEW_PA);
            assert_reads(guest, &page, 5, OLD_PA);
            /* One change alone must do: look before it is undone. */
            if (!g_str_equal(events[e].name, "cr4-p64")) {
                GuestLog log[2];

                guest_run(guest, &events[e].commands[0], 1, log);
                g_assert_cmphex(log[0].vector, ==, NO_FAULT);
                assert_reads(guest, &page, 5, NEW_PA);
                guest_run(guest, &events[e].commands[1], 1, log);
                g_assert_cmphex(log[0].vector, ==, NO_FAULT);
            } else {
                GuestLog log[2];

                /* Without P64 the leaf table is read as PTEs: set it again. */
                guest_run(guest, events[e].commands, 2, log);
                g_assert_cmphex(log[1].vector, ==, NO_FAULT);
            }
            assert_reads(guest, &page, 5, NEW_PA);
        }
    }
    guest_stop(guest);
}

/* What is global survives in the model; QEMU's own TLB keeps nothing. */
static void test_cr3(const void *data)
{
    const bool model = GPOINTER_TO_UINT(data);
    Guest *guest = start(model);

    for (unsigned n = 0; n < 2 * ARRAY_SIZE(kinds); n++) {
        const bool global = n & 2;
        Page page = map(guest, n & 1, global ? PTE_G : 0);

        guest_do(guest, OP_INVLPG, page.va);
        assert_reads(guest, &page, 5, OLD_PA);
        move(guest, &page, NEW_PA);
        assert_reads(guest, &page, 5, OLD_PA);
        guest_do(guest, OP_CR3, guest->cr3);
        assert_reads(guest, &page, 5, global && model ? OLD_PA : NEW_PA);
        guest_do(guest, OP_INVLPG, page.va + 9 * PAGE);
        assert_reads(guest, &page, 5, NEW_PA);
    }
    guest_stop(guest);
}

/*
 * The ROM's last 64 KB are at the end of the first megabyte too, where no
 * address has the bit that A20 masks: let the guest's program run there.
 */
static void run_from_low_rom(Guest *guest)
{
    const uint64_t table = PTE_P | PTE_RW | PTE_A;
    uint64_t pdpt = *guest_word(guest, guest->cr3) & 0x000ffffffffff000ull;
    uint64_t pd = guest_new_table(guest), pt = guest_new_table(guest);

    for (unsigned k = 0; k < 16; k++) {
        *guest_word(guest, pt + (512 - 16 + k) * 8) =
            (0xf0000 + k * PAGE) | PTE_P | PTE_A;
    }
    *guest_word(guest, pd + 511 * 8) = pt | table;
    *guest_word(guest, pdpt + 3 * 8) = pd | table;
    guest_do(guest, OP_CR3, guest->cr3);
}

/* A bit of the address that A20 masks is masked in 64 KB pages too. */
static void test_a20(const void *data)
{
    const bool model = GPOINTER_TO_UINT(data);
    const uint64_t even = TEST_PA + 4 * MiB, odd = even + 1 * MiB;
    const GuestLog *log;
    uint64_t log_pa;
    Guest *guest = start(model);
    Page leaf = map(guest, false, 0), group = map(guest, true, 0);
    const GuestCommand loads[] = {
        { .op = OP_LOAD, .operand = leaf.va + 4 * PAGE },
        { .op = OP_LOAD, .operand = group.va + 4 * PAGE },
    };

    guest_tag_frames(guest, even, PAGE_64K, 0);
    guest_tag_frames(guest, odd, PAGE_64K, 0);
    move(guest, &leaf, odd);
    move(guest, &group, odd);
    assert_reads(guest, &leaf, 4, odd);
    assert_reads(guest, &group, 4, odd);
    run_from_low_rom(guest);
    qtest_qmp_assert_success(guest->qts, "{ 'execute': 'stop' }");
    guest_begin(guest, 0, loads, ARRAY_SIZE(loads));
    /* The script is in an odd megabyte: let it be in the even one as well. */
    memcpy(guest->ram, guest->ram + 1 * MiB, sizeof(loads) + sizeof(*loads));
    log_pa = (uint8_t *)guest_log(guest, 0) - guest->ram;
    qtest_outb(guest->qts, 0x92, 0);
    qtest_qmp_assert_success(guest->qts, "{ 'execute': 'cont' }");
    guest_wait(guest, 0);
    qtest_qmp_assert_success(guest->qts, "{ 'execute': 'stop' }");
    log = (GuestLog *)(guest->ram + (log_pa & ~MiB));
    for (unsigned i = 0; i < ARRAY_SIZE(loads); i++) {
        g_assert_cmphex(log[i].vector, ==, NO_FAULT);
        g_assert_cmphex(log[i].value, ==, guest_tag(even + 4 * PAGE));
    }
    qtest_outb(guest->qts, 0x92, 2);
    qtest_qmp_assert_success(guest->qts, "{ 'execute': 'cont' }");
    assert_reads(guest, &leaf, 4, odd);
    assert_reads(guest, &group, 4, odd);
    guest_stop(guest);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*fn)(const void *);
    } tests[] = {
        { "invlpg", test_invlpg },
        { "events", test_events },
        { "cr3", test_cr3 },
        { "a20", test_a20 },
    };

    g_test_init(&argc, &argv, NULL);
    for (unsigned model = 0; model < 2; model++) {
        for (unsigned i = 0; i < ARRAY_SIZE(tests); i++) {
            g_autofree char *path =
                g_strdup_printf("/x64k/invalidation/%s/%s", tests[i].name,
                                model ? "model" : "no-model");

            qtest_add_data_func(path, GUINT_TO_POINTER(model), tests[i].fn);
        }
    }
    qtest_add_func("/x64k/invalidation/invlpg-neighbour",
                   test_invlpg_neighbour);
    return g_test_run();
}
