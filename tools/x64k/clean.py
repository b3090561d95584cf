# SPDX-License-Identifier: GPL-2.0-or-later
"""x64k clean: deletes what can be made again."""

import argparse
import shutil

from x64k import build, debian, trees, ui
from x64k.paths import BUILD, CACHE, shown


def add_parser(subparsers) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "clean", help="delete build/ (and the cache: --cache)",
        description="Deletes build/. The next build unpacks and compiles "
        "again, fast, from the cache.")
    parser.add_argument("--cache", action="store_true",
                        help=f"delete {CACHE}, too: downloads, compiler cache")
    parser.add_argument("--force", action="store_true",
                        help="even if a tree in build/src has work of yours")
    return parser


def unsaved(up: trees.Upstream) -> bool:
    """Whether the tree holds edits or commits that are nowhere else."""
    state = trees.read_state(up.tree)
    return bool(state) and bool(trees.edits(up)
                                or trees.head(up.tree) != state["head"])


def run(args: argparse.Namespace) -> int:
    if BUILD.exists():
        with build.lock():
            for up in (trees.QEMU, trees.LINUX):
                if not args.force and unsaved(up):
                    raise ui.X64kError(
                        f"{shown(up.tree)} has work that is not in "
                        f"{shown(up.patches)}: ./x64k refresh-patches saves "
                        "commits; --force deletes it")
            debian.clear()
            shutil.rmtree(BUILD)
    if args.cache and CACHE.exists():
        shutil.rmtree(CACHE)
    return 0
