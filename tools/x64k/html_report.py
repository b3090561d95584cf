# SPDX-License-Identifier: GPL-2.0-or-later
"""The report of a matrix: one HTML file that needs no other."""

import json
import shlex
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

from x64k import VERSION, charts, figures, matrix
from x64k.charts import Bar, Chart
from x64k.cost import Model
from x64k.figures import BASE, Group, Measure, Spread
from x64k.matrix import Record

STYLE = Path(__file__).with_name("report.css")

NOT_MODELLED = [
    "Time. The counts are those of the modelled processor; seconds are those "
    "of an emulator, and cycles are an estimate by the costs above.",
    "Accesses that are not architectural: no wrong-path or speculative "
    "accesses, no prefetch into TLBs, no TLB ports, no walks in parallel. The "
    "order of a processor's accesses is program order.",
    "Data caches: what an entry of a page table costs to read depends on where "
    "it is; the estimate takes one place for all.",
    "Overlap: an out-of-order processor hides some of a miss behind other "
    "work; the estimate hides nothing.",
    "Paging-structure caches are counted, not used: a walk always reads the "
    "tables, and what the caches would have saved is a counter of its own.",
    "The cost of larger pages elsewhere: zeroing and reading 64 KB where 4 KB "
    "would do is in the instructions, but not in memory bandwidth or caches.",
    "Other machines' load: the guest has as many processors as the matrix "
    "says, and nothing else runs in it.",
]

# Measures of the first table; the estimate is added.
SHORT = [figures.L1D_MISSES, figures.STLB_DATA, figures.READ, figures.LINES,
         figures.FAULTS, figures.TABLES, figures.RSS]


def number(value: float | None, unit: str = "") -> str:
    if value is None:
        return "-"
    if unit == "s":
        return f"{value:,.2f} s"
    return f"{value:,.0f}" + (f" {unit}" if unit else "")


def ratio(value: float | None) -> str:
    if value is None:
        return "-"
    if not value:
        return "0"
    return f"{value:.2f}" if value >= 0.0995 else f"{value:.2g}"


def short(value: float) -> str:
    """For the end of a bar."""
    for factor, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= 10 * factor:
            return f"{value / factor:.0f} {suffix}"
        if value >= factor:
            return f"{value / factor:.1f} {suffix}"
    return f"{value:.0f}"


def shown(value: Spread | None, unit: str) -> str:
    """Median, and where runs differ, from where to where."""
    if value is None:
        return "-"
    text = number(value.median, unit)
    if number(value.low, unit) != number(value.high, unit):
        text += (f"<small>{number(value.low, unit)} to "
                 f"{number(value.high, unit)}</small>")
    return text


def table(caption: str, header: Iterable[str], body: Iterable[str],
          numbers_from: int = 1) -> str:
    """HEADER is text, BODY rows of HTML.  It scrolls by itself: a page that is
    wider than a telephone is a nuisance."""
    kinds = ("", ' class="number"')
    cells = "".join(f'<th scope="col"{kinds[i >= numbers_from]}>{escape(text)}'
                    "</th>" for i, text in enumerate(header))
    return (f'<div class="scroll" tabindex="0" role="region" aria-label='
            f'"{escape(caption)}"><table><caption>{escape(caption)}</caption>'
            f"<thead><tr>{cells}</tr></thead>\n<tbody>\n"
            + "\n".join(body) + "\n</tbody></table></div>")


