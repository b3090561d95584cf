/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Does a process with pages of another size see the system calls of a kernel
 * with such pages? TAP, one size for each run: pageabi [4096|16384|65536].
 *
 * What each call must answer is in a table, and was derived from the manual
 * pages and from what Linux does with its PAGE_SIZE on any architecture (arm64
 * with 64 KB pages is the model). The table is the same for all sizes, so a run
 * with 4096 checks it against a kernel that emulates nothing.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "page-size.h"

#ifndef __NR_mseal
#define __NR_mseal 462
#endif

static size_t S;                /* the page size */
static unsigned number, failed;
static int have_units;          /* the kernel knows PR_SET_PAGE_SIZE */

static void report(int ok, const char *name)
{
    printf("%s %u - %s\n", ok ? "ok" : "not ok", ++number, name);
    failed += !ok;
}

static void skip(const char *name, const char *why)
{
    printf("ok %u - %s # SKIP %s\n", ++number, name, why);
}

static void expect(int ok, const char *name)
{
    report(ok, name);
    if (!ok) {
        printf("# errno %d (%s)\n", errno, strerror(errno));
    }
}

static void die(const char *what)
{
    printf("Bail out! %s: %s\n", what, strerror(errno));
    exit(1);
}

/* N pages of memory, with as much free address space on both sides. */
static char *pages(size_t n)
{
    char *p = mmap(NULL, 3 * n * S, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED) {
        die("mmap");
    }
    munmap(p, n * S);
    munmap(p + 2 * n * S, n * S);
    return p + n * S;
}

/* --- the table --- */

enum { ALIGNED, MISALIGNED, ZERO, WRAPS, HUGE_LENGTH, CASES };

enum { ANY = -1 };              /* some error: Linux has changed its mind */

static const char *const case_names[CASES] = {
    "aligned", "misaligned address", "length 0", "length that rounds to 0",
    "length beyond the address space"
};

/* Each gets the address and the length, and says 0 or an error number. */
static int result(long r)
{
    return r == -1 ? errno : 0;
}

static int do_munmap(char *p, size_t n)
{
    return result(munmap(p, n));
}

static int do_mprotect(char *p, size_t n)
{
    return result(mprotect(p, n, PROT_READ));
}

static int do_madvise(char *p, size_t n)
{
    return result(madvise(p, n, MADV_DONTNEED));
}

static int do_mlock(char *p, size_t n)
{
    return result(mlock(p, n));
}

static int do_munlock(char *p, size_t n)
{
    return result(munlock(p, n));
}

static int do_msync(char *p, size_t n)
{
    return result(msync(p, n, MS_SYNC));
}

static int do_mincore(char *p, size_t n)
{
    static unsigned char vec[64];

    return result(mincore(p, n, vec));
}

static int do_mseal(char *p, size_t n)
{
    return result(syscall(__NR_mseal, p, n, 0));
}

static int do_mremap(char *p, size_t n)
{
    return result((long)mremap(p, S, n, 0));
}

static int do_mmap_fixed(char *p, size_t n)
{
    return result((long)mmap(p, n, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS |
                             MAP_FIXED, -1, 0));
}

static int do_mmap_noreplace(char *p, size_t n)
{
    /* Past the pages, where nothing is. */
    return result((long)mmap(p + 4 * S, n, PROT_READ, MAP_PRIVATE |
                             MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0));
}

/* The address is the offset here. */
static int do_mmap_offset(char *p, size_t n)
{
    return result(syscall(SYS_mmap, NULL, n, PROT_READ, MAP_PRIVATE |
                          MAP_ANONYMOUS, -1, (size_t)p % (4 * S) + S));
}

