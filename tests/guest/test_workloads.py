# SPDX-License-Identifier: GPL-2.0-or-later
"""Each workload in a guest: its result is right, its region is there, and a
result that is wrong is found."""

import dataclasses
import os
import subprocess
import unittest
from unittest import mock

from support import GuestTest

from x64k import disk, guest, paths, workloads
from x64k.workloads import Workload

PROGRAM = paths.MESON / "guest-images/x64k-workload"


def known(image: str) -> dict[str, Workload]:
    with mock.patch.dict(os.environ):
        os.environ.pop(workloads.OWN, None)
        return {name: one for name, one in workloads.load().items()
                if one.image == image}


def damaged(one: Workload) -> Workload:
    """One that does not do its work, or does it wrong."""
    if one.count:
        return dataclasses.replace(one, count="true")
    return dataclasses.replace(
        one, program=one.program.replace("x64k-workload ",
                                         "x64k-workload -b "))


def small(mode: str, ones: list[Workload], image: str = "mini"
          ) -> tuple[list[dict], str]:
    """The results of all, one after the other in one guest."""
    root = None if image == "mini" else disk.Disk(paths.DEBIAN, False)
    machine = guest.Machine(mode, "skylake", "1G", timeout=900, root=root)
    output = bytearray()
    outcome = guest.run(machine, [one.argv("small") for one in ones],
                        output.extend)
    if outcome.complaints:
        raise AssertionError(f"guest kernel: {outcome.complaints}")
    return outcome.results, output.decode(errors="replace")


class InAGuest(GuestTest):
    def check(self, mode: str, image: str = "mini") -> dict[str, dict]:
        """All small: right, and with the region; their regions by name."""
        ones = known(image)
        results, output = small(mode, list(ones.values()), image)
        regions = {}
        for name, result in zip(ones, results, strict=True):
            with self.subTest(name):
                self.assertEqual(result["status"], 0, output[-3000:])
                region, = (part for part in result["regions"]
                           if part["name"] == workloads.REGION)
                self.check_region(result, region)
                regions[name] = region
        return regions

    def check_region(self, result: dict, region: dict):
        self.assertGreaterEqual(region["entered"], 1)
        self.assertGreater(region["wall_s"], 0)
        self.assertLess(region["wall_s"], result["wall_s"])
        self.assertEqual(region["counters"].keys(),
                         result["counters"].keys())
        for name, value in region["counters"].items():
            self.assertLessEqual(value, result["counters"][name], name)
        self.assertGreater(region["counters"]["walk-completed"], 0)
        for key in ("page_faults", "max_rss_kb", "page_table_kb", "anon_kb"):
            self.assertIsInstance(region["guest"][key], int)
        for key in ("max_rss_kb", "page_table_kb"):
            self.assertGreater(region["guest"][key], 0)
            self.assertGreaterEqual(result["guest"][key],
                                    region["guest"][key])

    def check_damaged(self, image: str = "mini"):
        ones = known(image)
        results, output = small("4k", list(map(damaged, ones.values())),
                                image)
        for name, result in zip(ones, results, strict=True):
            with self.subTest(name):
                self.assertNotEqual(result["status"], 0, output[-3000:])


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


class Debian(InAGuest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if not paths.DEBIAN.exists():
            raise unittest.SkipTest("the Debian image was not built: x64k "
                                    "build debian")

    def test_contig(self):
        regions = self.check("contig", "debian")
        # The server's work is in the region, not only its client's.
        self.assertGreater(regions["redis"]["guest"]["anon_kb"],
                           regions["redis"]["guest"]["max_rss_kb"])

    def test_damage_is_found(self):
        self.check_damaged("debian")


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
