/*
 * Fuzzing of the hardware-TLB model against the oracle
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 *     clang -g -O1 -fsanitize=fuzzer,address,undefined -Itests/unit/shim \
 *         -Itests/unit -I. $(pkg-config --cflags --libs glib-2.0) \
 *         tests/fuzz/fuzz-hwtlb.c tests/unit/hwtlb-{machine,oracle}.c \
 *         hw/tlb/hwtlb{,-array,-config,-presets,-pwc}.c -o /tmp/fuzz-hwtlb
 *     /tmp/fuzz-hwtlb -max_total_time=600 /tmp/new-corpus tests/fuzz/corpus
 *
 * An input is a geometry, then steps of the toy machine of two or more bytes.
 * With WITHOUT_LIBFUZZER it is a program that runs the files of a directory.
 */
#include "qemu/osdep.h"
#include <stdio.h>
#include "hwtlb-machine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct Input {
    const uint8_t *data;
    size_t left;
} Input;

static uint8_t take(Input *in)
{
    if (!in->left) {
        return 0;
    }
    in->left--;
    return *in->data++;
}

static HWTLBArrayConfig take_array(Input *in, unsigned classes)
{
    uint8_t shape = take(in), how = take(in);

    return (HWTLBArrayConfig) {
        .sets = 1 + (shape & 15),
        .ways = 1 + (shape >> 4) * (how & 0x80 ? 5 : 1),
        .classes = classes,
        .policy = (how & 7) % HWTLB_POLICIES,
        .hash = how >> 3 & 1,
    };
}

/* Not all that come out are valid; that is for the model to say. */
static HWTLBConfig take_config(Input *in)
{
    unsigned flags = take(in);
    unsigned split = take(in) | (flags & 1) << 8;
    const unsigned all = (1u << HWTLB_CLASSES) - 1;
    HWTLBConfig config = {
        .coalesce = 1u << (flags >> 1 & 7),
        .observe_every = flags >> 4 & 1,
        .seed = flags,
    };

    for (int l = 0; l < HWTLB_LEVELS; l++) {
        config.arrays[l][0] = take_array(in, split ? split : all);
        if (split && (all & ~split)) {
            config.arrays[l][1] = take_array(in, all & ~split);
        }
    }
    if (flags >> 5 & 1) {
        for (int id = 0; id < HWTLB_PWCS; id++) {
            config.pwc[id] = take_array(in, 0);
        }
    }
    return config;
}

/* Two bytes: one of the 1,024 regions, mostly of the first; then a page. */
static uint64_t take_va(Input *in)
{
    uint8_t region = take(in), page = take(in);
    uint64_t va = region < 192 ? (uint64_t)(region & 7) << 21
                               : (uint64_t)(region & 63) << 25;

    return va + page * 4096ull;
}

static void step(Machine *m, Input *in)
{
    uint8_t what = take(in);
    uint64_t va = take_va(in);

    switch (what & 15) {
    case 0:
        machine_invalidate(m, va, what & 16 ? HWTLB_INVLPG : HWTLB_FAULT);
        break;
    case 1:
        machine_flush(m, what & 16, (what >> 5) % HWTLB_CAUSES);
        break;
    case 2:
    case 3:
        machine_map(m, va, (what >> 4) % (HWTLB_CLASSES + 1), what & 1);
        break;
    case 4:
        machine_forget(m, va);
        break;
    case 5:
        machine_forget_all(m);
        break;
    default:
        /* A run of pages saves input. */
        for (int i = 0; i <= what >> 6; i++) {
            machine_access(m, (what >> 4 & 3) % 3, va + i * 4096ull);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Input in = { data, size };
    HWTLBConfig config = take_config(&in);
    g_autofree char *why = NULL;
    Machine *m;

    if (!hwtlb_config_valid(&config, &why)) {
        g_assert_nonnull(why);
        return 0;
    }
    m = machine_new(&config);
    while (in.left) {
        step(m, &in);
    }
    machine_check(m);
    machine_free(m);
    return 0;
}

#ifdef WITHOUT_LIBFUZZER
int main(int argc, char **argv)
{
    g_autoptr(GDir) dir = NULL;
    const char *name;
    unsigned n = 0;

    if (argc != 2 || !(dir = g_dir_open(argv[1], 0, NULL))) {
        fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]);
        return 2;
    }
    while ((name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(argv[1], name, NULL);
        g_autofree char *data = NULL;
        gsize size;

        if (!g_file_get_contents(path, &data, &size, NULL)) {
            fprintf(stderr, "%s: cannot be read\n", path);
            return 1;
        }
        LLVMFuzzerTestOneInput((const uint8_t *)data, size);
        n++;
    }
    printf("%u inputs\n", n);
    return n == 0;
}
#endif
