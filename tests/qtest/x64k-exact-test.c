/*
 * The TLB model sees too few accesses to be exact: is it?
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A random guest program runs twice on the same instruction count: once with
 * hwtlb-observe=misses, where QEMU's own TLB keeps most accesses from the
 * model, and once with hwtlb-observe=every, where the model sees each.  All
 * counters but those of look-ups and hits must be equal.
 *
 * X64K_SEED=N repeats a run; X64K_ROUNDS=N makes more programs.
 */
#include "qemu/osdep.h"
#include "qemu/cutils.h"
#include "hw/tlb/hwtlb-counters.h"
#include "x64k-guest.h"

#define BOTH            ",x64k-contig=on,x64k-leaf=on"

#define FRAMES          UINT64_C(0x4000000)
/* Of 2 MB each: three that are mapped by small pages, one by a large one. */
#define REGIONS         4
#define SIZE            (REGIONS * PAGE_2M)
#define NOT_MAPPED      (TEST_VA + SIZE + PAGE)
#define PROGRAMS        10
#define STEPS           8               /* of a program */
#define STEP_SIZE       0xa0
#define COMMANDS        120

/*
 * Geometries: each shape with each policy.  The presets' L1 TLBs are fifo;
 * small ones lose entries much more often.
 */
typedef struct Shape {
    unsigned d_sets, d_ways;    /* of the L1 dTLB */
    unsigned i_sets, i_ways;
    unsigned s_sets, s_ways;
    bool xor, split;            /* split: 2 MB and 1 GB have their own array */
    unsigned coalesce;
} Shape;

static const char *const policies[] = {
    "fifo", "lru", "random", "tree-plru", "nru",
};

static const Shape shapes[] = {
    { 1, 1, 1, 1, 1, 2, false, false, 1 },
    { 1, 2, 1, 2, 1, 4, false, false, 8 },
    { 1, 4, 1, 4, 4, 4, false, false, 1 },
    { 1, 24, 1, 16, 4, 12, false, true, 1 },
    { 1, 64, 1, 64, 128, 16, true, false, 4 },
    { 2, 1, 2, 1, 2, 2, false, true, 2 },
    { 4, 2, 4, 2, 8, 2, false, true, 1 },
    { 4, 2, 2, 3, 8, 3, true, false, 16 },
    { 3, 3, 5, 1, 7, 5, false, false, 16 },
    { 8, 4, 8, 4, 16, 4, true, true, 8 },
    { 16, 4, 16, 8, 64, 8, true, true, 1 },
    { 16, 4, 16, 8, 128, 12, true, true, 4 },
    { 32, 1, 3, 4, 32, 1, false, false, 2 },
};

static bool is_power_of_2(unsigned n)
{
    return !(n & (n - 1));
}

static void array(GString *json, unsigned sets, unsigned ways,
                  const char *policy, bool xor, const char *classes)
{
    if (g_str_equal(policy, "tree-plru")) {
        while (!is_power_of_2(ways)) {
            ways--;
        }
    }
    g_string_append_printf(json, "{ \"sets\": %u, \"ways\": %u, "
                           "\"policy\": \"%s\", \"hash\": \"%s\"", sets, ways,
                           policy, xor ? "xor" : "modulo");
    if (classes) {
        g_string_append_printf(json, ", \"classes\": [ %s ]", classes);
    }
    g_string_append(json, " }");
}

#define SMALL \
    "\"4k\", \"8k\", \"16k\", \"32k\", \"64k\", \"64k-hint\", \"64k-leaf\""
#define LARGE   "\"2m\", \"1g\""

static void level(GString *json, const char *name, unsigned sets,
                  unsigned ways, const char *policy, bool xor, bool split)
{
    g_string_append_printf(json, "\"%s\": { \"arrays\": [ ", name);
    array(json, sets, ways, policy, xor, split ? SMALL : SMALL ", " LARGE);
    if (split) {
        g_string_append(json, ", ");
        array(json, 1, 4, policy, false, LARGE);
    }
    g_string_append(json, " ] }, ");
}

