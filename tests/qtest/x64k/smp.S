/*
 * What the vCPUs of x64k-smp-test do at once
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Programs for OP_CALL, whose immediate (%r8) is the physical address of what
 * they are told, which is mapped to itself; of a runner, its number is added.
 * The table at the start has where each begins.  To rebuild the header:
 *
 *     make -C tests/qtest/x64k
 */
#define CODE            0x00            /* "mov $number, %eax; ret" */
#define THRASH          0x08            /* other pages, so many of them, */
#define STRIDE          0x10            /* so far apart */
#define PAGES           0x18
#define RUNNERS         0x20
#define STOP            0x28            /* the test sets it */
#define ROUNDS          0x30
#define WANT            0x80            /* what the code is to return */
#define RUNNER          0x100           /* of runner n: RUNNER + n * 64 */
#define DONE            0x00            /* what it has seen it return */
#define BAD             0x08            /* how often that was wrong, */
#define FOUND           0x10            /* what was found the last time, */
#define WANTED          0x14            /* and what should have been */
/* Of sweep: to the PAGES from SWEPT on it comes back after LAG bytes. */
#define LAG             0x00
#define SWEPT           0x08

        .code64
        .text
        .globl _start
_start:
        .long   writer - _start
        .long   runner - _start
        .long   sweep - _start
        .long   linger - _start

/*
 * Changes the code, and tells the others.  Until all have executed it, loses
 * its page from the TLB, and stores to the page, over and over.
 */
writer:
        movq    CODE(%r8), %r9
        movl    WANT(%r8), %r10d
        incl    %r10d
        movl    %r10d, 1(%r9)
        movl    %r10d, %eax
        xchgl   %eax, WANT(%r8)
wait:
        movq    THRASH(%r8), %rbx
        movl    PAGES(%r8), %eax
1:
        movb    $1, (%rbx)
        addq    STRIDE(%r8), %rbx
        decl    %eax
        jnz     1b
        movl    %r10d, 0x800(%r9)
        movl    RUNNERS(%r8), %eax
        leaq    RUNNER(%r8), %rbx
2:
        cmpl    %r10d, DONE(%rbx)
        jne     wait
        addq    $64, %rbx
        decl    %eax
        jnz     2b
        incl    ROUNDS(%r8)
        cmpl    $0, STOP(%r8)
        je      writer
        movl    $-1, WANT(%r8)
        ret

/* Executes the code each time that it has changed. */
runner:
        movl    %r8d, %r11d
        andl    $0xff, %r11d
        andq    $~0xff, %r8
        shll    $6, %r11d
        addq    %r8, %r11
        addq    $RUNNER, %r11
        movl    DONE(%r11), %r10d
1:
        movl    WANT(%r8), %edx
        cmpl    %r10d, %edx
        je      1b
        cmpl    $-1, %edx
        je      3f
        call    *CODE(%r8)
        movl    %edx, %r10d
        cmpl    %edx, %eax
        je      2f
        incl    BAD(%r11)
        movl    %eax, FOUND(%r11)
        movl    %edx, WANTED(%r11)
2:
        movl    %edx, DONE(%r11)
        jmp     1b
3:
        ret

/* Stores to each page twice, with others in between. */
sweep:
        incl    ROUNDS(%r8)
        movq    SWEPT(%r8), %rbx
        movl    PAGES(%r8), %eax
        movl    ROUNDS(%r8), %r10d
1:
        movl    %r10d, 8(%rbx)
        movq    %rbx, %r9
        subq    LAG(%r8), %r9
        movl    %r10d, (%r9)
        addq    STRIDE(%r8), %rbx
        decl    %eax
        jnz     1b
        cmpl    $0, STOP(%r8)
        je      sweep
        ret

/* Stores to few pages until it is told to stop. */
linger:
        incl    ROUNDS(%r8)
        movq    SWEPT(%r8), %rbx
        movl    PAGES(%r8), %eax
        movl    ROUNDS(%r8), %r10d
1:
        movl    %r10d, (%rbx)
        addq    STRIDE(%r8), %rbx
        decl    %eax
        jnz     1b
        cmpl    $0, STOP(%r8)
        je      linger
        ret
