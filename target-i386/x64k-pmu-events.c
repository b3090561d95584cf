/*
 * x64k: which events performance counters count
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The tables are in docs/specs/x64k-pmu.rst, with where each encoding is from.
 */
#include "qemu/osdep.h"
#include "target/i386/x64k-pmu.h"

#define CLASS(name)     (1u << HWTLB_##name)
#define SMALL           CLASS(4K)
#define COALESCED       (CLASS(8K) | CLASS(16K) | CLASS(32K) | CLASS(64K) | \
                         CLASS(64K_HINT))
#define LEAF            CLASS(64K_LEAF)
#define ALL             ((1u << HWTLB_CLASSES) - 1)

/* Who the entries are for. */
#define LOADS           (1u << MMU_DATA_LOAD)
#define STORES          (1u << MMU_DATA_STORE)
#define FETCHES         (1u << MMU_INST_FETCH)

static void add(X64kPmuEvent *event, unsigned source, int times)
{
    event->kind = X64K_EVENT_SUM;
    for (unsigned i = 0; i < event->n; i++) {
        if (event->terms[i].source == source) {
            event->terms[i].times += times;
            return;
        }
    }
    g_assert(event->n < X64K_PMU_MAX_TERMS);
    event->terms[event->n].source = source;
    event->terms[event->n].times = times;
    event->n++;
}

/* Fills of L1 with entries of @classes by walks, @times. */
static void add_walked(X64kPmuEvent *event, unsigned who, unsigned classes,
                       int times)
{
    event->kind = X64K_EVENT_SUM;
    for (int type = MMU_DATA_LOAD; type <= MMU_INST_FETCH; type++) {
        for (int class = 0; class < HWTLB_CLASSES; class++) {
            if ((who >> type & 1) && (classes >> class & 1)) {
                add(event, X64K_SOURCE_WALKED + type * HWTLB_CLASSES + class,
                    times);
            }
        }
    }
}

/* Fills of the L1 dTLB with entries of @classes that the STLB had. */
static void add_reloaded(X64kPmuEvent *event, unsigned classes)
{
    event->kind = X64K_EVENT_SUM;
    for (int class = 0; class < HWTLB_CLASSES; class++) {
        if (classes >> class & 1) {
            add(event, HWTLB_C_L1D_FILL_4K + class, 1);
        }
    }
    add_walked(event, LOADS | STORES, classes, -1);
}

/* The four sizes of AMD's unit masks; 64 KB leaves belong to no bit. */
static unsigned sizes(unsigned bits)
{
    return (bits & 1 ? SMALL : 0) |
           (bits & 2 ? COALESCED : 0) |
           (bits & 4 ? CLASS(2M) : 0) |
           (bits & 8 ? CLASS(1G) : 0) |
           ((bits & 15) == 15 ? LEAF : 0);
}

