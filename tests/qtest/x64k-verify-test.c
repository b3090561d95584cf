/*
 * hwtlb-verify: a guest that forgets to drop translations is found out
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Each case: an access that makes a translation; the page table changes; the
 * same access, which the TLB allows and the page table does not, is stale; so
 * is the next; after INVLPG nothing is.
 */
#include "qemu/osdep.h"
#include "x64k-guest.h"

#define OLD_PA          TEST_PA
#define NEW_PA          (TEST_PA + PAGE_2M)
/* QEMU's own TLB is direct mapped, and much smaller. */
#define L0_STRIDE       (256 * PAGE_2M)
#define FLAGS           (PTE_RW | PTE_US | PTE_A | PTE_D)
#define PROPERTIES      ",x64k-contig=on,x64k-leaf=on,hwtlb=skylake"
#define CR4             (CR4_PGE | CR4_P64)

typedef enum Kind { PAGE_4K, GROUP, LEAF, LARGE, KINDS } Kind;

static const char *const kinds[] = { "4k", "group", "leaf", "2m" };

typedef struct Change {
    const char *name;
    GuestOp op;
    uint64_t clear, set;        /* bits of the entry, or of all 16 */
    bool moves;
    const char *says;
} Change;

static const Change changes[] = {
    { "frame", OP_LOAD, 0, 0, true, "another frame" },
    { "frame-store", OP_STORE, 0, 0, true, "another frame" },
    { "frame-fetch", OP_FETCH, 0, 0, true, "another frame" },
    { "absent", OP_LOAD, PTE_P, 0, false, "no translation" },
    { "read-only", OP_STORE | OP_USER, PTE_RW, 0, false, "fewer rights" },
    { "supervisor", OP_LOAD | OP_USER, PTE_US, 0, false, "fewer rights" },
    { "no-execute", OP_FETCH, 0, PTE_NX, false, "fewer rights" },
    { "clean", OP_STORE, PTE_D, 0, false, "D=0" },
};

/* What TLBs may go on with: software need not tell them. */
static const Change harmless[] = {
    { "accessed", OP_LOAD, PTE_A, 0, false, NULL },
    { "clean-load", OP_LOAD, PTE_D, 0, false, NULL },
    { "global", OP_LOAD, 0, PTE_G, false, NULL },
    { "read-only-load", OP_LOAD, PTE_RW, 0, false, NULL },
    { "no-execute-load", OP_LOAD, 0, PTE_NX, false, NULL },
};

typedef struct Page {
    uint64_t va, entry;
    unsigned entries;
} Page;

static Page map(Guest *guest, Kind kind)
{
    Page page = { .va = TEST_VA + (kind + 1) * PAGE_2M, .entries = 1 };

    switch (kind) {
    case PAGE_4K:
        page.entry = guest_map_4k(guest, page.va, OLD_PA, FLAGS);
        break;
    case GROUP:
        page.entry = guest_map_group(guest, page.va, OLD_PA, FLAGS);
        page.entries = 16;
        break;
    case LEAF:
        page.entry = guest_map_64k_leaf(guest, page.va, OLD_PA, FLAGS);
        break;
    default:
        page.entry = guest_map_2m(guest, page.va, OLD_PA, FLAGS);
    }
    return page;
}

static void change(Guest *guest, const Page *page, const Change *what)
{
    for (unsigned i = 0; i < page->entries; i++) {
        uint64_t *entry = guest_word(guest, page->entry + i * 8);

        *entry = (*entry & ~what->clear) | what->set;
        if (what->moves) {
            *entry += NEW_PA - OLD_PA;
        }
    }
}

static void access_page(Guest *guest, const Page *page, GuestOp op)
{
    GuestLog log = guest_do(guest, op, page->va);

    g_assert_cmphex(log.vector, ==, NO_FAULT);
}

static uint64_t stale(Guest *guest)
{
    return guest_counter(guest, "stale-use");
}

/* Stale uses that @op at @page makes. */
static uint64_t stale_uses(Guest *guest, const Page *page, GuestOp op)
{
    uint64_t before = stale(guest);

    access_page(guest, page, op);
    return stale(guest) - before;
}

static void run_case(Guest *guest, Kind kind, const Change *what)
{
    Page page = map(guest, kind);
    const bool fetch = (what->op & 0xff) == OP_FETCH;

    /* Stores write over the code for fetches. */
    guest_tag_frames(guest, OLD_PA, PAGE, 0);
    guest_tag_frames(guest, NEW_PA, PAGE, 0);
    guest_do(guest, OP_INVLPG, page.va);
    g_assert_cmpuint(stale_uses(guest, &page, what->op), ==, 0);
    change(guest, &page, what);
    if (fetch) {
        /* Code is looked at when L0 does not have it: this takes its place. */
        guest_do(guest, OP_FETCH, page.va + L0_STRIDE);
    }
    g_assert_cmpuint(stale_uses(guest, &page, what->op), ==, !!what->says);
    if (!fetch) {
        g_assert_cmpuint(stale_uses(guest, &page, what->op), ==,
                         !!what->says);
    }
    /* As the page table is, the guest may do less. */
    guest_do(guest, OP_INVLPG, page.va);
    if (what->moves) {
        g_assert_cmpuint(stale_uses(guest, &page, what->op), ==, 0);
    }
}

