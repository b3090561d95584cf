# SPDX-License-Identifier: GPL-2.0-or-later
"""What ties a guest to the host while it runs: a shared folder, gdb, QMP."""

import argparse
import os
import shlex
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

from x64k import ui

LONGEST_SOCKET = 107        # sockaddr_un's


@dataclass(frozen=True)
class Share:
    folder: Path
    readonly: bool


def quoted(path: Path | str) -> str:
    """A comma is doubled in QEMU's options."""
    return str(path).replace(",", ",,")


def valid_share(text: str) -> Share:
    """To be read, unless it is said otherwise: a guest may run anything."""
    name = text.removesuffix(":ro").removesuffix(":rw")
    writable = text.endswith(":rw")
    if not os.path.isdir(name):
        raise argparse.ArgumentTypeError(f"'{name}' is not a folder")
    folder = Path(name)
    if not os.access(folder, os.R_OK | os.X_OK):
        raise argparse.ArgumentTypeError(f"'{folder}' cannot be read")
    if writable and not os.access(folder, os.W_OK):
        raise argparse.ArgumentTypeError(f"'{folder}' cannot be written to")
    return Share(folder.absolute(), not writable)


def in_use(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def valid_socket(text: str) -> Path:
    """A socket that nobody answers is one that was left behind."""
    path = Path(text).absolute()
    if len(os.fsencode(path)) > LONGEST_SOCKET:
        raise argparse.ArgumentTypeError(
            f"'{path}' is too long for a socket: {LONGEST_SOCKET} bytes")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise argparse.ArgumentTypeError(f"cannot make a socket in "
                                         f"{path.parent}")
    if path.exists() and not stat.S_ISSOCK(path.stat().st_mode):
        raise argparse.ArgumentTypeError(f"'{text}' is there, and no socket")
    if path.exists() and in_use(path):
        raise argparse.ArgumentTypeError(f"'{text}' is in use")
    return path


def valid_port(text: str) -> int:
    try:
        port = int(text)
    except ValueError:
        port = 0
    if not 0 < port < 65536:
        raise argparse.ArgumentTypeError(f"'{text}' is not a TCP port")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise argparse.ArgumentTypeError(
                f"port {port}: {error.strerror}; without a number, --gdb "
                "needs none") from error
    return port


def share_device() -> list[str]:
    return ["-device", "virtio-9p-pci,fsdev=share,mount_tag=share"]


def share_folder(share: Share | None, empty: Path) -> list[str]:
    """What the device of the share shows: nothing, if EMPTY is."""
    folder, readonly = ((share.folder, share.readonly) if share
                        else (empty, True))
    # Files of several file systems may have equal inode numbers: remap.
    return ["-fsdev", f"local,id=share,path={quoted(folder)},"
            f"security_model=none,multidevs=remap,"
            f"readonly={'on' if readonly else 'off'}"]


def gdb_stub(port: int, folder: Path, symbols: Path | None) -> list[str]:
    """Stopped before its first instruction; PORT 0: a socket in FOLDER, which
    nobody else can have taken."""
    where = f"127.0.0.1:{port}" if port else str(folder / "gdb")
    stub = (f"tcp:{where},server=on,wait=off" if port
            else f"unix:{quoted(where)},server=on,wait=off")
    line = ["gdb", *([str(symbols)] if symbols else []),
            "-ex", f"target remote {where}"]
    ui.info(f"the guest waits for gdb:\n  {shlex.join(line)}")
    if not symbols:
        ui.info("there is no vmlinux beside this kernel, so gdb knows no "
                "symbols")
    return ["-S", "-gdb", stub]


def qmp_server(path: Path) -> list[str]:
    return ["-qmp", f"unix:{quoted(path)},server=on,wait=off"]
