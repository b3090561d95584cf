# SPDX-License-Identifier: GPL-2.0-or-later
"""How the suite selftests reads Linux's own tests (tests/guest/verdicts.py)."""

import sys
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "guest"))

import verdicts  # noqa: E402

OUTPUT = """\
x64k-selftest begin mm/cow
TAP version 13
1..3
# [RUN] Basic COW after fork() ... with base page
ok 1 No leak from parent into child
ok 2 # SKIP MADV_PAGEOUT did not work, is swap enabled?
not ok 3 No leak from parent into child
# Totals: pass:1 fail:1 xfail:0 xpass:0 skip:2 error:0

x64k-kernel [    3.1] WARNING: CPU: 0 PID: 1 at mm/memory.c:1
x64k-selftest end 1
x64k-selftest begin mm/uffd-unit-tests
Testing UFFDIO_API (with syscall)... done
Testing move on anon... skipped [reason: feature missing]
Testing wp on anon... failed [reason: lost]

x64k-selftest end 1
x64k-selftest begin mm/khugepaged
Run test: collapse_full (khugepaged:anon)
Collapse multiple fully populated PTE table.... \x1b[32mOK\x1b[0m
Run test: collapse_full (madvise:anon)
Collapse multiple fully populated PTE table... \x1b[31mFail\x1b[0m

x64k-selftest end 4
x64k-selftest begin mm/hangs
ok 1 begins
ok 2 hmm.open # SKIP no device
"""
BASE = "Basic COW after fork() ... with base page"


class Read(unittest.TestCase):
    def setUp(self):
        self.found = verdicts.read(OUTPUT)

    def test_tap(self):
        self.assertEqual(self.found["mm/cow"], {
            BASE: "passed", f"{BASE} (2)": "skipped", f"{BASE} (3)": "failed",
            "exit": "status 1", "kernel": "failed"})

    def test_others(self):
        self.assertEqual(self.found["mm/uffd-unit-tests"], {
            "UFFDIO_API (with syscall)": "passed", "move on anon": "skipped",
            "wp on anon": "failed", "exit": "status 1", "kernel": "passed"})
        collapse = "Collapse multiple fully populated PTE table"
        self.assertEqual(self.found["mm/khugepaged"], {
            f"collapse_full (khugepaged:anon): {collapse}": "passed",
            f"collapse_full (madvise:anon): {collapse}": "failed",
            "exit": "skipped", "kernel": "passed"})

    def test_never_ended(self):
        self.assertEqual(self.found["mm/hangs"], {
            "begins": "passed", "hmm.open": "skipped", "exit": "never ended", "kernel": "failed"})

    def test_attempts(self):
        """The last one counts; a complaint of the kernel is not forgotten."""
        again = """\
x64k-selftest begin mm/cow
ok 1 it works
x64k-selftest end 0
"""
        self.assertEqual(verdicts.read(OUTPUT + again)["mm/cow"], {
            "it works": "passed", "exit": "passed", "kernel": "failed"})

    def test_times_and_addresses(self):
        self.assertEqual(verdicts.plain("mapped 0x7f00 at 7ffff7d0a000 in 12 ms"),
                         "mapped * at * in * s")
        self.assertEqual(verdicts.plain("2MB mremap"), "2MB mremap")

    def test_summary(self):
        self.assertEqual(verdicts.summary(self.found), "4 programs: 0 passed, 3 "
                         "failed, 1 skipped; 10 cases: 4 passed, 3 failed, 3 "
                         "skipped")


class Judge(unittest.TestCase):
    STOCK = {"a": "passed", "b": "passed", "exit": "passed"}

    def judge(self, ours, unstable=(), known=()):
        with mock.patch.object(verdicts, "listed",
                               lambda: ([], unstable, known)):
            return verdicts.judge("mm/x", "contig", self.STOCK, ours)

    def test_equal(self):
        self.assertEqual(self.judge(self.STOCK), [])

    def test_difference(self):
        self.assertEqual(self.judge(self.STOCK | {"a": "skipped"}),
                         ["a: skipped, on the stock kernel passed"])
        self.assertEqual(self.judge({"a": "passed", "exit": "passed"}),
                         ["b: missing, on the stock kernel passed"])
        self.assertEqual(self.judge(self.STOCK | {"c": "failed"}),
                         ["c: failed, on the stock kernel missing"])

    def test_listed(self):
        entry = {"configurations": ["contig"], "program": "mm/x",
                 "cases": ["a"], "stock": "passed", "here": "skipped"}
        self.assertEqual(self.judge(self.STOCK | {"a": "skipped"},
                                    known=[entry]), [])
        self.assertEqual(len(self.judge(self.STOCK | {"a": "failed"},
                                        known=[entry])), 2)
        self.assertEqual(len(self.judge(self.STOCK, known=[entry])), 1)
        entry["configurations"] = ["off"]
        self.assertEqual(self.judge(self.STOCK, known=[entry]), [])

    def test_unstable(self):
        entry = {"program": "mm/*", "cases": ["a"]}
        self.assertEqual(self.judge(self.STOCK | {"a": "failed"}, [entry]), [])


if __name__ == "__main__":
    unittest.main()
