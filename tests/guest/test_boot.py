# SPDX-License-Identifier: GPL-2.0-or-later
"""x64k boot: statuses, output, and everything that can go wrong."""

import fcntl
import os
import pty
import select
import signal
import subprocess
import tempfile
import termios
import time
import unittest

from support import ENVIRONMENT, ROOT, X64K, GuestTest, emulators_of, start


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
    def test_shell(self):
        """Without a command: a shell on the console, which ends by exit."""
        out = self.at_prompt(b"echo $((6 * 7)) is $(cat /x64k/mode)",
                             "--mode", "4k")
        self.assertIn(b"42 is 4k", out)

    def test_terminal(self):
        """On a terminal Ctrl-C is the guest's, and the terminal is as it was
        afterwards."""
        host, guest = pty.openpty()
        before = termios.tcgetattr(guest)
        process = subprocess.Popen(
            [*X64K, "boot", "--mode", "4k"], cwd=ROOT, env=ENVIRONMENT,
            stdin=guest, stdout=guest, stderr=guest, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        shown = b""

        def until(text: bytes):
            nonlocal shown
            begin = time.monotonic()
            while text not in shown:
                self.assertLess(time.monotonic() - begin, 60, shown[-2000:])
                if select.select([host], [], [], 1)[0]:
                    shown += os.read(host, 4096)
            shown = shown.partition(text)[2]

        try:
            until(b"# ")
            os.write(host, b"echo started; sleep 1000\n")
            until(b"\nstarted")
            time.sleep(0.5)
            os.write(host, b"\x03")
            until(b"# ")
            os.write(host, b"echo status $?\n")
            until(b"status 130")
            os.write(host, b"exit\n")
            until(b"Power down")
            self.assertEqual(process.wait(30), 0)
            self.assertEqual(termios.tcgetattr(guest), before)
        finally:
            process.kill()
            process.wait()
            os.close(host)
            os.close(guest)


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
        self.assertIn("4k, emulated, contig", ran.stderr)

    def test_native_is_for_later(self):
        ran = self.boot("native", "--", "true", status=2)
        self.assertIn("native comes with the leaf-table guest kernel",
                      ran.stderr)

    def test_unknown_preset(self):
        ran = self.boot("4k", "--tlb", "no-such-preset", "--", "true",
                        status=125)
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
            ran = self.boot("4k", "--tlb", file.name, "--", "true",
                            status=125)
            self.assertIn(f"hwtlb-config={file.name}", ran.stderr)
            self.assertIn("JSON", ran.stderr)

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
