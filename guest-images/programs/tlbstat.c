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
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "processes.h"

/* The device's registers: docs/specs/hwtlb.rst. */
enum {
    COUNTERS = 0x08, VCPUS = 0x0c, LATCH = 0x14, REGION = 0x18, COMMAND = 0x1c,
    NAME = 0x20, FAULTS = 0x40, ENTERED = 0x48, LATCHED = 0x1000, VALUES = 0x2000,
    NAMES = 0x3000, NAME_LEN = 32, REGIONS = 64, BAR_SIZE = 0x4000,
};
enum { BEGIN = 1, END = 2, CLEAR = 3, CLEAR_ALL = 4 };

#define PCI_ID  0x12346464
#define OUR_ID  UINT64_C(0x00000002424c5448)    /* version 2, "HTLB" */

/*
 * What the device has no registers for, 8 words for each region, which all
 * programs under the outermost tlbstat share: hwtlb.h writes them, too.
 */
enum {
    NS, MAX_RSS, PAGE_TABLES, ANON, SAMPLED, FOLIOS, FALLBACKS, IDLE,
    NOTES = 8
};

#define FOLIO_STATS "/sys/kernel/mm/transparent_hugepage/hugepages-64kB/stats/"

static volatile uint64_t *regs;         /* the device, NULL if there is none */
static volatile uint64_t (*notes)[NOTES];   /* NULL if there are none */

typedef struct Options {
    int json, memory;
    unsigned interval_ms;       /* 0: none */
    const char *region;         /* only this one */
    const char *name;           /* of the region that the command is */
    const char *output, *arguments;
} Options;

static Options options;
static FILE *out;
static unsigned intervals;      /* that have been told of, as JSON */
static unsigned own;            /* the region that the command is */
static double looked;           /* for so long, in the middle of the command */

/* What processes held when the command was about to exit; with -m. */
static Process *processes;
static unsigned n_processes;

/* What the program's regions had before, inside another tlbstat's command. */
static struct {
    uint64_t entered, faults, *values, notes[NOTES];
} before[REGIONS];

typedef struct Result {
    int status;                 /* as a shell has it: 128 + n for signal n */
    int signal;
    double wall;
    struct rusage usage;
} Result;

static volatile uint32_t *reg32(unsigned offset)
{
    return (volatile uint32_t *)regs + offset / 4;
}

static volatile uint64_t *reg64(unsigned offset)
{
    return regs + offset / 8;
}

/* The file of the device's registers, NULL if there is none. */
static const char *find_device(void)
{
    static char path[64];
    unsigned at, id;
    int found = 0;
    FILE *f = fopen("/proc/bus/pci/devices", "re");

    while (f && !found && fscanf(f, "%x %x%*[^\n]", &at, &id) == 2) {
        snprintf(path, sizeof(path), "/sys/bus/pci/devices/0000:%02x:%02x.%x/"
                 "resource0", at >> 8, at >> 3 & 31, at & 7);
        found = id == PCI_ID;
    }
    if (f) {
        fclose(f);
    }
    return found ? path : NULL;
}

/*
 * It answers once somebody has enabled it: firmware does that where it has laid
 * out the registers, Linux where it had to lay them out itself, as with 64 KB
 * pages, leaves it to the driver, which there is none of.
 */
static void enable(const char *registers)
{
    size_t length = strrchr(registers, '/') - registers;
    char path[64];
    int fd;

    snprintf(path, sizeof(path), "%.*s/enable", (int)length, registers);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, "1", 1) != 1) {
        fprintf(stderr, "tlbstat: %s: %s\n", path, strerror(errno));
    }
    if (fd >= 0) {
        close(fd);
    }
}

/* Maps it, and tells programs where it is. */
static void open_device(void)
{
    const char *path = find_device();
    int fd = path ? open(path, O_RDWR | O_SYNC | O_CLOEXEC) : -1;
    void *bar = fd < 0 ? MAP_FAILED : mmap(NULL, BAR_SIZE, PROT_READ |
                                           PROT_WRITE, MAP_SHARED, fd, 0);

    if (bar != MAP_FAILED && *(volatile uint64_t *)bar != OUR_ID) {
        enable(path);
    }
    if (path && bar == MAP_FAILED) {
        fprintf(stderr, "tlbstat: %s: %s\n", path, strerror(errno));
    } else if (path && *(volatile uint64_t *)bar != OUR_ID) {
        fprintf(stderr, "tlbstat: %s: not version 2 of the counters\n", path);
    } else if (path && ((volatile uint32_t *)bar)[VCPUS / 4]) {
        /* Else the machine may be loaded with a model, and has none now. */
        regs = bar;
        setenv("HWTLB", path, 1);
    }
    if (fd >= 0) {
        close(fd);
    }
}

