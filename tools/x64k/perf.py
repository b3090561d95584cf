# SPDX-License-Identifier: GPL-2.0-or-later
"""perf and Debian's own kernel, for guests with performance counters: fetched
and unpacked when first asked for."""

import io
import re
import runpy
import subprocess
import tarfile
from pathlib import Path

from x64k import cpio, sources, ui, versions
from x64k.files import write_bytes, write_text
from x64k.paths import GUEST, ROOT

IMAGES = ROOT / "guest-images"
ARCHIVE = GUEST / "perf.cpio"
DEBIAN_KERNEL = GUEST / "debian-vmlinuz"

# The performance counters are those of a CPU model.  A real processor has
# them beside its TLBs, so each preset comes with the model that it is of.
CPU_OF_PRESET = {
    "skylake": "Skylake-Server",
    "golden-cove": "SapphireRapids",
    "zen3": "EPYC-Milan",
    "zen4": "EPYC-Genoa",
    "zen5": "EPYC-Genoa",
}
CPU = "EPYC"
TLB = "zen3"


def cpu_for(tlb: str) -> str:
    return CPU_OF_PRESET.get(tlb, CPU)


def archive() -> Path:
    """An initramfs archive with perf, to go after the guest's own."""
    script = runpy.run_path(str(IMAGES / "mini/build.py"))
    patterns = script["wanted"](IMAGES / "perf/packages")
    debs = sources.fetch_debs(list(patterns), record=False)
    made_of = "".join(f"{debs[name].name} {' '.join(patterns[name])}\n"
                      for name in patterns)
    stamp = ARCHIVE.with_suffix(".made-of")
    if not (ARCHIVE.exists() and stamp.exists()
            and stamp.read_text() == made_of):
        image = io.BytesIO()
        packed = cpio.Archive(image)
        for package, files in patterns.items():
            script["unpack"](package, debs[package], files, packed)
        packed.finish()
        GUEST.mkdir(parents=True, exist_ok=True)
        # Others may be making the same, and reading it.
        write_bytes(ARCHIVE, image.getvalue())
        write_text(stamp, made_of)
    return ARCHIVE


def image_package() -> str:
    """linux-image-amd64 only names the package of the newest image."""
    (meta,) = sources.fetch_debs(["linux-image-amd64"], record=False).values()
    depends = subprocess.run(["dpkg-deb", "-f", meta, "Depends"], check=True,
                             text=True, stdout=subprocess.PIPE).stdout
    if not (match := re.match(r"(linux-image-\S+)", depends)):
        raise ui.X64kError(f"{meta.name} names no kernel image")
    return match[1]


def debian_kernel() -> Path:
    """The kernel of Debian 13, as it is."""
    (deb,) = sources.fetch_debs([image_package()], record=False).values()
    stamp = DEBIAN_KERNEL.with_suffix(".sha256")
    digest = versions.sha256(deb)
    if not (DEBIAN_KERNEL.exists() and stamp.exists()
            and stamp.read_text() == digest):
        GUEST.mkdir(parents=True, exist_ok=True)
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb],
                              stdout=subprocess.PIPE) as unpack, \
                tarfile.open(fileobj=unpack.stdout, mode="r|") as tar:
            for member in tar:
                if re.fullmatch(r"(\./)?boot/vmlinuz-\S+", member.name):
                    write_bytes(DEBIAN_KERNEL, tar.extractfile(member).read())
                    break
            else:
                raise ui.X64kError(f"{deb.name} has no kernel")
            unpack.kill()       # the modules are not wanted
        write_text(stamp, digest)
    return DEBIAN_KERNEL
