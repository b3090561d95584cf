/*
 * What the rights of a page depend on beside its page tables, and the values
 * that control registers refuse
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Each case of rights: a page is used, with the page still in QEMU's own TLB,
 * L0, in L1 of the model but not in L0, or in the STLB alone; something takes
 * the right away, and the next access faults; something gives it back.  The
 * page tables stay as they are.
 */
#include "qemu/osdep.h"
#include "x64k-guest.h"

#define PROPERTIES      ",x64k-contig=on,x64k-leaf=on"
#define CR4             (CR4_PAE | CR4_P64)
#define CR0             (CR0_PE | CR0_ET | CR0_PG)
#define EFER            (EFER_LME | 1 << 10)
#define KEY             1
#define PK_AD           (1u << 2 * KEY)         /* no access by the key */
#define PK_WD           (2u << 2 * KEY)         /* no write */

#define GP              13
#define PF              14

#define CR0_MP          (1ull << 1)
#define CR0_NW          (1ull << 29)
#define CR0_CD          (1ull << 30)
#define CR4_PSE         (1ull << 4)
#define CR4_PCIDE       (1ull << 17)

typedef struct Case {
    const char *name;
    uint64_t flags;             /* of the page, beside P, A and D */
    GuestOp op;                 /* the access */
    uint64_t error;             /* of the page fault */
    GuestCommand setup[2];      /* op 0: none */
    GuestCommand grant, deny;
    GuestOp denied_op;          /* if it is another one */
} Case;

#define SET_CR4(more)   { OP_CR4, 0, CR4 | (more) }
#define SET_PKRS(value) { OP_WRMSR, MSR_PKRS, value }

static const Case cases[] = {
    { "wp", 0, OP_STORE, PF_P | PF_W,
      .grant = { OP_CR0, 0, CR0 }, .deny = { OP_CR0, 0, CR0 | CR0_WP } },
    { "smep", PTE_US, OP_FETCH, PF_P | PF_ID,
      .grant = SET_CR4(0), .deny = SET_CR4(CR4_SMEP) },
    { "smap", PTE_US, OP_LOAD, PF_P,
      .grant = SET_CR4(0), .deny = SET_CR4(CR4_SMAP) },
    { "ac", PTE_US, OP_LOAD | OP_AC, PF_P, { SET_CR4(CR4_SMAP) },
      .denied_op = OP_LOAD },
    { "cpl", PTE_RW, OP_LOAD, PF_P | PF_U, .denied_op = OP_LOAD | OP_USER },
    /* P=0 with RSVD, unless it is of a 64 KB leaf: stock QEMU's ways. */
    { "nxe", PTE_NX, OP_LOAD, PF_RSVD,
      .grant = { OP_WRMSR, MSR_EFER, EFER | EFER_NXE },
      .deny = { OP_WRMSR, MSR_EFER, EFER } },
    { "pke", PTE_US | PTE_KEY(KEY), OP_LOAD, PF_P | PF_PK,
      { SET_CR4(CR4_PKE), { OP_WRPKRU, 0, PK_AD } },
      .grant = SET_CR4(0), .deny = SET_CR4(CR4_PKE) },
    { "pke-user", PTE_US | PTE_RW | PTE_KEY(KEY), OP_STORE | OP_USER,
      PF_P | PF_W | PF_U | PF_PK,
      { SET_CR4(CR4_PKE), { OP_WRPKRU, 0, PK_WD } },
      .grant = SET_CR4(0), .deny = SET_CR4(CR4_PKE) },
    { "pkru", PTE_US | PTE_KEY(KEY), OP_LOAD, PF_P | PF_PK,
      { SET_CR4(CR4_PKE) },
      .grant = { OP_WRPKRU, 0, 0 }, .deny = { OP_WRPKRU, 0, PK_AD } },
    { "pkru-store", PTE_US | PTE_RW | PTE_KEY(KEY), OP_STORE,
      PF_P | PF_W | PF_PK, { SET_CR4(CR4_PKE) },
      .grant = { OP_WRPKRU, 0, 0 }, .deny = { OP_WRPKRU, 0, PK_WD } },
    { "pks", PTE_KEY(KEY), OP_LOAD, PF_P | PF_PK, { SET_PKRS(PK_AD) },
      .grant = SET_CR4(0), .deny = SET_CR4(CR4_PKS) },
    { "pks-store", PTE_RW | PTE_KEY(KEY), OP_STORE, PF_P | PF_W | PF_PK,
      { SET_PKRS(PK_WD) }, .grant = SET_CR4(0), .deny = SET_CR4(CR4_PKS) },
    { "pkrs", PTE_KEY(KEY), OP_LOAD, PF_P | PF_PK, { SET_CR4(CR4_PKS) },
      .grant = SET_PKRS(0), .deny = SET_PKRS(PK_AD) },
    { "pkrs-store", PTE_RW | PTE_KEY(KEY), OP_STORE, PF_P | PF_W | PF_PK,
      { SET_CR4(CR4_PKS) }, .grant = SET_PKRS(0), .deny = SET_PKRS(PK_WD) },
};