static Guest *start(const char *options)
{
    Guest *guest = guest_start_with(PROPERTIES ",hwtlb-verify=on", CR4, 1,
                                    options);

    for (Kind kind = 0; kind < KINDS; kind++) {
        guest_map_4k(guest, TEST_VA + (kind + 1) * PAGE_2M + L0_STRIDE, OLD_PA,
                     FLAGS);
    }
    return guest;
}

static void run_cases(Kind kind, const Change *cases, unsigned n)
{
    Guest *guest = start("");

    for (unsigned i = 0; i < n; i++) {
        g_test_message("%s, %s", kinds[kind], cases[i].name);
        run_case(guest, kind, &cases[i]);
    }
    guest_stop(guest);
}

static void test_forgotten(const void *kind)
{
    run_cases(GPOINTER_TO_UINT(kind), changes, ARRAY_SIZE(changes));
}

static void test_harmless(const void *kind)
{
    run_cases(GPOINTER_TO_UINT(kind), harmless, ARRAY_SIZE(harmless));
}

/* A table that goes, with all that it maps, is one change too. */
static void test_upper_level(void)
{
    Guest *guest = start("");
    Page page = map(guest, PAGE_4K);
    uint64_t pml4e = guest->cr3 + (page.va >> 39 & 511) * 8;
    uint64_t old = *guest_word(guest, pml4e);

    g_assert_cmpuint(stale_uses(guest, &page, OP_LOAD), ==, 0);
    *guest_word(guest, pml4e) = 0;
    g_assert_cmpuint(stale_uses(guest, &page, OP_LOAD), ==, 1);
    *guest_word(guest, pml4e) = old;
    g_assert_cmpuint(stale_uses(guest, &page, OP_LOAD), ==, 0);
    guest_stop(guest);
}

/* Looking leaves A and D alone, and counts nothing else. */
static void test_no_side_effect(void)
{
    static const char *const counters[] = {
        "walk-completed", "walk-dirty", "walk-rights", "walk-read-pt",
        "walk-lines", "l1d-fill-4k", "stlb-fill-4k", "pwc-miss",
    };
    uint64_t before[ARRAY_SIZE(counters)];
    Guest *guest = start("");
    Page page = map(guest, PAGE_4K);
    uint64_t *pte = guest_word(guest, page.entry);

    access_page(guest, &page, OP_STORE);
    *pte &= ~PTE_A;
    for (unsigned i = 0; i < ARRAY_SIZE(counters); i++) {
        before[i] = guest_counter(guest, counters[i]);
    }
    access_page(guest, &page, OP_STORE);
    g_assert_cmphex(*pte & (PTE_A | PTE_D), ==, PTE_D);
    for (unsigned i = 0; i < ARRAY_SIZE(counters); i++) {
        g_assert_cmpuint(guest_counter(guest, counters[i]), ==, before[i]);
    }
    guest_stop(guest);
}

/* What the user sees: a line for each page, once. */
static void test_report(void)
{
    g_autofree char *path = NULL, *options = NULL, *text = NULL, *line = NULL;
    g_autoptr(GError) err = NULL;
    int fd = g_file_open_tmp("x64k-verify-XXXXXX", &path, &err);
    Guest *guest;
    Page page;
    char *found;

    g_assert_no_error(err);
    close(fd);
    options = g_strdup_printf("-d guest_errors -D %s", path);
    guest = start(options);
    page = map(guest, PAGE_4K);
    access_page(guest, &page, OP_LOAD);
    change(guest, &page, &changes[0]);
    access_page(guest, &page, OP_LOAD);
    access_page(guest, &page, OP_LOAD);
    guest_stop(guest);

    g_file_get_contents(path, &text, NULL, &err);
    g_assert_no_error(err);
    g_test_message("%s", text);
    line = g_strdup_printf("hwtlb: stale use: load of va 0x%" PRIx64, page.va);
    found = strstr(text, line);
    g_assert_nonnull(found);
    g_assert_nonnull(strstr(found, changes[0].says));
    g_assert_null(strstr(found + strlen(line), "stale use"));
    unlink(path);
}

/* Without the property, nobody looks. */
static void test_off(void)
{
    Guest *guest = guest_start(PROPERTIES, CR4);
    Page page = map(guest, PAGE_4K);

    access_page(guest, &page, OP_LOAD);
    change(guest, &page, &changes[0]);
    access_page(guest, &page, OP_LOAD);
    g_assert_cmpuint(stale(guest), ==, 0);
    guest_stop(guest);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (Kind kind = 0; kind < KINDS; kind++) {
        g_autofree char *path = g_strdup_printf("/x64k/verify/forgotten/%s",
                                                kinds[kind]);
        g_autofree char *none = g_strdup_printf("/x64k/verify/harmless/%s",
                                                kinds[kind]);

        qtest_add_data_func(path, GUINT_TO_POINTER(kind), test_forgotten);
        qtest_add_data_func(none, GUINT_TO_POINTER(kind), test_harmless);
    }
    qtest_add_func("/x64k/verify/upper-level", test_upper_level);
    qtest_add_func("/x64k/verify/no-side-effect", test_no_side_effect);
    qtest_add_func("/x64k/verify/report", test_report);
    qtest_add_func("/x64k/verify/off", test_off);
    return g_test_run();
}
