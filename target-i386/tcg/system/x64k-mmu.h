/*
 * x86 page-table walks: what a walk takes and gives, and the rights of a page
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Shared by the walker (excp_helper.c) and the code between the walker and
 * the hardware-TLB model (hwtlb-l0.c).
 */
#ifndef I386_TCG_SYSTEM_X64K_MMU_H
#define I386_TCG_SYSTEM_X64K_MMU_H

#include "cpu.h"
#include "exec/cputlb.h"
#include "exec/page-protection.h"
#include "target/i386/x64k.h"

typedef struct TranslateParams {
    target_ulong addr;
    target_ulong cr3;
    int pg_mode;
    int mmu_idx;                /* without MMU_FETCH_IDX */
    int ptw_idx;
    MMUAccessType access_type;
} TranslateParams;

typedef struct TranslateResult {
    hwaddr paddr;
    int prot;
    int page_size;
    /*
     * For the hardware-TLB model, by x86_walk_modelled() alone; @level,
     * @entry and @group also after a fault.
     */
    hwaddr gpa;                 /* @paddr before the A20 mask */
    uint64_t rights;            /* RW, USER, NX of all levels; the key */
    int level;                  /* 5 to 1: the last table that was read */
    hwaddr entry[6];            /* physical address of each entry, by level */
    X64KGroup group;            /* outcome of the group check, if any */
    bool global;
    bool dirty;                 /* D of the leaf; of all 16 in a group */
} TranslateResult;

typedef enum TranslateFaultStage2 {
    S2_NONE,
    S2_GPA,
    S2_GPT,
} TranslateFaultStage2;

typedef struct TranslateFault {
    int exception_index;
    int error_code;
    target_ulong cr2;
    TranslateFaultStage2 stage2;
} TranslateFault;

/*
 * The page walker, for the hardware-TLB model.  False: @err says why, @out how
 * far the walk came.
 */
bool x86_walk_modelled(CPUX86State *env, const TranslateParams *in,
                       TranslateResult *out, TranslateFault *err, uint64_t ra);

/* The same, counted by the model as a walk for @va; @leaf is for the model. */
bool x86_hwtlb_walk(CPUX86State *env, const TranslateParams *in, vaddr va,
                    TranslateResult *out, TranslateFault *err, uintptr_t ra,
                    HWTLBWalkKind kind, HWTLBLeaf *leaf);

/* RAM that page tables can be read from as it is now, or NULL. */
const TLBRam *x86_hwtlb_ram(CPUX86State *env);

/* The same past the model, for the guest of an SVM guest. */
bool x86_hwtlb_bypass(CPUX86State *env, const TranslateParams *in,
                      TranslateResult *out, TranslateFault *err,
                      uintptr_t ra);

QEMU_BUILD_BUG_ON(MMU_PHYS_IDX != 6 || MMU_NESTED_IDX != 7 ||
                  MMU_FETCH_IDX != 8);

/* Does the model of this vCPU, which has one, translate for @mmu_idx? */
static inline bool x86_hwtlb_translates(const CPUX86State *env, int mmu_idx)
{
    return (env->cr[0] & CR0_PG_MASK) && !(env->hflags & HF_GUEST_MASK) &&
           (mmu_idx & 6) != MMU_PHYS_IDX;
}

/*
 * CPUTLBRefillFn: what the model has for @addr, with the rights that @type
 * needs, goes to QEMU's software TLB.  Nothing happens if it has nothing such.
 */
void *x86_hwtlb_refill(CPUState *cs, vaddr addr, MMUAccessType type,
                       int mmu_idx, uintptr_t index);

/*
 * tlb_fill through the model.  False: @err says why; no exception is raised.
 */
bool x86_hwtlb_fill(CPUX86State *env, vaddr addr, MMUAccessType type,
                    int mmu_idx, TranslateFault *err, uintptr_t ra);

/*
 * PAGE_* that the levels of a walk together give, protection keys apart.
 * @rights has RW and USER set where all levels have them, NX where any has it;
 * a user's access to a page without USER has faulted already.
 */
