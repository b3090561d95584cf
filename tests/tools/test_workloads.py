# SPDX-License-Identifier: GPL-2.0-or-later
"""The file of workloads: what it may say, and what is run of it."""

import dataclasses
import os
import re
import subprocess
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from x64k import guest, ui, workloads
from x64k.paths import ROOT

GOOD = """
[mine]
stands-for = "a test"
image = "mini"
mem = "512M"
sizes = { small = "1", default = "2 3" }
setup = "echo set-up $size"
count = "echo counted"
check = "echo checked"
stop = "echo stopped"
"""

# For a guest's: tells that it was asked to count, and runs the rest.
TLBSTAT = """#!/bin/sh
echo "tlbstat $1 $2 $3 $4"
shift 5
"$@"
"""


class Ours(unittest.TestCase):
    def setUp(self):
        with mock.patch.dict(os.environ):
            os.environ.pop(workloads.OWN, None)
            self.known = workloads.load()

    def test_what_there_must_be(self):
        self.assertLessEqual(
            {"gups", "chase", "stream", "bfs", "join", "sort", "sqlite",
             "redis", "pgbench", "compile", "forkexec"}, set(self.known))
        self.assertTrue(any(name.startswith("python") for name in self.known))

    def test_fields(self):
        for name, one in self.known.items():
            with self.subTest(name):
                self.assertEqual(list(one.sizes),
                                 ["small", "default", "large"])
                self.assertEqual(one.default_size, "default")
                self.assertLess(len(one.stands_for), 70)
                self.assertNotEqual(one.sizes["default"],
                                    one.sizes["large"])
                guest.valid_mem(one.mem)

    def test_the_shell_can_read_them(self):
        for name, one in self.known.items():
            with self.subTest(name):
                read = subprocess.run(["sh", "-n"], input=one.script(),
                                      capture_output=True, text=True)
                self.assertEqual((read.returncode, read.stderr), (0, ""))

    def test_each_checks_its_result(self):
        """Ours that are counted from outside have a check of their own."""
        for name, one in self.known.items():
            with self.subTest(name):
                self.assertTrue(one.program.startswith("x64k-workload ")
                                or one.check)

    def test_documented(self):
        text = (ROOT / "docs/workloads.md").read_text()
        for name in self.known:
            self.assertIn(f"| `{name}` |", text)
        for field in workloads.FIELDS:
            self.assertRegex(text, rf"(?m)^\| `{field}`", field)


