/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * filetail FOLDER [all]: what a process sees in a mapped file at, and behind,
 * its end while the file grows and shrinks in each way that there is, against
 * read() and a model in memory; and whether what it stores there then gets to
 * the disk. TAP. FOLDER says on which file system; `all` is the whole matrix.
 *
 * Behind the end, up to the end of the process's page, there are zeroes, or
 * what was stored there; behind that SIGBUS. So it is with pages of any size,
 * and the same must be right on an unmodified kernel with 4 KB pages.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/futex.h>
#include <linux/magic.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "page-size.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef UFFD_FEATURE_MINOR_SHMEM
#define UFFD_FEATURE_MINOR_SHMEM (1 << 10)
#endif

enum { PAGE = 4096, MAX = 4 * 65536, DATA = 0xa0, STORED = 0x77 };

static size_t page_size;
static bool keeps;      /* the file system keeps what was stored behind the end */
static char path[300], source_path[300], title[200];
static int fd = -1, tests, failures;
static unsigned int turn;       /* makes data differ from case to case */

/* The file as it should be. */
static unsigned char model[MAX], now[MAX];
static size_t size;
/* What was stored behind its end: may be there, or not. */
static unsigned char stored[MAX];
/* The pages of a private mapping that are the process's own, and those. */
static bool own[MAX / PAGE];
static unsigned char copy[MAX];

static unsigned char *map;
static bool shared, writable;

static void die(const char *what)
{
    printf("Bail out! %s: %s: %s\n", title, what, strerror(errno));
    exit(1);
}

static size_t up(size_t n, size_t unit)
{
    return (n + unit - 1) / unit * unit;
}

static bool failed;

__attribute__((format(printf, 1, 2)))
static void wrong(const char *format, ...)
{
    va_list list;

    if (failed) {
        return;         /* the first one says it */
    }
    failed = true;
    printf("# %s: ", title);
    va_start(list, format);
    vprintf(format, list);
    va_end(list);
    printf("\n");
}

static void verdict(const char *name)
{
    tests++;
    failures += failed;
    printf("%s %d - %s\n", failed ? "not ok" : "ok", tests, name);
    fflush(stdout);
    failed = false;
}

static void skip(const char *name, const char *why)
{
    tests++;
    printf("ok %d - %s # SKIP %s\n", tests, name, why);
}

static sigjmp_buf back;

static void on_fault(int number)
{
    siglongjmp(back, number);
}

/* The signal that a load, or a store, of a byte raises; or 0. */
static int touch(volatile unsigned char *p, int value)
{
    int number = sigsetjmp(back, 1);

    if (!number) {
        if (value >= 0) {
            *p = value;
        } else {
            (void)*p;
        }
    }
    return number;
}

/* --- the file and its model --- */

static void written(size_t from, size_t n, int value)
{
    if (from > size) {
        memset(model + size, 0, from - size);
    }
    memset(model + from, value, n);
    memset(stored + from, 0, n);
    if (from + n > size) {
        size = from + n;
    }
}

static void resized(size_t n)
{
    if (n > size) {
        memset(model + size, 0, n - size);
    } else {
        memset(stored, 0, sizeof(stored));
        for (size_t i = up(n, page_size) / PAGE; i < MAX / PAGE; i++) {
            own[i] = false;
        }
    }
    size = n;
}

static void check_file(int file, const char *when)
{
    ssize_t n = pread(file, now, MAX, 0);

    if (n != (ssize_t)size) {
        wrong("%s: %zd bytes, not %zu (%s)", when, n, size, strerror(errno));
        return;
    }
    for (size_t i = 0; i < size; i++) {
        if (now[i] != model[i] && !(keeps && stored[i] && now[i] == stored[i])) {
            wrong("%s: byte %zu of %zu of the file is %#x, not %#x", when, i,
                  size, now[i], model[i]);
            return;
        }
        model[i] = now[i];
        stored[i] = 0;
    }
}

