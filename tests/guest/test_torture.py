# SPDX-License-Identifier: GPL-2.0-or-later
"""The patched kernel, checking itself, under what hurts memory management most,
with the hint on, and with each use of a translation compared with the page
tables.  No stale use, no kernel warning, no wrong byte.

X64K_TORTURE_S in the environment: seconds of stress-ng, all modes together
(600 if it is not there; 1800 gives each ten minutes)."""

import os
import re
import unittest

from support import GuestTest

from x64k import paths, selftests

MODES = ("contig", "process64k+contig", "system64k+contig")
SECONDS = float(os.environ.get("X64K_TORTURE_S", "600"))

# Stressors of stress-ng that run at the same time, each checking its data:
# the sizes leave the guest enough to live on, so that nothing is killed.
GROUPS = {
    "mappings": "--vm 1 --vm-bytes 48M --mmap 1 --mmap-bytes 32M "
                "--mmapfixed 1 --mmapmany 1 --mprotect 1 --munmap 1 --remap 1 "
                "--fault 1",
    "moves": "--mremap 1 --mremap-bytes 32M --pagemove 1 --pagemove-bytes 8M "
             "--madvise 1 --mlock 1 --mincore 1 --msync 1 --msync-bytes 16M "
             "--vm-rw 1 --vm-rw-bytes 16M --userfaultfd 1 "
             "--userfaultfd-bytes 16M",
    "processes": "--fork 1 --vfork 1 --vforkmany 1 --clone 1 --clone-max 64 "
                 "--mmapfork 1 --mmapfork-bytes 64M --stack 1 --brk 1 "
                 "--brk-bytes 32M --bigheap 1 --bigheap-bytes 64M",
    "shared": "--shm 1 --shm-bytes 8M --shm-objs 8 --shm-sysv 1 "
              "--shm-sysv-bytes 8M --shm-sysv-segs 4 --memfd 1 "
              "--memfd-bytes 32M --mmaphuge 1 --mmaphuge-mmaps 16 "
              "--vm 1 --vm-bytes 64M --vm-method incdec",
}

SWAP = """
echo 512M >/sys/block/zram0/disksize
mkswap /dev/zram0 >/dev/null && swapon /dev/zram0 || exit 9
"""

MACHINE = ("--kernel", str(selftests.KERNEL), "--mem", "1G", "--cpus", "2",
           "--tlb", "skylake", "--tlb-verify")


def stressors(options: str) -> set[str]:
    return set(re.findall(r"--([a-z-]+) 1(?= |$)", options))


class TortureTest(GuestTest):
    def torture(self, mode: str, script: str, *options: str,
                patience: float = 1800) -> str:
        ran = self.x64k("boot", "--mode", mode, *MACHINE, *options,
                        "--timeout", f"{patience:g}", "--", "sh", "-c",
                        SWAP + script, patience=patience + 60)
        return ran.stdout.decode(errors="replace")


class Stress(TortureTest):
    def setUp(self):
        if not paths.DEBIAN.exists():
            self.skipTest("no Debian image: x64k build debian")

    def stress(self, mode: str):
        """All groups in one guest, one after the other; our own program runs
        beside each."""
        seconds = max(5, round(SECONDS / len(MODES) / len(GROUPS)))
        script = "".join(
            f"echo group {name}\n"
            "(n=0; while [ ! -e /tmp/over ]; do n=$((n + 1))\n"
            " integrity 20 $n - swap || exit 1; done) & pid=$!\n"
            f"stress-ng --verify --oom-avoid --timeout {seconds}s {options}\n"
            "status=$?; touch /tmp/over; wait $pid || status=77\n"
            "rm /tmp/over; echo status $status; dmesg -n 7\n"
            for name, options in GROUPS.items())
        out = self.torture(mode, script, "--image", "debian",
                           patience=600 + 8 * seconds * len(GROUPS))
        groups = re.split(r"^group (.*)\n", out.replace("\r", ""),
                          flags=re.MULTILINE)[1:]
        self.assertEqual(groups[::2], list(GROUPS))
        for name, text in zip(groups[::2], groups[1::2]):
            with self.subTest(mode=mode, group=name):
                self.assertRegex(text, r"status 0\s*\Z")
                self.assertIn("steps right", text)
                passed = re.search(r"passed: \d+: (.*)", text)
                self.assertTrue(passed, text)
                self.assertEqual(set(re.findall(r"([a-z-]+) \(1\)",
                                                passed[1])),
                                 stressors(GROUPS[name]))

    def test_contig(self):
        self.stress("contig")

    def test_process64k(self):
        self.stress("process64k+contig")

    def test_system64k(self):
        self.stress("system64k+contig")


if __name__ == "__main__":
    unittest.main()
