# SPDX-License-Identifier: GPL-2.0-or-later
"""Page sizes of processes (docs/kernel.md): the interface, and memory that
stays right, in each mode."""

import math
import re
import unittest

from support import GuestTest, mode_of

from x64k import report

FULL = r"PageSize:\s+64 kB"
UNIT = r"PageUnit:\s+64 kB"


class PageSizeTest(GuestTest):
    def sh(self, mode: str, script: str, *options: str) -> str:
        """Runs a script in the guest; no line of it may fail."""
        ran = self.boot(mode, *options, "--", "sh", "-ec", script)
        return ran.stdout.decode()

    def assertTap(self, text: str, least: int):
        """The guest's test program has run all that it had planned."""
        self.assertNotIn("Bail out", text)
        self.assertEqual(re.findall(r"^not ok.*(?:\n#.*)*", text,
                                    re.MULTILINE), [])
        for plan in (plans := re.findall(r"^1\.\.(\d+)", text, re.MULTILINE)):
            self.assertGreater(int(plan), least)
        passed = re.findall(r"^ok ", text, re.MULTILINE)
        self.assertEqual(len(passed), sum(map(int, plans)))


class Modes(PageSizeTest):
    SHOW = ("getconf PAGE_SIZE; grep ^Page /proc/self/status;"
            "pagesize")

    def test_4k(self):
        out = self.sh("4k", self.SHOW)
        self.assertTrue(out.startswith("4096\n"), out)
        self.assertNotRegex(out, UNIT)
        self.assertTrue(out.endswith("4096\n"), out)

    def modes_64k(self, mode: str):
        for name, mmu in ((mode, "4"), (mode + "+contig", "64")):
            with self.subTest(mode=name):
                out = self.sh(name, self.SHOW)
                self.assertTrue(out.startswith("65536\n"), out)
                self.assertRegex(out, FULL)
                self.assertRegex(out, UNIT)
                self.assertTrue(out.endswith("65536\n"), out)
                out = self.sh(name, "pagesize -v")
                self.assertRegex(out, FULL)
                self.assertRegex(out, r"KernelPageSize:\s+64 kB\n"
                                 rf"MMUPageSize:\s+{mmu} kB")

    def test_process64k(self):
        self.modes_64k("process64k")

    def test_system64k(self):
        self.modes_64k("system64k")

    # Programs that run for a while, or wait for input that does not come.
    PROGRAMS = ("busybox sleep 60", "sqlite3", "toucher -p 100000",
                "x64k-workload chase 64", "tcc -E -", "integrity-4k")
    KINDS = """
        kind() {
            sleep 60 | "$@" >/dev/null 2>&1 &
            # Until then it is the shell's child, not yet the program.
            until [ "$(cat /proc/$!/comm)" = "$1" ]; do sleep 0.1; done
            echo "$1" $(grep ^Page /proc/$!/status)
            kill $!
        }
        """ + "\n".join(f"kind {program}" for program in PROGRAMS)

    def kinds(self, mode: str) -> dict[str, str]:
        """Program -> PageSize and PageUnit of its process."""
        return {line[0]: f"{line[2]} {line[5]}" for line in
                map(str.split, self.sh(mode, self.KINDS).splitlines())}

    def test_kinds(self):
        """What was built for 64 KB pages is full, Debian's own is compat."""
        names = {program.split()[0] for program in self.PROGRAMS}
        compat = {"tcc", "integrity-4k"}
        for mode, fit, unfit in (("4k", "4 4", "4 4"),
                                 ("process64k", "64 64", "4 64"),
                                 ("system64k+contig", "64 64", "4 64")):
            with self.subTest(mode=mode):
                self.assertEqual(self.kinds(mode), {
                    name: unfit if name in compat else fit for name in names})

    def test_first_process(self):
        """With page_size= even the first process has such pages."""
        self.assertRegex(self.sh("system64k", "grep ^Page /proc/1/status"),
                         FULL)

    def test_bad_size_on_kernel_line(self):
        out = self.sh("4k", "dmesg; getconf PAGE_SIZE",
                      "--append", "page_size=8K")
        self.assertIn("page_size= must be 4K, 16K or 64K", out)
        self.assertTrue(out.endswith("\n4096\n"), out)


class Launcher(PageSizeTest):
    def test_launcher(self):
        out = self.sh("4k", "pagesize 64K getconf PAGE_SIZE;"
                      "pagesize 16K getconf PAGESIZE; getconf PAGE_SIZE;"
                      "pagesize 64K sh -c 'pagesize; pagesize 4k pagesize'")
        self.assertEqual(out.split(), ["65536", "16384", "4096", "65536",
                                       "4096"])

    def test_errors(self):
        out = self.sh("4k", """
            for command in 'pagesize 8K true' 'pagesize 64X true' \
                'pagesize 64K' 'pagesize 64K /none' 'pagesize 64K /tmp' \
                'pagesize 64K sh -c "exit 9"'; do
                status=0; eval "$command" || status=$?
                echo status $status
            done""")
        self.assertEqual(re.findall(r"status (\d+)", out),
                         ["125", "125", "125", "127", "126", "9"])
        self.assertIn("the sizes are 4K, 16K and 64K", out)


