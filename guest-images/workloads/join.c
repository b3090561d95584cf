/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hash join without partitioning, as Blanas, Li and Patel (SIGMOD 2011) found
 * it best: build a table of one relation, probe it with the other, which is
 * four times as large.  Three in four of its tuples find a partner.
 */
#include <inttypes.h>
#include <stdio.h>

#include "workload.h"

typedef struct Tuple {
    uint64_t key, payload;
} Tuple;

typedef struct Entry {
    struct Entry *next;
    Tuple tuple;
} Entry;

/* Keys are a permutation of the 64-bit numbers: distinct, and in any order. */
static uint64_t key_of(uint64_t i)
{
    return mix(i);
}

/* Another hash than what made the keys. */
static uint64_t bucket_of(uint64_t key, unsigned bits)
{
    return key * 0xd6e8feb86659fd93 >> (64 - bits);
}

bool join(unsigned log2_tuples)
{
    uint64_t n = UINT64_C(1) << log2_tuples, probes = 4 * n, i;
    uint64_t matches = 0, sum = 0, want = 0;
    Tuple *build = memory(n * sizeof(*build));
    Tuple *probe = memory(probes * sizeof(*probe));
    Entry **buckets = memory(n * sizeof(*buckets));
    Entry *entries = memory(n * sizeof(*entries)), *e;

    for (i = 0; i < n; i++) {
        build[i] = (Tuple){ key_of(i), i };
    }
    for (i = 0; i < probes; i++) {
        uint64_t partner = pick(2, i, n);

        /* Every fourth has a key that no tuple of the first relation has. */
        probe[i] = (Tuple){ key_of(i % 4 ? partner : n + partner), i };
        want += i % 4 ? partner ^ i : 0;
    }
    begin();
    for (i = 0; i < n; i++) {
        Entry **bucket = &buckets[bucket_of(build[i].key, log2_tuples)];

        entries[i].tuple = build[i];
        entries[i].next = *bucket;
        *bucket = &entries[i];
    }
    for (i = 0; i < probes; i++) {
        e = buckets[bucket_of(probe[i].key, log2_tuples)];
        for (; e; e = e->next) {
            if (e->tuple.key == probe[i].key) {
                matches++;
                sum += e->tuple.payload ^ probe[i].payload;
            }
        }
    }
    end();

    matches -= broken;
    printf("join: %" PRIu64 " tuples probed by %" PRIu64 ", %" PRIu64
           " matches\n", n, probes, matches);
    return matches == probes / 4 * 3 && sum == want;
}