/* Geometry @n as a file for hwtlb-config, to be unlinked and freed. */
static char *geometry_file(unsigned n)
{
    const Shape *s = &shapes[n / ARRAY_SIZE(policies)];
    const char *policy = policies[n % ARRAY_SIZE(policies)];
    /* Each meets all others. */
    const char *stlb_policy = policies[(n + n / ARRAY_SIZE(policies)) %
                                       ARRAY_SIZE(policies)];
    GString *json = g_string_new("{ ");
    g_autoptr(GError) err = NULL;
    char *path = NULL;
    int fd = g_file_open_tmp("x64k-geometry-XXXXXX", &path, &err);

    g_assert_no_error(err);
    level(json, "l1d", s->d_sets, s->d_ways, policy, s->xor, s->split);
    level(json, "l1i", s->i_sets, s->i_ways, policy, s->xor, s->split);
    level(json, "stlb", s->s_sets, s->s_ways, stlb_policy, s->xor, s->split);
    g_string_append(json, "\"pwc\": { \"pml4e\": ");
    array(json, 1, 2, "lru", false, NULL);
    g_string_append(json, ", \"pdpte\": ");
    array(json, 1, 3, "fifo", false, NULL);
    g_string_append(json, ", \"pde\": ");
    array(json, 2, 4, "lru", false, NULL);
    g_string_append_printf(json, " }, \"coalesce\": %u }", s->coalesce);
    g_assert_cmpint(write(fd, json->str, json->len), ==, json->len);
    close(fd);
    g_string_free(json, true);
    return path;
}

/*
 * The guest: page tables
 */

typedef struct Program {
    GRand *rand;
    Guest *guest;
    uint64_t code;              /* where the next bytes go, physical */
    uint8_t used[SIZE];         /* by code */
    uint64_t pte[SIZE / PAGE];  /* where it is; 0: the page is a large one's */
} Program;

static uint32_t below(Program *p, uint32_t n)
{
    return g_rand_int(p->rand) % n;
}

static bool chance(Program *p, unsigned percent)
{
    return below(p, 100) < percent;
}

/* The regions lie side by side, and map their frames in order. */
static uint64_t va_of(uint64_t pa)
{
    return TEST_VA + (pa - FRAMES);
}

static uint64_t random_flags(Program *p)
{
    return PTE_RW | (chance(p, 70) ? PTE_A : 0) | (chance(p, 50) ? PTE_D : 0) |
           (chance(p, 30) ? PTE_G : 0);
}

static void map_64k(Program *p, uint64_t pa)
{
    const bool group = chance(p, 25);
    uint64_t flags = random_flags(p);

    for (unsigned k = 0; k < 16; k++, pa += PAGE) {
        if (!group && chance(p, 10)) {
            flags = random_flags(p);
        }
        p->pte[(pa - FRAMES) / PAGE] =
            guest_map_4k(p->guest, va_of(pa), pa,
                         flags | (group || chance(p, 3) ? PTE_P64 : 0));
    }
}

static void map_all(Program *p)
{
    for (unsigned r = 0; r < REGIONS; r++) {
        uint64_t pa = FRAMES + r * PAGE_2M;

        if (r == REGIONS - 1) {
            guest_map_2m(p->guest, va_of(pa), pa, random_flags(p));
            continue;
        }
        for (unsigned k = 0; k < PAGE_2M / PAGE_64K; k++) {
            if (r == REGIONS - 2) {
                guest_map_64k_leaf(p->guest, va_of(pa + k * PAGE_64K),
                                   pa + k * PAGE_64K, random_flags(p));
            } else {
                map_64k(p, pa + k * PAGE_64K);
            }
        }
    }
}

/* A page that is used a lot, one of those that share sets, or any. */
static uint64_t random_page(Program *p)
{
    return chance(p, 60) ? below(p, 24) :
           chance(p, 70) ? 0x100 + below(p, 64) * 5 :
           below(p, SIZE / PAGE - 2);
}

/* One that has a PTE of its own. */
static uint64_t random_small_page(Program *p)
{
    uint64_t page;

    do {
        page = random_page(p);
    } while (!p->pte[page]);
    return page;
}

/*
 * An address of data: in the upper half of a page, or across the end of an
 * even one.
 */