class Limits(PageSizeTest):
    """What a process may have, and what C libraries derive from the size."""

    RUNS = 48

    def spread(self, program: str) -> str:
        """Where RUNS processes have their memory, a line for each."""
        return f"""
            echo 2 >/proc/sys/kernel/randomize_va_space     # x64k: none
            for i in $(seq {self.RUNS}); do {program} addresses; done
            """

    @staticmethod
    def random_bits(text: str, what: str) -> int:
        """Of an address: the places that there are in the range that
        processes were seen to have it in, as a power of two.  All of RUNS are
        in seven tenths of the true range once in a hundred thousand times."""
        places = [int(at, 16) for at in re.findall(rf"{what} (\w+)", text)]
        assert len(places) == Limits.RUNS, text
        varied = 0
        for place in places:
            varied |= place ^ places[0]
        step = varied & -varied
        return round(math.log2((max(places) - min(places)) / step))

    def test_compat(self):
        """As many mappings as with 4 KB pages, and as many random bits."""
        script = f"""
            cat /proc/sys/vm/max_map_count
            limits-4k mappings 70000
            {self.spread("limits-4k")}
            """
        seen = {}
        for mode in ("4k", "process64k"):
            out = self.sh(mode, script)
            self.assertIn("65530\n70000 mappings\n", out)
            seen[mode] = {what: self.random_bits(out, what)
                          for what in ("large", "small", "stack", "heap")}
        self.assertEqual(seen["4k"]["large"], 28)
        self.assertGreaterEqual(seen["process64k"]["large"], 28)
        for what in ("small", "stack", "heap"):
            self.assertGreaterEqual(seen["process64k"][what],
                                    seen["4k"][what], what)

    def test_full(self):
        out = self.sh("process64k", "limits stacks\n" + self.spread("limits"))
        self.assertEqual(out.count(": runs\n"), 6, out)
        self.assertGreaterEqual(self.random_bits(out, "large"), 28)


class Abi(PageSizeTest):
    """Each system call with right, misaligned, empty and endless ranges:
    the kernel's own test of it."""

    # ext2 on a zram disk; the test program gets a file there.
    DISK = """
        echo 32M >/sys/block/zram0/disksize
        mke2fs -b 4096 /dev/zram0 >/dev/null
        mkdir /tmp/disk; mount -t ext4 /dev/zram0 /tmp/disk
        """

    def test_sizes(self):
        out = self.sh("4k", self.DISK + "page_size -f /tmp/disk/file")
        for size in ("4K", "16K", "64K"):
            self.assertIn(f" {size}: munmap, misaligned address", out)
        self.assertTap(out, 700)

    def test_contig(self):
        out = self.sh("process64k+contig", self.DISK + "page_size -s 65536 "
                      "-f /tmp/disk/file", "--tlb", "skylake", "--tlb-verify")
        self.assertTap(out, 190)


class Memory(PageSizeTest):
    """Random changes; contents and rights are checked after each."""

    SWAP = """
        echo 256M >/sys/block/zram0/disksize
        mkswap /dev/zram0 >/dev/null; swapon /dev/zram0
        """

    def test_full(self):
        for mode in ("process64k", "process64k+contig"):
            with self.subTest(mode=mode):
                out = self.sh(mode, "integrity 40 1 65536", "--tlb", "skylake",
                              "--tlb-verify")
                self.assertIn("40 steps right", out)

    def test_swap(self):
        out = self.sh("process64k+contig", self.SWAP + "integrity 60 1 65536 "
                      "swap; grep pswp /proc/vmstat", "--tlb", "skylake")
        self.assertIn("60 steps right", out)
        for way in ("in", "out"):
            self.assertRegex(out, rf"pswp{way} [1-9]")

    def test_compat(self):
        """4 KB system calls on 64 KB folios."""
        for mode in ("process64k+contig", "system64k+contig"):
            with self.subTest(mode=mode):
                out = self.sh(mode, self.SWAP + "integrity-4k 150 2 - swap;"
                              "grep pswpin /proc/vmstat",
                              "--tlb", "skylake", "--tlb-verify")
                self.assertIn("150 steps right", out)
                self.assertRegex(out, r"pswpin [1-9]")

    def test_toucher(self):
        """One fault for 64 KB, and with the hint one TLB entry."""
        modes = ["process64k+contig", "system64k"]
        document = self.compare("--modes", ",".join(modes), "--", "toucher")
        for name in modes:
            mode = mode_of(document, name)
            touched = report.region(mode, "first-touch")
            self.assertGreaterEqual(touched["guest"]["page_faults"], 1024)
            self.assertLess(touched["guest"]["page_faults"], 1024 + 16)
            dense = report.region(mode, "dense")["counters"]
            fills = report.total(dense, "l1d-fill-64k-.*")
            if "contig" in name:
                self.assertGreater(fills, 4000)
            else:
                self.assertFalse(fills)


if __name__ == "__main__":
    unittest.main()
