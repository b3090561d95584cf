/*
 * What a processor's TLBs count while x64k-guest makes its accesses
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "x64k-sim.h"

/* The guest's own pages: 1 GB of RAM, and the 1 GB that its ROM is in. */
#define OWN_RAM         UINT64_C(0)
#define OWN_ROM         UINT64_C(0xfffff000)

#define PWC             SIM_LEVELS      /* row of entries[] */
#define ADDRESS         UINT64_C(0x000ffffffffff000)

typedef enum Access {
    LOAD, STORE, FETCH,                 /* in the order of the counters */
} Access;

typedef enum Cause {
    INVLPG, CR3, CR, SVM, FAULT, REPLACED,
} Cause;

typedef enum Kind {
    COMPLETED, FAULTED, DIRTY, RIGHTS,
} Kind;

typedef struct Leaf {
    SimSize size;
    bool writable, executable, global, dirty;
} Leaf;

typedef struct SimEntry {
    bool valid, referenced;
    bool upper;                         /* of a tree's node: which half goes */
    uint64_t va;
    unsigned shift, size;               /* of what it covers */
    Leaf leaf;
    struct SimEntry *older, *newer;     /* of the same set, by fill or touch */
} Entry;

typedef struct SimSet {
    Entry *ways, *oldest, *newest;
    unsigned first_free;                /* none below it is free */
} Set;

static const unsigned shifts[SIM_SIZES] = {
    12, 13, 14, 15, 16, 16, 16, 21, 30,
};

static const unsigned pwc_shifts[SIM_PWCS] = { 39, 30, 21 };

static const unsigned first_fill[SIM_LEVELS] = {
    HWTLB_C_L1D_FILL_4K, HWTLB_C_L1I_FILL_4K, HWTLB_C_STLB_FILL_4K,
};

const char *const sim_policy_names[SIM_POLICIES] = {
    "fifo", "lru", "random", "tree-plru", "nru",
};

static void count_fill(Sim *s, unsigned level, SimSize size)
{
    s->counters[first_fill[level] + size]++;
    s->held[level][size]++;
}

static void count_evict(Sim *s, unsigned level, SimSize size)
{
    s->counters[first_fill[level] + SIM_SIZES]++;
    s->held[level][size]--;
}

static void count_flush(Sim *s, unsigned level, SimSize size, Cause cause)
{
    s->counters[first_fill[level] + SIM_SIZES + 1 + cause]++;
    s->held[level][size]--;
}

/*
 * Sets and policies
 */

static const SimArray *array_of(const Sim *s, unsigned row, unsigned a)
{
    return row == PWC ? &s->geometry.pwc[a] : &s->geometry.arrays[row][a];
}

static Set *set_of(Sim *s, unsigned row, unsigned a, uint64_t vpn)
{
    const SimArray *array = array_of(s, row, a);
    uint64_t set = array->xor ? vpn ^ vpn / array->sets : vpn;

    return &s->sets[row][a][set % array->sets];
}

static void take_out(Set *set, Entry *entry)
{
    *(entry->older ? &entry->older->newer : &set->oldest) = entry->newer;
    *(entry->newer ? &entry->newer->older : &set->newest) = entry->older;
}

static void make_newest(Set *set, Entry *entry)
{
    entry->older = set->newest;
    entry->newer = NULL;
    *(set->newest ? &set->newest->newer : &set->oldest) = entry;
    set->newest = entry;
}

static void touch(const SimArray *array, Set *set, Entry *entry)
{
    unsigned way = entry - set->ways, all = 0;

    if (array->policy == SIM_LRU) {
        take_out(set, entry);
        make_newest(set, entry);
    }
    if (array->policy == SIM_NRU) {
        entry->referenced = true;
        for (unsigned i = 0; i < array->ways; i++) {
            all += set->ways[i].referenced;
        }
        for (unsigned i = 0; all == array->ways && i < array->ways; i++) {
            set->ways[i].referenced = i == way;
        }
    }
    if (array->policy == SIM_TREE_PLRU) {
        /* Each node of the tree lies at the middle of the ways below it. */
        for (unsigned low = 0, n = array->ways; n > 1; n /= 2) {
            unsigned middle = low + n / 2;

            set->ways[middle].upper = way < middle;
            low = way < middle ? low : middle;
        }
    }
}

