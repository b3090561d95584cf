# SPDX-License-Identifier: GPL-2.0-or-later
"""Prices counts in cycles: an estimate, by stated costs (costs.toml)."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from x64k import paths, report, ui

FILE = Path(__file__).with_name("costs.toml")

Part = dict[str, Any]       # what tlbstat tells of a command or a region


@dataclass(frozen=True)
class Cost:
    name: str
    cycles: float
    source: str
    counters: str = ""
    less: str = ""
    guest: str = ""

    def count(self, part: Part) -> float | None:
        """How many of these events PART has; None if nobody counted."""
        if self.guest:
            return part["guest"].get(self.guest)
        found = report.total(part["counters"], self.counters)
        if found is None:
            return None
        less = report.total(part["counters"], self.less) if self.less else 0
        return found - (less or 0)


@dataclass(frozen=True)
class Model:
    cpi: float
    cpi_source: str
    costs: tuple[Cost, ...]
    path: Path

    def cycles(self, part: Part) -> dict[str, float] | None:
        """Of each cost; None if one of them was not counted."""
        counts = {cost.name: cost.count(part) for cost in self.costs}
        if None in counts.values():
            return None
        return {cost.name: counts[cost.name] * cost.cycles
                for cost in self.costs}

    def overhead(self, part: Part) -> float | None:
        """All but the instructions."""
        cycles = self.cycles(part)
        return None if cycles is None else sum(cycles.values())

    def total(self, part: Part, instructions: float | None) -> float | None:
        overhead = self.overhead(part)
        if overhead is None or instructions is None:
            return None
        return instructions * self.cpi + overhead


def is_number(value: Any) -> bool:
    return (isinstance(value, (int, float)) and value >= 0
            and not isinstance(value, bool))


def make(table: dict[str, Any], path: Path) -> Cost:
    def fail(what: str) -> ui.X64kError:
        return ui.X64kError(f"{paths.shown(path)}: cost "
                            f"'{table.get('name', '?')}': {what}", 2)

    texts = {"name", "source", "counters", "less", "guest"}
    if unknown := table.keys() - texts - {"cycles"}:
        raise fail(f"unknown field '{min(unknown)}'")
    for key in texts & table.keys():
        if not isinstance(table[key], str):
            raise fail(f"field '{key}' must be a text")
    for key in ("name", "source"):
        if not table.get(key):
            raise fail(f"field '{key}' is missing")
    if not is_number(table.get("cycles")):
        raise fail("field 'cycles' must be a number that is not negative")
    if bool(table.get("counters")) == bool(table.get("guest")):
        raise fail("needs either 'counters' or 'guest'")
    for key in ("counters", "less"):
        try:
            re.compile(table.get(key, ""))
        except re.error as error:
            raise fail(f"field '{key}': {error}") from error
    return Cost(**table)


def load(path: Path = FILE) -> Model:
    try:
        data = tomllib.loads(path.read_text())
    except OSError as error:
        raise ui.X64kError(f"--costs: cannot read {path}: {error.strerror}",
                           2) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ui.X64kError(f"{paths.shown(path)}: {error}", 2) from error
    if unknown := data.keys() - {"cpi", "cpi-source", "cost"}:
        raise ui.X64kError(f"{paths.shown(path)}: unknown field "
                           f"'{min(unknown)}'", 2)
    if not is_number(data.get("cpi")):
        raise ui.X64kError(f"{paths.shown(path)}: field 'cpi' must be a number "
                           "that is not negative", 2)
    costs = tuple(make(table, path) for table in data.get("cost", ()))
    if len({cost.name for cost in costs}) < len(costs):
        raise ui.X64kError(f"{paths.shown(path)}: two costs of one name", 2)
    return Model(data["cpi"], str(data.get("cpi-source", "")), costs, path)
