# SPDX-License-Identifier: GPL-2.0-or-later
"""x64k build, and what every other verb has built before it begins.

Meson owns the graph (meson.build); its slow targets are x64k.steps."""

import argparse
import os
from contextlib import AbstractContextManager
from pathlib import Path

from x64k import (base, debian, fresh, host, locks, meson, paths, proc,
                  sources, trees, ui, versions)
from x64k.paths import BUILD, CACHE, LOGS, MESON, QEMU, ROOT, shown

# What verbs ask for -> targets of meson.build.
GROUPS = {
    "qemu": ["qemu.stamp"],
    "stock": ["qemu-stock.stamp"],
    "sanitized": ["qemu-sanitized.stamp"],
    "fuzzer": ["qemu-fuzzer.stamp"],
    "qtest": ["qtest.stamp"],
    "upstream": ["upstream-qtest.stamp"],
    "guest": ["guest"],
    "debian": ["debian"],
    "trees": ["qemu-src.stamp", "linux-src.stamp"],
    "unit": ["meson-test-prereq"],
    "report": [],
    "install": ["installable"],
    "slurm": [],
    "debug-kernel": ["debug-kernel"],
    "native-debug-kernel": ["native-debug-kernel"],
    "selftests": ["selftests"],
    "debian13": [],
}
FAILURE = LOGS / "failure"      # a step's error, for us to print once


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of every verb that builds."""
    if paths.INSTALLED:
        return
    group = parser.add_argument_group("building")
    group.add_argument("--yes", action="store_true",
                       help="install missing packages without asking")
    for up in (trees.QEMU, trees.LINUX):
        group.add_argument(
            f"--{up.name}-source", metavar="PATH",
            help=f"build {up.title} from this tarball or tree, from now on; "
            "`debian` goes back to Debian's")


def named_sources(args: argparse.Namespace) -> dict[str, str | None]:
    """What --qemu-source and the like name; complains if it is not there."""
    named: dict[str, str | None] = {}
    for up in (trees.QEMU, trees.LINUX):
        if path := getattr(args, f"{up.name}_source", None):
            chosen = None if path == "debian" else str(Path(path).absolute())
            if chosen:
                sources.local_source(Path(chosen))
            named[f"{up.name}_source"] = chosen
    return named


def remember_sources(args: argparse.Namespace) -> None:
    for name, chosen in named_sources(args).items():
        versions.record(name, chosen, trees.CONFIG)


LOCK = BUILD / ".lock"
BUSY = f"another x64k uses {shown(BUILD)}"


def lock() -> AbstractContextManager[None]:
    """One build at a time in one checkout."""
    BUILD.mkdir(exist_ok=True)
    return locks.hold(LOCK, BUSY, proc.under_way)


def layout() -> str:
    """What meson.build asks the file system for: if it changes, Meson must
    configure anew."""
    optional = ("tests/unit", "tests/guest", "guest-images")
    found = [name for name in optional if (ROOT / name / "meson.build").exists()]
    return "\n".join([*found, *qtests(), *tool_tests(), ""])


def qtests() -> list[str]:
    """The names of our qtests."""
    return sorted(path.stem for prefix in ("x64k", "hwtlb") for path in
                  (ROOT / "tests/qtest").glob(f"{prefix}*-test.c"))


def qtest_benches() -> list[str]:
    """Measurements that are built as the qtests are."""
    return sorted(path.stem for path in
                  (ROOT / "tests/qtest").glob("x64k-*-bench.c"))


def tool_tests() -> list[str]:
    return sorted(path.name for path in (ROOT / "tests/tools").glob("test_*.py"))


def configure() -> None:
    wanted = layout()
    stamp = MESON / "x64k-layout"
    if (stamp.exists() and stamp.read_text() == wanted
            and (MESON / "build.ninja").exists()):
        return
    again = ["--reconfigure"] if (MESON / "build.ninja").exists() else []
    proc.logged([*meson.command(), "setup", *again, MESON, ROOT], "meson",
                "Configuring", env=meson.environment(), detail="")
    stamp.write_text(wanted)


def ninja(targets: list[str]) -> None:
    """Steps talk to the terminal; what ninja itself says goes to a log."""
    FAILURE.unlink(missing_ok=True)
    log = LOGS / "build.log"
    try:
        with log.open("wb") as file:
            status = proc.call(["ninja", "-C", MESON, *targets], stdout=file,
                               env=meson.environment()
                               | {"X64K_PID": str(os.getpid())})
    finally:
        base.clear()
        debian.clear()
    if status:
        if FAILURE.exists():
            raise ui.X64kError(FAILURE.read_text().strip())
        raise proc.failure("the build", log)


def owner(path: Path) -> str:
    try:
        return path.owner()
    except (KeyError, OSError):
        return "another user"


def use_as_it_is(groups: tuple[str, ...]) -> None:
    """Of a checkout that we may only read."""
    # Its owner may be building right now.
    locks.wait(LOCK, BUSY, proc.under_way)
    if fresh.is_fresh(groups):
        return
    if "debian" in groups and not fresh.is_there(["debian"]):
        host.require("debian")
        debian.image()
    if not fresh.is_there(groups):
        raise ui.X64kError(
            f"{' and '.join(groups)} must be built first, and you cannot "
            f"write into {paths.ROOT}: let {owner(paths.ROOT)} run "
            f"./x64k build {' '.join(groups)} there, or make a clone of your "
            "own")
    ui.warn(f"{shown(BUILD)} may be older than its sources, and cannot be "
            "built anew since you cannot write there: using it as it is")


def build_what_is_not(args: argparse.Namespace,
                      groups: tuple[str, ...]) -> None:
    """With the lock."""
    if not QEMU.exists() and set(groups) - {"unit"}:
        sources.check_space()
        ui.info("the first build takes about an hour and 8 GB in "
                f"{shown(BUILD)}; downloads are kept in {CACHE}")
    LOGS.mkdir(parents=True, exist_ok=True)
    remember_sources(args)
    if getattr(args, "update", False):
        update()
    # The second time, if at all, there is nothing left to do: what it finds is
    # what was built, unless someone edits meanwhile.
    for _ in range(2):
        before = fresh.state(groups)
        configure()
        if targets := [name for group in groups for name in GROUPS[group]]:
            ninja(targets)
        if fresh.state(groups) == before:
            fresh.record(before)
            return


def ensure(args: argparse.Namespace, *groups: str, look: bool = False) -> None:
    """Installs, fetches and builds what GROUPS need, and is not there.  LOOK:
    let ninja look, even if nothing seems to have changed."""
    if os.environ.get("X64K_BUILT"):
        return      # under `x64k test`, which has built everything
    if getattr(args, "image", None) == "debian":
        groups += ("debian",)
    if paths.INSTALLED:
        if "debian" in groups:      # of packages, not of sources
            host.require("debian")
            debian.image()
        return
    # Wrong ones now, not after others have built.
    look |= bool(named_sources(args) or getattr(args, "update", False))
    if not look and fresh.is_fresh(groups):
        return
    if paths.READ_ONLY:
        if look:
            raise ui.X64kError(f"you cannot write into {paths.ROOT}, so "
                               "nothing can be built there: make a clone of "
                               "your own")
        use_as_it_is(groups)
        return
    host.ensure(getattr(args, "yes", False), groups)
    with lock():
        # Someone else may have built it meanwhile.
        if look or not fresh.is_fresh(groups):
            build_what_is_not(args, groups)


def update() -> None:
    sources.update()
    sources.forget_debs()
    debian.forget()
    base.forget()
    (MESON / "guest-images/guest-initramfs.stamp").unlink(missing_ok=True)
    for up in (trees.QEMU, trees.LINUX):
        if trees.named_source(up) is None:
            trees.ensure(up, fresh=True)


def add_parser(subparsers) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "build", help="build the emulator, the guest kernel and its programs",
        description="Installs what is missing, fetches the sources, applies "
        "the patches, and builds both emulators and the guest; what is up to "
        "date is left alone. The versions stay as they are until --update.")
    add_options(parser)
    parser.add_argument("--update", action="store_true",
                        help="look for newer point releases of the sources")
    parser.add_argument(
        "what", nargs="*", choices=[[], *GROUPS], metavar="WHAT",
        help="only this: " + ", ".join(GROUPS) + " (default: all)")
    return parser


def run(args: argparse.Namespace) -> int:
    ensure(args, *(args.what or ("qemu", "guest", "qtest", "stock", "unit")),
           look=True)
    ui.info("up to date")
    return 0
