/*
 * What the processor must do with a memory access, by the specification
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Where QEMU differs from hardware and x64k leaves that as it is, the rule
 * says so ("stock QEMU").
 */
#include "qemu/osdep.h"
#include "x64k-oracle.h"

/* Error code of #PF. */
#define ERR_PRESENT 0x01
#define ERR_WRITE 0x02
#define ERR_USER 0x04
#define ERR_RESERVED 0x08
#define ERR_FETCH 0x10
#define ERR_KEY 0x20

const char *const oracle_group_names[ORACLE_GROUPS] = {
    "none", "well-formed", "absent", "unmarked", "frame", "attributes",
};

static bool bit(uint64_t value, int n)
{
    return value >> n & 1;
}

/* Bits @high to @low of @value, in their place. */
static uint64_t field(uint64_t value, int high, int low)
{
    return value & (~0ull >> (63 - high)) & (~0ull << low);
}

static bool present(uint64_t entry)     { return bit(entry, 0); }
static bool writable(uint64_t entry)    { return bit(entry, 1); }
static bool for_user(uint64_t entry)    { return bit(entry, 2); }
static bool page_size(uint64_t entry)   { return bit(entry, 7); }
static bool p64(uint64_t entry)         { return bit(entry, 52); }
static bool no_execute(uint64_t entry)  { return bit(entry, 63); }
static unsigned key(uint64_t entry)     { return field(entry, 62, 59) >> 59; }

static uint64_t read_word(OracleMemory *memory, uint64_t pa)
{
    uint64_t *word = memory->word(memory, pa);

    return word ? *word : 0;
}

static void set_bits(OracleMemory *memory, uint64_t pa, uint64_t bits)
{
    uint64_t *word = memory->word(memory, pa);

    if (word && !memory->frozen) {
        *word |= bits;
    }
}

/* The bits that must be 0 in a present @entry of @level, a leaf or not. */
static uint64_t reserved_bits(const OracleCpu *cpu, uint64_t entry, int level,
                              bool in_leaf_table)
{
    uint64_t reserved = field(~0ull, 51, cpu->phys_bits);

    if (!cpu->nxe) {
        reserved |= 1ull << 63;
    }
    if (level >= 4) {
        reserved |= 1ull << 7;
    }
    if (level == 3 && page_size(entry)) {
        reserved |= field(~0ull, 29, 13);       /* bit 12 is PAT */
    }
    if (level == 2 && page_size(entry)) {
        reserved |= field(~0ull, 20, 13);
    }
    if (in_leaf_table) {
        reserved |= field(~0ull, 15, 12) | 1ull << 52;
    }
    return reserved;
}

/* What the rights of all levels together, and the leaf's key, allow. */
static bool allowed(const OracleCpu *cpu, const OracleAccess *access,
                    bool user_page, bool rw, bool nx, unsigned key_of_leaf,
                    bool *by_key)
{
    const bool supervisor = !access->user;
    const uint32_t keys = user_page ? (cpu->pke ? cpu->pkru : 0) :
                                      (cpu->pks ? cpu->pkrs : 0);
    const bool access_disabled = bit(keys, 2 * key_of_leaf);
    const bool write_disabled = bit(keys, 2 * key_of_leaf + 1);

    *by_key = false;
    /*
     * Stock QEMU: this goes before the keys, so that a user access to a
     * supervisor page never has PK in its error code.
     */
    if (access->user && !user_page) {
        return false;
    }
    /* Keys are for data, and bind the supervisor's writes only with CR0.WP. */
    if (access->kind != ORACLE_FETCH &&
        (access_disabled ||
         (access->kind == ORACLE_WRITE && write_disabled &&
          (access->user || cpu->wp)))) {
        *by_key = true;
        return false;
    }
    if (access->kind == ORACLE_FETCH) {
        return !nx && !(supervisor && user_page && cpu->smep);
    }
    if (supervisor && user_page && cpu->smap && !access->ac) {
        return false;
    }
    if (access->kind == ORACLE_WRITE && !rw) {
        return supervisor && !cpu->wp;
    }
    return true;
}

/* Is a group of 16 PTEs well formed?  If not, @slot says where. */
static OracleGroup check_group(const uint64_t ptes[16], unsigned *slot)
{
    const uint64_t pte0 = ptes[0];
    /* RW, US, PWT, PCD; PAT, G; protection key and XD. */
    const uint64_t same = field(~0ull, 4, 1) | field(~0ull, 8, 7) |
                          field(~0ull, 63, 59);

    for (unsigned k = 0; k < 16; k++) {
        uint64_t pte = ptes[k];
        uint64_t pfn = field(pte, 51, 12) >> 12;
        uint64_t pfn0 = field(pte0, 51, 12) >> 12;

        *slot = k;
        if (!present(pte)) {
            return ORACLE_ABSENT;
        }
        if (!p64(pte)) {
            return ORACLE_UNMARKED;
        }
        if (pfn0 % 16 != 0 || pfn != pfn0 + k) {
            return ORACLE_FRAME;
        }
        if ((pte & same) != (pte0 & same)) {
            return ORACLE_ATTRIBUTES;
        }
    }
    return ORACLE_WELL_FORMED;
}

static OracleResult page_fault(const OracleCpu *cpu,
                               const OracleAccess *access,
                               OracleResult result, uint64_t error_code)
{
    result.fault = true;
    result.vector = 14;
    result.error_code = error_code;
    if (access->user) {
        result.error_code |= ERR_USER;
    }
    if (access->kind == ORACLE_WRITE) {
        result.error_code |= ERR_WRITE;
    }
    if (access->kind == ORACLE_FETCH && (cpu->nxe || cpu->smep)) {
        result.error_code |= ERR_FETCH;
    }
    result.cr2 = access->va;
    result.sets_cr2 = true;
    return result;
}

