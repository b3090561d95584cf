# SPDX-License-Identifier: GPL-2.0-or-later
"""x64k compare: one command in several modes, one table; or a matrix of
workloads, modes, TLBs and runs, and a report of it."""

import argparse
import json
import os
import shlex
from pathlib import Path
from typing import Any

from x64k import (VERSION, build, guest, matrix, paths, report, report_verb,
                  runner, stdin, tlb, ui, workloads)
from x64k.files import write_json

EPILOG = """\
Without --results: boot each mode, run CMD in it, and print one table of what
the TLB model and the guest kernel counted while CMD ran.  A file or a pipe as
standard input is read to its end first, and is CMD's in each mode.

With --results: run the matrix of workloads (or CMD, which reads no input),
modes, TLBs and runs, a guest for each cell, and write DIR/report.html and DIR/report.csv.  A cell
that has run is not run again: after Ctrl-C or a crash, the same command
continues.  A cell whose emulator, kernel, image or command line has changed
is another cell, and runs; the report shows the newest.  --tlb may name
several, and also `off`, our emulator without the model, and `stock`, QEMU
without our patches, in the modes that it can run.  docs/measuring.md has an
example.

exit status: without --results as x64k boot; the first mode in which CMD fails
decides.  With it: 0 all cells are done, 1 some failed, 125 x64k failed, 130
interrupted.
"""


def modes_list(text: str) -> list[str]:
    modes = [guest.valid_mode(mode) for mode in text.split(",")]
    if len(set(modes)) < len(modes):
        raise argparse.ArgumentTypeError(f"'{text}' names a mode twice")
    return modes


def json_path(text: str) -> Path:
    """Fail before the boots, not after them."""
    path = Path(text)
    if path.is_dir() or not os.access(path.absolute().parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"cannot write {text}")
    return path


def tlbs_list(text: str) -> list[str]:
    names = [guest.valid_tlb(name) for name in text.split(",")]
    if len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f"'{text}' names a TLB twice")
    return names


def results_path(text: str) -> Path:
    path = Path(text).absolute()
    if path.exists() and not (path.is_dir() and os.access(path, os.W_OK)):
        raise argparse.ArgumentTypeError(f"cannot write into {text}")
    return path


