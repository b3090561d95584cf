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
#include "exec/tb-flush.h"
#include "hw/tlb/tlb-park.h"
#include "exec/translation-block.h"
#include "hw/tlb/hwtlb-inline.h"
#include "target/i386/hwtlb-cpu.h"
#include "target/i386/x64k-pmu.h"
#include "target/i386/tcg/system/x64k-mmu.h"

QEMU_BUILD_BUG_ON((int)HWTLB_LOAD != (int)MMU_DATA_LOAD ||
                  (int)HWTLB_STORE != (int)MMU_DATA_STORE ||
                  (int)HWTLB_FETCH != (int)MMU_INST_FETCH);
QEMU_BUILD_BUG_ON(PG_MODE_WP != CR0_WP_MASK);

/* L0 tables of data and of code that the model translates. */
#define DATA_IDXMAP     ((1u << MMU_PHYS_IDX) - 1)
#define CODE_IDXMAP     (DATA_IDXMAP << MMU_FETCH_IDX)

/* Of each L0 table, pages whose place another has taken, by part of index. */
#define SPARES          256

typedef struct X86HwtlbL0 {
    CPUState *cs;
    TLBSpare spares[NB_MMU_MODES][SPARES];
    TLBRam ram;                 /* where most pages are */
    bool observe_every;
    bool watched;               /* by performance counters */
    X86HwtlbVerify *verify;     /* NULL: it is off */
    bool in_block;              /* a block's data access is filling the model */
    bool code_lost;             /* L1 has lost what L0 still has, ... */
    vaddr lost_at;              /* ... by an access to this address */
} X86HwtlbL0;

static CPUTLBRefillFn refill_watched;

/* Lets hits in the model refill L0 quickly, if that may be so now. */
static void refill_allow(X86HwtlbL0 *l0)
{
    l0->cs->neg.tlb.c.refill =
        l0->observe_every || l0->verify || l0->code_lost ? NULL :
        l0->watched ? refill_watched : x86_hwtlb_refill;
}

void x86_hwtlb_watch(HWTLB *tlb, bool watched)
{
    X86HwtlbL0 *l0 = hwtlb_opaque(tlb);

    l0->watched = watched;
    refill_allow(l0);
}

HWTLB *x86_hwtlb_new(X86CPU *cpu, const HWTLBConfig *config)
{
    CPUState *cs = CPU(cpu);
    X86HwtlbL0 *l0 = g_new0(X86HwtlbL0, 1);

    l0->cs = cs;
    l0->observe_every = config->observe_every;
    if (cpu->hwtlb_options.verify) {
        l0->verify = x86_hwtlb_verify_new(cs);
    }
    tcg_cflags_set(cs, CF_TLB_PAGES);
    if (config->observe_every) {
        tcg_cflags_set(cs, CF_TLB_BLOCKS | CF_NO_GOTO_TB | CF_NO_GOTO_PTR | 1);
    }
    refill_allow(l0);
    return hwtlb_new(config, x86_hwtlb_drop, l0);
}

void x86_hwtlb_free(HWTLB *tlb)
{
    X86HwtlbL0 *l0 = hwtlb_opaque(tlb);

    l0->cs->neg.tlb.c.refill = NULL;
    hwtlb_free(tlb);
    x86_hwtlb_verify_free(l0->verify);
    g_free(l0);
}

static QEMU_ALWAYS_INLINE inline
void park(X86HwtlbL0 *l0, HWTLBLevelId level, vaddr page, uint16_t idxmap)
{
    tlb_park_page(l0->cs, page, idxmap);
    if (level == HWTLB_L1I) {
        tlb_lose_code(l0->cs, page);
    }
}

/*
 * The same of all pages from @first to @last, whose code the caller sees to.
 * They are looked for: @pieces tells where, as that of an entry of 1 GB does.
 * Tables are not flushed whole, for that may replace them, and who has been
 * told of a page, or is about to be, goes on with pointers into them.
 */
