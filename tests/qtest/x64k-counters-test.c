/*
 * Every counter of the TLB model: what moves it, and what moves with it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A row of the table is one step of a guest, after some others.  That step
 * must change the counters that the row names, by so much, and no other.  A
 * counter that cannot move alone has its company named, with the reason.
 */
#include "qemu/osdep.h"
#include "x64k-sim.h"

#define BASE_1G         UINT64_C(0x40000000)

/* Page tables; pages are numbered from the row's base on, 4 KB each. */
typedef enum Tables {
    PLAIN,                      /* 48 pages of 4 KB, A and D set; no 49th */
    CLEAN,                      /* the same without D */
    READ_ONLY,
    GLOBAL,                     /* all but page 0 are global */
    BLOCK_2, BLOCK_4, BLOCK_8, BLOCK_16,        /* so many coalesce */
    GROUP,                      /* well formed */
    ABSENT, UNMARKED, FRAME, ATTRIBUTES,        /* the last PTE is wrong */
    IN_ROM,                     /* a group whose PTEs cannot be locked */
    LEAF,
    LARGE,                      /* 2 MB */
    HUGE_PAGE,                  /* 1 GB */
    FAR_APART,                  /* 2 pages each of other 2 MB, 1 GB */
} Tables;

/* What else a row needs. */
#define WITH_PWC        1       /* one entry of each kind */
#define LEVELS_5        2
#define VERIFIED        4

/*
 * A walk of all four levels; page tables' lines are known by then, and unless
 * the row says so there is no PWC.  A miss that ends well fills; one that
 * misses both levels walks, and fills both.
 */
#define WALK            "walk-read-pml4 walk-read-pdpt walk-read-pd " \
                        "walk-read-pt pwc-miss "
#define WALKED          "walk-completed " WALK
#define LOAD_WALKED     "l1d-load-miss stlb-load-miss " WALKED
#define LOAD_FAULTED    "l1d-load-miss stlb-load-miss walk-faulted pwc-miss "
#define STORE_FAULTED   "walk-faulted " WALK
#define CHECKED         "walk-read-group:15 "
#define FILLED_4K       "l1d-fill-4k stlb-fill-4k "
#define FILLED_HINT     "l1d-fill-64k-hint stlb-fill-64k-hint "

/*
 * A flush of all takes the translations of the guest's own program along, of
 * RAM and ROM: fetches need the ROM again, its log the RAM, its table of
 * operations the ROM as data, which the STLB has by then.
 */
#define OWN             "l1i-miss stlb-fetch-miss l1i-fill-1g " \
                        "l1d-fill-1g:2 stlb-fill-1g:2 walk-completed:2 " \
                        "walk-read-pml4:2 walk-read-pdpt:2 pwc-miss:2 "
#define OWN_AGAIN       OWN "l1d-load-miss l1d-store-miss stlb-store-miss"
/* When it starts, it reads RAM before it writes there. */
#define OWN_AT_START    OWN "l1d-load-miss:2 stlb-load-miss"

/*
 * The TLBs: fifo; L1 holds two entries of up to 64 KB, the STLB four, beside
 * those of 2 MB and 1 GB.  Steps: Load, Store, Fetch or Invalidate page N;
 * C: write CR3; P: toggle CR4.PGE; M: mark the group, or make page 0
 * writable; O: give page N another frame; R: reset.
 */
