# SPDX-License-Identifier: GPL-2.0-or-later
"""x64k boot for kernel developers: kernels of their own, shared folders, gdb,
QMP, and guests that are saved and loaded."""

import hashlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

from support import (ENVIRONMENT, ROOT, X64K, GuestTest, Terminal,
                     emulators_of, start)

from x64k import cpio, paths, qmp, snapshot

TREE = ROOT / "build/linux"         # an object directory, as make O= makes


class Folder(GuestTest):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)


class Kernel(Folder):
    def test_tree(self):
        """Four processors; the modes mean what they say."""
        ran = self.boot("contig", "--kernel", str(TREE), "--cpus", "4", "--",
                        "sh", "-c", "nproc; cat /proc/cmdline; "
                        "grep -c x64k_contig /proc/cpuinfo")
        cpus, line, marked = ran.stdout.decode().splitlines()
        self.assertEqual((cpus, marked), ("4", "4"))
        self.assertIn("nokaslr mitigations=off", line)
        self.assertNotIn("warning", ran.stderr)

    def test_bzimage(self):
        ran = self.boot("emulated", "--kernel", "build/guest/bzImage", "--",
                        "cat", "/sys/kernel/mm/transparent_hugepage/"
                        "hugepages-64kB/enabled")
        self.assertIn(b"[always]", ran.stdout)

    def test_tree_that_lacks_something(self):
        """Told before the boot."""
        (self.folder / "vmlinux").symlink_to(paths.VMLINUX)
        config = (TREE / ".config").read_text()
        (self.folder / ".config").write_text(
            config.replace("CONFIG_DEVTMPFS=y", "# CONFIG_DEVTMPFS is not set"))
        ran = self.boot("4k", "--kernel", str(self.folder), "--", "true",
                        status=125)
        self.assertIn("CONFIG_DEVTMPFS=y (/dev)", ran.stderr)
        self.assertNotIn("console log", ran.stderr)

    def test_debian(self):
        """It knows no hint, which is said once."""
        ran = self.boot("contig", "--kernel", "debian", "--", "uname", "-r")
        self.assertRegex(ran.stdout, rb"^6\.12\.\d+\+deb13-amd64\n$")
        self.assertEqual(ran.stderr.count("does not know the contiguity hint"),
                         1)

    def test_initrd(self):
        """An initramfs of one's own, on the console."""
        initrd = self.folder / "initrd"
        busybox = self.busybox()
        with initrd.open("wb") as file:
            archive = cpio.Archive(file)
            archive.device("dev/console", 5, 1)
            archive.file("bin/busybox", busybox, True)
            archive.file("init", b"#!/bin/busybox sh\necho mine all mine\n"
                         b"/bin/busybox poweroff -f\n", True)
            archive.finish()
        ran = self.boot("4k", "--initrd", str(initrd))
        self.assertIn(b"mine all mine", ran.stdout)

    def busybox(self) -> bytes:
        """That of our initramfs."""
        data = paths.INITRAMFS.read_bytes()
        found = re.search(rb"070701[0-9a-f]{48}([0-9a-f]{8})[0-9a-f]{48}"
                          rb"usr/bin/busybox\0", data)
        begin = found.end() + -(found.end() - found.start()) % 4
        return data[begin:begin + int(found[1], 16)]


class Share(Folder):
    def test_both_ways(self):
        (self.folder / "in").write_text("from the host\n")
        ran = self.boot("4k", "--share", f"{self.folder}:rw", "--", "sh", "-c",
                        "cat /mnt/share/in; echo from the guest "
                        ">/mnt/share/out; mkdir /mnt/share/new")
        self.assertEqual(ran.stdout, b"from the host\n")
        self.assertEqual((self.folder / "out").read_text(), "from the guest\n")
        self.assertTrue((self.folder / "new").is_dir())

    def test_readonly(self):
        """Unless it is said otherwise."""
        (self.folder / "in").write_text("from the host\n")
        ran = self.boot("4k", "--share", str(self.folder), "--", "sh", "-c",
                        "cat /mnt/share/in; rm /mnt/share/in; "
                        "echo x >/mnt/share/out", status=1)
        self.assertIn(b"from the host\n", ran.stdout)
        self.assertIn(b"Read-only", ran.stdout)
        self.assertEqual(os.listdir(self.folder), ["in"])

    def test_a_program_of_the_hosts(self):
        """What compare is for: it runs from the share, in each mode."""
        source = self.folder / "p.c"
        source.write_text("int main(void) { return 0; }\n")
        subprocess.run(["gcc", "-static", "-o", self.folder / "p", source],
                       check=True)
        document = self.compare("--share", str(self.folder), "--modes",
                                "4k", "--cpus", "2", "--", "/mnt/share/p")
        self.assertGreater(document["modes"][0]["counters"]["l1d-load-miss"],
                           0)


