# SPDX-License-Identifier: GPL-2.0-or-later
"""A matrix of measurements: which cells there are, and one of them run.

A cell is one guest that runs one command.  Its id has a digest of all that
decides what is counted: the command, the emulator's command line, and the
contents of the files on it.  So a finished cell need never run again, and one
whose emulator, kernel or image has changed since is another cell.

    RESULTS/cells/ID.json   what was counted, or why not
    RESULTS/logs/ID.log     the guest's console"""

import argparse
import dataclasses
import functools
import hashlib
import itertools
import json
import os
import platform
import re
import resource
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from x64k import VERSION, attach, disk, guest, locks, paths, ui, versions
from x64k.files import write_json
from x64k.plain import from_plain, paths_in, to_plain

FORMAT = 1
STOCK = "stock"         # as a TLB: the emulator without our patches
DONE, FAILED = "done", "failed"
OUTPUT_KEPT = 16384     # bytes of what a failed command wrote

Record = dict[str, Any]     # what a cell's file has
Runner = Callable[..., guest.Outcome]

FIELDS = {field.name: field for field in dataclasses.fields(guest.Machine)}
# What users ask for beyond workload, size, mode, TLB and runs: the field of a
# machine -> the option.  What only follows from these is not here.
OPTIONS = {"mem": "mem", "cpus": "cpus", "kernel": "kernel", "root": "image",
           "share": "share", "append": "append", "icount": "icount",
           "coalesce": "tlb-coalesce", "observe": "tlb-observe",
           "verify": "tlb-verify", "memory": "memory"}


@functools.cache
def _sha256(path: Path, _size: int, _mtime_ns: int) -> str:
    return versions.sha256(path)


def sha256(path: Path) -> str:
    """Of a file that may be large, and is asked for again and again."""
    found = path.stat()
    return _sha256(path, found.st_size, found.st_mtime_ns)


def files_of(machine: guest.Machine) -> dict[str, Path]:
    """The files on the emulator's command line, by the option that names
    them, and the emulator.  A folder is no file: nobody can say what of it
    counts."""
    program = str(machine.binary or guest.emulator()[0])
    # Both of our kernels are of one build.
    kernel = ("native-kernel" if machine.image == paths.NATIVE_VMLINUX
              else "kernel")
    found = {"emulator": Path(shutil.which(program) or program),
             kernel: machine.image, "initramfs": paths.INITRAMFS}
    if guest.is_file(machine.tlb):
        found["tlb"] = Path(machine.tlb)
    found |= {name: path for name, path in paths_in(machine, "")
              if path.is_file() and name != "binary"}
    for name, path in found.items():
        if not path.is_file():
            raise ui.X64kError(f"there is no {name} at {paths.shown(path)}")
    return found


def inputs_of(machine: guest.Machine) -> dict[str, str]:
    return {name: sha256(path) for name, path in files_of(machine).items()}


def as_option(value: Any) -> Any:
    """VALUE as its option has it: a disk by its path."""
    if isinstance(value, disk.Disk) and value.path == paths.DEBIAN:
        return "debian"
    if isinstance(value, attach.Share):
        return str(value.folder) + ("" if value.readonly else ":rw")
    value = getattr(value, "path", value)
    return str(value) if isinstance(value, Path) else value


