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
 *
 * A difference by itself proves nothing: between the change of a page table
 * and the flush, a use of the old translation is legal, and whoever made the
 * change may take its time.  So a stale use is held back.  What forgives it is
 * a flush by software that covers the translation, whether the TLB still has
 * it or not.  It is reported once the page is used again, by the old
 * translation or by a new one, so much later that no flush can be under way.
 * Nothing is said of a page that is not used again: nobody needs to flush a
 * processor that has left an address space until it comes back.
 */
#include "qemu/osdep.h"
#include "qemu/log.h"
#include "qemu/queue.h"
#include "qemu/thread.h"
#include "cpu.h"
#include "exec/translation-block.h"
#include "system/cpu-timers.h"
#include "target/i386/hwtlb-cpu.h"
#include "target/i386/x64k-pte.h"
#include "target/i386/tcg/system/x64k-mmu.h"
#include "trace.h"

/* So many pages of a vCPU are reported in all. */
#define MAX_REPORTED    1024
/* So many are held back at once; of further ones, nothing is held. */
#define MAX_HELD        16384

/*
 * "So much later" is at least one whole period, at most two.  A period lasts
 * so long that whoever has changed a page table has made its flush by then:
 * time, since it may sleep in between; and instructions of each processor that
 * is not halted, since its thread may wait for a busy host meanwhile, and its
 * task for other tasks.
 */
#define PERIOD_NS       (1 * NANOSECONDS_PER_SECOND)
#define PERIOD_INSNS    (1ull << 26)

typedef enum Difference {
    SAME,
    ABSENT,
    OTHER_FRAME,
    FEWER_RIGHTS,
    CLEAN,
} Difference;

static const char *const differences[] = {
    [ABSENT] = "no translation",
    [OTHER_FRAME] = "another frame",
    [FEWER_RIGHTS] = "fewer rights",
    [CLEAN] = "D=0",
};

static const char *const uses[] = {
    [MMU_DATA_LOAD] = "load",
    [MMU_DATA_STORE] = "store",
    [MMU_INST_FETCH] = "fetch",
};

/* The first stale use of a page that no flush has followed yet. */
typedef struct Stale {
    vaddr va;
    vaddr first, last;          /* the translation: a flush of any address */
    bool global;
    bool reported;
    MMUAccessType type;
    Difference difference;
    HWTLBLeaf had;              /* of the page of @va */
    uint64_t has;
    uint64_t rip;
    int64_t time;
    uint64_t period;
} Stale;

struct X86HwtlbVerify {
    CPUState *cs;
    GHashTable *held;           /* Stale by page */
    GHashTable *reported;       /* pages */
    uint64_t insns;             /* of @cs when the period began */
    QLIST_ENTRY(X86HwtlbVerify) next;
};

/* Of all vCPUs; @lock is for all of it. */
static struct {
    QemuSpin lock;
    QLIST_HEAD(, X86HwtlbVerify) all;
    uint64_t number;
    int64_t began;
} period;

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

static uint64_t insns_of(const X86HwtlbVerify *verify)
{
    return qatomic_read__nocheck(&cpu_env(verify->cs)->insns);
}

X86HwtlbVerify *x86_hwtlb_verify_new(CPUState *cs)
{
    X86HwtlbVerify *verify = g_new0(X86HwtlbVerify, 1);

    verify->cs = cs;
    verify->held = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    verify->reported = g_hash_table_new(NULL, NULL);
    tcg_cflags_set(cs, CF_COUNT_INSNS);
    qemu_spin_lock(&period.lock);
    verify->insns = insns_of(verify);
    QLIST_INSERT_HEAD(&period.all, verify, next);
    qemu_spin_unlock(&period.lock);
    return verify;
}

void x86_hwtlb_verify_free(X86HwtlbVerify *verify)
{
    if (!verify) {
        return;
    }
    qemu_spin_lock(&period.lock);
    QLIST_REMOVE(verify, next);
    qemu_spin_unlock(&period.lock);
    g_hash_table_destroy(verify->held);
    g_hash_table_destroy(verify->reported);
    g_free(verify);
}

/* Have all vCPUs done what a period asks for? */
static bool all_have_run(void)
{
    X86HwtlbVerify *verify;

    QLIST_FOREACH(verify, &period.all, next) {
        if (insns_of(verify) - verify->insns < PERIOD_INSNS &&
            !qatomic_read(&verify->cs->halted)) {
            return false;
        }
    }
    return true;
}

/*
 * The number of the period, which is another if this one has lasted.  The
 * clock is the virtual one, or what that would be without -icount, with which
 * it cannot be read in the middle of a block.
 */
static uint64_t current_period(int64_t now)
{
    X86HwtlbVerify *verify;
    uint64_t number;

    qemu_spin_lock(&period.lock);
    if (now - period.began >= PERIOD_NS && all_have_run()) {
        period.number++;
        period.began = now;
        QLIST_FOREACH(verify, &period.all, next) {
            verify->insns = insns_of(verify);
        }
    }
    number = period.number;
    qemu_spin_unlock(&period.lock);
    return number;
}

/* What a flush has to cover: the whole of a translation, if it is one. */
static void set_extent(CPUX86State *env, const HWTLBEntry *entry, Stale *stale)
{
    unsigned bits = TARGET_PAGE_BITS;

    /* What the model has coalesced are translations of 4 KB to software. */
    if (entry->leaf.class >= HWTLB_64K_HINT) {
        bits = hwtlb_class_bits(entry->leaf.class);
        if (entry->leaf.class == HWTLB_2M && !(env->cr[4] & CR4_PAE_MASK)) {
            bits++;
        }
    }
    stale->first = stale->va & -(vaddr)(1ull << bits);
    stale->last = stale->first + (1ull << bits) - 1;
}

