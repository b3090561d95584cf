/*
 * What lies behind a frame changes while the TLB model keeps its entry
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A page that QEMU's own TLB, L0, has lost is set there again from the model's
 * entry, without a walk.  Watchpoints, A20, PCI BARs, ROM and what shadows it,
 * dirty pages and translated code are no business of the model: the guest must
 * see them all the same.  Each case is run with the page still in L0, in L1 of
 * the model but not in L0, and in the STLB alone; and without a model.
 */
#include "qemu/osdep.h"
#include <poll.h>
#include "x64k-gdb.h"
#include "x64k-guest.h"

typedef enum Held { IN_L0, IN_L1, IN_STLB, HELD } Held;

typedef enum Kind { KIND_4K, KIND_GROUP, KIND_LEAF, KIND_2M, KINDS } Kind;

typedef struct Test {
    const char *name;
    void (*fn)(struct Test *t);
    const char *options;
    bool model;
    Held held;
    Guest *guest;
    uint64_t free_code;         /* RAM for programs */
} Test;

/* Where a kind of page is mapped if a test has one of each. */
#define VA(kind)        (TEST_VA + (kind) * PAGE_2M)

/*
 * Pages one gigabyte apart share a set of each array of the model, and have
 * the same place in L0.  The first level has four ways.  All map the same.
 */
#define RIVALS          4
#define RIVAL_VA(va, n) ((va) + ((uint64_t)(n) << 30))

static uint64_t map_alone(Test *t, Kind kind, uint64_t va, uint64_t pa)
{
    const uint64_t flags = PTE_RW | PTE_A | PTE_D;

    return kind == KIND_4K ? guest_map_4k(t->guest, va, pa, flags) :
           kind == KIND_GROUP ? guest_map_group(t->guest, va, pa, flags) :
           kind == KIND_LEAF ? guest_map_64k_leaf(t->guest, va, pa, flags) :
                               guest_map_2m(t->guest, va, pa, flags);
}

/* @va and @pa: of the first byte of a page of @kind. */
static void map(Test *t, Kind kind, uint64_t va, uint64_t pa)
{
    map_alone(t, kind, va, pa);
    for (unsigned n = 1; n <= RIVALS; n++) {
        map_alone(t, kind, RIVAL_VA(va, n), pa);
    }
}

static GuestLog run(Test *t, GuestOp op, uint64_t operand, int32_t immediate)
{
    const GuestCommand command = { op, immediate, operand };
    GuestLog log;

    guest_run(t->guest, &command, 1, &log);
    g_assert_cmphex(log.vector, ==, NO_FAULT);
    return log;
}

/* The page of @va is used, then held as the case wants it. */
static void hold(Test *t, uint64_t va)
{
    static const unsigned rivals[HELD] = {
        [IN_L0] = 0, [IN_L1] = 2, [IN_STLB] = RIVALS,
    };
    GuestCommand loads[1 + RIVALS] = { { .op = OP_LOAD, .operand = va } };
    GuestLog log[1 + RIVALS];
    unsigned n;

    for (n = 1; n <= rivals[t->held]; n++) {
        loads[n] = (GuestCommand) {
            .op = OP_LOAD, .operand = RIVAL_VA(va, n),
        };
    }
    guest_run(t->guest, loads, n, log);
    while (n--) {
        g_assert_cmphex(log[n].vector, ==, NO_FAULT);
    }
}

/*
 * Now and then L0 is refilled with another page of the same RAM just before,
 * which L1 has: that of the first rival.
 */
static GuestOp after_refill(Test *t, GuestOp op)
{
    return t->held != IN_L0 && g_test_rand_bit() ? op | OP_FIRST(1) : op;
}

/* Walks, and misses of the L1 dTLB. */
typedef struct Counts {
    uint64_t walks, misses;
} Counts;

static Counts counts(Test *t)
{
    Counts n = { };
    const QListEntry *entry;
    QDict *answer, *result;

    if (!t->model) {
        return n;
    }
    answer = qtest_qmp(t->guest->qts,
                       "{ 'execute': 'query-stats', 'arguments': {"
                       "  'target': 'vcpu', 'providers': ["
                       "  { 'provider': 'hwtlb', 'names': ["
                       "    'walk-completed', 'walk-faulted', 'walk-dirty',"
                       "    'walk-rights', 'l1d-load-miss', 'l1d-store-miss'"
                       "  ] } ] } }");
    result = qobject_to(QDict, qlist_peek(qdict_get_qlist(answer, "return")));
    QLIST_FOREACH_ENTRY(qdict_get_qlist(result, "stats"), entry) {
        QDict *stat = qobject_to(QDict, qlist_entry_obj(entry));
        const uint64_t value = qdict_get_int(stat, "value");

        if (g_str_has_prefix(qdict_get_str(stat, "name"), "walk-")) {
            n.walks += value;
        } else {
            n.misses += value;
        }
    }
    qobject_unref(answer);
    return n;
}

/* One access to a page that hold() was told of, which needs no walk. */
static uint64_t access_held(Test *t, GuestOp op, uint64_t va, int32_t immediate)
{
    const Counts before = counts(t);
    const uint64_t value = run(t, after_refill(t, op), va, immediate).value;
    const Counts after = counts(t);

    g_assert_cmpuint(after.walks, ==, before.walks);
    g_assert_cmpuint(after.misses - before.misses, ==,
                     t->model && t->held == IN_STLB);
    return value;
}