static const struct {
    const char *counter;
    Tables tables;
    unsigned with;
    const char *before, *step, *moves;
} rows[] = {
    /* A miss of L1 alone: the STLB has the page from a fetch, or a load. */
    { "l1d-load-miss", PLAIN, 0, "F0", "L0", "l1d-fill-4k" },
    { "l1d-store-miss", PLAIN, 0, "F0", "S0", "l1d-fill-4k" },
    { "l1i-miss", PLAIN, 0, "L0", "F0", "l1i-fill-4k" },
    /* No fill if there is nothing to fill with: the walk faults. */
    { "stlb-load-miss", PLAIN, 0, "L48", "L48",
      "l1d-load-miss walk-faulted " WALK },
    { "stlb-store-miss", PLAIN, 0, "L48", "S48",
      "l1d-store-miss walk-faulted " WALK },
    { "stlb-fetch-miss", PLAIN, 0, "L48", "F48",
      "l1i-miss walk-faulted " WALK },

    { "l1d-fill-4k", PLAIN, 0, "F0", "L0", "l1d-load-miss" },
    { "l1d-fill-8k", BLOCK_2, 0, "F0", "L1", "l1d-load-miss" },
    { "l1d-fill-16k", BLOCK_4, 0, "F0", "L3", "l1d-load-miss" },
    { "l1d-fill-32k", BLOCK_8, 0, "F0", "L7", "l1d-load-miss" },
    { "l1d-fill-64k", BLOCK_16, 0, "F0", "L15", "l1d-load-miss" },
    { "l1d-fill-64k-hint", GROUP, 0, "F0", "L15", "l1d-load-miss" },
    { "l1d-fill-64k-leaf", LEAF, 0, "F0", "L15", "l1d-load-miss" },
    { "l1d-fill-2m", LARGE, 0, "F0", "L511", "l1d-load-miss" },
    { "l1d-fill-1g", HUGE_PAGE, 0, "F0", "L9", "l1d-load-miss" },
    { "l1i-fill-4k", PLAIN, 0, "L0", "F0", "l1i-miss" },
    { "l1i-fill-8k", BLOCK_2, 0, "L0", "F1", "l1i-miss" },
    { "l1i-fill-16k", BLOCK_4, 0, "L0", "F3", "l1i-miss" },
    { "l1i-fill-32k", BLOCK_8, 0, "L0", "F7", "l1i-miss" },
    { "l1i-fill-64k", BLOCK_16, 0, "L0", "F15", "l1i-miss" },
    { "l1i-fill-64k-hint", GROUP, 0, "L0", "F15", "l1i-miss" },
    { "l1i-fill-64k-leaf", LEAF, 0, "L0", "F15", "l1i-miss" },
    { "l1i-fill-2m", LARGE, 0, "L0", "F511", "l1i-miss" },
    { "l1i-fill-1g", HUGE_PAGE, 0, "L0", "F9", "l1i-miss" },
    /* What fills the STLB is a walk, which fills L1 too. */
    { "stlb-fill-4k", PLAIN, 0, "L0 I0", "L0", LOAD_WALKED "l1d-fill-4k" },
    { "stlb-fill-8k", BLOCK_2, 0, "L0 I1", "L0", LOAD_WALKED "l1d-fill-8k" },
    { "stlb-fill-16k", BLOCK_4, 0, "L0 I2", "L1",
      LOAD_WALKED "l1d-fill-16k" },
    { "stlb-fill-32k", BLOCK_8, 0, "L0 I4", "L3",
      LOAD_WALKED "l1d-fill-32k" },
    { "stlb-fill-64k", BLOCK_16, 0, "L0 I8", "L7",
      LOAD_WALKED "l1d-fill-64k" },
    { "stlb-fill-64k-hint", GROUP, 0, "L0 I13", "L5",
      LOAD_WALKED CHECKED "l1d-fill-64k-hint contig-well-formed" },
    { "stlb-fill-64k-leaf", LEAF, 0, "L0 I13", "L5",
      LOAD_WALKED "l1d-fill-64k-leaf" },
    { "stlb-fill-2m", LARGE, 0, "L0 I77", "L5",
      "l1d-load-miss stlb-load-miss l1d-fill-2m walk-completed "
      "walk-read-pml4 walk-read-pdpt walk-read-pd pwc-miss" },
    { "stlb-fill-1g", HUGE_PAGE, 0, "L0 I9", "L5",
      "l1d-load-miss stlb-load-miss l1d-fill-1g walk-completed "
      "walk-read-pml4 walk-read-pdpt pwc-miss" },

    /* An eviction makes room for a fill. */
    { "l1d-evict", PLAIN, 0, "F0 F1 F2 L0 L1", "L2",
      "l1d-load-miss l1d-fill-4k" },
    { "l1i-evict", PLAIN, 0, "L0 L1 L2 F0 F1", "F2", "l1i-miss l1i-fill-4k" },
    { "stlb-evict", PLAIN, 0, "L4 I4 L0 L1 L2 L3", "F4",
      "l1i-miss stlb-fetch-miss l1i-fill-4k stlb-fill-4k " WALKED },

    /* Alone: page 0 is in one level only, as the others have lost it. */
    { "l1d-flush-invlpg", PLAIN, 0, "L0 F1 F2 F3 F4", "I0", "" },
    { "l1i-flush-invlpg", PLAIN, 0, "F0 L1 L2 L3 L4", "I0", "" },
    { "stlb-flush-invlpg", PLAIN, 0, "L0 L1 L2", "I0", "" },
    { "l1d-flush-cr3", GLOBAL, 0, "L0 F1 F2 F3 F4", "C", "" },
    { "l1i-flush-cr3", GLOBAL, 0, "F0 L1 L2 L3 L4", "C", "" },
    { "stlb-flush-cr3", GLOBAL, 0, "L0 L1 L2", "C", "" },
    /* Global translations too: the guest's own are lost in any case. */
    { "l1d-flush-cr:3", PLAIN, 0, "F0 I0 L0", "P",
      "l1i-flush-cr stlb-flush-cr:3 " OWN_AGAIN },
    { "l1i-flush-cr:2", PLAIN, 0, "L0 I0 F0", "P",
      "l1d-flush-cr:2 stlb-flush-cr:3 " OWN_AGAIN },
    { "stlb-flush-cr:2", PLAIN, 0, "", "P",
      "l1d-flush-cr:2 l1i-flush-cr " OWN_AGAIN },
    { "l1d-flush-reset:3", PLAIN, 0, "L0", "R",
      "l1i-flush-reset stlb-flush-reset:3 " OWN_AT_START },
    { "l1i-flush-reset:2", PLAIN, 0, "F0", "R",
      "l1d-flush-reset:2 stlb-flush-reset:3 " OWN_AT_START },
    { "stlb-flush-reset:2", PLAIN, 0, "", "R",
      "l1d-flush-reset:2 l1i-flush-reset " OWN_AT_START },
    /* By a walk that faults, of a store to what is there to be read. */
    { "l1d-flush-fault", READ_ONLY, 0, "L0 F1 F2 F3 F4", "S0",
      STORE_FAULTED },
    { "l1i-flush-fault", READ_ONLY, 0, "F0 L1 L2 L3 L4", "S0",
      STORE_FAULTED "l1d-store-miss stlb-store-miss" },
    /* The look-up has filled L1 before. */
    { "stlb-flush-fault", READ_ONLY, 0, "F0 F1 F2", "S0",
      STORE_FAULTED "l1d-store-miss l1d-fill-4k l1d-flush-fault" },
    /* By a fill with the whole group, by another page of it. */
    { "l1d-flush-replaced", UNMARKED, 0, "L0 F32 F33 F34 F35 M", "F1",
      "l1i-miss stlb-fetch-miss " WALKED CHECKED "contig-well-formed "
      "l1i-fill-64k-hint stlb-fill-64k-hint l1i-evict stlb-evict" },
    { "l1i-flush-replaced", UNMARKED, 0, "F0 L32 L33 L34 L35 M", "L1",
      LOAD_WALKED CHECKED "contig-well-formed " FILLED_HINT
      "l1d-evict stlb-evict" },
    { "stlb-flush-replaced", UNMARKED, 0, "L0 L32 L33 M", "F1",
      "l1i-miss stlb-fetch-miss " WALKED CHECKED "contig-well-formed "
      "l1i-fill-64k-hint stlb-fill-64k-hint" },

    { "walk-completed", PLAIN, 0, "L0 I0", "L0",
      "l1d-load-miss stlb-load-miss " FILLED_4K WALK },
    { "walk-faulted", PLAIN, 0, "L48", "L48",
      "l1d-load-miss stlb-load-miss " WALK },
    /* No fills: the entry is there. */
    { "walk-dirty", CLEAN, 0, "L0", "S0", WALK },
    { "walk-rights", READ_ONLY, 0, "L0 M", "S0", WALK },
    /* Walks that end early, as nothing is there. */
    { "walk-read-pml5", PLAIN, LEVELS_5, "L68719476736", "L68719476736",
      LOAD_FAULTED },
    { "walk-read-pml4", PLAIN, 0, "L134217728", "L134217728", LOAD_FAULTED },
    { "walk-read-pdpt", PLAIN, 0, "L1310720", "L1310720",
      LOAD_FAULTED "walk-read-pml4" },
    { "walk-read-pd", PLAIN, 0, "L1024", "L1024",
      LOAD_FAULTED "walk-read-pml4 walk-read-pdpt" },
    { "walk-read-pt", PLAIN, 0, "L48", "L48",
      LOAD_FAULTED "walk-read-pml4 walk-read-pdpt walk-read-pd" },
    { "walk-read-group:15", GROUP, 0, "L0 I0", "L0",
      LOAD_WALKED FILLED_HINT "contig-well-formed" },
    { "walk-lines", PLAIN, 0, "L0", "L8", LOAD_WALKED FILLED_4K },
    { "walk-saved:3", PLAIN, WITH_PWC, "L0", "L1",
      "l1d-load-miss stlb-load-miss walk-completed walk-read-pml4 "
      "walk-read-pdpt walk-read-pd walk-read-pt pwc-hit-pde " FILLED_4K },
    { "pwc-hit-pde", PLAIN, WITH_PWC, "L0", "L1",
      "l1d-load-miss stlb-load-miss walk-completed walk-read-pml4 "
      "walk-read-pdpt walk-read-pd walk-read-pt walk-saved:3 " FILLED_4K },
    { "pwc-hit-pdpte", FAR_APART, WITH_PWC, "F512 F0", "L513",
      "l1d-load-miss stlb-load-miss walk-completed walk-read-pml4 "
      "walk-read-pdpt walk-read-pd walk-read-pt walk-saved:2 " FILLED_4K },
    { "pwc-hit-pml4e", FAR_APART, WITH_PWC, "F262144 F0", "L262145",
      "l1d-load-miss stlb-load-miss walk-completed walk-read-pml4 "
      "walk-read-pdpt walk-read-pd walk-read-pt walk-saved " FILLED_4K },
    { "pwc-miss", PLAIN, WITH_PWC, "L0 I0", "L0",
      "l1d-load-miss stlb-load-miss walk-completed walk-read-pml4 "
      "walk-read-pdpt walk-read-pd walk-read-pt " FILLED_4K },

    /* A check is part of a walk, and reads the other 15. */
    { "contig-well-formed", GROUP, 0, "L0 I15", "L9",
      LOAD_WALKED CHECKED FILLED_HINT },
    { "contig-absent", ABSENT, 0, "L0 I0", "L0",
      LOAD_WALKED CHECKED FILLED_4K },
    { "contig-unmarked", UNMARKED, 0, "L0 I0", "L0",
      LOAD_WALKED CHECKED FILLED_4K },
    { "contig-frame", FRAME, 0, "L0 I0", "L0",
      LOAD_WALKED CHECKED FILLED_4K },
    { "contig-attributes", ATTRIBUTES, 0, "L0 I0", "L0",
      LOAD_WALKED CHECKED FILLED_4K },
    { "contig-raced", IN_ROM, 0, "L0 I0", "L0",
      LOAD_WALKED CHECKED FILLED_4K },

    /* A hit, of a translation that the tables have no longer. */
    { "stale-use", PLAIN, VERIFIED, "L0 O0", "L0", "" },
};

