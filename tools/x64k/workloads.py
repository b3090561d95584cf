# SPDX-License-Identifier: GPL-2.0-or-later
"""x64k workloads: the programs that are measured, from one file.

A workload is one guest command: it prepares, counts a region of this name,
and checks its own result.  docs/workloads.md describes the file."""

import argparse
import os
import re
import textwrap
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from x64k import guest, paths, ui

FILE = paths.ROOT / "guest-images/workloads/workloads.toml"
OWN = "X64K_WORKLOADS"      # names a file with more of them
REGION = "workload"
IMAGES = ("mini", "debian")


@dataclass(frozen=True)
class Workload:
    name: str
    stands_for: str
    image: str              # that it needs
    mem: str
    sizes: dict[str, str]   # name -> $size
    timeout: float          # s, of the default size
    default_size: str
    # Shell: what is done before, the one command that is counted, what must
    # hold after it, and what is done at the end, however it comes.
    setup: str
    count: str
    program: str            # instead of count: marks the region itself
    check: str
    stop: str
    source: Path            # the file

    def size(self, name: str | None = None) -> str:
        """The value of the size NAME, by default that of default_size."""
        name = name or self.default_size
        if name not in self.sizes:
            raise ui.X64kError(f"workload {self.name} has no size '{name}'; "
                               f"it has {', '.join(self.sizes)}", 2)
        return self.sizes[name]

    def script(self) -> str:
        """What the guest's shell runs; $1 is the size."""
        parts = ["set -eu", 'size=$1', "cd /tmp"]
        if self.stop:
            # In a function, so that it may have quotes of any kind.
            parts += [f"stop() {{\n{self.stop}\n}}", "trap stop EXIT"]
        parts.append(self.setup)
        parts.append(f"tlbstat -r {REGION} -o /dev/null -- {self.count}"
                     if self.count else self.program)
        parts.append(self.check)
        return "\n".join(part.strip() for part in parts if part.strip()) + "\n"

    def argv(self, size: str | None = None) -> list[bytes]:
        """The guest command of SIZE."""
        return [b"sh", b"-c", self.script().encode(),
                f"workload-{self.name}".encode(), self.size(size).encode()]


# The fields of the file, with what each must be.  Those with a default may be
# left out.
TEXT, NUMBER, TABLE = "a text", "a positive number", "a table of texts"
FIELDS: dict[str, str] = {
    "stands-for": TEXT, "image": TEXT, "mem": TEXT, "timeout": NUMBER,
    "sizes": TABLE, "default": TEXT, "setup": TEXT, "count": TEXT,
    "program": TEXT, "check": TEXT, "stop": TEXT,
}
DEFAULTS = {"default": "default", "timeout": 600, "setup": "", "count": "",
            "program": "", "check": "", "stop": ""}


def fits(value: Any, kind: str) -> bool:
    if kind == NUMBER:
        return (isinstance(value, (int, float)) and value > 0
                and not isinstance(value, bool))
    if kind == TABLE:
        return (isinstance(value, dict) and bool(value)
                and all(isinstance(text, str) for text in value.values()))
    return isinstance(value, str)


