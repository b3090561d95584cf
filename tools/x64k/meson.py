# SPDX-License-Identifier: GPL-2.0-or-later
"""x64k meson: Meson itself, and the environment that every build runs in.

QEMU 10 needs a newer Meson than Debian 12 has, so Debian 13's is unpacked
into the cache and run from there, in the same way on every machine."""

import argparse
import os
import shutil
import sys
from pathlib import Path

from x64k import build, proc, sources
from x64k.paths import CACHE, MESON, ROOT

PACKAGES = ("meson", "python3-pycotap")


def tools() -> Path | None:
    """The folder of Meson, unpacked; None where there is no apt, and Meson
    and pycotap are the system's."""
    if not shutil.which("apt-get"):
        return None
    return sources.unpacked(PACKAGES)


def command() -> list[str]:
    if not (place := tools()):
        return ["meson"]
    return [sys.executable, str(place / "usr/bin/meson")]


def environment() -> dict[str, str]:
    """Plain, so that what is built does not depend on who builds it."""
    kept = {name: value for name, value in os.environ.items()
            if name in ("HOME", "USER", "LOGNAME", "TERM", "TMPDIR", "LANG",
                        "XDG_CACHE_HOME")
            or name.startswith(("X64K_", "DEB_"))
            or name.lower().endswith("_proxy")}
    place = tools()
    modules = f":{place / 'usr/lib/python3/dist-packages'}" if place else ""
    return kept | {
        "PATH": "/usr/lib/ccache:/usr/lib64/ccache:"
                "/usr/bin:/bin:/usr/sbin:/sbin",
        "PYTHONPATH": f"{ROOT / 'tools'}{modules}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "CCACHE_DIR": str(CACHE / "ccache"),
        # Another checkout, at another path, compiles the same files.
        "CCACHE_BASEDIR": str(ROOT),
        "CCACHE_NOHASHDIR": "1",
    }


def add_parser(subparsers) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "meson", help="run meson on the build folder: x64k meson -- ARGS",
        usage="x64k meson -- ARGS...",
        description="Runs the private Meson, with the environment of the "
        "build, in build/meson: for example x64k meson -- introspect "
        "--targets, or x64k meson -- install --destdir FOLDER "
        "(docs/installing.md)")
    build.add_options(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    build.ensure(args, *(("install",) if args.rest[:1] == ["install"] else ()))
    return proc.call([*command(), *args.rest], cwd=MESON, env=environment(),
                     stdin=None)
