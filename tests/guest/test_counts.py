# SPDX-License-Identifier: GPL-2.0-or-later
"""What the guest and the TLB model count, and that it is the same twice."""

import hashlib
import unittest

from support import GuestTest, mode_of

from x64k import guest, report

PAGES = 64 * 256            # of toucher's memory
FOLIOS = PAGES // 16


class Toucher(GuestTest):
    """One comparison; the tests read it."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.document = cls().compare("--", "toucher")

    def part(self, mode: str, name: str) -> dict:
        return report.region(mode_of(self.document, mode), name)

    def count(self, pattern: str, mode: str, name: str) -> int:
        value = report.total(self.part(mode, name)["counters"], pattern)
        self.assertIsNotNone(value, pattern)
        return value

    def faults(self, mode: str) -> int:
        return self.part(mode, "first-touch")["guest"]["page_faults"]

    def test_json(self):
        """The document is what is documented."""
        document = self.document
        self.assertIsInstance(document["x64k"], str)
        self.assertEqual(document["tlb"], "skylake")
        self.assertEqual(document["command"], ["toucher"])
        self.assertEqual([m["mode"] for m in document["modes"]],
                         list(guest.DEFAULT_MODES))
        for mode in document["modes"]:
            self.assertGreater(mode["wall_s"], 0)
            self.assertIsInstance(mode["guest"]["page_faults"], int)
            self.assertGreater(len(mode["counters"]), 20)
            for name, value in mode["counters"].items():
                self.assertIsInstance(value, int, name)
            self.assertEqual([r["name"] for r in mode["regions"]],
                             ["first-touch", "dense", "random"])

    def test_page_faults(self):
        """First touch: a fault a page, or a fault a folio.  Some more for the
        page tables' and the program's own sake, never fewer."""
        for mode, units in (("4k", PAGES), ("emulated", FOLIOS),
                            ("contig", FOLIOS), ("native", FOLIOS)):
            self.assertGreaterEqual(self.faults(mode), units)
            self.assertLess(self.faults(mode), units + 16)

    def test_faults_ten_times_fewer(self):
        for mode in ("emulated", "contig", "native"):
            self.assertGreaterEqual(self.faults("4k"), 10 * self.faults(mode))

    def test_dense(self):
        """Dense: 64 KB translations have at least ten times fewer L1 dTLB
        fills."""
        for mode in ("contig", "native"):
            self.assertGreaterEqual(
                self.count("l1d-fill-.*", "4k", "dense"),
                10 * self.count("l1d-fill-.*", mode, "dense"))

    def test_dense_fills_every_page(self):
        """Dense on 4k: 16,384 pages do not fit, so each of the four passes
        fills each page once."""
        fills = self.count("l1d-fill-4k", "4k", "dense")
        self.assertGreaterEqual(fills, 4 * PAGES)
        self.assertLess(fills, 4 * PAGES * 1.05)

    def test_random(self):
        """Random: 64 KB translations have at least ten times fewer walks."""
        for mode in ("contig", "native"):
            self.assertGreaterEqual(
                self.count("walk-completed", "4k", "random"),
                10 * self.count("walk-completed", mode, "random"))

    def test_emulated_is_as_4k(self):
        """64 KB folios alone change no TLB count by more than 3 %."""
        for name in ("dense", "random"):
            for pattern in ("l1d-fill-.*", "walk-completed"):
                base = self.count(pattern, "4k", name)
                self.assertAlmostEqual(self.count(pattern, "emulated", name),
                                       base, delta=0.03 * base)

    def test_who_has_64k(self):
        for mode in ("4k", "emulated", "native"):
            counters = mode_of(self.document, mode)["counters"]
            self.assertEqual(report.total(counters, ".*-fill-64k-hint"), 0)
            self.assertEqual(report.total(counters, "contig-.*"), 0)
        for mode in ("4k", "emulated", "contig"):
            counters = mode_of(self.document, mode)["counters"]
            self.assertEqual(report.total(counters, ".*-fill-64k-leaf"), 0)

    def test_groups_are_well_formed(self):
        """The kernel marks what is a group, but for what is being changed."""
        counters = mode_of(self.document, "contig")["counters"]
        good = report.total(counters, "contig-well-formed")
        bad = report.total(
            counters, "contig-(absent|unmarked|frame|attributes|raced)")
        self.assertGreaterEqual(good, FOLIOS)
        self.assertLess(bad, good / 50)


class Deterministic(GuestTest):
    def test_twice(self):
        """With --icount two runs count the same, page faults too."""
        runs = [self.compare("--icount", "--modes", "4k,contig", "--",
                             "sh", "-c", "toucher -m 8 && ls -lR /usr >/tmp/l")
                for _ in range(2)]
        for mode in ("4k", "contig"):
            first, second = (mode_of(run, mode) for run in runs)
            for key in ("counters", "guest", "regions", "wall_s"):
                self.assertEqual(first[key], second[key], f"{mode} {key}")


class Integrity(GuestTest):
    """Everything that breaks folios up, at random, with two processors."""

    def check(self, mode: str, *seeds: str):
        steps = "2000"
        for seed in seeds:
            ran = self.boot(mode, "--tlb", "skylake", "--cpus", "2", "--",
                            "integrity", steps, seed)
            self.assertIn(f"integrity: {steps} steps right".encode(),
                          ran.stdout)

    def test_contig(self):
        self.check("contig", "1", "2")

    def test_emulated(self):
        self.check("emulated", "3")

    def test_groups_break_up(self):
        """The program does make ill-formed groups: the checks above would
        mean little otherwise."""
        document = self.compare("--modes", "contig", "--",
                                "integrity", "1000", "1")
        counters = mode_of(document, "contig")["counters"]
        self.assertGreater(counters["contig-well-formed"], 0)
        self.assertGreater(counters["contig-absent"], 0)
        self.assertGreater(counters["contig-attributes"], 0)


class Compare(GuestTest):
    def test_table(self):
        ran = self.x64k("compare", "--modes", "4k,contig", "--", "true")
        for word in (b"4k", b"contig", b"to 4k", b"walks", b"page faults",
                     b"wall time"):
            self.assertIn(word, ran.stdout)

    def test_status(self):
        """A command that fails is an error, with its output."""
        ran = self.x64k("compare", "--", "sh", "-c", "echo why; exit 3",
                        status=3)
        self.assertIn("why", ran.stderr)
        self.assertNamesLog(ran.stderr)

    def test_not_found(self):
        self.x64k("compare", "--", "no-such-command", status=127)

    def test_usage(self):
        for args in ((), ("--modes", "4k,8k", "--", "true"),
                     ("--modes", "4k,4k", "--", "true"),
                     ("--json", "/no/such/folder/x", "--", "true")):
            self.x64k("compare", *args, status=2)


class Parse(unittest.TestCase):
    """A report is taken whole or not at all."""
    BODY = '[{"status":0}\n]\n'

    def framed(self, body: str) -> str:
        digest = hashlib.sha256(body.encode()).hexdigest()
        return (f"noise\r\nx64k-report begin {len(body)} {digest}\r\n"
                + body.replace("\n", "\r\n") + "x64k-report end\r\n")

    def test_whole(self):
        self.assertEqual(guest.parse_report(self.framed(self.BODY)),
                         [{"status": 0}])

    def test_damaged(self):
        text = self.framed(self.BODY)
        self.assertIsNone(guest.parse_report(text.replace('"status"',
                                                          '"statue"')))
        self.assertIsNone(guest.parse_report(text[:-30]))
        self.assertIsNone(guest.parse_report("noise"))


if __name__ == "__main__":
    unittest.main()