static Entry *victim(Sim *s, unsigned row, unsigned a, Set *set)
{
    const SimArray *array = array_of(s, row, a);
    Entry *best = set->ways;
    uint64_t z;

    while (set->first_free < array->ways &&
           set->ways[set->first_free].valid) {
        set->first_free++;
    }
    if (set->first_free < array->ways) {
        return &set->ways[set->first_free];
    }
    switch (array->policy) {
    case SIM_RANDOM:
        z = s->random[row][a] += UINT64_C(0x9e3779b97f4a7c15);
        z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
        z ^= z >> 31;
        return &set->ways[(z >> 32) * array->ways >> 32];
    case SIM_TREE_PLRU:
        for (unsigned half = array->ways / 2; half; half /= 2) {
            best += best[half].upper ? half : 0;
        }
        return best;
    case SIM_NRU:
        for (unsigned i = 0; i < array->ways; i++) {
            if (!set->ways[i].referenced) {
                return &set->ways[i];
            }
        }
        return best;
    default:
        return set->oldest;
    }
}

static gpointer key_of(uint64_t va, unsigned shift, unsigned size)
{
    return GSIZE_TO_POINTER((va >> shift << shift) | size);
}

static guint hash_key(gconstpointer key)
{
    uint64_t k = GPOINTER_TO_SIZE(key);

    return k >> 12 ^ k >> 39 ^ k << 20;
}

static void lose(Sim *s, unsigned row, Set *set, Entry *entry)
{
    g_hash_table_remove(s->found[row],
                        key_of(entry->va, entry->shift, entry->size));
    take_out(set, entry);
    entry->valid = false;
    entry->referenced = false;
}

static void drop(Sim *s, unsigned row, unsigned a, Entry *entry)
{
    Set *set = set_of(s, row, a, entry->va >> entry->shift);
    unsigned way = entry - set->ways;

    lose(s, row, set, entry);
    set->first_free = MIN(set->first_free, way);
}

/* Puts an entry for @va, of @shift bits, into its set; a PWC's @size is @a. */
static Entry *put(Sim *s, unsigned row, unsigned a, uint64_t va,
                  unsigned shift, unsigned size)
{
    Set *set = set_of(s, row, a, va >> shift);
    Entry *entry = victim(s, row, a, set);

    if (entry->valid) {
        if (row != PWC) {
            count_evict(s, row, entry->size);
        }
        lose(s, row, set, entry);
    }
    entry->valid = true;
    entry->shift = shift;
    entry->size = size;
    entry->va = va >> shift << shift;
    make_newest(set, entry);
    g_hash_table_insert(s->found[row], key_of(va, shift, size), entry);
    touch(array_of(s, row, a), set, entry);
    return entry;
}

/*
 * Levels
 */

static unsigned array_for(const Sim *s, unsigned level, SimSize size)
{
    unsigned a = 0;

    while (!(array_of(s, level, a)->sizes >> size & 1)) {
        a++;
        g_assert_cmpuint(a, <, SIM_ARRAYS);
    }
    return a;
}

/* The entry for @va, if there is one; a look-up touches it. */
static Entry *find(Sim *s, unsigned level, uint64_t va, bool look_up)
{
    /* Most accesses are the guest's own, through entries of 1 GB. */
    for (int size = SIM_SIZES - 1; size >= 0; size--) {
        Entry *entry = NULL;

        if (s->held[level][size]) {
            entry = g_hash_table_lookup(s->found[level],
                                        key_of(va, shifts[size], size));
        }
        if (entry) {
            unsigned a = array_for(s, level, size);

            if (look_up) {
                touch(array_of(s, level, a),
                      set_of(s, level, a, va >> shifts[size]), entry);
            }
            return entry;
        }
    }
    return NULL;
}

