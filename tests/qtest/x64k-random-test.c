/*
 * The MMU under random, racing and hostile software
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * X64K_SEED=N repeats a run of the random tests; X64K_ROUNDS=N makes them
 * longer or shorter.
 */
#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/cutils.h"
#include "x64k-guest.h"
#include "x64k-oracle.h"

#define BOTH            ",x64k-contig=on,x64k-leaf=on"
#define MODEL           BOTH ",hwtlb=skylake"

#define TABLES          UINT64_C(0x2c00000)
#define FRAMES          UINT64_C(0x5400000)
#define FRAMES_SIZE     (4 * PAGE_2M)
#define CODE_AT         0x120
#define STORE_AT        0x200

static bool in_frames(uint64_t pa)
{
    return pa - FRAMES < FRAMES_SIZE;
}

static uint64_t seed;

static unsigned rounds(unsigned usual)
{
    const char *text = g_getenv("X64K_ROUNDS");
    unsigned value = usual;

    g_assert_true(!text || qemu_strtoui(text, NULL, 0, &value) == 0);
    return value;
}

/*
 * Random tables
 * =============
 *
 * A pool of pages, each of which may be a table of any level, for several
 * parents at once and for itself.  Software follows the rules of
 * invalidation, so that the oracle, which knows no TLB, must be right.
 */
#define POOL            20
#define ACCESSES        64              /* per round */

typedef struct Seen {
    OracleAccess what;
    OracleResult result;
} Seen;

typedef struct Random {
    OracleMemory memory;
    uint64_t after[POOL * PAGE / 8];
    Guest *guest;
    GRand *rand;
    OracleCpu cpu;
    bool contig_fault;
    GArray *seen;               /* what the TLB may know, since a flush */
    GArray *targets;            /* addresses that were invalidated */
    bool flush;                 /* all, before the next access */
    GArray *script;
    uint64_t cases, invlpgs;
} Random;

static uint32_t below(Random *r, uint32_t n)
{
    return g_rand_int(r->rand) % n;
}

static bool chance(Random *r, unsigned percent)
{
    return below(r, 100) < percent;
}

static uint64_t *word_of_oracle(OracleMemory *memory, uint64_t pa)
{
    Random *r = container_of(memory, Random, memory);

    return pa - TABLES < POOL * PAGE ? &r->after[(pa - TABLES) / 8] : NULL;
}

/* The entries that walks use: a few of each table, and three groups. */
static const unsigned upper_index[] = { 1, 7, 300, 511 };
static const unsigned group_index[] = { 0, 5, 31 };

static uint64_t random_flags(Random *r)
{
    uint64_t flags = PTE_P | PTE_RW | PTE_US;
    static const uint64_t rare[] = {
        PTE_P, PTE_RW, PTE_US, PTE_NX, PTE_PWT, PTE_PCD, PTE_KEY(1),
        PTE_KEY(8), PTE_P64, 1ull << 9, 1ull << 58, 1ull << 40, 1ull << 51,
    };

    if (chance(r, 40)) {
        flags ^= rare[below(r, ARRAY_SIZE(rare))];
    }
    return flags | (chance(r, 30) ? PTE_A : 0) | (chance(r, 20) ? PTE_D : 0);
}

static uint64_t random_table(Random *r)
{
    return TABLES + (1 + below(r, POOL - 1)) * PAGE;
}

static uint64_t random_upper(Random *r)
{
    if (chance(r, 15)) {
        return (FRAMES + below(r, 4) * PAGE_2M) | PTE_PS | random_flags(r);
    }
    if (chance(r, 40)) {
        return (random_table(r) + below(r, 16) * 256) | PTE_P64 |
               (random_flags(r) & ~PTE_D & ~(PTE_D - 1)) | PTE_P | PTE_RW |
               PTE_US;
    }
    return random_table(r) | random_flags(r);
}

static uint64_t random_leaf(Random *r)
{
    uint64_t frame = FRAMES + below(r, FRAMES_SIZE / PAGE_64K) * PAGE_64K;

    if (chance(r, 20)) {
        frame += below(r, 16) * PAGE;
    }
    return frame | random_flags(r) | (chance(r, 20) ? PTE_P64 : 0);
}

static void random_group(Random *r, uint64_t *pte)
{
    uint64_t first = FRAMES + below(r, FRAMES_SIZE / PAGE_64K) * PAGE_64K;
    uint64_t flags = (random_flags(r) | PTE_P64) & ~(PTE_A | PTE_D);
    bool mixed = chance(r, 50);

    for (int k = 0; k < 16; k++) {
        pte[k] = (first + k * PAGE) | flags;
        if (mixed) {
            pte[k] |= (chance(r, 50) ? PTE_A : 0) |
                      (chance(r, 50) ? PTE_D : 0) |
                      (chance(r, 50) ? 1ull << 10 : 0);
        }
    }
    while (chance(r, 35)) {
        pte[below(r, 16)] = random_leaf(r);
    }
}

static void random_page(Random *r, uint64_t *page)
{
    /* Entries that may be those of leaf tables, one in each 256 bytes. */
    for (int i = 0; i < 16; i++) {
        for (int j = 0; j < ARRAY_SIZE(group_index); j++) {
            page[i * 32 + group_index[j]] = random_leaf(r) & ~PTE_P64;
        }
    }
    for (int j = 0; j < ARRAY_SIZE(group_index); j++) {
        if (chance(r, 80)) {
            random_group(r, page + group_index[j] * 16);
        }
    }
    for (int j = 0; j < ARRAY_SIZE(upper_index); j++) {
        if (chance(r, 90)) {
            page[upper_index[j]] = random_upper(r);
        }
    }
}

