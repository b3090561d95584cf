/*
 * hwtlb-pwc: what walks read, and what paging-structure caches would save
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "hw/tlb/hwtlb-pwc.h"

/* Level of the entries that each cache holds, and the bits they translate. */
static const struct {
    unsigned level, shift;
} pwcs[HWTLB_PWCS] = {
    [HWTLB_PWC_PML4E] = { 4, 39 },
    [HWTLB_PWC_PDPTE] = { 3, 30 },
    [HWTLB_PWC_PDE] = { 2, 21 },
};

/* The low bits of a tag are otherwise zero; a tag is never 0. */
static uint64_t tag_of(HWTLBPwcId id, uint64_t va)
{
    return (va >> pwcs[id].shift << pwcs[id].shift) | 1;
}

void hwtlb_pwc_init(HWTLBPwc *pwc, const HWTLBArrayConfig *config,
                    uint64_t seed)
{
    for (int id = 0; id < HWTLB_PWCS; id++) {
        if (config[id].ways) {
            hwtlb_array_init(&pwc->arrays[id], &config[id], seed + id);
        }
    }
}

void hwtlb_pwc_destroy(HWTLBPwc *pwc)
{
    for (int id = 0; id < HWTLB_PWCS; id++) {
        hwtlb_array_destroy(&pwc->arrays[id]);
    }
}

static uint32_t find(const HWTLBPwc *pwc, HWTLBPwcId id, uint64_t va)
{
    const HWTLBArray *array = &pwc->arrays[id];

    return array->slots ? hwtlb_array_find(array, tag_of(id, va),
                                           va >> pwcs[id].shift)
                        : HWTLB_NO_SLOT;
}

static void add(HWTLBPwc *pwc, HWTLBPwcId id, uint64_t va)
{
    HWTLBArray *array = &pwc->arrays[id];
    const uint64_t vpn = va >> pwcs[id].shift;
    const uint32_t set = hwtlb_array_set(array, vpn);
    const uint32_t slot = hwtlb_array_victim(array, set);

    if (array->tags[slot]) {
        hwtlb_array_replace(array, set, slot, tag_of(id, va), vpn);
    } else {
        hwtlb_array_insert(array, slot, tag_of(id, va), vpn);
    }
    hwtlb_array_touch(array, slot);
}

unsigned hwtlb_pwc_walk(HWTLBPwc *pwc, uint64_t va, unsigned top,
                        unsigned last)
{
    unsigned hit = 0;

    for (int id = HWTLB_PWCS - 1; id >= 0; id--) {
        unsigned level = pwcs[id].level;

        /* An entry of level @last was a leaf, or not present. */
        if (level > last && level <= top) {
            uint32_t slot = find(pwc, id, va);

            if (slot != HWTLB_NO_SLOT) {
                hwtlb_array_touch(&pwc->arrays[id], slot);
                hit = level;
                break;
            }
        }
    }
    for (int id = 0; id < HWTLB_PWCS; id++) {
        unsigned level = pwcs[id].level;

        if (pwc->arrays[id].slots && level > last && level <= top &&
            (!hit || level < hit)) {
            add(pwc, id, va);
        }
    }
    return hit;
}

void hwtlb_pwc_drop(HWTLBPwc *pwc, uint64_t va)
{
    for (int id = 0; id < HWTLB_PWCS; id++) {
        uint32_t slot = find(pwc, id, va);

        if (slot != HWTLB_NO_SLOT) {
            hwtlb_array_remove(&pwc->arrays[id], slot);
        }
    }
}

void hwtlb_pwc_empty(HWTLBPwc *pwc)
{
    for (int id = 0; id < HWTLB_PWCS; id++) {
        HWTLBArray *array = &pwc->arrays[id];
        uint32_t slot = 0;

        while (array->slots && (slot = hwtlb_array_next_valid(array, slot)) !=
               HWTLB_NO_SLOT) {
            hwtlb_array_remove(array, slot);
        }
    }
}

/* The entry of page @key, or the unused one where it belongs. */
static HWTLBLinePage *line_page(const HWTLBLines *lines, uint64_t key)
{
    const uint32_t mask = (1u << lines->bits) - 1;
    uint32_t i = (key * 0x9e3779b97f4a7c15ull) >> (64 - lines->bits);

    while (lines->table[i].page && lines->table[i].page != key) {
        i = (i + 1) & mask;
    }
    return &lines->table[i];
}

static void lines_grow(HWTLBLines *lines)
{
    HWTLBLines old = *lines;

    lines->bits = old.table ? old.bits + 1 : 8;
    lines->table = g_new0(HWTLBLinePage, 1u << lines->bits);
    for (uint32_t i = 0; old.table && i < 1u << old.bits; i++) {
        if (old.table[i].page) {
            *line_page(lines, old.table[i].page) = old.table[i];
        }
    }
    g_free(old.table);
}

bool hwtlb_lines_add(HWTLBLines *lines, uint64_t pa)
{
    const uint64_t key = (pa >> 12) + 1;
    const uint64_t bit = 1ull << (pa >> 6 & 63);
    HWTLBLinePage *page;

    if (!lines->table) {
        lines_grow(lines);
    }
    page = line_page(lines, key);
    if (!page->page) {
        /* At most three quarters full. */
        if (lines->used >= 3u << lines->bits >> 2) {
            if (lines->bits == HWTLB_LINES_MAX_BITS) {
                return false;
            }
            lines_grow(lines);
            page = line_page(lines, key);
        }
        page->page = key;
        lines->used++;
    }
    if (page->lines & bit) {
        return false;
    }
    page->lines |= bit;
    return true;
}

void hwtlb_lines_clear(HWTLBLines *lines)
{
    g_free(lines->table);
    *lines = (HWTLBLines) {};
}
