/*
 * x64k: what a saved VM tells of its 64 KB pages
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * CR4.P64 travels with CR4.  What it means depends on the features that the
 * guest was given, so a CPU that has others refuses the state: with one less,
 * the guest's page tables cannot be read; with one more, bits that were
 * ignored would get a meaning.
 */
#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "cpu.h"
#include "migration/vmstate.h"
#include "target/i386/x64k.h"

static bool x64k_needed(void *opaque)
{
    X86CPU *cpu = opaque;

    return cpu->x64k_contig || cpu->x64k_leaf;
}

static int x64k_pre_save(void *opaque)
{
    X86CPU *cpu = opaque;

    cpu->x64k_saved_features = x64k_features(cpu);
    return 0;
}

static int x64k_post_load(void *opaque, int version_id)
{
    static const struct {
        uint32_t feature;
        const char *property;
    } properties[] = {
        { X64K_FEATURE_HINT, "x64k-contig" },
        { X64K_FEATURE_LEAF, "x64k-leaf" },
    };
    X86CPU *cpu = opaque;
    uint32_t differ = cpu->x64k_saved_features ^ x64k_features(cpu);

    for (unsigned i = 0; i < ARRAY_SIZE(properties); i++) {
        if (differ & properties[i].feature) {
            bool saved = cpu->x64k_saved_features & properties[i].feature;

            error_report("the saved CPU has %s=%s, this CPU has not: start "
                         "with -cpu ...,%s=%s", properties[i].property,
                         saved ? "on" : "off", properties[i].property,
                         saved ? "on" : "off");
            return -EINVAL;
        }
    }
    if (differ) {
        error_report("the saved CPU has x64k features 0x%x that this version "
                     "does not know", differ);
        return -EINVAL;
    }
    return 0;
}

const VMStateDescription vmstate_x64k = {
    .name = "cpu/x64k",
    .version_id = 1,
    .minimum_version_id = 1,
    .needed = x64k_needed,
    .pre_save = x64k_pre_save,
    .post_load = x64k_post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT32(x64k_saved_features, X86CPU),
        VMSTATE_END_OF_LIST()
    }
};