/* As the guest starts. */
static const GuestCommand restore[] = {
    SET_CR4(CR4_PKE), { OP_WRPKRU, 0, 0 }, SET_PKRS(0), SET_CR4(0),
    { OP_CR0, 0, CR0 | CR0_WP }, { OP_WRMSR, MSR_EFER, EFER | EFER_NXE },
};

typedef enum Kind { KIND_4K, KIND_GROUP, KIND_LEAF, KIND_2M, KINDS } Kind;

/*
 * Pages one gigabyte apart share a set of each array of the model, and have
 * the same place in L0.  The first level for data has four ways, that for code
 * eight.
 */
#define RIVALS          8
#define RIVAL_VA(va, n) ((va) + ((uint64_t)(n) << 30))

static void map(Guest *guest, Kind kind, uint64_t va, uint64_t flags)
{
    flags |= PTE_A | PTE_D;
    for (unsigned n = 0; n <= RIVALS; n++) {
        const uint64_t at = RIVAL_VA(va, n);

        switch (kind) {
        case KIND_4K:
            guest_map_4k(guest, at, TEST_PA, flags);
            break;
        case KIND_GROUP:
            guest_map_group(guest, at, TEST_PA, flags);
            break;
        case KIND_LEAF:
            guest_map_64k_leaf(guest, at, TEST_PA, flags);
            break;
        default:
            guest_map_2m(guest, at, TEST_PA, flags);
            break;
        }
    }
}

static GuestLog run(Guest *guest, GuestCommand command)
{
    GuestLog log = { .vector = NO_FAULT };

    if (command.op) {
        guest_run(guest, &command, 1, &log);
    }
    return log;
}

static void done(GuestLog log)
{
    g_assert_cmphex(log.vector, ==, NO_FAULT);
}

static void check(Guest *guest, const Case *c, uint64_t va, unsigned rivals)
{
    const GuestOp denied_op = c->denied_op ?: c->op;
    const uint64_t ignored = c->error & PF_RSVD ? PF_P : 0;
    GuestLog log;

    for (unsigned i = 0; i < ARRAY_SIZE(c->setup); i++) {
        done(run(guest, c->setup[i]));
    }
    for (unsigned again = 0; again < 2; again++) {
        done(run(guest, c->grant));
        for (unsigned n = 0; n <= rivals; n++) {
            done(guest_do(guest, c->op, RIVAL_VA(va, n)));
        }
        done(run(guest, c->deny));
        /* The second time, the right comes back before it is missed. */
        if (!again) {
            log = guest_do(guest, denied_op, va);
            g_assert_cmphex(log.vector, ==, PF);
            g_assert_cmphex(log.error_code & ~ignored, ==, c->error);
            g_assert_cmphex(log.cr2, ==, va);
        }
    }
    done(run(guest, c->grant));
    done(guest_do(guest, c->op, va));
    log = guest_do(guest, denied_op, va);
    if (denied_op != c->op) {
        g_assert_cmphex(log.vector, ==, PF);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(restore); i++) {
        done(run(guest, restore[i]));
    }
}

static void test_rights(const void *properties)
{
    static const unsigned rivals[] = { 0, 2, RIVALS };
    static const char *const kinds[] = { "4k", "group", "leaf", "2m" };
    Guest *guest = guest_start(properties, CR4_P64);
    uint64_t va = TEST_VA;

    for (Kind kind = 0; kind < KINDS; kind++) {
        for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
            for (unsigned r = 0; r < ARRAY_SIZE(rivals); r++) {
                g_test_message("%s, %s, %u rivals", cases[i].name, kinds[kind],
                               rivals[r]);
                guest_tag_frames(guest, TEST_PA, PAGE, 0x40);
                map(guest, kind, va, cases[i].flags);
                check(guest, &cases[i], va + 0x40, rivals[r]);
                /* Its own 2 MB: tables of one kind have no other's entries. */
                va += PAGE_2M;
            }
        }
    }
    guest_stop(guest);
}

