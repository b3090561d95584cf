/*
 * All that decodes page tables must say what the walker does
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Random page tables are built from a list of mappings.  The walker (a load by
 * the guest), the debug walk (gva2gpa, and memory reads through the gdbstub),
 * "info tlb", "info mem" and an ELF dump are then compared with that list.
 */
#include "qemu/osdep.h"
#include "elf.h"
#undef PF_W                     /* there a flag of an ELF segment */
#include "qemu/bswap.h"
#include "qemu/cutils.h"
#include "x64k-gdb.h"
#include "x64k-guest.h"

#define MAX_MAPPINGS    4096
#define RAM_FROM        (64 * MiB)

typedef enum Kind {
    KIND_4K, KIND_GROUP, KIND_ILL_FORMED, KIND_64K, KIND_2M, KIND_RESERVED,
    KINDS
} Kind;

/* What one leaf entry maps; @valid: it maps anything at all. */
typedef struct Mapping {
    uint64_t va, pa, size;
    bool valid, rw, us;         /* of all levels together */
    bool leaf_rw, leaf_us;
} Mapping;

typedef struct Fixture {
    const char *name;
    const char *properties;
    uint64_t cr4;
    bool leaf;                  /* leaf tables are decoded as such */
} Fixture;

typedef struct Tree {
    Guest *guest;
    GRand *rand;
    const Fixture *fixture;
    Mapping mappings[MAX_MAPPINGS];
    unsigned n;
} Tree;

static bool coin(Tree *tree, int one_in)
{
    return g_rand_int_range(tree->rand, 0, one_in) == 0;
}

static uint64_t canonical(const Tree *tree, uint64_t va)
{
    int shift = tree->guest->la57 ? 64 - 57 : 64 - 48;

    return (int64_t)(va << shift) >> shift;
}

/* The entry of @va at @level, 1: of the last 4 KB table; @rights gathers. */
static uint64_t *entry_of(Tree *tree, uint64_t va, int level,
                          uint64_t *rights)
{
    uint64_t table = tree->guest->cr3;

    *rights = PTE_RW | PTE_US;
    for (int l = tree->guest->la57 ? 5 : 4; ; l--) {
        uint64_t *entry = guest_word(tree->guest, table +
                                     (va >> (12 + 9 * (l - 1)) & 0x1ff) * 8);

        if (l == level) {
            return entry;
        }
        if (!(*entry & PTE_P)) {
            *entry = guest_new_table(tree->guest) | PTE_P |
                     (coin(tree, 6) ? 0 : PTE_RW) |
                     (coin(tree, 3) ? 0 : PTE_US);
        }
        if (*entry & (PTE_PS | PTE_P64)) {
            return NULL;        /* taken by a leaf, or a leaf table */
        }
        *rights &= *entry;
        table = *entry & 0x000ffffffffff000ull;
    }
}

/* A random address of few tables, in either half. */
static uint64_t random_va(Tree *tree)
{
    GRand *r = tree->rand;
    uint64_t va = (uint64_t)g_rand_int_range(r, 0, 3) << 12 |
                  (uint64_t)g_rand_int_range(r, 0, 32) << 16 |
                  (uint64_t)g_rand_int_range(r, 0, 4) << 21 |
                  (uint64_t)g_rand_int_range(r, 0, 3) << 30 |
                  (uint64_t)(1 + g_rand_int_range(r, 0, 3) * 170) << 39;

    if (tree->guest->la57) {
        va |= (uint64_t)(g_rand_int_range(r, 0, 4) * 150) << 48;
    }
    return canonical(tree, va);
}

static uint64_t random_pa(Tree *tree, uint64_t size)
{
    return RAM_FROM + g_rand_int_range(tree->rand, 0,
                                       (GUEST_RAM_SIZE - RAM_FROM) / size) *
                      size;
}

static void note(Tree *tree, uint64_t va, uint64_t size, uint64_t entry,
                 uint64_t rights, bool valid)
{
    g_assert_cmpuint(tree->n, <, MAX_MAPPINGS);
    tree->mappings[tree->n++] = (Mapping) {
        .va = va, .size = size, .valid = valid,
        .pa = entry & 0x000ffffffffff000ull & -size,
        .rw = entry & rights & PTE_RW, .us = entry & rights & PTE_US,
        .leaf_rw = entry & PTE_RW, .leaf_us = entry & PTE_US,
    };
}

