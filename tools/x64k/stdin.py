# SPDX-License-Identifier: GPL-2.0-or-later
"""Standard input for a guest.

The guest never waits for the host, or it would not do the same each time: so
what a command shall read is read here first, to its end, and comes with the
guest's memory as a file."""

import os
import stat
import sys

from x64k import ui

SHARE = 8       # of the guest's memory: it is there twice for a moment


def is_terminal() -> bool:
    return os.isatty(0)


def megabytes(mem: str) -> int:
    """Of --mem: 512M, 2G, and a bare number is MB."""
    return int(mem.rstrip("MG")) * (1024 if mem.endswith("G") else 1)


def has_some() -> bool:
    """A pipe or a file; not a terminal, nor /dev/null."""
    try:
        mode = os.fstat(0).st_mode
    except OSError:
        return False
    return stat.S_ISREG(mode) or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def whole(mem: str) -> bytes | None:
    """All of it, for a guest of so much memory; None if there is none."""
    if not has_some():
        return None
    most = megabytes(mem) * 2**20 // SHARE
    with ui.step("reading standard input to its end, for the guest "
                 "(</dev/null: nothing)"):
        data = sys.stdin.buffer.read(most + 1)
    if len(data) > most:
        raise ui.X64kError(
            f"standard input has more than {most >> 20} MB, too much for a "
            f"guest of {mem}: give more --mem, a file in a --share, or "
            "</dev/null", 2)
    return data
