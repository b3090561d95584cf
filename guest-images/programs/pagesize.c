/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Run a command with another page size, as setarch does with another
 * personality; without a command, tell the page size, as BSD's pagesize does.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "page-size.h"

static int usage(int status)
{
    fputs("usage: pagesize [-v | 4K|16K|64K CMD [ARG...]]\n"
          "Runs CMD with pages of this size; without CMD, prints the page size,\n"
          "with -v also what /proc says of this process and of a new mapping.\n"
          "A program that is not linked for such pages runs with pages of 4 KB,\n"
          "and gets memory in units of this size.\n"
          "Exit status: CMD's own; 125 if the size cannot be set, 126 if CMD\n"
          "cannot be run, 127 if there is no CMD.\n",
          status ? stderr : stdout);
    return status;
}

/*
 * The lines of a file in /proc that tell of page sizes; in smaps, of the mapping
 * that begins at START.
 */
static void show(const char *path, size_t start)
{
    FILE *f = fopen(path, "r");
    size_t here = 0, from, to;
    char line[512];

    while (f && fgets(line, sizeof(line), f)) {
        if (sscanf(line, "%zx-%zx ", &from, &to) == 2) {
            here = from;
        } else if (here == start && (!strncmp(line, "Page", 4) ||
                                     strstr(line, "PageSize:"))) {
            fputs(line, stdout);
        }
    }
    if (f) {
        fclose(f);
    }
}

static void verbose(void)
{
    void *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE |
                   MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    show("/proc/self/status", 0);
    /* Not merged with a neighbour that has other rights. */
    if (p != MAP_FAILED && !mprotect(p, 1 << 20, PROT_READ)) {
        show("/proc/self/smaps", (size_t)p);
    }
}

int main(int argc, char **argv)
{
    unsigned long size;
    char *end;

    if (argc < 2) {
        printf("%ld\n", sysconf(_SC_PAGESIZE));
        return 0;
    }
    if (argc == 2 && !strcmp(argv[1], "-v")) {
        printf("%ld\n", sysconf(_SC_PAGESIZE));
        verbose();
        return 0;
    }
    if (!strcmp(argv[1], "-h") || !strcmp(argv[1], "--help")) {
        return usage(0);
    }
    size = strtoul(argv[1], &end, 10);
    if (*end == 'K' || *end == 'k') {
        size *= 1024;
        end++;
    }
    if (argc < 3 || *end) {
        return usage(125);
    }
    if (set_page_size(size) == -1) {
        int error = errno;

        if (get_page_size() == -1) {
            fputs("pagesize: this kernel has one page size only "
                  "(no CONFIG_64KB_PAGE_EMULATION)\n", stderr);
        } else {
            fprintf(stderr, "pagesize: %s: %s\n", argv[1], error == EINVAL ?
                    "the sizes are 4K, 16K and 64K" : strerror(error));
        }
        return 125;
    }
    execvp(argv[2], argv + 2);
    fprintf(stderr, "pagesize: %s: %s\n", argv[2], strerror(errno));
    return errno == ENOENT ? 127 : 126;
}
