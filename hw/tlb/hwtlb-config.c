/*
 * hwtlb: names, and what a geometry may be
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/host-utils.h"
#include "hw/tlb/hwtlb-internal.h"

#define MAX_SETS    (1u << 16)
#define MAX_WAYS    (1u << 16)

const char *const hwtlb_level_names[HWTLB_LEVELS] = {
    [HWTLB_L1D] = "l1d",
    [HWTLB_L1I] = "l1i",
    [HWTLB_STLB] = "stlb",
};

const char *const hwtlb_class_names[HWTLB_CLASSES] = {
    [HWTLB_4K] = "4k",
    [HWTLB_8K] = "8k",
    [HWTLB_16K] = "16k",
    [HWTLB_32K] = "32k",
    [HWTLB_64K] = "64k",
    [HWTLB_64K_HINT] = "64k-hint",
    [HWTLB_64K_LEAF] = "64k-leaf",
    [HWTLB_2M] = "2m",
    [HWTLB_1G] = "1g",
};

const char *const hwtlb_policy_names[HWTLB_POLICIES] = {
    [HWTLB_FIFO] = "fifo",
    [HWTLB_LRU] = "lru",
    [HWTLB_RANDOM] = "random",
    [HWTLB_TREE_PLRU] = "tree-plru",
    [HWTLB_NRU] = "nru",
};

const char *const hwtlb_hash_names[HWTLB_HASHES] = {
    [HWTLB_MODULO] = "modulo",
    [HWTLB_XOR] = "xor",
};

const char *const hwtlb_pwc_names[HWTLB_PWCS] = {
    [HWTLB_PWC_PML4E] = "pml4e",
    [HWTLB_PWC_PDPTE] = "pdpte",
    [HWTLB_PWC_PDE] = "pde",
};

/* What is wrong with @array by itself, or NULL; to be freed. */
static char *array_fault(const HWTLBArrayConfig *array)
{
    if (array->sets < 1 || array->sets > MAX_SETS) {
        return g_strdup_printf("sets is %u, must be 1 to %u", array->sets,
                               MAX_SETS);
    }
    if (array->ways > MAX_WAYS) {
        return g_strdup_printf("ways is %u, must be 1 to %u", array->ways,
                               MAX_WAYS);
    }
    if ((unsigned)array->policy >= HWTLB_POLICIES) {
        return g_strdup_printf("policy: there is no number %d",
                               array->policy);
    }
    if ((unsigned)array->hash >= HWTLB_HASHES) {
        return g_strdup_printf("hash: there is no number %d", array->hash);
    }
    if (array->policy == HWTLB_TREE_PLRU && !is_power_of_2(array->ways)) {
        return g_strdup_printf("ways is %u, must be a power of two for the "
                               "policy tree-plru", array->ways);
    }
    if (array->hash == HWTLB_XOR && !is_power_of_2(array->sets)) {
        return g_strdup_printf("sets is %u, must be a power of two for the "
                               "hash xor", array->sets);
    }
    return NULL;
}

/*
 * What is wrong with the classes of @array, of whose level @seen have been
 * found in other arrays, or NULL; to be freed.
 */
static char *classes_fault(const HWTLBArrayConfig *array, unsigned seen)
{
    if (!array->classes) {
        return g_strdup("classes is empty");
    }
    if (array->classes >> HWTLB_CLASSES) {
        return g_strdup_printf("classes is 0x%x, which has bits of no class",
                               array->classes);
    }
    for (int class = 0; class < HWTLB_CLASSES; class++) {
        if (array->classes & seen & 1u << class) {
            return g_strdup_printf("classes: %s is in another array too",
                                   hwtlb_class_names[class]);
        }
    }
    return NULL;
}

/* Is an array without ways otherwise empty?  Else its ways were forgotten. */
static bool unused(const HWTLBArrayConfig *array)
{
    return !array->ways && !array->sets && !array->classes;
}

static char *level_fault(const HWTLBConfig *config, HWTLBLevelId l)
{
    unsigned seen = 0;

    for (int a = 0; a < HWTLB_MAX_ARRAYS; a++) {
        const HWTLBArrayConfig *array = &config->arrays[l][a];
        g_autofree char *fault = NULL;

        if (unused(array)) {
            continue;
        }
        fault = array->ways ? array_fault(array) :
                g_strdup_printf("ways is 0, must be 1 to %u", MAX_WAYS);
        if (!fault) {
            fault = classes_fault(array, seen);
        }
        if (fault) {
            return g_strdup_printf("%s.arrays[%d].%s", hwtlb_level_names[l],
                                   a, fault);
        }
        seen |= array->classes;
    }
    for (int class = 0; class < HWTLB_CLASSES; class++) {
        /* 8K is coalesced from two pages, and so on. */
        bool coalesced = class >= HWTLB_8K && class <= HWTLB_64K;

        if (!(seen >> class & 1) &&
            (!coalesced || config->coalesce >= 1u << class)) {
            return g_strdup_printf("%s.arrays: no array takes %s",
                                   hwtlb_level_names[l],
                                   hwtlb_class_names[class]);
        }
    }
    return NULL;
}

static char *config_fault(const HWTLBConfig *config)
{
    uint64_t bytes;

    if (config->coalesce > 16 ||
        (config->coalesce && !is_power_of_2(config->coalesce))) {
        return g_strdup_printf("coalesce is %u, must be 1, 2, 4, 8 or 16",
                               config->coalesce);
    }
    for (int l = 0; l < HWTLB_LEVELS; l++) {
        char *fault = level_fault(config, l);

        if (fault) {
            return fault;
        }
    }
    for (int id = 0; id < HWTLB_PWCS; id++) {
        const HWTLBArrayConfig *array = &config->pwc[id];
        g_autofree char *fault = NULL;

        if (unused(array)) {
            continue;
        }
        fault = array->ways ? array_fault(array) :
                g_strdup_printf("ways is 0, must be 1 to %u", MAX_WAYS);
        if (!fault && array->classes) {
            fault = g_strdup("classes must be empty");
        }
        if (fault) {
            return g_strdup_printf("pwc.%s.%s", hwtlb_pwc_names[id], fault);
        }
    }

    bytes = hwtlb_config_bytes(config);
    if (bytes > HWTLB_MAX_BYTES) {
        /* The largest array is the one to name. */
        int level = 0, array = 0;
        uint64_t most = 0;

        for (int l = 0; l < HWTLB_LEVELS; l++) {
            for (int a = 0; a < HWTLB_MAX_ARRAYS; a++) {
                const HWTLBArrayConfig *c = &config->arrays[l][a];
                uint64_t slots = (uint64_t)c->sets * c->ways;

                if (slots > most) {
                    most = slots;
                    level = l;
                    array = a;
                }
            }
        }
        return g_strdup_printf("%s.arrays[%d]: sets and ways: the model would "
                               "need up to %" PRIu64 " bytes for each vCPU, "
                               "must be at most %u", hwtlb_level_names[level],
                               array, bytes, HWTLB_MAX_BYTES);
    }
    return NULL;
}

bool hwtlb_config_valid(const HWTLBConfig *config, char **why)
{
    *why = config_fault(config);
    return !*why;
}
