# SPDX-License-Identifier: GPL-2.0-or-later
"""The report of cells that are made by hand: its figures, and that it needs
and trusts nothing from elsewhere."""

import csv
import importlib.util
import io
import re
import tempfile
import unittest
from html.parser import HTMLParser
from pathlib import Path
from unittest import mock

from x64k import charts, cost, figures, html_report, report_verb, ui

MATPLOTLIB = bool(importlib.util.find_spec("matplotlib"))
NEEDS = "matplotlib is not installed; `x64k build report` does it"

# L1 dTLB fills of 4 KB and of 64 KB hint, walks, faults; by mode.
COUNTS = {"4k": (1000, 0, 800, 320), "contig": (50, 30, 40, 20)}
VOID = {"meta", "br", "img", "link", "input", "hr"}


def counters(small: int, large: int, walks: int) -> dict[str, int]:
    return {"l1d-load-miss": small + large, "l1d-store-miss": 0, "l1i-miss": 0,
            "stlb-load-miss": walks, "stlb-store-miss": 0,
            "stlb-fetch-miss": 0, "l1d-fill-4k": small,
            "l1d-fill-64k-hint": large, "l1d-fill-64k-leaf": 0,
            "walk-completed": walks, "walk-read-pd": walks,
            "walk-read-pt": walks, "walk-read-group": 15 * large,
            "walk-saved": walks, "walk-lines": walks // 8}


def cell(mode: str, run: int = 1, workload: str = "gups", tlb: str = "zen4",
         extra: int = 0, **more) -> dict:
    small, large, walks, faults = COUNTS[mode]
    region = {"name": "workload", "entered": 1, "wall_s": 0.001,
              "guest": {"page_faults": faults, "page_table_kb": 64},
              "counters": counters(small + extra, large, walks)}
    record = {
        "format": 1, "id": f"{workload}-{mode}-{tlb}-{run}", "slot": "",
        "cell": {"workload": workload, "size": "small", "command": ["x"],
                 "machine": {"icount": True}, "inputs": {"kernel": "ab"}},
        "mode": mode, "tlb": tlb, "run": run, "seed": run,
        "options": {"mem": "1G", "icount": True}, "x64k": "0.1", "git": "abc",
        "versions": {"qemu": {"version": "10", "patches": 3}},
        "command_line": ["qemu"], "host": "a processor",
        "started": "2026-01-01T00:00:00Z", "status": "done", "error": None,
        "warnings": [], "host_s": 2.0, "host_cpu_s": 1.5, "exit_status": 0,
        # The whole command had more: set-up.
        "result": {"status": 0, "wall_s": 9.0, "guest": {
                       "page_faults": 9999, "idle_s": 0.01},
                   "counters": counters(7777, 0, 6666), "regions": [region]}}
    return record | more


class Reader(HTMLParser):
    """Checks that elements nest, and gathers tables."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.rows: list[list[str]] = []
        self.caption = ""
        self.ids: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if "id" in dict(attrs):
            self.ids.append(dict(attrs)["id"])
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.rows = []
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        elif tag == "caption":
            self.caption = ""

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open and self.open[-1] == tag, (tag, self.open)
            self.open.pop()
        if tag == "table":
            self.tables[self.caption] = self.rows

    def handle_data(self, data):
        if "caption" in self.open:
            self.caption += data
        elif {"td", "th"} & set(self.open):
            if "small" in self.open:
                self.rows[-1][-1] += "|"
            self.rows[-1][-1] += data


class ReportTest(unittest.TestCase):
    def setUp(self):
        # Charts have a test of their own.
        patch = mock.patch.object(charts, "draw", lambda chart, name: "<svg/>")
        patch.start()
        self.addCleanup(patch.stop)

    def report(self, records: list[dict]) -> tuple[str, Reader]:
        text = html_report.document(records, cost.load())
        return text, Reader(text)

    def row(self, reader: Reader, caption: str, *head: str) -> dict[str, str]:
        """The row that begins with HEAD, by the titles of its columns."""
        titles, *rows = reader.tables[caption]
        found = [row for row in rows if tuple(row[:len(head)]) == head]
        self.assertEqual(len(found), 1, (head, rows))
        return dict(zip(titles, found[0], strict=True))


class Figures(ReportTest):
    def test_ratios(self):
        _, reader = self.report([cell("4k"), cell("contig")])
        row = self.row(reader, "Ratio to 4k", "gups small", "zen4", "contig")
        # 80 of 1000; 40 of 800; (2 x 40 + 15 x 30) of 2 x 800; 5 of 100.
        self.assertEqual(row["L1 dTLB misses"], "0.08")
        self.assertEqual(row["STLB misses, data"], "0.05")
        self.assertEqual(row["page-table entries read"], "0.33")
        self.assertEqual(row["distinct page-table lines read"], "0.05")
        self.assertEqual(row["page faults"], "0.062")
        self.assertEqual(row["page tables"], "1.00")
        self.assertEqual(row["resident set, at most"], "-")

    def test_the_same_on_a_terminal(self):
        rows = html_report.short_rows(figures.groups(
            [cell("4k"), cell("contig")]), cost.load())
        self.assertEqual(len(rows[0]), len(report_verb.COLUMNS))
        text = report_verb.summary(rows)
        self.assertIn("L1 dTLB", text.splitlines()[0])
        self.assertEqual(text.splitlines()[1].split()[:7], [
            "gups", "small", "zen4", "contig", "0.08", "0.05", "0.33"])

    def test_counts_are_the_regions(self):
        _, reader = self.report([cell("4k"), cell("contig")])
        caption = "gups small, TLB zen4"
        row = self.row(reader, caption, "L1 dTLB fills")
        self.assertEqual((row["4k"], row["contig"]), ("1,000", "80|× 0.08"))
        self.assertEqual(self.row(reader, caption, "64 KB hint")["contig"],
                         "30|× -")
        self.assertEqual(self.row(reader, caption, "page faults")["4k"], "320")
        self.assertEqual(self.row(reader, caption, "page tables")["4k"],
                         "64 KB")
        self.assertFalse(any("9999" in text for rows in
                             reader.tables.values() for row in rows
                             for text in row))

    def test_memory(self):
        """Waste is of the whole command's processes; free memory of the
        boot."""
        records = [cell("4k"), cell("contig")]
        for record, waste, free in zip(records, (12, 660), (900, 720)):
            result = record["result"]
            result["guest"] |= {"processes": 3, "waste_kb": waste}
            result["boot"] = {"mem_free_kb": free,
                              "mem_available_kb": free - 100}
        _, reader = self.report(records)
        for title, base, other in (
                ("memory of processes that is all zero", "12 KB",
                 "660 KB|× 55.00"),
                ("the same, of a process", "4 KB", "220 KB|× 55.00"),
                ("memory free after boot", "900 KB", "720 KB|× 0.80"),
                ("memory available after boot", "800 KB", "620 KB|× 0.78")):
            row = self.row(reader, "gups small, TLB zen4", title)
            self.assertEqual((row["4k"], row["contig"]), (base, other))
        table = list(csv.DictReader(io.StringIO(figures.long_form(records))))
        self.assertEqual([line["value"] for line in table
                          if line["name"] == "boot.mem_free_kb"],
                         ["900", "720"])

    def test_without_a_region_the_whole(self):
        records = [cell("4k"), cell("contig")]
        for record in records:
            record["result"]["regions"] = []
        _, reader = self.report(records)
        row = self.row(reader, "gups small, TLB zen4", "page faults")
        self.assertEqual(row["4k"], "9,999")

    def test_regions_of_a_command(self):
        records = [cell("4k"), cell("contig")]
        for record in records:
            record["result"]["regions"][0]["name"] = "query"
        _, reader = self.report(records)
        row = self.row(reader, "gups small (query), TLB zen4", "page faults")
        self.assertEqual((row["4k"], row["contig"]), ("320", "20|× 0.062"))
        row = self.row(reader, "gups small, TLB zen4", "page faults")
        self.assertEqual(row["4k"], "9,999")

    def test_median_and_spread(self):
        _, reader = self.report(
            [cell("4k", run, extra=extra) for run, extra in
             enumerate((0, 400, 100), 1)] + [cell("contig")])
        row = self.row(reader, "gups small, TLB zen4", "L1 dTLB fills")
        self.assertEqual(row["4k (3 runs)"], "1,100|1,000 to 1,400")
        # 80 of the median.
        self.assertEqual(row["contig"], "80|× 0.073")

    def test_cycles(self):
        """By hand: 9 for an STLB hit, 14 for an entry, 14 / 15 for one of a
        group check, 44 for a line, 710 for a fault; 0.001 s of icount are a
        million instructions."""
        _, reader = self.report([cell("4k"), cell("contig")])
        row = self.row(reader, "Estimated cycles", "gups small", "zen4", "4k")
        base = 9 * 200 + 14 * 800 + 44 * 100 + 710 * 320
        self.assertEqual(row["overhead of misses and faults"], f"{base:,}")
        self.assertEqual(row["instructions"], "1,000,000")
        self.assertEqual(row["in all"], f"{base + 1000000:,}")
        row = self.row(reader, "Estimated cycles", "gups small", "zen4",
                       "contig")
        value = 9 * 40 + 14 * 40 + 0.93 * 450 + 44 * 5 + 710 * 20
        self.assertEqual(row["overhead of misses and faults"], f"{value:,.0f}")
        self.assertEqual(row["overhead saved to 4k"], f"{base - value:,.0f}")
        self.assertEqual(row["in all, to 4k"], "{:+.1f} %".format(
            100 * ((value + 1e6) / (base + 1e6) - 1)))

    def test_overhead_is_not_all(self):
        """A ratio of the overhead stands beside what it is in all; on a
        terminal, too."""
        base = 9 * 200 + 14 * 800 + 44 * 100 + 710 * 320
        value = 9 * 40 + 14 * 40 + 0.93 * 450 + 44 * 5 + 710 * 20
        overhead = html_report.ratio(value / base)
        in_all = f"{100 * ((value + 1e6) / (base + 1e6) - 1):+.1f} %"
        records = [cell("4k"), cell("contig")]
        _, reader = self.report(records)
        row = self.row(reader, "Ratio to 4k", "gups small", "zen4", "contig")
        self.assertEqual(
            (row["overhead of TLB misses and faults, estimated"],
             row["cycles in all, estimated"]), (overhead, in_all))
        text = report_verb.summary(html_report.short_rows(
            figures.groups(records), cost.load()))
        self.assertRegex(text.splitlines()[0], "  overhead +in all$")
        self.assertRegex(text.splitlines()[1], re.escape(in_all) + "$")
        for record in records:
            record["cell"]["machine"]["icount"] = False
        _, reader = self.report(records)
        row = self.row(reader, "Ratio to 4k", "gups small", "zen4", "contig")
        self.assertEqual(
            (row["overhead of TLB misses and faults, estimated"],
             row["cycles in all, estimated"]), (overhead, "-"))

    def test_idle_time_has_no_instructions(self):
        record = cell("4k")
        region = record["result"]["regions"][0]
        region["wall_s"], region["guest"]["idle_s"] = 3.0, 2.75
        self.assertEqual(figures.instructions(record), 0.25e9)
        # Nobody tells of the region: the whole command decides.
        del region["guest"]["idle_s"]
        self.assertEqual(figures.instructions(record), 3e9)
        record["result"]["guest"]["idle_s"] = 0.5
        self.assertIsNone(figures.instructions(record))
        del record["result"]["guest"]["idle_s"]
        self.assertIsNone(figures.instructions(record))

    def test_no_instructions_without_icount(self):
        records = [cell("4k"), cell("contig")]
        for record in records:
            record["cell"]["machine"]["icount"] = False
        _, reader = self.report(records)
        row = self.row(reader, "Estimated cycles", "gups small", "zen4",
                       "contig")
        self.assertEqual((row["instructions"], row["in all, to 4k"]),
                         ("-", "-"))
        self.assertNotEqual(row["overhead saved to 4k"], "-")

    def test_tlbs_are_not_mixed(self):
        records = [cell(mode, tlb=tlb, extra=extra) for mode in COUNTS
                   for tlb, extra in (("zen4", 0), ("skylake", 500))]
        _, reader = self.report(records)
        for tlb, value in (("zen4", "0.08"), ("skylake", "0.39")):
            row = self.row(reader, "Ratio to 4k", "gups small", tlb, "contig")
            self.assertEqual(row["L1 dTLB misses"], value)

    def test_options_are_not_mixed(self):
        records = [cell(mode) for mode in COUNTS]
        records += [cell(mode, extra=500, options={"mem": "1G", "append": "x"})
                    for mode in COUNTS]
        _, reader = self.report(records)
        self.assertIn("gups small append x, TLB zen4", reader.tables)
        row = self.row(reader, "gups small append x, TLB zen4",
                       "L1 dTLB fills")
        self.assertEqual(row["4k"], "1,500")

    def test_without_a_base(self):
        text, reader = self.report([cell("contig")])
        self.assertIn("Nothing to compare", text)
        row = self.row(reader, "gups small, TLB zen4", "L1 dTLB fills")
        self.assertEqual(row["contig"], "80")

    def test_overhead(self):
        records = [cell("4k"), cell("4k", tlb="stock"), cell("4k", tlb="off")]
        records[1]["result"] |= {"regions": [], "counters": {}, "wall_s": 6.0}
        records[2]["result"] |= {"regions": [], "counters": {}, "wall_s": 6.3}
        _, reader = self.report(records)
        row = self.row(reader, "Time of the whole command, set-up included; × "
                       "is to stock", "gups small", "4k")
        self.assertEqual((row["stock"], row["off"], row["zen4"]),
                         ("6.00 s", "6.30 s|× 1.05", "9.00 s|× 1.50"))


class Problems(ReportTest):
    def test_a_failed_cell_is_shown_and_left_out(self):
        bad = cell("contig", status="failed", result=None, output="sum is 3\n",
                   error="the command ended with status 7")
        text, reader = self.report([cell("4k"), bad])
        self.assertIn("1 of 2 cells failed", text)
        self.assertIn("ended with status 7\nsum is 3", text)
        self.assertIn(f"logs/{bad['id']}.log", text)
        self.assertNotIn("contig", reader.tables["gups small, TLB zen4"][0])

    def test_all_failed(self):
        text, _ = self.report([cell("4k", status="failed", result=None,
                                    error="panic")])
        self.assertIn("1 of 1 cells failed", text)

    def test_gaps(self):
        text, _ = self.report([cell("4k"), cell("contig"), cell("4k", 2)])
        self.assertIn("not yet run: 1 cells", text)
        text, _ = self.report([cell("4k"), cell("contig")])
        self.assertNotIn("not yet run", text)

    def test_mixed_builds(self):
        other = cell("contig")
        other["cell"]["inputs"] = {"kernel": "other"}
        text, _ = self.report([cell("4k"), other])
        self.assertIn("kernel changed between", text)
        text, _ = self.report([cell("4k"), cell("contig")])
        self.assertNotIn("mixed here", text)

    def test_two_kernels_of_one_build(self):
        other = cell("contig")
        other["cell"]["inputs"] = {"native-kernel": "cd"}
        text, _ = self.report([cell("4k"), other])
        self.assertNotIn("mixed here", text)
        self.assertIn("Build 1 (cells: 2)", text)
        self.assertNotIn("Build 2", text)
        self.assertIn("native-kernel: sha256 cd", text)

    def test_complaints_of_the_kernel(self):
        text, _ = self.report([cell("4k", warnings=["BUG: bad page"])])
        self.assertIn("BUG: bad page", text)


class Document(ReportTest):
    def test_needs_nothing_else(self):
        text, reader = self.report([cell("4k"), cell("contig")])
        for tag, attributes in reader.tags:
            self.assertNotIn(tag, ("script", "link", "img", "iframe"))
            for name in ("src", "href", "xlink:href"):
                self.assertTrue((attributes.get(name) or "#").startswith("#"),
                                (tag, attributes))
        self.assertNotRegex(text, r"url\(|@import")
        self.assertTrue(text.startswith("<!DOCTYPE html>\n<html lang="))

    def test_hostile_names(self):
        evil = "<script>alert('x')</script>&\"$x$"
        records = [cell(mode, workload=evil, tlb=evil, git=evil, host=evil,
                        warnings=[evil]) for mode in COUNTS]
        records.append(cell("4k", 2, evil, evil, status="failed", error=evil,
                            output=evil, id=evil, result=None))
        text, reader = self.report(records)
        self.assertNotIn("<script", text)
        self.assertIn("&lt;script&gt;", text)

    def test_can_be_read_aloud(self):
        _, reader = self.report([cell("4k"), cell("contig")])
        heads = [attributes for tag, attributes in reader.tags if tag == "th"]
        self.assertTrue(all("scope" in attributes for attributes in heads))
        self.assertNotIn("", reader.tables)     # each has a caption
        self.assertEqual(len(set(reader.ids)), len(reader.ids))
        named = [attributes["aria-labelledby"] for _, attributes in
                 reader.tags if "aria-labelledby" in attributes]
        self.assertLessEqual(set(named), set(reader.ids))

    def test_tells_how_to_repeat_it(self):
        text, _ = self.report([cell("4k"), cell("contig", 2)])
        self.assertIn("./x64k compare --results DIR --modes 4k,contig --tlb "
                      "zen4 --runs 2 --mem 1G --icount --size small "
                      "--workload gups", text)
        command = cell("4k")
        command["cell"] |= {"size": "", "workload": "echo 'a b'"}
        self.assertEqual(html_report.command_lines([command]), [
            "./x64k compare --results DIR --modes 4k --tlb zen4 --runs 1 "
            "--mem 1G --icount -- echo 'a b'"])


class Charts(unittest.TestCase):
    CHART = charts.Chart("A title", "% of 4k", ("4 KB", "64 KB", "1 GB"), (
        ("<gups> & $x$", (charts.Bar("4k", (90, 10, 0), "1.0 k"),
                          charts.Bar("contig", (5, 3, 0), "80"))),))

    def test_only_what_there_is_has_a_key(self):
        self.assertEqual(self.CHART.used(), [0, 1])

    @unittest.skipUnless(MATPLOTLIB, NEEDS)
    def test_stands_inside_html(self):
        svg = charts.draw(self.CHART, "chart-1")
        reader = Reader(svg)
        self.assertEqual(reader.tags[0][0], "svg")
        self.assertEqual(reader.ids, [])
        self.assertNotIn("http", svg)
        self.assertNotRegex(svg, r"url\(|<style|font-family")
        texts = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
        self.assertIn("&lt;gups&gt; &amp; $x$", texts)
        self.assertIn("1.0 k", texts)

    @unittest.skipUnless(MATPLOTLIB, NEEDS)
    def test_the_page_has_the_colours(self):
        svg = charts.draw(self.CHART, "chart-1")
        self.assertIn("var(--series-1)", svg)
        self.assertNotIn("var(--series-2)", svg)
        self.assertNotRegex(svg, r"#[0-9a-f]{6}|black")

    @unittest.skipUnless(MATPLOTLIB, NEEDS)
    def test_lengths_are_the_values(self):
        svg = charts.draw(self.CHART, "chart-1")
        bars = {}
        for path, series in re.findall(
                r'<path d="([^"]*)" style="fill: var\(--series-(\d)\)', svg):
            xs = [float(x) for x in re.findall(r"[ML] ([\d.]+) ", path)]
            bars.setdefault(series, []).append(max(xs) - min(xs))
        (first, second), (third, fourth) = bars["0"], bars["1"]
        self.assertAlmostEqual(first / second, 90 / 5, places=3)
        self.assertAlmostEqual(first / third, 90 / 10, places=3)
        self.assertAlmostEqual(first / fourth, 90 / 3, places=3)

    def test_parts_against_the_base(self):
        groups = figures.groups([cell("4k"), cell("contig")])
        chart = html_report.charts_of(groups, cost.load())[0]
        (name, (base, contig)), = chart.groups
        self.assertEqual(name, "gups small")
        self.assertEqual(sum(base.parts), 100)
        self.assertEqual(contig.parts[:3], (5.0, 0, 3.0))
        self.assertEqual(contig.text, "80")

    def test_short(self):
        for value, text in ((0, "0"), (999, "999"), (1234, "1.2 k"),
                            (12345, "12 k"), (5.6e6, "5.6 M"), (2e10, "20 G")):
            self.assertEqual(html_report.short(value), text)


class Csv(unittest.TestCase):
    def test_every_figure(self):
        bad = cell("contig", status="failed", result=None, error="x")
        text = figures.long_form([cell("4k"), bad])
        rows = list(csv.DictReader(io.StringIO(text)))
        found = {(row["mode"], row["region"], row["name"]): row["value"]
                 for row in rows}
        self.assertEqual(found["4k", "workload", "l1d-fill-4k"], "1000")
        self.assertEqual(found["4k", "", "l1d-fill-4k"], "7777")
        self.assertEqual(found["4k", "workload", "guest.page_faults"], "320")
        self.assertEqual(found["contig", "", "host_s"], "2.0")
        self.assertNotIn(("contig", "", "l1d-fill-4k"), found)
        self.assertEqual(len(found), len(rows))


class Costs(unittest.TestCase):
    def load(self, text: str) -> cost.Model:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "costs.toml")
            path.write_text(text)
            return cost.load(path)

    def test_ours_name_sources_and_count(self):
        model = cost.load()
        part = cell("4k")["result"]["regions"][0]
        self.assertEqual({c.name: c.count(part) for c in model.costs}, {
            "STLB hits": 200, "entries that walks read": 800,
            "entries of group checks": 0,
            "first reads of a page-table line": 100, "page faults": 320})
        self.assertTrue(all(c.source for c in model.costs))

    def test_ones_own(self):
        model = self.load('cpi = 2\n[[cost]]\nname = "x"\nsource = "me"\n'
                          'guest = "page_faults"\ncycles = 3\n')
        part = {"guest": {"page_faults": 5}, "counters": {}}
        self.assertEqual(model.overhead(part), 15)
        self.assertEqual(model.total(part, 10), 35)
        self.assertIsNone(model.total(part, None))
        self.assertIsNone(model.overhead({"guest": {}, "counters": {}}))

    def test_wrong_ones(self):
        good = 'name = "x"\nsource = "me"\nguest = "a"\ncycles = 3\n'
        for text, words in (
                ("cpi = ", "costs.toml"), ("cpi = -1", "'cpi'"),
                ("cpi = true", "'cpi'"), ("cpi = 1\nipc = 2", "'ipc'"),
                (f"cpi = 1\n[[cost]]\n{good}foo = 1", "'foo'"),
                ('cpi = 1\n[[cost]]\nname = "x"', "'source' is missing"),
                (f'cpi = 1\n[[cost]]\n{good}counters = "a"', "either"),
                ("cpi = 1\n[[cost]]\n" + good.replace("3", '"3"'), "'cycles'"),
                ("cpi = 1\n[[cost]]\n" + good.replace('guest = "a"',
                 'counters = "("'), "'counters'"),
                (f"cpi = 1\n[[cost]]\n{good}[[cost]]\n{good}", "one name")):
            with self.subTest(text), self.assertRaises(ui.X64kError) as raised:
                self.load(text)
            self.assertIn(words, str(raised.exception))
            self.assertEqual(raised.exception.status, 2)
        with self.assertRaisesRegex(ui.X64kError, "cannot read"):
            cost.load(Path("/nonexistent"))


if __name__ == "__main__":
    unittest.main()
