# SPDX-License-Identifier: GPL-2.0-or-later
"""x64k boot: run one command, or a shell, in a guest."""

import argparse
import math
import os
import sys
from dataclasses import replace
from pathlib import Path

from x64k import (attach, build, guest, paths, perf, qmp, report, snapshot,
                  stdin, ui)

EPILOG = """\
modes: {modes}

CMD's output (stdout and stderr) goes to stdout. What x64k has as standard
input, if it is a file or a pipe, is read to its end before the guest starts,
and is CMD's; without CMD, a shell runs it as a script. With --memory what CMD
cost goes to stderr, at the end; docs/guest.md has the words.

--save NAME boots, runs CMD (if any), and saves the guest to build/snapshots;
a name with a slash or a dot is a file. --load NAME starts there in about a
second; the machine is what was saved, so --mode and the like can be left out.
The TLB model (--tlb) and the share (--share) come with --load.
docs/your-kernel.md: kernels of your own.

exit status: that of CMD or of the shell (128 + n for signal n, 127 not found in the guest,
126 not executable); 123 guest kernel panic, 124 timeout, 125 x64k or the
emulator failed, 130 interrupted, 2 wrong usage.
"""


def add_parser(subparsers) -> argparse.ArgumentParser:
    modes = "".join(f"\n  {name:17} {mode.meaning}"
                    for name, mode in guest.MODES.items())
    parser = subparsers.add_parser(
        "boot", help="run a command (or a shell) in a guest",
        usage="x64k boot (--mode MODE | --load NAME) [options] [-- CMD ...]",
        description="Boot a guest, run CMD in it, exit with CMD's status. "
        "Without CMD: a shell on the console.",
        epilog=EPILOG.format(modes=modes),
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", type=guest.valid_mode,
                        help=", ".join(guest.MODES))
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
    parser.add_argument("--initrd", metavar="FILE", type=readable,
                        help="boot this initramfs instead of ours, on the "
                        "console, without CMD")
    parser.add_argument("--gdb", metavar="PORT", nargs="?", const=0,
                        type=attach.valid_port,
                        help="wait for gdb before the first instruction, and "
                        "print gdb's line; PORT: on this TCP port, instead of "
                        "a socket")
    parser.add_argument("--qmp", metavar="SOCKET", type=attach.valid_socket,
                        help="let QEMU's machine protocol listen on this "
                        "Unix socket")
    kept = parser.add_mutually_exclusive_group()
    kept.add_argument("--save", metavar="NAME", type=snapshot.valid_target,
                      help="save the guest that has booted, and run CMD before")
    kept.add_argument("--load", metavar="NAME", type=snapshot.valid_name,
                      help="start from a guest that was saved")
    # What was not said is what the snapshot has: see complete().
    parser.set_defaults(mem=None, cpus=None, append=None, timeout=None)
    build.add_options(parser)
    return parser


def readable(text: str) -> Path:
    path = Path(text)
    if not path.is_file() or not os.access(path, os.R_OK):
        raise argparse.ArgumentTypeError(f"there is no file '{text}' that can "
                                         "be read")
    return path.absolute()


def refuse(args: argparse.Namespace) -> None:
    """What does not go together."""
    if not args.mode and not args.load:
        raise ui.X64kError("boot needs --mode, or --load", 2)
    if args.initrd and args.rest:
        raise ui.X64kError("--initrd boots an initramfs of your own, which "
                           "knows of no command: leave out what follows --", 2)
    for name in ("save", "load"):
        if args.initrd and getattr(args, name):
            raise ui.X64kError(f"--{name} needs our initramfs: leave out "
                               "--initrd", 2)
    if args.save and args.gdb is not None:
        raise ui.X64kError("--gdb stops the guest that --save waits for: "
                           "give it with --load", 2)
    if args.memory and not args.rest:
        raise ui.X64kError("--memory tells what a command costs: give one, "
                           "-- CMD ...", 2)
    if args.memory and args.save:
        raise ui.X64kError("--memory goes with --load, not with --save", 2)
    if args.init and args.rest:
        raise ui.X64kError("--init runs no command; log in, or leave it out",
                           2)
    if args.init and (args.save or args.load):
        raise ui.X64kError("--init and --save or --load do not go together: "
                           "only our init waits to be saved", 2)
    if args.initrd and args.image:
        raise ui.X64kError("--image needs our initramfs: leave out --initrd",
                           2)
    if args.save and args.tlb != "off" and not args.pmu:
        raise ui.X64kError("a snapshot has no TLB model: give --tlb with "
                           "--load, any one", 2)


def complete(args: argparse.Namespace) -> None:
    """Puts in what was neither said nor saved."""
    args.mem = args.mem or guest.MEM
    args.cpus = args.cpus or 1
    args.append = args.append or ""
    # Who looks at a guest in a debugger may take all day.
    patient = math.inf if args.gdb is not None else guest.TIMEOUT_S
    args.timeout = args.timeout or patient


def machine_of(args: argparse.Namespace) -> guest.Machine:
    return replace(guest.machine_of(args, args.mode), initrd=args.initrd,
                   gdb=args.gdb, qmp=args.qmp,
                   snapshot=bool(args.save or args.load))


def check_cpu(model: str) -> None:
    """Complains of a processor that no kernel here runs on: it would stop in
    silence."""
    try:
        found = qmp.ask("query-cpu-model-expansion", type="full",
                        model={"name": model.partition(",")[0]})
    except ui.X64kError as error:
        raise ui.X64kError(f"--cpu {model}: {error}", 2) from error
    if not found["model"]["props"].get("lm"):
        raise ui.X64kError(f"--cpu {model}: this processor has no 64-bit "
                           "mode, which the guest needs", 2)


def to_stdout(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def run(args: argparse.Namespace) -> int:
    refuse(args)
    saved = snapshot.read(args.load) if args.load else None
    if saved:
        snapshot.adopt(args, saved)
    complete(args)
    machine = machine_of(args)
    build.ensure(args, "qemu", "guest")
    if args.cpu and not saved:
        check_cpu(args.cpu)
    commands = [guest.command_of(args)] if args.rest else []
    if not (commands or args.save or args.initrd or args.init
            or stdin.is_terminal()):
        commands = [guest.SCRIPT]
    given = stdin.whole(args.mem) if commands else None
    if args.save:
        place = snapshot.save(machine, args, commands, to_stdout, given)
        ui.info(f"saved to {paths.shown(place)} "
                f"({place.stat().st_size / 1e6:.0f} MB); "
                f"x64k boot --load {args.save} -- CMD runs CMD in it")
        return 0
    if saved:
        snapshot.check(saved, machine)
        machine = replace(machine, incoming=saved.incoming())
    if not commands:
        return guest.shell(machine)
    outcome = guest.run(machine, commands, to_stdout, given=given)
    for line in outcome.notes:
        ui.warn(line)
    for line in outcome.complaints:
        ui.warn(f"guest kernel: {line} (console log: {paths.shown(outcome.console)})")
    if args.memory:
        print(report.memory(outcome.results[0]), file=sys.stderr)
    return outcome.results[0]["status"]