static uint64_t load_held(Test *t, uint64_t va)
{
    return access_held(t, OP_LOAD, va, 0);
}

/* What is at @pa, RAM or not. */
static uint64_t read_pa(Test *t, uint64_t pa)
{
    return qtest_readq(t->guest->qts, pa);
}

/*
 * Watchpoints
 */

/* @op at @va, and no watchpoint stops it. */
static void assert_not_hit(Test *t, int gdb, GuestOp op, uint64_t va)
{
    struct pollfd unread = { .fd = gdb, .events = POLLIN };
    char c;

    access_held(t, op, va, 0);
    while (poll(&unread, 1, 0) == 1) {
        g_assert_cmpint(read(gdb, &c, 1), ==, 1);
        g_assert_cmpint(c, ==, '+');
    }
}

static void watch(Test *t, int gdb, char type, uint64_t va, const char *what,
                  GuestOp hits, GuestOp passes)
{
    g_autofree char *set = g_strdup_printf("Z%c,%" PRIx64 ",8", type, va);
    g_autofree char *clear = g_strdup_printf("z%c,%" PRIx64 ",8", type, va);
    g_autofree char *report = g_strdup_printf(";%s:%" PRIx64 ";", what, va);
    const GuestCommand access = { .op = hits, .operand = va };
    char answer[64];

    /* One that is hit at once, then one whose page is used before. */
    for (unsigned used = 0; used < 2; used++) {
        hold(t, va);
        g_assert_cmpint(write(gdb, "\3", 1), ==, 1);
        gdb_receive(gdb, answer, sizeof(answer));
        gdb_ask(gdb, set, answer, sizeof(answer));
        g_assert_cmpstr(answer, ==, "OK");
        gdb_send(gdb, "c");
        if (used) {
            assert_not_hit(t, gdb, hits, va + 8);
            hold(t, va + 64);
            if (hits != passes) {
                assert_not_hit(t, gdb, passes, va);
                hold(t, va + 64);
            }
        }
        guest_begin(t->guest, 0, &access, 1);
        gdb_receive(gdb, answer, sizeof(answer));
        g_assert_nonnull(strstr(answer, report));
        g_assert_false(guest_is_done(t->guest, 0));
        gdb_ask(gdb, clear, answer, sizeof(answer));
        g_assert_cmpstr(answer, ==, "OK");
        gdb_send(gdb, "c");
        guest_wait(t->guest, 0);
        hold(t, va);
        assert_not_hit(t, gdb, hits, va);
    }
}

static void test_watchpoint(Test *t)
{
    g_autoptr(GError) err = NULL;
    g_autofree char *dir = g_dir_make_tmp("x64k-XXXXXX", &err);
    g_autofree char *path = g_build_filename(dir, "gdb", NULL);
    g_autofree char *start = g_strdup_printf("gdbserver unix:%s,server=on,"
                                             "wait=off", path);
    g_autofree char *said = NULL;
    int gdb;

    g_assert_no_error(err);
    said = qtest_hmp(t->guest->qts, "%s", start);
    gdb = gdb_connect(path);
    gdb_send(gdb, "c");
    for (Kind kind = 0; kind < KINDS; kind++) {
        const uint64_t va = VA(kind) + (kind ? 5 * PAGE : 0) + 0x880;

        map(t, kind, VA(kind), TEST_PA + kind * PAGE_2M);
        watch(t, gdb, '2', va, "watch", OP_STORE, OP_LOAD);
        watch(t, gdb, '3', va, "rwatch", OP_LOAD, OP_STORE);
        watch(t, gdb, '4', va, "awatch", OP_STORE, OP_STORE);
    }
    close(gdb);
    unlink(path);
    rmdir(dir);
}

/*
 * Code that the guest calls; each program at a place of its own, for QEMU does
 * not see that RAM is written from outside.
 */

static uint8_t *put(uint8_t *at, const void *bytes, size_t n)
{
    memcpy(at, bytes, n);
    return at + n;
}

#define PUT(at, ...) \
    put(at, (const uint8_t[]) { __VA_ARGS__ }, \
        sizeof((const uint8_t[]) { __VA_ARGS__ }))
#define PUT_VALUE(at, type, value) \
    put(at, (const type[]) { value }, sizeof(type))

static uint8_t *put_out(uint8_t *at, uint8_t port, uint8_t value)
{
    return PUT(at, 0xb0, value, 0xe6, port);    /* mov $, %al; out %al, $ */
}

/* Reads the 8 bytes at @va, and stores them at @to. */
static uint8_t *put_copy(uint8_t *at, uint64_t va, uint64_t to)
{
    at = PUT_VALUE(PUT(at, 0x48, 0xb8), uint64_t, va);  /* mov $, %rax */
    at = PUT(at, 0x48, 0x8b, 0x10);                     /* mov (%rax), %rdx */
    at = PUT_VALUE(PUT(at, 0x48, 0xb8), uint64_t, to);
    return PUT(at, 0x48, 0x89, 0x10);                   /* mov %rdx, (%rax) */
}

/* Stores @va at @va. */
static uint8_t *put_store(uint8_t *at, uint64_t va)
{
    at = PUT_VALUE(PUT(at, 0x48, 0xb8), uint64_t, va);
    return PUT(at, 0x48, 0x89, 0x00);                   /* mov %rax, (%rax) */
}

