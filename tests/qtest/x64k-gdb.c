/*
 * The little of the gdb remote protocol that tests need
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <poll.h>
#include <sys/un.h>
#include "x64k-gdb.h"

int gdb_connect(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    g_assert_cmpuint(strlen(path), <, sizeof(address.sun_path));
    strcpy(address.sun_path, path);
    g_assert_cmpint(connect(fd, (void *)&address, sizeof(address)), ==, 0);
    return fd;
}

void gdb_send(int fd, const char *body)
{
    g_autofree char *packet = NULL;
    uint8_t sum = 0;

    for (const char *p = body; *p; p++) {
        sum += *p;
    }
    packet = g_strdup_printf("$%s#%02x", body, sum);
    g_assert_cmpint(write(fd, packet, strlen(packet)), ==, strlen(packet));
}

static char next(int fd)
{
    struct pollfd wait = { .fd = fd, .events = POLLIN };
    char c;

    g_assert_cmpint(poll(&wait, 1, 20000), ==, 1);
    g_assert_cmpint(read(fd, &c, 1), ==, 1);
    return c;
}

void gdb_receive(int fd, char *answer, size_t size)
{
    size_t n = 0;
    char c;

    while (next(fd) != '$') {
        /* It was an acknowledgement. */
    }
    while ((c = next(fd)) != '#') {
        g_assert_cmpuint(n, <, size - 1);
        answer[n++] = c;
    }
    answer[n] = 0;
    next(fd);
    next(fd);
    g_assert_cmpint(write(fd, "+", 1), ==, 1);
}

void gdb_ask(int fd, const char *body, char *answer, size_t size)
{
    gdb_send(fd, body);
    gdb_receive(fd, answer, size);
}
