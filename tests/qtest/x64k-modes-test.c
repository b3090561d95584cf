/*
 * What 64 KB pages save: one matrix of patterns, modes and geometries
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A guest makes each pattern of accesses, on working sets of 1/2, 1, 2 and 8
 * times the reach of each level, with its memory mapped in each of the modes.
 * Every counter of the model must be equal to what x64k-sim.c counts, which
 * sees each access and shares no code with the model; and where there is a
 * closed form, to that.
 *
 * x64k-modes-test --json GEOMETRY prints what is counted instead, for
 * "x64k modes".
 */
#include "qemu/osdep.h"
#include "qemu/host-utils.h"
#include "libqos/libqos-pc.h"
#include "libqos/pci-pc.h"
#include "x64k-sim.h"

/*
 * The modes: what the operating system writes into page tables, and what the
 * hardware makes of it.  All but 4k map consecutive frames.
 */

typedef enum Layout {
    SCATTERED,                  /* PTEs of frames that are not consecutive */
    CONSECUTIVE,                /* plain PTEs, 16 together */
    GROUPS,                     /* the same, with P64 */
    LEAF_TABLES,
    MIXED,                      /* 64 KB units by turns, then a leaf table */
    SPOILT,                     /* groups, in some of which a PTE is wrong */
    LARGE,                      /* 2 MB */
    FAR_APART,                  /* two pages here, two 130 GB further, ... */
} Layout;

/*
 * What a sequential pass over N pages of 4 KB costs, cold: N / @pages entries
 * of @size, each filled by a walk, which reads one entry of the last level
 * and @further ones of the group; in all N / @line_pages lines of the last
 * level of page tables, which has @bytes for every 64 KB.  0: no closed form;
 * for coalesced entries see coalesced_size().
 */
typedef struct Mode {
    const char *name;
    Layout layout;
    bool coalesces;             /* on hardware that does it without a hint */
    unsigned pages, further, line_pages, bytes;
    SimSize size;
} Mode;

static const Mode modes[] = {
    { "4k",        SCATTERED,   false,   1,  0,   8, 128, SIM_4K },
    { "emulated",  CONSECUTIVE, false,   1,  0,   8, 128, SIM_4K },
    { "coalesced", CONSECUTIVE, true,    0,  0,   8, 128 },
    { "contig",    GROUPS,      false,  16, 15,   8, 128, SIM_64K_HINT },
    { "native",    LEAF_TABLES, false,  16,  0, 128,   8, SIM_64K_LEAF },
    { "mixed",     MIXED,       false,   0,  0,   0,   0 },
    { "spoilt",    SPOILT,      false,   0,  0,   0,   0 },
    { "2m",        LARGE,       false, 512,  0,   0,   0, SIM_2M },
    { "far-apart", FAR_APART,   false,   0,  0,   0,   0 },
};

enum { M_4K, M_EMULATED, M_COALESCED, M_CONTIG, M_NATIVE, M_MIXED };

/* Modes are a gigabyte apart, which no level's index of sets can tell. */
static uint64_t base_of(unsigned mode)
{
    return TEST_VA + mode * GiB;
}

static uint64_t va_of(unsigned mode, unsigned page)
{
    return base_of(mode) + page * PAGE + (modes[mode].layout == FAR_APART ?
                                          page / 2 * (130 * GiB + PAGE_2M) : 0);
}

static SimSize coalesced_size(unsigned pages)
{
    return SIM_4K + ctz32(pages);
}

/*
 * The geometries.  The guest's own program has two 1 GB translations: in those
 * that are @apart they never compete with what is under test.
 */

typedef struct Geometry {
    const char *name;
    bool preset;                /* of that name; otherwise from a file */
    bool apart;
    SimGeometry sim;
} Geometry;

#define M2      (1u << SIM_2M)
#define G1      (1u << SIM_1G)

/* Small ones lose entries often: a level of pages, 2 MB and 1 GB beside it. */
#define SMALL_LEVEL(sets, ways, policy, xor) { \
        { sets, ways, SIM_PAGES, policy, xor }, \
        { 1, 2, M2, policy }, { 1, 4, G1 } }
