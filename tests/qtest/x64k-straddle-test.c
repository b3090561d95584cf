/*
 * What the TLB model does in the middle of an access to two pages
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * QEMU looks up both pages of such an access before it does anything.  The
 * second look-up may make the model lose the first page, or any other of any
 * size, set D, or fault.  The first page is of a kind for which QEMU goes on
 * to need what it has found: clean, as it has code, or no RAM.
 *
 * Random accesses, mostly to two pages, must do what they would do one after
 * the other to an array of bytes; and the model must count what it counts when
 * it sees each access.  X64K_SEED=N repeats a run, X64K_ROUNDS=N makes more.
 */
#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "hw/tlb/hwtlb-counters.h"
#include "x64k-guest.h"

/* Of 2 MB each, side by side: each size of page meets each other. */
static const enum Kind { K_4K, K_GROUP, K_LEAF, K_2M } regions[] = {
    K_4K, K_4K, K_GROUP, K_GROUP, K_LEAF, K_LEAF, K_2M, K_2M, K_4K, K_LEAF,
    K_GROUP, K_2M, K_LEAF, K_4K, K_2M, K_GROUP, K_4K,
};

#define SIZE            (ARRAY_SIZE(regions) * PAGE_2M)
#define PAGES           (SIZE / PAGE)
/* Then nothing for a page, a page of no RAM, one of RAM. */
#define GAP_VA          (TEST_VA + SIZE)
#define IO_VA           (GAP_VA + PAGE)
#define IO_PA           0xd0000000
/* A page of 1 GB, of the first one, after a small page. */
#define HUGE_VA         (TEST_VA + 0x80000000ull)
#define BEFORE_HUGE     (HUGE_VA - PAGE)
/* RAM for the three small ones. */
#define MORE_PA         (TEST_PA + SIZE)

#define COMMANDS        2500
#define TAG             0x400           /* where pages have code */

typedef struct Geometry {
    const char *name, *preset;          /* no preset: */
    unsigned d_ways, i_ways, s_ways;
    const char *policy;
    unsigned cpus;                      /* 0: 1 */
    bool io;                            /* some accesses are to no RAM */
} Geometry;

static const Geometry geometries[] = {
    { "tiny", NULL, 2, 2, 8, "fifo" },
    { "small", NULL, 4, 64, 512, "fifo" },
    { "two-vcpus", NULL, 4, 16, 32, "fifo", 2 },
    { "io", NULL, 1, 2, 2, "fifo", .io = true },
    { "lru", NULL, 3, 3, 6, "lru" },
    { "one-way", NULL, 1, 1, 1, "lru" },
    { "nru", NULL, 8, 4, 16, "nru" },
    { "zen4", "zen4" },
    { "skylake", "skylake" },
    { "ideal", "ideal" },
};

static void add_level(GString *json, const char *name, unsigned ways,
                      const char *policy)
{
    g_string_append_printf(json, "%s\"%s\": { \"arrays\": [ { \"sets\": 1, "
                           "\"ways\": %u, \"policy\": \"%s\", \"classes\": "
                           "[ \"4k\", \"64k-hint\", \"64k-leaf\", \"2m\", "
                           "\"1g\" ] } ] }", json->len > 2 ? ", " : "", name,
                           ways, policy);
}

/* A file for hwtlb-config, to be unlinked and freed. */
static char *geometry_file(const Geometry *g)
{
    g_autoptr(GString) json = g_string_new("{ ");
    g_autoptr(GError) err = NULL;
    char *path = NULL;
    int fd = g_file_open_tmp("x64k-geometry-XXXXXX", &path, &err);

    g_assert_no_error(err);
    add_level(json, "l1d", g->d_ways, g->policy);
    add_level(json, "l1i", g->i_ways, g->policy);
    add_level(json, "stlb", g->s_ways, g->policy);
    g_string_append(json, " }");
    g_assert_cmpint(write(fd, json->str, json->len), ==, json->len);
    close(fd);
    return path;
}

/*
 * The guest
 */

