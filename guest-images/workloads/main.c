/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * x64k-workload [-b] NAME SIZE: one of the workloads, each in a file of its
 * own.  Exits with 1 if the result is wrong.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../programs/hwtlb.h"
#include "workload.h"

#define FOLIO (64UL << 10)

bool broken;

static const struct {
    const char *name;
    bool (*run)(unsigned size);
    unsigned min, max;
    const char *size;
} workloads[] = {
    { "bfs", bfs, 4, 26, "SCALE: a graph of 2^SCALE vertices" },
    { "chase", chase, 1, 1 << 16, "MB of memory" },
    { "forkexec", forkexec, 1, 1 << 30, "how many processes" },
    { "gups", gups, 16, 32, "a table of 2^SIZE words" },
    { "join", join, 4, 28, "2^SIZE tuples, probed by 4 times as many" },
    { "sort", sort, 4, 30, "2^SIZE keys" },
    { "stream", stream, 1, 1 << 14, "MB for each of three arrays" },
};

enum { COUNT = sizeof(workloads) / sizeof(workloads[0]) };

void begin(void)
{
    hwtlb_begin(1, "workload");
}

void end(void)
{
    hwtlb_end(1);
}

void *memory(size_t bytes)
{
    char *p = mmap(NULL, bytes + FOLIO, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED) {
        perror("x64k-workload: memory");
        exit(3);
    }
    return (void *)(((uintptr_t)p + FOLIO - 1) & -FOLIO);
}

static int usage(void)
{
    fputs("usage: x64k-workload [-b] NAME SIZE\n"
          "  -b  damage the result: the check must find it\n", stderr);
    for (int i = 0; i < COUNT; i++) {
        fprintf(stderr, "  %-8s  SIZE: %u to %u, %s\n", workloads[i].name,
                workloads[i].min, workloads[i].max, workloads[i].size);
    }
    return 2;
}

int main(int argc, char **argv)
{
    unsigned long size;
    char *rest;
    int i, opt;

    while ((opt = getopt(argc, argv, "b")) != -1) {
        if (opt != 'b') {
            return usage();
        }
        broken = true;
    }
    if (argc - optind != 2) {
        return usage();
    }
    for (i = 0; i < COUNT && strcmp(argv[optind], workloads[i].name); i++) {
    }
    errno = 0;
    size = strtoul(argv[optind + 1], &rest, 10);
    if (i == COUNT || errno || *rest || rest == argv[optind + 1] ||
        size < workloads[i].min || size > workloads[i].max) {
        return usage();
    }
    if (!workloads[i].run(size)) {
        fprintf(stderr, "x64k-workload: %s: the result is wrong\n",
                workloads[i].name);
        return 1;
    }
    return 0;
}
