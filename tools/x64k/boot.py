# SPDX-License-Identifier: GPL-2.0-or-later
"""x64k boot: run one command, or a shell, in a guest."""

import argparse
import sys

from x64k import build, guest, paths, perf, ui

EPILOG = """\
modes: {modes}

CMD's output (stdout and stderr) goes to stdout; it reads no input.

exit status: CMD's own (128 + n for signal n, 127 not found in the guest,
126 not executable); 123 guest kernel panic, 124 timeout, 125 x64k or the
emulator failed, 130 interrupted, 2 wrong usage.
"""


def add_parser(subparsers) -> argparse.ArgumentParser:
    modes = "".join(f"\n  {name:9} {mode.meaning}"
                    for name, mode in guest.MODES.items())
    parser = subparsers.add_parser(
        "boot", help="run a command (or a shell) in a guest",
        usage="x64k boot --mode MODE [options] [-- CMD ...]",
        description="Boot a guest, run CMD in it, exit with CMD's status. "
        "Without CMD: a shell on the console.",
        epilog=EPILOG.format(modes=modes),
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", type=guest.valid_mode, required=True,
                        help=", ".join(guest.MODES))
    parser.add_argument("--cpus", metavar="N", type=guest.positive(int),
                        default=1, help="virtual CPUs (default %(default)s)")
    parser.add_argument("--pmu", action="store_true",
                        help="performance counters that show what the TLB "
                        "model counts, and perf in the guest; without --tlb, "
                        f"the model is {perf.TLB}")
    parser.add_argument("--cpu", metavar="MODEL",
                        help="CPU model (default: max; with --pmu, the "
                        "processor that the TLB model is of)")
    parser.add_argument("--init", action="store_true",
                        help="with --image and no CMD: start the image's own "
                        "init (systemd in Debian's), not just a shell; "
                        "`poweroff` ends it")
    guest.add_options(parser, tlb="off")
    build.add_options(parser)
    return parser


def to_stdout(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def run(args: argparse.Namespace) -> int:
    machine = guest.machine_of(args, args.mode)
    if args.init and args.rest:
        raise ui.X64kError("--init runs no command; log in, or leave it out",
                           2)
    build.ensure(args, "qemu", "guest")
    if not args.rest:
        return guest.shell(machine)
    outcome = guest.run(machine, [guest.command_of(args)], to_stdout)
    for line in outcome.complaints:
        ui.warn(f"guest kernel: {line} (console log: {paths.shown(outcome.console)})")
    return outcome.results[0]["status"]
