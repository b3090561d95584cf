/*
 * hwtlb-pci: lets a guest read the counters of the hardware-TLB model
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Transport only: what is counted, and when, is the model's business
 * (hw/tlb).  The registers are described in docs/specs/hwtlb.rst, in the
 * order of the switches below.  A guest program can use them from user space
 * by mapping the PCI resource; no driver is needed.
 *
 * Only a vCPU's own thread can read its counters between two of its
 * instructions.  So each vCPU copies its own: the one that writes to the
 * device at once, the others as soon as they leave the block they are in.
 * Waiting for them here could deadlock with one that waits for us; instead
 * the guest can read how many copies are still to come.  Work that is queued
 * for a vCPU is done in order, so that commands may follow each other without
 * waiting.  All of this runs under the BQL.
 *
 * A vCPU without a model does not exist here.
 */
#include "qemu/osdep.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "cpu.h"
#include "hw/boards.h"
#include "hw/pci/pci_device.h"
#include "hw/qdev-properties.h"
#include "hw/tlb/hwtlb.h"
#include "migration/vmstate.h"
#include "qom/object.h"
#include "system/qtest.h"
#include "target/i386/hwtlb-cpu.h"

#define TYPE_HWTLB_PCI "hwtlb-pci"
OBJECT_DECLARE_SIMPLE_TYPE(HWTLBPCIState, HWTLB_PCI)

#define HWTLB_PCI_DEVICE_ID     0x6464

#define ID_MAGIC                0x424c5448      /* "HTLB" */
#define ID_VERSION              2

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
    REG_COALESCE    = 0x0050,
    REG_OBSERVE     = 0x0054,
    WIN_ARRAYS      = 0x0100,   /* 16 bytes an array, 4 arrays a level */
    WIN_PWC         = 0x01c0,   /* 16 bytes a cache */
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
    COMMAND_RESET       = 5,
};

#define ALL_VCPUS               UINT32_MAX
#define REGIONS                 64
#define NAME_SIZE               32
#define ARRAY_SIZE_BYTES        16

QEMU_BUILD_BUG_ON(HWTLB_C__MAX * NAME_SIZE > BAR_SIZE - WIN_NAMES);
QEMU_BUILD_BUG_ON(HWTLB_LEVELS * HWTLB_MAX_ARRAYS * ARRAY_SIZE_BYTES !=
                  WIN_PWC - WIN_ARRAYS);

/* What one vCPU has counted for the latch, or for a region. */
typedef struct HWTLBPart {
    bool open;
    /*
     * Of a region: its counters when it began.  Of the latch: those of vCPUs
     * that were unplugged from its place, so that no sum ever falls.
     */
    uint64_t begin[HWTLB_C__MAX];
    uint64_t sum[HWTLB_C__MAX];
} HWTLBPart;

typedef struct HWTLBRegion {
    uint8_t name[NAME_SIZE];
    uint64_t faults;
    uint64_t entered;
    bool open;
    int32_t n_parts;            /* 0, or one for each vCPU there may be */
    HWTLBPart *parts;
} HWTLBRegion;

struct HWTLBPCIState {
    PCIDevice parent_obj;

    MemoryRegion mmio;
    Notifier notifier;
    bool without_model;         /* is a machine without one fine? */
    uint32_t vcpu;
    uint32_t region;
    int32_t max_vcpus;
    HWTLBRegion latch;          /* has parts, and nothing else */
    HWTLBRegion regions[REGIONS];

    unsigned generation;        /* work of an older one is void */
    uint32_t *pending;          /* for each vCPU: work that is queued */

    /* Only a list of the same counters can be loaded. */
    uint32_t n_counters, names_hash;
};

/* What a vCPU does for the device, on its own thread. */
typedef enum Work {
    WORK_LATCH,
    WORK_BEGIN,
    WORK_END,
    WORK_CLEAR,
    WORK_RESET,
} Work;

typedef struct QueuedWork {
    HWTLBPCIState *s;
    HWTLBRegion *region;
    Work what;
    unsigned generation;
} QueuedWork;

static HWTLB *model_of(CPUState *cs)
{
    return cpu_env(cs)->hwtlb;
}

static void part_add(HWTLBPart *part, const HWTLB *tlb)
{
    for (int i = 0; i < HWTLB_C__MAX; i++) {
        part->sum[i] += hwtlb_counter(tlb, i) - part->begin[i];
    }
}

