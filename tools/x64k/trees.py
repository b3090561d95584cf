# SPDX-License-Identifier: GPL-2.0-or-later
"""The source trees under build/src: unpacked, patched, overlaid.

A patched tree is a git repository: one base commit, then one commit for each
file of the queue, so that one can work in it and refresh-patches takes the
work back.  When the queue changes, the tree is re-made in place, and files
whose contents stay keep their time stamps: a rebuild takes seconds."""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from x64k import proc, sources, ui, versions
from x64k.paths import BUILD, LOGS, ROOT, SRC, shown
from x64k.sources import Source

CONFIG = BUILD / "config.json"      # --qemu-source and --linux-source
STATE = "x64k.json"                 # in .git: what the tree was made from

# Our folder -> its place in QEMU's tree.  New files only; edits are patches.
OVERLAYS = {"hw": "hw", "target-i386": "target/i386",
            "qapi": "qapi", "tests/qtest": "tests/qtest"}


@dataclass(frozen=True)
class Upstream:
    name: str
    title: str
    series: str
    patches: Path
    tree: Path
    objects: tuple[Path, ...]       # void when the base of the tree changes
    overlays: dict[str, str]
    tracked: tuple[str, ...]        # what git looks at
    contents: tuple[str, ...]       # what tells that it is the right source

    # Seen from its objects, each of the two sources is at ../src/NAME: what
    # they have in common, ccache compiles once.
    @property
    def stock(self) -> Path:
        return BUILD / "stock/src" / self.name

    @property
    def stock_objects(self) -> Path:
        return BUILD / "stock" / self.name


QEMU = Upstream("qemu", "QEMU", "10.0", ROOT / "qemu-patches", SRC / "qemu",
                (BUILD / "qemu",), OVERLAYS, (".",),
                ("configure", "target/i386"))
# All of Linux would cost git a minute; to edit elsewhere, `git add -f` first.
LINUX = Upstream("linux", "Linux", "6.12", ROOT / "guest-images/linux/patches",
                 SRC / "linux", (BUILD / "linux", BUILD / "linux-native",
                                 BUILD / "linux-selftests",
                                 BUILD / "linux-debug",
                                 BUILD / "linux-native-debug"), {},
                 ("Documentation/arch/x86", "Documentation/mm", "arch/x86",
                  "fs/proc", "include", "init", "ipc", "kernel", "mm",
                  "scripts"),
                 ("Kbuild", "arch/x86"))


class PatchError(ui.X64kError):
    """A patch of the queue does not apply."""


def queue(up: Upstream) -> list[Path]:
    return sorted(up.patches.glob("*.patch"))


def queue_digest(up: Upstream) -> str:
    digest = hashlib.sha256()
    for patch in queue(up):
        digest.update(patch.name.encode() + b"\0" + patch.read_bytes())
    return digest.hexdigest()


# --- git, without the user's configuration ---------------------------------

GIT_ENV = {
    "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null",
    "GIT_AUTHOR_NAME": "x64k", "GIT_AUTHOR_EMAIL": "x64k@localhost",
    "GIT_COMMITTER_NAME": "x64k", "GIT_COMMITTER_EMAIL": "x64k@localhost",
    "LC_ALL": "C",
    # Who only looks takes no lock of git's.
    "GIT_OPTIONAL_LOCKS": "0",
}


def git_run(tree: Path, *args: str | Path) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items()
           if not name.startswith("GIT_")} | GIT_ENV
    return subprocess.run(
        ["git", "-c", f"safe.directory={tree}", "-C", tree, *args], text=True,
        errors="replace", capture_output=True, env=env,
        stdin=subprocess.DEVNULL)


def git(tree: Path, *args: str | Path) -> str:
    done = git_run(tree, *args)
    if done.returncode:
        raise ui.X64kError(f"git {args[0]} failed in {shown(tree)}:\n"
                           f"{(done.stderr or done.stdout).strip()}")
    return done.stdout.strip()


def read_state(tree: Path) -> dict:
    try:
        return json.loads((tree / ".git" / STATE).read_text())
    except (FileNotFoundError, NotADirectoryError):
        return {}


