# SPDX-License-Identifier: GPL-2.0-or-later
"""x64k report: the report of a matrix, made again from its cells."""

import argparse
from pathlib import Path

from x64k import matrix, paths, ui
from x64k.matrix import Cell

SHOWN_FAILURES = 10


def make(results: Path, cells: list[Cell] | None = None) -> int:
    """Writes the report of all that RESULTS has; 1 if one of CELLS, by default
    of all, failed."""
    records = matrix.current(matrix.load_cells(results))
    if not records:
        raise ui.X64kError(f"{paths.shown(results)} has no cells; x64k "
                           f"compare --results {paths.shown(results)} makes "
                           "them", 2)
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
    return parser


def run(args: argparse.Namespace) -> int:
    return make(args.results.absolute())
