/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The page size of a process: docs/kernel.md. */
#ifndef PAGE_SIZE_H
#define PAGE_SIZE_H

#include <sys/prctl.h>

#ifndef PR_SET_PAGE_SIZE
#define PR_SET_PAGE_SIZE 0x50470001
#define PR_GET_PAGE_SIZE 0x50470002
#endif

#endif
