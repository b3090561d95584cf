# SPDX-License-Identifier: GPL-2.0-or-later
"""Standard streams that are closed, full, or read by nobody: one line, and a
status, whatever the verb."""

import json
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

from x64k.paths import ROOT

LOST = "x64k: error: cannot write to standard output: "
# Redirections of a shell -> status, and what is said.
BROKEN = {
    ">&-": (125, LOST + "Bad file descriptor"),
    ">/dev/full": (125, LOST + "No space left on device"),
    "<&- >&-": (125, LOST + "Bad file descriptor"),
    ">&- 2>&-": (125, ""),
    ">/dev/full 2>/dev/full": (125, ""),
    "2>&-": (0, ""),
    "2>/dev/full": (0, ""),
    "<&-": (0, ""),
    "<&- 2>&-": (0, ""),
}


class Streams(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.bench = Path(folder.name, "bench.json")
        cls.bench.write_text(json.dumps({
            "rounds": [{"stock": {"x": 1.0}}], "miss_rates": {}, "what":
            {"stock": "QEMU"}, "units": {"x": "s"}, "quick": True}))
        # Verbs that need nothing built.
        cls.verbs = [["--help"], ["workloads"],
                     ["bench", "--from", str(cls.bench)]]

    def run_in(self, redirection: str, argv: list[str]
               ) -> tuple[int, str, bytes]:
        done = subprocess.run(
            ["bash", "-c", f'"$@" {redirection}', "-", ROOT / "x64k", *argv],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
        return done.returncode, done.stderr.decode().strip(), done.stdout

    def test_broken(self):
        for redirection, wanted in BROKEN.items():
            for argv in self.verbs:
                with self.subTest(redirection, argv=argv):
                    status, said, _ = self.run_in(redirection, argv)
                    self.assertEqual((status, said), wanted)

    def test_errors_have_their_status(self):
        """Even if nobody hears of them."""
        for redirection in ("", "2>&-", "2>/dev/full", ">&- 2>&-"):
            for argv, status in ((["nonsense"], 2), (["boot"], 2),
                                 (["bench", "--from", "/nonexistent"], 2)):
                with self.subTest(redirection, argv=argv):
                    self.assertEqual(self.run_in(redirection, argv)[0], status)

    def test_what_was_asked_for_arrives(self):
        for argv in self.verbs:
            with self.subTest(argv=argv):
                self.assertEqual(self.run_in("2>&-", argv)[2],
                                 self.run_in("", argv)[2])
                self.assertTrue(self.run_in("", argv)[2])

    def test_read_by_nobody(self):
        for argv in self.verbs:
            with self.subTest(argv=argv):
                read, write = os.pipe()
                os.close(read)
                done = subprocess.run([ROOT / "x64k", *argv], stdout=write,
                                      stderr=subprocess.PIPE, timeout=60)
                os.close(write)
                self.assertEqual((done.returncode, done.stderr), (141, b""))

    def test_no_folder(self):
        """The one that we are in is gone."""
        done = subprocess.run(
            ["bash", "-c", 'cd "$(mktemp -d)" && rmdir "$PWD" && exec "$@"',
             "-", ROOT / "x64k", "workloads"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 125)
        self.assertRegex(done.stderr, "does not exist any more\n$")


if __name__ == "__main__":
    unittest.main()