/* The root has the guest's own entry, and leads to tables only. */
static void random_pool(Random *r)
{
    uint64_t *root = guest_word(r->guest, TABLES);
    uint64_t *own = guest_word(r->guest, r->guest->cr3);

    memset(root, 0, POOL * PAGE);
    root[0] = own[0];
    for (int j = 0; j < ARRAY_SIZE(upper_index); j++) {
        root[upper_index[j]] = random_table(r) | random_flags(r);
    }
    for (int i = 1; i < POOL; i++) {
        random_page(r, root + i * PAGE / 8);
    }
    r->flush = true;
}

static uint64_t random_va(Random *r)
{
    uint64_t va = 0;
    int top = r->cpu.la57 ? 5 : 4;

    for (int level = top; level >= 2; level--) {
        va |= (uint64_t)upper_index[below(r, ARRAY_SIZE(upper_index))] <<
              (12 + 9 * (level - 1));
    }
    va |= (uint64_t)group_index[below(r, ARRAY_SIZE(group_index))] << 16 |
          (uint64_t)below(r, 16) << 12;
    return (int64_t)(va << (64 - 12 - 9 * top)) >> (64 - 12 - 9 * top);
}

static void add(Random *r, uint32_t op, int32_t immediate, uint64_t operand)
{
    GuestCommand command = { op, immediate, operand };

    g_array_append_val(r->script, command);
}

/* Everything that decides anew, and no translation of before. */
static void random_control(Random *r)
{
    OracleCpu *c = &r->cpu;
    uint64_t cr4;

    if (chance(r, 30)) {
        c->wp = chance(r, 70);
        c->smep = chance(r, 30);
        c->smap = chance(r, 30);
        c->nxe = chance(r, 80);
        c->pke = chance(r, 30);
        c->pks = chance(r, 30);
        c->pkru = chance(r, 50) ? g_rand_int(r->rand) : 0;
        c->pkrs = chance(r, 50) ? g_rand_int(r->rand) >> 2 : 0;
        c->hint = c->leaf = chance(r, 90);
    }
    cr4 = CR4_PAE | (c->smep ? CR4_SMEP : 0) | (c->smap ? CR4_SMAP : 0) |
          (c->pke ? CR4_PKE : 0) | (c->pks ? CR4_PKS : 0) |
          (c->hint ? CR4_P64 : 0) | (c->la57 ? CR4_LA57 : 0);
    add(r, OP_WRMSR, MSR_EFER, EFER_LME | (c->nxe ? EFER_NXE : 0));
    add(r, OP_CR0, 0, CR0_PG | CR0_ET | CR0_PE | (c->wp ? CR0_WP : 0));
    add(r, OP_CR4, 0, cr4 ^ CR4_PGE);
    add(r, OP_CR4, 0, cr4);
    if (c->pke) {
        add(r, OP_WRPKRU, 0, c->pkru);
    }
    if (c->pks) {
        add(r, OP_WRMSR, MSR_PKRS, c->pkrs);
    }
}

static void random_flush(Random *r)
{
    add(r, OP_CR3, 0, r->cpu.cr3);
    g_array_set_size(r->seen, 0);
    r->flush = false;
}

/* Is there an INVLPG of the 64 KB around @va, from command @start on? */
static bool is_invalidated(Random *r, uint64_t va, unsigned start)
{
    for (unsigned i = start; i < r->script->len; i++) {
        if (g_array_index(r->script, GuestCommand, i).operand / PAGE_64K ==
            va / PAGE_64K) {
            return true;
        }
    }
    return false;
}

/*
 * What is to be invalidated after a change of the words @pa to @pa + @size.
 * A 64 KB translation goes by any of its pages, others by their own.  As a
 * group that is or was ill formed may be held by pages, all 16 are needed.
 */
static void invalidate(Random *r, uint64_t pa, unsigned size)
{
    const unsigned start = r->script->len;

    for (unsigned i = 0; i < r->seen->len; i++) {
        Seen *seen = &g_array_index(r->seen, Seen, i);
        const OracleResult *e = &seen->result;
        int leaf = e->last_level;

        for (int level = leaf; level <= 5; level++) {
            bool read = e->entry_pa[level] - pa < size;

            if (read && level > 1) {
                /* Of a table: too many pages to name. */
                r->flush = true;
                return;
            }
        }
        if (leaf != 1 || e->entry_pa[1] / 128 != pa / 128 ||
            (e->size == PAGE_64K && e->group == ORACLE_NO_GROUP &&
             e->entry_pa[1] - pa >= size)) {
            continue;
        }
        g_array_append_val(r->targets, seen->what.va);
        if (e->size < PAGE_64K) {
            add(r, OP_INVLPG, 0, seen->what.va);
            r->invlpgs++;
        } else if (!is_invalidated(r, seen->what.va, start)) {
            add(r, OP_INVLPG, 0, (seen->what.va & ~(PAGE_64K - 1)) |
                (below(r, 16) * PAGE + 8));
            r->invlpgs++;
        }
    }
}

/* Forgets what @invalidate has dropped. */
static void forget(Random *r, uint64_t pa)
{
    for (unsigned i = 0; i < r->seen->len; ) {
        Seen *seen = &g_array_index(r->seen, Seen, i);

        if (seen->result.last_level == 1 &&
            seen->result.entry_pa[1] / 128 == pa / 128 &&
            !(seen->result.size == PAGE_64K &&
              seen->result.group == ORACLE_NO_GROUP)) {
            g_array_remove_index_fast(r->seen, i);
        } else {
            i++;
        }
    }
}

