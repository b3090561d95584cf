#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds the mini guest's initramfs from its base (guest-images/base), Debian
packages and our programs.

Needs no root and runs nothing of the guest; equal inputs give equal bytes."""

import argparse
import fnmatch
import io
import subprocess
import sys
import tarfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tools"))

from x64k import cpio, sources, ui  # noqa: E402


def wanted(path: Path) -> dict[str, list[str]]:
    """Package -> patterns of the files to take, from the package list."""
    lines = (line.split() for line in path.read_text().splitlines()
             if line.strip() and not line.startswith("#"))
    return {package: patterns for package, *patterns in lines}


def unpack(package: str, deb: Path, patterns: list[str],
           archive: cpio.Archive) -> None:
    data = subprocess.run(["dpkg-deb", "--fsys-tarfile", deb], check=True,
                          stdout=subprocess.PIPE).stdout
    unmatched = set(patterns)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in sorted(tar, key=lambda m: m.name):
            name = member.name.removeprefix("./")
            hits = {p for p in patterns if fnmatch.fnmatchcase(name, p)}
            unmatched -= hits
            if hits and member.issym():
                archive.link(name, member.linkname)
            elif hits and member.isfile():
                content = tar.extractfile(member).read()
                archive.file(name, content, bool(member.mode & 0o100))
    if unmatched:
        raise ui.X64kError(f"{deb.name} of package {package} has no "
                           f"{' '.join(sorted(unmatched))}")


def build(out: Path, base: Path, programs: list[Path]) -> None:
    patterns = wanted(HERE / "packages")
    debs = sources.fetch_debs(list(patterns))
    image = io.BytesIO()
    archive = cpio.Archive(image)

    # As Debian lays it out: everything is in usr.
    for name in ("lib", "lib64", "sbin"):
        archive.link(name, f"usr/{name}" if name != "sbin" else "usr/bin")
    archive.directory("bin")    # busybox puts its applets here
    archive.link("bin/busybox", "../usr/bin/busybox")
    archive.device("dev/console", 5, 1)
    for file in sorted(path for path in base.rglob("*") if path.is_file()):
        archive.file(str(file.relative_to(base)), file.read_bytes(),
                     bool(file.stat().st_mode & 0o100))
    for package, files in patterns.items():
        unpack(package, debs[package], files, archive)
    archive.file("init", (HERE / "init").read_bytes(), True)
    for data in sorted((HERE / "share").iterdir()):
        archive.file(f"usr/share/x64k/{data.name}", data.read_bytes())
    for program in sorted(programs, key=lambda p: p.name):
        folder = "lib" if program.suffix == ".so" else "bin"
        archive.file(f"usr/local/{folder}/{program.name}",
                     program.read_bytes(), True)
    archive.finish()

    new = out.with_name(out.name + ".new")
    new.write_bytes(image.getvalue())
    new.replace(out)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("base", type=Path,
                        help="folder of files, laid out as in the guest")
    parser.add_argument("programs", type=Path, nargs="*",
                        help="executables for /usr/local/bin, and libraries "
                        "(*.so) for /usr/local/lib")
    args = parser.parse_args()
    try:
        build(args.out, args.base, args.programs)
    except ui.X64kError as error:
        print(f"build.py: {error}", file=sys.stderr)
        return error.status
    return 0


if __name__ == "__main__":
    sys.exit(main())
