# SPDX-License-Identifier: GPL-2.0-or-later
"""What x64k bench makes of times; the times themselves are not tested."""

import contextlib
import copy
import io
import json
import tempfile
import unittest
import xml.etree.ElementTree as ET
from pathlib import Path
from unittest import mock

from x64k import bench, cli, guest, plot, tlb, ui

CONFIG = {
    "name": "small", "about": "a small one", "coalesce": 4,
    "l1d": {"arrays": [
        {"sets": 16, "ways": 4, "classes": ["4k"], "policy": "fifo",
         "hash": "modulo", "source": "size: a manual; policy: assumed"},
        {"sets": 8, "ways": 4, "classes": ["2m"], "policy": "fifo"}]},
    "l1i": {"arrays": [
        {"sets": 16, "ways": 8, "classes": ["4k"], "policy": "fifo"}]},
    "stlb": {"arrays": [
        {"sets": 128, "ways": 12, "classes": ["4k"], "policy": "lru"}]},
    "pwc": {"pde": {"sets": 1, "ways": 32, "policy": "lru"}},
}


def result(**stock_and_others: list[float | None]) -> bench.Result:
    """One case `loop`, a list of times for each variant."""
    rounds = [{name: {"loop": times[i]}
               for name, times in stock_and_others.items()
               if times[i] is not None}
              for i in range(len(stock_and_others["stock"]))]
    return bench.Result(rounds, {"loop": 0.021},
                        {name: f"what {name} is" for name in stock_and_others},
                        {"loop": "ns", "never run": "s"})


class Statistics(unittest.TestCase):
    def test_ratios_are_of_the_same_round(self):
        # A machine that gets slower: the ratio stays.
        found = result(stock=[1.0, 2.0, 4.0], fifo=[1.1, 2.2, 4.4])
        for ratio in found.ratios("fifo", "loop"):
            self.assertAlmostEqual(ratio, 1.1)

    def test_rounds_without_a_variant_do_not_count(self):
        found = result(stock=[1.0, 2.0, 4.0], plugin=[30.0, None, None])
        self.assertEqual(found.ratios("plugin", "loop"), [30.0])
        self.assertEqual(found.ratios("oracle", "loop"), [])
        self.assertIsNone(found.median("oracle", "loop"))

    def test_quartiles(self):
        self.assertEqual(bench.spread([5.0, 1.0, 2.0, 4.0, 3.0]),
                         bench.Spread(3.0, 2.0, 4.0, 5))

    def test_few_values_have_extremes(self):
        self.assertEqual(bench.spread([2.0, 1.0]),
                         bench.Spread(1.5, 1.0, 2.0, 2))
        self.assertEqual(bench.spread([2.0]), bench.Spread(2.0, 2.0, 2.0, 1))
        self.assertIsNone(bench.spread([]))

    def test_ratio_of_the_best(self):
        found = result(stock=[1.0, 9.0, None], fifo=[8.0, 3.0, 2.0])
        self.assertEqual(bench.best(found, "fifo", "loop"), 2.0)
        self.assertIsNone(bench.best(found, "oracle", "loop"))

    def test_one_outlier_does_not_move_the_median(self):
        self.assertEqual(bench.spread([1.0, 1.0, 1.0, 1.0, 50.0]).median, 1.0)


