/*
 * Drives a guest that makes the memory accesses it is told to
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <sys/mman.h>
#include "hw/tlb/hwtlb-counters.h"
#include "qemu/atomic.h"
#include "x64k-guest.h"
#include "x64k-guest-rom.h"

/*
 * The layout of RAM.  x64k/guest.S knows of the CPUs' areas; it finds the
 * scripts and logs by them.
 */
#define MAX_CPUS        4
#define AREA(cpu)       (0x10000 + (cpu) * 0x1000)
#define PARAM_CR3       (AREA(0) + 0x00)
#define PARAM_CR4       (AREA(0) + 0x08)
#define GO(cpu)         (AREA(cpu) + 0x10)
#define DONE(cpu)       (AREA(cpu) + 0x18)
#define SCRIPT_AT(cpu)  (AREA(cpu) + 0x20)
#define LOG_AT(cpu)     (AREA(cpu) + 0x28)
#define STARTS(cpu)     (AREA(cpu) + 0x30)
#define NMIS(cpu)       (AREA(cpu) + 0x38)
#define NMI_MSR(cpu)    (AREA(cpu) + 0x40)
#define NMI_VALUE(cpu)  (AREA(cpu) + 0x48)
/* 2 MB of script, then 4 MB of log; of CPU 0 the rest are far away. */
#define SCRIPT(cpu)     ((cpu) ? 0x8000000 + (cpu) * 0x800000 : 0x100000)
#define LOG(cpu)        (SCRIPT(cpu) + 0x200000)

#define ROM_SIZE        0x10000
#define ROM_BASE        (0x100000000 - ROM_SIZE)

uint64_t guest_new_table(Guest *guest)
{
    uint64_t table = guest->next_table;

    guest->next_table += PAGE;
    memset(guest->ram + table, 0, PAGE);
    return table;
}

static char *write_rom(void)
{
    g_autofree uint8_t *image = g_malloc0(ROM_SIZE);
    uint64_t *ptes = (uint64_t *)(image + (GUEST_ROM_PTES - ROM_BASE));
    g_autoptr(GError) err = NULL;
    char *path = NULL;
    int fd = g_file_open_tmp("x64k-rom-XXXXXX", &path, &err);

    g_assert_no_error(err);
    memcpy(image, x64k_guest_rom, sizeof(x64k_guest_rom));
    memcpy(image + ROM_SIZE - sizeof(x64k_guest_reset), x64k_guest_reset,
           sizeof(x64k_guest_reset));
    for (int i = 0; i < 512; i++) {
        ptes[i] = (TEST_PA + i * PAGE) | PTE_P | PTE_RW | PTE_US | PTE_P64;
        ptes[512 + i] = (TEST_PA + i * PAGE_64K) | PTE_P | PTE_RW | PTE_US;
    }
    g_assert_cmpint(write(fd, image, ROM_SIZE), ==, ROM_SIZE);
    close(fd);
    return path;
}

/* A file of the size of RAM, in memory if that can be had. */
static char *make_ram(uint8_t **ram)
{
    const char *dir = g_file_test("/dev/shm", G_FILE_TEST_IS_DIR) ?
                      "/dev/shm" : g_get_tmp_dir();
    char *path = g_build_filename(dir, "x64k-ram-XXXXXX", NULL);
    int fd = g_mkstemp(path);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, GUEST_RAM_SIZE), ==, 0);
    *ram = mmap(NULL, GUEST_RAM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
                fd, 0);
    g_assert(*ram != MAP_FAILED);
    close(fd);
    return path;
}

/* The first page tables: PML5 or nothing, PML4, PDPT. */
#define OWN_TABLES      3

