/*
 * Between QEMU's software TLB (L0), the hardware-TLB model and the walker
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Every L0 miss of a paged access comes here.  The model decides whether the
 * processor would have missed too; only then, or when an entry that was hit
 * is clean or lacks rights, are page tables read.
 *
 * Translated code looks at the iTLB only where a block begins and where it
 * leaves its page.  That is enough because a fetch from the page that is being
 * executed would hit, unless a data access in the middle of the block makes
 * the iTLB lose that page (to a translation of another size).  Then the
 * instruction is started again, alone.  L0 loses the data that L1 has lost when
 * that access comes again, so that those before it are not seen twice; and the
 * code when the instruction is done, so that the next fetch is seen where the
 * processor would do it.
 */
#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "cpu.h"
#include "exec/cputlb.h"
#include "exec/exec-all.h"
#include "exec/translation-block.h"
#include "target/i386/hwtlb-cpu.h"
#include "target/i386/tcg/system/x64k-mmu.h"

QEMU_BUILD_BUG_ON((int)HWTLB_LOAD != (int)MMU_DATA_LOAD ||
                  (int)HWTLB_STORE != (int)MMU_DATA_STORE ||
                  (int)HWTLB_FETCH != (int)MMU_INST_FETCH);
QEMU_BUILD_BUG_ON(PG_MODE_WP != CR0_WP_MASK);

/* L0 tables of data that the model translates. */
#define DATA_IDXMAP     ((1u << MMU_PHYS_IDX) - 1)

typedef struct X86HwtlbL0 {
    CPUState *cs;
    TLBRam ram;                 /* where most pages are */
    bool observe_every;
    bool in_block;              /* a block's data access is filling the model */
    bool code_lost;             /* L1 has lost what L0 still has, ... */
    vaddr lost_at;              /* ... by an access to this address */
    /* What a look-up has dropped; a walk may yet start all that again. */
    bool holding;
    unsigned n_held;
    struct {
        const uint64_t *pieces;
        vaddr va;
        HWTLBClass class;
        uint16_t idxmap;
    } held[4];
} X86HwtlbL0;

HWTLB *x86_hwtlb_new(X86CPU *cpu, const HWTLBConfig *config)
{
    CPUState *cs = CPU(cpu);
    X86HwtlbL0 *l0 = g_new0(X86HwtlbL0, 1);

    l0->cs = cs;
    l0->observe_every = config->observe_every;
    tcg_cflags_set(cs, CF_TLB_PAGES);
    if (config->observe_every) {
        tcg_cflags_set(cs, CF_TLB_BLOCKS | CF_NO_GOTO_TB | CF_NO_GOTO_PTR | 1);
    }
    return hwtlb_new(config, x86_hwtlb_drop, l0);
}

void x86_hwtlb_free(HWTLB *tlb)
{
    g_free(hwtlb_opaque(tlb));
    hwtlb_free(tlb);
}

static inline void drop(X86HwtlbL0 *l0, bool fetch, HWTLBClass class, vaddr va,
                        const uint64_t *pieces, uint16_t idxmap)
{
    unsigned pages;

    if (likely(class == HWTLB_4K)) {
        tlb_evict_page(l0->cs, va, idxmap, fetch);
        return;
    }
    if (class == HWTLB_1G) {
        tlb_flush_by_mmuidx(l0->cs, idxmap);
        return;
    }
    pages = 1u << (hwtlb_class_bits(class) - TARGET_PAGE_BITS);
    for (unsigned word = 0; word * 64 < pages; word++) {
        for (uint64_t bits = pieces[word]; bits; bits &= bits - 1) {
            vaddr page = word * 64 + ctz64(bits);

            tlb_evict_page(l0->cs, va + (page << TARGET_PAGE_BITS), idxmap,
                           fetch);
        }
    }
}

