# SPDX-License-Identifier: GPL-2.0-or-later
"""Several x64k at a time: who has to wait, does, and says for whom."""

import contextlib
import errno
import fcntl
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path
from unittest import mock

from x64k import build, locks, proc, ui, versions
from x64k.paths import ROOT

BUSY = "another x64k counts"
# Adds one to a number in a file, slowly.
COUNT = """\
import sys, time
from pathlib import Path
from x64k import locks
number = Path(sys.argv[1])
with locks.hold(number.with_suffix(".lock"), "another x64k counts"):
    found = int(number.read_text())
    time.sleep(0.02)
    number.write_text(str(found + 1))
"""
KEEP = """\
import sys, time
from pathlib import Path
from x64k import locks
with locks.hold(Path(sys.argv[1]), "busy"):
    print("have it", flush=True)
    time.sleep(1000)
"""


def python(script: str, *args: str | Path, **more) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", script, *args], text=True,
                            env=os.environ | {"PYTHONPATH":
                                              str(ROOT / "tools")}, **more)


class LockTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.lock = self.folder / ".lock"
        self.said = io.StringIO()
        redirect = contextlib.redirect_stderr(self.said)
        redirect.__enter__()
        self.addCleanup(redirect.__exit__, None, None, None)

    def keep(self, path: Path) -> subprocess.Popen:
        """Another process that holds the lock."""
        other = python(KEEP, path, stdout=subprocess.PIPE)
        self.addCleanup(other.stdout.close)
        self.addCleanup(other.wait)
        self.addCleanup(other.kill)
        self.assertEqual(other.stdout.readline(), "have it\n")
        return other


class Hold(LockTest):
    def test_sixteen_at_a_time(self):
        number = self.folder / "number"
        number.write_text("0")
        children = [python(COUNT, number) for _ in range(16)]
        self.assertEqual([child.wait() for child in children], [0] * 16)
        self.assertEqual(number.read_text(), "16")

    def test_says_for_whom(self):
        other = self.keep(self.lock)
        with (mock.patch.object(locks, "SILENT_S", 0),
              mock.patch.object(ui, "QUIET_S", 0.2),
              mock.patch.object(locks.time, "sleep",
                                self.end_after(other, 8))):
            with locks.hold(self.lock, BUSY, lambda: ": counting [3/4]"):
                pass
        first, *lines = self.said.getvalue().splitlines()
        self.assertRegex(first, rf"^x64k: {BUSY}: process {other.pid} of \S+ "
                         r"\(x64k .*\), which began \d+ s ago; waiting for it$")
        self.assertRegex("\n".join(lines), rf"waiting ... for process "
                         rf"{other.pid} of .*: counting \[3/4\]; \d+ s")

    def end_after(self, child: subprocess.Popen, rounds: int):
        """A sleep() that ends CHILD, by kill -9, when called so often."""
        calls = iter(range(rounds))
        real = time.sleep

        def sleep(_):
            real(0.1)
            if next(calls, None) is None:
                child.kill()
        return sleep

    def test_a_short_wait_is_silent(self):
        other = self.keep(self.lock)
        with mock.patch.object(locks.time, "sleep", self.end_after(other, 1)):
            with locks.hold(self.lock, BUSY):
                pass
        self.assertEqual(self.said.getvalue(), "")

    def test_deleted_meanwhile(self):
        """`clean` deletes the folder that it has locked: who has waited makes
        the lock of the new one."""
        other = self.keep(self.lock)
        self.lock.unlink()
        with locks.hold(self.lock, BUSY):
            self.assertEqual(json.loads(self.lock.read_text())["pid"],
                             os.getpid())
        self.assertIsNone(other.poll())

    def test_a_reader_waits_too(self):
        """It need not be able to write."""
        locks.wait(self.lock, BUSY)     # nobody has ever built
        other = self.keep(self.lock)
        self.lock.chmod(0o444)
        user = [] if os.geteuid() else ["setpriv", "--reuid=65534",
                                        "--clear-groups"]
        self.folder.chmod(0o755)
        if user and not self.reaches(user):
            self.skipTest("another user cannot read this checkout")
        waits = subprocess.Popen(
            [*user, sys.executable, "-c", "import sys; from pathlib import "
             "Path; from x64k import locks; locks.wait(Path(sys.argv[1]), "
             "'busy')", self.lock], env=os.environ | {
                 "PYTHONPATH": str(ROOT / "tools")}, stderr=subprocess.DEVNULL)
        with self.assertRaises(subprocess.TimeoutExpired):
            waits.wait(1)
        other.kill()
        self.assertEqual(waits.wait(30), 0)

    def reaches(self, user: list[str]) -> bool:
        return not subprocess.run([*user, "test", "-r", ROOT / "x64k"],
                                  check=False).returncode

    def test_a_holder_without_a_name(self):
        self.assertEqual(locks.holder("")[0], "one that has just begun")
        self.assertEqual(locks.holder("4711")[0], "one that has just begun")


class Unsupported(LockTest):
    """File systems that have no locks."""

    USERS = {
        "build": lambda self: build.lock(),
        "versions": lambda self: contextlib.nullcontext(
            versions.record("a", 1, self.folder / "versions.json")),
        "anything": lambda self: locks.hold(self.lock, BUSY),
    }

    def test_warned_of_and_done_without(self):
        for number in sorted(locks.UNSUPPORTED):
            for name, user in self.USERS.items():
                with (self.subTest(errno=errno.errorcode[number], user=name),
                      mock.patch.object(locks, "_warned", set()),
                      mock.patch.object(build, "BUILD", self.folder),
                      mock.patch.object(build, "LOCK", self.lock),
                      mock.patch.object(
                          fcntl, "flock", side_effect=OSError(
                              number, os.strerror(number)))):
                    self.said.truncate(0)
                    with user(self), user(self):
                        pass
                    self.assertEqual(self.said.getvalue().count("warning: "),
                                     1)
                    self.assertIn("cannot be locked", self.said.getvalue())

    def test_other_errors_are_none_of_these(self):
        with mock.patch.object(fcntl, "flock",
                               side_effect=OSError(errno.EIO, "I/O error")):
            with self.assertRaises(OSError), locks.hold(self.lock, BUSY):
                self.fail("held nothing")

    def test_no_room_to_sign(self):
        """A full disk does not stop who needs none of it."""
        self.lock.symlink_to("/dev/full")
        with locks.hold(self.lock, BUSY):
            pass


class Build(LockTest):
    def test_how_far_it_is(self):
        logs = self.folder / "logs"
        with (mock.patch.object(proc, "LOGS", logs),
              mock.patch.object(proc, "BUILD_LOGS", logs)):
            self.assertEqual(proc.under_way(), "")
            proc.logged(["sh", "-c", "echo '[3/1589] cc'"], "qemu",
                        "Building QEMU")
            self.assertEqual(proc.under_way(), ": Building QEMU [3/1589]")
            shutil.rmtree(logs)
            self.assertEqual(proc.under_way(), "")


if __name__ == "__main__":
    unittest.main()
