# SPDX-License-Identifier: GPL-2.0-or-later
"""What is up to date is found so without a lock; what is not, never is."""

import argparse
import contextlib
import io
import os
import subprocess
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from x64k import build, fresh, host, trees, ui

GIT = ["git", "-c", "user.name=x", "-c", "user.email=x@localhost"]


class FreshTest(unittest.TestCase):
    """A checkout of one source file, one tree and one product."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        root = self.root = Path(folder.name)
        self.product = root / "build/bin/qemu"
        self.tree = root / "build/src/qemu"
        for path in (self.product.parent, self.tree, root / "hw/tlb",
                     root / "docs", root / "hw/__pycache__"):
            path.mkdir(parents=True)
        self.product.write_text("an emulator")
        (root / "hw/tlb/model.c").write_text("int model;\n")
        (self.tree / "cpu.c").write_text("int cpu;\n")
        for line in (["init", "-q"], ["add", "cpu.c"],
                     ["commit", "-q", "-m", "base"]):
            subprocess.run([*GIT, "-C", self.tree, *line], check=True)
        up = mock.Mock(tree=self.tree, tracked=(".",))
        trees.write_state(self.tree, {"source": "Debian 1"})
        self.packages = "installed gcc 1\n"
        for module, name, value in (
                (fresh, "ROOT", root), (fresh, "MESON", root / "build/meson"),
                (fresh, "RECORD", root / "build/up-to-date.json"),
                (fresh, "GROUPS", {"qemu": fresh.Group((self.product,), (up,)),
                                   "report": fresh.Group(())}),
                (trees, "CONFIG", root / "build/config.json"),
                (host, "installed", lambda _: self.packages)):
            patch = mock.patch.object(module, name, value)
            patch.start()
            self.addCleanup(patch.stop)

    def built(self) -> None:
        fresh.record(fresh.state(["qemu"]))


class Fresh(FreshTest):
    def test_never_built(self):
        self.assertFalse(fresh.is_fresh(["qemu"]))
        self.assertTrue(fresh.is_there(["qemu"]))

    def test_nothing_changed(self):
        self.built()
        self.assertTrue(fresh.is_fresh(["qemu"]))
        self.assertFalse(fresh.is_fresh(["qemu", "report"]))
        self.assertFalse(fresh.is_fresh(["qemu", "fuzzer"]))

    def test_what_does_not_count(self):
        self.built()
        (self.root / "docs/new.md").write_text("read me\n")
        (self.root / "hw/__pycache__/x.pyc").write_text("")
        (self.root / "hw/tlb/.model.c.swp").write_text("")
        (self.root / "build/logs").mkdir()
        self.assertTrue(fresh.is_fresh(["qemu"]))

    def packages_change(self):
        self.packages = "installed gcc 2\n"

    def commit(self):
        (self.tree / "cpu.c").write_text("int cpu2;\n")
        subprocess.run([*GIT, "-C", self.tree, "commit", "-q", "-a", "-m",
                        "more"], check=True)

    CHANGES = {
        "edit": lambda self: (self.root / "hw/tlb/model.c").write_text("int\n"),
        "touch": lambda self: os.utime(self.root / "hw/tlb/model.c", (1, 1)),
        "new file": lambda self: (self.root / "hw/new.c").write_text(""),
        "deleted file": lambda self: (self.root / "hw/tlb/model.c").unlink(),
        "edit in the tree": lambda self: (self.tree / "cpu.c").write_text("x"),
        "new file in the tree": lambda self: (self.tree / "new.c").write_text(
            str(os.urandom(8))),
        "edit of it": lambda self: (self.tree / "new.c").write_text("y"),
        "commit in the tree": commit,
        "package": packages_change,
        "product deleted": lambda self: self.product.unlink(),
        "product replaced": lambda self: self.product.write_text("another"),
        "another source": lambda self: trees.CONFIG.write_text("{}"),
        "record damaged": lambda self: fresh.RECORD.write_text("{"),
    }

    def test_what_counts(self):
        for name, change in self.CHANGES.items():
            with self.subTest(name):
                self.built()
                self.assertTrue(fresh.is_fresh(["qemu"]))
                change(self)
                self.assertFalse(fresh.is_fresh(["qemu"]))
                # As the next one finds it.
                self.product.write_text("an emulator")
                (self.root / "hw/tlb/model.c").write_text("int model;\n")
                fresh.RECORD.unlink()


class Ensure(FreshTest):
    def setUp(self):
        super().setUp()
        self.locked = 0
        self.said = io.StringIO()
        for module, name, value in (
                (build, "lock", self.lock), (host, "ensure", mock.Mock()),
                (build, "LOCK", self.root / "build/.lock"),
                (build, "BUILD", self.root / "build"),
                (build, "LOGS", self.root / "build/logs"),
                (build, "QEMU", self.product),
                (build, "configure", mock.Mock()),
                (build, "ninja", mock.Mock()),
                (build.paths, "READ_ONLY", False)):
            patch = mock.patch.object(module, name, value)
            patch.start()
            self.addCleanup(patch.stop)
        environ = mock.patch.dict(os.environ)
        environ.start()
        self.addCleanup(environ.stop)
        os.environ.pop("X64K_BUILT", None)

    @contextlib.contextmanager
    def lock(self):
        self.locked += 1
        yield

    def ensure(self, *groups: str, **more) -> None:
        with contextlib.redirect_stderr(self.said):
            build.ensure(argparse.Namespace(**more.pop("args", {})), *groups,
                         **more)

    def test_no_lock_if_fresh(self):
        self.built()
        self.ensure("qemu")
        self.assertEqual(self.locked, 0)
        host.ensure.assert_not_called()

    def test_a_build_is_remembered(self):
        self.ensure("qemu")
        self.ensure("qemu")
        self.assertEqual(self.locked, 1)

    def test_the_others_find_it_built(self):
        """While we waited for the lock, someone has built it."""
        with mock.patch.object(build, "lock") as lock:
            lock.return_value.__enter__.side_effect = self.built
            self.ensure("qemu")
        build.ninja.assert_not_called()

    def test_what_is_built_counts_not_what_is_edited_meanwhile(self):
        build.ninja.side_effect = lambda _: (
            self.root / "hw/tlb/model.c").write_text(f"{os.urandom(8)}\n")
        self.ensure("qemu")
        self.assertFalse(fresh.is_fresh(["qemu"]))

    def test_the_first_build_changes_the_trees(self):
        """It makes them; its next look is what is recorded."""
        edit = iter([lambda: self.product.write_text("built"), lambda: None])
        build.ninja.side_effect = lambda _: next(edit)()
        self.ensure("qemu")
        self.assertTrue(fresh.is_fresh(["qemu"]))

    def test_asked_to_look(self):
        self.built()
        self.ensure("qemu", look=True)
        self.assertEqual(self.locked, 1)
        with mock.patch.object(build, "update"):
            self.ensure("qemu", args={"update": True})
        self.assertEqual(self.locked, 2)

    def test_read_only(self):
        with mock.patch.object(build.paths, "READ_ONLY", True):
            self.ensure("qemu")
            self.assertIn("may be older than its sources",
                          self.said.getvalue())
            self.said.truncate(0)
            self.built()
            self.ensure("qemu")
            self.assertEqual(self.said.getvalue(), "")
            self.product.unlink()
            with self.assertRaisesRegex(ui.X64kError, "qemu must be built "
                                        "first, and you cannot write"):
                self.ensure("qemu")
            with self.assertRaisesRegex(ui.X64kError, "cannot write"):
                self.ensure("qemu", look=True)
        self.assertEqual(self.locked, 0)
        host.ensure.assert_not_called()


if __name__ == "__main__":
    unittest.main()
