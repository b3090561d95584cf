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
tlbstat -j -o /tmp/named -- sh -c '
    tlbstat -r few -o /dev/null -- sh -c "toucher -m 4 -r 1000; exit 3"
    echo $?
    tlbstat -r many -o /dev/null -- toucher -m 100 -r 1000 >/dev/null
    tlbstat -r few -o /dev/null -- sh -c "kill -9 \\$\\$"
    echo $?
    tlbstat -r few -o /dev/null -- no-such-command
    echo $?
    tlbstat -r less -o /dev/null -- toucher -m 4 -r 1000 >/dev/null
    tlbstat -r none -o /dev/null -- true
    { until [ -e /tmp/go ]; do sleep 0.01; done; toucher -m 8; } >/dev/null &
    tlbstat -r server -o /dev/null -- sh -c "touch /tmp/go; sleep 1"
    wait' >/tmp/statuses 2>&1
tlbstat -r $(printf %032d 0) -- true 2>/tmp/long || echo $? >>/tmp/long
tlbstat -j -p nowhere -o /tmp/nowhere -- true 2>/tmp/said
tlbstat -I 0 -- true 2>/tmp/wrong || echo $? >>/tmp/wrong
tlbstat -o /tmp/failed -- sh -c 'exit 3' || echo $? >>/tmp/failed
for file in table dense json random intervals lines outer inner named \
    statuses long nowhere said wrong failed; do
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

    def named(self, name: str) -> dict:
        region, = (part for part in self.json("named")["regions"]
                   if part["name"] == name)
        return region

    def test_named(self):
        """A command as a region of the tlbstat around it: three commands of
        one name, and nothing lost of any."""
        self.assertEqual(self.json("named")["status"], 0)
        self.assertEqual(self.regions("named"), ["first-touch", "dense",
                         "random", "server", "none", "less", "many", "few"])
        self.assertEqual([self.named(name)["entered"]
                          for name in ("few", "many", "none")], [3, 1, 1])
        for name, pages in (("few", 1024), ("many", 25600)):
            walks = self.named(name)["counters"]["walk-faulted"]
            self.assertGreaterEqual(walks, pages)
            self.assertLess(walks, pages + 2000)
        self.assertEqual(self.json("named")["counters"].keys(),
                         self.named("many")["counters"].keys())

    def test_named_statuses(self):
        """They are as without -r, also where a signal ended the command."""
        self.assertEqual([line for line in self.parts["statuses"].split("\n")
                          if line.isdigit()], ["3", "137", "127"])

    def test_named_memory(self):
        """What 100 MB need more than 4 MB: that, and 8 bytes for each page."""
        less, many = (self.named(name)["guest"] for name in ("less", "many"))
        self.assertAlmostEqual(many["page_table_kb"] - less["page_table_kb"],
                               96 * 256 * 8 / 1024, delta=20)
        self.assertGreater(many["max_rss_kb"], 100 << 10)
        self.assertLess(many["max_rss_kb"], 102 << 10)
        self.assertLess(less["max_rss_kb"], 6 << 10)
        self.assertGreater(many["anon_kb"], 100 << 10)
        whole = self.json("named")["guest"]
        self.assertEqual(whole["page_table_kb"], many["page_table_kb"])

    def test_named_seconds(self):
        few, many = self.named("few"), self.named("many")
        whole = self.json("named")["wall_s"]
        self.assertGreater(few["wall_s"], 0)
        self.assertLess(few["wall_s"] + many["wall_s"], whole)
        self.assertGreater(self.named("server")["wall_s"], 1)

    def test_named_faults_are_of_all_processes(self):
        """8 MB are touched by another process than the command."""
        self.assertGreaterEqual(self.named("server")["guest"]["page_faults"],
                                2048)
        self.assertLess(self.named("none")["guest"]["page_faults"], 200)

    def test_a_name_that_is_too_long(self):
        self.assertIn("must be 1 to 31 characters", self.parts["long"])
        self.assertTrue(self.parts["long"].endswith("\n2\n"))

    def test_memory_of_a_program(self):
        """What toucher -m 4 says of itself, and tlbstat of its command."""
        report = self.json("json")
        self.assertGreaterEqual(report["guest"]["max_rss_kb"], 4096)
        for region in report["regions"]:
            self.assertGreater(region["wall_s"], 0)
            self.assertGreaterEqual(region["guest"]["max_rss_kb"], 4096)
            self.assertLessEqual(region["guest"]["max_rss_kb"],
                                 report["guest"]["max_rss_kb"])
            self.assertGreaterEqual(region["guest"]["anon_kb"], 4096)
        self.assertEqual(report["guest"]["page_table_kb"],
                         max(region["guest"]["page_table_kb"]
                             for region in report["regions"]))
        self.assertEqual(report["guest"]["folios_64k"], 0)

    def test_idle_time(self):
        """Two processors, one of which at least sleeps for a second."""
        server, = (r for r in self.json("named")["regions"]
                   if r["name"] == "server")
        idle = server["guest"]["idle_s"]
        self.assertGreater(idle, 0.5)
        self.assertLess(idle, 2 * server["wall_s"] + 0.05)

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
