/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The calls on what is mapped already. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pagecompat.h"

/* Newer than the C library that this is compiled with. */
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

static int protect_part(uintptr_t a, uintptr_t b, int prot)
{
    uintptr_t u = down(a);
    Pages pages = 0, new;

    switch (load(u, &pages)) {
    case UNKNOWN:
        return refuse(CALL_mprotect, EINVAL);
    case SMALL:
        return syscall(SYS_mprotect, a, b - a, prot);
    case NOTHING:
    case UNIT:
        break;
    }
    if (any_gone(pages, a, b)) {
        errno = ENOMEM;
        return -1;
    }
    new = set(pages, a, b, prot, false);
    if (change(u, union_of(pages), new)) {
        if (find(u)) {
            put(u, pages);
        }
        return -1;
    }
    count(CALL_mprotect, union_of(new) == prot ? CORRECTED : IN_PART);
    return 0;
}

int protect(uintptr_t a, uintptr_t b, int prot)
{
    uintptr_t end, u;
    struct entry *e;
    bool whole, hole = false;

    for (; a < b; a = end) {
        end = piece(a, b, &whole);
        if (!whole) {
            if (protect_part(a, end, prot)) {
                return -1;
            }
            continue;
        }
        if (syscall(SYS_mprotect, a, end - a, prot)) {
            int error = errno;

            /* It may have come as far as to units that the table has. */
            for (u = a; (e = next(&u, end)); ) {
                syscall(SYS_mprotect, e->unit, extent(e->pages),
                        union_of(e->pages));
            }
            errno = error;
            return -1;
        }
        for (u = a; (e = next(&u, end)); ) {
            e->pages = set(e->pages, e->unit, e->unit + unit, prot, true);
            if (any_gone(e->pages, e->unit, e->unit + unit)) {
                hole = true;
            } else {
                settle(e->unit);
            }
        }
    }
    errno = hole ? ENOMEM : errno;
    return hole ? -1 : 0;
}

PUBLIC int mprotect(void *addr, size_t length, int prot)
{
    uintptr_t a = (uintptr_t)addr;
    int r;

    if (plain() || !is_page(a, length) || prot & ~RIGHTS) {
        return syscall(SYS_mprotect, addr, length, prot);
    }
    lock();
    r = protect(a, a + whole_pages(length), prot);
    unlock();
    return r;
}

/* What advice on pages of one unit comes to. */
enum way {
    HOLE,           /* none of it is there */
    AS_GIVEN,       /* the kernel takes it by pages of 4 KB */
    OF_UNIT,        /* the kernel takes it for the unit */
    ZEROES,         /* the pages are filled with zeroes */
    FILE_AND_ZEROES,/* of the unit, then what was memory is filled */
    NOTHING_DONE,   /* a hint for others, too: left out */
    IMPOSSIBLE
};

static bool discards(int advice)
{
    return advice == MADV_DONTNEED || advice == MADV_DONTNEED_LOCKED;
}

/* Throwing the contents of [A, B) away; ALL: of the unit nothing else is. */
static enum way discard_way(uintptr_t a, uintptr_t b, Pages pages, bool all)
{
    struct entry *e = find(down(a));
    const uint16_t meant = bits_of(a, b) & live(pages);
    struct query q;

    if (!query(down(a), &q) || (e && e->copied & meant)) {
        return IMPOSSIBLE;
    }
    if (q.vma_flags & QUERY_SHARED) {
        return all ? OF_UNIT : NOTHING_DONE;    /* the contents stay */
    }
    if (!q.inode) {
        return all ? OF_UNIT : ZEROES;
    }
    if (e && !(meant & ~e->memory)) {
        return ZEROES;
    }
    return !all ? IMPOSSIBLE : e && e->memory & meant ? FILE_AND_ZEROES
                                                      : OF_UNIT;
}

static enum way way_of(uintptr_t a, uintptr_t b, int advice, Pages *pages)
{
    struct entry *e;
    bool all;

