/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mremap. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pagecompat.h"

/* Is the range alone in the units at its ends, but for what is GONE? */
static bool is_alone(uintptr_t a, uintptr_t b)
{
    Pages pages;
    uintptr_t end;
    bool whole;

    for (; a < b; a = end) {
        end = piece(a, b, &whole);
        if (!whole && (load(down(a), &pages) > UNIT
                       || any_other(pages, a, end))) {
            return false;
        }
    }
    return true;
}

/*
 * The pages of [A, B) are now at TO, in other memory. Of those that a file is
 * behind, what is there is a copy.
 */
static bool note_moved(uintptr_t a, uintptr_t b, uintptr_t to, int prot)
{
    uintptr_t u, end;

    for (; a < b; to += end - a, a = end) {
        uint16_t copied;
        struct entry *e;
        struct query q;

        u = down(a);
        end = b < u + unit ? b : u + unit;
        e = find(u);
        if (!query(a, &q)) {
            return false;
        }
        copied = bits_of(a, end) & (q.inode ? (e ? ~e->memory : ~0) :
                                              (e ? e->copied : 0));
        for (uintptr_t page = a; copied && page < end; page += PAGE) {
            if (copied & bits_of(page, page + PAGE)
                && !note_copied(to + (page - a), to + (page - a) + PAGE, prot)) {
                return false;
            }
        }
    }
    return true;
}

/* By a copy: of private memory that can be read; more is had of memory only. */
static void *move_by_copy(uintptr_t a, size_t old, size_t new, int flags,
                          uintptr_t to)
{
    struct query q;
    int prot;
    void *p;

    if (flags & MREMAP_FIXED && to < a + old && a < to + new) {
        errno = EINVAL;
        return MAP_FAILED;
    }
    if (!(flags & MREMAP_MAYMOVE) || flags & MREMAP_DONTUNMAP
        || !is_private(a, a + old, PROT_READ)
        || !query(down(a + old - 1), &q) || (new > old && q.inode)) {
        refuse(CALL_mremap, ENOMEM);
        return MAP_FAILED;
    }
    prot = find(down(a)) ? get(find(down(a))->pages, page_of(a)) :
           q.vma_flags & QUERY_RIGHTS;
    p = map(to, new, WRITABLE, MAP_PRIVATE | MAP_ANONYMOUS |
            (flags & MREMAP_FIXED ? MAP_FIXED : 0), -1, 0);
    if (p == MAP_FAILED) {
        return p;
    }
    memcpy(p, (void *)a, old < new ? old : new);
    if (protect((uintptr_t)p, (uintptr_t)p + new, prot)
        || !note_moved(a, a + (old < new ? old : new), (uintptr_t)p, prot)
        || unmap(a, a + old)) {
        return MAP_FAILED;
    }
    count(CALL_mremap, CORRECTED);
    return p;
}

/* The units of [A, A + OLD) by the kernel, and with them what the table has. */
static void *move_units(uintptr_t a, size_t old, size_t new, int flags,
                        uintptr_t to)
{
    size_t rest = a - down(a), keep = old < new ? old : new;
    uintptr_t u, from = down(a), last = down(a + keep - 1);
    struct entry *e;
    Pages pages = 0;
    unsigned rights;
    char *p;

    /* What the pages that come will be allowed. */
    if (load(last, &pages) == UNKNOWN) {
        refuse(CALL_mremap, ENOMEM);
        return MAP_FAILED;
    }
    rights = get(pages, page_of(a + keep - 1));

    p = (char *)syscall(SYS_mremap, from, rest + old, rest + new, flags,
                        to - rest);
    if (p == MAP_FAILED) {
        return p;
    }
    if ((uintptr_t)p != from) {
        forget((uintptr_t)p, up((uintptr_t)p + rest + new));
        for (u = from; (e = next(&u, up(a + keep))); ) {
            const struct entry moved = *e;
            uintptr_t there = (uintptr_t)p + (moved.unit - from);

            if (!(flags & MREMAP_DONTUNMAP)) {
                drop(moved.unit);
            }
            if (put(there, moved.pages)) {
                e = find(there);
                e->memory = moved.memory;
                e->copied = moved.copied;
            }
        }
        if (!(flags & MREMAP_DONTUNMAP)) {
            forget(from, up(a + old));
        }
    } else if (old > new) {
        forget(up(a + new), up(a + old));
    }
    a = (uintptr_t)p + rest;

    /* In the unit where the old range ended there may be more pages now. */
    if (new > old && !aligned(a + old)) {
        uintptr_t end = up(a + old) < a + new ? up(a + old) : a + new;
        struct query q;

        if (query(down(a + old), &q) && !q.inode
            && !(q.vma_flags & QUERY_SHARED)) {
            fill(a + old, end, rights, -1, 0);
        } else if (load(down(a + old), &pages) == UNIT) {
            change(down(a + old), union_of(pages),
                   set(pages, a + old, end, rights, false));
        }
    }
    if (new > old && !aligned(a + new) && down(a + new) >= up(a + old)) {
        note(down(a + new), a + new, rights);
    }
    count(CALL_mremap, CORRECTED);
    return p + rest;
}

static void *remap(uintptr_t a, size_t old, size_t new, int flags, uintptr_t to)
{
    struct query q;
    bool moves = flags & (MREMAP_FIXED | MREMAP_DONTUNMAP);
    void *p;

    if (!find(down(a)) && kind_of(down(a), &q) == SMALL) {
        return (void *)syscall(SYS_mremap, a, old, new, flags, to);
    }
    if (new <= old && !moves) {
        if (unmap(a + new, a + old)) {
            return MAP_FAILED;
        }
        return (void *)a;
    }
    if (new < old && !(flags & MREMAP_DONTUNMAP)) {
        if (unmap(a + new, a + old)) {
            return MAP_FAILED;
        }
        old = new;
    }
    if (has_hole(a, a + old)) {
        errno = EFAULT;
        return MAP_FAILED;
    }
    if (!is_alone(a, a + old) || (flags & MREMAP_FIXED
        && (!aligned(to - a) || !is_alone(to, to + new)))) {
        return move_by_copy(a, old, new, flags, to);
    }
    p = move_units(a, old, new, flags, to);
    /* What is one mapping for the program may be several. */
    if (p == MAP_FAILED && errno == EFAULT) {
        p = move_by_copy(a, old, new, flags, to);
    }
    return p;
}

PUBLIC void *mremap(void *addr, size_t old, size_t new, int flags, ...)
{
    uintptr_t a = (uintptr_t)addr, to = 0;
    va_list arguments;
    void *p;

    if (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) {
        va_start(arguments, flags);
        to = (uintptr_t)va_arg(arguments, void *);
        va_end(arguments);
    }
    if (plain() || !is_page(a, old) || !is_page(to, new)) {
        return (void *)syscall(SYS_mremap, addr, old, new, flags, to);
    }
    lock();
    p = remap(a, whole_pages(old), whole_pages(new), flags, to);
    unlock();
    return p;
}
