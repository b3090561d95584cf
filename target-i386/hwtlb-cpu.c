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
#include "system/qtest.h"
#include "system/stats.h"
#include "system/tcg.h"
#include "target/i386/hwtlb-cpu.h"
#include "target/i386/hwtlb-qmp.h"

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

static NotifierList notifiers = NOTIFIER_LIST_INITIALIZER(notifiers);

void x86_hwtlb_add_notifier(Notifier *notifier)
{
    notifier_list_add(&notifiers, notifier);
}

static void tell(CPUState *cs, X86HwtlbEvent event)
{
    X86HwtlbNews news = { cs, event };

    notifier_list_notify(&notifiers, &news);
}

void x86_hwtlb_reset_counters(CPUState *cs)
{
    tell(cs, X86_HWTLB_RESET);
    hwtlb_reset_counters(cpu_env(cs)->hwtlb);
}

static char *get_observe(Object *obj, Error **errp)
{
    return g_strdup(X86_CPU(obj)->hwtlb_options.observe_every ? "every"
                                                              : "misses");
}

static void set_observe(Object *obj, const char *value, Error **errp)
{
    if (!g_str_equal(value, "misses") && !g_str_equal(value, "every")) {
        error_setg(errp, "hwtlb-observe=%s: must be 'misses' or 'every'",
                   value);
        return;
    }
    X86_CPU(obj)->hwtlb_options.observe_every = g_str_equal(value, "every");
}

void x86_hwtlb_class_init(ObjectClass *oc)
{
    object_class_property_add_str(oc, "hwtlb-observe", get_observe,
                                  set_observe);
    object_class_property_set_description(oc, "hwtlb-observe",
        "which accesses the TLB model sees: those that QEMU's own TLB misses "
        "(default), or every one, slowly");
}

bool x86_hwtlb_realize(X86CPU *cpu, Error **errp)
{
    static bool provider_added;
    g_autofree char *name = NULL;
    HWTLBConfig config;

    if (!x86_hwtlb_config(cpu, &config, &name, errp)) {
        return false;
    }
    if (!name) {
        return true;
    }
    /* Under qtest there are no accesses: a model that counts nothing. */
    if (!tcg_enabled() && !qtest_enabled()) {
        error_setg(errp, "%s needs the TCG accelerator", name);
        return false;
    }
    cpu->env.hwtlb = x86_hwtlb_new(cpu, &config);
    if (!provider_added) {
        add_stats_callbacks(STATS_PROVIDER_HWTLB, query_stats,
                            query_stats_schemas);
        provider_added = true;
    }
    tell(CPU(cpu), X86_HWTLB_NEW);
    return true;
}

void x86_hwtlb_unrealize(X86CPU *cpu)
{
    if (cpu->env.hwtlb) {
        tell(CPU(cpu), X86_HWTLB_GONE);
    }
    g_clear_pointer(&cpu->env.hwtlb, x86_hwtlb_free);
}
