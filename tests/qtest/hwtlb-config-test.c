/*
 * Geometries of the TLB model: presets, configuration files, hwtlb-reset
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qobject/qjson.h"
#include "qobject/qlist.h"
#include "x64k-guest.h"

#define ALL "'classes': ['4k', '64k-hint', '64k-leaf', '2m', '1g']"
#define ONE(sets, ways, policy) \
    "{'sets': " sets ", 'ways': " ways ", " ALL ", 'policy': " policy "}"
#define GOOD "{'arrays': [" ONE("4", "4", "'fifo'") "]}"
#define WITH_L1D(level) \
    "{'l1d': " level ", 'l1i': " GOOD ", 'stlb': " GOOD "}"
#define L1D(array) WITH_L1D("{'arrays': [" array "]}")
#define WITH(more) \
    "{'l1d': " GOOD ", 'l1i': " GOOD ", 'stlb': " GOOD ", " more "}"

/* Writes @text to a new file; its path is to be unlinked and freed. */
static char *config_file(const char *text)
{
    g_autoptr(GError) err = NULL;
    char *path;
    int fd = g_file_open_tmp("hwtlb-XXXXXX.json", &path, &err);

    g_assert_no_error(err);
    close(fd);
    g_file_set_contents(path, text, -1, &err);
    g_assert_no_error(err);
    return path;
}

/*
 * With AddressSanitizer QEMU begins by a warning that coroutines may confuse
 * it, which is not what is tested.
 */
static void drop_warning(GString *said)
{
    const char *end = strchr(said->str, '\n');

    if (g_str_has_prefix(said->str, "==") && end &&
        g_strstr_len(said->str, end - said->str, "==WARNING: ASan ")) {
        g_string_erase(said, 0, end + 1 - said->str);
    }
}

/* What QEMU says of a CPU with @properties, on stderr; NULL: it started. */
static char *start_error(const char *accel, const char *properties)
{
    g_autofree char *cpu = g_strdup_printf("max%s", properties);
    const char *argv[] = {
        getenv("QTEST_QEMU_BINARY"), "-accel", accel, "-machine", "pc",
        "-nodefaults", "-display", "none", "-S", "-cpu", cpu,
        "-monitor", "stdio", NULL,
    };
    const char quit[] = "quit\n";
    g_autoptr(GError) err = NULL;
    g_autoptr(GString) said = g_string_new(NULL);
    char part[256];
    GPid pid;
    gint in, errors;
    ssize_t n;
    int status;

    g_spawn_async_with_pipes(NULL, (char **)argv, NULL,
                             G_SPAWN_DO_NOT_REAP_CHILD |
                             G_SPAWN_STDOUT_TO_DEV_NULL, NULL, NULL, &pid,
                             &in, NULL, &errors, &err);
    g_assert_no_error(err);
    /* It may have ended already; then nobody reads this (EPIPE: see main). */
    n = write(in, quit, strlen(quit));
    while ((n = read(errors, part, sizeof(part))) > 0) {
        g_string_append_len(said, part, n);
    }
    drop_warning(said);
    close(in);
    close(errors);
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status)) {
        g_assert_cmpint(WEXITSTATUS(status), ==, 1);
        return g_strdup(said->str);
    }
    g_assert_cmpstr(said->str, ==, "");
    return NULL;
}

static void assert_says(const char *said, const char *word)
{
    if (!said || !strstr(said, word)) {
        g_error("\"%s\" does not say \"%s\"", said ?: "(started)", word);
    }
}

