/*
 * x64k: enumeration, contiguous groups and invalidation
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/atomic.h"
#include "qemu/log.h"
#include "cpu.h"
#include "exec/cputlb.h"
#include "system/tcg.h"
#include "target/i386/hwtlb-cpu.h"
#include "target/i386/x64k.h"
#include "trace.h"

/* Ill-formed groups that one vCPU reports; later ones only count. */
#define MAX_REPORTED_GROUPS     65536

static const char *const group_names[] = {
    [X64K_GROUP_WELL_FORMED] = "well-formed",
    [X64K_GROUP_ABSENT] = "absent",
    [X64K_GROUP_UNMARKED] = "unmarked",
    [X64K_GROUP_FRAME] = "frame",
    [X64K_GROUP_ATTRIBUTES] = "attributes",
    [X64K_GROUP_RACED] = "raced",
};

bool x64k_cpuid(const X86CPU *cpu, uint32_t index, uint32_t *eax,
                uint32_t *ebx, uint32_t *ecx, uint32_t *edx)
{
    if (x64k_pmu_cpuid(&cpu->env, index, eax, ebx, ecx, edx)) {
        return true;
    }
    if (!cpu->x64k_contig && !cpu->x64k_leaf) {
        return false;
    }
    switch (index) {
    case X64K_CPUID_SIGNATURE:
        *eax = X64K_CPUID_FEATURES;
        *ebx = *ecx = *edx = 'X' | '6' << 8 | '4' << 16 | 'K' << 24;
        return true;
    case X64K_CPUID_FEATURES:
        *eax = X64K_REVISION;
        *ebx = x64k_features(cpu);
        *ecx = X64K_GROUP_BITS;
        *edx = 0;
        return true;
    default:
        return false;
    }
}

static char *get_contig_check(Object *obj, Error **errp)
{
    return g_strdup(X86_CPU(obj)->x64k_contig_fault ? "fault" : "degrade");
}

static void set_contig_check(Object *obj, const char *value, Error **errp)
{
    if (!g_str_equal(value, "degrade") && !g_str_equal(value, "fault")) {
        error_setg(errp, "x64k-contig-check=%s: must be 'degrade' or 'fault'",
                   value);
        return;
    }
    X86_CPU(obj)->x64k_contig_fault = g_str_equal(value, "fault");
}

void x64k_cpu_class_init(ObjectClass *oc)
{
    object_class_property_add_str(oc, "x64k-contig-check", get_contig_check,
                                  set_contig_check);
    object_class_property_set_description(oc, "x64k-contig-check",
        "what an ill-formed contiguous group does: degrade to a 4 KB "
        "translation (default), or fault");
    x86_hwtlb_class_init(oc);
}

bool x64k_cpu_realize(X86CPU *cpu, Error **errp)
{
    if ((cpu->x64k_contig || cpu->x64k_leaf) && !tcg_enabled()) {
        error_setg(errp, "x64k-contig and x64k-leaf need the TCG accelerator");
        return false;
    }
    if ((cpu->x64k_contig || cpu->x64k_leaf) &&
        !(cpu->env.features[FEAT_8000_0001_EDX] & CPUID_EXT2_LM)) {
        error_setg(errp, "x64k-contig and x64k-leaf need a 64-bit CPU model");
        return false;
    }
    if (!x86_hwtlb_realize(cpu, errp)) {
        return false;
    }
    if (!x64k_pmu_realize(cpu, errp)) {
        x86_hwtlb_unrealize(cpu);
        return false;
    }
    return true;
}

void x64k_cpu_unrealize(X86CPU *cpu)
{
    x64k_pmu_unrealize(cpu);
    x86_hwtlb_unrealize(cpu);
    g_clear_pointer(&cpu->x64k_reported_groups, g_hash_table_destroy);
}

/* What the PTEs of a group share, frames apart from PTE 0's on. */
#define GROUP_MASK \
    (PG_PRESENT_MASK | PG_P64_MASK | PG_ADDRESS_MASK | PG_P64_SAME_MASK)

/*
 * One difference per PTE and no branch: most groups that are marked are well
 * formed, and each fill of L0 pays for this.
 */
static inline bool group_well_formed(const uint64_t pte[X64K_GROUP_SIZE])
{
    const uint64_t slot_bits = P64_PAGE_SIZE - TARGET_PAGE_SIZE;
    const uint64_t want = (pte[0] & GROUP_MASK & ~slot_bits) |
                          PG_PRESENT_MASK | PG_P64_MASK;
    uint64_t diff = 0;

    for (unsigned k = 0; k < X64K_GROUP_SIZE; k++) {
        diff |= pte[k] ^ (want + k * TARGET_PAGE_SIZE);
    }
    return !(diff & GROUP_MASK);
}

