# SPDX-License-Identifier: GPL-2.0-or-later
"""x64k sweep --slurm, on a real Slurm of this one machine."""

import contextlib
import json
import os
import re
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

import cluster
from support import X64K

COMMAND = ("--", "sh", "-c", "toucher; sleep 5")
CELLS = 4
ALIVE = "PENDING,RUNNING,COMPLETING"
MATRIX = ("--modes", "4k,contig", "--runs", "2", "--mem", "256M")


@unittest.skipIf(cluster.missing(), f"no {', '.join(cluster.missing())}: "
                 "apt-get install slurm-wlm munge")
class Slurm(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        stack = contextlib.ExitStack()
        cls.addClassCleanup(stack.close)
        config = stack.enter_context(cluster.running())
        cls.env = os.environ | {"SLURM_CONF": str(config), "X64K_BUILT": "1"}

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="x64k sweep %-")
        self.addCleanup(folder.cleanup)
        self.results = Path(folder.name, "results")

    def run_in_cluster(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(argv, env=self.env, text=True, timeout=300,
                              stdin=subprocess.DEVNULL, capture_output=True)

    def sweep(self, *options: str, status: int = 0
              ) -> subprocess.CompletedProcess[str]:
        done = self.run_in_cluster(
            *X64K, "sweep", "--slurm", "--results", str(self.results),
            *MATRIX, *options, *COMMAND)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done

    def tasks(self, state: str) -> list[str]:
        """JOB_INDEX of the tasks that are in STATE."""
        done = self.run_in_cluster("squeue", "--noheader", "--array",
                                   f"--states={state}", "--format=%i")
        return done.stdout.split()

    def wait_for(self, done, what: str) -> None:
        begin = time.monotonic()
        while not done():
            self.assertLess(time.monotonic() - begin, 120, what)
            time.sleep(0.2)

    def emulators(self) -> list[str]:
        """Those that write into our results."""
        found = []
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = entry.read_bytes()
            except OSError:
                continue
            if (b"-chardev" in line and
                    str(self.results).encode() in line):
                found.append(entry.parent.name)
        return found

    def cells(self) -> dict[str, dict]:
        """Whatever is there must be whole."""
        return {path.name: json.loads(path.read_text())
                for path in (self.results / "cells").iterdir()}

    def test_a_killed_task_is_one_cell(self):
        job = re.match(r"job (\d+): 4 of 4 cells\n",
                       self.sweep("--array-limit", "2").stdout)[1]

        # Midway: its guest runs, and others wait.
        self.wait_for(lambda: len(self.tasks("RUNNING")) == 2
                      and len(self.emulators()) == 2, "two running tasks")
        self.assertTrue(self.tasks("PENDING"))
        victim = self.tasks("RUNNING")[0]
        self.run_in_cluster("scancel", victim)
        again = self.sweep()
        self.assertIn("cells are in the queue already", again.stderr)
        if again.stdout:    # the killed one alone, once the queue has let go
            self.assertIn("1 of 4 cells\n", again.stdout)
            self.run_in_cluster("scancel", again.stdout.split()[1].strip(":"))

        self.wait_for(lambda: not self.tasks(ALIVE), "the end of the job")
        self.assertEqual(self.emulators(), [])
        before = self.cells()
        self.assertEqual(len(before), CELLS - 1)
        self.assertEqual({cell["status"] for cell in before.values()},
                         {"done"})
        self.assertTrue(list(self.results.glob(
            f"slurm/x64k-*/{victim.removeprefix(f'{job}_')}.log")))

        # Once more submits what is missing, and nothing else.
        last = self.sweep("--wait")
        self.assertIn("3 of 4 cells have run already", last.stderr)
        self.assertRegex(last.stdout, r"\Ajob \d+: 1 of 4 cells\n")
        after = self.cells()
        self.assertEqual(len(after), CELLS)
        self.assertEqual(before, {name: after[name] for name in before})
        self.assertEqual(
            {(cell["mode"], cell["run"], cell["status"])
             for cell in after.values()},
            {(mode, run, "done") for mode in ("4k", "contig")
             for run in (1, 2)})
        self.assertIn("nothing to submit", self.sweep().stderr)

    def test_a_dry_run_submits_nothing(self):
        shown = self.sweep("--dry-run", "--partition", "p", "--time", "5",
                           "--array-limit", "3").stdout
        for option in ("--array=0-3%3", "--partition=p", "--time=5"):
            self.assertIn(f"#SBATCH {option}\n", shown)
        subprocess.run(["sh", "-n"], input=shown, text=True, check=True)
        self.assertEqual(self.tasks(ALIVE), [])
        self.assertFalse(self.results.exists())

    def test_what_sbatch_refuses(self):
        """Nothing is left behind that looks like a job."""
        said = self.sweep("--partition", "no-such-partition",
                          status=125).stderr
        self.assertIn("invalid partition specified: no-such-partition", said)
        self.assertEqual(list(self.results.glob("slurm/*")), [])


class Usage(unittest.TestCase):
    def x64k(self, *args: str) -> str:
        done = subprocess.run(
            [*X64K, "sweep", *args], env=os.environ | {"X64K_BUILT": "1"},
            capture_output=True, text=True, stdin=subprocess.DEVNULL)
        self.assertEqual(done.returncode, 2, done.stderr)
        return done.stderr

    def test_errors(self):
        for args, message in (
                ((), "--results"),
                (("--results", "r", "--wait", "--", "true"),
                 "--wait needs --slurm"),
                (("--results", "r", "--slurm", "--jobs", "2", "--", "true"),
                 "--array-limit"),
                (("--results", "r", "--slurm"), "--workload")):
            with self.subTest(args):
                self.assertIn(message, self.x64k(*args))


if __name__ == "__main__":
    unittest.main()