static void random_edit(Random *r)
{
    unsigned page = 1 + below(r, POOL - 1);
    uint64_t pa = TABLES + page * PAGE;
    unsigned what = below(r, 10), size = 8;
    uint64_t *word;

    if (what == 0) {
        pa += upper_index[below(r, ARRAY_SIZE(upper_index))] * 8;
        *guest_word(r->guest, pa) = random_upper(r);
    } else if (what < 4) {
        pa += group_index[below(r, ARRAY_SIZE(group_index))] * 128;
        size = 128;
        random_group(r, guest_word(r->guest, pa));
    } else {
        if (what < 6) {
            pa += below(r, 16) * 256 +
                  group_index[below(r, ARRAY_SIZE(group_index))] * 8;
        } else {
            pa += group_index[below(r, ARRAY_SIZE(group_index))] * 128 +
                  below(r, 16) * 8;
        }
        word = guest_word(r->guest, pa);
        switch (below(r, 5)) {
        case 0:
            *word = random_leaf(r);
            break;
        case 1:
            *word ^= PTE_P;
            break;
        case 2:
            *word ^= PTE_RW;
            break;
        case 3:
            *word &= ~(PTE_A | PTE_D);
            break;
        default:
            *word ^= PTE_P64;
            break;
        }
    }
    invalidate(r, pa, size);
    if (!r->flush) {
        forget(r, pa);
    }
}

static void random_fail(Random *r, const Seen *seen, const GuestLog *log,
                        unsigned round)
{
    const OracleAccess *what = &seen->what;
    static const uint32_t ops[] = { OP_LOAD, OP_STORE, OP_FETCH };
    GuestCommand again[2] = {
        { OP_CR3, 0, r->cpu.cr3 },
        { ops[what->kind] | (what->user ? OP_USER : 0) |
          (what->ac ? OP_AC : 0), 0, what->va },
    };
    GuestLog logs[2];

    printf("# X64K_SEED=%" PRIu64 ", round %u: the guest and the oracle "
           "differ about\n", seed, round);
    oracle_print(&r->cpu, what, &seen->result);
    printf("# got: vector %d, error code 0x%x, CR2 0x%" PRIx64 ", value 0x%"
           PRIx64 "\n", (int)log->vector, (unsigned)log->error_code, log->cr2,
           log->value);
    guest_run(r->guest, again, 2, logs);
    printf("# again, after all else and a flush: vector %d, error code 0x%x, "
           "CR2 0x%" PRIx64 ", value 0x%" PRIx64 "\n", (int)logs[1].vector,
           (unsigned)logs[1].error_code, logs[1].cr2, logs[1].value);
    fflush(stdout);
    g_test_fail();
    exit(1);
}

static void random_round(Random *r, unsigned round)
{
    static const uint32_t ops[] = { OP_LOAD, OP_STORE, OP_FETCH };
    Seen done[ACCESSES];
    unsigned n = 0, first;
    g_autofree GuestLog *log = NULL;

    g_array_set_size(r->script, 0);
    g_array_set_size(r->targets, 0);
    if (round % 64 == 0) {
        random_pool(r);
    } else {
        for (int i = below(r, 6); i > 0 && !r->flush; i--) {
            random_edit(r);
        }
    }
    if (chance(r, 10) || round % 64 == 0) {
        random_control(r);
        r->flush = true;
    }
    if (r->flush || chance(r, 5)) {
        random_flush(r);
    }
    first = r->script->len;
    memcpy(r->after, r->guest->ram + TABLES, sizeof(r->after));
    for (unsigned i = 0; i < ACCESSES; i++) {
        Seen *seen = &done[n];
        OracleAccess *what = &seen->what;
        OracleResult dry;

        *what = (OracleAccess) {
            random_va(r), below(r, 3), chance(r, 50), chance(r, 30)
        };
        if (r->targets->len && chance(r, 50)) {
            what->va = g_array_index(r->targets, uint64_t,
                                     below(r, r->targets->len)) & ~(PAGE - 1);
        }
        what->va += what->kind == ORACLE_WRITE ? STORE_AT + n * 8 : CODE_AT;
        r->memory.frozen = true;
        dry = oracle_access(&r->cpu, &r->memory, what);
        r->memory.frozen = false;
        if (!dry.fault && !in_frames(dry.pa)) {
            continue;
        }
        seen->result = oracle_access(&r->cpu, &r->memory, what);
        add(r, ops[what->kind] | (what->user ? OP_USER : 0) |
            (what->ac ? OP_AC : 0), 0, what->va);
        n++;
    }
    log = g_new(GuestLog, r->script->len);
    guest_run(r->guest, (GuestCommand *)r->script->data, r->script->len, log);
    for (unsigned i = 0; i < first; i++) {
        g_assert_cmphex(log[i].vector, ==, NO_FAULT);
    }
    for (unsigned i = 0; i < n; i++) {
        const OracleResult *e = &done[i].result;
        const GuestLog *l = &log[first + i];
        bool same;

        if (e->fault) {
            same = l->vector == e->vector && l->error_code == e->error_code &&
                   l->cr2 == e->cr2;
        } else if (done[i].what.kind == ORACLE_WRITE) {
            same = l->vector == NO_FAULT &&
                   *guest_word(r->guest, e->pa) == done[i].what.va;
            *guest_word(r->guest, e->pa) = 0;
        } else {
            same = l->vector == NO_FAULT &&
                   l->value == (done[i].what.kind == ORACLE_READ ?
                                guest_tag(e->pa) : e->pa / PAGE);
        }
        if (!same) {
            random_fail(r, &done[i], l, round);
        }
        /* A fault leaves nothing in the TLB. */
        if (!e->fault) {
            g_array_append_val(r->seen, done[i]);
        }
    }
    for (unsigned i = 0; i < POOL * PAGE / 8; i++) {
        uint64_t got = *guest_word(r->guest, TABLES + i * 8);

        if (got != r->after[i]) {
            printf("# X64K_SEED=%" PRIu64 ", round %u: the entry at 0x%"
                   PRIx64 " is 0x%" PRIx64 ", not 0x%" PRIx64 ", after\n",
                   seed, round, TABLES + i * 8, got, r->after[i]);
            for (unsigned j = 0; j < n; j++) {
                for (int level = 1; level <= 5; level++) {
                    if (done[j].result.entry_pa[level] / 128 ==
                        (TABLES + i * 8) / 128) {
                        oracle_print(&r->cpu, &done[j].what, &done[j].result);
                        break;
                    }
                }
            }
            fflush(stdout);
            g_test_fail();
            exit(1);
        }
    }
    r->cases += n;
}

