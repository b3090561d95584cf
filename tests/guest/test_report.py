# SPDX-License-Identifier: GPL-2.0-or-later
"""The table and the demo's sentence: no guest, only made-up counts."""

import unittest

import support  # noqa: F401  (finds the x64k modules)

from x64k import demo, guest, report


def mode(name: str, fills: int, walks: int, faults: int) -> dict:
    counters = {"l1d-fill-4k": fills, "walk-completed": walks,
                "walk-faulted": 0, "l1d-load-miss": 5, "l1d-store-miss": 2}
    part = {"counters": counters, "guest": {"page_faults": faults}}
    return {"mode": name, "wall_s": 1.5, **part,
            "regions": [{"name": region, "entered": 1, **part}
                        for region in ("first-touch", "dense", "random")]}


class Table(unittest.TestCase):
    def test_values_and_ratios(self):
        text = report.table([mode("4k", 1600, 1000, 0),
                             mode("contig", 100, 0, 7)])
        lines = [line.split() for line in text.splitlines()]
        self.assertEqual(lines[0], ["4k", "contig", "to", "4k"])
        self.assertIn(["fills", "4", "KB", "1,600", "100", "0.062"], lines)
        self.assertIn(["walks", "completed", "1,000", "0", "0"], lines)
        self.assertIn(["L1", "dTLB", "misses", "7", "7", "1.00"], lines)
        self.assertIn("region dense", text)

    def test_memory(self):
        modes = [mode("4k", 1, 1, 1), mode("system64k", 1, 1, 1)]
        for one, free, waste, processes in zip(modes, (1000, 900), (3, 610),
                                               (3, 4)):
            one["guest"] = one["guest"] | {
                "max_rss_kb": 64, "waste_kb": waste, "processes": processes}
            one["boot"] = {"mem_free_kb": free, "mem_available_kb": 500}
        text = report.table(modes)
        lines = [line.split() for line in text.splitlines()]
        for line in ("free, KB 1,000 900 0.90", "available, KB 500 500 1.00",
                     "largest process, KB 64 64 1.00", "waste, KB 3 610 203.33",
                     # 610 / 4, and 3 / 3.
                     "waste of a process, KB 1 152 152.00"):
            self.assertIn(line.split(), lines)
        self.assertNotIn("page tables", text)
        modes[0]["processes"] = [
            {"pid": 7, "name": "x", "rss_kb": 2000, "page_table_kb": 40,
             "waste_kb": 3}]
        self.assertEqual(
            report.memory(modes[0]).splitlines(),
            ["memory after boot, free, KB: 1,000",
             "memory after boot, available, KB: 500", "largest process, KB: 64",
             "waste, KB: 3", "waste of a process, KB: 1",
             "  x (7): resident 2,000 KB, page tables 40 KB, waste 3 KB"])

    def test_what_init_says(self):
        self.assertEqual(
            guest.memory_after_boot("x\r\nx64k-memory: MemFree: 400\r\n"
                                    "x64k-memory: MemAvailable: 300\r\ny\n"),
            {"mem_free_kb": 400, "mem_available_kb": 300})
        self.assertEqual(guest.memory_after_boot("x64k-memory: MemFree:\n"), {})

    def test_no_ratio_to_nothing(self):
        self.assertEqual(report.ratio(5, 0), "n/a")
        self.assertEqual(report.ratio(None, 5), "n/a")
        self.assertEqual(report.ratio(5, None), "n/a")

    def test_without_4k(self):
        text = report.table([mode("contig", 1, 1, 1)])
        self.assertIn("n/a", text)

    def test_columns_line_up(self):
        text = report.table([mode("4k", 10**9, 1, 1), mode("contig", 1, 1, 1)])
        rows = [line for line in text.splitlines() if line.startswith("  ")]
        self.assertEqual(len({len(row) for row in rows}), 1)

    def test_fits_a_screen(self):
        for count in 10**6, 10**7 - 1:
            text = report.table([mode(name, count, count, count)
                                 for name in guest.DEFAULT_MODES])
            self.assertLessEqual(max(map(len, text.splitlines())), 100)


class Sentence(unittest.TestCase):
    def test_versus(self):
        for base, value, words in (
                (1600, 100, "16.0 times fewer walks"),
                (100, 50000, "500 times more walks"),
                (1000, 1029, "as many walks (+2.9 %)"),
                (1000, 0, "no walks at all"),
                (0, 5, "no count of walks to compare")):
            self.assertEqual(demo.versus(base, value, "walks"), words)

    def test_follows_the_numbers(self):
        """Turned around, the counts give the opposite sentence."""
        good = [mode("4k", 1600, 900, 160), mode("emulated", 1600, 900, 10),
                mode("contig", 100, 3, 10), mode("native", 80, 2, 4)]
        bad = [mode("4k", 100, 3, 10), mode("emulated", 100, 3, 10),
               mode("contig", 1600, 900, 10), mode("native", 5000, 901, 500)]
        said = demo.sentence(good, good)
        self.assertIn("16.0 times fewer page faults", said)
        self.assertIn("as many L1 dTLB fills", said)
        self.assertIn("300 times fewer walks", said)
        self.assertIn("(native) first touch takes 40.0 times fewer", said)
        self.assertIn("450 times fewer walks", said)
        said = demo.sentence(bad, bad)
        self.assertNotIn("fewer", said)
        self.assertIn("300 times more walks", said)
        self.assertIn("50.0 times more page faults", said)

    def test_says_what_ran(self):
        """A kernel of someone's own has pages of one size."""
        some = [mode("4k", 1600, 900, 160), mode("contig", 100, 3, 10)]
        said = demo.sentence(some, some)
        self.assertNotIn("emulated", said)
        self.assertRegex(said, r"\AAgainst 4 KB pages, with the contiguity hint "
                         r"\(contig\) the dense [^;]*\.\Z")
        self.assertEqual(demo.sentence(some[:1], some[:1]), "")
        self.assertEqual(demo.sentence([mode("native", 1, 1, 1)], []), "")


if __name__ == "__main__":
    unittest.main()
