/*
 * Drives a guest that makes the memory accesses it is told to
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The guest program is x64k/guest.S; this side writes its page tables into
 * RAM, hands it scripts, and reads its log, RAM and the model's counters.
 */
#ifndef TESTS_QTEST_X64K_GUEST_H
#define TESTS_QTEST_X64K_GUEST_H

#include "libqtest.h"

#define PAGE            0x1000ull
#define PAGE_64K        0x10000ull
#define PAGE_2M         0x200000ull

#define PTE_P           (1ull << 0)
#define PTE_RW          (1ull << 1)
#define PTE_US          (1ull << 2)
#define PTE_PWT         (1ull << 3)
#define PTE_PCD         (1ull << 4)
#define PTE_A           (1ull << 5)
#define PTE_D           (1ull << 6)
#define PTE_PS          (1ull << 7)
#define PTE_G           (1ull << 8)
#define PTE_P64         (1ull << 52)
#define PTE_NX          (1ull << 63)

#define CR4_PAE         (1ull << 5)
#define CR4_PGE         (1ull << 7)
#define CR4_P64         (1ull << 29)

#define PF_P            1
#define PF_W            2
#define PF_RSVD         8

/* Where tests map things, and the RAM that they map there. */
#define TEST_VA         0x8000000000ull
#define TEST_PA         0x4000000ull

typedef enum GuestOp {
    OP_END, OP_LOAD, OP_STORE, OP_CALL, OP_INVLPG, OP_CR3, OP_CR4, OP_CPUID,
} GuestOp;

typedef struct GuestCommand {
    uint64_t op;
    uint64_t operand;
} GuestCommand;

/* What came of a command.  OP_CPUID logs EAX, EBX, ECX, EDX instead. */
typedef struct GuestLog {
    uint64_t vector;            /* NO_FAULT: it was done */
    uint64_t error_code;
    uint64_t cr2;
    uint64_t value;             /* of a load: what was read */
} GuestLog;

#define NO_FAULT        UINT64_MAX

typedef struct Guest {
    QTestState *qts;
    uint64_t cr3;
    uint64_t next_table;        /* free RAM for page tables */
    char *rom;                  /* path of the ROM image */
} Guest;

/* Starts a guest with these CPU properties ("" or ",a=b...") and CR4 bits. */
Guest *guest_start(const char *properties, uint64_t cr4);
void guest_stop(Guest *guest);

/* Runs @n commands; log[i] is what came of command i. */
void guest_run(Guest *guest, const GuestCommand *commands, size_t n,
               GuestLog *log);

/* The same for one command. */
GuestLog guest_do(Guest *guest, GuestOp op, uint64_t operand);

/*
 * Maps RAM at @pa to @va by one leaf.  @flags beside P; they go into the leaf
 * alone.  Returns the physical address of the leaf's entry.
 */
uint64_t guest_map_4k(Guest *guest, uint64_t va, uint64_t pa, uint64_t flags);
uint64_t guest_map_64k_leaf(Guest *guest, uint64_t va, uint64_t pa,
                            uint64_t flags);
uint64_t guest_map_2m(Guest *guest, uint64_t va, uint64_t pa, uint64_t flags);

/* A contiguous group of 16 PTEs with P64; returns the first one's address. */
uint64_t guest_map_group(Guest *guest, uint64_t va, uint64_t pa,
                         uint64_t flags);

/* A counter of the model, of vCPU 0. */
uint64_t guest_counter(Guest *guest, const char *name);

#endif
