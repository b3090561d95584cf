# SPDX-License-Identifier: GPL-2.0-or-later
"""x64k bench: what the patches and the TLB model cost, in guest time.

Every variant of the emulator runs the same guest commands in turn, round
after round.  Single times say little on a busy machine; the ratio of a time
to stock's in the same round says more, and the spread of these ratios says
how much."""

import argparse
import json
import os
import re
import resource
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from x64k import VERSION, build, files, guest, paths, plot, report, tlb, ui

PRESET = "skylake"
ACCESSES = 8_000_000        # of a loop over pages
QUICK = 10                  # a quick run has so many times fewer
SLOW = 20                   # a slow variant too
PERCENTS = ("0.1", "1", "2", "5", "10", "50", "100")
TIMEOUT_S = 1800.0


@dataclass(frozen=True)
class Variant:
    name: str
    what: str
    slow: bool = False      # few rounds, short loops, no long programs
    mode: str = "4k"
    options: dict[str, Any] = field(default_factory=dict)   # of Machine


@dataclass(frozen=True)
class Case:
    name: str
    argv: tuple[str, ...]
    unit: str = "s"         # or "ns": what the command itself prints
    long: bool = False      # not for slow variants


def loops(accesses: int) -> list[Case]:
    count = str(accesses)
    sweep = [Case(f"16 hot pages, {percent} % in 2,048",
                  ("pageloop", "-n", count, percent), "ns")
             for percent in PERCENTS]
    return [*sweep, Case("random in 256 pages",
                         ("pageloop", "-h", "1", "-c", "256", "-n", count,
                          "100"), "ns")]


# Run first, and not measured: what the programs work on.
PREPARE = ("sh", "-c", """
awk 'BEGIN { srand(1); for (i = 0; i < 60000; i++) print rand() * 1e9 }' >/tmp/text
awk 'BEGIN { for (i = 0; i < 3000; i++) {
    printf "static int a%d[64];\\nint f%d(int x, int y)\\n{\\n", i, i
    printf "    for (int k = 0; k < y; k++) {\\n"
    printf "        if (a%d[k & 63] > x)\\n            x += %d * k;\\n", i, i
    printf "        a%d[k & 63] ^= x + y;\\n    }\\n    return x;\\n}\\n", i
} }' >/tmp/program.c""")

SQL = """
CREATE TABLE t(a INTEGER PRIMARY KEY, b INTEGER, c TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)
INSERT INTO t SELECT i, i * 7919 % 60013, hex(i * 31) FROM n;
CREATE INDEX tb ON t(b);
SELECT count(*) FROM t x JOIN t y ON x.b = y.a JOIN t z ON z.b = y.a;"""

PROGRAMS = [
    Case("sort 0.6 MB", ("sh", "-c", "sort /tmp/text >/dev/null")),
    Case("gzip, gunzip, sha256sum", ("sh", "-c", "cat /tmp/text /tmp/text | "
         "gzip -c | gunzip | sha256sum >/dev/null"), long=True),
    Case("sqlite3, 60,000 rows", ("sqlite3", "-bail", ":memory:", SQL),
         long=True),
    Case("compile 3,000 functions (tcc)",
         ("tcc", "-c", "-o", "/tmp/program.o", "/tmp/program.c"), long=True),
]
BOOT = "boot and power-off"
CPU = "all of this, CPU time of the emulator"


def plugin_options(config: tlb.Config) -> str:
    """The plugin's arguments for the geometry of CONFIG, 4 KB blocks: its
    first arrays, which are those of 4 KB entries."""
    words = []
    for level, prefix in (("l1d", "d"), ("l1i", "i"), ("stlb", "l2")):
        array = config[level]["arrays"][0]
        words += [f"{prefix}blksize=4096", f"{prefix}assoc={array['ways']}",
                  f"{prefix}cachesize={4096 * array['sets'] * array['ways']}"]
    return ",".join([*words, "evict=fifo", "limit=1"])


