/*
 * The counter device of the hardware-TLB model, register by register
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What is expected is written from docs/specs/hwtlb.rst.
 */
#include "qemu/osdep.h"
#include "libqos/libqos-pc.h"
#include "libqos/pci-pc.h"
#include "hw/tlb/hwtlb.h"
#include "x64k-guest.h"

#define REG_ID          0x0000
#define REG_COUNTERS    0x0008
#define REG_VCPUS       0x000c
#define REG_VCPU        0x0010
#define REG_LATCH       0x0014
#define REG_REGION      0x0018
#define REG_COMMAND     0x001c
#define REG_NAME        0x0020
#define REG_FAULTS      0x0040
#define REG_ENTERED     0x0048
#define REG_COALESCE    0x0050
#define REG_OBSERVE     0x0054
#define WIN_ARRAYS      0x0100
#define WIN_PWC         0x01c0
#define WIN_LATCHED     0x1000
#define WIN_REGION      0x2000
#define WIN_NAMES       0x3000
#define BAR_SIZE        0x4000

#define ID              UINT64_C(0x00000002424c5448)
#define ALL             UINT32_MAX

#define BEGIN           1
#define END             2
#define CLEAR           3
#define CLEAR_ALL       4
#define RESET           5

#define SKYLAKE         ",hwtlb=skylake"

typedef struct Device {
    Guest *guest;
    QPCIBus *bus;
    QPCIDevice *pci;
    QPCIBar bar;
} Device;

static void device_find(Device *d)
{
    d->bus = qpci_new_pc(d->guest->qts, NULL);
    d->pci = qpci_device_find(d->bus, QPCI_DEVFN(4, 0));
    g_assert_nonnull(d->pci);
    g_assert_cmphex(qpci_config_readl(d->pci, 0), ==, 0x64641234);
    qpci_device_enable(d->pci);
    d->bar = qpci_iomap(d->pci, 0, NULL);
}

static void device_lose(Device *d)
{
    g_free(d->pci);
    qpci_free_pc(d->bus);
}

static Device device_start(const char *properties, unsigned cpus,
                           const char *options)
{
    g_autofree char *more = g_strdup_printf("-device hwtlb-pci,addr=04.0 %s",
                                            options);
    Device d = { guest_start_with(properties, 0, cpus, more) };

    device_find(&d);
    return d;
}

static void device_stop(Device *d)
{
    device_lose(d);
    guest_stop(d->guest);
}

static uint32_t readl_at(Device *d, uint64_t reg)
{
    return qpci_io_readl(d->pci, d->bar, reg);
}

static uint64_t readq_at(Device *d, uint64_t reg)
{
    return qpci_io_readq(d->pci, d->bar, reg);
}

static void writel_at(Device *d, uint64_t reg, uint32_t value)
{
    qpci_io_writel(d->pci, d->bar, reg, value);
}

static uint64_t latched(Device *d, HWTLBCounter counter)
{
    return readq_at(d, WIN_LATCHED + 8 * counter);
}

static uint64_t in_region(Device *d, HWTLBCounter counter)
{
    return readq_at(d, WIN_REGION + 8 * counter);
}

/* The other vCPUs copy what they have counted when they come to it. */
static void wait_for_copies(Device *d)
{
    gint64 deadline = g_get_monotonic_time() + 60 * G_USEC_PER_SEC;

    while (readl_at(d, REG_LATCH)) {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline);
    }
}

static void latch(Device *d)
{
    writel_at(d, REG_LATCH, 1);
    wait_for_copies(d);
}

static void command(Device *d, unsigned region, unsigned what)
{
    qpci_io_writeq(d->pci, d->bar, REG_REGION, region | (uint64_t)what << 32);
    wait_for_copies(d);
}

/* Loads one word of each of @n fresh 4 KB pages from @va on, on @cpu. */
static void touch_pages_on(Guest *guest, unsigned cpu, uint64_t va,
                           unsigned n)
{
    g_autofree GuestCommand *commands = g_new0(GuestCommand, n);

    for (unsigned i = 0; i < n; i++) {
        guest_map_4k(guest, va + i * PAGE, TEST_PA, 0);
        commands[i] = (GuestCommand) { OP_LOAD, 0, va + i * PAGE };
    }
    guest_begin(guest, cpu, commands, n);
    guest_wait(guest, cpu);
    for (unsigned i = 0; i < n; i++) {
        g_assert_cmphex(guest_log(guest, cpu)[i].vector, ==, NO_FAULT);
    }
}

static void touch_pages(Guest *guest, uint64_t va, unsigned n)
{
    touch_pages_on(guest, 0, va, n);
}

static void test_identity(void)
{
    Device d = device_start(SKYLAKE, 2, "");

    g_assert_cmphex(readq_at(&d, REG_ID), ==, ID);
    g_assert_cmpuint(readl_at(&d, REG_COUNTERS), ==, HWTLB_C__MAX);
    g_assert_cmpuint(readl_at(&d, REG_VCPUS), ==, 2);
    g_assert_cmphex(readl_at(&d, REG_VCPU), ==, ALL);
    g_assert_cmphex(readl_at(&d, REG_REGION), ==, 0);
    g_assert_cmphex(readl_at(&d, REG_COMMAND), ==, 0);
    for (unsigned i = 0; i < HWTLB_C__MAX; i++) {
        char name[33] = "";

        qpci_memread(d.pci, d.bar, WIN_NAMES + 32 * i, name, 32);
        g_assert_cmpstr(name, ==, guest_counter_names[i]);
    }
    device_stop(&d);
}

/* The tables of the specification: sets, ways, classes, policy, hash. */
static void test_geometry(void)
{
    enum { PAGES = 0x7f, M2 = 0x80, G1 = 0x100 };
#define ARRAY(level, array) (WIN_ARRAYS + 0x40 * HWTLB_##level + 0x10 * (array))
#define PWC(which)          (WIN_PWC + 0x10 * HWTLB_PWC_##which)
    static const struct {
        const char *preset;
        unsigned at, sets, ways, classes;
        HWTLBPolicy policy;
        HWTLBHash hash;
    } cases[] = {
        { SKYLAKE, ARRAY(L1D, 0), 16, 4, PAGES },
        { SKYLAKE, ARRAY(L1D, 1), 8, 4, M2 },
        { SKYLAKE, ARRAY(L1D, 2), 1, 4, G1 },
        { SKYLAKE, ARRAY(L1D, 3), 0, 0, 0 },
        { SKYLAKE, ARRAY(L1I, 0), 16, 8, PAGES },
        { SKYLAKE, ARRAY(L1I, 1), 1, 8, M2 | G1 },
        { SKYLAKE, ARRAY(STLB, 0), 128, 12, PAGES | M2, HWTLB_LRU, HWTLB_XOR },
        { SKYLAKE, ARRAY(STLB, 1), 4, 4, G1, HWTLB_LRU },
        { SKYLAKE, PWC(PML4E), 0, 0, 0 },
        { SKYLAKE, PWC(PDPTE), 1, 4, 0, HWTLB_LRU },
        { SKYLAKE, PWC(PDE), 1, 32, 0, HWTLB_LRU },
        { ",hwtlb=golden-cove", ARRAY(STLB, 0), 128, 16, PAGES | M2 | G1,
          HWTLB_TREE_PLRU, HWTLB_XOR },
        { ",hwtlb=zen4", ARRAY(L1D, 0), 1, 72, PAGES | M2 | G1 },
        { ",hwtlb=zen4", PWC(PML4E), 1, 32, 0, HWTLB_LRU },
    };

    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        Device d = device_start(cases[i].preset, 2, "");
        bool coalesces = g_str_equal(cases[i].preset, ",hwtlb=zen4");

        /* Of all vCPUs it is the first one's; here they are alike. */
        for (uint32_t vcpu = 0; vcpu < 3; vcpu++) {
            writel_at(&d, REG_VCPU, vcpu < 2 ? vcpu : ALL);
            g_assert_cmphex(readq_at(&d, cases[i].at), ==, cases[i].sets |
                            (uint64_t)cases[i].ways << 32);
            g_assert_cmphex(readq_at(&d, cases[i].at + 8), ==,
                            cases[i].classes | cases[i].policy << 16 |
                            cases[i].hash << 24);
        }
        g_assert_cmpuint(readl_at(&d, REG_COALESCE), ==,
                         coalesces ? 4 : 1);
        g_assert_cmpuint(readl_at(&d, REG_OBSERVE), ==, 0);
        g_assert_cmphex(readq_at(&d, WIN_PWC + 0x30), ==, 0);
        device_stop(&d);
    }
