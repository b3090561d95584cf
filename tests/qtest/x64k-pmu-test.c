/*
 * Performance counters: their registers, and that they count what the TLB
 * model counts
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What registers keep, and what faults, is written here from the manuals.
 * What is counted is compared with closed forms and with the model's own
 * counters (QMP query-stats) over the same region: before and after it the
 * guest does nothing that misses, which is checked too.
 */
#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "hw/tlb/hwtlb-counters.h"
#include "qemu/atomic.h"
#include "x64k-guest.h"

#define K7_SELECT       0xc0010000u
#define K7_COUNTER      0xc0010004u
#define SELECT(n)       (0xc0010200u + 2 * (n))
#define COUNTER(n)      (0xc0010201u + 2 * (n))
#define V2_STATUS       0xc0000300u
#define V2_CONTROL      0xc0000301u
#define V2_CLEAR        0xc0000302u
#define INTEL_COUNTER   0xc1u
#define INTEL_SELECT    0x186u
#define INTEL_FIXED     0x309u
#define INTEL_FIXED_CTL 0x38du
#define INTEL_STATUS    0x38eu
#define INTEL_CONTROL   0x38fu
#define INTEL_CLEAR     0x390u

#define USER            (1ull << 16)
#define OS              (1ull << 17)
#define BOTH            (USER | OS)
#define INT             (1ull << 20)
#define EN              (1ull << 22)
#define EVENT(select, umask) \
    ((uint64_t)((select) & 0xff) | (uint64_t)(umask) << 8 | \
     (uint64_t)((select) >> 8) << 32)

#define CR4_PCE         (1ull << 8)
#define GP              13
#define LVTPC           0xfee00340u
#define APIC_SVR        0xfee000f0u
#define WIDTH           ((1ull << 48) - 1)

#define TLB             ",x64k-contig=on,x64k-leaf=on,hwtlb=skylake"
#define PMU             TLB ",x64k-pmu=on"
#define K8              PMU
#define ZEN             PMU ",family=23,model=1,stepping=2"
#define ZEN4            PMU ",family=25,model=17,stepping=1"
#define SKYLAKE         PMU ",vendor=GenuineIntel,family=6,model=94"
#define GOLDEN_COVE     PMU ",vendor=GenuineIntel,family=6,model=143"

static Guest *start(const char *cpu)
{
    Guest *guest = guest_start(cpu, CR4_P64);

    /* It has made the accesses of its start by then, and those of a user. */
    guest_map_4k(guest, TEST_VA + GiB, TEST_PA,
                 PTE_RW | PTE_US | PTE_A | PTE_D);
    guest_do(guest, OP_LOAD | OP_USER, TEST_VA + GiB);
    guest_do(guest, OP_LOAD, TEST_VA + GiB);
    return guest;
}

static GuestLog wrmsr(Guest *guest, uint32_t msr, uint64_t value)
{
    const GuestCommand command = { OP_WRMSR, msr, value };
    GuestLog log;

    guest_run(guest, &command, 1, &log);
    return log;
}

static void set(Guest *guest, uint32_t msr, uint64_t value)
{
    g_assert_cmphex(wrmsr(guest, msr, value).vector, ==, NO_FAULT);
}

static GuestLog rdmsr(Guest *guest, uint32_t msr)
{
    const GuestCommand command = { OP_RDMSR, msr, 0 };
    GuestLog log;

    guest_run(guest, &command, 1, &log);
    return log;
}

static uint64_t get(Guest *guest, uint32_t msr)
{
    const GuestLog log = rdmsr(guest, msr);

    g_assert_cmphex(log.vector, ==, NO_FAULT);
    return log.value;
}

/*
 * Registers
 */

typedef struct Kept {
    uint32_t msr;
    uint64_t keeps;             /* bits that can be set */
    uint64_t faults;            /* bits that raise #GP if they are set */
    bool read_only;             /* writes change nothing */
    bool sign_extends;          /* bit 31 */
} Kept;

/* APM volume 2, 13.2: what can be set is what has a name there. */
#define SELECT_KEEPS    (0xffull | 0xffull << 8 | BOTH | 1ull << 18 | INT | \
                         EN | 1ull << 23 | 0xffull << 24 | 0xfull << 32 | \
                         3ull << 40)
/* SDM volume 3, 20.2.1.1: version 2 has 31:0, but for AnyThread. */
#define INTEL_KEEPS     (0xffffffffull & ~(1ull << 21))

static void check_value(Guest *guest, const Kept *kept, uint64_t value)
{
    const uint64_t before = get(guest, kept->msr);
    uint64_t expected = kept->sign_extends ? (int32_t)value : value;

    if (value & kept->faults) {
        g_assert_cmphex(wrmsr(guest, kept->msr, value).vector, ==, GP);
        expected = before;
    } else {
        set(guest, kept->msr, value);
        expected = kept->read_only ? before : expected & kept->keeps;
    }
    g_assert_cmphex(get(guest, kept->msr), ==, expected);
}

/* Nothing counts in between, or the counters would not stay as they are. */
static void check_register(Guest *guest, const Kept *kept, uint64_t avoid)
{
    check_value(guest, kept, 0);
    check_value(guest, kept, ~avoid);
    for (int bit = 0; bit < 64; bit++) {
        check_value(guest, kept, 1ull << bit & ~avoid);
        check_value(guest, kept, ~(1ull << bit) & ~avoid);
    }
    for (int i = 0; i < 100; i++) {
        uint64_t value = (uint64_t)g_test_rand_int() << 32 |
                         (uint32_t)g_test_rand_int();

        check_value(guest, kept, value & ~avoid);
    }
    check_value(guest, kept, 0);
}

static void check_absent(Guest *guest, uint32_t msr)
{
    g_assert_cmphex(rdmsr(guest, msr).vector, ==, GP);
    g_assert_cmphex(wrmsr(guest, msr, 0).vector, ==, GP);
    g_assert_cmphex(wrmsr(guest, msr, ~0ull).vector, ==, GP);
}

static void check_amd(Guest *guest, unsigned core, bool v2)
{
    for (unsigned n = 0; n < MAX(core, 4); n++) {
        const Kept select = {
            core ? SELECT(n) : K7_SELECT + n, SELECT_KEEPS, 0,
        };
        const Kept counter = {
            core ? COUNTER(n) : K7_COUNTER + n, WIDTH, 0,
        };

        check_register(guest, &select, 0);
        check_register(guest, &counter, 0);
        if (core && n < 4) {
            /* The old names are those of the same registers. */
            set(guest, K7_SELECT + n, EVENT(0x45, n));
            g_assert_cmphex(get(guest, SELECT(n)), ==, EVENT(0x45, n));
            set(guest, SELECT(n), 0);
            g_assert_cmphex(get(guest, K7_SELECT + n), ==, 0);
            set(guest, K7_COUNTER + n, 1000 + n);
            g_assert_cmphex(get(guest, COUNTER(n)), ==, 1000 + n);
        }
    }
    for (unsigned n = core; n < 8; n++) {
        check_absent(guest, SELECT(n));
        check_absent(guest, COUNTER(n));
    }
    /* Of the north bridge, and of the third level of caches. */
    for (uint32_t msr = 0xc0010230; msr < 0xc0010248; msr++) {
        check_absent(guest, msr);
    }
    if (v2) {
        const Kept control = { V2_CONTROL, 0x3f, 0 };
        const Kept status = { V2_STATUS, 0, 0, .read_only = true };
        const Kept clear = { V2_CLEAR, 0, 0 };

        g_assert_cmphex(get(guest, V2_CONTROL), ==, 0x3f);
        check_register(guest, &control, 0);
        check_register(guest, &status, 0);
        check_register(guest, &clear, 0);
        check_absent(guest, 0xc0000303);
    } else {
        for (uint32_t msr = 0xc0000300; msr < 0xc0000304; msr++) {
            check_absent(guest, msr);
        }
    }
}

