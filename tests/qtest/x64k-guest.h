/*
 * Drives a guest that makes the memory accesses it is told to
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The guest program is x64k/guest.S; this side writes its page tables into
 * RAM, hands it scripts, and reads its log, RAM and the model's counters.  RAM
 * is shared with the test, so that all of this but the counters is memory.
 */
#ifndef TESTS_QTEST_X64K_GUEST_H
#define TESTS_QTEST_X64K_GUEST_H

#include "libqtest.h"
#include "qemu/units.h"

#define PAGE            UINT64_C(0x1000)
#define PAGE_64K        UINT64_C(0x10000)
#define PAGE_2M         UINT64_C(0x200000)

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
#define PTE_KEY(n)      ((uint64_t)(n) << 59)
#define PTE_NX          (1ull << 63)

#define CR0_PE          (1ull << 0)
#define CR0_ET          (1ull << 4)
#define CR0_WP          (1ull << 16)
#define CR0_PG          (1ull << 31)

#define CR4_PAE         (1ull << 5)
#define CR4_PGE         (1ull << 7)
#define CR4_LA57        (1ull << 12)
#define CR4_SMEP        (1ull << 20)
#define CR4_SMAP        (1ull << 21)
#define CR4_PKE         (1ull << 22)
#define CR4_PKS         (1ull << 24)
#define CR4_P64         (1ull << 29)

#define MSR_EFER        0xc0000080u
#define EFER_LME        (1ull << 8)
#define EFER_NXE        (1ull << 11)
#define MSR_PKRS        0x6e1u

#define PF_P            1
#define PF_W            2
#define PF_U            4
#define PF_RSVD         8
#define PF_ID           16
#define PF_PK           32

/* Where tests map things, and the RAM that they map there. */
#define TEST_VA         UINT64_C(0x8000000000)
#define TEST_PA         UINT64_C(0x4000000)

#define GUEST_RAM_SIZE  (256 * MiB)
/* Page tables are made from here on; the guest itself uses what is below. */
#define GUEST_TABLES    UINT64_C(0x1000000)
/* A page of PTEs of well-formed groups in ROM, then one of leaf tables. */
#define GUEST_ROM_PTES  0xffff4000
/* The protection key of the guest's own pages. */
#define GUEST_KEY       15

/*
 * OP_CALL is for code that ends with "ret", OP_FETCH for that of
 * guest_tag_frames().  OP_WRMSR: the immediate is the MSR; OP_XCHG, OP_AND,
 * OP_OR: it is what is done, atomically, to the 8 bytes at the operand.
 * OP_VMRUN: an SVM guest reads the 8 bytes at the RAX of the VMCB, which are
 * logged as the value, and exits by VMMCALL.
 * OP_LEGACY: calls 32-bit code that ends with "ret" and may change eax, edx
 * and ebp, with paging as it was before PAE, but for 4 MB pages; the immediate
 * is CR3.  What it leaves in edx is logged as the value.
 * OP_PCI: the immediate is written to the PCI configuration register that is
 * selected, then the operand is loaded from.
 * OP_CHASE follows pointers, as many as the immediate says, and logs the last
 * one's value.  OP_RDMSR: the immediate is the MSR; OP_RDPMC: the operand is
 * the counter; OP_SPIN: two instructions, as often as the operand says;
 * OP_POKE writes the immediate to the 32 bits at the operand, OP_PEEK reads
 * them.  NMIs are counted, and whoever gets one goes on.
 */
typedef enum GuestOp {
    OP_END, OP_LOAD, OP_STORE, OP_CALL, OP_INVLPG, OP_CR3, OP_CR4, OP_CPUID,
    OP_FETCH, OP_CR0, OP_WRMSR, OP_WRPKRU, OP_XCHG, OP_AND, OP_OR, OP_VMRUN,
    OP_LEGACY, OP_PCI,
    OP_CHASE, OP_RDMSR, OP_RDPMC, OP_SPIN, OP_POKE, OP_PEEK,
} GuestOp;

/* May be added: first a load from @n GB above the operand, 1 to 15. */
#define OP_FIRST(n)     ((n) << 12)

/* May be added to OP_LOAD, OP_STORE and OP_FETCH, to OP_RDPMC and OP_SPIN. */
#define OP_USER         (1u << 8)       /* in ring 3 */
#define OP_AC           (1u << 9)       /* with EFLAGS.AC set */

typedef struct GuestCommand {
    uint32_t op;
    int32_t immediate;
    uint64_t operand;
} GuestCommand;

