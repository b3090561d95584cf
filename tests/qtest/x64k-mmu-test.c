/*
 * The MMU to the letter: page tables and accesses of every kind, by
 * enumeration, each compared with an oracle
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A case is one access through page tables of its own.  A few hundred cases
 * share one script of the guest: case i has entry i of one PML4, one entry in
 * each table below, and 256 bytes that are 32 PTEs or one leaf table.  What
 * the guest logged, where its stores landed, and all tables, A and D
 * included, must then be what the oracle (x64k-oracle.h) made of them.
 */
#include "qemu/osdep.h"
#include "x64k-guest.h"
#include "x64k-oracle.h"

/*
 * One flipped address bit must lead from a table to empty RAM or to another
 * table, and from a frame to empty RAM, never to what the guest uses itself.
 */
#define TABLES          0x2c00000ull
#define PML5            (TABLES + 0 * PAGE)
#define PML4            (TABLES + 1 * PAGE)
#define PDPT            (TABLES + 2 * PAGE)
#define PD              (TABLES + 3 * PAGE)
#define LAST            (TABLES + 4 * PAGE)     /* PTEs and leaf tables */
#define TABLES_SIZE     (36 * PAGE)
#define FRAMES          0x5400000ull
#define FRAMES_SIZE     (4 * PAGE_2M)

/* Offsets in a page: of the code in each frame, and of what cases store. */
#define CODE_AT         0x120
#define STORE_AT        0x200

#define SLOTS           511
/* So that no two stores of a script have the same offset in their page. */
#define ACCESSES        ((PAGE - STORE_AT) / 8)

#define PHYS_BITS       40              /* of TCG's CPUs */

typedef enum LeafKind {
    LEAF_4K, LEAF_GROUP, LEAF_64K, LEAF_2M, LEAF_1G, LEAF_KINDS
} LeafKind;

static const int leaf_level[LEAF_KINDS] = { 1, 1, 1, 2, 3 };

typedef struct Config {
    const char *name;
    const char *properties;
    bool hint, leaf;            /* enumerated */
    uint64_t cr4;
    bool fault, model;
} Config;

typedef struct Control {
    bool wp, smep, smap, nxe, pge, pke, pks;
    uint32_t pkru, pkrs;
} Control;

typedef struct Access {
    OracleAccess what;
    OracleResult expected;
} Access;

typedef struct Bench {
    OracleMemory memory;        /* TABLES as the oracle has left them */
    uint64_t before[TABLES_SIZE / 8];
    uint64_t after[TABLES_SIZE / 8];
    const Config *config;
    Guest *guest;
    Control control;
    OracleCpu cpu;
    unsigned slots, accesses;
    Access access[ACCESSES];
    uint64_t cases;
    uint64_t groups[ORACLE_GROUPS];
} Bench;

/* The entries of a case, and the page that it maps. */
typedef struct Slot {
    uint64_t va;
    uint64_t *entry[6];         /* by level; of a leaf's level, the leaf */
    uint64_t *last;             /* its 32 PTEs, or its leaf table */
    uint64_t *group;            /* the 16 PTEs around a PTE */
    int level;                  /* the leaf's */
} Slot;

static Bench *bench;
static uint64_t all_cases;

static const Control usual = { .wp = true, .nxe = true };

static int top_level(Bench *b)
{
    return b->cpu.la57 ? 5 : 4;
}

static uint64_t *word_of_oracle(OracleMemory *memory, uint64_t pa)
{
    Bench *b = container_of(memory, Bench, memory);

    if (pa - TABLES < TABLES_SIZE) {
        return &b->after[(pa - TABLES) / 8];
    }
    return pa < GUEST_RAM_SIZE ? guest_word(b->guest, pa) : NULL;
}

static bool in_frames(uint64_t pa)
{
    return pa - FRAMES < FRAMES_SIZE;
}

/* Empty tables, but for the guest's own part. */
static void clear_tables(Bench *b)
{
    uint64_t *own = guest_word(b->guest, b->guest->cr3);

    memset(b->guest->ram + TABLES, 0, TABLES_SIZE);
    if (b->cpu.la57) {
        *guest_word(b->guest, PML5) = PML4 | PTE_P | PTE_RW | PTE_US | PTE_A;
        own = guest_word(b->guest, *own & 0xffffff000ull);
    }
    *guest_word(b->guest, PML4) = own[0];
    b->slots = 0;
    b->accesses = 0;
}

