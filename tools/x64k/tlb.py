# SPDX-License-Identifier: GPL-2.0-or-later
"""x64k tlb: the TLBs that can be modelled, and where their figures come
from.  The emulator itself is asked: nothing here knows a preset."""

import argparse
import copy
import json
import textwrap
from collections.abc import Iterator
from typing import Any

from x64k import build, qmp, ui

LEVELS = {"l1d": "L1 dTLB", "l1i": "L1 iTLB", "stlb": "STLB"}
PWCS = {"pml4e": "PML4E cache", "pdpte": "PDPTE cache", "pde": "PDE cache"}

Config = dict[str, Any]


def presets() -> list[Config]:
    return qmp.ask("query-hwtlb-presets")


def preset(name: str) -> Config:
    known = presets()
    for config in known:
        if config["name"] == name:
            return config
    raise ui.X64kError(f"there is no preset '{name}'; there are: "
                       + ", ".join(config["name"] for config in known), 2)


def with_l1_policy(config: Config, policy: str) -> Config:
    """A copy of CONFIG whose L1 arrays all have POLICY."""
    changed = copy.deepcopy(config)
    changed["name"] = f"{config.get('name', 'file')}-{policy}"
    for level in ("l1d", "l1i"):
        for array in changed[level]["arrays"]:
            array["policy"] = policy
    return changed


def arrays(config: Config) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every array with its title, paging-structure caches last."""
    for level, title in LEVELS.items():
        for array in config[level]["arrays"]:
            yield title, array
    for name, title in PWCS.items():
        if array := config.get("pwc", {}).get(name):
            yield title, array


def shape(array: dict[str, Any]) -> str:
    return f"{array['sets']} x {array['ways']}"


def columns(rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width
                      in zip(row, widths, strict=True)).rstrip()
            for row in rows]


def listing(configs: list[Config]) -> str:
    rows = [["preset", *LEVELS.values(), "coalesces"]]
    for config in configs:
        rows.append([config["name"], *(
            " + ".join(shape(array) for array in config[level]["arrays"])
            for level in LEVELS), str(config.get("coalesce", 1))])
    return "\n".join(columns(rows)) + "\n"


def description(config: Config) -> str:
    """A table of the arrays, under each what its figures come from."""
    rows = [["", "sets x ways", "entries", "policy", "hash", "sizes"]]
    sources = [""]
    for title, array in arrays(config):
        rows.append([title, shape(array), str(array["sets"] * array["ways"]),
                     array["policy"], array.get("hash", "modulo"),
                     " ".join(array.get("classes", []))])
        sources.append(array.get("source", "no source given"))
    coalesce = config.get("coalesce", 1)
    lines = [*textwrap.wrap(f"{config['name']}: {config['about']}", 79),
             f"coalesces up to {coalesce} pages of 4 KB without a hint"
             if coalesce > 1 else "coalesces nothing without a hint", ""]
    for row, source in zip(columns(rows), sources, strict=True):
        lines += [row, *textwrap.wrap(source, 75, initial_indent="    ",
                                      subsequent_indent="    ")]
    return "\n".join(lines) + "\n"


def add_parser(subparsers) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "tlb", help="the TLBs that can be modelled",
        usage="x64k tlb list | x64k tlb show PRESET [--json]",
        description="list: one line for each preset. show PRESET: its arrays, "
        "and of each figure the source, or the word that it is assumed; with "
        "--json, a file for --tlb to start your own from.")
    parser.add_argument("action", choices=("list", "show"), metavar="ACTION",
                        help="list or show")
    parser.add_argument("preset", nargs="?", metavar="PRESET",
                        help="of show: which")
    parser.add_argument("--json", action="store_true",
                        help="of show: a configuration file")
    build.add_options(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    if args.action == "show" and not args.preset:
        raise ui.X64kError("tlb show needs a preset: x64k tlb show PRESET; "
                           "x64k tlb list names them", 2)
    if args.action == "list" and (args.preset or args.json):
        raise ui.X64kError("tlb list takes no preset and no --json", 2)
    build.ensure(args, "qemu")
    if args.action == "list":
        print(listing(presets()), end="")
    elif args.json:
        print(json.dumps(preset(args.preset), indent=2))
    else:
        print(description(preset(args.preset)), end="")
    return 0