def variants(folder: Path, config: tlb.Config) -> list[Variant]:
    """All that is measured; FOLDER gets the configurations that are not a
    preset."""
    files = {}
    for policy in ("fifo", "lru", "tree-plru"):
        files[policy] = folder / f"{PRESET}-{policy}.json"
        files[policy].write_text(
            json.dumps(tlb.with_l1_policy(config, policy), indent=2) + "\n")
    plugin = str(paths.CACHE_PLUGIN).replace(",", ",,")
    return [
        Variant("stock", "QEMU without our patches",
                options={"binary": paths.QEMU_STOCK}),
        Variant("off", "our QEMU, hwtlb=off"),
        *(Variant(policy, f"the model, L1 policy {policy}",
                  options={"tlb": str(files[policy])}) for policy in files),
        Variant("contig", "the model, L1 policy fifo, the guest in mode contig",
                mode="contig", options={"tlb": str(files["fifo"])}),
        Variant("oracle", "the model, L1 policy fifo, observing every access",
                slow=True, options={"tlb": str(files["fifo"]),
                                    "observe": "every"}),
        Variant("plugin", "stock QEMU with its cache plugin, blocks of 4 KB, "
                "as many sets and ways", slow=True,
                options={"binary": paths.QEMU_STOCK, "options": (
                    "-plugin",
                    f"file={plugin},{plugin_options(config)}")}),
    ]


Times = dict[str, float]


@dataclass
class Result:
    """rounds[i][variant][case]: what round i measured."""
    rounds: list[dict[str, Times]]
    miss_rates: Times           # L1 dTLB misses per access, of loops
    what: dict[str, str]        # variant -> description
    units: dict[str, str]       # case -> unit
    quick: bool = False

    def ratios(self, variant: str, case: str) -> list[float]:
        """To stock, of the same round."""
        return [times[variant][case] / times["stock"][case]
                for times in self.rounds
                if case in times.get(variant, {})
                and times.get("stock", {}).get(case)]

    def median(self, variant: str, case: str) -> float | None:
        values = [times[variant][case] for times in self.rounds
                  if case in times.get(variant, {})]
        return statistics.median(values) if values else None


@dataclass(frozen=True)
class Spread:
    median: float
    low: float              # quartiles; of fewer than three, the extremes
    high: float
    count: int


def spread(values: list[float]) -> Spread | None:
    if not values:
        return None
    if len(values) < 3:
        return Spread(statistics.median(values), min(values), max(values),
                      len(values))
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(middle, low, high, len(values))


def best(result: Result, variant: str, case: str) -> float | None:
    """The ratio of the best times: where others use the machine too, a time
    can be too long, and hardly too short."""
    least = [min((times[name][case] for times in result.rounds
                  if case in times.get(name, {})), default=None)
             for name in (variant, "stock")]
    return least[0] / least[1] if least[0] and least[1] else None


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def printed_ns(output: str) -> list[float]:
    return [float(word) for word in
            re.findall(r"^pageloop .* ([0-9.]+) ns\r?$", output, re.MULTILINE)]


