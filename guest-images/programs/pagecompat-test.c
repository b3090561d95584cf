/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A program that takes pages to be of 4 KB: what of that holds? TAP.
 *
 *     pagecompat-test [-s] plain|shim|bare
 *
 * plain: its pages are of 4 KB, with libpagecompat.so or without it: all holds.
 * shim: they are of 64 KB, with the library. bare: without it. What does not
 * hold then is stated in the table, and that it does not is what is tested. -s
 * sets the page size first, for a program that was started with 4 KB: libc's
 * threads do not work then, as libc frees their stacks by pages of 4 KB.
 *
 * Each case is a process of its own: one that dies of a signal does not hold.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "page-size.h"

/* Of random calls. */
#ifndef SEEDS
#define SEEDS 8u
#endif

#define K4 4096
#define UNIT 65536

#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)
#define RW (PROT_READ | PROT_WRITE)

/* Fails the case, and says where. */
#define CHECK(condition) do { \
        if (!(condition)) { \
            printf("# line %d: %s; errno %d\n", __LINE__, #condition, errno); \
            return 0; \
        } \
    } while (0)

static sigjmp_buf back;
static volatile sig_atomic_t expected;

static void on_fault(int signum)
{
    if (!expected) {
        signal(signum, SIG_DFL);
        return;
    }
    siglongjmp(back, signum);
}

/* The signal that a load, or a store, of a byte raises; or 0. */
static int touch(volatile char *p, int write)
{
    int signum = sigsetjmp(back, 1);

    if (!signum) {
        expected = 1;
        if (write) {
            *p = 1;
        } else {
            (void)*p;
        }
    }
    expected = 0;
    return signum;
}

/* N pages at the start of a unit; page I is full of I + 1. */
static char *pages(int n)
{
    char *p = mmap(NULL, n * K4 + UNIT, PROT_NONE, ANON | MAP_NORESERVE, -1, 0);
    int i;

    if (p == MAP_FAILED) {
        exit(2);
    }
    p += -(uintptr_t)p % UNIT;
    munmap(p, n * K4);
    p = mmap(p, n * K4, RW, ANON, -1, 0);
    for (i = 0; p != MAP_FAILED && i < n; i++) {
        memset(p + i * K4, i + 1, K4);
    }
    return p == MAP_FAILED ? (exit(2), p) : p;
}

static int is(const char *p, int from, int to, int value)
{
    int i;

    for (i = from * K4; i < to * K4; i++) {
        if (p[i] != (char)value) {
            printf("# page %d has %d, not %d\n", i / K4, p[i], value);
            return 0;
        }
    }
    return 1;
}

/* Pages [FROM, TO) are as pages() made them. */
static int kept(const char *p, int from, int to)
{
    for (; from < to; from++) {
        if (!is(p, from, from + 1, from + 1)) {
            return 0;
        }
    }
    return 1;
}

/* A file of N pages; page I is full of 100 + I. */
static int file(int n)
{
    int fd = memfd_create("file", 0), i;
    char page[K4];

    for (i = 0; i < n; i++) {
        memset(page, 100 + i, K4);
        if (fd < 0 || write(fd, page, K4) != K4) {
            exit(2);
        }
    }
    return fd;
}

static int shows(const char *p, int from, int to, int first)
{
    for (; from < to; from++, first++) {
        if (!is(p, from, from + 1, 100 + first)) {
            return 0;
        }
    }
    return 1;
}

/* --- what holds with the library --- */

static int offset_private(void)
{
    int fd = file(40);
    char *p = mmap(NULL, 20 * K4, RW, MAP_PRIVATE, fd, 3 * K4);

    CHECK(p != MAP_FAILED);
    CHECK(shows(p, 0, 20, 3));
    p[0] = 1;
    CHECK(!munmap(p, 20 * K4));
    CHECK(touch(p, 0) == SIGSEGV && touch(p + 20 * K4 - 1, 0) == SIGSEGV);
    return 1;
}

static int offset_shared(void)
{
    int fd = file(40);
    char *p = mmap(NULL, 2 * K4, RW, MAP_SHARED, fd, 17 * K4), byte;

    CHECK(p != MAP_FAILED);
    CHECK(shows(p, 0, 2, 17));
    p[K4] = 1;
    CHECK(!msync(p + K4, K4, MS_SYNC));
    CHECK(pread(fd, &byte, 1, 18 * K4) == 1 && byte == 1);
    CHECK(!munmap(p + K4, K4) && shows(p, 0, 1, 17) && !munmap(p, K4));
    CHECK(touch(p, 0) == SIGSEGV);
    return 1;
}