/*
 * A20
 */

#define MB              0x100000        /* the bit that A20 masks */

/*
 * Neither the program nor what it writes may be in an odd megabyte, as the
 * guest's ROM is: A20 is off only while it is called.
 */
static void a20(Test *t, Kind kind, const uint8_t *off, const uint8_t *on)
{
    const uint64_t pa = TEST_PA + (kind + 1) * PAGE_2M;     /* even */
    /* Of the sets of L1, none of these is in that of @va. */
    const uint64_t code = t->free_code, code_va = VA(KINDS) + 7 * PAGE;
    const uint64_t results = TEST_PA, results_va = VA(KINDS) + 8 * PAGE;
    const uint64_t other = TEST_PA + PAGE, other_va = VA(KINDS) + 9 * PAGE;
    const uint64_t va = VA(kind) + MB + (kind ? 5 * PAGE : 0);
    const uint64_t page = pa + (va - VA(kind) - MB);        /* its even one */
    uint64_t *result = guest_word(t->guest, results);
    uint8_t *at = t->guest->ram + code;
    uint64_t flushed = 0;

    t->free_code += PAGE;
    map(t, kind, kind == KIND_2M ? VA(kind) : VA(kind) + MB,
        kind == KIND_2M ? pa : pa + MB);
    /* One that is used while A20 is off first. */
    map_alone(t, KIND_4K, other_va, other + MB);
    map_alone(t, KIND_4K, code_va, code);
    map_alone(t, KIND_4K, results_va, results);
    run(t, OP_INVLPG, other_va, 0);
    run(t, OP_INVLPG, code_va, 0);

    at = put_copy(put_out(at, off[0], off[1]), va, results_va);
    at = put_copy(at, other_va, results_va + 8);
    at = put_store(at, va + 0x100);
    at = put_copy(put_out(at, on[0], on[1]), va, results_va + 16);
    at = put_copy(at, other_va, results_va + 24);
    PUT(put_store(at, va + 0x200), 0xc3);                   /* ret */

    for (unsigned again = 0; again < 2; again++) {
        Counts before, after;

        *guest_word(t->guest, page) = 1;
        *guest_word(t->guest, page + MB) = 2;
        *guest_word(t->guest, other) = 3;
        *guest_word(t->guest, other + MB) = 4;
        for (unsigned n = 1; n <= 2; n++) {
            *guest_word(t->guest, page + n * 0x100) = 0;
            *guest_word(t->guest, page + MB + n * 0x100) = 0;
        }
        hold(t, va);
        before = counts(t);
        if (t->model) {
            flushed = guest_counter(t->guest, "stlb-flush-cr");
        }
        run(t, OP_CALL, code_va, 0);
        after = counts(t);
        g_assert_cmphex(result[0], ==, 1);
        g_assert_cmphex(result[1], ==, 3);
        g_assert_cmphex(result[2], ==, 2);
        g_assert_cmphex(result[3], ==, 4);
        g_assert_cmphex(*guest_word(t->guest, page + 0x100), ==, va + 0x100);
        g_assert_cmphex(*guest_word(t->guest, page + MB + 0x100), ==, 0);
        g_assert_cmphex(*guest_word(t->guest, page + 0x200), ==, 0);
        g_assert_cmphex(*guest_word(t->guest, page + MB + 0x200), ==,
                        va + 0x200);
        /* All is held by now, and A20 is no business of the model. */
        if (t->model && again) {
            g_assert_cmpuint(after.walks, ==, before.walks);
            g_assert_cmpuint(after.misses - before.misses, ==,
                             t->held == IN_STLB);
            g_assert_cmpuint(guest_counter(t->guest, "stlb-flush-cr"), ==,
                             flushed);
        }
    }
}

static void test_a20(Test *t)
{
    static const uint8_t off[][2] = { { 0x92, 0 }, { 0x64, 0xdd } };
    static const uint8_t on[][2] = { { 0x92, 2 }, { 0x64, 0xdf } };

    for (Kind kind = 0; kind < KINDS; kind++) {
        for (unsigned way = 0; way < ARRAY_SIZE(off); way++) {
            a20(t, kind, off[way], on[way]);
        }
    }
}

/*
 * PCI BARs
 */

#define PCI_COMMAND     0x04
#define PCI_MEMORY      2
#define PCI_BAR0        0x10

static void pci_select(Test *t, unsigned slot, unsigned offset)
{
    qtest_outl(t->guest->qts, 0xcf8, 0x80000000 | slot << 11 | offset);
}

static void pci_write(Test *t, unsigned slot, unsigned offset, uint32_t value)
{
    pci_select(t, slot, offset);
    qtest_outl(t->guest->qts, 0xcfc, value);
}

/* The same by whom chance picks; then the guest loads from @va. */
static uint64_t pci_change(Test *t, unsigned slot, unsigned offset,
                           uint32_t value, uint64_t va)
{
    if (g_test_rand_bit()) {
        pci_write(t, slot, offset, value);
        return run(t, after_refill(t, OP_LOAD), va, 0).value;
    }
    pci_select(t, slot, offset);
    return run(t, after_refill(t, OP_PCI), va, value).value;
}

#define DEVICES         2
#define PLACES          3
#define PLACE(n)        (0xe0000000 + (n) * 16 * MiB)
/* Each kind of page has a word of its own in a device. */
#define BAR_WORD(kind)  ((kind) * PAGE + 0x40)

