# SPDX-License-Identifier: GPL-2.0-or-later
"""The overlay, and re-making a patched tree in place."""

import contextlib
import dataclasses
import io
import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from x64k import patches, proc, sources, trees, ui


class Overlay(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name) / "root"
        self.tree = Path(folder.name) / "tree"
        for path in (self.root / "hw/tlb", self.tree / ".git",
                     self.tree / "hw/misc"):
            path.mkdir(parents=True)
        (self.root / "hw/tlb/model.c").write_text("one\n")

    def link(self):
        trees.overlay(self.tree, {"hw": "hw"}, self.root)

    def test_links_follow_edits(self):
        self.link()
        (self.root / "hw/tlb/model.c").write_text("two\n")
        linked = self.tree / "hw/tlb/model.c"
        self.assertTrue(linked.is_symlink())
        self.assertEqual(linked.read_text(), "two\n")
        self.assertIn("/hw/tlb/model.c",
                      (self.tree / ".git/info/exclude").read_text())

    def test_new_and_removed_files(self):
        self.link()
        (self.root / "hw/tlb/new.c").write_text("")
        (self.root / "hw/tlb/model.c").unlink()
        self.link()
        self.assertFalse((self.tree / "hw/tlb/model.c").is_symlink())
        self.assertTrue((self.tree / "hw/tlb/new.c").is_symlink())
        (self.root / "hw/tlb/new.c").unlink()
        self.link()
        self.assertFalse((self.tree / "hw/tlb").exists())
        self.assertTrue((self.tree / "hw/misc").is_dir())

    def test_links_move_with_the_checkout(self):
        self.link()
        self.assertFalse(os.path.isabs(
            os.readlink(self.tree / "hw/tlb/model.c")))

    def test_never_over_a_file_of_qemu(self):
        (self.tree / "hw/misc/edu.c").write_text("theirs\n")
        (self.root / "hw/misc").mkdir()
        (self.root / "hw/misc/edu.c").write_text("ours\n")
        with self.assertRaisesRegex(ui.X64kError, "hw/misc/edu.c"):
            self.link()
        self.assertEqual((self.tree / "hw/misc/edu.c").read_text(), "theirs\n")

    def test_backups_of_editors_are_left_out(self):
        (self.root / "hw/tlb/model.c~").write_text("")
        self.link()
        self.assertFalse((self.tree / "hw/tlb/model.c~").exists())


