# SPDX-License-Identifier: GPL-2.0-or-later
"""Starts a guest, follows it, and brings back its report.

The guest never waits for the host: both serial ports write into files which
are followed from here, so how fast the host reads cannot change what the
guest does.  docs/guest.md describes the protocol with the guest's init."""

import argparse
import hashlib
import itertools
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from x64k import (attach, cpio, disk, kernels, paths, perf, runfolder, stdin,
                  ui)

PANIC, TIMEOUT, FAILED = 123, 124, 125

MEM = "512M"
TIMEOUT_S = 600.0
LEAST_ROOM = 1 << 16        # bytes; with less, a disk counts as full

FOLIOS_64K = "thp_anon=64K:always"


@dataclass(frozen=True)
class Mode:
    append: str     # kernel line
    cpu: str        # CPU properties
    meaning: str
    page_size: int = 4096   # of the kernel

    @property
    def kernel(self) -> Path:
        return (paths.VMLINUX if self.page_size == 4096
                else paths.NATIVE_VMLINUX)


MODES = {
    "4k": Mode("", "", "4 KB pages only"),
    "emulated": Mode(FOLIOS_64K, "", "64 KB folios on plain 4 KB hardware"),
    "contig": Mode(FOLIOS_64K, ",x64k-contig=on",
                   "64 KB folios, contiguity hint on"),
    "process64k": Mode("", "", "64 KB pages for the command, by prctl"),
    "process64k+contig": Mode("", ",x64k-contig=on",
                              "the same, contiguity hint on"),
    "system64k": Mode("page_size=64K", "",
                      "64 KB pages for all processes, by page_size="),
    "system64k+contig": Mode("page_size=64K", ",x64k-contig=on",
                             "the same, contiguity hint on"),
    "native": Mode("", ",x64k-leaf=on",
                   "64 KB pages of the kernel, leaf tables", 65536),
}
# What compare and demo do if nothing is said, as far as the kernel has such
# pages: each costs a boot.
DEFAULT_MODES = ("4k", "emulated", "contig", "native")

# oops=panic: a guest that is no longer right must not go on to be measured.
# norandmaps: equal addresses in all modes, so that counts can be compared.
KERNEL_LINE = ("console=ttyS0 panic=-1 oops=panic norandmaps "
               "transparent_hugepage=never")

# The TSC is the virtual clock in ticks of this frequency, which is what
# --icount makes of it anyway; and one of the kind is the local APIC's timer.
TSC_HZ = 1_000_000_000
CLOCK_CPU = f",tsc-frequency={TSC_HZ},invtsc=on,tsc-deadline=on"
# What Linux is to take from there, instead of measuring one clock by another,
# which goes wrong while the host is busy.
CLOCK = f"tsc_early_khz={TSC_HZ // 1000} tsc=reliable"
# That it has a clock is not to be checked either: on a busy host ticks may
# come too late for that.
NO_CHECK = "no_timer_check"

# Of other kernels: equal addresses in two boots, and, since the virtual
# processor does not speculate, nothing that is done because others do.
OTHER_KERNELS = "nokaslr mitigations=off"

KERNEL_COMPLAINTS = re.compile(
    r"WARNING:|BUG:|Oops:|general protection fault|Call Trace|"
    r"(?:soft|hard) lockup|detected stalls|Bad page|Kernel panic")


