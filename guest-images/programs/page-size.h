/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The page size of a process: docs/kernel.md. */
#ifndef PAGE_SIZE_H
#define PAGE_SIZE_H

#include <sys/prctl.h>

#ifndef PR_SET_PAGE_SIZE
#define PR_SET_PAGE_SIZE 0x50470001
#define PR_GET_PAGE_SIZE 0x50470002
#endif

/* The kernel wants zeroes where it has no argument; prctl() passes five. */
static inline int set_page_size(unsigned long size)
{
    return prctl(PR_SET_PAGE_SIZE, size, 0L, 0L, 0L);
}

static inline int get_page_size(void)
{
    return prctl(PR_GET_PAGE_SIZE, 0L, 0L, 0L, 0L);
}

#endif
