/*
 * The contiguity sanitizer: each ill-formed group is reported, once
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "x64k-guest.h"

typedef struct Kind {
    const char *reason;
    uint64_t flip;              /* what is wrong with the PTE at the slot */
} Kind;

static const Kind kinds[] = {
    { "absent", PTE_P },
    { "unmarked", PTE_P64 },
    { "frame", 1ull << 20 },
    { "attributes", PTE_RW },
    { "attributes", PTE_US },
    { "attributes", PTE_G },
    { "attributes", PTE_NX },
    { "attributes", PTE_KEY(3) },
};

static unsigned slot_of(unsigned i)
{
    return 1 + i * 5 % 15;
}

static uint64_t va_of(unsigned i)
{
    return TEST_VA + i * PAGE_64K;
}

/* How often @text has the whole line that reports this group. */
static unsigned reports(const char *text, uint64_t va, uint64_t cr3,
                        unsigned slot, const char *reason)
{
    g_autofree char *line =
        g_strdup_printf("x64k: ill-formed group: va 0x%" PRIx64 " cr3 0x%"
                        PRIx64 " slot %u: %s\n", va, cr3, slot, reason);
    unsigned n = 0;

    for (const char *p = text; (p = strstr(p, line)); p++) {
        n++;
    }
    return n;
}

static void test_report(const void *data)
{
    const char *properties = data;
    const bool faults = strstr(properties, "fault");
    g_autoptr(GError) err = NULL;
    g_autofree char *path = NULL, *options = NULL, *text = NULL;
    int fd = g_file_open_tmp("x64k-XXXXXX", &path, &err);
    const char *p;
    unsigned lines = 0;
    uint64_t own, other;
    Guest *guest;

    g_assert_no_error(err);
    close(fd);
    options = g_strdup_printf("-d guest_errors -D %s "
                              "-trace x64k_ill_formed_group", path);
    guest = guest_start_with(properties, CR4_P64, 1, options);
    for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
        uint64_t pte = guest_map_group(guest, va_of(i), TEST_PA, PTE_RW);

        *guest_word(guest, pte + slot_of(i) * 8) ^= kinds[i].flip;
    }
    /* One that is well formed, and one whose PTE 0 is not the aligned one. */
    guest_map_group(guest, va_of(20), TEST_PA, PTE_RW);
    guest_map_group(guest, va_of(21), TEST_PA + PAGE, PTE_RW);

    /* The same tables at another address are another address space. */
    own = guest->cr3;
    other = guest_new_table(guest);
    memcpy(guest_word(guest, other), guest_word(guest, own), PAGE);
    for (unsigned round = 0; round < 4; round++) {
        guest_do(guest, OP_CR3, round & 1 ? other : own);
        for (unsigned i = 0; i < 22; i++) {
            bool is_mapped = i < ARRAY_SIZE(kinds) || i >= 20;
            GuestLog log = guest_do(guest, OP_LOAD, va_of(i));

            g_assert_cmphex(log.vector, ==,
                            !is_mapped || (faults && i != 20) ? 14 : NO_FAULT);
        }
    }
    guest_stop(guest);

    g_file_get_contents(path, &text, NULL, &err);
    g_assert_no_error(err);
    unlink(path);
    for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
        g_assert_cmpuint(reports(text, va_of(i), own, slot_of(i),
                                 kinds[i].reason), ==, 1);
        g_assert_cmpuint(reports(text, va_of(i), other, slot_of(i),
                                 kinds[i].reason), ==, 1);
    }
    g_assert_cmpuint(reports(text, va_of(21), own, 0, "frame"), ==, 1);
    g_assert_cmpuint(reports(text, va_of(21), other, 0, "frame"), ==, 1);
    for (p = text; (p = strstr(p, "x64k: ill-formed group")); p++) {
        lines++;
    }
    g_assert_cmpuint(lines, ==, 2 * (ARRAY_SIZE(kinds) + 1));
    /* The trace event says as much. */
    for (p = text, lines = 0; (p = strstr(p, "x64k_ill_formed_group ")); p++) {
        lines++;
    }
    g_assert_cmpuint(lines, ==, 2 * (ARRAY_SIZE(kinds) + 1));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_data_func("/x64k/report/degrade", ",x64k-contig=on",
                        test_report);
    qtest_add_data_func("/x64k/report/fault",
                        ",x64k-contig=on,x64k-contig-check=fault",
                        test_report);
    qtest_add_data_func("/x64k/report/model",
                        ",x64k-contig=on,hwtlb=skylake", test_report);
    return g_test_run();
}