static void test_registers_k8(void)
{
    Guest *guest = start(K8);

    check_amd(guest, 0, false);
    guest_stop(guest);
}

static void test_registers_zen(void)
{
    Guest *guest = start(ZEN);

    check_amd(guest, 6, false);
    guest_stop(guest);
    /* Who does without has what there was before. */
    guest = start(ZEN ",perfctr-core=off");
    check_amd(guest, 0, false);
    guest_stop(guest);
}

static void test_registers_zen4(void)
{
    Guest *guest = start(ZEN4);

    check_amd(guest, 6, true);
    guest_stop(guest);
    guest = start(ZEN4 ",perfmon-v2=off");
    check_amd(guest, 6, false);
    guest_stop(guest);
}

static void test_registers_intel(const void *cpu)
{
    const uint64_t global = 0xfull | 7ull << 32;
    const Kept fixed_control = { INTEL_FIXED_CTL, 0xbbb, ~0xbbbull };
    const Kept control = { INTEL_CONTROL, global, ~global };
    const Kept clear = { INTEL_CLEAR, 0, ~(global | 3ull << 62) };
    Guest *guest = start(cpu);

    g_assert_cmphex(get(guest, INTEL_CONTROL), ==, 0xf);
    check_register(guest, &control, 0);
    for (unsigned n = 0; n < 4; n++) {
        const Kept select = { INTEL_SELECT + n, INTEL_KEEPS, ~INTEL_KEEPS };
        const Kept counter = { INTEL_COUNTER + n, WIDTH, 0,
                               .sign_extends = true };

        check_register(guest, &select, 0);
        check_register(guest, &counter, 0);
    }
    for (unsigned n = 0; n < 3; n++) {
        const Kept fixed = { INTEL_FIXED + n, WIDTH, ~WIDTH };

        check_register(guest, &fixed, 0);
    }
    check_register(guest, &fixed_control, 0);
    /* It can be read only. */
    g_assert_cmphex(wrmsr(guest, INTEL_STATUS, 1).vector, ==, GP);
    g_assert_cmphex(get(guest, INTEL_STATUS), ==, 0);
    check_register(guest, &clear, 0);
    for (unsigned n = 4; n < 8; n++) {
        check_absent(guest, INTEL_SELECT + n);
        check_absent(guest, INTEL_COUNTER + n);
    }
    for (unsigned n = 0; n < 8; n++) {
        check_absent(guest, 0x4c1 + n);
    }
    check_absent(guest, INTEL_FIXED + 3);
    guest_stop(guest);
}

static void cpuid(Guest *guest, uint32_t leaf, uint32_t *regs)
{
    const GuestLog log = guest_do(guest, OP_CPUID, leaf);

    regs[0] = log.vector;
    regs[1] = log.error_code;
    regs[2] = log.cr2;
    regs[3] = log.value;
}

#define CORE_BIT        (1u << 23)      /* 80000001h ECX */

static void test_cpuid(void)
{
    static const struct {
        const char *cpu;
        bool core, v2, intel;
    } rows[] = {
        { K8 },
        { ZEN, .core = true },
        { ZEN4, .core = true, .v2 = true },
        { SKYLAKE, .intel = true },
        { TLB },
        { TLB ",family=25,model=17" },
        { TLB ",vendor=GenuineIntel,family=6,model=94" },
    };
    uint32_t regs[4];

    for (int i = 0; i < ARRAY_SIZE(rows); i++) {
        Guest *guest = start(rows[i].cpu);

        cpuid(guest, 0x80000001, regs);
        g_assert_cmphex(regs[2] & CORE_BIT, ==, rows[i].core ? CORE_BIT : 0);
        cpuid(guest, 0x80000000, regs);
        if (rows[i].v2) {
            g_assert_cmphex(regs[0], >=, 0x80000022);
        }
        if (regs[0] >= 0x80000022) {
            cpuid(guest, 0x80000022, regs);
            g_assert_cmphex(regs[0], ==, rows[i].v2);
            g_assert_cmphex(regs[1], ==, rows[i].v2 ? 6 : 0);
        }
        cpuid(guest, 0xa, regs);
        if (rows[i].intel) {
            /* Version 2, four counters of 48 bits; fixed: three of 48. */
            g_assert_cmphex(regs[0], ==, 0x07300402);
            g_assert_cmphex(regs[1], ==, 0x78);
            g_assert_cmphex(regs[3], ==, 3 | 48 << 5);
        } else {
            g_assert_cmphex(regs[0] | regs[1] | regs[3], ==, 0);
        }
        guest_stop(guest);
    }
}

/* Without the property nothing is there, and nothing faults, as ever. */
static void test_off(void)
{
    static const uint32_t msrs[] = {
        K7_SELECT, K7_COUNTER, SELECT(0), COUNTER(5), V2_CONTROL,
        INTEL_SELECT, INTEL_COUNTER, INTEL_CONTROL,
    };
    Guest *guest = start(TLB);

    for (int i = 0; i < ARRAY_SIZE(msrs); i++) {
        set(guest, msrs[i], ~0ull);
        g_assert_cmphex(get(guest, msrs[i]), ==, 0);
    }
    /* RDPMC is not there either. */
    g_assert_cmphex(guest_do(guest, OP_RDPMC, 0).vector, ==, 6);
    guest_stop(guest);
}

static void test_rdpmc(const void *cpu)
{
    const bool intel = strstr(cpu, "Intel");
    const unsigned n = intel ? 4 : strstr(cpu, "family") ? 6 : 4;
    static const uint64_t wrong[] = {
        8, 9, 100, 0x10000, 0x3fffffff, 0x40000003, 0x40000008, 0x80000000,
        0xc0000000, 0xffffffff,
    };
    Guest *guest = start(cpu);

    for (unsigned i = 0; i < n; i++) {
        const uint32_t msr = intel ? INTEL_COUNTER + i :
                             n == 6 ? COUNTER(i) : K7_COUNTER + i;

        set(guest, msr, 0x12345678 + i);
        g_assert_cmphex(guest_do(guest, OP_RDPMC, i).value, ==,
                        0x12345678 + i);
        /* In ring 3 with CR4.PCE alone. */
        g_assert_cmphex(guest_do(guest, OP_RDPMC | OP_USER, i).vector, ==,
                        GP);
        guest_do(guest, OP_CR4, CR4_PAE | CR4_P64 | CR4_PCE);
        g_assert_cmphex(guest_do(guest, OP_RDPMC | OP_USER, i).value, ==,
                        0x12345678 + i);
        guest_do(guest, OP_CR4, CR4_PAE | CR4_P64);
    }
    if (intel) {
        set(guest, INTEL_FIXED + 2, 0x123456789abc);
        g_assert_cmphex(guest_do(guest, OP_RDPMC, 0x40000002).value, ==,
                        0x123456789abc);
    } else {
        g_assert_cmphex(guest_do(guest, OP_RDPMC, 0x40000000).vector, ==, GP);
    }
    g_assert_cmphex(guest_do(guest, OP_RDPMC, n).vector, ==, GP);
    for (int i = 0; i < ARRAY_SIZE(wrong); i++) {
        g_assert_cmphex(guest_do(guest, OP_RDPMC, wrong[i]).vector, ==, GP);
    }
    guest_do(guest, OP_CR4, CR4_PAE | CR4_P64 | CR4_PCE);
    g_assert_cmphex(guest_do(guest, OP_RDPMC | OP_USER, n).vector, ==, GP);
    guest_stop(guest);
}