static int fixed_anonymous(void)
{
    char *p = pages(32), *q = p + 5 * K4;

    CHECK(mmap(q, K4, RW, ANON | MAP_FIXED, -1, 0) == q);
    CHECK(kept(p, 0, 5) && is(p, 5, 6, 0) && kept(p, 6, 32));
    return 1;
}

static int fixed_first_page(void)
{
    char *p = pages(32);

    CHECK(mmap(p, K4, RW, ANON | MAP_FIXED, -1, 0) == p);
    CHECK(is(p, 0, 1, 0) && kept(p, 1, 32));
    return 1;
}

static int fixed_long(void)
{
    char *p = pages(80), *q = p + 10 * K4;

    CHECK(mmap(q, 50 * K4, RW, ANON | MAP_FIXED, -1, 0) == q);
    CHECK(kept(p, 0, 10) && is(p, 10, 60, 0) && kept(p, 60, 80));
    return 1;
}

/* Text, data and bss of a program linked for 4 KB, as a loader puts them. */
static int fixed_loader(void)
{
    int fd = file(40);
    char *p = mmap(NULL, 48 * K4 + UNIT, PROT_NONE, ANON | MAP_NORESERVE, -1,
                   0);

    p += -(uintptr_t)p % UNIT;
    CHECK(mmap(p, 10 * K4, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, fd,
               0) == p);
    CHECK(mmap(p + 11 * K4, 20 * K4, RW, MAP_PRIVATE | MAP_FIXED, fd, 10 * K4)
          == p + 11 * K4);
    CHECK(mmap(p + 31 * K4, 4 * K4, RW, ANON | MAP_FIXED, -1, 0)
          == p + 31 * K4);
    CHECK(shows(p, 0, 10, 0) && shows(p, 11, 31, 10) && is(p, 31, 35, 0));
    memset(p + 11 * K4, 1, 24 * K4);
    CHECK(!mprotect(p + 11 * K4, K4, PROT_READ) && is(p, 11, 12, 1));
    CHECK(shows(p, 0, 10, 0));
    CHECK(!munmap(p, 35 * K4) && touch(p + UNIT, 0) == SIGSEGV);
    return 1;
}

static int fixed_same_file(void)
{
    int fd = file(80);
    char *p = pages(80), *q = p + 20 * K4;

    CHECK(mmap(q, 40 * K4, RW, MAP_PRIVATE | MAP_FIXED, fd, 20 * K4) == q);
    CHECK(kept(p, 0, 20) && shows(p, 20, 60, 20) && kept(p, 60, 80));
    return 1;
}

static int fixed_past_end(void)
{
    int fd = file(3);
    char *p = pages(32), *q = p + 5 * K4;

    CHECK(mmap(q, 3 * K4, RW, MAP_PRIVATE | MAP_FIXED, fd, 0) == q);
    CHECK(kept(p, 0, 5) && shows(p, 5, 8, 0) && kept(p, 8, 32));
    CHECK(!ftruncate(fd, K4 / 2));
    CHECK(mmap(q, K4, RW, MAP_PRIVATE | MAP_FIXED, fd, 0) == q);
    CHECK(q[K4 / 2 - 1] == 100 && !q[K4 / 2] && !q[K4 - 1]);
    return 1;
}

static int fixed_shared_alone(void)
{
    int fd = file(40);
    char *p = pages(48), *q = p + 18 * K4, byte;

    CHECK(!munmap(p + UNIT, UNIT));
    CHECK(mmap(q, K4, RW, MAP_SHARED | MAP_FIXED, fd, 2 * K4) == q);
    CHECK(shows(q, 0, 1, 2) && kept(p, 0, 16) && kept(p, 32, 48));
    q[0] = 1;
    CHECK(pread(fd, &byte, 1, 2 * K4) == 1 && byte == 1);
    CHECK(!munmap(q, K4) && touch(q, 0) == SIGSEGV);
    return 1;
}

static int noreplace(void)
{
    char *p = pages(32), *q;

    errno = 0;
    CHECK(mmap(p + 3 * K4, K4, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0)
          == MAP_FAILED && errno == EEXIST);
    CHECK(!munmap(p + 3 * K4, K4));
    q = mmap(p + 3 * K4, K4, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0);
    CHECK(q == p + 3 * K4 && is(p, 3, 4, 0));
    CHECK(!munmap(p + UNIT, UNIT));
    q = mmap(p + 20 * K4, K4, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0);
    CHECK(q == p + 20 * K4 && is(p, 20, 21, 0));
    CHECK(kept(p, 0, 3) && kept(p, 4, 16));
    return 1;
}

static int unmap_one(void)
{
    char *p = pages(32);

    CHECK(!munmap(p, K4) && kept(p, 1, 32));
    CHECK(!munmap(p + 31 * K4, K4) && kept(p, 1, 31));
    CHECK(!munmap(p + 14 * K4, 4 * K4) && kept(p, 1, 14) && kept(p, 18, 31));
    return 1;
}