static void park_range(X86HwtlbL0 *l0, vaddr first, vaddr last,
                       uint16_t idxmap, const uint64_t *pieces)
{
    for (; idxmap; idxmap &= idxmap - 1) {
        const unsigned mmu_idx = ctz32(idxmap);
        const CPUTLBDescFast *fast = &l0->cs->neg.tlb.f[mmu_idx];
        const size_t n = (fast->mask >> CPU_TLB_ENTRY_BITS) + 1;

        for (unsigned word = 0; word < HWTLB_PIECES / 64; word++) {
            for (uint64_t bits = pieces[word]; bits; bits &= bits - 1) {
                size_t i = (word * 64 + ctz64(bits)) & (n - 1);

                for (; i < n; i += HWTLB_PIECES) {
                    tlb_park_if_in(l0->cs, &fast->table[i], first, last,
                                   mmu_idx);
                }
            }
        }
        if (unlikely(l0->cs->neg.tlb.d[mmu_idx].vindex)) {
            for (unsigned i = 0; i < CPU_VTLB_SIZE; i++) {
                tlb_park_if_in(l0->cs, &l0->cs->neg.tlb.d[mmu_idx].vtable[i],
                               first, last, mmu_idx);
            }
        }
    }
}

/* L0 loses all that is in the tables of @idxmap. */
static void park_all(X86HwtlbL0 *l0, uint16_t idxmap)
{
    uint64_t pieces[HWTLB_PIECES / 64];

    memset(pieces, 0xff, sizeof(pieces));
    park_range(l0, 0, -1, idxmap, pieces);
}

void x86_hwtlb_drop(void *opaque, HWTLBLevelId level, const HWTLBEntry *entry)
{
    const HWTLBClass class = entry->leaf.class;
    X86HwtlbL0 *l0 = opaque;
    unsigned pages;

    if (l0->in_block && (level == HWTLB_L1I || l0->code_lost)) {
        l0->code_lost = true;
        refill_allow(l0);
    } else if (class == HWTLB_4K) {
        park(l0, level, entry->va, entry->l0_idxmap);
    } else if (class == HWTLB_1G) {
        park_range(l0, entry->va,
                   entry->va + (1ull << hwtlb_class_bits(class)) - 1,
                   entry->l0_idxmap, entry->l0_pieces);
        if (level == HWTLB_L1I) {
            /* Of any page, also one that L0 has lost to another. */
            tcg_flush_jmp_cache(l0->cs);
        }
    } else {
        pages = 1u << (hwtlb_class_bits(class) - TARGET_PAGE_BITS);
        for (unsigned word = 0; word * 64 < pages; word++) {
            for (uint64_t bits = entry->l0_pieces[word]; bits;
                 bits &= bits - 1) {
                vaddr page = word * 64 + ctz64(bits);

                park(l0, level, entry->va + (page << TARGET_PAGE_BITS),
                     entry->l0_idxmap);
            }
        }
    }
}

/* HWTLBDropFn for a hit, by the quick way: no block loses its code. */
static QEMU_ALWAYS_INLINE inline
void drop_hit(void *opaque, HWTLBLevelId level, const HWTLBEntry *entry)
{
    X86HwtlbL0 *l0 = opaque;

    if (likely(entry->leaf.class == HWTLB_4K)) {
        park(l0, level, entry->va, entry->l0_idxmap);
    } else {
        x86_hwtlb_drop(opaque, level, entry);
    }
}