/* Where a page of @kind maps a place: no two in one set of L1. */
static uint64_t place_va(Kind kind, unsigned place)
{
    static const uint64_t sizes[KINDS] = {
        [KIND_4K] = PAGE, [KIND_GROUP] = PAGE_64K, [KIND_LEAF] = PAGE_64K,
    };

    return VA(kind * PLACES + place) + place * sizes[kind];
}

typedef struct Device {
    bool on;
    unsigned place;
    uint64_t content[KINDS];    /* of BAR_WORD(kind) */
} Device;

/* The device at @place, or NULL: at most one is. */
static Device *device_at(Device *devices, unsigned place)
{
    for (unsigned d = 0; d < DEVICES; d++) {
        if (devices[d].on && devices[d].place == place) {
            return &devices[d];
        }
    }
    return NULL;
}

/* What a load at @place gave; what loads and stores do from now on. */
static void assert_place(Test *t, Kind kind, Device *devices, unsigned place,
                         uint64_t loaded)
{
    const uint64_t va = place_va(kind, place) + BAR_WORD(kind);
    const uint64_t n = g_test_rand_int_range(1, INT32_MAX);
    Device *device = device_at(devices, place);

    if (device) {
        g_assert_cmphex(loaded, ==, device->content[kind]);
        hold(t, va);
        g_assert_cmphex(access_held(t, OP_XCHG, va, n), ==, loaded);
        g_assert_cmphex(read_pa(t, PLACE(place) + BAR_WORD(kind)), ==, n);
        device->content[kind] = n;
    } else {
        /* Nothing is there, and nothing keeps what is written. */
        hold(t, va);
        access_held(t, OP_XCHG, va, n);
        g_assert_cmphex(run(t, OP_LOAD, va, 0).value, ==, loaded);
    }
}

static void test_bar(Test *t)
{
    enum { SLOT = 4, STEPS = 40 };
    Device devices[DEVICES] = { { .place = 0 }, { .place = 1 } };

    for (Kind kind = 0; kind < KINDS; kind++) {
        for (unsigned p = 0; p < PLACES; p++) {
            map(t, kind, place_va(kind, p), PLACE(p));
        }
    }
    for (unsigned d = 0; d < DEVICES; d++) {
        pci_write(t, SLOT + d, PCI_BAR0, PLACE(devices[d].place));
    }
    for (unsigned step = 0; step < STEPS; step++) {
        const Kind kind = step % KINDS;
        const unsigned d = g_test_rand_bit(), old = devices[d].place;
        /* Where neither is. */
        const unsigned other = PLACES - devices[0].place - devices[1].place;
        unsigned watched = old;
        uint64_t loaded, va;

        for (unsigned p = 0; p < PLACES; p++) {
            hold(t, place_va(kind, p) + BAR_WORD(kind));
        }
        if (devices[d].on && g_test_rand_bit()) {
            watched = g_test_rand_bit() ? old : other;
            va = place_va(kind, watched) + BAR_WORD(kind);
            hold(t, va);
            devices[d].place = other;
            loaded = pci_change(t, SLOT + d, PCI_BAR0, PLACE(other), va);
            if (g_test_rand_bit()) {
                /* The other one goes where it was. */
                assert_place(t, kind, devices, watched, loaded);
                watched = old;
                va = place_va(kind, watched) + BAR_WORD(kind);
                hold(t, va);
                devices[!d].place = old;
                loaded = pci_change(t, SLOT + !d, PCI_BAR0, PLACE(old), va);
            }
        } else {
            va = place_va(kind, watched) + BAR_WORD(kind);
            hold(t, va);
            devices[d].on = !devices[d].on;
            loaded = pci_change(t, SLOT + d, PCI_COMMAND,
                                devices[d].on ? PCI_MEMORY : 0, va);
        }
        assert_place(t, kind, devices, watched, loaded);
        for (unsigned p = 0; p < PLACES; p++) {
            va = place_va(kind, p) + BAR_WORD(kind);
            assert_place(t, kind, devices, p, run(t, OP_LOAD, va, 0).value);
        }
    }
}

/*
 * RAM below and above 4 GB, ROM, and what is the one or the other
 */

#define HIGH            (4 * GiB)

/* PAM registers of the host bridge, two areas in each. */
#define PAM_OFF         0
#define PAM_READ        1
#define PAM_BOTH        3

typedef struct Area {
    uint64_t pa;
    Kind kind;
    uint64_t base;              /* what the page maps */
    uint8_t pam, shift;         /* 0: no register */
    bool rom;
} Area;

static const Area areas[] = {
    { TEST_PA, KIND_4K, TEST_PA },
    { TEST_PA + PAGE_2M + 0x3000, KIND_LEAF, TEST_PA + PAGE_2M },
    { HIGH + 0x5000, KIND_4K, HIGH + 0x5000 },
    { HIGH + PAGE_64K + 0x6000, KIND_GROUP, HIGH + PAGE_64K },
    { HIGH + 0x30000000, KIND_2M, HIGH + 0x30000000 },
    { GUEST_ROM_PTES, KIND_4K, GUEST_ROM_PTES, .rom = true },
    { GUEST_ROM_PTES + 0x10, KIND_LEAF, GUEST_ROM_PTES & -PAGE_64K,
      .rom = true },
    { 0xc8000, KIND_4K, 0xc8000, 0x5b, 0 },
    { 0xd4000, KIND_2M, 0, 0x5c, 4 },
    { 0xf4000, KIND_4K, 0xf4000, 0x59, 4 },
    { 0xf4018, KIND_2M, 0, 0x59, 4 },
};

