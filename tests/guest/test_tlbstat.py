# SPDX-License-Identifier: GPL-2.0-or-later
"""tlbstat in a guest of two processors: what it prints, in each form."""

import json
import unittest

from support import GuestTest

# toucher marks three regions; -m 4 is 1,024 pages.
SCRIPT = """
set -e
tlbstat -o /tmp/table -- toucher -m 4 >/dev/null
tlbstat -o /tmp/dense -p dense -- toucher -m 4 >/dev/null
tlbstat -j -o /tmp/json -- toucher -m 4 >/dev/null
tlbstat -j -p random -o /tmp/random -- toucher -m 4 >/dev/null
tlbstat -j -I 20 -o /tmp/intervals -- toucher -m 32 -r 300000 >/dev/null
tlbstat -I 20 -o /tmp/lines -- sleep 0.1
tlbstat -j -o /tmp/outer -- sh -c \
    'toucher -m 4; tlbstat -j -o /tmp/inner -- toucher -m 2' >/dev/null
tlbstat -j -p nowhere -o /tmp/nowhere -- true 2>/tmp/said
tlbstat -I 0 -- true 2>/tmp/wrong || echo $? >>/tmp/wrong
tlbstat -o /tmp/failed -- sh -c 'exit 3' || echo $? >>/tmp/failed
for file in table dense json random intervals lines outer inner nowhere said \
    wrong failed; do
    echo "== $file"
    cat /tmp/$file
done
"""


class Tlbstat(GuestTest):
    """One boot; the tests read what it printed."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        said = cls().boot("4k", "--tlb", "skylake", "--cpus", "2", "--",
                          "sh", "-c", SCRIPT).stdout.decode()
        parts = said.replace("\r", "").split("== ")[1:]
        cls.parts = dict(part.split("\n", 1) for part in parts)

    def json(self, name: str) -> dict:
        return json.loads(self.parts[name])

    def regions(self, name: str) -> list[str]:
        return [region["name"] for region in self.json(name)["regions"]]

    def test_table(self):
        table = self.parts["table"]
        self.assertRegex(table, r"'toucher': status 0")
        self.assertRegex(table, r"\d+\.\d{6}  seconds")
        self.assertRegex(table, r"[1-9]\d*  stlb-fill-4k")
        for name in ("first-touch", "dense", "random"):
            self.assertIn(f"region '{name}', entered 1 time\n", table)

    def test_region_of_a_table(self):
        table = self.parts["dense"]
        self.assertEqual(table.count("region '"), 1)
        self.assertIn("region 'dense'", table)
        # Its own counters, but not the command's.
        self.assertEqual(table.count("  l1d-load-miss"), 1)

    def test_json(self):
        report = self.json("json")
        self.assertEqual(report["status"], 0)
        self.assertEqual(self.regions("json"),
                         ["first-touch", "dense", "random"])
        # A page is filled at its first touch, so the command has as many.
        self.assertGreaterEqual(report["counters"]["stlb-fill-4k"], 1024)
        for region in report["regions"]:
            self.assertEqual(region["entered"], 1)
            for name, value in region["counters"].items():
                self.assertLessEqual(value, report["counters"][name], name)

    def test_region_of_json(self):
        self.assertEqual(self.regions("random"), ["random"])
        self.assertNotIn("counters", self.json("random"))

    def test_intervals(self):
        report = self.json("intervals")
        times = [part["time_s"] for part in report["intervals"]]
        self.assertGreater(len(times), 2)
        self.assertEqual(times, sorted(times))
        self.assertAlmostEqual(times[-1], report["wall_s"], places=5)
        # They add up to the whole, but for the first and the last moment.
        for name in ("l1d-load-miss", "walk-completed"):
            total = sum(part["counters"].get(name, 0)
                        for part in report["intervals"])
            self.assertAlmostEqual(total, report["counters"][name],
                                   delta=0.05 * report["counters"][name])

    def test_intervals_as_lines(self):
        rows = [line.split() for line in self.parts["lines"].splitlines()]
        times = {row[0] for row in rows if len(row) == 3
                 and row[2] == "l1d-load-miss"}
        self.assertGreater(len(times), 2)

    def test_inside_another(self):
        """Neither disturbs what the other counts."""
        outer, inner = self.json("outer"), self.json("inner")
        self.assertGreaterEqual(inner["counters"]["stlb-fill-4k"], 512)
        self.assertGreaterEqual(outer["counters"]["stlb-fill-4k"],
                                inner["counters"]["stlb-fill-4k"] + 1024)

    def test_a_region_that_is_not_there(self):
        self.assertEqual(self.json("nowhere")["regions"], [])
        self.assertIn("no region 'nowhere' was entered", self.parts["said"])

    def test_usage(self):
        self.assertIn("-I 0: must be 1 to 3600000", self.parts["wrong"])
        self.assertTrue(self.parts["wrong"].endswith("\n2\n"))

    def test_status(self):
        self.assertIn("'sh': status 3", self.parts["failed"])
        self.assertTrue(self.parts["failed"].rstrip().endswith("3"))


if __name__ == "__main__":
    unittest.main()
