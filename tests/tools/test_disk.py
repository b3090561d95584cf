# SPDX-License-Identifier: GPL-2.0-or-later
"""--image: what is taken, what is refused, and what becomes of it."""

import argparse
import tempfile
import unittest
from pathlib import Path

from x64k import cli, disk, guest, ui


def with_magic(at: int, magic: bytes) -> bytes:
    return bytes(at) + magic + bytes(8192 - at - len(magic))


# From the formats' own documents, not from the code.
EROFS = with_magic(1024, (0xE0F5E1E2).to_bytes(4, "little"))
EXT4 = with_magic(1024 + 0x38, (0xEF53).to_bytes(2, "little"))
QCOW2 = with_magic(0, b"QFI\xfb")
PARTITIONS = with_magic(510, b"\x55\xaa")


class Format(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name, "a, b.img")

    def format_of(self, data: bytes) -> str:
        self.path.write_bytes(data)
        return disk.format_of(self.path)

    def refused(self, data: bytes) -> str:
        with self.assertRaises(ui.X64kError) as caught:
            self.format_of(data)
        self.assertEqual(caught.exception.status, 2)
        self.assertIn(str(self.path), str(caught.exception))
        return str(caught.exception)

    def test_known(self):
        self.assertEqual(self.format_of(EROFS), "raw")
        self.assertEqual(self.format_of(EXT4), "raw")
        self.assertEqual(self.format_of(QCOW2), "qcow2")

    def test_unknown(self):
        for data in b"", b"\0" * 8192, b"#!/bin/sh\n" * 1000, EROFS[:1025]:
            self.assertIn("neither a file system (erofs, ext4) nor a qcow2",
                          self.refused(data))

    def test_partitions(self):
        """A file system may have a boot sector in front of it."""
        self.assertIn("has a partition table", self.refused(PARTITIONS))
        self.assertEqual(self.format_of(PARTITIONS[:512] + EXT4[512:]), "raw")

    def test_not_a_file(self):
        for path, why in (("/no/such/file", "No such file"),
                          ("/", "Is a directory")):
            with self.assertRaisesRegex(ui.X64kError, why):
                disk.format_of(Path(path))

    def test_command_line(self):
        """Never written to; a comma in a name is a comma."""
        self.path.write_bytes(EROFS)
        args = cli.make_parser().parse_args(
            ["boot", "--mode", "4k", "--image", str(self.path), "--append",
             "last"])
        line = guest.machine_of(args, "4k").command(Path("initrd"), [])
        drive = line[line.index("-drive") + 1]
        self.assertIn("readonly=on", drive)
        self.assertIn("format=raw", drive)
        self.assertIn("/a,, b.img", drive)
        append = line[line.index("-append") + 1]
        self.assertTrue(append.endswith(" x64k.root=/dev/vda last"), append)


class Options(unittest.TestCase):
    def of(self, **options) -> disk.Disk | None:
        return disk.of(argparse.Namespace(**options))

    def test_none(self):
        self.assertIsNone(self.of(image=None))
        self.assertIsNone(self.of(image=None, init=False))

    def test_init(self):
        with self.assertRaisesRegex(ui.X64kError, "--image"):
            self.of(image=None, init=True)
        self.assertIn("x64k.init=/sbin/init",
                      self.of(image="debian", init=True).append())
        self.assertNotIn("x64k.init", self.of(image="debian").append())

    def test_init_runs_no_command(self):
        args = cli.make_parser().parse_args(
            ["boot", "--mode", "4k", "--image", "debian", "--init"])
        args.rest = ["true"]
        with self.assertRaisesRegex(ui.X64kError, "--init runs no command"):
            args.module.run(args)


if __name__ == "__main__":
    unittest.main()