/* No two small pages that are side by side have frames that are. */
static uint64_t pa_of(uint64_t va)
{
    const uint64_t at = va - TEST_VA;

    if (va >= HUGE_VA) {
        return va - HUGE_VA;
    } else if (at >= SIZE) {
        return va >= BEFORE_HUGE ? MORE_PA + (va - BEFORE_HUGE) :
               va >= IO_VA + PAGE ? MORE_PA + PAGE + (va - IO_VA - PAGE) :
                                    IO_PA + (va - IO_VA);
    }
    switch (regions[at / PAGE_2M]) {
    case K_4K:
        return TEST_PA + (at ^ 3 * PAGE);
    case K_2M:
        return TEST_PA + at;
    default:
        return TEST_PA + (at ^ PAGE_64K);
    }
}

static bool is_ram(uint64_t pa)
{
    return pa < GUEST_RAM_SIZE;
}

typedef struct Run {
    const Geometry *geometry;
    GRand *rand;
    Guest *guest;
    uint8_t *shadow;            /* what RAM should be */
    uint64_t io;                /* what is read where there is none */
    bool mapped[PAGES];         /* writable[] means mapped[], too */
    bool writable[PAGES];
} Run;

static uint32_t below(Run *run, uint32_t n)
{
    return g_rand_int(run->rand) % n;
}

static bool chance(Run *run, unsigned percent)
{
    return below(run, 100) < percent;
}

static uint64_t flags(Run *run)
{
    return PTE_US | (chance(run, 92) ? PTE_RW : 0) |
           (chance(run, 70) ? PTE_A : 0) | (chance(run, 50) ? PTE_D : 0) |
           (chance(run, 20) ? PTE_G : 0);
}

static void map_all(Run *run)
{
    static const uint64_t sizes[] = {
        [K_4K] = PAGE, [K_GROUP] = PAGE_64K, [K_LEAF] = PAGE_64K,
        [K_2M] = PAGE_2M,
    };

    for (uint64_t at = 0, size; at < SIZE; at += size) {
        const enum Kind kind = regions[at / PAGE_2M];
        const uint64_t va = TEST_VA + at, f = flags(run);
        const bool mapped = chance(run, 95);
        const uint64_t pa = pa_of(va);

        size = sizes[kind];
        for (uint64_t i = 0; i < size; i += PAGE) {
            run->mapped[(at + i) / PAGE] = mapped;
            run->writable[(at + i) / PAGE] = mapped && (f & PTE_RW);
        }
        if (!mapped) {
            continue;
        }
        switch (kind) {
        case K_4K:
            guest_map_4k(run->guest, va, pa, f);
            break;
        case K_GROUP:
            guest_map_group(run->guest, va, pa, f);
            break;
        case K_LEAF:
            guest_map_64k_leaf(run->guest, va, pa, f);
            break;
        case K_2M:
            guest_map_2m(run->guest, va, pa, f);
            break;
        }
    }
    guest_map_4k(run->guest, IO_VA, IO_PA, PTE_RW | PTE_US);
    guest_map_4k(run->guest, IO_VA + PAGE, pa_of(IO_VA + PAGE),
                 PTE_RW | PTE_US);
    guest_map_4k(run->guest, BEFORE_HUGE, pa_of(BEFORE_HUGE), PTE_RW | PTE_US);
    guest_map_1g(run->guest, HUGE_VA, 0, PTE_RW | PTE_US);
}

static uint8_t get(Run *run, uint64_t va)
{
    const uint64_t pa = pa_of(va);

    return is_ram(pa) ? run->shadow[pa] : run->io >> (8 * (va & 7));
}

static void put(Run *run, uint64_t va, uint8_t byte)
{
    const uint64_t pa = pa_of(va);

    if (is_ram(pa)) {
        run->shadow[pa] = byte;
    }
}

static uint64_t get8(Run *run, uint64_t va)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < 8; i++) {
        value |= (uint64_t)get(run, va + i) << (8 * i);
    }
    return value;
}

static void put8(Run *run, uint64_t va, uint64_t value)
{
    for (unsigned i = 0; i < 8; i++) {
        put(run, va + i, value >> (8 * i));
    }
}

/*
 * Across the end of each page there is either data or code, in both of the
 * pages, also where pages of two sizes meet.
 */
static bool has_code_at_end(uint64_t page)
{
    return page % 16 == 15 ? page / 512 % 2 : page % 4 == 1;
}

#define CODE_AT_END     (PAGE - 3)

