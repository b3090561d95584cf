# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory that is swapped, merged, compacted, migrated and limited all the time
stays right, on the kernel that checks itself."""

import json
import re
import unittest

from support import GuestTest

from x64k import selftests

SWAP = """
    echo 256M >/sys/block/zram0/disksize
    mkswap /dev/zram0 >/dev/null; swapon /dev/zram0
    """
KSM = """
    cd /sys/kernel/mm/ksm
    echo 1000 >pages_to_scan; echo 5 >sleep_millisecs; echo 1 >run; cd /tmp
    """
# Less than the program has.
LIMIT = """
    mkdir /tmp/cgroup; mount -t cgroup2 none /tmp/cgroup; cd /tmp/cgroup
    echo +memory >cgroup.subtree_control
    mkdir small; echo {limit} >small/memory.max; echo $$ >small/cgroup.procs
    """


class Integrity(GuestTest):
    # Full processes, compat, folios alone; STEPS and SEED come in between.
    WAYS = (("process64k+contig", "integrity", "65536"),
            ("system64k+contig", "integrity-4k", "-"),
            ("contig", "integrity", "-"))

    def run_in(self, mode: str, script: str) -> str:
        # Without --tlb-verify, under which this kernel takes minutes to come
        # up: the program sees old translations by itself.
        ran = self.boot(mode, "--kernel", str(selftests.DEBUG_KERNEL), "--tlb",
                        "skylake", "--cpus", "2",
                        "--append", "numa=fake=2", "--", "sh", "-ec", script)
        return ran.stdout.decode()

    def test_words(self):
        """Each alone, then all at once; each has happened."""
        words = {
            "swap": (SWAP, ("pswpin", "pswpout")),
            "ksm": (KSM, ("cow_ksm",)),
            "compact": ("", ("compact_migrate_scanned",)),
            "migrate": ("", ("pgmigrate_success",)),
        }
        words["swap ksm compact migrate"] = (
            SWAP + KSM, sum((counts for _, counts in words.values()), ()))
        for mode, program, size in self.WAYS:
            for word, (setup, counts) in words.items():
                # One step in sixteen does one of the words.
                steps = 600 if " " in word else 100
                with self.subTest(mode=mode, word=word):
                    out = self.run_in(
                        mode, f"{setup}\n{program} {steps} 3 {size} {word}\n"
                        "cat /proc/vmstat")
                    self.assertIn(f"{steps} steps right", out)
                    for count in counts:
                        self.assertRegex(out, rf"(?m)^{count} [1-9]")

    def test_migrated_whole(self):
        """A unit that has gone to another node is one translation again."""
        out = self.run_in(
            "process64k+contig",
            "tlbstat -j -o /tmp/report units migrate 16\n"
            "cat /tmp/report /proc/vmstat")
        (line,) = re.findall(r"^\{.*\}$", out, re.MULTILINE)
        (dense,) = json.loads(line)["regions"]
        moved = re.search(r"(?m)^pgmigrate_success (\d+)", out)
        self.assertGreaterEqual(int(moved[1]), 256 * 16)
        # 256 units, four times in order: more than the L1 dTLB has entries.
        self.assertGreaterEqual(dense["counters"]["l1d-fill-64k-hint"], 960)
        self.assertLess(dense["counters"]["l1d-fill-4k"], 64)

    def test_limit(self):
        """A memory cgroup that is too small for it: reclaim, not death."""
        for (mode, program, size), limit in zip(self.WAYS, ("8M", "3M", "3M")):
            with self.subTest(mode=mode):
                out = self.run_in(
                    mode, SWAP + LIMIT.format(limit=limit)
                    + f"{program} 60 4 {size} compact\n"
                    "cat /tmp/cgroup/small/memory.events; cat /proc/vmstat")
                self.assertIn("60 steps right", out)
                self.assertRegex(out, r"(?m)^max [1-9]")
                self.assertRegex(out, r"(?m)^oom_kill 0")
                self.assertRegex(out, r"(?m)^pswpin [1-9]")


if __name__ == "__main__":
    unittest.main()