static uint64_t random_data(Program *p)
{
    uint64_t va = TEST_VA + random_page(p) * PAGE;

    return chance(p, 10) ? (va & ~PAGE) + PAGE - 1 - below(p, 7)
                         : va + 0x800 + below(p, 0x780);
}

/*
 * The guest: code.  It is called with "ret" to come, and may use all
 * registers but rsi, rdi, rcx, rsp and r15.
 */

static void put(Program *p, const void *bytes, size_t n)
{
    memcpy(p->guest->ram + p->code, bytes, n);
    p->code += n;
}

#define PUT(p, ...) \
    put(p, (const uint8_t[]) { __VA_ARGS__ }, \
        sizeof((const uint8_t[]) { __VA_ARGS__ }))

/* mov $value, %rax (or %rbx) */
static void put_mov(Program *p, unsigned reg, uint64_t value)
{
    PUT(p, 0x48, 0xb8 + reg);
    put(p, &value, sizeof(value));
}

#define RAX 0
#define RDX 2
#define RBX 3

static void put_access(Program *p)
{
    const unsigned kind = below(p, 12);

    /* Few fault; where it changes rsi or rdi, a fault's handler would too. */
    put_mov(p, RAX, kind < 10 && below(p, 300) == 0 ? NOT_MAPPED
                                                    : random_data(p));
    switch (kind) {
    case 0: case 1: case 2: case 3: case 4:
        PUT(p, 0x48, 0x8b, 0x10);               /* mov (%rax), %rdx */
        break;
    case 5: case 6: case 7:
        PUT(p, 0x48, 0x89, 0x18);               /* mov %rbx, (%rax) */
        break;
    case 8:
        PUT(p, 0xf0, 0x48, 0x0f, 0xc1, 0x10);   /* lock xadd %rdx, (%rax) */
        break;
    case 9:
        PUT(p, 0xf0, 0x48, 0x0f, 0xb1, 0x10);   /* lock cmpxchg %rdx, (%rax) */
        break;
    case 10:
        /* xchg %rax, %rdi; push %rcx; mov $24, %ecx; rep stosb; ... */
        PUT(p, 0x48, 0x97, 0x51, 0xb9, 24, 0, 0, 0, 0xf3, 0xaa, 0x59,
            0x48, 0x97);
        break;
    case 11:
        /* Two pages in one instruction: movsb from there to elsewhere. */
        put_mov(p, RBX, random_data(p));
        /* xchg %rax, %rdi; xchg %rbx, %rsi; movsb; xchg them back */
        PUT(p, 0x48, 0x97, 0x48, 0x87, 0xde, 0xa4, 0x48, 0x87, 0xde, 0x48,
            0x97);
        break;
    }
}

/* A store into the immediate of an instruction that comes right after. */
static void put_self_modifying(Program *p)
{
    const uint64_t mov = va_of(p->code) + 10 + 2;

    put_mov(p, RAX, mov + 1);
    PUT(p, 0x88, 0x18);                         /* mov %bl, (%rax) */
    PUT(p, 0xba, 0, 0, 0, 0);                   /* mov $0, %edx */
}

static void put_step(Program *p)
{
    for (unsigned n = below(p, 4); n > 0; n--) {
        put_access(p);
    }
    if (chance(p, 5)) {
        put_self_modifying(p);
    }
    if (chance(p, 3)) {
        put_mov(p, RAX, random_data(p));
        PUT(p, 0x0f, 0x01, 0x38);               /* invlpg (%rax) */
    }
}

/*
 * A place for a step that no other has: in the lower half of a page, or across
 * the end of an odd one.
 */
static uint64_t random_place(Program *p)
{
    uint64_t at;

    do {
        at = random_page(p) * PAGE;
        if (chance(p, 15)) {
            at = (at | PAGE) + PAGE - 1 - below(p, 8);
        } else {
            at += 0x20 + below(p, 12) * STEP_SIZE;
        }
    } while (memchr(p->used + at, 1, STEP_SIZE));
    memset(p->used + at, 1, STEP_SIZE);
    return FRAMES + at;
}

