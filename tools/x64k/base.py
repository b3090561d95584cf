# SPDX-License-Identifier: GPL-2.0-or-later
"""The mini guest's base: programs and libraries fit for 64 KB pages, built
from the source packages that guest-images/base lists.

What is built is kept in the cache, by what it is made of: another checkout
builds nothing."""

import hashlib
import os
import re
import shutil
from pathlib import Path

from x64k import debian, meson, proc, sources, ui, versions
from x64k.paths import BUILD, CACHE, LOGS, ROOT, shown

HERE = ROOT / "guest-images/base"
SCRIPT = HERE / "build.sh"
PATCHES = sorted(HERE.glob("*.patch"))
BASES = CACHE / "base"
WORK = BUILD / "base.partial"
NEED_GB = 1


def listed() -> dict[str, str]:
    """Source package -> series."""
    return {name: series for name, series in debian.words(HERE / "sources")}


def forget() -> None:
    """The next build takes the versions that are the newest then."""
    for name in listed():
        versions.record(name, None, sources.PINS)


def compiler() -> str:
    return "".join(proc.output([tool, "--version"]).splitlines()[0] + "\n"
                   for tool in ("gcc", "ld"))


def key(trees: dict[str, sources.Source]) -> str:
    """A name for what the base is made of."""
    made_of = [f"{digest} {file}" for tree in trees.values()
               for file, digest in sorted(tree.files.items())]
    made_of += [versions.sha256(file) for file in (SCRIPT, *PATCHES)]
    made_of += [compiler()]
    return hashlib.sha256("\n".join(made_of).encode()).hexdigest()[:16]


def package_in_work() -> str:
    """What build.sh says that it is at."""
    log = (LOGS / "base.log").read_text(errors="replace")
    found = re.findall(r"^== (\S+)$", log, re.MULTILINE)
    return found[-1] if found else ""


def clear() -> None:
    """Removes what a base in the making needs."""
    shutil.rmtree(WORK, ignore_errors=True)


def make(trees: dict[str, sources.Source], place: Path) -> None:
    clear()     # of someone who was killed
    WORK.mkdir(parents=True)
    try:
        if (free := shutil.disk_usage(WORK).free / 2**30) < NEED_GB:
            raise ui.X64kError(
                f"the guest's base needs {NEED_GB} GB in {shown(BUILD)} while "
                f"it is built, but {free:.1f} GB are free there")
        with ui.step("Unpacking the sources of the guest's base"):
            for name, tree in trees.items():
                debian.unpack(tree, ".", WORK / name)
        proc.logged([SCRIPT, WORK, WORK / "out"], "base",
                    "Building the guest's base", env=meson.environment(),
                    detail=package_in_work)
        # The cache may be another disk.  Two may come at once: one is kept.
        fresh = place.with_name(f"{place.name}.{os.getpid()}.partial")
        shutil.copytree(WORK / "out", fresh)
        try:
            fresh.rename(place)
        except OSError:
            shutil.rmtree(fresh)
    finally:
        clear()


def folder() -> Path:
    """The base, as it goes into the initramfs; built if the cache has none of
    these sources, this script and this compiler."""
    trees = {name: sources.fetch_source(name, series)
             for name, series in listed().items()}
    place = BASES / key(trees)
    if not place.is_dir():
        BASES.mkdir(parents=True, exist_ok=True)
        make(trees, place)
    versions.record("base", None)
    versions.record("base", {name: {"version": tree.version,
                                    "files": tree.files}
                             for name, tree in trees.items()})
    return place