static int unmap_all(void)
{
    char *p = pages(16);
    int i;

    for (i = 0; i < 16; i++) {
        CHECK(kept(p, i, 16));
        CHECK(!munmap(p + i * K4, K4));
    }
    for (i = 0; i < 16; i++) {
        CHECK(touch(p + i * K4, 0) == SIGSEGV);
    }
    return 1;
}

/* Mapping more, and giving back what is not aligned. */
static int trim(void)
{
    enum { ALIGN = 1 << 20 };
    char *p = mmap(NULL, ALIGN + 5 * K4 + ALIGN, RW, ANON, -1, 0), *q;

    q = p + -(uintptr_t)p % ALIGN;
    memset(q, 9, ALIGN + 5 * K4);
    CHECK(p == q || !munmap(p, q - p));
    CHECK(!munmap(q + ALIGN + 5 * K4, p + ALIGN - q));
    CHECK(is(q, 0, ALIGN / K4 + 5, 9));
    CHECK(!munmap(q, ALIGN + 5 * K4) && touch(q + ALIGN, 0) == SIGSEGV);
    return 1;
}

static int protect_one(void)
{
    char *p = pages(32);

    CHECK(!mprotect(p + 3 * K4, K4, PROT_READ));
    memset(p, 7, 3 * K4);
    memset(p + 4 * K4, 7, 28 * K4);
    CHECK(kept(p, 3, 4));
    CHECK(!mprotect(p + UNIT, K4, PROT_NONE) && is(p, 17, 32, 7));
    return 1;
}

static int protect_more(void)
{
    char *p = mmap(NULL, 4 * UNIT, PROT_NONE, ANON | MAP_NORESERVE, -1, 0);

    CHECK(!mprotect(p + 3 * K4, 2 * K4, RW));
    memset(p + 3 * K4, 7, 2 * K4);
    CHECK(!mprotect(p + 14 * K4, 20 * K4, RW));
    memset(p + 14 * K4, 7, 20 * K4);
    CHECK(is(p, 3, 5, 7) && touch(p + 3 * UNIT, 0) == SIGSEGV);
    return 1;
}

/* When all of a unit has the same rights, they are real. */
static int protect_all(void)
{
    char *p = pages(16);
    int i;

    for (i = 15; i >= 0; i--) {
        CHECK(!touch(p + i * K4, 1));
        CHECK(!mprotect(p + i * K4, K4, PROT_READ));
    }
    CHECK(touch(p, 1) == SIGSEGV && touch(p + 15 * K4, 1) == SIGSEGV);
    CHECK(!mprotect(p + 5 * K4, K4, RW) && !touch(p + 5 * K4, 1));
    return 1;
}

static int protect_small(void)
{
    char *p = mmap(NULL, K4, RW, ANON, -1, 0);

    p[0] = 7;
    CHECK(!mprotect(p, K4, PROT_READ) && touch(p, 1) == SIGSEGV && p[0] == 7);
    CHECK(!mprotect(p, K4, PROT_NONE) && touch(p, 0) == SIGSEGV);
    CHECK(!mprotect(p, K4, RW) && !touch(p, 1));
    CHECK(!munmap(p, K4) && touch(p, 0) == SIGSEGV);
    return 1;
}

static int protect_hole(void)
{
    char *p = pages(32);

    CHECK(!munmap(p + 3 * K4, K4));
    errno = 0;
    CHECK(mprotect(p + 3 * K4, K4, PROT_READ) == -1 && errno == ENOMEM);
    errno = 0;
    CHECK(mprotect(p, 32 * K4, PROT_READ) == -1 && errno == ENOMEM);
    return 1;
}

static int dontneed(void)
{
    char *p = pages(64);

    CHECK(!madvise(p + K4, K4, MADV_DONTNEED));
    CHECK(kept(p, 0, 1) && is(p, 1, 2, 0) && kept(p, 2, 64));
    CHECK(!madvise(p + 10 * K4, 30 * K4, MADV_DONTNEED));
    CHECK(kept(p, 2, 10) && is(p, 10, 40, 0) && kept(p, 40, 64));
    CHECK(!mprotect(p + 50 * K4, K4, PROT_READ));
    CHECK(!madvise(p + 50 * K4, K4, MADV_DONTNEED) && is(p, 50, 51, 0));
    return 1;
}

static int other_advice(void)
{
    char *p = pages(32);

    CHECK(!madvise(p + K4, K4, MADV_WILLNEED));
    CHECK(!posix_madvise(p + K4, K4, POSIX_MADV_RANDOM));
    CHECK(!posix_madvise(p + 3 * K4, K4, POSIX_MADV_DONTNEED));
    CHECK(kept(p, 0, 32));
    return 1;
}

