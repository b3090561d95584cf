# SPDX-License-Identifier: GPL-2.0-or-later
"""Turns the counters of several modes into one table.

A row sums the counters that its pattern names, so a preset with other size
classes, or a counter that does not exist yet, needs no change here."""

import re
from collections.abc import Iterable
from typing import Any

# Title, and the counters that belong to the row.
ROWS: list[tuple[str, str]] = [
    ("L1 dTLB misses", r"l1d-(load|store)-miss"),
    ("  fills 4 KB", r"l1d-fill-4k"),
    ("  fills 64 KB", r"l1d-fill-64k-.*"),
    ("  fills 2 MB, 1 GB", r"l1d-fill-(2m|1g)"),
    ("L1 iTLB misses", r"l1i-miss"),
    ("STLB misses", r"stlb-(load|store|fetch)-miss"),
    ("  fills 4 KB", r"stlb-fill-4k"),
    ("  fills 64 KB", r"stlb-fill-64k-.*"),
    ("  fills 2 MB, 1 GB", r"stlb-fill-(2m|1g)"),
    ("walks completed", r"walk-completed"),
    ("walks faulted", r"walk-faulted"),
    ("contig well formed", r"contig-well-formed"),
    ("contig ill formed", r"contig-(absent|unmarked|frame|attributes|raced)"),
]


# Title, and the names of a sum in `guest`, and of what it is divided by.
MEMORY: list[tuple[str, str, str | None]] = [
    ("largest process, KB", "max_rss_kb", None),
    ("page tables, KB", "page_table_kb", None),
    ("anonymous, KB", "anon_kb", None),
    ("waste, KB", "waste_kb", None),
    ("waste of a process, KB", "waste_kb", "processes"),
]
BOOT = [("free, KB", "mem_free_kb"), ("available, KB", "mem_available_kb")]


def total(counters: dict[str, int], pattern: str) -> int | None:
    """The sum of the counters of that name, or None if there is none."""
    values = [value for name, value in counters.items()
              if re.fullmatch(pattern, name)]
    return sum(values) if values else None


def ratio(value: float | None, base: float | None) -> str:
    if value is None or not base:
        return "n/a"
    quotient = value / base
    return f"{quotient:.2f}" if quotient >= 0.095 else f"{quotient:.2g}"


def shown(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.2f} s"


Row = tuple[str, list[float | None]]


def memory_rows(parts: list[dict[str, Any]]) -> list[Row]:
    """What of memory is known."""
    rows: list[Row] = []
    for title, name, by in MEMORY:
        values: list[float | None] = []
        for guest in (part["guest"] for part in parts):
            value = guest.get(name)
            if by and value is not None:
                value = round(value / guest[by])
            values.append(value)
        if any(value is not None for value in values):
            rows.append((title, values))
    return rows


def boot_rows(modes: list[dict[str, Any]]) -> list[Row]:
    return [(title, values) for title, name in BOOT
            if any(values := [mode.get("boot", {}).get(name)
                              for mode in modes])]


def rows_of(parts: list[dict[str, Any]]) -> list[Row]:
    """The rows for one command or one region, a value for each mode."""
    rows: list[Row] = []
    for title, pattern in ROWS:
        values = [total(part["counters"], pattern) for part in parts]
        if any(values):
            rows.append((title, values))
    rows.append(("page faults",
                 [part["guest"]["page_faults"] for part in parts]))
    rows += memory_rows(parts)
    if all("wall_s" in part for part in parts):
        rows.append(("wall time", [part["wall_s"] for part in parts]))
    return rows


def region_names(modes: list[dict[str, Any]]) -> list[str]:
    """The regions that every mode has, in order of their first mention."""
    names = [[region["name"] for region in mode["regions"]] for mode in modes]
    return [name for name in names[0] if all(name in n for n in names)]


def region(mode: dict[str, Any], name: str) -> dict[str, Any]:
    return next(r for r in mode["regions"] if r["name"] == name)


def blocks(modes: list[dict[str, Any]]) -> Iterable[tuple[str, list[Row]]]:
    if rows := boot_rows(modes):
        yield "memory after boot", rows
    yield "whole command", rows_of(modes)
    for name in region_names(modes):
        yield f"region {name}", rows_of([region(m, name) for m in modes])


def table(modes: list[dict[str, Any]]) -> str:
    """One table: a column for each mode with its ratio to `4k`."""
    names = [mode["mode"] for mode in modes]
    base = names.index("4k") if "4k" in names else None
    header = [""]
    for name in names:
        header += [name] if name == "4k" else [name, "to 4k"]
    lines: list[list[str] | str] = [header]
    for title, rows in blocks(modes):
        lines.append(title)
        for name, values in rows:
            cells = [f"  {name}"]
            for mode, value in zip(names, values, strict=True):
                cells.append(shown(value))
                if mode != "4k":
                    cells.append("n/a" if base is None
                                 else ratio(value, values[base]))
            lines.append(cells)

    widths = [max(len(line[i]) for line in lines if isinstance(line, list))
              for i in range(len(header))]
    text = []
    for line in lines:
        if isinstance(line, str):
            text.append(line)
            continue
        first, *rest = (cell.ljust(width) if i == 0 else cell.rjust(width)
                        for i, (cell, width)
                        in enumerate(zip(line, widths, strict=True)))
        text.append("  ".join([first, *rest]).rstrip())
    return "\n".join(text) + "\n"


def memory(result: dict[str, Any]) -> str:
    """What one command and its boot cost, in lines; each process if known."""
    lines = [f"memory after boot, {title}: {shown(value)}"
             for title, (value,) in boot_rows([result])]
    lines += [f"{title}: {shown(value)}"
              for title, (value,) in memory_rows([result])]
    for process in result.get("processes", []):
        lines.append(f"  {process['name']} ({process['pid']}): resident "
                     f"{process['rss_kb']:,} KB, page tables "
                     f"{process['page_table_kb']:,} KB, waste "
                     f"{process['waste_kb']:,} KB")
    return "\n".join(lines)
