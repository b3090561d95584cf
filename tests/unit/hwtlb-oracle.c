/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"
#include "hwtlb-oracle.h"

typedef struct Way {
    uint64_t va, size;          /* size 0: not valid */
    uint64_t filled, used;      /* when */
    bool referenced;
    HWTLBLeaf leaf;
} Way;

struct Oracle {
    HWTLBConfig config;
    Way *ways[HWTLB_LEVELS][HWTLB_MAX_ARRAYS];
    bool *upper[HWTLB_LEVELS][HWTLB_MAX_ARRAYS];    /* half to go next */
    uint64_t random[HWTLB_LEVELS][HWTLB_MAX_ARRAYS];
    uint64_t clock, n[HWTLB_C__MAX];
};

/* First counter of the fills of each level; that of evictions follows them. */
static const int fills[] = {
    HWTLB_C_L1D_FILL_4K, HWTLB_C_L1I_FILL_4K, HWTLB_C_STLB_FILL_4K,
};

#define FOR_EACH_WAY(o, l, a, w) \
    for (int a = 0; a < HWTLB_MAX_ARRAYS; a++) \
        for (Way *w = (o)->ways[l][a], *end = w + \
             (o)->config.arrays[l][a].sets * (o)->config.arrays[l][a].ways; \
             w < end; w++)

static void point_away(bool *upper, unsigned low, unsigned n, unsigned way)
{
    bool in_upper = way >= low + n / 2;

    if (n > 1) {
        upper[low + n / 2] = !in_upper;
        point_away(upper, in_upper ? low + n / 2 : low, n / 2, way);
    }
}

static void touch(Oracle *o, int l, int a, Way *way)
{
    unsigned n = o->config.arrays[l][a].ways, at = way - o->ways[l][a], all = 0;
    Way *set = way - at % n;

    way->used = ++o->clock;
    way->referenced = true;
    for (unsigned i = 0; i < n; i++) {
        all += set[i].referenced;
    }
    for (unsigned i = 0; all == n && i < n; i++) {
        set[i].referenced = &set[i] == way;
    }
    point_away(o->upper[l][a] + (at - at % n), 0, n, at % n);
}

static unsigned choose(Oracle *o, int l, int a, const Way *set, unsigned base)
{
    unsigned n = o->config.arrays[l][a].ways, best = 0, low = 0;
    HWTLBPolicy policy = o->config.arrays[l][a].policy;
    uint64_t z;

    for (unsigned i = 0; i < n; i++) {
        if (!set[i].size) {
            return i;
        }
    }
    if (policy == HWTLB_RANDOM) {
        z = o->random[l][a] += 0x9e3779b97f4a7c15;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
        z = (z ^ z >> 27) * 0x94d049bb133111eb;
        return ((z ^ z >> 31) >> 32) * n / (1ull << 32);
    }
    if (policy == HWTLB_TREE_PLRU) {
        for (unsigned half = n / 2; half; half /= 2) {
            low += o->upper[l][a][base + low + half] ? half : 0;
        }
        return low;
    }
    for (unsigned i = n - 1; i < n; i--) {
        if (policy == HWTLB_NRU ? !set[i].referenced :
            policy == HWTLB_LRU ? set[i].used < set[best].used :
                                  set[i].filled < set[best].filled) {
            best = i;
        }
    }
    return best;
}

static Way *fill(Oracle *o, int l, uint64_t va, const HWTLBLeaf *leaf)
{
    uint64_t size = 1ull << hwtlb_class_bits(leaf->class), vpn = va / size, set;
    const HWTLBArrayConfig *c;
    int a = 0;
    Way *way;

    while (!(o->config.arrays[l][a].classes >> leaf->class & 1)) {
        a++;
    }
    c = &o->config.arrays[l][a];
    set = (c->hash == HWTLB_XOR ? vpn ^ vpn / c->sets : vpn) % c->sets *
          c->ways;
    way = o->ways[l][a] + set;
    way += choose(o, l, a, way, set);
    o->n[fills[l] + HWTLB_CLASSES] += way->size != 0;
    *way = (Way) { va / size * size, size, ++o->clock, 0, false, *leaf };
    touch(o, l, a, way);
    o->n[fills[l] + leaf->class]++;
    return way;
}

