/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the program believes of the pages of units that were changed in part. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pagecompat.h"

/* Open addressing; a unit at address 0 is no entry. */
static struct entry *table;
static size_t capacity, used;

static size_t slot(uintptr_t u)
{
    return (u >> 12) * 0x9e3779b97f4a7c15u >> 20 & (capacity - 1);
}

struct entry *find(uintptr_t u)
{
    size_t i;

    if (used) {
        for (i = slot(u); table[i].unit; i = (i + 1) & (capacity - 1)) {
            if (table[i].unit == u) {
                return &table[i];
            }
        }
    }
    return NULL;
}

static bool grow(void)
{
    struct entry *old = table;
    size_t i, j, n = capacity, bytes = 2 * n * sizeof(*old);
    void *p;

    p = (void *)syscall(SYS_mmap, NULL, bytes ? bytes : 65536, WRITABLE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        return false;
    }
    table = p;
    capacity = n ? 2 * n : 65536 / sizeof(*old);
    for (i = 0; i < n; i++) {
        if (old[i].unit) {
            for (j = slot(old[i].unit); table[j].unit;
                 j = (j + 1) & (capacity - 1)) {
            }
            table[j] = old[i];
        }
    }
    if (old) {
        syscall(SYS_munmap, old, n * sizeof(*old));
    }
    return true;
}

bool put(uintptr_t u, Pages pages)
{
    struct entry *e = find(u);
    size_t i;

    if (!e) {
        if (!u || (used >= capacity / 4 * 3 && !grow())) {
            errno = ENOMEM;
            return false;
        }
        for (i = slot(u); table[i].unit; i = (i + 1) & (capacity - 1)) {
        }
        e = &table[i];
        *e = (struct entry){ .unit = u };
        used++;
    }
    e->pages = pages;
    return true;
}

void drop(uintptr_t u)
{
    struct entry *e = find(u);
    size_t hole, i;

    if (!e) {
        return;
    }
    used--;
    hole = e - table;
    table[hole].unit = 0;
    /* Those behind it move up, unless that is before where they belong. */
    for (i = (hole + 1) & (capacity - 1); table[i].unit;
         i = (i + 1) & (capacity - 1)) {
        size_t home = slot(table[i].unit);

        if (((i - home) & (capacity - 1)) >= ((i - hole) & (capacity - 1))) {
            table[hole] = table[i];
            table[i].unit = 0;
            hole = i;
        }
    }
}

void settle(uintptr_t u)
{
    struct entry *e = find(u);

    if (e && e->pages == set(0, u, u + unit, get(e->pages, 0), false)
        && !((e->memory | e->copied) & live(e->pages))) {
        drop(u);
    }
}

struct entry *next(uintptr_t *u, uintptr_t end)
{
    struct entry *best = NULL;
    size_t i;

    if (!used) {
        return NULL;
    }
    if ((end - *u) / unit <= capacity) {
        for (; *u < end; *u += unit) {
            best = find(*u);
            if (best) {
                break;
            }
        }
    } else {
        for (i = 0; i < capacity; i++) {
            if (table[i].unit >= *u && table[i].unit < end
                && (!best || table[i].unit < best->unit)) {
                best = &table[i];
            }
        }
    }
    if (best) {
        *u = best->unit + unit;
    }
    return best;
}

void forget(uintptr_t u, uintptr_t end)
{
    struct entry *e;

    while ((e = next(&u, end))) {
        drop(e->unit);
    }
}

void forget_all(void)
{
    if (capacity) {
        memset(table, 0, capacity * sizeof(*table));
        used = 0;
    }
}

void make_table(void)
{
    if (!capacity) {
        grow();
    }
}

void note(uintptr_t a, uintptr_t b, int prot)
{
    uintptr_t u;

    forget(down(a), up(b));
    for (u = down(a); u < b; u = down(b - 1) > u ? down(b - 1) : b) {
        Pages pages = set(all_gone(), a > u ? a : u,
                          b < u + unit ? b : u + unit, prot & RIGHTS, false);

        if (any_gone(pages, u, u + unit)) {
            /* If it cannot be kept, the unit will not be given back. */
            put(u, pages);
        }
    }
}

bool note_copied(uintptr_t a, uintptr_t b, int prot)
{
    uintptr_t u;

    for (u = down(a); u < b; u += unit) {
        uint16_t bits = bits_of(a > u ? a : u, b < u + unit ? b : u + unit);
        struct entry *e = find(u);

        if (!e && !put(u, set(0, u, u + unit, prot & RIGHTS, false))) {
            return false;
        }
        e = find(u);
        e->copied |= bits;
        e->memory &= ~bits;
    }
    return true;
}

bool has_hole(uintptr_t a, uintptr_t b)
{
    uintptr_t u = down(a);
    struct entry *e;

    while ((e = next(&u, up(b)))) {
        if (any_gone(e->pages, a > e->unit ? a : e->unit,
                     b < e->unit + unit ? b : e->unit + unit)) {
            return true;
        }
    }
    return false;
}