void guest_restore(Guest *guest)
{
    const uint64_t own = PTE_P | PTE_A | PTE_D | PTE_KEY(GUEST_KEY);
    const uint64_t table = PTE_P | PTE_RW | PTE_US | PTE_A;
    uint64_t pml4 = guest->cr3, pdpt = guest->cr3 + 2 * PAGE;

    if (guest->la57) {
        pml4 += PAGE;
        *guest_word(guest, guest->cr3) = pml4 | table;
    }
    *guest_word(guest, pml4) = pdpt | table;
    /* The guest's own data and ROM, by 1 GB pages; the ROM for ring 3 too. */
    *guest_word(guest, pdpt) = 0 | own | PTE_RW | PTE_PS;
    *guest_word(guest, pdpt + 3 * 8) = 0xc0000000 | own | PTE_RW | PTE_PS;
    *guest_word(guest, pdpt + 4 * 8) = 0xc0000000 | own | PTE_US | PTE_PS;
    *guest_word(guest, PARAM_CR3) = guest->cr3;
    *guest_word(guest, PARAM_CR4) = guest->cr4;
}

Guest *guest_start(const char *properties, uint64_t cr4)
{
    return guest_start_with(properties, cr4, 1, "");
}

Guest *guest_start_with(const char *properties, uint64_t cr4, unsigned cpus,
                        const char *options)
{
    Guest *guest = guest_create(properties, cr4, cpus, options);

    qtest_qmp_assert_success(guest->qts, "{ 'execute': 'cont' }");
    return guest;
}

Guest *guest_create(const char *properties, uint64_t cr4, unsigned cpus,
                    const char *options)
{
    Guest *guest = g_new0(Guest, 1);

    g_assert_cmpuint(cpus, <=, MAX_CPUS);
    guest->rom = write_rom();
    guest->ram_path = make_ram(&guest->ram);
    guest->next_table = GUEST_TABLES;
    guest->cpus = cpus;
    guest->la57 = cr4 & CR4_LA57;
    guest->cr4 = CR4_PAE | cr4;
    guest->cr3 = guest_new_table(guest);
    for (int i = 0; i < OWN_TABLES - 1; i++) {
        guest_new_table(guest);
    }
    guest_restore(guest);
    guest->qts = qtest_initf("-accel tcg -machine pc,memory-backend=ram "
                             "-m %" PRIu64 "M -object memory-backend-file,"
                             "id=ram,size=%" PRIu64 "M,share=on,mem-path=%s "
                             "-nodefaults -display none -S -bios %s "
                             "-smp %u -cpu max%s %s",
                             (uint64_t)(GUEST_RAM_SIZE / MiB),
                             (uint64_t)(GUEST_RAM_SIZE / MiB),
                             guest->ram_path, guest->rom, cpus, properties,
                             options);
    unlink(guest->ram_path);
    unlink(guest->rom);
    return guest;
}

void guest_stop(Guest *guest)
{
    qtest_quit(guest->qts);
    munmap(guest->ram, GUEST_RAM_SIZE);
    g_free(guest->rom);
    g_free(guest->ram_path);
    g_free(guest);
}

void guest_begin(Guest *guest, unsigned cpu, const GuestCommand *commands,
                 size_t n)
{
    g_assert_cmpuint(n, <=, GUEST_MAX_COMMANDS);
    memset(guest->ram + LOG(cpu), 0, n * sizeof(GuestLog));
    memcpy(guest->ram + SCRIPT(cpu), commands, n * sizeof(*commands));
    memset(guest->ram + SCRIPT(cpu) + n * sizeof(*commands), 0,
           sizeof(*commands));          /* OP_END */
    *guest_word(guest, SCRIPT_AT(cpu)) = SCRIPT(cpu);
    *guest_word(guest, LOG_AT(cpu)) = LOG(cpu);
    *guest_word(guest, DONE(cpu)) = 0;
    qatomic_store_release((uint32_t *)guest_word(guest, GO(cpu)), 1);
}

const GuestLog *guest_log(Guest *guest, unsigned cpu)
{
    return (GuestLog *)(guest->ram + LOG(cpu));
}

/* The guest writes the vector last, which is never 0 in these tests. */
bool guest_has_logged(Guest *guest, unsigned cpu, size_t command)
{
    return qatomic_load_acquire(&guest_log(guest, cpu)[command].vector);
}

bool guest_is_done(Guest *guest, unsigned cpu)
{
    return qatomic_load_acquire((uint32_t *)guest_word(guest, DONE(cpu)));
}

