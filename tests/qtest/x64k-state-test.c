/*
 * 64 KB pages in saved state, in migration and in what management asks
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qobject/qjson.h"
#include "x64k-guest.h"

#define BOTH            ",x64k-contig=on,x64k-leaf=on"
#define LEAF_VA         TEST_VA
#define GROUP_VA        (TEST_VA + PAGE_2M)

typedef struct Files {
    char *dir, *state, *disk;
} Files;

static Files files_new(void)
{
    g_autoptr(GError) err = NULL;
    Files files = { .dir = g_dir_make_tmp("x64k-XXXXXX", &err) };

    g_assert_no_error(err);
    files.state = g_build_filename(files.dir, "state", NULL);
    files.disk = g_build_filename(files.dir, "disk", NULL);
    return files;
}

static void files_free(Files *files)
{
    unlink(files->state);
    unlink(files->disk);
    g_assert_cmpint(rmdir(files->dir), ==, 0);
    g_free(files->dir);
    g_free(files->state);
    g_free(files->disk);
}

static void map(Guest *guest)
{
    guest_tag_frames(guest, TEST_PA, 4 * PAGE_64K, 0);
    guest_map_64k_leaf(guest, LEAF_VA, TEST_PA, PTE_RW);
    guest_map_group(guest, GROUP_VA, TEST_PA + PAGE_64K, PTE_RW);
}

static void assert_maps(Guest *guest)
{
    for (unsigned k = 0; k < 16; k++) {
        GuestLog leaf = guest_do(guest, OP_LOAD, LEAF_VA + k * PAGE);
        GuestLog group = guest_do(guest, OP_LOAD, GROUP_VA + k * PAGE);

        g_assert_cmphex(leaf.vector, ==, NO_FAULT);
        g_assert_cmphex(leaf.value, ==, guest_tag(TEST_PA + k * PAGE));
        g_assert_cmphex(group.vector, ==, NO_FAULT);
        g_assert_cmphex(group.value, ==,
                        guest_tag(TEST_PA + PAGE_64K + k * PAGE));
    }
}

/* What the destination needs of the source, beside what is migrated. */
static void take_over(Guest *to, const Guest *from)
{
    to->cr3 = from->cr3;
    to->next_table = from->next_table;
}

/* Saves what a CPU with @properties has, CR4.P64 and page tables in use. */
static void save(const char *properties, uint64_t cr4, const Files *files)
{
    g_autofree char *uri = g_strdup_printf("file:%s", files->state);
    Guest *guest = guest_start(properties, cr4);

    map(guest);
    if (g_str_equal(properties, BOTH)) {
        assert_maps(guest);
    }
    qtest_qmp_assert_success(guest->qts, "{ 'execute': 'migrate',"
                             "  'arguments': { 'uri': %s } }", uri);
    guest_wait_for(guest->qts, "query-migrate", "completed");
    guest_stop(guest);
}

static void test_migrate_file(const void *properties)
{
    Files files = files_new();
    g_autofree char *options = g_strdup_printf("-incoming file:%s",
                                               files.state);
    g_autofree char *cpu = g_strdup_printf("%s%s", BOTH, (char *)properties);
    Guest *guest;

    save(BOTH, CR4_P64, &files);
    /* Nothing is mapped by hand here: all comes with the state. */
    guest = guest_start_with(cpu, CR4_P64, 1, options);
    guest_wait_for(guest->qts, "query-status", "running");
    assert_maps(guest);
    guest_stop(guest);
    files_free(&files);
}

