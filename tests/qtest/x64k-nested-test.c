/*
 * 64 KB pages in an SVM guest, and none in its nested page tables
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The SVM guest has page tables of its own, with CR4.P64; the nested page
 * tables have bit 52 set in each entry, which must mean nothing there.
 */
#include "qemu/osdep.h"
#include "hw/tlb/hwtlb-counters.h"
#include "x64k-guest.h"

#define MSR_VM_HSAVE_PA 0xc0010117u
#define EFER_LMA        (1ull << 10)
#define EFER_SVME       (1ull << 12)

#define EXIT_PF         0x4e
#define EXIT_VMMCALL    0x81
#define EXIT_NPF        0x400

/* Guest-physical addresses of this 2 MB are somewhere else. */
#define GPA             TEST_PA
#define HPA             (TEST_PA + PAGE_2M)

#define LEAF_VA         TEST_VA
#define GROUP_VA        (TEST_VA + PAGE_2M)
#define SMALL_VA        (TEST_VA + 2 * PAGE_2M)

typedef struct Nested {
    Guest *guest;
    uint64_t vmcb;
    uint64_t *npt;              /* the nested PTEs of GPA */
    unsigned programs;          /* that map_code() has placed */
} Nested;

static void vmcb_set(Nested *n, unsigned offset, uint64_t value,
                     unsigned bytes)
{
    memcpy(n->guest->ram + n->vmcb + offset, &value, bytes);
}

static uint64_t vmcb_get(Nested *n, unsigned offset)
{
    uint64_t value;

    memcpy(&value, n->guest->ram + n->vmcb + offset, sizeof(value));
    return value;
}

static uint64_t make_nested_tables(Nested *n)
{
    const uint64_t all = PTE_P | PTE_RW | PTE_US | PTE_P64;
    Guest *guest = n->guest;
    uint64_t pml4 = guest_new_table(guest), pdpt = guest_new_table(guest);
    uint64_t pd = guest_new_table(guest), pt = guest_new_table(guest);

    *guest_word(guest, pml4) = pdpt | all;
    *guest_word(guest, pdpt) = pd | all;
    for (uint64_t i = 1; i < 4; i++) {
        *guest_word(guest, pdpt + i * 8) = i << 30 | all | PTE_PS;
    }
    for (uint64_t i = 0; i < 512; i++) {
        *guest_word(guest, pd + i * 8) = i << 21 | all | PTE_PS;
        *guest_word(guest, pt + i * 8) = (HPA + i * PAGE) | all;
    }
    *guest_word(guest, pd + (GPA >> 21) * 8) = pt | all;
    n->npt = guest_word(guest, pt);
    return pml4;
}

static void segment(Nested *n, unsigned offset, uint16_t selector,
                    uint16_t attributes)
{
    vmcb_set(n, offset, selector, 2);
    vmcb_set(n, offset + 2, attributes, 2);
    vmcb_set(n, offset + 4, 0xffffffff, 4);
    vmcb_set(n, offset + 8, 0, 8);
}