def make(name: str, table: Any, path: Path) -> Workload:
    """The workload NAME of the file PATH, if all of its fields are right."""
    def fail(what: str) -> ui.X64kError:
        return ui.X64kError(f"{paths.shown(path)}: workload {name}: {what}", 2)

    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
        raise fail("a name is of the characters a-z, 0-9 and -")
    if not isinstance(table, dict):
        raise fail(f"must be a table: [{name}]")
    for key in table:
        if key not in FIELDS:
            raise fail(f"unknown field '{key}'; there are "
                       + ", ".join(FIELDS))
    field = DEFAULTS | table
    for key, kind in FIELDS.items():
        if key not in field:
            raise fail(f"field '{key}' is missing: {kind}")
        if not fits(field[key], kind):
            raise fail(f"field '{key}' must be {kind}, not {field[key]!r}")

    if field["image"] not in IMAGES:
        raise fail(f"field 'image' must be one of {', '.join(IMAGES)}, not "
                   f"'{field['image']}'")
    try:
        guest.valid_mem(field["mem"])
    except argparse.ArgumentTypeError as error:
        raise fail(f"field 'mem': {error}") from error
    for size, value in field["sizes"].items():
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", size) or not value.strip():
            raise fail(f"field 'sizes': '{size}' = '{value}' is not a name "
                       "of a-z, 0-9 and - with a value")
    if field["default"] not in field["sizes"]:
        raise fail(f"field 'default': there is no size '{field['default']}' "
                   "in 'sizes'")
    if bool(field["count"].strip()) == bool(field["program"].strip()):
        raise fail("needs either 'count', a command that is counted, or "
                   "'program', one that marks the region itself")
    if "\n" in field["count"].strip():
        raise fail("field 'count' must be a single command, in one line")
    return Workload(
        name=name, stands_for=field["stands-for"], image=field["image"],
        mem=field["mem"], sizes=dict(field["sizes"]),
        timeout=float(field["timeout"]), default_size=field["default"],
        setup=field["setup"], count=field["count"].strip(),
        program=field["program"], check=field["check"], stop=field["stop"],
        source=path)


def read(path: Path) -> dict[str, Workload]:
    """The workloads of one file."""
    try:
        tables = tomllib.loads(path.read_text())
    except OSError as error:
        raise ui.X64kError(f"cannot read the workloads of {path}: "
                           f"{error.strerror}", 2) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ui.X64kError(f"{paths.shown(path)}: {error}", 2) from error
    return {name: make(name, table, path) for name, table in tables.items()}


def load() -> dict[str, Workload]:
    """Ours, and those of the file that X64K_WORKLOADS names."""
    known = read(FILE)
    if named := os.environ.get(OWN):
        for name, workload in read(Path(named).absolute()).items():
            if name in known:
                raise ui.X64kError(
                    f"{paths.shown(workload.source)}: workload {name}: there "
                    "is one of this name already; please choose another", 2)
            known[name] = workload
    return known


def find(name: str) -> Workload:
    known = load()
    if name not in known:
        raise ui.X64kError(f"there is no workload '{name}'; there are "
                           + ", ".join(known), 2)
    return known[name]


def listing(known: dict[str, Workload]) -> str:
    rows = [["workload", "image", "mem", "sizes", "stands for"]]
    for one in known.values():
        rows.append([one.name, one.image, one.mem, " ".join(one.sizes),
                     one.stands_for])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "".join("  ".join(cell.ljust(width) for cell, width in
                             zip(row, widths, strict=True)).rstrip() + "\n"
                   for row in rows)


def description(one: Workload) -> str:
    sizes = ", ".join(f"{name} ({value})"
                      for name, value in one.sizes.items())
    return (f"{one.name}: {one.stands_for}\n\n"
            f"image    {one.image}\n"
            f"memory   {one.mem}\n"
            f"sizes    {sizes}; by default {one.default_size}\n"
            f"timeout  {one.timeout:g} s\n"
            f"file     {paths.shown(one.source)}\n\n"
            "The guest's shell runs, with the size as $1:\n\n"
            + textwrap.indent(one.script(), "    "))


def add_parser(subparsers) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "workloads", help="the programs that can be measured",
        usage="x64k workloads [show NAME]",
        description="Without arguments: one line for each workload. show "
        f"NAME: its sizes, and what is run. {OWN}=FILE in the environment "
        "adds those of a file of your own (docs/workloads.md).")
    parser.add_argument("action", nargs="?", choices=("list", "show"),
                        default="list", metavar="ACTION",
                        help="list, the default, or show")
    parser.add_argument("name", nargs="?", metavar="NAME",
                        help="of show: which")
    return parser


def run(args: argparse.Namespace) -> int:
    if args.action == "show" and not args.name:
        raise ui.X64kError("workloads show needs a name: x64k workloads show "
                           "NAME; x64k workloads lists them", 2)
    if args.action == "list" and args.name:
        raise ui.X64kError("workloads list takes no name", 2)
    if args.action == "list":
        print(listing(load()), end="")
    else:
        print(description(find(args.name)), end="")
    return 0
