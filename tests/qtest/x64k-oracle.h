/*
 * What the processor must do with a memory access, by the specification
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * An oracle for the tests of the MMU: written from docs/specs/x64k.rst and
 * the processor manuals, sharing no code with the emulator.
 */
#ifndef TESTS_QTEST_X64K_ORACLE_H
#define TESTS_QTEST_X64K_ORACLE_H

/* The state of a processor that decides about an access, in long mode. */
typedef struct OracleCpu {
    uint64_t cr3;
    bool la57, wp, smep, smap, pke, pks, nxe;
    uint32_t pkru, pkrs;
    bool hint, leaf;            /* enumerated, and CR4.P64 set */
    bool ill_formed_faults;     /* x64k-contig-check=fault */
    unsigned phys_bits;
} OracleCpu;

typedef enum OracleKind {
    ORACLE_READ, ORACLE_WRITE, ORACLE_FETCH,
} OracleKind;

typedef struct OracleAccess {
    uint64_t va;
    OracleKind kind;
    bool user;
    bool ac;                    /* EFLAGS.AC */
} OracleAccess;

/*
 * Physical memory: the word at @pa to be read or changed; NULL: not RAM, reads
 * as 0 and keeps nothing.
 */
typedef struct OracleMemory {
    uint64_t *(*word)(struct OracleMemory *memory, uint64_t pa);
    bool frozen;                /* to ask only: A and D are not set */
} OracleMemory;

typedef enum OracleGroup {
    ORACLE_NO_GROUP,            /* no P64 PTE was reached, or it faulted */
    ORACLE_WELL_FORMED,
    ORACLE_ABSENT,
    ORACLE_UNMARKED,
    ORACLE_FRAME,
    ORACLE_ATTRIBUTES,
    ORACLE_GROUPS
} OracleGroup;

typedef struct OracleResult {
    bool fault;
    uint64_t vector;
    uint64_t error_code;
    uint64_t cr2;               /* if @sets_cr2 */
    bool sets_cr2;
    uint64_t pa;                /* unless @fault */
    uint64_t size;              /* the largest translation that is allowed */
    OracleGroup group;
    unsigned slot;              /* the first PTE at fault, if ill formed */
    /* The walk, for messages: entries read, as they were; 0: not read. */
    int last_level;
    uint64_t entry_pa[6], entry[6];
    uint64_t ptes[16];          /* of the group */
} OracleResult;

extern const char *const oracle_group_names[ORACLE_GROUPS];

/* Does @access, A and D in @memory included, and says what came of it. */
OracleResult oracle_access(const OracleCpu *cpu, OracleMemory *memory,
                           const OracleAccess *access);

/* A reproducer: the processor, the access, the walk, what is expected. */
void oracle_print(const OracleCpu *cpu, const OracleAccess *access,
                  const OracleResult *result);

#endif
