/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What memory the processes of the system hold: see processes.h. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "page-size.h"
#include "processes.h"

/* Zeroes are looked for in pieces of 4 KB, whatever pages are. */
enum { PIECE = 4096, LARGEST = 65536, CHUNK = 512 };

/* An entry of /proc/PID/pagemap is of one page of its reader. */
static ssize_t page;

/* Bits of /proc/PID/pagemap. */
#define EXCLUSIVE (UINT64_C(1) << 56)
#define FILE_PAGE (UINT64_C(1) << 61)
#define PRESENT   (UINT64_C(1) << 63)

static FILE *open_of(int pid, const char *file)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
    return fopen(path, "re");
}

static int is_zero(const uint64_t *words)
{
    unsigned i;

    for (i = 0; i < PIECE / sizeof(*words); i++) {
        if (words[i]) {
            return 0;
        }
    }
    return 1;
}

/* Pieces of zeroes in pages that the process has for itself, at [START, END). */
static uint64_t zeroes_in(int pagemap, int memory, uint64_t start, uint64_t end)
{
    static uint64_t entries[CHUNK], words[LARGEST / sizeof(uint64_t)];
    uint64_t found = 0;
    ssize_t i, n, at;

    for (; start < end; start += n * page) {
        uint64_t want = (end - start) / page;

        want = want < CHUNK ? want : CHUNK;
        n = pread(pagemap, entries, want * 8, start / page * 8) / 8;
        if (n <= 0) {
            break;
        }
        for (i = 0; i < n; i++) {
            if ((entries[i] & (PRESENT | EXCLUSIVE | FILE_PAGE)) ==
                (PRESENT | EXCLUSIVE) &&
                pread(memory, words, page, start + i * page) == page) {
                for (at = 0; at < page; at += PIECE) {
                    found += is_zero(words + at / sizeof(*words));
                }
            }
        }
    }
    return found;
}

static uint64_t waste_kb(int pid)
{
    FILE *maps = open_of(pid, "maps"), *pagemap = open_of(pid, "pagemap");
    FILE *memory = open_of(pid, "mem");
    uint64_t start, end, found = 0;
    char line[512], shared;

    while (maps && pagemap && memory && fgets(line, sizeof(line), maps)) {
        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %*c%*c%*c%c", &start, &end,
                   &shared) == 3 && shared == 'p') {
            found += zeroes_in(fileno(pagemap), fileno(memory), start, end);
        }
    }
    if (maps) {
        fclose(maps);
    }
    if (pagemap) {
        fclose(pagemap);
    }
    if (memory) {
        fclose(memory);
    }
    return found * (PIECE / 1024);
}

/* The kernel's own threads have no memory, and are none. */
static int is_process(int pid, Process *p)
{
    FILE *status = open_of(pid, "status");
    char line[256];

    *p = (Process){ .pid = pid };
    while (status && fgets(line, sizeof(line), status)) {
        sscanf(line, "Name: %15[^\n]", p->name);
        sscanf(line, "VmRSS: %" SCNu64, &p->rss_kb);
        sscanf(line, "VmPTE: %" SCNu64, &p->page_table_kb);
    }
    if (status) {
        fclose(status);
    }
    return p->rss_kb && strcmp(p->name, program_invocation_short_name);
}

static void tell_of_processes(FILE *out)
{
    DIR *proc = opendir("/proc");
    struct dirent *entry;

    while (proc && (entry = readdir(proc))) {
        int pid = atoi(entry->d_name);
        Process p;

        if (pid > 0 && is_process(pid, &p)) {
            p.waste_kb = waste_kb(pid);
            fwrite(&p, sizeof(p), 1, out);
        }
    }
    if (proc) {
        closedir(proc);
    }
}

/*
 * A child looks, with the smallest pages that the kernel lets it have: of larger
 * ones an entry does not tell what is there of it.
 */
static FILE *looker(pid_t *child)
{
    int fds[2];

    if (pipe2(fds, O_CLOEXEC)) {
        return NULL;
    }
    *child = fork();
    if (*child == 0) {
        FILE *out = fdopen(fds[1], "w");

        page = set_page_size(PIECE) ? sysconf(_SC_PAGESIZE) : PIECE;
        tell_of_processes(out);
        _exit(fflush(out));
    }
    close(fds[1]);
    return fdopen(fds[0], "r");
}

unsigned look_at_processes(Process **list)
{
    pid_t child = -1;
    FILE *in = looker(&child);
    unsigned n = 0;
    Process p, *more;

    *list = NULL;
    while (in && fread(&p, sizeof(p), 1, in) == 1 &&
           (more = realloc(*list, (n + 1) * sizeof(p)))) {
        *list = more;
        more[n++] = p;
    }
    if (in) {
        fclose(in);
    }
    if (child > 0) {
        waitpid(child, NULL, 0);
    }
    return n;
}