static void print_access(Bench *b, const Access *access)
{
    oracle_print(&b->cpu, &access->what, &access->expected);
}

static void fail_access(Bench *b, const Access *access, const GuestLog *log)
{
    printf("# %s: the guest and the oracle differ about\n", b->config->name);
    print_access(b, access);
    if (log->vector == NO_FAULT) {
        printf("# got: no fault, value 0x%" PRIx64, log->value);
        if (access->what.kind == ORACLE_FETCH) {
            printf(": physical address 0x%" PRIx64, log->value * PAGE);
        } else if (access->what.kind == ORACLE_READ) {
            printf(": physical address 0x%" PRIx64,
                   (log->value >> 8 & 0xffffffff) * PAGE);
        }
        printf("\n");
    } else {
        printf("# got: vector %d, error code 0x%x, CR2 0x%" PRIx64 "\n",
               (int)log->vector, (unsigned)log->error_code, log->cr2);
    }
    if (!access->expected.fault && access->what.kind == ORACLE_WRITE) {
        for (uint64_t pa = 0; pa < GUEST_RAM_SIZE; pa += 8) {
            if (*guest_word(b->guest, pa) == access->what.va &&
                pa >= GUEST_TABLES) {
                printf("# stored to 0x%" PRIx64 "\n", pa);
            }
        }
    }
    fflush(stdout);
    g_test_fail();
    exit(1);
}

static void fail_tables(Bench *b, uint64_t pa, uint64_t got)
{
    printf("# %s: the entry at 0x%" PRIx64 " was 0x%" PRIx64 ", expected 0x%"
           PRIx64 ", got 0x%" PRIx64 ", after:\n", b->config->name, pa,
           b->before[(pa - TABLES) / 8], b->after[(pa - TABLES) / 8], got);
    for (unsigned i = 0; i < b->accesses; i++) {
        const OracleResult *e = &b->access[i].expected;

        for (int level = e->last_level; level <= top_level(b); level++) {
            if (e->entry_pa[level] == pa ||
                (level == 1 && e->entry_pa[1] / 128 == pa / 128)) {
                print_access(b, &b->access[i]);
                break;
            }
        }
    }
    fflush(stdout);
    g_test_fail();
    exit(1);
}

static void check_access(Bench *b, const Access *access, const GuestLog *log)
{
    const OracleResult *e = &access->expected;
    bool same;

    if (e->fault) {
        same = log->vector == e->vector && log->error_code == e->error_code &&
               (!e->sets_cr2 || log->cr2 == e->cr2);
    } else {
        same = log->vector == NO_FAULT;
        if (same && in_frames(e->pa)) {
            switch (access->what.kind) {
            case ORACLE_READ:
                same = log->value == guest_tag(e->pa);
                break;
            case ORACLE_FETCH:
                same = log->value == e->pa / PAGE;
                break;
            case ORACLE_WRITE:
                same = *guest_word(b->guest, e->pa) == access->what.va;
                *guest_word(b->guest, e->pa) = 0;
                break;
            }
        }
    }
    if (!same) {
        fail_access(b, access, log);
    }
}