/* A guest that goes on while it moves. */
static void test_migrate_live(const void *properties)
{
    enum { N = 60000 };
    Files files = files_new();
    g_autofree char *uri = g_strdup_printf("unix:%s", files.state);
    g_autofree char *options = g_strdup_printf("-incoming %s", uri);
    g_autofree char *cpu = g_strdup_printf("%s%s", BOTH, (char *)properties);
    g_autofree GuestCommand *commands = g_new0(GuestCommand, N);
    const volatile GuestLog *log;       /* the guest writes it */
    Guest *from, *to;

    for (unsigned i = 0; i < N; i++) {
        uint64_t va = (i & 1 ? GROUP_VA : LEAF_VA) + (i * 7 % 16) * PAGE;

        commands[i] = i % 64 == 63 ?
            (GuestCommand) { .op = OP_INVLPG, .operand = va } :
            (GuestCommand) { .op = OP_LOAD, .operand = va };
    }
    from = guest_start(cpu, CR4_P64);
    map(from);
    to = guest_start_with(cpu, CR4_P64, 1, options);
    take_over(to, from);
    guest_begin(from, 0, commands, N);
    qtest_qmp_assert_success(from->qts, "{ 'execute': 'migrate',"
                             "  'arguments': { 'uri': %s } }", uri);
    guest_wait_for(from->qts, "query-migrate", "completed");
    guest_wait_for(to->qts, "query-status", "running");
    guest_wait(to, 0);
    log = guest_log(to, 0);
    for (unsigned i = 0; i < N; i++) {
        g_assert_cmphex(log[i].vector, ==, NO_FAULT);
        if (commands[i].op == OP_LOAD) {
            uint64_t offset = commands[i].operand - (i & 1 ? GROUP_VA :
                                                     LEAF_VA);

            g_assert_cmphex(log[i].value, ==,
                            guest_tag(TEST_PA + (i & 1) * PAGE_64K + offset));
        }
    }
    assert_maps(to);
    guest_stop(from);
    guest_stop(to);
    files_free(&files);
}

static void test_savevm(const void *properties)
{
    Files files = files_new();
    g_autofree char *options = g_strdup_printf("-drive if=none,format=qcow2,"
                                               "file=%s", files.disk);
    g_autofree char *cpu = g_strdup_printf("%s%s", BOTH, (char *)properties);
    g_autofree char *said = NULL, *said_again = NULL;
    Guest *guest;

    guest_make_disk(files.disk);
    guest = guest_start_with(cpu, CR4_P64, 1, options);
    map(guest);
    assert_maps(guest);
    said = qtest_hmp(guest->qts, "savevm here");
    g_assert_cmpstr(said, ==, "");
    /* Without P64, neither mapping works; then back to how it was. */
    guest_do(guest, OP_CR4, CR4_PAE);
    g_assert_cmphex(guest_do(guest, OP_LOAD, LEAF_VA).vector, ==, 14);
    said_again = qtest_hmp(guest->qts, "loadvm here");
    g_assert_cmpstr(said_again, ==, "");
    assert_maps(guest);
    guest_stop(guest);
    files_free(&files);
}

/* What QEMU says, on stderr, when it is to load the state as another CPU. */
static char *load_error(const Files *files, const char *properties)
{
    g_autofree char *uri = g_strdup_printf("file:%s", files->state);
    g_autofree char *cpu = g_strdup_printf("max%s", properties);
    g_autofree char *ram = g_strdup_printf("%" PRIu64 "M",
                                           (uint64_t)(GUEST_RAM_SIZE / MiB));
    g_autofree char *backend = g_strdup_printf("memory-backend-ram,id=ram,"
                                               "size=%s", ram);
    const char *argv[] = {
        getenv("QTEST_QEMU_BINARY"), "-accel", "tcg", "-machine",
        "pc,memory-backend=ram", "-m", ram, "-object", backend, "-nodefaults",
        "-display", "none", "-S", "-bios", files->disk, "-cpu", cpu,
        "-incoming", uri, NULL,
    };
    g_autofree char *rom = g_malloc0(64 * KiB);
    g_autoptr(GError) err = NULL;
    char *said = NULL;
    int status;

    /* A ROM of the size that the source's has; its content is migrated. */
    g_file_set_contents(files->disk, rom, 64 * KiB, &err);
    g_assert_no_error(err);

    g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_STDOUT_TO_DEV_NULL, NULL,
                 NULL, NULL, &said, &status, &err);
    g_assert_no_error(err);
    g_assert_cmpint(WIFEXITED(status) && WEXITSTATUS(status), ==, 1);
    return said;
}

