# SPDX-License-Identifier: GPL-2.0-or-later
"""Where things are.  The checkout holds sources; build/ and CACHE hold what
can be made again and may be deleted at any time.

An installed x64k (packaging/meson.build) has what it runs where the checkout
has it, for reading only; what it makes goes to the user's own folders."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INSTALLED = not (ROOT / "meson.build").exists()


def _home(variable: str, default: str) -> Path:
    """Our folder of the user's, as the XDG base directories have it."""
    base = os.environ.get(variable) or Path.home() / default
    return Path(base) / "x64k"


def _cache() -> Path:
    if named := os.environ.get("X64K_CACHE"):
        return Path(named).absolute()
    return _home("XDG_CACHE_HOME", ".cache")


CACHE = _cache()            # downloads, ccache: shared by all checkouts
DOWNLOADS = CACHE / "downloads"
DEBS = CACHE / "debs"

BUILD = (_home("XDG_STATE_HOME", ".local/state") if INSTALLED
         else ROOT / "build")
LOGS = BUILD / "logs"
SRC = BUILD / "src"         # unpacked, patched source trees
MESON = BUILD / "meson"     # the top-level build graph
# Also what a guest needs only sometimes, and is made when first asked for.
GUEST = CACHE / "guest" if INSTALLED else BUILD / "guest"

BIN = ROOT / "bin" if INSTALLED else BUILD / "bin"
QEMU = BIN / "qemu-system-x86_64"
# Of the same name: programs tell the architecture from it.
QEMU_STOCK = BIN / "stock/qemu-system-x86_64"
QEMU_SANITIZED = BIN / "sanitized/qemu-system-x86_64"
QEMU_FUZZER = BIN / "fuzzer/qemu-fuzz-x86_64"
CACHE_PLUGIN = BIN / "stock/libcache.so"
MODES_TEST = (BIN if INSTALLED else
              BUILD / "qemu/tests/qtest") / "x64k-modes-test"
_IMAGES = ROOT / "guest" if INSTALLED else GUEST
VMLINUX = _IMAGES / "vmlinux"
BZIMAGE = _IMAGES / "bzImage"
INITRAMFS = _IMAGES / "initramfs.cpio"
DEBIAN = GUEST / "debian.erofs"
VERSIONS = (ROOT if INSTALLED else BUILD) / "versions.json"


def shown(path: Path) -> str:
    """PATH as a message should name it: short where it can be, and seen from
    where the user is, not the step of the build that speaks."""
    cwd = Path(os.environ.setdefault("X64K_CWD", os.getcwd()))
    return str(path.relative_to(cwd)) if path.is_relative_to(cwd) else str(path)