/* Does what is pending, compares, and starts anew. */
static void run(Bench *b)
{
    static GuestCommand script[ACCESSES + 16];
    static GuestLog log[ACCESSES + 16];
    Access *done[ACCESSES];
    const Control *c = &b->control;
    uint64_t cr4 = CR4_PAE | b->config->cr4 | (c->pge ? CR4_PGE : 0) |
                   (c->smep ? CR4_SMEP : 0) | (c->smap ? CR4_SMAP : 0) |
                   (c->pke ? CR4_PKE : 0) | (c->pks ? CR4_PKS : 0);
    unsigned n = 0, first;

    if (!b->accesses) {
        return;
    }
    memcpy(b->before, b->guest->ram + TABLES, TABLES_SIZE);
    memcpy(b->after, b->before, TABLES_SIZE);

    script[n++] = (GuestCommand) {
        OP_WRMSR, MSR_EFER, EFER_LME | (c->nxe ? EFER_NXE : 0)
    };
    script[n++] = (GuestCommand) {
        OP_CR0, 0, CR0_PG | CR0_ET | CR0_PE | (c->wp ? CR0_WP : 0)
    };
    script[n++] = (GuestCommand) { OP_CR3, 0, b->cpu.cr3 };
    /* To change PGE drops all translations, whatever else stays. */
    script[n++] = (GuestCommand) { OP_CR4, 0, cr4 ^ CR4_PGE };
    script[n++] = (GuestCommand) { OP_CR4, 0, cr4 };
    if (c->pke) {
        script[n++] = (GuestCommand) { OP_WRPKRU, 0, c->pkru };
    }
    if (c->pks) {
        script[n++] = (GuestCommand) { OP_WRMSR, MSR_PKRS, c->pkrs };
    }
    first = n;
    for (unsigned i = 0; i < b->accesses; i++) {
        static const uint32_t ops[] = { OP_LOAD, OP_STORE, OP_FETCH };
        Access *access = &b->access[i];
        const OracleAccess *what = &access->what;

        /* Only loads are harmless wherever they lead. */
        if (what->kind != ORACLE_READ) {
            OracleResult result;

            b->memory.frozen = true;
            result = oracle_access(&b->cpu, &b->memory, what);
            b->memory.frozen = false;
            if (!result.fault && !in_frames(result.pa)) {
                continue;
            }
        }
        access->expected = oracle_access(&b->cpu, &b->memory, what);
        done[n - first] = access;
        b->groups[access->expected.group]++;
        script[n++] = (GuestCommand) {
            ops[what->kind] | (what->user ? OP_USER : 0) |
            (what->ac ? OP_AC : 0), 0, what->va
        };
    }
    guest_run(b->guest, script, n, log);
    for (unsigned i = 0; i < first; i++) {
        g_assert_cmphex(log[i].vector, ==, NO_FAULT);
    }
    for (unsigned i = first; i < n; i++) {
        check_access(b, done[i - first], &log[i]);
    }
    if (memcmp(b->guest->ram + TABLES, b->after, TABLES_SIZE)) {
        for (uint64_t pa = TABLES; pa < TABLES + TABLES_SIZE; pa += 8) {
            uint64_t got = *guest_word(b->guest, pa);

            if (got != b->after[(pa - TABLES) / 8]) {
                fail_tables(b, pa, got);
            }
        }
    }
    b->cases += n - first;
    clear_tables(b);
}

static void set_control(Bench *b, Control control)
{
    run(b);
    b->control = control;
    b->cpu.wp = control.wp;
    b->cpu.smep = control.smep;
    b->cpu.smap = control.smap;
    b->cpu.nxe = control.nxe;
    b->cpu.pke = control.pke;
    b->cpu.pks = control.pks;
    b->cpu.pkru = control.pkru;
    b->cpu.pkrs = control.pkrs;
}

/*
 * A new case: RAM mapped by a leaf of @kind with @flags below entries that
 * allow everything.  @page picks one of 16 pages of a group or 64 KB leaf.
 */
