# SPDX-License-Identifier: GPL-2.0-or-later
"""Saved guests: x64k boot --save and --load.

A snapshot is one file: a header that tells what it is of, then QEMU's
migration stream.  It is saved when the guest has booted and done its set-up,
and waits to be told what to run.  It is loaded into the same machine only:
another one would read the stream wrongly, or count something else.  The model
of the TLBs and the share come with the load, as the guest sees neither before.
"""

import argparse
import dataclasses
import fcntl
import glob
import hashlib
import json
import os
import re
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from x64k import (VERSION, attach, guest, paths, perf, qmp, runfolder, ui,
                  versions)

PLACE = paths.STATE / "snapshots"
SUFFIX = ".x64k"
MAGIC = b"x64k snapshot 1\n"
HEADER = 1 << 16            # bytes before the stream
READY = "x64k-ready"
JUST_BEGUN_S = 60           # it may not have its lock yet

# What boot's options say of the machine -> how they are written.
OPTIONS = {"mode": "--mode", "mem": "--mem", "cpus": "--cpus",
           "kernel": "--kernel", "append": "--append", "icount": "--icount",
           "cpu": "--cpu", "pmu": "--pmu", "image": "--image"}


@dataclass(frozen=True)
class Snapshot:
    path: Path
    header: dict[str, Any]

    def incoming(self) -> str:
        """For QEMU's -incoming, which takes commas as they are."""
        return f"file:{self.path},offset={HEADER}"


def path_of(text: str) -> Path:
    """As for --tlb: a name has neither a slash nor a dot."""
    if guest.is_file(text):
        return Path(text).absolute()
    return PLACE / f"{text}{SUFFIX}"


def valid_name(text: str) -> str:
    if not guest.is_file(text) and not re.fullmatch(r"[\w-]+", text):
        raise argparse.ArgumentTypeError(
            f"'{text}' is neither a name (letters, digits, - and _) nor a "
            "file, which has a slash or a dot")
    return text


def valid_target(text: str) -> str:
    """Fail before the boot, not after it."""
    path = path_of(valid_name(text))
    folder = PLACE if path.parent == PLACE else path.parent
    if path.is_dir() or (folder.exists() or folder != PLACE) and not os.access(
            folder, os.W_OK | os.X_OK):
        raise argparse.ArgumentTypeError(f"cannot write {path}")
    return text


def program(machine: guest.Machine) -> Path:
    """The emulator's binary."""
    word = str(machine.binary) if machine.binary else guest.emulator()[0]
    if not (found := shutil.which(word)):
        raise ui.X64kError(f"cannot run {word}")
    return Path(found)


def parts(machine: guest.Machine) -> dict[str, str]:
    """sha256 of each file that the saved state came from."""
    files = {"emulator": program(machine),
             "kernel": machine.image,
             "initramfs": paths.INITRAMFS}
    if machine.root:
        files["image"] = machine.root.path
    return {name: versions.sha256(path) for name, path in files.items()}


def command(machine: guest.Machine) -> list[str]:
    """The command line of every machine that this state fits."""
    plain = dataclasses.replace(machine, kernel=Path("KERNEL"), snapshot=True)
    if not machine.pmu:
        # The performance counters have the model's geometry in them.
        plain = dataclasses.replace(plain, tlb="off", coalesce=None,
                                    observe=None, verify=False)
    return plain.command(Path("INITRD"), [])


def described(args: argparse.Namespace) -> dict[str, Any]:
    """OPTIONS as they were given, or chosen."""
    known = {name: getattr(args, name) for name in OPTIONS}
    for name in ("kernel", "image"):
        if known[name] and str(known[name]) != "debian":
            known[name] = str(Path(known[name]).expanduser().absolute())
        elif known[name]:
            known[name] = "debian"
    if args.pmu:
        known["tlb"] = perf.TLB if args.tlb == "off" else args.tlb
    return known


