/*
 * Page walks for the hardware-TLB model: what they count, what they fill with
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "qemu/bswap.h"
#include "cpu.h"
#include "exec/exec-all.h"
#include "target/i386/hwtlb-cpu.h"
#include "target/i386/tcg/system/x64k-mmu.h"

QEMU_BUILD_BUG_ON(HWTLB_C_CONTIG_RACED - HWTLB_C_CONTIG_WELL_FORMED !=
                  X64K_GROUP_RACED - X64K_GROUP_WELL_FORMED);

/* PTEs in a line of the cache, and the most that are coalesced. */
#define LINE_PTES       8
#define MAX_PTES        16

static const HWTLBPteFormat pte_format = {
    .present = PG_PRESENT_MASK | PG_ACCESSED_MASK,
    .same = PG_RW_MASK | PG_USER_MASK | PG_PWT_MASK | PG_PCD_MASK |
            PG_DIRTY_MASK | PG_PSE_MASK | PG_GLOBAL_MASK | PG_PKRU_MASK |
            PG_NX_MASK,
    .frame = PG_ADDRESS_MASK,
};

static HWTLBClass leaf_class(const TranslateResult *out)
{
    if (out->group == X64K_GROUP_WELL_FORMED) {
        return HWTLB_64K_HINT;
    }
    switch (out->page_size) {
    case 1 << 12:
        return HWTLB_4K;
    case P64_PAGE_SIZE:
        return HWTLB_64K_LEAF;
    case 1 << 30:
        return HWTLB_1G;
    default:
        /* A 4 MB page of 32-bit paging is held as two entries of 2 MB. */
        return HWTLB_2M;
    }
}

/* The class of a 4 KB page, whose neighbours are @n PTEs that are read too. */
static HWTLBClass coalesce(CPUX86State *env, hwaddr pt_entry, unsigned n)
{
    const hwaddr first = pt_entry & ~(hwaddr)(n * sizeof(uint64_t) - 1);
    uint64_t pte[MAX_PTES];
    void *host;

    probe_access_full_mmu(env, first, 0, MMU_DATA_LOAD, MMU_PHYS_IDX, &host,
                          NULL);
    if (!host) {
        /* A page table that is not in memory: none but the walker reads it. */
        return HWTLB_4K;
    }
    for (unsigned i = 0; i < n; i++) {
        pte[i] = ldq_le_p(host + i * sizeof(uint64_t));
    }
    return hwtlb_coalesce(hwtlb_config(env->hwtlb), &pte_format, pte, n,
                          (pt_entry - first) / sizeof(uint64_t));
}

bool x86_hwtlb_walk(CPUX86State *env, const TranslateParams *in, vaddr va,
                    TranslateResult *out, TranslateFault *err, uintptr_t ra,
                    HWTLBWalkKind kind, HWTLBLeaf *leaf)
{
    HWTLB *tlb = env->hwtlb;
    const bool done = x86_walk_modelled(env, in, out, err, ra);
    HWTLBWalk walk = {
        .kind = done ? kind : HWTLB_WALK_FAULTED,
        .top = in->pg_mode & PG_MODE_LA57 ? 5 :
               in->pg_mode & PG_MODE_LMA ? 4 :
               in->pg_mode & PG_MODE_PAE ? 3 : 2,
        .last = out->level,
    };
    HWTLBClass class = HWTLB_4K;

    memcpy(walk.entry, out->entry, sizeof(walk.entry));
    if (out->group != X64K_GROUP_NONE) {
        walk.group = X64K_GROUP_SIZE;
        hwtlb_count(tlb, HWTLB_C_CONTIG_WELL_FORMED + out->group -
                    X64K_GROUP_WELL_FORMED, 1);
    }
    if (done) {
        const unsigned limit = hwtlb_config(tlb)->coalesce;

        class = leaf_class(out);
        /* The 32-bit PTEs of paging without PAE are left as they are. */
        if (limit > 1 && class == HWTLB_4K && (in->pg_mode & PG_MODE_PAE)) {
            walk.coalesce = limit > LINE_PTES ? MAX_PTES : LINE_PTES;
            class = coalesce(env, out->entry[1], walk.coalesce);
        }
        *leaf = (HWTLBLeaf) {
            .frame = out->gpa & ~MAKE_64BIT_MASK(0, hwtlb_class_bits(class)),
            .rights = out->rights,
            .class = class,
            .global = out->global && (env->cr[4] & CR4_PGE_MASK),
            .dirty = out->dirty,
        };
    }
    hwtlb_walk(tlb, va, &walk);
    return done;
}
