# SPDX-License-Identifier: GPL-2.0-or-later
"""What becomes of 64 KB units: copied after fork, short of memory; and of the
processor's part in it when CPUs come and go."""

import json
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path
from typing import Any

from support import GuestTest

from x64k import base, report

MB = 16
UNITS = MB * 16         # of 64 KB
PASSES = 4              # of `units` over its memory, dense

MODEL = ("--tlb", "skylake")


def dense(regions: dict[str, Any]) -> tuple[int, int]:
    """L1 dTLB fills of the dense passes: 4 KB, 64 KB."""
    counters = regions["dense"]["counters"]
    return (report.total(counters, "l1d-fill-4k") or 0,
            report.total(counters, "l1d-fill-64k-.*") or 0)


class UnitsTest(GuestTest):
    def measure(self, mode: str, command: str, *options: str
                ) -> tuple[dict[str, Any], dict[str, int]]:
        """Runs COMMAND in the guest: its regions by name, and by how much
        /proc/vmstat has changed."""
        script = ("cat /proc/vmstat >/tmp/before\n"
                  f"tlbstat -j -o /tmp/report {command}\n"
                  "cat /proc/vmstat >/tmp/after\n"
                  "cat /tmp/report; cat /tmp/before; cat /tmp/after")
        ran = self.boot(mode, *MODEL, *options, "--", "sh", "-ec", script)
        text = ran.stdout.decode()
        (line,) = re.findall(r"^\{.*\}$", text, re.MULTILINE)
        vmstat: dict[str, list[int]] = {}
        for name, value in re.findall(r"^(\w+) (\d+)$", text, re.MULTILINE):
            vmstat.setdefault(name, []).append(int(value))
        return ({r["name"]: r for r in json.loads(line)["regions"]},
                {name: v[-1] - v[0] for name, v in vmstat.items()})

    def assertWhole(self, regions: dict[str, Any]):
        """More than the L1 dTLB holds (64 entries), in order: each pass fills
        each unit once, and hardly a single page."""
        small, units = dense(regions)
        self.assertGreaterEqual(units, PASSES * UNITS - 64)
        self.assertLess(small, UNITS // 4)


class Fork(UnitsTest):
    def test_copied_whole(self):
        """A shared unit that is written is copied by one fault, and is one
        translation again."""
        regions, vmstat = self.measure("process64k+contig", f"units fork {MB}",
                                       "--tlb-verify")
        faults = regions["write"]["guest"]["page_faults"]
        self.assertGreaterEqual(faults, UNITS)
        self.assertLess(faults, UNITS + 16)
        self.assertGreaterEqual(vmstat["page_unit_copy"], UNITS)
        self.assertWhole(regions)

    def test_4k(self):
        """Without units there are sixteen times as many: the test sees it."""
        regions, vmstat = self.measure("4k", f"units fork {MB}")
        self.assertGreaterEqual(regions["write"]["guest"]["page_faults"],
                                16 * UNITS)
        self.assertEqual(vmstat["page_unit_copy"], 0)
        self.assertEqual(dense(regions)[1], 0)


class Shortage(UnitsTest):
    """What 4 KB pages would have had room for has room."""

    # 16 MB in pages of 4 KB, 256 MB in units, 128 MB of memory.
    SPARSE, MEMORY = "sparse 4096", ("--mem", "128M")

    def test_sparse(self):
        for mode in ("process64k+contig", "system64k"):
            with self.subTest(mode=mode):
                _, vmstat = self.measure(mode, self.SPARSE, *self.MEMORY)
                self.assertGreater(vmstat["page_unit_unused"], 0)
                self.assertEqual(vmstat["oom_kill"], 0)

    def test_without_shrinker(self):
        """It is the shrinker of underused folios that makes the room."""
        off = ("echo 0 >/sys/kernel/mm/transparent_hugepage/shrink_underused; "
               f"{self.SPARSE} || echo status $?")
        ran = self.x64k("boot", "--mode", "process64k", *self.MEMORY, "--",
                        "sh", "-c", off, quiet=False)
        self.assertIn(b"status 137", ran.stdout)    # killed

    def test_fragmented(self):
        """No free folio: single pages, the same interface and contents."""
        script = """
            echo 0 >/proc/sys/vm/compaction_proactiveness
            pagesize 4K units fragment 6 >/tmp/said & holder=$!
            until grep -q ready /tmp/said; do sleep 0.1; done
            integrity 40 1 65536
            grep page_unit_fallback /proc/vmstat
            kill $holder
            """
        ran = self.boot("process64k+contig", "--mem", "256M", *MODEL, "--",
                        "sh", "-ec", script)
        text = ran.stdout.decode()
        self.assertIn("40 steps right", text)
        self.assertRegex(text, r"page_unit_fallback [1-9]\d\d")


class Erofs(UnitsTest):
    """A disk that is read only, and whose files are in large folios."""

    @classmethod
    def setUpClass(cls):
        if not shutil.which("mkfs.erofs"):
            raise unittest.SkipTest("no mkfs.erofs here: install erofs-utils")
        folder = Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        root, cls.image = folder / "root", folder / "disk.erofs"
        shutil.copytree(base.folder() / "usr", root / "usr")
        (root / "bin").symlink_to("usr/bin")
        for applet in ("sh", "cat"):
            (root / "bin" / applet).symlink_to("busybox")
        data = bytes(range(256)) * 4096
        (root / "data").write_bytes(data * MB)
        # Ends in the second page of a unit; the short one beside its inode.
        (root / "long").write_bytes(data + data[:4196])
        (root / "short").write_bytes(data[:100])
        subprocess.run(["mkfs.erofs", "--quiet", cls.image, root], check=True,
                       capture_output=True)

    def test_groups(self):
        regions, _ = self.measure("process64k+contig", "units file /data",
                                  "--image", str(self.image))
        _, units = dense(regions)
        self.assertGreater(units, PASSES * UNITS // 2)

    def test_tail(self):
        """Behind the end of a file there are zeroes, up to the end of the
        process's page."""
        script = "for file in long short; do page_size {} -r /$file; done"
        for mode, option, sizes in (("4k", "", ("4K", "16K", "64K")),
                                    ("process64k+contig", "-s 65536",
                                     ("64K",))):
            ran = self.boot(mode, "--image", str(self.image), *MODEL, "--",
                            "sh", "-ec", script.format(option))
            out = ran.stdout.decode()
            self.assertNotIn("not ok", out)
            for size in sizes:
                for kind in ("private", "shared"):
                    name = f" {size}: read only, {kind}: zeroes to the end"
                    self.assertEqual(out.count(name), 2, name)


class Hotplug(GuestTest):
    SCRIPT = """
        echo 0 >/sys/devices/system/cpu/cpu1/online
        echo 1 >/sys/devices/system/cpu/cpu1/online
        tlbstat -j -o /tmp/report taskset 2 units fork 4; cat /tmp/report
        """

    def test_new_cpu(self):
        """A CPU that comes back knows the hint as it did before."""
        for append, whole in ((), True), (("--append", "nox64k"), False):
            with self.subTest(append=append):
                ran = self.boot("process64k+contig", *MODEL, "--cpus", "2",
                                *append, "--", "sh", "-ec",
                                self.SCRIPT)
                (line,) = re.findall(rb"^\{.*\}$", ran.stdout, re.MULTILINE)
                regions = {r["name"]: r for r in json.loads(line)["regions"]}
                small, units = dense(regions)
                # 64 units, as many as the L1 dTLB has entries.
                if whole:
                    self.assertGreaterEqual(units, 48)
                    self.assertLess(small, 64)
                else:
                    self.assertEqual(units, 0)
                    self.assertGreaterEqual(small, 1024)


if __name__ == "__main__":
    unittest.main()
