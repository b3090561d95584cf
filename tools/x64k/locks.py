# SPDX-License-Identifier: GPL-2.0-or-later
"""Locks on files: one of us at a time, and the others wait and say for whom.

The file tells who holds it.  The kernel drops a lock with its holder, however
that ends, so that none is ever left behind."""

import errno
import fcntl
import getpass
import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from x64k import ui
from x64k.paths import shown

POLL_S = 0.1
SILENT_S = 0.5      # a shorter wait is not worth a line
# What file systems answer that have no locks: NFS without its lock daemon,
# some of FUSE.
UNSUPPORTED = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
_warned: set[Path] = set()


def _try(file: IO, path: Path, how: int) -> bool:
    """Whether nobody else has the lock."""
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        if path not in _warned:
            _warned.add(path)
            ui.warn(f"{shown(path)} cannot be locked ({error.strerror}), so "
                    "nothing keeps two x64k at a time from spoiling each "
                    "other's work there: start one after the other")
    return True


def _is(file: IO, path: Path) -> bool:
    """Whether the file that was opened is still the one of this name."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    return False


def holder(text: str) -> tuple[str, str]:
    """Who holds a lock whose file says TEXT, and for how long."""
    try:
        who = json.loads(text)
        words = [f"process {who['pid']}"]
        if who["host"] != platform.node():
            words.append(f"on {who['host']}")
        return (" ".join([*words, f"of {who['user']} ({who['command']})"]),
                f", which began {ui.duration(time.time() - who['since'])} ago")
    except (ValueError, KeyError, TypeError):
        return "one that has just begun", ""


def _sign(file: IO) -> None:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):     # a number without a name
        user = f"user {os.geteuid()}"
    # A full disk must not stop those who need no room on it.
    with suppress(OSError):
        file.truncate(0)
        file.write(json.dumps({
            "pid": os.getpid(), "user": user, "host": platform.node(),
            "command": shlex.join(["x64k", *sys.argv[1:]]),
            "since": time.time()}))
        file.flush()


def _wait(file: IO, path: Path, how: int, busy: str,
          progress: Callable[[], str]) -> None:
    def who() -> tuple[str, str]:
        file.seek(0)
        return holder(file.read())

    end = time.monotonic() + SILENT_S
    while not (mine := _try(file, path, how)) and time.monotonic() < end:
        time.sleep(POLL_S)
    if mine:
        return
    name, begun = who()
    ui.info(f"{busy}: {name}{begun}; waiting for it")
    with ui.step("waiting") as step:
        step.detail = lambda: f"for {who()[0]}{progress()};"
        while not _try(file, path, how):
            time.sleep(POLL_S)


def _open(path: Path, mode: str, how: int, busy: str,
          progress: Callable[[], str]) -> IO:
    while True:
        file = path.open(mode)
        try:
            _wait(file, path, how, busy, progress)
            if _is(file, path):
                return file
        except BaseException:
            file.close()
            raise
        file.close()        # it has been deleted meanwhile, as by `clean`


@contextmanager
def hold(path: Path, busy: str, progress: Callable[[], str] = str,
         leave: bool = True) -> Iterator[None]:
    """Nobody else is between these lines at the same time.  BUSY says what
    another one does meanwhile, and PROGRESS how far it is.  LEAVE the file
    for the next one, or delete it."""
    with _open(path, "a+", fcntl.LOCK_EX, busy, progress) as file:
        _sign(file)
        try:
            yield
        finally:
            if not leave:
                path.unlink(missing_ok=True)


def wait(path: Path, busy: str, progress: Callable[[], str] = str) -> None:
    """Until nobody holds it; PATH need only be readable."""
    if path.exists():
        _open(path, "r", fcntl.LOCK_SH, busy, progress).close()
