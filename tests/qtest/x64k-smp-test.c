/*
 * Pages become clean while other vCPUs store to them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A vCPU that has translated code, or a migration that has taken a page, makes
 * it clean: stores to it must be seen from then on, by all vCPUs.  Each of them
 * is just losing pages from its TLB and setting them there anew.  What is
 * stored must change what is executed, and must come along in a migration.
 *
 * The machine is made busier than it has processors, so that threads stop in
 * all places.  X64K_SECONDS=N makes each test of code so long, and as many
 * migrations as fit into it; by default, all take seconds.
 */
#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "x64k-guest.h"
#include "x64k-smp-code.h"

/* What smp.S is told, at this address; and itself, in the page after it. */
#define TOLD            UINT64_C(0x80000)
#define PROGRAMS        (TOLD + PAGE)

typedef enum Program { WRITER, RUNNER, SWEEP, LINGER } Program;

/* As in smp.S. */
typedef struct Told {
    union {
        uint64_t code, lag;
    };
    union {
        uint64_t thrash, swept;
    };
    uint64_t stride;
    uint64_t pages;
    uint64_t runners;
    uint64_t stop;
    uint64_t rounds;
    uint64_t pad[9];
    uint64_t want[16];
    struct {
        uint64_t done, bad;
        uint32_t found, wanted;
        uint64_t pad[5];
    } runner[3];
} Told;

QEMU_BUILD_BUG_ON(offsetof(Told, want) != 0x80);
QEMU_BUILD_BUG_ON(offsetof(Told, runner) != 0x100);

typedef struct Mode {
    const char *name, *properties;
    bool is_file;               /* @properties: for hwtlb-config */
} Mode;

/* Two pages of a set are in each other's way in QEMU's own TLB. */
#define LRU_LEVEL(name, sets) \
    "\"" name "\": { \"arrays\": [ { \"sets\": " #sets ", \"ways\": 4, " \
    "\"policy\": \"lru\", \"classes\": [ \"4k\", \"64k-hint\", " \
    "\"64k-leaf\", \"2m\", \"1g\" ] } ] }"

static const Mode modes[] = {
    { "off", ",hwtlb=off" },
    { "skylake", ",hwtlb=skylake" },
    { "lru", "{ " LRU_LEVEL("l1d", 16) ", " LRU_LEVEL("l1i", 16) ", "
      LRU_LEVEL("stlb", 256) " }", true },
    { "every", ",hwtlb=skylake,hwtlb-observe=every" },
    { "verify", ",hwtlb=skylake,hwtlb-verify=on" },
};

/* How the writer loses its page. */
typedef struct Way {
    const char *name;
    unsigned pages;
    uint64_t stride;
} Way;

static const Way ways[] = {
    /* To another page of its set, or to so many that L1 has lost it. */
    { "set", 1, PAGE_64K },
    { "l1", 4, PAGE_64K },
    /* The same, of the place in QEMU's own TLB and the eight for victims. */
    { "place", 1, 64 * PAGE_2M },
    { "places", 9, 64 * PAGE_2M },
};

static unsigned seconds;

/*
 * A busy machine
 */

static bool busy;

/*
 * A thread that sleeps now and then comes before those that do not, when it
 * wakes up: these are stopped often, and not for long.
 */
static void *be_busy(void *opaque)
{
    const bool sleeps = opaque != NULL;
    GRand *rand = g_rand_new();

    while (qatomic_read(&busy)) {
        const gint64 end = g_get_monotonic_time() + g_rand_int(rand) % 100;

        while (g_get_monotonic_time() < end) {
            barrier();
        }
        if (sleeps) {
            g_usleep(g_rand_int(rand) % 200);
        }
    }
    g_rand_free(rand);
    return NULL;
}

/*
 * For each processor one thread of each kind, for as long as a test runs; none
 * if there is enough to do without us.
 */
static GPtrArray *start_load(void)
{
    GPtrArray *threads = g_ptr_array_new();
    double average = 0;

    getloadavg(&average, 1);
    qatomic_set(&busy, true);
    for (unsigned i = 0; average < 3 * g_get_num_processors() &&
                         i < g_get_num_processors(); i++) {
        g_ptr_array_add(threads, g_thread_new("busy", be_busy, NULL));
        g_ptr_array_add(threads, g_thread_new("often", be_busy, threads));
    }
    return threads;
}

