/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sort random 64-bit keys by digits of 11 bits, lowest first: each of six
 * passes reads one array in order and writes to 2,048 places of the other.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "workload.h"

#define BITS 11
#define DIGITS (1u << BITS)
#define PASSES ((64 + BITS - 1) / BITS)

static unsigned digit(uint64_t key, int pass)
{
    return key >> pass * BITS & (DIGITS - 1);
}

static void radix_sort(uint64_t *keys, uint64_t *other, uint64_t n)
{
    static uint64_t place[PASSES][DIGITS];
    uint64_t i, *swap;
    int pass;

    memset(place, 0, sizeof(place));
    for (i = 0; i < n; i++) {
        for (pass = 0; pass < PASSES; pass++) {
            place[pass][digit(keys[i], pass)]++;
        }
    }
    for (pass = 0; pass < PASSES; pass++) {
        uint64_t sum = 0, many;

        for (i = 0; i < DIGITS; i++) {
            many = place[pass][i];
            place[pass][i] = sum;
            sum += many;
        }
        for (i = 0; i < n; i++) {
            other[place[pass][digit(keys[i], pass)]++] = keys[i];
        }
        swap = keys;    /* an even number of passes: ends where it began */
        keys = other;
        other = swap;
    }
}

bool sort(unsigned log2_keys)
{
    uint64_t n = UINT64_C(1) << log2_keys, i, sum = 0, disorder = 0;
    uint64_t *keys = memory(n * sizeof(*keys));
    uint64_t *other = memory(n * sizeof(*other));

    for (i = 0; i < n; i++) {
        keys[i] = mix(i);
        sum += mix(keys[i]);
    }
    begin();
    radix_sort(keys, other, n);
    end();

    keys[n / 3] += broken;
    for (i = 0; i < n; i++) {
        disorder += i && keys[i - 1] > keys[i];
        sum -= mix(keys[i]);
    }
    printf("sort: %" PRIu64 " keys, %" PRIu64 " out of order, %s\n", n,
           disorder, sum ? "not those that there were" : "none lost");
    return !disorder && !sum;
}
