/*
 * hwtlb-array: tags in sets and ways, and what gives way
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Why touching the same slot twice in a row is the same as touching it once,
 * even if other slots of the set lose their tags in between (what the MRU
 * filter rests upon, and what lets hwtlb_array_touch() return early):
 *
 * lru        A touch moves the slot to the end of its ring.  It stays there
 *            until another slot is touched: a removal moves the removed slot
 *            to the front, and leaves the order of the others.
 * tree-plru  A touch makes each node on the path to the way point to its
 *            other half: the values written depend on the way alone, and a
 *            removal writes no node.
 * nru        A touch sets the way's bit; if all are set then, the others are
 *            cleared.  With two ways or more, one bit is clear after a touch;
 *            a removal only clears bits.  So the second touch finds its bit
 *            set, finds a clear one, and changes nothing.  (Counting only
 *            valid ways as "all" would break this: the removal of the one way
 *            whose bit is clear would make the next touch clear the others.)
 *            With one way, bit 0 stays set.
 */
#include "qemu/osdep.h"
#include "qemu/host-utils.h"
#include "hw/tlb/hwtlb-array.h"

/* Above this, a set is searched through a hash table. */
#define LINEAR_WAYS 16

static bool uses_path(const HWTLBArrayConfig *config)
{
    return config->policy == HWTLB_TREE_PLRU && config->ways <= 64;
}

static bool uses_order(const HWTLBArrayConfig *config)
{
    return config->policy == HWTLB_FIFO || config->policy == HWTLB_LRU;
}

static bool looks_at_hits(const HWTLBArrayConfig *config)
{
    return config->policy != HWTLB_FIFO && config->policy != HWTLB_RANDOM;
}

/* Of two to four buckets for each slot. */
static unsigned bucket_bits(uint32_t slots)
{
    return 33 - clz32(slots);
}

/* Of two to four guesses for each slot, up to a bound. */
static uint32_t n_guesses(uint32_t slots)
{
    return MIN(1u << (33 - clz32(slots)), 1u << 14);
}

uint64_t hwtlb_array_bytes(const HWTLBArrayConfig *config)
{
    uint64_t slots = (uint64_t)config->sets * config->ways;
    uint64_t words = (uint64_t)config->sets * ((config->ways + 63) / 64);
    uint64_t bytes = slots * sizeof(uint64_t) + words * sizeof(uint64_t);

    if (uses_order(config) && config->ways <= HWTLB_WORD_WAYS) {
        bytes += config->sets * sizeof(uint64_t);
    } else if (uses_order(config)) {
        bytes += slots * sizeof(HWTLBRing) + config->sets * sizeof(uint16_t);
    } else if (looks_at_hits(config)) {
        bytes += words * sizeof(uint64_t);
    }
    if (uses_path(config)) {
        bytes += config->ways * 2 * sizeof(uint64_t);
    }
    if (looks_at_hits(config)) {
        bytes += config->sets * sizeof(uint32_t);
    }
    if (config->ways > LINEAR_WAYS) {
        bytes += (slots + (1ull << bucket_bits(slots))) * sizeof(uint32_t);
    }
    return bytes + n_guesses(slots) * sizeof(uint32_t);
}

/*
 * Bit maps of a set
 */

/* The lowest of @ways bits of @map that is clear, or @ways. */
static uint32_t first_clear(const uint64_t *map, uint32_t ways)
{
    for (uint32_t word = 0; word * 64 < ways; word++) {
        if (~map[word]) {
            return MIN(word * 64 + ctz64(~map[word]), ways);
        }
    }
    return ways;
}

static bool test(const uint64_t *map, uint32_t bit)
{
    return map[bit / 64] >> (bit % 64) & 1;
}

static void assign(uint64_t *map, uint32_t bit, bool value)
{
    if (value) {
        map[bit / 64] |= 1ull << (bit % 64);
    } else {
        map[bit / 64] &= ~(1ull << (bit % 64));
    }
}

/*
 * tree-plru: the leaves of the tree are nodes ways to 2 * ways - 1; node n has
 * the children 2n and 2n + 1; its bit tells which of them goes next.
 */

static void tree_touch(uint64_t *tree, uint32_t ways, uint32_t way)
{
    for (uint32_t node = ways + way; node > 1; node /= 2) {
        assign(tree, node / 2, !(node & 1));
    }
}