static Nested start(const char *properties)
{
    Nested n = { .guest = guest_start(properties, CR4_P64) };
    uint64_t save = guest_new_table(n.guest);

    guest_tag_frames(n.guest, GPA, 2 * PAGE_2M, 0);
    guest_map_64k_leaf(n.guest, LEAF_VA, GPA + 3 * PAGE_64K, PTE_RW);
    guest_map_group(n.guest, GROUP_VA, GPA + 5 * PAGE_64K, PTE_RW);
    guest_map_4k(n.guest, SMALL_VA, GPA + 7 * PAGE, PTE_RW);
    n.vmcb = guest_new_table(n.guest);
    vmcb_set(&n, 0x08, 1u << 14, 4);            /* intercept #PF */
    vmcb_set(&n, 0x10, 3, 4);                   /* VMRUN, VMMCALL */
    vmcb_set(&n, 0x58, 1, 4);                   /* ASID */
    vmcb_set(&n, 0x90, 1, 8);                   /* nested paging */
    vmcb_set(&n, 0xb0, make_nested_tables(&n), 8);
    segment(&n, 0x400, 16, 0xc93);
    segment(&n, 0x410, 24, 0x29b);
    segment(&n, 0x420, 16, 0xc93);
    segment(&n, 0x430, 16, 0xc93);
    vmcb_set(&n, 0x4d0, EFER_LME | EFER_LMA | EFER_NXE | EFER_SVME, 8);
    vmcb_set(&n, 0x548, CR4_PAE | CR4_P64, 8);
    vmcb_set(&n, 0x550, n.guest->cr3, 8);
    vmcb_set(&n, 0x558, CR0_PE | CR0_ET | CR0_WP | CR0_PG, 8);
    vmcb_set(&n, 0x560, 0x400, 8);              /* DR7 */
    vmcb_set(&n, 0x568, 0xffff0ff0, 8);         /* DR6 */
    vmcb_set(&n, 0x570, 2, 8);                  /* RFLAGS */
    vmcb_set(&n, 0x668, 0x0007040600070406, 8); /* PAT */

    g_assert_cmphex(guest_do(n.guest, OP_CR3, n.guest->cr3).vector, ==,
                    NO_FAULT);
    for (unsigned i = 0; i < 2; i++) {
        const GuestCommand command = i ?
            (GuestCommand) { OP_WRMSR, (int32_t)MSR_VM_HSAVE_PA, save } :
            (GuestCommand) { OP_WRMSR, (int32_t)MSR_EFER,
                             EFER_LME | EFER_NXE | EFER_SVME };
        GuestLog log;

        guest_run(n.guest, &command, 1, &log);
        g_assert_cmphex(log.vector, ==, NO_FAULT);
    }
    return n;
}

/* Lets the SVM guest read @va; gives the exit code. */
static uint64_t nested_read(Nested *n, uint64_t va, uint64_t *value)
{
    GuestLog log;

    vmcb_set(n, 0x5f8, va, 8);                  /* RAX */
    log = guest_do(n->guest, OP_VMRUN, n->vmcb);
    g_assert_cmphex(log.vector, ==, NO_FAULT);
    *value = log.value;
    return vmcb_get(n, 0x70);
}

static void assert_nested(Nested *n, uint64_t va, uint64_t pa)
{
    uint64_t value;

    g_assert_cmphex(nested_read(n, va, &value), ==, EXIT_VMMCALL);
    g_assert_cmphex(value, ==, guest_tag(pa));
}

