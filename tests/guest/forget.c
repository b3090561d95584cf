/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A page is taken from a thread that goes on using it:
 *
 *   forget mprotect|fork|reclaim SECONDS [NAME]
 *
 * This thread, on processor 0, does what needs a flush; by NAME forget.patch
 * knows it, and leaves that out.  The other one, on processor 1, uses the page
 * all the time.  With a flush it faults, and either is gone or has a page of
 * its own.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

/* A unit of any page size. */
#define SIZE 65536

static volatile char *page;
static int loads;
static volatile int uses, faults, over;

static void must(int ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "forget: %s: %s\n", what, strerror(errno));
        exit(1);
    }
}

static void run_on(int processor)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    must(!sched_setaffinity(0, sizeof(set), &set), "sched_setaffinity");
}

static void fault(int number)
{
    (void)number;
    faults = over = 1;
    /* For good: the thread has nothing more to do. */
    for (;;) {
        pause();
    }
}

static void *use(void *unused)
{
    (void)unused;
    run_on(1);
    while (!over) {
        if (loads) {
            (void)*page;
        } else {
            *page = 1;
        }
        uses++;
        /* Many instructions, which make no access. */
        for (int i = 0; i < 100000; i++) {
            __asm__ volatile("");
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    const char *what = argc > 2 ? argv[1] : "";
    pthread_t thread;
    pid_t child = 0;
    int before;

    page = mmap(NULL, 2 * SIZE, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(page != MAP_FAILED, "mmap");
    page += -(unsigned long)page % SIZE;
    memset((void *)page, 1, SIZE);
    loads = !strcmp(what, "reclaim");
    signal(SIGSEGV, fault);
    run_on(0);
    must(!pthread_create(&thread, NULL, use, NULL), "pthread_create");
    while (uses < 1000) {
        sched_yield();
    }

    prctl(PR_SET_NAME, argc > 3 ? argv[3] : "forget");
    if (!strcmp(what, "mprotect")) {
        must(!mprotect((void *)page, SIZE, PROT_READ), what);
    } else if (!strcmp(what, "fork")) {
        child = fork();
        if (!child) {
            pause();
        }
    } else if (!strcmp(what, "reclaim")) {
        must(!madvise((void *)page, SIZE, MADV_PAGEOUT), what);
    } else {
        fprintf(stderr, "forget mprotect|fork|reclaim SECONDS [NAME]\n");
        return 2;
    }
    prctl(PR_SET_NAME, "forget");
    before = uses;
    sleep(atoi(argv[2]));
    printf("forget: %s: %d uses, %d faults\n", what, uses - before, faults);
    if (child > 0) {
        kill(child, SIGKILL);
    }
    fflush(stdout);
    _exit(0);
}