/* jmp (or jcc, with @opcode of two bytes) to @pa */
static void put_jump(Program *p, unsigned condition, uint64_t pa)
{
    int32_t distance;

    if (condition) {
        PUT(p, 0x0f, 0x80 + condition);
    } else {
        PUT(p, 0xe9);
    }
    distance = pa - (p->code + 4);
    put(p, &distance, sizeof(distance));
}

#define JNZ 5

/* Lays out a program of random steps, each done once or more. */
static uint64_t lay_out(Program *p)
{
    const uint64_t entry = random_place(p);
    uint64_t place = entry;

    for (unsigned i = 0; i < STEPS; i++) {
        const uint64_t next = random_place(p);
        uint64_t again;

        p->code = place;
        PUT(p, 0x41, 0xbb, 1 + below(p, 6), 0, 0, 0);   /* mov $n, %r11d */
        again = p->code;
        put_step(p);
        PUT(p, 0x41, 0xff, 0xcb);                       /* dec %r11d */
        put_jump(p, JNZ, again);
        if (chance(p, 30)) {
            put_mov(p, RAX, va_of(next));
            PUT(p, 0xff, 0xe0);                         /* jmp *%rax */
        } else {
            put_jump(p, 0, next);
        }
        g_assert_cmpuint(p->code - place, <=, STEP_SIZE);
        place = next;
    }
    p->code = place;
    PUT(p, 0xc3);                                       /* ret */
    return va_of(entry);
}

/*
 * Two runs of the same
 */

static uint64_t seed;

static const char *const names[HWTLB_C__MAX] = {
#define X(id, name, what) name,
    HWTLB_COUNTERS(X)
#undef X
};

/* What the model need not see: the two runs may differ in these. */
static bool is_of_all_accesses(unsigned counter)
{
    return counter == HWTLB_C_L1D_LOOKUP || counter == HWTLB_C_L1D_HIT ||
           counter == HWTLB_C_L1I_LOOKUP || counter == HWTLB_C_L1I_HIT;
}

typedef struct Outcome {
    uint64_t counters[HWTLB_C__MAX];
    GuestLog log[COMMANDS];
} Outcome;

static void run(const char *properties, bool every, uint32_t program_seed,
                Outcome *outcome)
{
    g_autofree Program *p = g_new0(Program, 1);
    g_autofree char *cpu = g_strdup_printf("%s%s,hwtlb-observe=%s", BOTH,
                                           properties,
                                           every ? "every" : "misses");
    GuestCommand script[COMMANDS];
    uint64_t entry[PROGRAMS];

    p->rand = g_rand_new_with_seed(program_seed);
    p->guest = guest_start_with(cpu, CR4_P64 | CR4_PGE, 1,
                                "-icount shift=0");
    map_all(p);
    for (unsigned i = 0; i < PROGRAMS; i++) {
        entry[i] = lay_out(p);
    }
    for (unsigned i = 0; i < COMMANDS; i++) {
        switch (below(p, 12)) {
        case 0:
            script[i] = (GuestCommand) { OP_CR3, 0, p->guest->cr3 };
            break;
        case 1:
            script[i] = (GuestCommand) { OP_INVLPG, 0, random_data(p) };
            break;
        case 2:
            /* A page loses A and D; its translations stay for now. */
            script[i] = (GuestCommand) {
                OP_AND, ~(int)(PTE_A | PTE_D), p->pte[random_small_page(p)],
            };
            break;
        default:
            script[i] = (GuestCommand) {
                OP_CALL, 0, entry[below(p, PROGRAMS)],
            };
            break;
        }
    }
    guest_run(p->guest, script, COMMANDS, outcome->log);
    /* It would go on to look for more work. */
    qtest_qmp_assert_success(p->guest->qts, "{ 'execute': 'stop' }");
    for (unsigned i = 0; i < HWTLB_C__MAX; i++) {
        outcome->counters[i] = guest_counter(p->guest, names[i]);
    }
    guest_stop(p->guest);
    g_rand_free(p->rand);
}