static void test_nested(const void *properties)
{
    Nested n = start(properties);
    uint64_t *pte, value;

    for (unsigned k = 0; k < 16; k++) {
        assert_nested(&n, LEAF_VA + k * PAGE, HPA + 3 * PAGE_64K + k * PAGE);
        assert_nested(&n, GROUP_VA + k * PAGE, HPA + 5 * PAGE_64K + k * PAGE);
    }
    assert_nested(&n, SMALL_VA, HPA + 7 * PAGE);

    /* What is not nested still has its own translations. */
    g_assert_cmphex(guest_do(n.guest, OP_LOAD, LEAF_VA + PAGE).value, ==,
                    guest_tag(GPA + 3 * PAGE_64K + PAGE));
    g_assert_cmphex(guest_do(n.guest, OP_LOAD, GROUP_VA + PAGE).value, ==,
                    guest_tag(GPA + 5 * PAGE_64K + PAGE));

    /* The group was well formed: A in all 16 of its PTEs. */
    pte = guest_word(n.guest, guest_map_4k(n.guest, GROUP_VA + 15 * PAGE,
                                           GPA + 6 * PAGE_64K - PAGE,
                                           PTE_RW | PTE_P64));
    g_assert_cmphex(*pte & PTE_A, ==, 0);
    assert_nested(&n, GROUP_VA, HPA + 5 * PAGE_64K);
    g_assert_cmphex(*pte & PTE_A, ==, PTE_A);
    *pte &= ~PTE_A;

    /* A nested PTE of its own for each page: one of 16 goes elsewhere. */
    n.npt[3 * 16 + 9] += 16 * PAGE;
    assert_nested(&n, LEAF_VA + 9 * PAGE,
                  HPA + 3 * PAGE_64K + 25 * PAGE);
    assert_nested(&n, LEAF_VA + 10 * PAGE, HPA + 3 * PAGE_64K + 10 * PAGE);
    n.npt[3 * 16 + 9] &= ~PTE_P;
    g_assert_cmphex(nested_read(&n, LEAF_VA + 9 * PAGE, &value), ==, EXIT_NPF);
    assert_nested(&n, LEAF_VA + 8 * PAGE, HPA + 3 * PAGE_64K + 8 * PAGE);

    /* A reserved bit of a leaf is the SVM guest's own fault. */
    *guest_word(n.guest, guest_map_64k_leaf(n.guest, LEAF_VA,
                                            GPA + 3 * PAGE_64K, 0)) |= PAGE;
    g_assert_cmphex(nested_read(&n, LEAF_VA, &value), ==, EXIT_PF);
    g_assert_cmphex(vmcb_get(&n, 0x78), ==, PF_P | PF_RSVD);
    g_assert_cmphex(vmcb_get(&n, 0x80), ==, LEAF_VA);
    guest_stop(n.guest);
}

/*
 * While the SVM guest runs, the model is bypassed, and says so
 */

#define PAGES           100

/* Nested translations leave this RAM where it is. */
#define BYPASS_PA       (TEST_PA + 2 * PAGE_2M)
#define BYPASS_VA       (TEST_VA + 3 * PAGE_2M)

/* A page of RAM with code, mapped after the PAGES pages of data. */
static uint64_t map_code(Nested *n, const uint8_t *code, size_t size)
{
    const uint64_t at = (PAGES + n->programs++) * PAGE;

    memcpy(n->guest->ram + BYPASS_PA + at, code, size);
    guest_map_4k(n->guest, BYPASS_VA + at, BYPASS_PA + at, PTE_RW | PTE_A);
    return BYPASS_VA + at;
}

/* Code of the SVM guest: reads @pages pages, and exits. */
static uint64_t make_nested_code(Nested *n, unsigned pages)
{
    uint8_t code[PAGES * 13 + 3], *at = code;

    for (unsigned i = 0; i < pages; i++) {
        const uint64_t va = BYPASS_VA + i * PAGE;

        memcpy(at, (const uint8_t[]) { 0x48, 0xb8 }, 2);    /* mov $, %rax */
        memcpy(at + 2, &va, sizeof(va));
        memcpy(at + 10, (const uint8_t[]) { 0x48, 0x8b, 0 }, 3);
        at += 13;                                   /* mov (%rax), %rax */
    }
    memcpy(at, (const uint8_t[]) { 0x0f, 0x01, 0xd9 }, 3);  /* vmmcall */
    return map_code(n, code, at + 3 - code);
}

/* Code that lets the SVM guest run as the VMCB has it. */
static uint64_t make_host_code(Nested *n)
{
    uint8_t code[] = {
        0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, /* mov $, %rax */
        0x0f, 0x01, 0xd8,                   /* vmrun */
        0x0f, 0x01, 0xdc,                   /* stgi */
        0xc3,                               /* ret */
    };

    memcpy(code + 2, &n->vmcb, sizeof(n->vmcb));
    return map_code(n, code, sizeof(code));
}