static int wipe_on_fork(void)
{
    char *p = mmap(NULL, K4, RW, ANON, -1, 0);
    int status;

    p[0] = 7;
    CHECK(!madvise(p, K4, MADV_WIPEONFORK));
    if (!fork()) {
        _exit(p[0]);
    }
    CHECK(wait(&status) > 0 && status == 0 && p[0] == 7);
    return 1;
}

static int remap_grow(void)
{
    char *p = mmap(NULL, 8 * K4, RW, ANON, -1, 0), *q;

    memset(p, 7, 8 * K4);
    q = mremap(p, 8 * K4, 3 * K4, 0);
    CHECK(q == p && is(p, 0, 3, 7));
    /* What comes back is new. */
    q = mremap(p, 3 * K4, 40 * K4, MREMAP_MAYMOVE);
    CHECK(q != MAP_FAILED && is(q, 0, 3, 7) && is(q, 3, 40, 0));
    memset(q, 8, 40 * K4);
    q = mremap(q, 40 * K4, 200 * K4, MREMAP_MAYMOVE);
    CHECK(q != MAP_FAILED && is(q, 0, 40, 8) && is(q, 40, 200, 0));
    CHECK(!munmap(q, 200 * K4) && touch(q, 0) == SIGSEGV
          && touch(q + 199 * K4, 0) == SIGSEGV);
    return 1;
}

static int remap_part(void)
{
    char *p = pages(32), *to = pages(32), *q;

    q = mremap(p + 5 * K4, K4, K4, MREMAP_MAYMOVE | MREMAP_FIXED, to + 9 * K4);
    CHECK(q == to + 9 * K4 && is(q, 0, 1, 6));
    CHECK(kept(to, 0, 9) && kept(to, 10, 32));
    CHECK(kept(p, 0, 5) && kept(p, 6, 32));
    q = mremap(p + 10 * K4, 12 * K4, 30 * K4, MREMAP_MAYMOVE);
    CHECK(q != MAP_FAILED && is(q, 0, 1, 11) && is(q, 11, 12, 22)
          && is(q, 12, 30, 0));
    CHECK(kept(p, 6, 10) && kept(p, 22, 32));
    return 1;
}

static int remap_offset(void)
{
    int fd = file(80);
    char *p = mmap(NULL, 4 * K4, RW, MAP_SHARED, fd, 5 * K4);

    CHECK(p != MAP_FAILED);
    p = mremap(p, 4 * K4, 50 * K4, MREMAP_MAYMOVE);
    CHECK(p != MAP_FAILED && shows(p, 0, 50, 5));
    CHECK(!munmap(p, 50 * K4) && touch(p + 49 * K4, 0) == SIGSEGV);
    return 1;
}

static int sync_one(void)
{
    char *p = pages(32);

    CHECK(!msync(p + 3 * K4, K4, MS_SYNC));
    CHECK(!msync(p + 3 * K4, 20 * K4, MS_SYNC));
    CHECK(!munmap(p + 3 * K4, K4));
    errno = 0;
    CHECK(msync(p + 3 * K4, K4, MS_ASYNC) == -1 && errno == ENOMEM);
    return 1;
}

static int core(void)
{
    unsigned char vec[48];
    char *p = pages(48);
    int i;

    memset(vec, 0xee, sizeof(vec));
    CHECK(!mincore(p + 3 * K4, 40 * K4, vec));
    for (i = 0; i < 40; i++) {
        CHECK(vec[i] == 1);
    }
    CHECK(vec[40] == 0xee);
    CHECK(!munmap(p + 20 * K4, K4));
    errno = 0;
    CHECK(mincore(p + 20 * K4, K4, vec) == -1 && errno == ENOMEM);
    return 1;
}

static long locked_kb(void)
{
    FILE *f = fopen("/proc/self/status", "r");
    char line[256];
    long kb = -1;

    while (f && fgets(line, sizeof(line), f)) {
        sscanf(line, "VmLck: %ld", &kb);
    }
    if (f) {
        fclose(f);
    }
    return kb;
}

static int lock_one(void)
{
    char *p = pages(32);
    long kb;

    CHECK(!mlock(p + 3 * K4, K4) && !mlock(p + 4 * K4, K4));
    kb = locked_kb();
    CHECK(kb >= 8);
    CHECK(!munlock(p + 4 * K4, K4) && locked_kb() >= 4);
    CHECK(!munlock(p, 32 * K4) && locked_kb() == 0);
    return 1;
}