static void do_work(CPUState *cs, HWTLBRegion *region, Work what)
{
    HWTLBPart *part = region ? &region->parts[cs->cpu_index] : NULL;
    const HWTLB *tlb = model_of(cs);

    switch (what) {
    case WORK_LATCH:
        for (int i = 0; i < HWTLB_C__MAX; i++) {
            part->sum[i] = part->begin[i] + hwtlb_counter(tlb, i);
        }
        break;
    case WORK_BEGIN:
        part->open = true;
        for (int i = 0; i < HWTLB_C__MAX; i++) {
            part->begin[i] = hwtlb_counter(tlb, i);
        }
        break;
    case WORK_END:
        if (part->open) {
            part->open = false;
            part_add(part, tlb);
        }
        break;
    case WORK_CLEAR:
        memset(part, 0, sizeof(*part));
        break;
    case WORK_RESET:
        x86_hwtlb_reset_counters(cs);
        break;
    }
}

static void do_queued_work(CPUState *cs, run_on_cpu_data data)
{
    g_autofree QueuedWork *work = data.host_ptr;
    HWTLBPCIState *s = work->s;

    if (work->generation == s->generation) {
        s->pending[cs->cpu_index]--;
        do_work(cs, work->region, work->what);
    }
    object_unref(OBJECT(s));
}

/*
 * Makes @cs no access while we are here?  Without MTTCG all share the thread
 * that is here.  One that is being plugged in or out may have no thread yet,
 * or none any more.  Under qtest none makes an access.
 */
static bool is_still(CPUState *cs)
{
    return qemu_cpu_is_self(cs) || !cs->created || qtest_enabled();
}

static void ensure_parts(HWTLBPCIState *s, HWTLBRegion *region)
{
    if (!region->parts) {
        region->n_parts = s->max_vcpus;
        region->parts = g_new0(HWTLBPart, s->max_vcpus);
    }
}

/* Has each vCPU do @what for @region; with @only, that vCPU alone. */
static void each_vcpu(HWTLBPCIState *s, HWTLBRegion *region, Work what,
                      uint32_t only)
{
    CPUState *cs;

    if (region) {
        ensure_parts(s, region);
    }
    CPU_FOREACH(cs) {
        if (!model_of(cs) || (only != ALL_VCPUS && only != cs->cpu_index)) {
            continue;
        }
        if (is_still(cs)) {
            do_work(cs, region, what);
        } else {
            QueuedWork *work = g_new(QueuedWork, 1);

            *work = (QueuedWork) {
                .s = s,
                .region = region,
                .what = what,
                .generation = s->generation,
            };
            object_ref(OBJECT(s));
            s->pending[cs->cpu_index]++;
            async_run_on_cpu(cs, do_queued_work, RUN_ON_CPU_HOST_PTR(work));
        }
    }
}

static uint32_t count_pending(const HWTLBPCIState *s)
{
    uint32_t n = 0;
    CPUState *cs;

    CPU_FOREACH(cs) {
        n += s->pending[cs->cpu_index];
    }
    return n;
}

static uint32_t count_vcpus(void)
{
    uint32_t n = 0;
    CPUState *cs;

    CPU_FOREACH(cs) {
        if (model_of(cs)) {
            n = MAX(n, cs->cpu_index + 1);
        }
    }
    return n;
}

static bool may_select(uint32_t vcpu)
{
    CPUState *cs = vcpu <= INT_MAX ? qemu_get_cpu(vcpu) : NULL;

    return vcpu == ALL_VCPUS || (cs && model_of(cs));
}

/* The part of the latch of each vCPU that is not there. */
static void latch_absent(HWTLBPCIState *s)
{
    for (int32_t v = 0; v < s->latch.n_parts; v++) {
        if (!may_select(v)) {
            HWTLBPart *part = &s->latch.parts[v];

            memcpy(part->sum, part->begin, sizeof(part->sum));
        }
    }
}

/* What vCPUs that are not there have counted is no more. */
static void forget_absent(HWTLBPCIState *s)
{
    for (int32_t v = 0; v < s->latch.n_parts; v++) {
        if ((s->vcpu == ALL_VCPUS || s->vcpu == v) && !may_select(v)) {
            HWTLBPart *part = &s->latch.parts[v];

            memset(part->begin, 0, sizeof(part->begin));
        }
    }
}

/* What the selected vCPU, or all together, have counted. */
static uint64_t shown(const HWTLBPCIState *s, const HWTLBRegion *region,
                      unsigned counter)
{
    uint64_t sum = 0;

    for (int32_t v = 0; v < region->n_parts; v++) {
        if (s->vcpu == ALL_VCPUS || s->vcpu == v) {
            sum += region->parts[v].sum[counter];
        }
    }
    return sum;
}