void x86_hwtlb_invalidate(CPUX86State *env, vaddr addr, HWTLBCause cause)
{
    const vaddr half = 1 << hwtlb_class_bits(HWTLB_2M);
    X86HwtlbL0 *l0 = hwtlb_opaque(env->hwtlb);

    if (unlikely(l0->verify) && cause == HWTLB_INVLPG) {
        x86_hwtlb_verify_invlpg(l0->verify, addr);
    }
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

void x86_hwtlb_flush(CPUX86State *env, bool keep_global, HWTLBCause cause)
{
    X86HwtlbL0 *l0 = hwtlb_opaque(env->hwtlb);

    if (unlikely(l0->verify)) {
        x86_hwtlb_verify_flush(l0->verify, keep_global);
    }
    hwtlb_flush(env->hwtlb, keep_global, cause);
}

static void drop_lost(CPUState *cs, run_on_cpu_data data)
{
    X86HwtlbL0 *l0 = data.host_ptr;

    park_all(l0, DATA_IDXMAP | CODE_IDXMAP);
    tcg_flush_jmp_cache(cs);
    l0->code_lost = false;
    refill_allow(l0);
}

/* Starts the instruction at @ra again, of which an access to @va lost code. */
static void restart(X86HwtlbL0 *l0, vaddr va, uintptr_t ra)
{
    CPUState *cs = l0->cs;

    l0->lost_at = va;
    if (cpu_restore_state(cs, ra)) {
        async_run_on_cpu(cs, drop_lost, RUN_ON_CPU_HOST_PTR(l0));
        cs->cflags_next_tb = curr_cflags(cs) | CF_NO_GOTO_TB | CF_NO_GOTO_PTR |
                             CF_NOIRQ | 1;
        cpu_loop_exit_noexc(cs);
    }
    /* No block is being executed. */
    drop_lost(cs, RUN_ON_CPU_HOST_PTR(l0));
}

/* True if all that keeps an access from @leaf is that it is clean. */
static bool is_dirty_assist(CPUX86State *env, int mmu_idx, MMUAccessType type,
                            HWTLBLeaf leaf)
{
    bool was_clean = !leaf.dirty;

    leaf.dirty = true;
    return was_clean && (x86_leaf_prot(env, mmu_idx, &leaf) & (1 << type));
}

static bool is_canonical(CPUX86State *env, vaddr addr)
{
    int shift = env->cr[4] & CR4_LA57_MASK ? 56 : 47;
    int64_t sext = (int64_t)addr >> shift;

    return !(env->hflags & HF_LMA_MASK) || sext == 0 || sext == -1;
}

/*
 * What the model has for @va, @leaf or NULL, is not enough: reads the page
 * tables.  The model learns of the access only then, since a walk of tables
 * that are not in RAM may be cut short, to start all this again.
 */
static HWTLBEntry *walk(CPUX86State *env, X86HwtlbL0 *l0,
                        const HWTLBLeaf *leaf, vaddr addr, vaddr va,
                        MMUAccessType type, int mmu_idx, int *prot,
                        TranslateFault *err, uintptr_t ra)
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
        !leaf ? HWTLB_WALK_COMPLETED :
        is_dirty_assist(env, mmu_idx, type, *leaf) ? HWTLB_WALK_DIRTY :
                                                     HWTLB_WALK_RIGHTS;
    TranslateResult out;
    HWTLBLeaf found;
    HWTLBEntry *entry;
    bool done = x86_hwtlb_walk(env, &in, va, &out, err, ra, kind, &found);

    l0->in_block = done && type != MMU_INST_FETCH && ra &&
                   !l0->observe_every && !l0->code_lost;
    entry = leaf ? hwtlb_lookup(tlb, (HWTLBAccess)type, va) :
                   hwtlb_miss(tlb, (HWTLBAccess)type);
    if (!done) {
        /* A page fault drops what is cached of its address. */
        x86_hwtlb_invalidate(env, va, HWTLB_FAULT);
        return NULL;
    }
    if (env->pmu && (!entry || entry->leaf.class != found.class)) {
        x64k_pmu_walked(env->pmu, type, found.class);
    }
    entry = entry ? hwtlb_update(tlb, (HWTLBAccess)type, va, &found)
                  : hwtlb_fill(tlb, (HWTLBAccess)type, va, &found);
    if (unlikely(l0->code_lost) && l0->in_block) {
        l0->in_block = false;
        restart(l0, va, ra);
    }
    l0->in_block = false;
    *prot = out.prot;
    return entry;
}