#undef ARRAY
#undef PWC
}

static void test_options(void)
{
    Device d = device_start(SKYLAKE ",hwtlb-coalesce=8,hwtlb-observe=every",
                            1, "");

    g_assert_cmpuint(readl_at(&d, REG_COALESCE), ==, 8);
    g_assert_cmpuint(readl_at(&d, REG_OBSERVE), ==, 1);
    device_stop(&d);
}

/* Value by value, the device says what QMP says, and when it was latched. */
static void test_latch(void)
{
    Device d = device_start(SKYLAKE, 1, "");
    uint64_t values[HWTLB_C__MAX];

    touch_pages(d.guest, TEST_VA, 20);
    latch(&d);
    touch_pages(d.guest, TEST_VA + PAGE_2M, 7);
    g_assert_cmpuint(latched(&d, HWTLB_C_L1D_FILL_4K), ==, 20);
    latch(&d);
    g_assert_cmpuint(latched(&d, HWTLB_C_L1D_FILL_4K), ==, 27);
    guest_counters(d.guest, 0, values);
    for (unsigned i = 0; i < HWTLB_C__MAX; i++) {
        g_assert_cmpuint(latched(&d, i), ==, values[i]);
    }
    device_stop(&d);
}

/* Both windows show one vCPU, or the sum. */
static void test_vcpu_select(void)
{
    Device d = device_start(SKYLAKE, 4, "");

    command(&d, 5, BEGIN);
    for (unsigned cpu = 0; cpu < 4; cpu++) {
        touch_pages_on(d.guest, cpu, TEST_VA + cpu * PAGE_2M, 5 + cpu);
    }
    command(&d, 5, END);
    latch(&d);
    g_assert_cmpuint(latched(&d, HWTLB_C_L1D_FILL_4K), ==, 26);
    g_assert_cmpuint(in_region(&d, HWTLB_C_L1D_FILL_4K), ==, 26);
    for (unsigned cpu = 0; cpu < 4; cpu++) {
        writel_at(&d, REG_VCPU, cpu);
        g_assert_cmpuint(readl_at(&d, REG_VCPU), ==, cpu);
        g_assert_cmpuint(latched(&d, HWTLB_C_L1D_FILL_4K), ==, 5 + cpu);
        g_assert_cmpuint(in_region(&d, HWTLB_C_L1D_FILL_4K), ==, 5 + cpu);
    }
    /* A vCPU that is not there is not selected, ... */
    writel_at(&d, REG_VCPU, 4);
    g_assert_cmpuint(readl_at(&d, REG_VCPU), ==, 3);
    writel_at(&d, REG_VCPU, ALL - 1);
    g_assert_cmpuint(readl_at(&d, REG_VCPU), ==, 3);
    /* ... nor is done what should follow, which here would be LATCH. */
    touch_pages(d.guest, TEST_VA + 4 * PAGE_2M, 1);
    qpci_io_writeq(d.pci, d.bar, REG_VCPU, 4 | 1ull << 32);
    writel_at(&d, REG_VCPU, ALL);
    g_assert_cmphex(readl_at(&d, REG_VCPU), ==, ALL);
    g_assert_cmpuint(latched(&d, HWTLB_C_L1D_FILL_4K), ==, 26);
    qpci_io_writeq(d.pci, d.bar, REG_VCPU, 0 | 1ull << 32);
    wait_for_copies(&d);
    g_assert_cmpuint(latched(&d, HWTLB_C_L1D_FILL_4K), ==, 6);
    device_stop(&d);
}

/* Regions add up what falls between begin and end, each for itself. */
static void test_regions(void)
{
    Device d = device_start(SKYLAKE, 1, "");
    const char name[32] = "thirty-two characters, not fewer";
    char back[32];

    writel_at(&d, REG_REGION, 3);
    qpci_memwrite(d.pci, d.bar, REG_NAME, name, sizeof(name));
    qpci_memread(d.pci, d.bar, REG_NAME, back, sizeof(back));
    g_assert_cmpmem(back, 32, name, 32);

    touch_pages(d.guest, TEST_VA, 4);
    for (int i = 0; i < 2; i++) {
        command(&d, 3, BEGIN);
        g_assert_cmpuint(readl_at(&d, REG_COMMAND), ==, 1);
        touch_pages(d.guest, TEST_VA + (1 + 3 * i) * PAGE_2M, 10);
        /* In two writes, too. */
        writel_at(&d, REG_REGION, 63);
        g_assert_cmpuint(readl_at(&d, REG_COMMAND), ==, 0);
        writel_at(&d, REG_COMMAND, BEGIN);
        wait_for_copies(&d);
        touch_pages(d.guest, TEST_VA + (2 + 3 * i) * PAGE_2M, 1);
        writel_at(&d, REG_COMMAND, END);
        writel_at(&d, REG_REGION, 3);
        writel_at(&d, REG_COMMAND, END);
        wait_for_copies(&d);
        touch_pages(d.guest, TEST_VA + (3 + 3 * i) * PAGE_2M, 100);
    }
    g_assert_cmpuint(in_region(&d, HWTLB_C_L1D_FILL_4K), ==, 22);
    g_assert_cmpuint(readq_at(&d, REG_ENTERED), ==, 2);
    qpci_io_writeq(d.pci, d.bar, REG_FAULTS, 0x123456789abcdef0);
    g_assert_cmphex(readq_at(&d, REG_FAULTS), ==, 0x123456789abcdef0);

    writel_at(&d, REG_REGION, 63);
    g_assert_cmpuint(in_region(&d, HWTLB_C_L1D_FILL_4K), ==, 2);
    g_assert_cmphex(readq_at(&d, REG_FAULTS), ==, 0);
    device_stop(&d);
}

