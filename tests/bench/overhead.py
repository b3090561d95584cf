#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What the patches and the model cost: guest commands on the stock emulator,
on ours with everything off, and on ours with a model, in turn.

    ./x64k build && PYTHONPATH=tools python3 tests/bench/overhead.py

Prints the ratio to stock of the emulator's CPU time (user and system), as
median, minimum and maximum over the rounds.  Single times say little on a
busy machine; the ratio of neighbours says more."""

import argparse
import os
import resource
import statistics
import sys

from x64k import guest, paths, ui

COMMANDS = {
    "random reads": ["toucher", "-r", "8000000"],
    "gzip": ["sh", "-c", "for i in 1 2 3; do gzip -c /bin/busybox | gunzip |"
             " sha256sum; done"],
    "sqlite3": ["sh", "-c", "sqlite3 -bail /tmp/demo.db "
                "</usr/share/x64k/sqlite.sql"],
}

# Name: the emulator, the model, the guest's mode.
VARIANTS = {
    "stock": (paths.QEMU_STOCK, "off", "4k"),
    "off": (paths.QEMU, "off", "4k"),
    "model": (paths.QEMU, "skylake", "4k"),
    "model, contig": (paths.QEMU, "skylake", "contig"),
}


def cpu_time(variant: str, command: list[str]) -> float:
    """Seconds of CPU that the emulator took from power-on to power-off."""
    emulator, tlb, mode = VARIANTS[variant]
    os.environ["X64K_QEMU"] = str(emulator)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    outcome = guest.run(guest.Machine(mode, tlb),
                        [[os.fsencode(word) for word in command]],
                        lambda data: None)
    if outcome.results[0]["status"]:
        raise ui.X64kError(f"{command} failed; see {outcome.console}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime
            - before.ru_utime - before.ru_stime)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    args = parser.parse_args()
    for emulator in (paths.QEMU_STOCK, paths.QEMU):
        if not emulator.exists():
            raise ui.X64kError(f"no {paths.shown(emulator)}; "
                               "./x64k build makes it")
    for title, command in COMMANDS.items():
        times: dict[str, list[float]] = {name: [] for name in VARIANTS}
        for _ in range(args.rounds):
            for name in VARIANTS:
                times[name].append(cpu_time(name, command))
        for name in list(VARIANTS)[1:]:
            ratios = [own / base for own, base in
                      zip(times[name], times["stock"], strict=True)]
            print(f"{title:14} {name:14} median "
                  f"{statistics.median(ratios):.3f}  min {min(ratios):.3f}  "
                  f"max {max(ratios):.3f}", flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ui.X64kError as error:
        print(f"overhead: {error}", file=sys.stderr)
        sys.exit(error.status)
