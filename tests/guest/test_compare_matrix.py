# SPDX-License-Identifier: GPL-2.0-or-later
"""x64k compare --results: a small matrix of real guests, interrupted and
continued."""

import json
import signal
import tempfile
import time
import unittest
from pathlib import Path

import support
from support import GuestTest

WORKLOADS = """
[one]
stands-for = "a first touch of 1 MB"
image = "mini"
mem = "256M"
sizes = { default = "1 1000" }
count = "toucher -m ${size% *} -r ${size#* }"

[two]
stands-for = "a first touch of 2 MB"
image = "mini"
mem = "256M"
sizes = { default = "2 1000" }
count = "toucher -m ${size% *} -r ${size#* }"

[wrong]
stands-for = "a wrong result"
image = "mini"
mem = "256M"
sizes = { default = "3" }
count = "true"
check = "echo the sum is 3, not 4; exit 7"
"""
MATRIX = ("--workload", "one,two", "--modes", "4k,contig",
          "--tlb", "skylake,zen4")


def emulators(results: Path) -> list[int]:
    """Those whose console log is in RESULTS."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if str(results).encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except (OSError, ValueError):
            continue
    return found


class Matrix(GuestTest):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.results = Path(folder.name, "results")
        file = Path(folder.name, "workloads.toml")
        file.write_text(WORKLOADS)
        before = support.ENVIRONMENT
        support.ENVIRONMENT = before | {"X64K_WORKLOADS": str(file)}
        self.addCleanup(setattr, support, "ENVIRONMENT", before)

    def cells(self) -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns
                for path in (self.results / "cells").glob("*.json")}

    def records(self) -> list[dict]:
        return [json.loads(path.read_text()) for path in self.cells()]

    def test_interrupted_and_continued(self):
        command = ("compare", "--results", str(self.results), *MATRIX)
        with support.start(*command) as process:
            end = time.monotonic() + 120
            while len(self.cells()) < 2 and time.monotonic() < end:
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, err)
        self.assertEqual(emulators(self.results), [])
        before = self.cells()
        self.assertIn(len(before), range(2, 8))

        again = self.x64k(*command, "--jobs", "2")
        self.assertIn(f"{len(before)} of 8 cells have run already",
                      again.stderr)
        after = self.cells()
        self.assertEqual(len(after), 8)
        self.assertEqual({path: after[path] for path in before}, before)

        last = self.x64k(*command)
        self.assertIn("8 of 8 cells have run already", last.stderr)
        self.assertEqual(self.cells(), after)
        self.check_counts()
        self.check_report()

    def check_counts(self) -> None:
        found = {}
        for record in self.records():
            self.assertEqual(record["status"], "done", record["error"])
            region, = (r for r in record["result"]["regions"]
                       if r["name"] == "workload")
            found[record["cell"]["workload"], record["tlb"],
                  record["mode"]] = region
        self.assertEqual(len(found), 8)
        for workload, pages in (("one", 256), ("two", 512)):
            for tlb in ("skylake", "zen4"):
                small = found[workload, tlb, "4k"]
                large = found[workload, tlb, "contig"]
                # Each page once, and what the program itself needs; in mode
                # contig at most one of sixteen faults of the array is left.
                faults = small["guest"]["page_faults"]
                self.assertGreaterEqual(faults, pages)
                self.assertLessEqual(large["guest"]["page_faults"],
                                     faults - pages + pages // 16 + 16)
                self.assertEqual(small["counters"]["l1d-fill-64k-hint"], 0)
                self.assertGreaterEqual(large["counters"]["l1d-fill-64k-hint"],
                                        pages // 16)

    def check_report(self) -> None:
        text = (self.results / "report.html").read_text()
        for words in ("Ratio to 4k", "one default, TLB zen4", "<svg viewBox",
                      "L1 dTLB fills, by size of the entry"):
            self.assertIn(words, text)
        self.assertNotIn("cells failed", text)
        rows = (self.results / "report.csv").read_text().splitlines()
        self.assertEqual(len({row.split(",")[0] for row in rows[1:]}), 8)
        (self.results / "report.html").unlink()
        self.x64k("report", str(self.results))
        self.assertEqual((self.results / "report.html").read_text(), text)

    def test_a_wrong_result(self):
        done = self.x64k("compare", "--results", str(self.results),
                         "--workload", "wrong,one", "--modes", "4k",
                         status=1)
        self.assertIn("1 of 2 cells failed", done.stderr)
        status = {record["cell"]["workload"]: record["status"]
                  for record in self.records()}
        self.assertEqual(status, {"wrong": "failed", "one": "done"})
        bad, = (r for r in self.records() if r["status"] == "failed")
        self.assertEqual(bad["exit_status"], 7)
        self.assertIn("the sum is 3, not 4", bad["output"])
        text = (self.results / "report.html").read_text()
        self.assertIn("1 of 2 cells failed", text)
        self.assertIn("the sum is 3, not 4", text)

    def test_a_command(self):
        """And what --icount promises."""
        command = ("compare", "--results", str(self.results), "--icount",
                   "--modes", "4k")
        self.x64k(*command, "--", "toucher", "-m", "1", "-r", "1000")
        first, = self.records()
        for path in self.cells():
            path.unlink()
        self.x64k(*command, "--", "toucher", "-m", "1", "-r", "1000")
        second, = self.records()
        self.assertEqual(first["id"], second["id"])
        self.assertEqual(first["result"], second["result"])


if __name__ == "__main__":
    unittest.main()