static Slot new_slot(Bench *b, LeafKind kind, uint64_t flags, unsigned page)
{
    const uint64_t table = PTE_P | PTE_RW | PTE_US;
    Slot slot = { .level = leaf_level[kind] };
    unsigned i, i3, i2, i1 = 0;
    uint64_t last, low, *pt;

    if (b->slots == SLOTS || b->accesses == ACCESSES) {
        run(b);
        /* What had no access that could be made is not needed any more. */
        clear_tables(b);
    }
    i = ++b->slots;
    i3 = (i * 5 + 3) % 512;
    i2 = kind == LEAF_1G ? FRAMES / PAGE_2M : (i * 3 + 100) % 512;
    last = LAST + i * 256;
    slot.last = guest_word(b->guest, last);
    slot.entry[5] = guest_word(b->guest, PML5 + i * 7 % 512 * 8);
    slot.entry[4] = guest_word(b->guest, PML4 + i * 8);
    slot.entry[3] = guest_word(b->guest, PDPT + i3 * 8);
    slot.entry[2] = guest_word(b->guest, PD + i2 * 8);
    if (b->cpu.la57) {
        *slot.entry[5] = PML4 | table;
    }
    *slot.entry[4] = PDPT | table;
    pt = guest_word(b->guest, last & ~(PAGE - 1));
    switch (kind) {
    case LEAF_4K:
        i1 = i % 16 * 32 + i * 13 % 32;
        slot.entry[1] = &pt[i1];
        *slot.entry[1] = (FRAMES + i * 7 * PAGE) | flags;
        break;
    case LEAF_GROUP:
        i1 = i % 16 * 32 + i / 3 % 2 * 16;
        for (int k = 0; k < 16; k++) {
            pt[i1 + k] = (FRAMES + i * 3 % 128 * PAGE_64K + k * PAGE) | flags |
                         PTE_P64;
        }
        slot.group = &pt[i1];
        i1 += page;
        slot.entry[1] = &pt[i1];
        break;
    case LEAF_64K:
        i1 = i * 5 % 32 * 16 + page;
        slot.entry[1] = &slot.last[i1 / 16];
        *slot.entry[1] = (FRAMES + i * 3 % 128 * PAGE_64K) | flags;
        break;
    case LEAF_2M:
        i1 = i * 13 % 512;
        *slot.entry[2] = (FRAMES + i % 4 * PAGE_2M) | flags | PTE_PS;
        break;
    case LEAF_1G:
        i1 = i * 13 % 512;
        *slot.entry[3] = flags | PTE_PS;
        break;
    default:
        g_assert_not_reached();
    }
    if (kind != LEAF_1G) {
        *slot.entry[3] = PD | table;
    }
    if (slot.level == 1) {
        *slot.entry[2] = (kind == LEAF_64K ? last | PTE_P64 :
                          last & ~(PAGE - 1)) | table;
    }
    low = (uint64_t)i << 39 | (uint64_t)i3 << 30 | (uint64_t)i2 << 21 |
          (uint64_t)i1 << 12;
    if (b->cpu.la57) {
        slot.va = (int64_t)((low | (uint64_t)(i * 7 % 512) << 48) << 7) >> 7;
    } else {
        slot.va = (int64_t)(low << 16) >> 16;
    }
    return slot;
}

static void access_va(Bench *b, uint64_t va, OracleKind kind, bool user,
                      bool ac)
{
    unsigned n = b->accesses++;
    uint64_t offset = kind == ORACLE_WRITE ? STORE_AT + n * 8 : CODE_AT;

    g_assert_cmpuint(n, <, ACCESSES);
    b->access[n].what = (OracleAccess) { va + offset, kind, user, ac };
}

/* The ways to access a page: 3 by a user, 6 by the supervisor. */
#define WAYS            9

static void access_way(Bench *b, const Slot *slot, unsigned way)
{
    access_va(b, slot->va, way % 3, way < 3, way >= 6);
}

/* Rights from 4 bits of @n. */
static uint64_t rights(unsigned n)
{
    return (n & 1 ? PTE_P : 0) | (n & 2 ? PTE_RW : 0) | (n & 4 ? PTE_US : 0) |
           (n & 8 ? PTE_NX : 0);
}

#define RIGHTS          (PTE_P | PTE_RW | PTE_US | PTE_NX)

static void set_rights(uint64_t *entry, uint64_t value)
{
    *entry = (*entry & ~RIGHTS) | value;
}

/* Rights of the leaf and of one level above, under each control bit. */
static void test_rights(Bench *b)
{
    for (unsigned c = 0; c < 16; c++) {
        set_control(b, (Control) {
            .wp = c & 1, .smep = c & 2, .smap = c & 4, .nxe = c & 8
        });
        for (LeafKind kind = 0; kind < LEAF_KINDS; kind++) {
            for (int upper = leaf_level[kind] + 1; upper <= top_level(b);
                 upper++) {
                for (unsigned n = 0; n < 256 * WAYS; n++) {
                    unsigned way = n % WAYS, r = n / WAYS;
                    Slot slot = new_slot(b, kind, rights(r % 16), n % 16);

                    set_rights(slot.entry[upper], rights(r / 16));
                    access_way(b, &slot, way);
                }
            }
        }
    }
}

