/*
 * hwtlb-pci: lets a guest read the counters of the hardware-TLB model
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Transport only: what is counted, and when, is the model's business
 * (hw/tlb).  The registers are described in docs/specs/hwtlb.rst, in the
 * order of the switches below.  A guest program can use them from user space
 * by mapping the PCI resource; no driver is needed.
 */
#include "qemu/osdep.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "cpu.h"
#include "hw/pci/pci_device.h"
#include "hw/tlb/hwtlb.h"
#include "migration/vmstate.h"
#include "qom/object.h"

#define TYPE_HWTLB_PCI "hwtlb-pci"
OBJECT_DECLARE_SIMPLE_TYPE(HWTLBPCIState, HWTLB_PCI)

#define HWTLB_PCI_DEVICE_ID     0x6464

#define ID_MAGIC                0x424c5448      /* "HTLB" */
#define ID_VERSION              1

enum {
    REG_ID          = 0x0000,
    REG_COUNTERS    = 0x0008,
    REG_VCPUS       = 0x000c,
    REG_VCPU        = 0x0010,
    REG_LATCH       = 0x0014,
    REG_REGION      = 0x0018,
    REG_COMMAND     = 0x001c,
    REG_NAME        = 0x0020,   /* 32 bytes */
    REG_FAULTS      = 0x0040,
    REG_ENTERED     = 0x0048,
    WIN_LATCHED     = 0x1000,   /* 8 bytes a counter */
    WIN_REGION      = 0x2000,   /* 8 bytes a counter */
    WIN_NAMES       = 0x3000,   /* 32 bytes a counter */
    BAR_SIZE        = 0x4000,
};

enum {
    COMMAND_BEGIN       = 1,
    COMMAND_END         = 2,
    COMMAND_CLEAR       = 3,
    COMMAND_CLEAR_ALL   = 4,
};

#define ALL_VCPUS               UINT32_MAX
#define REGIONS                 64
#define NAME_SIZE               32

QEMU_BUILD_BUG_ON(HWTLB_C__MAX * NAME_SIZE > BAR_SIZE - WIN_NAMES);

typedef struct HWTLBRegion {
    char name[NAME_SIZE];
    uint64_t faults;
    uint64_t entered;
    bool open;
    uint64_t begin[HWTLB_C__MAX];
    uint64_t sum[HWTLB_C__MAX];
} HWTLBRegion;

struct HWTLBPCIState {
    PCIDevice parent_obj;

    MemoryRegion mmio;
    uint32_t vcpu;
    uint32_t region;
    uint32_t vcpus;             /* size of @latched */
    uint64_t *latched;          /* [vcpus][HWTLB_C__MAX] */
    HWTLBRegion regions[REGIONS];
};

static HWTLB *model_of(CPUState *cs)
{
    return cpu_env(cs)->hwtlb;
}

static void read_all(uint64_t *sum)
{
    CPUState *cs;

    memset(sum, 0, HWTLB_C__MAX * sizeof(*sum));
    CPU_FOREACH(cs) {
        for (int i = 0; model_of(cs) && i < HWTLB_C__MAX; i++) {
            sum[i] += hwtlb_counter(model_of(cs), i);
        }
    }
}

static uint32_t count_vcpus(void)
{
    uint32_t n = 0;
    CPUState *cs;

    CPU_FOREACH(cs) {
        n = MAX(n, cs->cpu_index + 1);
    }
    return n;
}

static void latch(HWTLBPCIState *s)
{
    CPUState *cs;

    s->vcpus = count_vcpus();
    s->latched = g_renew(uint64_t, s->latched, s->vcpus * HWTLB_C__MAX);
    memset(s->latched, 0, s->vcpus * HWTLB_C__MAX * sizeof(uint64_t));
    CPU_FOREACH(cs) {
        for (int i = 0; model_of(cs) && i < HWTLB_C__MAX; i++) {
            s->latched[cs->cpu_index * HWTLB_C__MAX + i] =
                hwtlb_counter(model_of(cs), i);
        }
    }
}

static uint64_t latched_counter(const HWTLBPCIState *s, unsigned counter)
{
    uint64_t sum = 0;

    for (uint32_t v = 0; v < s->vcpus; v++) {
        if (s->vcpu == ALL_VCPUS || s->vcpu == v) {
            sum += s->latched[v * HWTLB_C__MAX + counter];
        }
    }
    return sum;
}

static void command(HWTLBPCIState *s, uint32_t what)
{
    HWTLBRegion *region = &s->regions[s->region];
    uint64_t now[HWTLB_C__MAX];

    switch (what) {
    case COMMAND_BEGIN:
        region->open = true;
        read_all(region->begin);
        break;
    case COMMAND_END:
        if (!region->open) {
            break;
        }
        region->open = false;
        region->entered++;
        read_all(now);
        for (int i = 0; i < HWTLB_C__MAX; i++) {
            region->sum[i] += now[i] - region->begin[i];
        }
        break;
    case COMMAND_CLEAR:
        memset(region, 0, sizeof(*region));
        break;
    case COMMAND_CLEAR_ALL:
        memset(s->regions, 0, sizeof(s->regions));
        break;
    }
}