/* Those that are not moved here, and why. */
static const struct {
    const char *counter, *why;
} elsewhere[] = {
    { "l1d-lookup", "only where every access is observed: below" },
    { "l1d-hit", "the same" },
    { "l1i-lookup", "the same" },
    { "l1i-hit", "the same" },
    { "l1d-flush-svm", "x64k-nested-test" },
    { "l1i-flush-svm", "x64k-nested-test" },
    { "stlb-flush-svm", "x64k-nested-test" },
    { "svm-bypass", "x64k-nested-test" },
    { "stale-unflushed", "takes a second and more: x64k-verify-test" },
};

/*
 * A guest for a row
 */

typedef struct Row {
    Guest *guest;
    uint64_t base;
    Tables tables;
} Row;

static void map_small(Row *r, unsigned page, uint64_t frame, uint64_t flags)
{
    guest_map_4k(r->guest, r->base + page * PAGE, TEST_PA + frame * PAGE,
                 flags | PTE_A);
}

/* Consecutive up to @together, then each changes places with its neighbour. */
static void map_pages(Row *r, unsigned together, uint64_t flags)
{
    for (unsigned page = 0; page < 48; page++) {
        map_small(r, page, page < together ? page : page ^ 1, flags);
    }
}

static void map_group(Row *r)
{
    const uint64_t last = guest_map_group(r->guest, r->base, TEST_PA,
                                          PTE_RW | PTE_A | PTE_D) + 15 * 8;
    uint64_t *pte = guest_word(r->guest, last);

    for (unsigned page = 16; page < 48; page++) {
        map_small(r, page, page ^ 1, PTE_RW | PTE_D);
    }
    *pte = r->tables == ABSENT ? 0 :
           r->tables == UNMARKED ? *pte & ~PTE_P64 :
           r->tables == FRAME ? *pte + PAGE :
           r->tables == ATTRIBUTES ? *pte | PTE_PWT : *pte;
}

