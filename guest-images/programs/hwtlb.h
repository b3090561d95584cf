/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Under tlbstat, hwtlb_begin(1, "build"); ... hwtlb_end(1); counts a region, 1 to 31, apart. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#define hwtlb_begin(region, name) hwtlb_mark(region, name)
#define hwtlb_end(region) hwtlb_mark(region, NULL)
static void hwtlb_mark(unsigned long region, const char *name)
{
    static volatile unsigned long *regs;    /* word 3: REGION, COMMAND; 4 to 7: NAME; 8: FAULTS */
    unsigned long words[4] = { 0 };
    struct rusage u;
    flockfile(stderr);                      /* one thread at a time */
    if (!regs && getenv("HWTLB"))           /* tlbstat has mapped it so, too */
        regs = mmap(NULL, 0x4000, PROT_READ | PROT_WRITE, MAP_SHARED,
                    open(getenv("HWTLB"), O_RDWR | O_CLOEXEC), 0);
    if (regs && regs != MAP_FAILED) {
        regs[3] = region | (name ? 0 : 2ul << 32);
        strncpy((char *)words, name ? name : "", sizeof(words) - 1);
        for (int i = 0; name && i < 4; i++)
            regs[4 + i] = words[i];
        getrusage(RUSAGE_SELF, &u);
        regs[8] += (name ? -1 : 1) * (u.ru_minflt + u.ru_majflt);
        regs[3] = region | (name ? 1ul << 32 : 0);
    }
    funlockfile(stderr);
}
