# SPDX-License-Identifier: GPL-2.0-or-later
"""Mapped files at, and behind, their end, while they grow and shrink in every
way: `filetail` in the guest, on each kind of file system, as a process with
pages of 64 KB and as one with a 4 KB interface, which tells whether the test
itself is right.

X64K_FILETAIL=all, in the suite torture, is the whole matrix, on a kernel that
checks itself."""

import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import verdicts
from support import GuestTest

from x64k import selftests

ALL = "all" if os.environ.get("X64K_FILETAIL") == "all" else ""

TMPFS = "mount -t tmpfs tmpfs /tmp/disk"
DISK = """
echo 1 >/sys/block/zram0/reset; echo 300M >/sys/block/zram0/disksize
zcat /mnt/share/{0}.gz >/dev/zram0; mount -t {0} /dev/zram0 /tmp/disk
"""
FILE_SYSTEMS = {"tmpfs": TMPFS, "ext4": DISK.format("ext4"),
                "xfs": DISK.format("xfs")}
PROGRAMS = ("filetail", "filetail-4k")
RUN = """
{prepare}
for program in {programs}; do
    echo; echo "on {name} $program"
    # What fails says so.
    $program /tmp/disk {all} || echo "status $?"
    echo "over"
done
umount /tmp/disk
"""
COMPLAINTS = r"Bad rss-counter|Bad page|BUG:|WARNING:|INFO: .*(?:lock|hung)"


class FileTail(GuestTest):
    file_systems: tuple[str, ...]
    options: tuple[str, ...] = ()

    @classmethod
    def setUpClass(cls):
        if cls is FileTail:
            raise unittest.SkipTest("for others to derive from")
        cls.folder = Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        image = cls.folder / "ext4"
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-b", "4096", image,
                        "32M"], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["gzip", image], check=True)

    def run_all(self, *options: str):
        script = "mkdir -p /tmp/disk\n" + "".join(
            RUN.format(prepare=FILE_SYSTEMS[name], name=name, all=ALL,
                       programs=" ".join(PROGRAMS))
            for name in self.file_systems)
        script += "grep page_unit_tail /proc/vmstat; dmesg"
        ran = self.x64k("boot", "--mode", "process64k+contig", "--cpus", "2",
                        "--mem", "1G", "--share", f"{self.folder}:ro",
                        *options, "--", "sh", "-ec", script,
                        patience=14000 if ALL else 900)
        text = ran.stdout.decode(errors="replace").replace("\r", "")
        for name in self.file_systems:
            for program in PROGRAMS:
                with self.subTest(file_system=name, program=program):
                    (found,) = re.findall(
                        rf"^on {name} {program}\n(.*?)^over$", text,
                        re.MULTILINE | re.DOTALL)
                    self.judge(found)
        self.assertRegex(text, r"page_unit_tail [1-9]\d\d")
        self.assertNotRegex(text, COMPLAINTS)

    def judge(self, text: str):
        cases = list(verdicts.cases(text))
        (plan,) = re.findall(r"^1\.\.(\d+)$", text, re.MULTILINE)
        self.assertEqual(len(cases), int(plan))
        self.assertEqual([name for name, verdict in cases
                          if verdict == verdicts.FAIL], [], text)
        self.assertGreater(sum(verdict == verdicts.PASS
                               for _, verdict in cases), 25)


class Quick(FileTail):
    file_systems = ("tmpfs", "ext4")

    @unittest.skipIf(ALL, "a part of the whole matrix")
    def test_grow(self):
        self.run_all()


@unittest.skipUnless(ALL, "on demand: ./x64k test --suite torture")
class Checked(FileTail):
    """On the kernel that checks each access and each lock, and has XFS."""

    file_systems = ("tmpfs", "ext4", "xfs")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        selftests.xfs_image()
        shutil.copy(selftests.PROGRAMS / "xfs.gz", cls.folder)

    def test_grow(self):
        self.run_all("--kernel", str(selftests.DEBUG_KERNEL),
                     "--timeout", "14000")


if __name__ == "__main__":
    unittest.main()
