/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory that costs more in units of 64 KB than in pages of 4 KB, while there is
 * little of it, and whether it still holds what it should:
 *
 *   scarce private|onfault|shared|memfd|shm MB
 *                      one page in each 64 KB of MB is written
 *   scarce fork MB PERCENT MORE child|parent|both [CHILDREN]
 *                      MB are written and shared by fork; then PERCENT of the
 *                      pages of each 64 KB are written once more, and MORE MB
 *
 * If there is not enough of it, the kernel kills this program before others.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, WORDS = PAGE / 8, IN_UNIT = 16, PER_MB = 256 };

static void must(int ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "scarce: %s: %s\n", what, strerror(errno));
        exit(1);
    }
}

static uint64_t value(size_t page, unsigned word, unsigned seed)
{
    return (page + 1) * 0x9e3779b97f4a7c15 + seed * 0x100000000 + word;
}

static void fill(volatile uint64_t *page, size_t i, unsigned seed)
{
    unsigned w;

    for (w = 0; w < WORDS; w++) {
        page[w] = value(i, w, seed);
    }
}

/* Is page I among PERCENT of those of its unit? They are others in each unit. */
static int chosen(size_t i, unsigned percent)
{
    return (i * 7 + i / IN_UNIT) % IN_UNIT * 100 < percent * IN_UNIT;
}

static uint64_t *map(size_t pages, int flags, int fd)
{
    uint64_t *p = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE,
                       flags | MAP_NORESERVE, fd, 0);

    must(p != MAP_FAILED, "mmap");
    return p;
}

static void wrong(const char *who, size_t i, unsigned w)
{
    fprintf(stderr, "scarce: %s: page %zu, word %u is wrong\n", who, i, w);
    exit(3);
}

/* One page in sixteen is written, the others are zero. */
static void sparse(const char *kind, size_t pages)
{
    int fd = -1, id, is_shared = 1;
    uint64_t *p;
    size_t i;
    unsigned w;

    if (!strcmp(kind, "shared")) {
        p = map(pages, MAP_SHARED | MAP_ANONYMOUS, -1);
    } else if (!strcmp(kind, "memfd")) {
        fd = memfd_create(kind, 0);
        must(fd >= 0 && !ftruncate(fd, pages * PAGE), kind);
        p = map(pages, MAP_SHARED, fd);
    } else if (!strcmp(kind, "shm")) {
        id = shmget(IPC_PRIVATE, pages * PAGE, 0600 | SHM_NORESERVE);
        must(id >= 0, "shmget");
        p = shmat(id, NULL, 0);
        must(p != (void *)-1 && !shmctl(id, IPC_RMID, NULL), "shmat");
    } else {
        is_shared = 0;
        p = map(pages, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    }
    if (!strcmp(kind, "onfault")) {
        must(!mlock2(p, pages * PAGE, MLOCK_ONFAULT), "mlock2");
    }
    for (i = 0; i < pages; i++) {
        if (chosen(i, 1)) {
            fill(p + i * WORDS, i, 1);
        }
    }
    for (i = 0; i < pages; i++) {
        static uint64_t copy[WORDS];
        const uint64_t *page = p + i * WORDS;

        /* To read a hole through a mapping would fill it. */
        if (fd >= 0) {
            must(pread(fd, copy, PAGE, i * PAGE) == PAGE, "pread");
            page = copy;
        } else if (is_shared && !chosen(i, 1) && i % 1024 != 5) {
            continue;
        }
        for (w = 0; w < WORDS; w++) {
            if (page[w] != (chosen(i, 1) ? value(i, w, 1) : 0)) {
                wrong(kind, i, w);
            }
        }
    }
}

static uint64_t *shared;
static size_t shared_pages;

/* One word of each page that is chosen. */
static void rewrite(unsigned percent, unsigned seed)
{
    size_t i;

    for (i = 0; i < shared_pages; i++) {
        if (chosen(i, percent)) {
            shared[i * WORDS + i % WORDS] = value(i, i % WORDS, seed);
        }
    }
}

static void check(const char *who, unsigned percent, unsigned seed)
{
    size_t i;
    unsigned w;

    for (i = 0; i < shared_pages; i++) {
        for (w = 0; w < WORDS; w++) {
            unsigned s = chosen(i, percent) && w == i % WORDS ? seed : 0;

            if (shared[i * WORDS + w] != value(i, w, s)) {
                wrong(who, i, w);
            }
        }
    }
}

static void more(const char *who, size_t pages)
{
    uint64_t *p = map(pages, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    size_t i;

    for (i = 0; i < pages; i++) {
        fill(p + i * WORDS, i, 7);
    }
    for (i = 0; i < pages; i++) {
        if (p[i * WORDS + i % WORDS] != value(i, i % WORDS, 7)) {
            wrong(who, i, i % WORDS);
        }
    }
}

static void forks(unsigned percent, size_t pages, const char *who,
                  unsigned children)
{
    int child_writes = strcmp(who, "parent") != 0;
    int parent_writes = strcmp(who, "child") != 0;
    int ready[2], go[2], status, failed = 0;
    unsigned n;
    size_t i;
    char c = 0;

    shared = map(shared_pages, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    for (i = 0; i < shared_pages; i++) {
        fill(shared + i * WORDS, i, 0);
    }
    must(!pipe(ready) && !pipe(go), "pipe");
    for (n = 1; n <= children; n++) {
        pid_t pid = fork();

        must(pid >= 0, "fork");
        if (pid == 0) {
            /* Until the parent has done its part, and then ends or dies. */
            close(go[1]);
            if (child_writes) {
                rewrite(percent, n);
            }
            must(write(ready[1], &c, 1) == 1, "write");
            must(read(go[0], &c, 1) == 0, "read");
            check("child", child_writes ? percent : 0, n);
            _exit(0);
        }
        must(read(ready[0], &c, 1) == 1, "read");
    }
    if (parent_writes) {
        rewrite(percent, children + 1);
    }
    more("parent", pages);
    check("parent", parent_writes ? percent : 0, children + 1);
    close(go[1]);
    for (n = 1; n <= children; n++) {
        must(wait(&status) > 0, "wait");
        failed |= status;
    }
    if (failed) {
        fprintf(stderr, "scarce: a child ended with %#x\n", failed);
        exit(WIFSIGNALED(failed) ? 128 + WTERMSIG(failed) : 3);
    }
}

static size_t number(const char *s)
{
    return strtoul(s, NULL, 10);
}

int main(int argc, char **argv)
{
    FILE *f = fopen("/proc/self/oom_score_adj", "w");

    if (f) {
        fputs("1000", f);
        fclose(f);
    }
    if (argc == 3) {
        sparse(argv[1], number(argv[2]) * PER_MB);
    } else if ((argc == 6 || argc == 7) && !strcmp(argv[1], "fork")) {
        shared_pages = number(argv[2]) * PER_MB;
        forks(number(argv[3]), number(argv[4]) * PER_MB, argv[5],
              argc == 7 ? number(argv[6]) : 1);
    } else {
        fputs("usage: scarce private|onfault|shared|memfd|shm MB\n"
              "       scarce fork MB PERCENT MORE child|parent|both "
              "[CHILDREN]\n", stderr);
        return 2;
    }
    puts("scarce: right");
    return 0;
}
