/*
 * What the hardware-TLB model costs, without QEMU: ns per operation
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Prints the best of several rounds.  Each operation is what the emulator
 * does for one L0 miss: a lookup, a fill if both levels miss, and a note that
 * L0 holds the page; the callback that empties L0 does nothing.
 */
#include "qemu/osdep.h"
#include <stdio.h>
#include <time.h>
#include "hw/tlb/hwtlb.h"

#define PAGE    4096ull
#define ROUNDS  60
#define N       (1 << 16)

typedef struct Case {
    const char *name;
    const char *preset;
    HWTLBClass class;
    unsigned pages;             /* of the class's own size */
    uint64_t page_size;
} Case;

static const Case cases[] = {
    { "L1 hit, 4K", "skylake", HWTLB_4K, 32, PAGE },
    { "STLB hit, L1 fill and evict, 4K", "skylake", HWTLB_4K, 1024, PAGE },
    { "both miss, two fills and evicts, 4K", "skylake", HWTLB_4K, 4096,
      PAGE },
    { "L1 hit, 64K", "skylake", HWTLB_64K_HINT, 32, 16 * PAGE },
    { "STLB hit, L1 fill and evict, 64K", "skylake", HWTLB_64K_HINT, 1024,
      16 * PAGE },
    { "both miss, 64K beside a few 4K", "skylake", HWTLB_64K_HINT, 4096,
      16 * PAGE },
    { "both miss, 2M beside a few 4K", "skylake", HWTLB_2M, 4096,
      512 * PAGE },
    { "L1 hit, 4K", "zen4", HWTLB_4K, 64, PAGE },
    { "STLB hit, L1 fill and evict, 4K", "zen4", HWTLB_4K, 1024, PAGE },
    { "both miss, two fills and evicts, 4K", "zen4", HWTLB_4K, 8192, PAGE },
    { "L1 hit, 4K", "ideal", HWTLB_4K, 1024, PAGE },
    { "STLB hit, L1 fill and evict, 4K", "ideal", HWTLB_4K, 16384, PAGE },
};

static unsigned long dropped;

static void drop(void *opaque, HWTLBLevelId level, const HWTLBEntry *entry)
{
    dropped++;
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e9 + t.tv_nsec;
}

static void access_page(HWTLB *tlb, uint64_t va, HWTLBClass class,
                        uint64_t size)
{
    HWTLBEntry *entry = hwtlb_lookup(tlb, HWTLB_LOAD, va);

    if (!entry) {
        const HWTLBLeaf leaf = {
            .frame = va & ~(size - 1), .class = class, .dirty = true,
        };

        entry = hwtlb_fill(tlb, HWTLB_LOAD, va, &leaf);
    }
    hwtlb_note_l0(entry, va, 0);
}

static void run(const Case *c)
{
    HWTLB *tlb = hwtlb_new(hwtlb_preset(c->preset), drop, NULL);
    uint64_t *vas = g_new(uint64_t, c->pages);
    double best = 1e30;

    /* In an order that no prefetcher of the host knows. */
    for (unsigned i = 0; i < c->pages; i++) {
        unsigned page = (i * 2654435761u) % c->pages;

        vas[i] = page * c->page_size + 0x555500000000ull;
    }
    for (uint64_t page = 0; c->class != HWTLB_4K && page < 16; page++) {
        access_page(tlb, 0x7ffd00000000ull + page * PAGE, HWTLB_4K, PAGE);
    }
    for (int round = 0; round < ROUNDS; round++) {
        double start = now();

        for (unsigned i = 0; i < N; i++) {
            access_page(tlb, vas[i % c->pages], c->class, c->page_size);
        }
        best = MIN(best, (now() - start) / N);
    }
    printf("%-9s %-38s %6.1f ns\n", c->preset, c->name, best);
    g_free(vas);
    hwtlb_free(tlb);
}

int main(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        run(&cases[i]);
    }
    return 0;
}