def measure(variant: Variant, cases: list[Case]) -> tuple[Times, Times]:
    """One boot: the time of each case, and the loops' misses per access."""
    output = bytearray()
    commands = [PREPARE, *(case.argv for case in cases)]
    machine = guest.Machine(variant.mode, timeout=TIMEOUT_S, **variant.options)
    before = cpu_s()
    outcome = guest.run(machine, [[os.fsencode(word) for word in argv]
                                  for argv in commands], output.extend)
    text = output.decode(errors="replace")
    ns = iter(printed_ns(text))
    times: Times = {}
    rates: Times = {}
    for case, result in zip(cases, outcome.results[1:], strict=True):
        if result["status"]:
            raise ui.X64kError(
                f"{variant.name}: '{case.name}' ended with status "
                f"{result['status']}; the guest's commands wrote:"
                f"{guest.tail(text, 10)}\n"
                f"  console log: {paths.shown(outcome.console)}")
        times[case.name] = (next(ns) if case.unit == "ns"
                            else result["wall_s"])
        misses = report.total(result["counters"], r"l1d-(load|store)-miss")
        if case.unit == "ns" and misses is not None:
            # The program warms up with a twentieth of its accesses.
            accesses = int(case.argv[case.argv.index("-n") + 1]) * 1.05
            rates[case.name] = misses / accesses
    times[BOOT] = outcome.host_s - sum(result["wall_s"] for result
                                       in outcome.results)
    if not variant.slow:
        times[CPU] = cpu_s() - before   # the slow ones do less
    return times, rates


def cells(result: Result) -> list[list[str]]:
    """The table, header first."""
    names = [name for name in result.what if name != "stock"]
    rows = [["", "misses", "stock", *names]]
    for case, unit in result.units.items():
        base = result.median("stock", case)
        if base is None:
            continue
        rate = result.miss_rates.get(case)
        row = [case, "" if rate is None else f"{100 * rate:.2g} %",
               f"{base:.1f} ns" if unit == "ns" else f"{base:.2f} s"]
        for name in names:
            found = spread(result.ratios(name, case))
            least = best(result, name, case)
            row.append("-" if found is None or least is None else
                       f"{found.median:.2f} ({found.low:.2f}-{found.high:.2f})"
                       f" {least:.2f}")
        rows.append(row)
    return rows


def notes(result: Result) -> list[str]:
    lines = ["stock: median time; the others: median of the ratios to stock "
             "of the same round, (quartiles), ratio of the best times"]
    for name, what in result.what.items():
        rounds = sum(name in times for times in result.rounds)
        lines.append(f"{name}: {what}; rounds: {rounds}")
    if result.quick:
        lines.append("a quick run: short, of few rounds, and so not precise")
    return lines


def table(result: Result) -> str:
    rows = cells(result)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) if i == 0 else cell.rjust(width)
                       for i, (cell, width) in
                       enumerate(zip(row, widths, strict=True))).rstrip()
             for row in rows]
    return "\n".join([*lines, "", *notes(result)]) + "\n"


def markdown(result: Result) -> str:
    header, *rows = cells(result)
    lines = ["| " + " | ".join(row) + " |"
             for row in [header, ["---"] + ["---:"] * (len(header) - 1),
                         *rows]]
    return "\n".join([*lines, "", *(f"- {line}" for line in notes(result))]
                     ) + "\n"


def svg(result: Result) -> str:
    """Overhead against the rate of misses, a line for each variant."""
    lines = {}
    for name in result.what:
        points = []
        for case, rate in result.miss_rates.items():
            found = spread(result.ratios(name, case))
            if name != "stock" and found and "hot pages" in case:
                points.append(plot.Point(100 * rate, found.median, found.low,
                                         found.high))
        if points:
            lines[name] = sorted(points, key=lambda point: point.x)
    return plot.log_log("time of an access, against stock QEMU",
                        "L1 dTLB misses per access, %",
                        "ratio to stock", lines)


def to_json(result: Result) -> dict[str, Any]:
    return {"x64k": VERSION, "preset": PRESET, "quick": result.quick,
            "what": result.what, "units": result.units,
            "miss_rates": result.miss_rates, "rounds": result.rounds}


def from_json(data: dict[str, Any]) -> Result:
    return Result(data["rounds"], data["miss_rates"], data["what"],
                  data["units"], data["quick"])


def save(result: Result, folder: Path) -> None:
    files.write_json(folder / "bench.json", to_json(result))
    if result.miss_rates:
        files.write_text(folder / "bench.svg", svg(result))