def read(text: str) -> Snapshot:
    """The snapshot of this name, if it is whole."""
    path = path_of(text)
    try:
        with path.open("rb") as file:
            head = file.read(HEADER)
            if not head.startswith(MAGIC):
                raise ui.X64kError(f"{paths.shown(path)} is not a snapshot of "
                                   "this version of x64k")
            header = json.loads(head[len(MAGIC):])
            missing = HEADER + header["bytes"] - path.stat().st_size
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        there = sorted(found.stem for found in PLACE.glob(f"*{SUFFIX}"))
        raise ui.X64kError(
            f"there is no snapshot {paths.shown(path)}; "
            + (f"there are: {', '.join(there)}" if there else
               "`x64k boot --save NAME` makes one")) from error
    except OSError as error:
        raise ui.X64kError(f"{paths.shown(path)}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ui.X64kError(f"{paths.shown(path)} is damaged: its header "
                           "cannot be read; make it again") from error
    if missing or digest != header["sha256"]:
        how = (f"{missing:,} bytes are missing" if missing > 0 else
               "its contents are not what was saved")
        raise ui.X64kError(f"{paths.shown(path)} is damaged: {how}; make it "
                           f"again:\n  {again(header)}")
    return Snapshot(path, header)


def again(header: dict[str, Any]) -> str:
    return shlex.join(header["made_by"])


def made_by(args: argparse.Namespace) -> list[str]:
    """The command line that makes such a snapshot."""
    words = ["x64k", "boot"]
    for name, value in described(args).items():
        if value is True:
            words.append(OPTIONS[name])
        elif value not in (None, False, ""):
            words += [OPTIONS.get(name, f"--{name}"), str(value)]
    words += ["--save", args.save]
    return [*words, "--", *args.rest] if args.rest else words


def adopt(args: argparse.Namespace, saved: Snapshot) -> None:
    """The machine is the snapshot's; what ARGS say must be the same."""
    header = saved.header["machine"]
    given = described(args)
    for name, option in OPTIONS.items():
        if given[name] in (None, False):
            value = header[name]
            setattr(args, name, Path(value) if name == "kernel" and value
                    else value)
        elif given[name] != header[name]:
            was = header[name]
            raise ui.X64kError(
                f"{paths.shown(saved.path)} was saved with "
                + (f"{option} {was}" if was not in (None, False, "")
                   else f"no {option}")
                + f", not {given[name]}: leave out {option}, or make another "
                f"snapshot:\n  {again(saved.header)}")
    if args.pmu:
        if args.tlb not in ("off", header["tlb"]):
            raise ui.X64kError(
                f"{paths.shown(saved.path)} was saved with --pmu, and so with "
                f"--tlb {header['tlb']}, not {args.tlb}")
        args.tlb = header["tlb"]


def check(saved: Snapshot, machine: guest.Machine) -> None:
    """Is this the very machine that was saved?"""
    for part, digest in parts(machine).items():
        if digest != saved.header["parts"][part]:
            raise ui.X64kError(
                f"the {part} is another one than when "
                f"{paths.shown(saved.path)} was saved; make it again:\n  "
                f"{again(saved.header)}")
    was, now = saved.header["command"], command(machine)
    if was != now:
        raise ui.X64kError(
            f"{paths.shown(saved.path)} is of another machine:\n"
            f"  saved: {shlex.join(was)}\n  now:   {shlex.join(now)}\n"
            f"make it again:\n  {again(saved.header)}")


def wait_until_ready(qemu: guest.Emulator, machine: guest.Machine,
                     console: Path, follow: Callable[[], None]) -> None:
    begin = time.monotonic()
    while True:
        status = qemu.process.poll()
        follow()
        text = (console.read_text(errors="replace").replace("\r", "")
                if console.exists() else "")
        if re.search(f"^{READY}$", text, re.MULTILINE):
            return
        if status is not None or time.monotonic() - begin > machine.timeout:
            raise guest.explain(machine, console, qemu.errors, status)
        time.sleep(0.05)


