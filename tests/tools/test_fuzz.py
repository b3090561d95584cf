# SPDX-License-Identifier: GPL-2.0-or-later
"""What x64k.fuzz gives to the fuzzer, and makes of what that says."""

import contextlib
import io
import struct
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from x64k import fuzz

FUNCTIONS = """\
COVERED_FUNC: hits: 4 edges: 26/77 heed /x/hw/misc/hwtlb-pci.c:482
UNCOVERED_FUNC: hits: 0 edges: 0/9 hwtlb_pci_exit /x/hw/misc/hwtlb-pci.c:545
COVERED_FUNC: hits: 9 edges: 5/6 cpu_create /x/hw/core/cpu-common.c:56
  UNCOVERED_PC: /x/hw/misc/hwtlb-pci.c:485:9
"""


class Inputs(unittest.TestCase):
    def writes(self) -> set[tuple[int, int, int]]:
        """Width, offset, value, as generic_fuzz.c reads them."""
        found = set()
        for seed in fuzz.seeds():
            for command in seed.split(b"FUZZ"):
                if command[0] == 3:
                    size, memory, offset, value = struct.unpack_from(
                        "@BBIQ", command, 1)
                    self.assertEqual(memory, 0)
                    found.add((1 << size, offset, value))
        return found

    def test_each_command_and_selection(self):
        writes = self.writes()
        for command in range(1, 6):
            self.assertIn((4, 0x1c, command), writes)
            self.assertIn((8, 0x18, command << 32), writes)
        self.assertIn((4, 0x10, 0xffffffff), writes)
        self.assertIn((4, 0x14, 1), writes)

    def test_reads(self):
        read = {struct.unpack_from("@BBI", command, 1)
                for seed in fuzz.seeds() for command in seed.split(b"FUZZ")
                if command[0] == 2}
        self.assertLess({(3, 0, 0x1000), (3, 0, 0x2000), (3, 0, 0x3000),
                         (2, 0, 4), (3, 0, 0x50)}, read)


class Output(unittest.TestCase):
    def test_runs(self):
        self.assertEqual(fuzz.runs(
            "#9\tNEW    cov: 1 ft: 2\n"
            "#17840\tDONE   cov: 2084 ft: 2702 corp: 79/1397b\n"), (17840, 2084))
        self.assertIsNone(fuzz.runs("#9\tNEW    cov: 1 ft: 2\n"))

    def test_edges_of_the_device_only(self):
        self.assertEqual(fuzz.edges(FUNCTIONS.splitlines()), (26, 86))

    def verdict(self, script: str) -> tuple[int, str]:
        with tempfile.TemporaryDirectory() as folder:
            stub = Path(folder) / "stub"
            stub.write_text(f"#!/bin/sh\n{script}\n")
            stub.chmod(0o755)
            said = io.StringIO()
            with (mock.patch.object(fuzz, "PLACE", Path(folder)),
                  mock.patch.object(fuzz, "LOGS", Path(folder)),
                  mock.patch.object(fuzz, "QEMU_FUZZER", stub),
                  mock.patch.object(fuzz.meson, "environment", dict),
                  contextlib.redirect_stdout(said)):
                return fuzz.main("some"), said.getvalue()

    def test_verdicts(self):
        done = "echo '#7 DONE cov: 5 ft: 6'"
        status, said = self.verdict(done)
        self.assertEqual(status, 0)
        self.assertIn("ok 1 - generic-fuzz-some, 600 s: 7 runs, 5 edges", said)
        # One that fails, that ends too soon, that has tried nothing.
        for script in (f"{done}; exit 77", "true",
                       "echo '#0 DONE cov: 5 ft: 6'"):
            status, said = self.verdict(script)
            self.assertEqual(status, 1)
            self.assertIn("not ok 1 - generic-fuzz-some\n", said)


if __name__ == "__main__":
    unittest.main()
