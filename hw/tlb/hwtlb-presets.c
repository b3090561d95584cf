/*
 * hwtlb: geometries of real processors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Each figure names its source; "assumed" is said where there is none.  What
 * is true of all of them:
 *
 * - The processors have no 64 KB entries of the kinds that x64k defines.  The
 *   arrays that take 4 KB entries take these too, indexed by their own page
 *   number: an extension.  (The Arm core does have 64 KB entries.)
 * - A core's second level is one array here.  Where a core has a second level
 *   of its own for instructions, it is left out, and said so.
 * - An L1 that has the policy lru, tree-plru or nru is costly to model (see
 *   the MRU filter in hwtlb.h), so that L1 policies that nobody has published
 *   are assumed to be fifo.
 */
#include "qemu/osdep.h"
#include "hw/tlb/hwtlb.h"

#define C_4K    (1u << HWTLB_4K)
#define C_SMALL (1u << HWTLB_8K | 1u << HWTLB_16K | 1u << HWTLB_32K | \
                 1u << HWTLB_64K)
#define C_64K   (1u << HWTLB_64K_HINT | 1u << HWTLB_64K_LEAF)
#define C_2M    (1u << HWTLB_2M)
#define C_1G    (1u << HWTLB_1G)
/* All that pages of 4 KB are made into. */
#define C_PAGES (C_4K | C_SMALL | C_64K)
#define C_ALL   (C_PAGES | C_2M | C_1G)

/* Sources, as short as they can be found by. */
#define INTEL_ORM \
    "Intel 64 and IA-32 Architectures Optimization Reference Manual"
#define ZEN3_SOG \
    "Software Optimization Guide for AMD Family 19h Processors, 56665"
#define ZEN4_SOG \
    "Software Optimization Guide for the AMD Zen4 Microarchitecture, 57647"
#define ZEN5_SOG \
    "Software Optimization Guide for the AMD Zen5 Microarchitecture, 58455"
#define CAQA \
    "Hennessy, Patterson: Computer Architecture, on the Core i9-12900"
#define TLBLEED \
    "Gras et al., Translation Leak-aside Buffer, USENIX Security 2018"
#define ARM_TRM \
    "Arm Neoverse N1 Core Technical Reference Manual, 100616; " \
    "Arm Cortex-A76, 100798, on which it is built, TLB organization"
#define REVANC \
    "order of magnitude: van Schaik et al., RevAnC, EuroSec 2017"

/* A paging-structure cache: all figures are assumed but its very existence. */
#define PWC(entries, source_) \
    { .sets = 1, .ways = entries, .policy = HWTLB_LRU, .source = source_ }

