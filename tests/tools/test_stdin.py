# SPDX-License-Identifier: GPL-2.0-or-later
"""What of standard input is a guest's."""

import os
import pty
import socket
import subprocess
import sys
import tempfile
import unittest

from x64k import kernels, stdin
from x64k.paths import ROOT

WHOLE = ("from x64k import stdin, ui\n"
         "try:\n"
         "    print(stdin.whole('8M'))\n"
         "except ui.X64kError as error:\n"
         "    print(error.status, error)\n")


class Stdin(unittest.TestCase):
    def whole(self, file) -> str:
        return subprocess.run(
            [sys.executable, "-c", WHOLE], stdin=file, text=True, timeout=60,
            env=os.environ | {"PYTHONPATH": str(ROOT / "tools")},
            capture_output=True, check=True).stdout.strip()

    def test_kinds(self):
        host, guest = pty.openpty()
        self.addCleanup(os.close, host)
        self.addCleanup(os.close, guest)
        self.assertEqual(self.whole(guest), "None")
        self.assertEqual(self.whole(subprocess.DEVNULL), "None")
        with tempfile.TemporaryFile() as file:
            file.write(b"ab\n")
            file.flush()
            file.seek(1)        # as a shell that has read a line of it
            self.assertEqual(self.whole(file), r"b'b\n'")
        read, write = os.pipe()
        os.write(write, b"x\0y")
        os.close(write)
        self.assertEqual(self.whole(read), r"b'x\x00y'")
        os.close(read)
        ours, theirs = socket.socketpair()
        ours.sendall(b"s")
        ours.close()
        self.assertEqual(self.whole(theirs), "b's'")
        theirs.close()

    def test_too_much(self):
        """Of an endless pipe, too: no more is read than may be used."""
        with open("/dev/zero", "rb") as zero, subprocess.Popen(
                ["cat"], stdin=zero, stdout=subprocess.PIPE) as endless:
            said = self.whole(endless.stdout)
            endless.kill()
        self.assertRegex(said, r"^2 standard input has more than 1 MB, too "
                         "much for a guest of 8M: .*--mem.*--share")

    def test_megabytes(self):
        for text, wanted in (("512M", 512), ("2G", 2048), ("64", 64)):
            self.assertEqual(stdin.megabytes(text), wanted)


class Processors(unittest.TestCase):
    def test_as_the_kernel_is_built(self):
        self.assertEqual(kernels.settings(
            ROOT / "guest-images/linux/x64k.config")["NR_CPUS"],
            str(kernels.OUR_CPUS))


if __name__ == "__main__":
    unittest.main()
