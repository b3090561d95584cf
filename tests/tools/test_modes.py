# SPDX-License-Identifier: GPL-2.0-or-later
"""What x64k modes makes of counts; the counts are the qtest's business."""

import contextlib
import io
import tempfile
import unittest
import xml.etree.ElementTree as ET
from pathlib import Path
from unittest import mock

from x64k import cli, modes, ui


def case(pattern: str, pages: int, mode: str, walks: int) -> modes.Case:
    return {"pattern": pattern, "pages": pages, "mode": mode,
            "table_bytes": 8 * pages,
            "counters": {"l1d-load-miss": 2 * walks, "l1d-store-miss": 0,
                         "l1i-miss": 1, "l1d-fill-4k": walks,
                         "stlb-load-miss": walks, "walk-completed": walks,
                         "walk-faulted": 0, "walk-read-pt": walks,
                         "walk-lines": 3}}


CASES = [case("random", 64, "contig", 4), case("random", 64, "4k", 64),
         case("code", 64, "4k", 10), case("random", 16, "4k", 16),
         case("random", 16, "contig", 0)]


class Table(unittest.TestCase):
    def test_ratios_and_order(self):
        text = modes.table(CASES)
        self.assertIn("(0.062)", text)
        self.assertLess(text.index("random, 16 pages"),
                        text.index("random, 64 pages (256 KB)"))
        self.assertLess(text.index("random, 64 pages"), text.index("code, 64"))
        block = text[text.index("random, 64"):].splitlines()
        self.assertEqual([line.split()[0] for line in block[2:4]],
                         ["4k", "contig"])
        # All of L1, data and code.
        self.assertEqual(block[2].split()[1], "129")

    def test_without_a_base(self):
        self.assertIn("n/a", modes.table([case("random", 64, "contig", 4)]))


class Plot(unittest.TestCase):
    def test_is_xml_with_a_line_for_each_mode(self):
        root = ET.fromstring(modes.svg(CASES, "small", "random"))
        words = [text.text for text in root.iter()]
        self.assertIn("contig", words)
        # Three ratios: of a count of 0 there is no logarithm.
        name = "{http://www.w3.org/2000/svg}circle"
        self.assertEqual(sum(c.get("r") == "3" for c in root.iter(name)), 3)

    def test_nothing_to_show(self):
        ET.fromstring(modes.svg([], "small", "random"))


class Verb(unittest.TestCase):
    def run_verb(self, *argv: str) -> str:
        out = io.StringIO()
        with (tempfile.TemporaryDirectory() as folder,
              mock.patch("x64k.build.ensure"),
              mock.patch.object(modes, "PLACE", Path(folder, "modes")),
              mock.patch.object(modes, "measure", return_value=CASES),
              contextlib.redirect_stdout(out),
              contextlib.redirect_stderr(out)):
            status = cli.main(["modes", *argv])
            written = sorted(p.name for p in Path(folder).rglob("*.*"))
        return f"{status} {written} {out.getvalue()}"

    def test_all(self):
        said = self.run_verb()
        self.assertTrue(said.startswith("0 ['skylake-code.svg', "
                                        "'skylake-random.svg', "
                                        "'skylake.json']"), said)

    def test_some(self):
        said = self.run_verb("--pattern", "code", "--tlb", "fifo")
        self.assertTrue(said.startswith("0 ['fifo-code.svg', 'fifo.json']"))
        self.assertNotIn("random", said)

    def test_unknown_pattern(self):
        said = self.run_verb("--pattern", "code,codes")
        self.assertTrue(said.startswith("2 []"), said)
        self.assertIn("there is no codes; there are: random, code", said)

    def test_the_test_complains(self):
        """What it says and its status reach the user."""
        with tempfile.TemporaryDirectory() as folder:
            script = Path(folder, "test")
            script.write_text("#!/bin/sh\necho no geometry \"$2\" >&2\n"
                              "exit 2\n")
            script.chmod(0o755)
            with (mock.patch.object(modes, "TEST", script),
                  mock.patch("x64k.paths.LOGS", Path(folder)),
                  contextlib.redirect_stderr(io.StringIO()),
                  self.assertRaises(ui.X64kError) as raised):
                modes.measure("nope")
        self.assertEqual(raised.exception.status, 2)
        self.assertIn("no geometry nope", str(raised.exception))


if __name__ == "__main__":
    unittest.main()