static void check(const char *properties, const char *what, unsigned n)
{
    const uint32_t program_seed = seed + n;
    g_autofree Outcome *some = g_new0(Outcome, 1);
    g_autofree Outcome *all = g_new0(Outcome, 1);
    unsigned different = 0;

    run(properties, false, program_seed, some);
    run(properties, true, program_seed, all);
    for (unsigned i = 0; i < COMMANDS; i++) {
        g_assert_cmphex(some->log[i].vector, ==, all->log[i].vector);
    }
    for (unsigned i = 0; i < HWTLB_C__MAX; i++) {
        if (!is_of_all_accesses(i) && some->counters[i] != all->counters[i]) {
            g_test_message("%s: %s: %" PRIu64 ", of all: %" PRIu64, what,
                           names[i], some->counters[i], all->counters[i]);
            different++;
        }
    }
    if (different) {
        g_test_fail();
    }
    g_assert_cmpuint(all->counters[HWTLB_C_L1D_LOOKUP], ==,
                     all->counters[HWTLB_C_L1D_HIT] +
                     all->counters[HWTLB_C_L1D_LOAD_MISS] +
                     all->counters[HWTLB_C_L1D_STORE_MISS]);
    g_assert_cmpuint(all->counters[HWTLB_C_L1I_LOOKUP], ==,
                     all->counters[HWTLB_C_L1I_HIT] +
                     all->counters[HWTLB_C_L1I_MISS]);
    /* It was a test: things were lost and found. */
    g_assert_cmpuint(all->counters[HWTLB_C_STLB_LOAD_MISS], >, 0);
    g_assert_cmpuint(all->counters[HWTLB_C_L1I_MISS], >, 0);
}

static unsigned rounds(void)
{
    const char *text = g_getenv("X64K_ROUNDS");
    unsigned value = 1;

    g_assert_true(!text || qemu_strtoui(text, NULL, 0, &value) == 0);
    return value;
}

static void test_geometry(const void *arg)
{
    const unsigned n = (uintptr_t)arg;
    g_autofree char *path = geometry_file(n);
    g_autofree char *properties = g_strdup_printf(",hwtlb-config=%s", path);

    for (unsigned round = 0; round < rounds(); round++) {
        check(properties, path, n + 1000 * round);
    }
    unlink(path);
}

static void test_preset(const void *name)
{
    for (unsigned round = 0; round < rounds(); round++) {
        for (unsigned coalesce = 1; coalesce <= 16; coalesce *= 4) {
            g_autofree char *properties =
                g_strdup_printf(",hwtlb=%s,hwtlb-coalesce=%u", (char *)name,
                                coalesce);

            check(properties, properties, 1000 * round + 999);
        }
    }
}

/* Can this QEMU read a geometry from a file? */
static bool has_geometry_files(void)
{
    QTestState *qts = qtest_init("-machine none -nodefaults");
    QDict *answer = qtest_qmp(qts, "{ 'execute': 'query-hwtlb-presets' }");
    bool found = qdict_haskey(answer, "return");

    qobject_unref(answer);
    qtest_quit(qts);
    return found;
}

int main(int argc, char **argv)
{
    static const char *const presets[] = {
        "skylake", "golden-cove", "zen3", "zen4", "zen5", "neoverse-n1",
        "ideal",
    };
    const char *text;

    g_test_init(&argc, &argv, NULL);
    text = g_getenv("X64K_SEED");
    seed = text ? g_ascii_strtoull(text, NULL, 0) : g_random_int();
    g_test_message("X64K_SEED=%" PRIu64, seed);
    for (unsigned i = 0; i < ARRAY_SIZE(presets); i++) {
        g_autofree char *path = g_strdup_printf("exact/%s", presets[i]);

        qtest_add_data_func(path, presets[i], test_preset);
    }
    if (!has_geometry_files()) {
        return g_test_run();
    }
    for (uintptr_t n = 0; n < ARRAY_SIZE(shapes) * ARRAY_SIZE(policies); n++) {
        const Shape *s = &shapes[n / ARRAY_SIZE(policies)];
        g_autofree char *path =
            g_strdup_printf("exact/%s/%ux%u,%ux%u,%ux%u,%u",
                            policies[n % ARRAY_SIZE(policies)], s->d_sets,
                            s->d_ways, s->i_sets, s->i_ways, s->s_sets,
                            s->s_ways, s->coalesce);

        qtest_add_data_func(path, (void *)n, test_geometry);
    }
    return g_test_run();
}