/* Each bit of each entry of the walk, flipped, one at a time. */
static void test_bits(Bench *b)
{
    for (unsigned c = 0; c < 4; c++) {
        set_control(b, (Control) {
            .wp = true, .nxe = c & 1, .pge = c & 2
        });
        for (LeafKind kind = 0; kind < LEAF_KINDS; kind++) {
            for (int level = leaf_level[kind]; level <= top_level(b);
                 level++) {
                for (unsigned n = 0; n < 64 * 6; n++) {
                    Slot slot = new_slot(b, kind, PTE_P | PTE_RW | PTE_US,
                                         n / 7 % 16);

                    *slot.entry[level] ^= 1ull << n / 6;
                    access_way(b, &slot, n % 6);
                }
            }
        }
    }
}

/*
 * A, D, cacheability, PAT or PS, G and the bits for software, in all
 * mixtures, of each entry.  Those that move a table or are reserved too.
 */
static void test_low_bits(Bench *b)
{
    set_control(b, usual);
    for (LeafKind kind = 0; kind < LEAF_KINDS; kind++) {
        for (int level = leaf_level[kind]; level <= top_level(b); level++) {
            for (unsigned n = 0; n < 512 * 6; n++) {
                uint64_t flags = PTE_P | PTE_RW | PTE_US;
                Slot slot = new_slot(b, kind, flags, n / 5 % 16);

                *slot.entry[level] ^= (uint64_t)(n / 6) << 3;
                access_way(b, &slot, n % 6);
            }
        }
    }
}

/* P64 and PS in any set of levels at once. */
static void test_p64_anywhere(Bench *b)
{
    set_control(b, usual);
    for (LeafKind kind = 0; kind < LEAF_KINDS; kind++) {
        for (unsigned n = 0; n < 1024 * 3; n++) {
            Slot slot = new_slot(b, kind, PTE_P | PTE_RW | PTE_US, n % 16);

            for (int level = leaf_level[kind]; level <= top_level(b);
                 level++) {
                if (n / 3 >> (level - 1) & 1) {
                    *slot.entry[level] ^= PTE_P64;
                }
                if (n / 3 >> (level + 4) & 1) {
                    *slot.entry[level] ^= PTE_PS;
                }
            }
            access_way(b, &slot, n % 3);
        }
    }
}

/* All 16 places of a leaf table in its page, all 32 entries, all pages. */
static void test_leaf_table_place(Bench *b)
{
    set_control(b, usual);
    for (unsigned n = 0; n < 16 * 32 * 16; n++) {
        Slot slot = new_slot(b, LEAF_64K, 0, 0);
        unsigned index = n / 16 % 32;

        while (b->slots % 16 != n / 512) {
            slot = new_slot(b, LEAF_64K, 0, 0);
        }
        for (unsigned k = 0; k < 32; k++) {
            slot.last[k] = (FRAMES + (k + n) % 128 * PAGE_64K) | PTE_RW |
                           (k == index ? PTE_P : 0);
        }
        slot.va &= ~(PAGE_2M - 1);
        slot.va |= index * PAGE_64K + n % 16 * PAGE;
        access_way(b, &slot, 3 + n % 3);
    }
}

/* What can be wrong with one PTE of a group. */
static const struct {
    uint64_t flip;
    int64_t move;               /* of the frame, in pages */
} spoilt[] = {
    { PTE_P }, { PTE_P64 },
    { 0, 1 }, { 0, -1 }, { 0, 16 }, { 0, -16 }, { 0, 15 },
    { 1ull << 39 },
    { PTE_RW }, { PTE_US }, { PTE_PWT }, { PTE_PCD }, { PTE_PS }, { PTE_G },
    { PTE_KEY(1) }, { PTE_KEY(2) }, { PTE_KEY(4) }, { PTE_KEY(8) },
    { PTE_NX },
    /* These may differ. */
    { PTE_A }, { PTE_D }, { 1ull << 9 }, { 1ull << 11 }, { 1ull << 53 },
    { 1ull << 58 },
};

static void spoil(uint64_t *pte, unsigned kind)
{
    *pte = (*pte ^ spoilt[kind].flip) + spoilt[kind].move * PAGE;
}

