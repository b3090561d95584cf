/*
 * x64k: 64 KB pages for x86-64
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The architecture is specified in docs/specs/x64k.rst.  This header has its
 * bits and what the rest of the target calls.
 */
#ifndef I386_X64K_H
#define I386_X64K_H

#include "cpu.h"
#include "migration/vmstate.h"
#include "hw/tlb/hwtlb.h"
#include "target/i386/x64k-pmu.h"
#include "target/i386/x64k-pte.h"

#define X64K_CPUID_SIGNATURE    0x40006400
#define X64K_CPUID_FEATURES     0x40006401
#define X64K_REVISION           1
#define X64K_FEATURE_HINT       (1u << 0)
#define X64K_FEATURE_LEAF       (1u << 1)
#define X64K_GROUP_BITS         4       /* log2 of the PTEs of a group */

/* PTEs of a group may differ in nothing else but A, D and software bits. */
#define PG_P64_SAME_MASK \
    (PG_RW_MASK | PG_USER_MASK | PG_PWT_MASK | PG_PCD_MASK | PG_PSE_MASK | \
     PG_GLOBAL_MASK | PG_PKRU_MASK | PG_NX_MASK)

#define X64K_GROUP_SIZE         (1u << X64K_GROUP_BITS)

/* Outcome of a group check; the order is that of the contig counters. */
typedef enum X64KGroup {
    X64K_GROUP_NONE,            /* the walk met no P64 PTE */
    X64K_GROUP_WELL_FORMED,
    X64K_GROUP_ABSENT,
    X64K_GROUP_UNMARKED,
    X64K_GROUP_FRAME,
    X64K_GROUP_ATTRIBUTES,
    X64K_GROUP_RACED,
} X64KGroup;

/* X64K_FEATURE_* that @cpu enumerates. */
static inline uint32_t x64k_features(const X86CPU *cpu)
{
    return (cpu->x64k_contig ? X64K_FEATURE_HINT : 0) |
           (cpu->x64k_leaf ? X64K_FEATURE_LEAF : 0);
}

/* Answers CPUID @index if it is one of x64k's leaves and enumerated. */
bool x64k_cpuid(const X86CPU *cpu, uint32_t index, uint32_t *eax,
                uint32_t *ebx, uint32_t *ecx, uint32_t *edx);

/* Adds the properties that are more than a field of X86CPU. */
void x64k_cpu_class_init(ObjectClass *oc);

/* Checks the properties and creates what they ask for. */
bool x64k_cpu_realize(X86CPU *cpu, Error **errp);
void x64k_cpu_unrealize(X86CPU *cpu);

/*
 * Is the group @pte well formed?  If not, @slot is the first PTE that is at
 * fault, of whose faults the first in the order of X64KGroup is returned.
 */
X64KGroup x64k_group_check(const uint64_t pte[X64K_GROUP_SIZE],
                           unsigned *slot);

/*
 * Checks the group of the PTE at @walked, which a walk for @addr has read as
 * @walked_pte, and sets @set (A, or A and D) in all 16 if it is well formed.
 * @walked is NULL if the page table is not in RAM: its group counts as raced,
 * since it cannot be locked.  @all_dirty: all 16 have D; left alone if the
 * group is not well formed.
 */
X64KGroup x64k_group_walk(CPUX86State *env, uint64_t *walked,
                          uint64_t walked_pte, vaddr addr, target_ulong cr3,
                          uint32_t set, bool *all_dirty);

#ifndef CONFIG_USER_ONLY
/* The features that the guest was given; a CPU without them refuses it. */
extern const VMStateDescription vmstate_x64k;
/* What the TLB model has counted; a CPU with another geometry refuses it. */
extern const VMStateDescription vmstate_hwtlb;
#endif

/* PG_MODE_P64_* of a CPU whose CR4.P64 is set. */
static inline int x64k_pg_mode(const X86CPU *cpu)
{
    return (cpu->x64k_contig ? PG_MODE_P64_HINT : 0) |
           (cpu->x64k_leaf ? PG_MODE_P64_LEAF : 0);
}

/* INVLPG: drops the translations of @addr, of whatever size, from all. */
void x64k_invlpg(CPUX86State *env, vaddr addr);

/*
 * An architectural flush of all translations, or of all that are not global:
 * from L0, which cannot tell them apart, all; from the model, what the
 * processor would lose.
 */
#ifdef CONFIG_USER_ONLY
static inline void x64k_flush(CPUX86State *env, bool keep_global,
                              HWTLBCause cause)
{
}
static inline void x64k_flush_modelled(CPUX86State *env, HWTLBCause cause)
{
}
#else
void x64k_flush(CPUX86State *env, bool keep_global, HWTLBCause cause);

/*
 * A flush that the processor does and QEMU does not need: nothing happens
 * unless a hardware TLB is modelled.
 */
void x64k_flush_modelled(CPUX86State *env, HWTLBCause cause);
#endif

#endif
