# SPDX-License-Identifier: GPL-2.0-or-later
"""x64k sweep: the matrix of x64k compare, on many machines."""

import argparse
import shutil

from x64k import compare, guest, matrix, paths, proc, report_verb, slurm, ui

EPILOG = """\
Without --slurm: the same as x64k compare --results DIR.

With it: submit each cell that has not run, and is not queued, as a task of a
job array, and end.  The same command submits again what was lost; x64k report
DIR shows what is there at any time.  DIR and x64k itself must have the same
path on every machine: docs/cluster.md.

exit status: as x64k compare; with --slurm and without --wait, 0 if the job was
submitted.
"""
ONLY_SLURM = ("partition", "time", "array_limit", "dry_run", "wait")


def add_parser(subparsers) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "sweep", help="compare's matrix as a Slurm job array",
        usage="x64k sweep --slurm --results DIR [options] --workload W,...\n"
        "       x64k sweep --slurm --results DIR [options] -- CMD ...",
        epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter)
    group = parser.add_argument_group("Slurm")
    group.add_argument("--slurm", action="store_true",
                       help="submit the cells as a job array")
    group.add_argument("--partition", metavar="P",
                       help="the partition (default: the cluster's)")
    group.add_argument("--time", metavar="T", help="limit of one cell's time, "
                       "as sbatch has it: minutes, or hours:minutes:seconds")
    group.add_argument("--array-limit", metavar="N",
                       type=guest.positive(int),
                       help="cells at a time (default: as many as fit)")
    group.add_argument("--dry-run", action="store_true",
                       help="print what sbatch would be given")
    group.add_argument("--wait", action="store_true",
                       help="wait for the job, then make the report; Ctrl-C "
                       "leaves the job running")
    compare.add_options(parser)
    return parser


def missing(args: argparse.Namespace, cells: list[matrix.Cell]
            ) -> list[matrix.Cell]:
    """Those that have neither run nor are in the queue; what can be submitted
    at once."""
    todo = [cell for cell in cells
            if not matrix.cell_path(args.results, cell.id).exists()]
    if kept := len(cells) - len(todo):
        ui.info(f"{kept} of {len(cells)} cells have run already")
    waiting = slurm.queued(args.results)
    left = [cell for cell in todo if cell.id not in waiting]
    if kept := len(todo) - len(left):
        ui.info(f"{kept} of {len(cells)} cells are in the queue already")
    if len(left) > (most := slurm.max_array()):
        ui.info(f"a job array of this cluster has at most {most} tasks: later, "
                f"the same command submits the other {len(left) - most}")
    return left[:most]


def submit(args: argparse.Namespace) -> int:
    slurm.check()
    compare.build_matrix(args)
    cells = compare.plan(args)
    if args.retry and not args.dry_run:
        matrix.forget_failed(cells, args.results)
    todo = missing(args, cells)
    if not todo:
        ui.info(f"nothing to submit; x64k report {paths.shown(args.results)} "
                "makes the report")
        return 0
    options = slurm.Options(args.partition, args.time, args.array_limit)
    folder = slurm.new_folder(args.results)
    if args.dry_run:
        print(slurm.script(folder, args.results, todo, options), end="")
        return 0
    sbatch = slurm.submit(folder, args.results, todo, options, args.wait)
    # A cluster's name may follow the number.
    job = sbatch.stdout.readline().strip().partition(";")[0]
    if not job:
        proc.wait(sbatch)
        shutil.rmtree(folder)
        raise ui.X64kError("sbatch took no job; what it says is above")
    results = paths.shown(args.results)
    print(f"job {job}: {len(todo)} of {len(cells)} cells\n"
          f"  watch    squeue --job {job}\n"
          f"           tail -n 3 {paths.shown(folder)}/*.log\n"
          f"  end      scancel {job}\n"
          f"  report   x64k report {results}", flush=True)
    if not args.wait:
        return proc.wait(sbatch)
    with ui.step(f"job {job}") as step:
        step.detail = lambda: "{} of {} cells".format(sum(
            matrix.cell_path(args.results, cell.id).exists()
            for cell in todo), len(todo))
        proc.wait(sbatch)
    if lost := sum(not matrix.cell_path(args.results, cell.id).exists()
                   for cell in todo):
        raise ui.X64kError(f"{lost} of {len(todo)} cells were not run: "
                           f"{paths.shown(folder)}/*.log may say why; the "
                           "same command submits them again")
    return report_verb.make(args.results, cells)


def run(args: argparse.Namespace) -> int:
    if not args.results:
        raise ui.X64kError("sweep needs --results DIR", 2)
    args.json = None
    compare.check_usage(args)
    if args.slurm:
        if args.jobs:
            raise ui.X64kError("--jobs is for this machine; with --slurm, "
                               "give --array-limit", 2)
        return submit(args)
    for name in ONLY_SLURM:
        if getattr(args, name):
            raise ui.X64kError(f"--{name.replace('_', '-')} needs --slurm", 2)
    return compare.run_matrix(args)