typedef struct RandomConfig {
    const char *name, *properties;
    uint64_t cr4;
    bool contig_fault;
} RandomConfig;

static void test_random(gconstpointer data)
{
    const RandomConfig *config = data;
    Random *r = g_new0(Random, 1);
    gint64 start = g_get_monotonic_time();

    r->guest = guest_start(config->properties, config->cr4);
    guest_tag_frames(r->guest, FRAMES, FRAMES_SIZE, CODE_AT);
    r->rand = g_rand_new_with_seed(seed);
    r->seen = g_array_new(false, false, sizeof(Seen));
    r->script = g_array_new(false, false, sizeof(GuestCommand));
    r->targets = g_array_new(false, false, sizeof(uint64_t));
    r->memory.word = word_of_oracle;
    r->cpu = (OracleCpu) {
        .cr3 = TABLES, .la57 = config->cr4 & CR4_LA57, .wp = true,
        .nxe = true, .hint = true, .leaf = true, .phys_bits = 40,
        .ill_formed_faults = config->contig_fault,
    };
    for (unsigned round = 0; round < rounds(10000); round++) {
        random_round(r, round);
    }
    g_test_message("X64K_SEED=%" PRIu64 ": %" PRIu64 " accesses, %" PRIu64
                   " INVLPG, in %.1f s", seed, r->cases, r->invlpgs,
                   (g_get_monotonic_time() - start) / 1e6);
    guest_stop(r->guest);
    g_array_unref(r->seen);
    g_array_unref(r->script);
    g_array_unref(r->targets);
    g_rand_free(r->rand);
    g_free(r);
}

/*
 * Races
 * =====
 *
 * Two vCPUs run scripts; this program is the third CPU, which edits the page
 * tables that they walk.  An edit is known to have reached a CPU when an
 * INVLPG that it began later is done, which its log tells.
 */
#define CPUS            2
#define LENGTH          100000          /* commands of a script */
#define EDITS           (rounds(10000) / 10)    /* that are enough */
#define ENOUGH_TIME     (4 * G_USEC_PER_SEC)
#define CYCLE           4               /* commands, of which 0 is INVLPG */

typedef struct Race {
    Guest *guest;
    GRand *rand;
    GuestCommand script[CPUS][LENGTH];
    unsigned progress[CPUS];            /* commands that are done */
} Race;

static Race *race_start(const char *properties)
{
    Race *race = g_new0(Race, 1);

    race->guest = guest_start_with(properties, CR4_P64, CPUS, "");
    race->rand = g_rand_new_with_seed(seed);
    return race;
}

static void race_stop(Race *race)
{
    guest_stop(race->guest);
    g_rand_free(race->rand);
    g_free(race);
}

static void race_begin(Race *race)
{
    for (int cpu = 0; cpu < CPUS; cpu++) {
        race->progress[cpu] = 0;
        guest_begin(race->guest, cpu, race->script[cpu], LENGTH);
    }
}

static unsigned race_progress(Race *race, int cpu)
{
    while (race->progress[cpu] < LENGTH &&
           guest_has_logged(race->guest, cpu, race->progress[cpu])) {
        race->progress[cpu]++;
    }
    return race->progress[cpu];
}

/* Is there enough of all scripts left for an edit? */
static bool race_goes_on(Race *race)
{
    bool on = true;

    for (int cpu = 0; cpu < CPUS; cpu++) {
        on = race_progress(race, cpu) < LENGTH - 16 * CYCLE && on;
    }
    return on;
}

/* Waits until all CPUs have done @commands more; false: a script has ended. */
static bool race_wait(Race *race, unsigned commands, uint64_t *zero)
{
    gint64 deadline = g_get_monotonic_time() + 60 * G_USEC_PER_SEC;

    for (int cpu = 0; cpu < CPUS; cpu++) {
        unsigned until = race_progress(race, cpu) + commands;

        if (until >= LENGTH) {
            return false;
        }
        while (race_progress(race, cpu) < until) {
            if (zero) {
                g_assert_cmphex(qatomic_read(zero), ==, 0);
            }
            g_assert_cmpint(g_get_monotonic_time(), <, deadline);
            g_thread_yield();
        }
    }
    return true;
}

/*
 * An edit has been made: waits until it has reached all CPUs.  @from: the
 * first command of each that must have seen it.
 */