class Gdb:
    """As much of gdb's protocol as is needed."""

    def __init__(self, connection: socket.socket):
        self.connection = connection
        connection.settimeout(30)

    def send(self, text: str) -> None:
        self.connection.sendall(f"${text}#{sum(text.encode()) % 256:02x}"
                                .encode())

    def answer(self) -> str:
        data = b""
        while not (found := re.search(rb"\$([^#]*)#..", data)):
            data += self.connection.recv(4096)
        self.connection.sendall(b"+")
        return found[1].decode()


class Debugger(Folder):
    def debug(self, *option: str):
        """Starts a guest that waits; yields it, and where gdb connects to."""
        process = start("boot", "--mode", "4k", "--gdb", *option, "--", "echo",
                        "ran")
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.assertIn(b"waits for gdb", process.stderr.readline())
        line = shlex.split(process.stderr.readline().decode())
        self.assertEqual(line[:3], ["gdb", str(paths.VMLINUX), "-ex"])
        return process, line[3].removeprefix("target remote ")

    def attach(self, family: int, address) -> Gdb:
        for _ in range(200):
            connection = socket.socket(family)
            if not connection.connect_ex(address):
                self.addCleanup(connection.close)
                return Gdb(connection)
            connection.close()
            time.sleep(0.05)
        self.fail(f"nobody listens on {address}")

    def detach(self, process, gdb: Gdb):
        """It has not run an instruction, and runs as soon as it may."""
        gdb.send("?")
        self.assertRegex(gdb.answer(), "^T05")
        self.assertIsNone(process.poll())
        gdb.send("D")
        self.assertEqual(gdb.answer(), "OK")
        out, err = process.communicate(timeout=60)
        self.assertEqual((out, process.returncode), (b"ran\n", 0), err)

    def test_socket(self):
        process, path = self.debug()
        self.detach(process, self.attach(socket.AF_UNIX, path))
        self.assertFalse(os.path.exists(path))

    def test_port(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        process, where = self.debug(str(port))
        self.assertEqual(where, f"127.0.0.1:{port}")
        self.detach(process, self.attach(socket.AF_INET, ("127.0.0.1", port)))


class Qmp(Folder):
    def test_status(self):
        path = self.folder / "qmp"
        with start("boot", "--mode", "4k", "--tlb", "zen4", "--qmp", str(path),
                   "--", "sh", "-c", "echo ready; sleep 1000") as process:
            try:
                self.assertEqual(process.stdout.readline(), b"ready\n")
                with qmp.Client(path) as client:
                    self.assertEqual(client.execute("query-status")["status"],
                                     "running")
                    self.assertTrue(client.execute(
                        "query-stats", target="vcpu",
                        providers=[{"provider": "hwtlb"}]))
            finally:
                process.terminate()
                process.communicate()
        self.assertEqual(emulators_of(process.pid), [])


class Snapshot(Folder):
    @classmethod
    def setUpClass(cls):
        place = tempfile.TemporaryDirectory()
        cls.addClassCleanup(place.cleanup)
        cls.saved = Path(place.name, "base.x64k")
        subprocess.run([*X64K, "boot", "--mode", "contig", "--save", cls.saved,
                        "--", "sh", "-c", "echo prepared >/tmp/file"],
                       env=ENVIRONMENT, cwd=ROOT, check=True)

    def load(self, *args: str, saved: Path | None = None, status: int = 0):
        return self.x64k("boot", "--load", str(saved or self.saved), *args,
                         status=status)

    def test_any_model(self):
        """What was set up is there; the model is the load's."""
        for model in "skylake", "zen4":
            ran = self.load("--tlb", model, "--", "tlbstat", "cat",
                            "/tmp/file", "/x64k/mode")
            self.assertTrue(ran.stdout.startswith(b"prepared\ncontig\n"))
            self.assertRegex(ran.stdout, rb"\s[1-9]\d*  l1d-load-miss\n")
        self.assertRegex(self.load("--", "tlbstat", "true").stdout,
                         rb"no counter device")

    def test_the_hint_counts(self):
        ran = self.load("--tlb", "skylake", "--", "tlbstat", "-j", "toucher",
                        "-m", "4")
        counters = json.loads(ran.stdout.splitlines()[-1])["counters"]
        self.assertGreaterEqual(counters["contig-well-formed"], 64)

    def test_share(self):
        (self.folder / "in").write_text("from the host\n")
        ran = self.load("--share", str(self.folder), "--", "cat",
                        "/mnt/share/in")
        self.assertEqual(ran.stdout, b"from the host\n")

    def test_statuses(self):
        self.load("--", "sh", "-c", "exit 7", status=7)
        self.assertIn("did not end within",
                      self.load("--timeout", "4", "--", "sleep", "1000",
                                status=124).stderr)

    def test_shell(self):
        with Terminal("boot", "--load", str(self.saved)) as terminal:
            terminal.until(b"# ")
            terminal.write(b"echo $((6 * 7)) is $(cat /tmp/file); exit 3\n")
            terminal.until(b"42 is prepared")
            terminal.until(b"Power down")
            self.assertEqual(terminal.process.wait(30), 3)

    def test_script(self):
        out = self.script(b"cat /tmp/file; exit 3\n", "--load",
                          str(self.saved), status=3)
        self.assertEqual(out, b"prepared\n")

    def test_equal_counts(self):
        """Two loads of a deterministic guest count the same, to the last
        counter and the last nanosecond."""
        saved = self.folder / "icount.x64k"
        self.boot("contig", "--icount", "--save", str(saved))
        first, second = (
            self.load("--tlb", "skylake", "--", "tlbstat", "-j", "toucher",
                      "-m", "8", saved=saved).stdout for _ in range(2))
        self.assertEqual(first, second)
        self.assertGreater(json.loads(first.splitlines()[-1])
                           ["counters"]["l1d-load-miss"], 1000)

    def test_set_up_in_the_share(self):
        """It is not saved, and may be another one when loaded."""
        saved = self.folder / "s.x64k"
        (self.folder / "in").write_text("data\n")
        self.boot("4k", "--share", str(self.folder), "--save", str(saved),
                  "--", "cp", "/mnt/share/in", "/tmp")
        self.assertEqual(self.load("--", "cat", "/tmp/in", saved=saved).stdout,
                         b"data\n")

    def test_set_up_that_fails(self):
        target = self.folder / "s.x64k"
        ran = self.boot("4k", "--save", str(target), "--", "sh", "-c",
                        "echo why; exit 9", status=9)
        self.assertEqual(ran.stdout, b"why\n")
        self.assertIn("nothing is saved", ran.stderr)
        self.assertEqual(os.listdir(self.folder), [])

    def test_other_machines(self):
        for option, value in (("--mode", "4k"), ("--mem", "1G"),
                              ("--cpus", "2"), ("--kernel", str(TREE))):
            ran = self.load(option, value, "--", "true", status=125)
            self.assertIn(f"leave out {option}", ran.stderr)
            self.assertIn("x64k boot --mode contig", ran.stderr)

    def test_another_emulator(self):
        other = self.folder / "qemu-system-x86_64"
        other.write_bytes(paths.QEMU.read_bytes() + b"\0")
        other.chmod(0o755)
        ran = subprocess.run(
            [*X64K, "boot", "--load", self.saved, "--", "true"], cwd=ROOT,
            env=ENVIRONMENT | {"X64K_QEMU": str(other)}, capture_output=True,
            text=True)
        self.assertEqual(ran.returncode, 125)
        self.assertIn("the emulator is another one", ran.stderr)

    def test_broken(self):
        data = bytearray(self.saved.read_bytes())
        broken = self.folder / "broken.x64k"
        broken.write_bytes(data[:-1000])
        self.assertIn("1,000 bytes are missing",
                      self.load("--", "true", saved=broken, status=125).stderr)
        data[len(data) // 2] ^= 1
        broken.write_bytes(data)
        self.assertIn("not what was saved",
                      self.load("--", "true", saved=broken, status=125).stderr)

    def test_broken_before_it_was_saved(self):
        """QEMU itself finds out, and does not hang."""
        broken = self.folder / "broken.x64k"
        whole = snapshot.read(str(self.saved))
        stream = self.saved.read_bytes()[snapshot.HEADER:-200000]
        header = whole.header | {"bytes": len(stream), "sha256":
                                 hashlib.sha256(stream).hexdigest()}
        broken.write_bytes((snapshot.MAGIC + json.dumps(header).encode())
                           .ljust(snapshot.HEADER) + stream)
        ran = self.load("--", "true", saved=broken, status=125)
        self.assertIn("load of migration failed", ran.stderr)

    def test_ctrl_c(self):
        """Nothing runs on, and there is no half of a snapshot."""
        with start("boot", "--mode", "4k", "--save", str(self.folder / "s.x64k"),
                   "--", "sh", "-c", "echo ready; sleep 1000") as process:
            try:
                self.assertEqual(process.stdout.readline(), b"ready\n")
                self.assertEqual(len(list(self.folder.iterdir())), 1)
                process.send_signal(signal.SIGINT)
                process.communicate(timeout=30)
            finally:
                process.kill()
        self.assertEqual(process.returncode, 130)
        self.assertEqual(emulators_of(process.pid), [])
        self.assertEqual(os.listdir(self.folder), [])

    def test_disk_full(self):
        """What was there before is there after."""
        target = self.folder / "s.x64k"
        target.write_bytes(b"of before")
        ran = subprocess.run(
            ["sh", "-c", "ulimit -f 70000; trap '' XFSZ; exec \"$@\"", "sh",
             *X64K, "boot", "--mode", "4k", "--save", target], cwd=ROOT,
            env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
        self.assertEqual(ran.returncode, 125, ran.stderr)
        self.assertIn("could not be saved", ran.stderr)
        self.assertEqual(target.read_bytes(), b"of before")
        self.assertEqual(os.listdir(self.folder), ["s.x64k"])


if __name__ == "__main__":
    unittest.main()
