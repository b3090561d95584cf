# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernels of the user's own: which file is booted, and what is said if none
can be."""

import contextlib
import io
import os
import struct
import tempfile
import unittest
from pathlib import Path

from x64k import kernels, ui

PVH = struct.pack("<III", 4, 4, 18) + b"Xen\0" + bytes(4)
OTHER = struct.pack("<III", 4, 2, 1) + b"GNU\0" + bytes(4)


def elf(notes: bytes, machine: int = 62, bits: int = 2) -> bytes:
    header = struct.pack("<4sBBB9xHHIQQQIHHH6x", b"\x7fELF", bits, 1, 1, 2,
                         machine, 1, 0, 64, 0, 0, 64, 56, 1)
    program = struct.pack("<IIQQQQQQ", 4, 4, 120, 0, 0, len(notes),
                          len(notes), 4)
    return header + program + notes


def bzimage(version: int = 0x20f, flags: int = 1) -> bytes:
    image = bytearray(1024)
    struct.pack_into("<H4sH", image, 0x1fe, 0xaa55, b"\0\0HdrS", version)
    image[0x200:0x206] = b"\xeb\x6aHdrS"
    struct.pack_into("<H", image, 0x206, version)
    struct.pack_into("<H", image, 0x236, flags)
    return bytes(image)


class Folder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.tree = Path(folder.name)

    def write(self, name: str, data: bytes) -> Path:
        path = self.tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def assertRefused(self, path: Path, *words: str):
        with self.assertRaises(ui.X64kError) as caught:
            kernels.find(path)
        for word in words:
            self.assertIn(word, str(caught.exception))


class Image(Folder):
    def test_pvh_among_other_notes(self):
        for notes in PVH, OTHER + PVH:
            path = self.write("vmlinux", elf(notes))
            found = kernels.find(path)
            self.assertEqual(found, kernels.Kernel(path, path, None))

    def test_without_pvh(self):
        for notes in b"", OTHER, PVH.replace(b"Xen", b"Xem"), PVH[:8]:
            self.assertRefused(self.write("vmlinux", elf(notes)), "vmlinux",
                               "CONFIG_PVH=y", "bzImage")

    def test_other_machines(self):
        for data in elf(PVH, machine=183), elf(PVH, bits=1):
            self.assertRefused(self.write("vmlinux", data), "not of x86-64")

    def test_bzimage(self):
        path = self.write("vmlinuz-6.1", bzimage())
        self.assertEqual(kernels.find(path), kernels.Kernel(path, None, None))
        config = self.write("config-6.1", b"")
        self.assertEqual(kernels.find(path).config, config)

    def test_32_bits(self):
        for data in bzimage(flags=0), bzimage(version=0x20b):
            self.assertRefused(self.write("k", data), "64-bit")

    def test_something_else(self):
        for data in b"#!/bin/sh\n" * 100, b"", b"\x7fELF", b"\x7fELF\2" * 30:
            with self.subTest(data[:8]):
                self.assertRefused(self.write("k", data), str(self.tree / "k"))

    def test_cut_off_anywhere(self):
        """Never an exception of Python's."""
        for whole in elf(PVH), bzimage():
            for length in range(0, len(whole), 7):
                path = self.write("k", whole[:length])
                with contextlib.suppress(ui.X64kError):
                    kernels.find(path)

    def test_not_there(self):
        self.assertRefused(self.tree / "none", "no guest kernel")


class PageSize(Folder):
    def size(self, image: bytes) -> int:
        return kernels.page_size(self.write("k", image))

    def bzimage(self, version: bytes) -> bytes:
        image = bytearray(bzimage())
        struct.pack_into("<H", image, 0x20e, 0x100)
        image[0x300:0x300 + len(version) + 1] = version + b"\0"
        return bytes(image)

    def test_flags_of_the_version(self):
        for flags, size in ((b"#1 SMP 64K PREEMPT Thu Jan  1", 65536),
                            (b"#12-Ubuntu 64K Thu", 65536),
                            (b"#1 SMP PREEMPT_DYNAMIC Debian 6.12.57-1", 4096),
                            (b"#1 SMP 16K Thu", 4096), (b"", 4096)):
            release = b"6.12.0-64K (x@64K) "
            self.assertEqual(self.size(self.bzimage(release + flags)), size)
            self.assertEqual(self.size(
                elf(PVH) + b"Linux version " + release + b"(gcc) " + flags
                + b"\n\0 #1 64K "), size)

    def test_no_version(self):
        for image in b"", b"\x7fELF", bzimage(), elf(PVH), b"x" * 0x20f:
            self.assertEqual(self.size(image), 4096)