/* Before and after, what the model has counted, unless there is none. */
static void count_groups(Bench *b, uint64_t counted[ORACLE_GROUPS])
{
    run(b);
    for (int group = ORACLE_WELL_FORMED; group < ORACLE_GROUPS; group++) {
        g_autofree char *name = g_strdup_printf("contig-%s",
                                                oracle_group_names[group]);

        counted[group] = b->config->model ? guest_counter(b->guest, name) : 0;
    }
    g_assert_true(!b->config->model || guest_counter(b->guest,
                                                     "contig-raced") == 0);
}

static void check_groups(Bench *b, const uint64_t before[ORACLE_GROUPS])
{
    uint64_t after[ORACLE_GROUPS];

    count_groups(b, after);
    for (int i = ORACLE_WELL_FORMED; b->config->model && i < ORACLE_GROUPS;
         i++) {
        g_test_message("%s: %" PRIu64, oracle_group_names[i], b->groups[i]);
        g_assert_cmpuint(after[i] - before[i], ==, b->groups[i]);
    }
}

/* Each kind of ill-formed group, wherever the fault is, whatever is walked. */
static void test_groups(Bench *b)
{
    uint64_t counted[ORACLE_GROUPS];

    count_groups(b, counted);
    memset(b->groups, 0, sizeof(b->groups));
    for (unsigned c = 0; c < 2; c++) {
        set_control(b, (Control) { .wp = c, .nxe = true });
        for (unsigned kind = 0; kind < ARRAY_SIZE(spoilt); kind++) {
            for (unsigned n = 0; n < 16 * 16 * 6; n++) {
                Slot slot = new_slot(b, LEAF_GROUP, PTE_P | PTE_RW | PTE_US,
                                     n / 16 % 16);

                spoil(&slot.group[n % 16], kind);
                access_way(b, &slot, n / 256);
            }
        }
    }
    /* Two faults: the first slot's counts, and of its faults the first. */
    set_control(b, usual);
    for (unsigned kind = 0; kind < ARRAY_SIZE(spoilt); kind++) {
        for (unsigned other = 0; other < ARRAY_SIZE(spoilt); other++) {
            for (unsigned n = 0; n < 16; n++) {
                Slot slot = new_slot(b, LEAF_GROUP, PTE_P | PTE_RW | PTE_US,
                                     (n + other) % 16);

                spoil(&slot.group[n], kind);
                spoil(&slot.group[(n * 5 + kind + other / 3) % 16], other);
                access_way(b, &slot, (n + kind + other) % 6);
            }
        }
    }
    /* In order, but not from a multiple of 16 on. */
    for (unsigned n = 0; n < 16 * 16 * 6; n++) {
        Slot slot = new_slot(b, LEAF_GROUP, PTE_P | PTE_RW | PTE_US, n % 16);

        for (int k = 0; k < 16; k++) {
            slot.group[k] += n / 16 % 16 * PAGE;
        }
        access_way(b, &slot, n / 256);
    }
    check_groups(b, counted);
}

/* A, D and software bits of a group's PTEs in many mixtures. */
static void test_group_mixtures(Bench *b)
{
    GRand *rand = g_rand_new_with_seed(64);

    set_control(b, usual);
    for (unsigned n = 0; n < 32 * 16 * 6 + 6000; n++) {
        Slot slot = new_slot(b, LEAF_GROUP, PTE_P | PTE_RW | PTE_US, n % 16);
        bool one = n < 32 * 16 * 6;
        /* One PTE differs from all others, by A or D; then any mixture. */
        uint32_t a = one ? 1u << n / 16 % 32 : g_rand_int(rand);
        uint64_t software = one ? 0 : 0x07e0000000000e00ull;

        for (int k = 0; k < 16; k++) {
            slot.group[k] |= (a >> k & 1 ? PTE_A : 0) |
                             (a >> (16 + k) & 1 ? PTE_D : 0) |
                             (software & g_rand_int(rand) *
                                         0x100000001ull);
        }
        access_way(b, &slot, n / 512 % 6);
    }
    g_rand_free(rand);
}

