# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest is told of its clock: the truth, or nothing."""

import os
import re
import unittest
from pathlib import Path
from unittest import mock

from x64k import guest, paths


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


if __name__ == "__main__":
    unittest.main()