@dataclass
class Machine:
    mode: str
    tlb: str = "off"
    mem: str = MEM
    cpus: int = 1
    kernel: Path | None = None
    append: str = ""
    timeout: float = TIMEOUT_S
    icount: bool = False
    seed: int = 1
    coalesce: int | None = None     # what the preset says
    observe: str | None = None
    verify: bool = False
    cpu: str = "max"
    pmu: bool = False               # and perf in the guest
    memory: bool = False            # look at processes when the command ends
    root: disk.Disk | None = None   # else the initramfs
    binary: Path | None = None      # another emulator than ours
    options: tuple[str, ...] = ()   # more for its command line
    own: kernels.Kernel | None = None        # what `kernel` is of, if not ours
    initrd: Path | None = None      # instead of ours; it runs no commands
    share: attach.Share | None = None
    gdb: int | None = None          # port, or 0
    qmp: Path | None = None
    snapshot: bool = False          # has what a saved guest needs
    incoming: str | None = None     # the saved guest that it is

    @property
    def image(self) -> Path:
        """The kernel: the user's, or ours of the mode."""
        return self.kernel or MODES[self.mode].kernel

    def tlb_properties(self) -> str:
        """TLB is a preset, or the path of a configuration file."""
        if self.tlb == "off":
            return ""
        if is_file(self.tlb):
            # A comma is doubled in QEMU's options.
            path = os.path.abspath(self.tlb).replace(",", ",,")
            text = f",hwtlb-config={path}"
        else:
            text = f",hwtlb={self.tlb}"
        if self.coalesce is not None:
            text += f",hwtlb-coalesce={self.coalesce}"
        if self.observe:
            text += f",hwtlb-observe={self.observe}"
        if self.verify:
            text += ",hwtlb-verify=on"
        return text

    def run_options(self, folder: Path) -> list[str]:
        """What is of one run only; FOLDER goes when it ends."""
        options = []
        if self.share or self.snapshot:
            (folder / "empty").mkdir()
            options += attach.share_folder(self.share, folder / "empty")
        if self.gdb is not None:
            symbols = self.own.symbols if self.own else self.image
            options += attach.gdb_stub(self.gdb, folder, symbols)
        if self.qmp:
            options += attach.qmp_server(self.qmp)
        if self.incoming:
            options += ["-fw_cfg", "name=opt/x64k/run,file="
                        + attach.quoted(folder / "initrd"),
                        "-incoming", self.incoming]
        return options

    def command(self, initrd: Path, ports: list[str]) -> list[str]:
        """The emulator's command line, without a run's own details."""
        mode = MODES[self.mode]
        tlb = self.tlb_properties()
        pmu = ",x64k-pmu=on" if self.pmu else ""
        root = self.root.append() if self.root else ""
        program = [str(self.binary)] if self.binary else emulator()
        known = knows_clock(program)
        line = " ".join(filter(None, (
            KERNEL_LINE, NO_CHECK, CLOCK if known else "", mode.append, root,
            self.append)))
        command = [
            *program, "-nodefaults", "-no-user-config", "-display", "none",
            "-no-reboot", "-machine", "pc", "-accel", "tcg",
            "-cpu", f"{self.cpu}{CLOCK_CPU if known else ''}{tlb}{mode.cpu}{pmu}",
            "-smp", str(self.cpus), "-m", self.mem,
            "-kernel", str(self.image),
            "-initrd", str(initrd), "-append", line, *ports]
        if self.root:
            command += self.root.options()
        # A saved guest may be loaded with a model, and with a share.
        if self.snapshot:
            command += ["-device", "hwtlb-pci,without-model=on"]
        elif tlb:
            command += ["-device", "hwtlb-pci"]
        if self.share or self.snapshot:
            command += attach.share_device()
        if self.verify:
            command += ["-d", "guest_errors"]
        if self.icount:
            # Time is the number of instructions, and so is everything that
            # follows from it.
            command += ["-icount", "shift=0,sleep=off",
                        "-rtc", "base=2026-01-01T00:00:00,clock=vm",
                        "-seed", str(self.seed)]
        return [*command, *self.options]


@dataclass
class Outcome:
    results: list[dict[str, Any]]   # one report of tlbstat for each command
    console: Path
    host_s: float                   # from power-on to power-off
    complaints: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # of the guest's init


def is_file(tlb: str) -> bool:
    """Presets have neither a slash nor a dot in their names."""
    return "/" in tlb or "." in tlb


def emulator() -> list[str]:
    """X64K_QEMU may name another emulator, with options of its own."""
    if named := os.environ.get("X64K_QEMU"):
        return shlex.split(named)
    return [str(paths.QEMU)]


def knows_clock(program: list[str]) -> bool:
    """Is it one of our emulators, or runs it one?  Others ignore CLOCK_CPU:
    their TSC has whatever frequency the host's has, and nobody knows it."""
    def ours(word: str) -> bool:
        path = Path(word).absolute()
        return path.name.startswith("qemu-") and any(
            path.is_relative_to(place)
            and "stock" not in path.relative_to(place).parts
            for place in (paths.BIN, paths.BUILD))
    return any(map(ours, program))


