/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mmap and munmap. */
/* With it, mmap in the headers is only another name of mmap64. */
#undef _FILE_OFFSET_BITS
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "pagecompat.h"

static int unmap_part(uintptr_t a, uintptr_t b)
{
    uintptr_t u = down(a);
    Pages pages = 0, new;

    switch (load(u, &pages)) {
    case NOTHING:
        return 0;
    case UNKNOWN:
        return refuse(CALL_munmap, EINVAL);
    case SMALL:
        /* One by one: the kernel refuses those that are not there. */
        for (; a < b; a += PAGE) {
            syscall(SYS_munmap, a, PAGE);
        }
        return 0;
    case UNIT:
        break;
    }
    if (!any_other(pages, a, b)) {
        count(CALL_munmap, CORRECTED);
        drop(u);
        return syscall(SYS_munmap, u, unit);
    }
    new = set(pages, a, b, GONE, false);
    if (new == pages) {
        return 0;
    }
    count(CALL_munmap, IN_PART);
    return change(u, union_of(pages), new);
}

int unmap(uintptr_t a, uintptr_t b)
{
    uintptr_t end;
    bool whole;

    for (; a < b; a = end) {
        end = piece(a, b, &whole);
        if (whole) {
            if (syscall(SYS_munmap, a, end - a)) {
                return -1;
            }
            forget(a, end);
        } else if (unmap_part(a, end)) {
            return -1;
        }
    }
    return 0;
}

PUBLIC int munmap(void *addr, size_t length)
{
    uintptr_t a = (uintptr_t)addr;
    int r;

    if (plain() || !is_page(a, length)) {
        return syscall(SYS_munmap, addr, length);
    }
    lock();
    r = unmap(a, a + whole_pages(length));
    unlock();
    return r;
}

static void *kernel_mmap(uintptr_t a, size_t length, int prot, int flags,
                         int fd, off_t offset)
{
    return (void *)syscall(SYS_mmap, a, length, prot, flags, fd, offset);
}

/* May its pages be had by reading? Of devices only zeroes may. */
static bool is_readable(int fd)
{
    struct stat st;
    int flags = fcntl(fd, F_GETFL);

    return flags >= 0 && (flags & O_ACCMODE) != O_WRONLY
           && !fstat(fd, &st) && (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)
           || (S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 5)));
}

/*
 * Whether [A, B), in one unit, must be filled in place, or 0, or an error. All
 * that can fail is tried here, before a call changes anything.
 */
static int in_place(uintptr_t a, uintptr_t b, int flags)
{
    Pages pages = 0;

    switch (load(down(a), &pages)) {
    case UNKNOWN:
        return -EINVAL;
    case NOTHING:
        return 0;
    case SMALL:
        if (flags & MAP_FIXED_NOREPLACE) {
            return -EEXIST;
        }
        break;
    case UNIT:
        if (flags & MAP_FIXED_NOREPLACE
            && set(pages, a, b, GONE, false) != pages) {
            return -EEXIST;
        }
        if (!any_other(pages, a, b)) {
            return 0;
        }
        break;
    }
    if ((flags & MAP_TYPE) != MAP_PRIVATE || !is_private(a, b, PROT_NONE)
        || !can_fill(a, b)) {
        return -EINVAL;
    }
    return 1;
}

/* Memory instead of a file that is not where units could show it. */
static int copy_in(uintptr_t a, uintptr_t b, int prot, int flags, int fd,
                   off_t offset)
{
    flags &= MAP_FIXED | MAP_FIXED_NOREPLACE;
    if (kernel_mmap(down(a), up(b) - down(a), WRITABLE, flags | MAP_PRIVATE |
                    MAP_ANONYMOUS, -1, 0) == MAP_FAILED
        || read_in(a, b, fd, offset)) {
        return -1;
    }
    return syscall(SYS_mprotect, down(a), up(b) - down(a), prot);
}