#define SMALL(name, l1, stlb, coalesce) { name, false, true, { { \
        SMALL_LEVEL(2, 4, l1, false), SMALL_LEVEL(4, 2, l1, true), \
        SMALL_LEVEL(8, 4, stlb, true) }, \
        { { 1, 2, 0, SIM_LRU }, { 1, 4, 0, l1 }, { 2, 2, 0, stlb } }, \
        coalesce } }
#define LRU(ways)       { 1, ways, 0, SIM_LRU }

static const Geometry geometries[] = {
    SMALL("fifo", SIM_FIFO, SIM_LRU, 16),
    SMALL("lru", SIM_LRU, SIM_FIFO, 8),
    SMALL("random", SIM_RANDOM, SIM_NRU, 4),
    SMALL("tree-plru", SIM_TREE_PLRU, SIM_RANDOM, 2),
    SMALL("nru", SIM_NRU, SIM_TREE_PLRU, 16),
    /* As the table of the specification has them. */
    { "skylake", true, true, { {
        { { 16, 4, SIM_PAGES }, { 8, 4, M2 }, { 1, 4, G1 } },
        { { 16, 8, SIM_PAGES }, { 1, 8, M2 | G1 } },
        { { 128, 12, SIM_PAGES | M2, SIM_LRU, true }, { 4, 4, G1, SIM_LRU } },
      }, { { 0 }, LRU(4), LRU(32) }, 16 } },
    { "golden-cove", true, false, { {
        { { 16, 6, SIM_PAGES }, { 8, 4, M2 }, { 1, 8, G1 } },
        { { 32, 8, SIM_PAGES }, { 4, 8, M2 | G1 } },
        { { 128, 16, SIM_ALL, SIM_TREE_PLRU, true } },
      }, { { 0 }, LRU(4), LRU(32) }, 16 } },
    { "zen3", true, false, { {
        { { 1, 64, SIM_ALL } }, { { 1, 64, SIM_ALL } },
        { { 128, 16, SIM_ALL, SIM_LRU, true } },
      }, { LRU(32), LRU(32), LRU(64) }, 4 } },
    { "neoverse-n1", true, false, { {
        { { 1, 48, SIM_ALL } }, { { 1, 48, SIM_ALL } },
        { { 256, 5, SIM_ALL, SIM_LRU } },
      }, { { 0 }, LRU(8), LRU(32) }, 4 } },
};

static unsigned entries_of(const Geometry *g, SimLevel level)
{
    return g->sim.arrays[level][0].sets * g->sim.arrays[level][0].ways;
}

/*
 * One guest of one geometry
 */

typedef struct Run {
    const Geometry *geometry;
    Guest *guest;
    Sim *sim;                   /* NULL: nobody wants to know */
    QPCIBus *bus;
    QPCIDevice *pci;
    QPCIBar bar;
    GRand *rand;
    uint64_t results[ARRAY_SIZE(modes)][HWTLB_C__MAX];
} Run;

#define REG_LATCH       0x0014
#define REG_COMMAND     0x001c
#define RESET           5
#define WIN_LATCHED     0x1000

#define SEED            7

static char *geometry_file(const SimGeometry *geometry)
{
    g_autofree char *json = sim_geometry_json(geometry);
    g_autoptr(GError) err = NULL;
    char *path = NULL;
    int fd = g_file_open_tmp("x64k-geometry-XXXXXX", &path, &err);

    g_assert_no_error(err);
    g_assert_cmpint(write(fd, json, strlen(json)), ==, strlen(json));
    close(fd);
    return path;
}

static Run *run_new(const Geometry *geometry, bool coalesces, bool la57,
                    bool simulate)
{
    Run *run = g_new0(Run, 1);
    SimGeometry sim = geometry->sim;
    g_autofree char *path = NULL;
    g_autofree char *cpu = NULL;

    sim.coalesce = coalesces ? sim.coalesce : 1;
    path = geometry->preset ? NULL : geometry_file(&sim);
    cpu = g_strdup_printf(",x64k-contig=on,x64k-leaf=on,hwtlb%s=%s,"
                          "hwtlb-coalesce=%u,hwtlb-seed=%u",
                          path ? "-config" : "", path ?: geometry->name,
                          sim.coalesce, SEED);
    run->geometry = geometry;
    run->guest = guest_start_with(cpu, CR4_P64 | (la57 ? CR4_LA57 : 0), 1,
                                  "-device hwtlb-pci,addr=04.0");
    if (path) {
        unlink(path);
    }
    run->sim = simulate ? sim_new(&sim, SEED, run->guest) : NULL;
    run->bus = qpci_new_pc(run->guest->qts, NULL);
    run->pci = qpci_device_find(run->bus, QPCI_DEVFN(4, 0));
    qpci_device_enable(run->pci);
    run->bar = qpci_iomap(run->pci, 0, NULL);
    run->rand = g_rand_new_with_seed(g_test_rand_int());
    return run;
}