uint64_t guest_nmis_at(unsigned cpu)
{
    return NMIS(cpu);
}

void guest_at_nmi(Guest *guest, unsigned cpu, uint32_t msr, uint64_t value)
{
    *guest_word(guest, NMI_VALUE(cpu)) = value;
    *guest_word(guest, NMI_MSR(cpu)) = msr;
}

unsigned guest_starts(Guest *guest)
{
    return qatomic_read((uint32_t *)guest_word(guest, STARTS(0)));
}

void guest_wait(Guest *guest, unsigned cpu)
{
    gint64 deadline = g_get_monotonic_time() + 60 * G_USEC_PER_SEC;

    while (!guest_is_done(guest, cpu)) {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        g_usleep(20);
    }
}

void guest_run(Guest *guest, const GuestCommand *commands, size_t n,
               GuestLog *log)
{
    guest_begin(guest, 0, commands, n);
    guest_wait(guest, 0);
    memcpy(log, guest->ram + LOG(0), n * sizeof(*log));
}

void guest_wait_for(QTestState *qts, const char *query, const char *good)
{
    gint64 deadline = g_get_monotonic_time() + 60 * G_USEC_PER_SEC;
    bool done = false;

    while (!done) {
        QDict *answer = qtest_qmp_assert_success_ref(qts, "{ 'execute': %s }",
                                                     query);
        const char *status = qdict_get_try_str(answer, "status");

        g_assert_cmpstr(status, !=, "failed");
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
        done = status && g_str_equal(status, good);
        qobject_unref(answer);
        g_usleep(10000);
    }
}

void guest_make_disk(const char *path)
{
    QTestState *qts = qtest_init("-machine none -nodefaults");

    close(open(path, O_CREAT | O_WRONLY, 0600));
    qtest_qmp_assert_success(qts, "{ 'execute': 'blockdev-add', 'arguments': {"
                             "  'node-name': 'file', 'driver': 'file',"
                             "  'filename': %s } }", path);
    qtest_qmp_assert_success(qts, "{ 'execute': 'blockdev-create',"
                             "  'arguments': { 'job-id': 'make', 'options': {"
                             "    'driver': 'qcow2', 'file': 'file',"
                             "    'size': 1048576 } } }");
    for (bool done = false; !done; ) {
        QDict *event = qtest_qmp_eventwait_ref(qts, "JOB_STATUS_CHANGE");
        QDict *data = qdict_get_qdict(event, "data");

        done = g_str_equal(qdict_get_str(data, "status"), "concluded");
        qobject_unref(event);
    }
    qtest_quit(qts);
}

/* mov $number, %edx; jmp *%rcx; nop */
uint64_t guest_tag(uint64_t pa)
{
    return 0xbaull | (pa / PAGE) << 8 | 0x90e1ffull << 40;
}

void guest_tag_frames(Guest *guest, uint64_t pa, uint64_t size,
                      uint64_t offset)
{
    for (uint64_t page = pa; page < pa + size; page += PAGE) {
        *guest_word(guest, page + offset) = guest_tag(page);
    }
}

bool guest_has_x64k(void)
{
    QTestState *qts = qtest_init("-accel tcg -machine none -nodefaults");
    QDict *response = qtest_qmp(qts,
                                "{ 'execute': 'device-list-properties',"
                                "  'arguments': {"
                                "    'typename': 'max-x86_64-cpu' } }");
    QList *list = qdict_get_qlist(response, "return");
    const QListEntry *entry;
    bool found = false;

    g_assert_nonnull(list);
    QLIST_FOREACH_ENTRY(list, entry) {
        QDict *property = qobject_to(QDict, qlist_entry_obj(entry));

        if (g_str_equal(qdict_get_str(property, "name"), "x64k-leaf")) {
            found = true;
        }
    }
    qobject_unref(response);
    qtest_quit(qts);
    return found;
}

GuestLog guest_do(Guest *guest, GuestOp op, uint64_t operand)
{
    const GuestCommand command = { op, 0, operand };
    GuestLog log;

    guest_run(guest, &command, 1, &log);
    return log;
}