/* Runs the SVM guest at @rip after reads of @pages pages; what it counts. */
static void run_bypass(Nested *n, uint64_t code, uint64_t rip, unsigned pages,
                       uint64_t *counted)
{
    uint64_t before[HWTLB_C__MAX];

    for (unsigned i = 0; i < pages; i++) {
        guest_do(n->guest, OP_LOAD, BYPASS_VA + i * PAGE);
    }
    vmcb_set(n, 0x578, rip, 8);
    guest_counters(n->guest, 0, before);
    g_assert_cmphex(guest_do(n->guest, OP_CALL, code).vector, ==, NO_FAULT);
    g_assert_cmphex(vmcb_get(n, 0x70), ==, EXIT_VMMCALL);
    guest_counters(n->guest, 0, counted);
    for (unsigned i = 0; i < HWTLB_C__MAX; i++) {
        counted[i] -= before[i];
    }
}

static void test_bypass(const void *properties)
{
    enum { HELD = 10 };
    Nested n = start(properties);
    const uint64_t host = make_host_code(&n);
    const uint64_t few = make_nested_code(&n, 0);
    const uint64_t many = make_nested_code(&n, PAGES);
    uint64_t counted[3][HWTLB_C__MAX];
    uint64_t misses, walks;

    guest_tag_frames(n.guest, BYPASS_PA, PAGES * PAGE, 0);
    for (unsigned i = 0; i < PAGES; i++) {
        guest_map_4k(n.guest, BYPASS_VA + i * PAGE, BYPASS_PA + i * PAGE,
                     PTE_RW | PTE_A | PTE_D);
    }
    /* The first time, pages become accessed. */
    run_bypass(&n, host, many, 0, counted[0]);
    run_bypass(&n, host, few, 0, counted[0]);
    run_bypass(&n, host, few, 0, counted[0]);
    run_bypass(&n, host, many, 0, counted[1]);
    run_bypass(&n, host, few, HELD, counted[2]);
    g_assert_cmpuint(counted[0][HWTLB_C_SVM_BYPASS], >, 0);
    g_assert_cmpuint(counted[1][HWTLB_C_SVM_BYPASS], >=,
                     counted[0][HWTLB_C_SVM_BYPASS] + PAGES);
    for (unsigned i = 0; i < HWTLB_C__MAX; i++) {
        uint64_t held = i == HWTLB_C_L1D_FLUSH_SVM ||
                        i == HWTLB_C_STLB_FLUSH_SVM ? HELD : 0;

        if (i != HWTLB_C_SVM_BYPASS) {
            g_assert_cmpuint(counted[1][i], ==, counted[0][i]);
            g_assert_cmpuint(counted[2][i], ==, counted[0][i] + held);
        }
    }

    /* What was held before is not any more. */
    misses = guest_counter(n.guest, "l1d-load-miss");
    walks = guest_counter(n.guest, "walk-completed");
    for (unsigned i = 0; i < HELD; i++) {
        g_assert_cmphex(guest_do(n.guest, OP_LOAD,
                                 BYPASS_VA + i * PAGE).value, ==,
                        guest_tag(BYPASS_PA + i * PAGE));
    }
    g_assert_cmpuint(guest_counter(n.guest, "l1d-load-miss"), ==,
                     misses + HELD);
    g_assert_cmpuint(guest_counter(n.guest, "walk-completed"), ==,
                     walks + HELD);
    guest_stop(n.guest);
}

/*
 * INVLPGA is for one ASID: 0 is the host's own, 1 that of the SVM guest here
 */

static void move_small(Nested *n, uint64_t pa)
{
    guest_map_4k(n->guest, SMALL_VA, pa, PTE_RW | PTE_A | PTE_D);
}

/* Code: INVLPGA of SMALL_VA for @asid. */
static uint64_t make_invlpga(Nested *n, uint32_t asid)
{
    const uint64_t va = SMALL_VA;
    uint8_t code[] = {
        0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, /* mov $, %rax */
        0xb9, 0, 0, 0, 0,                   /* mov $, %ecx */
        0x0f, 0x01, 0xdf,                   /* invlpga */
        0xc3,                               /* ret */
    };

    memcpy(code + 2, &va, sizeof(va));
    memcpy(code + 11, &asid, sizeof(asid));
    return map_code(n, code, sizeof(code));
}