static void end_load(GPtrArray *threads)
{
    qatomic_set(&busy, false);
    for (unsigned i = 0; i < threads->len; i++) {
        g_thread_join(g_ptr_array_index(threads, i));
    }
    g_ptr_array_free(threads, true);
}

/*
 * Guests
 */

static Guest *start(const Mode *mode, unsigned cpus, const char *options)
{
    g_autofree char *properties = NULL;
    g_autoptr(GError) err = NULL;
    char *path = NULL;
    Guest *guest;
    int fd;

    if (!mode->is_file) {
        return guest_start_with(mode->properties, 0, cpus, options);
    }
    fd = g_file_open_tmp("x64k-geometry-XXXXXX", &path, &err);
    g_assert_no_error(err);
    g_assert_cmpint(write(fd, mode->properties, strlen(mode->properties)), ==,
                    strlen(mode->properties));
    close(fd);
    properties = g_strdup_printf(",hwtlb-config=%s", path);
    guest = guest_start_with(properties, 0, cpus, options);
    unlink(path);
    g_free(path);
    return guest;
}

static Told *told_at(Guest *guest, uint64_t at)
{
    return (Told *)guest_word(guest, at);
}

static GuestCommand call(Program program, uint64_t told)
{
    const uint32_t *table = (const uint32_t *)x64k_smp_code;

    return (GuestCommand) { OP_CALL, told, PROGRAMS + table[program] };
}

static void put_programs(Guest *guest)
{
    memset(guest->ram + TOLD, 0, PAGE);
    memcpy(guest->ram + PROGRAMS, x64k_smp_code, sizeof(x64k_smp_code));
}

static void stop(Guest *guest, uint64_t told)
{
    qatomic_set(&told_at(guest, told)->stop, 1);
}

/*
 * Code
 */

typedef struct CodeTest {
    const Mode *mode;
    const Way *way;
    unsigned cpus;
} CodeTest;

static void test_code(const void *data)
{
    enum { TAKES = 400000 };    /* microseconds, if nobody says otherwise */
    const CodeTest *t = data;
    const uint64_t code = TEST_PA, thrashed = TEST_PA + PAGE;
    const uint64_t flags = PTE_RW | PTE_A | PTE_D;
    Guest *guest = start(t->mode, t->cpus, "");
    Told *told = told_at(guest, TOLD);
    GPtrArray *load;
    GuestCommand command;
    uint64_t bad = 0;

    put_programs(guest);
    told->code = TEST_VA;
    told->thrash = TEST_VA + t->way->stride;
    told->stride = t->way->stride;
    told->pages = t->way->pages;
    told->runners = t->cpus - 1;
    guest_map_4k(guest, TEST_VA, code, flags);
    for (unsigned i = 0; i < t->way->pages; i++) {
        guest_map_4k(guest, told->thrash + i * t->way->stride, thrashed,
                     flags);
    }
    memcpy(guest->ram + code, "\xb8\0\0\0\0\xc3", 6);

    load = start_load();
    for (unsigned cpu = 1; cpu < t->cpus; cpu++) {
        command = call(RUNNER, TOLD + cpu - 1);
        guest_begin(guest, cpu, &command, 1);
    }
    command = call(WRITER, TOLD);
    guest_begin(guest, 0, &command, 1);
    g_usleep(seconds ? seconds * G_USEC_PER_SEC : TAKES);
    stop(guest, TOLD);
    for (unsigned cpu = 0; cpu < t->cpus; cpu++) {
        guest_wait(guest, cpu);
        g_assert_cmphex(guest_log(guest, cpu)->vector, ==, NO_FAULT);
    }
    end_load(load);

    for (unsigned i = 0; i < t->cpus - 1; i++) {
        if (told->runner[i].bad) {
            g_test_message("vCPU %u: code returned %u, should have %u", i + 1,
                           told->runner[i].found, told->runner[i].wanted);
        }
        bad += told->runner[i].bad;
    }
    g_test_message("%" PRIu64 " rounds, %" PRIu64 " wrong", told->rounds, bad);
    g_assert_cmpuint(told->rounds, >, 0);
    g_assert_cmpuint(bad, ==, 0);
    guest_stop(guest);
}

/*
 * Migration
 */