static void run_free(Run *run)
{
    if (run->sim) {
        sim_free(run->sim);
    }
    g_rand_free(run->rand);
    g_free(run->pci);
    qpci_free_pc(run->bus);
    guest_stop(run->guest);
    g_free(run);
}

/*
 * Page tables
 */

static bool is_scattered(Layout layout, unsigned page)
{
    return layout == SCATTERED ||
           (layout == MIXED && page % 1024 < 512 && page / 16 % 2);
}

/* Neighbours change places, so that no two are consecutive. */
static uint64_t frame_of(Layout layout, unsigned page)
{
    return TEST_PA + (is_scattered(layout, page) ? page ^ 1 : page) * PAGE;
}

static bool is_absent(Layout layout, unsigned page)
{
    return layout == SPOILT && page / 16 % 7 == 1 &&
           page % 16 == page / 16 % 16;
}

/* One PTE of each group but those of which the number is 0, 7, ... */
static uint64_t spoil(unsigned page, uint64_t pte)
{
    if (page % 16 != page / 16 % 16) {
        return pte;
    }
    switch (page / 16 % 7) {
    case 1:
        return pte & ~PTE_P;
    case 2:
        return pte & ~PTE_P64;
    case 3:
        return pte + 16 * PAGE;
    case 4:
        return pte | PTE_PWT;
    default:
        return pte;
    }
}

static void map_page(Guest *guest, Layout layout, uint64_t va, unsigned page,
                     uint64_t flags)
{
    uint64_t pa = frame_of(layout, page), pte;

    switch (layout) {
    case LEAF_TABLES:
        if (page % 16 == 0) {
            guest_map_64k_leaf(guest, va, pa, flags);
        }
        break;
    case LARGE:
        if (page % 512 == 0) {
            guest_map_2m(guest, va, pa, flags);
        }
        break;
    case MIXED:
        map_page(guest, page % 1024 >= 512 ? LEAF_TABLES :
                 is_scattered(layout, page) ? SCATTERED : GROUPS, va, page,
                 flags);
        break;
    case SPOILT:
        pte = guest_map_4k(guest, va, pa, flags | PTE_P64);
        *guest_word(guest, pte) = spoil(page, *guest_word(guest, pte));
        break;
    default:
        guest_map_4k(guest, va, pa, layout == GROUPS ? flags | PTE_P64
                                                     : flags);
        break;
    }
}

/* Bytes of the last level of page tables for @pages side by side. */
static uint64_t table_bytes(Guest *guest, uint64_t base, unsigned pages)
{
    const uint64_t address = UINT64_C(0x000ffffffffff000);
    uint64_t table = guest->cr3, bytes = 0;

    for (unsigned level = guest->la57 ? 5 : 4; level > 2; level--) {
        table = *guest_word(guest, table + 8 * (base >> (9 * level + 3) &
                                                511)) & address;
    }
    for (unsigned i = 0; i < DIV_ROUND_UP(pages, 512); i++) {
        uint64_t pde = *guest_word(guest, table + 8 * i);
        bool leaf_table = pde & PTE_P64;

        for (unsigned k = 0; !(pde & PTE_PS) && k < (leaf_table ? 32 : 512) &&
             i * 512 + k * (leaf_table ? 16 : 1) < pages; k++) {
            uint64_t at = pde & (leaf_table ? address | 0xf00 : address);

            bytes += *guest_word(guest, at + 8 * k) & PTE_P ? 8 : 0;
        }
    }
    return bytes;
}

/*
 * Patterns
 */

