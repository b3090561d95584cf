/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Waits until the machine has a file of this name for its guest (QEMU's
 * -fw_cfg), and writes it to standard output.  Says "x64k-ready", on standard
 * error, when it begins to wait.
 *
 *   fwcfg NAME
 *
 * This is how a guest that was saved learns, once it is loaded, what to do.
 * The file is read through I/O ports: that needs no driver of the kernel's,
 * and the guest never waits for the host.
 */
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <time.h>

#define SELECTOR    0x510       /* the data port is the next one */
#define SIGNATURE   0x0000
#define DIRECTORY   0x0019

typedef struct File {           /* as fw_cfg has it, numbers big-endian */
    uint32_t size;
    uint16_t select, reserved;
    char name[56];
} File;

static void read_next(void *buffer, size_t size)
{
    insb(SELECTOR + 1, buffer, size);
}

static void read_item(uint16_t select, void *buffer, size_t size)
{
    outw(select, SELECTOR);
    read_next(buffer, size);
}

/* Is there such a file now? */
static int find(const char *name, File *file)
{
    uint32_t n;

    read_item(DIRECTORY, &n, sizeof(n));
    for (n = ntohl(n); n; n--) {
        read_next(file, sizeof(*file));
        if (!strncmp(file->name, name, sizeof(file->name))) {
            return 1;
        }
    }
    return 0;
}

/*
 * The guest may have been saved in the midst of the directory, and loaded in
 * a machine with another one: what was found must be found once more.
 */
static void wait_for(const char *name, File *file)
{
    const struct timespec pause = { .tv_nsec = 10000000 };
    File again;

    while (!find(name, file) || !find(name, &again) ||
           memcmp(file, &again, sizeof(again))) {
        nanosleep(&pause, NULL);
    }
}

int main(int argc, char **argv)
{
    char signature[4];
    uint32_t size;
    File file;
    char *data;

    if (argc != 2) {
        fputs("usage: fwcfg NAME\n", stderr);
        return 2;
    }
    if (ioperm(SELECTOR, 2, 1)) {
        perror("fwcfg: ioperm");
        return 1;
    }
    read_item(SIGNATURE, signature, sizeof(signature));
    if (memcmp(signature, "QEMU", sizeof(signature))) {
        fputs("fwcfg: this machine has no fw_cfg\n", stderr);
        return 1;
    }
    fputs("x64k-ready\n", stderr);
    wait_for(argv[1], &file);
    size = ntohl(file.size);
    data = malloc(size);
    if (!data) {
        perror("fwcfg: memory");
        return 1;
    }
    read_item(ntohs(file.select), data, size);
    if (fwrite(data, 1, size, stdout) != size || fflush(stdout)) {
        perror("fwcfg: output");
        return 1;
    }
    return 0;
}