#define SWEPT           UINT64_C(0x1000000)     /* bytes of each vCPU */
#define FEW             16
#define DIMM            UINT64_C(0x100000000)

typedef struct MigrationTest {
    const Mode *mode;
    const char *name;
    unsigned cpus;
    Program program;
    uint64_t stride, lag;       /* in pages */
    bool dimm;                  /* in RAM that is a block of its own */
} MigrationTest;

/* A number that QEMU tells of the migration's RAM, or @early. */
static int64_t progress(QTestState *qts, const char *what, int64_t early)
{
    QDict *answer = qtest_qmp_assert_success_ref(qts, "{ 'execute':"
                                                 "  'query-migrate' }");
    int64_t n = qdict_haskey(answer, "ram") ?
                qdict_get_int(qdict_get_qdict(answer, "ram"), what) : early;

    qobject_unref(answer);
    return n;
}

static void set_limits(QTestState *qts, int64_t bandwidth, int64_t downtime)
{
    qtest_qmp_assert_success(qts, "{ 'execute': 'migrate-set-parameters',"
                             "  'arguments': { 'max-bandwidth': %" PRId64 ","
                             "    'downtime-limit': %" PRId64 " } }",
                             bandwidth, downtime);
}

/* Returns how many pages of the guest have not come along. */
static unsigned migrate(const MigrationTest *t)
{
    enum { SYNCS = 4 };
    const uint64_t swept = t->program == LINGER ? FEW * PAGE : SWEPT;
    g_autoptr(GError) err = NULL;
    g_autofree char *dir = g_dir_make_tmp("x64k-XXXXXX", &err);
    g_autofree char *path = g_build_filename(dir, "socket", NULL);
    g_autofree char *uri = g_strdup_printf("unix:%s", path);
    /*
     * Much RAM that is empty, but takes time to look at, and comes first: so
     * vCPUs have flushed their TLBs, as they are told to, and filled them
     * again, before QEMU comes to the RAM that they use.
     */
    g_autofree char *more = t->program != LINGER ? g_strdup("") :
        g_strdup_printf(" -m slots=1,maxmem=8G -object memory-backend-ram,"
                        "id=high,size=%s -device pc-dimm,memdev=high,"
                        "addr=%" PRIu64, t->dimm ? "64M" : "4G", DIMM);
    const bool in_first_round = t->program == LINGER && !t->dimm;
    g_autofree char *options = g_strdup_printf("-S -incoming %s%s", uri, more);
    Guest *from = start(t->mode, t->cpus, more);
    Guest *to = start(t->mode, t->cpus, options);
    QTestState *qts = from->qts;
    GPtrArray *load;
    unsigned lost = 0;

    g_assert_no_error(err);
    qtest_qmp_assert_success(to->qts, "{ 'execute': 'stop' }");
    put_programs(from);
    for (unsigned cpu = 0; cpu < t->cpus; cpu++) {
        const uint64_t va = TEST_VA + cpu * (8ull << 30);
        const uint64_t pa = (t->dimm ? DIMM : TEST_PA) + cpu * swept;
        /* Each is told something else. */
        const uint64_t at = TOLD + cpu * 0x40;
        Told *told = told_at(from, at);
        const GuestCommand command = call(t->program, at);

        told->stride = t->stride * PAGE;
        told->lag = t->lag * told->stride;
        told->swept = va + told->lag;
        told->pages = swept / PAGE - t->lag;
        for (uint64_t i = 0; i < swept / PAGE; i++) {
            guest_map_4k(from, va + i * told->stride, pa + i * PAGE,
                         PTE_RW | PTE_A | PTE_D);
        }
        guest_begin(from, cpu, &command, 1);
    }
    if (in_first_round) {
        /* This takes long to send. */
        for (uint64_t pa = TEST_PA + SWEPT; pa < TEST_PA + 4 * SWEPT;
             pa += 64) {
            *guest_word(from, pa) = g_test_rand_int();
        }
    }

    load = start_load();
    g_usleep(20000);
    /* It does not come to its end yet. */
    set_limits(qts, t->program == LINGER ? 16 * MiB : 1024 * MiB, 1);
    qtest_qmp_assert_success(qts, "{ 'execute': 'migrate',"
                             "  'arguments': { 'uri': %s } }", uri);
    if (in_first_round) {
        /* What is stored last, is when these pages have been sent once. */
        while (progress(qts, "remaining", INT64_MAX) >
               GUEST_RAM_SIZE - TEST_PA - t->cpus * swept) {
            g_usleep(1000);
        }
        for (unsigned cpu = 0; cpu < t->cpus; cpu++) {
            stop(from, TOLD + cpu * 0x40);
        }
        for (unsigned cpu = 0; cpu < t->cpus; cpu++) {
            guest_wait(from, cpu);
        }
        if (progress(qts, "dirty-sync-count", 0) > 1) {
            g_test_message("too late: the first round was over");
        }
    } else {
        for (unsigned i = 0; progress(qts, "dirty-sync-count", 0) < SYNCS &&
                             progress(qts, "remaining", 1) > 0; i++) {
            g_assert_cmpint(i, <, 6000);
            g_usleep(10000);
        }
    }
    set_limits(qts, 1024 * MiB, 5000);
    guest_wait_for(qts, "query-migrate", "completed");
    guest_wait_for(to->qts, "query-migrate", "completed");
    end_load(load);
    for (uint64_t pa = 0; pa < GUEST_RAM_SIZE; pa += PAGE) {
        lost += memcmp(from->ram + pa, to->ram + pa, PAGE) != 0;
    }
    for (uint64_t pa = DIMM; t->dimm && pa < DIMM + t->cpus * swept;
         pa += PAGE) {
        lost += qtest_readl(from->qts, pa) != qtest_readl(to->qts, pa);
    }
    guest_stop(to);
    guest_stop(from);
    unlink(path);
    rmdir(dir);
    return lost;
}

