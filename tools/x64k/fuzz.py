# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's generic device fuzzer on one of its configurations, for ten minutes,
or X64K_SECONDS: python3 -m x64k.fuzz NAME.

Reports in TAP.  What is found stays in build/fuzzer, and is where the next
run begins."""

import os
import re
import struct
import sys
from collections.abc import Iterable

from x64k import meson, proc
from x64k.paths import BUILD, LOGS, QEMU_FUZZER, shown

PLACE = BUILD / "fuzzer"
SECONDS = 600
# QEMU leaves to exit() what it has allocated; with ASan, a run takes memory.
OPTIONS = ["-detect_leaks=0", "-timeout=60", "-rss_limit_mb=4096"]
SOURCE = "/hwtlb-pci.c"

# What tests/qtest/fuzz/generic_fuzz.c makes of an input: commands, apart by
# FUZZ.  One starts with 2, a read, or 3, a write, the logarithm of the width,
# and which memory; then come offset and value, as C lays them out.
Step = tuple[int, int] | tuple[int, int, int]


def encoded(steps: Iterable[Step]) -> bytes:
    return b"FUZZ".join(
        struct.pack("<BBBxxI", 2, step[0].bit_length() - 1, 0, step[1])
        if len(step) == 2 else
        struct.pack("<BBBxxIQ", 3, step[0].bit_length() - 1, 0, *step[1:])
        for step in steps)


def seeds() -> Iterable[bytes]:
    """Each register of docs/specs/hwtlb.rst, each command: that most of the
    BAR is empty is not worth finding out."""
    vcpu, latch, region, command, name, faults = (0x10, 0x14, 0x18, 0x1c, 0x20,
                                                  0x40)
    windows: list[Step] = [(8, at) for at in (0x1000, 0x2000, 0x3000)]
    for at in (*range(0, 0x58, 8), 0x100, 0x1c0, *(step[1] for step in windows)):
        yield encoded([(8, at), (4, at + 4)])
    for which in (0, 1, 2, 0xffffffff):
        yield encoded([(4, vcpu, which), (4, latch, 1), (8, latch - 4),
                       *windows, (8, 0x100), (8, 0x108), (8, 0x50)])
    for what in range(1, 6):
        yield encoded([(4, region, 63), (8, name, 0x414243), (4, faults, 7),
                       (4, faults + 4, 7), (4, command, 1), (4, command, what),
                       (8, region), (8, region, what << 32), *windows])


def runs(text: str) -> tuple[int, int] | None:
    """How many inputs were run, and the edges that they covered, of all
    devices; None if the fuzzer has not come to its end."""
    found = re.search(r"^#(\d+)\s+DONE\s+cov: (\d+) ", text, re.MULTILINE)
    return (int(found[1]), int(found[2])) if found else None


def edges(lines: Iterable[str]) -> tuple[int, int]:
    """Those of the device: covered, and all."""
    covered = total = 0
    for line in lines:
        found = re.match(r"(UN)?COVERED_FUNC:.* edges: (\d+)/(\d+) .* (\S+?):\d+",
                         line)
        if found and found[4].endswith(SOURCE):
            covered += int(found[2])
            total += int(found[3])
    return covered, total


def main(name: str) -> int:
    target = f"generic-fuzz-{name}"
    corpus = PLACE / f"corpus-{name}"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / f"fuzz-{name}.log"
    seconds = int(os.environ.get("X64K_SECONDS", SECONDS))
    env = meson.environment() | {
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1"}
    command = [QEMU_FUZZER, f"--fuzz-target={target}", *OPTIONS]

    def fuzz(*more: str) -> tuple[int, str]:
        with log.open("wb") as file:
            status = proc.call([*command, *more, corpus], cwd=PLACE, env=env,
                               stdout=file, stderr=file)
        return status, log.read_text(errors="replace")

    print("TAP version 13\n1..1")
    status, text = fuzz(f"-max_total_time={seconds}",
                        f"-artifact_prefix={PLACE}/{name}-")
    done = runs(text)
    if status or not done or not done[0]:
        print(f"not ok 1 - {target}")
        for line in proc.last_lines(log, 60):
            print(f"# {line}")
        print(f"# again, with that input: {shown(QEMU_FUZZER)} "
              f"--fuzz-target={target} FILE")
        return 1
    log.rename(log.with_suffix(".runs.log"))
    _, text = fuzz("-runs=0", "-print_coverage=1")
    covered, total = edges(text.splitlines())
    print(f"ok 1 - {target}, {seconds} s: {done[0]} runs, {done[1]} edges, "
          f"of the device {covered} of {total}")
    return 0


if __name__ == "__main__":
    os.nice(5)
    sys.exit(main(*sys.argv[1:]))