def add_parser(subparsers) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "compare", help="run a command, or workloads, in several modes and "
        "compare the TLBs",
        usage="x64k compare [options] -- CMD ...\n"
        "       x64k compare --results DIR [options] --workload W,...\n"
        "       x64k compare --results DIR [options] -- CMD ...",
        epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", metavar="FILE", type=json_path,
                        help="also write the result to FILE (without "
                        "--results)")
    add_options(parser)
    return parser


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of the matrix, which x64k sweep has too."""
    parser.add_argument("--modes", type=modes_list, metavar="M,...",
                        help=f"default {','.join(guest.DEFAULT_MODES)}, or "
                        "those of them that the kernel (--kernel) has pages "
                        f"for; there are {', '.join(guest.MODES)}")
    group = parser.add_argument_group("a matrix")
    group.add_argument("--results", metavar="DIR", type=results_path,
                       help="folder of the cells and of the report")
    group.add_argument("--workload", metavar="W,...",
                       type=lambda text: text.split(","),
                       help="workloads (x64k workloads lists them); each says "
                       "how much memory and time it needs, unless --mem and "
                       "--timeout do")
    group.add_argument("--size", metavar="S",
                       help="the size of that name of each workload")
    group.add_argument("--runs", metavar="N", type=guest.positive(int),
                       help="runs of each cell (default 1); run N has the "
                       "random seed N")
    group.add_argument("--jobs", metavar="N", type=guest.positive(int),
                       help="guests at a time (default 1)")
    group.add_argument("--retry", action="store_true",
                       help="run failed cells again")
    guest.add_options(parser, tlb="skylake", tlb_type=tlbs_list)
    # So that a workload can say.
    parser.set_defaults(mem=None, timeout=None)
    build.add_options(parser)


def run_modes(args: argparse.Namespace, modes: list[str],
              commands: list[list[bytes]], given: bytes | None = None
              ) -> list[list[dict[str, Any]]]:
    """For each command, which reads GIVEN, a list with one result for each
    mode."""
    results: list[list[dict[str, Any]]] = [[] for _ in commands]
    for mode in modes:
        machine = guest.machine_of(args, mode)
        with ui.step(f"mode {mode}"):
            output = bytearray()
            outcome = guest.run(machine, commands, output.extend, given=given)
        for line in outcome.notes:
            ui.warn(line)
        for line in outcome.complaints:
            ui.warn(f"guest kernel: {line} (console log: {paths.shown(outcome.console)})")
        for command, result, kept in zip(commands, outcome.results, results,
                                         strict=True):
            if result["status"]:
                shown = shlex.join(os.fsdecode(word) for word in command)
                raise ui.X64kError(
                    f"mode {mode}: '{shown}' ended with status "
                    f"{result['status']}; the guest's commands wrote:"
                    f"{guest.tail(output.decode(errors='replace'), 20)}\n"
                    f"  console log: {paths.shown(outcome.console)}", result["status"])
            kept.append({"mode": mode, **result, "host_s": outcome.host_s,
                         "console": str(outcome.console)})
    return results


def document(args: argparse.Namespace, command: list[bytes],
             modes: list[dict[str, Any]]) -> dict[str, Any]:
    """What --json writes."""
    versions = (json.loads(paths.VERSIONS.read_text())
                if paths.VERSIONS.exists() else {})
    machine = guest.machine_of(args, modes[0]["mode"])
    return {
        "x64k": VERSION,
        "tlb": args.tlb,
        "tlb_coalesce": args.tlb_coalesce,
        "tlb_observe": args.tlb_observe,
        "tlb_verify": bool(args.tlb_verify),
        # A file may change or go: keep what it said.
        "tlb_config": (json.loads(Path(args.tlb).read_text())
                       if guest.is_file(args.tlb) else None),
        "command": [os.fsdecode(word) for word in command],
        "modes": modes,
        "icount": args.icount,
        "seed": machine.seed if args.icount else None,
        "command_line": {
            mode["mode"]: guest.machine_of(args, mode["mode"]).command(
                Path("INITRD"), []) for mode in modes},
        "versions": versions,
    }


def jobs_of(args: argparse.Namespace) -> list[matrix.Job]:
    """What each guest of the matrix is to run."""
    asked = {name: value for name in ("mem", "timeout")
             if (value := getattr(args, name)) is not None}
    if args.rest:
        return [matrix.Job(shlex.join(args.rest), "", tuple(args.rest),
                           {"mem": guest.MEM, "timeout": guest.TIMEOUT_S}
                           | asked)]
    jobs = []
    for name in dict.fromkeys(args.workload):
        workload = workloads.find(name)
        size = args.size or workload.default_size
        options: dict[str, Any] = {"mem": workload.mem,
                                   "timeout": workload.timeout} | asked
        if workload.image != "mini" and not getattr(args, "image", None):
            options["image"] = workload.image
        jobs.append(matrix.Job(
            name, size, tuple(map(os.fsdecode, workload.argv(size))), options))
    return jobs


def plan(args: argparse.Namespace) -> list[matrix.Cell]:
    """The cells that the options ask for."""
    for name in args.tlb:
        if name not in ("off", matrix.STOCK) and not guest.is_file(name):
            tlb.preset(name)    # complains if there is none
    return matrix.plan(args, jobs_of(args),
                       args.modes or guest.default_modes(args), args.tlb,
                       args.runs or 1)


def build_matrix(args: argparse.Namespace) -> None:
    """What the cells need."""
    groups = ["qemu", "guest", "report"]
    if matrix.STOCK in args.tlb:
        groups.append("stock")
    # Wrong names now, not after a build.
    if any(job.options.get("image") == "debian" for job in jobs_of(args)):
        groups.append("debian")
    build.ensure(args, *groups)


def run_matrix(args: argparse.Namespace) -> int:
    build_matrix(args)
    cells = plan(args)
    args.results.mkdir(parents=True, exist_ok=True)
    if args.retry:
        matrix.forget_failed(cells, args.results)
    runner.run_all(cells, args.results, args.jobs or 1)
    return report_verb.make(args.results, cells)


def run_command(args: argparse.Namespace) -> int:
    if len(args.tlb) > 1:
        raise ui.X64kError("several --tlb need --results DIR", 2)
    args.tlb, = args.tlb
    args.mem, args.timeout = (args.mem or guest.MEM,
                              args.timeout or guest.TIMEOUT_S)
    build.ensure(args, "qemu", "guest")
    command = guest.command_of(args)
    results, = run_modes(args, args.modes or guest.default_modes(args),
                         [command], stdin.whole(args.mem))
    shown = shlex.join(args.rest)
    print(f"\n'{shown}', TLB model {args.tlb}\n\n{report.table(results)}",
          end="")
    if args.json:
        write_json(args.json, document(args, command, results))
    return 0


def check_usage(args: argparse.Namespace) -> None:
    if bool(args.workload) == bool(args.rest):
        raise ui.X64kError("compare needs either a command, x64k compare -- "
                           "CMD ..., or --workload W,...", 2)
    if args.results and args.json:
        raise ui.X64kError("--json is for one command without --results, "
                           "which has the JSON of each cell", 2)
    if args.size and not args.workload:
        raise ui.X64kError("--size needs --workload", 2)
    if not args.results:
        for name in ("workload", "runs", "jobs", "retry"):
            if getattr(args, name):
                raise ui.X64kError(f"--{name} needs --results DIR", 2)


def run(args: argparse.Namespace) -> int:
    check_usage(args)
    return run_matrix(args) if args.results else run_command(args)
