# SPDX-License-Identifier: GPL-2.0-or-later
"""The built emulator as a drop-in: it must find its firmware by itself."""

import json
import os
import re
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

from x64k import tlb
from x64k.paths import QEMU, ROOT


class DropIn(unittest.TestCase):
    def seabios_says(self, binary: Path) -> str:
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "log"
            child = subprocess.Popen(
                [binary, "-display", "none", "-nodefaults",
                 "-chardev", f"file,id=log,path={log}",
                 "-device", "isa-debugcon,iobase=0x402,chardev=log"],
                cwd=folder, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
                text=True)
            try:
                for _ in range(200):
                    if child.poll() is not None:
                        self.fail(child.stderr.read())
                    if log.exists() and "SeaBIOS" in log.read_text():
                        break
                    time.sleep(0.1)
                return log.read_text()
            finally:
                child.kill()
                child.communicate()

    def test_boots_seabios_with_no_option(self):
        self.assertIn("SeaBIOS", self.seabios_says(QEMU))

    def test_through_a_link_elsewhere(self):
        with tempfile.TemporaryDirectory() as folder:
            link = Path(folder) / "qemu-system-x86_64"
            link.symlink_to(QEMU)
            self.assertIn("SeaBIOS", self.seabios_says(link))

    def test_finds_the_pvh_and_network_roms(self):
        """`-kernel` needs pvh.bin, a network card its option ROM."""
        with tempfile.TemporaryDirectory() as folder:
            kernel = Path(folder) / "kernel"
            kernel.write_bytes(b"not a kernel")
            done = subprocess.run(
                [QEMU, "-display", "none", "-nodefaults", "-device", "e1000",
                 "-device", "VGA", "-kernel", kernel],
                capture_output=True, text=True, stdin=subprocess.DEVNULL,
                timeout=60)
            # It gets as far as to refuse the kernel, and complains of no ROM.
            self.assertEqual(done.returncode, 1)
            self.assertNotRegex(done.stderr, r"(?i)rom|\.bin")
            self.assertIn("kernel", done.stderr)

    def test_is_no_link_into_the_build_folder(self):
        self.assertFalse(QEMU.is_symlink())
        self.assertTrue(os.access(QEMU, os.X_OK))


class Tlbs(unittest.TestCase):
    def test_presets(self):
        names = [config["name"] for config in tlb.presets()]
        self.assertIn("skylake", names)
        self.assertEqual(len(set(names)), len(names))
        for config in tlb.presets():
            self.assertNotIn("no source given", tlb.description(config))

    def starts(self, text: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "tlb.json"
            path.write_text(text)
            done = subprocess.run(
                [QEMU, "-display", "none", "-nodefaults", "-S", "-monitor",
                 "stdio", "-cpu", f"max,hwtlb-config={path}"],
                input="quit\n", capture_output=True, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_what_bench_makes_of_a_preset(self):
        for policy in ("lru", "tree-plru"):
            self.starts(json.dumps(tlb.with_l1_policy(tlb.preset("skylake"),
                                                      policy)))

    def test_example_of_the_documentation(self):
        text = (ROOT / "docs/specs/hwtlb.rst").read_text()
        example = re.search(r"--json``::\n\n(.*?)\n\n", text, re.DOTALL)
        self.starts(example[1])