/* MAP_FIXED or MAP_FIXED_NOREPLACE, with part of a unit at an end. */
static void *map_fixed(uintptr_t a, uintptr_t b, int prot, int flags, int fd,
                       off_t offset)
{
    bool anonymous = flags & MAP_ANONYMOUS;
    bool congruent = anonymous || aligned(a - offset);
    /* What the kernel maps is of [X, Y); the rest of [A, B) is in place. */
    uintptr_t x = a, y = b, first = b < down(a) + unit ? b : down(a) + unit;
    int head = 0, tail = 0;

    if (anonymous) {
        fd = -1;
        offset = 0;
    }
    if (!aligned(a) || down(a) == down(b)) {
        head = in_place(a, first, flags);
        x = head ? first : a;
    }
    if (x < b && !aligned(b) && down(b) > down(a)) {
        tail = in_place(down(b), b, flags);
        y = tail ? down(b) : b;
    }
    if (head < 0 || tail < 0) {
        int error = -(head < 0 ? head : tail);

        if (error == EEXIST) {
            errno = error;
        } else {
            refuse(CALL_mmap, error);
        }
        return MAP_FAILED;
    }
    if (((head || tail) && fd >= 0) || !congruent) {
        if (!is_readable(fd) || (flags & MAP_TYPE) != MAP_PRIVATE) {
            refuse(CALL_mmap, EINVAL);
            return MAP_FAILED;
        }
    }
    if (x < y) {
        if (!congruent) {
            if (copy_in(x, y, prot, flags, fd, offset + (x - a))) {
                return MAP_FAILED;
            }
        } else if (kernel_mmap(down(x), y - down(x), prot, flags, fd,
                               anonymous ? 0 : offset + (off_t)(down(x) - a))
                   == MAP_FAILED) {
            return MAP_FAILED;
        }
        note(x, y, prot);
        if (!congruent && !note_copied(x, y, prot)) {
            return MAP_FAILED;
        }
        count(CALL_mmap, CORRECTED);
    }
    if (head) {
        head = fill(a, x, prot, fd, offset);
        count(CALL_mmap, head);
    }
    if (tail && head != REFUSED) {
        tail = fill(y, b, prot, fd, offset + (off_t)(y - a));
        count(CALL_mmap, tail);
    }
    return head == REFUSED || tail == REFUSED ? MAP_FAILED : (void *)a;
}

void *map(uintptr_t a, size_t length, int prot, int flags, int fd,
          off_t offset)
{
    size_t rest = offset & (unit - 1);
    char *p;

    if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)
        && !(flags & (MAP_HUGETLB | MAP_GROWSDOWN)) && !(a % PAGE)
        && !(offset % PAGE)
        && (!aligned(a | length) || (rest && !(flags & MAP_ANONYMOUS)))
        /* Of devices the kernel takes any offset and length. */
        && (!aligned(a) || flags & MAP_ANONYMOUS || is_readable(fd))) {
        return map_fixed(a, a + whole_pages(length), prot, flags, fd, offset);
    }
    p = kernel_mmap(a, length, prot, flags, fd, offset);
    if (p == MAP_FAILED && errno == EINVAL && rest && !(offset % PAGE)) {
        rest = flags & MAP_ANONYMOUS ? 0 : rest;
        p = kernel_mmap(a, length + rest, prot, flags, fd,
                        flags & MAP_ANONYMOUS ? 0 : offset - (off_t)rest);
        if (p != MAP_FAILED) {
            count(CALL_mmap, CORRECTED);
            p += rest;
        }
    }
    if (p != MAP_FAILED && !(flags & MAP_HUGETLB)) {
        note((uintptr_t)p, (uintptr_t)p + whole_pages(length), prot);
    }
    return p;
}

PUBLIC void *mmap(void *addr, size_t length, int prot, int flags, int fd,
                  off_t offset)
{
    void *p;

    if (plain() || !length || length > SIZE_MAX / 4
        || (uintptr_t)addr > SIZE_MAX / 4) {
        return kernel_mmap((uintptr_t)addr, length, prot, flags, fd, offset);
    }
    lock();
    p = map((uintptr_t)addr, length, prot, flags, fd, offset);
    unlock();
    return p;
}

PUBLIC void *mmap64(void *, size_t, int, int, int, off_t)
    __attribute__((alias("mmap")));
