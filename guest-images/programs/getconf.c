/* SPDX-License-Identifier: GPL-2.0-or-later */
/* getconf of POSIX, for the few variables that one asks a small guest for. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *name;
    int id;
} variables[] = {
    { "ARG_MAX", _SC_ARG_MAX },
    { "AVPHYS_PAGES", _SC_AVPHYS_PAGES },
    { "CLK_TCK", _SC_CLK_TCK },
    { "OPEN_MAX", _SC_OPEN_MAX },
    { "PAGESIZE", _SC_PAGESIZE },
    { "PAGE_SIZE", _SC_PAGESIZE },
    { "PHYS_PAGES", _SC_PHYS_PAGES },
    { "_NPROCESSORS_CONF", _SC_NPROCESSORS_CONF },
    { "_NPROCESSORS_ONLN", _SC_NPROCESSORS_ONLN },
    { "_PHYS_PAGES", _SC_PHYS_PAGES },
};

int main(int argc, char **argv)
{
    unsigned i;

    if (argc != 2) {
        fputs("usage: getconf VARIABLE\n", stderr);
        return 2;
    }
    for (i = 0; i < sizeof(variables) / sizeof(*variables); i++) {
        if (!strcmp(argv[1], variables[i].name)) {
            printf("%ld\n", sysconf(variables[i].id));
            return 0;
        }
    }
    fprintf(stderr, "getconf: no variable %s\n", argv[1]);
    return 2;
}
