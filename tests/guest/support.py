# SPDX-License-Identifier: GPL-2.0-or-later
"""What the guest tests share: running x64k as a user does."""

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
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

    def boot(self, mode: str, *args: str | bytes, status: int | None = 0
             ) -> subprocess.CompletedProcess:
        return self.x64k("boot", "--mode", mode, *args, status=status)

    def at_prompt(self, line: bytes, *args: str) -> bytes:
        """What x64k boot ARGS shows after LINE is typed into its shell."""
        with start("boot", *args, "--timeout", "60",
                   stdin=subprocess.PIPE) as process:
            shown = b""
            while not shown.endswith(b"# "):
                byte = process.stdout.read(1)
                self.assertTrue(byte, shown)
                shown += byte
            out, err = process.communicate(line + b"\nexit\n")
        self.assertEqual(process.returncode, 0, err)
        return out

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