static void decode_zen(const HWTLBConfig *config, unsigned family,
                       unsigned select, unsigned umask, X64kPmuEvent *event)
{
    unsigned classes = 0;

    switch (select) {
    case 0x040:                 /* ls_dc_accesses */
        if (config->observe_every) {
            add(event, HWTLB_C_L1D_LOOKUP, 1);
        }
        break;
    case 0x045:                 /* ls_l1_d_tlb_miss */
        add_reloaded(event, sizes(umask));
        add_walked(event, LOADS | STORES, sizes(umask >> 4), 1);
        break;
    case 0xf45:                 /* ours: the same of 64 KB leaves */
        add_reloaded(event, umask & 0x02 ? LEAF : 0);
        add_walked(event, LOADS | STORES, umask & 0x20 ? LEAF : 0, 1);
        break;
    case 0x046:                 /* ls_tablewalker */
        if (family != 0x17) {
            break;
        }
        event->kind = X64K_EVENT_SUM;
        if (umask & 0x01) {
            add(event, HWTLB_C_STLB_LOAD_MISS, 1);
            add(event, HWTLB_C_STLB_STORE_MISS, 1);
        }
        if (umask & 0x04) {
            add(event, HWTLB_C_STLB_FETCH_MISS, 1);
        }
        break;
    case 0x076:                 /* ls_not_halted_cyc */
        event->kind = X64K_EVENT_CYCLES;
        break;
    case 0x078:                 /* ls_tlb_flush */
        if (umask) {
            add(event, X64K_SOURCE_FLUSHES, 1);
        }
        break;
    case 0x084:                 /* bp_l1_tlb_miss_l2_tlb_hit */
        add(event, HWTLB_C_L1I_MISS, 1);
        add(event, HWTLB_C_STLB_FETCH_MISS, -1);
        break;
    case 0x085:                 /* bp_l1_tlb_miss_l2_tlb_miss */
        if (umask & 0x01) {
            classes |= SMALL | (family == 0x17 ? COALESCED : 0);
        }
        if (umask & 0x02) {
            classes |= CLASS(2M);
        }
        if (umask & 0x04) {
            classes |= CLASS(1G);
        }
        if (umask & 0x08) {
            classes |= COALESCED;
        }
        if ((umask & 0x10) || (umask & 0x07) == 0x07) {
            classes |= LEAF;
        }
        add_walked(event, FETCHES, umask ? classes : ALL, 1);
        break;
    case 0x094:                 /* bp_l1_tlb_fetch_hit */
        if (config->observe_every) {
            add(event, HWTLB_C_L1I_HIT, 1);
        }
        break;
    case 0x0c0:                 /* ex_ret_instr */
        event->kind = X64K_EVENT_INSNS;
        break;
    case 0x120:                 /* ls_not_halted_p0_cyc */
        if (umask == 0x01 && family >= 0x19) {
            event->kind = X64K_EVENT_CYCLES;
        }
        break;
    }
}

static void decode_k8(const HWTLBConfig *config, unsigned select,
                      unsigned umask, X64kPmuEvent *event)
{
    /* The first models have no unit masks here: none means all. */
    const unsigned classes =
        !umask || (umask & 7) == 7 ? ALL :
        (umask & 1 ? SMALL | COALESCED : 0) | (umask & 2 ? CLASS(2M) : 0) |
        (umask & 4 ? CLASS(1G) : 0) | (umask & 8 ? LEAF : 0);

    switch (select) {
    case 0x040:                 /* data cache accesses */
        if (config->observe_every) {
            add(event, HWTLB_C_L1D_LOOKUP, 1);
        }
        break;
    case 0x045:                 /* L1 DTLB miss and L2 DTLB hit */
        add_reloaded(event, classes);
        break;
    case 0x046:                 /* L1 DTLB and L2 DTLB miss */
        add_walked(event, LOADS | STORES, classes, 1);
        break;
    case 0x076:                 /* CPU clocks not halted */
        event->kind = X64K_EVENT_CYCLES;
        break;
    case 0x080:                 /* instruction cache fetches */
        if (config->observe_every) {
            add(event, HWTLB_C_L1I_LOOKUP, 1);
        }
        break;
    case 0x084:                 /* L1 ITLB miss, L2 ITLB hit */
        add(event, HWTLB_C_L1I_MISS, 1);
        add(event, HWTLB_C_STLB_FETCH_MISS, -1);
        break;
    case 0x085:                 /* L1 ITLB miss, L2 ITLB miss */
        add_walked(event, FETCHES, (umask & 3) == 3 ? ALL : classes, 1);
        break;
    case 0x0c0:                 /* retired instructions */
        event->kind = X64K_EVENT_INSNS;
        break;
    }
}