/* A unit of a file that is now memory, and its contents are thrown away. */
static int dontneed_replaced(void)
{
    int fd = file(48);
    char *p = pages(48);

    CHECK(mmap(p, 3 * UNIT, RW, MAP_PRIVATE | MAP_FIXED, fd, 0) == p);
    CHECK(mmap(p, UNIT / 2, RW, ANON | MAP_FIXED, -1, 0) == p);
    CHECK(mmap(p + UNIT / 2, UNIT / 2, RW, ANON | MAP_FIXED, -1, 0)
          == p + UNIT / 2);
    CHECK(mmap(p + 20 * K4, K4, RW, ANON | MAP_FIXED, -1, 0) == p + 20 * K4);
    memset(p, 9, 2 * UNIT);
    CHECK(!madvise(p, UNIT, MADV_DONTNEED) && is(p, 0, 16, 0));
    CHECK(!madvise(p + 20 * K4, K4, MADV_DONTNEED) && is(p, 20, 21, 0));
    memset(p, 9, 2 * UNIT);
    CHECK(!madvise(p, 3 * UNIT, MADV_DONTNEED));
    CHECK(is(p, 0, 16, 0) && is(p, 20, 21, 0));
    CHECK(p[16 * K4] == 100 + 16 && p[19 * K4] == 100 + 19
          && p[21 * K4] == 100 + 21 && p[47 * K4] == (char)(100 + 47));
    return 1;
}

/*
 * Random calls on 128 pages; after each, all pages are what they should be. The
 * only call that may be refused, and then does nothing, is MADV_DONTNEED of a
 * file's pages.
 */
static int random_calls_from(uint64_t state)
{
    enum { N = 128, CALLS = 400, NONE = 256 };
    /* What is to be seen, and what is when that is thrown away. */
    int fd = file(N), should[N], behind[N], call, from, n, i;
    char *p = pages(N), *q, *r;

    for (i = 0; i < N; i++) {
        should[i] = i + 1;
        behind[i] = 0;
    }
    for (call = 0; call < CALLS; call++) {
        int any = 0, hole = 0, of_file = 0, kind, offset;

        state = state * 6364136223846793005u + 1442695040888963407u;
        n = 1 + (state >> 60 ? state >> 56 & 7 : state >> 54 & 63);
        from = (state >> 32 & 0xffff) % (N - n + 1);
        offset = (state >> 16 & 0xffff) % (N - n + 1);
        kind = (state >> 46 & 0xff) % 9;
        q = p + from * K4;
        for (i = from; i < from + n; i++) {
            any |= should[i] != NONE;
            hole |= should[i] == NONE;
            of_file |= should[i] != NONE && behind[i];
        }
        switch (kind) {
        case 0:
            CHECK(!munmap(q, n * K4));
            for (i = 0; i < n; i++) {
                should[from + i] = NONE;
            }
            break;
        case 1:
            errno = 0;
            if (!madvise(q, n * K4, MADV_DONTNEED) || errno == ENOMEM) {
                CHECK(hole == (errno == ENOMEM));
                for (i = from; i < from + n; i++) {
                    should[i] = should[i] == NONE ? NONE : behind[i];
                }
            } else {
                CHECK(errno == EINVAL && of_file);
            }
            break;
        case 2:
            CHECK(mmap(q, n * K4, RW, MAP_PRIVATE | MAP_FIXED, fd, offset * K4)
                  == q);
            for (i = 0; i < n; i++) {
                should[from + i] = behind[from + i] = (100 + offset + i) & 255;
            }
            break;
        case 3:
            if (!hole) {
                CHECK(!mprotect(q, n * K4, PROT_READ));
                CHECK(!mprotect(q, n * K4, RW));
            }
            break;
        case 4:
            errno = 0;
            i = mmap(q, n * K4, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0) == q;
            CHECK(any ? !i && errno == EEXIST : i);
            for (i = from; i < from + n && !any; i++) {
                should[i] = behind[i] = 0;
            }
            break;
        case 5:
            CHECK(mmap(q, n * K4, RW, ANON | MAP_FIXED, -1, 0) == q);
            for (i = 0; i < n; i++) {
                memset(q + i * K4, call + i, K4);
                should[from + i] = (call + i) & 255;
                behind[from + i] = 0;
            }
            break;
        case 6:
            for (i = from; i < from + n; i++) {
                if (should[i] != NONE) {
                    memset(p + i * K4, call + i, K4);
                    should[i] = (call + i) & 255;
                }
            }
            break;
        default:
            /* To another place: what is there, or new memory. */
            if (from < offset + n && offset < from + n) {
                break;
            }
            if (kind == 7) {
                CHECK(mmap(q, n * K4, RW, ANON | MAP_FIXED, -1, 0) == q);
                memset(q, call, n * K4);
                for (i = from; i < from + n; i++) {
                    should[i] = call & 255;
                    behind[i] = 0;
                }
            } else if (hole) {
                break;
            }
            r = mremap(q, n * K4, n * K4, MREMAP_MAYMOVE | MREMAP_FIXED,
                       p + offset * K4);
            if (r == MAP_FAILED) {
                /* Of several mappings: what was in the way may be gone. */
                CHECK(kind == 8 && errno == EFAULT);
                CHECK(!munmap(p + offset * K4, n * K4));
            }
            for (i = 0; i < n; i++) {
                should[offset + i] = r == MAP_FAILED ? NONE : should[from + i];
                behind[offset + i] = behind[from + i];
                should[from + i] = r == MAP_FAILED ? should[from + i] : NONE;
            }
        }
        for (i = 0; i < N; i++) {
            if (should[i] != NONE
                && (p[i * K4] != (char)should[i]
                    || p[i * K4 + K4 - 1] != (char)should[i])) {
                printf("# call %d, kind %d of %d pages from %d: page %d\n",
                       call, kind, n, from, i);
                return 0;
            }
        }
    }
    munmap(p, N * K4);
    close(fd);
    return 1;
}