void x86_hwtlb_drop(void *opaque, HWTLBLevelId level, const HWTLBEntry *entry)
{
    X86HwtlbL0 *l0 = opaque;
    const bool fetch = level == HWTLB_L1I;

    if (l0->holding) {
        /* One look-up drops two at most: the victim, and the set's last. */
        g_assert(l0->n_held < ARRAY_SIZE(l0->held));
        l0->held[l0->n_held].pieces = entry->l0_pieces;
        l0->held[l0->n_held].va = entry->va;
        l0->held[l0->n_held].class = entry->leaf.class;
        l0->held[l0->n_held].idxmap = entry->l0_idxmap;
        l0->n_held++;
        return;
    }
    if (l0->in_block && (fetch || l0->code_lost)) {
        l0->code_lost = true;
        return;
    }
    drop(l0, fetch, entry->leaf.class, entry->va, entry->l0_pieces,
         entry->l0_idxmap);
}

/* Nobody writes to pieces until the slot's new entry gives some to L0. */
static inline void drop_held(X86HwtlbL0 *l0)
{
    for (unsigned i = 0; i < l0->n_held; i++) {
        drop(l0, false, l0->held[i].class, l0->held[i].va, l0->held[i].pieces,
             l0->held[i].idxmap);
    }
    l0->n_held = 0;
}

void x86_hwtlb_invalidate(CPUX86State *env, vaddr addr, HWTLBCause cause)
{
    const vaddr half = 1 << hwtlb_class_bits(HWTLB_2M);

    hwtlb_invalidate(env->hwtlb, addr, cause);
    if (env->cr[4] & CR4_PAE_MASK) {
        return;
    }
    /* A page of 4 MB is held as two entries. */
    for (int level = 0; level < HWTLB_LEVELS; level++) {
        const HWTLBEntry *entry = hwtlb_find(env->hwtlb, level, addr ^ half);

        if (entry && entry->leaf.class == HWTLB_2M) {
            hwtlb_invalidate(env->hwtlb, addr ^ half, cause);
        }
    }
}

static void drop_lost(CPUState *cs, run_on_cpu_data data)
{
    X86HwtlbL0 *l0 = data.host_ptr;

    tlb_flush(cs);
    l0->code_lost = false;
}

/* Starts the instruction at @ra again, of which an access to @va lost code. */
static void restart(X86HwtlbL0 *l0, vaddr va, uintptr_t ra)
{
    CPUState *cs = l0->cs;

    l0->lost_at = va;
    if (cpu_restore_state(cs, ra)) {
        l0->n_held = 0;
        async_run_on_cpu(cs, drop_lost, RUN_ON_CPU_HOST_PTR(l0));
        cs->cflags_next_tb = cs->tcg_cflags | CF_NO_GOTO_TB | CF_NO_GOTO_PTR |
                             CF_NOIRQ | 1;
        cpu_loop_exit_noexc(cs);
    }
    /* No block is being executed. */
    drop_lost(cs, RUN_ON_CPU_HOST_PTR(l0));
}

/* What there is of a mode in the rights of a page. */
static inline int rights_mode(CPUX86State *env)
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

