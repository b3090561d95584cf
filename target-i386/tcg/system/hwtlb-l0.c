/*
 * Between QEMU's software TLB (L0), the hardware-TLB model and the walker
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Every L0 miss of a paged access comes here.  The model decides whether the
 * processor would have missed too; only then, or when an entry that was hit
 * is clean or lacks rights, are page tables read.
 */
#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "cpu.h"
#include "exec/cputlb.h"
#include "target/i386/hwtlb-cpu.h"
#include "target/i386/tcg/system/x64k-mmu.h"

QEMU_BUILD_BUG_ON((int)HWTLB_LOAD != (int)MMU_DATA_LOAD ||
                  (int)HWTLB_STORE != (int)MMU_DATA_STORE ||
                  (int)HWTLB_FETCH != (int)MMU_INST_FETCH);
QEMU_BUILD_BUG_ON(HWTLB_C_CONTIG_RACED - HWTLB_C_CONTIG_WELL_FORMED !=
                  X64K_GROUP_RACED - X64K_GROUP_WELL_FORMED);

void x86_hwtlb_drop(void *opaque, HWTLBLevelId level, const HWTLBEntry *entry)
{
    CPUState *cs = opaque;
    const bool fetch = level == HWTLB_L1I;
    unsigned pages = 1u << (hwtlb_class_bits(entry->leaf.class) -
                            TARGET_PAGE_BITS);

    if (entry->leaf.class == HWTLB_1G) {
        tlb_flush_by_mmuidx(cs, entry->l0_idxmap);
        return;
    }
    for (unsigned word = 0; word * 64 < pages; word++) {
        for (uint64_t bits = entry->l0_pieces[word]; bits; bits &= bits - 1) {
            vaddr page = word * 64 + ctz64(bits);

            tlb_evict_page(cs, entry->va + (page << TARGET_PAGE_BITS),
                           entry->l0_idxmap, fetch);
        }
    }
}

static void count_walk(HWTLB *tlb, const TranslateParams *in,
                       const TranslateResult *out)
{
    const int top = in->pg_mode & PG_MODE_LA57 ? 5 :
                    in->pg_mode & PG_MODE_LMA ? 4 :
                    in->pg_mode & PG_MODE_PAE ? 3 : 2;

    for (int level = top; level >= out->level; level--) {
        hwtlb_count(tlb, HWTLB_C_WALK_READ_PML5 + 5 - level, 1);
    }
    if (out->group != X64K_GROUP_NONE) {
        hwtlb_count(tlb, HWTLB_C_WALK_READ_GROUP, X64K_GROUP_SIZE - 1);
        hwtlb_count(tlb, HWTLB_C_CONTIG_WELL_FORMED + out->group -
                    X64K_GROUP_WELL_FORMED, 1);
    }
}

static HWTLBClass leaf_class(const TranslateResult *out)
{
    if (out->leaf_table) {
        return HWTLB_64K_LEAF;
    }
    if (out->group == X64K_GROUP_WELL_FORMED) {
        return HWTLB_64K_HINT;
    }
    switch (out->page_size) {
    case 1 << 12:
        return HWTLB_4K;
    case 1 << 30:
        return HWTLB_1G;
    default:
        /* A 4 MB page of 32-bit paging is held as two entries of 2 MB. */
        return HWTLB_2M;
    }
}

static int leaf_prot(CPUX86State *env, const TranslateParams *in,
                     const HWTLBLeaf *leaf)
{
    int prot = x86_page_prot(in->pg_mode, in->mmu_idx, leaf->rights) &
               x86_pkey_prot(env, in->pg_mode, in->mmu_idx, leaf->rights);

    return leaf->dirty ? prot : prot & ~PAGE_WRITE;
}

/* True if all that keeps @in from @leaf is that it is clean. */
static bool is_dirty_assist(CPUX86State *env, const TranslateParams *in,
                            HWTLBLeaf leaf)
{
    bool was_clean = !leaf.dirty;

    leaf.dirty = true;
    return was_clean && (leaf_prot(env, in, &leaf) & (1 << in->access_type));
}

bool x86_hwtlb_translate(CPUX86State *env, const TranslateParams *in,
                         TranslateResult *out, TranslateFault *err,
                         uint64_t ra)
{
    HWTLB *tlb = env->hwtlb;
    const HWTLBAccess access = (HWTLBAccess)in->access_type;
    const bool fetch = access == HWTLB_FETCH;
    const vaddr va = is_mmu_index_32(in->mmu_idx) ? (uint32_t)in->addr
                                                  : in->addr;
    HWTLBEntry *entry;
    int prot = 0;

    if (unlikely(env->hflags & HF_GUEST_MASK)) {
        hwtlb_count(tlb, HWTLB_C_SVM_BYPASS, 1);
        return mmu_translate(env, in, out, err, ra);
    }

    entry = hwtlb_lookup(tlb, access, va);
    if (entry) {
        prot = leaf_prot(env, in, &entry->leaf);
    }
    if (!(prot & (1 << in->access_type))) {
        HWTLBLeaf leaf;
        HWTLBClass class;

        if (!mmu_translate(env, in, out, err, ra)) {
            count_walk(tlb, in, out);
            hwtlb_count(tlb, HWTLB_C_WALK_FAULTED, 1);
            /* A page fault drops what is cached of its address. */
            hwtlb_invalidate(tlb, va, HWTLB_FAULT);
            return false;
        }
        count_walk(tlb, in, out);
        class = leaf_class(out);
        leaf = (HWTLBLeaf) {
            .frame = out->gpa & ~MAKE_64BIT_MASK(0, hwtlb_class_bits(class)),
            .rights = out->rights,
            .class = class,
            .global = out->global && (env->cr[4] & CR4_PGE_MASK),
            .dirty = out->dirty,
        };
        if (!entry) {
            hwtlb_count(tlb, HWTLB_C_WALK_COMPLETED, 1);
            entry = hwtlb_fill(tlb, access, va, &leaf);
        } else {
            hwtlb_count(tlb, is_dirty_assist(env, in, entry->leaf) ?
                        HWTLB_C_WALK_DIRTY : HWTLB_C_WALK_RIGHTS, 1);
            entry = hwtlb_update(tlb, access, va, &leaf);
        }
        prot = out->prot;
    }

    out->paddr = (entry->leaf.frame + (va - entry->va)) &
                 x86_get_a20_mask(env);
    /* A data access must not hide a fetch from the iTLB, nor the reverse. */
    out->prot = fetch ? PAGE_EXEC : prot & ~PAGE_EXEC;
    if (likely(va == in->addr)) {
        out->page_size = TARGET_PAGE_SIZE;
        hwtlb_note_l0(entry, va, in->mmu_idx | (fetch ? MMU_FETCH_IDX : 0));
    } else {
        /* A 32-bit address that wrapped: L0 must not keep it under this one. */
        out->page_size = 1;
    }
    return true;
}
