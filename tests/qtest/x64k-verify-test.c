/*
 * hwtlb-verify: a guest that forgets to drop translations is found out
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What is stale: an access makes a translation; the page table changes; the
 * same access, which the TLB allows and the page table does not, is stale; so
 * is the next; after INVLPG nothing is.
 *
 * What is reported: two vCPUs; one has used a stale translation, and goes on
 * for long.  A flush that comes late forgives it, however late, and whatever
 * has become of the TLB's entry meanwhile; and nothing else does.
 */
#include "qemu/osdep.h"
#include "hw/tlb/hwtlb-counters.h"
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

static uint64_t unflushed(Guest *guest, unsigned cpu)
{
    uint64_t values[HWTLB_C__MAX];

    guest_counters(guest, cpu, values);
    return values[HWTLB_C_STALE_UNFLUSHED];
}

/*
 * All vCPUs go on, and the last uses @page now and then, until it is reported
 * that no flush has followed.
 */
static void wait_for_report(Guest *guest, unsigned cpus, const Page *page)
{
    const GuestCommand commands[] = {
        { OP_SPIN, 0, 1 << 24 },
        { OP_LOAD, 0, page->va },
    };
    const gint64 deadline = g_get_monotonic_time() + 100 * G_USEC_PER_SEC;
    const unsigned last = cpus - 1;
    const uint64_t before = unflushed(guest, last);

    while (unflushed(guest, last) == before) {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        for (unsigned cpu = 0; cpu < cpus; cpu++) {
            guest_begin(guest, cpu, commands, cpu == last ? 2 : 1);
        }
        for (unsigned cpu = 0; cpu < cpus; cpu++) {
            guest_wait(guest, cpu);
        }
    }
}

/* What the user sees: a line for each page, once, when it is sure. */
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
    g_assert_cmpuint(unflushed(guest, 0), ==, 0);
    wait_for_report(guest, 1, &page);
    g_assert_cmpuint(stale(guest), >, 1);
    access_page(guest, &page, OP_LOAD);
    g_assert_cmpuint(unflushed(guest, 0), ==, 1);
    guest_stop(guest);

    g_file_get_contents(path, &text, NULL, &err);
    g_assert_no_error(err);
    g_test_message("%s", text);
    line = g_strdup_printf("hwtlb: stale use: load of va 0x%" PRIx64, page.va);
    found = strstr(text, line);
    g_assert_nonnull(found);
    g_assert_nonnull(strstr(found, changes[0].says));
    g_assert_nonnull(strstr(found, "no flush has followed"));
    g_assert_null(strstr(found + strlen(line), "stale use"));
    unlink(path);
}

/*
 * What happens, in this order, after a stale use by vCPU 1; the page table's
 * entry was changed by somebody else.
 */
enum {
    EVICT = 1,                  /* the TLB needs the place */
    FAULT = 2,                  /* a use of the page, which is absent, faults */
    BACK = 4,                   /* the page table is what it was, and used */
    ELSEWHERE = 8,              /* it has another frame, and is used */
    FLUSH = 16,                 /* INVLPG of the address */
    FLUSH_NEXT = 32,            /* of the next page */
    FLUSH_CR3 = 64,
    FLUSH_CR4 = 128,
};