#define PAM_FIRST       0x59
#define PAM_END         0x60

/* What four registers from @offset on are to be. */
static uint32_t pam_value(uint8_t pam[][2], unsigned offset)
{
    uint32_t value = 0;

    for (unsigned i = 0; i < 4; i++) {
        if (offset + i >= PAM_FIRST) {
            value |= (pam[offset + i][0] | pam[offset + i][1] << 4) << (8 * i);
        }
    }
    return value;
}

static void test_regions(Test *t)
{
    struct {
        uint64_t va, rom, ram;
    } state[ARRAY_SIZE(areas)];
    /* By register and half: what is read and written. */
    uint8_t pam[PAM_END][2] = { };
    const unsigned steps = 200;

    for (unsigned i = 0; i < ARRAY_SIZE(areas); i++) {
        const Area *a = &areas[i];

        map(t, a->kind, VA(i), a->base);
        state[i].va = VA(i) + (a->pa - a->base);
        state[i].rom = read_pa(t, a->pa);
        state[i].ram = a->pam ? *guest_word(t->guest, a->pa) : state[i].rom;
    }
    for (unsigned step = 1; step <= steps; step++) {
        const unsigned i = g_test_rand_int_range(0, ARRAY_SIZE(areas));
        const Area *a = &areas[i];
        const uint64_t va = state[i].va;
        uint8_t *mode = &pam[a->pam][a->shift / 4];
        bool ram = !a->rom, writable = !a->rom;

        hold(t, va);
        if (a->pam) {
            static const uint8_t modes[] = { PAM_OFF, PAM_READ, PAM_BOTH };

            if (g_test_rand_bit()) {
                *mode = modes[g_test_rand_int_range(0, ARRAY_SIZE(modes))];
                ram = *mode != PAM_OFF;
                g_assert_cmphex(pci_change(t, 0, a->pam & ~3,
                                           pam_value(pam, a->pam & ~3), va),
                                ==, ram ? state[i].ram : state[i].rom);
                hold(t, va);
            }
            ram = *mode != PAM_OFF;
            writable = *mode == PAM_BOTH;
        }
        if (g_test_rand_bit()) {
            g_assert_cmphex(load_held(t, va), ==,
                            ram ? state[i].ram : state[i].rom);
        } else {
            g_assert_cmphex(access_held(t, OP_XCHG, va, step), ==,
                            ram ? state[i].ram : state[i].rom);
            if (writable) {
                state[i].ram = step;
                g_assert_cmphex(read_pa(t, a->pa), ==, step);
            }
            g_assert_cmphex(run(t, OP_LOAD, va, 0).value, ==,
                            ram ? state[i].ram : state[i].rom);
        }
    }
}

/*
 * Dirty pages: what a display shows, and what a migration carries
 */

#define WIDTH           1024
#define HEIGHT          512

static void vbe(Test *t, unsigned index, unsigned value)
{
    qtest_outw(t->guest->qts, 0x1ce, index);
    qtest_outw(t->guest->qts, 0x1d0, value);
}

/* What colour the display shows for byte @offset of its memory. */
static unsigned shown(Test *t, const char *path, unsigned offset)
{
    static const char header[] = "P6\n1024 512\n255\n";
    g_autoptr(GError) err = NULL;
    g_autofree char *image = NULL;
    size_t size;

    qtest_qmp_assert_success(t->guest->qts, "{ 'execute': 'screendump',"
                             "  'arguments': { 'filename': %s } }", path);
    g_file_get_contents(path, &image, &size, &err);
    g_assert_no_error(err);
    g_assert_cmpuint(size, ==, strlen(header) + WIDTH * HEIGHT * 3);
    g_assert_cmpmem(image, strlen(header), header, strlen(header));
    return (uint8_t)image[strlen(header) + offset * 3];
}

/*
 * 256 colours, so that QEMU has to convert what has changed; it asks which
 * pages are dirty.
 */
static void test_display(Test *t)
{
    enum { SLOT = 4, ROUNDS = 3 };
    g_autoptr(GError) err = NULL;
    char *path = NULL;
    int fd = g_file_open_tmp("x64k-display-XXXXXX", &path, &err);

    g_assert_no_error(err);
    close(fd);
    pci_write(t, SLOT, PCI_BAR0, PLACE(0));
    pci_write(t, SLOT, PCI_COMMAND, PCI_MEMORY | 1);
    vbe(t, 1, WIDTH);
    vbe(t, 2, HEIGHT);
    vbe(t, 3, 8);
    vbe(t, 4, 0x61);            /* on, linear, 8 bits for each of RGB */
    qtest_inb(t->guest->qts, 0x3da);
    qtest_outb(t->guest->qts, 0x3c0, 0x20);
    qtest_outb(t->guest->qts, 0x3c8, 0);
    for (unsigned i = 0; i < 256 * 3; i++) {
        qtest_outb(t->guest->qts, 0x3c9, i / 3);
    }
    for (unsigned n = 0; n < KINDS * ROUNDS; n++) {
        const Kind kind = n % KINDS;
        const unsigned offset = (kind ? (kind + 1) * PAGE : 0) + 0x123 + n;
        const uint64_t va = VA(kind) + offset;

        map(t, kind, VA(kind), PLACE(0));
        g_assert_cmpuint(run(t, OP_XCHG, va, 0x50 + n).value & 0xff, ==, 0);
        hold(t, va);
        /* From here on, the page is clean. */
        g_assert_cmphex(shown(t, path, offset), ==, 0x50 + n);
        g_assert_cmphex(shown(t, path, offset), ==, 0x50 + n);
        access_held(t, OP_XCHG, va, 0x90 + n);
        g_assert_cmphex(shown(t, path, offset), ==, 0x90 + n);
        run(t, OP_XCHG, va, 0);
    }
    unlink(path);
    g_free(path);
}

