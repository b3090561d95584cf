# SPDX-License-Identifier: GPL-2.0-or-later
"""Each workload of the mini guest: its result is right, its region is there,
and a result that is wrong is found."""

import dataclasses
import subprocess
import unittest

from workload_case import InAGuest, damaged, known, small

from x64k import paths

PROGRAM = paths.MESON / "guest-images/x64k-workload"


class Mini(InAGuest):
    def test_4k(self):
        regions = self.check("4k")
        # What a table of 8 MB needs: 4 updates for each of 2^20 words, each
        # in a page of its own, of 2,048 pages.
        counters = regions["gups"]["counters"]
        self.assertGreater(counters["l1d-load-miss"]
                           + counters["l1d-store-miss"], 3 << 20)
        self.assertEqual(regions["gups"]["guest"]["page_faults"], 0)
        self.assertEqual(regions["bfs"]["entered"], 8)
        # A fork and an exec take some faults at least.
        self.assertGreater(regions["forkexec"]["guest"]["page_faults"], 1000)

    def test_contig(self):
        regions = self.check("contig")
        counters = regions["gups"]["counters"]
        # 128 groups, which the second level holds.
        self.assertLess(counters["walk-completed"], 1000)

    def test_damage_is_found(self):
        self.check_damaged()

    def test_a_size_that_is_wrong(self):
        """sqlite's keys are distinct only for a prime that is not a factor
        of what makes them."""
        one = dataclasses.replace(known("mini")["sqlite"],
                                  sizes={"small": "15838 4000"})
        (result,), output = small("4k", [one])
        self.assertNotEqual(result["status"], 0)
        self.assertIn("UNIQUE constraint failed", output)

    def test_reported(self):
        """x64k itself tells of the failure."""
        argv = damaged(known("mini")["chase"]).argv("small")
        ran = self.boot("4k", "--", *argv, status=1)
        self.assertIn(b"262143 visited", ran.stdout)
        self.assertIn(b"chase: the result is wrong", ran.stdout)


class OnTheHost(unittest.TestCase):
    """The same program, without a counter device."""

    def run_program(self, *args: str) -> subprocess.CompletedProcess:
        return subprocess.run([PROGRAM, *args], capture_output=True,
                              text=True)

    def test_each(self):
        for name, size in (("bfs", "10"), ("chase", "1"), ("forkexec", "5"),
                           ("gups", "16"), ("join", "10"), ("sort", "12"),
                           ("stream", "1")):
            with self.subTest(name):
                ran = self.run_program(name, size)
                self.assertEqual((ran.returncode, ran.stderr), (0, ""))
                ran = self.run_program("-b", name, size)
                self.assertEqual(ran.returncode, 1)
                self.assertIn(f"{name}: the result is wrong", ran.stderr)

    def test_usage(self):
        for args in ((), ("gups",), ("gups", "15"), ("gups", "20x"),
                     ("gups", "-1"), ("gups", "20", "1"), ("cups", "20"),
                     ("-x", "gups", "20")):
            with self.subTest(args):
                ran = self.run_program(*args)
                self.assertEqual(ran.returncode, 2)
                self.assertIn("usage: x64k-workload", ran.stderr)


if __name__ == "__main__":
    unittest.main()