/* The file by read(), and the same through the mapping. */
static void check(const char *when)
{
    size_t end = up(size, page_size);

    check_file(fd, when);
    for (size_t i = 0; i < end && !failed; i++) {
        int number = i % PAGE ? 0 : touch(map + i, -1);
        int want = own[i / PAGE] ? copy[i] : i < size ? model[i] : 0;

        if (number) {
            wrong("%s: signal %d at %zu of %zu", when, number, i, size);
        } else if (map[i] != want && !(i >= size && !own[i / PAGE] &&
                                       stored[i] && map[i] == stored[i])) {
            wrong("%s: byte %zu of %zu is mapped as %#x, not %#x", when, i,
                  size, map[i], want);
        }
    }
    if (!failed && touch(map + end, -1) != SIGBUS) {
        wrong("%s: no SIGBUS at %zu of %zu", when, end, size);
    }
}

/* A byte, through the mapping. */
static void store(size_t at, int value)
{
    size_t start = at / PAGE * PAGE;
    int number;

    if (!shared && !own[at / PAGE]) {
        /* What is read then stays. */
        memcpy(copy + start, map + start, PAGE);
    }
    number = touch(map + at, value);
    if (number) {
        wrong("store at %zu of %zu: signal %d", at, size, number);
    } else if (!shared) {
        own[at / PAGE] = true;
        copy[at] = value;
    } else if (at < size) {
        model[at] = value;
    } else {
        stored[at] = value;
    }
}

/* --- ways to grow and to shrink: 0, or an errno value --- */

static unsigned char *buffer;   /* aligned for O_DIRECT */

static int data(void)
{
    int value = DATA + ++turn % 64;

    memset(buffer, value, MAX);
    return value;
}

static int done(ssize_t got, size_t from, size_t n, int value)
{
    if (got < 0) {
        return errno;
    }
    if (got != (ssize_t)n) {
        wrong("%zd instead of %zu bytes", got, n);
    }
    written(from, got, value);
    return 0;
}

static int way_pwrite(size_t from, size_t n)
{
    int value = data();

    return done(pwrite(fd, buffer, n, from), from, n, value);
}

static int way_write(size_t from, size_t n)
{
    int value = data();

    lseek(fd, from, SEEK_SET);
    return done(write(fd, buffer, n), from, n, value);
}

static int way_append(size_t from, size_t n)
{
    int file = open(path, O_WRONLY | O_APPEND), value = data(), error;

    from = size;
    error = done(write(file, buffer, n), from, n, value);
    close(file);
    return error;
}

static int way_direct(size_t from, size_t n)
{
    int file = open(path, O_WRONLY | O_DIRECT), value = data(), error;

    if (file < 0) {
        return errno;
    }
    error = done(pwrite(file, buffer, up(n, PAGE), up(from, PAGE)),
                 up(from, PAGE), up(n, PAGE), value);
    close(file);
    return error;
}

static int way_splice(size_t from, size_t n)
{
    int ends[2], value = data(), error;
    off64_t at = from;

    n = n < 65536 ? n : 65536;
    if (pipe(ends) || write(ends[1], buffer, n) != (ssize_t)n) {
        die("pipe");
    }
    error = done(splice(ends[0], NULL, fd, &at, n, 0), from, n, value);
    close(ends[0]);
    close(ends[1]);
    return error;
}