/*
 * Counts
 */

/* Regions of memory: pages of a size whose number in a set grows. */
typedef enum Size { S_4K, S_HINT, S_LEAF, S_2M, SIZES } Size;

static const uint64_t size_bytes[SIZES] = {
    [S_4K] = PAGE, [S_HINT] = PAGE_64K, [S_LEAF] = PAGE_64K, [S_2M] = PAGE_2M,
};
/* Of skylake's L1 dTLB: sets for each size; all have four ways. */
static const unsigned size_sets[SIZES] = {
    [S_4K] = 16, [S_HINT] = 16, [S_LEAF] = 16, [S_2M] = 8,
};
#define WAYS            4
/* So many of one set, which is more than L1 takes, and less than the STLB. */
#define TOGETHER        8

static uint64_t page_va(Size size, unsigned n)
{
    return TEST_VA + (2 + size) * 4ull * GiB +
           n * size_sets[size] * size_bytes[size];
}

static void map_page(Guest *guest, Size size, unsigned n)
{
    const uint64_t flags = PTE_RW | PTE_US | PTE_A | PTE_D;

    switch (size) {
    case S_4K:
        guest_map_4k(guest, page_va(size, n), TEST_PA, flags);
        break;
    case S_HINT:
        guest_map_group(guest, page_va(size, n), TEST_PA, flags);
        break;
    case S_LEAF:
        guest_map_64k_leaf(guest, page_va(size, n), TEST_PA, flags);
        break;
    default:
        guest_map_2m(guest, page_va(size, n), TEST_PA, flags);
        break;
    }
}

/* What the program does with pages of each size: other numbers for each. */
typedef struct Work {
    unsigned fresh;             /* touches that no level knows */
    unsigned again;             /* that the STLB alone knows */
} Work;

static Work work_of(Size size)
{
    /* The first four of eight in a set have left L1 by then, in order. */
    return (Work) { TOGETHER, 1 + size % WAYS };
}

static size_t make_work(Guest *guest, GuestCommand *commands, unsigned op)
{
    size_t n = 0;

    for (Size size = 0; size < SIZES; size++) {
        for (unsigned i = 0; i < TOGETHER; i++) {
            map_page(guest, size, i);
            commands[n++] = (GuestCommand) { op, 0, page_va(size, i) };
        }
        for (unsigned i = 0; i < work_of(size).again; i++) {
            commands[n++] = (GuestCommand) { op, 0, page_va(size, i) };
        }
    }
    return n;
}

static void counters(Guest *guest, uint64_t *values)
{
    guest_counters(guest, 0, values);
}

/* Reads counters; the guest must not miss while it does. */
static void read_all(Guest *guest, const uint32_t *msrs, unsigned n,
                     uint64_t *values, uint64_t *model)
{
    uint64_t before[HWTLB_C__MAX];
    GuestCommand commands[8];
    GuestLog log[8];

    for (unsigned i = 0; i < n; i++) {
        commands[i] = (GuestCommand) { OP_RDMSR, msrs[i], 0 };
    }
    guest_run(guest, commands, n, log);
    counters(guest, before);
    guest_run(guest, commands, n, log);
    counters(guest, model);
    for (int i = 0; i < HWTLB_C__MAX; i++) {
        g_assert_cmpuint(model[i], ==, before[i]);
    }
    for (unsigned i = 0; i < n; i++) {
        values[i] = log[i].value;
    }
}

/* Runs @commands; @delta is what each counter has counted. */
static void count(Guest *guest, const uint32_t *msrs, unsigned n,
                  const GuestCommand *commands, size_t n_commands,
                  uint64_t *delta, uint64_t *model)
{
    g_autofree GuestLog *log = g_new(GuestLog, n_commands);
    uint64_t before[8], model_before[HWTLB_C__MAX];

    read_all(guest, msrs, n, before, model_before);
    guest_run(guest, commands, n_commands, log);
    for (size_t i = 0; i < n_commands; i++) {
        g_assert_cmphex(log[i].vector, ==, NO_FAULT);
    }
    read_all(guest, msrs, n, delta, model);
    for (unsigned i = 0; i < n; i++) {
        delta[i] -= before[i];
    }
    for (int i = 0; i < HWTLB_C__MAX; i++) {
        model[i] -= model_before[i];
    }
}

static uint64_t fills(const uint64_t *model, HWTLBCounter first)
{
    uint64_t sum = 0;

    for (int i = 0; i < HWTLB_C_L1D_EVICT - HWTLB_C_L1D_FILL_4K; i++) {
        sum += model[first + i];
    }
    return sum;
}

/* An event, and what the program makes of it. */
typedef struct EventRow {
    uint64_t event;
    int expected;
} EventRow;

#define FRESH           (TOGETHER * SIZES)
#define AGAIN           (1 + 2 + 3 + 4)

static const EventRow zen_rows[] = {
    { EVENT(0x45, 0x01), 1 },                   /* L2 hits: 4 KB */
    { EVENT(0x45, 0x02), 2 },                   /* the group */
    { EVENT(0x45, 0x04), 4 },                   /* 2 MB */
    { EVENT(0x45, 0x08), 0 },
    { EVENT(0x45, 0x0f), AGAIN },               /* and the leaf */
    { EVENT(0x45, 0x10), TOGETHER },
    { EVENT(0x45, 0x20), TOGETHER },
    { EVENT(0x45, 0x40), TOGETHER },
    { EVENT(0x45, 0x80), 0 },
    { EVENT(0x45, 0xf0), FRESH },
    { EVENT(0x45, 0xff), FRESH + AGAIN },
    { EVENT(0x45, 0x00), 0 },
    { EVENT(0x45, 0x55), 1 + 4 + 2 * TOGETHER },
    { EVENT(0xf45, 0x02), 3 },
    { EVENT(0xf45, 0x20), TOGETHER },
    { EVENT(0xf45, 0x22), 3 + TOGETHER },
    { EVENT(0x46, 0x03), FRESH },
    { EVENT(0x46, 0x0c), 0 },
    { EVENT(0x78, 0xff), 0 },
    { EVENT(0x84, 0x00), 0 },
    { EVENT(0x85, 0xff), 0 },
    /* Nobody knows these. */
    { EVENT(0x60, 0xff), 0 },
    { EVENT(0xfff, 0xff), 0 },
};