static int random_calls(void)
{
    uint64_t seed;

    for (seed = 1; seed <= SEEDS; seed++) {
        if (!random_calls_from(seed)) {
            printf("# seed %u of %u\n", (unsigned)seed, SEEDS);
            return 0;
        }
    }
    return 1;
}

/* Two threads, each all odd or all even pages of the same units. */
enum { THREAD_PAGES = 64, ROUNDS = 150 };
static char *shared_pages;

static void *worker(void *argument)
{
    uintptr_t me = (uintptr_t)argument - 1, i, state = me + 1;
    unsigned char value[THREAD_PAGES] = { 0 };

    for (i = 0; i < ROUNDS; i++) {
        unsigned page;
        char *p;

        state = state * 6364136223846793005u + 1442695040888963407u;
        page = (state >> 40) % (THREAD_PAGES / 2) * 2 + me;
        p = shared_pages + page * K4;
        if (value[page] && (p[0] != (char)value[page]
                            || p[K4 - 1] != (char)value[page])) {
            return NULL;
        }
        switch (state >> 33 & 3) {
        case 0:
            if (munmap(p, K4)
                || mmap(p, K4, RW, ANON | MAP_FIXED, -1, 0) != p || p[9]) {
                return NULL;
            }
            break;
        case 1:
            if (mmap(p, K4, RW, ANON | MAP_FIXED, -1, 0) != p || p[K4 - 9]) {
                return NULL;
            }
            break;
        case 2:
            if (mprotect(p, K4, PROT_READ) || mprotect(p, K4, RW)) {
                return NULL;
            }
            break;
        case 3:
            if (madvise(p, K4, MADV_DONTNEED) || p[99]) {
                return NULL;
            }
        }
        value[page] = i % 255 + 1;
        memset(p, value[page], K4);
    }
    return argument;
}

static int threads(void)
{
    pthread_t one;
    void *result = NULL;

    shared_pages = pages(THREAD_PAGES);
    CHECK(!pthread_create(&one, NULL, worker, (void *)2));
    CHECK(worker((void *)1) == (void *)1);
    CHECK(!pthread_join(one, &result) && result == (void *)2);
    return 1;
}

static char *handler_page;
static volatile sig_atomic_t handled, handler_failed;

static void on_alarm(int signum)
{
    (void)signum;
    handled++;
    handler_failed |= mprotect(handler_page, K4, handled & 1 ? PROT_READ : RW);
}

static int handler(void)
{
    struct itimerval often = { { 0, 2000 }, { 0, 2000 } };
    char *p = pages(32);
    int i;

    handler_page = p + 3 * K4;
    signal(SIGALRM, on_alarm);
    setitimer(ITIMER_REAL, &often, NULL);
    for (i = 0; i < 2000 || handled < 20; i++) {
        CHECK(!mprotect(p + 5 * K4, K4, i & 1 ? PROT_READ : RW));
    }
    CHECK(handled && !handler_failed);
    return 1;
}

static volatile int stop;

static void *changer(void *p)
{
    while (!stop) {
        if (mprotect((char *)p + 3 * K4, K4, PROT_READ)
            || mprotect((char *)p + 3 * K4, K4, RW)) {
            return NULL;
        }
    }
    return p;
}

static int forks(void)
{
    char *p = pages(32);
    pthread_t one;
    void *result;
    int i, status;

    CHECK(!pthread_create(&one, NULL, changer, p));
    for (i = 0; i < 20; i++) {
        pid_t pid = fork();

        if (!pid) {
            alarm(10);
            _exit(munmap(p + 9 * K4, K4) || !kept(p, 10, 32));
        }
        CHECK(waitpid(pid, &status, 0) == pid && !status);
    }
    stop = 1;
    CHECK(!pthread_join(one, &result) && result == p);
    return 1;
}

