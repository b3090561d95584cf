# SPDX-License-Identifier: GPL-2.0-or-later
"""--image: a disk as the guest's root, which is only ever read."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from x64k import ui
from x64k.paths import DEBIAN

# Format -> where its magic number is.
RAW = {"erofs": (1024, b"\xe2\xe1\xf5\xe0"), "ext4": (1080, b"\x53\xef")}
QCOW2 = (0, b"QFI\xfb")
BOOT_SECTOR = (510, b"\x55\xaa")

# The only disk of the machine, unless --share or the like brings others:
# those come after it.
DEVICE = "/dev/vda"


@dataclass(frozen=True)
class Disk:
    path: Path
    init: bool      # the image's own init shall run

    def append(self) -> str:
        """For init of the initramfs: guest-images/mini/share/root.sh."""
        return f"x64k.root={DEVICE}" + " x64k.init=/sbin/init" * self.init

    def options(self) -> list[str]:
        """For the emulator's command line."""
        # A comma is doubled in QEMU's options.
        path = str(self.path).replace(",", ",,")
        return ["-drive", f"if=none,id=root,format={format_of(self.path)},"
                f"readonly=on,file={path}",
                "-device", "virtio-blk-pci,drive=root"]


def format_of(path: Path) -> str:
    """For QEMU, which must not guess: a guest could write what misleads it.
    Complains about what the guest could not use anyway."""
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise ui.X64kError(f"--image {path}: {error.strerror}", 2) from error

    def has(place: tuple[int, bytes]) -> bool:
        at, magic = place
        return head[at:at + len(magic)] == magic

    if has(QCOW2):
        return "qcow2"      # of what is in it, the guest will tell
    if any(map(has, RAW.values())):
        return "raw"
    what = ("has a partition table; give a file system alone, such as one "
            "partition" if has(BOOT_SECTOR) else
            "is neither a file system (erofs, ext4) nor a qcow2 file")
    raise ui.X64kError(f"--image {path}: this file {what}", 2)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--image", metavar="PATH",
                        help="root of the guest: debian (made when first "
                        "asked for), or a file with erofs or ext4, raw or "
                        "qcow2; it is only read")


def of(args: argparse.Namespace) -> Disk | None:
    own_init = getattr(args, "init", False)
    if own_init and not args.image:
        raise ui.X64kError("--init starts an image's own init: give --image", 2)
    if not args.image:
        return None
    if args.image == "debian":
        return Disk(DEBIAN, own_init)
    path = Path(args.image).absolute()
    format_of(path)
    return Disk(path, own_init)
