# SPDX-License-Identifier: GPL-2.0-or-later
"""x64k clean: deletes what can be made again."""

import argparse
import os
import shutil
from contextlib import suppress
from pathlib import Path

from x64k import build, debian, paths, sources, trees, ui
from x64k.paths import BUILD, CACHE, shown


def add_parser(subparsers) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "clean", help="delete build/ (and the cache: --cache)",
        description="Deletes build/, with saved guests and what was measured "
        "there, and says how much that is. The next build unpacks and "
        "compiles again, fast, from the cache.")
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


# Of build/, what was measured or saved: it takes a run to make it again.
RESULTS = {"snapshots": "saved guests", "modes": "counts of x64k modes",
           "bench": "times of x64k bench", "fuzzer": "what the fuzzer found"}


def size(folder: Path) -> int:
    """Of what it takes on the disk; a file of two names counts once."""
    seen: dict[tuple[int, int], int] = {}
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                found = os.lstat(os.path.join(place, name))
                seen[found.st_dev, found.st_ino] = found.st_blocks * 512
    return sum(seen.values())


def delete(folder: Path, what: str) -> None:
    ui.info(f"deleting {shown(folder)} ({size(folder) / 1e9:.1f} GB): {what}")
    with ui.step(f"deleting {shown(folder)}"):
        shutil.rmtree(folder)


def run(args: argparse.Namespace) -> int:
    if paths.READ_ONLY:
        raise ui.X64kError(f"you cannot write into {paths.ROOT}: nothing can "
                           "be deleted there")
    if BUILD.exists():
        with build.lock():
            for up in (trees.QEMU, trees.LINUX):
                if not args.force and unsaved(up):
                    raise ui.X64kError(
                        f"{shown(up.tree)} has work that is not in "
                        f"{shown(up.patches)}: ./x64k refresh-patches saves "
                        "commits; --force deletes it")
            debian.clear()
            delete(BUILD, ", ".join(["sources, objects, emulators, guest, logs",
                                     *(what for name, what in RESULTS.items()
                                       if (BUILD / name).exists())]))
    if args.cache and CACHE.exists():
        with sources.alone():
            delete(CACHE, "downloads, compiler cache, the guest's base, tools; "
                   "other checkouts use it, too")
    return 0
