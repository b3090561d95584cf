/*
 * A TSC of a known frequency, and the timer that goes by it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Whatever the host does meanwhile, two readings of the TSC are as far apart
 * as the time between them, which the host's clock bounds from both sides: so
 * no tolerance is needed, and none is there.
 */
#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "x64k-guest.h"

#define GHZ             ",tsc-frequency=1000000000"

#define MSR_DEADLINE    0x6e0u
#define APIC_SVR        0xfee000f0u
#define APIC_IRR(v)     (0xfee00200u + (v) / 32 * 16)
#define APIC_EOI        0xfee000b0u
#define LVT_TIMER       0xfee00320u
#define TIMER_INITIAL   0xfee00380u
#define TIMER_CURRENT   0xfee00390u
#define VECTOR          0x40u
#define LVT_MASKED      (1u << 16)
#define LVT_DEADLINE    (2u << 17)

#define CPUID_DEADLINE  (1u << 24)      /* 1 ECX */
#define CPUID_INVTSC    (1u << 8)       /* 80000007h EDX */

#define SECOND          UINT64_C(1000000000)
#define CODE_VA         (TEST_VA + GiB)

static Guest *start_with(const char *properties, const char *options)
{
    /* rdtsc; shl $32, %rdx; or %rax, %rdx; ret */
    static const uint8_t code[] = {
        0x0f, 0x31, 0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xc2, 0xc3,
    };
    Guest *guest = guest_start_with(properties, 0, 1, options);

    memcpy(guest->ram + TEST_PA, code, sizeof(code));
    guest_map_4k(guest, CODE_VA, TEST_PA, PTE_A);
    return guest;
}

static Guest *start(const char *properties)
{
    return start_with(properties, "");
}

static uint64_t tsc(Guest *guest)
{
    return guest_do(guest, OP_CALL, CODE_VA).value;
}

static uint64_t get(Guest *guest, uint32_t msr)
{
    const GuestCommand command = { OP_RDMSR, msr, 0 };
    GuestLog log;

    guest_run(guest, &command, 1, &log);
    g_assert_cmphex(log.vector, ==, NO_FAULT);
    return log.value;
}

static void set(Guest *guest, uint32_t msr, uint64_t value)
{
    const GuestCommand command = { OP_WRMSR, msr, value };
    GuestLog log;

    guest_run(guest, &command, 1, &log);
    g_assert_cmphex(log.vector, ==, NO_FAULT);
}

static void poke(Guest *guest, uint32_t place, uint32_t value)
{
    const GuestCommand command = { OP_POKE, value, place };
    GuestLog log;

    guest_run(guest, &command, 1, &log);
    g_assert_cmphex(log.vector, ==, NO_FAULT);
}

static uint32_t peek(Guest *guest, uint32_t place)
{
    const GuestCommand command = { OP_PEEK, 0, place };
    GuestLog log;

    guest_run(guest, &command, 1, &log);
    g_assert_cmphex(log.vector, ==, NO_FAULT);
    return log.value;
}

/* Interrupts are off: it stays there. */
static bool pending(Guest *guest)
{
    return peek(guest, APIC_IRR(VECTOR)) >> VECTOR % 32 & 1;
}

static void enable_apic(Guest *guest, uint32_t lvt)
{
    poke(guest, APIC_SVR, 0x1ff);
    poke(guest, LVT_TIMER, lvt);
}

static bool has_deadline(Guest *guest)
{
    return guest_do(guest, OP_CPUID, 1).cr2 & CPUID_DEADLINE;
}

static bool has_invtsc(Guest *guest)
{
    return guest_do(guest, OP_CPUID, 0x80000007).value & CPUID_INVTSC;
}

/*
 * The frequency
 */

static void check_frequency(const char *properties, uint64_t hz)
{
    Guest *guest = start(properties);

    for (int i = 0; i < 5; i++) {
        uint64_t first, second;
        gint64 before[2], after[2];
        unsigned __int128 least, most;

        before[0] = g_get_monotonic_time();
        first = tsc(guest);
        after[0] = g_get_monotonic_time();
        g_usleep(100000);
        before[1] = g_get_monotonic_time();
        second = tsc(guest);
        after[1] = g_get_monotonic_time();

        /* In microseconds, rounded down each time; and a tick of the TSC. */
        least = (unsigned __int128)(before[1] - after[0] - 1) * hz / 1000000;
        most = (unsigned __int128)(after[1] - before[0] + 1) * hz / 1000000;
        g_assert_cmpuint(second - first + 1, >=, (uint64_t)least);
        g_assert_cmpuint(second - first, <=, (uint64_t)most + 1);
    }
    guest_stop(guest);
}

static void test_frequency(void)
{
    check_frequency(GHZ, SECOND);
    check_frequency(",tsc-frequency=2594000000", UINT64_C(2594000000));
    check_frequency(",tsc-frequency=32768000", 32768000);
}