def row(head: Iterable[str], cells: Iterable[str], kind: str = "") -> str:
    """HEAD is text, CELLS are HTML."""
    heads = "".join(f'<th scope="row">{escape(text)}</th>' for text in head)
    of_kind = f' class="{kind}"' if kind else ""
    return (f"<tr{of_kind}>{heads}"
            + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")


def modelled(groups: list[Group]) -> list[Group]:
    return [group for group in groups if group.tlb not in figures.WITHOUT]


def short_rows(groups: list[Group], model: Model) -> list[list[str]]:
    """The ratios of each mode to the base, after a header; of the estimate,
    the overhead and beside it what all of it comes to."""
    overhead, total = figures.estimates(model)
    measures = [*SHORT, overhead]
    rows = [["workload", "TLB", "mode", *(one.title for one in measures),
             total.title]]
    for group in groups:
        if BASE in group.cells:
            rows += [[group.label, group.tlb, mode,
                      *(ratio(group.ratio(mode, one)) for one in measures),
                      percent(group, mode, total)]
                     for mode in group.cells if mode != BASE]
    return rows


def in_short(groups: list[Group], model: Model) -> str:
    header, *rows = short_rows(groups, model)
    if not rows:
        return (f"<p>Nothing to compare: a ratio needs mode {BASE} and another "
                "one of the same workload and TLB.</p>")
    before = [None, *(cells[:2] for cells in rows)]
    body = [row(cells[:3], cells[3:], "group" if cells[:2] != last else "")
            for cells, last in zip(rows, before)]
    return (f"<p>Ratios to mode <code>{BASE}</code> (4 KB pages only) of the "
            "same workload and TLB, of medians over runs: 0.06 is a "
            "sixteenth, 1.00 no difference. &quot;-&quot;: not counted, or "
            "none in the base. The overhead is what misses and faults cost by "
            "the <a href=\"#estimate\">estimate</a>, apart from all else that "
            "the program does; beside it, by how much cycles in all, with the "
            "instructions, differ. These are known with <code>--icount</code> "
            "only.</p>" + table(f"Ratio to {BASE}", header, body, 3))


def parts_chart(groups: list[Group], title: str, series: tuple[str, ...],
                parts) -> Chart | None:
    """PARTS(group, mode) gives a value for each of SERIES; the axis is per
    cent of what 4 KB pages have in all."""
    found = []
    for group in groups:
        base = parts(group, BASE) if BASE in group.cells else None
        if not base or not sum(base):
            continue
        bars = []
        for mode in group.cells:
            if values := parts(group, mode):
                bars.append(Bar(mode, tuple(100 * value / sum(base)
                                            for value in values),
                                short(sum(values))))
        found.append((group.label, tuple(bars)))
    if not found:
        return None
    return Chart(title, f"% of {BASE}", series, tuple(found))


def sums(measures: list[Measure]):
    def parts(group: Group, mode: str) -> list[float] | None:
        values = [group.get(mode, one) for one in measures]
        if not any(values):
            return None
        return [value.median if value else 0 for value in values]
    return parts


def walk_parts(group: Group, mode: str) -> list[float] | None:
    values = [group.get(mode, one) for one in
              (figures.READ, figures.GROUP, figures.SAVED)]
    if not values[0]:
        return None
    read, checks, saved = (value.median if value else 0 for value in values)
    return [read - checks - saved, checks, saved]


def charts_of(groups: list[Group], model: Model) -> list[Chart]:
    classes = tuple(figures.CLASSES)

    def cycles(group: Group, mode: str) -> list[float] | None:
        return sums([Measure(cost.name, lambda record, cost=cost: (
            model.cycles(figures.measured(record)) or {}).get(cost.name))
            for cost in model.costs])(group, mode)

    found = [
        parts_chart(groups, "L1 dTLB fills, by size of the entry", classes,
                    sums(figures.L1D_CLASSES)),
        parts_chart(groups, "STLB fills, by size of the entry", classes,
                    sums(figures.STLB_CLASSES)),
        parts_chart(groups, "Page-table entries read by walks",
                    ("read past the caches", "group checks",
                     "saved by paging-structure caches"), walk_parts),
        *(parts_chart(groups, title, (one.title,), sums([one]))
          for title, one in (
              ("Distinct page-table lines read by walks", figures.LINES),
              ("Page faults", figures.FAULTS),
              ("Memory of page tables, KB", figures.TABLES),
              ("Largest resident set, KB", figures.RSS))),
        parts_chart(groups, "Overhead of TLB misses and faults, estimated "
                    "cycles",
                    tuple(cost.name for cost in model.costs), cycles),
    ]
    return [chart for chart in found if chart]


def figure(chart: Chart, name: str) -> str:
    keys = ""
    if len(chart.series) > 1:
        keys = "".join(
            f'<span class="key"><i style="background: var(--series-{i})"></i>'
            f"{escape(chart.series[i])}</span>" for i in chart.used())
    return (f'<figure><figcaption id="{name}"><strong>{escape(chart.title)}'
            f"</strong> {keys}</figcaption>{charts.draw(chart, name)}</figure>")


def pictures(groups: list[Group], model: Model) -> str:
    out = ["<p>Each bar against mode 4k of the same workload, which is 100 %; "
           "at its end the count (k: thousand, M: million, G: 10<sup>9</sup>). "
           "The tables have all figures.</p>"]
    tlbs = list(dict.fromkeys(group.tlb for group in groups))
    for place, tlb in enumerate(tlbs):
        some = [group for group in groups if group.tlb == tlb]
        drawn = "\n".join(figure(chart, f"chart-{place}-{i}") for i, chart
                          in enumerate(charts_of(some, model)))
        if drawn:
            out.append(f"<h3>TLB {escape(tlb)}</h3>\n"
                       f'<div class="charts">\n{drawn}\n</div>')
    return "\n".join(out)


def details(groups: list[Group]) -> str:
    out = []
    for group in groups:
        caption = f"{group.label}, TLB {group.tlb}"
        body = []
        for measure, values in figures.rows(group, figures.MEASURES):
            cells = []
            for mode, value in zip(group.cells, values, strict=True):
                text = shown(value, measure.unit)
                if mode != BASE and BASE in group.cells:
                    text += f"<small>× {ratio(group.ratio(mode, measure))}</small>"
                cells.append(text)
            body.append(row([measure.title], cells,
                            "part" if measure.part_of else ""))
        runs = {mode: len(records) for mode, records in group.cells.items()}
        header = ["", *(f"{mode} ({count} runs)" if count > 1 else mode
                        for mode, count in runs.items())]
        out.append(f"<details><summary>{escape(caption)}</summary>"
                   f"{table(caption, header, body)}</details>")
    return "\n".join(out)


def saved(group: Group, mode: str, measure: Measure) -> str:
    value, base = group.get(mode, measure), group.get(BASE, measure)
    if mode == BASE or value is None or base is None:
        return "-"
    return number(base.median - value.median)


def percent(group: Group, mode: str, measure: Measure) -> str:
    found = group.ratio(mode, measure)
    return "-" if mode == BASE or found is None else f"{100 * (found - 1):+.1f} %"


def costs(groups: list[Group], model: Model) -> str:
    overhead, total = figures.estimates(model)
    body = [row([cost.name], [f"{cost.cycles:g}"]).replace(
        "</tr>", f'<td class="text">{escape(cost.source)}</td></tr>')
        for cost in model.costs]
    body.append(row(["an instruction"], [f"{model.cpi:g}"]).replace(
        "</tr>", f'<td class="text">{escape(model.cpi_source)}</td></tr>'))
    out = ["<p id=\"estimate\">cycles in all = instructions × cost + sum of (count × cost), "
           "and the overhead of misses and faults is that sum. Instructions "
           "are known only with <code>--icount</code>, where time is their "
           "number (less the time in which the processor was idle, known to "
           "10 ms); without it, only what misses and faults cost can be told. "
           "Other costs: <code>x64k report DIR "
           f"--costs FILE</code>; these are of <code>{escape(model.path.name)}"
           "</code>.</p>",
           table("Costs", ["event", "cycles", "source"], body).replace(
               '<th scope="col" class="number">source',
               '<th scope="col">source')]
    body = []
    for group in groups:
        kind = "group"
        for mode in group.cells:
            spent = group.get(mode, overhead)
            instructions = group.get(mode, figures.INSTRUCTIONS)
            whole = group.get(mode, total)
            body.append(row([group.label, group.tlb, mode], [
                number(spent and spent.median), saved(group, mode, overhead),
                number(instructions and instructions.median),
                number(whole and whole.median),
                percent(group, mode, total)], kind))
            kind = ""
    out.append(table("Estimated cycles", [
        "workload", "TLB", "mode", "overhead of misses and faults",
        f"overhead saved to {BASE}", "instructions", "in all",
        f"in all, to {BASE}"], body, 3))
    return "\n".join(out)


def overhead(groups: list[Group]) -> str:
    """Time on stock QEMU, without a model, and with one."""
    groups = [group for group in groups if not group.region]
    tlbs = list(dict.fromkeys(group.tlb for group in groups))
    base = next((name for name in ("stock", "off") if name in tlbs), None)
    if not base or len(tlbs) < 2:
        return ("<p>Not measured in this matrix: add <code>stock</code> (QEMU "
                "without the patches) or <code>off</code> (without the model) "
                "to <code>--tlb</code>.</p>")
    tlbs.sort(key=lambda name: (name != "stock", name != "off"))
    by_what: dict[tuple[str, str], dict[str, Spread]] = {}
    for group in groups:
        for mode in group.cells:
            if value := group.get(mode, figures.WHOLE):
                by_what.setdefault((group.label, mode), {})[group.tlb] = value
    body = []
    for (label, mode), values in by_what.items():
        cells = []
        for name in tlbs:
            text = shown(values.get(name), "s")
            if name != base and name in values and base in values:
                text += ("<small>× " + ratio(values[name].median
                         / values[base].median) + "</small>")
            cells.append(text)
        body.append(row([label, mode], cells))
    return ("<p>Seconds of the emulator on the machine that ran it, whatever "
            "else ran there; with <code>--icount</code>, of virtual time, "
            "which says nothing about speed.</p>"
            + table(f"Time of the whole command, set-up included; × is to {base}",
                    ["workload", "mode", *tlbs], body, 2))


def command_lines(records: list[Record]) -> list[str]:
    """What would run these cells again."""
    found: dict[str, list[Record]] = {}
    for record in records:
        cell = record["cell"]
        command = cell["workload"] if not cell["size"] else ""
        found.setdefault(json.dumps(
            [cell["size"], command, record["options"]], sort_keys=True),
            []).append(record)
    lines = []
    for some in found.values():
        def names(what, some=some) -> str:
            return ",".join(dict.fromkeys(map(what, some)))
        cell = some[0]["cell"]
        words = ["./x64k", "compare", "--results", "DIR", "--modes",
                 names(lambda r: r["mode"]), "--tlb", names(lambda r: r["tlb"]),
                 "--runs", str(max(r["run"] for r in some))]
        for name, value in some[0]["options"].items():
            words.append(f"--{name}")
            words += [] if value is True else [str(value)]
        if cell["size"]:
            words += ["--size", cell["size"], "--workload",
                      names(lambda r: r["cell"]["workload"])]
        line = shlex.join(words)
        # A command is as its user wrote it.
        lines.append(line if cell["size"] else f"{line} -- {cell['workload']}")
    return lines


def builds(records: list[Record]
           ) -> list[tuple[dict[str, str], list[Record]]]:
    """By the contents of emulator, kernels and images: with these, the cells
    that have no others."""
    found: list[tuple[dict[str, str], list[Record]]] = []
    for record in records:
        files = {name: value for name, value in
                 record["cell"]["inputs"].items() if name != "tlb"}
        for known, some in found:
            if all(known.get(name, value) == value
                   for name, value in files.items()):
                known |= files
                some.append(record)
                break
        else:
            found.append((files, [record]))
    return found


def mixed(records: list[Record]) -> list[str]:
    """The files that are not the same for cells that should have the same."""
    found: dict[tuple[str, ...], set[str]] = {}
    for record in records:
        for name, value in record["cell"]["inputs"].items():
            found.setdefault((name, record["tlb"] if name == "tlb" else
                              str(record["tlb"] == matrix.STOCK),
                              json.dumps(record["options"], sort_keys=True)),
                             set()).add(value)
    return sorted({key[0] for key, values in found.items() if len(values) > 1})


def source_lines(versions: dict[str, Any]) -> list[str]:
    lines = []
    for name, title in (("qemu", "QEMU"), ("linux", "Linux")):
        if entry := versions.get(name):
            lines.append(f"{title} {entry.get('version')}, "
                         f"{entry.get('patches')} patches of ours")
    return lines


def reproduce(records: list[Record]) -> str:
    out = ["<pre><code>" + escape("\n".join(command_lines(records)))
           + "</code></pre>"]
    for number_, (files, some) in enumerate(builds(records), 1):
        newest = some[-1]
        lines = [f"x64k {newest['x64k']} ({newest['git']})",
                 *source_lines(newest["versions"]),
                 *(f"{name}: sha256 {value}" for name, value
                   in files.items())]
        hosts = sorted({record["host"] for record in some})
        lines.append("on: " + "; ".join(hosts))
        lines.append(f"from {some[0]['started']} to {newest['started']}")
        out.append(f"<h3>Build {number_} (cells: {len(some)})</h3><pre><code>"
                   + escape("\n".join(lines)) + "</code></pre>"
                   "<p>The emulator's command line of its newest cell, "
                   f"<code>{escape(newest['id'])}</code>:</p><pre><code>"
                   + escape(shlex.join(newest["command_line"]))
                   + "</code></pre>")
    out.append("<p>Run N has the seed N. Two cells of the same seed with "
               "<code>--icount</code> count the same; without it, time is the "
               "machine's, timer interrupts fall elsewhere, and runs differ a "
               "little. Each cell's file, <code>cells/ID.json</code>, has its "
               "versions, seed, command lines and all counters.</p>")
    return "\n".join(out)


def missing(records: list[Record]) -> int:
    """How many cells would make a whole matrix of what is there."""
    by_tlb: dict[str, list[Record]] = {}
    for record in records:
        by_tlb.setdefault(record["tlb"], []).append(record)
    runs = max(record["run"] for record in records)
    jobs = {json.dumps([r["cell"]["workload"], r["cell"]["size"],
                        r["options"]], sort_keys=True) for r in records}
    return sum(len(jobs) * len({r["mode"] for r in some}) * runs
               for some in by_tlb.values()) - len(records)


def failure(record: Record) -> str:
    text = "\n".join([record["error"], record.get("output", "")[-2000:]])
    return (f"<h3><code>{escape(record['id'])}</code></h3>"
            f"<pre>{escape(text.rstrip())}</pre><p>Console log: <code>logs/"
            f"{escape(record['id'])}.log</code></p>")


def problems(records: list[Record]) -> str:
    out = []
    if failed := [r for r in records if r["status"] == matrix.FAILED]:
        out.append(f'<div class="bad"><p><strong>{len(failed)} of '
                   f"{len(records)} cells failed</strong> and are left out: no "
                   "figure below has them. <code>compare --retry</code> runs "
                   f"them again.</p>{''.join(map(failure, failed))}</div>")
    if (count := missing(records)) > 0:
        out.append(f'<div class="box"><p><strong>The matrix has gaps:</strong> '
                   f"not yet run: {count} cells.</p></div>")
    if names := mixed(records):
        out.append('<div class="bad"><p><strong>Cells of several builds are '
                   f"mixed here:</strong> {', '.join(names)} changed between "
                   "them. The same compare command runs those again that are "
                   "not of the newest.</p></div>")
    if said := [(record["id"], line) for record in records
                for line in record["warnings"]]:
        items = "".join(f"<li><code>{escape(ident)}</code>: {escape(line)}</li>"
                        for ident, line in said[:20])
        out.append(f'<div class="bad"><p><strong>The guest kernel complained'
                   f"</strong> {len(said)} times:</p><ul>{items}</ul></div>")
    return "\n".join(out)


def document(records: list[Record], model: Model) -> str:
    """RECORDS: the newest of each cell, not none."""
    groups = figures.groups(records)
    counted = modelled(groups)
    names = list(dict.fromkeys(group.workload for group in groups))
    title = "x64k: " + (", ".join(names) if len(names) <= 4
                        else f"{len(names)} workloads")
    sections = {
        "In short": in_short(counted, model),
        "Charts": pictures(counted, model),
        "All counts": details(counted),
        "Estimated cycles": costs(counted, model),
        "What the emulation costs": overhead(groups),
        "What this does not model": '<div class="box"><ul>' + "".join(
            f"<li>{escape(line)}</li>" for line in NOT_MODELLED)
        + "</ul></div>",
        "How to repeat it": reproduce(records),
    }
    links = "".join(f'<li><a href="#part-{i}">{escape(name)}</a></li>'
                    for i, name in enumerate(sections))
    body = "\n".join(f'<section aria-labelledby="part-{i}">\n'
                     f'<h2 id="part-{i}">{escape(name)}</h2>\n{text}\n</section>'
                     for i, (name, text) in enumerate(sections.items()))
    newest = max(record["started"] for record in records)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="x64k {escape(VERSION)}">
<title>{escape(title)}</title>
<style>
{STYLE.read_text()}</style>
</head>
<body>
<main>
<h1>{escape(title)}</h1>
<p class="quiet">Cells: {len(records)}, the newest of {escape(newest)}. What
64 KB pages save on x86: TLB fills, page walks and page faults, counted by an
exact model of the TLBs in an emulated guest.</p>
<nav aria-label="Parts of this report"><ul>{links}</ul></nav>
{problems(records)}
{body}
</main>
</body>
</html>
"""
