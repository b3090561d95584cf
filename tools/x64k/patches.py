# SPDX-License-Identifier: GPL-2.0-or-later
"""x64k refresh-patches: writes the patch queue from the git tree."""

import argparse
import re
import tempfile
from pathlib import Path

from x64k import build, trees, ui, versions
from x64k.paths import shown
from x64k.trees import Upstream


def normal(text: str) -> str:
    """Without the names of blobs: they change with each point release, and
    nothing that applies without fuzz needs them."""
    return re.sub(r"^index [0-9a-f]+\.\.[0-9a-f]+(?: \d+)?\n", "", text,
                  flags=re.MULTILINE)


def regenerate(up: Upstream) -> dict[str, str]:
    """The queue, by file name, as the commits of the tree say it."""
    base = trees.read_state(up.tree)["base"]
    with tempfile.TemporaryDirectory() as folder:
        trees.git(up.tree, "format-patch", "-q", "--zero-commit",
                  "--no-signature", "--no-numbered", "--no-renames", "-o",
                  folder, f"{base}..HEAD")
        return {path.name: normal(path.read_text())
                for path in sorted(Path(folder).iterdir())}


def refresh(up: Upstream) -> None:
    if found := trees.edits(up):
        raise ui.X64kError(
            f"{shown(up.tree)} has uncommitted edits; commit them first, or "
            "add them to the commit they belong to (git commit --fixup, git "
            "rebase -i --autosquash):\n"
            + "\n".join(f"  {line}" for line in found))
    fresh = regenerate(up)
    if not fresh and trees.queue(up):
        raise ui.X64kError(f"{shown(up.tree)} has no commits on top of its "
                           "base: refusing to delete the whole queue")
    old = {path.name: path.read_text() for path in trees.queue(up)}
    up.patches.mkdir(parents=True, exist_ok=True)
    for name in old.keys() - fresh.keys():
        (up.patches / name).unlink()
    for name, text in fresh.items():
        if old.get(name) != text:
            (up.patches / name).write_text(text)
    changed = sum(old.get(name) != fresh.get(name)
                  for name in old.keys() | fresh.keys())
    trees.write_state(up.tree, trees.read_state(up.tree) | {
        "queue": trees.queue_digest(up), "head": trees.head(up.tree)})
    versions.record(up.name, {"patches": len(fresh)})
    ui.info(f"{shown(up.patches)}: {len(fresh)} patches, {changed} changed")


def add_parser(subparsers) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "refresh-patches", help="write the patch queue from the git tree",
        description="Writes qemu-patches/ from the commits in build/src/qemu "
        "(with --linux: guest-images/linux/patches from build/src/linux). "
        "The result does not depend on who runs it, or when.")
    parser.add_argument("--linux", action="store_true",
                        help="the kernel's queue instead of QEMU's")
    build.add_options(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    up = trees.LINUX if args.linux else trees.QEMU
    if not trees.read_state(up.tree):
        build.ensure(args, "trees")
    with build.lock():
        refresh(up)
    return 0