/* With -icount it is what it was without the property. */
static void test_icount(void)
{
    const GuestCommand commands[] = {
        { OP_CALL, 0, CODE_VA }, { OP_SPIN, 0, 12345 }, { OP_CALL, 0, CODE_VA },
    };
    uint64_t ticks[3];

    for (int i = 0; i < 3; i++) {
        static const char *const properties[] = {
            "", GHZ ",tsc-deadline=off,invtsc=off", ",tsc-frequency=4000000000",
        };
        Guest *guest = start_with(properties[i], "-icount shift=0");
        GuestLog log[3];

        guest_run(guest, commands, 3, log);
        ticks[i] = log[2].value - log[0].value;
        guest_stop(guest);
    }
    g_assert_cmpuint(ticks[0], >, 2 * 12345);
    g_assert_cmpuint(ticks[1], ==, ticks[0]);
    g_assert_cmpuint(ticks[2], ==, 4 * ticks[0]);
}

static void test_cpuid(void)
{
    static const struct {
        const char *properties;
        bool deadline, invtsc;
    } rows[] = {
        { "" },
        /* Not without a frequency. */
        { ",tsc-deadline=on,invtsc=on" },
        { ",tsc-frequency=0,tsc-deadline=on,invtsc=on" },
        { GHZ, true, true },
        { GHZ ",tsc-deadline=off", false, true },
        { GHZ ",invtsc=off", true, false },
    };

    for (int i = 0; i < ARRAY_SIZE(rows); i++) {
        Guest *guest = start(rows[i].properties);

        g_assert_cmpint(has_deadline(guest), ==, rows[i].deadline);
        g_assert_cmpint(has_invtsc(guest), ==, rows[i].invtsc);
        guest_stop(guest);
    }
}

/*
 * The timer
 */

static void wait_for_deadline(Guest *guest, uint64_t deadline)
{
    while (get(guest, MSR_DEADLINE)) {
        g_usleep(1000);
    }
    g_assert_cmpuint(tsc(guest), >=, deadline);
}

static void test_deadline(void)
{
    Guest *guest = start(GHZ);
    uint64_t deadline;

    /* In the other modes the register can be written, and that is all. */
    enable_apic(guest, VECTOR);
    set(guest, MSR_DEADLINE, 1);
    g_assert_cmphex(get(guest, MSR_DEADLINE), ==, 0);
    g_assert_false(pending(guest));

    poke(guest, LVT_TIMER, VECTOR | LVT_DEADLINE);
    deadline = tsc(guest) + SECOND / 10;
    set(guest, MSR_DEADLINE, deadline);
    while (!pending(guest)) {
        g_usleep(100);
    }
    g_assert_cmpuint(tsc(guest), >=, deadline);
    g_assert_cmphex(get(guest, MSR_DEADLINE), ==, 0);
    guest_stop(guest);

    /* What has passed fires at once. */
    guest = start(GHZ);
    enable_apic(guest, VECTOR | LVT_DEADLINE);
    set(guest, MSR_DEADLINE, 1);
    while (!pending(guest)) {
        g_usleep(100);
    }
    g_assert_cmphex(get(guest, MSR_DEADLINE), ==, 0);
    guest_stop(guest);
}

/* What is masked passes without an interrupt. */
static void test_masked(void)
{
    Guest *guest = start(GHZ);
    uint64_t deadline;

    enable_apic(guest, VECTOR | LVT_DEADLINE | LVT_MASKED);
    deadline = tsc(guest) + SECOND / 20;
    set(guest, MSR_DEADLINE, deadline);
    wait_for_deadline(guest, deadline);
    g_assert_false(pending(guest));
    guest_stop(guest);
}

/* Neither way of setting the timer outlives the other, or a 0. */
static void test_disarmed(void)
{
    Guest *guest = start(GHZ);
    const uint64_t deadline = tsc(guest) + SECOND / 5;

    enable_apic(guest, VECTOR | LVT_DEADLINE);
    set(guest, MSR_DEADLINE, deadline);
    set(guest, MSR_DEADLINE, 0);
    g_assert_cmphex(get(guest, MSR_DEADLINE), ==, 0);

    set(guest, MSR_DEADLINE, deadline);
    poke(guest, LVT_TIMER, VECTOR);
    poke(guest, TIMER_INITIAL, 100000000);
    poke(guest, LVT_TIMER, VECTOR | LVT_DEADLINE);
    g_assert_cmphex(get(guest, MSR_DEADLINE), ==, 0);
    /* In this mode it cannot be set, and reads as 0. */
    poke(guest, TIMER_INITIAL, 100000000);
    g_assert_cmphex(peek(guest, TIMER_INITIAL), ==, 0);
    g_assert_cmphex(peek(guest, TIMER_CURRENT), ==, 0);

    while (tsc(guest) < deadline + SECOND / 5) {
        g_usleep(10000);
    }
    g_assert_false(pending(guest));
    guest_stop(guest);
}