static void map(Row *r)
{
    const uint64_t all = PTE_RW | PTE_A | PTE_D;
    Guest *guest = r->guest;
    uint64_t pdpt = guest->cr3 + 2 * PAGE;

    switch (r->tables) {
    case PLAIN:
        map_pages(r, 0, PTE_RW | PTE_D);
        break;
    case CLEAN:
        map_pages(r, 0, PTE_RW);
        break;
    case READ_ONLY:
        map_pages(r, 0, PTE_D);
        break;
    case GLOBAL:
        map_pages(r, 0, PTE_RW | PTE_D | PTE_G);
        map_small(r, 0, 1, PTE_RW | PTE_D);
        break;
    case BLOCK_2: case BLOCK_4: case BLOCK_8: case BLOCK_16:
        map_pages(r, 2u << (r->tables - BLOCK_2), PTE_RW | PTE_D);
        break;
    case IN_ROM: {
        uint64_t *pde;
        uint64_t pte = guest_map_4k(guest, r->base, TEST_PA, 0);

        /* The table's page is found again by what points to it. */
        for (uint64_t at = GUEST_TABLES; at < pte; at += 8) {
            pde = guest_word(guest, at);
            if (*pde == (pte | PTE_P | PTE_RW | PTE_US)) {
                *pde = GUEST_ROM_PTES | PTE_P | PTE_RW | PTE_US;
            }
        }
        break;
    }
    case LEAF:
        guest_map_64k_leaf(guest, r->base, TEST_PA, all);
        break;
    case LARGE:
        guest_map_2m(guest, r->base, TEST_PA, all);
        break;
    case HUGE_PAGE:
        r->base = BASE_1G + TEST_PA;
        *guest_word(guest, pdpt + 8) = 0 | all | PTE_P | PTE_PS;
        break;
    case FAR_APART:
        for (unsigned page = 0; page < 2; page++) {
            map_small(r, page, page ^ 1, PTE_RW | PTE_D);
            map_small(r, 512 + page, 2 + (page ^ 1), PTE_RW | PTE_D);
            map_small(r, 262144 + page, 4 + (page ^ 1), PTE_RW | PTE_D);
        }
        break;
    default:
        map_group(r);
        break;
    }
}