static Entry *fill(Sim *s, unsigned level, uint64_t va, const Leaf *leaf)
{
    Entry *entry = put(s, level, array_for(s, level, leaf->size), va,
                       shifts[leaf->size], leaf->size);

    entry->leaf = *leaf;
    count_fill(s, level, leaf->size);
    return entry;
}

static void flush_entry(Sim *s, unsigned level, Entry *entry, Cause cause)
{
    count_flush(s, level, entry->size, cause);
    drop(s, level, array_for(s, level, entry->size), entry);
}

/* Drops the entries that @which says. */
static void flush_level(Sim *s, unsigned level, Cause cause,
                        bool (*which)(const Entry *, const Leaf *, uint64_t),
                        const Leaf *leaf, uint64_t va)
{
    for (unsigned a = 0; a < SIM_ARRAYS; a++) {
        const SimArray *array = array_of(s, level, a);

        for (unsigned i = 0; i < array->sets * array->ways; i++) {
            Entry *entry = &s->entries[level][a][i];

            if (entry->valid && which(entry, leaf, va)) {
                flush_entry(s, level, entry, cause);
            }
        }
    }
}

static bool is_inside(const Entry *entry, const Leaf *leaf, uint64_t va)
{
    return entry->shift < shifts[leaf->size] &&
           (va ^ entry->va) >> shifts[leaf->size] == 0;
}

/* The smaller entries of what @leaf translates now. */
static void flush_inside(Sim *s, unsigned level, const Leaf *leaf, uint64_t va)
{
    const uint64_t start = va >> shifts[leaf->size] << shifts[leaf->size];

    if (leaf->size > SIM_64K_LEAF) {
        flush_level(s, level, REPLACED, is_inside, leaf, va);
        return;
    }
    for (uint64_t page = 0; page < 1ull << shifts[leaf->size]; page += PAGE) {
        Entry *entry = find(s, level, start + page, false);

        if (entry && is_inside(entry, leaf, va)) {
            flush_entry(s, level, entry, REPLACED);
        }
    }
}

static bool is_not_global(const Entry *entry, const Leaf *leaf, uint64_t va)
{
    return !entry->leaf.global;
}

static Entry *fill_both(Sim *s, unsigned l1, uint64_t va, const Leaf *leaf)
{
    for (unsigned level = 0; level < SIM_LEVELS; level++) {
        bool smaller = false;

        for (unsigned size = 0; size < leaf->size; size++) {
            smaller |= s->held[level][size];
        }
        if (smaller) {
            flush_inside(s, level, leaf, va);
        }
    }
    fill(s, SIM_STLB, va, leaf);
    return fill(s, l1, va, leaf);
}

static void empty_pwc(Sim *s)
{
    for (unsigned a = 0; a < SIM_PWCS; a++) {
        const SimArray *array = array_of(s, PWC, a);

        for (unsigned i = 0; i < array->sets * array->ways; i++) {
            if (s->entries[PWC][a][i].valid) {
                drop(s, PWC, a, &s->entries[PWC][a][i]);
            }
        }
    }
}

static Entry *find_pwc(Sim *s, unsigned a, uint64_t va)
{
    return g_hash_table_lookup(s->found[PWC], key_of(va, pwc_shifts[a], a));
}

static void invalidate(Sim *s, uint64_t va, Cause cause)
{
    for (unsigned level = 0; level < SIM_LEVELS; level++) {
        Entry *entry = find(s, level, va, false);

        if (entry) {
            flush_entry(s, level, entry, cause);
        }
    }
    for (unsigned a = 0; cause == FAULT && a < SIM_PWCS; a++) {
        Entry *entry = find_pwc(s, a, va);

        if (entry) {
            drop(s, PWC, a, entry);
        }
    }
    if (cause != FAULT) {
        empty_pwc(s);
    }
}

/*
 * Walks
 */

static uint64_t read_pte(Sim *s, uint64_t pa)
{
    return *guest_word(s->guest, pa) | s->flags[pa / 8];
}

static void set_flags(Sim *s, uint64_t pa, uint8_t flags)
{
    if (!s->flags[pa / 8]) {
        g_array_append_val(s->flagged, pa);
    }
    s->flags[pa / 8] |= flags;
}