/* Those of the tlbstat around this one, or new ones. */
static void open_notes(void)
{
    const char *shared = getenv("HWTLB_NOTES");
    size_t size = sizeof(*notes) * REGIONS;
    int fd = shared ? open(shared, O_RDWR | O_CLOEXEC) : -1;
    char path[64];
    void *map;

    if (fd < 0) {
        /* Stays open: the path is that of our descriptor. */
        fd = memfd_create("hwtlb-notes", MFD_CLOEXEC);
        if (fd < 0 || ftruncate(fd, size)) {
            return;
        }
        snprintf(path, sizeof(path), "/proc/%d/fd/%d", getpid(), fd);
        setenv("HWTLB_NOTES", path, 1);
    }
    map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    notes = map == MAP_FAILED ? NULL : map;
}

/* Other processors copy their counters when they come to it. */
static void wait_for_copies(void)
{
    while (*reg32(LATCH)) {
    }
}

static void die(const char *what)
{
    fprintf(stderr, "tlbstat: %s: %s\n", what, strerror(errno));
    exit(125);
}

static void usage(int status)
{
    fputs("usage: tlbstat [OPTION...] [--] CMD [ARG...]\n"
          "       tlbstat [OPTION...] -a FILE\n"
          "  -j         JSON instead of a table\n"
          "  -I MS      also what was counted in every MS milliseconds\n"
          "  -p REGION  only what was counted in the region of this name\n"
          "  -r NAME    CMD is the region NAME of the tlbstat around this one\n"
          "  -m         also what processes hold when CMD is about to exit\n"
          "  -o FILE    report to FILE instead of standard error\n"
          "  -a FILE    take CMD and its arguments from FILE, each ended by NUL\n",
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

/* Names are 32 bytes in the device, read 8 at a time. */
static const char *read_name(unsigned offset)
{
    static union {
        uint64_t words[NAME_LEN / 8];
        char text[NAME_LEN + 1];
    } name;
    unsigned i;

    for (i = 0; i < NAME_LEN / 8; i++) {
        name.words[i] = *reg64(offset + 8 * i);
    }
    name.text[NAME_LEN] = '\0';
    return name.text;
}

static void remember(unsigned region)
{
    const uint32_t n = *reg32(COUNTERS);
    uint32_t i;

    *reg32(REGION) = region;
    before[region].entered = *reg64(ENTERED);
    before[region].faults = *reg64(FAULTS);
    for (i = 0; notes && i < NOTES; i++) {
        before[region].notes[i] = notes[region][i];
        if (i >= MAX_RSS && i <= SAMPLED) {
            notes[region][i] = 0;   /* peaks of our command */
        }
    }
    if (before[region].entered) {
        before[region].values = calloc(n, sizeof(uint64_t));
        if (!before[region].values) {
            die("memory");
        }
        for (i = 0; i < n; i++) {
            before[region].values[i] = *reg64(VALUES + 8 * i);
        }
    }
}

/* The number after the word @name in the text file @path, 0 if there is none. */
static uint64_t number_in(const char *path, const char *name)
{
    size_t length = strlen(name);
    uint64_t value = 0;
    char line[128];
    FILE *f = fopen(path, "re");

    while (f && fgets(line, sizeof(line), f)) {
        if (!strncmp(line, name, length)) {
            value = strtoull(line + length, NULL, 10);
            break;
        }
    }
    if (f) {
        fclose(f);
    }
    return value;
}

/* Time that processors had nothing to do or waited for a disk; in 10 ms. */
static uint64_t idle_ns(void)
{
    uint64_t idle = 0, iowait = 0;
    FILE *f = fopen("/proc/stat", "re");

    if (f) {
        if (fscanf(f, "cpu %*s %*s %*s %" SCNu64 " %" SCNu64, &idle,
                   &iowait) != 2) {
            idle = iowait = 0;
        }
        fclose(f);
    }
    return (idle + iowait) * (1000000000 / sysconf(_SC_CLK_TCK));
}

static void raise_to(volatile uint64_t *peak, uint64_t value)
{
    *peak = value > *peak ? value : *peak;
}

/* The tlbstat around this one has peaks of its own. */
static void restore_peaks(void)
{
    unsigned region, i;

    for (region = 0; notes && region < REGIONS; region++) {
        for (i = MAX_RSS; i <= SAMPLED; i++) {
            raise_to(&notes[region][i], before[region].notes[i]);
        }
    }
}

/* Memory of all processes, as what is counted is that of all. */
static void sample(void)
{
    /* Processors keep some pages of these sums to themselves, until told. */
    int fd = open("/proc/sys/vm/stat_refresh", O_WRONLY | O_CLOEXEC);

    if (fd >= 0) {
        if (write(fd, "1", 1) != 1) {
            fputs("tlbstat: the sums of memory may be old\n", stderr);
        }
        close(fd);
    }
    if (notes) {
        raise_to(&notes[own][PAGE_TABLES],
                 number_in("/proc/meminfo", "PageTables:"));
        raise_to(&notes[own][ANON], number_in("/proc/meminfo", "AnonPages:"));
    }
}

/*
 * Adds what was there at the end (@sign 1) to, or subtracts what is there at
 * the beginning (-1) from, the totals of our region.
 */
static void note(int sign)
{
    *reg64(FAULTS) += sign * number_in("/proc/vmstat", "pgfault ");
    if (notes) {
        notes[own][NS] += sign * (int64_t)(now() * 1e9);
        notes[own][IDLE] += sign * idle_ns();
        notes[own][FOLIOS] += sign * number_in(FOLIO_STATS "anon_fault_alloc",
                                               "");
        notes[own][FALLBACKS] += sign *
            number_in(FOLIO_STATS "anon_fault_fallback", "");
    }
}

/*
 * A command inside another tlbstat's command must leave alone what that one
 * counts: it takes another region, and subtracts what regions have already.
 * A region of the same name it goes on with.
 */
static void begin(void)
{
    const char *text = options.name ? options.name : "command";
    uint64_t name[NAME_LEN / 8] = { 0 };
    unsigned region, i;

    *reg32(REGION) = 0;
    if (!*reg32(COMMAND)) {
        *reg32(COMMAND) = CLEAR_ALL;
    } else {
        for (own = REGIONS - 1; own > REGIONS / 2; own--) {
            *reg32(REGION) = own;
            if (!*reg32(COMMAND) &&
                (!*reg64(ENTERED) || !strcmp(read_name(NAME), text))) {
                break;
            }
        }
        if (own == REGIONS / 2) {
            fputs("tlbstat: no region is left\n", stderr);
            exit(125);
        }
        wait_for_copies();
        for (region = 0; region < REGIONS; region++) {
            remember(region);
        }
    }
    *reg32(REGION) = own;
    strncpy((char *)name, text, NAME_LEN - 1);
    for (i = 0; i < NAME_LEN / 8; i++) {
        *reg64(NAME + 8 * i) = name[i];
    }
    note(-1);
    *reg64(REGION) = own | (uint64_t)BEGIN << 32;
}

/* What was counted since the last time, of each counter that moved. */
static void print_interval(double at, uint64_t *last)
{
    const uint32_t n = *reg32(COUNTERS);
    const char *comma = "";
    uint32_t i;

    *reg32(LATCH) = 1;
    wait_for_copies();
    if (options.json) {
        fprintf(out, "%s{\"time_s\":%.6f,\"counters\":{",
                intervals++ ? "," : "", at);
    }
    for (i = 0; i < n; i++) {
        uint64_t now = *reg64(LATCHED + 8 * i);
        const char *name = read_name(NAMES + NAME_LEN * i);

        if (now != last[i] && options.json) {
            fprintf(out, "%s\"%s\":%" PRIu64, comma, name, now - last[i]);
            comma = ",";
        } else if (now != last[i]) {
            fprintf(out, "%12.6f %16" PRIu64 "  %s\n", at, now - last[i], name);
        }
        last[i] = now;
    }
    fputs(options.json ? "}}" : "\n", out);
}

/* Ends what is counted, once. */
static void end(void)
{
    static int ended;

    if (!ended && regs) {
        *reg64(REGION) = own | (uint64_t)END << 32;
        note(1);
    }
    if (!ended && options.name) {
        sample();
    }
    ended = 1;
}

/* What all hold while the command stands still; none of it is counted. */
static void look(void)
{
    double start = now();

    if (options.name) {
        end();
    } else if (regs) {
        *reg64(REGION) = own | (uint64_t)END << 32;
        note(1);
        sample();
    }
    free(processes);
    n_processes = look_at_processes(&processes);
    if (!options.name) {
        if (regs) {
            *reg32(REGION) = own;
            note(-1);
            *reg64(REGION) = own | (uint64_t)BEGIN << 32;
        }
        looked += now() - start;
    }
}

/*
 * Under -r the command stops for us just before it gives its memory back: that
 * is the end of its region, and nothing has to look at memory meanwhile.  (A
 * process that did would empty the TLBs each time.) With -m and without -r its
 * region goes on afterwards.
 */
static void go_on(pid_t pid, int status)
{
    static int started;
    int event = status >> 16, signal = event ? 0 : WSTOPSIG(status);

    if (!started) {     /* it has just been executed */
        ptrace(PTRACE_SETOPTIONS, pid, NULL,
               PTRACE_O_TRACEEXIT | PTRACE_O_TRACEEXEC);
        signal = 0;
        started = 1;
    } else if (event == PTRACE_EVENT_EXIT && options.memory) {
        look();
    } else if (event == PTRACE_EVENT_EXIT) {
        end();
    }
    ptrace(PTRACE_CONT, pid, NULL, (long)signal);
}

/* Waits for @pid; while it runs, tells of each interval. */
static void wait_for(pid_t pid, double start, const sigset_t *child, Result *r,
                     int *status)
{
    const double step = options.interval_ms / 1e3;
    uint64_t *last = NULL;
    double next = step;
    uint32_t i;

    if (step && regs) {
        last = calloc(*reg32(COUNTERS), sizeof(*last));
        if (!last) {
            die("memory");
        }
        *reg32(LATCH) = 1;
        wait_for_copies();
        for (i = 0; i < *reg32(COUNTERS); i++) {
            last[i] = *reg64(LATCHED + 8 * i);
        }
    }
    for (;;) {
        pid_t done = wait4(pid, status, last ? WNOHANG : 0, &r->usage);

        if (done == pid && WIFSTOPPED(*status)) {
            go_on(pid, *status);
            continue;
        }
        if (done == pid) {
            break;
        }
        if (done < 0 && errno != EINTR) {
            die("wait");
        }
        if (last) {
            double left = next - (now() - start);
            struct timespec t = { 0, 0 };

            if (left > 0) {
                t.tv_sec = left;
                t.tv_nsec = (left - t.tv_sec) * 1e9;
            }
            if (sigtimedwait(child, NULL, &t) < 0 && errno == EAGAIN) {
                print_interval(now() - start, last);
                next += step;
            }
        }
    }
    end();
    r->wall = now() - start - looked;
    if (notes) {
        raise_to(&notes[own][MAX_RSS], r->usage.ru_maxrss);
    }
    if (last) {
        print_interval(r->wall, last);
        free(last);
    }
}

static void run(char **argv, Result *r)
{
    int wait_status, error = 0, fds[2];
    sigset_t child, before;
    double start;
    ssize_t n;
    pid_t pid;

    /* The pipe closes at exec; if that fails it carries the reason. */
    if (pipe2(fds, O_CLOEXEC)) {
        die("pipe");
    }
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, &before);
    open_device();
    open_notes();
    start = now();
    if (regs) {
        begin();
    }
    pid = fork();
    if (pid < 0) {
        die("fork");
    }
    if (pid == 0) {
        sigprocmask(SIG_SETMASK, &before, NULL);
        if (options.name || options.memory) {
            ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        }
        execvp(argv[0], argv);
        error = errno;
        n = write(fds[1], &error, sizeof(error));
        _exit(n == sizeof(error) && error == ENOENT ? 127 : 126);
    }
    /* What is typed at the terminal is for the command. */
    signal(SIGINT, SIG_IGN);
    signal(SIGQUIT, SIG_IGN);
    close(fds[1]);
    wait_for(pid, start, &child, r, &wait_status);

    n = read(fds[0], &error, sizeof(error));
    close(fds[0]);
    if (n == sizeof(error)) {
        fprintf(stderr, "tlbstat: %s: %s\n", argv[0], strerror(error));
    }
    r->signal = WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : 0;
    r->status = r->signal ? 128 + r->signal : WEXITSTATUS(wait_status);
}

static void print_string(const char *s)
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

static unsigned selected;

static void select_region(unsigned region)
{
    selected = region;
    *reg32(REGION) = region;
}

static uint64_t value_of(uint32_t counter)
{
    const uint64_t *values = before[selected].values;

    return *reg64(VALUES + 8 * counter) - (values ? values[counter] : 0);
}

static uint64_t entered(void)
{
    return *reg64(ENTERED) - before[selected].entered;
}

static uint64_t faults(void)
{
    /* A region that is open has less: what its program had when it began. */
    return *reg32(COMMAND) ? 0 : *reg64(FAULTS) - before[selected].faults;
}

static double wall(void)
{
    return *reg32(COMMAND) || !notes ? 0 :
           (notes[selected][NS] - before[selected].notes[NS]) / 1e9;
}

static uint32_t counters(void)
{
    return regs ? *reg32(COUNTERS) : 0;
}

/* The counters of the selected region. */
static void json_counters(void)
{
    uint32_t i, n = counters();

    fputs("\"counters\":{", out);
    for (i = 0; i < n; i++) {
        if (i) {
            putc(',', out);
        }
        print_string(read_name(NAMES + NAME_LEN * i));
        fprintf(out, ":%" PRIu64, value_of(i));
    }
    putc('}', out);
}

/* Selects @region; is it one of the program's that is to be told of? */
static int is_shown(unsigned region)
{
    select_region(region);
    return region != own && entered() &&
           (!options.region || !strcmp(read_name(NAME), options.region));
}

/* The peak of a region; of ours, what is the whole, the highest of all. */
static uint64_t peak(unsigned region, int of)
{
    uint64_t value = notes ? notes[region][of] : 0;

    for (unsigned i = 0; notes && region == own && i < REGIONS; i++) {
        raise_to(&value, notes[i][of]);
    }
    return value;
}

/* What of memory is known of a region. */
static void json_memory(unsigned region)
{
    const struct {
        const char *name;
        int of;
    } peaks[] = { { "page_table_kb", PAGE_TABLES }, { "anon_kb", ANON } };
    unsigned i;

    for (i = 0; i < sizeof(peaks) / sizeof(peaks[0]); i++) {
        uint64_t value = peak(region, peaks[i].of);

        if (value) {
            fprintf(out, ",\"%s\":%" PRIu64, peaks[i].name, value);
        }
    }
    /* Only tlbstat's own regions have these. */
    if (regs && notes && (region == own || region > REGIONS / 2)) {
        fprintf(out, ",\"folios_64k\":%" PRIu64 ",\"folio_64k_fallbacks\":%"
                PRIu64 ",\"idle_s\":%.2f",
                notes[region][FOLIOS] - before[region].notes[FOLIOS],
                notes[region][FALLBACKS] - before[region].notes[FALLBACKS],
                (int64_t)(notes[region][IDLE] -
                          before[region].notes[IDLE]) / 1e9);
    }
    putc('}', out);
}

static uint64_t waste_of_all(void)
{
    uint64_t kb = 0;
    unsigned i;

    for (i = 0; i < n_processes; i++) {
        kb += processes[i].waste_kb;
    }
    return kb;
}

static void json_processes(void)
{
    unsigned i;

    fputs("\"processes\":[", out);
    for (i = 0; i < n_processes; i++) {
        const Process *p = &processes[i];

        fprintf(out, "%s{\"pid\":%d,\"name\":", i ? "," : "", p->pid);
        print_string(p->name);
        fprintf(out, ",\"rss_kb\":%" PRIu64 ",\"page_table_kb\":%" PRIu64
                ",\"waste_kb\":%" PRIu64 "}", p->rss_kb, p->page_table_kb,
                p->waste_kb);
    }
    fputs("],", out);
}

static void json(const Result *r)
{
    const struct rusage *u = &r->usage;
    const char *comma = "";
    unsigned region;

    fprintf(out, "%s\"status\":%d,\"signal\":%d,\"wall_s\":%.6f,\"guest\":{"
            "\"page_faults\":%ld,\"major_faults\":%ld,\"max_rss_kb\":%ld",
            options.interval_ms ? "]," : "{", r->status, r->signal, r->wall,
            u->ru_minflt + u->ru_majflt, u->ru_majflt, u->ru_maxrss);
    if (n_processes) {
        fprintf(out, ",\"processes\":%u,\"waste_kb\":%" PRIu64, n_processes,
                waste_of_all());
    }
    json_memory(own);
    putc(',', out);
    if (n_processes) {
        json_processes();
    }
    if (regs) {
        select_region(own);
    }
    if (!options.region) {
        json_counters();
        putc(',', out);
    }
    fputs("\"regions\":[", out);
    for (region = 0; regs && region < REGIONS; region++) {
        if (!is_shown(region)) {
            continue;
        }
        fprintf(out, "%s{\"name\":", comma);
        print_string(read_name(NAME));
        fprintf(out, ",\"entered\":%" PRIu64 ",\"wall_s\":%.6f,\"guest\":{"
                "\"page_faults\":%" PRIu64, entered(), wall(), faults());
        if (peak(region, MAX_RSS)) {
            fprintf(out, ",\"max_rss_kb\":%" PRIu64, peak(region, MAX_RSS));
        }
        json_memory(region);
        putc(',', out);
        json_counters();
        putc('}', out);
        comma = ",";
    }
    fputs("]}\n", out);
}

static void table_counters(void)
{
    uint32_t i, n = counters();

    for (i = 0; i < n; i++) {
        uint64_t value = value_of(i);

        if (value) {
            fprintf(out, "%16" PRIu64 "  %s\n", value,
                    read_name(NAMES + NAME_LEN * i));
        }
    }
}

static void table(const Result *r, const char *command)
{
    const struct rusage *u = &r->usage;
    unsigned region, i;

    fprintf(out, "\n '%s': status %d%s\n\n", command, r->status,
            regs ? "" : "; no counter device");
    fprintf(out, "%16.6f  seconds\n%16ld  page-faults\n%16ld  max-rss-kb\n",
            r->wall, u->ru_minflt + u->ru_majflt, u->ru_maxrss);
    for (i = 0; i < n_processes; i++) {
        fprintf(out, "%16" PRIu64 "  waste-kb of %s (%d), whose rss is %" PRIu64
                " KB, page tables %" PRIu64 " KB\n", processes[i].waste_kb,
                processes[i].name, processes[i].pid, processes[i].rss_kb,
                processes[i].page_table_kb);
    }
    if (regs && !options.region) {
        select_region(own);
        table_counters();
    }
    for (region = 0; regs && region < REGIONS; region++) {
        if (is_shown(region)) {
            fprintf(out, "\n region '%s', entered %" PRIu64 " time%s\n\n"
                    "%16.6f  seconds\n%16" PRIu64 "  page-faults\n",
                    read_name(NAME), entered(), entered() == 1 ? "" : "s",
                    wall(), faults());
            table_counters();
        }
    }
    putc('\n', out);
}

/* A region that was asked for and not entered is likely a mistake. */
static void check_region(void)
{
    unsigned region, n = 0;

    for (region = 0; regs && region < REGIONS; region++) {
        n += is_shown(region);
    }
    if (!n) {
        fprintf(stderr, "tlbstat: no region '%s' was entered\n",
                options.region);
    }
}

static unsigned milliseconds(const char *text)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);

    if (*end || text[0] < '0' || text[0] > '9' || n < 1 || n > 3600000) {
        fprintf(stderr, "tlbstat: -I %s: must be 1 to 3600000\n", text);
        usage(2);
    }
    return n;
}

