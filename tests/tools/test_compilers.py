# SPDX-License-Identifier: GPL-2.0-or-later
"""Our C files, by every compiler there is: no warning, no error.

What a newer compiler refuses, an older one may only warn of, and QEMU as a
whole is built without -Werror.  So each of our files is compiled once more, as
far as its syntax and types, by each gcc and clang of this machine and by the
newest GCC of Debian 13, if that is newer.  What others' headers do is theirs.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from x64k import sources, ui
from x64k.paths import BUILD, MESON, ROOT

DATABASES = [folder / "compile_commands.json"
             for folder in (BUILD / "qemu", MESON)]
# That a test compiles by itself.
OTHERS = [ROOT / "tests/guest" / name for name in ("forget.c", "kexec.c",
                                                  "shoot.c")]

# Debian's newest GCC, without what only code generation and linking need.
GCC = 14
GCC_PACKAGES = (f"cpp-{GCC}-x86-64-linux-gnu", f"libgcc-{GCC}-dev", "libc6",
                "libgmp10", "libisl23", "libmpc3", "libmpfr6", "libzstd1",
                "zlib1g")

NAME = re.compile(r"(?:x86_64-linux-gnu-)?(gcc|clang)(?:-\d+)?")
DIAGNOSIS = re.compile(r"^(\S+?):(\d+):(?:\d+:)? "
                       r"(warning|error|fatal error): (.*)$", re.MULTILINE)
# Of clang, which does not know all of GCC's options.
CLANG = ["-Qunused-arguments", "-Wno-unknown-warning-option"]


@dataclass(frozen=True)
class Compiler:
    version: str
    command: list[str]
    driver: bool = True         # false: the compiler proper


def installed(kind: str) -> list[Compiler]:
    """Each gcc, or each clang, once, whatever its names."""
    found = {}
    for folder in os.get_exec_path():
        for path in sorted(Path(folder).glob(f"*{kind}*")):
            real = path.resolve()
            match = NAME.fullmatch(real.name)
            if match and match[1] == kind and os.access(real, os.X_OK):
                found[real] = Compiler(subprocess.run(
                    [real, "--version"], capture_output=True, text=True,
                    check=True).stdout.splitlines()[0], [str(real)])
    return list(found.values())


def of_debian_13() -> Compiler:
    """Its compiler proper, run with its own libraries."""
    place = sources.unpacked(GCC_PACKAGES)
    libraries = place / "usr/lib/x86_64-linux-gnu"
    (proper,) = place.glob(f"usr/libexec/gcc/*/{GCC}/cc1")
    (headers,) = place.glob(f"usr/lib/gcc/*/{GCC}/include")
    command = [libraries / "ld-linux-x86-64.so.2", "--library-path",
               libraries, proper, "-quiet", "-imultiarch", "x86_64-linux-gnu",
               "-isystem", headers, "-o", os.devnull]
    version = subprocess.run([*command, "-version", os.devnull],
                             capture_output=True, text=True,
                             check=True).stderr.splitlines()[0]
    return Compiler(version, [str(word) for word in command], driver=False)


def major(compiler: Compiler) -> int:
    match = re.search(r" (\d+)\.\d+\.\d+", compiler.version)
    return int(match[1]) if match else 0


@dataclass(frozen=True)
class Unit:
    """One of our files, and how it is compiled."""
    file: Path
    folder: Path
    words: tuple[str, ...]


def is_ours(path: Path) -> bool:
    path = path.resolve()
    return path.is_relative_to(ROOT) and not path.is_relative_to(BUILD)


def units() -> list[Unit]:
    """Each file once: the same options are good for all that it is part of."""
    found = {path: Unit(path, ROOT, ("cc", "-Wall", "-Wextra", "-Werror",
                                     str(path))) for path in OTHERS}
    for database in DATABASES:
        for entry in json.loads(database.read_text()):
            folder = Path(entry["directory"])
            file = folder / entry["file"]
            if is_ours(file):
                found.setdefault(file.resolve(), Unit(
                    file, folder, tuple(shlex.split(entry["command"]))))
    return [found[file] for file in sorted(found)]


def translated(unit: Unit, compiler: Compiler) -> list[str]:
    """The command to check UNIT with COMPILER, which need not be the one
    that it was written for."""
    words = list(unit.words)
    for option in ("-o", "-MF", "-MQ"):
        while option in words:
            at = words.index(option)
            del words[at:at + 2]
    while not words[0].startswith("-"):
        del words[0]            # the compiler, perhaps by ccache
    words = [word for word in words
             if word not in ("-c", "-MD", "-pipe", "-Werror")
             and not re.match(r"-f[\w-]+=", word)]
    if not compiler.driver:
        words = ["-D_REENTRANT" if word == "-pthread" else word
                 for word in words if not word.startswith("-Wl,")]
    if "clang" in compiler.version:
        words += CLANG
    return [*compiler.command, *words, "-fsyntax-only"]


def faults(unit: Unit, compiler: Compiler) -> list[str]:
    done = subprocess.run(translated(unit, compiler), cwd=unit.folder,
                          capture_output=True, text=True,
                          env=os.environ | {"LC_ALL": "C"})
    found = [f"{place.resolve().relative_to(ROOT)}:{line}: {word}: {text}"
             for name, line, word, text in DIAGNOSIS.findall(done.stderr)
             if is_ours(place := unit.folder / name)]
    if done.returncode and not found:
        found = [f"{unit.file}: {done.stderr.strip()}"]
    return found


class Compilers(unittest.TestCase):
    """What is said of a file of ours fails the test, whatever it is."""

    def check(self, compilers: list[Compiler]) -> None:
        ours = units()
        for compiler in compilers:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                found = [fault for some in pool.map(
                    lambda unit: faults(unit, compiler), ours)
                    for fault in some]
            print(f"# {compiler.version}: {len(ours)} files", flush=True)
            with self.subTest(compiler.version):
                # A header's are those of each file that includes it.
                self.assertEqual(list(dict.fromkeys(found)), [])

    def test_gcc(self):
        self.check(installed("gcc"))

    def test_clang(self):
        if not (compilers := installed("clang")):
            self.skipTest("no clang is installed")
        self.check(compilers)

    def debian_13(self) -> Compiler:
        if newer := [compiler.version for compiler in installed("gcc")
                     if major(compiler) >= GCC]:
            self.skipTest(f"this machine has {newer[0]}")
        try:
            return of_debian_13()
        except ui.X64kError as error:
            self.skipTest(f"GCC {GCC} cannot be had: "
                          + " ".join(str(error).split()))

    def test_gcc_of_debian_13(self):
        self.check([self.debian_13()])

    def test_each_file_is_compiled_with_werror(self):
        """Where it is built, and by everybody."""
        ours = units()
        listed = {path.resolve() for folder in
                  ("hw", "target-i386", "tests", "guest-images")
                  for path in (ROOT / folder).rglob("*.c")}
        self.assertEqual({unit.file.resolve() for unit in ours} ^ listed,
                         set())
        self.assertEqual([str(unit.file) for unit in ours
                          if "-Werror" not in unit.words], [])


class Faults(unittest.TestCase):
    """The check itself: it hears what it has to."""

    def heard(self, text: str) -> None:
        compilers = installed("gcc") + installed("clang")
        if not any(major(compiler) >= GCC for compiler in installed("gcc")):
            try:
                compilers.append(of_debian_13())
            except ui.X64kError:
                pass            # Compilers says so
        with (tempfile.TemporaryDirectory() as name,
              mock.patch.object(sys.modules[__name__], "ROOT",
                                Path(name).resolve())):
            (ROOT / "planted.h").write_text(text)
            file = ROOT / "planted.c"
            file.write_text('#include "planted.h"\n')
            for compiler in compilers:
                with self.subTest(compiler.version):
                    (fault, *_) = faults(
                        Unit(file, ROOT, ("cc", "-Wall", str(file))), compiler)
                    self.assertIn("planted.h:1: ", fault)

    def test_function_declared_later(self):
        self.heard("static inline void f(void) { g(); } void g(void);\n")

    def test_number_as_pointer(self):
        self.heard("static inline char *f(int n) { return n; }\n")

    def test_warning(self):
        self.heard("static inline int f(void) { int unused; return 0; }\n")