static void count_line(Sim *s, uint64_t pa)
{
    if (!s->lines[pa / 64]) {
        s->lines[pa / 64] = true;
        s->counters[HWTLB_C_WALK_LINES]++;
    }
}

static void walk_pwc(Sim *s, uint64_t va, unsigned top, unsigned last)
{
    unsigned hit = 0;

    for (unsigned level = MAX(last + 1, 2); !hit && level <= 4; level++) {
        Entry *entry = find_pwc(s, 4 - level, va);

        if (entry) {
            touch(array_of(s, PWC, 4 - level),
                  set_of(s, PWC, 4 - level, va >> pwc_shifts[4 - level]),
                  entry);
            hit = level;
        }
    }
    for (unsigned level = last + 1; level <= 4 && (!hit || level < hit);
         level++) {
        if (array_of(s, PWC, 4 - level)->ways) {
            put(s, PWC, 4 - level, va, pwc_shifts[4 - level], 4 - level);
        }
    }
    if (hit) {
        s->counters[HWTLB_C_PWC_HIT_PML4E + 4 - hit]++;
        s->counters[HWTLB_C_WALK_SAVED] += top - hit + 1;
    } else {
        s->counters[HWTLB_C_PWC_MISS]++;
    }
}

/* Has the group of the PTE at @pa one translation?  Counts why not. */
static bool check_group(Sim *s, uint64_t pa)
{
    const uint64_t same = PTE_RW | PTE_US | PTE_PWT | PTE_PCD | PTE_PS |
                          PTE_G | PTE_KEY(15) | PTE_NX;
    const uint64_t group = pa & ~UINT64_C(127);
    const uint64_t first = read_pte(s, group);

    s->counters[HWTLB_C_WALK_READ_GROUP] += 15;
    count_line(s, group);
    count_line(s, group + 64);
    for (unsigned k = 0; k < 16; k++) {
        uint64_t pte = read_pte(s, group + 8 * k);
        int why = !(pte & PTE_P) ? HWTLB_C_CONTIG_ABSENT :
                  !(pte & PTE_P64) ? HWTLB_C_CONTIG_UNMARKED :
                  (first & ADDRESS) % PAGE_64K ||
                  (pte & ADDRESS) != (first & ADDRESS) + k * PAGE ?
                  HWTLB_C_CONTIG_FRAME :
                  (pte ^ first) & same ? HWTLB_C_CONTIG_ATTRIBUTES : -1;

        if (why >= 0) {
            s->counters[why]++;
            return false;
        }
    }
    s->counters[HWTLB_C_CONTIG_WELL_FORMED]++;
    return true;
}

/* The size that the neighbours of the PTE at @pa make of it. */
static SimSize coalesce(Sim *s, uint64_t pa)
{
    const uint64_t same = PTE_RW | PTE_US | PTE_PWT | PTE_PCD | PTE_D |
                          PTE_PS | PTE_G | PTE_KEY(15) | PTE_NX;
    const uint64_t walked = read_pte(s, pa);
    SimSize best = SIM_4K;

    if (s->geometry.coalesce > 8) {
        count_line(s, pa ^ 64);
    }
    for (SimSize size = SIM_8K; 1u << size <= s->geometry.coalesce; size++) {
        const unsigned n = 1u << size;
        const uint64_t group = pa & ~(8ull * n - 1);
        const uint64_t frame = read_pte(s, group) & ADDRESS;
        bool good = frame % (n * PAGE) == 0;

        for (unsigned k = 0; good && k < n; k++) {
            uint64_t pte = read_pte(s, group + 8 * k);

            good = (pte & PTE_P) && (pte & PTE_A) &&
                   !((pte ^ walked) & same) &&
                   (pte & ADDRESS) == frame + k * PAGE;
        }
        best = good ? size : best;
    }
    return best;
}