/* --- what holds in no process with larger pages --- */

static int guard_page(void)
{
    char *p = pages(32);

    CHECK(!mprotect(p + 3 * K4, K4, PROT_NONE));
    CHECK(touch(p + 3 * K4, 0) == SIGSEGV);
    return 1;
}

static int read_only_page(void)
{
    char *p = pages(32);

    CHECK(!mprotect(p + 3 * K4, K4, PROT_READ));
    CHECK(touch(p + 3 * K4, 1) == SIGSEGV);
    return 1;
}

static int use_after_unmap(void)
{
    char *p = pages(32);

    CHECK(!munmap(p + 3 * K4, K4));
    CHECK(touch(p + 3 * K4, 0) == SIGSEGV);
    return 1;
}

static int overrun(void)
{
    char *room = pages(32), *p;

    munmap(room, 32 * K4);
    p = mmap(room, K4, RW, ANON | MAP_FIXED, -1, 0);
    CHECK(p == room && touch(p + K4, 1) == SIGSEGV);
    return 1;
}

static int past_end_of_file(void)
{
    int fd = file(1);
    char *p = mmap(NULL, 2 * K4, RW, MAP_SHARED, fd, 0);

    CHECK(p != MAP_FAILED && touch(p + K4, 0) == SIGBUS);
    return 1;
}

static int fixed_shared(void)
{
    int fd = file(40);
    char *p = pages(32), *q = p + 3 * K4;

    CHECK(mmap(q, K4, RW, MAP_SHARED | MAP_FIXED, fd, 3 * K4) == q);
    return 1;
}

static int fixed_over_shared(void)
{
    int fd = file(40);
    char *p = mmap(NULL, 32 * K4, RW, MAP_SHARED, fd, 0), *q = p + 3 * K4;

    CHECK(mmap(q, K4, RW, ANON | MAP_FIXED, -1, 0) == q);
    return 1;
}

static int fixed_sees_file(void)
{
    int fd = file(40);
    char *p = pages(32), *q = p + 3 * K4;

    CHECK(mmap(q, K4, RW, MAP_PRIVATE | MAP_FIXED, fd, 3 * K4) == q);
    CHECK(pwrite(fd, "new", 3, 3 * K4) == 3 && !memcmp(q, "new", 3));
    return 1;
}

static int hint(void)
{
    char *p = pages(32);

    CHECK(!munmap(p, 32 * K4));
    CHECK(mmap(p + 3 * K4, K4, RW, ANON, -1, 0) == p + 3 * K4);
    return 1;
}

static int attach(void)
{
    int id = shmget(IPC_PRIVATE, K4, IPC_CREAT | 0600);
    char *p = pages(32);
    void *q;

    if (id < 0) {
        exit(2);
    }
    munmap(p, 32 * K4);
    q = shmat(id, p + 3 * K4, 0);
    shmctl(id, IPC_RMID, NULL);
    CHECK(q == p + 3 * K4);
    return 1;
}

static int gives_back(void)
{
    unsigned char vec;
    char *p = pages(32);

    CHECK(!madvise(p + 3 * K4, K4, MADV_DONTNEED));
    CHECK(!mincore(p + 3 * K4, K4, &vec) && !vec);
    return 1;
}

static int wipe_part(void)
{
    char *p = pages(32);

    CHECK(!madvise(p + 3 * K4, K4, MADV_WIPEONFORK));
    return 1;
}

static int raw_call(void)
{
    char *p = pages(32);

    CHECK(!syscall(SYS_munmap, p, K4) && kept(p, 1, 32));
    return 1;
}

/* --- the table --- */