static bool race_shootdown(Race *race, unsigned from[CPUS], uint64_t *zero)
{
    for (int cpu = 0; cpu < CPUS; cpu++) {
        /* The command that is under way may have begun before. */
        from[cpu] = ROUND_UP(race_progress(race, cpu) + 1, CYCLE) + 1;
    }
    for (int cpu = 0; cpu < CPUS; cpu++) {
        gint64 deadline = g_get_monotonic_time() + 60 * G_USEC_PER_SEC;

        while (race_progress(race, cpu) < from[cpu]) {
            if (zero) {
                g_assert_cmphex(qatomic_read(zero), ==, 0);
            }
            if (race_progress(race, cpu) == LENGTH) {
                return false;
            }
            g_assert_cmpint(g_get_monotonic_time(), <, deadline);
            g_thread_yield();
        }
    }
    return true;
}

/* Waits for the ends of all scripts, and sees to it that no TLB has @pte. */
static void race_end(Race *race, uint64_t *pte, uint64_t value)
{
    const GuestCommand flush = { OP_CR3, 0, race->guest->cr3 };

    for (int cpu = 0; cpu < CPUS; cpu++) {
        guest_wait(race->guest, cpu);
    }
    *pte = value;
    for (int cpu = 0; cpu < CPUS; cpu++) {
        guest_begin(race->guest, cpu, &flush, 1);
        guest_wait(race->guest, cpu);
    }
}

/* Some time, short enough to hit walks in their midst. */
static void dither(Race *race)
{
    for (int i = g_rand_int_range(race->rand, 0, 3000); i > 0; i--) {
        barrier();
    }
}

static void short_dither(Race *race)
{
    for (int i = g_rand_int_range(race->rand, 0, 30); i > 0; i--) {
        barrier();
    }
}

/* Edits that are made in a row. */
#define BURST           2000

/*
 * Walks set A and D in the same groups that both guests and this program
 * edit, each its own bit, and clear A and D in: no edit may be lost.
 */
static void test_race_updates(gconstpointer properties)
{
    enum { GROUPS = 4, PTES = GROUPS * 16 };
    const uint64_t first_bit = 1 << 9, host_bit = 1 << 11;
    Race *race = race_start(properties);
    Guest *guest = race->guest;
    uint64_t plain[PTES], pte0 = 0, edits = 0;
    uint64_t *pte;

    for (int g = GROUPS - 1; g >= 0; g--) {
        pte0 = guest_map_group(guest, TEST_VA + g * PAGE_64K,
                               TEST_PA + g * PAGE_64K, PTE_RW);
    }
    pte = guest_word(guest, pte0);
    memcpy(plain, pte, sizeof(plain));

    for (unsigned round = 0; round < MAX(rounds(10000) / 5000, 1); round++) {
        for (int cpu = 0; cpu < CPUS; cpu++) {
            uint64_t bit = first_bit << cpu;

            for (int i = 0; i < LENGTH; i++) {
                unsigned n = g_rand_int_range(race->rand, 0, PTES);
                uint64_t va = TEST_VA + n * PAGE;
                GuestCommand *c = &race->script[cpu][i];

                switch (g_rand_int_range(race->rand, 0, 8)) {
                case 0:
                case 1:
                case 2:
                    *c = (GuestCommand) { OP_INVLPG, 0, va };
                    break;
                case 3:
                    *c = (GuestCommand) { OP_LOAD, 0, va };
                    break;
                case 4:
                    *c = (GuestCommand) { OP_STORE, 0, va };
                    break;
                case 5:
                    *c = (GuestCommand) {
                        OP_AND, ~(int)(PTE_A | PTE_D), pte0 + n * 8
                    };
                    break;
                case 6:
                    *c = (GuestCommand) { OP_OR, bit, pte0 + n * 8 };
                    plain[n] |= bit;
                    break;
                case 7:
                    *c = (GuestCommand) { OP_AND, ~bit, pte0 + n * 8 };
                    plain[n] &= ~bit;
                    break;
                }
            }
        }
        race_begin(race);
        while (race_goes_on(race)) {
            unsigned n = g_rand_int_range(race->rand, 0, PTES);
            uint64_t others = PTE_A | PTE_D | first_bit | first_bit << 1;
            uint64_t old;

            if (edits % 2) {
                old = qatomic_fetch_and(&pte[n], ~(PTE_A | PTE_D));
            } else {
                old = qatomic_fetch_xor(&pte[n], host_bit);
            }
            g_assert_cmphex(old & ~others, ==, plain[n] & ~others);
            if (edits % 2 == 0) {
                plain[n] ^= host_bit;
            }
            edits++;
        }
        for (int cpu = 0; cpu < CPUS; cpu++) {
            guest_wait(guest, cpu);
        }
        for (int cpu = 0; cpu < CPUS; cpu++) {
            for (int i = 0; i < LENGTH; i++) {
                g_assert_cmphex(guest_log(guest, cpu)[i].vector, ==,
                                NO_FAULT);
            }
        }
        for (int n = 0; n < PTES; n++) {
            g_assert_cmphex(pte[n] & ~(PTE_A | PTE_D), ==, plain[n]);
        }
    }
    for (int g = 0; g < GROUPS; g++) {
        guest_do(guest, OP_INVLPG, TEST_VA + g * PAGE_64K);
        guest_do(guest, OP_STORE, TEST_VA + g * PAGE_64K);
    }
    for (int n = 0; n < PTES; n++) {
        g_assert_cmphex(pte[n], ==, plain[n] | PTE_A | PTE_D);
    }
    g_test_message("X64K_SEED=%" PRIu64 ": %" PRIu64 " edits", seed, edits);
    race_stop(race);
}