/* Every page has code, whose value tells it. */
static void put_code(Run *run)
{
    for (uint64_t page = 0; page < PAGES; page++) {
        const uint64_t va = TEST_VA + page * PAGE;

        put8(run, va + TAG, guest_tag(page * PAGE));
        if (page + 1 < PAGES && has_code_at_end(page)) {
            put8(run, va + CODE_AT_END, guest_tag((page + PAGES) * PAGE));
        }
    }
    memcpy(run->guest->ram + TEST_PA, run->shadow + TEST_PA, SIZE);
}

/*
 * Commands
 */

/* What a fault there would be; NO_FAULT: none. */
static uint64_t fault_at(Run *run, uint64_t va, bool write)
{
    const uint64_t page = (va - TEST_VA) / PAGE;

    return va >= GAP_VA && va < IO_VA ? va :
           va >= GAP_VA ? NO_FAULT :
           !run->mapped[page] || (write && !run->writable[page]) ? va :
           NO_FAULT;
}

/* A page that is used a lot, or any. */
static uint64_t random_page(Run *run)
{
    return chance(run, 50) ? below(run, ARRAY_SIZE(regions)) * 512 + 509 +
                             below(run, 3) :
           chance(run, 50) ? below(run, 40) * 16 + 13 + below(run, 3) :
                             below(run, PAGES);
}

static uint64_t random_straddle(Run *run)
{
    const unsigned where = below(run, 20);
    uint64_t page;

    if (where < 3) {
        static const uint64_t places[] = {
            HUGE_VA, HUGE_VA + MORE_PA + 0x10000, IO_VA + PAGE,
        };

        return places[below(run, run->geometry->io ? 3 : 2)] - 1 -
               below(run, 7);
    }
    do {
        page = random_page(run);
    } while (has_code_at_end(page));
    return TEST_VA + (page + 1) * PAGE - 1 - below(run, 7);
}

static uint64_t random_data(Run *run)
{
    return chance(run, 6) ? HUGE_VA + MORE_PA + 0x20000 + below(run, 40) * PAGE
                          : TEST_VA + random_page(run) * PAGE + 0x800 +
                            below(run, 0x700);
}

static GuestCommand random_command(Run *run)
{
    static const GuestOp ops[] = { OP_LOAD, OP_STORE, OP_STORE, OP_XCHG };
    const unsigned how = below(run, 1000);
    GuestCommand c = { .immediate = g_rand_int(run->rand) };

    if (how < 3) {
        return (GuestCommand) { OP_CR3, 0, run->guest->cr3 };
    } else if (how < 20) {
        return (GuestCommand) { OP_INVLPG, 0, random_data(run) };
    } else if (how < 250) {
        const uint64_t page = random_page(run);

        c.op = OP_FETCH;
        c.operand = TEST_VA + page * PAGE +
                    (has_code_at_end(page) && page + 1 < PAGES ? CODE_AT_END
                                                               : TAG);
    } else {
        c.op = ops[below(run, ARRAY_SIZE(ops))];
        c.operand = how < 700 ? random_straddle(run) : random_data(run);
    }
    if (c.op != OP_XCHG && chance(run, 50)) {
        c.op |= OP_USER;
    }
    return c;
}

/* Does @c to the bytes; what should be logged.  Error codes are not our job. */
static GuestLog expected(Run *run, const GuestCommand *c)
{
    const GuestOp op = c->op & 0xff;
    const uint64_t last = (c->operand + 7) & -PAGE;
    const uint64_t second = last > c->operand ? last : c->operand;
    GuestLog log = { .vector = NO_FAULT, .value = c->operand };
    uint64_t cr2;

    if (op == OP_INVLPG || op == OP_CR3) {
        return log;
    }
    if (op == OP_FETCH) {
        const bool two = (c->operand & (PAGE - 1)) == CODE_AT_END;

        log.value = (c->operand - TEST_VA) / PAGE + (two ? PAGES : 0);
        cr2 = MIN(fault_at(run, c->operand, false),
                  two ? fault_at(run, second, false) : NO_FAULT);
    } else {
        /* An exchange across two pages is a load, then a store. */
        cr2 = op == OP_STORE ? NO_FAULT :
              MIN(fault_at(run, c->operand, false),
                  fault_at(run, second, false));
        if (cr2 == NO_FAULT && op != OP_LOAD) {
            cr2 = MIN(fault_at(run, c->operand, true),
                      fault_at(run, second, true));
        }
        if (op == OP_XCHG && run->guest->cpus > 1) {
            /* As another vCPU might see it, that is tried at once first. */
            cr2 = MIN(cr2, fault_at(run, c->operand, true));
        }
    }
    if (cr2 != NO_FAULT) {
        return (GuestLog) { .vector = 14, .cr2 = cr2 };
    }
    if (op == OP_LOAD || op == OP_XCHG) {
        log.value = get8(run, c->operand);
    }
    if (op == OP_STORE || op == OP_XCHG) {
        put8(run, c->operand, op == OP_STORE ? c->operand : c->immediate);
    }
    return log;
}