/* Each kind of bad file; both strings are in the message. */
static void test_bad_files(void)
{
    static const struct {
        const char *text, *where, *what;
    } cases[] = {
        /* not JSON, or not an object */
        { "", "Expecting a JSON value", "" },
        { "[]", "must be a JSON", "object" },
        { "{\n 'l1d': 1,\n 'l1i' 2 }", "line 3", "missing :" },
        { "{\n 'l1d': tru\n}", "line 2", "tru" },
        { "{\n\n \1 }", "line 3", "stray" },
        { "{ 'l1d': {", "parse error", "EOI" },
        { "{} {}", "at most one JSON value", "" },
        /* fields */
        { "{}", "l1d", "missing" },
        { "{ 'l1d': " GOOD ", 'l1i': " GOOD " }", "stlb", "missing" },
        { WITH("'l2': 1"), "l2: there is no such field", "l1d, l1i, stlb" },
        { WITH_L1D("{ 'arrays': [], 'ways': 1 }"), "l1d.ways", "arrays" },
        { L1D("{'sets': 1}"), "l1d.arrays[0].ways", "missing" },
        { L1D("{'sets': 1, 'way': 1}"), "l1d.arrays[0].way: there",
          "sets, ways, classes" },
        { WITH("'pwc': { 'pte': 1 }"), "pwc.pte: there", "pml4e, pdpte" },
        { WITH("'pwc': { 'pde': {'classes': []} }"), "pwc.pde.classes",
          "sets, ways, policy" },
        /* types */
        { WITH_L1D("3"), "l1d", "object" },
        { WITH_L1D("{ 'arrays': 3 }"), "l1d.arrays", "array" },
        { L1D("3"), "l1d.arrays[0]", "object" },
        { L1D(ONE("'4'", "4", "'fifo'")), "l1d.arrays[0].sets", "int" },
        { L1D(ONE("4", "-1", "'fifo'")), "l1d.arrays[0].ways is -1",
          "at least 1" },
        { L1D(ONE("4", "4294967296", "'fifo'")),
          "l1d.arrays[0].ways is 4294967296", "not that large" },
        { L1D(ONE("4", "1.5", "'fifo'")), "l1d.arrays[0].ways", "int" },
        { L1D(ONE("4", "4", "1")), "l1d.arrays[0].policy", "string" },
        { L1D("{'sets': 1, 'ways': 1, 'classes': [1], 'policy': 'fifo'}"),
          "l1d.arrays[0].classes[0]", "string" },
        { WITH("'coalesce': 'no'"), "coalesce", "int" },
        { WITH("'pwc': []"), "pwc", "object" },
        { WITH("'name': 1"), "name", "string" },
        /* words */
        { L1D(ONE("4", "4", "'mru'")), "l1d.arrays[0].policy is 'mru'",
          "fifo, lru, random, tree-plru, nru" },
        { L1D("{'hash': 'sha1'}"), "l1d.arrays[0].hash is 'sha1'",
          "modulo, xor" },
        { L1D("{'classes': ['4k', '4m']}"),
          "l1d.arrays[0].classes[1] is '4m'", "64k-leaf, 2m, 1g" },
        { WITH("'pwc': {'pde': {'policy': 'x'}}"), "pwc.pde.policy is 'x'",
          "fifo, lru" },
        /* values */
        { L1D(ONE("0", "4", "'fifo'")), "l1d.arrays[0].sets is 0",
          "at least 1" },
        { L1D(ONE("4", "0", "'fifo'")), "l1d.arrays[0].ways is 0",
          "at least 1" },
        { L1D(ONE("4", "65537", "'fifo'")), "l1d.arrays[0].ways is 65537",
          "1 to 65536" },
        { L1D(ONE("4", "3", "'tree-plru'")), "l1d.arrays[0].ways is 3",
          "power of two" },
        { L1D("{'sets': 3, 'ways': 4, " ALL ", 'policy': 'lru',"
              " 'hash': 'xor'}"), "l1d.arrays[0].sets is 3",
          "power of two" },
        { L1D(ONE("65536", "65536", "'fifo'")), "l1d.arrays[0]", "bytes" },
        { L1D("{'sets': 0, 'ways': 0, 'classes': [], 'policy': 'fifo'}, "
              ONE("4", "4", "'fifo'")), "l1d.arrays[0].sets is 0", "1" },
        { WITH("'coalesce': 3"), "coalesce is 3", "1, 2, 4, 8 or 16" },
        { WITH("'coalesce': 0"), "coalesce is 0", "1, 2, 4, 8 or 16" },
        { WITH("'coalesce': 4"), "l1d.arrays", "8k" },
        { WITH("'pwc': {'pde': {'sets': 1, 'ways': 0,"
               " 'policy': 'lru'}}"), "pwc.pde.ways is 0", "at least 1" },
        { WITH("'pwc': {'pde': {'sets': 0, 'ways': 4,"
               " 'policy': 'lru'}}"), "pwc.pde.sets is 0", "at least 1" },
        /* classes */
        { WITH_L1D("{ 'arrays': [] }"), "l1d.arrays", "4k" },
        { L1D("{'sets': 1, 'ways': 1, 'classes': [], 'policy': 'fifo'}"),
          "l1d.arrays[0].classes", "empty" },
        { L1D("{'sets': 1, 'ways': 1, 'classes': ['4k'],"
              " 'policy': 'fifo'}"), "l1d.arrays", "64k-hint" },
        { L1D("{'sets': 1, 'ways': 1, 'classes': ['4k', '2m', '4k'],"
              " 'policy': 'fifo'}"), "l1d.arrays[0].classes[2]",
          "second time" },
        { L1D(ONE("4", "4", "'fifo'") ", " ONE("4", "4", "'fifo'")),
          "l1d.arrays[1].classes", "another array" },
        { L1D(ONE("1", "1", "'lru'") ", " ONE("1", "1", "'lru'") ", "
              ONE("1", "1", "'lru'") ", " ONE("1", "1", "'lru'") ", "
              ONE("1", "1", "'lru'")), "l1d.arrays[4]", "at most 4" },
    };

    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autofree char *path = config_file(cases[i].text);
        g_autofree char *cpu = g_strdup_printf(",hwtlb-config=%s", path);
        g_autofree char *said = start_error("tcg", cpu);

        g_test_message("%s", said);
        assert_says(said, path);
        assert_says(said, cases[i].where);
        assert_says(said, cases[i].what);
        /* One line, one message. */
        g_assert_true(strchr(said, '\n') == said + strlen(said) - 1);
        unlink(path);
    }
}