class Own(unittest.TestCase):
    """A file of the user's."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name, "own.toml")
        patch = mock.patch.dict(os.environ, {workloads.OWN: str(self.path)})
        patch.start()
        self.addCleanup(patch.stop)

    def load(self, text: str) -> workloads.Workload:
        self.path.write_text(text)
        return workloads.load()["mine"]

    def test_is_added(self):
        one = self.load(GOOD)
        self.assertEqual(one.sizes, {"small": "1", "default": "2 3"})
        self.assertEqual(one.source, self.path)
        self.assertIn("gups", workloads.load())

    def test_argv(self):
        one = self.load(GOOD)
        *_, script, name, size = one.argv("small")
        self.assertEqual((name, size), (b"workload-mine", b"1"))
        self.assertEqual(script.decode(), one.script())
        self.assertEqual(one.argv()[-1], b"2 3")

    def test_unknown_size(self):
        with self.assertRaisesRegex(
                ui.X64kError, "workload mine has no size 'huge'; it has "
                "small, default") as caught:
            self.load(GOOD).argv("huge")
        self.assertEqual(caught.exception.status, 2)

    def test_refused(self):
        """Every message names the file, the workload and the field."""
        def without(field: str) -> str:
            return re.sub(rf"(?m)^{field} =.*\n", "", GOOD)

        for text, said in (
                (GOOD + 'colour = "red"\n', "unknown field 'colour'"),
                (without("image"), "field 'image' is missing"),
                (without("mem"), "field 'mem' is missing"),
                (without("sizes"), "field 'sizes' is missing"),
                (without("stands-for"), "field 'stands-for' is missing"),
                (without("count"), "needs either 'count'.* or 'program'"),
                (GOOD + 'program = "x"\n', "needs either 'count'"),
                (GOOD + 'default = "large"\n', "field 'default': there is no "
                 "size 'large'"),
                (GOOD + "timeout = 0\n", "field 'timeout' must be a positive"),
                (GOOD + "timeout = true\n", "field 'timeout' must be"),
                (GOOD.replace('"mini"', '"maxi"'), "field 'image' must be one "
                 "of mini, debian, not 'maxi'"),
                (GOOD.replace("512M", "lots"), "field 'mem': 'lots' is not a "
                 "memory size"),
                (GOOD.replace('"1"', "1"), "field 'sizes' must be a table of "
                 "texts"),
                (GOOD.replace('"1"', '""'), "field 'sizes': 'small' = ''"),
                (GOOD.replace('small = "1"', '"a b" = "1"'),
                 "field 'sizes': 'a b'"),
                (GOOD.replace('"echo counted"', '"echo\\ncounted"'),
                 "field 'count' must be a single command"),
                (GOOD.replace('"echo counted"', '["echo"]'),
                 "field 'count' must be a text")):
            with self.subTest(said):
                with self.assertRaisesRegex(
                        ui.X64kError, rf"own\.toml: workload mine: {said}"
                        ) as caught:
                    self.load(text)
                self.assertEqual(caught.exception.status, 2)

    def test_the_file_itself(self):
        for text, said in (("\n[mine\n", r"own\.toml: .*line 2"),
                           ("mine = 1", r"own\.toml: workload mine: must be "
                            "a table"),
                           ('["My own"]', r"own\.toml: workload My own: a "
                            "name is of"),
                           (GOOD.replace("[mine]", "[gups]"), r"own\.toml: "
                            "workload gups: there is one of this name")):
            with self.subTest(said), self.assertRaisesRegex(ui.X64kError,
                                                            said):
                self.load(text)
        self.path.unlink()
        with self.assertRaisesRegex(ui.X64kError, r"own\.toml: No such file"):
            workloads.load()

    def test_unknown_workload(self):
        with self.assertRaisesRegex(ui.X64kError, "no workload 'gup'; there "
                                    "are .*gups"):
            self.load(GOOD)
            workloads.find("gup")

    def perform(self, one: workloads.Workload
                ) -> subprocess.CompletedProcess:
        """What the guest would do, with a shell and a tlbstat of ours."""
        with tempfile.TemporaryDirectory() as folder:
            tool = Path(folder, "tlbstat")
            tool.write_text(TLBSTAT)
            tool.chmod(0o755)
            path = f"{folder}:{os.environ['PATH']}"
            return subprocess.run(one.argv("small"), capture_output=True,
                                  text=True, env=os.environ | {"PATH": path})

    def test_order(self):
        ran = self.perform(self.load(GOOD))
        self.assertEqual(ran.returncode, 0, ran.stderr)
        self.assertEqual(ran.stdout, "set-up 1\n"
                         "tlbstat -r workload -o /dev/null\n"
                         "counted\nchecked\nstopped\n")

    def test_what_fails(self):
        """The first step that fails is the last, but for the stop; nothing
        that failed is lost."""
        one = self.load(GOOD)
        for field, said in (("setup", "stopped\n"),
                            ("count", "set-up 1\ntlbstat -r workload "
                             "-o /dev/null\nstopped\n"),
                            ("check", "set-up 1\ntlbstat -r workload "
                             "-o /dev/null\ncounted\nstopped\n")):
            with self.subTest(field):
                ran = self.perform(dataclasses.replace(one,
                                                       **{field: "false"}))
                self.assertNotEqual(ran.returncode, 0)
                self.assertEqual(ran.stdout, said)
        ran = self.perform(dataclasses.replace(one, stop="false"))
        self.assertNotEqual(ran.returncode, 0)

    def test_a_program_marks_the_region_itself(self):
        one = self.load(GOOD.replace("count =", "program ="))
        self.assertNotIn("tlbstat", one.script())
        self.assertEqual(self.perform(one).stdout,
                         "set-up 1\ncounted\nchecked\nstopped\n")


class Verb(unittest.TestCase):
    def x64k(self, *args: str) -> subprocess.CompletedProcess:
        return subprocess.run([ROOT / "x64k", "workloads", *args],
                              capture_output=True, text=True)

    def test_list(self):
        shown = self.x64k()
        self.assertEqual(shown.returncode, 0, shown.stderr)
        self.assertRegex(shown.stdout,
                         r"(?m)^gups +mini +1G +small default large +updates")
        self.assertEqual(self.x64k("list").stdout, shown.stdout)

    def test_show(self):
        shown = self.x64k("show", "gups")
        self.assertEqual(shown.returncode, 0, shown.stderr)
        self.assertIn("x64k-workload gups $size", shown.stdout)
        self.assertIn("small (20)", shown.stdout)

    def test_usage(self):
        for args, said in ((("show",), "needs a name"),
                           (("show", "no-such"), "no workload 'no-such'"),
                           (("list", "gups"), "takes no name"),
                           (("run",), "invalid choice")):
            shown = self.x64k(*args)
            self.assertEqual(shown.returncode, 2)
            self.assertIn(said, shown.stderr)
