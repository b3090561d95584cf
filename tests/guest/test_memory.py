# SPDX-License-Identifier: GPL-2.0-or-later
"""What memory costs: of a program that writes one byte in each 64 KB, the
figures are known beforehand."""

import json
import re
import unittest
from typing import Any

from support import GuestTest, mode_of

# Mode -> what one byte costs, in KB.
MODES = {"4k": 4, "emulated": 64, "process64k": 64, "system64k+contig": 64}
FEW, MANY = 100, 1100


def process(report: dict[str, Any], name: str) -> dict[str, Any]:
    found, = (p for p in report["processes"] if p["name"] == name)
    return found


class Memory(GuestTest):
    def reports(self, mode: str, *options: str) -> list[dict[str, Any]]:
        """What tlbstat -m tells of a few bytes, and of many."""
        script = "".join(f"tlbstat -j -m -o /tmp/{n} sparse {n};"
                         for n in (FEW, MANY))
        ran = self.boot(mode, *options, "--", "sh", "-ec", script
                        + f"cat /tmp/{FEW} /tmp/{MANY}")
        return [json.loads(line) for line in ran.stdout.decode().splitlines()]

    def test_of_a_byte(self):
        for mode, kb in MODES.items():
            with self.subTest(mode=mode):
                few, many = (process(one, "sparse")
                             for one in self.reports(mode))
                n = MANY - FEW
                self.assertEqual(many["waste_kb"] - few["waste_kb"],
                                 n * (kb - 4))
                self.assertEqual(many["rss_kb"] - few["rss_kb"], n * kb)
                # A page of page tables has 32 times 64 KB.
                self.assertAlmostEqual(
                    many["page_table_kb"] - few["page_table_kb"], n * 4 / 32,
                    delta=8)

    def test_sums(self):
        _, many = self.reports("process64k")
        self.assertEqual(many["guest"]["processes"], len(many["processes"]))
        for name in ("waste_kb",):
            self.assertEqual(many["guest"][name],
                             sum(p[name] for p in many["processes"]))
        names = [p["name"] for p in many["processes"]]
        self.assertIn("sparse", names)
        self.assertIn("init", names)
        self.assertNotIn("tlbstat", names)

    def test_looking_is_not_counted(self):
        """Reading all of its memory would be thousands of misses."""
        options = ("--tlb", "skylake", "--icount")
        script = ("for o in '' -m; do tlbstat -j $o -o /tmp/r toucher -m 16 >/dev/null;"
                  "cat /tmp/r; done")
        ran = self.boot("4k", *options, "--", "sh", "-ec", script)
        plain, looked = map(json.loads, ran.stdout.decode().splitlines())
        self.assertIn("processes", looked)
        self.assertNotIn("processes", plain)
        for name in ("walk-completed", "l1d-load-miss"):
            self.assertLess(abs(looked["counters"][name]
                                - plain["counters"][name]), 2000)
        self.assertAlmostEqual(looked["wall_s"], plain["wall_s"], delta=
                               0.1 * plain["wall_s"])

    def test_compare(self):
        document = self.compare("--memory", "--modes", "4k,system64k", "--",
                                "sparse", str(MANY))
        base, large = (mode_of(document, name) for name in ("4k", "system64k"))
        for mode in (base, large):
            boot = mode["boot"]
            self.assertGreater(boot["mem_free_kb"], 256 << 10)
            self.assertLess(boot["mem_free_kb"], 512 << 10)
            self.assertLess(boot["mem_available_kb"], 512 << 10)
        self.assertLess(large["boot"]["mem_free_kb"],
                        base["boot"]["mem_free_kb"])
        waste = (process(large, "sparse")["waste_kb"]
                 - process(base, "sparse")["waste_kb"])
        self.assertGreaterEqual(waste, MANY * 60)
        self.assertLess(waste, MANY * 60 + 1024)    # its stack and heap
        self.assertGreaterEqual(large["guest"]["max_rss_kb"], MANY * 64)

    def test_boot(self):
        ran = self.boot("system64k", "--memory", "--", "sparse", "100")
        self.assertEqual(ran.stdout, b"")
        for line in (r"memory after boot, free, KB: \d",
                     r"largest process, KB: \d", r"waste, KB: \d",
                     r"waste of a process, KB: \d",
                     r"  sparse \(\d+\): resident [\d,]+ KB, page tables "
                     r"[\d,]+ KB, waste [\d,]+ KB"):
            self.assertTrue(re.search(f"^{line}", ran.stderr, re.MULTILINE),
                            ran.stderr)

    def test_usage(self):
        self.boot("4k", "--memory", status=2)


if __name__ == "__main__":
    unittest.main()
