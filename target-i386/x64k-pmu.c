/*
 * x64k: performance counters of the processor, fed by the TLB model
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "cpu.h"
#include "system/cpu-timers.h"
#include "exec/translation-block.h"
#include "hw/i386/apic.h"
#include "migration/vmstate.h"
#include "system/tcg.h"
#include "target/i386/hwtlb-cpu.h"
#include "target/i386/x64k-pmu.h"

/* Of an event select register. */
#define CONTROL_USER        (1ull << 16)
#define CONTROL_OS          (1ull << 17)
#define CONTROL_INT         (1ull << 20)
#define CONTROL_ENABLE      (1ull << 22)
#define CONTROL_GUEST       (1ull << 40)
#define CONTROL_HOST        (1ull << 41)
/* AMD's are cleared, as hardware does; Intel's fault. */
#define CONTROL_RESERVED_AMD    0xfffffcf000280000ull
#define CONTROL_RESERVED_INTEL  0xffffffff00200000ull

/* What a fixed counter has in its four bits. */
#define FIXED_OS            1
#define FIXED_USER          2
#define FIXED_INT           8
#define FIXED_VALID         (FIXED_OS | FIXED_USER | FIXED_INT)
#define FIXED_SHIFT         32      /* of fixed counters in global registers */

/* DS buffer and "condition changed": they can be cleared, but are never set. */
#define STATUS_OTHERS       (3ull << 62)

#define MSR_K7_SELECT       0xc0010000u
#define MSR_K7_COUNTER      0xc0010004u
#define MSR_AMD_CORE        0xc0010200u     /* select, counter, select, ... */
#define MSR_AMD_CORE_END    0xc001020fu
#define MSR_AMD_L3          0xc0010230u
#define MSR_AMD_NB_END      0xc0010247u
#define MSR_AMD_STATUS      0xc0000300u
#define MSR_AMD_CONTROL     0xc0000301u
#define MSR_AMD_CLEAR       0xc0000302u
#define MSR_AMD_SET         0xc0000303u
#define MSR_INTEL_COUNTER   0x0c1u
#define MSR_INTEL_SELECT    0x186u
#define MSR_INTEL_FULL      0x4c1u
#define MSR_INTEL_FIXED     0x309u
#define MSR_INTEL_FIXED_CTL 0x38du
#define MSR_INTEL_STATUS    0x38eu
#define MSR_INTEL_CONTROL   0x38fu
#define MSR_INTEL_CLEAR     0x390u
#define MSR_INTEL_MOST      8u              /* of each kind, on any model */

#define VALUE_MASK          ((1ull << X64K_PMU_WIDTH) - 1)

/*
 * A counter that is further from its overflow is not watched: nobody can miss
 * that often before the next time that software looks at it.
 */
#define FAR_AWAY            (1ull << 40)
/* One step can add so much to a counter: what it hits, fills and flushes. */
#define MOST_AT_ONCE        4
/* Time between two looks at what a timer watches. */
#define SHORTEST_WAIT       2000
#define MAX_TOLD            64

static CPUState *cpu_of(X64kPmu *pmu)
{
    return env_cpu(pmu->env);
}

static bool has_global(const X64kPmu *pmu)
{
    return pmu->kind == X64K_PMU_V2 || pmu->kind == X64K_PMU_INTEL;
}

/* The bit of counter @i in the global registers. */
static uint64_t global_bit(const X64kPmu *pmu, unsigned i)
{
    return 1ull << (i < pmu->general ? i : FIXED_SHIFT + i - pmu->general);
}

static uint64_t global_bits(const X64kPmu *pmu)
{
    return MAKE_64BIT_MASK(0, pmu->general) |
           (pmu->fixed ? MAKE_64BIT_MASK(FIXED_SHIFT, pmu->fixed) : 0);
}

static unsigned n_counters(const X64kPmu *pmu)
{
    return pmu->general + pmu->fixed;
}

/*
 * What events stand at
 */

static uint64_t source(const X64kPmu *pmu, unsigned n)
{
    if (n < HWTLB_C__MAX) {
        return hwtlb_counter(pmu->env->hwtlb, n);
    }
    if (n == X64K_SOURCE_FLUSHES) {
        return pmu->sources.flushes;
    }
    if (n >= X64K_SOURCE_LOOKUPS) {
        return pmu->sources.lookups[n - X64K_SOURCE_LOOKUPS];
    }
    n -= X64K_SOURCE_WALKED;
    return pmu->sources.walked[n / HWTLB_CLASSES][n % HWTLB_CLASSES];
}