def tail(text: str, lines: int = 8) -> str:
    kept = [line for line in text.splitlines() if line.strip()][-lines:]
    return "".join(f"\n    {line}" for line in kept)


def write_initrd(out: Path, machine: Machine, commands: list[list[bytes]],
                 given: bytes | None = None) -> None:
    """The initramfs, followed by an archive with what this run shall do: the
    archive only, if the guest is loaded.  GIVEN is what commands read."""
    if not paths.INITRAMFS.exists():
        raise ui.X64kError(f"no guest image at {paths.INITRAMFS}; "
                           "`x64k build` makes it")
    with out.open("wb") as image:
        if not machine.incoming:
            image.write(paths.INITRAMFS.read_bytes())
            if machine.pmu and not machine.root:    # an image has its own
                image.write(perf.archive().read_bytes())
        archive = cpio.Archive(image)
        archive.file("x64k/mode", machine.mode.encode() + b"\n")
        if machine.memory:
            archive.file("x64k/memory", b"")
        if machine.cpus > 1:
            archive.file("x64k/cpus", f"{machine.cpus}\n".encode())
        if machine.share:
            archive.file("x64k/share", b"")
        if machine.snapshot and not machine.incoming:
            archive.file("x64k/save", b"")
        for number, argv in enumerate(commands):
            data = b"".join(word + b"\0" for word in argv)
            archive.file(f"x64k/commands/{number:03}/argv", data)
            if given:
                archive.file(f"x64k/commands/{number:03}/input", given)
        archive.file("x64k/whole", b"")
        archive.finish()


_runs = itertools.count()


def log_path(mode: str) -> Path:
    paths.LOGS.mkdir(parents=True, exist_ok=True)
    now = time.strftime("%Y%m%d-%H%M%S")
    return paths.LOGS / f"guest-{now}-{os.getpid()}-{next(_runs)}-{mode}.log"


def parse_report(console: str) -> list[dict[str, Any]] | None:
    """What the guest reported, or None if it never came to that."""
    text = console.replace("\r", "")
    begin = re.search(r"^x64k-report begin (\d+) ([0-9a-f]{64})\n", text,
                      re.MULTILINE)
    if not begin:
        return None
    payload = text[begin.end():].encode()[:int(begin[1])]
    if hashlib.sha256(payload).hexdigest() != begin[2]:
        return None
    return json.loads(payload)


class Emulator:
    """A running emulator that ends with us, however we end."""

    def __init__(self, command: list[str], errors: Path, own_group: bool):
        # setpriv: even a kill -9 of this process takes the emulator along.
        # Its own process group: Ctrl-C is for us, who then end it in order.
        try:
            with errors.open("wb") as stderr:
                self.process = subprocess.Popen(
                    ["setpriv", "--pdeathsig", "KILL", "--", *command],
                    stdin=subprocess.DEVNULL if own_group else None,
                    stdout=stderr if own_group else None, stderr=stderr,
                    process_group=0 if own_group else None)
        except FileNotFoundError as error:
            raise ui.X64kError(f"cannot run {error.filename}") from error
        self.errors = errors

    def __enter__(self) -> "Emulator":
        return self

    def __exit__(self, *_) -> None:
        # A second Ctrl-C must not cut this short.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            if self.process.poll() is None:
                self.process.kill()
            self.process.wait()
        finally:
            signal.signal(signal.SIGINT, before)


def check_mode(mode: str, cpu: str, append: str) -> None:
    """Whether what the user says of processor and kernel line lets it be."""
    for needed in MODES[mode].cpu.split(",")[1:]:
        name = needed.partition("=")[0]
        for said in cpu.split(",")[1:]:
            if said.lstrip("+-").partition("=")[0] == name and said not in (
                    needed, f"+{name}"):
                raise ui.X64kError(f"mode {mode} needs {needed}, and --cpu "
                                   f"says {said}", 2)
    if MODES[mode].page_size != 4096 and (
            said := re.search(r"(?:^|\s)(page_size=\S*)", append)):
        raise ui.X64kError(f"mode {mode} has one page size, and its kernel "
                           f"does not know {said[1]}: leave it out", 2)


