# SPDX-License-Identifier: GPL-2.0-or-later
"""x64k boot --image: the Debian guest, and images of the user's own."""

import hashlib
import shutil
import struct
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

from support import GuestTest, Terminal, start

from x64k import paths, sources

REDIS = """
redis-server --save '' --daemonize yes >/dev/null
until redis-cli ping 2>/dev/null; do sleep 0.1; done
redis-cli set answer 42
redis-cli --raw get answer
redis-cli shutdown nosave
"""

POSTGRES = """
bin=/usr/lib/postgresql/17/bin
as='setpriv --reuid=postgres --regid=postgres --init-groups'
cd /tmp
$as $bin/initdb -D /tmp/cluster -A trust --no-sync >/tmp/log &&
$as $bin/pg_ctl -D /tmp/cluster -o '-k /tmp' -l /tmp/server -w start >/tmp/log &&
psql -h 127.0.0.1 -U postgres -Atc 'select 6 * 7 from generate_series(1, 2)'
"""


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def qcow2(data: bytes) -> bytes:
    """DATA as a qcow2 file of version 2, after its specification."""
    cluster = 1 << 16
    count = -(-len(data) // cluster)
    assert count <= cluster // 8
    used = 1 << 63
    # Clusters: header, L1, L2, refcount table, refcounts, then data.
    header = struct.pack(">4sIQIIQIIQQIIQ", b"QFI\xfb", 2, 0, 0, 16, len(data),
                         0, 1, cluster, 3 * cluster, 1, 0, 0)
    l1 = struct.pack(">Q", 2 * cluster | used)
    l2 = b"".join(struct.pack(">Q", (5 + i) * cluster | used)
                  for i in range(count))
    table = struct.pack(">Q", 4 * cluster)
    counts = struct.pack(">H", 1) * (5 + count)
    return b"".join(part.ljust(cluster, b"\0") for part in
                    (header, l1, l2, table, counts)) + data.ljust(
                        count * cluster, b"\0")


class Debian(GuestTest):
    def setUp(self):
        if not paths.DEBIAN.exists():
            self.skipTest("no Debian image: x64k build debian")

    def test_command(self):
        """A command has the image's programs, ours, and its own status; the
        image stays as it is."""
        before = digest(paths.DEBIAN)
        ran = self.boot(
            "4k", "--image", "debian", "--", "bash", "-c",
            ". /etc/os-release && echo $VERSION_CODENAME $(hostname) $HOME && "
            "command -v tlbstat speedtest1 perf gcc && "
            "echo changed >/etc/hostname && rm -r /usr/lib/python3 && "
            "cat /etc/hostname && test ! -e /usr/lib/python3 && exit 9",
            status=9)
        self.assertEqual(ran.stdout.decode().split(), [
            "trixie", "x64k", "/root", "/usr/local/bin/tlbstat",
            "/usr/local/bin/speedtest1", "/usr/bin/perf", "/usr/bin/gcc",
            "changed"])
        self.assertEqual(digest(paths.DEBIAN), before)

    def test_places(self):
        """What programs expect of a system, in another mode."""
        ran = self.boot(
            "contig", "--tlb", "skylake", "--image", "debian", "--", "sh",
            "-c", "for place in /proc /sys /dev /dev/pts /dev/shm /tmp /run; "
            "do mountpoint -q $place && touch $place/x 2>/dev/null; "
            "mountpoint $place; done; stat -c %a /tmp /dev/shm; "
            "grep -c x64k_contig /proc/cpuinfo; python3 -c 'import pty; "
            "pty.openpty(); print(6 * 7)'")
        self.assertEqual(ran.stdout.decode().split("\n"), [
            *(f"{place} is a mountpoint" for place in (
                "/proc", "/sys", "/dev", "/dev/pts", "/dev/shm", "/tmp",
                "/run")), "1777", "1777", "1", "42", ""])

    def test_compiler(self):
        self.boot("4k", "--image", "debian", "--", "sh", "-c",
                  "cd /tmp && echo 'int main(void) { return 42; }' >a.c && "
                  "gcc -O2 a.c -o a && ./a", status=42)

    def test_redis(self):
        """A server and its client, over the loopback interface."""
        ran = self.boot("4k", "--image", "debian", "--", "sh", "-c", REDIS)
        self.assertEqual(ran.stdout.split(), [b"PONG", b"OK", b"42"])

    def test_postgres(self):
        ran = self.boot("contig", "--image", "debian", "--", "sh", "-c",
                        POSTGRES)
        self.assertEqual(ran.stdout.split(), [b"42", b"42"])

    def test_shell(self):
        """Without a command: a login shell of the image."""
        with Terminal("boot", "--mode", "4k", "--image", "debian") as terminal:
            terminal.until(b"# ")
            terminal.write(b"echo bash $BASH_VERSION $(tty)\n")
            # Not the echo of it; readline puts codes of its own before.
            terminal.until(b"bash 5.")
            terminal.until(b" /dev/ttyS0")
            terminal.write(b"exit 3\n")
            self.assertEqual(terminal.process.wait(60), 3)

    def test_script(self):
        """Without a terminal: the same shell, of what it is given."""
        out = self.script(b"shopt -q login_shell && echo $BASH_VERSION\n"
                          b"exit 3\n", "--mode", "4k", "--image", "debian",
                          status=3)
        self.assertRegex(out, rb"^5\.\d\S*\n$")

    def test_systemd(self):
        """--init: systemd starts, nothing fails, root is logged in."""
        with start("boot", "--mode", "4k", "--image", "debian", "--init",
                   "--timeout", "120", stdin=subprocess.PIPE) as process:
            self.until(process, b"root@x64k:~# ")
            out, err = process.communicate(
                b"echo state $(systemctl is-system-running)\n"
                b"systemctl poweroff\n")
        self.assertIn(b"state running", out)
        self.assertEqual(process.returncode, 0, err)

    def until(self, process: subprocess.Popen, text: bytes) -> None:
        shown = b""
        while not shown.endswith(text):
            byte = process.stdout.read(1)
            self.assertTrue(byte, shown[-2000:])
            shown += byte


class Own(GuestTest):
    """Images of a few megabytes, with busybox in them."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.files = self.folder / "files"
        (deb,) = sources.fetch_debs(["busybox-static"], record=False).values()
        subprocess.run(["dpkg-deb", "-x", deb, self.files], check=True)
        (self.files / "bin").symlink_to("usr/bin")
        (self.files / "usr/bin/sh").symlink_to("busybox")
        (self.files / "etc").mkdir(exist_ok=True)
        (self.files / "etc/mine").write_text("yes\n")

    def ext4(self) -> Path:
        if not shutil.which("mkfs.ext4", path="/usr/sbin:/sbin:/usr/bin"):
            self.skipTest("no mkfs.ext4 here: install e2fsprogs")
        # A comma and a space: QEMU's options have their own ideas of them.
        path = self.folder / "my, disk.img"
        subprocess.run(["/sbin/mkfs.ext4", "-q", "-d", self.files, path, "8M"],
                       check=True, stdout=subprocess.DEVNULL)
        return path

    def erofs(self) -> Path:
        if not shutil.which("mkfs.erofs"):
            self.skipTest("no mkfs.erofs here: install erofs-utils")
        path = self.folder / "disk.erofs"
        subprocess.run(["mkfs.erofs", "--quiet", path, self.files], check=True,
                       stdout=subprocess.DEVNULL)
        return path

    def check(self, path: Path) -> None:
        before = digest(path)
        ran = self.boot("4k", "--image", str(path), "--", "/bin/sh", "-c",
                        "busybox cat /etc/mine; echo no >/etc/mine; "
                        "read mine </etc/mine; echo $mine")
        self.assertEqual(ran.stdout, b"yes\nno\n")
        self.assertEqual(digest(path), before)

    def test_ext4(self):
        self.check(self.ext4())

    def test_erofs(self):
        self.check(self.erofs())

    def test_qcow2(self):
        path = self.folder / "disk.qcow2"
        path.write_bytes(qcow2(self.ext4().read_bytes()))
        self.check(path)

    def test_compare(self):
        """Modes are compared in it."""
        document = self.compare("--modes", "4k,contig", "--image",
                                str(self.erofs()), "--", "toucher", "-m", "4",
                                "-r", "1000")
        for mode in document["modes"]:
            self.assertGreater(mode["counters"]["l1d-load-miss"], 100)
            line = document["command_line"][mode["mode"]]
            self.assertIn("x64k.root=/dev/vda", line[line.index("-append") + 1])

    def test_no_shell(self):
        (self.files / "usr/bin/sh").unlink()
        ran = self.boot("4k", "--image", str(self.erofs()), "--", "true",
                        status=125)
        self.assertIn("the image has no /bin/sh", ran.stderr)

    def test_no_init(self):
        ran = self.boot("4k", "--image", str(self.erofs()), "--init",
                        status=125)
        self.assertIn("the image has no /sbin/init", ran.stderr)

    def test_damaged(self):
        """Of a file system, only the superblock is right: told of, soon."""
        for path in self.erofs(), self.ext4():
            data = bytearray(path.read_bytes())
            data[2048:] = b"\xa5" * (len(data) - 2048)
            path.write_bytes(data)
            begin = time.monotonic()
            ran = self.boot("4k", "--image", str(path), "--timeout", "60",
                            "--", "true", status=125)
            self.assertIn("the image", ran.stderr)
            self.assertLess(time.monotonic() - begin, 55)


if __name__ == "__main__":
    unittest.main()
