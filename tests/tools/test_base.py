# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's base: built once for what it is made of, and nothing left of a
build that fails."""

import tempfile
import unittest
from pathlib import Path
from unittest import mock

from x64k import base, sources, ui


class Base(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.place = Path(folder.name)
        self.script = self.place / "build.sh"
        self.digest = "0" * 64
        self.write("echo built >\"$2/program\"")
        for target, name, value in (
                (base, "BASES", self.place / "bases"),
                (base, "WORK", self.place / "work"),
                (base, "SCRIPT", self.script),
                (base.proc, "LOGS", self.place / "logs"),
                (base, "LOGS", self.place / "logs"),
                (base.sources, "fetch_source", self.fetch),
                (base.debian, "unpack", mock.DEFAULT),
                (base.meson, "environment", lambda: None),
                (base.versions, "record", mock.DEFAULT)):
            patch = mock.patch.object(target, name, value)
            patch.start()
            self.addCleanup(patch.stop)

    def write(self, command: str) -> None:
        self.script.write_text(f"#!/bin/sh\nset -eu\nmkdir -p \"$2\"\n"
                               f"echo x >>{self.place}/runs\n{command}\n")
        self.script.chmod(0o755)

    def fetch(self, name: str, series: str) -> sources.Source:
        return sources.Source(f"{series}.1", "Debian",
                              {f"{name}.tar": self.digest}, self.place)

    def runs(self) -> int:
        return len((self.place / "runs").read_text().splitlines())

    def test_once(self):
        first = base.folder()
        self.assertEqual((first / "program").read_text(), "built\n")
        self.assertEqual(base.folder(), first)
        self.assertEqual(self.runs(), 1)

    def test_what_it_is_made_of(self):
        """Another source, script or compiler: another base."""
        places = {base.folder()}
        self.digest = "1" * 64
        places.add(base.folder())
        self.write("echo other >\"$2/program\"")
        places.add(base.folder())
        with mock.patch.object(base, "compiler", lambda: "gcc 99\n"):
            places.add(base.folder())
        self.assertEqual(len(places), 4)
        self.assertEqual(self.runs(), 4)

    def test_failure(self):
        """The error names the log; there is no base, and no work, after it."""
        self.write("echo no such header >&2; exit 1")
        with self.assertRaises(ui.X64kError) as caught:
            base.folder()
        self.assertIn("no such header", str(caught.exception))
        self.assertIn("base.log", str(caught.exception))
        self.assertEqual(list(base.BASES.iterdir()), [])
        self.assertFalse(base.WORK.exists())

    def test_deleted_cache(self):
        first = base.folder()
        base.shutil.rmtree(base.BASES)
        self.assertEqual(base.folder(), first)
        self.assertTrue((first / "program").exists())


if __name__ == "__main__":
    unittest.main()