static const struct row {
    const char *name;
    int (*call)(char *, size_t);
    int expected[CASES];
} table[] = {
    /*              aligned misaligned zero    wraps   beyond */
    { "munmap",     do_munmap,      { 0, EINVAL, EINVAL, EINVAL, EINVAL } },
    { "mprotect",   do_mprotect,    { 0, EINVAL, 0,      ENOMEM, ENOMEM } },
    { "madvise",    do_madvise,     { 0, EINVAL, 0,      EINVAL, EINVAL } },
    { "mlock",      do_mlock,       { 0, 0,      0,      0,      EINVAL } },
    { "munlock",    do_munlock,     { 0, 0,      0,      0,      EINVAL } },
    { "msync",      do_msync,       { 0, EINVAL, 0,      0,      ENOMEM } },
    { "mincore",    do_mincore,     { 0, EINVAL, 0,      ENOMEM, ENOMEM } },
    { "mseal",      do_mseal,       { 0, EINVAL, 0,      EINVAL, EINVAL } },
    { "mremap",     do_mremap,      { 0, EINVAL, EINVAL, EINVAL, ANY } },
    { "mmap MAP_FIXED", do_mmap_fixed,
                                    { 0, EINVAL, EINVAL, ENOMEM, ENOMEM } },
    { "mmap MAP_FIXED_NOREPLACE", do_mmap_noreplace,
                                    { 0, EINVAL, EINVAL, ENOMEM, ENOMEM } },
    { "mmap offset", do_mmap_offset,
                                    { 0, EINVAL, EINVAL, ENOMEM, ENOMEM } },
};

/* By how much an address is wrong: by what would be right with 4 KB pages. */
static size_t off_by(void)
{
    return S > 4096 ? 4096 : 1;
}

static void run_table(void)
{
    const size_t lengths[CASES] = { S, S, 0, -1, -2 * S };
    size_t r;
    unsigned c;
    char name[128];

    for (r = 0; r < sizeof(table) / sizeof(*table); r++) {
        for (c = 0; c < CASES; c++) {
            char *p = pages(4);
            int got;

            errno = 0;
            got = table[r].call(p + (c == MISALIGNED) * off_by(), lengths[c]);
            snprintf(name, sizeof(name), "%s, %s: %s", table[r].name,
                     case_names[c], !table[r].expected[c] ? "success" :
                     table[r].expected[c] == ANY ? "an error" :
                     strerrorname_np(table[r].expected[c]));
            if (got && table[r].expected[c] == ANY) {
                got = ANY;
            }
            if (got == ENOSYS) {
                skip(name, "not in this kernel");
                continue;
            }
            report(got == table[r].expected[c], name);
            if (got != table[r].expected[c]) {
                printf("# got %s\n", got ? strerrorname_np(got) : "success");
            }
        }
    }
}

/* --- what calls reach --- */

static sigjmp_buf back;

static void on_fault(int signum)
{
    siglongjmp(back, signum);
}

/* The signal that a load, or a store, of a byte raises; or 0. */
static int touch(volatile char *p, int write)
{
    int signum = sigsetjmp(back, 1);

    if (!signum) {
        if (write) {
            *p = 1;
        } else {
            (void)*p;
        }
    }
    return signum;
}