/* L0 gets the page of @va, which is in @entry; @prot is what it allows. */
static QEMU_ALWAYS_INLINE inline
void set_page(CPUX86State *env, X86HwtlbL0 *l0, const HWTLBEntry *entry,
              vaddr addr, vaddr va, MMUAccessType type, int l0_idx, int prot,
              vaddr size)
{
    const uintptr_t index = (addr >> TARGET_PAGE_BITS) &
        (l0->cs->neg.tlb.f[l0_idx].mask >> CPU_TLB_ENTRY_BITS);

    tlb_keep(l0->cs, &l0->spares[l0_idx][index % SPARES],
             &l0->cs->neg.tlb.f[l0_idx].table[index],
             &l0->cs->neg.tlb.d[l0_idx].fulltlb[index]);
    /* A data access must not hide a fetch from the iTLB, nor the reverse. */
    prot = type == MMU_INST_FETCH ? PAGE_EXEC : prot & ~PAGE_EXEC;
    tlb_replace_page(l0->cs, &l0->ram, addr,
                     (entry->leaf.frame + (va - entry->va)) &
                     x86_get_a20_mask(env),
                     cpu_get_mem_attrs(env), prot, l0_idx, size,
                     entry->leaf.serial);
}

const TLBRam *x86_hwtlb_ram(CPUX86State *env)
{
    X86HwtlbL0 *l0 = hwtlb_opaque(env->hwtlb);

    return tlb_ram_is_current(l0->cs, &l0->ram, cpu_get_mem_attrs(env)) ?
           &l0->ram : NULL;
}

/* x86_hwtlb_refill() for one @type, which is constant. */
static QEMU_ALWAYS_INLINE inline
void *refill(CPUState *cs, vaddr addr, MMUAccessType type, int l0_idx,
             uintptr_t index)
{
    const vaddr page = addr & TARGET_PAGE_MASK;
    CPUTLBEntry *te = &cs->neg.tlb.f[l0_idx].table[index];
    CPUTLBEntryFull *full = &cs->neg.tlb.d[l0_idx].fulltlb[index];
    CPUX86State *env = cpu_env(cs);
    HWTLB *tlb = env->hwtlb;
    X86HwtlbL0 *l0 = tlb->drop_opaque;
    TLBSpare *spare = &l0->spares[l0_idx][index % SPARES];
    enum { PARKED, SPARE, NEW } how = NEW;
    uint64_t comparator;
    HWTLBProbe probe;
    HWTLBEntry *entry;
    int prot = 0;

    probe = hwtlb_probe(tlb, (HWTLBAccess)type, page);
    entry = probe.l1.entry ? probe.l1.entry : probe.stlb.entry;
    if (!entry) {
        return NULL;
    }
    /*
     * What is parked was set while paging was as it is now, and with the
     * rights that the entry has: all that changes these flushes L0.
     */
    if (likely(tlb_is_parked(te, full, page, entry->leaf.serial))) {
        __builtin_prefetch((void *)(addr + te->addend));
        how = type == MMU_DATA_STORE && !(full->prot & PAGE_WRITE) ? NEW
                                                                   : PARKED;
    } else if (tlb_is_spare(cs, spare, page, entry->leaf.serial)) {
        how = type == MMU_DATA_STORE && !(spare->full.prot & PAGE_WRITE) ?
              NEW : SPARE;
    }
    if (unlikely(how == NEW)) {
        if (unlikely(!x86_hwtlb_translates(env, l0_idx) ||
                     (is_mmu_index_32(l0_idx & ~MMU_FETCH_IDX) &&
                      addr > UINT32_MAX))) {
            return NULL;
        }
        prot = x86_leaf_prot(env, l0_idx & ~MMU_FETCH_IDX, &entry->leaf);
        if (unlikely(!(prot & (1 << type)))) {
            return NULL;
        }
    }
    entry = hwtlb_hit(tlb, (HWTLBAccess)type, page, probe, drop_hit);
    hwtlb_note(entry, page, l0_idx);
    if (how == SPARE) {
        tlb_swap(cs, l0_idx, spare, te, full);
    }
    if (likely(how != NEW)) {
        return tlb_unpark(te, full, page, type) ?
               (void *)(addr + te->addend) : NULL;
    }
    set_page(env, l0, entry, addr, addr, type, l0_idx, prot, TARGET_PAGE_SIZE);
    comparator = type == MMU_DATA_LOAD ? te->addr_read :
                 type == MMU_DATA_STORE ? te->addr_write : te->addr_code;
    return comparator == page ? (void *)(addr + te->addend) : NULL;
}