static const struct {
    const char *name;
    int (*run)(void);
    char shim, bare;        /* does it hold? */
} cases[] = {
    { "mmap: a file from its page 3, private", offset_private, 1, 0 },
    { "mmap: a file from its page 17, shared", offset_shared, 1, 0 },
    { "MAP_FIXED: memory in a unit", fixed_anonymous, 1, 0 },
    { "MAP_FIXED: memory at its start", fixed_first_page, 1, 0 },
    { "MAP_FIXED: memory from unit to unit", fixed_long, 1, 0 },
    { "MAP_FIXED: segments, as a loader", fixed_loader, 1, 0 },
    { "MAP_FIXED: a file where units agree", fixed_same_file, 1, 0 },
    { "MAP_FIXED: a file up to its end", fixed_past_end, 1, 0 },
    { "MAP_FIXED: a shared file alone in its unit", fixed_shared_alone, 1, 0 },
    { "MAP_FIXED_NOREPLACE", noreplace, 1, 0 },
    { "munmap of pages keeps the others", unmap_one, 1, 0 },
    { "munmap of all pages, one by one", unmap_all, 1, 0 },
    { "munmap of what is not aligned", trim, 1, 0 },
    { "mprotect of a page leaves others alone", protect_one, 1, 0 },
    { "mprotect opens pages", protect_more, 1, 0 },
    { "mprotect of all pages, one by one", protect_all, 1, 0 },
    { "mprotect of a mapping of one page", protect_small, 1, 1 },
    { "mprotect of what is not there", protect_hole, 1, 0 },
    { "MADV_DONTNEED of pages", dontneed, 1, 0 },
    { "MADV_DONTNEED of memory instead of a file", dontneed_replaced, 1, 0 },
    { "other advice on pages", other_advice, 1, 0 },
    { "MADV_WIPEONFORK of a mapping of one page", wipe_on_fork, 1, 1 },
    { "mremap: shrink and grow", remap_grow, 1, 0 },
    { "mremap of a part", remap_part, 1, 0 },
    { "mremap of a file from its page 5", remap_offset, 1, 0 },
    { "msync of a page", sync_one, 1, 0 },
    { "mincore: a byte for each page", core, 1, 0 },
    { "munlock of a page leaves others locked", lock_one, 1, 0 },
    { "random calls", random_calls, 1, 0 },
    { "two threads in the same units", threads, 1, 0 },
    { "calls from a signal handler", handler, 1, 0 },
    { "fork while another thread calls", forks, 1, 0 },
    { "a guard page raises SIGSEGV", guard_page, 0, 0 },
    { "a read-only page raises SIGSEGV", read_only_page, 0, 0 },
    { "a page that was unmapped raises SIGSEGV", use_after_unmap, 0, 0 },
    { "the page behind a mapping raises SIGSEGV", overrun, 0, 0 },
    { "the page behind a file's end raises SIGBUS", past_end_of_file, 0, 0 },
    { "MAP_FIXED: a shared file in a unit", fixed_shared, 0, 0 },
    { "MAP_FIXED: memory in a shared mapping", fixed_over_shared, 0, 0 },
    { "MAP_FIXED: writes to the file are seen", fixed_sees_file, 0, 0 },
    { "mmap: a hint that is free is taken", hint, 0, 0 },
    { "shmat at a page", attach, 0, 0 },
    { "MADV_DONTNEED of a page gives it back", gives_back, 0, 0 },
    { "MADV_WIPEONFORK of a part", wipe_part, 0, 0 },
    { "a system call that is not libc's function", raw_call, 0, 0 },
};

/* 1 if the case holds, 0 if not, or how else it ended. */
static int run(int (*function)(void))
{
    int status;
    pid_t pid;

    fflush(stdout);
    pid = fork();
    if (!pid) {
        alarm(120);
        exit(!function());
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid) {
        return -1;
    }
    if (WIFSIGNALED(status)) {
        printf("# signal %d\n", WTERMSIG(status));
        return WTERMSIG(status) == SIGALRM ? -1 : 0;
    }
    return WEXITSTATUS(status) > 1 ? -1 : !WEXITSTATUS(status);
}

int main(int argc, char **argv)
{
    struct sigaction action = { .sa_handler = on_fault };
    unsigned i, n = sizeof(cases) / sizeof(*cases), failed = 0;
    const char *how = argc > 1 ? argv[argc - 1] : "plain";
    int set = argc == 3 && !strcmp(argv[1], "-s"), size;

    if ((strcmp(how, "plain") && strcmp(how, "shim") && strcmp(how, "bare"))
        || argc > 2 + set) {
        fputs("usage: pagecompat-test [-s] plain|shim|bare\n", stderr);
        return 2;
    }
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("TAP version 13\n1..%u\n", n + 1);

    if (set && set_page_size(UNIT)) {
        printf("Bail out! PR_SET_PAGE_SIZE: %s\n", strerror(errno));
        return 1;
    }
    size = get_page_size();
    size = size < 0 ? K4 : size;
    failed = size != (*how == 'p' ? K4 : UNIT);
    printf("%s 1 - the page size is %d\n", failed ? "not ok" : "ok", size);

    for (i = 0; i < n; i++) {
        int holds = *how == 'p' ? 1 : *how == 's' ? cases[i].shim :
                    cases[i].bare;
        int ok;

        if (set && (cases[i].run == threads || cases[i].run == forks)) {
            printf("ok %u - %s # SKIP page size set after the start\n", i + 2,
                   cases[i].name);
            continue;
        }
        ok = run(cases[i].run) == holds;

        failed += !ok;
        printf("%s %u - %s%s\n", ok ? "ok" : "not ok", i + 2, cases[i].name,
               holds ? "" : ": no, as stated");
    }
    return failed != 0;
}
