# SPDX-License-Identifier: GPL-2.0-or-later
"""An installed x64k works alone: without the checkout, and writing nothing
where it is."""

import json
import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from support import ROOT

from x64k import cli, meson

VERBS = cli.VERBS.keys() - cli.NEED_SOURCE


class Installed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="x64k-install-")
        cls.addClassCleanup(folder.cleanup)
        staged, cls.home = (Path(folder.name, name) for name in
                            ("staged", "home"))
        done = subprocess.run(
            [*meson.command(), "install", "-C", ROOT / "build/meson",
             "--no-rebuild", "--destdir", staged],
            env=meson.environment(), capture_output=True, text=True)
        if done.returncode:
            raise AssertionError(done.stdout[-2000:] + done.stderr)
        # Elsewhere than it was installed to, as a package builder may.
        (command,) = staged.glob("**/bin/x64k")
        cls.prefix = command.parents[1].rename(Path(folder.name, "elsewhere"))
        shutil.rmtree(staged)
        cls.before = cls.contents()

    @classmethod
    def contents(cls) -> dict[str, int]:
        return {str(path.relative_to(cls.prefix)): path.stat().st_mtime_ns
                for path in cls.prefix.rglob("*") if path.is_file()}

    def x64k(self, *args: str, status: int = 0
             ) -> subprocess.CompletedProcess[str]:
        """Runs it in another folder, in an environment of no one's."""
        self.home.mkdir(exist_ok=True)
        done = subprocess.run(
            [self.prefix / "bin/x64k", *args], cwd=self.home, text=True,
            env={"PATH": "/usr/bin:/bin", "HOME": str(self.home),
                 "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL, capture_output=True, timeout=300)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done

    def tearDown(self):
        self.assertEqual(self.contents(), self.before)

    def test_version(self):
        shown = self.x64k("--version").stdout
        self.assertRegex(shown, r"\Ax64k \S+ \((?!no git)")
        self.assertRegex(shown, r"QEMU \S+, from")
        self.assertNotIn(str(ROOT), shown)

    def test_help(self):
        shown = self.x64k("--help").stdout
        for verb in VERBS:
            with self.subTest(verb):
                self.assertIn(f"\n    {verb}", shown)
                self.assertNotIn("--qemu-source",
                                 self.x64k(verb, "--help").stdout)

    def test_verbs_of_the_source_tree(self):
        for verb in cli.NEED_SOURCE:
            with self.subTest(verb):
                said = self.x64k(verb, status=2).stderr
                self.assertIn(f"{verb} needs the source tree", said)

    def test_boot(self):
        """The console's log is in the user's state folder."""
        ran = self.x64k("boot", "--mode", "contig", "--", "uname", "-s")
        self.assertEqual(ran.stdout, "Linux\n")
        logs = list(self.home.glob(".local/state/x64k/logs/guest-*.log"))
        self.assertTrue(logs)

    def test_compare(self):
        result = self.home / "result.json"
        self.x64k("compare", "--modes", "4k,contig", "--json", str(result),
                  "--", "toucher")
        data = json.loads(result.read_text())
        self.assertEqual([mode["mode"] for mode in data["modes"]],
                         ["4k", "contig"])
        self.assertIn("qemu", data["versions"])
        self.assertNotIn(str(ROOT), json.dumps(data["command_line"]))

    def test_matrix(self):
        """With stock QEMU too, which is installed beside ours."""
        ran = self.x64k("compare", "--results", "results", "--modes", "4k",
                        "--tlb", "off,stock", "--", "true")
        self.assertIn("2 cells", ran.stdout + ran.stderr)
        self.assertTrue((self.home / "results/report.html").exists())

    def test_presets(self):
        self.assertIn("skylake", self.x64k("tlb", "list").stdout)

    def test_modes(self):
        self.x64k("modes", "--tlb", "lru", "--pattern", "sequential")
        self.assertTrue(list(self.home.glob(
            ".local/state/x64k/modes/lru*.json")))

    def test_manual_and_completion(self):
        page = self.prefix / "share/man/man1/x64k.1"
        self.assertIn(".SH NAME\nx64k", page.read_text())
        script = self.prefix / "share/bash-completion/completions/x64k"
        subprocess.run(["bash", "-n", script], check=True)
        self.assertIn("complete -F", script.read_text())


if __name__ == "__main__":
    unittest.main()