typedef struct Script {
    Run *run;
    unsigned mode, pages;
    size_t n;
    unsigned page[GUEST_MAX_COMMANDS];
    GuestCommand commands[GUEST_MAX_COMMANDS];
} Script;

/* In each page: code and data that tell its number; a pointer; a target. */
#define TAG             0x800
#define POINTER         0x100
#define TARGET          0x200

static void add(Script *s, GuestOp op, unsigned page, unsigned offset)
{
    g_assert_cmpuint(s->n, <, GUEST_MAX_COMMANDS);
    s->page[s->n] = page;
    s->commands[s->n++] =
        (GuestCommand) { op, 0, va_of(s->mode, page) + offset };
}

static void sequential(Script *s, int unused)
{
    for (unsigned i = 0; i < 2 * s->pages; i++) {
        add(s, OP_LOAD, i % s->pages, TAG);
    }
}

/* Every @stride pages, then the same a page later. */
static void strided(Script *s, int stride)
{
    for (unsigned start = 0; start < stride; start++) {
        for (unsigned page = start; page < s->pages; page += stride) {
            add(s, OP_LOAD, page, TAG);
        }
    }
}

static unsigned *permutation(Script *s)
{
    unsigned *order = g_new(unsigned, s->pages);

    for (unsigned i = 0; i < s->pages; i++) {
        unsigned j = g_rand_int_range(s->run->rand, 0, i + 1);

        order[i] = order[j];
        order[j] = i;
    }
    return order;
}

static void shuffled(Script *s, int op)
{
    for (unsigned pass = 0; pass < 2; pass++) {
        g_autofree unsigned *order = permutation(s);

        for (unsigned i = 0; i < s->pages; i++) {
            add(s, op, order[i], TAG);
        }
    }
}

/* All pages in one cycle of pointers, twice around and a half. */
static void chased(Script *s, int unused)
{
    g_autofree unsigned *order = permutation(s);
    const Layout layout = modes[s->mode].layout;

    for (unsigned i = 0; i < s->pages; i++) {
        uint64_t next = va_of(s->mode, order[(i + 1) % s->pages]);

        *guest_word(s->run->guest, frame_of(layout, order[i]) + POINTER) =
            next + POINTER;
    }
    add(s, OP_CHASE, order[0], POINTER);
    s->commands[s->n - 1].immediate = s->pages * 5 / 2;
}

/* Sixteen pages in turn; one access of eight is to any. */
static void hot_and_cold(Script *s, int unused)
{
    for (unsigned i = 0; i < 2 * s->pages; i++) {
        add(s, OP_LOAD, i % 8 ? i % MIN(16, s->pages) :
            g_rand_int_range(s->run->rand, 0, s->pages), TAG);
    }
}

static void code(Script *s, int unused)
{
    for (unsigned i = 0; i < 2 * s->pages; i++) {
        add(s, OP_FETCH, i % s->pages, TAG);
    }
}

/* Code and data in the same pages: each may find what the other has filled. */
static void code_and_data(Script *s, int unused)
{
    g_autofree unsigned *order = permutation(s);

    for (unsigned i = 0; i < s->pages; i++) {
        add(s, OP_FETCH, order[i], TAG);
        add(s, OP_LOAD, order[i / 2], TAG);
    }
}

/* Loads, then stores: dirty assists or walks; then stores that need none. */
static void stored_after_loads(Script *s, int unused)
{
    for (unsigned i = 0; i < 3 * s->pages; i++) {
        if (i < s->pages) {
            add(s, OP_LOAD, i, TAG);
        } else {
            add(s, OP_STORE, i % s->pages, TARGET);
        }
    }
}

static void stored_first(Script *s, int unused)
{
    for (unsigned i = 0; i < s->pages; i++) {
        add(s, OP_STORE, i, TARGET);
    }
}

/* Of each 64 KB, one page is invalidated, another one each time. */
static void invalidated(Script *s, int unused)
{
    sequential(s, 0);
    s->n = s->pages;
    for (unsigned unit = 0; unit < s->pages / 16; unit++) {
        add(s, OP_INVLPG, unit * 16 + unit % 16, 8 * unit);
    }
    for (unsigned i = 0; i < s->pages; i++) {
        add(s, OP_LOAD, i, TAG);
    }
}