/* Flags of a leaf, among them all that decoders must not take for a frame. */
static uint64_t random_flags(Tree *tree)
{
    uint64_t flags = PTE_P | PTE_KEY(g_rand_int_range(tree->rand, 0, 15));

    flags |= coin(tree, 2) ? PTE_RW : 0;
    flags |= coin(tree, 2) ? PTE_US : 0;
    flags |= coin(tree, 4) ? PTE_G : 0;
    flags |= coin(tree, 4) ? PTE_NX : 0;
    flags |= coin(tree, 4) ? 0x7full << 52 & ~PTE_P64 & ~PTE_KEY(15) : 0;
    flags |= coin(tree, 4) ? 7 << 9 : 0;
    return flags;
}

static void add_group(Tree *tree, uint64_t va, bool ill_formed)
{
    uint64_t pa = random_pa(tree, PAGE_64K);
    uint64_t flags = random_flags(tree) | PTE_P64;
    uint64_t rights;

    va &= -PAGE_64K;
    for (unsigned k = 0; k < 16; k++) {
        uint64_t *pte = entry_of(tree, va + k * PAGE, 1, &rights);

        if (!pte || *pte) {
            return;
        }
    }
    for (unsigned k = 0; k < 16; k++) {
        uint64_t *pte = entry_of(tree, va + k * PAGE, 1, &rights);

        *pte = (pa + k * PAGE) | flags;
        if (ill_formed && coin(tree, 4)) {
            *pte ^= coin(tree, 2) ? PTE_RW : PTE_P;
        }
        if (*pte & PTE_P) {
            note(tree, va + k * PAGE, PAGE, *pte, rights, true);
        }
    }
}

static void add_64k_leaf(Tree *tree, uint64_t va, bool reserved)
{
    uint64_t flags = random_flags(tree) | (coin(tree, 2) ? PTE_PS : 0);
    uint64_t rights, *pde = entry_of(tree, va, 2, &rights);
    uint64_t *entry, table, shift = tree->fixture->leaf ? 16 : 12;

    if (!pde || (*pde & PTE_PS) || ((*pde & PTE_P) && !(*pde & PTE_P64))) {
        return;
    }
    if (!*pde) {
        /* A quarter into the page: not every table starts a frame. */
        *pde = (guest_new_table(tree->guest) +
                (tree->fixture->leaf ? 0x300 : 0)) |
               PTE_P | PTE_P64 | PTE_RW | (coin(tree, 2) ? PTE_US : 0);
    }
    table = *pde & (tree->fixture->leaf ? 0x000fffffffffff00ull
                                        : 0x000ffffffffff000ull);
    va &= -(1ull << shift);
    entry = guest_word(tree->guest, table + (va >> shift &
                       (tree->fixture->leaf ? 31 : 511)) * 8);
    if (*entry) {
        return;
    }
    *entry = random_pa(tree, PAGE_64K) | flags;
    if (reserved) {
        *entry |= coin(tree, 2) ? PTE_P64
                                : 1ull << g_rand_int_range(tree->rand, 12, 16);
    }
    note(tree, va, 1ull << shift, *entry, rights & *pde,
         !(reserved && tree->fixture->leaf));
}

