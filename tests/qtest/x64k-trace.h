/*
 * What x64k-trace-plugin.c writes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_QTEST_X64K_TRACE_H
#define TESTS_QTEST_X64K_TRACE_H

#include <stdint.h>

typedef enum TraceKind {
    TRACE_LOAD, TRACE_STORE, TRACE_FETCH, TRACE_INVLPG, TRACE_CR3,
} TraceKind;

typedef struct TraceRecord {
    uint64_t va;
    uint32_t size;              /* in bytes, of an access */
    uint32_t kind;
} TraceRecord;

#endif
