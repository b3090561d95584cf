/*
 * hwtlb-array: tags in sets and ways, and what gives way
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Knows nothing of what a tag stands for.  0 is no tag.  A slot is the number
 * of a way in the whole array: set * ways + way.
 */
#ifndef HW_TLB_HWTLB_ARRAY_H
#define HW_TLB_HWTLB_ARRAY_H

#include "qemu/bitops.h"
#include "hw/tlb/hwtlb.h"

#define HWTLB_NO_SLOT UINT32_MAX

/* Ways whose numbers fit into a word. */
#define HWTLB_WORD_WAYS 16

typedef struct HWTLBRing {
    uint16_t next, prev;        /* ways of the same set */
} HWTLBRing;

typedef struct HWTLBArray {
    HWTLBArrayConfig config;
    uint32_t slots;
    uint32_t words;             /* of 64 ways, per set, in the bit maps */
    /* 2^40 / ways + 1: a division by it is exact while slots * ways < 2^40. */
    uint64_t per_way;
    bool filtered;              /* the policy looks at hits: see touch() */
    bool set_mask_valid;        /* sets is a power of two ... */
    uint32_t set_mask;          /* ... and this is one less */
    uint8_t hash_shift;         /* of what is exclusive-or'ed to the index */

    uint64_t *tags;             /* [slots] */
    uint64_t *valid;            /* [sets][words] */

    /*
     * fifo, lru: the ways of each set, from the next to go to the last; those
     * without a tag come first.  Up to HWTLB_WORD_WAYS, in a word of 4 bits
     * each, the first lowest; above that, as a ring.
     */
    uint64_t *order;            /* [sets] or NULL */
    uint8_t order_top;          /* bits below the last way in that word */
    HWTLBRing *ring;            /* [slots] or NULL */
    uint16_t *head;             /* [sets] */
    /* tree-plru: nodes 1 to ways - 1.  nru: a bit per way. */
    uint64_t *bits;             /* [sets][words] */
    /* tree-plru, up to 64 ways: nodes that a touch of a way writes, and what */
    struct {
        uint64_t nodes, values;
    } *path;                    /* [ways] or NULL */
    uint64_t random;

    uint32_t *mru;              /* [sets]: touched last, or HWTLB_NO_SLOT */

    /* Where a page was put last: mostly right, and always checked. */
    uint32_t *guess;            /* [guess_mask + 1] */
    uint32_t guess_mask;

    /* Where sets are large, chains of slots by a hash of the tag. */
    uint32_t *bucket;           /* [1 << bucket_bits] or NULL */
    uint32_t *chain;            /* [slots] */
    uint8_t bucket_bits;
} HWTLBArray;

void hwtlb_array_init(HWTLBArray *array, const HWTLBArrayConfig *config,
                      uint64_t seed);
void hwtlb_array_destroy(HWTLBArray *array);

/* Bytes that an array of @config allocates. */
uint64_t hwtlb_array_bytes(const HWTLBArrayConfig *config);

static inline uint32_t hwtlb_array_set(const HWTLBArray *array, uint64_t vpn)
{
    if (unlikely(!array->set_mask_valid)) {
        return vpn % array->config.sets;
    }
    /* Modulo: so many bits that nothing is left. */
    return (vpn ^ (vpn >> array->hash_shift)) & array->set_mask;
}

static inline uint32_t hwtlb_array_bucket(const HWTLBArray *array,
                                          uint64_t tag)
{
    return (tag * 0x9e3779b97f4a7c15ull) >> (64 - array->bucket_bits);
}

/* The set of @slot: a division, but quicker. */
static inline uint32_t hwtlb_array_set_of(const HWTLBArray *array,
                                          uint32_t slot)
{
    return slot * array->per_way >> 40;
}

/* A slot that may have page @vpn, or any other, or none. */
static inline uint32_t hwtlb_array_guess(const HWTLBArray *array, uint64_t vpn)
{
    return array->guess[vpn & array->guess_mask];
}

/* The slot that holds @tag, which belongs to page @vpn, or HWTLB_NO_SLOT. */
static inline uint32_t hwtlb_array_find(const HWTLBArray *array, uint64_t tag,
                                        uint64_t vpn)
{
    const uint64_t *tags = array->tags;
    uint32_t base, slot;

    if (array->bucket) {
        slot = array->bucket[hwtlb_array_bucket(array, tag)];
        while (slot != HWTLB_NO_SLOT && tags[slot] != tag) {
            slot = array->chain[slot];
        }
        return slot;
    }
    base = hwtlb_array_set(array, vpn) * array->config.ways;
    for (uint32_t way = 0; way < array->config.ways; way++) {
        if (tags[base + way] == tag) {
            return base + way;
        }
    }
    return HWTLB_NO_SLOT;
}

