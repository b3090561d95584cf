/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Run a command and tell what the modelled TLBs counted meanwhile, as perf stat
 * does for a processor's counters.
 *
 * The counters are named by the device itself; nothing here knows the list.
 * Without the device there are no counters, but status, time and page faults.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "hwtlb.h"

typedef struct Result {
    int status;                 /* as a shell has it: 128 + n for signal n */
    int signal;
    double wall;
    struct rusage usage;
} Result;

static void die(const char *what)
{
    fprintf(stderr, "tlbstat: %s: %s\n", what, strerror(errno));
    exit(125);
}

static void usage(int status)
{
    fputs("usage: tlbstat [-j] [-o FILE] [--] CMD [ARG...]\n"
          "       tlbstat [-j] [-o FILE] -a FILE\n"
          "  -j       JSON instead of a table\n"
          "  -o FILE  report to FILE instead of standard error\n"
          "  -a FILE  take CMD and its arguments from FILE, each ended by NUL\n",
          status ? stderr : stdout);
    exit(status);
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

/* A file of NUL-ended strings as an argument vector. */
static char **read_argv(const char *path)
{
    size_t size, n = 0;
    struct stat st;
    char **argv, *p, *text;
    FILE *f = fopen(path, "r");

    if (!f || fstat(fileno(f), &st)) {
        die(path);
    }
    text = calloc(1, st.st_size + 1);
    argv = calloc(st.st_size + 1, sizeof(*argv));
    if (!text || !argv) {
        die("memory");
    }
    size = fread(text, 1, st.st_size, f);
    fclose(f);
    for (p = text; p < text + size; p += strlen(p) + 1) {
        argv[n++] = p;
    }
    return argv;
}

static void run(char **argv, Result *r)
{
    int wait_status, error = 0, fds[2];
    ssize_t n;
    double start;
    pid_t pid;

    /* The pipe closes at exec; if that fails it carries the reason. */
    if (pipe2(fds, O_CLOEXEC)) {
        die("pipe");
    }
    start = now();
    if (hwtlb_open()) {
        *hwtlb_reg32(HWTLB_COMMAND) = HWTLB_CLEAR_ALL;
        hwtlb_begin(0, "command");
    }
    pid = fork();
    if (pid < 0) {
        die("fork");
    }
    if (pid == 0) {
        execvp(argv[0], argv);
        error = errno;
        n = write(fds[1], &error, sizeof(error));
        _exit(n == sizeof(error) && error == ENOENT ? 127 : 126);
    }
    /* What is typed at the terminal is for the command. */
    signal(SIGINT, SIG_IGN);
    signal(SIGQUIT, SIG_IGN);
    close(fds[1]);
    while (wait4(pid, &wait_status, 0, &r->usage) < 0) {
        if (errno != EINTR) {
            die("wait");
        }
    }
    hwtlb_end(0);
    r->wall = now() - start;

    n = read(fds[0], &error, sizeof(error));
    close(fds[0]);
    if (n == sizeof(error)) {
        fprintf(stderr, "tlbstat: %s: %s\n", argv[0], strerror(error));
    }
    r->signal = WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : 0;
    r->status = r->signal ? 128 + r->signal : WEXITSTATUS(wait_status);
}

/* Names are 32 bytes in the device, read 8 at a time. */
static const char *read_name(unsigned offset)
{
    static union {
        uint64_t words[HWTLB_NAME_LEN / 8];
        char text[HWTLB_NAME_LEN + 1];
    } name;
    unsigned i;

    for (i = 0; i < HWTLB_NAME_LEN / 8; i++) {
        name.words[i] = *hwtlb_reg64(offset + 8 * i);
    }
    name.text[HWTLB_NAME_LEN] = '\0';
    return name.text;
}

static void print_string(FILE *out, const char *s)
{
    putc('"', out);
    for (; *s; s++) {
        unsigned char c = *s;

        if (c == '"' || c == '\\') {
            fprintf(out, "\\%c", c);
        } else if (c < 0x20 || c >= 0x7f) {
            fprintf(out, "\\u%04x", c);
        } else {
            putc(c, out);
        }
    }
    putc('"', out);
}

static void select_region(unsigned region)
{
    *hwtlb_reg32(HWTLB_REGION) = region;
}

static uint32_t counters(void)
{
    return hwtlb_base ? *hwtlb_reg32(HWTLB_COUNTERS) : 0;
}

/* The counters of the selected region. */
static void json_counters(FILE *out)
{
    uint32_t i, n = counters();

    fputs("\"counters\":{", out);
    for (i = 0; i < n; i++) {
        if (i) {
            putc(',', out);
        }
        print_string(out, read_name(HWTLB_NAMES + HWTLB_NAME_LEN * i));
        fprintf(out, ":%" PRIu64, *hwtlb_reg64(HWTLB_VALUES + 8 * i));
    }
    putc('}', out);
}

static void json(FILE *out, const Result *r)
{
    const struct rusage *u = &r->usage;
    const char *comma = "";
    unsigned region;

    fprintf(out, "{\"status\":%d,\"signal\":%d,\"wall_s\":%.6f,\"guest\":{"
            "\"page_faults\":%ld,\"major_faults\":%ld,\"max_rss_kb\":%ld},",
            r->status, r->signal, r->wall, u->ru_minflt + u->ru_majflt,
            u->ru_majflt, u->ru_maxrss);
    if (hwtlb_base) {
        select_region(0);
    }
    json_counters(out);
    fputs(",\"regions\":[", out);
    for (region = 1; hwtlb_base && region < HWTLB_REGIONS; region++) {
        uint64_t entered;

        select_region(region);
        entered = *hwtlb_reg64(HWTLB_ENTERED);
        if (!entered) {
            continue;
        }
        fprintf(out, "%s{\"name\":", comma);
        print_string(out, read_name(HWTLB_NAME));
        fprintf(out, ",\"entered\":%" PRIu64 ",\"guest\":{\"page_faults\":%"
                PRIu64 "},", entered, *hwtlb_reg64(HWTLB_FAULTS));
        json_counters(out);
        putc('}', out);
        comma = ",";
    }
    fputs("]}\n", out);
}

static void table_counters(FILE *out)
{
    uint32_t i, n = counters();

    for (i = 0; i < n; i++) {
        uint64_t value = *hwtlb_reg64(HWTLB_VALUES + 8 * i);

        if (value) {
            fprintf(out, "%16" PRIu64 "  %s\n", value,
                    read_name(HWTLB_NAMES + HWTLB_NAME_LEN * i));
        }
    }
}

static void table(FILE *out, const Result *r, const char *command)
{
    const struct rusage *u = &r->usage;
    unsigned region;

    fprintf(out, "\n '%s': status %d%s\n\n", command, r->status,
            hwtlb_base ? "" : "; no counter device");
    fprintf(out, "%16.6f  seconds\n%16ld  page-faults\n%16ld  max-rss-kb\n",
            r->wall, u->ru_minflt + u->ru_majflt, u->ru_maxrss);
    for (region = 0; hwtlb_base && region < HWTLB_REGIONS; region++) {
        uint64_t entered;

        select_region(region);
        entered = *hwtlb_reg64(HWTLB_ENTERED);
        if (region && entered) {
            fprintf(out, "\n region '%s', entered %" PRIu64 " time%s\n\n"
                    "%16" PRIu64 "  page-faults\n", read_name(HWTLB_NAME),
                    entered, entered == 1 ? "" : "s",
                    *hwtlb_reg64(HWTLB_FAULTS));
        }
        if (entered) {
            table_counters(out);
        }
    }
    putc('\n', out);
}

int main(int argc, char **argv)
{
    const char *output = NULL, *arguments = NULL;
    Result r = { 0 };
    FILE *out = stderr;
    int opt, as_json = 0;

    while ((opt = getopt(argc, argv, "+jo:a:h")) != -1) {
        switch (opt) {
        case 'j':
            as_json = 1;
            break;
        case 'o':
            output = optarg;
            break;
        case 'a':
            arguments = optarg;
            break;
        case 'h':
            usage(0);
            break;
        default:
            usage(2);
        }
    }
    argv = arguments ? read_argv(arguments) : argv + optind;
    if (!argv[0]) {
        usage(2);
    }
    if (output) {
        out = fopen(output, "we");
        if (!out) {
            die(output);
        }
    }

    run(argv, &r);

    if (as_json) {
        json(out, &r);
    } else {
        table(out, &r, argv[0]);
    }
    if (ferror(out) || fflush(out)) {
        die(output ? output : "report");
    }
    return r.status;
}
