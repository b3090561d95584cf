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
    /* For the hardware-TLB model; @level and @group also after a fault. */
    hwaddr gpa;                 /* @paddr before the A20 mask */
    uint64_t rights;            /* X86_RIGHTS_MASK of all levels together */
    int level;                  /* 5 to 1: the last table that was read */
    X64KGroup group;            /* outcome of the group check, if any */
    bool leaf_table;            /* the leaf came from a 64 KB leaf table */
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

/* The page walker; false: @err says why, @out says how far the walk came. */
bool mmu_translate(CPUX86State *env, const TranslateParams *in,
                   TranslateResult *out, TranslateFault *err, uint64_t ra);

/* The same through the hardware-TLB model of this vCPU. */
bool x86_hwtlb_translate(CPUX86State *env, const TranslateParams *in,
                         TranslateResult *out, TranslateFault *err,
                         uint64_t ra);

/* Bits of a PTE that say who may do what. */
#define X86_RIGHTS_MASK \
    (PG_RW_MASK | PG_USER_MASK | PG_NX_MASK | PG_PKRU_MASK)

/*
 * PAGE_* that @rights give an access made through @mmu_idx, protection keys
 * apart.  @rights has RW and USER set where all levels have them, and NX
 * where any level has it.
 */
static inline int x86_page_prot(int pg_mode, int mmu_idx, uint64_t rights)
{
    const bool is_user = is_mmu_index_user(mmu_idx);
    int prot = 0;

    if (is_user && !(rights & PG_USER_MASK)) {
        return 0;
    }
    if (!is_mmu_index_smap(mmu_idx) || !(rights & PG_USER_MASK)) {
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

/* PAGE_* that the protection key in @rights leaves. */
static inline int x86_pkey_prot(CPUX86State *env, int pg_mode, int mmu_idx,
                                uint64_t rights)
{
    int prot = PAGE_READ | PAGE_WRITE | PAGE_EXEC;
    uint32_t pkr;

    if (rights & PG_USER_MASK) {
        pkr = pg_mode & PG_MODE_PKE ? env->pkru : 0;
    } else {
        pkr = pg_mode & PG_MODE_PKS ? env->pkrs : 0;
    }
    if (pkr) {
        uint32_t pk = (rights & PG_PKRU_MASK) >> PG_PKRU_BIT;
        uint32_t pkr_ad = (pkr >> pk * 2) & 1;
        uint32_t pkr_wd = (pkr >> pk * 2) & 2;

        if (pkr_ad) {
            prot &= ~(PAGE_READ | PAGE_WRITE);
        } else if (pkr_wd && (is_mmu_index_user(mmu_idx) ||
                              (pg_mode & PG_MODE_WP))) {
            prot &= ~PAGE_WRITE;
        }
    }
    return prot;
}

#endif