static const HWTLBConfig presets[] = {
    {
        .name = "skylake",
        .about = "Intel Skylake client; its 4 KB arrays also take 64 KB "
                 "entries",
        .arrays = {
            [HWTLB_L1D] = {
                { 16, 4, C_PAGES, HWTLB_FIFO, HWTLB_MODULO,
                  "size, ways: " INTEL_ORM ", Skylake; hash: " TLBLEED
                  "; policy: assumed" },
                { 8, 4, C_2M, HWTLB_FIFO, HWTLB_MODULO,
                  "size, ways: " INTEL_ORM ", Skylake; hash, policy: "
                  "assumed" },
                { 1, 4, C_1G, HWTLB_FIFO, HWTLB_MODULO,
                  "size, ways: " INTEL_ORM ", Skylake; policy: assumed" },
            },
            [HWTLB_L1I] = {
                { 16, 8, C_PAGES, HWTLB_FIFO, HWTLB_MODULO,
                  "size, ways: " INTEL_ORM ", Skylake; hash: " TLBLEED
                  "; policy: assumed" },
                { 1, 8, C_2M | C_1G, HWTLB_FIFO, HWTLB_MODULO,
                  "size, ways: " INTEL_ORM ", Skylake; that it takes 1 GB, "
                  "policy: assumed" },
            },
            [HWTLB_STLB] = {
                { 128, 12, C_PAGES | C_2M, HWTLB_LRU, HWTLB_XOR,
                  "size, ways: " INTEL_ORM ", Skylake; hash (7 bits): "
                  TLBLEED "; policy: assumed" },
                { 4, 4, C_1G, HWTLB_LRU, HWTLB_MODULO,
                  "size, ways: " INTEL_ORM ", Skylake; hash, policy: "
                  "assumed" },
            },
        },
        .pwc = {
            [HWTLB_PWC_PDPTE] = PWC(4, "assumed; " REVANC),
            [HWTLB_PWC_PDE] = PWC(32, "assumed; " REVANC),
        },
    },
    {
        .name = "golden-cove",
        .about = "Intel Golden Cove (Alder Lake P, Sapphire Rapids); its 4 KB "
                 "arrays also take 64 KB entries; stores use the dTLB of "
                 "loads, not the 16 entries of their own",
        .arrays = {
            [HWTLB_L1D] = {
                { 16, 6, C_PAGES, HWTLB_FIFO, HWTLB_MODULO,
                  "size, ways: " INTEL_ORM ", Golden Cove; " CAQA
                  " (which says pseudo-LRU); policy fifo, hash: assumed" },
                { 8, 4, C_2M, HWTLB_FIFO, HWTLB_MODULO,
                  "size, ways: " CAQA "; policy, hash: assumed" },
                { 1, 8, C_1G, HWTLB_FIFO, HWTLB_MODULO,
                  "size, ways: " CAQA "; policy: assumed" },
            },
            [HWTLB_L1I] = {
                { 32, 8, C_PAGES, HWTLB_FIFO, HWTLB_MODULO,
                  "size, ways: " CAQA "; policy, hash: assumed" },
                { 4, 8, C_2M | C_1G, HWTLB_FIFO, HWTLB_MODULO,
                  "size, ways: " CAQA "; that it takes 1 GB, policy, hash: "
                  "assumed" },
            },
            [HWTLB_STLB] = {
                { 128, 16, C_ALL, HWTLB_TREE_PLRU, HWTLB_XOR,
                  "size, ways, pseudo-LRU, all page sizes: " CAQA
                  "; that it is a tree, hash: assumed" },
            },
        },
        .pwc = {
            [HWTLB_PWC_PDPTE] = PWC(4, "assumed, as Skylake"),
            [HWTLB_PWC_PDE] = PWC(32, "assumed, as Skylake"),
        },
    },
    {
        .name = "zen3",
        .about = "AMD Zen 3; coalesces four pages of 4 KB; its arrays also "
                 "take 64 KB entries; no L2 iTLB (512 entries)",
        .arrays = {
            [HWTLB_L1D] = {
                { 1, 64, C_ALL, HWTLB_FIFO, HWTLB_MODULO,
                  "size, fully associative: " ZEN3_SOG "; policy: assumed" },
            },
            [HWTLB_L1I] = {
                { 1, 64, C_ALL, HWTLB_FIFO, HWTLB_MODULO,
                  "size, fully associative: " ZEN3_SOG "; policy: assumed" },
            },
            [HWTLB_STLB] = {
                { 128, 16, C_ALL, HWTLB_LRU, HWTLB_XOR,
                  "size: " ZEN3_SOG "; ways, policy, hash, that it takes 1 GB "
                  "entries whole: assumed" },
            },
        },
        .pwc = {
            [HWTLB_PWC_PML4E] = PWC(32, "assumed: half of a 64-entry page "
                                        "directory cache"),
            [HWTLB_PWC_PDPTE] = PWC(32, "assumed: half of a 64-entry page "
                                        "directory cache"),
            [HWTLB_PWC_PDE] = PWC(64, "assumed; in the processor, PDEs live "
                                      "in the L2 dTLB"),
        },
        .coalesce = 4,
    },
    {
        .name = "zen4",
        .about = "AMD Zen 4; coalesces four pages of 4 KB; its arrays also "
                 "take 64 KB entries; no L2 iTLB (512 entries)",
        .arrays = {
            [HWTLB_L1D] = {
                { 1, 72, C_ALL, HWTLB_FIFO, HWTLB_MODULO,
                  "size, fully associative: " ZEN4_SOG "; policy: assumed" },
            },
            [HWTLB_L1I] = {
                { 1, 64, C_ALL, HWTLB_FIFO, HWTLB_MODULO,
                  "size, fully associative: " ZEN4_SOG "; policy: assumed" },
            },
            [HWTLB_STLB] = {
                { 128, 24, C_ALL, HWTLB_LRU, HWTLB_XOR,
                  "size: " ZEN4_SOG "; ways, policy, hash, that it takes 1 GB "
                  "entries whole: assumed" },
            },
        },
        .pwc = {
            [HWTLB_PWC_PML4E] = PWC(32, "assumed, as Zen 3"),
            [HWTLB_PWC_PDPTE] = PWC(32, "assumed, as Zen 3"),
            [HWTLB_PWC_PDE] = PWC(64, "assumed, as Zen 3"),
        },
        .coalesce = 4,
    },
    {
        .name = "zen5",
        .about = "AMD Zen 5; coalesces four pages of 4 KB; its arrays also "
                 "take 64 KB entries; no L2 iTLB (2,048 entries)",
        .arrays = {
            [HWTLB_L1D] = {
                { 1, 96, C_ALL, HWTLB_FIFO, HWTLB_MODULO,
                  "size: AMD at Hot Chips 2024; fully associative: " ZEN5_SOG
                  "; policy: assumed" },
            },
            [HWTLB_L1I] = {
                { 1, 64, C_ALL, HWTLB_FIFO, HWTLB_MODULO,
                  "size: AMD at Hot Chips 2024; fully associative: " ZEN5_SOG
                  "; policy: assumed" },
            },
            [HWTLB_STLB] = {
                { 256, 16, C_ALL, HWTLB_LRU, HWTLB_XOR,
                  "size: AMD at Hot Chips 2024 (\"4K DTLB, everything but "
                  "1G\"); ways, policy, hash, that it takes 1 GB entries "
                  "whole: assumed" },
            },
        },
        .pwc = {
            [HWTLB_PWC_PML4E] = PWC(32, "assumed, as Zen 3"),
            [HWTLB_PWC_PDPTE] = PWC(32, "assumed, as Zen 3"),
            [HWTLB_PWC_PDE] = PWC(64, "assumed, as Zen 3"),
        },
        .coalesce = 4,
    },
    {
        .name = "neoverse-n1",
        .about = "Arm Neoverse N1, with x86 page tables; coalesces four pages "
                 "of 4 KB; 64 KB entries are the processor's own; L1 also "
                 "takes 1 GB entries, which the processor splits",
        .arrays = {
            [HWTLB_L1D] = {
                { 1, 48, C_ALL, HWTLB_FIFO, HWTLB_MODULO,
                  "size, fully associative: " ARM_TRM "; policy: assumed" },
            },
            [HWTLB_L1I] = {
                { 1, 48, C_ALL, HWTLB_FIFO, HWTLB_MODULO,
                  "size, fully associative: " ARM_TRM "; policy: assumed" },
            },
            [HWTLB_STLB] = {
                { 256, 5, C_ALL, HWTLB_LRU, HWTLB_MODULO,
                  "size, ways, page sizes, coalescing of four pages: " ARM_TRM
                  "; policy, hash: assumed" },
            },
        },
        .pwc = {
            [HWTLB_PWC_PDPTE] = PWC(8, "assumed; in the processor, "
                                       "intermediate addresses share the L2 "
                                       "TLB"),
            [HWTLB_PWC_PDE] = PWC(32, "assumed; as above"),
        },
        .coalesce = 4,
    },
    {
        .name = "ideal",
        .about = "no processor: so large that only first uses miss the second "
                 "level; as long as stlb-evict is 0, it is as good as "
                 "infinite",
        .arrays = {
            [HWTLB_L1D] = {
                { 1, 4096, C_ALL, HWTLB_FIFO, HWTLB_MODULO, "made up" },
            },
            [HWTLB_L1I] = {
                { 1, 4096, C_ALL, HWTLB_FIFO, HWTLB_MODULO, "made up" },
            },
            [HWTLB_STLB] = {
                { 1, 32768, C_ALL, HWTLB_LRU, HWTLB_MODULO, "made up" },
            },
        },
        .pwc = {
            [HWTLB_PWC_PML4E] = PWC(512, "made up"),
            [HWTLB_PWC_PDPTE] = PWC(512, "made up"),
            [HWTLB_PWC_PDE] = PWC(4096, "made up"),
        },
    },
};

const HWTLBConfig *hwtlb_preset_at(unsigned i)
{
    return i < ARRAY_SIZE(presets) ? &presets[i] : NULL;
}

const HWTLBConfig *hwtlb_preset(const char *name)
{
    for (unsigned i = 0; i < ARRAY_SIZE(presets); i++) {
        if (strcmp(presets[i].name, name) == 0) {
            return &presets[i];
        }
    }
    return NULL;
}