static const struct Window {
    const char *name;
    Kind kind;
    bool global, absent;
    unsigned what;
    bool reported;
} windows[] = {
    /* These flush more than their own page, so they are first. */
    { "CR3", PAGE_4K, false, false, FLUSH_CR3, false },
    { "CR4", PAGE_4K, true, false, FLUSH_CR4, false },
    { "CR3, global", PAGE_4K, true, false, FLUSH_CR3, true },
    { "evicted, CR3", PAGE_4K, false, false, EVICT | FLUSH_CR3, false },
    { "evicted", PAGE_4K, false, false, EVICT, true },
    { "evicted, flush", PAGE_4K, false, false, EVICT | FLUSH, false },
    { "evicted, fault, mapped anew", PAGE_4K, false, true,
      EVICT | FAULT | ELSEWHERE, true },
    { "evicted, fault, mapped anew, flush", PAGE_4K, false, true,
      EVICT | FAULT | ELSEWHERE | FLUSH, false },
    { "flush", PAGE_4K, false, false, FLUSH, false },
    { "flush, global", PAGE_4K, true, false, FLUSH, false },
    { "flush of the next page", PAGE_4K, false, false, FLUSH_NEXT, true },
    { "group, flush in it", GROUP, false, false, FLUSH_NEXT, false },
    { "leaf, flush in it", LEAF, false, false, FLUSH_NEXT, false },
    { "2 MB, flush in it", LARGE, false, false, FLUSH_NEXT, false },
    { "group", GROUP, false, false, 0, true },
    { "leaf", LEAF, false, false, 0, true },
    { "2 MB", LARGE, false, false, 0, true },
    { "away for a moment", PAGE_4K, false, true, BACK, false },
    { "away, and another is back", PAGE_4K, false, true, ELSEWHERE, true },
    { "missing", PAGE_4K, false, false, 0, true },
};

/* More than all levels can hold. */
#define SWEEP_VA        (TEST_VA + 1 * GiB)
#define SWEEP           4096

static GuestLog do_on_1(Guest *guest, GuestOp op, uint64_t operand)
{
    const GuestCommand command = { op, 0, operand };

    guest_begin(guest, 1, &command, 1);
    guest_wait(guest, 1);
    return guest_log(guest, 1)[0];
}

static void use_on_1(Guest *guest, const Page *page)
{
    g_assert_cmphex(do_on_1(guest, OP_LOAD, page->va).vector, ==, NO_FAULT);
}

static Page map_window(Guest *guest, unsigned i)
{
    const struct Window *w = &windows[i];
    const uint64_t flags = FLAGS | (w->global ? PTE_G : 0);
    Page page = { .va = TEST_VA + (i + 1) * PAGE_2M, .entries = 1 };

    switch (w->kind) {
    case PAGE_4K:
        /* Coalesced with its neighbour, which changes nothing. */
        page.entry = guest_map_4k(guest, page.va, OLD_PA, flags);
        guest_map_4k(guest, page.va + PAGE, OLD_PA + PAGE, flags);
        break;
    case GROUP:
        page.entry = guest_map_group(guest, page.va, OLD_PA, flags);
        page.entries = 16;
        break;
    case LEAF:
        page.entry = guest_map_64k_leaf(guest, page.va, OLD_PA, flags);
        break;
    default:
        page.entry = guest_map_2m(guest, page.va, OLD_PA, flags);
    }
    return page;
}

static void open_window(Guest *guest, const struct Window *w, const Page *page)
{
    static const Change move = { "frame", OP_LOAD, 0, 0, true, NULL };
    static const Change remove = { "absent", OP_LOAD, PTE_P, 0, false, NULL };
    static const Change back = { "back", OP_LOAD, 0, PTE_P, false, NULL };
    static const Change anew = { "anew", OP_LOAD, 0, PTE_P, true, NULL };
    uint64_t before[HWTLB_C__MAX], after[HWTLB_C__MAX];

    g_test_message("%s", w->name);
    use_on_1(guest, page);
    change(guest, page, w->absent ? &remove : &move);
    guest_counters(guest, 1, before);
    use_on_1(guest, page);
    guest_counters(guest, 1, after);
    g_assert_cmpuint(after[HWTLB_C_STALE_USE], ==,
                     before[HWTLB_C_STALE_USE] + 1);

    if (w->what & EVICT) {
        g_autofree GuestCommand *sweep = g_new0(GuestCommand, SWEEP);

        for (unsigned i = 0; i < SWEEP; i++) {
            sweep[i].op = OP_LOAD;
            sweep[i].operand = SWEEP_VA + i * PAGE;
        }
        guest_begin(guest, 1, sweep, SWEEP);
        guest_wait(guest, 1);
    }
    if (w->what & FAULT) {
        g_assert_cmphex(do_on_1(guest, OP_LOAD, page->va).vector, ==, 14);
    }
    if (w->what & BACK) {
        change(guest, page, &back);
        use_on_1(guest, page);
    }
    if (w->what & ELSEWHERE) {
        change(guest, page, &anew);
        use_on_1(guest, page);
    }
    if (w->what & FLUSH) {
        do_on_1(guest, OP_INVLPG, page->va);
    }
    if (w->what & FLUSH_NEXT) {
        do_on_1(guest, OP_INVLPG, page->va + PAGE);
    }
    if (w->what & FLUSH_CR3) {
        do_on_1(guest, OP_CR3, guest->cr3);
    }
    if (w->what & FLUSH_CR4) {
        do_on_1(guest, OP_CR4, guest->cr4 & ~CR4_PGE);
        do_on_1(guest, OP_CR4, guest->cr4);
    }
}

