# SPDX-License-Identifier: GPL-2.0-or-later
"""The patched kernel, with the hint on, under what hurts memory management
most: no flush that is missing, no kernel warning, no wrong byte.

Each mode three times: on the kernel that guests have, with two and with four
processors and each use of a translation compared with the page tables; and on
the one that checks itself.  Both at once would take twenty times as long.

X64K_TORTURE_S in the environment: seconds of stress-ng, all of it together
(600 if it is not there; 3600 gives each ten minutes)."""

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

# khugepaged goes over all that it may collapse, all the time.
KHUGEPAGED = """
echo 10 >/sys/kernel/mm/transparent_hugepage/khugepaged/scan_sleep_millisecs
"""

MACHINE = ("--mem", "1G", "--tlb", "skylake", "--image", "debian")
WAYS = (("--tlb-verify", "--cpus", "2"), ("--tlb-verify", "--cpus", "4"),
        ("--kernel", str(selftests.DEBUG_KERNEL), "--cpus", "2"))


def stressors(options: str) -> set[str]:
    return set(re.findall(r"--([a-z-]+) 1(?= |$)", options))


class Stress(GuestTest):
    def setUp(self):
        if not paths.DEBIAN.exists():
            self.skipTest("no Debian image: x64k build debian")

    def stress(self, mode: str):
        for way in WAYS:
            with self.subTest(mode=mode, way=way):
                self.stress_in(mode, way)

    def stress_in(self, mode: str, way: tuple[str, ...]):
        """All groups in one guest, one after the other; our own program runs
        beside each."""
        seconds = max(5, round(SECONDS / len(MODES) / len(WAYS) / len(GROUPS)))
        script = SWAP + KHUGEPAGED + "".join(
            f"echo group {name}\n"
            "(n=0; while [ ! -e /tmp/over ]; do n=$((n + 1))\n"
            " integrity 20 $n - swap || exit 1; done) & pid=$!\n"
            f"stress-ng --verify --oom-avoid --timeout {seconds}s {options}\n"
            "status=$?; touch /tmp/over; wait $pid || status=77\n"
            "rm /tmp/over; echo status $status\n"
            for name, options in GROUPS.items())
        # What the emulator verifies takes several times as long.
        patience = 900 + 10 * seconds * len(GROUPS)
        ran = self.x64k("boot", "--mode", mode, *MACHINE, *way, "--timeout",
                        str(patience), "--", "sh", "-c", script,
                        patience=patience + 60)
        out = ran.stdout.decode(errors="replace").replace("\r", "")
        groups = re.split(r"^group (.*)\n", out, flags=re.MULTILINE)[1:]
        self.assertEqual(groups[::2], list(GROUPS))
        for name, text in zip(groups[::2], groups[1::2]):
            self.assertRegex(text, r"status 0\s*\Z")
            self.assertIn("steps right", text)
            passed = re.search(r"passed: \d+: (.*)", text)
            self.assertTrue(passed, text)
            self.assertEqual(set(re.findall(r"([a-z-]+) \(1\)", passed[1])),
                             stressors(GROUPS[name]))

    def test_contig(self):
        self.stress("contig")

    def test_process64k(self):
        self.stress("process64k+contig")

    def test_system64k(self):
        self.stress("system64k+contig")


if __name__ == "__main__":
    unittest.main()
