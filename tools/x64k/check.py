# SPDX-License-Identifier: GPL-2.0-or-later
"""x64k test: every test, by name, and a count."""

import argparse
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from x64k import build, meson, proc, ui
from x64k.paths import MESON, shown

# Suite -> what it needs built.
SUITES = {
    "unit": ("unit",),
    "tools": ("report",),
    "queue": ("trees",),
    "qtest": ("qemu", "qtest"),
    "stock": ("qemu", "stock", "qtest"),
    "guest": ("qemu", "guest", "report"),
    "install": ("install", "report"),
    "debian": ("qemu", "guest", "debian"),
    "slurm": ("qemu", "guest", "slurm"),
    "selftests": ("qemu", "guest", "selftests"),
    "torture": ("qemu", "guest", "debian", "debug-kernel"),
    "series": ("qemu", "guest"),
    "exact": ("qemu", "guest"),
    "race": ("qemu", "qtest"),
    "upstream": ("qemu", "stock", "qtest", "upstream"),
    "sanitize": ("sanitized", "qtest", "unit"),
    "fuzz": ("fuzzer",),
    "clock": ("qemu", "guest"),
    "debian13": ("debian13",),
}
# Long, or in need of more packages: only if asked for.
ON_DEMAND = ("slurm", "selftests", "torture", "series", "exact", "race",
             "upstream", "sanitize", "fuzz", "clock", "debian13")
PASS, FAIL, SKIP = "passed", "failed", "skipped"
OK = {"OK": PASS, "EXPECTEDFAIL": PASS, "SKIP": SKIP}


@dataclass(frozen=True)
class Outcome:
    name: str
    verdict: str
    note: str = ""


def tap(text: str) -> Iterator[Outcome]:
    for line in text.splitlines():
        match = re.match(r"(not )?ok\b\s*\d*\s*-?\s*([^#]*)(?:#\s*(.*))?", line)
        if match:
            bad, name, directive = match.groups()
            word, _, reason = (directive or "").partition(" ")
            word = word.upper()
            verdict = (SKIP if word.startswith("SKIP") else
                       FAIL if bad and word != "TODO" else PASS)
            yield Outcome(name.strip(), verdict, reason)


def outcomes(entry: dict) -> list[Outcome]:
    """The parts of one Meson test, or the test itself if it has none."""
    name = entry["name"].split(" / ")[-1]
    whole = OK.get(entry["result"], FAIL)
    parts = [Outcome(f"{name}: {part.name}", part.verdict, part.note)
             for part in tap(entry.get("stdout", ""))]
    # A test that dies half-way has failed, whatever its parts say.
    if not parts or (whole == FAIL and not any(part.verdict == FAIL
                                               for part in parts)):
        note = "" if whole == PASS else entry["result"].lower()
        parts.append(Outcome(name, whole, note))
    return parts


def summary(found: list[Outcome]) -> str:
    count = Counter(outcome.verdict for outcome in found)
    return f"{count[PASS]} passed, {count[FAIL]} failed, {count[SKIP]} skipped"


def add_parser(subparsers) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "test", help="run the tests",
        description="Builds what the tests need, runs them, and ends with the "
        "line `N passed, N failed, N skipped`. The exit status is 1 if one "
        "failed, or if none ran.")
    build.add_options(parser)
    parser.add_argument("--suite", action="append", choices=SUITES,
                        help="only this suite (may be repeated); `slurm`, "
                        "x64k sweep on a Slurm of this machine, `selftests`, "
                        "Linux's own tests on the stock and on the patched "
                        "kernel, `torture`, stress-ng and more on a kernel that "
                        "checks itself, `series`, each kernel patch built and "
                        "booted by itself, `exact`, the long form of "
                        "guest-exact, `race`, that of x64k-smp-test, "
                        "`upstream`, QEMU's own qtests on ours "
                        "and on the stock emulator, `sanitize`, `fuzz`, ten "
                        "minutes of QEMU's generic fuzzer on hwtlb-pci, "
                        "`clock`, a hundred boots on a busy machine, and "
                        "`debian13`, demo and test in a fresh Debian 13, run "
                        "only if named")
    parser.add_argument("--sanitize", action="append_const", dest="suite",
                        const="sanitize", help="--suite sanitize: the model's "
                        "tests and the qtests with AddressSanitizer and "
                        "UndefinedBehaviorSanitizer in the emulator")
    parser.add_argument("--verbose", "-v", action="store_true",
                        help="print the parts of each test, not only the "
                        "failed and skipped ones")
    parser.add_argument("name", nargs="*", metavar="NAME",
                        help="only tests of this name (* and ? may be used)")
    return parser


def run(args: argparse.Namespace) -> int:
    suites = args.suite or [suite for suite in SUITES
                            if suite not in ON_DEMAND]
    build.ensure(args, *dict.fromkeys(
        group for suite in suites for group in SUITES[suite]), look=True)

    log = MESON / "meson-logs/testlog.json"
    log.unlink(missing_ok=True)
    command = [*meson.command(), "test", "--no-rebuild"]
    for suite in suites:
        command += ["--suite", suite]
    env = meson.environment() | {"X64K_BUILT": "1"}
    status = proc.call([*command, *args.name], cwd=MESON, env=env)

    found: list[Outcome] = []
    if log.exists():
        for line in log.read_text().splitlines():
            parts = outcomes(json.loads(line))
            found += parts
            for part in parts:
                if args.verbose or part.verdict != PASS:
                    note = f" ({part.note})" if part.note else ""
                    print(f"{part.verdict}: {part.name}{note}")
    bad = any(outcome.verdict == FAIL for outcome in found)
    ran = any(outcome.verdict == PASS for outcome in found)
    if not ran and not bad:
        ui.warn("no test ran")
    elif bad:
        print(f"the output of each test: "
              f"{shown(MESON / 'meson-logs/testlog.txt')}")
    print(summary(found))
    return 0 if ran and not bad and status == 0 else 1