/*
 * The order of fifo and lru
 */

void hwtlb_ring_to_end(HWTLBArray *array, uint32_t set, uint32_t way);

/* Where @way stands in @order, in bits. */
static inline unsigned hwtlb_order_of(uint64_t order, uint32_t way)
{
    const uint64_t ones = 0x1111111111111111ull;
    const uint64_t zero = order ^ way * ones;

    /* The lowest 4 bits that are 0; above it, there may be false ones. */
    return ctz64((zero - ones) & ~zero & ones << 3) & ~3u;
}

static inline void hwtlb_order_to_end(HWTLBArray *array, uint32_t set,
                                      uint32_t way)
{
    uint64_t order = array->order[set];
    const unsigned at = hwtlb_order_of(order, way);
    const uint64_t before = (1ull << at) - 1;

    order = (order & before) | (order >> 4 & ~before);
    array->order[set] = order | (uint64_t)way << array->order_top;
}

static inline void hwtlb_array_to_end(HWTLBArray *array, uint32_t set,
                                      uint32_t way)
{
    if (likely(array->order)) {
        hwtlb_order_to_end(array, set, way);
    } else {
        hwtlb_ring_to_end(array, set, way);
    }
}

uint32_t hwtlb_array_victim_slow(HWTLBArray *array, uint32_t set);

/*
 * Where a page of @set that the array does not hold will go.  If that slot has
 * a tag, hwtlb_array_replace() is to follow, otherwise hwtlb_array_insert();
 * and then hwtlb_array_touch().
 */
static inline uint32_t hwtlb_array_victim(HWTLBArray *array, uint32_t set)
{
    return likely(array->order) ?
           set * array->config.ways + (array->order[set] & 15) :
           hwtlb_array_victim_slow(array, set);
}

void hwtlb_array_insert(HWTLBArray *array, uint32_t slot, uint64_t tag,
                        uint64_t vpn);
void hwtlb_array_rehash(HWTLBArray *array, uint32_t slot, uint64_t tag);

/*
 * @slot, the victim of @set, gets another tag: as hwtlb_array_remove() and
 * hwtlb_array_insert(), but quicker.
 */
static inline void hwtlb_array_replace(HWTLBArray *array, uint32_t set,
                                       uint32_t slot, uint64_t tag,
                                       uint64_t vpn)
{
    array->guess[vpn & array->guess_mask] = slot;
    if (unlikely(array->bucket)) {
        hwtlb_array_rehash(array, slot, tag);
    }
    array->tags[slot] = tag;
    if (array->config.policy == HWTLB_FIFO) {
        /* It is the first, and becomes the last. */
        if (likely(array->order)) {
            const uint64_t order = array->order[set];

            array->order[set] = order >> 4 |
                                (order & 15) << array->order_top;
        } else {
            array->head[set] = array->ring[slot].next;
        }
    }
}

/* @slot loses its tag. */
void hwtlb_array_remove(HWTLBArray *array, uint32_t slot);

/* The rest of hwtlb_array_touch(), for policies that take longer. */
void hwtlb_array_touch_slow(HWTLBArray *array, uint32_t set, uint32_t way);

/*
 * @slot is hit or filled.  Returns the slot of its set that was touched last
 * before it, if that is another and the policy looks at hits; or HWTLB_NO_SLOT.
 */
static inline uint32_t hwtlb_array_touch(HWTLBArray *array, uint32_t slot)
{
    uint32_t *mru, old, set, way;

    if (!array->filtered) {
        return HWTLB_NO_SLOT;
    }
    set = hwtlb_array_set_of(array, slot);
    mru = &array->mru[set];
    old = *mru;
    *mru = slot;
    way = slot - set * array->config.ways;
    if (likely(array->order)) {
        /* Mostly nobody can predict whether it is the same again. */
        hwtlb_order_to_end(array, set, way);
        return old == slot ? HWTLB_NO_SLOT : old;
    }
    if (old == slot) {
        return HWTLB_NO_SLOT;
    }
    if (array->path) {
        uint64_t *bits = &array->bits[set];

        *bits = (*bits & ~array->path[way].nodes) | array->path[way].values;
    } else {
        hwtlb_array_touch_slow(array, set, way);
    }
    return old;
}

/* The first slot from @slot on that has a tag, or HWTLB_NO_SLOT. */
uint32_t hwtlb_array_next_valid(const HWTLBArray *array, uint32_t slot);

#endif