static void test_bad_properties(void)
{
    g_autofree char *path = config_file(WITH("'coalesce': 1"));
    g_autofree char *both = g_strdup_printf(",hwtlb=skylake,hwtlb-config=%s",
                                            path);
    g_autofree char *file = g_strdup_printf(",hwtlb-config=%s", path);
    g_autofree char *coalesced = g_strdup_printf("%s,hwtlb-coalesce=8", file);
    g_autofree char *path_of_pipe = g_strdup_printf("%s.pipe", path);
    g_autofree char *pipe = g_strdup_printf(",hwtlb-config=%s", path_of_pipe);
    g_autofree char *many = g_strnfill(1024 * 1024 + 1, ' ');
    g_autofree char *path_of_large = config_file(many);
    g_autofree char *large = g_strdup_printf(",hwtlb-config=%s",
                                             path_of_large);
    const struct {
        const char *cpu, *where, *what;
    } cases[] = {
        { both, "hwtlb=skylake and hwtlb-config=", path },
        { ",hwtlb-config=/nonexistent/file", "/nonexistent/file",
          "No such file" },
        { ",hwtlb-config=/", "hwtlb-config=/:", "not a regular file" },
        { ",hwtlb-config=/dev/zero", "hwtlb-config=/dev/zero:",
          "not a regular file" },
        { pipe, path_of_pipe, "not a regular file" },
        { large, path_of_large, "larger than 1 MiB" },
        /* Without a model, these would do nothing. */
        { ",hwtlb-coalesce=4", "hwtlb-coalesce needs", "hwtlb=PRESET" },
        { ",hwtlb-seed=4", "hwtlb-seed needs", "hwtlb=PRESET" },
        { ",hwtlb-verify=on", "hwtlb-verify needs", "hwtlb=PRESET" },
        { ",hwtlb-observe=every", "hwtlb-observe needs", "hwtlb=PRESET" },
        { ",hwtlb=off,hwtlb-verify=on", "hwtlb-verify needs",
          "hwtlb=PRESET" },
        { ",x64k-pmu=on", "x64k-pmu needs", "hwtlb=PRESET" },
        { ",hwtlb=sandybridge", "hwtlb=sandybridge",
          "skylake, golden-cove" },
        { ",hwtlb=skylake,hwtlb-coalesce=3", "hwtlb-coalesce=3",
          "1, 2, 4, 8 or 16" },
        { ",hwtlb=skylake,hwtlb-coalesce=32", "hwtlb-coalesce=32",
          "1, 2, 4, 8 or 16" },
        { ",hwtlb=skylake,hwtlb-observe=some", "hwtlb-observe=some",
          "'misses' or 'every'" },
        { coalesced, path, "l1d.arrays: no array takes 8k" },
    };

    g_assert_cmpint(mkfifo(path_of_pipe, 0600), ==, 0);
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autofree char *said = start_error("tcg", cases[i].cpu);

        g_test_message("%s", said);
        assert_says(said, cases[i].where);
        assert_says(said, cases[i].what);
    }
    unlink(path_of_pipe);
    unlink(path_of_large);
    g_assert_null(start_error("tcg", file));
    g_assert_null(start_error("tcg", ",hwtlb=off"));
    g_assert_null(start_error("tcg", ",hwtlb-seed=0,hwtlb-verify=off,"
                              "hwtlb-coalesce=0,hwtlb-observe=misses"));
    /* There, no vCPU makes an access. */
    g_assert_null(start_error("qtest", ",hwtlb=skylake"));
    unlink(path);
}