/* The selected vCPU's geometry; of all, that of the first. */
static const HWTLBConfig *geometry(const HWTLBPCIState *s)
{
    CPUState *cs;

    CPU_FOREACH(cs) {
        if (model_of(cs) &&
            (s->vcpu == ALL_VCPUS || s->vcpu == cs->cpu_index)) {
            return hwtlb_config(model_of(cs));
        }
    }
    return NULL;
}

static uint64_t read_geometry(const HWTLBPCIState *s, hwaddr addr)
{
    const unsigned n = (addr - WIN_ARRAYS) / ARRAY_SIZE_BYTES;
    const unsigned first_pwc = HWTLB_LEVELS * HWTLB_MAX_ARRAYS;
    const HWTLBConfig *config = geometry(s);
    const HWTLBArrayConfig *array;

    if (!config || n >= first_pwc + HWTLB_PWCS) {
        return 0;
    }
    array = n < first_pwc ? &config->arrays[n / HWTLB_MAX_ARRAYS]
                                           [n % HWTLB_MAX_ARRAYS]
                          : &config->pwc[n - first_pwc];
    if (!array->ways) {
        return 0;
    }
    if (addr % ARRAY_SIZE_BYTES == 0) {
        return array->sets | (uint64_t)array->ways << 32;
    }
    return array->classes | array->policy << 16 | array->hash << 24;
}

static void clear(HWTLBPCIState *s, HWTLBRegion *region)
{
    memset(region->name, 0, sizeof(region->name));
    region->faults = 0;
    region->entered = 0;
    region->open = false;
    if (region->parts) {
        each_vcpu(s, region, WORK_CLEAR, ALL_VCPUS);
    }
}

static void command(HWTLBPCIState *s, uint32_t what)
{
    HWTLBRegion *region = &s->regions[s->region];

    switch (what) {
    case COMMAND_BEGIN:
        region->open = true;
        each_vcpu(s, region, WORK_BEGIN, ALL_VCPUS);
        break;
    case COMMAND_END:
        if (region->open) {
            region->open = false;
            region->entered++;
            each_vcpu(s, region, WORK_END, ALL_VCPUS);
        }
        break;
    case COMMAND_CLEAR:
        clear(s, region);
        break;
    case COMMAND_CLEAR_ALL:
        for (int i = 0; i < REGIONS; i++) {
            clear(s, &s->regions[i]);
        }
        break;
    case COMMAND_RESET:
        forget_absent(s);
        each_vcpu(s, NULL, WORK_RESET, s->vcpu);
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
        return slot < HWTLB_C__MAX ? shown(s, &s->latch, slot) : 0;
    case WIN_REGION:
        return slot < HWTLB_C__MAX ? shown(s, region, slot) : 0;
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
    case REG_VCPU:              /* and REG_LATCH */
        return s->vcpu | (uint64_t)count_pending(s) << 32;
    case REG_REGION:            /* and REG_COMMAND */
        return s->region | (uint64_t)region->open << 32;
    case REG_NAME ... REG_NAME + NAME_SIZE - 1:
        return ldq_le_p(region->name + (addr - REG_NAME));
    case REG_FAULTS:
        return region->faults;
    case REG_ENTERED:
        return region->entered;
    case REG_COALESCE: {        /* and REG_OBSERVE */
        const HWTLBConfig *config = geometry(s);

        return !config ? 0 : MAX(config->coalesce, 1) |
                             (uint64_t)config->observe_every << 32;
    }
    case WIN_ARRAYS ... WIN_LATCHED - 1:
        return read_geometry(s, addr);
    default:
        return 0;
    }
}

static uint64_t hwtlb_pci_read(void *opaque, hwaddr addr, unsigned size)
{
    uint64_t word = read_word(opaque, addr & ~7ull);

    return size == 8 ? word : extract64(word, (addr & 4) * 8, 32);
}

