# SPDX-License-Identifier: GPL-2.0-or-later
"""x64k boot: statuses, output, and everything that can go wrong."""

import os
import signal
import subprocess
import tempfile
import time
import unittest

from support import (ENVIRONMENT, ROOT, X64K, GuestTest, Terminal,
                     emulators_of, start)

from x64k import guest, paths


class Status(GuestTest):
    def test_zero_and_output(self):
        """A command's output arrives, and nothing else does."""
        ran = self.boot("4k", "--", "echo", "hello", "  world ")
        self.assertEqual(ran.stdout, b"hello   world \n")

    def test_own_status(self):
        ran = self.boot("4k", "--", "sh", "-c", "echo out; echo err >&2; exit 7",
                        status=7)
        self.assertEqual(ran.stdout, b"out\nerr\n")

    def test_signal(self):
        self.boot("4k", "--", "sh", "-c", "kill -SEGV $$", status=128 + 11)

    def test_not_found(self):
        ran = self.boot("4k", "--", "no-such-command", status=127)
        self.assertIn(b"no-such-command: No such file", ran.stdout)

    def test_not_executable(self):
        self.boot("4k", "--", "/usr/share/x64k/sqlite.sql", status=126)


class Output(GuestTest):
    def test_every_byte(self):
        """Arguments and output pass through unchanged, whatever they are."""
        word = bytes(range(1, 256))
        ran = self.boot("4k", "--", "printf", r"%s\000\n%s", word, b"")
        self.assertEqual(ran.stdout, word + b"\0\n")

    def test_long(self):
        """A megabyte arrives whole."""
        ran = self.boot("4k", "--", "sh", "-c",
                        "i=0; while [ $i -lt 1024 ]; do "
                        "printf '%01024d' $i; i=$((i + 1)); done")
        self.assertEqual(ran.stdout, b"".join(b"%01024d" % i
                                              for i in range(1024)))

    def test_streams(self):
        """Output is shown while the command still runs."""
        with start("boot", "--mode", "4k", "--", "sh", "-c",
                   "echo now; sleep 1000") as process:
            try:
                self.assertEqual(process.stdout.readline(), b"now\n")
                self.assertIsNone(process.poll())
            finally:
                process.terminate()
                process.communicate()
        self.assertEqual(emulators_of(process.pid), [])


class Shell(GuestTest):
    def test_terminal(self):
        """On a terminal Ctrl-C is the guest's, the shell's status is ours, and
        the terminal is as it was afterwards."""
        with Terminal("boot", "--mode", "4k") as terminal:
            terminal.until(b"# ")
            terminal.write(b"echo $((6 * 7)) is $(cat /x64k/mode)\n")
            terminal.until(b"42 is 4k")
            terminal.write(b"echo started; sleep 1000\n")
            terminal.until(b"\nstarted")
            time.sleep(0.5)
            terminal.write(b"\x03")
            terminal.until(b"# ")
            terminal.write(b"echo status $?\n")
            terminal.until(b"status 130")
            terminal.write(b"exit 3\n")
            terminal.until(b"Power down")
            self.assertEqual(terminal.process.wait(30), 3)
            self.assertEqual(terminal.settings(), terminal.before)

    def test_script(self):
        """Without a terminal, the shell reads a script, and its output is all
        there is."""
        out = self.script(b"cat /x64k/mode; cd /tmp\npwd; exit 3\necho no\n",
                          "--mode", "4k", status=3)
        self.assertEqual(out, b"4k\n/tmp\n")

    def test_nothing_to_do(self):
        self.assertEqual(self.script(b"", "--mode", "4k"), b"")


