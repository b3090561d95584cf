/*
 * What 64 KB pages save: one matrix of patterns, modes and geometries
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A guest makes each pattern of accesses, on working sets of 1/2, 1, 2 and 8
 * times the reach of each level, with its memory mapped in each of the modes.
 * Reach is counted twice: by entries of 4 KB and by entries of 64 KB.
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
#include "qobject/qdict.h"
#include "qobject/qlist.h"
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

static uint64_t va_of(unsigned mode, unsigned page)
{
    return TEST_VA + page * PAGE + (modes[mode].layout == FAR_APART ?
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
    { "zen4", true, false, { {
        { { 1, 72, SIM_ALL } }, { { 1, 64, SIM_ALL } },
        { { 128, 24, SIM_ALL, SIM_LRU, true } },
      }, { LRU(32), LRU(32), LRU(64) }, 4 } },
    { "zen5", true, false, { {
        { { 1, 96, SIM_ALL } }, { { 1, 64, SIM_ALL } },
        { { 256, 16, SIM_ALL, SIM_LRU, true } },
      }, { LRU(32), LRU(32), LRU(64) }, 4 } },
    { "neoverse-n1", true, false, { {
        { { 1, 48, SIM_ALL } }, { { 1, 48, SIM_ALL } },
        { { 256, 5, SIM_ALL, SIM_LRU } },
      }, { { 0 }, LRU(8), LRU(32) }, 4 } },
    { "ideal", true, false, { {
        { { 1, 4096, SIM_ALL } }, { { 1, 4096, SIM_ALL } },
        { { 1, 32768, SIM_ALL, SIM_LRU } },
      }, { LRU(512), LRU(512), LRU(4096) }, 16 } },
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
    uint64_t first_table;       /* free for page tables of a case */
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
    run->first_table = run->guest->next_table;
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

/*
 * Neighbours change places, so that no two are consecutive.  Large working
 * sets have the same frames again and again.
 */
#define FRAMES          32768u

