/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Threads use memory on all processors while one of them has it protected,
 * shared with children, swapped out, collapsed and moved: shoot SECONDS.
 *
 * Each change needs a shootdown, and others use the memory before that.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

#define UNIT    65536UL
#define HUGE    (1UL << 21)
#define SIZE    (2 * HUGE)
#define UNITS   (SIZE / UNIT)
#define THREADS 16

static volatile char *memory;
static volatile int over;
static volatile unsigned long uses[THREADS];
static int processors;

static void must(int ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "shoot: %s: %s\n", what, strerror(errno));
        exit(1);
    }
}

/* It comes back with all rights: try again. */
static void fault(int number)
{
    (void)number;
}

/* In each page, a word that nobody writes and one for each thread. */
static volatile unsigned *word(unsigned long unit, unsigned long page, int n)
{
    return (volatile unsigned *)(memory + unit * UNIT + page * 4096) + n;
}

static void *use(void *number)
{
    const int n = (int)(long)number;
    unsigned seed = n, count = 0, written[UNITS][16] = { };
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(n % processors, &set);
    must(!sched_setaffinity(0, sizeof(set), &set), "sched_setaffinity");
    while (!over) {
        seed = seed * 1103515245 + 12345;
        const unsigned unit = seed >> 8 & (UNITS - 1), page = seed >> 16 & 15;

        if (*word(unit, page, 0) != unit * 16 + page + 1 ||
            *word(unit, page, n + 1) != written[unit][page]) {
            printf("shoot: unit %u, page %u is wrong\n", unit, page);
            exit(1);
        }
        *word(unit, page, n + 1) = written[unit][page] = ++count;
        uses[n]++;
    }
    return NULL;
}

int main(int argc, char **argv)
{
    const time_t end = time(NULL) + (argc > 1 ? atoi(argv[1]) : 10);
    struct sigaction action = { .sa_handler = fault, .sa_flags = SA_NODEFER };
    int compact = open("/proc/sys/vm/compact_memory", O_WRONLY);
    unsigned long rounds = 0, all = 0;
    pthread_t threads[THREADS];
    unsigned seed = 1;

    processors = sysconf(_SC_NPROCESSORS_ONLN);
    memory = mmap(NULL, SIZE + HUGE, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(memory != MAP_FAILED, "mmap");
    memory += -(unsigned long)memory % HUGE;
    for (unsigned page = 0; page < UNITS * 16; page++) {
        *word(page / 16, page % 16, 0) = page + 1;
    }
    sigaction(SIGSEGV, &action, NULL);
    for (long n = 0; n < processors && n < THREADS; n++) {
        must(!pthread_create(&threads[n], NULL, use, (void *)n),
             "pthread_create");
    }

    for (; time(NULL) < end; rounds++) {
        char *at;
        size_t length;

        seed = seed * 1103515245 + 12345;
        at = (char *)memory + (seed >> 8 & (UNITS - 1)) * UNIT;
        length = (1 + (seed >> 20 & 15)) * UNIT;
        if (at + length > memory + SIZE) {
            length = (char *)memory + SIZE - at;
        }
        switch (seed >> 16 & 7) {
        case 0: case 1:
            must(!mprotect(at, length, PROT_READ), "mprotect");
            sched_yield();
            must(!mprotect(at, length, PROT_READ | PROT_WRITE), "mprotect");
            break;
        case 2: {
            const pid_t child = fork();

            must(child >= 0, "fork");
            if (!child) {
                memset(at, 0, length);
                _exit(0);
            }
            must(waitpid(child, NULL, 0) == child, "waitpid");
            break;
        }
        case 3: case 4:
            /* Pages that are shared, or locked for a moment, stay. */
            madvise(at, length, MADV_PAGEOUT);
            break;
        case 5:
            /* If there is a huge page to be had. */
            madvise((char *)memory, HUGE, MADV_COLLAPSE);
            break;
        case 6:
            madvise(at, length, MADV_COLD);
            break;
        default:
            if (compact >= 0 && write(compact, "1", 1) < 0) {
                compact = -1;
            }
        }
    }
    over = 1;
    for (long n = 0; n < processors && n < THREADS; n++) {
        must(!pthread_join(threads[n], NULL), "pthread_join");
        all += uses[n];
    }
    printf("shoot: %lu rounds, %lu uses, all right\n", rounds, all);
    return 0;
}
