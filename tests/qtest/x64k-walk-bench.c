/*
 * What a page walk costs: beside stock QEMU, and with a group check
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 *     x64k-walk-bench EMULATOR [STOCK-EMULATOR [ROUNDS [pair]]]
 *
 * A guest without an operating system reads one word of each of many pages,
 * in random order, after a flush, so that each read walks.  The guests take
 * turns, some 20 ms each, and only one runs at a time: what a busy machine
 * does to one it does to its neighbour.  Measured is the CPU time of the
 * emulator; printed, over the rounds, the ratio: median, and quartiles.
 */
#include "qemu/osdep.h"
#include "x64k-bench.h"
#include "x64k-guest.h"

#define PAGES           8192
#define REPEATS         4

typedef struct Side {
    const char *name;
    const char *emulator;
    const char *properties;
    uint64_t cr4;
    enum { PAGES_4K, GROUPS, PAGES_2M } kind;
    Guest *guest;
    double *ns;                 /* per read, of each round */
} Side;

static void start(Side *side)
{
    const uint64_t flags = PTE_RW | PTE_A | PTE_D;

    setenv("QTEST_QEMU_BINARY", side->emulator, 1);
    side->guest = guest_start(side->properties, side->cr4);
    for (uint64_t at = 0; at < PAGES * PAGE; at += PAGE_2M) {
        if (side->kind == PAGES_2M) {
            guest_map_2m(side->guest, TEST_VA + at, TEST_PA + at, flags);
            continue;
        }
        for (uint64_t k = 0; k < PAGE_2M; k += PAGE_64K) {
            if (side->kind == GROUPS) {
                guest_map_group(side->guest, TEST_VA + at + k,
                                TEST_PA + at + k, flags);
                continue;
            }
            for (uint64_t p = k; p < k + PAGE_64K; p += PAGE) {
                guest_map_4k(side->guest, TEST_VA + at + p, TEST_PA + at + p,
                             flags);
            }
        }
    }
    qtest_qmp_assert_success(side->guest->qts, "{ 'execute': 'stop' }");
}

/* CPU time that the emulator has taken so far, in ns. */
static int64_t cpu_ns(const Side *side)
{
    struct timespec t;
    clockid_t clock;

    g_assert_cmpint(clock_getcpuclockid(qtest_pid(side->guest->qts), &clock),
                    ==, 0);
    g_assert_cmpint(clock_gettime(clock, &t), ==, 0);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static double run(Side *side, const GuestCommand *script, GuestLog *log,
                  unsigned repeats)
{
    int64_t from;

    qtest_qmp_assert_success(side->guest->qts, "{ 'execute': 'cont' }");
    from = cpu_ns(side);
    for (unsigned i = 0; i < repeats; i++) {
        guest_run(side->guest, script, PAGES + 1, log);
    }
    from = cpu_ns(side) - from;
    qtest_qmp_assert_success(side->guest->qts, "{ 'execute': 'stop' }");
    for (unsigned i = 1; i <= PAGES; i++) {
        g_assert_cmphex(log[i].vector, ==, NO_FAULT);
    }
    return (double)from / PAGES / repeats;
}

static void print_ratio(const char *what, const Side *a, const Side *b,
                        unsigned rounds)
{
    g_autofree double *ratio = g_new(double, rounds);

    for (unsigned i = 0; i < rounds; i++) {
        ratio[i] = a->ns[i] / b->ns[i];
    }
    printf("%-40s %.4f (%.4f to %.4f)\n", what, quantile(ratio, rounds, 0.5),
           quantile(ratio, rounds, 0.25), quantile(ratio, rounds, 0.75));
}

static double difference(const Side *a, const Side *b, unsigned rounds)
{
    g_autofree double *ns = g_new(double, rounds);

    for (unsigned i = 0; i < rounds; i++) {
        ns[i] = a->ns[i] - b->ns[i];
    }
    return quantile(ns, rounds, 0.5);
}

int main(int argc, char **argv)
{
    const char *ours = argc > 1 ? argv[1] : NULL;
    const char *stock = argc > 2 ? argv[2] : ours;
    unsigned rounds = argc > 3 ? atoi(argv[3]) : 200;
    bool pair = argc > 4;       /* only stock, and ours with features off */
    Side sides[] = {
        { "stock", stock, "", 0, PAGES_4K },
        { "ours, features off", ours, "", 0, PAGES_4K },
        { "ours, features on, 4 KB PTEs", ours,
          ",x64k-contig=on,x64k-leaf=on", CR4_P64, PAGES_4K },
        { "ours, contiguous groups", ours, ",x64k-contig=on,x64k-leaf=on",
          CR4_P64, GROUPS },
        { "stock, 2 MB pages", stock, "", 0, PAGES_2M },
    };
    const unsigned n_sides = pair ? 2 : ARRAY_SIZE(sides);
    g_autofree GuestCommand *script = g_new0(GuestCommand, PAGES + 1);
    g_autofree GuestLog *log = g_new0(GuestLog, PAGES + 1);
    g_autoptr(GRand) rand = g_rand_new_with_seed(1);

    if (!ours || rounds < 1) {
        fprintf(stderr, "usage: %s EMULATOR [STOCK-EMULATOR [ROUNDS [pair]]]"
                "\n", argv[0]);
        return 2;
    }
    for (unsigned i = 0; i < n_sides; i++) {
        start(&sides[i]);
        sides[i].ns = g_new(double, rounds);
    }
    for (unsigned i = 1; i <= PAGES; i++) {
        script[i] = (GuestCommand) {
            .op = OP_LOAD, .operand = TEST_VA + (i - 1) * PAGE,
        };
    }
    for (unsigned i = PAGES; i > 1; i--) {
        unsigned j = g_rand_int_range(rand, 1, i + 1);
        GuestCommand other = script[i];

        script[i] = script[j];
        script[j] = other;
    }
    for (unsigned r = 0; r < rounds; r++) {
        for (unsigned i = 0; i < n_sides; i++) {
            Side *side = &sides[(i + r) % n_sides];

            script[0] = (GuestCommand) {
                .op = OP_CR3, .operand = side->guest->cr3,
            };
            run(side, script, log, 1);          /* warm up */
            side->ns[r] = run(side, script, log, REPEATS);
        }
    }
    for (unsigned i = 0; i < n_sides; i++) {
        printf("%-40s %.1f ns a read\n", sides[i].name,
               quantile(sides[i].ns, rounds, 0.5));
        guest_stop(sides[i].guest);
    }
    print_ratio("features off / stock", &sides[1], &sides[0], rounds);
    if (!pair) {
        print_ratio("features on, 4 KB PTEs / stock", &sides[2], &sides[0],
                    rounds);
        print_ratio("groups / 4 KB PTEs", &sides[3], &sides[2], rounds);
        printf("%-40s %.1f ns\n", "a group check",
               difference(&sides[3], &sides[2], rounds));
        printf("%-40s %.1f ns\n", "one level of stock's walk",
               difference(&sides[0], &sides[4], rounds));
    }
    for (unsigned i = 0; i < n_sides; i++) {
        g_free(sides[i].ns);
    }
    return 0;
}
