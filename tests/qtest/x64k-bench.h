/*
 * What the measurements of x64k share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_QTEST_X64K_BENCH_H
#define TESTS_QTEST_X64K_BENCH_H

static inline int bench_by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

/* The @q-quantile, 0 to 1, of @n values: the nearest one. */
static inline double quantile(const double *values, unsigned n, double q)
{
    g_autofree double *sorted = g_memdup2(values, n * sizeof(*values));

    qsort(sorted, n, sizeof(*sorted), bench_by_value);
    return sorted[(unsigned)(q * (n - 1) + 0.5)];
}

#endif
