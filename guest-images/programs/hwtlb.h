/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mark regions of a program for the counter device of the x64k machine.
 *
 *     hwtlb_begin(1, "build");  ...  hwtlb_end(1);
 *
 * Regions 1..63 are the program's own (tlbstat has 0). A region may be entered
 * again: what was counted adds up. One thread at a time: selecting a region and
 * acting on it are two writes. Without the device every call does nothing, so
 * the same program runs anywhere.
 */
#ifndef HWTLB_H
#define HWTLB_H

#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    HWTLB_ID = 0x00, HWTLB_COUNTERS = 0x08, HWTLB_REGION = 0x18,
    HWTLB_COMMAND = 0x1c, HWTLB_NAME = 0x20, HWTLB_FAULTS = 0x40,
    HWTLB_ENTERED = 0x48, HWTLB_VALUES = 0x2000, HWTLB_NAMES = 0x3000,
    HWTLB_SIZE = 0x4000, HWTLB_NAME_LEN = 32, HWTLB_REGIONS = 64,
};
enum { HWTLB_BEGIN = 1, HWTLB_END = 2, HWTLB_CLEAR = 3, HWTLB_CLEAR_ALL = 4 };

static char *hwtlb_base;        /* the device's registers, NULL if absent */
static uint64_t hwtlb_faults_at[HWTLB_REGIONS];

static inline volatile uint32_t *hwtlb_reg32(unsigned offset)
{
    return (volatile uint32_t *)(hwtlb_base + offset);
}

static inline volatile uint64_t *hwtlb_reg64(unsigned offset)
{
    return (volatile uint64_t *)(hwtlb_base + offset);
}

static inline unsigned hwtlb_sysfs_id(const char *device, const char *file)
{
    char path[320];
    unsigned id = 0;
    FILE *f;

    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", device, file);
    f = fopen(path, "r");
    if (f) {
        if (fscanf(f, "%x", &id) != 1) {
            id = 0;
        }
        fclose(f);
    }
    return id;
}

/* Map the device; returns whether there is one. */
static inline int hwtlb_open(void)
{
    static int tried;
    struct dirent *entry;
    char path[320] = "";
    void *base;
    DIR *dir;
    int fd;

    if (tried++ || !(dir = opendir("/sys/bus/pci/devices"))) {
        return hwtlb_base != NULL;
    }
    while (!path[0] && (entry = readdir(dir))) {
        if (hwtlb_sysfs_id(entry->d_name, "vendor") == 0x1234 &&
            hwtlb_sysfs_id(entry->d_name, "device") == 0x6464) {
            snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource0",
                     entry->d_name);
        }
    }
    closedir(dir);

    fd = path[0] ? open(path, O_RDWR | O_SYNC | O_CLOEXEC) : -1;
    if (fd >= 0) {
        base = mmap(NULL, HWTLB_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
                    fd, 0);
        close(fd);
        if (base != MAP_FAILED) {
            hwtlb_base = base;
            if ((uint32_t)*hwtlb_reg64(HWTLB_ID) != 0x424c5448) { /* HTLB */
                munmap(base, HWTLB_SIZE);
                hwtlb_base = NULL;
            }
        }
    }
    return hwtlb_base != NULL;
}

/* Page faults of this process so far, by the kernel's count. */
static inline uint64_t hwtlb_page_faults(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt + usage.ru_majflt;
}

static inline void hwtlb_begin(unsigned region, const char *name)
{
    uint64_t words[HWTLB_NAME_LEN / 8] = { 0 };
    unsigned i;

    if (!hwtlb_open() || region >= HWTLB_REGIONS) {
        return;
    }
    memcpy(words, name, strnlen(name, sizeof(words) - 1));
    *hwtlb_reg32(HWTLB_REGION) = region;
    for (i = 0; i < HWTLB_NAME_LEN / 8; i++) {
        *hwtlb_reg64(HWTLB_NAME + 8 * i) = words[i];
    }
    hwtlb_faults_at[region] = hwtlb_page_faults();
    *hwtlb_reg32(HWTLB_COMMAND) = HWTLB_BEGIN;
}

static inline void hwtlb_end(unsigned region)
{
    if (!hwtlb_base || region >= HWTLB_REGIONS) {
        return;
    }
    *hwtlb_reg32(HWTLB_REGION) = region;
    *hwtlb_reg32(HWTLB_COMMAND) = HWTLB_END;
    *hwtlb_reg64(HWTLB_FAULTS) +=
        hwtlb_page_faults() - hwtlb_faults_at[region];
}

#endif