/* One each nanosecond of virtual time in which the vCPU is not halted. */
static uint64_t cycles(const X64kPmu *pmu)
{
    const int64_t now = pmu->halted ? pmu->halted_at :
                                      qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL);

    return now - pmu->halted_for;
}

static uint64_t event_now(const X64kPmu *pmu, const X64kPmuEvent *event)
{
    uint64_t sum = 0;

    switch (event->kind) {
    case X64K_EVENT_CYCLES:
        return cycles(pmu);
    case X64K_EVENT_INSNS:
        return pmu->env->insns;
    case X64K_EVENT_SUM:
        for (unsigned i = 0; i < event->n; i++) {
            sum += event->terms[i].times * source(pmu, event->terms[i].source);
        }
        return sum;
    default:
        return 0;
    }
}

/*
 * Overflow
 */

static void deliver(CPUState *cs, run_on_cpu_data data)
{
    X64kPmu *pmu = cpu_env(cs)->pmu;

    if (!pmu) {
        return;
    }
    pmu->interrupt_queued = false;
    if (X86_CPU(cs)->apic_state) {
        apic_deliver_pmi(X86_CPU(cs)->apic_state,
                         pmu->kind == X64K_PMU_INTEL);
    }
}

/* The vCPU takes it as soon as it leaves the block that it is in. */
static void queue_interrupt(X64kPmu *pmu)
{
    if (!pmu->interrupt_queued) {
        pmu->interrupt_queued = true;
        async_run_on_cpu(cpu_of(pmu), deliver, RUN_ON_CPU_NULL);
    }
}

/* The value of counter @i is that of now. */
static void account(X64kPmu *pmu, unsigned i)
{
    X64kPmuCounter *counter = &pmu->counters[i];
    const uint64_t now = event_now(pmu, &counter->event);

    if (counter->counts) {
        counter->value += now - counter->since;
        if (counter->value > VALUE_MASK) {
            counter->value &= VALUE_MASK;
            if (has_global(pmu)) {
                pmu->global_status |= global_bit(pmu, i);
            }
            if (counter->interrupts) {
                queue_interrupt(pmu);
            }
        }
    }
    counter->since = now;
}

static bool is_timed(const X64kPmuCounter *counter)
{
    return counter->event.kind == X64K_EVENT_CYCLES ||
           counter->event.kind == X64K_EVENT_INSNS;
}

/* How many misses are there at least until a counter overflows? */
static void watch_misses(X64kPmu *pmu)
{
    uint64_t nearest = FAR_AWAY;
    bool watched;

    for (unsigned i = 0; i < n_counters(pmu); i++) {
        const X64kPmuCounter *counter = &pmu->counters[i];

        if (counter->enabled && counter->interrupts &&
            counter->event.kind == X64K_EVENT_SUM) {
            nearest = MIN(nearest, VALUE_MASK + 1 - counter->value);
        }
    }
    watched = nearest < FAR_AWAY;
    pmu->misses_left = nearest / MOST_AT_ONCE;
    if (watched != pmu->watched) {
        pmu->watched = watched;
        x86_hwtlb_watch(pmu->env->hwtlb, watched);
    }
}

void x64k_pmu_look_at_misses(X64kPmu *pmu)
{
    for (unsigned i = 0; i < n_counters(pmu); i++) {
        if (pmu->counters[i].counts &&
            pmu->counters[i].event.kind == X64K_EVENT_SUM) {
            account(pmu, i);
        }
    }
    watch_misses(pmu);
}

void x64k_pmu_flushed(X64kPmu *pmu)
{
    pmu->sources.flushes++;
    if (pmu->watched) {
        x64k_pmu_missed(pmu);
    }
}

/* Looks again when a counter of time or instructions may overflow. */
static void watch_time(X64kPmu *pmu)
{
    int64_t wait = INT64_MAX;

    for (unsigned i = 0; i < n_counters(pmu) && !pmu->halted; i++) {
        const X64kPmuCounter *counter = &pmu->counters[i];

        if (counter->enabled && counter->interrupts && is_timed(counter)) {
            int64_t left = VALUE_MASK + 1 - counter->value;

            if (counter->event.kind == X64K_EVENT_INSNS && !icount_enabled()) {
                left /= 4;      /* no emulator is that fast */
            }
            wait = MIN(wait, MAX(left, SHORTEST_WAIT));
        }
    }
    if (wait == INT64_MAX) {
        timer_del(pmu->timer);
    } else {
        timer_mod_ns(pmu->timer, qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL) + wait);
    }
}