/*
 * Values that control registers refuse: #GP(0), and nothing has changed.
 * Intel's manual, volume 2, MOV to control registers; volume 3, 2.5.
 */
static void refuses(Guest *guest, GuestOp op, uint64_t value)
{
    const GuestLog log = guest_do(guest, op, value);

    g_test_message("CR%u = 0x%" PRIx64, op == OP_CR0 ? 0 : 4, value);
    g_assert_cmphex(log.vector, ==, GP);
    g_assert_cmphex(log.error_code, ==, 0);
    done(guest_do(guest, OP_LOAD, TEST_VA));
}

static void takes(Guest *guest, GuestOp op, uint64_t value)
{
    g_test_message("CR%u = 0x%" PRIx64, op == OP_CR0 ? 0 : 4, value);
    done(guest_do(guest, op, value));
    done(guest_do(guest, OP_LOAD, TEST_VA));
}

static void test_refused(void)
{
    for (unsigned la57 = 0; la57 < 2; la57++) {
        const uint64_t cr4 = CR4_PAE | (la57 ? CR4_LA57 : 0);
        Guest *guest = guest_start("", cr4);

        guest_map_4k(guest, TEST_VA, TEST_PA, PTE_RW);
        refuses(guest, OP_CR0, CR0 & ~CR0_PE);
        refuses(guest, OP_CR0, CR0 & ~(CR0_PE | CR0_PG));
        refuses(guest, OP_CR0, CR0 & ~CR0_PG);
        refuses(guest, OP_CR0, CR0 | CR0_NW);
        refuses(guest, OP_CR0, CR0 | 1ull << 32);
        takes(guest, OP_CR0, CR0 | CR0_CD);
        takes(guest, OP_CR0, CR0 | CR0_CD | CR0_NW);
        takes(guest, OP_CR0, CR0 | CR0_MP);
        takes(guest, OP_CR0, CR0 | CR0_WP);

        refuses(guest, OP_CR4, cr4 & ~CR4_PAE);
        refuses(guest, OP_CR4, cr4 ^ CR4_LA57);
        refuses(guest, OP_CR4, cr4 | CR4_PCIDE);
        refuses(guest, OP_CR4, cr4 | 1ull << 31);
        refuses(guest, OP_CR4, cr4 | 1ull << 32);
        refuses(guest, OP_CR4, cr4 | CR4_P64);
        takes(guest, OP_CR4, cr4 | CR4_PSE | CR4_PGE | CR4_SMEP | CR4_SMAP);
        takes(guest, OP_CR4, cr4);
        guest_stop(guest);
    }
}

/* 32-bit code in long mode cannot change CR4.LA57 or clear PAE either. */
static void test_refused_compatible(void)
{
    static const uint8_t bits[] = { 5, 12, 17 };    /* PAE, LA57, PCIDE */
    const uint32_t va = 1 * GiB;        /* which nothing else is at */
    uint8_t code[] = {
        0x6a, 0x08,                     /* push $8 */
        0x68, 0, 0, 0, 0,               /* push $va + 9 */
        0x48, 0xcb,                     /* lretq */
        0x0f, 0x20, 0xe0,               /* mov %cr4, %eax */
        0x0f, 0xba, 0xf8, 0,            /* btc $, %eax */
        0x0f, 0x22, 0xe0,               /* mov %eax, %cr4 */
        0xf4,                           /* hlt */
    };
    const uint32_t target = va + 9;
    Guest *guest = guest_start("", 0);

    guest_map_4k(guest, va, TEST_PA, PTE_RW);
    guest_map_4k(guest, TEST_VA, TEST_PA, PTE_RW);
    memcpy(code + 3, &target, sizeof(target));
    for (unsigned i = 0; i < ARRAY_SIZE(bits); i++) {
        code[15] = bits[i];
        /* QEMU does not see that code changes from outside. */
        memcpy(guest->ram + TEST_PA + i * 64, code, sizeof(code));
        *(uint32_t *)(guest->ram + TEST_PA + i * 64 + 3) = target + i * 64;
        refuses(guest, OP_CALL, va + i * 64);
    }
    guest_stop(guest);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_data_func("/x64k/rights/no-model", PROPERTIES, test_rights);
    qtest_add_data_func("/x64k/rights/model", PROPERTIES ",hwtlb=skylake",
                        test_rights);
    qtest_add_func("/x64k/rights/refused", test_refused);
    qtest_add_func("/x64k/rights/refused/compatibility-mode",
                   test_refused_compatible);
    return g_test_run();
}