/* What makes no sense does nothing. */
static void test_regions_misused(void)
{
    Device d = device_start(SKYLAKE, 1, "");

    command(&d, 63, BEGIN);
    touch_pages(d.guest, TEST_VA, 3);
    command(&d, 63, END);
    /* A region that does not exist: not selected, and no command for 63. */
    command(&d, 64, CLEAR_ALL);
    g_assert_cmpuint(readl_at(&d, REG_REGION), ==, 63);
    writel_at(&d, REG_REGION, UINT32_MAX);
    g_assert_cmpuint(readl_at(&d, REG_REGION), ==, 63);
    g_assert_cmpuint(in_region(&d, HWTLB_C_L1D_FILL_4K), ==, 3);
    /* An end without a begin, and a second one. */
    command(&d, 63, END);
    g_assert_cmpuint(readq_at(&d, REG_ENTERED), ==, 1);
    command(&d, 7, END);
    g_assert_cmpuint(readq_at(&d, REG_ENTERED), ==, 0);
    /* A second begin starts again. */
    command(&d, 7, BEGIN);
    touch_pages(d.guest, TEST_VA + PAGE_2M, 5);
    command(&d, 7, BEGIN);
    touch_pages(d.guest, TEST_VA + 2 * PAGE_2M, 6);
    command(&d, 7, END);
    g_assert_cmpuint(in_region(&d, HWTLB_C_L1D_FILL_4K), ==, 6);
    /* No such command. */
    for (unsigned what = RESET + 1; what < 40; what++) {
        command(&d, 7, what);
        command(&d, 7, 1u << 31 | what);
    }
    command(&d, 7, 0);
    g_assert_cmpuint(in_region(&d, HWTLB_C_L1D_FILL_4K), ==, 6);
    /* A region that is cleared while it is open is closed. */
    command(&d, 7, BEGIN);
    command(&d, 7, CLEAR);
    command(&d, 7, END);
    g_assert_cmpuint(readq_at(&d, REG_ENTERED), ==, 0);
    g_assert_cmpuint(in_region(&d, HWTLB_C_L1D_FILL_4K), ==, 0);
    writel_at(&d, REG_REGION, 63);
    g_assert_cmpuint(in_region(&d, HWTLB_C_L1D_FILL_4K), ==, 3);
    command(&d, 63, CLEAR_ALL);
    g_assert_cmpuint(in_region(&d, HWTLB_C_L1D_FILL_4K), ==, 0);
    g_assert_cmpuint(readq_at(&d, REG_ENTERED), ==, 0);
    device_stop(&d);
}

/* All 64 at once, each begun a page later. */
static void test_all_regions(void)
{
    Device d = device_start(SKYLAKE, 1, "");

    for (unsigned r = 0; r < 64; r++) {
        char name[32] = "";

        snprintf(name, sizeof(name), "region %u", r);
        command(&d, r, BEGIN);
        qpci_memwrite(d.pci, d.bar, REG_NAME, name, sizeof(name));
        touch_pages(d.guest, TEST_VA + r * PAGE, 1);
    }
    for (unsigned r = 0; r < 64; r++) {
        command(&d, r, END);
    }
    for (unsigned r = 0; r < 64; r++) {
        char name[32] = "", back[32];

        snprintf(name, sizeof(name), "region %u", r);
        writel_at(&d, REG_REGION, r);
        qpci_memread(d.pci, d.bar, REG_NAME, back, sizeof(back));
        g_assert_cmpstr(back, ==, name);
        g_assert_cmpuint(in_region(&d, HWTLB_C_STLB_FILL_4K), ==, 64 - r);
        g_assert_cmpuint(in_region(&d, HWTLB_C_L1D_FILL_4K), ==, 64 - r);
    }
    device_stop(&d);
}

/*
 * Counters go back to 0, by the device or by QMP.  What was latched or summed
 * before stays, and an open region does not notice.
 */
static void test_counters_reset(void)
{
    Device d = device_start(SKYLAKE, 2, "");

    command(&d, 1, BEGIN);
    touch_pages(d.guest, TEST_VA, 30);
    touch_pages_on(d.guest, 1, TEST_VA + PAGE_2M, 40);
    latch(&d);
    writel_at(&d, REG_VCPU, 1);
    command(&d, 1, RESET);
    writel_at(&d, REG_VCPU, ALL);
    g_assert_cmpuint(latched(&d, HWTLB_C_L1D_FILL_4K), ==, 70);
    latch(&d);
    g_assert_cmpuint(latched(&d, HWTLB_C_L1D_FILL_4K), ==, 30);
    touch_pages_on(d.guest, 1, TEST_VA + 2 * PAGE_2M, 50);
    qtest_qmp_assert_success(d.guest->qts, "{ 'execute': 'hwtlb-reset' }");
    latch(&d);
    for (unsigned i = 0; i < HWTLB_C__MAX; i++) {
        g_assert_cmpuint(latched(&d, i), ==, 0);
    }
    touch_pages(d.guest, TEST_VA + 3 * PAGE_2M, 5);
    command(&d, 1, RESET);
    touch_pages(d.guest, TEST_VA + 4 * PAGE_2M, 2);
    command(&d, 1, END);
    g_assert_cmpuint(in_region(&d, HWTLB_C_L1D_FILL_4K), ==, 127);
    g_assert_cmpuint(in_region(&d, HWTLB_C_WALK_READ_PT), ==, 127);
    /* One that is not open does not notice either. */
    command(&d, 1, RESET);
    g_assert_cmpuint(in_region(&d, HWTLB_C_L1D_FILL_4K), ==, 127);
    device_stop(&d);
}

/* Any access of any width at any offset is defined and harmless. */
static void test_every_offset(void)
{
    Device d = device_start(SKYLAKE, 1, "");

    for (uint32_t offset = 0; offset < BAR_SIZE; offset += 4) {
        writel_at(&d, offset, offset * 0x9e3779b1u);
        wait_for_copies(&d);
        g_assert_cmphex(readl_at(&d, offset), ==, readl_at(&d, offset));
        if (offset % 8 == 0) {
            uint64_t both = readq_at(&d, offset);

            g_assert_cmphex((uint32_t)both, ==, readl_at(&d, offset));
            g_assert_cmphex(both >> 32, ==, readl_at(&d, offset + 4));
            qpci_io_writeq(d.pci, d.bar, offset, both);
            wait_for_copies(&d);
        } else if (offset < BAR_SIZE - 4) {
            /* Two of 32 bits. */
            uint64_t both = readq_at(&d, offset);

            g_assert_cmphex((uint32_t)both, ==, readl_at(&d, offset));
            g_assert_cmphex(both >> 32, ==, readl_at(&d, offset + 4));
        }
    }
    g_assert_cmphex(readq_at(&d, REG_ID), ==, ID);
    /* Past the last counter there is nothing. */
    g_assert_cmphex(readq_at(&d, WIN_LATCHED + 8 * HWTLB_C__MAX), ==, 0);
    g_assert_cmphex(readq_at(&d, WIN_REGION - 8), ==, 0);
    g_assert_cmphex(readq_at(&d, WIN_REGION + 8 * HWTLB_C__MAX), ==, 0);
    g_assert_cmphex(readq_at(&d, WIN_NAMES - 8), ==, 0);
    g_assert_cmphex(readq_at(&d, BAR_SIZE - 8), ==, 0);
    device_stop(&d);
}

/*
 * Other widths read as 0 and have no effect; what is not aligned is taken
 * apart into aligned accesses.
 */
static void test_odd_widths(void)
{
    Device d = device_start(SKYLAKE, 1, "");

    for (uint32_t offset = 0; offset < BAR_SIZE - 8; offset++) {
        qpci_io_writeb(d.pci, d.bar, offset, 0xff);
        g_assert_cmphex(qpci_io_readb(d.pci, d.bar, offset), ==, 0);
        qpci_io_writew(d.pci, d.bar, offset, 0x0101);
        g_assert_cmphex(qpci_io_readw(d.pci, d.bar, offset), ==, 0);
        if (offset % 4) {
            uint32_t aligned = ROUND_UP(offset, 4);

            writel_at(&d, offset, 0x01010101);
            g_assert_cmphex(readl_at(&d, offset), ==, 0);
            g_assert_cmphex(readq_at(&d, offset), ==,
                            (uint64_t)readl_at(&d, aligned)
                            << (aligned - offset) * 8);
        }
    }
    g_assert_cmphex(readl_at(&d, REG_VCPU), ==, ALL);
    g_assert_cmphex(readl_at(&d, REG_REGION), ==, 0);
    g_assert_cmphex(readq_at(&d, REG_NAME), ==, 0);
    g_assert_cmphex(readq_at(&d, REG_FAULTS), ==, 0);
    qpci_io_writeq(d.pci, d.bar, REG_NAME + 1, 0x8877665544332211);
    g_assert_cmphex(readq_at(&d, REG_NAME), ==, 0x7766554400000000);
    g_assert_cmphex(readq_at(&d, REG_NAME + 8), ==, 0);
    device_stop(&d);
}

