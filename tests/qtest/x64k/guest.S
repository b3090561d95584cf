/*
 * A guest that makes the memory accesses it is told to
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A 64 KB ROM at the top of the first 4 GB (-bios).  It enters long mode with
 * the page tables that the test has put into RAM, then obeys commands and logs
 * what came of each.  The tables must map the first and the fourth gigabyte to
 * themselves, and the fourth once more, one gigabyte up, for ring 3; 1 GB
 * pages keep this program's own translations apart from those under test.
 * The layout of RAM is in x64k-guest.c.  To rebuild the header:
 *
 *     make -C tests/qtest/x64k
 */
#define CPUS            4
#define AREA            0x10000         /* of CPU n: AREA + n * AREA_SIZE */
#define AREA_SIZE       0x1000

/* In a CPU's area.  CR3 and CR4 are CPU 0's for all. */
#define PARAM_CR3       0x00
#define PARAM_CR4       0x08
#define GO              0x10
#define DONE            0x18
#define SCRIPT          0x20
#define LOG             0x28
#define STARTS          0x30
#define NMIS            0x38
/* What the handler of NMIs writes to an MSR, if that is not 0. */
#define NMI_MSR         0x40
#define NMI_VALUE       0x48
#define TSS             0x100
#define STACK           AREA_SIZE

#define USER_ALIAS      0x40000000
#define ICR             0xfee00300

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
        movl    AREA + PARAM_CR4, %eax
        movl    %eax, %cr4
        movl    AREA + PARAM_CR3, %eax
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
        movl    $1, %eax
        cpuid
        shrl    $24, %ebx               /* the APIC's number is the CPU's */
        movl    %ebx, %r15d
        shll    $12, %r15d
        addl    $AREA, %r15d            /* from here on, the CPU's area */
        incl    STARTS(%r15)
        leaq    STACK(%r15), %rax
        movq    %rax, TSS + 4(%r15)     /* RSP0 */
        movl    %ebx, %eax
        shll    $4, %eax
        addl    $(tss - gdt), %eax
        ltr     %ax
        testl   %ebx, %ebx
        jnz     wait_go
        /* The others start at 0xf0000, where the ROM is seen too. */
        movl    $ICR, %eax
        movl    $0x000c46f0, (%rax)

        /* Wait until the host has put a script there, then run it. */
wait_go:
        pause
        cmpl    $0, GO(%r15)
        je      wait_go
        movl    $0, GO(%r15)
        movq    SCRIPT(%r15), %rsi
        movq    LOG(%r15), %rdi

        /*
         * One command: 16 bytes.  The operation, by bits: 7:0 which, 8 in
         * ring 3, 9 with EFLAGS.AC, 15:12 how many GB above the operand to
         * load from first, 63:32 immediate; and the operand.
         */
next:
        leaq    STACK(%r15), %rsp
        movq    (%rsi), %rax
        movq    8(%rsi), %rbx
        addq    $16, %rsi
        movq    %rax, %r8
        sarq    $32, %r8                /* immediate */
        movq    %rbx, %rdx              /* what is logged as the value */
        leaq    operations(%rip), %r10
        movzbl  %al, %r9d
        movslq  (%r10, %r9, 4), %r9
        addq    %r10, %r9
        movzwl  %ax, %r11d
        shrl    $12, %r11d
        jz      1f
        shlq    $30, %r11
        movq    (%rbx, %r11), %r11
1:
        leaq    ok(%rip), %rcx          /* where an access goes on */
        btl     $8, %eax
        jc      enter_user
        btl     $9, %eax
        jnc     1f
        stac
1:
        jmp     *%r9
enter_user:
        leaq    user_ok(%rip), %rcx
        addq    $USER_ALIAS, %rcx
        addq    $USER_ALIAS, %r9
        pushq   $(user_data - gdt + 3)
        pushq   $0
        pushq   $2                      /* EFLAGS */
        pushq   $(user_code - gdt + 3)
        pushq   %r9
        iretq
user_ok:
        int     $32

        .balign 4
operations:
        .long   op_end - operations
        .long   op_load - operations
        .long   op_store - operations
        .long   op_call - operations
        .long   op_invlpg - operations
        .long   op_cr3 - operations
        .long   op_cr4 - operations
        .long   op_cpuid - operations
        .long   op_fetch - operations
        .long   op_cr0 - operations
        .long   op_wrmsr - operations
        .long   op_wrpkru - operations
        .long   op_xchg - operations
        .long   op_and - operations
        .long   op_or - operations
        .long   op_vmrun - operations
        .long   op_legacy - operations
        .long   op_pci - operations
        .long   op_chase - operations
        .long   op_rdmsr - operations
        .long   op_rdpmc - operations
        .long   op_spin - operations
        .long   op_poke - operations
        .long   op_peek - operations

op_end:
        movl    $1, DONE(%r15)
        jmp     wait_go
op_load:
        movq    (%rbx), %rdx
        jmp     *%rcx
op_store:
        movq    %rbx, (%rbx)
        jmp     *%rcx
op_fetch:
        jmp     *%rbx                   /* to "mov $value, %edx; jmp *%rcx" */
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
op_cr0:
        movq    %rbx, %cr0
        jmp     ok
op_wrmsr:                               /* the immediate is the MSR */
        movl    %r8d, %ecx
        movl    %ebx, %eax
        shrq    $32, %rdx
        wrmsr
        jmp     ok
