# SPDX-License-Identifier: GPL-2.0-or-later
"""Many at a time in one checkout, and in one that cannot be written to: what
is built is only read."""

import fcntl
import os
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

from support import ENVIRONMENT, ROOT, X64K

from x64k import build, fresh

GUESTS = 16
BOOT = ["boot", "--mode", "4k", "--", "echo", "booted"]
NOBODY = 65534


class Together(unittest.TestCase):
    """As a user runs it: x64k itself finds that nothing is to be built."""

    def setUp(self):
        if X64K != [str(ROOT / "x64k")]:
            self.skipTest("of this checkout's own x64k")
        if not fresh.is_fresh(("qemu", "guest")):
            self.skipTest("something was edited since ./x64k build: not up to "
                          "date")
        self.env = {name: value for name, value in ENVIRONMENT.items()
                    if name != "X64K_BUILT"}

    def lock(self) -> None:
        """As one does who builds."""
        file = build.LOCK.open("a+")
        self.addCleanup(file.close)
        fcntl.flock(file, fcntl.LOCK_EX)

    def test_guests(self):
        self.lock()
        running = [subprocess.Popen(
            [*X64K, *BOOT], cwd=ROOT, env=self.env, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE) for _ in range(GUESTS)]
        for process in running:
            out, err = process.communicate(timeout=600)
            self.assertEqual((process.returncode, out), (0, "booted\n"), err)
            self.assertNotIn("waiting for", err)

    def test_readers(self):
        self.lock()
        for argv in (["tlb", "list"], ["tlb", "show", "zen4"], ["workloads"],
                     ["--version"]):
            with self.subTest(argv=argv):
                ran = subprocess.run([*X64K, *argv], cwd=ROOT, env=self.env,
                                     stdin=subprocess.DEVNULL, timeout=120,
                                     capture_output=True, text=True)
                self.assertEqual((ran.returncode, ran.stderr), (0, ""))

    def test_a_build_is_waited_for(self):
        self.lock()
        process = subprocess.Popen(
            [*X64K, "build", "trees"], cwd=ROOT, env=self.env, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)
        with process:
            self.assertIn("another x64k uses build",
                          process.stderr.readline())
            time.sleep(1)
            self.assertIsNone(process.poll())
            process.terminate()
            process.communicate()
        self.assertEqual(process.returncode, 143)

    USERS = {"root": [], "another user":
             ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}",
              "--clear-groups"]}
    READ_ONLY = ('mount --bind "$0" "$0" && '
                 'mount -o remount,bind,ro "$0" && cd "$0" && exec "$@"')

    def test_a_checkout_that_is_only_read(self):
        if os.geteuid():
            self.skipTest("to be another user takes root")
        nobody = self.USERS["another user"]
        if subprocess.run([*nobody, "test", "-x", ROOT / "x64k"]).returncode:
            self.skipTest("other users cannot read this checkout")
        for user, switch in self.USERS.items():
            for mount in True, False:
                if not (mount or switch):
                    continue
                for argv, wanted in ((["tlb", "list"], "zen4"),
                                     (BOOT, "booted"),
                                     (["compare", "--modes", "4k", "--",
                                       "true"], "page faults")):
                    with self.subTest(user, read_only=mount, argv=argv):
                        line = [*switch, *X64K, *argv]
                        if mount:
                            line = ["unshare", "--mount", "sh", "-c",
                                    self.READ_ONLY, ROOT, *line]
                        self.check(line, wanted)

    def check(self, line: list[str | Path], wanted: str) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        home = Path(folder.name)
        os.chown(home, NOBODY, NOBODY)
        ran = subprocess.run(
            line, cwd=ROOT, capture_output=True, text=True, timeout=300,
            stdin=subprocess.DEVNULL,
            env=self.env | {"HOME": str(home), "XDG_CACHE_HOME": "",
                            "XDG_STATE_HOME": "", "X64K_CACHE": ""})
        self.assertEqual(ran.returncode, 0, ran.stderr)
        self.assertIn(wanted, ran.stdout)
        self.assertNotIn("warning", ran.stderr)
        if "boot" in line:
            logs = home / ".local/state/x64k/logs"
            self.assertTrue(list(logs.glob("guest-*.log")))


if __name__ == "__main__":
    unittest.main()
