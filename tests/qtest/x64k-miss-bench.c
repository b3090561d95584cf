/*
 * What the TLB model costs, by how often its L1 dTLB misses
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 *     x64k-miss-bench [-f] [-c CASE] [-n CALLS] EMULATOR
 *                     [STOCK-EMULATOR [ROUNDS [PROPERTIES...]]]
 *
 * QEMU's own TLB (L0) has 256 entries and may grow when it is flushed.  This
 * guest does not flush it, as a program that runs undisturbed does not; with
 * -f it does, at the start of each turn, and L0 grows until it has all pages.
 * -c runs only the cases whose names begin so, -n makes turns shorter or
 * longer (both for profilers).
 *
 * A loop without an operating system reads a word of a random page: one of 16,
 * or, for some of the reads, one of many.  Guests take turns, some 50 ms each,
 * and only one runs at a time.  Printed is, for each of the models (",hwtlb=
 * skylake"), the ratio of times to the stock emulator's: the median over the
 * rounds, and quartiles.
 */
#include "qemu/osdep.h"
#include <math.h>
#include "x64k-bench.h"
#include "x64k-guest.h"

#define MAX_PAGES       2048
#define CODE            (TEST_PA + MAX_PAGES * PAGE)
#define CODE_VA         (TEST_VA + MAX_PAGES * PAGE)
#define ALL             65536
#define READS           100000
#define MAX_CALLS       30

typedef struct Work {
    const char *name;
    unsigned pages;
    unsigned often;             /* of 65,536 reads, not to the 16 pages */
    bool swept;
} Work;

static const Work works[] = {
    { "16 pages", 2048, 0 },
    { "0.1 % in 2,048", 2048, ALL / 1000, true },
    { "0.3 % in 2,048", 2048, 3 * ALL / 1000, true },
    { "1 % in 2,048", 2048, ALL / 100, true },
    { "3 % in 2,048", 2048, 3 * ALL / 100, true },
    { "10 % in 2,048", 2048, ALL / 10, true },
    { "30 % in 2,048", 2048, 3 * ALL / 10, true },
    { "100 % in 2,048", 2048, ALL, true },
    { "100 % in 256", 256, ALL },
    { "100 % in 64", 64, ALL },
};

typedef struct Side {
    const char *properties;
    Guest *guest;
    double *ticks[ARRAY_SIZE(works)];      /* ticks for a read, of each round */
} Side;

static uint8_t *put(uint8_t *at, const void *bytes, size_t n)
{
    memcpy(at, bytes, n);
    return at + n;
}

#define PUT(at, ...) \
    put(at, (const uint8_t[]) { __VA_ARGS__ }, \
        sizeof((const uint8_t[]) { __VA_ARGS__ }))
#define PUT_VALUE(at, type, value) \
    put(at, (const type[]) { value }, sizeof(type))

