/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A TLB as a list that is searched from end to end: what must miss? */
#include "qemu/osdep.h"
#include "x64k-lists.h"

static uint64_t last_touch(const ListEntry *e, unsigned n)
{
    return n == 1 ? e->touched : MAX(last_touch(e, n / 2),
                                     last_touch(e + n / 2, n / 2));
}

static ListEntry *victim(List *l, ListEntry *set)
{
    uint64_t z, n = l->ways;
    ListEntry *best = set;

    for (ListEntry *e = set; e < set + n; e++) {
        if (!e->size) {
            return e;
        }
        if (l->policy == 'f' ? e->filled < best->filled :
            l->policy == 'l' ? e->touched < best->touched :
                               best->recent && !e->recent) {
            best = e;
        }
    }
    if (l->policy == 'r') {
        z = l->random += 0x9e3779b97f4a7c15;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
        z = (z ^ z >> 27) * 0x94d049bb133111eb;
        best = set + (((z ^ z >> 31) >> 32) * n >> 32);
    } else if (l->policy == 't') {
        /* The half that was not the last one touched, and so on. */
        for (best = set; n /= 2; ) {
            best += last_touch(best, n) > last_touch(best + n, n) ? n : 0;
        }
    }
    return best;
}

bool list_access(List *l, uint64_t va, uint64_t size, bool global)
{
    uint64_t page = va / size, i = l->xor ? page ^ page / l->sets : page;
    ListEntry *set = &l->entries[i % l->sets * l->ways];
    ListEntry *end = set + l->ways, *e = set;
    unsigned recent = 0;
    bool hit;

    while (e < end && !(e->size == size && e->page == page)) {
        e++;
    }
    hit = e < end;
    if (!hit) {
        e = victim(l, set);
        *e = (ListEntry) { page, size, ++l->clock, 0, global };
    }
    e->touched = ++l->clock;
    e->recent = true;
    for (ListEntry *other = set; other < end; other++) {
        recent += other->recent;
    }
    for (ListEntry *other = set; recent == l->ways && other < end; other++) {
        other->recent = other == e;
    }
    return hit;
}

void list_drop(List *l, bool all, uint64_t va)
{
    for (ListEntry *e = l->entries; e < l->entries + l->sets * l->ways; e++) {
        if (e->size && (all ? !e->global : va / e->size == e->page)) {
            e->size = e->recent = 0;
        }
    }
}
