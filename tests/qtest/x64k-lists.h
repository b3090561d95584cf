/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TESTS_QTEST_X64K_LISTS_H
#define TESTS_QTEST_X64K_LISTS_H

typedef struct ListEntry {
    uint64_t page, size;        /* size 0: not in use */
    uint64_t filled, touched;   /* when */
    bool global, recent;
} ListEntry;

typedef struct List {
    unsigned sets, ways;
    bool xor;
    char policy;                /* the first letter of its name */
    uint64_t random;            /* at first, the seed */
    ListEntry *entries;         /* sets * ways, zeroed */
    uint64_t clock;
} List;

/* An access: false if it missed.  INVLPG, or with @all, MOV to CR3. */
bool list_access(List *list, uint64_t va, uint64_t size, bool global);
void list_drop(List *list, bool all, uint64_t va);

#endif
