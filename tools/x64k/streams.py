# SPDX-License-Identifier: GPL-2.0-or-later
"""Standard streams that are closed, full, or read by nobody.

What is lost of the results is an error, in one line.  What is lost of the
messages is not: whoever closed stderr asked for it."""

import io
import os
import sys

from x64k import ui


class Results(io.FileIO):
    """Standard output."""

    def write(self, data) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            give_up()
            raise ui.X64kError("cannot write to standard output: "
                               f"{error.strerror}") from error


class Messages(io.FileIO):
    """Standard error."""

    def write(self, data) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)


def give_up() -> None:
    """No more output: Python would try again what is still buffered."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.close(null)
    except OSError:
        pass


def drain() -> None:
    """At the end, after an error: what is still to be said, if it can be."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError, ui.X64kError):
        give_up()


def wrapped(raw: io.FileIO, errors: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BufferedWriter(raw), errors=errors,
                            line_buffering=raw.isatty() or raw.fileno() == 2)


def guard() -> None:
    """Before anything is opened, which would take the place of a stream that
    is closed, and be written into as such."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            # Standard output: for reading, so that to write is an error.
            os.open(os.devnull, os.O_WRONLY if fd == 2 else os.O_RDONLY)
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)
    sys.stdout = wrapped(Results(1, "w", closefd=False), "strict")
    sys.stderr = wrapped(Messages(2, "w", closefd=False), "backslashreplace")
