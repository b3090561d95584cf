/*
 * hwtlb-pwc: what walks read, and what paging-structure caches would save
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_TLB_HWTLB_PWC_H
#define HW_TLB_HWTLB_PWC_H

#include "hw/tlb/hwtlb-array.h"

/* Paging-structure caches: they count, they do not translate. */
typedef struct HWTLBPwc {
    HWTLBArray arrays[HWTLB_PWCS];      /* those without ways have no slots */
} HWTLBPwc;

void hwtlb_pwc_init(HWTLBPwc *pwc, const HWTLBArrayConfig *config,
                    uint64_t seed);
void hwtlb_pwc_destroy(HWTLBPwc *pwc);

/*
 * A walk for @va from level @top down to @last.  Returns the level of the
 * deepest cached entry, which saves all reads from @top to it, or 0.  What
 * the walk then has to read, other than at @last, is cached.
 */
unsigned hwtlb_pwc_walk(HWTLBPwc *pwc, uint64_t va, unsigned top,
                        unsigned last);
void hwtlb_pwc_drop(HWTLBPwc *pwc, uint64_t va);
void hwtlb_pwc_empty(HWTLBPwc *pwc);

/*
 * The 64-byte lines that walks have read: for each 4 KB page of page tables, a
 * bit map of its lines, in an open hash table that grows up to a bound.
 */
typedef struct HWTLBLinePage {
    uint64_t page;              /* page number + 1; 0: unused */
    uint64_t lines;
} HWTLBLinePage;

typedef struct HWTLBLines {
    HWTLBLinePage *table;       /* [1 << bits]; NULL until the first line */
    unsigned bits;
    uint32_t used;
    uint64_t last[6];           /* the line read last, by level; 0: none */
} HWTLBLines;

/* While it grows to its bound, it takes half as much again. */
#define HWTLB_LINES_MAX_BITS    17
#define HWTLB_LINES_MAX_BYTES \
    ((sizeof(HWTLBLinePage) << HWTLB_LINES_MAX_BITS) * 3 / 2)

/*
 * True if the line of physical address @pa is new.  Once the table is full, a
 * line of a page that it does not hold never is.
 */
bool hwtlb_lines_add(HWTLBLines *lines, uint64_t pa);

/*
 * Is the line of @pa the one of the call before for this @level, 0 to 5?  If
 * so, hwtlb_lines_add() would say that it is not new.
 */
static inline bool hwtlb_lines_is_last(HWTLBLines *lines, unsigned level,
                                       uint64_t pa)
{
    const uint64_t line = (pa >> 6) + 1;
    const bool is_last = lines->last[level] == line;

    lines->last[level] = line;
    return is_last;
}

void hwtlb_lines_clear(HWTLBLines *lines);

#endif