/* Sets A, or A and D, in the leaf at @pa; makes the translation. */
static Leaf make_leaf(Sim *s, uint64_t pa, unsigned level, bool leaf_table,
                      Access access)
{
    const uint64_t pte = read_pte(s, pa);
    const uint8_t set = access == STORE ? PTE_A | PTE_D : PTE_A;
    const bool marked = level == 1 && !leaf_table && (pte & PTE_P64) &&
                        (s->guest->cr4 & CR4_P64);
    Leaf leaf = {
        .size = level == 3 ? SIM_1G : level == 2 ? SIM_2M :
                leaf_table ? SIM_64K_LEAF : SIM_4K,
        .writable = pte & PTE_RW,
        .executable = !(pte & PTE_NX),
        .global = (pte & PTE_G) && (s->guest->cr4 & CR4_PGE),
        .dirty = (pte | set) & PTE_D,
    };

    if (marked && check_group(s, pa)) {
        leaf.size = SIM_64K_HINT;
        for (unsigned k = 0; k < 16; k++) {
            uint64_t other = (pa & ~UINT64_C(127)) + 8 * k;

            set_flags(s, other, set);
            leaf.dirty &= (read_pte(s, other) & PTE_D) != 0;
        }
    } else {
        set_flags(s, pa, set);
    }
    if (leaf.size == SIM_4K && s->geometry.coalesce > 1) {
        leaf.size = coalesce(s, pa);
    }
    return leaf;
}

/* Reads the page tables; false after a page fault. */
static bool walk(Sim *s, Access access, uint64_t va, Kind kind, Leaf *leaf)
{
    const unsigned top = s->guest->la57 ? 5 : 4;
    uint64_t table = s->guest->cr3, pa, pte;
    bool leaf_table = false, good;
    unsigned level = top;

    for (;; level--) {
        pa = table + 8 * (leaf_table ? va >> 16 & 31
                                     : va >> (9 * level + 3) & 511);
        pte = read_pte(s, pa);
        s->counters[HWTLB_C_WALK_READ_PML5 + 5 - level]++;
        count_line(s, pa);
        if (!(pte & PTE_P) || level == 1 || (level <= 3 && (pte & PTE_PS))) {
            break;
        }
        leaf_table = level == 2 && (pte & PTE_P64) &&
                     (s->guest->cr4 & CR4_P64);
        table = pte & (leaf_table ? ADDRESS | 0xf00 : ADDRESS);
    }
    good = (pte & PTE_P) && (access != STORE || (pte & PTE_RW)) &&
           (access != FETCH || !(pte & PTE_NX));
    if (good) {
        *leaf = make_leaf(s, pa, level, leaf_table, access);
    }
    s->counters[HWTLB_C_WALK_COMPLETED + (good ? kind : FAULTED)]++;
    walk_pwc(s, va, top, level);
    if (!good) {
        invalidate(s, va, FAULT);
    }
    return good;
}

/*
 * Accesses and commands
 */

static bool suffices(const Leaf *leaf, Access access)
{
    return access == STORE ? leaf->writable && leaf->dirty :
           access == FETCH ? leaf->executable : true;
}

/* A hit was not enough, and a walk found @leaf. */
static void renew(Sim *s, unsigned l1, uint64_t va, const Leaf *leaf)
{
    const unsigned levels[] = { SIM_STLB, l1 };
    Entry *found[2];

    for (unsigned i = 0; i < 2; i++) {
        found[i] = find(s, levels[i], va, false);
        if (found[i] && found[i]->leaf.size != leaf->size) {
            flush_entry(s, levels[i], found[i], REPLACED);
            found[i] = NULL;
        } else if (found[i]) {
            found[i]->leaf = *leaf;
        }
    }
    if (!found[1] && found[0]) {
        fill(s, l1, va, leaf);
    } else if (!found[1]) {
        fill_both(s, l1, va, leaf);
    }
}