@dataclass(frozen=True)
class Cell:
    workload: str               # its name, or the command as a shell has it
    size: str                   # "" for a command
    command: tuple[str, ...]    # in the guest; as os.fsdecode() has it
    machine: guest.Machine      # its seed is the number of the run
    inputs: dict[str, str]      # file -> sha256

    @property
    def mode(self) -> str:
        return self.machine.mode

    @property
    def tlb(self) -> str:
        """The preset's name, or the file's without its folder."""
        if self.machine.binary == paths.QEMU_STOCK:
            return STOCK
        return Path(self.machine.tlb).stem if guest.is_file(
            self.machine.tlb) else self.machine.tlb

    @property
    def run(self) -> int:
        return self.machine.seed

    @property
    def mem(self) -> str:
        return self.machine.mem

    @property
    def cpus(self) -> int:
        return self.machine.cpus

    @property
    def append(self) -> str:
        return self.machine.append

    @property
    def options(self) -> dict[str, Any]:
        """By their names on the command line; --mem always."""
        return {option: as_option(getattr(self.machine, name))
                for name, option in OPTIONS.items() if name in FIELDS
                and (getattr(self.machine, name) != FIELDS[name].default
                     or name == "mem")}

    def line(self) -> list[str]:
        """The emulator's command line but for where files are: what is in
        them counts, and the inputs have that."""
        words = self.machine.command(Path("INITRD"), [])[1:]
        for name, path in files_of(self.machine).items():
            # A comma is doubled in QEMU's options.
            for written in (str(path).replace(",", ",,"), str(path)):
                words = [word.replace(written, name) for word in words]
        return words

    @property
    def slot(self) -> str:
        """Equal for the cells of which only the newest is of interest: the
        user asked for the same, and the sources have changed."""
        return digest([self.workload, self.size, self.mode, self.tlb, self.run,
                       self.options])

    @property
    def id(self) -> str:
        words = [re.sub(r"[^A-Za-z0-9.]+", "-", word).strip("-.")[:40]
                 for word in (self.workload, self.size, self.mode, self.tlb)]
        number = digest([FORMAT, self.slot, self.command, self.line(),
                         self.inputs])
        return "-".join([*filter(None, words), f"r{self.run}", number])

    def to_json(self) -> dict[str, Any]:
        return to_plain(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Cell":
        return from_plain(data, cls)


def digest(what: Any) -> str:
    text = json.dumps(what, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Job:
    """What each guest of a matrix is to run."""
    workload: str
    size: str
    command: tuple[str, ...]
    options: dict[str, Any]     # what it wants of the guest: mem, timeout ...


def absolute(machine: guest.Machine) -> guest.Machine:
    """A cell may run in another folder than the one it is named in."""
    named: dict[str, Any] = {
        name: value.absolute() for name in FIELDS
        if isinstance(value := getattr(machine, name), Path)}
    if guest.is_file(machine.tlb):
        named["tlb"] = os.path.abspath(machine.tlb)
    return dataclasses.replace(machine, **named)


def machine_of(args: argparse.Namespace, job: Job, mode: str, tlb: str,
               run: int) -> guest.Machine:
    stock = {"binary": paths.QEMU_STOCK} if tlb == STOCK else {}
    asked = argparse.Namespace(**vars(args) | job.options
                               | {"tlb": "off" if stock else tlb})
    return absolute(dataclasses.replace(guest.machine_of(asked, mode),
                                        seed=run, **stock))


def plan(args: argparse.Namespace, jobs: list[Job], modes: list[str],
         tlbs: list[str], runs: int) -> list[Cell]:
    """All cells; the first run of each before the second of any, so that half
    a matrix is of use.  ARGS has what guest.add_options() asked for."""
    cells = []
    for run, job, tlb, mode in itertools.product(range(1, runs + 1), jobs,
                                                 tlbs, modes):
        if tlb == STOCK and guest.MODES[mode].cpu:
            continue    # it has no such processor
        machine = machine_of(args, job, mode, tlb, run)
        cells.append(Cell(job.workload, job.size, job.command, machine,
                          inputs_of(machine)))
    return cells


def cell_path(results: Path, ident: str) -> Path:
    return results / "cells" / f"{ident}.json"


def load(path: Path) -> Record:
    try:
        record = json.loads(path.read_text())
        if record["format"] != FORMAT:
            raise ValueError(f"format {record['format']}, not {FORMAT}")
    except (ValueError, KeyError, TypeError) as error:
        raise ui.X64kError(f"{paths.shown(path)} is no cell of this x64k "
                           f"({error}); delete it, and it will run again"
                           ) from error
    return record


def load_cells(results: Path) -> list[Record]:
    """Every cell that has run, newest last."""
    found = [load(path) for path in (results / "cells").glob("*.json")]
    return sorted(found, key=lambda record: (record["started"], record["id"]))


def current(records: Iterable[Record]) -> list[Record]:
    """The newest of each slot."""
    return list({record["slot"]: record for record in records}.values())


def forget_failed(cells: Iterable[Cell], results: Path) -> None:
    """So that they run again."""
    for cell in cells:
        path = cell_path(results, cell.id)
        if path.exists() and load(path)["status"] == FAILED:
            path.unlink()


def processor() -> str:
    found = re.search(r"^model name\s*: (.*)",
                      Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def measure(cell: Cell, log: Path, run: Runner) -> Record:
    """What is found out by running CELL; never less than its status."""
    output = bytearray()
    said: Record = {"status": FAILED, "error": None, "warnings": [],
                    "result": None, "host_s": None}
    begin = time.monotonic()
    try:
        outcome = run(cell.machine,
                      [[os.fsencode(word) for word in cell.command]],
                      output.extend, console=log)
    except ui.X64kError as error:
        said |= {"error": str(error), "exit_status": error.status}
    else:
        result, = outcome.results
        said |= {"result": result, "warnings": outcome.complaints,
                 "exit_status": result["status"]}
        if result["status"]:
            said["error"] = f"the command ended with status {result['status']}"
        else:
            said["status"] = DONE
    if said["status"] == FAILED:
        said["output"] = output[-OUTPUT_KEPT:].decode(errors="replace")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return said | {"host_s": time.monotonic() - begin,
                   "host_cpu_s": used.ru_utime + used.ru_stime}


def run_cell(cell: Cell, results: Path, run: Runner = guest.run) -> Path:
    """Runs CELL, unless it has run, and writes its file: all of it, at the
    end.  A cell that fails gets its file too."""
    path = cell_path(results, cell.id)
    if path.exists():
        return path
    if changed := [name for name, value in inputs_of(cell.machine).items()
                   if cell.inputs.get(name) != value]:
        raise ui.X64kError(f"{', '.join(changed)}: changed since the matrix "
                           "was planned; give the command again")
    for folder in ("cells", "logs"):
        (results / folder).mkdir(parents=True, exist_ok=True)
    log = results / "logs" / f"{cell.id}.log"
    # A second x64k, or another machine, may be running it: share its result.
    with locks.hold(log.with_suffix(".lock"), f"another x64k runs {cell.id}",
                    leave=False):
        if path.exists():
            return path
        started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        said = measure(cell, log, run)
        write_json(path, {
            "format": FORMAT, "id": cell.id, "slot": cell.slot,
            "cell": cell.to_json(), "mode": cell.mode, "tlb": cell.tlb,
            "run": cell.run, "seed": cell.run, "options": cell.options,
            "x64k": VERSION, "git": versions.git_description(),
            "versions": versions.load(paths.VERSIONS),
            "tlb_config": (json.loads(Path(cell.machine.tlb).read_text())
                           if guest.is_file(cell.machine.tlb) else None),
            "command_line": cell.machine.command(Path("INITRD"), []),
            "host": processor(), "started": started, **said})
    return path