X64KGroup x64k_group_check(const uint64_t pte[X64K_GROUP_SIZE],
                           unsigned *slot)
{
    const uint64_t first = pte[0];
    const uint64_t frame = first & PG_ADDRESS_MASK;

    if (likely(group_well_formed(pte))) {
        return X64K_GROUP_WELL_FORMED;
    }
    for (unsigned k = 0; k < X64K_GROUP_SIZE; k++) {
        *slot = k;
        if (!(pte[k] & PG_PRESENT_MASK)) {
            return X64K_GROUP_ABSENT;
        }
        if (!(pte[k] & PG_P64_MASK)) {
            return X64K_GROUP_UNMARKED;
        }
        if ((frame & (P64_PAGE_SIZE - 1)) ||
            (pte[k] & PG_ADDRESS_MASK) != frame + k * TARGET_PAGE_SIZE) {
            return X64K_GROUP_FRAME;
        }
        if ((pte[k] ^ first) & PG_P64_SAME_MASK) {
            return X64K_GROUP_ATTRIBUTES;
        }
    }
    g_assert_not_reached();
}

/* The contiguity sanitizer: each ill-formed group is told of once. */
static void report_group(CPUX86State *env, vaddr addr, target_ulong cr3,
                         unsigned slot, X64KGroup group)
{
    X86CPU *cpu = env_archcpu(env);
    vaddr base = addr & ~(vaddr)(P64_PAGE_SIZE - 1);
    char *key;

    if (!trace_event_get_state_backends(TRACE_X64K_ILL_FORMED_GROUP) &&
        !qemu_loglevel_mask(LOG_GUEST_ERROR)) {
        return;
    }
    if (!cpu->x64k_reported_groups) {
        cpu->x64k_reported_groups =
            g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    }
    if (g_hash_table_size(cpu->x64k_reported_groups) >= MAX_REPORTED_GROUPS) {
        return;
    }
    key = g_strdup_printf("%" PRIx64 ":%" VADDR_PRIx, (uint64_t)cr3, base);
    if (!g_hash_table_add(cpu->x64k_reported_groups, key)) {
        return;
    }
    trace_x64k_ill_formed_group(cr3, base, slot, group_names[group]);
    qemu_log_mask(LOG_GUEST_ERROR,
                  "x64k: ill-formed group: va 0x%" VADDR_PRIx " cr3 0x%"
                  PRIx64 " slot %u: %s\n", base, (uint64_t)cr3, slot,
                  group_names[group]);
}

X64KGroup x64k_group_walk(CPUX86State *env, uint64_t *walked,
                          uint64_t walked_pte, vaddr addr, target_ulong cr3,
                          uint32_t set, bool *all_dirty)
{
    uint64_t pte[X64K_GROUP_SIZE], all = -1;
    uint64_t *first;
    X64KGroup group;
    unsigned slot;

    if (!walked) {
        return X64K_GROUP_RACED;
    }
    first = (uint64_t *)((uintptr_t)walked &
                         ~(uintptr_t)(sizeof(pte) - 1));
    for (unsigned k = 0; k < X64K_GROUP_SIZE; k++) {
        pte[k] = le64_to_cpu(qatomic_read__nocheck(&first[k]));
    }
    if (pte[walked - first] != walked_pte) {
        return X64K_GROUP_RACED;
    }
    group = x64k_group_check(pte, &slot);
    if (group != X64K_GROUP_WELL_FORMED) {
        report_group(env, addr, cr3, slot, group);
        return group;
    }
    for (unsigned k = 0; k < X64K_GROUP_SIZE; k++) {
        all &= pte[k];
    }
    for (unsigned k = 0; (set & ~all) && k < X64K_GROUP_SIZE; k++) {
        uint64_t new = pte[k] | set;

        if (new != pte[k] &&
            qatomic_cmpxchg__nocheck(&first[k], cpu_to_le64(pte[k]),
                                     cpu_to_le64(new))
            != cpu_to_le64(pte[k])) {
            return X64K_GROUP_RACED;
        }
    }
    *all_dirty = (all | set) & PG_DIRTY_MASK;
    return X64K_GROUP_WELL_FORMED;
}

void x64k_invlpg(CPUX86State *env, vaddr addr)
{
    CPUState *cs = env_cpu(env);

    if (env->hwtlb) {
        /* Drops, through x86_hwtlb_drop(), the entry's pieces from L0. */
        x86_hwtlb_invalidate(env, addr, HWTLB_INVLPG);
    } else if (env->cr[4] & CR4_P64_MASK) {
        /* Nobody knows what size the translation has: drop the largest. */
        vaddr base = addr & ~(vaddr)(P64_PAGE_SIZE - 1);

        for (vaddr page = 0; page < P64_PAGE_SIZE; page += TARGET_PAGE_SIZE) {
            tlb_flush_page(cs, base + page);
        }
        return;
    }
    tlb_flush_page(cs, addr);
}

void x64k_flush(CPUX86State *env, bool keep_global, HWTLBCause cause)
{
    tlb_flush(env_cpu(env));
    if (env->hwtlb) {
        x86_hwtlb_flush(env, keep_global, cause);
    }
    if (env->pmu && cause != HWTLB_RESET) {
        x64k_pmu_flushed(env->pmu);
    }
}

void x64k_flush_modelled(CPUX86State *env, HWTLBCause cause)
{
    if (env->hwtlb) {
        x64k_flush(env, false, cause);
    }
    if (env->pmu && cause == HWTLB_SVM) {
        /* A #VMEXIT may have cut the delivery of an interrupt short. */
        x64k_pmu_interrupt(env, false);
    } else if (env->pmu) {
        x64k_pmu_restart(env->pmu);
    }
}