def write_state(tree: Path, state: dict) -> None:
    (tree / ".git" / STATE).write_text(json.dumps(state, indent=2) + "\n")


# --- unpacking -------------------------------------------------------------

def unpack(up: Upstream, source: Source, place: Path) -> None:
    """Makes PLACE the unpacked SOURCE, at once or not at all."""
    def run(*argv: str | Path) -> None:
        proc.logged(argv, f"{up.name}-unpack",
                    f"Unpacking {up.title} {source.version}", detail="")

    sources.verify(source)
    fresh = place.with_name(place.name + ".unpacking")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.parent.mkdir(parents=True, exist_ok=True)
    described = [name for name in source.files if name.endswith(".dsc")]
    if not source.files:
        run("cp", "-a", "--reflink=auto", source.path, fresh)
        shutil.rmtree(fresh / ".git", ignore_errors=True)
    elif up.name == "qemu" and described:
        # With Debian's patches: without them the source, stripped of
        # firmware, does not configure.  apt has checked the signature.
        run("dpkg-source", "--no-check", "--no-copy", "-x",
            source.path / described[0], fresh)
        shutil.rmtree(fresh / ".pc", ignore_errors=True)
    else:
        (tarball,) = ([name for name in source.files if ".orig.tar." in name]
                      or source.files)
        fresh.mkdir()
        run("tar", "-C", fresh, "--strip-components=1", "-xf",
            source.path / tarball)
    for required in up.contents:
        if not (fresh / required).exists():
            raise ui.X64kError(f"{source.version} is no {up.title} source: "
                               f"it has no {required}")
    shutil.rmtree(place, ignore_errors=True)
    fresh.rename(place)


# --- the queue -------------------------------------------------------------

def apply(up: Upstream, tree: Path) -> None:
    """Commits each patch of the queue on top of HEAD: strictly, without fuzz."""
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / f"{up.name}-patches.log"
    with log.open("w") as file:
        for patch in queue(up):
            done = git_run(tree, "am", "--committer-date-is-author-date",
                           "--whitespace=nowarn", patch)
            file.write(f"{patch.name}\n{done.stdout}{done.stderr}\n")
            if done.returncode:
                why = [line.removeprefix("error: ")
                       for line in done.stderr.splitlines()
                       if line.startswith("error: ")]
                git_run(tree, "am", "--abort")
                raise PatchError(
                    f"{shown(patch)} does not apply to {up.title} "
                    f"{read_state(tree)['version']}:\n"
                    + "".join(f"  {line}\n" for line in why)
                    + f"the whole log: {shown(log)}\n"
                    "mend the patch (docs/building.md, Patches) and run the "
                    "same command again")


def edits(up: Upstream) -> list[str]:
    """Uncommitted edits of files that git tracks."""
    return git(up.tree, "status", "--porcelain", "-uno").splitlines()


def head(tree: Path) -> str:
    return git(tree, "rev-parse", "HEAD")


def work(up: Upstream) -> str:
    """Names the source, the commits, and the work in progress on top."""
    if not (state := read_state(up.tree)):
        return ""
    # New files, too, where git looks at all.
    untracked = "-uall" if up.tracked == (".",) else "-uno"
    digest = hashlib.sha256()
    for line in git_run(up.tree, "status", "--porcelain",
                        untracked).stdout.splitlines():
        path = up.tree / line[3:]
        digest.update(line.encode())
        if path.is_file():
            digest.update(path.read_bytes())
    return f"{state['source']}\n{head(up.tree)}\n{digest.hexdigest()}\n"


def widen(up: Upstream, names: list[str]) -> list[str]:
    """Takes files that git has not looked at so far into the base, to which
    the tree has been reset: they are as upstream has them.  Tells which."""
    known = set(git(up.tree, "ls-files", "--", *names).splitlines())
    fresh = [name for name in names
             if name not in known and (up.tree / name).is_file()]
    if fresh:
        git(up.tree, "add", "-f", "--", *fresh)
        git(up.tree, "commit", "-q", "--amend", "--no-edit")
        write_state(up.tree, read_state(up.tree) | {"base": head(up.tree)})
    return fresh