static void check(const GuestCommand *c, const GuestLog *is,
                  const GuestLog *should, size_t n)
{
    if (is->vector != should->vector ||
        (is->vector == NO_FAULT ? is->value != should->value
                                : is->cr2 != should->cr2)) {
        g_error("command %zu, 0x%x at 0x%" PRIx64 ": vector %" PRId64
                ", CR2 0x%" PRIx64 ", value 0x%" PRIx64 "; should be %" PRId64
                ", 0x%" PRIx64 ", 0x%" PRIx64, n, c->op, c->operand,
                is->vector, is->cr2, is->value, should->vector, should->cr2,
                should->value);
    }
}

static Run *run_new(const Geometry *g, const char *properties, uint32_t n)
{
    Run *run = g_new0(Run, 1);

    run->geometry = g;
    run->rand = g_rand_new_with_seed(n);
    run->guest = guest_start_with(properties, CR4_P64 | CR4_PGE,
                                  MAX(g->cpus, 1), "");
    run->shadow = g_malloc0(GUEST_RAM_SIZE);
    run->io = qtest_readq(run->guest->qts, IO_PA);
    map_all(run);
    put_code(run);
    return run;
}

static void run_free(Run *run)
{
    guest_stop(run->guest);
    g_rand_free(run->rand);
    g_free(run->shadow);
    g_free(run);
}

static void do_commands(Run *run, const GuestCommand *commands, size_t n)
{
    g_autofree GuestLog *log = g_new(GuestLog, n);

    guest_run(run->guest, commands, n, log);
    for (size_t i = 0; i < n; i++) {
        const GuestLog should = expected(run, &commands[i]);

        check(&commands[i], &log[i], &should, i);
    }
    g_assert_cmpmem(run->guest->ram + TEST_PA, SIZE + 2 * PAGE,
                    run->shadow + TEST_PA, SIZE + 2 * PAGE);
    g_assert_cmpmem(run->guest->ram, 8, run->shadow, 8);
}

/*
 * Random accesses
 */

static unsigned int seed;

/* What is not seen need not be counted. */
static bool is_of_all_accesses(unsigned counter)
{
    return counter == HWTLB_C_L1D_LOOKUP || counter == HWTLB_C_L1D_HIT ||
           counter == HWTLB_C_L1I_LOOKUP || counter == HWTLB_C_L1I_HIT;
}

static void run_random(const Geometry *g, const char *model, uint32_t n,
                       bool every, uint64_t *counters)
{
    g_autofree char *properties =
        g_strdup_printf(",x64k-contig=on,x64k-leaf=on,%s,hwtlb-observe=%s",
                        model, every ? "every" : "misses");
    g_autofree GuestCommand *commands = g_new(GuestCommand, COMMANDS);
    Run *run = run_new(g, properties, n);

    for (unsigned i = 0; i < COMMANDS; i++) {
        commands[i] = random_command(run);
    }
    do_commands(run, commands, COMMANDS);
    qtest_qmp_assert_success(run->guest->qts, "{ 'execute': 'stop' }");
    guest_counters(run->guest, 0, counters);
    run_free(run);
}

static char *model_of(const Geometry *g, char **path)
{
    *path = g->preset ? NULL : geometry_file(g);
    return g->preset ? g_strdup_printf("hwtlb=%s", g->preset) :
                       g_strdup_printf("hwtlb-config=%s", *path);
}