class Input(GuestTest):
    """Standard input of the command."""

    def test_whole(self):
        """Every byte of it, and then its end."""
        given = bytes(range(256)) * 4096
        ran = self.x64k("boot", "--mode", "4k", "--", "cat", stdin=given)
        self.assertEqual(ran.stdout, given)

    def test_kinds(self):
        with tempfile.TemporaryFile() as file:
            file.write(b"skipped\nfrom a file\n")
            file.flush()
            file.seek(len(b"skipped\n"))
            for stdin, wanted in ((file, b"from a file\n"),
                                  (subprocess.DEVNULL, b"")):
                with start("boot", "--mode", "4k", "--", "cat",
                           stdin=stdin) as process:
                    out, err = process.communicate(timeout=300)
                self.assertEqual((process.returncode, out), (0, wanted), err)

    def test_closed(self):
        ran = subprocess.run(
            ["sh", "-c", 'exec "$@" <&-', "-", *X64K, "boot", "--mode", "4k",
             "--", "sh", "-c", "cat; echo end"], cwd=ROOT, env=ENVIRONMENT,
            capture_output=True, timeout=300)
        self.assertEqual((ran.returncode, ran.stdout), (0, b"end\n"),
                         ran.stderr)

    def test_without_end(self):
        with subprocess.Popen(["yes"], stdout=subprocess.PIPE) as endless:
            with start("boot", "--mode", "4k", "--mem", "128M", "--", "head",
                       stdin=endless.stdout) as process:
                _, err = process.communicate(timeout=300)
            endless.kill()
        self.assertEqual(process.returncode, 2)
        self.assertIn(b"more than 16 MB, too much for a guest of 128M", err)

    def test_in_each_mode(self):
        """Of compare, too, and each time the same."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "result.json")
            self.x64k("compare", "--json", path, "--modes", "4k,contig", "--",
                      "grep", "-q", "^5000$",
                      stdin=b"".join(b"%d\n" % i for i in range(6000)))


class Failure(GuestTest):
    def test_panic(self):
        ran = self.boot("4k", "--", "sh", "-c",
                        "echo before; echo c >/proc/sysrq-trigger",
                        status=123)
        self.assertEqual(ran.stdout, b"before\n")
        self.assertIn("Kernel panic - not syncing: sysrq", ran.stderr)
        self.assertIn("sysrq: Trigger a crash", self.assertNamesLog(ran.stderr))

    def test_timeout(self):
        begin = time.monotonic()
        ran = self.boot("4k", "--timeout", "3", "--", "sleep", "1000",
                        status=124)
        self.assertLess(time.monotonic() - begin, 15)
        self.assertIn("did not end within 3 s", ran.stderr)
        self.assertNamesLog(ran.stderr)

    def test_guest_stops(self):
        ran = self.boot("4k", "--", "poweroff", "-f", status=125)
        self.assertIn("stopped without a report", ran.stderr)
        self.assertNamesLog(ran.stderr)

    def test_missing_kernel(self):
        ran = self.boot("4k", "--kernel", "/no/such/kernel", "--", "true",
                        status=125)
        self.assertIn("/no/such/kernel", ran.stderr)

    def test_not_a_kernel(self):
        ran = self.boot("4k", "--kernel", "LICENSE", "--", "true", status=125)
        self.assertIn("LICENSE is neither a bzImage nor a vmlinux", ran.stderr)

    def test_unknown_mode(self):
        ran = self.boot("8k", "--", "true", status=2)
        self.assertIn("unknown mode '8k'; the modes are 4k, emulated, contig",
                      ran.stderr)

    def test_unknown_preset(self):
        ran = self.boot("4k", "--tlb", "no-such-preset", "--", "true",
                        status=2)
        self.assertIn("no-such-preset", ran.stderr)

    def test_tlb_of_a_file(self):
        shown = self.x64k("tlb", "show", "zen4", "--json").stdout
        with tempfile.NamedTemporaryFile(suffix=".json") as file:
            file.write(shown)
            file.flush()
            ran = self.boot("4k", "--tlb", file.name, "--tlb-coalesce", "8",
                            "--", "tlbstat", "true")
            self.assertRegex(ran.stdout, rb"[1-9]\d*  l1d-load-miss\s")
            # What the emulator says of a bad one reaches the user.
            file.write(b",")
            file.flush()
            ran = self.boot("4k", "--tlb", file.name, "--", "true", status=2)
            self.assertIn(f"hwtlb-config={file.name}", ran.stderr)
            self.assertIn("JSON", ran.stderr)
            # And of a field that it does not know.
            file.seek(0)
            file.truncate()
            file.write(b'{"frobnicate": 1}')
            file.flush()
            ran = self.boot("4k", "--tlb", file.name, "--", "true", status=2)
            self.assertIn("there is no such field", ran.stderr)

    def test_too_little_memory(self):
        """For the kernel, and for anything beside it."""
        least = guest.least_mb(guest.Machine("4k"))
        for mem in 1, 16, least - 1:
            ran = self.boot("4k", "--mem", f"{mem}M", "--", "true", status=2)
            self.assertIn(f"--mem {mem}M is too little: kernel and initramfs "
                          f"alone need {least} MB", ran.stderr)
        ran = self.boot("4k", "--mem", f"{least}M", "--timeout", "60", "--",
                        "true", status=None, quiet=False)
        self.assertIn(ran.returncode, (123, 125))
        self.assertIn(f"--mem {least}M may be too little", ran.stderr)

    def test_processors_that_cannot_be(self):
        for args, said in ((("--cpu", "486"), "no 64-bit mode"),
                           (("--cpu", "nope"), "'nope' not found"),
                           (("--cpus", "20"), "runs at most 16")):
            ran = self.boot("4k", *args, "--", "true", status=2)
            self.assertIn(said, ran.stderr)

    def test_fewer_processors(self):
        """Than were asked for: not measured as so many."""
        ran = self.boot("4k", "--kernel", str(paths.VMLINUX), "--cpus", "18",
                        "--", "true", status=125)
        self.assertIn("this kernel runs 16 of 18 processors", ran.stderr)
        self.boot("4k", "--append", "maxcpus=1", "--cpus", "2", "--", "true")

    def test_full_disk(self):
        """What the guest writes is lost there, which the emulator does not
        tell."""
        if os.geteuid():
            self.skipTest("to mount a small disk takes root")
        initramfs = paths.INITRAMFS.stat().st_size
        for size in 1 << 20, initramfs + (1 << 20):
            with self.subTest(size):
                ran = subprocess.run(
                    ["unshare", "--mount", "sh", "-c",
                     f'mount -t tmpfs -o size={size} tmpfs /mnt && '
                     'TMPDIR=/mnt exec "$@"', "-", *X64K, "boot", "--mode",
                     "4k", "--", "sh", "-c", "yes | head -c 3000000"],
                    cwd=ROOT, env=ENVIRONMENT, stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                    text=True, timeout=600)
                self.assertEqual(ran.returncode, 125, ran.stderr)
                self.assertIn("/mnt", ran.stderr)
                self.assertRegex(ran.stderr, "is full|No space left")
                self.assertNotIn("Traceback", ran.stderr)

    def test_icount_needs_one_cpu(self):
        ran = self.boot("4k", "--icount", "--cpus", "2", "--", "true",
                        status=2)
        self.assertIn("single CPU", ran.stderr)


class Interrupt(GuestTest):
    def interrupted(self, *signals: int) -> subprocess.Popen:
        process = start("boot", "--mode", "4k", "--", "sh", "-c",
                        "echo ready; sleep 1000")
        with process:
            try:
                self.assertEqual(process.stdout.readline(), b"ready\n")
                self.assertEqual(len(emulators_of(process.pid)), 1)
                for signum in signals:
                    os.kill(process.pid, signum)
                process.communicate(timeout=30)
            finally:
                process.kill()
        return process

    def assertNoEmulator(self, pid: int):
        # The kernel's own signal may take a moment to arrive.
        for _ in range(100):
            if not emulators_of(pid):
                return
            time.sleep(0.05)
        self.fail("the emulator is still there")

    def test_ctrl_c(self):
        process = self.interrupted(signal.SIGINT)
        self.assertEqual(process.returncode, 130)
        self.assertEqual(emulators_of(process.pid), [])

    def test_twice(self):
        process = self.interrupted(signal.SIGINT, signal.SIGINT)
        self.assertIn(process.returncode, (130, -signal.SIGINT))
        self.assertNoEmulator(process.pid)

    def test_kill(self):
        """Even kill -9 leaves nothing behind."""
        process = self.interrupted(signal.SIGKILL)
        self.assertNoEmulator(process.pid)


class Kernel(GuestTest):
    FOUND = b"x86/x64k: contiguity hint enabled"
    FLAG = b"x64k_contig"
    SHOW = ("--", "sh", "-c", "dmesg; grep flags /proc/cpuinfo")

    def test_contig(self):
        """Found and enabled, on both processors."""
        ran = self.boot("contig", "--cpus", "2", *self.SHOW)
        self.assertEqual(ran.stdout.count(self.FOUND), 1)
        self.assertEqual(ran.stdout.count(self.FLAG), 2)

    def test_emulated(self):
        ran = self.boot("emulated", *self.SHOW)
        self.assertNotIn(self.FOUND, ran.stdout)
        self.assertNotIn(self.FLAG, ran.stdout)

    def test_nox64k(self):
        ran = self.boot("contig", "--append", "nox64k", *self.SHOW)
        self.assertNotIn(self.FOUND, ran.stdout)
        self.assertNotIn(self.FLAG, ran.stdout)

    def test_folios(self):
        """Each mode has the folios that it says."""
        show = ("--", "cat", "/sys/kernel/mm/transparent_hugepage/enabled",
                "/sys/kernel/mm/transparent_hugepage/hugepages-64kB/enabled",
                "/sys/kernel/mm/transparent_hugepage/hugepages-2048kB/enabled")
        for mode, word in (("4k", b"[never]"), ("emulated", b"[always]"),
                           ("contig", b"[always]")):
            with self.subTest(mode=mode):
                total, folio, huge = self.boot(mode, *show).stdout.splitlines()
                self.assertIn(b"[never]", total)
                self.assertIn(word, folio)
                self.assertTrue(b"[never]" in huge or b"[inherit]" in huge)


if __name__ == "__main__":
    unittest.main()
