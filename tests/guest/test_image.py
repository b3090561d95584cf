# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's image: reproducible, and what it says it is."""

import io
import shutil
import stat
import struct
import subprocess
import tempfile
import unittest
from pathlib import Path

from support import ROOT

from x64k import cpio, paths

IMAGES = ROOT / "guest-images"
SCRIPTS = (IMAGES / "base/build.sh", IMAGES / "linux/build.sh",
           IMAGES / "mini/init",
           IMAGES / "mini/share/root.sh",
           *sorted((IMAGES / "debian").glob("*.sh")))


def entries(data: bytes):
    """Reads archives of the format newc: name, mode, times and owners, data.
    Written from the format's description, not from the writer."""
    at = 0
    while at < len(data):
        if data[at:at + 4] == bytes(4):         # padding between archives
            at += 4
            continue
        assert data[at:at + 6] == b"070701", at
        numbers = [int(data[at + 6 + 8 * i:at + 14 + 8 * i], 16)
                   for i in range(13)]
        _, mode, uid, gid, _, mtime, size, *_, length, check = numbers
        name = data[at + 110:at + 110 + length - 1].decode()
        start = (at + 110 + length + 3) & ~3
        yield name, mode, (uid, gid, mtime, check), data[start:start + size]
        at = (start + size + 3) & ~3


def fits(elf: bytes, page: int) -> bool:
    """Can the file be mapped in pages of that size?  By the format's
    description: each PT_LOAD says so itself, is as far into a page as its
    part of the file is, and shares none with another."""
    assert elf[:6] == b"\x7fELF\x02\x01", "64 bits, little-endian"
    (headers,) = struct.unpack_from("<Q", elf, 32)
    size, number = struct.unpack_from("<HH", elf, 54)
    taken: set[int] = set()
    for at in range(headers, headers + size * number, size):
        kind, _, offset, address, _, _, memory, align = struct.unpack_from(
            "<IIQQQQQQ", elf, at)
        if kind != 1:
            continue
        pages = set(range(address // page, -(-(address + memory) // page)))
        if align < page or (address - offset) % page or pages & taken:
            return False
        taken |= pages
    return bool(taken)


class Archive(unittest.TestCase):
    def write(self) -> bytes:
        out = io.BytesIO()
        archive = cpio.Archive(out)
        for name, content in (("a/b/c", b"12345"), ("a/b/d", b"")):
            archive.file(name, content, executable=name == "a/b/c")
        archive.link("l", "a/b/c")
        archive.device("console", 5, 1)
        archive.finish()
        return out.getvalue()

    def test_entries(self):
        found = list(entries(self.write()))
        self.assertEqual([(name, mode, data) for name, mode, _, data in found],
                         [("a", stat.S_IFDIR | 0o755, b""),
                          ("a/b", stat.S_IFDIR | 0o755, b""),
                          ("a/b/c", stat.S_IFREG | 0o755, b"12345"),
                          ("a/b/d", stat.S_IFREG | 0o644, b""),
                          ("l", stat.S_IFLNK | 0o777, b"a/b/c"),
                          ("console", stat.S_IFCHR | 0o600, b""),
                          ("TRAILER!!!", 0, b"")])

    def test_joins(self):
        """The kernel wants archives that follow each other aligned."""
        self.assertEqual(len(self.write()) % 512, 0)
        self.assertEqual(len(list(entries(self.write() * 2))), 14)


@unittest.skipUnless(paths.INITRAMFS.exists(), "no guest image built")
class Initramfs(unittest.TestCase):
    def setUp(self):
        self.found = list(entries(paths.INITRAMFS.read_bytes()))

    def test_nothing_of_the_builder(self):
        """No owner, no time of the machine that built it."""
        for name, _, facts, _ in self.found:
            self.assertEqual(facts, (0, 0, 0, 0), name)

    def test_contents(self):
        names = [name for name, *_ in self.found]
        self.assertEqual(len(names), len(set(names)))
        for name in ("init", "bin/busybox", "usr/bin/sqlite3",
                     "usr/local/bin/tlbstat", "usr/local/bin/toucher",
                     "usr/local/bin/pageloop", "usr/bin/tcc",
                     "usr/lib64/ld-linux-x86-64.so.2", "usr/bin/getconf"):
            self.assertIn(name, names)

    def test_fit_for_64k(self):
        """All but Debian's compiler, and the programs that are to be unfit."""
        unfit = {name for name, _, _, data in self.found
                 if data[:4] == b"\x7fELF" and not fits(data, 65536)}
        compiler = {name for name in unfit if name.startswith("usr/bin/")
                    and name.endswith("tcc")}
        self.assertTrue(compiler)
        self.assertEqual(unfit - compiler,
                         {f"usr/local/bin/{name}" for name in
                          ("filetail-4k", "integrity-4k", "limits-4k")})


class Kernel(unittest.TestCase):
    @unittest.skipUnless((paths.SRC / "linux").exists(), "no kernel tree")
    def test_option_that_does_not_take(self):
        """A fragment's option that Linux does not know fails the build."""
        with tempfile.TemporaryDirectory() as folder:
            fragment = Path(folder, "bad.config")
            fragment.write_text("CONFIG_PRINTK=y\nCONFIG_NO_SUCH_THING=y\n")
            ran = subprocess.run(
                [IMAGES / "linux/build.sh", paths.SRC / "linux",
                 Path(folder, "obj"), Path(folder, "out"), fragment],
                capture_output=True, text=True)
        self.assertEqual(ran.returncode, 1, ran.stderr)
        self.assertIn("CONFIG_NO_SUCH_THING=y", ran.stderr)
        self.assertNotIn("CONFIG_PRINTK", ran.stderr)


class Shell(unittest.TestCase):
    @unittest.skipUnless(shutil.which("shellcheck"), "no shellcheck here")
    def test_shellcheck(self):
        ran = subprocess.run(["shellcheck", "-s", "sh", *SCRIPTS],
                             capture_output=True, text=True)
        self.assertEqual(ran.returncode, 0, ran.stdout)


if __name__ == "__main__":
    unittest.main()