static void run_reach(void)
{
    unsigned char vec[8];
    char *p, *q;
    size_t i;

    p = pages(4);
    memset(p, 7, 4 * S);
    expect(!mprotect(p + S, 1, PROT_READ) && touch(p + 2 * S - 1, 1) == SIGSEGV
           && !touch(p + 2 * S, 1) && !touch(p + S - 1, 1),
           "mprotect of one byte is of one page");

    p = pages(4);
    memset(p, 7, 4 * S);
    expect(!madvise(p + S, 1, MADV_DONTNEED) && !p[S] && !p[2 * S - 1]
           && p[S - 1] == 7 && p[2 * S] == 7,
           "madvise of one byte is of one page");

    p = pages(4);
    memset(p, 7, 4 * S);
    expect(!munmap(p + S, 1) && touch(p + S, 0) == SIGSEGV
           && touch(p + 2 * S - 1, 0) == SIGSEGV && p[S - 1] == 7
           && p[2 * S] == 7, "munmap of one byte is of one page");

    p = pages(4);
    memset(p, 7, 4 * S);
    q = mremap(p, 2 * S + 1, S + 1, 0);
    expect(q == p && p[2 * S - 1] == 7 && touch(p + 2 * S, 0) == SIGSEGV
           && p[3 * S] == 7, "mremap shrinks by pages");
    q = mremap(p, 2 * S, 3 * S + 1, MREMAP_MAYMOVE);
    expect(q != MAP_FAILED && !((size_t)q % S) && q[0] == 7 && q[2 * S - 1] == 7
           && !touch(q + 4 * S - 1, 1), "mremap grows by pages");
    p = pages(4);
    errno = 0;
    expect(mremap(q, S, S, MREMAP_MAYMOVE | MREMAP_FIXED, p + off_by())
           == MAP_FAILED && errno == EINVAL, "mremap to a misaligned address");
    expect(mremap(q, S, S, MREMAP_MAYMOVE | MREMAP_FIXED, p) == p && p[0] == 7,
           "mremap to an aligned address");

    p = mmap(NULL, 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
             0);
    expect(p != MAP_FAILED && !((size_t)p % S) && !touch(p + S - 1, 1),
           "mmap of one byte is of one page");
    q = mmap(NULL, 1, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    expect(q != MAP_FAILED && !((size_t)q % S), "so is the next");
    munmap(p, 1);
    p = mmap(p + off_by(), S, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    expect(p != MAP_FAILED && !((size_t)p % S),
           "mmap with a misaligned hint gives an aligned address");
    errno = 0;
    expect(mmap(q, 1, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS |
                MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED && errno == EEXIST,
           "MAP_FIXED_NOREPLACE where something is: EEXIST");

    p = pages(4);
    memset(vec, 0xee, sizeof(vec));
    p[0] = p[3 * S - 1] = 1;
    expect(!mincore(p, 3 * S + 1, vec) && vec[0] == 1 && !vec[1] && vec[2] == 1
           && !vec[3] && vec[4] == 0xee, "mincore has a byte for each page");

    p = pages(4);
    errno = 0;
    expect(!munmap(p + S, S) && msync(p, 3 * S, MS_SYNC) == -1
           && errno == ENOMEM, "msync across a hole: ENOMEM");
    errno = 0;
    expect(mprotect(p, 2 * S, PROT_READ) == -1 && errno == ENOMEM,
           "mprotect across a hole: ENOMEM");
    errno = 0;
    expect(mlock(p + S, 1) == -1 && errno == ENOMEM, "mlock of a hole: ENOMEM");

    /* Values stay with what is around them. */
    p = pages(8);
    for (i = 0; i < 8 * S; i += 512) {
        p[i] = (char)(i / 512 % 251);
    }
    mprotect(p + S, 2 * S, PROT_READ);
    mprotect(p + S, 2 * S, PROT_READ | PROT_WRITE);
    q = mremap(p + 2 * S, 3 * S, 3 * S, MREMAP_MAYMOVE | MREMAP_FIXED,
               pages(4));
    for (i = 0; q != MAP_FAILED && i < 3 * S
         && q[i] == (char)((i + 2 * S) / 512 % 251); i += 512) {
    }
    expect(i == 3 * S, "contents move along");
}

static void run_heap(void)
{
    char *old = sbrk(0), *now;
    size_t rest;

    expect(sbrk(1) == old && !touch(old, 1), "brk by one byte");
    now = sbrk(0);
    rest = -(size_t)now % S;
    expect(!rest || !touch(now + rest - 1, 1),
           "the heap ends at the end of a page");
    expect(touch(now + rest, 0) == SIGSEGV, "and nothing is behind it");
    expect(sbrk(10 * S) == now && !touch(now + 10 * S - 1, 1), "brk grows");
    expect(!brk(old) && touch(old + S + (-(size_t)old % S), 0) == SIGSEGV,
           "brk shrinks");
}

static void run_stack(void)
{
    volatile char deep[40 * 65536];
    size_t i;

    for (i = sizeof(deep); i; i -= 4096) {
        deep[i - 1] = 1;
    }
    report(1, "the stack grows");
}

static void run_shm(void)
{
    int id = shmget(IPC_PRIVATE, 5000, IPC_CREAT | 0600);
    char *p, *q, *room;
    struct shmid_ds info;

    if (id < 0) {
        skip("shmat", "no System V shared memory");
        return;
    }
    p = shmat(id, NULL, 0);
    expect(p != (char *)-1 && !((size_t)p % S), "shmat");
    q = shmat(id, NULL, 0);
    p[S - 1] = 42;
    expect(q != (char *)-1 && q != p && q[S - 1] == 42,
           "all of a segment's last page is shared");
    expect(!shmctl(id, IPC_STAT, &info) && info.shm_segsz == 5000,
           "the segment has the size that was asked for");
    room = pages(4);
    munmap(room, 4 * S);
    errno = 0;
    expect(shmat(id, room + off_by(), 0) == (void *)-1 && errno == EINVAL,
           "shmat, misaligned address: EINVAL");
    expect(shmat(id, room + S + off_by(), SHM_RND) == room + S,
           "shmat, SHM_RND rounds down to a page");
    errno = 0;
    expect(shmdt(room + S + off_by()) == -1 && errno == EINVAL,
           "shmdt, misaligned address: EINVAL");
    expect(!shmdt(room + S) && touch(room + S, 0) == SIGSEGV
           && touch(room + 2 * S - 1, 0) == SIGSEGV, "shmdt of all");
    shmdt(p);
    shmdt(q);
    shmctl(id, IPC_RMID, NULL);
}

/* A file that ends 100 bytes into its second 4 KB. */
static void check_file(const char *what, int fd, int flags)
{
    enum { SIZE = 4196 };
    char name[96], data[SIZE], *p;
    size_t i, last = SIZE / S * S + S;

    memset(data, 'x', SIZE);
    if (ftruncate(fd, 0) || pwrite(fd, data, SIZE, 0) != SIZE) {
        die(what);
    }
#define NAME(text) (snprintf(name, sizeof(name), "%s: " text, what), name)
    errno = 0;
    expect(mmap(NULL, S, PROT_READ, flags, fd, off_by()) == MAP_FAILED
           && errno == EINVAL, NAME("misaligned offset: EINVAL"));
    p = mmap(NULL, 3 * S, PROT_READ | PROT_WRITE, flags, fd, 0);
    expect(p != MAP_FAILED && !((size_t)p % S), NAME("mmap"));
    for (i = 0; i < SIZE && p[i] == 'x'; i++) {
    }
    expect(i == SIZE, NAME("contents"));
    for (; i < last && !touch(p + i, 0) && !p[i]; i++) {
    }
    expect(i == last, NAME("zeroes to the end of the last page"));
    expect(touch(p + last, 0) == SIGBUS && touch(p + last, 1) == SIGBUS,
           NAME("SIGBUS behind it"));
    expect(!touch(p + last - 1, 1) && p[last - 1] == 1,
           NAME("the last page can be written to its end"));
    expect(!mprotect(p, S, PROT_READ) && !mprotect(p, S, PROT_READ | PROT_WRITE)
           && !touch(p + last - 2, 1) && p[last - 1] == 1,
           NAME("and again, after mprotect"));
    expect(lseek(fd, 0, SEEK_END) == SIZE, NAME("which does not make it longer"));
    munmap(p, 3 * S);

    /* The file grows into its tail. */
    p = mmap(NULL, 3 * S, PROT_READ | PROT_WRITE, flags, fd, 0);
    touch(p + last - 1, 0);
    expect(pwrite(fd, "grown", 5, last - 5) == 5 && !memcmp(p + last - 5,
           "grown", 5), NAME("what is written there later is seen"));
    expect(!ftruncate(fd, 2 * last) && !touch(p + 2 * last - 1, 0)
           && !p[2 * last - 1], NAME("a longer file can be read to its end"));
    expect(!ftruncate(fd, 0) && touch(p, 0) == SIGBUS,
           NAME("an empty file has no page"));
    munmap(p, 3 * S);
#undef NAME
}

static void run_files(const char *path)
{
    int fd = memfd_create("pageabi", 0);

    check_file("memfd, private", fd, MAP_PRIVATE);
    check_file("memfd, shared", fd, MAP_SHARED);
    close(fd);
    if (!path) {
        return;
    }
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0) {
        die(path);
    }
    check_file("file, private", fd, MAP_PRIVATE);
    check_file("file, shared", fd, MAP_SHARED);
    close(fd);
    unlink(path);
}

static int read_byte(void *p)
{
    return *(volatile char *)p == 1;
}

static void run_userfaultfd(void)
{
    static char stack[16384] __attribute__((aligned(16)));
    struct uffdio_api api = { .api = UFFD_API };
    struct uffdio_register range = { .mode = UFFDIO_REGISTER_MODE_MISSING };
    struct uffdio_copy copy = { 0 };
    struct uffdio_zeropage zero = { 0 };
    int fd = syscall(SYS_userfaultfd, O_CLOEXEC);
    char *p = pages(4), *source = pages(4);
    struct uffd_msg message;
    pid_t pid;
    int status;

    if (fd < 0) {
        skip("userfaultfd", "not in this kernel");
        return;
    }
    if (ioctl(fd, UFFDIO_API, &api)) {
        die("UFFDIO_API");
    }
#define REGISTER(start_, len_) ( \
        errno = 0, range.range.start = (size_t)(start_), \
        range.range.len = (len_), ioctl(fd, UFFDIO_REGISTER, &range) \
        ? errno : 0)
    expect(REGISTER(p + off_by(), S) == EINVAL, "register, misaligned: EINVAL");
    expect(REGISTER(p, S + off_by()) == EINVAL, "register, odd length: EINVAL");
    expect(REGISTER(p, 0) == EINVAL, "register, length 0: EINVAL");
    expect(REGISTER(p, -S) == EINVAL, "register, too long: EINVAL");
    expect(REGISTER(p, 2 * S) == 0, "register");
#undef REGISTER
    memset(source, 9, S);
    copy = (struct uffdio_copy){ .dst = (size_t)p, .src = (size_t)source,
                                 .len = off_by() };
    errno = 0;
    expect(ioctl(fd, UFFDIO_COPY, &copy) == -1 && errno == EINVAL,
           "copy, odd length: EINVAL");
    copy.dst = (size_t)p + off_by();
    copy.len = S;
    errno = 0;
    expect(ioctl(fd, UFFDIO_COPY, &copy) == -1 && errno == EINVAL,
           "copy, misaligned: EINVAL");
    copy.dst = (size_t)p;
    expect(!ioctl(fd, UFFDIO_COPY, &copy) && copy.copy == (long long)S
           && p[0] == 9 && p[S - 1] == 9, "copy of a page");

    /* A thread of the same memory touches the end of the second page. */
    pid = clone(read_byte, stack + sizeof(stack), CLONE_VM | SIGCHLD,
                p + 2 * S - 1);
    expect(read(fd, &message, sizeof(message)) == sizeof(message)
           && message.event == UFFD_EVENT_PAGEFAULT
           && message.arg.pagefault.address == (size_t)p + S,
           "the event names the page");
    zero.range.start = (size_t)p + S;
    zero.range.len = S;
    expect(!ioctl(fd, UFFDIO_ZEROPAGE, &zero) && zero.zeropage == (long long)S,
           "fill it");
    expect(waitpid(pid, &status, 0) == pid && !status, "which lets it go on");
    close(fd);
}

/* A number that smaps tells of the mapping at P, in bytes. */
static size_t smaps(const void *p, const char *field)
{
    FILE *f = fopen("/proc/self/smaps", "r");
    char line[512];
    size_t start, end, value = 0;
    int inside = 0;

    while (f && fgets(line, sizeof(line), f)) {
        if (sscanf(line, "%zx-%zx ", &start, &end) == 2) {
            inside = start <= (size_t)p && (size_t)p < end;
        } else if (inside && !strncmp(line, field, strlen(field))) {
            value = strtoul(line + strlen(field) + 1, NULL, 10) * 1024;
        }
    }
    if (f) {
        fclose(f);
    }
    return value;
}

static long faults(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt;
}

static void run_memory(void)
{
    enum { N = 64 };
    char *p = pages(N), *big;
    long before, after;
    size_t i;

    expect(smaps(p, "KernelPageSize") == S, "smaps: KernelPageSize of mmap");
    before = faults();
    for (i = 0; i < N; i++) {
        p[i * S + (i * 4096) % S] = 1;
    }
    after = faults();
    printf("# %d pages, %ld faults\n", N, after - before);
    expect(after - before >= N && after - before <= N + 8,
           "one fault for each page that is written");
    expect(smaps(p, "Rss") == N * S, "which is all there then");

    p = pages(N);
    before = faults();
    for (i = 0; i < N * S; i += 4096) {
        touch(p + i, 0);
    }
    after = faults();
    expect(after - before <= N + 8, "one fault for each page that is read");
    expect(!smaps(p, "Anonymous"), "which takes no memory");
    before = faults();
    for (i = 0; i < N * S; i += 4096) {
        p[i] = 1;
    }
    after = faults();
    expect(after - before <= N + 8, "one more for each that is then written");
    expect(smaps(p, "Anonymous") == N * S, "which does");

    big = malloc(1 << 20);
    memset(big, 1, 1 << 20);
    expect(smaps(big + (1 << 19), "KernelPageSize") == S,
           "smaps: KernelPageSize of malloc");
    free(big);

    big = sbrk(4 * S);
    big += -(size_t)big % S;
    memset(big, 1, S);
    expect(smaps(big, "KernelPageSize") == S, "smaps: KernelPageSize of brk");
}

static void run_sizes(void)
{
    static const unsigned long bad[] = { 0, 1, 4095, 4097, 8192, 32768, 131072,
                                         2 << 20, -1UL };
    char *p = pages(4);
    size_t i;
    int status;
    pid_t pid;

    if (!have_units) {
        skip("PR_SET_PAGE_SIZE", "not in this kernel");
        return;
    }
    for (i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        errno = 0;
        if (prctl(PR_SET_PAGE_SIZE, bad[i]) != -1 || errno != EINVAL) {
            break;
        }
    }
    expect(i == sizeof(bad) / sizeof(*bad), "other sizes: EINVAL");
    expect(prctl(PR_GET_PAGE_SIZE) == (int)S, "and nothing changes");

    pid = fork();
    if (!pid) {
        errno = 0;
        _exit(prctl(PR_GET_PAGE_SIZE) != (int)S || munmap(p + off_by(), S) == 0
              || errno != EINVAL || munmap(p, 1)
              || touch(p + S - 1, 0) != SIGSEGV);
    }
    expect(waitpid(pid, &status, 0) == pid && !status, "a child inherits it");

    /* The last test: then the process has 4 KB pages. */
    p[S - 1] = 5;
    expect(!prctl(PR_SET_PAGE_SIZE, 4096) && !munmap(p, 4096)
           && !mprotect(p + S, 4096, PROT_READ)
           && (S == 4096 || p[S - 1] == 5), "back to 4096");
    expect(sbrk(100) != (void *)-1 && sbrk(300000) != (void *)-1
           && !touch((char *)sbrk(0) - 1, 1), "the heap still works");
}

/* Mappings from before the page size: 16 pages, all but the first of 4 KB. */
static char *old_mapping;

static void run_old(void)
{
    char *p = old_mapping;
    int i;

    if (S == 4096) {
        return;
    }
    expect(smaps(p, "KernelPageSize") == 4096, "old mappings have 4 KB pages");
    expect(!mprotect(p + 4096, 4096, PROT_READ) && touch(p + 4096, 1) == SIGSEGV
           && !touch(p + 8191 + 1, 1) && !touch(p + 4095, 1),
           "old: mprotect of 4 KB");
    expect(!munmap(p + 3 * 4096, 1) && touch(p + 3 * 4096, 0) == SIGSEGV
           && !touch(p + 4 * 4096, 0) && !touch(p + 3 * 4096 - 1, 0),
           "old: munmap of 4 KB");
    expect(!madvise(p + 5 * 4096, 4096, MADV_DONTNEED) && !p[5 * 4096]
           && p[6 * 4096] == 6 && p[5 * 4096 - 1] == 4, "old: madvise of 4 KB");
    expect(mremap(p + 8 * 4096, 2 * 4096, 4096, 0) == p + 8 * 4096
           && p[8 * 4096] == 8 && touch(p + 9 * 4096, 0) == SIGSEGV
           && p[10 * 4096] == 10, "old: mremap shrinks by 4 KB");
    errno = 0;
    expect(mmap(p + 4096, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS |
                MAP_FIXED, -1, 0) == MAP_FAILED && errno == EINVAL,
           "old: MAP_FIXED is by the new page size");
    for (i = 10; i < 16 && p[i * 4096] == i; i++) {
    }
    expect(i == 16, "old: the rest is as it was");
}

static void make_old(void)
{
    char *p = mmap(NULL, 64 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                   0);
    int i;

    /* At an address that is a multiple of 4 KB only. */
    p += -(size_t)p % 65536 + 4096;
    old_mapping = mmap(p, 16 * 4096, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (old_mapping != p) {
        die("mmap");
    }
    for (i = 0; i < 16; i++) {
        memset(p + i * 4096, i, 4096);
    }
}

int main(int argc, char **argv)
{
    struct sigaction action = { .sa_handler = on_fault };

    S = argc > 1 ? strtoul(argv[1], NULL, 0) : (size_t)sysconf(_SC_PAGESIZE);
    setvbuf(stdout, NULL, _IOLBF, 0);
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);

    printf("TAP version 13\n");
    make_old();
    have_units = prctl(PR_GET_PAGE_SIZE) != -1;
    if (argc > 1) {
        if (have_units) {
            expect(!prctl(PR_SET_PAGE_SIZE, S), "set the page size");
        } else if (S != 4096) {
            printf("1..0 # SKIP no PR_SET_PAGE_SIZE in this kernel\n");
            return 0;
        }
    }
    run_old();
    run_table();
    run_reach();
    run_heap();
    run_stack();
    run_shm();
    run_files(argc > 2 ? argv[2] : NULL);
    run_userfaultfd();
    run_memory();
    run_sizes();
    printf("1..%u\n", number);
    return failed != 0;
}
