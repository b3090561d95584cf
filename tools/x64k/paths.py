# SPDX-License-Identifier: GPL-2.0-or-later
"""Where things are.  The checkout holds sources; build/ and CACHE hold what
can be made again and may be deleted at any time.

An installed x64k (packaging/meson.build) has what it runs where the checkout
has it, for reading only; what it makes goes to the user's own folders.  So
does what a checkout makes to which its user cannot write."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INSTALLED = not (ROOT / "meson.build").exists()


def _home(variable: str, default: str) -> Path:
    """Our folder of the user's, as the XDG base directories have it."""
    # expanduser leaves ~ to those who have no home.
    base = os.environ.get(variable) or os.path.expanduser(f"~/{default}")
    return Path(base).absolute() / "x64k"


def _cache() -> Path:
    if named := os.environ.get("X64K_CACHE"):
        return Path(named).absolute()
    return _home("XDG_CACHE_HOME", ".cache")


def _writable(place: Path) -> bool:
    """Whether PLACE can be made, or written into."""
    while not place.exists():
        place = place.parent
    return os.access(place, os.W_OK | os.X_OK)


CACHE = _cache()            # downloads, ccache: shared by all checkouts
DOWNLOADS = CACHE / "downloads"
DEBS = CACHE / "debs"

BUILD = ROOT / "build"
READ_ONLY = INSTALLED or not _writable(BUILD)
# What verbs make beyond what is built: logs, results, saved guests.
STATE = (_home("XDG_STATE_HOME", ".local/state") if READ_ONLY else BUILD)
LOGS = STATE / "logs"
BUILD_LOGS = BUILD / "logs"     # of who builds
SRC = BUILD / "src"         # unpacked, patched source trees
MESON = BUILD / "meson"     # the top-level build graph
# Also what a guest needs only sometimes, and is made when first asked for.
GUEST = (CACHE if READ_ONLY else BUILD) / "guest"

BIN = ROOT / "bin" if INSTALLED else BUILD / "bin"
QEMU = BIN / "qemu-system-x86_64"
# Of the same name: programs tell the architecture from it.
QEMU_STOCK = BIN / "stock/qemu-system-x86_64"
QEMU_SANITIZED = BIN / "sanitized/qemu-system-x86_64"
QEMU_FUZZER = BIN / "fuzzer/qemu-fuzz-x86_64"
CACHE_PLUGIN = BIN / "stock/libcache.so"
MODES_TEST = (BIN if INSTALLED else
              BUILD / "qemu/tests/qtest") / "x64k-modes-test"
_IMAGES = (ROOT if INSTALLED else BUILD) / "guest"
VMLINUX = _IMAGES / "vmlinux"
BZIMAGE = _IMAGES / "bzImage"
# The kernel with native 64 KB pages.
NATIVE_VMLINUX = _IMAGES / "native/vmlinux"
NATIVE_BZIMAGE = _IMAGES / "native/bzImage"
INITRAMFS = _IMAGES / "initramfs.cpio"
DEBIAN = _IMAGES / "debian.erofs"
if not DEBIAN.exists():
    DEBIAN = GUEST / DEBIAN.name
VERSIONS = (ROOT if INSTALLED else BUILD) / "versions.json"


def shown(path: Path) -> str:
    """PATH as a message should name it: short where it can be, and seen from
    where the user is, not the step of the build that speaks."""
    cwd = Path(os.environ.setdefault("X64K_CWD", os.getcwd()))
    return str(path.relative_to(cwd)) if path.is_relative_to(cwd) else str(path)
