# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's own qtests for x86_64, on our emulator and on the stock one:
python3 -m x64k.upstream.  With all features off, ours must do as stock does.

Reports in TAP, one line per test program: "not ok" if some part of it passes
on the stock emulator and does not on ours.  What fails on both is listed."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from x64k import build, check, meson, proc
from x64k.paths import BUILD, QEMU, QEMU_STOCK

OBJECTS = BUILD / "qemu"
# Per program.  With Debian's firmware, one part of bios-tables-test waits ten
# minutes in vain for its guest, on stock QEMU too; what follows it is not run.
TIMEOUT_S = 400
SLOW = "stopped"    # the verdict of a program that took longer
# A program may depend on the time of day or on the load: it gets a second
# chance, on both emulators, before a difference counts.
ATTEMPTS = 2


def programs() -> Iterator[dict]:
    ours = set(build.qtests())
    for test in json.loads((OBJECTS / "meson-info/intro-tests.json")
                           .read_text()):
        suite, _, name = test["name"].partition("/")
        if suite == "qtest-x86_64" and name not in ours:
            yield test | {"name": name}


def run(test: dict, emulator: Path) -> dict[str, str]:
    """Verdict by the name of the part; "" is the program as a whole."""
    with tempfile.TemporaryDirectory() as folder:
        # libqtest takes the architecture from the name.
        binary = Path(folder) / "qemu-system-x86_64"
        binary.symlink_to(emulator)
        env = meson.environment() | test["env"] | {
            "QTEST_QEMU_BINARY": str(binary), "TMPDIR": folder}
        output = Path(folder) / "output"
        with output.open("wb") as file:
            child = proc.popen(test["cmd"], cwd=OBJECTS, env=env, stdout=file,
                               stderr=subprocess.DEVNULL)
            try:
                good = child.wait(TIMEOUT_S) == 0
                whole = check.PASS if good else check.FAIL
            except subprocess.TimeoutExpired:
                whole = SLOW
            finally:
                proc.stop(child)
        verdicts = {part.name: part.verdict for part
                    in check.tap(output.read_text(errors="replace"))}
    return verdicts | {"": whole}


def worse(stock: dict[str, str], ours: dict[str, str]) -> list[str]:
    """The parts that stock passes (or skips) and we do not.  Where both were
    stopped, how far each had come says nothing."""
    stopped = stock[""] == ours[""] == SLOW
    return [name for name, verdict in stock.items()
            if verdict not in (check.FAIL, SLOW) and ours.get(name) != verdict
            and not (stopped and name not in ours)]


def main() -> int:
    bad = False
    print("TAP version 13")
    number = 0
    for number, test in enumerate(programs(), 1):
        for _ in range(ATTEMPTS):
            stock, ours = run(test, QEMU_STOCK), run(test, QEMU)
            differ = worse(stock, ours)
            if not differ:
                break
        failing = sorted(name or "the program" for name, verdict
                         in stock.items() if verdict == check.FAIL)
        count = len(stock) - 1
        note = (f" # SKIP {test['name']} skips on the stock emulator"
                if count and all(verdict == check.SKIP for name, verdict
                                 in stock.items() if name) else "")
        print(f"{'not ok' if differ else 'ok'} {number} - {test['name']}, "
              f"{count} parts{note}")
        for name in differ:
            print(f"# {name or 'the program'}: {stock[name]} on stock, "
                  f"{ours.get(name, 'missing')} on ours")
        if stock[""] == SLOW:
            print(f"# stopped after {TIMEOUT_S} s, on stock too: what follows "
                  "was not run")
        if failing:
            print(f"# fails on stock too: {', '.join(failing)}")
        sys.stdout.flush()
        bad |= bool(differ)
    print(f"1..{number}")
    return 1 if bad or not number else 0


if __name__ == "__main__":
    os.nice(5)
    sys.exit(main())
