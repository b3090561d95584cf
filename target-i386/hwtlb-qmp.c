/*
 * The hardware-TLB model of an x86 vCPU: what management sees of it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-misc-target.h"
#include "qemu/units.h"
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

/* No geometry takes more than a small part of it. */
#define MAX_FILE        MiB

/* A text file, whole; NULL: @errp says why.  What never ends is none. */
static char *read_file(const char *path, Error **errp)
{
    g_autofree char *text = g_malloc(MAX_FILE + 1);
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    size_t size = 0;
    ssize_t n = 1;
    struct stat st;

    if (fd < 0) {
        error_setg_errno(errp, errno, "hwtlb-config=%s", path);
        return NULL;
    }
    if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
        error_setg(errp, "hwtlb-config=%s: is not a regular file", path);
        close(fd);
        return NULL;
    }
    while (n && size <= MAX_FILE) {
        n = RETRY_ON_EINTR(read(fd, text + size, MAX_FILE + 1 - size));
        if (n < 0) {
            error_setg_errno(errp, errno, "hwtlb-config=%s", path);
            close(fd);
            return NULL;
        }
        size += n;
    }
    close(fd);
    if (size > MAX_FILE) {
        error_setg(errp, "hwtlb-config=%s: is larger than 1 MiB, which no "
                   "geometry is", path);
        return NULL;
    }
    text[size] = 0;
    return g_steal_pointer(&text);
}

static bool config_from_file(const char *path, HWTLBConfig *config,
                             Error **errp)
{
    g_autofree char *text = read_file(path, errp);

    if (!text) {
        return false;
    }
    if (!hwtlb_config_from_json(text, config, errp)) {
        error_prepend(errp, "hwtlb-config=%s: ", path);
        return false;
    }
    config->name = path;        /* the property lives as long as the CPU */
    return true;
}

/* Only a model knows what to do with the others. */
static bool check_without_model(const X86CPU *cpu, Error **errp)
{
    const char *option =
        cpu->hwtlb_options.coalesce ? "hwtlb-coalesce" :
        cpu->hwtlb_options.seed ? "hwtlb-seed" :
        cpu->hwtlb_options.verify ? "hwtlb-verify" :
        cpu->hwtlb_options.observe_every ? "hwtlb-observe" : NULL;

    if (option) {
        error_setg(errp, "%s needs a TLB model: give hwtlb=PRESET or "
                   "hwtlb-config=FILE as well", option);
    }
    return !option;
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
        return check_without_model(cpu, errp);
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