op_wrpkru:
        movl    %ebx, %eax
        xorl    %ecx, %ecx
        xorl    %edx, %edx
        wrpkru
        jmp     ok
op_xchg:
        movq    %r8, %rdx
        xchgq   %rdx, (%rbx)
        jmp     ok
op_and:
        lock andq %r8, (%rbx)
        jmp     ok
op_or:
        lock orq %r8, (%rbx)
        jmp     ok
op_vmrun:                               /* the operand: a VMCB */
        leaq    nested(%rip), %rdx
        movq    %rdx, 0x578(%rbx)       /* RIP */
        movq    %rbx, %rax
        vmrun   %rax
        stgi
        jmp     ok
nested:                                 /* in the SVM guest: RAX is from it */
        movq    (%rax), %rdx
        vmmcall
op_legacy:                              /* the immediate: CR3 */
        pushq   %r15
        movq    %cr3, %rax
        pushq   %rax
        movq    %cr4, %rax
        pushq   %rax
        movl    %r8d, %ebp
        leaq    legacy32(%rip), %rax
        pushq   $8
        pushq   %rax
        lretq
        .code32
legacy32:
        movw    $16, %ax                /* ring 3 has left null selectors */
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movl    $0x00010011, %eax       /* CR0: no PG */
        movl    %eax, %cr0
        movl    $0xc0000080, %ecx       /* EFER: no LME */
        rdmsr
        andl    $~0x100, %eax
        wrmsr
        movl    $0x10, %eax             /* CR4: PSE, no PAE */
        movl    %eax, %cr4
        movl    %ebp, %cr3
        movl    $0x80010011, %eax
        movl    %eax, %cr0
        call    *%ebx
        movl    %edx, %ebp
        movl    $0x00010011, %eax
        movl    %eax, %cr0
        rdmsr
        orl     $0x100, %eax
        wrmsr
        popl    %eax
        popl    %edx
        movl    %eax, %cr4
        popl    %eax
        popl    %edx
        movl    %eax, %cr3
        movl    $0x80010011, %eax
        movl    %eax, %cr0
        ljmpl   $24, $(0xffff0000 + legacy64 - _start)
        .code64
legacy64:
        popq    %r15
        movl    %esi, %esi              /* upper halves are undefined */
        movl    %edi, %edi
        movl    %ebp, %edx
        jmp     ok
op_pci:                                 /* no access to RAM in between */
        movl    %r8d, %eax
        movl    $0xcfc, %edx
        outl    %eax, %dx
        movq    (%rbx), %rdx
        jmp     ok
op_chase:                               /* the immediate: how often */
        movq    (%rbx), %rbx
        decl    %r8d
        jnz     op_chase
        movq    %rbx, %rdx
        jmp     ok
op_rdmsr:                               /* the immediate is the MSR */
        movl    %r8d, %ecx
        rdmsr
        shlq    $32, %rdx
        orq     %rax, %rdx
        jmp     ok
op_rdpmc:                               /* the operand: which */
        movq    %rcx, %r12
        movl    %ebx, %ecx
        rdpmc
        shlq    $32, %rdx
        orq     %rax, %rdx
        jmp     *%r12
op_spin:                                /* two instructions, operand times */
        decq    %rbx
        jnz     op_spin
        jmp     *%rcx
op_poke:                                /* the immediate to 32 bits there */
        movl    %r8d, (%rbx)
        jmp     ok
op_peek:
        movl    (%rbx), %edx
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

        /*
         * A log entry: 32 bytes, error code, CR2, value and, written last,
         * vector (-1: none).
         */
ok:
        movq    %rdx, 24(%rdi)
        movq    $-1, 0(%rdi)
logged:
        addq    $32, %rdi
        btl     $9, -16(%rsi)
        jnc     next
        clac
        jmp     next

        /* Entered with the vector, and an error code or 0, on the stack. */
fault:
        cmpl    $2, (%rsp)
        je      nmi
        popq    %rax
        cmpl    $32, %eax
        je      ok
        popq    %rcx
        movq    %rcx, 8(%rdi)
        movq    %cr2, %rcx
        movq    %rcx, 16(%rdi)
        movq    %rax, 0(%rdi)
        jmp     logged

        /* Counted, and nothing else has happened. */
nmi:
        addq    $16, %rsp
        pushq   %rax
        pushq   %rcx
        pushq   %rdx
        incl    NMIS(%r15)
        movl    NMI_MSR(%r15), %ecx
        testl   %ecx, %ecx
        jz      1f
        movl    NMI_VALUE(%r15), %eax
        movl    NMI_VALUE + 4(%r15), %edx
        wrmsr
1:
        popq    %rdx
        popq    %rcx
        popq    %rax
        iretq

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
        .rept   33
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
user_data:
        .quad   0x00cff3000000ffff
user_code:
        .quad   0x00affb000000ffff
tss:
        .set    n, 0
        .rept   CPUS
        .quad   0x0000890000000067 + ((AREA + n * AREA_SIZE + TSS) << 16)
        .quad   0
        .set    n, n + 1
        .endr
gdt_end:
gdtr:
        .word   gdt_end - gdt - 1
        .long   0xffff0000 + gdt - _start

        .balign 16
idt_table:
        .set    v, 0
        .rept   33
        .word   stubs - _start + 16 * v
        .word   24
        .word   0x8e00 + ((v == 32) & 0x6000)
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
