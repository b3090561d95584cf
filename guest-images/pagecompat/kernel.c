/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What there is really: asking the kernel, and changing parts of units. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pagecompat.h"

#define QUERY _IOWR('f', 17, struct query)

bool query(uintptr_t a, struct query *q)
{
    int fd = syscall(SYS_openat, AT_FDCWD, "/proc/self/maps",
                     O_RDONLY | O_CLOEXEC), error;
    long r;

    *q = (struct query){ .size = sizeof(*q), .flags = QUERY_OR_NEXT,
                         .address = a };
    if (fd < 0) {
        return false;
    }
    r = syscall(SYS_ioctl, fd, QUERY, q);
    error = errno;
    syscall(SYS_close, fd);
    if (r && error == ENOENT) {
        q->start = q->end = UINTPTR_MAX;
        return true;
    }
    return !r;
}

enum kind kind_of(uintptr_t u, struct query *q)
{
    if (!query(u, q)) {
        return UNKNOWN;
    }
    if (q->start >= u + unit) {
        return NOTHING;
    }
    /* The kernel refuses this address, but in 4 KB mappings. */
    if (q->start > u || q->end < u + unit
        || !syscall(SYS_mprotect, u + PAGE, 0, PROT_NONE)) {
        return SMALL;
    }
    return UNIT;
}

enum kind load(uintptr_t u, Pages *pages)
{
    struct entry *e = find(u);
    struct query q;
    enum kind kind;

    if (e) {
        *pages = e->pages;
        return UNIT;
    }
    kind = kind_of(u, &q);
    *pages = kind == NOTHING ? all_gone() :
             set(0, u, u + unit, q.vma_flags & QUERY_RIGHTS, false);
    return kind;
}

int change(uintptr_t u, int had, Pages pages)
{
    int rights = union_of(pages);

    if (!put(u, pages)) {
        return -1;
    }
    if (rights != had && syscall(SYS_mprotect, u, extent(pages), rights)) {
        return -1;
    }
    settle(u);
    return 0;
}

bool is_private(uintptr_t a, uintptr_t b, int rights)
{
    struct query q;

    for (; a < b; a = q.end) {
        if (!query(a, &q) || q.start > a || q.vma_flags & QUERY_SHARED
            || rights & ~q.vma_flags) {
            return false;
        }
    }
    return true;
}

uintptr_t piece(uintptr_t a, uintptr_t b, bool *whole)
{
    *whole = aligned(a) && b - a >= unit;
    if (*whole) {
        return down(b);
    }
    return b < down(a) + unit ? b : down(a) + unit;
}

int read_in(uintptr_t a, uintptr_t b, int fd, off_t offset)
{
    while (fd >= 0 && a < b) {
        ssize_t n = syscall(SYS_pread64, fd, a, b - a, offset);

        if (n < 0) {
            errno = EACCES;     /* mmap's word for it */
            return -1;
        }
        if (!n) {
            break;
        }
        a += n;
        offset += n;
    }
    memset((void *)a, 0, b - a);
    return 0;
}

bool can_fill(uintptr_t a, uintptr_t b)
{
    uintptr_t u = down(a);
    struct query q;
    enum kind kind = kind_of(u, &q);
    uintptr_t from = kind == SMALL ? a : u, to = kind == SMALL ? b : u + unit;
    int had = q.vma_flags & QUERY_RIGHTS;
    bool can;

    if (kind != UNIT && kind != SMALL) {
        return false;
    }
    /* The advice brings the memory, or fails, where a store would be SIGBUS. */
    can = !syscall(SYS_mprotect, from, to - from, had | WRITABLE)
          && !syscall(SYS_madvise, from, to - from, MADV_POPULATE_WRITE);
    syscall(SYS_mprotect, from, to - from, had);
    return can;
}

enum outcome fill(uintptr_t a, uintptr_t b, int prot, int fd, off_t offset)
{
    uintptr_t u = down(a), from = u, to = u + unit;
    struct query q;
    enum kind kind = kind_of(u, &q);
    struct entry *e = find(u);
    int had = q.vma_flags & QUERY_RIGHTS, r;
    Pages pages = e ? e->pages : set(0, u, to, had, false);

    if (kind == SMALL && prot >= 0) {
        from = a;
        to = b;
    } else if (kind != UNIT) {
        errno = EINVAL;
        return REFUSED;
    }
    if (kind == UNIT && !put(u, pages)) {
        return REFUSED;
    }
    if (syscall(SYS_mprotect, from, to - from, had | WRITABLE)
        || syscall(SYS_madvise, from, to - from, MADV_POPULATE_WRITE)) {
        if (kind == UNIT) {
            syscall(SYS_mprotect, from, to - from, had);
            settle(u);
        }
        errno = EINVAL;
        return REFUSED;
    }
    r = read_in(a, b, fd, offset);
    if (kind == SMALL) {
        r |= syscall(SYS_mprotect, a, b - a, prot);
        return r ? REFUSED : CORRECTED;
    }
    if (prot >= 0 && !r) {
        const uint16_t bits = bits_of(a, b);

        pages = set(pages, a, b, prot & RIGHTS, false);
        e = find(u);
        e->copied = (e->copied & ~bits) | (fd >= 0 ? bits : 0);
        e->memory = (e->memory & ~bits) | (fd < 0 && q.inode ? bits : 0);
    }
    if (change(u, had | WRITABLE, pages) || r) {
        return REFUSED;
    }
    return prot >= 0 && union_of(pages) == (prot & RIGHTS) ? CORRECTED :
                                                             IN_PART;
}
