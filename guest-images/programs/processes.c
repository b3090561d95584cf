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
#include <unistd.h>

#include "processes.h"

enum { PAGE = 4096, CHUNK = 512 };

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

    for (i = 0; i < PAGE / sizeof(*words); i++) {
        if (words[i]) {
            return 0;
        }
    }
    return 1;
}

/* Pages of zeroes that the process has for itself, of those at [START, END). */
static uint64_t zeroes_in(int pagemap, int memory, uint64_t start, uint64_t end)
{
    static uint64_t entries[CHUNK], words[PAGE / sizeof(uint64_t)];
    uint64_t found = 0;
    ssize_t i, n;

    for (; start < end; start += n * PAGE) {
        uint64_t want = (end - start) / PAGE;

        want = want < CHUNK ? want : CHUNK;
        n = pread(pagemap, entries, want * 8, start / PAGE * 8) / 8;
        if (n <= 0) {
            break;
        }
        for (i = 0; i < n; i++) {
            if ((entries[i] & (PRESENT | EXCLUSIVE | FILE_PAGE)) ==
                (PRESENT | EXCLUSIVE) &&
                pread(memory, words, PAGE, start + i * PAGE) == PAGE) {
                found += is_zero(words);
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
    return found * (PAGE / 1024);
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

unsigned look_at_processes(Process **list)
{
    DIR *proc = opendir("/proc");
    struct dirent *entry;
    unsigned n = 0;

    *list = NULL;
    while (proc && (entry = readdir(proc))) {
        int pid = atoi(entry->d_name);
        Process p, *more;

        if (pid > 0 && is_process(pid, &p)) {
            more = realloc(*list, (n + 1) * sizeof(p));
            if (!more) {
                break;
            }
            p.waste_kb = waste_kb(pid);
            *list = more;
            (*list)[n++] = p;
        }
    }
    if (proc) {
        closedir(proc);
    }
    return n;
}