static void drop(Oracle *o, int l, Way *way, HWTLBCause cause)
{
    o->n[fills[l] + HWTLB_CLASSES + 1 + cause]++;
    way->size = 0;
    way->referenced = false;
}

static Way *find(Oracle *o, int l, uint64_t va, int *array)
{
    FOR_EACH_WAY(o, l, a, w) {
        if (w->size && va - w->va < w->size) {
            *array = a;
            return w;
        }
    }
    return NULL;
}

static Way *walk(Oracle *o, int l, uint64_t va, const HWTLBLeaf *leaf)
{
    uint64_t size = 1ull << hwtlb_class_bits(leaf->class);

    for (int i = 0; i < HWTLB_LEVELS; i++) {
        FOR_EACH_WAY(o, i, a, w) {
            if (w->size && w->size < size && w->va / size == va / size) {
                drop(o, i, w, HWTLB_REPLACED);
            }
        }
    }
    fill(o, HWTLB_STLB, va, leaf);
    return fill(o, l, va, leaf);
}

void oracle_access(Oracle *o, HWTLBAccess access, uint64_t va,
                   const HWTLBLeaf *leaf)
{
    int l = access == HWTLB_FETCH ? HWTLB_L1I : HWTLB_L1D, a, a2;
    Way *way = find(o, l, va, &a), *second = find(o, HWTLB_STLB, va, &a2);
    int lookup = l == HWTLB_L1I ? HWTLB_C_L1I_LOOKUP : HWTLB_C_L1D_LOOKUP;

    o->n[lookup] += o->config.observe_every;
    if (way) {
        o->n[lookup + 1] += o->config.observe_every;
        touch(o, l, a, way);
    } else {
        o->n[access == HWTLB_FETCH ? HWTLB_C_L1I_MISS :
             HWTLB_C_L1D_LOAD_MISS + access]++;
        if (!second) {
            o->n[HWTLB_C_STLB_LOAD_MISS + access]++;
            o->n[HWTLB_C_WALK_COMPLETED]++;
            walk(o, l, va, leaf);
            return;
        }
        touch(o, HWTLB_STLB, a2, second);
        way = fill(o, l, va, &second->leaf);
    }
    if (access != HWTLB_STORE || way->leaf.dirty) {
        return;
    }
    o->n[HWTLB_C_WALK_DIRTY]++;
    for (int i = 0; i < 2; i++) {
        Way **w = i ? &way : &second;

        if (*w && (*w)->leaf.class != leaf->class) {
            drop(o, i ? l : HWTLB_STLB, *w, HWTLB_REPLACED);
            *w = NULL;
        } else if (*w) {
            (*w)->leaf = *leaf;
        }
    }
    if (!way && second) {
        fill(o, l, va, leaf);
    } else if (!way) {
        walk(o, l, va, leaf);
    }
}

void oracle_drop(Oracle *o, bool all, uint64_t va, bool global,
                 HWTLBCause cause)
{
    for (int l = 0; l < HWTLB_LEVELS; l++) {
        FOR_EACH_WAY(o, l, a, w) {
            if (w->size && (all ? global || !w->leaf.global
                                : va - w->va < w->size)) {
                drop(o, l, w, cause);
            }
        }
    }
}

uint64_t oracle_counter(const Oracle *o, HWTLBCounter counter)
{
    return o->n[counter];
}

Oracle *oracle_new(const HWTLBConfig *config)
{
    Oracle *o = g_new0(Oracle, 1);

    o->config = *config;
    for (int l = 0; l < HWTLB_LEVELS; l++) {
        for (int a = 0, used = 0; a < HWTLB_MAX_ARRAYS; a++) {
            size_t n = config->arrays[l][a].sets * config->arrays[l][a].ways;

            /* One more: no null pointer where there is no array. */
            o->ways[l][a] = g_new0(Way, n + 1);
            o->upper[l][a] = g_new0(bool, n);
            if (n) {
                o->random[l][a] = config->seed + 4 * l + used++;
            }
        }
    }
    return o;
}

void oracle_free(Oracle *o)
{
    for (int l = 0; l < HWTLB_LEVELS; l++) {
        for (int a = 0; a < HWTLB_MAX_ARRAYS; a++) {
            g_free(o->ways[l][a]);
            g_free(o->upper[l][a]);
        }
    }
    g_free(o);
}
