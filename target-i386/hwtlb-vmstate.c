/*
 * The hardware-TLB model of an x86 vCPU in a saved VM
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What was counted is saved, what the TLBs held is not: a load drops it, and
 * that is counted as a flush.  Counters mean something for one geometry only,
 * so a CPU with another one refuses the state.
 *
 * The stream has the geometry, as JSON, and each counter by its name, so that
 * a version that has a counter more can read it.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/units.h"
#include "cpu.h"
#include "migration/qemu-file-types.h"
#include "migration/vmstate.h"
#include "hw/tlb/hwtlb-qapi.h"
#include "target/i386/x64k.h"

/* No geometry needs nearly as much; a damaged stream may claim any length. */
#define MAX_JSON    (64 * KiB)
#define MAX_NAME    64

static bool hwtlb_needed(void *opaque)
{
    X86CPU *cpu = opaque;

    return cpu->env.hwtlb;
}

static void put_string(QEMUFile *f, const char *string)
{
    qemu_put_be32(f, strlen(string));
    qemu_put_buffer(f, (const uint8_t *)string, strlen(string));
}

/* NULL if it is longer than @max; to be freed. */
static char *get_string(QEMUFile *f, uint32_t max)
{
    uint32_t length = qemu_get_be32(f);
    g_autofree char *string = NULL;

    if (length > max) {
        return NULL;
    }
    string = g_malloc0(length + 1);
    if (qemu_get_buffer(f, (uint8_t *)string, length) != length) {
        return NULL;
    }
    return g_steal_pointer(&string);
}

/* What @counter will be once the entries held have been dropped. */
static uint64_t saved_counter(const HWTLB *tlb, HWTLBCounter counter)
{
    static const HWTLBCounter flushes[HWTLB_LEVELS] = {
        [HWTLB_L1D] = HWTLB_C_L1D_FLUSH_RESET,
        [HWTLB_L1I] = HWTLB_C_L1I_FLUSH_RESET,
        [HWTLB_STLB] = HWTLB_C_STLB_FLUSH_RESET,
    };
    uint64_t value = hwtlb_counter(tlb, counter);

    for (int l = 0; l < HWTLB_LEVELS; l++) {
        if (counter == flushes[l]) {
            value += hwtlb_valid_entries(tlb, l);
        }
    }
    return value;
}

static int put_hwtlb(QEMUFile *f, void *opaque, size_t size,
                     const VMStateField *field, JSONWriter *vmdesc)
{
    X86CPU *cpu = opaque;
    const HWTLB *tlb = cpu->env.hwtlb;
    g_autofree char *json = hwtlb_config_to_json(hwtlb_config(tlb));

    put_string(f, json);
    qemu_put_be32(f, HWTLB_C__MAX);
    for (int i = 0; i < HWTLB_C__MAX; i++) {
        put_string(f, hwtlb_counter_names[i]);
        qemu_put_be64(f, saved_counter(tlb, i));
    }
    return 0;
}

static bool same_geometry(X86CPU *cpu, const char *json)
{
    g_autofree char *difference = NULL;
    HWTLBConfig saved;
    Error *err = NULL;

    if (!cpu->env.hwtlb) {
        error_report("the saved CPU has a TLB model, this CPU has not: start "
                     "with -cpu ...,hwtlb=... or hwtlb-config=FILE, where "
                     "FILE is: %s", json);
        return false;
    }
    if (!hwtlb_config_from_json(json, &saved, &err)) {
        error_reportf_err(err, "the TLB geometry of the saved CPU: ");
        return false;
    }
    difference = hwtlb_config_difference(&saved, hwtlb_config(cpu->env.hwtlb));
    if (difference) {
        error_report("the saved CPU has other TLBs than this CPU: %s",
                     difference);
        return false;
    }
    return true;
}

static int counter_by_name(const char *name)
{
    for (int i = 0; i < HWTLB_C__MAX; i++) {
        if (g_str_equal(name, hwtlb_counter_names[i])) {
            return i;
        }
    }
    return -1;
}

static int get_hwtlb(QEMUFile *f, void *opaque, size_t size,
                     const VMStateField *field)
{
    X86CPU *cpu = opaque;
    CPUX86State *env = &cpu->env;
    g_autofree char *json = get_string(f, MAX_JSON);
    uint32_t n;

    if (!json) {
        error_report("the TLB geometry of the saved CPU cannot be read");
        return -EINVAL;
    }
    if (!same_geometry(cpu, json)) {
        return -EINVAL;
    }
    /* What is held here is not what the saved counters are about. */
    x64k_flush(env, false, HWTLB_RESET);
    hwtlb_reset_counters(env->hwtlb);

    n = qemu_get_be32(f);
    for (uint32_t i = 0; i < n; i++) {
        g_autofree char *name = get_string(f, MAX_NAME);
        uint64_t value = qemu_get_be64(f);
        int counter = name ? counter_by_name(name) : -1;

        if (counter < 0) {
            error_report("the saved CPU has a TLB counter '%s' that this "
                         "version does not know", name ?: "?");
            return -EINVAL;
        }
        hwtlb_count(env->hwtlb, counter, value);
    }
    return 0;
}

static const VMStateInfo vmstate_info_hwtlb = {
    .name = "hwtlb",
    .get = get_hwtlb,
    .put = put_hwtlb,
};

const VMStateDescription vmstate_hwtlb = {
    .name = "cpu/hwtlb",
    .version_id = 1,
    .minimum_version_id = 1,
    .needed = hwtlb_needed,
    .fields = (const VMStateField[]) {
        {
            .name = "counters",
            .info = &vmstate_info_hwtlb,
            .flags = VMS_SINGLE,
        },
        VMSTATE_END_OF_LIST()
    }
};