static void test_random(const void *data)
{
    const Geometry *g = data;
    g_autofree char *path = NULL, *model = model_of(g, &path);
    const char *asked = getenv("X64K_ROUNDS");
    const unsigned rounds = asked ? atoi(asked) : 1;

    for (unsigned round = 0; round < rounds; round++) {
        uint64_t misses[HWTLB_C__MAX], every[HWTLB_C__MAX];

        g_test_message("X64K_SEED=%u", seed + round);
        run_random(g, model, seed + round, false, misses);
        run_random(g, model, seed + round, true, every);
        /* With I/O, an instruction may be begun twice if it is seen less. */
        for (unsigned i = 0; i < HWTLB_C__MAX && !g->io; i++) {
            if (!is_of_all_accesses(i) && misses[i] != every[i]) {
                g_error("%s: %" PRIu64 " when only misses are seen, %" PRIu64
                        " when all is", guest_counter_names[i], misses[i],
                        every[i]);
            }
        }
    }
    if (path) {
        unlink(path);
    }
}

/*
 * A page of 1 GB is lost just then
 */

/*
 * L0 has many pages, so that a flush would make it larger; then one of a page
 * of 1 GB, then @others, so that the 1 GB may go when the second page of a
 * store comes.  The first one's has code in it.  All that is in ring 3, as the
 * guest's own 1 GB is used in between: @phase tells where in the set it is.
 */
static void lose_huge(const Geometry *g, const char *model, unsigned phase,
                      unsigned others)
{
    enum { MANY = 400 };
    g_autofree char *properties =
        g_strdup_printf(",x64k-contig=on,x64k-leaf=on,%s", model);
    g_autofree GuestCommand *c = g_new0(GuestCommand, MANY + phase + 20);
    Run *run = run_new(g, properties, seed);
    /* Between two small pages. */
    const uint64_t page = 508, va = TEST_VA + (page + 1) * PAGE - 4;
    unsigned n = 0;

    memset(run->mapped, true, 2 * 512);
    memset(run->writable, true, 2 * 512);
    for (unsigned i = 0; i < 2 * 512; i++) {
        guest_map_4k(run->guest, TEST_VA + i * PAGE, pa_of(TEST_VA + i * PAGE),
                     PTE_RW | PTE_US | PTE_A | PTE_D);
    }
    c[n++].operand = TEST_VA + page * PAGE + TAG;
    c[0].op = OP_FETCH | OP_USER;
    for (unsigned i = 0; i < MANY + phase; i++) {
        c[n++].operand = TEST_VA + i * PAGE + 0x800;
    }
    c[n++].operand = HUGE_VA + MORE_PA + 0x20000;
    for (unsigned i = 0; i < others; i++) {
        c[n++].operand = TEST_VA + (600 + i) * PAGE + 0x800;
    }
    c[n].op = OP_STORE | OP_USER;
    c[n++].operand = va;
    c[n++].operand = va;
    c[n].op = OP_FETCH | OP_USER;
    c[n++].operand = c[0].operand;
    for (unsigned i = 0; i < n; i++) {
        c[i].op = c[i].op ? c[i].op : OP_LOAD | OP_USER;
    }
    do_commands(run, c, n);
    run_free(run);
}

static void test_huge(const void *data)
{
    const Geometry *g = data;
    g_autofree char *path = NULL, *model = model_of(g, &path);

    for (unsigned phase = 0; phase < g->d_ways; phase++) {
        for (unsigned others = 0; others < MIN(g->d_ways, 3); others++) {
            lose_huge(g, model, phase, others);
        }
    }
    unlink(path);
}

int main(int argc, char **argv)
{
    const char *asked = g_getenv("X64K_SEED");

    g_test_init(&argc, &argv, NULL);
    seed = g_test_rand_int();
    g_assert_true(!asked || qemu_strtoui(asked, NULL, 0, &seed) == 0);
    /* What is freed, and what is not yet written to, is never what it was. */
    setenv("MALLOC_PERTURB_", "165", 1);
    for (unsigned i = 0; i < ARRAY_SIZE(geometries); i++) {
        const Geometry *g = &geometries[i];
        g_autofree char *path = g_strdup_printf("/x64k/straddle/%s", g->name);
        g_autofree char *huge = g_strdup_printf("%s/huge", path);

        qtest_add_data_func(path, g, test_random);
        if (!g->preset && !g->cpus && g_str_equal(g->policy, "fifo")) {
            qtest_add_data_func(huge, g, test_huge);
        }
    }
    return g_test_run();
}