/*
 * vCPUs that are busy: each misses both levels again and again
 */

#define BUSY_PAGES      2048            /* more than Skylake's STLB holds */
#define BUSY_COMMANDS   60000

static void busy_map(Guest *guest)
{
    for (unsigned i = 0; i < BUSY_PAGES; i++) {
        guest_map_4k(guest, TEST_VA + i * PAGE, TEST_PA, PTE_RW);
    }
}

/* With @also, if not 0, stored to after every 16 loads. */
static void busy_begin(Guest *guest, unsigned cpu, uint64_t also)
{
    g_autofree GuestCommand *commands = g_new0(GuestCommand, BUSY_COMMANDS);

    for (unsigned i = 0; i < BUSY_COMMANDS; i++) {
        commands[i] = also && i % 16 == 15 ?
            (GuestCommand) { OP_STORE, 0, also } :
            (GuestCommand) { OP_LOAD, 0, TEST_VA + i % BUSY_PAGES * PAGE };
    }
    guest_begin(guest, cpu, commands, BUSY_COMMANDS);
}

static uint64_t sum_of(const uint64_t *values, HWTLBCounter first, unsigned n)
{
    uint64_t sum = 0;

    for (unsigned i = first; i < first + n; i++) {
        sum += values[i];
    }
    return sum;
}

static void read_window(Device *d, uint64_t window,
                        uint64_t values[HWTLB_C__MAX])
{
    qpci_memread(d->pci, d->bar, window, values,
                 HWTLB_C__MAX * sizeof(uint64_t));
}

/* True of what one vCPU has counted between any two of its instructions. */
static void assert_consistent(Device *d, uint64_t window)
{
    uint64_t v[HWTLB_C__MAX], walks;

    read_window(d, window, v);
    walks = sum_of(v, HWTLB_C_WALK_COMPLETED, 4);
    g_assert_cmpuint(sum_of(v, HWTLB_C_STLB_LOAD_MISS, 3), ==,
                     v[HWTLB_C_WALK_COMPLETED]);
    g_assert_cmpuint(sum_of(v, HWTLB_C_STLB_FILL_4K, HWTLB_CLASSES), ==,
                     v[HWTLB_C_WALK_COMPLETED]);
    g_assert_cmpuint(sum_of(v, HWTLB_C_L1D_LOAD_MISS, 2), ==,
                     sum_of(v, HWTLB_C_L1D_FILL_4K, HWTLB_CLASSES));
    g_assert_cmpuint(sum_of(v, HWTLB_C_PWC_HIT_PML4E, 4), ==, walks);
    g_assert_cmpuint(v[HWTLB_C_WALK_READ_PML4], ==, walks);
}

/* A latch, and a region, while all vCPUs run at full speed. */
static void test_running(void)
{
    enum { CPUS = 4, ROUNDS = 200 };
    Device d = device_start(SKYLAKE, CPUS, "");
    uint64_t before[HWTLB_C__MAX] = {}, all[HWTLB_C__MAX];
    uint64_t each[HWTLB_C__MAX];

    busy_map(d.guest);
    for (unsigned round = 0; round < ROUNDS; round++) {
        uint64_t sum = 0;

        for (unsigned cpu = 0; cpu < CPUS; cpu++) {
            if (!round || guest_is_done(d.guest, cpu)) {
                busy_begin(d.guest, cpu, 0);
            }
        }
        command(&d, 9, round % 2 ? END : BEGIN);
        latch(&d);
        read_window(&d, WIN_LATCHED, all);
        for (unsigned cpu = 0; cpu < CPUS; cpu++) {
            writel_at(&d, REG_VCPU, cpu);
            assert_consistent(&d, WIN_LATCHED);
            assert_consistent(&d, WIN_REGION);
            read_window(&d, WIN_LATCHED, each);
            sum += each[HWTLB_C_WALK_COMPLETED];
        }
        writel_at(&d, REG_VCPU, ALL);
        g_assert_cmpuint(sum, ==, all[HWTLB_C_WALK_COMPLETED]);
        for (unsigned i = 0; i < HWTLB_C__MAX; i++) {
            g_assert_cmpuint(all[i], >=, before[i]);
        }
        memcpy(before, all, sizeof(before));
    }
    g_assert_cmpuint(readq_at(&d, REG_ENTERED), ==, ROUNDS / 2);
    g_assert_cmpuint(before[HWTLB_C_WALK_COMPLETED], >, ROUNDS);
    device_stop(&d);
}

/*
 * vCPUs write to LATCH and to COMMAND, which makes each wait for nobody.  The
 * store is of 64 bits: its own address, and 0.
 */
static void test_writes_by_vcpus(void)
{
    enum { CPUS = 4 };
    Device d = device_start(SKYLAKE, CPUS, "");
    const uint64_t bar = d.bar.addr;
    uint64_t values[HWTLB_C__MAX], sum = 0;

    busy_map(d.guest);
    for (unsigned cpu = 0; cpu < CPUS; cpu++) {
        busy_begin(d.guest, cpu, bar + (cpu % 2 ? REG_COMMAND : REG_LATCH));
    }
    for (unsigned cpu = 0; cpu < CPUS; cpu++) {
        guest_wait(d.guest, cpu);
    }
    latch(&d);
    for (unsigned cpu = 0; cpu < CPUS; cpu++) {
        guest_counters(d.guest, cpu, values);
        sum += values[HWTLB_C_STLB_FILL_4K];
    }
    g_assert_cmpuint(latched(&d, HWTLB_C_STLB_FILL_4K), ==, sum);
    device_stop(&d);
}

/*
 * A vCPU's own write is exact to the instruction, with another one running.
 * If both share a thread, the other's counters are copied too by then.
 */
static void test_own_write(const void *options)
{
    const bool one_thread = *(const char *)options;
    Device d = device_start(SKYLAKE, 2, options);
    const uint64_t latch_register = d.bar.addr + REG_LATCH;
    GuestCommand commands[40];

    busy_map(d.guest);
    busy_begin(d.guest, 1, 0);
    for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
        commands[i] = (GuestCommand) { OP_LOAD, 0, TEST_VA + i * PAGE };
    }
    commands[25] = (GuestCommand) { OP_STORE, 0, latch_register };
    commands[26] = (GuestCommand) { OP_LOAD, 0, latch_register };
    guest_begin(d.guest, 0, commands, ARRAY_SIZE(commands));
    guest_wait(d.guest, 0);
    g_assert_cmphex((uint32_t)guest_log(d.guest, 0)[26].value, <=,
                    one_thread ? 0 : 1);
    writel_at(&d, REG_VCPU, 0);
    g_assert_cmpuint(latched(&d, HWTLB_C_L1D_FILL_4K), ==, 25);
    device_stop(&d);
}

