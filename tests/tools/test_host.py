# SPDX-License-Identifier: GPL-2.0-or-later
"""x64k setup on a machine whose apt and dpkg are pretended: whatever comes in
between, dpkg is let come to its end."""

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
from pathlib import Path

from x64k import host
from x64k.paths import ROOT

# As the real one: it does not mind Ctrl-C while dpkg runs, which does.
APT_GET = """\
#!/bin/sh
echo "apt-get $*" >>log
case "$*" in
*--simulate*) ! [ -e broken ]; exit ;;
*--download-only*) [ ! -e slow-net ] || sleep 100; exit ;;
*update*) exit ;;
esac
if [ -e broken ]; then
    echo "E: dpkg was interrupted" >&2
    exit 100
fi
trap : INT
sh dpkg-unpack &
while ! wait $!; do [ -e broken ] && exit 100; done
"""
UNPACK = """\
touch broken
echo 'unpacking packages'
sleep 2
rm broken
touch installed
"""
SUDO = """\
#!/bin/sh
[ "$1" != -n ] || shift
exec "$@"
"""
DPKG = """\
#!/bin/sh
[ ! -e broken ] || echo "The following packages are only half configured: bc"
"""
DPKG_QUERY = """\
#!/bin/sh
grep -v "^installed $([ -e installed ] && echo nothing || echo bc) " packages
"""


class Machine(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        for name, text in (("apt-get", APT_GET), ("sudo", SUDO),
                           ("dpkg", DPKG), ("dpkg-query", DPKG_QUERY)):
            (self.folder / name).write_text(text)
            (self.folder / name).chmod(0o755)
        (self.folder / "dpkg-unpack").write_text(UNPACK)
        (self.folder / "packages").write_text(
            "".join(f"installed {name} \n" for name in host.PACKAGES))
        self.shown = b""

    def start(self) -> subprocess.Popen:
        """x64k setup, on a terminal."""
        self.terminal, theirs = pty.openpty()
        process = subprocess.Popen(
            [ROOT / "x64k", "setup", "--yes"], cwd=self.folder, stdin=theirs,
            stdout=theirs, stderr=theirs, start_new_session=True,
            env=os.environ | {"PATH": f"{self.folder}:{os.environ['PATH']}"},
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(theirs)
        self.addCleanup(os.close, self.terminal)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def until(self, text: bytes) -> None:
        end = time.monotonic() + 30
        while text not in self.shown:
            self.assertLess(time.monotonic(), end, self.shown)
            if select.select([self.terminal], [], [], 1)[0]:
                self.shown += os.read(self.terminal, 4096)

    def rest(self) -> None:
        try:
            while data := os.read(self.terminal, 4096):
                self.shown += data
        except OSError:     # it is closed on the other side
            pass

    def has(self, name: str) -> bool:
        return (self.folder / name).exists()

    def test_installs(self):
        process = self.start()
        self.rest()
        self.assertEqual(process.wait(), 0, self.shown)
        self.assertIn(b"all packages are installed", self.shown)

    WAYS = {"Ctrl-C": [b"\x03"], "twice": [b"\x03", b"\x03"],
            "TERM": [signal.SIGTERM], "HUP": [signal.SIGHUP],
            "Ctrl-C, then TERM": [b"\x03", signal.SIGTERM]}

    def test_dpkg_is_let_finish(self):
        for name, ways in self.WAYS.items():
            with self.subTest(name):
                self.setUp()
                process = self.start()
                self.until(b"unpacking")
                for way in ways:
                    time.sleep(0.3)
                    if isinstance(way, bytes):
                        os.write(self.terminal, way)
                    else:
                        process.send_signal(way)
                self.until(b"waiting for apt-get")
                self.assertIsNone(process.poll())
                self.rest()
                first = ways[0]
                self.assertEqual(process.wait(30), 128 + (
                    signal.SIGINT if isinstance(first, bytes) else first))
                self.assertTrue(self.has("installed"), self.shown)
                self.assertFalse(self.has("broken"))
                self.assertNotIn(b"Traceback", self.shown)

    def test_killed(self):
        """Even then dpkg goes on."""
        process = self.start()
        self.until(b"unpacking")
        process.kill()
        process.wait()
        for _ in range(100):
            if self.has("installed"):
                break
            time.sleep(0.1)
        self.assertTrue(self.has("installed"))

    def test_a_download_is_not_waited_for(self):
        (self.folder / "slow-net").touch()
        log = self.folder / "log"
        log.touch()
        process = self.start()
        for _ in range(100):
            if "--download-only" in log.read_text():
                break
            time.sleep(0.1)
        os.write(self.terminal, b"\x03")
        self.assertEqual(process.wait(30), 130)
        self.assertFalse(self.has("installed"))

    def test_installed_by_half(self):
        """From before: the remedy is named, not something that fails."""
        (self.folder / "broken").touch()
        process = self.start()
        self.rest()
        self.assertEqual(process.wait(), 125)
        self.assertIn(b"dpkg --configure -a", self.shown)
        self.assertIn(b"half configured: bc", self.shown)


if __name__ == "__main__":
    unittest.main()
