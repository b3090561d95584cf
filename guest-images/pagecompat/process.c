/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The process: its page size, the lock, and what is told at its end. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../programs/page-size.h"
#include "pagecompat.h"

#define AS_NAME(name) #name,
static const char *const call_names[] = { CALLS(AS_NAME) };

static unsigned long counts[N_CALLS][N_OUTCOMES];
static bool verbose;

void count(enum call call, enum outcome outcome)
{
    __atomic_add_fetch(&counts[call][outcome], 1, __ATOMIC_RELAXED);
}

int refuse(enum call call, int error)
{
    count(call, REFUSED);
    errno = error;
    return -1;
}

size_t unit;

static void ask_unit(void)
{
    int error = errno;
    long size = syscall(SYS_prctl, PR_GET_PAGE_SIZE, 0, 0, 0, 0);

    if (size <= 0) {
        size = getauxval(AT_PAGESZ);
    }
    __atomic_store_n(&unit, size, __ATOMIC_RELAXED);
    errno = error;
}

bool plain(void)
{
    size_t size = __atomic_load_n(&unit, __ATOMIC_RELAXED);

    if (!size) {
        ask_unit();
        size = unit;
    }
    return size == PAGE;
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static sigset_t mask_before;

void lock(void)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_mutex_lock(&mutex);
    mask_before = before;
}

void unlock(void)
{
    sigset_t before = mask_before;

    pthread_mutex_unlock(&mutex);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* Segments are shared, so there is nothing to correct, only to tell. */
PUBLIC void *shmat(int id, const void *addr, int flags)
{
    void *p = (void *)syscall(SYS_shmat, id, addr, flags);
    struct shmid_ds segment;
    int error = errno;

    if (plain()) {
        return p;
    }
    if ((uintptr_t)addr % PAGE == 0 && !aligned((uintptr_t)addr)) {
        count(CALL_shmat, p == (void *)-1 ? REFUSED : IN_PART);
    }
    if (p != (void *)-1 && !shmctl(id, IPC_STAT, &segment)) {
        lock();
        forget((uintptr_t)p, up((uintptr_t)p + segment.shm_segsz));
        unlock();
    }
    errno = error;
    return p;
}

/* When the page size changes, all that is mapped has pages of 4 KB. */
PUBLIC int prctl(int option, ...)
{
    unsigned long arguments[4];
    va_list list;
    size_t i, before;
    long r;

    va_start(list, option);
    for (i = 0; i < 4; i++) {
        arguments[i] = va_arg(list, unsigned long);
    }
    va_end(list);
    if (option != (int)PR_SET_PAGE_SIZE) {
        return syscall(SYS_prctl, option, arguments[0], arguments[1],
                       arguments[2], arguments[3]);
    }
    plain();
    lock();
    before = unit;
    r = syscall(SYS_prctl, option, arguments[0], arguments[1], arguments[2],
                arguments[3]);
    ask_unit();
    if (unit != before) {
        forget_all();
        make_table();
    }
    unlock();
    return r;
}

static __attribute__((constructor)) void begin(void)
{
    const char *value = getenv("PAGECOMPAT_VERBOSE");

    verbose = value && *value && strcmp(value, "0");
    pthread_atfork(lock, unlock, unlock);
    if (!plain()) {
        lock();
        make_table();
        unlock();
    }
}

static void tell(const char *format, ...)
{
    char line[160];
    va_list arguments;
    int n;

    va_start(arguments, format);
    n = vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    if (write(STDERR_FILENO, line, n) != n) {
        verbose = false;
    }
}

static __attribute__((destructor)) void end(void)
{
    bool nothing = plain();
    unsigned i;

    if (verbose) {
        tell("pagecompat: %d: pages of %zu bytes%s\n", getpid(), unit,
             nothing ? ", nothing to correct" : "");
    }
    for (i = 0; i < N_CALLS && verbose; i++) {
        const unsigned long *n = counts[i];

        if (n[CORRECTED] | n[IN_PART] | n[REFUSED]) {
            tell("pagecompat: %s: %lu corrected, %lu in part, %lu refused\n",
                 call_names[i], n[CORRECTED], n[IN_PART], n[REFUSED]);
        }
    }
}
