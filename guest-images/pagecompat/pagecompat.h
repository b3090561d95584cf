/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libpagecompat.so: for programs that take pages to be of 4 KB, in a process
 * whose pages are larger (docs/kernel.md, "Programs that hard-code 4096").
 *
 *     LD_PRELOAD=libpagecompat.so pagesize 64K PROGRAM
 *
 * Here a page is what the program means, 4 KB, and a unit is what the kernel
 * takes for one, usually 64 KB. A call's range is cut into whole units, which
 * are the kernel's affair, and at most two of which only a part is meant. A
 * table has, for each unit that was changed in part, what the program believes
 * of its pages: their rights, or that nothing is there. The unit has the union
 * of the rights of all that is there, and is given back when nothing is. What
 * cannot be had in part is refused.
 *
 * getpagesize() and sysconf(_SC_PAGESIZE) stay as they are: a program that asks
 * does not need this library, and libc's own calls, which do not come by here,
 * must go on counting in units.
 *
 * One lock for all; while it is held, signals are blocked, so that a handler
 * may make such calls. Memory comes from mmap, never from malloc.
 */
#ifndef PAGECOMPAT_H
#define PAGECOMPAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/types.h>

#define PAGE 4096ul
#define RIGHTS (PROT_READ | PROT_WRITE | PROT_EXEC)
#define WRITABLE (PROT_READ | PROT_WRITE)

/* What programs see of the library. */
#define PUBLIC __attribute__((visibility("default")))

/* --- process.c: what was done, the page size, the lock --- */

/* The functions, and what came of calls that needed a correction. */
#define CALLS(X) X(mmap) X(munmap) X(mprotect) X(mremap) X(madvise) X(msync) \
                 X(munlock) X(mincore) X(shmat)

#define AS_ENUM(name) CALL_##name,
enum call { CALLS(AS_ENUM) N_CALLS };

enum outcome {
    CORRECTED,      /* as with 4 KB pages */
    IN_PART,        /* more can be accessed, or less was done, than meant */
    REFUSED,        /* an error that 4 KB pages would not give */
    N_OUTCOMES
};

void count(enum call call, enum outcome outcome);

/* Counts it, sets errno, and returns -1. */
int refuse(enum call call, int error);

/* What the kernel takes for a page; 0 until plain() has asked. */
extern size_t unit;

/* Nothing to correct: the kernel's pages are the program's. */
bool plain(void);

/* Guards all of what follows; signals are blocked meanwhile. */
void lock(void);
void unlock(void);

static inline uintptr_t down(uintptr_t a)
{
    return a & -unit;
}

static inline uintptr_t up(uintptr_t a)
{
    return down(a + unit - 1);
}

static inline bool aligned(uintptr_t a)
{
    return !(a & (unit - 1));
}

static inline size_t whole_pages(size_t length)
{
    return (length + PAGE - 1) & -PAGE;
}

/* Whole pages: what else there is, the kernel has its own answer to. */
static inline bool is_page(uintptr_t a, size_t length)
{
    return !(a % PAGE) && length && a + length + unit > a
           && length <= SIZE_MAX - 2 * unit;
}

/* --- table.c: what the program believes of pages --- */

/*
 * Of the pages of a unit, four bits each, from the lowest: rights, or GONE.
 * A unit of 16 KB has four of them.
 */
enum { GONE = 8 };
typedef uint64_t Pages;

static inline Pages all_gone(void)
{
    return 0x8888888888888888u >> (64 - 4 * (unit / PAGE));
}

static inline unsigned page_of(uintptr_t a)
{
    return (a & (unit - 1)) / PAGE;
}

static inline unsigned get(Pages pages, unsigned i)
{
    return pages >> (4 * i) & 15;
}

/* Those of [A, B), in one unit, get VALUE; if ONLY_LIVE, not those GONE. */
static inline Pages set(Pages pages, uintptr_t a, uintptr_t b, unsigned value,
                        bool only_live)
{
    for (; a < b; a += PAGE) {
        unsigned i = page_of(a);

        if (!only_live || get(pages, i) != GONE) {
            pages = (pages & ~((Pages)15 << (4 * i))) | (Pages)value << (4 * i);
        }
    }
    return pages;
}

static inline bool any_gone(Pages pages, uintptr_t a, uintptr_t b)
{
    return (set(0, a, b, GONE, false) & pages) != 0;
}

/* Is there anything in the unit besides [A, B)? */
static inline bool any_other(Pages pages, uintptr_t a, uintptr_t b)
{
    return set(pages, a, b, GONE, false) != all_gone();
}

static inline int union_of(Pages pages)
{
    int rights = 0;

    for (; pages; pages >>= 4) {
        rights |= (pages & GONE) ? 0 : (int)(pages & RIGHTS);
    }
    return rights;
}

