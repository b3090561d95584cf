/*
 * guilty: all of its dTLB misses, but a few, are in one function
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * guilty [PAGES [PASSES]]: PASSES times, guilty() loads one byte of each of
 * PAGES pages of 4 KB, one after the other; then innocent() computes for about
 * as long with what it has in registers.  If PAGES are more than a TLB holds, each of
 * these loads misses it, whatever happens in between.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include "hwtlb.h"

#define PAGE 4096ul

/* Not a part of another function, nor two of its own. */
#if __has_attribute(noclone)
#define ALONE __attribute__((noinline, noclone))
#else
#define ALONE __attribute__((noinline))
#endif

/* It has all else in registers, and so loads nothing else. */
static ALONE unsigned guilty(const volatile char *memory, unsigned long pages,
                             unsigned long passes)
{
    unsigned sum = 0;

    while (passes--) {
        for (unsigned long i = 0; i < pages; i++) {
            /* Another line of each, so that a real cache could hold them. */
            sum += memory[i * PAGE + i % 64 * 64];
        }
    }
    return sum;
}

static ALONE unsigned innocent(unsigned seed, unsigned long steps)
{
    while (steps--) {
        seed = seed * 1664525 + 1013904223;
    }
    return seed;
}

int main(int argc, char **argv)
{
    const unsigned long pages = argc > 1 ? strtoul(argv[1], NULL, 0) : 8192;
    const unsigned long passes = argc > 2 ? strtoul(argv[2], NULL, 0) : 50;
    unsigned sum, seed;
    char *memory;

    memory = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        perror("guilty: mmap");
        return 1;
    }
    madvise(memory, pages * PAGE, MADV_NOHUGEPAGE);
    for (unsigned long i = 0; i < pages; i++) {
        memory[i * PAGE + i % 64 * 64] = 1;
    }
    hwtlb_begin(1, "guilty");
    sum = guilty(memory, pages, passes);
    seed = innocent(1, pages * passes * 20);
    hwtlb_end(1);
    printf("guilty: %u loads, %u\n", sum, seed);
    return sum != pages * passes;
}