static void start(Row *r, unsigned with)
{
    static const SimArray one = { 1, 1 };
    const SimArray large = { 1, 2, 1u << SIM_2M };
    const SimArray huge = { 1, 4, 1u << SIM_1G };
    const bool coalesces = r->tables >= BLOCK_2 && r->tables <= BLOCK_16;
    SimGeometry geometry = {
        .arrays = {
            { { 1, 2, SIM_PAGES }, large, huge },
            { { 1, 2, SIM_PAGES }, large, huge },
            { { 1, 4, SIM_PAGES }, large, huge },
        },
        .coalesce = coalesces ? 16 : 1,
    };
    g_autofree char *json = NULL, *cpu = NULL, *path = NULL;
    g_autoptr(GError) err = NULL;
    uint64_t own;

    for (unsigned i = 0; (with & WITH_PWC) && i < SIM_PWCS; i++) {
        geometry.pwc[i] = one;
    }
    json = sim_geometry_json(&geometry);
    close(g_file_open_tmp("x64k-geometry-XXXXXX", &path, &err));
    g_assert_no_error(err);
    g_assert_true(g_file_set_contents(path, json, -1, NULL));
    cpu = g_strdup_printf(",x64k-contig=on,x64k-leaf=on,hwtlb-config=%s%s",
                          path, with & VERIFIED ? ",hwtlb-verify=on" : "");
    r->guest = guest_start(cpu, CR4_P64 | CR4_PGE |
                           (with & LEVELS_5 ? CR4_LA57 : 0));
    unlink(path);
    r->base = TEST_VA;
    map(r);
    guest_tag_frames(r->guest, TEST_PA, PAGE_2M, 0);
    /* It has made the accesses of its start by then. */
    guest_do(r->guest, OP_INVLPG, TEST_VA);
    if (r->tables == GLOBAL) {
        /* The guest's own translations stay when it writes CR3. */
        own = r->guest->cr3 + 2 * PAGE;
        *guest_word(r->guest, own) |= PTE_G;
        *guest_word(r->guest, own + 3 * 8) |= PTE_G;
        guest_do(r->guest, OP_CR3, r->guest->cr3);
    }
}