def remake(up: Upstream) -> None:
    """Brings the commits of the tree in line with the changed queue."""
    state = read_state(up.tree)
    place = shown(up.tree)
    if found := edits(up):
        raise ui.X64kError(
            f"{shown(up.patches)} changed, but {place} has uncommitted edits "
            "that would be lost:\n" + "\n".join(f"  {line}" for line in found)
            + f"\ncommit them there, or drop them: git -C {place} checkout .")
    if head(up.tree) != state["head"]:
        raise ui.X64kError(
            f"{shown(up.patches)} changed, but {place} has commits that are "
            "not in it, which would be lost; take them in (./x64k refresh-"
            f"patches) or drop them: git -C {place} reset --hard "
            f"{state['head'][:12]}")

    def changed() -> set[str]:
        return set(git(up.tree, "diff", "--name-only", "--no-renames",
                       state["base"], "HEAD").splitlines())

    def snapshot(names: set[str]) -> dict[str, tuple[bytes, int]]:
        paths = {name: up.tree / name for name in names}
        return {name: (path.read_bytes(), path.stat().st_mtime_ns)
                for name, path in paths.items() if path.is_file()}

    # What the new queue touches that the old one did not is in its base
    # state now; its names are only known once it has been applied.
    with tempfile.TemporaryDirectory() as scratch:
        listing = [line.split("\t")[-1] for patch in queue(up) for line in
                   git_run(Path(scratch), "apply", "--numstat",
                           patch).stdout.splitlines()]
    before = snapshot(changed() | set(listing))
    fresh: list[str] = []
    try:
        git(up.tree, "reset", "-q", "--hard", state["base"])
        fresh = widen(up, listing)
        apply(up, up.tree)
    except BaseException:
        if fresh:   # or the way back would delete them
            git(up.tree, "reset", "-q", "--hard",
                read_state(up.tree)["base"])
            git(up.tree, "rm", "-q", "--cached", "--", *fresh)
            write_state(up.tree, state)
        git(up.tree, "reset", "-q", "--hard", state["head"])
        raise
    finally:
        for name, (contents, stamp) in before.items():
            path = up.tree / name
            if path.is_file() and path.read_bytes() == contents:
                os.utime(path, ns=(stamp, stamp))
        git_run(up.tree, "update-index", "-q", "--refresh")
    write_state(up.tree, read_state(up.tree) | {
        "queue": queue_digest(up), "head": head(up.tree)})


# --- the overlay -----------------------------------------------------------