/* False if what is to be selected does not exist. */
static bool write_reg(HWTLBPCIState *s, hwaddr addr, uint32_t value)
{
    HWTLBRegion *region = &s->regions[s->region];

    switch (addr) {
    case REG_VCPU:
        if (!may_select(value)) {
            return false;
        }
        s->vcpu = value;
        break;
    case REG_LATCH:
        each_vcpu(s, &s->latch, WORK_LATCH, ALL_VCPUS);
        latch_absent(s);
        break;
    case REG_REGION:
        if (value >= REGIONS) {
            return false;
        }
        s->region = value;
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
    return true;
}

static void hwtlb_pci_write(void *opaque, hwaddr addr, uint64_t value,
                            unsigned size)
{
    /* A command for a region that does not exist is for none. */
    if (write_reg(opaque, addr, value) && size == 8) {
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

static void empty(HWTLBPCIState *s)
{
    g_free(s->latch.parts);
    s->latch = (HWTLBRegion) {};
    for (int i = 0; i < REGIONS; i++) {
        g_free(s->regions[i].parts);
        s->regions[i] = (HWTLBRegion) {};
    }
}

/* Whatever vCPUs have still to do for the device, they need not. */
static void forget(HWTLBPCIState *s)
{
    s->generation++;
    memset(s->pending, 0, s->max_vcpus * sizeof(*s->pending));
    empty(s);
}

static void hwtlb_pci_reset(DeviceState *dev)
{
    HWTLBPCIState *s = HWTLB_PCI(dev);

    forget(s);
    s->vcpu = ALL_VCPUS;
    s->region = 0;
}

/*
 * A vCPU's counters are about to be 0, or to go with it: open regions keep
 * what they have of them.  Those of one that is new are 0, and begin in all
 * regions that are open.  The latched window has each copy until the next, and
 * then still what was counted by a vCPU that went; what is set to 0 is 0 there.
 */
static void heed(Notifier *notifier, void *data)
{
    HWTLBPCIState *s = container_of(notifier, HWTLBPCIState, notifier);
    const X86HwtlbNews *news = data;
    const int vcpu = news->cs->cpu_index;
    HWTLBPart *latch;

    for (int i = 0; i < REGIONS; i++) {
        HWTLBRegion *region = &s->regions[i];
        HWTLBPart *part = region->parts ? &region->parts[vcpu] : NULL;

        if (!part) {
            continue;
        }
        if (part->open) {
            part_add(part, model_of(news->cs));
        }
        memset(part->begin, 0, sizeof(part->begin));
        if (news->event != X86_HWTLB_RESET) {
            part->open = news->event == X86_HWTLB_NEW && region->open;
        }
    }
    ensure_parts(s, &s->latch);
    latch = &s->latch.parts[vcpu];
    for (int i = 0; i < HWTLB_C__MAX; i++) {
        if (news->event == X86_HWTLB_GONE) {
            latch->begin[i] += hwtlb_counter(model_of(news->cs), i);
        } else if (news->event == X86_HWTLB_RESET) {
            latch->begin[i] = 0;
        }
    }
}

static uint32_t hash_names(void)
{
    uint32_t hash = 0;

    for (int i = 0; i < HWTLB_C__MAX; i++) {
        hash = hash * 31 + g_str_hash(hwtlb_counter_names[i]);
    }
    return hash;
}

static void hwtlb_pci_realize(PCIDevice *pci, Error **errp)
{
    HWTLBPCIState *s = HWTLB_PCI(pci);
    bool modelled = false;
    CPUState *cs;

    CPU_FOREACH(cs) {
        modelled |= model_of(cs) != NULL;
    }
    /* The fuzzer is to have the device in any case. */
    if (!modelled && !s->without_model && !qtest_enabled()) {
        error_setg(errp, "hwtlb-pci has nothing to show: "
                   "no vCPU models a TLB");
        error_append_hint(errp, "Use -cpu MODEL,hwtlb=PRESET.\n");
        return;
    }
    s->max_vcpus = MACHINE(qdev_get_machine())->smp.max_cpus;
    s->pending = g_new0(uint32_t, s->max_vcpus);
    s->n_counters = HWTLB_C__MAX;
    s->names_hash = hash_names();
    s->notifier.notify = heed;
    x86_hwtlb_add_notifier(&s->notifier);
    memory_region_init_io(&s->mmio, OBJECT(s), &hwtlb_pci_ops, s,
                          TYPE_HWTLB_PCI, BAR_SIZE);
    pci_register_bar(pci, 0, PCI_BASE_ADDRESS_SPACE_MEMORY, &s->mmio);
}

/* A vCPU that is on its way into the device still comes, and may queue work. */
static void hwtlb_pci_exit(PCIDevice *pci)
{
    HWTLBPCIState *s = HWTLB_PCI(pci);

    notifier_remove(&s->notifier);
    forget(s);
}

static void hwtlb_pci_finalize(Object *obj)
{
    HWTLBPCIState *s = HWTLB_PCI(obj);

    empty(s);
    g_free(s->pending);
}

/*
 * Saved state.  The counters themselves are the vCPUs', and are saved with
 * them; what regions remember of them stays right.
 */

static void nothing(CPUState *cs, run_on_cpu_data data)
{
}

/* No vCPU runs now, so none can wait for this one. */
static int hwtlb_pci_pre_save(void *opaque)
{
    HWTLBPCIState *s = opaque;
    CPUState *cs;

    CPU_FOREACH(cs) {
        if (s->pending[cs->cpu_index]) {
            run_on_cpu(cs, nothing, RUN_ON_CPU_NULL);
        }
    }
    return 0;
}

static int hwtlb_pci_pre_load(void *opaque)
{
    forget(opaque);
    return 0;
}

static int hwtlb_pci_post_load(void *opaque, int version_id)
{
    HWTLBPCIState *s = opaque;

    /* The selected vCPU may have been unplugged. */
    if ((s->vcpu != ALL_VCPUS && s->vcpu >= s->max_vcpus) ||
        s->region >= REGIONS) {
        return -EINVAL;
    }
    return 0;
}

/* Also of a damaged stream, before there is memory for so many. */
static bool has_parts_for_all(void *opaque, int version_id)
{
    HWTLBRegion *region = opaque;
    MachineState *machine = MACHINE(qdev_get_machine());

    return !region->n_parts || region->n_parts == machine->smp.max_cpus;
}

static const VMStateDescription vmstate_part = {
    .name = TYPE_HWTLB_PCI "/part",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]) {
        VMSTATE_BOOL(open, HWTLBPart),
        VMSTATE_UINT64_ARRAY(begin, HWTLBPart, HWTLB_C__MAX),
        VMSTATE_UINT64_ARRAY(sum, HWTLBPart, HWTLB_C__MAX),
        VMSTATE_END_OF_LIST()
    }
};

static const VMStateDescription vmstate_region = {
    .name = TYPE_HWTLB_PCI "/region",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]) {
        VMSTATE_BUFFER(name, HWTLBRegion),
        VMSTATE_UINT64(faults, HWTLBRegion),
        VMSTATE_UINT64(entered, HWTLBRegion),
        VMSTATE_BOOL(open, HWTLBRegion),
        VMSTATE_INT32(n_parts, HWTLBRegion),
        VMSTATE_VALIDATE("a part for each vCPU", has_parts_for_all),
        VMSTATE_STRUCT_VARRAY_ALLOC(parts, HWTLBRegion, n_parts, 1,
                                    vmstate_part, HWTLBPart),
        VMSTATE_END_OF_LIST()
    }
};