def linked_for_4k(args: argparse.Namespace) -> str:
    """What of a guest is Debian's, whose loader wants pages of 4 KB."""
    return ("--image debian" if args.image == "debian" else
            "--pmu" if getattr(args, "pmu", False) else "")


def check_page_size(mode: str, image: Path) -> None:
    """Of a kernel of the user's own."""
    wanted, found = MODES[mode].page_size, kernels.page_size(image)
    if found == wanted:
        return
    shown = paths.shown(image)
    raise ui.X64kError(
        f"mode {mode} needs a kernel with CONFIG_{kernels.NATIVE}=y, "
        f"and {shown} has pages of {found >> 10} KB" if wanted > found else
        f"{shown} has pages of {found >> 10} KB (CONFIG_{kernels.NATIVE}): "
        "only mode native boots it", 2)


def check_kernel(machine: Machine) -> None:
    if not machine.image.is_file():
        raise ui.X64kError(f"no guest kernel at {paths.shown(machine.image)}")
    # It would stop in silence, or never.
    if stdin.megabytes(machine.mem) < (least := least_mb(machine)):
        raise ui.X64kError(f"--mem {machine.mem} is too little: kernel and "
                           f"initramfs alone need {least} MB", 2)
    if not machine.own:
        return
    wanted = kernels.CONSOLE
    if not machine.initrd:
        wanted = wanted | kernels.OURS
        if MODES[machine.mode].append:
            wanted = wanted | kernels.FOLIOS
        if machine.share:
            wanted = wanted | kernels.SHARE
        if machine.snapshot:
            wanted = wanted | kernels.SNAPSHOT
    if machine.cpus > 1:
        wanted = wanted | kernels.SMP
    kernels.check(machine.own, wanted)


# What the emulator says of options that are its own to know.
REFUSED = re.compile(r"^\S+: (hwtlb[\w-]*=.*|unable to find CPU model .*)",
                     re.MULTILINE)
# Of an emulator that is not ours.
NO_PROPERTY = re.compile(r"Property '[\w-]+\.(x64k-[\w-]+)' not found")
# Of a kernel with 64 KB pages, which then halts.
NO_LEAF = b"This kernel needs 64 KB leaf tables"
# Of a guest that has too little memory, if it says anything.
NO_MEMORY = re.compile(r"Out of memory|out of memory|deadlocked on memory|"
                       r"Initramfs unpacking failed|page allocation failure|"
                       r"[Cc]annot allocate|Failed to execute /init")


def least_mb(machine: Machine) -> int:
    """What a guest cannot do without: its kernel and the initramfs, and of
    what is left then twice what is unpacked from it, as Linux gives half to
    its root file system."""
    kernel = kernels.loaded_bytes(machine.image)
    initrd = machine.initrd or paths.INITRAMFS
    times = 1 if machine.initrd else 3
    return (kernel + (times * initrd.stat().st_size if initrd.exists() else 0)
            >> 20)


def too_small(machine: Machine, console: str) -> str:
    """Whether lack of memory may be the reason; "" if not."""
    least = least_mb(machine)
    if stdin.megabytes(machine.mem) > least * 4 or not (
            "Run /init" not in console or NO_MEMORY.search(console)):
        return ""
    return (f"--mem {machine.mem} may be too little: kernel and initramfs "
            f"alone need {least} MB")


def explain(machine: Machine, console: Path, errors: Path,
            status: int | None) -> ui.X64kError:
    """Why there is no report."""
    text = console.read_text(errors="replace") if console.exists() else ""
    said = errors.read_text(errors="replace").strip()
    where = f"console log: {paths.shown(console)}"
    if has_no_leaf(console):
        return ui.X64kError("the kernel has pages of 64 KB, and the processor "
                            "no leaf tables, which mode native gives it"
                            f"\n  {where}", 2)
    if machine.own and not machine.initrd and not status:
        where += kernels.advice(text)
    if refused := REFUSED.search(said):
        return ui.X64kError(refused[1], 2)
    if lacking := NO_PROPERTY.search(said):
        return ui.X64kError(f"mode {machine.mode} needs {lacking[1]}, which "
                            f"{emulator()[0]} does not have", 2)
    if why := too_small(machine, text):
        where = f"{why}\n  {where}"
    if panic := re.search(r"Kernel panic - not syncing.*", text):
        return ui.X64kError(f"guest kernel panic: {panic[0].strip()}\n"
                            f"  {where}", PANIC)
    if status is None:
        return ui.X64kError(
            f"the guest did not end within {machine.timeout:g} s; it last "
            f"said:{tail(text)}\n  {where}", TIMEOUT)
    if error := re.search(r"^x64k-error: (.*)", text, re.MULTILINE):
        return ui.X64kError(f"guest: {error[1].strip()}\n  {where}", FAILED)
    if status:
        how = f"status {status}" if status > 0 else f"signal {-status}"
        return ui.X64kError(f"the emulator failed ({how}):{tail(said)}\n"
                            f"  {where}", FAILED)
    return ui.X64kError("the guest stopped without a report; it last said:"
                        f"{tail(text)}\n  {where}", FAILED)


