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
    uint8_t set_bits;

    uint64_t *tags;             /* [slots] */
    uint64_t *valid;            /* [sets][words] */

    /* fifo, lru: each set is a ring, from the next to go to the last. */
    HWTLBRing *ring;            /* [slots] */
    uint16_t *head;             /* [sets] */
    /* tree-plru: nodes 1 to ways - 1.  nru: a bit per way. */
    uint64_t *bits;             /* [sets][words] */
    uint64_t random;

    uint32_t *mru;              /* [sets]: touched last, or HWTLB_NO_SLOT */

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
    if (array->config.hash == HWTLB_XOR) {
        vpn ^= vpn >> array->set_bits;
    }
    return array->set_mask_valid ? vpn & array->set_mask
                                 : vpn % array->config.sets;
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

/* The slot that holds @tag, which belongs to page @vpn, or HWTLB_NO_SLOT. */
static inline uint32_t hwtlb_array_find(const HWTLBArray *array, uint64_t tag,
                                        uint64_t vpn)
{
    const uint64_t *tags = array->tags;
    uint32_t base, slot = HWTLB_NO_SLOT;

    if (array->bucket) {
        slot = array->bucket[hwtlb_array_bucket(array, tag)];
        while (slot != HWTLB_NO_SLOT && tags[slot] != tag) {
            slot = array->chain[slot];
        }
        return slot;
    }
    base = hwtlb_array_set(array, vpn) * array->config.ways;
    tags += base;
    /* No way out of the loop: which way it is nobody can predict. */
    for (uint32_t way = 0; way < array->config.ways; way++) {
        slot = tags[way] == tag ? base + way : slot;
    }
    return slot;
}

uint32_t hwtlb_array_victim_slow(HWTLBArray *array, uint32_t set);

/*
 * Where a page @vpn that the array does not hold will go.  If that slot has a
 * tag, hwtlb_array_replace() is to follow, otherwise hwtlb_array_insert(); and
 * then hwtlb_array_touch().
 */
static inline uint32_t hwtlb_array_victim(HWTLBArray *array, uint64_t vpn)
{
    const uint32_t set = hwtlb_array_set(array, vpn);

    /* The front of the ring is an unused way, if there is one. */
    return array->head ? set * array->config.ways + array->head[set]
                       : hwtlb_array_victim_slow(array, set);
}

void hwtlb_array_insert(HWTLBArray *array, uint32_t slot, uint64_t tag);
void hwtlb_array_rehash(HWTLBArray *array, uint32_t slot, uint64_t tag);

/*
 * @slot, the victim, gets another tag: as hwtlb_array_remove() and
 * hwtlb_array_insert(), but quicker.
 */
static inline void hwtlb_array_replace(HWTLBArray *array, uint32_t slot,
                                       uint64_t tag)
{
    if (array->bucket) {
        hwtlb_array_rehash(array, slot, tag);
    }
    array->tags[slot] = tag;
    if (array->config.policy == HWTLB_FIFO) {
        /* It is the head of its ring, and becomes the last. */
        array->head[hwtlb_array_set_of(array, slot)] =
            array->ring[slot].next;
    }
}

/* @slot loses its tag. */
void hwtlb_array_remove(HWTLBArray *array, uint32_t slot);

/* The rest of hwtlb_array_touch(). */
void hwtlb_array_touch_slow(HWTLBArray *array, uint32_t slot);

/*
 * @slot is hit or filled.  Returns the slot of its set that was touched last
 * before it, if that is another and the policy looks at hits; or HWTLB_NO_SLOT.
 */
static inline uint32_t hwtlb_array_touch(HWTLBArray *array, uint32_t slot)
{
    uint32_t *mru, old;

    if (!array->filtered) {
        return HWTLB_NO_SLOT;
    }
    mru = &array->mru[hwtlb_array_set_of(array, slot)];
    old = *mru;
    if (old == slot) {
        return HWTLB_NO_SLOT;
    }
    *mru = slot;
    hwtlb_array_touch_slow(array, slot);
    return old;
}

/* The first slot from @slot on that has a tag, or HWTLB_NO_SLOT. */
uint32_t hwtlb_array_next_valid(const HWTLBArray *array, uint32_t slot);

#endif
