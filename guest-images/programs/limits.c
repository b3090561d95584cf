/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a process may have, and a C library derives from its page size: mappings,
 * random bits of addresses, stacks. For tests; linked twice, as programs that
 * run full and as compat (docs/kernel.md).
 */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/*
 * As many mappings of 68 KB as there may be, WANTED at most. With pages of 4 KB
 * they are neighbours, and the kernel makes one of them.
 */
static int mappings(long wanted)
{
    long n = 0;

    while (n < wanted && mmap(NULL, 68 << 10, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
                              0) != MAP_FAILED) {
        n++;
    }
    printf("%ld mappings%s%s\n", n, n < wanted ? ": " : "",
           n < wanted ? strerror(errno) : "");
    return n < wanted;
}

/* Where the kernel has put things: each run is elsewhere. */
static int addresses(void)
{
    void *large = mmap(NULL, 1 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS,
                       -1, 0);
    void *small = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                       0);
    int here;

    printf("large %#zx small %#zx stack %#zx heap %#zx\n", (size_t)large,
           (size_t)small, (size_t)&here, (size_t)sbrk(0));
    return large == MAP_FAILED || small == MAP_FAILED;
}

/* All of the stack that may be relied on: POSIX promises no number. */
static void *use_stack(void *arg)
{
    volatile char room[4096];

    memset((char *)room, 1, sizeof(room));
    return (char *)arg + room[0];
}

static int thread(const char *what, size_t size, size_t guard)
{
    pthread_attr_t attr;
    pthread_t id;
    void *result = NULL;
    int error;

    pthread_attr_init(&attr);
    error = pthread_attr_setstacksize(&attr, size);
    if (!error) {
        error = pthread_attr_setguardsize(&attr, guard);
    }
    if (!error) {
        error = pthread_create(&id, &attr, use_stack, NULL);
    }
    if (!error) {
        error = pthread_join(id, &result);
    }
    pthread_attr_destroy(&attr);
    printf("%s %zu, guard %zu: %s\n", what, size, guard,
           error ? strerror(error) : result ? "runs" : "wrong result");
    return error || !result;
}

static void *own_stack;
static volatile int handled;

static void on_signal(int signum)
{
    char here;

    handled = &here >= (char *)own_stack ? signum : -1;
}

/* A signal's own stack, of the size that the library says. */
static int signal_stack(const char *what, size_t size)
{
    struct sigaction action = { .sa_handler = on_signal,
                                .sa_flags = SA_ONSTACK };
    stack_t stack = { .ss_size = size };
    int ok;

    own_stack = stack.ss_sp = malloc(size);
    handled = 0;
    ok = own_stack && !sigaltstack(&stack, NULL) &&
         !sigaction(SIGUSR1, &action, NULL) && !raise(SIGUSR1) &&
         handled == SIGUSR1;
    printf("%s %zu: %s\n", what, size, ok ? "runs" : strerror(errno));
    return !ok;
}

static int stacks(void)
{
    size_t page = sysconf(_SC_PAGESIZE);
    size_t least = sysconf(_SC_THREAD_STACK_MIN);
    int bad = 0;

    printf("page %zu\n", page);
    bad |= thread("PTHREAD_STACK_MIN", PTHREAD_STACK_MIN, page);
    bad |= thread("PTHREAD_STACK_MIN", PTHREAD_STACK_MIN, 0);
    bad |= thread("_SC_THREAD_STACK_MIN", least, page);
    bad |= thread("_SC_THREAD_STACK_MIN", least, 1);
    bad |= thread("a page more", least + page, 4 * page);
    bad |= signal_stack("_SC_SIGSTKSZ", sysconf(_SC_SIGSTKSZ));
    return bad;
}

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "mappings")) {
        return mappings(atol(argv[2]));
    }
    if (argc == 2 && !strcmp(argv[1], "addresses")) {
        return addresses();
    }
    if (argc == 2 && !strcmp(argv[1], "stacks")) {
        return stacks();
    }
    fputs("usage: limits mappings N | addresses | stacks\n", stderr);
    return 2;
}