static void test_windows(const void *data)
{
    Guest *guest = guest_start_with(PROPERTIES ",hwtlb-coalesce=2,"
                                    "hwtlb-verify=on", CR4, 2, data);
    Page pages[ARRAY_SIZE(windows)];
    uint64_t before;

    for (unsigned i = 0; i < SWEEP; i++) {
        /* Not to be coalesced. */
        guest_map_4k(guest, SWEEP_VA + i * PAGE, OLD_PA, FLAGS);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(windows); i++) {
        pages[i] = map_window(guest, i);
    }
    /* vCPU 1 has started. */
    do_on_1(guest, OP_CPUID, 0);
    for (unsigned i = 0; i < ARRAY_SIZE(windows); i++) {
        open_window(guest, &windows[i], &pages[i]);
    }
    g_assert_cmpuint(unflushed(guest, 1), ==, 0);
    wait_for_report(guest, 2, &pages[ARRAY_SIZE(windows) - 1]);
    for (unsigned i = 0; i < ARRAY_SIZE(windows) - 1; i++) {
        before = unflushed(guest, 1);
        g_test_message("%s?", windows[i].name);
        use_on_1(guest, &pages[i]);
        g_assert_cmpuint(unflushed(guest, 1) - before, ==,
                         windows[i].reported);
    }
    /* Each once, until a flush. */
    for (unsigned i = 0; i < ARRAY_SIZE(windows); i++) {
        before = unflushed(guest, 1);
        use_on_1(guest, &pages[i]);
        g_assert_cmpuint(unflushed(guest, 1), ==, before);
    }
    g_assert_cmpuint(unflushed(guest, 0), ==, 0);
    guest_stop(guest);
}

/*
 * A vCPU that gets little done may be about to flush: it is waited for.  This
 * one, vCPU 0, is in a loop of PAUSE, each of which leaves translated code.
 */
static void test_slow(void)
{
    const gint64 end = g_get_monotonic_time() + 2 * G_USEC_PER_SEC;
    const GuestCommand spin = { OP_SPIN, 0, 1 << 25 };
    Guest *guest = guest_start_with(PROPERTIES ",hwtlb-verify=on", CR4, 2, "");
    const Page page = map(guest, PAGE_4K);

    use_on_1(guest, &page);
    change(guest, &page, &changes[0]);
    use_on_1(guest, &page);
    while (g_get_monotonic_time() < end) {
        guest_begin(guest, 1, &spin, 1);
        guest_wait(guest, 1);
        use_on_1(guest, &page);
    }
    g_assert_cmpuint(unflushed(guest, 1), ==, 0);
    wait_for_report(guest, 2, &page);
    guest_stop(guest);
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
    qtest_add_data_func("/x64k/verify/windows", "", test_windows);
    qtest_add_data_func("/x64k/verify/windows/one-thread",
                        "-accel tcg,thread=single", test_windows);
    qtest_add_func("/x64k/verify/slow", test_slow);
    qtest_add_func("/x64k/verify/off", test_off);
    return g_test_run();
}