static void test_refuses(void)
{
    static const struct {
        const char *from, *to, *names;
    } cases[] = {
        { BOTH, "", "x64k-contig=on" },
        { BOTH, ",x64k-contig=on", "x64k-leaf=on" },
        { BOTH, ",x64k-leaf=on", "x64k-contig=on" },
        { ",x64k-contig=on", BOTH, "x64k-leaf=off" },
        { ",x64k-leaf=on", ",x64k-contig=on", "x64k-contig=off" },
    };

    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        Files files = files_new();
        g_autofree char *said = NULL;

        save(cases[i].from, CR4_P64, &files);
        said = load_error(&files, cases[i].to);
        g_test_message("%s to %s: %s", cases[i].from, cases[i].to, said);
        g_assert_nonnull(strstr(said, cases[i].names));
        files_free(&files);
    }
}

#define N_KEPT 3
static const char *const kept[N_KEPT] = {
    "stlb-load-miss", "walk-completed", "contig-well-formed",
};

static void assert_conserved(Guest *guest)
{
    /* What the L1 dTLB holds cannot be more than what it holds. */
    static const char *const lost[] = {
        "l1d-evict", "l1d-flush-invlpg", "l1d-flush-cr3", "l1d-flush-cr",
        "l1d-flush-svm", "l1d-flush-fault", "l1d-flush-replaced",
        "l1d-flush-reset",
    };
    static const char *const filled[] = {
        "l1d-fill-4k", "l1d-fill-64k-hint", "l1d-fill-64k-leaf",
        "l1d-fill-2m", "l1d-fill-1g",
    };
    int64_t held = 0;

    for (unsigned i = 0; i < ARRAY_SIZE(filled); i++) {
        held += guest_counter(guest, filled[i]);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(lost); i++) {
        held -= guest_counter(guest, lost[i]);
    }
    g_assert_cmpint(held, >=, 0);
    g_assert_cmpint(held, <=, 64 + 32 + 4);
}

/* Counters go with the VM, through a file and through a snapshot. */
static void test_counters_migrate(void)
{
    Files files = files_new();
    g_autofree char *uri = g_strdup_printf("file:%s", files.state);
    g_autofree char *options = g_strdup_printf("-S -incoming file:%s",
                                               files.state);
    Guest *guest = guest_start(BOTH ",hwtlb=skylake", CR4_P64);
    uint64_t before[N_KEPT];

    map(guest);
    assert_maps(guest);
    qtest_qmp_assert_success(guest->qts, "{ 'execute': 'stop' }");
    for (unsigned i = 0; i < N_KEPT; i++) {
        before[i] = guest_counter(guest, kept[i]);
        g_assert_cmpuint(before[i], >, 0);
    }
    qtest_qmp_assert_success(guest->qts, "{ 'execute': 'migrate',"
                             "  'arguments': { 'uri': %s } }", uri);
    guest_wait_for(guest->qts, "query-migrate", "completed");
    guest_stop(guest);

    guest = guest_create(BOTH ",hwtlb=skylake", CR4_P64, 1, options);
    guest_wait_for(guest->qts, "query-status", "paused");
    for (unsigned i = 0; i < N_KEPT; i++) {
        g_assert_cmpuint(guest_counter(guest, kept[i]), ==, before[i]);
    }
    assert_conserved(guest);
    qtest_qmp_assert_success(guest->qts, "{ 'execute': 'cont' }");
    assert_maps(guest);
    g_assert_cmpuint(guest_counter(guest, kept[0]), >, before[0]);
    assert_conserved(guest);
    guest_stop(guest);
    files_free(&files);
}