/*
 * Code of the SVM guest: reads SMALL_VA, changes its PTE to @new, drops the
 * translation, and reads it again.
 */
static uint64_t make_nested_invlpga(Nested *n, uint64_t pte, uint64_t new)
{
    const uint64_t va = SMALL_VA;
    const uint32_t asid = 1;
    uint8_t code[] = {
        0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, /* mov $, %rax */
        0x48, 0x8b, 0x10,                   /* mov (%rax), %rdx */
        0x49, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, /* mov $, %r8 */
        0x49, 0xb9, 0, 0, 0, 0, 0, 0, 0, 0, /* mov $, %r9 */
        0x4d, 0x89, 0x08,                   /* mov %r9, (%r8) */
        0xb9, 0, 0, 0, 0,                   /* mov $, %ecx */
        0x0f, 0x01, 0xdf,                   /* invlpga */
        0x48, 0x8b, 0x10,                   /* mov (%rax), %rdx */
        0x0f, 0x01, 0xd9,                   /* vmmcall */
    };

    memcpy(code + 2, &va, sizeof(va));
    memcpy(code + 15, &pte, sizeof(pte));
    memcpy(code + 25, &new, sizeof(new));
    memcpy(code + 37, &asid, sizeof(asid));
    return map_code(n, code, sizeof(code));
}

static void test_invlpga(const void *properties)
{
    Nested n = start(properties);
    const uint64_t host = make_host_code(&n);
    const uint64_t old = GPA + 7 * PAGE, new = GPA + 8 * PAGE;
    const uint64_t own = make_invlpga(&n, 0), guests = make_invlpga(&n, 1);
    const uint64_t pte = guest_map_4k(n.guest, SMALL_VA, old,
                                      PTE_RW | PTE_A | PTE_D);
    GuestLog log;

    /* The host's translation outlives INVLPGA for another ASID. */
    for (unsigned i = 0; i < 2; i++) {
        g_assert_cmphex(guest_do(n.guest, OP_LOAD, SMALL_VA).value, ==,
                        guest_tag(old));
        move_small(&n, new);
        g_assert_cmphex(guest_do(n.guest, OP_CALL, guests).vector, ==,
                        NO_FAULT);
        g_assert_cmphex(guest_do(n.guest, OP_LOAD, SMALL_VA).value, ==,
                        guest_tag(old));
        g_assert_cmphex(guest_do(n.guest, OP_CALL, own).vector, ==, NO_FAULT);
        g_assert_cmphex(guest_do(n.guest, OP_LOAD, SMALL_VA).value, ==,
                        guest_tag(new));
        move_small(&n, old);
        guest_do(n.guest, OP_INVLPG, SMALL_VA);
    }

    /* The SVM guest drops its own. */
    vmcb_set(&n, 0x578, make_nested_invlpga(&n, pte,
                                            new | PTE_P | PTE_RW | PTE_A), 8);
    log = guest_do(n.guest, OP_CALL, host);
    g_assert_cmphex(vmcb_get(&n, 0x70), ==, EXIT_VMMCALL);
    g_assert_cmphex(log.value, ==, guest_tag(HPA + 8 * PAGE));
    guest_stop(n.guest);
}

/*
 * Performance counters that look at the privilege level, and at whether an SVM
 * guest runs
 */

#define MSR_SELECT(i)   (0xc0010000u + (i))     /* of AMD's counter @i */
#define MSR_COUNTER(i)  (0xc0010004u + (i))
#define PMU_USER        (1ull << 16)
#define PMU_OS          (1ull << 17)
#define PMU_INSNS       (0xc0ull | 1ull << 22)
#define PMU_GUEST       (1ull << 40)
#define PMU_HOST        (1ull << 41)