static int from_source(size_t from, size_t n, bool send)
{
    int value = data(), error;
    int file = open(source_path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    off64_t in = 0, out = from;

    if (file < 0 || write(file, buffer, n) != (ssize_t)n) {
        die(source_path);
    }
    if (send) {
        lseek(fd, from, SEEK_SET);
        error = done(sendfile(fd, file, &in, n), from, n, value);
    } else {
        error = done(copy_file_range(file, &in, fd, &out, n, 0), from, n,
                     value);
    }
    close(file);
    return error;
}

static int way_sendfile(size_t from, size_t n)
{
    return from_source(from, n, true);
}

static int way_copy_range(size_t from, size_t n)
{
    return from_source(from, n, false);
}

static int way_clone(size_t from, size_t n)
{
    int value = data(), error = 0;
    int file = open(source_path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    struct file_clone_range range = { file, 0, up(n, PAGE), up(from, PAGE) };

    if (file < 0 || write(file, buffer, up(n, PAGE)) < 0) {
        die(source_path);
    }
    if (ioctl(fd, FICLONERANGE, &range)) {
        error = errno;
    } else {
        written(up(from, PAGE), up(n, PAGE), value);
    }
    close(file);
    return error;
}

static int way_ftruncate(size_t from, size_t n)
{
    if (ftruncate(fd, from + n)) {
        return errno;
    }
    resized(from + n);
    return 0;
}

static int way_fallocate(size_t from, size_t n)
{
    if (fallocate(fd, 0, from, n)) {
        return errno;
    }
    resized(from + n);
    return 0;
}

static int way_keep_size(size_t from, size_t n)
{
    if (fallocate(fd, FALLOC_FL_KEEP_SIZE, from, n)) {
        return errno;
    }
    return way_ftruncate(from, n);
}

static int way_zero_range(size_t from, size_t n)
{
    if (fallocate(fd, FALLOC_FL_ZERO_RANGE, from, n)) {
        return errno;
    }
    written(from, n, 0);
    return 0;
}

static int way_insert_range(size_t from, size_t n)
{
    (void)from;
    n = up(n, PAGE);
    /* It takes private copies away, too. */
    if (!shared || size < 2 * PAGE || size + n > MAX - 65536) {
        return EOPNOTSUPP;
    }
    if (fallocate(fd, FALLOC_FL_INSERT_RANGE, PAGE, n)) {
        return errno;
    }
    memset(model + size, 0, MAX - size);
    memmove(model + PAGE + n, model + PAGE, size - PAGE);
    memset(model + PAGE, 0, n);
    memset(stored, 0, sizeof(stored));
    size += n;
    return 0;
}

static int way_shrink(size_t from, size_t n)
{
    size_t less = size / 2;

    (void)from;
    (void)n;
    if (ftruncate(fd, less)) {
        return errno;
    }
    resized(less);
    return 0;
}

static int way_empty(size_t from, size_t n)
{
    int value = data();

    (void)from;
    if (ftruncate(fd, 0)) {
        return errno;
    }
    resized(0);
    return done(pwrite(fd, buffer, n, 0), 0, n, value);
}

static const struct way {
    const char *name;
    int (*run)(size_t from, size_t n);
} ways[] = {
    { "pwrite", way_pwrite },
    { "ftruncate", way_ftruncate },
    { "write", way_write },
    { "O_APPEND", way_append },
    { "O_DIRECT", way_direct },
    { "splice", way_splice },
    { "sendfile", way_sendfile },
    { "copy_file_range", way_copy_range },
    { "clone", way_clone },
    { "fallocate", way_fallocate },
    { "KEEP_SIZE and ftruncate", way_keep_size },
    { "ZERO_RANGE", way_zero_range },
    { "INSERT_RANGE", way_insert_range },
    { "shrink", way_shrink },
    { "empty and pwrite", way_empty },
};
enum { WAYS = sizeof(ways) / sizeof(*ways) };

/* --- a case --- */

enum touched { UNTOUCHED, READ, WRITTEN, POPULATED, LOCKED, TOUCHES };
static const char *const touch_names[TOUCHES] = {
    "untouched", "read", "written", "populated", "locked"
};

/* Out of the page cache, so that the next read() is from the disk. */
static void put_away(void)
{
    munmap(map, 2 * MAX);
    if (fsync(fd)) {
        wrong("fsync: %s", strerror(errno));
    }
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}

static void open_file(size_t bytes)
{
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0) {
        die(path);
    }
    memset(stored, 0, sizeof(stored));
    memset(own, 0, sizeof(own));
    size = 0;
    if (way_pwrite(0, bytes)) {
        die("pwrite");
    }
}

static void map_file(enum touched how)
{
    int flags = shared ? MAP_SHARED : MAP_PRIVATE;

    /* What can be written of a private mapping is copied at once then. */
    writable = shared || how < POPULATED;
    if (how == POPULATED) {
        flags |= MAP_POPULATE;
    }
    if (how == LOCKED && mlockall(MCL_CURRENT | MCL_FUTURE)) {
        die("mlockall");
    }
    map = mmap(NULL, 2 * MAX, PROT_READ | (writable ? PROT_WRITE : 0), flags,
               fd, 0);
    if (map == MAP_FAILED) {
        die("mmap");
    }
    if (how == READ || how == WRITTEN) {
        for (size_t i = up(size, PAGE); i < up(size, page_size); i += PAGE) {
            if (how == WRITTEN) {
                store(i + 7, STORED);
            } else if (touch(map + i, -1)) {
                wrong("signal at %zu", i);
            }
        }
    }
}

/* The last byte, and one in each page that has come. */
static void store_some(size_t before)
{
    if (!writable) {
        return;
    }
    for (size_t i = up(before, PAGE); i + 9 < size; i += PAGE) {
        store(i + 9, STORED + 1);
    }
    if (size) {
        store(size - 1, STORED + 2);
    }
}

/* From BYTES, in a first WAY by N at GAP behind the end; then in others. */
static bool one(size_t bytes, enum touched how, size_t gap, size_t n,
                unsigned int way)
{
    size_t before;
    int error;

    snprintf(title, sizeof(title), "%zu bytes, %s, %s: %s of %zu at +%zu",
             bytes, shared ? "shared" : "private", touch_names[how],
             ways[way].name, n, gap);
    open_file(bytes);
    map_file(how);
    error = ways[way].run(size + gap, n);
    if (error == EOPNOTSUPP || error == EINVAL || error == ENOTTY) {
        munmap(map, 2 * MAX);
        munlockall();
        close(fd);
        return false;
    }
    if (error) {
        wrong("%s", strerror(error));
    }
    check("grown");
    store_some(bytes);
    check("stored");
    for (unsigned int i = 1; i <= 3 && !failed; i++) {
        before = size;
        if (size > MAX / 2) {
            way_shrink(0, 0);
        }
        if (writable && page_size > PAGE) {
            for (size_t j = up(size, PAGE); j < up(size, page_size);
                 j += 2 * PAGE) {
                store(j + 7, STORED);
            }
        }
        ways[(way + i * 5 + turn) % WAYS].run(size + gap, n / i);
        check(ways[(way + i * 5 + turn) % WAYS].name);
        store_some(before);
    }
    check("last");
    if (how == LOCKED) {
        munlockall();
    }
    put_away();
    check_file(fd, "from the disk");
    close(fd);
    return true;
}

static void run_matrix(bool all)
{
    static const size_t starts[] = { 100, 20480, 4096, 5000, 61440, 65000 };
    static const struct { size_t gap, n; } steps[] = {
        { 0, 16384 }, { 8192, 4096 }, { 0, 300 }, { 5000, 100 }, { 0, 70000 },
        { 70000, 5000 },
    };
    char name[160];

    for (unsigned int way = 0; way < WAYS; way++) {
        for (int kind = 0; kind < 2; kind++) {
            unsigned int cases = 0;

            shared = kind;
            for (unsigned int start = 0; start < (all ? 6 : 2); start++) {
                for (unsigned int step = 0; step < (all ? 6 : 2); step++) {
                    for (unsigned int how = 0; how < TOUCHES; how++) {
                        cases += one(starts[start], how, steps[step].gap,
                                     steps[step].n, way);
                    }
                }
            }
            snprintf(name, sizeof(name), "%s, %s", ways[way].name,
                     shared ? "shared" : "private");
            if (cases) {
                verdict(name);
            } else {
                skip(name, "not on this file system");
            }
        }
    }
    unlink(path);
    unlink(source_path);
}

/* --- one thread uses the tail while the file grows --- */

static volatile bool over;

static void *use_tail(void *unused)
{
    (void)unused;
    while (!over) {
        for (size_t i = 0; i < MAX && !over; i += PAGE) {
            /* The others do not look at this byte. */
            if (!touch(map + i, -1) && i % (2 * PAGE)) {
                touch(map + i + 7, STORED);
            }
        }
    }
    return NULL;
}

static void run_race(bool all)
{
    static const unsigned int grows[] = { 0, 1, 2, 3, 5, 7, 9 };
    pthread_t thread;

    snprintf(title, sizeof(title), "race");
    shared = true;
    open_file(100);
    map_file(UNTOUCHED);
    over = false;
    if (pthread_create(&thread, NULL, use_tail, NULL)) {
        die("pthread_create");
    }
    for (unsigned int i = 0; i < (all ? 10000 : 200) && !failed; i++) {
        size_t before = size, at = size + i % 3 * 5000;

        if (size > MAX / 2) {
            way_shrink(0, 0);
        } else {
            ways[grows[i % 7]].run(at, 100 + i * 977 % 20000);
        }
        for (size_t j = before; j < size && !failed; j++) {
            if (j % PAGE != 7 && map[j] != model[j]) {
                wrong("%s: byte %zu of %zu is mapped as %#x, not %#x",
                      ways[grows[i % 7]].name, j, size, map[j], model[j]);
            }
        }
    }
    over = true;
    pthread_join(thread, NULL);
    for (size_t i = 0; i + 9 < size; i += PAGE) {
        store(i + 9, STORED + 1);
    }
    put_away();
    if (pread(fd, now, MAX, 0) != (ssize_t)size) {
        wrong("size");
    }
    for (size_t i = 0; i < size && !failed; i++) {
        if (i % PAGE != 7 && now[i] != model[i]) {
            wrong("byte %zu of %zu is %#x on the disk, not %#x", i, size,
                  now[i], model[i]);
        }
    }
    close(fd);
    unlink(path);
    verdict("a thread uses the tail while the file grows");
}

/* --- what else wants a page that is like any other --- */

static size_t behind;   /* an offset in the tail */

static unsigned char *tail_of(int file, size_t bytes)
{
    unsigned char *p;

    if (ftruncate(file, 0) || ftruncate(file, bytes)) {
        die("ftruncate");
    }
    p = mmap(NULL, page_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (p == MAP_FAILED) {
        die("mmap");
    }
    return p;
}

static void run_shared(int file, const char *what)
{
    unsigned char *p = tail_of(file, 100), *q;
    int *word = (int *)(p + behind), status;
    char name[100];
    int ends[2];

    snprintf(title, sizeof(title), "%s", what);
    errno = 0;
    if (syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0)) {
        wrong("FUTEX_WAKE: %s", strerror(errno));
    }
    if (!fork()) {
        *word = 42;
        syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
        _exit(0);
    }
    while (!*(volatile int *)word) {
        syscall(SYS_futex, word, FUTEX_WAIT, 0, NULL, NULL, 0);
    }
    wait(&status);
    q = mmap(NULL, page_size, PROT_READ, MAP_SHARED, file, 0);
    if (*(int *)(q + behind) != 42) {
        wrong("another mapping has %d", *(int *)(q + behind));
    }
    munmap(q, page_size);
    q = mmap(NULL, page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
    q[behind + 8] = 1;
    if (*(int *)(q + behind) != 42 || p[behind + 8]) {
        wrong("a private copy has %d", *(int *)(q + behind));
    }
    munmap(q, page_size);
    if (pipe(ends) || write(ends[1], p + behind, 8) != 8 ||
        read(ends[0], p + behind + 8, 8) != 8 || p[behind + 8] != 42) {
        wrong("pipe");
    }
    munmap(p, page_size);
    snprintf(name, sizeof(name), "%s: futex, fork, another mapping", what);
    verdict(name);
}

/* The page size of the process changes while a tail is mapped. */
static void run_size_changes(int file)
{
    unsigned char *p;
    int status;

    snprintf(title, sizeof(title), "PR_SET_PAGE_SIZE");
    if (!fork()) {
        if (set_page_size(65536)) {
            _exit(77);
        }
        if (ftruncate(file, 0) || ftruncate(file, 100)) {
            _exit(2);
        }
        p = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        alarm(20);
        if (p == MAP_FAILED || touch(p + 8192, -1) ||
            mprotect(p, 65536, PROT_READ) || set_page_size(4096) ||
            mprotect(p, 65536, PROT_READ | PROT_WRITE)) {
            _exit(3);
        }
        /* That it ends is what counts. */
        touch(p + 8192, 1);
        _exit(0);
    }
    wait(&status);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        skip("a store after the page size has changed", "no such call");
        return;
    }
    if (status) {
        wrong("status %#x", status);
    }
    verdict("a store after the page size has changed");
}

static void run_userfaultfd(void)
{
    struct uffdio_api api = { .api = UFFD_API,
                              .features = UFFD_FEATURE_MINOR_SHMEM };
    int uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    int file = memfd_create("filetail", 0);
    size_t bytes = page_size > PAGE ? 20000 : 100;
    unsigned char *p = tail_of(file, bytes), *other;
    struct uffdio_register range = { .range = { (size_t)p, page_size },
                                     .mode = UFFDIO_REGISTER_MODE_MISSING };
    struct uffdio_copy fill = { .dst = (size_t)p, .src = (size_t)buffer,
                                .len = page_size };
    struct uffdio_zeropage zero = { .range = range.range };
    struct uffdio_continue go_on = { .range = range.range };

    snprintf(title, sizeof(title), "userfaultfd");
    if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api) ||
        ioctl(uffd, UFFDIO_REGISTER, &range)) {
        skip("userfaultfd", "not in this kernel");
        return;
    }
    memset(buffer, 's', page_size);
    if (ioctl(uffd, UFFDIO_COPY, &fill) || fill.copy != (long)page_size) {
        wrong("UFFDIO_COPY: %s, %lld", strerror(errno), (long long)fill.copy);
    } else if (p[0] != 's' || p[page_size - 1] != 's') {
        wrong("contents");
    }
    if (ftruncate(file, 0) || ftruncate(file, bytes)) {
        die("ftruncate");
    }
    if (ioctl(uffd, UFFDIO_ZEROPAGE, &zero)) {
        wrong("UFFDIO_ZEROPAGE: %s", strerror(errno));
    } else if (p[page_size - 1]) {
        wrong("contents");
    }
    ioctl(uffd, UFFDIO_UNREGISTER, &range.range);
    /* What another mapping has brought is only to be mapped here. */
    other = mmap(NULL, page_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    memset(other, 'o', page_size);
    madvise(p, page_size, MADV_DONTNEED);
    range.mode = UFFDIO_REGISTER_MODE_MINOR;
    if (ioctl(uffd, UFFDIO_REGISTER, &range) ||
        ioctl(uffd, UFFDIO_CONTINUE, &go_on)) {
        wrong("UFFDIO_CONTINUE: %s", strerror(errno));
    } else if (p[0] != 'o' || p[page_size - 1] != 'o') {
        wrong("contents");
    }
    munmap(other, page_size);
    munmap(p, page_size);
    close(file);
    close(uffd);
    verdict("userfaultfd");
}