/* Of any frequency, the last moments of the TSC are far away, not past. */
static void test_far(void)
{
    static const char *const frequencies[] = {
        GHZ, ",tsc-frequency=1000", ",tsc-frequency=1000000000000000",
    };

    for (int i = 0; i < ARRAY_SIZE(frequencies); i++) {
        Guest *guest = start(frequencies[i]);

        enable_apic(guest, VECTOR | LVT_DEADLINE);
        set(guest, MSR_DEADLINE, UINT64_MAX);
        g_usleep(100000);
        g_assert_cmphex(get(guest, MSR_DEADLINE), ==, UINT64_MAX);
        g_assert_false(pending(guest));
        guest_stop(guest);
    }
}

/* Without the property all of it is as it was: there is no such register. */
static void test_off(void)
{
    Guest *guest = start("");

    g_assert_false(has_deadline(guest));
    enable_apic(guest, VECTOR | LVT_DEADLINE);
    set(guest, MSR_DEADLINE, 1);
    g_assert_cmphex(get(guest, MSR_DEADLINE), ==, 0);
    g_usleep(50000);
    g_assert_false(pending(guest));
    guest_stop(guest);
}

/* WRMSR may read the clock, and set a timer, under -icount as well. */
static void test_deadline_icount(void)
{
    Guest *guest = start_with(GHZ, "-icount shift=0");
    uint64_t deadline;

    enable_apic(guest, VECTOR | LVT_DEADLINE);
    deadline = tsc(guest) + SECOND / 1000;
    set(guest, MSR_DEADLINE, deadline);
    wait_for_deadline(guest, deadline);
    g_assert_true(pending(guest));
    guest_stop(guest);
}

/*
 * Saved state
 */

static void check_saved(bool live)
{
    g_autofree char *disk = NULL, *state = NULL, *options = NULL, *uri = NULL;
    g_autoptr(GError) err = NULL;
    uint64_t before, deadline;
    Guest *guest;

    close(g_file_open_tmp("x64k-disk-XXXXXX", &disk, &err));
    g_assert_no_error(err);
    close(g_file_open_tmp("x64k-state-XXXXXX", &state, &err));
    g_assert_no_error(err);
    guest_make_disk(disk);
    options = g_strdup_printf("-drive if=none,format=qcow2,file=%s", disk);
    guest = start_with(GHZ, options);
    enable_apic(guest, VECTOR | LVT_DEADLINE);
    before = tsc(guest);
    deadline = before + 5 * SECOND;
    set(guest, MSR_DEADLINE, deadline);
    if (live) {
        uri = g_strdup_printf("file:%s", state);
        qtest_qmp_assert_success(guest->qts, "{ 'execute': 'migrate',"
                                 "  'arguments': { 'uri': %s } }", uri);
        guest_wait_for(guest->qts, "query-migrate", "completed");
        guest_stop(guest);
        g_free(options);
        options = g_strdup_printf("-drive if=none,format=qcow2,file=%s "
                                  "-incoming %s", disk, uri);
        guest = guest_start_with(GHZ, 0, 1, options);
        guest_wait_for(guest->qts, "query-status", "running");
    } else {
        g_autofree char *said = qtest_hmp(guest->qts, "savevm here");
        g_autofree char *again = NULL;

        g_assert_cmpstr(said, ==, "");
        set(guest, MSR_DEADLINE, 0);
        again = qtest_hmp(guest->qts, "loadvm here");
        g_assert_cmpstr(again, ==, "");
    }
    g_assert_cmphex(get(guest, MSR_DEADLINE), ==, deadline);
    g_assert_cmpuint(tsc(guest), >=, before);
    wait_for_deadline(guest, deadline);
    g_assert_true(pending(guest));
    guest_stop(guest);
    g_unlink(disk);
    g_unlink(state);
}

static void test_savevm(void)
{
    check_saved(false);
}

static void test_migrate(void)
{
    check_saved(true);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    if (!qtest_has_accel("tcg")) {
        g_test_skip("TCG is not available");
        return g_test_run();
    }

    qtest_add_func("/x64k/clock/cpuid", test_cpuid);
    qtest_add_func("/x64k/clock/frequency", test_frequency);
    qtest_add_func("/x64k/clock/icount", test_icount);
    qtest_add_func("/x64k/clock/off", test_off);
    qtest_add_func("/x64k/clock/deadline", test_deadline);
    qtest_add_func("/x64k/clock/deadline-icount", test_deadline_icount);
    qtest_add_func("/x64k/clock/masked", test_masked);
    qtest_add_func("/x64k/clock/disarmed", test_disarmed);
    qtest_add_func("/x64k/clock/far", test_far);
    qtest_add_func("/x64k/clock/savevm", test_savevm);
    qtest_add_func("/x64k/clock/migrate", test_migrate);
    return g_test_run();
}