void hwtlb_array_init(HWTLBArray *array, const HWTLBArrayConfig *config,
                      uint64_t seed)
{
    const uint32_t sets = config->sets, ways = config->ways;
    const uint32_t slots = sets * ways;

    *array = (HWTLBArray) {
        .config = *config,
        .slots = slots,
        .words = (ways + 63) / 64,
        .per_way = (1ull << 40) / ways + 1,
        .filtered = looks_at_hits(config),
        .set_mask_valid = is_power_of_2(sets),
        .set_mask = sets - 1,
        .hash_shift = config->hash == HWTLB_XOR ? ctz32(sets) : 63,
        .random = seed,
    };
    array->tags = g_new0(uint64_t, slots);
    array->valid = g_new0(uint64_t, (size_t)sets * array->words);
    if (uses_order(config) && ways <= HWTLB_WORD_WAYS) {
        array->order = g_new(uint64_t, sets);
        array->order_top = 4 * (ways - 1);
        for (uint32_t set = 0; set < sets; set++) {
            array->order[set] = 0xfedcba9876543210ull &
                                MAKE_64BIT_MASK(0, 4 * ways);
        }
    } else if (uses_order(config)) {
        array->ring = g_new(HWTLBRing, slots);
        array->head = g_new0(uint16_t, sets);
        for (uint32_t slot = 0; slot < slots; slot++) {
            uint32_t way = slot % ways;

            array->ring[slot].next = way + 1 < ways ? way + 1 : 0;
            array->ring[slot].prev = way ? way - 1 : ways - 1;
        }
    } else if (looks_at_hits(config)) {
        array->bits = g_new0(uint64_t, (size_t)sets * array->words);
    }
    if (uses_path(config)) {
        array->path = g_malloc0_n(ways, sizeof(*array->path));
        for (uint32_t way = 0; way < ways; way++) {
            uint64_t none = 0, all = -1;

            tree_touch(&none, ways, way);
            tree_touch(&all, ways, way);
            array->path[way].nodes = ~all | none;
            array->path[way].values = none;
        }
    }
    if (array->filtered) {
        array->mru = g_new(uint32_t, sets);
        memset(array->mru, 0xff, sets * sizeof(uint32_t));
    }
    array->guess_mask = n_guesses(slots) - 1;
    array->guess = g_new0(uint32_t, array->guess_mask + 1);
    if (ways > LINEAR_WAYS) {
        array->bucket_bits = bucket_bits(slots);
        array->bucket = g_new(uint32_t, 1u << array->bucket_bits);
        memset(array->bucket, 0xff,
               sizeof(uint32_t) << array->bucket_bits);
        array->chain = g_new(uint32_t, slots);
    }
}

void hwtlb_array_destroy(HWTLBArray *array)
{
    g_free(array->tags);
    g_free(array->valid);
    g_free(array->order);
    g_free(array->path);
    g_free(array->ring);
    g_free(array->head);
    g_free(array->bits);
    g_free(array->mru);
    g_free(array->guess);
    g_free(array->bucket);
    g_free(array->chain);
}

static uint32_t tree_victim(const uint64_t *tree, uint32_t ways)
{
    uint32_t node = 1;

    while (node < ways) {
        node = 2 * node + test(tree, node);
    }
    return node - ways;
}

static void nru_touch(uint64_t *map, uint32_t words, uint32_t ways,
                      uint32_t way)
{
    assign(map, way, true);
    if (first_clear(map, ways) == ways) {
        memset(map, 0, words * sizeof(uint64_t));
        assign(map, way, true);
    }
}

void hwtlb_ring_to_end(HWTLBArray *array, uint32_t set, uint32_t way)
{
    HWTLBRing *ring = array->ring + set * array->config.ways;
    const uint16_t head = array->head[set];
    const uint16_t next = ring[way].next, prev = ring[way].prev;
    const uint16_t last = ring[head].prev;

    if (way == head) {
        array->head[set] = next;
    } else if (way != last) {
        ring[prev].next = next;
        ring[next].prev = prev;
        ring[way] = (HWTLBRing) { .next = head, .prev = last };
        ring[last].next = way;
        ring[head].prev = way;
    }
}

