/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the workloads of x64k-workload share. */
#ifndef WORKLOAD_H
#define WORKLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Each prepares, counts its region, and returns whether its result is right.
 * The data follow from the size alone. */
bool bfs(unsigned scale);
bool chase(unsigned megabytes);
bool forkexec(unsigned times);
bool gups(unsigned log2_words);
bool join(unsigned log2_tuples);
bool sort(unsigned log2_keys);
bool stream(unsigned megabytes);

/* The region `workload`; entered again, it adds up. */
void begin(void);
void end(void);

/* -b: damage the result, which the check then must find. */
extern bool broken;

/* Anonymous memory, all 0, from a 64 KB boundary on; ends the program if there
 * is none. */
void *memory(size_t bytes);

/* splitmix64: neighbours have nothing in common. */
static inline uint64_t mix(uint64_t i)
{
    i += 0x9e3779b97f4a7c15;
    i = (i ^ (i >> 30)) * 0xbf58476d1ce4e5b9;
    i = (i ^ (i >> 27)) * 0x94d049bb133111eb;
    return i ^ (i >> 31);
}

/* The @k-th random number below @n, of the stream @stream. */
static inline uint64_t pick(uint64_t stream, uint64_t k, uint64_t n)
{
    return (unsigned __int128)mix(mix(stream) ^ k) * n >> 64;
}

#endif