    switch (load(down(a), pages)) {
    case UNKNOWN:
        return IMPOSSIBLE;
    case SMALL:
        return AS_GIVEN;
    case NOTHING:
        return HOLE;
    case UNIT:
        break;
    }
    if (!(bits_of(a, b) & live(*pages))) {
        return HOLE;
    }
    all = !any_other(*pages, a, b);
    if (discards(advice)) {
        return discard_way(a, b, *pages, all);
    }
    switch (advice) {
    case MADV_POPULATE_READ:
    case MADV_POPULATE_WRITE:
        return OF_UNIT;
    case MADV_FREE:
        /* The kernel refuses it in a mapping of a file. */
        e = find(down(a));
        return all && !(e && e->memory) ? OF_UNIT : NOTHING_DONE;
    case MADV_NORMAL: case MADV_RANDOM: case MADV_SEQUENTIAL:
    case MADV_WILLNEED: case MADV_COLD: case MADV_PAGEOUT:
    case MADV_HUGEPAGE: case MADV_NOHUGEPAGE: case MADV_MERGEABLE:
    case MADV_UNMERGEABLE: case MADV_DONTDUMP: case MADV_DODUMP:
        return all ? OF_UNIT : NOTHING_DONE;
    }
    /* Not only advice: others would be hit, or this would not be. */
    return all ? OF_UNIT : IMPOSSIBLE;
}

/* After the kernel has brought the file again: what of [A, B) was memory. */
static enum outcome zero_memory(uintptr_t a, uintptr_t b)
{
    enum outcome outcome = CORRECTED;
    uintptr_t end;

    for (; outcome != REFUSED && a < b; a = end) {
        struct entry *e = find(down(a));

        end = a + PAGE;
        if (e && e->memory & live(e->pages) & bits_of(a, end)) {
            outcome = fill(a, end, -1, -1, 0);
        }
    }
    return outcome;
}

static int advise_part(uintptr_t a, uintptr_t b, int advice)
{
    Pages pages = 0;
    enum way way = way_of(a, b, advice, &pages);
    enum outcome outcome = CORRECTED;
    int r = 0;

    switch (way) {
    case HOLE:
        return 0;
    case AS_GIVEN:
        return syscall(SYS_madvise, a, b - a, advice);
    case OF_UNIT:
    case FILE_AND_ZEROES:
        r = syscall(SYS_madvise, down(a), extent(pages), advice);
        if (!r && way == FILE_AND_ZEROES) {
            outcome = zero_memory(a, b);
        }
        break;
    case ZEROES:
        outcome = fill(a, b, -1, -1, 0);
        break;
    case NOTHING_DONE:
        outcome = IN_PART;
        break;
    case IMPOSSIBLE:
        return refuse(CALL_madvise, EINVAL);
    }
    count(CALL_madvise, outcome);
    return outcome == REFUSED ? -1 : r;
}

/* As piece(), but a unit in which pages were filled is one by itself. */
static uintptr_t advice_piece(uintptr_t a, uintptr_t b, bool *whole)
{
    uintptr_t end = piece(a, b, whole), u = a;
    struct entry *e;

    while (*whole && (e = next(&u, end))) {
        if (e->memory | e->copied) {
            *whole = e->unit > a;
            return *whole ? e->unit : a + unit;
        }
    }
    return end;
}

/* As in the kernel, what is there is advised even if some is not. */
static int advise(uintptr_t a, uintptr_t b, int advice)
{
    bool hole = has_hole(a, b), whole;
    uintptr_t from, end;
    Pages pages;

    for (from = a; from < b; from = end) {
        end = advice_piece(from, b, &whole);
        if (!whole) {
            switch (way_of(from, end, advice, &pages)) {
            case HOLE:
                hole = true;
                break;
            case IMPOSSIBLE:
                return refuse(CALL_madvise, EINVAL);
            default:
                break;
            }
        }
    }
    for (; a < b; a = end) {
        end = advice_piece(a, b, &whole);
        if (whole ? syscall(SYS_madvise, a, end - a, advice) :
                    advise_part(a, end, advice)) {
            if (errno != ENOMEM) {
                return -1;
            }
            hole = true;
        }
    }
    errno = hole ? ENOMEM : errno;
    return hole ? -1 : 0;
}