static bool has_timed(const X64kPmu *pmu)
{
    for (unsigned i = 0; i < n_counters(pmu); i++) {
        if (pmu->counters[i].enabled && is_timed(&pmu->counters[i])) {
            return true;
        }
    }
    return false;
}

static void look_at_time(CPUState *cs, run_on_cpu_data data)
{
    X64kPmu *pmu = cpu_env(cs)->pmu;

    for (unsigned i = 0; pmu && i < n_counters(pmu); i++) {
        if (is_timed(&pmu->counters[i])) {
            account(pmu, i);
        }
    }
    if (pmu) {
        watch_time(pmu);
    }
}

static void time_is_up(void *opaque)
{
    X64kPmu *pmu = opaque;

    async_run_on_cpu(cpu_of(pmu), look_at_time, RUN_ON_CPU_NULL);
}

void x64k_pmu_halt(CPUX86State *env, bool halted)
{
    X64kPmu *pmu = env->pmu;

    if (!pmu || halted == pmu->halted) {
        return;
    }
    if (halted) {
        pmu->halted_at = qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL);
        pmu->halted = true;
    } else {
        pmu->halted_for += qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL) -
                           pmu->halted_at;
        pmu->halted = false;
        if (has_timed(pmu)) {
            look_at_time(env_cpu(env), RUN_ON_CPU_NULL);
        }
    }
}

/*
 * What counts, and when
 */

/* The levels at which counter @i counts: CONTROL_USER and CONTROL_OS. */
static uint64_t levels(const X64kPmu *pmu, unsigned i)
{
    unsigned fixed;

    if (i < pmu->general) {
        return pmu->counters[i].control & (CONTROL_USER | CONTROL_OS);
    }
    fixed = pmu->fixed_control >> (i - pmu->general) * 4;
    return (fixed & FIXED_USER ? CONTROL_USER : 0) |
           (fixed & FIXED_OS ? CONTROL_OS : 0);
}

/* Does counter @i look at whether an SVM guest runs? */
static bool is_hosted(const X64kPmu *pmu, unsigned i)
{
    const uint64_t both = CONTROL_GUEST | CONTROL_HOST;
    const uint64_t which = i < pmu->general ?
                           pmu->counters[i].control & both : 0;

    return pmu->kind != X64K_PMU_INTEL && which && which != both &&
           (pmu->env->efer & MSR_EFER_SVME);
}

static bool counts_now(const X64kPmu *pmu, unsigned i)
{
    const uint32_t hflags = pmu->env->hflags;
    const X64kPmuCounter *counter = &pmu->counters[i];
    const uint64_t level = (hflags & HF_CPL_MASK) && !pmu->delivers ?
                           CONTROL_USER : CONTROL_OS;

    if (!counter->enabled || !(levels(pmu, i) & level)) {
        return false;
    }
    return !is_hosted(pmu, i) ||
           !(hflags & HF_GUEST_MASK) == !(counter->control & CONTROL_GUEST);
}

void x64k_pmu_update_cpl(CPUX86State *env)
{
    X64kPmu *pmu = env->pmu;

    for (unsigned i = 0; i < n_counters(pmu); i++) {
        X64kPmuCounter *counter = &pmu->counters[i];

        if (counter->enabled && counter->counts != counts_now(pmu, i)) {
            account(pmu, i);
            counter->counts = !counter->counts;
        }
    }
}

void x64k_pmu_interrupt(CPUX86State *env, bool begins)
{
    if (env->pmu) {
        env->pmu->delivers = begins;
        x64k_pmu_update_cpl(env);
    }
}

static bool is_enabled(const X64kPmu *pmu, unsigned i)
{
    if (has_global(pmu) && !(pmu->global_control & global_bit(pmu, i))) {
        return false;
    }
    return levels(pmu, i) &&
           (i >= pmu->general ||
            (pmu->counters[i].control & CONTROL_ENABLE));
}

static bool is_interrupting(const X64kPmu *pmu, unsigned i)
{
    return i < pmu->general ?
           pmu->counters[i].control & CONTROL_INT :
           pmu->fixed_control >> (i - pmu->general) * 4 & FIXED_INT;
}

