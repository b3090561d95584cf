/*
 * hwtlb: geometries of real processors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Each figure names its source; "assumed" is said where there is none.
 */
#include "qemu/osdep.h"
#include "hw/tlb/hwtlb.h"

#define CLASS_4K    (1u << HWTLB_4K)
#define CLASS_64K   (1u << HWTLB_64K_HINT | 1u << HWTLB_64K_LEAF)
#define CLASS_2M    (1u << HWTLB_2M)
#define CLASS_1G    (1u << HWTLB_1G)

static const HWTLBConfig presets[] = {
    {
        /*
         * Sizes and ways: Intel 64 and IA-32 Architectures Optimization
         * Reference Manual, "TLB Parameters of the Skylake
         * Microarchitecture".  L1 iTLB: 4 KB 128 x 8 ways; 2M/4M 8, fully
         * associative (a thread's own).  L1 dTLB: 4 KB 64 x 4 ways; 2M/4M
         * 32 x 4; 1 GB 4 x 4.  STLB: 4 KB and 2M/4M shared 1536 x 12;
         * 1 GB 16 x 4.
         * Policies: FIFO in L1 and LRU in the STLB, both assumed.
         * Extension: the processor has no 64 KB entries; here the arrays of
         * 4 KB entries take them too, indexed by their own page number.
         */
        .name = "skylake",
        .about = "Intel Skylake client; its 4 KB arrays also take 64 KB "
                 "entries",
        .arrays = {
            [HWTLB_L1D] = {
                { 16, 4, CLASS_4K | CLASS_64K, HWTLB_FIFO },
                { 8, 4, CLASS_2M, HWTLB_FIFO },
                { 1, 4, CLASS_1G, HWTLB_FIFO },
            },
            [HWTLB_L1I] = {
                { 16, 8, CLASS_4K | CLASS_64K, HWTLB_FIFO },
                /* That it takes 1 GB entries too is assumed. */
                { 1, 8, CLASS_2M | CLASS_1G, HWTLB_FIFO },
            },
            [HWTLB_STLB] = {
                { 128, 12, CLASS_4K | CLASS_64K | CLASS_2M, HWTLB_LRU },
                { 4, 4, CLASS_1G, HWTLB_LRU },
            },
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