void *x86_hwtlb_refill(CPUState *cs, vaddr addr, MMUAccessType type,
                       int mmu_idx, uintptr_t index)
{
    switch (type) {
    case MMU_DATA_LOAD:
        return refill(cs, addr, MMU_DATA_LOAD, mmu_idx, index);
    case MMU_DATA_STORE:
        return refill(cs, addr, MMU_DATA_STORE, mmu_idx, index);
    default:
        return refill(cs, addr, MMU_INST_FETCH, mmu_idx, index);
    }
}

/* Performance counters, if there are any, learn of a look-up. */
static void tell_pmu(CPUX86State *env, X86HwtlbL0 *l0, MMUAccessType type)
{
    if (env->pmu && l0->observe_every) {
        x64k_pmu_looked_up(env->pmu, type);
    }
    if (l0->watched) {
        x64k_pmu_missed(env->pmu);
    }
}

/* x86_hwtlb_refill(), and performance counters are told of it. */
static void *refill_watched(CPUState *cs, vaddr addr, MMUAccessType type,
                            int mmu_idx, uintptr_t index)
{
    void *host = x86_hwtlb_refill(cs, addr, type, mmu_idx, index);

    x64k_pmu_missed(cpu_env(cs)->pmu);
    return host;
}

bool x86_hwtlb_fill(CPUX86State *env, vaddr addr, MMUAccessType type,
                    int l0_idx, TranslateFault *err, uintptr_t ra)
{
    HWTLB *tlb = env->hwtlb;
    X86HwtlbL0 *l0 = tlb->drop_opaque;
    const bool fetch = type == MMU_INST_FETCH;
    const int mmu_idx = l0_idx & ~MMU_FETCH_IDX;
    const vaddr va = is_mmu_index_32(mmu_idx) ? (uint32_t)addr : addr;
    vaddr size = TARGET_PAGE_SIZE;
    HWTLBProbe probe;
    HWTLBEntry *entry;
    bool hit;
    int prot = 0;

    if (unlikely(!is_canonical(env, va))) {
        *err = (TranslateFault){
            .exception_index = EXCP0D_GPF,
            /* non-canonical #GP doesn't change CR2 */
            .cr2 = env->cr[2],
        };
        return false;
    }
    if (unlikely(l0->code_lost) && !fetch && va == l0->lost_at) {
        park_all(l0, DATA_IDXMAP);
    }
    probe = hwtlb_probe(tlb, (HWTLBAccess)type, va);
    entry = probe.l1.entry ? probe.l1.entry : probe.stlb.entry;
    if (entry) {
        prot = x86_leaf_prot(env, mmu_idx, &entry->leaf);
    }
    hit = prot & (1 << type);
    if (hit) {
        entry = hwtlb_lookup(tlb, (HWTLBAccess)type, va);
    } else {
        entry = walk(env, l0, entry ? &entry->leaf : NULL, addr, va, type,
                     mmu_idx, &prot, err, ra);
        if (!entry) {
            tell_pmu(env, l0, type);
            return false;
        }
    }
    if (unlikely(env->pmu)) {
        tell_pmu(env, l0, type);
    }
    if (unlikely(l0->verify)) {
        x86_hwtlb_verify(env, l0->verify, entry, hit, va, type, mmu_idx);
    }
    if (va == addr && (fetch || !(l0->observe_every || l0->verify))) {
        hwtlb_note(entry, va, l0_idx);
    } else {
        /*
         * L0 asks again each time.  If each access is observed or verified, it
         * has to (for fetches there is CF_TLB_BLOCKS); and it must not keep a
         * 32-bit address that wrapped under the one that it was asked for.
         */
        size = 1;
    }
    set_page(env, l0, entry, addr, va, type, l0_idx, prot, size);
    return true;
}

bool x86_hwtlb_bypass(CPUX86State *env, const TranslateParams *in,
                      TranslateResult *out, TranslateFault *err, uintptr_t ra)
{
    hwtlb_count(env->hwtlb, HWTLB_C_SVM_BYPASS, 1);
    return x86_walk_modelled(env, in, out, err, ra);
}