/* An event that reads as 0 because nobody knows it: the user must know. */
static void tell_unknown(X64kPmu *pmu, const X64kPmuCounter *counter)
{
    const unsigned select = extract64(counter->control, 0, 8) |
                            extract64(counter->control, 32, 4) << 8;
    const unsigned umask = extract64(counter->control, 8, 8);
    /* Edge, invert and counter mask make it another. */
    const uint64_t modifiers = counter->control & 0xff840000;
    const gpointer key = GSIZE_TO_POINTER((select << 8 | umask) ^
                                          modifiers << 20);

    if (g_hash_table_size(pmu->told) < MAX_TOLD &&
        g_hash_table_add(pmu->told, key)) {
        warn_report("x64k-pmu: the guest counts event 0x%x, unit mask 0x%x%s, "
                    "which cannot be counted here and reads as 0", select,
                    umask, modifiers ? " with modifiers" : "");
    }
}

/* Registers have changed, or what counted is to go on from here. */
void x64k_pmu_refresh(X64kPmu *pmu)
{
    CPUState *cs = cpu_of(pmu);
    bool insns = X86_CPU(cs)->hwtlb_options.verify, needs_cpl = false;

    for (unsigned i = 0; i < n_counters(pmu); i++) {
        X64kPmuCounter *counter = &pmu->counters[i];
        const bool was_enabled = counter->enabled;

        counter->enabled = is_enabled(pmu, i);
        counter->interrupts = is_interrupting(pmu, i);
        if (counter->enabled) {
            needs_cpl |= is_hosted(pmu, i) ||
                         levels(pmu, i) != (CONTROL_USER | CONTROL_OS);
            insns |= counter->event.kind == X64K_EVENT_INSNS;
            if (counter->event.kind == X64K_EVENT_UNKNOWN) {
                tell_unknown(pmu, counter);
            }
        }
        if (!counter->enabled && !was_enabled) {
            continue;
        }
        account(pmu, i);
        counter->counts = counts_now(pmu, i);
    }
    pmu->env->pmu_needs_cpl = needs_cpl;
    if (insns) {
        cs->tcg_cflags |= CF_COUNT_INSNS;
    } else {
        cs->tcg_cflags &= ~CF_COUNT_INSNS;
    }
    watch_misses(pmu);
    watch_time(pmu);
}

void x64k_pmu_restart(X64kPmu *pmu)
{
    pmu->delivers = false;
    pmu->halted = cpu_of(pmu)->halted;
    pmu->halted_at = qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL);
    pmu->halted_for = 0;
    for (unsigned i = 0; i < n_counters(pmu); i++) {
        pmu->counters[i].counts = false;
    }
    x64k_pmu_refresh(pmu);
}

/* The counters of the model are about to be 0. */
static void counters_reset(Notifier *notifier, void *data)
{
    X64kPmu *pmu = container_of(notifier, X64kPmu, counters_reset);
    const X86HwtlbNews *news = data;

    if (news->cs != cpu_of(pmu) || news->event != X86_HWTLB_RESET) {
        return;
    }
    for (unsigned i = 0; i < n_counters(pmu); i++) {
        X64kPmuCounter *counter = &pmu->counters[i];
        const X64kPmuEvent *event = &counter->event;

        account(pmu, i);
        if (event->kind != X64K_EVENT_SUM) {
            continue;
        }
        for (unsigned t = 0; t < event->n; t++) {
            if (event->terms[t].source < HWTLB_C__MAX) {
                counter->since -= event->terms[t].times *
                                  source(pmu, event->terms[t].source);
            }
        }
    }
}

/*
 * Registers
 */

typedef enum Register {
    REG_NONE,                   /* of another CPU model: #GP */
    REG_SELECT,
    REG_COUNTER,
    REG_FIXED_CONTROL,
    REG_CONTROL,
    REG_STATUS,
    REG_CLEAR,
} Register;

static bool is_in(uint32_t msr, uint32_t first, uint32_t n)
{
    return msr - first < n;
}