def has_no_leaf(console: Path) -> bool:
    """Whether the kernel has said so: these are its first words."""
    if not console.exists():
        return False
    with console.open("rb") as file:
        return NO_LEAF in file.read(4096)


def file_ports(console: Path, output: Path) -> list[str]:
    """Both serial ports, into files."""
    ports = []
    for name, path in (("console", console), ("output", output)):
        ports += ["-chardev", f"file,id={name},path={attach.quoted(path)}",
                  "-serial", f"chardev:{name}"]
    return ports


def check_room(*places: Path) -> None:
    """The emulator does not tell of what it could not write."""
    for place in places:
        found = os.statvfs(place)
        free = found.f_bfree if os.geteuid() == 0 else found.f_bavail
        if free * found.f_frsize < LEAST_ROOM:
            raise ui.X64kError(f"the disk of {place} is full, so that what the "
                               "guest wrote may not be complete: free some "
                               "space, or name another place (TMPDIR, "
                               "XDG_STATE_HOME)")


def run(machine: Machine, commands: list[list[bytes]],
        sink: Callable[[bytes], None], console: Path | None = None,
        given: bytes | None = None) -> Outcome:
    """Boots (or loads), runs COMMANDS one after the other, and powers off.
    Each reads GIVEN; what they write goes to SINK as it comes; what the
    guest's console says, to the file CONSOLE, or to a new one."""
    check_kernel(machine)
    console = console or log_path(machine.mode)
    with runfolder.new() as folder:
        initrd, output, errors = (folder / name for name in
                                  ("initrd", "output", "errors"))
        write_initrd(initrd, machine, commands, given)
        output.touch()
        ports = [*file_ports(console, output),
                 *machine.run_options(folder)]
        start = time.monotonic()
        with Emulator(machine.command(initrd, ports), errors, True) as qemu, \
                output.open("rb") as stream:
            status = None
            while time.monotonic() - start < machine.timeout:
                status = qemu.process.poll()
                if data := stream.read():
                    sink(data)
                if status is not None or has_no_leaf(console):
                    break
                time.sleep(0.02)
        host_s = time.monotonic() - start

        check_room(folder, console.parent)
        text = console.read_text(errors="replace") if console.exists() else ""
        results = parse_report(text)
        if status != 0 or results is None:
            raise explain(machine, console, errors, status)
        for result in results:
            result["boot"] = memory_after_boot(text)
        said = errors.read_text("utf-8", "replace")
        found = complaints(text) + stale_uses(said)
        for line in unknown_events(said):
            ui.warn(line)
        return Outcome(results, console, host_s, found, notes(text))


def memory_after_boot(console: str) -> dict[str, int]:
    """In KB, as init read it before the first command; empty if it did not."""
    names = {"MemFree": "mem_free_kb", "MemAvailable": "mem_available_kb"}
    return {names[name]: int(kb) for name, kb in
            re.findall(r"^x64k-memory: (\w+): (\d+)\r?$", console,
                       re.MULTILINE)}


def notes(console: str) -> list[str]:
    """What init found that its user should know."""
    return [line.strip() for line in
            re.findall(r"^x64k-note: (.*)", console, re.MULTILINE)]


def complaints(console: str) -> list[str]:
    return [line.strip() for line in console.splitlines()
            if KERNEL_COMPLAINTS.search(line)]


