# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest is told of its clock: the truth, or nothing; and what its mode
needs of processor and kernel."""

import os
import re
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from x64k import guest, paths, ui


def told(machine: guest.Machine, emulator: str | None = None
         ) -> tuple[int | None, int | None, list[str]]:
    """The TSC's frequency as the emulator makes it, in Hz, and as Linux is
    told, in kHz; the kernel line."""
    env = {"X64K_QEMU": emulator} if emulator else {}
    with mock.patch.dict(os.environ, env):
        if not emulator:
            os.environ.pop("X64K_QEMU", None)
        words = machine.command(Path("INITRD"), [])
    cpu = words[words.index("-cpu") + 1]
    line = words[words.index("-append") + 1]
    made = re.search(r",tsc-frequency=(\d+)", cpu)
    said = re.search(r"\btsc_early_khz=(\d+)", line)
    return made and int(made[1]), said and int(said[1]), line.split()


class Clock(unittest.TestCase):
    def assertKnown(self, *args):
        made, said, line = told(*args)
        self.assertTrue(made)
        self.assertEqual(made, said * 1000)
        self.assertIn("tsc=reliable", line)
        self.assertIn("no_timer_check", line)

    def assertUnknown(self, *args):
        made, said, line = told(*args)
        self.assertEqual((made, said), (None, None))
        self.assertNotIn("tsc=reliable", line)
        self.assertIn("no_timer_check", line)

    def test_ours(self):
        for mode in guest.MODES:
            self.assertKnown(guest.Machine(mode))
        self.assertKnown(guest.Machine("4k", cpu="Skylake-Client"))
        self.assertKnown(guest.Machine("4k", kernel=Path("/boot/vmlinuz")))
        self.assertKnown(guest.Machine("4k", icount=True))
        self.assertKnown(guest.Machine("4k", binary=paths.QEMU_SANITIZED))

    def test_wrapped(self):
        self.assertKnown(guest.Machine("4k"), f"perf record {paths.QEMU}")

    def test_others(self):
        self.assertUnknown(guest.Machine("4k", binary=paths.QEMU_STOCK))
        self.assertUnknown(guest.Machine("4k"), str(paths.QEMU_STOCK))
        self.assertUnknown(guest.Machine("4k"), "/usr/bin/qemu-system-x86_64"
                           f" -L {paths.BUILD}/qemu/pc-bios")
        self.assertUnknown(guest.Machine("4k"), str(
            paths.BUILD / "stock/qemu/qemu-system-x86_64"))

    def test_the_users_word_is_the_last(self):
        *_, line = told(guest.Machine("4k", append="tsc=unstable"))
        self.assertGreater(line.index("tsc=unstable"),
                           line.index("tsc=reliable"))


class Needs(unittest.TestCase):
    """Told before the boot, with status 2."""

    def refused(self, call, *args) -> str:
        with self.assertRaises(ui.X64kError) as caught:
            call(*args)
        self.assertEqual(caught.exception.status, 2)
        return str(caught.exception)

    def test_processor(self):
        for said in "x64k-leaf=off", "-x64k-leaf", "x64k-leaf=no":
            self.assertEqual(
                self.refused(guest.check_mode, "native", f"max,{said}", ""),
                f"mode native needs x64k-leaf=on, and --cpu says {said}")
            guest.check_mode("4k", f"max,{said}", "")
        self.assertIn("mode contig needs x64k-contig=on", self.refused(
            guest.check_mode, "contig", "max,x64k-contig=off", ""))
        for said in "", ",x64k-leaf=on", ",+x64k-leaf", ",x64k-contig=off":
            guest.check_mode("native", f"EPYC{said}", "")

    def test_page_size_on_the_kernel_line(self):
        self.assertIn("does not know page_size=64K", self.refused(
            guest.check_mode, "native", "max", "quiet page_size=64K"))
        guest.check_mode("system64k", "max", "page_size=16K")
        guest.check_mode("native", "max", "no_page_size=1 x=page_size")

    def test_kernel(self):
        with tempfile.NamedTemporaryFile(suffix="vmlinux") as file:
            def check(mode: str, flags: str):
                file.seek(0)
                file.write(b"\x7fELF" + bytes(100) + b"Linux version 6.12 "
                           b"(a@b) (gcc) #1 SMP " + flags.encode())
                file.flush()
                guest.check_page_size(mode, Path(file.name))
            old, new = "PREEMPT Thu Jan  1\n", "64K PREEMPT Thu Jan  1\n"
            for mode in guest.MODES:
                native = mode == "native"
                check(mode, new if native else old)
                said = self.refused(check, mode, old if native else new)
                self.assertIn(f"{file.name} has pages of "
                              f"{4 if native else 64} KB", said)
                self.assertIn("CONFIG_X86_64K_PAGES", said)

    def explain(self, console: str, said: str) -> str:
        with tempfile.TemporaryDirectory() as folder:
            paths_ = Path(folder, "console"), Path(folder, "errors")
            for path, text in zip(paths_, (console, said), strict=True):
                path.write_text(text)
            with mock.patch.object(paths, "VMLINUX", paths_[0]), \
                    mock.patch.object(paths, "NATIVE_VMLINUX", paths_[0]):
                error = guest.explain(guest.Machine("native"), *paths_, 1)
        self.assertEqual(error.status, 2)
        return str(error)

    def test_another_emulator(self):
        self.assertIn("mode native needs x64k-leaf, which", self.explain(
            "", "qemu-system-x86_64: can't apply global max-x86_64-cpu."
            "x64k-leaf=on: Property 'max-x86_64-cpu.x64k-leaf' not found\n"))

    def test_what_the_kernel_says(self):
        self.assertIn("the processor no leaf tables", self.explain(
            "This kernel needs 64 KB leaf tables (x64k-leaf=on).\n", ""))


if __name__ == "__main__":
    unittest.main()