static Register find_amd(const X64kPmu *pmu, uint32_t msr, unsigned *i)
{
    if (is_in(msr, MSR_K7_SELECT, 4)) {
        *i = msr - MSR_K7_SELECT;
        return REG_SELECT;
    }
    if (is_in(msr, MSR_K7_COUNTER, 4)) {
        *i = msr - MSR_K7_COUNTER;
        return REG_COUNTER;
    }
    if (pmu->kind != X64K_PMU_K7 &&
        is_in(msr, MSR_AMD_CORE, 2 * pmu->general)) {
        *i = (msr - MSR_AMD_CORE) / 2;
        return (msr - MSR_AMD_CORE) % 2 ? REG_COUNTER : REG_SELECT;
    }
    if (pmu->kind == X64K_PMU_V2) {
        switch (msr) {
        case MSR_AMD_STATUS:
            return REG_STATUS;
        case MSR_AMD_CONTROL:
            return REG_CONTROL;
        case MSR_AMD_CLEAR:
            return REG_CLEAR;
        }
    }
    return REG_NONE;
}

static Register find_intel(const X64kPmu *pmu, uint32_t msr, unsigned *i)
{
    if (is_in(msr, MSR_INTEL_SELECT, pmu->general)) {
        *i = msr - MSR_INTEL_SELECT;
        return REG_SELECT;
    }
    if (is_in(msr, MSR_INTEL_COUNTER, pmu->general)) {
        *i = msr - MSR_INTEL_COUNTER;
        return REG_COUNTER;
    }
    if (is_in(msr, MSR_INTEL_FIXED, pmu->fixed)) {
        *i = pmu->general + msr - MSR_INTEL_FIXED;
        return REG_COUNTER;
    }
    switch (msr) {
    case MSR_INTEL_FIXED_CTL:
        return REG_FIXED_CONTROL;
    case MSR_INTEL_STATUS:
        return REG_STATUS;
    case MSR_INTEL_CONTROL:
        return REG_CONTROL;
    case MSR_INTEL_CLEAR:
        return REG_CLEAR;
    }
    return REG_NONE;
}

static Register find(const X64kPmu *pmu, uint32_t msr, unsigned *i)
{
    return pmu->kind == X64K_PMU_INTEL ? find_intel(pmu, msr, i)
                                       : find_amd(pmu, msr, i);
}

bool x64k_pmu_has_msr(const X64kPmu *pmu, uint32_t msr)
{
    if (pmu->kind == X64K_PMU_INTEL) {
        return is_in(msr, MSR_INTEL_SELECT, MSR_INTEL_MOST) ||
               is_in(msr, MSR_INTEL_COUNTER, MSR_INTEL_MOST) ||
               is_in(msr, MSR_INTEL_FULL, MSR_INTEL_MOST) ||
               is_in(msr, MSR_INTEL_FIXED, 4) ||
               (msr >= MSR_INTEL_FIXED_CTL && msr <= MSR_INTEL_CLEAR);
    }
    return is_in(msr, MSR_K7_SELECT, 8) ||
           (msr >= MSR_AMD_CORE && msr <= MSR_AMD_CORE_END) ||
           (msr >= MSR_AMD_L3 && msr <= MSR_AMD_NB_END) ||
           (msr >= MSR_AMD_STATUS && msr <= MSR_AMD_SET);
}

static uint64_t read_counter(X64kPmu *pmu, unsigned i)
{
    account(pmu, i);
    return pmu->counters[i].value;
}

bool x64k_pmu_rdmsr(X64kPmu *pmu, uint32_t msr, uint64_t *value)
{
    unsigned i = 0;

    *value = 0;
    switch (find(pmu, msr, &i)) {
    case REG_SELECT:
        *value = pmu->counters[i].control;
        return true;
    case REG_COUNTER:
        *value = read_counter(pmu, i);
        return true;
    case REG_FIXED_CONTROL:
        *value = pmu->fixed_control;
        return true;
    case REG_CONTROL:
        *value = pmu->global_control;
        return true;
    case REG_STATUS:
        for (i = 0; i < n_counters(pmu); i++) {
            account(pmu, i);
        }
        *value = pmu->global_status;
        return true;
    case REG_CLEAR:
        return true;
    default:
        return false;
    }
}

static bool write_select(X64kPmu *pmu, unsigned i, uint64_t value)
{
    X64kPmuCounter *counter = &pmu->counters[i];

    if (pmu->kind != X64K_PMU_INTEL) {
        value &= ~CONTROL_RESERVED_AMD;
    } else if (value & CONTROL_RESERVED_INTEL) {
        return false;
    }
    account(pmu, i);
    if (value != counter->control) {
        counter->control = value;
        x64k_pmu_decode(pmu->events, hwtlb_config(pmu->env->hwtlb),
                        pmu->family, value, &counter->event);
        counter->since = event_now(pmu, &counter->event);
    }
    x64k_pmu_refresh(pmu);
    return true;
}

