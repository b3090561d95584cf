/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Do to 64 KB folios everything that breaks them up, at random, and check after
 * each step that memory still holds what it should and allows what it should.
 *
 * The oracle is a table of what each page must contain and permit, kept apart
 * from the memory. Contents are read and written by the program itself; rights
 * are tested through system calls, which fail with EFAULT instead of a signal.
 * A TLB entry that outlived its page tables shows up as either.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "page-size.h"

#define PAGE page_size
#define FOLIO (16 * PAGE)
#define MAX_PAGES 1024          /* of 4 KB: 4 MB, sixty-four folios of 64 KB */
#define PAGES (PAGE == 4096 ? MAX_PAGES : 256)
#define WORDS 512               /* of a page, all over it */
#define STRIDE (PAGE / 4096)

typedef struct Page {
    uint64_t value;             /* every word: value + its index; 0: zeroes */
    int prot;
} Page;

/* What a step may also do to memory, if asked for: by words. */
enum { SWAP, KSM, COMPACT, MIGRATE, WORDS_KNOWN };

static const char *const words[WORDS_KNOWN] = {
    [SWAP] = "swap",            /* out, with MADV_PAGEOUT */
    [KSM] = "ksm",              /* let ksmd merge what is equal */
    [COMPACT] = "compact",      /* all free memory, by moving what is used */
    [MIGRATE] = "migrate",      /* to the other of two nodes */
};

static int wanted[WORDS_KNOWN];
static int compact_fd;

static size_t page_size;        /* what system calls count in */
static Page pages[MAX_PAGES];   /* the oracle */
static char *memory, *elsewhere;
static uint64_t rng;
static unsigned long step;
static int zero_fd, pipe_fds[2];

static uint64_t next(void)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    return rng ^= rng << 17;
}

static void fail(const char *what, unsigned page)
{
    printf("integrity: step %lu: page %u: %s\n", step, page, what);
    fflush(stdout);
    _exit(1);
}

static void must(int ok, const char *call)
{
    if (!ok) {
        printf("integrity: step %lu: %s: %s\n", step, call, strerror(errno));
        fflush(stdout);
        _exit(1);
    }
}

static uint64_t *at(unsigned page)
{
    return (uint64_t *)(memory + page * PAGE);
}

static void fill(unsigned page, uint64_t value)
{
    uint64_t *word = at(page);
    unsigned i;

    for (i = 0; i < WORDS; i++) {
        word[i * STRIDE] = value + i;
    }
    pages[page].value = value;
}

/* A few words of a page, or all of them. */
static void check_content(unsigned page, unsigned stride)
{
    volatile uint64_t *word = at(page);
    uint64_t value = pages[page].value;
    unsigned i;

    for (i = next() % stride; i < WORDS; i += stride) {
        if (word[i * STRIDE] != (value ? value + i : 0)) {
            fail("wrong content", page);
        }
    }
}

/* Does the processor allow what the page's rights say, and no more? */
static void check_rights(unsigned page)
{
    int prot = pages[page].prot;
    char *p = (char *)at(page) + next() % PAGE;
    char first;

    if ((write(pipe_fds[1], p, 1) == 1) != !!(prot & PROT_READ)) {
        fail("read permission is wrong", page);
    }
    if (prot & PROT_READ) {
        must(read(pipe_fds[0], &first, 1) == 1, "read");
    }
    if (!(prot & PROT_WRITE) && read(zero_fd, p, 1) == 1) {
        fail("write permission is wrong", page);
    }
}

static void check(unsigned page, unsigned n, unsigned stride)
{
    for (; n--; page++) {
        check_rights(page);
        if (pages[page].prot & PROT_READ) {
            check_content(page, stride);
        }
    }
}

/* With KSM there are few values, so that there is something to merge. */
static uint64_t new_value(void)
{
    return wanted[KSM] ? next() % 4 * 2 + 1 : next() | 1;
}

static void write_some(unsigned page, unsigned n)
{
    for (; n--; page++) {
        if (pages[page].prot & PROT_WRITE && next() % 4) {
            fill(page, new_value());
        }
    }
}

static void protect(unsigned page, unsigned n, int prot)
{
    must(!mprotect(at(page), n * PAGE, prot), "mprotect");
    while (n--) {
        pages[page++].prot = prot;
    }
}

static void set_zero(unsigned page, unsigned n)
{
    while (n--) {
        pages[page++].value = 0;
    }
}

