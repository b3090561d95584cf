/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory of which little is used: one byte is written in each 64 KB. With pages
 * of 4 KB that takes 4 KB for each, with pages of 64 KB all of it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { STEP = 65536 };

int main(int argc, char **argv)
{
    size_t n = argc == 2 ? strtoul(argv[1], NULL, 10) : 0, i;
    char *p;

    if (!n) {
        fputs("usage: sparse N\nWrites one byte in each of N times 64 KB.\n",
              stderr);
        return 2;
    }
    p = mmap(NULL, (n + 1) * STEP, PROT_READ | PROT_WRITE, MAP_PRIVATE |
             MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) {
        perror("sparse");
        return 1;
    }
    p += -(size_t)p % STEP;
    for (i = 0; i < n; i++) {
        p[i * STEP + 100] = 1;
    }
    for (i = 0; i < n; i++) {
        if (p[i * STEP + 100] != 1) {
            fprintf(stderr, "sparse: byte %zu is lost\n", i);
            return 1;
        }
    }
    return 0;
}