static const struct {
    const char *name;
    void (*make)(Script *, int);
    int argument;
    uint64_t flags;             /* of all PTEs before */
    unsigned max_accesses;      /* for a page; 0: one command for all */
    bool some;                  /* not all pages are touched */
    bool slight;                /* one geometry is enough */
} patterns[] = {
    { "sequential",   sequential,         0,        PTE_A, 2 },
    { "stride-16k",   strided,            4,        PTE_A, 1, .slight = true },
    { "stride-64k",   strided,            16,       PTE_A, 1, .slight = true },
    { "stride-256k",  strided,            64,       PTE_A, 1, .slight = true },
    { "stride-1m",    strided,            256,      PTE_A, 1 },
    { "random",       shuffled,           OP_LOAD,  PTE_A, 2 },
    { "chase",        chased,             0,        PTE_A, 0, .slight = true },
    { "hot-cold",     hot_and_cold,       0,        PTE_A, 2, true },
    { "code",         code,               0,        PTE_A, 2 },
    { "code-random",  shuffled,           OP_FETCH, PTE_A, 2, .slight = true },
    { "code-data",    code_and_data,      0,        PTE_A, 2, .slight = true },
    { "load-store",   stored_after_loads, 0,        PTE_A, 3 },
    { "first-touch",  stored_first,       0,        0,     1 },
    { "first-read",   sequential,         0,        0,     2, .slight = true },
    { "invlpg",       invalidated,        0,        PTE_A, 3 },
};

/*
 * One case
 */

static void obey(Run *run, const GuestCommand *commands, size_t n)
{
    if (run->sim) {
        sim_run(run->sim, commands, n);
    }
    guest_begin(run->guest, 0, commands, n);
    guest_wait(run->guest, 0);
    if (run->sim) {
        sim_check_tables(run->sim);
    }
}

static void tell_device(Run *run, unsigned reg, uint32_t value)
{
    qpci_io_writel(run->pci, run->bar, reg, value);
    while (qpci_io_readl(run->pci, run->bar, REG_LATCH)) {
        continue;
    }
}

/* Each access reached its page; only what is not there has faulted. */
static void check_log(const Script *s)
{
    const Layout layout = modes[s->mode].layout;
    const GuestLog *log = guest_log(s->run->guest, 0);

    for (size_t i = 0; i < s->n; i++) {
        unsigned page = s->page[i];
        uint64_t frame = frame_of(layout, page);

        if (layout == SPOILT && page / 16 % 7 == 3 &&
            page % 16 == page / 16 % 16) {
            frame += 16 * PAGE;
        }
        if (is_absent(layout, page) && s->commands[i].op != OP_INVLPG) {
            g_assert_cmphex(log[i].vector, ==, 14);
            continue;
        }
        g_assert_cmphex(log[i].vector, ==, NO_FAULT);
        if (s->commands[i].op == OP_LOAD) {
            g_assert_cmphex(log[i].value, ==, guest_tag(frame));
        } else if (s->commands[i].op == OP_FETCH) {
            g_assert_cmphex(log[i].value, ==, frame / PAGE);
        }
    }
}

static void run_case(Run *run, unsigned pattern, unsigned mode,
                     unsigned pages)
{
    const GuestCommand flush = { OP_CR3, 0, run->guest->cr3 };
    g_autofree Script *s = g_new(Script, 1);

    s->n = 0;
    s->run = run;
    s->mode = mode;
    s->pages = pages;
    for (unsigned page = 0; page < pages; page++) {
        map_page(run->guest, modes[mode].layout, va_of(mode, page), page,
                 patterns[pattern].flags | PTE_RW);
    }
    patterns[pattern].make(s, patterns[pattern].argument);

    obey(run, &flush, 1);
    tell_device(run, REG_COMMAND, RESET);
    if (run->sim) {
        sim_reset_counters(run->sim);
    }
    obey(run, s->commands, s->n);
    tell_device(run, REG_LATCH, 1);
    qpci_memread(run->pci, run->bar, WIN_LATCHED, run->results[mode],
                 sizeof(run->results[mode]));
    check_log(s);
}

/*
 * What is expected
 */