PUBLIC int madvise(void *addr, size_t length, int advice)
{
    uintptr_t a = (uintptr_t)addr;
    int r;

    if (plain() || !is_page(a, length)) {
        return syscall(SYS_madvise, addr, length, advice);
    }
    lock();
    r = advise(a, a + whole_pages(length), advice);
    unlock();
    return r;
}

PUBLIC int posix_madvise(void *addr, size_t length, int advice)
{
    int error = errno, r = 0;

    /* As in glibc: POSIX's does not throw contents away. */
    if (advice != POSIX_MADV_DONTNEED && madvise(addr, length, advice)) {
        r = errno;
    }
    errno = error;
    return r;
}

/* mlock() rounds outward in the kernel: right, but so does this. */
PUBLIC int munlock(const void *addr, size_t length)
{
    uintptr_t a = (uintptr_t)addr & -PAGE, b, end;
    bool whole;
    Pages pages;
    int r = 0;

    if (plain() || !is_page(a, length)) {
        return syscall(SYS_munlock, addr, length);
    }
    b = ((uintptr_t)addr + length + PAGE - 1) & -PAGE;
    lock();
    for (; !r && a < b; a = end) {
        end = piece(a, b, &whole);
        if (whole || load(down(a), &pages) != UNIT
            || !any_other(pages, a, end)) {
            r = syscall(SYS_munlock, a, end - a);
        } else {
            count(CALL_munlock, IN_PART);
        }
    }
    unlock();
    return r;
}

PUBLIC int msync(void *addr, size_t length, int flags)
{
    uintptr_t a = (uintptr_t)addr;
    int r;

    if (plain() || !is_page(a, length)) {
        return syscall(SYS_msync, addr, length, flags);
    }
    lock();
    if (has_hole(a, a + whole_pages(length))) {
        errno = ENOMEM;
        r = -1;
    } else {
        r = syscall(SYS_msync, addr, length, flags);
        if (r && errno == EINVAL && !aligned(a)) {
            r = syscall(SYS_msync, down(a), length + (a - down(a)), flags);
            if (!r) {
                count(CALL_msync, CORRECTED);
            }
        }
    }
    unlock();
    return r;
}

/* The pages of [A, B), in one unit. */
static int look_part(uintptr_t a, uintptr_t b, unsigned char *vec)
{
    enum { UNTOUCHED = 0xee };
    unsigned char each[65536 / PAGE];
    uintptr_t u = down(a);

    memset(each, UNTOUCHED, sizeof(each));
    if (!syscall(SYS_mincore, u, unit, each)) {
        if (each[1] == UNTOUCHED) {         /* one byte for the unit */
            memset(each, each[0], sizeof(each));
        }
        memcpy(vec, each + page_of(a), (b - a) / PAGE);
        return 0;
    }
    /* Not one mapping: of 4 KB pages, or none. */
    for (; a < b; a += PAGE, vec++) {
        if (syscall(SYS_mincore, a, PAGE, vec)) {
            errno = errno == EINVAL ? ENOMEM : errno;
            return -1;
        }
    }
    return 0;
}

PUBLIC int mincore(void *addr, size_t length, unsigned char *vec)
{
    uintptr_t a = (uintptr_t)addr, b, end;
    int r = 0;

    if (plain() || !is_page(a, length)) {
        return syscall(SYS_mincore, addr, length, vec);
    }
    b = a + whole_pages(length);
    lock();
    if (has_hole(a, b)) {
        errno = ENOMEM;
        r = -1;
    }
    for (; !r && a < b; vec += (end - a) / PAGE, a = end) {
        end = b < down(a) + unit ? b : down(a) + unit;
        r = look_part(a, end, vec);
    }
    if (!r) {
        count(CALL_mincore, CORRECTED);
    }
    unlock();
    return r;
}

