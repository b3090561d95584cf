/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Breadth-first search as Graph500 has it: a Kronecker graph of 2^SCALE
 * vertices and 16 edges for each, with its vertices renamed at random; from
 * eight vertices, build a tree of all that can be reached; validate each tree
 * by the five rules.  Only the searches are counted.
 */
#include <inttypes.h>
#include <stdio.h>

#include "workload.h"

#define EDGE_FACTOR 16
#define ROOTS 8
#define NONE UINT32_MAX

typedef struct Edge {
    uint32_t from, to;
} Edge;

static uint32_t vertices, *first, *neighbours, *parent, *queue, *level;
static uint64_t edges;
static Edge *list;

/* Of the quarters of the matrix, A has 57 % of the edges, B and C 19 % each. */
static Edge kronecker(uint64_t number, unsigned scale)
{
    Edge e = { 0, 0 };
    unsigned bit;

    for (bit = 0; bit < scale; bit++) {
        uint32_t r = pick(3, number * 32 + bit, 100);

        e.from |= (uint32_t)(r >= 76) << bit;
        e.to |= (uint32_t)((r >= 57 && r < 76) || r >= 95) << bit;
    }
    return e;
}

static void generate(unsigned scale)
{
    uint32_t *name = queue, i;
    uint64_t k;

    for (i = 0; i < vertices; i++) {
        name[i] = i;
    }
    for (i = vertices - 1; i > 0; i--) {
        uint32_t other = pick(4, i, i + 1), swap = name[i];

        name[i] = name[other];
        name[other] = swap;
    }
    for (k = 0; k < edges; k++) {
        Edge e = kronecker(k, scale);

        list[k] = (Edge){ name[e.from], name[e.to] };
    }
}

/* The neighbours of v are those from first[v] up to first[v + 1]. */
static void build(void)
{
    uint64_t k;
    uint32_t v;

    for (k = 0; k < edges; k++) {
        first[list[k].from + 1]++;
        first[list[k].to + 1]++;
    }
    for (v = 0; v < vertices; v++) {
        first[v + 1] += first[v];
        queue[v] = first[v];
    }
    for (k = 0; k < edges; k++) {
        neighbours[queue[list[k].from]++] = list[k].to;
        neighbours[queue[list[k].to]++] = list[k].from;
    }
}

/* How many vertices were reached. */
static uint32_t search(uint32_t root)
{
    uint32_t head = 0, tail = 0, i;

    parent[root] = root;
    queue[tail++] = root;
    while (head < tail) {
        uint32_t v = queue[head++];

        for (i = first[v]; i < first[v + 1]; i++) {
            uint32_t w = neighbours[i];

            if (parent[w] == NONE) {
                parent[w] = v;
                queue[tail++] = w;
            }
        }
    }
    return tail;
}

static bool has_edge(uint32_t v, uint32_t w)
{
    uint32_t i;

    for (i = first[v]; i < first[v + 1] && neighbours[i] != w; i++) {
    }
    return i < first[v + 1];
}

/* The level of a vertex of the tree, or NONE if following the parents from it
 * does not end at the root. */
static uint32_t find_level(uint32_t v, uint32_t root)
{
    uint32_t up = v, steps = 0, at;

    while (up != root && level[up] == NONE) {
        up = parent[up];
        if (up >= vertices || ++steps > vertices) {
            return NONE;
        }
    }
    steps += up == root ? 0 : level[up];
    for (at = v; at != up; at = parent[at]) {
        level[at] = steps--;
    }
    return level[v] = v == root ? 0 : level[v];
}

/* Graph500's rules, by their numbers. */
static bool validate(uint32_t root, uint32_t reached)
{
    uint32_t v, seen = 0;
    uint64_t k;

    for (v = 0; v < vertices; v++) {
        level[v] = NONE;
    }
    if (parent[root] != root) {
        return false;
    }
    for (v = 0; v < vertices; v++) {
        if (parent[v] == NONE) {
            continue;
        }
        seen++;
        /* 1: a tree, without a cycle; 5: of edges that the graph has. */
        if (find_level(v, root) == NONE ||
            (v != root && !has_edge(v, parent[v]))) {
            return false;
        }
    }
    for (k = 0; k < edges; k++) {
        uint32_t a = level[list[k].from], b = level[list[k].to];

        /* 4: both ends are in the tree or none is; 3: at most a level apart. */
        if ((a == NONE) != (b == NONE) ||
            (a != NONE && a != b && a != b + 1 && a + 1 != b)) {
            return false;
        }
    }
    /* 2, parents are one level above, is how levels were found. */
    return seen == reached;
}

bool bfs(unsigned scale)
{
    uint32_t root, reached, right = 0, v;
    uint64_t total = 0, k = 0;
    int i;

    vertices = UINT32_C(1) << scale;
    edges = (uint64_t)EDGE_FACTOR * vertices;
    list = memory(edges * sizeof(*list));
    first = memory((vertices + 1ul) * sizeof(*first));
    neighbours = memory(2 * edges * sizeof(*neighbours));
    parent = memory(vertices * sizeof(*parent));
    queue = memory(vertices * sizeof(*queue));
    level = memory(vertices * sizeof(*level));
    generate(scale);
    build();

    for (i = 0; i < ROOTS; i++) {
        /* A vertex that has an edge to another. */
        do {
            root = pick(5, k++, vertices);
            for (v = first[root]; v < first[root + 1] &&
                 neighbours[v] == root; v++) {
            }
        } while (v == first[root + 1]);
        for (v = 0; v < vertices; v++) {
            parent[v] = NONE;
        }
        begin();
        reached = search(root);
        end();

        if (broken) {
            parent[queue[reached - 1]] = queue[reached - 1];
        }
        right += validate(root, reached);
        total += reached;
    }
    printf("bfs: %" PRIu32 " vertices, %" PRIu64 " edges, %d searches reached "
           "%" PRIu64 ", %" PRIu32 " trees right\n", vertices, edges, ROOTS,
           total, right);
    return right == ROOTS;
}