class Reports(unittest.TestCase):
    def setUp(self):
        self.result = result(stock=[10.0, 10.0, 10.0],
                             fifo=[10.5, 11.0, 11.5],
                             plugin=[100.0, None, None])

    def test_table(self):
        text = bench.table(self.result)
        self.assertRegex(text, r"(?m)^ +misses +stock +fifo +plugin$")
        self.assertRegex(text, r"(?m)^loop +2\.1 % +10\.0 ns "
                         r"+1\.10 \(1\.08-1\.12\) 1\.05 +10\.00 \(.*\) 10\.00$")
        self.assertNotIn("never run", text)
        self.assertIn("plugin: what plugin is; rounds: 1\n", text)

    def test_markdown_has_as_many_cells_in_each_row(self):
        rows = [line for line in bench.markdown(self.result).splitlines()
                if line.startswith("|")]
        self.assertEqual(len(rows), 3)
        self.assertEqual({row.count("|") for row in rows}, {6})

    def test_json_and_back(self):
        data = json.loads(json.dumps(bench.to_json(self.result)))
        self.assertEqual(bench.from_json(data), self.result)

    def test_a_round_that_was_cut_short(self):
        self.result.rounds.append({"stock": {"loop": 10.0}})
        self.assertEqual(len(self.result.ratios("fifo", "loop")), 3)
        bench.table(self.result)

    def test_nothing_measured(self):
        empty = result(stock=[])
        self.assertNotIn("loop", bench.table(empty).splitlines()[0])
        ET.fromstring(bench.svg(empty))

    def test_printed_times(self):
        self.assertEqual(
            bench.printed_ns("x\npageloop 16 2048 0.1 4.7100 ns\r\n"
                             "pageloop 1 256 100 130.0 ns\n"), [4.71, 130.0])

    def test_from_a_file_that_is_none(self):
        with tempfile.NamedTemporaryFile("w") as file:
            file.write("{}")
            file.flush()
            args = cli.make_parser().parse_args(["bench", "--from", file.name])
            with self.assertRaisesRegex(ui.X64kError, "--from: .*bench.json"):
                bench.run(args)

    def test_from_a_file(self):
        with tempfile.TemporaryDirectory() as folder:
            bench.save(self.result, Path(folder))
            ET.parse(Path(folder, "bench.svg"))
            args = cli.make_parser().parse_args(
                ["bench", "--from", f"{folder}/bench.json", "--markdown"])
            with contextlib.redirect_stdout(io.StringIO()) as out:
                self.assertEqual(bench.run(args), 0)
            self.assertEqual(out.getvalue(), bench.markdown(self.result))


class Plot(unittest.TestCase):
    def test_every_line_is_there(self):
        points = [plot.Point(0.1, 1.0, 0.9, 1.1), plot.Point(50, 3, 2, 4)]
        root = ET.fromstring(plot.log_log("a < b", "x", "y",
                                          {"one": points, "two": points[:1]}))
        text = ["".join(e.itertext()) for e in root]
        for word in ("a < b", "x", "y", "one", "two"):
            self.assertIn(word, text)

    def test_larger_is_further(self):
        axis = plot.Axis([1.0, 100.0], 0, 1000)
        self.assertLess(0, axis(1))
        self.assertLess(axis(1), axis(10))
        self.assertLess(axis(100), 1000)

    def test_ticks(self):
        self.assertEqual(plot.ticks(0.9, 6), [1, 2, 5])


