# SPDX-License-Identifier: GPL-2.0-or-later
"""x64k report: the report of a matrix, made again from its cells."""

import argparse
import importlib.util
from pathlib import Path

from x64k import cost, figures, host, html_report, matrix, paths, ui
from x64k.files import write_text
from x64k.matrix import Cell

SHOWN_FAILURES = 10
# Of the report's first table: a terminal is narrower.
COLUMNS = ["workload", "TLB", "mode", "L1 dTLB", "STLB", "entries", "lines",
           "faults", "tables", "RSS", "overhead", "in all"]
LEGEND = ("overhead: what misses and faults cost, in estimated cycles; in all: "
          "with the\ninstructions, which are known with --icount")


def summary(rows: list[list[str]]) -> str:
    """The ratios to mode 4k, for a terminal."""
    rows = [COLUMNS, *rows[1:]]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(
        cell.ljust(width) if i < 3 else cell.rjust(width) for i, (cell, width)
        in enumerate(zip(cells, widths, strict=True))).rstrip()
        for cells in rows)


def make(results: Path, cells: list[Cell] | None = None,
         costs: Path = cost.FILE) -> int:
    """Writes the report of all that RESULTS has; 1 if one of CELLS, by default
    of all, failed."""
    records = matrix.current(matrix.load_cells(results))
    if not records:
        raise ui.X64kError(f"{paths.shown(results)} has no cells; x64k "
                           f"compare --results {paths.shown(results)} makes "
                           "them", 2)
    write_text(results / "report.csv", figures.long_form(records))
    model = cost.load(costs)
    write_text(results / "report.html", html_report.document(records, model))
    rows = html_report.short_rows(html_report.modelled(
        figures.groups(records)), model)
    if len(rows) > 1:
        print(f"\nratios to mode 4k\n\n{summary(rows)}\n\n{LEGEND}\n")
    print(f"{len(records)} cells: {paths.shown(results / 'report.html')}, "
          f"{paths.shown(results / 'report.csv')}")
    wanted = {cell.id for cell in cells} if cells is not None else {
        record["id"] for record in records}
    failed = [record for record in records
              if record["status"] == matrix.FAILED and record["id"] in wanted]
    for record in failed[:SHOWN_FAILURES]:
        log = results / "logs" / f"{record['id']}.log"
        ui.warn(f"{record['id']} failed: {record['error']}\n"
                f"  console log: {paths.shown(log)}")
    if failed:
        ui.info(f"{len(failed)} of {len(wanted)} cells failed; compare "
                "--retry runs them again")
    return 1 if failed else 0


def add_parser(subparsers) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "report", help="make the report of a matrix again",
        description="Writes DIR/report.html and DIR/report.csv from the cells "
        "that x64k compare --results DIR has run.",
        epilog="exit status: 0, or 1 if a cell had failed")
    parser.add_argument("results", metavar="DIR", type=Path)
    parser.add_argument("--costs", metavar="FILE", type=Path,
                        default=cost.FILE, help="what events cost, instead of "
                        "tools/x64k/costs.toml")
    parser.add_argument("--yes", action="store_true",
                        help="install matplotlib without asking")
    return parser


def run(args: argparse.Namespace) -> int:
    if not importlib.util.find_spec("matplotlib"):
        host.ensure(args.yes, ["report"])
    return make(args.results.absolute(), costs=args.costs)
