/*
 * The TLB model's misses against those of lists, on one trace
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A random guest runs once, with the fast model.  A TCG plugin writes down all
 * its accesses, of which the model sees few.  Searched for in plain lists, they
 * must miss as often.  A model that sees all sees as many as the plugin.
 */
#include "qemu/osdep.h"
#include "qemu/host-utils.h"
#include "x64k-guest.h"
#include "x64k-lists.h"
#include "x64k-trace.h"

static const char plugin[] =
#include "x64k/x64k-trace-path.h"
;

#define PAGE_1G         UINT64_C(0x40000000)
#define COMMANDS        12000
#define ARRAYS          3

typedef enum Level { L1D, L1I, STLB, LEVELS } Level;

static const char *const level_names[LEVELS] = { "l1d", "l1i", "stlb" };

static const char *const policies[] = {
    "fifo", "lru", "random", "tree-plru", "nru",
};

/* Each level: sets, ways, and a bit for each size of page, the size itself. */
typedef struct Geometry {
    const char *name;
    bool xor;                   /* in the STLB's first array */
    struct {
        unsigned sets, ways;
        uint64_t sizes;
    } arrays[LEVELS][ARRAYS];
} Geometry;

#define SMALL           (PAGE | PAGE_64K)
#define ALL             (PAGE | PAGE_64K | PAGE_2M | PAGE_1G)

static const Geometry geometries[] = {
    { "direct-mapped", true, {
        { { 64, 1, ALL } }, { { 32, 1, ALL } }, { { 256, 1, ALL } },
    } },
    { "fully-associative", false, {
        { { 1, 32, ALL } }, { { 1, 16, ALL } }, { { 1, 128, ALL } },
    } },
    { "tiny", false, {
        { { 1, 2, ALL } }, { { 1, 1, ALL } }, { { 3, 2, ALL } },
    } },
    { "skylake", true, {
        { { 16, 4, SMALL }, { 8, 4, PAGE_2M }, { 1, 4, PAGE_1G } },
        { { 16, 8, SMALL }, { 1, 8, PAGE_2M | PAGE_1G } },
        { { 128, 12, SMALL | PAGE_2M }, { 4, 4, PAGE_1G } },
    } },
};

/* What of the guest's addresses is mapped how, from TEST_VA on: 2 MB each. */
static const struct {
    const char *fill;
    uint64_t size;
    bool global;
} regions[] = {
    { "4k", PAGE, false },
    { "64k-hint", PAGE_64K, false },
    { "64k-leaf", PAGE_64K, true },
    { "2m", PAGE_2M, false },
    { "4k", PAGE, true },
}, own = { "1g", PAGE_1G, false };

#define SIZE            (ARRAY_SIZE(regions) * PAGE_2M)

static unsigned ways_of(const Geometry *g, int level, int array,
                        const char *policy)
{
    unsigned ways = g->arrays[level][array].ways;

    return g_str_equal(policy, "tree-plru") ? pow2floor(ways) : ways;
}

/* A file for hwtlb-config, to be unlinked and freed. */
static char *geometry_file(const Geometry *g, const char *policy)
{
    g_autoptr(GString) json = g_string_new("{");
    g_autoptr(GError) err = NULL;
    char *path = NULL;
    int fd = g_file_open_tmp("x64k-geometry-XXXXXX", &path, &err);

    g_assert_no_error(err);
    for (Level l = 0; l < LEVELS; l++) {
        g_string_append_printf(json, " \"%s\": { \"arrays\": [",
                               level_names[l]);
        for (unsigned a = 0; a < ARRAYS && g->arrays[l][a].sets; a++) {
            const uint64_t sizes = g->arrays[l][a].sizes;

            g_string_append_printf(json, "%s { \"sets\": %u, \"ways\": %u,"
                                   " \"policy\": \"%s\", \"hash\": \"%s\","
                                   " \"classes\": [%s%s%s%s", a ? "," : "",
                                   g->arrays[l][a].sets,
                                   ways_of(g, l, a, policy), policy,
                                   g->xor && l == STLB && !a ? "xor" : "modulo",
                                   sizes & PAGE ? "\"4k\"," : "",
                                   sizes & PAGE_64K ?
                                   "\"64k-hint\",\"64k-leaf\"," : "",
                                   sizes & PAGE_2M ? "\"2m\"," : "",
                                   sizes & PAGE_1G ? "\"1g\"," : "");
            g_string_truncate(json, json->len - 1);
            g_string_append(json, "] }");
        }
        g_string_append(json, " ] },");
    }
    g_string_append(json, " \"coalesce\": 1 }");
    g_assert_cmpint(write(fd, json->str, json->len), ==, json->len);
    close(fd);
    return path;
}

