/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The four kernels of McCalpin's STREAM, ten times in turn, over three arrays
 * of doubles; and its check: every element has the value that the same steps
 * give for a single one, but for rounding.
 */
#include <math.h>
#include <stdio.h>

#include "workload.h"

#define TIMES 10
#define SCALAR 3.0
#define EPSILON 1e-13

static bool check(char name, const double *array, uint64_t n, double want)
{
    double error = 0;
    uint64_t i;

    for (i = 0; i < n; i++) {
        error += fabs(array[i] - want);
    }
    error /= n;
    printf("stream: %c is %g, mean error %g\n", name, want, error);
    return error / fabs(want) <= EPSILON;
}

bool stream(unsigned megabytes)
{
    uint64_t n = ((uint64_t)megabytes << 20) / sizeof(double), j;
    double *a = memory(n * sizeof(*a)), *b = memory(n * sizeof(*b));
    double *c = memory(n * sizeof(*c)), one = 2, two = 2, three = 0;
    bool right;
    int k;

    for (j = 0; j < n; j++) {
        a[j] = 2;
        b[j] = 2;
        c[j] = 0;
    }
    begin();
    for (k = 0; k < TIMES; k++) {
        for (j = 0; j < n; j++) {
            c[j] = a[j];
        }
        for (j = 0; j < n; j++) {
            b[j] = SCALAR * c[j];
        }
        for (j = 0; j < n; j++) {
            c[j] = a[j] + b[j];
        }
        for (j = 0; j < n; j++) {
            a[j] = b[j] + SCALAR * c[j];
        }
    }
    end();

    b[n / 3] *= broken ? 2 : 1;
    for (k = 0; k < TIMES; k++) {
        three = one;
        two = SCALAR * three;
        three = one + two;
        one = two + SCALAR * three;
    }
    right = check('a', a, n, one);
    right &= check('b', b, n, two);
    right &= check('c', c, n, three);
    return right;
}
