# SPDX-License-Identifier: GPL-2.0-or-later
"""libpagecompat.so: what a program that takes pages to be of 4 KB can do in a
process with larger ones (docs/kernel.md).

The guest's program has a table of cases, and of which of them hold with the
library, and without it.  What does not hold is tested not to."""

import re
import unittest

from support import GuestTest

SHIM = "LD_PRELOAD=/usr/local/lib/libpagecompat.so"


class PageCompat(GuestTest):
    def sh(self, mode: str, script: str, *options: str) -> str:
        ran = self.boot(mode, *options, "--", "sh", "-ec", script)
        return ran.stdout.decode()

    def assertTap(self, text: str) -> set[str]:
        """All of its cases passed; those that hold."""
        self.assertNotIn("Bail out", text)
        self.assertEqual(re.findall(r"^(?:#.*\n)*not ok.*", text,
                                    re.MULTILINE), [])
        (plan,) = re.findall(r"^1\.\.(\d+)", text, re.MULTILINE)
        passed = re.findall(r"^ok \d+ - (.*)", text, re.MULTILINE)
        self.assertEqual(len(passed), int(plan))
        return {name for name in passed if not name.endswith("as stated")}

    def test_4k(self):
        """All holds with 4 KB pages, and the library does nothing."""
        bare = self.assertTap(self.sh("4k", "pagecompat-test plain"))
        out = self.sh("4k", f"PAGECOMPAT_VERBOSE=1 {SHIM} "
                      "pagecompat-test plain")
        self.assertEqual(self.assertTap(out), bare)
        told = re.findall(r"^pagecompat: .*", out, re.MULTILINE)
        self.assertGreater(len(told), 40)       # a process for each case
        self.assertEqual({re.sub(r"\d+:", "N:", line) for line in told},
                         {"pagecompat: N: pages of 4096 bytes, "
                          "nothing to correct"})

    def both(self, mode: str, program: str):
        bare = self.assertTap(self.sh(mode, f"{program} bare"))
        shim = self.assertTap(self.sh(mode, f"{SHIM} {program} shim"))
        self.assertLess(bare, shim)
        self.assertGreater(len(shim - bare), 25)

    def test_own_call(self):
        """A process that sets its page size itself: its C library has 4096."""
        self.both("4k", "pagecompat-test -s")

    def test_full(self):
        """A process with AT_PAGESZ 65536."""
        for mode in ("process64k+contig", "system64k"):
            with self.subTest(mode=mode):
                self.both(mode, "pagecompat-test")

    def test_compat(self):
        """A compat process, such as Debian's compiler, has 4 KB pages."""
        out = self.sh("process64k", f"PAGECOMPAT_VERBOSE=1 {SHIM} tcc -v")
        self.assertRegex(out, r"pagecompat: \d+: pages of 4096 bytes, nothing")

    def test_told(self):
        out = self.sh("4k", f"PAGECOMPAT_VERBOSE=1 {SHIM} "
                      "pagecompat-test -s shim")
        self.assertRegex(out, r"pagecompat: \d+: pages of 65536 bytes\n")
        for call in ("mmap", "munmap", "mprotect", "mremap", "madvise"):
            self.assertRegex(out, rf"pagecompat: {call}: [1-9]\d* corrected")
        self.assertRegex(out, r"mmap: \d+ corrected, \d+ in part, [1-9]")
        self.assertRegex(out, r"munmap: \d+ corrected, [1-9]")


if __name__ == "__main__":
    unittest.main()