static inline int leaf_prot(CPUX86State *env, int mmu_idx,
                            const HWTLBLeaf *leaf)
{
    const bool is_user = is_mmu_index_user(mmu_idx);
    const int mode = rights_mode(env);
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

/* True if all that keeps an access from @leaf is that it is clean. */
static bool is_dirty_assist(CPUX86State *env, int mmu_idx, MMUAccessType type,
                            HWTLBLeaf leaf)
{
    bool was_clean = !leaf.dirty;

    leaf.dirty = true;
    return was_clean && (leaf_prot(env, mmu_idx, &leaf) & (1 << type));
}

/* @entry, or NULL, is not enough: reads the page tables. */
static G_GNUC_NO_INLINE
HWTLBEntry *walk(CPUX86State *env, X86HwtlbL0 *l0, HWTLBEntry *entry,
                 vaddr addr, vaddr va, MMUAccessType type, int mmu_idx,
                 int *prot, TranslateFault *err, uintptr_t ra)
{
    HWTLB *tlb = env->hwtlb;
    const TranslateParams in = {
        .addr = addr,
        .cr3 = env->cr[3],
        .pg_mode = get_pg_mode(env),
        .mmu_idx = mmu_idx,
        .ptw_idx = MMU_PHYS_IDX,
        .access_type = type,
    };
    const HWTLBWalkKind kind =
        !entry ? HWTLB_WALK_COMPLETED :
        is_dirty_assist(env, mmu_idx, type, entry->leaf) ? HWTLB_WALK_DIRTY :
                                                           HWTLB_WALK_RIGHTS;
    TranslateResult out;
    HWTLBLeaf leaf;

    if (!x86_hwtlb_walk(env, &in, va, &out, err, ra, kind, &leaf)) {
        /* A page fault drops what is cached of its address. */
        x86_hwtlb_invalidate(env, va, HWTLB_FAULT);
        return NULL;
    }
    l0->in_block = type != MMU_INST_FETCH && ra && !l0->observe_every &&
                   !l0->code_lost;
    entry = entry ? hwtlb_update(tlb, (HWTLBAccess)type, va, &leaf, NULL)
                  : hwtlb_fill(tlb, (HWTLBAccess)type, va, &leaf, NULL);
    if (unlikely(l0->code_lost) && l0->in_block) {
        l0->in_block = false;
        restart(l0, va, ra);
    }
    l0->in_block = false;
    *prot = out.prot;
    return entry;
}

static bool is_canonical(CPUX86State *env, vaddr addr)
{
    int shift = env->cr[4] & CR4_LA57_MASK ? 56 : 47;
    int64_t sext = (int64_t)addr >> shift;

    return !(env->hflags & HF_LMA_MASK) || sext == 0 || sext == -1;
}

bool x86_hwtlb_fill(CPUX86State *env, vaddr addr, MMUAccessType type,
                    int mmu_idx, TranslateFault *err, uintptr_t ra)
{
    HWTLB *tlb = env->hwtlb;
    X86HwtlbL0 *l0 = hwtlb_opaque(tlb);
    const bool fetch = type == MMU_INST_FETCH;
    const int l0_idx = mmu_idx;
    vaddr size = TARGET_PAGE_SIZE;
    HWTLBEntry *entry;
    vaddr va;
    int prot = 0;

    mmu_idx &= ~MMU_FETCH_IDX;
    va = is_mmu_index_32(mmu_idx) ? (uint32_t)addr : addr;
    if (unlikely(!is_canonical(env, va))) {
        *err = (TranslateFault){
            .exception_index = EXCP0D_GPF,
            /* non-canonical #GP doesn't change CR2 */
            .cr2 = env->cr[2],
        };
        return false;
    }
    if (unlikely(l0->code_lost) && !fetch && va == l0->lost_at) {
        tlb_flush_by_mmuidx(l0->cs, DATA_IDXMAP);
    }
    if (unlikely(l0->n_held)) {
        /* A walk of tables outside RAM was cut short, and held these. */
        tlb_flush_by_mmuidx(l0->cs, DATA_IDXMAP);
        l0->n_held = 0;
    }
    l0->holding = !fetch;
    entry = hwtlb_lookup(tlb, (HWTLBAccess)type, va, NULL);
    l0->holding = false;
    if (likely(entry)) {
        prot = leaf_prot(env, mmu_idx, &entry->leaf);
    }
    if (unlikely(!(prot & (1 << type)))) {
        entry = walk(env, l0, entry, addr, va, type, mmu_idx, &prot, err, ra);
        if (!entry) {
            drop_held(l0);
            return false;
        }
    }
    drop_held(l0);
    if (likely(va == addr) && (fetch || !l0->observe_every)) {
        hwtlb_note_l0(entry, va, l0_idx);
    } else {
        /*
         * L0 asks again each time.  If each access is observed, it has to (for
         * fetches there is CF_TLB_BLOCKS); and it must not keep a 32-bit
         * address that wrapped under the one that it was asked for.
         */
        size = 1;
    }
    /* A data access must not hide a fetch from the iTLB, nor the reverse. */
    prot = fetch ? PAGE_EXEC : prot & ~PAGE_EXEC;
    tlb_set_page_in_ram(env_cpu(env), &l0->ram, addr,
                        (entry->leaf.frame + (va - entry->va)) &
                        x86_get_a20_mask(env),
                        cpu_get_mem_attrs(env), prot, l0_idx, size);
    return true;
}

bool x86_hwtlb_bypass(CPUX86State *env, const TranslateParams *in,
                      TranslateResult *out, TranslateFault *err, uintptr_t ra)
{
    hwtlb_count(env->hwtlb, HWTLB_C_SVM_BYPASS, 1);
    return x86_walk_modelled(env, in, out, err, ra);
}