/*
 * The guest
 */

static void map_all(Guest *guest)
{
    for (unsigned r = 0; r < ARRAY_SIZE(regions); r++) {
        const uint64_t flags = PTE_RW | PTE_A | PTE_D |
                               (regions[r].global ? PTE_G : 0);

        for (uint64_t at = 0; at < PAGE_2M; at += regions[r].size) {
            const uint64_t va = TEST_VA + r * PAGE_2M + at;
            const uint64_t pa = TEST_PA + r * PAGE_2M + at;

            if (regions[r].size == PAGE) {
                guest_map_4k(guest, va, pa, flags);
            } else if (regions[r].size == PAGE_2M) {
                guest_map_2m(guest, va, pa, flags);
            } else if (g_str_equal(regions[r].fill, "64k-leaf")) {
                guest_map_64k_leaf(guest, va, pa, flags);
            } else {
                guest_map_group(guest, va, pa, flags);
            }
        }
    }
    /* Code in the middle of even pages, and across the end of odd ones. */
    for (uint64_t pa = TEST_PA; pa < TEST_PA + SIZE; pa += 2 * PAGE) {
        guest_tag_frames(guest, pa, PAGE, 0x400);
        guest_tag_frames(guest, pa + PAGE, PAGE, PAGE - 3);
    }
}

/* Some pages are used a lot, some share sets. */
static uint64_t random_page(void)
{
    const unsigned r = g_test_rand_int_range(0, ARRAY_SIZE(regions));
    const unsigned how = g_test_rand_int_range(0, 10);
    const unsigned n = how < 5 ? g_test_rand_int_range(0, 8) * 3 :
                       how < 7 ? g_test_rand_int_range(0, 31) * 16 :
                                 g_test_rand_int_range(0, 510);

    return TEST_VA + r * PAGE_2M + n * PAGE;
}

static GuestCommand random_command(const Guest *guest)
{
    static const GuestOp ops[] = { OP_LOAD, OP_STORE, OP_XCHG };
    const uint64_t page = random_page(), odd = page & PAGE;
    const unsigned how = g_test_rand_int_range(0, 1000);

    if (how < 2) {
        return (GuestCommand) { OP_CR3, 0, guest->cr3 };
    } else if (how < 40) {
        return (GuestCommand) { OP_INVLPG, 0, page + 0x123 };
    } else if (how < 350) {
        return (GuestCommand) {
            OP_FETCH, 0, page + (odd ? PAGE - 3 : 0x400),
        };
    }
    return (GuestCommand) {
        ops[how % ARRAY_SIZE(ops)], how,
        how < 450 && !odd ? page + PAGE - 5 : page + 0x800 + how,
    };
}