def set_up(console: Path) -> None:
    """The commands before the save must have gone well."""
    for result in guest.parse_report(console.read_text(errors="replace")) or []:
        if status := result["status"]:
            raise ui.X64kError(
                f"nothing is saved, since the command ended with status "
                f"{status}\n  console log: {paths.shown(console)}", status)


def migrate(monitor: Path, stream: Path) -> None:
    """Saves the machine, and ends it."""
    with qmp.Client(monitor) as client:
        client.execute("migrate-set-parameters", **{"max-bandwidth": 1 << 40})
        client.execute("migrate", uri=f"file:{stream},offset={HEADER}")
        while True:
            state = client.execute("query-migrate")
            if state.get("status") == "completed":
                break
            if state.get("status") in ("failed", "cancelled"):
                raise ui.X64kError("the guest could not be saved: "
                                   f"{state.get('error-desc', 'no reason given')}")
            time.sleep(0.02)
        client.execute("quit")


def complete(stream: Path, machine: guest.Machine,
             args: argparse.Namespace) -> None:
    """Writes the header."""
    with stream.open("r+b") as file:
        file.seek(HEADER)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        header = {"x64k": VERSION, "bytes": file.tell() - HEADER,
                  "sha256": digest, "machine": described(args),
                  "made_by": made_by(args), "parts": parts(machine),
                  "command": command(machine)}
        text = MAGIC + json.dumps(header, indent=1).encode()
        if len(text) > HEADER:
            raise ui.X64kError("the command line is too long for a snapshot")
        file.seek(0)
        file.write(text.ljust(HEADER))


def remove_partial(target: Path) -> None:
    """What a save was writing that was killed: ours, old, and of nobody who
    is alive."""
    for path in target.parent.glob(f".{glob.escape(target.name)}.*"):
        with suppress(OSError), path.open("rb") as file:
            found = os.fstat(file.fileno())
            if (found.st_uid == os.geteuid()
                    and time.time() - found.st_mtime > JUST_BEGUN_S):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()


def save(machine: guest.Machine, args: argparse.Namespace,
         commands: list[list[bytes]], sink: Callable[[bytes], None],
         given: bytes | None = None) -> Path:
    """Boots, runs COMMANDS, and saves the guest that waits for more."""
    guest.check_kernel(machine)
    target = path_of(args.save)
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_partial(target)
    console = guest.log_path(machine.mode)
    with runfolder.new() as folder, \
            tempfile.NamedTemporaryFile(dir=target.parent,
                                        prefix=f".{target.name}.",
                                        delete=False) as new:
        stream = Path(new.name)
        initrd, output, errors, monitor = (
            folder / name for name in ("initrd", "output", "errors",
                                       "monitor"))
        with suppress(OSError):     # where there are no locks
            fcntl.flock(new, fcntl.LOCK_EX)
        try:
            guest.write_initrd(initrd, machine, commands, given)
            output.touch()
            options = [*guest.file_ports(console, output),
                       *machine.run_options(folder),
                       *attach.qmp_server(monitor)]
            with guest.Emulator(machine.command(initrd, options), errors,
                                True) as qemu, output.open("rb") as following:
                def follow() -> None:
                    if data := following.read():
                        sink(data)
                with ui.step("Booting the guest"):
                    wait_until_ready(qemu, machine, console, follow)
                set_up(console)
                with ui.step("Saving the guest"):
                    migrate(monitor, stream)
                qemu.process.wait(60)
            for line in guest.notes(console.read_text(errors="replace")):
                ui.warn(line)
            complete(stream, machine, args)
            os.replace(stream, target)
        except OSError as error:
            raise ui.X64kError(f"cannot save {paths.shown(target)}: "
                               f"{error.strerror}") from error
        finally:
            stream.unlink(missing_ok=True)
    return target