/* Stores to random pages of 4 MB, for ever. */
static void put_scatter(uint8_t *at, uint64_t va)
{
    uint8_t *loop;

    at = PUT_VALUE(PUT(at, 0x48, 0xbd), uint64_t, va);  /* mov $, %rbp */
    at = PUT(at, 0x49, 0xb9);                           /* mov $, %r9 */
    at = PUT_VALUE(at, uint64_t, 6364136223846793005ull);
    loop = at;
    at = PUT(at, 0x4d, 0x0f, 0xaf, 0xc1);       /* imul %r9, %r8 */
    at = PUT(at, 0x4d, 0x8d, 0x80, 0x39, 0x30, 0, 0); /* lea 12345(%r8), %r8 */
    at = PUT(at, 0x4c, 0x89, 0xc0);             /* mov %r8, %rax */
    at = PUT(at, 0x48, 0xc1, 0xe8, 0x20);       /* shr $32, %rax */
    at = PUT(at, 0x25, 0xf8, 0xff, 0x3f, 0);    /* and $0x3ffff8, %eax */
    at = PUT(at, 0x4c, 0x89, 0x44, 0x28, 0);    /* mov %r8, (%rax, %rbp) */
    at = PUT(at, 0xeb);                         /* jmp loop */
    PUT_VALUE(at, int8_t, loop - (at + 1));
}

/* Has the migration gone through so many rounds, or come to its end? */
static bool has_synced(QTestState *qts, int64_t rounds)
{
    QDict *answer = qtest_qmp_assert_success_ref(qts, "{ 'execute':"
                                                 "  'query-migrate' }");
    int64_t n = qdict_haskey(answer, "ram") ?
                qdict_get_int(qdict_get_qdict(answer, "ram"),
                              "dirty-sync-count") : 0;
    bool ended = !g_strcmp0(qdict_get_try_str(answer, "status"), "completed");

    qobject_unref(answer);
    return n >= rounds || ended;
}

/*
 * A guest that stores here and there, much of it outside L1, moves after some
 * rounds in which it went on: all of its RAM must have come along.
 */
static void test_migration(Test *t)
{
    enum { ROUNDS = 6 };
    const uint64_t pa = TEST_PA + PAGE_2M;
    const GuestCommand scatter = {
        .op = OP_CALL, .operand = VA(2),
    };
    g_autoptr(GError) err = NULL;
    g_autofree char *dir = g_dir_make_tmp("x64k-XXXXXX", &err);
    g_autofree char *path = g_build_filename(dir, "socket", NULL);
    g_autofree char *uri = g_strdup_printf("unix:%s", path);
    g_autofree char *options = g_strdup_printf("-S -incoming %s", uri);
    QTestState *qts = t->guest->qts;
    Guest *to;

    g_assert_no_error(err);
    for (uint64_t at = 0; at < PAGE_2M; at += PAGE) {
        map_alone(t, KIND_4K, VA(0) + at, pa + at);
    }
    for (uint64_t at = 0; at < PAGE_2M; at += PAGE_64K) {
        map_alone(t, KIND_LEAF, VA(1) + at, pa + PAGE_2M + at);
    }
    map_alone(t, KIND_2M, VA(2), TEST_PA);
    put_scatter(t->guest->ram + TEST_PA, VA(0));

    to = guest_start_with(t->model ? ",x64k-contig=on,x64k-leaf=on,"
                          "hwtlb=skylake" : ",x64k-contig=on,x64k-leaf=on",
                          CR4_P64, 1, options);
    qtest_qmp_assert_success(to->qts, "{ 'execute': 'stop' }");
    guest_begin(t->guest, 0, &scatter, 1);
    /*
     * It does not end yet, since 4 MB take longer than 1 ms; unless the guest
     * hardly runs, because the machine has much else to do.
     */
    qtest_qmp_assert_success(qts, "{ 'execute': 'migrate-set-parameters',"
                             "  'arguments': { 'downtime-limit': 1,"
                             "    'max-bandwidth': 67108864 } }");
    qtest_qmp_assert_success(qts, "{ 'execute': 'migrate',"
                             "  'arguments': { 'uri': %s } }", uri);
    for (unsigned i = 0; !has_synced(qts, ROUNDS); i++) {
        g_assert_cmpuint(i, <, 2000);
        g_usleep(10000);
    }
    qtest_qmp_assert_success(qts, "{ 'execute': 'migrate-set-parameters',"
                             "  'arguments': { 'downtime-limit': 5000 } }");
    guest_wait_for(qts, "query-migrate", "completed");
    guest_wait_for(to->qts, "query-migrate", "completed");
    g_assert_cmpint(memcmp(t->guest->ram, to->ram, GUEST_RAM_SIZE), ==, 0);
    guest_stop(to);
    unlink(path);
    rmdir(dir);
}