/* Runs it with the model; its counters are left for the caller to read. */
static Guest *run(const char *geometry, const char *trace, bool every)
{
    g_autofree GuestCommand *script = g_new0(GuestCommand, COMMANDS);
    g_autofree char *cpu = g_strdup_printf(",x64k-contig=on,x64k-leaf=on,"
                                           "hwtlb-config=%s,hwtlb-seed=7,"
                                           "hwtlb-observe=%s", geometry,
                                           every ? "every" : "misses");
    g_autofree char *options = g_strdup_printf("-plugin file=%s,to=%s",
                                               plugin, trace);
    Guest *guest = guest_create(cpu, CR4_P64 | CR4_PGE, 1, options);

    map_all(guest);
    for (unsigned i = 0; i < COMMANDS; i++) {
        script[i] = random_command(guest);
    }
    guest_begin(guest, 0, script, COMMANDS);
    qtest_qmp_assert_success(guest->qts, "{ 'execute': 'cont' }");
    guest_wait(guest, 0);
    qtest_qmp_assert_success(guest->qts, "{ 'execute': 'stop' }");
    for (unsigned i = 0; i < COMMANDS; i++) {
        g_assert_cmphex(guest_log(guest, 0)[i].vector, ==, NO_FAULT);
    }
    return guest;
}

/*
 * The lists
 */

typedef struct Lists {
    const Geometry *geometry;
    List list[LEVELS][ARRAYS];
    /* Like the model's counters, and by the same names. */
    GHashTable *counts;
} Lists;

static void count(Lists *lists, const char *format, const char *a,
                  const char *b)
{
    char *name = g_strdup_printf(format, a, b);
    uintptr_t n = (uintptr_t)g_hash_table_lookup(lists->counts, name);

    g_hash_table_replace(lists->counts, name, (void *)(n + 1));
}

/* The number of array @a of @level is what it is among those in use. */
static Lists *lists_new(const Geometry *g, const char *policy)
{
    Lists *lists = g_new0(Lists, 1);

    lists->geometry = g;
    lists->counts = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
                                          NULL);
    for (Level l = 0; l < LEVELS; l++) {
        for (unsigned a = 0; a < ARRAYS && g->arrays[l][a].sets; a++) {
            const unsigned ways = ways_of(g, l, a, policy);

            lists->list[l][a] = (List) {
                .sets = g->arrays[l][a].sets, .ways = ways,
                .xor = g->xor && l == STLB && !a, .policy = policy[0],
                .random = 7 + 4 * l + a,
                .entries = g_new0(ListEntry, g->arrays[l][a].sets * ways),
            };
        }
    }
    return lists;
}

static void lists_free(Lists *lists)
{
    for (Level l = 0; l < LEVELS; l++) {
        for (unsigned a = 0; a < ARRAYS; a++) {
            g_free(lists->list[l][a].entries);
        }
    }
    g_hash_table_unref(lists->counts);
    g_free(lists);
}

static bool hits(Lists *lists, Level level, uint64_t va)
{
    const unsigned r = (va - TEST_VA) / PAGE_2M;
    const bool is_own = va < TEST_VA;
    const char *fill = is_own ? own.fill : regions[r].fill;
    const uint64_t size = is_own ? own.size : regions[r].size;
    const bool global = !is_own && regions[r].global;
    unsigned a = 0;

    g_assert_cmphex(va, <, TEST_VA + SIZE);
    while (!(lists->geometry->arrays[level][a].sizes & size)) {
        a++;
    }
    if (list_access(&lists->list[level][a], va, size, global)) {
        return true;
    }
    count(lists, "%s-fill-%s", level_names[level], fill);
    return false;
}

static void look_up(Lists *lists, TraceKind kind, uint64_t va)
{
    static const char *const kinds[] = {
        [TRACE_LOAD] = "load-", [TRACE_STORE] = "store-", [TRACE_FETCH] = "",
    };
    const Level first = kind == TRACE_FETCH ? L1I : L1D;

    count(lists, "%s-%s", level_names[first], "lookup");
    if (!hits(lists, first, va)) {
        count(lists, "%s-%smiss", level_names[first], kinds[kind]);
        if (!hits(lists, STLB, va)) {
            count(lists, "stlb-%s%smiss", kind == TRACE_FETCH ? "fetch-" : "",
                  kinds[kind]);
        }
    }
}

