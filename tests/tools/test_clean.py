# SPDX-License-Identifier: GPL-2.0-or-later
"""What is deleted: said by clean, and found by the next run."""

import contextlib
import io
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from x64k import build, clean, cli, paths, runfolder, sources
from x64k.paths import ROOT

# Keeps the temporary folder of a run.
RUN = """\
import time
from x64k import runfolder
with runfolder.new() as folder:
    (folder / "initrd").write_text("x" * 10000)
    print(folder, flush=True)
    time.sleep(1000)
"""


class Folder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)


class RunFolder(Folder):
    def setUp(self):
        super().setUp()
        patch = mock.patch.object(tempfile, "tempdir", str(self.folder))
        patch.start()
        self.addCleanup(patch.stop)

    def start(self) -> tuple[subprocess.Popen, Path]:
        process = subprocess.Popen(
            [sys.executable, "-c", RUN], stdout=subprocess.PIPE, text=True,
            env=os.environ | {"TMPDIR": str(self.folder),
                              "PYTHONPATH": str(ROOT / "tools")})
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.addCleanup(process.stdout.close)
        return process, Path(process.stdout.readline().strip())

    def test_gone_at_the_end(self):
        with runfolder.new() as folder:
            self.assertTrue(folder.is_dir())
        self.assertEqual(os.listdir(self.folder), [])

    def test_kill(self):
        """Taken away by the next one; those of the living are not."""
        dead, left = self.start()
        _, alive = self.start()
        dead.kill()
        dead.wait()
        self.assertTrue((left / "initrd").exists())
        with runfolder.new():
            self.assertFalse(left.exists())
            self.assertTrue((alive / "initrd").exists())

    def test_of_others(self):
        """Not ours to delete: no mark, a link, another user's."""
        plain = self.folder / "x64k-mine"
        plain.mkdir()
        target = self.folder / "target"
        target.mkdir()
        (target / runfolder.MARK).touch()
        (self.folder / "x64k-link").symlink_to(target)
        other = self.folder / "x64k-other"
        other.mkdir()
        (other / runfolder.MARK).touch()
        with mock.patch.object(os, "geteuid", lambda: os.getuid() + 1):
            self.assertFalse(runfolder.is_left_behind(other))
        self.assertTrue(runfolder.is_left_behind(other))
        runfolder.sweep()
        self.assertEqual(sorted(os.listdir(self.folder)),
                         ["target", "x64k-link", "x64k-mine"])

    def test_no_locks_there(self):
        with mock.patch.object(runfolder.fcntl, "flock",
                               side_effect=OSError(37, "No locks")):
            with runfolder.new() as folder:
                runfolder.sweep()
                self.assertTrue(folder.is_dir())


class Clean(Folder):
    def clean(self, *argv: str) -> str:
        said = io.StringIO()
        with (mock.patch.object(build, "BUILD", self.folder / "build"),
              mock.patch.object(build, "LOCK", self.folder / "build/.lock"),
              mock.patch.object(clean, "BUILD", self.folder / "build"),
              mock.patch.object(clean, "CACHE", self.folder / "cache"),
              mock.patch.object(sources, "CACHE", self.folder / "cache"),
              mock.patch.object(clean, "unsaved", lambda _: False),
              contextlib.redirect_stderr(said)):
            self.assertEqual(cli.main(["clean", *argv]), self.status)
        return said.getvalue()

    def setUp(self):
        super().setUp()
        self.status = 0
        for name in ("build/snapshots", "cache/downloads"):
            (self.folder / name).mkdir(parents=True)
        with (self.folder / "build/big").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, 150_000_000)
        # What is there twice takes its place once.
        os.link(self.folder / "build/big", self.folder / "build/again")

    def test_says_what(self):
        said = self.clean()
        self.assertRegex(said, r"deleting .*/build \(0\.[12] GB\): .*saved "
                         "guests\n")
        self.assertNotIn("cache", said)
        self.assertEqual(os.listdir(self.folder), ["cache"])
        self.assertEqual(self.clean(), "")

    def test_cache(self):
        self.assertIn("other checkouts use it", self.clean("--cache"))
        self.assertEqual(os.listdir(self.folder), [])

    def test_read_only(self):
        self.status = 125
        with mock.patch.object(paths, "READ_ONLY", True):
            self.assertIn("cannot write", self.clean())
        self.assertTrue((self.folder / "build/big").exists())


if __name__ == "__main__":
    unittest.main()
