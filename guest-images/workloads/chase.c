/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pointer chase: a random cycle through all cache lines of the memory, each
 * load giving the address of the next.  Eight rounds.
 */
#include <inttypes.h>
#include <stdio.h>

#include "workload.h"

#define ROUNDS 8

typedef struct Node {
    struct Node *next;
    uint64_t number;
    char line[48];
} Node;

bool chase(unsigned megabytes)
{
    uint64_t n = ((uint64_t)megabytes << 20) / sizeof(Node), i, sum = 0;
    uint64_t visited = 0, home = 0;
    Node *nodes = memory(n * sizeof(Node)), *at = nodes;

    /* Sattolo: exchanging with an earlier one only makes a single cycle. */
    for (i = 0; i < n; i++) {
        nodes[i].next = &nodes[i];
        nodes[i].number = mix(i);
    }
    for (i = n - 1; i > 0; i--) {
        Node *other = &nodes[pick(1, i, i)], *next = nodes[i].next;

        nodes[i].next = other->next;
        other->next = next;
    }
    if (broken) {
        nodes[n / 2].next = nodes[n / 2].next->next;    /* leaves one out */
    }
    begin();
    for (i = 0; i < ROUNDS * n; i++) {
        sum += at->number;
        at = at->next;
    }
    end();

    /* The numbers of all nodes, and home again after n steps, not before. */
    for (i = 0; i < n; i++) {
        sum -= ROUNDS * mix(i);
    }
    at = nodes;
    do {
        visited += !!at->number;
        at->number = 0;
        at = at->next;
        home++;
    } while (at != nodes && home < n);
    printf("chase: %d rounds of %" PRIu64 " nodes, %" PRIu64 " visited\n",
           ROUNDS, n, visited);
    return !sum && visited == n && home == n && at == nodes;
}
