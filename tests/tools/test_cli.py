# SPDX-License-Identifier: GPL-2.0-or-later
"""The command as a user meets it: statuses, messages, nothing left behind."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path
from unittest import mock

from x64k import build, check, cli, host, proc, trees, ui
from x64k.paths import ROOT


def x64k(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ROOT / "x64k", *args], capture_output=True,
                          text=True, stdin=subprocess.DEVNULL,
                          env=os.environ | env, timeout=60)


class Usage(unittest.TestCase):
    def test_unknown_verb(self):
        done = x64k("frobnicate")
        self.assertEqual(done.returncode, 2)
        self.assertIn("frobnicate", done.stderr)

    def test_unknown_option(self):
        done = x64k("build", "--frobnicate")
        self.assertEqual(done.returncode, 2)
        self.assertIn("--frobnicate", done.stderr)

    def test_no_verb(self):
        self.assertEqual(x64k().returncode, 2)

    def test_rest_where_none_is_taken(self):
        done = x64k("setup", "--", "x")
        self.assertEqual(done.returncode, 2)
        self.assertIn("nothing after --", done.stderr)

    def test_help_of_every_verb(self):
        for verb in cli.VERBS:
            with self.subTest(verb):
                done = x64k(verb, "--help")
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertIn("usage: x64k " + verb, done.stdout)

    def test_version_names_the_sources(self):
        done = x64k("--version")
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stdout, r"\Ax64k \d+\.\d+ \(.+\)\nQEMU.*\n")
        self.assertIn("Linux", done.stdout)

    def test_from_another_folder_through_a_link(self):
        with tempfile.TemporaryDirectory() as folder:
            link = Path(folder) / "x"
            link.symlink_to(ROOT / "x64k")
            done = subprocess.run([link, "--version"], cwd=folder,
                                  capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)

    def test_a_named_source_that_is_not_there(self):
        done = x64k("build", "--qemu-source", "/nonexistent", "trees",
                    X64K_BUILT="")
        self.assertEqual(done.returncode, 125)
        self.assertIn("/nonexistent: no such tarball or tree", done.stderr)


class Setup(unittest.TestCase):
    def run_host(self, root: bool, yes: bool, sudo: bool = True):
        with (mock.patch.object(host, "missing", lambda _: ["bc", "flex"]),
              mock.patch.object(host.os, "geteuid", lambda: 0 if root else 1000),
              mock.patch.object(host.shutil, "which",
                                lambda name: "/x" if sudo else None),
              mock.patch.object(host.sys, "stdin", open(os.devnull)),
              mock.patch.object(host, "uninstallable", self.uninstallable),
              mock.patch.object(host, "apt_get", self.apt_get),
              mock.patch.object(host, "install",
                                lambda _: self.apt_get("install")),
              mock.patch.object(host, "check_dpkg"),
              mock.patch.object(host.sys, "stderr", open(os.devnull, "w"))):
            host.ensure(yes)

    def setUp(self):
        self.ran: list[str] = []
        self.unknown: list[str] = []

    def uninstallable(self, names):
        return [name for name in names if name in self.unknown]

    def apt_get(self, *args):
        self.ran.append(args[0])
        return 0

    def test_nobody_to_ask(self):
        with self.assertRaisesRegex(
                ui.X64kError, "--yes(?s:.*)sudo apt-get install "
                "--no-install-recommends bc flex"):
            self.run_host(root=False, yes=False)
        self.assertEqual(self.ran, [])

    def test_no_sudo(self):
        with self.assertRaisesRegex(ui.X64kError,
                                    "as root, run:\n  apt-get install"):
            self.run_host(root=False, yes=True, sudo=False)

    def test_update_only_if_needed(self):
        with self.assertRaisesRegex(ui.X64kError, "still not installed"):
            self.run_host(root=True, yes=False)     # `missing` is a mock
        self.assertEqual(self.ran, ["install"])

    def test_names_what_cannot_be_installed(self):
        self.unknown = ["flex"]
        with self.assertRaisesRegex(ui.X64kError, "cannot install: flex\n"):
            self.run_host(root=True, yes=False)
        self.assertEqual(self.ran, ["update"])

    def test_every_package_says_why(self):
        self.assertTrue(all(host.wanted(build.GROUPS).values()))

    def test_packages_on_demand(self):
        """Only who asks for the fuzzer needs its compiler."""
        self.assertNotIn("clang", host.wanted(["qemu", "guest"]))
        self.assertIn("clang", host.wanted(["qemu", "fuzzer"]))
        self.assertLessEqual(set(host.MORE), set(build.GROUPS))
        found = mock.Mock(stdout="installed " + " ".join(host.PACKAGES) + "\n")
        with (mock.patch.object(host.shutil, "which", lambda name: "/x"),
              mock.patch.object(host.subprocess, "run", lambda *_, **__: found)):
            self.assertEqual(host.missing(), [])
            self.assertIn("clang", host.missing(["fuzzer"]))

    def test_another_distribution(self):
        with mock.patch.object(host.shutil, "which", lambda name: None):
            with self.assertRaisesRegex(ui.X64kError, "--qemu-source"):
                host.missing()


class Processes(unittest.TestCase):
    """Nothing outlives us, however we end."""

    SLEEPER = "sleep 1000 & sleep 1000"

    def alive(self, marker: str) -> list[str]:
        found = []
        for environ in Path("/proc").glob("[0-9]*/environ"):
            try:
                if marker.encode() in environ.read_bytes():
                    found.append(environ.parent.name)
            except OSError:
                pass
        return found

    def end_by(self, signum: signal.Signals) -> None:
        marker = f"X64K_TEST_MARKER={os.getpid()}-{signum}"
        name, _, value = marker.partition("=")
        child = subprocess.Popen(
            [sys.executable, "-c", "import sys; from x64k import cli, proc\n"
             "class verb:\n"
             "    run = lambda args: proc.call(['sh', '-c', sys.argv[1]])\n"
             "import argparse\n"
             "cli.parse = lambda _: argparse.Namespace(module=verb)\n"
             "sys.exit(cli.main([]))", self.SLEEPER],
            env=os.environ | {name: value}, stderr=subprocess.DEVNULL)
        for _ in range(100):
            if len(self.alive(marker)) >= 4:
                break
            time.sleep(0.1)
        self.assertGreaterEqual(len(self.alive(marker)), 4)
        child.send_signal(signum)
        self.assertEqual(child.wait(30), 128 + signum)
        self.assertEqual(self.alive(marker), [])

    def test_interrupt(self):
        self.end_by(signal.SIGINT)

    def test_terminate(self):
        self.end_by(signal.SIGTERM)

    def test_hangup(self):
        self.end_by(signal.SIGHUP)

    def test_failure_names_its_log(self):
        with tempfile.TemporaryDirectory() as folder:
            with (mock.patch.object(proc, "LOGS", Path(folder)),
                  mock.patch.object(ui, "info", lambda _: None),
                  self.assertRaisesRegex(
                      ui.X64kError,
                      r"(?s)Trying failed.*\| it broke.*try\.log")):
                proc.logged(["sh", "-c", "echo it broke; exit 3"], "try",
                            "Trying")

    def test_a_full_disk_is_named(self):
        with tempfile.TemporaryDirectory() as folder:
            with (mock.patch.object(proc, "LOGS", Path(folder)),
                  mock.patch.object(ui, "info", lambda _: None),
                  self.assertRaisesRegex(ui.X64kError, "disk is full")):
                proc.logged(["sh", "-c", "echo x: No space left on device;"
                             "exit 1"], "try", "Trying")


class Count(unittest.TestCase):
    """The closing line of `x64k test` must not flatter."""

    def entry(self, result: str, stdout: str = "") -> dict:
        return json.loads(json.dumps(
            {"name": "x64k:unit / geometry", "result": result,
             "stdout": stdout}))

    def verdicts(self, *entry: str) -> list[str]:
        return [part.verdict for part in check.outcomes(self.entry(*entry))]

    def test_parts_of_tap(self):
        text = ("TAP version 13\nok 1 - a\nnot ok 2 - b\n"
                "ok 3 - c # SKIP no kernel\nok 4 /x/y\n# ok no\n1..4\n")
        parts = check.outcomes(self.entry("FAIL", text))
        self.assertEqual([part.verdict for part in parts],
                         ["passed", "failed", "skipped", "passed"])
        self.assertEqual(parts[2].note, "no kernel")
        self.assertEqual(parts[3].name, "geometry: /x/y")
        self.assertEqual(check.summary(parts),
                         "2 passed, 1 failed, 1 skipped")

    def test_a_crash_after_good_parts_fails(self):
        self.assertEqual(self.verdicts("ERROR", "ok 1 - a\n"),
                         ["passed", "failed"])

    def test_a_timeout_fails(self):
        self.assertEqual(self.verdicts("TIMEOUT"), ["failed"])

    def test_no_tap(self):
        self.assertEqual(self.verdicts("OK"), ["passed"])
        self.assertEqual(self.verdicts("FAIL"), ["failed"])
        self.assertEqual(self.verdicts("SKIP"), ["skipped"])


class Space(unittest.TestCase):
    def test_too_little_is_said_up_front(self):
        with tempfile.TemporaryDirectory() as folder:
            with (mock.patch.dict(build.sources.NEED_GB,
                                  {Path(folder): 10**9}, clear=True),
                  self.assertRaisesRegex(ui.X64kError, "free some space")):
                build.sources.check_space()


class Sources(unittest.TestCase):
    def test_the_choice_is_remembered_and_undone(self):
        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder) / "config.json"
            with mock.patch.object(trees, "CONFIG", config):
                parser = cli.make_parser()
                build.remember_sources(parser.parse_args(
                    ["build", "--qemu-source", folder]))
                named = trees.named_source(trees.QEMU)
                self.assertEqual(named.path, Path(folder))
                build.remember_sources(parser.parse_args(
                    ["build", "--qemu-source", "debian"]))
                self.assertIsNone(trees.named_source(trees.QEMU))
