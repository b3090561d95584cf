# SPDX-License-Identifier: GPL-2.0-or-later
"""Short of memory: what lives with pages of 4 KB lives with pages of 64 KB, and
its memory holds what it should."""

import re
import unittest

from support import GuestTest

MEMORY = ("--mem", "128M")

# `scarce` in a guest of 128 MB: in pages of 4 KB a third of it, or less.
CASES = (
    "private 256", "onfault 256", "shared 256", "memfd 256", "shm 256",
    "fork 40 6 25 child", "fork 40 6 25 parent", "fork 24 12 20 child 3",
)


def script(cases: tuple[str, ...], launcher: str = "") -> str:
    lines = [f"{launcher} scarce {case}; echo status $? of {case}"
             for case in cases]
    return "\n".join([*lines, "cat /proc/vmstat"])


class Scarce(GuestTest):
    def run_in(self, mode: str, commands: str, *options: str
               ) -> tuple[dict[str, int], dict[str, int]]:
        """How each case ended, and /proc/vmstat."""
        ran = self.x64k("boot", "--mode", mode, *MEMORY, *options, "--",
                        "sh", "-c", commands, quiet=False)
        text = ran.stdout.decode()
        return ({case.strip(): int(status) for status, case in
                 re.findall(r"^status (\d+) of (.*)$", text, re.MULTILINE)},
                {name: int(value) for name, value in
                 re.findall(r"^(\w+) (\d+)$", text, re.MULTILINE)})

    def assertAllLive(self, ended: dict[str, int], vmstat: dict[str, int]):
        self.assertEqual(ended, dict.fromkeys(CASES, 0))
        self.assertEqual(vmstat["oom_kill"], 0)

    def test_4k(self):
        """In pages of 4 KB there is room for all of it."""
        self.assertAllLive(*self.run_in("4k", script(CASES)))

    def test_units(self):
        for mode in ("process64k+contig", "system64k"):
            with self.subTest(mode=mode):
                ended, vmstat = self.run_in(mode, script(CASES))
                self.assertAllLive(ended, vmstat)
                # There was need of all of it.
                for counter in ("copy", "unused", "uncopy"):
                    self.assertGreater(vmstat[f"page_unit_{counter}"], 0,
                                       counter)

    def test_plenty(self):
        """Where memory is not short, nothing is taken back."""
        cases = ("private 64", "shared 64", "onfault 64",
                 "fork 40 6 25 child", "fork 40 6 25 parent")
        ended, vmstat = self.run_in("process64k", script(cases),
                                    "--mem", "512M")
        self.assertEqual(ended, dict.fromkeys(cases, 0))
        self.assertGreaterEqual(vmstat["page_unit_copy"], 2 * 40 * 16)
        self.assertEqual(vmstat["page_unit_unused"], 0)
        self.assertEqual(vmstat["page_unit_uncopy"], 0)


if __name__ == "__main__":
    unittest.main()
