# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel that is started by another one finds the hint, or leaves it off,
whatever the one before it did."""

import json
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

from support import GuestTest

from x64k import report, selftests

# The second kernel's first process.
INIT = """\
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t devtmpfs devtmpfs /dev; mount -t proc proc /proc
mount -t sysfs sysfs /sys; mount -t tmpfs tmpfs /tmp
exec </dev/console >/dev/console 2>&1
echo "second kernel, hint: $(grep -c -w x64k_contig /proc/cpuinfo)"
cd /tmp && tlbstat -j -o /tmp/report pagesize 64K units fork 4 && cat /tmp/report
poweroff -f
"""

SCRIPT = """
mkdir -p /tmp/next/bin /tmp/next/dev /tmp/next/proc /tmp/next/sys /tmp/next/tmp
cd /tmp/next
cp /usr/bin/busybox bin
cp /usr/local/bin/units /usr/local/bin/tlbstat /usr/local/bin/pagesize bin
cp /mnt/share/init init
find . | cpio -o -H newc >/tmp/initrd
/mnt/share/kexec /mnt/share/bzImage /tmp/initrd \
    "console=ttyS0 panic=-1 oops=panic rdinit=/init PATH=/bin $1"
"""


class Kexec(GuestTest):
    def kexec(self, first: str, second: str) -> tuple[bool, int, int]:
        """Is the hint there under the second kernel; its fills of 4 and of
        64 KB."""
        image = selftests.DEBUG_KERNEL / "image/bzImage"
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-Werror",
                            "-static", "-o", folder / "kexec",
                            Path(__file__).with_name("kexec.c")], check=True)
            (folder / "init").write_text(INIT)
            (folder / "init").chmod(0o755)
            (folder / "bzImage").write_bytes(image.read_bytes())
            # It never reports: the first kernel is gone.
            ran = self.boot(
                "process64k+contig", "--kernel", str(selftests.DEBUG_KERNEL),
                "--tlb", "skylake", "--share", folder,
                *(("--append", first) if first else ()),
                "--", "sh", "-ec", SCRIPT, "sh", second, status=None)
        # The first one ends in good order only if it could not.
        self.assertEqual((ran.returncode, ran.stdout), (125, b""))
        log = self.assertNamesLog(ran.stderr)
        found = re.search(r"second kernel, hint: (\d+)", log)
        self.assertTrue(found, f"{ran.stderr}\n{log[-3000:]}")
        (line,) = re.findall(r"^\{.*\}\r?$", log, re.MULTILINE)
        regions = {r["name"]: r for r in json.loads(line)["regions"]}
        counters = regions["dense"]["counters"]
        self.assertNotRegex(log, r"WARNING|BUG:|Call Trace")
        return (found[1] != "0",
                report.total(counters, "l1d-fill-4k") or 0,
                report.total(counters, "l1d-fill-64k-.*") or 0)

    def test_on_again(self):
        known, small, units = self.kexec("", "")
        self.assertTrue(known)
        # 64 units, in as many entries; four passes.
        self.assertGreaterEqual(units, 48)
        self.assertLess(small, 64)

    def test_on_to_off(self):
        known, small, units = self.kexec("", "nox64k")
        self.assertFalse(known)
        self.assertGreaterEqual(small, 1024)
        self.assertEqual(units, 0)

    def test_off_to_on(self):
        known, small, units = self.kexec("nox64k", "")
        self.assertTrue(known)
        self.assertGreaterEqual(units, 48)
        self.assertLess(small, 64)


if __name__ == "__main__":
    unittest.main()