int main(int argc, char **argv)
{
    Result r = { 0 };
    int opt;

    while ((opt = getopt(argc, argv, "+jmI:p:r:o:a:h")) != -1) {
        switch (opt) {
        case 'j':
            options.json = 1;
            break;
        case 'm':
            options.memory = 1;
            break;
        case 'I':
            options.interval_ms = milliseconds(optarg);
            break;
        case 'p':
            options.region = optarg;
            break;
        case 'r':
            options.name = optarg;
            if (!*optarg || strlen(optarg) >= NAME_LEN) {
                fprintf(stderr, "tlbstat: -r %s: must be 1 to %d characters\n",
                        optarg, NAME_LEN - 1);
                usage(2);
            }
            break;
        case 'o':
            options.output = optarg;
            break;
        case 'a':
            options.arguments = optarg;
            break;
        case 'h':
            usage(0);
            break;
        default:
            usage(2);
        }
    }
    argv = options.arguments ? read_argv(options.arguments) : argv + optind;
    if (!argv[0]) {
        usage(2);
    }
    out = stderr;
    if (options.output) {
        out = fopen(options.output, "we");
        if (!out) {
            die(options.output);
        }
    }
    if (options.json && options.interval_ms) {
        fputs("{\"intervals\":[", out);
    }

    run(argv, &r);

    if (regs) {
        wait_for_copies();
    }
    if (options.region) {
        check_region();
    }
    if (options.json) {
        json(&r);
    } else {
        table(&r, argv[0]);
    }
    restore_peaks();
    if (ferror(out) || fflush(out)) {
        die(options.output ? options.output : "report");
    }
    return r.status;
}