static void hold(CPUX86State *env, X86HwtlbVerify *verify, Stale stale,
                 const HWTLBEntry *entry)
{
    if (g_hash_table_size(verify->held) >= MAX_HELD) {
        return;
    }
    stale.time = cpu_get_clock();
    stale.period = current_period(stale.time);
    stale.global = entry->leaf.global;
    stale.rip = env->eip;
    set_extent(env, entry, &stale);
    g_hash_table_insert(verify->held,
                        GSIZE_TO_POINTER(stale.va & TARGET_PAGE_MASK),
                        g_memdup2(&stale, sizeof(stale)));
}

/* No flush has followed. */
static void report(CPUX86State *env, X86HwtlbVerify *verify, Stale *stale,
                   int64_t now)
{
    stale->reported = true;
    hwtlb_count(env->hwtlb, HWTLB_C_STALE_UNFLUSHED, 1);
    if (g_hash_table_size(verify->reported) < MAX_REPORTED &&
        g_hash_table_add(verify->reported,
                         GSIZE_TO_POINTER(stale->va & TARGET_PAGE_MASK))) {
        qemu_log_mask(LOG_GUEST_ERROR,
                      "hwtlb: stale use: %s of va 0x%" VADDR_PRIx
                      " near rip 0x%" PRIx64 " hit frame 0x%" PRIx64
                      " at %.3f s when the page tables had %s (0x%" PRIx64
                      "); no flush has followed for %.3f s\n",
                      uses[stale->type], stale->va, stale->rip,
                      stale->had.frame, stale->time / 1e9,
                      differences[stale->difference], stale->has,
                      (now - stale->time) / 1e9);
    }
}

/* What of a translation @had is lost if the page tables have @has now. */
static Difference lost(const HWTLBLeaf *had, const HWTLBLeaf *has,
                       MMUAccessType type)
{
    const uint64_t shrinks = (had->rights & ~has->rights) |
                             (~had->rights & has->rights & PG_NX_MASK);

    return had->frame != has->frame ? OTHER_FRAME :
           (shrinks & (PG_RW_MASK | PG_USER_MASK | PG_NX_MASK)) ||
           ((had->rights ^ has->rights) & PG_PKRU_MASK) ? FEWER_RIGHTS :
           type == MMU_DATA_STORE && !has->dirty ? CLEAN : SAME;
}

/* A page of which @stale is held is used. */
static void judge(CPUX86State *env, X86HwtlbVerify *verify, Stale *stale)
{
    const int64_t now = cpu_get_clock();
    HWTLBLeaf has = { };

    if (stale->difference == ABSENT && look(env, stale->va, &has)) {
        /*
         * The entry may have been away while its owner changed something else:
         * only if it came back with less does anybody owe a flush.
         */
        stale->difference = lost(&stale->had, &has, stale->type);
        if (stale->difference == SAME) {
            g_hash_table_remove(verify->held, GSIZE_TO_POINTER(
                                    stale->va & TARGET_PAGE_MASK));
            return;
        }
        stale->has = has.frame;
        stale->time = now;
        stale->period = current_period(now);
    } else if (current_period(now) >= stale->period + 2) {
        report(env, verify, stale, now);
    }
}

void x86_hwtlb_verify(CPUX86State *env, X86HwtlbVerify *verify,
                      const HWTLBEntry *entry, bool hit, vaddr va,
                      MMUAccessType type, int mmu_idx)
{
    const vaddr page = va & TARGET_PAGE_MASK;
    Stale use = { .va = va, .type = type, .had = entry->leaf };
    HWTLBLeaf has = { };
    Stale *held;

    use.had.frame += page - entry->va;
    if (hit) {
        if (!look(env, va, &has)) {
            use.difference = ABSENT;
        } else if (has.frame != use.had.frame) {
            use.difference = OTHER_FRAME;
        } else if (!(x86_leaf_prot(env, mmu_idx, &has) & (1 << type))) {
            /* Write-protected entries may have no D either. */
            has.dirty = true;
            use.difference = x86_leaf_prot(env, mmu_idx, &has) & (1 << type)
                             ? CLEAN : FEWER_RIGHTS;
        }
        use.has = has.frame;
    }
    if (unlikely(use.difference != SAME)) {
        hwtlb_count(env->hwtlb, HWTLB_C_STALE_USE, 1);
        trace_x64k_stale_use(uses[type], va, use.had.frame, use.has,
                             differences[use.difference]);
    }
    held = g_hash_table_size(verify->held) ?
           g_hash_table_lookup(verify->held, GSIZE_TO_POINTER(page)) : NULL;
    if (!held && use.difference != SAME) {
        hold(env, verify, use, entry);
    } else if (held && !held->reported) {
        judge(env, verify, held);
    }
}

static gboolean covers(gpointer page, gpointer stale, gpointer va)
{
    const Stale *held = stale;

    return held->first <= *(vaddr *)va && *(vaddr *)va <= held->last;
}

void x86_hwtlb_verify_invlpg(X86HwtlbVerify *verify, vaddr va)
{
    g_hash_table_foreach_remove(verify->held, covers, &va);
}

static gboolean is_local(gpointer page, gpointer stale, gpointer unused)
{
    return !((const Stale *)stale)->global;
}

void x86_hwtlb_verify_flush(X86HwtlbVerify *verify, bool keep_global)
{
    if (keep_global) {
        g_hash_table_foreach_remove(verify->held, is_local, NULL);
    } else {
        g_hash_table_remove_all(verify->held);
    }
}