static void write_counter(X64kPmu *pmu, unsigned i, uint64_t value)
{
    if (pmu->kind == X64K_PMU_INTEL && i < pmu->general) {
        /* Without full-width writes, 32 bits are sign-extended. */
        value = (int32_t)value;
    }
    account(pmu, i);
    pmu->counters[i].value = value & VALUE_MASK;
    if (pmu->counters[i].enabled) {
        x64k_pmu_refresh(pmu);
    }
}

static bool write_fixed_control(X64kPmu *pmu, uint64_t value)
{
    uint64_t valid = 0;

    for (unsigned i = 0; i < pmu->fixed; i++) {
        valid |= (uint64_t)FIXED_VALID << i * 4;
    }
    if (value & ~valid) {
        return false;
    }
    pmu->fixed_control = value;
    x64k_pmu_refresh(pmu);
    return true;
}

static bool write_control(X64kPmu *pmu, uint64_t value)
{
    if (pmu->kind == X64K_PMU_V2) {
        value &= global_bits(pmu);
    } else if (value & ~global_bits(pmu)) {
        return false;
    }
    pmu->global_control = value;
    x64k_pmu_refresh(pmu);
    return true;
}

static bool write_clear(X64kPmu *pmu, uint64_t value)
{
    if (pmu->kind == X64K_PMU_INTEL &&
        (value & ~(global_bits(pmu) | STATUS_OTHERS))) {
        return false;
    }
    for (unsigned i = 0; i < n_counters(pmu); i++) {
        account(pmu, i);
    }
    pmu->global_status &= ~value;
    return true;
}

bool x64k_pmu_wrmsr(X64kPmu *pmu, uint32_t msr, uint64_t value)
{
    unsigned i = 0;

    switch (find(pmu, msr, &i)) {
    case REG_SELECT:
        return write_select(pmu, i, value);
    case REG_COUNTER:
        if (i >= pmu->general && (value & ~VALUE_MASK)) {
            return false;
        }
        write_counter(pmu, i, value);
        return true;
    case REG_FIXED_CONTROL:
        return write_fixed_control(pmu, value);
    case REG_CONTROL:
        return write_control(pmu, value);
    case REG_STATUS:
        /* Read only: AMD's ignores writes. */
        return pmu->kind != X64K_PMU_INTEL;
    case REG_CLEAR:
        return write_clear(pmu, value);
    default:
        return false;
    }
}

bool x64k_pmu_rdpmc(X64kPmu *pmu, uint32_t index, uint64_t *value)
{
    if (pmu->kind == X64K_PMU_INTEL && index >> 16 == 0x4000) {
        index &= 0xffff;
        if (index >= pmu->fixed) {
            return false;
        }
        index += pmu->general;
    } else if (index >= pmu->general) {
        return false;
    }
    *value = read_counter(pmu, index);
    return true;
}

bool x64k_pmu_cpuid(const CPUX86State *env, uint32_t index, uint32_t *eax,
                    uint32_t *ebx, uint32_t *ecx, uint32_t *edx)
{
    const X64kPmu *pmu = env->pmu;

    if (!pmu) {
        return false;
    }
    if (index == 0xa && pmu->kind == X64K_PMU_INTEL) {
        /* Version 2; of the seven events, all but the first three are not. */
        *eax = 2 | pmu->general << 8 | X64K_PMU_WIDTH << 16 | 7 << 24;
        *ebx = 0x78;
        *ecx = 0;
        *edx = pmu->fixed | X64K_PMU_WIDTH << 5;
        return true;
    }
    if (index == 0x80000022 && pmu->kind == X64K_PMU_V2) {
        *eax = CPUID_8000_0022_EAX_PERFMON_V2;
        *ebx = pmu->general;
        *ecx = *edx = 0;
        return true;
    }
    return false;
}

/*
 * Life
 */

static bool is_zen4(unsigned family, unsigned model)
{
    return family > 0x19 ||
           (family == 0x19 && ((model >= 0x10 && model <= 0x1f) ||
                               (model >= 0x60 && model <= 0xaf)));
}