static void replay(Lists *lists, const TraceRecord *r)
{
    if (r->kind <= TRACE_FETCH) {
        look_up(lists, r->kind, r->va);
        if ((r->va ^ (r->va + r->size - 1)) & PAGE) {
            look_up(lists, r->kind, r->va + r->size - 1);
        }
        return;
    }
    for (Level l = 0; l < LEVELS; l++) {
        for (unsigned a = 0; a < ARRAYS; a++) {
            list_drop(&lists->list[l][a], r->kind == TRACE_CR3, r->va);
        }
    }
}

/*
 * Not l1i-lookup: "stop" may come between the look-up and the fetch, which the
 * plugin has not seen then.
 */
static const char *const compared[] = {
    "l1d-lookup", "l1d-load-miss", "l1d-store-miss", "l1i-miss",
    "stlb-load-miss", "stlb-store-miss", "stlb-fetch-miss",
    "l1d-fill-4k", "l1d-fill-64k-hint", "l1d-fill-64k-leaf", "l1d-fill-2m",
    "l1d-fill-1g", "l1i-fill-4k", "l1i-fill-64k-hint", "l1i-fill-64k-leaf",
    "l1i-fill-2m", "l1i-fill-1g", "stlb-fill-4k", "stlb-fill-64k-hint",
    "stlb-fill-64k-leaf", "stlb-fill-2m", "stlb-fill-1g",
};

typedef struct Case {
    const Geometry *geometry;
    const char *policy;
    bool every;                 /* the model sees every access, and counts it */
} Case;

static void test_lists(const void *data)
{
    const Case *c = data;
    g_autofree char *geometry = geometry_file(c->geometry, c->policy);
    g_autoptr(GError) err = NULL;
    char *trace = NULL;
    int fd = g_file_open_tmp("x64k-trace-XXXXXX", &trace, &err);
    uint64_t model[ARRAY_SIZE(compared)];
    g_autoptr(GMappedFile) file = NULL;
    const TraceRecord *records;
    size_t n;
    Lists *lists;
    Guest *guest;

    g_assert_no_error(err);
    close(fd);
    guest = run(geometry, trace, c->every);
    for (unsigned i = 0; i < ARRAY_SIZE(compared); i++) {
        model[i] = guest_counter(guest, compared[i]);
    }
    /* All translations are of the sizes that the lists were told. */
    g_assert_cmpuint(guest_counter(guest, "walk-dirty"), ==, 0);
    g_assert_cmpuint(guest_counter(guest, "walk-faulted"), ==, 0);
    guest_stop(guest);

    file = g_mapped_file_new(trace, false, &err);
    g_assert_no_error(err);
    records = (const TraceRecord *)g_mapped_file_get_contents(file);
    n = g_mapped_file_get_length(file) / sizeof(*records);
    g_test_message("%zu accesses", n);
    lists = lists_new(c->geometry, c->policy);
    for (size_t i = 0; i < n; i++) {
        replay(lists, &records[i]);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(compared); i++) {
        const uint64_t lists_count =
            (uintptr_t)g_hash_table_lookup(lists->counts, compared[i]);

        if (!c->every && g_str_has_suffix(compared[i], "-lookup")) {
            continue;
        }
        g_test_message("%s: %" PRIu64 ", lists: %" PRIu64, compared[i],
                       model[i], lists_count);
        if (model[i] != lists_count) {
            g_test_fail();
        }
    }
    lists_free(lists);
    unlink(trace);
    unlink(geometry);
    g_free(trace);
}

static void add(const Geometry *geometry, const char *policy, bool every)
{
    g_autofree char *path = g_strdup_printf("/x64k/lists/%s/%s%s",
                                            geometry->name, policy,
                                            every ? "/every" : "");
    Case *c = g_new(Case, 1);

    *c = (Case) { geometry, policy, every };
    qtest_add_data_func_full(path, c, test_lists, g_free);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (unsigned g = 0; g < ARRAY_SIZE(geometries); g++) {
        for (unsigned p = 0; p < ARRAY_SIZE(policies); p++) {
            add(&geometries[g], policies[p], false);
        }
        add(&geometries[g], policies[0], true);
    }
    return g_test_run();
}
