# SPDX-License-Identifier: GPL-2.0-or-later
"""The manual page and the completion know what --help tells."""

import os
import pty
import re
import select
import subprocess
import tempfile
import unittest
from pathlib import Path

from x64k import cli, completion, manual, paths

HELP = {verb: subprocess.run([paths.ROOT / "x64k", verb, "--help"],
                             capture_output=True, text=True, check=True).stdout
        for verb in cli.VERBS}


def long_options(text: str) -> set[str]:
    """Those that a line of --help begins with, with their synonyms."""
    return {option for line in text.splitlines()
            if (match := re.match(r"  (-.*?)(?:  |$)", line))
            for option in re.findall(r"--[a-z][a-z-]*", match[1])} - {"--help"}


class Manual(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.source = manual.page(cli.make_parser())
        cls.text = cls.source.replace("\\-", "-")
        _, *parts = re.split(r"^\.SS (\S+)$", cls.text, flags=re.MULTILINE)
        cls.sections = dict(zip(parts[::2], parts[1::2], strict=True))

    def test_every_verb_and_option(self):
        self.assertEqual(list(self.sections), list(cli.VERBS))
        shared = self.sections[list(cli.VERBS)[-1]].partition(
            ".SH BUILDING")[2]
        for verb, text in HELP.items():
            options = long_options(text)
            with self.subTest(verb):
                for option in options:
                    self.assertRegex(self.sections[verb] + shared,
                                     rf"(?m)^.*\\fB{option}\\fR")
        self.assertIn("--tlb-coalesce", long_options(HELP["boot"]))

    def test_epilogs(self):
        """What is laid out by hand is there: modes, exit statuses."""
        self.assertIn("123 guest kernel panic", self.sections["boot"])
        self.assertRegex(self.sections["boot"], "  contig +64 KB folios")

    def test_form(self):
        """roff takes no line of text for a request of its own."""
        self.assertIn(".SH NAME\nx64k \\- ", self.source)
        requests = {line.split()[0] for line in self.source.splitlines()
                    if line.startswith((".", "'"))}
        self.assertLessEqual(requests, {".TH", ".SH", ".SS", ".TP", ".PP",
                                        ".nf", ".fi", ".B", ".I", ".BR",
                                        ".RB", ".RI", ".IR"})
        self.assertNotRegex(self.source.replace("\\-", ""), r"[^\\]--")


class Completion(unittest.TestCase):
    """bash's own completion, on a command line that ends where one is."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        script = Path(self.folder.name, "script")
        script.write_text(completion.script(cli.make_parser()))
        self.command = f"source {script}; "
        self.x64k = "x64k"

    def complete(self, line: str) -> list[str]:
        done = subprocess.run(
            ["bash", "--norc", "--noprofile", "-ic", self.command + r'''
             COMP_LINE=$1
             COMP_POINT=${#1}
             # As readline cuts a line, without its quotes.
             COMP_WORDS=()
             for word in ${1//=/ = }; do COMP_WORDS+=("$word"); done
             [[ $1 == *[\ =] ]] && COMP_WORDS+=('')
             COMP_WORDS[0]=$2
             COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
             compopt() { :; }
             _x64k
             printf "%s\n" "${COMPREPLY[@]}"''', "bash", line, self.x64k],
            capture_output=True, text=True, stdin=subprocess.DEVNULL,
            cwd=self.folder.name, timeout=60)
        return sorted(filter(None, done.stdout.splitlines()))

    def test_verbs(self):
        self.assertEqual(self.complete("x64k com"), ["compare"])
        self.assertLessEqual(set(cli.VERBS), set(self.complete("x64k ")))

    def test_options(self):
        self.assertEqual(self.complete("x64k boot --tlb-c"),
                         ["--tlb-coalesce"])
        for verb, text in HELP.items():
            with self.subTest(verb):
                self.assertEqual(
                    set(self.complete(f"x64k {verb} --")) - {"--help"},
                    long_options(text))

    def test_modes(self):
        self.assertEqual(self.complete("x64k boot --mode c"), ["contig"])
        self.assertEqual(self.complete("x64k boot --mode=e"), ["emulated"])

    def test_a_list_of_modes(self):
        self.assertEqual(self.complete("x64k compare --modes 4k,c"),
                         ["4k,contig"])

    def test_choices_and_files(self):
        Path(self.folder.name, "vmlinux").touch()
        self.assertEqual(self.complete("x64k test --suite qt"), ["qtest"])
        self.assertEqual(self.complete("x64k tlb s"), ["show"])
        self.assertEqual(self.complete("x64k boot --kernel vm"), ["vmlinux"])

    def test_nothing_for_the_guest(self):
        self.assertEqual(self.complete("x64k boot -- --m"), [])
        self.assertEqual(self.complete("x64k boot --append --m"), [])

    @unittest.skipUnless(paths.QEMU.exists(), "no emulator is built")
    def test_presets(self):
        """The command itself is asked for them."""
        self.x64k = str(paths.ROOT / "x64k")
        self.assertEqual(self.complete("x64k boot --tlb zen"),
                         ["zen3", "zen4", "zen5"])
        self.assertEqual(self.complete("x64k tlb show skyl"), ["skylake"])

    def test_by_the_tab_key(self):
        """In a shell with a terminal, as a user has it."""
        host, terminal = pty.openpty()
        script = Path(self.folder.name, "script")
        with subprocess.Popen(
                ["bash", "--norc", "--noprofile", "-i"], stdin=terminal,
                stdout=terminal, stderr=terminal, start_new_session=True,
                env=os.environ | {"TERM": "dumb", "PS1": "ready> "}) as shell:
            shown = b""
            try:
                for typed, answer in (
                        (f"source {script}\n".encode(), b"ready> "),
                        (b"echo loaded\n", b"\nloaded"),
                        (b"x64k boot --mode con\t", b"--mode contig ")):
                    os.write(host, typed)
                    while answer not in shown:
                        self.assertTrue(select.select([host], [], [], 30)[0],
                                        shown)
                        shown += os.read(host, 4096).replace(b"\r", b"")
            finally:
                shell.kill()
                os.close(terminal)
                os.close(host)

    def test_installed(self):
        """An installed x64k offers nothing that only the checkout can."""
        script = subprocess.run(
            ["python3", "-m", "x64k.completion", "--installed"], check=True,
            capture_output=True, text=True, env=os.environ | {
                "PYTHONPATH": str(paths.ROOT / "tools")}).stdout
        Path(self.folder.name, "script").write_text(script)
        offered = self.complete("x64k ")
        self.assertIn("boot", offered)
        self.assertEqual(set(offered) & cli.NEED_SOURCE, set())
        self.assertEqual(self.complete("x64k boot --qemu"), [])


if __name__ == "__main__":
    unittest.main()