/* What a reset leaves, whatever was going on. */
static void assert_as_new(Device *d)
{
    g_assert_cmphex(readq_at(d, REG_ID), ==, ID);
    g_assert_cmphex(readl_at(d, REG_VCPU), ==, ALL);
    g_assert_cmphex(readl_at(d, REG_LATCH), ==, 0);
    g_assert_cmphex(readl_at(d, REG_REGION), ==, 0);
    for (unsigned i = 0; i < HWTLB_C__MAX; i++) {
        g_assert_cmphex(latched(d, i), ==, 0);
    }
    for (unsigned r = 0; r < 64; r++) {
        writel_at(d, REG_REGION, r);
        for (unsigned at = REG_NAME; at < REG_COALESCE; at += 8) {
            g_assert_cmphex(readq_at(d, at), ==, 0);
        }
        g_assert_cmphex(in_region(d, HWTLB_C_L1D_FILL_4K), ==, 0);
    }
}

static void test_hot_reset(void)
{
    enum { CPUS = 4 };
    Device d = device_start(SKYLAKE, CPUS, "");

    busy_map(d.guest);
    for (unsigned round = 0; round < 8; round++) {
        uint64_t values[HWTLB_C__MAX];

        for (unsigned cpu = 0; cpu < CPUS; cpu++) {
            busy_begin(d.guest, cpu, cpu == 3 ? d.bar.addr + REG_LATCH : 0);
        }
        /* What has not begun by then would begin after the reset. */
        for (unsigned cpu = 0; cpu < CPUS; cpu++) {
            while (!guest_has_logged(d.guest, cpu, 0)) {
                g_usleep(20);
            }
        }
        /* Work is queued and not waited for. */
        for (unsigned i = 0; i < 50; i++) {
            writel_at(&d, REG_REGION, i);
            writel_at(&d, REG_NAME, 0x41414141);
            writel_at(&d, REG_COMMAND, BEGIN);
            writel_at(&d, REG_LATCH, 1);
            writel_at(&d, REG_COMMAND, i % 3 ? END : CLEAR_ALL);
        }
        qtest_system_reset(d.guest->qts);
        device_lose(&d);
        device_find(&d);
        assert_as_new(&d);
        /* The counters are the vCPU's, and stay. */
        guest_counters(d.guest, 0, values);
        g_assert_cmpuint(values[HWTLB_C_L1D_FLUSH_RESET], >, round);
        /* And it works. */
        command(&d, 2, BEGIN);
        command(&d, 2, END);
        g_assert_cmpuint(readq_at(&d, REG_ENTERED), ==, 1);
        guest_restore(d.guest);
    }
    device_stop(&d);
}

/*
 * Regions go where the VM goes, an open one too: it ends there.  vCPU 1 works
 * before, vCPU 0 afterwards.
 */
static void before_saving(Device *d)
{
    command(d, 11, BEGIN);
    qpci_io_writeq(d->pci, d->bar, REG_NAME, 0x6e65706f);       /* "open" */
    touch_pages_on(d->guest, 1, TEST_VA, 12);
    command(d, 12, BEGIN);
    touch_pages_on(d->guest, 1, TEST_VA + PAGE_2M, 3);
    /* Nobody waits for the copy. */
    qpci_io_writeq(d->pci, d->bar, REG_REGION, 12 | (uint64_t)END << 32);
    qpci_io_writeq(d->pci, d->bar, REG_FAULTS, 77);
    writel_at(d, REG_LATCH, 1);
    writel_at(d, REG_VCPU, 1);
}

static void after_loading(Device *d)
{
    g_assert_cmpuint(readl_at(d, REG_VCPU), ==, 1);
    g_assert_cmpuint(readl_at(d, REG_LATCH), ==, 0);
    g_assert_cmpuint(readl_at(d, REG_REGION), ==, 12);
    g_assert_cmpuint(latched(d, HWTLB_C_L1D_FILL_4K), ==, 15);
    g_assert_cmpuint(in_region(d, HWTLB_C_L1D_FILL_4K), ==, 3);
    g_assert_cmpuint(readq_at(d, REG_ENTERED), ==, 1);
    g_assert_cmpuint(readq_at(d, REG_FAULTS), ==, 77);
    writel_at(d, REG_VCPU, ALL);
    touch_pages(d->guest, TEST_VA + 2 * PAGE_2M, 9);
    command(d, 11, END);
    g_assert_cmphex(readq_at(d, REG_NAME), ==, 0x6e65706f);
    g_assert_cmpuint(in_region(d, HWTLB_C_L1D_FILL_4K), ==, 24);
    g_assert_cmpuint(readq_at(d, REG_ENTERED), ==, 1);
}

static char *temporary_file(void)
{
    g_autoptr(GError) err = NULL;
    char *path = NULL;

    close(g_file_open_tmp("hwtlb-pci-XXXXXX", &path, &err));
    g_assert_no_error(err);
    return path;
}

static void test_savevm(void)
{
    g_autofree char *disk = temporary_file();
    g_autofree char *options = g_strdup_printf("-drive if=none,format=qcow2,"
                                               "file=%s", disk);
    Device d;

    guest_make_disk(disk);
    d = device_start(SKYLAKE, 2, options);
    before_saving(&d);
    for (unsigned i = 0; i < 2; i++) {
        g_autofree char *said = qtest_hmp(d.guest->qts,
                                          i ? "loadvm here" : "savevm here");

        g_assert_cmpstr(said, ==, "");
        if (!i) {
            /* All this is undone. */
            after_loading(&d);
            command(&d, 0, CLEAR_ALL);
            command(&d, 20, BEGIN);
        }
    }
    after_loading(&d);
    command(&d, 20, END);
    g_assert_cmpuint(readq_at(&d, REG_ENTERED), ==, 0);
    device_stop(&d);
    unlink(disk);
}

static void test_migrate(void)
{
    g_autofree char *file = temporary_file();
    g_autofree char *uri = g_strdup_printf("file:%s", file);
    g_autofree char *incoming = g_strdup_printf("-device hwtlb-pci,"
                                                "addr=04.0 -incoming %s", uri);
    Device d = device_start(SKYLAKE, 2, "");
    const uint64_t cr3 = d.guest->cr3, bar = d.bar.addr;
    uint64_t next_table;

    before_saving(&d);
    qtest_qmp_assert_success(d.guest->qts, "{ 'execute': 'migrate',"
                             "  'arguments': { 'uri': %s } }", uri);
    guest_wait_for(d.guest->qts, "query-migrate", "completed");
    next_table = d.guest->next_table;
    device_lose(&d);
    guest_stop(d.guest);

    d.guest = guest_start_with(SKYLAKE, 0, 2, incoming);
    guest_wait_for(d.guest->qts, "query-status", "running");
    d.guest->cr3 = cr3;
    d.guest->next_table = next_table;
    device_find(&d);
    g_assert_cmphex(d.bar.addr, ==, bar);
    after_loading(&d);
    device_stop(&d);
    unlink(file);
}

static char *empty_firmware(void)
{
    char *rom = temporary_file();

    g_assert_cmpint(truncate(rom, 64 * KiB), ==, 0);
    return rom;
}

/* A machine without a program. */
static QTestState *start_idle(const char *options)
{
    g_autofree char *rom = empty_firmware();
    QTestState *qts = qtest_initf("-machine pc -nodefaults -S -bios %s %s",
                                  rom, options);

    unlink(rom);
    return qts;
}

/*
 * Without a vCPU that has a model, as it may be for the fuzzer: there is
 * nothing to select, and nothing is counted; the rest is as ever.
 */
