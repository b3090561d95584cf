/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Touch anonymous memory in three ways, each a region of its own:
 *
 *   first-touch  one write to every page: what a page fault costs
 *   dense        more passes over every page in order, reading every 64 bytes:
 *                one TLB entry after the other, each used once and then left
 *   random       8-byte reads from anywhere: what the TLBs can hold
 *
 * Every read is checked: each phase's sum must be what the generator of the
 * data says it is, computed without the memory.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "hwtlb.h"

#define PAGE 4096UL
#define LINE 64UL
#define FOLIO (64UL << 10)

static uint64_t *words;         /* the memory */
static uint64_t n_words;

/* What word i holds (splitmix64: neighbours have nothing in common). */
static uint64_t mix(uint64_t i)
{
    i += 0x9e3779b97f4a7c15;
    i = (i ^ (i >> 30)) * 0xbf58476d1ce4e5b9;
    i = (i ^ (i >> 27)) * 0x94d049bb133111eb;
    return i ^ (i >> 31);
}

/* The word of the k-th random read, uniform for any size. */
static uint64_t pick(uint64_t seed, uint64_t k)
{
    return (unsigned __int128)mix(seed ^ mix(k)) * n_words >> 64;
}

static int check(const char *phase, uint64_t got, uint64_t want)
{
    printf("%s: sum %016" PRIx64 "%s\n", phase, got,
           got == want ? "" : " is WRONG");
    return got != want;
}

static int first_touch(void)
{
    uint64_t i, sum = 0, want = 0;

    hwtlb_begin(1, "first-touch");
    for (i = 0; i < n_words; i += PAGE / 8) {
        words[i] = mix(i);
    }
    hwtlb_end(1);

    /* Not counted: the rest of the data. */
    for (i = 0; i < n_words; i++) {
        sum += i % (PAGE / 8) ? 0 : words[i];
        want += i % (PAGE / 8) ? 0 : mix(i);
        words[i] = mix(i);
    }
    return check("first-touch", sum, want);
}

static int dense(unsigned passes)
{
    uint64_t i, sum = 0, want = 0;
    unsigned pass;

    hwtlb_begin(2, "dense");
    for (pass = 0; pass < passes; pass++) {
        for (i = 0; i < n_words; i += LINE / 8) {
            sum += words[i];
        }
    }
    hwtlb_end(2);

    for (i = 0; i < n_words; i += LINE / 8) {
        want += mix(i) * passes;
    }
    return check("dense", sum, want);
}

static int random_reads(uint64_t seed, uint64_t reads)
{
    uint64_t k, sum = 0, want = 0;

    hwtlb_begin(3, "random");
    for (k = 0; k < reads; k++) {
        sum += words[pick(seed, k)];
    }
    hwtlb_end(3);

    for (k = 0; k < reads; k++) {
        want += mix(pick(seed, k));
    }
    return check("random", sum, want);
}

static uint64_t number(const char *text, uint64_t max)
{
    uint64_t value;
    char *end;

    errno = 0;
    value = strtoull(text, &end, 0);
    if (errno || end == text || *end || *text == '-' || value > max) {
        fprintf(stderr, "toucher: '%s' is not a number up to %" PRIu64 "\n",
                text, max);
        exit(2);
    }
    return value;
}

int main(int argc, char **argv)
{
    uint64_t megabytes = 64, passes = 4, reads = 1000000, seed = 1;
    char *memory;
    int opt, wrong;

    while ((opt = getopt(argc, argv, "m:p:r:s:")) != -1) {
        switch (opt) {
        case 'm':
            megabytes = number(optarg, 1 << 20);
            break;
        case 'p':
            passes = number(optarg, UINT32_MAX);
            break;
        case 'r':
            reads = number(optarg, UINT64_MAX);
            break;
        case 's':
            seed = number(optarg, UINT64_MAX);
            break;
        default:
            fputs("usage: toucher [-m MEGABYTES] [-p PASSES] [-r READS] "
                  "[-s SEED]\n", stderr);
            return 2;
        }
    }
    if (optind < argc || !megabytes) {
        fputs("toucher: bad arguments (see touch -h)\n", stderr);
        return 2;
    }
    n_words = (megabytes << 20) / 8;

    /*
     * Start on a 64 KB boundary: a folio of 64 KB must lie naturally aligned
     * and whole inside the mapping, else the kernel takes small pages at both
     * ends and the closed forms (pages / 16) would be off by those.
     */
    memory = mmap(NULL, n_words * 8 + FOLIO, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        perror("toucher: mmap");
        return 1;
    }
    words = (uint64_t *)(((uintptr_t)memory + FOLIO - 1) & -FOLIO);

    wrong = first_touch();
    wrong |= dense(passes);
    wrong |= random_reads(seed, reads);
    return wrong;
}