/* Every key, allowed and denied, for user and supervisor pages. */
static void test_keys(Bench *b)
{
    /* The guest's own pages have key 15. */
    const uint32_t own = 3u << 2 * GUEST_KEY;

    for (unsigned c = 0; c < 16 * 4 * 2 * 2 * 3; c++) {
        unsigned key = c % 16, others = c / 64 % 2, which = c / 256;
        uint32_t mask = 3u << 2 * key, bits = (c / 16 % 4) << 2 * key;
        uint32_t keys = others ? ~mask | bits : bits;

        set_control(b, (Control) {
            .wp = c / 128 % 2, .nxe = true, .pke = which != 1,
            .pks = which != 0, .pkru = keys,
            .pkrs = (which == 2 ? ~keys : keys) & ~own
        });
        for (LeafKind kind = 0; kind < LEAF_KINDS; kind++) {
            for (unsigned n = 0; n < 4 * 6; n++) {
                Slot slot = new_slot(b, kind, PTE_P | PTE_KEY(key) |
                                     (n & 1 ? PTE_RW : 0) |
                                     (n & 2 ? PTE_US : 0), n % 16);

                access_way(b, &slot, n / 4);
            }
        }
    }
    /* Of the walk's entries only the leaf's key counts. */
    set_control(b, (Control) {
        .wp = true, .pke = true, .pks = true, .pkru = 0xc, .pkrs = 0xc
    });
    for (LeafKind kind = 0; kind < LEAF_KINDS; kind++) {
        for (int level = leaf_level[kind]; level <= top_level(b); level++) {
            for (unsigned n = 0; n < 2 * 6; n++) {
                Slot slot = new_slot(b, kind, PTE_P | PTE_RW |
                                     (n & 1 ? PTE_US : 0), 3);

                *slot.entry[level] |= PTE_KEY(1);
                access_way(b, &slot, n / 2);
            }
        }
    }
}

/* Three accesses in a row, of one page or of others of the same leaf. */
static void test_sequences(Bench *b)
{
    for (unsigned c = 0; c < 2; c++) {
        set_control(b, (Control) {
            .wp = true, .nxe = true, .smap = c, .smep = c, .pge = !c
        });
        for (LeafKind kind = 0; kind < LEAF_KINDS; kind++) {
            for (unsigned n = 0; n < 9 * 9 * 9 * 8; n++) {
                uint64_t flags = PTE_P | PTE_G | (n & 1 ? PTE_RW : 0) |
                                 (n & 2 ? PTE_US : 0) | (n & 4 ? PTE_NX : 0);
                unsigned page = n / 8 % 16, ways = n / 8;
                Slot slot;

                if (b->accesses + 3 > ACCESSES) {
                    run(b);
                }
                slot = new_slot(b, kind, flags, page);
                if (kind == LEAF_GROUP && n / 16 % 4 == 0) {
                    /* Dirty here and there. */
                    slot.group[n / 64 % 16] |= PTE_D;
                    slot.entry[1][0] |= PTE_D;
                }
                access_way(b, &slot, ways % 9);
                if (kind == LEAF_GROUP || kind == LEAF_64K) {
                    slot.va ^= (uint64_t)(n / 64 % 16) * PAGE;
                }
                access_way(b, &slot, ways / 9 % 9);
                access_way(b, &slot, ways / 81 % 9);
            }
        }
    }
}

/* An address with bits above the highest that are not copies of it. */
static void test_not_canonical(Bench *b)
{
    set_control(b, usual);
    for (unsigned n = 0; n < 6 * 16; n++) {
        Slot slot = new_slot(b, LEAF_4K, PTE_P | PTE_RW | PTE_US, 0);

        slot.va ^= 1ull << (48 + n / 6);
        /* RIP would not be canonical: that is no matter of page tables. */
        if (n % 3 != ORACLE_FETCH) {
            access_way(b, &slot, n % 6);
        }
    }
}

#define BOTH            ",x64k-contig=on,x64k-leaf=on"

