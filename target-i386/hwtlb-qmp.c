/*
 * The hardware-TLB model of an x86 vCPU: what management sees of it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-misc-target.h"
#include "cpu.h"
#include "hw/tlb/hwtlb-qapi.h"
#include "target/i386/hwtlb-cpu.h"
#include "target/i386/hwtlb-qmp.h"

static char *preset_names(void)
{
    GString *names = g_string_new("off");

    for (unsigned i = 0; hwtlb_preset_at(i); i++) {
        g_string_append_printf(names, ", %s", hwtlb_preset_at(i)->name);
    }
    return g_string_free(names, false);
}

static bool config_from_preset(const char *name, HWTLBConfig *config,
                               Error **errp)
{
    const HWTLBConfig *preset = hwtlb_preset(name);

    if (!preset) {
        g_autofree char *names = preset_names();

        error_setg(errp, "hwtlb=%s: no such preset; there are: %s", name,
                   names);
        return false;
    }
    *config = *preset;
    return true;
}

static bool config_from_file(const char *path, HWTLBConfig *config,
                             Error **errp)
{
    g_autofree char *text = NULL;
    g_autoptr(GError) err = NULL;

    if (access(path, R_OK)) {
        error_setg_errno(errp, errno, "hwtlb-config=%s", path);
        return false;
    }
    if (!g_file_get_contents(path, &text, NULL, &err)) {
        error_setg(errp, "hwtlb-config=%s: %s", path, err->message);
        return false;
    }
    if (!hwtlb_config_from_json(text, config, errp)) {
        error_prepend(errp, "hwtlb-config=%s: ", path);
        return false;
    }
    config->name = path;        /* the property lives as long as the CPU */
    return true;
}

bool x86_hwtlb_config(const X86CPU *cpu, HWTLBConfig *config, char **name,
                      Error **errp)
{
    const char *preset = cpu->hwtlb_options.preset;
    const char *file = cpu->hwtlb_options.config_file;
    unsigned coalesce = cpu->hwtlb_options.coalesce;
    g_autofree char *called = NULL, *why = NULL;

    *name = NULL;
    if (preset && file) {
        error_setg(errp, "hwtlb=%s and hwtlb-config=%s: give one of them",
                   preset, file);
        return false;
    }
    if (!file && (!preset || g_str_equal(preset, "off"))) {
        return true;
    }
    if (!(file ? config_from_file(file, config, errp) :
          config_from_preset(preset, config, errp))) {
        return false;
    }
    if (coalesce > 16 || (coalesce && !is_power_of_2(coalesce))) {
        error_setg(errp, "hwtlb-coalesce=%u: must be 1, 2, 4, 8 or 16, or 0 "
                   "for what the processor does", coalesce);
        return false;
    }
    if (coalesce) {
        config->coalesce = coalesce;
    }
    config->observe_every = cpu->hwtlb_options.observe_every;
    if (cpu->hwtlb_options.seed) {
        config->seed = cpu->hwtlb_options.seed;
    }
    called = g_strdup_printf("hwtlb%s=%s", file ? "-config" : "",
                             file ?: preset);
    if (!hwtlb_config_valid(config, &why)) {
        error_setg(errp, "%s: %s", called, why);
        return false;
    }
    *name = g_steal_pointer(&called);
    return true;
}

/* The counters are the vCPU thread's to write. */
static void reset_counters(CPUState *cs, run_on_cpu_data data)
{
    x86_hwtlb_reset_counters(cs);
}

void qmp_hwtlb_reset(const char *vcpu, Error **errp)
{
    bool found = false;
    CPUState *cs;

    CPU_FOREACH(cs) {
        g_autofree char *path = object_get_canonical_path(OBJECT(cs));

        if (vcpu && !g_str_equal(path, vcpu)) {
            continue;
        }
        if (cpu_env(cs)->hwtlb) {
            run_on_cpu(cs, reset_counters, RUN_ON_CPU_NULL);
            found = true;
        } else if (vcpu) {
            error_setg(errp, "vCPU %s has no TLB model", vcpu);
            return;
        }
    }
    if (!found) {
        if (vcpu) {
            error_setg(errp, "there is no vCPU %s", vcpu);
        } else {
            error_setg(errp, "no vCPU has a TLB model");
        }
    }
}