static void test_no_vcpus(void)
{
    Guest guest = { start_idle("-accel qtest -smp 2 "
                               "-device hwtlb-pci,addr=04.0") };
    Device d = { &guest };

    device_find(&d);
    g_assert_cmphex(readq_at(&d, REG_ID), ==, ID);
    g_assert_cmpuint(readl_at(&d, REG_COUNTERS), ==, HWTLB_C__MAX);
    g_assert_cmpuint(readl_at(&d, REG_VCPUS), ==, 0);
    for (uint32_t vcpu = 0; vcpu < 3; vcpu++) {
        writel_at(&d, REG_VCPU, vcpu);
        g_assert_cmphex(readl_at(&d, REG_VCPU), ==, ALL);
    }
    writel_at(&d, REG_LATCH, 1);
    g_assert_cmphex(readl_at(&d, REG_LATCH), ==, 0);
    for (unsigned what = BEGIN; what <= RESET; what++) {
        command(&d, 63, BEGIN);
        g_assert_cmphex(readl_at(&d, REG_COMMAND), ==, 1);
        qpci_io_writeq(d.pci, d.bar, REG_NAME, 0x6e65706f);
        command(&d, 63, what);
        g_assert_cmphex(readl_at(&d, REG_COMMAND), ==,
                        what == BEGIN || what == RESET);
        g_assert_cmphex(readq_at(&d, REG_NAME), ==,
                        what == CLEAR || what == CLEAR_ALL ? 0 : 0x6e65706f);
        g_assert_cmpuint(readq_at(&d, REG_ENTERED), ==, what == END);
        for (unsigned i = 0; i < HWTLB_C__MAX; i++) {
            g_assert_cmpuint(latched(&d, i), ==, 0);
            g_assert_cmpuint(in_region(&d, i), ==, 0);
        }
        command(&d, 63, CLEAR);
    }
    for (unsigned at = REG_COALESCE; at < WIN_LATCHED; at += 8) {
        g_assert_cmphex(readq_at(&d, at), ==, 0);
    }
    qtest_system_reset(guest.qts);
    device_lose(&d);
    qtest_quit(guest.qts);
}

/* Under qtest, with models: what is copied is copied at once, and is 0. */
static void test_no_accesses(void)
{
    Guest guest = { start_idle("-accel qtest -smp 2 -cpu max" SKYLAKE " "
                               "-device hwtlb-pci,addr=04.0") };
    Device d = { &guest };

    device_find(&d);
    g_assert_cmpuint(readl_at(&d, REG_VCPUS), ==, 2);
    g_assert_cmphex(readq_at(&d, WIN_ARRAYS), ==, 16 | 4ull << 32);
    g_assert_cmpuint(readl_at(&d, REG_COALESCE), ==, 1);
    for (uint32_t vcpu = 0; vcpu < 2; vcpu++) {
        writel_at(&d, REG_VCPU, vcpu);
        g_assert_cmphex(readl_at(&d, REG_VCPU), ==, vcpu);
        writel_at(&d, REG_COMMAND, BEGIN);
        writel_at(&d, REG_COMMAND, RESET);
        writel_at(&d, REG_COMMAND, END);
        writel_at(&d, REG_LATCH, 1);
        g_assert_cmphex(readl_at(&d, REG_LATCH), ==, 0);
        g_assert_cmpuint(readq_at(&d, REG_ENTERED), ==, vcpu + 1);
        for (unsigned i = 0; i < HWTLB_C__MAX; i++) {
            g_assert_cmpuint(latched(&d, i), ==, 0);
            g_assert_cmpuint(in_region(&d, i), ==, 0);
        }
    }
    device_lose(&d);
    qtest_quit(guest.qts);
}

/*
 * vCPUs that come and go.  A socket is one of them, and its number its APIC's.
 */
#define CPU_HOTPLUG     0xaf00          /* docs/specs/acpi_cpu_hotplug.rst */
#define PCI_EJECT       0xae08          /* docs/specs/acpi_pci_hotplug.rst */

#define SOCKETS(n)      "-smp maxcpus=" #n ",sockets=" #n ",cores=1,threads=1"

/* @more: properties of it, each after a comma. */
static void plug_cpu(Device *d, unsigned cpu, const char *more)
{
    g_autofree char *command = g_strdup_printf(
        "{ 'execute': 'device_add', 'arguments': { 'id': 'late',"
        "  'driver': 'max-x86_64-cpu', 'socket-id': %u, 'core-id': 0,"
        "  'thread-id': 0 %s } }", cpu, more);

    qtest_qmp_assert_success(d->guest->qts, command, 0);
}

static void unplug_cpu(Device *d, unsigned cpu)
{
    QTestState *qts = d->guest->qts;

    qtest_outl(qts, CPU_HOTPLUG, 0);    /* to the interface that can do this */
    qtest_qmp_device_del_send(qts, "late");
    qtest_outl(qts, CPU_HOTPLUG, cpu);
    qtest_outb(qts, CPU_HOTPLUG + 4, 8);
    qtest_qmp_eventwait(qts, "DEVICE_DELETED");
}

/* One that is plugged in waits for a start-up IPI; the others ignore it. */
static void start_cpus(Guest *guest)
{
    static const uint8_t code[] = {
        0xb8, 0x00, 0x03, 0xe0, 0xfe,           /* mov $0xfee00300, %eax */
        0xc7, 0x00, 0xf0, 0x46, 0x0c, 0x00,     /* movl $0xc46f0, (%rax) */
        0xc3,                                   /* ret */
    };

    memcpy(guest->ram + TEST_PA, code, sizeof(code));
    guest_map_4k(guest, TEST_VA, TEST_PA, 0);
    g_assert_cmphex(guest_do(guest, OP_CALL, TEST_VA).vector, ==, NO_FAULT);
}

