/*
 * What a processor's TLBs count while x64k-guest makes its accesses
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A second implementation of docs/specs/hwtlb.rst: lists of entries, found by
 * GLib's hash tables, page tables read where the guest's RAM has them.  It
 * shares the numbers of the counters with the model (hw/tlb), and no code.  It
 * sees each access of a command, those of the guest's own program too.
 */
#ifndef TESTS_QTEST_X64K_SIM_H
#define TESTS_QTEST_X64K_SIM_H

#include "hw/tlb/hwtlb-counters.h"
#include "x64k-guest.h"

/* In the order of the fill counters. */
typedef enum SimSize {
    SIM_4K, SIM_8K, SIM_16K, SIM_32K, SIM_64K, SIM_64K_HINT, SIM_64K_LEAF,
    SIM_2M, SIM_1G, SIM_SIZES
} SimSize;

#define SIM_PAGES       0x7f            /* sizes up to 64 KB, as a mask */
#define SIM_ALL         0x1ff

typedef enum SimPolicy {
    SIM_FIFO, SIM_LRU, SIM_RANDOM, SIM_TREE_PLRU, SIM_NRU, SIM_POLICIES
} SimPolicy;

typedef enum SimLevel {
    SIM_L1D, SIM_L1I, SIM_STLB, SIM_LEVELS
} SimLevel;

#define SIM_ARRAYS      4
#define SIM_PWCS        3               /* PML4E, PDPTE, PDE */

typedef struct SimArray {
    unsigned sets, ways;                /* 0: there is none */
    unsigned sizes;
    SimPolicy policy;
    bool xor;
} SimArray;

typedef struct SimGeometry {
    SimArray arrays[SIM_LEVELS][SIM_ARRAYS];
    SimArray pwc[SIM_PWCS];
    unsigned coalesce;                  /* pages of 4 KB, 1: none */
} SimGeometry;

typedef struct Sim {
    SimGeometry geometry;
    Guest *guest;
    uint64_t counters[HWTLB_C__MAX];
    /* The rest is the simulation's own. */
    struct SimEntry *entries[SIM_LEVELS + 1][SIM_ARRAYS];
    struct SimSet *sets[SIM_LEVELS + 1][SIM_ARRAYS];
    GHashTable *found[SIM_LEVELS + 1];  /* entries by address and size */
    uint64_t random[SIM_LEVELS + 1][SIM_ARRAYS];
    unsigned held[SIM_LEVELS][SIM_SIZES];
    /* Of RAM: lines that a walk has read; A and D that were set, and where. */
    bool *lines;
    uint8_t *flags;
    GArray *flagged;
} Sim;

/* A processor that @guest, which has made no access yet, runs on. */
Sim *sim_new(const SimGeometry *geometry, uint64_t seed, Guest *guest);
void sim_free(Sim *sim);

/*
 * What guest_run() of the same commands would do; call it before.  Supervisor
 * accesses to whole mapped pages, INVLPG, writes to CR3, OP_CHASE.
 */
void sim_run(Sim *sim, const GuestCommand *commands, size_t n);

/* Once the guest has done it, A and D must be set where they are by now. */
void sim_check_tables(Sim *sim);

void sim_reset_counters(Sim *sim);

/* @geometry as the text of a file for hwtlb-config. */
char *sim_geometry_json(const SimGeometry *geometry);

extern const char *const sim_policy_names[SIM_POLICIES];

#endif
