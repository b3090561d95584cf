/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Under tlbstat, hwtlb_begin(1, "build"); ... hwtlb_end(1); counts a region, 1 to 31, apart. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#define hwtlb_begin(region, name) hwtlb_mark(region, name)
#define hwtlb_end(region) hwtlb_mark(region, NULL)
static volatile unsigned long *hwtlb_map(const char *variable, unsigned long size)
{
    const char *path = getenv(variable);    /* tlbstat has mapped it so, too */
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *map = fd < 0 ? MAP_FAILED : mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0)
        close(fd);
    return map == MAP_FAILED ? NULL : map;
}
static long hwtlb_read(const char *path, char *text, unsigned long size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    long n = fd < 0 ? -1 : read(fd, text, size);
    if (fd >= 0)
        close(fd);
    return n;
}
/* The words of a region in tlbstat's notes: ns, peaks in KB, and when (ns) those were looked at. */
static void hwtlb_note(volatile unsigned long *note, const char *name, long rss)
{
    static const char *const lines[] = { "PageTables:", "AnonPages:" };
    struct timespec t;
    char text[4096] = "", *line;
    long now, i;
    clock_gettime(CLOCK_MONOTONIC, &t);
    now = t.tv_sec * 1000000000 + t.tv_nsec;
    note[0] += name ? -now : now;
    note[1] = rss > (long)note[1] ? rss : (long)note[1];
    if (name || now - (long)note[4] < 10000000)
        return;
    note[4] = now;
    hwtlb_read("/proc/sys/vm/stat_refresh", text, 1);   /* else processors keep parts of the sums */
    if (hwtlb_read("/proc/meminfo", text, sizeof(text) - 1) > 0)
        for (i = 0; i < 2; i++)
            if ((line = strstr(text, lines[i])) && strtoul(line + 11, NULL, 10) > note[2 + i])
                note[2 + i] = strtoul(line + 11, NULL, 10);
}
static void hwtlb_mark(unsigned long region, const char *name)
{
    static volatile unsigned long *regs;    /* word 3: REGION, COMMAND; 4 to 7: NAME; 8: FAULTS */
    static volatile unsigned long *notes;   /* 8 words for each region */
    unsigned long words[4] = { 0 };
    struct rusage u, children;
    flockfile(stderr);                      /* one thread at a time */
    if (!regs && (regs = hwtlb_map("HWTLB", 0x4000)))
        notes = hwtlb_map("HWTLB_NOTES", 0x1000);
    if (regs) {
        if (notes && name)
            hwtlb_note(notes + 8 * region, name, 0);
        regs[3] = region | (name ? 0 : 2ul << 32);
        strncpy((char *)words, name ? name : "", sizeof(words) - 1);
        for (int i = 0; name && i < 4; i++)
            regs[4 + i] = words[i];
        getrusage(RUSAGE_SELF, &u);
        getrusage(RUSAGE_CHILDREN, &children);
        regs[8] += (name ? -1 : 1) * (u.ru_minflt + u.ru_majflt
                                      + children.ru_minflt + children.ru_majflt);
        regs[3] = region | (name ? 1ul << 32 : 0);
        if (notes && !name)
            hwtlb_note(notes + 8 * region, name, u.ru_maxrss);
    }
    funlockfile(stderr);
}