static const EventRow k8_rows[] = {
    { EVENT(0x45, 0x01), 1 + 2 },
    { EVENT(0x45, 0x02), 4 },
    { EVENT(0x45, 0x08), 3 },
    { EVENT(0x45, 0x07), AGAIN },
    { EVENT(0x45, 0x00), AGAIN },
    { EVENT(0x46, 0x01), 2 * TOGETHER },
    { EVENT(0x46, 0x02), TOGETHER },
    { EVENT(0x46, 0x08), TOGETHER },
    { EVENT(0x46, 0x07), FRESH },
    { EVENT(0x84, 0x00), 0 },
    { EVENT(0x85, 0x03), 0 },
};

/* The program's accesses are loads; of stores, the others count. */
static const EventRow skylake_rows[] = {
    { EVENT(0x08, 0x01), FRESH },
    { EVENT(0x08, 0x02), 2 * TOGETHER },
    { EVENT(0x08, 0x04), TOGETHER },
    { EVENT(0x08, 0x08), 0 },
    { EVENT(0x08, 0x0e), FRESH },
    { EVENT(0x08, 0x40), TOGETHER },
    { EVENT(0x08, 0x20), AGAIN },
    { EVENT(0x49, 0x0e), 0 },
    { EVENT(0x49, 0x20), 0 },
    { EVENT(0x85, 0x0e), 0 },
    { EVENT(0x85, 0x20), 0 },
    { EVENT(0xbd, 0x20), 0 },
};

static const EventRow golden_cove_rows[] = {
    { EVENT(0x12, 0x0e), FRESH },
    { EVENT(0x12, 0x20), AGAIN },
    { EVENT(0x12, 0x02), 2 * TOGETHER },
    { EVENT(0x13, 0x0e), 0 },
    { EVENT(0x11, 0x0e), 0 },
};

static void check_rows(const char *cpu, const EventRow *rows, unsigned n_rows,
                       uint32_t select, uint32_t counter)
{
    for (unsigned first = 0; first < n_rows; first++) {
        Guest *guest = start(cpu);
        GuestCommand commands[64];
        uint64_t delta, model[HWTLB_C__MAX];
        size_t n = make_work(guest, commands, OP_LOAD);

        set(guest, select, rows[first].event | BOTH | EN);
        count(guest, &counter, 1, commands, n, &delta, model);
        g_test_message("%s, event 0x%" PRIx64 ": %" PRIu64, cpu,
                       rows[first].event, delta);
        g_assert_cmpuint(delta, ==, rows[first].expected);
        /* And the program is what it is thought to be. */
        g_assert_cmpuint(model[HWTLB_C_L1D_LOAD_MISS], ==, FRESH + AGAIN);
        g_assert_cmpuint(model[HWTLB_C_STLB_LOAD_MISS], ==, FRESH);
        guest_stop(guest);
    }
}

static void test_events_zen(void)
{
    check_rows(ZEN, zen_rows, ARRAY_SIZE(zen_rows), SELECT(0), COUNTER(0));
}

static void test_events_zen4(void)
{
    /* All but the walkers of family 17h; an old name is as good. */
    static const EventRow rows[] = {
        { EVENT(0x45, 0xff), FRESH + AGAIN },
        { EVENT(0x45, 0xf0), FRESH },
        { EVENT(0x45, 0x02), 2 },
        { EVENT(0x46, 0x0f), 0 },
    };

    check_rows(ZEN4, rows, ARRAY_SIZE(rows), SELECT(5), COUNTER(5));
    check_rows(ZEN4, rows, ARRAY_SIZE(rows), K7_SELECT + 3, K7_COUNTER + 3);
}

static void test_events_k8(void)
{
    check_rows(K8, k8_rows, ARRAY_SIZE(k8_rows), K7_SELECT, K7_COUNTER);
}

static void test_events_intel(void)
{
    check_rows(SKYLAKE, skylake_rows, ARRAY_SIZE(skylake_rows),
               INTEL_SELECT + 1, INTEL_COUNTER + 1);
    check_rows(GOLDEN_COVE, golden_cove_rows, ARRAY_SIZE(golden_cove_rows),
               INTEL_SELECT + 3, INTEL_COUNTER + 3);
}

/* Accesses of all kinds, at random: the events are those of query-stats. */
static void test_model(void)
{
    static const uint64_t events[] = {
        EVENT(0x45, 0xff), EVENT(0x45, 0xf0), EVENT(0x45, 0x0f),
        EVENT(0x84, 0x00), EVENT(0x85, 0xff), EVENT(0x46, 0x0f),
    };
    enum { PAGES = 3000, STEPS = 5000 };
    static const uint32_t msrs[] = {
        COUNTER(0), COUNTER(1), COUNTER(2), COUNTER(3), COUNTER(4), COUNTER(5),
    };
    g_autofree GuestCommand *commands = g_new0(GuestCommand, STEPS);
    uint64_t delta[8], model[HWTLB_C__MAX];
    Guest *guest = start(ZEN);

    guest_tag_frames(guest, TEST_PA, PAGE_2M, 0);
    for (int i = 0; i < PAGES; i++) {
        guest_map_4k(guest, TEST_VA + i * PAGE, TEST_PA + i % 512 * PAGE,
                     PTE_RW | PTE_US | PTE_A | PTE_D);
    }
    for (int i = 0; i < ARRAY_SIZE(events); i++) {
        set(guest, SELECT(i), events[i] | BOTH | EN);
    }
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < STEPS; i++) {
            static const unsigned ops[] = {
                OP_LOAD, OP_STORE, OP_FETCH, OP_LOAD | OP_USER,
                OP_STORE | OP_USER, OP_FETCH | OP_USER, OP_INVLPG,
            };
            unsigned op = ops[g_test_rand_int_range(0, ARRAY_SIZE(ops))];
            uint64_t offset = (op & 0xff) == OP_FETCH ? 0 : 8;

            commands[i] = (GuestCommand) {
                op, 0, TEST_VA + g_test_rand_int_range(0, PAGES) * PAGE +
                       offset
            };
        }
        count(guest, msrs, ARRAY_SIZE(msrs), commands, STEPS, delta, model);
        g_assert_cmpuint(model[HWTLB_C_WALK_FAULTED], ==, 0);
        g_assert_cmpuint(model[HWTLB_C_WALK_RIGHTS], ==, 0);
        g_assert_cmpuint(delta[0], ==, fills(model, HWTLB_C_L1D_FILL_4K));
        g_assert_cmpuint(delta[0], ==, model[HWTLB_C_L1D_LOAD_MISS] +
                                       model[HWTLB_C_L1D_STORE_MISS]);
        g_assert_cmpuint(delta[1], ==, model[HWTLB_C_STLB_LOAD_MISS] +
                                       model[HWTLB_C_STLB_STORE_MISS]);
        g_assert_cmpuint(delta[2], ==, delta[0] - delta[1]);
        g_assert_cmpuint(delta[3], ==, model[HWTLB_C_L1I_MISS] -
                                       model[HWTLB_C_STLB_FETCH_MISS]);
        g_assert_cmpuint(delta[4], ==, model[HWTLB_C_STLB_FETCH_MISS]);
        g_assert_cmpuint(delta[5], ==, model[HWTLB_C_WALK_COMPLETED]);
        g_assert_cmpuint(delta[1], >, 0);
        g_assert_cmpuint(delta[2], >, 0);
        g_assert_cmpuint(delta[3], >, 0);
        g_assert_cmpuint(delta[4], >, 0);
        /* The model's counters may be set to 0: these go on. */
        qtest_qmp_assert_success(guest->qts, "{ 'execute': 'hwtlb-reset' }");
    }
    guest_stop(guest);
}