/* A script of cycles: INVLPG of page @k, then accesses of it and of others. */
static void fill_cycles(Race *race, int k, uint32_t op, unsigned offset)
{
    for (int cpu = 0; cpu < CPUS; cpu++) {
        uint64_t va = TEST_VA + offset + (op == OP_STORE ? 8 * cpu : 0);

        for (int i = 0; i < LENGTH; i++) {
            int page = i % CYCLE == 2 ? g_rand_int_range(race->rand, 0, 16)
                                      : k;

            race->script[cpu][i] = (GuestCommand) {
                i % CYCLE ? i % CYCLE == 3 ? OP_LOAD : op : OP_INVLPG, 0,
                va + page * PAGE
            };
        }
    }
}

/*
 * Software takes a PTE out of a group as kernels do, by an exchange with 0:
 * no walk may write to it any more, and after the shootdown no store may get
 * through; nor at all, if it had not been marked dirty.
 */
static void test_race_clear(gconstpointer properties)
{
    Race *race = race_start(properties);
    Guest *guest = race->guest;
    uint64_t pte0 = guest_map_group(guest, TEST_VA, TEST_PA, PTE_RW);
    uint64_t *pte = guest_word(guest, pte0);
    uint64_t edits = 0, clean = 0;
    gint64 end = g_get_monotonic_time() + ENOUGH_TIME;

    for (int k = 0; edits < EDITS && g_get_monotonic_time() < end;
         k = (k + 1) % 16) {
        uint64_t plain = (TEST_PA + k * PAGE) | PTE_P | PTE_RW | PTE_P64;
        uint64_t *stored = guest_word(guest, TEST_PA + k * PAGE + STORE_AT);

        fill_cycles(race, k, OP_STORE, STORE_AT);
        race_begin(race);
        while (race_goes_on(race)) {
            unsigned from[CPUS];
            uint64_t old;

            /* Without a shootdown, only that it stays 0 can be said. */
            for (int i = 0; i < BURST; i++) {
                short_dither(race);
                old = qatomic_xchg(&pte[k], 0);
                g_assert_cmphex(old & ~(PTE_A | PTE_D), ==, plain);
                for (int j = 0; j < 50; j++) {
                    g_assert_cmphex(qatomic_read(&pte[k]), ==, 0);
                }
                qatomic_set(&pte[k], plain);
            }
            qatomic_set(&pte[k], 0);
            if (!race_shootdown(race, from, &pte[k])) {
                break;
            }
            stored[0] = stored[1] = 0;
            qatomic_set(&pte[k], plain | (edits % 3 ? PTE_A : 0));
            dither(race);
            if (edits % 2 && !race_wait(race, CYCLE, NULL)) {
                break;
            }
            old = qatomic_xchg(&pte[k], 0);
            g_assert_cmphex(old & ~(PTE_A | PTE_D), ==, plain);
            if (!race_shootdown(race, from, &pte[k])) {
                break;
            }
            if (!(old & PTE_D)) {
                clean++;
                g_assert_cmphex(stored[0], ==, 0);
                g_assert_cmphex(stored[1], ==, 0);
            }
            stored[0] = stored[1] = 0;
            if (!race_wait(race, 2 * CYCLE, &pte[k])) {
                break;
            }
            g_assert_cmphex(stored[0], ==, 0);
            g_assert_cmphex(stored[1], ==, 0);
            for (int cpu = 0; cpu < CPUS; cpu++) {
                const GuestLog *log = guest_log(guest, cpu);

                for (unsigned i = from[cpu]; i < race->progress[cpu]; i++) {
                    const GuestCommand *c = &race->script[cpu][i];
                    bool absent = c->op != OP_INVLPG &&
                                  (c->operand & ~(PAGE - 1)) ==
                                  TEST_VA + k * PAGE;

                    g_assert_cmphex(log[i].vector, ==,
                                    absent ? 14 : NO_FAULT);
                    g_assert_cmphex(log[i].error_code, ==,
                                    absent && c->op == OP_STORE ? PF_W : 0);
                }
            }
            edits++;
            qatomic_set(&pte[k], plain);
        }
        race_end(race, &pte[k], plain);
    }
    g_test_message("X64K_SEED=%" PRIu64 ": %" PRIu64 " PTEs taken, %" PRIu64
                   " of them clean", seed, edits, clean);
    g_assert_cmpuint(edits, >, 0);
    race_stop(race);
}

/*
 * One PTE of a group keeps moving to another frame and back.  After the
 * shootdown it leads there, and the others stay where they are.
 */