/* How much of a unit must be mapped: all, but of a device's maybe less. */
static inline size_t extent(Pages pages)
{
    size_t n = unit / PAGE;

    while (n && get(pages, n - 1) == GONE) {
        n--;
    }
    return n * PAGE;
}

/*
 * Pages that were filled in place are not what the unit's mapping would bring:
 * a bit for each, from the lowest. MEMORY in a mapping of a file is zeroes
 * again when its contents are thrown away; COPIED are a file's contents, which
 * nobody here can bring again.
 */
struct entry {
    uintptr_t unit;
    Pages pages;
    uint16_t memory, copied;
};

/* The bits of the pages of [A, B), in one unit. */
static inline uint16_t bits_of(uintptr_t a, uintptr_t b)
{
    return ((1u << ((b - a) / PAGE)) - 1) << page_of(a);
}

/* Those of pages that are there. */
static inline uint16_t live(Pages pages)
{
    uint16_t bits = 0;

    for (unsigned i = 0; i < unit / PAGE; i++) {
        bits |= (get(pages, i) != GONE) << i;
    }
    return bits;
}

/* The entry of a unit, or NULL. */
struct entry *find(uintptr_t u);

/* The next entry of units [U, END), or NULL; *U is where to go on. */
struct entry *next(uintptr_t *u, uintptr_t end);

/*
 * Makes or changes an entry; false, with errno, if there is no memory. What is
 * known of filled pages stays.
 */
bool put(uintptr_t u, Pages pages);
void drop(uintptr_t u);

/* Drops the entry of a unit if it says no more than the kernel knows. */
void settle(uintptr_t u);

/* Something else is in these units now, or nothing. */
void forget(uintptr_t u, uintptr_t end);
void forget_all(void);

/*
 * Gets the table's memory, if it has none. In the middle of a call the kernel
 * might put it where the program has just made room for something.
 */
void make_table(void);

/* The program has mapped [A, B); around it, in the same units, is nothing. */
void note(uintptr_t a, uintptr_t b, int prot);

/*
 * Pages of [A, B), which is mapped with the rights PROT, have been copied from a
 * file; false, with errno, if that cannot be kept.
 */
bool note_copied(uintptr_t a, uintptr_t b, int prot);

/* Has the program given back any page of [A, B)? */
bool has_hole(uintptr_t a, uintptr_t b);

/* --- kernel.c: what there is really --- */

/* PROCMAP_QUERY of linux/fs.h, since Linux 6.11. */
struct query {
    uint64_t size, flags, address, start, end, vma_flags, page_size, offset,
             inode;
    uint32_t major, minor, name_size, build_id_size;
    uint64_t name, build_id;
};
enum { QUERY_RIGHTS = 7, QUERY_SHARED = 8, QUERY_OR_NEXT = 16 };

enum kind {
    NOTHING,        /* no mapping in the unit */
    UNIT,           /* one that the kernel takes by units */
    SMALL,          /* of 4 KB pages: a device's, or older than the page size */
    UNKNOWN         /* no /proc */
};

/* The mapping at A, or the next behind it; false if it cannot be known. */
bool query(uintptr_t a, struct query *q);
enum kind kind_of(uintptr_t u, struct query *q);

/* The pages of a unit: from the table, or else as the kernel has it. */
enum kind load(uintptr_t u, Pages *pages);

/* A unit that had the rights HAD gets those of PAGES; 0, or -1 and errno. */
int change(uintptr_t u, int had, Pages pages);

/* Is [A, B) mapped, nobody else's memory, and has it at least these rights? */
bool is_private(uintptr_t a, uintptr_t b, int rights);

/*
 * The first piece of [A, B): where it ends. It is a part of one unit if WHOLE
 * says no, else as many whole units as there are.
 */
uintptr_t piece(uintptr_t a, uintptr_t b, bool *whole);

/* What mmap would show: the file's contents, zeroes behind its end. */
int read_in(uintptr_t a, uintptr_t b, int fd, off_t offset);

/* Brings the memory of the unit of [A, B), of which then any part can be filled. */
bool can_fill(uintptr_t a, uintptr_t b);

/*
 * Fills pages of one unit in place, from a file or, if FD is negative, with
 * zeroes, and gives them the rights PROT, or, if that is negative, leaves them
 * those that they have. The mapping must be private. Meanwhile all of the unit
 * can be written. Returns the outcome; errno, too, if it is REFUSED.
 */
enum outcome fill(uintptr_t a, uintptr_t b, int prot, int fd, off_t offset);

/* --- map.c, protect.c: the calls, under the lock --- */

void *map(uintptr_t a, size_t length, int prot, int flags, int fd,
          off_t offset);
int unmap(uintptr_t a, uintptr_t b);
int protect(uintptr_t a, uintptr_t b, int prot);

#endif