def chosen(known: Iterable[Variant], names: list[str] | None) -> list[Variant]:
    known = list(known)
    if names is None:
        return known
    if unknown := set(names) - {variant.name for variant in known}:
        raise ui.X64kError(
            f"--variants: there is no {', '.join(sorted(unknown))}; there are: "
            + ", ".join(variant.name for variant in known), 2)
    return [variant for variant in known
            if variant.name in names or variant.name == "stock"]


def run_rounds(result: Result, todo: list[Variant], rounds: int,
               slow_rounds: int, accesses: int, folder: Path) -> None:
    for number in range(rounds):
        result.rounds.append({})
        for variant in todo:
            if variant.slow and number >= slow_rounds:
                continue
            cases = loops(accesses // (SLOW if variant.slow else 1)) + [
                case for case in PROGRAMS if not (case.long and variant.slow)]
            with ui.step(f"round {number + 1} of {rounds}, {variant.name}"):
                times, rates = measure(variant, cases)
            result.rounds[-1][variant.name] = times
            if variant.name == "fifo":
                result.miss_rates |= rates
            save(result, folder)


def add_parser(subparsers) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "bench", help="measure what the patches and the TLB model cost",
        description="Run the same guest commands on stock QEMU, on ours with "
        "the model off, with several L1 policies, observing every access, and "
        "on stock QEMU with its cache plugin; in turn, several times. Prints "
        "the ratios to stock. The guest measures the time itself.",
        epilog="Ctrl-C prints what has been measured so far. bench.json and "
        "bench.svg are written after each boot.")
    parser.add_argument("--rounds", type=guest.positive(int), metavar="N",
                        help="how often each fast variant runs (default 5)")
    parser.add_argument("--slow-rounds", type=guest.positive(int),
                        metavar="N", help="the same for oracle and plugin "
                        "(default 2)")
    parser.add_argument("--quick", action="store_true",
                        help="a small run: 2 rounds (slow variants: 1), short "
                        "loops")
    parser.add_argument("--variants", type=lambda text: text.split(","),
                        metavar="V,...", help="only these, and stock: off, "
                        "fifo, lru, tree-plru, contig, oracle, plugin")
    parser.add_argument("--markdown", action="store_true",
                        help="print the table as Markdown")
    parser.add_argument("--out", type=Path, metavar="FOLDER",
                        default=paths.STATE / "bench",
                        help="where bench.json and bench.svg go (default "
                        "build/bench)")
    parser.add_argument("--from", dest="source", type=Path, metavar="FILE",
                        help="measure nothing: print the table of a bench.json")
    build.add_options(parser)
    return parser


def show(result: Result, as_markdown: bool) -> None:
    print(markdown(result) if as_markdown else table(result), end="",
          flush=True)


def run(args: argparse.Namespace) -> int:
    if args.source:
        try:
            known = from_json(json.loads(args.source.read_text()))
            text = markdown(known) if args.markdown else table(known)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ui.X64kError(f"--from: {args.source} is not a bench.json: "
                               f"{error}", 2) from error
        print(text, end="")
        return 0
    build.ensure(args, "qemu", "stock", "guest")
    args.out.mkdir(parents=True, exist_ok=True)
    known = variants(args.out, tlb.preset(PRESET))
    todo = chosen(known, args.variants)
    cases = loops(1) + PROGRAMS
    result = Result([], {}, {variant.name: variant.what for variant in todo},
                    {case.name: case.unit for case in cases} | {BOOT: "s", CPU: "s"},
                    args.quick)
    try:
        run_rounds(result, todo, args.rounds or (2 if args.quick else 5),
                   args.slow_rounds or (1 if args.quick else 2),
                   ACCESSES // (QUICK if args.quick else 1), args.out)
    finally:
        # Also what an interrupted run has: it took long enough.
        if any(result.rounds):
            show(result, args.markdown)
            ui.info(f"{paths.shown(args.out)}: bench.json, bench.svg")
    return 0
