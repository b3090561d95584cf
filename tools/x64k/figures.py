# SPDX-License-Identifier: GPL-2.0-or-later
"""From the cells of a matrix to the figures of its report: who is compared
with whom, the median and spread over runs, and the ratio to 4 KB pages."""

import csv
import io
import json
import statistics
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from x64k import guest, matrix, report
from x64k.cost import Model, Part
from x64k.matrix import Record

BASE = "4k"
REGION = "workload"     # of a workload: what is counted, apart from set-up
IDLE_KNOWN_TO_S = 0.01
WITHOUT = ("off", "stock")      # no model: nothing is counted

# Title of a size class -> the counters of it, less the level.
CLASSES = {
    "4 KB": "fill-4k",
    "8-64 KB coalesced": "fill-(8k|16k|32k|64k)",
    "64 KB hint": "fill-64k-hint",
    "64 KB leaf": "fill-64k-leaf",
    "2 MB": "fill-2m",
    "1 GB": "fill-1g",
}


def measured(record: Record) -> Part:
    """The counted region of a workload, or all of a command."""
    result = record["result"]
    for region in result["regions"]:
        if region["name"] == REGION:
            return region
    return result


def idle_s(record: Record) -> float | None:
    """Of what is measured.  A program does not tell it of its own region: it
    had none if the whole command had none."""
    own = measured(record)["guest"].get("idle_s")
    whole = record["result"]["guest"].get("idle_s")
    if own is None and whole is not None and whole <= IDLE_KNOWN_TO_S:
        return 0
    return own


def instructions(record: Record) -> float | None:
    """Known only where time is the number of instructions; but time jumps
    while a processor has nothing to do, such as waiting for a disk."""
    wall_s, idle = measured(record).get("wall_s"), idle_s(record)
    if (wall_s is None or idle is None
            or not record["cell"]["machine"].get("icount")):
        return None
    return (wall_s - idle) * 1e9


@dataclass(frozen=True)
class Measure:
    title: str
    of: Callable[[Record], float | None]
    unit: str = ""
    part_of: str = ""       # the title of the sum that it is in


def counters(title: str, pattern: str, part_of: str = "") -> Measure:
    def of(record: Record) -> float | None:
        return report.total(measured(record)["counters"], pattern)
    return Measure(title, of, part_of=part_of)


def of_guest(title: str, name: str, unit: str = "") -> Measure:
    return Measure(title, lambda record: measured(record)["guest"].get(name),
                   unit)


def of_whole(title: str, name: str, by: str | None = None) -> Measure:
    """What is known of the command, not of a region."""
    def of(record: Record) -> float | None:
        guest = record["result"]["guest"]
        value = guest.get(name)
        return value / guest[by] if by and value is not None else value
    return Measure(title, of, "KB")


def after_boot(title: str, name: str) -> Measure:
    return Measure(title, lambda record: record["result"].get("boot", {})
                   .get(name), "KB")


def fills(title: str, level: str) -> list[Measure]:
    return [counters(title, f"{level}-fill-.*"),
            *(counters(f"{name}", f"{level}-{pattern}", title)
              for name, pattern in CLASSES.items())]


L1D_FILLS, *L1D_CLASSES = fills("L1 dTLB fills", "l1d")
L1I_FILLS, *L1I_CLASSES = fills("L1 iTLB fills", "l1i")
STLB_FILLS, *STLB_CLASSES = fills("STLB fills", "stlb")
L1D_MISSES = counters("L1 dTLB misses", r"l1d-(load|store)-miss")
STLB_DATA = counters("STLB misses, data", r"stlb-(load|store)-miss")
WALKS = counters("walks completed", r"walk-completed")
READ = counters("page-table entries read", r"walk-read-.*")
GROUP = counters("of group checks", r"walk-read-group", READ.title)
SAVED = counters("saved by paging-structure caches", r"walk-saved",
                 READ.title)
LINES = counters("distinct page-table lines read", r"walk-lines")
FAULTS = of_guest("page faults", "page_faults")
TABLES = of_guest("page tables", "page_table_kb", "KB")
RSS = of_guest("resident set, at most", "max_rss_kb", "KB")
ANON = of_guest("anonymous memory", "anon_kb", "KB")
WASTE = of_whole("memory of processes that is all zero", "waste_kb")
WASTE_EACH = of_whole("the same, of a process", "waste_kb", "processes")
FREE = after_boot("memory free after boot", "mem_free_kb")
AVAILABLE = after_boot("memory available after boot", "mem_available_kb")
WALL = Measure("time in the guest", lambda record:
               measured(record).get("wall_s"), "s")
# Without the counter device there are no regions.
WHOLE = Measure("time of the whole command", lambda record:
                record["result"]["wall_s"], "s")
CPU = Measure("CPU time of the emulator, with boot", lambda record:
              record.get("host_cpu_s"), "s")
INSTRUCTIONS = Measure("instructions", instructions)

MEASURES = [
    L1D_MISSES, L1D_FILLS, *L1D_CLASSES,
    counters("L1 iTLB misses", r"l1i-miss"), L1I_FILLS, *L1I_CLASSES,
    STLB_DATA, counters("STLB misses, code", r"stlb-fetch-miss"),
    STLB_FILLS, *STLB_CLASSES, WALKS,
    counters("walks faulted", r"walk-faulted"), READ, GROUP, SAVED, LINES,
    counters("contiguous groups used", r"contig-well-formed"),
    counters("groups degraded to 4 KB", r"contig-(absent|unmarked|frame|"
             r"attributes|raced)"),
    FAULTS, TABLES, RSS, ANON, WASTE, WASTE_EACH, FREE, AVAILABLE,
    INSTRUCTIONS, WALL, CPU,
]


