# SPDX-License-Identifier: GPL-2.0-or-later
"""Both patch queues: order, headers, zero fuzz, refresh, style."""

import re
import subprocess
import tempfile
import unittest
from pathlib import Path

from x64k import patches, trees

# What is changed is bound by upstream's rules; what a queue of this size
# cannot have is not asked for.
CHECKPATCH_IGNORE = ("FILE_PATH_CHANGES,COMMIT_LOG_LONG_LINE,BAD_SIGN_OFF,"
                     # Tests ask for system calls, and touch memory.
                     "ENOSYS,VOLATILE,"
                     # pgtable_t is one by its nature.
                     "NEW_TYPEDEFS")


def without_line_numbers(text: str) -> str:
    """They move with the point release; everything else must be equal."""
    return re.sub(r"^@@ -\d+(,\d+)? \+\d+(,\d+)? @@", r"@@ -\1 +\2 @@", text,
                  flags=re.MULTILINE)


class Rules:
    up: trees.Upstream

    def setUp(self):
        self.patches = trees.queue(self.up)
        if not self.patches:
            self.skipTest(f"{self.up.name}: the queue is empty")

    def test_numbered_in_order(self):
        self.assertEqual([path.name[:5] for path in self.patches],
                         [f"{n:04}-" for n in range(1, len(self.patches) + 1)])

    def test_headers(self):
        for path in self.patches:
            with self.subTest(path.name):
                text = path.read_text()
                header, _, rest = text.partition("\n\n")
                self.assertRegex(header, r"(?m)^From 0{40} ")
                self.assertRegex(header, r"(?m)^From: .+ <\S+>$")
                self.assertRegex(header, r"(?m)^Subject: \[PATCH\] \S+: \S")
                message = rest.partition("\n---\n")[0]
                self.assertRegex(message, r"(?m)^Signed-off-by: .+ <\S+>$")
                why = re.sub(r"(?m)^[A-Z][\w-]+-by: .*$", "", message)
                self.assertGreater(len(why.split()), 10, "says too little")

    def test_applies_without_fuzz(self):
        """From scratch, in a second tree of the pinned base."""
        state = trees.read_state(self.up.tree)
        touched = trees.git(self.up.tree, "diff", "--name-only",
                            "--no-renames", state["base"], state["head"])
        with tempfile.TemporaryDirectory() as name:
            tree = Path(name)
            archive = tree / "base.tar"
            kept = [file for file in touched.splitlines() if not
                    trees.git_run(self.up.tree, "cat-file", "-e",
                                  f"{state['base']}:{file}").returncode]
            trees.git(self.up.tree, "archive", "-o", archive, state["base"],
                      "--", *kept)
            subprocess.run(["tar", "-C", tree, "-xf", archive], check=True)
            for path in self.patches:
                # GNU patch says where it had to guess; git would not guess.
                done = subprocess.run(
                    ["patch", "-p1", "--fuzz=0", "--no-backup-if-mismatch",
                     "--batch", "-i", path], cwd=tree, capture_output=True,
                    text=True)
                with self.subTest(path.name):
                    self.assertEqual(done.returncode, 0, done.stdout)
                    self.assertNotIn(" with fuzz ", done.stdout)

    def test_refresh_gives_no_diff(self):
        state = trees.read_state(self.up.tree)
        if (trees.edits(self.up) or trees.head(self.up.tree) != state["head"]):
            self.skipTest(f"{self.up.name}: somebody is at work in the tree")
        fresh = patches.regenerate(self.up)
        self.assertEqual(sorted(fresh), [path.name for path in self.patches])
        for path in self.patches:
            with self.subTest(path.name):
                self.assertEqual(without_line_numbers(path.read_text()),
                                 without_line_numbers(fresh[path.name]),
                                 "run ./x64k refresh-patches")

    def test_upstream_style(self):
        command = ["perl", "scripts/checkpatch.pl", "--no-tree", "--quiet",
                   "--no-summary"]
        if self.up is trees.LINUX:
            command += ["--ignore", CHECKPATCH_IGNORE]
        for path in self.patches:
            with self.subTest(path.name):
                done = subprocess.run([*command, path], cwd=self.up.tree,
                                      capture_output=True, text=True)
                self.assertEqual((done.returncode, done.stdout), (0, ""))


class Qemu(Rules, unittest.TestCase):
    up = trees.QEMU

    def test_edits_only(self):
        """New files belong to the overlay."""
        for path in self.patches:
            with self.subTest(path.name):
                self.assertNotIn("\nnew file mode ", path.read_text())


class Linux(Rules, unittest.TestCase):
    up = trees.LINUX


def complaints(report: str) -> list[str]:
    """What checkpatch says, but for the X of X-macros, which it cannot tell
    from an expression."""
    return [block for block in report.strip().split("\n\n")
            if block and not ("complex values" in block
                              and "+#define X(" in block)]


class NewFiles(unittest.TestCase):
    def test_new_files_keep_the_style(self):
        """QEMU's own checker, on every file of the overlay, in its place:
        it has other rules for tests."""
        for ours, theirs in trees.OVERLAYS.items():
            for path in sorted((trees.ROOT / ours).rglob("*.[ch]")):
                place = Path(theirs) / path.relative_to(trees.ROOT / ours)
                with self.subTest(path.name):
                    done = subprocess.run(
                        ["perl", "scripts/checkpatch.pl", "--no-tree",
                         "--quiet", "--no-summary", "-f", place],
                        cwd=trees.QEMU.tree, capture_output=True, text=True)
                    self.assertEqual(complaints(done.stdout), [])
                    self.assertEqual(done.stderr, "")

    def test_complaints_are_heard(self):
        macro = "ERROR: Macros with complex values\n#1:\n+#define X(a) b,\n"
        other = "ERROR: code indent should never use tabs\n#2:\n+\tx;\n"
        self.assertEqual(complaints(macro), [])
        self.assertEqual(len(complaints(f"{macro}\n{other}")), 1)
