# SPDX-License-Identifier: GPL-2.0-or-later
"""x64k compare: one command in several modes, one table."""

import argparse
import json
import os
import shlex
import tempfile
from pathlib import Path
from typing import Any

from x64k import VERSION, build, guest, paths, report, ui


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


def add_parser(subparsers) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "compare", help="run a command in several modes and compare the TLBs",
        usage="x64k compare [options] -- CMD ...",
        description="Boot each mode, run CMD in it, and print one table of "
        "what the TLB model and the guest kernel counted while CMD ran.",
        epilog="exit status: as x64k boot; the first mode in which CMD fails "
        "decides.")
    parser.add_argument("--modes", type=modes_list, metavar="M,...",
                        default=list(guest.MODES),
                        help=f"default {','.join(guest.MODES)}")
    parser.add_argument("--json", metavar="FILE", type=json_path,
                        help="also write the result to FILE")
    guest.add_options(parser, tlb="skylake")
    build.add_options(parser)
    return parser


def run_modes(args: argparse.Namespace, modes: list[str],
              commands: list[list[bytes]]) -> list[list[dict[str, Any]]]:
    """For each command a list with one result for each mode."""
    results: list[list[dict[str, Any]]] = [[] for _ in commands]
    for mode in modes:
        machine = guest.machine_of(args, mode)
        with ui.step(f"mode {mode}"):
            output = bytearray()
            outcome = guest.run(machine, commands, output.extend)
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


def write_json(path: Path, data: dict[str, Any]) -> None:
    """All or nothing: a reader never sees half a file."""
    with tempfile.NamedTemporaryFile("w", dir=path.absolute().parent,
                                     prefix=f".{path.name}.",
                                     delete=False) as new:
        try:
            json.dump(data, new, indent=2)
            new.write("\n")
            new.close()
            os.chmod(new.name, 0o644)
            os.replace(new.name, path)
        except BaseException:
            os.unlink(new.name)
            raise


def run(args: argparse.Namespace) -> int:
    if not args.rest:
        raise ui.X64kError("compare needs a command: x64k compare -- CMD ...",
                           2)
    build.ensure(args, "qemu", "guest")
    command = guest.command_of(args)
    results, = run_modes(args, args.modes, [command])
    shown = shlex.join(args.rest)
    print(f"\n'{shown}', TLB model {args.tlb}\n\n{report.table(results)}",
          end="")
    if args.json:
        write_json(args.json, document(args, command, results))
    return 0