static void to_front(HWTLBArray *array, uint32_t set, uint32_t way)
{
    if (array->order) {
        const uint64_t order = array->order[set];
        const unsigned at = hwtlb_order_of(order, way);
        const uint64_t after = -1ull << at << 4;

        array->order[set] = (order & after) |
                            (order << 4 & ~after) | way;
    } else if (way != array->head[set]) {
        hwtlb_ring_to_end(array, set, way);
        array->head[set] = way;
    }
}

void hwtlb_array_touch_slow(HWTLBArray *array, uint32_t set, uint32_t way)
{
    const uint32_t ways = array->config.ways;

    if (array->ring) {
        hwtlb_ring_to_end(array, set, way);
    } else if (array->config.policy == HWTLB_TREE_PLRU) {
        tree_touch(array->bits + set * array->words, ways, way);
    } else {
        nru_touch(array->bits + set * array->words, array->words, ways, way);
    }
}

static uint64_t splitmix64(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15ull;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

uint32_t hwtlb_array_victim_slow(HWTLBArray *array, uint32_t set)
{
    const uint32_t ways = array->config.ways;
    uint32_t way;

    if (array->ring) {
        return set * ways + array->head[set];
    }
    way = first_clear(array->valid + set * array->words, ways);
    if (way == ways) {
        switch (array->config.policy) {
        case HWTLB_RANDOM:
            way = (splitmix64(&array->random) >> 32) * ways >> 32;
            break;
        case HWTLB_TREE_PLRU:
            way = tree_victim(array->bits + set * array->words, ways);
            break;
        case HWTLB_NRU:
            /* With one way, its bit is set. */
            way = first_clear(array->bits + set * array->words, ways) % ways;
            break;
        default:
            g_assert_not_reached();
        }
    }
    return set * ways + way;
}

static void link_tag(HWTLBArray *array, uint32_t slot, uint64_t tag)
{
    uint32_t *bucket = &array->bucket[hwtlb_array_bucket(array, tag)];

    array->chain[slot] = *bucket;
    *bucket = slot;
}

static void unlink_tag(HWTLBArray *array, uint32_t slot)
{
    uint32_t *link =
        &array->bucket[hwtlb_array_bucket(array, array->tags[slot])];

    while (*link != slot) {
        link = &array->chain[*link];
    }
    *link = array->chain[slot];
}

void hwtlb_array_rehash(HWTLBArray *array, uint32_t slot, uint64_t tag)
{
    unlink_tag(array, slot);
    link_tag(array, slot, tag);
}

void hwtlb_array_insert(HWTLBArray *array, uint32_t slot, uint64_t tag,
                        uint64_t vpn)
{
    const uint32_t set = hwtlb_array_set_of(array, slot);
    const uint32_t way = slot - set * array->config.ways;

    array->tags[slot] = tag;
    assign(array->valid + set * array->words, way, true);
    array->guess[vpn & array->guess_mask] = slot;
    if (array->bucket) {
        link_tag(array, slot, tag);
    }
    if (array->config.policy == HWTLB_FIFO) {
        hwtlb_array_to_end(array, set, way);
    }
}

void hwtlb_array_remove(HWTLBArray *array, uint32_t slot)
{
    const uint32_t set = hwtlb_array_set_of(array, slot);
    const uint32_t way = slot - set * array->config.ways;

    if (array->bucket) {
        unlink_tag(array, slot);
    }
    array->tags[slot] = 0;
    assign(array->valid + set * array->words, way, false);
    if (array->filtered && array->mru[set] == slot) {
        array->mru[set] = HWTLB_NO_SLOT;
    }
    if (uses_order(&array->config)) {
        to_front(array, set, way);
    } else if (array->config.policy == HWTLB_NRU) {
        assign(array->bits + set * array->words, way, false);
    }
}

uint32_t hwtlb_array_next_valid(const HWTLBArray *array, uint32_t slot)
{
    const uint32_t ways = array->config.ways;
    uint32_t set = slot / ways, way = slot % ways;

    for (; set < array->config.sets; set++, way = 0) {
        const uint64_t *map = array->valid + set * array->words;

        while (way < ways) {
            uint64_t rest = map[way / 64] >> (way % 64);

            if (rest) {
                return set * ways + way + ctz64(rest);
            }
            way = (way / 64 + 1) * 64;
        }
    }
    return HWTLB_NO_SLOT;
}
