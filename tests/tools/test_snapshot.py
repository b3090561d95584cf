# SPDX-License-Identifier: GPL-2.0-or-later
"""Snapshots without guests: what goes together, and files that are broken."""

import contextlib
import fcntl
import hashlib
import io
import json
import os
import socket
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from x64k import attach, boot, cli, snapshot, ui

MACHINE = {"mode": "contig", "mem": "1G", "cpus": 2, "kernel": None,
           "append": "", "icount": False, "cpu": None, "pmu": False,
           "image": None}


class Boot(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def parse(self, *args: str, rest: tuple[str, ...] = ()):
        parsed = cli.make_parser().parse_args(["boot", *args])
        parsed.rest = list(rest)
        return parsed

    def refused(self, *args: str) -> str:
        with (contextlib.redirect_stderr(io.StringIO()) as said,
              self.assertRaises(SystemExit) as caught):
            self.parse(*args)
        self.assertEqual(caught.exception.code, 2)
        return said.getvalue()


class Options(Boot):
    def test_what_does_not_go_together(self):
        file = self.folder / "initrd"
        file.touch()
        initrd = ("--initrd", str(file))
        for args, rest, word in (
                ((), (), "--mode, or --load"),
                (("--mode", "4k", *initrd), ("true",), "--initrd"),
                (("--mode", "4k", *initrd, "--save", "x"), (), "--initrd"),
                (("--load", "x", *initrd), (), "--initrd"),
                (("--mode", "4k", *initrd, "--image", "debian"), (),
                 "--initrd"),
                (("--mode", "4k", "--image", "debian", "--init", "--save",
                  "x"), (), "--init"),
                (("--mode", "4k", "--save", "x", "--gdb"), (), "--gdb"),
                (("--mode", "4k", "--save", "x", "--tlb", "skylake"), (),
                 "give --tlb with --load")):
            with self.subTest(args), self.assertRaises(ui.X64kError) as caught:
                boot.refuse(self.parse(*args, rest=rest))
            self.assertEqual(caught.exception.status, 2)
            self.assertIn(word, str(caught.exception))
        self.assertIn("not allowed with", self.refused("--save", "x",
                                                       "--load", "x"))

    def test_left_behind(self):
        """By a save that was killed: taken away, but not what is in use, or
        has just begun."""
        target = self.folder / "base.x64k"
        for name in ("base.x64k", ".base.x64k.dead", ".base.x64k.alive",
                     ".base.x64k.new", ".other.x64k.dead"):
            path = self.folder / name
            path.write_text("")
            if not name.endswith("new"):
                os.utime(path, (1, 1))
        with (self.folder / ".base.x64k.alive").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            snapshot.remove_partial(target)
        self.assertEqual(sorted(os.listdir(self.folder)), [
            ".base.x64k.alive", ".base.x64k.new", ".other.x64k.dead",
            "base.x64k"])

    def test_share(self):
        file = self.folder / "file"
        file.touch()
        for bad in f"{self.folder}/none", f"{file}:ro", "":
            self.assertIn("--share", self.refused("--share", bad))
        self.assertEqual(self.parse("--share", str(self.folder)).share,
                         attach.Share(self.folder, True))
        self.assertEqual(self.parse("--share", f"{self.folder}:ro").share,
                         attach.Share(self.folder, True))
        self.assertEqual(self.parse("--share", f"{self.folder}:rw").share,
                         attach.Share(self.folder, False))

    def test_share_with_a_comma(self):
        option = attach.share_folder(attach.Share(Path("/a,b"), False),
                                     Path("/e"))[1]
        self.assertIn("path=/a,,b,", option)
        self.assertIn("readonly=off", option)

    def test_gdb(self):
        self.assertIsNone(self.parse("--mode", "4k").gdb)
        self.assertEqual(self.parse("--gdb").gdb, 0)
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = str(taken.getsockname()[1])
            self.assertIn(f"port {port}: Address already in use",
                          self.refused("--gdb", port))
        for bad in "0", "65536", "x":
            self.assertIn("not a TCP port", self.refused("--gdb", bad))

    def test_gdb_has_all_day(self):
        for args, seconds in (([], 600), (["--gdb"], float("inf")),
                              (["--gdb", "--timeout", "7"], 7)):
            parsed = self.parse(*args)
            boot.complete(parsed)
            self.assertEqual(parsed.timeout, seconds)

    def test_qmp(self):
        path = self.folder / "socket"
        self.assertEqual(self.parse("--qmp", str(path)).qmp, path)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
            server.listen()
            self.assertIn("in use", self.refused("--qmp", str(path)))
        # The socket is still there; nobody listens.
        self.assertEqual(self.parse("--qmp", str(path)).qmp, path)
        file = self.folder / "file"
        file.touch()
        for bad, word in ((file, "no socket"), (self.folder / "no/s", "cannot"),
                          (self.folder / ("x" * 120), "too long")):
            self.assertIn(word, self.refused("--qmp", str(bad)))

    def test_names(self):
        for bad in "a b", "", "ü,", "a:b":
            self.assertIn("--load", self.refused("--load", bad))
            self.assertIn("--save", self.refused("--save", bad))
        self.assertIn("cannot write", self.refused("--save", "/nonexistent/x"))
        self.assertIn("cannot write", self.refused("--save", f"{self.folder}/"))
        self.assertEqual(snapshot.path_of("x").name, "x.x64k")
        self.assertEqual(snapshot.path_of("/a/x"), Path("/a/x"))

    def test_initrd(self):
        self.assertIn("--initrd", self.refused("--initrd", str(self.folder)))


class File(Boot):
    def write(self, stream: bytes = b"stream" * 100, **changes) -> str:
        path = self.folder / "snapshot.x64k"
        header = {"bytes": len(stream), "machine": MACHINE,
                  "sha256": hashlib.sha256(stream).hexdigest(),
                  "made_by": ["x64k", "boot", "--mode", "contig", "--save",
                              "it"]} | changes
        text = snapshot.MAGIC + json.dumps(header).encode()
        path.write_bytes(text.ljust(snapshot.HEADER) + stream)
        return str(path)

    def read_refused(self, text: str) -> str:
        with self.assertRaises(ui.X64kError) as caught:
            snapshot.read(text)
        return str(caught.exception)

    def test_whole(self):
        path = self.write()
        self.assertEqual(snapshot.read(path).incoming(),
                         f"file:{path},offset=65536")

    def test_cut_off(self):
        whole = Path(self.write()).read_bytes()
        path = self.folder / "cut.x64k"
        for length in (0, 5, len(snapshot.MAGIC), 40, 200, 65535, 65536,
                       len(whole) - 1):
            path.write_bytes(whole[:length])
            message = self.read_refused(str(path))
            self.assertRegex(message, "is not a snapshot|is damaged")
        self.assertIn("1 bytes are missing", message)
        self.assertIn("x64k boot --mode contig --save it", message)

    def test_one_bit(self):
        path = Path(self.write())
        data = bytearray(path.read_bytes())
        data[-7] ^= 4
        path.write_bytes(data)
        self.assertIn("not what was saved", self.read_refused(str(path)))

    def test_something_else(self):
        path = self.folder / "x.x64k"
        path.write_bytes(b"\x7fELF" * 50000)
        self.assertIn("not a snapshot", self.read_refused(str(path)))
        self.assertIn("directory", self.read_refused(f"{self.folder}/"))

    def test_not_there(self):
        with mock.patch.object(snapshot, "PLACE", self.folder):
            self.assertIn("--save NAME", self.read_refused("x"))
            self.write()
            self.assertIn("there are: snapshot", self.read_refused("x"))

    def test_what_was_not_said_is_what_was_saved(self):
        saved = snapshot.read(self.write())
        args = self.parse("--load", "x", "--tlb", "zen4")
        snapshot.adopt(args, saved)
        boot.complete(args)
        self.assertEqual((args.mode, args.mem, args.cpus, args.tlb),
                         ("contig", "1G", 2, "zen4"))

    def test_another_machine(self):
        saved = snapshot.read(self.write())
        for option, value in (("--mode", "4k"), ("--mem", "512M"),
                              ("--cpus", "1"), ("--append", "x"),
                              ("--kernel", "/x"), ("--cpu", "EPYC")):
            args = self.parse("--load", "x", option, value)
            with self.assertRaises(ui.X64kError) as caught:
                snapshot.adopt(args, saved)
            message = str(caught.exception)
            self.assertIn(f"{option}", message)
            self.assertIn("x64k boot --mode contig --save it", message)
        for flag in "--icount", "--pmu":
            with self.assertRaisesRegex(ui.X64kError, f"with no {flag}"):
                snapshot.adopt(self.parse("--load", "x", flag), saved)

    def test_pmu_keeps_its_model(self):
        saved = snapshot.read(self.write(machine=MACHINE | {
            "pmu": True, "tlb": "zen3"}))
        args = self.parse("--load", "x")
        snapshot.adopt(args, saved)
        self.assertEqual(args.tlb, "zen3")
        with self.assertRaisesRegex(ui.X64kError, "--tlb zen3, not zen4"):
            snapshot.adopt(self.parse("--load", "x", "--tlb", "zen4"), saved)


class Machine(Boot):
    """The command line that a saved state fits."""

    def command(self, *args: str) -> list[str]:
        parsed = self.parse("--mode", "4k", *args)
        boot.complete(parsed)
        return snapshot.command(boot.machine_of(parsed))

    def test_what_may_differ(self):
        base = self.command()
        for args in (["--tlb", "zen4"], ["--share", str(self.folder)],
                     ["--tlb", "zen4", "--tlb-verify"], ["--timeout", "5"],
                     ["--qmp", str(self.folder / "q")], ["--gdb"]):
            self.assertEqual(self.command(*args), base, args)

    def test_what_may_not(self):
        base = self.command()
        for args in (["--mem", "1G"], ["--cpus", "2"], ["--append", "x"],
                     ["--icount"], ["--cpu", "EPYC"], ["--pmu"]):
            self.assertNotEqual(self.command(*args), base, args)


if __name__ == "__main__":
    unittest.main()
