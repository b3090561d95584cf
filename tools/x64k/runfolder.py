# SPDX-License-Identifier: GPL-2.0-or-later
"""The temporary folder of a run, gone when the run ends.

After a kill -9 it is left behind; the next run takes it away.  A folder is
left behind if nobody holds the lock of its file MARK, which the kernel drops
with whoever held it."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "x64k-"
MARK = ".x64k-run"


def is_left_behind(folder: Path) -> bool:
    """Ours, and of nobody who is alive."""
    try:
        if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
            return False
        with (folder / MARK).open("rb") as mark:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    except OSError:     # it is held, gone, another's, or cannot be locked
        return False


def sweep() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        if is_left_behind(folder):
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def new() -> Iterator[Path]:
    sweep()
    with tempfile.TemporaryDirectory(prefix=PREFIX) as name:
        folder = Path(name)
        # It has its name when it is locked: nobody sees it without.
        with (folder / f"{MARK}.new").open("wb") as mark:
            try:
                fcntl.flock(mark, fcntl.LOCK_EX)
                (folder / f"{MARK}.new").rename(folder / MARK)
            except OSError:
                pass    # no locks here: it is never taken for left behind
            yield folder