def overlay(tree: Path, folders: dict[str, str], root: Path = ROOT) -> None:
    """Links every file of our FOLDERS into TREE, and removes old links."""
    record = tree / ".git" / "x64k-overlay"
    old = set(record.read_text().splitlines()) if record.exists() else set()
    links: dict[str, Path] = {}
    for ours, theirs in folders.items():
        for folder, _, names in os.walk(root / ours):
            for name in names:
                if name.startswith(".") or name.endswith(("~", ".orig", ".rej")):
                    continue
                file = Path(folder) / name
                links[str(theirs / file.relative_to(root / ours))] = file

    for name in old - links.keys():
        path = tree / name
        if path.is_symlink():
            path.unlink()
        for parent in path.parents:
            if parent == tree or not parent.is_dir() or any(parent.iterdir()):
                break
            parent.rmdir()

    for name, file in links.items():
        path = tree / name
        target = os.path.relpath(file, path.parent)
        if path.is_symlink():
            if os.readlink(path) == target:
                continue
            path.unlink()
        elif path.exists():
            raise ui.X64kError(
                f"{shown(file)}: QEMU has a file {name} of its own; rename "
                "ours, or edit QEMU's by a patch in qemu-patches/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)

    if links.keys() != old:
        listing = "".join(f"{name}\n" for name in sorted(links))
        record.write_text(listing)
        # `git status` in the tree should show the developer's work only.
        exclude = tree / ".git" / "info" / "exclude"
        exclude.parent.mkdir(exist_ok=True)
        exclude.write_text("".join(f"/{name}\n" for name in sorted(links)))


# --- all of it -------------------------------------------------------------

def named_source(up: Upstream) -> Source | None:
    """The local source that the user chose, if any."""
    path = versions.load(CONFIG).get(f"{up.name}_source")
    return sources.local_source(Path(path)) if path else None


def choices(up: Upstream, fresh: bool) -> Iterator[Source]:
    if named := named_source(up):
        yield named
        return
    pin = versions.load().get(up.name)
    if pin and pin["origin"] == "Debian" and not fresh:
        # This checkout has settled: it does not drift.
        yield sources.download_source(up.name, pin["version"])
        return
    yield from sources.candidates(up.name, up.series, fresh)


def create(up: Upstream, source: Source) -> None:
    """Makes the patched tree from SOURCE, replacing an older one."""
    fresh = up.tree.with_name(up.tree.name + ".partial")
    shutil.rmtree(fresh, ignore_errors=True)
    unpack(up, source, fresh)
    with ui.step(f"Applying {shown(up.patches)}"):
        git(fresh, "init", "-q", "-b", "x64k")
        touched = [line.split("\t")[-1] for patch in queue(up) for line in
                   git(fresh, "apply", "--numstat", patch).splitlines()]
        tracked = [name for name in (*up.tracked, *touched)
                   if (fresh / name).exists()]
        # One uncompressed pack instead of a file for each blob: fast.
        git(fresh, "-c", "core.bigFileThreshold=1", "-c", "core.compression=0",
            "add", "-f", "--", *tracked)
        git(fresh, "commit", "-q", "-m", f"{up.title} {source.version}")
        base = head(fresh)
        write_state(fresh, {"source": source.key(), "version": source.version,
                            "base": base})
        apply(up, fresh)
        write_state(fresh, read_state(fresh) | {"queue": queue_digest(up),
                                                "head": head(fresh)})
    for stale in (up.tree, *up.objects):
        if stale.exists():
            shutil.rmtree(stale)
    fresh.rename(up.tree)


def record(up: Upstream, source: Source) -> None:
    versions.record(up.name, None)
    versions.record(up.name, {
        "version": source.version, "origin": source.origin,
        "files": source.files, "patches": len(queue(up))})
    if source.origin == "Debian":
        versions.record(up.name, source.version, sources.PINS)


def ensure(up: Upstream, fresh: bool = False) -> None:
    """The patched tree, up to date with its queue and the overlay.  FRESH
    looks for a newer point release."""
    state = read_state(up.tree)
    named = named_source(up)
    current = (bool(state) and not fresh
               and (named.key() == state["source"] if named
                    else state["source"].startswith("Debian ")))
    if not current:
        first: PatchError | None = None
        for source in choices(up, fresh):
            if state and source.key() == state["source"]:
                ui.info(f"{up.title} {source.version} is the newest there is")
                first = None
                break
            try:
                create(up, source)
            except PatchError as error:
                ui.info(f"{up.title} {source.version}: the patches do not "
                        "apply; trying the one before")
                first = first or error
                continue
            first = None
            record(up, source)
            break
        else:
            raise first or ui.X64kError(
                f"the Debian mirror serves no {up.title} {up.series}.x; "
                f"give --{up.name}-source (docs/building.md)")
    state = read_state(up.tree)
    if state["queue"] != queue_digest(up):
        remake(up)
        versions.record(up.name, {"patches": len(queue(up))})
    elif not current:
        pass
    elif head(up.tree) != state["head"]:
        ui.info(f"{shown(up.tree)} has commits that are not in "
                f"{shown(up.patches)}: ./x64k refresh-patches takes them in")
    overlay(up.tree, up.overlays)


def ensure_stock(up: Upstream) -> None:
    """The pristine tree, of the same source as the patched one."""
    state = read_state(up.tree)
    stamp = up.stock / ".x64k-source"
    if stamp.exists() and stamp.read_text() == state["source"]:
        return
    source = named_source(up) or sources.download_source(up.name,
                                                         state["version"])
    for stale in (up.stock, up.stock_objects):
        shutil.rmtree(stale, ignore_errors=True)
    unpack(up, source, up.stock)
    stamp.write_text(state["source"])