static void mark(Row *r)
{
    const uint64_t last = TEST_PA + 15 * PAGE;

    if (r->tables == UNMARKED) {
        guest_map_4k(r->guest, r->base + 15 * PAGE, last,
                     PTE_RW | PTE_A | PTE_D | PTE_P64);
    } else {
        map_small(r, 0, 1, PTE_RW | PTE_D);
    }
}

static void reset(Guest *guest)
{
    unsigned starts = guest_starts(guest);

    qtest_system_reset(guest->qts);
    while (guest_starts(guest) == starts) {
        g_usleep(100);
    }
    /* It waits for work, and so has made all the accesses of a start. */
    g_usleep(10000);
}

/* Steps, such as "L0 F12 C". */
static void steps(Row *r, const char *text)
{
    g_auto(GStrv) words = g_strsplit(text, " ", -1);

    for (char **word = words; *word && **word; word++) {
        uint64_t va = r->base + g_ascii_strtoull(*word + 1, NULL, 10) * PAGE;

        switch (**word) {
        case 'L':
            guest_do(r->guest, OP_LOAD, va);
            break;
        case 'S':
            guest_do(r->guest, OP_STORE, va + 0x800);
            break;
        case 'F':
            guest_do(r->guest, OP_FETCH, va);
            break;
        case 'I':
            guest_do(r->guest, OP_INVLPG, va);
            break;
        case 'C':
            guest_do(r->guest, OP_CR3, r->guest->cr3);
            break;
        case 'P':
            r->guest->cr4 ^= CR4_PGE;
            guest_do(r->guest, OP_CR4, r->guest->cr4);
            break;
        case 'M':
            mark(r);
            break;
        case 'O':
            guest_map_4k(r->guest, va, TEST_PA + 100 * PAGE,
                         PTE_RW | PTE_A | PTE_D);
            break;
        case 'R':
            reset(r->guest);
            break;
        default:
            g_assert_not_reached();
        }
    }
}

static int number_of(const char *counter)
{
    for (int i = 0; i < HWTLB_C__MAX; i++) {
        size_t length = strlen(guest_counter_names[i]);

        if (strncmp(guest_counter_names[i], counter, length) == 0 &&
            (!counter[length] || counter[length] == ':')) {
            return i;
        }
    }
    g_error("no counter %s", counter);
}

/* Adds "NAME" or "NAME:N" words to @expected. */
static void expect(const char *text, uint64_t *expected)
{
    g_auto(GStrv) words = g_strsplit(text, " ", -1);

    for (char **word = words; *word; word++) {
        const char *colon = strchr(*word, ':');

        if (**word) {
            expected[number_of(*word)] +=
                colon ? g_ascii_strtoull(colon + 1, NULL, 10) : 1;
        }
    }
}

