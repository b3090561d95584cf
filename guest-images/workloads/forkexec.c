/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A storm of processes: fork, execute a small program (a shell, told to end
 * at once), wait.  The parent has 16 MB, whose page tables each fork copies.
 * Each child ends with a status of its own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "workload.h"

#define PARENT (16ul << 20)

static int status_of(unsigned i)
{
    return 1 + mix(i) % 100;
}

bool forkexec(unsigned times)
{
    char *touched = memory(PARENT), text[16];
    char *argv[] = { "sh", "-c", text, NULL };
    unsigned right = 0, i;
    int status;
    pid_t pid;

    memset(touched, 1, PARENT);
    begin();
    for (i = 0; i < times; i++) {
        snprintf(text, sizeof(text), "exit %d",
                 status_of(broken && i == times / 2 ? i + 1 : i));
        pid = fork();
        if (!pid) {
            execv("/bin/sh", argv);
            _exit(127);
        }
        right += pid > 0 && waitpid(pid, &status, 0) == pid &&
                 WIFEXITED(status) && WEXITSTATUS(status) == status_of(i);
    }
    end();

    printf("forkexec: %u processes, %u statuses right\n", times, right);
    return right == times;
}