static inline int x86_page_prot(int pg_mode, bool is_user, bool is_smap,
                                uint64_t rights)
{
    int prot = 0;

    if (!is_smap || !(rights & PG_USER_MASK)) {
        prot |= PAGE_READ;
        if ((rights & PG_RW_MASK) || !(is_user || (pg_mode & PG_MODE_WP))) {
            prot |= PAGE_WRITE;
        }
    }
    if (!(rights & PG_NX_MASK) &&
        (is_user ||
         !((pg_mode & PG_MODE_SMEP) && (rights & PG_USER_MASK)))) {
        prot |= PAGE_EXEC;
    }
    return prot;
}

/* PKRU or PKRS, whichever is for a page of these @rights; 0: no limits. */
static inline uint32_t x86_pkr(CPUX86State *env, int pg_mode, uint64_t rights)
{
    if (rights & PG_USER_MASK) {
        return pg_mode & PG_MODE_PKE ? env->pkru : 0;
    }
    return pg_mode & PG_MODE_PKS ? env->pkrs : 0;
}

/* PAGE_* that @pkr leaves to the protection key of @pte. */
static inline int x86_pkr_prot(uint32_t pkr, int pg_mode, bool is_user,
                               uint64_t pte)
{
    int prot = PAGE_READ | PAGE_WRITE | PAGE_EXEC;
    uint32_t pk = (pte & PG_PKRU_MASK) >> PG_PKRU_BIT;
    uint32_t pkr_ad = (pkr >> pk * 2) & 1;
    uint32_t pkr_wd = (pkr >> pk * 2) & 2;

    if (pkr_ad) {
        prot &= ~(PAGE_READ | PAGE_WRITE);
    } else if (pkr_wd && (is_user || (pg_mode & PG_MODE_WP))) {
        prot &= ~PAGE_WRITE;
    }
    return prot;
}

/* What there is of a mode in the rights of a page. */
static inline int x86_rights_mode(CPUX86State *env)
{
    int mode = env->cr[0] & CR0_WP_MASK;

    if (env->cr[4] & CR4_SMEP_MASK) {
        mode |= PG_MODE_SMEP;
    }
    if (unlikely(env->cr[4] & (CR4_PKE_MASK | CR4_PKS_MASK)) &&
        (env->hflags & HF_LMA_MASK)) {
        mode |= env->cr[4] & CR4_PKE_MASK ? PG_MODE_PKE : 0;
        mode |= env->cr[4] & CR4_PKS_MASK ? PG_MODE_PKS : 0;
    }
    return mode;
}

static QEMU_ALWAYS_INLINE inline
int x86_leaf_prot(CPUX86State *env, int mmu_idx, const HWTLBLeaf *leaf)
{
    const bool is_user = is_mmu_index_user(mmu_idx);
    const int mode = x86_rights_mode(env);
    uint32_t pkr;
    int prot;

    if (is_user && !(leaf->rights & PG_USER_MASK)) {
        return 0;
    }
    prot = x86_page_prot(mode, is_user, is_mmu_index_smap(mmu_idx),
                         leaf->rights);
    pkr = x86_pkr(env, mode, leaf->rights);
    if (pkr) {
        prot &= x86_pkr_prot(pkr, mode, is_user, leaf->rights);
    }
    return leaf->dirty ? prot : prot & ~PAGE_WRITE;
}

/*
 * Finds uses of translations that the page tables no longer have and that no
 * flush follows.
 */
typedef struct X86HwtlbVerify X86HwtlbVerify;

X86HwtlbVerify *x86_hwtlb_verify_new(CPUState *cs);
void x86_hwtlb_verify_free(X86HwtlbVerify *verify);

/* An access of @type to @va uses @entry: it was a @hit, or a walk made it. */
void x86_hwtlb_verify(CPUX86State *env, X86HwtlbVerify *verify,
                      const HWTLBEntry *entry, bool hit, vaddr va,
                      MMUAccessType type, int mmu_idx);

/* Software drops the translation of @va, or all that are (not) global. */
void x86_hwtlb_verify_invlpg(X86HwtlbVerify *verify, vaddr va);
void x86_hwtlb_verify_flush(X86HwtlbVerify *verify, bool keep_global);

#endif
