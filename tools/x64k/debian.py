# SPDX-License-Identifier: GPL-2.0-or-later
"""The Debian guest's image: build/guest/debian.erofs, of the packages that
guest-images/debian lists.

Which versions, is decided once for a list and kept in the cache: another
checkout, or the same one again, makes the same image, without a network."""

import hashlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from x64k import proc, sources, ui, versions
from x64k.paths import CACHE, DEBIAN, DEBS, GUEST, ROOT, shown

HERE = ROOT / "guest-images/debian"
SCRIPTS = ("build.sh", "prepare.sh", "customize.sh", "leave-out", "sources")
CHOSEN = CACHE / "debian-image"     # the packages' versions, for each list
WORK = GUEST / "debian.partial"
MADE_OF = DEBIAN.with_suffix(".made-of")
NEED_GB = 3


def words(path: Path) -> list[list[str]]:
    """The words of each line of a list."""
    lines = path.read_text().splitlines()
    return [line.split() for line in lines if line and line[0] != "#"]


def listed(name: str) -> list[list[str]]:
    return words(HERE / name)


def place_of_choice(packages: list[str]) -> Path:
    digest = hashlib.sha256("\n".join(sorted(packages)).encode()).hexdigest()
    return CHOSEN / f"{digest[:16]}.index"


def fetch_packages(packages: list[str]) -> sources.Index:
    """All that PACKAGES need, in the cache."""
    place = place_of_choice(packages)
    if place.exists():
        index = sources.Index(place.read_text())
        try:
            index.fetch()
            return index
        except sources.NotServed as error:
            ui.info(f"{error}; choosing versions anew")
            sources.update()
    elif not list((sources.APT / "lists").glob("*Packages*")):
        sources.update()
    for lists_are_new in (False, True):
        index = sources.resolve(packages)
        try:
            index.fetch()
            break
        except sources.NotServed:
            if lists_are_new:
                raise
            sources.update()    # old lists name what is gone by now
    CHOSEN.mkdir(parents=True, exist_ok=True)
    new = place.with_suffix(f".{os.getpid()}")
    new.write_text(index.text)
    new.rename(place)
    return index


def forget() -> None:
    """The next build takes the versions that are the newest then."""
    shutil.rmtree(CHOSEN, ignore_errors=True)
    for name, *_ in listed("sources"):
        versions.record(name, None, sources.PINS)


def namespace() -> list[str]:
    """What to put before a command to make it root of the image: its mounts
    and processes end with it, and a user's files have all owners."""
    # unshare blocks SIGTERM, and the first process of a namespace ignores it:
    # only this ends it when we are killed.
    own = ["setpriv", "--pdeathsig", "KILL", "--", "unshare", "--mount",
           "--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.geteuid() != 0:
        own += ["--map-root-user", "--map-auto"]
    tried = subprocess.run([*own, "true"], stdin=subprocess.DEVNULL,
                           capture_output=True, text=True)
    if tried.returncode == 0:
        return own
    if os.geteuid() == 0:
        return []       # in a container; mmdebstrap does without mounts
    raise ui.X64kError(
        "making the Debian image as a user needs user namespaces and a range "
        f"of user numbers, but: {tried.stderr.strip()}\n"
        "As root, `usermod --add-subuids 100000-165535 --add-subgids "
        "100000-165535 USER` gives a range; or make the image as root: "
        "x64k build debian")


def clear() -> None:
    """Removes what an image in the making needs; its owners may be many."""
    if WORK.exists():
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            with ui.step("Removing temporary files"):
                proc.call([*namespace(), "rm", "-rf", WORK])
        finally:
            signal.signal(signal.SIGINT, before)


@contextmanager
def workplace() -> Iterator[Path]:
    """An empty folder that is gone in the end.  build.ninja, too, sees to
    that: a step that is interrupted has no time to."""
    clear()
    WORK.mkdir(parents=True)
    free = shutil.disk_usage(WORK).free / 2**30
    if free < NEED_GB:
        WORK.rmdir()
        raise ui.X64kError(f"the Debian image needs {NEED_GB} GB in "
                           f"{shown(GUEST)} while it is made, but {free:.1f} "
                           "GB are free there")
    try:
        yield WORK
    finally:
        clear()


def unpack(source: sources.Source, wanted: str, place: Path) -> None:
    """Puts WANTED, a part of the source package, in PLACE."""
    sources.verify(source)
    (description,) = (name for name in source.files if name.endswith(".dsc"))
    whole = place.with_name("unpacked")
    # apt has checked the signature.
    proc.output(["dpkg-source", "--no-check", "--no-copy", "-x",
                 source.path / description, whole])
    shutil.rmtree(whole / ".pc", ignore_errors=True)
    if not (whole / wanted).exists():
        raise ui.X64kError(f"{description} has no {wanted}")
    (place / wanted).parent.mkdir(parents=True, exist_ok=True)
    (whole / wanted).rename(place / wanted)
    shutil.rmtree(whole, ignore_errors=True)


def make(index: sources.Index, trees: dict[str, sources.Source],
         packages: list[str]) -> None:
    inside = namespace()
    with workplace() as work:
        repository = work / "repository"
        repository.mkdir()
        for deb in index.debs:
            (repository / f"{deb.name}.deb").symlink_to(DEBS / deb.file)
        (repository / "Packages").write_text(
            re.sub(r"^Filename: .*/(.*?)_.*$", r"Filename: ./\1.deb",
                   index.text, flags=re.MULTILINE))
        (work / "sources").mkdir()
        for name, _, wanted in listed("sources"):
            version = sources.upstream(trees[name].version)
            unpack(trees[name], wanted, work / "sources" / f"{name}-{version}")
        proc.logged([*inside, HERE / "build.sh", work, DEBIAN, *packages],
                    "debian", "Building the Debian image", detail="")


def image() -> Path:
    """The image, made if it is not there or not of what it should be."""
    packages = [name for name, in listed("packages")]
    index = fetch_packages(packages)
    trees = {name: sources.fetch_source(name, series)
             for name, series, _ in listed("sources")}
    made_of = "\n".join(
        [f"{versions.sha256(path)} {path.name}" for path in
         (Path(shutil.which("mkfs.erofs") or ""),
          *(HERE / name for name in SCRIPTS))]
        + [f"{digest} {name}" for source in trees.values()
           for name, digest in sorted(source.files.items())]
        + [f"{deb.sha256} {deb.file}" for deb in index.debs]) + "\n"
    if (DEBIAN.exists() and MADE_OF.exists()
            and MADE_OF.read_text() == made_of):
        return DEBIAN
    MADE_OF.unlink(missing_ok=True)
    make(index, trees, packages)
    versions.record("debian-image", None)
    versions.record("debian-image", {
        "sha256": versions.sha256(DEBIAN),
        "packages": {deb.name: deb.version for deb in index.debs},
        "sources": {name: tree.version for name, tree in trees.items()}})
    MADE_OF.write_text(made_of)
    return DEBIAN
