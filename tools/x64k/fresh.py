# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether what a verb needs is built, of what is there now: told in a moment
and without a lock, so that nobody waits who has nothing to build.

After each build, build/up-to-date.json says what it was made of: the files of
the checkout, the commits and edits in build/src, the compiler and libraries,
and the products themselves.  If one of these differs, Meson and ninja decide.
They know better what is out of date, but only one of them may run at a time."""

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from x64k import debian, files, host, trees, ui, versions
from x64k.paths import (BUILD, BZIMAGE, CACHE_PLUGIN, DEBIAN, INITRAMFS, MESON,
                        MODES_TEST, NATIVE_BZIMAGE, NATIVE_VMLINUX, QEMU,
                        QEMU_STOCK, ROOT, VMLINUX)

RECORD = BUILD / "up-to-date.json"
LEFT_OUT = {"build", "docs", "__pycache__"}
GCC = "/usr/bin:/bin"       # not ccache, which the build has before it


@dataclass(frozen=True)
class Group:
    """Of `x64k build`."""
    products: tuple[Path, ...]
    sources: tuple[trees.Upstream, ...] = ()


# What verbs need that run something; the others always ask ninja.
GROUPS = {
    "qemu": Group((QEMU,), (trees.QEMU,)),
    "stock": Group((QEMU_STOCK, CACHE_PLUGIN), (trees.QEMU,)),
    "qtest": Group((QEMU, MODES_TEST), (trees.QEMU,)),
    "guest": Group((VMLINUX, BZIMAGE, NATIVE_VMLINUX, NATIVE_BZIMAGE,
                    INITRAMFS), (trees.LINUX,)),
    "debian": Group((DEBIAN, debian.MADE_OF)),
    "report": Group(()),
}


def _stat(path: Path | os.DirEntry) -> str:
    try:
        found = path.stat()
    except OSError:
        return "-"
    return f"{found.st_size} {found.st_mtime_ns}"


def _files(folder: Path) -> Iterator[str]:
    """Size and time of each file of ours."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name.startswith(".") or entry.name in LEFT_OUT:
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _files(Path(entry))
            else:
                yield f"{entry.path.removeprefix(str(ROOT))} {_stat(entry)}"


def _made_of(name: str) -> str:
    """Changes with all that the group NAME is made of, and with itself."""
    group = GROUPS[name]
    digest = hashlib.sha256()
    for line in (*_files(ROOT), host.installed([name]),
                 _stat(Path(shutil.which("gcc", path=GCC) or "gcc").resolve()),
                 *map(trees.work, group.sources), _stat(trees.CONFIG),
                 *map(_stat, (MESON / "build.ninja", *group.products))):
        digest.update(f"{line}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def state(names: Iterable[str]) -> dict[str, str]:
    return {name: _made_of(name) for name in names if name in GROUPS}


def is_fresh(names: Iterable[str]) -> bool:
    try:
        known = versions.load(RECORD)
        return all(name in GROUPS and known.get(name) == _made_of(name)
                   for name in names)
    except (ui.X64kError, OSError, ValueError):
        return False        # what is wrong, the build will tell


def record(found: dict[str, str]) -> None:
    """That this is what was built."""
    files.write_json(RECORD, versions.load(RECORD) | found)


def is_there(names: Iterable[str]) -> bool:
    return all(name in GROUPS and all(map(Path.exists, GROUPS[name].products))
               for name in names)