OracleResult oracle_access(const OracleCpu *cpu, OracleMemory *memory,
                           const OracleAccess *access)
{
    const uint64_t accessed = 1 << 5, dirtied = 1 << 6;
    const uint64_t va = access->va;
    const int top = cpu->la57 ? 5 : 4;
    const int va_bits = 12 + 9 * top;
    uint64_t table = field(cpu->cr3, 51, 12);
    bool user_page = true, rw = true, nx = false;
    bool in_leaf_table = false, by_key;
    uint64_t entry, pa, set;
    OracleResult result = { .last_level = top };
    int level, page_bits;

    /* Bits above the address must be copies of its highest. */
    if ((uint64_t)((int64_t)(va << (64 - va_bits)) >> (64 - va_bits)) != va) {
        result.fault = true;
        result.vector = 13;
        return result;
    }

    for (level = top; ; level--) {
        bool is_leaf;

        page_bits = 12 + 9 * (level - 1);
        if (in_leaf_table) {
            page_bits = 16;
            pa = table + field(va, 20, 16) / 0x10000 * 8;
        } else {
            pa = table + field(va, page_bits + 8, page_bits) /
                         (1ull << page_bits) * 8;
        }
        entry = read_word(memory, pa);
        result.last_level = level;
        result.entry_pa[level] = pa;
        result.entry[level] = entry;

        if (!present(entry)) {
            return page_fault(cpu, access, result, 0);
        }
        /*
         * Stock QEMU: a PDPTE is marked before its PS bit is looked at, so
         * that a 1 GB leaf has A even if its frame is not aligned or it does
         * not allow the access.
         */
        if (level == 3 && !(entry & reserved_bits(cpu, 0, 3, false))) {
            set_bits(memory, pa, accessed);
        }
        if (entry & reserved_bits(cpu, entry, level, in_leaf_table)) {
            /* Stock QEMU: P=0 with RSVD; a 64 KB leaf has it right. */
            return page_fault(cpu, access, result, ERR_RESERVED |
                              (in_leaf_table ? ERR_PRESENT : 0));
        }

        user_page = user_page && for_user(entry);
        rw = rw && writable(entry);
        nx = nx || no_execute(entry);

        is_leaf = level == 1 || (level <= 3 && page_size(entry));
        if (is_leaf) {
            break;
        }
        /* Tables are marked on the way down, whatever comes of the walk. */
        set_bits(memory, pa, accessed);

        in_leaf_table = level == 2 && p64(entry) && cpu->leaf;
        table = in_leaf_table ? field(entry, 51, 8) : field(entry, 51, 12);
    }

    if (!allowed(cpu, access, user_page, rw, nx, key(entry), &by_key)) {
        return page_fault(cpu, access, result,
                          ERR_PRESENT | (by_key ? ERR_KEY : 0));
    }

    set = accessed | (access->kind == ORACLE_WRITE ? dirtied : 0);
    if (level == 1 && !in_leaf_table && p64(entry) && cpu->hint) {
        const uint64_t group = field(pa, 63, 7);

        for (int k = 0; k < 16; k++) {
            result.ptes[k] = read_word(memory, group + 8 * k);
        }
        result.group = check_group(result.ptes, &result.slot);
        if (result.group == ORACLE_WELL_FORMED) {
            page_bits = 16;
            for (int k = 0; k < 16; k++) {
                set_bits(memory, group + 8 * k, set);
            }
        } else if (cpu->ill_formed_faults) {
            return page_fault(cpu, access, result, ERR_RESERVED | ERR_PRESENT);
        }
    }
    set_bits(memory, pa, set);

    result.size = 1ull << page_bits;
    result.pa = field(entry, 51, page_bits) | field(va, page_bits - 1, 0);
    if (result.group == ORACLE_WELL_FORMED) {
        /* The same as by the walked PTE's own frame. */
        g_assert_cmphex(result.pa, ==,
                        field(entry, 51, 16) | field(va, 15, 0));
    }
    return result;
}

void oracle_print(const OracleCpu *cpu, const OracleAccess *access,
                  const OracleResult *result)
{
    static const char *const kinds[] = { "load", "store", "fetch" };

    printf("# %s%s %s of 0x%" PRIx64 "\n",
           access->user ? "user" : "supervisor", access->ac ? " (AC)" : "",
           kinds[access->kind], access->va);
    printf("# CPU: WP=%d SMEP=%d SMAP=%d NXE=%d PKE=%d PKS=%d PKRU=0x%x "
           "PKRS=0x%x hint=%d leaf=%d CR3=0x%" PRIx64 "\n",
           cpu->wp, cpu->smep, cpu->smap, cpu->nxe, cpu->pke, cpu->pks,
           cpu->pkru, cpu->pkrs, cpu->hint, cpu->leaf, cpu->cr3);
    for (int level = cpu->la57 ? 5 : 4; level >= result->last_level;
         level--) {
        printf("# level %d: 0x%016" PRIx64 " at 0x%" PRIx64 "\n", level,
               result->entry[level], result->entry_pa[level]);
    }
    if (result->group != ORACLE_NO_GROUP) {
        printf("# group: %s, slot %u\n", oracle_group_names[result->group],
               result->slot);
        for (int k = 0; k < 16; k++) {
            printf("# PTE %d: 0x%016" PRIx64 "\n", k, result->ptes[k]);
        }
    }
    if (result->fault) {
        printf("# expected: vector %d, error code 0x%x, CR2 0x%" PRIx64 "\n",
               (int)result->vector, (unsigned)result->error_code,
               result->cr2);
    } else {
        printf("# expected: physical address 0x%" PRIx64 "\n", result->pa);
    }
}
