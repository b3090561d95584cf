/*
 * A guest that makes the memory accesses it is told to
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A 64 KB ROM at the top of the first 4 GB (-bios).  It enters long mode with
 * the page tables that the test has put into RAM, then obeys commands and logs
 * what came of each.  The tables must map the first and the fourth gigabyte to
 * themselves; 1 GB pages keep this program's own translations apart from those
 * under test.  The layout of RAM is in x64k-guest.h.  To rebuild the header:
 *
 *     make -C tests/qtest/x64k
 */
#define PARAM_CR3       0x10000
#define PARAM_CR4       0x10008
#define GO              0x10010
#define DONE            0x10018
#define SCRIPT          0x100000
#define LOG             0x800000
#define STACK           0x18000

#define OP_END          0
#define OP_LOAD         1
#define OP_STORE        2
#define OP_CALL         3
#define OP_INVLPG       4
#define OP_CR3          5
#define OP_CR4          6
#define OP_CPUID        7

        .code16
        .text
        .globl _start
_start:
start16:
        cli
        lgdtl   %cs:(gdtr - _start)
        movl    $0x11, %eax             /* CR0.PE, ET */
        movl    %eax, %cr0
        ljmpl   $8, $(0xffff0000 + start32 - _start)

        .code32
start32:
        movw    $16, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movl    $STACK, %esp
        movl    PARAM_CR4, %eax
        movl    %eax, %cr4
        movl    PARAM_CR3, %eax
        movl    %eax, %cr3
        movl    $0xc0000080, %ecx       /* EFER: LME, NXE */
        movl    $0x900, %eax
        xorl    %edx, %edx
        wrmsr
        movl    $0x80010011, %eax       /* CR0: PG, WP, ET, PE */
        movl    %eax, %cr0
        ljmpl   $24, $(0xffff0000 + start64 - _start)

        .code64
start64:
        /* An IDT in which every exception is an interrupt gate to fault(N). */
        lidt    idtr(%rip)

        /* Wait until the host has put a script there, then run it. */
wait_go:
        pause
        cmpl    $0, GO
        je      wait_go
        movl    $0, GO
        movq    $SCRIPT, %rsi
        movq    $LOG, %rdi

        /* One command: 16 bytes, operation and operand. */
next:
        movq    $STACK, %rsp
        movq    (%rsi), %rax
        movq    8(%rsi), %rbx
        addq    $16, %rsi
        movq    %rbx, %rdx              /* what is logged as the value */
        cmpb    $OP_LOAD, %al
        je      op_load
        cmpb    $OP_STORE, %al
        je      op_store
        cmpb    $OP_CALL, %al
        je      op_call
        cmpb    $OP_INVLPG, %al
        je      op_invlpg
        cmpb    $OP_CR3, %al
        je      op_cr3
        cmpb    $OP_CR4, %al
        je      op_cr4
        cmpb    $OP_CPUID, %al
        je      op_cpuid
        movl    $1, DONE
        jmp     wait_go

op_load:
        movq    (%rbx), %rdx
        jmp     ok
op_store:
        movq    %rbx, (%rbx)
        jmp     ok
op_call:
        call    *%rbx                   /* to a "ret" */
        jmp     ok
op_invlpg:
        invlpg  (%rbx)
        jmp     ok
op_cr3:
        movq    %rbx, %cr3
        jmp     ok
op_cr4:
        movq    %rbx, %cr4
        jmp     ok
op_cpuid:
        movl    %ebx, %eax
        xorl    %ecx, %ecx
        cpuid
        movl    %eax, 0(%rdi)
        movl    %ebx, 8(%rdi)
        movl    %ecx, 16(%rdi)
        movl    %edx, 24(%rdi)
        jmp     logged

        /* A log entry: 32 bytes, vector (-1: none), error code, CR2, value. */
ok:
        movq    $-1, 0(%rdi)
        movq    $0, 8(%rdi)
        movq    $0, 16(%rdi)
        movq    %rdx, 24(%rdi)
logged:
        addq    $32, %rdi
        jmp     next

        /* Entered with the vector, and an error code or 0, on the stack. */
fault:
        popq    %rax
        movq    %rax, 0(%rdi)
        popq    %rax
        movq    %rax, 8(%rdi)
        movq    %cr2, %rax
        movq    %rax, 16(%rdi)
        movq    $0, 24(%rdi)
        jmp     logged

        .altmacro
        .macro  stub vector, has_code
        .balign 16
        .if \has_code == 0
        pushq   $0
        .endif
        pushq   $\vector
        jmp     fault
        .endm

        .balign 16
stubs:
        .set    v, 0
        .rept   32
        /* Those with an error code: 8, 10 to 14, 17. */
        stub    %v, %((0x27d00 >> v) & 1)
        .set    v, v + 1
        .endr

        .balign 16
gdt:
        .quad   0
        .quad   0x00cf9b000000ffff      /* 8: 32-bit code, accessed */
        .quad   0x00cf93000000ffff      /* 16: data, accessed */
        .quad   0x00af9b000000ffff      /* 24: 64-bit code, accessed */
gdt_end:
gdtr:
        .word   gdt_end - gdt - 1
        .long   0xffff0000 + gdt - _start

        .balign 16
idt_table:
        .set    v, 0
        .rept   32
        .word   stubs - _start + 16 * v
        .word   24
        .word   0x8e00
        .word   0xffff
        .long   0
        .long   0
        .set    v, v + 1
        .endr
idt_end:
idtr:
        .word   idt_end - idt_table - 1
        .quad   0xffff0000 + idt_table - _start

        /* The reset vector, at 0xfffffff0. */
        .org    0xfff0
        .code16
        jmp     start16
        .org    0x10000
