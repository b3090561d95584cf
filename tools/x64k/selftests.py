# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds what the suites selftests and torture need: Linux's own tests, and
kernels that check themselves, patched and stock, of the same configuration."""

import os
from pathlib import Path

from x64k import linux, meson, proc, trees
from x64k.paths import BUILD

# The patched ones' objects.
KERNEL = BUILD / "linux-selftests"
DEBUG_KERNEL = BUILD / "linux-debug"
NATIVE_DEBUG_KERNEL = BUILD / "linux-native-debug"
PROGRAMS = BUILD / "selftests"      # a folder for each, and xfs.gz
FRAGMENTS = ("debug.config", "selftests.config")
FOLDERS = ("mm", "x86")


def build_kernel(name: str, title: str, tree: Path, objects: Path,
                 *more: str, **env: str) -> None:
    linux.build(name, title, tree, objects, objects / "image", *FRAGMENTS,
                *more, **env)


def kernel() -> None:
    build_kernel("linux-selftests", "the kernel that checks itself",
                 trees.LINUX.tree, KERNEL)


def stock_kernel() -> None:
    trees.ensure_stock(trees.LINUX)
    build_kernel("linux-stock", "the stock kernel that checks itself",
                 trees.LINUX.stock, trees.LINUX.stock_objects, STOCK="1")


def debug_kernel() -> None:
    build_kernel("linux-debug", "the kernel that checks each access and lock",
                 trees.LINUX.tree, DEBUG_KERNEL, "sanitize.config")


def native_debug_kernel() -> None:
    build_kernel("linux-native-debug", "the kernel with 64 KB pages that "
                 "checks each access and lock", trees.LINUX.tree,
                 NATIVE_DEBUG_KERNEL, "sanitize.config", linux.NATIVE)


def xfs_image() -> None:
    """An empty XFS of 300 MB, the least that mkfs.xfs makes."""
    packed = PROGRAMS / "xfs.gz"
    if packed.exists():
        return
    PROGRAMS.mkdir(parents=True, exist_ok=True)
    image = PROGRAMS / "xfs.img"
    with image.open("wb") as file:
        file.truncate(300 << 20)
    proc.output(["mkfs.xfs", "-q", "-f", "-s", "size=4096", image])
    proc.output(["gzip", "-n", image])
    os.replace(f"{image}.gz", packed)


def programs() -> None:
    """Static, so that they need nothing in the guest."""
    trees.ensure_stock(trees.LINUX)
    tree, objects = trees.LINUX.stock, trees.LINUX.stock_objects
    jobs = f"-j{os.cpu_count()}"
    proc.logged(["make", "-C", tree, f"O={objects}", "ARCH=x86_64", jobs,
                 "headers"], "selftests-headers", "Linux's headers",
                env=meson.environment(), detail="")
    for folder in FOLDERS:
        out = PROGRAMS / folder
        out.mkdir(parents=True, exist_ok=True)
        proc.logged(["make", "-C", tree / "tools/testing/selftests" / folder,
                     f"OUTPUT={out}", "CC=gcc -static -s", jobs,
                     f"KHDR_INCLUDES=-isystem {objects}/usr/include"],
                    f"selftests-{folder}", f"Building Linux's tests ({folder})",
                    env=meson.environment(), detail="")
    xfs_image()
