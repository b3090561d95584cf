# SPDX-License-Identifier: GPL-2.0-or-later
"""x64k setup: the Debian packages that the build needs."""

import argparse
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from x64k import ui

# Package -> why.  To need another one, add a line.
PACKAGES = {
    "bc": "Linux build",
    "binutils": "linker",
    "bison": "QEMU, Linux and glibc build",
    "ca-certificates": "https mirrors",
    "ccache": "fast rebuilds",
    "cpio": "guest images",
    "debian-archive-keyring": "verifies what is downloaded",
    "dpkg-dev": "unpacks QEMU with Debian's patches",
    "flex": "QEMU and Linux build",
    "gawk": "glibc build",
    "gcc": "compiler",
    "git": "patch queues",
    "ipxe-qemu": "firmware of network cards",
    "libc6-dev": "compiler",
    "libelf-dev": "Linux build (objtool)",
    "libfdt-dev": "QEMU library",
    "libglib2.0-dev": "QEMU library",
    "libpixman-1-dev": "QEMU library",
    "libssl-dev": "Linux build",
    "make": "Linux build",
    "ninja-build": "QEMU build",
    "patch": "Debian's QEMU patches",
    "perl": "Linux build, style checks of patches",
    "pkg-config": "finds libraries",
    "python3-venv": "QEMU build",
    "qemu-system-data": "firmware: PVH and linuxboot option ROMs",
    "seabios": "firmware: the BIOS",
    "tcl": "SQLite build",
    "util-linux": "setpriv",
    "xz-utils": "unpacks sources",
    "zlib1g-dev": "QEMU library",
}
# What only some groups of `x64k build`, or verbs, need.
MORE = {
    "debian": {
        "e2fsprogs": "tests, of an image with ext4",
        "erofs-utils": "file system of the Debian image",
        "mmdebstrap": "installs the Debian image's packages",
        "uidmap": "owners of the image's files, if made by a user",
    },
    "debian13": {
        "mmdebstrap": "makes a machine to test on",
        "uidmap": "owners of its files, if made by a user",
    },
    "fuzzer": {
        "clang": "compiler with a fuzzer",
        "libclang-rt-dev": "sanitizers and fuzzer of clang",
        "llvm": "names in the reports of sanitizers",
    },
    "report": {
        "python3-matplotlib": "charts of the report",
    },
    "selftests": {
        "libcap-dev": "Linux's own tests",
        "libnuma-dev": "Linux's own tests",
        "liburing-dev": "Linux's own tests",
        "xfsprogs": "a disk for them",
    },
    "slurm": {
        "munge": "credentials of Slurm",
        "slurm-wlm": "job scheduler, for its test",
    },
}

LOCK_PATIENCE_S = 300       # a fresh machine may be updating itself
UPDATES = Path("/var/lib/dpkg/updates")     # what dpkg has begun
APT_ENV = {"DEBIAN_FRONTEND": "noninteractive"}


def wanted(groups: Iterable[str]) -> dict[str, str]:
    """Package -> why, of what GROUPS need."""
    return PACKAGES | {name: why for group in groups
                       for name, why in MORE.get(group, {}).items()}


def missing(groups: Iterable[str] = ()) -> list[str]:
    packages = wanted(groups)
    if not shutil.which("dpkg-query"):
        if all(map(shutil.which, ("gcc", "ninja", "git", "pkg-config"))):
            return []       # someone has provided for another distribution
        raise ui.X64kError(
            "this is not a Debian machine. Install the equivalents of\n  "
            + " ".join(packages) + "\n"
            "and name the sources by --qemu-source and --linux-source "
            "(docs/building.md)")
    # Provides: as pkgconf does for pkg-config, counts as installed.
    listing = subprocess.run(
        ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package} ${Provides}\n"],
        capture_output=True, text=True, check=True).stdout
    present = {word.strip(",") for line in listing.splitlines()
               if line.startswith("installed ") for word in line.split()[1:]}
    return [name for name in packages if name not in present]


def installed(groups: Iterable[str]) -> str:
    """The versions of what GROUPS need."""
    if not shutil.which("dpkg-query"):
        return ""
    return subprocess.run(
        ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package} ${Version}\n",
         *wanted(groups)], capture_output=True, text=True).stdout


def require(group: str) -> None:
    """For an installed x64k, which installs nothing by itself."""
    if names := [name for name in missing([group]) if name in MORE[group]]:
        raise ui.X64kError("this needs packages that are not installed:\n  "
                           f"sudo apt-get install {' '.join(names)}")


def apt_get(*args: str) -> int:
    """Something that may be interrupted, and then ends by itself."""
    # In our own process group: Ctrl-C is for apt, too, and sudo may have to
    # ask for a password.
    child = subprocess.Popen(apt_command(args), stdout=2)
    try:
        return child.wait()
    except KeyboardInterrupt as stop:
        if stop.args:       # it was not Ctrl-C, so that we alone were told
            with suppress(PermissionError):     # it is root's
                child.terminate()
        child.wait()
        raise


