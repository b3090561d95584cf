# SPDX-License-Identifier: GPL-2.0-or-later
"""Cells of a matrix as a Slurm job array: one task, one cell.

    RESULTS/slurm/NAME/sweep.sh     what sbatch is given; NAME names the job
    RESULTS/slurm/NAME/N.json       the cell of task N
    RESULTS/slurm/NAME/N.log        what task N says

The folder is written before the job is there, and only read afterwards; that
a cell has run, its own file tells."""

import json
import os
import re
import shlex
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from x64k import paths, proc, stdin, ui
from x64k.matrix import Cell

OVERHEAD_MB = 1536      # of the emulator, which translates into 1 GB at most
MAX_ARRAY = 1001        # Slurm's own default: index 1000 is the last


@dataclass(frozen=True)
class Options:
    """sbatch's own, where the user has said something."""
    partition: str | None = None
    time: str | None = None
    array_limit: int | None = None


def check() -> None:
    for program in ("sbatch", "squeue", "scontrol"):
        if not shutil.which(program):
            raise ui.X64kError(f"--slurm: there is no {program} here; on a "
                               "machine that may submit, Debian's package "
                               "slurm-client has it")


def quoted(value: str | Path) -> str:
    """A value of #SBATCH, where % begins a field."""
    return '"' + str(value).replace("%", "%%") + '"'


def script(folder: Path, results: Path, cells: list[Cell],
           options: Options) -> str:
    limit = f"%{options.array_limit}" if options.array_limit else ""
    asked = [f"--job-name={folder.name}",
             f"--array=0-{len(cells) - 1}{limit}",
             f"--output={quoted(f'{folder}/')}%a.log",
             f"--cpus-per-task={max(cell.cpus for cell in cells)}",
             "--mem={}M".format(OVERHEAD_MB + max(stdin.megabytes(cell.mem)
                                                  for cell in cells))]
    if options.partition:
        asked.append(f"--partition={options.partition}")
    if options.time:
        asked.append(f"--time={options.time}")
    lines = "\n".join(f"#SBATCH {option}" for option in asked)
    return f"""\
#!/bin/sh
{lines}
# Environment variables of sbatch (SBATCH_ACCOUNT ...) go before these options.

exec {shlex.quote(str(paths.ROOT / 'x64k'))} cell {shlex.quote(str(results))} \\
    <{shlex.quote(f'{folder}/')}"$SLURM_ARRAY_TASK_ID".json
"""


def max_array() -> int:
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)",
                      proc.output(["scontrol", "show", "config"]),
                      re.MULTILINE)
    return int(found[1]) if found else MAX_ARRAY


def queued(results: Path) -> set[str]:
    """The ids of cells that wait or run in an array of ours."""
    listing = proc.output(["squeue", "--me", "--noheader", "--array",
                           "--format=%j %K"])
    found = set()
    for line in listing.splitlines():
        name, _, number = line.strip().rpartition(" ")
        task = results / "slurm" / name / f"{number}.json"
        if number.isdigit() and task.exists():
            found.add(Cell.from_json(json.loads(task.read_text())).id)
    return found


def new_folder(results: Path) -> Path:
    return (results / "slurm" /
            f"x64k-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}")


def submit(folder: Path, results: Path, cells: list[Cell],
           options: Options, wait: bool) -> subprocess.Popen:
    """sbatch, which prints the number of the job, and ends then or, with
    WAIT, when the job has ended."""
    folder.mkdir(parents=True)
    for number, cell in enumerate(cells):
        (folder / f"{number}.json").write_text(
            json.dumps(cell.to_json(), indent=2) + "\n")
    path = folder / "sweep.sh"
    path.write_text(script(folder, results, cells, options))
    return proc.popen(["sbatch", "--parsable", *(["--wait"] if wait else []),
                       path], stdout=subprocess.PIPE, text=True)