/* Has the guest asked for a feature that is on by default, or not? */
static bool wants(const X86CPU *cpu, FeatureWord word, uint64_t bit,
                  bool by_default)
{
    /* TCG does not know them, so whoever asked has not got them. */
    return (cpu->filtered_features[word] & bit) ||
           (by_default && !(cpu->env.user_features[word] & bit));
}

static void choose_amd(X86CPU *cpu, X64kPmu *pmu, unsigned model)
{
    CPUX86State *env = &cpu->env;

    pmu->events = pmu->family >= 0x17 ? X64K_EVENTS_ZEN : X64K_EVENTS_K8;
    pmu->kind = X64K_PMU_K7;
    pmu->general = 4;
    if (!wants(cpu, FEAT_8000_0001_ECX, CPUID_EXT3_PERFCORE,
               pmu->family >= 0x15)) {
        return;
    }
    env->features[FEAT_8000_0001_ECX] |= CPUID_EXT3_PERFCORE;
    pmu->kind = X64K_PMU_CORE;
    pmu->general = 6;
    if (wants(cpu, FEAT_8000_0022_EAX, CPUID_8000_0022_EAX_PERFMON_V2,
              is_zen4(pmu->family, model))) {
        env->features[FEAT_8000_0022_EAX] |= CPUID_8000_0022_EAX_PERFMON_V2;
        env->cpuid_xlevel = MAX(env->cpuid_xlevel, 0x80000022);
        pmu->kind = X64K_PMU_V2;
    }
}

static bool choose_intel(X64kPmu *pmu, unsigned model)
{
    if (pmu->family != 6 || pmu->env->cpuid_level < 0xa) {
        return false;
    }
    switch (model) {
    case 0x4e: case 0x5e: case 0x55: case 0x8e: case 0x9e: case 0xa5:
    case 0xa6: case 0x66: case 0x7d: case 0x7e: case 0x6a: case 0x6c:
        pmu->events = X64K_EVENTS_SKYLAKE;
        break;
    case 0x8f: case 0xcf: case 0xad: case 0xae: case 0x97: case 0x9a:
        pmu->events = X64K_EVENTS_GOLDEN_COVE;
        break;
    default:
        return false;
    }
    pmu->kind = X64K_PMU_INTEL;
    pmu->general = 4;
    pmu->fixed = X64K_PMU_FIXED;
    return true;
}

bool x64k_pmu_realize(X86CPU *cpu, Error **errp)
{
    CPUX86State *env = &cpu->env;
    const uint32_t version = env->cpuid_version;
    const unsigned model = extract32(version, 4, 4) |
                           extract32(version, 16, 4) << 4;
    X64kPmu *pmu;

    if (!cpu->x64k_pmu) {
        return true;
    }
    if (!tcg_enabled() || !env->hwtlb) {
        error_setg(errp, "x64k-pmu needs the TCG accelerator and a TLB model: "
                   "-cpu MODEL,hwtlb=PRESET");
        return false;
    }
    pmu = g_new0(X64kPmu, 1);
    pmu->env = env;
    pmu->family = extract32(version, 8, 4);
    if (pmu->family == 0xf) {
        pmu->family += extract32(version, 20, 8);
    }
    if (IS_AMD_CPU(env)) {
        choose_amd(cpu, pmu, model);
    } else if (!IS_INTEL_CPU(env) || !choose_intel(pmu, model)) {
        error_setg(errp, "x64k-pmu does not know the performance counters of "
                   "this CPU model (family %u, model %u)", pmu->family, model);
        error_append_hint(errp, "It knows those of AMD processors, and of "
                          "Intel's from Skylake on.\n");
        g_free(pmu);
        return false;
    }
    pmu->told = g_hash_table_new(NULL, NULL);
    pmu->timer = timer_new_ns(QEMU_CLOCK_VIRTUAL, time_is_up, pmu);
    for (unsigned i = 0; i < pmu->fixed; i++) {
        x64k_pmu_decode_fixed(i, &pmu->counters[pmu->general + i].event);
    }
    pmu->counters_reset.notify = counters_reset;
    x86_hwtlb_add_notifier(&pmu->counters_reset);
    env->pmu = pmu;
    return true;
}

void x64k_pmu_unrealize(X86CPU *cpu)
{
    X64kPmu *pmu = cpu->env.pmu;

    if (!pmu) {
        return;
    }
    cpu->env.pmu = NULL;
    cpu->env.pmu_needs_cpl = false;
    notifier_remove(&pmu->counters_reset);
    timer_free(pmu->timer);
    g_hash_table_destroy(pmu->told);
    g_free(pmu);
}

