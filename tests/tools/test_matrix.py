# SPDX-License-Identifier: GPL-2.0-or-later
"""The cells of a matrix: no guest, but a runner that pretends."""

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path
from unittest import mock

from x64k import (cli, compare, disk, guest, matrix, paths, plain, runner,
                  ui)

RESULT = {"status": 0, "signal": 0, "wall_s": 1.0,
          "guest": {"page_faults": 3}, "counters": {"l1d-fill-4k": 5},
          "regions": []}


def arguments(*options: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    guest.add_options(parser, tlb="skylake", tlb_type=compare.tlbs_list)
    parser.set_defaults(mem=None, timeout=None)
    return parser.parse_args(options)


def job(name: str = "gups", **options) -> matrix.Job:
    return matrix.Job(name, "small", ("sh", "-c", "true"),
                      {"mem": "1G", "timeout": 60.0} | options)


class MatrixTest(unittest.TestCase):
    """An emulator, a kernel and an initramfs that are files of a few bytes."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.results = self.folder / "results"
        self.files = {name: self.folder / name for name in
                      ("QEMU", "VMLINUX", "NATIVE_VMLINUX", "INITRAMFS",
                       "QEMU_STOCK")}
        for name, path in self.files.items():
            path.write_text(name)
            patch = mock.patch.object(paths, name, path)
            patch.start()
            self.addCleanup(patch.stop)
        clean = mock.patch.dict(os.environ)
        clean.start()
        self.addCleanup(clean.stop)
        os.environ.pop("X64K_QEMU", None)
        self.ran: list[str] = []

    def plan(self, *options: str, jobs=None, modes=("4k", "contig"),
             tlbs=("skylake",), runs=1) -> list[matrix.Cell]:
        return matrix.plan(arguments(*options), jobs or [job()], list(modes),
                           list(tlbs), runs)

    def pretend(self, machine, commands, sink, console):
        """As guest.run()."""
        self.ran.append(machine.mode)
        console.write_text("booted\n")
        sink(b"said something\n")
        return guest.Outcome([dict(RESULT)], console, 1.0)


class Plan(MatrixTest):
    def test_all_of_it_first_runs_first(self):
        cells = self.plan(jobs=[job("a"), job("b")], tlbs=["skylake", "zen4"],
                          runs=2)
        self.assertEqual(len(cells), 2 * 2 * 2 * 2)
        self.assertEqual([one.run for one in cells], [1] * 8 + [2] * 8)
        self.assertEqual(len({one.id for one in cells}), 16)
        self.assertEqual({(one.workload, one.tlb, one.mode) for one in cells},
                         {(w, t, m) for w in "ab" for t in ("skylake", "zen4")
                          for m in ("4k", "contig")})

    def test_the_seed_is_the_run(self):
        cells = self.plan("--icount", runs=2, modes=["4k"])
        for one in cells:
            line = one.machine.command(Path("x"), [])
            self.assertEqual(line[line.index("-seed") + 1], str(one.run))

    def test_ids_are_file_names(self):
        text = matrix.Job("../a b; rm 'x' " + "long" * 50, "", ("a",),
                          {"mem": "1G", "timeout": 1.0})
        one, = self.plan(jobs=[text], modes=["4k"])
        self.assertRegex(one.id, r"\A[A-Za-z0-9][A-Za-z0-9.-]{1,150}\Z")

    def test_ids_stay(self):
        """Not those of another folder, and not those of another day."""
        before = [one.id for one in self.plan()]
        for name, path in self.files.items():
            new = self.folder / "else" / name
            new.parent.mkdir(exist_ok=True)
            path.rename(new)
            setattr(paths, name, new)   # the patch puts the old one back
        self.assertEqual([one.id for one in self.plan()], before)

    def test_what_changes_an_id(self):
        base = self.plan(modes=["4k"])[0]
        others = [self.plan("--append", "x", modes=["4k"])[0],
                  self.plan("--mem", "2G", jobs=[job(mem="2G")],
                            modes=["4k"])[0],
                  self.plan("--icount", modes=["4k"])[0],
                  self.plan(tlbs=["zen4"], modes=["4k"])[0],
                  self.plan(modes=["emulated"])[0],
                  self.plan(modes=["4k"], runs=2)[1],
                  self.plan(jobs=[matrix.Job("gups", "small", ("other",), {
                      "mem": "1G", "timeout": 60.0})], modes=["4k"])[0]]
        self.assertEqual(len({base.id, *(one.id for one in others)}), 8)

    def test_a_timeout_does_not(self):
        self.assertEqual(self.plan()[0].id,
                         self.plan(jobs=[job(timeout=9.0)])[0].id)

    def test_every_input_counts(self):
        base = self.plan(modes=["4k"])[0]
        for name in ("QEMU", "VMLINUX", "INITRAMFS"):
            with self.subTest(name):
                before = self.files[name].read_text()
                self.files[name].write_text("another")
                changed = self.plan(modes=["4k"])[0]
                self.assertNotEqual(changed.id, base.id)
                self.assertEqual(changed.slot, base.slot)
                self.files[name].write_text(before)

    def test_each_mode_has_its_kernel(self):
        """And is another cell if that changes, not if the other one does."""
        before = self.plan(modes=["4k", "native"])
        self.files["NATIVE_VMLINUX"].write_text("another")
        after = self.plan(modes=["4k", "native"])
        self.assertEqual(before[0].id, after[0].id)
        self.assertNotEqual(before[1].id, after[1].id)
        for one, name in zip(after, ("VMLINUX", "NATIVE_VMLINUX"),
                             strict=True):
            line = one.machine.command(Path("x"), [])
            self.assertEqual(line[line.index("-kernel") + 1],
                             str(self.files[name]))
        self.assertIn("native-kernel", after[1].line())

    def test_a_tlb_file_counts_by_its_contents(self):
        file = self.folder / "my.json"
        file.write_text("{}")
        one, = self.plan(tlbs=[str(file)], modes=["4k"])
        self.assertEqual(one.tlb, "my")
        file.write_text('{"name": "x"}')
        other, = self.plan(tlbs=[str(file)], modes=["4k"])
        self.assertNotEqual(one.id, other.id)

    def test_an_image_counts_by_its_contents(self):
        image = self.folder / "root.ext4"
        image.write_bytes(b"\0" * 1080 + b"\x53\xef" + b"\0" * 100)
        one, = self.plan(jobs=[job(image=str(image))], modes=["4k"])
        self.assertEqual(one.options["image"], str(image))
        with image.open("ab") as file:
            file.write(b"more")
        other, = self.plan(jobs=[job(image=str(image))], modes=["4k"])
        self.assertNotEqual(one.id, other.id)

    def test_stock_runs_what_it_can(self):
        cells = self.plan(modes=["4k", "contig", "native"],
                          tlbs=["stock", "off"])
        self.assertEqual([(one.tlb, one.mode) for one in cells],
                         [("stock", "4k"), ("off", "4k"), ("off", "contig"),
                          ("off", "native")])
        self.assertEqual(cells[0].machine.command(Path("x"), [])[0],
                         str(self.files["QEMU_STOCK"]))

    def test_an_emulator_of_the_environment(self):
        before = self.plan(modes=["4k"])[0].id
        os.environ["X64K_QEMU"] = f"{self.files['QEMU']} -d int"
        self.assertNotEqual(self.plan(modes=["4k"])[0].id, before)

    def test_no_kernel(self):
        self.files["VMLINUX"].unlink()
        with self.assertRaisesRegex(ui.X64kError, "no kernel at"):
            self.plan()


class Json(MatrixTest):
    def test_there_and_back(self):
        machine = guest.Machine("contig", kernel=Path("/k"), options=("-a",),
                                root=disk.Disk(Path("/i"), False))
        one = matrix.Cell("w", "s", ("a", "\udcff"), machine, {"kernel": "0"})
        text = json.dumps(one.to_json())
        self.assertEqual(matrix.Cell.from_json(json.loads(text)), one)

    def test_paths_in(self):
        machine = guest.Machine("4k", root=disk.Disk(Path("/i"), False),
                                kernel=Path("/k"))
        self.assertEqual(dict(plain.paths_in(machine, "")),
                         {"kernel": Path("/k"), "root.path": Path("/i")})


class RunCell(MatrixTest):
    def test_what_it_writes(self):
        one = self.plan()[0]
        path = matrix.run_cell(one, self.results, self.pretend)
        self.assertEqual(path, self.results / "cells" / f"{one.id}.json")
        record, = matrix.load_cells(self.results)
        self.assertEqual(record["status"], matrix.DONE)
        self.assertEqual(record["result"], RESULT)
        self.assertEqual(record["seed"], 1)
        self.assertEqual(record["cell"]["inputs"].keys(),
                         {"emulator", "kernel", "initramfs"})
        self.assertIn("-append", record["command_line"])
        self.assertIn("versions", record)
        self.assertEqual((self.results / "logs" / f"{one.id}.log").read_text(),
                         "booted\n")
        # Nothing half-written is left.
        self.assertEqual(os.listdir(self.results / "cells"),
                         [f"{one.id}.json"])

    def test_never_again(self):
        one = self.plan()[0]
        for _ in range(3):
            matrix.run_cell(one, self.results, self.pretend)
        self.assertEqual(len(self.ran), 1)

    def test_a_wrong_result(self):
        def wrong(machine, commands, sink, console):
            sink(b"sum is 3, not 4\n")
            return guest.Outcome([RESULT | {"status": 7}], console, 1.0)
        matrix.run_cell(self.plan()[0], self.results, wrong)
        record, = matrix.load_cells(self.results)
        self.assertEqual(record["status"], matrix.FAILED)
        self.assertEqual(record["exit_status"], 7)
        self.assertIn("sum is 3", record["output"])

    def test_a_panic(self):
        def panic(machine, commands, sink, console):
            raise ui.X64kError("guest kernel panic: x", guest.PANIC)
        matrix.run_cell(self.plan()[0], self.results, panic)
        record, = matrix.load_cells(self.results)
        self.assertEqual((record["status"], record["exit_status"]),
                         (matrix.FAILED, guest.PANIC))
        self.assertIn("panic", record["error"])

    def test_interrupted_is_not_run(self):
        def stop(machine, commands, sink, console):
            raise KeyboardInterrupt
        with self.assertRaises(KeyboardInterrupt):
            matrix.run_cell(self.plan()[0], self.results, stop)
        self.assertEqual(matrix.load_cells(self.results), [])
        self.assertEqual(os.listdir(self.results / "cells"), [])

    def test_all_or_nothing(self):
        """A disk that is full while the file is written."""
        with (mock.patch("os.replace", side_effect=OSError(28, "full")),
              self.assertRaises(OSError)):
            matrix.run_cell(self.plan()[0], self.results, self.pretend)
        self.assertEqual(os.listdir(self.results / "cells"), [])

    def test_changed_since_the_plan(self):
        one = self.plan()[0]
        self.files["VMLINUX"].write_text("another")
        with self.assertRaisesRegex(ui.X64kError, "kernel: changed since"):
            matrix.run_cell(one, self.results, self.pretend)
        self.assertEqual(self.ran, [])

    def test_one_at_a_time(self):
        """The second waits, and takes what the first has found."""
        one = self.plan()[0]
        inside, leave = threading.Event(), threading.Event()

        def slow(machine, commands, sink, console):
            inside.set()
            leave.wait(10)
            return self.pretend(machine, commands, sink, console)
        first = threading.Thread(target=matrix.run_cell,
                                 args=(one, self.results, slow))
        first.start()
        try:
            self.assertTrue(inside.wait(10))
            second = threading.Thread(target=matrix.run_cell, args=(
                one, self.results, self.pretend))
            second.start()
            second.join(1)
            self.assertTrue(second.is_alive())
        finally:
            leave.set()
            first.join()
        second.join(10)
        self.assertEqual(len(self.ran), 1)
        self.assertEqual(len(matrix.load_cells(self.results)), 1)
        self.assertEqual(list(self.results.rglob("*.lock")), [])

    def test_the_newest_of_each(self):
        old = self.plan(modes=["4k"])[0]
        with mock.patch("time.strftime", return_value="2026-01-01T00:00:00Z"):
            matrix.run_cell(old, self.results, self.pretend)
        self.files["QEMU"].write_text("newer")
        new = self.plan(modes=["4k"])[0]
        matrix.run_cell(new, self.results, self.pretend)
        records = matrix.load_cells(self.results)
        self.assertEqual([r["id"] for r in records], [old.id, new.id])
        self.assertEqual([r["id"] for r in matrix.current(records)], [new.id])

    def test_a_file_that_is_no_cell(self):
        (self.results / "cells").mkdir(parents=True)
        for text in ("{", "[]", '{"format": 99}'):
            (self.results / "cells/x.json").write_text(text)
            with self.assertRaisesRegex(ui.X64kError, r"x\.json is no cell"):
                matrix.load_cells(self.results)


class RunAll(MatrixTest):
    """With a real child process for each cell."""

    def start(self, one, results):
        """Writes the cell's file as `x64k cell` would, or fails."""
        self.ran.append(one.id)
        path = matrix.cell_path(results, one.id)
        record = {"format": matrix.FORMAT, "id": one.id, "slot": one.slot,
                  "cell": one.to_json(), "mode": one.mode, "tlb": one.tlb,
                  "run": one.run, "status": self.status.get(one.mode, "done"),
                  "host_s": 0.1, "started": "2026", "options": {}}
        if record["status"] == "dies":
            return subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"],
                                    process_group=0)
        if record["status"] == "hangs":
            return subprocess.Popen(["sleep", "60"], process_group=0)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record))
        return subprocess.Popen(["true"], process_group=0)

    def run_all(self, cells, jobs=1) -> str:
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            runner.run_all(cells, self.results, jobs, self.start)
        return said.getvalue()

    def setUp(self):
        super().setUp()
        self.status: dict[str, str] = {}

    def test_only_what_is_missing(self):
        cells = self.plan(runs=2)
        self.run_all(cells[:1])
        said = self.run_all(cells, jobs=3)
        self.assertIn("1 of 4 cells have run already", said)
        self.assertEqual(sorted(self.ran), sorted(one.id for one in cells))

    def test_others_go_on_when_one_fails(self):
        self.status["4k"] = "failed"
        cells = self.plan(runs=2)
        self.run_all(cells)
        self.assertEqual(len(self.ran), 4)
        # It is not run again unless asked for.
        self.run_all(cells)
        self.assertEqual(len(self.ran), 4)
        matrix.forget_failed(cells, self.results)
        self.run_all(cells)
        self.assertEqual(len(self.ran), 6)

    def test_one_that_cannot_run_ends_the_others(self):
        self.status |= {"4k": "hangs", "contig": "dies"}
        children = []
        real = self.start

        def start(one, results):
            children.append(real(one, results))
            return children[-1]
        with (contextlib.redirect_stderr(io.StringIO()),
              self.assertRaisesRegex(ui.X64kError, "could not be run")):
            runner.run_all(self.plan(), self.results, 2, start)
        self.assertEqual(len(children), 2)
        self.assertTrue(all(one.poll() is not None for one in children))

    def test_progress(self):
        cells = self.plan(jobs=[job("a"), job("b")], modes=["4k"], runs=2)

        def record(one, seconds):
            return {"id": one.id, "status": "done", "host_s": seconds,
                    "cell": {"workload": one.workload, "size": one.size}}
        progress = runner.Progress(cells, 2, [])
        self.assertEqual(str(progress), "0 of 4 cells;")
        progress.done(record(cells[0], 10))
        # One more of 10 s, two of which nothing is known: 10 s each.
        self.assertEqual(progress.seconds_left(), 15)
        progress.done(record(cells[1], 40) | {"status": "failed"})
        self.assertEqual(progress.seconds_left(), 25)
        self.assertIn("2 of 4 cells, 1 failed, about 25 s left", str(progress))


