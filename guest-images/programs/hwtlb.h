/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mark regions of a program for the counter device of the x64k machine:
 *
 *     hwtlb_begin(1, "build");  ...  hwtlb_end(1);
 *
 * Regions 1..31 are the program's own (tlbstat has 0, one inside another takes
 * from 63 down). A region may be entered again: what was counted adds up.
 * Without the device nothing happens, so the same program runs anywhere.
 * docs/specs/hwtlb.rst has the registers.
 */
#ifndef HWTLB_H
#define HWTLB_H

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

enum { HWTLB_BEGIN = 1, HWTLB_END = 2, HWTLB_SIZE = 0x4000 };

static volatile uint64_t *hwtlb_regs;   /* the device, NULL if there is none */

/* Map the device; returns whether there is one. */
static inline int hwtlb_open(void)
{
    static int tried;
    unsigned at, id;
    char path[64];
    FILE *f = tried++ ? NULL : fopen("/proc/bus/pci/devices", "re");

    while (f && fscanf(f, "%x %x%*[^\n]", &at, &id) == 2) {
        if (id == 0x12346464) {
            snprintf(path, sizeof(path), "/sys/bus/pci/devices/0000:%02x:%02x."
                     "%x/resource0", at >> 8, at >> 3 & 31, at & 7);
            int fd = open(path, O_RDWR | O_SYNC | O_CLOEXEC);
            void *p = mmap(NULL, HWTLB_SIZE, PROT_READ | PROT_WRITE,
                           MAP_SHARED, fd, 0);
            close(fd);
            hwtlb_regs = p == MAP_FAILED || *(volatile uint64_t *)p !=
                         0x2424c5448 ? NULL : p;    /* "HTLB", version 2 */
        }
    }
    if (f) {
        fclose(f);
    }
    return hwtlb_regs != NULL;
}

/* Page faults of this process so far, by the kernel's count. */
static inline uint64_t hwtlb_page_faults(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt + usage.ru_majflt;
}

static uint64_t hwtlb_faults_at[64];
static char hwtlb_lock;                 /* between threads */

static inline void hwtlb_begin(unsigned region, const char *name)
{
    uint64_t words[4] = { 0 };

    if (region < 64 && hwtlb_open()) {
        memcpy(words, name, strnlen(name, sizeof(words) - 1));
        while (__atomic_test_and_set(&hwtlb_lock, __ATOMIC_ACQUIRE)) {
        }
        hwtlb_regs[0x18 / 8] = region;
        for (unsigned i = 0; i < 4; i++) {
            hwtlb_regs[0x20 / 8 + i] = words[i];
        }
        hwtlb_faults_at[region] = hwtlb_page_faults();
        hwtlb_regs[0x18 / 8] = region | (uint64_t)HWTLB_BEGIN << 32;
        __atomic_clear(&hwtlb_lock, __ATOMIC_RELEASE);
    }
}

static inline void hwtlb_end(unsigned region)
{
    if (region < 64 && hwtlb_regs) {
        while (__atomic_test_and_set(&hwtlb_lock, __ATOMIC_ACQUIRE)) {
        }
        hwtlb_regs[0x18 / 8] = region | (uint64_t)HWTLB_END << 32;
        hwtlb_regs[0x40 / 8] += hwtlb_page_faults() - hwtlb_faults_at[region];
        __atomic_clear(&hwtlb_lock, __ATOMIC_RELEASE);
    }
}

#endif