/* The table that the entry at @entry points to; made if it points nowhere. */
static uint64_t table_at(Guest *guest, uint64_t entry)
{
    uint64_t value = *guest_word(guest, entry);

    if (!(value & PTE_P)) {
        value = guest_new_table(guest) | PTE_P | PTE_RW | PTE_US;
        *guest_word(guest, entry) = value;
    }
    return value & 0x000ffffffffff000ull;
}

static uint64_t pdpte_of(Guest *guest, uint64_t va)
{
    uint64_t pml4 = guest->la57 ?
                    table_at(guest, guest->cr3 + (va >> 48 & 0x1ff) * 8) :
                    guest->cr3;
    uint64_t pdpt = table_at(guest, pml4 + (va >> 39 & 0x1ff) * 8);

    return pdpt + (va >> 30 & 0x1ff) * 8;
}

static uint64_t pde_of(Guest *guest, uint64_t va)
{
    return table_at(guest, pdpte_of(guest, va)) + (va >> 21 & 0x1ff) * 8;
}

uint64_t guest_map_4k(Guest *guest, uint64_t va, uint64_t pa, uint64_t flags)
{
    uint64_t pte = table_at(guest, pde_of(guest, va)) +
                   (va >> 12 & 0x1ff) * 8;

    *guest_word(guest, pte) = pa | flags | PTE_P;
    return pte;
}

uint64_t guest_map_64k_leaf(Guest *guest, uint64_t va, uint64_t pa,
                            uint64_t flags)
{
    uint64_t pde = pde_of(guest, va);
    uint64_t table, entry;

    if (!(*guest_word(guest, pde) & PTE_P)) {
        /* Not page aligned, as sixteen tables fit one page. */
        table = guest_new_table(guest) + 0x700;
        *guest_word(guest, pde) = table | PTE_P | PTE_RW | PTE_US | PTE_P64;
    }
    table = *guest_word(guest, pde) & 0x000fffffffffff00ull;
    entry = table + (va >> 16 & 0x1f) * 8;
    *guest_word(guest, entry) = pa | flags | PTE_P;
    return entry;
}

uint64_t guest_map_2m(Guest *guest, uint64_t va, uint64_t pa, uint64_t flags)
{
    uint64_t pde = pde_of(guest, va);

    *guest_word(guest, pde) = pa | flags | PTE_P | PTE_PS;
    return pde;
}

uint64_t guest_map_1g(Guest *guest, uint64_t va, uint64_t pa, uint64_t flags)
{
    uint64_t pdpte = pdpte_of(guest, va);

    *guest_word(guest, pdpte) = pa | flags | PTE_P | PTE_PS;
    return pdpte;
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

const char *const guest_counter_names[HWTLB_C__MAX] = {
#define X(id, name, what) [HWTLB_C_##id] = name,
    HWTLB_COUNTERS(X)
#undef X
};

/* The last vCPU's results are first; their names tell nothing. */
void guest_counters(Guest *guest, unsigned cpu, uint64_t *values)
{
    QDict *response = qtest_qmp(guest->qts,
                                "{ 'execute': 'query-stats', 'arguments': {"
                                "  'target': 'vcpu', 'providers': ["
                                "  { 'provider': 'hwtlb' } ] } }");
    const QList *results = qdict_get_qlist(response, "return");
    const QListEntry *entry = qlist_first(results);
    unsigned n = 0;

    for (unsigned i = qlist_size(results) - 1; i > cpu; i--) {
        entry = qlist_next(entry);
    }
    entry = qlist_first(qdict_get_qlist(qobject_to(QDict, entry->value),
                                        "stats"));
    for (; entry; entry = qlist_next(entry), n++) {
        QDict *stat = qobject_to(QDict, entry->value);

        g_assert_cmpuint(n, <, HWTLB_C__MAX);
        g_assert_cmpstr(qdict_get_str(stat, "name"), ==,
                        guest_counter_names[n]);
        values[n] = qdict_get_int(stat, "value");
    }
    g_assert_cmpuint(n, ==, HWTLB_C__MAX);
    qobject_unref(response);
}