static void write_code(Guest *guest, const Work *work)
{
    uint8_t *at = guest->ram + CODE + (work - works) * PAGE, *loop;

    at = PUT(at, 0x48, 0xbd);                   /* mov $, %rbp */
    at = PUT_VALUE(at, uint64_t, TEST_VA);
    at = PUT(at, 0x49, 0xb9);                   /* mov $, %r9 */
    at = PUT_VALUE(at, uint64_t, 6364136223846793005ull);
    at = PUT(at, 0x41, 0xbb);                   /* mov $, %r11d */
    at = PUT_VALUE(at, uint32_t, READS);
    at = PUT(at, 0x0f, 0x31);                   /* rdtsc */
    at = PUT(at, 0x48, 0xc1, 0xe2, 0x20);       /* shl $32, %rdx */
    at = PUT(at, 0x48, 0x09, 0xc2);             /* or %rax, %rdx */
    at = PUT(at, 0x49, 0x89, 0xd5);             /* mov %rdx, %r13 */
    loop = at;
    at = PUT(at, 0x4d, 0x0f, 0xaf, 0xc1);       /* imul %r9, %r8 */
    at = PUT(at, 0x4d, 0x8d, 0x80, 0x39, 0x30, 0, 0); /* lea 12345(%r8), %r8 */
    at = PUT(at, 0x4c, 0x89, 0xc0);             /* mov %r8, %rax */
    at = PUT(at, 0x48, 0xc1, 0xe8, 0x15);       /* shr $21, %rax */
    at = PUT(at, 0x4c, 0x89, 0xc2);             /* mov %r8, %rdx */
    at = PUT(at, 0x48, 0xc1, 0xea, 0x30);       /* shr $48, %rdx */
    at = PUT(at, 0x41, 0x89, 0xc4);             /* mov %eax, %r12d */
    at = PUT(at, 0x41, 0x81, 0xe4, 0xf8, 0x0f, 0, 0); /* and $0xff8, %r12d */
    at = PUT(at, 0xc1, 0xe8, 0x0c);             /* shr $12, %eax */
    at = PUT(at, 0x25);                         /* and $, %eax */
    at = PUT_VALUE(at, uint32_t, work->pages - 1);
    at = PUT(at, 0x81, 0xfa);                   /* cmp $, %edx */
    at = PUT_VALUE(at, uint32_t, work->often);
    at = PUT(at, 0x72, 0x03);                   /* jb over the next */
    at = PUT(at, 0x83, 0xe0, 0x0f);             /* and $15, %eax */
    at = PUT(at, 0x48, 0xc1, 0xe0, 0x0c);       /* shl $12, %rax */
    at = PUT(at, 0x4c, 0x09, 0xe0);             /* or %r12, %rax */
    at = PUT(at, 0x48, 0x8b, 0x54, 0x28, 0x00); /* mov (%rax, %rbp), %rdx */
    at = PUT(at, 0x41, 0xff, 0xcb);             /* dec %r11d */
    at = PUT(at, 0x0f, 0x85);                   /* jnz loop */
    at = PUT_VALUE(at, int32_t, loop - (at + 4));
    at = PUT(at, 0x0f, 0x31);                   /* rdtsc */
    at = PUT(at, 0x48, 0xc1, 0xe2, 0x20);       /* shl $32, %rdx */
    at = PUT(at, 0x48, 0x09, 0xc2);             /* or %rax, %rdx */
    at = PUT(at, 0x4c, 0x29, 0xea);             /* sub %r13, %rdx */
    PUT(at, 0xc3);                              /* ret */
}

static void start(Side *side, const char *emulator)
{
    setenv("QTEST_QEMU_BINARY", emulator, 1);
    side->guest = guest_start(side->properties, 0);
    for (uint64_t at = 0; at < (MAX_PAGES + ARRAY_SIZE(works)) * PAGE;
         at += PAGE) {
        guest_map_4k(side->guest, TEST_VA + at, TEST_PA + at,
                     PTE_RW | PTE_A | PTE_D);
    }
    for (unsigned w = 0; w < ARRAY_SIZE(works); w++) {
        write_code(side->guest, &works[w]);
    }
    qtest_qmp_assert_success(side->guest->qts, "{ 'execute': 'stop' }");
}

/*
 * Host clock ticks for a read, by the guest's own clock.  The quickest of
 * many short calls is one that nothing else has interrupted.
 */
static double run(Side *side, const Work *work, unsigned calls, bool flush)
{
    GuestCommand script[MAX_CALLS + 1] = {
        { .op = flush ? OP_CR3 : OP_LOAD, .operand = side->guest->cr3 },
    };
    const uint64_t code = CODE_VA + (work - works) * PAGE;
    GuestLog log[MAX_CALLS + 1];
    uint64_t ticks = UINT64_MAX;

    for (unsigned i = 1; i <= calls; i++) {
        script[i] = (GuestCommand) { .op = OP_CALL, .operand = code };
    }
    qtest_qmp_assert_success(side->guest->qts, "{ 'execute': 'cont' }");
    guest_run(side->guest, script, calls + 1, log);
    qtest_qmp_assert_success(side->guest->qts, "{ 'execute': 'stop' }");
    for (unsigned i = MIN(3, calls); i <= calls; i++) {
        g_assert_cmphex(log[i].vector, ==, NO_FAULT);
        ticks = MIN(ticks, log[i].value);
    }
    return (double)ticks / READS;
}