/* DTLB_LOAD_MISSES, DTLB_STORE_MISSES or ITLB_MISSES, for @type. */
static void decode_misses(MMUAccessType type, bool causes, unsigned umask,
                          X64kPmuEvent *event)
{
    static const HWTLBCounter l1[] = {
        HWTLB_C_L1D_LOAD_MISS, HWTLB_C_L1D_STORE_MISS, HWTLB_C_L1I_MISS,
    };
    static const HWTLBCounter stlb[] = {
        HWTLB_C_STLB_LOAD_MISS, HWTLB_C_STLB_STORE_MISS,
        HWTLB_C_STLB_FETCH_MISS,
    };

    if (!umask || (umask & (causes ? 0x90 : 0x91))) {
        return;                 /* among them, cycles of walks */
    }
    add_walked(event, 1u << type,
               (umask & 0x02 ? SMALL | COALESCED : 0) |
               (umask & 0x04 ? CLASS(2M) : 0) |
               (umask & 0x08 ? CLASS(1G) : 0) |
               ((umask & 0x40) || (umask & 0x0e) == 0x0e ? LEAF : 0), 1);
    if (umask & 0x01) {         /* MISS_CAUSES_A_WALK */
        add(event, stlb[type], 1);
    }
    if (umask & 0x20) {         /* STLB_HIT */
        add(event, l1[type], 1);
        add(event, stlb[type], -1);
    }
}

static void decode_intel(const HWTLBConfig *config, X64kPmuEvents events,
                         unsigned select, unsigned umask, X64kPmuEvent *event)
{
    const bool skylake = events == X64K_EVENTS_SKYLAKE;

    switch (select << 8 | umask) {
    case 0x3c00:                /* UnHalted Core Cycles */
    case 0x3c01:                /* UnHalted Reference Cycles */
        event->kind = X64K_EVENT_CYCLES;
        return;
    case 0xc000:                /* Instruction Retired */
        event->kind = X64K_EVENT_INSNS;
        return;
    case 0xd081:                /* MEM_INST_RETIRED.ALL_LOADS */
    case 0xd082:                /* MEM_INST_RETIRED.ALL_STORES */
        if (config->observe_every) {
            add(event, X64K_SOURCE_LOOKUPS +
                (umask == 0x81 ? MMU_DATA_LOAD : MMU_DATA_STORE), 1);
        }
        return;
    case 0xae01:                /* ITLB.ITLB_FLUSH */
    case 0xbd01:                /* TLB_FLUSH.DTLB_THREAD */
    case 0xbd20:                /* TLB_FLUSH.STLB_ANY */
        if (skylake) {
            add(event, X64K_SOURCE_FLUSHES, 1);
        }
        return;
    }
    if (select == (skylake ? 0x08 : 0x12)) {
        decode_misses(MMU_DATA_LOAD, skylake, umask, event);
    } else if (select == (skylake ? 0x49 : 0x13)) {
        decode_misses(MMU_DATA_STORE, skylake, umask, event);
    } else if (select == (skylake ? 0x85 : 0x11)) {
        decode_misses(MMU_INST_FETCH, skylake, umask, event);
    }
}

/* Edge, invert, counter mask: they ask in which cycles something happens. */
#define MODIFIERS       ((1ull << 18) | (1ull << 23) | (0xffull << 24))

void x64k_pmu_decode(X64kPmuEvents events, const HWTLBConfig *config,
                     unsigned family, uint64_t control, X64kPmuEvent *event)
{
    const unsigned umask = extract64(control, 8, 8);
    const unsigned select = extract64(control, 0, 8);
    const unsigned select12 = select | extract64(control, 32, 4) << 8;

    *event = (X64kPmuEvent) { .kind = X64K_EVENT_UNKNOWN };
    if (control & MODIFIERS) {
        return;
    }
    switch (events) {
    case X64K_EVENTS_K8:
        decode_k8(config, select12, umask, event);
        break;
    case X64K_EVENTS_ZEN:
        decode_zen(config, family, select12, umask, event);
        break;
    default:
        decode_intel(config, events, select, umask, event);
        break;
    }
}

void x64k_pmu_decode_fixed(unsigned n, X64kPmuEvent *event)
{
    *event = (X64kPmuEvent) {
        .kind = n == 0 ? X64K_EVENT_INSNS : X64K_EVENT_CYCLES,
    };
}
