# SPDX-License-Identifier: GPL-2.0-or-later
"""The built emulator as a drop-in: it must find its firmware by itself."""

import os
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

from x64k.paths import QEMU


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
