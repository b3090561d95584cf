# SPDX-License-Identifier: GPL-2.0-or-later
"""Mode native: a kernel with 64 KB pages, on leaf tables.  Nothing in it is
translated by 4 KB, so most counts are known beforehand."""

import json
import tempfile
import unittest
from pathlib import Path

from support import GuestTest, mode_of
from workload_case import InAGuest, known, small

from x64k import guest, kernels, paths, report

LEAVES = 64 * 16            # of toucher's memory
PASSES = 4
SMALL_FILLS = r"(l1d|l1i|stlb)-fill-(4k|8k|16k|32k|64k|64k-hint)"


class Kernel(GuestTest):
    def test_pages(self):
        ran = self.boot("native", "--cpus", "2", "--", "sh", "-c",
                        "getconf PAGESIZE; nproc;"
                        "grep -h PageSize: /proc/*/smaps | sort -u")
        self.assertEqual([line.split() for line in
                          ran.stdout.decode().splitlines()],
                         [["65536"], ["2"], ["KernelPageSize:", "64", "kB"],
                          ["MMUPageSize:", "64", "kB"]])

    def test_images(self):
        """Both tell what pages they have, and boot."""
        for image in paths.NATIVE_VMLINUX, paths.NATIVE_BZIMAGE:
            self.assertEqual(kernels.page_size(image), 65536)
            ran = self.boot("native", "--kernel", str(image), "--", "getconf",
                            "PAGESIZE")
            self.assertEqual(ran.stdout, b"65536\n")
        for image in paths.VMLINUX, paths.BZIMAGE:
            self.assertEqual(kernels.page_size(image), 4096)

    def test_linked_for_4k(self):
        """Runs, with less protection; or, if so wanted, it does not."""
        ran = self.boot(
            "native", "--", "sh", "-c",
            "integrity-4k 200 1; dmesg | grep -c 'not linked for pages';"
            "sysctl -q -w kernel.elf_unite_segments=0;"
            # A shell takes what is no program for a script.
            "integrity-4k 200 1 2>&1; dmesg | tail -n 1")
        text = ran.stdout.decode(errors="replace")
        self.assertEqual(text.count("integrity: 200 steps right"), 1)
        lines = text.splitlines()
        self.assertEqual(lines[1], "1")
        self.assertIn("integrity-4k: not linked for pages of 64 KB, hence not "
                      "run (kernel.elf_unite_segments)", lines[-1])

    def test_integrity(self):
        ran = self.boot("native", "--tlb", "skylake", "--cpus", "2", "--",
                        "integrity", "2000", "1")
        self.assertIn(b"integrity: 2000 steps right", ran.stdout)

    def test_saved(self):
        with tempfile.TemporaryDirectory() as folder:
            saved = str(Path(folder, "native.x64k"))
            self.boot("native", "--save", saved, "--", "touch", "/tmp/here")
            ran = self.x64k("boot", "--load", saved, "--tlb", "skylake", "--",
                            "tlbstat", "ls", "/tmp/here")
            self.assertRegex(ran.stdout, rb"\A/tmp/here\n")
            self.assertRegex(ran.stdout, rb"[1-9]\d*  l1d-fill-64k-leaf\s")


