/*
 * The counters of the hardware-TLB model as its device and QMP show them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "libqos/libqos-pc.h"
#include "libqos/pci-pc.h"
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
#define WIN_LATCHED     0x1000
#define WIN_REGION      0x2000
#define WIN_NAMES       0x3000
#define BAR_SIZE        0x4000

#define BEGIN           1
#define END             2
#define CLEAR           3
#define CLEAR_ALL       4

typedef struct Device {
    Guest *guest;
    QPCIBus *bus;
    QPCIDevice *pci;
    QPCIBar bar;
} Device;

static Device device_start(void)
{
    Device d = {
        .guest = guest_start(",hwtlb=skylake -device hwtlb-pci,addr=04.0", 0),
    };

    d.bus = qpci_new_pc(d.guest->qts, NULL);
    d.pci = qpci_device_find(d.bus, QPCI_DEVFN(4, 0));
    g_assert_nonnull(d.pci);
    g_assert_cmphex(qpci_config_readl(d.pci, 0), ==, 0x64641234);
    qpci_device_enable(d.pci);
    d.bar = qpci_iomap(d.pci, 0, NULL);
    return d;
}

static void device_stop(Device *d)
{
    g_free(d->pci);
    qpci_free_pc(d->bus);
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

static void name_of(Device *d, unsigned counter, char name[33])
{
    qpci_memread(d->pci, d->bar, WIN_NAMES + 32 * counter, name, 32);
    name[32] = 0;
}

static unsigned counter_called(Device *d, const char *wanted)
{
    for (unsigned i = 0; i < readl_at(d, REG_COUNTERS); i++) {
        char name[33];

        name_of(d, i, name);
        if (g_str_equal(name, wanted)) {
            return i;
        }
    }
    g_error("no counter %s", wanted);
}

/* Loads one word of each of @n fresh 4 KB pages from @va on. */
static void touch_pages(Guest *guest, uint64_t va, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        guest_map_4k(guest, va + i * PAGE, TEST_PA, 0);
        g_assert_cmphex(guest_do(guest, OP_LOAD, va + i * PAGE).vector, ==,
                        NO_FAULT);
    }
}

static void test_identity(void)
{
    Device d = device_start();

    g_assert_cmphex(readq_at(&d, REG_ID), ==, 0x00000001424c5448);
    g_assert_cmpuint(readl_at(&d, REG_VCPUS), ==, 1);
    g_assert_cmphex(readl_at(&d, REG_VCPU), ==, UINT32_MAX);
    g_assert_cmpuint(readl_at(&d, REG_COUNTERS), >, 50);
    device_stop(&d);
}

/* Name by name and value by value, the device says what QMP says. */
static void test_latch(void)
{
    Device d = device_start();
    uint64_t sum = 0;

    touch_pages(d.guest, TEST_VA, 20);
    writel_at(&d, REG_LATCH, 1);
    touch_pages(d.guest, TEST_VA + PAGE_2M, 7);
    g_assert_cmpuint(readq_at(&d, WIN_LATCHED +
                              8 * counter_called(&d, "l1d-fill-4k")), ==, 20);
    writel_at(&d, REG_LATCH, 1);
    g_assert_cmpuint(readq_at(&d, WIN_LATCHED +
                              8 * counter_called(&d, "l1d-fill-4k")), ==, 27);
    for (unsigned i = 0; i < readl_at(&d, REG_COUNTERS); i++) {
        char name[33];
        uint64_t value = readq_at(&d, WIN_LATCHED + 8 * i);

        name_of(&d, i, name);
        g_assert_cmpuint(value, ==, guest_counter(d.guest, name));
        sum += value;
    }
    g_assert_cmpuint(sum, >, 27);
    device_stop(&d);
}

static void test_vcpu_select(void)
{
    Device d = device_start();
    uint64_t all, first;
    uint64_t reg = WIN_LATCHED + 8 * counter_called(&d, "l1d-fill-4k");

    touch_pages(d.guest, TEST_VA, 5);
    writel_at(&d, REG_LATCH, 1);
    all = readq_at(&d, reg);
    writel_at(&d, REG_VCPU, 0);
    first = readq_at(&d, reg);
    g_assert_cmpuint(all, ==, 5);
    g_assert_cmpuint(first, ==, 5);
    /* A vCPU that is not there is not selected. */
    writel_at(&d, REG_VCPU, 1);
    g_assert_cmpuint(readl_at(&d, REG_VCPU), ==, 0);
    writel_at(&d, REG_VCPU, UINT32_MAX);
    g_assert_cmphex(readl_at(&d, REG_VCPU), ==, UINT32_MAX);
    device_stop(&d);
}