/* QOM paths of the vCPUs, in order. */
static char *vcpu_path(QTestState *qts, unsigned n)
{
    QDict *answer = qtest_qmp(qts, "{ 'execute': 'query-cpus-fast' }");
    QListEntry *entry;
    char *path = NULL;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(answer, "return"), entry) {
        QDict *cpu = qobject_to(QDict, qlist_entry_obj(entry));

        if (qdict_get_int(cpu, "cpu-index") == n) {
            path = g_strdup(qdict_get_str(cpu, "qom-path"));
        }
    }
    qobject_unref(answer);
    return path;
}

/*
 * The same of a vCPU that is plugged in: it is refused, the others go on, and
 * a good one takes its place.
 */
static void test_bad_properties_plugged(void)
{
    static const struct {
        const char *properties, *what;
    } cases[] = {
        /* What is not said is as of the first vCPU. */
        { "'hwtlb': 'sandybridge'", "no such preset" },
        { "'hwtlb-config': '/file'", "give one of them" },
        { "'hwtlb': 'zen4', 'hwtlb-coalesce': 3", "1, 2, 4, 8 or 16" },
        { "'hwtlb': 'zen4', 'hwtlb-observe': 'x'", "'misses' or 'every'" },
        { "'hwtlb': 'off', 'hwtlb-verify': true", "needs a TLB model" },
        { "'hwtlb': 'off', 'hwtlb-seed': 1", "needs a TLB model" },
        { "'hwtlb': 'off', 'x64k-pmu': true", "needs the TCG" },
        { "'x64k-pmu': true, 'vendor': 'CentaurHauls'", "does not know" },
        { "'x64k-leaf': true, 'lm': false", "64-bit CPU model" },
        { "'x64k-contig-check': 'x'", "'degrade' or 'fault'" },
        /* QEMU's own, found once the model is there. */
        { "'x64k-pmu': true, 'phys-bits': 99", "phys-bits should be" },
        { "'x64k-pmu': true, 'legacy-cache': false", "legacy-cache=off" },
    };
    Guest *guest = guest_start_with(",hwtlb=skylake", 0, 1,
                                    "-smp maxcpus=2,sockets=2,cores=1,"
                                    "threads=1 -device hwtlb-pci");

    guest_map_4k(guest, TEST_VA, TEST_PA, PTE_RW);
    for (unsigned i = 0; i <= ARRAY_SIZE(cases); i++) {
        const bool good = i == ARRAY_SIZE(cases);
        g_autofree char *command = g_strdup_printf(
            "{ 'execute': 'device_add', 'arguments': { 'id': 'late',"
            "  'driver': 'max-x86_64-cpu', 'socket-id': 1, 'core-id': 0,"
            "  'thread-id': 0, %s } }",
            good ? "'hwtlb': 'zen4'" : cases[i].properties);
        QDict *answer = qtest_qmp(guest->qts, command, 0);
        QDict *error = qdict_get_qdict(answer, "error");
        g_autofree char *path = NULL;

        if (good) {
            g_assert_null(error);
        } else {
            g_assert_nonnull(error);
            assert_says(qdict_get_str(error, "desc"), cases[i].what);
        }
        qobject_unref(answer);
        /* Whoever goes through all vCPUs finds this one, and no more. */
        path = vcpu_path(guest->qts, 1);
        g_assert_true(!path == !good);
        g_assert_cmphex(guest_do(guest, OP_CR3, guest->cr3).vector, ==,
                        NO_FAULT);
        g_assert_cmphex(guest_do(guest, OP_LOAD, TEST_VA).vector, ==,
                        NO_FAULT);
        guest_counter(guest, "walk-completed");
        qtest_qmp_assert_success(guest->qts, "{ 'execute': 'hwtlb-reset' }");
    }
    guest_stop(guest);
}

