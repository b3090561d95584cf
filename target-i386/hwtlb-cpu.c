/*
 * The hardware-TLB model of an x86 vCPU: creation and statistics
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-types-stats.h"
#include "qapi/util.h"
#include "cpu.h"
#include "system/stats.h"
#include "system/tcg.h"
#include "target/i386/hwtlb-cpu.h"

static void query_stats(StatsResultList **result, StatsTarget target,
                        strList *names, strList *targets, Error **errp)
{
    CPUState *cs;

    if (target != STATS_TARGET_VCPU) {
        return;
    }
    CPU_FOREACH(cs) {
        g_autofree char *path = object_get_canonical_path(OBJECT(cs));
        HWTLB *tlb = cpu_env(cs)->hwtlb;
        StatsList *list = NULL;

        if (!tlb || !apply_str_list_filter(path, targets)) {
            continue;
        }
        for (int i = HWTLB_C__MAX - 1; i >= 0; i--) {
            Stats *stats;

            if (!apply_str_list_filter(hwtlb_counter_names[i], names)) {
                continue;
            }
            stats = g_new0(Stats, 1);
            stats->name = g_strdup(hwtlb_counter_names[i]);
            stats->value = g_new0(StatsValue, 1);
            stats->value->type = QTYPE_QNUM;
            stats->value->u.scalar = hwtlb_counter(tlb, i);
            QAPI_LIST_PREPEND(list, stats);
        }
        if (list) {
            add_stats_entry(result, STATS_PROVIDER_HWTLB, path, list);
        }
    }
}

static void query_stats_schemas(StatsSchemaList **result, Error **errp)
{
    StatsSchemaValueList *list = NULL;

    for (int i = HWTLB_C__MAX - 1; i >= 0; i--) {
        StatsSchemaValue *value = g_new0(StatsSchemaValue, 1);

        value->name = g_strdup(hwtlb_counter_names[i]);
        value->type = STATS_TYPE_CUMULATIVE;
        QAPI_LIST_PREPEND(list, value);
    }
    add_stats_schema(result, STATS_PROVIDER_HWTLB, STATS_TARGET_VCPU, list);
}

static char *preset_names(void)
{
    GString *names = g_string_new("off");

    for (unsigned i = 0; hwtlb_preset_at(i); i++) {
        g_string_append_printf(names, ", %s", hwtlb_preset_at(i)->name);
    }
    return g_string_free(names, false);
}

bool x86_hwtlb_realize(X86CPU *cpu, Error **errp)
{
    static bool provider_added;
    const HWTLBConfig *config;
    g_autofree char *why = NULL;

    if (!cpu->hwtlb_preset || g_str_equal(cpu->hwtlb_preset, "off")) {
        return true;
    }
    config = hwtlb_preset(cpu->hwtlb_preset);
    if (!config) {
        g_autofree char *names = preset_names();

        error_setg(errp, "hwtlb=%s: no such preset; there are: %s",
                   cpu->hwtlb_preset, names);
        return false;
    }
    if (!tcg_enabled()) {
        error_setg(errp, "hwtlb=%s needs the TCG accelerator",
                   cpu->hwtlb_preset);
        return false;
    }
    if (!hwtlb_config_valid(config, &why)) {
        error_setg(errp, "hwtlb=%s: %s", cpu->hwtlb_preset, why);
        return false;
    }
    cpu->env.hwtlb = hwtlb_new(config, x86_hwtlb_drop, CPU(cpu));
    if (!provider_added) {
        add_stats_callbacks(STATS_PROVIDER_HWTLB, query_stats,
                            query_stats_schemas);
        provider_added = true;
    }
    return true;
}

void x86_hwtlb_unrealize(X86CPU *cpu)
{
    g_clear_pointer(&cpu->env.hwtlb, hwtlb_free);
}