def stale_uses(log: str, most: int = 10) -> list[str]:
    """What --tlb-verify has found."""
    lines = [line for line in log.splitlines()
             if line.startswith("hwtlb: stale use")]
    if len(lines) > most:
        lines[most:] = [f"hwtlb: and {len(lines) - most} more pages"]
    return lines


def unknown_events(log: str) -> list[str]:
    """Events that perf asked for and no model counts: they read as 0."""
    return re.findall(r"x64k-pmu: (the guest counts event .*)", log)


def status_port(machine: Machine, status: Path) -> list[str]:
    """The second serial port, where our init tells the shell's status."""
    if machine.initrd or (machine.root and machine.root.init):
        return []
    return ["-chardev", f"file,id=status,path={attach.quoted(status)}",
            "-serial", "chardev:status"]


def shell_status(status: Path) -> int:
    """0 if the guest was ended in another way than by the shell's exit."""
    text = status.read_text(errors="replace") if status.exists() else ""
    found = re.search(r"^x64k-status (\d+)\s*$", text, re.MULTILINE)
    return int(found[1]) if found else 0


def shell(machine: Machine) -> int:
    """A shell on the console, which is our terminal; tells its status."""
    check_kernel(machine)
    console = log_path(machine.mode)
    terminal = sys.stdin.isatty()
    saved = termios.tcgetattr(0) if terminal else None
    with runfolder.new() as folder:
        initrd, errors = folder / "initrd", folder / "errors"
        if machine.initrd:
            initrd = machine.initrd
        else:
            write_initrd(initrd, machine, [])
        log = attach.quoted(console)
        ports = ["-chardev", f"stdio,id=console,mux=on,signal=off,logfile={log}",
                 "-serial", "chardev:console", "-mon", "chardev=console",
                 *status_port(machine, folder / "status"),
                 *machine.run_options(folder)]
        if terminal:
            ui.info("Ctrl-A x ends the machine, Ctrl-A h tells more")
        try:
            with Emulator(machine.command(initrd, ports), errors,
                          False) as qemu:
                try:
                    status = qemu.process.wait(
                        None if terminal else machine.timeout)
                except subprocess.TimeoutExpired:
                    status = None
        finally:
            if saved:
                termios.tcsetattr(0, termios.TCSADRAIN, saved)
        text = console.read_text(errors="replace") if console.exists() else ""
        if (status or status is None or "Kernel panic" in text
                or re.search(r"^x64k-error: ", text, re.MULTILINE)):
            raise explain(machine, console, errors, status)
        return shell_status(folder / "status")


# What a shell does that reads commands from a file: as init's, without a
# terminal.
SCRIPT = [b"sh", b"-c", b"for shell in bash sh; do "
          b"command -v $shell >/dev/null && exec $shell -l; done"]


# Options that boot, compare and demo share.

def valid_mode(text: str) -> str:
    if text in MODES:
        return text
    raise argparse.ArgumentTypeError(
        f"unknown mode '{text}'; the modes are {', '.join(MODES)}")


def valid_mem(text: str) -> str:
    if re.fullmatch(r"[1-9]\d*[MG]?", text):
        return text
    raise argparse.ArgumentTypeError(
        f"'{text}' is not a memory size such as 512M or 2G")


def valid_tlb(text: str) -> str:
    """A preset is the emulator's to know; a file must be there."""
    if is_file(text):
        if not os.access(text, os.R_OK) or not os.path.isfile(text):
            raise argparse.ArgumentTypeError(f"there is no file '{text}' that "
                                             "can be read")
    elif not re.fullmatch(r"[a-z0-9-]+", text):
        raise argparse.ArgumentTypeError(
            f"'{text}' is neither a preset (x64k tlb list) nor a file NAME.json")
    return text


def positive(kind: type) -> Callable[[str], Any]:
    def convert(text: str) -> Any:
        try:
            if (value := kind(text)) > 0:
                return value
        except ValueError:
            pass
        raise argparse.ArgumentTypeError(f"'{text}' is not a positive number")
    return convert