/* A reset of the model's counters in the middle of what is counted. */
static void test_model_reset(void)
{
    Guest *guest = start(ZEN);
    uint64_t before;

    for (unsigned i = 0; i < TOGETHER; i++) {
        map_page(guest, S_4K, i);
    }
    set(guest, SELECT(0), EVENT(0x45, 0xff) | BOTH | EN);
    before = get(guest, COUNTER(0));
    guest_do(guest, OP_LOAD, page_va(S_4K, 0));
    guest_do(guest, OP_LOAD, page_va(S_4K, 1));
    qtest_qmp_assert_success(guest->qts, "{ 'execute': 'hwtlb-reset' }");
    guest_do(guest, OP_LOAD, page_va(S_4K, 2));
    g_assert_cmpuint(get(guest, COUNTER(0)) - before, ==, 3);
    g_assert_cmpuint(guest_counter(guest, "l1d-load-miss"), ==, 1);
    guest_stop(guest);
}

static void test_flushes(void)
{
    Guest *guest = start(ZEN);
    uint64_t before;

    set(guest, SELECT(0), EVENT(0x78, 0xff) | BOTH | EN);
    before = get(guest, COUNTER(0));
    guest_do(guest, OP_CR3, guest->cr3);
    g_assert_cmpuint(get(guest, COUNTER(0)) - before, ==, 1);
    guest_do(guest, OP_CR4, CR4_PAE | CR4_P64 | CR4_PGE);
    g_assert_cmpuint(get(guest, COUNTER(0)) - before, ==, 2);
    /* Of one address: not of all. */
    guest_do(guest, OP_INVLPG, TEST_VA);
    g_assert_cmpuint(get(guest, COUNTER(0)) - before, ==, 2);
    guest_stop(guest);
}

static void test_filter(const void *cpu)
{
    const bool intel = strstr(cpu, "Intel");
    const uint32_t select = intel ? INTEL_SELECT : SELECT(0);
    const uint32_t counter = intel ? INTEL_COUNTER : COUNTER(0);
    const unsigned step = intel ? 1 : 2;
    const uint64_t event = intel ? EVENT(0x08, 0x0e) : EVENT(0x45, 0xff);
    const uint32_t msrs[] = {
        counter, counter + step, counter + 2 * step, counter + 3 * step,
    };
    uint64_t delta[8], model[HWTLB_C__MAX];
    GuestCommand commands[40];
    Guest *guest = start(cpu);
    size_t n = 0;

    set(guest, select, event | USER | EN);
    set(guest, select + step, event | OS | EN);
    set(guest, select + 2 * step, event | BOTH | EN);
    set(guest, select + 3 * step, event | EN);
    for (int i = 0; i < 30; i++) {
        guest_map_4k(guest, TEST_VA + i * PAGE, TEST_PA,
                     PTE_RW | PTE_US | PTE_A | PTE_D);
        /* 10 in ring 3, 20 in ring 0 */
        commands[n++] = (GuestCommand) { i % 3 ? OP_LOAD : OP_LOAD | OP_USER,
                                         0, TEST_VA + i * PAGE };
    }
    count(guest, msrs, 4, commands, n, delta, model);
    g_assert_cmpuint(delta[0], ==, 10);
    g_assert_cmpuint(delta[1], ==, 20);
    g_assert_cmpuint(delta[2], ==, 30);
    g_assert_cmpuint(delta[3], ==, 0);
    guest_stop(guest);
}

/*
 * Overflow
 */

static void enable_apic(Guest *guest, uint32_t lvtpc)
{
    const GuestCommand commands[] = {
        { OP_POKE, 0x1ff, APIC_SVR }, { OP_POKE, lvtpc, LVTPC },
        { OP_PEEK, 0, LVTPC },
    };
    GuestLog log[3];

    guest_run(guest, commands, 3, log);
    g_assert_cmphex((uint32_t)log[2].value, ==, lvtpc);
}

static uint32_t nmis(Guest *guest)
{
    return qatomic_read((uint32_t *)guest_word(guest, guest_nmis_at(0)));
}

static void test_overflow(const void *cpu)
{
    const bool intel = strstr(cpu, "Intel"), v2 = strstr(cpu, "family=25");
    const uint32_t select = intel ? INTEL_SELECT : SELECT(0);
    const uint32_t counter = intel ? INTEL_COUNTER : COUNTER(0);
    const uint32_t status = intel ? INTEL_STATUS : V2_STATUS;
    const uint32_t clear = intel ? INTEL_CLEAR : V2_CLEAR;
    const uint64_t event = intel ? EVENT(0x08, 0x0e) : EVENT(0x45, 0xff);
    GuestCommand commands[60];
    GuestLog log[60];
    Guest *guest = start(cpu);
    size_t n = 0;

    for (int i = 0; i < 30; i++) {
        guest_map_4k(guest, TEST_VA + i * PAGE, TEST_PA,
                     PTE_RW | PTE_US | PTE_A | PTE_D);
        commands[n++] = (GuestCommand) { OP_LOAD, 0, TEST_VA + i * PAGE };
        commands[n++] = (GuestCommand) { OP_PEEK, 0, guest_nmis_at(0) };
    }
    enable_apic(guest, 0x400);          /* NMI */
    set(guest, counter, -10);
    set(guest, select, event | BOTH | INT | EN);
    guest_run(guest, commands, 58, log);
    /* Not before the tenth, and right after it. */
    for (int i = 0; i < 29; i++) {
        g_assert_cmpuint((uint32_t)log[2 * i + 1].value, ==, i >= 9);
    }
    g_assert_cmpuint(get(guest, counter), ==, 19);
    if (intel || v2) {
        g_assert_cmphex(get(guest, status), ==, 1);
        set(guest, clear, 1);
        g_assert_cmphex(get(guest, status), ==, 0);
    }
    /* Intel's processors mask the entry, AMD's do not. */
    g_assert_cmphex((uint32_t)guest_do(guest, OP_PEEK, LVTPC).value, ==,
                    intel ? 0x10400 : 0x400);
    if (intel) {
        set(guest, counter, -1);
        guest_run(guest, &commands[58], 1, log);
        g_assert_cmpuint(nmis(guest), ==, 1);
        g_assert_cmphex(get(guest, status), ==, 1);
        enable_apic(guest, 0x400);
    }

    /* What is masked does not come; what has no interrupt neither. */
    guest_do(guest, OP_INVLPG, TEST_VA);
    enable_apic(guest, 0x10400);
    set(guest, counter, -1);
    guest_do(guest, OP_LOAD, TEST_VA);
    enable_apic(guest, 0x400);
    set(guest, select, event | BOTH | EN);
    guest_do(guest, OP_INVLPG, TEST_VA);
    set(guest, counter, -1);
    guest_do(guest, OP_LOAD, TEST_VA);
    g_assert_cmpuint(get(guest, counter), ==, 0);
    g_assert_cmpuint(nmis(guest), ==, 1);

    /* Once more, in ring 3. */
    set(guest, select, event | USER | INT | EN);
    guest_do(guest, OP_INVLPG, TEST_VA);
    set(guest, counter, -1);
    guest_do(guest, OP_LOAD | OP_USER, TEST_VA);
    g_assert_cmpuint(nmis(guest), ==, 2);
    guest_stop(guest);
}

