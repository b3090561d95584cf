# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds the guest's kernels, all of one patched tree."""

import re
from collections.abc import Callable
from pathlib import Path

from x64k import meson, proc, trees
from x64k.paths import BUILD, GUEST, LOGS, ROOT

# On top of the others: a kernel whose pages are of 64 KB.
NATIVE = "native.config"


def compiled(name: str) -> Callable[[], str]:
    """How far the kernel is: it has some 800 files, or 1,300 with all checks."""
    def read() -> str:
        text = (LOGS / f"{name}.log").read_text(errors="replace")
        return f"{len(re.findall(r'^  (?:CC|AS) ', text, re.MULTILINE))} files"
    return read


def build(name: str, title: str, tree: Path, objects: Path, out: Path,
          *fragments: str, **env: str) -> None:
    proc.logged([ROOT / "guest-images/linux/build.sh", tree, objects, out,
                 *fragments], name, f"Building {title}",
                env=meson.environment() | env, detail=compiled(name))


def kernel() -> None:
    build("linux", "the guest kernel", trees.LINUX.tree, BUILD / "linux",
          GUEST)


def native_kernel() -> None:
    build("linux-native", "the guest kernel with 64 KB pages",
          trees.LINUX.tree, BUILD / "linux-native", GUEST / "native", NATIVE)
