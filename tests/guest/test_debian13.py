# SPDX-License-Identifier: GPL-2.0-or-later
"""README's two commands, from a fresh clone to their end, in a Debian 13 that
has nothing installed."""

import os
import subprocess
import unittest
from pathlib import Path

from support import ROOT

from x64k import debian, proc, sources
from x64k.paths import BUILD, CACHE

PLACE = BUILD / "debian13"      # the root, which stays there if a test fails
# What is downloaded and compiled in there, from one run to the next.
KEPT = CACHE / "debian13"
CHECKOUT = "root/x64k"
# X64K_DEBIAN13: arguments of `x64k test`, instead of none.
TESTS = os.environ.get("X64K_DEBIAN13", "").split()


def proxies() -> list[str]:
    """What the machine's apt goes through."""
    return [f"--aptopt={line}" for line in
            proc.output(["apt-config", "dump"]).splitlines()
            if line.startswith("Acquire::") and "proxy" in line.lower()]


def make_root() -> None:
    sources.private_apt()
    mirrors = [line.replace(" target=Packages", "") for line in
               (sources.APT / "sources.list").read_text().splitlines()
               if line.startswith("deb ")]
    proc.logged(
        [*debian.namespace(), "mmdebstrap", "--mode=root", "--variant=minbase",
         "--dpkgopt=force-unsafe-io", *proxies(),
         "--aptopt=APT::Sandbox::User \"root\"",
         # To read what is signed, here as there.
         "--include=debian-archive-keyring,ca-certificates",
         sources.SUITE, PLACE, *mirrors],
        "debian13-root", "Making a minimal Debian 13", detail="")


def copy_checkout() -> None:
    """What is committed, and edits of that."""
    place = PLACE / CHECKOUT
    subprocess.run(["git", "clone", "-q", "--no-local", ROOT, place],
                   check=True)
    edits = subprocess.run(["git", "diff", "--binary", "HEAD"], cwd=ROOT,
                           check=True, capture_output=True).stdout
    if edits:
        subprocess.run(["git", "apply", "-"], cwd=place, input=edits,
                       check=True)


def remove_root() -> None:
    if PLACE.exists():
        subprocess.run([*debian.namespace(), "rm", "-rf", "--one-file-system",
                        PLACE], check=True)


def in_root(name: str, *argv: str | Path) -> int:
    KEPT.mkdir(parents=True, exist_ok=True)
    return proc.logged(
        [*debian.namespace(), ROOT / "tests/guest/root.sh", PLACE, KEPT,
         *argv], f"debian13-{name}", f"{name}, in Debian 13", detail="")


class Debian13(unittest.TestCase):
    failed = False

    @classmethod
    def setUpClass(cls):
        remove_root()
        make_root()
        # As is, since a fresh machine may have neither git nor Python.
        if not debian.namespace():
            raise unittest.SkipTest("this container allows no mounts")
        copy_checkout()

    @classmethod
    def tearDownClass(cls):
        if not cls.failed:
            remove_root()

    def command(self, name: str, *args: str) -> None:
        try:
            in_root(name, f"/{CHECKOUT}/x64k", name, *args)
        except BaseException:
            type(self).failed = True
            raise

    def test_1_demo(self):
        self.command("demo")

    def test_2_test(self):
        if self.failed:
            self.skipTest("demo failed")
        self.command("test", *TESTS)


if __name__ == "__main__":
    unittest.main()
