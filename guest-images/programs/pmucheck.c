/*
 * pmucheck: the same region, by perf events and by the counter device
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Opens the four TLB events that every Linux names (dTLB-loads,
 * dTLB-load-misses, iTLB-loads, iTLB-load-misses), of all that processor 0
 * does, and prints what they counted in the region "pmucheck", as NAME VALUE.
 * They are read with RDPMC right before and after the region begins, and
 * again where it ends: if nothing was counted in between, the region is the
 * same for both.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { EVENTS = 4, REGION = 1, PAGES = 8000, TRIES = 100 };
enum { BEGIN = 1, END = 2, CLEAR = 3 };

/* The counter device: word 3 is REGION and COMMAND, 4 to 7 are NAME. */
static volatile uint64_t *device;

static const struct {
    const char *name;
    uint64_t config;
} events[EVENTS] = {
    { "dTLB-loads", PERF_COUNT_HW_CACHE_DTLB },
    { "dTLB-load-misses", PERF_COUNT_HW_CACHE_DTLB |
                          PERF_COUNT_HW_CACHE_RESULT_MISS << 16 },
    { "iTLB-loads", PERF_COUNT_HW_CACHE_ITLB },
    { "iTLB-load-misses", PERF_COUNT_HW_CACHE_ITLB |
                          PERF_COUNT_HW_CACHE_RESULT_MISS << 16 },
};

static const volatile struct perf_event_mmap_page *pages[EVENTS];

/* tlbstat says where it is. */
static int open_device(void)
{
    const char *path = getenv("HWTLB");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;

    device = mmap(NULL, 0x4000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return device != MAP_FAILED;
}

static void name_region(void)
{
    uint64_t words[4] = { 0 };

    memcpy(words, "pmucheck", 8);
    device[3] = REGION;
    for (int i = 0; i < 4; i++) {
        device[4 + i] = words[i];
    }
}

static int open_event(int n)
{
    struct perf_event_attr attr = {
        .type = PERF_TYPE_HW_CACHE,
        .size = sizeof(attr),
        .config = events[n].config,
        .pinned = 1,
    };
    int fd = syscall(SYS_perf_event_open, &attr, -1, 0, -1, 0);

    if (fd < 0) {
        perror(events[n].name);
        return 0;
    }
    pages[n] = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    return pages[n] != MAP_FAILED && pages[n]->index;
}

static void read_events(uint64_t *values)
{
    for (int n = 0; n < EVENTS; n++) {
        uint32_t low, high;

        asm volatile("rdpmc" : "=a"(low), "=d"(high)
                             : "c"(pages[n]->index - 1));
        values[n] = low | (uint64_t)high << 32;
    }
}

/* Does something to the region, while nothing is counted. */
static int at_once(unsigned command, uint64_t *values)
{
    uint64_t again[EVENTS];

    /* Until the TLBs have all that this needs. */
    do {
        (void)device[3];
        read_events(again);
        read_events(values);
    } while (memcmp(values, again, sizeof(again)));
    device[3] = REGION | (uint64_t)command << 32;
    read_events(again);
    return !memcmp(values, again, sizeof(again));
}

/* Memory at random, and the kernel. */
static unsigned work(const volatile char *memory)
{
    unsigned seed = 1, sum = 0;

    for (int i = 0; i < 100000; i++) {
        seed = seed * 1664525 + 1013904223;
        sum += memory[(seed >> 8) % PAGES * 4096];
        if (i % 1000 == 0) {
            syscall(SYS_getpid);
        }
    }
    return sum;
}

int main(void)
{
    uint64_t begin[EVENTS], end[EVENTS];
    cpu_set_t cpus;
    char *memory;

    CPU_ZERO(&cpus);
    CPU_SET(0, &cpus);
    memory = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (sched_setaffinity(0, sizeof(cpus), &cpus) || memory == MAP_FAILED ||
        !open_device()) {
        fprintf(stderr, "pmucheck: no device, or no memory\n");
        return 1;
    }
    for (int n = 0; n < EVENTS; n++) {
        if (!open_event(n)) {
            fprintf(stderr, "pmucheck: no event %s\n", events[n].name);
            return 1;
        }
    }
    for (int try = 0; try < TRIES; try++) {
        name_region();
        while (!at_once(BEGIN, begin)) {
        }
        work(memory);
        if (at_once(END, end)) {
            for (int n = 0; n < EVENTS; n++) {
                printf("%s %llu\n", events[n].name, (unsigned long long)
                       ((end[n] - begin[n]) & 0xffffffffffff));
            }
            return 0;
        }
        /* Something came in between.  Again, and forget that one. */
        device[3] = REGION | (uint64_t)CLEAR << 32;
    }
    fprintf(stderr, "pmucheck: never alone\n");
    return 1;
}