int main(int argc, char **argv)
{
    const char *name = argv[0], *only = "", *ours, *stock;
    unsigned rounds, n, calls = MAX_CALLS;
    bool flush = false;
    int c;
    g_autofree Side *sides = NULL;
    g_autofree double *ratio = NULL;

    while ((c = getopt(argc, argv, "c:fn:")) != -1) {
        if (c == 'f') {
            flush = true;
        } else if (c == 'c') {
            only = optarg;
        } else {
            calls = c == 'n' ? atoi(optarg) : 0;
        }
    }
    argc -= optind - 1;
    argv += optind - 1;
    ours = argc > 1 ? argv[1] : NULL;
    stock = argc > 2 ? argv[2] : ours;
    rounds = argc > 3 ? atoi(argv[3]) : 15;
    n = argc > 4 ? argc - 3 : 3;
    if (!ours || rounds < 1 || calls < 1 || calls > MAX_CALLS) {
        fprintf(stderr, "usage: %s [-f] [-c CASE] [-n CALLS, 1 to %d] "
                "EMULATOR [STOCK-EMULATOR [ROUNDS [PROPERTIES...]]]\n", name,
                MAX_CALLS);
        return 2;
    }
    sides = g_new0(Side, n);
    sides[0].properties = "";
    for (unsigned i = 1; i < n; i++) {
        sides[i].properties = argc > 4 ? argv[3 + i] :
                              i == 1 ? "" : ",hwtlb=skylake";
    }
    for (unsigned i = 0; i < n; i++) {
        start(&sides[i], i ? ours : stock);
        for (unsigned w = 0; w < ARRAY_SIZE(works); w++) {
            sides[i].ticks[w] = g_new(double, rounds);
        }
    }
    ratio = g_new(double, rounds);
    for (unsigned w = 0; w < ARRAY_SIZE(works); w++) {
        if (!g_str_has_prefix(works[w].name, only)) {
            continue;
        }
        for (unsigned r = 0; r < rounds; r++) {
            for (unsigned i = 0; i < n; i++) {
                Side *side = &sides[(i + r) % n];

                side->ticks[w][r] = run(side, &works[w], calls, flush);
            }
        }
        printf("%-16s stock %6.1f ticks", works[w].name,
               quantile(sides[0].ticks[w], rounds, 0.5));
        for (unsigned i = 1; i < n; i++) {
            for (unsigned r = 0; r < rounds; r++) {
                ratio[r] = sides[i].ticks[w][r] / sides[0].ticks[w][r];
            }
            printf("   '%s' %6.1f ticks, %.3f (%.3f to %.3f)",
                   sides[i].properties,
                   quantile(sides[i].ticks[w], rounds, 0.5),
                   quantile(ratio, rounds, 0.5), quantile(ratio, rounds, 0.25),
                   quantile(ratio, rounds, 0.75));
        }
        printf("\n");
        fflush(stdout);
    }
    for (unsigned i = 1; i < n; i++) {
        double logs = 0;
        unsigned swept = 0;

        for (unsigned w = 0; w < ARRAY_SIZE(works); w++) {
            if (works[w].swept && !*only) {
                logs += log(quantile(sides[i].ticks[w], rounds, 0.5) /
                            quantile(sides[0].ticks[w], rounds, 0.5));
                swept++;
            }
        }
        if (swept) {
            printf("'%s': geometric mean of 0.1 to 100 %%: %.3f\n",
                   sides[i].properties, exp(logs / swept));
        }
    }
    for (unsigned i = 0; i < n; i++) {
        guest_stop(sides[i].guest);
        for (unsigned w = 0; w < ARRAY_SIZE(works); w++) {
            g_free(sides[i].ticks[w]);
        }
    }
    return 0;
}
