/*
 * The counters of the hardware-TLB model: the one list that the enum, the
 * QMP and HMP names, the device's registers and the documentation come from.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Every counter counts architectural events since the vCPU was created or
 * the counters were reset; unit: events.  HWTLB_COUNTERS(X) calls
 * X(ENUM_NAME, "qmp-name", "what is counted").
 */
#ifndef HW_TLB_HWTLB_COUNTERS_H
#define HW_TLB_HWTLB_COUNTERS_H

/*
 * One block per level.  The order inside the block is relied upon: fills by
 * HWTLBClass, then evictions, then flushes by HWTLBCause.
 */
#define HWTLB_LEVEL_COUNTERS(X, L, l)                                        \
    X(L##_FILL_4K,         l "-fill-4k",         "fills with 4 KB entries")  \
    X(L##_FILL_8K,         l "-fill-8k",                                     \
      "fills with 8 KB entries coalesced from 4 KB pages")                   \
    X(L##_FILL_16K,        l "-fill-16k",                                    \
      "fills with 16 KB entries coalesced from 4 KB pages")                  \
    X(L##_FILL_32K,        l "-fill-32k",                                    \
      "fills with 32 KB entries coalesced from 4 KB pages")                  \
    X(L##_FILL_64K,        l "-fill-64k",                                    \
      "fills with 64 KB entries coalesced from 4 KB pages")                  \
    X(L##_FILL_64K_HINT,   l "-fill-64k-hint",                               \
      "fills with 64 KB entries made from a contiguous group")               \
    X(L##_FILL_64K_LEAF,   l "-fill-64k-leaf",                               \
      "fills with 64 KB entries made from a 64 KB leaf")                     \
    X(L##_FILL_2M,         l "-fill-2m",         "fills with 2 MB entries")  \
    X(L##_FILL_1G,         l "-fill-1g",         "fills with 1 GB entries")  \
    X(L##_EVICT,           l "-evict",           "dropped by replacement")   \
    X(L##_FLUSH_INVLPG,    l "-flush-invlpg",    "dropped by INVLPG")        \
    X(L##_FLUSH_CR3,       l "-flush-cr3",       "dropped by MOV to CR3")    \
    X(L##_FLUSH_CR,        l "-flush-cr",                                    \
      "dropped by a change of CR0, CR4 or EFER")                             \
    X(L##_FLUSH_SVM,       l "-flush-svm",       "dropped by VMRUN/#VMEXIT") \
    X(L##_FLUSH_FAULT,     l "-flush-fault",                                 \
      "dropped because the access page-faulted")                             \
    X(L##_FLUSH_REPLACED,  l "-flush-replaced",                              \
      "dropped for a new translation of another size")                       \
    X(L##_FLUSH_RESET,     l "-flush-reset",                                 \
      "dropped by a CPU reset or a load of VM state")

#define HWTLB_COUNTERS(X)                                                    \
    X(L1D_LOOKUP,      "l1d-lookup",                                         \
      "loads and stores, if all accesses are observed")                      \
    X(L1D_HIT,         "l1d-hit",                                            \
      "those that hit the L1 dTLB, if all accesses are observed")            \
    X(L1I_LOOKUP,      "l1i-lookup",                                         \
      "fetches, if all accesses are observed")                               \
    X(L1I_HIT,         "l1i-hit",                                            \
      "those that hit the L1 iTLB, if all accesses are observed")            \
    X(L1D_LOAD_MISS,   "l1d-load-miss",   "loads that missed the L1 dTLB")   \
    X(L1D_STORE_MISS,  "l1d-store-miss",  "stores that missed the L1 dTLB")  \
    X(L1I_MISS,        "l1i-miss",        "fetches that missed the L1 iTLB") \
    X(STLB_LOAD_MISS,  "stlb-load-miss",  "loads that missed both levels")   \
    X(STLB_STORE_MISS, "stlb-store-miss", "stores that missed both levels")  \
    X(STLB_FETCH_MISS, "stlb-fetch-miss", "fetches that missed both levels") \
    HWTLB_LEVEL_COUNTERS(X, L1D, "l1d")                                      \
    HWTLB_LEVEL_COUNTERS(X, L1I, "l1i")                                      \
    HWTLB_LEVEL_COUNTERS(X, STLB, "stlb")                                    \
    X(WALK_COMPLETED,  "walk-completed",                                     \
      "walks after an STLB miss that gave a translation")                    \
    X(WALK_FAULTED,    "walk-faulted",                                       \
      "walks, of any kind, that ended in a page fault")                      \
    X(WALK_DIRTY,      "walk-dirty",                                         \
      "dirty assists: walks that set D for an entry that was hit")           \
    X(WALK_RIGHTS,     "walk-rights",                                        \
      "walks that gave an entry that was hit the rights it lacked")          \
    X(WALK_READ_PML5,  "walk-read-pml5",  "PML5 entries read by walks")      \
    X(WALK_READ_PML4,  "walk-read-pml4",  "PML4 entries read by walks")      \
    X(WALK_READ_PDPT,  "walk-read-pdpt",  "PDPT entries read by walks")      \
    X(WALK_READ_PD,    "walk-read-pd",    "PD entries read by walks")        \
    X(WALK_READ_PT,    "walk-read-pt",                                       \
      "PT and 64 KB leaf-table entries read by walks")                       \
    X(WALK_READ_GROUP, "walk-read-group",                                    \
      "further PTEs read to check contiguous groups")                        \
    X(WALK_LINES,      "walk-lines",                                         \
      "64-byte lines of page tables that a walk read for the first time")    \
    X(WALK_SAVED,      "walk-saved",                                         \
      "entries that walks need not have read, thanks to the PWC")            \
    X(PWC_HIT_PML4E,   "pwc-hit-pml4e",                                      \
      "walks that the PWC would have started at a PDPT")                     \
    X(PWC_HIT_PDPTE,   "pwc-hit-pdpte",                                      \
      "walks that the PWC would have started at a PD")                       \
    X(PWC_HIT_PDE,     "pwc-hit-pde",                                        \
      "walks that the PWC would have started at a PT")                       \
    X(PWC_MISS,        "pwc-miss",                                           \
      "walks that the PWC would not have shortened")                         \
    X(CONTIG_WELL_FORMED, "contig-well-formed",                              \
      "group checks that allowed a 64 KB translation")                       \
    X(CONTIG_ABSENT,     "contig-absent",                                    \
      "group checks degraded: a PTE is not present")                         \
    X(CONTIG_UNMARKED,   "contig-unmarked",                                  \
      "group checks degraded: a PTE lacks P64")                              \
    X(CONTIG_FRAME,      "contig-frame",                                     \
      "group checks degraded: frames not aligned or not consecutive")        \
    X(CONTIG_ATTRIBUTES, "contig-attributes",                                \
      "group checks degraded: attributes differ")                            \
    X(CONTIG_RACED,      "contig-raced",                                     \
      "group checks degraded: the group changed while A/D was set")          \
    X(STALE_USE,         "stale-use",                                        \
      "hits that the page tables no longer allow: with hwtlb-verify=on")     \
    X(STALE_UNFLUSHED,   "stale-unflushed",                                  \
      "pages of such hits that no flush has followed for long")              \
    X(SVM_BYPASS,        "svm-bypass",                                       \
      "translations made past the model while an SVM guest ran")

typedef enum HWTLBCounter {
#define X(id, name, what) HWTLB_C_##id,
    HWTLB_COUNTERS(X)
#undef X
    HWTLB_C__MAX
} HWTLBCounter;

/* QMP name of each counter, and one line about it. */
extern const char *const hwtlb_counter_names[HWTLB_C__MAX];
extern const char *const hwtlb_counter_texts[HWTLB_C__MAX];

#endif