static const Config configs[] = {
    { "off", "", false, false, 0, false, false },
    { "off-la57", "", false, false, CR4_LA57, false, false },
    { "disabled", BOTH, true, true, 0, false, false },
    { "contig", ",x64k-contig=on", true, false, CR4_P64, false, false },
    { "leaf", ",x64k-leaf=on", false, true, CR4_P64, false, false },
    { "both", BOTH, true, true, CR4_P64, false, false },
    { "both-la57", BOTH, true, true, CR4_P64 | CR4_LA57, false, false },
    { "fault", BOTH ",x64k-contig-check=fault", true, true, CR4_P64, true,
      false },
    { "model-disabled", BOTH ",hwtlb=skylake", true, true, 0, false, true },
    { "model", BOTH ",hwtlb=skylake", true, true, CR4_P64, false, true },
    { "model-la57", BOTH ",hwtlb=skylake", true, true, CR4_P64 | CR4_LA57,
      false, true },
    { "model-fault", BOTH ",hwtlb=skylake,x64k-contig-check=fault", true, true,
      CR4_P64, true, true },
};

static const struct {
    const char *name;
    void (*fn)(Bench *b);
} families[] = {
    { "rights", test_rights },
    { "bits", test_bits },
    { "low-bits", test_low_bits },
    { "p64-anywhere", test_p64_anywhere },
    { "leaf-table-place", test_leaf_table_place },
    { "groups", test_groups },
    { "group-mixtures", test_group_mixtures },
    { "keys", test_keys },
    { "sequences", test_sequences },
    { "not-canonical", test_not_canonical },
};

static void bench_stop(void)
{
    if (bench) {
        guest_stop(bench->guest);
        g_clear_pointer(&bench, g_free);
    }
}

/* A guest serves all tests of its configuration. */
static void bench_start(const Config *config)
{
    if (bench && bench->config == config) {
        return;
    }
    bench_stop();
    bench = g_new0(Bench, 1);
    bench->config = config;
    bench->guest = guest_start(config->properties, config->cr4);
    bench->memory.word = word_of_oracle;
    bench->cpu.la57 = config->cr4 & CR4_LA57;
    bench->cpu.cr3 = bench->cpu.la57 ? PML5 : PML4;
    bench->cpu.hint = config->hint && (config->cr4 & CR4_P64);
    bench->cpu.leaf = config->leaf && (config->cr4 & CR4_P64);
    bench->cpu.ill_formed_faults = config->fault;
    bench->cpu.phys_bits = PHYS_BITS;
    guest_tag_frames(bench->guest, FRAMES, FRAMES_SIZE, CODE_AT);
    clear_tables(bench);
}

/* Stores that went astray, but not too far. */
static void check_frames(Bench *b)
{
    for (uint64_t pa = FRAMES; pa < FRAMES + FRAMES_SIZE; pa += 8) {
        g_assert_cmphex(*guest_word(b->guest, pa), ==,
                        pa % PAGE == CODE_AT ? guest_tag(pa) : 0);
    }
}

static void test_family(gconstpointer data)
{
    unsigned n = GPOINTER_TO_UINT(data);
    uint64_t before;
    gint64 start;

    bench_start(&configs[n / ARRAY_SIZE(families)]);
    before = bench->cases;
    start = g_get_monotonic_time();
    families[n % ARRAY_SIZE(families)].fn(bench);
    run(bench);
    check_frames(bench);
    g_assert_cmpuint(bench->cases, >, before);
    g_test_message("%" PRIu64 " cases in %.1f s", bench->cases - before,
                   (g_get_monotonic_time() - start) / 1e6);
    all_cases += bench->cases - before;
}

int main(int argc, char **argv)
{
    bool has_x64k;
    int status;

    g_test_init(&argc, &argv, NULL);
    has_x64k = guest_has_x64k();
    if (!has_x64k) {
        g_test_message("a QEMU without 64 KB pages: the `off' cases only");
    }
    for (unsigned c = 0; c < ARRAY_SIZE(configs); c++) {
        for (unsigned f = 0; f < ARRAY_SIZE(families); f++) {
            g_autofree char *path = g_strdup_printf("/x64k-mmu/%s/%s",
                                                    configs[c].name,
                                                    families[f].name);

            if (has_x64k || !configs[c].properties[0]) {
                qtest_add_data_func(path, GUINT_TO_POINTER(
                                    c * ARRAY_SIZE(families) + f),
                                    test_family);
            }
        }
    }
    status = g_test_run();
    bench_stop();
    g_test_message("%" PRIu64 " cases in all", all_cases);
    return status;
}