static void add(Tree *tree, Kind kind)
{
    uint64_t va = random_va(tree), rights, *entry;

    switch (kind) {
    case KIND_4K:
        entry = entry_of(tree, va, 1, &rights);
        if (entry && !*entry) {
            *entry = random_pa(tree, PAGE) | random_flags(tree) |
                     (coin(tree, 2) ? PTE_PS : 0);      /* PAT */
            note(tree, va, PAGE, *entry, rights, true);
        }
        break;
    case KIND_GROUP:
        add_group(tree, va, false);
        break;
    case KIND_ILL_FORMED:
        add_group(tree, va, true);
        break;
    case KIND_64K:
        add_64k_leaf(tree, va | 2 * PAGE_2M, false);
        break;
    case KIND_RESERVED:
        add_64k_leaf(tree, va | 2 * PAGE_2M, true);
        break;
    case KIND_2M:
        va &= -PAGE_2M;
        entry = entry_of(tree, va, 2, &rights);
        if (entry && !*entry) {
            *entry = random_pa(tree, PAGE_2M) | random_flags(tree) | PTE_PS |
                     (coin(tree, 2) ? PTE_P64 : 0);     /* ignored here */
            note(tree, va, PAGE_2M, *entry, rights, true);
        }
        break;
    default:
        g_assert_not_reached();
    }
}

static int by_va(const void *a, const void *b)
{
    const Mapping *x = a, *y = b;

    return x->va < y->va ? -1 : x->va > y->va;
}

static const Mapping *find(const Tree *tree, uint64_t va)
{
    for (unsigned i = 0; i < tree->n; i++) {
        const Mapping *m = &tree->mappings[i];

        if (m->valid && va - m->va < m->size) {
            return m;
        }
    }
    return NULL;
}

/* Addresses worth asking about: ends and middles, and just outside. */
static GArray *make_probes(Tree *tree)
{
    GArray *probes = g_array_new(false, false, sizeof(uint64_t));

    for (unsigned i = 0; i < tree->n; i++) {
        const Mapping *m = &tree->mappings[i];
        uint64_t middle = g_rand_int_range(tree->rand, 0, m->size / PAGE) *
                          PAGE;
        uint64_t at[] = { m->va, m->va + m->size - PAGE, m->va + middle,
                          m->va + m->size };

        for (unsigned k = 0; k < ARRAY_SIZE(at); k++) {
            uint64_t va = canonical(tree, at[k]);

            g_array_append_val(probes, va);
        }
    }
    return probes;
}

static void check_walker(Tree *tree, const GArray *probes)
{
    g_autofree GuestCommand *commands = g_new0(GuestCommand, probes->len);
    g_autofree GuestLog *log = g_new0(GuestLog, probes->len);

    for (unsigned i = 0; i < probes->len; i++) {
        commands[i].op = OP_LOAD;
        commands[i].operand = g_array_index(probes, uint64_t, i);
    }
    guest_run(tree->guest, commands, probes->len, log);
    for (unsigned i = 0; i < probes->len; i++) {
        uint64_t va = commands[i].operand;
        const Mapping *m = find(tree, va);

        if (m) {
            g_assert_cmphex(log[i].vector, ==, NO_FAULT);
            g_assert_cmphex(log[i].value, ==, guest_tag(m->pa + va - m->va));
        } else {
            g_assert_cmphex(log[i].vector, ==, 14);
        }
    }
}

static void check_gva2gpa(Tree *tree, const GArray *probes)
{
    for (unsigned i = 0; i < probes->len; i++) {
        uint64_t va = g_array_index(probes, uint64_t, i) + 0x123;
        const Mapping *m = find(tree, va);
        g_autofree char *got = qtest_hmp(tree->guest->qts,
                                         "gva2gpa 0x%" PRIx64, va);
        g_autofree char *expected = m ?
            g_strdup_printf("gpa: 0x%" PRIx64 "\r\n", m->pa + va - m->va) :
            g_strdup("Unmapped\r\n");

        if (!g_str_equal(got, expected)) {
            g_test_message("gva2gpa 0x%" PRIx64, va);
        }
        g_assert_cmpstr(got, ==, expected);
    }
}

/* The guest's own three pages of 1 GB are there too: see guest_start(). */
static bool is_own(const Tree *tree, uint64_t va)
{
    return va < 512 * GiB;
}

