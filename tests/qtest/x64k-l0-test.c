/*
 * QEMU's own TLB, L0, under the TLB model: what it costs, and how an
 * instruction is started again
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "x64k-gdb.h"
#include "x64k-guest.h"

#define PROPERTIES      ",hwtlb=skylake"

static uint64_t resident(Guest *guest)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/statm",
                                            (int)qtest_pid(guest->qts));
    g_autofree char *text = NULL;
    uint64_t pages;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_cmpint(sscanf(text, "%*u %" SCNu64, &pages), ==, 1);
    return pages * qemu_real_host_page_size();
}

/*
 * How many entries of L0 are used decides, when it is flushed, how large its
 * tables are.  A guest must not make that number grow, or fall below 0, while
 * it uses two pages that take turns in one place: then each flush doubles the
 * tables, to 128 MB each and more.
 */
static void test_size(void)
{
    enum { TURNS = 3000, FLUSHES = 24 };
    /* In one place of a table of any size. */
    const uint64_t one = TEST_VA, other = TEST_VA + 16 * GiB;
    g_autofree GuestCommand *commands = g_new(GuestCommand, 3 * TURNS);
    g_autofree GuestLog *log = g_new(GuestLog, 3 * TURNS);
    Guest *guest = guest_start(PROPERTIES, 0);
    uint64_t before;

    guest_map_4k(guest, one, TEST_PA, PTE_RW | PTE_A | PTE_D);
    guest_map_4k(guest, other, TEST_PA, PTE_RW | PTE_A | PTE_D);
    for (unsigned i = 0; i < TURNS; i++) {
        /* The page comes back to an empty place. */
        commands[3 * i] = (GuestCommand) { OP_LOAD, 0, one };
        commands[3 * i + 1] = (GuestCommand) { OP_LOAD, 0, other };
        commands[3 * i + 2] = (GuestCommand) { OP_INVLPG, 0, other };
    }
    before = resident(guest);
    for (unsigned i = 0; i < FLUSHES; i++) {
        guest_run(guest, commands, 3 * TURNS, log);
        guest_do(guest, OP_CR3, guest->cr3);
    }
    g_test_message("%" PRIu64 " KB more", (resident(guest) - before) / KiB);
    g_assert_cmpuint(resident(guest), <, before + 32 * MiB);
    guest_stop(guest);
}

static uint64_t pc(int gdb)
{
    char answer[64];
    uint64_t value = 0;

    gdb_ask(gdb, "p10", answer, sizeof(answer));
    g_assert_cmpuint(strlen(answer), ==, 16);
    for (int i = 14; i >= 0; i -= 2) {
        value = value << 8 | g_ascii_xdigit_value(answer[i]) << 4 |
                g_ascii_xdigit_value(answer[i + 1]);
    }
    return value;
}

/*
 * A load fills the model with a translation of 2 MB, in place of that of 4 KB
 * that its own code was fetched by, and so is started again: one step all the
 * same.
 */
static void test_step(const void *options)
{
    static const uint8_t code[] = {
        0x48, 0x8b, 0x90, 0, 0x10, 0, 0,    /* mov 0x1000(%rax), %rdx */
        0x90, 0x90,                         /* nop; nop */
        0xc3,                               /* ret */
    };
    /* The code is fetched the first time, and after the load that loses it. */
    static const struct {
        uint8_t size, misses;
    } steps[] = { { 10, 1 }, { 7, 0 }, { 1, 1 }, { 1, 0 } };
    const uint64_t va = TEST_VA + 7 * PAGE, pa = TEST_PA + 7 * PAGE;
    const GuestCommand call = { OP_CALL, 0, va };
    g_autoptr(GError) err = NULL;
    g_autofree char *dir = g_dir_make_tmp("x64k-XXXXXX", &err);
    g_autofree char *path = g_build_filename(dir, "gdb", NULL);
    g_autofree char *start = g_strdup_printf("gdbserver unix:%s,server=on,"
                                             "wait=off", path);
    g_autofree char *stop = g_strdup_printf("Z0,%" PRIx64 ",1", va);
    g_autofree char *said = NULL;
    Guest *guest = guest_start_with(PROPERTIES, 0, 1, options);
    uint8_t *at = guest->ram + pa;
    uint64_t expected = va, misses;
    char answer[64];
    int gdb;

    g_assert_no_error(err);
    memcpy(at, (const uint8_t[]) { 0x48, 0xb8 }, 2);        /* mov $, %rax */
    memcpy(at + 2, &va, sizeof(va));
    memcpy(at + 10, code, sizeof(code));
    *guest_word(guest, pa + PAGE) = 0x1234;
    guest_map_4k(guest, va, pa, PTE_RW | PTE_A | PTE_D);

    said = qtest_hmp(guest->qts, "%s", start);
    gdb = gdb_connect(path);
    gdb_ask(gdb, stop, answer, sizeof(answer));
    g_assert_cmpstr(answer, ==, "OK");
    gdb_send(gdb, "c");
    guest_begin(guest, 0, &call, 1);
    gdb_receive(gdb, answer, sizeof(answer));
    g_assert_cmphex(pc(gdb), ==, va);
    stop[0] = 'z';
    gdb_ask(gdb, stop, answer, sizeof(answer));
    g_assert_cmpstr(answer, ==, "OK");

    for (unsigned i = 0; i < ARRAY_SIZE(steps); i++) {
        if (i == 1) {
            guest_map_2m(guest, TEST_VA, TEST_PA, PTE_RW | PTE_A | PTE_D);
        }
        misses = guest_counter(guest, "l1i-miss");
        gdb_ask(gdb, "s", answer, sizeof(answer));
        expected += steps[i].size;
        g_assert_cmphex(pc(gdb), ==, expected);
        g_assert_cmpuint(guest_counter(guest, "l1i-miss") - misses, ==,
                         steps[i].misses);
    }
    gdb_send(gdb, "c");
    guest_wait(guest, 0);
    g_assert_cmphex(guest_log(guest, 0)->vector, ==, NO_FAULT);
    g_assert_cmphex(guest_log(guest, 0)->value, ==, 0x1234);
    close(gdb);
    unlink(path);
    rmdir(dir);
    guest_stop(guest);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("/x64k/l0/size", test_size);
    qtest_add_data_func("/x64k/l0/step", "", test_step);
    qtest_add_data_func("/x64k/l0/step/icount", "-icount shift=0", test_step);
    return g_test_run();
}