static const VMStateDescription vmstate_hwtlb_pci = {
    .name = TYPE_HWTLB_PCI,
    .version_id = 1,
    .minimum_version_id = 1,
    .pre_save = hwtlb_pci_pre_save,
    .pre_load = hwtlb_pci_pre_load,
    .post_load = hwtlb_pci_post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_PCI_DEVICE(parent_obj, HWTLBPCIState),
        VMSTATE_UINT32_EQUAL(n_counters, HWTLBPCIState,
                             "The two emulators count different things."),
        VMSTATE_UINT32_EQUAL(names_hash, HWTLBPCIState,
                             "The two emulators count different things."),
        VMSTATE_UINT32(vcpu, HWTLBPCIState),
        VMSTATE_UINT32(region, HWTLBPCIState),
        VMSTATE_STRUCT(latch, HWTLBPCIState, 1, vmstate_region, HWTLBRegion),
        VMSTATE_STRUCT_ARRAY(regions, HWTLBPCIState, REGIONS, 1,
                             vmstate_region, HWTLBRegion),
        VMSTATE_END_OF_LIST()
    }
};

/*
 * A machine that is saved without a model can be loaded with any: the guest
 * knows the device already.
 */
static const Property hwtlb_pci_properties[] = {
    DEFINE_PROP_BOOL("without-model", HWTLBPCIState, without_model, false),
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
    device_class_set_props(dc, hwtlb_pci_properties);
    device_class_set_legacy_reset(dc, hwtlb_pci_reset);
    set_bit(DEVICE_CATEGORY_MISC, dc->categories);
}

static const TypeInfo hwtlb_pci_info = {
    .name = TYPE_HWTLB_PCI,
    .parent = TYPE_PCI_DEVICE,
    .instance_size = sizeof(HWTLBPCIState),
    .instance_finalize = hwtlb_pci_finalize,
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
