/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What memory the processes of the system hold. */
#ifndef PROCESSES_H
#define PROCESSES_H

#include <stdint.h>

typedef struct Process {
    char name[16];
    int pid;
    uint64_t rss_kb, page_table_kb;
    /* Pieces of 4 KB of its own, not shared, with nothing but zeroes in them. */
    uint64_t waste_kb;
} Process;

/*
 * Looks at all processes but those with the name of ours, in the order of their
 * numbers; memory that is theirs is read, so they had better stand still.
 * Returns how many there are, and in *LIST what, or NULL for want of memory.
 */
unsigned look_at_processes(Process **list);

#endif
