/*
 * x64k: performance counters of the processor, fed by the TLB model
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Registers and events: docs/specs/x64k-pmu.rst.
 *
 * Nothing is counted for a performance counter while the guest runs.  What can
 * be counted stands in *sources*, which run all the time or are read off a
 * clock; a counter remembers what its event stood at when it last looked.
 *
 * A PMU belongs to one vCPU, and is touched on its thread alone, or while it
 * is stopped.
 */
#ifndef I386_X64K_PMU_H
#define I386_X64K_PMU_H

#include "cpu.h"
#include "exec/mmu-access-type.h"
#include "hw/tlb/hwtlb.h"
#include "qemu/notify.h"
#include "qemu/timer.h"

/* Whose registers and events they are. */
typedef enum X64kPmuKind {
    X64K_PMU_K7,                /* four counters, C0010000 to 7 */
    X64K_PMU_CORE,              /* six, from C0010200 on, and the same */
    X64K_PMU_V2,                /* and global control, from C0000300 on */
    X64K_PMU_INTEL,             /* architectural version 2 */
} X64kPmuKind;

typedef enum X64kPmuEvents {
    X64K_EVENTS_K8,             /* AMD before family 17h */
    X64K_EVENTS_ZEN,            /* families 17h and later */
    X64K_EVENTS_SKYLAKE,        /* and those before it, as far as the same */
    X64K_EVENTS_GOLDEN_COVE,
} X64kPmuEvents;

/*
 * What is counted beside the model's own counters, on the paths where the
 * model misses.  They are not saved, nor reset.
 */
typedef struct X64kPmuSources {
    /* L1 fills by a walk: for a load, a store, a fetch */
    uint64_t walked[3][HWTLB_CLASSES];
    uint64_t lookups[3];        /* loads, stores, fetches: if all are seen */
    uint64_t flushes;           /* of all, or of all that is not global */
} X64kPmuSources;

/* Sources are numbered: those of the model, then those above. */
enum {
    X64K_SOURCE_WALKED = HWTLB_C__MAX,
    X64K_SOURCE_LOOKUPS = X64K_SOURCE_WALKED + 3 * HWTLB_CLASSES,
    X64K_SOURCE_FLUSHES = X64K_SOURCE_LOOKUPS + 3,
    X64K_SOURCES
};

#define X64K_PMU_MAX_TERMS  40

/* An event is the cycles, the instructions, or a sum of sources. */
typedef struct X64kPmuEvent {
    enum {
        X64K_EVENT_UNKNOWN,     /* never happens, as far as anybody knows */
        X64K_EVENT_CYCLES,
        X64K_EVENT_INSNS,
        X64K_EVENT_SUM,
    } kind;
    unsigned n;
    struct {
        uint16_t source;
        int16_t times;
    } terms[X64K_PMU_MAX_TERMS];
} X64kPmuEvent;

/* What the event select register @control chooses, of @events. */
void x64k_pmu_decode(X64kPmuEvents events, const HWTLBConfig *config,
                     unsigned family, uint64_t control, X64kPmuEvent *event);

/* The same for the fixed counter @n of Intel's. */
void x64k_pmu_decode_fixed(unsigned n, X64kPmuEvent *event);

#define X64K_PMU_WIDTH      48
#define X64K_PMU_GENERAL    6
#define X64K_PMU_FIXED      3
#define X64K_PMU_COUNTERS   (X64K_PMU_GENERAL + X64K_PMU_FIXED)

typedef struct X64kPmuCounter {
    uint64_t control;           /* event select; not of a fixed counter */
    uint64_t value;             /* when the event stood at @since */
    uint64_t since;
    X64kPmuEvent event;
    bool enabled;               /* at some privilege level */
    bool interrupts;
    bool counts;                /* at this one */
} X64kPmuCounter;

typedef struct X64kPmu {
    CPUX86State *env;
    X64kPmuKind kind;
    X64kPmuEvents events;
    unsigned family;
    unsigned general, fixed;    /* how many counters there are */
    X64kPmuSources sources;
    X64kPmuCounter counters[X64K_PMU_COUNTERS];
    uint64_t fixed_control, global_control, global_status;

    /*
     * What overflows has to be noticed when it happens: TLB events where the
     * model misses, but not before that many more misses; time and
     * instructions by a timer.
     */
    bool watched;
    int64_t misses_left;
    QEMUTimer *timer;
    bool interrupt_queued;

    bool delivers;              /* an interrupt */
    bool halted;
    int64_t halted_at, halted_for;

    Notifier counters_reset;
    GHashTable *told;           /* events that cannot be counted */

    /* In the saved state only. */
    uint32_t saved_kind;
} X64kPmu;

/* Creates the PMU of @cpu, if its property asks for one. */
bool x64k_pmu_realize(X86CPU *cpu, Error **errp);
void x64k_pmu_unrealize(X86CPU *cpu);
void x64k_pmu_reset(CPUX86State *env);

/* Answers CPUID @index if it is one about performance counters. */
bool x64k_pmu_cpuid(const CPUX86State *env, uint32_t index, uint32_t *eax,
                    uint32_t *ebx, uint32_t *ecx, uint32_t *edx);

/* Is @msr one of a PMU?  If it is not there, an access faults. */
bool x64k_pmu_has_msr(const X64kPmu *pmu, uint32_t msr);
/* False: #GP. */
bool x64k_pmu_rdmsr(X64kPmu *pmu, uint32_t msr, uint64_t *value);
bool x64k_pmu_wrmsr(X64kPmu *pmu, uint32_t msr, uint64_t value);
bool x64k_pmu_rdpmc(X64kPmu *pmu, uint32_t index, uint64_t *value);

/* The vCPU begins to wait in HLT, or to run again. */
void x64k_pmu_halt(CPUX86State *env, bool halted);

/*
 * The processor begins, or has ended, to deliver an interrupt: what it reads
 * and writes for that is the operating system's.
 */
void x64k_pmu_interrupt(CPUX86State *env, bool begins);

/* What decides whether a counter counts has changed. */
void x64k_pmu_refresh(X64kPmu *pmu);

/* The state was loaded: what counted before counts from here on. */
void x64k_pmu_restart(X64kPmu *pmu);

/* Has a counter overflowed? */
void x64k_pmu_look_at_misses(X64kPmu *pmu);

/* The model has missed, and is watched. */
static inline void x64k_pmu_missed(X64kPmu *pmu)
{
    if (unlikely(--pmu->misses_left <= 0)) {
        x64k_pmu_look_at_misses(pmu);
    }
}

/* A walk for @type has filled L1 with an entry of @class. */
static inline void x64k_pmu_walked(X64kPmu *pmu, MMUAccessType type,
                                   HWTLBClass class)
{
    pmu->sources.walked[type][class]++;
}

/* The model, which sees all accesses, has looked one up. */
static inline void x64k_pmu_looked_up(X64kPmu *pmu, MMUAccessType type)
{
    pmu->sources.lookups[type]++;
}

/* The guest's software dropped all translations. */
void x64k_pmu_flushed(X64kPmu *pmu);

extern const VMStateDescription vmstate_x64k_pmu;

#endif
