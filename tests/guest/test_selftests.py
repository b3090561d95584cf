# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux's own tests of memory management, each as a 4 KB process: on the stock
kernel, and on the patched one with everything off and everything on.  Case by
case the verdicts are those of the stock kernel, but for what selftests.toml
lists, with the reason.

X64K_SELFTESTS in the environment names the programs to run, for example
`mm/cow mm/ksm_tests*` (all if it does not)."""

import fnmatch
import functools
import os
import shlex
import unittest
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import verdicts
from support import GuestTest

from x64k import selftests, trees, ui
from x64k.paths import BUILD, LOGS, shown

SCRIPT = Path(__file__).with_name("selftests.sh")

# 2 MB folios by madvise, as the tests expect, and two nodes to migrate
# between.  Three processors, since `migration` wants them.
APPEND = "transparent_hugepage=madvise numa=fake=2 log_buf_len=4M"
MACHINE = ("--mem", "2G", "--cpus", "3", "--timeout", "7200",
           "--share", str(selftests.PROGRAMS))
# A program that takes the guest with it costs a boot; so many may.
BOOTS = 12


@dataclass(frozen=True)
class Configuration:
    kernel: Path
    mode: str
    append: str = ""
    options: tuple[str, ...] = ()


STOCK = trees.LINUX.stock_objects
FOLIOS = "stock-folios"
CONFIGURATIONS = {
    "stock": Configuration(STOCK, "4k"),
    # Only what is listed as due to 64 KB folios, not to our patches.
    FOLIOS: Configuration(STOCK, "emulated"),
    "off": Configuration(selftests.KERNEL, "4k", "nox64k"),
    "contig": Configuration(selftests.KERNEL, "contig"),
}


def wanted(configuration: str) -> list[verdicts.Program]:
    programs, _, known = verdicts.listed()
    patterns = shlex.split(os.environ.get("X64K_SELFTESTS", "")) or ["*"]
    if configuration == FOLIOS:
        differ = {entry["program"] for entry in known
                  if FOLIOS in entry["configurations"]}
        programs = [program for program in programs if program.run in differ]
    return [program for program in programs
            if any(fnmatch.fnmatchcase(program.run, pattern)
                   for pattern in patterns)]


class Runner(GuestTest):
    """Boots a configuration until each program has had its turn."""

    def boot_once(self, configuration: Configuration,
                  programs: list[verdicts.Program], log: Path) -> str:
        lines = [SCRIPT.read_text()] + [
            f"one {shlex.quote(program.run)} {program.seconds} "
            f"{shlex.quote(program.command())} {program.attempts}"
            for program in programs]
        ran = self.x64k(
            "boot", "--mode", configuration.mode,
            "--kernel", str(configuration.kernel), *MACHINE,
            "--append", f"{APPEND} {configuration.append}".strip(),
            *configuration.options, "--", "sh", "-c", "\n".join(lines),
            status=None, quiet=False, patience=7300)
        output = ran.stdout.decode(errors="replace")
        with log.open("a") as file:
            file.write(output + ran.stderr)
        for line in ran.stderr.splitlines():
            if "stale use" in line:
                self.fail(line)
        return output

    def all_of(self, name: str) -> dict[str, verdicts.Verdicts]:
        log = LOGS / f"selftests-{name}.log"
        log.unlink(missing_ok=True)
        left = wanted(name)
        results: dict[str, verdicts.Verdicts] = {}
        for boot in range(BOOTS):
            with ui.step(f"Linux's tests on {name}, boot {boot + 1}"):
                found = verdicts.read(self.boot_once(
                    CONFIGURATIONS[name], left, log))
            results |= found
            left = [program for program in left if program.run not in found]
            if not left or not found:
                break
        print(f"# {name}: {verdicts.summary(results)} ({shown(log)})")
        return results


@functools.cache
def results(name: str) -> dict[str, verdicts.Verdicts]:
    return Runner().all_of(name)


class Selftest(unittest.TestCase):
    """One program on one configuration."""

    def __init__(self, configuration: str, program: str = ""):
        # unittest makes one by itself, before load_tests() has a say.
        super().__init__()
        self.configuration, self.program = configuration, program

    def id(self) -> str:
        return f"Selftest.{self.configuration}: {self.program}"

    def runTest(self):
        found = results(self.configuration)
        self.assertIn(self.program, found, "it did not run")
        ours, stock = found[self.program], results("stock")[self.program]
        if self.configuration != "stock":
            wrong = verdicts.judge(self.program, self.configuration, stock,
                                   ours)
            self.assertEqual(wrong, [], "\n" + "\n".join(wrong))
        if ours[verdicts.EXIT] == verdicts.SKIP:
            self.skipTest("skips, as on the stock kernel"
                          if self.configuration != "stock" else
                          "skips in this guest")


class PageSize(GuestTest):
    """Our own one, on a file system that other guests do not have, and with
    protection keys."""

    SCRIPT = """
        echo 300M >/sys/block/zram0/disksize
        zcat /mnt/share/xfs.gz >/dev/zram0
        mkdir /tmp/xfs; mount -t xfs /dev/zram0 /tmp/xfs
        head -c 1000100 /dev/urandom >/tmp/xfs/old
        page_size {} -f /tmp/xfs/new -r /tmp/xfs/old
        """

    def test_xfs(self):
        for mode, option, least in (("4k", "", 500),
                                    ("process64k+contig", "-s 65536", 150)):
            with self.subTest(mode=mode):
                ran = self.boot(
                    mode, "--kernel", str(selftests.KERNEL), "--mem", "1G",
                    "--share", str(selftests.PROGRAMS), "--", "sh", "-ec",
                    self.SCRIPT.format(option))
                found = dict(verdicts.cases(ran.stdout.decode()))
                self.assertGreater(len(found), least)
                self.assertEqual([name for name, verdict in found.items()
                                  if verdict != verdicts.PASS], [])


class Ran(unittest.TestCase):
    """A configuration in which nothing passed has tested nothing."""

    def test_ran(self):
        for name in filter(wanted, CONFIGURATIONS):
            with self.subTest(configuration=name):
                count = Counter(verdict for found in results(name).values()
                                for verdict in found.values())
                self.assertGreater(count[verdicts.PASS], 0)


def load_tests(loader, _, __):
    suite = loader.loadTestsFromTestCase(PageSize)
    suite.addTests(loader.loadTestsFromTestCase(Ran))
    for name in CONFIGURATIONS:
        suite.addTests(Selftest(name, program.run) for program in wanted(name))
    return suite


if __name__ == "__main__":
    unittest.main()
