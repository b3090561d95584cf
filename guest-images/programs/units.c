/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What becomes of the 64 KB units of a process in its life:
 *
 *   units fragment MB  fills memory but for MB, then frees 60 KB of each 64 KB
 *                      and holds the rest; says "ready" and waits for a signal
 *   units fork MB      MB are written, shared with a child, written again
 *   units migrate MB   MB are written and moved to another NUMA node
 *   units file PATH    the file is mapped and read
 *
 * Memory is checked in the end.  Under tlbstat, the second write is the
 * region "write", and four passes of one read in each 4 KB are "dense".
 */
#include <errno.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>

#include "hwtlb.h"

#define PAGE 4096UL
#define UNIT 65536UL

static volatile char *memory;
static size_t size;

static void must(int ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "units: %s: %s\n", what, strerror(errno));
        exit(1);
    }
}

/* Aligned to units, and nothing else in the last of them. */
static volatile char *map(size_t length)
{
    char *p = mmap(NULL, length + 2 * UNIT, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    must(p != MAP_FAILED, "mmap");
    return (char *)(((uintptr_t)p + UNIT - 1) & -UNIT);
}

static char value(size_t offset, int seed)
{
    return (char)(offset / PAGE * 7 + seed) | 1;
}

static void fill(size_t stride, int seed)
{
    size_t i;

    for (i = 0; i < size; i += stride) {
        memory[i] = value(i, seed);
    }
}

static void check(size_t stride, int seed)
{
    size_t i;

    for (i = 0; i < size; i += stride) {
        if (memory[i] != value(i, seed)) {
            fprintf(stderr, "units: wrong content at %zu KB\n", i / 1024);
            exit(1);
        }
    }
}

static void dense(void)
{
    unsigned pass;
    size_t i;

    hwtlb_begin(2, "dense");
    for (pass = 0; pass < 4; pass++) {
        for (i = 0; i < size; i += PAGE) {
            (void)memory[i];
        }
    }
    hwtlb_end(2);
}

static void fragment(void)
{
    struct sysinfo info;
    size_t length, i;

    must(!sysinfo(&info), "sysinfo");
    memory = map(info.totalram);
    for (length = 0; length < info.totalram; length += UNIT) {
        must(!sysinfo(&info), "sysinfo");
        if (info.freeram < size) {
            break;
        }
        for (i = 0; i < UNIT; i += PAGE) {
            memory[length + i] = 1;
        }
    }
    for (i = 0; i < length; i += UNIT) {
        must(!madvise((char *)memory + i + PAGE, UNIT - PAGE, MADV_DONTNEED),
             "madvise");
    }
    puts("ready");
    fflush(stdout);
    pause();
}

static void after_fork(void)
{
    int go[2], status;
    pid_t pid;
    char c;

    must(!pipe(go), "pipe");
    fill(PAGE, 1);
    pid = fork();
    must(pid >= 0, "fork");
    if (!pid) {
        /* Holds all of it, until the parent has written. */
        close(go[1]);
        must(read(go[0], &c, 1) == 0, "read");
        check(PAGE, 1);
        _exit(0);
    }
    hwtlb_begin(1, "write");
    fill(PAGE, 2);
    hwtlb_end(1);
    close(go[1]);
    must(waitpid(pid, &status, 0) == pid && !status, "the child");
    dense();
    check(PAGE, 2);
}

static void migrate(void)
{
    unsigned long from = 1, to = 2;

    fill(PAGE, 1);
    if (syscall(SYS_migrate_pages, 0, 8 * sizeof(to), &from, &to)) {
        /* Memory may have been on the second node before. */
        must(syscall(SYS_migrate_pages, 0, 8 * sizeof(to), &to, &from) == 0,
             "migrate_pages");
    }
    dense();
    check(PAGE, 1);
}

static void file(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    off_t end = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);

    must(end > 0, path);
    size = end & -UNIT;
    memory = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    must(memory != MAP_FAILED, "mmap");
    dense();
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } ways[] = {
        { "fragment", fragment }, { "fork", after_fork },
        { "migrate", migrate },
    };
    size_t i;

    if (argc == 3 && !strcmp(argv[1], "file")) {
        file(argv[2]);
        return 0;
    }
    for (i = 0; argc == 3 && i < sizeof(ways) / sizeof(*ways); i++) {
        if (!strcmp(argv[1], ways[i].name)) {
            size = strtoul(argv[2], NULL, 0) << 20;
            memory = map(size);
            ways[i].run();
            return 0;
        }
    }
    fputs("usage: units fragment|fork|migrate MB, or file PATH\n", stderr);
    return 2;
}