def install(names: list[str]) -> int:
    """Downloads, which may be interrupted, and then has dpkg install, which
    must not: what is half installed keeps apt from working at all."""
    wanted = ["install", "-y", "--no-install-recommends",
              # Nobody is asked, so that keep what the user has changed.
              "-o", "DPkg::Options::=--force-confdef",
              "-o", "DPkg::Options::=--force-confold", *names]
    if status := apt_get(*wanted, "--download-only"):
        return status
    command = apt_command(wanted)
    # Away from the terminal, Ctrl-C does not reach it, but neither can sudo
    # ask for a password there.  It was asked for above: if it has forgotten,
    # all stay together.
    apart: dict[str, object] = {"stdin": subprocess.DEVNULL}
    if command[0] != "sudo":
        apart["start_new_session"] = True
    elif subprocess.run(["sudo", "-n", "true"], capture_output=True,
                        stdin=subprocess.DEVNULL).returncode:
        apart = {}
    else:
        command.insert(1, "-n")
        apart["process_group"] = 0      # sudo remembers terminals
    stops: list[int] = []

    def wait_for_it(signum: int, _frame: object) -> None:
        stops.append(signum)
        os.write(2, b"\nx64k: interrupted; waiting for apt-get, since packages "
                 b"that are installed by half would be broken\n")

    signals = {signum: signal.signal(signum, wait_for_it) for signum in
               (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        status = subprocess.Popen([*command, "-o", "Dpkg::Use-Pty=0"],
                                  stdout=2, **apart).wait()
    finally:
        for signum, handler in signals.items():
            signal.signal(signum, handler)
    if stops:
        raise KeyboardInterrupt(stops[0])
    return status


def apt_command(args: Iterable[str]) -> list[str]:
    return [*([] if os.geteuid() == 0 else ["sudo"]), "env",
            *(f"{name}={value}" for name, value in APT_ENV.items()),
            "apt-get", "-q", "-o", f"DPkg::Lock::Timeout={LOCK_PATIENCE_S}",
            *args]


def check_dpkg() -> None:
    """Complains if packages are installed by half: apt can do nothing then,
    and does not always say why."""
    found = subprocess.run(["dpkg", "--audit"], stdin=subprocess.DEVNULL,
                           capture_output=True, text=True).stdout.strip()
    interrupted = UPDATES.is_dir() and any(
        path.name.isdigit() for path in UPDATES.iterdir())
    if not (found or interrupted):
        return
    sudo = "" if os.geteuid() == 0 else "sudo "
    raise ui.X64kError(
        "packages of this machine are installed by half, so that apt cannot "
        "install others:\n"
        + "".join(f"  | {line}\n" for line in
                  (found or "dpkg was interrupted").splitlines()[:20])
        + f"repair them, then run the same command again:\n"
        f"  {sudo}dpkg --configure -a\n  {sudo}apt-get -f install")


def uninstallable(names: list[str]) -> list[str]:
    """Those that apt, with the lists that it has now, could not install."""
    def known(*names: str) -> bool:
        return not subprocess.run(
            ["apt-get", "install", "--simulate", "-qq",
             "--no-install-recommends", *names],
            stdin=subprocess.DEVNULL, capture_output=True).returncode
    if known(*names):
        return []
    return [name for name in names if not known(name)]


def ensure(yes: bool, groups: Iterable[str] = ()) -> None:
    """Installs what is missing; says nothing if all is there."""
    if not (names := missing(groups)):
        return
    ui.info("needs these packages, which are not installed:")
    for name in names:
        print(f"    {name:24}{wanted(groups)[name]}", file=sys.stderr)
    command = ("sudo apt-get install --no-install-recommends "
               + " ".join(names))
    if os.geteuid() != 0:
        if not shutil.which("sudo"):
            raise ui.X64kError("there is no sudo here; as root, run:\n  "
                               + command.removeprefix("sudo "))
        if not yes:
            if not sys.stdin.isatty():
                raise ui.X64kError("not installed, since nobody is there to "
                                   f"ask; give --yes, or run:\n  {command}")
            sys.stderr.write("Install them with sudo? [y/N] ")
            sys.stderr.flush()
            if not sys.stdin.readline().strip().lower().startswith("y"):
                raise ui.X64kError(f"not installed; to do so, run:\n  {command}")
    # The lists may be absent (a fresh image) or too old for the mirror.
    if uninstallable(names) or install(names):
        check_dpkg()
        if apt_get("update"):
            raise ui.X64kError("apt-get update failed; is there a network, "
                               "and a mirror in /etc/apt?")
        if unknown := uninstallable(names):
            raise ui.X64kError(
                f"apt cannot install: {' '.join(unknown)}\n"
                "Look at `apt-get install --simulate` of these; Debian 12 "
                "and 13 have them in `main`. Another distribution: install "
                "the equivalents and give --qemu-source and --linux-source "
                "(docs/building.md)")
        if install(names):
            check_dpkg()
            raise ui.X64kError("apt-get could not install the packages "
                               f"(see above); to try by hand:\n  {command}")
    if left := missing(groups):
        raise ui.X64kError(f"still not installed: {' '.join(left)}")


def add_parser(subparsers) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "setup", help="install the Debian packages that the build needs",
        description="Installs the Debian packages that the build needs, and "
        "nothing if they are all there. Root installs straight away; a user "
        "is asked before sudo is used. The other verbs do this by themselves.")
    parser.add_argument("--yes", action="store_true",
                        help="do not ask before using sudo")
    return parser


def run(args: argparse.Namespace) -> int:
    ensure(args.yes)
    ui.info("all packages are installed")
    return 0