static void test_counters_loadvm(void)
{
    Files files = files_new();
    g_autofree char *options = g_strdup_printf("-drive if=none,format=qcow2,"
                                               "file=%s", files.disk);
    g_autofree char *said = NULL, *said_again = NULL;
    uint64_t before[N_KEPT];
    Guest *guest;

    guest_make_disk(files.disk);
    guest = guest_start_with(BOTH ",hwtlb=skylake", CR4_P64, 1, options);
    map(guest);
    assert_maps(guest);
    qtest_qmp_assert_success(guest->qts, "{ 'execute': 'stop' }");
    for (unsigned i = 0; i < N_KEPT; i++) {
        before[i] = guest_counter(guest, kept[i]);
    }
    said = qtest_hmp(guest->qts, "savevm here");
    g_assert_cmpstr(said, ==, "");
    qtest_qmp_assert_success(guest->qts, "{ 'execute': 'cont' }");
    guest_do(guest, OP_CR3, guest->cr3);
    assert_maps(guest);
    qtest_qmp_assert_success(guest->qts, "{ 'execute': 'stop' }");
    g_assert_cmpuint(guest_counter(guest, kept[0]), >, before[0]);
    said_again = qtest_hmp(guest->qts, "loadvm here");
    g_assert_cmpstr(said_again, ==, "");
    for (unsigned i = 0; i < N_KEPT; i++) {
        g_assert_cmpuint(guest_counter(guest, kept[i]), ==, before[i]);
    }
    assert_conserved(guest);
    qtest_qmp_assert_success(guest->qts, "{ 'execute': 'cont' }");
    assert_maps(guest);
    assert_conserved(guest);
    guest_stop(guest);
    files_free(&files);
}

/* Counters mean something for one geometry only. */
static void test_refuses_geometry(void)
{
    static const struct {
        const char *to, *names;
    } cases[] = {
        { BOTH, "the saved CPU has a TLB model" },
        { BOTH ",hwtlb=golden-cove", "l1d.arrays[0].ways is 4 there, 6 here" },
        { BOTH ",hwtlb=skylake,hwtlb-coalesce=4",
          "coalesce is 1 there, 4 here" },
    };
    Files files = files_new();

    save(BOTH ",hwtlb=skylake", CR4_P64, &files);
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autofree char *said = load_error(&files, cases[i].to);

        g_test_message("%s: %s", cases[i].to, said);
        g_assert_nonnull(strstr(said, cases[i].names));
    }
    files_free(&files);
}

/* The properties are part of what a CPU model expands to. */
static void test_expansion(void)
{
    QTestState *qts = qtest_init("-accel tcg -machine none -nodefaults");
    static const struct {
        const char *ask;
        bool contig, leaf;
        const char *check;
    } cases[] = {
        { "{ }", false, false, "degrade" },
        { "{ \"x64k-contig\": true }", true, false, "degrade" },
        { "{ \"x64k-leaf\": true, \"x64k-contig-check\": \"fault\" }",
          false, true, "fault" },
    };

    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        QDict *answer = qtest_qmp_assert_success_ref(qts,
            "{ 'execute': 'query-cpu-model-expansion', 'arguments': {"
            "  'type': 'full', 'model': { 'name': 'max', 'props': %p } } }",
            qobject_from_json(cases[i].ask, &error_abort));
        QDict *model = qdict_get_qdict(answer, "model");
        QDict *props = qdict_get_qdict(model, "props");

        g_assert_cmpint(qdict_get_bool(props, "x64k-contig"), ==,
                        cases[i].contig);
        g_assert_cmpint(qdict_get_bool(props, "x64k-leaf"), ==,
                        cases[i].leaf);
        g_assert_cmpstr(qdict_get_str(props, "x64k-contig-check"), ==,
                        cases[i].check);
        qobject_unref(answer);
    }
    qtest_quit(qts);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_data_func("/x64k/state/file/no-model", "", test_migrate_file);
    qtest_add_data_func("/x64k/state/file/model", ",hwtlb=skylake",
                        test_migrate_file);
    qtest_add_data_func("/x64k/state/live/no-model", "", test_migrate_live);
    qtest_add_data_func("/x64k/state/live/model", ",hwtlb=skylake",
                        test_migrate_live);
    qtest_add_data_func("/x64k/state/savevm/no-model", "", test_savevm);
    qtest_add_data_func("/x64k/state/savevm/model", ",hwtlb=skylake",
                        test_savevm);
    qtest_add_func("/x64k/state/refuses", test_refuses);
    qtest_add_func("/hwtlb/state/file", test_counters_migrate);
    qtest_add_func("/hwtlb/state/savevm", test_counters_loadvm);
    qtest_add_func("/hwtlb/state/refuses", test_refuses_geometry);
    qtest_add_func("/x64k/state/expansion", test_expansion);
    return g_test_run();
}