class Variants(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.known = bench.variants(self.folder, CONFIG)

    def test_names_are_those_of_the_help(self):
        parser = cli.make_parser()
        text = io.StringIO()
        with contextlib.redirect_stdout(text), self.assertRaises(SystemExit):
            parser.parse_args(["bench", "--help"])
        for variant in self.known:
            self.assertIn(variant.name, text.getvalue())

    def test_policies_are_of_l1_alone(self):
        data = json.loads((self.folder / "skylake-lru.json").read_text())
        self.assertEqual({a["policy"] for a in data["l1d"]["arrays"]},
                         {"lru"})
        self.assertEqual(data["stlb"], CONFIG["stlb"])
        self.assertEqual(CONFIG["l1d"]["arrays"][0]["policy"], "fifo")

    def test_command_lines(self):
        for variant in self.known:
            machine = guest.Machine(variant.mode, **variant.options)
            words = machine.command(Path("INITRD"), [])
            self.assertEqual("-device" in words, "tlb" in variant.options,
                             variant.name)
        self.assertIn("-plugin", words)

    def test_the_plugin_has_the_geometry(self):
        words = bench.plugin_options(CONFIG).split(",")
        self.assertIn("dassoc=4", words)
        self.assertIn(f"dcachesize={16 * 4 * 4096}", words)
        self.assertIn(f"l2cachesize={128 * 12 * 4096}", words)

    def test_choice(self):
        names = [variant.name for variant in
                 bench.chosen(self.known, ["lru"])]
        self.assertEqual(names, ["stock", "lru"])
        with self.assertRaisesRegex(ui.X64kError, "--variants: .*no mru"):
            bench.chosen(self.known, ["mru"])


class Rounds(unittest.TestCase):
    def test_in_turn_and_slow_ones_seldom(self):
        ran = []

        def measure(variant, cases):
            ran.append(variant.name)
            if len(ran) == 5:
                raise KeyboardInterrupt
            return {case.name: 1.0 for case in cases}, {"loop": 0.5}

        todo = [bench.Variant("stock", ""), bench.Variant("oracle", "", True)]
        found = bench.Result([], {}, {"stock": "", "oracle": ""}, {})
        with (tempfile.TemporaryDirectory() as folder,
              mock.patch.object(bench, "measure", measure)):
            with self.assertRaises(KeyboardInterrupt):
                bench.run_rounds(found, todo, 9, 1, 1000, Path(folder))
            kept = json.loads(Path(folder, "bench.json").read_text())
        self.assertEqual(ran, ["stock", "oracle"] + ["stock"] * 3)
        self.assertEqual([len(times) for times in kept["rounds"]], [2, 1, 1])


class Presets(unittest.TestCase):
    def test_listing(self):
        self.assertRegex(tlb.listing([CONFIG]),
                         r"(?m)^small +16 x 4 \+ 8 x 4 +16 x 8 +128 x 12 +4$")

    def test_description_has_every_array_and_source(self):
        text = tlb.description(CONFIG)
        self.assertIn("policy: assumed", text)
        self.assertEqual(text.count("no source given"), 4)
        self.assertRegex(text, r"(?m)^PDE cache +1 x 32 +32 +lru +modulo$")

    def test_unknown(self):
        with mock.patch.object(tlb, "presets",
                               lambda: [copy.deepcopy(CONFIG)]):
            with self.assertRaisesRegex(ui.X64kError, "'x'; there are: small"):
                tlb.preset("x")


class Options(unittest.TestCase):
    def parse(self, *args: str):
        return cli.make_parser().parse_args(["boot", "--mode", "4k", *args])

    def refused(self, *args: str) -> str:
        with (contextlib.redirect_stderr(io.StringIO()) as said,
              self.assertRaises(SystemExit)):
            self.parse(*args)
        return said.getvalue()

    def test_errors_name_the_option(self):
        self.assertIn("--tlb: there is no file '/nonexistent/x.json'",
                      self.refused("--tlb", "/nonexistent/x.json"))
        self.assertIn("--tlb: there is no file '/dev/zero'",
                      self.refused("--tlb", "/dev/zero"))
        self.assertIn("--tlb: 'a,b'", self.refused("--tlb", "a,b"))
        self.assertIn("--tlb-coalesce", self.refused("--tlb-coalesce", "3"))
        self.assertIn("--tlb-observe", self.refused("--tlb-observe", "some"))

    def test_options_of_a_model_need_one(self):
        for option in (["--tlb-coalesce", "4"], ["--tlb-observe", "every"],
                       ["--tlb-verify"]):
            args = self.parse(*option)
            with self.assertRaisesRegex(ui.X64kError, option[0]):
                guest.machine_of(args, "4k")

    def test_a_file_with_a_comma(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "a,b.json")
            path.write_text("{}")
            machine = guest.machine_of(
                self.parse("--tlb", str(path), "--tlb-coalesce", "4"), "4k")
            self.assertEqual(machine.tlb_properties(),
                             f",hwtlb-config={folder}/a,,b.json"
                             ",hwtlb-coalesce=4")


if __name__ == "__main__":
    unittest.main()
