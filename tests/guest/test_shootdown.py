# SPDX-License-Identifier: GPL-2.0-or-later
"""--tlb-verify finds each flush that a kernel forgets, and nothing else.

forget.patch lets three kernel functions forget theirs; the rest is the patched
kernel.  It is built from a copy of its tree, of symbolic links.  Without a
forgetful task there are stale translations in plenty, and each is flushed."""

import json
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from support import GuestTest

from x64k import report, selftests, trees
from x64k.paths import BUILD

HERE = Path(__file__).parent
PATCH = HERE / "forget.patch"
# Where they are to each other as the kernel's are: ccache goes by that.
FORGETFUL = BUILD / "forget"
TREE, OBJECTS = FORGETFUL / "src/linux", FORGETFUL / "linux"

SWAP = ("echo 64M >/sys/block/zram0/disksize && mkswap /dev/zram0 >/dev/null "
        "&& swapon /dev/zram0\n")
KINDS = ("mprotect", "fork", "reclaim")
# Guest time, for two periods on a busy host: docs/specs/hwtlb.rst.
SECONDS = 40
MODES = ("4k", "contig", "process64k+contig", "system64k+contig")


def make_tree() -> None:
    shutil.rmtree(TREE, ignore_errors=True)
    TREE.mkdir(parents=True)
    for entry in trees.LINUX.tree.iterdir():
        if entry.name != ".git":
            subprocess.run(["cp", "-as", entry, TREE], check=True)
    for line in PATCH.read_text().splitlines():
        if line.startswith("+++ b/"):
            file = line.removeprefix("+++ b/")
            (TREE / file).unlink()
            shutil.copy2(trees.LINUX.tree / file, TREE / file)
    subprocess.run(["patch", "-p1", "-s", "-d", TREE, "-i", PATCH], check=True)


class ShootdownTest(GuestTest):
    share: str

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.share = folder.name
        for name in ("forget", "shoot"):
            for suffix, size in (("", 65536), ("-4k", 4096)):
                subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-Werror",
                                "-static", "-pthread",
                                f"-Wl,-z,max-page-size={size}",
                                "-o", f"{folder.name}/{name}{suffix}",
                                HERE / f"{name}.c"], check=True)

    def run_in(self, mode: str, script: str, *options: str,
               quiet: bool = True) -> tuple[str, list[str]]:
        """What it says, and what x64k says of stale translations."""
        ran = self.x64k("boot", "--mode", mode, "--mem", "256M", "--tlb",
                        "skylake", "--tlb-verify", "--timeout", "800",
                        "--share", f"{self.share}:ro", *options, "--", "sh",
                        "-c", SWAP + script, quiet=quiet)
        return (ran.stdout.decode(errors="replace"),
                [line for line in ran.stderr.splitlines()
                 if "stale use" in line])


class Forgotten(ShootdownTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        make_tree()
        selftests.build_kernel("linux-forget", "the kernel that forgets", TREE,
                               OBJECTS)

    def found(self, mode: str, kind: str, name: str) -> list[str]:
        program = "forget" if mode.startswith("process64k") else "forget-4k"
        out, lines = self.run_in(
            mode, f"/mnt/share/{program} {kind} {SECONDS} {name}", "--kernel",
            str(OBJECTS), "--cpus", "2", quiet=False)
        self.assertIn(f"forget: {kind}: ", out)
        return lines

    def forgets(self, kind: str) -> None:
        for mode in MODES:
            with self.subTest(mode=mode, forgets=True):
                lines = self.found(mode, kind, f"forget-{kind}")
                self.assertIn("no flush has followed", "\n".join(lines))
            with self.subTest(mode=mode, forgets=False):
                self.assertEqual(self.found(mode, kind, ""), [])

    def test_mprotect(self):
        self.forgets("mprotect")

    def test_fork(self):
        self.forgets("fork")

    def test_reclaim(self):
        self.forgets("reclaim")


class Late(ShootdownTest):
    """Each shootdown comes, later than the use of what it drops."""

    def late(self, cpus: int) -> None:
        uses = 0
        for mode in MODES:
            with self.subTest(mode=mode, cpus=cpus):
                program = ("shoot" if mode.startswith("process64k") else
                           "shoot-4k")
                out, lines = self.run_in(
                    mode, "tlbstat -j -o /tmp/report "
                    f"/mnt/share/{program} {SECONDS}\ncat /tmp/report",
                    "--cpus", str(cpus))
                self.assertEqual(lines, [])
                self.assertRegex(out, "shoot: [1-9].* all right")
                (line,) = re.findall(r"^\{.*\}\r?$", out, re.MULTILINE)
                counters = json.loads(line)["counters"]
                self.assertEqual(report.total(counters, "stale-unflushed"), 0)
                uses += report.total(counters, "stale-use") or 0
        self.assertGreater(uses, 0)

    def test_two(self):
        self.late(2)

    def test_four(self):
        self.late(4)


if __name__ == "__main__":
    unittest.main()
