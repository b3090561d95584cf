# SPDX-License-Identifier: GPL-2.0-or-later
"""What the guest tests share: running x64k as a user does."""

import fcntl
import json
import os
import pty
import re
import select
import shlex
import subprocess
import sys
import tempfile
import termios
import time
import unittest
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

# X64K names another front door, for example one for a hand-made kernel.
X64K = shlex.split(os.environ.get("X64K", str(ROOT / "x64k")))

# The build is done by now, and Meson is what runs us: do not start it again.
ENVIRONMENT = os.environ | {"X64K_BUILT": "1"}

LOG_NAME = re.compile(r"console log: (\S+\.log)")


def start(*args: str | bytes, **options: Any) -> subprocess.Popen:
    return subprocess.Popen([*X64K, *args], env=ENVIRONMENT, cwd=ROOT,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            **options)


def emulators_of(pid: int) -> list[int]:
    """The emulators that the x64k process PID has started: its console log
    carries its number."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if b"-chardev" in line and f"-{pid}-".encode() in line:
            found.append(int(entry.name))
    return found


class Terminal:
    """x64k ARGS on a terminal of its own."""

    def __init__(self, *args: str):
        self.host, self.guest = pty.openpty()
        self.before = self.settings()
        self.shown = b""
        self.process = subprocess.Popen(
            [*X64K, *args], cwd=ROOT, env=ENVIRONMENT, stdin=self.guest,
            stdout=self.guest, stderr=self.guest, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))

    def settings(self) -> list[Any]:
        return termios.tcgetattr(self.guest)

    def write(self, data: bytes) -> None:
        os.write(self.host, data)

    def until(self, text: bytes) -> None:
        begin = time.monotonic()
        while text not in self.shown:
            assert time.monotonic() - begin < 120, self.shown[-2000:]
            if select.select([self.host], [], [], 1)[0]:
                self.shown += os.read(self.host, 4096)
        self.shown = self.shown.partition(text)[2]

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.host)
        os.close(self.guest)


class GuestTest(unittest.TestCase):
    def x64k(self, *args: str | bytes, status: int | None = 0,
             stdin: bytes = b"", quiet: bool = True, patience: float = 900
             ) -> subprocess.CompletedProcess:
        """Runs x64k; it must end with STATUS, leave no process, and, if it
        shall be QUIET, no complaint of the guest kernel."""
        with start(*args, stdin=subprocess.PIPE) as process:
            out, err = process.communicate(stdin, timeout=patience)
        message = err.decode(errors="replace")
        if status is not None:
            self.assertEqual(process.returncode, status,
                             f"x64k {args}\n{message}{out[-2000:]!r}")
        self.assertEqual(emulators_of(process.pid), [])
        if quiet:
            self.assertNotIn("warning: guest kernel", message)
        return subprocess.CompletedProcess(args, process.returncode, out,
                                           message)

    def boot(self, mode: str, *args: str | bytes, status: int | None = 0,
             quiet: bool = True) -> subprocess.CompletedProcess:
        return self.x64k("boot", "--mode", mode, *args, status=status,
                         quiet=quiet)

    def script(self, lines: bytes, *args: str, status: int = 0) -> bytes:
        """What the shell of x64k boot ARGS writes that is given LINES."""
        return self.x64k("boot", *args, stdin=lines, status=status).stdout

    def assertNamesLog(self, message: str) -> str:
        """The message names a console log, which exists; its text."""
        found = LOG_NAME.search(message)
        self.assertTrue(found, message)
        return (ROOT / found[1]).read_text(errors="replace")

    def compare(self, *args: str) -> dict[str, Any]:
        """x64k compare, as its JSON tells it."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "result.json")
            self.x64k("compare", "--json", str(path), *args)
            return json.loads(path.read_text())


def mode_of(document: dict[str, Any], name: str) -> dict[str, Any]:
    return next(m for m in document["modes"] if m["mode"] == name)