/*
 * Self-modifying code
 */

/* mov $value, %rdx; jmp *%rcx, and where the value is */
static void put_constant(uint8_t *at, uint64_t value)
{
    PUT(PUT_VALUE(PUT(at, 0x48, 0xba), uint64_t, value), 0xff, 0xe1);
}

#define CONSTANT        2

static void test_code(Test *t)
{
    enum { ROUNDS = 6 };

    for (Kind kind = 0; kind < KINDS; kind++) {
        const uint64_t offset = (kind ? 5 * PAGE : 0) + 0x100;
        const uint64_t pa = TEST_PA + kind * PAGE_2M;
        /* Two addresses of the code; stores go through the latter. */
        const uint64_t va = VA(KINDS) + kind * PAGE + 0x100;
        const uint64_t alias = VA(kind) + offset;

        map(t, kind, VA(kind), pa);
        map_alone(t, KIND_4K, VA(KINDS) + kind * PAGE, pa + (offset & -PAGE));
        put_constant(t->guest->ram + pa + offset, 0);
        for (unsigned n = 0; n < ROUNDS; n++) {
            hold(t, alias + CONSTANT);
            g_assert_cmphex(run(t, OP_FETCH, va, 0).value, ==, n);
            if (n & 1) {
                g_assert_cmphex(run(t, OP_FETCH, alias, 0).value, ==, n);
            }
            g_assert_cmphex(access_held(t, OP_XCHG, alias + CONSTANT, n + 1),
                            ==, n);
            if (n & 2) {
                g_assert_cmphex(run(t, OP_FETCH, alias, 0).value, ==, n + 1);
            }
            g_assert_cmphex(run(t, OP_FETCH, va, 0).value, ==, n + 1);
        }
    }
}

/*
 * Pages of 4 MB, which the model holds as two entries
 */

#define PAGE_4M         0x400000u
#define LEGACY_VA       0x40000000u

/* mov address, %eax */
static uint8_t *put_load32(uint8_t *at, uint32_t va)
{
    return PUT_VALUE(PUT(at, 0xa1), uint32_t, va);
}

static uint8_t *put_invlpg32(uint8_t *at, uint32_t va)
{
    return PUT_VALUE(PUT(at, 0x0f, 0x01, 0x3d), uint32_t, va);
}

/* Points the page elsewhere, unseen: mov $, address */
static uint8_t *put_pde32(uint8_t *at, uint32_t pde, uint32_t value)
{
    return PUT_VALUE(PUT_VALUE(PUT(at, 0xc7, 0x05), uint32_t, pde), uint32_t,
                     value);
}

/* add %eax, %edx */
static uint8_t *put_add32(uint8_t *at)
{
    return PUT(at, 0x01, 0xc2);
}

typedef struct Counts4M {
    uint64_t l1d_miss, stlb_miss, l1d_fill, stlb_fill, l1d_invlpg, stlb_invlpg;
} Counts4M;

static Counts4M counts_4m(Test *t)
{
    return (Counts4M) {
        .l1d_miss = guest_counter(t->guest, "l1d-load-miss"),
        .stlb_miss = guest_counter(t->guest, "stlb-load-miss"),
        .l1d_fill = guest_counter(t->guest, "l1d-fill-2m"),
        .stlb_fill = guest_counter(t->guest, "stlb-fill-2m"),
        .l1d_invlpg = guest_counter(t->guest, "l1d-flush-invlpg"),
        .stlb_invlpg = guest_counter(t->guest, "stlb-flush-invlpg"),
    };
}

/* Runs @code up to @end; what it counts, and leaves in edx. */
static uint32_t run_legacy(Test *t, uint32_t cr3, const uint8_t *code,
                           const uint8_t *end, Counts4M *n)
{
    Counts4M before = { }, after = { };
    uint32_t value;

    PUT(put(t->guest->ram + t->free_code, code, end - code), 0xc3); /* ret */
    if (t->model) {
        before = counts_4m(t);
    }
    value = run(t, OP_LEGACY, t->free_code, cr3).value;
    if (t->model) {
        after = counts_4m(t);
    }
    t->free_code += 0x100;
    *n = (Counts4M) {
        after.l1d_miss - before.l1d_miss, after.stlb_miss - before.stlb_miss,
        after.l1d_fill - before.l1d_fill, after.stlb_fill - before.stlb_fill,
        after.l1d_invlpg - before.l1d_invlpg,
        after.stlb_invlpg - before.stlb_invlpg,
    };
    return value;
}