static bool one_access(Sim *s, Access access, uint64_t va)
{
    const unsigned l1 = access == FETCH ? SIM_L1I : SIM_L1D;
    Entry *entry = find(s, l1, va, true), *second;
    Leaf leaf;

    if (!entry) {
        s->counters[access == FETCH ? HWTLB_C_L1I_MISS :
                    HWTLB_C_L1D_LOAD_MISS + access]++;
        second = find(s, SIM_STLB, va, true);
        if (!second) {
            s->counters[HWTLB_C_STLB_LOAD_MISS + access]++;
            if (!walk(s, access, va, COMPLETED, &leaf)) {
                return false;
            }
            fill_both(s, l1, va, &leaf);
            return true;
        }
        leaf = second->leaf;
        entry = fill(s, l1, va, &leaf);
    }
    if (!suffices(&entry->leaf, access)) {
        bool dirty = access == STORE && entry->leaf.writable;

        if (!walk(s, access, va, dirty ? DIRTY : RIGHTS, &leaf)) {
            return false;
        }
        renew(s, l1, va, &leaf);
    }
    return true;
}

/* One that may fault: then the guest's handler runs. */
static bool try_access(Sim *s, Access access, uint64_t va)
{
    if (one_access(s, access, va)) {
        return true;
    }
    one_access(s, LOAD, OWN_ROM);               /* IDT, GDT */
    one_access(s, STORE, OWN_RAM);              /* stack */
    return false;
}

static uint64_t read_data(Sim *s, uint64_t va)
{
    uint64_t table = s->guest->cr3;

    for (unsigned level = s->guest->la57 ? 5 : 4;; level--) {
        uint64_t pte = *guest_word(s->guest, table +
                                   8 * (va >> (9 * level + 3) & 511));
        unsigned shift = 9 * level + 3;

        if (level == 2 && (pte & PTE_P64) && !(pte & PTE_PS)) {
            pte = *guest_word(s->guest, (pte & (ADDRESS | 0xf00)) +
                              8 * (va >> 16 & 31));
            shift = 16;
        } else if (level > 1 && !(pte & PTE_PS)) {
            table = pte & ADDRESS;
            continue;
        }
        return *guest_word(s->guest,
                           ((pte & ADDRESS) >> shift << shift) +
                           (va & ((1ull << shift) - 1)));
    }
}

static void one_command(Sim *s, const GuestCommand *command)
{
    uint64_t va = command->operand;

    one_access(s, FETCH, OWN_ROM);
    one_access(s, LOAD, OWN_RAM);               /* the script */
    one_access(s, LOAD, OWN_ROM);               /* where the operation is */
    switch (command->op) {
    case OP_END:
        break;
    case OP_LOAD:
        try_access(s, LOAD, va);
        break;
    case OP_STORE:
        try_access(s, STORE, va);
        break;
    case OP_FETCH:
        try_access(s, FETCH, va);
        break;
    case OP_CHASE:
        for (int i = 0; i < command->immediate; i++) {
            one_access(s, LOAD, va);
            va = read_data(s, va);
        }
        break;
    case OP_INVLPG:
        invalidate(s, va, INVLPG);
        break;
    case OP_CR3:
        for (unsigned level = 0; level < SIM_LEVELS; level++) {
            flush_level(s, level, CR3, is_not_global, NULL, 0);
        }
        empty_pwc(s);
        break;
    default:
        g_assert_not_reached();
    }
    one_access(s, FETCH, OWN_ROM);
    one_access(s, STORE, OWN_RAM);              /* the log */
}

void sim_run(Sim *s, const GuestCommand *commands, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        one_command(s, &commands[i]);
    }
    one_command(s, &(GuestCommand) { OP_END });
}

void sim_check_tables(Sim *s)
{
    for (unsigned i = 0; i < s->flagged->len; i++) {
        uint64_t pa = g_array_index(s->flagged, uint64_t, i);
        uint8_t flags = s->flags[pa / 8];

        g_assert_cmphex(*guest_word(s->guest, pa) & flags, ==, flags);
        s->flags[pa / 8] = 0;
    }
    g_array_set_size(s->flagged, 0);
}

void sim_reset_counters(Sim *s)
{
    memset(s->counters, 0, sizeof(s->counters));
    memset(s->lines, 0, GUEST_RAM_SIZE / 64);
}

