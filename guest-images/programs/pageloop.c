/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Loads from a few hot pages, and now and then from one of many cold ones:
 * a chosen rate of L1 dTLB misses, and the time of an access.
 *
 *   pageloop [-h HOT] [-c COLD] [-n ACCESSES] PERCENT...
 *
 * PERCENT of the accesses go to a random cold page, the others to the hot
 * pages in turn.  Prints, for each PERCENT, ns per access, from a clock that
 * is read before and after the accesses: nothing else is in it.
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096UL
#define LINE 64UL

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e9 + t.tv_nsec;
}

static char *pages(unsigned long n)
{
    char *memory = mmap(NULL, n * PAGE, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    unsigned long i;

    if (memory == MAP_FAILED) {
        perror("pageloop: mmap");
        exit(1);
    }
    /* One line of each page, another one for each: no cache set is hotter. */
    for (i = 0; i < n; i++) {
        memory[i * PAGE + i % 64 * LINE] = 1;
    }
    return memory;
}

static uint64_t loop(const char *hot, unsigned long n_hot, const char *cold,
                     unsigned long n_cold, uint64_t limit, uint64_t accesses)
{
    uint64_t state = 1, sum = 0, i;

    for (i = 0; i < accesses; i++) {
        unsigned long page;

        /* The high half decides whether, bits 8 to 31 which page. */
        state = state * 6364136223846793005 + 1442695040888963407;
        if (state >> 32 < limit) {
            page = ((state >> 8 & 0xffffff) * n_cold) >> 24;
            sum += *(const volatile char *)(cold + page * PAGE +
                                            page % 64 * LINE);
        } else {
            page = i % n_hot;
            sum += *(const volatile char *)(hot + page * PAGE +
                                            page % 64 * LINE);
        }
    }
    return sum;
}

static double number(const char *text, double least, double most)
{
    char *end;
    double value = strtod(text, &end);

    if (end == text || *end || !(value >= least && value <= most)) {
        fprintf(stderr, "pageloop: '%s' is not a number from %g to %g\n",
                text, least, most);
        exit(2);
    }
    return value;
}

int main(int argc, char **argv)
{
    unsigned long n_hot = 16, n_cold = 2048;
    uint64_t accesses = 10000000;
    char *hot, *cold;
    int opt;

    while ((opt = getopt(argc, argv, "h:c:n:")) != -1) {
        switch (opt) {
        case 'h':
            n_hot = number(optarg, 1, 1 << 20);
            break;
        case 'c':
            n_cold = number(optarg, 1, 1 << 20);
            break;
        case 'n':
            accesses = number(optarg, 1, 1e12);
            break;
        default:
            optind = argc;
        }
    }
    if (optind >= argc) {
        fputs("usage: pageloop [-h HOT] [-c COLD] [-n ACCESSES] PERCENT...\n",
              stderr);
        return 2;
    }
    hot = pages(n_hot);
    cold = pages(n_cold);
    for (; optind < argc; optind++) {
        double percent = number(argv[optind], 0, 100);
        uint64_t limit = percent / 100 * 4294967296.0;
        double start, end;
        uint64_t sum;

        /* Once without the clock, so that all code is translated. */
        loop(hot, n_hot, cold, n_cold, limit, accesses / 20 + 1);
        start = now();
        sum = loop(hot, n_hot, cold, n_cold, limit, accesses);
        end = now();
        if (sum != accesses) {
            fputs("pageloop: memory does not hold what was written\n", stderr);
            return 1;
        }
        printf("pageloop %lu %lu %s %.4f ns\n", n_hot, n_cold, argv[optind],
               (end - start) / accesses);
    }
    return 0;
}
