/*
 * A TCG plugin that writes down what accesses a guest makes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * From the first instruction after paging is on: fetches, loads and stores as
 * QEMU's translator sees them, which knows of no TLB; and what software does
 * to TLBs.  Only the instructions that x64k-lists-test uses are known.
 */
#include <stdio.h>
#include <string.h>
#include <glib.h>
#include "qemu-plugin.h"
#include "x64k-trace.h"

QEMU_PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

static FILE *out;
static bool paging;
static struct qemu_plugin_register *registers[4];

static void put(TraceKind kind, uint64_t va, uint32_t size)
{
    const TraceRecord record = { va, size, kind };

    if (paging) {
        fwrite(&record, sizeof(record), 1, out);
    }
}

static uint64_t value_of(unsigned number)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    uint64_t value = 0;

    qemu_plugin_read_register(registers[number], bytes);
    memcpy(&value, bytes->data, MIN(bytes->len, sizeof(value)));
    return value;
}

/* An instruction is about to be executed. */
static void fetch(unsigned cpu, void *data)
{
    const TraceRecord *insn = data;

    put(TRACE_FETCH, insn->va, insn->size);
}

static void mov_cr0(unsigned cpu, void *data)
{
    paging = value_of(GPOINTER_TO_UINT(data)) & 1u << 31;
}

static void mov_cr3(unsigned cpu, void *data)
{
    put(TRACE_CR3, 0, 0);
}

static void invlpg(unsigned cpu, void *data)
{
    put(TRACE_INVLPG, value_of(GPOINTER_TO_UINT(data)), 0);
}

static void load_or_store(unsigned cpu, qemu_plugin_meminfo_t info,
                          uint64_t va, void *data)
{
    put(qemu_plugin_mem_is_store(info) ? TRACE_STORE : TRACE_LOAD, va,
        1 << qemu_plugin_mem_size_shift(info));
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        TraceRecord *record = g_new0(TraceRecord, 1);   /* for good */
        uint8_t op[3] = { };
        qemu_plugin_vcpu_udata_cb_t also = NULL;

        record->va = qemu_plugin_insn_vaddr(insn);
        record->size = qemu_plugin_insn_size(insn);
        qemu_plugin_insn_data(insn, op, sizeof(op));
        qemu_plugin_register_vcpu_insn_exec_cb(insn, fetch,
                                               QEMU_PLUGIN_CB_NO_REGS, record);
        if (op[0] == 0x0f && op[1] == 0x22) {
            also = (op[2] & 0xf8) == 0xc0 ? mov_cr0 :
                   (op[2] & 0xf8) == 0xd8 ? mov_cr3 : NULL;
        } else if (op[0] == 0x0f && op[1] == 0x01 && (op[2] & 0xf8) == 0x38) {
            also = invlpg;
        }
        if (also) {
            qemu_plugin_register_vcpu_insn_exec_cb(
                insn, also, QEMU_PLUGIN_CB_R_REGS,
                GUINT_TO_POINTER(op[2] & 3));
        }
        qemu_plugin_register_vcpu_mem_cb(insn, load_or_store,
                                         QEMU_PLUGIN_CB_NO_REGS,
                                         QEMU_PLUGIN_MEM_RW, NULL);
    }
}

static void started(qemu_plugin_id_t id, unsigned cpu)
{
    static const char *const names[] = { "rax", "rcx", "rdx", "rbx" };
    g_autoptr(GArray) all = qemu_plugin_get_registers();

    for (unsigned i = 0; i < all->len; i++) {
        const qemu_plugin_reg_descriptor *r =
            &g_array_index(all, qemu_plugin_reg_descriptor, i);

        for (unsigned n = 0; n < G_N_ELEMENTS(names); n++) {
            if (g_str_equal(r->name, names[n])) {
                registers[n] = r->handle;
            }
        }
    }
}

static void ended(qemu_plugin_id_t id, void *data)
{
    fclose(out);
}

QEMU_PLUGIN_EXPORT
int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info,
                        int argc, char **argv)
{
    if (argc != 1 || !g_str_has_prefix(argv[0], "to=")) {
        fprintf(stderr, "x64k-trace: to=FILE is needed\n");
        return -1;
    }
    out = fopen(argv[0] + strlen("to="), "w");
    if (!out) {
        perror(argv[0]);
        return -1;
    }
    qemu_plugin_register_vcpu_init_cb(id, started);
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, ended, NULL);
    return 0;
}
