/*
 * x64k: decodes the last page table of a long-mode walk
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A PDE with PS=0 points to a table in one of two formats: 512 PTEs of 4 KB,
 * or 32 leaves of 64 KB.  All that reads page tables asks here which: the
 * walker, the debug walk, "info tlb", "info mem" and dump-guest-memory.
 */
#ifndef I386_X64K_PTE_H
#define I386_X64K_PTE_H

#include "cpu.h"

/*
 * P64, bit 52.  In a PDE with PS=0: it points to a 64 KB leaf table.  In a
 * 4 KB PTE: the PTE belongs to a contiguous group.  Ignored elsewhere.
 */
#define PG_P64_BIT              52
#define PG_P64_MASK             (1ull << PG_P64_BIT)

#define P64_PAGE_BITS           16
#define P64_PAGE_SIZE           (1ull << P64_PAGE_BITS)

/* A PDE's leaf-table address, which is 256-byte aligned. */
#define PG_P64_TABLE_MASK       0x000fffffffffff00ull
/* Reserved in an entry of a leaf table, beside what any PTE reserves. */
#define PG_P64_LEAF_RSVD_MASK   (PG_P64_MASK | 0xf000ull)

typedef struct X86LastTable {
    uint64_t base;              /* physical address of entry 0 */
    uint64_t rsvd_mask;         /* beside what any PTE reserves */
    unsigned page_bits;         /* log2 of the bytes that an entry maps */
    unsigned entries;
} X86LastTable;

/* The table at @pde, which is present and has PS=0; long mode only. */
static inline X86LastTable x86_pte_last_table(bool leaf_tables, uint64_t pde)
{
    if (leaf_tables && (pde & PG_P64_MASK)) {
        return (X86LastTable) {
            .base = pde & PG_P64_TABLE_MASK,
            .rsvd_mask = PG_P64_LEAF_RSVD_MASK,
            .page_bits = P64_PAGE_BITS,
            .entries = 32,
        };
    }
    return (X86LastTable) {
        .base = pde & PG_ADDRESS_MASK,
        .page_bits = TARGET_PAGE_BITS,
        .entries = 512,
    };
}

/* Physical address of the entry of @table that translates @addr. */
static inline uint64_t x86_pte_last_addr(const X86LastTable *table, vaddr addr)
{
    return table->base + ((addr >> table->page_bits) &
                          (table->entries - 1)) * 8;
}

/* Does @pte translate, as far as @table's format is concerned? */
static inline bool x86_pte_last_valid(const X86LastTable *table, uint64_t pte)
{
    return (pte & PG_PRESENT_MASK) && !(pte & table->rsvd_mask);
}

/* The frame that @pte of @table maps. */
static inline uint64_t x86_pte_last_frame(const X86LastTable *table,
                                          uint64_t pte)
{
    return pte & PG_ADDRESS_MASK & -(1ull << table->page_bits);
}

/* Does P64 of a PDE mean a leaf table on this CPU, as it is now? */
static inline bool x86_leaf_tables(CPUX86State *env)
{
    return env_archcpu(env)->x64k_leaf && (env->cr[4] & CR4_P64_MASK) &&
           (env->hflags & HF_LMA_MASK);
}

#endif