static void test_migration(const void *data)
{
    const gint64 end = g_get_monotonic_time() + seconds * G_USEC_PER_SEC;
    unsigned n = 0, bad = 0;

    do {
        const unsigned lost = migrate(data);

        if (lost) {
            g_test_message("migration %u lost %u pages", n, lost);
        }
        bad += lost != 0;
        n++;
    } while (g_get_monotonic_time() < end);
    g_test_message("%u migrations, %u wrong", n, bad);
    g_assert_cmpuint(bad, ==, 0);
}

/*
 * All of it
 */

static void add_code(const Mode *mode, const Way *way, unsigned cpus)
{
    g_autofree char *path = g_strdup_printf("/x64k/smp/code/%s/%s/%u",
                                            mode->name, way->name, cpus);
    CodeTest *t = g_new(CodeTest, 1);

    *t = (CodeTest) { mode, way, cpus };
    qtest_add_data_func_full(path, t, test_code, g_free);
}

static void add_migration(MigrationTest test)
{
    g_autofree char *path = g_strdup_printf("/x64k/smp/migration/%s/%s/%u",
                                            test.mode->name, test.name,
                                            test.cpus);
    MigrationTest *t = g_new(MigrationTest, 1);

    *t = test;
    qtest_add_data_func_full(path, t, test_migration, g_free);
}

int main(int argc, char **argv)
{
    const char *asked = getenv("X64K_SECONDS");

    g_test_init(&argc, &argv, NULL);
    seconds = asked ? atoi(asked) : 0;
    for (unsigned m = 0; m < ARRAY_SIZE(modes); m++) {
        for (unsigned w = 0; w < ARRAY_SIZE(ways); w++) {
            for (unsigned cpus = 2; cpus <= 4; cpus += 2) {
                if (seconds || w == m || (cpus == 2 && m < 3)) {
                    add_code(&modes[m], &ways[w], cpus);
                }
            }
        }
    }
    for (unsigned m = 0; m < 3; m++) {
        const bool model = m != 0;

        if (m < 2 || seconds) {
            add_migration((MigrationTest) {
                &modes[m], "linger", 2, LINGER, 1,
            });
            add_migration((MigrationTest) {
                &modes[m], "dimm", 2, LINGER, 1, .dimm = true,
            });
        }
        /* It comes back when L1 has lost a page, or QEMU's TLB its place. */
        add_migration((MigrationTest) {
            &modes[m], "near", 2, SWEEP, model ? 1 : 64, 100,
        });
        /* When the STLB has. */
        add_migration((MigrationTest) {
            &modes[m], "far", 4, SWEEP, model ? 1 : 64, 3500,
        });
    }
    return g_test_run();
}
