# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's targets of guest-images/meson.build:
python3 -m x64k.image {kernel|initramfs|debian|...} STAMP [PROGRAM...]"""

import re
import runpy
import sys
from pathlib import Path

from x64k import base, debian, meson, proc, selftests, steps, versions
from x64k.paths import BUILD, GUEST, INITRAMFS, LOGS, ROOT, SRC

IMAGES = ROOT / "guest-images"


def compiled() -> str:
    """How far the kernel is: it has about 800 files."""
    text = (LOGS / "linux.log").read_text(errors="replace")
    return f"{len(re.findall(r'^  (?:CC|AS) ', text, re.MULTILINE))} files"


def kernel() -> None:
    proc.logged([IMAGES / "linux/build.sh", SRC / "linux", BUILD / "linux",
                 GUEST], "linux", "Building the guest kernel",
                env=meson.environment(), detail=compiled)


def initramfs(programs: list[Path]) -> None:
    GUEST.mkdir(parents=True, exist_ok=True)
    script = runpy.run_path(str(IMAGES / "mini/build.py"))
    versions.record("debs", None)
    script["build"](INITRAMFS, base.folder(), programs)


STEPS = {
    "kernel": kernel,
    "debian": debian.image,
    "debug-kernel": selftests.debug_kernel,
    "selftests-kernel": selftests.kernel,
    "stock-kernel": selftests.stock_kernel,
    "selftest-programs": selftests.programs,
}


def main(name: str, stamp: str, *programs: str) -> int:
    def step() -> None:
        if name == "initramfs":
            initramfs([Path(program) for program in programs])
        else:
            STEPS[name]()
        Path(stamp).touch()
    return steps.guarded(step)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