static void check_info_tlb(Tree *tree)
{
    g_autofree char *text = qtest_hmp(tree->guest->qts, "info tlb");
    g_auto(GStrv) lines = g_strsplit(text, "\r\n", -1);
    unsigned next = 0, own = 0;
    uint64_t last = 0;

    /* tree->mappings and what is printed are in the order of addresses. */
    for (unsigned i = 0; lines[i] && *lines[i]; i++) {
        uint64_t va, pa;
        char flags[10];
        const Mapping *m;

        g_assert_cmpint(sscanf(lines[i], "%" SCNx64 ": %" SCNx64 " %9s",
                               &va, &pa, flags), ==, 3);
        g_assert(i == 0 || va > last);
        last = va;
        if (is_own(tree, va)) {
            own++;
            continue;
        }
        while (next < tree->n && !tree->mappings[next].valid) {
            next++;
        }
        g_assert_cmpuint(next, <, tree->n);
        m = &tree->mappings[next++];
        g_assert_cmphex(va, ==, m->va);
        g_assert_cmphex(pa, ==, m->pa);
        g_assert_cmpint(flags[2] == 'P', ==, m->size > PAGE);
        g_assert_cmpint(flags[7] == 'U', ==, m->leaf_us);
        g_assert_cmpint(flags[8] == 'W', ==, m->leaf_rw);
    }
    while (next < tree->n && !tree->mappings[next].valid) {
        next++;
    }
    g_assert_cmpuint(next, ==, tree->n);
    g_assert_cmpuint(own, ==, 3);
}

static void check_info_mem(Tree *tree)
{
    g_autofree char *text = qtest_hmp(tree->guest->qts, "info mem");
    g_auto(GStrv) lines = g_strsplit(text, "\r\n", -1);
    unsigned next = 0;

    for (unsigned i = 0; lines[i] && *lines[i]; i++) {
        uint64_t start, end, size;
        char rights[4];

        g_assert_cmpint(sscanf(lines[i], "%" SCNx64 "-%" SCNx64 " %" SCNx64
                               " %3s", &start, &end, &size, rights), ==, 4);
        if (is_own(tree, start)) {
            continue;
        }
        /* The mappings that this range must consist of, one after another. */
        while (start != end) {
            const Mapping *m;

            while (next < tree->n && !tree->mappings[next].valid) {
                next++;
            }
            g_assert_cmpuint(next, <, tree->n);
            m = &tree->mappings[next++];
            g_assert_cmphex(start, ==, m->va);
            g_assert_cmpint(rights[0] == 'u', ==, m->us);
            g_assert_cmpint(rights[2] == 'w', ==, m->rw);
            start = canonical(tree, start + m->size);
        }
    }
    while (next < tree->n && !tree->mappings[next].valid) {
        next++;
    }
    g_assert_cmpuint(next, ==, tree->n);
}

static void check_dump(Tree *tree, const GArray *probes, const char *dir)
{
    g_autofree char *path = g_build_filename(dir, "dump", NULL);
    g_autofree char *data = NULL;
    g_autofree char *protocol = g_strdup_printf("file:%s", path);
    g_autoptr(GError) err = NULL;
    const Elf64_Ehdr *header;
    const Elf64_Phdr *load;
    uint64_t covered = 0, expected = 0;
    gsize size;

    qtest_qmp_assert_success(tree->guest->qts,
                             "{ 'execute': 'dump-guest-memory', 'arguments': {"
                             "  'paging': true, 'protocol': %s } }", protocol);
    g_file_get_contents(path, &data, &size, &err);
    g_assert_no_error(err);
    unlink(path);
    header = (Elf64_Ehdr *)data;
    load = (Elf64_Phdr *)(data + header->e_phoff);
    for (unsigned i = 0; i < probes->len; i++) {
        uint64_t va = g_array_index(probes, uint64_t, i);
        const Mapping *m = find(tree, va);
        bool found = false;

        for (unsigned h = 0; h < header->e_phnum; h++) {
            const Elf64_Phdr *p = &load[h];

            if (p->p_type != PT_LOAD || va - p->p_vaddr >= p->p_memsz) {
                continue;
            }
            g_assert_nonnull(m);
            g_assert_cmphex(p->p_paddr + va - p->p_vaddr, ==,
                            m->pa + va - m->va);
            g_assert_cmphex(*(uint64_t *)(data + p->p_offset + va -
                                          p->p_vaddr), ==,
                            guest_tag(m->pa + va - m->va));
            found = true;
        }
        g_assert_cmpint(found, ==, m != NULL);
    }
    /* Nor is there anything that no mapping covers. */
    for (unsigned h = 0; h < header->e_phnum; h++) {
        if (load[h].p_type == PT_LOAD && !is_own(tree, load[h].p_vaddr)) {
            covered += load[h].p_memsz;
        }
    }
    for (unsigned i = 0; i < tree->n; i++) {
        expected += tree->mappings[i].valid ? tree->mappings[i].size : 0;
    }
    g_assert_cmphex(covered, ==, expected);
}