static void test_4m(Test *t)
{
    const uint32_t flags = PTE_P | PTE_RW | PTE_A | PTE_D | PTE_PS;
    /* The two pages that are mapped in turn, and what they hold. */
    const uint32_t old_pa = TEST_PA + PAGE_4M, new_pa = old_pa + PAGE_4M;
    const uint32_t low = LEGACY_VA + 0x123000, high = low + PAGE_2M;
    const uint32_t cr3 = guest_new_table(t->guest);
    const uint32_t pde = cr3 + LEGACY_VA / PAGE_4M * 4;
    uint32_t *pd = (uint32_t *)(t->guest->ram + cr3);
    uint8_t code[0x80], *at;
    Counts4M base, n;

    /* The guest's own, to themselves; that of the page directory itself. */
    pd[0] = flags;
    pd[1023] = -PAGE_4M | flags;
    pd[TEST_PA / PAGE_4M] = TEST_PA | flags;
    pd[cr3 / PAGE_4M] = (cr3 & -PAGE_4M) | flags;
    *(uint32_t *)guest_word(t->guest, old_pa + 0x123000) = 1;
    *(uint32_t *)guest_word(t->guest, old_pa + 0x123000 + PAGE_2M) = 2;
    *(uint32_t *)guest_word(t->guest, new_pa + 0x123000) = 0x10;
    *(uint32_t *)guest_word(t->guest, new_pa + 0x123000 + PAGE_2M) = 0x20;

    /* What the guest counts before it is ready is not ours. */
    run(t, OP_CR3, t->guest->cr3, 0);

    /* INVLPG of any address in the page makes both halves new. */
    for (unsigned i = 0; i < 8; i++) {
        const uint32_t first = i & 1 ? low : high, last = i & 2 ? low : high;
        const uint32_t where = i & 4 ? LEGACY_VA + 0x40
                                     : LEGACY_VA + PAGE_4M - 0x40;

        at = put_pde32(code, pde, old_pa | flags);
        at = PUT(at, 0x31, 0xd2);               /* xor %edx, %edx */
        at = put_add32(put_load32(at, first));
        at = put_add32(put_load32(at, first ^ PAGE_2M));
        at = put_pde32(at, pde, new_pa | flags);
        run_legacy(t, cr3, code, at, &base);

        at = put_invlpg32(at, where);
        g_assert_cmphex(run_legacy(t, cr3, code, at, &n), ==, 3);
        if (t->model) {
            g_assert_cmpuint(n.l1d_invlpg, ==, 2);
            g_assert_cmpuint(n.stlb_invlpg, ==, 2);
            g_assert_cmpuint(n.l1d_miss, ==, base.l1d_miss);
        }

        at = put_add32(put_load32(at, last));
        at = put_add32(put_load32(at, last ^ PAGE_2M));
        g_assert_cmphex(run_legacy(t, cr3, code, at, &n), ==, 0x33);
        if (t->model) {
            g_assert_cmpuint(n.l1d_miss, ==, base.l1d_miss + 2);
            g_assert_cmpuint(n.stlb_miss, ==, base.stlb_miss + 2);
            g_assert_cmpuint(n.l1d_fill, ==, base.l1d_fill + 2);
            g_assert_cmpuint(n.stlb_fill, ==, base.stlb_fill + 2);
        }
    }

    /* One half alone is held: it is that one which goes. */
    for (unsigned i = 0; i < 4 && t->model; i++) {
        at = put_pde32(code, pde, old_pa | flags);
        at = put_load32(at, i & 1 ? low : high);
        at = put_invlpg32(at, i & 2 ? low : high);
        run_legacy(t, cr3, code, at, &n);
        g_assert_cmpuint(n.l1d_invlpg, ==, 1);
        g_assert_cmpuint(n.stlb_invlpg, ==, 1);
    }
}

static void run_test(const void *data)
{
    Test t = *(const Test *)data;

    t.guest = guest_start_with(t.model ?
                               ",x64k-contig=on,x64k-leaf=on,hwtlb=skylake" :
                               ",x64k-contig=on,x64k-leaf=on,hwtlb=off",
                               CR4_P64, 1, t.options);
    t.free_code = TEST_PA + 0x10 * PAGE;
    t.fn(&t);
    guest_stop(t.guest);
}

static const Test tests[] = {
    { "watchpoint", test_watchpoint, "" },
    { "a20", test_a20, "" },
    { "bar", test_bar, "-device secondary-vga,addr=4,vgamem_mb=2 "
                       "-device secondary-vga,addr=5,vgamem_mb=2" },
    { "regions", test_regions, "-m slots=1,maxmem=8G "
                               "-object memory-backend-ram,id=high,size=1G "
                               "-device pc-dimm,memdev=high,addr=0x100000000" },
    { "display", test_display, "-device VGA,addr=4,vgamem_mb=2,romfile=" },
    { "code", test_code, "" },
};

/* These have no page to be held in some way. */
static const Test other_tests[] = {
    { "migration", test_migration, "" },
    { "4m", test_4m, "" },
};

static void add(const Test *test, bool model, Held held, const char *where)
{
    Test *copy = g_new(Test, 1);
    g_autofree char *path = g_strdup_printf("/x64k/refill/%s/%s%s", test->name,
                                            model ? "model" : "no-model",
                                            where);

    *copy = *test;
    copy->model = model;
    copy->held = held;
    qtest_add_data_func_full(path, copy, run_test, g_free);
}

int main(int argc, char **argv)
{
    static const char *const where[HELD] = {
        [IN_L0] = "/l0", [IN_L1] = "/l1", [IN_STLB] = "/stlb",
    };

    g_test_init(&argc, &argv, NULL);
    for (unsigned model = 0; model < 2; model++) {
        for (unsigned i = 0; i < ARRAY_SIZE(tests); i++) {
            for (Held held = 0; held < HELD; held++) {
                add(&tests[i], model, held, where[held]);
            }
        }
        for (unsigned i = 0; i < ARRAY_SIZE(other_tests); i++) {
            add(&other_tests[i], model, IN_L0, "");
        }
    }
    return g_test_run();
}
