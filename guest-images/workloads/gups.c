/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * RandomAccess of the HPC Challenge benchmark: exclusive-or random words of a
 * table with the random numbers themselves, four times as often as it has
 * words.  As there, 128 streams take turns; unlike there, not one word may be
 * wrong.  To do the same again undoes it, whatever the order.
 */
#include <inttypes.h>
#include <stdio.h>

#include "workload.h"

#define STREAMS 128

/* The next number: a step of a shift register over x^64 + x^2 + x + 1. */
static uint64_t next(uint64_t r)
{
    return r << 1 ^ (r >> 63 ? 7 : 0);
}

/* The @n-th number after 1: x^n modulo the polynomial. */
static uint64_t start(uint64_t n)
{
    uint64_t squares[64], r = 1, sum;
    int i, j;

    /* squares[i] is x^2i: what the square of bit i gives. */
    for (i = 0; i < 64; i++) {
        squares[i] = r;
        r = next(next(r));
    }
    r = 1;
    for (i = 63; i >= 0; i--) {
        for (j = 0, sum = 0; j < 64; j++) {
            sum ^= r >> j & 1 ? squares[j] : 0;
        }
        r = n >> i & 1 ? next(sum) : sum;
    }
    return r;
}

static void update(uint64_t *table, uint64_t words)
{
    uint64_t updates = 4 * words, ran[STREAMS], i;
    int j;

    for (j = 0; j < STREAMS; j++) {
        ran[j] = start(updates / STREAMS * j);
    }
    for (i = 0; i < updates / STREAMS; i++) {
        for (j = 0; j < STREAMS; j++) {
            ran[j] = next(ran[j]);
            table[ran[j] & (words - 1)] ^= ran[j];
        }
    }
}

bool gups(unsigned log2_words)
{
    uint64_t words = UINT64_C(1) << log2_words, wrong = 0, changed = 0, i;
    uint64_t *table = memory(words * sizeof(*table));

    for (i = 0; i < words; i++) {
        table[i] = i;
    }
    begin();
    update(table, words);
    end();

    table[words / 3] ^= broken;
    for (i = 0; i < words; i++) {
        changed += table[i] != i;
    }
    update(table, words);
    for (i = 0; i < words; i++) {
        wrong += table[i] != i;
    }
    printf("gups: %" PRIu64 " updates of %" PRIu64 " words, %" PRIu64
           " changed, %" PRIu64 " wrong\n", 4 * words, words, changed, wrong);
    /* Four random numbers for each word leave 1 in 55 untouched (e^-4); the
     * first ones, powers of x, are not that random: for 2^16 words, 1 in 11. */
    return !wrong && changed > words / 10 * 9;
}