class Toucher(GuestTest):
    """64 MB are 1,024 leaves, in 32 tables of 256 bytes."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.runs = [mode_of(cls().compare("--icount", "--modes", "native",
                                          "--", "toucher"), "native")
                    for _ in range(2)]

    def part(self, name: str) -> dict:
        return report.region(self.runs[0], name)

    def count(self, name: str, region: str) -> int:
        return self.part(region)["counters"][name]

    def assertNearly(self, value: int, wanted: int, more: int):
        """What the kernel and the rest of the program add is little."""
        self.assertGreaterEqual(value, wanted)
        self.assertLessEqual(value, wanted + more)

    def test_first_touch(self):
        """A fault for each leaf: one walk that finds nothing, and one that
        finds it."""
        self.assertNearly(self.part("first-touch")["guest"]["page_faults"],
                          LEAVES, 8)
        self.assertNearly(self.count("walk-faulted", "first-touch"), LEAVES, 8)
        self.assertNearly(self.count("walk-completed", "first-touch"), LEAVES,
                          128)
        # Of 64 bytes: four for each of the 32 tables.
        self.assertNearly(self.count("walk-lines", "first-touch"), 128, 64)

    def test_dense(self):
        """A fill for each leaf in each pass; the second level holds all."""
        self.assertNearly(self.count("l1d-fill-64k-leaf", "dense"),
                          PASSES * LEAVES, 64)
        self.assertLessEqual(self.count("walk-completed", "dense"), 64)

    def test_twice(self):
        first, second = self.runs
        for key in ("counters", "guest", "regions", "wall_s"):
            self.assertEqual(first[key], second[key], key)


class Workloads(InAGuest):
    def test_no_small_fill(self):
        """Of any workload, from before its set-up until after its check."""
        ones = known("mini")
        results, output = small("native", list(ones.values()))
        for name, result in zip(ones, results, strict=True):
            with self.subTest(name):
                self.assertEqual(result["status"], 0, output[-3000:])
                self.assertEqual(report.total(result["counters"], SMALL_FILLS),
                                 0)
                self.assertGreater(result["counters"]["l1d-fill-64k-leaf"], 0)


class Refused(GuestTest):
    def refuse(self, mode: str, *args: str) -> str:
        return self.boot(mode, *args, "--", "true", status=2).stderr

    def test_processor(self):
        self.assertIn("mode native needs x64k-leaf=on, and --cpu says "
                      "x64k-leaf=off",
                      self.refuse("native", "--cpu", "max,x64k-leaf=off"))

    def test_page_size(self):
        self.assertIn("does not know page_size=64K",
                      self.refuse("native", "--append", "page_size=64K"))

    def test_programs_of_4k(self):
        for option in (("--image", "debian"), ("--pmu",)):
            self.assertIn(f"mode native has no {' '.join(option)}: Debian's "
                          "programs are linked for pages of 4 KB",
                          self.refuse("native", *option))

    def test_kernels(self):
        self.assertIn("mode native needs a kernel with CONFIG_X86_64K_PAGES=y",
                      self.refuse("native", "--kernel", str(paths.VMLINUX)))
        said = self.refuse("4k", "--kernel", str(paths.NATIVE_VMLINUX))
        self.assertIn("has pages of 64 KB", said)
        self.assertIn("only mode native boots it", said)

    def disguised(self, image: Path, old: bytes, new: bytes) -> str:
        """A kernel whose version does not tell what pages it has."""
        file = tempfile.NamedTemporaryFile(suffix="-vmlinux")
        self.addCleanup(file.close)
        data = image.read_bytes()
        begin = data.index(b"Linux version ")
        end = data.index(b"\n", begin)
        banner = data[begin:end].replace(old, new)
        self.assertEqual(len(banner), end - begin)
        file.write(data[:begin] + banner + data[end:])
        file.flush()
        return file.name

    def test_init_looks(self):
        """And nothing is measured."""
        kernel = self.disguised(paths.VMLINUX, b" SMP ", b" 64K ")
        ran = self.boot("native", "--kernel", kernel, "--", "echo", "measured",
                        status=guest.FAILED)
        self.assertIn("mode native needs a kernel with CONFIG_X86_64K_PAGES; "
                      "this one has pages of 4096 bytes", ran.stderr)
        self.assertEqual(ran.stdout, b"")

    def test_kernel_looks(self):
        """Without leaf tables it says so, and x64k does not wait for more."""
        kernel = self.disguised(paths.NATIVE_VMLINUX, b" 64K ", b" 65K ")
        self.assertIn("the processor no leaf tables",
                      self.refuse("4k", "--kernel", kernel, "--timeout", "60"))

    def test_own_kernel_chooses_modes(self):
        """Of compare, where nothing is said."""
        for image, modes in ((paths.VMLINUX, ["4k", "emulated", "contig"]),
                             (paths.NATIVE_VMLINUX, ["native"])):
            document = self.compare("--kernel", str(image), "--", "true")
            self.assertEqual([mode["mode"] for mode in document["modes"]],
                             modes)


class Memory(GuestTest):
    def test_of_a_byte(self):
        """One in each 64 KB: a page, and nothing else in it."""
        few, many = 100, 1100
        script = "".join(f"tlbstat -j -m -o /tmp/{n} sparse {n};"
                         for n in (few, many))
        ran = self.boot("native", "--", "sh", "-ec",
                        f"{script} cat /tmp/{few} /tmp/{many}")
        first, second = (next(p for p in json.loads(line)["processes"]
                              if p["name"] == "sparse")
                         for line in ran.stdout.decode().splitlines())
        n = many - few
        self.assertEqual(second["rss_kb"] - first["rss_kb"], n * 64)
        self.assertEqual(second["waste_kb"] - first["waste_kb"], n * 60)
        # 32 entries of 8 bytes in each table.
        self.assertAlmostEqual(
            second["page_table_kb"] - first["page_table_kb"], n / 32 / 4,
            delta=4)


if __name__ == "__main__":
    unittest.main()