static QList *presets(void)
{
    QTestState *qts = qtest_init("-machine none -nodefaults");
    QDict *answer = qtest_qmp(qts, "{ 'execute': 'query-hwtlb-presets' }");
    QList *list = qobject_ref(qdict_get_qlist(answer, "return"));

    g_assert_nonnull(list);
    qobject_unref(answer);
    qtest_quit(qts);
    return list;
}

#define N 4000

/* All counters after loads and stores all over @va, as one line of text. */
static char *counted(const char *properties)
{
    Guest *guest = guest_start(properties, 0);
    g_autofree GuestCommand *commands = g_new0(GuestCommand, N);
    g_autofree GuestLog *log = g_new0(GuestLog, N);
    uint64_t next = 1;
    QDict *answer;
    QList *entries;
    GString *json;

    for (unsigned page = 0; page < 256; page++) {
        guest_map_4k(guest, TEST_VA + page * PAGE, TEST_PA + page * PAGE,
                     PTE_RW);
    }
    for (unsigned i = 0; i < N; i++) {
        next = next * UINT64_C(6364136223846793005) + 1442695040888963407;
        commands[i].op = next >> 40 & 3 ? OP_LOAD : OP_STORE;
        commands[i].operand = TEST_VA + (next >> 48) % 256 * PAGE;
    }
    guest_run(guest, commands, N, log);
    answer = qtest_qmp(guest->qts, "{ 'execute': 'query-stats', 'arguments': {"
                       "  'target': 'vcpu', 'providers': ["
                       "    { 'provider': 'hwtlb', 'names': ["
                       "      'stlb-load-miss', 'stlb-store-miss',"
                       "      'stlb-evict', 'l1d-load-miss',"
                       "      'l1d-store-miss', 'l1d-evict'] } ] } }");
    entries = qdict_get_qlist(answer, "return");
    json = qobject_to_json(QOBJECT(entries));
    qobject_unref(answer);
    guest_stop(guest);
    return g_string_free(json, false);
}

