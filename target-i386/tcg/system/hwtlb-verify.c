/*
 * Translations of the hardware-TLB model that the page tables no longer have
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A TLB may go on using what the page tables had when it was filled, until
 * software drops it.  Software that changes a page table, forgets to drop the
 * old translation (INVLPG, or a shootdown on another processor), and then uses
 * it, has a bug that often does no harm for long.  With hwtlb-verify=on each
 * use is compared with the page tables as they are.  Nothing is counted but
 * the difference, and no A or D bit is set.
 */
#include "qemu/osdep.h"
#include "qemu/log.h"
#include "cpu.h"
#include "target/i386/hwtlb-cpu.h"
#include "target/i386/x64k-pte.h"
#include "target/i386/tcg/system/x64k-mmu.h"
#include "trace.h"

/* So many pages are reported in all. */
#define MAX_REPORTED    1024

/*
 * What the page tables have for @va, as a page of 4 KB; false: nothing.  A bit
 * that is reserved would fault, but it does not make a translation stale.
 */
static bool look(CPUX86State *env, vaddr va, HWTLBLeaf *leaf)
{
    const bool lma = env->hflags & HF_LMA_MASK;
    const bool pae = env->cr[4] & CR4_PAE_MASK;
    const bool pse = pae || (env->cr[4] & CR4_PSE_MASK);
    const unsigned bits = pae ? 9 : 10, bytes = pae ? 8 : 4;
    const uint64_t a20 = x86_get_a20_mask(env);
    unsigned level = !lma ? 2 + pae : env->cr[4] & CR4_LA57_MASK ? 5 : 4;
    uint64_t rights = PG_RW_MASK | PG_USER_MASK, pte;
    unsigned shift = 12 + bits * (level - 1);
    uint64_t at = (env->cr[3] & (lma ? PG_ADDRESS_MASK :
                                 pae ? 0xffffffe0 : 0xfffff000)) +
                  (va >> shift & ((1 << bits) - 1)) * bytes;

    for (;; level--) {
        pte = pae ? x86_ldq_phys(env_cpu(env), at & a20)
                  : x86_ldl_phys(env_cpu(env), at & a20);
        if (!(pte & PG_PRESENT_MASK)) {
            return false;
        }
        /* The entries of level 3 without long mode have no rights. */
        if (lma || level < 3) {
            rights = ((rights & pte) & (PG_RW_MASK | PG_USER_MASK)) |
                     ((rights | pte) & PG_NX_MASK);
        }
        if (level == 1 || (pse && level <= 3 && (pte & PG_PSE_MASK))) {
            break;
        }
        shift -= bits;
        if (level == 2 && lma) {
            const X86LastTable table =
                x86_pte_last_table(x86_leaf_tables(env), pte);

            shift = table.page_bits;
            at = x86_pte_last_addr(&table, va);
        } else {
            at = (pte & PG_ADDRESS_MASK) +
                 (va >> shift & ((1 << bits) - 1)) * bytes;
        }
    }

    *leaf = (HWTLBLeaf) {
        .frame = pte & PG_ADDRESS_MASK,
        .rights = rights | (pte & PG_PKRU_MASK),
        .dirty = pte & PG_DIRTY_MASK,
    };
    if (!pae) {
        leaf->frame = level == 1 ? pte & 0xfffff000 :
                      (pte & 0xffc00000) | (pte & 0x1fe000) << 19;
        leaf->rights = rights;
    }
    if (!(env->efer & MSR_EFER_NXE)) {
        leaf->rights &= ~PG_NX_MASK;
    }
    leaf->frame &= -(1ull << shift);
    leaf->frame += va & ((1ull << shift) - 1) & TARGET_PAGE_MASK;
    return true;
}

void x86_hwtlb_verify(CPUX86State *env, const HWTLBEntry *entry, vaddr va,
                      MMUAccessType type, int mmu_idx, GHashTable *reported)
{
    static const char *const uses[] = {
        [MMU_DATA_LOAD] = "load",
        [MMU_DATA_STORE] = "store",
        [MMU_INST_FETCH] = "fetch",
    };
    const vaddr page = va & TARGET_PAGE_MASK;
    const uint64_t had = entry->leaf.frame + (page - entry->va);
    HWTLBLeaf leaf = { };
    const char *what;

    if (!look(env, va, &leaf)) {
        what = "no translation";
    } else if (leaf.frame != had) {
        what = "another frame";
    } else if (!(x86_leaf_prot(env, mmu_idx, &leaf) & (1 << type))) {
        what = type == MMU_DATA_STORE && !leaf.dirty ? "D=0" : "fewer rights";
    } else {
        return;
    }
    hwtlb_count(env->hwtlb, HWTLB_C_STALE_USE, 1);
    trace_x64k_stale_use(uses[type], va, had, leaf.frame, what);
    if (g_hash_table_size(reported) < MAX_REPORTED &&
        g_hash_table_add(reported, GSIZE_TO_POINTER(page))) {
        qemu_log_mask(LOG_GUEST_ERROR,
                      "hwtlb: stale use: %s of va 0x%" VADDR_PRIx
                      " near rip 0x%" PRIx64 " hits frame 0x%" PRIx64
                      "; the page tables have %s (0x%" PRIx64 ")\n",
                      uses[type], va, (uint64_t)env->eip, had, what,
                      leaf.frame);
    }
}