/* What came of a command.  OP_CPUID logs EAX, EBX, ECX, EDX instead. */
typedef struct GuestLog {
    uint64_t vector;            /* NO_FAULT: it was done */
    uint64_t error_code;
    uint64_t cr2;
    uint64_t value;             /* of a load or OP_XCHG: what was read */
} GuestLog;

#define NO_FAULT        UINT64_MAX

typedef struct Guest {
    QTestState *qts;
    uint8_t *ram;               /* the guest's, all of it */
    unsigned cpus;
    uint64_t cr3, cr4;
    bool la57;
    uint64_t next_table;        /* free RAM for page tables */
    char *rom;                  /* path of the ROM image */
    char *ram_path;
} Guest;

/* Starts a guest with these CPU properties ("" or ",a=b...") and CR4 bits. */
Guest *guest_start(const char *properties, uint64_t cr4);

/* The same with up to 4 CPUs and more options for QEMU, or "". */
Guest *guest_start_with(const char *properties, uint64_t cr4, unsigned cpus,
                        const char *options);

/* The same, but it does not run yet: QMP "cont" is left to the caller. */
Guest *guest_create(const char *properties, uint64_t cr4, unsigned cpus,
                    const char *options);
void guest_stop(Guest *guest);

/* Writes anew what the guest needs to start, and its own part of the tables. */
void guest_restore(Guest *guest);

/* RAM as 64-bit words, as page tables are. */
static inline uint64_t *guest_word(Guest *guest, uint64_t pa)
{
    g_assert_cmphex(pa, <, GUEST_RAM_SIZE);
    return (uint64_t *)(guest->ram + pa);
}

/* Runs @n commands; log[i] is what came of command i. */
void guest_run(Guest *guest, const GuestCommand *commands, size_t n,
               GuestLog *log);

/* The same in pieces, for several CPUs. */
void guest_begin(Guest *guest, unsigned cpu, const GuestCommand *commands,
                 size_t n);
bool guest_has_logged(Guest *guest, unsigned cpu, size_t command);
const GuestLog *guest_log(Guest *guest, unsigned cpu);
bool guest_is_done(Guest *guest, unsigned cpu);
void guest_wait(Guest *guest, unsigned cpu);

/* Where a CPU counts its NMIs; what the handler writes to which MSR, if any. */
uint64_t guest_nmis_at(unsigned cpu);
void guest_at_nmi(Guest *guest, unsigned cpu, uint32_t msr, uint64_t value);

/* How often the guest has started: once, and after each reset. */
unsigned guest_starts(Guest *guest);

/* Waits until the "status" that the command @query returns is @good. */
void guest_wait_for(QTestState *qts, const char *query, const char *good);

/* Makes a disk that savevm can write to, at @path. */
void guest_make_disk(const char *path);

/* The most commands that a CPU takes at once. */
#define GUEST_MAX_COMMANDS      100000

/*
 * Writes code for OP_FETCH to each page of RAM from @pa on, @offset bytes from
 * its start.  What is logged as the value of a fetch is the page's number; of
 * a load, guest_tag().
 */
void guest_tag_frames(Guest *guest, uint64_t pa, uint64_t size,
                      uint64_t offset);
uint64_t guest_tag(uint64_t pa);

/* A new page of RAM for page tables, empty. */
uint64_t guest_new_table(Guest *guest);

/* Does this QEMU know of 64 KB pages at all? */
bool guest_has_x64k(void);

/* One command. */
GuestLog guest_do(Guest *guest, GuestOp op, uint64_t operand);

/*
 * Maps RAM at @pa to @va by one leaf.  @flags beside P; they go into the leaf
 * alone.  Returns the physical address of the leaf's entry.
 */
uint64_t guest_map_4k(Guest *guest, uint64_t va, uint64_t pa, uint64_t flags);
uint64_t guest_map_64k_leaf(Guest *guest, uint64_t va, uint64_t pa,
                            uint64_t flags);
uint64_t guest_map_2m(Guest *guest, uint64_t va, uint64_t pa, uint64_t flags);
uint64_t guest_map_1g(Guest *guest, uint64_t va, uint64_t pa, uint64_t flags);

/* A contiguous group of 16 PTEs with P64; returns the first one's address. */
uint64_t guest_map_group(Guest *guest, uint64_t va, uint64_t pa,
                         uint64_t flags);

/* A counter of the model, of vCPU 0. */
uint64_t guest_counter(Guest *guest, const char *name);

/* All of them, of any vCPU, in the order of HWTLB_COUNTERS. */
void guest_counters(Guest *guest, unsigned cpu, uint64_t *values);
extern const char *const guest_counter_names[];

#endif