/* What query-hwtlb-presets prints makes the same model as the preset. */
static void test_round_trip(void)
{
    QList *list = presets();
    QListEntry *entry;
    unsigned n = 0;

    QLIST_FOREACH_ENTRY(list, entry) {
        QDict *preset = qobject_to(QDict, qlist_entry_obj(entry));
        g_autoptr(GString) json = qobject_to_json_pretty(QOBJECT(preset),
                                                         true);
        g_autofree char *path = config_file(json->str);
        g_autofree char *by_file = g_strdup_printf(",hwtlb-config=%s", path);
        g_autofree char *by_name = g_strdup_printf(",hwtlb=%s",
            qdict_get_str(preset, "name"));
        g_autofree char *want = NULL, *got = NULL;

        g_assert_cmpint(strlen(qdict_get_str(preset, "about")), >, 0);
        g_assert_null(start_error("tcg", by_file));
        want = counted(by_name);
        got = counted(by_file);
        g_assert_nonnull(strstr(want, "l1d-load-miss"));
        g_assert_cmpstr(want, ==, got);
        unlink(path);
        n++;
    }
    g_assert_cmpuint(n, >=, 7);
    qobject_unref(list);
}

/* A source for every figure, or the word that there is none. */
static void test_sources(void)
{
    static const char *const levels[] = { "l1d", "l1i", "stlb" };
    QList *list = presets();
    QListEntry *entry, *e;

    QLIST_FOREACH_ENTRY(list, entry) {
        QDict *preset = qobject_to(QDict, qlist_entry_obj(entry));

        for (unsigned l = 0; l < ARRAY_SIZE(levels); l++) {
            QDict *level = qdict_get_qdict(preset, levels[l]);

            QLIST_FOREACH_ENTRY(qdict_get_qlist(level, "arrays"), e) {
                QDict *array = qobject_to(QDict, qlist_entry_obj(e));

                g_assert_nonnull(qdict_get_try_str(array, "source"));
            }
        }
    }
    qobject_unref(list);
}

/* The geometry of the file is the one that counts. */
static void test_file_counts(void)
{
    g_autofree char *path = config_file(WITH("'coalesce': 1"));
    g_autofree char *cpu = g_strdup_printf(",hwtlb-config=%s", path);
    g_autofree GuestCommand *commands = g_new0(GuestCommand, 80);
    g_autofree GuestLog *log = g_new0(GuestLog, 80);
    Guest *guest = guest_start(cpu, 0);
    uint64_t evicted;

    unlink(path);
    for (unsigned page = 0; page < 8; page++) {
        guest_map_4k(guest, TEST_VA + page * 4 * PAGE, TEST_PA, PTE_RW);
    }
    /* Eight pages of one set of four ways: with fifo, each load misses. */
    for (unsigned i = 0; i < 80; i++) {
        commands[i].op = OP_LOAD;
        commands[i].operand = TEST_VA + i % 8 * 4 * PAGE;
    }
    evicted = guest_counter(guest, "l1d-evict");
    guest_run(guest, commands, 80, log);
    g_assert_cmpuint(guest_counter(guest, "l1d-evict") - evicted, >=, 76);
    guest_stop(guest);
}

static uint64_t counter_of(QTestState *qts, const char *path,
                           const char *name)
{
    QDict *answer = qtest_qmp(qts, "{ 'execute': 'query-stats',"
        "  'arguments': { 'target': 'vcpu', 'vcpus': [ %s ],"
        "    'providers': [ { 'provider': 'hwtlb',"
        "                     'names': [ %s ] } ] } }", path, name);
    const QListEntry *entry = qlist_first(qdict_get_qlist(answer, "return"));
    QDict *result = qobject_to(QDict, qlist_entry_obj(entry));
    const QListEntry *stat = qlist_first(qdict_get_qlist(result, "stats"));
    uint64_t value = qdict_get_int(qobject_to(QDict, qlist_entry_obj(stat)),
                                   "value");

    qobject_unref(answer);
    return value;
}

