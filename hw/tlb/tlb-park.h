/*
 * Pages that the softmmu TLB has given up, but whose entries may come back
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * For a target that models the TLBs of a processor.  What these lose, the
 * softmmu TLB must not hit any more; but mostly the page comes back soon, and
 * unchanged.  So its entry is parked: TLB_PARKED in its comparators keeps
 * everybody from hitting it, and what flushes an entry finds it as before.
 *
 * For tables whose entries are either of data that can be read, or of code.
 */
#ifndef HW_TLB_TLB_PARK_H
#define HW_TLB_TLB_PARK_H

#include "exec/cpu-all.h"
#include "exec/cputlb.h"
#include "exec/page-protection.h"
#include "exec/ramlist.h"
#include "exec/target_page.h"

/* Beside TLB_FLAGS_MASK, and above the largest alignment. */
#define TLB_PARKED      (1 << (TARGET_PAGE_BITS_MIN - 6))
QEMU_BUILD_BUG_ON(TLB_PARKED & TLB_FLAGS_MASK);

/* For one @client, cpu_physical_memory_get_dirty_flag() in an RCU section. */
static inline unsigned long tlb_ram_dirty(ram_addr_t addr, unsigned client)
{
    const unsigned long page = addr >> TARGET_PAGE_BITS;
    const DirtyMemoryBlocks *blocks =
        qatomic_rcu_read(&ram_list.dirty_memory[client]);
    const unsigned long *words = blocks->blocks[page / DIRTY_MEMORY_BLOCK_SIZE];
    const unsigned long bit = page % DIRTY_MEMORY_BLOCK_SIZE;

    return qatomic_read(&words[BIT_WORD(bit)]) >> (bit % BITS_PER_LONG);
}

/* As cpu_physical_memory_is_clean(). */
static inline bool tlb_ram_is_clean(ram_addr_t addr)
{
    QEMU_BUILD_BUG_ON(DIRTY_MEMORY_NUM != 3);
    return !(tlb_ram_dirty(addr, 0) & tlb_ram_dirty(addr, 1) &
             tlb_ram_dirty(addr, 2) & 1);
}

/*
 * Stores to @page, of RAM at @ram_addr, may hit @te, whose other fields are
 * set, from now on; returns false if these have to tell that it is dirty.
 *
 * Without the lock of the TLB.  Meanwhile another thread may make this RAM
 * clean: it clears bits of the bitmaps, then looks for entries that stores may
 * hit (tlb_reset_dirty()).  As @te can be seen before the bitmaps are read
 * here, and they are clear there before @te is read, one sees the other.
 */
static QEMU_ALWAYS_INLINE inline
bool tlb_publish_write(CPUTLBEntry *te, vaddr page, ram_addr_t ram_addr)
{
    qatomic_store_release(&te->addr_write, page);
    /* As tlb_reset_dirty() has one. */
    smp_mb();
    if (likely(!tlb_ram_is_clean(ram_addr))) {
        return true;
    }
    qatomic_set(&te->addr_write, page | TLB_NOTDIRTY);
    return false;
}

/* Counts up with each flush of whole tables, whatever it is for. */
static inline size_t tlb_flushes(const CPUState *cpu)
{
    return cpu->neg.tlb.c.full_flush_count + cpu->neg.tlb.c.part_flush_count +
           cpu->neg.tlb.c.elide_flush_count;
}

/* The comparator of an entry that is either of data or of code. */
static inline uintptr_t tlb_comparator(const CPUTLBEntry *te)
{
    return te->addr_read & te->addr_code;
}

/*
 * @cpu, which must be the running one, no longer hits @page in the tables of
 * @idxmap, which has at least one.
 */
