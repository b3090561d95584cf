# SPDX-License-Identifier: GPL-2.0-or-later
"""x64k cell: one cell of a matrix; what compare starts for each, and what
jobs on other machines run."""

import argparse
import json
import sys
from pathlib import Path

from x64k import matrix, ui


def add_parser(subparsers) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "cell", help="run one cell of a matrix (compare does it for you)",
        description="Reads a cell as JSON from standard input, runs it, and "
        "writes RESULTS/cells/ID.json; does nothing if that is there. "
        "Nothing is built first.",
        epilog="exit status: 0 also if the cell failed: its file says so")
    parser.add_argument("results", type=Path, metavar="RESULTS",
                        help="folder of the results")
    return parser


def run(args: argparse.Namespace) -> int:
    try:
        cell = matrix.Cell.from_json(json.load(sys.stdin))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ui.X64kError(f"standard input has no cell: {error}", 2) from error
    matrix.run_cell(cell, args.results)
    return 0