static void test_race_flip(gconstpointer properties)
{
    Race *race = race_start(properties);
    Guest *guest = race->guest;
    uint64_t pte0 = guest_map_group(guest, TEST_VA, TEST_PA, PTE_RW);
    uint64_t *pte = guest_word(guest, pte0);
    uint64_t edits = 0;
    gint64 end = g_get_monotonic_time() + ENOUGH_TIME;

    guest_tag_frames(guest, TEST_PA, 2 * PAGE_64K, CODE_AT);
    for (int k = 0; edits < EDITS && g_get_monotonic_time() < end;
         k = (k + 1) % 16) {
        uint64_t frame = TEST_PA + k * PAGE;

        fill_cycles(race, k, OP_LOAD, CODE_AT);
        race_begin(race);
        while (race_goes_on(race)) {
            unsigned from[CPUS];
            uint64_t old, now;

            /* Without a shootdown: the others must stay where they are. */
            for (int i = 0; i < BURST; i++) {
                qatomic_set(&pte[k], (frame ^ (i % 2 ? 0 : PAGE_64K)) |
                                     PTE_P | PTE_RW | PTE_P64);
                short_dither(race);
            }
            frame ^= PAGE_64K;
            now = frame | PTE_P | PTE_RW;
            if (frame - TEST_PA < PAGE_64K || edits % 3) {
                now |= PTE_P64;
            }
            dither(race);
            old = qatomic_xchg(&pte[k], now);
            g_assert_cmphex(old & 0xffffffff000ull, ==, frame ^ PAGE_64K);
            if (!race_shootdown(race, from, NULL) ||
                !race_wait(race, 2 * CYCLE, NULL)) {
                break;
            }
            for (int cpu = 0; cpu < CPUS; cpu++) {
                const GuestLog *log = guest_log(guest, cpu);

                for (unsigned i = from[cpu]; i < race->progress[cpu]; i++) {
                    const GuestCommand *c = &race->script[cpu][i];
                    uint64_t page = (c->operand - TEST_VA) / PAGE;

                    g_assert_cmphex(log[i].vector, ==, NO_FAULT);
                    if (c->op == OP_LOAD) {
                        g_assert_cmphex(log[i].value, ==, guest_tag(
                                        page == k ? frame :
                                        TEST_PA + page * PAGE));
                    }
                }
            }
            edits++;
        }
        for (int cpu = 0; cpu < CPUS; cpu++) {
            guest_wait(guest, cpu);
            for (int i = 0; i < LENGTH; i++) {
                const GuestCommand *c = &race->script[cpu][i];
                const GuestLog *log = &guest_log(guest, cpu)[i];
                uint64_t page = (c->operand - TEST_VA) / PAGE;

                g_assert_cmphex(log->vector, ==, NO_FAULT);
                if (c->op == OP_LOAD && page != k) {
                    g_assert_cmphex(log->value, ==,
                                    guest_tag(TEST_PA + page * PAGE));
                }
            }
        }
        race_end(race, &pte[k],
                 (TEST_PA + k * PAGE) | PTE_P | PTE_RW | PTE_P64);
    }
    g_test_message("X64K_SEED=%" PRIu64 ": %" PRIu64 " moves", seed, edits);
    g_assert_cmpuint(edits, >, 0);
    race_stop(race);
}

/*
 * Hostile software
 * ================
 *
 * Whatever page tables say and wherever they are, QEMU goes on: each script
 * ends, or the guest is reset, or was spoilt by its own stores and comes back
 * by a reset from outside.
 */
static const uint64_t places[] = {
    0xa0000,                    /* VGA window */
    0xf0000, GUEST_ROM_PTES, GUEST_ROM_PTES + PAGE, /* ROM */
    0xfec00000, 0xfed00000, 0xfee00000, /* IOAPIC, HPET, local APIC */
    0xe0000000, 0xe1000000,     /* a PCI device's memory and registers */
    GUEST_RAM_SIZE - PAGE, GUEST_RAM_SIZE,
    0xc0000000, 1ull << 39, 0xffffffffff000,
    GUEST_TABLES,
};

static uint64_t rand64(GRand *rand)
{
    return (uint64_t)g_rand_int(rand) << 32 | g_rand_int(rand);
}

static uint64_t hostile_entry(GRand *rand, uint64_t own, uint64_t below_own)
{
    uint64_t bits = g_rand_int(rand) & 0xff & ~PTE_PS;

    if (g_rand_int_range(rand, 0, 3) == 0) {
        bits |= PTE_P64 | g_rand_int_range(rand, 0, 16) << 8;
    }
    switch (g_rand_int_range(rand, 0, 6)) {
    case 0:
        return rand64(rand) | PTE_P;
    case 1:
        return (rand64(rand) & 0x000000ffffffffffull) | PTE_P;
    case 2:
        return own | bits | PTE_P | PTE_RW | PTE_US;
    case 3:
        return below_own | bits | PTE_P | PTE_RW | PTE_US;
    default:
        return places[g_rand_int_range(rand, 0, ARRAY_SIZE(places))] | bits |
               PTE_P | PTE_RW | PTE_US;
    }
}

#define VGA             "-device VGA,addr=02.0,romfile="

static void program_vga(Guest *guest)
{
    /* Device 0:2.0: its memory, its registers, and that it answers. */
    const uint32_t vga = 0x80000000 | 2 << 11;
    const uint32_t writes[][2] = {
        { 0x10, 0xe0000000 }, { 0x18, 0xe1000000 }, { 0x04, 3 },
    };

    for (int i = 0; i < ARRAY_SIZE(writes); i++) {
        qtest_outl(guest->qts, 0xcf8, vga | writes[i][0]);
        qtest_outl(guest->qts, 0xcfc, writes[i][1]);
    }
}

typedef struct HostileConfig {
    const char *name, *properties;
    uint64_t cr4;
    const char *options;
} HostileConfig;