static void check_gdb(Tree *tree, const GArray *probes, const char *path)
{
    int fd = gdb_connect(path);
    char answer[64];

    for (unsigned i = 0; i < probes->len; i++) {
        uint64_t va = g_array_index(probes, uint64_t, i);
        const Mapping *m = find(tree, va);
        g_autofree char *packet = g_strdup_printf("m%" PRIx64 ",8", va);

        gdb_ask(fd, packet, answer, sizeof(answer));
        if (m) {
            uint64_t value;

            g_assert_cmpuint(strlen(answer), ==, 16);
            g_assert_cmpint(qemu_strtou64(answer, NULL, 16, &value), ==, 0);
            g_assert_cmphex(bswap64(value), ==, guest_tag(m->pa + va - m->va));
        } else {
            g_assert_cmpstr(answer, ==, "E14");
        }
    }
    close(fd);
}

static void test_decoders(const void *data)
{
    const Fixture *fixture = data;
    g_autoptr(GError) err = NULL;
    g_autofree char *dir = g_dir_make_tmp("x64k-XXXXXX", &err);
    g_autofree char *socket_path = g_build_filename(dir, "gdb", NULL);
    g_autofree char *options = g_strdup_printf("-gdb unix:%s,server=on,"
                                               "wait=off", socket_path);
    g_autoptr(GArray) probes = NULL;
    g_autofree Tree *tree = g_new0(Tree, 1);
    unsigned kinds[KINDS] = { };

    g_assert_no_error(err);
    tree->fixture = fixture;
    tree->rand = g_rand_new_with_seed(g_test_rand_int());
    tree->guest = guest_start_with(fixture->properties, fixture->cr4, 1,
                                   options);
    guest_tag_frames(tree->guest, RAM_FROM, GUEST_RAM_SIZE - RAM_FROM, 0);
    for (int i = 0; i < 300; i++) {
        Kind kind = g_rand_int_range(tree->rand, 0, KINDS);
        unsigned before = tree->n;

        add(tree, kind);
        kinds[kind] += tree->n > before;
    }
    for (Kind kind = 0; kind < KINDS; kind++) {
        g_assert_cmpuint(kinds[kind], >, 0);
    }
    qsort(tree->mappings, tree->n, sizeof(Mapping), by_va);

    probes = make_probes(tree);
    g_test_message("%u mappings, %u addresses", tree->n, probes->len);
    check_walker(tree, probes);
    check_gva2gpa(tree, probes);
    check_info_tlb(tree);
    check_info_mem(tree);
    check_dump(tree, probes, dir);
    check_gdb(tree, probes, socket_path);

    guest_stop(tree->guest);
    unlink(socket_path);
    rmdir(dir);
    g_rand_free(tree->rand);
}

static const Fixture fixtures[] = {
    { "4-level", ",x64k-contig=on,x64k-leaf=on", CR4_P64, true },
    { "5-level", ",x64k-contig=on,x64k-leaf=on,la57=on", CR4_P64 | CR4_LA57,
      true },
    { "4-level/hint-alone", ",x64k-contig=on", CR4_P64, false },
    { "5-level/not-enabled", ",x64k-leaf=on,la57=on", CR4_LA57, false },
    { "4-level/model", ",x64k-contig=on,x64k-leaf=on,hwtlb=skylake", CR4_P64,
      true },
};

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < ARRAY_SIZE(fixtures); i++) {
        g_autofree char *path = g_strdup_printf("/x64k/decoders/%s",
                                                fixtures[i].name);

        qtest_add_data_func(path, &fixtures[i], test_decoders);
    }
    return g_test_run();
}