enum { BY_USER, BY_OS, BY_GUEST, BY_HOST, FILTERS };

static void set_msr(Nested *n, uint32_t msr, uint64_t value)
{
    const GuestCommand command = { OP_WRMSR, (int32_t)msr, value };
    GuestLog log;

    guest_run(n->guest, &command, 1, &log);
    g_assert_cmphex(log.vector, ==, NO_FAULT);
}

/* Instructions that each counter counts while ring 3 spins @spin times. */
static void count_spin(Nested *n, uint64_t spin, uint64_t *counted)
{
    GuestCommand commands[2 * FILTERS + 1];
    GuestLog log[2 * FILTERS + 1];

    commands[FILTERS] = (GuestCommand) { OP_SPIN | OP_USER, 0, spin };
    for (unsigned i = 0; i < FILTERS; i++) {
        commands[i] = commands[FILTERS + 1 + i] =
            (GuestCommand) { OP_RDMSR, (int32_t)MSR_COUNTER(i) };
    }
    guest_run(n->guest, commands, ARRAY_SIZE(commands), log);
    for (unsigned i = 0; i < ARRAY_SIZE(log); i++) {
        g_assert_cmphex(log[i].vector, ==, NO_FAULT);
    }
    for (unsigned i = 0; i < FILTERS; i++) {
        counted[i] = log[FILTERS + 1 + i].value - log[i].value;
    }
}

static void test_pmu_filter(void)
{
    enum { SPIN = 100000, FEW = 1000 };
    Nested n = start(",svm=on,npt=on,x64k-contig=on,x64k-leaf=on,"
                     "hwtlb=skylake,x64k-pmu=on");
    static const uint64_t filters[FILTERS] = {
        [BY_USER] = PMU_USER,
        [BY_OS] = PMU_OS,
        [BY_GUEST] = PMU_USER | PMU_OS | PMU_GUEST,
        [BY_HOST] = PMU_USER | PMU_OS | PMU_HOST,
    };
    const uint64_t host = make_host_code(&n);
    uint64_t counted[FILTERS];

    /* They look at who runs as soon as EFER.SVME is set, and not before. */
    set_msr(&n, MSR_EFER, EFER_LME | EFER_NXE);
    for (unsigned i = 0; i < FILTERS; i++) {
        set_msr(&n, MSR_SELECT(i), filters[i] | PMU_INSNS);
    }
    for (unsigned svme = 0; svme < 3; svme++) {
        set_msr(&n, MSR_EFER, EFER_LME | EFER_NXE |
               (svme & 1 ? EFER_SVME : 0));
        count_spin(&n, SPIN, counted);
        g_assert_cmpuint(counted[BY_USER], >=, 2 * SPIN);
        g_assert_cmpuint(counted[BY_OS], <, FEW);
        g_assert_cmpuint(counted[BY_HOST], >=, 2 * SPIN);
        if (svme & 1) {
            g_assert_cmpuint(counted[BY_GUEST], ==, 0);
        } else {
            g_assert_cmpuint(counted[BY_GUEST], >=, 2 * SPIN);
        }
    }

    /*
     * The SVM guest is given an exception, and has no page where its IDT is:
     * a #VMEXIT while that is delivered.
     */
    set_msr(&n, MSR_EFER, EFER_LME | EFER_NXE | EFER_SVME);
    vmcb_set(&n, 0x484, 0xfff, 4);              /* IDTR */
    vmcb_set(&n, 0x488, TEST_VA + GiB, 8);
    for (unsigned round = 0; round < 2; round++) {
        vmcb_set(&n, 0xa8, 6 | 3 << 8 | 1u << 31, 8);   /* inject #UD */
        g_assert_cmphex(guest_do(n.guest, OP_CALL, host).vector, ==, NO_FAULT);
        g_assert_cmphex(vmcb_get(&n, 0x70), ==, EXIT_PF);
        count_spin(&n, SPIN, counted);
        g_assert_cmpuint(counted[BY_USER], >=, 2 * SPIN);
        g_assert_cmpuint(counted[BY_OS], <, FEW);
        g_assert_cmpuint(counted[BY_HOST], >=, 2 * SPIN);
        g_assert_cmpuint(counted[BY_GUEST], ==, 0);
    }
    guest_stop(n.guest);
}