static void map_again(unsigned page, unsigned n)
{
    unsigned i;

    must(!munmap(at(page), n * PAGE), "munmap");
    for (i = page; i < page + n; i++) {
        pages[i].prot = PROT_NONE;
        check_rights(i);
        pages[i].prot = PROT_READ | PROT_WRITE;
    }
    must(mmap(at(page), n * PAGE, PROT_READ | PROT_WRITE,
              MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == at(page),
         "mmap");
    if (wanted[KSM]) {
        must(!madvise(at(page), n * PAGE, MADV_MERGEABLE), "MADV_MERGEABLE");
    }
    set_zero(page, n);
}

/* Away and back, to a place of the same or of another alignment. */
static int move(unsigned page, unsigned n)
{
    size_t size = n * PAGE;
    size_t offset = (next() % 2 ? page % 16 : next() % 16) * PAGE;
    char *home = (char *)at(page), *there = elsewhere + offset;
    char *real = memory;

    if (mremap(home, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, there)
        == MAP_FAILED) {
        must(errno == EFAULT, "mremap"); /* more than one mapping: not moved */
        return 0;
    }
    memory = there - page * PAGE;
    check(page, n, 16);
    write_some(page, n);
    check(page, n, 16);
    memory = real;
    must(mremap(there, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, home)
         == home, "mremap back");
    must(mmap(there, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
              -1, 0) == there, "mmap");
    return 1;
}

/* Parent and child write the same pages at the same time, each its own copy. */
static void fork_both(unsigned page, unsigned n)
{
    int status;
    pid_t pid;

    fflush(stdout);
    pid = fork();
    must(pid >= 0, "fork");
    if (!pid) {
        rng ^= 0x5555555555555555;
        must(!pipe(pipe_fds), "pipe");
        write_some(page, n);
        check(0, PAGES, 64);
        _exit(0);
    }
    write_some(page, n);
    check(page, n, 16);
    must(waitpid(pid, &status, 0) == pid, "wait");
    if (status) {
        fail("the child found an error", page);
    }
}

/* All of the process, to node 0 or 1. */
static void migrate(void)
{
    unsigned long to = 1 + next() % 2, from = 3 - to;

    /* How many pages could not move is not an error. */
    must(syscall(SYS_migrate_pages, 0, 8 * sizeof(to), &from, &to) >= 0,
         "migrate_pages");
}

/* Ages pages, which clears their A bits, or does one of the words. */
static void disturb(unsigned page, unsigned n)
{
    unsigned i, can[WORDS_KNOWN], count = 0;

    for (i = 0; i < WORDS_KNOWN; i++) {
        if (wanted[i]) {
            can[count++] = i;
        }
    }
    switch (count ? can[next() % count] : WORDS_KNOWN) {
    case SWAP:
        must(!madvise(at(page), n * PAGE, MADV_PAGEOUT), "MADV_PAGEOUT");
        break;
    case KSM:
        usleep(20000);          /* ksmd's turn */
        break;
    case COMPACT:
        must(write(compact_fd, "1", 1) == 1, "compact_memory");
        break;
    case MIGRATE:
        migrate();
        break;
    default:
        must(!madvise(at(page), n * PAGE, MADV_COLD), "MADV_COLD");
    }
}

static void want(const char *word)
{
    unsigned i;

    for (i = 0; i < WORDS_KNOWN; i++) {
        if (!strcmp(word, words[i])) {
            wanted[i] = 1;
            return;
        }
    }
    fprintf(stderr, "integrity: there is no word '%s': usage: integrity "
            "[STEPS [SEED [PAGE-SIZE|- [swap|ksm|compact|migrate]...]]]\n",
            word);
    exit(2);
}

int main(int argc, char **argv)
{
    unsigned long steps = argc > 1 ? strtoul(argv[1], NULL, 0) : 2000;
    static unsigned long done[8];
    static const int prots[] = {
        PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE
    };
    int i;

    for (i = 4; i < argc; i++) {
        want(argv[i]);
    }
    page_size = sysconf(_SC_PAGESIZE);
    if (argc > 3 && strcmp(argv[3], "-")) {     /* else what it has */
        page_size = strtoul(argv[3], NULL, 0);
        must(!set_page_size(page_size), "PR_SET_PAGE_SIZE");
    }
    rng = (argc > 2 ? strtoull(argv[2], NULL, 0) : 1) * 0x9e3779b97f4a7c15 | 1;
    zero_fd = open("/dev/zero", O_RDONLY);
    must(zero_fd >= 0 && !pipe(pipe_fds), "open");
    if (wanted[COMPACT]) {
        compact_fd = open("/proc/sys/vm/compact_memory", O_WRONLY | O_CLOEXEC);
        must(compact_fd >= 0, "/proc/sys/vm/compact_memory");
    }

    /* One reservation for both places, so that they have one alignment. */
    memory = mmap(NULL, (PAGES + 128) * PAGE + FOLIO, PROT_NONE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(memory != MAP_FAILED, "mmap");
    memory = (char *)(((uintptr_t)memory + FOLIO - 1) & -FOLIO);
    elsewhere = memory + PAGES * PAGE;
    map_again(0, PAGES);
    for (i = 0; i < PAGES; i++) {
        fill(i, new_value());
    }

    for (step = 0; step < steps; step++) {
        unsigned page = next() % PAGES, n = 1 + next() % 40;
        unsigned what = next() % 16;

        if (next() % 2) {       /* half of the time whole folios */
            page &= ~15u;
            n = (n + 15) & ~15u;
        }
        n = n < PAGES - page ? n : PAGES - page;

        if (what < 5) {
            what = 0;
            write_some(page, n);
        } else if (what < 8) {
            what = 1;
            protect(page, n, prots[next() % 4]);
        } else if (what < 10) {
            what = 2;
            map_again(page, n);
        } else if (what < 12) {
            what = 3;
            must(!madvise(at(page), n * PAGE, MADV_DONTNEED), "madvise");
            set_zero(page, n);
        } else if (what < 14) {
            what = 4;
            protect(page, n, PROT_READ | PROT_WRITE);
            if (!move(page, n)) {
                what = 7;
            }
        } else if (what < 15) {
            what = 5;
            fork_both(page, n);
        } else {
            what = 6;
            disturb(page, n);
        }
        done[what]++;
        check(page, n, 16);
    }

    protect(0, PAGES, PROT_READ);
    check(0, PAGES, 1);
    printf("integrity: %lu steps right: %lu write, %lu mprotect, %lu munmap, "
           "%lu DONTNEED, %lu mremap, %lu fork, %lu others\n", steps, done[0],
           done[1], done[2], done[3], done[4], done[5], done[6]);
    return 0;
}