class Verbs(MatrixTest):
    def run_cli(self, *argv: str, stdin: str = "") -> tuple[int, str]:
        out = io.StringIO()
        with (contextlib.redirect_stdout(out), contextlib.redirect_stderr(out),
              mock.patch("sys.stdin", io.StringIO(stdin)),
              mock.patch("x64k.build.ensure")):
            status = cli.main(list(argv))
        return status, out.getvalue()

    def test_cell(self):
        one = self.plan()[0]
        with mock.patch.object(matrix, "run_cell") as run:
            status, _ = self.run_cli("cell", str(self.results),
                                     stdin=json.dumps(one.to_json()))
        self.assertEqual(status, 0)
        run.assert_called_once_with(one, self.results)

    def test_no_cell(self):
        for text in ("", "{}", "[1]"):
            status, said = self.run_cli("cell", str(self.results), stdin=text)
            self.assertEqual(status, 2, said)
            self.assertIn("standard input has no cell", said)

    def test_usage(self):
        for argv, words in (
                ([], "needs either a command"),
                (["--workload", "toucher", "--", "true"], "needs either"),
                (["--workload", "toucher"], "--workload needs --results"),
                (["--runs", "2", "--", "true"], "--runs needs --results"),
                (["--jobs", "2", "--", "true"], "--jobs needs --results"),
                (["--tlb", "zen3,zen4", "--", "true"], "several --tlb"),
                (["--size", "small", "--results", "R", "--", "true"],
                 "--size needs --workload"),
                (["--results", "R", "--json", "x", "--", "true"], "--json is"),
                (["--results", "R", "--workload", "nope"],
                 "no workload 'nope'"),
                (["--results", "R", "--workload", "toucher", "--size", "odd"],
                 "no size 'odd'")):
            with self.subTest(argv):
                status, said = self.run_cli("compare", *argv)
                self.assertEqual(status, 2)
                self.assertIn(words, said)
                self.assertFalse(Path("R").exists())

    def test_twice(self):
        for argv in (["--tlb", "zen4,zen4"], ["--modes", "4k,4k"]):
            with self.subTest(argv), self.assertRaises(SystemExit):
                self.run_cli("compare", *argv, "--", "true")

    def test_report_of_nothing(self):
        status, said = self.run_cli("report", str(self.folder))
        self.assertEqual(status, 2)
        self.assertIn("has no cells", said)


class Jobs(unittest.TestCase):
    def jobs(self, *options: str, rest=(), **more) -> list[matrix.Job]:
        args = arguments(*options)
        args.rest = list(rest)
        args.workload, args.size = more.get("workload"), more.get("size")
        return compare.jobs_of(args)

    def test_a_workload_says_what_it_needs(self):
        one, = self.jobs(workload=["gups"], size="small")
        self.assertEqual(one.options["mem"], "1G")
        other, = self.jobs("--mem", "2G", "--timeout", "5", workload=["gups"])
        self.assertEqual((other.options["mem"], other.options["timeout"]),
                         ("2G", 5.0))

    def test_a_command(self):
        one, = self.jobs(rest=["echo", "a b"])
        self.assertEqual(one, matrix.Job("echo 'a b'", "", ("echo", "a b"), {
            "mem": guest.MEM, "timeout": guest.TIMEOUT_S}))


if __name__ == "__main__":
    unittest.main()