static void test_vcpu_plugged(void)
{
    enum { LATE = 2 };
    g_autofree char *disk = temporary_file();
    g_autofree char *options = g_strdup_printf(SOCKETS(4) " -drive if=none,"
                                               "format=qcow2,file=%s", disk);
    uint64_t va = TEST_VA + PAGE_2M, all[HWTLB_C__MAX];
    Device d;

    guest_make_disk(disk);
    d = device_start(SKYLAKE, 1, options);
    command(&d, 1, BEGIN);
    for (unsigned round = 0; round < 2; round++) {
        g_assert_cmpuint(readl_at(&d, REG_VCPUS), ==, 1);
        writel_at(&d, REG_VCPU, 0);
        writel_at(&d, REG_VCPU, LATE);
        g_assert_cmpuint(readl_at(&d, REG_VCPU), ==, 0);

        plug_cpu(&d, LATE, "");
        g_assert_cmpuint(readl_at(&d, REG_VCPUS), ==, LATE + 1);
        writel_at(&d, REG_VCPU, LATE - 1);
        g_assert_cmphex(readl_at(&d, REG_VCPU), ==, 0);
        writel_at(&d, REG_VCPU, LATE);
        g_assert_cmphex(readl_at(&d, REG_VCPU), ==, LATE);
        g_assert_cmphex(readq_at(&d, WIN_ARRAYS), ==, 16 | 4ull << 32);
        g_assert_cmpuint(latched(&d, HWTLB_C_L1D_FILL_4K), ==, round ? 16 : 0);
        latch(&d);
        g_assert_cmpuint(latched(&d, HWTLB_C_L1D_FILL_4K), ==, round ? 16 : 0);

        /* It is in region 1, which was open when it came. */
        start_cpus(d.guest);
        touch_pages_on(d.guest, LATE, va, 7);
        command(&d, 2, BEGIN);
        touch_pages_on(d.guest, LATE, va + PAGE_2M, 4);
        touch_pages_on(d.guest, 0, va + PAGE_2M, 2);
        if (round) {
            command(&d, 1, RESET);
        }
        command(&d, 1, END);
        latch(&d);
        g_assert_cmpuint(latched(&d, HWTLB_C_L1D_FILL_4K), ==, round ? 0 : 11);
        g_assert_cmpuint(in_region(&d, HWTLB_C_L1D_FILL_4K), ==,
                         11 + 16 * round);

        /* It goes from two that are open. */
        command(&d, 1, BEGIN);
        touch_pages_on(d.guest, LATE, va + 2 * PAGE_2M, 5);
        latch(&d);
        g_assert_cmpuint(latched(&d, HWTLB_C_L1D_FILL_4K), ==, round ? 5 : 16);
        writel_at(&d, REG_VCPU, ALL);
        for (unsigned i = 0; i < HWTLB_C__MAX; i++) {
            all[i] = latched(&d, i);
        }
        writel_at(&d, REG_VCPU, LATE);
        unplug_cpu(&d, LATE);
        g_assert_cmpuint(readl_at(&d, REG_VCPUS), ==, 1);
        g_assert_cmpuint(readl_at(&d, REG_LATCH), ==, 0);
        for (unsigned again = 0; again < 2; again++) {
            g_autofree char *said = NULL;

            g_assert_cmpuint(readl_at(&d, REG_VCPU), ==, LATE);
            g_assert_cmpuint(in_region(&d, HWTLB_C_L1D_FILL_4K), ==,
                             16 + 16 * round);
            g_assert_cmpuint(latched(&d, HWTLB_C_L1D_FILL_4K), ==,
                             round ? 5 : 16);
            g_assert_cmphex(readq_at(&d, WIN_ARRAYS), ==, 0);
            g_assert_cmphex(readq_at(&d, REG_COALESCE), ==, 0);
            /* State that has it selected can be saved, and loaded. */
            said = qtest_hmp(d.guest->qts, again ? "loadvm here"
                                                 : "savevm here");
            g_assert_cmpstr(said, ==, "");
        }
        command(&d, 2, END);
        g_assert_cmpuint(in_region(&d, HWTLB_C_L1D_FILL_4K), ==,
                         9 + 9 * round);

        /*
         * What was latched stays until the next time, and no sum falls then:
         * who subtracts the last one gets what was counted since.
         */
        for (unsigned next = 0; next < 2; next++) {
            writel_at(&d, REG_VCPU, ALL);
            for (unsigned i = 0; i < HWTLB_C__MAX; i++) {
                if (next) {
                    g_assert_cmpuint(latched(&d, i), >=, all[i]);
                } else {
                    g_assert_cmpuint(latched(&d, i), ==, all[i]);
                }
            }
            g_assert_cmpuint(latched(&d, HWTLB_C_L1D_FILL_4K), ==,
                             all[HWTLB_C_L1D_FILL_4K] + 3 * next);
            writel_at(&d, REG_VCPU, 0);
            touch_pages_on(d.guest, 0, va + 2 * PAGE_2M + 8 * PAGE, 3);
            latch(&d);
        }
        va += 3 * PAGE_2M;
    }
    /* vCPU 0 was there all the time. */
    writel_at(&d, REG_VCPU, 0);
    g_assert_cmpuint(in_region(&d, HWTLB_C_L1D_FILL_4K), ==, 4);
    device_stop(&d);
    unlink(disk);
}

/*
 * The same while all write to LATCH, which selects region 0, and to COMMAND:
 * no copy gets lost.  TCG can start as many vCPUs as there may be, in all: one
 * that is unplugged is not given back.
 */
static void test_vcpu_plugged_running(void)
{
    enum { CPUS = 2, LATE = 3, ROUNDS = 20 };
    Device d = device_start(SKYLAKE, CPUS, SOCKETS(24));
    const uint64_t at[] = { REG_LATCH, REG_COMMAND };

    busy_map(d.guest);
    start_cpus(d.guest);
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned cpu = 0; cpu < CPUS; cpu++) {
            if (!round || guest_is_done(d.guest, cpu)) {
                busy_begin(d.guest, cpu, d.bar.addr + at[cpu]);
            }
        }
        plug_cpu(&d, LATE, "");
        command(&d, 0, BEGIN);
        for (unsigned i = 0; i < 50; i++) {
            writel_at(&d, REG_LATCH, 1);
        }
        unplug_cpu(&d, LATE);
        wait_for_copies(&d);
        command(&d, 0, END);
        g_assert_cmpuint(readq_at(&d, REG_ENTERED), ==, round + 1);
    }
    for (unsigned cpu = 0; cpu < CPUS; cpu++) {
        guest_wait(d.guest, cpu);
    }
    wait_for_copies(&d);
    device_stop(&d);
}

/* One of two vCPUs has a model.  It comes before the device, and goes. */
static void test_vcpu_without_model(void)
{
    Guest guest = { start_idle("-accel tcg -cpu max -smp 1 " SOCKETS(2)) };
    Device d = { &guest };
    QDict *error = qtest_qmp(guest.qts, "{ 'execute': 'device_add',"
                             "  'arguments': { 'driver': 'hwtlb-pci' } }");

    g_assert_cmpstr(qdict_get_str(qdict_get_qdict(error, "error"), "desc"), ==,
                    "hwtlb-pci has nothing to show: no vCPU models a TLB");
    qobject_unref(error);
    /* Unless it is asked to be there without. */
    qtest_qmp_device_add(guest.qts, "hwtlb-pci", "early",
                         "{'without-model': true, 'addr': '05.0'}");
    plug_cpu(&d, 1, ", 'hwtlb': 'skylake'");
    qtest_qmp_device_add(guest.qts, "hwtlb-pci", "device", "{'addr': '04.0'}");
    device_find(&d);
    g_assert_cmpuint(readl_at(&d, REG_VCPUS), ==, 2);
    writel_at(&d, REG_VCPU, 0);
    g_assert_cmphex(readl_at(&d, REG_VCPU), ==, ALL);
    g_assert_cmphex(readq_at(&d, WIN_ARRAYS), ==, 16 | 4ull << 32);
    command(&d, 0, BEGIN);
    unplug_cpu(&d, 1);
    g_assert_cmpuint(readl_at(&d, REG_VCPUS), ==, 0);
    g_assert_cmphex(readq_at(&d, WIN_ARRAYS), ==, 0);
    command(&d, 0, END);
    latch(&d);
    g_assert_cmpuint(readq_at(&d, REG_ENTERED), ==, 1);
    device_lose(&d);
    qtest_quit(guest.qts);
}

/* The device comes, and goes with work for busy vCPUs in the queue. */
static void test_device_plugged(void)
{
    enum { CPUS = 3, ROUNDS = 8 };
    Device d = { guest_start_with(SKYLAKE, 0, CPUS, "") };
    QTestState *qts = d.guest->qts;

    busy_map(d.guest);
    for (unsigned round = 0; round < ROUNDS; round++) {
        qtest_qmp_device_add(qts, "hwtlb-pci", "device", "{'addr': '04.0'}");
        device_find(&d);
        assert_as_new(&d);
        touch_pages(d.guest, TEST_VA + PAGE_2M * 32, 3);
        latch(&d);
        g_assert_cmpuint(latched(&d, HWTLB_C_L1D_FILL_4K), >=, 3);
        for (unsigned cpu = 0; cpu < CPUS; cpu++) {
            busy_begin(d.guest, cpu, d.bar.addr + (cpu ? REG_COMMAND
                                                       : REG_LATCH));
        }
        for (unsigned i = 0; i < 50; i++) {
            qpci_io_writeq(d.pci, d.bar, REG_REGION, i | 1ull << 32);
            writel_at(&d, REG_LATCH, 1);
        }
        qtest_qmp_device_del_send(qts, "device");
        qtest_outl(qts, PCI_EJECT, 1 << 4);
        qtest_qmp_eventwait(qts, "DEVICE_DELETED");
        g_assert_cmphex(qpci_config_readl(d.pci, 0), ==, UINT32_MAX);
        qtest_qmp_assert_success(qts, "{ 'execute': 'hwtlb-reset' }");
        for (unsigned cpu = 0; cpu < CPUS; cpu++) {
            guest_wait(d.guest, cpu);
        }
        device_lose(&d);
    }
    guest_stop(d.guest);
}