static void fail(const Run *run, const char *pattern, const char *mode,
                 unsigned pages, unsigned counter, uint64_t is,
                 uint64_t expected, const char *by)
{
    g_test_message("%s, %s, %u pages: %s is %" PRIu64 ", but %" PRIu64
                   " by %s", pattern, mode, pages,
                   guest_counter_names[counter], is, expected, by);
    g_test_fail();
}

static void check_simulation(const Run *run, unsigned pattern, unsigned mode,
                             unsigned pages)
{
    for (unsigned i = 0; i < HWTLB_C__MAX; i++) {
        uint64_t is = run->results[mode][i], expected = run->sim->counters[i];

        if (is != expected) {
            fail(run, patterns[pattern].name, modes[mode].name, pages, i, is,
                 expected, "simulation");
        }
    }
}

/*
 * Two passes in order: what fits a level is filled once, what does not is
 * filled twice, as fifo and lru always lose the entry that comes next.
 */
static uint64_t fills_of_passes(const Run *run, SimLevel level, SimSize size,
                                unsigned units)
{
    const SimArray *array = run->geometry->sim.arrays[level];

    while (!(array->sizes >> size & 1)) {
        array++;
    }
    return units <= array->sets * array->ways ? units : 2 * units;
}

static void check_closed_form(const Run *run, unsigned mode, unsigned pages)
{
    const Mode *m = &modes[mode];
    const unsigned together = m->coalesces ? run->sim->geometry.coalesce
                                           : m->pages;
    const SimSize size = m->coalesces ? coalesced_size(together) : m->size;
    const unsigned units = DIV_ROUND_UP(pages, together);
    const unsigned pdes = DIV_ROUND_UP(pages, 512);
    const uint64_t l1d = fills_of_passes(run, SIM_L1D, size, units);
    const uint64_t stlb = fills_of_passes(run, SIM_STLB, size, units);
    const struct {
        unsigned counter;
        uint64_t expected;
    } table[] = {
        { HWTLB_C_L1D_LOAD_MISS, l1d },
        { HWTLB_C_L1D_FILL_4K + size, l1d },
        { HWTLB_C_STLB_LOAD_MISS, stlb },
        { HWTLB_C_STLB_FILL_4K + size, stlb },
        { HWTLB_C_WALK_COMPLETED, stlb },
        { HWTLB_C_WALK_READ_PT, m->layout == LARGE ? 0 : stlb },
        { HWTLB_C_WALK_READ_GROUP, stlb * m->further },
        { HWTLB_C_CONTIG_WELL_FORMED, m->layout == GROUPS ? stlb : 0 },
        /* Lines of the last level, of PDEs, and one of each level above. */
        { HWTLB_C_WALK_LINES,
          (m->line_pages ? DIV_ROUND_UP(pages, m->line_pages) : 0) +
          DIV_ROUND_UP(pdes, 8) + (run->guest->la57 ? 3 : 2) },
    };

    for (unsigned i = 0; i < ARRAY_SIZE(table); i++) {
        uint64_t is = run->results[mode][table[i].counter];

        if (is != table[i].expected) {
            fail(run, "sequential", m->name, pages, table[i].counter, is,
                 table[i].expected, "closed form");
        }
    }
    g_assert_cmpuint(table_bytes(run->guest, base_of(mode), pages), ==,
                     (uint64_t)DIV_ROUND_UP(pages, 16) * m->bytes);
}

/* Emulated saves no fill, nor anything else: page faults are not the TLB's. */
static void check_emulated(const Run *run, unsigned pattern, unsigned pages)
{
    for (unsigned i = 0; i < HWTLB_C__MAX; i++) {
        uint64_t is = run->results[M_EMULATED][i];
        uint64_t expected = run->results[M_4K][i];

        if (is != expected) {
            fail(run, patterns[pattern].name, "emulated", pages, i, is,
                 expected, "4k");
        }
    }
}

/*
 * Contig and native have the same entries and so the same fills; what differs
 * is how much of page tables is read.
 */
