# SPDX-License-Identifier: GPL-2.0-or-later
"""x64k modes: what each kind of 64 KB page saves, pattern by pattern.

The matrix is x64k-modes-test's own, which prints it with --json."""

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from x64k import build, files, paths, plot, proc, report, ui

PLACE = paths.STATE / "modes"
TEST = paths.MODES_TEST

MODES = ("4k", "emulated", "coalesced", "contig", "native", "mixed", "2m")
# Column -> the counters that it sums; None: bytes of page tables.
COLUMNS: list[tuple[str, str | None]] = [
    ("L1 misses", r"l1(d-load|d-store|i)-miss"),
    ("L1 fills", r"l1[di]-fill-.*"),
    ("STLB misses", r"stlb-(load|store|fetch)-miss"),
    ("walks", r"walk-(completed|faulted|dirty|rights)"),
    ("entries read", r"walk-read-.*"),
    ("lines", r"walk-lines"),
    ("table bytes", None),
]

Case = dict[str, Any]


def measure(name: str) -> list[Case]:
    """Every case, as the test prints it: one a line."""
    paths.LOGS.mkdir(parents=True, exist_ok=True)
    log = paths.LOGS / f"modes-{os.getpid()}.log"
    with (ui.step(f"modes of {name}"), tempfile.TemporaryFile("w+") as out,
          log.open("w") as errors):
        status = proc.call([TEST, "--json", name], stdout=out, stderr=errors,
                           env=os.environ | {"QTEST_QEMU_BINARY":
                                             str(paths.QEMU)})
        out.seek(0)
        lines = out.readlines()
    if status:
        raise ui.X64kError("\n".join(proc.last_lines(log)) or
                           f"{TEST.name} failed", 2 if status == 2 else 125)
    log.unlink()
    return [json.loads(line) for line in lines if line.startswith("{")]


def value(case: Case, pattern: str | None) -> int | None:
    if pattern is None:
        return case["table_bytes"]
    return report.total(case["counters"], pattern)


def groups(cases: list[Case]) -> dict[tuple[str, int], list[Case]]:
    """The modes of each pattern and working set: patterns in the order of the
    test, working sets from small to large."""
    patterns = list(dict.fromkeys(case["pattern"] for case in cases))
    found: dict[tuple[str, int], list[Case]] = {}
    for case in sorted(cases, key=lambda case: (
            patterns.index(case["pattern"]), case["pages"],
            MODES.index(case["mode"]))):
        found.setdefault((case["pattern"], case["pages"]), []).append(case)
    return found


def cell(number: int | None, base: int | None, is_base: bool) -> str:
    if number is None:
        return "-"
    return f"{number:,}" + ("" if is_base
                            else f" ({report.ratio(number, base)})")


def table(cases: list[Case]) -> str:
    lines: list[str] = []
    for (pattern, pages), modes in groups(cases).items():
        base = next((c for c in modes if c["mode"] == "4k"), None)
        rows = [["", *(title for title, _ in COLUMNS)]]
        for case in modes:
            rows.append([case["mode"], *(
                cell(value(case, counters),
                     base and value(base, counters), case is base)
                for _, counters in COLUMNS)])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines.append(f"{pattern}, {pages:,} pages ({pages * 4:,} KB)")
        lines += ["  " + "  ".join(
            text.ljust(width) if i == 0 else text.rjust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip() for row in rows]
        lines.append("")
    return "\n".join(lines)


def svg(cases: list[Case], name: str, pattern: str) -> str:
    """Walks against 4k, by working set, a line for each mode."""
    lines: dict[str, list[plot.Point]] = {}
    for (its, pages), modes in groups(cases).items():
        walks = {case["mode"]: value(case, COLUMNS[3][1]) for case in modes}
        for mode, number in walks.items():
            # An axis of logarithms has no 0.
            if its == pattern and number and walks.get("4k"):
                ratio = number / walks["4k"]
                lines.setdefault(mode, []).append(
                    plot.Point(pages * 4, ratio, ratio, ratio))
    return plot.log_log(f"page walks, against 4k: {pattern}, {name}",
                        "working set, KB", "ratio to 4k", lines)


def add_parser(subparsers) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "modes", help="what each kind of 64 KB page saves, without Linux",
        description="Runs patterns of accesses in a guest of its own, on "
        "memory that is mapped by 4 KB pages, emulated, coalesced, "
        "contiguous, native and 2 MB pages, and prints what was counted, with "
        "the ratio to 4k. A pattern touches all pages of its working set, or, "
        "as PATTERN-by-64k, one page in each 64 KB. build/modes gets all "
        "counts, as JSON, and plots.")
    parser.add_argument("--tlb", default="skylake", metavar="GEOMETRY",
                        help="a preset of `x64k tlb list` (default: skylake); "
                        "or fifo, lru, random, tree-plru or nru: small TLBs "
                        "of that policy")
    parser.add_argument("--pattern", metavar="P,...",
                        help="only these patterns")
    build.add_options(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    build.ensure(args, "qemu", "qtest")
    cases = measure(args.tlb)
    known = list(dict.fromkeys(case["pattern"] for case in cases))
    wanted = args.pattern.split(",") if args.pattern else known
    if unknown := [name for name in wanted if name not in known]:
        raise ui.X64kError(f"--pattern: there is no {', '.join(unknown)}; "
                           f"there are: {', '.join(known)}", 2)
    cases = [case for case in cases if case["pattern"] in wanted]
    print(f"TLB model {args.tlb}; in brackets the ratio to 4k\n")
    print(table(cases), end="")
    PLACE.mkdir(parents=True, exist_ok=True)
    files.write_json(PLACE / f"{args.tlb}.json",
                       {"tlb": args.tlb, "cases": cases})
    for pattern in wanted:
        path = Path(PLACE, f"{args.tlb}-{pattern}.svg")
        files.write_text(path, svg(cases, args.tlb, pattern))
    print(f"all counts, and plots: {paths.shown(PLACE)}")
    return 0