/* The aligned 64-bit word at @addr; registers of 32 bits come in pairs. */
static uint64_t read_word(HWTLBPCIState *s, hwaddr addr)
{
    const HWTLBRegion *region = &s->regions[s->region];
    const unsigned slot = (addr & 0xfff) / 8;

    switch (addr & ~0xfffull) {
    case WIN_LATCHED:
        return slot < HWTLB_C__MAX ? latched_counter(s, slot) : 0;
    case WIN_REGION:
        return slot < HWTLB_C__MAX ? region->sum[slot] : 0;
    case WIN_NAMES: {
        unsigned counter = (addr - WIN_NAMES) / NAME_SIZE;
        char name[NAME_SIZE] = "";

        if (counter < HWTLB_C__MAX) {
            strncpy(name, hwtlb_counter_names[counter], NAME_SIZE - 1);
        }
        return ldq_le_p(name + addr % NAME_SIZE);
    }
    }

    switch (addr) {
    case REG_ID:
        return ID_MAGIC | (uint64_t)ID_VERSION << 32;
    case REG_COUNTERS:          /* and REG_VCPUS */
        return HWTLB_C__MAX | (uint64_t)count_vcpus() << 32;
    case REG_VCPU:              /* and REG_LATCH, which reads as 0 */
        return s->vcpu;
    case REG_REGION:            /* and REG_COMMAND, which reads as 0 */
        return s->region;
    case REG_NAME ... REG_NAME + NAME_SIZE - 1:
        return ldq_le_p(region->name + (addr - REG_NAME));
    case REG_FAULTS:
        return region->faults;
    case REG_ENTERED:
        return region->entered;
    default:
        return 0;
    }
}

static uint64_t hwtlb_pci_read(void *opaque, hwaddr addr, unsigned size)
{
    uint64_t word = read_word(opaque, addr & ~7ull);

    return size == 8 ? word : extract64(word, (addr & 4) * 8, 32);
}

static void write_reg(HWTLBPCIState *s, hwaddr addr, uint32_t value)
{
    HWTLBRegion *region = &s->regions[s->region];

    switch (addr) {
    case REG_VCPU:
        if (value == ALL_VCPUS || value < count_vcpus()) {
            s->vcpu = value;
        }
        break;
    case REG_LATCH:
        latch(s);
        break;
    case REG_REGION:
        if (value < REGIONS) {
            s->region = value;
        }
        break;
    case REG_COMMAND:
        command(s, value);
        break;
    case REG_NAME ... REG_NAME + NAME_SIZE - 1:
        stl_le_p(region->name + (addr - REG_NAME), value);
        break;
    case REG_FAULTS:
        region->faults = deposit64(region->faults, 0, 32, value);
        break;
    case REG_FAULTS + 4:
        region->faults = deposit64(region->faults, 32, 32, value);
        break;
    }
}

static void hwtlb_pci_write(void *opaque, hwaddr addr, uint64_t value,
                            unsigned size)
{
    write_reg(opaque, addr, value);
    if (size == 8) {
        write_reg(opaque, addr + 4, value >> 32);
    }
}

static const MemoryRegionOps hwtlb_pci_ops = {
    .read = hwtlb_pci_read,
    .write = hwtlb_pci_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = { .min_access_size = 4, .max_access_size = 8 },
    .impl = { .min_access_size = 4, .max_access_size = 8 },
};

static void hwtlb_pci_reset(DeviceState *dev)
{
    HWTLBPCIState *s = HWTLB_PCI(dev);

    s->vcpu = ALL_VCPUS;
    s->region = 0;
    s->vcpus = 0;
    memset(s->regions, 0, sizeof(s->regions));
}

static void hwtlb_pci_realize(PCIDevice *pci, Error **errp)
{
    HWTLBPCIState *s = HWTLB_PCI(pci);
    bool modelled = false;
    CPUState *cs;

    CPU_FOREACH(cs) {
        modelled |= model_of(cs) != NULL;
    }
    if (!modelled) {
        error_setg(errp, "hwtlb-pci has nothing to show: "
                   "no vCPU models a TLB");
        error_append_hint(errp, "Use -cpu MODEL,hwtlb=PRESET.\n");
        return;
    }
    memory_region_init_io(&s->mmio, OBJECT(s), &hwtlb_pci_ops, s,
                          TYPE_HWTLB_PCI, BAR_SIZE);
    pci_register_bar(pci, 0, PCI_BASE_ADDRESS_SPACE_MEMORY, &s->mmio);
}

static void hwtlb_pci_exit(PCIDevice *pci)
{
    g_clear_pointer(&HWTLB_PCI(pci)->latched, g_free);
}

/*
 * The counters belong to the vCPUs and do not migrate, so what the regions
 * add up would not survive either.
 */
static const VMStateDescription vmstate_hwtlb_pci = {
    .name = TYPE_HWTLB_PCI,
    .unmigratable = 1,
};

static void hwtlb_pci_class_init(ObjectClass *class, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(class);
    PCIDeviceClass *pc = PCI_DEVICE_CLASS(class);

    pc->realize = hwtlb_pci_realize;
    pc->exit = hwtlb_pci_exit;
    pc->vendor_id = PCI_VENDOR_ID_QEMU;
    pc->device_id = HWTLB_PCI_DEVICE_ID;
    pc->class_id = PCI_CLASS_OTHERS;
    dc->desc = "Counters of the hardware-TLB model";
    dc->vmsd = &vmstate_hwtlb_pci;
    device_class_set_legacy_reset(dc, hwtlb_pci_reset);
    set_bit(DEVICE_CATEGORY_MISC, dc->categories);
}

static const TypeInfo hwtlb_pci_info = {
    .name = TYPE_HWTLB_PCI,
    .parent = TYPE_PCI_DEVICE,
    .instance_size = sizeof(HWTLBPCIState),
    .class_init = hwtlb_pci_class_init,
    .interfaces = (InterfaceInfo[]) {
        { INTERFACE_CONVENTIONAL_PCI_DEVICE },
        { },
    },
};

static void hwtlb_pci_register(void)
{
    type_register_static(&hwtlb_pci_info);
}

type_init(hwtlb_pci_register)
