# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel patches one by one: at each, the kernel builds without a warning,
boots, and keeps memory right, with what it can do by then."""

import os
import shutil
import subprocess
import unittest
from pathlib import Path

from support import GuestTest

from x64k import meson, trees
from x64k.paths import BUILD, LOGS

SERIES = BUILD / "series"
# Where they are to each other as the kernel's are: ccache goes by that.
TREE, OBJECTS = SERIES / "src/linux", SERIES / "linux"
BUILD_SH = trees.ROOT / "guest-images/linux/build.sh"
OPTIONS = {"X86_X64K": "arch/x86/Kconfig", "64KB_PAGE_EMULATION": "mm/Kconfig"}


def make_tree() -> list[str]:
    """A copy of the patched tree, which is not touched; its commits."""
    source = trees.LINUX.tree
    base = trees.read_state(source)["base"]
    if trees.read_state(TREE).get("base") != base:
        shutil.rmtree(SERIES, ignore_errors=True)
        TREE.parent.mkdir(parents=True)
        subprocess.run(["cp", "-a", "--reflink=auto", source, TREE], check=True)
    trees.git(TREE, "fetch", "-q", source, "HEAD")
    return trees.git(TREE, "rev-list", "--reverse",
                     f"{base}..FETCH_HEAD").split()


class Series(GuestTest):
    commits: list[str]

    @classmethod
    def setUpClass(cls):
        if trees.edits(trees.LINUX):
            raise unittest.SkipTest("somebody is at work in the kernel tree")
        cls.commits = make_tree()

    def has(self, file: str, text: str) -> bool:
        path = TREE / file
        return path.exists() and text in path.read_text()

    def build(self, name: str) -> None:
        fragment = SERIES / "options.config"
        fragment.write_text("".join(
            f"CONFIG_{option}=y\n" for option, file in OPTIONS.items()
            if self.has(file, f"config {option}\n")))
        log = LOGS / f"series-{name}.log"
        LOGS.mkdir(parents=True, exist_ok=True)
        with log.open("w") as file:
            status = subprocess.run(
                [BUILD_SH, TREE, OBJECTS, SERIES / "out", "series.config",
                 fragment],
                env=meson.environment() | {"STOCK": "1"}, stdout=file,
                stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                check=False).returncode
        text = log.read_text(errors="replace")
        self.assertEqual(status, 0, f"{log}:\n{text[-3000:]}")
        self.assertNotIn("warning:", text)

    def step(self, number: int) -> None:
        trees.git(TREE, "checkout", "-q", "-f", self.commits[number])
        self.build(f"{number + 1:04}")
        ways = [("4k", "integrity 30")]
        if self.has("arch/x86/mm/x64k.c", "x64k_set_ptes"):
            ways.append(("contig", "integrity 30"))
        if self.has("include/uapi/linux/prctl.h", "PR_SET_PAGE_SIZE"):
            ways.append(("process64k+contig", "integrity 30 1 65536"))
        for mode, command in ways:
            with self.subTest(mode=mode):
                done = self.boot(mode, "--kernel", str(OBJECTS), "--tlb",
                                 "skylake", "--tlb-verify", "--",
                                 *command.split())
                self.assertIn(b"30 steps right", done.stdout)


def add(number: int, patch: Path) -> None:
    def test(self: Series) -> None:
        self.assertEqual(len(self.commits), len(trees.queue(trees.LINUX)),
                         "the tree is not of this queue: x64k build trees")
        self.step(number)
    test.__doc__ = patch.stem
    setattr(Series, f"test_{patch.stem.replace('-', '_')}", test)


for index, path in enumerate(trees.queue(trees.LINUX)):
    # X64K_SERIES: only from this number on.
    if index + 1 >= int(os.environ.get("X64K_SERIES", "1")):
        add(index, path)


if __name__ == "__main__":
    unittest.main()