static void test_hostile(gconstpointer data)
{
    const HostileConfig *config = data;
    GRand *rand = g_rand_new_with_seed(seed);
    Guest *guest = guest_start_with(config->properties, config->cr4, 1,
                                    config->options);
    const unsigned levels = guest->la57 ? 5 : 4;
    uint64_t tables[6];
    unsigned resets = 0, rescues = 0, n_rounds = rounds(10000) / 4;

    tables[levels] = guest->cr3;
    for (int level = levels - 1; level >= 1; level--) {
        tables[level] = guest_new_table(guest);
    }
    program_vga(guest);
    while (!guest_starts(guest)) {
        g_usleep(100);
    }
    for (unsigned round = 0; round < n_rounds; round++) {
        enum { N = 40 };
        GuestCommand script[N];
        GuestLog log[N];
        unsigned starts = guest_starts(guest);
        gint64 deadline;
        unsigned n = 0;

        for (int level = levels; level >= 1; level--) {
            uint64_t *entry = guest_word(guest, tables[level]);

            memset(entry + 1, 0, PAGE - 8);
            if (level < levels) {
                entry[0] = 0;
            }
            for (int i = 1; i < 8; i++) {
                entry[i] = g_rand_int_range(rand, 0, 3) && level > 1 ?
                    tables[level - 1] | PTE_P | PTE_RW | PTE_US :
                    hostile_entry(rand, tables[level],
                                  tables[MAX(level - 1, 1)]);
            }
        }
        /* The last bytes of RAM, as the last of a leaf table. */
        *guest_word(guest, GUEST_RAM_SIZE - 8) = hostile_entry(rand, 0, 0);
        guest_restore(guest);

        while (n < N - 2) {
            unsigned what = g_rand_int_range(rand, 0, 40);
            uint64_t va = rand64(rand) & 0x1fffff;

            for (int level = levels; level >= 2; level--) {
                va |= (uint64_t)g_rand_int_range(rand, level == levels ? 1 : 0,
                                                 8) << (12 + 9 * (level - 1));
            }
            if (what == 0 && round % 8 == 0) {
                script[n++] = (GuestCommand) {
                    OP_CR3, 0, rand64(rand)
                };
            } else if (what == 1) {
                script[n++] = (GuestCommand) { OP_CR4, 0, g_rand_int(rand) };
            } else if (what == 2) {
                script[n++] = (GuestCommand) {
                    OP_CR4, 0, guest->cr4 ^ 1ull << g_rand_int_range(rand, 0,
                                                                     32)
                };
            } else if (what < 6) {
                script[n++] = (GuestCommand) { OP_INVLPG, 0, va };
            } else {
                script[n++] = (GuestCommand) {
                    (what % 2 ? OP_LOAD : OP_STORE) |
                    (what % 8 > 5 ? OP_USER : 0), 0, va
                };
            }
        }
        script[n++] = (GuestCommand) { OP_CR4, 0, guest->cr4 };
        script[n++] = (GuestCommand) { OP_CR3, 0, guest->cr3 };
        guest_begin(guest, 0, script, n);
        deadline = g_get_monotonic_time() + G_USEC_PER_SEC / 10;
        while (!guest_is_done(guest, 0) && guest_starts(guest) == starts &&
               g_get_monotonic_time() < deadline) {
            g_usleep(20);
        }
        if (guest_is_done(guest, 0)) {
            memcpy(log, (void *)guest_log(guest, 0), sizeof(log));
            for (unsigned i = 0; i < n; i++) {
                g_assert_cmphex(log[i].vector, !=, 0);
            }
            continue;
        }
        if (guest_starts(guest) != starts) {
            resets++;
        } else {
            rescues++;
        }
        /* Its own stores may have hit what it needs. */
        guest_restore(guest);
        starts = guest_starts(guest);
        qtest_system_reset(guest->qts);
        deadline = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;
        while (guest_starts(guest) == starts) {
            g_assert_cmpint(g_get_monotonic_time(), <, deadline);
            g_usleep(20);
        }
        program_vga(guest);
    }
    guest_restore(guest);
    g_assert_cmphex(guest_do(guest, OP_LOAD, 0x10000).vector, ==, NO_FAULT);
    g_test_message("X64K_SEED=%" PRIu64 ": %u scripts, %u reset the guest, "
                   "%u spoilt it", seed, n_rounds, resets, rescues);
    g_rand_free(rand);
    guest_stop(guest);
}

int main(int argc, char **argv)
{
    static const RandomConfig configs[] = {
        { "no-model", BOTH, CR4_P64 },
        { "la57", BOTH, CR4_P64 | CR4_LA57 },
        { "fault", BOTH ",x64k-contig-check=fault", CR4_P64, true },
        { "model", MODEL, CR4_P64 },
        { "model-la57", MODEL, CR4_P64 | CR4_LA57 },
    };
    static const HostileConfig hostile[] = {
        { "no-model", BOTH, CR4_P64, VGA },
        { "model", MODEL, CR4_P64, VGA },
        { "la57", BOTH, CR4_P64 | CR4_LA57, VGA },
        { "fault", BOTH ",x64k-contig-check=fault", CR4_P64, VGA },
        { "log", MODEL, CR4_P64,
          VGA " -d guest_errors,unimp -D /dev/null" },
    };
    static const struct {
        const char *name;
        GTestDataFunc fn;
    } races[] = {
        { "updates", test_race_updates },
        { "clear", test_race_clear },
        { "flip", test_race_flip },
    };
    const char *text = g_getenv("X64K_SEED");

    g_test_init(&argc, &argv, NULL);
    seed = (uint32_t)g_get_real_time();
    g_assert_true(!text || qemu_strtou64(text, NULL, 0, &seed) == 0);
    g_test_message("X64K_SEED=%" PRIu64, seed);
    for (int i = 0; i < ARRAY_SIZE(configs); i++) {
        g_autofree char *path = g_strdup_printf("/x64k-random/tables/%s",
                                                configs[i].name);

        qtest_add_data_func(path, &configs[i], test_random);
    }
    for (int i = 0; i < ARRAY_SIZE(races); i++) {
        g_autofree char *with = g_strdup_printf("/x64k-random/races/%s/model",
                                                races[i].name);
        g_autofree char *without = g_strdup_printf(
            "/x64k-random/races/%s/no-model", races[i].name);

        qtest_add_data_func(without, BOTH, races[i].fn);
        qtest_add_data_func(with, MODEL, races[i].fn);
    }
    for (int i = 0; i < ARRAY_SIZE(hostile); i++) {
        g_autofree char *path = g_strdup_printf("/x64k-random/hostile/%s",
                                                hostile[i].name);

        qtest_add_data_func(path, &hostile[i], test_hostile);
    }
    return g_test_run();
}