static uint64_t frame_of(Layout layout, unsigned page)
{
    return TEST_PA + (is_scattered(layout, page) ? page ^ 1 : page) % FRAMES *
                     PAGE;
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

/* Takes back the page tables of all modes: those of one may be large. */
static void unmap_all(Run *run)
{
    Guest *guest = run->guest;
    const uint64_t pml4 = guest->cr3 + (guest->la57 ? PAGE : 0);

    /* The first entry is the guest's own. */
    memset(guest_word(guest, pml4 + 8), 0, PAGE - 8);
    guest->next_table = run->first_table;
}

/* Bytes of the last level of page tables for @pages, by whole groups. */
static uint64_t table_bytes(Guest *guest, unsigned pages)
{
    const uint64_t address = UINT64_C(0x000ffffffffff000);
    uint64_t bytes = 0;

    pages = ROUND_UP(pages, 16);
    for (unsigned page = 0; page < pages; page += 512) {
        const uint64_t va = TEST_VA + page * PAGE;
        uint64_t table = guest->cr3, pde;
        bool leaf_table;

        for (unsigned level = guest->la57 ? 5 : 4; level > 2; level--) {
            table = *guest_word(guest, table + 8 * (va >> (9 * level + 3) &
                                                    511)) & address;
        }
        pde = *guest_word(guest, table + 8 * (va >> 21 & 511));
        leaf_table = pde & PTE_P64;
        for (unsigned k = 0; !(pde & PTE_PS) && k < (leaf_table ? 32 : 512) &&
             page + k * (leaf_table ? 16 : 1) < pages; k++) {
            uint64_t at = pde & (leaf_table ? address | 0xf00 : address);

            bytes += *guest_word(guest, at + 8 * k) & PTE_P ? 8 : 0;
        }
    }
    return bytes;
}

/*
 * Patterns
 */

/* A working set: all its pages are touched, or one in each 64 KB. */
typedef struct WorkingSet {
    unsigned items, step;       /* @step pages for each item */
} WorkingSet;

static unsigned pages_of(WorkingSet set)
{
    return set.items * set.step;
}

typedef struct Script {
    Run *run;
    unsigned mode;
    WorkingSet set;
    GArray *pages, *commands;   /* of each command, its page; GuestCommand */
} Script;

/* In each page: code and data that tell its number; a pointer; a target. */
#define TAG             0x800
#define POINTER         0x100
#define TARGET          0x200

/* Which page of its 64 KB is touched differs. */
static unsigned page_of(const Script *s, unsigned item)
{
    return item * s->set.step + item % s->set.step;
}

static GuestCommand *add_page(Script *s, GuestOp op, unsigned page,
                              unsigned offset)
{
    const GuestCommand command = { op, 0, va_of(s->mode, page) + offset };

    g_array_append_val(s->pages, page);
    g_array_append_val(s->commands, command);
    return &g_array_index(s->commands, GuestCommand, s->commands->len - 1);
}

static GuestCommand *add(Script *s, GuestOp op, unsigned item, unsigned offset)
{
    return add_page(s, op, page_of(s, item), offset);
}

static void in_order(Script *s, GuestOp op, unsigned offset)
{
    for (unsigned item = 0; item < s->set.items; item++) {
        add(s, op, item, offset);
    }
}

static void sequential(Script *s, int unused)
{
    in_order(s, OP_LOAD, TAG);
    in_order(s, OP_LOAD, TAG);
}

/* Every @stride pages, then the same a page later. */
static void strided(Script *s, int stride)
{
    for (unsigned start = 0; start < stride; start++) {
        for (unsigned item = start; item < s->set.items; item += stride) {
            add(s, OP_LOAD, item, TAG);
        }
    }
}

static unsigned *permutation(Script *s)
{
    unsigned *order = g_new(unsigned, s->set.items);

    for (unsigned i = 0; i < s->set.items; i++) {
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

        for (unsigned i = 0; i < s->set.items; i++) {
            add(s, op, order[i], TAG);
        }
    }
}

/* All pages in one cycle of pointers, twice around and a half. */
static void chased(Script *s, int unused)
{
    g_autofree unsigned *order = permutation(s);
    const Layout layout = modes[s->mode].layout;
    const unsigned n = s->set.items;

    for (unsigned i = 0; i < n; i++) {
        uint64_t next = va_of(s->mode, page_of(s, order[(i + 1) % n]));

        *guest_word(s->run->guest, frame_of(layout, page_of(s, order[i])) +
                    POINTER) = next + POINTER;
    }
    add(s, OP_CHASE, order[0], POINTER)->immediate = n * 5 / 2;
}

/* Sixteen pages in turn; one access of eight is to any. */
static void hot_and_cold(Script *s, int unused)
{
    const unsigned n = s->set.items;

    for (unsigned i = 0; i < 2 * n; i++) {
        add(s, OP_LOAD, i % 8 ? i % MIN(16, n) :
            g_rand_int_range(s->run->rand, 0, n), TAG);
    }
}

static void code(Script *s, int unused)
{
    in_order(s, OP_FETCH, TAG);
    in_order(s, OP_FETCH, TAG);
}

/* Code and data in the same pages: each may find what the other has filled. */
static void code_and_data(Script *s, int unused)
{
    g_autofree unsigned *order = permutation(s);

    for (unsigned i = 0; i < s->set.items; i++) {
        add(s, OP_FETCH, order[i], TAG);
        add(s, OP_LOAD, order[i / 2], TAG);
    }
}

/* Loads, then stores: dirty assists or walks; then stores that need none. */
static void stored_after_loads(Script *s, int unused)
{
    in_order(s, OP_LOAD, TAG);
    in_order(s, OP_STORE, TARGET);
    in_order(s, OP_STORE, TARGET);
}

static void stored_first(Script *s, int unused)
{
    in_order(s, OP_STORE, TARGET);
}

/* Of each 64 KB, one page is invalidated, another one each time. */
static void invalidated(Script *s, int unused)
{
    in_order(s, OP_LOAD, TAG);
    for (unsigned unit = 0; unit < pages_of(s->set) / 16; unit++) {
        add_page(s, OP_INVLPG, unit * 16 + unit % 16, 8 * unit % PAGE);
    }
    in_order(s, OP_LOAD, TAG);
}

static const struct {
    const char *name;
    void (*make)(Script *, int);
    int argument;
    uint64_t flags;             /* of all PTEs before */
    unsigned max_accesses;      /* for a page; 0: one command for all */
    bool some;                  /* not all pages are touched */
    bool slight;                /* one geometry is enough */
    bool thin;                  /* also with one page touched in each 64 KB */
    bool any_size;              /* also with more commands than fit a script */
} patterns[] = {
    { "sequential",   sequential,         0,        PTE_A, 2, .thin = true,
      .any_size = true },
    { "stride-16k",   strided,            4,        PTE_A, 1, .slight = true },
    { "stride-64k",   strided,            16,       PTE_A, 1, .slight = true },
    { "stride-256k",  strided,            64,       PTE_A, 1, .slight = true },
    { "stride-1m",    strided,            256,      PTE_A, 1 },
    { "random",       shuffled,           OP_LOAD,  PTE_A, 2, .thin = true },
    { "chase",        chased,             0,        PTE_A, 0, .slight = true },
    { "hot-cold",     hot_and_cold,       0,        PTE_A, 2, true },
    { "code",         code,               0,        PTE_A, 2, .thin = true },
    { "code-random",  shuffled,           OP_FETCH, PTE_A, 2, .slight = true },
    { "code-data",    code_and_data,      0,        PTE_A, 2, .slight = true },
    { "load-store",   stored_after_loads, 0,        PTE_A, 3 },
    { "first-touch",  stored_first,       0,        0,     1, .thin = true },
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
static void check_log(const Script *s, size_t first, size_t n)
{
    const Layout layout = modes[s->mode].layout;
    const GuestLog *log = guest_log(s->run->guest, 0);

    for (size_t i = 0; i < n; i++) {
        unsigned page = g_array_index(s->pages, unsigned, first + i);
        GuestOp op = g_array_index(s->commands, GuestCommand, first + i).op;
        uint64_t frame = frame_of(layout, page);

        if (layout == SPOILT && page / 16 % 7 == 3 &&
            page % 16 == page / 16 % 16) {
            frame += 16 * PAGE;
        }
        if (is_absent(layout, page) && op != OP_INVLPG) {
            g_assert_cmphex(log[i].vector, ==, 14);
            continue;
        }
        g_assert_cmphex(log[i].vector, ==, NO_FAULT);
        if (op == OP_LOAD) {
            g_assert_cmphex(log[i].value, ==, guest_tag(frame));
        } else if (op == OP_FETCH) {
            g_assert_cmphex(log[i].value, ==, frame / PAGE);
        }
    }
}

static void run_case(Run *run, unsigned pattern, unsigned mode, WorkingSet set)
{
    const GuestCommand flush = { OP_CR3, 0, run->guest->cr3 };
    /* A group is mapped as a whole. */
    const unsigned pages = ROUND_UP(pages_of(set), 16);
    Script s = { run, mode, set };

    unmap_all(run);
    for (unsigned page = 0; page < pages; page++) {
        map_page(run->guest, modes[mode].layout, va_of(mode, page), page,
                 patterns[pattern].flags | PTE_RW);
    }
    s.pages = g_array_new(false, false, sizeof(unsigned));
    s.commands = g_array_new(false, false, sizeof(GuestCommand));
    patterns[pattern].make(&s, patterns[pattern].argument);

    obey(run, &flush, 1);
    tell_device(run, REG_COMMAND, RESET);
    if (run->sim) {
        sim_reset_counters(run->sim);
    }
    for (size_t done = 0, n; done < s.commands->len; done += n) {
        n = MIN(s.commands->len - done, GUEST_MAX_COMMANDS);
        obey(run, &g_array_index(s.commands, GuestCommand, done), n);
        check_log(&s, done, n);
    }
    tell_device(run, REG_LATCH, 1);
    qpci_memread(run->pci, run->bar, WIN_LATCHED, run->results[mode],
                 sizeof(run->results[mode]));
    g_array_free(s.pages, true);
    g_array_free(s.commands, true);
}

/*
 * What is expected
 */

static const char *name_of(unsigned pattern, WorkingSet set)
{
    static char name[64];

    snprintf(name, sizeof(name), "%s%s", patterns[pattern].name,
             set.step == 1 ? "" : "-by-64k");
    return name;
}

static void fail(const Run *run, unsigned pattern, const char *mode,
                 WorkingSet set, unsigned counter, uint64_t is,
                 uint64_t expected, const char *by)
{
    g_test_message("%s, %s, %u pages: %s is %" PRIu64 ", but %" PRIu64
                   " by %s", name_of(pattern, set), mode, pages_of(set),
                   guest_counter_names[counter], is, expected, by);
    g_test_fail();
}

static void check_simulation(const Run *run, unsigned pattern, unsigned mode,
                             WorkingSet set)
{
    for (unsigned i = 0; i < HWTLB_C__MAX; i++) {
        uint64_t is = run->results[mode][i], expected = run->sim->counters[i];

        if (is != expected) {
            fail(run, pattern, modes[mode].name, set, i, is, expected,
                 "simulation");
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

static void check_closed_form(const Run *run, unsigned pattern, unsigned mode,
                              WorkingSet set)
{
    const unsigned pages = pages_of(set);
    const Mode *m = &modes[mode];
    const unsigned together = m->coalesces ? run->sim->geometry.coalesce
                                           : m->pages;
    const SimSize size = m->coalesces ? coalesced_size(together) : m->size;
    const unsigned units = DIV_ROUND_UP(pages, MAX(together, set.step));
    /* Who looks at 16 PTEs reads two lines, also for one access. */
    const bool both_lines = m->further || (m->coalesces && together == 16);
    const unsigned lines = !m->line_pages ? 0 :
                           both_lines ? 2 * DIV_ROUND_UP(pages, 16) :
                           DIV_ROUND_UP(pages, MAX(m->line_pages, set.step));
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
          lines + DIV_ROUND_UP(pdes, 8) + (run->guest->la57 ? 3 : 2) },
    };

    for (unsigned i = 0; i < ARRAY_SIZE(table); i++) {
        uint64_t is = run->results[mode][table[i].counter];

        if (is != table[i].expected) {
            fail(run, pattern, m->name, set, table[i].counter, is,
                 table[i].expected, "closed form");
        }
    }
    g_assert_cmpuint(table_bytes(run->guest, pages), ==,
                     (uint64_t)DIV_ROUND_UP(pages, 16) * m->bytes);
}

/* Emulated saves no fill, nor anything else: page faults are not the TLB's. */
static void check_emulated(const Run *run, unsigned pattern, WorkingSet set)
{
    for (unsigned i = 0; i < HWTLB_C__MAX; i++) {
        uint64_t is = run->results[M_EMULATED][i];
        uint64_t expected = run->results[M_4K][i];

        if (is != expected) {
            fail(run, pattern, "emulated", set, i, is, expected, "4k");
        }
    }
}

/*
 * Contig and native have the same entries and so the same fills; what differs
 * is how much of page tables is read.
 */
static void check_contig(const Run *run, unsigned pattern, WorkingSet set)
{
    const unsigned pages = pages_of(set);
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
            fail(run, pattern, "contig", set, i, is, expected, "native");
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

/*
 * 1/2, 1, 2 and 8 times the reach of each level, by pages and by 64 KB.  With
 * the small geometries all pages are touched in either case; otherwise, as
 * entries of 64 KB may reach gigabytes, one page in each 64 KB.
 */
static unsigned working_sets(const Geometry *g, WorkingSet *sets)
{
    static const unsigned halves[] = { 1, 2, 4, 16 };
    unsigned n = 0;

    for (unsigned unit = 1; unit <= 16; unit *= 16) {
        for (unsigned level = SIM_L1D; level <= SIM_STLB; level++) {
            for (unsigned h = 0; h < ARRAY_SIZE(halves); h++) {
                unsigned units = entries_of(g, level) * halves[h] / 2;
                WorkingSet set = g->preset ? (WorkingSet) { units, unit }
                                           : (WorkingSet) { units * unit, 1 };
                bool known = false;

                for (unsigned i = 0; i < n; i++) {
                    known |= sets[i].items == set.items &&
                             sets[i].step == set.step;
                }
                if (!known) {
                    sets[n++] = set;
                }
            }
        }
    }
    return n;
}

static void tag_frames(Run *run, const WorkingSet *sets, unsigned n)
{
    unsigned most = 512;

    for (unsigned i = 0; i < n; i++) {
        most = MAX(most, pages_of(sets[i]));
    }
    /* Also for a frame that a spoilt PTE has instead. */
    guest_tag_frames(run->guest, TEST_PA,
                     (ROUND_UP(MIN(most, FRAMES), 16) + 16) * PAGE, TAG);
}

static bool fits(const Run *run, unsigned pattern, unsigned mode,
                 WorkingSet set)
{
    if (patterns[pattern].slight && run->sim &&
        (run->geometry != &geometries[0] || run->guest->la57)) {
        return false;
    }
    if (set.step > 1 && !patterns[pattern].thin) {
        return false;
    }
    /* Each two of these pages have page tables of their own. */
    if (modes[mode].layout == FAR_APART && pages_of(set) > 512) {
        return false;
    }
    /* A chase cannot go on after a fault, nor with two pointers in one. */
    if (!patterns[pattern].max_accesses) {
        return modes[mode].layout != SPOILT && pages_of(set) <= FRAMES;
    }
    return set.items * patterns[pattern].max_accesses < GUEST_MAX_COMMANDS ||
           patterns[pattern].any_size;
}

/* What is done with each case, and with all modes of a pattern. */
typedef struct Visitor {
    void (*each)(Run *run, unsigned pattern, unsigned mode, WorkingSet set);
    void (*all)(Run *run, unsigned pattern, WorkingSet set);
} Visitor;

/* One guest at a time, as one that waits for work is busy, too. */
static void for_each_case(const Geometry *g, bool coalesces, bool la57,
                          bool simulate, const Visitor *visitor)
{
    Run *run = run_new(g, coalesces, la57, simulate);
    WorkingSet sets[64];
    const unsigned n = working_sets(g, sets);
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

static void check_case(Run *run, unsigned p, unsigned m, WorkingSet set)
{
    const Geometry *g = run->geometry;

    check_simulation(run, p, m, set);
    if (p == 0 && g->apart && is_fifo_or_lru(&g->sim) &&
        modes[m].line_pages + modes[m].pages) {
        check_closed_form(run, p, m, set);
    }
}

static void check_modes(Run *run, unsigned p, WorkingSet set)
{
    /* What the generator gives goes on from case to case. */
    if (!has_random(&run->geometry->sim)) {
        check_emulated(run, p, set);
        check_contig(run, p, set);
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

/* Is each preset of the emulator in the matrix? */
static void test_presets(void)
{
    QTestState *qts = qtest_init("-machine none -nodefaults");
    QDict *answer = qtest_qmp(qts, "{ 'execute': 'query-hwtlb-presets' }");
    const QListEntry *entry;
    unsigned n = 0;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(answer, "return"), entry) {
        const char *name = qdict_get_str(qobject_to(QDict, entry->value),
                                         "name");
        bool found = false;

        for (unsigned i = 0; i < ARRAY_SIZE(geometries); i++) {
            found |= geometries[i].preset &&
                     g_str_equal(geometries[i].name, name);
        }
        if (!found) {
            g_error("%s is not in the matrix", name);
        }
        n++;
    }
    g_assert_cmpuint(n, >, 0);
    qobject_unref(answer);
    qtest_quit(qts);
}

/*
 * For people
 */

static void print_case(Run *run, unsigned p, unsigned m, WorkingSet set)
{
    const char *between = "";

    if (modes[m].layout == FAR_APART || modes[m].layout == SPOILT) {
        return;                 /* of interest to the model only */
    }
    printf("{ \"pattern\": \"%s\", \"pages\": %u, \"mode\": \"%s\", "
           "\"table_bytes\": %" PRIu64 ", \"counters\": {",
           name_of(p, set), pages_of(set), modes[m].name,
           table_bytes(run->guest, pages_of(set)));
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
    qtest_add_func("modes/presets", test_presets);
    for (unsigned i = 0; i < ARRAY_SIZE(geometries); i++) {
        const Geometry *g = &geometries[i];
        g_autofree char *four = g_strdup_printf("modes/%s/4-level", g->name);
        g_autofree char *five = g_strdup_printf("modes/%s/5-level", g->name);

        qtest_add_data_func(four, g, test_4_level);
        /* What holds a translation does not know how it was found. */
        if (!g->preset) {
            qtest_add_data_func(five, g, test_5_level);
        }
    }
    return g_test_run();
}