/* Regions add up what falls between begin and end, each for itself. */
static void test_regions(void)
{
    Device d = device_start();
    uint64_t reg = WIN_REGION + 8 * counter_called(&d, "l1d-fill-4k");
    const char name[32] = "first";
    char back[32];

    writel_at(&d, REG_REGION, 3);
    qpci_memwrite(d.pci, d.bar, REG_NAME, name, sizeof(name));
    qpci_memread(d.pci, d.bar, REG_NAME, back, sizeof(back));
    g_assert_cmpmem(back, 32, name, 32);

    touch_pages(d.guest, TEST_VA, 4);
    for (int i = 0; i < 2; i++) {
        writel_at(&d, REG_REGION, 3);
        writel_at(&d, REG_COMMAND, BEGIN);
        touch_pages(d.guest, TEST_VA + (1 + 3 * i) * PAGE_2M, 10);
        writel_at(&d, REG_REGION, 63);
        writel_at(&d, REG_COMMAND, BEGIN);
        touch_pages(d.guest, TEST_VA + (2 + 3 * i) * PAGE_2M, 1);
        writel_at(&d, REG_COMMAND, END);
        writel_at(&d, REG_REGION, 3);
        writel_at(&d, REG_COMMAND, END);
        touch_pages(d.guest, TEST_VA + (3 + 3 * i) * PAGE_2M, 100);
    }
    g_assert_cmpuint(readq_at(&d, reg), ==, 22);
    g_assert_cmpuint(readq_at(&d, REG_ENTERED), ==, 2);
    qpci_io_writeq(d.pci, d.bar, REG_FAULTS, 0x123456789abcdef0);
    g_assert_cmphex(readq_at(&d, REG_FAULTS), ==, 0x123456789abcdef0);

    writel_at(&d, REG_REGION, 63);
    g_assert_cmpuint(readq_at(&d, reg), ==, 2);
    g_assert_cmphex(readq_at(&d, REG_FAULTS), ==, 0);
    writel_at(&d, REG_REGION, 64);              /* there is none */
    g_assert_cmpuint(readl_at(&d, REG_REGION), ==, 63);
    writel_at(&d, REG_COMMAND, END);            /* it is not open */
    g_assert_cmpuint(readq_at(&d, REG_ENTERED), ==, 2);
    writel_at(&d, REG_COMMAND, CLEAR);
    g_assert_cmpuint(readq_at(&d, reg), ==, 0);
    writel_at(&d, REG_REGION, 3);
    g_assert_cmpuint(readq_at(&d, reg), ==, 22);
    writel_at(&d, REG_COMMAND, CLEAR_ALL);
    g_assert_cmpuint(readq_at(&d, reg), ==, 0);
    g_assert_cmpuint(readq_at(&d, REG_ENTERED), ==, 0);
    g_assert_cmphex(readq_at(&d, REG_NAME), ==, 0);
    device_stop(&d);
}

/* Any access of any width at any offset is defined and harmless. */
static void test_every_offset(void)
{
    Device d = device_start();

    for (uint32_t offset = 0; offset < BAR_SIZE; offset += 4) {
        writel_at(&d, offset, offset * 0x9e3779b1u);
        g_assert_cmphex(readl_at(&d, offset), ==, readl_at(&d, offset));
        if (offset % 8 == 0) {
            uint64_t both = readq_at(&d, offset);

            g_assert_cmphex((uint32_t)both, ==, readl_at(&d, offset));
            g_assert_cmphex(both >> 32, ==, readl_at(&d, offset + 4));
            qpci_io_writeq(d.pci, d.bar, offset, both);
        }
        qpci_io_readb(d.pci, d.bar, offset + 1);
        qpci_io_readw(d.pci, d.bar, offset + 1);
        qpci_io_readl(d.pci, d.bar, offset + 1);
    }
    g_assert_cmphex(readq_at(&d, REG_ID), ==, 0x00000001424c5448);
    /* Past the last counter there is nothing. */
    g_assert_cmphex(readq_at(&d, WIN_REGION - 8), ==, 0);
    device_stop(&d);
}

/* HMP: info stats, by name and provider. */
static void test_hmp(void)
{
    Device d = device_start();
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

    for (int i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autofree char *command =
            g_strdup_printf("%s -accel tcg -nodefaults -display none -S %s",
                            getenv("QTEST_QEMU_BINARY"), cases[i].args);
        g_autofree char *err = NULL;
        int status;

        g_assert_true(g_spawn_command_line_sync(command, NULL, &err, &status,
                                                NULL));
        g_assert_cmpint(status, !=, 0);
        if (!strstr(err, cases[i].message)) {
            g_error("'%s' is not in: %s", cases[i].message, err);
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_func("/hwtlb-pci/identity", test_identity);
    qtest_add_func("/hwtlb-pci/latch", test_latch);
    qtest_add_func("/hwtlb-pci/vcpu-select", test_vcpu_select);
    qtest_add_func("/hwtlb-pci/regions", test_regions);
    qtest_add_func("/hwtlb-pci/every-offset", test_every_offset);
    qtest_add_func("/hwtlb-pci/hmp", test_hmp);
    qtest_add_func("/hwtlb-pci/usage-errors", test_usage_errors);
    return g_test_run();
}
