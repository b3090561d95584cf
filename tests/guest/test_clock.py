# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests on a host that has more to do than it has cores: all of them boot, and
their seconds are the host's."""

import os
import pty
import re
import time
import tty
import unittest
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from support import ROOT, GuestTest, start

from x64k import guest, proc

# Fewer, where others load the machine already.
LOOPS = int(os.environ.get("X64K_LOOPS", "16"))
# How many guests; four at a time.
BOOTS = int(os.environ.get("X64K_BOOTS",
                           os.environ.get("X64K_BOOTS_DEFAULT", "2")))
AT_A_TIME = 4
SLEEP_S = 4
ERROR = 0.02
PROBES = 4
PROMPT = b"# "

CLOCKSOURCE = "/sys/devices/system/clocksource/clocksource0/current_clocksource"
CLOCKEVENT = "/sys/devices/system/clockevents/clockevent0/current_device"


@contextmanager
def busy() -> Iterator[None]:
    """Loops that want a core each."""
    loops = [proc.popen(["sh", "-c", "while :; do :; done"])
             for _ in range(LOOPS)]
    try:
        yield
    finally:
        for loop in loops:
            proc.stop(loop)


class Shell:
    """In a guest."""

    def __init__(self, *args: str):
        self.begin = time.monotonic()
        # A terminal: what comes by a pipe is read to its end before the boot.
        self.keyboard, terminal = pty.openpty()
        tty.setraw(terminal)
        self.process = start("boot", *args, "--timeout", "1200",
                             stdin=terminal)
        os.close(terminal)
        self.shown = b""
        self.until_prompt()

    def until_prompt(self) -> str:
        begin = len(self.shown)
        # The shell asks its terminal where the cursor is.
        while not self.shown[begin:].replace(b"\x1b[6n", b"").endswith(PROMPT):
            if not (some := os.read(self.process.stdout.fileno(), 4096)):
                self.process.wait()
                error = self.process.stderr.read().decode(errors="replace")
                raise AssertionError(f"{error}\n{self.text()[-3000:]}")
            self.shown += some
        return self.shown[begin:].decode(errors="replace")

    def text(self) -> str:
        return self.shown.decode(errors="replace")

    def run(self, line: str) -> str:
        os.write(self.keyboard, line.encode() + b"\n")
        return self.until_prompt()

    def probe(self) -> tuple[float, float, float]:
        """The guest's time, and the host's before and after it was read: of
        several, the one that took the host the least."""
        found = []
        for _ in range(PROBES):
            before = time.monotonic()
            said = self.run("read up rest </proc/uptime; echo up: $up")
            after = time.monotonic()
            found.append((after - before,
                          float(re.search(r"up: (\d+\.\d+)", said)[1]),
                          before, after))
        _, guest_s, before, after = min(found)
        return guest_s, before, after

    def end(self) -> str:
        os.write(self.keyboard, b"exit\n")
        _, err = self.process.communicate()
        os.close(self.keyboard)
        if self.process.returncode:
            raise AssertionError(err.decode(errors="replace"))
        return err.decode(errors="replace")


def check(args: tuple[str, ...], text: str = "") -> str:
    """Boots, and compares clocks; what came of it."""
    shell = Shell(*args)
    first, before, after = shell.probe()
    assert first <= (after - shell.begin) * (1 + ERROR), (
        f"{first} s since the guest began, {after - shell.begin:.2f} s since "
        "its emulator did")
    asleep = time.monotonic()
    shell.run(f"sleep {SLEEP_S}")
    asleep = time.monotonic() - asleep
    second, *again = shell.probe()
    passed = second - first
    least, most = again[0] - after, again[1] - before
    source = shell.run(f"cat {CLOCKSOURCE}")
    event = shell.run(f"cat {CLOCKEVENT}")
    shell.end()
    log = shell.text()

    # /proc/uptime has hundredths of a second.
    assert least * (1 - ERROR) - 0.01 <= passed <= most * (1 + ERROR) + 0.01, (
        f"{passed:.2f} s of the guest were {least:.2f} to {most:.2f} s")
    assert SLEEP_S * (1 - ERROR) <= asleep, (
        f"the guest slept {asleep:.2f} s instead of {SLEEP_S}")
    assert "tsc\r" in source, source
    assert "lapic-deadline\r" in event, event
    found = [line for line in log.splitlines()
             if guest.KERNEL_COMPLAINTS.search(line)
             or re.search("unstable|IO-APIC.*timer", line)]
    assert not found, "\n".join(found)
    return (f"{passed:.2f} s of the guest in {least:.2f} to {most:.2f} s, "
            f"{asleep:.2f} s asleep, up after {after - shell.begin:.1f} s")


class Clock(GuestTest):
    def test_busy(self):
        """On one vCPU and on two, in turn."""
        ways = [("--mode", mode, "--cpus", cpus)
                for mode, cpus in (("4k", "1"), ("contig", "2"))]
        failed = []
        begin = time.monotonic()
        with busy(), ThreadPoolExecutor(AT_A_TIME) as pool:
            ran = [pool.submit(check, ways[n % len(ways)])
                   for n in range(BOOTS)]
            for number, future in enumerate(ran):
                try:
                    print(f"# {number}: {future.result()}", flush=True)
                except AssertionError as error:
                    failed.append(f"boot {number}: {error}")
                    print(f"# {number}: failed: {error}", flush=True)
            print(f"# {time.monotonic() - begin:.0f} s, load at the end: "
                  f"{os.getloadavg()[0]:.0f}", flush=True)
        self.assertFalse(failed, f"{len(failed)} of {BOOTS} boots failed\n"
                         + "\n".join(failed))

    def test_known(self):
        """What Linux found: it had nothing to measure the TSC or the timer
        by, and only looked at how fast the processor may be."""
        ran = self.boot("4k", "--", "sh", "-c", "dmesg; cat /proc/cpuinfo")
        log = ran.stdout.decode()
        self.assertIn("constant_tsc", log)
        self.assertIn("tsc_deadline_timer", log)
        self.assertNotIn("APIC calibration", log)


if __name__ == "__main__":
    unittest.main()