static void check_contig(const Run *run, unsigned pattern, unsigned pages)
{
    const uint64_t *contig = run->results[M_CONTIG];
    const uint64_t *native = run->results[M_NATIVE];
    uint64_t walks = contig[HWTLB_C_WALK_COMPLETED] +
                     contig[HWTLB_C_WALK_DIRTY];

    for (unsigned i = 0; i < HWTLB_C__MAX; i++) {
        uint64_t is = contig[i], expected = native[i];

        switch (i) {
        case HWTLB_C_L1D_FILL_64K_HINT:
        case HWTLB_C_L1I_FILL_64K_HINT:
        case HWTLB_C_STLB_FILL_64K_HINT:
            expected = native[i + 1];
            break;
        case HWTLB_C_L1D_FILL_64K_LEAF:
        case HWTLB_C_L1I_FILL_64K_LEAF:
        case HWTLB_C_STLB_FILL_64K_LEAF:
            expected = 0;
            break;
        case HWTLB_C_CONTIG_WELL_FORMED:
            expected = walks;
            break;
        case HWTLB_C_WALK_READ_GROUP:
            expected = 15 * walks;
            break;
        case HWTLB_C_WALK_LINES:
            if (patterns[pattern].some) {
                continue;
            }
            /* 16 PTEs are two lines; a line has 8 entries of a leaf table. */
            expected += DIV_ROUND_UP(pages, 16) * 2 -
                        DIV_ROUND_UP(pages, 128);
            break;
        }
        if (is != expected) {
            fail(run, patterns[pattern].name, "contig", pages, i, is,
                 expected, "native");
        }
    }
}

static bool has_random(const SimGeometry *g)
{
    for (unsigned level = 0; level < SIM_LEVELS; level++) {
        if (g->arrays[level][0].policy == SIM_RANDOM) {
            return true;
        }
    }
    return false;
}

static bool is_fifo_or_lru(const SimGeometry *g)
{
    for (unsigned level = 0; level < SIM_LEVELS; level++) {
        SimPolicy policy = g->arrays[level][0].policy;

        if (policy != SIM_FIFO && policy != SIM_LRU) {
            return false;
        }
    }
    return true;
}

/*
 * The matrix
 */

/* 1/2, 1, 2 and 8 times the reach of each level, by pages and by 64 KB. */
static unsigned working_sets(const Geometry *g, unsigned *sets)
{
    static const unsigned halves[] = { 1, 2, 4, 16 };
    unsigned n = 0;

    for (unsigned unit = 1; unit <= (g->preset ? 1 : 16); unit *= 16) {
        for (unsigned level = SIM_L1D; level <= SIM_STLB; level++) {
            for (unsigned h = 0; h < ARRAY_SIZE(halves); h++) {
                unsigned pages = entries_of(g, level) * halves[h] / 2 * unit;
                bool known = false;

                pages = ROUND_UP(pages, 16);
                for (unsigned i = 0; i < n; i++) {
                    known |= sets[i] == pages;
                }
                if (!known) {
                    sets[n++] = pages;
                }
            }
        }
    }
    return n;
}

static void tag_frames(Run *run, const unsigned *sets, unsigned n)
{
    unsigned most = 512;

    for (unsigned i = 0; i < n; i++) {
        most = MAX(most, sets[i]);
    }
    /* Also for a frame that a spoilt PTE has instead. */
    guest_tag_frames(run->guest, TEST_PA, (most + 16) * PAGE, TAG);
}

static bool fits(const Run *run, unsigned pattern, unsigned mode,
                 unsigned pages)
{
    if (patterns[pattern].slight && run->sim &&
        (run->geometry != &geometries[0] || run->guest->la57)) {
        return false;
    }
    /* Each two of these pages have page tables of their own. */
    if (modes[mode].layout == FAR_APART && pages > 512) {
        return false;
    }
    /* A chase cannot go on after a fault. */
    return pages * patterns[pattern].max_accesses < GUEST_MAX_COMMANDS &&
           (modes[mode].layout != SPOILT || patterns[pattern].max_accesses);
}

/* What is done with each case, and with all modes of a pattern. */
typedef struct Visitor {
    void (*each)(Run *run, unsigned pattern, unsigned mode, unsigned pages);
    void (*all)(Run *run, unsigned pattern, unsigned pages);
} Visitor;