/* An interrupt after each event: the guest gets on all the same. */
static void test_storm(const void *cpu)
{
    const bool intel = strstr(cpu, "Intel");
    const uint32_t select = intel ? INTEL_SELECT : SELECT(0);
    const uint32_t counter = intel ? INTEL_COUNTER : COUNTER(0);
    /* Time passes in the handler too: it must not count there. */
    const uint64_t events[] = {
        BOTH | (intel ? EVENT(0x08, 0x0e) : EVENT(0x45, 0xff)),
        USER | (intel ? EVENT(0x3c, 0) : EVENT(0x76, 0)),
        USER | EVENT(0xc0, 0),
    };

    for (int e = 0; e < ARRAY_SIZE(events); e++) {
        GuestCommand commands[400];
        GuestLog log[400];
        Guest *guest = start(cpu);
        uint32_t least;

        for (int i = 0; i < 200; i++) {
            guest_map_4k(guest, TEST_VA + i * PAGE, TEST_PA,
                         PTE_RW | PTE_US | PTE_A | PTE_D);
            commands[2 * i] = (GuestCommand) { OP_LOAD, 0,
                                               TEST_VA + i * PAGE };
            commands[2 * i + 1] = (GuestCommand) { OP_SPIN | OP_USER, 0,
                                                   20000 };
        }
        enable_apic(guest, 0x400);
        guest_at_nmi(guest, 0, counter, WIDTH);
        set(guest, counter, -1);
        set(guest, select, events[e] | INT | EN);
        guest_run(guest, commands, ARRAY_SIZE(commands), log);
        /* QEMU answers too. */
        qtest_qmp_assert_success(guest->qts, "{ 'execute': 'query-status' }");
        /* Intel's entry is masked by the first. */
        least = intel ? 1 : e == 0 ? 200 : 50;
        g_assert_cmpuint(nmis(guest), >=, least);
        set(guest, select, 0);
        guest_at_nmi(guest, 0, 0, 0);
        guest_stop(guest);
    }
}

/*
 * If time counts in the handler, then the next interrupt is there when it
 * ends, and the program never gets on.  QEMU does, and a reset helps.
 */
static void test_endless_storm(void)
{
    const GuestCommand spin = { OP_SPIN, 0, 1000000000 };
    Guest *guest = start(ZEN);
    unsigned starts = guest_starts(guest);
    uint32_t before;

    enable_apic(guest, 0x400);
    guest_at_nmi(guest, 0, COUNTER(0), WIDTH);
    set(guest, COUNTER(0), -1);
    guest_begin(guest, 0, (GuestCommand[]) {
                    { OP_WRMSR, SELECT(0), EVENT(0x76, 0) | BOTH | INT | EN },
                    spin }, 2);
    g_usleep(300000);
    before = nmis(guest);
    g_assert_cmpuint(before, >, 100);
    qtest_qmp_assert_success(guest->qts, "{ 'execute': 'query-status' }");
    g_usleep(300000);
    g_assert_cmpuint(nmis(guest), >, before);
    qtest_system_reset(guest->qts);
    while (guest_starts(guest) == starts) {
        g_usleep(100);
    }
    g_assert_cmphex(get(guest, SELECT(0)), ==, 0);
    guest_stop(guest);
}

/*
 * Instructions and cycles
 */

static void test_instructions(const void *cpu)
{
    const bool intel = strstr(cpu, "Intel");
    const uint32_t select = intel ? INTEL_SELECT : SELECT(0);
    const uint32_t counter = intel ? INTEL_COUNTER : COUNTER(0);
    const unsigned step = intel ? 1 : 2;
    const uint32_t msrs[] = { counter, counter + step, counter + 2 * step };
    uint64_t some[8], more[8], model[HWTLB_C__MAX];
    GuestCommand commands[2] = {
        { OP_SPIN, 0, 1000 }, { OP_SPIN | OP_USER, 0, 2000 },
    };
    Guest *guest = start(cpu);

    set(guest, select, EVENT(0xc0, 0) | USER | EN);
    set(guest, select + step, EVENT(0xc0, 0) | OS | EN);
    set(guest, select + 2 * step, EVENT(0xc0, 0) | BOTH | EN);
    /* The rest of the guest waits for commands, for so long as it takes. */
    count(guest, msrs, 3, commands, 2, some, model);
    commands[1].operand += 12345;
    count(guest, msrs, 3, commands, 2, more, model);
    /* In ring 3 there is nothing else. */
    g_assert_cmpuint(more[0] - some[0], ==, 2 * 12345);
    g_assert_cmpuint(some[0], >=, 2 * 2000);
    g_assert_cmpuint(some[0], <, 2 * 2000 + 10);
    g_assert_cmpuint(some[1], >=, 2 * 1000);
    /* Each is counted at one of the two levels; they are read in order. */
    g_assert_cmpuint(some[2], >=, some[0] + some[1] - 10);
    g_assert_cmpuint(some[2], <, some[0] + some[1] + 10000000);
    if (intel) {
        set(guest, INTEL_CONTROL, 7ull << 32 | 0xf);
        set(guest, INTEL_FIXED_CTL, 0x2);       /* instructions of ring 3 */
        guest_run(guest, &commands[1], 1, &(GuestLog) {});
        g_assert_cmpuint(get(guest, INTEL_FIXED), ==, more[0]);
    }
    guest_stop(guest);
}

/* In one script, so that nothing waits in between. */
static void test_exact_instructions(void)
{
    static const GuestCommand commands[] = {
        { OP_RDMSR, COUNTER(0), 0 }, { OP_RDMSR, COUNTER(0), 0 },
        { OP_SPIN, 0, 100 }, { OP_RDMSR, COUNTER(0), 0 },
        { OP_SPIN, 0, 54321 }, { OP_RDMSR, COUNTER(0), 0 },
        /* A fault in the middle of a block takes back what was not done. */
        { OP_LOAD, 0, TEST_VA + PAGE }, { OP_RDMSR, COUNTER(0), 0 },
        { OP_LOAD, 0, TEST_VA + PAGE }, { OP_RDMSR, COUNTER(0), 0 },
    };
    GuestLog log[ARRAY_SIZE(commands)];

    for (int icount = 0; icount < 2; icount++) {
        Guest *guest = guest_start_with(ZEN, CR4_P64, 1,
                                        icount ? "-icount shift=0" : "");
        uint64_t a, b;

        set(guest, SELECT(0), EVENT(0xc0, 0) | BOTH | EN);
        guest_run(guest, commands, ARRAY_SIZE(commands), log);
        a = log[3].value - log[1].value;
        b = log[5].value - log[3].value;
        g_assert_cmpuint(b - a, ==, 2 * (54321 - 100));
        g_assert_cmphex(log[6].vector, ==, 14);
        g_assert_cmpuint(log[7].value - log[5].value, ==,
                         log[9].value - log[7].value);
        /* A read, and the way to the next: the same each time. */
        a -= 2 * 100;
        g_assert_cmpuint(a, <, 100);
        g_assert_cmpuint(log[1].value - log[0].value, <, a);
        guest_stop(guest);
    }
}