class Queue(unittest.TestCase):
    """On a small tree of our own: a file of twenty lines, and another."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        root = Path(folder.name)
        source = root / "source"
        (source / "target/i386").mkdir(parents=True)
        (source / "configure").touch()
        self.text = "".join(f"line {n}\n" for n in range(20))
        (source / "a.c").write_text(self.text)
        (source / "b.c").write_text(self.text)
        self.up = dataclasses.replace(
            trees.QEMU, patches=root / "queue", tree=root / "tree",
            objects=(), overlays={}, tracked=(".",))
        for module in (proc, trees):
            patcher = mock.patch.object(module, "LOGS", root / "logs")
            patcher.start()
            self.addCleanup(patcher.stop)
        self.addCleanup(setattr, patches.versions, "record",
                        patches.versions.record)
        patches.versions.record = lambda *_: None
        self.up.patches.mkdir()
        self.source = sources.local_source(source)
        trees.create(self.up, self.source)

    def commit(self, file: str, old: str, new: str):
        path = self.up.tree / file
        path.write_text(path.read_text().replace(old, new))
        trees.git(self.up.tree, "commit", "-q", "-a", "-m",
                  f"change {file}: {new.strip()}")

    def refresh(self):
        with contextlib.redirect_stderr(io.StringIO()):
            patches.refresh(self.up)

    def two_patches(self):
        self.commit("a.c", "line 5\n", "five\n")
        self.commit("b.c", "line 7\n", "seven\n")
        self.refresh()

    def test_a_commit_becomes_a_patch_and_back(self):
        self.two_patches()
        self.assertEqual([path.name for path in trees.queue(self.up)],
                         ["0001-change-a.c-five.patch",
                          "0002-change-b.c-seven.patch"])
        before = {path: path.read_bytes() for path in trees.queue(self.up)}
        trees.create(self.up, self.source)
        self.assertIn("seven\n", (self.up.tree / "b.c").read_text())
        self.refresh()
        self.assertEqual(before, {path: path.read_bytes()
                                  for path in trees.queue(self.up)})

    def test_only_changed_files_look_new(self):
        self.two_patches()
        second = trees.queue(self.up)[1]
        second.write_text(second.read_text().replace("+seven", "+SEVEN"))
        stamps = {name: (self.up.tree / name).stat().st_mtime_ns
                  for name in ("a.c", "b.c")}
        trees.remake(self.up)
        self.assertIn("SEVEN\n", (self.up.tree / "b.c").read_text())
        self.assertEqual((self.up.tree / "a.c").stat().st_mtime_ns,
                         stamps["a.c"])
        self.assertNotEqual((self.up.tree / "b.c").stat().st_mtime_ns,
                            stamps["b.c"])
        self.assertEqual(trees.edits(self.up), [])

    def test_a_dropped_patch_is_undone(self):
        self.two_patches()
        trees.queue(self.up)[1].unlink()
        trees.remake(self.up)
        self.assertEqual((self.up.tree / "b.c").read_text(), self.text)

    def test_fuzz_is_refused_and_nothing_changes(self):
        self.two_patches()
        first = trees.queue(self.up)[0]
        good = first.read_text()
        first.write_text(good.replace(" line 4\n", " line four\n"))
        head = trees.head(self.up.tree)
        with self.assertRaisesRegex(trees.PatchError, "(?s)0001-.*a.c:") as got:
            trees.remake(self.up)
        self.assertIn("qemu-patches.log", str(got.exception))
        self.assertEqual(trees.head(self.up.tree), head)
        self.assertIn("five\n", (self.up.tree / "a.c").read_text())

    def narrow_tree(self) -> str:
        """A queue that edits b.c, and a tree whose git knows a.c only; returns
        the patch of b.c, which the tree has not seen yet."""
        self.two_patches()
        second = trees.queue(self.up)[1]
        text = second.read_text()
        second.unlink()
        self.up = dataclasses.replace(self.up, tracked=("a.c",))
        trees.create(self.up, self.source)
        self.assertEqual(trees.git(self.up.tree, "ls-files"), "a.c")
        return text

    def test_a_new_patch_edits_what_git_did_not_look_at(self):
        text = self.narrow_tree()
        (self.up.patches / "0002-b.patch").write_text(text)
        trees.remake(self.up)
        self.assertIn("seven\n", (self.up.tree / "b.c").read_text())
        self.refresh()
        self.assertEqual(text, trees.queue(self.up)[1].read_text())

    def test_such_a_patch_is_refused_and_nothing_changes(self):
        text = self.narrow_tree().replace(" line 6\n", " line six\n")
        (self.up.patches / "0002-b.patch").write_text(text)
        head, state = trees.head(self.up.tree), trees.read_state(self.up.tree)
        with self.assertRaisesRegex(trees.PatchError, "b.c"):
            trees.remake(self.up)
        self.assertEqual(trees.head(self.up.tree), head)
        self.assertEqual(trees.read_state(self.up.tree), state)
        self.assertEqual((self.up.tree / "b.c").read_text(), self.text)
        self.assertIn("five\n", (self.up.tree / "a.c").read_text())

    def test_uncommitted_edits_are_never_lost(self):
        self.two_patches()
        (self.up.tree / "a.c").write_text("work\n")
        trees.queue(self.up)[1].unlink()
        with self.assertRaisesRegex(ui.X64kError, "uncommitted(?s:.*)a.c"):
            trees.remake(self.up)
        with self.assertRaisesRegex(ui.X64kError, "uncommitted(?s:.*)a.c"):
            self.refresh()
        self.assertEqual((self.up.tree / "a.c").read_text(), "work\n")

    def test_new_commits_are_never_lost(self):
        self.two_patches()
        self.commit("a.c", "line 9\n", "nine\n")
        trees.queue(self.up)[1].unlink()
        with self.assertRaisesRegex(ui.X64kError, "not in it"):
            trees.remake(self.up)
        self.assertIn("nine\n", (self.up.tree / "a.c").read_text())

    def test_a_tree_that_is_no_qemu(self):
        os.unlink(self.source.path / "configure")
        with self.assertRaisesRegex(ui.X64kError, "no QEMU source"):
            trees.create(self.up, self.source)