static void test_row(const void *number)
{
    const unsigned n = (uintptr_t)number;
    uint64_t before[HWTLB_C__MAX], after[HWTLB_C__MAX];
    uint64_t expected[HWTLB_C__MAX] = {};
    Row r = { .tables = rows[n].tables };

    expect(rows[n].counter, expected);
    expect(rows[n].moves, expected);
    start(&r, rows[n].with);
    steps(&r, rows[n].before);
    guest_counters(r.guest, 0, before);
    steps(&r, rows[n].step);
    guest_counters(r.guest, 0, after);
    for (unsigned i = 0; i < HWTLB_C__MAX; i++) {
        if (after[i] - before[i] != expected[i]) {
            g_test_message("%s moves by %" PRIu64 ", not by %" PRIu64,
                           guest_counter_names[i], after[i] - before[i],
                           expected[i]);
            g_test_fail();
        }
    }
    guest_stop(r.guest);
}

/* Is there a row, or a reason, for each? */
static void test_all(void)
{
    bool found[HWTLB_C__MAX] = {};

    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        found[number_of(rows[i].counter)] = true;
    }
    for (unsigned i = 0; i < ARRAY_SIZE(elsewhere); i++) {
        g_assert_false(found[number_of(elsewhere[i].counter)]);
        found[number_of(elsewhere[i].counter)] = true;
    }
    for (unsigned i = 0; i < HWTLB_C__MAX; i++) {
        if (!found[i]) {
            g_error("nothing moves %s", guest_counter_names[i]);
        }
    }
}

/*
 * Look-ups and hits count where every access is observed, those of the guest
 * that waits for work too, so that it is stopped.  Nothing else moves, as all
 * that is looked up is there.
 */
static void test_lookups(void)
{
    enum { N = 1000 };
    Guest *guest = guest_start(",hwtlb=skylake,hwtlb-observe=every", 0);
    uint64_t before[HWTLB_C__MAX], after[HWTLB_C__MAX];
    GuestCommand commands[N];
    GuestLog log[N];

    guest_map_4k(guest, TEST_VA, TEST_PA, PTE_RW);
    for (unsigned i = 0; i < N; i++) {
        commands[i] = (GuestCommand) { OP_LOAD, 0, TEST_VA };
    }
    guest_run(guest, commands, N, log);
    qtest_qmp_assert_success(guest->qts, "{ 'execute': 'stop' }");
    guest_counters(guest, 0, before);
    qtest_qmp_assert_success(guest->qts, "{ 'execute': 'cont' }");
    guest_run(guest, commands, N, log);
    qtest_qmp_assert_success(guest->qts, "{ 'execute': 'stop' }");
    guest_counters(guest, 0, after);
    for (unsigned i = 0; i < HWTLB_C__MAX; i++) {
        uint64_t moved = after[i] - before[i];

        switch (i) {
        case HWTLB_C_L1D_LOOKUP:
            /* Two loads of the script, one of the page, two of the log... */
            g_assert_cmpuint(moved, >=, 5 * N);
            break;
        case HWTLB_C_L1I_LOOKUP:
            g_assert_cmpuint(moved, >=, 10 * N);
            break;
        case HWTLB_C_L1D_HIT:
        case HWTLB_C_L1I_HIT:
            g_assert_cmpuint(moved, ==, after[i - 1] - before[i - 1]);
            break;
        default:
            g_assert_cmpuint(moved, ==, 0);
            break;
        }
    }
    guest_stop(guest);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("counters/all", test_all);
    for (uintptr_t n = 0; n < ARRAY_SIZE(rows); n++) {
        g_autofree char *name = g_strndup(rows[n].counter,
                                          strcspn(rows[n].counter, ":"));
        g_autofree char *path = g_strdup_printf("counters/%s", name);

        qtest_add_data_func(path, (void *)n, test_row);
    }
    qtest_add_func("counters/lookups", test_lookups);
    return g_test_run();
}