/* With -icount a cycle is an instruction. */
static void test_icount(void)
{
    static const GuestCommand commands[] = {
        { OP_RDMSR, COUNTER(0), 0 }, { OP_RDMSR, COUNTER(1), 0 },
        { OP_SPIN, 0, 54321 },
        { OP_RDMSR, COUNTER(0), 0 }, { OP_RDMSR, COUNTER(1), 0 },
    };
    GuestLog log[ARRAY_SIZE(commands)];
    Guest *guest = guest_start_with(ZEN, CR4_P64, 1, "-icount shift=0");

    set(guest, SELECT(0), EVENT(0xc0, 0) | BOTH | EN);
    set(guest, SELECT(1), EVENT(0x76, 0) | BOTH | EN);
    guest_run(guest, commands, ARRAY_SIZE(commands), log);
    g_assert_cmpuint(log[3].value - log[0].value, ==,
                     log[4].value - log[1].value);
    guest_stop(guest);
}

static void test_cycles(void)
{
    Guest *guest = start(ZEN);
    gint64 start_us = g_get_monotonic_time(), passed;
    uint64_t before, after;

    set(guest, SELECT(0), EVENT(0x76, 0) | BOTH | EN);
    before = get(guest, COUNTER(0));
    g_usleep(200000);
    after = get(guest, COUNTER(0));
    passed = g_get_monotonic_time() - start_us;
    /* One each nanosecond: the guest waits for commands, and does not halt. */
    g_assert_cmpuint(after - before, >=, 200000000);
    g_assert_cmpuint(after - before, <=, passed * 1000);
    guest_stop(guest);
}

/*
 * The rest of the machine
 */

static void test_smp(void)
{
    Guest *guest = guest_start_with(ZEN, CR4_P64, 2, "");
    const GuestCommand select = { OP_WRMSR, SELECT(0),
                                  EVENT(0x45, 0xff) | BOTH | EN };
    const GuestCommand read = { OP_RDMSR, COUNTER(0), 0 };
    GuestCommand loads[20];
    uint64_t before[2], after[2];

    for (int i = 0; i < 20; i++) {
        guest_map_4k(guest, TEST_VA + i * PAGE, TEST_PA,
                     PTE_RW | PTE_A | PTE_D);
        loads[i] = (GuestCommand) { OP_LOAD, 0, TEST_VA + i * PAGE };
    }
    for (unsigned cpu = 0; cpu < 2; cpu++) {
        guest_begin(guest, cpu, &select, 1);
        guest_wait(guest, cpu);
        guest_begin(guest, cpu, &read, 1);
        guest_wait(guest, cpu);
        guest_begin(guest, cpu, &read, 1);
        guest_wait(guest, cpu);
        before[cpu] = guest_log(guest, cpu)->value;
    }
    guest_begin(guest, 1, loads, 20);
    guest_wait(guest, 1);
    for (unsigned cpu = 0; cpu < 2; cpu++) {
        guest_begin(guest, cpu, &read, 1);
        guest_wait(guest, cpu);
        after[cpu] = guest_log(guest, cpu)->value;
    }
    g_assert_cmpuint(after[0] - before[0], ==, 0);
    g_assert_cmpuint(after[1] - before[1], ==, 20);
    guest_stop(guest);
}

static void test_reset(const void *cpu)
{
    const bool v2 = strstr(cpu, "family=25");
    Guest *guest = start(cpu);
    unsigned starts = guest_starts(guest);

    for (unsigned n = 0; n < 6; n++) {
        set(guest, COUNTER(n), 1000000);
        set(guest, SELECT(n), EVENT(0x45, 0xff) | BOTH | INT | EN);
    }
    if (v2) {
        set(guest, V2_CONTROL, 1);
    }
    qtest_system_reset(guest->qts);
    while (guest_starts(guest) == starts) {
        g_usleep(100);
    }
    for (unsigned n = 0; n < 6; n++) {
        g_assert_cmphex(get(guest, SELECT(n)), ==, 0);
        g_assert_cmphex(get(guest, COUNTER(n)), ==, 0);
    }
    if (v2) {
        g_assert_cmphex(get(guest, V2_CONTROL), ==, 0x3f);
    }
    guest_stop(guest);
}

static void check_saved(const char *cpu, bool live)
{
    g_autofree char *disk = NULL, *state = NULL, *options = NULL, *uri = NULL;
    g_autoptr(GError) err = NULL;
    const uint32_t select = strstr(cpu, "Intel") ? INTEL_SELECT : SELECT(0);
    const uint32_t counter = strstr(cpu, "Intel") ? INTEL_COUNTER : COUNTER(0);
    const uint64_t event = strstr(cpu, "Intel") ? EVENT(0x08, 0x0e)
                                                : EVENT(0x45, 0xff);
    Guest *guest;

    close(g_file_open_tmp("x64k-disk-XXXXXX", &disk, &err));
    g_assert_no_error(err);
    close(g_file_open_tmp("x64k-state-XXXXXX", &state, &err));
    g_assert_no_error(err);
    guest_make_disk(disk);
    options = g_strdup_printf("-drive if=none,format=qcow2,file=%s", disk);
    guest = guest_start_with(cpu, CR4_P64, 1, options);
    for (int i = 0; i < 10; i++) {
        guest_map_4k(guest, TEST_VA + i * PAGE, TEST_PA,
                     PTE_RW | PTE_US | PTE_A | PTE_D);
    }
    guest_do(guest, OP_LOAD | OP_USER, TEST_VA);
    /* Of ring 3: nothing that the guest does on its own is in it. */
    set(guest, counter, 1000);
    set(guest, select, event | USER | EN);
    guest_do(guest, OP_LOAD | OP_USER, TEST_VA + PAGE);
    guest_do(guest, OP_LOAD | OP_USER, TEST_VA + 2 * PAGE);
    if (live) {
        uri = g_strdup_printf("file:%s", state);
        qtest_qmp_assert_success(guest->qts, "{ 'execute': 'migrate',"
                                 "  'arguments': { 'uri': %s } }", uri);
        guest_wait_for(guest->qts, "query-migrate", "completed");
        guest_stop(guest);
        g_free(options);
        options = g_strdup_printf("-drive if=none,format=qcow2,file=%s "
                                  "-incoming %s", disk, uri);
        guest = guest_start_with(cpu, CR4_P64, 1, options);
        guest_wait_for(guest->qts, "query-status", "running");
    } else {
        g_autofree char *said = qtest_hmp(guest->qts, "savevm here");
        g_autofree char *again = NULL;

        g_assert_cmpstr(said, ==, "");
        set(guest, select, 0);
        set(guest, counter, 77);
        again = qtest_hmp(guest->qts, "loadvm here");
        g_assert_cmpstr(again, ==, "");
    }
    g_assert_cmphex(get(guest, select), ==, event | USER | EN);
    g_assert_cmpuint(get(guest, counter), ==, 1002);
    /* And it goes on.  The TLBs were lost. */
    guest_do(guest, OP_LOAD | OP_USER, TEST_VA + 3 * PAGE);
    g_assert_cmpuint(get(guest, counter), >, 1002);
    guest_do(guest, OP_LOAD | OP_USER, TEST_VA + 3 * PAGE);
    {
        uint64_t now = get(guest, counter);

        guest_do(guest, OP_LOAD | OP_USER, TEST_VA + 4 * PAGE);
        g_assert_cmpuint(get(guest, counter), ==, now + 1);
    }
    guest_stop(guest);
    g_unlink(disk);
    g_unlink(state);
}