static void test_reset(void)
{
    Guest *guest = guest_start_with(",hwtlb=skylake", 0, 2, "");
    g_autofree char *first = vcpu_path(guest->qts, 0);
    g_autofree char *second = vcpu_path(guest->qts, 1);
    const GuestCommand load = { .op = OP_LOAD, .operand = TEST_VA };
    uint64_t before, misses;

    guest_map_4k(guest, TEST_VA, TEST_PA, PTE_RW);
    guest_do(guest, OP_LOAD, TEST_VA);
    guest_begin(guest, 1, &load, 1);
    guest_wait(guest, 1);
    /* With the guest stopped, nothing moves but by the command. */
    qtest_qmp_assert_success(guest->qts, "{ 'execute': 'stop' }");
    before = counter_of(guest->qts, second, "walk-completed");
    g_assert_cmpuint(before, >, 0);
    g_assert_cmpuint(counter_of(guest->qts, first, "walk-completed"), >, 0);

    qtest_qmp_assert_success(guest->qts, "{ 'execute': 'hwtlb-reset',"
                             "  'arguments': { 'vcpu': %s } }", first);
    g_assert_cmpuint(counter_of(guest->qts, first, "walk-completed"), ==, 0);
    g_assert_cmpuint(counter_of(guest->qts, first, "stlb-fill-4k"), ==, 0);
    g_assert_cmpuint(counter_of(guest->qts, second, "walk-completed"), ==,
                     before);
    qtest_qmp_assert_success(guest->qts, "{ 'execute': 'hwtlb-reset' }");
    g_assert_cmpuint(counter_of(guest->qts, second, "walk-completed"), ==, 0);

    /* It counts from there; and the page is still in the TLB. */
    qtest_qmp_assert_success(guest->qts, "{ 'execute': 'cont' }");
    guest_do(guest, OP_LOAD, TEST_VA);
    misses = counter_of(guest->qts, first, "stlb-load-miss");
    guest_map_4k(guest, TEST_VA + PAGE, TEST_PA, PTE_RW);
    guest_do(guest, OP_LOAD, TEST_VA + PAGE);
    g_assert_cmpuint(counter_of(guest->qts, first, "stlb-load-miss"), ==,
                     misses + 1);
    guest_stop(guest);
}

static void assert_refused(QTestState *qts, const char *path,
                           const char *want)
{
    QDict *answer = path ?
        qtest_qmp(qts, "{ 'execute': 'hwtlb-reset',"
                  "  'arguments': { 'vcpu': %s } }", path) :
        qtest_qmp(qts, "{ 'execute': 'hwtlb-reset' }");
    QDict *error = qdict_get_qdict(answer, "error");

    g_assert_nonnull(error);
    assert_says(qdict_get_str(error, "desc"), want);
    qobject_unref(answer);
}

static void test_reset_refused(void)
{
    Guest *guest = guest_start("", 0);
    g_autofree char *path = vcpu_path(guest->qts, 0);

    assert_refused(guest->qts, NULL, "no vCPU has a TLB model");
    assert_refused(guest->qts, path, "has no TLB model");
    assert_refused(guest->qts, "/machine", "there is no vCPU /machine");
    guest_stop(guest);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    signal(SIGPIPE, SIG_IGN);
    qtest_add_func("/hwtlb/config/bad-files", test_bad_files);
    qtest_add_func("/hwtlb/config/bad-properties", test_bad_properties);
    qtest_add_func("/hwtlb/config/bad-properties/plugged",
                   test_bad_properties_plugged);
    qtest_add_func("/hwtlb/config/round-trip", test_round_trip);
    qtest_add_func("/hwtlb/config/sources", test_sources);
    qtest_add_func("/hwtlb/config/file-counts", test_file_counts);
    qtest_add_func("/hwtlb/reset", test_reset);
    qtest_add_func("/hwtlb/reset-refused", test_reset_refused);
    return g_test_run();
}