Sim *sim_new(const SimGeometry *geometry, uint64_t seed, Guest *guest)
{
    Sim *s = g_new0(Sim, 1);

    s->geometry = *geometry;
    s->guest = guest;
    s->lines = g_new0(bool, GUEST_RAM_SIZE / 64);
    s->flags = g_new0(uint8_t, GUEST_RAM_SIZE / 8);
    s->flagged = g_array_new(false, false, sizeof(uint64_t));
    for (unsigned row = 0; row <= PWC; row++) {
        s->found[row] = g_hash_table_new(hash_key, NULL);
        for (unsigned a = 0; a < (row == PWC ? SIM_PWCS : SIM_ARRAYS); a++) {
            const SimArray *array = array_of(s, row, a);

            s->entries[row][a] = g_new0(Entry, array->sets * array->ways + 1);
            s->sets[row][a] = g_new0(Set, array->sets + 1);
            for (unsigned i = 0; i < array->sets; i++) {
                s->sets[row][a][i].ways = s->entries[row][a] + i * array->ways;
            }
            s->random[row][a] = seed + SIM_ARRAYS * row + a;
        }
    }
    /* It turns paging on, loads its segments, and counts its start. */
    one_access(s, FETCH, OWN_ROM);
    one_access(s, LOAD, OWN_ROM);
    one_access(s, LOAD, OWN_RAM);
    return s;
}

void sim_free(Sim *s)
{
    for (unsigned row = 0; row <= PWC; row++) {
        for (unsigned a = 0; a < SIM_ARRAYS; a++) {
            g_free(s->entries[row][a]);
            g_free(s->sets[row][a]);
        }
        g_hash_table_destroy(s->found[row]);
    }
    g_free(s->lines);
    g_free(s->flags);
    g_array_free(s->flagged, true);
    g_free(s);
}

/*
 * The same geometry for the emulator
 */

static void array_json(GString *json, const SimArray *array)
{
    static const char *const sizes[SIM_SIZES] = {
        "4k", "8k", "16k", "32k", "64k", "64k-hint", "64k-leaf", "2m", "1g",
    };
    const char *comma = "";

    g_string_append_printf(json, "{ \"sets\": %u, \"ways\": %u, "
                           "\"policy\": \"%s\", \"hash\": \"%s\"", array->sets,
                           array->ways, sim_policy_names[array->policy],
                           array->xor ? "xor" : "modulo");
    if (array->sizes) {
        g_string_append(json, ", \"classes\": [ ");
        for (unsigned size = 0; size < SIM_SIZES; size++) {
            if (array->sizes >> size & 1) {
                g_string_append_printf(json, "%s\"%s\"", comma, sizes[size]);
                comma = ", ";
            }
        }
        g_string_append(json, " ]");
    }
    g_string_append(json, " }");
}

char *sim_geometry_json(const SimGeometry *geometry)
{
    static const char *const levels[SIM_LEVELS] = { "l1d", "l1i", "stlb" };
    static const char *const pwcs[SIM_PWCS] = { "pml4e", "pdpte", "pde" };
    GString *json = g_string_new("{ ");
    const char *comma = "";

    for (unsigned l = 0; l < SIM_LEVELS; l++) {
        g_string_append_printf(json, "\"%s\": { \"arrays\": [ ", levels[l]);
        for (unsigned a = 0; a < SIM_ARRAYS; a++) {
            if (geometry->arrays[l][a].ways) {
                g_string_append(json, a ? ", " : "");
                array_json(json, &geometry->arrays[l][a]);
            }
        }
        g_string_append(json, " ] }, ");
    }
    g_string_append(json, "\"pwc\": { ");
    for (unsigned p = 0; p < SIM_PWCS; p++) {
        if (geometry->pwc[p].ways) {
            g_string_append_printf(json, "%s\"%s\": ", comma, pwcs[p]);
            array_json(json, &geometry->pwc[p]);
            comma = ", ";
        }
    }
    g_string_append_printf(json, " }, \"coalesce\": %u }",
                           geometry->coalesce);
    return g_string_free(json, false);
}
