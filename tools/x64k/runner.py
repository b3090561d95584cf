# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs the cells of a matrix on this machine, several at a time if asked:
each in a process of its own, `x64k cell`."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from statistics import mean

from x64k import matrix, paths, proc, ui
from x64k.matrix import Cell, Record

PAUSE_S = 0.05


def start(cell: Cell, results: Path) -> subprocess.Popen:
    child = proc.popen([sys.executable, "-m", "x64k", "cell", results],
                       stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                       env=os.environ | {"PYTHONPATH": str(
                           paths.ROOT / "tools")})
    with child.stdin as pipe:
        pipe.write(json.dumps(cell.to_json()).encode())
    return child


class Progress:
    """How many cells there are, and how long the others may take: as long as
    those of the same workload and size took."""

    def __init__(self, cells: list[Cell], jobs: int, known: list[Record]):
        self.left = {cell.id: (cell.workload, cell.size) for cell in cells}
        self.total, self.jobs, self.failed = len(cells), jobs, 0
        self.seconds: dict[tuple[str, str], list[float]] = {}
        for record in known:
            self.learn(record)

    def learn(self, record: Record) -> None:
        cell = record["cell"]
        self.seconds.setdefault((cell["workload"], cell["size"]), []).append(
            record["host_s"])

    def done(self, record: Record) -> None:
        self.left.pop(record["id"], None)
        self.failed += record["status"] == matrix.FAILED
        self.learn(record)

    def seconds_left(self) -> float | None:
        if not self.seconds:
            return None
        whole = mean(one for some in self.seconds.values() for one in some)
        return sum(mean(self.seconds.get(name) or [whole])
                   for name in self.left.values()) / self.jobs

    def __str__(self) -> str:
        words = [f"{self.total - len(self.left)} of {self.total} cells"]
        if self.failed:
            words.append(f"{self.failed} failed")
        if (left := self.seconds_left()) and self.left:
            words.append(f"about {ui.duration(left)} left")
        return ", ".join(words) + ";"


def stop_all(children: list[subprocess.Popen]) -> None:
    # A second Ctrl-C must not leave what the first began to end.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    for child in children:
        proc.stop(child)
    signal.signal(signal.SIGINT, before)


def run_all(cells: list[Cell], results: Path, jobs: int,
            start: Callable[[Cell, Path], subprocess.Popen] = start) -> None:
    """Runs those of CELLS that have not run."""
    todo = deque(cell for cell in cells
                 if not matrix.cell_path(results, cell.id).exists())
    if kept := len(cells) - len(todo):
        ui.info(f"{kept} of {len(cells)} cells have run already")
    if not todo:
        return
    progress = Progress(list(todo), jobs, matrix.load_cells(results))
    running: dict[subprocess.Popen, Cell] = {}
    with ui.step("running") as step:
        step.detail = lambda: str(progress)
        try:
            while todo or running:
                while todo and len(running) < jobs:
                    cell = todo.popleft()
                    running[start(cell, results)] = cell
                time.sleep(PAUSE_S)
                for child in [one for one in running
                              if one.poll() is not None]:
                    cell = running.pop(child)
                    path = matrix.cell_path(results, cell.id)
                    if child.returncode or not path.exists():
                        raise ui.X64kError(
                            f"{cell.id} could not be run (status "
                            f"{child.returncode}); once that is mended, the "
                            "same command continues from here")
                    progress.done(matrix.load(path))
        finally:
            stop_all(list(running))