static QEMU_ALWAYS_INLINE inline
void tlb_park_page(CPUState *cpu, vaddr page, uint16_t idxmap)
{
    do {
        const int mmu_idx = ctz32(idxmap);
        const CPUTLBDescFast *fast = &cpu->neg.tlb.f[mmu_idx];
        CPUTLBEntry *te = (void *)fast->table +
            ((page >> (TARGET_PAGE_BITS - CPU_TLB_ENTRY_BITS)) & fast->mask);

        if (unlikely(cpu->neg.tlb.d[mmu_idx].vindex)) {
            tlb_evict_page(cpu, page, 1 << mmu_idx);
        } else if ((tlb_comparator(te) &
                    (TARGET_PAGE_MASK | TLB_INVALID_MASK)) == page) {
            te->addr_read |= TLB_PARKED;
            te->addr_code |= TLB_PARKED;
            /* tlb_reset_dirty() may write here; it leaves -1 alone. */
            qatomic_set(&te->addr_write, -1);
        }
        idxmap &= idxmap - 1;
    } while (unlikely(idxmap));
}

/* The same for what is in @te, of table @mmu_idx, if from @first to @last. */
static inline void tlb_park_if_in(CPUState *cpu, const CPUTLBEntry *te,
                                  vaddr first, vaddr last, int mmu_idx)
{
    const vaddr page = tlb_comparator(te) & (TARGET_PAGE_MASK |
                                             TLB_INVALID_MASK);

    if (!(page & TLB_INVALID_MASK) && page >= first && page <= last) {
        tlb_park_page(cpu, page, 1 << mmu_idx);
    }
}

/* Is @page of RAM parked in @te, of which @full is the rest, with @stamp? */
static inline bool tlb_is_parked(const CPUTLBEntry *te,
                                 const CPUTLBEntryFull *full,
                                 vaddr page, uint64_t stamp)
{
    return tlb_comparator(te) == (page | TLB_PARKED) && full->stamp == stamp;
}

/*
 * A parked entry that has lost its place to another page.  Nothing but the
 * caller knows of it: it is good for as long as whole tables are not flushed,
 * and what was made of the translation that @full.stamp names is.
 */
typedef struct TLBSpare {
    vaddr page;
    uintptr_t addend;
    size_t flushes;
    CPUTLBEntryFull full;
} TLBSpare;

/* @te and @full are about to be another page's: @spare keeps them. */
static inline void tlb_keep(CPUState *cpu, TLBSpare *spare,
                            const CPUTLBEntry *te, const CPUTLBEntryFull *full)
{
    const uintptr_t comparator = tlb_comparator(te) & ~TLB_PARKED;

    if (!(comparator & ~TARGET_PAGE_MASK)) {
        spare->page = comparator;
        spare->addend = te->addend;
        spare->flushes = tlb_flushes(cpu);
        spare->full = *full;
    }
}

/* Is @page of RAM in @spare, with @stamp? */
static inline bool tlb_is_spare(const CPUState *cpu, const TLBSpare *spare,
                                vaddr page, uint64_t stamp)
{
    return spare->page == page && spare->full.stamp == stamp &&
           spare->flushes == tlb_flushes(cpu) &&
           QTAILQ_EMPTY(&cpu->watchpoints);
}

/*
 * @spare's entry comes to @te and @full of table @mmu_idx, parked, and theirs,
 * if there is one, to @spare.
 */
static inline void tlb_swap(CPUState *cpu, int mmu_idx, TLBSpare *spare,
                            CPUTLBEntry *te, CPUTLBEntryFull *full)
{
    const TLBSpare old = *spare;

    if (tlb_comparator(te) == -1 && te->addr_write == -1) {
        cpu->neg.tlb.d[mmu_idx].n_used_entries++;
    }
    tlb_keep(cpu, spare, te, full);
    qatomic_set(&te->addr_write, -1);
    qatomic_set(&te->addend, old.addend);
    *full = old.full;
}

/* It is back; false: not simply, for an access of @type. */
static QEMU_ALWAYS_INLINE inline
bool tlb_unpark(CPUTLBEntry *te, const CPUTLBEntryFull *full, vaddr page,
                MMUAccessType type)
{
    if (type == MMU_INST_FETCH) {
        te->addr_code = page;
        return true;
    }
    te->addr_read = page;
    if (!(full->prot & PAGE_WRITE)) {
        return true;
    }
    return tlb_publish_write(te, page, full->xlat_section + page) ||
           type == MMU_DATA_LOAD;
}

#endif
