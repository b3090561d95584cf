# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of workloads share: running all of an image in one guest."""

import dataclasses
import os
from unittest import mock

from support import GuestTest

from x64k import disk, guest, paths, workloads
from x64k.workloads import Workload


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
        # Not walks: with 64 KB entries the second level holds all of some.
        self.assertGreater(region["counters"]["l1d-load-miss"], 0)
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