/* For a longer search; 0: as short as a test should be. */
static gint64 search_time(void)
{
    const char *text = g_getenv("X64K_SECONDS");

    return text ? g_ascii_strtoll(text, NULL, 10) * G_USEC_PER_SEC : 0;
}

/*
 * Random accesses, with vCPUs running: nothing hangs, and afterwards the
 * device is as good as new.  QEMU's generic fuzzer cannot do this: its vCPUs
 * make no accesses.
 */
static void test_random(void)
{
    enum { CPUS = 3, STEPS = 30000 };
    const gint64 end = g_get_monotonic_time() + search_time();
    Device d = device_start(SKYLAKE, CPUS, "");

    busy_map(d.guest);
    for (uint64_t i = 0; i < STEPS || g_get_monotonic_time() < end; i++) {
        /* Half of the accesses go to registers. */
        uint64_t at = g_test_rand_bit() ? g_test_rand_int_range(0, BAR_SIZE) :
                      g_test_rand_int_range(0, REG_OBSERVE + 4);
        uint64_t value = (uint64_t)g_test_rand_int_range(0, 70) << 32 |
                         g_test_rand_int_range(0, 70);

        if (i % 1000 == 0) {
            bool reset = g_test_rand_int_range(0, 8) == 0;

            if (reset) {
                qtest_system_reset(d.guest->qts);
                device_lose(&d);
                device_find(&d);
                guest_restore(d.guest);
            }
            for (unsigned cpu = 1; cpu < CPUS; cpu++) {
                if (!i || reset || guest_is_done(d.guest, cpu)) {
                    busy_begin(d.guest, cpu, 0);
                }
            }
            if (g_test_rand_int_range(0, 8) == 0) {
                qtest_qmp_assert_success(d.guest->qts,
                                         "{ 'execute': 'hwtlb-reset' }");
            }
        }
        switch (g_test_rand_int_range(0, 8)) {
        case 0:
            qpci_io_writeb(d.pci, d.bar, at, value);
            break;
        case 1:
            qpci_io_writew(d.pci, d.bar, MIN(at, BAR_SIZE - 2), value);
            break;
        case 2:
            writel_at(&d, at & ~3ull, value);
            break;
        case 3:
            qpci_io_writeq(d.pci, d.bar, at & ~7ull, value);
            break;
        case 4:
            qpci_io_writeq(d.pci, d.bar, MIN(at, BAR_SIZE - 8), value);
            break;
        case 5:
            readl_at(&d, MIN(at, BAR_SIZE - 4));
            break;
        default:
            readq_at(&d, MIN(at, BAR_SIZE - 8));
            break;
        }
        g_assert_cmpuint(readl_at(&d, REG_REGION), <, 64);
    }
    wait_for_copies(&d);
    writel_at(&d, REG_VCPU, ALL);
    command(&d, 0, CLEAR_ALL);
    for (unsigned r = 0; r < 64; r++) {
        writel_at(&d, REG_REGION, r);
        g_assert_cmphex(readq_at(&d, REG_ENTERED), ==, 0);
        g_assert_cmpuint(in_region(&d, HWTLB_C_WALK_COMPLETED), ==, 0);
    }
    device_stop(&d);
}

/* HMP: info stats, by name and provider. */
static void test_hmp(void)
{
    Device d = device_start(SKYLAKE, 1, "");
    g_autofree char *text = NULL;

    touch_pages(d.guest, TEST_VA, 3);
    text = qtest_hmp(d.guest->qts, "info stats vcpu l1d-fill-4k hwtlb");
    g_assert_nonnull(strstr(text, "l1d-fill-4k (cumulative): 3"));
    device_stop(&d);
}

/* What the user gets for a mistake on the command line. */
static void test_usage_errors(void)
{
    static const struct {
        const char *args;
        const char *message;
    } cases[] = {
        { "-cpu max,hwtlb=nope", "hwtlb=nope: no such preset; there are: off, "
                                 "skylake" },
        { "-cpu max,x64k-contig-check=maybe", "must be 'degrade' or 'fault'" },
        { "-cpu qemu32,x64k-leaf=on", "64-bit CPU model" },
        { "-cpu max -device hwtlb-pci", "no vCPU models a TLB" },
    };

    g_autofree char *rom = empty_firmware();

    for (int i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autofree char *command =
            g_strdup_printf("%s -accel tcg -nodefaults -display none -S "
                            "-bios %s %s", getenv("QTEST_QEMU_BINARY"), rom,
                            cases[i].args);
        g_autofree char *err = NULL;
        int status;

        g_assert_true(g_spawn_command_line_sync(command, NULL, &err, &status,
                                                NULL));
        g_assert_cmpint(status, !=, 0);
        if (!strstr(err, cases[i].message)) {
            g_error("'%s' is not in: %s", cases[i].message, err);
        }
    }
    unlink(rom);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("/hwtlb-pci/identity", test_identity);
    qtest_add_func("/hwtlb-pci/geometry", test_geometry);
    qtest_add_func("/hwtlb-pci/options", test_options);
    qtest_add_func("/hwtlb-pci/latch", test_latch);
    qtest_add_func("/hwtlb-pci/vcpu-select", test_vcpu_select);
    qtest_add_func("/hwtlb-pci/regions", test_regions);
    qtest_add_func("/hwtlb-pci/regions/misused", test_regions_misused);
    qtest_add_func("/hwtlb-pci/regions/all", test_all_regions);
    qtest_add_func("/hwtlb-pci/counters-reset", test_counters_reset);
    qtest_add_func("/hwtlb-pci/every-offset", test_every_offset);
    qtest_add_func("/hwtlb-pci/odd-widths", test_odd_widths);
    qtest_add_func("/hwtlb-pci/running", test_running);
    qtest_add_func("/hwtlb-pci/writes-by-vcpus", test_writes_by_vcpus);
    qtest_add_data_func("/hwtlb-pci/own-write/mttcg", "", test_own_write);
    qtest_add_data_func("/hwtlb-pci/own-write/one-thread", "-icount shift=0",
                        test_own_write);
    qtest_add_func("/hwtlb-pci/hot-reset", test_hot_reset);
    qtest_add_func("/hwtlb-pci/savevm", test_savevm);
    qtest_add_func("/hwtlb-pci/migrate", test_migrate);
    qtest_add_func("/hwtlb-pci/no-vcpus", test_no_vcpus);
    qtest_add_func("/hwtlb-pci/no-accesses", test_no_accesses);
    qtest_add_func("/hwtlb-pci/vcpu-plugged", test_vcpu_plugged);
    qtest_add_func("/hwtlb-pci/vcpu-plugged/running",
                   test_vcpu_plugged_running);
    qtest_add_func("/hwtlb-pci/vcpu-without-model", test_vcpu_without_model);
    qtest_add_func("/hwtlb-pci/device-plugged", test_device_plugged);
    qtest_add_func("/hwtlb-pci/random", test_random);
    qtest_add_func("/hwtlb-pci/hmp", test_hmp);
    qtest_add_func("/hwtlb-pci/usage-errors", test_usage_errors);
    return g_test_run();
}