static void test_savevm(const void *cpu)
{
    check_saved(cpu, false);
}

static void test_migrate(const void *cpu)
{
    check_saved(cpu, true);
}

/* Any value to any register, at any time, and everything goes on. */
static void test_random(const void *cpu)
{
    enum { STEPS = 20000 };
    g_autofree GuestCommand *commands = g_new0(GuestCommand, STEPS);
    g_autofree GuestLog *log = g_new0(GuestLog, STEPS);
    const bool intel = strstr(cpu, "Intel");
    Guest *guest = start(cpu);

    for (int i = 0; i < 512; i++) {
        guest_map_4k(guest, TEST_VA + i * PAGE, TEST_PA,
                     PTE_RW | PTE_US | PTE_A | PTE_D);
    }
    enable_apic(guest, 0x400);
    for (int i = 0; i < STEPS; i++) {
        const uint32_t amd[] = {
            K7_SELECT + g_test_rand_int_range(0, 8),
            SELECT(0) + g_test_rand_int_range(0, 16),
            V2_STATUS + g_test_rand_int_range(0, 4),
        };
        const uint32_t others[] = {
            INTEL_COUNTER + g_test_rand_int_range(0, 8),
            INTEL_SELECT + g_test_rand_int_range(0, 8),
            INTEL_FIXED + g_test_rand_int_range(0, 4),
            INTEL_FIXED_CTL + g_test_rand_int_range(0, 4),
        };
        const uint32_t msr = intel ? others[g_test_rand_int_range(0, 4)]
                                   : amd[g_test_rand_int_range(0, 3)];
        uint64_t value = (uint64_t)g_test_rand_int() << 32 |
                         (uint32_t)g_test_rand_int();
        const unsigned user = g_test_rand_bit() ? OP_USER : 0;

        switch (g_test_rand_int_range(0, 6)) {
        case 0:                 /* near an overflow */
            value |= WIDTH ^ 7;
            /* fall through */
        case 1:
            /* An event that there is. */
            if (g_test_rand_bit()) {
                value = (value & ~0xffull) | (intel ? 0x08 : 0x45);
            }
            if (g_test_rand_bit()) {
                value &= intel ? 0x7fffff : 0xf0000ffffffull;
            }
            commands[i] = (GuestCommand) { OP_WRMSR, msr, value };
            break;
        case 2:
            commands[i] = (GuestCommand) { OP_RDMSR, msr, 0 };
            break;
        case 3:
            commands[i] = (GuestCommand) { OP_RDPMC | user, 0, value };
            break;
        case 4:
            commands[i] = (GuestCommand) { OP_SPIN | user, 0, 100 };
            break;
        case 5:
            commands[i] = (GuestCommand) {
                OP_LOAD | user, 0, TEST_VA + (value & 511) * PAGE
            };
            break;
        }
    }
    guest_run(guest, commands, STEPS, log);
    for (int i = 0; i < STEPS; i++) {
        g_assert(log[i].vector == NO_FAULT || log[i].vector == GP);
        if ((commands[i].op & 0xff) == OP_LOAD) {
            g_assert_cmphex(log[i].vector, ==, NO_FAULT);
        }
    }
    qtest_qmp_assert_success(guest->qts, "{ 'execute': 'query-status' }");
    guest_stop(guest);
}

static void add(const char *path, const char *name, const void *cpu,
                void (*test)(const void *))
{
    g_autofree char *full = g_strdup_printf("/x64k/pmu/%s/%s", path, name);

    qtest_add_data_func(full, cpu, test);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name, *cpu;
    } cpus[] = {
        { "zen", ZEN }, { "zen4", ZEN4 }, { "skylake", SKYLAKE },
    };

    g_test_init(&argc, &argv, NULL);

    if (!qtest_has_accel("tcg")) {
        g_test_skip("TCG is not available");
        return g_test_run();
    }

    qtest_add_func("/x64k/pmu/cpuid", test_cpuid);
    qtest_add_func("/x64k/pmu/off", test_off);
    qtest_add_func("/x64k/pmu/registers/k8", test_registers_k8);
    qtest_add_func("/x64k/pmu/registers/zen", test_registers_zen);
    qtest_add_func("/x64k/pmu/registers/zen4", test_registers_zen4);
    qtest_add_data_func("/x64k/pmu/registers/skylake", SKYLAKE,
                        test_registers_intel);
    qtest_add_data_func("/x64k/pmu/rdpmc/k8", K8, test_rdpmc);
    qtest_add_func("/x64k/pmu/events/k8", test_events_k8);
    qtest_add_func("/x64k/pmu/events/zen", test_events_zen);
    qtest_add_func("/x64k/pmu/events/zen4", test_events_zen4);
    qtest_add_func("/x64k/pmu/events/intel", test_events_intel);
    qtest_add_func("/x64k/pmu/model", test_model);
    qtest_add_func("/x64k/pmu/model-reset", test_model_reset);
    qtest_add_func("/x64k/pmu/flushes", test_flushes);
    qtest_add_func("/x64k/pmu/exact-instructions", test_exact_instructions);
    qtest_add_func("/x64k/pmu/icount", test_icount);
    qtest_add_func("/x64k/pmu/cycles", test_cycles);
    qtest_add_func("/x64k/pmu/endless-storm", test_endless_storm);
    qtest_add_func("/x64k/pmu/smp", test_smp);
    qtest_add_data_func("/x64k/pmu/reset/zen", ZEN, test_reset);
    qtest_add_data_func("/x64k/pmu/reset/zen4", ZEN4, test_reset);
    for (int i = 0; i < ARRAY_SIZE(cpus); i++) {
        add("rdpmc", cpus[i].name, cpus[i].cpu, test_rdpmc);
        add("filter", cpus[i].name, cpus[i].cpu, test_filter);
        add("overflow", cpus[i].name, cpus[i].cpu, test_overflow);
        add("storm", cpus[i].name, cpus[i].cpu, test_storm);
        add("instructions", cpus[i].name, cpus[i].cpu, test_instructions);
        add("savevm", cpus[i].name, cpus[i].cpu, test_savevm);
        add("migrate", cpus[i].name, cpus[i].cpu, test_migrate);
        add("random", cpus[i].name, cpus[i].cpu, test_random);
    }
    return g_test_run();
}
