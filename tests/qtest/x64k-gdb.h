/*
 * The little of the gdb remote protocol that tests need
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_QTEST_X64K_GDB_H
#define TESTS_QTEST_X64K_GDB_H

/* Connects to a gdbstub on a UNIX socket, which stops the guest. */
int gdb_connect(const char *path);

/* Sends a packet; waits for the next one, which must come within seconds. */
void gdb_send(int fd, const char *body);
void gdb_receive(int fd, char *answer, size_t size);

/* Both. */
void gdb_ask(int fd, const char *body, char *answer, size_t size);

#endif