/*
 * VMRUN and #VMEXIT flush: what the TLBs held, the guest's own translations
 * and that of a page, and what the SVM guest does is not looked up.  Then its
 * host needs its own translations again: RAM to write its log, ROM to fetch,
 * which the table of operations finds in the STLB.  Nothing else moves.
 */
static void test_counts(void)
{
    Nested n = start(",svm=on,npt=on,x64k-contig=on,x64k-leaf=on,"
                     "hwtlb=skylake");
    uint64_t before[HWTLB_C__MAX], after[HWTLB_C__MAX], value;
    const uint64_t expected[HWTLB_C__MAX] = {
        [HWTLB_C_L1D_FLUSH_SVM] = 3,
        [HWTLB_C_L1I_FLUSH_SVM] = 1,
        [HWTLB_C_STLB_FLUSH_SVM] = 3,
        [HWTLB_C_L1I_MISS] = 1,
        [HWTLB_C_L1I_FILL_1G] = 1,
        [HWTLB_C_STLB_FETCH_MISS] = 1,
        [HWTLB_C_L1D_STORE_MISS] = 1,
        [HWTLB_C_STLB_STORE_MISS] = 1,
        [HWTLB_C_L1D_LOAD_MISS] = 1,
        [HWTLB_C_L1D_FILL_1G] = 2,
        [HWTLB_C_STLB_FILL_1G] = 2,
        [HWTLB_C_WALK_COMPLETED] = 2,
        [HWTLB_C_WALK_READ_PML4] = 2,
        [HWTLB_C_WALK_READ_PDPT] = 2,
        [HWTLB_C_PWC_MISS] = 2,
    };

    vmcb_set(&n, 0x5f8, SMALL_VA, 8);           /* RAX */
    g_assert_cmphex(guest_do(n.guest, OP_LOAD, SMALL_VA).vector, ==, NO_FAULT);
    guest_counters(n.guest, 0, before);
    g_assert_cmphex(nested_read(&n, SMALL_VA, &value), ==, EXIT_VMMCALL);
    guest_counters(n.guest, 0, after);
    for (unsigned i = 0; i < HWTLB_C__MAX; i++) {
        if (i != HWTLB_C_SVM_BYPASS) {
            g_test_message("%s", guest_counter_names[i]);
            g_assert_cmpuint(after[i] - before[i], ==, expected[i]);
        }
    }
    /* The page with its code, and the one that it reads, at least. */
    g_assert_cmpuint(after[HWTLB_C_SVM_BYPASS] - before[HWTLB_C_SVM_BYPASS],
                     >=, 2);
    guest_stop(n.guest);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_data_func("/x64k/nested/no-model",
                        ",svm=on,npt=on,x64k-contig=on,x64k-leaf=on",
                        test_nested);
    qtest_add_data_func("/x64k/nested/model",
                        ",svm=on,npt=on,x64k-contig=on,x64k-leaf=on,"
                        "hwtlb=skylake", test_nested);
    qtest_add_data_func("/x64k/nested/bypass",
                        ",svm=on,npt=on,x64k-contig=on,x64k-leaf=on,"
                        "hwtlb=skylake", test_bypass);
    qtest_add_data_func("/x64k/nested/invlpga",
                        ",svm=on,npt=on,x64k-contig=on,x64k-leaf=on,"
                        "hwtlb=skylake", test_invlpga);
    qtest_add_func("/x64k/nested/pmu-filter", test_pmu_filter);
    qtest_add_func("/x64k/nested/counts", test_counts);
    return g_test_run();
}