/* KB that are free, with what lies in the processors' own lists: by megabytes
 * after many processes have ended, and not a part of MemFree. */
static long free_kb(void)
{
    FILE *file = fopen("/proc/meminfo", "r");
    char line[200];
    long kb = 0, pages;

    while (file && fgets(line, sizeof(line), file)) {
        if (sscanf(line, "MemFree: %ld", &kb) == 1) {
            break;
        }
    }
    if (!file || !freopen("/proc/zoneinfo", "r", file)) {
        die("/proc/zoneinfo");
    }
    while (fgets(line, sizeof(line), file)) {
        if (sscanf(line, " count: %ld", &pages) == 1) {
            kb += pages * 4;
        }
    }
    fclose(file);
    return kb;
}

/* A page table that maps a tail is freed: nothing must be lost with it. */
static void run_collapse(int rounds)
{
    enum { HUGE = 2 << 20, TAIL = 60 << 10 };
    long before, lost;
    int collapsed = 0, status;

    snprintf(title, sizeof(title), "collapse");
    before = free_kb();
    for (int i = 0; i < rounds; i++) {
        if (!fork()) {
            unsigned char *p = mmap(NULL, 2 * HUGE, PROT_NONE,
                                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            int file = memfd_create("filetail", 0);

            p = (unsigned char *)up((size_t)p, HUGE);
            if (ftruncate(file, HUGE - TAIL) ||
                mmap(p, HUGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
                     file, 0) == MAP_FAILED) {
                _exit(1);
            }
            for (size_t j = 0; j < HUGE; j += PAGE) {
                if (touch(p + j, j / PAGE) &&
                    j < up(HUGE - TAIL, page_size)) {
                    _exit(1);
                }
            }
            if (madvise(p, HUGE, MADV_COLLAPSE)) {
                _exit(77);
            }
            for (size_t j = 0; j < up(HUGE - TAIL, page_size); j += PAGE) {
                if (p[j] != j / PAGE % 256) {
                    _exit(2);
                }
            }
            _exit(0);
        }
        wait(&status);
        collapsed += !status;
        if (status && status != 77 << 8) {
            wrong("status %#x", status);
        }
    }
    sleep(1);
    lost = before - free_kb();
    printf("# %d of %d collapsed, %ld kB less free\n", collapsed, rounds, lost);
    if (!collapsed && page_size > PAGE) {
        wrong("nothing was collapsed");
    }
    /* Fifteen pages a round were. */
    if (lost > rounds * TAIL / 1024 / 2) {
        wrong("%ld kB lost in %d rounds", lost, rounds);
    }
    verdict("collapse");
}

int main(int argc, char **argv)
{
    struct sigaction action = { .sa_handler = on_fault };
    bool all = argc > 2 && !strcmp(argv[2], "all");
    struct statfs where;
    int file;

    if (argc < 2 || statfs(argv[1], &where)) {
        fprintf(stderr, "usage: filetail FOLDER [all]\n");
        return 2;
    }
    page_size = sysconf(_SC_PAGESIZE);
    behind = page_size > PAGE ? 2 * PAGE : 200;
    keeps = where.f_type == TMPFS_MAGIC;
    snprintf(path, sizeof(path), "%s/filetail", argv[1]);
    snprintf(source_path, sizeof(source_path), "%s/filetail-source", argv[1]);
    buffer = aligned_alloc(65536, MAX);
    action.sa_flags = SA_NODEFER;
    sigaction(SIGBUS, &action, NULL);
    sigaction(SIGSEGV, &action, NULL);

    run_matrix(all);
    run_race(all);
    file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (file < 0) {
        die(path);
    }
    run_shared(file, "file");
    run_size_changes(file);
    close(file);
    unlink(path);
    file = memfd_create("filetail", 0);
    run_shared(file, "memfd");
    close(file);
    run_userfaultfd();
    /* What is free moves by some MB anyhow; a page table's loss is 60 KB. */
    run_collapse(all ? 2500 : 400);
    printf("1..%d\n", tests);
    return failures > 0;
}
