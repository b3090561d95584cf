# SPDX-License-Identifier: GPL-2.0-or-later
"""Where things are.  The checkout holds sources; build/ and CACHE hold what
can be made again and may be deleted at any time."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def _cache() -> Path:
    if named := os.environ.get("X64K_CACHE"):
        return Path(named).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "x64k"


CACHE = _cache()            # downloads, ccache: shared by all checkouts
DOWNLOADS = CACHE / "downloads"
DEBS = CACHE / "debs"

BUILD = ROOT / "build"
LOGS = BUILD / "logs"
SRC = BUILD / "src"         # unpacked, patched source trees
BIN = BUILD / "bin"
GUEST = BUILD / "guest"
MESON = BUILD / "meson"     # the top-level build graph

QEMU = BIN / "qemu-system-x86_64"
# Of the same name: programs tell the architecture from it.
QEMU_STOCK = BIN / "stock/qemu-system-x86_64"
QEMU_SANITIZED = BIN / "sanitized/qemu-system-x86_64"
QEMU_FUZZER = BIN / "fuzzer/qemu-fuzz-x86_64"
CACHE_PLUGIN = BIN / "stock/libcache.so"
VMLINUX = GUEST / "vmlinux"
BZIMAGE = GUEST / "bzImage"
INITRAMFS = GUEST / "initramfs.cpio"
DEBIAN = GUEST / "debian.erofs"
VERSIONS = BUILD / "versions.json"


def shown(path: Path) -> str:
    """PATH as a message should name it: short where it can be, and seen from
    where the user is, not the step of the build that speaks."""
    cwd = Path(os.environ.setdefault("X64K_CWD", os.getcwd()))
    return str(path.relative_to(cwd)) if path.is_relative_to(cwd) else str(path)