class Tree(Folder):
    def test_vmlinux_first(self):
        vmlinux = self.write("vmlinux", elf(PVH))
        self.write("arch/x86/boot/bzImage", bzimage())
        config = self.write(".config", b"CONFIG_PVH=y\n")
        self.assertEqual(kernels.find(self.tree),
                         kernels.Kernel(vmlinux, vmlinux, config))

    def test_bzimage_if_vmlinux_will_not_do(self):
        vmlinux = self.write("vmlinux", elf(OTHER))
        image = self.write("arch/x86/boot/bzImage", bzimage())
        for given in self.tree, image:
            self.assertEqual(kernels.find(given),
                             kernels.Kernel(image, vmlinux, None))

    def test_an_old_bzimage(self):
        """It would boot what the user has changed since."""
        self.write("vmlinux", elf(OTHER))
        image = self.write("arch/x86/boot/bzImage", bzimage())
        os.utime(image, (0, 0))
        with contextlib.redirect_stderr(io.StringIO()) as said:
            kernels.find(self.tree)
        self.assertRegex(said.getvalue(), "warning: .*bzImage is older")

    def test_only_a_vmlinux_that_will_not_do(self):
        self.write("vmlinux", elf(OTHER))
        self.assertRefused(self.tree, "CONFIG_PVH=y")

    def test_not_built(self):
        self.write("Kconfig", b"")
        self.assertRefused(self.tree, "not built", "make defconfig",
                           "own-kernel.config", "vmlinux bzImage")
        self.write(".config", b"")
        self.assertRefused(self.tree, "not built", "vmlinux bzImage")

    def test_no_tree(self):
        self.assertRefused(self.tree, "neither a built kernel tree")


class Config(Folder):
    def kernel(self, config: str | None) -> kernels.Kernel:
        path = self.write(".config", (config or "").encode())
        return kernels.Kernel(self.tree / "vmlinux", None,
                              None if config is None else path)

    def test_names_what_is_missing(self):
        kernel = self.kernel("CONFIG_PCI=y\n# CONFIG_SMP is not set\n"
                             "CONFIG_9P_FS=m\n")
        with self.assertRaises(ui.X64kError) as caught:
            kernels.check(kernel, {"PCI": "devices", "SMP": "--cpus",
                                   "9P_FS": "--share"})
        message = str(caught.exception)
        self.assertIn("\n  CONFIG_SMP=y (--cpus)\n", message)
        self.assertIn("CONFIG_9P_FS=y (--share), which is a module there",
                      message)
        self.assertNotIn("CONFIG_PCI", message)

    def test_fine_or_unknown(self):
        kernels.check(self.kernel("CONFIG_PCI=y\n"), {"PCI": ""})
        kernels.check(self.kernel(None), {"PCI": ""})

    def test_the_fragment_has_all_of_it(self):
        known = kernels.settings(kernels.FRAGMENT)
        wanted = (kernels.CONSOLE | kernels.OURS | kernels.FOLIOS
                  | kernels.SHARE | kernels.SNAPSHOT)
        # 64BIT is the architecture, which no fragment can choose.
        self.assertEqual([name for name in wanted if known.get(name) != "y"],
                         ["64BIT"])


class Advice(unittest.TestCase):
    def test_each_kind_of_silence(self):
        for console, word in (
                ("", "CONFIG_SERIAL_8250_CONSOLE"),
                ("SeaBIOS\n", "x86-64"),
                ("Linux version 6\nKernel panic - not syncing: VFS: Unable to "
                 "mount root fs", "CONFIG_BLK_DEV_INITRD"),
                ("Linux version 6\nRun /init as init process\nmount: no\n",
                 "CONFIG_DEVTMPFS")):
            self.assertIn(word, kernels.advice(console))

    def test_nothing_to_add(self):
        self.assertEqual(kernels.advice(
            "Linux version 6\nRun /init as init process\n"
            "x64k-error: this kernel has no 64 KB folios"), "")


if __name__ == "__main__":
    unittest.main()