void x64k_pmu_reset(CPUX86State *env)
{
    X64kPmu *pmu = env->pmu;

    if (!pmu) {
        return;
    }
    for (unsigned i = 0; i < n_counters(pmu); i++) {
        X64kPmuCounter *counter = &pmu->counters[i];

        counter->control = 0;
        counter->value = 0;
        if (i < pmu->general) {
            x64k_pmu_decode(pmu->events, hwtlb_config(env->hwtlb),
                            pmu->family, 0, &counter->event);
        }
    }
    pmu->fixed_control = 0;
    pmu->global_control = has_global(pmu) ?
                          MAKE_64BIT_MASK(0, pmu->general) : 0;
    pmu->global_status = 0;
    x64k_pmu_restart(pmu);
}

/*
 * Saved state
 */

static bool pmu_needed(void *opaque)
{
    X86CPU *cpu = opaque;

    return cpu->env.pmu;
}

static const VMStateDescription vmstate_counter = {
    .name = "cpu/x64k-pmu/counter",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT64(control, X64kPmuCounter),
        VMSTATE_UINT64(value, X64kPmuCounter),
        VMSTATE_END_OF_LIST()
    }
};

static int state_pre_save(void *opaque)
{
    X64kPmu *pmu = opaque;

    pmu->saved_kind = pmu->kind | pmu->events << 8;
    for (unsigned i = 0; i < n_counters(pmu); i++) {
        account(pmu, i);
    }
    return 0;
}

static int state_post_load(void *opaque, int version_id)
{
    X64kPmu *pmu = opaque;

    if (pmu->saved_kind != (pmu->kind | pmu->events << 8)) {
        error_report("the saved CPU has other performance counters than this "
                     "CPU: start with the same -cpu MODEL,x64k-pmu=on");
        return -EINVAL;
    }
    for (unsigned i = 0; i < n_counters(pmu); i++) {
        X64kPmuCounter *counter = &pmu->counters[i];

        /* A damaged stream must not bring what no guest can write. */
        counter->value &= VALUE_MASK;
        counter->control &= pmu->kind == X64K_PMU_INTEL ?
                            ~CONTROL_RESERVED_INTEL : ~CONTROL_RESERVED_AMD;
        if (i < pmu->general) {
            x64k_pmu_decode(pmu->events, hwtlb_config(pmu->env->hwtlb),
                            pmu->family, counter->control, &counter->event);
        }
    }
    pmu->global_control &= global_bits(pmu);
    pmu->global_status &= global_bits(pmu);
    if (pmu->interrupt_queued) {
        pmu->interrupt_queued = false;
        queue_interrupt(pmu);
    }
    /* What counts follows when the rest of the CPU is there. */
    return 0;
}

static const VMStateDescription vmstate_pmu = {
    .name = "cpu/x64k-pmu/state",
    .version_id = 1,
    .minimum_version_id = 1,
    .pre_save = state_pre_save,
    .post_load = state_post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT32(saved_kind, X64kPmu),
        VMSTATE_STRUCT_ARRAY(counters, X64kPmu, X64K_PMU_COUNTERS, 1,
                             vmstate_counter, X64kPmuCounter),
        VMSTATE_UINT64(fixed_control, X64kPmu),
        VMSTATE_UINT64(global_control, X64kPmu),
        VMSTATE_UINT64(global_status, X64kPmu),
        VMSTATE_BOOL(interrupt_queued, X64kPmu),
        VMSTATE_END_OF_LIST()
    }
};

static int pmu_pre_load(void *opaque)
{
    X86CPU *cpu = opaque;

    if (!cpu->env.pmu) {
        error_report("the saved CPU has performance counters, this CPU has "
                     "not: start with -cpu ...,x64k-pmu=on");
        return -EINVAL;
    }
    return 0;
}

const VMStateDescription vmstate_x64k_pmu = {
    .name = "cpu/x64k-pmu",
    .version_id = 1,
    .minimum_version_id = 1,
    .needed = pmu_needed,
    .pre_load = pmu_pre_load,
    .fields = (const VMStateField[]) {
        VMSTATE_STRUCT_POINTER(env.pmu, X86CPU, vmstate_pmu, X64kPmu),
        VMSTATE_END_OF_LIST()
    }
};