/* One guest at a time, as one that waits for work is busy, too. */
static void for_each_case(const Geometry *g, bool coalesces, bool la57,
                          bool simulate, const Visitor *visitor)
{
    Run *run = run_new(g, coalesces, la57, simulate);
    unsigned sets[64], n = working_sets(g, sets);
    uint64_t values[HWTLB_C__MAX];
    unsigned last = 0;

    tag_frames(run, sets, n);
    for (unsigned p = 0; p < ARRAY_SIZE(patterns); p++) {
        for (unsigned w = 0; w < n; w++) {
            uint32_t order = g_test_rand_int();

            for (unsigned m = 0; m < ARRAY_SIZE(modes); m++) {
                if (modes[m].coalesces != coalesces ||
                    !fits(run, p, m, sets[w])) {
                    continue;
                }
                /* Each mode has the same accesses. */
                g_rand_set_seed(run->rand, order);
                run_case(run, p, m, sets[w]);
                visitor->each(run, p, m, sets[w]);
                last = m;
            }
            if (visitor->all && !coalesces && fits(run, p, M_CONTIG, sets[w])) {
                visitor->all(run, p, sets[w]);
            }
        }
    }
    /* QMP says what the device says. */
    guest_counters(run->guest, 0, values);
    g_assert_cmpmem(values, sizeof(values), run->results[last],
                    sizeof(values));
    run_free(run);
}

static void check_case(Run *run, unsigned p, unsigned m, unsigned pages)
{
    const Geometry *g = run->geometry;

    check_simulation(run, p, m, pages);
    if (p == 0 && g->apart && is_fifo_or_lru(&g->sim) &&
        modes[m].line_pages + modes[m].pages) {
        check_closed_form(run, m, pages);
    }
}

static void check_modes(Run *run, unsigned p, unsigned pages)
{
    /* What the generator gives goes on from case to case. */
    if (!has_random(&run->geometry->sim)) {
        check_emulated(run, p, pages);
        check_contig(run, p, pages);
    }
}

static void test_geometry(const Geometry *g, bool la57)
{
    static const Visitor check = { check_case, check_modes };

    for_each_case(g, false, la57, true, &check);
    for_each_case(g, true, la57, true, &check);
}

static void test_4_level(const void *g)
{
    test_geometry(g, false);
}

static void test_5_level(const void *g)
{
    test_geometry(g, true);
}

/*
 * For people
 */

static void print_case(Run *run, unsigned p, unsigned m, unsigned pages)
{
    const char *between = "";

    if (modes[m].layout == FAR_APART || modes[m].layout == SPOILT) {
        return;                 /* of interest to the model only */
    }
    printf("{ \"pattern\": \"%s\", \"pages\": %u, \"mode\": \"%s\", "
           "\"table_bytes\": %" PRIu64 ", \"counters\": {",
           patterns[p].name, pages, modes[m].name,
           table_bytes(run->guest, base_of(m), pages));
    for (unsigned i = 0; i < HWTLB_C__MAX; i++) {
        printf("%s \"%s\": %" PRIu64, between, guest_counter_names[i],
               run->results[m][i]);
        between = ",";
    }
    printf(" } }\n");
}

/* A line of JSON for each case. */
static int print_matrix(const char *name)
{
    static const Visitor print = { print_case };

    for (unsigned i = 0; i < ARRAY_SIZE(geometries); i++) {
        if (g_str_equal(geometries[i].name, name)) {
            for_each_case(&geometries[i], false, false, false, &print);
            for_each_case(&geometries[i], true, false, false, &print);
            return 0;
        }
    }
    fprintf(stderr, "no geometry '%s'; there are:", name);
    for (unsigned i = 0; i < ARRAY_SIZE(geometries); i++) {
        fprintf(stderr, " %s", geometries[i].name);
    }
    fprintf(stderr, "\n");
    return 2;
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (argc == 3 && g_str_equal(argv[1], "--json")) {
        return print_matrix(argv[2]);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(geometries); i++) {
        const Geometry *g = &geometries[i];
        g_autofree char *four = g_strdup_printf("modes/%s/4-level", g->name);
        g_autofree char *five = g_strdup_printf("modes/%s/5-level", g->name);

        qtest_add_data_func(four, g, test_4_level);
        /* What holds a translation does not know how it was found. */
        if (i < 2) {
            qtest_add_data_func(five, g, test_5_level);
        }
    }
    return g_test_run();
}