def estimates(model: Model) -> tuple[Measure, Measure]:
    """In cycles: what misses and faults cost, and that with the
    instructions."""
    return (Measure("overhead of TLB misses and faults, estimated",
                    lambda record: model.overhead(measured(record))),
            Measure("cycles in all, estimated", lambda record: model.total(
                measured(record), instructions(record))))


@dataclass(frozen=True)
class Spread:
    """Over the runs of a cell."""
    median: float
    low: float
    high: float
    runs: int


def spread(values: Iterable[float | None]) -> Spread | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    return Spread(statistics.median(known), min(known), max(known),
                  len(known))


@dataclass
class Group:
    """What is compared: one workload of one size on one TLB."""
    workload: str
    size: str
    tlb: str
    options: dict[str, Any]
    region: str = ""        # of a command: one that it has marked
    cells: dict[str, list[Record]] = field(default_factory=dict)  # by mode
    label: str = ""         # what of this tells it from the others

    def get(self, mode: str, measure: Measure) -> Spread | None:
        return spread(measure.of(record) for record
                      in self.cells.get(mode, ()))

    def ratio(self, mode: str, measure: Measure) -> float | None:
        """Of the medians, to 4 KB pages."""
        value, base = self.get(mode, measure), self.get(BASE, measure)
        if value is None or base is None or not base.median:
            return None
        return value.median / base.median


def mode_order(mode: str) -> tuple[int, str]:
    known = list(guest.MODES)
    return (known.index(mode) if mode in known else len(known), mode)


def label(groups: list[Group]) -> None:
    """Names each by its workload, and by the options that are not the same
    for all of that workload and size."""
    for group in groups:
        alike = [one for one in groups if one.workload == group.workload
                 and one.size == group.size]
        words = [group.workload, group.size]
        if group.region:
            words.append(f"({group.region})")
        for name, value in group.options.items():
            if any(one.options.get(name) != value for one in alike):
                words.append(name if value is True else f"{name} {value}")
        group.label = " ".join(filter(None, words))


def parts(record: Record) -> Iterator[tuple[str, Record]]:
    """The record, and one for each region that a command has marked; of a
    workload only the one region counts."""
    yield "", record
    if record["result"] and measured(record) is record["result"]:
        idle = idle_s(record)
        for region in record["result"]["regions"]:
            told = {} if idle is None or idle > IDLE_KNOWN_TO_S else {
                "idle_s": 0}
            yield region["name"], record | {"result": region | {
                "regions": [], "guest": told | region["guest"]}}


def groups(records: Iterable[Record]) -> list[Group]:
    """In the order of workloads as they first ran; failed cells left out."""
    found: dict[str, Group] = {}
    for whole in records:
        cell = whole["cell"]
        for region, record in parts(whole):
            key = json.dumps([cell["workload"], cell["size"], record["tlb"],
                              record["options"], region], sort_keys=True)
            group = found.setdefault(key, Group(
                cell["workload"], cell["size"], record["tlb"],
                record["options"], region))
            if record["status"] == matrix.DONE:
                group.cells.setdefault(record["mode"], []).append(record)
    label(list(found.values()))
    place = {name: number for number, name in enumerate(dict.fromkeys(
        record["cell"]["workload"] for record in records))}
    regions = list(dict.fromkeys(group.region for group in found.values()))
    for group in found.values():
        group.cells = {mode: group.cells[mode]
                       for mode in sorted(group.cells, key=mode_order)}
    return sorted((group for group in found.values() if group.cells),
                  key=lambda group: (place[group.workload], group.size,
                                     regions.index(group.region), group.tlb,
                                     str(group.options)))


def rows(group: Group, measures: Iterable[Measure]) -> Iterator[
        tuple[Measure, list[Spread | None]]]:
    """What was counted at all."""
    for measure in measures:
        values = [group.get(mode, measure) for mode in group.cells]
        if any(value and value.high for value in values):
            yield measure, values


def long_form(records: Iterable[Record]) -> str:
    """CSV: one figure in a line, of the whole command and of each region."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["cell", "workload", "size", "tlb", "mode", "run",
                    "options", "status", "region", "name", "value"])
    for record in records:
        cell = record["cell"]
        head = [record["id"], cell["workload"], cell["size"], record["tlb"],
                record["mode"], record["run"],
                json.dumps(record["options"], sort_keys=True),
                record["status"]]
        for name in ("host_s", "host_cpu_s", "exit_status"):
            table.writerow([*head, "", name, record.get(name)])
        result = record["result"]
        if not result:
            continue
        for region in [result | {"name": ""}, *result["regions"]]:
            figures = {f"guest.{name}": value
                       for name, value in region["guest"].items()}
            if "wall_s" in region:
                figures["wall_s"] = region["wall_s"]
            figures |= {f"boot.{name}": value
                        for name, value in region.get("boot", {}).items()}
            for name, value in (figures | region["counters"]).items():
                table.writerow([*head, region["name"], name, value])
    return out.getvalue()