def add_options(parser: argparse.ArgumentParser, tlb: str,
                tlb_type: Callable[[str], Any] = valid_tlb) -> None:
    parser.add_argument("--tlb", metavar="PRESET|FILE", default=tlb,
                        type=tlb_type,
                        help="TLB model: a preset (x64k tlb list), a JSON file "
                        "(x64k tlb show --json), or off (default %(default)s)")
    parser.add_argument("--tlb-coalesce", metavar="N", type=int,
                        choices=(1, 2, 4, 8, 16),
                        help="coalesce up to N pages of 4 KB without a hint: "
                        "1 (none), 2, 4, 8 or 16 (default: as the preset)")
    parser.add_argument("--tlb-observe", choices=("misses", "every"),
                        metavar="WHAT",
                        help="misses (default), or every: show the model every "
                        "access, slowly, and count lookups and hits")
    parser.add_argument("--tlb-verify", action="store_const", const=True,
                        help="compare each use of a translation with the page "
                        "tables: finds kernels that forget to drop one; slow")
    parser.add_argument("--memory", action="store_true",
                        help="look at what each process holds, and how much of "
                        "it was never used, when CMD is about to exit")
    parser.add_argument("--mem", metavar="N", type=valid_mem, default=MEM,
                        help=f"memory of the guest (default {MEM})")
    parser.add_argument("--cpus", metavar="N", type=positive(int), default=1,
                        help="virtual CPUs (default 1)")
    parser.add_argument("--kernel", metavar="PATH", type=Path,
                        help="boot this kernel instead of ours: a built tree, "
                        "an object directory (make O=), a vmlinux or a "
                        "bzImage; debian: that of Debian 13")
    parser.add_argument("--share", metavar="DIR[:rw]", type=attach.valid_share,
                        help="let the guest see this folder, in /mnt/share; "
                        "with :rw also write to it")
    disk.add_options(parser)
    parser.add_argument("--append", metavar="STRING", default="",
                        help="more for the kernel command line")
    parser.add_argument("--timeout", metavar="S", type=positive(float),
                        default=TIMEOUT_S, help="give up after S seconds "
                        f"(default {TIMEOUT_S:g})")
    parser.add_argument("--icount", action="store_true",
                        help="deterministic: time is the instruction count, "
                        "so that two runs count the same")


def machine_of(args: argparse.Namespace, mode: str) -> Machine:
    if args.icount and args.cpus > 1:
        raise ui.X64kError("--icount needs a single CPU", 2)
    if (args.cpus or 1) > kernels.OUR_CPUS and not args.kernel:
        raise ui.X64kError(f"--cpus {args.cpus}: our kernel runs at most "
                           f"{kernels.OUR_CPUS}; --kernel boots another", 2)
    if args.tlb == "off" and not getattr(args, "pmu", False):
        for name in ("coalesce", "observe", "verify"):
            if getattr(args, f"tlb_{name}") is not None:
                raise ui.X64kError(f"--tlb-{name} needs a TLB model: --tlb",
                                   2)
    pmu = getattr(args, "pmu", False)
    tlb = perf.TLB if pmu and args.tlb == "off" else args.tlb
    cpu = getattr(args, "cpu", None) or (perf.cpu_for(tlb) if pmu else "max")
    own, append = None, args.append
    check_mode(mode, cpu, append)
    if MODES[mode].page_size != 4096 and (what := linked_for_4k(args)):
        raise ui.X64kError(f"mode {mode} has no {what}: Debian's programs are "
                           "linked for pages of 4 KB, and their loader says "
                           '"ELF load command alignment not page-aligned"', 2)
    if args.kernel:
        own = kernels.find(args.kernel)
        check_page_size(mode, own.image)
        append = f"{OTHER_KERNELS} {append}".rstrip()
    return Machine(mode, tlb, args.mem, args.cpus, own and own.image, append,
                   args.timeout, args.icount, coalesce=args.tlb_coalesce,
                   observe=args.tlb_observe, verify=bool(args.tlb_verify),
                   cpu=cpu, pmu=pmu, memory=getattr(args, "memory", False),
                   own=own, share=args.share,
                   root=disk.of(args))


def default_modes(args: argparse.Namespace) -> list[str]:
    page_size = (kernels.page_size(kernels.find(args.kernel).image)
                 if args.kernel else None)
    if linked_for_4k(args):
        page_size = 4096
    return [mode for mode in DEFAULT_MODES
            if page_size in (None, MODES[mode].page_size)]


def command_of(args: argparse.Namespace) -> list[bytes]:
    return [os.fsencode(word) for word in args.rest]
