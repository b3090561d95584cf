/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Regions of a program, 1 to 31: hwtlb_begin(1, "build"); ... hwtlb_end(1);
 * tlbstat gives the device in $HWTLB; without that nothing is counted. */
#pragma once
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

/* Word 3 is REGION and COMMAND, 4 to 7 are NAME, 8 is FAULTS. */
static volatile unsigned long hwtlb_none[9], *hwtlb_regs = hwtlb_none;
static unsigned long hwtlb_faults[64];

__attribute__((constructor)) static void hwtlb_open(void)
{
    const char *path = getenv("HWTLB");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *bar = fd < 0 ? MAP_FAILED : mmap(NULL, 0x4000, PROT_READ | PROT_WRITE,
                                           MAP_SHARED, fd, 0);
    if (bar != MAP_FAILED) {
        hwtlb_regs = bar;
    } else if (path) {
        perror(path);
    }
}

static inline void hwtlb_begin(unsigned region, const char *name)
{
    unsigned long words[4] = { 0 };
    struct rusage u;

    strncpy((char *)words, name, sizeof(words) - 1);
    flockfile(stderr);                  /* one thread at a time */
    hwtlb_regs[3] = region;
    for (int i = 0; i < 4; i++) {
        hwtlb_regs[4 + i] = words[i];
    }
    getrusage(RUSAGE_SELF, &u);
    hwtlb_faults[region % 64] = u.ru_minflt + u.ru_majflt;
    hwtlb_regs[3] = region | 1ul << 32;
    funlockfile(stderr);
}

static inline void hwtlb_end(unsigned region)
{
    struct rusage u;

    flockfile(stderr);
    hwtlb_regs[3] = region | 2ul << 32;
    getrusage(RUSAGE_SELF, &u);
    hwtlb_regs[8] += u.ru_minflt + u.ru_majflt - hwtlb_faults[region % 64];
    funlockfile(stderr);
}
