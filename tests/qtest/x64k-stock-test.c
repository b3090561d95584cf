/*
 * With all features off, this is stock QEMU: CPUID and saved state
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Compares the emulator in QTEST_QEMU_BINARY with the one in
 * X64K_STOCK_BINARY, the same QEMU without patches.
 */
#include "qemu/osdep.h"
#include "x64k-guest.h"

static char *binaries[2];               /* ours, stock */
static const char *const names[2] = { "ours", "stock" };

static Guest *start(unsigned which, const char *options)
{
    setenv("QTEST_QEMU_BINARY", binaries[which], 1);
    return guest_start_with("", 0, 1, options);
}

static void test_cpuid(void)
{
    static const uint32_t first[] = {
        0, 0x40000000, 0x40006400, 0x80000000, 0xc0000000,
    };
    enum { N = ARRAY_SIZE(first) * 64 };
    GuestCommand commands[N];
    GuestLog log[2][N];

    for (unsigned i = 0; i < N; i++) {
        commands[i] = (GuestCommand) {
            .op = OP_CPUID, .operand = first[i / 64] + i % 64,
        };
    }
    for (unsigned which = 0; which < 2; which++) {
        Guest *guest = start(which, "");

        guest_run(guest, commands, N, log[which]);
        guest_stop(guest);
    }
    for (unsigned i = 0; i < N; i++) {
        g_test_message("CPUID 0x%" PRIx64, commands[i].operand);
        /* EAX, EBX, ECX, EDX: see guest_run() */
        g_assert_cmphex(log[0][i].vector, ==, log[1][i].vector);
        g_assert_cmphex(log[0][i].error_code, ==, log[1][i].error_code);
        g_assert_cmphex(log[0][i].cr2, ==, log[1][i].cr2);
        g_assert_cmphex(log[0][i].value, ==, log[1][i].value);
    }
}

static void assert_reads(Guest *guest, uint64_t va, uint64_t pa)
{
    GuestLog log = guest_do(guest, OP_LOAD, va);

    g_assert_cmphex(log.vector, ==, NO_FAULT);
    g_assert_cmphex(log.value, ==, guest_tag(pa));
}

/* The part of the stream that says what is in it. */
static char *description(const char *path)
{
    g_autoptr(GError) err = NULL;
    g_autofree char *data = NULL;
    const char *found;
    gsize size;

    g_file_get_contents(path, &data, &size, &err);
    g_assert_no_error(err);
    found = memmem(data, size, "{\"page_size\"", 12);
    if (!found) {
        found = memmem(data, size, "{\"configuration\"", 16);
    }
    g_assert_nonnull(found);
    return g_strndup(found, data + size - found);
}

/* What one saves, the other loads; and both save the same. */
static void test_streams(void)
{
    g_autofree char *text[2] = { };

    for (unsigned from = 0; from < 2; from++) {
        g_autofree char *path = NULL, *uri = NULL, *options = NULL;
        g_autoptr(GError) err = NULL;
        int fd = g_file_open_tmp("x64k-XXXXXX", &path, &err);
        Guest *guest;

        g_assert_no_error(err);
        close(fd);
        uri = g_strdup_printf("file:%s", path);
        options = g_strdup_printf("-incoming %s", uri);
        g_test_message("from %s", names[from]);

        guest = start(from, "");
        guest_tag_frames(guest, TEST_PA, PAGE, 0);
        guest_map_4k(guest, TEST_VA, TEST_PA, PTE_RW | PTE_P64);
        assert_reads(guest, TEST_VA, TEST_PA);
        qtest_qmp_assert_success(guest->qts, "{ 'execute': 'migrate',"
                                 "  'arguments': { 'uri': %s } }", uri);
        guest_wait_for(guest->qts, "query-migrate", "completed");
        guest_stop(guest);
        text[from] = description(path);

        guest = start(!from, options);
        guest_wait_for(guest->qts, "query-status", "running");
        assert_reads(guest, TEST_VA, TEST_PA);
        guest_stop(guest);
        unlink(path);
    }
    g_assert_cmpstr(text[0], ==, text[1]);
}

int main(int argc, char **argv)
{
    const char *stock = getenv("X64K_STOCK_BINARY");

    g_test_init(&argc, &argv, NULL);
    if (!stock || access(stock, X_OK) < 0) {
        printf("1..0 # SKIP no stock emulator in X64K_STOCK_BINARY\n");
        return 0;
    }
    binaries[0] = g_strdup(getenv("QTEST_QEMU_BINARY"));
    binaries[1] = g_strdup(stock);
    qtest_add_func("/x64k/stock/cpuid", test_cpuid);
    qtest_add_func("/x64k/stock/streams", test_streams);
    return g_test_run();
}
