# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel of the user's own: finds its image, and tells what it lacks.

docs/your-kernel.md is what users read about it."""

import mmap
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from x64k import perf, ui
from x64k.paths import ROOT, shown

FRAGMENT = ROOT / "guest-images/linux/own-kernel.config"
GUIDE = "docs/your-kernel.md"

# What QEMU boots is looked for in this order: vmlinux needs no unpacking in
# the guest.  The last is how kernels are handed on.
VMLINUX = "vmlinux"
BZIMAGES = ("arch/x86/boot/bzImage", "arch/x86_64/boot/bzImage", "bzImage")

PT_LOAD, PT_NOTE = 1, 4
PVH_NOTE = (b"Xen\0", 18)       # XEN_ELFNOTE_PHYS32_ENTRY
EM_X86_64 = 62
XLF_KERNEL_64 = 1

# What a kernel must have built in -> why.
CONSOLE = {
    "64BIT": "x86-64",
    "BLK_DEV_INITRD": "the initramfs",
    "SERIAL_8250_CONSOLE": "the console",
}
OURS = {
    "BINFMT_ELF": "programs",
    "BINFMT_SCRIPT": "init is a script",
    "DEVTMPFS": "/dev",
    "PROC_FS": "/proc",
    "SYSFS": "/sys",
    "TMPFS": "/tmp",
    "PCI": "devices",
    "ACPI": "power off",
}
FOLIOS = {"TRANSPARENT_HUGEPAGE": "64 KB folios"}
SHARE = {"VIRTIO_PCI": "--share", "NET_9P_VIRTIO": "--share",
         "9P_FS": "--share"}
SNAPSHOT = {"X86_IOPL_IOPERM": "--save"}
SMP = {"SMP": "--cpus"}
NATIVE = "X86_64K_PAGES"
OUR_CPUS = 16       # CONFIG_NR_CPUS of guest-images/linux/x64k.config


@dataclass(frozen=True)
class Kernel:
    image: Path                 # what QEMU boots
    symbols: Path | None        # vmlinux, for gdb
    config: Path | None


def elf_machine(image: mmap.mmap) -> int:
    return struct.unpack_from("<H", image, 18)[0]


def notes(image: mmap.mmap) -> Iterator[tuple[bytes, int]]:
    """Owner and type of each note of a 64-bit ELF file."""
    offset, = struct.unpack_from("<Q", image, 32)
    size, count = struct.unpack_from("<HH", image, 54)
    for n in range(count):
        kind, _, at, _, _, length = struct.unpack_from("<IIQQQQ", image,
                                                       offset + n * size)
        end = at + length
        while kind == PT_NOTE and at + 12 <= end:
            owner, data, number = struct.unpack_from("<III", image, at)
            yield image[at + 12:at + 12 + owner], number
            at += 12 + (owner + 3 & ~3) + (data + 3 & ~3)


def loaded_bytes(path: Path) -> int:
    """What the kernel takes of the guest's memory, at least: a vmlinux may be
    symbols for the most part."""
    try:
        with path.open("rb") as file, \
                mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as image:
            if image[:4] != b"\x7fELF":
                return len(image)
            offset, = struct.unpack_from("<Q", image, 32)
            size, count = struct.unpack_from("<HH", image, 54)
            headers = (struct.unpack_from("<IIQQQQQ", image, offset + n * size)
                       for n in range(count))
            return sum(header[6] for header in headers
                       if header[0] == PT_LOAD)
    except (OSError, ValueError, struct.error):
        return 0        # what is wrong with it is told elsewhere


def defect(path: Path) -> str | None:
    """Why QEMU could not boot PATH; None if it can."""
    try:
        with path.open("rb") as file, \
                mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as image:
            if image[:4] == b"\x7fELF":
                if image[4] != 2 or elf_machine(image) != EM_X86_64:
                    return "is an ELF file, but not of x86-64"
                if PVH_NOTE not in notes(image):
                    return ("has no PVH entry: set CONFIG_PVH=y and build it "
                            "again, or name the bzImage")
                return None
            if image[0x1fe:0x200] != b"\x55\xaa" or image[0x202:0x206] != b"HdrS":
                return "is neither a bzImage nor a vmlinux"
            version, = struct.unpack_from("<H", image, 0x206)
            flags, = struct.unpack_from("<H", image, 0x236)
            if version < 0x20c or not flags & XLF_KERNEL_64:
                return "is a bzImage, but not of a 64-bit kernel"
            return None
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    except (ValueError, IndexError, struct.error):
        return "is neither a bzImage nor a vmlinux: it is too short"


def page_size(path: Path) -> int:
    """As uname -v tells it among its flags, before the date: #1 SMP 64K ...
    A bzImage has this text in its header, a vmlinux in the first line that it
    will print."""
    try:
        with path.open("rb") as file, \
                mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as image:
            if image[:4] == b"\x7fELF":
                begin = image.find(b"Linux version ")
            else:
                begin = 0x200 + struct.unpack_from("<H", image, 0x20e)[0]
            said = re.match(rb"[^\0\n]* #\d+\S* ([^\0\n]*)",
                            image[begin:begin + 512])
    except (OSError, ValueError, struct.error):
        return 4096     # what is wrong with it is told elsewhere
    return 65536 if said and b"64K" in said[1].split() else 4096


def in_tree(tree: Path) -> Kernel:
    """Of a built source tree, or of an object directory (make O=)."""
    vmlinux = tree / VMLINUX
    bzimages = [tree / name for name in BZIMAGES if (tree / name).is_file()]
    config = tree / ".config"
    kernel = Kernel(vmlinux, vmlinux if vmlinux.is_file() else None,
                    config if config.is_file() else None)
    if kernel.symbols and not defect(vmlinux):
        return kernel
    if bzimages and not (why := defect(bzimages[0])):
        if kernel.symbols and (vmlinux.stat().st_mtime
                               > bzimages[0].stat().st_mtime + 60):
            ui.warn(f"{shown(bzimages[0])} is older than vmlinux, which "
                    f"{defect(vmlinux)}")
        return Kernel(bzimages[0], kernel.symbols, kernel.config)
    if kernel.symbols:
        raise ui.X64kError(f"{shown(vmlinux)} {defect(vmlinux)}")
    if bzimages:
        raise ui.X64kError(f"{shown(bzimages[0])} {why}")
    if kernel.config or (tree / "Kconfig").is_file():
        steps = [f"cd {tree}"]
        if not kernel.config:
            steps += ["make defconfig",
                      f"scripts/kconfig/merge_config.sh .config {FRAGMENT}"]
        steps.append("make -j\"$(nproc)\" vmlinux bzImage")
        raise ui.X64kError(
            f"{shown(tree)} is a kernel tree that is not built: no vmlinux, no "
            f"{BZIMAGES[0]}; {GUIDE}:\n  " + "\n  ".join(steps))
    raise ui.X64kError(
        f"{shown(tree)} is neither a built kernel tree nor an object "
        f"directory (make O=): no vmlinux, no {BZIMAGES[0]}, no .config")


def beside(image: Path) -> Kernel:
    """A file, with what lies around it in a tree or in /boot."""
    if why := defect(image):
        raise ui.X64kError(f"{shown(image)} {why}")
    if image.name == VMLINUX:
        tree = image.parent
    elif str(image).endswith(BZIMAGES[:2]):
        tree = image.parents[3]
    else:
        version = image.name.partition("-")[2]
        config = image.with_name(f"config-{version}")
        return Kernel(image, None, config if version and config.is_file()
                      else None)
    config, symbols = tree / ".config", tree / VMLINUX
    return Kernel(image, symbols if symbols.is_file() else None,
                  config if config.is_file() else None)


def find(path: Path) -> Kernel:
    """PATH is a tree, an object directory, a vmlinux, a bzImage, `debian`."""
    if str(path) == "debian":
        return Kernel(perf.debian_kernel(), None, None)
    path = path.expanduser().absolute()
    if path.is_dir():
        return in_tree(path)
    if not path.exists():
        raise ui.X64kError(f"no guest kernel at {shown(path)}")
    return beside(path)


def settings(config: Path) -> dict[str, str]:
    return dict(re.findall(r"^CONFIG_(\w+)=(.*)$",
                           config.read_text(errors="replace"), re.MULTILINE))


def check(kernel: Kernel, wanted: dict[str, str]) -> None:
    """Complains before the boot, if there is a .config that tells."""
    if not kernel.config:
        return
    known = settings(kernel.config)
    lacking = [f"  CONFIG_{name}=y ({why})" + (
        ", which is a module there" if known.get(name) == "m" else "")
        for name, why in wanted.items() if known.get(name) != "y"]
    if lacking:
        raise ui.X64kError(
            f"{shown(kernel.image)} would not do: {shown(kernel.config)} "
            "lacks\n" + "\n".join(lacking) + f"\nMerge {shown(FRAGMENT)} into "
            f"it and build again ({GUIDE})")


def advice(console: str) -> str:
    """What may be wrong with a kernel that has brought no report."""
    if "Linux version" not in console:
        why = ("it wrote nothing to the console: CONFIG_SERIAL_8250_CONSOLE=y"
               if not console.strip() else
               "it did not start: is it a kernel for x86-64?")
    elif re.search(r"Unable to mount root|No working init|"
                   r"Failed to execute /init|Requested init", console):
        why = ("it did not run our init: CONFIG_BLK_DEV_INITRD=y, "
               "CONFIG_BINFMT_ELF=y, CONFIG_BINFMT_SCRIPT=y")
    elif "x64k" not in console.rpartition("Run /init")[2]:
        why = ("our init did not get far: CONFIG_DEVTMPFS=y, "
               "CONFIG_PROC_FS=y, CONFIG_SYSFS=y, CONFIG_TMPFS=y")
    else:
        return ""
    return (f"\n  a kernel of your own: {why}; {shown(FRAGMENT)} has all that "
            f"it needs ({GUIDE})")
