/*
 * Drives a guest that makes the memory accesses it is told to
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "x64k-guest.h"
#include "x64k-guest-rom.h"

/* The layout of RAM that x64k/guest.S knows too. */
#define PARAM_CR3       0x10000
#define PARAM_CR4       0x10008
#define GO              0x10010
#define DONE            0x10018
#define SCRIPT          0x100000
#define LOG             0x800000
#define MAX_COMMANDS    ((LOG - SCRIPT) / 16 - 1)

#define TABLES          0x1000000
#define ROM_SIZE        0x10000

static uint64_t new_table(Guest *guest)
{
    uint64_t table = guest->next_table;

    guest->next_table += PAGE;
    qtest_memset(guest->qts, table, 0, PAGE);
    return table;
}

static char *write_rom(void)
{
    g_autofree uint8_t *image = g_malloc0(ROM_SIZE);
    g_autoptr(GError) err = NULL;
    char *path = NULL;
    int fd = g_file_open_tmp("x64k-rom-XXXXXX", &path, &err);

    g_assert_no_error(err);
    memcpy(image, x64k_guest_rom, sizeof(x64k_guest_rom));
    memcpy(image + ROM_SIZE - sizeof(x64k_guest_reset), x64k_guest_reset,
           sizeof(x64k_guest_reset));
    g_assert_cmpint(write(fd, image, ROM_SIZE), ==, ROM_SIZE);
    close(fd);
    return path;
}

Guest *guest_start(const char *properties, uint64_t cr4)
{
    Guest *guest = g_new0(Guest, 1);
    uint64_t pdpt;

    guest->rom = write_rom();
    guest->qts = qtest_initf("-accel tcg -machine pc -m 256 -nodefaults "
                             "-display none -S -bios %s -cpu max%s",
                             guest->rom, properties);
    guest->next_table = TABLES;
    guest->cr3 = new_table(guest);
    pdpt = new_table(guest);
    qtest_writeq(guest->qts, guest->cr3, pdpt | PTE_P | PTE_RW | PTE_US);
    /* The guest's own data and ROM, by 1 GB pages. */
    qtest_writeq(guest->qts, pdpt, 0 | PTE_P | PTE_RW | PTE_PS);
    qtest_writeq(guest->qts, pdpt + 3 * 8,
                 0xc0000000 | PTE_P | PTE_RW | PTE_PS);
    qtest_writeq(guest->qts, PARAM_CR3, guest->cr3);
    qtest_writeq(guest->qts, PARAM_CR4, CR4_PAE | cr4);
    qtest_qmp_assert_success(guest->qts, "{ 'execute': 'cont' }");
    return guest;
}

void guest_stop(Guest *guest)
{
    qtest_quit(guest->qts);
    unlink(guest->rom);
    g_free(guest->rom);
    g_free(guest);
}

void guest_run(Guest *guest, const GuestCommand *commands, size_t n,
               GuestLog *log)
{
    const GuestCommand end = { OP_END };
    gint64 deadline = g_get_monotonic_time() + 60 * G_USEC_PER_SEC;

    g_assert_cmpuint(n, <=, MAX_COMMANDS);
    qtest_memset(guest->qts, LOG, 0, n * sizeof(*log));
    qtest_memwrite(guest->qts, SCRIPT, commands, n * sizeof(*commands));
    qtest_memwrite(guest->qts, SCRIPT + n * sizeof(end), &end, sizeof(end));
    qtest_writel(guest->qts, DONE, 0);
    qtest_writel(guest->qts, GO, 1);
    while (!qtest_readl(guest->qts, DONE)) {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        g_usleep(200);
    }
    qtest_memread(guest->qts, LOG, log, n * sizeof(*log));
}

GuestLog guest_do(Guest *guest, GuestOp op, uint64_t operand)
{
    const GuestCommand command = { op, operand };
    GuestLog log;

    guest_run(guest, &command, 1, &log);
    return log;
}

/* The table that the entry at @entry points to; made if it points nowhere. */
static uint64_t table_at(Guest *guest, uint64_t entry)
{
    uint64_t value = qtest_readq(guest->qts, entry);

    if (!(value & PTE_P)) {
        value = new_table(guest) | PTE_P | PTE_RW | PTE_US;
        qtest_writeq(guest->qts, entry, value);
    }
    return value & 0x000ffffffffff000ull;
}

static uint64_t pde_of(Guest *guest, uint64_t va)
{
    uint64_t pdpt = table_at(guest, guest->cr3 + (va >> 39 & 0x1ff) * 8);
    uint64_t pd = table_at(guest, pdpt + (va >> 30 & 0x1ff) * 8);

    return pd + (va >> 21 & 0x1ff) * 8;
}

uint64_t guest_map_4k(Guest *guest, uint64_t va, uint64_t pa, uint64_t flags)
{
    uint64_t pte = table_at(guest, pde_of(guest, va)) +
                   (va >> 12 & 0x1ff) * 8;

    qtest_writeq(guest->qts, pte, pa | flags | PTE_P);
    return pte;
}

uint64_t guest_map_64k_leaf(Guest *guest, uint64_t va, uint64_t pa,
                            uint64_t flags)
{
    uint64_t pde = pde_of(guest, va);
    uint64_t table, entry;

    if (!(qtest_readq(guest->qts, pde) & PTE_P)) {
        /* Not page aligned, as sixteen tables fit one page. */
        table = new_table(guest) + 0x700;
        qtest_writeq(guest->qts, pde,
                     table | PTE_P | PTE_RW | PTE_US | PTE_P64);
    }
    table = qtest_readq(guest->qts, pde) & 0x000fffffffffff00ull;
    entry = table + (va >> 16 & 0x1f) * 8;
    qtest_writeq(guest->qts, entry, pa | flags | PTE_P);
    return entry;
}

uint64_t guest_map_2m(Guest *guest, uint64_t va, uint64_t pa, uint64_t flags)
{
    uint64_t pde = pde_of(guest, va);

    qtest_writeq(guest->qts, pde, pa | flags | PTE_P | PTE_PS);
    return pde;
}

uint64_t guest_map_group(Guest *guest, uint64_t va, uint64_t pa,
                         uint64_t flags)
{
    uint64_t first = 0;

    for (int k = 15; k >= 0; k--) {
        first = guest_map_4k(guest, va + k * PAGE, pa + k * PAGE,
                             flags | PTE_P64);
    }
    return first;
}

uint64_t guest_counter(Guest *guest, const char *name)
{
    QDict *response, *result, *stat;
    QList *results, *stats;
    uint64_t value;

    response = qtest_qmp(guest->qts,
                         "{ 'execute': 'query-stats', 'arguments': {"
                         "  'target': 'vcpu', 'providers': ["
                         "  { 'provider': 'hwtlb', 'names': [ %s ] } ] } }",
                         name);
    results = qdict_get_qlist(response, "return");
    g_assert_nonnull(results);
    result = qobject_to(QDict, qlist_peek(results));
    g_assert_nonnull(result);
    stats = qdict_get_qlist(result, "stats");
    stat = qobject_to(QDict, qlist_peek(stats));
    g_assert_cmpstr(qdict_get_str(stat, "name"), ==, name);
    value = qdict_get_int(stat, "value");
    qobject_unref(response);
    return value;
}
